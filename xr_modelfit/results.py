"""The output schema: from the packed array of a fit to a labelled Dataset. Alone writes attrs."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.fitters.block import Layout
from xr_modelfit.parameter_units import ParameterUnit
from xr_modelfit.status import FitStatus

__all__ = ["COV_DIMS", "FIELD", "RECORD", "check_names", "frame_of", "label", "output_names"]

FIELD = "_modelfit_field"
RECORD = "modelfit_record"
COV_DIMS = ("cov_i", "cov_j")

_STATISTICS = {
    "chi2": "sum of squared weighted residuals",
    "reduced_chi2": "sum of squared weighted residuals per degree of freedom",
    "dof": "degrees of freedom: valid samples less free parameters",
    "n_points": "number of valid samples",
    "n_iter": "number of iterations or evaluations",
}
_INTEGERS = {"dof", "n_points"}
_SQUARES = {"chi2", "reduced_chi2"}
_OFFSET = re.compile(r"(deg_?[CF]|[Cc]elsius|[Ff]ahrenheit|°[CF]|degree_[Cc]elsius|C)")

# Attrs that speak of one variable, not of a whole Dataset.
_VARIABLE_ATTRS = {
    "units", "long_name", "standard_name", "short_name", "cell_methods", "cell_measures", "ancillary_variables", "axis",
    "positive", "coordinates", "grid_mapping", "bounds", "climatology", "calendar", "compress", "flag_masks",
    "flag_meanings", "flag_values", "formula_terms", "scale_factor", "add_offset", "missing_value", "_FillValue",
    "valid_min", "valid_max", "valid_range", "actual_range",
}  # fmt: skip


def output_names(names: Iterable[str], layout: Layout, prefix: str) -> list[str]:
    """Every name that a fit puts on its result."""
    parts = [*names, *(f"{n}_stderr" for n in names), *_STATISTICS, "fit_status", *layout.info_names]
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


def frame_of(data: xr.DataArray, fitted: tuple[Hashable, ...]) -> xr.Dataset:
    """The coordinates that stay: those without a fitted dim, free of the source's encodings."""
    coords = data.coords.to_dataset()
    frame = coords.drop_dims([d for d in fitted if d in coords.dims])
    for name in frame.variables:
        frame.variables[name].encoding = {}
    return frame


def label(
    packed: xr.Variable,
    layout: Layout,
    units: Sequence[ParameterUnit],
    titles: Sequence[str],
    frame: xr.Dataset,
    *,
    prefix: str,
    record: str,
    chi2_units: str | None,
    status_attrs: Mapping[str, str],
    attrs: Mapping[Any, Any],
) -> xr.Dataset:
    """Split the packed array into the variables of the result.

    Parameters
    ----------
    packed : xarray.Variable
        Dims are the remaining ones, then `FIELD`. Lazy ones stay lazy.
    layout : Layout
    units : sequence of ParameterUnit
        Names and units of the parameters.
    titles : sequence of str
        What each parameter is, in words.
    frame : xarray.Dataset
        The coordinates of the result.
    prefix : str
    record : str
        JSON text, kept in the attrs of ``fit_status``.
    chi2_units : str or None
    status_attrs : mapping
        More attrs of ``fit_status``.
    attrs : mapping
        Attrs of the result; those that speak of one variable are left out.
    """
    fields = layout.fields()
    packed = _outward(packed, fields, units)
    names = tuple(one.name for one in units)
    status_name = f"{prefix}fit_status"
    variables: dict[str, xr.Variable] = {}

    def take(field: str, offset: int = 0, dtype: Any = None) -> xr.Variable:
        part = packed.isel({FIELD: fields[field].start + offset})
        part = part if dtype is None else part.astype(dtype)
        if part.chunks is not None:
            return part
        return part.copy(data=np.array(part.values, order="C"))  # not a view that keeps the packed array alive

    for j, name in enumerate(names):
        value = take("parameters", j)
        value.attrs = _units(units[j].text) | {
            "long_name": titles[j],
            "ancillary_variables": f"{prefix}{name}_stderr {status_name}",
        }
        variables[prefix + name] = value
    for j, name in enumerate(names):
        error = take("stderr", j)
        error.attrs = _units(units[j].text, difference=True) | {"long_name": f"standard error of {titles[j]}"}
        variables[f"{prefix}{name}_stderr"] = error
    for name, long_name in _STATISTICS.items():
        statistic = take(name, dtype=np.int64 if name in _INTEGERS else None)
        statistic.attrs = (_units(chi2_units) if name in _SQUARES else {}) | {"long_name": long_name}
        variables[prefix + name] = statistic
    for name in layout.info_names:
        info = take(f"info:{name}")
        info.attrs = {"long_name": f"{name} of the fitter's fit_info"}
        variables[prefix + name] = info
    status = take("fit_status", dtype=np.int8)
    status.attrs = {
        "long_name": "status of the fit; positive means success",
        "flag_values": np.array([int(s) for s in FitStatus], dtype=np.int8),
        "flag_meanings": " ".join(s.meaning for s in FitStatus),
        **status_attrs,
        RECORD: record,
    }
    variables[status_name] = status
    result = frame.assign(variables)
    if layout.covariance:
        result = result.assign(_covariance(packed, fields["covariance"], names, prefix))
    result.attrs = {k: v for k, v in attrs.items() if k not in _VARIABLE_ATTRS}
    return result


def _units(text: str | None, difference: bool = False) -> dict[str, Any]:
    """``units``, and CF's word for a difference of temperatures, which has no zero point."""
    if text is None:
        return {}
    return {"units": text} | (
        {"units_metadata": "temperature: difference"} if difference and _OFFSET.fullmatch(text) else {}
    )


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


def _covariance(
    packed: xr.Variable, columns: slice, names: tuple[str, ...], prefix: str
) -> dict[str, xr.Variable | xr.DataArray]:
    K = len(names)
    flat = packed.isel({FIELD: columns})
    data = flat.data.reshape(*flat.shape[:-1], K, K)
    attrs = {"long_name": "covariance of the parameters"}
    labels = np.array(names, dtype=object)  # zarr has no settled type for text of fixed width
    covariance = xr.DataArray(
        data if flat.chunks is not None else np.ascontiguousarray(data),
        dims=(*flat.dims[:-1], *COV_DIMS),
        coords={COV_DIMS[0]: labels, COV_DIMS[1]: labels},
        attrs=attrs,
    )
    return {f"{prefix}covariance": covariance}
