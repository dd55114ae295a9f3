"""Start values from the data: arrays of a block in, one table of parameters out."""
