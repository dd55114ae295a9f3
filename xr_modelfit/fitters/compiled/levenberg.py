"""Levenberg-Marquardt of `LANES` fits side by side, compiled: the same steps as `fitters.levenberg_marquardt`.

A lane whose fit has ended takes the next fit. Fits are independent. A slow fit, which needs steps of another kind, is
put back until all others have begun.

``S`` (1 + k + PIECE, 1 + k, LANES) is ``(r, J)' (r, J)`` of the weighted residual and Jacobian, its lower triangle,
with room for the model's function behind; ``N`` (11, LANES) has single numbers of each fit, in rows that have the
names below. The other arrays are those of `fitters.compiled.lanes` and `fitters.compiled.algebra`.
Shapes: ``b`` fits of ``n`` samples, ``K`` parameters, ``k`` free ones.
"""

import numpy as np

from xr_modelfit.fitters.compiled.algebra import (
    BEFORE,
    BENT,
    HIGH,
    INVERSE,
    LARGEST,
    LOW,
    NORMAL,
    PLACE,
    PRIOR,
    PUSH,
    REST,
    SCALED,
    SLOPE,
    STEP,
    TRUST,
    USED,
    X,
    add_priors,
    clip,
    is_last,
    keep_away,
    predicted,
    prepare,
    solve,
    step_inside,
    still_moves,
    stretched,
)  # fmt: skip
from xr_modelfit.fitters.compiled.judging import judge
from xr_modelfit.fitters.compiled.lanes import (
    BESIDE,
    HERE,
    LANES,
    PIECE,
    THERE,
    fill,
    gather,
    helper,
    jacobian,
    own_row,
    rows,
    sums_of,
    tie,
)
from xr_modelfit.fitters.compiled.vectors import anywhere, choose, load, save, sqrt, wide, zero
from xr_modelfit.status import FitStatus
from xr_modelfit.tracing.source import LEFT, SCALARS

__all__ = ["solve_all"]

CHI2, SIZE2, DAMPING, GROWTH, STRETCH, N_ITER, N_FLAT, PREDICTED, PROMISED, DOF, STATUS = rows(SCALARS)
# Of STATUS, beside what a fit ends with:
GOES_ON, NOTHING_THERE, PUT_BACK = float(FitStatus.NOT_ATTEMPTED), 101.0, 102.0
CONVERGED, MAX_ITERATIONS = float(FitStatus.CONVERGED), float(FitStatus.MAX_ITERATIONS)
NO_PROGRESS, NONFINITE_MODEL = float(FitStatus.NO_PROGRESS), float(FitStatus.NONFINITE_MODEL)


@helper
def _bend(columns, tied, n, w, D, P, ours, V, J, along):
    """``J' r_ss``: the second derivative of the residual along the step, seen by the Jacobian; ``w`` is a row of D."""
    k = ours.size
    for j in range(P.shape[1]):
        save(P, (BESIDE, j), load(P, (HERE, j)))
    for a in range(k):
        save(P, (BESIDE, ours[a]), load(P, (HERE, ours[a])) + along * load(V, (STEP, a)))
        save(V, (PUSH, a), 0.0)
    if tied:
        tie(tied, P, BESIDE)
    for start in range(0, n, PIECE):
        some = min(PIECE, n - start)
        jacobian(columns, start, some, D, P, BESIDE, J, 1)
        jacobian(columns, start, some, D, P, HERE, J, 0)
        for s in range(some):
            bent = load(J, (0, s, 0)) - load(J, (1, s, 0))  # minus the difference of the residuals
            for a in range(k):
                bent += along * load(V, (STEP, a)) * load(J, (0, s, 1 + a))
            weight = load(D, (w, start + s))
            bent = choose(weight == 0.0, 0.0, bent * (2.0 / (along * along) * weight * weight))
            for a in range(k):
                slope = choose(weight == 0.0, 0.0, load(J, (0, s, 1 + a)))
                save(V, (PUSH, a), load(V, (PUSH, a)) + slope * bent)


