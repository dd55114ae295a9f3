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
bends the step to ``s + a / 2``, where ``a`` is small against ``s``. Fits of
other noise (`fitters.noise`), whose residual is not ``w (y - f)``, do without.

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

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import weighted
from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import at_least_two
from xr_modelfit.fitters.small_systems import solve
from xr_modelfit.fitters.sums import columns, dot
from xr_modelfit.status import FitStatus

__all__ = [
    "System",
    "Verdict",
    "away_from_bounds",
    "is_last",
    "judge_step",
    "status_of",
    "step",
    "step_inside",
    "still_promised",
    "stretch_of",
    "system_of",
]  # fmt: skip


class System(NamedTuple):
    """The system ``(M + diag(shift)) x = h`` of a step in the scale of ``D``; every array has the fits last."""

    p: np.ndarray  # (k, b)
    low: np.ndarray  # (k, b)
    high: np.ndarray  # (k, b)
    M: np.ndarray  # (k, k, b), H with columns of length 1
    h: np.ndarray  # (k, b)
    scale: np.ndarray  # (k, b), x / scale is the step
    used: np.ndarray  # (k, b), parameters that are free and not on a bound that the gradient points across
    shift: np.ndarray  # (k, b), the damping

    def part(self, which: np.ndarray) -> "System":
        """The fits in the columns ``which``."""
        return System(*(columns(a, which) for a in self))

    def crosses(self, s: np.ndarray) -> np.ndarray:
        """Parameters (k, b) that a step carries across a bound."""
        return self.used & ((self.p + s < self.low) | (self.p + s > self.high))


class Verdict(NamedTuple):
    """What becomes of a step, (b,) each."""

    taken: np.ndarray
    damping: np.ndarray
    growth: np.ndarray
    n_flat: np.ndarray
    noise: np.ndarray  # of chi-square: it cannot tell smaller reductions


def step(fits: ActiveFits) -> np.ndarray:
    """One step of every fit; the status of those that are done, else NOT_ATTEMPTED."""
    rules = fits.rules
    system, fits.D = system_of(fits)
    p, scale = system.p, system.scale
    x = solve(system.M, system.h, np.stack([np.zeros_like(p), system.shift], axis=1), rules.singular)
    promised = still_promised(system, x[:, 0])  # d2
    last = is_last(fits, promised, system.h)
    s = np.where(last, x[:, 0], x[:, 1]) / scale
    s = step_inside(system._replace(shift=np.where(last, 0.0, system.shift)), s, rules.singular)
    s = np.clip(p + s, system.low, system.high) - p
    if rules.cautious:
        s = np.where(fits.n_iter < rules.cautious, away_from_bounds(system, s, rules.reach), s)
    stretch = stretch_of(fits, s * scale, fits.before * scale, promised)
    P = fits.P.copy()
    P[fits.ours] = np.clip(p + stretch * s + _bend(fits, s, system, last), system.low, system.high)
    P = fits.tied(P)
    there = fits.residual(P)
    verdict = judge_step(fits, there.chi2, predicted_reduction(fits.g, fits.H, s))
    fits.move(P, there, verdict.taken)
    fits.before, fits.stretch = np.where(verdict.taken, s, 0.0), stretch
    fits.damping, fits.growth, fits.n_flat = verdict.damping, verdict.growth, verdict.n_flat
    fits.n_iter += 1
    return status_of(fits, last, promised <= np.maximum(rules.at_end * fits.chi2, verdict.noise))


def iterate(fits: ActiveFits) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Step until all fits are done; whenever some are, yields which, the statuses (b,), and which are left."""
    left = np.ones(fits.ids.size, dtype=bool)
    while left.any():
        status = step(fits)
        done = left & (status != FitStatus.NOT_ATTEMPTED)
        if done.any():
            left = left & ~done
            yield done, status, left


def system_of(fits: ActiveFits) -> tuple[System, np.ndarray]:
    """The system of the next step, and the largest lengths (k, b) that the columns have had."""
    p, low, high, g, H = fits.P[fits.ours], fits.low[fits.ours], fits.high[fits.ours], fits.g, fits.H
    length = np.sqrt(np.einsum("iib->ib", H))
    clamped = ((p <= low) & (g <= 0)) | ((p >= high) & (g >= 0))
    used = fits.free & ~clamped & (length > 0)
    scale = np.where(used, length, 1.0)
    M = np.where(used[:, None] & used[None, :], H / (scale[:, None] * scale[None, :]), 0.0)
    D = np.maximum(np.where(fits.n_iter < fits.rules.slow, 1.0, fits.rules.forget) * fits.D, length)
    shift = fits.damping * np.where(used, (D / scale) ** 2, 1.0)
    return System(p, low, high, M, np.where(used, g / scale, 0.0), scale, used, shift), D


def still_promised(system: System, x: np.ndarray) -> np.ndarray:
    """``d2``, (b,): the reduction of chi-square that the undamped step promises, by parameters that it changes."""
    gain = system.h * x
    stays = system.used & (system.p + x / system.scale == system.p)  # no number is nearer to the minimum
    rest = np.sum(np.where(stays, 0.0, np.abs(gain)), axis=0)
    return np.where(stays.any(axis=0), rest, np.sum(gain, axis=0))


def is_last(fits: ActiveFits, promised: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Which fits are done after this step, (b,); see *Convergence*."""
    rules = fits.rules
    last = promised <= np.minimum(rules.xtol**2 / fits.dof, rules.ftol) * fits.chi2
    last &= np.all(np.abs(h) <= rules.gtol * np.sqrt(fits.chi2), axis=0)
    done: np.ndarray = last | (promised <= rules.rounding**2 * fits.size2)
    return done


