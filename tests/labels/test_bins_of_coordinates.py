"""Bins of coordinates of all kinds: dates, units, descending ones, some of each position, some not finite."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import answers, assert_right, between, mean_gauss, means, recorded

X = np.arange(40.0)
NOISE = 0.02
NAMES = "amplitude", "mean", "stddev"
START = (4.0, 20.0, 1.0)


def lines(low: np.ndarray, high: np.ndarray, truth: tuple[float, ...] = (5.0, 20.3, 0.7), n: int = 3) -> np.ndarray:
    """Noisy means of a line (n, len(low)); one spectrum has gaps."""
    y = mean_gauss(low, high, *truth) + np.random.default_rng(4).normal(0.0, NOISE, (n, np.shape(low)[-1]))
    y[1, 3::9] = np.nan
    return y


def right_of(low: np.ndarray, high: np.ndarray, y: np.ndarray, start: tuple[float, ...] = START) -> Any:
    return answers(lambda _, *p: mean_gauss(low, high, *p), y, NOISE, start)


def data(y: np.ndarray, x: Any = X, **coords: Any) -> xr.DataArray:
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x} | coords, name="flux")


def test_a_descending_coordinate() -> None:
    low, high = between(X)
    y = lines(low, high)
    falling = data(y[:, ::-1], X[::-1])
    fit = falling.modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, integrate=True)
    assert_right(fit, NAMES, right_of(low, high, y))


def test_bins_of_each_position() -> None:
    """A spectrograph whose scale, and the widths of whose channels, differ from slit to slit."""
    x = 5.0 + np.array([[0.9], [1.0], [1.13]]) * X + 0.004 * X**2
    low, high = between(x)
    truth = 5.0, 25.3, 0.8
    y = np.stack([lines(low[i], high[i], truth)[i] for i in range(3)])
    right = answers(lambda i, *p: mean_gauss(low[i], high[i], *p), y, NOISE, (4, 25, 1))
    da = xr.DataArray(y, dims=("p", "c"), coords={"w": (("p", "c"), x)}, name="flux")
    options = {"coords": "w", "sigma": NOISE}
    assert_right(da.modelfit(M.Gaussian1D(4, 25, 1), "c", integrate=True, **options), NAMES, right)
    assert_right(da.chunk(p=1).modelfit(M.Gaussian1D(4, 25, 1), "c", integrate=True, **options), NAMES, right)

    low, high = low + 0.1, high - 0.2  # bounds with gaps between the bins
    y = np.stack([lines(low[i], high[i], truth)[i] for i in range(3)])
    right = answers(lambda i, *p: mean_gauss(low[i], high[i], *p), y, NOISE, (4, 25, 1))
    ds = da.copy(data=y).to_dataset()
    ds["w_bnds"] = (("bnds", "p", "c"), np.stack([low, high]))
    fit = ds.modelfit(M.Gaussian1D(4, 25, 1), "c", data="flux", integrate="w_bnds", **options)
    assert_right(fit, NAMES, right)
    residual = fit.modelfit.residuals(ds)
    assert_allclose(((residual / NOISE) ** 2).sum("c"), fit["chi2"], rtol=1e-9)


# --- units


def test_bounds_in_another_unit_than_their_coordinate() -> None:
    low, high = between(X)
    y = lines(low + 0.1, high - 0.1)
    ds = data(y, ("x", X, {"units": "km s-1", "bounds": "x_bnds"})).to_dataset()
    ds["x_bnds"] = (("x", "bnds"), 1000 * np.stack([low + 0.1, high - 0.1], axis=-1), {"units": "m s-1"})
    right = right_of(low + 0.1, high - 0.1, y)
    fit = ds.modelfit(M.Gaussian1D(*START), "x", data="flux", sigma=NOISE, integrate=True)
    assert_right(fit, NAMES, right)
    assert_allclose(((fit.modelfit.residuals(ds) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-9)

    bare = ds.copy()
    bare["x_bnds"] = (("x", "bnds"), np.stack([low + 0.1, high - 0.1], axis=-1))  # without units: its coordinate's
    assert_right(bare.modelfit(M.Gaussian1D(*START), "x", data="flux", sigma=NOISE, integrate=True), NAMES, right)


def test_a_coordinate_that_is_converted_for_the_model() -> None:
    low, high = between(X)
    y = lines(low, high)
    da = data(y, ("x", X, {"units": "km s-1"})).assign_attrs(units="K")
    model = M.Gaussian1D(4 * u.K, 20e3 * u.m / u.s, 1e3 * u.m / u.s)
    fit = da.modelfit(model, "x", sigma=NOISE, integrate=True)
    in_km = xr.Dataset({n: fit[n] / f for n in fit.data_vars for f in [1e3 if n[:4] in ("mean", "stdd") else 1]})
    assert_right(in_km, NAMES, right_of(low, high, y))
    in_m = da.assign_coords(x=("x", 1e3 * X, {"units": "m s-1"}))
    assert_allclose(fit.modelfit.evaluate(in_m), fit.modelfit.evaluate(da), rtol=1e-9)
    assert_allclose(((fit.modelfit.residuals(in_m) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-9)


def test_frequencies_read_as_velocities() -> None:
    """Edges are converted as the coordinate is, and change places; the mean is over the velocities of a bin."""
    rest = 100.0 * u.GHz
    frequency = 100.0 - 1e-3 * X  # to the radio velocities of 0 ... 117 km/s
    flow, fhigh = between(frequency)
    c = 299792.458
    low, high = (c * (1 - f / 100.0) for f in (flow, fhigh))
    y = lines(low, high, (5.0, 60.0, 2.0))
    da = data(y, ("x", frequency, {"units": "GHz"}))
    model = M.Gaussian1D(4, 59 * u.km / u.s, 3 * u.km / u.s)
    fit = da.modelfit(model, "x", sigma=NOISE, integrate=True, equivalencies={"x": u.doppler_radio(rest)})
    assert_right(fit, NAMES, right_of(low, high, y, (4, 59, 3)))
    assert_allclose(((fit.modelfit.residuals(da) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-9)


# --- dates


def months(calendar: str, use_cftime: bool) -> xr.Dataset:
    """Monthly means of a wave, with bounds of the months in a calendar."""
    edges = xr.date_range("2000-01-01", periods=49, freq="MS", calendar=calendar, use_cftime=use_cftime)
    numbers = xr.DataArray(edges, dims="t")
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    ds = xr.Dataset(coords={"time": ("time", middle, {"bounds": "time_bnds"})})
    ds["time_bnds"] = (("time", "bnds"), np.stack([numbers[:-1].values, numbers[1:].values], axis=-1))
    return ds


@pytest.mark.parametrize("kind", ["numpy", "noleap", "undecoded", "undecoded, bounds with units"])
def test_monthly_means_over_their_months(kind: str) -> None:
    """A year-long wave loses one part in ninety of its amplitude in monthly means."""
    calendar = "noleap" if kind == "noleap" else "proleptic_gregorian"
    ds = months(calendar, kind == "noleap")
    units = "days since 2000-01-01"
    coded = xr.coding.times.encode_cf_datetime(ds["time_bnds"].values, units, calendar)[0].astype(float)
    low, high = coded[:, 0], coded[:, 1]
    centre = 0.5 * (low + high)
    year = 365.0 if kind == "noleap" else 365.25
    phase = 2 * np.pi * np.stack([low, high]) / year
    clean = 3.0 - 6.0 * np.diff(np.cos(phase), axis=0)[0] / np.diff(phase, axis=0)[0]  # mean of 6 sin
    ds["tas"] = ("time", clean)
    if kind.startswith("undecoded"):
        told = {"units": units, "calendar": calendar}
        ds = ds.assign_coords(time=("time", centre, {"bounds": "time_bnds"} | told))
        ds["time_bnds"] = (("time", "bnds"), coded, told if "with units" in kind else {})
    model = M.Const1D(1) + M.Sine1D(5, 1 / year, 0.1, fixed={"frequency": True})
    options = {} if kind.startswith("undecoded") else {"time_units": units}
    fit = ds.modelfit(model, "time", data="tas", integrate=True, **options)
    assert recorded(fit, "sampled")["bins"] == {"x": "time_bnds"}
    assert_allclose(fit["amplitude_0"], 3.0, rtol=1e-9)
    assert_allclose(fit["amplitude_1"], 6.0, rtol=1e-9)
    assert abs(fit["phase_1"]) < 1e-9
    assert_allclose(fit.modelfit.residuals(ds), 0.0, atol=1e-9)
    plain = ds.modelfit(model, "time", data="tas", **options)
    assert_allclose(plain["amplitude_1"], 6.0 * (1 - 1 / 89), rtol=1e-3)


# --- places that are not finite


def test_a_power_law_whose_first_bin_touches_zero() -> None:
    """Its mean over that bin is infinite; `where` leaves it out, and nothing else is disturbed."""
    edges = np.concatenate([[0.0], np.geomspace(0.01, 10, 40)])
    low, high = edges[:-1], edges[1:]
    middle = 0.5 * (low + high)

    def samples(_: int, a: float, alpha: float) -> np.ndarray:
        with np.errstate(all="ignore"):
            return a / (1 - alpha) * (high ** (1 - alpha) - low ** (1 - alpha)) / (high - low)

    y = samples(0, 2.0, 1.7) * (1 + 0.01 * np.random.default_rng(1).normal(size=(3, 40)))
    y[:, 0] = 1e9
    sigma = 0.01 * np.abs(samples(0, 2.0, 1.7))
    sigma[0] = 1.0
    da = data(y, middle)
    bounds = xr.DataArray(np.stack([low, high], axis=-1), dims=("x", "bnds"))
    fit = da.modelfit(
        M.PowerLaw1D(1, 1, 2, fixed={"x_0": True}), "x", integrate=bounds, where=da["x"] > middle[0],
        sigma=xr.DataArray(sigma, dims="x"),
    )  # fmt: skip
    y[:, 0] = np.nan
    assert_right(fit, ["amplitude", "alpha"], answers(samples, y, sigma, (1, 2)))


def test_a_bin_where_the_model_is_not_finite_does_no_harm_if_it_is_left_out() -> None:
    """Half of the first bin lies below zero, where a root is no number."""

    def root(x: Any, a: float = 1.0, b: float = 0.0) -> Any:
        return a * np.sqrt(x) + b

    low, high = X - 0.5, X + 0.5
    y = means(lambda x: 2 * np.sqrt(np.maximum(x, 0)) + 1, low, high) + np.zeros((2, 1))
    da = data(y)
    fit = da.modelfit(root, "x", integrate=True, where=da["x"] > 0)
    assert_allclose(fit["a"], 2.0, rtol=1e-5)
    assert (fit["n_points"] == 39).all()


def test_a_coordinate_that_is_not_finite_leaves_out_the_bins_that_it_bounds() -> None:
    low, high = between(X)
    y = lines(low, high)
    x = X.copy()
    x[30] = np.nan
    da = xr.DataArray(y, dims=("p", "x"), coords={"v": ("x", x)}, name="flux")
    fit = da.modelfit(M.Gaussian1D(*START), "x", coords="v", sigma=NOISE, integrate=True)
    y[:, 29:32] = np.nan  # its neighbours do not know where their bins end
    assert_right(fit, NAMES, right_of(low, high, y))

    y = lines(low, high)
    edges = np.stack([low, high], axis=-1)
    edges[12, 1] = np.nan
    bounds = xr.DataArray(edges, dims=("x", "bnds"), name="v_bnds")
    fit = data(y).modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, integrate=bounds)
    y[:, 12] = np.nan
    assert_right(fit, NAMES, right_of(low, high, y))


def test_bins_of_one_sample_and_of_no_sample() -> None:
    bounds = xr.DataArray([[1.0, 4.0]], dims=("x", "bnds"), name="x_bnds")
    one = xr.DataArray([[7.5]], dims=("p", "x"), coords={"x": [2.0]})
    slope = M.Linear1D(1, 0, fixed={"intercept": True})
    assert_allclose(one.modelfit(slope, "x", integrate=bounds)["slope"], 3.0)  # 7.5 / 2.5
    none = data(np.zeros((0, 40)))
    assert none.modelfit(M.Gaussian1D(*START), "x", integrate=True)["mean"].shape == (0,)
    fit = data(np.full((2, 40), np.nan)).modelfit(M.Gaussian1D(*START), "x", integrate=True, errors="ignore")
    assert (fit["fit_status"] == -5).all()
