"""Dims and coordinates by name: what each fit consumes, and what each model input reads.

Other arrays of a call (masks, errors, weights, start and bound maps, coordinates) are checked and stripped of their own
labels here, so that only the data's labels reach the result.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.foreign_words import loss_of
from xr_modelfit.labels.misread import (
    example_dim,
    no_coordinate,
    no_numbers,
    refuse_counting,
    refuse_left_over,
    refuse_several,
)
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.units.time_units import check_time_units
from xr_modelfit.units.times import CalendarError, TimeAxis, holds_times, undecoded_axis
from xr_modelfit.units.units import Measure, measure_of, plain

__all__ = ["Labels", "ModelInput", "bare", "fitted_dims", "model_inputs", "require_same_index"]

DimArg = Hashable | Iterable[Hashable] | EllipsisType | None
CoordsArg = Hashable | xr.DataArray | Mapping[str, Hashable | xr.DataArray] | None


@dataclass(frozen=True)
class Labels:
    """The data to fit, and the variables that names in a call refer to."""

    data: xr.DataArray
    variables: Mapping[Any, xr.DataArray]  # coordinates of the data, and variables of its Dataset where there is one

    def find(self, argument: str, value: Any) -> xr.DataArray:
        """The array that ``value`` is or names."""
        if isinstance(value, xr.DataArray):
            return plain(value)
        if isinstance(value, xr.Dataset):
            raise TypeError(f"{argument} is a Dataset; pick one of its variables, {listed(value.data_vars)}.")
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            raise ValueError(
                f"{argument} names {len(value)} coordinates, {listed(value)}, but it is one: name {value[0]!r}, say."
            )
        if isinstance(value, xr.Variable | np.ndarray | list | tuple) and not _is_name(value):
            raise TypeError(
                f"{argument} is {a(value)}; it must be a DataArray or a name, so that it can be matched by the names "
                f"of its dims. Wrap it: xr.DataArray(values, dims={self._dims_for(np.shape(value))})."
            )
        if _is_name(value) and value in self.variables:
            return self.variables[value]
        no_name = isinstance(value, bool | float | complex | np.bool_ | np.inexact)
        if no_name or callable(value) or not _is_name(value):
            shown = repr(value) if no_name else a(value)
            raise TypeError(f"{argument} is {shown}; pass a DataArray or the name of one.")
        raise ValueError(
            f"{argument} names {value!r}, which is not there; known names are {listed(self.variables)}."
            f"{loss_of(value) or suggestion(value, self.variables)}"
        )

    def _dims_for(self, shape: tuple[int, ...]) -> str:
        """The dims that an array of this shape probably has, for a message."""
        fits = [d for d, n in self.data.sizes.items() if n in shape]
        return repr(fits) if tuple(self.data.sizes[d] for d in fits) == shape else "[...]"


@dataclass(frozen=True)
class ModelInput:
    """One input of the model and the coordinate that it reads."""

    name: str
    coordinate: Hashable  # its name
    values: xr.Variable  # numbers without labels
    measure: Measure = field(default_factory=Measure)  # their unit or time axis
    dates: bool = False  # whether they were dates
    counted: bool = False  # whether they are positions along a dim without a coordinate


def _is_name(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return not isinstance(value, list | np.ndarray | xr.Variable | xr.Dataset)


def fitted_dims(labels: Labels, dim: DimArg, coords: CoordsArg) -> tuple[Hashable, ...]:
    """The dims that each fit consumes, sorted: the order of samples depends neither on the data nor on the call.

    Raises ValueError if a dim is unknown or given twice, or ``dim`` is missing and ``coords`` does not tell.
    """
    data = labels.data
    if isinstance(dim, xr.DataArray | xr.Variable | Mapping):
        raise TypeError(f"dim is {a(dim)}; pass the name of a dim, one of {tuple(data.dims)}.")
    if dim is None:
        asked = _dims_of_coords(labels, coords)
    elif isinstance(dim, EllipsisType):
        asked = list(data.dims)
    elif _is_name(dim) and (dim in data.dims or isinstance(dim, str) or not isinstance(dim, Iterable)):
        asked = [dim]
    else:
        asked = list(dim)  # type: ignore[arg-type]
    unknown = [d for d in asked if d not in data.dims]
    if unknown:
        hint = suggestion(unknown[0], data.dims)
        if unknown[0] in data.coords and data.coords[unknown[0]].ndim:
            on = data.coords[unknown[0]].dims[0]
            hint = f" {unknown[0]!r} is a coordinate on {on!r}: dim={on!r}, coords={unknown[0]!r}."
        elif isinstance(unknown[0], int):
            hint = f" Dims are named, not numbered: for example dim={data.dims[0] if data.dims else None!r}."
        raise ValueError(f"dim is {dim!r}, but the data has dims {tuple(data.dims)}: no dim {unknown[0]!r}.{hint}")
    if len(set(asked)) != len(asked):
        raise ValueError(f"dim is {dim!r}: each dim can be given once only.")
    if not asked:
        raise ValueError(f"dim is {dim!r}: name at least one of the data's dims {tuple(data.dims)}.")
    return tuple(sorted(asked, key=str))


def _dims_of_coords(labels: Labels, coords: CoordsArg) -> list[Hashable]:
    dims = tuple(labels.data.dims)
    ask = f"Say which dims each fit consumes, for example dim={example_dim(labels.data)!r}, of {dims}." if dims else ""
    if coords is None:
        raise ValueError(f"dim is missing. {ask}")
    asked: list[Hashable] = []
    for value in coords.values() if isinstance(coords, Mapping) else [coords]:
        array = _coordinate(labels, "coords", value)
        if array.ndim != 1:
            name = value if _is_name(value) else array.name
            raise ValueError(
                f"dim is missing, and the coordinate {name!r} has dims {array.dims}: only 1-D ones tell the dim. {ask}"
            )
        asked += [d for d in array.dims if d not in asked]
    return asked


def model_inputs(
    labels: Labels,
    fitted: tuple[Hashable, ...],
    coords: CoordsArg,
    inputs: tuple[str, ...],
    time_units: str | None = None,
    function: bool = False,
) -> list[ModelInput]:
    """What each input of the model reads; dates and durations as numbers.

    ``function``: the inputs are arguments of a function that have no default, so that they may be meant as parameters.
    Raises ValueError if an input is left without a coordinate, or a coordinate does not match the data; TypeError if a
    coordinate holds neither real numbers nor times.
    """
    check_time_units(time_units)
    given = _given_coords(labels, coords, inputs)
    if function:
        _require_coordinates(labels.data, fitted, given, inputs)
    found = [_model_input(labels, fitted, name, given.get(name), inputs, time_units, function) for name in inputs]
    _check_times(found, time_units)
    read: dict[str, Hashable] = {i.name: i.coordinate for i in found}
    refuse_left_over(fitted, read, {d for i in found for d in i.values.dims}, given)
    one = found[0]
    if not any(set(i.values.dims) & set(fitted) for i in found):
        raise ValueError(
            f"The coordinate {one.coordinate!r} has dims {one.values.dims}, none of which is fitted ({fitted}): it is "
            f"constant in each fit. Name a coordinate on {fitted}: coords={{{one.name!r}: ...}}."
        )
    return found


def _given_coords(labels: Labels, coords: CoordsArg, inputs: tuple[str, ...]) -> dict[str, Any]:
    if coords is None:
        return {}
    if not isinstance(coords, Mapping):
        if len(inputs) != 1:
            raise _not_by_input(coords, inputs)
        return {inputs[0]: coords}
    unknown = [name for name in coords if name not in inputs]
    if unknown:
        known = unknown[0] in labels.variables or unknown[0] in labels.data.dims
        read = f" Keys are inputs, values coordinates: coords={{{inputs[0]!r}: {unknown[0]!r}}}." if known else ""
        raise ValueError(f"coords has the key {unknown[0]!r}, but the model's inputs are {listed(inputs)}.{read}")
    return dict(coords)


def _not_by_input(coords: Any, inputs: tuple[str, ...]) -> ValueError:
    """The error for coordinates of several inputs that do not say which is of which."""
    in_order = isinstance(coords, list | tuple) and len(coords) == len(inputs) and all(map(_is_name, coords))
    values = [repr(v) for v in coords] if in_order else ["..."] * len(inputs)
    reads = ", ".join(f"{name!r}: {value}" for name, value in zip(inputs, values, strict=True))
    return ValueError(
        f"coords is {repr(coords) if isinstance(coords, str) else a(coords)}, but the model has {len(inputs)} inputs. "
        f"Say which input reads what: coords={{{reads}}}."
    )


def _check_times(inputs: list[ModelInput], time_units: str | None) -> None:
    counted = [one for one in inputs if one.measure.time is not None]
    if time_units is not None and not counted:
        raise ValueError(
            f"time_units is {time_units!r}, but the coordinates {listed(i.coordinate for i in inputs)} hold no times. "
            "Leave it out."
        )
    calendars = {one.measure.time.calendar: one.coordinate for one in counted if one.measure.time}
    if len(calendars) > 1:
        named = " and ".join(f"{name!r} ({calendar})" for calendar, name in calendars.items())
        raise CalendarError(f"The coordinates {named} are of different calendars. Convert one: .convert_calendar(...).")


def _model_input(
    labels: Labels,
    fitted: tuple[Hashable, ...],
    name: str,
    value: Any,
    inputs: tuple[str, ...],
    time_units: str | None,
    function: bool,
) -> ModelInput:
    data = labels.data
    refuse_several(value, labels.variables, data.dims, name)
    named = value
    if value is None and (value := _by_name(data, fitted, name, inputs)) is None:
        raise no_coordinate(data, fitted, name, inputs, function)
    if named is None:
        refuse_counting(data, value, name)
    argument = f"The coordinate of the model's input {name!r}"
    array = _coordinate(labels, argument, value)
    title = argument if array.name is None else f"The coordinate {array.name!r}"
    _require_numbers(array, fitted, name, value)
    values, measure = _measured(array, bare(data, array, title, array.dims), title, time_units)
    own = value if _is_name(value) else name if array.name is None else array.name
    dates = array.dtype.kind != "m" and holds_times(array)
    return ModelInput(name, own, values, measure, dates=dates, counted=_counts(data, value))


def _by_name(data: xr.DataArray, fitted: tuple[Hashable, ...], name: str, inputs: tuple[str, ...]) -> Hashable | None:
    """What an input reads by default: the one fitted dim, or what has the name of the input."""
    if len(inputs) == 1:
        return fitted[0] if len(fitted) == 1 else None
    return name if name in fitted or _on_fitted(data, name, fitted) else None


def _require_coordinates(
    data: xr.DataArray, fitted: tuple[Hashable, ...], given: Mapping[str, Any], inputs: tuple[str, ...]
) -> None:
    """Refuse arguments of a function, other than the first, that have neither a start nor a coordinate."""
    lost = [n for n in inputs if given.get(n) is None and _by_name(data, fitted, n, inputs) is None]
    others = [n for n in lost if n != inputs[0]]
    if others:
        starts, reads = (", ".join(f"{n!r}: ..." for n in names) for names in (others, lost))
        raise ValueError(
            f"Arguments of the model without a default, and without a coordinate: {listed(others)}. To fit them, give "
            f"them a start or bounds: p0={{{starts}}}. To read them as inputs, name their coordinates: "
            f"coords={{{reads}}}."
        )


def _measured(
    array: xr.DataArray, values: xr.Variable, title: str, time_units: str | None
) -> tuple[xr.Variable, Measure]:
    """Values of a coordinate as numbers, and what these mean."""
    if holds_times(array):
        axis = TimeAxis.of(values, time_units)
        return axis.numbers(values, title), Measure(axis.symbol, time=axis)
    counted = undecoded_axis(array)
    if counted is None:
        return values, measure_of(array)
    if time_units is not None:
        raise ValueError(
            f"time_units is {time_units!r}, but {title[0].lower()}{title[1:]} holds numbers that count "
            f"{counted.units}. Decode them first, xr.decode_cf(dataset), or leave time_units out."
        )
    return values, Measure(counted.symbol, time=counted)


def _on_fitted(data: xr.DataArray, name: Hashable, fitted: tuple[Hashable, ...]) -> bool:
    return name in data.coords and any(d in fitted for d in data.coords[name].dims)


def _coordinate(labels: Labels, argument: str, value: Any) -> xr.DataArray:
    data = labels.data
    if _counts(data, value):
        return xr.DataArray(np.arange(data.sizes[value], dtype=float), dims=[value], name=value)
    return labels.find(argument, value)


def _counts(data: xr.DataArray, value: Any) -> bool:
    """Whether it names a dim without a coordinate."""
    return not isinstance(value, xr.DataArray) and _is_name(value) and value in data.dims and value not in data.coords


def _require_numbers(array: xr.DataArray, fitted: tuple[Hashable, ...], name: str, value: Any) -> None:
    shown = value if _is_name(value) else array.name
    if not isinstance(array.dtype, np.dtype) and array.dtype.kind == "M":
        raise TypeError(
            f"The coordinate {shown!r} holds dates of a time zone ({array.dtype}); numpy's have none. Convert them: "
            f".assign_coords({{{shown!r}: index.tz_convert('UTC').tz_localize(None)}})."
        )
    if array.dtype.kind in "iuf" or holds_times(array):
        return
    index = array.indexes.get(array.dims[0]) if array.dims else None
    if index is not None and index.nlevels > 1:
        levels = [str(level) for level in index.names]
        raise TypeError(
            f"The coordinate {shown!r} is a MultiIndex with levels {listed(levels)}; the model's input {name!r} reads "
            f"numbers. Take one level: coords={{{name!r}: {levels[0]!r}}}."
        )
    raise no_numbers(array, shown, name, fitted)


def bare(data: xr.DataArray, array: xr.DataArray, argument: str, allowed: Iterable[Hashable]) -> xr.Variable:
    """An array of a call without labels, once its dims, sizes and indexes are known to match."""
    allowed = tuple(allowed)
    for dim in array.dims:
        if dim not in data.dims:
            raise ValueError(
                f"{argument} has dims {array.dims}, the data {tuple(data.dims)}: no dim {dim!r}."
                f"{suggestion(dim, data.dims)} Rename it, or select one position of it."
            )
        if dim not in allowed:
            raise ValueError(
                f"{argument} has the dim {dim!r}, which each fit consumes; it can vary from fit to fit only, over "
                f"{allowed}. Reduce it over {dim!r} first."
            )
        if array.sizes[dim] != data.sizes[dim]:
            raise ValueError(
                f"{argument} has {array.sizes[dim]} positions along {dim!r}, the data {data.sizes[dim]}. "
                f"Select the same positions of both."
            )
        if dim in array.indexes and dim in data.indexes:
            require_same_index(array.indexes[dim], data.indexes[dim], argument, dim)
    return array.variable


def require_same_index(theirs: Any, ours: Any, argument: str, dim: Hashable, other: str = "data") -> None:
    """Raise a ValueError that shows how two indexes along ``dim`` differ, if they do."""
    if ours.equals(theirs):
        return
    try:
        difference = f" by up to {np.max(np.abs(np.asarray(theirs) - np.asarray(ours)))}"
    except (TypeError, ValueError):
        difference = ""
    if theirs.is_unique and ours.is_unique and len(theirs) == len(ours) and bool(theirs.isin(ours).all()):
        raise ValueError(
            f"{argument} has the labels of the {other} along {dim!r} in another order. Put them in the same one: "
            f".reindex_like({other})."
        )
    raise ValueError(
        f"{argument} has another index along {dim!r} than the {other}: they differ{difference}. "
        f"Where they mean the same positions, use .reindex_like({other}, method='nearest', tolerance=...) first."
    )
