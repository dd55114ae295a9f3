"""The fitted model with its standard error, through the covariance of the parameters."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xr_modelfit.records.schema import COV_DIMS
from xr_modelfit.records.units import in_units_of_data
from xr_modelfit.results.derived import at_bound_of, covariance_of
from xr_modelfit.results.evaluation import FIELD, Evaluation
from xr_modelfit.results.points import at_positions

__all__ = ["predict"]


def predict(result: xr.Dataset, at: Evaluation) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.predict`."""
    record, name = at.record, at.record.model_name
    inward = np.ones(len(record.names)) if record.units is None else np.array(record.units["inward"])
    C = covariance_of(result, record) * xr.Variable(COV_DIMS, np.outer(inward, inward))
    packed = at.values_and_errors(*(_placed(result, v, at) for v in (at_bound_of(result, record), C)))
    value = at.labelled(in_units_of_data(packed.isel({FIELD: 0}), record.units), name)
    scale = None if record.units is None else record.units["scale"]
    error = packed.isel({FIELD: 1}) / (1.0 if scale is None else abs(scale[0]))
    stderr = at.labelled(error, f"{name}_stderr")
    stderr.attrs = dict(value.attrs, long_name="standard error of the fitted model")
    value.attrs |= {"long_name": "fitted model", "ancillary_variables": f"{name}_stderr"}
    return xr.Dataset({name: value, f"{name}_stderr": stderr})


def _placed(result: xr.Dataset, variable: xr.Variable, at: Evaluation) -> xr.Variable:
    """A variable of the result at the positions of the data."""
    array = xr.DataArray(variable, coords={n: c for n, c in result.coords.items() if set(c.dims) <= set(variable.dims)})
    return array.variable if at.data is None else at_positions(array, at.data).variable
