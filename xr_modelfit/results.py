"""The output schema: from the packed array of a fit to a labelled Dataset."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.fitters.tasks import Layout
from xr_modelfit.metadata import STATISTICS, Metadata
from xr_modelfit.parameter_units import ParameterUnit

__all__ = ["COV_DIMS", "FIELD", "check_names", "label", "output_names"]

FIELD = "_modelfit_field"
COV_DIMS = ("cov_i", "cov_j")

_INTEGERS = {"dof", "n_points"}


def output_names(names: Iterable[str], layout: Layout, prefix: str) -> list[str]:
    """Every name that a fit puts on its result."""
    parts = [*names, *(f"{n}_stderr" for n in names), *STATISTICS, "fit_status", *layout.info_names]
    return [prefix + part for part in parts + (["covariance"] if layout.covariance else [])]


def check_names(frame: xr.Dataset, data: xr.DataArray, names: list[str], layout: Layout) -> None:
    """Refuse output names that a dim or coordinate of the data has already, or that occur twice.

    Raises
    ------
    ValueError
    """
    taken = {str(n) for n in [*data.coords, *data.dims]}
    clashes = [n for n in names if n in taken]
    if clashes:
        raise ValueError(
            f"The result's variable {clashes[0]!r} would have the name of a dim or coordinate of the data. Put "
            f"something before all names, prefix='fit_' for one, or rename it: .rename({{{clashes[0]!r}: ...}})."
        )
    if layout.covariance and any(d in taken for d in COV_DIMS):
        raise ValueError(
            f"covariance=True adds the dims {COV_DIMS}, and the data has one of that name. "
            f"Rename it: .rename({{{COV_DIMS[0]!r}: ...}})."
        )
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(
            f"The result would have two variables called {sorted(twice)[0]!r}. Rename the parameter, or leave the name "
            "out of fit_info."
        )


def label(packed: xr.Variable, layout: Layout, frame: xr.Dataset, metadata: Metadata) -> xr.Dataset:
    """Split the packed array into the variables of the result.

    Parameters
    ----------
    packed : xarray.Variable
        Dims are the remaining ones, then `FIELD`. Lazy ones stay lazy.
    layout : Layout
    frame : xarray.Dataset
        The coordinates of the result.
    metadata : Metadata
    """
    fields = layout.fields()
    packed = _outward(packed, fields, metadata.units)
    prefix, names = metadata.prefix, metadata.names
    variables: dict[str, xr.Variable] = {}

    lazy, dims = packed.chunks is not None, packed.dims[:-1]

    def put(name: str, attrs: dict[str, Any], field: str, offset: int = 0, dtype: Any = np.float64) -> None:
        part = packed.data[..., fields[field].start + offset]
        # In memory a copy, not a view that keeps the packed array alive.
        part = part.astype(dtype, copy=False) if lazy else np.array(part, dtype, order="C")
        variables[prefix + name] = xr.Variable(dims, part, attrs)

    for j, name in enumerate(names):
        put(name, metadata.parameter(j), "parameters", j)
    for j, name in enumerate(names):
        put(f"{name}_stderr", metadata.stderr(j), "stderr", j)
    for name in STATISTICS:
        put(name, metadata.statistic(name), name, dtype=np.int64 if name in _INTEGERS else np.float64)
    for name in layout.info_names:
        put(name, metadata.info(name), f"info:{name}")
    put("fit_status", metadata.status(), "fit_status", dtype=np.int8)
    result = frame.assign(variables)
    if layout.covariance:
        result = result.assign({f"{prefix}covariance": _covariance(packed, fields["covariance"], metadata)})
    return result


def _outward(packed: xr.Variable, fields: Mapping[str, slice], units: Sequence[ParameterUnit]) -> xr.Variable:
    """Parameters, their errors and covariance in the units of the result."""
    inward = np.array([one.inward for one in units])
    if np.all(inward == 1.0):
        return packed
    divisor = np.ones(packed.sizes[FIELD])
    divisor[fields["parameters"]] = divisor[fields["stderr"]] = inward
    if "covariance" in fields:
        divisor[fields["covariance"]] = np.outer(inward, inward).ravel()
    out: xr.Variable = packed / xr.Variable([FIELD], divisor)
    return out


def _covariance(packed: xr.Variable, columns: slice, metadata: Metadata) -> xr.DataArray:
    K = len(metadata.names)
    flat = packed.isel({FIELD: columns})
    data = flat.data.reshape(*flat.shape[:-1], K, K)
    labels = np.array(metadata.names, dtype=object)  # zarr has no settled type for text of fixed width
    about = zip(COV_DIMS, metadata.covariance_labels(), strict=True)
    return xr.DataArray(
        data if flat.chunks is not None else np.ascontiguousarray(data),
        dims=(*flat.dims[:-1], *COV_DIMS),
        coords={dim: (dim, labels, attrs) for dim, attrs in about},
        attrs=metadata.covariance(),
    )
