"""Responses by name: units and dates of their offsets, their names in a Dataset, values that are not finite."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import custom_model
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import answers, assert_right, gauss, recorded
from xr_modelfit import FitStatus

X = np.arange(40.0)
NOISE = 0.02
OFFSETS = np.arange(-2.0, 5.0)
VALUES = np.array([0.5, 1.0, 4.0, 2.5, 2.0, 1.0, 0.3])
TRUTH, START = (5.0, 20.3, 2.2), (4.0, 20.0, 3.0)
NAMES = "amplitude", "mean", "stddev"


def samples(_: int, *p: float) -> np.ndarray:
    """A line behind the kernel."""
    return np.asarray(sum(k * gauss(X - o, *p) for k, o in zip(VALUES, OFFSETS, strict=True)) / VALUES.sum())


def lines(n: int = 3) -> np.ndarray:
    y = samples(0, *TRUTH) + np.random.default_rng(4).normal(0.0, NOISE, (n, X.size))
    y[1, 3::9] = np.nan
    return y


def kernel(offsets: Any = OFFSETS, **attrs: str) -> xr.DataArray:
    return xr.DataArray(VALUES, dims="o", coords={"o": ("o", offsets, attrs)}, name="lsf")


def data(y: np.ndarray, x: Any = X) -> xr.DataArray:
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x}, name="flux")


Y = lines()
RIGHT = answers(samples, Y, NOISE, START)


def test_by_name_in_a_dataset() -> None:
    ds = data(Y).to_dataset().assign(lsf=kernel(), offset_err=("p", np.ones(3)))
    fit = ds.modelfit(M.Gaussian1D(*START), "x", data="flux", sigma=NOISE, response="lsf")
    assert_right(fit, NAMES, RIGHT)
    every = ds.modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response="lsf")  # all that has the fitted dim
    assert [n for n in every.data_vars if n.endswith("fit_status")] == ["flux_fit_status"]
    matrix = np.eye(40) + 0.3 * np.eye(40, k=1)
    ds["lsf"] = (("x", "seen_at"), matrix)  # it has the fitted dim, and is named in the call
    every = ds.modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response="lsf", errors="ignore")
    assert [n for n in every.data_vars if n.endswith("fit_status")] == ["flux_fit_status"]


@pytest.mark.parametrize(
    ("x", "offsets", "attrs"),
    [
        ("km s-1", 1e3 * OFFSETS, {"units": "m/s"}),
        ("km s-1", OFFSETS, {}),
        ("km s-1", OFFSETS, {"units": "km s-1"}),
        (None, OFFSETS, {"units": "km s-1"}),
        ("degC", OFFSETS, {"units": "K"}),
        ("K", 1.8 * OFFSETS, {"units": "degF"}),
    ],
)
def test_offsets_in_other_units_than_the_coordinate(x: str | None, offsets: np.ndarray, attrs: dict[str, str]) -> None:
    """Offsets are differences: a kelvin is a degree Celsius."""
    da = data(Y, ("x", X, {} if x is None else {"units": x}))
    fit = da.modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=kernel(offsets, **attrs))
    assert_right(fit, NAMES, RIGHT)
    again = fit.modelfit.evaluate(da, response=kernel(offsets, **attrs))
    assert_allclose(again, fit.modelfit.evaluate(da), rtol=1e-12)


@pytest.mark.parametrize("attrs", [{}, {"units": "m s-1"}])
def test_offsets_along_a_coordinate_that_is_converted_for_the_model(attrs: dict[str, str]) -> None:
    """Offsets without a unit are in that of the coordinate, in the fit and where the response is passed again."""
    da = data(Y, ("x", X, {"units": "km s-1"})).assign_attrs(units="K")
    response = kernel(1e3 * OFFSETS if attrs else OFFSETS, **attrs)
    model = M.Gaussian1D(4 * u.K, 20e3 * u.m / u.s, 3e3 * u.m / u.s)
    fit = da.modelfit(model, "x", sigma=NOISE, response=response)
    in_km = xr.Dataset({n: fit[n] / f for n in fit.data_vars for f in [1e3 if n[:4] in ("mean", "stdd") else 1]})
    assert_right(in_km, NAMES, RIGHT)
    right = fit.modelfit.evaluate(da)
    assert_allclose(right[0], samples(0, *RIGHT[0].parameters), atol=1e-5)
    assert_allclose(fit.modelfit.evaluate(da, response=response), right, rtol=1e-12)
    in_m = da.assign_coords(x=("x", 1e3 * X, {"units": "m s-1"}))
    assert_allclose(fit.modelfit.evaluate(in_m), right, rtol=1e-9)
    assert_allclose(fit.modelfit.evaluate(in_m, response=kernel(1e3 * OFFSETS)), right, rtol=1e-9)


def test_an_equivalency_and_offsets_of_the_other_kind() -> None:
    """A kernel in km/s behind a model of velocities, for data over frequencies."""
    rest = 100.0 * u.GHz
    frequency = 100.0 * (1 - X / 299792.458)
    da = data(Y, ("x", frequency, {"units": "GHz"}))
    model = M.Gaussian1D(4, 20 * u.km / u.s, 3 * u.km / u.s)
    told = {"equivalencies": {"x": u.doppler_radio(rest)}}
    fit = da.modelfit(model, "x", sigma=NOISE, response=kernel(units="km/s"), **told)
    assert_right(fit, NAMES, RIGHT)
    assert_allclose(((fit.modelfit.residuals(da) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-8)
    with pytest.raises(ValueError, match=r"'o', are in 'GHz'.*'km"):
        da.modelfit(model, "x", sigma=NOISE, response=kernel(), **told)  # a shift in GHz is none in km/s


def as_hours(offsets: np.ndarray) -> np.ndarray:
    return (offsets * 3600e9).astype("m8[ns]")


@pytest.mark.parametrize("kind", ["numpy", "cftime", "durations"])
@pytest.mark.parametrize("offsets", ["durations", "numbers", "minutes"])
def test_offsets_of_time(kind: str, offsets: str) -> None:
    """Samples each hour; durations as offsets, or numbers in the unit in which time is counted."""
    t: Any = as_hours(X) if kind == "durations" else np.datetime64("2001-02-03T00:00:00", "ns") + as_hours(X)
    time_units = "hours" if kind == "durations" else "hours since 2001-02-03"
    if kind == "cftime":
        t = xr.date_range("2001-02-03", periods=40, freq="h", calendar="noleap", use_cftime=True)
    response = {
        "durations": kernel(as_hours(OFFSETS)),
        "numbers": kernel(),
        "minutes": kernel(60 * OFFSETS, units="min"),
    }[offsets]
    da = data(Y, t)
    fit = da.modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=response, time_units=time_units)
    assert_right(fit, NAMES, RIGHT)
    assert_allclose(((fit.modelfit.residuals(da) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-8)
    again = fit.modelfit.residuals(da, response=response)
    assert_allclose(((again / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-8)


# --- values that are not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("spacing", ["even", "uneven"])
def test_a_kernel_of_no_use_at_one_position_is_no_trouble_to_others(bad: float, spacing: str) -> None:
    response = kernel().expand_dims(p=3).copy()
    response[1] = bad
    response = response if spacing == "even" else response.assign_coords(o=OFFSETS + 1e-3)
    fit = data(Y).modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=response, errors="ignore")
    assert fit["fit_status"][1] in (FitStatus.NONFINITE_DATA, FitStatus.NONFINITE_MODEL)
    assert fit["mean"].isnull().values.tolist() == [False, True, False]
    alone = data(Y[::2]).modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=response[::2])
    assert_allclose(fit["mean"][::2], alone["mean"], rtol=0)


def test_a_lazy_kernel_of_each_position() -> None:
    response = kernel().expand_dims(p=3).copy()
    response[1] = np.nan
    fit = data(Y).modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=response.chunk(p=2, o=3), errors="ignore")
    right = data(Y).modelfit(M.Gaussian1D(*START), "x", sigma=NOISE, response=response, errors="ignore")
    assert fit.chunks
    xr.testing.assert_identical(fit.compute().drop_attrs(), right.drop_attrs())


@pytest.mark.parametrize("hidden", [False, True])
def test_a_coordinate_that_is_not_finite_behind_a_kernel(hidden: bool) -> None:
    """Its sample is left out; its neighbours read the model at their own places."""
    x = X.copy()
    x[22] = np.nan
    da = xr.DataArray(Y, dims=("p", "x"), coords={"v": ("x", x)}, name="flux")
    if hidden:  # not known before the call
        da = da.assign_coords(v=("x", xr.Variable("x", x).chunk(x=10).data))
    fit = da.modelfit(M.Gaussian1D(*START), "x", coords="v", sigma=NOISE, response=kernel())
    y = Y.copy()
    y[:, 22] = np.nan
    assert_right(fit.compute(), NAMES, answers(samples, y, NOISE, START))


def test_a_coordinate_that_is_not_finite_behind_a_matrix() -> None:
    """A matrix needs the model at each place."""
    x = X + np.zeros((3, 1))
    x[1, 22] = np.nan
    da = xr.DataArray(Y, dims=("p", "c"), coords={"v": (("p", "c"), x)})
    response = xr.DataArray(np.eye(40) + 0.3 * np.eye(40, k=1), dims=("c", "o"))
    fit = da.modelfit(M.Gaussian1D(*START), "c", coords="v", response=response, errors="ignore")
    assert fit["fit_status"].values.tolist() == [1, FitStatus.NONFINITE_DATA, 1]


# --- models that see all their samples


@custom_model
def centred(x: Any, a: float = 1.0, b: float = 0.0) -> Any:
    """A line about the mean of its coordinate."""
    return a * (x - x.mean()) + b


def test_a_matrix_behind_a_model_that_sees_all_its_samples() -> None:
    R = np.eye(40) + 0.3 * np.eye(40, k=1)
    y = R.T @ (0.5 * (X - X.mean()) + 2.0)
    da = data(np.stack([y, y]))
    da[1, 5:20] = np.nan
    fit = da.modelfit(centred(), "x", response=xr.DataArray(R, dims=("x", "o")))
    assert recorded(fit, "pointwise") is False
    assert_allclose(fit["a"], 0.5, rtol=1e-10)
    assert_allclose(fit["b"], 2.0, rtol=1e-10)
    assert_allclose(fit.modelfit.evaluate(da), np.stack([y, y]), rtol=1e-9, atol=1e-9)
