"""Starts that are the answer: a fit that is known, judged once more by its samples."""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.contract import FitArrays, Fits, Notes
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.status import FitStatus

__all__ = ["AtStart"]


class AtStart(BatchLSQFitter):
    """Takes starts for fits that have converged, so that all that is done is to judge them.

    Under a loss other than the sum of squares, and where samples are clipped, weights follow from the residuals: then
    it fits from there.
    """

    @property
    def second_try(self) -> None:
        """None: where the starts are no minimum, there is no answer."""

    def solve(self, fits: Fits, attempt: np.ndarray, notes: Notes | None = None) -> FitArrays:
        """See `fitters.contract.Fitter`."""
        if self.loss != "linear" or self.clip is not None:
            return super().solve(fits, attempt, notes)
        out, ids = FitArrays.unknown(fits), np.flatnonzero(attempt)
        if ids.size:
            with caught_warnings():  # of ties
                out.parameters[ids] = fits.problem.with_ties(fits.starts[ids].T).T
        out.status[ids], out.n_iter[ids] = FitStatus.CONVERGED, 0
        return out
