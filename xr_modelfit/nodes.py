"""Where a model is evaluated for bins and responses, and how samples are made of its values there.

See `xr_modelfit.sampling` for what is made of the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.bins import Bins, Edges
from xr_modelfit.coords import ModelInput
from xr_modelfit.derivatives import tied_or_nan
from xr_modelfit.probing import beside_start
from xr_modelfit.problem import Problem
from xr_modelfit.responses import Response, step_of
from xr_modelfit.sampling import Sampling

__all__ = ["NODE", "UNKNOWN", "WEIGHT", "Nodes", "nodes_of", "sampled"]

NODE, WEIGHT = "_modelfit_node", "_modelfit_weight"
UNKNOWN = 10  # points where bins cannot be tried
_POINT, _OFFSET = "_modelfit_point", "_modelfit_offset"
_UNIFORM = 1e-6  # of a step: offsets that are on the grid of the samples
_POINTS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)  # of Gauss and Legendre's rule, to choose from
_EXACT = 32  # points that count as exact
_NEAR, _FAR = 1e-9, 1e-6  # of the largest value: how well means are known at the start, and where parameters are halved
_KEPT = 10_000  # numbers of a response that a record holds


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
    described: Mapping[str, Any] = field(default_factory=dict)


def sampled(
    problem: Problem,
    bins: Bins | None,
    response: Response | None,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    sizes: Mapping[Hashable, int],
) -> Nodes | None:
    """The nodes of a call, and what its record says of them; None where samples are values of the model.

    Parameters
    ----------
    problem : Problem
        Its ways are known.
    bins, response
        As the call has them.
    inputs : sequence of ModelInput
    fitted : tuple of Hashable
    sizes : mapping of Hashable to int
        Of the data.

    Raises
    ------
    ValueError
        The model sees all its samples, so that it has no values between or beyond them.
    """
    if bins is None and response is None:
        return None
    if problem.ways.grid is not None and (bins is not None or (response is not None and response.offsets is not None)):
        option = "integrate" if bins is not None else "response"
        raise ValueError(
            f"{option} is given, but the model sees all its samples, so that it has no values between or beyond them. "
            "Put the response into the model, give it as a matrix, or pass pointwise=True if the model's value at a "
            "sample depends on that sample alone."
        )
    n_points = None
    if bins is not None:
        start = np.where(np.isfinite(problem.start), problem.start, 1.0)
        free = np.flatnonzero(problem.free)
        halved = np.repeat(start[:, None], max(free.size, 1), axis=1)
        halved[free, np.arange(free.size)] *= 0.5

        def values(at: Sequence[np.ndarray], P: np.ndarray) -> np.ndarray:
            return problem.evaluate([x[:, None] for x in at], P)

        try:
            near, far = beside_start(problem), tied_or_nan(problem, halved)
            n_points = _points_needed(bins, inputs, fitted, sizes, values, near, far)
        except Exception:  # ties that work for some values only
            n_points = UNKNOWN
    found = nodes_of(bins, response, inputs, fitted, sizes, n_points or 1)
    named = {} if bins is None else dict(bins.named)
    told = {"points": n_points, "bins": named, "response": _described(response)}
    return replace(found, described=told)


def _described(response: Response | None) -> Any:
    """A response as plain data; ``lost`` where it is large, lazy, or varies from fit to fit."""
    if response is None:
        return None
    values, own = response.values, 1 if response.offsets is not None else 2
    if values.ndim != own or not values._in_memory or values.size > _KEPT:
        return "lost"
    offsets = None if response.offsets is None else response.offsets.tolist()
    return {"offsets": offsets, "values": np.asarray(values.values, dtype=float).tolist()}


def _points_needed(
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
    first = [
        _first(v, fitted) for v in (*(e for pair in bins.edges.values() for e in pair), *(i.values for i in inputs))
    ]
    if any(v is None for v in first):
        return UNKNOWN
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
            return UNKNOWN
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
    step = step_of(one.values, dim)
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
