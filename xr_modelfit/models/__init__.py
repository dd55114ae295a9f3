"""An astropy model as a function of arrays: its expression, ties, grid and samples."""
