"""The units of a model's lookup tables, reconciled with those of the data and its coordinates."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from astropy import units as u
from astropy.modeling import CompoundModel, Model
from astropy.modeling.models import Mapping as MappingModel
from astropy.units import Quantity, UnitBase

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.expression import inner_inputs, leaves
from xr_modelfit.parameter_units.tables import OUTPUT, Inner, has_units, plain_table, with_leaves
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Conversion, Measure, conversion, factor

__all__ = ["TablePlan", "table_plans"]

_PLAIN = "give the table plain numbers, in the units of the data and its coordinates"


@dataclass(frozen=True)
class TablePlan:
    """A way to make the tables of a model plain."""

    model: Model  # with plain tables
    inputs: list[ModelInput]  # converted by equivalencies, if a table needs that
    converted: dict[str, tuple[Conversion, Measure]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """What an input of a part of the model reads."""

    of: frozenset[int] = frozenset()  # inputs of the model that it depends on
    direct: bool = False  # it is one of them


def table_plans(
    model: Model, inputs: Sequence[ModelInput], measure: Measure, equivalencies: Mapping[str, Any]
) -> list[TablePlan]:
    """Ways to make tables with units plain: several if values could be in the unit of the data or of a coordinate.

    ``measure`` is that of the data; ``equivalencies`` are by name of the input. Raises ValueError for units that are
    missing or cannot be converted.
    """
    reads: list[tuple[_Read, ...]] = []
    _follow(model, [_Read(frozenset([i]), True) for i in range(len(inputs))], reads)
    converted: dict[str, tuple[Conversion, Measure]] = {}
    own = list(inputs)
    options: list[list[Inner | None]] = []
    for leaf, arriving in zip(leaves(model), reads, strict=True):
        if not has_units(leaf):
            options.append([None])
            continue
        table: Any = leaf
        axes = [
            _axis(p.unit, read, own, equivalencies, converted)
            if isinstance(p, Quantity)
            else (None, _as_read(read, own))
            for p, read in zip(table.points, arriving, strict=True)
        ]
        values = table.lookup_table
        points, which = tuple(unit for unit, _ in axes), tuple(i for _, i in axes)
        gives = _values(values.unit, own, measure) if isinstance(values, Quantity) else [(None, None)]
        options.append([Inner(points, unit, which, i) for unit, i in gives])

    def plan(chosen: Sequence[Inner | None]) -> TablePlan:
        inners = iter(chosen)

        def change(leaf: Model) -> Model:
            inner = next(inners)
            return leaf if inner is None else plain_table(leaf, inner)

        return TablePlan(with_leaves(model, change), own, converted)

    return [plan(chosen) for chosen in itertools.product(*options)]


def _follow(model: Model, arriving: list[_Read], found: list[tuple[_Read, ...]]) -> list[_Read]:
    """What each output depends on; what each simple model reads is appended to ``found``, in order."""
    if not isinstance(model, CompoundModel):
        found.append(tuple(arriving))
        if isinstance(model, MappingModel):
            return [arriving[i] for i in model.mapping]
        return [_Read(frozenset().union(*(one.of for one in arriving)))] * model.n_outputs
    if model.op == "fix_inputs":
        inner: list[Any] = inner_inputs(model, arriving)  # type: ignore[arg-type]
        return _follow(model.left, [x if isinstance(x, _Read) else _Read() for x in inner], found)
    if model.op == "|":
        return _follow(model.right, _follow(model.left, arriving, found), found)
    n = model.left.n_inputs if model.op == "&" else 0
    left = _follow(model.left, arriving[: n or None], found)
    right = _follow(model.right, arriving[n:], found)
    if model.op == "&":
        return left + right
    return [_Read(a.of | b.of) for a, b in zip(left, right, strict=True)]


def _axis(
    unit: UnitBase,
    read: _Read,
    inputs: list[ModelInput],
    equivalencies: Mapping[str, Any],
    converted: dict[str, tuple[Conversion, Measure]],
) -> tuple[UnitBase, int | None]:
    """The unit of points inside the fit, and the input whose unit it is, which is converted if necessary."""
    if not read.of:  # the input is held, at a number in the unit of the table
        return unit, None
    known = {i: inputs[i].measure.unit for i in sorted(read.of)}
    fit = {i: own for i, own in known.items() if own is not None and factor(unit, own) is not None}
    if len({factor(unit, own) for own in fit.values()}) == 1:
        i, own = next(iter(fit.items()))
        return own, i
    i = min(read.of)
    one = inputs[i]
    if fit:
        raise ValueError(
            f"model has a table with points in {write_unit(unit)!r}, which reads coordinates in "
            f"{', '.join(repr(write_unit(own)) for own in fit.values())}. Convert them to one unit, or {_PLAIN}."
        )
    if one.measure.unit is None:
        raise ValueError(f"model has a table with points in {write_unit(unit)!r}, but {_unlabelled(one, unit)}")
    how = conversion(one.measure.unit, unit, equivalencies.get(one.name), one.measure.difference)
    if not read.direct or how is None:
        raise ValueError(
            f"model has a table with points in {write_unit(unit)!r}, but it reads the coordinate {one.coordinate!r} in "
            f"{one.measure.text!r}, which cannot be converted. Say by equivalencies={{{one.name!r}: ...}} how, or "
            f"{_PLAIN}."
        )
    inputs[i] = replace(one, values=how.apply(one.values), measure=Measure(write_unit(unit)))
    converted[one.name] = (how, one.measure)
    return unit, i


def _as_read(read: _Read, inputs: Sequence[ModelInput]) -> int | None:
    """The input in whose unit plain points are; None if it could be one or another."""
    units = {inputs[i].measure.text for i in read.of}
    return min(read.of) if len(units) == 1 else None


def _unlabelled(one: ModelInput, unit: UnitBase) -> str:
    name = repr(one.coordinate)
    if one.measure.text is not None:
        return f"the coordinate {name} has units={one.measure.text!r}, which is no unit that is known. Correct it."
    label = f"data.assign_coords({{{name}: data[{name}].assign_attrs(units={write_unit(unit)!r})}})"
    return f"the coordinate {name} has no units. Label it with the unit of its numbers, such as: {label}, or {_PLAIN}."


def _values(unit: UnitBase, inputs: Sequence[ModelInput], measure: Measure) -> list[tuple[UnitBase, int | None]]:
    """The units that the values of a table may have inside the fit, and the input whose unit each is."""
    known = [(OUTPUT, measure.unit), *((i, one.measure.unit) for i, one in enumerate(inputs))]
    found: list[tuple[UnitBase, int | None]] = [
        (own, i) for i, own in known if own is not None and factor(unit, own) is not None
    ]
    if factor(unit, u.dimensionless_unscaled) is not None:
        found.append((u.dimensionless_unscaled, None))
    if found:
        return found
    if measure.unit is None:
        why = "has no units" if measure.text is None else f"has units={measure.text!r}, which is no unit that is known"
        raise ValueError(
            f"model has a table with values in {write_unit(unit)!r}, but the data {why}. Label it with the unit of "
            f"its numbers, such as: data.assign_attrs(units={write_unit(unit)!r}), or {_PLAIN}."
        )
    raise ValueError(
        f"model has a table with values in {write_unit(unit)!r}, which cannot be converted to {measure.text!r}, the "
        f"unit of the data, nor to that of a coordinate. Correct the units, or {_PLAIN}."
    )
