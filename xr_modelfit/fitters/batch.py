r"""Levenberg-Marquardt over many fits at once, with box bounds.

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
grows by ``nu``, ``nu`` doubling.

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
standard errors. It has no scale and no origin. A fit is done when ``d2`` is no larger than
``xtol^2 chi2`` and ``ftol chi2`` and the cosine between ``r`` and each column no larger than
``gtol``, or when ``d2`` is at the rounding level of the data, or when chi-square has long been
unable to tell a good step. The last step is taken undamped.

*Batch.* Fits live in columns; those that are done leave, others take their place, and the
temporaries stay in cache. No operation mixes columns (`fitters.sums`), so that a fit's bits
depend on nothing but the fit.

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

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from xr_modelfit.derivatives import jacobian, mended
from xr_modelfit.fitters.linear import solve_linear
from xr_modelfit.fitters.pieces import apart, at_least_two, most_fits, pieces
from xr_modelfit.fitters.samples import FitArrays, Notes, Samples
from xr_modelfit.fitters.sums import columns, dot, norm2
from xr_modelfit.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["BatchLSQFitter"]

_FIRST_DAMPING = 1e-1
_SLOW = 25  # iterations after which a fit gets the acceleration, and forgets its start
_ALONG = 0.1  # of the step, for the second derivative along it
_ALPHA = 0.75  # largest acceleration against the step, in the scaling
_FORGET = 0.5  # of the largest lengths of the columns, each step of a slow fit
_SINGULAR = 1e-14  # a pivot of the scaled matrix below this is no direction
_ROUNDING = 8 * np.finfo(float).eps
_STUCK = 1e14  # damping beyond which no step is seen
_SUDDEN = 1e8  # growth of the square of a column from one step to the next that is looked into
_NEAR = 1e-2  # of chi-square promised, and damping, below which steps shrink at a steady rate
_ALIGNED = 0.8  # squared cosine of two steps along one line
_FLAT = 20  # steps in a row that chi-square cannot judge


@dataclass(frozen=True)
class BatchLSQFitter:
    """Nonlinear least squares for many positions at once.

    Parameters
    ----------
    maxiter : int
        Most iterations of one fit.
    ftol, xtol, gtol : float
        A fit is done when all three hold: the linearised model promises a relative reduction of
        chi-square of no more than ``ftol``, and of no more than ``xtol`` squared (``xtol`` times the
        square root of the degrees of freedom is the length of the last step in standard errors), and
        the cosine between the residual and each column of the Jacobian is no more than ``gtol``.
    engine : {"auto", "numpy"}
        What does the work; recorded with the result.

    Raises
    ------
    ValueError
        An option is out of its range.

    Examples
    --------
    >>> BatchLSQFitter(maxiter=500).maxiter
    500
    """

    maxiter: int = 100
    ftol: float = 1e-14
    xtol: float = 1e-7
    gtol: float = 1e-6
    engine: Literal["auto", "numpy"] = "auto"

    info_names: ClassVar[tuple[str, ...]] = ()

    def described(self) -> dict[str, Any]:
        """What the record of a fit says of the fitter."""
        return {"fitter": self, "keywords": asdict(self) | {"engine": "numpy"}, "engine": "numpy"}

    def __post_init__(self) -> None:
        if isinstance(self.maxiter, bool) or not isinstance(self.maxiter, int | np.integer) or self.maxiter < 1:
            raise ValueError(f"maxiter is {self.maxiter!r}; a whole number of 1 or more is needed.")
        for name in ("ftol", "xtol", "gtol"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}; a number from 0 to below 1 is needed.")
        if self.engine not in ("auto", "numpy"):
            raise ValueError(f'engine is {self.engine!r}; it must be "auto" or "numpy".')

    def solve(
        self,
        problem: Problem,
        samples: Samples,
        attempt: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
        notes: Notes | None = None,
    ) -> FitArrays:
        """See `xr_modelfit.fitters.samples.Fitter`."""
        out = FitArrays.unknown(samples, problem.n_parameters)

        def solved(ids: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                if problem.ways.linear:
                    ids = self._directly(problem, samples, ids, starts, bounds, out)
                self._iterated(problem, samples, ids, starts, bounds, out)

        for raising, error in apart(solved, np.flatnonzero(attempt)):
            out.status[raising] = FitStatus.FITTER_ERROR
            if notes is not None:
                notes.raised(raising.tolist(), error)
        return out

    def _iterated(
        self,
        problem: Problem,
        samples: Samples,
        waiting: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
        out: FitArrays,
    ) -> None:
        """Iterate all fits, some in flight, the others waiting for a place."""
        most = most_fits(samples.y.shape[1])
        slots: _Slots | None = None
        while waiting.size or slots is not None:
            room = most - (0 if slots is None else slots.ids.size)
            if waiting.size and room > 0:
                fresh = _Slots.filled(problem, samples, waiting[:room], starts, bounds)
                waiting = waiting[room:]
                slots = fresh if slots is None else slots.joined(fresh)
            assert slots is not None
            slots = self._until_room(slots, out)

    def _directly(
        self,
        problem: Problem,
        samples: Samples,
        ids: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
        out: FitArrays,
    ) -> np.ndarray:
        """Solve a linear model directly; those fits are left that bounds or overflow make iterate."""
        left = []
        for piece in pieces(ids, samples.y.shape[1]):
            inputs, y, w = samples.columns(piece)
            low, high = (np.ascontiguousarray(a[piece].T) for a in bounds)
            P = solve_linear(problem, inputs, y, w, np.ascontiguousarray(starts[piece].T), (low, high))
            free = problem.free
            done = np.all(np.isfinite(P), axis=0) & np.all((low <= P) & (high >= P) | ~free[:, None], axis=0)
            out.parameters[piece[done]] = P[:, done].T
            out.status[piece[done]], out.n_iter[piece[done]] = FitStatus.CONVERGED, 1
            left.append(np.unique(piece[~done]))
        return np.concatenate(left) if left else ids

    def _until_room(self, slots: "_Slots", out: FitArrays) -> "_Slots | None":
        """Iterate until a fifth of the fits is done (copying columns is not free), and drop those."""
        alive = np.ones(slots.ids.size, dtype=bool)
        while True:
            status = slots.step(self)
            done = alive & (status != FitStatus.NOT_ATTEMPTED)
            if done.any():
                ids = slots.ids[done]
                out.parameters[ids] = slots.P[:, done].T
                out.status[ids] = status[done]
                out.n_iter[ids] = slots.n_iter[done]
                alive &= ~done
                left = np.flatnonzero(alive)
                if not left.size:
                    return None
                if left.size <= 0.8 * alive.size:
                    return slots.kept(left)


_STATE = (
    "ids",
    "P",
    "low",
    "high",
    "free",
    "damping",
    "growth",
    "n_iter",
    "n_flat",
    "chi2",
    "size2",
    "H",
    "g",
    "D",
    "before",
    "stretch",
)


class _Slots:
    """Fits in flight, one column each.

    ``y``, ``r``, ``w`` have shape (n, b), inputs (n, 1) or (n, b), ``P`` and bounds (K, b),
    ``g`` and ``free`` (k, b), ``H`` (k, k, b), the others (b,).
    """

    ids: np.ndarray
    P: np.ndarray
    low: np.ndarray
    high: np.ndarray
    free: np.ndarray
    damping: np.ndarray
    growth: np.ndarray
    n_iter: np.ndarray
    n_flat: np.ndarray
    chi2: np.ndarray
    size2: np.ndarray
    H: np.ndarray
    g: np.ndarray
    D: np.ndarray
    before: np.ndarray
    stretch: np.ndarray

    def __init__(self, problem: Problem, inputs: list[np.ndarray], y: np.ndarray, w: np.ndarray | None) -> None:
        self.problem, self.inputs, self.y, self.w = problem, inputs, y, w
        self.r = y
        self.ours = np.flatnonzero(problem.free)

    @classmethod
    def filled(
        cls,
        problem: Problem,
        samples: Samples,
        ids: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> "_Slots":
        """New fits ``ids`` at their starts; never fewer than two columns, see `fitters.sums`."""
        ids = at_least_two(ids)
        inputs, y, w = samples.columns(ids)
        self = cls(problem, inputs, y, w)
        b, k = ids.size, self.ours.size
        self.ids = ids
        self.low, self.high = (np.ascontiguousarray(a[ids].T) for a in bounds)
        self.free = ~(self.low == self.high)[self.ours]
        self.P = problem.with_ties(np.ascontiguousarray(starts[ids].T))
        self.damping, self.growth = np.full(b, _FIRST_DAMPING), np.full(b, 2.0)
        self.n_iter, self.n_flat = np.zeros(b), np.zeros(b)
        self.size2 = norm2(self._weighed(y))
        self.r = self._residual(self.P)
        self.chi2 = norm2(self.r)
        self.H, self.g = np.zeros((k, k, b)), np.zeros((k, b))
        self.D, self.before, self.stretch = np.zeros((k, b)), np.zeros((k, b)), np.ones(b)
        self._linearise(np.arange(b))
        return self

    def kept(self, which: np.ndarray) -> "_Slots":
        """The fits in the columns ``which``."""
        which = at_least_two(which)
        w = None if self.w is None else columns(self.w, which)
        inputs = [x if x.shape[1] == 1 else columns(x, which) for x in self.inputs]
        new = _Slots(self.problem, inputs, columns(self.y, which), w)
        new.r = columns(self.r, which)
        for name in _STATE:
            setattr(new, name, columns(getattr(self, name), which))
        return new

    def joined(self, other: "_Slots") -> "_Slots":
        """These fits and others."""

        def beside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.concatenate([a, b], axis=-1)

        inputs = [x if x is z else beside(x, z) for x, z in zip(self.inputs, other.inputs, strict=True)]
        w = None if self.w is None or other.w is None else beside(self.w, other.w)
        new = _Slots(self.problem, inputs, beside(self.y, other.y), w)
        new.r = beside(self.r, other.r)
        for name in _STATE:
            setattr(new, name, beside(getattr(self, name), getattr(other, name)))
        return new

    def step(self, options: BatchLSQFitter) -> np.ndarray:
        """One step of every fit; the status of those that are done, else NOT_ATTEMPTED."""
        p, g, H = self.P[self.ours], self.g, self.H
        low, high = self.low[self.ours], self.high[self.ours]
        D = np.sqrt(np.einsum("iib->ib", H))
        clamped = ((p <= low) & (g <= 0)) | ((p >= high) & (g >= 0))
        used = self.free & ~clamped & (D > 0)
        scale = np.where(used, D, 1.0)
        M = np.where(used[:, None] & used[None, :], H / (scale[:, None] * scale[None, :]), 0.0)
        h = np.where(used, g / scale, 0.0)
        self.D = np.maximum(np.where(self.n_iter < _SLOW, 1.0, _FORGET) * self.D, D)
        shift = self.damping * np.where(used, (self.D / scale) ** 2, 1.0)
        x = _solve(M, h, np.stack([np.zeros_like(shift), shift], axis=1))
        gain = h * x[:, 0]
        stays = used & (p + x[:, 0] / scale == p)  # no number is nearer to the minimum
        rest = np.sum(np.where(stays, 0.0, np.abs(gain)), axis=0)
        promised = np.where(stays.any(axis=0), rest, np.sum(gain, axis=0))  # d2
        last = promised <= min(options.xtol**2, options.ftol) * self.chi2
        last &= np.all(np.abs(h) <= options.gtol * np.sqrt(self.chi2), axis=0)
        last |= promised <= _ROUNDING**2 * self.size2
        s = np.where(last, x[:, 0], x[:, 1]) / scale
        s = self._inside(s, p, low, high, M, h, scale, used, np.where(last, 0.0, shift))

        s = np.clip(p + s, low, high) - p
        P = self.P.copy()
        stretch = self._stretch(s, scale, promised)
        P[self.ours] = np.clip(p + stretch * s + self._bend(s, M, shift, scale, used, last), low, high)
        P = self.problem.with_ties(P)
        r = self._residual(P)
        chi2 = norm2(r)
        predicted = np.sum(s * (2.0 * g - np.einsum("ijb,jb->ib", H, s)), axis=0)
        flat = predicted <= 1e-12 * self.chi2  # chi-square can no longer tell a good step
        rho = (self.chi2 - chi2) / predicted
        taken = (chi2 < self.chi2) & (rho > 1e-4) & (predicted > 0)
        taken |= flat & (chi2 <= self.chi2 * (1.0 + 1e-12))
        self._move(P, r, chi2, taken)
        self.before, self.stretch = np.where(taken, s, 0.0), stretch
        steady = np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.where(taken, rho, 0.0) - 1.0) ** 3)
        self.damping = np.where(flat & taken, self.damping, self.damping * np.where(taken, steady, self.growth))
        self.growth = np.where(taken, 2.0, 2.0 * self.growth)
        self.n_iter += 1
        self.n_flat = np.where(flat, self.n_flat + 1, 0.0)
        return self._statuses(last, promised, options.maxiter)

    def _statuses(self, last: np.ndarray, promised: np.ndarray, maxiter: int) -> np.ndarray:
        status = np.full(self.ids.size, FitStatus.NOT_ATTEMPTED, dtype=np.int8)
        status[self.n_iter >= maxiter] = FitStatus.MAX_ITERATIONS
        stuck = (self.damping > _STUCK) | (self.n_flat >= _FLAT)
        near = promised <= 1e-10 * self.chi2
        status[stuck] = np.where(near[stuck], FitStatus.CONVERGED, FitStatus.NO_PROGRESS)
        status[last] = FitStatus.CONVERGED
        status[~np.isfinite(self.chi2) | ~np.all(np.isfinite(self.g), axis=0)] = FitStatus.NONFINITE_MODEL
        return status

    def _residual(self, P: np.ndarray) -> np.ndarray:
        r = self.y - self.problem.evaluate(self.inputs, P)
        return r if self.w is None else np.multiply(r, self.w, out=r)

    def _weighed(self, values: np.ndarray) -> np.ndarray:
        return values if self.w is None else values * self.w

    def _move(self, P: np.ndarray, r: np.ndarray, chi2: np.ndarray, taken: np.ndarray) -> None:
        """Go to ``P`` where the step is taken."""
        which, back = np.flatnonzero(taken), np.flatnonzero(~taken)
        if back.size < which.size:  # copy the fewer columns
            P[:, back], r[:, back], chi2[back] = self.P[:, back], self.r[:, back], self.chi2[back]
            self.P, self.r, self.chi2 = P, r, chi2
        elif which.size:
            self.P[:, which], self.r[:, which], self.chi2[which] = P[:, which], r[:, which], chi2[which]
        self._linearise(which)

    def _jacobian(self, which: np.ndarray) -> tuple[list[np.ndarray], np.ndarray | None, list[np.ndarray]]:
        """Inputs, weights and weighted Jacobian of the columns ``which``."""
        every = np.array_equal(which, np.arange(self.ids.size))

        def picked(a: np.ndarray) -> np.ndarray:
            return a if every or a.shape[1] == 1 else columns(a, which)

        w = None if self.w is None else picked(self.w)
        inputs = [picked(x) for x in self.inputs]
        J = jacobian(self.problem, inputs, picked(self.P), picked(self.low), picked(self.high))
        return inputs, w, [np.ascontiguousarray(c) if w is None else c * w for c in J]

    def _linearise(self, which: np.ndarray) -> None:
        """``H`` and ``g`` anew in the columns ``which``."""
        if not which.size:
            return
        if which.size > 0.7 * self.ids.size:  # copying the others out would cost more
            which = np.arange(self.ids.size)
        at = slice(None) if which.size == self.ids.size else which
        inputs, w, J = self._jacobian(which)
        self._products(J, at)
        # A column that is no number, or a complex one that is suddenly long: at a cusp, perhaps.
        most = _SUDDEN * self.D[:, at] ** 2 if "complex" in self.problem.ways.atoms else np.finfo(float).max
        doubtful = ~np.all(np.einsum("iib->ib", self.H)[:, at] <= most, axis=0) & np.isfinite(self.chi2[at])
        if doubtful.any():
            bounds = (self.low[:, at], self.high[:, at])
            if mended(self.problem, inputs, w, self.P[:, at], bounds, J, doubtful).any():
                self._products(J, at)

    def _products(self, J: list[np.ndarray], at: Any) -> None:
        """``H`` and ``g`` from the weighted Jacobian of the columns ``at``."""
        r = self.r if isinstance(at, slice) else columns(self.r, at)
        for i, a in enumerate(J):
            self.g[i, at] = dot(a, r)
            for j in range(i + 1):
                self.H[i, j, at] = self.H[j, i, at] = dot(a, J[j])

    def _stretch(self, s: np.ndarray, scale: np.ndarray, promised: np.ndarray) -> np.ndarray:
        """Factor of the step of fits that approach their minimum at a steady rate, shape (b,)."""
        now, then = s * scale, self.before * scale
        along, long, short = (np.sum(a * b, axis=0) for a, b in ((now, then), (then, then), (now, now)))
        rate = along / long
        factor = self.stretch / (1.0 - rate)
        steady = (promised <= _NEAR * self.chi2) & (self.damping < _NEAR) & (along * along >= _ALIGNED * long * short)
        return np.where(steady & (factor > 0.4) & (factor < 3.0), factor, 1.0)

    def _bend(
        self,
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
        which = np.flatnonzero((self.n_iter >= _SLOW) & ~last)
        if not which.size:
            return out
        which = at_least_two(which)
        s, M, shift, scale, used = (columns(a, which) for a in (s, M, shift, scale, used))
        inputs, w, J = self._jacobian(which)
        y, r, P = columns(self.y, which), columns(self.r, which), columns(self.P, which)
        P[self.ours] += _ALONG * s
        beside = y - self.problem.evaluate(inputs, self.problem.with_ties(P))
        along = np.zeros_like(r)
        for m, c in enumerate(J):
            along += s[m] * c
        second = (2.0 / _ALONG) * (((beside if w is None else beside * w) - r) / _ALONG + along)
        push = np.stack([dot(c, second) for c in J])
        a = _solve(M, np.where(used, push / scale, 0.0), shift[:, None])[:, 0]
        small = np.sum(a * a, axis=0) <= _ALPHA**2 * np.sum((s * scale) ** 2, axis=0)
        out[:, which] = np.where(small & np.all(np.isfinite(a), axis=0), 0.5 * a / scale, 0.0)
        return out

    def _inside(
        self,
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
        good = pivot > _SINGULAR
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
