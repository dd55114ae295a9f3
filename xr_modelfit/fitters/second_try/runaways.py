"""Fits that run away: parameters grow without end, and one loses its effect on the samples.

The tail of a peak far outside describes a slope a little better than that of one less far, and the amplitude makes up
for the distance; a peak that is wide enough is a constant. There is no minimum to go to.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.fitters.chunking import pieces
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.tries import Bounds
from xr_modelfit.fitters.sums import norm2
from xr_modelfit.models.problem import Problem

__all__ = ["run_away"]

_LEFT = 1e-3  # of the effect that a parameter had at the start
_GROWN = 1e3  # times its size at the start


def run_away(
    problem: Problem, samples: Samples, ids: np.ndarray, starts: np.ndarray, P: np.ndarray, bounds: Bounds
) -> np.ndarray:
    """Whether the fits ``ids``, which are at ``P`` (b, K) now, have lost a parameter on their way, (b,).

    It is linear, as starts of those may be anywhere, or it has grown large.
    """
    lost = np.zeros(ids.size, dtype=bool)
    free = problem.free
    perhaps = problem.partly_linear[free] | (np.abs(P) > _GROWN * np.abs(starts[ids]))[:, free]
    for piece in pieces(np.arange(ids.size), samples.n_values):
        at = ids[piece]
        inputs, _, w = samples.columns(at)
        low, high = (np.ascontiguousarray(bound[at].T) for bound in bounds)

        def effect(parameters: np.ndarray) -> np.ndarray:
            at_them = problem.with_ties(np.ascontiguousarray(parameters.T))
            J = jacobian(problem, inputs, at_them, low, high, w=w)  # noqa: B023  called at once
            return np.stack([norm2(c) for c in J])

        lost[piece] = np.any((effect(P[piece]) < _LEFT**2 * effect(starts[at])) & perhaps[piece].T, axis=0)
    return lost
