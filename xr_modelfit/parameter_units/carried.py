"""Units that a model carries, reconciled with those of data and coordinates.

They are converted by the dimensions of the parameters (`parameter_units.dimensions`). If the model has no expression,
plain numbers are tried beside astropy's own Quantities (`parameter_units.trial`).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.models import BlackBody
from astropy.units import UnitBase

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.messages import listed
from xr_modelfit.models.expression import result_names, with_values
from xr_modelfit.parameter_units.dimensions import dimensions
from xr_modelfit.parameter_units.misfit import DATA, Factor, misfit
from xr_modelfit.parameter_units.parameters import (
    Given,
    ParameterUnit,
    UnitSystem,
    numbered,
    unit_groups,
    units_by_labels,
    units_of,
    with_angle,
)
from xr_modelfit.parameter_units.trial import Probe, input_unit, units_by_trial
from xr_modelfit.units.calendar_years import refuse_years
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Conversion, Measure, conversion, factor

__all__ = ["Carried"]


@dataclass
class Carried:
    """Units that the model carries, reconciled with those of data and coordinates."""

    model: Model
    inputs: list[ModelInput]
    measure: Measure  # of the data
    equivalencies: Mapping[str, Any]  # by model input
    given: Given  # of starts and bounds
    quiet: bool = False  # an error does not say what would work

    def __post_init__(self) -> None:
        self.names = result_names(self.model)
        self.carried = [getattr(self.model, name).unit for name in self.model.param_names]
        bare = {j: self.given.get(j, u.dimensionless_unscaled) for j, c in enumerate(self.carried) if c is None}
        self.units = bare | {j: unit for j, unit in enumerate(self.carried) if unit is not None}
        self.read = list(self.inputs)  # as the fit reads them
        self.values = _labelled(self.measure)  # of the samples, as the fit reads them
        self.converted: dict[str, tuple[Conversion, Measure]] = {}
        self.data: Conversion | None = None
        self._analyse(unit_groups(self.inputs))  # a conversion takes all inputs of a group along

    def _analyse(self, groups: Sequence[int]) -> None:
        units = units_of(self.read, self.measure, self.units)
        found = dimensions(self.model, replace(units, groups=tuple(groups), spellings=tuple(groups)))
        self.groups, self.dimensions, self.exponents = groups, found, found.each

    def resolve(self, probe: Probe) -> UnitSystem:
        self._require_readable()
        if self._is_unknown():
            return self._by_trial(probe)
        if self._misfit() is not None:
            self._convert()
            if (j := self._misfit()) is not None:
                if (found := replace(self)._tried(probe)) is not None:  # on what is not converted yet
                    return found
                raise ValueError(self._misfit_message(j) + self._advice(probe, [j]))
        self._require_complete()
        return self._system(self._inner())

    def _is_unknown(self) -> bool:
        """Whether the dimensions of the parameters do not tell their units."""
        known = zip(self.carried, self.exponents, strict=True)
        own = [one is None or one.given or one.unit not in (None, u.rad) for unit, one in known if unit is not None]
        return bool(self.dimensions.contradictions) or (self.dimensions.by_rules and any(own))

    def _require_readable(self) -> None:
        coordinates = [(f"The coordinate {i.coordinate!r}", i.measure) for i in self.inputs]
        for what, one in [("The data", self.measure), *coordinates]:
            if one.text is not None and one.unit is None:
                raise ValueError(
                    f"{what} has units={one.text!r}, which is no unit that is known, and the model has units "
                    f"({self._shown()}). Correct the string, or give the model plain numbers."
                )

    def _shown(self) -> str:
        """The units of the model, for messages."""
        return ", ".join(
            f"{n} in {write_unit(c)!r}" for n, c in zip(self.names, self.carried, strict=True) if c is not None
        )

    def _labels(self) -> tuple[ParameterUnit, ...]:
        """The parameters' units by those of data and coordinates; without a label, these are pure numbers."""
        inputs = [replace(one, measure=_labelled(one.measure)) for one in self.read]
        return units_by_labels(self.names, self.exponents, inputs, self.groups, self.values, self.units)

    def _inner(self) -> list[UnitBase | None]:
        """The unit of each parameter inside the fit; None if it is not known."""
        return [
            label.inner if own is None or label.inner is None else with_angle(label.inner, label.angle, own)
            for label, own in zip(self._labels(), self.carried, strict=True)
        ]

    def _misfit(self) -> int | None:
        """The first parameter whose unit is not what it should be."""
        both = enumerate(zip(self.carried, self._inner(), strict=True))
        return next((j for j, (own, i) in both if own is not None and i is not None and factor(own, i) is None), None)

    def _convert(self) -> None:
        """Convert coordinates and data to the units that the model needs, by equivalencies or offsets."""
        kinds = [(g, bool(self._equivalencies_of(i))) for i, g in enumerate(self.groups)]
        if (groups := numbered(kinds)) != self.groups:  # only some inputs of a group are converted
            self._analyse(groups)
        for i, one in enumerate(self.read):
            wanted, old = self._wanted(i), one.measure.unit
            if wanted is None or old is None or factor(old, wanted) is not None:
                continue
            how = conversion(old, wanted, self._equivalencies_of(i), one.measure.difference)
            if how is not None:
                self.read[i] = replace(one, values=how.apply(one.values), measure=Measure(write_unit(wanted)))
                self.converted[one.name] = (how, one.measure)
        if (groups := unit_groups(self.read)) != self.groups:  # one of two alike was converted, the other not
            self._analyse(groups)
        wanted, old = self._wanted(None), self.measure.unit
        if wanted is not None and old is not None and factor(old, wanted) is None:
            self.data = conversion(old, wanted, None, self.measure.difference)
            if self.data is not None:
                self.values = replace(self.measure, text=write_unit(wanted))

    def _equivalencies_of(self, i: int) -> Any:
        """Equivalencies of an input: those of the call, or astropy's for the model."""
        astropys = self.model.input_units_equivalencies or {}
        return self.equivalencies.get(self.inputs[i].name) or astropys.get(self.model.inputs[i])

    def _wanted(self, i: int | None) -> UnitBase | None:
        """The unit that the model takes for input ``i``, or gives (None), by a parameter with just this dimension."""
        for unit, one in zip(self.carried, self.exponents, strict=True):
            if unit is None or one is None or one.unit is not None or one.given:
                continue
            power = one.output if i is None else one.inputs[self.groups[i]]
            if power == 1 and [p for p in (one.output, *one.inputs) if p != 0] == [1]:
                return unit
        return None if i is None else input_unit(self.model, i)

    def _misfit_message(self, j: int) -> str:
        one, unit, inner = self.exponents[j], self.carried[j], self._inner()[j]
        assert one is not None
        assert unit is not None
        assert inner is not None
        factors = [
            Factor(g, one.inputs[g], x.measure, self._wanted(i), repr(x.coordinate))
            for i, (x, g) in enumerate(zip(self.read, self.groups, strict=True))
            if one.inputs[g] != 0
        ]
        if one.output != 0:
            factors.insert(0, Factor(DATA, one.output, self.measure, self._wanted(None)))
        others = [(self.names[k], self.units[k]) for k, _ in one.given]
        return misfit(self.names[j], unit, one, inner, factors, others)

    def _require_complete(self) -> None:
        """Refuse plain numbers for parameters that need a unit."""
        for name, unit, inner in zip(self.names, self.carried, self._inner(), strict=True):
            if unit is None and inner is not None and factor(inner, u.dimensionless_unscaled) is None:
                raise ValueError(
                    f"model has units ({self._shown()}), but none on {name!r}, which needs one like "
                    f"{write_unit(inner)!r}. Give it one, or give all parameters plain numbers."
                )

    def _system(self, inner: Sequence[UnitBase | None]) -> UnitSystem:
        parameters = []
        for label, unit, inside in zip(self._labels(), self.carried, inner, strict=True):
            own = inside if unit is None else unit
            text = None if own is None else write_unit(own)
            if own is not None and label.inner == own and self.data is None:
                text = label.text  # as the user spells it
            if unit is not None:
                refuse_years(f"{label.name!r} of the model", unit, inside, label.calendar)
            parameters.append(replace(label, inner=inside, own=own, text=text, bare=unit is None))
        return UnitSystem(self.read, self.measure, tuple(parameters), self.data, True, self.converted)

    def _by_trial(self, probe: Probe) -> UnitSystem:
        if (found := self._tried(probe)) is not None:
            return found
        why = "".join(f" Its expression contradicts itself: {one}." for one in self.dimensions.contradictions[:1])
        raise ValueError(
            f"model has units ({self._shown()}), but with them it cannot be evaluated on the coordinates "
            f"{listed(i.coordinate for i in self.inputs)}, or gives no values in the unit of the data "
            f"({write_unit(self.values.read())!r}).{why}{self._advice(probe, range(len(self.names)))} Plain numbers "
            "are in the units of the data and its coordinates."
        )

    def _tried(self, probe: Probe) -> UnitSystem | None:
        """The units in which plain numbers give what astropy's Quantities do; None if there are none."""
        equivalencies = [self._equivalencies_of(i) for i in range(len(self.inputs))]
        found = units_by_trial(self.model, self.inputs, self.values.read(), equivalencies, probe)
        if found is None:
            return None
        self.read, self.converted, self.data = found.inputs, found.converted, found.data
        return self._system(found.inner)

    def _advice(self, probe: Probe, blamed: Sequence[int]) -> str:
        """One change with which the call works, found by trial; empty if there is none."""
        if self.quiet:
            return ""
        Y = self.values.read()
        for power in (-1, 1):
            text = write_unit(Y * u.sr**power)
            others = [] if len(blamed) == 1 else [Y * u.sr**power]
            found = self._other_unit(probe, blamed, others, Measure(text))
            if found is not None:
                per = "per steradian" if power < 0 else "not per steradian"
                label = f" A 'sr' is missing: the model is {per}. If the data is too: data.assign_attrs(units={text!r})"
                return f"{label}{found and f' and {found}'}."
        j = blamed[0] if len(blamed) == 1 else None
        inner = [] if j is None else [self._inner()[j]]
        found = self._other_unit(probe, blamed, [*inner, Y, *(i.measure.unit for i in self.inputs)], self.measure)
        if not found:
            return ""
        own = "none" if j is None or self.carried[j] is None else repr(write_unit(self.carried[j]))
        return f" It works with {found}{'' if j is None else f' in place of {own}'}."

    def _other_unit(
        self, probe: Probe, blamed: Sequence[int], units: Sequence[UnitBase | None], measure: Measure
    ) -> str | None:
        """A parameter with another unit, with which the call works; "" if it works as it is, None if none does."""
        if measure != self.measure and self._works(probe, self.carried, measure):
            return ""
        for j in blamed:
            value = np.ravel(getattr(self.model, self.model.param_names[j]).value)[0]
            for unit in units:
                changed = [unit if k == j else c for k, c in enumerate(self.carried)]
                known = unit is not None and unit not in (self.carried[j], u.dimensionless_unscaled)
                if known and self._works(probe, changed, measure):
                    return f"{self.names[j]}={value:g} * u.Unit({write_unit(unit)!r})"
        return None

    def _works(self, probe: Probe, units: Sequence[UnitBase | None], measure: Measure) -> bool:
        """Whether the call works with these units on the parameters and on the data."""
        try:
            model = self.model if units is self.carried else _with_units(self.model, units)
            replace(self, model=model, measure=measure, quiet=True).resolve(probe)
        except Exception:  # whatever astropy says of such a unit
            return False
        return True


def _with_units(model: Model, carried: Sequence[UnitBase | None]) -> Model:
    """The model with other units on the same numbers."""
    values = [getattr(model, name).value for name in model.param_names]
    quantities = [v if c is None else v * c for v, c in zip(values, carried, strict=True)]
    if isinstance(model, BlackBody):  # it keeps the unit of its scale beside the parameter
        return BlackBody(**dict(zip(model.param_names, quantities, strict=True)))
    return with_values(model, quantities)


def _labelled(measure: Measure) -> Measure:
    return measure if measure.text is not None else replace(measure, text="1")
