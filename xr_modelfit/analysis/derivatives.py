"""Derivatives of a model with respect to its free parameters, for many fits at once.

The expression is walked: sums, differences, products and quotients by the rules of calculus;
anything else is an *atom*, whose derivatives are taken in the first of these ways that works.
The way is found once a call (`analysis.traits`), never per block. Where the whole expression can be
traced (`tracing.arrays`) and agrees with these, it gives all derivatives at once.

``linear``
    ``f(e_j) - f(0)`` for models that are linear in their parameters: exact, domains included.
``analytic``
    The model's own ``fit_deriv``. Some are wrong (shapes differ, terms are left out), so it is
    taken only when it agrees with differences.
``complex``
    ``f'(p) = Im f(p + ih) / h`` with ``h`` so small that nothing is lost [1]_, where the
    model's code takes complex numbers and agrees with differences.
``difference``
    Central differences, inward ones at a bound (`analysis.differences`).

Where a sample lies on a cusp of the model, an analytic derivative may be 0/0, and a complex one
huge: `mended` takes differences there.

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
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.analysis.differences import derivative
from xr_modelfit.models.expression import evaluate_tree, inner_inputs, locked
from xr_modelfit.models.problem import Problem, Traits, as_rows, column
from xr_modelfit.tracing.arrays import columns_of, values_of

__all__ = [
    "OF_DIFFERENCES",
    "RULES",
    "Walk",
    "accuracy",
    "jacobian",
    "mended",
    "tie_derivatives",
    "tied_or_nan",
    "values",
    "weighted",
]

_COMPLEX_STEP = 1e-30
_SPIKE = 1e6  # a sample that outweighs most others so far is looked at again
OF_DIFFERENCES = 1e-9
RULES = {"+", "-", "*", "/"}

Columns = list[np.ndarray]
Inputs = Sequence[np.ndarray]


def accuracy(problem: Problem) -> float:
    """Relative accuracy of the columns of the Jacobian, for rank tests."""
    return OF_DIFFERENCES if "difference" in problem.traits.atoms and problem.traits.traced is None else 1e-14


def values(problem: Problem, inputs: Inputs, P: np.ndarray) -> tuple[np.ndarray, Columns | None]:
    """The model's values (n, b), ties applied, and what `jacobian` shares with them; arguments as there."""
    if problem.sampling is not None:
        *nodes, weights = inputs
        found, shared = values(problem.at_nodes, nodes, P)
        return problem.sampling.mixed(found, weights), shared
    if problem.traits.traced is not None:
        return values_of(problem.traits.traced, inputs, P)
    return problem.evaluate(inputs, P), None


def jacobian(
    problem: Problem,
    inputs: Inputs,
    P: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    shared: Columns | None = None,
    w: np.ndarray | None = None,
) -> Columns:
    """``J``: derivatives of the model with respect to each free parameter, ties included; weighted with ``w``.

    Parameters
    ----------
    problem : Problem
    inputs : sequence of ndarray, shape (n, 1) or (n, b)
    P : ndarray, shape (K, b)
    low, high : ndarray, shape (K, b)
        Bounds, which difference steps must not cross.
    shared : list of ndarray, optional
        What `values` has left of these parameters; written to.
    w : ndarray, shape (n, b), optional
        Weights; without them, all are 1.

    Returns
    -------
    list of ndarray, shape (n, b), one for each free parameter
    """
    if problem.sampling is not None:
        *nodes, weights = inputs
        J = jacobian(problem.at_nodes, nodes, P, low, high, shared)
        return [weighted(problem, problem.sampling.mixed(c, weights), w) for c in J]
    if problem.traits.traced is not None:
        return columns_of(problem.traits.traced, inputs, P, shared, w)
    columns = _walked(problem, inputs, P, low, high)
    return [weighted(problem, c, w) for c in columns]


def weighted(problem: Problem, values: np.ndarray, w: np.ndarray | None, out: np.ndarray | None = None) -> np.ndarray:
    """Values (n, b) times weights, if there are any.

    They are 0 where a sample is left out: a model that sees other samples may say anything there.
    """
    if w is None:
        return values
    product = np.multiply(values, w, out=out)
    if problem.sees_others:
        product[w == 0.0] = 0.0
    return product


def _walked(problem: Problem, inputs: Inputs, P: np.ndarray, low: np.ndarray, high: np.ndarray) -> Columns:
    """`jacobian` by a walk through the expression."""
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


