"""Units of a model's parameters: those that it carries, or those that its data and coordinates give.

Numbers inside a fit are in the units of the data and the coordinates ("inner" below). A parameter
that the user gave in another unit (the "own" one) goes in and comes out by a factor, so neither
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
from xr_modelfit.units.units import Conversion, Measure, factor, involves_temperature, measure_of, required_conversion

__all__ = [
    "Given",
    "ParameterUnit",
    "UnitSystem",
    "measures_of_groups",
    "told_by_labels",
    "unit_groups",
    "units_of",
    "with_angle",
]

Given = Mapping[int, UnitBase]


@dataclass(frozen=True)
class ParameterUnit:
    """The unit of one parameter.

    Parameters
    ----------
    name : str
    inner : astropy unit or None
        Of its numbers inside the fit; None where it is not known.
    own : astropy unit or None
        Of plain numbers that the user gives; that of the model's parameter, else the inner one.
    text : str or None
        ``units`` of the result.
    times : tuple of ModelInput
        Inputs of time whose dimension it has, so that it may be given as a date or a duration.
    place : bool or None
        True where it is a place along its input, False where it is a width; None if it is not known.
    level : bool or None
        True where it is a value of the data's quantity, False where it is made of differences of such;
        None if it is not known.
    parent : Measure or None
        What it is a value of: the data of a level, the coordinate of a place.
    angle : Fraction
        Power of an angle in it, which is a pure number and may be given in degrees.
    calendar : str or None
        Of the dates in whose unit it is.
    data : (astropy unit, Fraction) or None
        The unit of the data and its power in this one.
    bare : bool
        The model has it without a unit, beside others that have one.
    """

    name: str
    inner: UnitBase | None = None
    own: UnitBase | None = None
    text: str | None = None
    times: tuple[ModelInput, ...] = ()
    place: bool | None = None
    level: bool | None = None
    parent: Measure | None = None
    angle: Fraction = Fraction(0)
    calendar: str | None = None
    data: tuple[UnitBase, Fraction] | None = None
    bare: bool = False

    @property
    def inward(self) -> float:
        """What plain numbers of the user are multiplied by."""
        if self.own is None or self.inner is None:
            return 1.0
        found = factor(self.own, self.inner)
        assert found is not None, (self.own, self.inner)
        return found

    def numbers(self, argument: str, value: Any) -> tuple[Any, ParameterUnit]:
        """A start or bound as inner numbers, and this unit as the value makes it.

        Parameters
        ----------
        argument : str
            What it is, for a message.
        value : number, Quantity, date, duration or DataArray

        Raises
        ------
        ValueError
            Its unit is not that of the parameter, or that one is not known.
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
                unit = replace(measure, temperature=True).read()  # C, on what has lost its name
        except UnknownUnitError as error:
            raise ValueError(f"{argument}: {error}") from None
        return _times(value, self._from(argument, unit)), self._shown_in(unit, measure.text)

    def _from(self, argument: str, unit: UnitBase) -> float:
        if self.inner is None and self.text is not None:
            raise ValueError(
                f"{argument} is in {write_unit(unit)!r}, but {self.name!r} is in {self.text!r} by the units of the "
                "data and its coordinates, which is no unit that is known. Correct it, or give a plain number."
            )
        if self.inner is None and (pure := factor(unit, u.dimensionless_unscaled)) is not None:
            return pure
        if self.inner is None:
            raise ValueError(
                f"{argument} has the unit {write_unit(unit)!r}, but the unit of {self.name!r} is not known: neither "
                "the model nor the units of data and coordinates tell it. Give a plain number, or label them: "
                'data.assign_attrs(units="...").'
            )
        refuse_years(argument, unit, self.inner, self.calendar)
        found = factor(unit, with_angle(self.inner, self.angle, unit))
        if found is None:
            raise ValueError(
                f"{argument} is in {write_unit(unit)!r}, which cannot be converted to {write_unit(self.inner)!r}, the "
                f"unit that {self.name!r} has by the units of the data and its coordinates.{self._relabelled(unit)}"
            )
        return found

    def _relabelled(self, unit: UnitBase) -> str:
        """What to do if the data is not what its attrs say."""
        if self.data is None or self.inner is None:
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
    """A unit, or the same with a power of the radian in it where ``unit`` needs that: a rate in degrees per day."""
    if not angle or factor(unit, inner) is not None:
        return inner
    return inner * u.rad**angle


def _times(value: xr.DataArray, number: float) -> xr.DataArray:
    return value if number == 1.0 else value * number


