"""Pictures of a whole result: maps, or lines where one dim remains."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.colour_limits import colour_options
from xr_modelfit.line_plots import draw_line, draw_status_line
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.plot_axes import PlotAxis, axis_along, same_scale
from xr_modelfit.plot_style import (
    BLANK,
    Picture,
    axes_given,
    bar_axes,
    check_size,
    label_of,
    pyplot,
    status_colours,
    status_name,
)
from xr_modelfit.record import FitRecord, RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chosen_variables", "draw_variable", "plot", "select_variables"]


def plot(
    result: xr.Dataset,
    record: FitRecord,
    params: str | Iterable[str] | None = None,
    *,
    stderr: bool = False,
    status: bool = True,
    robust: bool = True,
    row: Hashable | None = None,
    col: Hashable | None = None,
    col_wrap: int | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
    **kwargs: Any,
) -> Any:
    """Draw the fits of ``record``; see `xr_modelfit.accessor.ModelfitDataset.plot`."""
    plt = pyplot("plot()")
    check_size(ax, figsize)
    names = chosen_variables(result, record, params, stderr)
    status_variable = record.variable("fit_status")
    faceted = row is not None or col is not None
    if status and ax is None and not faceted and status_variable not in names:
        names.append(status_variable)
    loaded = select_variables(result, record, names)
    dims = loaded[status_variable].dims
    if faceted:
        return _facets(loaded, record, names, robust, row=row, col=col, col_wrap=col_wrap, figsize=figsize, **kwargs)
    if len(dims) > 2:
        raise ValueError(
            f"The fits are over {len(dims)} dims, {dims}; maps have two. Select first, "
            f"fit.isel({dims[0]}=0).modelfit.plot(), or draw one variable in facets: plot({names[0]!r}, "
            f"col={dims[0]!r})."
        )
    axes = [axis_along(loaded, dim) for dim in dims]
    if ax is not None:
        places = axes_given(ax, len(names), f"the variables {listed(names)}")
    else:
        n_columns = _columns(len(names), len(dims), stderr, col_wrap)
        places = _grid(plt, len(names), n_columns, axes, figsize, kwargs)
    artists = {
        name: draw_variable(place, loaded, record, name, axes, robust=robust, **kwargs)
        for place, name in zip(places, names, strict=True)
    }
    if ax is None:
        _share_labels(places, n_columns)
        if len(dims) == 2 and not (loaded[status_variable] > 0).all():
            places[0].figure.supxlabel("grey: no fit", fontsize="small")
    elif isinstance(ax, type(places[0])) or ax is places[0]:
        return artists[names[0]]
    return Picture(places[0].figure, np.array(places, dtype=object), artists)


def select_variables(result: xr.Dataset, record: FitRecord, names: Sequence[str]) -> xr.Dataset:
    """The variables with their errors and the status, computed at once, without dims of size 1.

    Raises
    ------
    ValueError
        One position remains, or none.
    """
    status = record.variable("fit_status")
    parameters = [record.variable(name) for name in record.names if record.variable(name) in result]
    errors = [f"{name}_stderr" for name in parameters if f"{name}_stderr" in result]
    loaded = result[list(dict.fromkeys([*names, *parameters, *errors, status]))].squeeze().compute()
    if loaded[status].size == 0:
        raise ValueError(f"There is nothing to draw: the result has the sizes {dict(result[status].sizes)}.")
    if loaded[status].ndim == 0:
        raise ValueError(
            "The result holds one fit, and a map needs several. Draw the fit itself, data.modelfit.plot_fit(fit), or "
            "print its values, fit.modelfit.params.to_pandas()."
        )
    return loaded


def chosen_variables(result: xr.Dataset, record: FitRecord, params: Any, stderr: bool = False) -> list[str]:
    """Variables to draw, by their names in the result.

    Raises
    ------
    ValueError
        One is not there, or has other dims than the fits.
    """
    asked = record.names if params is None else [params] if isinstance(params, str) else list(params)
    status_dims = result[record.variable("fit_status")].dims
    known = [str(n).removeprefix(record.prefix) for n, v in result.data_vars.items() if v.dims == status_dims]
    names = []
    for one in asked:
        name = record.variable(one) if one in known else one
        if params is None and name not in result:
            raise RecordError(f"The result has no variable {name!r}, which its record names; it has {listed(known)}.")
        if name not in result or result[name].dims != status_dims or not str(name).startswith(record.prefix):
            raise ValueError(
                f"params names {one!r}, which is no variable over {status_dims}; those are {listed(known)}."
                f"{suggestion(one, known)}"
            )
        names.append(name)
        if stderr and one in record.names and f"{name}_stderr" in result:
            names.append(f"{name}_stderr")
    if not names:
        raise ValueError(f"params is {params!r}; name at least one of {listed(known)}, or leave it out.")
    return names


# The figure


def _columns(n: int, n_dims: int, stderr: bool, col_wrap: int | None) -> int:
    if col_wrap is not None:
        return max(1, min(int(col_wrap), n))
    if n_dims == 1:  # lines share their horizontal axis
        return 1
    return min(n, 2 if stderr or n <= 4 else 3)


def _grid(plt: Any, n: int, n_columns: int, axes: list[PlotAxis], figsize: Any, kwargs: dict[str, Any]) -> list[Axes]:
    n_rows = math.ceil(n / n_columns)
    width, height = (4.6, 3.4) if len(axes) == 2 else (7.0, 1.9)
    layout = "constrained"
    if len(axes) == 2 and "x" not in kwargs and "y" not in kwargs and same_scale(axes[1], axes[0]):
        layout = "compressed"  # axes of a fixed shape stand close
        ratio = np.ptp(axes[0].values) / max(np.ptp(axes[1].values), 1e-300)
        height = 0.5 + 3.1 * min(max(ratio, 0.35), 1.6)
    figure = plt.figure(figsize=figsize or (width * n_columns, height * n_rows + 0.3), layout=layout)
    places = figure.subplots(
        n_rows, n_columns, sharex=True, sharey=len(axes) == 2, squeeze=False, subplot_kw=kwargs.pop("subplot_kws", None)
    )
    for unused in places.flat[n:]:
        unused.set_visible(False)
    return list(places.flat[:n])


def _share_labels(places: list[Axes], n_columns: int) -> None:
    """Labels at the outer axes of the grid; the lowest of a column may have an empty place below it."""
    for i, ax in enumerate(places):
        if n_columns > 1 and i % n_columns:
            ax.set_ylabel("")
        lowest = i + n_columns >= len(places)
        ax.tick_params(labelbottom=lowest)
        if not lowest:
            ax.set_xlabel("")


# Maps


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
        return _draw_status_map(ax, loaded[name], axes, **own)
    return _draw_map(ax, loaded[name], axes, **colour_options(loaded, record, name, robust, kwargs))


def _draw_map(ax: Axes, array: xr.DataArray, axes: Sequence[PlotAxis], **kwargs: Any) -> Any:
    """Draw one map with xarray, blank where there is no value; returns the mesh."""
    ax.set_facecolor(BLANK)
    own_axes = all(kwargs.get(key) in (None, *array.dims) for key in ("x", "y"))
    if kwargs.get("add_colorbar", True):
        bar = {"label": label_of(array)} | (kwargs.get("cbar_kwargs") or {})
        if kwargs.get("cbar_ax") is None and not {"ax", "cax", "location", "orientation"} & set(bar):
            bar["cax"] = bar_axes(ax)
        kwargs["cbar_kwargs"] = bar
    drawn = _on_axes(array, axes) if own_axes else array
    mesh = drawn.plot.pcolormesh(ax=ax, **kwargs)
    ax.set_title(str(array.name))
    if own_axes:
        x = kwargs.get("x") or (array.dims[1] if kwargs.get("y") in (None, array.dims[0]) else array.dims[0])
        horizontal, vertical = axes if x == array.dims[0] else axes[::-1]
        horizontal.decorate(ax, "x")
        vertical.decorate(ax, "y")
        if same_scale(horizontal, vertical) and "transform" not in kwargs:
            ax.set_aspect("equal")
    return mesh


def _draw_status_map(ax: Axes, status: xr.DataArray, axes: Sequence[PlotAxis], **kwargs: Any) -> Any:
    """Draw which status each fit has: one colour each, its meaning and number of fits at the colour bar."""
    ranks, codes, options = _ranked(status)
    mesh = _draw_map(ax, ranks, axes, **options, **kwargs)
    _name_colours(mesh.colorbar, codes, status)
    return mesh


def _ranked(status: xr.DataArray) -> tuple[xr.DataArray, np.ndarray, dict[str, Any]]:
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


def _name_colours(bar: Any, codes: np.ndarray, status: xr.DataArray) -> None:
    counts = [int((status.values == code).sum()) for code in codes]
    bar.set_ticks(
        np.arange(len(codes)), labels=[f"{status_name(c)}\n{n} fits" for c, n in zip(codes, counts, strict=True)]
    )
    bar.ax.tick_params(which="both", length=0, labelsize="small")


def _on_axes(array: xr.DataArray, axes: Sequence[PlotAxis]) -> xr.DataArray:
    """The array with what the axes show as coordinates, in ascending or descending order."""
    shown = array.drop_vars([n for n, c in array.coords.items() if set(c.dims) & {one.dim for one in axes}])
    shown = shown.assign_coords({one.dim: (one.dim, one.values) for one in axes})
    return shown.isel({one.dim: one.order for one in axes})


# Facets


def _facets(loaded: xr.Dataset, record: FitRecord, names: list[str], robust: bool, **kwargs: Any) -> Any:
    """One variable over more than two dims, as xarray facets it."""
    if len(names) != 1:
        raise ValueError(f"Facets show one variable, and {listed(names)} are asked for: plot({names[0]!r}, col=...).")
    array = loaded[names[0]]
    given = [d for d in (kwargs["row"], kwargs["col"]) if d is not None]
    unknown = [d for d in given if d not in array.dims]
    if unknown:
        raise ValueError(
            f"row or col is {unknown[0]!r}, but the fits are over {array.dims}.{suggestion(unknown[0], array.dims)}"
        )
    left = [d for d in array.dims if d not in given]
    if len(left) not in (1, 2):
        raise ValueError(
            f"With facets over {listed(given)}, the dims {listed(left)} are left of {array.dims}; maps have two, lines "
            f"one. Select first: fit.isel({left[0] if left else given[0]}=0)."
        )
    axes = [axis_along(array, d) for d in left]
    if len(left) == 1:
        return _on_axes(array, axes).plot.line(x=left[0], **kwargs)
    if array.name == record.variable("fit_status"):
        ranks, codes, options = _ranked(array)
        grid = _on_axes(ranks, axes).plot.pcolormesh(**{**options, **kwargs})
        _name_colours(grid.cbar, codes, array)
    else:
        options = colour_options(loaded, record, str(array.name), robust, kwargs)
        options["cbar_kwargs"] = {"label": label_of(array)} | (options.get("cbar_kwargs") or {})
        grid = _on_axes(array, axes).plot.pcolormesh(**options)
    for ax in grid.axs.flat:
        ax.set_facecolor(BLANK)
    return grid
