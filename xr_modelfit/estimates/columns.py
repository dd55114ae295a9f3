"""The fits of a block in columns, and sums over their samples.

Shapes: ``n`` samples, ``b`` fits, ``K`` parameters. What all fits share has one column, (n, 1). Sums run over rows, one
after the other: no fit sees another, and a shared column gives the same bits as one of its own (`fitters.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xr_modelfit.fitters.sums import along, dot
from xr_modelfit.models.problem import Problem

__all__ = ["SampleColumns", "in_columns", "inner", "running"]


@dataclass(frozen=True)
class SampleColumns:
    """Fits to estimate."""

    problem: Problem
    inputs: list[np.ndarray]  # (n, 1) or (n, b); finite everywhere, and sorted where there is one
    y: np.ndarray  # (n, b), 0 where a sample is left out
    W: np.ndarray  # (n, 1) or (n, b), squared weights, 0 where a sample is left out
    start: np.ndarray  # (K, b)
    lower: np.ndarray  # (K, b)
    upper: np.ndarray  # (K, b)
    asked: np.ndarray  # (K,), which parameters are to be estimated; the others keep their start

    @property
    def linear(self) -> np.ndarray:
        """Parameters (K,) that are solved for."""
        return self.problem.partly_linear & self.asked

    def only(self, which: np.ndarray) -> SampleColumns:
        """Some of the fits."""

        def part(a: np.ndarray) -> np.ndarray:
            return a if a.shape[1] == 1 else np.ascontiguousarray(a[:, which])

        return replace(
            self,
            inputs=[part(x) for x in self.inputs],
            y=np.ascontiguousarray(self.y[:, which]),
            W=part(self.W),
            start=self.start[:, which],
            lower=self.lower[:, which],
            upper=self.upper[:, which],
        )


def in_columns(
    problem: Problem,
    y: np.ndarray,
    inputs: Sequence[np.ndarray],
    weights: np.ndarray | None,
    valid: np.ndarray,
    table: tuple[np.ndarray, np.ndarray, np.ndarray],
    asked: np.ndarray,
) -> SampleColumns:
    """Fits in columns from rows, at least two of them; arguments as in `estimates.estimate`.

    ``valid`` has one row where no sample of any of these fits is left out, so that weights can be shared.
    """
    shared = valid.shape[0] == 1 and (weights is None or weights.shape[0] == 1)
    w = np.ones((1, 1)) if weights is None else np.where(np.isfinite(weights), weights, 0.0).T
    W = np.where(valid.T, w * w, 0.0)
    if not shared:
        W = np.broadcast_to(W, y.T.shape)
    values = np.where(valid.T, y.T, 0.0)
    given = [_finite(x, valid) for x in inputs]
    if len(given) == 1 and not problem.sees_others:
        values, W, given = _sorted(values, W, given[0])
    start, low, high = (np.ascontiguousarray(np.broadcast_to(t.T, (t.shape[1], y.shape[0]))) for t in table)
    return SampleColumns(problem, given, np.ascontiguousarray(values), np.ascontiguousarray(W), start, low, high, asked)


def _finite(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Coordinates in columns; one that is no number is that of another sample, as it takes no part."""
    usable = np.isfinite(x)
    if usable.all():
        return np.ascontiguousarray(x.T)
    stand_in = np.take_along_axis(x, np.argmax(usable, axis=1)[:, None], axis=1)
    return np.ascontiguousarray(np.where(usable, x, np.where(np.isfinite(stand_in), stand_in, 0.0)).T)


def _sorted(y: np.ndarray, W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    if np.all(x[1:] >= x[:-1]):
        return y, W, [x]
    order = np.argsort(x, axis=0, kind="stable")
    if x.shape[1] == 1:
        at = order[:, 0]
        return y[at], W[at], [np.ascontiguousarray(x[at])]
    x = np.take_along_axis(x, order, axis=0)
    W = np.take_along_axis(np.broadcast_to(W, y.shape), order, axis=0)
    return np.take_along_axis(y, order, axis=0), W, [x]


def inner(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Sum over samples of the product of (n, b) or (n, 1) arrays, shape (b,) or (1,)."""
    if a.shape[1] == c.shape[1]:
        return dot(a, c)
    return along(a, c) if a.shape[1] == 1 else along(c, a)


def running(a: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... n rows, shape (n + 1, ...)."""
    out = np.zeros((a.shape[0] + 1, *a.shape[1:]))
    np.cumsum(a, axis=0, out=out[1:])
    return out
