"""Lower minima on the other side of a kink.

Where a model has kinks, chi-square may have a minimum between any two samples that a kink lies between. So it is looked
at beside a fit that has converged: some standard errors along each parameter in which the model is not linear, the
others following.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.levenberg_marquardt import Options
from xr_modelfit.fitters.saddle_test import FALLS
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.distances import effects
from xr_modelfit.fitters.second_try.saddles import lowest_of
from xr_modelfit.fitters.second_try.tries import Again, Bounds, begun_at, part_of_fits, try_again
from xr_modelfit.models.problem import Problem

__all__ = ["past_kinks"]

_ROUNDS = 3
_SIZES = (0.3, 1.0, 3.0)  # standard errors of a parameter alone


def past_kinks(problem: Problem, samples: Samples, before: Again, bounds: Bounds, options: Options) -> Again:
    """Fits anew from where chi-square is lower beside; ``good`` where they have converged to less."""
    best = begun_at(before)
    todo = np.arange(best.ids.size)
    for _ in range(_ROUNDS):
        some = part_of_fits(best, todo)
        fits, ways = _ways(problem, samples, some, bounds)
        chi2, P = lowest_of(problem, samples, some, bounds, fits, ways, _SIZES, 1)
        dof = np.maximum(samples.n_points[some.ids] - np.count_nonzero(problem.free), 1)
        lower = chi2 < some.chi2 * (1.0 - FALLS / dof)
        todo = todo[lower]
        if not todo.size:
            break
        starts = np.zeros((samples.y.shape[0], P.shape[1]))
        starts[best.ids[todo]] = P[lower]
        new = try_again(problem, samples, best.ids[todo], starts, bounds, options)
        better = new.good & (new.chi2 < best.chi2[todo])
        todo = todo[better]
        best.P[todo], best.chi2[todo], best.good[todo] = new.P[better], new.chi2[better], True
        best.n_iter[todo] += new.n_iter[better]
    return best


def _ways(problem: Problem, samples: Samples, at: Again, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of fits, and for each a standard error of one of its parameters, to both sides; (m,) and (K, m)."""
    curved = np.flatnonzero(problem.free & ~problem.partly_linear)
    among = np.isin(np.flatnonzero(problem.free), curved)
    dof = np.maximum(samples.n_points[at.ids] - among.size, 1)
    far = np.sqrt(at.chi2 / dof / effects(problem, samples, at.ids, at.P, bounds)[among])
    far = np.where(np.isfinite(far), far, 0.0)
    ways = np.zeros((at.P.shape[1], curved.size, at.ids.size))
    ways[curved, np.arange(curved.size)] = far
    one_side = ways.reshape(at.P.shape[1], -1)
    return np.tile(np.arange(at.ids.size), 2 * curved.size), np.concatenate([-one_side, one_side], axis=1)
