"""Noise of the data, and spikes: single samples that stand out among their neighbours.

Samples are those of a fit in the order of their coordinate. Nothing is taken out: a spike is moved towards its
neighbours, and a line that is a few samples wide stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns

__all__ = ["between_neighbours", "cleaned", "noise_of"]

_TO_SIGMA = 1.4826 / np.sqrt(1.5)  # of the median of second differences of Gaussian noise
_AWAY = 4.0  # standard errors beyond the neighbours
_SPREAD = 0.5  # of what neighbours differ by


def cleaned(fits: SampleColumns, level: np.ndarray | None = None) -> tuple[SampleColumns, np.ndarray]:
    """The fits without spikes, and the standard error (b,) of a sample of weight 1.

    ``level`` (n, b) is the continuum, if any is known. Without it the first and last samples stay as they are: there a
    steep model has all neighbours on one side.
    """
    n = fits.y.shape[0]
    if n < 5:
        return fits, np.zeros(fits.y.shape[1])
    kept = fits.W > 0.0
    y = _carried(fits.y if level is None else fits.y - level, kept)
    with np.errstate(divide="ignore"):
        noise = noise_of(y, fits.W, kept)
        error = noise / np.sqrt(fits.W)
    padded = np.concatenate([y[2:3], y[1:2], y, y[-2:-1], y[-3:-2]])
    calm = between_neighbours(y, [padded[i : i + n] for i in (0, 1, 3, 4)], error)
    if level is None:
        calm[:2], calm[-2:] = y[:2], y[-2:]
    else:
        calm += level
    return replace(fits, y=np.where(kept, calm, 0.0)), noise


def between_neighbours(y: np.ndarray, four: list[np.ndarray], error: np.ndarray) -> np.ndarray:
    """Values that lie no farther outside the middle two of four neighbours than noise does."""
    a, b, c, d = four
    inward, outward = np.minimum(np.maximum(a, b), np.maximum(c, d)), np.maximum(np.minimum(a, b), np.minimum(c, d))
    low, high = np.minimum(inward, outward), np.maximum(inward, outward)
    room = _AWAY * error + _SPREAD * (high - low)
    return np.clip(y, low - room, high + room)


def noise_of(y: np.ndarray, W: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Standard error of a sample of weight 1, from differences of neighbours, shape (b,)."""
    away = np.abs(y[1:-1] - 0.5 * (y[:-2] + y[2:])) * np.sqrt(W[1:-1])
    good = np.broadcast_to(kept[1:-1] & kept[:-2] & kept[2:], away.shape)
    ranked = np.where(good, away, np.inf).T
    if good.all():
        middle = ranked.shape[1] // 2
        return _TO_SIGMA * np.partition(ranked, middle, axis=1)[:, middle]
    ranked = np.sort(ranked, axis=1)
    middle = np.count_nonzero(good, axis=0) // 2
    found = np.take_along_axis(ranked, np.minimum(middle, ranked.shape[1] - 1)[:, None], axis=1)[:, 0]
    return _TO_SIGMA * np.where(np.isfinite(found), found, 0.0)


def _carried(a: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Values where those of samples that are left out are the last one before them, or the first."""
    if kept.all():
        return a
    rows = np.arange(a.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(kept, rows, -1), axis=0)
    last = np.where(last < 0, np.argmax(kept, axis=0)[None], last)
    return np.take_along_axis(np.broadcast_to(a, last.shape), last, axis=0)
