"""Dates and durations as coordinates, against hand calculations, exact fractions and closed forms."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import contextlib
import datetime
import json
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Linear1D, Planar2D, Polynomial1D, Sine1D
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

import xr_modelfit
from xr_modelfit import FitStatus
from xr_modelfit.units.text import parse_unit
from xr_modelfit.units.times import CalendarError, TimeAxis

pytestmark = pytest.mark.quick_share(3)

cftime = pytest.importorskip("cftime")

NS = {"D": 86_400_000_000_000, "h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000}
NS |= {"ms": 1_000_000, "us": 1000, "ns": 1}
WORDS = {"D": "days", "h": "hours", "m": "minutes", "s": "seconds"}
WORDS |= {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
STORED = ("s", "ms", "us", "ns")
YEAR = 365.25
EPOCH = np.datetime64("1970-01-01")


# --- data and authorities


def days_of(dates: Any, epoch: Any = EPOCH) -> np.ndarray:
    """Days since an epoch of whole-day dates of numpy: exact."""
    return ((np.asarray(dates).astype("M8[D]") - np.datetime64(epoch, "D")) / np.timedelta64(1, "D")).astype(float)


def nearest(nanoseconds: int, unit: str = "D", epoch: int = 0) -> float:
    """The exact number, rounded once: Python divides whole numbers so."""
    return float(Fraction(nanoseconds - epoch, NS[unit]))


def numbers(values: Any, time_units: str | None = None) -> np.ndarray:
    """What the package counts."""
    variable = xr.Variable(("t",), values)
    return np.asarray(TimeAxis.of(variable, time_units).numbers(variable, "The coordinate").values)


@custom_model
def season(t, level=0.0, trend=0.0, cosine=1.0, sine=1.0):
    """A trend and one oscillation a year of 365.25 days."""
    return level + trend * t + cosine * np.cos(2 * np.pi / 365.25 * t) + sine * np.sin(2 * np.pi / 365.25 * t)


@custom_model
def season_360(t, level=0.0, trend=0.0, cosine=1.0, sine=1.0):
    """A trend and one oscillation a year of 360 days."""
    return level + trend * t + cosine * np.cos(2 * np.pi / 360 * t) + sine * np.sin(2 * np.pi / 360 * t)


@custom_model
def season_365(t, level=0.0, trend=0.0, cosine=1.0, sine=1.0):
    """A trend and one oscillation a year of 365 days."""
    return level + trend * t + cosine * np.cos(2 * np.pi / 365 * t) + sine * np.sin(2 * np.pi / 365 * t)


@custom_model
def decay(t, amplitude=1.0, tau=10.0):
    """A decay from an epoch on."""
    return amplitude * np.exp(-t / tau)


SEASON = ("level", "trend", "cosine", "sine")


def seasonal(days: np.ndarray, values: np.ndarray, year: float = YEAR) -> tuple[np.ndarray, np.ndarray]:
    """Trend and season of one series by numpy, and standard errors; centred for the sake of rounding."""
    kept = np.isfinite(values)
    t, y = days[kept], values[kept].astype(float)
    middle, half = t.mean(), np.ptp(t) / 2
    w = 2 * np.pi / year
    design = np.stack([np.ones(t.size), (t - middle) / half, np.cos(w * t), np.sin(w * t)], axis=1)
    p = np.linalg.lstsq(design, y, rcond=None)[0]
    back = np.eye(4)  # from level at the middle and change over half the series
    back[0, 1], back[1, 1] = -middle / half, 1 / half
    variance = ((y - design @ p) ** 2).sum() / (y.size - 4)
    covariance = back @ np.linalg.inv(design.T @ design) @ back.T * variance
    return back @ p, np.sqrt(np.diagonal(covariance))


def monthly(periods: int = 240) -> xr.DataArray:
    """Three series of monthly temperatures with trend, season, noise and gaps."""
    rng = np.random.default_rng(12)
    time = pd.date_range("1988-03-15", periods=periods, freq="MS", unit="s")
    t = days_of(time.values)
    phase = np.array([[0.3], [1.9], [-2.0]])
    values = 280.0 + 0.0004 * t + 9 * np.cos(2 * np.pi / YEAR * t - phase) + rng.normal(0.0, 0.5, (3, periods))
    values[0, ::7] = np.nan
    values[1, 50:80] = np.nan
    return xr.DataArray(values, dims=("place", "time"), coords={"time": time}, attrs={"units": "K"}, name="tas")


def assert_season(result: xr.Dataset, data: xr.DataArray, days: np.ndarray, year: float = YEAR) -> None:
    """Every series is at numpy's minimum, to a millionth of a standard error, which the conditions allow."""
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for i in range(data.sizes["place"]):
        p, stderr = seasonal(days, data.isel(place=i).transpose("time").values, year)
        for name, value, error in zip(SEASON, p, stderr, strict=True):
            assert abs(result[name].values[i] - value) < 1e-6 * error, (name, i)
            np.testing.assert_allclose(result[f"{name}_stderr"].values[i], error, rtol=1e-6)


def assert_bits(got: xr.Dataset, expected: xr.Dataset) -> None:
    """The same numbers to the last bit."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=str(name), strict=True)


def line(dates: Any, attrs: dict[str, Any] | None = None) -> xr.DataArray:
    """3 K at the first date, 2 K a day."""
    dates = np.asarray(dates)
    values = 3.0 + 2.0 * np.arange(dates.size)
    return xr.DataArray(values, dims="time", coords={"time": ("time", dates)}, attrs=attrs or {"units": "K"})


JANUARY = np.arange("2000-01-01", "2000-01-11", dtype="M8[D]")  # 2000-01-01 is day 10957


def event(n: int = 120, unit: str = "s") -> xr.DataArray:
    """A peak on 2001-06-15, day 11488, of a standard deviation of 9 days."""
    time = (np.datetime64("2001-04-20", "D") + np.arange(n)).astype(f"M8[{unit}]")
    values = 5.0 * np.exp(-0.5 * ((days_of(time) - 11488.0) / 9.0) ** 2)
    return xr.DataArray(values, dims="time", coords={"time": time}, name="flow")


def unreadable(array: xr.DataArray) -> xr.DataArray:
    """The same, but reading any sample fails the test."""

    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    lazy = dask.array.from_array(array.values, chunks=-1)
    return array.copy(data=lazy.map_blocks(read, dtype=array.dtype, meta=np.empty((0,) * array.ndim)))


# --- dates as numbers


@pytest.mark.parametrize("unit", list(NS))
def test_each_resolution_is_counted_from_1970(unit: str) -> None:
    """Whole steps of the resolution, before and after the epoch."""
    steps = np.array([-700_000, -1, 0, 1, 59, 86_399, 1_000_003])
    got = numbers(steps.astype(f"M8[{unit}]"))
    # A step is exactly a fraction of a day: one rounding of the quotient.
    np.testing.assert_allclose(got, [nearest(int(s) * NS[unit]) for s in steps], rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2000-02-29", 11016),
        ("2000-03-01", 11017),
        ("1900-02-28", -25509),
        ("1900-03-01", -25508),  # no leap year
        ("1582-10-15", -141427),
        ("1582-10-14", -141428),  # numpy's calendar knows no reform
        ("0001-01-01", -719162),  # 1 - date(1970, 1, 1).toordinal()
        ("9999-12-31", 2932896),
    ],
)
@pytest.mark.parametrize("unit", ["D", "s", "ms", "us"])
def test_well_known_days(date: str, day: int, unit: str) -> None:
    assert datetime.date.fromisoformat(date).toordinal() - 719163 == day
    assert numbers(np.array([date], f"M8[{unit}]")).tolist() == [day]
    assert Time(date, scale="tai").mjd - 40587 == day


def test_times_of_the_day_agree_with_astropy() -> None:
    """To the resolution of a day number in double precision, 2e-12 days: astropy sums two doubles."""
    dates = np.array(["1912-06-23T04:05:06.789", "1969-12-31T23:59:59.999", "2024-02-29T12:34:56.5"], "M8[ms]")
    theirs = Time(dates, scale="tai").mjd - 40587
    np.testing.assert_allclose(numbers(dates), theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("unit", list(NS))
def test_other_units(unit: str) -> None:
    """Each unit of time, from an epoch with a time of the day, before and after it."""
    dates = np.array(["2015-03-01T05:30", "2015-02-28T23:59:59.25", "1999-01-01"], "M8[ms]")
    epoch = int(np.datetime64("2015-03-01T06:00", "ms").astype(int)) * 10**6
    got = numbers(dates, f"{WORDS[unit]} since 2015-03-01 06:00")
    expected = [nearest(int(d.astype(int)) * 10**6, unit, epoch) for d in dates]
    np.testing.assert_allclose(got, expected, rtol=4e-16, atol=0)


@pytest.mark.parametrize("stored", ["ns", "us", "s"])
def test_nat_is_nan(stored: str) -> None:
    got = numbers(np.array(["NaT", "1970-01-03", "NaT"], f"M8[{stored}]"))
    np.testing.assert_array_equal(got, [np.nan, 2.0, np.nan])
    got = numbers(np.array(["NaT", 3], "m8[D]").astype(f"m8[{stored}]"))
    np.testing.assert_array_equal(got, [np.nan, 3.0])


@pytest.mark.parametrize("unit", list(NS))
def test_durations(unit: str) -> None:
    """Of either sign: -1 hour is minus what 1 hour is."""
    steps = np.array([-500, -7, -1, 0, 1, 7, 500])
    got = numbers(steps.astype(f"m8[{unit}]"))
    np.testing.assert_allclose(got, [nearest(int(s) * NS[unit]) for s in steps], rtol=3e-16, atol=0)
    np.testing.assert_array_equal(got, -got[::-1])


def test_durations_in_their_own_unit_are_whole_numbers() -> None:
    steps = np.array([-500, -1, 0, 3])
    for unit, word in WORDS.items():
        np.testing.assert_array_equal(numbers(steps.astype(f"m8[{unit}]"), word), steps)


def test_empty_arrays() -> None:
    assert numbers(np.array([], "M8[s]")).shape == (0,)
    assert numbers(np.array([], "m8[s]")).shape == (0,)
    dates = xr.Variable(("t",), np.array([cftime.DatetimeNoLeap(2000, 1, 1)]))
    axis = TimeAxis.of(dates)
    none = axis.numbers(dates[:0], "The coordinate")
    assert none.shape == (0,)
    assert none.dtype == np.float64


LIMIT = int(np.datetime64("2262-04-01", "ns").astype(np.int64))
INSTANTS = st.one_of(
    st.integers(-LIMIT, LIMIT),
    st.integers(-(10**9), 10**9),
    st.integers(-LIMIT // 10**9, LIMIT // 10**9).map(lambda second: second * 10**9),
)


@settings(max_examples=300, deadline=None)
@given(
    instant=INSTANTS,
    unit=st.sampled_from(list(NS)),
    epoch=st.sampled_from(["1970-01-01", "2015-03-01 06:30", "1800-02-28"]),
)
def test_numbers_are_exact_fractions_rounded_once(instant: int, unit: str, epoch: str) -> None:
    """No date of numpy's range is off by more than the one rounding that a float makes."""
    origin = int(np.datetime64(epoch.replace(" ", "T"), "ns").astype(np.int64))
    got = numbers(np.array([instant], "M8[ns]"), f"{WORDS[unit]} since {epoch}")
    assert got[0] == nearest(instant, unit, origin)


