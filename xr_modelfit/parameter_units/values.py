"""A start or a bound as the user gives it, as numbers inside a fit."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase

from xr_modelfit.labels.coords import Labels, ModelInput, bare
from xr_modelfit.messages import listed
from xr_modelfit.models.expression import result_names
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.units.times import TimeAxis, as_times, holds_times
from xr_modelfit.units.units import Measure, factor, measure_of, plain

__all__ = ["given_units", "number_or_map"]


def given_units(p0: Any, bounds: Any, model: Model) -> dict[int, UnitBase]:
    """Units of starts and bounds, by number of the parameter; the first that is given for each."""
    found: dict[int, UnitBase] = {}
    known = (result_names(model), tuple(model.param_names))
    for one in (p0, bounds):
        for key, value in one.items() if isinstance(one, Mapping) else ():
            j = next((names.index(key) for names in known if key in names), None)
            pair = value if isinstance(value, tuple | list) else (value,)
            units = [unit for v in pair if (unit := _unit_of(v)) is not None]
            if j is not None and units:
                found.setdefault(j, units[0])
    return found


def _unit_of(value: Any) -> UnitBase | None:
    """The unit of a number or a map; None where it has none, or may have kept that of something else."""
    if isinstance(value, Quantity):
        return value.unit
    if not isinstance(value, xr.DataArray) or value.dtype.kind not in "iuf":
        return None
    array = plain(value)
    return measure_of(array).unit


def number_or_map(
    argument: str,
    value: Any,
    unit: ParameterUnit,
    labels: Labels,
    loop: tuple[Hashable, ...],
    system: UnitSystem,
) -> tuple[float | xr.Variable | None, ParameterUnit]:
    """The number, or the map over the dims that are not fitted, and the unit as the value makes it.

    Parameters
    ----------
    argument : str
        What it is, for messages.
    value : number, Quantity, date, duration, DataArray or None
    unit : ParameterUnit
    labels : Labels
    loop : tuple of Hashable
        The dims that are not fitted.
    system : UnitSystem

    Raises
    ------
    TypeError
        It is nothing of the kind.
    ValueError
        It does not match the data, or its unit cannot be converted to the parameter's.
    """
    if value is None:
        return None, unit
    if isinstance(value, xr.DataArray):
        array = plain(value)
        if holds_times(array):
            bare(labels.data, array, argument, loop)
            return _time_numbers(argument, array.variable, unit), unit
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{argument} is a DataArray of {array.dtype}; real numbers are needed: .astype(float).")
        bare(labels.data, array, argument, loop)
        array, unit = _map_numbers(argument, array, unit, labels.data, system)
        return array.variable, unit
    shape = np.shape(value)
    times = None if shape or isinstance(value, str | bytes | Quantity) else as_times(value)
    if times is not None:
        return float(_time_numbers(argument, xr.Variable((), times), unit).values), unit
    if shape == () and np.asarray(value).dtype.kind in "iuf":
        number, unit = unit.numbers(argument, value if isinstance(value, Quantity) else float(value))
        return float(number), unit
    shown = f"an array of shape {shape}" if shape else f"{value!r}"
    raise TypeError(
        f"{argument} is {shown}; pass a number or a DataArray over {tuple(map(str, loop))}, so that it can be "
        "matched by the names of its dims."
    )


def _map_numbers(
    argument: str, array: xr.DataArray, unit: ParameterUnit, data: xr.DataArray, system: UnitSystem
) -> tuple[xr.DataArray, ParameterUnit]:
    """Numbers inside a fit of a map, which may be one that ``idxmax`` made."""
    text, of_data = array.attrs.get("units"), data.attrs.get("units")
    if array.name is None or (text is not None and text != of_data):
        return unit.numbers(argument, array)
    one = next((i for i in system.inputs if i.coordinate == array.name), None)
    if one is not None:
        return _Places(argument, array, unit, one, system).numbers()
    said = measure_of(array).unit
    stale = said is not None and unit.inner is not None and factor(said, unit.inner) is None
    if stale and array.name in data.indexes:
        raise ValueError(
            f"{argument} is called {array.name!r} and in {text!r}, the unit of the data, as idxmax leaves it, but "
            f"{unit.name!r} is in {unit.text!r}, and no input of the model reads {array.name!r}. Give places on what "
            f"is read: {listed(i.coordinate for i in system.inputs)}."
        )
    return unit.numbers(argument, array)


@dataclass(frozen=True)
class _Places:
    """A map that is called like a coordinate, with the units of the data or none.

    ``idxmax`` makes such maps, of numbers in the unit of the coordinate. They keep name and units
    when the user converts them, so they are in that unit only if all are labels of the coordinate.
    """

    argument: str
    array: xr.DataArray
    unit: ParameterUnit
    one: ModelInput
    system: UnitSystem

    def numbers(self) -> tuple[xr.DataArray, ParameterUnit]:
        said = measure_of(self.array)
        if self.one.name in self.system.converted:
            if self._into(self.one.measure) is not None:
                raise ValueError(self._of_a_converted_coordinate())
            return self.unit.numbers(self.argument, self.array)
        here, there = self._into(self.one.measure), self._into(said)
        if here is None or here == there:  # it is no place, or says the same
            return self.unit.numbers(self.argument, self.array)
        if not (self.array.variable._in_memory and self.one.values._in_memory):
            raise ValueError(self._unsaid("it is not computed, so its values are not compared with that coordinate"))
        values = np.asarray(self.array.values, dtype=float)
        values, labels = values[np.isfinite(values)], np.asarray(self.one.values.values, dtype=float)
        if not np.isin(values, labels).all():
            raise ValueError(self._unsaid("its values are not those of that coordinate"))
        for text, other in ((said.text, there), (self.unit.text, self.unit.inward)):
            if other not in (None, here) and np.any(values) and _are_among(values * (other / here), labels):
                raise ValueError(self._unsaid(f"its values may be in {self.one.measure.text!r} or in {text!r}"))
        bare = self.array.copy(deep=False)  # xarray's drop_attrs takes the labels of stacked dims apart
        bare.attrs = {}
        return bare * here, self.unit

    def _into(self, measure: Measure) -> float | None:
        """What numbers are multiplied by to be inside the fit; None where they are no value of the parameter."""
        if measure.text is None or measure.text == self.unit.text or (self.unit.own is None and self.unit.text is None):
            return self.unit.inward
        return None if measure.unit is None or self.unit.inner is None else factor(measure.unit, self.unit.inner)

    def _called(self) -> str:
        text = self.array.attrs.get("units")
        bears = "has no units" if text is None else f"has units={text!r} of the data"
        return f"{self.argument} is called {self.one.coordinate!r} and {bears}, as idxmax leaves it"

    def _unsaid(self, why: str) -> str:
        believed = "units" in self.array.attrs and self._into(measure_of(self.array)) is not None
        units = [repr(t) for t in dict.fromkeys((self.one.measure.text, self.unit.text)) if t is not None]
        return (
            f"{self._called()}, but {why}. Say what they are in: {'.rename(None)' if believed else ''}"
            f".assign_attrs(units={units[0]}){f', or units={units[1]}' if len(units) > 1 else ''}."
        )

    def _of_a_converted_coordinate(self) -> str:
        _, measure = self.system.converted[self.one.name]
        return (
            f"{self._called()}: places on a coordinate in {measure.text!r}, which is converted to "
            f"{self.one.measure.text!r} for the model. Convert them too, and say so: "
            f".assign_attrs(units={self.one.measure.text!r})."
        )


def _are_among(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether all are labels, but for rounding."""
    ordered = np.sort(labels[np.isfinite(labels)], axis=None)
    at = np.searchsorted(ordered, values)
    near = [ordered[np.clip(at + shift, 0, ordered.size - 1)] for shift in (-1, 0)]
    return bool(np.all(np.min([np.abs(values - n) for n in near], axis=0) <= 1e-9 * np.abs(values)))


def _time_numbers(argument: str, values: xr.Variable, unit: ParameterUnit) -> xr.Variable:
    if not unit.times:
        raise TypeError(f"{argument} holds times, but {unit.name!r} is no time: no input that it measures reads dates.")
    axis = unit.times[0].measure.time
    assert axis is not None
    if unit.place is not None and axis.epoch is not None and unit.place == (values.dtype.kind == "m"):
        kinds = ("durations", "dates") if unit.place else ("dates", "durations")
        raise TypeError(f"{argument} holds {kinds[0]}, but {unit.name!r} takes {kinds[1]}. Give {kinds[1]}.")
    if values.dtype.kind == "m":  # a width in time is a duration, wherever its dates are counted from
        axis = TimeAxis(axis.symbol)
    return axis.numbers(values, argument)
