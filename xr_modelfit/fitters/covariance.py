r"""Judgement on finished fits: chi-square, errors, rank, bounds, and whether each is a minimum.

For a fit with weighted residual ``r = w (y - f(p))`` and weighted Jacobian ``J = w df/dp`` of
its ``k`` free parameters that are not on a bound (``n`` samples, weight zero where one is left
out):

*Covariance.* With ``J = Q R S`` (`fitters.gram_schmidt`), ``C = S^-1 R^-1 R^-T S^-1``. It is
multiplied by ``chi2 / (n - k_free)`` unless the weights are one over absolute standard errors.

For other noise than normal, ``r`` and ``J`` are the working residual and Jacobian of `fitters.noise`, always as if
absolute. Under a robust loss variances have to be multiplied by what `fitters.sandwich` says.

*Rank.* Where the smallest singular value of ``R`` is at its rounding level, the samples do not
determine all parameters, however small the errors of a pseudo-inverse would be.

*Minimum.* ``Q' r`` is the part of the residual that a linear step would still remove; its
squared length, against the variance of what would be left, is the squared distance to the
minimum in standard errors. It depends on no scale or shift of data, coordinate or parameter.

*Saddle.* Where parameters are hardly told apart, chi-square may be level and fall further on (`fitters.saddle_test`).

*Bounds.* A parameter is on its bound when moving it there would change the weighted residual by
a small fraction of its scatter, and the gradient pulls it outward. It then has no error, and the
errors of the others are those with it held [1]_.

References
----------
.. [1] Nocedal, J. and Wright, S. (2006), Numerical Optimization, 2nd ed., Springer, chapter 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from xr_modelfit.analysis.derivatives import OF_DIFFERENCES, accuracy, replace_at_cusps, tie_derivatives
from xr_modelfit.fitters.chunking import at_least_two
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.saddle_test import FALLS, HARDLY, falls_beside
from xr_modelfit.fitters.sums import columns, dot, norm2
from xr_modelfit.models.problem import Problem

__all__ = ["Judgement", "judge", "of_all_parameters", "slopes_of_ties"]

ON_BOUND = 1e-3  # of a conditional standard error
STATIONARY = 0.2  # of a standard error
EXACT = 1e-5  # of the spread of the data, for data without scatter
AT_MINIMUM = 1e-2  # of a standard error: as good as at the minimum
NO_SCATTER = 1e-9  # of the spread of the data: the same, where rounding is all that is left


@dataclass(frozen=True)
class Judgement:
    """Judgement on ``b`` fits of ``K`` parameters; every array has the fits last."""

    covariance: np.ndarray  # (K, K, b), 0 for fixed parameters, NaN for those on a bound
    chi2: np.ndarray  # (b,), as all that follow
    finite: np.ndarray
    full_rank: np.ndarray
    stationary: np.ndarray
    at_minimum: np.ndarray
    at_bound: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Squared standard errors, shape (K, b)."""
        variance: np.ndarray = np.einsum("iib->ib", self.covariance)
        return variance

    def only(self, which: np.ndarray) -> "Judgement":
        """Judgement on some of the fits; ``which`` has shape (b,)."""
        if which.all():
            return self
        return Judgement(*(getattr(self, f.name)[..., which] for f in fields(self)))


