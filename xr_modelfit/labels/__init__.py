"""Dimensions and coordinates become inputs of a model; bins and responses become nodes."""
