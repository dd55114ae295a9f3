"""Fits anew, with linear parameters solved for (`fitters.second_try.own_basis`) and away from bounds at first.

A parameter that is put on its bound early may take away the effect of others: the phase of a wave whose amplitude is 0.
So the first steps go at most nine tenths of the way to a bound.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, weighted
from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import at_least_two, pieces
from xr_modelfit.fitters.compiled.engine import solve_fits
from xr_modelfit.fitters.levenberg_marquardt import Options, step
from xr_modelfit.fitters.samples import FitArrays, Samples
from xr_modelfit.fitters.second_try.own_basis import OwnBasis
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["Again", "Bounds", "begun_at", "from_beside", "part_of_fits", "run", "try_again"]

Bounds = tuple[np.ndarray, np.ndarray]


class Again(NamedTuple):
    """Where fits ``ids`` are now: parameters (b, K), chi-square, iterations, whether each converged; (b,) each."""

    ids: np.ndarray
    P: np.ndarray
    chi2: np.ndarray
    n_iter: np.ndarray
    good: np.ndarray


def try_again(
    problem: Problem, samples: Samples, ids: np.ndarray, starts: np.ndarray, bounds: Bounds, options: Options
) -> Again:
    """Fit ``ids`` anew from their starts (b, K), in coordinates of their own."""
    return run(OwnBasis, problem, samples, ids, starts, bounds, options)


def from_beside(
    problem: Problem, samples: Samples, ids: np.ndarray, starts: np.ndarray, bounds: Bounds, options: Options
) -> Again:
    """The best of fits from starts with one parameter elsewhere, where it changes the model by as much as is missing.

    A start may lie just between two valleys, or on the wrong side of one.
    """
    best = Again(ids, starts[ids].copy(), np.full(ids.size, np.inf), np.zeros(ids.size), np.zeros(ids.size, dtype=bool))
    for j in np.flatnonzero(problem.free & ~problem.partly_linear).tolist():
        reach = _reach(problem, samples, ids, starts, bounds, j)
        for side in (-1.0, 1.0):
            beside = np.array(starts)
            moved = beside[ids, j] + side * reach
            beside[ids, j] = np.clip(moved, bounds[0][ids, j], bounds[1][ids, j])
            new = try_again(problem, samples, ids, beside, bounds, options)
            better = new.good & (new.chi2 < best.chi2)
            best.P[better], best.chi2[better], best.n_iter[better] = new.P[better], new.chi2[better], new.n_iter[better]
            best.good[better] = True
    return best


def _reach(
    problem: Problem, samples: Samples, ids: np.ndarray, starts: np.ndarray, bounds: Bounds, j: int
) -> np.ndarray:
    """How far parameter ``j`` moves, by its slope at the start, until the model changes as much as is missing; (b,)."""
    reach = np.zeros(ids.size)
    which = np.flatnonzero(problem.free).tolist().index(j)
    for piece in pieces(np.arange(ids.size), samples.n_values):
        inputs, y, w = samples.columns(ids[piece])
        P, low, high = (np.ascontiguousarray(a[ids[piece]].T) for a in (starts, *bounds))
        P = problem.with_ties(P)
        r = weighted(problem, y - problem.evaluate(inputs, P), w)
        slope = jacobian(problem, inputs, P, low, high, None, w)[which]
        far = np.sqrt(norm2(r) / norm2(slope))
        reach[piece] = np.where(np.isfinite(far), far, 0.0)
    return reach


def run(
    kind: type[ActiveFits],
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    starts: np.ndarray,
    bounds: Bounds,
    options: Options,
) -> Again:
    """Iterate fits until all are done; rows of ``starts`` and ``bounds`` are those of all fits of the samples."""
    K = problem.n_parameters
    new = Again(
        ids, np.full((ids.size, K), np.nan), np.full(ids.size, np.inf), np.zeros(ids.size), np.zeros(ids.size, bool)
    )
    place = np.zeros(samples.y.shape[0], dtype=int)
    place[ids] = np.arange(ids.size)
    for piece in pieces(ids, samples.n_values):
        slots = kind.filled(problem, samples, piece, starts, bounds)
        if problem.source is None:
            _iterate(slots, options, new, place[piece])
            continue
        left = _compiled(slots, samples, piece, bounds, options, new, place[piece])
        if left.size:
            again = at_least_two(left)
            _iterate(kind.filled(problem, samples, again, starts, bounds), options, new, place[again])
    return new


def _compiled(
    slots: ActiveFits, samples: Samples, ids: np.ndarray, bounds: Bounds, options: Options, new: Again, at: np.ndarray
) -> np.ndarray:
    """Iterate fits by the compiled engine, and write them to the rows ``at`` of ``new``; returns those left undone."""
    problem, plain = slots.problem, slots.plain
    starts = np.zeros((samples.y.shape[0], problem.n_parameters))
    starts[ids] = slots.model_parameters(slots.P).T
    out = FitArrays.unknown(samples, problem.n_parameters)
    left = solve_fits(problem, samples, np.unique(ids[plain]), starts, bounds, options, out, slots.cautious)
    new.P[at], new.n_iter[at], new.good[at] = out.parameters[ids], out.n_iter[ids], out.status[ids] > 0
    P = np.ascontiguousarray(out.parameters[ids].T)
    new.chi2[at] = norm2(weighted(problem, slots.y - problem.evaluate(slots.inputs, P), slots.w))
    return np.concatenate([left, np.unique(ids[~plain])])


def _iterate(slots: ActiveFits, options: Options, new: Again, at: np.ndarray) -> None:
    """Iterate fits until all are done, and write them to the rows ``at`` of ``new``."""
    left = np.ones(at.size, dtype=bool)
    while left.any():
        status = step(slots, options)
        done = left & (status != FitStatus.NOT_ATTEMPTED)
        if done.any():
            now = slots.model_parameters(slots.P)
            new.P[at[done]], new.chi2[at[done]] = now[:, done].T, slots.chi2[done]
            new.n_iter[at[done]], new.good[at[done]] = slots.n_iter[done], status[done] > 0
            left &= ~done


def begun_at(some: Again) -> Again:
    """A copy of its own, of which none is good yet."""
    return Again(some.ids, some.P.copy(), some.chi2.copy(), some.n_iter.copy(), np.zeros(some.ids.size, dtype=bool))


def part_of_fits(some: Again, which: np.ndarray) -> Again:
    """Those of some fits for which ``which`` (b,) holds."""
    return Again(*(a[which] for a in some))
