"""The block function that evaluates the model of a result: arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.fitters.chunking import most_fits
from xr_modelfit.fitters.propagation import flat_covariance, variance, with_held
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Products, Spread
from xr_modelfit.records.model_digests import token_of

__all__ = ["EvaluateBlock"]


@dataclass(frozen=True)
class EvaluateBlock:
    """Block function: parameters (...) and inputs (..., core dims) to values (..., new dims).

    With ``errors``, the bound flag (...) and the covariance (..., K, K) come between parameters and inputs. The output
    then ends with an axis of values and standard errors.
    """

    problem: Problem
    which: tuple[int, ...]  # the parameters of the fit that the model takes
    n_parameters: int  # of the fit
    core: tuple[tuple[Hashable, ...], ...]  # of each input: some of the new dims, or those of nodes, edges and weights
    new: tuple[tuple[Hashable, int], ...]  # dims of the values that the parameters lack, and their sizes
    spreads: tuple[Spread | Products | None, ...]  # turn each input into nodes or their weights
    errors: bool = False

    @property
    def __name__(self) -> str:  # dask names its tasks by it
        return "predict" if self.errors else "evaluate"

    @cached_property
    def _token(self) -> str:
        spreads = [None if one is None else (type(one).__name__, *vars(one).values()) for one in self.spreads]
        return token_of(self, self.problem, self.which, self.n_parameters, self.core, self.new, spreads, self.errors)

    def __dask_tokenize__(self) -> str:
        return self._token

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        K, sizes = self.n_parameters, [size for _, size in self.new]
        parameters, inputs, shape = self._flattened(arrays)
        C = None
        if self.errors:
            at_bound = np.broadcast_to(arrays[K], shape).ravel()
            C = with_held(flat_covariance(arrays[K + 1], shape), at_bound)
        own = parameters[np.array(self.which, dtype=int)]
        problem = self.problem.private()
        n, b = math.prod(sizes), parameters.shape[1]
        out = np.full((1 if C is None else 2, n, b), np.nan)
        ids = np.flatnonzero(~np.any(np.isnan(parameters), axis=0)) if n else np.array([], dtype=int)
        most = most_fits(n if problem.sampling is None else problem.sampling.n_nodes)  # as many as stay in cache
        for some in (ids[i : i + most] for i in range(0, ids.size, most)):
            given = self._of_fits(inputs, some)
            with np.errstate(all="ignore"):
                out[0][:, some] = problem.evaluate(given, own[:, some])
                if C is not None:
                    infinite = np.full((K, some.size), np.inf)
                    J = jacobian(problem, given, own[:, some], -infinite, infinite)
                    out[1][:, some] = np.sqrt(variance(J, C[:, :, some]))
        if C is None:
            return np.ascontiguousarray(out[0].T).reshape((*shape, *sizes))
        return out.T.reshape((*shape, *sizes, 2))

    def _flattened(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...]]:
        """Parameters (K, b), inputs (n, 1) or (n, b), and the shape of the fits."""
        sizes = dict(self.new)
        given = arrays[len(arrays) - len(self.core) :]
        leads = [a.shape[: a.ndim - len(dims)] for a, dims in zip(given, self.core, strict=True)]
        shape = np.broadcast_shapes(*(a.shape for a in arrays[: self.n_parameters]), *leads)
        parameters = np.array([np.broadcast_to(a, shape).ravel() for a in arrays[: self.n_parameters]], dtype=float)
        inputs = []
        for array, dims, lead in zip(given, self.core, leads, strict=True):
            rows = shape if math.prod(lead) > 1 else (1,) * len(lead)
            own = array.shape[len(lead) :]
            if set(dims) <= set(sizes):  # nodes, edges and weights stay as they are
                array, own = array.reshape((*lead, *(n if d in dims else 1 for d, n in self.new))), (*sizes.values(),)
            full = np.broadcast_to(array, (*rows, *own)).reshape(math.prod(rows), math.prod(own))
            inputs.append(np.ascontiguousarray(full.T, dtype=float))
        return parameters, inputs, shape

    def _of_fits(self, inputs: Sequence[np.ndarray], ids: np.ndarray) -> list[np.ndarray]:
        """Inputs (N, 1) or (N, ids.size) of some fits, with edges and samples replaced by nodes."""
        found = []
        for x, spread in zip(inputs, self.spreads, strict=True):
            some = x if x.shape[1] == 1 else x[:, ids]
            found.append(some if spread is None else np.ascontiguousarray(spread.over(np.ascontiguousarray(some.T)).T))
        return found
