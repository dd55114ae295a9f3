"""Small systems of equations of the fits that are side by side, and formulas of their steps, for compiled loops.

The formulas are those of `fitters.levenberg_marquardt`, where they are derived.

``V`` (ROWS, k, LANES) and ``Q`` (3, k, k, LANES) hold the vectors and matrices of the free parameters; their rows have
the names that stand below. Numbers lie in few arrays, since each array more costs the compiler time. What holds or
not is 1 or 0.
"""

import numpy as np

from xr_modelfit.fitters.compiled.lanes import HERE, helper, rows
from xr_modelfit.fitters.compiled.vectors import anywhere, choose, load, save, sqrt, wide, zero
from xr_modelfit.tracing.source import ROWS

__all__ = [
    "add_priors", "clip", "is_last", "keep_away", "normalise", "predicted", "prepare", "solve", "step_inside",
    "still_moves", "stretched",
]  # fmt: skip

(
    PLACE, SLOPE, SCALED, INVERSE, LARGEST, SHIFT, X, STEP, BEFORE, LOW, HIGH, PUSH, REST, CUT, Z, BENT, PIVOT, USED,
    OVER, PRIOR, TRUST,
) = rows(ROWS)  # fmt: skip
NORMAL, MATRIX, LOWER = rows(3)  # J'J, the same of columns of length 1, its factor


@helper
def clip(value, low, high):
    value = choose(value < low, low, value)
    return choose(value > high, high, value)


@helper
def solve(Q, V, right, by, singular):
    """``(M + by * diag(shift)) x = V[right]`` by factors L D L'; directions without pivot, or not used, are left out.

    Returns ``x' V[right]``.
    """
    k = V.shape[1]
    for j in range(k):
        pivot = load(Q, (MATRIX, j, j)) + by * load(V, (SHIFT, j))
        total = load(V, (right, j))
        for m in range(j):
            below = load(Q, (LOWER, j, m))
            pivot -= below * below * load(V, (PIVOT, m))
            total -= below * load(V, (Z, m))
        good = (load(V, (USED, j)) != 0.0) & (pivot > singular)
        inverse = choose(good, 1.0 / pivot, 0.0)
        save(V, (PIVOT, j), choose(good, pivot, 0.0))
        save(V, (Z, j), total)
        save(V, (X, j), total * inverse)
        for i in range(j + 1, k):
            total = load(Q, (MATRIX, i, j))
            for m in range(j):
                total -= load(Q, (LOWER, i, m)) * load(Q, (LOWER, j, m)) * load(V, (PIVOT, m))
            save(Q, (LOWER, i, j), total * inverse)
    gain = zero()
    for j in range(k - 1, -1, -1):
        total = load(V, (X, j))
        for i in range(j + 1, k):
            total -= load(Q, (LOWER, i, j)) * load(V, (X, i))
        save(V, (X, j), total)
        gain += total * load(V, (right, j))
    return gain


@helper
def add_priors(P, row, ours, V, S):
    """Add the priors to chi-square, ``g`` and ``H`` of a row of P; see `fitters.priors`."""
    for a in range(ours.size):
        trust = load(V, (TRUST, a))
        missing = trust * (load(V, (PRIOR, a)) - load(P, (row, ours[a])))
        save(S, (0, 0), load(S, (0, 0)) + missing * missing)
        save(S, (1 + a, 0), load(S, (1 + a, 0)) + trust * missing)
        save(S, (1 + a, 1 + a), load(S, (1 + a, 1 + a)) + trust * trust)


@helper
def _crosses(V, j):
    there = load(V, (PLACE, j)) + load(V, (STEP, j))
    return (load(V, (USED, j)) != 0.0) & ((there < load(V, (LOW, j))) | (there > load(V, (HIGH, j))))


@helper
def step_inside(Q, V, by, singular):
    """The step, solved again with those parameters on their bounds that it would carry across."""
    k = V.shape[1]
    more = _crosses(V, np.int64(0))
    for j in range(k):
        over = _crosses(V, j)
        save(V, (OVER, j), choose(over, 1.0, 0.0))
        more |= over
    rounds = 0
    while rounds < k and anywhere(more):
        rounds += 1
        for j in range(k):
            place = load(V, (PLACE, j))
            there = clip(place + load(V, (STEP, j)), load(V, (LOW, j)), load(V, (HIGH, j)))
            over = load(V, (OVER, j)) != 0.0
            save(V, (CUT, j), choose(over, (there - place) / load(V, (INVERSE, j)), 0.0))
        for i in range(k):
            rest = load(V, (SCALED, i))
            for j in range(k):
                rest -= load(Q, (MATRIX, i, j)) * load(V, (CUT, j))
            save(V, (REST, i), choose(load(V, (OVER, i)) != 0.0, 0.0, rest))
        for i in range(k):
            for j in range(k):
                either = (load(V, (OVER, i)) != 0.0) | (load(V, (OVER, j)) != 0.0)
                save(Q, (MATRIX, i, j), choose(either, 0.0, load(Q, (MATRIX, i, j))))
        solve(Q, V, REST, by, singular)
        again = more & False
        for j in range(k):
            over = load(V, (OVER, j)) != 0.0
            step = choose(over, load(V, (CUT, j)), load(V, (X, j))) * load(V, (INVERSE, j))
            save(V, (STEP, j), choose(more, step, load(V, (STEP, j))))
            across = more & _crosses(V, j) & (load(V, (OVER, j)) == 0.0)
            save(V, (OVER, j), choose(across, 1.0, load(V, (OVER, j))))
            again |= across
        more = again
        normalise(Q, V)