@settings(max_examples=200, deadline=None)
@given(instant=INSTANTS, unit=st.sampled_from(list(NS)), word=st.sampled_from(list(NS)))
def test_durations_are_exact_fractions_rounded_once(instant: int, unit: str, word: str) -> None:
    step = instant // NS[unit]
    got = numbers(np.array([step], f"m8[{unit}]"), WORDS[word])
    assert got[0] == nearest(step * NS[unit], word)


@settings(max_examples=200, deadline=None)
@given(second=st.integers(-LIMIT // 10**9, LIMIT // 10**9), unit=st.sampled_from(list(NS)))
def test_the_stored_resolution_makes_no_difference(second: int, unit: str) -> None:
    """The same date in seconds to nanoseconds and as cftime gives the same bits."""
    date = np.array([second], "M8[s]")
    got = [numbers(date.astype(f"M8[{stored}]"), f"{WORDS[unit]} since 1990-05-17 08:00") for stored in STORED]
    one = cftime.DatetimeProlepticGregorian(1970, 1, 1) + datetime.timedelta(seconds=second)
    got.append(numbers(np.array([one]), f"{WORDS[unit]} since 1990-05-17 08:00"))
    assert len({value.tobytes() for value in got}) == 1


MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def same_year(leap: int) -> Callable[[int, int, int], int]:
    """Days since 1970-01-01 where every year has 365 days, or 366."""
    before = [0, *accumulate(m + (leap if i == 1 else 0) for i, m in enumerate(MONTHS))]
    return lambda y, m, d: (365 + leap) * (y - 1970) + before[m - 1] + d - 1


def julian(y: int, m: int, d: int) -> int:
    """Days since 1970-01-01 of the Gregorian calendar of a date of the Julian one, by day numbers."""
    a = (14 - m) // 12
    return d + (153 * (m + 12 * a - 3) + 2) // 5 + 365 * (y + 4800 - a) + (y + 4800 - a) // 4 - 32083 - 2440588


def gregorian(y: int, m: int, d: int) -> int:
    return datetime.date(y, m, d).toordinal() - 719163


CALENDARS: dict[str, Callable[[int, int, int], int]] = {
    "360_day": lambda y, m, d: 360 * (y - 1970) + 30 * (m - 1) + d - 1,
    "noleap": same_year(0),
    "all_leap": same_year(1),
    "proleptic_gregorian": gregorian,
    "standard": lambda y, m, d: gregorian(y, m, d) if (y, m, d) > (1582, 10, 14) else julian(y, m, d),
    "julian": lambda y, m, d: julian(y, m, d) - 13,  # 1970-01-01 of the Julian calendar comes 13 days later
}
DATES = [(1970, 1, 1), (1969, 12, 28), (2000, 2, 28), (2000, 3, 1), (1900, 3, 1), (1582, 10, 15), (1582, 10, 4)]
DATES += [(1, 1, 1), (2101, 7, 9), (9999, 12, 28)]


@pytest.mark.parametrize("calendar", list(CALENDARS))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_every_calendar_counts_its_own_days(calendar: str, way: str) -> None:
    """By hand, with times of the day; NaN and None where there is no date."""
    dates = [cftime.datetime(*date, 18, 45, calendar=calendar) for date in DATES]
    values = np.array([*dates, np.nan, None], dtype=object)
    variable = xr.Variable(("t",), values if way == "computed" else dask.array.from_array(values, chunks=(4, 5, 3)))
    axis = TimeAxis.of(variable)
    assert axis.described() == {"units": "days since 1970-01-01", "calendar": calendar}
    got = axis.numbers(variable, "The coordinate")
    assert (got.chunks is not None) == (way == "lazy")
    expected = [CALENDARS[calendar](*date) + 0.78125 for date in DATES]  # 18.75 / 24, exact
    np.testing.assert_array_equal(got.values, [*expected, np.nan, np.nan])


@pytest.mark.parametrize("calendar", list(CALENDARS))
def test_microseconds_of_cftime(calendar: str) -> None:
    """As ``cftime.date2num`` counts them, which is exact for whole microseconds."""
    dates = np.array([cftime.datetime(1951, 2, 27, 23, 59, 59, 999_999, calendar=calendar)])
    whole = int(cftime.date2num(dates, "microseconds since 2000-01-01", calendar=calendar)[0])
    assert numbers(dates, "microseconds since 2000-01-01").tolist() == [whole]
    assert numbers(dates, "hours since 2000-01-01")[0] == float(Fraction(whole, 3_600_000_000))


@pytest.mark.parametrize("calendar", ["gregorian", "365_day", "366_day"])
def test_other_names_of_a_calendar(calendar: str) -> None:
    dates = np.array([cftime.datetime(1970, 1, 2, calendar=calendar)])
    name = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}[calendar]
    assert TimeAxis.of(xr.Variable(("t",), dates)).calendar == name
    assert numbers(dates).tolist() == [1.0]


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_lazy_dates_stay_lazy(unit: str) -> None:
    dates = np.array(["1970-01-02", "NaT", "1969-12-31T12", "2000-01-01T06"], f"M8[{unit}]")
    variable = xr.Variable(("t",), dask.array.from_array(dates, chunks=(1, 2, 1)))
    got = TimeAxis.of(variable).numbers(variable, "The coordinate")
    assert got.chunks == ((1, 2, 1),)
    np.testing.assert_array_equal(got.values, [1.0, np.nan, -0.5, 10957.25])


@pytest.mark.parametrize(
    ("time_units", "recorded"),
    [
        ("days since 2000-01-01", "days since 2000-01-01"),
        ("hours since 2015-03-01", "hours since 2015-03-01"),
        ("hours since 2015-03-01 12:00", "hours since 2015-03-01 12:00"),
        ("d since 2000-1-1", "days since 2000-01-01"),
        ("Days since 2000-01-01 00:00:00", "days since 2000-01-01"),
        ("min since 1999-12-31T23:30", "minutes since 1999-12-31 23:30"),
        ("seconds since 1970-01-01T00:00:00Z", "seconds since 1970-01-01"),
        ("seconds since 1970-01-01 00:00:00 UTC", "seconds since 1970-01-01"),
        ("  ms since 2000-01-01 ", "milliseconds since 2000-01-01"),
        ("days since 0001-01-01", "days since 0001-01-01"),
        ("days since 2000-01-01 12:00 UTC", "days since 2000-01-01 12:00"),
        ("days since 2000-01-01 6:0:0", "days since 2000-01-01 06:00:00"),
    ],
)
def test_spellings_of_time_units(time_units: str, recorded: str) -> None:
    """What CF and UDUNITS allow; the line goes through 3 K on 2000-01-01 and rises by 2 K a day."""
    result = line(JANUARY).modelfit(Linear1D(), "time", time_units=time_units)
    got = result["fit_status"].attrs["time_units"]
    word, _, epoch = recorded.partition(" since ")
    assert got.partition(" since ")[0] == word
    assert pd.Timestamp(got.partition(" since ")[2]) == pd.Timestamp(epoch)
    unit = next(key for key, name in WORDS.items() if name == word)
    per_unit = NS[unit] / NS["D"]
    from_epoch = (np.datetime64("2000-01-01", "s") - np.datetime64(pd.Timestamp(epoch), "s")) / np.timedelta64(1, "D")
    np.testing.assert_allclose(result["slope"], 2.0 * per_unit, rtol=1e-11)
    np.testing.assert_allclose(result["intercept"], 3.0 - 2.0 * from_epoch, rtol=1e-9)


# --- trend and season


@pytest.mark.parametrize("stored", STORED)
def test_trend_and_season_of_months_with_gaps(stored: str) -> None:
    """Against numpy, and bit for bit the same as from seconds."""
    data = monthly()
    days = days_of(data["time"].values)
    other = data.assign_coords(time=data["time"].values.astype(f"M8[{stored}]"))
    assert other["time"].dtype == f"M8[{stored}]"
    result = other.modelfit(season(), "time")
    assert_season(result, data, days)
    assert_bits(result, data.modelfit(season(), "time"))


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian"])
def test_dates_of_cftime_give_the_bits_of_numpy(calendar: str) -> None:
    data = monthly()
    dates = xr.date_range("1988-03-15", periods=240, freq="MS", calendar=calendar, use_cftime=True)
    result = data.assign_coords(time=dates).modelfit(season(), "time")
    assert_bits(result, data.modelfit(season(), "time"))
    assert result["fit_status"].attrs["time_calendar"] == calendar


def trend_and_sine(frequency: float = 1 / YEAR, fixed: bool = True) -> Model:
    """Astropy's models of a trend and a season."""
    model = Linear1D(0.0004, 280.0) + Sine1D(8.0, frequency, 0.1)
    model.frequency_1.fixed = fixed
    return model


def test_amplitude_and_phase_of_astropys_sine() -> None:
    """A sin(2 pi (f t + p)) is A cos(2 pi p) sin(...) + A sin(2 pi p) cos(...): numpy's two tell A and p."""
    data = monthly()
    result = data.modelfit(trend_and_sine(), "time")
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for i in range(3):
        (level, trend, cosine, sine), _ = seasonal(days_of(data["time"].values), data.values[i])
        one = result.isel(place=i)
        amplitude, phase = np.hypot(cosine, sine), np.arctan2(cosine, sine) / (2 * np.pi)
        away = (one["phase_1"] - phase) + (0.5 if one["amplitude_1"] < 0 else 0.0)
        for name, difference in (
            ("amplitude_1", abs(one["amplitude_1"]) - amplitude),
            ("phase_1", away - np.round(away)),
            ("slope_0", one["slope_0"] - trend),
            ("intercept_0", one["intercept_0"] - level),
        ):
            # An iterative fit: it ends within 1e-4 standard errors.
            assert abs(difference) < 1e-4 * one[f"{name}_stderr"], name


@pytest.mark.parametrize("fixed", [True, False])
def test_bits_of_an_iterative_fit(fixed: bool) -> None:
    """Every resolution, and cftime."""
    data = monthly()
    expected = data.modelfit(trend_and_sine(fixed=fixed), "time")
    assert (expected["fit_status"] == FitStatus.CONVERGED).all()
    dates: list[Any] = [data["time"].values.astype(f"M8[{stored}]") for stored in STORED]
    dates.append(xr.date_range("1988-03-15", periods=240, freq="MS", use_cftime=True))
    for time in dates:
        assert_bits(data.assign_coords(time=time).modelfit(trend_and_sine(fixed=fixed), "time"), expected)


@pytest.mark.parametrize("way", ["computed", "lazy dates", "lazy data", "lazy both"])
def test_lazy_dates_give_the_same_bits(way: str) -> None:
    """Of numpy and of cftime, chunked along the dim that is fitted."""
    data = monthly()
    expected = data.modelfit(season(), "time")
    objects = xr.date_range("1988-03-15", periods=240, freq="MS", use_cftime=True).values
    for dates in (data["time"].values, objects):
        lazy = dask.array.from_array(dates, chunks=(100, 90, 50)) if way in ("lazy dates", "lazy both") else dates
        one = data.drop_vars("time")
        one = one.chunk(place=1, time=70) if way in ("lazy data", "lazy both") else one
        one = one.assign_coords(date=("time", lazy))
        assert_bits(one.modelfit(season(), "time", coords="date").compute(), expected)


@pytest.mark.parametrize(("calendar", "model", "year"), [("360_day", season_360, 360.0), ("noleap", season_365, 365.0)])
def test_other_calendars_by_hand(calendar: str, model: Any, year: float) -> None:
    """Each year has the same length: 4 sin(2 pi day / year + 1) and 0.002 a day come back, and against numpy."""
    dates = xr.date_range(
        "1991-01-16", periods=144, freq="MS", calendar=calendar, use_cftime=True
    ) + datetime.timedelta(15)
    days = np.array([CALENDARS[calendar](d.year, d.month, d.day) for d in dates], dtype=float)
    values = 5.0 + 0.002 * days + 4.0 * np.sin(2 * np.pi * days / year + 1.0)
    values = values + np.array([[0.0], [1.0]]) * np.random.default_rng(3).normal(0, 0.3, 144)
    values[:, [3, 4, 50]] = np.nan
    data = xr.DataArray(values, dims=("place", "time"), coords={"time": dates}, attrs={"units": "K"})
    result = data.modelfit(model(), "time")
    assert_season(result.isel(place=[1]), data.isel(place=[1]), days, year)
    exact = result.isel(place=0)
    # Noise-free, with a level 9000 days away from the data: 1e-9 is some thousand roundings.
    np.testing.assert_allclose(exact["trend"], 0.002, rtol=1e-9)
    np.testing.assert_allclose(exact["level"], 5.0, rtol=1e-8)
    np.testing.assert_allclose(np.hypot(exact["sine"], exact["cosine"]), 4.0, rtol=1e-10)
    np.testing.assert_allclose(np.arctan2(exact["cosine"], exact["sine"]), 1.0, rtol=1e-9)


def test_february_has_thirty_days_where_it_has() -> None:
    """28 February to 1 March: 1, 2 or 3 days, as the calendar has it."""
    for calendar, apart in (("noleap", 1.0), ("standard", 2.0), ("all_leap", 2.0), ("360_day", 3.0)):
        dates = np.array(
            [cftime.datetime(2000, 2, 28, calendar=calendar), cftime.datetime(2000, 3, 1, calendar=calendar)]
        )
        data = xr.DataArray([0.0, 6.0], dims="time", coords={"time": dates})
        np.testing.assert_allclose(data.modelfit(Linear1D(), "time")["slope"], 6.0 / apart, rtol=1e-9)


def test_a_peak_over_dates() -> None:
    """Its mean is a day number: 2001-06-15 is 31 years of 365 days, 8 leap days and 165 days after 1970-01-01."""
    assert 31 * 365 + 8 + 165 == 11488
    result = event().modelfit(Gaussian1D(4.0, 11480.0, 12.0), "time")
    np.testing.assert_allclose([result["mean"], result["stddev"], result["amplitude"]], [11488.0, 9.0, 5.0], rtol=1e-7)
    assert result["mean"].attrs["units"] == "d"
    assert result["stddev"].attrs["units"] == "d"
    assert result["mean_stderr"].attrs["units"] == "d"


# --- units


def test_slopes_are_in_units_of_data_per_unit_of_time() -> None:
    data = monthly().isel(time=slice(0, 60))
    result = data.modelfit(season(), "time")
    expected = {"level": "K", "trend": "K d-1", "cosine": "K", "sine": "K"}
    assert {name: result[name].attrs.get("units") for name in SEASON} == expected
    assert {name: result[f"{name}_stderr"].attrs.get("units") for name in SEASON} == expected
    by_hours = data.modelfit(Linear1D(), "time", time_units="hours since 1990-01-01")
    assert by_hours["slope"].attrs["units"] == "K h-1"
    by_days = data.modelfit(Linear1D(), "time")
    assert by_days["slope"].attrs["units"] == "K d-1"
    np.testing.assert_allclose(by_hours["slope"] * 24, by_days["slope"], rtol=1e-9)


@pytest.mark.parametrize(
    ("word", "text"),
    [("days", "d"), ("hours", "h"), ("minutes", "min"), ("seconds", "s"), ("ms", "ms"), ("us", "us"), ("ns", "ns")],
)
def test_units_of_time_in_results(word: str, text: str) -> None:
    result = line(JANUARY).modelfit(Linear1D(), "time", time_units=f"{word} since 2000-01-01")
    assert result["slope"].attrs["units"] == f"K {text}-1"
    np.testing.assert_allclose(result["intercept"], 3.0, rtol=1e-9)


@pytest.mark.parametrize("given", ["p0", "model"])
def test_a_slope_in_kelvin_per_year(given: str) -> None:
    """A year of astropy has 365.25 days: 2 K a day are 730.5 K a year; its error too."""
    data = line(JANUARY) + xr.DataArray(np.resize([0.25, -0.25], 10), dims="time")
    plain = data.assign_attrs(units="K").modelfit(Linear1D(), "time")
    if given == "p0":
        result = data.assign_attrs(units="K").modelfit(Linear1D(), "time", p0={"slope": 0 * u.K / u.yr})
    else:
        result = data.assign_attrs(units="K").modelfit(Linear1D(1 * u.K / u.yr, 0 * u.K), "time")
    assert result["slope"].attrs["units"] == "K yr-1"
    assert result["slope_stderr"].attrs["units"] == "K yr-1"
    assert result["intercept"].attrs["units"] == "K"
    np.testing.assert_allclose(result["slope"], plain["slope"] * 365.25, rtol=1e-12)
    np.testing.assert_allclose(result["slope_stderr"], plain["slope_stderr"] * 365.25, rtol=1e-9)
    np.testing.assert_allclose(result.modelfit.evaluate(data), plain.modelfit.evaluate(data), rtol=1e-9)


def test_a_frequency_per_year() -> None:
    """Started at 1/yr and reported so, the same fit as in 1/d."""
    data = monthly()
    plain = data.modelfit(trend_and_sine(fixed=False), "time")
    result = data.modelfit(trend_and_sine(1.0, fixed=False), "time", p0={"frequency_1": 1 / u.yr})
    assert plain["frequency_1"].attrs["units"] == "d-1"
    assert result["frequency_1"].attrs["units"] == "yr-1"
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for name in plain.modelfit.params:
        scale = 365.25 if name == "frequency_1" else 1.0
        assert (abs(result[name] - scale * plain[name]) < 1e-4 * result[f"{name}_stderr"]).all(), name
    np.testing.assert_allclose(result["frequency_1"], 1.0, rtol=1e-3)


@pytest.mark.parametrize("given", ["p0", "map", "model", "model in other units"])
def test_a_decay_time_in_hours(given: str) -> None:
    """Volts that fall by a factor e in 7 hours, over dates that are counted in days."""
    hours = np.arange(0.0, 48.0, 1.5)
    time = np.datetime64("2020-05-01", "s") + (hours * 3600).astype("m8[s]")
    values = 3.0 * np.exp(-hours / 7.0)
    data = xr.DataArray(values, dims="time", coords={"time": time}, attrs={"units": "V"})
    options: dict[str, Any] = {"dim": "time", "time_units": "days since 2020-05-01"}
    if given == "p0":
        result = data.modelfit(decay(2.0), **options, p0={"tau": 5 * u.h})
    elif given == "map":
        result = data.modelfit(decay(2.0), **options, p0={"tau": xr.DataArray(5.0, attrs={"units": "h"})})
    elif given == "model":
        result = data.modelfit(Exponential1D(2 * u.V, -5 * u.h), **options)
    else:
        result = data.modelfit(Exponential1D(2000 * u.mV, -5 * u.h), **options)
    tau = abs(result["tau"])
    assert result["tau"].attrs["units"] == "h"
    assert result["tau_stderr"].attrs["units"] == "h"
    np.testing.assert_allclose(tau, 7.0, rtol=1e-8)
    scale = 1000.0 if given == "model in other units" else 1.0
    np.testing.assert_allclose(result["amplitude"], 3.0 * scale, rtol=1e-8)
    np.testing.assert_allclose(result.modelfit.evaluate(data), values, rtol=1e-7)
    assert result.modelfit.evaluate(data).attrs["units"] == "V"


def test_units_that_are_no_rate_are_refused() -> None:
    data = unreadable(line(JANUARY))
    with pytest.raises(ValueError, match=r"'slope'.*'time'.*'d'"):
        data.modelfit(Linear1D(1 * u.K / u.m, 0 * u.K), "time")
    with pytest.raises(ValueError, match=r"p0\['slope'\].*'K m-1'"):
        data.modelfit(Linear1D(), "time", p0={"slope": 1 * u.K / u.m})


# --- the same phases from a part, a group, another data set


def noise_free(periods: int = 120, stored: str = "ns") -> xr.DataArray:
    time = pd.date_range("1995-01-01", periods=periods, freq="MS").as_unit(stored)
    t = days_of(time.values)
    values = season.evaluate(t, 281.0, 0.001, -7.0, 3.0)
    data = xr.DataArray(values, dims="time", coords={"time": time}, attrs={"units": "K"})
    return data.where(np.arange(periods) % 11 != 4)


def assert_the_same_phases(result: xr.Dataset, rtol: float = 1e-7) -> None:
    """Noise-free. A year alone tells a trend from a season with a condition of about 1e5 at 30 years from 1970."""
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for name, value in zip(SEASON, (281.0, 0.001, -7.0, 3.0), strict=True):
        np.testing.assert_allclose(result[name], np.full(result[name].shape, value), rtol=rtol, err_msg=name)


PARTS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "whole": lambda d: d,
    "slice": lambda d: d.sel(time=slice("1998", "2001-06")),
    "every third": lambda d: d.isel(time=slice(1, None, 3)),
    "backwards": lambda d: d.isel(time=slice(None, None, -1)),
    "some": lambda d: d.isel(time=[3, 77, 12, 13, 119, 40, 41]),
    "summers": lambda d: d.sel(time=d["time"].dt.month.isin([5, 6, 7, 8, 9, 10])),
    "where": lambda d: d.where(d["time"].dt.year > 1999),
}


