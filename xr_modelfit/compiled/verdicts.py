"""What finished fits are worth, compiled: the same judgement as `xr_modelfit.fitters.covariance`.

Arrays are those of `xr_modelfit.compiled.lanes` and `xr_modelfit.compiled.algebra`.
"""

import numpy as np

from xr_modelfit.compiled.algebra import INVERSE, LOWER, MATRIX, NORMAL, OVER, USED, Z
from xr_modelfit.compiled.lanes import HERE, PIECE, dot, gather, helper, in_any_order, model, tie

__all__ = ["judge_all"]

_TINY, _EPSILON = float(np.finfo(float).tiny), float(np.finfo(float).eps)


@in_any_order
def _weigh(pieces, D, J):
    """Turn values and derivatives into the weighted residual and Jacobian."""
    y, w = D.shape[0] - 2, D.shape[0] - 1
    for piece in range(pieces):
        at = piece * PIECE
        for s in range(PIECE):
            J[piece, 0, s] = (D[y, at + s] - J[piece, 0, s]) * D[w, at + s]
        for m in range(1, J.shape[1]):
            for s in range(PIECE):
                J[piece, m, s] *= D[w, at + s]


@helper
def _shrink(pieces, J, a, factor):
    for piece in range(pieces):
        for s in range(PIECE):
            J[piece, a, s] *= factor


@helper
def _subtract(pieces, J, a, factor, b):
    """``J[a] -= factor * J[b]``."""
    for piece in range(pieces):
        for s in range(PIECE):
            J[piece, a, s] -= factor * J[piece, b, s]


@in_any_order
def _spread(pieces, D):
    """Squares of the weighted spread of the data about its mean, and of the weighted data."""
    y, w = D.shape[0] - 2, D.shape[0] - 1
    weight = first = second = about = 0.0
    for s in range(pieces * PIECE):
        weight += D[w, s] * D[w, s]
        first += D[w, s] * (D[w, s] * D[y, s])
        second += (D[w, s] * D[y, s]) * (D[w, s] * D[y, s])
    mean = first / max(weight, _TINY)
    for s in range(pieces * PIECE):
        about += (D[w, s] * (D[y, s] - mean)) * (D[w, s] * (D[y, s] - mean))
    return about, second


@helper
def _factorise(pieces, J, Q, V, B, floor):
    """``J = Q R S`` of the columns in use, by modified Gram-Schmidt as in `fitters.orthogonal`; whether of full rank.

    J becomes Q, its row 0 what is left of the residual, of which V[Z] is the part along the columns.
    """
    k = V.shape[1]
    full = True
    for a in range(k):
        length = np.sqrt(dot(pieces, J, 1 + a, 1 + a))
        seen = B[USED, a] and length > 0
        V[INVERSE, a] = 1.0 / length if seen else 1.0
        _shrink(pieces, J, 1 + a, 1.0 / length if seen else 0.0)
        for b in range(k):
            Q[MATRIX, a, b] = Q[LOWER, a, b] = 0.0
    for a in range(k):
        length = np.sqrt(dot(pieces, J, 1 + a, 1 + a))
        seen = B[USED, a] and length > floor
        full = full and (seen or not B[USED, a])
        Q[MATRIX, a, a] = length if seen else 1.0
        _shrink(pieces, J, 1 + a, 1.0 / length if seen else 0.0)
        for b in range(a + 1, k):
            Q[MATRIX, a, b] = dot(pieces, J, 1 + a, 1 + b)
            _subtract(pieces, J, 1 + b, Q[MATRIX, a, b], 1 + a)
        V[Z, a] = dot(pieces, J, 1 + a, 0)
        _subtract(pieces, J, 0, V[Z, a], 1 + a)
    return full and _largest_inverse(Q, B) * floor < 1.0


@helper
def _largest_inverse(Q, B):
    """Put the inverse of R, of the columns in use, into Q[LOWER]; returns the length of its longest column."""
    k = Q.shape[1]
    largest = 0.0
    for b in range(k):
        Q[LOWER, b, b] = 1.0 / Q[MATRIX, b, b]
        for a in range(b - 1, -1, -1):
            total = 0.0
            for m in range(a + 1, b + 1):
                total += Q[MATRIX, a, m] * Q[LOWER, m, b]
            Q[LOWER, a, b] = -total / Q[MATRIX, a, a]
    for b in range(k):
        total = 0.0
        for a in range(b + 1):
            if not (B[USED, a] and B[USED, b]):
                Q[LOWER, a, b] = 0.0
            total += Q[LOWER, a, b] * Q[LOWER, a, b]
        largest = max(largest, np.sqrt(total))
    return largest


