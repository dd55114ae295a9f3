"""A map to click on: each click draws the fit of that position beside it."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed, outside_level
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.plotting.axes import axis_along, cell_edges
from xr_modelfit.plotting.fit_plots import draw_fit, fit_axes
from xr_modelfit.plotting.map_drawing import draw_variable
from xr_modelfit.plotting.style import Picture, pyplot
from xr_modelfit.plotting.variables import Selected, chosen_variables, select_variables
from xr_modelfit.records.record import FitRecord
from xr_modelfit.results.fit_samples import OneFit, data_of, known_names, one_fit_of
from xr_modelfit.results.instrument import Instrument
from xr_modelfit.results.positions import index_label, labels_at, number_at
from xr_modelfit.results.rates import exposure_of

if TYPE_CHECKING:
    from matplotlib.backend_bases import KeyEvent, MouseEvent

__all__ = ["Inspector", "inspect"]

_ARROWS = {"left": (-1, 0), "right": (1, 0), "down": (0, -1), "up": (0, 1)}


def inspect(
    result: xr.Dataset,
    obj: xr.DataArray | xr.Dataset,
    record: FitRecord,
    param: str | None,
    *,
    model: ModelArg | None = None,
    sigma: Any = None,
    where: Any = None,
    exposure: Any = None,
    upper_limit: Any = None,
    integrate: Any = None,
    response: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Inspector:
    """Open a map of the fits of ``record``; see `accessor.picture_methods.PictureMethods.inspect`."""
    plt = pyplot("inspect()")
    # A wrong argument is told now, not at the first click.
    labels = known_names(obj, data_of(obj, record))
    Instrument.of(labels, record, integrate, response)
    exposure_of(labels, record, exposure)
    (name,) = chosen_variables(result, record, record.names[0] if param is None else param)
    beside = [record.variable("reduced_chi2")] if record.variable("reduced_chi2") in result else []
    selected = select_variables(result, record, [name, *beside])
    dims = selected.dims
    if not dims:
        raise ValueError(
            "The result holds one fit, and the map to click on needs several. Draw the fit itself: "
            "data.modelfit.plot_fit(fit)."
        )
    if len(dims) > 2:
        raise ValueError(
            f"The fits are over {len(dims)} dims, {dims}; the map has two. Select first: "
            f"fit.isel({dims[0]}=0).modelfit.inspect(data)."
        )
    height = 7.0 if len(record.content["fitted_dims"]) > 1 else 5.4  # images need more room than a series
    figure = plt.figure(figsize=figsize or (12.0, height), layout="constrained")
    if _is_still(figure):
        warnings.warn(
            f"inspect() needs a live backend to click on, and matplotlib draws still pictures here "
            f"({plt.get_backend()}). In a notebook begin with %matplotlib widget (pip install ipympl), in a script "
            "choose a backend with windows: matplotlib.use('QtAgg'). select(...) works all the same; one picture is "
            "data.modelfit.plot_fit(fit, ...).",
            UserWarning,
            stacklevel=outside_level(),
        )
    options = {"model": model, "sigma": sigma, "where": where, "exposure": exposure, "upper_limit": upper_limit}
    options |= {"integrate": integrate, "response": response}
    mask = result.get(record.variable("clipped"))  # as large as the data, and read at a click
    if mask is not None:
        mask = mask.squeeze([d for d in result[name].dims if d not in dims])
    return Inspector(figure, selected, obj, record, name, options, mask)


def _is_still(figure: Any) -> bool:
    """Whether nobody can click on a figure: it belongs to no framework of windows, and to no browser."""
    canvas = figure.canvas
    return getattr(canvas, "required_interactive_framework", None) is None and not hasattr(canvas, "handle_event")


class Inspector:
    """A figure with a map of the fits and a picture of the fit that was clicked.

    Attributes
    ----------
    fig : matplotlib.figure.Figure
    ax_map : matplotlib.axes.Axes
    picture : Picture or None
        The fit that is shown, as ``plot_fit`` returns it.
    """

    def __init__(
        self,
        figure: Any,
        selected: Selected,
        obj: xr.DataArray | xr.Dataset,
        record: FitRecord,
        name: str,
        options: dict[str, Any],
        mask: xr.DataArray | None,
    ) -> None:
        self.fig = figure
        self.picture: Picture | None = None
        loaded = selected.loaded
        self._fits = loaded if mask is None else loaded.assign({record.variable("clipped"): mask})
        self._obj, self._record, self._options = obj, record, options
        self._dims = loaded[name].dims
        axes = [axis_along(loaded, dim) for dim in self._dims]
        left, self._right = figure.subfigures(1, 2, width_ratios=[1, 1.15])
        self.ax_map = left.subplots()
        draw_variable(self.ax_map, selected, name, axes)
        still = _is_still(figure)
        words = "a still picture: clicks need a live backend" if still else "click on a position; arrow keys move"
        left.supxlabel(words + ("; grey: no fit" if len(axes) == 2 else ""), fontsize="small")
        self._axes = dict(zip(("x", "y"), axes[::-1], strict=False))  # a line has no second axis
        self._index: dict[Hashable, int] = {}
        self._marks: list[Any] = []
        # Closures, not methods: the canvas keeps only weak references to methods.
        connect = figure.canvas.mpl_connect
        self._connections = [
            connect("button_press_event", lambda event: self._clicked(event)),
            connect("key_press_event", lambda event: self._pressed(event)),
        ]
        manager = figure.canvas.manager
        own = getattr(manager, "key_press_handler_id", None)
        self._default_keys = own is not None
        if own is not None:  # its arrows go through the history of views; other keys are passed on
            figure.canvas.mpl_disconnect(own)

    @property
    def selected(self) -> dict[Hashable, Any] | None:
        """The position that is shown, by label (by number along a dim without one); None before the first click."""
        if not self._index:
            return None
        return labels_at(self._fits, self._index)

    def select(self, **position: Any) -> None:
        """Draw the fit at a position, given by label as in ``plot_fit``.

        Raises
        ------
        ValueError
            A label is missing or not there, or the data has no such position.
        """
        dims = {str(dim): dim for dim in self._dims}
        if set(position) != set(dims):
            raise ValueError(
                f"select got {listed(position)}; the dims of the fits are {tuple(dims)}. Name a label of each."
            )
        index = {dim: number_at(self._fits, dim, position[name]) for name, dim in dims.items()}
        self._show(index, self._fit_at(index))

    def _fit_at(self, index: dict[Hashable, int]) -> OneFit:
        labels = {str(dim): index_label(self._fits, dim, i) for dim, i in index.items()}
        return one_fit_of(self._obj, self._fits, self._record, labels, **self._options)

    def _show(self, index: dict[Hashable, int], one: OneFit | str) -> None:
        self._index = index
        self._right.clear()
        if isinstance(one, str):
            self.picture = None
            self._right.text(0.05, 0.9, "\n".join(textwrap.wrap(one, 60)), va="top")
        else:
            self.picture = draw_fit(fit_axes(self._right, one, narrow=True), one)
        self._mark()
        self.fig.canvas.draw_idle()

    def _try(self, index: dict[Hashable, int]) -> None:
        """Show a position; what is wrong with it is told in the figure, since nobody catches an error of a click."""
        try:
            one: OneFit | str = self._fit_at(index)
        except ValueError as error:
            one = str(error)
        self._show(index, one)

    def _mark(self) -> None:
        for mark in self._marks:
            mark.remove()
        x, *y = (axis.values[self._index[axis.dim]] for axis in self._axes.values())
        # Black and white together are seen on any colour.
        if y:
            square: dict[str, Any] = {"marker": "s", "markersize": 9, "markerfacecolor": "none", "linestyle": "none"}
            styles = ({"markeredgecolor": "black", "markeredgewidth": 3}, {"markeredgecolor": "white"})
            self._marks = [self.ax_map.plot([x], y, **(square | style), zorder=5)[0] for style in styles]
        else:
            self._marks = [self.ax_map.axvline(x, color="0.3", linewidth=1, linestyle="--")]

    # Events

    def _clicked(self, event: MouseEvent) -> None:
        toolbar = getattr(self.fig.canvas, "toolbar", None)
        if event.inaxes is not self.ax_map or event.button != 1 or str(getattr(toolbar, "mode", "")):
            return
        index = {}
        for side, at in (("x", event.xdata), ("y", event.ydata)):
            if side not in self._axes:
                continue
            number = None if at is None else self._nearest(side, at, inside=len(self._axes) == 2)
            if number is None:
                return
            index[self._axes[side].dim] = number
        self._try({dim: index[dim] for dim in self._dims})

    def _numbers(self, side: str) -> np.ndarray:
        """Where the positions are along an axis, dates as the axis counts them."""
        return np.asarray(getattr(self.ax_map, f"convert_{side}units")(self._axes[side].values), dtype=float)

    def _nearest(self, side: str, at: float, *, inside: bool) -> int | None:
        numbers = self._numbers(side)
        edges = cell_edges(np.sort(numbers))
        if inside and not edges[0] <= at <= edges[-1]:
            return None
        return int(np.argmin(np.abs(numbers - at)))

    def _pressed(self, event: KeyEvent) -> None:
        if event.key not in _ARROWS:
            if self._default_keys:
                from matplotlib.backend_bases import key_press_handler

                key_press_handler(event, self.fig.canvas, self.fig.canvas.toolbar)
            return
        index = {}
        for (side, axis), step in zip(self._axes.items(), _ARROWS[event.key], strict=False):
            numbers = self._numbers(side)
            order = np.argsort(numbers, kind="stable")
            rank = int(np.flatnonzero(order == self._index.get(axis.dim, order[len(order) // 2]))[0])
            if self._index:  # the first press shows the middle
                step = -step if getattr(self.ax_map, f"{side}axis_inverted")() else step
                rank = min(max(rank + step, 0), len(order) - 1)
            index[axis.dim] = int(order[rank])
        index = {dim: index[dim] for dim in self._dims}
        if index != self._index:
            self._try(index)

    def close(self) -> None:
        """End it: take no more clicks, and close the figure."""
        import matplotlib.pyplot as plt

        for connection in self._connections:
            self.fig.canvas.mpl_disconnect(connection)
        self._connections = []
        plt.close(self.fig)
