"""Coordinates and parameters on which a model is tried."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Sequence

import numpy as np

from xr_modelfit.analysis.derivatives import tied_or_nan
from xr_modelfit.models.problem import Problem

__all__ = ["about", "beside_start", "coordinates_near", "far_points", "points_to_try"]


def about(start: np.ndarray, n: int) -> np.ndarray:
    """``n`` sorted coordinates near 1, and near each start value at distances of the size of any: a line's width."""
    finite = start[np.isfinite(start)]
    offsets = np.array([-1.25, -0.5, 0.5, 1.25])
    near = (finite[:, None, None] + np.abs(finite)[None, :, None] * offsets).ravel()
    pool = np.concatenate([np.linspace(0.5, 1.5, n), near])
    return np.sort(pool[np.linspace(0, pool.size - 1, n).astype(int)])


def coordinates_near(start: np.ndarray, n: int, n_inputs: int, scale: float = 1.0) -> list[np.ndarray]:
    """Those of `about` times ``scale`` as coordinates (n,) of each input, in an order of its own."""
    return [np.roll(scale * about(start, n), 7 * number) for number in range(n_inputs)]


def points_to_try(problem: Problem, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (K, 3) at the start and beside it, and the model's values (n, 3) at ``inputs`` (n,).

    Where the model is not finite, another of the three points stands in: maps may bring other starts.
    """
    P = beside_start(problem)
    values = problem.evaluate([x[:, None] for x in inputs], P)
    good = np.count_nonzero(np.isfinite(values), axis=0) >= 2
    one = [int(np.argmax(good))]
    return np.where(good, P, P[:, one]), np.where(good, values, values[:, one])


def beside_start(problem: Problem) -> np.ndarray:
    """Parameters (K, 3) at the start and, without its symmetries, beside it; ties hold."""
    start = np.where(np.isfinite(problem.start), problem.start, 1.0)
    each = np.arange(problem.n_parameters) / 64.0  # equal starts must not stay equal, as two widths would
    beside = [start, start * (1.0625 + each) + 0.03125, start * (0.921875 - 0.5 * each) + 0.015625]
    return np.stack([problem.with_ties(p) for p in beside], axis=1)


def far_points(problem: Problem) -> np.ndarray:
    """Parameters (K, b) far from the start, on both sides of values that code may compare them with; ties hold."""
    start = np.where(np.isfinite(problem.start), problem.start, 1.0)
    free = problem.free
    points = [start * by for by in (-1.0, 0.25, 4.0, 30.0)]
    for j in np.flatnonzero(free).tolist():
        for value in (-start[j], 0.0, 0.25 * start[j], 4.0 * start[j], start[j] + 10.0, start[j] - 10.0):
            points.append(np.where(np.arange(start.size) == j, value, start))
    return tied_or_nan(problem, np.stack([np.where(free, p, start) for p in points], axis=1))
