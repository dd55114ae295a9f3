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
from xr_modelfit.plotting.fit_words import title_of
from xr_modelfit.plotting.style import (
    BLANK,
    Picture,
    axes_given,
    bar_axes,
    check_size,
    label_of,
    pyplot,
)
from xr_modelfit.results.fit_samples import OneFit, one_fit_of
from xr_modelfit.results.selection import one_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_fit", "fit_axes", "plot_fit"]

_TITLE_PAD = 6.0  # points, as matplotlib has it
_MANY = 400  # samples: from here on, small dots without bars


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
    return Picture(axs[0].figure, np.array(axs, dtype=object), artists)


# A series


def _draw_series(axs: Sequence[Axes], one: OneFit, components: bool) -> dict[str, Any]:
    import matplotlib as mpl

    ax, coordinate = axs[0], one.coordinate()
    x, label = plot_values(coordinate)
    if x is None:
        x, label = np.arange(one.data.size, dtype=float).reshape(one.data.shape), label_of(coordinate)
    x, y, used, limits = x.ravel(), one.data.values.ravel().astype(float), one.used.ravel(), one.limits.ravel()
    error = None if one.sigma is None else np.stack([side.values.ravel() for side in one.sigma])
    colour = mpl.rcParams["axes.labelcolor"]  # as the text: seen on any background
    artists: dict[str, Any] = {"data": _draw_samples(ax, x, y, error, used & ~limits, colour, "data")}
    if limits.any():
        artists["upper_limits"] = _draw_limits(ax, x[limits], y[limits], error, limits, "upper limit")
    clipped = one.clipped.ravel()
    hollow = {
        name: (which, colour)
        for name, which, colour in (("left_out", np.isfinite(y) & ~used & ~clipped, "0.6"), ("clipped", clipped, "C3"))
        if which.any()
    }
    for name, (which, edge) in hollow.items():
        artists[name] = _draw_hollow(ax, x[which], y[which], edge, name.replace("_", " "))
    model = one.model().transpose(*one.data.dims).values.ravel()
    if np.isfinite(model).any():
        artists |= _draw_model(ax, x, model, one, components)
    elif not np.isfinite(y).any():
        _tell(ax, "no samples")
    elif len(axs) > 1:
        _tell(axs[1], "no model")
    if len(axs) > 1:
        residual = y - model
        artists["residuals"] = _draw_samples(axs[1], x, residual, error, used & ~limits, colour, None)
        if limits.any():
            _draw_limits(axs[1], x[limits], residual[limits], error, limits, None)
        for which, edge in hollow.values():
            _draw_hollow(axs[1], x[which], residual[which], edge)
        if "model" in artists:
            axs[1].axhline(0.0, color="C1", linewidth=1)
        axs[1].set_ylabel(label_of(one.data, "residuals"))
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


def _draw_samples(
    ax: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray | None, used: np.ndarray, colour: Any, label: str | None
) -> Any:
    """Dots, with bars where there are errors (2, n) and they can be told apart."""
    many = x.size > _MANY
    shown = used & np.isfinite(y)
    bars = None if error is None or many else error[:, shown]
    return ax.errorbar(
        x[shown], y[shown], bars, fmt=".", color=colour, ecolor="0.6", elinewidth=1, markersize=2 if many else 5,
        label=label,
    )  # fmt: skip


def _draw_limits(
    ax: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray | None, limits: np.ndarray, label: str | None
) -> Any:
    """Arrows down from the limits, as long as their errors where these are known."""
    low, high = ax.get_ylim()
    length = np.full(x.size, 0.1 * (high - low)) if error is None else error[0, limits]
    return ax.errorbar(x, y, length, uplims=True, fmt="_", color="C4", elinewidth=1, label=label)


def _draw_hollow(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str | None = None) -> Any:
    """Samples that took no part in the fit."""
    return ax.plot(x, y, "o", markersize=4, markerfacecolor="none", markeredgecolor=colour, label=label)[0]


def _draw_model(ax: Axes, x: np.ndarray, model: np.ndarray, one: OneFit, components: bool) -> dict[str, Any]:
    """The model as a curve, between the samples where it is known there, and the terms of a sum."""
    label, style = ("model", "-") if one.status > 0 else ("where the fit stopped", "--")
    numbers = np.asarray(ax.convert_xunits(x), dtype=float)  # dates as the axis counts them
    curve = one.curve()
    if curve is None:
        order = np.argsort(numbers, kind="stable")
        return {"model": ax.plot(numbers[order], model[order], style, color="C1", label=label, zorder=3)[0]}
    samples = curve.samples.ravel()
    known = np.isfinite(samples) & np.isfinite(numbers)
    order = np.argsort(samples[known], kind="stable")
    at = np.interp(curve.at, samples[known][order], numbers[known][order])
    found: dict[str, Any] = {"model": ax.plot(at, curve.values, style, color="C1", label=label, zorder=3)[0]}
    if components:
        found["components"] = _draw_terms(ax, at, curve.parts)
    return found


def _draw_terms(ax: Axes, at: np.ndarray, parts: Mapping[str, np.ndarray]) -> list[Any]:
    """The terms of a sum, in view unless the samples would get less than half of the height."""
    colours = [f"C{i}" for i in (0, 2, 4, 5, 6, 8, 9)]
    low, high = ax.get_ylim()
    lines = [
        ax.plot(at, values, ":", color=colours[i % len(colours)], linewidth=1.5, label=name, zorder=2.5)[0]
        for i, (name, values) in enumerate(parts.items())
    ]
    wide = ax.get_ylim()
    if wide[1] - wide[0] > 2 * (high - low):
        ax.set_ylim(low, high)
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
    return artists
