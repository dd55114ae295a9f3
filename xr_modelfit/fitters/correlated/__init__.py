"""Noise that is correlated along the samples of a fit: whitened, so that ordinary least squares is right for it."""
