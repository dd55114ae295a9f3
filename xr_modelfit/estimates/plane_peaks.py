"""Peaks over two coordinates, of astropy: by centre, covariance and height."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from astropy.modeling import models

__all__ = ["PLANE_PEAKS", "PlaneKind"]


class PlaneKind(NamedTuple):
    """How a peak is described.

    ``shape(major, minor, angle)`` gives values of parameters, from standard deviations along the axes of its ellipse
    and the angle from x to the first.
    """

    places: tuple[str, str]  # parameters that are its centre
    height: str  # parameter that is proportional to its height
    shape: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]


def _ellipse(major: np.ndarray, minor: np.ndarray, angle: np.ndarray) -> dict[str, np.ndarray]:
    return {"x_stddev": major, "y_stddev": minor, "theta": angle}


def _moffat(major: np.ndarray, minor: np.ndarray, angle: np.ndarray) -> dict[str, np.ndarray]:
    """As wide at half its height as a Gaussian, with wings as stars have them."""
    alpha = 2.5
    width = 2.3548 * np.sqrt(major * minor)
    return {"gamma": width / (2.0 * np.sqrt(2.0 ** (1.0 / alpha) - 1.0)), "alpha": np.full(width.shape, alpha)}


PLANE_PEAKS: dict[type, PlaneKind] = {
    models.Gaussian2D: PlaneKind(("x_mean", "y_mean"), "amplitude", _ellipse),
    models.Moffat2D: PlaneKind(("x_0", "y_0"), "amplitude", _moffat),
}
"""Peaks that are found in images."""
