"""Residuals of fits, and what they say, compiled: the scale of a fit, outliers, the scatter under a robust loss.

What is done for each sample is that of `fitters.residuals` and `fitters.sandwich`. Samples that are left out are passed
over, so that they change no bit.

``D``, ``P`` and ``J`` are those of `fitters.compiled.lanes`; ``F`` (n, LANES) has values of the model. Shapes: ``b``
fits of ``n`` samples, of which the ``m`` that ``ids`` names are looked at; ``K`` parameters.
"""

from math import sqrt

import numpy as np

from xr_modelfit.fitters.compiled.lanes import HERE, LANES, PIECE, fill, gather, helper, jacobian, tie
from xr_modelfit.fitters.compiled.vectors import load, save

__all__ = ["left_by_clipping", "sandwich_sums", "scales_of", "write_residuals"]

_NORMAL = 1.482602218505602  # as in `fitters.residuals`
_LEAST = 0.1  # as in `fitters.noise`
_TIMES = 5  # as in `fitters.residuals`
SOFT_L1, HUBER, CAUCHY = 0, 1, 2  # others: arctan


def write_residuals(columns, tied, ids, samples, parameters, R, work):
    """Put ``y - f`` at ``parameters`` (m, K) into R (m, n), NaN where a sample is left out.

    ``samples`` are those of `fitters.compiled.levenberg.solve_all`; ``work`` is room: D, P, J, F.
    """
    y, x, weights, valid, response = samples
    D, P, J, F = work
    own = fill(x, weights, valid, response, D)
    for first in range(0, ids.size, LANES):
        longest = np.int64(0)
        for lane in range(LANES):
            number = min(first + lane, ids.size - 1)
            longest = max(longest, gather(ids[number], lane, y, x, weights, valid, response, own, D)[0])
            for j in range(P.shape[1]):
                P[HERE, j, lane] = parameters[number, j]
        if tied:
            tie(tied, P, HERE)
        for start in range(0, longest, PIECE):
            some = min(PIECE, longest - start)
            jacobian(columns, start, some, D, P, HERE, J, 0)
            for s in range(some):
                save(F, start + s, load(J, (0, s, 0)))
        for lane in range(min(LANES, ids.size - first)):
            i, at = ids[first + lane], 0
            for s in range(y.shape[1]):
                if valid.shape[0] == 0 or valid[i, s]:
                    R[first + lane, s] = y[i, s] - F[at, lane]
                    at += 1
                else:
                    R[first + lane, s] = np.nan


@helper
def _select(a, n, k, room):
    """The k-th smallest of the first ``n`` numbers, which stay; ``room`` (3, n) is written to.

    Numbers that are smaller and larger than a pivot are both written down, without a branch that would be mispredicted.
    """
    some, less, more = room[0], room[1], room[2]
    for i in range(n):
        some[i] = a[i]
    while True:
        first, middle, last = some[0], some[n // 2], some[n - 1]
        pivot = max(min(first, middle), min(max(first, middle), last))
        n_less, n_more = 0, 0
        for i in range(n):
            value = some[i]
            less[n_less] = value
            n_less += value < pivot
            more[n_more] = value
            n_more += value > pivot
        if k < n_less:
            some, less, n = less, some, n_less
        elif k >= n - n_more:
            k -= n - n_more
            some, more, n = more, some, n_more
        else:
            return pivot


@helper
def _median(a, n, room):
    """Median of the first ``n`` numbers; NaN of none."""
    if n == 0:
        return np.nan
    upper = _select(a, n, n // 2, room)
    if n % 2 == 1:
        return upper
    lower, below = -np.inf, 0
    for i in range(n):
        smaller = a[i] < upper
        below += smaller
        lower = max(lower, a[i] if smaller else -np.inf)
    return 0.5 * ((lower if below == n // 2 else upper) + upper)


@helper
def _weight(i, s, weights):
    if weights.shape[0] == 0:
        return 1.0
    return weights[i if weights.shape[0] > 1 else 0, s]


def scales_of(ids, R, weights, out):
    """Put 1.4826 times the median absolute weighted residual of each fit into out (m,); NaN where there is none."""
    n = R.shape[1]
    some, room = np.empty(n), np.empty((3, n))
    for row in range(ids.size):
        count = 0
        for s in range(n):
            size = abs(R[row, s] * _weight(ids[row], s, weights))
            some[count] = size
            count += size < np.inf
        out[row] = _NORMAL * _median(some, count, room)


def left_by_clipping(R, lower, upper, left):
    """Put into left (m, n) which samples are no outliers; see `fitters.residuals.left_by_clipping`."""
    n = R.shape[1]
    some, room = np.empty(n), np.empty((3, n))
    for row in range(R.shape[0]):
        low, high, count = -np.inf, np.inf, 0
        for s in range(n):
            some[count] = R[row, s]
            count += abs(R[row, s]) < np.inf
        for _ in range(_TIMES):
            total, squares, inside = 0.0, 0.0, 0
            for s in range(count):
                total += some[s]
            mean = total / max(count, 1)
            for s in range(count):
                squares += (some[s] - mean) * (some[s] - mean)
            centre, deviation = _median(some, count, room), sqrt(squares / max(count, 1))
            if lower < np.inf:
                low = centre - lower * deviation
            if upper < np.inf:
                high = centre + upper * deviation
            for s in range(count):
                value = some[s]
                some[inside] = value
                inside += (value >= low) & (value <= high)
            if inside == count:
                break
            count = inside
        for s in range(n):
            left[row, s] = (R[row, s] >= low) & (R[row, s] <= high)


@helper
def _slope_and_bend(kind, z):
    """``rho'`` and ``psi' / rho'`` of a loss, of the squared residual."""
    if kind == SOFT_L1:
        slope = 1.0 / sqrt(1.0 + z)
        return slope, slope * slope
    if kind == HUBER:
        return 1.0 / sqrt(max(z, 1.0)), 1.0 if z <= 1.0 else 0.0
    if kind == CAUCHY:
        slope = 1.0 / (1.0 + z)
        return slope, 2.0 * slope - 1.0
    slope = 1.0 / (1.0 + z * z)
    return slope, 4.0 * slope - 3.0


def sandwich_sums(ids, R, weights, valid, kind, out):
    """Put sums over samples of ``psi^2``, ``psi'``, its square and ``h / w^2`` into out (m, 4)."""
    for row in range(ids.size):
        i = ids[row]
        squares, slopes, slopes2, etas = 0.0, 0.0, 0.0, 0.0
        for s in range(R.shape[1]):
            if valid.shape[0] == 0 or valid[i, s]:
                u = R[row, s] * _weight(i, s, weights)
                slope, bend = _slope_and_bend(kind, u * u)
                psi, psi_slope = u * slope, slope * bend
                squares += psi * psi
                slopes += psi_slope
                slopes2 += psi_slope * psi_slope
                etas += slope * max(bend, _LEAST)
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = squares, slopes, slopes2, etas
