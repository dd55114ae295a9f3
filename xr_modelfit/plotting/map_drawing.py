"""Drawing one variable of a result: maps of values, and the map of the status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.plotting.axes import PlotAxis, same_scale
from xr_modelfit.plotting.colour_limits import colour_options
from xr_modelfit.plotting.line_plots import draw_line, draw_status_line
from xr_modelfit.plotting.style import BLANK, bar_axes, label_of, status_colours, status_name
from xr_modelfit.records.record import FitRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_map", "draw_status_map", "draw_variable", "name_colours", "on_axes", "ranked_status", "sides_of"]


def draw_variable(
    ax: Axes,
    loaded: xr.Dataset,
    record: FitRecord,
    name: str,
    axes: Sequence[PlotAxis],
    *,
    robust: bool = True,
    **kwargs: Any,
) -> Any:
    """Draw one variable of a result as a map, or as a line where one dim remains; returns the artist."""
    status = record.variable("fit_status")
    if len(axes) == 1:
        if name == status:
            return draw_status_line(ax, loaded[status], axes[0])
        error = loaded.get(f"{name}_stderr")
        return draw_line(ax, loaded[name], error, loaded[status], axes[0], robust=robust, **kwargs)
    if name == status:
        own = {k: v for k, v in kwargs.items() if k in ("x", "y", "xincrease", "yincrease", "transform")}
        return draw_status_map(ax, loaded[name], axes, **own)
    return draw_map(ax, loaded[name], axes, **colour_options(loaded, record, name, robust, kwargs))


def draw_map(ax: Axes, array: xr.DataArray, axes: Sequence[PlotAxis], **kwargs: Any) -> Any:
    """Draw one map with xarray, blank where there is no value; returns the mesh."""
    ax.set_facecolor(BLANK)
    sides = sides_of(axes, kwargs)
    if kwargs.get("add_colorbar", True):
        bar = {"label": label_of(array)} | (kwargs.get("cbar_kwargs") or {})
        if kwargs.get("cbar_ax") is None and not {"ax", "cax", "location", "orientation"} & set(bar):
            bar["cax"] = bar_axes(ax)
        kwargs["cbar_kwargs"] = bar
    drawn = on_axes(array, axes) if sides else array
    mesh = drawn.plot.pcolormesh(ax=ax, **kwargs)
    ax.set_title(str(array.name))
    if mesh.colorbar is not None and mesh.colorbar.orientation == "vertical":
        mesh.colorbar.ax.yaxis.set_offset_position("left")  # begins at the bar, so that it does not lie on the map
    if sides:
        for side, axis in sides.items():
            axis.decorate(ax, side)
        if same_scale(sides["x"], sides["y"]) and "transform" not in kwargs:
            ax.set_aspect("equal")
    return mesh


def sides_of(axes: Sequence[PlotAxis], given: Mapping[str, Any]) -> dict[str, PlotAxis]:
    """Which axis is horizontal (xarray takes the last) and which vertical; none where 2-D coordinates are asked for."""
    by_dim = {axis.dim: axis for axis in axes}
    x, y = given.get("x"), given.get("y")
    if (x is not None and x not in by_dim) or (y is not None and y not in by_dim):
        return {}
    vertical, horizontal = axes
    if x == vertical.dim or y == horizontal.dim:
        vertical, horizontal = horizontal, vertical
    return {"x": horizontal, "y": vertical}


def draw_status_map(ax: Axes, status: xr.DataArray, axes: Sequence[PlotAxis], **kwargs: Any) -> Any:
    """Draw which status each fit has: one colour each, its meaning and number of fits at the colour bar."""
    ranks, codes, options = ranked_status(status)
    mesh = draw_map(ax, ranks, axes, **options, **kwargs)
    name_colours(mesh.colorbar, codes, status)
    return mesh


def ranked_status(status: xr.DataArray) -> tuple[xr.DataArray, np.ndarray, dict[str, Any]]:
    """The statuses that occur, numbered, and how they are coloured."""
    from matplotlib.colors import ListedColormap

    values = status.values.astype(float)  # selections with where() leave NaN
    codes = np.unique(values[np.isfinite(values)])
    codes = np.array([1.0]) if codes.size == 0 else codes
    ranks = np.where(np.isfinite(values), np.searchsorted(codes, values), np.nan)
    options = {
        "cmap": ListedColormap(status_colours(codes.astype(int))),
        "vmin": -0.5,
        "vmax": len(codes) - 0.5,
        "cbar_kwargs": {"ticks": np.arange(len(codes)), "label": "", "extend": "neither"},
    }
    return status.copy(data=ranks), codes, options


def name_colours(bar: Any, codes: np.ndarray, status: xr.DataArray) -> None:
    """Put the meanings and the numbers of fits at the colours."""
    counts = [int((status.values == code).sum()) for code in codes]
    bar.set_ticks(
        np.arange(len(codes)), labels=[f"{status_name(c)}\n{n} fits" for c, n in zip(codes, counts, strict=True)]
    )
    bar.ax.tick_params(which="both", length=0, labelsize="small")


def on_axes(array: xr.DataArray, axes: Sequence[PlotAxis]) -> xr.DataArray:
    """The array with what the axes show as coordinates, in ascending or descending order."""
    shown = array.drop_vars([n for n, c in array.coords.items() if set(c.dims) & {one.dim for one in axes}])
    shown = shown.assign_coords({one.dim: (one.dim, one.values) for one in axes})
    return shown.isel({one.dim: one.order for one in axes})
