"""The dimensions of a model's parameters, as powers of the units of its output and of its inputs.

They follow from the model's expression (`parameter_units.algebra`). What the expression leaves open, astropy may say.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import CompoundModel, FittableModel, Model
from astropy.modeling.polynomial import OrthoPolynomialBase, PolynomialModel

from xr_modelfit.analysis.memo import CACHE_SIZE, CacheKey
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.ties import ModelStandIn
from xr_modelfit.parameter_units.algebra import ANGLE, GIVEN, INPUT, OUTPUT, Analysis, analysed, table_operation
from xr_modelfit.parameter_units.linear_forms import Form, Symbol, plus
from xr_modelfit.parameter_units.shifts import levels, places
from xr_modelfit.parameter_units.tables import inner_of, with_leaves
from xr_modelfit.tracing.graph import CannotTrace, Graph
from xr_modelfit.tracing.symbols import Symbol as Node
from xr_modelfit.tracing.tracing import traced

__all__ = ["Dimension", "Dimensions", "Units", "dimensions"]

_ONE = Fraction(1)


@dataclass(frozen=True)
class Dimension:
    """Exponents of a parameter's dimension, and how the parameter moves with inputs and output."""

    output: Fraction = Fraction(0)
    inputs: tuple[Fraction, ...] = ()  # of each group of inputs
    given: tuple[tuple[int, Fraction], ...] = ()  # of units that were given for other parameters, by their numbers
    unit: Any = None  # of its own, whatever the units of inputs and output: an angle, a temperature
    angle: Fraction = Fraction(0)  # of an angle, which is a pure number and may be given in degrees
    place: int | None = None  # the input along which it is a position: if all positions move with it, no value changes
    width: bool = False  # it is a difference along an input, and no position
    level: bool | None = None  # whether adding a constant to it adds that to the output; None if that is not known


@dataclass(frozen=True)
class Dimensions:
    """Dimensions of all parameters of a model, None for one that is open."""

    each: tuple[Dimension | None, ...]
    groups: tuple[int, ...]  # the group of each input, by which powers of inputs are given
    like: tuple[Dimension | None, ...]  # as `each`, but what a factor such as 86400 multiplies is not open
    contradictions: tuple[str, ...] = ()  # of the expression with itself, in words
    by_rules: bool = False  # the model has no expression, so only astropy's rules for it are known


@dataclass(frozen=True)
class Units:
    """Units that dimensions are powers of; None if they are not known."""

    output: Any
    inputs: tuple[Any, ...]
    groups: tuple[int, ...]  # for each input the number of its group; inputs of a group have the same unit
    spellings: tuple[int, ...]  # the same, but two spellings of a unit are two groups
    given: tuple[tuple[int, Any], ...] = ()  # for parameters whose dimension is open
    times: bool = False  # an input is a time


def dimensions(model: Model, units: Units) -> Dimensions:
    """The dimension of each parameter, whatever numbers and units the model has."""
    try:
        found = _Traced.of(model)
    except CannotTrace:
        return _untraced(model, units)
    return _answer(CacheKey((found.key, units), (found, model, units)))


def _untraced(model: Model, units: Units) -> Dimensions:
    """Dimensions of a model that has no expression: those of each term of a sum, or astropy's rules."""
    if isinstance(model, CompoundModel) and model.op in ("+", "-"):
        parts = [dimensions(part, units) for part in (model.left, model.right)]
        groups = units.groups if any(one.groups != units.spellings for one in parts) else units.spellings
        if any(one.groups != groups for one in parts):
            parts = [dimensions(part, replace(units, spellings=groups)) for part in (model.left, model.right)]
        left, right = parts
        return Dimensions(left.each + right.each, groups, left.like + right.like, by_rules=True)
    rules = {} if isinstance(model, CompoundModel) else _rules(model, units.groups)
    forms: dict[int, Form | Any] = {j: {(GIVEN, j): _ONE} for j, _ in units.given} | rules
    each = tuple(_dimension(forms.get(j), units.groups) for j in range(len(model.param_names)))
    return Dimensions(each, units.groups, each, by_rules=True)


@dataclass(frozen=True)
class _Traced:
    """The expression of a model, and of its ties."""

    graph: Graph
    root: int
    ties: dict[int, int]
    n_parameters: int
    key: Hashable

    @classmethod
    def of(cls, model: Model) -> _Traced:
        tied = model.tied
        names = tuple(model.param_names)
        K = len(names)
        zeros, no = np.zeros(K), np.zeros(K, dtype=bool)
        model = with_leaves(model, _with_marks)
        found = traced(Problem(model, names, zeros, zeros, zeros, no, (None,) * K))
        graph, root = found.graph, found.value.number
        stand = ModelStandIn(names, lambda name: Node(graph, graph.leaf("parameter", names.index(name)), locked=True))
        ties: dict[int, int] = {}
        for j, name in enumerate(names):
            if tied[name] and (node := _node(graph, tied[name], stand)) is not None:
                ties[j] = node
        return cls(graph, root, ties, K, (*found.key, tuple(ties.items()), len(graph.nodes)))


