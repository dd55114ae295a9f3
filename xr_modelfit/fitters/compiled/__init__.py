"""The numba engine: the same steps as the NumPy engine, compiled."""