@helper
def _propose(columns, tied, n, w, D, P, ours, Q, V, N, J, rules):
    """The next step, as `fitters.levenberg_marquardt.step` chooses it; P[THERE] is where it leads.

    ``w`` is the row of D with the weights. Fills rows of N: the reduction of chi-square that it predicts, the one that
    is still possible. Returns whether it is the last.
    """
    slow, singular, near = rules.slow, rules.singular, rules.near
    chi2, damping, stretch, n_iter = load(N, CHI2), load(N, DAMPING), load(N, STRETCH), load(N, N_ITER)
    k = ours.size
    begun = (n_iter >= 0.0) & (load(N, STATUS) == GOES_ON)
    prepare(P, ours, Q, V, damping, choose(n_iter < slow, 1.0, rules.forget), begun)
    # A damped step that gains much tells that the fit is far from done; its gain is less than is promised.
    by = wide(1.0)
    promised = solve(Q, V, SCALED, by, singular)
    close = begun & (promised <= near * chi2)
    if anywhere(close):
        for a in range(k):
            save(V, (REST, a), load(V, (X, a)))
        undamped = still_moves(V, solve(Q, V, SCALED, zero(), singular))
        last = is_last(V, undamped, chi2, load(N, SIZE2), load(N, DOF), rules)
        by = choose(close & last, 0.0, 1.0)
        promised = choose(close, undamped, promised)
        for a in range(k):
            save(V, (X, a), choose(by == 0.0, load(V, (X, a)), load(V, (REST, a))))
    for a in range(k):
        save(V, (STEP, a), load(V, (X, a)) * load(V, (INVERSE, a)))
        save(V, (BENT, a), 0.0)
    step_inside(Q, V, by, singular)
    if rules.cautious > 0.0:
        keep_away(V, n_iter < rules.cautious, rules.reach)
    steady = (promised <= near * chi2) & (damping < near)
    stretch, now2 = stretched(V, stretch, steady, rules)
    bending = begun & (n_iter >= slow) & (by == 1.0) & (rules.alpha > 0.0)
    if anywhere(bending):
        _bend(columns, tied, n, w, D, P, ours, V, J, rules.along)
        for a in range(k):
            used = load(V, (USED, a)) != 0.0
            save(V, (PUSH, a), choose(used, load(V, (PUSH, a)) * load(V, (INVERSE, a)), 0.0))
        solve(Q, V, PUSH, wide(1.0), singular)
        size = zero()
        for a in range(k):
            size += load(V, (X, a)) * load(V, (X, a))
        small = bending & (size <= rules.alpha * rules.alpha * now2)
        for a in range(k):
            save(V, (BENT, a), choose(small, 0.5 * load(V, (X, a)) * load(V, (INVERSE, a)), 0.0))
    for j in range(P.shape[1]):
        save(P, (THERE, j), choose(begun, load(P, (HERE, j)), load(P, (THERE, j))))
    for a in range(k):
        low, high, step = load(V, (LOW, a)), load(V, (HIGH, a)), load(V, (STEP, a))
        there = clip(load(V, (PLACE, a)) + stretch * step + load(V, (BENT, a)), low, high)
        save(P, (THERE, ours[a]), choose(begun, there, load(P, (THERE, ours[a]))))
    save(N, STRETCH, choose(begun, stretch, load(N, STRETCH)))
    save(N, PREDICTED, predicted(Q, V))
    save(N, PROMISED, promised)
    return begun & (by == 0.0)


@helper
def _go_there(P, S, Q, V, taken):
    """Take the step, in lanes where it is taken; where the new slopes are finite."""
    sound = taken | True
    for j in range(P.shape[1]):
        save(P, (HERE, j), choose(taken, load(P, (THERE, j)), load(P, (HERE, j))))
    for a in range(V.shape[1]):
        slope, normal = load(S, (1 + a, 0)), load(S, (1 + a, 1 + a))
        sound &= (slope - slope == 0.0) & (normal - normal == 0.0)
        save(V, (SLOPE, a), choose(taken, slope, load(V, (SLOPE, a))))
        for b in range(a + 1):
            normal = choose(taken, load(S, (1 + a, 1 + b)), load(Q, (NORMAL, a, b)))
            save(Q, (NORMAL, a, b), normal)
            save(Q, (NORMAL, b, a), normal)
    return sound


