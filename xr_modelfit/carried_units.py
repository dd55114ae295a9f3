"""Units that a model carries, brought together with those of data and coordinates.

They are taken off by the model's dimensions (`xr_modelfit.dimensions`) or, where it has no expression, by a trial
beside astropy's own Quantities (`xr_modelfit.unit_trial`).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.models import BlackBody
from astropy.units import UnitBase

from xr_modelfit.calendar_years import refuse_years
from xr_modelfit.coords import ModelInput
from xr_modelfit.dimensions import Dimension, dimensions
from xr_modelfit.expression import with_values
from xr_modelfit.messages import listed
from xr_modelfit.parameter_units import (
    Given,
    UnitSystem,
    measures_of_groups,
    told_by_labels,
    unit_groups,
    units_of,
    with_angle,
)
from xr_modelfit.unit_misfit import InputRead, Misfit
from xr_modelfit.unit_text import write_unit
from xr_modelfit.unit_trial import Probe, input_unit, tried
from xr_modelfit.units import Conversion, Measure, conversion, factor

__all__ = ["Carried"]


class Carried:
    """Units that the model carries, brought together with those of data and coordinates."""

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        carried: list[UnitBase | None],
        inputs: list[ModelInput],
        measure: Measure,
        equivalencies: Mapping[str, Any],
        given: Given,
        *,
        quiet: bool = False,
    ) -> None:
        self.arguments = (model, names, carried, inputs, measure, equivalencies, given)
        self.quiet = quiet  # say nothing of what would work
        self.model, self.names, self.carried = model, names, carried
        self.inputs, self.measure, self.equivalencies = list(inputs), measure, equivalencies
        bare = {j: given.get(j, u.dimensionless_unscaled) for j, unit in enumerate(carried) if unit is None}
        self.given = bare | {j: unit for j, unit in enumerate(carried) if unit is not None}
        self.groups = unit_groups(inputs)  # a conversion takes all inputs of a group along
        self.converted: dict[str, tuple[Conversion, Measure]] = {}
        self.data: Conversion | None = None
        self.Y = _or_one(measure)
        self.exponents = self._exponents(self.groups)

    def resolve(self, probe: Probe) -> UnitSystem:
        self._require_readable()
        if self._is_unknown():
            return self._by_trial(probe)
        if self._first_misfit() is not None:
            self._convert()
            if (j := self._first_misfit()) is not None:
                first = Carried(*self.arguments, quiet=True)  # before anything was converted
                if (found := first._tried(probe)) is not None:
                    return found
                raise ValueError(self._misfit(j) + self._advice(probe, [j]))
        self._require_complete()
        return self._system([self._inner(j) for j in range(len(self.names))])

    def _is_unknown(self) -> bool:
        """Whether the model has no expression, and units of its own that are not those of data and coordinates."""
        known = zip(self.carried, self.exponents, strict=True)
        own = [one is None or one.given or one.unit not in (None, u.rad) for unit, one in known if unit is not None]
        return bool(self.contradictions) or (self.by_rules and any(own))

    def _exponents(self, groups: Sequence[int]) -> tuple[Dimension | None, ...]:
        units = units_of(self.inputs, self.measure, self.given)
        found = dimensions(self.model, replace(units, groups=tuple(groups), spellings=tuple(groups)))
        self.contradictions, self.by_rules = found.contradictions, found.by_rules
        return found.each

    def _require_readable(self) -> None:
        for what, one in [
            ("The data", self.measure),
            *((f"The coordinate {i.coordinate!r}", i.measure) for i in self.inputs),
        ]:
            if one.text is not None and one.unit is None:
                raise ValueError(
                    f"{what} has units={one.text!r}, which is no unit that is known, and the model has units "
                    f"({self._shown()}). Correct the string, or give the model plain numbers."
                )

    def _shown(self) -> str:
        return ", ".join(
            f"{n} in {write_unit(c)!r}" for n, c in zip(self.names, self.carried, strict=True) if c is not None
        )

    def _X(self) -> list[UnitBase]:
        return [_or_one(measure) for measure in measures_of_groups(self.inputs, self.groups)]

    def _inner(self, j: int) -> UnitBase | None:
        one, own = self.exponents[j], self.carried[j]
        if one is None:
            return None
        if one.unit is not None:
            return one.unit
        powers = [(self.Y, one.output), *zip(self._X(), one.inputs, strict=False)]
        powers += [(self.given[k], p) for k, p in one.given]
        used = [(unit, p) for unit, p in powers if p != 0]
        if len(used) == 1 and used[0][1] == 1:
            return used[0][0]
        inner = u.dimensionless_unscaled
        for unit, power in used:
            inner = inner * unit**power
        return inner if own is None else with_angle(inner, one.angle, own)

    def _first_misfit(self) -> int | None:
        for j, unit in enumerate(self.carried):
            inner = self._inner(j)
            if unit is not None and inner is not None and factor(unit, inner) is None:
                return j
        return None

    def _convert(self) -> None:
        """Convert coordinates and data to what the model's units ask for, by equivalencies or offsets."""
        self._part_by_equivalencies()
        for i, one in enumerate(self.inputs):
            wanted = self._wanted(lambda e, i=i: e.inputs[self.groups[i]], i)
            old = one.measure.unit
            if wanted is None or old is None or factor(old, wanted) is not None:
                continue
            how = conversion(old, wanted, self._told(i), one.measure.difference)
            if how is not None:
                self.inputs[i] = replace(one, values=how.apply(one.values), measure=Measure(write_unit(wanted)))
                self.converted[one.name] = (how, one.measure)
        groups = unit_groups(self.inputs)
        if groups != self.groups:  # one of two alike was converted, the other not
            self.groups, self.exponents = groups, self._exponents(groups)
        wanted = self._wanted(lambda e: e.output, None)
        if wanted is not None and self.measure.unit is not None and factor(self.Y, wanted) is None:
            self.data = conversion(self.Y, wanted, None, self.measure.difference)
            self.Y = self.Y if self.data is None else wanted

    def _told(self, i: int) -> Any:
        """Equivalencies of an input: those of the call, or astropy's for the model."""
        astropys = self.model.input_units_equivalencies or {}
        return self.equivalencies.get(self.inputs[i].name) or astropys.get(self.model.inputs[i])

    def _part_by_equivalencies(self) -> None:
        """Of two coordinates in the same unit, one may be converted: each has parameters of its own."""
        kinds = [(g, bool(self._told(i))) for i, g in enumerate(self.groups)]
        groups = [list(dict.fromkeys(kinds)).index(kind) for kind in kinds]
        if groups != self.groups:
            self.groups, self.exponents = groups, self._exponents(groups)

    def _wanted(self, power: Any, i: int | None) -> UnitBase | None:
        """The unit that the model takes for input ``i`` (or gives out), by a parameter of no other dimension."""
        for unit, one in zip(self.carried, self.exponents, strict=True):
            if unit is None or one is None or one.unit is not None:
                continue
            if power(one) == 1 and [p for p in (one.output, *one.inputs) if p != 0] == [1] and not one.given:
                return unit
        return None if i is None else input_unit(self.model, i)

    def _misfit(self, j: int) -> str:
        one, unit, inner = self.exponents[j], self.carried[j], self._inner(j)
        assert one is not None
        assert unit is not None
        assert inner is not None
        groups = list(zip(self.inputs, self.groups, strict=True))
        read = [
            InputRead(x, g, one.inputs[g], self._wanted(lambda e, g=g: e.inputs[g], i))
            for i, (x, g) in enumerate(groups)
            if g < len(one.inputs) and one.inputs[g] != 0
        ]
        taken = self._wanted(lambda e: e.output, None)
        others = [(self.names[k], self.given[k]) for k, _ in one.given]
        return Misfit(self.names[j], unit, one, inner, self.measure, read, taken, others).message()

    def _require_complete(self) -> None:
        """Refuse plain numbers beside units, where a unit is needed."""
        for j, unit in enumerate(self.carried):
            inner = self._inner(j)
            if unit is None and inner is not None and factor(inner, u.dimensionless_unscaled) is None:
                raise ValueError(
                    f"model has units ({self._shown()}), but none on {self.names[j]!r}, which needs one like "
                    f"{write_unit(inner)!r}. Give it one, or give all parameters plain numbers."
                )

    def _system(self, inner: Sequence[UnitBase | None]) -> UnitSystem:
        dimensioned = told_by_labels(self.names, self.exponents, self.inputs, self.groups, self.measure, self.given)
        parameters = []
        for j, unit in enumerate(self.carried):
            own = inner[j] if unit is None else unit
            text = None if own is None else write_unit(own)
            if own is not None and dimensioned[j].inner == own and self.data is None:
                text = dimensioned[j].text  # as the user spells it
            told = dimensioned[j]
            if unit is not None:
                refuse_years(f"{self.names[j]!r} of the model", unit, inner[j], told.calendar)
            parameters.append(replace(told, inner=inner[j], own=own, text=text, bare=unit is None))
        return UnitSystem(self.inputs, self.measure, tuple(parameters), self.data, True, self.converted)

    def _by_trial(self, probe: Probe) -> UnitSystem:
        """A model whose dimensions do not tell: plain numbers are tried beside astropy's Quantities."""
        if (found := self._tried(probe)) is not None:
            return found
        why = f" Its expression contradicts itself: {self.contradictions[0]}." if self.contradictions else ""
        raise ValueError(
            f"model has units ({self._shown()}), but with them it cannot be evaluated on the coordinates "
            f"{listed(i.coordinate for i in self.inputs)}, or gives no values in the unit of the data "
            f"({write_unit(self.Y)!r}).{why}{self._advice(probe, range(len(self.names)))} Plain numbers are in "
            "the units of the data and its coordinates."
        )

    def _tried(self, probe: Probe) -> UnitSystem | None:
        """The units with which plain numbers give what astropy's Quantities do; None where none do."""
        told = [self._told(i) for i in range(len(self.inputs))]
        found = tried(self.model, self.inputs, self.Y, told, probe)
        if found is None:
            return None
        self.inputs, self.converted, self.data = found.inputs, found.converted, found.data
        return self._system(found.inner)

    def _advice(self, probe: Probe, blamed: Sequence[int]) -> str:
        """One change after which the call works, tried; empty where none is found."""
        if self.quiet:
            return ""
        _, _, carried, inputs, *_ = self.arguments
        for power in (-1, 1):
            text = write_unit(self.Y * u.sr**power)
            others = [] if len(blamed) == 1 else [self.Y * u.sr**power]
            found = self._other_unit(probe, blamed, others, Measure(text))
            if found is not None:
                per = "per steradian" if power < 0 else "not per steradian"
                label = f" A 'sr' is missing: the model is {per}. If the data is too: data.assign_attrs(units={text!r})"
                return f"{label}{found and f' and {found}'}."
        j = blamed[0] if len(blamed) == 1 else None
        inner = [] if j is None else [self._inner(j)]
        found = self._other_unit(probe, blamed, [*inner, self.Y, *(i.measure.unit for i in inputs)], self.measure)
        if not found:
            return ""
        own = "none" if j is None or carried[j] is None else repr(write_unit(carried[j]))
        return f" It works with {found}{'' if j is None else f' in place of {own}'}."

    def _other_unit(
        self, probe: Probe, blamed: Sequence[int], units: Sequence[UnitBase | None], measure: Measure
    ) -> str | None:
        """A parameter in another unit with which the call works: "" where it does as it is, None where none does."""
        model, names, carried, *_ = self.arguments
        if measure != self.measure and self._works(probe, carried, measure):
            return ""
        for j in blamed:
            value = np.ravel(getattr(model, model.param_names[j]).value)[0]
            for unit in units:
                changed = [unit if k == j else c for k, c in enumerate(carried)]
                known = unit is not None and unit not in (carried[j], u.dimensionless_unscaled)
                if known and self._works(probe, changed, measure):
                    return f"{names[j]}={value:g} * u.Unit({write_unit(unit)!r})"
        return None

    def _works(self, probe: Probe, units: Sequence[UnitBase | None], measure: Measure) -> bool:
        """Whether the call would, with these units on the parameters and on the data."""
        model, names, carried, inputs, _, equivalencies, given = self.arguments
        try:
            if units is not carried:
                model = _with_units(model, units)
            now = [getattr(model, name).unit for name in model.param_names]
            Carried(model, names, now, inputs, measure, equivalencies, given, quiet=True).resolve(probe)
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


def _or_one(measure: Measure) -> UnitBase:
    return u.dimensionless_unscaled if measure.unit is None else measure.unit