def step_inside(system: System, s: np.ndarray, singular: float) -> np.ndarray:
    """The step (k, b), solved again with those parameters on their bounds that it would carry across."""
    over = system.crosses(s)
    which = np.flatnonzero(over.any(axis=0))
    if not which.size:
        return s
    at, over = system.part(which), columns(over, which)
    s, part = s.copy(), columns(s, which)
    for _ in range(len(over)):
        cut = np.where(over, np.clip(at.p + part, at.low, at.high) - at.p, 0.0) * at.scale
        rest = np.where(over, 0.0, at.h - np.einsum("ijb,jb->ib", at.M, cut))
        inner = np.where(over[:, None] | over[None, :], 0.0, at.M)
        x = solve(inner, rest, at.shift[:, None], singular)[:, 0]
        part = np.where(over, cut, x) / at.scale
        more = ~over & at.crosses(part)
        if not more.any():
            break
        over |= more
    s[:, which] = part
    return s


def away_from_bounds(system: System, s: np.ndarray, reach: float) -> np.ndarray:
    """The step (k, b), no further than this part of the way to a bound."""
    return np.clip(s, -reach * (system.p - system.low), reach * (system.high - system.p))


def stretch_of(fits: ActiveFits, now: np.ndarray, before: np.ndarray, promised: np.ndarray) -> np.ndarray:
    """Factor (b,) of the step of fits that approach their minimum at a steady rate; see *Steady approach*.

    ``now``, ``before`` (k, b): this step and the one before in the scale of this one.
    """
    rules = fits.rules
    along, long, short = (np.sum(a * b, axis=0) for a, b in ((now, before), (before, before), (now, now)))
    factor = fits.stretch / (1.0 - along / long)
    steady = (promised <= rules.near * fits.chi2) & (fits.damping < rules.near) & (factor > rules.shortest)
    steady &= along * along >= rules.aligned * long * short
    return np.where(steady, np.minimum(factor, rules.longest * fits.stretch), 1.0)


def predicted_reduction(g: np.ndarray, H: np.ndarray, s: np.ndarray) -> np.ndarray:
    """``2 g's - s'Hs``, (b,): the reduction of chi-square by a step, were the model linear."""
    reduction: np.ndarray = np.sum(s * (2.0 * g - np.einsum("ijb,jb->ib", H, s)), axis=0)
    return reduction


def judge_step(fits: ActiveFits, chi2: np.ndarray, predicted: np.ndarray) -> Verdict:
    """Whether a step is taken that leads to ``chi2`` (b,), and the damping of the next one."""
    rules = fits.rules
    noise = rules.noise * fits.chi2 + rules.rounding * np.sqrt(fits.chi2 * fits.size2)  # by that of the data
    flat = predicted <= noise  # chi-square can no longer tell a good step
    rho = (fits.chi2 - chi2) / predicted
    taken = (chi2 < fits.chi2) & (rho > np.where(fits.n_iter < rules.early, rules.poor, rules.gains)) & (predicted > 0)
    taken |= flat & (chi2 <= fits.chi2 + noise)
    eased = np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.where(taken, rho, 0.0) - 1.0) ** 3)
    damping = np.where(flat & taken, fits.damping, fits.damping * np.where(taken, eased, fits.growth))
    growth = np.where(taken, 2.0, 2.0 * fits.growth)
    return Verdict(taken, damping, growth, np.where(flat, fits.n_flat + 1, 0.0), noise)


def status_of(fits: ActiveFits, last: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Status (b,) after a step; ``near``: chi-square could not tell what was left to gain."""
    status = np.full(last.shape, FitStatus.NOT_ATTEMPTED, dtype=np.int8)
    status[fits.n_iter >= fits.rules.maxiter] = FitStatus.MAX_ITERATIONS
    stuck = (fits.damping > fits.rules.stuck) | (fits.n_flat >= fits.rules.flat)
    status[stuck] = np.where(near[stuck], FitStatus.CONVERGED, FitStatus.NO_PROGRESS)
    status[last] = FitStatus.CONVERGED
    status[~np.isfinite(fits.chi2) | ~np.all(np.isfinite(fits.g), axis=0)] = FitStatus.NONFINITE_MODEL
    return status


def _bend(fits: ActiveFits, s: np.ndarray, system: System, last: np.ndarray) -> np.ndarray:
    """Half the geodesic acceleration of fits that are slow, (k, b): it follows curved valleys.

    ``(H + lambda D^2) a = J' r_ss`` with the second derivative of ``r`` along the step by a
    difference; left out where it is not small against the step, as it then tells nothing.
    """
    rules, out = fits.rules, np.zeros_like(s)
    which = np.flatnonzero((fits.n_iter >= rules.slow) & ~last)
    if not which.size or rules.alpha == 0.0:
        return out
    which = at_least_two(which)
    s, at = columns(s, which), system.part(which)
    inputs, w, J = fits.jacobian(which)
    y, r, P = columns(fits.y, which), columns(fits.r, which), columns(fits.P, which)
    P[fits.ours] += rules.along * s
    beside = y - fits.problem.evaluate(inputs, fits.model_parameters(fits.tied(P), which))
    along = np.zeros_like(r)
    for m, c in enumerate(J):
        along += s[m] * c
    second = (2.0 / rules.along) * ((weighted(fits.problem, beside, w) - r) / rules.along + along)
    push = np.stack([dot(c, second) for c in J])
    a = solve(at.M, np.where(at.used, push / at.scale, 0.0), at.shift[:, None], rules.singular)[:, 0]
    small = np.sum(a * a, axis=0) <= rules.alpha**2 * np.sum((s * at.scale) ** 2, axis=0)
    out[:, which] = np.where(small & np.all(np.isfinite(a), axis=0), 0.5 * a / at.scale, 0.0)
    return out