@helper
def _judge(P, S, Q, V, N, last, rules):
    """See `fitters.levenberg_marquardt.judge_step` and `status_of`; also takes the step."""
    chi2, damping, growth, n_iter = load(N, CHI2), load(N, DAMPING), load(N, GROWTH), load(N, N_ITER)
    expected, promised, new = load(N, PREDICTED), load(N, PROMISED), load(S, (0, 0))
    first, alive = n_iter < 0.0, load(N, STATUS) == GOES_ON
    noise = rules.noise * chi2 + rules.rounding * sqrt(chi2 * load(N, SIZE2))  # of chi-square, by that of the data
    flat = (expected <= noise) & (not first)  # it can no longer tell a good step
    rho = (chi2 - new) / expected
    enough = choose(n_iter < rules.early, rules.poor, wide(rules.gains))
    taken = ((new < chi2) & (rho > enough) & (expected > 0.0)) | (flat & (new <= chi2 + noise))
    taken |= first
    sound = _go_there(P, S, Q, V, taken)
    chi2 = choose(taken, new, chi2)
    unlike = 2.0 * rho - 1.0
    eased = 1.0 - unlike * unlike * unlike
    eased = damping * choose(eased > 1.0 / 3.0, eased, 1.0 / 3.0)
    moved = choose(taken, choose(flat, damping, eased), damping * growth)
    n_flat = choose(flat, load(N, N_FLAT) + 1.0, 0.0)
    for a in range(V.shape[1]):
        save(V, (BEFORE, a), choose(taken & (not first), load(V, (STEP, a)), 0.0))
    n_iter += 1.0
    moved = choose(first, damping, moved)
    given_up = (moved > rules.stuck) | (n_flat >= rules.flat)
    status = choose(n_iter >= rules.maxiter, MAX_ITERATIONS, GOES_ON)
    near = (promised <= rules.at_end * chi2) | (promised <= noise)
    status = choose(given_up, choose(near, CONVERGED, NO_PROGRESS), status)
    status = choose(last, CONVERGED, status)
    status = choose(first, GOES_ON, status)
    status = choose(taken & (not sound), LEFT, status)
    status = choose(first & (chi2 - chi2 != 0.0), NONFINITE_MODEL, status)
    save(N, CHI2, chi2)
    save(N, DAMPING, moved)
    save(N, GROWTH, choose(first, growth, choose(taken, 2.0, 2.0 * growth)))
    save(N, N_ITER, choose(status == NONFINITE_MODEL, 1.0, n_iter))
    save(N, N_FLAT, n_flat)
    status = choose(alive, status, load(N, STATUS))
    save(N, STATUS, status)
    return status


@helper
def _put_down(lane, number, i, P, Q, V, N, out_P, out_status, out_iter, out_sums, kept):
    """Write down where a fit is, and what it needs to go on if it does; returns whether it has ended here."""
    k = V.shape[1]
    for j in range(P.shape[1]):
        out_P[i, j] = P[HERE, j, lane]
    out_status[i], out_iter[i] = N[STATUS, lane], N[N_ITER, lane]
    out_sums[number, 0, 0], out_sums[number, 1 + k, 0] = N[CHI2, lane], N[SIZE2, lane]
    for a in range(k):
        out_sums[number, 1 + a, 0] = V[SLOPE, a, lane]
        for b in range(k):
            out_sums[number, 1 + a, 1 + b] = Q[NORMAL, a, b, lane]
    if N[STATUS, lane] == PUT_BACK:
        for a in range(k):
            kept[number, a], kept[number, k + a] = V[LARGEST, a, lane], V[BEFORE, a, lane]
        for row in range(SCALARS):
            kept[number, 2 * k + row] = N[row, lane]
    return N[STATUS, lane] != PUT_BACK and N[STATUS, lane] != LEFT


@helper
def _take_up(lane, number, i, P, Q, V, N, out_P, out_sums, kept):
    """Go on with a fit that was put back."""
    k = V.shape[1]
    for j in range(P.shape[1]):
        P[HERE, j, lane] = P[THERE, j, lane] = out_P[i, j]
    for a in range(k):
        V[SLOPE, a, lane] = out_sums[number, 1 + a, 0]
        V[LARGEST, a, lane], V[BEFORE, a, lane] = kept[number, a], kept[number, k + a]
        for b in range(k):
            Q[NORMAL, a, b, lane] = out_sums[number, 1 + a, 1 + b]
    for row in range(SCALARS):
        N[row, lane] = kept[number, 2 * k + row]


@helper
def _constrain(lane, i, low, high, mean, trust, ours, V):
    """Put bounds and priors of fit ``i`` into a lane."""
    for a in range(ours.size):
        V[LOW, a, lane], V[HIGH, a, lane] = low[own_row(i, low), ours[a]], high[own_row(i, high), ours[a]]
        if mean.shape[0] > 0:
            V[PRIOR, a, lane] = mean[own_row(i, mean), ours[a]]
            V[TRUST, a, lane] = trust[own_row(i, trust), ours[a]]


@helper
def _begin(lane, n, start, size2, damping, P, V, N):
    """Put a fit of ``n`` samples to its start."""
    for j in range(start.size):
        P[THERE, j, lane] = start[j]
    dof = n
    for a in range(V.shape[1]):
        V[LARGEST, a, lane] = V[BEFORE, a, lane] = 0.0
        dof -= V[LOW, a, lane] != V[HIGH, a, lane]
    N[CHI2, lane], N[SIZE2, lane], N[DAMPING, lane], N[GROWTH, lane] = np.inf, size2, damping, 2.0
    N[STRETCH, lane], N[N_ITER, lane], N[N_FLAT, lane], N[DOF, lane] = 1.0, -1.0, 0.0, dof


