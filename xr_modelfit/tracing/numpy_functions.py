"""NumPy's functions of arrays that act sample by sample, on symbols: each gets a symbol of the expression first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xr_modelfit.tracing.graph import CannotTrace

__all__ = ["array_function"]


def array_function(name: str) -> Callable[..., Any]:
    """What NumPy's function of this name does to symbols.

    Raises
    ------
    CannotTrace
        It is not known.
    """
    if name not in _KNOWN:
        raise CannotTrace(name)
    return _KNOWN[name]


def _where(self: Any, condition: Any, *choices: Any) -> Any:
    if len(choices) != 2:
        raise CannotTrace("where with one argument")
    condition = self.made("not_equal", condition, 0.0) if not self.graph.is_truth(self.node(condition)) else condition
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


_KNOWN: dict[str, Callable[..., Any]] = {
    "where": _where,
    "select": _select,
    "piecewise": _piecewise,
    "clip": _clip,
    "ones_like": _like(1.0),
    "zeros_like": _like(0.0),
    "empty_like": _like(np.nan),  # whatever is not written to tells
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
