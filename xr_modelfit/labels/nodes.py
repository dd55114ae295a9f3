"""Where a model is evaluated for bins and responses, and the weights with which its values make samples.

Coordinates that all fits share become nodes here, once. Of those that differ from fit to fit, each block makes the
nodes of its own fits (`models.sampling`), and applies the weights.
"""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.labels.bin_points import UNKNOWN, gauss_legendre, point_groups, points_needed
from xr_modelfit.labels.bins import Bins, at_hand
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.labels.responses import Response, step_of
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Products, Sampling, Spread

__all__ = ["EDGE", "NODE", "UNKNOWN", "WEIGHT", "Nodes", "nodes_of", "refuse_between", "sampled", "shared_at_hand"]

NODE, EDGE, WEIGHT = "_modelfit_node", "_modelfit_edge", "_modelfit_weight"
_UNIFORM = 1e-6  # tolerance, in steps, for offsets on the grid of the samples
_KEPT = 10_000  # largest response that a record holds


@dataclass(frozen=True)
class Nodes:
    """What goes through the blocks in place of the coordinates."""

    sampling: Sampling
    # By model input: coordinates of the nodes (..., NODE); where there is a spread, what a block makes them from,
    # coordinates of the samples or edges of their bins (..., *fitted, EDGE).
    inputs: Mapping[str, xr.Variable]
    weights: xr.Variable  # (..., WEIGHT); those of the response alone where there are products
    spreads: Mapping[str, Spread] = field(default_factory=dict)  # of inputs that vary within fits and between them
    products: Products | None = None  # of bins, and a response that differs from fit to fit
    described: Mapping[str, Any] = field(default_factory=dict)  # what the record says


def sampled(
    problem: Problem,
    bins: Bins | None,
    response: Response | None,
    inputs: Sequence[ModelInput],
    fitted: tuple[Hashable, ...],
    sizes: Mapping[Hashable, int],
) -> Nodes | None:
    """The nodes of a call, with what its record says; None where samples are values of the model.

    The traits of ``problem`` are known; ``sizes`` are those of the data.
    """
    if bins is None and response is None:
        return None
    if problem.traits.grid is not None:
        refuse_between(bins, response)
    bins, inputs = shared_at_hand(bins, inputs, fitted)
    n_points = None if bins is None else points_needed(problem, bins, inputs, fitted, sizes)
    found = nodes_of(bins, response, inputs, fitted, sizes, n_points or 1)
    named = {} if bins is None else dict(bins.named)
    return replace(found, described={"points": n_points, "bins": named, "response": _described(response)})


