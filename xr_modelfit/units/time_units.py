"""Units of time as CF writes them: a unit, and an epoch from which it counts."""

import re
from typing import Any

from astropy.units import Unit

from xr_modelfit.messages import a
from xr_modelfit.units.text import UnknownUnitError, parse_unit

__all__ = ["EPOCH", "LONG", "NANOSECONDS", "check_time_units", "split_units"]

EPOCH = "1970-01-01"
NANOSECONDS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1000,
    "ns": 1,
}
LONG = {"d": "days", "h": "hours", "min": "minutes", "s": "seconds"} | {
    "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"
}  # fmt: skip
_DATE = re.compile(
    r"([+-]?\d{1,6})-(\d{1,2})-(\d{1,2})"
    r"(?:[T ]+(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(\.\d+)?)?)?)?\s*(?:Z|UTC|GMT|[+-]00:?00)?"
)
_ZONE = re.compile(r"[+-]\d{1,2}:?\d{2}$|[A-Z]{3,4}$")


def check_time_units(time_units: Any) -> None:
    """Raise TypeError or ValueError for what is no CF unit of time."""
    if time_units is None:
        return
    if not isinstance(time_units, str):
        raise TypeError(f'time_units is {a(time_units)}; pass a str such as "hours since 2015-03-01".')
    split_units(time_units)


def split_units(units: str) -> tuple[str, str | None]:
    """Symbol and epoch of a CF unit of time: ``("d", "1970-01-01")``.

    Raises ValueError for a unit without a fixed length, and for an epoch that is no date.
    """
    word, epoch = (part.strip() for part in units.strip().partition(" since ")[::2])
    symbol = _symbol(word)
    if symbol is None:
        long = word.lower().rstrip("s") in ("month", "mon", "year", "yr", "common_year", "decade", "season")
        why = "whose length depends on the calendar" if long else "which is none of those that are counted"
        raise ValueError(
            f"time_units is {units!r}, with the unit {word!r}, {why}. Use days, hours, minutes, seconds or "
            "parts of them; a parameter given as a Quantity, p0={name: Quantity}, keeps its own unit."
        )
    return symbol, _iso(epoch, units, LONG[symbol]) if epoch else None


def _symbol(word: str) -> str | None:
    try:
        unit = parse_unit(word.lower())
    except UnknownUnitError:
        return None
    return next((symbol for symbol in NANOSECONDS if unit == Unit(symbol)), None)


def _iso(epoch: str, units: str, word: str) -> str:
    """An epoch in ISO 8601, without the time if that is midnight."""
    found = _DATE.fullmatch(epoch)
    if found is None:
        zone = " Time zones other than UTC are not read: give it in UTC." if _ZONE.search(epoch) else ""
        raise ValueError(f'time_units is {units!r}; write the epoch as a date: "{word} since {EPOCH}".{zone}')
    year, month, day, hour, minute, second, part = found.groups()
    number = int(year)
    date_ = f"{'-' if number < 0 else ''}{abs(number):04d}-{int(month):02d}-{int(day):02d}"
    part = (part or "").rstrip("0").rstrip(".")
    clock = [int(v or 0) for v in (hour, minute, second)]
    if not any(clock) and not part:
        return date_
    return f"{date_} {clock[0]:02d}:{clock[1]:02d}" + (f":{clock[2]:02d}{part}" if clock[2] or part else "")
