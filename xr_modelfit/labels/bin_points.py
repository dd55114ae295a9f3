"""Points inside bins by Gauss-Legendre quadrature, and how many of them the means of a model need.

``q`` points give the mean of a polynomial of degree ``2 q - 1`` exactly, that of a line to any accuracy if they are
many. How many is found on the model, near its start and where each of its parameters is halved. A fit may lead
farther, to lines much narrower than the start or to starts of its own: unless the model is a polynomial of the
coordinate, there are never fewer than eight points, which give the mean of a line of a quarter of a bin in standard
deviation to a ten-millionth of its height.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr

from xr_modelfit.analysis.derivatives import tied_or_nan
from xr_modelfit.analysis.probing import about, beside_start
from xr_modelfit.labels.bins import Bins
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Spread

__all__ = ["UNKNOWN", "gauss_legendre", "point_groups", "points_needed"]

UNKNOWN = 12  # points where bins differ from fit to fit, or a parameter has no effect near the start
_OF_POLYNOMIALS = (2, 3, 4)
_OF_OTHERS = (8, 10, 12, 16, 20)
_EXACT = 24  # points that count as exact
_POLYNOMIAL, _NEAR, _FAR = 1e-12, 1e-9, 1e-6  # tolerances relative to the largest mean
_BINS = 256  # number of bins to try; fewer where a bin has several sides

Cells = list[tuple[np.ndarray, np.ndarray]]  # low and high edge of each input, (m,) each; equal where it has no bins


def point_groups(bins: Bins, fitted: Sequence[Hashable]) -> dict[str, Hashable]:
    """Which inputs share their points: coordinates along the same fitted dim run through their bins together."""
    found: dict[str, Hashable] = {}
    for name, (low, _) in bins.edges.items():
        own = [d for d in low.dims if d in fitted]
        found[name] = own[0] if len(own) == 1 else ("input", name)
    return found


def gauss_legendre(groups: Mapping[str, Hashable], n_points: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Points of each input in a bin from -1 to 1, and weights, (q,) each: the product rule over the groups."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    sides = list(dict.fromkeys(groups.values()))
    grids = np.meshgrid(*[points] * len(sides), indexing="ij")
    products = np.ones(1)
    for _ in sides:
        products = np.multiply.outer(products, 0.5 * weights).reshape(-1)
    return {name: grids[sides.index(side)].reshape(-1) for name, side in groups.items()}, products


def points_needed(
    problem: Problem,
    bins: Bins,
    inputs: Sequence[ModelInput],
    fitted: Sequence[Hashable],
    sizes: Mapping[Hashable, int],
) -> int:
    """How many points along each side of a bin the means of the model need. Its traits are known."""
    groups = point_groups(bins, fitted)
    cells = _cells(bins, inputs, fitted, sizes)
    if cells is None:
        return UNKNOWN
    n_bins = max(_BINS // 4 ** (len(set(groups.values())) - 1), 4)
    try:
        with np.errstate(all="ignore"):
            return _fewest(problem, [one.name for one in inputs], groups, _places(problem, cells, n_bins))
    except Exception:  # ties that work for some values only, or a model that cannot be evaluated here
        return UNKNOWN


def _means(
    problem: Problem, points: Sequence[np.ndarray], weights: np.ndarray, places: Sequence[Cells], P: np.ndarray
) -> np.ndarray:
    """Means (m, b) of the model over the bins of all places, from points (q,) of each input in a bin."""
    found = []
    for cells in places:
        edges = [np.stack(pair, axis=-1)[None] for pair in cells]
        inputs = [Spread(at, np.zeros_like(at)).over(pair)[0] for at, pair in zip(points, edges, strict=True)]
        values = problem.evaluate([x[:, None] for x in inputs], P)
        found.append(np.tensordot(values.reshape(-1, weights.size, P.shape[1]), weights, axes=(1, 0)))
    return np.concatenate(found)


def _rounding(places: Sequence[Cells]) -> float:
    """The largest rounding error of a coordinate, in bin widths."""
    sizes = np.concatenate([np.abs(low) / np.abs(high - low) for cells in places for low, high in cells])
    return float(np.finfo(float).eps * np.max(sizes, where=np.isfinite(sizes), initial=0.0))


def _fewest(problem: Problem, names: Sequence[str], groups: Mapping[str, Hashable], places: Sequence[Cells]) -> int:
    """The smallest sufficient number of points, near the start and far from it."""
    near, far = beside_start(problem), _halved(problem)

    def means(n_points: int) -> tuple[np.ndarray, np.ndarray]:
        points, weights = gauss_legendre(groups, n_points)
        at = [points.get(name, np.zeros(weights.size)) for name in names]
        return _means(problem, at, weights, places, near), _means(problem, at, weights, places, far)

    exact = means(_EXACT)
    seen = _all_seen(problem, *exact)
    rounding = 10.0 * _rounding(places)
    limits = [(n, _POLYNOMIAL, _POLYNOMIAL) for n in _OF_POLYNOMIALS] if seen else []
    limits += [(n, _NEAR + rounding, _FAR + rounding) for n in _OF_OTHERS if seen or n >= UNKNOWN]
    for n_points, *both in limits:
        if all(_close(a, b, limit) for a, b, limit in zip(means(n_points), exact, both, strict=True)):
            return n_points
    return _OF_OTHERS[-1]


def _all_seen(problem: Problem, near: np.ndarray, far: np.ndarray) -> bool:
    """Whether each free parameter affects the means; a line outside the tested bins may need many points."""
    start = near[:, :1]
    most = np.max(np.abs(start), where=np.isfinite(start), initial=0.0)
    moved = np.abs(far - start)
    return bool(np.all(np.max(moved, axis=0, where=np.isfinite(moved), initial=0.0) > _POLYNOMIAL * most))


def _close(found: np.ndarray, exact: np.ndarray, limit: float) -> bool:
    finite = np.isfinite(exact)
    most = np.max(np.abs(exact), axis=0, where=finite, initial=0.0)
    return bool(np.all(np.abs(found - exact) <= limit * most, where=finite))


def _halved(problem: Problem) -> np.ndarray:
    """Parameters (K, k): of each column one is half of its start, or 1 where that is 0."""
    start = np.where(np.isfinite(problem.start), problem.start, 1.0)
    free = np.flatnonzero(problem.free)
    points = np.repeat(start[:, None], max(free.size, 1), axis=1)
    points[free, np.arange(free.size)] = np.where(start[free] != 0.0, 0.5 * start[free], 1.0)
    return tied_or_nan(problem, points)


def _cells(
    bins: Bins, inputs: Sequence[ModelInput], fitted: Sequence[Hashable], sizes: Mapping[Hashable, int]
) -> Cells | None:
    """The bins that all fits share; None if there are none, or if they differ from fit to fit (and may be lazy)."""
    n = math.prod(sizes[d] for d in fitted)
    found: Cells = []
    for one in inputs:
        sides = []
        for values in bins.edges.get(one.name, (one.values, one.values)):
            if not set(values.dims) <= set(fitted) or not values._in_memory or not n:
                return None
            absent = {d: sizes[d] for d in fitted if d not in values.dims}
            whole: xr.Variable = values.set_dims({**absent, **values.sizes}).transpose(*fitted)
            sides.append(np.asarray(whole.values, dtype=float).reshape(-1))
        found.append((sides[0], sides[1]))
    usable = np.all([np.isfinite(edge) for pair in found for edge in pair], axis=0)
    return [(low[usable], high[usable]) for low, high in found] if usable.any() else None


def _places(problem: Problem, cells: Cells, n_bins: int) -> list[Cells]:
    """A selection of the bins, and bins of the same widths around the start of the model."""
    m = cells[0][0].size
    chosen = set(np.linspace(0, m - 1, min(m, n_bins // 2)).astype(int).tolist())
    if m > n_bins // 2:  # where the model is largest or smallest
        start = np.where(np.isfinite(problem.start), problem.start, 1.0)
        values = problem.evaluate([(0.5 * low + 0.5 * high)[:, None] for low, high in cells], start[:, None])[:, 0]
        away = np.abs(values - np.median(values[np.isfinite(values)]))
        chosen |= set(np.argsort(np.where(np.isfinite(away), away, -1.0))[-(n_bins // 2) :].tolist())
    some = [(low[sorted(chosen)], high[sorted(chosen)]) for low, high in cells]
    elsewhere: Cells = []
    for number, (low, high) in enumerate(some):
        centre = np.roll(about(problem.start, n_bins), 7 * number)
        half = 0.5 * np.resize(high - low, n_bins)
        elsewhere.append((centre - half, centre + half))
    return [some, elsewhere]
