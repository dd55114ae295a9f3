"""Derivatives of a model for many fits at once, by NumPy, from its traced expression.

They are exact where the model's own are wrong or missing, and take fewer passes over the samples than rules, complex
steps or differences do.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xr_modelfit.compiled.symbols import CannotTrace, Graph, Symbol
from xr_modelfit.compiled.tracing import traced
from xr_modelfit.problem import Problem, as_rows

__all__ = ["array_sources", "columns_of"]

_MOST_NODES = 400  # beyond this, so many passes cost more than they save
_FUNCTIONS: dict[str, Callable[..., Any]] = {}
_HIGHEST = 4  # power that is multiplied out


def array_sources(problem: Problem) -> tuple[str, str]:
    """Sources of ``columns(x, P)``: of the value, and of the derivatives with respect to the free parameters.

    Raises
    ------
    CannotTrace
        The model, or a tie, does something that is no expression of single samples.
    """
    found = traced(problem)
    if len(found.graph.nodes) > _MOST_NODES:
        raise CannotTrace(f"an expression of {len(found.graph.nodes)} nodes")
    return _source(found.graph, [found.value]), _source(found.graph, found.slopes)


def columns_of(source: str, inputs: Sequence[np.ndarray], P: np.ndarray) -> list[np.ndarray]:
    """Columns (n, b) from inputs (n, 1) or (n, b) and parameters (K, b)."""
    if source not in _FUNCTIONS:
        known: dict[str, Any] = {"np": np}
        exec(source, known)
        _FUNCTIONS[source] = known["columns"]
    shape = (inputs[0].shape[0], P.shape[1])
    columns = [np.asarray(c, dtype=float) for c in _FUNCTIONS[source](inputs, as_rows(P))]
    return [c if c.shape == shape else np.broadcast_to(c, shape) for c in columns]


def _source(graph: Graph, columns: Sequence[Symbol]) -> str:
    roots = [s.number for s in columns]
    order = graph.needed(roots)
    last = {a: n for n in order for a in graph.arguments(n)} | dict.fromkeys(roots, -1)
    full = graph.depending(graph.of_kind("input")) & graph.depending(graph.of_kind("parameter"))  # of shape (n, b)
    lines = [f"    v{n} = {_line(graph, n, last, full)}" for n in order if graph.nodes[n][0] != "constant"]
    names = ", ".join(_name(graph, n) for n in roots)
    return "\n".join(["def columns(x, P):", *lines, f"    return [{names}]", ""])


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
    free = [a for a in dict.fromkeys(rest) if last.get(a) == number and a in full and not graph.is_truth(a)]
    if not free or op == "where" or graph.is_truth(number):
        return f"np.{op}({', '.join(arguments)})"
    return f"np.{op}({', '.join(arguments)}, out=v{free[0]})"
