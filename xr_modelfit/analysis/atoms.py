"""Values and derivatives of the parts of an expression, for many fits at once.

The expression is walked: sums, differences, products and quotients by the rules of calculus; anything else is an
*atom*, which has one of these methods:

``linear``
    ``f(e_j) - f(0)`` for models that are linear in their parameters: exact, domains included.
``analytic``
    The model's own ``fit_deriv``. Some are wrong (shapes differ, terms are missing), so it is used only where it agrees
    with differences.
``complex``
    ``f'(p) = Im f(p + ih) / h`` with ``h`` so small that nothing is lost [1]_, where the model's code takes complex
    numbers and agrees with differences.
``difference``
    Central differences, inward ones at a bound (`analysis.differences`).

Shapes: ``n`` samples, ``b`` fits; inputs (n, 1) or (n, b), parameters (K, b), columns (n, b). Inputs that
``fix_inputs`` holds are numbers.

References
----------
.. [1] Squire, W. and Trapp, G. (1998), SIAM Review 40, 110.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.analysis.differences import derivative
from xr_modelfit.models.expression import evaluate_tree, inner_inputs, locked
from xr_modelfit.models.problem import Traits, as_rows, column

__all__ = ["Bounds", "Columns", "atoms_of", "columns_of_part", "values_of_part"]

_COMPLEX_STEP = 1e-30
_RULES = {"+", "-", "*", "/"}

Bounds = tuple[np.ndarray, np.ndarray]  # low and high, of the shape of the parameters
Columns = list[np.ndarray]
Inputs = Sequence[Any]


def atoms_of(model: Model, inputs: Inputs, first: int = 0) -> Iterator[tuple[Model, Inputs, slice]]:
    """The atoms of an expression with their inputs and places among its parameters, which ``first`` counts from."""
    op = model.op if isinstance(model, CompoundModel) else None
    if op == "fix_inputs":
        yield from atoms_of(model.left, inner_inputs(model, inputs), first)
    elif op in _RULES:
        yield from atoms_of(model.left, inputs, first)
        yield from atoms_of(model.right, inputs, first + len(model.left.param_names))
    else:
        yield model, inputs, slice(first, first + len(model.param_names))


def columns_of_part(
    traits: Traits, methods: Sequence[str], model: Model, at: Inputs, P: np.ndarray, bounds: Bounds, needed: np.ndarray
) -> Columns:
    """Derivatives (n, b) of a part by its parameters P (K, b), with a method for each of its atoms.

    Differences do not cross the ``bounds`` (K, b). Columns that are not ``needed`` (K,) may be zeros.
    """
    shape = (_n_samples(at), P.shape[1])
    if traits.broadcasts:
        columns = _Walk(traits, methods).columns(model, at, as_rows(P), list(bounds[0]), list(bounds[1]), needed)
        return [c if c.shape == shape else np.broadcast_to(c, shape) for c in columns]
    out = np.empty((len(P), *shape))
    for i in range(shape[1]):
        one = [column([x], i)[0][:, None] if isinstance(x, np.ndarray) else x for x in at]
        p, low, high = (list(a[:, i : i + 1]) for a in (P, *bounds))
        for j, c in enumerate(_Walk(traits, methods).columns(model, one, p, low, high, needed)):
            out[j, :, i] = np.broadcast_to(c, (shape[0], 1))[:, 0]
    return list(out)


def values_of_part(traits: Traits, model: Model, inputs: Inputs, P: np.ndarray) -> np.ndarray:
    """Values (n, b) of a part at inputs (n, 1) and its parameters P (K, b)."""
    walk = _Walk(traits, ())
    if traits.broadcasts:
        return np.broadcast_to(walk.value(model, inputs, as_rows(P)), (_n_samples(inputs), P.shape[1]))
    return np.concatenate([walk.value(model, inputs, list(P[:, i : i + 1])) for i in range(P.shape[1])], axis=1)


def _n_samples(inputs: Inputs) -> int:
    return next(x.shape[0] for x in inputs if isinstance(x, np.ndarray))


class _Walk:
    """One walk through an expression, in the order of its atoms; for a single fit unless the model broadcasts."""

    def __init__(self, traits: Traits, methods: Sequence[str]) -> None:
        self.traits, self.methods = traits, iter(methods)

    def value(self, model: Model, inputs: Inputs, P: Sequence[np.ndarray]) -> np.ndarray:
        """Values of a part, (n, b)."""
        if self.traits.broadcasts:
            return np.asarray(evaluate_tree(model, inputs, list(P), writes_inputs=self.traits.writes_inputs))
        one, p = self.of_one_fit(inputs), [value[0] for value in P]
        return self.as_column(evaluate_tree(model, one, p, writes_inputs=self.traits.writes_inputs), inputs)

    def of_one_fit(self, inputs: Inputs) -> list[Any]:
        """Inputs (n, 1) of a single fit as its model takes them."""
        grid = self.traits.grid
        flat = [x[:, 0] if isinstance(x, np.ndarray) else x for x in inputs]
        return flat if grid is None else [grid.shaped(x) if isinstance(x, np.ndarray) else x for x in flat]

    def as_column(self, values: Any, inputs: Inputs) -> np.ndarray:
        """Values of the model of a single fit, as (n, 1)."""
        if self.traits.grid is not None:
            return self.traits.grid.counted(values)[:, None]
        return np.broadcast_to(np.asarray(values), (_n_samples(inputs),))[:, None]

    def columns(self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any, needed: np.ndarray) -> Columns:
        """Derivatives of a part by its parameters; those that are not ``needed`` may be zeros."""
        op = model.op if isinstance(model, CompoundModel) else None
        if op == "fix_inputs":
            return self.columns(model.left, inner_inputs(model, inputs), P, low, high, needed)
        if op not in _RULES:
            return self.columns_of_atom(model, inputs, P, low, high, needed)
        n_left = len(model.left.param_names)
        left = self.columns(model.left, inputs, P[:n_left], low[:n_left], high[:n_left], needed[:n_left])
        right = self.columns(model.right, inputs, P[n_left:], low[n_left:], high[n_left:], needed[n_left:])
        if op == "+":
            return left + right
        if op == "-":
            return left + [-c for c in right]
        f, g = self.value(model.left, inputs, P[:n_left]), self.value(model.right, inputs, P[n_left:])
        if op == "*":
            return [c * g for c in left] + [c * f for c in right]
        return [c / g for c in left] + [-c * f / (g * g) for c in right]

    def columns_of_atom(self, model: Model, inputs: Inputs, P: Any, low: Any, high: Any, needed: np.ndarray) -> Columns:
        method = next(self.methods)
        if method == "linear":
            return self.linear(model, inputs, len(P))
        if method == "analytic":
            return self.analytic(model, inputs, P)

        def derivative_by(j: int) -> np.ndarray:
            if method == "complex":
                shifted = [p + 1j * _COMPLEX_STEP if i == j else p for i, p in enumerate(P)]
                return np.imag(self.value(model, inputs, shifted)) / _COMPLEX_STEP
            return self.difference(model, inputs, P, j, low[j], high[j])

        return [derivative_by(j) if needed[j] else np.zeros((1, 1)) for j in range(len(P))]

    def linear(self, model: Model, inputs: Inputs, k: int) -> Columns:
        zero = [np.zeros(1) for _ in range(k)]
        base = self.value(model, inputs, zero)
        return [self.value(model, inputs, [*zero[:j], np.ones(1), *zero[j + 1 :]]) - base for j in range(k)]

    def analytic(self, model: Model, inputs: Inputs, P: Any) -> Columns:
        if model.fit_deriv is None:
            raise TypeError("the model has no derivatives")
        given = [np.array(x) if self.traits.writes_inputs else locked(x) for x in inputs]
        if not self.traits.broadcasts:
            given, P = self.of_one_fit(given), [p[0] for p in P]
        columns = model.fit_deriv(*given, *P)
        if not model.col_fit_deriv:
            columns = np.moveaxis(np.asarray(columns), -1, 0)
        if len(columns) != len(P):
            raise ValueError("fit_deriv does not give one column for each parameter")
        columns = [np.asarray(c, dtype=float) for c in columns]
        return columns if self.traits.broadcasts else [self.as_column(c, inputs) for c in columns]

    def difference(self, model: Model, inputs: Inputs, P: Any, j: int, low: Any, high: Any) -> np.ndarray:
        """Column ``j`` by differences."""
        n = _n_samples(inputs)

        def at(which: np.ndarray, value: np.ndarray) -> np.ndarray:
            some = [x if not isinstance(x, np.ndarray) or x.shape[1] == 1 else x[:, which] for x in inputs]
            q = [value if i == j else p[which] for i, p in enumerate(P)]
            try:
                return np.broadcast_to(np.asarray(self.value(model, some, q), dtype=float), (n, which.size))
            except Exception:
                if not self.traits.broadcasts and np.any(value != P[j][which]):  # a step too far
                    return np.full((n, which.size), np.nan)
                raise

        if self.traits.grid is None:
            return derivative(at, P[j], low, high)
        # A model that sees the whole grid may have no value where a sample is left out: the others choose the step.
        nowhere = ~np.isfinite(at(np.arange(P[j].size), P[j]))
        found = derivative(lambda which, value: np.where(nowhere[:, which], 0.0, at(which, value)), P[j], low, high)
        return np.where(nowhere, np.nan, found)
