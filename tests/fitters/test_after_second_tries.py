"""Where a second try has moved a fit, weights that follow from residuals are those of where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import FittingWithOutlierRemoval, TRFLSQFitter
from astropy.modeling.models import Cosine1D, Linear1D
from astropy.stats import sigma_clip

from support.bits import assert_same_bits
from xr_modelfit import BatchLSQFitter

N, B = 240, 40
T = np.arange(float(N))
PHASE = np.random.default_rng(1).uniform(-np.pi, np.pi, B)


def season(outliers: float, seed: int = 0) -> xr.DataArray:
    """A trend, a season of any phase, noise with a correlation of 0.5, over (p, t)."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(B, N))
    for i in range(1, N):
        e[:, i] = 0.5 * e[:, i - 1] + np.sqrt(0.75) * e[:, i]
    e += np.where(rng.random(e.shape) < outliers, 12.0, 0.0)
    return xr.DataArray(
        0.01 * T + 5.0 * np.cos(2 * np.pi * (T / 12.0 + PHASE[:, None] / (2 * np.pi))) + e,
        dims=("p", "t"),
        coords={"t": T},
    )


MODEL = Linear1D(0, 0) + Cosine1D(5.0, 1 / 12.0, fixed={"frequency": True})
BOUNDS = {"amplitude_1": (0, None)}  # fits that begin half a period off are pulled to an amplitude of 0


def fitted(data: xr.DataArray, start: bool, **options: Any) -> xr.Dataset:
    p0 = {"phase_1": xr.DataArray(PHASE / (2 * np.pi), dims="p"), "slope_0": 0.01} if start else None
    return data.modelfit(MODEL, "t", p0=p0, bounds=BOUNDS, errors="ignore", **options)


CALLS = {
    "ar1": {"noise": "ar1"},
    "clip": {"fitter": BatchLSQFitter(clip=(4, 4))},
    "mad": {"fitter": BatchLSQFitter(loss="huber", f_scale="mad")},
    "clip, mad": {"fitter": BatchLSQFitter(loss="soft_l1", f_scale="mad", clip=(5, 5))},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_poor_start_ends_as_a_good_one(name: str) -> None:
    """Correlation, scale and clipped samples are those of the minimum, wherever the fit has begun."""
    data = season(0.0 if name == "ar1" else 0.05)
    poor, good = (fitted(data, start, **CALLS[name]) for start in (False, True))
    assert (good["fit_status"] == 1).all()
    assert (poor["fit_status"] == 1).all()
    np.testing.assert_array_equal(poor["n_points"], good["n_points"])
    np.testing.assert_allclose(poor["chi2"], good["chi2"], rtol=2e-3)  # the correlation stays within 0.05 of its error
    np.testing.assert_allclose(poor["slope_0_stderr"], good["slope_0_stderr"], rtol=5e-3)
    off = (poor["slope_0"] - good["slope_0"]) / good["slope_0_stderr"]
    assert abs(off).max() < 0.02


def test_the_correlation_is_that_of_the_noise() -> None:
    fit = fitted(season(0.0), False, noise="ar1")
    assert abs(float(fit["ar1"].mean()) - 0.5) < 0.04  # 40 fits, each within 0.06
    assert float(fit["ar1"].max()) < 0.7


def test_clipped_samples_are_those_of_astropy() -> None:
    """From the truth, by `FittingWithOutlierRemoval` and its defaults."""
    data = season(0.05)
    fit = fitted(data, False, fitter=BatchLSQFitter(clip=(4, 4)), fit_info=["clipped"])
    remove = FittingWithOutlierRemoval(TRFLSQFitter(), sigma_clip, niter=3, sigma_lower=4.0, sigma_upper=4.0)
    for i in range(0, B, 8):
        one = MODEL.copy()
        one.phase_1, one.slope_0 = PHASE[i] / (2 * np.pi), 0.01
        _, mask = remove(one, T, data.values[i])
        np.testing.assert_array_equal(fit["clipped"][i], mask)


@pytest.mark.parametrize("name", CALLS)
def test_no_fit_depends_on_others(name: str) -> None:
    """Bit for bit, in any chunks, with and without diagnostics."""
    data = season(0.05)
    whole = fitted(data, False, **CALLS[name])
    assert_same_bits(fitted(data[5:8], False, **CALLS[name]), whole.isel(p=slice(5, 8)))
    assert_same_bits(fitted(data.chunk(p=7), False, **CALLS[name]).compute(), whole)
