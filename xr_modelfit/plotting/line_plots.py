"""Lines instead of maps, where one dim remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.plotting.axes import PlotAxis, cell_edges
from xr_modelfit.plotting.style import BLANK, label_of, status_colours, status_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_line", "draw_status_line"]

MANY = 60  # from here on, bars merge: a band shows the errors


def draw_line(
    ax: Axes,
    array: xr.DataArray,
    error: xr.DataArray | None,
    good: xr.DataArray,
    axis: PlotAxis,
    *,
    robust: bool = True,
    **kwargs: Any,
) -> Any:
    """Draw values along one dim with their errors, grey where no good fit is; returns the line."""
    order = axis.order
    x, values = axis.values[order], array.values[order].astype(float)
    joined = "none" if axis.names else "-"  # names have no order: nothing lies between them
    options = {"marker": "o" if len(x) <= MANY else ".", "markersize": 4, "linewidth": 1, "linestyle": joined} | kwargs
    (line,) = ax.plot(x, values, **options)
    if error is not None:
        _draw_errors(ax, x, values, error.values[order], line.get_color())
    _mark_failed(ax, x, ~good.values[order])
    if robust:
        _keep_values_in_view(ax, values)
    ax.set(title="", ylabel=label_of(array, str(array.name)))
    axis.decorate(ax, "x")
    return line


def _draw_errors(ax: Axes, x: np.ndarray, values: np.ndarray, error: np.ndarray, colour: Any) -> None:
    if len(x) <= MANY:
        ax.errorbar(x, values, np.where(error >= 0, error, np.nan), fmt="none", ecolor=colour, elinewidth=1, capsize=2)
    else:
        ax.fill_between(x, values - error, values + error, color=colour, alpha=0.3, linewidth=0)


def _mark_failed(ax: Axes, x: np.ndarray, failed: np.ndarray) -> None:
    if not failed.any():
        return
    doubled = np.repeat(cell_edges(x), 2)[1:-1]
    ax.fill_between(
        doubled,
        0,
        1,
        where=np.repeat(failed, 2),
        transform=ax.get_xaxis_transform(),
        color=BLANK,
        linewidth=0,
        zorder=0,
    )
    ax.margins(x=0.02)


def _keep_values_in_view(ax: Axes, values: np.ndarray) -> None:
    """The axis shows the values, whatever the length of a few errors."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return
    low, high = finite.min(), finite.max()
    reach = (high - low) or abs(high) or 1.0
    seen = ax.get_ylim()
    ax.set_ylim(max(seen[0], low - reach), min(seen[1], high + reach))


def draw_status_line(ax: Axes, status: xr.DataArray, axis: PlotAxis) -> Any:
    """Draw one row of points for each status that occurs; returns the points."""
    order = axis.order
    x, values = axis.values[order], status.values[order].astype(float)
    codes = np.unique(values[np.isfinite(values)])
    known = np.isfinite(values)
    ranks = np.searchsorted(codes, values[known])
    colours = np.array(status_colours(codes.astype(int)), dtype=object)[ranks]
    points = ax.scatter(x[known], ranks, c=list(colours), marker="s", s=18, edgecolors="0.4", linewidths=0.4)
    counts = np.bincount(ranks, minlength=len(codes))
    names = [f"{status_name(code)} ({count})" for code, count in zip(codes, counts, strict=True)]
    ax.set_yticks(np.arange(len(codes)), labels=names)
    ax.set(ylim=(-0.6, max(len(codes), 1) - 0.4), title="")
    axis.decorate(ax, "x")
    return points
