"""Fits that have stopped where chi-square is level, but lower beside: they go on from there.

A parameter that enters as its square has no slope at 0; two that are told apart by their cubes only have a direction
without one. Derivatives say nothing there, so chi-square itself is looked at: along each parameter in which the model
is not linear, with a linear step of the others that makes up for it.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy, jacobian, weighted
from xr_modelfit.fitters.chunking import pieces
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.levenberg_marquardt import Options
from xr_modelfit.fitters.saddle_test import FALLS
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.distances import effects, visible
from xr_modelfit.fitters.second_try.tries import Again, Bounds, begun_at, part_of_fits, try_again
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.models.problem import Problem

__all__ = ["from_lower", "lowest_of"]

_ROUNDS = 20
_PAIRS = (-4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0)  # the same for two parameters without slope
_STEPS = 2
_SIZES = (0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the way to where the model changes by a standard error


def from_lower(
    problem: Problem, samples: Samples, before: Again, bounds: Bounds, options: Options
) -> tuple[Again, np.ndarray]:
    """Fits anew from the lowest place beside where they have stopped, as long as there is one.

    Returns
    -------
    Again
        ``good`` where they have converged.
    ndarray of bool, shape (b, K)
        Parameters that have no slope at all, such as the edges of a box; none where it is lower beside.
    """
    best = begun_at(before)
    flat = np.zeros(best.P.shape, dtype=bool)
    todo = np.flatnonzero(np.all(np.isfinite(best.P), axis=1) & np.isfinite(best.chi2))
    for _ in range(_ROUNDS):
        some = part_of_fits(best, todo)
        chi2, P = _lowest(problem, samples, some, bounds)
        dof = np.maximum(samples.n_points[some.ids] - np.count_nonzero(problem.free), 1)
        lower = chi2 < some.chi2 * (1.0 - FALLS / dof)
        if not lower.all():
            flat[todo[~lower]] = without_slope(problem, samples, part_of_fits(some, ~lower), bounds)
        todo, P = todo[lower], P[lower]
        if not todo.size:
            break
        starts = np.zeros((samples.y.shape[0], P.shape[1]))
        starts[best.ids[todo]] = P
        new = try_again(problem, samples, best.ids[todo], starts, bounds, options)
        better = new.chi2 < best.chi2[todo]
        at = todo[better]
        best.P[at], best.chi2[at], best.good[at] = new.P[better], new.chi2[better], new.good[better]
        best.n_iter[at] += new.n_iter[better]
        level = np.any(without_slope(problem, samples, part_of_fits(best, todo), bounds), axis=1)
        todo = todo[better & (level | ~new.good)]
    return best, flat


def without_slope(problem: Problem, samples: Samples, at: Again, bounds: Bounds) -> np.ndarray:
    """Parameters (b, K) in which the model is not linear, and has no slope at any sample."""
    flat = np.zeros(at.P.shape, dtype=bool)
    flat[:, problem.free] = effects(problem, samples, at.ids, at.P, bounds).T == 0.0
    flat &= ~problem.partly_linear & (bounds[0][at.ids] < bounds[1][at.ids])
    for j in np.flatnonzero(flat.any(axis=0)).tolist():  # what has no effect at all is not known
        some = np.flatnonzero(flat[:, j])
        flat[some, j] = np.isfinite(visible(problem, samples, part_of_fits(at, some), j, 1.0, 1.0))
    return flat


def _lowest(problem: Problem, samples: Samples, at: Again, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """The lowest chi-square (b,) beside fits, and the parameters (b, K) there."""
    curved = np.flatnonzero(problem.free & ~problem.partly_linear)
    # Each fit and each of its parameters, to both sides at once.
    fits, along = np.tile(np.arange(at.ids.size), curved.size), np.repeat(curved, at.ids.size)
    far = visible(problem, samples, part_of_fits(at, fits), along, 1.0, 1.0)
    far = np.where(np.isfinite(far), far, 0.0)
    way = np.where(np.arange(at.P.shape[1])[:, None] == along, far, 0.0)
    ways = np.concatenate([-way, way], axis=1)
    best, place = lowest_of(problem, samples, at, bounds, np.tile(fits, 2), ways, _SIZES, _STEPS)
    flat = without_slope(problem, samples, at, bounds)
    several = np.flatnonzero(np.count_nonzero(flat, axis=1) > 1)
    if several.size:
        far = far.reshape(curved.size, -1)[:, several]
        for one, other in combinations(range(curved.size), 2):
            both = flat[several, curved[one]] & flat[several, curved[other]]
            for p, q in product(_PAIRS, _PAIRS):
                way = np.zeros((at.P.shape[1], several.size))
                way[curved[one]], way[curved[other]] = p * far[one], q * far[other]
                some = part_of_fits(at, several)
                chi2, P = lowest_of(problem, samples, some, bounds, np.flatnonzero(both), way[:, both], (1.0,), 1)
                lower = chi2 < best[several]
                best[several[lower]], place[several[lower]] = chi2[lower], P[lower]
    return best, place


def lowest_of(
    problem: Problem,
    samples: Samples,
    at: Again,
    bounds: Bounds,
    fits: np.ndarray,
    ways: np.ndarray,
    sizes: Sequence[float],
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest chi-square (b,) along ways (K, m) that start at the fits (m,), and the parameters (b, K) there."""
    best, place = np.full(at.ids.size, np.inf), at.P.copy()
    for piece in pieces(np.arange(fits.size), samples.n_values):
        which = fits[piece]
        way = np.ascontiguousarray(ways[:, piece])
        for chi2, Q in _along(problem, samples, part_of_fits(at, which), bounds, way, sizes, steps):
            lower = np.flatnonzero(chi2 < best[which])
            lower = lower[np.argsort(-chi2[lower], kind="stable")]  # of one fit the lowest is written last
            best[which[lower]], place[which[lower]] = chi2[lower], Q[:, lower].T
    return best, place


def _along(
    problem: Problem, samples: Samples, at: Again, bounds: Bounds, way: np.ndarray, sizes: Sequence[float], steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chi-square (b,) and parameters (K, b) along a way (K, b); those that it leaves alone follow by linear steps."""
    inputs, y, w = samples.columns(at.ids)
    P, low, high = (np.ascontiguousarray(a.T) for a in (at.P, *(bound[at.ids] for bound in bounds)))
    ours, led = np.flatnonzero(problem.free), way != 0.0
    Q = P.copy()
    for size in sizes:
        Q = np.where(led, np.clip(P + size * way, low, high), Q)
        for _ in range(steps):
            Q = problem.with_ties(Q)
            r = weighted(problem, y - problem.evaluate(inputs, Q), w)
            J = jacobian(problem, inputs, Q, low, high, w=w)
            others = ((low < Q) & (high > Q) & ~led)[ours]
            factors = factorise([np.ascontiguousarray(c) for c in J], others, accuracy(problem))
            Q[ours] = np.clip(Q[ours] + factors.solve(factors.remove(r)[0]), low[ours], high[ours])
        Q = problem.with_ties(Q)
        yield norm2(weighted(problem, y - problem.evaluate(inputs, Q), w)), Q
