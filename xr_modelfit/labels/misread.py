"""Inputs that read nothing, or what the user may not mean: told before a fit, with the ways out."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import xarray as xr

from xr_modelfit.messages import listed
from xr_modelfit.units.times import as_times, holds_times

__all__ = ["example_dim", "no_coordinate", "no_numbers", "refuse_counting", "refuse_left_over", "refuse_several"]

_PLACES = ("x", "y", "z", "lat", "lon", "latitude", "longitude", "ra", "dec", "row", "col", "station", "pixel")


def example_dim(data: xr.DataArray) -> Hashable:
    """The dim that a fit along one dim consumes, more likely than others: no place, and with a coordinate."""
    others = [d for d in data.dims if str(d).lower() not in _PLACES]
    return next((d for d in others if d in data.coords), others[0] if others else data.dims[-1])


def no_coordinate(
    data: xr.DataArray, fitted: Sequence[Hashable], name: str, inputs: Sequence[str], function: bool = False
) -> ValueError:
    """The error for an input of the model that is left without a coordinate.

    ``function``: the input is an argument of a function, which may unpack several coordinates from it.
    """
    on_dims = [*fitted, *(c for c in data.coords if c not in fitted and set(data.coords[c].dims) & set(fitted))]
    remaining = [d for d in data.dims if d not in fitted]
    start = f"The model's input {name!r} has no coordinate: "
    says = f"coords={{{name!r}: ...}}, with one of {listed(on_dims)}."
    if len(inputs) == 1:
        kept = f" For maps over {tuple(fitted)}, pass dim={_written(remaining)}." if remaining else ""
        packed = f" {_apart(name, fitted)}" if function else ""
        return ValueError(
            f"{start}dim names {len(fitted)} dims, {tuple(fitted)}, and the model has one input.{packed} dim is what "
            f"each fit consumes, not what the maps keep.{kept} To put the samples along all of them into one fit, "
            f"say what the input reads: {says}"
        )
    if len(fitted) < len(inputs):
        wider = f" Name as many: dim={tuple(inputs)}." if set(inputs) <= set(data.dims) else ""
        number = "one dim" if len(fitted) == 1 else f"{len(fitted)} dims"
        return ValueError(
            f"{start}the model has {len(inputs)} inputs, {listed(inputs)}, and dim names {number}, {listed(fitted)}."
            f"{wider} Or take a model of fewer inputs, such as Gaussian1D in place of Gaussian2D, or say what it "
            f"reads: {says}"
        )
    return ValueError(
        f"{start}the fitted dims are {tuple(fitted)}, and none is taken by guess. Say what it reads: {says}"
    )


def refuse_several(value: Any, known: Collection[Any], dims: Collection[Any], name: str) -> None:
    """Refuse several coordinates for one input."""
    if not isinstance(value, list | tuple) or len(value) < 2 or not all(isinstance(one, str) for one in value):
        return
    if (isinstance(value, tuple) and value in known) or not all(one in known or one in dims for one in value):
        return
    raise ValueError(
        f"coords[{name!r}] names {len(value)} coordinates, {listed(value)}, but an input reads one: name "
        f"{value[0]!r}, for example. {_apart(name, value)}"
    )


def _apart(name: str, coordinates: Sequence[Any]) -> str:
    """How a function reads several coordinates that are packed in one argument for curve_fit."""
    return (
        f"A function that unpacks several coordinates from {name!r}, as for curve_fit, needs an argument for each: "
        f"def f({', '.join(map(str, coordinates))}, ...), without ravel()."
    )


def _written(dims: Sequence[Hashable]) -> str:
    return repr(dims[0] if len(dims) == 1 else tuple(dims))


def refuse_left_over(
    fitted: Sequence[Hashable], read: dict[str, Hashable], dims: Collection[Hashable], named: Collection[str]
) -> None:
    """Refuse a fitted dim that no input reads, where inputs were matched by name.

    Inputs ``read`` coordinates, which have the dims ``dims``; of the inputs ``named``, the call names the coordinate.
    """
    left = [d for d in fitted if d not in dims]
    if not left or len(read) < 2 or set(named) >= set(read):
        return
    kept = [d for d in fitted if d not in left]
    reads = ", ".join(f"{name!r} reads {coordinate!r}" for name, coordinate in read.items())
    pairs = ", ".join(f"{name!r}: {coordinate!r}" for name, coordinate in read.items())
    raise ValueError(
        f"dim is {tuple(fitted)}, and no input of the model reads {listed(left)}: {reads}. For a fit at each position "
        f"of {listed(left)}, leave it out: dim={_written(kept)}. To put all its samples into one fit, say so by "
        f"naming what each input reads: coords={{{pairs}}}."
    )


def refuse_counting(data: xr.DataArray, dim: Hashable, name: str) -> None:
    """Refuse to count 0, 1, 2, ... along a dim without coordinate where the data has another one on it."""
    if dim in data.coords:
        return
    others = [c for c, array in data.coords.items() if array.dims == (dim,) and _is_measured(array)]
    if others:
        raise ValueError(
            f"The model's input {name!r} would count 0, 1, 2, ... along {dim!r}, which has no coordinate of its own. "
            f"But the data has {listed(others)} on it. Say which is meant: coords={{{name!r}: {others[0]!r}}} reads "
            f"it, and coords={{{name!r}: {dim!r}}} counts."
        )


def _is_measured(array: xr.DataArray) -> bool:
    return array.dtype.kind in "f" or (array.dtype.kind in "iu" and array.size > 0) or holds_times(array)


def no_numbers(array: xr.DataArray, shown: Any, name: str, fitted: Sequence[Hashable]) -> TypeError:
    """The error for a coordinate of text or objects."""
    what = f"The coordinate {shown!r} holds {array.dtype}, neither real numbers nor times, which the model's input "
    if _are_dates(array):
        (dim,) = array.dims
        turned = f"({dim!r}, pandas.to_datetime(data[{shown!r}].values))"
        return TypeError(
            f"{what}{name!r} reads. They look like dates: turn them into some, data.assign_coords({{{shown!r}: "
            f"{turned}}}). Or name a numeric coordinate: coords={{{name!r}: ...}}."
        )
    return TypeError(f"{what}{name!r} reads. Name a numeric coordinate on {tuple(fitted)}: coords={{{name!r}: ...}}.")


def _are_dates(array: xr.DataArray) -> bool:
    """Whether the first of some labels in memory reads like a date."""
    if array.ndim != 1 or not array.size or not array.variable._in_memory:
        return False
    first = array.values[0]
    try:
        return as_times(first) is not None
    except ValueError:
        return False
