"""Bins and responses by name: where a model is evaluated, and how samples are made of its values there.

See `xr_modelfit.sampling` for what is made of the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.coords import Labels, ModelInput, bare
from xr_modelfit.messages import a, listed
from xr_modelfit.sampling import Sampling
from xr_modelfit.times import TimeAxis, holds_times
from xr_modelfit.unit_text import UnknownUnitError, parse_unit
from xr_modelfit.units import Conversion, Measure, factor, measure_of

__all__ = [
    "NODE",
    "WEIGHT",
    "Bins",
    "Edges",
    "Nodes",
    "Response",
    "bins_of",
    "edges_between",
    "nodes_of",
    "points_needed",
    "response_of",
]

NODE, WEIGHT = "_modelfit_node", "_modelfit_weight"
_POINT, _OFFSET = "_modelfit_point", "_modelfit_offset"
_UNIFORM = 1e-6  # of a step: samples and offsets that are on a grid
_POINTS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)  # of Gauss and Legendre's rule, to choose from
_EXACT = 32  # points that count as exact
_NEAR, _FAR = 1e-9, 1e-6  # of the largest value: how well means are known at the start, and where parameters are halved
_UNKNOWN = 10  # points where bins cannot be tried

Edges = tuple[xr.Variable, xr.Variable]
Converted = Mapping[str, tuple[Conversion, Measure]]


@dataclass(frozen=True)
class Bins:
    """The bins of the samples, as numbers inside the fit.

    Parameters
    ----------
    edges : mapping of str to (Variable, Variable)
        Low and high edge of each sample, by model input.
    named : mapping of str to (str or None)
        The bounds that they come from; None for the middle between neighbours.
    """

    edges: Mapping[str, Edges]
    named: Mapping[str, str | None]


@dataclass(frozen=True)
class Response:
    """What an instrument makes of a model along the fitted dim.

    Parameters
    ----------
    values : Variable
        Over the dims along which it varies from fit to fit and, last, the offset; of a matrix the fitted dim and the
        sample that sees it.
    offsets : ndarray, shape (n_offsets,), or None
        As numbers inside the fit; None for a matrix.
    """

    values: xr.Variable
    offsets: np.ndarray | None


@dataclass(frozen=True)
class Nodes:
    """What goes through the blocks in place of the coordinates.

    Parameters
    ----------
    sampling : Sampling
    inputs : mapping of str to Variable
        Coordinates of the nodes by model input, dims end with `NODE`.
    weights : Variable
        Dims end with `WEIGHT`.
    """

    sampling: Sampling
    inputs: Mapping[str, xr.Variable]
    weights: xr.Variable


# --- bins ------------------------------------------------------------------------------------------------------------


def bins_of(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], integrate: Any, converted: Converted
) -> Bins | None:
    """The bins that a call names; None where it integrates over none.

    Parameters
    ----------
    labels : Labels
    inputs : sequence of ModelInput
    fitted : tuple of Hashable
    integrate
        As the user gave it.
    converted : mapping
        How coordinates were converted, by input.

    Raises
    ------
    ValueError
        A name that is not there, bounds that do not match a coordinate, or a coordinate without neighbours.
    TypeError
        It is none of names, True and False.
    """
    asked = _asked(labels, inputs, fitted, integrate)
    edges = {}
    for one in inputs:
        if one.name not in asked:
            continue
        bounds = asked[one.name]
        if bounds is None:
            edges[one.name] = edges_between(one.values, fitted, str(one.coordinate))
        else:
            numbers = _bounds_as_numbers(one, bounds, converted)
            edges[one.name] = (numbers.isel({numbers.dims[-1]: 0}), numbers.isel({numbers.dims[-1]: 1}))
    if not edges:
        return None
    named = {name: None if asked[name] is None else str(asked[name].name) for name in edges}
    return Bins(edges, named)


def _asked(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], integrate: Any
) -> dict[str, xr.DataArray | None]:
    """The bounds of each input that is integrated over; None for the middle between neighbours."""
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
                    f"integrate has the key {key!r}, but the model's inputs are {listed(i.name for i in inputs)}, which "
                    f"read {listed(i.coordinate for i in inputs)}."
                )
            found[one.name] = _cf_bounds(labels, one) if value is True else _bounds(labels, value, [one])[1]
        return found
    several = list(integrate) if isinstance(integrate, list | tuple) else [integrate]
    if not several or not all(isinstance(one, str | xr.DataArray) for one in several):
        raise TypeError(
            f"integrate is {a(integrate)}; pass True for the bins of the samples, the name of CF bounds "
            f"({inputs[0].coordinate}_bnds, for example), or False."
        )
    return dict(_bounds(labels, value, inputs) for value in several)


def _cf_bounds(labels: Labels, one: ModelInput) -> xr.DataArray | None:
    """The bounds that the coordinate's attrs name, where they are there."""
    coordinate = labels.variables.get(one.coordinate)
    if coordinate is None:
        return None
    name = coordinate.attrs.get("bounds", coordinate.encoding.get("bounds"))
    return labels.variables.get(name)


