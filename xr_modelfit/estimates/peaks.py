"""Peaks of astropy, by the place, extent and height of the box that stands out most (`estimates.windows`).

An extent becomes a width by the box that fits the shape best: of a Gaussian it is 2.8 standard deviations long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from astropy.modeling import models

__all__ = ["PEAKS", "Kind", "Values"]

Values = Mapping[str, np.ndarray]


class Kind(NamedTuple):
    """How a peak is described.

    ``shape(extent, height, held)`` gives values of parameters, ``held`` being values (b,) of those that stay.
    ``extent(held)`` is what ``shape`` undoes, where the width is held; else None.
    """

    place: str  # parameter that is its centre
    height: str  # parameter that is proportional to its height
    shape: Callable[[np.ndarray, np.ndarray, Values], dict[str, np.ndarray]]
    extent: Callable[[Values], np.ndarray | None]


def _one_width(name: str, per_extent: float) -> tuple[Callable, Callable]:
    """Shape and extent of a peak with one width."""

    def shape(extent: np.ndarray, height: np.ndarray, held: Values) -> dict[str, np.ndarray]:
        return {name: extent * per_extent}

    def extent(held: Values) -> np.ndarray | None:
        return np.abs(held[name]) / per_extent if name in held else None

    return shape, extent


def _voigt_shape(extent: np.ndarray, height: np.ndarray, held: Values) -> dict[str, np.ndarray]:
    """Both widths alike; where one is held, the other is what is left of the width of both."""
    fwhm = extent / 1.25
    lorentz = held.get("fwhm_L", fwhm / 1.6376)
    gauss2 = np.maximum(fwhm - 0.5346 * lorentz, 0.1 * fwhm) ** 2 - 0.2166 * lorentz**2
    gauss = held.get("fwhm_G", np.sqrt(np.maximum(gauss2, (0.1 * fwhm) ** 2)))
    if "fwhm_G" in held and "fwhm_L" not in held:
        lorentz = np.maximum(fwhm - gauss**2 / fwhm, 0.1 * fwhm)
    return {"fwhm_L": lorentz, "fwhm_G": gauss}


def _voigt_extent(held: Values) -> np.ndarray | None:
    if "fwhm_L" not in held or "fwhm_G" not in held:
        return None
    lorentz, gauss = np.abs(held["fwhm_L"]), np.abs(held["fwhm_G"])
    return 1.25 * (0.5346 * lorentz + np.sqrt(0.2166 * lorentz**2 + gauss**2))


def _moffat_shape(extent: np.ndarray, height: np.ndarray, held: Values) -> dict[str, np.ndarray]:
    alpha = np.maximum(held.get("alpha", np.full(extent.shape, 2.5)), 0.3)
    return {"alpha": alpha, "gamma": extent / (2.5 * np.sqrt(2.0 ** (1.0 / alpha) - 1.0))}


def _moffat_extent(held: Values) -> np.ndarray | None:
    if "alpha" not in held or "gamma" not in held:
        return None
    return 2.5 * np.abs(held["gamma"]) * np.sqrt(2.0 ** (1.0 / np.maximum(held["alpha"], 0.3)) - 1.0)


def _trapezoid_shape(extent: np.ndarray, height: np.ndarray, held: Values) -> dict[str, np.ndarray]:
    """Sides that take a quarter of the extent each; the height must be known, as the slope is proportional to it."""
    top = 1.1 * height
    width = held.get("width", 0.65 * extent)
    side = np.maximum(0.5 * (1.25 * extent - width), 0.05 * extent)
    return {"amplitude": top, "width": width, "slope": held.get("amplitude", top) / side}


PEAKS: dict[type, Kind] = {
    models.Gaussian1D: Kind("mean", "amplitude", *_one_width("stddev", 1 / 2.8)),
    models.Lorentz1D: Kind("x_0", "amplitude", *_one_width("fwhm", 1 / 1.39)),
    models.Voigt1D: Kind("x_0", "amplitude_L", _voigt_shape, _voigt_extent),
    models.Moffat1D: Kind("x_0", "amplitude", _moffat_shape, _moffat_extent),
    models.RickerWavelet1D: Kind("x_0", "amplitude", *_one_width("sigma", 1 / 1.6)),
    models.Box1D: Kind("x_0", "amplitude", *_one_width("width", 1.0)),
    models.Trapezoid1D: Kind("x_0", "amplitude", _trapezoid_shape, lambda held: None),
}
"""Peaks of one coordinate."""
