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
_POINTS_AT_ONCE = 2**17  # times samples
_IN_CACHE = 2**16  # numbers of a part of the fits: data, and drops at all points
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
    best = _Best(P[numbers], keep)
    scale = numbers, roles, usual
    if shared:
        _try_for_all(fits, P[:, :1], units, scale, linear, best)
    else:
        Wy = fits.W * fits.y
        for u in units:
            Q = fits.problem.with_ties(point(fits, u[:, None], *scale, P))
            best.take(_drop(fits, Wy, *columns_at(fits, Q, linear)), Q[numbers])
    found = []
    for values in best.values:
        found.append(P.copy())
        found[-1][numbers] = values
    return found


class _Best:
    """The best points of each fit, in order: drops of chi-square (keep, b), and values (keep, d, b) of parameters."""

    def __init__(self, starts: np.ndarray, keep: int) -> None:
        self.drops = np.full((keep, starts.shape[1]), -np.inf)
        self.values = np.repeat(starts[None], keep, axis=0)

    def take(self, drop: np.ndarray, here: np.ndarray, some: slice = slice(None)) -> None:
        """Put a point of each of ``some`` fits in its place, if it is among the best; (b,), and (d, b) or (d, 1)."""
        for best, values in zip(self.drops[:, some], self.values[..., some], strict=True):
            better = drop > best
            best[:], drop = np.where(better, drop, best), np.where(better, best, drop)
            values[:], here = np.where(better, here, values), np.where(better, values, here)


def _try_for_all(
    fits: SampleColumns, base: np.ndarray, units: np.ndarray, scale: Scale, linear: np.ndarray, best: _Best
) -> None:
    """Try points that fits share: the model is evaluated once for all of them."""
    numbers = scale[0]
    step = max(1, _POINTS_AT_ONCE // fits.y.shape[0])
    for first in range(0, len(units), step):
        Q = np.ascontiguousarray(point(fits, units[first : first + step].T, *scale, base))
        Q = fits.problem.with_ties(Q)
        points = _Points(*columns_at(fits, Q, linear))
        for some in _parts(fits.y.shape, Q.shape[1]):
            drops = points.drops(fits.y[:, some], fits.W if fits.W.shape[1] == 1 else fits.W[:, some])
            fit = np.arange(drops.shape[1])
            for _ in best.drops:
                top = np.argmax(drops, axis=0)
                best.take(drops[top, fit], Q[numbers][:, top], some)
                drops[top, fit] = -np.inf


def _parts(shape: tuple[int, int], points: int) -> Iterator[slice]:
    """Parts of the fits, none of one alone: its sums would run in another order."""
    n, b = shape
    at_once = max(32, _IN_CACHE // max(n, points))
    for first in range(0, b, at_once):
        if b - first > 1 or first == 0:
            yield slice(first, b if b - first == at_once + 1 else min(first + at_once, b))


class _Points:
    """The model at points: its constant part (n, G), and the linear columns (n, G) made orthonormal."""

    def __init__(self, zero: np.ndarray, columns: list[np.ndarray]) -> None:
        with np.errstate(all="ignore"):
            self.C = Basis.of(columns, np.ones((zero.shape[0], 1))).columns
        self.pairs = [[a * c for c in self.C[: i + 1]] for i, a in enumerate(self.C)]
        self.zero, self.n_points = zero if np.any(zero != 0.0) else None, zero.shape[1]

    def drops(self, y: np.ndarray, W: np.ndarray) -> np.ndarray:
        """By how much each point lowers chi-square, (G, b); minus infinity where it is no number."""
        with np.errstate(all="ignore"):
            W = np.ascontiguousarray(W)
            Wy = W * y
            g, gain = [_products(c, Wy) for c in self.C], np.zeros((1, 1))
            if self.zero is not None:
                g = [a - _products(self.zero * c, W) for a, c in zip(g, self.C, strict=True)]
                gain = 2.0 * _products(self.zero, Wy) - _products(self.zero * self.zero, W)
            gain = gain + _quadratic([[_products(c, W) for c in row] for row in self.pairs], g)
        gain = np.broadcast_to(gain, (self.n_points, y.shape[1]))
        return np.where(np.isfinite(gain), gain, -np.inf)


def _products(c: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Sums over samples of all products of columns of ``c`` (n, G) and ``a`` (n, b), shape (G, b)."""
    if a.shape[1] == 1:
        return inner(a, c)[:, None]
    return np.einsum("ng,nb->gb", c, a, optimize=False)


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
