r"""Waves in one form: an amplitude that is not negative, and the place or the day of the year of the first maximum.

A wave, or a sum of waves of one frequency ``f``, is ``Re(C exp(2 pi i f x))`` with ``C`` the sum of
``+-A exp(2 pi i (phase - s))``, where ``s`` is a quarter for a sine and 0 for a cosine. Its amplitude is ``|C|``, and
its maxima are where ``f x + arg(C) / 2 pi`` is a whole number. The first maximum is the first one from the lowest
coordinate of the fit on; where the record does not tell that, from 0 on.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model, models

from xr_modelfit.models.expression import Part, parts_of
from xr_modelfit.records.metadata import difference_attrs
from xr_modelfit.records.record import FitRecord
from xr_modelfit.results.quantities import DerivedQuantity
from xr_modelfit.units.calendar_years import days_in_year
from xr_modelfit.units.time_units import NANOSECONDS
from xr_modelfit.units.times import TimeAxis

__all__ = ["sum_of_waves", "wave_of"]

_BEHIND = {models.Sine1D: 0.25, models.Cosine1D: 0.0}  # cycles from the phase to the maximum
_AMPLITUDE, _MAXIMUM, _DAY = "wave_amplitude", "maximum", "maximum_day"
_MOST_YEARS = 10_000


@dataclass(frozen=True)
class _Wave:
    """Waves of one frequency; a function of it takes an amplitude and a phase of each, and then the frequency.

    Numbers are those inside the fit; ``inward`` is what parameters are multiplied by to be such numbers.
    """

    parts: tuple[tuple[int, float], ...]  # sign in the sum, and cycles from the phase to the maximum
    inward: tuple[float, ...]

    def coefficient(self, P: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """``C`` for a positive frequency, and that frequency."""
        *numbers, f = (np.asarray(p, dtype=float) * i for p, i in zip(P, self.inward, strict=True))
        C = np.zeros(np.shape(f), dtype=complex)
        for (sign, behind), A, phase in zip(self.parts, numbers[::2], numbers[1::2], strict=True):
            C = C + sign * A * np.exp(2j * np.pi * (phase - behind))
        return np.where(f < 0, np.conj(C), C), np.abs(f)


@dataclass(frozen=True)
class _Size:
    """The amplitude, in the unit of the first one."""

    wave: _Wave

    def __call__(self, *P: np.ndarray) -> np.ndarray:
        C, _ = self.wave.coefficient(P)
        return np.asarray(np.abs(C) / abs(self.wave.inward[0]))


@dataclass(frozen=True)
class _Maximum:
    """The first maximum that is not before ``first``."""

    wave: _Wave
    first: float

    def __call__(self, *P: np.ndarray) -> np.ndarray:
        return self.about(*P)(*P)

    def about(self, *P: np.ndarray) -> _OneMaximum:
        """The maximum that is the first at these parameters, as a function of parameters."""
        C, f = self.wave.coefficient(P)
        return _OneMaximum(self.wave, C, np.ceil(self.first * f + np.angle(C) / (2 * np.pi)))


@dataclass(frozen=True)
class _OneMaximum:
    """One maximum, by its number ``n``; phases are counted on from that of ``C``."""

    wave: _Wave
    C: np.ndarray
    n: np.ndarray

    def __call__(self, *P: np.ndarray) -> np.ndarray:
        C, f = self.wave.coefficient(P)
        cycles = (np.angle(C * np.conj(self.C)) + np.angle(self.C)) / (2 * np.pi)
        return np.asarray(np.where(np.abs(self.C) > 0, self.n - cycles, np.nan) / f)


@dataclass(frozen=True)
class _Day:
    """The day of the year of the first maximum: 1.0 where 1 January begins."""

    maximum: _Maximum
    januaries: tuple[float, ...]  # where years begin, in numbers of the coordinate
    per_day: float

    def __call__(self, *P: np.ndarray) -> np.ndarray:
        return self.about(*P)(*P)

    def about(self, *P: np.ndarray) -> _OneDay:
        """The day in the year of this maximum."""
        one = self.maximum.about(*P)
        x, begins = one(*P), np.array(self.januaries)
        year = np.searchsorted(begins, x, side="right") - 1
        known = np.isfinite(x) & (year >= 0) & (year < begins.size - 1)
        return _OneDay(one, np.where(known, begins[np.where(known, year, 0)], np.nan), self.per_day)


@dataclass(frozen=True)
class _OneDay:
    """Days from the beginning of a year, which is day 1."""

    maximum: _OneMaximum
    begins: np.ndarray
    per_day: float

    def __call__(self, *P: np.ndarray) -> np.ndarray:
        return 1.0 + (self.maximum(*P) - self.begins) / self.per_day


def wave_of(record: FitRecord, template: Model, first: int, like: Any) -> list[DerivedQuantity]:
    """What is known of the wave whose first parameter is number ``first``; nothing where there is none in a sum.

    ``like`` gives a quantity the name that it has in this model.
    """
    part = next((one for one in _waves(record, template) if one.parameters[0] == first), None)
    return [] if part is None else _quantities(record, [part], like, type(part.model).__name__)


def sum_of_waves(record: FitRecord, template: Model) -> list[DerivedQuantity]:
    """What is known of a sum of two waves or more that have the same fixed frequency."""
    waves = _waves(record, template)
    held = {float(one.model.frequency.value) for one in waves if one.model.frequency.fixed}
    if len(waves) < 2 or len(held) != 1 or not all(one.model.frequency.fixed for one in waves):
        return []
    if "frequency" in " ".join(record.content.get("options", {}).get("maps", {}).get("fixed", [])):
        return []  # held at another value in each fit
    return _quantities(record, waves, lambda name: name, "sum of waves")


def _waves(record: FitRecord, template: Model) -> list[Part]:
    if len(record.inputs) != 1:
        return []
    return [part for part in parts_of(template) if part.additive and type(part.model) in _BEHIND]


def _quantities(record: FitRecord, waves: Sequence[Part], like: Any, title: str) -> list[DerivedQuantity]:
    inward = (record.units or {}).get("inward") or [1.0] * len(record.names)
    amplitudes = [number for one in waves for number in (one.parameters[0], one.parameters[2])]
    own = (*amplitudes, waves[0].parameters[1])
    wave = _Wave(tuple((one.sign, _BEHIND[type(one.model)]) for one in waves), tuple(inward[j] for j in own))
    coordinate = record.inputs[0]
    maximum = _Maximum(wave, float(coordinate.get("extent", [0.0])[0]))
    time = None if coordinate.get("time") is None else TimeAxis.recorded(coordinate["time"])
    text = (record.units or {}).get("parameters", [None] * len(inward))[own[0]]
    one = len(waves) == 1
    by_phase = one and bool(waves[0].model.frequency.fixed)  # the amplitude only says which way is up
    size: tuple[Any, tuple[int, ...]] = (np.abs, own[:1]) if one else (_Size(wave), own)
    words = f"amplitude of {title}, not negative", f"first maximum of {title}"
    place, length = _place(coordinate, time), _length(coordinate, time)
    found = [
        DerivedQuantity(like(_AMPLITUDE), words[0], *size, told=difference_attrs(text)),
        DerivedQuantity(like(_MAXIMUM), words[1], maximum, own, told=place, told_of_error=length, of_one=by_phase),
    ]
    begins = _januaries(coordinate, time)
    if time is not None and begins:
        day, title = _Day(maximum, begins, _per_day(time)), f"day of the year of the {words[1]}"
        found.append(DerivedQuantity(like(_DAY), title, day, own, told={"units": "d"}, of_one=by_phase))
    return found


def _place(coordinate: Any, time: TimeAxis | None) -> dict[str, str]:
    """Attrs of a value of the coordinate; a date is told as CF has it."""
    if time is None or time.epoch is None:
        return _length(coordinate, time)
    return {"units": time.units} | ({} if time.calendar is None else {"calendar": time.calendar})


def _length(coordinate: Any, time: TimeAxis | None) -> dict[str, str]:
    """Attrs of a difference of values of the coordinate."""
    text = coordinate.get("units") if time is None else time.symbol
    return {} if text is None else difference_attrs(text)


def _per_day(time: TimeAxis) -> float:
    return NANOSECONDS["d"] / NANOSECONDS[time.symbol]


def _januaries(coordinate: Any, time: TimeAxis | None) -> tuple[float, ...]:
    """Where the years begin in which a maximum may be, in numbers of the coordinate; none where it holds no dates."""
    if time is None or time.epoch is None or time.calendar is None:
        return ()
    year = days_in_year(time.calendar)
    if year is None:
        return ()
    low, high = coordinate.get("extent", [0.0, 0.0])[:2]
    numbers_per_year = float(year) * _per_day(time)
    epoch = int(re.match(r"-?\d+", time.epoch)[0])  # type: ignore[index]  # an epoch is a date in ISO 8601
    first = epoch + math.floor(low / numbers_per_year) - 1
    last = epoch + math.ceil(high / numbers_per_year) + 3
    if last - first > _MOST_YEARS:
        return ()
    return tuple(time.numbers(_first_days(range(first, last + 1), time.calendar), "1 January").values.tolist())


def _first_days(years: range, calendar: str) -> xr.Variable:
    """1 January of some years."""
    if calendar == "proleptic_gregorian" or (calendar == "standard" and years[0] > 1582):
        return xr.Variable("year", np.array([f"{year:04d}-01-01" for year in years], dtype="M8[s]"))
    import cftime

    days = np.empty(len(years), dtype=object)
    days[:] = [cftime.datetime(year, 1, 1, calendar=calendar) for year in years]
    return xr.Variable("year", days)
