"""Where a model is evaluated for bins and responses, and how samples are made of its values there.

See `models.sampling` for what is made of the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.labels.bin_points import UNKNOWN, gathered, points_needed, rule
from xr_modelfit.labels.bins import Bins, Edges, at_hand
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.labels.own_nodes import EDGE, NODE, OFFSET, POINT, OwnNodes, flat, in_bins, repeated
from xr_modelfit.labels.responses import Response, step_of
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Products, Sampling, Spread

__all__ = ["EDGE", "NODE", "UNKNOWN", "WEIGHT", "Nodes", "nodes_of", "refuse_between", "sampled", "shared_at_hand"]

WEIGHT = "_modelfit_weight"
_UNIFORM = 1e-6  # of a step: offsets that are on the grid of the samples
_KEPT = 10_000  # numbers of a response that a record holds


@dataclass(frozen=True)
class Nodes:
    """What goes through the blocks in place of the coordinates.

    Parameters
    ----------
    sampling : Sampling
    inputs : mapping of str to Variable
        Coordinates of the nodes by model input, dims end with `NODE`. Where there is a spread for it, those of samples
        or edges of their bins, from which the nodes are made: dims end with the fitted ones and `EDGE`.
    weights : Variable
        Dims end with `WEIGHT`; those of the response alone where there are products.
    spreads : mapping of str to Spread
        Of the inputs that vary along the fitted dims and from fit to fit.
    products : Products or None
        Of a response that varies from fit to fit, in front of bins.
    described : mapping
        What the record says of it.
    """

    sampling: Sampling
    inputs: Mapping[str, xr.Variable]
    weights: xr.Variable
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    products: Products | None = None
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
        Its traits are known.
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
    if problem.traits.grid is not None:
        refuse_between(bins, response)
    bins, inputs = shared_at_hand(bins, inputs, fitted)
    n_points = None if bins is None else points_needed(problem, bins, inputs, fitted, sizes)
    found = nodes_of(bins, response, inputs, fitted, sizes, n_points or 1)
    named = {} if bins is None else dict(bins.named)
    told = {"points": n_points, "bins": named, "response": _described(response)}
    return replace(found, described=told)


def refuse_between(bins: Bins | None, response: Response | None) -> None:
    """Refuse what needs values between the samples, or beyond them, of a model that sees all of these.

    Raises
    ------
    ValueError
    """
    if bins is not None or (response is not None and response.offsets is not None):
        option = "integrate" if bins is not None else "response"
        inside = "Take the means inside the model" if bins is not None else "Put it into the model, give it as a matrix"
        raise ValueError(
            f"{option} is given, but the model sees all its samples, so that it has no values between or beyond them. "
            f"{inside}, or fit with pointwise=True if the model's value at a sample depends on that sample alone."
        )


def shared_at_hand(
    bins: Bins | None, inputs: Sequence[ModelInput], fitted: Sequence[Hashable]
) -> tuple[Bins | None, list[ModelInput]]:
    """Bins and inputs with what all fits share in memory."""
    read = [replace(one, values=at_hand(one.values, fitted)) for one in inputs]
    if bins is None:
        return None, read
    edges = {name: (at_hand(low, fitted), at_hand(high, fitted)) for name, (low, high) in bins.edges.items()}
    return replace(bins, edges=edges), read


def _described(response: Response | None) -> Any:
    """A response as plain data; ``lost`` where it is large, lazy, or varies from fit to fit."""
    if response is None:
        return None
    values, own = response.values, 1 if response.offsets is not None else 2
    if values.ndim != own or not values._in_memory or values.size > _KEPT:
        return "lost"
    offsets = None if response.offsets is None else response.offsets.tolist()
    return {"offsets": offsets, "values": np.asarray(values.values, dtype=float).tolist()}


def nodes_of(
    bins: Bins | None,
    response: Response | None,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    sizes: Mapping[Hashable, int],
    n_points: int,
    along: Container[str] | None = None,
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
        Along each side of a bin.
    along : container of str, optional
        The inputs that a kernel moves. Default: those that vary along the fitted dims.
    """
    bins = Bins({}, {}) if bins is None else bins
    dims = {d: sizes[d] for d in fitted}
    along = {i.name for i in inputs if any(d in dims for d in i.values.dims)} if along is None else along
    if response is not None and response.offsets is None:
        return _nodes_of_matrix(bins, response, inputs, fitted, dims, n_points)
    if response is not None:
        moved = [i for i in inputs if i.name in along]
        longer = _longer_grid(bins, response.offsets, moved[0], fitted) if len(moved) == 1 else None
        if longer is not None:
            return _nodes_on_grid(bins, response, inputs, longer, n_points)
    return _nodes_apart(bins, inputs, fitted, dims, n_points, response, along)


def _nodes_apart(
    bins: Bins,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    dims: Mapping[Hashable, int],
    n_points: int,
    response: Response | None,
    along: Container[str],
) -> Nodes:
    """Nodes of each sample: the points of its bin, each at all offsets of the response."""
    points, weights = rule(gathered(bins, fitted), n_points)
    q, n = weights.size, math.prod(dims.values())
    offsets = np.zeros(1) if response is None or response.offsets is None else response.offsets
    moved = () if response is None else along
    found, spreads = OwnNodes(bins, dims, points, q, offsets, moved).of(inputs)
    kernel = xr.Variable([OFFSET], np.ones(1)) if response is None else _over_offsets(response)
    span = q * offsets.size
    own, products = _weights(kernel, weights)
    return Nodes(Sampling(n, span, span, 1), found, own, spreads, products)


