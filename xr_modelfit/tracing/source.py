"""The source of compiled functions, written from the expression of a model.

They take `LANES` fits side by side: what they read and write are numbers of `fitters.compiled.vectors`, and every
array has the fits as its last axis. ``sums`` runs over the samples once, piece by piece. ``columns`` fills values and
Jacobian. ``tied`` computes tied parameters. What no sample changes is computed before the loops.

Where samples are made of values at nodes (`models.sampling`), the rows of D are as long as there are nodes. Behind
inputs, data and weights come the weights of nodes, and room for values and Jacobian at the nodes, of two places.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from xr_modelfit.models.sampling import Sampling
from xr_modelfit.tracing.graph import CannotTrace, Graph
from xr_modelfit.tracing.symbols import Symbol
from xr_modelfit.tracing.tracing import Traced

__all__ = ["LANES", "LEFT", "PIECE", "ROWS", "SCALARS", "SLOW", "is_slow", "rows_of_nodes", "with_noise", "written"]

LANES = 8  # fits side by side: the widest vector of float64 that processors have
PIECE = 32  # samples that are taken at a time where rows are kept
ROWS = 21  # vectors of the free parameters; see `fitters.compiled.algebra`
SCALARS = 11  # single numbers of each fit; see `fitters.compiled.levenberg`
LEFT = 100  # status of a fit that the other engine has to do
# Functions of the system, one fit at a time: NumPy's own are faster.
SLOW = (
    "expm1", "log1p", "arcsin", "arccos", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "arctan2",
)  # fmt: skip
_MOST_AT_ONCE = 11  # rows of which all products are written out
_IN_REGISTERS = 5  # sums that fit into 16 registers, in two halves, with what they are made of
_MOST_NODES = 3000  # beyond this, compiling takes too long
_HIGHEST = 16  # power that is multiplied out

_RESIDUAL = "(y - f) * w"
_OF_SAMPLE = re.compile(r"(?P<begin> +)(?P<name>[yw]) = load_from\(pD, (?P<row>\d+) \* stride \+ at\)")
_OF_TWO_WEIGHTS = ("two_sided", "limits")  # kinds of noise; see `fitters.noise`

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
    "real": "{}[0]",
    "imag": "{}[1]",
}


def written(found: Traced, sampling: Sampling | None = None) -> str:
    """The source of ``sums``, ``columns`` and, where there are ties, ``tied``: the same text for the same model.

    With ``sampling``, samples are made of values at nodes. Raises `CannotTrace` if the expression is too long.
    """
    graph = found.graph
    if len(graph.nodes) > _MOST_NODES:
        raise CannotTrace(f"an expression of {len(graph.nodes)} nodes")
    columns = [found.value, *found.slopes]
    nodes = None if sampling is None else _Nodes(sampling, found.n_inputs, len(columns))
    lines = [*_sums(graph, columns, found.n_inputs, nodes), "", *_columns(graph, columns, nodes), ""]
    if found.tied:
        lines += [*_tied(graph, found.tied), ""]
    return "\n".join(lines)


@lru_cache(64)
def with_noise(source: str, noise: str) -> str:
    """The source of the same model for samples of other noise: ``sums`` then sums what `fitters.noise` says.

    The residual and the weight of the slopes are the working ones, and the costs add up by themselves. Where samples
    have a second weight, that is one more row of D behind the inputs.
    """
    if noise == "linear":
        return source
    two, lines = noise in _OF_TWO_WEIGHTS, []
    for line in source.splitlines():
        if two and (found := _OF_SAMPLE.fullmatch(line)):
            begin, row = found["begin"], int(found["row"])
            lines.append(f"{begin}{found['name']} = load_from(pD, {row + 1} * stride + at)")
            lines += [f"{begin}above = load_from(pD, {row} * stride + at)"] * (found["name"] == "y")
            continue
        indent = line[: len(line) - len(line.lstrip())]
        if line.startswith("def columns("):
            lines += ["    save_to(pS, 0, chi2)", ""]
        if line.endswith((f" = {_RESIDUAL}", f"{_RESIDUAL})")):
            given = "y, f, w, above" if two else "y, f, w"
            lines += [f"{indent}cost, r0, w = {noise}_noise({given})", f"{indent}chi2 += cost"]
        else:
            lines.append(line)
        if line.startswith("def sums("):
            lines.append("    chi2 = zero()")
    return "\n".join(lines) + "\n"


def rows_of_nodes(sampling: Sampling | None, rows: int) -> tuple[int, int]:
    """Rows of D that weights of nodes take, and those for values and Jacobian (``rows`` of them) at the nodes."""
    if sampling is None:
        return 0, 0
    return -(-sampling.n_weights // max(sampling.n_nodes, 1)), 2 * rows


class _Nodes:
    """Lines of source for samples that are made of ``rows`` values each at nodes."""

    def __init__(self, sampling: Sampling, n_inputs: int, rows: int) -> None:
        self.sampling, self.rows = sampling, rows
        self.first = n_inputs + 2  # row of D
        self.values = self.first + rows_of_nodes(sampling, rows)[0]

    def evaluated(
        self, graph: Graph, roots: Sequence[Symbol], inside: list[str], region: str, n: str = "stride"
    ) -> list[str]:
        """Values and Jacobian at all nodes, or at the first ``n``, put into a region of D."""
        place = f"({self.values} + {region} * {self.rows} + {{}}) * stride + at"
        saved = [f"        save_to(pD, {place.format(m)}, {_name(graph, root.number)})" for m, root in enumerate(roots)]
        return [f"    for at in range({n}):", *inside, *saved]

    @property
    def of_samples(self) -> str:
        """The number of nodes that ``n`` samples have."""
        return f"n * {self.sampling.span}" if self.sampling.disjoint else "stride"

    def summed(self, region: str) -> list[str]:
        """Sums ``c0``, ``c1``, ... over the nodes of a sample."""
        each = self.sampling.rows > 1
        # Written so, the source is the same for any number of samples.
        rows = f"(stride - {self.sampling.span - 1})" if each and self.sampling.step == 1 else str(self.sampling.rows)
        weight = f"{self.first} * stride + s * {rows}" + (" + at" if each else "")
        node = f"({self.values} + {region} * {self.rows} + {{}}) * stride + at * {self.sampling.step} + s"
        return [
            *(f"        c{m} = zero()" for m in range(self.rows)),
            f"        for s in range({self.sampling.span}):",
            f"            weight = load_from(pD, {weight})",
            *(f"            c{m} += weight * load_from(pD, {node.format(m)})" for m in range(self.rows)),
        ]


def is_slow(source: str) -> bool:
    """Whether the source calls functions of the system, which do one fit at a time."""
    return any(f" {name}(" in source for name in SLOW)


def _sums(graph: Graph, roots: Sequence[Symbol], n_inputs: int, nodes: _Nodes | None) -> list[str]:
    """``sums``: the lower triangle of ``(r, J)' (r, J)``, (1 + k, 1 + k), in one run over the samples.

    The rows of D (n_inputs + 2, stride) are inputs, data and weights. The weighted residual and Jacobian of a piece lie
    behind S, in `PIECE` further rows.
    """
    before, inside = _split(graph, roots)
    rows = len(roots)
    behind = rows * rows
    pairs = [(a, b) for a in range(rows) for b in range(a + 1)]
    if rows > _MOST_AT_ONCE:
        products = _products_of_many(rows)
    else:
        products = [
            line
            for first in range(0, len(pairs), _IN_REGISTERS)
            for line in _products(pairs[first : first + _IN_REGISTERS], rows)
        ]
    at_nodes = [] if nodes is None else nodes.evaluated(graph, roots, inside, "0", nodes.of_samples)
    inside = inside if nodes is None else nodes.summed("0")
    return [
        "def sums(n, stride, pD, pP, pS):",
        *before,
        f"    for i in range({behind}):",
        "        save_to(pS, i, 0.0)",
        *at_nodes,
        f"    for start in range(0, n, {PIECE}):",
        f"        size = min({PIECE}, n - start)",
        "        for i in range(size):",
        "            at = start + i",
        *_indented(inside),
        *_indented(_weighed(graph, roots, n_inputs, nodes)),
        *(f"            save_to(pS, {behind + m * PIECE} + i, r{m})" for m in range(rows)),
        *products,
    ]


def _products(pairs: Sequence[tuple[int, int]], rows: int) -> list[str]:
    """Sums of the products of some pairs of rows over a piece, which the registers hold all at once."""
    behind = rows * rows
    return [
        *(f"        s{a}_{b} = zero()" for a, b in pairs),
        "        for i in range(size):",
        *(f"            r{a} = load_from(pS, {behind + a * PIECE} + i)" for a in sorted({a for p in pairs for a in p})),
        *(f"            s{a}_{b} += r{a} * r{b}" for a, b in pairs),
        *(
            f"        save_to(pS, {a * rows + b}, load_from(pS, {a * rows + b}) + s{a}_{b})"
            for a, b in pairs
        ),
    ]  # fmt: skip


def _products_of_many(rows: int) -> list[str]:
    """The same for all pairs of many rows: to write them all out would take long to compile."""
    behind = rows * rows
    return [
        f"        for a in range({rows}):",
        "            for b in range(a + 1):",
        "                total = zero()",
        "                for i in range(size):",
        f"                    one = load_from(pS, {behind} + a * {PIECE} + i)",
        f"                    total += one * load_from(pS, {behind} + b * {PIECE} + i)",
        f"                save_to(pS, a * {rows} + b, load_from(pS, a * {rows} + b) + total)",
    ]


def _weighed(graph: Graph, roots: Sequence[Symbol], n_inputs: int, nodes: _Nodes | None) -> list[str]:
    """Weighted residual and Jacobian at a sample."""
    indent = " " * 8
    value, *slopes = [f"c{m}" if nodes else _name(graph, root.number) for m, root in enumerate(roots)]
    residual = _RESIDUAL
    slopes = [f"{slope} * w" for slope in slopes]
    if nodes is not None:  # where a sample is left out, it may be anything
        residual, *slopes = [f"choose(w == 0.0, 0.0, {text})" for text in (residual, *slopes)]
    return [
        f"{indent}y = load_from(pD, {n_inputs} * stride + at)",
        f"{indent}w = load_from(pD, {n_inputs + 1} * stride + at)",
        f"{indent}f = {value}",
        *(f"{indent}r{m} = {text}" for m, text in enumerate([residual, *slopes])),
    ]


def _columns(graph: Graph, roots: Sequence[Symbol], nodes: _Nodes | None) -> list[str]:
    """``columns``: values and Jacobian of ``n`` samples from ``start`` on into J (n, 1 + k).

    Nodes are evaluated with the first sample, and kept in a region of D.
    """
    before, inside = _split(graph, roots)
    rows = len(roots)
    at_nodes: list[str] = []
    names = [_name(graph, root.number) for root in roots]
    if nodes is not None:
        at_nodes = ["    if start == 0:", *_indented(nodes.evaluated(graph, roots, inside, "region"))]
        inside, names = nodes.summed("region"), [f"c{m}" for m in range(rows)]
    return [
        "def columns(start, n, stride, region, pD, pP, pJ):",
        *before,
        *at_nodes,
        "    for i in range(n):",
        "        at = start + i",
        *inside,
        *(f"        save_to(pJ, i * {rows} + {row}, {name})" for row, name in enumerate(names)),
    ]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _split(graph: Graph, roots: Sequence[Symbol]) -> tuple[list[str], list[str]]:
    """Lines for what no sample changes, and lines for the loop over samples."""
    needed, changing = graph.needed(r.number for r in roots), graph.depending(graph.of_kind("input"))
    before = _lines(graph, (n for n in needed if n not in changing), "    ")
    return before, _lines(graph, (n for n in needed if n in changing), " " * 8)


def _tied(graph: Graph, values: Mapping[int, Symbol]) -> list[str]:
    """``tied``: tied parameters put into P (K,)."""
    return [
        "def tied(pP):",
        *_lines(graph, graph.needed(v.number for v in values.values()), "    "),
        *(f"    save_to(pP, {j}, {_name(graph, value.number)})" for j, value in values.items()),
    ]


def _lines(graph: Graph, numbers: Iterable[int], indent: str) -> list[str]:
    return [f"{indent}v{n} = {_expression(graph, n)}" for n in numbers if graph.nodes[n][0] != "constant"]


def _name(graph: Graph, number: int) -> str:
    node = graph.nodes[number]
    if node[0] != "constant":
        return f"v{number}"
    text = repr(node[1])
    return f"float('{text}')" if text.strip("-") in ("inf", "nan") else text if text[0] != "-" else f"({text})"


def _expression(graph: Graph, number: int) -> str:
    op, *rest = graph.nodes[number]
    if op == "input":
        return f"load_from(pD, {rest[0]} * stride + at)"
    if op == "parameter":
        return f"load_from(pP, {rest[0]})"
    arguments = [_name(graph, a) for a in rest]
    if op == "power" and (text := _multiplied_out(arguments[0], graph.value(rest[1]))):
        return text
    return _FORMS[op].format(*arguments) if op in _FORMS else f"{op}({', '.join(arguments)})"


def _multiplied_out(base: str, exponent: Any) -> str:
    """A power by multiplications, which compilers do not write themselves; empty where it needs ``power``."""
    if exponent == 0.5:
        return f"sqrt({base})"
    if exponent is None or exponent != int(exponent) or not 0 < abs(exponent) <= _HIGHEST:
        return ""
    product = _product(base, int(abs(exponent)))
    return product if exponent > 0 else f"1.0 / ({product})"


def _product(base: str, n: int) -> str:
    if n < 4:
        return " * ".join([base] * n)
    half = f"({_product(base, n // 2)})"
    return f"{half} * {half}" + (f" * {base}" if n % 2 else "")
