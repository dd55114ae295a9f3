"""A figure of several maps: its grid and size, labels at the outer axes, and words that fit where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_modelfit.plotting.axes import PlotAxis, same_scale
from xr_modelfit.plotting.sky import Sky, fit_sky_labels, hide_inner, is_sky_axes
from xr_modelfit.plotting.style import wrapped
from xr_modelfit.plotting.unit_words import on_lines, shown_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fit_sides", "fit_words", "make_room", "map_ratio", "panel_grid", "share_labels"]

_SMALLEST = 6.0  # points: what can still be read
_LEAST_WIDTH = 0.4  # of axes that give room to a colour bar


def map_ratio(horizontal: PlotAxis, vertical: PlotAxis, sky: Sky | None) -> float | None:
    """Height of a map in units of its width where both have one scale."""
    if sky is None and not same_scale(horizontal, vertical):
        return None
    spans = [one.reach[1] - one.reach[0] for one in (horizontal, vertical)]
    return spans[1] / max(spans[0], 1e-300) * (1.0 if sky is None else sky.aspect)


def panel_grid(
    plt: Any,
    shape: tuple[int, int],
    n_dims: int,
    ratio: float | None,
    figsize: tuple[float, float] | None,
    subplot_kws: Mapping[str, Any] | None,
) -> np.ndarray:
    """Axes (rows, columns) in a new figure, which share their horizontal axis and, for maps, the vertical one."""
    n_rows, n_columns = shape
    width, height = (4.6, 3.4) if n_dims == 2 else (7.0, 1.9)
    layout = "constrained"
    if n_dims == 2 and (ratio is not None or subplot_kws):
        layout = "compressed"  # axes of a fixed shape stand close
        height = 0.5 + 3.1 * min(max(0.55 if ratio is None else ratio, 0.35), 1.6)
    figure = plt.figure(figsize=figsize or (width * n_columns, height * n_rows + 0.3), layout=layout)
    return figure.subplots(
        n_rows, n_columns, sharex=True, sharey=n_dims == 2, squeeze=False, subplot_kw=dict(subplot_kws or {})
    )


def share_labels(places: Sequence[Axes], n_columns: int) -> None:
    """Labels at the outer axes of the grid; the lowest of a column may have an empty place below it."""
    for i, ax in enumerate(places):
        left, lowest = i % n_columns == 0, i + n_columns >= len(places)
        if is_sky_axes(ax):
            hide_inner(ax, left=left, lowest=lowest)
            continue
        if not left:
            ax.set_ylabel("")
        ax.tick_params(labelbottom=lowest)
        if not lowest:
            ax.set_xlabel("")


def make_room(axs: Iterable[Axes], artists: Iterable[Any]) -> None:
    """Fit words to maps on axes of the user's.

    In a figure without layout, axes become narrower, so that their colour bars keep away from the neighbours.
    """
    axs, bars = list(axs), [one.colorbar for one in artists if one.colorbar is not None]
    free = [bar for bar in bars if _is_inset(bar) and _root(bar.ax).get_layout_engine() is None]
    edges = [bar.mappable.axes.get_position(original=True).x1 for bar in free]
    _narrow(free, edges)
    fit_words(axs, bars)
    _narrow(free, edges)  # a label on two lines is wider


def _narrow(bars: Sequence[Any], edges: Sequence[float]) -> None:
    for _ in range(2):  # a shorter bar may have longer numbers
        for figure in {_root(bar.ax) for bar in bars}:
            figure.draw_without_rendering()
        for bar, edge in zip(bars, edges, strict=True):
            ax = bar.mappable.axes
            place, whole = ax.get_position(original=True), _root(ax).bbox.width
            tight = ax.get_tightbbox(_root(ax)._get_renderer())  # axes of the sky ask for a renderer
            left = place.x0 + max(0.0, 2.0 - tight.x0) / whole  # labels that the figure cuts off
            right = edge - (bar.ax.get_tightbbox().x1 - ax.get_window_extent().x1) / whole
            if right - left > _LEAST_WIDTH * (edge - left) and (right < place.x1 or left > place.x0):
                ax.set_position((left, place.y0, min(right, place.x1) - left, place.height))
                ax.set_in_layout(True)


def fit_words(axs: Iterable[Axes], bars: Iterable[Any]) -> None:
    """Break, then shrink, labels of colour bars, of vertical axes and titles that are longer than their axes."""
    axs, bars = list(axs), [bar for bar in bars if bar is not None]
    for bar in filter(_is_inset, bars):  # first by the size of axes before any layout, which long labels would spoil
        _fit_bar(bar)
    for _ in range(2):  # shorter labels give the axes more room
        _root(axs[0]).draw_without_rendering()
        for ax in filter(is_sky_axes, axs):
            fit_sky_labels(ax)
        changed = [_fit_bar(bar) or _fit_ticks(bar) for bar in bars] + [_fit_title(ax) for ax in axs]
        changed += [_fit_side(ax) for ax in axs if not is_sky_axes(ax)]
        if not any(changed):
            return


def fit_sides(axs: Sequence[Axes]) -> None:
    """Break, then shrink, labels beside axes that are longer than these, also after the layout."""
    for _ in range(2):
        changed = [_fit_side(ax) for ax in axs]  # first without a layout, which long labels would spoil
        if not any(changed):
            return
        _root(axs[0]).draw_without_rendering()


def _fit_bar(bar: Any) -> bool:
    if bar.orientation != "vertical":
        return False
    label, height = bar.ax.yaxis.label, _height(bar)
    long = label.get_window_extent().height if label.get_text() else 0.0
    if long <= height:
        return False
    longest = max(map(len, label.get_text().split("\n")))
    broken = wrapped(label.get_text(), max(int(longest * height / long), 8))
    if broken == label.get_text() or broken.count("\n") > 1:
        label.set_fontsize(max(_SMALLEST, float(label.get_fontsize()) * height / long))
    else:
        label.set_text(broken)
    return True


def _fit_side(ax: Axes) -> bool:
    """A label beside axes: on up to three lines, then smaller."""
    label, height = ax.yaxis.label, 1.1 * float(ax.get_window_extent().height)
    long = label.get_window_extent().height if label.get_text() else 0.0
    if long <= height:
        return False
    text = label.get_text()
    longest = max(map(shown_length, text.split("\n")))
    for width in (int(longest * height / long), longest // 2):
        broken = on_lines(text, max(width, 8))
        if broken.count("\n") <= 2 and broken != text:
            label.set_text(broken)
            break
    long = label.get_window_extent().height
    if long > height:
        label.set_fontsize(max(_SMALLEST, float(label.get_fontsize()) * height / long))
    return True


def _height(bar: Any) -> float:
    """Of the map beside a bar, in pixels; of the bar where it belongs to several maps."""
    return float((bar.mappable.axes if _is_inset(bar) else bar.ax).get_window_extent().height)


def _is_inset(bar: Any) -> bool:
    """Whether a bar belongs to one map, as an inset of its axes."""
    ax = bar.mappable.axes
    return ax is not None and bar.ax in ax.child_axes


def _fit_ticks(bar: Any) -> bool:
    """Names at a bar: on one line each, then smaller, until they do not touch."""
    if bar.orientation != "vertical":
        return False
    ticks = [one for one in bar.ax.get_yticklabels() if one.get_text() and any(map(str.isalpha, one.get_text()))]
    boxes = [one.get_window_extent() for one in ticks]
    if not any(a.overlaps(b) for a, b in pairwise(boxes)):
        return False
    if any("\n" in one.get_text() for one in ticks):
        bar.set_ticks(bar.get_ticks(), labels=[one.get_text().replace("\n", ": ") for one in bar.ax.get_yticklabels()])
        return True
    needed = max(box.height for box in boxes)
    there = bar.ax.get_window_extent().height / len(ticks)
    size = max(_SMALLEST - 2, float(ticks[0].get_fontsize()) * there / needed)
    bar.ax.tick_params(labelsize=size)
    return True


def _fit_title(ax: Axes) -> bool:
    title, width = ax.title, 1.3 * ax.get_window_extent().width  # the bar is below it too
    long = title.get_window_extent().width if title.get_text() else 0.0
    if long <= width:
        return False
    title.set_fontsize(max(_SMALLEST, float(title.get_fontsize()) * width / long))
    return True


def columns_of(n: int, n_dims: int, stderr: bool, col_wrap: int | None) -> int:
    """How many panels stand side by side."""
    if col_wrap is not None:
        return max(1, min(int(col_wrap), n))
    if n_dims == 1:  # lines share their horizontal axis
        return 1
    return min(n, 2 if stderr or n <= 4 else 3)


def rows_of(n: int, n_columns: int) -> int:
    return math.ceil(n / n_columns)


def _root(ax: Axes) -> Any:
    figure: Any = ax.figure
    while figure.figure is not figure:  # a part of a figure
        figure = figure.figure
    return figure
