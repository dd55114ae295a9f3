"""Pictures of a whole result: maps, or lines where one dim remains."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.plotting.axes import PlotAxis, axis_along, same_scale
from xr_modelfit.plotting.facet_plots import check_facets, draw_facets
from xr_modelfit.plotting.map_drawing import draw_variable
from xr_modelfit.plotting.style import Picture, axes_given, check_size, pyplot
from xr_modelfit.records.record import FitRecord, RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chosen_variables", "plot", "select_variables"]


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
    """Draw the fits of ``record``; see `accessor.picture_methods.PictureMethods.plot`."""
    plt = pyplot("plot()")
    check_size(ax, figsize)
    names = chosen_variables(result, record, params, stderr)
    status_variable = record.variable("fit_status")
    facets = [dim for dim in (row, col) if dim is not None]
    if facets:
        if ax is not None:
            raise ValueError("ax is given with row or col; facets make their own axes. Leave one out.")
        check_facets(result[status_variable].dims, names, facets)
    elif status and ax is None and status_variable not in names:
        names.append(status_variable)
    loaded = select_variables(result, record, names, keep=facets)
    dims = loaded[status_variable].dims
    if facets:
        options = {"row": row, "col": col, "col_wrap": col_wrap, "figsize": figsize, **kwargs}
        return draw_facets(loaded, record, names[0], robust, **options)
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


def select_variables(
    result: xr.Dataset, record: FitRecord, names: Sequence[str], *, keep: Sequence[Hashable] = ()
) -> xr.Dataset:
    """The variables, all parameters with their errors, and the status; computed at once, without dims of size 1.

    Parameters are blank where the fit failed, whatever is kept there.

    Raises
    ------
    ValueError
        One position remains, or none.
    """
    status = record.variable("fit_status")
    parameters = [record.variable(name) for name in record.names if record.variable(name) in result]
    errors = [f"{name}_stderr" for name in parameters if f"{name}_stderr" in result]
    loaded = result[list(dict.fromkeys([*names, *parameters, *errors, status]))]
    loaded = loaded.squeeze([d for d, n in loaded.sizes.items() if n == 1 and d not in keep]).compute()
    if loaded[status].size == 0:
        raise ValueError(f"There is nothing to draw: the result has the sizes {dict(result[status].sizes)}.")
    if loaded[status].ndim == 0:
        raise ValueError(
            "The result holds one fit, and a map needs several. Draw the fit itself, data.modelfit.plot_fit(fit), or "
            "print its values, fit.modelfit.params.to_pandas()."
        )
    good = loaded[status] > 0
    return loaded.assign({name: loaded[name].where(good) for name in [*parameters, *errors]})


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
    return list(dict.fromkeys(names))


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
