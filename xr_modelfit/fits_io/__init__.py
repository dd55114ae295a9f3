"""FITS files, WCS and NDData: in and out."""
