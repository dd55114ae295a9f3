"""A start or a bound as the user gives it, as numbers inside a fit."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.coords import Labels, ModelInput, bare
from xr_modelfit.parameter_units import ParameterUnit
from xr_modelfit.times import TimeAxis, holds_times, is_time
from xr_modelfit.units import plain

__all__ = ["number_or_map"]


def number_or_map(
    argument: str,
    value: Any,
    unit: ParameterUnit,
    labels: Labels,
    loop: tuple[Hashable, ...],
    inputs: Sequence[ModelInput],
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
    inputs : sequence of ModelInput

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
        array, unit = unit.numbers(argument, _located(array, labels.data, inputs))
        return bare(labels.data, array, argument, loop), unit
    if is_time(value):
        counted = _time_numbers(argument, xr.Variable((), np.asarray(_plain_time(value))), unit)
        return float(counted.values), unit
    shape = np.shape(value)
    if shape == () and np.asarray(value).dtype.kind in "iuf":
        number, unit = unit.numbers(argument, value if isinstance(value, Quantity) else float(value))
        return float(number), unit
    shown = f"an array of shape {shape}" if shape else f"{value!r}"
    raise TypeError(
        f"{argument} is {shown}; pass a number or a DataArray over {tuple(map(str, loop))}, so that it can be "
        "matched by the names of its dims."
    )


def _located(array: xr.DataArray, data: xr.DataArray, inputs: Sequence[ModelInput]) -> xr.DataArray:
    """``idxmax`` gives places along a coordinate, but the attrs of the data: then its units are the coordinate's."""
    units = array.attrs.get("units")
    for one in inputs:
        own = one.measure.text
        if units is not None and array.name == one.coordinate and units == data.attrs.get("units") and units != own:
            return array.drop_attrs() if own is None else array.drop_attrs().assign_attrs(units=own)
    return array


def _plain_time(value: Any) -> Any:
    return (
        value if hasattr(value, "calendar") else np.asarray(value, dtype="datetime64" if not _is_span(value) else None)
    )


def _is_span(value: Any) -> bool:
    return isinstance(value, np.timedelta64)


def _time_numbers(argument: str, values: xr.Variable, unit: ParameterUnit) -> xr.Variable:
    if not unit.times:
        raise TypeError(f"{argument} holds times, but {unit.name!r} is no time: no input that it measures reads dates.")
    axis = unit.times[0].measure.time
    assert axis is not None
    if values.dtype.kind == "m":  # a width in time is a duration, wherever its dates are counted from
        axis = TimeAxis(axis.symbol)
    return axis.numbers(values, argument)
