"""Dates and durations as numbers, and back to what they mean.

A number counts a unit from an epoch in a calendar, as CF has it: "days since 1970-01-01". It is
the same whatever resolution the dates are stored in, and rounded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed
from xr_modelfit.units.time_units import EPOCH, LONG, NANOSECONDS, split_units

__all__ = ["CalendarError", "TimeAxis", "as_times", "holds_times", "undecoded_axis"]

_DAY = NANOSECONDS["d"]
_GREGORIAN = {"standard", "proleptic_gregorian"}
_SAME = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}  # as CF has it
_CALENDARS = ("standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian", "tai", "utc")
_REFORM = np.datetime64("1582-10-15")  # before it, the Gregorian calendars differ


class CalendarError(ValueError):
    """Dates of one calendar were given where those of another are counted."""


@dataclass(frozen=True)
class TimeAxis:
    """What numbers of time mean. Durations have neither epoch nor calendar."""

    symbol: str  # of the unit, as UDUNITS and astropy read it and xarray does not take for a duration: d
    epoch: str | None = None  # in ISO 8601
    calendar: str | None = None  # by its name in CF

    @property
    def units(self) -> str:
        """As CF writes it: ``days since 1970-01-01``."""
        return LONG[self.symbol] if self.epoch is None else f"{LONG[self.symbol]} since {self.epoch}"

    def described(self) -> dict[str, str | None]:
        """For the record of a fit."""
        return {"units": self.units, "calendar": self.calendar}

    @classmethod
    def recorded(cls, described: Mapping[str, Any]) -> "TimeAxis":
        """The reverse of `described`."""
        return cls(*split_units(described["units"]), described["calendar"])

    @classmethod
    def durations(cls, units: str) -> "TimeAxis":
        """The axis of durations in a unit of CF."""
        return cls(split_units(units)[0])

    @classmethod
    def of(cls, values: xr.Variable, time_units: str | None = None) -> "TimeAxis":
        """The axis that dates (of numpy or cftime) or durations are counted on: days since 1970-01-01, or days.

        Raises ValueError if ``time_units`` has an epoch for durations or none for dates, or its epoch is no date of the
        calendar.
        """
        symbol, epoch = ("d", None) if time_units is None else split_units(time_units)
        if values.dtype.kind == "m":
            if epoch is not None:
                raise ValueError(
                    f"time_units is {time_units!r}, but the coordinate holds durations, which have no epoch. Name "
                    f"the unit alone: time_units={LONG[symbol]!r}."
                )
            return cls(symbol)
        if time_units is not None and epoch is None:
            raise ValueError(
                f"time_units is {time_units!r}, but the coordinate holds dates, which are counted from an epoch: "
                f'time_units="{LONG[symbol]} since {EPOCH}", for example.'
            )
        axis = cls(symbol, epoch or EPOCH, _calendar_of(values))
        axis._origin()  # raises where the epoch is no date
        return axis

    def numbers(self, values: xr.Variable, what: str) -> xr.Variable:
        """Dates or durations as numbers of this axis; NaN where there is none. Lazy ones stay lazy.

        Raises CalendarError if the dates are of another calendar, or there are durations where dates are counted.
        """
        if values.dtype.kind == "O" and values.size == 0:
            return values.copy(data=np.zeros(values.shape))
        self._require(what, _calendar_of(values))
        counted: xr.Variable = xr.apply_ufunc(
            self._counted_cftime if values.dtype.kind == "O" else self._counted,
            values,
            kwargs={"what": what},
            dask="parallelized",
            output_dtypes=[np.float64],
            keep_attrs=True,
        )
        return counted

    def agrees_with(self, other: "TimeAxis") -> bool:
        """Whether numbers of both mean the same, dates before the reform of the calendar left aside."""
        return self._counts(other.calendar) and (self.symbol, self.epoch) == (other.symbol, other.epoch)

    def _counts(self, calendar: str | None) -> bool:
        return calendar == self.calendar or {calendar, self.calendar} <= _GREGORIAN

    def _require(self, what: str, calendar: str | None) -> None:
        """Refuse values of another calendar (None for durations)."""
        if self._counts(calendar):
            return
        if calendar is None or self.calendar is None:
            kinds = ("durations", "dates") if calendar is None else ("dates", "durations")
            raise CalendarError(f"{what} holds {kinds[0]}, where {kinds[1]} are read ({self.units}). Give {kinds[1]}.")
        self._refuse(what, calendar)

    def _refuse(self, what: str, calendar: str) -> None:
        raise CalendarError(
            f"{what} has dates of the calendar {calendar!r}, where those of {self.calendar!r} are counted "
            f"({self.units}). Convert them: .convert_calendar({self.calendar!r})."
        )

    def _origin(self) -> tuple[Any, Any]:
        """The epoch: days after 1970-01-01 in this calendar, and nanoseconds of that day."""
        assert self.epoch is not None
        try:
            if self.calendar == "proleptic_gregorian":
                return _days_and_rest(np.datetime64(self.epoch.replace(" ", "T"), "us"))
            import cftime

            first = cftime.num2date(0, f"days since {self.epoch}", calendar=self.calendar)
            return _days_and_rest(_microseconds(first, self.calendar))
        except ValueError as error:
            raise ValueError(
                f"The epoch {self.epoch!r} is no date of the calendar {self.calendar!r} ({error}). Write it like "
                f'"days since {EPOCH}" or "hours since 2015-03-01 12:00".'
            ) from None

    def _counted(self, values: np.ndarray, what: str) -> np.ndarray:
        """NumPy's dates or durations as numbers."""
        if self.calendar == "standard" and np.any(values.astype("M8[s]") < _REFORM):
            self._refuse(f"{what} begins before 1582-10-15, and", "proleptic_gregorian")
        return np.where(np.isnat(values), np.nan, self._numbers(*_days_and_rest(values)))

    def _counted_cftime(self, values: np.ndarray, what: str) -> np.ndarray:
        """Dates of cftime as numbers; whatever is no date is NaN."""
        calendars = np.array([_calendar(v) for v in values.ravel()], dtype=object).reshape(values.shape)
        out = np.full(values.shape, np.nan)
        for calendar in sorted(set(calendars.ravel()) - {None}):
            here = calendars == calendar
            early = any(v.year <= 1582 for v in values[here])
            if calendar != self.calendar and (early or not self._counts(calendar)):
                self._refuse(what, calendar)
            out[here] = self._numbers(*_days_and_rest(_microseconds(values[here], calendar)))
        return out

    def _numbers(self, days: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Whole days and nanoseconds in one number: what each operation rounds off is added at the end."""
        if self.epoch is not None:
            first, first_rest = self._origin()
            days, rest = days - first, rest - first_rest
        unit = NANOSECONDS[self.symbol]
        whole, part = (rest // unit).astype(float), (rest % unit).astype(float)
        quotient = part / unit
        product, missing = _two_product(quotient, float(unit))
        fraction = ((part - product) - missing) / unit
        total, lost = _two_sum(days.astype(float) * float(_DAY // unit), whole)
        total, more = _two_sum(total, quotient)
        return np.asarray(total + (more + (lost + fraction)))


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knuth's sum of two numbers, and its rounding error."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _two_product(a: np.ndarray, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Dekker's product of two numbers, and its rounding error."""
    split = 2.0**27 + 1.0
    a_high, b_high = split * a - (split * a - a), split * b - (split * b - b)
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def as_times(value: Any) -> np.ndarray | None:
    """Dates or durations of Python, pandas, numpy or cftime, or text, as an array; None for anything else."""
    array = np.asarray(value)
    if array.dtype.kind in "US":
        text = array.tolist()
        try:
            return np.array(text, dtype="datetime64")
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no date ({error}). Write dates like '2015-03-01' or '2015-03-01T12:00'."
            ) from None
    if array.dtype.kind in "mM":
        generic = np.datetime_data(array.dtype)[0] == "generic"  # NaT alone
        return array.astype(f"{array.dtype.kind}8[s]") if generic else array
    if array.dtype.kind != "O" or array.size == 0:
        return None
    flat = [_as_numpy(v) for v in array.ravel()]
    if any(hasattr(v, "calendar") for v in flat):
        return array
    if not all(isinstance(v, np.datetime64 | np.timedelta64) for v in flat):
        return None
    return np.array(flat).reshape(array.shape)


