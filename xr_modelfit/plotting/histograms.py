"""How often the values of a parameter occur among the successful fits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.plotting.style import axes_given, check_size, label_of, pyplot
from xr_modelfit.plotting.variables import chosen_variables, with_derived
from xr_modelfit.records.record import FitRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_hist"]


def plot_hist(
    result: xr.Dataset,
    record: FitRecord,
    param: str,
    *,
    bins: Any = None,
    robust: bool = True,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    **kwargs: Any,
) -> Any:
    """Draw how often values occur; see `accessor.picture_methods.PictureMethods.plot_hist`."""
    plt = pyplot("plot_hist()")
    check_size(ax, figsize)
    if not isinstance(param, str):
        raise TypeError(f"param is {param!r}; a histogram is of one variable, for example {record.names[0]!r}.")
    result = with_derived(result, record, param)
    (name,) = chosen_variables(result, record, param)
    array, status = (v for v in xr.broadcast(*(result[[name, record.variable("fit_status")]].compute().values())))
    good = (status.values > 0) & np.isfinite(array.values)
    values = array.values[good].astype(float)
    place = axes_given(ax, 1, "a histogram")[0] if ax is not None else plt.figure(figsize=figsize).subplots()
    if values.size == 0:
        raise ValueError(f"There is nothing to count: {name!r} has no value of a successful fit.")
    if "range" not in kwargs and np.ndim(bins) == 0:
        kwargs["range"] = _hist_range(values, robust)
    bins = int(np.clip(2 * math.sqrt(values.size), 8, 60)) if bins is None else bins
    counts, edges, patches = place.hist(values, bins=bins, **kwargs)
    outside = int(((values < edges[0]) | (values > edges[-1])).sum())
    place.set(xlabel=label_of(array), ylabel="fits", title=str(name))
    if outside:
        place.set_ylabel(f"fits ({outside} of {values.size} not shown)")
    return counts, edges, patches


def _hist_range(values: np.ndarray, robust: bool) -> tuple[float, float]:
    """All values, or those near the bulk: no outlier may squeeze the others into one bin."""
    low, high = float(values.min()), float(values.max())
    if robust:
        first, last = np.percentile(values, (25, 75))
        reach = 5 * (last - first)  # of a normal distribution all but one in 10^12
        if reach > 0:
            low, high = max(low, float(first - reach)), min(high, float(last + reach))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
