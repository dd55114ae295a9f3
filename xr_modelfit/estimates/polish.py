r"""A few steps downhill from a rough estimate.

Gauss-Newton on all parameters at once: with the residual ``r`` and the columns of linear and nonlinear parameters, the
step ``d`` minimises ``sum W (r - J d)^2``. A step that does not lower chi-square is tried at a quarter of its length
next time. Where grids are coarse, this tells which of several valleys is the deepest; the fit does the rest.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns
from xr_modelfit.estimates.linear_part import Basis, chi_square, columns_at, residual_of, solved

__all__ = ["polished"]

_STEP = 1e-4  # of a parameter's own scale, for differences
_FARTHEST = 0.7  # of a parameter's own scale, in one step


def polished(fits: SampleColumns, P: np.ndarray, searched: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (K, b) after some steps, and their chi-square (b,).

    ``searched`` (K,) are nonlinear parameters that move; the linear ones do as well.
    """
    P = solved(fits, P)
    best = chi_square(fits, P)
    numbers, length = np.flatnonzero(searched).tolist(), np.ones(P.shape[1])
    for _ in range(rounds):
        step, scale = _step(fits, P, numbers)
        Q = P.copy()
        for j, move, most in zip(numbers, step, scale, strict=True):
            far = _FARTHEST * most
            Q[j] = np.clip(P[j] + np.clip(length * move, -far, far), fits.lower[j], fits.upper[j])
        Q = solved(fits, np.where(np.isfinite(Q), Q, P))
        chi2 = chi_square(fits, Q)
        better = chi2 < best
        P, best = np.where(better, Q, P), np.where(better, chi2, best)
        length = np.where(better, np.minimum(2.0 * length, 1.0), 0.25 * length)
    return P, best


def _step(fits: SampleColumns, P: np.ndarray, numbers: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The step of each nonlinear parameter, and its scale."""
    problem = fits.problem
    _, columns = columns_at(fits, P, fits.linear)
    here = problem.evaluate(fits.inputs, P)
    scale = [_scale_of(fits, P, j) for j in numbers]
    slopes = []
    for j, size in zip(numbers, scale, strict=True):
        Q = P.copy()
        Q[j] = P[j] + _STEP * size
        slope = (problem.evaluate(fits.inputs, problem.with_ties(Q)) - here) / _STEP
        slopes.append(np.where(np.isfinite(slope), slope, 0.0))
    basis = Basis.of([*columns, *slopes], fits.W)
    _, shares = basis.removed(residual_of(fits, P), fits.W)
    factors = basis.coefficients(shares)[len(columns) :]
    return [f * size for f, size in zip(factors, scale, strict=True)], scale


def _scale_of(fits: SampleColumns, P: np.ndarray, j: int) -> np.ndarray:
    """What is a large step: of the parameter itself, or of its range."""
    width = fits.upper[j] - fits.lower[j]
    size = np.where(np.abs(P[j]) > 0.0, np.abs(P[j]), 1.0)
    return np.where(np.isfinite(width) & (width > 0.0), np.minimum(size, width), size)
