"""Starts and bounds as the user gives them, as numbers inside a fit."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
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
from xr_modelfit.units.units import Measure, conversion, factor, measure_of, plain

__all__ = ["deviation_or_map", "given_units", "number_or_map"]


def given_units(p0: Any, bounds: Any, priors: Any, model: Model) -> dict[int, UnitBase]:
    """Units of starts, bounds and means of priors by number of the parameter; of several, the first."""
    found: dict[int, UnitBase] = {}
    known = (result_names(model), tuple(model.param_names))
    pairs = priors.items() if isinstance(priors, Mapping) else ()
    means = {key: pair[0] for key, pair in pairs if isinstance(pair, tuple | list) and len(pair) == 2}
    for argument in (p0, bounds, means):
        for key, value in argument.items() if isinstance(argument, Mapping) else ():
            j = next((names.index(key) for names in known if key in names), None)
            for one in value if isinstance(value, tuple | list) else (value,):
                if j is not None and (unit := _unit_of(one)) is not None:
                    found.setdefault(j, unit)
    return found


def _unit_of(value: Any) -> UnitBase | None:
    """The unit of a number or a map, if it has one."""
    if isinstance(value, Quantity):
        return value.unit
    if not isinstance(value, xr.DataArray) or value.dtype.kind not in "iuf":
        return None
    return measure_of(plain(value)).unit


def number_or_map(
    argument: str,
    value: Any,
    unit: ParameterUnit,
    labels: Labels,
    remaining_dims: tuple[Hashable, ...],
    system: UnitSystem,
) -> tuple[float | xr.Variable | None, ParameterUnit]:
    """The number, or the map over the dims that are not fitted, and the unit of the parameter that follows from it.

    ``value`` is a number, Quantity, date, duration, DataArray or None; ``argument`` is its name in messages. Raises
    TypeError if it is nothing of the kind; ValueError if it does not match the data, or its unit cannot be converted to
    the parameter's.
    """
    if value is None:
        return None, unit
    if isinstance(value, xr.DataArray):
        array = plain(value)
        times = holds_times(array)
        if not times and array.dtype.kind not in "iuf":
            raise TypeError(f"{argument} is a DataArray of {array.dtype}; real numbers are needed: .astype(float).")
        bare(labels.data, array, argument, remaining_dims)
        if times:
            return _time_numbers(argument, array.variable, unit), unit
        array, unit = _map_numbers(argument, array, unit, labels.data, system)
        return array.variable, unit
    shape = np.shape(value)
    dates = None if shape or isinstance(value, str | bytes | Quantity) else as_times(value)
    if dates is not None:
        return float(_time_numbers(argument, xr.Variable((), dates), unit).values), unit
    if shape == () and np.asarray(value).dtype.kind in "iuf":
        number, unit = unit.numbers(argument, value if isinstance(value, Quantity) else float(value))
        return float(number), unit
    shown = f"an array of shape {shape}" if shape else f"{value!r}"
    raise TypeError(
        f"{argument} is {shown}; pass a number or a DataArray over {tuple(map(str, remaining_dims))}, so that it can "
        "be matched by the names of its dims."
    )


def deviation_or_map(
    argument: str,
    value: Any,
    unit: ParameterUnit,
    labels: Labels,
    remaining_dims: tuple[Hashable, ...],
    system: UnitSystem,
) -> float | xr.Variable | None:
    """As `number_or_map`, of a standard deviation: a difference, so that scales of time and temperature have no origin.

    Of dates it is a duration; a kelvin is as long as a degree Celsius.
    """
    unit = replace(unit, place=False, level=False)
    return number_or_map(argument, _of_difference(value, unit), unit, labels, remaining_dims, system)[0]


def _of_difference(value: Any, unit: ParameterUnit) -> Any:
    """A difference of temperatures on another scale, as numbers on that of the parameter; anything else as it is."""
    if isinstance(value, Quantity):
        measure, numbers = Measure(None), value.value
        units = [value.unit]
    elif isinstance(value, xr.DataArray) and value.dtype.kind in "iuf":
        numbers = plain(value)
        measure = measure_of(numbers)
        units = [measure.unit, replace(measure, temperature=True).unit]  # C, on what has lost its name
    else:
        return value
    if unit.inner is None or (measure.text is not None and measure.text == unit.text):
        return value
    for said in units:
        if said is None or factor(said, unit.inner) is not None:
            continue
        how = conversion(said, unit.inner, difference=True)
        if how is not None and how.equivalencies is None:
            found = numbers * (how.factor / unit.inward)
            if isinstance(found, xr.DataArray):
                found.attrs = {}
            return found
    return value


def _map_numbers(
    argument: str, array: xr.DataArray, unit: ParameterUnit, data: xr.DataArray, system: UnitSystem
) -> tuple[xr.DataArray, ParameterUnit]:
    """A map as numbers inside the fit; it may be one that ``idxmax`` made."""
    text, of_data = array.attrs.get("units"), data.attrs.get("units")
    if array.name is None or (text is not None and text != of_data):
        return unit.numbers(argument, array)
    one = next((i for i in system.inputs if i.coordinate == array.name), None)
    if one is not None:
        return _place_numbers(argument, array, unit, one, system)
    said = measure_of(array).unit
    stale = said is not None and unit.inner is not None and factor(said, unit.inner) is None
    if stale and array.name in data.indexes:
        raise ValueError(
            f"{argument} is called {array.name!r} and in {text!r}, the unit of the data, as idxmax leaves it, but "
            f"{unit.name!r} is in {unit.text!r}, and no input of the model reads {array.name!r}. Give places on what "
            f"is read: {listed(i.coordinate for i in system.inputs)}."
        )
    return unit.numbers(argument, array)


def _place_numbers(
    argument: str, array: xr.DataArray, unit: ParameterUnit, one: ModelInput, system: UnitSystem
) -> tuple[xr.DataArray, ParameterUnit]:
    """A map with the name of a coordinate, and with the units of the data or none, as numbers inside the fit.

    ``idxmax`` makes such maps, of numbers in the unit of the coordinate. They keep name and units
    when the user converts them, so they are in that unit only if all are labels of the coordinate.
    """
    said, text = measure_of(array), array.attrs.get("units")
    here, there = _inward(unit, one.measure), _inward(unit, said)
    bears = "has no units" if text is None else f"has units={text!r} of the data"
    called = f"{argument} is called {one.coordinate!r} and {bears}, as idxmax leaves it"
    if here is not None and one.name in system.converted:
        raise ValueError(
            f"{called}: places on a coordinate in {system.converted[one.name][1].text!r}, which is converted to "
            f"{one.measure.text!r} for the model. Convert them too, and say so: "
            f".assign_attrs(units={one.measure.text!r})."
        )
    if here is None or here == there:  # it is no place, or both units say the same
        return unit.numbers(argument, array)
    why = _why_no_labels(array, one, here, {said.text: there, unit.text: unit.inward})
    if why is not None:
        believed = "units" in array.attrs and there is not None
        units = [repr(t) for t in dict.fromkeys((one.measure.text, unit.text)) if t is not None]
        raise ValueError(
            f"{called}, but {why}. Say what they are in: {'.rename(None)' if believed else ''}"
            f".assign_attrs(units={units[0]}){f', or units={units[1]}' if len(units) > 1 else ''}."
        )
    plain_numbers = array.copy(deep=False)  # xarray's drop_attrs takes the labels of stacked dims apart
    plain_numbers.attrs = {}
    return plain_numbers * here, unit


def _why_no_labels(
    array: xr.DataArray, one: ModelInput, here: float, others: Mapping[str | None, float | None]
) -> str | None:
    """Why a map may hold something else than labels of a coordinate; ``others`` are units that it may be in instead."""
    if not (array.variable._in_memory and one.values._in_memory):
        return "it is not computed, so its values are not compared with that coordinate"
    values, labels = (np.asarray(v.values, dtype=float) for v in (array, one.values))
    values = values[np.isfinite(values)]
    if not np.isin(values, labels).all():
        return "its values are not those of that coordinate"
    for text, other in others.items():
        if other not in (None, here) and np.any(values) and _are_among(values * (other / here), labels):
            return f"its values may be in {one.measure.text!r} or in {text!r}"
    return None


def _inward(unit: ParameterUnit, measure: Measure) -> float | None:
    """The factor that makes numbers inner ones; None if they are no value of the parameter."""
    if measure.text is None or measure.text == unit.text or (unit.own is None and unit.text is None):
        return unit.inward
    return None if measure.unit is None or unit.inner is None else factor(measure.unit, unit.inner)


def _are_among(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether all values are labels, up to rounding."""
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
