"""Maps of parameters and what their neighbours say: fits to start from, fits that stand out, values for gaps.

Maps have the shape (..., *grid): the last axes are those along which positions are neighbours. Every function looks at
the maps as they are given, never at what it has filled in itself meanwhile, so that no order of work matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

__all__ = ["best_neighbours", "filled", "offsets", "stand_out"]

_FEWEST = 3  # neighbours that say what is usual
_USUAL = 3.0  # times the errors of the neighbours: no error of a fit like theirs is larger


def offsets(n_axes: int, radius: int) -> list[tuple[int, ...]]:
    """Steps to the neighbours within ``radius``, nearest first."""
    steps = [s for s in product(range(-radius, radius + 1), repeat=n_axes) if 0 < sum(i * i for i in s) <= radius**2]
    return sorted(steps, key=lambda s: (sum(i * i for i in s), s))


def best_neighbours(maps: np.ndarray, good: np.ndarray, radius: int, most: int, n_axes: int) -> np.ndarray:
    """Values of the nearest good neighbours of each position, (most, K, ..., *grid): NaN where there are fewer.

    ``maps`` are (K, ..., *grid) and ``good`` (..., *grid), with the grid on the last ``n_axes`` axes.
    """
    found = np.full((most, *maps.shape), np.nan)
    count = np.zeros(good.shape, dtype=int)
    for beside, there in zip(_beside(maps, radius, n_axes), _beside(good, radius, n_axes, False), strict=True):
        for slot in range(most):
            take = there & (count == slot)
            found[slot] = np.where(take, beside, found[slot])
        count += there
    return found


def stand_out(
    maps: np.ndarray, errors: np.ndarray, good: np.ndarray, radius: int, times: float, n_axes: int
) -> np.ndarray:
    """Positions where a parameter is unlike those of its good neighbours.

    It is further from their median than ``times`` their scatter (1.4826 median absolute deviations), and than
    ``times`` its standard error: its own or, where that is less, three times the median of theirs. A fit that ended
    elsewhere may have any error. Arguments as in `best_neighbours`; the answer, (..., *grid), is False where fewer than
    three neighbours are good.
    """
    if not n_axes:
        return np.zeros(good.shape, dtype=bool)
    beside, theirs = (_beside_good(a, good, radius, n_axes) for a in (maps, errors))
    enough = np.count_nonzero(np.isfinite(beside), axis=0) >= _FEWEST
    middle = _median(beside)
    scatter = 1.4826 * _median(np.abs(beside - middle))
    error = np.fmin(np.where(np.isfinite(errors), errors, 0.0), _USUAL * _median(theirs))
    with np.errstate(invalid="ignore"):
        far = np.abs(maps - middle) > times * np.fmax(scatter, error)
    return good & np.any(far & enough, axis=0)


def _beside_good(a: np.ndarray, good: np.ndarray, radius: int, n_axes: int) -> np.ndarray:
    """What good neighbours have, shape (m, *a.shape); NaN for others."""
    pairs = zip(_beside(a, radius, n_axes), _beside(good, radius, n_axes, False), strict=True)
    return np.stack([np.where(there, values, np.nan) for values, there in pairs])


def filled(maps: np.ndarray, n_axes: int) -> np.ndarray:
    """Maps (..., *grid) in which each NaN is the mean of the values beside it, from the rim of a gap to its middle.

    NaN is left only where a whole grid has no value.
    """
    maps = np.array(maps, dtype=float)
    axes = tuple(range(maps.ndim - n_axes, maps.ndim))
    while n_axes and (gaps := np.isnan(maps) & np.any(np.isfinite(maps), axis=axes, keepdims=True)).any():
        beside = np.stack(list(_beside(maps, 1, n_axes, corners=True)))
        known = np.isfinite(beside)
        n = np.count_nonzero(known, axis=0)
        mean = np.sum(np.where(known, beside, 0.0), axis=0) / np.maximum(n, 1)
        maps = np.where(gaps & (n > 0), mean, maps)
    return maps


def _beside(
    a: np.ndarray, radius: int, n_axes: int, outside: float | bool = np.nan, *, corners: bool = False
) -> Iterator[np.ndarray]:
    """The array seen from each neighbour; ``outside`` beyond its edges."""
    if not n_axes:
        return
    lead = a.ndim - n_axes
    padded = np.pad(a, [(0, 0)] * lead + [(radius, radius)] * n_axes, constant_values=outside)
    steps = offsets(n_axes, radius)
    if corners:
        steps = [s for s in product((-1, 0, 1), repeat=n_axes) if any(s)]
    for step in steps:
        cuts = [slice(radius + i, radius + i + n) for i, n in zip(step, a.shape[lead:], strict=True)]
        yield padded[(*[slice(None)] * lead, *cuts)]


def _median(a: np.ndarray) -> np.ndarray:
    """Median along the first axis of what is finite, NaN where nothing is."""
    ordered = np.sort(np.where(np.isfinite(a), a, np.nan), axis=0)  # NaN comes last
    n = np.count_nonzero(np.isfinite(a), axis=0)
    low, high = ((n - 1) // 2).clip(0)[None], (n // 2).clip(0, len(a) - 1)[None]
    middle: np.ndarray = 0.5 * (np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0))[0]
    return middle