def _bounds(labels: Labels, value: Any, inputs: Sequence[ModelInput]) -> tuple[str, xr.DataArray]:
    """The input that bounds belong to, and the bounds with the dim of the two edges last."""
    bounds = labels.find("integrate", value)
    for one in inputs:
        coordinate = labels.variables.get(one.coordinate)
        if coordinate is not None and bounds.name is not None:
            if bounds.name in (coordinate.attrs.get("bounds"), coordinate.encoding.get("bounds")):
                return one.name, bounds
    alike = [one for one in inputs if len(set(bounds.dims) - set(one.values.dims)) == 1 and bounds.ndim > 1]
    alike = [one for one in alike if set(one.values.dims) < set(bounds.dims)]
    if len(alike) != 1:
        raise ValueError(
            f"integrate names {bounds.name!r} with dims {bounds.dims}; bounds have the dims of one coordinate and one "
            f"more of size 2, and the coordinates have {listed(one.values.dims for one in inputs)}. "
            "Say which they belong to: integrate={coordinate: bounds}."
        )
    return alike[0].name, bounds


def _bounds_as_numbers(one: ModelInput, bounds: xr.DataArray, converted: Converted) -> xr.Variable:
    """Bounds as numbers inside the fit, (dims of the coordinate, 2)."""
    title = f"The bounds {bounds.name!r}"
    extra = [d for d in bounds.dims if d not in one.values.dims]
    if len(extra) != 1 or bounds.sizes[extra[0]] != 2 or set(bounds.dims) - set(extra) != set(one.values.dims):
        raise ValueError(
            f"{title} have dims {dict(bounds.sizes)}, the coordinate {one.coordinate!r} {dict(one.values.sizes)}: bounds "
            "have the dims of their coordinate and one more of size 2, for the two edges of each bin."
        )
    for dim, size in one.values.sizes.items():
        if bounds.sizes[dim] != size:
            raise ValueError(
                f"{title} have {bounds.sizes[dim]} positions along {dim!r}, the coordinate {one.coordinate!r} {size}."
            )
    values = bounds.transpose(..., extra[0]).variable
    if holds_times(bounds):
        if one.measure.time is None:
            raise ValueError(f"{title} hold times, but the coordinate {one.coordinate!r} holds none.")
        values = one.measure.time.numbers(values, title)
    how, was = converted.get(one.name, (None, one.measure))
    own = bounds.attrs.get("units")
    if own is not None and was.text is not None and own != was.text and not holds_times(bounds):
        times = _times(str(own), was.text, title)
        values = values * times
    if how is not None:
        values = how.apply(values)
    return values.astype(float)


