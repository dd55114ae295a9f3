"""Products of an expression in the order that costs least: factors that are the same for all samples come first.

Derivatives by the chain rule are long products such as ``((f / s^2) * -0.5) * ((x - m) * 2)``, with five operations on
each sample; ``(f * (x - m)) * (-1 / s^2)`` has two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce

from xr_modelfit.tracing.graph import Graph
from xr_modelfit.tracing.symbols import Symbol

__all__ = ["multiplied_early"]


def multiplied_early(roots: Sequence[Symbol], kept: Sequence[Symbol]) -> list[Symbol]:
    """The same expressions, their products in another order; ``kept`` are needed as they are."""
    if not roots:
        return []
    graph = roots[0].graph
    needed = [r.number for r in (*roots, *kept)]
    uses = Counter([*needed, *(a for number in graph.needed(needed) for a in graph.arguments(number))])
    known: dict[int, Symbol] = {}
    varies = graph.depending(graph.of_kind("input"))

    def factors(number: int, sign: int, found: list[tuple[int, int]], top: bool) -> None:
        """The factors of a product and their exponents, +1 or -1."""
        op, *rest = graph.nodes[number]
        if (op in ("multiply", "divide", "negative")) and (top or uses[number] == 1):
            if op == "negative":
                found.append((graph.constant(-1.0), 1))
            factors(rest[0], sign, found, False)
            if op != "negative":
                factors(rest[1], sign if op == "multiply" else -sign, found, False)
        else:
            found.append((number, sign))

    def rebuilt(number: int) -> Symbol:
        if number in known:
            return known[number]
        op, *rest = graph.nodes[number]
        if number not in varies or not graph.arguments(number):
            made = Symbol(graph, number)
        elif op in ("multiply", "divide", "negative"):
            found: list[tuple[int, int]] = []
            factors(number, 1, found, True)
            made = _product(graph, [(rebuilt(n), sign) for n, sign in found], varies)
        else:
            made = Symbol(graph, graph.make(op, *(rebuilt(a).number for a in rest)))
        known[number] = made
        return made

    for number in graph.needed(k.number for k in kept):  # what the value has computed is there already
        known[number] = Symbol(graph, number)
    return [rebuilt(r.number) for r in roots]


def _product(graph: Graph, found: Sequence[tuple[Symbol, int]], varies: set[int]) -> Symbol:
    """``(samples * ...) * (constants * parameters) / samples``."""

    fixed: list[tuple[Symbol, int]] = []
    varying: list[tuple[Symbol, int]] = []
    for symbol, exponent in found:
        (varying if _varies(symbol, varies) else fixed).append((symbol, exponent))
    fixed.sort(key=lambda one: graph.value(one[0].number) is None)  # constants first: they are worked out here

    def product(some: Sequence[tuple[Symbol, int]], sign: int) -> Symbol | None:
        factors = [s for s, exponent in some if exponent == sign]
        return reduce(lambda a, b: a.made("multiply", a, b), factors) if factors else None

    over, under, one = product(fixed, 1), product(fixed, -1), Symbol(graph, graph.constant(1.0))
    factor = one if over is None else over
    factor = factor if under is None else factor.made("divide", factor, under)
    value = product(varying, 1)
    value = factor if value is None else value.made("multiply", value, factor)
    below = product(varying, -1)
    return value if below is None else value.made("divide", value, below)


def _varies(symbol: Symbol, varies: set[int]) -> bool:
    """Whether a node, perhaps a new one, differs from sample to sample."""
    graph, number = symbol.graph, symbol.number
    if number not in varies and any(_varies(Symbol(graph, a), varies) for a in graph.arguments(number)):
        varies.add(number)  # which has all inputs
    return number in varies
