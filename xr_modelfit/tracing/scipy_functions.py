"""Functions of scipy.special, on symbols: each gets a symbol of the expression first, then its arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from xr_modelfit.tracing.graph import SPECIAL, CannotTrace

__all__ = ["special_function"]


def special_function(ufunc: Any) -> Callable[..., Any] | None:
    """What a ufunc of scipy.special does to symbols, None where it is not known."""
    module = sys.modules.get("scipy.special")
    name = str(ufunc.__name__)
    return _SPECIAL.get(name) if module is not None and getattr(module, name, None) is ufunc else None


def _real(name: str) -> Callable[..., Any]:
    return lambda self, operand: self.made(name, operand)


def _wofz(self: Any, z: Any) -> Any:
    graph, parts = self.graph, [self.node(part) for part in (z.real, z.imag)]
    pair = graph.make("wofz", *map(graph.as_number, parts))
    return self.complex(*(self.symbol(graph.make(part, pair)) for part in ("real", "imag")))


def _ndtr(self: Any, x: Any) -> Any:
    return 0.5 * self.made("erfc", x * -(0.5**0.5))


def _voigt_profile(self: Any, x: Any, sigma: Any, gamma: Any) -> Any:
    """As scipy has it: without a Gaussian width, it is a Lorentzian."""
    x, sigma, gamma = (self.symbol(self.graph.as_number(self.node(part))) for part in (x, sigma, gamma))
    scale = sigma * 2.0**0.5
    voigt = _wofz(self, self.complex(x / scale, gamma / scale)).real / (scale * np.pi**0.5)
    return np.where(sigma == 0.0, gamma / (x * x + gamma * gamma) / np.pi, voigt)


def _gammaincinv(self: Any, a: Any, y: Any) -> Any:
    """Of the half, and of parameters alone: it is computed for one fit after the other."""
    graph, number = self.graph, self.node(a)
    known = graph.value(self.node(y)) == 0.5 and graph.value(number) is None
    if not known or number in graph.depending(graph.of_kind("input")):
        raise CannotTrace("gammaincinv of other than parameters and the half")
    return self.made("gamma_median", a)


_SPECIAL: dict[str, Callable[..., Any]] = {name: _real(name) for name in SPECIAL} | {
    "gammaincinv": _gammaincinv,
    "ndtr": _ndtr,
    "voigt_profile": _voigt_profile,
    "wofz": _wofz,
}