def mended(
    problem: Problem,
    inputs: Inputs,
    w: np.ndarray | None,
    P: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    J: Columns,
    doubtful: np.ndarray,
) -> np.ndarray:
    """Put differences into the weighted columns ``J`` (n, b) of fits in which a cusp has spoilt them.

    Parameters
    ----------
    w : ndarray, shape (n, b), or None
    doubtful : ndarray of bool, shape (b,)
        Fits to look at.

    Returns
    -------
    ndarray of bool, shape (b,)
        Which fits have differences now.
    """
    changed = np.zeros(P.shape[1], dtype=bool)
    if not {"analytic", "complex"} & set(problem.traits.atoms) and problem.traits.traced is None:
        return changed
    ids = np.flatnonzero(doubtful)
    ids = ids[np.any([_spiked(c[:, ids]) for c in J], axis=0)] if ids.size and J else ids[:0]
    if not ids.size:
        return changed
    plain = replace(
        problem, traits=replace(problem.traits, traced=None, atoms=("difference",) * len(problem.traits.atoms))
    )
    some = [x if x.shape[1] == 1 else np.take(x, ids, axis=1) for x in inputs]
    there, low, high = (np.ascontiguousarray(a[:, ids]) for a in (P, *bounds))
    for m, c in enumerate(jacobian(plain, some, there, low, high)):
        ours, given = weighted(problem, c, None if w is None else w[:, ids]), J[m][:, ids]
        with np.errstate(all="ignore"):
            most = np.max(np.abs(given), axis=0)
            agrees = (np.max(np.abs(ours - given), axis=0) <= 1e-3 * most) & np.isfinite(most)
        other = ~agrees & np.all(np.isfinite(ours), axis=0)
        if other.any():
            J[m] = J[m].copy()
            J[m][:, ids[other]] = ours[:, other]
            changed[ids[other]] = True
    return changed


