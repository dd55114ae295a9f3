"""Units of a model's parameters: those that it carries, or those that its data and coordinates give.

Numbers inside a fit are in the units of the data and the coordinates ("inner" below). A parameter
that the user gave in another unit (its "own") is converted by a factor on the way in and out, so neither
samples nor coordinates are converted unless an offset or an equivalency makes it necessary.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.parameter_units.dimensions import Dimension, Units
from xr_modelfit.units.calendar_years import refuse_years
from xr_modelfit.units.text import UnknownUnitError, compose_text, write_unit
from xr_modelfit.units.times import CalendarError
from xr_modelfit.units.units import Conversion, Measure, factor, involves_temperature, measure_of, required_conversion

__all__ = [
    "Given",
    "ParameterUnit",
    "UnitSystem",
    "numbered",
    "unit_groups",
    "units_by_labels",
    "units_of",
    "with_angle",
]

Given = Mapping[int, UnitBase]


@dataclass(frozen=True)
class ParameterUnit:
    """The unit of one parameter."""

    name: str
    inner: UnitBase | None = None  # of its numbers inside the fit; None if it is not known
    own: UnitBase | None = (
        None  # of plain numbers that the user gives: that of the model's parameter, else the inner one
    )
    text: str | None = None  # units of the result
    times: tuple[ModelInput, ...] = ()  # inputs of time; it may be given as a date or a duration
    place: bool | None = None  # a position along its input (True) or a width (False); None if it is not known
    level: bool | None = None  # a value of the data's quantity (True) or a difference of such; None if it is not known
    parent: Measure | None = None  # of the data if it is a level, of the coordinate if it is a place
    angle: Fraction = Fraction(0)  # power of an angle in it, which is a pure number and may be given in degrees
    calendar: str | None = None  # of the dates in whose unit it is
    data: tuple[UnitBase, Fraction] | None = None  # the unit of the data, and its power in this one
    bare: bool = False  # the model has it without a unit, beside others that have one

    @property
    def inward(self) -> float:
        """The factor that converts plain numbers of the user to inner ones."""
        if self.own is None or self.inner is None:
            return 1.0
        found = factor(self.own, self.inner)
        assert found is not None, (self.own, self.inner)
        return found

    def numbers(self, argument: str, value: Any) -> tuple[Any, ParameterUnit]:
        """A start or bound as inner numbers, and the unit of the parameter that follows from it.

        ``value`` is a number, Quantity or DataArray, ``argument`` its name in messages. Raises ValueError for a unit
        that is not that of the parameter, or if that one is not known.
        """
        if isinstance(value, xr.DataArray):
            return self._map(argument, value)
        if isinstance(value, Quantity):
            return value.value * self._from(argument, value.unit), self._shown_in(value.unit)
        return value * self.inward, self

    def _map(self, argument: str, value: xr.DataArray) -> tuple[xr.DataArray, ParameterUnit]:
        measure = measure_of(value)
        if measure.text is None or measure.text == self.text or (self.own is None and self.text is None):
            return _times(value, self.inward), self
        try:
            unit = measure.read()
            if self.inner is not None and factor(unit, self.inner) is None:
                unit = replace(measure, temperature=True).read()  # C on an array without a name
        except UnknownUnitError as error:
            raise ValueError(f"{argument}: {error}") from None
        try:
            inward = self._from(argument, unit)
        except CalendarError:
            raise
        except ValueError as error:
            if self.inner is None or self.text is None:
                raise
            raise ValueError(
                f"{error} If the map's numbers are in another unit than its attrs say (a product or a sum keeps those "
                f"of before), say in which, such as: .assign_attrs(units={self.text!r})."
            ) from None
        return _times(value, inward), self._shown_in(unit, measure.text)

    def _from(self, argument: str, unit: UnitBase) -> float:
        """The factor that converts numbers in a unit to inner ones."""
        if self.inner is None:
            return self._from_pure(argument, unit)
        refuse_years(argument, unit, self.inner, self.calendar)
        found = factor(unit, with_angle(self.inner, self.angle, unit))
        if found is None:
            raise ValueError(
                f"{argument} is in {write_unit(unit)!r}, which cannot be converted to {write_unit(self.inner)!r}, the "
                f"unit that {self.name!r} has by the units of the data and its coordinates.{self._relabelled(unit)}"
            )
        return found

    def _from_pure(self, argument: str, unit: UnitBase) -> float:
        """The same if no unit is known: only a pure number can be converted."""
        if self.text is not None:
            raise ValueError(
                f"{argument} is in {write_unit(unit)!r}, but {self.name!r} is in {self.text!r} by the units of the "
                "data and its coordinates, which is no unit that is known. Correct it, or give a plain number."
            )
        if (pure := factor(unit, u.dimensionless_unscaled)) is None:
            raise ValueError(
                f"{argument} has the unit {write_unit(unit)!r}, but the unit of {self.name!r} is not known: neither "
                "the model nor the units of data and coordinates tell it. Give a plain number, or label them: "
                'data.assign_attrs(units="...").'
            )
        return pure

    def _relabelled(self, unit: UnitBase) -> str:
        """What to do if the unit in the attrs of the data is wrong."""
        if self.data is None or self.inner is None or not isinstance(unit, UnitBase):  # but a magnitude of something
            return ""
        right = self.data[0] * (unit / self.inner) ** (1 / self.data[1])
        return (
            " If the data is in another unit than its attrs say (arithmetic may keep those of before), correct them: "
            f"data.assign_attrs(units={write_unit(right)!r})."
        )

    def _shown_in(self, unit: UnitBase, text: str | None = None) -> ParameterUnit:
        if unit == self.own:
            return self
        inner = self.inner and with_angle(self.inner, self.angle, unit)
        return replace(self, inner=inner, own=unit, text=text or write_unit(unit))


def with_angle(inner: UnitBase, angle: Fraction, unit: UnitBase) -> UnitBase:
    """A unit, times a power of the radian if ``unit`` needs that: a rate in degrees per day."""
    if not angle or factor(unit, inner) is not None:
        return inner
    return inner * u.rad**angle


def _times(value: xr.DataArray, number: float) -> xr.DataArray:
    return value if number == 1.0 else value * number


@dataclass(frozen=True)
class UnitSystem:
    """What the numbers inside a fit mean."""

    inputs: list[ModelInput]  # converted if that is necessary
    measure: Measure  # of the data as the user has it
    parameters: tuple[ParameterUnit, ...]
    data: Conversion | None = None  # of the samples, if they are converted
    carried: bool = False  # the model carries units
    converted: Mapping[str, tuple[Conversion, Measure]] = field(default_factory=dict)  # inputs, with what they were
    model: Model | None = None  # with its lookup tables in plain numbers, if they have units

    def plain_factor(self, power: int = 1) -> float:
        """The factor for plain errors, in the data's own unit; ``power`` is -1 for weights."""
        return 1.0 if self.data is None else float(self.data.factor) ** power

    def sigma_factor(self, array: xr.DataArray | Quantity, argument: str, power: int = 1) -> float:
        """The factor for errors of the data; ``power`` is -1 for weights. Raises ValueError for another unit."""
        inner = self.plain_factor(power)
        measure = Measure(write_unit(array.unit)) if isinstance(array, Quantity) else measure_of(array)
        if measure.text is None or (measure.text == self.measure.text and power == 1):
            return inner
        if self.measure.text is None:
            if not isinstance(array, Quantity):
                return inner  # nothing says what the data is in
            if (pure := factor(array.unit, u.dimensionless_unscaled)) is not None:
                return pure * inner
            raise ValueError(
                f"{argument} is in {measure.text!r}, but the data has no units. Label it with the unit of its "
                f"numbers, such as: data.assign_attrs(units={measure.text!r})."
            )
        of = "the data" if power == 1 else "one over the data"
        wanted = replace(self.measure, text=compose_text([(self.measure.text, power)]))
        return required_conversion(measure, wanted, f"{argument} is", of, difference=True).factor * inner