def refuse_between(bins: Bins | None, response: Response | None) -> None:
    """Refuse bins and kernels for a model that sees all its samples: it has no values between or beyond them."""
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
    """Bins and inputs, loaded where all fits share them."""
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

    A bin has ``n_points`` along each side. A kernel moves the inputs ``along``, by default those that vary along the
    fitted dims.
    """
    bins = Bins({}, {}) if bins is None else bins
    dims = {d: sizes[d] for d in fitted}
    points, weights = gauss_legendre(point_groups(bins, fitted), n_points)
    n, q = math.prod(dims.values()), weights.size
    offsets, moved, products = np.zeros(1), set(), None
    if response is None:
        sampling, own = Sampling(n, q, q, 1), xr.Variable([WEIGHT], weights)
    elif response.offsets is None:
        sampling = Sampling(n, 0, n * q, n)
        own, products = _weights(response.values, weights, 2)
    else:
        offsets, kernel = response.offsets, response.values
        moved = {i.name for i in inputs if (set(i.values.dims) & set(dims) if along is None else i.name in along)}
        sampling = Sampling(n, q * offsets.size, q * offsets.size, 1)
        if (grid := _extended_grid(bins, offsets, inputs, moved, fitted)) is not None:
            inputs, bins, order = grid
            sampling = Sampling(n, q, q * order.size, 1)
            dims, offsets, moved = {fitted[0]: n + order.size - 1}, np.zeros(1), set()
            used = xr.Variable(kernel.dims[-1:], (order >= 0).astype(float))
            kernel = kernel.isel({kernel.dims[-1]: np.maximum(order, 0)}) * used
        own, products = _weights(kernel, weights, 1)
    found, spreads = _coordinates(inputs, bins, dims, points, q, offsets, moved)
    return Nodes(sampling, found, own, spreads, products)


def _coordinates(
    inputs: Sequence[ModelInput],
    bins: Bins,
    dims: Mapping[Hashable, int],
    points: Mapping[str, np.ndarray],
    q: int,
    offsets: np.ndarray,
    moved: Container[str],
) -> tuple[dict[str, xr.Variable], dict[str, Spread]]:
    """Coordinates and spreads by input, as `Nodes` has them: ``q`` points in each bin, at all offsets if moved."""
    found, spreads = {}, {}
    for one in inputs:
        sides, in_bins = bins.edges.get(one.name, (one.values,)), one.name in bins.edges
        if not (in_bins or one.name in moved or set(one.values.dims) & set(dims)):  # constant in each fit: a view
            n_nodes = math.prod(dims.values()) * q * offsets.size
            whole = one.values.astype(float).set_dims({NODE: n_nodes, **one.values.sizes})
            found[one.name] = whole.transpose(..., NODE)
            continue
        spread = Spread(
            np.tile(points[one.name], offsets.size) if in_bins else None,
            np.repeat(offsets if one.name in moved else np.zeros(offsets.size), q),
        )
        given = _edges(sides, dims)
        if set(given.dims) <= {*dims, EDGE}:
            found[one.name] = xr.Variable([NODE], spread.over(given.values.reshape(1, -1))[0])
        else:
            found[one.name], spreads[one.name] = given, spread
    return found, spreads


def _edges(sides: Sequence[xr.Variable], dims: Mapping[Hashable, int]) -> xr.Variable:
    """The coordinate, or both edges of the bins, (..., *dims, EDGE)."""
    values = xr.Variable.concat(sides, EDGE) if len(sides) > 1 else sides[0].set_dims({EDGE: 1, **sides[0].sizes})
    if values.chunks is not None:  # midpoints between neighbours have uneven chunks
        values = values.chunk({d: -1 for d in values.dims if d == EDGE or d in dims})
    absent = {d: size for d, size in dims.items() if d not in values.dims}
    whole: xr.Variable = values.astype(float).set_dims({**absent, **values.sizes}).transpose(..., *dims, EDGE)
    return whole


def _extended_grid(
    bins: Bins, offsets: np.ndarray, inputs: Sequence[ModelInput], moved: set[str], fitted: tuple[Hashable, ...]
) -> tuple[list[ModelInput], Bins, np.ndarray] | None:
    """Inputs and bins on the grid of the samples, continued beyond both ends as far as a kernel reaches.

    Third, (span,): which value of the kernel each node of a sample has, -1 for none; the last offset comes first.
    None where samples, bins and offsets are not on one grid that all fits share.
    """
    if len(moved) != 1 or len(fitted) != 1 or set(bins.edges) - moved:
        return None
    (one,) = (i for i in inputs if i.name in moved)
    step = step_of(one.values, fitted[0])
    if step is None:
        return None
    number = offsets / step
    whole = np.round(number).astype(int)
    first, last = int(whole.min()), int(whole.max())
    span = last - first + 1
    if np.any(np.abs(number - whole) > _UNIFORM) or np.unique(whole).size != whole.size or span > 2 * whole.size:
        return None
    x = np.asarray(one.values.values, dtype=float)
    longer = x[0] + step * (np.arange(x.size + span - 1) - last)
    inside = np.arange(x.size) + last
    known = (inside >= 0) & (inside < longer.size)
    longer[inside[known]] = x[known]
    edges = []
    for edge in bins.edges.get(one.name, ()):
        if edge.dims != fitted or not edge._in_memory:
            return None
        away = np.asarray(edge.values, dtype=float) - x
        if not np.ptp(away) <= _UNIFORM * abs(step):
            return None
        edges.append(xr.Variable(fitted, longer + away.mean()))
    order = np.full(span, -1)
    order[last - whole] = np.arange(whole.size)
    own = {one.name: (edges[0], edges[1])} if edges else {}
    extended = [replace(i, values=xr.Variable(fitted, longer)) if i is one else i for i in inputs]
    return extended, replace(bins, edges=own), order


def _weights(response: xr.Variable, weights: np.ndarray, n_own: int) -> tuple[xr.Variable, Products | None]:
    """Weights of nodes (..., WEIGHT): a kernel (``n_own`` 1) or a matrix (2) times the weights of points in a bin.

    Of a response that differs from fit to fit, its own values, and the products that each block makes of them.
    """
    products = Products(weights, response.shape[-1] if n_own == 2 else 1)
    if response.ndim == n_own:
        return xr.Variable([WEIGHT], products.over(response.values.reshape(1, -1))[0]), None
    kept, own = response.shape[:-n_own], response.shape[-n_own:]
    return xr.Variable([*response.dims[:-n_own], WEIGHT], response.data.reshape((*kept, math.prod(own)))), products
