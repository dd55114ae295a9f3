"""What neighbours say of the positions of a result, as labelled maps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import xarray as xr

from xr_modelfit.call.start_requests import SEVERAL
from xr_modelfit.estimates.neighbours import best_neighbours, stand_out
from xr_modelfit.execution.halos import with_halo
from xr_modelfit.records.record import FitRecord

__all__ = ["outliers", "starts_of_neighbours"]


def starts_of_neighbours(
    result: xr.Dataset,
    record: FitRecord,
    names: Sequence[str],
    trust: xr.DataArray,
    dims: Sequence[Hashable],
    radius: int,
    most: int,
) -> dict[str, xr.DataArray]:
    """Parameters of the nearest good neighbours of each position, along a dim of starts; NaN for missing ones.

    ``trust`` is 2 at good positions, and 1 at those that serve where there is no good one.
    """
    maps = [result[record.variable(n)].variable for n in names]

    def nearest(*arrays: np.ndarray) -> np.ndarray:
        *parameters, trusted = arrays
        best, any_ = (best_neighbours(np.stack(parameters), trusted >= n, radius, most, len(dims)) for n in (2, 1))
        return np.where(np.isnan(best[0]).all(axis=0), any_, best)

    slots = _along(nearest, [*maps, trust.variable], dims, radius, (most, len(names)))
    found = {}
    for j, name in enumerate(names):
        one = slots.isel({slots.dims[1]: j})
        variable = xr.Variable((SEVERAL, *one.dims[1:]), one.data)
        map_ = result[record.variable(name)]
        found[name] = xr.DataArray(variable, map_.coords, attrs=map_.attrs)
    return found


def outliers(
    result: xr.Dataset, record: FitRecord, good: xr.DataArray, dims: Sequence[Hashable], radius: int, times: float
) -> xr.DataArray:
    """Positions whose parameters are unlike those of their good neighbours."""
    names = record.names
    maps = [result[record.variable(n)].variable for n in names]
    errors = [result[record.variable(f"{n}_stderr")].variable for n in names]

    def far(*arrays: np.ndarray) -> np.ndarray:
        parameters, stderr = np.stack(arrays[: len(names)]), np.stack(arrays[len(names) : -1])
        return stand_out(parameters, stderr, arrays[-1] > 0, radius, times, len(dims))[None, None].astype(float)

    slots = _along(far, [*maps, *errors, good.variable.astype(float)], dims, radius, (1, 1))
    return good.copy(data=slots.isel({slots.dims[0]: 0, slots.dims[1]: 0}).astype(bool).data)


def _along(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    dims: Sequence[Hashable],
    radius: int,
    lead: tuple[int, int],
) -> xr.Variable:
    """The function of maps whose last axes are ``dims``; the dims of the first map, with two more in front."""
    order = variables[0].dims
    last = [d for d in order if d not in dims] + list(dims)
    turned = [v.transpose(*last) for v in variables]
    out = with_halo(function, turned, len(dims), radius, lead)
    return out.transpose(*out.dims[:2], *order)
