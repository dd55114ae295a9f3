"""The source of compiled functions, written from the expression of a model.

``sums`` runs over the samples of one fit once, and needs no memory but for its result. ``columns`` fills values and
Jacobian, in pieces of `PIECE` samples so that the inner loop has a fixed length and no remainder. ``tied`` computes
tied parameters. What no sample changes is computed before the loops.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xr_modelfit.compiled.symbols import CannotTrace, Graph, Symbol
from xr_modelfit.compiled.tracing import traced
from xr_modelfit.problem import Problem

__all__ = ["LANES", "LEFT", "PIECE", "ROWS", "SLOW", "is_slow", "written"]

PIECE, LANES = 32, 8  # samples: four of the widest vectors, and one
ROWS = 17  # vectors of the free parameters; see `xr_modelfit.compiled.algebra`
LEFT = 100  # status of a fit that the other engine has to do
# Functions of the system, which keep a loop from running in vectors: NumPy's own are faster.
SLOW = (
    "expm1", "log1p", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "arctan2",
)  # fmt: skip
_MOST_AT_ONCE = 11  # rows of which all products are summed in one loop
_MOST_NODES = 3000  # beyond this, compiling takes too long
_HIGHEST = 16  # power that is multiplied out

_FORMS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_and": "{} & {}",
    "logical_or": "{} | {}",
    "logical_not": "not {}",
    "negative": "-{}",
    "absolute": "abs({})",
    "where": "choose({0}, {1}, {2})",
    "minimum": "choose(({0} <= {1}) | ({0} != {0}), {0}, {1})",
    "maximum": "choose(({0} >= {1}) | ({0} != {0}), {0}, {1})",
    "isnan": "{0} != {0}",
    "isfinite": "{0} - {0} == 0.0",
}


def written(problem: Problem) -> str:
    """The source of ``sums``, ``columns`` and, where there are ties, ``tied`` for a model.

    The same text for the same model.

    Raises
    ------
    CannotTrace
        The model, or a tie, does something that is no expression of single samples.
    """
    found = traced(problem)
    graph, K, n_inputs = found.graph, problem.n_parameters, problem.model.n_inputs
    if len(graph.nodes) > _MOST_NODES:
        raise CannotTrace(f"an expression of {len(graph.nodes)} nodes")
    columns = [found.value, *found.slopes]
    lines = [*_sums(graph, columns, K, n_inputs), "", *_columns(graph, columns, K, n_inputs), ""]
    if found.tied:
        lines += [*_tied(problem, graph, found.tied), ""]
    return "\n".join(lines)


def is_slow(source: str) -> bool:
    """Whether the source calls functions that keep its loops from running in vectors."""
    return any(f" {name}(" in source for name in SLOW)


def _sums(graph: Graph, roots: Sequence[Symbol], K: int, n_inputs: int) -> list[str]:
    """``sums``: the lower triangle of ``(r, J)' (r, J)``, (1 + k, 1 + k), in one run over the samples.

    The rows of D (n_inputs + 2, stride) are inputs, data and weights.
    """
    before, inside = _split(graph, roots, "at")
    rows = len(roots)
    if rows > _MOST_AT_ONCE:
        return _sums_by_pieces(graph, roots, K, n_inputs)
    pairs = [(a, b) for a in range(rows) for b in range(a + 1)]
    weighed = [f"r0 = (D[{n_inputs}, at] - {_name(graph, roots[0].number)}) * w"]
    weighed += [f"r{m} = {_name(graph, root.number)} * w" for m, root in enumerate(roots) if m > 0]
    return [
        "def sums(lanes, stride, pD, pP, pS):",
        f"    D = carray(pD, ({n_inputs + 2}, stride))",
        f"    P = carray(pP, {max(K, 1)})",
        f"    S = carray(pS, ({rows}, {rows}))",
        *before,
        *(f"    s{a}_{b} = 0.0" for a, b in pairs),
        f"    for at in range(lanes * {LANES}):",
        *inside,
        f"        w = D[{n_inputs + 1}, at]",
        *(f"        {line}" for line in weighed),
        *(f"        s{a}_{b} += r{a} * r{b}" for a, b in pairs),
        *(f"    S[{a}, {b}] = s{a}_{b}" for a, b in pairs),
    ]


def _sums_by_pieces(graph: Graph, roots: Sequence[Symbol], K: int, n_inputs: int) -> list[str]:
    """The same for many parameters: sums of all pairs in one loop would take long to compile.

    The weighted residual and Jacobian of a piece lie behind S, in `PIECE` further rows.
    """
    before, inside = _split(graph, roots, f"piece * {PIECE} + i")
    rows = len(roots)
    behind = rows * rows
    return [
        "def sums(lanes, stride, pD, pP, pS):",
        f"    D = carray(pD, ({n_inputs + 2}, stride))",
        f"    P = carray(pP, {max(K, 1)})",
        f"    S = carray(pS, {(rows + PIECE) * rows})",
        *before,
        f"    for at in range({behind}):",
        "        S[at] = 0.0",
        f"    for piece in range((lanes * {LANES} + {PIECE - 1}) // {PIECE}):",
        f"        for i in range({PIECE}):",
        *(f"    {line}" for line in inside),
        f"            w = D[{n_inputs + 1}, piece * {PIECE} + i]",
        f"            S[{behind} + i] = (D[{n_inputs}, piece * {PIECE} + i] - {_name(graph, roots[0].number)}) * w",
        *(
            f"            S[{behind + m * PIECE} + i] = {_name(graph, root.number)} * w"
            for m, root in enumerate(roots)
            if m > 0
        ),
        f"        for a in range({rows}):",
        "            for b in range(a + 1):",
        "                total = 0.0",
        f"                for i in range({PIECE}):",
        f"                    total += S[{behind} + a * {PIECE} + i] * S[{behind} + b * {PIECE} + i]",
        f"                S[a * {rows} + b] += total",
    ]


def _columns(graph: Graph, roots: Sequence[Symbol], K: int, n_inputs: int) -> list[str]:
    """``columns``: values and Jacobian into J (pieces, 1 + k, PIECE).

    The inner loop has a fixed length, so that the compiler sees that the rows do not overlap.
    """
    before, inside = _split(graph, roots, f"piece * {PIECE} + i")
    return [
        "def columns(pieces, stride, pD, pP, pJ):",
        f"    D = carray(pD, ({n_inputs + 2}, stride))",
        f"    P = carray(pP, {max(K, 1)})",
        f"    J = carray(pJ, (pieces, {len(roots)}, {PIECE}))",
        *before,
        "    for piece in range(pieces):",
        f"        for i in range({PIECE}):",
        *(f"    {line}" for line in inside),
        *(f"            J[piece, {row}, i] = {_name(graph, r.number)}" for row, r in enumerate(roots)),
    ]


def _split(graph: Graph, roots: Sequence[Symbol], at: str) -> tuple[list[str], list[str]]:
    """Lines for what no sample changes, and lines for the loop over samples."""
    needed, changing = graph.needed(r.number for r in roots), graph.depending(graph.of_kind("input"))
    before = _lines(graph, (n for n in needed if n not in changing), "    ", at)
    return before, _lines(graph, (n for n in needed if n in changing), " " * 8, at)


def _tied(problem: Problem, graph: Graph, values: Sequence[Symbol]) -> list[str]:
    """``tied``: tied parameters put into P (K,)."""
    where = np.flatnonzero(problem.tied).tolist()
    return [
        "def tied(pP):",
        f"    P = carray(pP, {problem.n_parameters})",
        *_lines(graph, graph.needed(v.number for v in values), "    "),
        *(f"    P[{j}] = {_name(graph, value.number)}" for j, value in zip(where, values, strict=True)),
    ]


def _lines(graph: Graph, numbers: Iterable[int], indent: str, at: str = "") -> list[str]:
    return [f"{indent}v{n} = {_expression(graph, n, at)}" for n in numbers if graph.nodes[n][0] != "constant"]


def _name(graph: Graph, number: int) -> str:
    node = graph.nodes[number]
    if node[0] != "constant":
        return f"v{number}"
    text = repr(node[1])
    return f"float('{text}')" if text.strip("-") in ("inf", "nan") else text if text[0] != "-" else f"({text})"


def _expression(graph: Graph, number: int, at: str) -> str:
    op, *rest = graph.nodes[number]
    if op == "input":
        return f"D[{rest[0]}, {at}]"
    if op == "parameter":
        return f"P[{rest[0]}]"
    arguments = [_name(graph, a) for a in rest]
    if op == "power" and (text := _multiplied_out(arguments[0], graph.value(rest[1]))):
        return text
    return _FORMS[op].format(*arguments) if op in _FORMS else f"{op}({', '.join(arguments)})"


def _multiplied_out(base: str, exponent: Any) -> str:
    """A power by multiplications, as compilers do not write it of themselves; nothing where it needs ``power``."""
    if exponent == 0.5:
        return f"sqrt({base})"
    if exponent is None or exponent != int(exponent) or not 0 < abs(exponent) <= _HIGHEST:
        return ""
    product = _product(base, int(abs(exponent)))
    return product if exponent > 0 else f"1.0 / ({product})"


def _product(base: str, n: int) -> str:
    half = base if n < 4 else f"({_product(base, n // 2)})"
    if n < 4:
        return " * ".join([base] * n)
    return f"{half} * {half}" + (f" * {base}" if n % 2 else "")
