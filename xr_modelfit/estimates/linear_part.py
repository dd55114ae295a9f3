"""Parameters that a model is linear in, given the others.

With ``f = f0 + sum_j a_j c_j`` and squared weights ``W`` the minimum of ``sum W (y - f)^2`` is found by modified
Gram-Schmidt on the columns: a coordinate far from zero costs no digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns, inner

__all__ = ["Basis", "chi_square", "columns_at", "residual_of", "solved"]

_LOST = 1e-9  # of a column's length: what is left of it is rounding


@dataclass(frozen=True)
class Basis:
    """Columns that are orthonormal under the weights of each fit."""

    columns: list[np.ndarray]
    lengths: list[np.ndarray]
    mixed: list[list[np.ndarray]]

    @classmethod
    def of(cls, columns: list[np.ndarray], W: np.ndarray) -> Basis:
        """That of columns (n, 1) or (n, b); one that depends on those before it becomes 0."""
        basis = cls([], [], [])
        for column in columns:
            basis = basis.with_column(column, W)
        return basis

    def with_column(self, column: np.ndarray, W: np.ndarray) -> Basis:
        """The basis with one more column."""
        left, shares = column, []
        before = inner(W, column * column)
        for q in self.columns:
            share = inner(W * q, left)
            left = left - share * q
            shares.append(share)
        length = np.sqrt(inner(W, left * left))
        good = length > _LOST * np.sqrt(before)
        by = np.where(good, length, np.inf)
        return Basis([*self.columns, left / by], [*self.lengths, by], [*self.mixed, shares])

    def removed(self, y: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """What is left of ``y`` (n, b), and how much of each column was in it."""
        shares = []
        for q in self.columns:
            share = inner(W * q, y)
            y = y - share * q
            shares.append(share)
        return y, shares

    def coefficients(self, shares: list[np.ndarray]) -> list[np.ndarray]:
        """Factors (b,) of the columns as they were given, from what `removed` gives."""
        found: list[np.ndarray] = [np.zeros(1)] * len(shares)
        for j in range(len(shares) - 1, -1, -1):
            share = shares[j]
            for k in range(j + 1, len(shares)):
                share = share - self.mixed[k][j] * found[k]
            found[j] = share / self.lengths[j]
        return found


def columns_at(fits: SampleColumns, P: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The model (n, b) with the linear parameters ``which`` (K,) at 0, and their columns.

    Where it is no number, at a sample that is left out or not, it is 0: no weight makes it harmless.
    """
    problem = fits.problem
    P = np.where(which[:, None], 0.0, P)
    zero = problem.evaluate(fits.inputs, problem.with_ties(P))
    columns = []
    for j in np.flatnonzero(which).tolist():
        one = P.copy()
        one[j] = 1.0
        columns.append(_numbers(problem.evaluate(fits.inputs, problem.with_ties(one)) - zero))
    return _numbers(zero), columns


def _numbers(a: np.ndarray) -> np.ndarray:
    good = np.isfinite(a)
    return a if good.all() else np.where(good, a, 0.0)


def solved(fits: SampleColumns, P: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with the linear ones at the minimum inside their bounds, and the ties applied."""
    which = fits.linear
    P = fits.problem.with_ties(P)
    numbers = np.flatnonzero(which).tolist()
    if not numbers:
        return P
    zero, columns = columns_at(fits, P, which)
    values = _minimum(fits, fits.y - zero, columns)
    low, high = fits.lower[which], fits.upper[which]
    outside = (values < low) | (values > high)
    if outside.any():  # those on their bound are held there, and the others solved again
        values = np.clip(values, low, high)
        at_bound = sum((np.where(o, v, 0.0) * c for o, v, c in zip(outside, values, columns, strict=True)), zero)
        kept = [np.where(o, 0.0, c) for o, c in zip(outside, columns, strict=True)]
        again = _minimum(fits, fits.y - at_bound, kept)
        values = np.where(outside, values, np.clip(again, low, high))
    P = P.copy()
    P[numbers] = values
    return fits.problem.with_ties(P)


def _minimum(fits: SampleColumns, y: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    """Factors (m, b) of the columns; 0 for one that the others replace."""
    basis = Basis.of(columns, fits.W)
    _, shares = basis.removed(y, fits.W)
    return np.stack([np.broadcast_to(a, (y.shape[1],)) for a in basis.coefficients(shares)])


def residual_of(fits: SampleColumns, P: np.ndarray) -> np.ndarray:
    """Data minus model (n, b), 0 where a sample is left out."""
    left = fits.y - fits.problem.evaluate(fits.inputs, P)
    return np.where(fits.W > 0.0, left, 0.0)


def chi_square(fits: SampleColumns, P: np.ndarray) -> np.ndarray:
    """Weighted sum of squares of each fit, infinite where the model is no number, shape (b,)."""
    left = residual_of(fits, P)
    chi2 = inner(fits.W, left * left)
    return np.where(np.isfinite(chi2), chi2, np.inf)
