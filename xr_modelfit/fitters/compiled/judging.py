"""Judgement on fits that are clear cases, compiled: what `fitters.acceptance` does where NumPy iterates.

One fit after the other, each as it ends: NumPy would take some hundred operations on small arrays, and threads would
wait for each other at each.
"""

from math import sqrt

from xr_modelfit.fitters.compiled.lanes import helper

__all__ = ["judge"]


@helper
def _on_bound(p, low, high, length, slope, near, still):
    """See `fitters.covariance.on_bound`."""
    if not length > 0.0:
        return False
    on_low = (p <= low and slope <= still) or ((p - low) * length <= near and slope <= -near * length)
    on_high = (p >= high and slope >= -still) or ((high - p) * length <= near and slope >= near * length)
    return on_low or on_high


@helper
def _invert(H, L, X, scale, active):
    """Put the inverse of ``H`` into its place, 0 for what is not active; its trace in a scale of length 1."""
    k = scale.size
    for j in range(k):
        for i in range(j, k):
            total = 1.0 if i == j else 0.0
            if active[i] and active[j]:
                total = H[i, j] / (scale[i] * scale[j])
            for q in range(j):
                total -= L[i, q] * L[j, q]
            L[i, j] = sqrt(total) if i == j else total / L[j, j]
    for j in range(k):
        X[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, k):
            total = L[i, j] * X[j, j]
            for q in range(j + 1, i):
                total += L[i, q] * X[q, j]
            X[i, j] = -total / L[i, i]
    trace = 0.0
    for i in range(k):
        for j in range(i + 1):
            total = X[i, i] * X[i, j]
            for q in range(i + 1, k):
                total += X[q, i] * X[q, j]
            if i == j:
                trace += total
            used = active[i] and active[j]
            H[i, j] = H[j, i] = total / (scale[i] * scale[j]) if used else 0.0
    return trace


@helper
def judge(sums, P, low, high, ours, dof, limits, work, scale, active):
    """Judge a fit by its sums, and write to them: the inverse of ``H``, whether the fit is clear, what is on a bound.

    ``sums`` (2 + k, 1 + k) as `fitters.compiled.levenberg.solve_all` leaves them: at (0, 1) comes 1 or 0 for a clear
    case, in the last row from column 1 on for parameters on a bound. ``P``, ``low``, ``high`` (K,); ``ours`` (k,), the
    free parameters; ``dof``, samples less free parameters; ``limits``, `fitters.acceptance.Limits`. Room: ``work``
    (2, k, k), ``scale`` and ``active`` (k,).
    """
    k, chi2 = ours.size, sums[0, 0]
    some = max(dof, 1.0)
    near = limits.on_bound * sqrt(chi2 / some)
    clear = dof > 0.0 and chi2 - chi2 == 0.0 and 1e-9 * sqrt(sums[1 + k, 0]) <= near
    for a in range(k):
        j, square = ours[a], sums[1 + a, 1 + a]
        scale[a] = sqrt(square)
        free = low[j] != high[j]
        still = 1e-7 * scale[a] * sqrt(chi2)
        held = free and _on_bound(P[j], low[j], high[j], scale[a], sums[1 + a, 0], near, still)
        active[a] = free and not held
        sums[1 + k, 1 + a] = held
        if active[a] and not (limits.shortest < square < limits.longest):
            clear = False
    H = sums[1 : 1 + k, 1:]
    trace = _invert(H, work[0], work[1], scale, active)
    removable = 0.0
    for a in range(k):
        for b in range(k):
            removable += sums[1 + a, 0] * H[a, b] * sums[1 + b, 0]
    scatter = max(chi2 - max(removable, 0.0), 0.0) / some
    clear = clear and trace <= limits.worst and removable <= limits.at_minimum * limits.at_minimum * scatter
    for a in range(k):
        clear = clear and (H[a, a] * scatter - H[a, a] * scatter == 0.0)
    sums[0, 1] = clear
