"""The verdict on every fit of a block: status, errors and chi-square, by the same judgement for all fitters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xr_modelfit.fitters.amplitudes import undetermined
from xr_modelfit.fitters.block_task import BlockTask
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.compiled.residual_calls import can_look_at, sandwich_sums
from xr_modelfit.fitters.contract import Fits, Notes
from xr_modelfit.fitters.covariance import Judgement, judge
from xr_modelfit.fitters.noise import ROBUST, TWO_SIDED
from xr_modelfit.fitters.rows import all_in_row, together
from xr_modelfit.fitters.sandwich import influence_sums, scatter
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.status import FitStatus

__all__ = ["Verdicts", "status_after"]


@dataclass(frozen=True)
class Verdicts:
    """What is known of the fits of a block; arrays are written to."""

    packed: np.ndarray  # (b, width), the packed array of the block
    task: BlockTask
    fits: Fits
    status: np.ndarray  # (b,)
    parameters: np.ndarray  # (b, K)
    free: np.ndarray  # (b, K)
    at_minimum: np.ndarray  # (b,), whether the parameters are as good as at the minimum
    vague: np.ndarray  # (b,), whether an amplitude is undetermined; see `fitters.amplitudes`

    @property
    def absolute(self) -> bool:
        """Whether the errors of parameters follow from the weights alone, and not from chi-square."""
        return self.task.absolute or self.fits.samples.noise not in ("linear", TWO_SIDED)

    def part(self, ids: np.ndarray) -> Verdicts:
        """A copy for the fits ``ids`` alone."""
        arrays = self.status[ids], self.parameters[ids], self.free[ids], self.at_minimum[ids], self.vague[ids]
        return Verdicts(self.packed[ids], self.task, self.fits.part(ids), *arrays)

    def take(self, part: Verdicts, ids: np.ndarray) -> None:
        """Write down what is known of the fits ``ids`` now."""
        self.packed[ids], self.status[ids], self.parameters[ids] = part.packed, part.status, part.parameters
        self.vague[ids] = part.vague

    def refuse_vague(self) -> None:
        """Take the success from fits with an undetermined amplitude; last, as a second try would cost much for few."""
        lost = np.flatnonzero(self.vague & (self.status > 0))
        self.status[lost] = FitStatus.DEGENERATE
        for name in ("stderr", "covariance") if self.task.layout.covariance else ("stderr",):
            self.packed[lost, self.task.layout.fields[name]] = np.nan

    def judge(self, known: Sequence[tuple[np.ndarray, Judgement]], notes: Notes | None) -> None:
        """Judge every fit that has parameters; ``known`` are judgements that need no other."""
        there = all_in_row(np.isfinite(self.parameters))
        self.status[(self.status > 0) & ~there] = FitStatus.NONFINITE_MODEL
        said = self.status.copy()

        def judged(ids: np.ndarray) -> None:
            ended = said[ids] != FitStatus.MAX_ITERATIONS
            self.settle(ids, said[ids], self.judgement(ids, self.parameters[ids], self.free[ids], ended))

        for ids, found in known:
            # Where weights are relative, errors come from the residuals; what is known has degrees of freedom.
            dof = self.packed[together(ids), self.task.layout.fields["dof"]][:, 0]
            self.settle(ids, said[together(ids)], found, 1.0 if self.absolute else found.chi2 / dof)
            there[ids] = False
        for ids in chunks(np.flatnonzero(there), self.fits.samples.n_values):
            for raising, error in isolate_errors(judged, ids):
                self.status[raising[self.status[raising] > 0]] = FitStatus.NONFINITE_MODEL
                if notes is not None:
                    notes.raised(raising.tolist(), error)

    def judgement(self, ids: np.ndarray, parameters: np.ndarray, free: np.ndarray, ended: np.ndarray) -> Judgement:
        """Judgement on the fits ``ids`` at ``parameters``, of which some are ``free``; (b, K) each, ``ended`` (b,)."""
        fits = self.fits.columns(ids, parameters)
        fits = fits._replace(w=np.ones_like(fits.y) if fits.w is None else fits.w)
        n_points = self.packed[ids, self.task.layout.fields["n_points"]][:, 0].astype(int)
        with caught_warnings():
            return judge(fits, n_points, free.T, self.absolute, ended)

    def settle(self, ids: np.ndarray, said: np.ndarray, found: Judgement, times: np.ndarray | float = 1.0) -> None:
        """Write down what was found of the fits ``ids``; ``times``: what variances are multiplied by."""
        fields, at = self.task.layout.fields, together(ids)
        if self.fits.samples.noise in ROBUST:
            times = self._scatter(ids)
        wider = self._wider(at)
        self.status[at], self.at_minimum[at] = status_after(said, found), found.at_minimum
        self.vague[at] = undetermined(found.covariance, self.parameters[at].T, self.fits.problem.partly_linear, times)
        self.packed[at, fields["chi2"]] = found.chi2[:, None]
        good = (self.status[at] > 0)[:, None]
        self.packed[at, fields["stderr"]] = np.where(good, (np.sqrt(found.variance * times) * wider).T, np.nan)
        if self.task.layout.covariance:
            K = self.fits.problem.n_parameters
            covariance = found.covariance * times * wider * wider[:, None]
            covariance = np.moveaxis(covariance, 2, 0).reshape(-1, K * K)
            self.packed[at, fields["covariance"]] = np.where(good, covariance, np.nan)

    def _wider(self, at: np.ndarray | slice) -> np.ndarray:
        """Factors of the standard errors, (K, b) or (1, 1), where the correlation of the noise is not known exactly."""
        correlation = self.fits.samples.correlation
        if correlation is None or correlation.wider is None:
            return np.ones((1, 1))
        return correlation.wider[at].T

    def _scatter(self, ids: np.ndarray) -> np.ndarray:
        """What variances are multiplied by under a robust loss, shape (b,)."""
        n_free = np.count_nonzero(self.free[ids], axis=1)
        n_points = self.packed[ids, self.task.layout.fields["n_points"]][:, 0]
        if can_look_at(self.fits):
            return scatter(sandwich_sums(self.fits, ids, self.parameters[ids]), n_points, n_free)
        sums = np.full((4, ids.size), np.nan)
        for rows, at in self.fits.in_chunks(ids, self.parameters[ids]):
            with caught_warnings(), np.errstate(all="ignore"):
                sums[:, rows] = influence_sums(at._replace(P=self.fits.problem.with_ties(at.P)))
        return scatter(sums, n_points, n_free)


def status_after(status: np.ndarray, found: Judgement) -> np.ndarray:
    """Status of fits that were tried, from the fitter's word and our own judgement."""
    new = status.copy()
    stuck = status == FitStatus.NO_PROGRESS  # where rounding hides what a step gains, a fit ends at its minimum so
    good = (status > 0) | (stuck & found.at_minimum)
    new[good] = FitStatus.CONVERGED
    new[good & found.at_bound] = FitStatus.CONVERGED_AT_BOUND
    new[good & ~found.stationary] = FitStatus.NO_PROGRESS
    new[(good | (status == FitStatus.NO_PROGRESS)) & ~found.full_rank] = FitStatus.DEGENERATE
    raised = (status == FitStatus.FITTER_ERROR) | (status == FitStatus.NONFINITE_MODEL)
    new[~found.finite & ~raised] = FitStatus.NONFINITE_MODEL
    return new