@pytest.mark.parametrize("part", list(PARTS))
def test_a_part_has_the_phases_of_the_whole(part: str) -> None:
    assert_the_same_phases(PARTS[part](noise_free()).modelfit(season(), "time"))


def test_groups_have_the_phases_of_the_whole() -> None:
    data = noise_free()
    groups = data.groupby("time.year").map(lambda one: one.modelfit(season(), "time"))
    assert groups.sizes == {"year": 10}
    assert_the_same_phases(groups, rtol=1e-6)
    attrs = groups["fit_status"].attrs
    assert attrs["time_units"] == "days since 1970-01-01"
    periods = data.resample(time="5YS").map(lambda one: one.modelfit(season(), "time"))
    assert periods.sizes == {"time": 2}
    assert_the_same_phases(periods)


def test_groups_with_noise_are_fits_of_their_own() -> None:
    """Each year against numpy on that year alone."""
    data = monthly()
    groups = data.groupby("time.year").map(lambda one: one.modelfit(season(), "time", errors="ignore"))
    for year in (1990, 2001):
        part = data.sel(time=str(year))
        for i in range(3):
            if np.isfinite(part.values[i]).sum() > 4:
                p, stderr = seasonal(days_of(part["time"].values), part.values[i])
                one = groups.sel(year=year).isel(place=i)
                for name, value, error in zip(SEASON, p, stderr, strict=True):
                    assert abs(one[name] - value) < 1e-6 * error


