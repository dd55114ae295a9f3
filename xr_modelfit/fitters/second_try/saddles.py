"""Fits that go on from a lower place beside the one where they have stopped.

*Level places.* A parameter that enters as its square has no slope at 0. Two parameters that are told apart by their
cubes only have a direction without slope. Derivatives say nothing there, so chi-square itself is computed along each
parameter in which the model is not linear, while linear steps of the others make up for it.

*Kinks.* Where a model has kinks, chi-square may have a minimum between any two samples that a kink lies between. So
chi-square is computed some standard errors beside a converged fit as well.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy
from xr_modelfit.fitters.chunking import chunks
from xr_modelfit.fitters.contract import Fits, Rules
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.saddle_test import FALLS
from xr_modelfit.fitters.second_try.distances import effects, visible
from xr_modelfit.fitters.second_try.tries import Refit, try_again

__all__ = ["from_lower", "past_kinks"]

_ROUNDS = 20
_SIZES = (0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the way to where the model changes by a standard error
_PAIRS = (-4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0)  # the same for two parameters without slope
_STEPS = 2
_KINK_ROUNDS = 3
_KINK_SIZES = (0.3, 1.0, 3.0)  # standard errors of a parameter alone


def from_lower(fits: Fits, before: Refit, rules: Rules) -> tuple[Refit, np.ndarray]:
    """Fits anew from the lowest place beside where they have stopped, as long as there is one.

    Also bool (b, K): parameters that have no slope at all, such as the edges of a box, where it is not lower beside.
    """
    best = before.copy()
    flat = np.zeros(best.P.shape, dtype=bool)
    todo = np.flatnonzero(np.all(np.isfinite(best.P), axis=1) & np.isfinite(best.chi2))
    for _ in range(_ROUNDS):
        some = best.part(todo)
        chi2, P = _lowest(fits, some)
        lower = chi2 < some.chi2 * (1.0 - FALLS / fits.dof(some.ids))
        if not lower.all():
            flat[todo[~lower]] = _without_slope(fits, some.part(~lower))
        todo, P = todo[lower], P[lower]
        if not todo.size:
            break
        new = try_again(fits.starting_at(best.ids[todo], P), best.ids[todo], rules)
        better = new.chi2 < best.chi2[todo]
        best.put(todo[better], new.part(better))
        level = np.any(_without_slope(fits, best.part(todo)), axis=1)
        todo = todo[better & (level | ~new.good)]
    return best, flat


def past_kinks(fits: Fits, before: Refit, rules: Rules) -> Refit:
    """Fits anew from where chi-square is lower beside; ``good`` where they have converged to less."""
    best = before.copy()
    todo = np.arange(best.ids.size)
    for _ in range(_KINK_ROUNDS):
        some = best.part(todo)
        chi2, P = _lowest_of(fits, some, *_directions(fits, some), _KINK_SIZES, 1)
        lower = chi2 < some.chi2 * (1.0 - FALLS / fits.dof(some.ids))
        todo = todo[lower]
        if not todo.size:
            break
        new = try_again(fits.starting_at(best.ids[todo], P[lower]), best.ids[todo], rules)
        better = new.good & (new.chi2 < best.chi2[todo])
        todo = todo[better]
        best.put(todo, new.part(better))
    return best


def _without_slope(fits: Fits, at: Refit) -> np.ndarray:
    """Parameters (b, K) in which the model is not linear, and has no slope at any sample."""
    problem = fits.problem
    flat = np.zeros(at.P.shape, dtype=bool)
    flat[:, problem.free] = effects(fits, at.ids, at.P).T == 0.0
    flat &= ~problem.partly_linear & (fits.low[at.ids] < fits.high[at.ids])
    for j in np.flatnonzero(flat.any(axis=0)).tolist():  # a parameter without any effect is not known
        some = np.flatnonzero(flat[:, j])
        flat[some, j] = _reaches(fits, at.part(some), j, visible(fits, at.part(some), j, 1.0, 1.0))
    return flat


def _reaches(fits: Fits, at: Refit, along: int | np.ndarray, far: np.ndarray) -> np.ndarray:
    """Whether moving parameter ``along`` by about ``far`` (b,), within its bounds, changes the model at all; (b,)."""
    numbers, found = np.broadcast_to(along, at.ids.shape), np.zeros(at.ids.size, dtype=bool)
    for rows, here in fits.in_chunks(at.ids, at.P):
        own = numbers[rows], np.arange(rows.size)
        values = here.values(here.P)
        for by in (*_PAIRS, *_SIZES, *(-size for size in _SIZES)):
            Q = here.P.copy()
            Q[own] = np.clip(here.P[own] + by * far[rows], here.low[own], here.high[own])
            found[rows] |= ~(here.change(fits.problem.with_ties(Q), values) <= 0.0)  # it may have no value there
    return found & np.isfinite(far)


def _lowest(fits: Fits, at: Refit) -> tuple[np.ndarray, np.ndarray]:
    """The lowest chi-square (b,) beside fits, and the parameters (b, K) there."""
    curved = np.flatnonzero(fits.problem.free & ~fits.problem.partly_linear)
    # Each fit and each of its parameters, to both sides at once.
    rows, along = np.tile(np.arange(at.ids.size), curved.size), np.repeat(curved, at.ids.size)
    far = visible(fits, at.part(rows), along, 1.0, 1.0)
    seen = _reaches(fits, at.part(rows), along, far)
    far = np.where(seen, far, 0.0)
    step = np.where(np.arange(at.P.shape[1])[:, None] == along, far, 0.0)[:, seen]
    which, steps = np.tile(rows[seen], 2), np.concatenate([-step, step], axis=1)
    best, place = _lowest_of(fits, at, which, steps, _SIZES, _STEPS)
    flat = _without_slope(fits, at)
    several = np.flatnonzero(np.count_nonzero(flat, axis=1) > 1)
    if several.size:
        far = far.reshape(curved.size, -1)[:, several]
        for one, other in combinations(range(curved.size), 2):
            both = flat[several, curved[one]] & flat[several, curved[other]]
            for p, q in product(_PAIRS, _PAIRS):
                step = np.zeros((at.P.shape[1], several.size))
                step[curved[one]], step[curved[other]] = p * far[one], q * far[other]
                chi2, P = _lowest_of(fits, at.part(several), np.flatnonzero(both), step[:, both], (1.0,), 1)
                lower = chi2 < best[several]
                best[several[lower]], place[several[lower]] = chi2[lower], P[lower]
    return best, place


def _lowest_of(
    fits: Fits, at: Refit, which: np.ndarray, directions: np.ndarray, sizes: Sequence[float], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest chi-square (b,) along directions (K, m) from the fits ``which`` (m,), and the parameters (b, K)."""
    best, place = np.full(at.ids.size, np.inf), at.P.copy()
    for rows in chunks(np.arange(which.size), fits.samples.n_values):
        own = which[rows]
        here = fits.columns(at.ids[own], at.P[own])
        for chi2, Q in _along(here, np.ascontiguousarray(directions[:, rows]), sizes, steps):
            lower = np.flatnonzero(chi2 < best[own])
            lower = lower[np.argsort(-chi2[lower], kind="stable")]  # of one fit the lowest is written last
            best[own[lower]], place[own[lower]] = chi2[lower], Q[:, lower].T
    return best, place


