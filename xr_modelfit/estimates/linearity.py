"""Which parameters a model is linear in, where its code cannot be followed: tried on numbers."""

from __future__ import annotations

import numpy as np

from xr_modelfit.analysis.probing import about, beside_start
from xr_modelfit.models.problem import Problem

__all__ = ["linear_by_trial"]

_SAMPLES = 40
_SAME = 1e-9  # of the largest value


def linear_by_trial(problem: Problem) -> np.ndarray:
    """Free parameters (K,) in which, all together, the model is linear at some points near its start."""
    chosen = np.zeros(problem.n_parameters, dtype=bool)
    inputs = [np.roll(about(problem.start, _SAMPLES), 7 * i)[:, None] for i in range(problem.model.n_inputs)]
    try:
        with np.errstate(all="ignore"):
            points = beside_start(problem)
            for j in np.flatnonzero(problem.free).tolist():
                chosen[j] = _is_linear(problem, inputs, points, [*np.flatnonzero(chosen).tolist(), j])
    except Exception:  # a model that refuses these coordinates or values
        return np.zeros(problem.n_parameters, dtype=bool)
    return chosen


def _is_linear(problem: Problem, inputs: list[np.ndarray], points: np.ndarray, numbers: list[int]) -> bool:
    """Whether the model at some values of the parameters ``numbers`` is what it is at 0 and at 1 of each says."""

    def value(some: list[float]) -> np.ndarray:
        P = points.copy()
        P[numbers] = np.array(some)[:, None]
        return problem.evaluate(inputs, problem.with_ties(P))

    m = len(numbers)
    zero = value([0.0] * m)
    columns = [value([float(i == k) for i in range(m)]) - zero for k in range(m)]
    for values in ([-3.0 + 1.7 * k for k in range(m)], [11.0 - 2.3 * k for k in range(m)]):
        found, said = value(values), zero + sum(v * c for v, c in zip(values, columns, strict=True))
        good = np.isfinite(found) & np.isfinite(said)
        size = np.max(np.abs(found[good]), initial=0.0)
        if not size or not np.all(np.abs(found - said)[good] <= _SAME * size):
            return False
    return all(bool(np.any(c[np.isfinite(c)] != 0.0)) for c in columns)
