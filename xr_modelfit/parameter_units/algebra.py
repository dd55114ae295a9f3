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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from xr_modelfit.parameter_units.linear_forms import Form, Symbol, System, consistent, multiple, plus
from xr_modelfit.tracing.graph import TRUTHS, Graph

__all__ = [
    "ANGLE",
    "GIVEN",
    "INPUT",
    "KNOWN",
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
_LIKE_ITS_ARGUMENTS = {"add", "subtract", "minimum", "maximum", "hypot", "negative", "absolute"}
_LIKE_ITS_ARGUMENTS |= {"floor", "ceil", "rint", "trunc", "where"}
_PURE = set(TRUTHS) | {"sign", "arctan2", "pure"}
_ALIKE = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "arctan2"} | _LIKE_ITS_ARGUMENTS
_TABLE = "table"
_WAVES = {"sin", "cos", "tan"}
_ANGLES = {"arcsin", "arccos", "arctan"}
# Days in a year or a month, hours, minutes and seconds: among times, such a factor may be there to change the unit.
_OF_TIMES = {7.0, 24.0, 60.0, 1440.0, 3600.0, 86400.0, 360.0, 365.0, 365.2, 365.24, 365.242, 365.2422, 365.2425}
_OF_TIMES |= {365.24219, 365.242199, 365.25, 366.0, 30.0, 30.4, 30.44, 30.4375, 30.436875, 30.5}


class Contradiction(NamedTuple):
    """What is at odds: an operation, and the dimensions of its two sides."""

    op: str
    sides: tuple[Form, Form]


class _Demand(NamedTuple):
    """A function that takes a pure number: its node, its argument's, the dimension of that, the symbol of its value."""

    node: int
    taken: int
    argument: Form
    value: Symbol | None
    of_inputs: bool  # what it takes does not follow from parameters alone
    angle: bool

    @property
    def equation(self) -> Form:
        """That what it takes is a pure number, or an angle."""
        return plus(self.argument, {ANGLE: _ONE}, -1) if self.angle else self.argument


@dataclass(frozen=True)
class Analysis:
    """What an expression says of its parameters.

    Parameters
    ----------
    dimensions : tuple of Form or None
        Of each parameter by known symbols, None where it is open.
    contradictions : tuple of Contradiction
    angles : frozenset of int
        Parameters that are the argument of a wave by themselves.
    converts : bool
        A factor may be there to change a unit of time, so that what it multiplies is open.
    """

    dimensions: tuple[Form | None, ...]
    contradictions: tuple[Contradiction, ...] = ()
    angles: frozenset[int] = frozenset()
    converts: bool = False


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
    """Dimensions of the parameters of an expression.

    Parameters
    ----------
    graph : Graph
    root : int
        The node of the value.
    n_parameters : int
    inputs : sequence of Symbol
        Of each input; the same for inputs in the same unit.
    is_zero : callable, optional
        Whether a form of known symbols is that of a pure number.
    ties : dict of int to int, optional
        Nodes of the tied parameters.
    preferred : sequence of (int, Form)
        What else is said of parameters, in the order in which it is believed: where it leaves no contradiction.
    times : bool
        An input is a time.
    values_pure : bool
        Functions give pure numbers also of what is no pure number by itself: ``np.exp(-x / 10)``.
    """
    nodes = graph.needed([root, *(ties or {}).values()])
    if graph.value(root) is not None:  # a number, whatever the parameters are
        return Analysis((None,) * n_parameters)
    contradictions: list[Contradiction] = []
    doubtful: set[Symbol] = set()
    broken: set[int] = set()
    while True:
        reading = _Reading(graph, inputs, times, frozenset(broken)).of(nodes, root)
        system, found = consistent(lambda: System(KNOWN, is_zero), reading.pure, reading.same)
        contradictions += [_told(reading, root, names) for names in found]
        doubtful |= _doubtful(reading, root, system, found)
        new = {int(str(name[1])) for names in found for name in names if name[0] in _ALIKE} - broken
        if not new:
            break
        broken |= new  # a sum of what does not go together may be anything
    system = _solved(reading, is_zero, ties or {})
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


