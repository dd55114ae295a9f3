"""Years and months on dates of calendars whose year has other days than astropy's: refused, with what to write."""

import re

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.models import Linear1D, Sine1D

from xr_modelfit.units.text import parse_unit
from xr_modelfit.units.times import CalendarError

YEARS = {"360_day": 360, "noleap": 365, "all_leap": 366}
LIKE_ASTROPY = ("standard", "proleptic_gregorian", "julian")
K = u.K


def series(calendar: str, units: str = "K") -> xr.DataArray:
    """A trend of 0.001 K a day over 1200 months."""
    time = xr.date_range("2000-01-16", periods=1200, freq="MS", calendar=calendar, use_cftime=True)
    days = np.array([(t - time[0]).days for t in time], dtype=float)
    return xr.DataArray(0.001 * days, dims="time", coords={"time": time}, attrs={"units": units})


@pytest.mark.parametrize("calendar", list(YEARS))
@pytest.mark.parametrize("given", ["start", "map", "bound", "model"])
def test_a_year_of_another_calendar_is_refused_with_what_to_write(calendar: str, given: str) -> None:
    data, per_year = series(calendar), K / u.yr
    model = Linear1D()
    options = {
        "start": {"p0": {"slope": 0 * per_year}},
        "map": {"p0": {"slope": xr.DataArray(0.0, attrs={"units": "K yr-1"})}},
        "bound": {"bounds": {"slope": (-1 * per_year, 1 * per_year)}},
        "model": {},
    }[given]
    if given == "model":
        model = Linear1D(0 * per_year, 0 * K)
    with pytest.raises(CalendarError, match=f"'{calendar}' of the coordinate it is {YEARS[calendar]} days") as caught:
        data.modelfit(model, dim="time", **options)
    unit = promised(str(caught.value))
    result = data.modelfit(Linear1D(), dim="time", p0={"slope": 0 * unit})
    np.testing.assert_allclose(result["slope"], 0.001 * YEARS[calendar], rtol=1e-9)
    text = result["slope"].attrs["units"]
    assert text == f"K ({YEARS[calendar]} d)-1"
    np.testing.assert_allclose((result["slope"].item() * parse_unit(text)).to_value(K / u.d), 0.001, rtol=1e-9)
    same = result.modelfit.derived("per year")["slope_per_year"]
    assert (same.attrs["units"], same.item()) == (text, pytest.approx(result["slope"].item(), rel=1e-9))


def promised(message: str) -> u.UnitBase:
    """The unit that a message says to define, and what to write with it."""
    found = re.search(r"Define it, (\w+) = (u\.def_unit\(.*?\)), and write (.*?)\. For", message)
    assert found is not None
    name, definition, written = found.groups()
    unit = eval(written, {"u": u, name: eval(definition, {"u": u})})
    return unit if isinstance(unit, u.UnitBase) else unit.unit


SPANS = {  # units that count years of 365.25 days, and how many
    "yr": (u.yr, 1),
    "year": (u.year, 1),
    "annum": (u.a, 1),
    "decayear": (u.dayr, 10),
    "hectoyear": (u.hyr, 100),
    "kiloyear": (u.kyr, 1000),
    "ten": (u.Unit("10 yr"), 10),
    "decade": (u.def_unit("decade", 10 * u.yr), 10),
    "own word": (u.def_unit("tenyears", 10 * u.yr), 10),
    "own of own": (u.def_unit("century", 10 * u.def_unit("tenyears", 10 * u.yr)), 100),
    "month": (u.def_unit("month", u.yr / 12), 1 / 12),
    "fortnights of years": (u.def_unit("odd", 14 * u.a), 14),
}


@pytest.mark.parametrize("calendar", list(YEARS))
@pytest.mark.parametrize("name", SPANS)
def test_a_year_under_any_name(calendar: str, name: str) -> None:
    """What the message says to write gives the slope over so many years of the calendar."""
    span, years = SPANS[name]
    data = series(calendar)
    with pytest.raises(CalendarError, match=calendar) as caught:
        data.modelfit(Linear1D(), dim="time", p0={"slope": 0 * (K / span)})
    factor = 0.1 if name == "ten" else 1.0  # "0.1 K / yr" is one of years
    result = data.modelfit(Linear1D(), dim="time", p0={"slope": 0 * promised(str(caught.value))})
    np.testing.assert_allclose(result["slope"], 0.001 * YEARS[calendar] * years * factor, rtol=1e-9)


