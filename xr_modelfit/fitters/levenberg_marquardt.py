r"""One step of every fit in flight: Levenberg and Marquardt, with box bounds.

For one fit with ``n`` samples and ``k`` free parameters ``p``, residual ``r = w (y - f(p))``,
Jacobian ``J = w df/dp``, ``g = J'r`` (minus half the gradient of ``chi2 = r'r``) and
``H = J'J``, a step solves

.. math:: (H + \lambda D^2) s = g,

the damping of Levenberg [1]_ in the scaling of Marquardt: ``D_j`` is the length of column ``J_j``.
Moré [2]_ keeps the largest length that a column has had, so that the steps of a parameter do not
grow where it loses its effect; in a slow fit that length halves with each step, so that a steep
start does not rule for ever. No unit of data, coordinate or parameter enters. The ratio ``rho`` of the
actual to the predicted reduction ``2 g's - s'Hs`` decides whether the step is taken, and
Nielsen's rule [3]_ moves the damping: ``lambda`` shrinks by ``max(1/3, 1 - (2 rho - 1)^3)`` or
grows by ``nu``, ``nu`` doubling. The first steps are taken only where at least half of the predicted
reduction is real: a long first step may lead into another valley than that of the start.

*Bounds.* A parameter on a bound whose gradient points outward leaves system, damping and tests,
and comes back when the gradient turns. A step that would cross bounds is cut there and solved
again for the others; by the damping it turns into a projected gradient step, which descends
[4]_. With ``lambda = 0`` and a linear model this is an active-set method.

*Curved valleys.* A fit that is slow gets the geodesic acceleration of Transtrum and Sethna [5]_:
with ``r_ss``, the second derivative of the residual along the step, ``(H + lambda D^2) a = J' r_ss``
bends the step to ``s + a / 2``, where ``a`` is small against ``s``.

*Steady approach.* Near a minimum with large residuals the steps shrink at a steady rate, along one
line. Where two steps in a row do, ``s' D^2 s_before / |D s_before|^2 = 1 - a (1 - m)`` gives the
rate ``m`` (``a`` is the factor of the step before), and the step is stretched by ``1 / (1 - m)``, as
in Aitken's extrapolation.

*Convergence.* With the undamped step ``s0``, ``d2 = g's0`` is the reduction of ``chi2`` that a
linear model still promises; ``sqrt(d2 / (chi2 / dof))`` is the distance to the minimum in
standard errors. It has no scale and no origin. A fit is done when that is no larger than
``xtol``, ``d2`` no larger than ``ftol chi2`` and the cosine between ``r`` and each column no larger than
``gtol``, or when ``d2`` is at the rounding level of the data, or when chi-square has long been
unable to tell a good step. The last step is taken undamped.

References
----------
.. [1] Levenberg, K. (1944), Quarterly of Applied Mathematics 2, 164.
.. [2] Marquardt, D. (1963), Journal of SIAM 11, 431; Moré, J. (1978), Lecture Notes in
   Mathematics 630, 105.
.. [3] Nielsen, H. B. (1999), Damping parameter in Marquardt's method, IMM, DTU.
.. [4] Kanzow, C., Yamashita, N. and Fukushima, M. (2004), J. Comp. Appl. Math. 172, 375;
   Coleman, T. and Li, Y. (1996), SIAM J. Optimization 6, 418.
.. [5] Transtrum, M. and Sethna, J. (2012), Improvements to the Levenberg-Marquardt algorithm for
   nonlinear least-squares minimization, arXiv:1201.5885.
"""

import numpy as np

from xr_modelfit.analysis.derivatives import weighted
from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import at_least_two
from xr_modelfit.fitters.contract import Options
from xr_modelfit.fitters.sums import columns, dot, norm2
from xr_modelfit.status import FitStatus

__all__ = ["step"]

SLOW = 25  # iterations after which a fit gets the acceleration, and forgets its start
ALONG = 0.1  # of the step, for the second derivative along it
ALPHA = 0.75  # largest acceleration against the step, in the scaling
FORGET = 0.5  # of the largest lengths of the columns, each step of a slow fit
SINGULAR = 1e-14  # a pivot of the scaled matrix below this is no direction
ROUNDING = 8 * np.finfo(float).eps
STUCK = 1e14  # damping beyond which no step is seen
NEAR = 1e-2  # of chi-square promised, and damping, below which steps shrink at a steady rate
ALIGNED = 0.8  # squared cosine of two steps along one line
LONGER = 3.0  # times the factor of the step before, at most
NINE_TENTHS = 0.9
EARLY = 5  # iterations in which a step must gain what it promises
POOR = 0.5  # of the promised gain: less is not enough early
GAINS = 1e-4  # of the promised gain: less is never enough
FLAT = 20  # steps in a row that chi-square cannot judge


