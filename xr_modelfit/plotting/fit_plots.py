"""The picture of one fit: samples, model, components, residuals, and the status in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_modelfit.messages import a
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.plotting.axes import axis_along, plot_values, same_scale
from xr_modelfit.plotting.fit_samples_drawn import DrawnSamples
from xr_modelfit.plotting.fit_units import in_unit_of_fit
from xr_modelfit.plotting.fit_view import is_alone, show_between
from xr_modelfit.plotting.fit_words import title_of
from xr_modelfit.plotting.panels import fit_sides, fit_words
from xr_modelfit.plotting.style import (
    BLANK,
    Picture,
    axes_given,
    bar_axes,
    check_size,
    label_of,
    pyplot,
)
from xr_modelfit.results.fit_samples import Curve, OneFit, one_fit_of
from xr_modelfit.results.selection import one_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_fit", "fit_axes", "plot_fit"]

_TITLE_PAD = 6.0  # points, as matplotlib has it


def plot_fit(
    obj: xr.DataArray | xr.Dataset,
    fit: xr.Dataset,
    position: Mapping[str, Any],
    *,
    data: str | None = None,
    model: ModelArg | None = None,
    components: bool = True,
    residuals: bool = True,
    sigma: Any = None,
    where: Any = None,
    exposure: Any = None,
    upper_limit: Any = None,
    integrate: Any = None,
    response: Any = None,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Picture:
    """Draw one fit; see `accessor.data_methods.DataMethods.plot_fit`."""
    plt = pyplot("plot_fit()")
    check_size(ax, figsize)
    if not isinstance(fit, xr.Dataset):
        raise TypeError(f"fit is {a(fit)}; pass the Dataset that fitting this data returned.")
    one = one_fit_of(
        obj, fit, one_fit(fit, data), position,
        sigma=sigma, where=where, exposure=exposure, upper_limit=upper_limit, model=model, integrate=integrate,
        response=response,
    )  # fmt: skip
    if ax is None:
        size = (4.0 * (2 + residuals), 4.8) if one.is_image else (7.0, 5.6 if residuals else 4.4)
        layout = "compressed" if one.is_image else "constrained"
        axs = fit_axes(plt.figure(figsize=figsize or size, layout=layout), one, residuals)
    elif one.is_image:
        axs = axes_given(ax, 2 + residuals, "the images of data, model" + (" and residuals" if residuals else ""))
    else:
        residuals = residuals and np.size(np.asarray(ax, dtype=object)) > 1  # one axes: the fit alone
        axs = axes_given(ax, 1 + residuals, "fit and residuals" if residuals else "the fit")
    return draw_fit(axs, one, components=components, own_figure=ax is None)


def fit_axes(figure: Any, one: OneFit, residuals: bool = True, *, narrow: bool = False) -> list[Axes]:
    """Axes in a figure or a part of one: images side by side, or residuals under the samples."""
    if one.is_image and narrow:
        axs = figure.subplots(2, 2, sharex=True, sharey=True)
        axs[1, 1].set_visible(False)
        return list(axs.flat[: 2 + residuals])
    if one.is_image:
        return list(figure.subplots(1, 2 + residuals, sharex=True, sharey=True))
    if not residuals:
        return [figure.subplots()]
    return list(figure.subplots(2, 1, sharex=True, height_ratios=[3, 1]))


def draw_fit(axs: Sequence[Axes], one: OneFit, *, components: bool = True, own_figure: bool = True) -> Picture:
    """Draw into axes made for it; without axes for the residuals, these are left out."""
    artists = _draw_image(axs, one) if one.is_image else _draw_series(axs, one, components)
    size = 0.8 * float(axs[0].title.get_fontsize())
    width = axs[0].figure.get_window_extent().width / axs[0].figure.dpi * 72
    text = title_of(one, max(int(width * 0.85 / (0.55 * size)), 30))
    if one.is_image and own_figure:
        axs[0].figure.suptitle(text, fontsize=size, ha="center")
    else:
        axs[0].set_title(text, fontsize=size, loc="left", pad=_legend_height(axs[0]) + _TITLE_PAD)
    fit_sides(axs)
    return Picture(axs[0].figure, np.array(axs, dtype=object), artists)


# A series


def _draw_series(axs: Sequence[Axes], one: OneFit, components: bool) -> dict[str, Any]:
    ax, coordinate = axs[0], one.coordinate()
    free = [is_alone(place) for place in axs]
    if not any(place.has_data() for place in axs):  # what is there keeps its axis
        coordinate = in_unit_of_fit(one, coordinate)
    x, label = plot_values(coordinate)
    if x is None:
        x, label = np.arange(one.data.size, dtype=float).reshape(one.data.shape), label_of(coordinate)
    x, y = x.ravel(), one.data.values.ravel().astype(float)
    error = None if one.sigma is None else np.stack([side.values.ravel() for side in one.sigma])
    samples = DrawnSamples(x, error, one.used.ravel(), one.limits.ravel(), one.clipped.ravel())
    artists = samples.draw(ax, y)
    model = one.model().transpose(*one.data.dims).values.ravel()
    curve = one.curve() if np.isfinite(model).any() else None
    if np.isfinite(model).any():
        artists["model"] = _draw_model(ax, x, model, one, curve)
    elif not np.isfinite(y).any():
        _tell(ax, "no samples")
    elif len(axs) > 1:
        _tell(axs[1], "no model")
    if free[0]:
        samples.keep_in_view(ax, y, artists["model"].get_ydata() if "model" in artists else model)
    if curve is not None and components:
        artists["components"] = _draw_terms(ax, _along(ax, x, curve), curve.parts)
    if len(axs) > 1:
        artists["residuals"] = samples.draw(axs[1], y - model, named=False)["data"]
        if "model" in artists:
            axs[1].axhline(0.0, color="C1", linewidth=1)
        if free[1]:
            samples.keep_in_view(axs[1], y - model, np.zeros(1))
        beside = label_of(one.data, "residuals")
        axs[1].set_ylabel(beside if "\n" not in beside else "residuals")  # the panel above tells a long unit
    ax.set_ylabel(label_of(one.data))
    axs[-1].set_xlabel(label)
    if np.isfinite(y).any():
        _legend(ax, artists)
    elif x.size > 1 and not pd.isnull(x).any():
        ax.set_xlim(x.min(), x.max())
    return artists


def _tell(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="0.5")
    ax.set_yticks([])


def _legend(ax: Axes, artists: Mapping[str, Any]) -> None:
    """Above the axes, where no sample is; data first, as they are drawn (matplotlib puts bars last)."""
    shown = [one for entry in artists.values() for one in (entry if isinstance(entry, list) else [entry])]
    shown = [one for one in shown if (one.get_label() or "_")[0] != "_"]
    for columns in range(len(shown), 0, -1):
        legend = ax.legend(
            handles=shown, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize="small", frameon=False,
            borderaxespad=0.1, borderpad=0.2, columnspacing=1.2,
        )  # fmt: skip
        if legend.get_window_extent().width <= ax.get_window_extent().width:
            return


def _legend_height(ax: Axes) -> float:
    """In points."""
    legend = ax.get_legend()
    return 0.0 if legend is None else legend.get_window_extent().height / ax.figure.dpi * 72


def _draw_model(ax: Axes, x: np.ndarray, model: np.ndarray, one: OneFit, curve: Curve | None) -> Any:
    """The model as a curve, between the samples where it is known there."""
    label, style = ("model", "-") if one.status > 0 else ("where the fit stopped", "--")
    if curve is None:
        numbers = np.asarray(ax.convert_xunits(x), dtype=float)  # dates as the axis counts them
        order = np.argsort(numbers, kind="stable")
        at, values = numbers[order], model[order]
    else:
        at, values = _along(ax, x, curve), curve.values
    return ax.plot(at, values, style, color="C1", label=label, zorder=3)[0]


def _along(ax: Axes, x: np.ndarray, curve: Curve) -> np.ndarray:
    """Where the points of a curve are along the axis, dates as the axis counts them."""
    numbers, samples = np.asarray(ax.convert_xunits(x), dtype=float), curve.samples.ravel()
    known = np.isfinite(samples) & np.isfinite(numbers)
    order = np.argsort(samples[known], kind="stable")
    return np.interp(curve.at, samples[known][order], numbers[known][order])


def _draw_terms(ax: Axes, at: np.ndarray, parts: Mapping[str, np.ndarray]) -> list[Any]:
    """The terms of a sum, in view unless the samples would get less than half of the height."""
    colours = [f"C{i}" for i in (0, 2, 4, 5, 6, 8, 9)]
    low, high = sorted(ax.get_ylim())
    free = ax.get_autoscaley_on()
    lines = [
        ax.plot(at, values, ":", color=colours[i % len(colours)], linewidth=1.5, label=name, zorder=2.5)[0]
        for i, (name, values) in enumerate(parts.items())
    ]
    wide = sorted(ax.get_ylim())
    if not free and parts:  # the limits do not follow what is drawn
        shown = np.concatenate([values[np.isfinite(values)] for values in parts.values()])
        wide = [min(low, shown.min(initial=low)), max(high, shown.max(initial=high))]
        if wide[1] - wide[0] <= 2 * (high - low):
            margin = 0.05 * (wide[1] - wide[0])
            show_between(
                ax,
                low if wide[0] >= low else wide[0] - margin,
                high if wide[1] <= high else wide[1] + margin,
            )
    if wide[1] - wide[0] > 2 * (high - low):
        show_between(ax, low, high)
        for line, values in zip(lines, parts.values(), strict=True):
            if not ((values > low) & (values < high)).any():
                line.set_label(f"{line.get_label()} (out of view)")
    return lines


# An image


def _draw_image(axs: Sequence[Axes], one: OneFit) -> dict[str, Any]:
    data, model = one.data.astype(float), one.model().transpose(*one.data.dims)
    axes = [axis_along(one.data, dim) for dim in one.data.dims]
    used = data.where(xr.DataArray(one.used, dims=data.dims))
    pictures = {"data": used, "model": model, "residuals": used - model}
    shown = np.concatenate([p.values[np.isfinite(p.values)].ravel() for p in (used, model)])
    low, high = np.percentile(shown, (1, 99)) if shown.size else (0.0, 1.0)
    left = pictures["residuals"].values
    reach = float(np.percentile(np.abs(left[np.isfinite(left)]), 98)) if np.isfinite(left).any() else 1.0
    artists = {}
    y, x = (axis.values[axis.order] for axis in axes)
    for ax, (name, picture) in zip(axs, pictures.items(), strict=False):
        limits = {"cmap": xr.get_options()["cmap_divergent"], "vmin": -reach, "vmax": reach}
        if name != "residuals":
            limits = {"cmap": xr.get_options()["cmap_sequential"], "vmin": low, "vmax": high}
        values = picture.values[np.ix_(axes[0].order, axes[1].order)]
        ax.set_facecolor(BLANK)
        artists[name] = ax.pcolormesh(x, y, np.ma.masked_invalid(values), shading="nearest", **limits)
        axes[1].decorate(ax, "x")
        axes[0].decorate(ax, "y")
        if same_scale(axes[1], axes[0]):
            ax.set_aspect("equal")
        ax.set_title(name)
        if ax is not axs[0]:
            ax.set_ylabel("")
    for name, ax in zip(pictures, axs, strict=False):
        if name != "data":  # it has the colours of the model
            label = label_of(one.data, "residuals" if name == "residuals" else None)
            ax.figure.colorbar(artists[name], cax=bar_axes(ax), label=label, extend="both")
    fit_words(axs, [artist.colorbar for artist in artists.values()])
    return artists
