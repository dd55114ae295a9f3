"""The fitted model with its standard error, through the covariance of the parameters."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.fitters.propagation import flat_covariance, variance
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.spreads import Products, Spread
from xr_modelfit.records.schema import COV_DIMS
from xr_modelfit.records.tokens import token_of
from xr_modelfit.records.units import in_units_of_data
from xr_modelfit.results.derived import at_bound_of, covariance_of
from xr_modelfit.results.evaluation import Evaluation, model_name
from xr_modelfit.results.evaluation_blocks import batches, flattened, of_fits, told
from xr_modelfit.results.points import at_positions

__all__ = ["predict"]

_FIELD = "_modelfit_prediction"


def predict(result: xr.Dataset, at: Evaluation) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.predict`."""
    record = at.record
    inward = np.ones(len(record.names)) if record.units is None else np.array(record.units["inward"])
    C = covariance_of(result, record) * xr.Variable(COV_DIMS, np.outer(inward, inward))
    extra = [_placed(result, v, at) for v in (at_bound_of(result, record), C)]
    block = _PredictBlock(at.problem(at.template, derivatives=True), at.core, at.new_dims, at.spreads)
    packed = at.apply(block, extra, {_FIELD: 2})
    name = model_name(record)
    value = at.labelled(in_units_of_data(packed.isel({_FIELD: 0}), record.units), name)
    scale = None if record.units is None else record.units["scale"]
    error = packed.isel({_FIELD: 1}) / (1.0 if scale is None else abs(scale[0]))
    stderr = at.labelled(error, f"{name}_stderr")
    value.attrs |= {"long_name": "fitted model", "ancillary_variables": f"{name}_stderr"}
    stderr.attrs = {k: v for k, v in value.attrs.items() if k == "units"} | {
        "long_name": "standard error of the fitted model"
    }
    return xr.Dataset({name: value, f"{name}_stderr": stderr})


def _placed(result: xr.Dataset, variable: xr.Variable, at: Evaluation) -> xr.Variable:
    """A variable of the result at the positions of the data."""
    array = xr.DataArray(variable, coords={n: c for n, c in result.coords.items() if set(c.dims) <= set(variable.dims)})
    return array.variable if at.data is None else at_positions(array, at.data).variable


@dataclass(frozen=True)
class _PredictBlock:
    """Block function: parameters, bound flag and covariance to values and errors, (..., all new dims, 2)."""

    problem: Problem
    core: tuple[tuple[Hashable, ...], ...]
    new: tuple[tuple[Hashable, int], ...]
    spreads: tuple[Spread | Products | None, ...]

    __name__ = "predict"

    @cached_property
    def _token(self) -> str:
        return token_of(self, self.problem, self.core, self.new, told(self.spreads))

    def __dask_tokenize__(self) -> str:
        return self._token

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        K = self.problem.n_parameters
        P, inputs, shape = flattened(arrays, K, self.core, self.new)
        b, n = P.shape[1], math.prod(size for _, size in self.new)
        C = flat_covariance(arrays[K + 1], arrays[K], shape)
        problem = self.problem.private()
        out = np.full((2, n, b), np.nan)
        for ids in batches(~np.any(np.isnan(P), axis=0), n, problem):
            given = of_fits(ids, inputs, self.spreads)
            infinite = np.full((K, ids.size), np.inf)
            with np.errstate(all="ignore"):
                out[0][:, ids] = problem.evaluate(given, P[:, ids])
                J = jacobian(problem, given, P[:, ids], -infinite, infinite)
                out[1][:, ids] = np.sqrt(variance(J, C[:, :, ids]))
        return np.moveaxis(out, 0, -1).swapaxes(0, 1).reshape((*shape, *(size for _, size in self.new), 2))
