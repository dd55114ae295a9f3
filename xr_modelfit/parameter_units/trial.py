"""Units of a model that has no expression: those in which plain numbers give what astropy's Quantities do."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.expression import evaluate_tree, scalar_model, with_values
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Conversion, Measure, conversion

__all__ = ["Trial", "input_unit", "units_by_trial"]

Probe = Callable[[], Sequence[np.ndarray]]


class Trial(NamedTuple):
    """Units in which plain numbers give what Quantities do."""

    inner: list[UnitBase | None]  # of the parameters' numbers
    inputs: list[ModelInput]  # converted where that is necessary
    converted: dict[str, tuple[Conversion, Measure]]  # how they were, by name
    data: Conversion | None  # of the samples


def units_by_trial(
    model: Model, inputs: Sequence[ModelInput], output: UnitBase, equivalencies: Sequence[Any], probe: Probe
) -> Trial | None:
    """The units in which plain numbers give what Quantities do; None if none are found.

    ``output`` is the unit of the data; ``equivalencies`` are those of each input, or None; ``probe`` gives coordinates
    to try the model on.
    """
    own = _units_by_trial(model, inputs, output, equivalencies, probe, si=False)
    return own or _units_by_trial(model, inputs, output, equivalencies, probe, si=True)


def input_unit(model: Model, i: int) -> UnitBase | None:
    """The unit that the model takes for an input, according to astropy."""
    try:
        unit = (model.input_units or {}).get(model.inputs[i])
        return None if unit is None else u.Unit(unit)
    except (KeyError, TypeError, ValueError):  # astropy takes any annotation of an argument for a unit
        return None


def _units_by_trial(
    model: Model, inputs: Sequence[ModelInput], output: UnitBase, equivalencies: Sequence[Any], probe: Probe, si: bool
) -> Trial | None:
    carried = [getattr(model, name).unit for name in model.param_names]
    inner = [_coherent(unit) if si and unit is not None else unit for unit in carried]
    found = Trial(inner, list(inputs), {}, None)
    at = []
    for i, (one, x) in enumerate(zip(inputs, probe(), strict=True)):
        old = one.measure.unit or u.dimensionless_unscaled
        wanted = input_unit(model, i) or old
        wanted = _coherent(wanted) if si else wanted
        how = conversion(old, wanted, equivalencies[i], one.measure.difference)
        if how is None:
            return None
        at.append(how.apply(xr.Variable(["n"], x)).values * wanted)
        if not how.trivial:
            found.inputs[i] = replace(one, values=how.apply(one.values), measure=Measure(write_unit(wanted)))
            found.converted[one.name] = (how, one.measure)
    ratio = _ratio(model, carried, at, inner, output)
    if ratio is None:
        return None
    return found if ratio == 1.0 else found._replace(data=Conversion(output, output, 1.0 / ratio))


def _ratio(
    model: Model,
    carried: Sequence[UnitBase | None],
    at: Sequence[Quantity],
    inner: Sequence[UnitBase | None],
    output: UnitBase,
) -> float | None:
    """The ratio of values with units to plain ones, if it is the same everywhere."""
    start = [np.ravel(getattr(model, name).value)[0] for name in model.param_names]
    ratios = []
    for nudge in (1.0, 1.125, 0.9375):
        values = [v * (nudge + j / 64) for j, v in enumerate(start)]
        quantities = [v if c is None else v * c for v, c in zip(values, carried, strict=True)]
        try:
            with np.errstate(all="ignore"):
                full = Quantity(with_values(model, quantities)(*at)).to_value(output)
                plain = [
                    v if c is None or i is None else (v * c).to_value(i)
                    for v, c, i in zip(values, carried, inner, strict=True)
                ]
                bare = scalar_model(model, plain)
                here = evaluate_tree(bare, [np.array(x.value) for x in at], [np.float64(p) for p in plain])
        except Exception:  # whatever a model says of units that it does not take
            return None
        both = np.isfinite(full) & np.isfinite(here) & (here != 0)
        ratios.append(np.asarray(full / np.where(both, here, 1.0))[both])
    ratio = np.concatenate(ratios)
    if ratio.size < 3 or not np.allclose(ratio, np.median(ratio), rtol=1e-9, atol=0) or np.median(ratio) <= 0:
        return None
    return 1.0 if np.isclose(np.median(ratio), 1.0, rtol=1e-12) else float(np.median(ratio))


def _coherent(unit: UnitBase) -> UnitBase:
    """The unit of SI of the same dimension."""
    parts = unit.si
    return u.CompositeUnit(1.0, parts.bases, parts.powers)
