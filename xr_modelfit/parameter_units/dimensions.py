"""The dimensions of a model's parameters, as powers of the units of its output and of its inputs.

They follow from the model's expression (`parameter_units.algebra`). What the expression leaves open, astropy may say.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import CompoundModel, FittableModel, Model
from astropy.modeling.polynomial import OrthoPolynomialBase, PolynomialModel

from xr_modelfit.analysis.memo import CACHE_SIZE, CacheKey
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.ties import ModelStandIn
from xr_modelfit.parameter_units.algebra import ANGLE, GIVEN, INPUT, OUTPUT, Analysis, analysed, table_operation
from xr_modelfit.parameter_units.linear_forms import Form, plus
from xr_modelfit.parameter_units.shifts import levels, places
from xr_modelfit.parameter_units.tables import inner_of, with_leaves
from xr_modelfit.tracing.graph import CannotTrace, Graph
from xr_modelfit.tracing.symbols import Symbol as Node
from xr_modelfit.tracing.tracing import traced

__all__ = ["Dimension", "Dimensions", "dimensions"]


@dataclass(frozen=True)
class Dimension:
    """Exponents of a parameter's dimension.

    Parameters
    ----------
    output : Fraction
        Power of the output's dimension.
    inputs : tuple of Fraction
        Power of the dimension of each group of inputs.
    given : tuple of (int, Fraction)
        Powers of the units that were given for other parameters.
    unit : astropy unit, optional
        Of its own, whatever the inputs and the output are: an angle, a temperature.
    angle : Fraction
        Power of an angle, which is a pure number and may be given in degrees.
    place : int, optional
        The input that it is a place along: with all places moved like the inputs, nothing changes.
    width : bool
        It is a difference along an input, and no place.
    level : bool or None
        Values of the output plus a constant are those with this parameter plus the constant; None if that is not known.
    """

    output: Fraction = Fraction(0)
    inputs: tuple[Fraction, ...] = ()
    given: tuple[tuple[int, Fraction], ...] = ()
    unit: Any = None
    angle: Fraction = Fraction(0)
    place: int | None = None
    width: bool = False
    level: bool | None = None


@dataclass(frozen=True)
class Dimensions:
    """Dimensions of all parameters of a model, None for one that is open.

    Parameters
    ----------
    each : tuple of Dimension or None
    groups : tuple of int
        The group of each input, by which powers of inputs are given.
    like : tuple of Dimension or None
        The same where factors such as 86400 are pure numbers; in ``each``, what they multiply is open.
    contradictions : tuple of str
        Where the expression contradicts itself, in words.
    by_rules : bool
        Nothing but astropy's rules is known of it, since it has no expression.
    """

    each: tuple[Dimension | None, ...]
    groups: tuple[int, ...]
    like: tuple[Dimension | None, ...]
    contradictions: tuple[str, ...] = ()
    by_rules: bool = False


@dataclass(frozen=True)
class Units:
    """Units that dimensions are powers of; None where they are not known.

    Parameters
    ----------
    output : astropy unit or None
    inputs : tuple of astropy unit or None
    groups : tuple of int
        For each input, the number of its group; inputs of a group have the same unit.
    spellings : tuple of int
        The same, where units that are spelled in two ways are two.
    given : tuple of (int, astropy unit)
        For parameters whose dimension is open.
    times : bool
        An input is a time.
    """

    output: Any
    inputs: tuple[Any, ...]
    groups: tuple[int, ...]
    spellings: tuple[int, ...]
    given: tuple[tuple[int, Any], ...] = ()
    times: bool = False


def dimensions(model: Model, units: Units) -> Dimensions:
    """The dimension of each parameter.

    Parameters
    ----------
    model : astropy.modeling.Model
        Its numbers and units play no part.
    units : Units
    """
    try:
        found = _Traced.of(model)
    except CannotTrace:
        return _untraced(model, units)
    return _answer(CacheKey((found.key, units), (found, model, units)))


def _untraced(model: Model, units: Units) -> Dimensions:
    """Of a model that has no expression: its terms alone, or what astropy says of it."""
    if isinstance(model, CompoundModel) and model.op in ("+", "-"):
        parts = [dimensions(part, units) for part in (model.left, model.right)]
        groups = units.groups if any(one.groups != units.spellings for one in parts) else units.spellings
        if any(one.groups != groups for one in parts):
            parts = [dimensions(part, replace(units, spellings=groups)) for part in (model.left, model.right)]
        left, right = parts
        return Dimensions(left.each + right.each, groups, left.like + right.like, by_rules=True)
    forms: dict[int, Form | Any] = {j: {(GIVEN, j): Fraction(1)} for j, _ in units.given} | _rules(model, units.groups)
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
    """The node of a tie; None where it says something that is no expression."""
    try:
        return Node(graph, 0).node(tie(stand))
    except (CannotTrace, Exception):  # whatever it does with symbols
        return None


class _Marked(FittableModel):
    """Stands for a model without parameters that has no expression: makes one operation of its inputs."""

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
    """A simple model; of one that maps its inputs to a window first, and of a table, what units need to know."""
    inner = inner_of(leaf)
    if inner is not None:
        return _Marked(table_operation(inner.reads, inner.gives), leaf.n_inputs)
    if not isinstance(leaf, (PolynomialModel, OrthoPolynomialBase)) or not _is_mapped(leaf):
        return leaf
    before: Any = _Marked("pure", 1)
    return before | leaf if leaf.n_inputs == 1 else before & _Marked("pure", 1) | leaf


def _is_mapped(model: Any) -> bool:
    """Whether a polynomial maps its inputs to a window first, which makes a pure number of them."""
    pairs = [(model.domain, model.window)] if model.n_inputs == 1 else []
    if model.n_inputs == 2:
        pairs = [(model.x_domain, model.x_window), (model.y_domain, model.y_window)]
    mapped = [domain is not None and tuple(domain) != tuple(window) for domain, window in pairs]
    if isinstance(model, OrthoPolynomialBase) or model.n_inputs == 1:
        return all(mapped)
    return bool(mapped) and all(mapped)


@lru_cache(CACHE_SIZE)
def _answer(question: CacheKey) -> Dimensions:
    found, model, units = question.taken()
    pure = _PureForms(units)
    groups = units.spellings
    analysis = _analysed(found, units, groups, pure)
    if pure.mixed:  # as degrees_north and degrees_east are, in a distance
        groups = units.groups
        analysis = _analysed(found, units, groups, pure)
    rules: list[tuple[int, Form]] = []
    if None in analysis.dimensions or analysis.contradictions:
        rules = [(j, form) for j, form in _rules_of_terms(model, groups) if isinstance(form, dict)]
    if analysis.contradictions and rules:
        each = tuple(_dimension(form, groups) for form in _listed(rules, found.n_parameters))
        return Dimensions(each, groups, each, _in_words(analysis, units, groups))
    open_ = {j for j, form in enumerate(analysis.dimensions) if form is None}
    given = _given(found, units, groups, pure) if open_ & {j for j, _ in units.given} else []
    preferred = [(j, form) for j, form in (*rules, *given) if j in open_]
    if preferred:
        analysis = _analysed(found, units, groups, pure, preferred)
    each = _with_movements(found, analysis, groups)
    like = each
    if analysis.converts:
        strict = _analysed(found, replace(units, times=False), groups, pure, preferred)
        like = tuple(_dimension(form, groups) for form in strict.dimensions)
    return Dimensions(each, groups, like, _in_words(analysis, units, groups))


def _given(found: _Traced, units: Units, groups: Sequence[int], pure: _PureForms) -> list[tuple[int, Form]]:
    """What is given for parameters: a unit that sets theirs, or one that it is converted to.

    In ``a * np.exp(-x / 10)`` nobody told the unit of 10, but an ``a`` in Jy over data in mJy is converted.
    """
    likely = _analysed(found, units, groups, pure, values_pure=True).dimensions
    return [
        (j, form if form is not None and pure.converts(unit, form, groups) else {(GIVEN, j): Fraction(1)})
        for j, unit in units.given
        for form in (likely[j],)
    ]


def _listed(rules: Sequence[tuple[int, Form]], n: int) -> list[Form | None]:
    known = dict(rules)
    return [known.get(j) for j in range(n)]


def _analysed(
    found: _Traced,
    units: Units,
    groups: Sequence[int],
    pure: _PureForms,
    preferred: Sequence[tuple[int, Form]] = (),
    values_pure: bool = False,
) -> Analysis:
    inputs = [(INPUT, g) for g in groups]
    return analysed(
        found.graph,
        found.root,
        found.n_parameters,
        inputs,
        is_zero=lambda form: pure.has(form, groups),
        ties=found.ties,
        preferred=preferred,
        times=units.times,
        values_pure=values_pure,
    )


class _PureForms:
    """Whether powers of units make a pure number; and whether units were mixed for it that are spelled in two ways."""

    _LOGARITHMS = frozenset({"mag", "dex", "dB"})  # of pure numbers

    def __init__(self, units: Units) -> None:
        self.units, self.given, self.mixed = units, dict(units.given), False

    def has(self, form: Form, groups: Sequence[int]) -> bool:
        if not form:
            return True
        merged = self._merged(form, groups)
        if not merged:
            self.mixed = True
            return True
        total = self._unit(merged)
        return total is not None and _is_number(total) and bool(np.isclose(total.scale, 1.0, rtol=1e-12))

    def converts(self, unit: Any, form: Form, groups: Sequence[int]) -> bool:
        """Whether a unit can be converted to that of a form by a factor."""
        total = self._unit(self._merged(form, groups))
        plain = total is not None and isinstance(unit, u.UnitBase)  # and no magnitude of something
        return plain and _is_number((unit / total).decompose())

    def _merged(self, form: Form, groups: Sequence[int]) -> Form:
        """The form with inputs by their units, whatever they are spelled like."""
        of_group = dict(zip(groups, self.units.groups, strict=True))
        merged = Form()
        for symbol, power in form.items():
            merged = plus(merged, {(INPUT, of_group[int(str(symbol[1]))]) if symbol[0] == INPUT else symbol: power})
        return merged

    def _unit(self, form: Form) -> Any:
        """The product of powers of units that a form is; None where one of them is not known."""
        total = u.dimensionless_unscaled
        of_group: dict[Hashable, Any] = dict(zip(self.units.groups, self.units.inputs, strict=True))
        for symbol, power in form.items():
            unit = self.units.output if symbol == OUTPUT else u.one if symbol == ANGLE else None
            unit = of_group.get(symbol[1]) if symbol[0] == INPUT else unit
            unit = self.given.get(int(str(symbol[1]))) if symbol[0] == GIVEN else unit
            if unit is None:
                return None
            if not {base.name for base in unit.bases} <= self._LOGARITHMS:
                total = total * unit**power
        return total.decompose()


def _is_number(unit: Any) -> bool:
    return {base.name for base in unit.bases} <= {"rad"}


def _with_movements(found: _Traced, analysis: Analysis, groups: Sequence[int]) -> tuple[Dimension | None, ...]:
    """Dimensions, with what is a place, what a width, and what a level."""
    one = Fraction(1)
    by_input = {
        i: [j for j, form in enumerate(analysis.dimensions) if form == {(INPUT, g): one}] for i, g in enumerate(groups)
    }
    along = places(found.graph, found.root, {i: js for i, js in by_input.items() if js})
    of_output = [j for j, form in enumerate(analysis.dimensions) if form == {OUTPUT: one}]
    lifts = levels(found.graph, found.root, of_output) if of_output else None
    each = []
    for j, form in enumerate(analysis.dimensions):
        dimension = _dimension(form, groups)
        if dimension is not None:
            dimension = replace(
                dimension,
                unit=u.rad if j in analysis.angles and form == {ANGLE: one} else dimension.unit,
                place=along.get(j),
                width=j in along and along[j] is None,
                level=None if lifts is None else lifts.get(j, False),
            )
        each.append(dimension)
    return tuple(each)


_WORDS = {
    "add": "adds {} and {}",
    "subtract": "takes {1} from {0}",
    "where": "chooses between {} and {}",
}


def _in_words(analysis: Analysis, units: Units, groups: Sequence[int]) -> tuple[str, ...]:
    """Where an expression contradicts itself."""
    names = {OUTPUT: "the data's unit" if units.output is None else repr(units.output.to_string())}
    for g, group in zip(groups, units.groups, strict=True):
        unit = units.inputs[groups.index(g)]
        names[INPUT, g] = f"the unit of input {group}" if unit is None else repr(unit.to_string())
    told = []
    for one in analysis.contradictions:
        if one.op == "output":
            told.append(f"its value is in {_shown(one.sides[0], names)}, the data in {_shown(one.sides[1], names)}")
            continue
        sides = [_shown(side, names) for side in one.sides]
        told.append(f"it {_WORDS.get(one.op, 'compares {} and {}').format(*sides)}")
    return tuple(told)


def _shown(form: Form, names: Mapping[Any, str]) -> str:
    known = {symbol: power for symbol, power in form.items() if symbol in names}
    parts = [names[s] if p == 1 else f"{names[s]} to the power {p}" for s, p in known.items()]
    return " times ".join(parts) or "a pure number"


def _dimension(form: Form | Any, groups: Sequence[int]) -> Dimension | None:
    """A form, or a unit, as a dimension."""
    n = max(groups, default=-1) + 1
    if form is None:
        return None
    if not isinstance(form, dict):
        return Dimension(inputs=(Fraction(0),) * n, unit=form)
    zero = Fraction(0)
    given = tuple((int(str(s[1])), p) for s, p in form.items() if s[0] == GIVEN)
    inputs = tuple(form.get((INPUT, g), zero) for g in range(n))
    return Dimension(form.get(OUTPUT, zero), inputs, given, angle=form.get(ANGLE, zero))


def _rules_of_terms(model: Model, groups: Sequence[int], first: int = 0) -> list[tuple[int, Form | Any]]:
    """What astropy says of the parameters of a simple model, or of each term of a sum."""
    if isinstance(model, CompoundModel):
        if model.op not in ("+", "-"):
            return []
        second = first + len(model.left.param_names)
        return [*_rules_of_terms(model.left, groups, first), *_rules_of_terms(model.right, groups, second)]
    return [(first + j, form) for j, form in _rules(model, groups).items()]


def _rules(model: Model, groups: Sequence[int]) -> dict[int, Form | Any]:
    """What astropy says of the parameters' units: forms, or a unit where it is a unit of its own."""
    if isinstance(model, CompoundModel):
        return {}
    Y = u.def_unit("Y")
    X = {g: u.def_unit(f"X{g}") for g in groups}
    try:
        told = model._parameter_units_for_data_units(
            {name: X[g] for name, g in zip(model.inputs, groups, strict=True)}, {model.outputs[0]: Y}
        )
    except Exception:  # it has no rules, or needs inputs of the same unit
        return {}
    symbols = {Y: OUTPUT} | {x: (INPUT, g) for g, x in X.items()}
    found: dict[int, Form | Any] = {}
    for j, name in enumerate(model.param_names):
        unit = u.dimensionless_unscaled if told.get(name) is None else told[name]
        parts = dict(zip(unit.bases, unit.powers, strict=True))
        own = set(parts) - set(symbols)
        found[j] = unit if own else {symbols[base]: Fraction(power) for base, power in parts.items()}
    return found
