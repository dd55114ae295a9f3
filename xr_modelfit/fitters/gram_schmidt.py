"""Orthogonal factorisation of the Jacobians of many fits, by modified Gram-Schmidt.

``J = Q R S`` with ``S`` the lengths of the columns, ``Q`` orthonormal, ``R`` upper triangular with
a nearly unit scale. Scaling first keeps units and badly centred coordinates from costing digits;
``R`` and a right-hand side that is treated as a further column are as good as Householder's
(Björck, Å. (1996), Numerical Methods for Least Squares Problems, SIAM, section 2.4).

Shapes: ``n`` samples, ``k`` columns, ``b`` fits; columns (n, b), or (n, 1) where all fits share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xr_modelfit.fitters.sums import dot, norm2

__all__ = ["Factors", "factorise"]


@dataclass(frozen=True)
class Factors:
    """``J = Q R S`` for every fit."""

    Q: list[np.ndarray]  # k of (n, b), zero for columns that are left out
    R: np.ndarray  # (k, k, b)
    S: np.ndarray  # (k, b)
    active: np.ndarray  # (k, b), columns that were asked for
    full_rank: np.ndarray  # (b,)

    def taken(self, at: np.ndarray) -> "Factors":
        """Those of the fits ``at``, some perhaps several times."""
        return Factors(
            [q[:, at] for q in self.Q], self.R[..., at], self.S[:, at], self.active[:, at], self.full_rank[at]
        )

    def remove(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``z = Q'r``, shape (k, b), and what is left of ``r``."""
        z = np.zeros((len(self.Q), r.shape[1]))
        for j, q in enumerate(self.Q):
            z[j] = dot(np.broadcast_to(q, r.shape), r)
            r = r - z[j] * q
        return z, r

    def solve(self, z: np.ndarray) -> np.ndarray:
        """``x`` with ``R S x = z``, shape (k, b); 0 where a column is left out."""
        x = np.zeros_like(z)
        for i in range(len(self.Q) - 1, -1, -1):
            total = z[i]
            for m in range(i + 1, len(self.Q)):
                total = total - self.R[i, m] * x[m]
            x[i] = np.where(self.active[i], total / self.R[i, i], 0.0)
        return x / self.S

    def inverse(self) -> np.ndarray:
        """``(J'J)^-1``, shape (k, k, b); 0 in rows and columns that are left out."""
        X = _inverted(self.R, self.active)
        k = len(self.Q)
        out = np.zeros(self.R.shape)
        for i in range(k):
            for j in range(i + 1):
                total = np.zeros(self.R.shape[2])
                for m in range(i, k):
                    total = total + X[i, m] * X[j, m]
                out[i, j] = out[j, i] = total / (self.S[i] * self.S[j])
        return out


def factorise(J: Sequence[np.ndarray], active: np.ndarray, accuracy: float | np.ndarray) -> Factors:
    """Factorise the active columns.

    Parameters
    ----------
    J : sequence of k ndarray, shape (n, b)
    active : ndarray of bool, shape (k, b)
    accuracy : float or ndarray, shape (b,)
        Relative accuracy of the columns. ``1 / |R^-1|`` bounds the smallest singular value of
        the scaled columns from below; at this level times their size, rank is lost.
    """
    k, (n, b) = len(J), J[0].shape if J else (1, active.shape[1])
    length = np.sqrt(np.stack([norm2(c) for c in J])) if J else np.zeros((0, b))
    used = active & (length > 0)
    S = np.where(used, length, 1.0)
    Q = [np.where(used[j], c / S[j], 0.0) for j, c in enumerate(J)]
    R = np.zeros((k, k, b))
    floor = max(n, k) * accuracy
    full_rank = np.ones(b, dtype=bool)
    for j in range(k):
        diagonal = np.sqrt(norm2(Q[j]))
        seen = used[j] & (diagonal > floor)
        full_rank &= seen | ~active[j]
        R[j, j] = np.where(seen, diagonal, 1.0)
        Q[j] = np.where(seen, Q[j] / R[j, j], 0.0)
        for i in range(j + 1, k):
            R[j, i] = dot(Q[j], Q[i])
            Q[i] = Q[i] - R[j, i] * Q[j]
    X = _inverted(R, active)
    largest = np.zeros(b)
    for j in range(k):
        largest = np.maximum(largest, np.sqrt(np.sum(X[: j + 1, j] ** 2, axis=0)))
    return Factors(Q, R, S, active, full_rank & (largest * floor < 1.0))


def _inverted(R: np.ndarray, active: np.ndarray) -> np.ndarray:
    """``R^-1``, upper triangular; 0 in rows and columns that are left out."""
    k = R.shape[0]
    X = np.zeros(R.shape)
    for j in range(k):
        X[j, j] = 1.0 / R[j, j]
        for i in range(j - 1, -1, -1):
            total = np.zeros(R.shape[2])
            for m in range(i + 1, j + 1):
                total = total + R[i, m] * X[m, j]
            X[i, j] = -total / R[i, i]
    return np.where(active[:, None] & active[None, :], X, 0.0)
