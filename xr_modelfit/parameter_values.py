"""A start or a bound as the user gives it, as numbers inside a fit."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.coords import Labels, ModelInput, bare
from xr_modelfit.parameter_units import ParameterUnit
from xr_modelfit.times import TimeAxis, as_times, holds_times
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


def _located(array: xr.DataArray, data: xr.DataArray, inputs: Sequence[ModelInput]) -> xr.DataArray:
    """``idxmax`` gives places with the attrs of the data, or none: their units are those of the coordinate."""
    units = array.attrs.get("units")
    for one in inputs:
        own = one.measure.text
        if array.name == one.coordinate and units in (None, data.attrs.get("units")) and units != own:
            array = array.copy(deep=False)  # xarray's drop_attrs takes the labels of stacked dims apart
            array.attrs = {} if own is None else {"units": own}
            return array
    return array


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