@pytest.mark.parametrize("calendar", list(YEARS))
def test_a_year_inside_a_unit_of_another_kind(calendar: str) -> None:
    warming = u.def_unit("warming", K / u.dayr)
    with pytest.raises(CalendarError) as caught:
        series(calendar).modelfit(Linear1D(), dim="time", p0={"slope": 0 * warming})
    assert promised(str(caught.value)) == K / u.def_unit("own", YEARS[calendar] * 10 * u.d)


@pytest.mark.parametrize("unit", [u.def_unit("yr365", 365 * u.d), u.wk, u.fortnight, u.def_unit("ten", 3652.5 * u.d)])
def test_what_is_defined_in_days_is_taken(unit: u.UnitBase) -> None:
    result = series("noleap").modelfit(Linear1D(), dim="time", p0={"slope": 0 * (K / unit)})
    np.testing.assert_allclose(result["slope"], 0.001 * unit.to(u.d), rtol=1e-9)


@pytest.mark.parametrize("calendar", list(YEARS))
def test_a_frequency_per_year(calendar: str) -> None:
    """Fixed at one per year of 365.25 days, it destroyed the amplitude."""
    data = series(calendar)
    days = YEARS[calendar]
    t = np.array([(d - data["time"].values[0]).days for d in data["time"].values], dtype=float)
    wave = data.copy(data=5 * np.sin(2 * np.pi * t / days))
    model = Sine1D(4, 1, 0.1, fixed={"frequency": True})
    with pytest.raises(CalendarError, match=rf"write 1 / yr{days}") as caught:
        wave.modelfit(model, dim="time", p0={"frequency": 1 / u.yr})
    told = wave.modelfit(model, dim="time", p0={"frequency": 1 * promised(str(caught.value))})
    np.testing.assert_allclose(abs(told["amplitude"]), 5, rtol=1e-6)
    assert told["frequency"].item() == pytest.approx(1)
    result = wave.modelfit(model, dim="time", p0={"frequency": 1 / (days * u.d)})
    np.testing.assert_allclose(abs(result["amplitude"]), 5, rtol=1e-6)


@pytest.mark.parametrize("calendar", LIKE_ASTROPY)
def test_a_julian_year_is_that_of_astropy(calendar: str) -> None:
    """Of 365.25 days; of the Gregorian calendars as well, as the documentation says."""
    result = series(calendar).modelfit(Linear1D(), dim="time", p0={"slope": 0 * K / u.yr})
    np.testing.assert_allclose(result["slope"], 0.36525, rtol=1e-9)


@pytest.mark.parametrize("calendar", list(YEARS))
def test_what_has_nothing_to_do_with_the_coordinate(calendar: str) -> None:
    """Data per year keeps its label; durations and numbers have no calendar."""
    data = series(calendar, "mm yr-1")
    result = data.modelfit(Linear1D(), dim="time", p0={"intercept": 0 * u.mm / u.yr, "slope": 0 * u.mm / u.yr / u.d})
    np.testing.assert_allclose(result["slope"], 0.001, rtol=1e-9)
    days = xr.DataArray(np.arange(10.0), dims="t", coords={"t": ("t", np.arange(10.0), {"units": "days"})})
    assert days.assign_attrs(units="K").modelfit(Linear1D(), "t", p0={"slope": 0 * K / u.yr})["slope"] == 365.25


def test_undecoded_dates_have_a_calendar_too() -> None:
    attrs = {"units": "days since 2000-01-01", "calendar": "360_day"}
    data = xr.DataArray(np.arange(10.0), dims="t", coords={"t": ("t", np.arange(10.0), attrs)}, attrs={"units": "K"})
    model: Model = Linear1D()
    with pytest.raises(CalendarError, match="'360_day'"):
        data.modelfit(model, "t", p0={"slope": 0 * K / u.yr})