@helper
def _hold(i, pieces, low, high, free, ours, P, J, V, B, near):
    """Tell which parameters are in use, and which are held on a bound; whether all columns are finite."""
    sound = True
    chi2 = dot(pieces, J, 0, 0)
    for a in range(ours.size):
        j = ours[a]
        length = np.sqrt(dot(pieces, J, 1 + a, 1 + a))
        sound = sound and np.isfinite(length)
        held = False
        if free[i, j] and length > 0:
            downhill = dot(pieces, J, 1 + a, 0)
            still = 1e-7 * length * np.sqrt(chi2)
            above, below = P[HERE, j] - low[i, j], high[i, j] - P[HERE, j]
            held = (above <= 0 and downhill <= still) or (above * length <= near and downhill <= -near * length)
            held = held or (below <= 0 and downhill >= -still) or (below * length <= near and downhill >= near * length)
        B[USED, a], B[OVER, a] = free[i, j] and not held, held
    return sound


@helper
def _covariance(i, T, Q, V, B, factor, known, covariance):
    """The covariance of all parameters, through their derivatives T; NaN where it is not known."""
    k, K = V.shape[1], T.shape[0]
    for j in range(K):
        for m in range(K):
            covariance[i, j, m] = 0.0
    for a in range(k):
        for b in range(a + 1):
            total = 0.0
            for m in range(a, k):
                total += Q[LOWER, a, m] * Q[LOWER, b, m]
            Q[NORMAL, a, b] = Q[NORMAL, b, a] = total * (V[INVERSE, a] * V[INVERSE, b]) * factor
    for a in range(k):
        for b in range(k):
            if B[USED, a] and B[USED, b]:
                for j in range(K):
                    for m in range(K):
                        if T[j, a] != 0 and T[m, b] != 0:
                            covariance[i, j, m] += T[j, a] * Q[NORMAL, a, b] * T[m, b]
    for j in range(K):
        for m in range(K):
            lost = not known or not np.isfinite(covariance[i, j, m])
            for a in range(k):
                lost = lost or (B[OVER, a] and (T[j, a] != 0 or T[m, a] != 0))
            if lost:
                covariance[i, j, m] = np.nan


@helper
def judge_all(
    columns, tied, ids, y, x, weights, valid, parameters, low, high, free, n_points, absolute, ours, rules,
    covariance, chi2s, verdicts, D, J, P, T, Q, V, B,
):  # fmt: skip
    """What fits are worth; arguments as in `solve_all`, and as in `xr_modelfit.fitters.covariance.judge`.

    Parameters
    ----------
    rules : tuple of float
        Accuracy of the columns, and constants of the judgement.
    covariance : ndarray, shape (b, K, K)
        Written to, as are ``chi2s`` (b,) and ``verdicts`` (b, 6): finite, of full rank, stationary, at a minimum, on
        a bound, left to the other engine.
    """
    accuracy, on_bound, near_minimum, exact, at_minimum, no_scatter = rules
    k, K, n = ours.size, parameters.shape[1], y.shape[1]
    for i in ids:
        pieces = (gather(i, y, x, weights, valid, D) + PIECE - 1) // PIECE
        n_free = 0
        for j in range(K):
            P[HERE, j] = parameters[i, j]
            n_free += free[i, j]
        if tied:
            tie(tied, P, HERE, T)
        model(columns, pieces, D, P, HERE, J)
        _weigh(pieces, D, J)
        chi2 = dot(pieces, J, 0, 0)
        dof = n_points[i] - n_free
        spread2, data2 = _spread(pieces, D)
        spread, rounding = np.sqrt(spread2), _EPSILON * np.sqrt(data2)
        near = max(on_bound * np.sqrt(chi2 / max(dof, 1)), 1e-9 * spread)
        sound = _hold(i, pieces, low, high, free, ours, P, J, V, B, near)
        finite = np.isfinite(chi2) and sound
        full = _factorise(pieces, J, Q, V, B, max(n, k) * accuracy)
        removable, n_active, held = 0.0, 0, False
        for a in range(k):
            removable += V[Z, a] * V[Z, a]
            n_active += B[USED, a]
            held = held or B[OVER, a]
            for j in range(K):
                finite = finite and np.isfinite(T[j, a])
        full = full and n_active <= n_points[i]
        scatter = max(chi2 - removable, 0.0) / max(dof, 1)
        enough = max(exact * spread, 4 * rounding)
        chi2s[i] = chi2
        verdicts[i, 0], verdicts[i, 1], verdicts[i, 4] = finite, full, held
        verdicts[i, 2] = removable <= max(near_minimum * near_minimum * scatter, enough * enough)
        verdicts[i, 3] = removable <= max(at_minimum * at_minimum * scatter, (no_scatter * spread) ** 2)
        verdicts[i, 5] = np.isfinite(chi2) and not sound
        factor = 1.0
        if not absolute:
            factor = chi2 / dof if dof > 0 else (np.nan if n_free > 0 else 0.0)
        _covariance(i, T, Q, V, B, factor, full and finite, covariance)