@dataclass(frozen=True)
class UnitSystem:
    """What the numbers inside a fit mean.

    Parameters
    ----------
    inputs : list of ModelInput
        Converted where that is necessary.
    data : Conversion or None
        Of the samples; None where they are not converted.
    measure : Measure
        Of the data as the user has it.
    parameters : tuple of ParameterUnit
    carried : bool
        The model carries units.
    model : astropy.modeling.Model or None
        It with its lookup tables in plain numbers, where they have units.
    """

    inputs: list[ModelInput]
    measure: Measure
    parameters: tuple[ParameterUnit, ...]
    data: Conversion | None = None
    carried: bool = False
    converted: Mapping[str, tuple[Conversion, Measure]] = field(default_factory=dict)
    model: Model | None = None

    def plain_factor(self, power: int = 1) -> float:
        """What plain errors, in the data's own unit, are multiplied by; ``power`` -1 for weights."""
        return 1.0 if self.data is None else float(self.data.factor) ** power

    def sigma_factor(self, array: xr.DataArray | Quantity, argument: str, power: int = 1) -> float:
        """What errors of the data are multiplied by; ``power`` -1 for weights.

        Raises
        ------
        ValueError
            Their unit is not that of the data.
        """
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
                f"{argument} is in {measure.text!r}, but the data has no units. Label it: "
                f"data.assign_attrs(units={measure.text!r})."
            )
        of = "the data" if power == 1 else "one over the data"
        wanted = replace(self.measure, text=compose_text([(self.measure.text, power)]))
        return required_conversion(measure, wanted, f"{argument} is", of, difference=True).factor * inner


def unit_groups(inputs: Sequence[ModelInput]) -> list[int]:
    """A number for each input; the same for inputs of the same unit."""
    kinds: list[Any] = []
    groups = []
    for one in inputs:
        kind = one.measure.text if one.measure.unit is None else one.measure.unit
        if kind not in kinds:
            kinds.append(kind)
        groups.append(kinds.index(kind))
    return groups


def units_of(inputs: Sequence[ModelInput], measure: Measure, given: Given) -> Units:
    """What dimensions are powers of."""
    spelled = [one.measure.text for one in inputs]
    units = tuple(one.measure.unit for one in inputs)
    times = any(unit is not None and unit.physical_type == "time" for unit in units)
    spellings = tuple(spelled.index(text) for text in spelled)
    return Units(measure.unit, units, tuple(unit_groups(inputs)), spellings, tuple(given.items()), times)


def told_by_labels(
    names: Sequence[str],
    exponents: Sequence[Dimension | None],
    inputs: Sequence[ModelInput],
    groups: Sequence[int],
    measure: Measure,
    given: Mapping[int, UnitBase],
) -> tuple[ParameterUnit, ...]:
    """Units of parameters from those of data and coordinates, and those that were given for others."""
    measures = measures_of_groups(inputs, groups)
    found = []
    for name, one in zip(names, exponents, strict=True):
        told = ParameterUnit(name) if one is None else _told(name, one, measure, measures, inputs, groups, given)
        if one is not None and one.level is not None and one.output != 0:
            mixed = any(p and involves_temperature(m.text) for m, p in zip(measures, one.inputs, strict=False))
            told = replace(told, level=None if mixed else one.level, parent=measure if one.level else None)
        found.append(told)
    return tuple(found)


def measures_of_groups(inputs: Sequence[ModelInput], groups: Sequence[int]) -> list[Measure]:
    """What the numbers of each group of inputs mean; a unit that is spelled in two ways is written in a third."""
    found = []
    for group in range(max(groups, default=-1) + 1):
        own = [one.measure for one, g in zip(inputs, groups, strict=True) if g == group]
        same = own[0].unit is None or all(m.text == own[0].text for m in own)
        found.append(own[0] if same else Measure(write_unit(own[0].read()), own[0].temperature, time=own[0].time))
    return found


def _told(
    name: str,
    one: Dimension,
    measure: Measure,
    measures: Sequence[Measure],
    inputs: Sequence[ModelInput],
    groups: Sequence[int],
    given: Mapping[int, UnitBase],
) -> ParameterUnit:
    if one.place is not None:  # so it has the unit of that input, as it is spelled there
        measures = [inputs[one.place].measure if p == 1 else m for m, p in zip(measures, one.inputs, strict=False)]
    factors = [(m, p) for m, p in zip((measure, *measures), (one.output, *one.inputs), strict=False) if p != 0]
    factors += [(Measure(write_unit(given[j])), p) for j, p in one.given]
    if any(m.text is None for m, _ in factors):
        return ParameterUnit(name)
    if one.unit is not None:
        return ParameterUnit(name, one.unit, one.unit, write_unit(one.unit))
    text = compose_text([(str(m.text), p) for m, p in factors])
    inner: UnitBase | None = u.dimensionless_unscaled
    for m, p in factors:
        inner = None if inner is None or m.unit is None else inner * m.unit**p
    if len(factors) == 1 and factors[0][1] == 1:
        inner = factors[0][0].unit  # degC stays what it is
    times: tuple[ModelInput, ...] = ()
    if one.output == 0 and [p for p in one.inputs if p != 0] == [Fraction(1)]:
        times = tuple(i for i in inputs if i.measure.time is not None)
    read = [i.measure.time for i, g in zip(inputs, groups, strict=True) if g < len(one.inputs) and one.inputs[g] != 0]
    calendar = next((time.calendar for time in read if time is not None), None)
    data = (measure.unit, one.output) if measure.unit is not None and one.output != 0 else None
    place = True if one.place is not None else False if one.width else None
    parent = None if one.place is None else inputs[one.place].measure
    return ParameterUnit(
        name, inner, inner, text, times, place, parent=parent, angle=one.angle, calendar=calendar, data=data
    )
