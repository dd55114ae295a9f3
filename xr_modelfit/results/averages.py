"""Results that were averaged: the mean of parameters, errors and statuses is no fit, and is not taken for one."""

import numpy as np
import xarray as xr

from xr_modelfit.execution.execution import is_lazy
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.status import FitStatus

__all__ = ["refuse_averages"]

_WHOLE = ("n_points", "dof", "n_iter")  # counts
_SINGLE = 4  # bytes of a float: xarray's masks make such ones of the status, means make longer ones


def refuse_averages(result: xr.Dataset, record: FitRecord) -> None:
    """Raise RecordError if a result was averaged, coarsened or interpolated; lazy variables are not computed.

    The status is an integer unless it was masked, aligned, or calculated with: a float that is no status is that of no
    fit. Nor are counts that are not whole. Of lazy results, the type of the status tells. The mean of fits whose counts
    are all the same is not found out.
    """
    status = record.variable("fit_status")
    advice = (
        "Select or align a result; do not average it, nor coarsen or interpolate it: a mean of fits is no fit. Average "
        "the data, and fit that: data.mean(...).modelfit(...). A mean of one variable is "
        f"result[{record.variable(record.names[0])!r}].mean(...)."
    )
    kind = result[status].dtype
    if kind.kind != "f":  # as it was; that of a newer version may be unknown here
        return
    if is_lazy(result[status].variable) and kind.itemsize > _SINGLE:
        raise RecordError(
            f"{status} is {kind}, as a mean or an interpolation makes it; that of a fit is int8. {advice} If it was "
            f"only converted: result[{status!r}] = result[{status!r}].astype('float32')."
        )
    if (wrong := _no_status(result[status])) is not None:
        raise RecordError(f"{status} holds {wrong:g}, which is no status. {advice}")
    for name in map(record.variable, _WHOLE):
        if name in result and not _are_counts(result[name]):
            raise RecordError(f"{name} counts, but has values that are not whole. {advice}")


def _no_status(status: xr.DataArray) -> float | None:
    """The first value that is no status; NaN is one that was never attempted."""
    if is_lazy(status.variable):
        return None
    values = status.to_numpy()
    wrong = values[~(np.isin(values, [int(one) for one in FitStatus]) | np.isnan(values))]
    return float(wrong[0]) if wrong.size else None


def _are_counts(array: xr.DataArray) -> bool:
    if is_lazy(array.variable) or array.dtype.kind != "f":
        return True
    values = array.to_numpy()
    values = values[np.isfinite(values)]
    return bool(np.all(values == np.round(values)))
