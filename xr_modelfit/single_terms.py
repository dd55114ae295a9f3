"""Dimensions of single terms, for models with constants of their own: an annual wave, a fixed power.

Such a model has no scaling law. But a parameter that it is linear in is multiplied by something,
and where that is a power of the input, or a sine of it, the parameter's dimension is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from xr_modelfit.dimension import Dimension

__all__ = ["single_terms"]

_LINEAR = 1e-9  # of the largest value

Evaluate = Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray | None]


def single_terms(
    evaluate: Evaluate, x: np.ndarray, vectors: Sequence[np.ndarray], values: Sequence[np.ndarray | None]
) -> list[Dimension | None]:
    """The dimension of each parameter of a model of one input, None where nothing is told.

    Parameters
    ----------
    evaluate : callable
        Values of the model, or None.
    x : ndarray, shape (n,)
    vectors : sequence of ndarray, shape (K,)
        Parameters to try.
    values : sequence of ndarray or None, shape (n,)
        Of the model with these.
    """
    terms = _Terms(evaluate, x, vectors, values)
    return [terms.dimension(j) for j in range(vectors[0].size)]


@dataclass(frozen=True)
class _Terms:
    evaluate: Evaluate
    x: np.ndarray
    vectors: Sequence[np.ndarray]
    values: Sequence[np.ndarray | None]

    def dimension(self, j: int) -> Dimension | None:
        tried = [self._factor(j, p, value) for p, value in zip(self.vectors, self.values, strict=True)]
        factors = [f for f in tried if f is not None]
        if len(factors) < len(tried):
            return None
        for power in range(4):
            if all(_close(f, self.x**power) for f in factors):
                return Dimension(Fraction(1), (Fraction(-power),))
        if all(_close(f, factors[0]) for f in factors) and self._is_wave(j):
            return Dimension(Fraction(1), (Fraction(0),))  # the argument is an angle, whatever makes it one
        return None

    def _factor(self, j: int, p: np.ndarray, value: np.ndarray | None = None, shift: float = 0.0) -> np.ndarray | None:
        """What parameter ``j`` is multiplied by, at the inputs plus ``shift``; None if it is no mere factor."""
        inputs = [self.x + shift]
        value = self.evaluate(inputs, p) if value is None else value
        more = self.evaluate(inputs, np.where(np.arange(p.size) == j, 2 * p, p))
        less = self.evaluate(inputs, np.where(np.arange(p.size) == j, 0.0, p))
        if value is None or more is None or less is None:
            return None
        if not np.all(np.abs(more - 2 * value + less) <= _LINEAR * np.max(np.abs(value), initial=0.0)):
            return None
        return (more - less) / (2 * p[j])

    def _is_wave(self, j: int) -> bool:
        """Whether it is a sine or cosine of the input, of amplitude 1: g(x+h) + g(x-h) = 2 cos(wh) g(x)."""
        span = float(np.ptp(self.x))
        for h in span * 10.0 ** np.arange(2.0, -6.0, -0.3):
            g = [v for s in (-h, 0.0, h) if (v := self._factor(j, self.vectors[0], shift=s)) is not None]
            if len(g) < 3:
                return False
            before, here, after = g
            cosine = np.sum((before + after) * here) / (2 * np.sum(here**2))
            if 0.3 < abs(cosine) < 0.95:
                quadrature = (after - before) / (2 * np.sqrt(1 - cosine**2))
                return bool(np.allclose(here**2 + quadrature**2, 1.0, rtol=1e-5))
        return False


def _close(values: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(values, expected, rtol=1e-6, atol=1e-9 * np.max(np.abs(values)))
