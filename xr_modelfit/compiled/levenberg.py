"""Levenberg-Marquardt of one fit after the other, compiled: the same steps as `xr_modelfit.fitters.steps`.

``S`` (1 + k + PIECE, 1 + k) is ``(r, J)' (r, J)`` of the weighted residual and Jacobian, its lower triangle, with room
for the model's function behind; the other arrays
are those of `xr_modelfit.compiled.lanes` and `xr_modelfit.compiled.algebra`. Shapes: ``b`` fits of ``n`` samples, ``K``
parameters, ``k`` free ones.
"""

import numpy as np

from xr_modelfit.compiled.algebra import (
    BEFORE,
    BENT,
    HIGH,
    INVERSE,
    LARGEST,
    LOW,
    NORMAL,
    PLACE,
    PUSH,
    SCALED,
    SHIFT,
    SLOPE,
    STEP,
    USED,
    X,
    normalise,
    solve,
    step_inside,
)  # fmt: skip
from xr_modelfit.compiled.lanes import HERE, LANES, PIECE, THERE, gather, helper, in_any_order, model, size2, tie
from xr_modelfit.compiled.source import LEFT

__all__ = ["solve_all"]


@in_any_order
def _bend(columns, tied, pieces, D, P, ours, V, J, along):
    """``J' r_ss``: the second derivative of the residual along the step, seen by the Jacobian."""
    k, w = ours.size, D.shape[0] - 1
    for j in range(P.shape[1]):
        P[THERE, j] = P[HERE, j]
    for a in range(k):
        P[THERE, ours[a]] += along * V[STEP, a]
        V[PUSH, a] = 0.0
    if tied:
        tie(tied, P, THERE)
    model(columns, pieces, D, P, THERE, J)
    beside = J.shape[0] // 2  # the second half of J
    for piece in range(pieces):
        for s in range(PIECE):
            J[beside + piece, 0, s] = J[piece, 0, s]
    model(columns, pieces, D, P, HERE, J)
    for piece in range(pieces):
        for s in range(PIECE):  # minus the difference of the residuals
            J[beside + piece, 0, s] -= J[piece, 0, s]
        for a in range(k):
            for s in range(PIECE):
                J[beside + piece, 0, s] -= along * V[STEP, a] * J[piece, 1 + a, s]
        for s in range(PIECE):
            at = piece * PIECE + s
            J[beside + piece, 0, s] *= -2.0 / (along * along) * D[w, at] * D[w, at]
        for a in range(k):
            total = 0.0
            for s in range(PIECE):
                total += J[piece, 1 + a, s] * J[beside + piece, 0, s]
            V[PUSH, a] += total


@helper
def _prepare(P, ours, Q, V, B, damping, fade):
    """The scaled system of the next step: parameters on a bound that the slope would carry out are left aside."""
    for a in range(ours.size):
        place, slope = P[HERE, ours[a]], V[SLOPE, a]
        length = np.sqrt(Q[NORMAL, a, a])
        clamped = (place <= V[LOW, a] and slope <= 0) or (place >= V[HIGH, a] and slope >= 0)
        used = V[LOW, a] != V[HIGH, a] and not clamped and length > 0
        inverse = 1.0 / length if used else 1.0
        largest = max(fade * V[LARGEST, a], length)
        ratio = largest * inverse if used else 1.0
        B[USED, a], V[PLACE, a], V[INVERSE, a], V[LARGEST, a] = used, place, inverse, largest
        V[SCALED, a] = slope * inverse if used else 0.0
        V[SHIFT, a] = damping * ratio * ratio
    normalise(Q, V, B)


@helper
def _still_moves(Q, V, B, promised):
    """The reduction that is promised by parameters which the undamped step still changes."""
    moving, stays = 0.0, False
    for a in range(V.shape[1]):
        if B[USED, a] and V[PLACE, a] + V[X, a] * V[INVERSE, a] == V[PLACE, a]:  # no number is nearer to the minimum
            stays = True
        else:
            moving += abs(V[SCALED, a] * V[X, a])
    return moving if stays else promised


