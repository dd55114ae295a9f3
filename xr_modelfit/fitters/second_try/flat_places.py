"""Minima without slope: on a kink of chi-square, or in the middle of a valley that is symmetric in a parameter.

A fit may end where no step helps although the gradient does not vanish: on a kink, as that of a hinge at an unknown
place, or beside the middle of a valley, as that of a width of which only the square counts. The parameter is held there
and the others are fitted. It is a minimum if chi-square, the others fitted, grows to both sides.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, weighted
from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import pieces
from xr_modelfit.fitters.levenberg_marquardt import Options
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.distances import visible
from xr_modelfit.fitters.second_try.tries import Again, Bounds, part_of_fits, run
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.models.problem import Problem

__all__ = ["rest_on_flat"]

_SEEN = 0.05  # of a standard error: how far beside a place is looked whether it is a minimum
_ALMOST = 1e-6
_UNSEEN = 0.005
_NEAR = 1.0  # of a standard error: from the middle of a valley
_GROWTH = 1e-2  # of what chi-square would grow by if the other parameters made up for nothing
_SAME = 1e-7  # of chi-square: no worse


def rest_on_flat(
    problem: Problem,
    samples: Samples,
    before: Again,
    bounds: Bounds,
    free: np.ndarray,
    options: Options,
    slow: np.ndarray,
    accepted: Callable[[Again, np.ndarray], np.ndarray],
) -> tuple[Again, np.ndarray, np.ndarray]:
    """Fits that end on a kink or in the middle of a symmetric valley, and which parameter has no slope there.

    Parameters
    ----------
    before : Again
        Where the fits have stopped.
    bounds : pair of ndarray, shape (b, K)
        Of all fits of the samples.
    free : ndarray of bool, shape (b, K)
        Of all fits of the samples.
    slow : ndarray of bool, shape (b,)
        Fits that were still on their way.
    accepted : callable
        Which fits are good, (b,), from where they are, and which parameters are held, (b, K).

    Returns
    -------
    Again
        ``good`` where it is a minimum.
    ndarray of bool, shape (b, K)
        The parameter, where there is one.
    ndarray of bool, shape (b,)
        Fits that are lower beside such a place.
    """
    ids = before.ids
    best, which = before._replace(good=np.zeros(ids.size, dtype=bool)), np.zeros(before.P.shape, dtype=bool)
    level = np.zeros(ids.size, dtype=bool)
    # A parameter that has no slope spoils the judgement on the others: it is looked for first, kinks last.
    for value_of in (_middle, _beside_middle, _there):
        for j in np.flatnonzero(problem.free & ~problem.partly_linear).tolist():
            todo = np.flatnonzero(~best.good & free[ids, j] & np.all(np.isfinite(before.P), axis=1))
            if not todo.size:
                continue
            at = part_of_fits(before, todo)
            value = np.clip(value_of(problem, samples, at, j), bounds[0][at.ids, j], bounds[1][at.ids, j])
            P = at.P.copy()
            P[:, j] = value
            # Most fits failed for another reason, and are not fitted again for nothing.
            if value_of is _there:
                perhaps = np.isfinite(value) & ~(slow[todo] & problem.traits.smooth)
                some = accepted(at._replace(good=perhaps), _only(j, at.P))
            else:
                some = np.isfinite(value) & _unseen(problem, samples, at, j)
            if not some.any():
                continue
            todo, at, P = todo[some], part_of_fits(at, some), P[some]
            held = _held(problem, samples, at.ids, P, j, P[:, j], bounds, options)
            fine = np.all(np.isfinite(held.P), axis=1) & (held.chi2 <= at.chi2 * (1.0 + _SAME))
            held = held._replace(good=fine)  # it is judged below, whatever rounding made of the last steps
            fine[fine] = accepted(part_of_fits(held, fine), _only(j, held.P[fine]))
            fine[fine] = _is_sound(problem, samples, part_of_fits(held, fine), j, bounds)
            level[todo[fine]] = True
            fine[fine] = _is_minimum(problem, samples, part_of_fits(held, fine), j, bounds, options)
            done = todo[fine]
            best.P[done], best.chi2[done], best.n_iter[done] = held.P[fine], held.chi2[fine], held.n_iter[fine]
            best.good[done], which[done, j] = True, True
    return best, which, level & ~best.good


def _only(j: int, P: np.ndarray) -> np.ndarray:
    """Parameter ``j`` alone of parameters (b, K)."""
    return np.broadcast_to(np.arange(P.shape[1]) == j, P.shape)


def _unseen(problem: Problem, samples: Samples, at: Again, j: int) -> np.ndarray:
    """Whether parameter ``j`` is so near to the middle that nobody could tell, shape (b,)."""
    found = np.zeros(at.ids.size, dtype=bool)
    for piece in pieces(np.arange(at.ids.size), samples.n_values):
        inputs, _, w = samples.columns(at.ids[piece])
        P = np.ascontiguousarray(at.P[piece].T)
        Q = P.copy()
        Q[j] = _ALMOST * P[j]
        away = norm2(weighted(problem, problem.evaluate(inputs, problem.with_ties(Q)) - problem.evaluate(inputs, P), w))
        dof = np.maximum(samples.n_points[at.ids[piece]] - np.count_nonzero(problem.free), 1)
        found[piece] = ~(away > _NEAR**2 * at.chi2[piece] / dof)  # it may have no value there
    return found


def _there(_: Problem, __: Samples, at: Again, j: int) -> np.ndarray:
    """Where the parameter is: on a kink."""
    place: np.ndarray = at.P[:, j]
    return place


def _middle(_: Problem, __: Samples, at: Again, j: int) -> np.ndarray:
    """The middle of a valley in which only the square of a parameter counts: almost 0, as some have no value there."""
    return _ALMOST * at.P[:, j]


def _beside_middle(problem: Problem, samples: Samples, at: Again, j: int) -> np.ndarray:
    """As near to the middle as nobody can see, where derivatives are not all rounding."""
    return at.P[:, j] + _UNSEEN * visible(problem, samples, at, j, 1.0, _SEEN)


def _held(
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    P: np.ndarray,
    j: int,
    value: np.ndarray,
    bounds: Bounds,
    options: Options,
) -> Again:
    """Fit ``ids`` from ``P`` (b, K) with parameter ``j`` held at ``value`` (b,)."""
    n = samples.y.shape[0]
    starts, low, high = (np.array(np.broadcast_to(a, (n, P.shape[1]))) for a in (np.zeros((1, P.shape[1])), *bounds))
    starts[ids] = P
    starts[ids, j] = low[ids, j] = high[ids, j] = value
    return run(ActiveFits, problem, samples, ids, starts, (low, high), options)


def _is_sound(problem: Problem, samples: Samples, at: Again, j: int, bounds: Bounds) -> np.ndarray:
    """Whether the slopes of the other parameters are about those beside the place where ``j`` is held, shape (b,).

    They are not where a profile is so narrow that its derivatives are rounding alone.
    """
    sound = np.ones(at.ids.size, dtype=bool)
    others = [m for m, i in enumerate(np.flatnonzero(problem.free).tolist()) if i != j]
    step_ = visible(problem, samples, at, j, 1.0, _SEEN)
    for piece in pieces(np.arange(at.ids.size), samples.n_values):
        ids = at.ids[piece]
        inputs, _, w = samples.columns(ids)
        P, low, high = (np.ascontiguousarray(a.T) for a in (at.P[piece], *(bound[ids] for bound in bounds)))
        Q = P.copy()
        Q[j] = np.clip(P[j] + step_[piece], low[j], high[j])
        here, beside = (jacobian(problem, inputs, p, low, high, None, w) for p in (P, problem.with_ties(Q)))
        for m in others:
            a, b = norm2(here[m]), norm2(beside[m])
            sound[piece] &= (a <= 4.0 * b) & (b <= 4.0 * a)
    return sound


def _is_minimum(problem: Problem, samples: Samples, at: Again, j: int, bounds: Bounds, options: Options) -> np.ndarray:
    """Whether chi-square, the others fitted, grows to both sides of where parameter ``j`` is held, shape (b,)."""
    minimum = np.ones(at.ids.size, dtype=bool)
    for side in (-1.0, 1.0):
        step_ = visible(problem, samples, at, j, side, _SEEN)
        value = np.clip(at.P[:, j] + side * step_, bounds[0][at.ids, j], bounds[1][at.ids, j])
        minimum &= np.isfinite(value)
        moves = minimum & (value != at.P[:, j])
        if moves.any():
            some = part_of_fits(at, moves)
            beside = _held(problem, samples, some.ids, some.P, j, value[moves], bounds, options)
            dof = np.maximum(samples.n_points[some.ids] - np.count_nonzero(problem.free), 1)
            grown = some.chi2 * (1.0 + _GROWTH * _SEEN**2 / dof)
            minimum[moves] &= ~(beside.chi2 < grown)  # the model may also end there
    return minimum
