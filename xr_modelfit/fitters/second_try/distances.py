"""What parameters do to the model: how much at a place, and how far one moves until it is seen."""

from __future__ import annotations

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, weighted
from xr_modelfit.fitters.chunking import pieces
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.tries import Again, Bounds
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.models.problem import Problem

__all__ = ["effects", "visible"]


def effects(problem: Problem, samples: Samples, ids: np.ndarray, P: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Squared lengths (k, b) of the weighted derivatives, to free parameters, of the fits ``ids`` at ``P`` (b, K)."""
    found = np.zeros((np.count_nonzero(problem.free), ids.size))
    for piece in pieces(np.arange(ids.size), samples.n_values):
        at = ids[piece]
        inputs, _, w = samples.columns(at)
        here, low, high = (np.ascontiguousarray(a.T) for a in (P[piece], *(bound[at] for bound in bounds)))
        found[:, piece] = [norm2(c) for c in jacobian(problem, inputs, problem.with_ties(here), low, high, w=w)]
    return found


def visible(
    problem: Problem, samples: Samples, at: Again, which: int | np.ndarray, side: float, part: float
) -> np.ndarray:
    """How far a parameter moves until the model changes by this part of a standard error, shape (b,).

    ``which``: its number, or those of the fits, (b,). NaN where it has no effect.
    """
    numbers = np.broadcast_to(which, at.ids.shape)
    found = np.zeros(at.ids.size)
    for piece in pieces(np.arange(at.ids.size), samples.n_values):
        inputs, _, w = samples.columns(at.ids[piece])
        P = np.ascontiguousarray(at.P[piece].T)
        own = numbers[piece], np.arange(piece.size)
        here = problem.evaluate(inputs, P)
        dof = np.maximum(samples.n_points[at.ids[piece]] - np.count_nonzero(problem.free), 1)
        enough = part**2 * at.chi2[piece] / dof
        distance = 1e-8 * np.maximum(np.abs(P[own]), 1e-3)
        for _ in range(60):
            Q = P.copy()
            Q[own] = P[own] + side * distance
            away = norm2(weighted(problem, problem.evaluate(inputs, problem.with_ties(Q)) - here, w))
            small = ~(away > enough)
            if not small.any():
                break
            distance = np.where(small, 2.0 * distance, distance)
        found[piece] = np.where(small, np.nan, distance)
    return found
