"""Points inside bins by the rule of Gauss and Legendre, and how many of them the means of a model need.

``q`` points give the mean of a polynomial of degree ``2 q - 1`` exactly, that of a line to any accuracy if they are
many. How many is found on the model, near its start and where each of its parameters is halved. A fit may lead
farther, to lines much narrower than the start or to starts of its own: unless the model is a polynomial of the
coordinate, there are never fewer than eight points, which give the mean of a line of a quarter of a bin in standard
deviation to a ten-millionth of its height.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from xr_modelfit.analysis.derivatives import tied_or_nan
from xr_modelfit.analysis.probing import about, beside_start
from xr_modelfit.labels.bins import Bins
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.problem import Problem

__all__ = ["UNKNOWN", "gathered", "points_needed", "rule"]

UNKNOWN = 12  # points where bins differ from fit to fit, or not all parameters show
_OF_POLYNOMIALS = (2, 3, 4)
_OF_OTHERS = (8, 10, 12, 16, 20)
_EXACT = 24  # points that count as exact
_POLYNOMIAL, _NEAR, _FAR = 1e-12, 1e-9, 1e-6  # of the largest mean: how well means are known, at the start and far off
_BINS = 256  # that are tried; fewer where a bin has several sides

Cells = list[tuple[np.ndarray, np.ndarray]]  # low and high edge of each input, (m,) each; equal where it has no bins


def gathered(bins: Bins, fitted: Sequence[Hashable]) -> dict[str, Hashable]:
    """What the points of each input follow: along one fitted dim, coordinates run through their bins together."""
    found: dict[str, Hashable] = {}
    for name, (low, _) in bins.edges.items():
        own = [d for d in low.dims if d in fitted]
        found[name] = own[0] if len(own) == 1 else ("input", name)
    return found


def rule(groups: Mapping[str, Hashable], n_points: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Points of each input in a bin from -1 to 1, and weights, (q,) each: all combinations of those of the groups."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    sides = list(dict.fromkeys(groups.values()))
    grids = np.meshgrid(*[points] * len(sides), indexing="ij") if sides else []
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
    """How many points along each side of a bin the means of the model need.

    Parameters
    ----------
    problem : Problem
        Its traits are known.
    bins : Bins
    inputs : sequence of ModelInput
    fitted : sequence of Hashable
    sizes : mapping of Hashable to int
        Of the data.
    """
    groups = gathered(bins, fitted)
    cells = _cells(bins, inputs, fitted, sizes)
    if cells is None:
        return UNKNOWN
    names = [one.name for one in inputs]
    n_bins = _BINS // 4 ** (len(set(groups.values())) - 1)
    try:
        near, far = beside_start(problem), _halved(problem)
        places = list(_places(problem, cells, max(n_bins, 4)))
        with np.errstate(all="ignore"):
            return _fewest(_Trials(problem, names, groups, places), near, far)
    except Exception:  # ties that work for some values only, or a model that says nothing here
        return UNKNOWN


class _Trials:
    """Means of a model over bins at some places."""

    def __init__(
        self, problem: Problem, names: Sequence[str], groups: Mapping[str, Hashable], places: Sequence[Cells]
    ) -> None:
        self.problem, self.names, self.groups, self.places = problem, names, groups, places

    def means(self, n_points: int, P: np.ndarray) -> np.ndarray:
        """Means (m, b) over the bins of all places."""
        points, weights = rule(self.groups, n_points)
        q = weights.size
        found = []
        for cells in self.places:
            inputs = []
            for name, (low, high) in zip(self.names, cells, strict=True):
                at = points.get(name, np.zeros(q))
                inputs.append(((0.5 * low + 0.5 * high)[:, None] + (0.5 * high - 0.5 * low)[:, None] * at).reshape(-1))
            values = self.problem.evaluate([x[:, None] for x in inputs], P)
            found.append(np.tensordot(values.reshape(-1, q, P.shape[1]), weights, axes=(1, 0)))
        return np.concatenate(found)

    @property
    def rounding(self) -> float:
        """What rounding does to a coordinate, in bins."""
        with np.errstate(all="ignore"):
            sizes = [np.abs(low) / np.abs(high - low) for cells in self.places for low, high in cells]
        finite = [np.max(size[np.isfinite(size)], initial=0.0) for size in sizes]
        return float(np.finfo(float).eps * max(finite, default=0.0))


def _fewest(trials: _Trials, near: np.ndarray, far: np.ndarray) -> int:
    """The fewest points that are enough."""
    exact = [trials.means(_EXACT, P) for P in (near, far)]
    seen = _all_seen(trials.problem, *exact)
    if seen:
        for n_points in _OF_POLYNOMIALS:
            found = [trials.means(n_points, P) for P in (near, far)]
            if all(_close(a, b, _POLYNOMIAL) for a, b in zip(found, exact, strict=True)):
                return n_points
    rounding = 10.0 * trials.rounding
    for n_points in _OF_OTHERS:
        if seen or n_points >= UNKNOWN:
            found = [trials.means(n_points, P) for P in (near, far)]
            if _close(found[0], exact[0], _NEAR + rounding) and _close(found[1], exact[1], _FAR + rounding):
                return n_points
    return _OF_OTHERS[-1]


def _all_seen(problem: Problem, near: np.ndarray, far: np.ndarray) -> bool:
    """Whether each free parameter has an effect on the means; a line that is not seen may need many points."""
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
    """The bins that all fits share; None where they differ, as then they may be lazy, or there are none."""
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


def _places(problem: Problem, cells: Cells, n_bins: int) -> Iterator[Cells]:
    """Some of the bins, and bins of their widths about the start of the model."""
    m = cells[0][0].size
    middle = [0.5 * low + 0.5 * high for low, high in cells]
    chosen = set(np.linspace(0, m - 1, min(m, n_bins // 2)).astype(int).tolist())
    if m > n_bins // 2:  # where the model is largest, or smallest
        start = np.where(np.isfinite(problem.start), problem.start, 1.0)
        with np.errstate(all="ignore"):
            values = problem.evaluate([x[:, None] for x in middle], start[:, None])[:, 0]
            away = np.abs(values - np.median(values[np.isfinite(values)]))
        chosen |= set(np.argsort(np.where(np.isfinite(away), away, -1.0))[-(n_bins // 2) :].tolist())
    at = np.array(sorted(chosen))
    yield [(low[at], high[at]) for low, high in cells]
    elsewhere: Cells = []
    for number, (low, high) in enumerate(cells):
        centre = np.roll(about(problem.start, n_bins), 7 * number)
        half = 0.5 * np.resize(high[at] - low[at], n_bins)
        elsewhere.append((centre - half, centre + half))
    yield elsewhere