def _solved(reading: _Reading, is_zero: Callable[[Form], bool], ties: Mapping[int, int]) -> System:
    """What follows from all equations that contradict none before them."""

    def make() -> System:
        return System(KNOWN, is_zero)

    first = _with_pure_numbers(make, reading, [*reading.pure, *reading.same], frozenset())
    missed = [d for d in reading.demands if not first.add_if_allowed(d.equation)]
    hidden = frozenset(d.node for d in missed)
    # Once more: where a constant of the formula makes a pure number of an input, it has the unit that it takes.
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
    """The system of equations, in which numbers are pure; of numbers that cannot all be, none is."""
    system = make()
    for name, form in certain:
        system.add(form, name)
    numbers = [symbol for symbol in reading.numbers if not _is_made_of(system.left({symbol: _ONE}), hidden)]
    pure = [((*symbol, "pure"), {symbol: _ONE}) for symbol in numbers]
    pure += [((*symbol, "turn"), plus({symbol: _ONE}, {ANGLE: _ONE}, -1)) for symbol in reading.turns]
    return consistent(make, certain, pure)[0]


def _is_made_of(form: Form, values: frozenset[int]) -> bool:
    """Whether a form has the value of one of some functions in it."""
    return any(symbol[0] == "value" and symbol[1] in values for symbol in form)


def _doubtful(reading: _Reading, root: int, system: System, found: Sequence[Sequence[Symbol]]) -> set[Symbol]:
    """The parameters that contradictory equations speak of; where the value is at odds, those that are its terms."""
    names = {name for one in found for name in one}
    symbols = {symbol for name, form in reading.same if name in names for symbol in form}
    if ("output", root) in names:
        value = system.left(reading.forms[root])
        parameters = [symbol for form in reading.forms.values() for symbol in form if symbol[0] == PARAMETER]
        symbols |= {symbol for symbol in parameters if system.left({symbol: _ONE}) == value}
    return symbols


def _told(reading: _Reading, root: int, names: Sequence[Symbol]) -> Contradiction:
    """The last of some equations that are at odds, with what each of its sides is by the others."""
    *others, last = [(name, form) for name, form in reading.same if name in names]
    system = System(KNOWN)
    for name, form in (*reading.pure, *others):
        system.add(form, name)
    if last[0][0] == "output":
        return Contradiction("output", (system.left(reading.forms[root]), {OUTPUT: _ONE}))
    op, *arguments = reading.graph.nodes[int(str(last[0][1]))]
    sides = [system.left(reading.forms[a]) for a in arguments[op == "where" :] if a in reading.forms]
    return Contradiction(op, (sides[0], sides[-1]))


