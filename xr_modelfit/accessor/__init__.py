"""`.modelfit` on DataArray and Dataset: it forwards, nothing else."""
