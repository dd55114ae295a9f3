"""One variable over more than two dims, in facets as xarray makes them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.plotting.axes import PlotAxis, axis_along, same_scale
from xr_modelfit.plotting.colour_limits import colour_options
from xr_modelfit.plotting.geography import is_projected, is_projection, plate_carree
from xr_modelfit.plotting.map_drawing import name_colours, on_axes, ranked_status, sides_of
from xr_modelfit.plotting.panels import fit_words, share_labels
from xr_modelfit.plotting.sky import dress_sky, oriented
from xr_modelfit.plotting.style import BLANK, label_of
from xr_modelfit.plotting.variables import Selected

__all__ = ["check_facets", "draw_facets"]


def check_facets(dims: Sequence[Hashable], names: Sequence[str], given: Sequence[Hashable]) -> None:
    """Refuse facets of several variables, over unknown dims, or with too many dims left."""
    if len(names) != 1:
        raise ValueError(f"Facets show one variable, and {listed(names)} are asked for: plot({names[0]!r}, col=...).")
    unknown = [d for d in given if d not in dims]
    if unknown:
        raise ValueError(
            f"row or col is {unknown[0]!r}, but the fits are over {tuple(dims)}.{suggestion(unknown[0], dims)}"
        )
    left = [d for d in dims if d not in given]
    if len(left) not in (1, 2):
        raise ValueError(
            f"With facets over {listed(given)}, the dims {listed(left)} are left; a map has two, a line one. "
            + (f"Select first: fit.isel({left[0]}=0)." if left else "Leave out row or col.")
        )


def draw_facets(selected: Selected, name: str, robust: bool, **kwargs: Any) -> Any:
    """Draw one variable; returns xarray's FacetGrid."""
    loaded, record = selected.loaded, selected.record
    array = loaded[name]
    given = [d for d in (kwargs["row"], kwargs["col"]) if d is not None]
    axes = [axis_along(array, d) for d in array.dims if d not in given]
    sky = None
    if len(axes) == 2 and (sides := sides_of(axes, kwargs)) and kwargs["subplot_kws"] is None:
        sky, turned = oriented(array, sides["x"].dim, sides["y"].dim, kwargs)
        kwargs |= turned
        sides = sides_of(axes, kwargs)
    if sky is not None:
        kwargs["subplot_kws"] = sky.projection
    if len(axes) == 1:
        grid = on_axes(array, axes).plot.line(x=axes[0].dim, **kwargs)
        _label(grid, {"x": axes[0]})
        return grid
    is_status = name == record.variable("fit_status")
    shown, codes, options = ranked_status(array) if is_status else (array, None, {})
    options = options | kwargs if is_status else colour_options(loaded, record, name, robust, kwargs)
    if is_projection((kwargs["subplot_kws"] or {}).get("projection")):
        options = {"transform": plate_carree()} | options
    bar = {"label": label_of(array)} | (options.pop("cbar_kwargs", None) or {})
    with_bar = options.pop("add_colorbar", True)
    grid = (on_axes(shown, axes) if sides else shown).plot.pcolormesh(add_colorbar=False, **options)
    fixed = sky is not None or bool(sides and same_scale(sides["x"], sides["y"]))
    # xarray's leaves no room for names; it cannot be changed after the bar
    grid.fig.set_layout_engine("compressed" if fixed else "constrained")
    if with_bar:
        grid.add_colorbar(**bar)
        if codes is not None:
            name_colours(grid.cbar, codes, array)
    for ax in grid.axs.flat:
        ax.set_facecolor(BLANK)
        if sky is not None:
            dress_sky(ax, sky, kwargs)
    if sky is not None:
        share_labels(list(grid.axs.flat), grid.axs.shape[1])
    elif not any(map(is_projected, grid.axs.flat)):
        _label(grid, sides)
    if selected.grey:
        grid.fig.supxlabel(selected.grey, fontsize="small")
    fit_words(list(grid.axs.flat), [grid.cbar] if with_bar else [])
    return grid


def _label(grid: Any, sides: dict[str, PlotAxis]) -> None:
    """Names of positions on all axes, labels on the outer ones, which xarray has labelled."""
    for ax in grid.axs.flat:
        for side, axis in sides.items():
            labelled = getattr(ax, f"get_{side}label")()
            axis.decorate(ax, side)
            if not labelled:
                ax.set(**{f"{side}label": ""})
        if len(sides) == 2 and same_scale(sides["x"], sides["y"]):
            ax.set_aspect("equal")
