"""Which parameters are places along an input, which are widths, and which are levels of the output.

If an input and all places along it move by the same step, and widths stay, the value stays. A level moves the value by
its own step. The step of each node of an expression is a linear form of the steps of its leaves, or must be zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction

from xr_modelfit.parameter_units.linear_forms import Form, Symbol, System, multiple, plus
from xr_modelfit.tracing.graph import BOOLEANS, Graph

__all__ = ["levels", "places"]

_ONE = Fraction(1)
_STEP: Symbol = ("step",)
_ALIKE = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "minimum", "maximum", "where"}


def places(graph: Graph, root: int, candidates: Mapping[int, Collection[int]]) -> dict[int, int | None]:
    """The input that each place is along, and None for widths; each term of a sum is looked at alone.

    ``candidates`` has, by input, the parameters of its dimension. A parameter that is neither is left out.
    """
    found: dict[int, set[int | None]] = {}
    for term in _terms(graph, root):
        needed = graph.needed([term])
        here = {graph.nodes[n][1] for n in needed if graph.nodes[n][0] == "parameter"}
        read = [i for i in candidates if any(graph.nodes[n] == ("input", i) for n in needed)]
        for j, one in _places_in_term(graph, term, {i: [j for j in candidates[i] if j in here] for i in read}).items():
            found.setdefault(j, set()).add(one)
    return {j: next(iter(one)) for j, one in found.items() if len(one) == 1}


def _places_in_term(graph: Graph, term: int, candidates: Mapping[int, Sequence[int]]) -> dict[int, int | None]:
    along: dict[int, list[int]] = {}
    still: dict[int, bool] = {}
    for i, ours in candidates.items():
        system = _moving(graph, term, {("input", i): {_STEP: _ONE}, **_free(ours)}, {})
        for j in ours:
            step = None if system is None else system.value(("parameter", j))
            still[j] = still.get(j, True) and step == {}
            if step == {_STEP: _ONE}:
                along.setdefault(j, []).append(i)
    alone: dict[int, int | None] = {j: inputs[0] for j, inputs in along.items() if len(inputs) == 1}
    return {j: None for j, one in still.items() if one} | alone


def levels(graph: Graph, root: int, candidates: Collection[int]) -> dict[int, bool] | None:
    """Whether each of the parameters is a level of the output; None unless exactly one could be."""
    system = _moving(graph, root, _free(candidates), {_STEP: _ONE})
    steps = {} if system is None else {j: system.value(("parameter", j)) for j in candidates}
    if list(steps.values()).count({_STEP: _ONE}) != 1 or None in steps.values():
        return None
    return {j: step == {_STEP: _ONE} for j, step in steps.items()}


def _free(parameters: Collection[int]) -> dict[tuple[str, int], Form]:
    return {("parameter", j): {("parameter", j): _ONE} for j in parameters}


def _terms(graph: Graph, root: int) -> Iterator[int]:
    """The terms of a sum."""
    left = [root]
    while left:
        number = left.pop()
        if graph.nodes[number][0] in ("add", "subtract", "negative"):
            left += graph.arguments(number)
        else:
            yield number


def _moving(graph: Graph, root: int, steps: Mapping[tuple[str, int], Form], demanded: Form) -> System | None:
    """Steps of parameters that move a node as demanded; None if there are none. Leaves not in ``steps`` stay."""
    system = System(_STEP)
    moved: dict[int, Form] = {}
    for number in graph.needed([root]):
        op, *arguments = graph.nodes[number]
        if not graph.arguments(number):
            moved[number] = steps.get((op, arguments[0]), {})
            continue
        moved[number], still = _moved(graph, op, arguments, moved)
        if not all(system.add_if_allowed(form) for form in still):
            return None
    return system if system.add_if_allowed(plus(moved[root], demanded, -1)) else None


def _moved(graph: Graph, op: str, arguments: Sequence[int], moved: Mapping[int, Form]) -> tuple[Form, list[Form]]:
    """The step of a node, and what must be 0 for that."""
    parts = [moved[a] for a in arguments]
    if op in ("add", "subtract"):
        return plus(parts[0], parts[1], 1 if op == "add" else -1), []
    if op == "negative":
        return multiple(parts[0], -1), []
    factor = graph.value(arguments[-1])
    if op in ("multiply", "divide") and factor:
        exact = Fraction(float(factor))
        return multiple(parts[0], exact if op == "multiply" else 1 / exact), []
    if op in _ALIKE:
        first, *others = parts[op == "where" :]
        return {} if op in BOOLEANS else first, [plus(first, other, -1) for other in others]
    return {}, parts
