"""The parts of a fitted model, and its residuals."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import xarray as xr

from xr_modelfit.models.expression import parts_of
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.records.record import FitRecord
from xr_modelfit.records.units import in_units_of_data
from xr_modelfit.results.evaluation import Evaluation, evaluate
from xr_modelfit.results.points import one_variable
from xr_modelfit.units.units import Measure, measure_of, required_conversion

__all__ = ["components", "in_unit_of", "residuals"]


def components(at: Evaluation) -> xr.Dataset:
    """Parts of a compound model; see `accessor.result_methods.ResultMethods.components`."""
    found = {}
    for part in parts_of(at.template):
        values = at.values(part)
        if part.additive:
            values = in_units_of_data(values, at.record.units)
        one = at.labelled(values, at.record.variable(part.name))
        one.attrs["long_name"] = part.title
        found[one.name] = one
    return xr.Dataset(found)


def residuals(result: xr.Dataset, record: FitRecord, obj: Any, *options: Any) -> xr.DataArray:
    """Data less model, with the options of an evaluation; see `accessor.result_methods.ResultMethods.residuals`."""
    data = None if obj is None else one_variable(obj, record)
    if not isinstance(data, xr.DataArray):
        raise TypeError(
            f"residuals takes the data that was fitted, a DataArray or a Dataset with the variable "
            f"{record.content['data']!r}, not {'a Dataset without it' if obj is not None else 'None'}."
        )
    tell_other_model(options[0], record)
    fitted = evaluate(Evaluation.resolve(result, record, obj, {}, *options))
    left: xr.DataArray = data - in_unit_of(data, fitted)
    left = left.transpose(*data.dims, ...)
    left.attrs = {k: v for k, v in data.attrs.items() if k in ("units", "units_metadata")}
    left.attrs["long_name"] = f"{data.attrs.get('long_name', data.name or 'data')} less the fitted model"
    return left.rename(f"{data.name}_residual" if data.name else "residual")


def in_unit_of(data: xr.DataArray, fitted: xr.DataArray) -> xr.DataArray:
    """The model in the unit of the data, which need not be the one in which it was fitted."""
    now, then = measure_of(data), measure_of(fitted)
    if now.text is None or then.text is None or now.text == then.text:
        return fitted
    how = required_conversion(Measure(then.text, now.temperature), now, "The fitted model is")
    return fitted.copy(data=how.apply(fitted.variable).data)
