"""Edges of a box, to the sample: nothing that a fit does can move them."""

from __future__ import annotations

import numpy as np

from xr_modelfit.estimates.columns import running
from xr_modelfit.estimates.linear_part import Basis
from xr_modelfit.estimates.windows import Window

__all__ = ["between_edges"]

_ROUNDS = 3


def between_edges(z: np.ndarray, W: np.ndarray, x: np.ndarray, basis: Basis, window: Window) -> Window:
    """The window with each edge in turn where chi-square drops most; arguments as in `windows.best_window`.

    Edges lie half way between samples.
    """
    n, b = z.shape
    x = np.broadcast_to(x, (n, b))
    sums, weight = running(W * z), np.broadcast_to(running(W), (n + 1, b))
    shares = [np.broadcast_to(running(W * q), (n + 1, b)) for q in basis.columns]
    rows = np.arange(n + 1)[:, None]
    first = np.count_nonzero(x < window.centre - 0.5 * window.extent, axis=0)
    last = np.maximum(np.count_nonzero(x <= window.centre + 0.5 * window.extent, axis=0), first + 1)

    def at(a: np.ndarray, row: np.ndarray) -> np.ndarray:
        return np.take_along_axis(a, row[None], axis=0)

    def drops(fixed: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        s, own = side * (sums - at(sums, fixed)), side * (weight - at(weight, fixed))
        for share in shares:
            own = own - (share - at(share, fixed)) ** 2
        usable = (own > 0.0) & (side * (rows - fixed) >= 1)
        height = s / np.where(usable, own, 1.0)
        return np.where(usable & (np.sign(height) == np.sign(window.height)), s * height, -1.0), height

    fits = np.arange(b)
    height, drop = window.height, window.drop
    for side in (1, -1) * _ROUNDS:
        values, heights = drops(first if side > 0 else last, side)
        found = np.argmax(values, axis=0)
        better = values[found, fits] >= 0.0
        height = np.where(better, heights[found, fits], height)
        drop = np.where(better, values[found, fits], drop)
        if side > 0:
            last = np.where(better, found, last)
        else:
            first = np.where(better, found, first)
    padded = np.concatenate([2 * x[:1] - x[1:2], x, 2 * x[-1:] - x[-2:-1]])
    low = 0.5 * (at(padded, first) + at(padded, first + 1))[0]
    high = 0.5 * (at(padded, last) + at(padded, last + 1))[0]
    return Window(0.5 * (low + high), high - low, height, drop)
