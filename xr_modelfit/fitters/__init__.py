"""The numeric side: arrays in, arrays out."""
