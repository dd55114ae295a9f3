"""Fits that run away: parameters grow without end, and one loses its effect on the samples.

The tail of a peak far outside describes a slope a little better than that of one less far, and the amplitude makes up
for the distance; a peak that is wide enough is a constant. There is no minimum to go to.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.distances import effects
from xr_modelfit.fitters.second_try.tries import Bounds
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
    grown = np.abs(P) > _GROWN * np.abs(starts[ids])
    perhaps = (problem.partly_linear | grown)[:, problem.free].T
    now, then = (effects(problem, samples, ids, at, bounds) for at in (P, starts[ids]))
    lost: np.ndarray = np.any((now < _LEFT**2 * then) & perhaps, axis=0)
    return lost
