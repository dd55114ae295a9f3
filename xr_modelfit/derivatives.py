"""Derivatives of a model with respect to its free parameters, for many fits at once.

The expression is walked: sums, differences, products and quotients by the rules of calculus;
anything else is an *atom*, whose derivatives are taken in the first of these ways that works.
The way is found once a call (`xr_modelfit.ways`), never per block.

``linear``
    ``f(e_j) - f(0)`` for models that are linear in their parameters: exact, domains included.
``analytic``
    The model's own ``fit_deriv``. Some are wrong (shapes differ, terms are left out), so it is
    taken only when it agrees with differences.
``complex``
    ``f'(p) = Im f(p + ih) / h`` with ``h`` so small that nothing is lost [1]_, where the
    model's code takes complex numbers and agrees with differences.
``difference``
    Central differences ``(f(p + h) - f(p - h)) / 2h``, inward ones at a bound. The step is not
    taken from ``|p|``, which says nothing at 0 or far from it, but from what it does to the
    model: rounding costs ``nu / |f(p+h) - f(p-h)|`` with the noise ``nu = eps max|f|``,
    truncation about the square of ``c = |f(p+h) - 2 f(p) + f(p-h)| / |f(p+h) - f(p-h)|``;
    the step with the smallest sum is kept.

Ties enter by the chain rule: with all ``K`` parameters ``P(p)`` a function of the ``k`` free
ones, ``J = (df/dP) (dP/dp) = D T``.

Shapes: ``n`` samples, ``b`` fits; inputs (n, 1) or (n, b), parameters (K, b), columns (n, b).

References
----------
.. [1] Squire, W. and Trapp, G. (1998), SIAM Review 40, 110.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.expression import evaluate_tree, inner_inputs, locked
from xr_modelfit.problem import Problem, Ways, as_rows, column

__all__ = ["RULES", "Walk", "accuracy", "jacobian", "tie_derivatives", "tied_or_nan"]

_COMPLEX_STEP = 1e-30
_JUMP = 0.1  # a step whose effect does not shrink with it
RULES = {"+", "-", "*", "/"}

Columns = list[np.ndarray]
Inputs = Sequence[np.ndarray]


def accuracy(problem: Problem) -> float:
    """Relative accuracy of the columns of the Jacobian, for rank tests."""
    return 1e-9 if "difference" in problem.ways.atoms else 1e-14


def jacobian(problem: Problem, inputs: Inputs, P: np.ndarray, low: np.ndarray, high: np.ndarray) -> Columns:
    """``J``: derivatives of the model with respect to each free parameter, ties included.

    Parameters
    ----------
    problem : Problem
    inputs : sequence of ndarray, shape (n, 1) or (n, b)
    P : ndarray, shape (K, b)
    low, high : ndarray, shape (K, b)
        Bounds, which difference steps must not cross.

    Returns
    -------
    list of ndarray, shape (n, b), one for each free parameter
    """
    D = _all_columns(problem, inputs, P, low, high)
    free = np.flatnonzero(problem.free).tolist()
    if not problem.tied.any():
        return [D[j] for j in free]
    T = tie_derivatives(problem, P)
    columns = []
    for m, j in enumerate(free):
        total = D[j]
        for t in np.flatnonzero(problem.tied).tolist():
            if np.any(T[t, m] != 0):
                total = total + D[t] * T[t, m]
        columns.append(total)
    return columns


def tie_derivatives(problem: Problem, P: np.ndarray) -> np.ndarray:
    """``T``, shape (K, k, b): known where the ties are linear, otherwise by differences."""
    K, b = P.shape
    free = np.flatnonzero(problem.free)
    known = problem.ways.tie_matrix
    if known is not None:
        return np.repeat(known[:, :, None], b, axis=2)
    T = np.zeros((K, free.size, b))
    T[free, np.arange(free.size)] = 1.0
    infinite = np.full(b, np.inf)
    for t in np.flatnonzero(problem.tied).tolist():
        for m, j in enumerate(free.tolist()):

            def at(which: np.ndarray, value: np.ndarray, t: int = t, j: int = j) -> np.ndarray:
                Q = P[:, which].copy()
                Q[j] = value
                return tied_or_nan(problem, Q)[t][None]

            column_ = _best_difference(at, P[j], -infinite, infinite)
            T[t, m] = np.where(np.isfinite(at(np.arange(b), P[j])), column_, np.nan)[0]
    return T


def tied_or_nan(problem: Problem, Q: np.ndarray) -> np.ndarray:
    """Parameters with ties; NaN for fits whose ties cannot be computed."""
    try:
        return problem.with_ties(Q)
    except Exception:
        out = np.full(Q.shape, np.nan)
        for i in range(Q.shape[1]):
            with suppress(Exception):
                out[:, i] = problem.with_ties(Q[:, i])
        return out


def _all_columns(problem: Problem, inputs: Inputs, P: np.ndarray, low: np.ndarray, high: np.ndarray) -> Columns:
    """``D``: derivatives with respect to all K parameters, (n, b) each."""
    n, b = inputs[0].shape[0], P.shape[1]
    if problem.ways.broadcasts:
        columns = Walk(problem.ways, iter(problem.ways.atoms)).columns(
            problem.model, inputs, as_rows(P), list(low), list(high)
        )
        return [c if c.shape == (n, b) else np.broadcast_to(c, (n, b)) for c in columns]
    out = np.empty((problem.n_parameters, n, b))
    for i in range(b):
        one = [x[:, None] for x in column(inputs, i)]
        values = (P[:, i : i + 1], low[:, i : i + 1], high[:, i : i + 1])
        walk = Walk(problem.ways, iter(problem.ways.atoms), one_by_one=True)
        for j, c in enumerate(walk.columns(problem.model, one, *(list(v) for v in values))):
            out[j, :, i] = np.broadcast_to(c, (n, 1))[:, 0]
    return list(out)


class Walk:
    """One walk through an expression, in the order of its atoms."""

    def __init__(self, ways: Ways, atoms: Iterator[str], one_by_one: bool = False) -> None:
        self.ways, self.atoms, self.one_by_one = ways, atoms, one_by_one

    def value(self, model: Model, inputs: Inputs, P: Sequence[np.ndarray]) -> np.ndarray:
        """Values of a part, (n, b)."""
        if not self.one_by_one:
            return np.asarray(evaluate_tree(model, inputs, list(P), careless=self.ways.careless))
        flat = [x[:, 0] if isinstance(x, np.ndarray) else x for x in inputs]
        values = np.asarray(evaluate_tree(model, flat, [p[0] for p in P], careless=self.ways.careless))
        return np.broadcast_to(values, _length(inputs))[:, None]

    def columns(self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any) -> Columns:
        """Derivatives of a part with respect to its parameters."""
        if isinstance(model, CompoundModel) and model.op == "fix_inputs":
            return self.columns(model.left, inner_inputs(model, inputs), P, low, high)
        if not (isinstance(model, CompoundModel) and model.op in RULES):
            return self.atom(model, inputs, P, low, high)
        n_left = len(model.left.param_names)
        left = self.columns(model.left, inputs, P[:n_left], low[:n_left], high[:n_left])
        right = self.columns(model.right, inputs, P[n_left:], low[n_left:], high[n_left:])
        if model.op == "+":
            return left + right
        if model.op == "-":
            return left + [-c for c in right]
        f, g = self.value(model.left, inputs, P[:n_left]), self.value(model.right, inputs, P[n_left:])
        if model.op == "*":
            return [c * g for c in left] + [c * f for c in right]
        return [c / g for c in left] + [-c * f / (g * g) for c in right]

    def atom(self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any) -> Columns:
        way = next(self.atoms)
        every = range(len(P))
        if way == "linear":
            return _linear(self, model, inputs, len(P))
        if way == "analytic":
            return _analytic(self, model, inputs, P)
        if way == "complex":
            return [_complex(self, model, inputs, P, j) for j in every]
        return [_difference(self, model, inputs, P, j, low[j], high[j]) for j in every]


def _length(inputs: Inputs) -> tuple[int, ...]:
    return next(x.shape[:1] for x in inputs if isinstance(x, np.ndarray))


def _linear(walk: Walk, model: Model, inputs: Inputs, k: int) -> Columns:
    zero = [np.zeros(1) for _ in range(k)]
    base = walk.value(model, inputs, zero)
    return [walk.value(model, inputs, [*zero[:j], np.ones(1), *zero[j + 1 :]]) - base for j in range(k)]


def _analytic(walk: Walk, model: Model, inputs: Inputs, P: Any) -> Columns:
    if model.fit_deriv is None:
        raise TypeError("the model has no derivatives")
    given = [np.array(x) if walk.ways.careless else locked(x) for x in inputs]
    if walk.one_by_one:
        given, P = [x[:, 0] if isinstance(x, np.ndarray) else x for x in given], [p[0] for p in P]
    columns = model.fit_deriv(*given, *P)
    if not model.col_fit_deriv:
        columns = np.moveaxis(np.asarray(columns), -1, 0)
    if len(columns) != len(P):
        raise ValueError("fit_deriv does not give one column for each parameter")
    if walk.one_by_one:
        return [np.broadcast_to(np.asarray(c, dtype=float), _length(inputs))[:, None] for c in columns]
    return [np.asarray(c, dtype=float) for c in columns]


def _complex(walk: Walk, model: Model, inputs: Inputs, P: Any, j: int) -> np.ndarray:
    shifted = [p + 1j * _COMPLEX_STEP if i == j else p for i, p in enumerate(P)]
    return np.imag(walk.value(model, inputs, shifted)) / _COMPLEX_STEP


def _difference(walk: Walk, model: Model, inputs: Inputs, P: Any, j: int, low: Any, high: Any) -> np.ndarray:
    """Column ``j`` by differences."""
    n = _length(inputs)[0]

    def at(which: np.ndarray, value: np.ndarray) -> np.ndarray:
        some = [x if not isinstance(x, np.ndarray) or x.shape[1] == 1 else x[:, which] for x in inputs]
        q = [value if i == j else p[which] for i, p in enumerate(P)]
        return np.broadcast_to(np.asarray(walk.value(model, some, q), dtype=float), (n, which.size))

    return _best_difference(at, P[j], low, high)


def _best_difference(at: Any, p: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Derivatives (n, b) of ``at(which, values)`` at ``p``, each fit with a step from its effect.

    Zero where no step does anything, or where it does the same whatever its size (a jump).
    """
    b = p.size
    f0 = np.array(at(np.arange(b), p))
    noise = np.finfo(float).eps * np.maximum(np.max(np.abs(f0), axis=0), np.finfo(float).tiny)
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    h = 1e-5 * np.maximum(np.abs(p), 1e-3 * width)
    best, best_error = np.zeros(f0.shape), np.full(b, np.inf)
    todo, lost = np.ones(b, dtype=bool), np.ones(b, dtype=bool)  # lost: never finite beside p
    for _ in range(40):
        which = np.flatnonzero(todo)
        if not which.size:
            break
        columns, effect, bend = _central_or_inward(at, which, p, h, low, high, f0)
        nu = noise[which]
        rounding = nu / np.maximum(effect, nu)
        truncation = np.minimum((bend / np.maximum(effect, nu)) ** 2, 1.0)
        error = np.where(np.isfinite(effect), rounding + truncation, np.inf)
        lost[which] &= ~np.isfinite(effect)
        unseen = np.maximum(effect, bend) <= 1e3 * nu
        better = ~unseen & (error < best_error[which])
        best[:, which[better]] = columns[:, better]
        past = ~unseen & ~better & (best_error[which] < 1e-3) & np.isfinite(error)
        best_error[which[better]] = error[better]
        blind = unseen & (h[which] > 1e40 * np.maximum(np.abs(p[which]), width[which]))
        todo[which[past | blind | (best_error[which] < 1e-9)]] = False
        factor = np.where(truncation < rounding, 4.0, np.where(truncation > 1e-2, 0.05, 0.25))
        factor = np.where(np.isfinite(effect), np.where(unseen, 100.0, factor), 0.05)
        h[which] *= factor
    best[:, best_error > _JUMP] = 0.0
    best[:, lost] = np.nan
    return best


