r"""What is known of parameters beforehand: normal distributions, which act as further samples.

A prior of mean ``m`` and standard deviation ``s`` on a free parameter ``p`` adds ``((p - m) / s)^2`` to chi-square.
With the *trust* ``t = 1 / s``, 0 where nothing is known, that is a sample with residual ``t (m - p)`` and derivative
``t``: ``H`` grows by ``t^2`` on its diagonal, ``g`` by ``t^2 (m - p)``. The covariance is then that of the posterior,
as far as that is normal.

Shapes: ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.sums import columns

__all__ = ["Priors"]


class Priors(NamedTuple):
    """Priors of fits, (b, K) each, or as columns (K, b), or of free parameters only (k, b)."""

    mean: np.ndarray
    trust: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, deviation: np.ndarray, held: np.ndarray) -> Priors:
        """From means and standard deviations (b, K); NaN is no prior, nor is one on a parameter that is ``held``."""
        known = np.isfinite(mean) & (deviation > 0.0) & np.isfinite(deviation) & ~held
        return cls(np.where(known, mean, 0.0), np.where(known, 1.0 / np.where(known, deviation, 1.0), 0.0))

    def rows(self, ids: np.ndarray) -> Priors:
        """Those of the fits ``ids``, of (b, K)."""
        return Priors(self.mean[ids], self.trust[ids])

    def in_columns(self, ids: np.ndarray) -> Priors:
        """Those of the fits ``ids``, (K, b) from (b, K)."""
        return Priors(*(np.ascontiguousarray(a[ids].T) for a in self))

    def parameters(self, which: np.ndarray) -> Priors:
        """Those of the parameters ``which``, of columns."""
        return Priors(self.mean[which], self.trust[which])

    def taken(self, which: np.ndarray) -> Priors:
        """Those of the columns ``which``."""
        return Priors(columns(self.mean, which), columns(self.trust, which))

    def beside(self, other: Priors) -> Priors:
        """These columns and others."""
        return Priors(*(np.concatenate(pair, axis=-1) for pair in zip(self, other, strict=True)))

    def chi2(self, P: np.ndarray) -> np.ndarray:
        """What they add to chi-square at ``P`` (K, b), shape (b,)."""
        added: np.ndarray = np.sum((self.trust * (self.mean - P)) ** 2, axis=0)
        return added

    def add(self, P: np.ndarray, H: np.ndarray, g: np.ndarray) -> None:
        """Add them to ``H`` (k, k, b) and ``g`` (k, b) at ``P``; all of free parameters only."""
        square = self.trust**2
        for m in range(len(g)):
            H[m, m] += square[m]
            g[m] += square[m] * (self.mean[m] - P[m])

    def with_samples(
        self, P: np.ndarray, r: np.ndarray, J: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Residuals (n + k, b) and Jacobian, k of (n + k, b), with the priors as samples."""
        known = np.concatenate([r, self.trust * (self.mean - P)])
        longer = []
        for m, c in enumerate(J):
            own = np.zeros_like(P)
            own[m] = self.trust[m]
            longer.append(np.concatenate([np.broadcast_to(c, r.shape), own]))
        return known, longer
