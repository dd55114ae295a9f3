"""The units that a fit works in: those of its data and coordinates, reconciled with the model's."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.messages import listed
from xr_modelfit.models.expression import leaves, result_names
from xr_modelfit.parameter_units.carried import Carried
from xr_modelfit.parameter_units.dimensions import Dimensions, dimensions
from xr_modelfit.parameter_units.parameters import Given, ParameterUnit, UnitSystem, units_by_labels, units_of
from xr_modelfit.parameter_units.table_units import TablePlan, table_plans
from xr_modelfit.parameter_units.tables import has_units
from xr_modelfit.parameter_units.trial import Probe
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Measure, factor

__all__ = ["resolve_units"]


def resolve_units(
    model: Model,
    inputs: list[ModelInput],
    measure: Measure,
    equivalencies: Mapping[str, Any],
    probe: Probe,
    given: Given,
) -> UnitSystem:
    """The units of all that a fit works with.

    ``equivalencies`` are by model input. ``probe`` gives coordinates in memory to try the model on, an array (n,) for
    each input; it is called only if needed. ``given`` has the units of starts and bounds by number of the parameter;
    each sets the unit of its parameter, if nothing else tells it. Raises ValueError if units that the model carries do
    not fit those of the data and its coordinates.
    """
    if not any(map(has_units, leaves(model))):
        return _resolve_units(model, inputs, measure, equivalencies, probe, given)
    plans = table_plans(model, inputs, measure, equivalencies)
    errors = []
    for plan in plans:
        near = partial(_converted_probe, probe, inputs, plan)
        try:
            system = _resolve_units(plan.model, plan.inputs, measure, equivalencies, near, given)
        except ValueError as error:
            errors.append(error)
            continue
        found = dimensions(plan.model, units_of(plan.inputs, measure, given))
        known = len(plans) == 1 or not found.by_rules
        if known and not found.contradictions and system.data is None:
            return replace(system, converted={**plan.converted, **system.converted}, model=plan.model)
    if errors:
        raise errors[0]
    raise ValueError(
        "model has tables with units, but with them it cannot be evaluated on the coordinates "
        f"{listed(i.coordinate for i in inputs)}, or gives no values in the unit of the data ({measure.text!r}). Give "
        "units to all of its parameters, or plain numbers to its tables, in the units of the data and its coordinates."
    )


def _converted_probe(probe: Probe, inputs: Sequence[ModelInput], plan: TablePlan) -> Sequence[np.ndarray]:
    """Coordinates in memory, in the units of a plan."""
    return [
        plan.converted[one.name][0].apply(xr.Variable(["n"], x)).values if one.name in plan.converted else x
        for one, x in zip(inputs, probe(), strict=True)
    ]


def _resolve_units(
    model: Model,
    inputs: list[ModelInput],
    measure: Measure,
    equivalencies: Mapping[str, Any],
    probe: Probe,
    given: Given,
) -> UnitSystem:
    """`resolve_units` for a model whose tables are plain."""
    names = result_names(model)
    if any(getattr(model, name).unit is not None for name in model.param_names):
        return Carried(model, inputs, measure, equivalencies, given).resolve(probe)
    if measure.text is None and all(i.measure.text is None for i in inputs) and not given:
        return UnitSystem(inputs, measure, tuple(ParameterUnit(n) for n in names))
    found = dimensions(model, units_of(inputs, measure, given))
    _require_like(names, found, inputs, measure, given)
    return UnitSystem(inputs, measure, units_by_labels(names, found.each, inputs, found.groups, measure, given))


def _require_like(
    names: Sequence[str], found: Dimensions, inputs: Sequence[ModelInput], measure: Measure, given: Given
) -> None:
    """Refuse a unit for what a factor such as 86400 leaves open, if no factor makes it fit."""
    like = units_by_labels(names, found.like, inputs, found.groups, measure, given)
    for j, unit in given.items():
        one, expected = found.each[j], like[j].inner
        set_here = one is not None and one.given == ((j, Fraction(1)),)
        if set_here and expected is not None and factor(unit, expected) is None:
            raise ValueError(
                f"The start or a bound of {names[j]!r} is in {write_unit(unit)!r}, but by the units of the data and "
                f"its coordinates it is like {write_unit(expected)!r}. Give a unit that can be converted to that."
            )
