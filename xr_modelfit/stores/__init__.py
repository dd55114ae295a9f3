"""A fit into a zarr store, tile by tile, resumable."""
