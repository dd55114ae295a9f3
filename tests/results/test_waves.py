"""Waves in one form: against the curve itself, closed forms, draws from the covariance, and the dates of xarray."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Cosine1D, Linear1D, Sine1D

X = np.linspace(3.0, 23.0, 201)
NOISE = 0.05


def fitted(model: Model) -> xr.Dataset:
    """A fit of data that follow the model."""
    values = model(X) + np.random.default_rng(3).normal(0.0, NOISE, X.size)
    return xr.DataArray(values, dims="x", coords={"x": X}).modelfit(model, dim="x", sigma=NOISE, covariance=True)


@pytest.mark.parametrize("kind", [Sine1D, Cosine1D])
@pytest.mark.parametrize("amplitude", [2.0, -2.0])
@pytest.mark.parametrize("frequency", [0.19, -0.19])
@pytest.mark.parametrize("phase", [0.4, -0.05, 3.3])
def test_the_maximum_is_where_the_curve_is_highest(
    kind: type[Model], amplitude: float, frequency: float, phase: float
) -> None:
    fit = fitted(kind(amplitude, frequency, phase))
    found = fit.modelfit.derived("wave_amplitude", "maximum")
    period = 1 / abs(fit["frequency"].item())
    fine = X[0] + np.linspace(0.0, period, 100_001)[:-1]
    curve = fit.modelfit.evaluate(x=fine).values
    # The top is flat: half a step of x is 1e-9 of the amplitude.
    assert found["maximum"].item() == pytest.approx(fine[curve.argmax()], abs=period * 1e-4)
    assert found["wave_amplitude"].item() == pytest.approx(curve.max(), rel=1e-7)
    assert found["wave_amplitude_stderr"].item() == pytest.approx(fit["amplitude_stderr"].item(), rel=1e-6)
    # In pure numbers the cycles between the phase and the first maximum count: n = (x f + phase - s) is whole.
    drawn = np.random.default_rng(1).multivariate_normal(
        [fit[n].item() for n in ("amplitude", "frequency", "phase")], fit["covariance"].values, 100_000
    )
    behind = (0.25 if kind is Sine1D else 0.0) + (0.0 if amplitude > 0 else 0.5)
    n = np.rint(found["maximum"].item() * fit["frequency"].item() + fit["phase"].item() - behind)
    places = (n + behind - drawn[:, 2]) / drawn[:, 1]
    assert places.mean() == pytest.approx(found["maximum"].item(), abs=0.1 * places.std())
    assert found["maximum_stderr"].item() == pytest.approx(places.std(), rel=0.02)


def test_a_sum_with_one_fixed_frequency_is_one_wave() -> None:
    """``c cos + s sin`` has the amplitude ``hypot(c, s)`` and its maximum where the angle is ``arctan2(s, c)``."""
    held = {"frequency": True, "phase": True}
    for c, s in ((0.7, 0.4), (-0.7, 0.4), (-0.2, -0.9), (0.5, -0.5)):
        model = Cosine1D(c, 0.2, 0, fixed=held) + Sine1D(s, 0.2, 0, fixed=held) + Const1D(4)
        fit = fitted(model)
        found = fit.modelfit.derived("wave_amplitude", "maximum")
        c, s = fit["amplitude_0"].item(), fit["amplitude_1"].item()
        assert found["wave_amplitude"].item() == pytest.approx(np.hypot(c, s), rel=1e-12)
        expected = np.arctan2(s, c) / (2 * np.pi * 0.2)
        periods = (found["maximum"].item() - expected) / 5
        assert periods == pytest.approx(round(periods), abs=1e-9)
        assert X[0] <= found["maximum"].item() < X[0] + 5
        names = ["amplitude_0", "amplitude_1"]
        C = fit["covariance"].sel(cov_i=names, cov_j=names).values
        R, g = np.hypot(c, s), np.array([c, s]) / np.hypot(c, s)
        assert found["wave_amplitude_stderr"].item() == pytest.approx(np.sqrt(g @ C @ g), rel=1e-5)
        g = np.array([-s, c]) / R**2 / (2 * np.pi * 0.2)
        assert found["maximum_stderr"].item() == pytest.approx(np.sqrt(g @ C @ g), rel=1e-5)


def test_a_wave_that_is_subtracted_is_turned_over() -> None:
    fit = fitted(Const1D(4) - Sine1D(2.0, 0.2, 0.4))
    found = fit.modelfit.derived("wave_amplitude_1", "maximum_1")
    curve = fit.modelfit.components(x=np.linspace(3, 8, 50_001))["Sine1D_1"]
    assert found["maximum_1"].item() == pytest.approx(curve["x"][int(curve.argmax("x"))].item(), abs=1e-3)
    assert found["wave_amplitude_1"].item() == pytest.approx(curve.max().item(), rel=1e-6)


def test_waves_that_are_factors_have_no_such_form() -> None:
    fit = fitted(Sine1D(2.0, 0.2, 0.4, fixed={"amplitude": True}) * Linear1D(0.01, 1.0))
    with pytest.raises(ValueError, match="the quantities known for the model are 'period_0', 'per decade'"):
        fit.modelfit.derived("maximum_0")


def months(calendar: str) -> xr.DataArray:
    dates = xr.date_range("1987-01-01", periods=240, freq="MS", calendar=calendar, use_cftime=calendar != "standard")
    return xr.DataArray(dates, dims="time", name="time")


@pytest.mark.parametrize(("calendar", "year"), [("standard", 365.2425), ("noleap", 365), ("360_day", 360)])
@pytest.mark.parametrize("time_units", [None, "hours since 2001-06-01"])
def test_the_day_of_the_year_is_that_of_the_date(calendar: str, year: float, time_units: str | None) -> None:
    """The date itself is read by xarray."""
    if calendar != "standard":
        pytest.importorskip("cftime")
    time = months(calendar)
    days = (time - time[0]).values
    days = days.astype("m8[s]").astype(float) / 86400
    rng = np.random.default_rng(0)
    tops = np.array([20.0, 100.0, 196.0, 300.0])  # days after 1 January
    values = 10 + 8 * np.cos(2 * np.pi * (days - tops[:, None]) / year) + rng.normal(0, 1.0, (4, 240))
    data = xr.DataArray(values, dims=("place", "time"), coords={"time": time}, name="tas", attrs={"units": "degC"})
    per = year if time_units is None else 24 * year
    model = Const1D(10) + Cosine1D(5, 1 / per, name="season", fixed={"frequency": True})
    fit = data.modelfit(model, dim="time", time_units=time_units, sigma=1.0)
    found = fit.modelfit.derived("season_maximum", "season_maximum_day", "season_wave_amplitude")
    dates = xr.decode_cf(found[["season_maximum"]])["season_maximum"]
    np.testing.assert_array_equal(dates.dt.dayofyear, np.floor(found["season_maximum_day"]))
    error = found["season_maximum_day_stderr"].values
    assert np.all(np.abs(found["season_maximum_day"].values - 1 - tops) < 4 * error)
    # The error of a phase: sigma / amplitude * sqrt(2 / n), in radians.
    expected = 1.0 / 8 * np.sqrt(2 / 240) * year / (2 * np.pi)
    np.testing.assert_allclose(error, expected, rtol=0.05)
    assert found["season_maximum_day"].attrs["units"] == "d"
    assert found["season_wave_amplitude"].attrs["units"] == "degC"
    assert found["season_wave_amplitude"].attrs["units_metadata"] == "temperature: difference"
    assert (found["season_wave_amplitude"] > 0).all()


def test_failed_fits_and_lazy_results() -> None:
    values = np.stack([Sine1D(-2.0, 0.2, 0.4)(X), np.full(X.size, np.nan)])
    data = xr.DataArray(values, dims=("y", "x"), coords={"x": X})
    model = Sine1D(2.0, 0.2, 0.3)
    fit = data.modelfit(model, dim="x", sigma=0.1)
    found = fit.modelfit.derived(data=data)
    assert found.isel(y=1).isnull().to_array().all()
    assert found.isel(y=0).notnull().to_array().all()
    lazy = data.chunk(y=1).modelfit(model, dim="x", sigma=0.1).modelfit.derived(data=data.chunk(y=1))
    assert all(v.chunks is not None for v in lazy.values())
    xr.testing.assert_allclose(lazy.compute(), found, rtol=1e-10)


def test_of_no_amplitude_there_is_no_maximum() -> None:
    x = xr.DataArray(np.zeros(X.size), dims="x", coords={"x": X})
    fit = x.modelfit(
        Sine1D(0.0, 0.2, 0.3, fixed={"frequency": True, "phase": True}), dim="x", sigma=0.1, covariance=True
    )
    found = fit.modelfit.derived("maximum", "wave_amplitude")
    assert found["wave_amplitude"].item() == 0
    assert np.isnan(found["maximum"].item())
