"""Years and months of a calendar: astropy has only a year of 365.25 days, and a month of a twelfth of that."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from astropy.units import UnitBase

from xr_modelfit.units.text import write_unit
from xr_modelfit.units.times import CalendarError

__all__ = ["days_in_year", "refuse_years"]

_DAYS = {"360_day": 360, "noleap": 365, "all_leap": 366}  # in a year; in others 365.25, but for 2 in 10^5
_YEARS = {"yr": Fraction(1), "kyr": Fraction(1000), "Myr": Fraction(1_000_000), "month": Fraction(1, 12)}


def days_in_year(calendar: str | None) -> Fraction | None:
    """The mean length of a year of a calendar; that of astropy where there is no calendar, None for one not known."""
    if calendar in (None, "julian"):
        return Fraction(1461, 4)
    if calendar in ("standard", "proleptic_gregorian", "tai", "utc"):
        return Fraction(146097, 400)
    days = _DAYS.get(str(calendar))
    return None if days is None else Fraction(days)


def refuse_years(what: str, unit: UnitBase, inner: UnitBase | None, calendar: str | None) -> None:
    """Raise CalendarError if converting ``unit`` to ``inner`` takes a year that is not that of the calendar."""
    if calendar not in _DAYS or not isinstance(unit, UnitBase):  # but a magnitude of something
        return
    there = {} if inner is None else _years(inner)
    name = next((name for name, power in _years(unit).items() if power != there.get(name, 0)), None)
    if name is None:
        return
    days, text = _DAYS[calendar] * _YEARS[name], write_unit(unit)
    raise CalendarError(
        f"{what} is in {text!r}, where {name} is {float(_YEARS[name] * Fraction(1461, 4)):g} days; in the calendar "
        f"{calendar!r} of the coordinate it is {float(days):g} days. Write ({days} * u.d) in place of {name}: "
        f"{_in_days(unit, name, days)}."
    )


def _years(unit: UnitBase) -> dict[str, Any]:
    """The powers of years and months in a unit, by their names here."""
    named = ((set(base.names) & set(_YEARS), power) for base, power in zip(unit.bases, unit.powers, strict=True))
    return {names.pop(): power for names, power in named if names}


def _in_days(unit: UnitBase, name: str, days: Fraction) -> str:
    """A unit in Python, with a number of days in place of a year."""
    above: list[str] = []
    below: list[str] = []
    for base, power in zip(unit.bases, unit.powers, strict=True):
        text = f"({days} * u.d)" if name in base.names else f"u.{base.name}"
        size = "" if abs(power) == 1 else f" ** {abs(power)}"
        (above if power > 0 else below).append(text + size)
    return " / ".join([" * ".join(above or ["1"]), *below])
