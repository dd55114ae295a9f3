"""Trends per decade or per year: slopes in time, in years of the coordinate's own calendar."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import Model, models

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.models.expression import parts_of
from xr_modelfit.records.metadata import difference_attrs
from xr_modelfit.records.record import FitRecord
from xr_modelfit.results.quantities import DerivedQuantity
from xr_modelfit.units.calendar_years import days_in_year
from xr_modelfit.units.text import UnknownUnitError, parse_unit
from xr_modelfit.units.time_units import NANOSECONDS
from xr_modelfit.units.times import TimeAxis
from xr_modelfit.units.units import factor

__all__ = ["is_trend", "trends"]

_SPANS = {"per_year": 1, "per_decade": 10}
_ASTROPY_S_YEAR = ("standard", "proleptic_gregorian", "julian", "tai", "utc", None)  # but for 2 in 10^5


def is_trend(name: Any) -> bool:
    """Whether a quantity is called like a trend: ``per decade``, ``slope_per_year``."""
    return isinstance(name, str) and _word(name).endswith(tuple(_SPANS))


def _word(name: str) -> str:
    return name.strip().replace(" ", "_")


def trends(record: FitRecord, template: Model, name: str) -> list[DerivedQuantity]:
    """The trends that a name asks for: of all slopes in time, or of the parameter that comes before ``per``.

    Raises
    ------
    ValueError
        The coordinate is no time, there is no slope, or the parameter is none.
    """
    word = _word(name)
    span = next(one for one in _SPANS if word.endswith(one))
    parameter = word.removesuffix(span).removesuffix("_")
    year = _Year.of(record, name)
    slopes = sorted({*_slopes(template), *_by_units(record, template)})
    if parameter:
        if parameter not in record.names:
            raise ValueError(
                f"derived got {name!r}, and the parameters of the fit are {listed(record.names)}."
                f"{suggestion(parameter, record.names)} Name one: {record.names[0]}_{span}."
            )
        j = record.names.index(parameter)
        if j not in slopes:
            raise ValueError(
                f"derived got {name!r}, but {parameter!r} is not known to be a change of the data per time: the model "
                f"does not say so, and its unit is {_texts(record)[j]!r}. Give a function: "
                f"derived(trend=lambda {parameter}: ...)."
            )
        slopes = [j]
    if not slopes:
        raise ValueError(
            f"derived got {name!r}, but no parameter is known to be a change of the data per time: a slope of "
            f"Linear1D, or one whose unit is that of the data per time. Parameters are {listed(record.names)}. Give a "
            "function: derived(trend=lambda rate: ...)."
        )
    return [year.trend(record, j, span) for j in slopes]


@dataclass(frozen=True)
class _Year:
    """How long a year is."""

    numbers: Fraction | float  # of the coordinate
    days: Fraction | None  # where the coordinate has a calendar or holds durations
    calendar: str | None

    @classmethod
    def of(cls, record: FitRecord, name: str) -> _Year:
        """The length in the fit; a ValueError where it has no time."""
        one = record.inputs[0]
        if len(record.inputs) == 1 and one.get("time") is not None:
            axis = TimeAxis.recorded(one["time"])
            days = days_in_year(axis.calendar)
            if days is not None:
                return cls(days * Fraction(NANOSECONDS["d"], NANOSECONDS[axis.symbol]), days, axis.calendar)
        elif len(record.inputs) == 1 and one.get("units") is not None:
            try:
                return cls(float((1.0 * u.yr).to_value(parse_unit(one["units"]))), None, None)
            except (UnknownUnitError, u.UnitsError):
                pass
        read = listed([each["coordinate"] for each in record.inputs])
        raise ValueError(
            f"derived got {name!r}, but the fit read {read}, which is not known to be one time. Use dates, or give the "
            "coordinate a unit of time before the fit; or give a function: derived(trend=lambda slope: 10 * slope)."
        )

    def trend(self, record: FitRecord, j: int, span: str) -> DerivedQuantity:
        """The trend of parameter ``j``."""
        units, years, name = record.units or {}, _SPANS[span], record.names[j]
        scale = units.get("scale") or [1.0]
        factor = units.get("inward", np.ones(len(record.names)))[j] / scale[0] * float(self.numbers * years)
        told = {} if units.get("data") is None else difference_attrs(_joined(units["data"], self._per(span)))
        if self.days is not None and self.calendar is not None:
            length = f"{'10 years of ' if years > 1 else ''}{float(self.days):.10g} days"
            told["comment"] = f"a {span.removeprefix('per_')} is {length}, by the calendar {self.calendar!r}"
        title = f"{name} {span.replace('_', ' ')}"
        return DerivedQuantity(f"{name}_{span}", title, _Times(factor), (j,), told=told)

    def _per(self, span: str) -> str:
        """The unit of one over the span; a year of other calendars is a number of days."""
        if self.calendar in _ASTROPY_S_YEAR:
            return f"{span.removeprefix('per_')}-1"
        assert self.days is not None
        return f"({int(self.days * _SPANS[span])} d)-1"


@dataclass(frozen=True)
class _Times:
    """A number times a parameter."""

    factor: float

    def __call__(self, slope: np.ndarray) -> np.ndarray:
        return self.factor * slope


def _joined(data: str, per: str) -> str:
    """The unit of the data per time."""
    try:
        parse_unit(data)
    except UnknownUnitError:
        data = f"({data})"
    return per if data == "1" else f"{data} {per}"


def _slopes(template: Model) -> Iterator[int]:
    """Numbers of the slopes of straight lines in a sum."""
    for part in parts_of(template):
        model = part.model
        if not part.additive:
            continue
        if type(model) is models.Linear1D:
            yield part.parameters[0]
        elif type(model) is models.Polynomial1D and model.degree == 1:
            same = model.domain is None or model.window is None or tuple(model.domain) == tuple(model.window)
            if same:  # else the coordinate is stretched first
                yield part.parameters[1]


def _by_units(record: FitRecord, template: Model) -> Iterator[int]:
    """Numbers of parameters of functions and of the user's classes whose unit is that of the data per time."""
    units = record.units or {}
    own = {j for part in parts_of(template) if not _is_astropy_s(part.model) for j in part.parameters}
    try:
        data = None if units.get("data") is None else parse_unit(units["data"])
    except UnknownUnitError:
        return
    if data is None or data.is_equivalent(u.dimensionless_unscaled):  # then a frequency would be one
        return
    for j, text in enumerate(_texts(record)):
        if j in own and text is not None:
            try:
                if factor(parse_unit(text), data / u.s) is not None:  # a degree per day is a kelvin per day
                    yield j
            except (UnknownUnitError, u.UnitsError, TypeError):
                continue


def _is_astropy_s(model: Model) -> bool:
    return type(model).__module__.startswith("astropy.")


def _texts(record: FitRecord) -> list[str | None]:
    return (record.units or {}).get("parameters") or [None] * len(record.names)