@helper
def _stretched(V, promised, chi2, damping, stretch, near, aligned):
    """The factor of the step of a fit that approaches its minimum at a steady rate, and the squared step."""
    both, then2, now2 = 0.0, 0.0, 0.0
    for a in range(V.shape[1]):
        V[STEP, a] = min(max(V[PLACE, a] + V[STEP, a], V[LOW, a]), V[HIGH, a]) - V[PLACE, a]
        now, then = V[STEP, a] / V[INVERSE, a], V[BEFORE, a] / V[INVERSE, a]
        both += now * then
        then2 += then * then
        now2 += now * now
    if promised <= near * chi2 and damping < near and both * both >= aligned * then2 * now2:
        factor = stretch / (1.0 - both / then2)
        if factor > 0.4 and factor < 3.0:
            return factor, now2
    return 1.0, now2


@helper
def _propose(columns, tied, pieces, D, P, ours, Q, V, B, J, rules, state):
    """The next step, as `xr_modelfit.fitters.steps.step` chooses it; P[THERE] is where it leads.

    Returns the reduction of chi-square that it predicts, the one that is still possible, and whether it is the last.
    """
    _, ftol, xtol, gtol, _, slow, along, alpha, forget, rounding, _, near, aligned, _, singular = rules
    chi2, size2, damping, stretch, n_iter = state[0], state[1], state[2], state[3], state[4]
    k = ours.size
    _prepare(P, ours, Q, V, B, damping, 1.0 if n_iter < slow else forget)
    # A damped step that gains much tells that the fit is far from done; its gain is less than is promised.
    promised = solve(Q, V, B, SCALED, 1.0, singular)
    by = 1.0
    if promised <= near * chi2:
        promised = _still_moves(Q, V, B, solve(Q, V, B, SCALED, 0.0, singular))
        last = promised <= min(xtol * xtol, ftol) * chi2
        for a in range(k):
            last = last and abs(V[SCALED, a]) <= gtol * np.sqrt(chi2)
        if last or promised <= rounding * rounding * size2:
            by = 0.0
        else:
            solve(Q, V, B, SCALED, 1.0, singular)
    for a in range(k):
        V[STEP, a] = V[X, a] * V[INVERSE, a]
        V[BENT, a] = 0.0
    step_inside(Q, V, B, by, singular)
    state[3], now2 = _stretched(V, promised, chi2, damping, stretch, near, aligned)
    if n_iter >= slow and by == 1.0:
        _bend(columns, tied, pieces, D, P, ours, V, J, along)
        for a in range(k):
            V[PUSH, a] = V[PUSH, a] * V[INVERSE, a] if B[USED, a] else 0.0
        solve(Q, V, B, PUSH, 1.0, singular)
        size = 0.0
        for a in range(k):
            size += V[X, a] * V[X, a]
        if size <= alpha * alpha * now2:
            for a in range(k):
                V[BENT, a] = 0.5 * V[X, a] * V[INVERSE, a]
    predicted = 0.0
    for j in range(P.shape[1]):
        P[THERE, j] = P[HERE, j]
    for a in range(k):
        there = V[PLACE, a] + state[3] * V[STEP, a] + V[BENT, a]
        P[THERE, ours[a]] = min(max(there, V[LOW, a]), V[HIGH, a])
        total = 2.0 * V[SLOPE, a]
        for b in range(k):
            total -= Q[NORMAL, a, b] * V[STEP, b]
        predicted += V[STEP, a] * total
    return predicted, promised, by == 0.0


@helper
def _go_there(P, S, Q, V):
    """Take the step; whether the new slopes are finite."""
    sound = True
    for j in range(P.shape[1]):
        P[HERE, j] = P[THERE, j]
    for a in range(V.shape[1]):
        V[SLOPE, a] = S[1 + a, 0]
        for b in range(a + 1):
            Q[NORMAL, a, b] = Q[NORMAL, b, a] = S[1 + a, 1 + b]
        sound = sound and np.isfinite(S[1 + a, 0]) and np.isfinite(S[1 + a, 1 + a])
    return sound