def _as_numpy(value: Any) -> Any:
    for convert in ("to_datetime64", "to_timedelta64"):  # pandas has nanoseconds
        if hasattr(value, convert):
            return getattr(value, convert)()
    if isinstance(value, datetime | date):
        return np.datetime64(value, "us")
    return np.timedelta64(value, "us") if isinstance(value, timedelta) else value


def holds_times(array: xr.DataArray | xr.Variable) -> bool:
    """Whether an array holds dates or durations. Lazy objects are looked into."""
    if array.dtype.kind != "O":
        return array.dtype.kind in "mM"
    if array.size == 0:  # an empty selection still has its index
        return isinstance(array, xr.DataArray) and any(isinstance(i, xr.CFTimeIndex) for i in array.indexes.values())
    return _first_date(array) is not None


def undecoded_axis(array: xr.DataArray) -> TimeAxis | None:
    """The axis of numbers whose attrs say that they count from an epoch; None if they do not.

    Raises CalendarError if the calendar is not known.
    """
    units = array.attrs.get("units")
    if not isinstance(units, str) or " since " not in units or array.dtype.kind not in "iuf":
        return None
    try:
        symbol, epoch = split_units(units)
    except ValueError:
        return None
    told = str(array.attrs.get("calendar", "standard"))
    calendar = _SAME.get(told.lower(), told.lower())
    if calendar not in _CALENDARS:
        raise CalendarError(f"The coordinate {array.name!r} has the calendar {told!r}; CF knows {listed(_CALENDARS)}.")
    return TimeAxis(symbol, epoch, calendar)