def test_two_periods_and_both() -> None:
    """Two data sets of other resolutions, and their concatenation."""
    first, second = noise_free(60, "ns"), noise_free(120, "s").isel(time=slice(60, None))
    assert_the_same_phases(first.modelfit(season(), "time"))
    assert_the_same_phases(second.modelfit(season(), "time"))
    both = xr.concat([first, second], "time")
    assert_bits(both.modelfit(season(), "time"), xr.concat([first, second], "time").modelfit(season(), "time"))
    assert_the_same_phases(both.modelfit(season(), "time"))


def test_the_intercept_is_the_value_at_the_epoch() -> None:
    """3 K on 2000-01-01 and 2 K a day."""
    data = line(JANUARY)
    for part in (data, data.isel(time=slice(4, None)), data.isel(time=[9, 2])):
        result = part.modelfit(Linear1D(), "time", time_units="days since 2000-01-01")
        np.testing.assert_allclose(result["intercept"], 3.0, rtol=1e-9)
        from_1970 = part.modelfit(Linear1D(), "time")
        np.testing.assert_allclose(from_1970["intercept"], 3.0 - 2.0 * 10957, rtol=1e-9)


# --- evaluating


def fitted_line(**options: Any) -> xr.Dataset:
    """2 K a day through 3 K on 2000-01-01."""
    return line(JANUARY).modelfit(Linear1D(), "time", **options)


def at(result: xr.Dataset, number: Any) -> Any:
    """The line of a result, written out: the same two roundings as the model."""
    return result["slope"].values * number + result["intercept"].values


SINGLE = {
    "datetime64[D]": np.datetime64("2013-05-17"),
    "datetime64[ns]": np.datetime64("2013-05-17", "ns"),
    "str": "2013-05-17",
    "Timestamp": pd.Timestamp("2013-05-17"),
    "datetime": datetime.datetime(2013, 5, 17),
    "date": datetime.date(2013, 5, 17),
    "cftime": cftime.DatetimeGregorian(2013, 5, 17),
    "cftime, the same calendar": cftime.DatetimeProlepticGregorian(2013, 5, 17),
    "number": 15842,
    "float": 15842.0,
    "scalar DataArray": xr.DataArray(np.datetime64("2013-05-17", "ns")),
}


@pytest.mark.parametrize("kind", list(SINGLE))
def test_evaluate_at_a_single_date(kind: str) -> None:
    """2013-05-17 is 43 years of 365 days, 11 leap days and 136 days after 1970-01-01."""
    result = fitted_line()
    got = result.modelfit.evaluate(time=SINGLE[kind])
    assert got.dims == ()
    assert got.values == at(result, 43 * 365 + 11 + 136)


SEVERAL: dict[str, Any] = {
    "list of str": ["2013-05-17", "1950-01-01T12:00"],
    "list of datetime": [datetime.datetime(2013, 5, 17), datetime.datetime(1950, 1, 1, 12)],
    "list of Timestamp": [pd.Timestamp("2013-05-17"), pd.Timestamp("1950-01-01T12:00")],
    "DatetimeIndex": pd.DatetimeIndex(["2013-05-17", "1950-01-01T12:00"]),
    "array": np.array(["2013-05-17", "1950-01-01T12:00"], "M8[h]"),
    "array of ns": np.array(["2013-05-17", "1950-01-01T12:00"], "M8[ns]"),
    "cftime": [cftime.DatetimeGregorian(2013, 5, 17), cftime.DatetimeGregorian(1950, 1, 1, 12)],
    "DataArray": xr.DataArray(np.array(["2013-05-17", "1950-01-01T12:00"], "M8[s]"), dims="time"),
    "undecoded": xr.DataArray(
        [15842.0, -7304.5],
        dims="time",
        attrs={"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"},
    ),
    "numbers": [15842.0, -7304.5],
}


@pytest.mark.parametrize("kind", list(SEVERAL))
def test_evaluate_at_several_dates(kind: str) -> None:
    result = fitted_line()
    got = result.modelfit.evaluate(time=SEVERAL[kind])
    assert got.dims == ("time",)
    np.testing.assert_array_equal(got, at(result, np.array([15842.0, -7304.5])))


@pytest.mark.parametrize("date", ["0001-01-01", "1500-06-01", "2262-05-01", "2500-01-01", "9999-12-31"])
@pytest.mark.parametrize("kind", ["str", "list", "datetime", "datetime64", "DataArray"])
def test_evaluate_outside_the_range_of_nanoseconds(date: str, kind: str) -> None:
    """Nanoseconds end in 1677 and 2262; dates don't."""
    result = fitted_line()
    day = datetime.date.fromisoformat(date)
    value: Any = {
        "str": date,
        "list": [date],
        "datetime": datetime.datetime(day.year, day.month, day.day),
        "datetime64": np.datetime64(date),
        "DataArray": xr.DataArray(np.array([date], "M8[s]"), dims="time"),
    }[kind]
    got = result.modelfit.evaluate(time=value)
    np.testing.assert_array_equal(np.ravel(got), at(result, day.toordinal() - 719163))


@pytest.mark.parametrize(
    "time_units", ["hours since 2015-03-01", "seconds since 1999-12-31 12:00", "days since 0001-01-01"]
)
def test_evaluate_counts_as_the_fit_did(time_units: str) -> None:
    """The record knows unit and epoch: values at dates do not depend on them."""
    result = fitted_line(time_units=time_units)
    got = result.modelfit.evaluate(time=np.array(["2000-01-01", "2000-01-06T12", "2001-01-01"], "M8[h]"))
    np.testing.assert_allclose(got, [3.0, 14.0, 735.0], rtol=0, atol=1e-6)  # seconds times 2e-5 about an epoch 1e9 away


@pytest.mark.parametrize("stored", STORED)
def test_evaluate_on_the_data(stored: str) -> None:
    """Each resolution, with missing dates; the coordinates are those of the data."""
    data = monthly()
    result = data.modelfit(season(), "time")
    dates = data["time"].values.astype(f"M8[{stored}]")
    dates[[2, 50]] = np.datetime64("NaT")
    best = result.modelfit.evaluate(data.assign_coords(time=dates))
    assert best.dims == data.dims
    assert best["time"].dtype == f"M8[{stored}]"
    p = {name: result[name].values[:, None] for name in SEASON}
    expected = season.evaluate(
        days_of(data["time"].values), **dict(zip(("level", "trend", "cosine", "sine"), p.values(), strict=True))
    )
    expected[:, [2, 50]] = np.nan
    np.testing.assert_allclose(best, expected, rtol=1e-13)
    assert best.attrs["units"] == "K"


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("fitted", ["standard", "proleptic_gregorian", "numpy"])
def test_the_gregorian_calendars_mix_after_the_reform(fitted: str, stored: str) -> None:
    """Dates of cftime and of numpy are the same days from 1582-10-15 on."""
    if fitted == "numpy":
        data = line(JANUARY.astype(f"M8[{stored}]"))
    else:
        dates = xr.date_range("2000-01-01", periods=10, calendar=fitted, use_cftime=True)
        data = line(np.asarray(dates))
    result = data.modelfit(Linear1D(), "time")
    given: list[Any] = [np.array(["2000-01-06"], f"M8[{stored}]")]
    given += [[cftime.datetime(2000, 1, 6, calendar=c)] for c in ("standard", "proleptic_gregorian")]
    for dates in given:
        np.testing.assert_array_equal(result.modelfit.evaluate(time=dates), at(result, 10962.0))


def test_the_gregorian_calendars_do_not_mix_before_the_reform() -> None:
    result = line(np.arange("1500-01-01", "1500-01-11", dtype="M8[D]")).modelfit(Linear1D(), "time")
    with pytest.raises(CalendarError, match=r"'time'.*'standard'.*'proleptic_gregorian'.*convert_calendar"):
        result.modelfit.evaluate(time=[cftime.DatetimeGregorian(1500, 1, 1)])


def test_lazy_dates_before_the_reform_do_not_mix() -> None:
    """It cannot be known before they are read; then it is an error and no date ten days off."""
    dates = xr.date_range("2000-01-01", periods=10, calendar="standard", use_cftime=True)
    result = line(np.asarray(dates)).modelfit(Linear1D(), "time")
    lazy = xr.DataArray(dask.array.from_array(np.array(["1500-01-01"], "M8[s]")), dims="time")
    with pytest.raises(CalendarError, match=r"proleptic_gregorian.*standard"):
        result.modelfit.evaluate(time=lazy).compute(scheduler="synchronous")


def test_evaluate_at_dates_of_two_calendars() -> None:
    """29 February is no date of the second: 1 March would be taken for another day."""
    dates = [cftime.DatetimeGregorian(2000, 1, 1), cftime.DatetimeNoLeap(2000, 3, 1)]
    with pytest.raises(CalendarError, match=r"'time'.*noleap"):
        fitted_line().modelfit.evaluate(time=dates)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "julian", "all_leap"])
