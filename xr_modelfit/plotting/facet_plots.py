"""One variable over more than two dims, in facets as xarray makes them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.plotting.axes import PlotAxis, axis_along
from xr_modelfit.plotting.colour_limits import colour_options
from xr_modelfit.plotting.map_drawing import name_colours, on_axes, ranked_status, sides_of
from xr_modelfit.plotting.style import BLANK, label_of
from xr_modelfit.records.record import FitRecord

__all__ = ["check_facets", "draw_facets"]


def check_facets(dims: Sequence[Hashable], names: Sequence[str], given: Sequence[Hashable]) -> None:
    """Refuse facets of several variables, over unknown dims, or with too many dims left.

    Raises
    ------
    ValueError
    """
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


def draw_facets(loaded: xr.Dataset, record: FitRecord, name: str, robust: bool, **kwargs: Any) -> Any:
    """Draw one variable; returns xarray's FacetGrid."""
    array = loaded[name]
    given = [d for d in (kwargs["row"], kwargs["col"]) if d is not None]
    axes = [axis_along(array, d) for d in array.dims if d not in given]
    if len(axes) == 1:
        grid = on_axes(array, axes).plot.line(x=axes[0].dim, **kwargs)
        _label(grid, {"x": axes[0]})
        return grid
    is_status = name == record.variable("fit_status")
    shown, codes, options = ranked_status(array) if is_status else (array, None, {})
    options = options | kwargs if is_status else colour_options(loaded, record, name, robust, kwargs)
    bar = {"label": label_of(array)} | (options.pop("cbar_kwargs", None) or {})
    with_bar = options.pop("add_colorbar", True)
    sides = sides_of(axes, kwargs)
    grid = (on_axes(shown, axes) if sides else shown).plot.pcolormesh(add_colorbar=False, **options)
    grid.fig.set_layout_engine("constrained")  # xarray's leaves no room for names; it cannot be changed after the bar
    if with_bar:
        grid.add_colorbar(**bar)
        if codes is not None:
            name_colours(grid.cbar, codes, array)
    for ax in grid.axs.flat:
        ax.set_facecolor(BLANK)
    _label(grid, sides)
    return grid


def _label(grid: Any, sides: dict[str, PlotAxis]) -> None:
    """Names of positions on all axes, labels on the outer ones, which xarray has labelled."""
    for ax in grid.axs.flat:
        for side, axis in sides.items():
            labelled = getattr(ax, f"get_{side}label")()
            axis.decorate(ax, side)
            if not labelled:
                ax.set(**{f"{side}label": ""})