def step(fits: ActiveFits, options: Options) -> np.ndarray:
    """One step of every fit; the status of those that are done, else NOT_ATTEMPTED."""
    p, g, H = fits.P[fits.ours], fits.g, fits.H
    low, high = fits.low[fits.ours], fits.high[fits.ours]
    D = np.sqrt(np.einsum("iib->ib", H))
    clamped = ((p <= low) & (g <= 0)) | ((p >= high) & (g >= 0))
    used = fits.free & ~clamped & (D > 0)
    scale = np.where(used, D, 1.0)
    M = np.where(used[:, None] & used[None, :], H / (scale[:, None] * scale[None, :]), 0.0)
    h = np.where(used, g / scale, 0.0)
    fits.D = np.maximum(np.where(fits.n_iter < SLOW, 1.0, FORGET) * fits.D, D)
    shift = fits.damping * np.where(used, (fits.D / scale) ** 2, 1.0)
    x = _solve(M, h, np.stack([np.zeros_like(shift), shift], axis=1))
    gain = h * x[:, 0]
    stays = used & (p + x[:, 0] / scale == p)  # no number is nearer to the minimum
    rest = np.sum(np.where(stays, 0.0, np.abs(gain)), axis=0)
    promised = np.where(stays.any(axis=0), rest, np.sum(gain, axis=0))  # d2
    last = promised <= np.minimum(options.xtol**2 / fits.dof, options.ftol) * fits.chi2
    last &= np.all(np.abs(h) <= options.gtol * np.sqrt(fits.chi2), axis=0)
    last |= promised <= ROUNDING**2 * fits.size2
    s = np.where(last, x[:, 0], x[:, 1]) / scale
    s = _inside(s, p, low, high, M, h, scale, used, np.where(last, 0.0, shift))

    s = np.clip(p + s, low, high) - p
    if fits.cautious:
        early = fits.n_iter < fits.cautious
        s = np.where(early, np.clip(s, -NINE_TENTHS * (p - low), NINE_TENTHS * (high - p)), s)
    P = fits.P.copy()
    stretch = _stretch(fits, s, scale, promised)
    P[fits.ours] = np.clip(p + stretch * s + _bend(fits, s, M, shift, scale, used, last), low, high)
    P = fits.tied(P)
    r, shared = fits.residual(P)
    chi2 = norm2(r)
    predicted = np.sum(s * (2.0 * g - np.einsum("ijb,jb->ib", H, s)), axis=0)
    noise = 1e-12 * fits.chi2 + ROUNDING * np.sqrt(fits.chi2 * fits.size2)  # of chi-square, by that of the data
    flat = predicted <= noise  # it can no longer tell a good step
    rho = (fits.chi2 - chi2) / predicted
    taken = (chi2 < fits.chi2) & (rho > np.where(fits.n_iter < EARLY, POOR, GAINS)) & (predicted > 0)
    taken |= flat & (chi2 <= fits.chi2 + noise)
    fits.move(P, r, chi2, taken, shared)
    fits.before, fits.stretch = np.where(taken, s, 0.0), stretch
    steady = np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.where(taken, rho, 0.0) - 1.0) ** 3)
    fits.damping = np.where(flat & taken, fits.damping, fits.damping * np.where(taken, steady, fits.growth))
    fits.growth = np.where(taken, 2.0, 2.0 * fits.growth)
    fits.n_iter += 1
    fits.n_flat = np.where(flat, fits.n_flat + 1, 0.0)
    return _statuses(fits, last, promised <= np.maximum(1e-10 * fits.chi2, noise), options.maxiter)


