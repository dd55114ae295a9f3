"""Block functions that evaluate the model of a result: arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xr_modelfit.fitters.chunking import most_fits
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.spreads import Products, Spread
from xr_modelfit.records.tokens import token_of

__all__ = ["EvaluateBlock", "batches", "flattened", "of_fits", "told"]


@dataclass(frozen=True)
class EvaluateBlock:
    """Block function: parameters (...) and inputs (..., some new dims) to values (..., all new dims)."""

    problem: Problem
    which: tuple[int, ...]
    n_parameters: int
    core: tuple[tuple[Hashable, ...], ...]
    new: tuple[tuple[Hashable, int], ...]
    spreads: tuple[Spread | Products | None, ...]

    __name__ = "evaluate"

    @cached_property
    def _token(self) -> str:
        given = self.which, self.n_parameters, self.core, self.new, told(self.spreads)
        return token_of(self, self.problem, *given)

    def __dask_tokenize__(self) -> str:
        return self._token

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        parameters, inputs, shape = flattened(arrays, self.n_parameters, self.core, self.new)
        own = parameters[np.array(self.which, dtype=int)]
        problem = self.problem.private()
        n, b = math.prod(size for _, size in self.new), parameters.shape[1]
        out = np.full((n, b), np.nan)
        for ids in batches(~np.any(np.isnan(parameters), axis=0), n, problem):
            given = of_fits(ids, inputs, self.spreads)
            with np.errstate(all="ignore"):
                out[:, ids] = problem.evaluate(given, own[:, ids])
        return np.ascontiguousarray(out.T).reshape((*shape, *(size for _, size in self.new)))


def told(spreads: Sequence[Spread | Products | None]) -> list[Any]:
    """Spreads as plain values, for a token."""
    return [None if one is None else (type(one).__name__, *vars(one).values()) for one in spreads]


def flattened(
    arrays: Sequence[np.ndarray],
    n_parameters: int,
    core: Sequence[Sequence[Hashable]],
    new: Sequence[tuple[Hashable, int]],
) -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...]]:
    """Arrays of a block as parameters (K, b) and inputs (n, 1) or (n, b), and the shape of the fits.

    Dims of ``core`` that are not among the ``new`` ones are those of edges, nodes and their weights, which stay as they
    are, the edges of a sample side by side.
    """
    sizes = dict(new)
    n = int(np.prod([*sizes.values()]))
    given = arrays[len(arrays) - len(core) :]
    leads = [a.shape[: a.ndim - len(c)] for a, c in zip(given, core, strict=True)]
    shape = np.broadcast_shapes(*(a.shape for a in arrays[:n_parameters]), *leads)
    b = int(np.prod(shape))
    parameters = np.array([np.broadcast_to(a, shape).reshape(b) for a in arrays[:n_parameters]], dtype=float)
    inputs = []
    for array, dims, lead in zip(given, core, leads, strict=True):
        rows = shape if int(np.prod(lead)) > 1 else (1,) * len(lead)
        if set(dims) <= set(sizes):
            aligned = np.asarray(array, dtype=float).reshape((*lead, *(sizes[d] if d in dims else 1 for d in sizes)))
            full = np.broadcast_to(aligned, (*rows, *sizes.values())).reshape(math.prod(rows), n)
        else:
            own = array.shape[len(lead) :]
            full = np.broadcast_to(array, (*rows, *own)).reshape(math.prod(rows), math.prod(own))
        inputs.append(np.ascontiguousarray(full.T, dtype=float))
    return parameters.reshape(n_parameters, b), inputs, shape


def batches(good: np.ndarray, n: int, problem: Problem) -> list[np.ndarray]:
    """Fits that have parameters, as many at a time as stay in cache."""
    n_values = n if problem.sampling is None else problem.sampling.n_nodes
    ids, most = np.flatnonzero(good), most_fits(n_values)
    return [ids[i : i + most] for i in range(0, ids.size, most)] if n else []


def of_fits(
    ids: np.ndarray, inputs: Sequence[np.ndarray], spreads: Sequence[Spread | Products | None]
) -> list[np.ndarray]:
    """Inputs (N, 1) or (N, ids.size) of some fits, made to nodes where there is a spread."""
    found = []
    for x, spread in zip(inputs, spreads, strict=True):
        some = x if x.shape[1] == 1 else x[:, ids]
        found.append(some if spread is None else np.ascontiguousarray(spread.over(np.ascontiguousarray(some.T)).T))
    return found
