r"""Chi-square of many points, the linear parameters solved for at each.

With the columns of a point made orthonormal, ``C`` (m of them), and squared weights ``W``

    drop of chi-square ``g' G^-1 g``,  ``G = C' W C``,  ``g = C' W (y - f0)``

Where fits share coordinates and points, columns are made once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns, inner
from xr_modelfit.estimates.linear_part import Basis, columns_at
from xr_modelfit.estimates.points import point, unit_points, usual_ranges
from xr_modelfit.estimates.roles import ParameterRole

__all__ = ["best_points"]

_FEW = 64
Scale = tuple[Sequence[int], Sequence[ParameterRole], dict[int, tuple[float, float]]]


def best_points(
    fits: SampleColumns,
    P: np.ndarray,
    roles: Sequence[ParameterRole],
    searched: np.ndarray,
    linear: np.ndarray,
    keep: int = 1,
) -> list[np.ndarray]:
    """The best points, each as parameters (K, b) of which those that are searched (K,) are as chi-square is least.

    ``linear`` (K,) are those that are solved for at each point; ``P`` (K, b) has the others. Fits for which the model
    is no number at any point keep their start.
    """
    numbers = np.flatnonzero(searched).tolist()
    if not numbers:
        return [P]
    units, usual = unit_points(len(numbers)), usual_ranges(fits.problem)
    if not fits.problem.traits.broadcasts:  # fits are evaluated one by one
        units = units[:_FEW]
    shared = all(x.shape[1] == 1 for x in fits.inputs) and all(
        np.array_equal(a, np.broadcast_to(a[:, :1], a.shape)) for a in (P[~linear], fits.lower, fits.upper, fits.start)
    )
    base = P[:, :1] if shared else P
    best, found = [np.full(fits.y.shape[1], -np.inf)] * keep, [P] * keep
    Wy = fits.W * fits.y
    for Q, zero, columns in _each(fits, base, units, (numbers, roles, usual), linear, shared):
        drop, here = _drop(fits, Wy, zero, columns), Q[numbers]
        for k in range(keep):  # the best stay in order
            better = drop > best[k]
            if not better.any():
                continue
            moved = found[k][numbers]
            best[k], drop = np.where(better, drop, best[k]), np.where(better, best[k], drop)
            found[k] = found[k].copy()
            found[k][numbers] = np.where(better, here, moved)
            here = np.where(better, moved, here)
    return found


def _each(
    fits: SampleColumns, base: np.ndarray, units: np.ndarray, scale: Scale, linear: np.ndarray, shared: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Each point with the model's constant part and columns there."""
    if not shared:
        for u in units:
            Q = fits.problem.with_ties(point(fits, u, *scale, base))
            yield Q, *columns_at(fits, Q, linear)
        return
    step = max(1, 2**17 // fits.y.shape[0])
    for first in range(0, len(units), step):
        Q = np.concatenate([point(fits, u, *scale, base) for u in units[first : first + step]], axis=1)
        Q = fits.problem.with_ties(np.ascontiguousarray(Q))
        zero, columns = columns_at(fits, Q, linear)
        for g in range(Q.shape[1]):
            one = slice(g, g + 1)
            yield Q[:, one], np.ascontiguousarray(zero[:, one]), [np.ascontiguousarray(c[:, one]) for c in columns]


def _drop(fits: SampleColumns, Wy: np.ndarray, zero: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    """By how much chi-square is below that of no model at all, shape (b,); minus infinity where it is no number."""
    ones = np.ones((zero.shape[0], 1))
    with np.errstate(all="ignore"):
        C = Basis.of(columns, ones).columns
        m = len(C)
        g = [inner(c, Wy) for c in C]
        gain: np.ndarray | float = 0.0
        if np.any(zero != 0.0):
            g = [a - inner(zero * c, fits.W) for a, c in zip(g, C, strict=True)]
            gain = 2.0 * inner(zero, Wy) - inner(zero * zero, fits.W)
        G = [[inner(C[i] * C[j], fits.W) for j in range(i + 1)] for i in range(m)]
        gain = gain + _quadratic(G, g)
    return np.where(np.isfinite(gain), np.broadcast_to(gain, (fits.y.shape[1],)), -np.inf)


def _quadratic(G: list[list[np.ndarray]], g: list[np.ndarray]) -> np.ndarray | float:
    """``g' G^-1 g`` by Cholesky; a column that depends on those before it counts nothing."""
    L: list[list[np.ndarray]] = []
    z: list[np.ndarray] = []
    total: np.ndarray | float = 0.0
    for i, row in enumerate(G):
        mine: list[np.ndarray] = []
        for j in range(i):
            mine.append((row[j] - sum(mine[k] * L[j][k] for k in range(j))) / L[j][j])
        rest = row[i] - sum(a * a for a in mine)
        pivot = np.where(rest > 1e-9 * row[i], np.sqrt(np.maximum(rest, 0.0)), np.inf)
        L.append([*mine, pivot])
        z.append((g[i] - sum(a * b for a, b in zip(mine, z, strict=True))) / pivot)
        total = total + z[i] * z[i]
    return total
