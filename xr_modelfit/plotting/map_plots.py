"""Pictures of a whole result: maps, lines where one dim remains, and values where none does."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed
from xr_modelfit.plotting.axes import PlotAxis, axis_along
from xr_modelfit.plotting.facet_plots import check_facets, draw_facets
from xr_modelfit.plotting.map_drawing import draw_variable, sides_of
from xr_modelfit.plotting.panels import columns_of, fit_words, make_room, map_ratio, panel_grid, rows_of, share_labels
from xr_modelfit.plotting.position_grid import draw_positions
from xr_modelfit.plotting.single_values import draw_values
from xr_modelfit.plotting.sky import Sky, oriented
from xr_modelfit.plotting.sky_coordinates import sky_pair
from xr_modelfit.plotting.style import Picture, axes_given, check_size, pyplot
from xr_modelfit.plotting.variables import Selected, chosen_variables, drawable, select_variables, with_derived
from xr_modelfit.results.significance import checked_snr

__all__ = ["plot"]


def plot(
    obj: xr.Dataset,
    params: str | Iterable[str] | None = None,
    *,
    data: str | None = None,
    stderr: bool = False,
    status: bool = True,
    robust: bool = True,
    snr: float | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
    col_wrap: int | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
    subplot_kws: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Draw the fits of a result; see `accessor.picture_methods.PictureMethods.plot`."""
    plt = pyplot("plot()")
    check_size(ax, figsize)
    snr = None if snr is None else checked_snr(snr)
    params = params if params is None or isinstance(params, str) else list(params)
    result, record, known = drawable(obj, data)
    result = with_derived(result, record, params, known=known)
    names = chosen_variables(result, record, params, stderr)
    facets = [dim for dim in (row, col) if dim is not None]
    status_name = record.variable("fit_status")
    if facets:
        if ax is not None:
            raise ValueError("ax is given with row or col; facets make their own axes. Leave one out.")
        check_facets(result[status_name].dims, names, facets)
    if subplot_kws is not None and ax is not None:
        raise ValueError("ax and subplot_kws are both given; axes have their projection already. Leave one out.")
    asked = [params] if isinstance(params, str) else params or []
    alone = str(asked[0]) if len(asked) == 1 else None
    selected = select_variables(result, record, names, keep=facets, snr=snr, alone=alone, known=known)
    if facets:
        options = {"row": row, "col": col, "col_wrap": col_wrap, "figsize": figsize, "subplot_kws": subplot_kws}
        return draw_facets(selected, names[0], robust, **options, **kwargs)
    status = status and known and ax is None
    if status and selected.dims and not any(selected.loaded[name].notnull().any() for name in names):
        return _failures_alone(plt, selected, figsize, subplot_kws, kwargs)
    names += [status_name] if status and selected.dims and status_name not in names else []
    if ax is not None:
        return _on_given(ax, selected, names, robust, kwargs)
    if len(selected.dims) == 3:
        return draw_positions(plt, selected, names, robust=robust, figsize=figsize, subplot_kws=subplot_kws, **kwargs)
    _check_dims(selected, names)
    if not selected.dims:
        rows = plt.figure(figsize=figsize or (5.5, 0.5 + 1.3 * len(names)), layout="constrained")
        axs = list(rows.subplots(len(names), 1, squeeze=False).flat)
        return draw_values(axs, selected, names, title=known)
    n_columns = columns_of(len(names), len(selected.dims), stderr, col_wrap)
    return _new_figure(plt, selected, names, n_columns, robust, figsize, subplot_kws, kwargs)


def _check_dims(selected: Selected, names: Sequence[str]) -> None:
    dims = selected.dims
    if len(dims) > 2:
        raise ValueError(
            f"The fits are over {len(dims)} dims, {dims}; maps have two. Select first, "
            f"fit.isel({dims[0]}=0).modelfit.plot(), or draw one variable in facets: plot({names[0]!r}, "
            f"col={dims[0]!r})."
        )


