r"""What kind of number each parameter is: a place on a coordinate, a length, a rate, or none of these.

It is seen in how the model answers to another origin and another unit of a coordinate ``x``. With ``df/dp_j`` the
derivatives and a span of the columns of the linear parameters, which are solved for in any case,

    ``df/dx + sum_j s_j df/dp_j``  lies in the span where ``s_j`` is 1 for places and 0 for others,
    ``x df/dx + sum_j e_j p_j df/dp_j``  lies in the span where ``e_j`` is 1 for places and lengths, -1 for rates.

``s`` and ``e`` are found by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xr_modelfit.analysis.probing import about, beside_start
from xr_modelfit.models.problem import Problem

__all__ = ["LENGTH", "NUMBER", "PLACE", "RATE", "ParameterRole", "roles_of"]

PLACE, LENGTH, RATE, NUMBER = "place", "length", "rate", "number"
_SAMPLES = 40
_STEP = 1e-5  # relative, of central differences
_SAME = 1e-4


@dataclass(frozen=True)
class ParameterRole:
    """What a parameter is, of which input, and whether its sign makes no difference."""

    kind: str
    input: int = 0
    even: bool = False


def roles_of(problem: Problem, asked: np.ndarray) -> list[ParameterRole]:
    """The role of each parameter, as far as it is seen beside the start."""
    roles = [ParameterRole(NUMBER)] * problem.n_parameters
    numbers = np.flatnonzero(asked & ~problem.partly_linear).tolist()
    if not numbers or problem.sees_others:
        return roles
    inputs = [np.roll(about(problem.start, _SAMPLES), 7 * i) for i in range(problem.model.n_inputs)]
    try:
        point = np.where(problem.partly_linear, 1.0, beside_start(problem)[:, 1])
        with np.errstate(all="ignore"):
            return _seen(problem, numbers, inputs, point, roles)
    except Exception:  # a model that refuses these coordinates or values
        return roles


def _seen(
    problem: Problem, numbers: list[int], inputs: list[np.ndarray], p: np.ndarray, roles: list[ParameterRole]
) -> list:
    def value(at: list[np.ndarray], q: np.ndarray) -> np.ndarray:
        return problem.evaluate([x[:, None] for x in at], problem.with_ties(q)[:, None])[:, 0]

    def by_parameter(j: int, size: float) -> np.ndarray:
        step = _STEP * size * (np.arange(p.size) == j)
        return (value(inputs, p + step) - value(inputs, p - step)) / (2.0 * _STEP * size)

    here = value(inputs, p)
    slopes = {j: by_parameter(j, max(abs(p[j]), 1e-3)) for j in numbers}
    span = [by_parameter(j, 1.0) for j in np.flatnonzero(problem.partly_linear).tolist()]
    even = {j: _is_even(value, inputs, p, j, here) for j in numbers}
    roles = [ParameterRole(NUMBER, 0, even.get(j, False)) for j in range(p.size)]
    for number, x in enumerate(inputs):
        size = max(float(np.ptp(x)), 1e-3)

        def moved(by: float, number: int = number) -> np.ndarray:
            return value([a + by * (i == number) for i, a in enumerate(inputs)], p)

        along = (moved(_STEP * size) - moved(-_STEP * size)) / (2.0 * _STEP * size)
        places = _factors(along, [slopes[j] for j in numbers], span)
        scales = _factors(x * along, [p[j] * slopes[j] for j in numbers], span)
        for k, j in enumerate(numbers):
            if places is not None and abs(places[k] - 1.0) < 1e-2:
                roles[j] = ParameterRole(PLACE, number, even[j])
            elif scales is not None and abs(abs(scales[k]) - 1.0) < 1e-2:
                roles[j] = ParameterRole(LENGTH if scales[k] > 0 else RATE, number, even[j])
    return roles


def _factors(along: np.ndarray, slopes: list[np.ndarray], span: list[np.ndarray]) -> np.ndarray | None:
    """Factors of the slopes that make up for a change of the coordinate; None where nothing does."""
    columns = np.stack([*slopes, *span], axis=1)
    good = np.isfinite(along) & np.all(np.isfinite(columns), axis=1)
    if np.count_nonzero(good) <= columns.shape[1]:
        return None
    columns, along = columns[good], along[good]
    lengths = np.linalg.norm(columns, axis=0)
    lengths[lengths == 0.0] = 1.0
    found, *_ = np.linalg.lstsq(columns / lengths, -along, rcond=1e-8)
    left = along + (columns / lengths) @ found
    if np.linalg.norm(left) > _SAME * np.linalg.norm(along):
        return None
    return (found / lengths)[: len(slopes)]


def _is_even(value, inputs: list[np.ndarray], p: np.ndarray, j: int, here: np.ndarray) -> bool:  # type: ignore[no-untyped-def]
    other = value(inputs, np.where(np.arange(p.size) == j, -p, p))
    return bool(np.allclose(np.abs(other), np.abs(here), rtol=1e-9, atol=0.0, equal_nan=True))
