"""Whether fitted numbers mean something: a value against its error, a position or a width against the band.

A fit to noise converges as well as one to a line. Three things tell them apart: the amplitude is known to be other
than zero, the position lies where samples are, and the width is neither below one sample nor above all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Limits", "is_measured", "is_within", "significant"]


class Limits(NamedTuple):
    """Lowest and highest value, both allowed."""

    low: float
    high: float


def is_measured(p: np.ndarray, error: np.ndarray, snr: float) -> np.ndarray:
    """Where a parameter differs from zero by at least ``snr`` times its error.

    Parameters
    ----------
    p, error : ndarray, any shape
        In one unit. A parameter whose error is zero or not finite (held, on its bound, failed) is not measured.
    snr : float

    Returns
    -------
    ndarray of bool
    """
    p, error = np.asarray(p, dtype=float), np.asarray(error, dtype=float)
    known = np.isfinite(p) & np.isfinite(error) & (error > 0)
    return known & (np.abs(p) >= snr * np.where(known, error, 0.0))


def is_within(p: np.ndarray, limits: Limits) -> np.ndarray:
    """Where a position or width lies within limits; NaN does not."""
    p = np.asarray(p, dtype=float)
    return (p >= limits.low) & (p <= limits.high)


def significant(
    success: np.ndarray,
    measured: Sequence[tuple[np.ndarray, np.ndarray]],
    limited: Sequence[tuple[np.ndarray, Limits]],
    snr: float,
) -> np.ndarray:
    """Where a fit succeeded, all parameters are measured, and all positions and widths are within limits.

    Parameters
    ----------
    success : ndarray of bool, shape (...)
    measured : sequence of (p, error)
        Arrays of the same shape.
    limited : sequence of (value, Limits)
    snr : float

    Returns
    -------
    ndarray of bool, shape (...)
    """
    good = np.asarray(success, dtype=bool)
    for p, error in measured:
        good = good & is_measured(p, error, snr)
    for value, limits in limited:
        good = good & is_within(value, limits)
    return good