def _on_given(ax: Any, selected: Selected, names: Sequence[str], robust: bool, kwargs: dict[str, Any]) -> Any:
    """Draw on axes of the user's; one axes gives the artist back."""
    _check_dims(selected, names)
    places = axes_given(ax, len(names), f"the variables {listed(names)}")
    if not selected.dims:
        picture = draw_values(places, selected, list(names), title=False)
        return picture.artists[names[0]] if ax is places[0] else picture
    axes = [axis_along(selected.loaded, dim) for dim in selected.dims]
    artists = {}
    for place, name in zip(places, names, strict=True):
        artists[name] = draw_variable(place, selected, name, axes, robust=robust, **kwargs)
    if len(axes) == 2:
        make_room(places, artists.values())
    if ax is places[0]:
        return artists[names[0]]
    return Picture(places[0].figure, np.array(places, dtype=object), artists)


def _new_figure(
    plt: Any,
    selected: Selected,
    names: Sequence[str],
    n_columns: int,
    robust: bool,
    figsize: tuple[float, float] | None,
    subplot_kws: dict[str, Any] | None,
    kwargs: dict[str, Any],
) -> Picture:
    axes = [axis_along(selected.loaded, dim) for dim in selected.dims]
    sky, ratio = None, None
    if len(axes) == 2:
        sky, ratio, turned = _shape(selected, axes, subplot_kws, kwargs)
        kwargs = kwargs | turned
    if sky is not None:
        subplot_kws = sky.projection
    shape = (rows_of(len(names), n_columns), n_columns)
    grid = panel_grid(plt, shape, len(axes), ratio, figsize, subplot_kws)
    for unused in grid.flat[len(names) :]:
        unused.set_visible(False)
    places = list(grid.flat[: len(names)])
    artists = {
        name: draw_variable(place, selected, name, axes, robust=robust, **({"sky": sky} if sky else {}), **kwargs)
        for place, name in zip(places, names, strict=True)
    }
    share_labels(places, n_columns)
    if selected.grey:
        places[0].figure.supxlabel(selected.grey, fontsize="small")
    if len(axes) == 2:
        fit_words(places, [artist.colorbar for artist in artists.values()])
    return Picture(places[0].figure, np.array(places, dtype=object), artists)


def _shape(
    selected: Selected, axes: Sequence[PlotAxis], subplot_kws: dict[str, Any] | None, kwargs: dict[str, Any]
) -> tuple[Sky | None, float | None, dict[str, Any]]:
    """The sky of the maps, if they are drawn on one, their height in units of the width, and which dim lies across."""
    sides = sides_of(axes, kwargs)
    if subplot_kws is not None:
        return None, None, {}
    if not sides:
        pair = sky_pair(selected.status, kwargs.get("x"), kwargs.get("y"))
        return None, None if pair is None else pair.ratio(selected.status), {}
    sky, turned = oriented(selected.status, sides["x"].dim, sides["y"].dim, kwargs)
    sides = sides_of(axes, kwargs | turned)
    return sky, map_ratio(sides["x"], sides["y"], sky), turned


def _failures_alone(
    plt: Any, selected: Selected, figsize: tuple[float, float] | None, subplot_kws: Any, kwargs: dict[str, Any]
) -> Picture:
    """One panel: the status, under a title that says that there is nothing else to see."""
    own = {key: value for key, value in kwargs.items() if key in ("x", "y", "xincrease", "yincrease", "transform")}
    if len(selected.dims) == 3:
        picture = draw_positions(
            plt, selected, [str(selected.status.name)], robust=True, figsize=figsize, subplot_kws=subplot_kws, **own
        )
    else:
        _check_dims(selected, [str(selected.status.name)])
        picture = _new_figure(plt, selected, [str(selected.status.name)], 1, True, figsize, subplot_kws, own)
    succeeded = bool((selected.status > 0).any())
    picture.fig.supxlabel("")
    nothing = f"{selected.judged} is significant in no fit" if selected.judged else "no fit is significant"
    picture.fig.suptitle(nothing if succeeded else "no fit succeeded", fontsize="medium")
    return picture