@helper
def solve_all(
    sums, columns, tied, ids, y, x, weights, valid, starts, low, high, ours, rules,
    out_P, out_status, out_iter, out_sums, D, J, P, Q, V, B, S, state,
):  # fmt: skip
    """Fit those of the fits that ``ids`` names.

    Parameters
    ----------
    sums, columns, tied : int
        Addresses of the model's functions; ``tied`` is 0 where nothing is tied.
    ids : ndarray of int
    y : ndarray, shape (b, n)
    x : ndarray, shape (n_inputs, 1 or b, n)
    weights, valid : ndarray, shape (0, 1 or b, n), (0 or b, n)
        Without rows: all are 1, all are valid.
    starts, low, high : ndarray, shape (b, K)
    ours : ndarray of int, shape (k,)
        The free parameters.
    rules : tuple of float
        Options, and constants of the steps.
    out_P, out_status, out_iter : ndarray, shape (b, K), (b,), (b,)
        Written to.
    out_sums : ndarray, shape (ids.size, 2 + k, 1 + k)
        Written to: chi-square, ``g`` and ``H`` where each fit has ended, and in the last row the squared length of
        its weighted data.
    """
    maxiter, first_damping, stuck, most_flat = rules[0], rules[4], rules[10], rules[13]
    k, K = ours.size, starts.shape[1]
    for number, i in enumerate(ids):
        n = gather(i, y, x, weights, valid, D)
        pieces, lanes = (n + PIECE - 1) // PIECE, (n + LANES - 1) // LANES
        for j in range(K):
            P[THERE, j] = starts[i, j]
        for a in range(k):
            V[LOW, a], V[HIGH, a] = low[i, ours[a]], high[i, ours[a]]
            V[LARGEST, a] = V[BEFORE, a] = 0.0
        chi2, damping, growth, n_iter, n_flat, status = np.inf, first_damping, 2.0, -1.0, 0.0, 0
        predicted, promised, last = 0.0, 0.0, False
        state[1], state[3] = size2(pieces, D), 1.0
        while status == 0:
            if n_iter >= 0.0:
                state[0], state[2], state[4] = chi2, damping, n_iter
                predicted, promised, last = _propose(columns, tied, pieces, D, P, ours, Q, V, B, J, rules, state)
            if tied:
                tie(tied, P, THERE)
            model(sums, lanes, D, P, THERE, S)
            new = S[0, 0]
            if n_iter < 0.0:  # the start
                n_iter, chi2 = 0.0, new
                if not _go_there(P, S, Q, V):
                    status = LEFT
                if not np.isfinite(chi2):
                    status, n_iter = -8, 1.0
                continue
            flat = predicted <= 1e-12 * chi2  # chi-square can no longer tell a good step
            rho = (chi2 - new) / predicted
            taken = (new < chi2 and rho > 1e-4 and predicted > 0) or (flat and new <= chi2 * (1.0 + 1e-12))
            if taken:
                chi2 = new
                if not _go_there(P, S, Q, V):
                    status = LEFT
                    continue
                if not flat:
                    damping *= max(1.0 / 3.0, 1.0 - (2.0 * rho - 1.0) ** 3)
            else:
                damping *= growth
            growth = 2.0 if taken else 2.0 * growth
            for a in range(k):
                V[BEFORE, a] = V[STEP, a] if taken else 0.0
            n_iter += 1.0
            n_flat = n_flat + 1.0 if flat else 0.0
            if last:
                status = 1
            elif damping > stuck or n_flat >= most_flat:
                status = 1 if promised <= 1e-10 * chi2 else -2
            elif n_iter >= maxiter:
                status = -1
        for j in range(K):
            out_P[i, j] = P[HERE, j]
        out_status[i], out_iter[i] = status, n_iter
        out_sums[number, 0, 0], out_sums[number, 1 + k, 0] = chi2, state[1]
        for a in range(k):
            out_sums[number, 1 + a, 0] = V[SLOPE, a]
            for b in range(k):
                out_sums[number, 1 + a, 1 + b] = Q[NORMAL, a, b]
