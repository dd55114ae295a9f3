"""Nodes of samples: the points of their bins, each at all offsets of a response.

Coordinates that all fits share are made to nodes here, once. Of those that differ from fit to fit, a block makes the
nodes of its own fits (`models.sampling`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xr_modelfit.labels.bins import Bins
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.sampling import Spread

__all__ = ["EDGE", "NODE", "OFFSET", "POINT", "OwnNodes", "flat", "in_bins", "repeated"]

NODE, EDGE = "_modelfit_node", "_modelfit_edge"
POINT, OFFSET = "_modelfit_point", "_modelfit_offset"


def in_bins(one: ModelInput, bins: Bins, points: Mapping[str, np.ndarray], n: int) -> xr.Variable:
    """Coordinates inside the bins of an input, (..., `POINT`)."""
    if one.name not in bins.edges:
        return one.values.set_dims({POINT: n, **one.values.sizes})
    low, high = bins.edges[one.name]
    at = xr.Variable([POINT], points[one.name])
    return (0.5 * low + 0.5 * high) + (0.5 * high - 0.5 * low) * at


@dataclass(frozen=True)
class OwnNodes:
    """Nodes of samples that share none: the points of a bin, each at all offsets.

    Parameters
    ----------
    bins : Bins
    dims : mapping of Hashable to int
        The fitted dims.
    points : mapping of str to ndarray
        Of each input with bins.
    n_points : int
        In a bin.
    offsets : ndarray
        By which inputs ``along`` are shifted.
    along : container of str
    """

    bins: Bins
    dims: Mapping[Hashable, int]
    points: Mapping[str, np.ndarray]
    n_points: int
    offsets: np.ndarray
    along: Container[str]

    def of(self, inputs: Sequence[ModelInput]) -> tuple[dict[str, xr.Variable], dict[str, Spread]]:
        """Coordinates by input, and what they are made to nodes by, as `Nodes` has them."""
        found, spreads = {}, {}
        n_nodes = math.prod(self.dims.values()) * self.n_points * self.offsets.size
        for one in inputs:
            sides = self.bins.edges.get(one.name, (one.values,))
            moved = one.name in self.along
            if all(set(v.dims) <= set(self.dims) for v in sides):
                found[one.name] = self._all(one, moved)
            elif len(sides) == 1 and not moved and not set(one.values.dims) & set(self.dims):
                found[one.name] = repeated(one.values, n_nodes)
            else:
                found[one.name] = self._edges(sides)
                spreads[one.name] = self._spread(one.name, moved)
        return found, spreads

    def _all(self, one: ModelInput, moved: bool) -> xr.Variable:
        shift = xr.Variable([OFFSET], self.offsets)
        at = in_bins(one, self.bins, self.points, self.n_points)
        at = at - shift if moved else at.set_dims({OFFSET: self.offsets.size, **at.sizes})
        return flat(self._whole(at), [*self.dims, OFFSET, POINT], NODE)

    def _edges(self, sides: Sequence[xr.Variable]) -> xr.Variable:
        one = sides[0].set_dims({EDGE: 1, **sides[0].sizes})
        values: xr.Variable = xr.Variable.concat(sides, EDGE) if len(sides) > 1 else one
        if values.chunks is not None:  # edges between neighbours are pieces of other lengths
            values = values.chunk({d: -1 for d in values.dims if d == EDGE or d in self.dims})
        return self._whole(values.astype(float)).transpose(..., *self.dims, EDGE)

    def _whole(self, values: xr.Variable) -> xr.Variable:
        absent = {d: size for d, size in self.dims.items() if d not in values.dims}
        return values.set_dims({**absent, **values.sizes}) if absent else values

    def _spread(self, name: str, moved: bool) -> Spread:
        shifts = np.repeat(self.offsets if moved else np.zeros(self.offsets.size), self.n_points)
        points = np.tile(self.points[name], self.offsets.size) if name in self.bins.edges else None
        return Spread(points, shifts)


def repeated(value: xr.Variable, n_nodes: int) -> xr.Variable:
    """What is constant in each fit, at all nodes; a view."""
    return value.astype(float).set_dims({NODE: n_nodes, **value.sizes}).transpose(..., NODE)


def flat(values: xr.Variable, dims: Sequence[Hashable], name: str) -> xr.Variable:
    """``values`` with some dims as one, the last."""
    ordered = values.transpose(..., *dims)
    kept = ordered.dims[: ordered.ndim - len(dims)]
    size = math.prod(ordered.sizes[d] for d in dims)
    return xr.Variable((*kept, name), ordered.data.reshape((*(ordered.sizes[d] for d in kept), size)))
