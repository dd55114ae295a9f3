"""Small symmetric systems of equations, one for each fit, with bits that depend on that fit alone.

Matrices (k, k, b) and vectors (k, b) have the ``b`` fits last.
"""

import numpy as np

__all__ = ["inverse_of", "solve", "times"]


def solve(M: np.ndarray, h: np.ndarray, shifts: np.ndarray, singular: float) -> np.ndarray:
    """``(M + diag(shift)) x = h`` by Cholesky for every fit and shift; directions are left out
    where the pivot is no larger than ``singular``.

    Shapes: M (k, k, b), h (k, b), shifts (k, m, b); result (k, m, b).
    """
    k = h.shape[0]
    L: list[list[np.ndarray]] = [[] for _ in range(k)]
    z: list[np.ndarray] = []
    inverse: list[np.ndarray] = []
    for j in range(k):
        pivot = M[j, j] + shifts[j]
        for m in range(j):
            pivot = pivot - L[j][m] * L[j][m]
        good = pivot > singular
        inverse.append(np.where(good, 1.0 / np.sqrt(np.where(good, pivot, 1.0)), 0.0))
        for i in range(j + 1, k):
            total = M[i, j]
            for m in range(j):
                total = total - L[i][m] * L[j][m]
            L[i].append(total * inverse[j])
        total = h[j]
        for m in range(j):
            total = total - L[j][m] * z[m]
        z.append(total * inverse[j])
    x = np.empty(shifts.shape)
    for i in range(k - 1, -1, -1):
        total = z[i]
        for m in range(i + 1, k):
            total = total - L[m][i] * x[m]
        x[i] = total * inverse[i]
    return x


def inverse_of(G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``G^-1``, shape (k, k, b), and the trace of that of ``G`` in a scale of length 1, NaN where ``G`` is singular."""
    k = len(G)
    s = [np.sqrt(G[j, j]) for j in range(k)]
    L, X, inverse = np.zeros(G.shape), np.zeros(G.shape), np.empty(G.shape)
    for j in range(k):
        for i in range(j, k):
            total = G[i, j] / (s[i] * s[j])
            for q in range(j):
                total = total - L[i, q] * L[j, q]
            L[i, j] = np.sqrt(total) if i == j else total / L[j, j]
    for j in range(k):  # X = L^-1
        X[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, k):
            total = L[i, j] * X[j, j]
            for q in range(j + 1, i):
                total = total + L[i, q] * X[q, j]
            X[i, j] = -total / L[i, i]
    trace = np.zeros(G.shape[2])
    for i in range(k):
        for j in range(i + 1):
            total = X[i, i] * X[i, j]
            for q in range(i + 1, k):
                total = total + X[q, i] * X[q, j]
            if i == j:
                trace = trace + total
            inverse[i, j] = inverse[j, i] = total / (s[i] * s[j])
    return inverse, trace


def times(inverse: np.ndarray, g: np.ndarray) -> np.ndarray:
    """``G^-1 g``, shape (k, b)."""
    out = np.empty(g.shape)
    for i in range(len(g)):
        total = inverse[i, 0] * g[0]
        for j in range(1, len(g)):
            total = total + inverse[i, j] * g[j]
        out[i] = total
    return out
