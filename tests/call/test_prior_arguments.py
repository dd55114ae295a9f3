"""Priors as an argument of the call: against the closed form and scipy, with labels, units, maps and chunks."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

from support.wrong_calls import Stage
from xr_modelfit import BatchLSQFitter, FitStatus, RecordError

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 60)
TRUTH = np.array([10.0, 0.5, 2.0, 1.0])
NAMES = ["amplitude_0", "mean_0", "stddev_0", "amplitude_1"]


def line() -> Model:
    return Gaussian1D(8, 0.0, 2.2) + Const1D(1.0)


def lines(shape: tuple[int, int] = (3, 4), seed: int = 0) -> xr.DataArray:
    model = line()
    model.parameters = TRUTH
    y = model(X) + np.random.default_rng(seed).normal(size=(*shape, X.size))
    coords = {"y": np.arange(shape[0]), "x": np.arange(shape[1]), "v": ("v", X, {"units": "km/s"})}
    return xr.DataArray(y, dims=("y", "x", "v"), coords=coords, attrs={"units": "K"})


def maps(seed: int, like: xr.DataArray, centre: float, width: float) -> tuple[xr.DataArray, xr.DataArray]:
    """A mean and a deviation of each position, with other orders of dims."""
    rng = np.random.default_rng(seed)
    shape = like.sizes["y"], like.sizes["x"]
    mean, deviation = centre + width * rng.normal(size=shape), width * 10.0 ** rng.uniform(-1, 1, shape)
    coords = {"y": like["y"].values, "x": like["x"].values}
    made = (xr.DataArray(a, dims=("y", "x"), coords=coords) for a in (mean, deviation))
    one, other = made
    return one.transpose("x", "y"), other


# --- the closed form


def test_linear_fits_have_a_closed_form() -> None:
    """``(A'A/s^2 + T)^-1 (A'y/s^2 + T m)`` to 1e-10 of an error, with maps, numbers and other units."""
    rng, t, s = np.random.default_rng(1), np.linspace(0.0, 50.0, 40), 0.7
    y = 3.0 + rng.normal(size=(5, 4, 1)) * 0.1 * t + rng.normal(0, s, (5, 4, t.size))
    data = xr.DataArray(
        y, dims=("y", "x", "t"), coords={"y": np.arange(5), "x": np.arange(4), "t": ("t", t, {"units": "s"})},
        attrs={"units": "m"},
    )  # fmt: skip
    mean, deviation = maps(2, data, 0.05, 0.02)  # of the slope, m/s
    given = {"slope": ((mean / 1000).assign_attrs(units="km s-1"), deviation), "intercept": (250 * u.cm, 0.4)}
    fit = data.modelfit(Linear1D(), dim="t", sigma=s, priors=given, covariance=True)
    assert fit["chi2_prior"].attrs["units"] == "1"
    A = np.stack([t, np.ones_like(t)], axis=1) / s
    for i in range(5):
        for j in range(4):
            at, m = {"y": i, "x": j}, np.array([float(mean.isel(x=j, y=i)), 2.5])
            T = np.diag([float(deviation[at]) ** -2, 0.4**-2])
            C = np.linalg.inv(A.T @ A + T)
            right = C @ (A.T @ (y[i, j] / s) + T @ m)
            found, errors = np.array([float(fit[n][at]) for n in ("slope", "intercept")]), np.sqrt(np.diag(C))
            assert np.max(np.abs(found - right) / errors) < 1e-10
            assert_allclose(fit["covariance"][at], C, rtol=1e-9)
            assert_allclose(fit["slope_stderr"][at], errors[0], rtol=1e-9)
            assert_allclose(fit["chi2"][at], np.sum((y[i, j] / s - A @ right) ** 2), rtol=1e-10)
            assert_allclose(fit["chi2_prior"][at], np.sum(np.diag(T) * (right - m) ** 2), rtol=1e-6)
    assert_array_equal(fit["n_points"], t.size)
    assert_array_equal(fit["dof"], t.size - 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_nonlinear_fits_have_pseudo_residuals(engine: str) -> None:
    data = lines((10, 10), 3)
    mean, deviation = maps(4, data, 2.0, 0.2)
    fitter = BatchLSQFitter(engine=engine)
    priors = {"stddev_0": (mean, deviation), "mean_0": (0.4, 0.05)}
    fit = data.modelfit(line(), dim="v", sigma=1.0, priors=priors, fitter=fitter)
    assert (fit["fit_status"] == 1).all()
    one = line()
    for i in range(10):
        for j in range(10):
            m, s = (float(a.transpose("y", "x")[i, j]) for a in (mean, deviation))
            y = data.values[i, j]

            def residual(p: np.ndarray, y: np.ndarray = y, m: float = m, s: float = s) -> np.ndarray:
                one.parameters = p
                return np.concatenate([one(X) - y, [(p[2] - m) / s, (p[1] - 0.4) / 0.05]])

            right = least_squares(residual, line().parameters, xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point")
            errors = np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac)))
            found = np.array([float(fit[n][i, j]) for n in NAMES])
            assert np.max(np.abs(found - right.x) / errors) < 1e-6
            assert_allclose([float(fit[f"{n}_stderr"][i, j]) for n in NAMES], errors, rtol=1e-5)
            assert_allclose(float(fit["chi2"][i, j] + fit["chi2_prior"][i, j]), 2 * right.cost, rtol=1e-10)


def test_derived_quantities_follow_the_posterior() -> None:
    """A tight prior on the width makes the error of the area that of the amplitude, by propagation."""
    fit = lines().modelfit(line(), dim="v", sigma=1.0, priors={"stddev_0": (2.0, 1e-6)}, covariance=True)
    area = fit.modelfit.derived(area=lambda amplitude_0, stddev_0: amplitude_0 * stddev_0)
    assert_allclose(area["area"], 2.0 * fit["amplitude_0"], rtol=1e-5)
    assert_allclose(area["area_stderr"], 2.0 * fit["amplitude_0_stderr"], rtol=1e-5)


def test_a_covariance_that_was_not_kept_is_that_of_the_posterior() -> None:
    data = lines()
    mean, deviation = maps(1, data, 2.0, 0.1)
    for priors in ({"stddev_0": (2000 * u.m / u.s, 0.1)}, {"stddev_0": (mean, deviation)}):
        fit = data.modelfit(line(), dim="v", sigma=1.0, priors=priors)
        right = data.modelfit(line(), dim="v", sigma=1.0, priors=priors, covariance=True)["covariance"]
        assert_allclose(fit.modelfit.with_covariance(data, priors=priors)["covariance"], right, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="The fit had priors that are maps, which its record does not hold"):
        fit.modelfit.with_covariance(data)


# --- how they may be given


def test_units_of_means_and_deviations() -> None:
    data = lines()
    plain = data.modelfit(line(), dim="v", sigma=1.0, priors={"stddev_0": (2.1, 0.05), "amplitude_1": (0.5, 0.1)})
    given = {"stddev_0": (2100 * u.m / u.s, 50 * u.m / u.s), "amplitude_1": (500 * u.mK, 0.1)}
    by_units = data.modelfit(line(), dim="v", sigma=1.0, priors=given)
    pair = {"stddev_0": [2100, 50] * u.m / u.s, "amplitude_1": [0.5, 0.1] * u.K}
    by_pairs = data.modelfit(line(), dim="v", sigma=1.0, priors=pair)
    for other in (by_units, by_pairs):
        for name in NAMES:
            assert_allclose(other[name], plain[name], rtol=1e-9)
            assert_allclose(other[f"{name}_stderr"], plain[f"{name}_stderr"], rtol=1e-9)


def test_a_deviation_has_no_zero_point() -> None:
    """Of a temperature in degrees Celsius, a kelvin is as long; a mean in kelvin could be meant in two ways."""
    t = np.arange(20.0)
    data = xr.DataArray(15 + np.cos(7 * t), dims="t", coords={"t": t}, name="temperature", attrs={"units": "degC"})
    plain = data.modelfit(Const1D(), dim="t", sigma=1.0, priors={"amplitude": (14.0, 0.1)})
    for deviation in (0.1 * u.K, 0.1 * u.deg_C, 0.18 * u.imperial.deg_F, xr.DataArray(0.1, attrs={"units": "K"})):
        fit = data.modelfit(Const1D(), dim="t", sigma=1.0, priors={"amplitude": (14.0, deviation)})
        assert_allclose(fit["amplitude"], plain["amplitude"], rtol=1e-12)
    assert_allclose(plain["amplitude"], (20 * data.mean() + 1400) / 120, rtol=1e-12)
    with pytest.raises(ValueError, match=r"priors\['amplitude'\]\[0\] is in 'K', which cannot be converted"):
        data.modelfit(Const1D(), dim="t", sigma=1.0, priors={"amplitude": (287 * u.K, 0.1)})


def test_dates_have_durations() -> None:
    days = pd.date_range("2020-01-01", periods=60)
    y = 5 * np.exp(-0.5 * ((np.arange(60) - 30.0) / 6) ** 2) + np.random.default_rng(0).normal(size=(2, 60))
    data = xr.DataArray(y, dims=("x", "time"), coords={"time": days})
    model = Gaussian1D(5, 30, 6)
    options: dict[str, Any] = {"dim": "time", "sigma": 1.0, "time_units": "days since 2020-01-01"}
    plain = data.modelfit(model, priors={"mean": (28.0, 0.5)}, **options)
    for mean, deviation in [
        (np.datetime64("2020-01-29"), np.timedelta64(12, "h")),
        (pd.Timestamp("2020-01-29"), pd.Timedelta(hours=12)),
        (np.datetime64("2020-01-29"), 0.5),
        (np.datetime64("2020-01-29"), 12 * u.h),
    ]:
        fit = data.modelfit(model, priors={"mean": (mean, deviation)}, **options)
        assert_allclose(fit["mean"], plain["mean"], rtol=1e-9)
    with pytest.raises(TypeError, match=r"priors\['mean'\]\[1\] holds dates, but 'mean' takes durations"):
        data.modelfit(model, priors={"mean": (28.0, np.datetime64("2020-01-29"))}, **options)
    again = fit.modelfit.refit(data, where=xr.ones_like(fit["mean"], dtype=bool), p0="estimate", sigma=1.0)
    assert_allclose(again["mean"], fit["mean"], rtol=1e-9)


def test_an_earlier_result_is_a_prior() -> None:
    """Half of the samples, then the other half with the first answer as prior: as all at once, if linear."""
    t = np.arange(40.0)
    y = 2 + 0.3 * t + np.random.default_rng(5).normal(size=(6, 40))
    data = xr.DataArray(y, dims=("x", "t"), coords={"t": ("t", t, {"units": "d"})}, attrs={"units": "mm"})
    every = data.modelfit(Const1D(), dim="t", sigma=1.0)
    half = data.isel(t=slice(0, 20)).modelfit(Const1D(), dim="t", sigma=1.0)
    prior = {"amplitude": (half["amplitude"], half["amplitude_stderr"])}
    both = data.isel(t=slice(20, 40)).modelfit(Const1D(), dim="t", sigma=1.0, priors=prior)
    assert_allclose(both["amplitude"], every["amplitude"], rtol=1e-12)
    assert_allclose(both["amplitude_stderr"], every["amplitude_stderr"], rtol=1e-12)


def test_a_name_of_a_part_or_a_number_of_astropy() -> None:
    model = Gaussian1D(8, 0.0, 2.2, name="narrow") + Const1D(1.0)
    one = lines().modelfit(model, dim="v", sigma=1.0, priors={"narrow_stddev": (2.1, 0.01)})
    other = lines().modelfit(model, dim="v", sigma=1.0, priors={"stddev_0": (2.1, 0.01)})
    assert_array_equal(one["narrow_stddev"], other["narrow_stddev"])


# --- maps


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_numbers_in_maps(engine: str) -> None:
    """NaN is no prior there; a deviation that is not positive, or an infinite mean, gives a status; others stay."""
    data = lines((1, 7))
    mean, deviation = np.full(7, 2.5), np.full(7, 0.1)
    mean[1] = deviation[2] = np.nan
    deviation[3], deviation[4], deviation[5], mean[6] = np.inf, 0.0, -0.1, np.inf
    both = (xr.DataArray(a, dims="x") for a in (mean, deviation))
    options: dict[str, Any] = {"dim": "v", "sigma": 1.0, "fitter": BatchLSQFitter(engine=engine), "errors": "ignore"}
    fit = data.modelfit(line(), priors={"stddev_0": tuple(both)}, **options).isel(y=0)
    plain = data.modelfit(line(), **options).isel(y=0)
    assert_array_equal(fit["fit_status"], [1, 1, 1, 1, *[FitStatus.INVALID_START] * 3])
    assert_allclose(fit["stddev_0"][1:4], plain["stddev_0"][1:4], rtol=1e-6)
    assert_allclose(fit["stddev_0_stderr"][1:4], plain["stddev_0_stderr"][1:4], rtol=1e-5)
    assert_array_equal(fit["chi2_prior"][1:4], 0.0)
    alone = data.isel(x=[0]).modelfit(line(), priors={"stddev_0": (2.5, 0.1)}, **options)
    assert_array_equal(alone["stddev_0"].values[0], fit["stddev_0"].values[:1])


def test_a_parameter_that_is_held_at_a_position_has_no_prior_there() -> None:
    held = xr.DataArray([2.0, np.nan], dims="x")
    fit = lines((1, 2)).modelfit(
        line(), dim="v", sigma=1.0, p0={"stddev_0": 2.0}, bounds={"stddev_0": (held, held)},
        priors={"stddev_0": (3.0, 0.01)},
    )  # fmt: skip
    assert_array_equal(fit["stddev_0"][0, 0], 2.0)
    assert fit["chi2_prior"][0, 0] == 0.0
    assert abs(fit["stddev_0"][0, 1] - 3.0) < 0.05


@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_change_no_bit(engine: str) -> None:
    data = lines((6, 5), 7)
    mean, deviation = maps(8, data, 2.0, 0.2)
    options: dict[str, Any] = {"dim": "v", "sigma": 1.0, "covariance": True, "fitter": BatchLSQFitter(engine=engine)}
    whole = data.modelfit(line(), priors={"stddev_0": (mean, deviation), "mean_0": (0.4, 0.1)}, **options)
    for chunks in ({"y": 1, "x": 2}, {"y": 4, "v": 7}):
        lazy = data.chunk(chunks).modelfit(
            line(), priors={"stddev_0": (mean.chunk(x=2), deviation), "mean_0": (0.4, 0.1)}, **options
        )
        assert lazy["stddev_0"].chunks is not None
        xr.testing.assert_identical(lazy.compute(), whole)
    few = data.modelfit(
        line(), priors={"stddev_0": (mean, deviation), "mean_0": (0.4, 0.1)}, fits_per_chunk=3, **options
    )
    xr.testing.assert_identical(few, whole)
    lazy_map = data.modelfit(line(), priors={"stddev_0": (mean.chunk(), deviation), "mean_0": (0.4, 0.1)}, **options)
    assert lazy_map["chi2_prior"].chunks is not None
    xr.testing.assert_identical(lazy_map.compute(), whole)


def test_a_store_and_a_plan(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="stores")
    data = lines((6, 5), 7)
    mean, deviation = maps(8, data, 2.0, 0.2)
    options: dict[str, Any] = {
        "dim": "v",
        "sigma": 1.0,
        "priors": {"stddev_0": (mean, deviation), "mean_0": (0.4, 0.1)},
    }
    fit = data.chunk(y=2).modelfit(line(), **options)
    fit.modelfit.to_zarr(tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as stored:
        assert_array_equal(stored["chi2_prior"], fit["chi2_prior"].compute())
    assert data.chunk(y=2, v=6).modelfit.plan(line(), **options).n_fits == 30


# --- with other arguments


def test_clipped_counted_and_weighted() -> None:
    data = lines((2, 3), 9)
    spoilt = data.copy(data=data.values.copy())
    spoilt[..., 5] += 40.0
    priors = {"stddev_0": (2.0, 0.01)}
    clipped = spoilt.modelfit(line(), dim="v", sigma=1.0, priors=priors, fitter=BatchLSQFitter(clip=(5, 5)))
    left_out = spoilt.where(np.arange(X.size) != 5).modelfit(line(), dim="v", sigma=1.0, priors=priors)
    assert_array_equal(clipped["n_points"], X.size - 1)
    for name in NAMES:
        assert_allclose(clipped[name], left_out[name], rtol=1e-6, atol=1e-6)
    by_sigma = data.modelfit(line(), dim="v", sigma=0.5, priors=priors)
    by_weights = data.modelfit(line(), dim="v", weights=2.0, absolute_sigma=True, priors=priors)
    assert_allclose(by_weights["stddev_0_stderr"], by_sigma["stddev_0_stderr"], rtol=1e-9)
    whole = np.round(np.abs(data)).astype(float)
    counted = whole.modelfit(line(), dim="v", priors=priors, fitter=BatchLSQFitter(loss="poisson"), errors="ignore")
    assert (abs(counted["stddev_0"] - 2.0) < 0.05).where(counted.modelfit.ok, True).all()


def test_a_covariance_of_the_noise() -> None:
    """Generalised least squares with a prior: ``(A'WA + T)^-1 (A'Wy + T m)``."""
    t = np.arange(60.0)
    data = xr.DataArray(0.1 * t + np.random.default_rng(0).normal(size=(3, 60)), dims=("p", "t"), coords={"t": t})
    C = np.exp(-np.abs(t[:, None] - t) / 3)
    noise, priors = xr.DataArray(C, dims=("t", "other")), {"slope": (0.2, 0.01)}
    fit = data.modelfit(Linear1D(), dim="t", noise=noise, priors=priors)
    A, W = np.stack([t, np.ones_like(t)], axis=1), np.linalg.inv(C)
    H = A.T @ W @ A + np.diag([1e4, 0.0])
    right = np.linalg.solve(H, A.T @ W @ data.values.T + np.array([[2000.0], [0.0]]))
    error = np.sqrt(np.linalg.inv(H)[0, 0])
    assert np.max(np.abs(fit["slope"].values - right[0]) / error) < 1e-8
    assert_allclose(fit["slope_stderr"], error, rtol=1e-7)
    with pytest.raises(ValueError, match="without the errors of the data"):
        data.modelfit(Linear1D(), dim="t", noise=noise, priors=priors, absolute_sigma=False)


def test_starts_from_the_data_and_from_first_fits() -> None:
    data = lines((4, 4), 10)
    priors = {"stddev_0": (2.0, 0.05)}
    plain = data.modelfit(line(), dim="v", sigma=1.0, priors=priors)
    for p0 in ("estimate", "mean", "coarse"):
        fit = data.modelfit(line(), dim="v", sigma=1.0, priors=priors, p0=p0)
        assert_allclose(fit["stddev_0"], plain["stddev_0"], rtol=1e-5)


def two_peaks(left: float, right: float, n: int = 3) -> xr.DataArray:
    x = np.arange(-8.0, 8.0, 0.25)
    one, other = (np.exp(-0.5 * (x - place) ** 2) for place in (-4.0, 4.0))
    return xr.DataArray(np.tile(left * one + right * other, (n, 1)), dims=("p", "x"), coords={"x": x})


PLACE = {"mean": (4.0, 1.5)}  # costs 28 at the other peak, which is lower by 14


@pytest.mark.parametrize("engine", ENGINES)
def test_several_starts_are_ranked_with_the_priors(engine: str) -> None:
    data, model = two_peaks(10.0, 9.9), Gaussian1D(9, 0, 1)
    options: dict[str, Any] = {"dim": "x", "sigma": 1.0, "fitter": BatchLSQFitter(engine=engine)}
    for starts in ([{"mean": -4.0}, {"mean": 4.0}], [{"mean": 4.0}, {"mean": -4.0}]):
        free = data.modelfit(model, p0=starts, **options)
        known = data.modelfit(model, p0=starts, priors=PLACE, **options)
        assert_allclose(free["mean"], -4.0, atol=0.01)
        assert_allclose(known["mean"], 4.0, atol=0.01)
        assert (known["chi2"] > free["chi2"] + 5).all()
        assert_array_equal(
            data.modelfit(model, p0=starts, priors=PLACE, fit_info=["n_reached"], **options)["n_reached"], 1
        )


def test_refits_are_ranked_with_the_priors() -> None:
    data, model, every = two_peaks(10.0, 9.9), Gaussian1D(9, 0, 1), xr.DataArray(np.ones(3, bool), dims="p")
    wrong = data.modelfit(model, dim="x", sigma=1.0, p0={"mean": -4.0}, priors=PLACE)
    right = data.modelfit(model, dim="x", sigma=1.0, p0={"mean": 4.0}, priors=PLACE)
    assert_allclose(wrong["mean"], -4.0, atol=0.1)
    better = wrong.modelfit.refit(data, where=every, p0={"mean": 4.0}, sigma=1.0)
    assert_allclose(better["mean"], right["mean"], rtol=1e-9)
    assert_allclose(better["chi2_prior"], right["chi2_prior"], rtol=1e-5, atol=1e-12)
    kept = right.modelfit.refit(data, where=every, p0={"mean": -4.0}, sigma=1.0)
    assert_array_equal(kept["mean"], right["mean"])
    assert_array_equal(kept["refit_round"], 0)


@pytest.mark.parametrize(
    "fitter", [BatchLSQFitter(loss="cauchy"), BatchLSQFitter(loss="poisson")], ids=lambda f: f.loss
)
def test_starts_are_ranked_by_the_loss(fitter: BatchLSQFitter) -> None:
    """The answer of several starts, and of a refit, is the one of single starts whose loss is lowest."""
    data = two_peaks(10.0, 9.0) + (1.0 if fitter.loss == "poisson" else 0.0)
    model = Gaussian1D(9, 0, 1) + Const1D(1.0 if fitter.loss == "poisson" else 0.0)
    starts = [{"mean_0": 4.0}, {"mean_0": -4.0}]
    options: dict[str, Any] = {"dim": "x", "fitter": fitter, "errors": "ignore"}
    single = [data.modelfit(model, p0=one, **options) for one in starts]
    several = data.modelfit(model, p0=starts, **options)
    lowest = np.fmin(single[0]["chi2"], single[1]["chi2"])
    assert_allclose(several["chi2"], lowest, rtol=1e-9)
    every = xr.DataArray(np.ones(3, bool), dims="p")
    again = single[0].modelfit.refit(data, where=every, p0={"mean_0": -4.0})
    assert_allclose(again["chi2"], lowest, rtol=1e-9)


# --- what is said of them


def test_the_record_the_report_and_a_file(tmp_path: Path) -> None:
    data = lines()
    mean, deviation = maps(1, data, 0.5, 0.1)
    fit = data.modelfit(
        line(), dim="v", sigma=1.0, priors={"stddev_0": (2000 * u.m / u.s, 0.1), "mean_0": (mean, deviation)}
    )
    said = "Priors: stddev_0 2 +- 0.1 km/s, mean_0 by maps."
    assert said in str(fit.modelfit.report())
    assert "Priors: stddev_0 2 +- 0.1 km/s" in fit.modelfit.report()._repr_html_()
    assert "Priors" not in str(data.modelfit(line(), dim="v", sigma=1.0).modelfit.report())
    pytest.importorskip("netCDF4", reason="files")
    fit.to_netcdf(tmp_path / "fit.nc")
    with xr.open_dataset(tmp_path / "fit.nc") as stored:
        assert said in str(stored.modelfit.report())
        assert_array_equal(stored["chi2_prior"], fit["chi2_prior"])
        with pytest.raises(
            ValueError, match=r"The fit had priors that are maps, which its record does not hold\. Pass pri"
        ):
            stored.modelfit.refit(data, sigma=1.0)
    plain = data.modelfit(line(), dim="v", sigma=1.0)
    assert "chi2_prior" not in plain
    with pytest.raises(ValueError, match=r"priors are given, but the fit had none"):
        plain.modelfit.refit(data, sigma=1.0, priors={"stddev_0": (2.0, 0.1)})


@pytest.mark.parametrize(
    "priors", [3, [1], {"other": {}}, {"stddev_0": 3}, {"stddev_0": {"mean": "a", "deviation": 1.0, "units": None}}]
)
def test_damaged_records_are_told(priors: Any) -> None:
    fit = lines((1, 1)).modelfit(line(), dim="v", sigma=1.0, priors={"stddev_0": (2.0, 0.1)})
    content = json.loads(fit["fit_status"].attrs["modelfit_record"])
    assert content["options"]["priors"] == {"stddev_0": {"mean": 2.0, "deviation": 0.1, "units": "km/s"}}
    content["options"]["priors"] = priors
    fit["fit_status"].attrs["modelfit_record"] = json.dumps(content)
    with pytest.raises(RecordError, match="cannot be read: it is damaged"):
        fit.modelfit.report()


def test_several_variables() -> None:
    both = xr.Dataset({"a": lines(seed=1), "b": lines(seed=2)})
    fit = both.modelfit(line(), dim="v", sigma=1.0, priors={"stddev_0": (2.0, 0.01)})
    assert {"a_chi2_prior", "b_chi2_prior"} <= set(fit.data_vars)
    assert (abs(fit["b_stddev_0"] - 2.0) < 0.05).all()


# --- wrong calls

FIXED = Gaussian1D(1, 50, 10, fixed={"stddev": True})
TIED = Gaussian1D(1, 50, 10, tied={"stddev": lambda m: m.mean / 5})
MAP = xr.DataArray(np.ones((3, 2)), dims=("y", "x"))
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a number": ({"priors": 3}, TypeError, r"priors is an int; pass \{parameter: \(mean, standard deviation\)\}"),
    "a result": ({"priors": MAP.to_dataset(name="mean")}, TypeError, r"Of an earlier result: priors=\{'amplitude'"),
    "one number": ({"priors": {"mean": 3.0}}, TypeError, r"priors\['mean'\] is 3\.0; pass a pair"),
    "three": ({"priors": {"mean": (1, 2, 3)}}, TypeError, r"priors\['mean'\] is \(1, 2, 3\); pass a pair"),
    "None": ({"priors": {"mean": (1, None)}}, TypeError, r"priors\['mean'\] has None"),
    "text": ({"priors": {"mean": ("a", 1)}}, TypeError, r"priors\['mean'\]\[0\] is 'a'; pass a number or a DataArray"),
    "an array": ({"priors": {"mean": (np.ones(3), 1)}}, TypeError, r"\[0\] is an array of shape \(3,\); pass a number"),
    "unknown": ({"priors": {"means": (1, 1)}}, ValueError, r"priors has the key 'means'.* Did you mean 'mean'\?"),
    "NaN": ({"priors": {"mean": (np.nan, 1)}}, ValueError, r"priors\['mean'\]\[0\] is nan; the mean must be finite"),
    "zero": ({"priors": {"mean": (1, 0)}}, ValueError, r"\[1\] is 0; the standard deviation must be positive"),
    "negative": ({"priors": {"mean": (1, -2)}}, ValueError, r"\[1\] is -2; the standard deviation must be positive"),
    "infinite": ({"priors": {"mean": (1, np.inf)}}, ValueError, r"\[1\] is inf; the standard deviation must be"),
    "no such dim": ({"priors": {"mean": (MAP.rename(x="z"), 1)}}, ValueError, r"\['mean'\]\[0\] has dims .*no dim 'z'"),
    "a fitted dim": (
        {"priors": {"mean": (1, xr.DataArray(np.ones(12), dims="velocity"))}}, ValueError,
        r"priors\['mean'\]\[1\] has the dim 'velocity', which each fit consumes",
    ),
    "fixed": ({"model": FIXED, "priors": {"stddev": (1, 1)}}, ValueError, r"priors has 'stddev', which is fixed"),
    "tied": ({"model": TIED, "priors": {"stddev": (1, 1)}}, ValueError, r"priors has 'stddev', which is tied"),
    "equal bounds": (
        {"bounds": {"stddev": (10, 10)}, "priors": {"stddev": (1, 1)}}, ValueError, r"'stddev', which is fixed",
    ),
    "no sigma": ({"sigma": None, "priors": {"mean": (1, 1)}}, ValueError, r"without the errors of the data.* Pass s"),
    "rescaled": ({"absolute_sigma": False, "priors": {"mean": (1, 1)}}, ValueError, r"leave absolute_sigma out"),
    "astropy": (
        {"fitter": TRFLSQFitter(), "priors": {"mean": (1, 1)}}, ValueError,
        r"priors are given, with TRFLSQFitter, which has no place for them\. Use BatchLSQFitter\(\)",
    ),
    "robust": (
        {"fitter": BatchLSQFitter(loss="huber"), "priors": {"mean": (1, 1)}}, ValueError,
        r"with BatchLSQFitter\(loss='huber'\), which has no place",
    ),
    "first fit": (
        {"p0": "mean", "model": FIXED, "priors": {"stddev": (1, 1)}}, ValueError, r"priors has 'stddev', which is fix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("in_dask", [True, False], ids=["dask", "file"])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_raise_before_a_sample_is_read(case: str, in_dask: bool) -> None:
    given, kind, said = WRONG[case]
    stage = Stage(in_dask)
    with pytest.raises(kind, match=f"(?s){said}"):
        stage.fit(**({"sigma": 1.0} | given))
    assert not stage.read


def test_units_that_do_not_fit() -> None:
    stage = Stage(True)
    for given, said in [
        ((1 * u.kg, 1), r"priors\['mean'\]\[0\] is in 'kg', which cannot be converted to 'm s-1'"),
        ((1, 1 * u.kg), r"priors\['mean'\]\[1\] is in 'kg', which cannot be converted to 'm s-1'"),
    ]:
        with pytest.raises(ValueError, match=said):
            stage.labelled.modelfit(Gaussian1D(1, 50, 10), dim="velocity", sigma=1.0, priors={"mean": given})
    with pytest.raises(
        ValueError, match=r"priors\['mean'\]\[0\] has no unit, but the start of 'mean' is given in 'km s-1'"
    ):
        stage.labelled.modelfit(
            Gaussian1D(1, 50, 10), dim="velocity", sigma=1.0, p0={"mean": 0.05 * u.km / u.s}, priors={"mean": (50, 1)}
        )
    assert not stage.read


def test_inputs_stay_as_they_are() -> None:
    data = lines()
    mean, deviation = maps(1, data, 2.0, 0.1)
    copies = [one.copy(deep=True) for one in (data, mean, deviation)]
    given = {"stddev_0": (mean, deviation)}
    data.modelfit(line(), dim="v", sigma=1.0, priors=given)
    for one, before in zip((data, mean, deviation), copies, strict=True):
        xr.testing.assert_identical(one, before)
    assert given["stddev_0"][0] is mean