def _central_or_inward(
    at: Any, which: np.ndarray, p: np.ndarray, h: np.ndarray, low: np.ndarray, high: np.ndarray, f0: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference columns (n, m) of fits ``which``, the largest effects of their steps, the bends."""
    p, h, low, high = p[which], h[which], low[which], high[which]
    below, above = p - low, high - p  # room on either side
    h = np.minimum(h, np.maximum(below, above))
    a = np.where(below >= 0.25 * h, p - np.minimum(h, below), p + 0.5 * np.minimum(h, above))
    c = np.where(above >= 0.25 * h, p + np.minimum(h, above), p - 0.5 * np.minimum(h, below))
    a, c = np.clip(a, low, high), np.clip(c, low, high)
    da, dc = a - p, c - p  # the steps as they are represented
    f = f0[:, which]
    with np.errstate(all="ignore"):
        fa, fc = at(which, a) - f, at(which, c) - f
        ends_below, ends_above = (~np.all(np.isfinite(v), axis=0) for v in (fa, fc))
        if np.any(ends_below != ends_above):  # the model ends on one side: both points on the other
            a = np.where(ends_below & ~ends_above, p + 0.5 * (c - p), a)
            c = np.where(ends_above & ~ends_below, p + 0.5 * (a - p), c)
            da, dc = a - p, c - p
            fa, fc = at(which, a) - f, at(which, c) - f
        # Derivative at 0 of the parabola through (0, 0), (da, fa), (dc, fc).
        columns = (fc * (da / dc) - fa * (dc / da)) / (da - dc)
        effect = np.max(np.abs(columns), axis=0) * np.abs(dc - da)
        bend = np.max(np.abs(fa / da - fc / dc), axis=0) * np.minimum(np.abs(da), np.abs(dc))
    lost = (da == 0) | (dc == 0)
    return columns, np.where(lost, 0.0, effect), np.where(lost, 0.0, bend)
