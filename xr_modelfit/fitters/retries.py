"""Second tries for the fits of a block that failed; their cost is that of the failures alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.covariance import Judgement
from xr_modelfit.fitters.flat_places import rest_on_flat
from xr_modelfit.fitters.pieces import apart, pieces
from xr_modelfit.fitters.quiet import caught_warnings
from xr_modelfit.fitters.second_try import Again, from_beside, part_of_fits, try_again
from xr_modelfit.fitters.verdicts import Verdicts, status_after
from xr_modelfit.status import FitStatus

__all__ = ["retry"]

_LOST = 1e6  # times a linear parameter: an error that tells nothing
_FAILED = (FitStatus.NO_PROGRESS, FitStatus.DEGENERATE, FitStatus.MAX_ITERATIONS)


def retry(verdicts: Verdicts, starts: np.ndarray) -> None:
    """A second try for fits that stopped away from a minimum, or lost a direction.

    Parameters
    ----------
    verdicts : Verdicts
        Written to, where a fit is good now.
    starts : ndarray, shape (b, K)
    """
    failed = np.flatnonzero(np.isin(verdicts.status, _FAILED))
    if verdicts.task.fitter.second_try is not None and failed.size:
        for _ in apart(lambda ids: _retry(verdicts, starts, ids), failed):
            pass  # a fit whose model raises stays as it was


def _retry(verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
    """A second try of the fits ``ids``, as far as they have failed."""
    options = verdicts.task.fitter.second_try
    failed = np.unique(ids)
    failed = failed[np.isin(verdicts.status[failed], _FAILED)]
    if not failed.size:
        return
    problem, samples, bounds, status = verdicts.problem, verdicts.samples, verdicts.bounds, verdicts.status
    none = np.full(failed.size, -1)
    with np.errstate(all="ignore"), caught_warnings():
        chi2 = verdicts.packed[failed, verdicts.task.layout.fields["chi2"]][:, 0]
        stopped = Again(
            failed, verdicts.parameters[failed], chi2, np.zeros(failed.size), np.zeros(failed.size, dtype=bool)
        )
        slow = status[failed] == FitStatus.MAX_ITERATIONS  # there is no end to most of these
        if not slow.all():
            again = try_again(problem, samples, failed[~slow], starts, bounds, options)
            _take(verdicts, again, none[~slow])
            stopped = _lower(stopped, again, ~slow)
        bad = status[failed] <= 0
        if bad.any():

            def accepted(found: Again, held: np.ndarray) -> np.ndarray:
                good = np.zeros(found.ids.size, dtype=bool)
                for rows, _ in _judged(verdicts, found, held):
                    good[rows] = True
                return good

            some = part_of_fits(stopped, bad)
            _take(verdicts, *rest_on_flat(problem, samples, some, bounds, verdicts.free, options, slow[bad], accepted))
        lost = failed[status[failed] == FitStatus.DEGENERATE]
        if lost.size:
            _take(verdicts, from_beside(problem, samples, lost, starts, bounds, options), none[: lost.size])


def _lower(stopped: Again, again: Again, which: np.ndarray) -> Again:
    """Where fits have stopped at last: those ``which`` were tried again where that went lower."""
    lower = np.zeros(which.shape, dtype=bool)
    lower[which] = (again.chi2 < stopped.chi2[which]) | ~np.all(np.isfinite(stopped.P[which]), axis=1)
    P, chi2 = stopped.P.copy(), stopped.chi2.copy()
    P[lower], chi2[lower] = again.P[lower[which]], again.chi2[lower[which]]
    return stopped._replace(P=P, chi2=chi2)


def _judged(verdicts: Verdicts, found: Again, held: np.ndarray) -> Iterator[tuple[np.ndarray, Judgement]]:
    """Rows of fits that are good, with their judgement; ``held``: numbers of parameters without slope, or -1."""
    free = verdicts.free[found.ids].copy()
    free[np.flatnonzero(held >= 0), held[held >= 0]] = False
    for rows in pieces(np.flatnonzero(found.good), verdicts.samples.n_values):
        one = verdicts.judgement(found.ids[rows], found.P[rows], free[rows])
        fine = status_after(np.full(rows.shape, FitStatus.CONVERGED, dtype=np.int8), one) > 0
        fine &= (held[rows] < 0) | _known(verdicts, one, found.P[rows])
        if fine.any():
            yield rows[fine], one.only(fine)


def _known(verdicts: Verdicts, found: Judgement, P: np.ndarray) -> np.ndarray:
    """Whether the linear parameters of fits (b, K) are known at all: those of a spike between two samples are not."""
    linear = verdicts.problem.partly_linear
    lost = np.sqrt(found.variance[linear]) > _LOST * np.abs(P.T[linear])
    return ~np.any(lost, axis=0)


def _take(verdicts: Verdicts, found: Again, held: np.ndarray) -> None:
    """Write down those of the fits that are good now."""
    fields = verdicts.task.layout.fields
    for rows, one in _judged(verdicts, found, held):
        ids = found.ids[rows]
        one = _without_error(one, held[rows], found.P[rows], [bound[ids] for bound in verdicts.bounds])
        verdicts.settle(ids, np.full(ids.shape, FitStatus.CONVERGED, dtype=np.int8), one)
        verdicts.parameters[ids] = found.P[rows]
        verdicts.packed[ids, fields["n_iter"]] += found.n_iter[rows][:, None]


def _without_error(found: Judgement, flat: np.ndarray, P: np.ndarray, bounds: Sequence[np.ndarray]) -> Judgement:
    """A judgement where the parameter that has no slope has no error; parameters and bounds have shape (b, K)."""
    covariance, at_bound = found.covariance.copy(), found.at_bound.copy()
    for i, j in enumerate(flat.tolist()):
        if j >= 0:
            covariance[j, :, i] = covariance[:, j, i] = np.nan
            at_bound[i] |= P[i, j] <= bounds[0][i, j] or P[i, j] >= bounds[1][i, j]
    return replace(found, covariance=covariance, at_bound=at_bound)