def solve_all(functions, ids, samples, tables, rules, limits, out, work):
    """Fit those of the fits that ``ids`` names; `fitters.compiled.kernels` has it compiled.

    Parameters
    ----------
    functions : tuple of int
        Addresses of the model's ``sums``, ``columns`` and ``tied``, which is 0 where nothing is tied.
    ids : ndarray of int
    samples : tuple of ndarray
        ``y`` (b, n); ``x`` (n_inputs, 1 or b, n), or at the nodes, where samples are made of values there; ``weights``
        (0, 1 or b, n) and ``valid`` (0 or b, n), without rows where all are 1, or valid (where samples share nodes,
        none are given, and weights are 0); ``response`` (1 or b, m), the weights of nodes, without columns where
        samples are values of the model.
    tables : tuple of ndarray
        ``starts``, ``low``, ``high`` (1 or b, K); ``mean``, ``trust`` of priors (0, 1 or b, K), without rows where
        there are none; ``ours`` (k,), the numbers of the free parameters.
    rules : fitters.contract.Rules
        Of floats.
    limits : fitters.acceptance.Limits
    out : tuple of ndarray
        Written to: parameters (b, K), status and iterations (b,), and sums (ids.size, 2 + k, 1 + k): chi-square, ``g``
        and the inverse of ``H`` where each fit has ended, in the last row the squared length of its weighted data;
        with what `fitters.compiled.judging.judge` says of it.
    work : tuple of ndarray
        Room: D, J, P, Q, V, N, S; ``kept`` (ids.size, 2 * k + SCALARS) and ``waiting`` (ids.size,) for the fits that
        are put back; ``who`` (LANES,) for the number of the fit in each lane; three that `judge` takes.
    """
    sums, columns, tied = functions
    y, x, weights, valid, response = samples
    starts, low, high, mean, trust, ours = tables
    out_P, out_status, out_iter, out_sums = out
    D, J, P, Q, V, N, S, kept, waiting, who, room, scale, active = work
    own = fill(x, weights, valid, response, D)
    begun, n_waiting, resumed, n_active = 0, 0, 0, 0
    longest = np.int64(0)
    for lane in range(LANES):
        N[STATUS, lane], who[lane] = NOTHING_THERE, -1
    while True:
        for lane in range(LANES):
            if N[STATUS, lane] == GOES_ON:
                continue
            if who[lane] >= 0:
                number, i = who[lane], ids[who[lane]]
                if _put_down(lane, number, i, P, Q, V, N, out_P, out_status, out_iter, out_sums, kept):
                    dof, own_low, own_high = N[DOF, lane], low[own_row(i, low)], high[own_row(i, high)]
                    judge(out_sums[number], out_P[i], own_low, own_high, ours, dof, limits, room, scale, active)
                if N[STATUS, lane] == PUT_BACK:
                    waiting[n_waiting] = who[lane]
                    n_waiting += 1
                who[lane] = -1
                n_active -= 1
                N[STATUS, lane] = NOTHING_THERE
            fresh = begun < ids.size
            if fresh:
                who[lane] = begun
                begun += 1
            elif resumed < n_waiting:
                who[lane] = waiting[resumed]
                resumed += 1
            else:
                continue
            i = ids[who[lane]]
            some, n, size2 = gather(i, lane, y, x, weights, valid, response, own, D)
            longest = max(longest, some)
            n_active += 1
            _constrain(lane, i, low, high, mean, trust, ours, V)
            if fresh:
                _begin(lane, n, starts[own_row(i, starts)], size2, rules.first_damping, P, V, N)
            else:
                _take_up(lane, who[lane], i, P, Q, V, N, out_P, out_sums, kept)
            N[STATUS, lane] = GOES_ON
        if n_active == 0:
            return
        going = True
        while going:
            last = _propose(columns, tied, longest, x.shape[0] + 1, D, P, ours, Q, V, N, J, rules)
            if tied:
                tie(tied, P, THERE)
            sums_of(sums, longest, D, P, THERE, S)
            if mean.shape[0] > 0:
                add_priors(P, THERE, ours, V, S)
            status = _judge(P, S, Q, V, N, last, rules)
            if begun < ids.size:
                put_back = (status == GOES_ON) & (load(N, N_ITER) == rules.slow)
                status = choose(put_back, PUT_BACK, status)
                save(N, STATUS, status)
            going = not anywhere((status != GOES_ON) & (status != NOTHING_THERE))
