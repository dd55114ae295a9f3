"""Which units a fit works in: those of its data and coordinates, brought together with the model's.

A model without units takes its parameters' from the labels. Of a model that carries units, these
are taken off by its dimensions (`xr_modelfit.scaling`) or, where they do not tell, by a trial
beside astropy's own Quantities.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase

from xr_modelfit.coords import ModelInput
from xr_modelfit.dimension import Dimension
from xr_modelfit.expression import evaluate_tree, leaves, result_names, scalar_model, with_values
from xr_modelfit.messages import listed
from xr_modelfit.parameter_units import ParameterUnit, UnitSystem, measures_of_groups, told_by_labels, unit_groups
from xr_modelfit.probing import about
from xr_modelfit.scaling import dimensions
from xr_modelfit.table_units import TablePlan, agrees_with_quantities, table_plans
from xr_modelfit.tables import has_units, inner_of, spread_of_points
from xr_modelfit.unit_misfit import InputRead, Misfit
from xr_modelfit.unit_text import write_unit
from xr_modelfit.units import Conversion, Measure, conversion, factor

__all__ = ["resolve_units"]

Probe = Callable[[], Sequence[np.ndarray]]


def resolve_units(
    model: Model, inputs: list[ModelInput], measure: Measure, equivalencies: Mapping[str, Any], probe: Probe
) -> UnitSystem:
    """Units of all that a fit works with.

    Parameters
    ----------
    model : astropy.modeling.Model
    inputs : list of ModelInput
    measure : Measure
        Of the data.
    equivalencies : mapping
        By model input.
    probe : callable
        Gives coordinates in memory to try the model on, one array (n,) for each input, where they are needed.

    Raises
    ------
    ValueError
        Units that the model carries do not fit those of the data and its coordinates.
    """
    if not any(map(has_units, leaves(model))):
        return _resolve_units(model, inputs, measure, equivalencies, probe)
    plans = table_plans(model, inputs, measure, equivalencies)
    found, errors = [], []
    for plan in plans:
        near = partial(_converted_probe, probe, inputs, plan)
        try:
            system = _resolve_units(plan.model, plan.inputs, measure, equivalencies, near)
        except ValueError as error:
            errors.append(error)
            continue
        agrees = agrees_with_quantities(model, plan, system, near())
        if agrees is not False and system.data is None:
            system = replace(system, converted={**plan.converted, **system.converted}, model=plan.model)
            found.append((agrees, system))
    proven = [system for agrees, system in found if agrees]
    if proven or (found and len(plans) == 1):
        return proven[0] if proven else found[0][1]
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
    model: Model, inputs: list[ModelInput], measure: Measure, equivalencies: Mapping[str, Any], probe: Probe
) -> UnitSystem:
    """`resolve_units` for a model whose tables are plain."""
    names = result_names(model)
    carried = [getattr(model, name).unit for name in model.param_names]
    if all(c is None for c in carried):
        if measure.text is None and all(i.measure.text is None for i in inputs):
            return UnitSystem(inputs, measure, tuple(ParameterUnit(n) for n in names))
        groups = unit_groups(inputs)
        bare = scalar_model(model)
        near = _near(bare, len(inputs))  # a line may be far from the coordinates as long as its start is a default
        both = [np.concatenate(parts) for parts in zip(probe(), near, strict=True)]
        exponents = None
        if len({one.measure.text for one in inputs}) > len(set(groups)):  # degrees_north and degrees_east
            apart = list(range(len(inputs)))
            found = dimensions(bare, both, apart)
            exponents, groups = (found, apart) if None not in found else (None, groups)
        exponents = dimensions(bare, both, groups) if exponents is None else exponents
        return UnitSystem(inputs, measure, told_by_labels(names, exponents, inputs, groups, measure))
    return _Carried(model, names, carried, inputs, measure, equivalencies).resolve(probe)


def _near(bare: Model, n_inputs: int) -> list[np.ndarray]:
    """Values of each input about the model's own numbers."""
    near = about(np.array(bare.parameters, dtype=float), 100)
    own = [np.roll(near, 7 * i) for i in range(n_inputs)]
    tables = spread_of_points(bare, n_inputs, 100)
    if all(x is None for x in tables):
        return own
    return [np.concatenate([x, x if points is None else points]) for x, points in zip(own, tables, strict=True)]


