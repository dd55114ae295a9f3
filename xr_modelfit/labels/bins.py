"""The bins of samples, by name: CF bounds of a coordinate, or midpoints between neighbours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.labels.coords import Labels, ModelInput, bare
from xr_modelfit.messages import a, listed
from xr_modelfit.units.times import holds_times, undecoded_axis
from xr_modelfit.units.units import Conversion, Measure, required_conversion

__all__ = ["BETWEEN", "UNNAMED", "Bins", "at_hand", "bins_of", "name_of_bounds", "numbers_in_fit"]

BETWEEN = object()  # in place of bounds: bins end midway between neighbours, whatever the attrs say
UNNAMED = ""  # what bounds without a name are called in a record
Edges = tuple[xr.Variable, xr.Variable]
ToNumbers = Callable[[ModelInput, xr.DataArray], xr.Variable]  # bounds of a coordinate as numbers inside the fit


@dataclass(frozen=True)
class Bins:
    """The bins of the samples, as numbers inside the fit."""

    edges: Mapping[str, Edges]  # low and high edge of each sample, by model input
    named: Mapping[str, str | None]  # name of their bounds, or `UNNAMED`; None: midpoints


def bins_of(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], integrate: Any, numbers: ToNumbers
) -> Bins | None:
    """The bins that ``integrate`` names; None if there are none.

    Raises ValueError if a name is unknown, bounds do not match a coordinate, or a coordinate has no neighbours;
    TypeError if ``integrate`` is neither names nor True nor False.
    """
    requested = _requested(labels, inputs, fitted, integrate)
    edges = {}
    for one in inputs:
        if one.name not in requested:
            continue
        bounds = requested[one.name]
        if bounds is None:
            edges[one.name] = _edges_between(one.values, fitted, str(one.coordinate))
        else:
            both = numbers(one, _matching(labels, one, bounds)).astype(float)
            known = xr.apply_ufunc(np.isfinite, one.values, dask="allowed")  # other samples are left out
            both = both.where(known.set_dims(both.sizes))
            edges[one.name] = (both.isel({both.dims[-1]: 0}), both.isel({both.dims[-1]: 1}))
    named = {name: None if bounds is None else str(bounds.name or UNNAMED) for name, bounds in requested.items()}
    return Bins(edges, named) if edges else None


def _requested(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], integrate: Any
) -> dict[str, xr.DataArray | None]:
    """The bounds of each input that is integrated over; None for midpoints between neighbours."""
    if integrate is None or integrate is False:
        return {}
    if integrate is True:
        own = [one for one in inputs if any(d in fitted for d in one.values.dims)]
        return {one.name: _cf_bounds(labels, one) for one in own}
    if isinstance(integrate, Mapping):
        found: dict[str, xr.DataArray | None] = {}
        for key, value in integrate.items():
            one = next((i for i in inputs if key in (i.name, i.coordinate)), None)
            if one is None:
                raise ValueError(
                    f"integrate has the key {key!r}, but the model's inputs are {listed(i.name for i in inputs)}, "
                    f"which read {listed(i.coordinate for i in inputs)}."
                )
            if value is BETWEEN:
                found[one.name] = None
            elif value is not None and value is not False:
                found[one.name] = _cf_bounds(labels, one) if value is True else _bounds(labels, value, [one])[1]
        return found
    several = list(integrate) if isinstance(integrate, list | tuple) else [integrate]
    if not several or not all(isinstance(one, str | xr.DataArray) for one in several):
        dims = *(inputs[0].values.dims), "bnds"
        raise TypeError(
            f"integrate is {a(integrate)}; pass True for the bins of the samples, the name of CF bounds "
            f"({inputs[0].coordinate}_bnds, for example), or False. Edges in an array need names of their dims: "
            f"xr.DataArray(edges, dims={dims}), with 2 edges along 'bnds' for each sample."
        )
    return dict(_bounds(labels, value, inputs) for value in several)


def _cf_bounds(labels: Labels, one: ModelInput) -> xr.DataArray | None:
    """The bounds that the coordinate's attrs name, if any."""
    coordinate = labels.variables.get(one.coordinate)
    name = None if coordinate is None else name_of_bounds(coordinate)
    if name is not None and name not in labels.variables:
        raise ValueError(
            f"integrate is True, and the coordinate {one.coordinate!r} says that {name!r} are the bounds of its bins, "
            f"which are not there. Pass the Dataset that has them, or integrate={{{one.coordinate!r}: bounds}}; for "
            f"bins that end between neighbours, remove the attribute: data[{one.coordinate!r}].attrs.pop('bounds')."
        )
    return None if name is None else labels.variables[name]


def name_of_bounds(coordinate: xr.DataArray) -> str | None:
    """The name of the bounds in the attrs of a coordinate."""
    return coordinate.attrs.get("bounds", coordinate.encoding.get("bounds"))


def _bounds(labels: Labels, value: Any, inputs: Sequence[ModelInput]) -> tuple[str, xr.DataArray]:
    """The input that bounds belong to, and the bounds with the dim of the two edges last."""
    bounds = labels.find("integrate", value)
    itself = next((one for one in inputs if isinstance(value, str) and value == one.coordinate), None)
    if itself is not None:
        raise ValueError(
            f"integrate names the coordinate {value!r} itself, not the bounds of its bins. For bins that end between "
            f"neighbours, or those that its attrs name, pass integrate={{{value!r}: True}}."
        )
    for one in inputs:
        coordinate = labels.variables.get(one.coordinate)
        if coordinate is not None and bounds.name is not None and bounds.name == name_of_bounds(coordinate):
            return one.name, bounds
    others = [d for d in bounds.dims if d not in labels.data.dims]
    alike = [one for one in inputs if {*one.values.dims, *others} == set(bounds.dims)]
    alike = alike or [one for one in inputs if set(one.values.dims) < set(bounds.dims)]  # bounds may vary by fit
    if len(alike) != 1 or len(others) != 1:
        raise ValueError(
            f"integrate names {bounds.name!r} with dims {bounds.dims}; bounds have the dims of one coordinate and one "
            f"more of size 2, and the coordinates have the dims {listed(one.values.dims for one in inputs)}. "
            "Say which they belong to: integrate={coordinate: bounds}."
        )
    return alike[0].name, bounds