def _node(graph: Graph, tie: Callable[..., Any], stand: ModelStandIn) -> int | None:
    """The node of a tie; None if it is no expression."""
    try:
        return Node(graph, 0).node(tie(stand))
    except (CannotTrace, Exception):  # whatever it does with symbols
        return None


class _Marked(FittableModel):
    """Stands for a model that has neither parameters nor an expression: it is one operation on its inputs."""

    n_outputs = 1

    def __init__(self, operation: str, n_inputs: int) -> None:
        self._n_inputs, self.operation = n_inputs, operation
        super().__init__()

    @property
    def n_inputs(self) -> int:
        return self._n_inputs

    def evaluate(self, *inputs: Any) -> Any:
        return inputs[0].made(self.operation, *inputs)


def _with_marks(leaf: Model) -> Model:
    """A simple model; in place of a table, or before a polynomial that maps its inputs to a window, what units need."""
    inner = inner_of(leaf)
    if inner is not None:
        return _Marked(table_operation(inner.reads, inner.gives), leaf.n_inputs)
    if not isinstance(leaf, (PolynomialModel, OrthoPolynomialBase)) or not _is_mapped(leaf):
        return leaf
    before: Any = _Marked("pure", 1)
    return before | leaf if leaf.n_inputs == 1 else before & _Marked("pure", 1) | leaf


def _is_mapped(model: Any) -> bool:
    """Whether a polynomial maps its inputs to a window first, which makes them pure numbers."""
    pairs = [(model.domain, model.window)] if model.n_inputs == 1 else []
    if model.n_inputs == 2:
        pairs = [(model.x_domain, model.x_window), (model.y_domain, model.y_window)]
    return all(domain is not None and tuple(domain) != tuple(window) for domain, window in pairs)


@lru_cache(CACHE_SIZE)
def _answer(asked: CacheKey) -> Dimensions:
    found, model, units = asked.taken()
    pure = _PureForms(units)
    analyse = partial(_analysed, found, units, pure)
    groups = units.spellings
    analysis = analyse(groups)
    if pure.mixed:  # as degrees_north and degrees_east are, in a distance
        groups = units.groups
        analysis = analyse(groups)
    rules: dict[int, Form] = {}
    if None in analysis.dimensions or analysis.contradictions:
        rules = {j: form for j, form in _rules_of_terms(model, groups).items() if isinstance(form, dict)}
    if analysis.contradictions and rules:
        each = tuple(_dimension(rules.get(j), groups) for j in range(found.n_parameters))
        return Dimensions(each, groups, each, _in_words(analysis, units, groups))
    open_ = {j for j, form in enumerate(analysis.dimensions) if form is None}
    given: list[tuple[int, Form]] = []
    if open_ & {j for j, _ in units.given}:
        # Nobody told the unit of 10 in a * np.exp(-x / 10), but an a in Jy over data in mJy is converted.
        likely = analyse(groups, values_pure=True).dimensions
        given = [(j, pure.as_given(j, unit, likely[j], groups)) for j, unit in units.given]
    preferred = [(j, form) for j, form in (*rules.items(), *given) if j in open_]
    if preferred:
        analysis = analyse(groups, preferred=preferred)
    each = _with_movements(found, analysis, groups)
    like = each
    if analysis.converts:
        strict = analyse(groups, preferred=preferred, times=False)
        like = tuple(_dimension(form, groups) for form in strict.dimensions)
    return Dimensions(each, groups, like, _in_words(analysis, units, groups))


def _analysed(found: _Traced, units: Units, pure: _PureForms, groups: Sequence[int], **options: Any) -> Analysis:
    return analysed(
        found.graph,
        found.root,
        found.n_parameters,
        [(INPUT, g) for g in groups],
        is_zero=lambda form: pure.has(form, groups),
        ties=found.ties,
        **({"times": units.times} | options),
    )


class _PureForms:
    """Which products of powers of units are pure numbers; ``mixed``: two spellings of a unit were cancelled for one."""

    _LOGARITHMS = frozenset({"mag", "dex", "dB"})  # of pure numbers

    def __init__(self, units: Units) -> None:
        self.groups, self.mixed = units.groups, False
        self.units = {OUTPUT: units.output, ANGLE: u.one} | {(GIVEN, j): unit for j, unit in units.given}
        self.units |= {(INPUT, g): unit for g, unit in zip(units.groups, units.inputs, strict=True)}

    def has(self, form: Form, groups: Sequence[int]) -> bool:
        if not form:
            return True
        merged = self._merged(form, groups)
        if not merged:
            self.mixed = True
            return True
        total = self._unit(merged)
        return total is not None and _is_number(total) and bool(np.isclose(total.scale, 1.0, rtol=1e-12))

    def as_given(self, j: int, unit: Any, form: Form | None, groups: Sequence[int]) -> Form:
        """The likely dimension of a parameter if the unit given for it can be converted to that, else the given one."""
        total = None if form is None else self._unit(self._merged(form, groups))
        plain = total is not None and isinstance(unit, u.UnitBase)  # and no magnitude of something
        return form if form is not None and plain and _is_number((unit / total).decompose()) else {(GIVEN, j): _ONE}

    def _merged(self, form: Form, groups: Sequence[int]) -> Form:
        """The form with inputs by their units, however they are spelled."""
        of_group = dict(zip(groups, self.groups, strict=True))
        merged = Form()
        for symbol, power in form.items():
            merged = plus(merged, {(INPUT, of_group[symbol[1]]) if symbol[0] == INPUT else symbol: power})
        return merged

    def _unit(self, form: Form) -> Any:
        """The product of powers of units that a form is; None if one of them is not known."""
        total = u.dimensionless_unscaled
        for symbol, power in form.items():
            unit = self.units.get(symbol)
            if unit is None:
                return None
            if not {base.name for base in unit.bases} <= self._LOGARITHMS:
                total = total * unit**power
        return total.decompose()


