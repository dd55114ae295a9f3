"""Points to try: a low-discrepancy set, inside bounds or scales that coordinates give.

Points depend on the model, its bounds and the coordinates, never on the data of other fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from astropy.modeling import models

from xr_modelfit.estimates.columns import SampleColumns
from xr_modelfit.estimates.roles import LENGTH, NUMBER, PLACE, ParameterRole
from xr_modelfit.models.expression import parts_of
from xr_modelfit.models.problem import Problem

__all__ = ["point", "unit_points", "usual_ranges"]

_COUNTS = {1: 64, 2: 256, 3: 256}
_MORE = 512  # with four parameters and more
_USUAL = {
    (models.PowerLaw1D, "alpha"): (-8.0, 8.0),
    (models.Sine1D, "phase"): (0.0, 1.0),
    (models.Cosine1D, "phase"): (0.0, 1.0),
    (models.Sersic1D, "n"): (0.4, 8.0),
    (models.Moffat1D, "alpha"): (0.7, 6.0),
    (models.Gaussian2D, "theta"): (-1.5, 1.5),
}
"""Ranges of numbers that neither bounds nor coordinates give."""


@lru_cache(16)
def unit_points(dims: int) -> np.ndarray:
    """Points in the unit cube, shape (count, dims), always the same.

    Multiples of powers of one irrational number, the root of ``r^(dims + 1) = r + 1``, modulo one: each next point
    falls into the largest gap that those before it left. One dimension is divided evenly.
    """
    count = _COUNTS.get(dims, _MORE)
    if dims == 1:
        return (np.arange(count)[:, None] + 0.5) / count
    root = 2.0
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / (dims + 1))
    return (0.5 + np.outer(np.arange(count), root ** -np.arange(1.0, dims + 1.0))) % 1.0


def usual_ranges(problem: Problem) -> dict[int, tuple[float, float]]:
    """Ranges of parameters of astropy's models by their numbers."""
    found = {}
    for part in parts_of(problem.model):
        for name, j in zip(part.model.param_names, part.parameters, strict=True):
            if (type(part.model), name) in _USUAL:
                found[j] = _USUAL[type(part.model), name]
    return found


def point(
    fits: SampleColumns,
    u: np.ndarray,
    numbers: Sequence[int],
    roles: Sequence[ParameterRole],
    usual: dict[int, tuple[float, float]],
    base: np.ndarray,
) -> np.ndarray:
    """Parameters (K, 1), (K, G) or (K, b) at a point of the unit cube, or at several.

    ``u`` (d, 1) or, of points that fits share, (d, G) has a row for each of the parameters ``numbers``; ``base`` (K, 1)
    or (K, b) are the other parameters.
    """
    rows = []
    for part, j in zip(u, numbers, strict=True):
        rows.append(_value(fits, part, j, roles[j], usual.get(j), base.shape[1]))
    width = max([base.shape[1], *(row.size for row in rows)])
    P = np.array(np.broadcast_to(base, (base.shape[0], width)))
    for j, row in zip(numbers, rows, strict=True):
        P[j] = row
    return P


def _value(
    fits: SampleColumns, u: np.ndarray, j: int, role: ParameterRole, usual: tuple[float, float] | None, width: int
) -> np.ndarray:
    low, high, start = (a[j, :width] for a in (fits.lower, fits.upper, fits.start))
    x = fits.inputs[role.input]
    first, last = np.min(x, axis=0), np.max(x, axis=0)
    extent = np.where(last > first, last - first, 1.0)
    if role.kind == PLACE:
        return _linear(u, *_inside(first, last, low, high))
    if usual is not None:
        return _linear(u, *_inside(np.full(1, usual[0]), np.full(1, usual[1]), low, high))
    if role.kind == NUMBER:
        return _number(u, low, high, start)
    small = 0.4 * extent / x.shape[0]
    if role.kind == LENGTH:
        return _signed(u, small, 4.0 * extent, low, high, start, role)
    return _signed(u, 0.25 / extent, 1.0 / small, low, high, start, role)


def _inside(first: np.ndarray, last: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a range within bounds; the bounds, where they do not meet."""
    a, b = np.maximum(first, low), np.minimum(last, high)
    apart = a > b
    return np.where(apart, np.where(np.isfinite(low), low, high), a), np.where(
        apart, np.where(np.isfinite(high), high, low), b
    )


def _linear(u: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return low + u * (high - low)


def _signed(
    u: np.ndarray,
    small: np.ndarray,
    large: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    start: np.ndarray,
    role: ParameterRole,
) -> np.ndarray:
    """A size between two, evenly in its logarithm; of either sign where both are allowed and differ."""
    positive, negative = high > 0.0, low < 0.0
    both = positive & negative & (not role.even)
    minus = np.where(both, u < 0.5, ~positive | (negative & role.even & (start < 0.0)))
    part = np.where(both, (2.0 * u) % 1.0, u)
    least = np.where(minus, np.where(high < 0.0, -high, 0.0), np.where(low > 0.0, low, 0.0))
    most = np.where(minus, -low, high)
    a, b = np.maximum(small, least), np.minimum(large, most)
    a, b = np.where(a > b, np.where(least > 0.0, least, 0.5 * b), a), np.where(a > b, np.where(most < a, most, a), b)
    return np.where(minus, -1.0, 1.0) * a * (np.maximum(a, b) / a) ** part


def _number(u: np.ndarray, low: np.ndarray, high: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Between the bounds, evenly in the logarithm over wide positive ones; else about the start."""
    bounded = np.isfinite(low) & np.isfinite(high)
    wide = bounded & (low > 0.0) & (high > 30.0 * low)
    size = np.where(start != 0.0, np.abs(start), 1.0)
    sign = np.where(start < 0.0, -1.0, 1.0)
    with np.errstate(all="ignore"):
        about = np.where(start != 0.0, sign * size * 10.0 ** (2.0 * u - 1.0), 4.0 * u - 2.0)
        found = np.where(bounded, low + u * (high - low), about)
        found = np.where(wide, low * (high / np.where(wide, low, 1.0)) ** u, found)
    return np.clip(found, low, high)