def _matching(labels: Labels, one: ModelInput, bounds: xr.DataArray) -> xr.DataArray:
    """Bounds with their dim of size 2 last, once dims, sizes and labels are known to match the coordinate."""
    title = f"The bounds {bounds.name!r}"
    extra = [d for d in bounds.dims if d not in labels.data.dims]
    if len(extra) != 1 or bounds.sizes[extra[0]] != 2 or not set(one.values.dims) <= set(bounds.dims):
        raise ValueError(
            f"{title} have dims {dict(bounds.sizes)}, the coordinate {one.coordinate!r} {dict(one.values.sizes)}: "
            "bounds have the dims of their coordinate and one more of size 2, for the two edges of each bin."
        )
    one_edge = bounds.isel({extra[0]: 0}, drop=True)
    bare(labels.data, one_edge, f"integrate, by the bounds {bounds.name!r},", labels.data.dims)
    coordinate = labels.variables.get(one.coordinate)
    dated = coordinate is not None and holds_times(coordinate)
    if dated and bounds.dtype.kind in "iuf" and "units" not in bounds.attrs:
        raise ValueError(
            f"{title} hold numbers without units, the coordinate {one.coordinate!r} holds times. Give times: "
            "xr.decode_cf(dataset) reads bounds with their coordinate."
        )
    return bounds.transpose(..., *one.values.dims, extra[0])


def numbers_in_fit(converted: Mapping[str, tuple[Conversion, Measure]]) -> ToNumbers:
    """How bounds become numbers inside a fit; ``converted`` holds the conversions of coordinates, by model input."""

    def numbers(one: ModelInput, bounds: xr.DataArray) -> xr.Variable:
        title, values = f"The bounds {bounds.name!r}", bounds.variable
        if holds_times(bounds):
            if one.measure.time is None:
                raise ValueError(f"{title} hold times, but the coordinate {one.coordinate!r} holds none.")
            return one.measure.time.numbers(values, title)
        if bounds.dtype.kind not in "iuf":
            raise TypeError(f"{title} hold {bounds.dtype}; real numbers or times are needed.")
        how, was = converted.get(one.name, (None, one.measure))
        own = _own_unit(bounds, was)
        if own is not None and was.text is not None and own != was.text:
            of = f"the coordinate {one.coordinate!r}"
            values = required_conversion(Measure(str(own)), was, f"{title} are", of).apply(values)
        return values if how is None else how.apply(values)

    return numbers


def _own_unit(bounds: xr.DataArray, coordinate: Measure) -> str | None:
    """The unit of bounds. By CF they need none, but may repeat that of their coordinate."""
    counted = undecoded_axis(bounds)
    if counted is None or coordinate.time is None:
        return bounds.attrs.get("units")
    if not counted.agrees_with(coordinate.time):
        raise ValueError(
            f"The bounds {bounds.name!r} count {counted.units}, their coordinate {coordinate.time.units}. "
            "Decode both: xr.decode_cf(dataset)."
        )
    return None


def at_hand(values: xr.Variable, fitted: Collection[Hashable]) -> xr.Variable:
    """A coordinate, loaded if all fits share it, so that lazy and computed coordinates give the same result."""
    shared: xr.Variable = values.compute() if set(values.dims) <= set(fitted) else values
    return shared


def _edges_between(values: xr.Variable, fitted: tuple[Hashable, ...], name: str) -> Edges:
    """Edges of bins that meet midway between neighbours; the outer bins are symmetric."""
    own = [d for d in values.dims if d in fitted]
    if len(own) > 1:
        raise ValueError(
            f"The bins of {name!r} are to end between neighbours, but the coordinate has the fitted dims {tuple(own)}: "
            f"neighbours are those along one dim. Name the bounds of its bins: integrate='{name}_bnds', for example."
        )
    n = values.sizes[own[0]] if own else 1
    if n == 0:
        return values, values
    if n == 1:
        raise ValueError(
            f"The bins of {name!r} are to end between neighbours, but the coordinate has 1 place, and so none. "
            f"Give the bounds of its bins, integrate={{{name!r}: bounds}}, or pass integrate=False."
        )
    (dim,) = own
    values = at_hand(values, fitted).astype(float)
    _require_order(values, name)
    middle = 0.5 * values.isel({dim: slice(None, -1)}) + 0.5 * values.isel({dim: slice(1, None)})
    before, after = (2.0 * values.isel({dim: end}) - middle.isel({dim: end}) for end in (slice(1), slice(-1, None)))
    return xr.Variable.concat([before, middle], dim), xr.Variable.concat([middle, after], dim)


def _require_order(values: xr.Variable, name: str) -> None:
    """Refuse a coordinate, shared by all fits, that is not monotonic: neighbours cannot bound its bins."""
    if values.ndim != 1 or not values._in_memory:
        return
    steps = np.diff(values.values[np.isfinite(values.values)])
    if np.any(steps > 0) and np.any(steps < 0):
        raise ValueError(
            f"The bins of {name!r} are to end between neighbours, but the coordinate is not in order: it rises and "
            f"falls. Sort the data, data.sortby({name!r}), or give the bounds of the bins, "
            f"integrate={{{name!r}: bounds}}."
        )
