"""Fits again, where a fit failed or stands out, from its neighbours or other starts."""
