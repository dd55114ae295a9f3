"""``plot(name, snr=...)``: one parameter is judged by its own error, and by the amplitude of its part of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D

import xr_modelfit  # noqa: F401

pytest.importorskip("matplotlib")

from support.drawn import OLD_WARNINGS, clashes

pytestmark = OLD_WARNINGS
SHAPE = (4, 5)
X = np.linspace(-5, 5, 40)


def foot(picture: Any) -> str:
    return " ".join(picture.fig.get_supxlabel().split())


def shown(picture: Any, name: str) -> np.ndarray:
    return ~np.ma.getmaskarray(picture.artists[name].get_array()).reshape(SHAPE)


def cube(values: np.ndarray) -> xr.DataArray:
    noisy = values + np.random.default_rng(3).normal(0, 0.5, (*SHAPE, X.size))
    return xr.DataArray(noisy, dims=("y", "x", "t"), coords={"t": X}, name="T")


@pytest.fixture(scope="module")
def slopes() -> np.ndarray:
    return np.linspace(-0.2, 0.2, 20).reshape(SHAPE)


@pytest.fixture(scope="module")
def lines() -> xr.DataArray:
    """Lines of all strengths, at positions around zero."""
    height = np.linspace(0, 3, 20).reshape(*SHAPE, 1)
    return cube(height * np.exp(-0.5 * X**2))


def test_a_slope_is_judged_by_its_own_error(slopes: np.ndarray) -> None:
    data = cube(slopes[..., None] * X + 20)
    picture = data.modelfit(Linear1D(0, 15), "t", sigma=0.5).modelfit.plot("slope", snr=3)
    by_numpy = [np.polyfit(X, y, 1, w=np.full(X.size, 2.0), cov="unscaled") for y in data.values.reshape(-1, X.size)]
    good = np.array([abs(p[0]) >= 3 * np.sqrt(C[0, 0]) for p, C in by_numpy]).reshape(SHAPE)
    assert 4 < good.sum() < 16
    np.testing.assert_array_equal(shown(picture, "slope"), good)
    assert foot(picture) == "grey: slope less than 3 times its error"
    assert not clashes(picture.fig)


@pytest.mark.parametrize("params", ["slope_1", ["slope_1"]])
def test_the_amplitude_of_another_part_does_not_count(slopes: np.ndarray, params: Any) -> None:
    data = cube(slopes[..., None] * X + 20 + 4 * np.exp(-0.5 * X**2))
    fit = data.modelfit(Gaussian1D(3, 0, 1) + Linear1D(0, 15), "t", sigma=0.5)
    picture = fit.modelfit.plot(params, snr=3, stderr=True)
    good = (abs(fit["slope_1"]) >= 3 * fit["slope_1_stderr"]).values
    assert 4 < good.sum() < 16
    for name in ("slope_1", "slope_1_stderr"):
        np.testing.assert_array_equal(shown(picture, name), good)
    assert foot(picture) == "grey: slope_1 less than 3 times its error"


def test_a_position_may_be_zero_if_its_line_is_there(lines: xr.DataArray) -> None:
    fit = lines.modelfit(Gaussian1D(1, 0.1, 1), "t", sigma=0.5, errors="ignore")
    assert (abs(fit["mean"]) < 5 * fit["mean_stderr"]).sum() > 10  # as far as its error tells, it is zero
    picture, whole = fit.modelfit.plot("mean", snr=5), fit.modelfit.plot(snr=5)
    np.testing.assert_array_equal(shown(picture, "mean"), shown(whole, "mean"))
    assert shown(picture, "mean").any()
    assert foot(picture) == foot(whole)


def test_a_width_needs_its_own_error_and_its_amplitude(lines: xr.DataArray) -> None:
    fit = lines.modelfit(Gaussian1D(1, 0.1, 1) + Const1D(0), "t", sigma=0.5, errors="ignore")
    picture = fit.modelfit.plot("stddev_0", snr=5)
    np.testing.assert_array_equal(
        shown(picture, "stddev_0"), fit.modelfit.significant(["stddev_0", "amplitude_0"], snr=5)
    )
    assert "one of stddev_0, amplitude_0 less than 5 times its error" in foot(picture)


def test_several_parameters_and_quantities_keep_the_rule_of_the_whole_fit(lines: xr.DataArray) -> None:
    fit = lines.modelfit(Gaussian1D(1, 0.1, 1), "t", sigma=0.5, errors="ignore")
    good = fit.modelfit.significant(snr=5).values
    for params in (["stddev", "mean"], "reduced_chi2"):
        picture = fit.modelfit.plot(params, snr=5)
        np.testing.assert_array_equal(shown(picture, next(iter(picture.artists))), good)
        assert "amplitude less than 5" in foot(picture)


def test_a_parameter_that_is_nowhere_significant_is_named() -> None:
    fit = cube(np.full((*SHAPE, 1), 20.0)).modelfit(Linear1D(0, 15), "t", sigma=0.5)
    picture = fit.modelfit.plot("slope", snr=50)
    assert list(picture.artists) == ["fit_status"]
    assert picture.fig.get_suptitle() == "slope is significant in no fit"