def _spiked(column_: np.ndarray) -> np.ndarray:
    """Which fits have a column that is not finite, or in which a few samples outweigh all others, shape (b,)."""
    n, size = column_.shape[0], np.abs(column_)
    peak = np.max(size, axis=0)
    few = np.count_nonzero(_SPIKE * size > peak, axis=0) <= min(max(4, n // 16), n // 4)
    spiked: np.ndarray = ~np.isfinite(peak) | (few & (peak > 0))
    return spiked


def tie_derivatives(problem: Problem, P: np.ndarray) -> np.ndarray:
    """``T``, shape (K, k, b): known where the ties are linear, otherwise by differences."""
    K, b = P.shape
    free = np.flatnonzero(problem.free)
    known = problem.traits.tie_matrix
    if known is not None:
        return np.repeat(known[:, :, None], b, axis=2)
    T = np.zeros((K, free.size, b))
    T[free, np.arange(free.size)] = 1.0
    infinite = np.full(b, np.inf)
    read, finite = problem.read_by_ties(P), np.isfinite(tied_or_nan(problem, P))
    for t in np.flatnonzero(problem.tied).tolist():
        T[t] = np.where(finite[t], 0.0, np.nan)
        for m, j in enumerate(free.tolist()):
            if not read[t, j]:
                continue

            def at(which: np.ndarray, value: np.ndarray, t: int = t, j: int = j) -> np.ndarray:
                Q = P[:, which].copy()
                Q[j] = value
                return tied_or_nan(problem, Q)[t][None]

            T[t, m] = np.where(finite[t], derivative(at, P[j], -infinite, infinite)[0], np.nan)
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
    """``D``: derivatives with respect to all K parameters, (n, b) each; those of fixed ones are not looked at."""
    needed = list(~problem.fixed)
    n, b = inputs[0].shape[0], P.shape[1]
    if problem.traits.broadcasts:
        columns = Walk(problem.traits, iter(problem.traits.atoms)).columns(
            problem.model, inputs, as_rows(P), list(low), list(high), needed
        )
        return [c if c.shape == (n, b) else np.broadcast_to(c, (n, b)) for c in columns]
    out = np.empty((problem.n_parameters, n, b))
    for i in range(b):
        one = [x[:, None] for x in column(inputs, i)]
        p, lowest, highest = (list(a[:, i : i + 1]) for a in (P, low, high))
        walk = Walk(problem.traits, iter(problem.traits.atoms), one_by_one=True)
        for j, c in enumerate(walk.columns(problem.model, one, p, lowest, highest, needed)):
            out[j, :, i] = np.broadcast_to(c, (n, 1))[:, 0]
    return list(out)


class Walk:
    """One walk through an expression, in the order of its atoms."""

    def __init__(self, traits: Traits, atoms: Iterator[str], one_by_one: bool = False) -> None:
        self.traits, self.atoms, self.one_by_one = traits, atoms, one_by_one

    def value(self, model: Model, inputs: Inputs, P: Sequence[np.ndarray]) -> np.ndarray:
        """Values of a part, (n, b)."""
        if not self.one_by_one:
            return np.asarray(evaluate_tree(model, inputs, list(P), writes_inputs=self.traits.writes_inputs))
        values = evaluate_tree(model, self.of_one(inputs), [p[0] for p in P], writes_inputs=self.traits.writes_inputs)
        return self.counted(values, inputs)

    def of_one(self, inputs: Inputs) -> list[Any]:
        """The inputs of a single fit as its model takes them, from (n, 1)."""
        shaped = (lambda x: x) if self.traits.grid is None else self.traits.grid.shaped
        return [shaped(x[:, 0]) if isinstance(x, np.ndarray) else x for x in inputs]

    def counted(self, values: Any, inputs: Inputs) -> np.ndarray:
        """What the model of a single fit gives, as (n, 1)."""
        if self.traits.grid is not None:
            return self.traits.grid.counted(values)[:, None]
        return np.broadcast_to(np.asarray(values), _length(inputs))[:, None]

    def columns(
        self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any, needed: Sequence[bool] | None = None
    ) -> Columns:
        """Derivatives of a part with respect to its parameters; of those that are not ``needed``, perhaps zeros."""
        needed = [True] * len(P) if needed is None else needed
        if isinstance(model, CompoundModel) and model.op == "fix_inputs":
            return self.columns(model.left, inner_inputs(model, inputs), P, low, high, needed)
        if not (isinstance(model, CompoundModel) and model.op in RULES):
            return self.atom(model, inputs, P, low, high, needed)
        n_left = len(model.left.param_names)
        left = self.columns(model.left, inputs, P[:n_left], low[:n_left], high[:n_left], needed[:n_left])
        right = self.columns(model.right, inputs, P[n_left:], low[n_left:], high[n_left:], needed[n_left:])
        if model.op == "+":
            return left + right
        if model.op == "-":
            return left + [-c for c in right]
        f, g = self.value(model.left, inputs, P[:n_left]), self.value(model.right, inputs, P[n_left:])
        if model.op == "*":
            return [c * g for c in left] + [c * f for c in right]
        return [c / g for c in left] + [-c * f / (g * g) for c in right]

    def atom(self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any, needed: Sequence[bool]) -> Columns:
        way = next(self.atoms)
        if way == "linear":
            return _linear(self, model, inputs, len(P))
        if way == "analytic":
            return _analytic(self, model, inputs, P)

        def derivative(j: int) -> np.ndarray:
            if way == "complex":
                return _complex(self, model, inputs, P, j)
            return _difference(self, model, inputs, P, j, low[j], high[j])

        return [derivative(j) if needed[j] else np.zeros((1, 1)) for j in range(len(P))]


def _length(inputs: Inputs) -> tuple[int, ...]:
    return next(x.shape[:1] for x in inputs if isinstance(x, np.ndarray))


def _linear(walk: Walk, model: Model, inputs: Inputs, k: int) -> Columns:
    zero = [np.zeros(1) for _ in range(k)]
    base = walk.value(model, inputs, zero)
    return [walk.value(model, inputs, [*zero[:j], np.ones(1), *zero[j + 1 :]]) - base for j in range(k)]


def _analytic(walk: Walk, model: Model, inputs: Inputs, P: Any) -> Columns:
    if model.fit_deriv is None:
        raise TypeError("the model has no derivatives")
    given = [np.array(x) if walk.traits.writes_inputs else locked(x) for x in inputs]
    if walk.one_by_one:
        given, P = walk.of_one(given), [p[0] for p in P]
    columns = model.fit_deriv(*given, *P)
    if not model.col_fit_deriv:
        columns = np.moveaxis(np.asarray(columns), -1, 0)
    if len(columns) != len(P):
        raise ValueError("fit_deriv does not give one column for each parameter")
    if walk.one_by_one:
        return [walk.counted(np.asarray(c, dtype=float), inputs) for c in columns]
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
        try:
            return np.broadcast_to(np.asarray(walk.value(model, some, q), dtype=float), (n, which.size))
        except Exception:
            if walk.one_by_one and np.any(value != P[j][which]):  # a step too far
                return np.full((n, which.size), np.nan)
            raise

    if walk.traits.grid is None:
        return derivative(at, P[j], low, high)
    # A model that sees the whole grid may have no value where a sample is left out: the others decide on the step.
    nowhere = ~np.isfinite(at(np.arange(P[j].size), P[j]))
    column_ = derivative(lambda which, value: np.where(nowhere[:, which], 0.0, at(which, value)), P[j], low, high)
    return np.where(nowhere, np.nan, column_)
