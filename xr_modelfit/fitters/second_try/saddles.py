"""Fits that go on from a lower place beside the one where they have stopped.

*Level places.* A parameter that enters as its square has no slope at 0. Two parameters that are told apart by their
cubes only have a direction without slope. Derivatives say nothing there, so chi-square itself is computed along each
parameter in which the model is not linear, while linear steps of the others make up for it.

*Edges.* The place of a step or of a box has no slope at all, and chi-square is level between samples. An edge is moved
past the next sample, and past the next but one where a sample is next to it.

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
from xr_modelfit.fitters.second_try.distances import effects, first_seen, visible
from xr_modelfit.fitters.second_try.tries import Refit, try_again

__all__ = ["from_lower", "past_kinks"]

_ROUNDS = 20
_SIZES = (0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the way to where the model changes by a standard error
# The same for two parameters without slope.
_PAIRS = (-64.0, -16.0, -4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0, 16.0, 64.0)
_STEPS = 2
_NEXT = 0.1  # of the way to the next sample but one
_KINK_ROUNDS = 3
_KINK_SIZES = (0.3, 1.0, 2.0, 3.0, 5.0, 8.0)  # standard errors of a parameter alone


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


def _without_slope(fits: Fits, at: Refit, seen: np.ndarray | None = None) -> np.ndarray:
    """Parameters (b, K) in which the model is not linear, and has no slope at any sample.

    ``seen`` (b, K) says which of those change the model at all, where that is known already.
    """
    problem = fits.problem
    flat = np.zeros(at.P.shape, dtype=bool)
    flat[:, problem.free] = effects(fits, at.ids, at.P).T == 0.0
    flat &= ~problem.partly_linear & (fits.low[at.ids] < fits.high[at.ids])
    if seen is not None:
        return np.asarray(flat & seen)
    for j in np.flatnonzero(flat.any(axis=0)).tolist():  # a parameter without any effect is not known
        some = np.flatnonzero(flat[:, j])
        flat[some, j] = _reaches(fits, at.part(some), j, visible(fits, at.part(some), j, 1.0, 1.0))
    return flat


def _reaches(fits: Fits, at: Refit, along: int | np.ndarray, far: np.ndarray) -> np.ndarray:
    """Whether moving parameter ``along`` by about ``far`` (b,), within its bounds, changes the model at all; (b,)."""
    found, known = np.zeros(at.ids.size, dtype=bool), np.flatnonzero(np.isfinite(far))
    numbers, far, some = np.broadcast_to(along, at.ids.shape)[known], far[known], at.part(known)
    for rows, here in fits.in_chunks(some.ids, some.P):
        own = numbers[rows], np.arange(rows.size)
        values, changed = here.values(here.P), np.zeros(rows.size, dtype=bool)
        for by in (*_PAIRS, *_SIZES, *(-size for size in _SIZES)):
            Q = here.P.copy()
            Q[own] = np.clip(here.P[own] + by * far[rows], here.low[own], here.high[own])
            changed |= ~(here.change(fits.problem.with_ties(Q), values) <= 0.0)  # it may have no value there
            if changed.all():
                break
        found[known[rows]] = changed
    return found


def _lowest(fits: Fits, at: Refit) -> tuple[np.ndarray, np.ndarray]:
    """The lowest chi-square (b,) beside fits, and the parameters (b, K) there."""
    curved = np.flatnonzero(fits.problem.free & ~fits.problem.partly_linear)
    # Each fit and each of its parameters, to both sides at once.
    rows, along = np.tile(np.arange(at.ids.size), curved.size), np.repeat(curved, at.ids.size)
    some, seen = at.part(rows), np.zeros(at.P.shape, dtype=bool)
    left, right = (_far(fits, some, along, side) for side in (-1.0, 1.0))
    seen[rows, along] = right > 0.0
    flat = _without_slope(fits, at, seen)
    edges = flat[rows, along]
    left, far_left = _to_samples(fits, some, along, -1.0, left, edges)
    right, far_right = _to_samples(fits, some, along, 1.0, right, edges)
    far = np.maximum(far_left, far_right)
    near = [(size > 0.0) & (size < _NEXT * far) for size in (left, right)]  # an edge is next to a sample
    moves = [(-left, left > 0.0), (right, right > 0.0), (-far, near[0]), (far, near[1])]
    which, one = np.concatenate([rows[moved] for _, moved in moves]), np.arange(at.P.shape[1])[:, None]
    steps = np.concatenate([np.where(one == along[moved], step[moved], 0.0) for step, moved in moves], axis=1)
    best, place = _lowest_of(fits, at, which, steps, _SIZES, _STEPS)
    several = np.flatnonzero(np.count_nonzero(flat, axis=1) > 1)
    if several.size:
        far = far.reshape(curved.size, -1)[:, several]
        for i, j in combinations(range(curved.size), 2):
            both = flat[several, curved[i]] & flat[several, curved[j]]
            for p, q in product(_PAIRS, _PAIRS):
                step = np.zeros((at.P.shape[1], several.size))
                step[curved[i]], step[curved[j]] = p * far[i], q * far[j]
                chi2, P = _lowest_of(fits, at.part(several), np.flatnonzero(both), step[:, both], (1.0,), 1)
                lower = chi2 < best[several]
                best[several[lower]], place[several[lower]] = chi2[lower], P[lower]
    return best, place


def _far(fits: Fits, at: Refit, along: np.ndarray, side: float) -> np.ndarray:
    """How far the parameters ``along`` (m,) are moved to one side until that is seen, 0 where it is not; (m,)."""
    far = visible(fits, at, along, side, 1.0)
    return np.where(_reaches(fits, at, along, far), far, 0.0)


def _to_samples(
    fits: Fits, at: Refit, along: np.ndarray, side: float, far: np.ndarray, flat: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far the parameters ``along`` (m,) are moved, which are seen ``far`` (m,) away; (m,) twice.

    Those that are ``flat`` (m,), such as edges, are moved to the next sample, and to the next but one.
    """
    next_one, next_but_one = far.copy(), far.copy()
    edges = np.flatnonzero(flat & (far > 0.0))
    if edges.size:
        some, which = at.part(edges), along[edges]
        first = first_seen(fits, some, which, side * far[edges])
        some.P[np.arange(edges.size), which] += side * first
        more = np.nan_to_num(visible(fits, some, which, side, 1.0))
        next_one[edges], next_but_one[edges] = first, first + first_seen(fits, some, which, side * more)
    return next_one, next_but_one


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
