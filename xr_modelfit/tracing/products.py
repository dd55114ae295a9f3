"""Products of an expression in an order that costs least: what no sample changes is multiplied first.

Derivatives by the chain rule are long products, as ``((f / s^2) * -0.5) * ((x - m) * 2)``; in place of five operations
on each sample, ``(f * (x - m)) * (-1 / s^2)`` has two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xr_modelfit.tracing.graph import Graph
from xr_modelfit.tracing.symbols import Symbol

__all__ = ["multiplied_early"]


def multiplied_early(roots: Sequence[Symbol], kept: Sequence[Symbol]) -> list[Symbol]:
    """The same expressions, their products in another order; ``kept`` are needed as they are."""
    if not roots:
        return []
    graph = roots[0].graph
    uses = _uses(graph, [r.number for r in (*roots, *kept)])
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


def _uses(graph: Graph, roots: Sequence[int]) -> Counter[int]:
    """How often each node is needed."""
    uses: Counter[int] = Counter(roots)
    for number in graph.needed(roots):
        uses.update(graph.arguments(number))
    return uses


def _product(graph: Graph, found: Sequence[tuple[Symbol, int]], varies: set[int]) -> Symbol:
    """``(samples * ...) * (constants * parameters) / samples``."""

    def product(some: Sequence[Symbol]) -> Symbol | None:
        total = None
        for one in some:
            total = one if total is None else total.made("multiply", total, one)
        return total

    still: list[tuple[Symbol, int]] = []
    moving: list[tuple[Symbol, int]] = []
    for symbol, exponent in found:
        (moving if _varies(symbol, varies) else still).append((symbol, exponent))
    still.sort(key=lambda one: graph.value(one[0].number) is None)  # constants first: they are worked out here
    over, under = product([s for s, e in still if e > 0]), product([s for s, e in still if e < 0])
    one = Symbol(graph, graph.constant(1.0))
    factor = one if over is None else over
    factor = factor if under is None else factor.made("divide", factor, under)
    value = product([s for s, e in moving if e > 0])
    value = factor if value is None else value.made("multiply", value, factor)
    below = product([s for s, e in moving if e < 0])
    return value if below is None else value.made("divide", value, below)


def _varies(symbol: Symbol, varies: set[int]) -> bool:
    """Whether a node, perhaps a new one, differs from sample to sample."""
    graph = symbol.graph
    if symbol.number in varies:
        return True
    if graph.nodes[symbol.number][0] == "input" or any(
        _varies(Symbol(graph, a), varies) for a in graph.arguments(symbol.number)
    ):
        varies.add(symbol.number)
        return True
    return False