def test_evaluate_at_dates_of_another_calendar(calendar: str) -> None:
    """Names the coordinate, both calendars, and the way out, which works."""
    result = fitted_line()
    dates = xr.date_range("2000-01-01", periods=4, calendar=calendar, use_cftime=True)
    message = rf"'time'.*'{calendar}'.*'proleptic_gregorian'.*convert_calendar\('proleptic_gregorian'\)"
    with pytest.raises(CalendarError, match=message):
        result.modelfit.evaluate(time=dates)
    if calendar == "noleap":
        other = line(np.asarray(dates))
        with pytest.raises(CalendarError, match=message):
            result.modelfit.evaluate(other)
        converted = other.convert_calendar("proleptic_gregorian")
        np.testing.assert_allclose(result.modelfit.evaluate(converted), [3.0, 5.0, 7.0, 9.0], rtol=0, atol=1e-8)
    one = line(np.asarray(dates)).modelfit(Linear1D(), "time")
    with pytest.raises(CalendarError, match=rf"'time'.*'proleptic_gregorian'.*'{calendar}'"):
        one.modelfit.evaluate(time="2000-01-01")


def test_evaluate_in_another_calendar_than_numpys() -> None:
    """2 K a day in a calendar of 360 days: 720 K a year."""
    dates = xr.date_range("2000-01-01", periods=10, calendar="360_day", use_cftime=True)
    result = line(np.asarray(dates)).modelfit(Linear1D(), "time")
    got = result.modelfit.evaluate(time=[cftime.Datetime360Day(2001, 1, 1), cftime.Datetime360Day(2000, 2, 30)])
    np.testing.assert_array_equal(got, at(result, np.array([31 * 360.0, 30 * 360.0 + 59])))
    np.testing.assert_allclose(got, [3.0 + 720.0, 3.0 + 2 * 59.0], rtol=0, atol=1e-8)


def test_durations_are_no_dates() -> None:
    result = fitted_line()
    with pytest.raises(CalendarError, match=r"'time' holds durations.*dates"):
        result.modelfit.evaluate(time=np.timedelta64(3, "D"))
    with pytest.raises(CalendarError, match=r"'lag' holds dates.*durations"):
        fitted_lag().modelfit.evaluate(lag=np.datetime64("2000-01-01"))


def fitted_lag(**options: Any) -> xr.Dataset:
    """3 V at no lag, 2 V a day."""
    lag = np.arange(-4, 6).astype("m8[D]").astype("m8[s]")
    data = xr.DataArray(3.0 + 2.0 * np.arange(-4, 6), dims="lag", coords={"lag": lag}, attrs={"units": "V"})
    return data.modelfit(Linear1D(), "lag", **options)


LAGS: dict[str, Any] = {
    "timedelta64": np.timedelta64(36, "h"),
    "timedelta": datetime.timedelta(hours=36),
    "Timedelta": pd.Timedelta("36h"),
    "Quantity": 36 * u.h,
    "number": 1.5,
    "list of timedelta64": [np.timedelta64(36, "h")],
    "list of timedelta": [datetime.timedelta(hours=36)],
    "TimedeltaIndex": pd.TimedeltaIndex(["36h"]),
    "Quantities": [36] * u.h,
    "DataArray with units": xr.DataArray([36.0], dims="lag", attrs={"units": "h"}),
}


@pytest.mark.parametrize("kind", list(LAGS))
def test_evaluate_at_durations(kind: str) -> None:
    """A day and a half; counted in days."""
    result = fitted_lag()
    assert result["slope"].attrs["units"] == "V d-1"
    assert result["fit_status"].attrs["time_units"] == "days"
    assert "time_calendar" not in result["fit_status"].attrs
    np.testing.assert_allclose(np.ravel(result.modelfit.evaluate(lag=LAGS[kind])), 6.0, rtol=1e-12)


def test_durations_in_a_chosen_unit() -> None:
    result = fitted_lag(time_units="hours")
    np.testing.assert_allclose(result["slope"], 2.0 / 24, rtol=1e-12)
    assert result["slope"].attrs["units"] == "V h-1"
    assert result["fit_status"].attrs["time_units"] == "hours"
    np.testing.assert_allclose(result.modelfit.evaluate(lag=np.timedelta64(36, "h")), 6.0, rtol=1e-12)


def test_short_durations_about_zero() -> None:
    """Nanoseconds of either sign, counted in days: a straight line stays straight to rounding."""
    lag = np.arange(-500, 501, 100).astype("m8[ns]")
    data = xr.DataArray(1.0 + np.arange(-5.0, 6.0), dims="lag", coords={"lag": lag})
    result = data.modelfit(Linear1D(), "lag")
    np.testing.assert_allclose(result["slope"] / NS["D"] * 100, 1.0, rtol=1e-12)
    assert result["chi2"] < 1e-24


def test_quantities_are_converted_where_dates_were_fitted() -> None:
    """As with any other coordinate: 10957 days in hours."""
    result = fitted_line()
    np.testing.assert_allclose(result.modelfit.evaluate(time=10957 * 24 * u.h), 3.0, rtol=0, atol=1e-7)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "zarr"])
def test_evaluate_after_a_round_trip(engine: str, tmp_path: Path) -> None:
    """The record survives the file; a custom model is known in this process."""
    pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
    data = monthly()
    result = data.modelfit(trend_and_sine(), "time", time_units="hours since 1990-01-01")
    if engine == "zarr":
        result.to_zarr(tmp_path / "fit.zarr", zarr_format=2)
        again = xr.open_zarr(tmp_path / "fit.zarr").load()
    else:
        result.to_netcdf(tmp_path / "fit.nc", engine=engine)
        with xr.open_dataset(tmp_path / "fit.nc", engine=engine) as opened:
            again = opened.load()
    xr.testing.assert_identical(again.modelfit.evaluate(data), result.modelfit.evaluate(data))
    at_date = {"time": ["2030-01-01", "1900-01-01"]}
    xr.testing.assert_identical(again.modelfit.evaluate(**at_date), result.modelfit.evaluate(**at_date))
    assert again["fit_status"].attrs["time_units"] == "hours since 1990-01-01"


# older xarray decodes by default, and says that it will not for ever
@pytest.mark.filterwarnings("ignore:In a future version, xarray will not decode:FutureWarning")
@pytest.mark.parametrize("decode", [True, False, None])
@pytest.mark.parametrize("units", ["days", "hours", "seconds", "d", "h"])
def test_parameters_in_words_for_durations(decode: bool | None, units: str, tmp_path: Path) -> None:
    """xarray may read ``units="days"`` as a duration; the values are those of the fit, to its nanosecond."""
    pytest.importorskip("netCDF4")
    data = event()
    per_day = {"d": 1, "h": 24, "s": 86400}[units[0]]
    start = xr.DataArray(10.0 * per_day, attrs={"units": units})
    result = data.modelfit(Gaussian1D(4.0, 11480.0, 12.0), "time", p0={"stddev": start})
    assert result["stddev"].attrs["units"] in (units, units[0])
    np.testing.assert_allclose(result["stddev"], 9.0 * per_day, rtol=1e-7)
    result.to_netcdf(tmp_path / "fit.nc")
    options = {} if decode is None else {"decode_timedelta": decode}
    with xr.open_dataset(tmp_path / "fit.nc", **options) as opened:
        again = opened.load()
    np.testing.assert_allclose(again.modelfit.evaluate(data), result.modelfit.evaluate(data), rtol=0, atol=1e-9)
    model, expected = again.modelfit.to_model(), result.modelfit.to_model()
    np.testing.assert_allclose(
        u.Quantity(model.stddev.value).value, u.Quantity(expected.stddev.value).value, rtol=1e-12
    )
    repeated = data.modelfit(Gaussian1D(4.0, 11480.0, 12.0), "time", p0=again)
    np.testing.assert_allclose(repeated["mean"], 11488.0, rtol=1e-9)


UNDECODED = {
    "days": ("days since 2000-01-01", None, 1.0),
    "hours": ("hours since 1999-12-31 12:00:00", "standard", 24.0),
    "one digit": ("hours since 1999-12-31 6:0:0", "standard", 24.0),
    "seconds": ("seconds since 1970-01-01T00:00:00Z", "proleptic_gregorian", 86400.0),
    "old name": ("days since 1990-06-01", "gregorian", 1.0),
    "noleap": ("days since 1850-01-01", "noleap", 1.0),
    "360_day": ("days since 1859-12-30", "360_day", 1.0),
}


