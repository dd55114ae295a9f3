"""Units and times in the record of a fit, and the conversions that an evaluation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from astropy.units import Quantity, dimensionless_unscaled

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.records.extent import described_extent
from xr_modelfit.records.record import RecordError
from xr_modelfit.units.text import parse_unit
from xr_modelfit.units.times import TimeAxis, holds_times, undecoded_axis
from xr_modelfit.units.units import (
    Measure,
    describe_equivalencies,
    measure_of,
    recorded_equivalencies,
    required_conversion,
)

__all__ = [
    "coordinate_numbers",
    "describe_units",
    "in_units_of_data",
    "parameter_numbers",
    "parameter_quantities",
    "recorded_measure",
]


def describe_units(system: UnitSystem, units: Sequence[ParameterUnit]) -> dict[str, Any]:
    """The parts ``inputs`` and ``units`` of a record.

    ``inward``: what a parameter of the result is multiplied by to be a number inside the fit;
    ``scale``: factor and offset that made samples such numbers.
    """
    return {
        "inputs": [_described_input(one, system) for one in system.inputs],
        "units": {
            "data": system.measure.text,
            "scale": None if system.data is None else [system.data.factor, system.data.offset],
            "parameters": [one.text for one in units],
            "inward": [one.inward for one in units],
            "own": [_own(one) for one in units],
            "carried": system.carried,
        },
    }


def _own(one: ParameterUnit) -> str | None:
    """The unit on the model's parameter; an exponent that had none gets none."""
    return None if one.own is None or (one.bare and one.own == dimensionless_unscaled) else one.own.to_string()


def _described_input(one: ModelInput, system: UnitSystem) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": one.name,
        "coordinate": str(one.coordinate),
        "dims": [str(d) for d in one.values.dims],
        "units": one.measure.text,
        "difference": one.measure.difference,
        "time": None if one.measure.time is None else one.measure.time.described(),
        **described_extent(one.values),
    }
    if one.dates:
        described["dates"] = True
    if one.counted:
        described["counted"] = one.values.size
    if one.name in system.converted:
        how, measure = system.converted[one.name]
        described |= {
            "from": measure.text,
            "difference": measure.difference,
            "equivalencies": describe_equivalencies(how.equivalencies),
        }
        described["named"] = how.equivalencies is None or described["equivalencies"] is not None
    return described


def parameter_numbers(values: xr.DataArray, units: Mapping[str, Any] | None, j: int) -> xr.DataArray:
    """A parameter of a result as numbers inside the fit."""
    if units is None:
        return values
    text, inward = units["parameters"][j], units["inward"][j]
    if values.dtype.kind == "m":  # read from a file, where its unit looked like that of a duration
        axis = TimeAxis.durations(text)
        values = values.copy(data=axis.numbers(values.variable, str(values.name)).data)
    else:
        now = measure_of(values)
        if now.text is not None and text is not None and now.text != text:
            what = f"The parameter {values.name!r} is"
            how = required_conversion(now, Measure(text), what, "the fit", error=RecordError)
            values = values.copy(data=how.apply(values.variable).data)
    return values if inward == 1.0 else values * inward


def parameter_quantities(values: Sequence[xr.DataArray], units: Mapping[str, Any] | None) -> list[Any]:
    """Parameters of a result as Quantities where their units are known, else as numbers."""
    found: list[Any] = []
    for j, one in enumerate(values):
        array = parameter_numbers(one, units, j).to_numpy()
        number = array if array.ndim else float(array)
        if units is not None:
            number, own = number / units["inward"][j], units["own"][j]
            number = number if own is None else Quantity(number, parse_unit(own))
        found.append(number)
    return found


def recorded_measure(one: Mapping[str, Any]) -> Measure:
    """The unit or time axis of a coordinate's numbers inside the fit; ``one`` is the recorded input."""
    time = None if one.get("time") is None else TimeAxis.recorded(one["time"])
    return Measure(one.get("units"), time=time)


def coordinate_numbers(array: xr.DataArray, one: Mapping[str, Any], equivalencies: Any = None) -> xr.Variable:
    """A coordinate as numbers inside the fit; ``one`` is the recorded input that reads it.

    ``equivalencies`` are needed if the record could not keep those of the fit. The unit and the calendar must be
    convertible to those of the fit.
    """
    what = f"The coordinate {one['coordinate']!r}"
    time = one.get("time")
    if holds_times(array):
        if time is None:
            raise RecordError(f"{what} holds times ({array.dtype}); the fit read numbers. Give numbers.")
        return TimeAxis.recorded(time).numbers(array.variable, what)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"{what} holds {array.dtype}; the fit read {'times' if time else 'real numbers'}. "
            f"Convert it, or pass {'times' if time else 'numbers'} under that name."
        )
    counted = undecoded_axis(array)
    if time is not None and counted is not None:
        if not counted.agrees_with(TimeAxis.recorded(time)):
            raise RecordError(
                f"{what} counts {counted.units} ({counted.calendar}), the fit {time['units']} ({time['calendar']}). "
                "Decode it first: xr.decode_cf(dataset)."
            )
        return array.variable
    return _in_inner_unit(array, one, what, equivalencies)


def _in_inner_unit(array: xr.DataArray, one: Mapping[str, Any], what: str, equivalencies: Any) -> xr.Variable:
    now, inner = measure_of(array), one.get("units")
    read = one.get("from", inner)  # the coordinate's unit in the fit
    if now.text is None:
        now = Measure(read)
    if inner is None or now.text is None or now.text == inner:
        return array.variable
    asked = equivalencies
    if asked is None and "from" in one:
        pass_them = f"Pass them: evaluate(..., equivalencies={{{one['name']!r}: ...}})."
        if not one["named"]:
            raise RecordError(
                f"{what} was converted by equivalencies that have no name, so the record could not keep them. "
                + pass_them
            )
        try:
            asked = recorded_equivalencies(one["equivalencies"])
        except Exception as error:  # the record may be forged, and astropy may raise anything
            raise RecordError(
                f"The equivalencies of {what} cannot be read from the record of the fit ({error}). {pass_them}"
            ) from error
    difference = bool(one.get("difference"))
    how = required_conversion(
        now, Measure(inner), f"{what} is", "the fit", equivalencies=asked, difference=difference, error=RecordError
    )
    return how.apply(array.variable)


def in_units_of_data(values: xr.Variable, units: Mapping[str, Any] | None) -> xr.Variable:
    """Values of the model in the unit of the fitted data; ``units`` are those of the record."""
    if units is None:
        return values
    if units["scale"] is not None:
        times, offset = units["scale"]
        values = (values - offset) / times
    values = values.copy(deep=False)
    values.attrs = {} if units["data"] is None else {"units": units["data"]}
    return values
