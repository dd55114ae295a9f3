"""Years and months of a calendar: astropy has only a year of 365.25 days, and a month of a twelfth of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from astropy import units as u
from astropy.units import IrreducibleUnit, UnitBase

from xr_modelfit.units.text import write_unit
from xr_modelfit.units.times import CalendarError

__all__ = ["days_in_year", "refuse_years"]

_DAYS = {"360_day": 360, "noleap": 365, "all_leap": 366}  # in a year; in others 365.25, but for 2 in 10^5
_YEARS = {"yr", "a", "month"}  # of 365.25 days and a twelfth; all others are made of them


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
    there = Fraction(0) if inner is None else _years(inner)
    if _years(unit) == there:
        return
    bases = list(_times(unit))
    year = next(base for base, _ in bases if _years(base))
    days = Fraction(year.to(u.d)).limit_denominator(1000)
    own = days * _DAYS[calendar] / Fraction(1461, 4)
    name = year.name
    defined = f"{name}{_DAYS[calendar]}"
    raise CalendarError(
        f"{what} is in {write_unit(unit)!r}, where {name} is {float(days):g} days; in the calendar {calendar!r} of the "
        f"coordinate it is {float(own):g} days. Define it, {defined} = u.def_unit({defined!r}, {own} * u.d), "
        f"and write {_in_python(bases, year, defined)}. For a trend: fit without the unit, and ask the result "
        "for derived('per decade'), which knows the calendar."
    )


def _years(unit: UnitBase) -> Fraction:
    """The power of years of 365.25 days in a unit, whatever it is called; those that are defined in days are none."""
    found = Fraction(0)
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if _YEARS.intersection(base.names):
            found += Fraction(power)
        elif not isinstance(base, IrreducibleUnit):
            found += Fraction(power) * _years(base.represents)
    return found


def _times(unit: UnitBase) -> Iterator[tuple[UnitBase, Any]]:
    """Bases and powers of a unit; one with a year that is no time itself is taken apart."""
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if _years(base) and not base.is_equivalent(u.d):
            yield from ((one, p * power) for one, p in _times(base.represents))
        else:
            yield base, power


def _in_python(bases: Iterable[tuple[UnitBase, Any]], year: UnitBase, defined: str) -> str:
    """A unit in Python, with a unit that was defined in place of a year."""
    above: list[str] = []
    below: list[str] = []
    for base, power in bases:
        text = defined if base is year else f"u.{base.name}"
        size = "" if abs(power) == 1 else f" ** {abs(power)}"
        (above if power > 0 else below).append(text + size)
    return " / ".join([" * ".join(above or ["1"]), *below])
