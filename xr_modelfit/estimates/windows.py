r"""The stretch of samples that stands out most beside a continuum.

A peak is looked for as a box: neighbouring samples ``i .. i + L - 1``, of which there are some lengths ``L`` and, for
each, places a quarter of it apart. With ``z`` the data without the continuum, ``q_j`` the orthonormal columns of the
continuum, and sums over the box

    ``s = sum W z``,  ``h = sum W - sum_j (sum W q_j)^2``

adding the box to the continuum lowers chi-square by ``s^2 / h``, exactly, and its height is ``s / h``. All sums are
differences of running sums. A box keeps 94 % of the signal to noise that the shape of a Gaussian line would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xr_modelfit.estimates.columns import running
from xr_modelfit.estimates.linear_part import Basis

__all__ = ["Window", "Wish", "best_window"]

_LONGER = 1.4  # each length than the one before
_OWN = 0.05  # of a box that counts as its own at least: one that is like the continuum is not told apart from it


@dataclass(frozen=True)
class Window:
    """The best box of each fit, (b,) each: centre and extent in the coordinate, height, drop of chi-square."""

    centre: np.ndarray
    extent: np.ndarray
    height: np.ndarray
    drop: np.ndarray


@dataclass(frozen=True)
class Wish:
    """What a peak may be, (b,) each: ranges of its centre and extent, its extent if known (else NaN), and signs."""

    low: np.ndarray
    high: np.ndarray
    shortest: np.ndarray
    longest: np.ndarray
    extent: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    def only(self, ids: np.ndarray) -> Wish:
        """That of some of the fits."""
        return Wish(*(values[ids] for values in vars(self).values()))


def best_window(z: np.ndarray, W: np.ndarray, x: np.ndarray, basis: Basis, wish: Wish) -> Window:
    """The box that lowers chi-square most, of those that a peak may be.

    ``z`` (n, b) are data without what ``basis`` explains; ``W`` and the sorted ``x`` are (n, 1) or (n, b).
    """
    n, b = z.shape
    sums = _Sums(running(W * z), running(W), [running(W * q) for q in basis.columns])
    best, long = np.full(b, -1.0), np.full(b, 2)
    for length in _lengths(n):
        value = np.max(_drops(sums, x, length, wish), axis=0)
        better = value > best
        best, long = np.where(better, value, best), np.where(better, length, long)
    place = np.zeros(b, dtype=int)
    for length in np.unique(long).tolist():  # where it lies is looked up once, at the best length alone
        ids = np.flatnonzero(long == length)
        drops = _drops(sums.only(ids), x if x.shape[1] == 1 else x[:, ids], length, wish.only(ids))
        place[ids] = np.argmax(drops, axis=0) * _apart(length)
    return _described(sums, x, place, long, best)


@dataclass(frozen=True)
class _Sums:
    """Running sums of ``W z``, ``W`` and each ``W q_j``."""

    data: np.ndarray
    weight: np.ndarray
    shares: list[np.ndarray]

    def only(self, ids: np.ndarray) -> _Sums:
        parts = [a if a.shape[1] == 1 else a[:, ids] for a in (self.data, self.weight, *self.shares)]
        return _Sums(parts[0], parts[1], parts[2:])


def _drops(sums: _Sums, x: np.ndarray, length: int, wish: Wish) -> np.ndarray:
    """By how much each box of a length lowers chi-square."""
    step, stop = _apart(length), sums.data.shape[0] - length

    def over(a: np.ndarray) -> np.ndarray:
        return a[length::step] - a[:stop:step]

    whole = over(sums.weight)
    own = whole
    for share in sums.shares:
        part = over(share)
        own = own - part * part
    own = np.maximum(own, _OWN * whole)
    drop = _allowed(over(sums.data), wish)
    drop = drop * drop
    drop /= np.where(own > 0.0, own, np.inf)
    return _favoured(drop, x, length, step, wish)


def _apart(length: int) -> int:
    """How far apart boxes of a length begin."""
    return max(1, length // 4)


def _lengths(n: int) -> Iterator[int]:
    """Lengths in samples."""
    length, exact = 2, 2.0
    while length <= max(2, 0.8 * n):
        yield length
        exact *= _LONGER
        length = max(length + 1, round(exact))


def _allowed(s: np.ndarray, wish: Wish) -> np.ndarray:
    """Sums of the signs that the peak may have."""
    if wish.positive.all() and wish.negative.all():
        return s
    return np.where(((s > 0.0) & wish.positive) | ((s < 0.0) & wish.negative), s, 0.0)


def _favoured(drop: np.ndarray, x: np.ndarray, length: int, step: int, wish: Wish) -> np.ndarray:
    """Drops without those of centres out of range; of extents that are far from the known one, less of them."""
    narrow, known = np.isfinite(wish.low).any() or np.isfinite(wish.high).any(), np.isfinite(wish.extent).any()
    limited = (wish.shortest > 0.0).any() or np.isfinite(wish.longest).any()
    if not (narrow or known or limited):
        return drop
    first, last = x[: x.shape[0] + 1 - length : step], x[length - 1 :: step]
    if narrow:
        room = 0.5 * (last - first) / length  # of a sample: a centre is known no better
        centre = 0.5 * (first + last)
        drop = np.where((centre >= wish.low - room) & (centre <= wish.high + room), drop, 0.0)
    extent = (last - first) * (length / (length - 1.0))
    if limited:
        spare = 2.0 * extent / length  # as many samples as the shortest box has
        fitting = (extent * _LONGER + spare >= wish.shortest) & (extent <= wish.longest * _LONGER + spare)
        drop = np.where(fitting, drop, 0.0)
    if known:
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.log(extent / wish.extent)
        drop = np.where(np.isfinite(off), drop / (1.0 + 4.0 * off * off), drop)
    return drop


def _described(sums: _Sums, x: np.ndarray, place: np.ndarray, long: np.ndarray, best: np.ndarray) -> Window:
    fit = np.arange(place.size)

    def at(a: np.ndarray, row: np.ndarray) -> np.ndarray:
        return a[row, fit if a.shape[1] > 1 else 0 * fit]

    end = place + long
    own = at(sums.weight, end) - at(sums.weight, place)
    for share in sums.shares:
        own = own - (at(share, end) - at(share, place)) ** 2
    first, last = at(x, place), at(x, end - 1)
    height = (at(sums.data, end) - at(sums.data, place)) / np.where(own > 0.0, own, 1.0)
    found = best > 0.0
    extent = (last - first) * (long / (long - 1.0))
    return Window(0.5 * (first + last), extent, np.where(found, height, np.nan), np.where(found, best, 0.0))
