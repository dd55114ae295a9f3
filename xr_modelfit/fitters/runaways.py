"""Fits that run away: parameters grow without end, and a linear one loses its effect on the samples.

The tail of a peak far outside describes a slope a little better than that of one less far, and the amplitude makes up
for the distance. There is no minimum to go to.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.derivatives import jacobian
from xr_modelfit.fitters.pieces import pieces
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try import Bounds
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.problem import Problem

__all__ = ["run_away"]

_LEFT = 1e-3  # of the effect that a linear parameter had at the start


def run_away(
    problem: Problem, samples: Samples, ids: np.ndarray, starts: np.ndarray, P: np.ndarray, bounds: Bounds
) -> np.ndarray:
    """Whether the fits ``ids``, which are at ``P`` (b, K) now, have lost a linear parameter on their way, (b,)."""
    lost = np.zeros(ids.size, dtype=bool)
    linear = problem.partly_linear[problem.free]
    for piece in pieces(np.arange(ids.size), samples.n_values):
        at = ids[piece]
        inputs, _, w = samples.columns(at)
        low, high = (np.ascontiguousarray(bound[at].T) for bound in bounds)

        def effect(parameters: np.ndarray) -> np.ndarray:
            at_them = problem.with_ties(np.ascontiguousarray(parameters.T))
            J = jacobian(problem, inputs, at_them, low, high, w=w)  # noqa: B023  called at once
            return np.stack([norm2(c) for c in J])

        lost[piece] = np.any((effect(P[piece]) < _LEFT**2 * effect(starts[at]))[linear], axis=0)
    return lost