def _days_and_rest(values: Any) -> tuple[Any, Any]:
    """Whole days after 1970-01-01 and nanoseconds of that day, exact for any resolution."""
    unit, step = np.datetime_data(values.dtype)
    if unit in ("D", "W", "M", "Y", "generic"):
        values = values.astype(f"{values.dtype.kind}8[s]")
        unit, step = "s", 1
    count = values.astype(np.int64)
    per_day = _DAY // (NANOSECONDS[{"m": "min"}.get(unit, unit)] * step)
    return count // per_day, count % per_day * (_DAY // per_day)


def _microseconds(dates: Any, calendar: str | None) -> Any:
    """Dates of cftime as durations since 1970-01-01 in their calendar."""
    import cftime

    counted = cftime.date2num(dates, f"microseconds since {EPOCH}", calendar=calendar)
    return np.asarray(counted, dtype=np.int64).view("m8[us]")


def _calendar_of(values: xr.Variable) -> str | None:
    """The calendar of dates, by the first one; None for durations."""
    if values.dtype.kind in "mM":
        return "proleptic_gregorian" if values.dtype.kind == "M" else None
    first = _first_date(values)
    return "standard" if first is None else _calendar(first)


def _first_date(values: xr.DataArray | xr.Variable) -> Any:
    """The first date of an array of objects; None if it holds no dates."""
    if values.size == 0:
        return None
    one = values[(0,) * values.ndim].values.item()
    if one is None or (isinstance(one, float) and np.isnan(one)):
        one = next((v for v in np.ravel(values.values) if hasattr(v, "calendar")), None)
    return one if hasattr(one, "calendar") else None


def _calendar(value: Any) -> str | None:
    """The calendar of a date of cftime; None of anything else."""
    name = getattr(value, "calendar", None)
    return None if name is None else _SAME.get(str(name), str(name))
