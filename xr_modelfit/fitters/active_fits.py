"""Fits in flight: where each is, what it has seen, and its linear system.

No operation mixes columns (`fitters.sums`), so that a fit's bits depend on nothing but the fit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, replace_at_cusps, values, weighted
from xr_modelfit.fitters.chunking import at_least_two
from xr_modelfit.fitters.contract import Fits, Rules
from xr_modelfit.fitters.noise import working
from xr_modelfit.fitters.priors import Priors
from xr_modelfit.fitters.sums import columns, dot, norm2, total
from xr_modelfit.models.problem import Problem

__all__ = ["ActiveFits"]

Shared = list[np.ndarray] | None

_SUDDEN = 1e8  # growth of the square of a column from one step to the next that is looked into


class Residual(NamedTuple):
    """Residuals of fits in flight, with what follows from the same values of the model."""

    chi2: np.ndarray  # (b,), or what stands for it
    r: np.ndarray  # (n, b), weighted, or the working residual of `fitters.noise`
    q: np.ndarray | None  # (n, b), weights of the derivatives there; None means ones
    shared: Shared  # what the Jacobian there shares with the model's values


class ActiveFits:
    """Fits in flight, one column each."""

    # The state of each fit, in `_STATE`:
    ids: np.ndarray  # (b,)
    P: np.ndarray  # (K, b)
    low: np.ndarray  # (K, b)
    high: np.ndarray  # (K, b)
    free: np.ndarray  # (k, b)
    damping: np.ndarray  # (b,), as those without a shape here
    growth: np.ndarray
    n_iter: np.ndarray
    n_flat: np.ndarray  # steps in a row that chi-square cannot judge
    dof: np.ndarray
    chi2: np.ndarray
    size2: np.ndarray  # squared length of the weighted data
    H: np.ndarray  # (k, k, b)
    g: np.ndarray  # (k, b)
    D: np.ndarray  # (k, b), the largest lengths of the columns of the Jacobian
    before: np.ndarray  # (k, b), the step before
    stretch: np.ndarray  # its factor

    cautious = 0.0  # see `Rules`

    def __init__(
        self,
        problem: Problem,
        rules: Rules,
        inputs: Sequence[np.ndarray],
        y: np.ndarray,
        w: np.ndarray | None,
        noise: str = "linear",
        priors: Priors | None = None,  # of the free parameters, (k, b)
        above: np.ndarray | None = None,
    ) -> None:
        # inputs (n, 1) or (n, b); y, w, above, the residual r and the weights q of the derivatives (n, b)
        self.problem, self.rules, self.inputs, self.y, self.w, self.noise = problem, rules, inputs, y, w, noise
        self.r, self.q, self.priors, self.above = y, w, priors, above
        self.plain = np.ones(y.shape[1], dtype=bool)  # whether the parameters may as well be those of the model
        self.ours = np.flatnonzero(problem.free)

    @classmethod
    def filled(cls, fits: Fits, ids: np.ndarray, rules: Rules) -> "ActiveFits":
        """Fits ``ids`` at their starts; never fewer than two columns, see `fitters.sums`."""
        ids, problem = at_least_two(ids), fits.problem
        at = fits.columns(ids)
        priors = None if at.priors is None else Priors(*(a[problem.free] for a in at.priors))
        self = cls(problem, rules.of(at.noise), at.inputs, at.y, at.w, at.noise, priors, at.above)
        b, k = ids.size, self.ours.size
        self.ids, self.low, self.high = ids, at.low, at.high
        self.free = ~(self.low == self.high)[self.ours]
        self.P = problem.with_ties(at.P)
        self.damping, self.growth = np.full(b, rules.first_damping), np.full(b, 2.0)
        self.n_iter, self.n_flat = np.zeros(b), np.zeros(b)
        self.dof = np.maximum(fits.samples.n_points[ids] - np.count_nonzero(self.free, axis=0), 1.0)
        self.size2 = norm2(at.y if at.w is None else at.y * at.w)
        self.begin()
        self.chi2, self.r, self.q, shared = self.residual(self.P)
        self.H, self.g = np.zeros((k, k, b)), np.zeros((k, b))
        self.D, self.before, self.stretch = np.zeros((k, b)), np.zeros((k, b)), np.ones(b)
        self._linearise(np.arange(b), shared)
        return self

    def begin(self) -> None:
        """What is to be done at the starts, before the first residual."""

    def model_parameters(self, P: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Parameters of the model (K, b), ties applied, from rows as in ``P``; ``which`` are the columns."""
        return P

    def tied(self, P: np.ndarray) -> np.ndarray:
        """``P`` after a step, with what follows from it."""
        return self.problem.with_ties(P)

    def kept(self, which: np.ndarray) -> "ActiveFits":
        """The fits in the columns ``which``."""
        which = at_least_two(which)
        w = None if self.w is None else columns(self.w, which)
        inputs = [x if x.shape[1] == 1 else columns(x, which) for x in self.inputs]
        priors = None if self.priors is None else self.priors.taken(which)
        above = None if self.above is None else columns(self.above, which)
        new = ActiveFits(self.problem, self.rules, inputs, columns(self.y, which), w, self.noise, priors, above)
        new.r = columns(self.r, which)
        if self.q is not self.w and self.q is not None:
            new.q = columns(self.q, which)
        for name in _STATE:
            setattr(new, name, columns(getattr(self, name), which))
        return new

    def joined(self, other: "ActiveFits") -> "ActiveFits":
        """These fits and others."""

        def beside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.concatenate([a, b], axis=-1)

        inputs = [x if x is z else beside(x, z) for x, z in zip(self.inputs, other.inputs, strict=True)]
        w = None if self.w is None or other.w is None else beside(self.w, other.w)
        priors = None if self.priors is None or other.priors is None else self.priors.beside(other.priors)
        above = None if self.above is None or other.above is None else beside(self.above, other.above)
        new = ActiveFits(self.problem, self.rules, inputs, beside(self.y, other.y), w, self.noise, priors, above)
        new.r = beside(self.r, other.r)
        if self.q is not self.w and self.q is not None and other.q is not None:
            new.q = beside(self.q, other.q)
        for name in _STATE:
            setattr(new, name, beside(getattr(self, name), getattr(other, name)))
        return new

    def residual(self, P: np.ndarray) -> Residual:
        """Residuals at other parameters, of all fits."""
        there = self._of_samples(P)
        if self.priors is None:
            return there
        return there._replace(chi2=there.chi2 + self.priors.chi2(P[self.ours]))

    def _of_samples(self, P: np.ndarray) -> Residual:
        found, shared = values(self.problem, self.inputs, self.model_parameters(P))
        if self.noise != "linear":
            cost, r, q = working(self.noise, self.y, found, self.w, self.above)
            return Residual(total(cost), r, q, shared)
        r = self.y - found
        r = weighted(self.problem, r, self.w, out=r)
        return Residual(norm2(r), r, self.w, shared)

    def move(self, P: np.ndarray, there: Residual, taken: np.ndarray) -> None:
        """Go to ``P`` where the step is taken; ``there`` are the residuals."""
        which, back = np.flatnonzero(taken), np.flatnonzero(~taken)
        chi2, r, q, shared = there
        if back.size < which.size:  # copy the fewer columns
            P[:, back], r[:, back], chi2[back] = self.P[:, back], self.r[:, back], self.chi2[back]
            if q is not self.w and q is not None and self.q is not None:
                q[:, back] = self.q[:, back]
            self.P, self.r, self.q, self.chi2 = P, r, q, chi2
        elif which.size:
            self.P[:, which], self.r[:, which], self.chi2[which] = P[:, which], r[:, which], chi2[which]
            if q is not self.w and q is not None and self.q is not None:
                self.q[:, which] = q[:, which]
        self._linearise(which, shared)

    def jacobian(
        self, which: np.ndarray, shared: Shared = None
    ) -> tuple[list[np.ndarray], np.ndarray | None, list[np.ndarray]]:
        """Inputs, weights of the derivatives, and weighted Jacobian of the columns ``which``."""
        every = np.array_equal(which, np.arange(self.ids.size))

        def picked(a: np.ndarray) -> np.ndarray:
            return a if every or a.shape[1] == 1 else columns(a, which)

        w = None if self.q is None else picked(self.q)
        inputs = [picked(x) for x in self.inputs]
        known = None if shared is None else [picked(a) for a in shared]
        P = self.model_parameters(picked(self.P), None if every else which)
        J = jacobian(self.problem, inputs, P, picked(self.low), picked(self.high), known, w)
        return inputs, w, [np.ascontiguousarray(c) for c in J]

    def _linearise(self, which: np.ndarray, shared: Shared) -> None:
        """``H`` and ``g`` anew in the columns ``which``."""
        if not which.size:
            return
        others = np.ones(self.ids.size, dtype=bool)
        others[which] = False
        back = np.flatnonzero(others)
        if which.size <= 0.7 * self.ids.size:
            at, back = which, back[:0]
        else:  # copying columns out would cost more than to compute the others too
            at = np.arange(self.ids.size)
        H, g = columns(self.H, back), columns(self.g, back)
        every = at.size == self.ids.size
        inputs, w, J = self.jacobian(at, shared)
        self._products(J, slice(None) if every else at)
        # A column that is not finite, or a complex one that is suddenly long, may lie at a cusp.
        P = self.model_parameters(self.P[:, at], None if every else at)
        most = _SUDDEN * self.D[:, at] ** 2 if self.problem.traits.complex else np.finfo(float).max
        doubtful = ~np.all(np.einsum("iib->ib", self.H)[:, at] <= most, axis=0) & np.isfinite(self.chi2[at])
        doubtful[back] = False
        if doubtful.any():
            bounds = (self.low[:, at], self.high[:, at])
            if replace_at_cusps(self.problem, inputs, w, P, bounds, J, doubtful).any():
                self._products(J, slice(None) if every else at)
        if back.size:
            self.H[..., back], self.g[..., back] = H, g

    def _products(self, J: list[np.ndarray], at: Any) -> None:
        """``H`` and ``g`` from the weighted Jacobian of the columns ``at``."""
        r = self.r if isinstance(at, slice) else columns(self.r, at)
        for i, a in enumerate(J):
            self.g[i, at] = dot(a, r)
            for j in range(i + 1):
                self.H[i, j, at] = self.H[j, i, at] = dot(a, J[j])
        if self.priors is not None:
            H, g = self.H[..., at], self.g[:, at]
            Priors(self.priors.mean[:, at], self.priors.trust[:, at]).add(self.P[self.ours][:, at], H, g)
            self.H[..., at], self.g[:, at] = H, g


_STATE = tuple(ActiveFits.__annotations__)