class _Carried:
    """Units that the model carries, brought together with those of data and coordinates."""

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        carried: list[UnitBase | None],
        inputs: list[ModelInput],
        measure: Measure,
        equivalencies: Mapping[str, Any],
    ) -> None:
        self.given = (model, names, carried, inputs, measure, equivalencies)
        self.model, self.names, self.carried = model, names, carried
        self.inputs, self.measure, self.equivalencies = list(inputs), measure, equivalencies
        self.groups = unit_groups(inputs)  # a conversion takes all inputs of a group along
        self.converted: dict[str, tuple[Conversion, Measure]] = {}
        self.data: Conversion | None = None
        self.Y = _or_one(measure)
        self.exponents = self._exponents(self.groups)

    def resolve(self, probe: Probe) -> UnitSystem:
        self._require_readable()
        open_ = [j for j, unit in enumerate(self.carried) if unit is not None and self.exponents[j] is None]
        if open_:
            return self._by_trial(probe)
        if self._first_misfit() is not None:
            self._convert()
            if (j := self._first_misfit()) is not None:
                # With constants of its own, a black body has other dimensions than its numbers scale by.
                if (found := self._as_given().tried(probe)) is not None:
                    return found
                raise ValueError(self._misfit(j))
        self._require_complete()
        return self._system([self._inner(j) for j in range(len(self.names))])

    def _as_given(self) -> _Carried:
        """The same before anything was converted."""
        return _Carried(*self.given)

    def _exponents(self, groups: Sequence[int]) -> list[Dimension | None]:
        """Dimensions, found on coherent numbers: a mean in km/s may stand beside a width in m/s."""
        beside = any(inner_of(leaf) is not None for leaf in leaves(self.model))  # tables are in the inner units
        known = [self.Y, *(_or_one(i.measure) for i in self.inputs)] if beside else []
        values = [
            _coherent_number(value, known)
            if (value := getattr(self.model, name).quantity) is not None
            else getattr(self.model, name).value
            for name in self.model.param_names
        ]
        bare = scalar_model(self.model, values)
        return dimensions(bare, _near(bare, len(self.inputs)), groups)

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
        one = self.exponents[j]
        if one is None:
            return None
        if one.unit is not None:
            return one.unit
        powers = [(self.Y, one.output), *zip(self._X(), one.inputs, strict=False)]
        used = [(unit, p) for unit, p in powers if p != 0]
        if len(used) == 1 and used[0][1] == 1:
            return used[0][0]
        inner = u.dimensionless_unscaled
        for unit, power in used:
            inner = inner * unit**power
        return inner

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
        if groups != self.groups and None not in (exponents := self._exponents(groups)):
            self.groups, self.exponents = groups, exponents

    def _wanted(self, power: Any, i: int | None) -> UnitBase | None:
        """The unit that the model takes for input ``i`` (or gives out), by a parameter of no other dimension."""
        for unit, one in zip(self.carried, self.exponents, strict=True):
            if unit is None or one is None or one.unit is not None:
                continue
            if power(one) == 1 and [p for p in (one.output, *one.inputs) if p != 0] == [1]:
                return unit
        return None if i is None else self._input_unit(i)

    def _input_unit(self, i: int) -> UnitBase | None:
        """What astropy says that the model takes for an input, which may be a Quantity of 1."""
        try:
            told = (self.model.input_units or {}).get(self.model.inputs[i])
            return None if told is None else u.Unit(told)
        except (KeyError, TypeError, ValueError):  # it takes any annotation of a function's argument for a unit
            return None

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
        return Misfit(self.names[j], unit, one, inner, self.measure, read, taken).message()

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
        dimensioned = told_by_labels(self.names, self.exponents, self.inputs, self.groups, self.measure)
        parameters = []
        for j, unit in enumerate(self.carried):
            own = inner[j] if unit is None else unit
            text = None if own is None else write_unit(own)
            if own is not None and dimensioned[j].inner == own and self.data is None:
                text = dimensioned[j].text  # as the user spells it
            told = dimensioned[j]
            parameters.append(replace(told, inner=inner[j], own=own, text=text, bare=unit is None))
        return UnitSystem(self.inputs, self.measure, tuple(parameters), self.data, True, self.converted)

    def _by_trial(self, probe: Probe) -> UnitSystem:
        """A model whose dimensions do not tell: plain numbers are tried beside astropy's Quantities."""
        if (found := self.tried(probe)) is not None:
            return found
        raise ValueError(
            f"model has units ({self._shown()}), but with them it cannot be evaluated on the coordinates "
            f"{listed(i.coordinate for i in self.inputs)}, or gives no values in the unit of the data "
            f"({write_unit(self.Y)!r}). Give it plain numbers in the units of the data and its coordinates."
        )

    def tried(self, probe: Probe) -> UnitSystem | None:
        """The units with which plain numbers give what astropy's Quantities do; None where none do."""
        return self._tried(probe, coherent=False) or self._tried(probe, coherent=True)

    def _tried(self, probe: Probe, coherent: bool) -> UnitSystem | None:
        """Parameters in their own units, or all in SI; None where plain numbers differ from Quantities."""
        inner = [unit if unit is None or not coherent else _coherent(unit) for unit in self.carried]
        inputs, at, converted = [], [], {}
        for i, (one, x) in enumerate(zip(self.inputs, probe(), strict=True)):
            old = one.measure.unit or u.dimensionless_unscaled
            wanted = self._input_unit(i) or old
            wanted = _coherent(wanted) if coherent else wanted
            how = conversion(old, wanted, self._told(i), one.measure.difference)
            if how is None:
                return None
            at.append(how.apply(xr.Variable(["n"], x)).values * wanted)
            if how.trivial:
                inputs.append(one)
            else:
                inputs.append(replace(one, values=how.apply(one.values), measure=Measure(write_unit(wanted))))
                converted[one.name] = (how, one.measure)
        ratio = self._ratio(at, inner)
        if ratio is None:
            return None
        self.inputs, self.converted = inputs, converted
        self.data = None if ratio == 1.0 else Conversion(self.Y, self.Y, 1.0 / ratio)
        return self._system(inner)

    def _ratio(self, at: Sequence[Quantity], inner: Sequence[UnitBase | None]) -> float | None:
        """Values with units over plain ones, where that is one number."""
        start = [np.ravel(getattr(self.model, name).value)[0] for name in self.model.param_names]
        ratios = []
        for nudge in (1.0, 1.125, 0.9375):
            values = [v * (nudge + j / 64) for j, v in enumerate(start)]
            quantities = [v if c is None else v * c for v, c in zip(values, self.carried, strict=True)]
            try:
                with np.errstate(all="ignore"):
                    full = Quantity(with_values(self.model, quantities)(*at)).to_value(self.Y)
                    plain = [
                        v if c is None or i is None else (v * c).to_value(i)
                        for v, c, i in zip(values, self.carried, inner, strict=True)
                    ]
                    bare = scalar_model(self.model, plain)
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


def _coherent_number(value: Quantity, known: Sequence[UnitBase]) -> Any:
    """In one of the known units, if it can be converted to one, else in SI."""
    unit = next((unit for unit in known if factor(value.unit, unit) is not None), None)
    try:
        return value.si.value if unit is None else value.to_value(unit)
    except u.UnitConversionError:  # a scale of temperature
        return value.value


def _or_one(measure: Measure) -> UnitBase:
    return u.dimensionless_unscaled if measure.unit is None else measure.unit