def edges_between(values: xr.Variable, fitted: tuple[Hashable, ...], name: str) -> Edges:
    """Edges of bins that meet in the middle between neighbours; the outer ones are as far out as they are in.

    Raises
    ------
    ValueError
        The coordinate runs along several fitted dims, or has no neighbours.
    """
    own = [d for d in values.dims if d in fitted]
    if len(own) != 1:
        raise ValueError(
            f"integrate is True, but the coordinate {name!r} has the fitted dims {tuple(own)}: bins lie between neighbours "
            "along one dim. Name the bounds of its bins: integrate='..._bnds'."
        )
    (dim,) = own
    n = values.sizes[dim]
    if n < 2:
        raise ValueError(
            f"integrate is True, but the coordinate {name!r} has {n} place, and so no neighbours that bins end between. "
            "Name the bounds of its bins: integrate='..._bnds'."
        )
    values = values.astype(float)
    first, last = (values.isel({dim: slice(*s)}) for s in ((None, n - 1), (1, None)))
    middle = 0.5 * first + 0.5 * last
    before = 2.0 * values.isel({dim: slice(0, 1)}) - middle.isel({dim: slice(0, 1)})
    after = 2.0 * values.isel({dim: slice(n - 1, n)}) - middle.isel({dim: slice(n - 2, n - 1)})
    return xr.Variable.concat([before, middle], dim), xr.Variable.concat([middle, after], dim)


def points_needed(
    bins: Bins,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    sizes: Mapping[Hashable, int],
    values: Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray],
    near: np.ndarray,
    far: np.ndarray,
) -> int:
    """How many points along each coordinate the means over the bins need.

    As many as give, of the largest mean, nine digits at the start and six where each parameter is halved.

    Parameters
    ----------
    values : callable
        From coordinates (n,) and parameters (K, b) to values of the model (n, b).
    near, far : ndarray, shape (K, b)
        Parameters at and beside the start, and where each of them is halved.
    """
    first = [_first(v, fitted) for v in (*(e for pair in bins.edges.values() for e in pair), *(i.values for i in inputs))]
    if any(v is None for v in first):
        return _UNKNOWN
    dims = {d: sizes[d] for d in fitted}

    def means(n_points: int, P: np.ndarray) -> np.ndarray:
        given = [ModelInput(i.name, i.coordinate, _first(i.values, fitted) or i.values, i.measure) for i in inputs]
        edges = {k: (_first(lo, fitted) or lo, _first(hi, fitted) or hi) for k, (lo, hi) in bins.edges.items()}
        at = _nodes_apart(Bins(edges, bins.named), given, fitted, dims, n_points, None)
        coordinates = [np.asarray(at.inputs[i.name].values, dtype=float) for i in inputs]
        found = values(coordinates, P)
        return at.sampling.mixed(found, np.asarray(at.weights.values)[:, None])

    with np.errstate(all="ignore"):
        try:
            exact = [means(_EXACT, P) for P in (near, far)]
        except Exception:  # the model says nothing here
            return _UNKNOWN
        for n_points in _POINTS:
            if all(
                _close(means(n_points, P), best, limit)
                for P, best, limit in zip((near, far), exact, (_NEAR, _FAR), strict=True)
            ):
                return n_points
    return _POINTS[-1]


def _close(found: np.ndarray, exact: np.ndarray, limit: float) -> bool:
    finite = np.isfinite(exact)
    most = np.max(np.where(finite, np.abs(exact), 0.0), axis=0)
    return bool(np.all(np.abs(found - exact) <= limit * most, where=finite))


def _first(values: xr.Variable, fitted: tuple[Hashable, ...]) -> xr.Variable | None:
    if not values._in_memory or values.size == 0:
        return None
    return values.isel({d: 0 for d in values.dims if d not in fitted})


# --- responses -------------------------------------------------------------------------------------------------------


def response_of(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], response: Any, converted: Converted
) -> Response | None:
    """The response that a call names; None where there is none. Arguments as in `bins_of`.

    Raises
    ------
    ValueError
        Its dims, its length or its unit do not match, or it is zero, or not finite.
    TypeError
        It holds no real numbers.
    """
    if response is None or response is False:
        return None
    array = labels.find("response", response)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"response holds {array.dtype}; real numbers are needed.")
    if len(fitted) != 1:
        raise ValueError(
            f"response is given, and {len(fitted)} dims are fitted, {fitted}: a response runs along one. Write a model "
            "that is convolved inside (scipy.signal.fftconvolve, for example)."
        )
    own = [d for d in array.dims if d not in labels.data.dims]
    if len(own) != 1:
        raise ValueError(
            f"response has dims {array.dims}: over one dim of offsets that the data does not have, or over {fitted[0]!r} "
            f"and one more for a matrix, is needed. Rename the dim of a kernel: response.rename({{{fitted[0]!r}: 'offset'}})."
        )
    if fitted[0] in array.dims:
        return _matrix(labels, array, fitted[0], own[0])
    return _kernel(labels, inputs, fitted[0], array, own[0], converted)


