"""Units of a model's parameters, from its expression alone.

Each node of the expression has a dimension: a product of powers of the units of the output, of the inputs, and of
what is not known yet. Its exponents are rational numbers, so that products add and powers multiply, and each rule of
dimensional analysis is a linear equation between exponents:

- sums, minima, comparisons and choices are of one dimension, and the value has that of the output;
- exponentials, logarithms, waves and powers that are parameters take pure numbers;
- a number in a product is pure, and one in a sum has the dimension of its partner.

The second and the third may be at odds with the first where a formula has constants of its own, as
``np.sin(2 * np.pi * t / 365.25)`` has. The argument of a wave is an angle, whatever constant makes it one. What an
exponential of such an argument is multiplied by is left open, since nobody told the unit of the constant. Equations of
the first kind that contradict each other are left out, with all that follows from them: a unit is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from xr_modelfit.parameter_units.linear_forms import Form, Symbol, System, consistent, multiple, plus
from xr_modelfit.tracing.graph import BOOLEANS, Graph

__all__ = [
    "ANGLE",
    "GIVEN",
    "INPUT",
    "KNOWN",
    "OF_TIMES",
    "OUTPUT",
    "PARAMETER",
    "Analysis",
    "Contradiction",
    "analysed",
    "table_operation",
]

PARAMETER, INPUT, GIVEN = "parameter", "input", "given"
OUTPUT: Symbol = ("output",)
ANGLE: Symbol = ("angle",)  # a pure number that may be given in degrees
KNOWN = (OUTPUT[0], ANGLE[0], INPUT, GIVEN)
_ONE = Fraction(1)
_PURE = set(BOOLEANS) | {"sign", "arctan2", "pure"}
_ALIKE = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "minimum", "maximum", "where"}
_ALIKE |= {"add", "subtract", "negative", "absolute", "hypot", "arctan2", "floor", "ceil", "rint", "trunc"}
_TABLE = "table"
_WAVES = {"sin", "cos", "tan"}
_ANGLES = {"arcsin", "arccos", "arctan"}
# Days in a year or a month, hours, minutes and seconds: among times, such a factor may be there to change the unit.
OF_TIMES = {7.0, 24.0, 60.0, 1440.0, 3600.0, 86400.0, 360.0, 365.0, 365.2, 365.24, 365.242, 365.2422, 365.2425}
OF_TIMES |= {365.24219, 365.242199, 365.25, 366.0, 30.0, 30.4, 30.44, 30.4375, 30.436875, 30.5}


class Contradiction(NamedTuple):
    """An operation, and the dimensions of its two sides, which should be equal."""

    op: str
    sides: tuple[Form, Form]


class _Demand(NamedTuple):
    """A function that takes a pure number."""

    node: int
    taken: int  # the node of its argument
    equation: Form  # its argument is a pure number, or an angle
    value: Symbol | None  # stands for the dimension of its value
    of_inputs: bool  # its argument depends on inputs


@dataclass(frozen=True)
class Analysis:
    """What an expression says about its parameters."""

    dimensions: tuple[Form | None, ...]  # of each parameter in known symbols, None if it is open
    contradictions: tuple[Contradiction, ...] = ()
    angles: frozenset[int] = frozenset()  # parameters that are the whole argument of a wave
    converts: bool = False  # a factor may change a unit of time, so that what it multiplies is open


def analysed(
    graph: Graph,
    root: int,
    n_parameters: int,
    inputs: Sequence[Symbol],
    *,
    is_zero: Callable[[Form], bool] = lambda form: not form,
    ties: Mapping[int, int] | None = None,
    preferred: Sequence[tuple[int, Form]] = (),
    times: bool = False,
    values_pure: bool = False,
) -> Analysis:
    """Dimensions of the parameters of an expression whose value is the node ``root``.

    ``inputs`` has a symbol for each input, the same for inputs in the same unit. ``is_zero`` says whether a form of
    known symbols is a pure number. ``ties`` are the nodes of tied parameters. ``preferred`` is what else is said about
    parameters, the most reliable first; it is used if the expression does not contradict it. ``times``: an input is a
    time. ``values_pure``: exponentials are pure numbers even if their argument is not: ``np.exp(-x / 10)``.
    """
    if graph.value(root) is not None:  # a number, whatever the parameters are
        return Analysis((None,) * n_parameters)
    contradictions: list[Contradiction] = []
    doubtful: set[Symbol] = set()
    broken: set[int] = set()
    make = partial(System, KNOWN, is_zero)
    while True:
        reading = _Reading(graph, root, inputs, times, frozenset(broken))
        reading.read([root, *(ties or {}).values()])
        system, found = consistent(make, reading.pure, reading.same)
        contradictions += [_contradiction(reading, names) for names in found]
        doubtful |= _doubtful(reading, system, found)
        new = {name[1] for names in found for name in names if name[0] in _ALIKE} - broken
        if not new:
            break
        broken |= new  # a sum of unlike terms may be anything
    system = _solved(make, reading, ties or {})
    for demand in reading.demands if values_pure else ():
        if demand.value is not None:
            system.add_if_allowed({demand.value: _ONE})
    for j, form in preferred:
        system.add_if_allowed(plus({(PARAMETER, j): _ONE}, form, -1))
    symbols = [(PARAMETER, j) for j in range(n_parameters)]
    return Analysis(
        tuple(None if symbol in doubtful else system.value(symbol) for symbol in symbols),
        tuple(contradictions),
        frozenset(reading.angles),
        reading.converts,
    )


def _solved(make: Callable[[], System], reading: _Reading, ties: Mapping[int, int]) -> System:
    """What follows from all equations that contradict no equation before them."""
    first = _with_pure_numbers(make, reading, [*reading.pure, *reading.same], frozenset())
    missed = [d for d in reading.demands if not first.add_if_allowed(d.equation)]
    hidden = frozenset(d.node for d in missed)
    # Once more: a constant of the formula that makes a pure number of an input has the unit for that.
    free = set(reading.graph.needed(d.taken for d in missed))
    certain = [one for one in (*reading.pure, *reading.same) if not (one[0][0] == "number" and one[0][1] in free)]
    certain += [(("taken", d.node, d.taken), d.equation) for d in missed]
    system = _with_pure_numbers(make, reading, certain, hidden)
    for demand in reading.demands:
        if demand.node in hidden:
            continue
        pure: Form = {} if demand.value is None else {demand.value: _ONE}
        if demand.of_inputs or system.allows(pure):  # else it is the logarithm of something with a unit
            system.add_if_allowed(demand.equation)
            system.add_if_allowed(pure)
    for j, node in ties.items():
        if node in reading.forms:
            system.add_if_allowed(plus({(PARAMETER, j): _ONE}, reading.forms[node], -1))
    for symbol in reading.addends:
        if not _is_made_of(system.left({symbol: _ONE}), hidden):
            system.add_if_allowed({symbol: _ONE})
    return system


def _with_pure_numbers(
    make: Callable[[], System], reading: _Reading, certain: Sequence[tuple[Symbol, Form]], hidden: frozenset[int]
) -> System:
    """The system of equations in which numbers are pure; of numbers that cannot all be pure, none is."""
    system = make()
    for name, form in certain:
        system.add(form, name)
    numbers = [symbol for symbol in reading.numbers if not _is_made_of(system.left({symbol: _ONE}), hidden)]
    pure = [((*symbol, "pure"), {symbol: _ONE}) for symbol in numbers]
    pure += [((*symbol, "turn"), plus({symbol: _ONE}, {ANGLE: _ONE}, -1)) for symbol in reading.turns]
    return consistent(make, certain, pure)[0]


def _is_made_of(form: Form, values: frozenset[int]) -> bool:
    """Whether a form contains the value of one of some functions."""
    return any(symbol[0] == "value" and symbol[1] in values for symbol in form)


def _doubtful(reading: _Reading, system: System, found: Sequence[Sequence[Symbol]]) -> set[Symbol]:
    """The parameters in contradictory equations; if one is that of the output, also those that are terms of it."""
    names = {name for one in found for name in one}
    symbols = {symbol for name, form in reading.same if name in names for symbol in form}
    if ("output", reading.root) in names:
        value = system.left(reading.forms[reading.root])
        parameters = [symbol for form in reading.forms.values() for symbol in form if symbol[0] == PARAMETER]
        symbols |= {symbol for symbol in parameters if system.left({symbol: _ONE}) == value}
    return symbols


def _contradiction(reading: _Reading, names: Sequence[Symbol]) -> Contradiction:
    """The last of some contradictory equations, with the dimension of each side by the others."""
    *others, last = [(name, form) for name, form in reading.same if name in names]
    system = System(KNOWN)
    for name, form in (*reading.pure, *others):
        system.add(form, name)
    if last[0][0] == "output":
        return Contradiction("output", (system.left(reading.forms[reading.root]), {OUTPUT: _ONE}))
    op, *arguments = reading.graph.nodes[last[0][1]]
    sides = [system.left(reading.forms[a]) for a in arguments[op == "where" :] if a in reading.forms]
    return Contradiction(op, (sides[0], sides[-1]))


@dataclass
class _Reading:
    """The dimensions of all nodes of an expression, and equations between them."""

    graph: Graph
    root: int
    inputs: Sequence[Symbol]
    times: bool
    broken: frozenset[int]  # nodes that contradict themselves
    forms: dict[int, Form] = field(default_factory=dict)
    same: list[tuple[Symbol, Form]] = field(default_factory=list)
    demands: list[_Demand] = field(default_factory=list)
    pure: list[tuple[Symbol, Form]] = field(default_factory=list)  # factors of what has a parameter in it
    numbers: list[Symbol] = field(default_factory=list)  # that are pure unless something else follows
    turns: list[Symbol] = field(default_factory=list)  # that make an angle of a number of cycles, or of degrees
    addends: list[Symbol] = field(default_factory=list)  # that are pure if nothing else follows
    angles: set[int] = field(default_factory=set)
    converts: bool = False

    def __post_init__(self) -> None:
        self._of_inputs = self.graph.depending(self.graph.of_kind("input"))
        self._of_parameters = self.graph.depending(self.graph.of_kind("parameter"))
        waves = [node[1] for node in self.graph.nodes if node[0] in _WAVES]
        self._in_waves = set(self.graph.needed(waves))

    def read(self, roots: Iterable[int]) -> None:
        """Read some nodes and all that they are made of."""
        for number in self.graph.needed(roots):
            op, *arguments = self.graph.nodes[number]
            if op != "constant":
                self.forms[number] = self._form(number, op, arguments)
        self.same.append((("output", self.root), plus(self.forms[self.root], {OUTPUT: _ONE}, -1)))

    def _form(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        if op in ("parameter", "input"):
            return {(PARAMETER, arguments[0]) if op == "parameter" else self.inputs[arguments[0]]: _ONE}
        if number in self.broken:
            return {} if op in _PURE else {("value", number): _ONE}
        if op in ("multiply", "divide"):
            a, b = (self._factor(number, k, argument) for k, argument in enumerate(arguments))
            return plus(a, b, 1 if op == "multiply" else -1)
        if op in _ALIKE:
            return self._alike(number, op, arguments[op == "where" :])
        if op in _PURE:
            return {}
        if op.startswith(_TABLE):
            return self._table(number, op, arguments)
        if op == "sqrt":
            return multiple(self._factor(number, 0, arguments[0]), Fraction(1, 2))
        if op == "power" and (power := _fraction(self.graph.value(arguments[1]))) is not None:
            return multiple(self._factor(number, 0, arguments[0]), power)
        if op in ("real", "imag"):
            return self.forms[arguments[0]]
        return self._function(number, op, arguments)

    def _factor(self, number: int, place: int, argument: int) -> Form:
        """The dimension of an operand; that of a number is a symbol of its own."""
        if argument in self.forms:
            return self.forms[argument]
        value, symbol = float(self.graph.value(argument)), ("number", number, place)
        if self.times and abs(value if abs(value) >= 1 else 1 / value if value else 0.0) in OF_TIMES:
            self.converts = True
        elif value != 0 and math.isfinite(value):
            turns = number in self._in_waves and _turns(value)
            (self.turns if turns else self.numbers).append(symbol)
            if number in self._of_parameters and not turns and not self._scales_a_number(number, place):
                self.pure.append((symbol, {symbol: _ONE}))
        return {symbol: _ONE}

    def _scales_a_number(self, number: int, place: int) -> bool:
        """Whether an operand of a product multiplies a sum with a number, as in ``5007 * (1 + z)``.

        Either number may have the unit then: that of a wavelength, or none; that of ``z``.
        """
        op, *arguments = self.graph.nodes[number]
        if op not in ("multiply", "divide"):
            return False
        other, *terms = self.graph.nodes[arguments[1 - place]]
        return other in ("add", "subtract") and any(self.graph.value(term) is not None for term in terms)

    def _alike(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        known = [self.forms[a] for a in arguments if a in self.forms]
        if not known:  # booleans as numbers
            return self._factor(number, 0, arguments[0])
        for place, argument in enumerate(arguments):
            value = self.graph.value(argument)
            if argument not in self.forms and not isinstance(value, bool) and value != 0 and math.isfinite(value):
                symbol = ("number", number, place)
                (self.numbers if abs(value) == 1 else self.addends).append(symbol)
                self.same.append(((*symbol, "of"), plus({symbol: _ONE}, known[0], -1)))
        self.same += [((op, number, k), plus(known[0], other, -1)) for k, other in enumerate(known[1:])]
        bases = self._bases_of_one_power(arguments)
        self.same += [((op, number, k, "base"), plus(bases[0], other, -1)) for k, other in enumerate(bases[1:])]
        return {} if op in _PURE else known[0]

    def _bases_of_one_power(self, arguments: Sequence[int]) -> list[Form]:
        """The bases, if all terms have the same exponent, as in Hill's ``k**n + x**n``: they have one dimension."""
        nodes = [self.graph.nodes[a] for a in arguments]
        alike = {op for op, *_ in nodes} == {"power"} and len({exponent for _, _, exponent in nodes}) == 1
        return [self.forms[base] for _, base, _ in nodes if base in self.forms] if alike else []

    def _table(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        """A table: its values have the unit of the output or of an input, its points have those of inputs."""
        gives, *reads = op.split()[1:]
        for k, (argument, which) in enumerate(zip(arguments, reads, strict=True)):
            if which != "None" and argument in self.forms:
                equation = plus(self.forms[argument], {self.inputs[int(which)]: _ONE}, -1)
                self.same.append(((_TABLE, number, k), equation))
        if gives == "None":
            return {}
        return {OUTPUT if int(gives) < 0 else self.inputs[int(gives)]: _ONE}

    def _function(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        """A function of pure numbers: its value is one too, unless its argument is something else."""
        value = None if op in _WAVES | _ANGLES else ("value", number)
        for argument in arguments:
            of_inputs = argument in self._of_inputs
            if op == "power" and argument == arguments[0] and not of_inputs and value is not None:
                continue  # a scale to a power that cancels elsewhere, as that of Hill's function does
            if argument in self.forms:
                equation = self.forms[argument]
                if op in _WAVES:
                    equation = plus(equation, {ANGLE: _ONE}, -1)
                    self._note_angle(argument)
                self.demands.append(_Demand(number, argument, equation, value, of_inputs))
        return {} if value is None else {value: _ONE}

    def _note_angle(self, argument: int) -> None:
        node = self.graph.nodes[argument]
        node = self.graph.nodes[node[1]] if node[0] == "negative" else node
        if node[0] == "parameter":
            self.angles.add(node[1])


def table_operation(reads: Sequence[int | None], gives: int | None) -> str:
    """The operation of a table: the inputs in whose units its points are, and that of its values (-1: the output)."""
    return " ".join(map(str, (_TABLE, gives, *reads)))


def _turns(value: float) -> bool:
    """Whether a factor turns cycles or degrees into an angle: a simple multiple of pi."""
    exact = Fraction(value / math.pi).limit_denominator(180)
    return exact != 0 and abs(float(exact) * math.pi - value) <= 1e-14 * abs(value)


def _fraction(value: float | None) -> Fraction | None:
    """A fixed exponent as a fraction of small numbers; None if it is no such fraction."""
    if value is None or not math.isfinite(value):
        return None
    exact = Fraction(value).limit_denominator(1000)
    return exact if abs(float(exact) - value) <= 1e-12 * max(abs(value), 1.0) else None
