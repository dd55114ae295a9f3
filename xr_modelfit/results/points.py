"""Where a model is evaluated: coordinates from data or by name, positions by label."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.labels.coords import require_same_index
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.times import as_times
from xr_modelfit.units.units import plain

__all__ = [
    "Source",
    "at_positions",
    "coordinates",
    "labels_of",
    "one_variable",
    "require_same_positions",
    "require_same_size",
    "shaped_like",
]

_YEARS = (1500, 2300)  # whole numbers in here, where dates are meant, look like years
Source = xr.DataArray | xr.Dataset


def one_variable(obj: Any, record: FitRecord) -> Source:
    """The variable that was fitted; an array, or a Dataset without that variable, is returned as it is."""
    data = plain(obj)
    if not isinstance(data, xr.DataArray | xr.Dataset):
        raise TypeError(
            f"The data is {a(data)}; pass the DataArray or Dataset that was fitted. To evaluate, coordinates may be "
            f"given by name: {record.inputs[0]['coordinate']}=values."
        )
    name = None if isinstance(data, xr.DataArray) else _label(record.content["data"], data.data_vars)
    return data if name is None else data[name]


def coordinates(
    record: FitRecord, data: Source | None, given: Mapping[str, Any], remaining: Collection[Hashable] = ()
) -> list[xr.DataArray]:
    """The coordinate of each model input, from keywords or from the data; ``remaining``: coordinates of the result."""
    known = {key for one in record.inputs for key in (one["coordinate"], one["name"])}
    unknown = [key for key in given if key not in known]
    if unknown:
        read = [one["coordinate"] for one in record.inputs]
        raise ValueError(
            f"The coordinate {unknown[0]!r} is given, but the fit read {listed(read)}.{suggestion(unknown[0], read)} "
            f"Give it by name: {read[0]}=values."
        )
    for one in record.inputs:
        if one["name"] in given and one["name"] != one["coordinate"] and one["name"] in remaining:
            raise ValueError(
                f"{one['name']!r} is given, which is a dim or coordinate of the result, and an input of the model that "
                f"read {one['coordinate']!r}. To evaluate at other values of that, give it by its own name: "
                f"{one['coordinate']}=values. To evaluate at some positions, select them first: "
                f"fit.sel({one['name']}=...)."
            )
    keys = [next((key for key in (one["coordinate"], one["name"]) if key in given), None) for one in record.inputs]
    unused = [key for key in given if key not in keys]
    if unused:  # an input has the name of the coordinate of another
        names = ", ".join(f"{one['coordinate']}=..." for one in record.inputs)
        raise ValueError(
            f"{unused[0]!r} is given, but no input reads it: an input of the model has the name of a "
            f"coordinate that another reads. Give coordinates by their own names: {names}."
        )
    found = []
    for one, key in zip(record.inputs, keys, strict=True):
        name = one["coordinate"]
        if key is not None:
            found.append(_given_coordinate(one, given[key]))
        elif data is not None and (label := _label(name, data.coords)) is not None:
            found.append(data.coords[label])
        elif data is not None and (label := _label(name, data.dims)) is not None:
            found.append(xr.DataArray(np.arange(data.sizes[label], dtype=float), dims=[label]))
        else:
            reads = f"The model's input {one['name']!r} read the coordinate {name!r}, which"
            if data is None:
                raise RecordError(f"{reads} is not there. Give it by name: {name}=values.")
            raise RecordError(
                f"{reads} the data does not have. Put it there, data.assign_coords({name}=...), or evaluate at values "
                f"given by name: {name}=values."
            )
    return found


def _label(name: str | None, labels: Iterable[Hashable]) -> Hashable | None:
    """The label whose text is ``name``; a record holds text, and labels may be anything."""
    return next((label for label in labels if str(label) == name), None)


def _given_coordinate(one: Mapping[str, Any], value: Any) -> xr.DataArray:
    if isinstance(value, xr.DataArray):
        return plain(value)
    attrs = {"units": write_unit(value.unit)} if isinstance(value, Quantity) else {}
    times = as_times(value) if one.get("time") else None
    values = np.asarray(value) if times is None else times
    if one.get("dates") and times is None and not attrs and _look_like_years(values):
        raise _not_dates(one, values)
    name = one["coordinate"]
    if values.ndim == 0:
        return xr.DataArray(values, coords={name: ((), values, attrs)}, attrs=attrs)
    if values.ndim == 1:
        dim = one["dims"][0] if len(one["dims"]) == 1 else name
        return xr.DataArray(values, dims=[dim], coords={name: ([dim], values, attrs)}, attrs=attrs)
    raise TypeError(
        f"{name} is an array of shape {values.shape}; pass a DataArray, so that its dims have names: "
        f"{name}=xr.DataArray(values, dims=[...])."
    )


def _look_like_years(values: np.ndarray) -> bool:
    if values.dtype.kind not in "iuf" or not values.size:
        return False
    return bool(np.all((values >= _YEARS[0]) & (values <= _YEARS[1]) & (values == np.round(values))))


def _not_dates(one: Mapping[str, Any], values: np.ndarray) -> ValueError:
    """The error for numbers that look like years, where a fit counts something else."""
    name, units, year = one["coordinate"], one["time"]["units"], int(values.flat[0])
    return ValueError(
        f"{name} is {year}, which looks like a year, but numbers here count {units}. Give dates: "
        f"{name}=['{year}-01-01']. If they are such counts, say so: "
        f"{name}=xr.DataArray(values, dims={name!r}, attrs={{'units': {units!r}}})."
    )


def at_positions(parameter: xr.DataArray, data: Source) -> xr.DataArray:
    """The parameter at the positions of the data, matched by label and never by order."""
    for dim in parameter.dims:
        scalar = dim in data.coords and data.coords[dim].ndim == 0
        if dim in parameter.indexes and (scalar or dim in data.indexes):
            if not scalar and parameter.indexes[dim].equals(data.indexes[dim]):
                continue
            try:
                parameter = parameter.sel({dim: data.coords[dim]})
            except KeyError:
                raise ValueError(
                    f"The data has labels along {dim!r} that the result has not. Evaluate where there are fits: "
                    f"data.sel({dim}=fit[{dim!r}])."
                ) from None
        elif dim in data.dims:
            require_same_size(data, "The data", parameter, "result", dim)
    return parameter


def require_same_positions(array: xr.DataArray, title: str, other: xr.DataArray, other_title: str) -> None:
    """Refuse an array whose sizes or labels along shared dims differ from those of another."""
    for dim in (d for d in array.dims if d in other.dims):
        require_same_size(array, title, other, other_title, dim)
        if dim in array.indexes and dim in other.indexes:
            require_same_index(array.indexes[dim], other.indexes[dim], title, dim, other_title)


def require_same_size(array: Source, title: str, other: Source, other_title: str, dim: Hashable) -> None:
    """Refuse dims of different sizes, which cannot be matched."""
    if array.sizes[dim] != other.sizes[dim]:
        raise ValueError(
            f"{title} has {array.sizes[dim]} positions along {dim!r}, the {other_title} {other.sizes[dim]}. "
            "Select the same positions of both."
        )


def labels_of(
    dims: Sequence[Hashable], parameter: xr.DataArray, data: Source | None, inputs: Sequence[xr.DataArray]
) -> xr.Coordinates:
    """Coordinates of the values: those of the result, of the data, and of coordinates given by name."""
    merged = xr.Dataset()
    for one in (*([] if data is None else [data]), *inputs, parameter):
        kept = one.coords.to_dataset()
        kept = kept.drop_dims([d for d in kept.dims if d not in dims])
        merged = merged.merge(kept.drop_vars([n for n in kept.variables if n in merged.variables]), join="override")
    return merged.coords


def shaped_like(out: xr.DataArray, data: Source | None) -> xr.DataArray:
    """Values with the pooled dims of the data, in the order of its dims."""
    if not isinstance(data, xr.DataArray):
        return out
    pooled = {d: data.sizes[d] for d in data.dims if d not in out.dims}
    if pooled:
        widened = xr.DataArray(out.variable.set_dims({**pooled, **out.sizes}), name=out.name)
        out = widened.assign_coords(data.coords).assign_coords(out.coords)
    return out.transpose(*[d for d in data.dims if d in out.dims], ...)
