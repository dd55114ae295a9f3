"""What a fit had beside its options, matched with the data: positions, values that were held, the mask of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from xr_modelfit.call.options import FitOptions
from xr_modelfit.labels.coords import Labels, bare
from xr_modelfit.records.record import FitRecord

__all__ = ["arrays_of", "held_values", "status_at"]


def status_at(result: xr.Dataset, record: FitRecord, data: xr.DataArray) -> xr.DataArray:
    """The status of each fit, once its positions are known to be those of the data."""
    status = result[record.variable("fit_status")]
    remaining = [d for d in data.dims if str(d) not in record.content["fitted_dims"]]
    if set(remaining) != set(status.dims):
        raise ValueError(
            f"The data has the remaining dims {tuple(map(str, remaining))}, the result {tuple(map(str, status.dims))}. "
            "Pass the data that was fitted, at the positions of the result."
        )
    bare(data, status, "The result", status.dims)
    return status


def held_values(result: xr.Dataset, record: FitRecord) -> dict[str, xr.DataArray]:
    """Values of the fixed parameters that had maps: what each fit started from, where the result tells."""
    names = record.content["options"].get("maps", {}).get("fixed", [])
    starts = {n: record.variable(f"{n}_start") for n in names}
    return {n: result[s if s in result else record.variable(n)] for n, s in starts.items()}


def arrays_of(
    labels: Labels, options: FitOptions, samples: Any, record: FitRecord, argument: str = "samples"
) -> dict[str, Any]:
    """The mask of samples as an array, and the coordinates that the labels do not name.

    ``argument`` is what the mask is called in the call.

    Raises
    ------
    ValueError
        The fit had a mask, and it is not given.
    """
    if samples is None and record.content["options"].get("masked"):
        raise ValueError(
            f"The fit left out samples by where=, which its record does not hold. Pass the mask again: {argument}=..."
        )
    found: dict[str, Any] = {"where": None if samples is None else labels.find(argument, samples)}
    if isinstance(options.coords, Mapping):
        here, known = labels.data.coords, labels.variables
        there = {*known, *labels.data.dims}
        names = {key: name for key, name in options.coords.items() if not isinstance(name, str) or name in there}
        lent = {name for name in known if isinstance(name, str) and name not in here}
        found["coords"] = {k: known[n] if isinstance(n, str) and n in lent else n for k, n in names.items()} or None
    return found
