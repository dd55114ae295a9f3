"""Whether chi-square falls beside a place where it is level.

Where parameters are hardly told apart, the covariance says little of how chi-square runs: it may be level at first, and
fall further on. So it is computed to both sides of the parameter that the others make up for best, while these follow
by linear steps.

Shapes: ``K`` parameters, ``k`` free ones, ``n`` samples, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import Factors, factorise

__all__ = ["FALLS", "HARDLY", "falls_beside"]

HARDLY = 1e5  # times the variance that a parameter would have alone: hardly told apart
FALLS = 1e-3  # of chi-square by its degrees of freedom
_SIZES = 10.0 ** np.arange(0.0, 3.5, 0.5)  # standard errors that the parameter would have alone
_PLACES = np.concatenate([-_SIZES, _SIZES])
_STEPS = 3
_AT_ONCE = 2**18  # values of samples


def falls_beside(
    fits: FitColumns,
    J: Sequence[np.ndarray],
    active: np.ndarray,
    precision: np.ndarray,
    variance: np.ndarray,
    alone: np.ndarray,
    enough: np.ndarray,
) -> np.ndarray:
    """Whether chi-square is below ``enough`` (b,) beside the fits.

    ``J``, k of (n, b): weighted derivatives there, of the parameters that are ``active`` (k, b). ``variance``,
    ``alone``, (k, b): squared standard errors, and their ratio to those that each parameter would have alone.
    """
    n, b = fits.y.shape
    numbers, every = np.argmax(alone, axis=0), np.arange(b)
    ours = np.flatnonzero(fits.problem.free)
    factors = factorise(J, active & (np.arange(ours.size)[:, None] != numbers), precision)
    sigma = np.sqrt(variance[numbers, every] / alone[numbers, every])
    most = max(1, _AT_ONCE // (n * _PLACES.size))
    falls = np.zeros(b, dtype=bool)
    for first in range(0, b, most):
        part = np.arange(first, min(first + most, b))
        at = np.tile(part, _PLACES.size)  # all places of these fits, side by side
        led = ours[numbers[at]], np.arange(at.size)
        moved = np.repeat(_PLACES, part.size) * sigma[at]
        lowest = _chi2_beside(fits.taken(at), factors.taken(at), led, moved)
        falls[part] = (lowest < enough[at]).reshape(_PLACES.size, -1).any(axis=0)
    return falls


def _chi2_beside(
    fits: FitColumns, factors: Factors, led: tuple[np.ndarray, np.ndarray], moved: np.ndarray
) -> np.ndarray:
    """Chi-square (b,) where the parameters ``led`` are ``moved`` (b,), and the others follow by linear steps."""
    problem, P, low, high = fits.problem, fits.P, fits.low, fits.high
    ours = np.flatnonzero(problem.free)
    Q = P.copy()
    Q[led] = np.clip(P[led] + moved, low[led], high[led])
    for _ in range(_STEPS):
        r = fits.residual(problem.with_ties(Q))
        Q[ours] = np.clip(Q[ours] + factors.solve(factors.remove(r)[0]), low[ours], high[ours])
    return fits.chi2(problem.with_ties(Q))
