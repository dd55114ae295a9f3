"""Second tries for the fits of a block that failed; their cost is that of the failures alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.covariance import Judgement
from xr_modelfit.fitters.flat_places import rest_on_flat
from xr_modelfit.fitters.pieces import apart, pieces
from xr_modelfit.fitters.quiet import caught_warnings
from xr_modelfit.fitters.runaways import run_away
from xr_modelfit.fitters.saddles import from_lower
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
    enough = verdicts.samples.n_points >= np.count_nonzero(verdicts.free, axis=1)
    failed = np.flatnonzero(np.isin(verdicts.status, _FAILED) & enough)
    if verdicts.task.fitter.second_try is None or not failed.size:
        return
    part, starts = verdicts.part(failed), starts[failed]
    for _ in apart(lambda ids: _retry(part, starts, np.unique(ids)), np.arange(failed.size)):
        pass  # a fit whose model raises stays as it was
    verdicts.take(part, failed)


def _retry(verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
    """A second try of the fits ``ids``, as far as they have failed."""
    options = verdicts.task.fitter.second_try
    failed = ids[np.isin(verdicts.status[ids], _FAILED)]
    if not failed.size:
        return
    problem, samples, bounds, status = verdicts.problem, verdicts.samples, verdicts.bounds, verdicts.status
    none = np.zeros((failed.size, problem.n_parameters), dtype=bool)

    def accepted(found: Again, held: np.ndarray) -> np.ndarray:
        good = np.zeros(found.ids.size, dtype=bool)
        for rows, _ in _judged(verdicts, found, held):
            good[rows] = True
        return good

    with np.errstate(all="ignore"), caught_warnings():
        chi2 = verdicts.packed[failed, verdicts.task.layout.fields["chi2"]][:, 0]
        stopped = Again(
            failed, verdicts.parameters[failed], chi2, np.zeros(failed.size), np.zeros(failed.size, dtype=bool)
        )
        slow = status[failed] == FitStatus.MAX_ITERATIONS
        hopeful = ~slow  # there is no end to most of the others
        if slow.any():
            hopeful[slow] = ~run_away(problem, samples, failed[slow], starts, stopped.P[slow], bounds)
        if hopeful.any():
            again = try_again(problem, samples, failed[hopeful], starts, bounds, options)
            _take(verdicts, again, none[hopeful])
            stopped = _lower(stopped, again, hopeful)
        on_the_way = slow & hopeful & (status[failed] <= 0)
        if on_the_way.any():
            begun = np.array(starts)
            begun[failed[on_the_way]] = stopped.P[on_the_way]
            _take(verdicts, try_again(problem, samples, failed[on_the_way], begun, bounds, options), none[on_the_way])
        level = (status[failed] <= 0) & ~slow
        if level.any():
            lower, flat = from_lower(problem, samples, part_of_fits(stopped, level), bounds, options)
            _take(verdicts, lower, none[level])
        bad = status[failed] <= 0
        if bad.any():
            some = part_of_fits(stopped, bad)
            found = rest_on_flat(problem, samples, some, bounds, verdicts.free, options, slow[bad], accepted)
            _take(verdicts, *found[:2])
            saddle = slow[bad] & found[2]
            if saddle.any():
                again, _ = from_lower(problem, samples, part_of_fits(some, saddle), bounds, options)
                _take(verdicts, again, none[: again.ids.size])
        lost = failed[status[failed] == FitStatus.DEGENERATE]
        if lost.size:
            _take(verdicts, from_beside(problem, samples, lost, starts, bounds, options), none[: lost.size])
        if level.any():
            lower.good[:] = (status[lower.ids] <= 0) & flat.any(axis=1)
            _take(verdicts, lower, flat)


def _lower(stopped: Again, again: Again, which: np.ndarray) -> Again:
    """Where fits have stopped at last: those ``which`` were tried again where that went lower."""
    lower = np.zeros(which.shape, dtype=bool)
    lower[which] = (again.chi2 < stopped.chi2[which]) | ~np.all(np.isfinite(stopped.P[which]), axis=1)
    P, chi2 = stopped.P.copy(), stopped.chi2.copy()
    P[lower], chi2[lower] = again.P[lower[which]], again.chi2[lower[which]]
    return stopped._replace(P=P, chi2=chi2)


def _judged(verdicts: Verdicts, found: Again, held: np.ndarray) -> Iterator[tuple[np.ndarray, Judgement]]:
    """Rows of fits that are good, with their judgement; ``held`` (b, K): parameters without slope."""
    free = verdicts.free[found.ids] & ~held
    for rows in pieces(np.flatnonzero(found.good), verdicts.samples.n_values):
        one = verdicts.judgement(found.ids[rows], found.P[rows], free[rows])
        fine = status_after(np.full(rows.shape, FitStatus.CONVERGED, dtype=np.int8), one) > 0
        fine &= ~held[rows].any(axis=1) | _known(verdicts, one, found.P[rows])
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
    """A judgement where parameters that have no slope have no error; all other arrays have shape (b, K)."""
    if not flat.any():
        return found
    lost = flat.T
    covariance = np.where(lost[:, None] | lost[None, :], np.nan, found.covariance)
    at_bound = found.at_bound | np.any(flat & ((bounds[0] >= P) | (bounds[1] <= P)), axis=1)
    return replace(found, covariance=covariance, at_bound=at_bound)
