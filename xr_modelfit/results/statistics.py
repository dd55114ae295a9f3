"""How surprising a fitted parameter would be, if its true value were another one."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.results.rates import of_counts

__all__ = ["p_value"]


def p_value(result: xr.Dataset, record: FitRecord, name: str, null: float = 0.0) -> xr.DataArray:
    """See `accessor.statistics_methods.StatisticsMethods.p_value`."""
    name = name.removeprefix(record.prefix) if isinstance(name, str) and name not in record.names else name
    if not isinstance(name, str) or name not in record.names:
        raise ValueError(
            f"p_value got {name!r}, but the parameters of the fit are {listed(record.names)}."
            f"{suggestion(name, record.names)}"
        )
    if isinstance(null, bool) or not isinstance(null, int | float | np.number) or not math.isfinite(null):
        raise ValueError(f"null is {null!r}; a finite number is needed, in the unit of {name!r}.")
    needed = [record.variable(n) for n in (name, f"{name}_stderr", "dof")]
    lost = [n for n in needed if n not in result]
    if lost:
        raise RecordError(f"The result has no variable {lost[0]!r}, from which the p-value follows. Keep it.")
    absolute = of_counts(record) or bool(record.content["options"].get("absolute_sigma", False))
    value, error, dof = (result[n] for n in needed)
    which = "the normal distribution, as errors are absolute" if absolute else "Student's t with dof degrees of freedom"
    if record.content["options"].get("noise") == "ar1":
        dof, absolute = _effective_dof(result, record, dof), False  # what is estimated is the correlation
        which = "Student's t with n_effective less free parameters as degrees of freedom"
    found: xr.DataArray = xr.apply_ufunc(
        _two_sided, value - null, error, dof, kwargs={"absolute": absolute}, dask="parallelized", output_dtypes=[float]
    )
    found.attrs = {
        "long_name": f"p-value of {name} = {null:g}",
        "units": "1",
        "comment": f"two-sided, by {which}",
    }
    return found.rename(record.variable(f"{name}_p_value"))


def _effective_dof(result: xr.Dataset, record: FitRecord, dof: xr.DataArray) -> xr.DataArray:
    """Effective number of samples less that of free parameters."""
    needed = [record.variable(n) for n in ("n_effective", "n_points")]
    lost = [n for n in needed if n not in result]
    if lost:
        raise RecordError(
            f"The result has no variable {lost[0]!r}, from which the degrees of freedom under correlated noise follow. "
            "Keep it."
        )
    effective, n_points = (result[n] for n in needed)
    return effective - (n_points - dof)


def _two_sided(difference: np.ndarray, error: np.ndarray, dof: np.ndarray, absolute: bool) -> np.ndarray:
    """Probabilities of a larger difference to either side; NaN without an error or without degrees of freedom."""
    from scipy.special import ndtr, stdtr  # takes long to import

    with np.errstate(all="ignore"):
        t = np.where(error > 0, -np.abs(difference) / error, np.nan)
        return np.asarray(2 * ndtr(t) if absolute else np.where(dof > 0, 2 * stdtr(np.maximum(dof, 1), t), np.nan))