def _is_number(unit: Any) -> bool:
    return {base.name for base in unit.bases} <= {"rad"}


def _with_movements(found: _Traced, analysis: Analysis, groups: Sequence[int]) -> tuple[Dimension | None, ...]:
    """Dimensions, with what is a place, a width or a level."""

    def of(symbol: Symbol) -> list[int]:
        return [j for j, form in enumerate(analysis.dimensions) if form == {symbol: _ONE}]

    along = places(found.graph, found.root, {i: js for i, g in enumerate(groups) if (js := of((INPUT, g)))})
    of_output, angles = of(OUTPUT), analysis.angles & set(of(ANGLE))
    lifts = levels(found.graph, found.root, of_output) if of_output else None
    each = []
    for j, form in enumerate(analysis.dimensions):
        dimension = _dimension(form, groups)
        if dimension is not None:
            dimension = replace(
                dimension,
                unit=u.rad if j in angles else dimension.unit,
                place=along.get(j),
                width=j in along and along[j] is None,
                level=None if lifts is None else lifts.get(j, False),
            )
        each.append(dimension)
    return tuple(each)


_WORDS = {
    "add": "it adds {} and {}",
    "subtract": "it takes {1} from {0}",
    "where": "it chooses between {} and {}",
    "output": "its value is in {}, the data in {}",
}


def _in_words(analysis: Analysis, units: Units, groups: Sequence[int]) -> tuple[str, ...]:
    """Where an expression contradicts itself."""
    names = {OUTPUT: "the data's unit" if units.output is None else repr(units.output.to_string())}
    for g, group in zip(groups, units.groups, strict=True):
        unit = units.inputs[groups.index(g)]
        names[INPUT, g] = f"the unit of input {group}" if unit is None else repr(unit.to_string())
    return tuple(
        _WORDS.get(one.op, "it compares {} and {}").format(*(_shown(side, names) for side in one.sides))
        for one in analysis.contradictions
    )


def _shown(form: Form, names: Mapping[Any, str]) -> str:
    parts = [names[s] if p == 1 else f"{names[s]} to the power {p}" for s, p in form.items() if s in names]
    return " times ".join(parts) or "a pure number"


def _dimension(form: Form | Any, groups: Sequence[int]) -> Dimension | None:
    """A form, or a unit, as a dimension."""
    if form is None:
        return None
    n, zero = max(groups, default=-1) + 1, Fraction(0)
    if not isinstance(form, dict):
        return Dimension(inputs=(zero,) * n, unit=form)
    given = tuple((symbol[1], power) for symbol, power in form.items() if symbol[0] == GIVEN)
    inputs = tuple(form.get((INPUT, g), zero) for g in range(n))
    return Dimension(form.get(OUTPUT, zero), inputs, given, angle=form.get(ANGLE, zero))


def _rules_of_terms(model: Model, groups: Sequence[int], first: int = 0) -> dict[int, Form | Any]:
    """Astropy's rules for the parameters of a simple model, or of each term of a sum."""
    if not isinstance(model, CompoundModel):
        return {first + j: form for j, form in _rules(model, groups).items()}
    if model.op not in ("+", "-"):
        return {}
    second = first + len(model.left.param_names)
    return _rules_of_terms(model.left, groups, first) | _rules_of_terms(model.right, groups, second)


def _rules(model: Model, groups: Sequence[int]) -> dict[int, Form | Any]:
    """Astropy's rules for the parameters' units: forms, or a unit of its own."""
    Y = u.def_unit("Y")
    X = {g: u.def_unit(f"X{g}") for g in groups}
    try:
        by_rule = model._parameter_units_for_data_units(
            {name: X[g] for name, g in zip(model.inputs, groups, strict=True)}, {model.outputs[0]: Y}
        )
    except Exception:  # it has no rules, or needs inputs of the same unit
        return {}
    symbols = {Y: OUTPUT} | {x: (INPUT, g) for g, x in X.items()}
    found: dict[int, Form | Any] = {}
    for j, name in enumerate(model.param_names):
        unit = u.dimensionless_unscaled if by_rule.get(name) is None else by_rule[name]
        parts = dict(zip(unit.bases, unit.powers, strict=True))
        own = not set(parts) <= set(symbols)
        found[j] = unit if own else {symbols[base]: Fraction(power) for base, power in parts.items()}
    return found