def _statuses(fits: ActiveFits, last: np.ndarray, near: np.ndarray, maxiter: int) -> np.ndarray:
    status = np.full(fits.ids.size, FitStatus.NOT_ATTEMPTED, dtype=np.int8)
    status[fits.n_iter >= maxiter] = FitStatus.MAX_ITERATIONS
    stuck = (fits.damping > STUCK) | (fits.n_flat >= FLAT)
    status[stuck] = np.where(near[stuck], FitStatus.CONVERGED, FitStatus.NO_PROGRESS)
    status[last] = FitStatus.CONVERGED
    status[~np.isfinite(fits.chi2) | ~np.all(np.isfinite(fits.g), axis=0)] = FitStatus.NONFINITE_MODEL
    return status


def _stretch(fits: ActiveFits, s: np.ndarray, scale: np.ndarray, promised: np.ndarray) -> np.ndarray:
    """Factor of the step of fits that approach their minimum at a steady rate, shape (b,)."""
    now, then = s * scale, fits.before * scale
    along, long, short = (np.sum(a * b, axis=0) for a, b in ((now, then), (then, then), (now, now)))
    rate = along / long
    factor = fits.stretch / (1.0 - rate)
    steady = (promised <= NEAR * fits.chi2) & (fits.damping < NEAR) & (along * along >= ALIGNED * long * short)
    return np.where(steady & (factor > 0.4), np.minimum(factor, LONGER * fits.stretch), 1.0)


def _bend(
    fits: ActiveFits,
    s: np.ndarray,
    M: np.ndarray,
    shift: np.ndarray,
    scale: np.ndarray,
    used: np.ndarray,
    last: np.ndarray,
) -> np.ndarray:
    """Half the geodesic acceleration of fits that are slow, (k, b): it follows curved valleys.

    ``(H + lambda D^2) a = J' r_ss`` with the second derivative of ``r`` along the step by a
    difference; left out where it is not small against the step, as it then tells nothing.
    """
    out = np.zeros_like(s)
    which = np.flatnonzero((fits.n_iter >= SLOW) & ~last)
    if not which.size:
        return out
    which = at_least_two(which)
    s, M, shift, scale, used = (columns(a, which) for a in (s, M, shift, scale, used))
    inputs, w, J = fits.jacobian(which)
    y, r, P = columns(fits.y, which), columns(fits.r, which), columns(fits.P, which)
    P[fits.ours] += ALONG * s
    beside = y - fits.problem.evaluate(inputs, fits.model_parameters(fits.tied(P), which))
    along = np.zeros_like(r)
    for m, c in enumerate(J):
        along += s[m] * c
    second = (2.0 / ALONG) * ((weighted(fits.problem, beside, w) - r) / ALONG + along)
    push = np.stack([dot(c, second) for c in J])
    a = _solve(M, np.where(used, push / scale, 0.0), shift[:, None])[:, 0]
    small = np.sum(a * a, axis=0) <= ALPHA**2 * np.sum((s * scale) ** 2, axis=0)
    out[:, which] = np.where(small & np.all(np.isfinite(a), axis=0), 0.5 * a / scale, 0.0)
    return out


def _inside(
    s: np.ndarray,
    p: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    M: np.ndarray,
    h: np.ndarray,
    scale: np.ndarray,
    used: np.ndarray,
    shift: np.ndarray,
) -> np.ndarray:
    """The step, solved again with those parameters on their bounds that it would carry across."""
    over = used & ((p + s < low) | (p + s > high))
    which = np.flatnonzero(over.any(axis=0))
    if not which.size:
        return s
    p, low, high, over = (columns(a, which) for a in (p, low, high, over))
    M, h, scale, shift, used = (columns(a, which) for a in (M, h, scale, shift, used))
    s, part = s.copy(), columns(s, which)
    for _ in range(len(p)):
        cut = np.where(over, np.clip(p + part, low, high) - p, 0.0) * scale
        rest = np.where(over, 0.0, h - np.einsum("ijb,jb->ib", M, cut))
        inner = np.where(over[:, None] | over[None, :], 0.0, M)
        x = _solve(inner, rest, shift[:, None])[:, 0]
        part = np.where(over, cut, x) / scale
        more = ~over & used & ((p + part < low) | (p + part > high))
        if not more.any():
            break
        over |= more
    s[:, which] = part
    return s


def _solve(M: np.ndarray, h: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """``(M + diag(shift)) x = h`` by Cholesky for every fit and shift; directions without pivot are left out.

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
        good = pivot > SINGULAR
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
