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

_LONGER = 1.35  # each length than the one before
_OWN = 0.05  # of a box that the continuum must leave, or the two are not told apart


@dataclass(frozen=True)
class Window:
    """The best box of each fit, (b,) each: centre and extent in the coordinate, height, drop of chi-square."""

    centre: np.ndarray
    extent: np.ndarray
    height: np.ndarray
    drop: np.ndarray


@dataclass(frozen=True)
class Wish:
    """What a peak may be, (b,) each: range of its centre, its extent where that is known (NaN: it is not), signs."""

    low: np.ndarray
    high: np.ndarray
    extent: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def best_window(z: np.ndarray, W: np.ndarray, x: np.ndarray, basis: Basis, wish: Wish) -> Window:
    """The box that lowers chi-square most, of those that a peak may be.

    Parameters
    ----------
    z : ndarray, shape (n, b)
        Data without what ``basis`` explains.
    W : ndarray, shape (n, 1) or (n, b)
    x : ndarray, shape (n, 1) or (n, b)
        Sorted.
    """
    n, b = z.shape
    sums, weight = running(W * z), running(W)
    shares = [running(W * q) for q in basis.columns]
    best = np.full(b, -1.0)
    place, long = np.zeros(b, dtype=int), np.full(b, 2)
    for length, step in _lengths(n):
        s = sums[length::step] - sums[: n + 1 - length : step]
        whole = weight[length::step] - weight[: n + 1 - length : step]
        own = whole
        for share in shares:
            part = share[length::step] - share[: n + 1 - length : step]
            own = own - part * part
        usable = own > np.maximum(_OWN * whole, 0.0)
        drop = _allowed(s, wish) ** 2 * np.where(usable, 1.0 / np.where(usable, own, 1.0), 0.0)
        drop = _favoured(drop, x, length, step, wish)
        top = np.argmax(drop, axis=0)
        value = drop[top, np.arange(b)]
        better = value > best
        best = np.where(better, value, best)
        place, long = np.where(better, top * step, place), np.where(better, length, long)
    return _described(sums, weight, shares, x, place, long, best)


def _lengths(n: int) -> Iterator[tuple[int, int]]:
    """Lengths in samples, and how far apart boxes of a length begin."""
    length, exact = 2, 2.0
    while length <= max(2, 0.8 * n):
        yield length, max(1, length // 5)
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
    if not narrow and not known:
        return drop
    first, last = x[: x.shape[0] + 1 - length : step], x[length - 1 :: step]
    room = 0.5 * (last - first) / length  # of a sample: a centre is known no better
    if narrow:
        centre = 0.5 * (first + last)
        drop = np.where((centre >= wish.low - room) & (centre <= wish.high + room), drop, 0.0)
    if known:
        extent = (last - first) * (length / (length - 1.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.log(extent / wish.extent)
        drop = np.where(np.isfinite(off), drop / (1.0 + 4.0 * off * off), drop)
    return drop


def _described(
    sums: np.ndarray,
    weight: np.ndarray,
    shares: list[np.ndarray],
    x: np.ndarray,
    place: np.ndarray,
    long: np.ndarray,
    best: np.ndarray,
) -> Window:
    b = place.size
    fit = np.arange(b)

    def at(a: np.ndarray, row: np.ndarray) -> np.ndarray:
        return a[row, fit if a.shape[1] > 1 else np.zeros(b, dtype=int)]

    end = place + long
    own = at(weight, end) - at(weight, place)
    for share in shares:
        own = own - (at(share, end) - at(share, place)) ** 2
    first, last = at(x, place), at(x, end - 1)
    found = best > 0.0
    height = np.where(found, (at(sums, end) - at(sums, place)) / np.where(own > 0.0, own, 1.0), np.nan)
    return Window(0.5 * (first + last), (last - first) * (long / (long - 1.0)), height, np.where(found, best, 0.0))
