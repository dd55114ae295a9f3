r"""A few steps downhill from a rough estimate.

Gauss-Newton on all parameters at once: with the residual ``r`` and the columns of linear and nonlinear parameters, the
step ``d`` minimises ``sum W (r - J d)^2``. A step that does not lower chi-square is tried at a quarter of its length
next time. Where grids are coarse, this tells which of several valleys is the deepest; the fit does the rest.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns
from xr_modelfit.estimates.linear_part import Basis, Solution, solution

__all__ = ["polished"]

_STEP = 1e-4  # of a parameter's own scale, for differences
_FARTHEST = 0.7  # of a parameter's own scale, in one step


def polished(fits: SampleColumns, P: np.ndarray, searched: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (K, b) after some steps, and their chi-square (b,).

    ``searched`` (K,) are nonlinear parameters that move; the linear ones do as well.
    """
    here = solution(fits, P)
    numbers, length = np.flatnonzero(searched).tolist(), np.ones(P.shape[1])
    for _ in range(rounds):
        step, scale = _step(fits, here, numbers)
        Q = here.P.copy()
        for j, move, most in zip(numbers, step, scale, strict=True):
            far = _FARTHEST * most
            Q[j] = np.clip(Q[j] + np.clip(length * move, -far, far), fits.lower[j], fits.upper[j])
        there = solution(fits, np.where(np.isfinite(Q), Q, here.P))
        better = there.chi2 < here.chi2
        here = here.better(there, better)
        length = np.where(better, np.minimum(2.0 * length, 1.0), 0.25 * length)
    return here.P, here.chi2


def _step(fits: SampleColumns, at: Solution, numbers: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The step of each nonlinear parameter, and its scale."""
    problem = fits.problem
    scale = [_scale_of(fits, at.P, j) for j in numbers]
    slopes = []
    for j, size in zip(numbers, scale, strict=True):
        Q = at.P.copy()
        Q[j] = at.P[j] + _STEP * size
        slope = (problem.evaluate(fits.inputs, problem.with_ties(Q)) - at.values) / _STEP
        slopes.append(np.where(np.isfinite(slope), slope, 0.0))
    basis = Basis.of([*at.columns, *slopes], fits.W)
    _, shares = basis.removed(np.where(fits.W > 0.0, fits.y - at.values, 0.0), fits.W)
    factors = basis.coefficients(shares)[len(at.columns) :]
    return [f * size for f, size in zip(factors, scale, strict=True)], scale


def _scale_of(fits: SampleColumns, P: np.ndarray, j: int) -> np.ndarray:
    """What is a large step: of the parameter itself, or of its range."""
    width = fits.upper[j] - fits.lower[j]
    size = np.where(np.abs(P[j]) > 0.0, np.abs(P[j]), 1.0)
    return np.where(np.isfinite(width) & (width > 0.0), np.minimum(size, width), size)
