"""Functions of NumPy and scipy.special that act sample by sample, on symbols.

Each gets a symbol of the expression first, then its arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from xr_modelfit.tracing.graph import SPECIAL, CannotTrace

__all__ = ["NUMPY_FUNCTIONS", "REWRITTEN_UFUNCS", "special_function"]

# Ufuncs that are written with others.
REWRITTEN_UFUNCS: dict[str, Callable[..., Any]] = {
    "": lambda self, x: self.symbol(self.node(x)),
    "conjugate": lambda self, x: self.symbol(self.node(x)),
    "square": lambda self, x: self.made("multiply", x, x),
    "reciprocal": lambda self, x: self.made("divide", 1.0, x),
    "deg2rad": lambda self, x: self.made("multiply", x, np.pi / 180.0),
    "rad2deg": lambda self, x: self.made("multiply", x, 180.0 / np.pi),
    "heaviside": lambda self, x, at_zero: np.where(x == 0.0, at_zero, np.where(x != x, x, x > 0.0)),
}


def special_function(ufunc: Any) -> Callable[..., Any] | None:
    """What a ufunc of scipy.special does to symbols, None where it is not known."""
    module = sys.modules.get("scipy.special")
    name = str(ufunc.__name__)
    return _SPECIAL.get(name) if module is not None and getattr(module, name, None) is ufunc else None


def _where(self: Any, condition: Any, *choices: Any) -> Any:
    if len(choices) != 2:
        raise CannotTrace("where with one argument")
    condition = self.made("not_equal", condition, 0.0) if not self.graph.is_boolean(self.node(condition)) else condition
    return self.made("where", condition, *choices)


def _select(self: Any, conditions: Any, choices: Any, default: Any = 0) -> Any:
    chosen = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        chosen = _where(self, condition, choice, chosen)
    return chosen


def _piecewise(self: Any, x: Any, conditions: Any, functions: Any, *arguments: Any, **keywords: Any) -> Any:
    """The last condition that holds decides; a function more than conditions serves where none does, else 0."""
    conditions = conditions if isinstance(conditions, list | tuple) else [conditions]
    if not isinstance(functions, list | tuple) or not 0 <= len(functions) - len(conditions) <= 1:
        raise CannotTrace("piecewise with as many functions as this")
    pieces = [f(x, *arguments, **keywords) if callable(f) else f for f in functions]
    chosen = pieces.pop() if len(pieces) > len(conditions) else 0.0
    for condition, piece in zip(conditions, pieces, strict=True):
        chosen = _where(self, condition, piece, chosen)
    return chosen


def _clip(self: Any, a: Any, a_min: Any = None, a_max: Any = None, **keywords: Any) -> Any:
    low, high = keywords.pop("min", a_min), keywords.pop("max", a_max)
    if keywords:
        raise CannotTrace("clip with options")
    a = a if low is None else self.made("maximum", a, low)
    return a if high is None else self.made("minimum", a, high)


def _full_like(self: Any, a: Any, value: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    kind = np.dtype(dtype if dtype is not None else getattr(a, "dtype", float))
    if kind != np.dtype(float):
        raise CannotTrace(f"conversion to {kind}")
    return self.symbol(self.graph.as_number(self.node(value)))


def _like(value: float) -> Callable[..., Any]:
    return lambda self, a, dtype=None, *_, **__: _full_like(self, a, value, dtype)


def _any(self: Any, a: Any, *options: Any, **keywords: Any) -> Any:
    if options or keywords:
        raise CannotTrace("any with options")
    return a.any()


def _sinc(self: Any, x: Any) -> Any:
    y = np.pi * _where(self, x == 0.0, 1e-20, x)
    return np.sin(y) / y


def _polyval(self: Any, coefficients: Any, x: Any) -> Any:
    value = self.constant(0.0)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


NUMPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "select": _select,
    "piecewise": _piecewise,
    "clip": _clip,
    "ones_like": _like(1.0),
    "zeros_like": _like(0.0),
    "empty_like": _like(np.nan),  # shows what is not written to
    "full_like": _full_like,
    "sinc": _sinc,
    "polyval": _polyval,
    "any": _any,
    "shape": lambda self, a: a.shape,
    "size": lambda self, a: a.size,
    "ndim": lambda self, a: a.ndim,
    "copy": lambda self, a, **_: a.copy(),
    "atleast_1d": lambda self, a: a,
    "broadcast_to": lambda self, a, *_, **__: a,
    "real": lambda self, a: a.real,
    "imag": lambda self, a: a.imag,
}


def _real(name: str) -> Callable[..., Any]:
    return lambda self, operand: self.made(name, operand)


def _wofz(self: Any, z: Any) -> Any:
    graph, parts = self.graph, [self.node(part) for part in (z.real, z.imag)]
    pair = graph.make("wofz", *map(graph.as_number, parts))
    return self.complex(*(self.symbol(graph.make(part, pair)) for part in ("real", "imag")))


def _voigt_profile(self: Any, x: Any, sigma: Any, gamma: Any) -> Any:
    """As in scipy: without a Gaussian width, it is a Lorentzian."""
    x, sigma, gamma = (self.symbol(self.graph.as_number(self.node(part))) for part in (x, sigma, gamma))
    scale = sigma * 2.0**0.5
    voigt = _wofz(self, self.complex(x / scale, gamma / scale)).real / (scale * np.pi**0.5)
    return np.where(sigma == 0.0, gamma / (x * x + gamma * gamma) / np.pi, voigt)


def _gammaincinv(self: Any, a: Any, y: Any) -> Any:
    """The median, for parameters alone: it is computed for one fit after the other."""
    graph, number = self.graph, self.node(a)
    known = graph.value(self.node(y)) == 0.5 and graph.value(number) is None
    if not known or number in graph.depending(graph.of_kind("input")):
        raise CannotTrace("gammaincinv of other than parameters and 0.5")
    return self.made("gamma_median", a)


_SPECIAL: dict[str, Callable[..., Any]] = {name: _real(name) for name in SPECIAL} | {
    "gammaincinv": _gammaincinv,
    "ndtr": lambda self, x: 0.5 * self.made("erfc", x * -(0.5**0.5)),
    "voigt_profile": _voigt_profile,
    "wofz": _wofz,
}
