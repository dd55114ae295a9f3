r"""Generalised least squares of linear models, from what the likelihood of the correlation knows.

With the factors ``J = Q F`` (`fitters.gram_schmidt`) and the residual ``e`` of a fit as if samples were independent,
and the correlation matrix ``R`` of its noise, parameters move by ``F^-1 d``, and

.. math:: d = (Q'R^{-1}Q)^{-1} Q'R^{-1}e, \qquad C = F^{-1} (Q'R^{-1}Q)^{-1} F^{-T}, \qquad
          \chi^2 = e'R^{-1}e - e'R^{-1}Q d.

All of it is in `likelihood.AtMode`, so no sample is whitened. Only clear cases end here, as in `fitters.normal`: others
are whitened and fitted.

Shapes: ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.correlated.likelihood import AtMode
from xr_modelfit.fitters.covariance import Judgement, of_all_parameters, slopes_of_ties
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import Factors
from xr_modelfit.fitters.normal import SQUARES, WORST, off_bounds
from xr_modelfit.fitters.sums import norm2

__all__ = ["Direct", "basis", "solved", "within"]

_REFINED = 1e-4  # of a standard error: parameters that near to those of independent samples are as good as these
_LOST = 1e-6  # of the squared residuals: less is left of them by rounding alone


class Direct(NamedTuple):
    """Fits that are done; ``which`` numbers them among others."""

    which: np.ndarray  # (b,)
    parameters: np.ndarray  # (b, K)
    judgement: Judgement  # as if weights were one over the standard errors of the data


def basis(factors: Factors) -> np.ndarray:
    """``F^-1``, shape (k, k, 1 or b)."""
    k = len(factors.Q)
    unit = np.eye(k)[:, :, None] * np.ones(factors.R.shape[2])
    return np.stack([factors.solve(unit[:, m]) for m in range(k)], axis=1)


def within(X: np.ndarray, V: np.ndarray) -> np.ndarray:
    """``X V X'`` of (m, k, 1 or b) and symmetric (k, k, b), shape (m, m, b)."""
    m, k, b = len(X), len(V), V.shape[2]
    Y, out = np.zeros((m, k, b)), np.zeros((m, m, b))
    for i in range(m):
        for j in range(k):
            for q in range(k):
                Y[i, j] += X[i, q] * V[q, j]
        for j in range(i + 1):
            for q in range(k):
                out[i, j] += Y[i, q] * X[j, q]
            out[j, i] = out[i, j]
    return out


def solved(
    at: FitColumns,
    factors: Factors,
    z: np.ndarray,
    e: np.ndarray,
    found: AtMode,
    n_points: np.ndarray,
    known: np.ndarray,
) -> Direct:
    """Those of the fits ``at`` that are clear cases.

    ``z`` (k, b) and ``e`` (n, b) are what the factors take out of the residual, and what they leave. ``known`` (b,)
    says where the correlation is that of ``found``.
    """
    problem, ours = at.problem, at.problem.free
    k, b = found.shift.shape
    X = basis(factors)
    inverse = within(X, found.inverse)
    P = at.P.copy()
    P[ours] += factors.solve(z + found.shift)
    P = problem.with_ties(P)
    scatter = found.chi2 / np.maximum(n_points - k, 1)
    square = _squares(factors, found.products)
    clear = known & factors.full_rank & factors.active.all(axis=0) & (n_points > k) & np.isfinite(found.chi2)
    clear = clear & (np.sum(z * z, axis=0) <= _REFINED**2 * scatter)
    size = norm2(e)
    clear &= found.chi2 > _LOST * size
    clear &= np.all(np.isfinite(P), axis=0)
    variance = np.einsum("iib->ib", inverse)
    clear &= np.sum(variance * square, axis=0) <= WORST
    clear &= np.all((square > SQUARES[0]) & (square < SQUARES[1]) & np.isfinite(variance * scatter), axis=0)
    p, low, high = P[ours], at.low[ours], at.high[ours]
    if np.any(np.isfinite(low) | np.isfinite(high)):
        clear &= off_bounds(p, low, high, square, scatter, size)
    T, known = slopes_of_ties(problem, P)
    clear &= known
    active = np.ones((k, 1), dtype=bool)
    covariance = of_all_parameters(problem, inverse, T, active, ~active)
    judgement = Judgement(covariance, found.chi2, clear, clear, clear, clear, np.zeros(b, dtype=bool))
    which = np.flatnonzero(clear)
    return Direct(which, P[:, which].T, judgement.only(clear))


def _squares(factors: Factors, A: np.ndarray) -> np.ndarray:
    """Squared lengths of the whitened columns of ``J``, (k, b), from ``Q'R^-1 Q`` (k, k, b)."""
    k = len(A)
    out = np.zeros((k, A.shape[2]))
    for j in range(k):
        for m in range(j + 1):
            for q in range(j + 1):
                out[j] += factors.R[m, j] * A[m, q] * factors.R[q, j]
        out[j] *= factors.S[j] * factors.S[j]
    return out
