"""Functions of maps that look at the neighbours of each position, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from xr_modelfit.execution.execution import is_lazy

__all__ = ["with_halo"]

_LEAD = ("_modelfit_slot", "_modelfit_map")


def with_halo(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    n_axes: int,
    depth: int,
    lead: tuple[int, int],
) -> xr.Variable:
    """Apply a function to maps of the same dims; blocks of lazy ones get the rim of their neighbours.

    Parameters
    ----------
    function : callable
        Of arrays (..., *grid); returns an array of shape (*lead, ..., *grid).
    variables : sequence of xarray.Variable
    n_axes : int
        How many of the last dims are those of the grid.
    depth : int
        How far the function looks along each of them.
    lead : pair of int

    Returns
    -------
    xarray.Variable
        With two dims in front of those of the maps. Beyond the edges of the grid all maps are NaN.
    """
    dims = variables[0].dims
    if not is_lazy(*variables):
        return xr.Variable((*_LEAD, *dims), function(*(v.values for v in variables)))
    import dask.array

    first = next(v.data for v in variables if v.chunks is not None)
    chunks = list(first.chunks)
    depths = dict.fromkeys(range(len(dims)), 0)
    for axis in range(len(dims) - n_axes, len(dims)):
        size = sum(chunks[axis])
        chunks[axis] = dask.array.overlap.ensure_minimum_chunksize(depth, chunks[axis]) if size > depth else (size,)
        depths[axis] = depth if len(chunks[axis]) > 1 else 0  # the function knows what is beyond the edges
    arrays = [dask.array.asarray(v.data).rechunk(tuple(chunks)) for v in variables]
    edges = dict.fromkeys(range(len(dims)), np.nan)
    held = [dask.array.overlap.overlap(a, depth=depths, boundary=edges) for a in arrays]

    def inside(*blocks: np.ndarray) -> np.ndarray:
        found = function(*blocks)
        cuts = [slice(d, n - d) for d, n in zip(depths.values(), found.shape[2:], strict=True)]
        return found[(slice(None), slice(None), *cuts)]

    out = dask.array.map_blocks(
        inside, *held, dtype=float, new_axis=[0, 1], chunks=((lead[0],), (lead[1],), *arrays[0].chunks)
    )
    return xr.Variable((*_LEAD, *dims), out)