def _matrix(labels: Labels, array: xr.DataArray, dim: Hashable, out: Hashable) -> Response:
    bare(labels.data, array.isel({out: 0}, drop=True), "response", labels.data.dims)
    n = labels.data.sizes[dim]
    if array.sizes[out] != n:
        raise ValueError(
            f"response is a matrix of {array.sizes[dim]} places along {dim!r} by {array.sizes[out]} along {out!r}; the "
            f"data has {n} samples, and each of them needs its column: {n} along {out!r}."
        )
    unit = measure_of(array).text
    if unit is not None and _times_or_none(unit, "1") is None:
        raise ValueError(
            f"response has the unit {unit!r}; the values of the model are in the unit of the data, so a matrix has none. "
            "Divide it by its unit, or put it into the data."
        )
    _require_weight(array, (dim, out))
    return Response(array.transpose(..., dim, out).variable.astype(float), None)


def _kernel(
    labels: Labels,
    inputs: Sequence[ModelInput],
    dim: Hashable,
    array: xr.DataArray,
    own: Hashable,
    converted: Converted,
) -> Response:
    bare(labels.data, array.isel({own: 0}, drop=True), "response", labels.data.dims)
    along = [one for one in inputs if dim in one.values.dims]
    if len(along) != 1:
        raise ValueError(
            f"response is a kernel along {dim!r}, where {len(along)} inputs of the model read coordinates, "
            f"{listed(one.name for one in along)}: it shifts one. Give a matrix, over {dim!r} and one more dim."
        )
    _require_weight(array, (own,))
    offsets = _offsets(array, own, along[0], dim, converted)
    values = array.transpose(..., own).variable.astype(float)
    return Response(values / values.sum(own), offsets)


def _require_weight(array: xr.DataArray, own: tuple[Hashable, ...]) -> None:
    """Refuse a response, in memory, that is nowhere of any use."""
    if not array.variable._in_memory:
        return
    if array.size == 0 or not np.all(np.isfinite(array.values)):
        raise ValueError("response is empty, or not finite everywhere. Fill it, with 0 where there is no response.")
    axes = tuple(array.dims.index(d) for d in own)
    total = np.abs(np.sum(array.values, axis=axes)) if len(own) == 1 else np.sum(np.abs(array.values), axis=axes)
    if np.all(total <= 1e-12 * np.sum(np.abs(array.values), axis=axes)):
        raise ValueError(
            "response has the sum 0, so nothing is left of a model behind it (a kernel is divided by its sum). Check it."
        )


