r"""Samples in a plane, summed in cells, and the square of cells that stands out most.

The sums of a square are differences of an integral image. The drop of chi-square is that of `estimates.windows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xr_modelfit.estimates.cleaning import between_neighbours, noise_of
from xr_modelfit.estimates.columns import SampleColumns

__all__ = ["Cells", "Square", "best_square", "cells_of", "without_spikes"]

_MOST = 64  # cells along a side
_LONGER = 1.4
_OWN = 0.05


@dataclass(frozen=True)
class Cells:
    """A grid of ``side`` x ``side`` cells for each fit."""

    side: int
    at: np.ndarray  # (n, b): the cell of each sample, by its number in an array (side, side, b)
    origin: tuple[np.ndarray, np.ndarray]  # (b,) each: lowest coordinates
    size: tuple[np.ndarray, np.ndarray]  # (b,) each: the length of a cell along each coordinate

    def summed(self, a: np.ndarray) -> np.ndarray:
        """Sums of samples (n, b) in each cell, shape (side, side, b)."""
        b = self.at.shape[1]
        values = np.broadcast_to(a, self.at.shape)
        return np.bincount(self.at.ravel(), values.ravel(), self.side**2 * b).reshape(self.side, self.side, b)


@dataclass(frozen=True)
class Square:
    """The best square of each fit, (b,) each: centre, extent along both coordinates, height (NaN: none was found)."""

    centre: tuple[np.ndarray, np.ndarray]
    extent: tuple[np.ndarray, np.ndarray]
    height: np.ndarray


def cells_of(fits: SampleColumns) -> Cells:
    """Cells that hold one sample each where there are no more distinct coordinates than cells along a side."""
    n, b = fits.y.shape
    side = int(np.clip(np.ceil(np.sqrt(n)), 4, _MOST))
    at = np.zeros((n, b), dtype=np.int64)
    origins, sizes = [], []
    for x in fits.inputs:
        low, extent = np.min(x, axis=0), np.ptp(x, axis=0)
        extent = np.where(extent > 0.0, extent, 1.0)
        distinct = 1 + np.count_nonzero(np.diff(np.sort(x, axis=0), axis=0) > 1e-6 * extent, axis=0)
        count = np.minimum(distinct, side)
        cell = np.floor((x - low) / extent * count * (1.0 - 1e-9)).astype(np.int64)
        at = at * side + np.clip(cell, 0, side - 1)
        step = np.where(distinct <= side, extent / np.maximum(count - 1, 1), extent / count)
        origins.append(np.broadcast_to(np.where(distinct <= side, low - 0.5 * step, low), (b,)))
        sizes.append(np.broadcast_to(step, (b,)))
    return Cells(side, at * b + np.arange(b), (origins[0], origins[1]), (sizes[0], sizes[1]))


def without_spikes(fits: SampleColumns, cells: Cells) -> np.ndarray:
    """Data (n, b) without samples that stand out among the cells beside them."""
    weight = cells.summed(fits.W)
    kept = weight > 0.0
    with np.errstate(all="ignore"):
        mean = cells.summed(fits.W * fits.y) / weight
    mean = np.where(kept, mean, 0.0)
    flat = (cells.side**2, -1)
    noise = noise_of(mean.reshape(flat), weight.reshape(flat), kept.reshape(flat))
    four = []
    for axis in (0, 1):
        for by in (1, -1):
            beside, there = np.roll(mean, by, axis), np.roll(kept, by, axis)
            np.moveaxis(there, axis, 0)[0 if by == 1 else -1] = False
            four.append(np.where(there, beside, mean).ravel()[cells.at])
    with np.errstate(divide="ignore"):
        error = np.where(fits.W > 0.0, noise / np.sqrt(fits.W), 0.0)
    return np.where(fits.W > 0.0, between_neighbours(fits.y, four, error), 0.0)


def best_square(
    z: np.ndarray, W: np.ndarray, columns: Sequence[np.ndarray], cells: Cells, allowed: Sequence[np.ndarray]
) -> Square:
    """The square that lowers chi-square most, of data ``z`` (n, b) without what the orthonormal ``columns`` explain.

    ``allowed``, (b,) each: lowest and highest centre along each coordinate in turn, whether the peak may be positive,
    and negative.
    """
    b = z.shape[1]
    sums, weight = _integral(cells.summed(W * z)), _integral(cells.summed(np.broadcast_to(W, z.shape)))
    shares = [_integral(cells.summed(W * q)) for q in columns]
    best, height = np.zeros(b), np.full(b, np.nan)
    place, long = np.zeros((2, b), dtype=int), np.full(b, 1)
    for length in _lengths(cells.side):
        step = max(1, length // 4)
        s, whole = _squares(sums, length, step), _squares(weight, length, step)
        own = whole
        for share in shares:
            own = own - _squares(share, length, step) ** 2
        usable = own > np.maximum(_OWN * whole, 0.0)
        usable &= ((s > 0.0) & allowed[4]) | ((s < 0.0) & allowed[5])
        for axis in (0, 1):
            along = np.arange(s.shape[axis]) * step + 0.5 * length
            centre = np.expand_dims(cells.origin[axis] + along[:, None] * cells.size[axis], 1 - axis)
            room = 0.5 * cells.size[axis]
            if np.isfinite(allowed[2 * axis]).any() or np.isfinite(allowed[2 * axis + 1]).any():
                usable &= (centre >= allowed[2 * axis] - room) & (centre <= allowed[2 * axis + 1] + room)
        own = np.where(usable, own, 1.0)
        drop = np.where(usable, s * s / own, 0.0).reshape(-1, b)
        top = np.argmax(drop, axis=0)
        value = drop[top, np.arange(b)]
        better = value > best
        best, long = np.where(better, value, best), np.where(better, length, long)
        height = np.where(better, (s / own).reshape(-1, b)[top, np.arange(b)], height)
        place = np.where(better, np.stack(np.divmod(top, s.shape[1])) * step, place)
    u, v = (cells.origin[axis] + (place[axis] + 0.5 * long) * cells.size[axis] for axis in (0, 1))
    return Square((u, v), (long * cells.size[0], long * cells.size[1]), height)


def _lengths(side: int) -> list[int]:
    lengths, exact = [2], 2.0
    while lengths[-1] * _LONGER <= 0.8 * side:
        exact *= _LONGER
        lengths.append(max(lengths[-1] + 1, round(exact)))
    return lengths


def _integral(a: np.ndarray) -> np.ndarray:
    out = np.zeros((a.shape[0] + 1, a.shape[1] + 1, a.shape[2]))
    np.cumsum(np.cumsum(a, axis=0), axis=1, out=out[1:, 1:])
    return out


def _squares(a: np.ndarray, length: int, step: int) -> np.ndarray:
    upper, lower = a[length::step], a[: a.shape[0] - length : step]
    rows = upper - lower
    return rows[:, length::step] - rows[:, : a.shape[1] - length : step]
