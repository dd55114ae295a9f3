"""Trends per decade and per year: against counts of whole calendar years, and units against astropy's."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling.models import Const1D, Linear1D, Polynomial1D, Sine1D
from astropy.units import imperial

from xr_modelfit import tutorial
from xr_modelfit.units.text import parse_unit

# Years after which the calendar begins anew, and the days of ten years.
CALENDARS = {
    "360_day": (1, 3600.0),
    "noleap": (1, 3650.0),
    "all_leap": (1, 3660.0),
    "julian": (4, 3652.5),
    "standard": (400, 3652.425),
    "proleptic_gregorian": (400, 3652.425),
}


def rising(calendar: str, noise: float = 0.0, **attrs: str) -> xr.DataArray:
    """Exactly one unit more every ten years, by the number of the year."""
    years = 1600 + CALENDARS[calendar][0] * np.arange(9)
    if calendar in ("standard", "proleptic_gregorian"):
        time: Any = np.array([f"{year}-01-01" for year in years], dtype="M8[s]")
        if calendar == "standard":
            cftime = pytest.importorskip("cftime")
            time = [cftime.datetime(year, 1, 1, calendar=calendar) for year in years]
    else:
        cftime = pytest.importorskip("cftime")
        time = [cftime.datetime(year, 1, 1, calendar=calendar) for year in years]
    values = years / 10 + np.random.default_rng(0).normal(0, noise, (2, years.size))
    return xr.DataArray(values, dims=("place", "time"), coords={"time": time}, name="tas", attrs=attrs)


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("time_units", [None, "hours since 1850-03-01"])
def test_a_decade_is_ten_years_of_the_calendar(calendar: str, time_units: str | None) -> None:
    data = rising(calendar, units="degC")
    fit = data.modelfit(Linear1D(), dim="time", time_units=time_units)
    found = fit.modelfit.derived("per decade", "slope per year")
    assert list(found) == ["slope_per_decade", "slope_per_decade_stderr", "slope_per_year", "slope_per_year_stderr"]
    np.testing.assert_allclose(found["slope_per_decade"], 1.0, rtol=1e-9)
    np.testing.assert_allclose(found["slope_per_year"], 0.1, rtol=1e-9)
    unit = parse_unit(found["slope_per_decade"].attrs["units"])
    days = (1 * u.deg_C / unit).to_value(u.d)
    # astropy has one year, which is that of the Gregorian calendar but for 2 in 10^5
    assert days == pytest.approx(CALENDARS[calendar][1], rel=3e-5)
    assert found["slope_per_decade"].attrs["units_metadata"] == "temperature: difference"
    assert f"{CALENDARS[calendar][1] / 10:.10g} days" in found["slope_per_decade"].attrs["comment"]


def test_errors_are_those_of_the_slope() -> None:
    """By the closed form of a straight line: ``sigma / sqrt(sum (t - <t>)^2)``."""
    data = rising("noleap", noise=0.2, units="mm/day")
    fit = data.modelfit(Linear1D(), dim="time", sigma=0.2)
    found = fit.modelfit.derived("per decade")
    decades = np.arange(9) / 10
    expected = 0.2 / np.sqrt(((decades - decades.mean()) ** 2).sum())
    np.testing.assert_allclose(found["slope_per_decade_stderr"], expected, rtol=1e-9)
    for i in range(2):
        slope = np.polyfit(decades, data.values[i], 1)[0]
        np.testing.assert_allclose(found["slope_per_decade"].values[i], slope, rtol=1e-9)
    unit = parse_unit(found["slope_per_decade_stderr"].attrs["units"])
    assert (1 * unit).to_value(u.mm / u.d**2) == pytest.approx(1 / 3650)


def test_numbers_of_years_and_of_seconds() -> None:
    series = tutorial.seasonal_series(2, 3).isel(lat=1)
    fit = series.modelfit(Linear1D(), dim="time")
    found = fit.modelfit.derived("per decade")
    np.testing.assert_allclose(found["slope_per_decade"], 10 * fit["slope"], rtol=1e-12)
    assert found["slope_per_decade"].attrs["units"] == "degC decade-1"
    seconds = series.assign_coords(time=(series["time"] * 31557600.0).assign_attrs(units="s"))
    same = seconds.modelfit(Linear1D(), dim="time").modelfit.derived("per decade")
    np.testing.assert_allclose(same["slope_per_decade"], found["slope_per_decade"], rtol=1e-9)


def test_other_forms_of_a_slope() -> None:
    data = rising("noleap", units="K")

    def line(t, rate=1e-4, level=160.0):  # type: ignore[no-untyped-def]
        return rate * t + level

    for model, name in (
        (Polynomial1D(1), "c1"),
        (line, "rate"),
        (Const1D(160) + Linear1D(fixed={"intercept": True}), "slope_1"),
    ):
        fit = data.modelfit(model, dim="time")
        found = fit.modelfit.derived("per decade")
        assert list(found) == [f"{name}_per_decade", f"{name}_per_decade_stderr"]
        np.testing.assert_allclose(found[f"{name}_per_decade"], 1.0, rtol=1e-7)
    fit = data.modelfit(Linear1D(), dim="time", p0={"slope": 0.1 * u.mK / u.d})
    np.testing.assert_allclose(fit.modelfit.derived("per decade")["slope_per_decade"], 1.0, rtol=1e-9)
    bare = rising("noleap").modelfit(Linear1D(), dim="time").modelfit.derived("per decade")["slope_per_decade"]
    np.testing.assert_allclose(bare, 1.0, rtol=1e-9)
    assert "units" not in bare.attrs


@pytest.mark.parametrize("data_unit", ["K", "degC", "degF"])
@pytest.mark.parametrize("given", [u.K, u.deg_C, imperial.deg_F, u.mK])
def test_a_rate_of_temperature_in_any_unit(data_unit: str, given: u.UnitBase) -> None:
    """Per time there is no zero point: a kelvin per year is a degree Celsius per year, and 1.8 Fahrenheit."""
    data = rising("julian", units=data_unit)

    def line(t, rate=0.0, level=160.0):  # type: ignore[no-untyped-def]
        return rate * t + level

    fit = data.modelfit(line, dim="time", p0={"rate": 0 * (given / u.yr)})
    size = {"K": 1.0, "deg_C": 1.0, "deg_F": 1.8, "mK": 1000.0}[given.name] / (1.8 if data_unit == "degF" else 1.0)
    np.testing.assert_allclose(fit["rate"], 0.1 * size, rtol=1e-7)
    found = fit.modelfit.derived("per decade")
    np.testing.assert_allclose(found["rate_per_decade"], 1.0, rtol=1e-7)
    assert found["rate_per_decade"].attrs["units"] == f"{data_unit} decade-1"


def test_a_temperature_is_no_rate() -> None:
    data = rising("julian", units="degC")

    def line(t, rate=0.0, level=160.0):  # type: ignore[no-untyped-def]
        return rate * t + level

    fit = data.modelfit(line, dim="time")
    with pytest.raises(ValueError, match="'level' is not known to be a change"):
        fit.modelfit.derived("level per decade")


def test_beside_a_season_and_of_several_variables() -> None:
    time = xr.date_range("1980-01-01", periods=240, freq="MS")
    series = tutorial.seasonal_series(2, 3, n_years=20).assign_coords(time=time).isel(lat=1)
    model = Linear1D(name="trend") + Sine1D(5, 1 / 365.2425, name="season", fixed={"frequency": True})
    both = xr.Dataset({"a": series, "b": series * 2}).modelfit(model, dim="time")
    found = both.modelfit.derived("per decade", data="b")
    assert list(found) == ["b_trend_slope_per_decade", "b_trend_slope_per_decade_stderr"]
    a = both.modelfit.derived("trend_slope_per_decade", data="a")["a_trend_slope_per_decade"]
    np.testing.assert_allclose(found["b_trend_slope_per_decade"], 2 * a, rtol=1e-6)
    np.testing.assert_allclose(a, both["a_trend_slope"] * 3652.425, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what old versions of matplotlib import
def test_lazy_and_drawn() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    data = rising("noleap", noise=0.1, units="K")
    fit = data.chunk(place=1).modelfit(Linear1D(), dim="time")
    found = fit.modelfit.derived("per decade")
    assert found["slope_per_decade"].chunks is not None
    expected = data.modelfit(Linear1D(), dim="time").modelfit.derived("per decade")
    xr.testing.assert_allclose(found.compute(), expected)
    picture = fit.modelfit.plot("slope_per_decade")
    np.testing.assert_allclose(picture.artists["slope_per_decade"].get_ydata(), expected["slope_per_decade"])


WRONG = {
    "no time": (xr.DataArray(np.arange(9.0), dims="x"), Linear1D(), "per decade", ("'x'", "Use dates")),
    "a length": (
        xr.DataArray(np.arange(9.0), dims="x", coords={"x": ("x", np.arange(9.0), {"units": "m"})}),
        Linear1D(), "per year", ("'x'", "unit of time"),
    ),
    "no slope": (rising("proleptic_gregorian"), Const1D(), "per decade", ("Linear1D", "'amplitude'")),
    "no parameter": (rising("proleptic_gregorian"), Linear1D(), "slop_per_decade", ("'slop_per_decade'", "'slope'")),
    "no rate": (rising("proleptic_gregorian"), Linear1D(), "intercept per decade", ("'intercept'", "lambda intercept")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    data, model, asked, words = WRONG[name]
    fit = data.modelfit(model, dim=data.dims[-1])
    with pytest.raises(ValueError, match="derived got") as caught:
        fit.modelfit.derived(asked)
    for word in words:
        assert word in str(caught.value)
