"""Dates and durations as numbers, and back to what they mean.

A number counts a unit from an epoch in a calendar, as CF has it: "days since 1970-01-01". It is
the same whatever resolution the dates are stored in, and rounded once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import a

__all__ = ["CalendarError", "TimeAxis", "check_time_units", "holds_times", "is_time", "undecoded_axis"]

_EPOCH = "1970-01-01"
_DAY = 86_400_000_000_000  # ns
_NS = {"d": _DAY, "h": _DAY // 24, "min": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
_WORDS = {
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "min": ("min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    "us": ("us", "µs", "usec", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nanosecond", "nanoseconds"),
}
_LONG = {"d": "days", "h": "hours", "min": "minutes", "s": "seconds"} | {
    k: f"{name}seconds" for k, name in (("ms", "milli"), ("us", "micro"), ("ns", "nano"))
}
_SYMBOLS = {word: symbol for symbol, words in _WORDS.items() for word in words}
_GREGORIAN = {"standard", "gregorian", "proleptic_gregorian"}
_REFORM = np.datetime64("1582-10-15")  # before it, the Gregorian calendars differ


class CalendarError(ValueError):
    """Dates of one calendar were given where those of another are counted."""


@dataclass(frozen=True)
class TimeAxis:
    """What numbers of time mean.

    Parameters
    ----------
    symbol : str
        Unit, as UDUNITS and astropy read it and xarray does not take for a duration: ``d``.
    epoch : str or None
        From where it is counted, as in ISO 8601; None for durations.
    calendar : str or None
        A CF calendar; None for durations.
    """

    symbol: str
    epoch: str | None = None
    calendar: str | None = None

    @property
    def units(self) -> str:
        """As CF writes it: ``days since 1970-01-01``."""
        return _LONG[self.symbol] if self.epoch is None else f"{_LONG[self.symbol]} since {self.epoch}"

    def described(self) -> dict[str, str | None]:
        """For the record of a fit."""
        return {"units": self.units, "calendar": self.calendar}

    @classmethod
    def recorded(cls, described: Mapping[str, Any]) -> "TimeAxis":
        """The reverse of `described`."""
        symbol, epoch = _split_units(described["units"])
        return cls(symbol, epoch, described["calendar"])

    @classmethod
    def of(cls, values: xr.Variable, time_units: str | None = None) -> "TimeAxis":
        """The axis that dates or durations are counted on.

        Parameters
        ----------
        values : xarray.Variable
            Dates (of numpy or cftime) or durations, at least one.
        time_units : str, optional
            As CF writes it. Default: days since 1970-01-01, or days.

        Raises
        ------
        ValueError
            ``time_units`` has an epoch for durations or none for dates, or its epoch is no date
            of the calendar.
        """
        symbol, epoch = ("d", None) if time_units is None else _split_units(time_units)
        if values.dtype.kind == "m":
            if epoch is not None:
                raise ValueError(
                    f"time_units is {time_units!r}, but the coordinate holds durations, which have no epoch. Name "
                    f"the unit alone: time_units={_LONG[symbol]!r}."
                )
            return cls(symbol)
        if time_units is not None and epoch is None:
            raise ValueError(
                f"time_units is {time_units!r}, but the coordinate holds dates, which are counted from an epoch: "
                f'time_units="{_LONG[symbol]} since {_EPOCH}", for one.'
            )
        calendar = "proleptic_gregorian" if values.dtype.kind == "M" else _calendar_of(values)
        axis = cls(symbol, epoch or _EPOCH, calendar)
        axis._origin()  # raises where the epoch is no date
        return axis

    def numbers(self, values: xr.Variable, what: str) -> xr.Variable:
        """Dates or durations as numbers of this axis; NaN where there is none. Lazy ones stay lazy.

        Raises
        ------
        CalendarError
            The dates are of another calendar, or there are durations where dates are counted.
        """
        if values.dtype.kind == "m":
            self._require(what, None)
            return values.copy(data=self._counted(values.data))
        if values.dtype.kind == "M":
            self._require(what, "proleptic_gregorian", values)
            return values.copy(data=self._counted(values.data))
        if values.size == 0:
            return values.copy(data=np.zeros(values.shape))
        self._require(what, _calendar_of(values), values)
        counted: xr.Variable = xr.apply_ufunc(
            self._counted_cftime, values, dask="parallelized", output_dtypes=[np.float64], keep_attrs=True
        )
        return counted

    def _require(self, what: str, calendar: str | None, dates: xr.Variable | None = None) -> None:
        """That values of a calendar (None for durations) can be counted on this axis."""
        if calendar == self.calendar:
            return
        if calendar is None or self.calendar is None:
            kinds = ("durations", "dates") if calendar is None else ("dates", "durations")
            raise CalendarError(f"{what} holds {kinds[0]}, where {kinds[1]} are read ({self.units}). Give {kinds[1]}.")
        if {calendar, self.calendar} <= _GREGORIAN and not _before_the_reform(dates):
            return
        raise CalendarError(
            f"{what} has dates of the calendar {calendar!r}, where those of {self.calendar!r} are counted "
            f"({self.units}). Convert them: .convert_calendar({self.calendar!r})."
        )

    def _origin(self) -> tuple[int, int]:
        """The epoch: days after 1970-01-01 in this calendar, and nanoseconds of that day."""
        assert self.epoch is not None
        try:
            if self.calendar == "proleptic_gregorian":
                return _days_and_rest(np.datetime64(self.epoch.replace(" ", "T"), "us"))
            import cftime

            date = cftime.num2date(0, f"days since {self.epoch}", calendar=self.calendar)
            microseconds = int(cftime.date2num(date, f"microseconds since {_EPOCH}", calendar=self.calendar))
        except ValueError as error:
            raise ValueError(
                f"The epoch {self.epoch!r} is no date of the calendar {self.calendar!r} ({error}). Write it like "
                f'"days since {_EPOCH}" or "hours since 2015-03-01 12:00".'
            ) from None
        return microseconds * 1000 // _DAY, microseconds * 1000 % _DAY

    def _counted(self, values: Any) -> Any:
        """numpy's dates or durations as numbers; ``values`` may be a lazy array."""
        days, rest = _days_and_rest(values)
        return np.where(np.isnat(values), np.nan, self._joined(days, rest))

    def _counted_cftime(self, values: np.ndarray) -> np.ndarray:
        import cftime

        flat = np.ravel(values)
        dates = np.array([isinstance(v, cftime.datetime) for v in flat], dtype=bool)
        out = np.full(flat.shape, np.nan)
        if dates.any():
            own = str(flat[dates][0].calendar)
            counted = cftime.date2num(flat[dates], f"microseconds since {_EPOCH}", calendar=own)
            microseconds = np.asarray(counted, dtype=np.int64)
            days, rest = microseconds // (_DAY // 1000), microseconds % (_DAY // 1000) * 1000
            out[dates] = self._joined(days, rest)
        return out.reshape(values.shape)

    def _joined(self, days: Any, rest: Any) -> Any:
        """Whole days and nanoseconds in one number: both parts are exact, their sum is rounded once."""
        if self.epoch is not None:
            first, first_rest = self._origin()
            days, rest = days - first, rest - first_rest
        return days * float(_DAY // _NS[self.symbol]) + rest / float(_NS[self.symbol])


def holds_times(array: xr.DataArray | xr.Variable) -> bool:
    """Whether an array holds dates or durations. Of a lazy array of objects, one is read."""
    return array.dtype.kind in "mM" or (array.dtype.kind == "O" and _first_date(array) is not None)


def is_time(value: Any) -> bool:
    """Whether a single value is a date or a duration."""
    return isinstance(value, np.datetime64 | np.timedelta64 | datetime) or hasattr(value, "calendar")


def check_time_units(time_units: Any) -> None:
    """Refuse what is no CF unit of time.

    Raises
    ------
    TypeError, ValueError
    """
    if time_units is None:
        return
    if not isinstance(time_units, str):
        raise TypeError(f'time_units is {a(time_units)}; pass a str such as "hours since 2015-03-01".')
    _split_units(time_units)


def undecoded_axis(array: xr.DataArray) -> TimeAxis | None:
    """The axis of numbers whose attrs say that they count from an epoch; None if they do not."""
    units = array.attrs.get("units")
    if not isinstance(units, str) or " since " not in units or array.dtype.kind not in "iuf":
        return None
    try:
        symbol, epoch = _split_units(units)
    except ValueError:
        return None
    return TimeAxis(symbol, epoch, str(array.attrs.get("calendar", "standard")))


def _split_units(units: str) -> tuple[str, str | None]:
    """Symbol and epoch of a CF unit of time."""
    word, _, epoch = units.strip().partition(" since ")
    symbol = _SYMBOLS.get(word.strip()) or _SYMBOLS.get(word.strip().lower())
    if symbol is None:
        long = word.strip().lower().rstrip("s") in ("month", "year", "yr", "common_year", "decade")
        why = "whose length depends on the calendar" if long else "which is no unit of time"
        raise ValueError(
            f"time_units is {units!r}, with the unit {word.strip()!r}, {why}. Use days, hours, minutes, seconds or "
            "parts of them; a parameter given as a Quantity, p0={name: Quantity}, keeps its own unit."
        )
    epoch = epoch.strip()
    if epoch and not re.match(r"[+-]?\d{1,6}-\d{1,2}-\d{1,2}($|[T ])", epoch):
        raise ValueError(f'time_units is {units!r}; write the epoch as a date: "{_LONG[symbol]} since {_EPOCH}".')
    return symbol, _iso(epoch) or None


def _iso(epoch: str) -> str:
    """An epoch with two digits for month and day, and no time of midnight."""
    date, _, clock = epoch.replace("T", " ").partition(" ")
    clock = re.sub(r"\s*(Z|UTC|\+00:?00)$", "", clock.strip())
    if re.fullmatch(r"0?0(:00(:00(\.0*)?)?)?", clock):
        clock = ""
    year, month, day = date.rsplit("-", 2) if date else ("", "", "")
    date = f"{year.zfill(4)}-{month.zfill(2)}-{day.zfill(2)}" if date else ""
    return f"{date} {clock}".strip()


def _days_and_rest(values: Any) -> tuple[Any, Any]:
    """Whole days after 1970-01-01 and nanoseconds of that day, exact for any resolution."""
    unit, step = np.datetime_data(values.dtype)
    if unit in ("D", "W", "M", "Y", "generic"):
        values = values.astype(f"{values.dtype.kind}8[s]")
        unit, step = "s", 1
    count = values.astype(np.int64)
    per_day = _DAY // (_NS[{"m": "min"}.get(unit, unit)] * step)
    return count // per_day, count % per_day * (_DAY // per_day)


def _first_date(values: xr.DataArray | xr.Variable) -> Any:
    """The first date of an array of objects; None if it holds no dates."""
    if values.size == 0:
        return None
    one = values[(0,) * values.ndim].values.item()
    if one is None or (isinstance(one, float) and np.isnan(one)):
        if values.chunks is not None:
            return None
        one = next((v for v in np.ravel(values.values) if hasattr(v, "calendar")), None)
    return one if hasattr(one, "calendar") else None


def _before_the_reform(dates: xr.Variable | None) -> bool:
    """Whether there are dates on which the Gregorian calendars differ; of lazy ones it is not asked."""
    if dates is None or dates.chunks is not None:
        return False
    if dates.dtype.kind == "M":
        return bool(np.any(dates.values < _REFORM))
    return any(date.year <= 1582 for date in np.ravel(dates.values) if hasattr(date, "calendar"))


def _calendar_of(values: xr.Variable) -> str:
    first = _first_date(values)
    return "standard" if first is None else {"gregorian": "standard"}.get(first.calendar, str(first.calendar))
