"""Minima without slope: on a kink of chi-square, or in the middle of a valley that is symmetric in a parameter.

A fit may end where no step helps although the gradient does not vanish: on a kink, as that of a hinge at an unknown
place, or beside the middle of a valley, as that of a width of which only the square counts. The parameter is held there
and the others are fitted. It is a minimum if chi-square, the others fitted, grows to both sides.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.contract import Fits, Rules
from xr_modelfit.fitters.second_try.distances import visible
from xr_modelfit.fitters.second_try.tries import Refit, run
from xr_modelfit.fitters.sums import norm2

__all__ = ["rest_on_flat"]

_SEEN = 0.05  # of a standard error: how far beside a place chi-square must be larger
_ALMOST = 1e-6
_UNSEEN = 0.005
_NEAR = 1.0  # of a standard error: from the middle of a valley
_GROWTH = 1e-2  # of what chi-square would grow by if the other parameters made up for nothing
_SAME = 1e-7  # of chi-square: no worse


def rest_on_flat(
    fits: Fits,
    before: Refit,
    free: np.ndarray,
    rules: Rules,
    slow: np.ndarray,
    accepted: Callable[[Refit, np.ndarray], np.ndarray],
) -> tuple[Refit, np.ndarray, np.ndarray]:
    """Fits that end on a kink or in the middle of a symmetric valley, and which parameter has no slope there.

    Parameters
    ----------
    free : ndarray of bool, shape (b, K)
        Of all fits of the block.
    slow : ndarray of bool, shape (b,)
        Fits that have used up their iterations.
    accepted : callable
        Which fits are good, (b,), from where they are, and which parameters are held, (b, K).

    Returns
    -------
    Refit
        ``good`` where it is a minimum.
    ndarray of bool, shape (b, K)
        The parameter, where there is one.
    ndarray of bool, shape (b,)
        Fits that are lower beside such a place.
    """
    ids, problem = before.ids, fits.problem
    best, which = before._replace(good=np.zeros(ids.size, dtype=bool)), np.zeros(before.P.shape, dtype=bool)
    level = np.zeros(ids.size, dtype=bool)
    # A parameter without slope spoils the judgement on the others, so it is tried first, and kinks last.
    for value_of in (_middle, _beside_middle, _there):
        for j in np.flatnonzero(problem.free & ~problem.partly_linear).tolist():
            todo = np.flatnonzero(~best.good & free[ids, j] & np.all(np.isfinite(before.P), axis=1))
            if not todo.size:
                continue
            at = before.part(todo)
            value = np.clip(value_of(fits, at, j), fits.low[at.ids, j], fits.high[at.ids, j])
            # Most fits failed for another reason, and are not fitted again for nothing.
            if value_of is _there:
                perhaps = np.isfinite(value) & ~(slow[todo] & problem.traits.smooth)
                some = accepted(at._replace(good=perhaps), _only(j, at.P))
            else:
                some = np.isfinite(value) & _unseen(fits, at, j)
            if not some.any():
                continue
            todo, at = todo[some], at.part(some)
            held = _held(fits, at, j, value[some], rules)
            fine = np.all(np.isfinite(held.P), axis=1) & (held.chi2 <= at.chi2 * (1.0 + _SAME))
            held = held._replace(good=fine)  # judged below, whatever rounding made of the last steps
            fine[fine] = accepted(held.part(fine), _only(j, held.P[fine]))
            fine[fine] = _is_sound(fits, held.part(fine), j)
            level[todo[fine]] = True
            fine[fine] = _is_minimum(fits, held.part(fine), j, rules)
            done = todo[fine]
            best.P[done], best.chi2[done], best.n_iter[done] = held.P[fine], held.chi2[fine], held.n_iter[fine]
            best.good[done], which[done, j] = True, True
    return best, which, level & ~best.good


def _only(j: int, P: np.ndarray) -> np.ndarray:
    """Parameter ``j`` alone of parameters (b, K)."""
    return np.broadcast_to(np.arange(P.shape[1]) == j, P.shape)


def _unseen(fits: Fits, at: Refit, j: int) -> np.ndarray:
    """Whether parameter ``j`` is within a standard error of the middle, shape (b,)."""
    found = np.zeros(at.ids.size, dtype=bool)
    for rows, here in fits.in_chunks(at.ids, at.P):
        Q = here.P.copy()
        Q[j] = _ALMOST * here.P[j]
        away = here.change(fits.problem.with_ties(Q), here.values(here.P))
        found[rows] = ~(away > _NEAR**2 * at.chi2[rows] / fits.dof(at.ids[rows]))  # it may have no value there
    return found


def _there(_: Fits, at: Refit, j: int) -> np.ndarray:
    """Where the parameter is: on a kink."""
    place: np.ndarray = at.P[:, j]
    return place


def _middle(_: Fits, at: Refit, j: int) -> np.ndarray:
    """The middle of a valley in which only the square of a parameter counts: almost 0, as some have no value there."""
    return _ALMOST * at.P[:, j]


def _beside_middle(fits: Fits, at: Refit, j: int) -> np.ndarray:
    """So near to the middle that the model does not show it, but where derivatives are more than rounding."""
    return at.P[:, j] + _UNSEEN * visible(fits, at, j, 1.0, _SEEN)


def _held(fits: Fits, at: Refit, j: int, value: np.ndarray, rules: Rules) -> Refit:
    """The same fits with parameter ``j`` held at ``value`` (b,)."""
    P, low, high = at.P.copy(), fits.low.copy(), fits.high.copy()
    P[:, j] = low[at.ids, j] = high[at.ids, j] = value
    return run(ActiveFits, replace(fits.starting_at(at.ids, P), low=low, high=high), at.ids, rules)


def _is_sound(fits: Fits, at: Refit, j: int) -> np.ndarray:
    """Whether the slopes of the other parameters are about those beside the place where ``j`` is held, shape (b,).

    They are not where a profile is so narrow that its derivatives are rounding alone.
    """
    sound = np.ones(at.ids.size, dtype=bool)
    distance = visible(fits, at, j, 1.0, _SEEN)
    for rows, here in fits.in_chunks(at.ids, at.P):
        Q = here.P.copy()
        Q[j] = np.clip(here.P[j] + distance[rows], here.low[j], here.high[j])
        slopes = zip(here.jacobian(here.P), here.jacobian(fits.problem.with_ties(Q)), strict=True)
        for i, pair in zip(np.flatnonzero(fits.problem.free).tolist(), slopes, strict=True):
            if i != j:
                a, b = map(norm2, pair)
                sound[rows] &= (a <= 4.0 * b) & (b <= 4.0 * a)
    return sound


def _is_minimum(fits: Fits, at: Refit, j: int, rules: Rules) -> np.ndarray:
    """Whether chi-square, the others fitted, grows to both sides of where parameter ``j`` is held, shape (b,)."""
    minimum = np.ones(at.ids.size, dtype=bool)
    for side in (-1.0, 1.0):
        distance = visible(fits, at, j, side, _SEEN)
        value = np.clip(at.P[:, j] + side * distance, fits.low[at.ids, j], fits.high[at.ids, j])
        minimum &= np.isfinite(value)
        moves = minimum & (value != at.P[:, j])
        if moves.any():
            some = at.part(moves)
            beside = _held(fits, some, j, value[moves], rules)
            grown = some.chi2 * (1.0 + _GROWTH * _SEEN**2 / fits.dof(some.ids))
            minimum[moves] &= ~(beside.chi2 < grown)  # the model may also end there
    return minimum
