"""Derivatives of an expression with respect to parameters, as further nodes of its graph.

Adjoints are carried from the expression back to its leaves, so that the gradient costs a few times the value however
many parameters there are, and shares with it what both need (the exponential of a Gaussian).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xr_modelfit.tracing.graph import BOOLEANS, PARTS, CannotTrace
from xr_modelfit.tracing.symbols import Symbol

__all__ = ["gradient"]


def gradient(root: Symbol, parameters: Sequence[Symbol]) -> list[Symbol]:
    """Derivatives of ``root`` by each of the ``parameters``; `CannotTrace` where an operation has no rule."""
    graph = root.graph
    wanted = graph.depending(p.number for p in parameters)
    adjoints: dict[int, Any] = {root.number: root.constant(1.0)}
    for number in sorted(wanted, reverse=True):  # arguments have lower numbers
        op = graph.nodes[number][0]
        if number not in adjoints or op in _FLAT:
            continue
        above, itself = adjoints[number], Symbol(graph, number)
        made_of = graph.arguments(number)
        if op in PARTS:  # of a pair, which has no adjoint itself
            made_of = graph.arguments(made_of[0])
        arguments = [Symbol(graph, a) for a in made_of]
        for i, argument in enumerate(arguments):
            if argument.number not in wanted:
                continue
            if op not in _RULES:
                raise CannotTrace(f"the derivative of {op}")
            part = _RULES[op](i, above, itself, *arguments)
            if part is not None:
                known = adjoints.get(argument.number)
                adjoints[argument.number] = part if known is None else known + part
    zero = root.constant(0.0)
    return [adjoints.get(p.number, zero) for p in parameters]


# Piecewise constant: no slope where there is one.
_FLAT = BOOLEANS.keys() | {"sign", "floor", "ceil", "rint", "trunc"}


def _power(i: int, above: Any, itself: Any, base: Any, exponent: Any) -> Any:
    if i == 0:
        return above * (exponent * base ** (exponent - 1.0))
    return above * (itself * np.where(base == 0.0, 0.0, np.log(base)))  # 0 ** p is 0 whatever p


def _chosen(i: int, above: Any, _: Any, condition: Any, *choices: Any) -> Any:
    if i == 0:
        return None
    return np.where(condition, above, 0.0) if i == 1 else np.where(condition, 0.0, above)


def _part_of_wofz(i: int, above: Any, itself: Any, x: Any, y: Any) -> Any:
    """By ``w' = 2i / sqrt(pi) - 2 z w`` of ``w(x + iy)``."""
    graph, (part, pair) = itself.graph, itself.graph.nodes[itself.number]
    u, v = (Symbol(graph, graph.make(p, pair)) for p in ("real", "imag"))
    if (part == "real") == (i == 0):
        return above * (2.0 * (y * v - x * u))
    slope = 2.0 * (_ONE_OVER_ROOT_PI - (x * v + y * u))
    return above * (slope if part == "imag" else -slope)


_LN2, _LN10 = float(np.log(2.0)), float(np.log(10.0))
_ONE_OVER_ROOT_PI = float(1.0 / np.sqrt(np.pi))

# From the number of the argument, the adjoint and the symbol of an operation, and its arguments.
_RULES: dict[str, Callable[..., Any]] = {
    "add": lambda i, above, itself, a, b: above,
    "subtract": lambda i, above, itself, a, b: above if i == 0 else -above,
    "multiply": lambda i, above, itself, a, b: above * (b if i == 0 else a),
    "divide": lambda i, above, itself, a, b: above / b if i == 0 else -(above * itself / b),
    "power": _power,
    "where": _chosen,
    "maximum": lambda i, above, itself, a, b: _chosen(i + 1, above, itself, itself == a),
    "minimum": lambda i, above, itself, a, b: _chosen(i + 1, above, itself, itself == a),
    "arctan2": lambda i, above, itself, y, x: above * (x if i == 0 else -y) / (x * x + y * y),
    "hypot": lambda i, above, itself, a, b: above * ((a, b)[i] / itself),
    "negative": lambda i, above, f, x: -above,
    "exp": lambda i, above, f, x: above * f,
    "exp2": lambda i, above, f, x: above * f * _LN2,
    "expm1": lambda i, above, f, x: above * (f + 1.0),
    "log": lambda i, above, f, x: above / x,
    "log1p": lambda i, above, f, x: above / (1.0 + x),
    "log10": lambda i, above, f, x: above / (x * _LN10),
    "log2": lambda i, above, f, x: above / (x * _LN2),
    "sqrt": lambda i, above, f, x: 0.5 * above / f,
    "sin": lambda i, above, f, x: above * np.cos(x),
    "cos": lambda i, above, f, x: -(above * np.sin(x)),
    "tan": lambda i, above, f, x: above * (1.0 + f * f),
    "arcsin": lambda i, above, f, x: above / np.sqrt(1.0 - x * x),
    "arccos": lambda i, above, f, x: -(above / np.sqrt(1.0 - x * x)),
    "arctan": lambda i, above, f, x: above / (1.0 + x * x),
    "sinh": lambda i, above, f, x: above * np.cosh(x),
    "cosh": lambda i, above, f, x: above * np.sinh(x),
    "tanh": lambda i, above, f, x: above * (1.0 - f * f),
    "arcsinh": lambda i, above, f, x: above / np.sqrt(x * x + 1.0),
    "arccosh": lambda i, above, f, x: above / np.sqrt(x * x - 1.0),
    "arctanh": lambda i, above, f, x: above / (1.0 - x * x),
    "absolute": lambda i, above, f, x: above * np.sign(x),
    "erf": lambda i, above, f, x: above * np.exp(-(x * x)) * (2.0 * _ONE_OVER_ROOT_PI),
    "erfc": lambda i, above, f, x: above * np.exp(-(x * x)) * (-2.0 * _ONE_OVER_ROOT_PI),
    "erfcx": lambda i, above, f, x: above * (2.0 * (x * f - _ONE_OVER_ROOT_PI)),
    "expit": lambda i, above, f, x: above * (f * (1.0 - f)),
    "gamma_median": lambda i, above, f, a: above * a.made("gamma_median_slope", a),
    "real": _part_of_wofz,
    "imag": _part_of_wofz,
}