@helper
def normalise(Q, V):
    """``M``: the matrix ``H`` of the parameters in use, with columns of length 1."""
    k = V.shape[1]
    for a in range(k):
        for b in range(a + 1):
            both = (load(V, (USED, a)) != 0.0) & (load(V, (USED, b)) != 0.0)
            scaled = load(Q, (NORMAL, a, b)) * load(V, (INVERSE, a)) * load(V, (INVERSE, b))
            scaled = choose(both, scaled, 0.0)
            save(Q, (MATRIX, a, b), scaled)
            save(Q, (MATRIX, b, a), scaled)


@helper
def prepare(P, ours, Q, V, damping, fade, begun):
    """See `fitters.levenberg_marquardt.system_of`."""
    for a in range(ours.size):
        place, slope = load(P, (HERE, ours[a])), load(V, (SLOPE, a))
        low, high = load(V, (LOW, a)), load(V, (HIGH, a))
        length = sqrt(load(Q, (NORMAL, a, a)))
        clamped = ((place <= low) & (slope <= 0.0)) | ((place >= high) & (slope >= 0.0))
        used = (low != high) & (not clamped) & (length > 0.0)
        inverse = choose(used, 1.0 / length, 1.0)
        before = load(V, (LARGEST, a))
        faded = fade * before
        largest = choose(faded >= length, faded, length)
        ratio = choose(used, largest * inverse, 1.0)
        save(V, (USED, a), choose(used, 1.0, 0.0))
        save(V, (PLACE, a), place)
        save(V, (INVERSE, a), inverse)
        save(V, (LARGEST, a), choose(begun, largest, before))
        save(V, (SCALED, a), choose(used, slope * inverse, 0.0))
        save(V, (SHIFT, a), damping * ratio * ratio)
    normalise(Q, V)


@helper
def still_moves(V, promised):
    """See `fitters.levenberg_marquardt.still_promised`; ``promised``: by all parameters."""
    moving, stays = zero(), zero()
    for a in range(V.shape[1]):
        place, x = load(V, (PLACE, a)), load(V, (X, a))
        still = (load(V, (USED, a)) != 0.0) & (place + x * load(V, (INVERSE, a)) == place)  # no number is nearer
        stays = choose(still, 1.0, stays)
        moving += choose(still, 0.0, abs(load(V, (SCALED, a)) * x))
    return choose(stays != 0.0, moving, promised)


@helper
def is_last(V, promised, chi2, size2, dof, rules):
    """See `fitters.levenberg_marquardt.is_last`."""
    enough = rules.xtol * rules.xtol / choose(dof > 1.0, dof, 1.0)
    last = promised <= choose(enough <= rules.ftol, enough, wide(rules.ftol)) * chi2
    for a in range(V.shape[1]):
        last &= abs(load(V, (SCALED, a))) <= rules.gtol * sqrt(chi2)
    return last | (promised <= rules.rounding * rules.rounding * size2)


@helper
def keep_away(V, early, reach):
    """See `fitters.levenberg_marquardt.away_from_bounds`."""
    for a in range(V.shape[1]):
        place, step = load(V, (PLACE, a)), load(V, (STEP, a))
        low, high = reach * (load(V, (LOW, a)) - place), reach * (load(V, (HIGH, a)) - place)
        save(V, (STEP, a), choose(early, clip(step, low, high), step))


@helper
def stretched(V, stretch, steady, rules):
    """See `fitters.levenberg_marquardt.stretch_of`; also the squared step. Ends the step at the bounds."""
    both, then2, now2 = zero(), zero(), zero()
    for a in range(V.shape[1]):
        place = load(V, (PLACE, a))
        step = clip(place + load(V, (STEP, a)), load(V, (LOW, a)), load(V, (HIGH, a))) - place
        save(V, (STEP, a), step)
        inverse = load(V, (INVERSE, a))
        now, then = step / inverse, load(V, (BEFORE, a)) / inverse
        both += now * then
        then2 += then * then
        now2 += now * now
    factor = stretch / (1.0 - both / then2)
    good = steady & (both * both >= rules.aligned * then2 * now2) & (factor > rules.shortest)
    most = rules.longest * stretch
    return choose(good, choose(factor < most, factor, most), 1.0), now2


@helper
def predicted(Q, V):
    """See `fitters.levenberg_marquardt.predicted_reduction`."""
    predicted = zero()
    for a in range(V.shape[1]):
        total = 2.0 * load(V, (SLOPE, a))
        for b in range(V.shape[1]):
            total -= load(Q, (NORMAL, a, b)) * load(V, (STEP, b))
        predicted += load(V, (STEP, a)) * total
    return predicted
