"""Fits of samples whose noise is correlated: whitened, and fitted by the fitter of independent samples.

A covariance that is known whitens once. The correlation of neighbours is estimated from each fit and whitens the next,
until it stays as it is. Nothing here depends on what else is in the block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.contract import FitArrays, Fits, Notes
from xr_modelfit.fitters.correlated import ar1, covariances
from xr_modelfit.fitters.correlated.direct import Direct
from xr_modelfit.fitters.correlated.estimating import estimated
from xr_modelfit.fitters.correlated.ordered import Ordered, in_order
from xr_modelfit.fitters.samples import Correlation
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["CorrelatedNoise"]

_ROUNDS = 8  # after the first
_ROUGHLY = {"ftol": 1e-4, "xtol": 1e-2, "gtol": 1e-2}  # of the fit that whitened ones begin at
_STEADY = 0.05  # of an error of the correlation that stays as it is


@dataclass(frozen=True, eq=False)
class CorrelatedNoise:
    """How the noise of a call is correlated.

    Parameters
    ----------
    kind : {"ar1", "covariance"}
    problem : Problem
        The model at whitened samples, with the source of its compiled functions if these do the work.
    along : int
        The input along which neighbours are correlated.
    absolute : bool
        Whether the weights are one over the standard errors of the data.
    """

    kind: Literal["ar1", "covariance"]
    problem: Problem
    along: int = 0
    absolute: bool = False

    def solve(self, fitter: BatchLSQFitter, fits: Fits, attempt: np.ndarray, notes: Notes | None) -> FitArrays:
        """Fit where ``attempt`` (b,) is true, with samples and problem as they were fitted."""
        found = self.problem
        problem = replace(fits.problem, traits=found.traits, sampling=found.sampling, source=found.source)
        if self.kind == "covariance":
            return _by_covariance(fitter, fits, problem, attempt, notes)
        return _Rounds(fitter, in_order(fits, self.along), problem, attempt, self.absolute).fitted(notes)


def _by_covariance(
    fitter: BatchLSQFitter, fits: Fits, problem: Problem, attempt: np.ndarray, notes: Notes | None
) -> FitArrays:
    made, effective, bad = covariances.whitened(fits, problem, np.flatnonzero(attempt))
    b, K = fits.starts.shape[0], problem.n_parameters
    known = Correlation(np.full(b, np.nan), effective, None)
    made = replace(made, samples=replace(made.samples, correlation=known))
    out = fitter.solve(made, attempt & ~bad, notes)
    out.status[attempt & bad] = FitStatus.NONFINITE_DATA
    out.parameters[bad] = np.full(K, np.nan)
    out.problem = problem
    return out


@dataclass
class _Rounds:
    """Fits in rounds, each with the correlation that the one before has left in its residuals."""

    fitter: BatchLSQFitter
    ordered: Ordered
    problem: Problem
    attempt: np.ndarray  # (b,)
    absolute: bool

    def __post_init__(self) -> None:
        samples = self.ordered.fits.samples
        b, K = samples.y.shape[0], self.problem.n_parameters
        self.ids = np.flatnonzero(self.attempt & self.ordered.distinct)
        self.P = np.array(np.broadcast_to(self.ordered.fits.starts, (b, K)))
        self.n_iter = np.zeros(b)
        self.r, self.wider = np.zeros(b), np.ones((b, K))

    def fitted(self, notes: Notes | None) -> FitArrays:
        """What becomes of the fits in the end."""
        direct = self._begin()
        self.ids = ids = np.setdiff1d(self.ids, [i for one in direct for i in one.which.tolist()])
        out, again = self._solved(ids, notes), False
        for _ in range(_ROUNDS):
            ids = self._moved(ids)
            if not ids.size:
                break
            out, again = self._solved(ids, notes).with_others(out, ids), True
        known = Correlation(self.r, ar1.effective_samples(self.ordered, self.r), self.wider)
        if again:  # with the correlation of each, not that of the last round alone
            out.samples = ar1.whitened(self.ordered, self.problem, self.r, self.ids).samples
        self._take(out, direct)
        out.samples = replace(out.samples, correlation=known)
        out.problem = self.problem
        out.status[self.attempt & ~self.ordered.distinct] = FitStatus.NONFINITE_DATA
        return out

    def _begin(self) -> list[Direct]:
        """The correlation after a rough fit as if samples were independent; fits that are done with it."""
        rough = replace(self.fitter, **{n: max(getattr(self.fitter, n), least) for n, least in _ROUGHLY.items()})
        fits, linear = self.ordered.fits, self.problem.traits.linear
        if self.problem.source is not None:  # the same functions, compiled once
            fits = ar1.whitened(self.ordered, self.problem, self.r, self.ids)
        self._keep(rough.solve(fits.starting_at(self.ids, self.P[self.ids]), self._only(self.ids)), self.ids)
        found = estimated(self.ordered, self.ids, self.P[self.ids], self.absolute, linear)
        self.r[self.ids], self.wider[self.ids] = found.r, found.wider
        return [one._replace(which=self.ids[one.which]) for one in found.direct]

    def _solved(self, ids: np.ndarray, notes: Notes | None) -> FitArrays:
        """The fits ``ids`` with the correlation that is known of them, from where they are."""
        fits = ar1.whitened(self.ordered, self.problem, self.r, ids)
        out = self.fitter.solve(fits.starting_at(ids, self.P[ids]), self._only(ids), notes)
        self._keep(out, ids)
        out.n_iter[ids] = self.n_iter[ids]
        return out

    def _moved(self, ids: np.ndarray) -> np.ndarray:
        """Those of the fits ``ids`` whose correlation is another one now, which is noted down."""
        if self.problem.traits.linear:  # the restricted likelihood is the same wherever the fit is, but for bounds
            ids = ids[self._at_bounds(ids)]
        found = estimated(self.ordered, ids, self.P[ids], self.absolute)
        n_points = np.maximum(self.ordered.fits.samples.n_points[ids], 2)
        error = 1.0 / np.sqrt(n_points * (1.0 - found.r**2))  # of artanh(r)
        moved = np.abs(np.arctanh(found.r) - np.arctanh(self.r[ids])) > _STEADY * error
        self.wider[ids] = found.wider
        self.r[ids[moved]] = found.r[moved]
        return ids[moved]

    def _only(self, ids: np.ndarray) -> np.ndarray:
        chosen = np.zeros(len(self.attempt), dtype=bool)
        chosen[ids] = True
        return chosen

    def _take(self, out: FitArrays, direct: list[Direct]) -> None:
        """Write down the fits that are done without whitened samples."""
        for ids, P, judgement in direct:
            out.parameters[ids], out.status[ids], out.n_iter[ids] = P, FitStatus.CONVERGED, self.n_iter[ids] + 1
            out.judged.append((ids, judgement))

    def _keep(self, out: FitArrays, ids: np.ndarray) -> None:
        """Note where the fits ``ids`` are now."""
        self.n_iter[ids] += np.nan_to_num(out.n_iter[ids])
        there = ids[np.all(np.isfinite(out.parameters[ids]), axis=1)]
        self.P[there] = out.parameters[there]

    def _at_bounds(self, ids: np.ndarray) -> np.ndarray:
        """Which of the fits ``ids`` have a free parameter on its bound, (b,)."""
        fits, ours = self.ordered.fits, self.problem.free
        P = self.P[ids]
        return np.any(((fits.low[ids] >= P) | (fits.high[ids] <= P))[:, ours], axis=1)