def judge(fits: FitColumns, n_points: np.ndarray, free: np.ndarray, absolute: bool, ended: np.ndarray) -> Judgement:
    """Judge fits at their parameters.

    Parameters
    ----------
    fits : FitColumns
        With weights.
    n_points : ndarray, shape (b,)
        How many samples take part.
    free : ndarray of bool, shape (K, b)
        Which parameters are free in each fit.
    absolute : bool
        Whether the weights are one over the standard errors of the data.
    ended : ndarray of bool, shape (b,)
        Which fits say that they have come to an end; no others are looked at beside their parameters.
    """
    problem, y, w, P, low, high = fits.problem, fits.y, fits.w, fits.P, fits.low, fits.high
    assert w is not None
    ours = np.flatnonzero(problem.free)
    chi2, r, q = fits.linearised(P)
    finite = np.isfinite(chi2)
    n_free = np.count_nonzero(free, axis=0)
    dof = n_points - n_free
    some = np.maximum(dof, 1)
    J = fits.jacobian(P, q)
    doubtful = finite if problem.traits.complex else finite & ~_all_finite(J)
    from_differences = replace_at_cusps(problem, fits.inputs, q, P, (low, high), J, doubtful)
    precision = np.where(from_differences, OF_DIFFERENCES, accuracy(problem))
    for m, j in enumerate(ours.tolist()):
        J[m] = np.where(free[j], J[m], 0.0)
    n_rows = n_points
    if fits.priors is not None:
        r, J, n_rows, chi2 = *fits.with_priors(P, r, J), n_points + fits.n_priors, chi2 + fits.priors.chi2(P)
    length = np.sqrt(np.stack([norm2(c) for c in J])) if J else np.zeros((0, y.shape[1]))
    T, known = slopes_of_ties(problem, P)
    finite &= np.all(np.isfinite(length), axis=0) & known

    spread, rounding = _scales(y, 1.0 / np.sqrt(np.maximum(y, 1.0)) * (w > 0.0) if fits.noise == "poisson" else w)
    downhill = np.stack([dot(c, r) for c in J]) if J else length
    held = free[ours] & on_bound(length, downhill, chi2, P[ours], low[ours], high[ours], some, spread)
    active = free[ours] & ~held
    factors = factorise(J, active, precision)
    inverse = factors.inverse()
    z, _ = factors.remove(r)
    removable = np.sum(z * z, axis=0)
    scatter = np.maximum(chi2 - removable, 0.0) / some
    least = np.maximum(EXACT * spread, 4 * rounding) ** 2
    stationary = removable <= np.maximum(STATIONARY**2 * scatter, least)
    at_minimum = removable <= np.maximum(AT_MINIMUM**2 * scatter, (NO_SCATTER * spread) ** 2)
    full_rank = factors.full_rank & (np.count_nonzero(active, axis=0) <= n_rows)
    alone = factors.S**2 * np.einsum("iib->ib", inverse)
    doubtful = np.any(alone > HARDLY, axis=0) & finite & full_rank & stationary & ended
    if doubtful.any() and not np.array_equal(problem.partly_linear, problem.free):
        variance = np.einsum("iib->ib", inverse) * chi2 / some
        enough = chi2 - np.maximum(FALLS * chi2 / some, least)
        at = at_least_two(np.flatnonzero(doubtful))
        others = (columns(a, at) for a in (active, precision, variance, alone, enough))
        falls = falls_beside(
            fits.taken(at), [columns(np.broadcast_to(c, (len(r), y.shape[1])), at)[: len(y)] for c in J], *others
        )
        stationary[at[falls]] = at_minimum[at[falls]] = False
    if not absolute:
        inverse = inverse * np.where(dof > 0, chi2 / some, np.where(n_free > 0, np.nan, 0.0))
    covariance = of_all_parameters(problem, inverse, T, active, held)
    covariance[:, :, ~(full_rank & finite)] = np.nan
    covariance[np.isinf(covariance)] = np.nan  # too large for a number
    return Judgement(covariance, chi2, finite, full_rank, stationary, at_minimum, held.any(axis=0))


def _all_finite(J: Sequence[np.ndarray]) -> np.ndarray:
    """Which fits have finite columns only, shape (b,)."""
    finite = np.ones(J[0].shape[1] if J else 1, dtype=bool)
    for c in J:
        finite &= np.isfinite(np.sum(c, axis=0))
    return finite


def _scales(y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted spread of the data about its mean, and its rounding level; (b,) each.

    The spread leaves a constant pedestal out: how well a fit does has nothing to do with it.
    """
    total = np.maximum(norm2(w), np.finfo(float).tiny)
    spread = np.sqrt(norm2(w * (y - dot(w, w * y) / total)))
    return spread, np.finfo(float).eps * np.sqrt(norm2(w * y))


def on_bound(
    length: np.ndarray,
    downhill: np.ndarray,
    chi2: np.ndarray,
    p: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    dof: np.ndarray,
    spread: np.ndarray,
) -> np.ndarray:
    """Which parameters are on a bound, (k, b); ``downhill`` is minus half the gradient of chi-square."""
    near = np.maximum(ON_BOUND * np.sqrt(chi2 / dof), 1e-9 * spread)
    # On the bound to the last bit: unless the gradient pulls inward. Beside it, where fitters that
    # stay inside end: only if it pulls outward, or a parameter without effect would be on any bound.
    still = 1e-7 * length * np.sqrt(chi2)
    on_low = ((p <= low) & (downhill <= still)) | (((p - low) * length <= near) & (downhill <= -near * length))
    on_high = ((p >= high) & (downhill >= -still)) | (((high - p) * length <= near) & (downhill >= near * length))
    return (on_low | on_high) & (length > 0)


def slopes_of_ties(problem: Problem, P: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """``T``, and in which fits it is finite, (b,) or (1,); None where nothing is tied, so that it picks parameters."""
    if not problem.tied.any():
        return None, np.ones(1, dtype=bool)
    T = tie_derivatives(problem, P)
    return T, np.all(np.isfinite(T), axis=(0, 1))


def of_all_parameters(
    problem: Problem, inverse: np.ndarray, T: np.ndarray | None, active: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Covariance of all K parameters from that of the free ones; NaN where one depends on a parameter on its bound.

    It may be ``inverse`` itself.
    """
    if T is None:
        if held.any():
            inverse = np.where(held[:, None] | held[None, :], np.nan, inverse)
        if problem.free.all():
            return inverse
        whole = np.zeros((problem.n_parameters, problem.n_parameters, inverse.shape[2]))
        whole[np.ix_(problem.free, problem.free)] = inverse
        return whole
    K, k, b = T.shape
    along = np.zeros((K, k, b))
    for m in range(k):
        for j in range(k):
            along[:, m] += np.where(active[j], T[:, j], 0.0) * inverse[j, m]
    full = np.zeros((K, K, b))
    for m in range(k):
        full += along[:, None, m] * np.where(active[m], T[:, m], 0.0)[None, :]
    lost = np.any((T != 0) & held[None], axis=1)
    full[lost[:, None] | lost[None, :]] = np.nan
    return full
