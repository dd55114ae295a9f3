"""Values and derivatives of a model for many fits at once, by NumPy, from its traced expression.

The derivatives are exact even where the model's own are wrong or missing, and take fewer passes over the samples than
the methods of `analysis.atoms`; exponentials and whatever else they share with the values are computed once.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xr_modelfit.models.problem import as_rows
from xr_modelfit.tracing.graph import PARTS, SPECIAL, CannotTrace, Graph
from xr_modelfit.tracing.tracing import Traced

__all__ = ["Sources", "array_sources", "columns_of", "values_of"]

Sources = tuple[str, str]  # of the values, and of the derivatives

_MOST_NODES = 400  # beyond this, so many passes cost more than they save
_FUNCTIONS: dict[str, Callable[..., Any]] = {}
_HIGHEST = 4  # power that is multiplied out


def array_sources(found: Traced) -> Sources:
    """Sources of the value and of the derivatives by the free parameters; `CannotTrace` if they are too long."""
    graph = found.graph
    if len(graph.nodes) > _MOST_NODES:
        raise CannotTrace(f"an expression of {len(graph.nodes)} nodes")
    full = graph.depending(graph.of_kind("input")) & graph.depending(graph.of_kind("parameter"))  # of shape (n, b)
    slopes = [s.number for s in found.slopes]
    computed = set(graph.needed([found.value.number]))
    anew = set(graph.needed(slopes)) - computed
    read = {a for number in anew for a in graph.arguments(number)} | set(slopes)
    shared = sorted(read & computed & full)
    values = _source(graph, [found.value.number, *shared], full)
    return values, _source(graph, slopes, full, shared)


def values_of(sources: Sources, inputs: Sequence[np.ndarray], P: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Values (n, b), and the arrays that they share with the derivatives there; arguments as in `columns_of`."""
    value, *shared = _function(sources[0])(inputs, as_rows(P), [])
    return _column(value, inputs, P), shared


def columns_of(
    sources: Sources,
    inputs: Sequence[np.ndarray],
    P: np.ndarray,
    shared: list[np.ndarray] | None = None,
    w: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Derivatives, (n, b) each, from inputs (n, 1) or (n, b) and parameters (K, b); times weights (n, b), if given.

    ``shared`` comes from `values_of` at the same parameters, and is written to.
    """
    if shared is None:
        _, shared = values_of(sources, inputs, P)
    columns = [_column(c, inputs, P) for c in _function(sources[1])(inputs, as_rows(P), shared)]
    return columns if w is None else _weighted(columns, w, inputs)


def _weighted(columns: Sequence[np.ndarray], w: np.ndarray, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Columns times weights, in the memory of a column unless others use it: a new array would be slower."""
    counted = Counter(map(id, [*given, *columns]))  # a column may be an input, or stand for two parameters
    alone = [c.flags.owndata and c.flags.writeable and counted[id(c)] == 1 for c in columns]
    return [np.multiply(c, w, out=c if own else None) for c, own in zip(columns, alone, strict=True)]


def _column(c: Any, inputs: Sequence[np.ndarray], P: np.ndarray) -> np.ndarray:
    shape = (inputs[0].shape[0], P.shape[1])
    c = np.asarray(c, dtype=float)
    return c if c.shape == shape else np.broadcast_to(c, shape)


def _function(source: str) -> Callable[..., Any]:
    if source not in _FUNCTIONS:
        known: dict[str, Any] = {"np": np} | _OWN
        if "special." in source:
            from scipy import special  # takes long to import, and few models need it

            known["special"] = special
        exec(source, known)
        _FUNCTIONS[source] = known["columns"]
    return _FUNCTIONS[source]


def _wofz(x: Any, y: Any) -> Any:
    from scipy import special

    z = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype=complex)
    z.real, z.imag = x, y  # x + 1j * y is NaN where y is infinite
    return special.wofz(z)


def _gamma_median(a: Any) -> Any:
    from scipy import special

    return special.gammaincinv(a, 0.5)


def _gamma_median_slope(a: Any) -> Any:
    """Its derivative, by those of ``P(a, x) = 1/2``: that to ``a`` from differences of sixth order."""
    from scipy import special

    x, h = special.gammaincinv(a, 0.5), 0.01 * a / np.sqrt(1.0 + a)  # of the width of the distribution
    first, second, third = (special.gammainc(a + m * h, x) - special.gammainc(a - m * h, x) for m in (1, 2, 3))
    density = np.exp((a - 1.0) * np.log(x) - x - special.gammaln(a))
    return -(45.0 * first - 9.0 * second + third) / (60.0 * h) / density


_OWN = {"wofz": _wofz, "gamma_median": _gamma_median, "gamma_median_slope": _gamma_median_slope}


def _source(graph: Graph, roots: Sequence[int], full: set[int], given: Sequence[int] = ()) -> str:
    """The source of ``columns(x, P, given)``: of nodes, from inputs, parameters and some nodes that are known."""
    order = graph.needed(roots, given)
    last = {a: n for n in order for a in graph.arguments(n)} | dict.fromkeys(roots, -1)
    lines = [f"    v{n} = given[{i}]" for i, n in enumerate(given)]
    lines += [f"    v{n} = {_line(graph, n, last, full)}" for n in order if graph.nodes[n][0] != "constant"]
    names = ", ".join(_name(graph, n) for n in roots)
    return "\n".join(["def columns(x, P, given):", *lines, f"    return [{names}]", ""])


def _name(graph: Graph, number: int) -> str:
    node = graph.nodes[number]
    if node[0] != "constant":
        return f"v{number}"
    text = repr(node[1])
    return f"np.float64('{text}')" if text.strip("-") in ("inf", "nan") else text


def _line(graph: Graph, number: int, last: dict[int, int], full: set[int]) -> str:
    """One operation; its result takes the place of an argument that is not needed any more."""
    op, *rest = graph.nodes[number]
    if op == "input":
        return f"x[{rest[0]}]"
    if op == "parameter":
        return f"P[{rest[0]}]"
    arguments = [_name(graph, a) for a in rest]
    exponent = graph.value(rest[1]) if op == "power" else None
    if exponent is not None and exponent == int(exponent) and 2 <= exponent <= _HIGHEST:
        return " * ".join([arguments[0]] * int(exponent))
    if op in PARTS:
        return f"{arguments[0]}.{op}.copy()"  # in one piece, and apart from the other
    if op in _OWN:
        return f"{op}({', '.join(arguments)})"
    module = "special" if op in SPECIAL else "np"
    free = [a for a in dict.fromkeys(rest) if last.get(a) == number and a in full and not graph.is_boolean(a)]
    if not free or op == "where" or graph.is_boolean(number):
        return f"{module}.{op}({', '.join(arguments)})"
    return f"{module}.{op}({', '.join(arguments)}, out=v{free[0]})"
