"""Some fits in columns, and what their model says: samples first, fits last (`fitters.sums`).

Shapes: ``n`` samples, ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, weighted
from xr_modelfit.fitters.noise import working
from xr_modelfit.fitters.priors import Priors
from xr_modelfit.fitters.sums import columns, norm2, total
from xr_modelfit.models.problem import Problem

__all__ = ["FitColumns"]


class FitColumns(NamedTuple):
    """Fits at the parameters ``P``; methods take other parameters (K, b), with ties applied."""

    problem: Problem
    inputs: Sequence[np.ndarray]  # (n, 1) or (n, b)
    y: np.ndarray  # (n, b)
    w: np.ndarray | None  # (n, b), 0 where a sample is left out; None means ones
    P: np.ndarray  # (K, b)
    low: np.ndarray  # (K, b)
    high: np.ndarray  # (K, b)
    noise: str = "linear"  # see `fitters.noise`
    priors: Priors | None = None  # (K, b)
    above: np.ndarray | None = None  # (n, b), second weights; see `fitters.noise`

    def values(self, P: np.ndarray) -> np.ndarray:
        """Values of the model, (n, b)."""
        return self.problem.evaluate(self.inputs, P)

    def residual(self, P: np.ndarray) -> np.ndarray:
        """Weighted residual, (n, b), or the working one."""
        return self.linearised(P)[1]

    def chi2(self, P: np.ndarray) -> np.ndarray:
        """Chi-square, (b,), or what stands for it, with what priors add."""
        chi2 = self.linearised(P)[0]
        return chi2 if self.priors is None else chi2 + self.priors.chi2(P)

    def linearised(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Chi-square (b,), residual (n, b) and weights (n, b) of the linear problem there; see `fitters.noise`.

        Of the samples alone, without priors.
        """
        if self.noise == "linear":
            r = weighted(self.problem, self.y - self.values(P), self.w)
            return norm2(r), r, self.w
        found = working(self.noise, self.y, self.values(P), self.w, self.above)
        return total(found.cost), found.residual, found.weights

    def change(self, P: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Squared length of the weighted change of the model from ``values`` (n, b), shape (b,)."""
        if self.noise == "poisson":  # roots of counts all have the same variance
            here, before = (np.sqrt(weighted(self.problem, f, self.w)) for f in (self.values(P), values))
            return 4.0 * norm2(here - before)
        return norm2(weighted(self.problem, self.values(P) - values, self.w))

    def jacobian(self, P: np.ndarray, w: np.ndarray | None = None) -> list[np.ndarray]:
        """Weighted derivatives with respect to the free parameters, k of shape (n, b); ``w`` as of `linearised`."""
        if w is None:
            w = self.w if self.noise == "linear" else self.linearised(P)[2]
        return jacobian(self.problem, self.inputs, P, self.low, self.high, w=w)

    def with_priors(self, P: np.ndarray, r: np.ndarray, J: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Residuals (n + k, b) and Jacobian, k of (n + k, b), in which the priors are samples."""
        assert self.priors is not None
        ours = self.problem.free
        return self.priors.parameters(ours).with_samples(P[ours], r, J)

    @property
    def n_priors(self) -> np.ndarray:
        """How many parameters have a prior in each fit, shape (b,)."""
        assert self.priors is not None
        return np.count_nonzero(self.priors.trust, axis=0)

    def taken(self, which: np.ndarray) -> "FitColumns":
        """The fits in the columns ``which``."""
        inputs = [x if x.shape[1] == 1 else columns(x, which) for x in self.inputs]
        w = None if self.w is None else columns(self.w, which)
        y, P, low, high = (columns(a, which) for a in (self.y, self.P, self.low, self.high))
        priors = None if self.priors is None else self.priors.taken(which)
        above = None if self.above is None else columns(self.above, which)
        return FitColumns(self.problem, inputs, y, w, P, low, high, self.noise, priors, above)
