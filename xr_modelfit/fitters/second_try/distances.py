"""How much parameters change the model, how far one moves until that is seen, and fits that run away."""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.contract import Fits
from xr_modelfit.fitters.second_try.tries import Refit
from xr_modelfit.fitters.sums import norm2

__all__ = ["effects", "first_seen", "run_away", "visible"]

_LEFT = 1e-3  # of the effect that a parameter had at the start
_HALVES = 10  # the next sample but one is rarely that near to the next
_GROWN = 1e3  # times its size at the start


def effects(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Squared lengths (k, b) of the weighted derivatives of the fits ``ids`` at ``P`` (b, K)."""
    found = np.zeros((np.count_nonzero(fits.problem.free), ids.size))
    for rows, at in fits.in_chunks(ids, P):
        found[:, rows] = [norm2(c) for c in at.jacobian(fits.problem.with_ties(at.P))]
    return found


def visible(fits: Fits, at: Refit, which: int | np.ndarray, side: float, part: float) -> np.ndarray:
    """How far parameter ``which``, a number or (b,), moves until the model changes by this part of a standard error.

    Shape (b,); NaN where the parameter has no effect.
    """
    numbers = np.broadcast_to(which, at.ids.shape)
    found = np.zeros(at.ids.size)
    for rows, here in fits.in_chunks(at.ids, at.P):
        own = numbers[rows], np.arange(rows.size)
        values = here.values(here.P)
        enough = part**2 * at.chi2[rows] / fits.dof(at.ids[rows])
        distance = 1e-8 * np.maximum(np.abs(here.P[own]), 1e-3)
        for _ in range(60):
            Q = here.P.copy()
            Q[own] = here.P[own] + side * distance
            small = ~(here.change(fits.problem.with_ties(Q), values) > enough)
            if not small.any():
                break
            distance = np.where(small, 2.0 * distance, distance)
        found[rows] = np.where(small, np.nan, distance)
    return found


def first_seen(fits: Fits, at: Refit, which: np.ndarray, step: np.ndarray) -> np.ndarray:
    """How far, (b,), parameters ``which`` (b,) move along ``step`` (b,) until the model changes; by bisection."""
    found = np.abs(step)
    for rows, here in fits.in_chunks(at.ids, at.P):
        own, side = (which[rows], np.arange(rows.size)), np.sign(step[rows])
        values, near, far = here.values(here.P), np.zeros(rows.size), found[rows]
        for _ in range(_HALVES):
            middle = 0.5 * (near + far)
            Q = here.P.copy()
            Q[own] = here.P[own] + side * middle
            changed = here.change(fits.problem.with_ties(Q), values) > 0.0
            near, far = np.where(changed, near, middle), np.where(changed, middle, far)
        found[rows] = far
    return found


def run_away(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Whether the fits ``ids``, at ``P`` (b, K) now, have no minimum to go to, shape (b,).

    Parameters grow without end, and one loses its effect on the samples: the tail of a far peak describes a slope a
    little better the farther it is, and a wide peak is a constant. The lost parameter is linear, as starts of those
    may be anywhere, or it has grown large.
    """
    starts, problem = fits.starts[ids], fits.problem
    perhaps = (problem.partly_linear | (np.abs(P) > _GROWN * np.abs(starts)))[:, problem.free].T
    now, then = effects(fits, ids, P), effects(fits, ids, starts)
    lost: np.ndarray = np.any((now < _LEFT**2 * then) & perhaps, axis=0)
    return lost