def unit_groups(inputs: Sequence[ModelInput]) -> list[int]:
    """A number for each input; the same for inputs of the same unit."""
    return numbered([one.measure.text if one.measure.unit is None else one.measure.unit for one in inputs])


def numbered(kinds: Sequence[Any]) -> list[int]:
    """For each of some things, the number of the first equal one among those that differ."""
    distinct: list[Any] = []
    for kind in kinds:
        if kind not in distinct:
            distinct.append(kind)
    return [distinct.index(kind) for kind in kinds]


def units_of(inputs: Sequence[ModelInput], measure: Measure, given: Given) -> Units:
    """The units that dimensions are powers of."""
    units = tuple(one.measure.unit for one in inputs)
    times = any(unit is not None and unit.physical_type == "time" for unit in units)
    spellings = numbered([one.measure.text for one in inputs])
    return Units(measure.unit, units, tuple(unit_groups(inputs)), tuple(spellings), tuple(given.items()), times)


def units_by_labels(
    names: Sequence[str],
    exponents: Sequence[Dimension | None],
    inputs: Sequence[ModelInput],
    groups: Sequence[int],
    measure: Measure,
    given: Given,
) -> tuple[ParameterUnit, ...]:
    """Units of parameters from those of data and coordinates, and those that were given for other parameters."""
    measures = _measures_of_groups(inputs, groups)
    return tuple(
        ParameterUnit(name) if one is None else _unit_by_labels(name, one, measure, measures, inputs, groups, given)
        for name, one in zip(names, exponents, strict=True)
    )


