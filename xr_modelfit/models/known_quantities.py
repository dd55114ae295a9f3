"""Quantities that follow from the parameters of astropy's models: fluxes and widths.

Formulas take plain numbers or Quantities, and broadcast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from astropy.modeling import Model, models

__all__ = ["Formula", "formulas_of"]

_SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


class Formula(NamedTuple):
    """A quantity: its name, what it is in words, and a function whose arguments are parameters."""

    name: str
    title: str
    function: Callable[..., Any]


def formulas_of(model: Model) -> tuple[Formula, ...]:
    """Formulas for a simple model; none for classes that are not known."""
    return _KNOWN.get(type(model), ())


def _bare(value: Any) -> Any:
    """A number without dimension, as functions of scipy take it."""
    return np.asarray(value, dtype=float)


def _moffat_fwhm(gamma: Any, alpha: Any) -> Any:
    return 2.0 * np.abs(gamma) * np.sqrt(2.0 ** (1.0 / _bare(alpha)) - 1.0)


def _moffat_flux(amplitude: Any, gamma: Any, alpha: Any) -> Any:
    from scipy import special  # takes as long to import as all of this package

    a = _bare(alpha)
    with np.errstate(all="ignore"):
        integral = np.sqrt(np.pi) * special.gamma(a - 0.5) / special.gamma(a)
        return np.where(a > 0.5, 1.0, np.nan) * amplitude * np.abs(gamma) * integral


def _moffat_flux_2d(amplitude: Any, gamma: Any, alpha: Any) -> Any:
    a = _bare(alpha)
    with np.errstate(all="ignore"):
        return np.where(a > 1.0, np.pi / (a - 1.0), np.nan) * amplitude * gamma * gamma


def _gaussian_flux_2d(amplitude: Any, x_stddev: Any, y_stddev: Any) -> Any:
    return 2 * np.pi * amplitude * np.abs(x_stddev * y_stddev)


def _voigt_fwhm(fwhm_L: Any, fwhm_G: Any) -> Any:
    # Olivero, J. and Longbothum, R. (1977), J. Quant. Spectrosc. Radiat. Transfer 17, 233: good to 0.02 %.
    return 0.5346 * np.abs(fwhm_L) + np.sqrt(0.2166 * fwhm_L**2 + fwhm_G**2)


_FLUX, _FLUX_2D = "integral over the coordinate", "integral over both coordinates"
_WIDTH = "full width at half maximum"
_KNOWN: dict[type[Model], tuple[Formula, ...]] = {
    models.Gaussian1D: (
        Formula("flux", _FLUX, lambda amplitude, stddev: np.sqrt(2 * np.pi) * amplitude * np.abs(stddev)),
        Formula("fwhm", _WIDTH, lambda stddev: _SIGMA_TO_FWHM * np.abs(stddev)),
    ),
    models.Lorentz1D: (Formula("flux", _FLUX, lambda amplitude, fwhm: 0.5 * np.pi * amplitude * np.abs(fwhm)),),
    models.Voigt1D: (
        Formula("flux", _FLUX, lambda amplitude_L, fwhm_L: 0.5 * np.pi * amplitude_L * np.abs(fwhm_L)),
        Formula("fwhm", _WIDTH, _voigt_fwhm),
    ),
    models.Moffat1D: (Formula("flux", _FLUX, _moffat_flux), Formula("fwhm", _WIDTH, _moffat_fwhm)),
    models.Box1D: (Formula("flux", _FLUX, lambda amplitude, width: amplitude * np.abs(width)),),
    models.Gaussian2D: (
        Formula("flux", _FLUX_2D, _gaussian_flux_2d),
        Formula("x_fwhm", f"{_WIDTH} along x", lambda x_stddev: _SIGMA_TO_FWHM * np.abs(x_stddev)),
        Formula("y_fwhm", f"{_WIDTH} along y", lambda y_stddev: _SIGMA_TO_FWHM * np.abs(y_stddev)),
    ),
    models.Moffat2D: (Formula("flux", _FLUX_2D, _moffat_flux_2d), Formula("fwhm", _WIDTH, _moffat_fwhm)),
    models.Exponential1D: (Formula("half_life", "time or length of halving", lambda tau: np.log(2) * np.abs(tau)),),
    models.Sine1D: (Formula("period", "period", lambda frequency: 1.0 / np.abs(frequency)),),
    models.Cosine1D: (Formula("period", "period", lambda frequency: 1.0 / np.abs(frequency)),),
}