@pytest.mark.parametrize("kind", list(UNDECODED))
def test_numbers_that_count_from_an_epoch(kind: str) -> None:
    """A file opened with decode_times=False: the numbers are read as they are, and evaluated at dates."""
    units, calendar, per_day = UNDECODED[kind]
    attrs = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    numbers_ = 40000.0 + per_day * np.arange(10)
    ds = xr.Dataset(
        {"tas": ("time", 3.0 + 2.0 * np.arange(10), {"units": "K"})}, coords={"time": ("time", numbers_, attrs)}
    )
    result = ds.modelfit(Linear1D(), "time", data="tas")
    np.testing.assert_allclose(result["slope"], 2.0 / per_day, rtol=1e-9)
    np.testing.assert_allclose(result["intercept"], 3.0 - 40000.0 * 2.0 / per_day, rtol=1e-9)
    assert result["slope"].attrs["units"] == f"K {units[0]}-1"
    described = result["fit_status"].attrs
    assert described["time_units"].startswith(units[:14])
    assert described["time_calendar"] == {None: "standard", "gregorian": "standard"}.get(calendar, calendar)
    xr.testing.assert_allclose(result.modelfit.evaluate(ds), ds["tas"].rename("tas_model"), rtol=0, atol=1e-7)
    decoded = xr.decode_cf(ds)
    np.testing.assert_allclose(result.modelfit.evaluate(decoded), ds["tas"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(result.modelfit.evaluate(time=decoded["time"].values[3]), 9.0, rtol=0, atol=1e-7)


@pytest.mark.parametrize("calendar", [None, "standard", "gregorian"])
def test_decoded_fit_at_undecoded_numbers(calendar: str | None) -> None:
    """The standard calendar, CF's default, counts the same days as numpy's."""
    attrs = {"units": "days since 1970-01-01"} | ({} if calendar is None else {"calendar": calendar})
    result = fitted_line()
    got = result.modelfit.evaluate(time=xr.DataArray([10962.0], dims="time", attrs=attrs))
    np.testing.assert_array_equal(got, at(result, 10962.0))


def test_undecoded_numbers_of_another_epoch() -> None:
    """Counted otherwise than the fit counts: converted, or an error; never taken as they are."""
    other = xr.DataArray(
        [5.0], dims="time", attrs={"units": "days since 2000-01-01", "calendar": "proleptic_gregorian"}
    )
    with contextlib.suppress(ValueError):
        got = fitted_line().modelfit.evaluate(time=other)
        np.testing.assert_allclose(got, 13.0, rtol=0, atol=1e-8)


@pytest.mark.parametrize("units", ["months since 2000-01-01", "years since 2000-01-01", "day as %Y%m%d.%f"])
def test_undecoded_months_are_plain_numbers(units: str) -> None:
    """What cannot be counted is carried along, like any string that is not understood."""
    data = line(np.arange(10.0))
    data["time"].attrs["units"] = units
    result = data.modelfit(Linear1D(), "time")
    np.testing.assert_allclose([result["slope"], result["intercept"]], [2.0, 3.0], rtol=1e-9)
    np.testing.assert_allclose(result.modelfit.evaluate(data), data, rtol=1e-9)


# --- starts and bounds


STARTS: dict[str, dict[str, Any]] = {
    "idxmax": {"mean": event().idxmax("time")},
    "idxmax of cftime": {"mean": xr.DataArray(cftime.DatetimeGregorian(2001, 6, 12))},
    "datetime64": {"mean": np.datetime64("2001-06-12")},
    "datetime64[ns]": {"mean": np.datetime64("2001-06-12T00:30", "ns")},
    "Timestamp": {"mean": pd.Timestamp("2001-06-12")},
    "datetime": {"mean": datetime.datetime(2001, 6, 12)},
    "date": {"mean": datetime.date(2001, 6, 12)},
    "cftime": {"mean": cftime.DatetimeGregorian(2001, 6, 12)},
    "number": {"mean": 11485.0},
    "width": {"mean": np.datetime64("2001-06-12"), "stddev": np.timedelta64(240, "h")},
    "width of Python": {"mean": np.datetime64("2001-06-12"), "stddev": datetime.timedelta(days=10)},
    "width of pandas": {"mean": np.datetime64("2001-06-12"), "stddev": pd.Timedelta("10D")},
    "width as a map": {"mean": np.datetime64("2001-06-12"), "stddev": xr.DataArray(np.timedelta64(10, "D"))},
    "width as a Quantity": {"mean": np.datetime64("2001-06-12"), "stddev": 10 * u.d},
}


@pytest.mark.parametrize("kind", list(STARTS))
def test_dates_and_durations_as_starts(kind: str) -> None:
    """From the model's own start, 1000 days away, nothing would be found."""
    result = event().modelfit(Gaussian1D(4.0, 10488.0, 10.0), "time", p0=STARTS[kind])
    assert result["fit_status"] == FitStatus.CONVERGED
    np.testing.assert_allclose([result["mean"], result["stddev"]], [11488.0, 9.0], rtol=1e-7)


@pytest.mark.parametrize("way", ["computed", "lazy"])
@pytest.mark.parametrize("dates", ["numpy", "cftime"])
def test_a_map_of_dates_as_start(way: str, dates: str) -> None:
    """``idxmax`` of each position: two peaks 60 days apart, and one position without data."""
    data = xr.concat([event(), event().shift(time=40), event() * np.nan], "place")
    if dates == "cftime":
        data = data.assign_coords(time=xr.date_range("2001-04-20", periods=120, use_cftime=True))
    start = data.idxmax("time")
    given = data.chunk(place=1) if way == "lazy" else data
    start = start.chunk(place=2) if way == "lazy" else start
    result = given.modelfit(Gaussian1D(4.0, 0.0, 10.0), "time", p0={"mean": start}, errors="ignore").compute()
    assert result["fit_status"].values.tolist() == [FitStatus.CONVERGED, FitStatus.CONVERGED, FitStatus.NO_DATA]
    np.testing.assert_allclose(result["mean"], [11488.0, 11528.0, np.nan], rtol=1e-7)


def test_starts_in_the_unit_that_the_fit_counts() -> None:
    """Hours since 2001: 2001-06-15 is 165 days after it."""
    p0 = {"mean": np.datetime64("2001-06-12"), "stddev": np.timedelta64(8, "D")}
    result = event().modelfit(Gaussian1D(4.0), "time", p0=p0, time_units="hours since 2001-01-01")
    np.testing.assert_allclose([result["mean"], result["stddev"]], [165 * 24.0, 9 * 24.0], rtol=1e-7)
    assert result["mean"].attrs["units"] == "h"


BOUNDS: dict[str, tuple[Any, Any]] = {
    "datetime64": (np.datetime64("2001-06-01"), np.datetime64("2001-06-14")),
    "datetime": (datetime.datetime(2001, 6, 1), datetime.datetime(2001, 6, 14)),
    "date": (datetime.date(2001, 6, 1), datetime.date(2001, 6, 14)),
    "Timestamp": (pd.Timestamp("2001-06-01"), pd.Timestamp("2001-06-14")),
    "cftime": (cftime.DatetimeGregorian(2001, 6, 1), cftime.DatetimeGregorian(2001, 6, 14)),
    "one side": (None, np.datetime64("2001-06-14")),
    "map": (xr.DataArray(np.datetime64("2001-06-01", "ns")), xr.DataArray(np.datetime64("2001-06-14", "ns"))),
    "numbers": (11474.0, 11487.0),
}


@pytest.mark.parametrize("kind", list(BOUNDS))
def test_dates_as_bounds(kind: str) -> None:
    """The peak lies a day beyond its bound, 2001-06-14: the fit ends there."""
    result = event().modelfit(Gaussian1D(4.0, 11480.0, 10.0), "time", bounds={"mean": BOUNDS[kind]})
    assert result["fit_status"] == FitStatus.CONVERGED_AT_BOUND
    np.testing.assert_allclose(result["mean"], 11487.0, rtol=1e-12)


def test_durations_as_bounds() -> None:
    bounds = {"stddev": (np.timedelta64(24, "h"), np.timedelta64(8, "D"))}
    result = event().modelfit(Gaussian1D(4.0, 11480.0, 7.0), "time", bounds=bounds)
    assert result["fit_status"] == FitStatus.CONVERGED_AT_BOUND
    np.testing.assert_allclose(result["stddev"], 8.0, rtol=1e-12)


@pytest.mark.parametrize(
    "value", [np.datetime64("2001-06-15"), np.timedelta64(3, "D"), cftime.DatetimeGregorian(2001, 6, 15)]
)
def test_a_date_for_a_parameter_that_is_no_time(value: Any) -> None:
    data = unreadable(event())
    with pytest.raises(TypeError, match=r"p0\['amplitude'\].*times.*'amplitude'"):
        data.modelfit(Gaussian1D(4.0, 11480.0, 7.0), "time", p0={"amplitude": value})
    with pytest.raises(TypeError, match=r"bounds\['amplitude'\].*times.*'amplitude'"):
        data.modelfit(Gaussian1D(4.0, 11480.0, 7.0), "time", bounds={"amplitude": (value, None)})
    numbers_ = event().assign_coords(time=np.arange(120.0))
    with pytest.raises(TypeError, match=r"p0\['mean'\].*times.*'mean'"):
        numbers_.modelfit(Gaussian1D(4.0, 60.0, 7.0), "time", p0={"mean": value})


@pytest.mark.parametrize("value", [np.datetime64("NaT"), np.datetime64("NaT", "ns"), pd.NaT])
def test_no_date_as_a_start(value: Any) -> None:
    """Like NaN: an error that names it."""
    with pytest.raises((ValueError, TypeError), match=r"p0\['mean'\]|mean"):
        event().modelfit(Gaussian1D(4.0, 11480.0, 7.0), "time", p0={"mean": value})


def test_a_start_of_another_calendar() -> None:
    with pytest.raises(CalendarError, match=r"p0\['mean'\].*'360_day'.*'proleptic_gregorian'"):
        unreadable(event()).modelfit(Gaussian1D(), "time", p0={"mean": cftime.Datetime360Day(2001, 6, 15)})


def test_an_earlier_result_as_start_counts_its_own_time() -> None:
    """Days since 1970 then, hours since 2001 now: the start is the same date, or the call is refused."""
    earlier = event().modelfit(Gaussian1D(4.0, 11480.0, 12.0), "time")
    with contextlib.suppress(ValueError):
        options = {"time_units": "hours since 2001-01-01", "errors": "ignore"}
        result = event().modelfit(Gaussian1D(), "time", p0=earlier, **options)
        assert result["fit_status"] == FitStatus.CONVERGED
        np.testing.assert_allclose(result["mean"], 165 * 24.0, rtol=1e-7)


def test_an_earlier_result_as_start() -> None:
    earlier = event().modelfit(Gaussian1D(4.0, 11480.0, 12.0), "time")
    result = event().modelfit(Gaussian1D(), "time", p0=earlier)
    np.testing.assert_allclose(result["mean"], 11488.0, rtol=1e-9)


# --- the record


def test_what_is_recorded() -> None:
    result = fitted_line(time_units="hours since 2015-03-01")
    attrs = result["fit_status"].attrs
    assert attrs["time_units"] == "hours since 2015-03-01"
    assert attrs["time_calendar"] == "proleptic_gregorian"
    record = json.loads(next(v for v in attrs.values() if isinstance(v, str) and v.startswith("{")))
    assert record["inputs"][0]["coordinate"] == "time"
    assert record["inputs"][0]["units"] == "h"
    assert record["inputs"][0]["time"] == {"units": "hours since 2015-03-01", "calendar": "proleptic_gregorian"}
    assert record["units"]["parameters"] == ["K h-1", "K"]


def test_numbers_have_no_calendar() -> None:
    attrs = line(np.arange(10.0)).modelfit(Linear1D(), "time")["fit_status"].attrs
    assert "time_units" not in attrs
    assert "time_calendar" not in attrs


@pytest.mark.parametrize("calendar", list(CALENDARS))
def test_the_calendar_is_recorded(calendar: str) -> None:
    dates = np.array([cftime.datetime(2000, 1, d, calendar=calendar) for d in range(1, 11)])
    attrs = line(dates).modelfit(Linear1D(), "time")["fit_status"].attrs
    assert (attrs["time_units"], attrs["time_calendar"]) == ("days since 1970-01-01", calendar)


# --- dates that are not there


@pytest.mark.parametrize("kind", ["datetime64", "cftime None", "cftime NaN", "cftime first"])
@pytest.mark.parametrize("way", ["computed", "lazy data", "lazy dates"])
def test_samples_without_a_date_are_left_out(kind: str, way: str) -> None:
    """Bit for bit the fit of the data without them."""
    data = monthly()
    gone = [0, 1, 120] if kind == "cftime first" else [3, 77, 200]
    expected = data.drop_isel(time=gone).modelfit(season(), "time")
    if kind == "datetime64":
        dates = data["time"].values.astype("M8[ns]")
        dates[gone] = np.datetime64("NaT")
    else:
        dates = np.asarray(xr.date_range("1988-03-15", periods=240, freq="MS", use_cftime=True), dtype=object)
        dates[gone] = np.nan if kind == "cftime NaN" else None
    one = data.drop_vars("time")
    if way == "lazy data":
        one = one.chunk(place=2)
    lazy = dask.array.from_array(dates, chunks=100) if way == "lazy dates" else dates
    one = one.assign_coords(date=("time", lazy))
    result = one.modelfit(season(), "time", coords="date").compute()
    assert (result["n_points"] == data.drop_isel(time=gone).count("time")).all()
    assert_bits(result, expected)


def test_no_date_at_all() -> None:
    data = monthly().assign_coords(time=np.full(240, "NaT", "M8[ns]"))
    result = data.modelfit(season(), "time", errors="ignore")
    assert (result["fit_status"] == FitStatus.NO_DATA).all()
    assert (result["n_points"] == 0).all()


@pytest.mark.parametrize("calendar", ["numpy", "standard", "360_day"])
def test_no_samples_at_all(calendar: str) -> None:
    """An empty selection is no data, whatever its dates are."""
    cf = calendar != "numpy"
    dates = xr.date_range("2000-01-01", periods=10, calendar=calendar if cf else "standard", use_cftime=cf)
    empty = line(np.asarray(dates)).sel(time=slice("1990", "1991"))
    assert empty.sizes == {"time": 0}
    result = empty.modelfit(Linear1D(), "time", errors="ignore")
    assert result["fit_status"] == FitStatus.NO_DATA


# --- wrong calls: at once, by name, with a way out


WRONG_UNITS: dict[str, tuple[Any, type[Exception], str]] = {
    "months": ("months since 2000-01-01", ValueError, r"time_units.*'months'.*calendar.*days"),
    "years": ("years since 2000-01-01", ValueError, r"time_units.*'years'.*calendar.*days"),
    "no epoch": ("hours", ValueError, r"time_units.*dates.*epoch.*hours since 1970-01-01"),
    "no date": ("days since 2001-02-30", ValueError, r"2001-02-30.*proleptic_gregorian"),
    "no month": ("days since 2001-13-01", ValueError, r"2001-13-01"),
    "words": ("days since yesterday", ValueError, r"time_units.*epoch.*days since 1970-01-01"),
    "a year alone": ("days since 2000", ValueError, r"time_units.*epoch.*days since 1970-01-01"),
    "no unit": ("parsecs since 2000-01-01", ValueError, r"time_units.*'parsecs'.*days"),
    "number": (5, TypeError, r"time_units.*int.*str"),
    "Quantity": (1 * u.d, TypeError, r"time_units.*str"),
    "empty": ("", ValueError, r"time_units"),
}


@pytest.mark.parametrize("kind", list(WRONG_UNITS))
def test_wrong_time_units(kind: str) -> None:
    time_units, error, message = WRONG_UNITS[kind]
    with pytest.raises(error, match=message):
        unreadable(line(JANUARY)).modelfit(Linear1D(), "time", time_units=time_units)


def test_an_epoch_must_be_in_the_calendar() -> None:
    """30 February is a date of a calendar of 360 days: 419 days after 2000-01-01; 31 January is none."""
    data = line(np.asarray(xr.date_range("2000-01-01", periods=10, calendar="360_day", use_cftime=True)))
    result = data.modelfit(Linear1D(), "time", time_units="days since 2001-02-30")
    np.testing.assert_allclose(result["intercept"], 3.0 + 2.0 * 419, rtol=1e-9)
    with pytest.raises(ValueError, match=r"2001-01-31.*360_day"):
        unreadable(data).modelfit(Linear1D(), "time", time_units="days since 2001-01-31")
    noleap = line(np.asarray(xr.date_range("2000-01-01", periods=10, calendar="noleap", use_cftime=True)))
    with pytest.raises(ValueError, match=r"2000-02-29.*noleap"):
        unreadable(noleap).modelfit(Linear1D(), "time", time_units="days since 2000-02-29")


def test_durations_have_no_epoch() -> None:
    with pytest.raises(ValueError, match=r"time_units.*durations.*time_units='hours'"):
        fitted_lag(time_units="hours since 2000-01-01")


def test_time_units_without_times() -> None:
    with pytest.raises(ValueError, match=r"time_units.*'time' hold no times"):
        unreadable(line(np.arange(10.0))).modelfit(Linear1D(), "time", time_units="days since 2000-01-01")


def test_time_units_of_numbers_that_count_already() -> None:
    data = line(np.arange(10.0))
    data["time"].attrs["units"] = "days since 2000-01-01"
    with pytest.raises(ValueError, match=r"time_units.*'time'.*decode_cf"):
        unreadable(data).modelfit(Linear1D(), "time", time_units="hours since 2000-01-01")


def mixed(lazy: bool) -> xr.DataArray:
    """Ten dates, the last five of another calendar."""
    dates = [cftime.DatetimeNoLeap(2000, 1, d) for d in range(1, 6)]
    dates += [cftime.Datetime360Day(2000, 1, d) for d in range(6, 11)]
    values = np.array(dates, dtype=object)
    data = line(np.arange(10.0)).drop_vars("time")
    return data.assign_coords(date=("time", dask.array.from_array(values, chunks=5) if lazy else values))


def test_calendars_do_not_mix_in_a_coordinate() -> None:
    with pytest.raises(CalendarError, match=r"'date'.*noleap.*360_day|'date'.*360_day.*noleap"):
        mixed(lazy=False).modelfit(Linear1D(), "time", coords="date")


def test_calendars_do_not_mix_in_a_lazy_coordinate() -> None:
    """It cannot be known before it is read; then it is an error and no wrong number."""
    result = mixed(lazy=True).modelfit(Linear1D(), "time", coords="date")
    with pytest.raises(CalendarError, match=r"noleap.*360_day|360_day.*noleap"):
        result.compute(scheduler="synchronous")


def test_calendars_do_not_mix_between_inputs() -> None:
    other = [cftime.Datetime360Day(2000, 1, d) for d in range(1, 11)]
    data = unreadable(line(JANUARY)).assign_coords(other=("time", other))
    with pytest.raises(CalendarError, match=r"'time'.*'other'.*convert_calendar|'other'.*'time'.*convert_calendar"):
        data.modelfit(Planar2D(), "time", coords={"x": "time", "y": "other"})


def test_text_is_no_date() -> None:
    data = unreadable(line(JANUARY)).assign_coords(time=[str(d) for d in JANUARY])
    with pytest.raises(TypeError, match=r"'time'.*coords="):
        data.modelfit(Linear1D(), "time")


@pytest.mark.parametrize("kind", ["periods", "time zone"])
def test_dates_that_are_none_of_numpy_or_cftime(kind: str) -> None:
    """Periods are no instants, and numpy has no time zones: an error that names the coordinate."""
    dates: Any = {
        "periods": pd.period_range("2000-01-01", periods=10, freq="D"),
        "time zone": pd.date_range("2000-01-01", periods=10, tz="Europe/Oslo"),
    }[kind]
    data = unreadable(line(JANUARY).drop_vars("time")).assign_coords(time=dates)
    with pytest.raises(TypeError, match=r"'time'"):
        data.modelfit(Linear1D(), "time")


def test_evaluate_at_numbers_of_the_wrong_kind() -> None:
    with pytest.raises((TypeError, ValueError), match=r"'time'"):
        fitted_line().modelfit.evaluate(time=xr.DataArray(["2000-01-01"], dims="time"))
    numbers_ = line(np.arange(10.0)).modelfit(Linear1D(), "time")
    with pytest.raises(ValueError, match=r"'time'.*times.*numbers"):
        numbers_.modelfit.evaluate(time=np.datetime64("2000-01-01"))
    with pytest.raises((TypeError, ValueError), match=r"'time'|date"):
        fitted_line().modelfit.evaluate(time="yesterday")


def test_lazy_dates_are_not_read_by_the_call() -> None:
    """Dates of numpy: only their type is asked."""
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    dates = dask.array.from_array(JANUARY.astype("M8[s]"), chunks=5).map_blocks(read, dtype="M8[s]", meta=JANUARY[:0])
    data = line(np.arange(10.0)).drop_vars("time").assign_coords(date=("time", dates))
    result = data.modelfit(Linear1D(), "time", coords="date")
    assert reads == []
    np.testing.assert_allclose(result["slope"].compute(scheduler="synchronous"), 2.0, rtol=1e-9)


# --- the public cases of times and of units: what their sentences say


Case = dict[str, Any]


@pytest.fixture
def case_of(public_cases: ModuleType) -> Callable[[str], Case]:
    known = {case["id"]: case for case in public_cases.CASES}
    return lambda name: known[name]


def test_c04_epoch_and_unit_are_recorded(case_of: Callable[[str], Case], public_cases: ModuleType) -> None:
    """And amplitude and phase follow from the coefficients: -11 and -3 with noise of 1 K over 600 days."""
    case = case_of("C04")
    data = public_cases.to_xarray(case)["data"]
    result = data.modelfit(public_cases.model_of(case), "time", time_units="days since 2013-01-01")
    attrs = result["fit_status"].attrs
    assert (attrs["time_units"], attrs["time_calendar"]) == ("days since 2013-01-01", "proleptic_gregorian")
    expected = {name: np.array(v) for name, v in case["expected"]["params"].items()}
    amplitude, phase = np.hypot(result["a1"], result["a2"]), np.arctan2(result["a2"], result["a1"])
    assert amplitude.dims == ("lat", "lon")
    # The case gives its closed forms to 13 digits.
    np.testing.assert_allclose(amplitude, np.hypot(expected["a1"], expected["a2"]), rtol=1e-9)
    np.testing.assert_allclose(phase, np.arctan2(expected["a2"], expected["a1"]), rtol=1e-9)
    np.testing.assert_allclose(amplitude.values[0, 0], np.hypot(11, 3), atol=0.3)


@pytest.mark.parametrize("time_units", [None, "days since 1956-01-01"])
def test_c05_the_series_comes_back(
    time_units: str | None, case_of: Callable[[str], Case], public_cases: ModuleType
) -> None:
    case = case_of("C05")
    data = public_cases.to_xarray(case)["data"]
    result = data.modelfit(Linear1D(), "time", time_units=time_units)
    back = result.modelfit.evaluate(data["time"])
    np.testing.assert_allclose(back, data, rtol=0, atol=case["tol"]["eval_atol"])
    for i in (0, 4, 10):
        one = result.modelfit.evaluate(time=data["time"].values[i].astype("M8[D]"))
        assert one.dims == ()
        assert one.values == back.values[i]


@pytest.mark.parametrize("calendar", ["360_day", "standard", "proleptic_gregorian", "noleap"])
def test_c07_other_calendars(calendar: str, case_of: Callable[[str], Case], public_cases: ModuleType) -> None:
    """Month middles and the days about the end of February, as the calendar counts them."""
    case = case_of("C07")
    data = public_cases.to_xarray(case)["data"]
    dates = [cftime.datetime(d.year, d.month, d.day, calendar=calendar) for d in data["time"].values]
    result = data.assign_coords(time=dates).modelfit(Linear1D(), "time", time_units="days since 2000-01-01")
    first = CALENDARS[calendar](2000, 1, 1)
    days = np.array([CALENDARS[calendar](d.year, d.month, d.day) - first for d in dates], dtype=float)
    for i in range(3):
        kept = np.isfinite(data.values[i])
        slope, intercept = np.polyfit(days[kept], data.values[i][kept], 1)
        np.testing.assert_allclose(result["slope"][i], slope, rtol=1e-9)
        np.testing.assert_allclose(result["intercept"][i], intercept, rtol=1e-9)
        if calendar == "noleap":
            np.testing.assert_allclose(slope, case["expected"]["params"]["slope"][i], rtol=1e-9)


def test_c58_land_is_no_data_and_hours_count_from_the_epoch(
    case_of: Callable[[str], Case], public_cases: ModuleType
) -> None:
    case = case_of("C58")
    data = public_cases.to_xarray(case)["data"]
    result = data.modelfit(public_cases.model_of(case), "time", time_units="hours since 2015-03-01")
    assert result["m2c"].chunks is not None
    result = result.compute()
    assert result["fit_status"].values.tolist() == [[1, 1], [1, FitStatus.NO_DATA]]
    assert result["fit_status"].attrs["time_units"] == "hours since 2015-03-01"
    assert {result[n].attrs["units"] for n in ("z0", "m2c", "m2s", "s2c", "s2s")} == {"m"}
    np.testing.assert_allclose(
        result["m2c"].values[0], np.array(case["expected"]["params"]["m2c"])[0], rtol=1e-9, atol=1e-11
    )


def test_c31_units_of_the_model_are_kept(case_of: Callable[[str], Case], public_cases: ModuleType) -> None:
    case = case_of("C31")
    data = public_cases.to_xarray(case)["data"]
    result = data.modelfit(public_cases.model_of(case), "wave")
    units = {name: result[name].attrs["units"] for name in result.modelfit.params}
    assert units == {"amplitude_0": "Jy", "mean_0": "Angstrom", "stddev_0": "Angstrom", "amplitude_1": "Jy"}
    bare = public_cases.to_xarray(case)["data"].modelfit(Gaussian1D(1, 656.0, 0.5) + Const1D(0), "wave")
    assert bare["mean_0"].attrs["units"] == "nm"
    assert bare["stddev_0"].attrs["units"] == "nm"
    np.testing.assert_allclose(bare["mean_0"], [656.35, 654.82], rtol=1e-8)
    seconds = unreadable(data)
    seconds["wave"].attrs["units"] = "s"
    with pytest.raises(ValueError, match=r"Angstrom.*'wave'.*'s'"):
        seconds.modelfit(public_cases.model_of(case), "wave")


def test_c33_units_of_a_lapse_rate(case_of: Callable[[str], Case], public_cases: ModuleType) -> None:
    data = public_cases.to_xarray(case_of("C33"))["data"]
    result = data.modelfit(Linear1D(), "height")
    assert result["intercept"].attrs["units"] == "degC"
    assert result["slope"].attrs["units"] == "degC m-1"
    odd = data.assign_attrs(units="furlongs per foo")
    unknown = odd.modelfit(Linear1D(), "height")
    assert_bits(unknown, result)
    assert unknown["intercept"].attrs["units"] == "furlongs per foo"


# --- real data


def test_monthly_temperature_of_a_climate_model(shared_data: Path) -> None:
    """A calendar of 360 days: the year of the model is 360 days long."""
    pytest.importorskip("netCDF4")
    with xr.open_dataset(shared_data / "xclim_tas_hadgem2es.nc") as ds:
        tas = ds["tas"].load()
    days = np.array([CALENDARS["360_day"](d.year, d.month, d.day) + d.hour / 24 for d in tas["time"].values])
    result = tas.modelfit(season_360(), "time")
    assert result["level"].dims == ("lat", "lon")
    stacked = {"place": ("lat", "lon")}
    assert_season(result.stack(stacked), tas.stack(stacked).drop_vars(["place", "lat", "lon"]), days, 360.0)
    units = {name: result[name].attrs["units"] for name in SEASON}
    assert units == {"level": "K", "trend": "K d-1", "cosine": "K", "sine": "K"}
    attrs = result["fit_status"].attrs
    assert (attrs["time_units"], attrs["time_calendar"]) == ("days since 1970-01-01", "360_day")
    with pytest.raises(
        CalendarError, match=r"'360_day' of the coordinate it is 360 days.*360 \* u\.d\), and write u\.K / yr360"
    ):
        tas.modelfit(season_360(), "time", p0={"trend": 0 * u.K / u.yr})
    per_year = tas.modelfit(season_360(), "time", p0={"trend": 0 * u.Unit(u.K / (360 * u.d))})
    np.testing.assert_allclose(per_year["trend"], result["trend"] * 360, rtol=1e-9)
    part = tas.sel(time=slice("2035", "2044")).modelfit(season_360(), "time")
    np.testing.assert_allclose(part["cosine"], result["cosine"], rtol=0, atol=1.5)  # weather of ten years
    best = result.modelfit.evaluate(tas)
    np.testing.assert_allclose(((tas.astype(float) - best) ** 2).sum("time"), result["chi2"], rtol=1e-9)


def test_long_daily_series_without_leap_days(shared_data: Path) -> None:
    """64 years of days in the noleap calendar, time first, chunked; two variables of other units."""
    pytest.importorskip("netCDF4")
    with xr.open_dataset(shared_data / "xclim_nrcan.nc") as opened:
        ds = opened.load()
    days = np.array([CALENDARS["noleap"](d.year, d.month, d.day) for d in ds["time"].values], dtype=float)
    assert np.array_equal(np.diff(days), np.ones(days.size - 1))
    result = ds.modelfit(season_365(), "time")
    for name, units in (("tasmax", "K"), ("pr", "mm s-1")):
        one = result[[v for v in result.data_vars if str(v).startswith(f"{name}_")]]
        one = one.rename({v: str(v).removeprefix(f"{name}_") for v in one.data_vars})
        assert_season(one.rename(location="place"), ds[name].rename(location="place"), days, 365.0)
        assert one["level"].attrs["units"] == units
        assert parse_unit(one["trend"].attrs["units"]) == u.Unit("K / d" if name == "tasmax" else "mm / (s d)")
    lazy = ds["tasmax"].chunk(time=5000, location=1).modelfit(season_365(), "time").compute()
    for name in SEASON:
        np.testing.assert_array_equal(lazy[name].values, result[f"tasmax_{name}"].values)


def test_a_date_is_no_start_for_a_latitude() -> None:
    """Beside a time, a second input keeps its own unit: a date or a duration for its parameters is refused."""

    def hill(t: Any, y: Any, t0: float = 10961.0, y0: float = 3.2, width: float = 2.0, height: float = 1.5) -> Any:
        return np.exp(-0.5 * ((t - t0) / width) ** 2 - 0.5 * ((y - y0) / height) ** 2)

    coords = {"t": pd.date_range("2000-01-01", periods=9), "y": ("y", np.arange(7.0), {"units": "degrees_north"})}
    t, y = np.meshgrid(10957.0 + np.arange(9.0), np.arange(7.0), indexing="ij")
    data = xr.DataArray(hill(t, y, 10961.0, 3.0, 2.0, 1.0), dims=("t", "y"), coords=coords, attrs={"units": "1"})
    model = custom_model(hill)()
    for name, value in (("y0", np.datetime64("1970-01-04")), ("height", np.timedelta64(2, "D"))):
        with pytest.raises(TypeError, match=rf"p0\['{name}'\] holds times, but '{name}' is no time"):
            data.modelfit(model, dim=("t", "y"), p0={name: value})
    starts = {"t0": np.datetime64("2000-01-05"), "width": np.timedelta64(3, "D")}
    result = data.modelfit(model, dim=("t", "y"), p0=starts)
    np.testing.assert_allclose([result[name] for name in result.modelfit.params], [10961, 3, 2, 1], rtol=1e-6)


def test_odd_unit_strings_of_fire_weather(shared_data: Path) -> None:
    """A year of days with gaps; units "C", "mm/day", "km/h", "%" and the empty string are kept as they are."""
    pytest.importorskip("netCDF4")
    with xr.open_dataset(shared_data / "xclim_gfwed.nc") as opened:
        ds = opened.load()
    days = days_of(ds["time"].values)
    wanted = {
        "tas": u.deg_C / u.d,
        "prbc": u.mm / u.d**2,
        "sfcwind": u.km / u.h / u.d,
        "rh": u.percent / u.d,
        "FWI": u.d**-1,
    }
    for name, rate in wanted.items():
        data = ds[name].rename(loc="place")
        result = data.modelfit(season(), "time", errors="ignore")
        full = np.isfinite(data.values).sum(1) > 200
        assert full.sum() >= 2
        assert_season(result.isel(place=full), data.isel(place=full), days)
        for parameter in ("level", "cosine", "sine", "level_stderr"):
            assert result[parameter].attrs.get("units", "") == data.attrs["units"] or (
                data.attrs["units"] == "" and result[parameter].attrs["units"] == "1"
            )
        trend = result["trend"].attrs["units"]
        assert parse_unit(trend, temperature=name == "tas") == rate, trend


# --- polynomials: one more shape of trend


def test_a_quadratic_trend_about_its_own_epoch() -> None:
    """1 + 2 t + 3 t**2 in days since 2000-01-01, and units of each power."""
    t = np.arange(30.0)
    data = xr.DataArray(
        1 + 2 * t + 3 * t**2,
        dims="time",
        coords={"time": np.datetime64("2000-01-01", "D") + np.arange(30)},
        attrs={"units": "m"},
    )
    result = data.modelfit(Polynomial1D(2), "time", time_units="days since 2000-01-01")
    np.testing.assert_allclose([result["c0"], result["c1"], result["c2"]], [1.0, 2.0, 3.0], rtol=1e-10)
    assert [result[c].attrs["units"] for c in ("c0", "c1", "c2")] == ["m", "m d-1", "m d-2"]


def test_the_function_reads_dates_too() -> None:
    data = line(JANUARY)
    assert_bits(xr_modelfit.fit(data, Linear1D(), "time"), data.modelfit(Linear1D(), "time"))
