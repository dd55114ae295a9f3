"""Whether what stands in for a model says what the model says."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence

import numpy as np

from xr_modelfit.derivatives import tied_or_nan
from xr_modelfit.problem import Problem

__all__ = ["ALIKE", "CLOSE", "SAME", "columns_agree", "far_points", "same_values"]

SAME = 1e-10  # of the largest value
ALIKE = 1e-6  # the same far from the start, where a model may be ill-conditioned
CLOSE = 1e-3  # of the largest slope: differences are no better in the worst case

Inputs = Sequence[np.ndarray]


def far_points(problem: Problem) -> np.ndarray:
    """Parameters (K, b) far from the start, on both sides of what code may compare them with; ties hold."""
    start = np.where(np.isfinite(problem.start), problem.start, 1.0)
    free = problem.free
    points = [start * by for by in (-1.0, 0.25, 4.0, 30.0)]
    for j in np.flatnonzero(free).tolist():
        for value in (-start[j], 0.0, 0.25 * start[j], 4.0 * start[j], start[j] + 10.0, start[j] - 10.0):
            points.append(np.where(np.arange(start.size) == j, value, start))
    return tied_or_nan(problem, np.stack([np.where(free, p, start) for p in points], axis=1))


def same_values(
    problem: Problem,
    values: Callable[[Inputs, np.ndarray], np.ndarray],
    inputs: Sequence[np.ndarray],
    P: np.ndarray,
    limit: float,
) -> bool:
    """Whether ``values(inputs, P)`` (n, b) are those of the model, for those parameters (K, b) where it has any."""
    at = [x[:, None] for x in inputs]
    with np.errstate(all="ignore"):
        found = values(inputs, P)
        try:
            expected = problem.evaluate(at, P)
        except Exception:  # of some of them
            expected = np.stack([_values_or_none(problem, at, p, found[:, [i]]) for i, p in enumerate(P.T)], axis=1)
    return all(columns_agree(found[:, i], expected[:, i], limit, 0.0) for i in range(P.shape[1]))


def _values_or_none(problem: Problem, at: Inputs, p: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    try:
        return problem.evaluate(at, p[:, None])[:, 0]
    except Exception:
        return otherwise[:, 0]


def columns_agree(a: np.ndarray, b: np.ndarray, limit: float, share: float = 0.05) -> bool:
    """Whether columns agree to ``limit`` of their largest number, but for a share of the samples: those on a kink."""
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(all="ignore"):
        off = np.abs(a - b) > limit * np.max(np.abs(b[finite]), initial=0.0)
    return bool(np.count_nonzero(np.where(finite, off, np.isfinite(a) != np.isfinite(b))) <= share * a.size)
