"""Which values the axes of one fit show: what was fitted and the model; a far sample is an arrow at the edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["is_alone", "keep_in_view", "mark_outside", "show_between"]

_BEYOND = 0.5  # of the span of what was fitted: so far others may lie above or below it
_LONGEST = 3.0  # times the median: a longer bar does not count
_MARGIN = 0.05
_EDGE = 6.0  # points between an arrow and the edge


def is_alone(ax: Axes) -> bool:
    """Whether the limits are free, and nothing else is drawn on these axes or on those that share them."""
    others = ax.get_shared_y_axes().get_siblings(ax)
    return ax.get_autoscaley_on() and ax.get_yscale() == "linear" and not any(one.has_data() for one in others)


def keep_in_view(ax: Axes, fitted: np.ndarray, others: np.ndarray, model: np.ndarray, error: np.ndarray | None) -> None:
    """Narrow the limits of axes to what was fitted and the model, and to others that are near.

    ``fitted`` has shape (n,), NaN where a sample was left out, ``error`` (2, n): below and above.
    """
    bars = np.zeros((2, fitted.size)) if error is None else _usual(error, np.isfinite(fitted))
    core = np.concatenate([fitted - bars[0], fitted + bars[1], model])
    core = core[np.isfinite(core)]
    if core.size == 0:
        return
    low, high = float(core.min()), float(core.max())
    reach = _BEYOND * ((high - low) or abs(high) or 1.0)
    near = others[(others >= low - reach) & (others <= high + reach)]
    low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
    margin = 2 * _MARGIN * reach
    bottom, top = sorted(ax.get_ylim())
    # What is far stretches a side; the other keeps its limit unless that is far too.
    wide = bottom < low - reach - margin, top > high + reach + margin
    if any(wide):
        show_between(ax, max(bottom, low - margin), min(top, high + margin))


def show_between(ax: Axes, low: float, high: float) -> None:
    """Set the limits of a vertical axis, which goes on to rise or to fall."""
    ax.set_ylim(*((high, low) if ax.yaxis_inverted() else (low, high)))


def _usual(error: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Errors, and 0 for those that are unknown or much longer than most."""
    known = np.where(np.isfinite(error) & (error >= 0) & used, error, np.nan)
    longest = _LONGEST * np.nanmedian(known) if np.isfinite(known).any() else 0.0
    return np.where(known <= longest, known, 0.0)


def mark_outside(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Draw arrows at the edge that point to values out of view."""
    low, high = sorted(ax.get_ylim())
    turned, edge = ax.yaxis_inverted(), _EDGE * ax.figure.dpi / 72 / ax.get_window_extent().height
    for which, up in ((y > high, not turned), (y < low, turned)):
        if which.any():
            height = np.full(int(which.sum()), 1 - edge if up else edge)
            ax.plot(
                x[which], height, "^" if up else "v", transform=ax.get_xaxis_transform(), markersize=6, color=colour,
                zorder=4, scaley=False,
            )  # fmt: skip
