"""Estimates of the correlation of neighbours, of fits where they have come to; see `fitters.correlated.likelihood`.

Shapes: ``n`` samples, ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.correlated.likelihood import Even, Uneven, profiled
from xr_modelfit.fitters.correlated.ordered import Ordered
from xr_modelfit.fitters.covariance import slopes_of_ties
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import Factors, factorise
from xr_modelfit.fitters.sums import norm2

__all__ = ["Estimate", "estimated"]

_SEVERAL = 4  # arrays as large as the samples, which should stay in cache
_FEWEST = 2  # degrees of freedom
_NO_SCATTER = 1e-12  # of the length of the data: smaller residuals are rounding


class Estimate(NamedTuple):
    """What is known of the correlation."""

    r: np.ndarray  # (b,), of samples one step apart
    wider: np.ndarray  # (b, K), factors of the standard errors, as ``r`` is not known exactly

    @classmethod
    def nothing(cls, b: int, K: int) -> Estimate:
        """No correlation."""
        return cls(np.zeros(b), np.ones((b, K)))


def estimated(ordered: Ordered, ids: np.ndarray, P: np.ndarray, absolute: bool, spread: bool = True) -> Estimate:
    """The correlation in the fits ``ids`` at ``P`` (ids.size, K); 0 where the model raises, or nothing is left over.

    Without ``spread``, as if it were known exactly.
    """
    out = Estimate.nothing(ids.size, P.shape[1])

    def some(rows: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            found = _of_columns(ordered, ids[rows], P[rows], absolute, spread)
        out.r[rows], out.wider[rows] = found

    even = ordered.even[ids]
    for group, several in ((np.flatnonzero(even), 1), (np.flatnonzero(~even), _SEVERAL)):
        for rows in chunks(group, several * ordered.fits.samples.n_values):
            for _ in isolate_errors(some, rows):
                pass
    return out


def _of_columns(ordered: Ordered, ids: np.ndarray, P: np.ndarray, absolute: bool, spread: bool) -> Estimate:
    """The same of fits that are all even, or all uneven."""
    fits, problem, even = ordered.fits, ordered.fits.problem, bool(ordered.even[ids[0]])
    at = fits.columns(ids, P)
    at = at._replace(P=problem.with_ties(at.P))
    n_points = fits.samples.n_points[ids]
    factors, e = _factorised(at, even and fits.samples.all_valid)
    if even:
        products: Even | Uneven = Even(factors.Q, e)
    else:
        steps = ordered.steps.T if ordered.steps.shape[0] == 1 else np.ascontiguousarray(ordered.steps[ids].T)
        products = Uneven(factors.Q, e, steps, np.ascontiguousarray(fits.samples.valid[ids, 1:].T))
    active = np.broadcast_to(factors.active, (len(factors.Q), ids.size))
    found = profiled(products, products.neighbours, active, n_points, ordered.counted[ids], absolute, spread)
    size2 = norm2(at.y if at.w is None else at.y * at.w)
    known = (n_points - np.count_nonzero(active, axis=0) >= _FEWEST) & np.isfinite(found.r)
    known &= norm2(e) > _NO_SCATTER**2 * size2
    wider = np.ones(P.shape)
    if found.at_mode is not None and found.mean is not None:
        wider = np.where(known[:, None], _wider(at, factors, found.at_mode, found.mean).T, 1.0)
    return Estimate(np.where(known, found.r, 0.0), wider)


def _factorised(at: FitColumns, may_share: bool) -> tuple[Factors, np.ndarray]:
    """The factors of the weighted Jacobian of parameters off their bounds, and the residual that they leave, (n, b).

    Where fits share coordinates, and the model is linear, they share the factors as well.
    """
    problem = at.problem
    active = ((at.low < at.P) & (at.high > at.P))[problem.free]
    fixed, r = at.P[problem.fixed], at.residual(at.P)
    shared = may_share and problem.traits.linear and at.w is None and all(x.shape[1] == 1 for x in at.inputs)
    if shared and active.all() and np.all(fixed == fixed[:, :1]):
        active = active[:, :1]
        at = at._replace(P=at.P[:, :1], low=at.low[:, :1], high=at.high[:, :1])
    J = at.jacobian(at.P)
    factors = factorise([np.ascontiguousarray(c) for c in J], active, accuracy(problem))
    _, e = factors.remove(r)
    return factors, e


def _wider(at: FitColumns, factors: Factors, at_mode: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Factors of the standard errors of all parameters, (K, b), from covariances (k, k, b) in the basis of ``Q``."""
    problem, k = at.problem, len(factors.Q)
    unit = np.eye(k)[:, :, None] * np.ones(factors.R.shape[2])
    found = np.ones(at.P.shape)
    if not k:
        return found
    rows = np.stack([factors.solve(unit[:, m]) for m in range(k)], axis=1)  # (k, k, 1 or b)
    which = np.flatnonzero(problem.free)
    T, _ = slopes_of_ties(problem, at.P)
    if T is not None:
        which = np.arange(len(at.P))
        rows = sum(T[:, m][:, None] * rows[m] for m in range(k))
    now, before = (_variances(rows, V) for V in (mean, at_mode))
    ratio = np.sqrt(now / before)
    found[which] = np.where(np.isfinite(ratio) & (ratio > 0.0), ratio, 1.0)
    return found


def _variances(rows: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Diagonals of ``rows V rows'``, (m, b), of (m, k, 1 or b) and (k, k, b)."""
    out = np.zeros((len(rows), V.shape[2]))
    for i in range(V.shape[0]):
        for j in range(V.shape[0]):
            out += rows[:, i] * V[i, j] * rows[:, j]
    return out