def _measures_of_groups(inputs: Sequence[ModelInput], groups: Sequence[int]) -> list[Measure]:
    """What the numbers of each group of inputs mean; if a unit is spelled in two ways, in a third spelling."""
    found = []
    for group in range(max(groups, default=-1) + 1):
        own = [one.measure for one, g in zip(inputs, groups, strict=True) if g == group]
        same = own[0].unit is None or all(m.text == own[0].text for m in own)
        found.append(own[0] if same else Measure(write_unit(own[0].read()), own[0].temperature, time=own[0].time))
    return found


def _unit_by_labels(
    name: str,
    one: Dimension,
    measure: Measure,
    measures: Sequence[Measure],
    inputs: Sequence[ModelInput],
    groups: Sequence[int],
    given: Given,
) -> ParameterUnit:
    """The unit of a parameter by its dimension; ``measures`` are those of the groups of inputs."""
    parent, level = None, None
    if one.place is not None:  # so it has the unit of that input, as it is spelled there
        measures = [inputs[one.place].measure if p == 1 else m for m, p in zip(measures, one.inputs, strict=True)]
    factors = [(m, p) for m, p in zip((measure, *measures), (one.output, *one.inputs), strict=True) if p != 0]
    if one.level is not None and one.output != 0:
        mixed = any(involves_temperature(m.text) for m, _ in factors[1:])
        parent, level = measure if one.level else None, None if mixed else one.level
    factors += [(Measure(write_unit(given[j])), p) for j, p in one.given]
    if any(m.text is None for m, _ in factors):
        return ParameterUnit(name, parent=parent, level=level)
    if one.unit is not None:
        return ParameterUnit(name, one.unit, one.unit, write_unit(one.unit))
    text = compose_text([(str(m.text), p) for m, p in factors])
    inner: UnitBase | None = u.dimensionless_unscaled
    for m, p in factors:
        inner = None if inner is None or m.unit is None else inner * m.unit**p
    if len(factors) == 1 and factors[0][1] == 1:
        inner = factors[0][0].unit  # degC stays what it is
    clocks = [i for i, g in zip(inputs, groups, strict=True) if one.inputs[g] != 0 and i.measure.time is not None]
    calendar = next((i.measure.time.calendar for i in clocks if i.measure.time), None)
    is_time = one.output == 0 and [p for p in one.inputs if p != 0] == [1]
    data = (measure.unit, one.output) if measure.unit is not None and one.output != 0 else None
    place = True if one.place is not None else False if one.width else None
    parent = parent if one.place is None else inputs[one.place].measure
    return ParameterUnit(
        name, inner, inner, text, tuple(clocks) if is_time else (), place, level, parent, one.angle, calendar, data
    )
