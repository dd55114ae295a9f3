"""Lower minima on the other side of a kink.

Where a model has kinks, chi-square may have a minimum between any two samples that a kink lies between. So chi-square
is computed beside a converged fit: some standard errors along each parameter in which the model is not linear, while
the others follow.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.contract import Fits, Rules
from xr_modelfit.fitters.saddle_test import FALLS
from xr_modelfit.fitters.second_try.distances import effects
from xr_modelfit.fitters.second_try.saddles import lowest_of
from xr_modelfit.fitters.second_try.tries import Refit, try_again

__all__ = ["past_kinks"]

_ROUNDS = 3
_SIZES = (0.3, 1.0, 3.0)  # standard errors of a parameter alone


def past_kinks(fits: Fits, before: Refit, rules: Rules) -> Refit:
    """Fits anew from where chi-square is lower beside; ``good`` where they have converged to less."""
    best = before.copy()
    todo = np.arange(best.ids.size)
    for _ in range(_ROUNDS):
        some = best.part(todo)
        chi2, P = lowest_of(fits, some, *_directions(fits, some), _SIZES, 1)
        lower = chi2 < some.chi2 * (1.0 - FALLS / fits.dof(some.ids))
        todo = todo[lower]
        if not todo.size:
            break
        new = try_again(fits.starting_at(best.ids[todo], P[lower]), best.ids[todo], rules)
        better = new.good & (new.chi2 < best.chi2[todo])
        todo = todo[better]
        best.P[todo], best.chi2[todo], best.good[todo] = new.P[better], new.chi2[better], True
        best.n_iter[todo] += new.n_iter[better]
    return best


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