def _offsets(array: xr.DataArray, own: Hashable, one: ModelInput, dim: Hashable, converted: Converted) -> np.ndarray:
    """Offsets of a kernel along a coordinate, as numbers inside the fit."""
    if own not in array.coords:
        n = array.sizes[own]
        step = _step(one.values, dim)
        if step is None or n % 2 == 0:
            why = "is even" if n % 2 == 0 else f"counts samples, which are not equally spaced along {dim!r}"
            raise ValueError(
                f"response has {n} offsets along {own!r} and no coordinate there, so that it is centred on its middle, "
                f"but its number {why}. Give it one: response.assign_coords({own}=offsets in the unit of "
                f"{one.coordinate!r})."
            )
        return step * (np.arange(n) - n // 2)
    coordinate = array.coords[own]
    if coordinate.dtype.kind == "m":
        if one.measure.time is None:
            raise ValueError(
                f"response has durations along {own!r}, but the coordinate {one.coordinate!r} holds no times. "
                "Give numbers in its unit."
            )
        axis = TimeAxis.durations(one.measure.time.symbol)
        offsets = axis.numbers(coordinate.variable, "The offsets of the response").values
    elif coordinate.dtype.kind in "iuf":
        how, was = converted.get(one.name, (None, one.measure))
        inner, now = one.measure.text, coordinate.attrs.get("units", was.text)
        offsets = np.asarray(coordinate.values, dtype=float)
        if now is not None and inner is not None and now != inner:
            offsets = offsets * _times(str(now), inner, f"The offsets of the response, along {own!r},")
    else:
        raise TypeError(f"The offsets of the response, along {own!r}, hold {coordinate.dtype}; numbers are needed.")
    if not np.all(np.isfinite(offsets)):
        raise ValueError(f"The offsets of the response, along {own!r}, are not finite everywhere.")
    return np.asarray(offsets, dtype=float)


def _times(old: str, new: str, what: str) -> float:
    times = _times_or_none(old, new)
    if times is None:
        raise ValueError(f"{what} are in {old!r}, which cannot be converted to {new!r}. Correct their attrs['units'].")
    return times


def _times_or_none(old: str, new: str) -> float | None:
    try:
        return factor(parse_unit(old), parse_unit(new))
    except UnknownUnitError:
        return None


def _step(values: xr.Variable, dim: Hashable) -> float | None:
    """The step of a coordinate that all fits share and that is equally spaced, else None."""
    if values.dims != (dim,) or not values._in_memory or values.size < 2:
        return None
    x = np.asarray(values.values, dtype=float)
    step = float((x[-1] - x[0]) / (x.size - 1))
    if not np.isfinite(step) or step == 0.0:
        return None
    uniform = np.all(np.abs(x - (x[0] + step * np.arange(x.size))) <= _UNIFORM * abs(step))
    return step if uniform else None


# --- nodes -----------------------------------------------------------------------------------------------------------


def nodes_of(
    bins: Bins | None,
    response: Response | None,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    sizes: Mapping[Hashable, int],
    n_points: int,
) -> Nodes:
    """Where the model is evaluated, and the weights of its values there.

    Parameters
    ----------
    bins : Bins or None
    response : Response or None
    inputs : sequence of ModelInput
    fitted : tuple of Hashable
    sizes : mapping of Hashable to int
        Of the data.
    n_points : int
        Along each coordinate of a bin.
    """
    bins = Bins({}, {}) if bins is None else bins
    dims = {d: sizes[d] for d in fitted}
    if response is not None and response.offsets is None:
        return _nodes_of_matrix(bins, response, inputs, fitted, dims, n_points)
    if response is not None:
        shared = _nodes_on_grid(bins, response, inputs, fitted[0], n_points)
        if shared is not None:
            return shared
    return _nodes_apart(bins, inputs, fitted, dims, n_points, response)


def _rule(bins: Bins, n_points: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Points of each input in a bin from -1 to 1, and weights, (q,) each: all combinations."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    names = list(bins.edges)
    grids = np.meshgrid(*[points] * len(names), indexing="ij") if names else []
    products = np.ones(1)
    for _ in names:
        products = np.multiply.outer(products, 0.5 * weights).reshape(-1)
    return {name: g.reshape(-1) for name, g in zip(names, grids, strict=True)}, products


def _in_bins(one: ModelInput, bins: Bins, points: Mapping[str, np.ndarray], n: int) -> xr.Variable:
    """Coordinates inside the bins of an input, (..., `_POINT`)."""
    if one.name not in bins.edges:
        return one.values.set_dims({_POINT: n, **one.values.sizes})
    low, high = bins.edges[one.name]
    at = xr.Variable([_POINT], points[one.name])
    return (0.5 * low + 0.5 * high) + (0.5 * high - 0.5 * low) * at


def _nodes_apart(
    bins: Bins,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    dims: Mapping[Hashable, int],
    n_points: int,
    response: Response | None,
) -> Nodes:
    """Nodes of each sample: the points of its bin, each at all offsets of the response."""
    points, weights = _rule(bins, n_points)
    q, n = weights.size, math.prod(dims.values())
    offsets = np.zeros(1) if response is None or response.offsets is None else response.offsets
    shift = xr.Variable([_OFFSET], offsets)
    found = {}
    for one in inputs:
        at = _in_bins(one, bins, points, q)
        moved = response is not None and any(d in dims for d in one.values.dims)
        at = at - shift if moved else at.set_dims({_OFFSET: offsets.size, **at.sizes})
        absent = {d: size for d, size in dims.items() if d not in at.dims}
        found[one.name] = _flat(at.set_dims({**absent, **at.sizes}), [*fitted, _OFFSET, _POINT], NODE)
    kernel = xr.Variable([_OFFSET], np.ones(1)) if response is None else _over_offsets(response)
    span = q * offsets.size
    return Nodes(Sampling(n, span, span, 1), found, _weights(kernel, weights))


def _nodes_on_grid(
    bins: Bins, response: Response, inputs: Sequence[ModelInput], dim: Hashable, n_points: int
) -> Nodes | None:
    """Nodes that samples share, where these and the offsets are on one grid; it goes on beyond both ends."""
    (one,) = [i for i in inputs if dim in i.values.dims]
    step = _step(one.values, dim)
    if step is None or response.offsets is None:
        return None
    number = response.offsets / step
    whole = np.round(number).astype(int)
    first, last = int(whole.min()), int(whole.max())
    span = last - first + 1
    if np.any(np.abs(number - whole) > _UNIFORM) or np.unique(whole).size != whole.size or span > 2 * whole.size:
        return None
    x = np.asarray(one.values.values, dtype=float)
    n = x.size
    longer = x[0] + step * (np.arange(n + span - 1) - last)
    inside = np.arange(n) + last
    known = (inside >= 0) & (inside < longer.size)
    longer[inside[known]] = x[known]
    edges: dict[str, Edges] = {}
    if one.name in bins.edges:
        sides = []
        for edge in bins.edges[one.name]:
            if edge.dims != (dim,) or not edge._in_memory:
                return None
            away = np.asarray(edge.values, dtype=float) - x
            if np.ptp(away) > _UNIFORM * abs(step):
                return None
            sides.append(xr.Variable([dim], longer + away.mean()))
        edges[one.name] = (sides[0], sides[1])
    if set(bins.edges) - set(edges):
        return None
    points, weights = _rule(bins, n_points)
    q = weights.size
    found = {}
    for i in inputs:
        values = xr.Variable([dim], longer) if i is one else i.values
        at = _in_bins(ModelInput(i.name, i.coordinate, values), Bins(edges, bins.named), points, q)
        absent = {} if dim in at.dims else {dim: longer.size}
        found[i.name] = _flat(at.set_dims({**absent, **at.sizes}), [dim, _POINT], NODE)
    kernel = _over_offsets(response)
    if span != whole.size or np.any(np.diff(whole) != -1):  # the last offset comes first
        order = np.full(span, -1)
        order[last - whole] = np.arange(whole.size)
        picked = kernel.isel({_OFFSET: np.where(order >= 0, order, 0)})
        kernel = picked * xr.Variable([_OFFSET], (order >= 0).astype(float))
    return Nodes(Sampling(n, q, span * q, 1), found, _weights(kernel, weights))


def _nodes_of_matrix(
    bins: Bins,
    response: Response,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    dims: Mapping[Hashable, int],
    n_points: int,
) -> Nodes:
    (dim,) = fitted
    points, weights = _rule(bins, n_points)
    q, n = weights.size, dims[dim]
    found = {}
    for one in inputs:
        at = _in_bins(one, bins, points, q)
        absent = {} if dim in at.dims else {dim: n}
        found[one.name] = _flat(at.set_dims({**absent, **at.sizes}), [dim, _POINT], NODE)
    out = response.values.dims[-1]
    matrix = response.values * xr.Variable([_POINT], weights)
    return Nodes(Sampling(n, 0, n * q, n), found, _flat(matrix, [dim, _POINT, out], WEIGHT))


def _over_offsets(response: Response) -> xr.Variable:
    values = response.values
    return xr.Variable((*values.dims[:-1], _OFFSET), values.data)


def _weights(kernel: xr.Variable, weights: np.ndarray) -> xr.Variable:
    return _flat(kernel * xr.Variable([_POINT], weights), [_OFFSET, _POINT], WEIGHT)


def _flat(values: xr.Variable, dims: Sequence[Hashable], name: str) -> xr.Variable:
    """With some dims as one, the last."""
    ordered = values.transpose(..., *dims)
    kept = ordered.dims[: ordered.ndim - len(dims)]
    size = math.prod(ordered.sizes[d] for d in dims)
    return xr.Variable((*kept, name), ordered.data.reshape((*(ordered.sizes[d] for d in kept), size)))
