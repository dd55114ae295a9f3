"""Drawing one variable of a result: maps of values, and the map of the status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_modelfit.plotting.axes import PlotAxis, same_scale
from xr_modelfit.plotting.colour_limits import colour_options
from xr_modelfit.plotting.geography import degrees_on, earth_role, is_projected, plate_carree
from xr_modelfit.plotting.line_plots import draw_line, draw_status_line
from xr_modelfit.plotting.sky import Sky, dress_sky, is_sky_axes, sky_of
from xr_modelfit.plotting.sky_coordinates import sky_pair
from xr_modelfit.plotting.style import BLANK, bar_axes, label_of, status_colours, status_name
from xr_modelfit.plotting.variables import Selected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_map", "draw_status_map", "draw_variable", "name_colours", "on_axes", "ranked_status", "sides_of"]

_OF_PLACE = ("x", "y", "xincrease", "yincrease", "transform")  # options of all maps, whatever their colours


def draw_variable(
    ax: Axes,
    selected: Selected,
    name: str,
    axes: Sequence[PlotAxis],
    *,
    robust: bool = True,
    sky: Sky | None = None,
    **kwargs: Any,
) -> Any:
    """Draw one variable of a result as a map, or as a line where one dim remains; returns the artist.

    ``sky`` is that of axes which were made for it.
    """
    loaded, record = selected.loaded, selected.record
    status = record.variable("fit_status")
    if len(axes) == 1:
        if name == status:
            return draw_status_line(ax, loaded[status], axes[0])
        error = loaded.get(f"{name}_stderr")
        return draw_line(ax, loaded[name], error, selected.good, axes[0], robust=robust, **kwargs)
    if name == status:
        own = {k: v for k, v in kwargs.items() if k in _OF_PLACE}
        return draw_status_map(ax, loaded[name], axes, sky=sky, **own)
    return draw_map(ax, loaded[name], axes, sky=sky, **colour_options(loaded, record, name, robust, kwargs))


def draw_map(ax: Axes, array: xr.DataArray, axes: Sequence[PlotAxis], *, sky: Sky | None = None, **kwargs: Any) -> Any:
    """Draw one map with xarray, blank where there is no value; returns the mesh."""
    ax.set_facecolor(BLANK)
    sides = sides_of(axes, kwargs)
    if kwargs.get("add_colorbar", True):
        bar = {"label": label_of(array)} | (kwargs.get("cbar_kwargs") or {})
        if kwargs.get("cbar_ax") is None and not {"ax", "cax", "location", "orientation"} & set(bar):
            bar["cax"] = bar_axes(ax)
        kwargs["cbar_kwargs"] = bar
    pair = None if sides else sky_pair(array, kwargs.get("x"), kwargs.get("y"))
    drawn = on_axes(array, axes) if sides else array if pair is None else pair.unwrapped(array)
    transform = kwargs.pop("transform", None)
    if transform is None:
        transform = _transform(ax, array, sides, sky, pair is not None)
    mesh = drawn.plot.pcolormesh(ax=ax, **kwargs, **({} if transform is None else {"transform": transform}))
    ax.set_title(str(array.name))
    if not array.notnull().any():
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center")
    if mesh.colorbar is not None and mesh.colorbar.orientation == "vertical":
        mesh.colorbar.ax.yaxis.set_offset_position("left")  # begins at the bar, so that it does not lie on the map
    if is_sky_axes(ax):
        if transform is not None:  # xarray's limits are those of the pixels
            ax.autoscale()
        dress_sky(ax, sky, kwargs)
    elif pair is not None and transform is None:
        pair.dress(ax, array, kwargs)
    elif sides:
        _dress_plain(ax, sides, transform is not None or is_projected(ax))
    elif transform is None:
        _dress_earth(ax, array, kwargs)
    return mesh


def _transform(ax: Axes, array: xr.DataArray, sides: dict[str, PlotAxis], sky: Sky | None, on_sky: bool) -> Any:
    """From the coordinates drawn to those of axes with a projection; None where they are the same."""
    if is_projected(ax):
        return plate_carree()
    if not is_sky_axes(ax) or sky is not None:
        return None
    horizontal, vertical = (sides["x"].dim, sides["y"].dim) if sides else array.dims[::-1]
    found = sky_of(array, horizontal, vertical)
    if found is None:
        return ax.get_transform("world") if on_sky else None  # type: ignore[call-arg]
    return found.frame_transform(ax) if on_sky else found.transform(ax)


def _dress_plain(ax: Axes, sides: dict[str, PlotAxis], projected: bool) -> None:
    if not projected:
        for side, axis in sides.items():
            axis.decorate(ax, side)
        if same_scale(sides["x"], sides["y"]):
            ax.set_aspect("equal")


def _dress_earth(ax: Axes, array: xr.DataArray, given: Mapping[str, Any]) -> None:
    """Longitude and latitude that are no index: degrees east and north, and equal scales."""
    roles = {side: earth_role(array.coords[given[side]]) for side in "xy" if given.get(side) in array.coords}
    if None in roles.values() or len(set(roles.values())) != 2:
        return
    for side, role in roles.items():
        assert role is not None
        degrees_on(ax, side, role)
        ax.set(**{f"{side}label": str(array.coords[given[side]].attrs.get("long_name", role))})
    ax.set_aspect("equal")


def sides_of(axes: Sequence[PlotAxis], given: Mapping[str, Any]) -> dict[str, PlotAxis]:
    """Which axis is horizontal (xarray takes the last) and which vertical; none where 2-D coordinates are asked for."""
    by_dim = {axis.dim: axis for axis in axes}
    x, y = given.get("x"), given.get("y")
    if (x is not None and x not in by_dim) or (y is not None and y not in by_dim):
        return {}
    vertical, horizontal = axes
    if x is None and y is None and (vertical.role, horizontal.role) == ("longitude", "latitude"):
        vertical, horizontal = horizontal, vertical  # north is up
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
    words = [f"{status_name(c)}\n{n} {'fit' if n == 1 else 'fits'}" for c, n in zip(codes, counts, strict=True)]
    bar.set_ticks(np.arange(len(codes)), labels=words)
    bar.ax.tick_params(which="both", length=0, labelsize="small")


def on_axes(array: xr.DataArray, axes: Sequence[PlotAxis]) -> xr.DataArray:
    """The array with what the axes show as coordinates, in ascending or descending order; no scalar ones.

    Cells with known borders become intervals.
    """
    shown = array.drop_vars([n for n, c in array.coords.items() if c.ndim == 0 or set(c.dims) & {a.dim for a in axes}])
    shown = shown.assign_coords({one.dim: (one.dim, one.values) for one in axes})
    shown = shown.isel({one.dim: one.order for one in axes})
    if len(axes) < 2:
        return shown
    cells = {one.dim: one.limits[one.order] for one in axes if one.limits is not None}
    intervals = {dim: pd.IntervalIndex.from_arrays(*limits.T) for dim, limits in cells.items()}
    return shown.assign_coords({dim: (dim, np.asarray(index, dtype=object)) for dim, index in intervals.items()})