@dataclass
class _Reading:
    """Nodes of an expression read one after the other: dimensions, and equations between them."""

    graph: Graph
    inputs: Sequence[Symbol]
    times: bool
    broken: frozenset[int] = frozenset()
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

    def of(self, nodes: Sequence[int], root: int) -> _Reading:
        """This, with all nodes read."""
        for number in nodes:
            self._read(number)
        self.same.append((("output", root), plus(self.forms[root], {OUTPUT: _ONE}, -1)))
        return self

    def _read(self, number: int) -> None:
        op, *arguments = self.graph.nodes[number]
        if op == "parameter":
            self.forms[number] = {(PARAMETER, arguments[0]): _ONE}
        elif op == "input":
            self.forms[number] = {self.inputs[arguments[0]]: _ONE}
        elif op != "constant":
            self.forms[number] = self._made(number, op, arguments)

    def _made(self, number: int, op: str, arguments: Sequence[int]) -> Form:
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
        if op == "power":
            return self._power(number, *arguments)
        if op in ("real", "imag"):
            return self.forms[arguments[0]]
        return self._function(number, op, arguments)

    def _factor(self, number: int, place: int, argument: int) -> Form:
        """The dimension of an operand; a number's is pure, unless it is one that anything may be multiplied by."""
        if argument in self.forms:
            return self.forms[argument]
        value, symbol = float(self.graph.value(argument)), ("number", number, place)
        if self.times and abs(value if abs(value) >= 1 else 1 / value if value else 0.0) in _OF_TIMES:
            self.converts = True
        elif value != 0 and math.isfinite(value):
            turns = number in self._in_waves and _turns(value)
            (self.turns if turns else self.numbers).append(symbol)
            if number in self._of_parameters and not turns:
                self.pure.append((symbol, {symbol: _ONE}))
        return {symbol: _ONE}

    def _alike(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        known = [self.forms[a] for a in arguments if a in self.forms]
        if not known:  # truths as numbers
            return self._factor(number, 0, arguments[0])
        for place, argument in enumerate(arguments):
            if argument not in self.forms and self._is_number(argument):
                symbol = ("number", number, place)
                (self.numbers if abs(self.graph.value(argument)) == 1 else self.addends).append(symbol)
                self.same.append(((*symbol, "of"), plus({symbol: _ONE}, known[0], -1)))
        self.same += [((op, number, k), plus(known[0], other, -1)) for k, other in enumerate(known[1:])]
        bases = self._bases_of_one_power(arguments)
        self.same += [((op, number, k, "base"), plus(bases[0], other, -1)) for k, other in enumerate(bases[1:])]
        return {} if op in _PURE else known[0]

    def _bases_of_one_power(self, arguments: Sequence[int]) -> list[Form]:
        """What is raised to the same parameter in all terms, as in Hill's ``k**n + x**n``: it has one dimension."""
        nodes = [self.graph.nodes[a] for a in arguments]
        alike = {op for op, *_ in nodes} == {"power"} and len({exponent for _, _, exponent in nodes}) == 1
        return [self.forms[base] for _, base, _ in nodes if base in self.forms] if alike else []

    def _is_number(self, argument: int) -> bool:
        value = self.graph.value(argument)
        return not isinstance(value, bool) and value != 0 and math.isfinite(value)

    def _table(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        """A table: its values have the unit of the output or of an input, and its points those of inputs."""
        gives, *reads = op.split()[1:]
        for k, (argument, which) in enumerate(zip(arguments, reads, strict=True)):
            if which != "None" and argument in self.forms:
                equation = plus(self.forms[argument], {self.inputs[int(which)]: _ONE}, -1)
                self.same.append(((_TABLE, number, k), equation))
        if gives == "None":
            return {}
        return {OUTPUT if int(gives) < 0 else self.inputs[int(gives)]: _ONE}

    def _power(self, number: int, base: int, exponent: int) -> Form:
        value = self.graph.value(exponent)
        if value is not None and (exact := _fraction(float(value))) is not None:
            return multiple(self._factor(number, 0, base), exact)
        return self._function(number, "power", [base, exponent])

    def _function(self, number: int, op: str, arguments: Sequence[int]) -> Form:
        """One that takes pure numbers: its value is one too, unless it takes something else."""
        value = None if op in _WAVES | _ANGLES else ("value", number)
        for argument in arguments:
            of_inputs = argument in self._of_inputs
            if op == "power" and argument == arguments[0] and not of_inputs and value is not None:
                continue  # a scale to a power that cancels elsewhere, as that of Hill's function does
            if argument in self.forms:
                self.demands.append(_Demand(number, argument, self.forms[argument], value, of_inputs, op in _WAVES))
                if op in _WAVES:
                    self._note_angle(argument)
        return {} if value is None else {value: _ONE}

    def _note_angle(self, argument: int) -> None:
        node = self.graph.nodes[argument]
        node = self.graph.nodes[node[1]] if node[0] == "negative" else node
        if node[0] == "parameter":
            self.angles.add(node[1])


def table_operation(reads: Sequence[int | None], gives: int | None) -> str:
    """The operation of a table whose points are in the units of inputs, and its values too, or in the output's (-1)."""
    return " ".join(map(str, (_TABLE, gives, *reads)))


def _turns(value: float) -> bool:
    """Whether a factor makes an angle of cycles, or of degrees: a simple multiple of pi."""
    exact = Fraction(value / math.pi).limit_denominator(180)
    return exact != 0 and abs(float(exact) * math.pi - value) <= 1e-14 * abs(value)


def _fraction(value: float) -> Fraction | None:
    """A fixed exponent as a fraction of small numbers; None where it is none."""
    if not math.isfinite(value):
        return None
    exact = Fraction(value).limit_denominator(1000)
    return exact if abs(float(exact) - value) <= 1e-12 * max(abs(value), 1.0) else None