def _along(
    at: FitColumns, direction: np.ndarray, sizes: Sequence[float], steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chi-square (b,) and parameters (K, b) along a direction (K, b); the other parameters follow by linear steps."""
    problem, low, high = at.problem, at.low, at.high
    ours, led = np.flatnonzero(problem.free), direction != 0.0
    Q = at.P.copy()
    for size in sizes:
        Q = np.where(led, np.clip(at.P + size * direction, low, high), Q)
        for _ in range(steps):
            Q = problem.with_ties(Q)
            r, J = at.residual(Q), at.jacobian(Q)
            others = ((low < Q) & (high > Q) & ~led)[ours]
            factors = factorise([np.ascontiguousarray(c) for c in J], others, accuracy(problem))
            Q[ours] = np.clip(Q[ours] + factors.solve(factors.remove(r)[0]), low[ours], high[ours])
        Q = problem.with_ties(Q)
        yield at.chi2(Q), Q


def _directions(fits: Fits, at: Refit) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of fits, and for each a standard error of one of its parameters, to both sides; (m,) and (K, m)."""
    problem = fits.problem
    curved = np.flatnonzero(problem.free & ~problem.partly_linear)
    among = np.isin(np.flatnonzero(problem.free), curved)
    far = np.sqrt(at.chi2 / fits.dof(at.ids) / effects(fits, at.ids, at.P)[among])
    steps = np.zeros((at.P.shape[1], curved.size, at.ids.size))
    steps[curved, np.arange(curved.size)] = np.where(np.isfinite(far), far, 0.0)
    one_side = steps.reshape(at.P.shape[1], -1)
    return np.tile(np.arange(at.ids.size), 2 * curved.size), np.concatenate([-one_side, one_side], axis=1)
