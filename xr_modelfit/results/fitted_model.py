"""The astropy model of a result."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.models.expression import with_values
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.parameter_units.tables import own_tables
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.records.record import FitRecord, as_recorded, build_model
from xr_modelfit.records.units import parameter_quantities
from xr_modelfit.results.evaluation import matching
from xr_modelfit.units.text import parse_unit
from xr_modelfit.units.units import factor

__all__ = ["model_of", "to_model"]


def to_model(result: xr.Dataset, record: FitRecord, model: ModelArg | None = None) -> Model:
    """See `accessor.result_methods.ResultMethods.to_model`."""
    tell_other_model(model, record)
    return model_of(result, record, model)


def model_of(result: xr.Dataset, record: FitRecord, model: ModelArg | None = None) -> Model:
    """The astropy model of a fit; its parameters are arrays over the remaining dims, in order."""
    with as_recorded():
        values = parameter_quantities([record.parameter(result, name) for name in record.names], record.units)
    if not _takes_units(record, values, model):
        values = [getattr(v, "value", v) for v in values]
    if model is not None:
        model = own_tables(matching(model, record))
        built = with_values(model, values)
        for name, value in zip(built.param_names, values, strict=True):
            unit = getattr(model, name).unit
            if unit is not None and isinstance(value, Quantity) and (times := factor(unit, value.unit)) is not None:
                bounds = getattr(built, name).bounds  # those of the model are in its own unit
                getattr(built, name).bounds = tuple(None if b is None else b * times for b in bounds)
        return built
    built = own_tables(matching(build_model(record.content["model"], values), record))
    for name, inward in zip(built.param_names, (record.units or {}).get("inward", []), strict=False):
        bounds = getattr(built, name).bounds
        getattr(built, name).bounds = tuple(None if b is None else b / inward for b in bounds)
    return built


def _takes_units(record: FitRecord, values: Sequence[Any], model: ModelArg | None) -> bool:
    """Whether the model can be evaluated with units on its parameters; many custom models cannot."""
    if record.units is None or not any(isinstance(v, Quantity) for v in values):
        return False
    if record.units["carried"]:
        return True
    if not all(isinstance(v, Quantity) for v in values):
        return False
    ones = [Quantity(1.0, v.unit) for v in values]
    tree = record.content["model"]
    try:
        tried = build_model(tree, ones) if model is None else with_values(own_tables(matching(model, record)), ones)
        inputs = [Quantity(np.array([1.0, 2.0]), parse_unit(one["units"] or "1")) for one in record.inputs]
        with np.errstate(all="ignore"):
            given = tried(*inputs)
        return bool(Quantity(given).unit.is_equivalent(parse_unit(record.units["data"] or "1")))
    except Exception:  # the model does not take these units, and may raise anything
        return False
