"""Small systems of equations of one fit, for compiled loops.

``V`` (ROWS, k), ``Q`` (3, k, k) and ``B`` (2, k) hold the vectors, matrices and truths of the free parameters; their
rows have the names that stand below. Numbers lie in few arrays, since each array more costs the compiler time.
"""

from xr_modelfit.compiled.lanes import helper
from xr_modelfit.compiled.source import ROWS

__all__ = ["normalise", "solve", "step_inside"]

(
    PLACE, SLOPE, SCALED, INVERSE, LARGEST, SHIFT, X, STEP, BEFORE, LOW, HIGH, PUSH, REST, CUT, Z, BENT, PIVOT,
) = range(ROWS)  # fmt: skip
NORMAL, MATRIX, LOWER = range(3)  # J'J, the same of columns of length 1, its factor
USED, OVER = range(2)


@helper
def solve(Q, V, B, right, by, singular):
    """``(M + by * diag(shift)) x = V[right]`` by factors L D L'; directions without pivot, or not used, are left out.

    Returns ``x' V[right]``.
    """
    k = V.shape[1]
    for j in range(k):
        pivot = Q[MATRIX, j, j] + by * V[SHIFT, j]
        total = V[right, j]
        for m in range(j):
            below = Q[LOWER, j, m]
            pivot -= below * below * V[PIVOT, m]
            total -= below * V[Z, m]
        good = B[USED, j] and pivot > singular
        inverse = 1.0 / pivot if good else 0.0
        V[PIVOT, j] = pivot if good else 0.0
        V[Z, j] = total
        V[X, j] = total * inverse
        for i in range(j + 1, k):
            total = Q[MATRIX, i, j]
            for m in range(j):
                total -= Q[LOWER, i, m] * Q[LOWER, j, m] * V[PIVOT, m]
            Q[LOWER, i, j] = total * inverse
    gain = 0.0
    for j in range(k - 1, -1, -1):
        total = V[X, j]
        for i in range(j + 1, k):
            total -= Q[LOWER, i, j] * V[X, i]
        V[X, j] = total
        gain += total * V[right, j]
    return gain


@helper
def _crosses(V, j):
    return V[PLACE, j] + V[STEP, j] < V[LOW, j] or V[PLACE, j] + V[STEP, j] > V[HIGH, j]


@helper
def step_inside(Q, V, B, by, singular):
    """The step, solved again with those parameters on their bounds that it would carry across."""
    k = V.shape[1]
    more = False
    for j in range(k):
        B[OVER, j] = B[USED, j] and _crosses(V, j)
        more = more or B[OVER, j]
    rounds = 0
    while more and rounds < k:
        rounds += 1
        more = False
        for j in range(k):
            V[CUT, j] = 0.0
            if B[OVER, j]:
                V[CUT, j] = (min(max(V[PLACE, j] + V[STEP, j], V[LOW, j]), V[HIGH, j]) - V[PLACE, j]) / V[INVERSE, j]
        for i in range(k):
            V[REST, i] = V[SCALED, i]
            for j in range(k):
                V[REST, i] -= Q[MATRIX, i, j] * V[CUT, j]
        for i in range(k):
            for j in range(k):
                if B[OVER, i] or B[OVER, j]:
                    Q[MATRIX, i, j] = 0.0
            if B[OVER, i]:
                V[REST, i] = 0.0
        solve(Q, V, B, REST, by, singular)
        for j in range(k):
            V[STEP, j] = (V[CUT, j] if B[OVER, j] else V[X, j]) * V[INVERSE, j]
        for j in range(k):
            if B[USED, j] and not B[OVER, j] and _crosses(V, j):
                B[OVER, j] = True
                more = True
        normalise(Q, V, B)


@helper
def normalise(Q, V, B):
    """``M``: the matrix ``H`` of the parameters in use, with columns of length 1."""
    k = V.shape[1]
    for a in range(k):
        for b in range(a + 1):
            both = B[USED, a] and B[USED, b]
            Q[MATRIX, a, b] = Q[MATRIX, b, a] = Q[NORMAL, a, b] * V[INVERSE, a] * V[INVERSE, b] if both else 0.0
