r"""Fits whose linear parameters are solved for, and then counted in a basis of each fit.

Where the model is linear in some of its free parameters (amplitudes, constants, slopes), these need no start. With
``A`` their columns at the start of the others and ``A = Q R``, they are counted from the solution of
``min |w (y - f)|`` in the basis of ``Q``: ``p = p0 + R^-1 q``. Then neither the scale of the data nor that of the start
counts, nor a coordinate with a far origin, on which a slope and a constant are almost the same.

Shapes: ``K`` parameters, ``l`` linear ones, ``n`` samples, ``b`` fits.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy, jacobian, values, weighted
from xr_modelfit.fitters.active_fits import ActiveFits, Shared
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.sums import columns

__all__ = ["OwnBasis"]

_MIXED = 1e4  # times the variance alone: linear parameters that are told apart no better need a basis of their own


class OwnBasis(ActiveFits):
    """Fits in flight with linear parameters in a basis of each fit, which keep away from bounds at first.

    Rows ``which`` of ``P`` hold numbers in that basis: the parameters are ``origin + inverse q``.
    """

    cautious = 12.0

    def begin(self) -> None:
        """Solve for the linear parameters, and count those without bounds from there."""
        # Least squares may lead to where counts are negative.
        linear = self.problem.partly_linear & (self.noise != "poisson")
        free = np.all(np.isinf(self.low) & np.isinf(self.high), axis=1)
        self.which = np.zeros(0, dtype=int)
        given = self.P.copy()
        every = np.flatnonzero(linear & ~np.any(self.low == self.high, axis=1))
        if not every.size:
            return
        solved, _, _ = self._solution(every)
        inside = (solved > self.low[every]) & (solved < self.high[every]) & np.isfinite(solved)
        self.P[every] = np.where(inside, solved, given[every])
        self.P = self.problem.with_ties(self.P)
        if self.priors is not None:  # they are on the parameters themselves
            free[self.ours] &= ~np.any(self.priors.trust > 0.0, axis=1)
        which = np.flatnonzero(linear & free)
        if which.size:
            origin, inverse, alone = self._solution(which)
            good = np.all(np.isfinite(origin), axis=0) & np.all(np.isfinite(inverse), axis=(0, 1))
            self.origin = np.where(good, origin, self.P[which])
            self.inverse = np.where(good, inverse, np.eye(which.size)[:, :, None])
            self.which = which
            self.P[which] = 0.0
            self.plain = np.all(alone < _MIXED, axis=0)

    def _solution(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linear parameters (l, b) at their minimum, ``R^-1`` (l, l, b), and how much the others make up for each.

        That is its variance over the one that it would have alone, (l, b). Other parameters stay where they are.
        """
        P, b = self.P.copy(), self.ids.size
        P[which] = 0.0
        P = self.problem.with_ties(P)
        found, shared = values(self.problem, self.inputs, P)
        r = weighted(self.problem, self.y - found, self.w)
        J = jacobian(self.problem, self.inputs, P, self.low, self.high, shared, self.w)
        ours = self.ours.tolist()
        A = [np.ascontiguousarray(J[ours.index(j)]) for j in which.tolist()]
        factors = factorise(A, np.ones((which.size, b), dtype=bool), accuracy(self.problem))
        z, rest = factors.remove(r)
        again, _ = factors.remove(rest)
        unit = np.eye(which.size)[:, :, None] * np.ones(b)
        inverse = np.stack([factors.solve(unit[:, m]) for m in range(which.size)], axis=1)
        return factors.solve(z + again), inverse, factors.S**2 * np.sum(inverse**2, axis=1)

    def model_parameters(self, P: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Parameters of the model (K, b) from those in the basis; ``which`` are the columns."""
        if not self.which.size:
            return self.problem.with_ties(P)
        P, q = P.copy(), P[self.which]
        origin = self.origin if which is None else columns(self.origin, which)
        inverse = self.inverse if which is None else columns(self.inverse, which)
        for i, j in enumerate(self.which.tolist()):
            total = origin[i]
            for m in range(len(q)):
                total = total + inverse[i, m] * q[m]
            P[j] = total
        return self.problem.with_ties(P)

    def tied(self, P: np.ndarray) -> np.ndarray:
        """``P`` itself: ties follow from the parameters of the model."""
        return P

    def jacobian(
        self, which: np.ndarray, shared: Shared = None
    ) -> tuple[list[np.ndarray], np.ndarray | None, list[np.ndarray]]:
        """As of `ActiveFits`, with respect to the numbers in the basis."""
        inputs, w, J = super().jacobian(which, shared)
        ours = self.ours.tolist()
        at = [ours.index(j) for j in self.which.tolist()]
        own = [J[m] for m in at]
        inverse = columns(self.inverse, which) if self.which.size else None
        for m, place in enumerate(at):
            total = np.zeros_like(own[m])
            for i, c in enumerate(own):
                total += inverse[i, m] * c  # type: ignore[index]
            J[place] = total
        return inputs, w, J
