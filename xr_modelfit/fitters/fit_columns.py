"""Some fits in columns, and what their model says: samples first, fits last (`fitters.sums`).

Shapes: ``n`` samples, ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian, weighted
from xr_modelfit.fitters.sums import columns, norm2
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

    def values(self, P: np.ndarray) -> np.ndarray:
        """Values of the model, (n, b)."""
        return self.problem.evaluate(self.inputs, P)

    def residual(self, P: np.ndarray) -> np.ndarray:
        """Weighted residual, (n, b)."""
        return weighted(self.problem, self.y - self.values(P), self.w)

    def change(self, P: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Squared length of the weighted change of the model from ``values`` (n, b), shape (b,)."""
        return norm2(weighted(self.problem, self.values(P) - values, self.w))

    def jacobian(self, P: np.ndarray) -> list[np.ndarray]:
        """Weighted derivatives with respect to the free parameters, k of shape (n, b)."""
        return jacobian(self.problem, self.inputs, P, self.low, self.high, w=self.w)

    def taken(self, which: np.ndarray) -> "FitColumns":
        """The fits in the columns ``which``."""
        inputs = [x if x.shape[1] == 1 else columns(x, which) for x in self.inputs]
        w = None if self.w is None else columns(self.w, which)
        y, P, low, high = (columns(a, which) for a in (self.y, self.P, self.low, self.high))
        return FitColumns(self.problem, inputs, y, w, P, low, high)
