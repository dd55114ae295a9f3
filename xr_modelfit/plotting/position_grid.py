"""Maps at several positions along a third dim: one row for each variable, one colour scale in a row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from xr_modelfit.fits_io.wcs import PIXEL_AXIS
from xr_modelfit.plotting.axes import axis_along
from xr_modelfit.plotting.colour_limits import colour_options
from xr_modelfit.plotting.geography import earth_role
from xr_modelfit.plotting.map_drawing import draw_map, name_colours, ranked_status, sides_of
from xr_modelfit.plotting.panels import fit_words, map_ratio, panel_grid, share_labels
from xr_modelfit.plotting.sky import oriented
from xr_modelfit.plotting.style import Picture
from xr_modelfit.plotting.variables import Selected
from xr_modelfit.results.positions import index_label, label_text

__all__ = ["draw_positions"]

_MOST = 6  # maps in a row


def draw_positions(
    plt: Any,
    selected: Selected,
    names: Sequence[str],
    *,
    robust: bool,
    figsize: tuple[float, float] | None,
    subplot_kws: dict[str, Any] | None,
    **kwargs: Any,
) -> Picture:
    """Draw maps over two of three dims at positions along the third, evenly chosen where there are many."""
    status = selected.status
    over = _third(selected)
    n = status.sizes[over]
    numbers = np.unique(np.linspace(0, n - 1, min(n, _MOST)).round().astype(int))
    axes = [axis_along(selected.loaded, dim) for dim in status.dims if dim != over]
    sides = sides_of(axes, kwargs)
    sky = None
    if sides and subplot_kws is None:
        sky, turned = oriented(status, sides["x"].dim, sides["y"].dim, kwargs)
        kwargs |= turned
        sides = sides_of(axes, kwargs)
    ratio = map_ratio(sides["x"], sides["y"], sky) if sides else None
    projection = sky.projection if sky is not None else subplot_kws
    size = figsize or (2.6 * len(numbers) + 1.2, 0.6 + 2.4 * min(max(ratio or 0.8, 0.4), 1.6) * len(names))
    grid = panel_grid(plt, (len(names), len(numbers)), 2, ratio, size, projection)
    artists: dict[str, Any] = {}
    for row, name in zip(grid, names, strict=True):
        own: dict[str, Any] = {}
        array, codes = selected.loaded[name], None
        if name == status.name:
            array, codes, own = ranked_status(status)
        options = (
            own | kwargs
            if codes is not None
            else colour_options(selected.loaded, selected.record, name, robust, kwargs)
        )
        artists[name] = []
        for ax, number in zip(row, numbers, strict=True):
            last = bool(number == numbers[-1])
            one = dict(options) if last else {k: v for k, v in options.items() if k != "cbar_kwargs"}
            part = array.isel({over: int(number)})
            mesh = draw_map(ax, part, axes, sky=sky, **(one | {"add_colorbar": last}))
            artists[name].append(mesh)
            label = label_text(index_label(selected.loaded, over, int(number)))
            ax.set_title(f"{over} = {label}" if ax in grid[0] else "")
        if codes is not None:
            name_colours(artists[name][-1].colorbar, codes, status)
    share_labels(list(grid.flat), len(numbers))
    _tell(grid[0, 0].figure, selected, over, len(numbers), n)
    fit_words(list(grid.flat), [artists[name][-1].colorbar for name in names])
    return Picture(grid[0, 0].figure, grid, artists)


def _third(selected: Selected) -> Hashable:
    """The dim that is no side of a map: not of the sky, of the Earth, or called y and x; else the first."""
    coords = selected.status.coords
    for sides in (
        [d for d in selected.dims if d in coords and PIXEL_AXIS in coords[d].attrs],
        [d for d in selected.dims if d in coords and earth_role(coords[d]) is not None],
        [d for d in selected.dims if str(d).lower() in ("x", "y")],
    ):
        if len(sides) == 2:
            return next(d for d in selected.dims if d not in sides)
    return selected.dims[0]


def _tell(figure: Any, selected: Selected, over: Hashable, shown: int, n: int) -> None:
    words = [selected.grey] if selected.grey else []
    if shown < n:
        words.append(f"{shown} of {n} positions along {over}")
    if words:
        figure.supxlabel("; ".join(words), fontsize="small")
