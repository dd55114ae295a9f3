r"""What a finished fit is worth: chi-square, errors, rank, bounds, and whether it is a minimum.

For one fit with weighted residual ``r = w (y - f(p))`` and weighted Jacobian ``J = w df/dp`` of
the ``k`` free parameters that are not on a bound (``n`` samples):

*Covariance.* The columns of ``J`` are scaled to length one, ``J = A S``, and ``A = U s V'`` is
decomposed, so that neither units nor a badly centred coordinate cost digits:
``C = S^-1 V s^-2 V' S^-1``. It is multiplied by ``chi2 / (n - k_free)`` unless the weights are
one over absolute standard errors.

*Rank.* A singular value of ``A`` below its own rounding level means that the samples do not
determine all parameters, however small the errors of a pseudo-inverse would be.

*Minimum.* ``U' r`` is the part of the residual that a linear step would still remove;
its squared length, against the variance of what would be left, is the squared distance to the
minimum in standard errors. It depends on no scale or shift of data, coordinate or parameter.

*Bounds.* A parameter is on its bound when moving it there would change the weighted residual by
a small fraction of its scatter, and the gradient does not pull it inward. It then has no error,
and the errors of the others are those with it held (Nocedal and Wright 2006, Numerical
Optimization, chapter 12).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xr_modelfit.derivatives import ACCURACY, jacobian
from xr_modelfit.problem import Problem

__all__ = ["Assessment", "assess"]

_ON_BOUND = 1e-3  # of a conditional standard error
_STATIONARY = 0.2  # of a standard error
_ROUNDING = 1e-5  # of the norm of the data, for data without scatter


@dataclass(frozen=True)
class Assessment:
    """Judgement on one fit; arrays over the ``K`` parameters of the model.

    ``covariance`` has shape (K, K): 0 for fixed parameters, NaN for those on a bound.
    """

    covariance: np.ndarray
    chi2: float
    finite: bool
    full_rank: bool
    stationary: bool
    at_bound: bool

    @property
    def stderr(self) -> np.ndarray:
        return np.sqrt(np.diagonal(self.covariance))


def assess(
    problem: Problem,
    inputs: Sequence[np.ndarray],
    y: np.ndarray,
    w: np.ndarray | None,
    parameters: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    free: np.ndarray,
    absolute: bool,
) -> Assessment:
    """Judge one fit at ``parameters``.

    Parameters
    ----------
    inputs : sequence of ndarray, shape (n,)
    y, w : ndarray, shape (n,)
        Valid samples and their weights; ``w=None`` means ones.
    parameters : ndarray, shape (K,)
    bounds : pair of ndarray, shape (K,)
    free : ndarray of bool, shape (K,)
    absolute : bool
        Whether the weights are one over the standard errors of the data.
    """
    K, n = problem.n_parameters, y.size
    unknown = np.full((K, K), np.nan)
    f = problem.evaluate(inputs, parameters)
    w = np.ones(n) if w is None else w
    r = w * (y - f)
    chi2 = float(np.sum(r * r))
    if not np.isfinite(chi2):
        return Assessment(unknown, chi2, False, False, False, False)
    dof = n - int(np.count_nonzero(free))
    if not free.any():
        return Assessment(np.zeros((K, K)), chi2, True, True, True, False)
    here = replace(problem, lower=bounds[0], upper=bounds[1])
    J, T = jacobian(here, inputs, parameters, free)
    J = J * w[:, None]
    if not (np.all(np.isfinite(J)) and np.all(np.isfinite(T))):
        return Assessment(unknown, chi2, False, False, False, False)

    size = float(np.sqrt(np.sum((w * y) ** 2)))
    held = _on_bound(J, r, parameters[free], bounds[0][free], bounds[1][free], max(dof, 1), size)
    inverse, full_rank, removable = _invert(J[:, ~held], r, ACCURACY[problem.derivative])
    scatter = max(chi2 - removable, 0.0) / max(dof, 1)
    stationary = removable <= _STATIONARY**2 * scatter or removable <= (_ROUNDING * size) ** 2
    if not full_rank:
        return Assessment(unknown, chi2, True, False, stationary, bool(held.any()))
    if not absolute:
        inverse = inverse * (chi2 / dof if dof > 0 else np.nan)
    return Assessment(_all_parameters(inverse, T, held), chi2, True, True, stationary, bool(held.any()))


def _on_bound(
    J: np.ndarray, r: np.ndarray, p: np.ndarray, low: np.ndarray, high: np.ndarray, dof: int, size: float
) -> np.ndarray:
    """Which free parameters are on a bound, shape (k,)."""
    length = np.sqrt(np.sum(J * J, axis=0))
    downhill = np.sum(J * r[:, None], axis=0)  # minus half the gradient of chi-square
    scatter = np.sqrt(np.sum(r * r) / dof)
    near = max(_ON_BOUND * scatter, 1e-9 * size)
    pull = 1e-7 * length * np.sqrt(np.sum(r * r))
    on_low = (p <= low) | ((p - low) * length <= near)
    on_high = (p >= high) | ((high - p) * length <= near)
    return (on_low & (downhill <= pull)) | (on_high & (downhill >= -pull))


def _invert(J: np.ndarray, r: np.ndarray, accuracy: float) -> tuple[np.ndarray, bool, float]:
    """``(J' J)^-1``, whether it exists, and the squared length of ``r`` in the columns' space."""
    n, k = J.shape
    if k == 0:
        return np.zeros((0, 0)), True, 0.0
    scale = np.sqrt(np.sum(J * J, axis=0))
    if n < k or np.any(scale == 0) or not np.all(np.isfinite(scale)):
        rank_safe = np.where((scale == 0) | ~np.isfinite(scale), 1.0, scale)
        U, s, _ = np.linalg.svd(J / rank_safe, full_matrices=False)
        seen = s > max(n, k) * accuracy * s[0]
        return np.full((k, k), np.nan), False, float(np.sum((U[:, seen].T @ r) ** 2))
    U, s, Vt = np.linalg.svd(J / scale, full_matrices=False)
    seen = s > max(n, k) * accuracy * s[0]
    removable = float(np.sum((U[:, seen].T @ r) ** 2))
    if not seen.all():
        return np.full((k, k), np.nan), False, removable
    half = Vt.T / s / scale[:, None]
    return half @ half.T, True, removable


def _all_parameters(inverse: np.ndarray, T: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Covariance of all K parameters; NaN where one depends on a parameter on its bound."""
    active = T[:, ~held]
    full = active @ inverse @ active.T
    lost = np.any(T[:, held] != 0, axis=1)
    full[lost, :] = np.nan
    full[:, lost] = np.nan
    return full
