"""Parameters that a model is linear in, given the others.

With ``f = f0 + sum_j a_j c_j`` and squared weights ``W`` the minimum of ``sum W (y - f)^2`` is found by modified
Gram-Schmidt on the columns: a coordinate far from zero costs no digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns, inner

__all__ = ["Basis", "Solution", "chi_square", "columns_at", "residual_of", "solution", "solved"]

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


@dataclass(frozen=True)
class Solution:
    """Fits whose linear parameters are at the minimum.

    Parameters
    ----------
    P : ndarray, shape (K, b)
    values : ndarray, shape (n, b)
        Of the model; 0 where it is no number.
    columns : list of ndarray, shape (n, b)
        Those of the linear parameters.
    chi2 : ndarray, shape (b,)
        Infinite where the model is no number at a sample that counts.
    """

    P: np.ndarray
    values: np.ndarray
    columns: list[np.ndarray]
    chi2: np.ndarray

    def better(self, other: Solution, where: np.ndarray) -> Solution:
        """This one, but the other ``where`` (b,) that is better."""

        def chosen(mine: np.ndarray, its: np.ndarray) -> np.ndarray:
            return np.where(where, its, mine)

        columns = [chosen(a, b) for a, b in zip(self.columns, other.columns, strict=True)]
        return Solution(
            chosen(self.P, other.P), chosen(self.values, other.values), columns, chosen(self.chi2, other.chi2)
        )


def columns_at(fits: SampleColumns, P: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The model (n, b) with the linear parameters ``which`` (K,) at 0, and their columns.

    Where it is no number, at a sample that is left out or not, it is 0: no weight makes it harmless.
    """
    zero, columns = _columns(fits, P, which)
    return _numbers(zero), [_numbers(c) for c in columns]


def _columns(fits: SampleColumns, P: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    problem = fits.problem
    P = np.where(which[:, None], 0.0, P)
    zero = problem.evaluate(fits.inputs, problem.with_ties(P))
    columns = []
    for j in np.flatnonzero(which).tolist():
        one = P.copy()
        one[j] = 1.0
        columns.append(problem.evaluate(fits.inputs, problem.with_ties(one)) - zero)
    return zero, columns


def _numbers(a: np.ndarray) -> np.ndarray:
    good = np.isfinite(a)
    return a if good.all() else np.where(good, a, 0.0)


def solved(fits: SampleColumns, P: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with the linear ones at the minimum inside their bounds, and the ties applied."""
    P = fits.problem.with_ties(P)
    if not fits.linear.any():
        return P
    return _with_linear(fits, P, *columns_at(fits, P, fits.linear))


def solution(fits: SampleColumns, P: np.ndarray) -> Solution:
    """As `solved`, with what the model is there: it is evaluated no more often than for the columns."""
    P = fits.problem.with_ties(P)
    zero, columns = _columns(fits, P, fits.linear)
    unusable = ~np.isfinite(sum(columns, zero))
    zero, columns = _numbers(zero), [_numbers(c) for c in columns]
    P = _with_linear(fits, P, zero, columns) if columns else P
    values = sum((p * c for p, c in zip(P[fits.linear], columns, strict=True)), zero)
    left = np.where(fits.W > 0.0, fits.y - values, 0.0)
    chi2 = inner(fits.W, left * left)
    if unusable.any():
        chi2 = np.where(np.any(unusable & (fits.W > 0.0), axis=0), np.inf, chi2)
    return Solution(P, values, columns, np.where(np.isfinite(chi2), chi2, np.inf))


def _with_linear(fits: SampleColumns, P: np.ndarray, zero: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    which = fits.linear
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
    P[which] = values
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