@dataclass(frozen=True)
class _Longer:
    """The grid of the samples, continued beyond both ends as far as a kernel looks.

    Parameters
    ----------
    dim : Hashable
    name : str
        The input that it is the coordinate of.
    x : ndarray
    edges : mapping of str to (Variable, Variable)
        Of its bins.
    order : ndarray of int, shape (span,)
        Which value of the kernel each node of a sample has, -1 for none; the last offset comes first.
    """

    dim: Hashable
    name: str
    x: np.ndarray
    edges: Mapping[str, Edges]
    order: np.ndarray


def _longer_grid(
    bins: Bins, offsets: np.ndarray | None, one: ModelInput, fitted: tuple[Hashable, ...]
) -> _Longer | None:
    """The grid that samples share, where these, their bins and the offsets are on one; else None."""
    step = step_of(one.values, fitted[0]) if len(fitted) == 1 else None
    if step is None or offsets is None or set(bins.edges) - {one.name}:
        return None
    number = offsets / step
    whole = np.round(number).astype(int)
    first, last = int(whole.min()), int(whole.max())
    span = last - first + 1
    if np.any(np.abs(number - whole) > _UNIFORM) or np.unique(whole).size != whole.size or span > 2 * whole.size:
        return None
    (dim,) = fitted
    x = np.asarray(one.values.values, dtype=float)
    longer = x[0] + step * (np.arange(x.size + span - 1) - last)
    inside = np.arange(x.size) + last
    known = (inside >= 0) & (inside < longer.size)
    longer[inside[known]] = x[known]
    edges: dict[str, Edges] = {}
    if one.name in bins.edges:
        sides = []
        for edge in bins.edges[one.name]:
            if edge.dims != (dim,) or not edge._in_memory:
                return None
            away = np.asarray(edge.values, dtype=float) - x
            if not np.ptp(away) <= _UNIFORM * abs(step):
                return None
            sides.append(xr.Variable([dim], longer + away.mean()))
        edges[one.name] = (sides[0], sides[1])
    order = np.full(span, -1)
    order[last - whole] = np.arange(whole.size)
    return _Longer(dim, one.name, longer, edges, order)


def _nodes_on_grid(bins: Bins, response: Response, inputs: Sequence[ModelInput], grid: _Longer, n_points: int) -> Nodes:
    """Nodes that samples share: the points of the bins of a longer grid."""
    bins, n = Bins(grid.edges, bins.named), grid.x.size - grid.order.size + 1
    points, weights = rule(gathered(bins, [grid.dim]), n_points)
    q = weights.size
    found = {}
    for i in inputs:
        if i.name != grid.name and i.values.dims and grid.dim not in i.values.dims:
            found[i.name] = repeated(i.values, grid.x.size * q)
            continue
        values = xr.Variable([grid.dim], grid.x) if i.name == grid.name else i.values
        at = in_bins(ModelInput(i.name, i.coordinate, values), bins, points, q)
        absent = {} if grid.dim in at.dims else {grid.dim: grid.x.size}
        found[i.name] = flat(at.set_dims({**absent, **at.sizes}), [grid.dim, POINT], NODE)
    kernel = _over_offsets(response)
    if not np.array_equal(grid.order, np.arange(grid.order.size)):
        picked = kernel.isel({OFFSET: np.maximum(grid.order, 0)})
        kernel = picked * xr.Variable([OFFSET], (grid.order >= 0).astype(float))
    own, products = _weights(kernel, weights)
    return Nodes(Sampling(n, q, grid.order.size * q, 1), found, own, products=products)


def _nodes_of_matrix(
    bins: Bins,
    response: Response,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    dims: Mapping[Hashable, int],
    n_points: int,
) -> Nodes:
    (dim,) = fitted
    points, weights = rule(gathered(bins, fitted), n_points)
    q, n = weights.size, dims[dim]
    found, spreads = OwnNodes(bins, dims, points, q, np.zeros(1), ()).of(inputs)
    matrix, out = response.values, response.values.dims[-1]
    if matrix.ndim > 2:
        own, products = flat(matrix, [dim, out], WEIGHT), Products(weights, n)
    else:
        own, products = flat(matrix * xr.Variable([POINT], weights), [dim, POINT, out], WEIGHT), None
    return Nodes(Sampling(n, 0, n * q, n), found, own, spreads, products)


def _over_offsets(response: Response) -> xr.Variable:
    values = response.values
    return xr.Variable((*values.dims[:-1], OFFSET), values.data)


def _weights(kernel: xr.Variable, weights: np.ndarray) -> tuple[xr.Variable, Products | None]:
    """Weights of nodes, or those of a kernel that varies from fit to fit and what they are multiplied by."""
    if kernel.ndim > 1:
        return flat(kernel, [OFFSET], WEIGHT), Products(weights, 1)
    return flat(kernel * xr.Variable([POINT], weights), [OFFSET, POINT], WEIGHT), None
