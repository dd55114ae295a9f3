"""A line at a resolving power of 2000 in two channels per width: its width is right with their bins, and only so.

A mean over a channel of width h adds h**2 / 12 to the variance of a line, to first order: at FWHM = 2 h that makes it
wider by 5.6 %.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import fitters, mean_gauss, recorded

CENTRE, RESOLVING = 5000.0, 2000.0  # angstrom
FWHM = CENTRE / RESOLVING
CHANNEL = FWHM / 2
STDDEV = FWHM / np.sqrt(8 * np.log(2))
WAVELENGTH = CENTRE + CHANNEL * np.arange(-30, 31)
BIASED = np.sqrt(STDDEV**2 + CHANNEL**2 / 12)


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def spectra(places: np.ndarray, noise: float = 0.0) -> xr.DataArray:
    """Exact means of lines at fractions of a channel over the channels, and a continuum."""
    edges = WAVELENGTH - CHANNEL / 2, WAVELENGTH + CHANNEL / 2
    clean = np.stack([mean_gauss(*edges, 5.0, CENTRE + CHANNEL * place, STDDEV) + 1.0 for place in places])
    noisy = clean + np.random.default_rng(8).normal(0.0, noise, clean.shape)
    coords = {"wavelength": ("wavelength", WAVELENGTH, {"units": "angstrom"})}
    return xr.DataArray(noisy, dims=("place", "wavelength"), coords=coords)


def line() -> Any:
    return M.Gaussian1D(4, CENTRE + 1, 1.3) + M.Const1D(1)


@fitters()
def test_the_width_is_right_with_the_channels_and_too_large_without(fitter: Any, engine: str) -> None:
    data = spectra(np.linspace(-0.5, 0.5, 11))
    with_bins = data.modelfit(line(), "wavelength", integrate=True, fitter=fitter)
    without = data.modelfit(line(), "wavelength", fitter=fitter)
    assert recorded(with_bins, "engine") == engine
    assert_allclose(with_bins["stddev_0"], STDDEV, rtol=1e-3 if engine == "astropy" else 1e-7)
    added = (without["stddev_0"] ** 2 - STDDEV**2) / (CHANNEL**2 / 12)
    assert_allclose(added, 1.0, atol=0.12)  # higher orders depend on where in a channel the line is
    assert_allclose(without["stddev_0"], BIASED, rtol=0.006)
    assert float(without["stddev_0"].mean() / STDDEV) > 1.05


def test_the_mean_width_of_many_noisy_lines_is_unbiased() -> None:
    places = np.random.default_rng(2).uniform(-0.5, 0.5, 2500)
    data = spectra(places, 0.05)
    widths = data.modelfit(line(), "wavelength", sigma=0.05, integrate=True)["stddev_0"]
    error = float(widths.std() / np.sqrt(places.size))
    assert error < 3e-4 * STDDEV
    assert abs(float(widths.mean()) / STDDEV - 1) < 1e-3
    without = data.modelfit(line(), "wavelength", sigma=0.05)["stddev_0"]
    assert_allclose(without.mean(), BIASED, rtol=0.004)
    assert float(without.mean() - widths.mean()) > 100 * error
