"""Second tries for the fits of a block that failed; their cost is that of the failures alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xr_modelfit.fitters.chunking import apart, pieces
from xr_modelfit.fitters.covariance import AT_MINIMUM, Judgement
from xr_modelfit.fitters.second_try.flat_places import rest_on_flat
from xr_modelfit.fitters.second_try.kinks import past_kinks
from xr_modelfit.fitters.second_try.runaways import run_away
from xr_modelfit.fitters.second_try.saddles import from_lower
from xr_modelfit.fitters.second_try.tries import Again, from_beside, part_of_fits, try_again
from xr_modelfit.fitters.verdicts import Verdicts, status_after
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.status import FitStatus

__all__ = ["retry"]

_ROUNDS = 6
_PATIENT = 50  # iterations that are allowed
_MARKEDLY = 0.01  # of chi-square by its degrees of freedom
_LOST = 1e6  # times a linear parameter: an error that tells nothing
_FAILED = (FitStatus.NO_PROGRESS, FitStatus.DEGENERATE, FitStatus.MAX_ITERATIONS)


def retry(verdicts: Verdicts, starts: np.ndarray) -> None:
    """A second try for fits that stopped away from a minimum, were slow, or lost a direction.

    Parameters
    ----------
    verdicts : Verdicts
        Written to, where a fit is good now.
    starts : ndarray, shape (b, K)
    """
    options = verdicts.task.fitter.second_try
    if options is None:
        return
    good = verdicts.status > 0
    which = np.isin(verdicts.status, _FAILED)
    if options.xtol < AT_MINIMUM:
        which |= good & ~verdicts.at_minimum
    if has_kinks := verdicts.problem.traits.traced is not None and not verdicts.problem.traits.smooth:
        which |= good  # chi-square has a minimum between any two kinks
    if not which.any():
        return
    ids = np.flatnonzero(which & (verdicts.samples.n_points >= np.count_nonzero(verdicts.free, axis=1)))
    if not ids.size:
        return
    part, starts = verdicts.part(ids), starts[ids]
    for way in (_try, _to_the_minimum, _past_kinks) if has_kinks else (_try, _to_the_minimum):
        for _ in apart(partial(way, part, starts), np.arange(ids.size)):
            pass  # a fit whose model raises stays as it was
    verdicts.take(part, ids)


def _try(verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
    ids = np.unique(ids)
    ids = ids[np.isin(verdicts.status[ids], _FAILED)]
    if ids.size:
        with np.errstate(all="ignore"), caught_warnings():
            _SecondTry(verdicts, starts, ids).run()


def _to_the_minimum(verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
    """Go on with fits that are good but for a small step, in directions that are hardly told apart."""
    ids = np.unique(ids)
    ids = ids[(verdicts.status[ids] > 0) & ~verdicts.at_minimum[ids]]
    if ids.size:
        with np.errstate(all="ignore"), caught_warnings():
            _SecondTry(verdicts, starts, ids).go_on()


def _past_kinks(verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
    """Go on with fits that are good, where a lower minimum lies on the other side of a kink."""
    ids = np.unique(ids)
    ids = ids[verdicts.status[ids] > 0]
    if ids.size:
        with np.errstate(all="ignore"), caught_warnings():
            _SecondTry(verdicts, starts, ids).go_lower()


class _SecondTry:
    """A second try of the fits ``ids``, each in one way after the other until it is good.

    ``stopped`` is where they have come so far; masks have shape (b,).
    """

    def __init__(self, verdicts: Verdicts, starts: np.ndarray, ids: np.ndarray) -> None:
        self.verdicts, self.starts, self.ids = verdicts, starts, ids
        self.problem, self.samples, self.bounds = verdicts.problem, verdicts.samples, verdicts.bounds
        self.options = verdicts.task.fitter.second_try
        chi2 = verdicts.packed[ids, verdicts.task.layout.fields["chi2"]][:, 0]
        self.stopped = Again(ids, verdicts.parameters[ids], chi2, np.zeros(ids.size), np.zeros(ids.size, dtype=bool))
        self.slow = verdicts.status[ids] == FitStatus.MAX_ITERATIONS

    def run(self) -> None:
        """In all ways."""
        away = self._away(self.slow)
        self._from(self.starts, ~away)
        self._go_on(self.slow & ~away)
        level = self._bad & ~self._away(self._bad)
        lower, flat = self._from_lower(level & ~self.slow)
        saddle = self._on_flat(level & self._bad)
        self._from_lower(saddle & self.slow)
        lost = self.ids[self.verdicts.status[self.ids] == FitStatus.DEGENERATE]
        if lost.size:
            self._take(from_beside(self.problem, self.samples, lost, self.starts, self.bounds, self.options))
        lower.good[:] = (self.verdicts.status[lower.ids] <= 0) & flat.any(axis=1)
        self._take(lower, flat)

    def go_on(self) -> None:
        """From where they have stopped, with linear parameters in a basis of each fit."""
        starts = np.array(self.starts)
        starts[self.ids] = self.stopped.P
        again = try_again(self.problem, self.samples, self.ids, starts, self.bounds, self.options)
        again.good[:] &= again.chi2 <= self.stopped.chi2
        self._take(again)

    def go_lower(self) -> None:
        """From where they have converged."""
        self._take(past_kinks(self.problem, self.samples, self.stopped, self.bounds, self.options))

    @property
    def _bad(self) -> np.ndarray:
        bad: np.ndarray = self.verdicts.status[self.ids] <= 0
        return bad

    def _away(self, which: np.ndarray) -> np.ndarray:
        """Which of these fits run away."""
        away = np.zeros(self.ids.size, dtype=bool)
        if which.any():
            P = self.stopped.P[which]
            away[which] = run_away(self.problem, self.samples, self.ids[which], self.starts, P, self.bounds)
        return away

    def _from(self, starts: np.ndarray, which: np.ndarray, options: Any = None) -> None:
        """From these starts, with linear parameters solved for."""
        which = which & self._bad
        if which.any():
            options = options or self.options
            again = try_again(self.problem, self.samples, self.ids[which], starts, self.bounds, options)
            self._take(again)
            self.stopped = _lower(self.stopped, again, which)

    def _go_on(self, which: np.ndarray) -> None:
        """From where they have stopped, while that gets markedly lower; each time with twice as many iterations."""
        dof = np.maximum(self.samples.n_points[self.ids] - np.count_nonzero(self.problem.free), 1)
        rounds = _ROUNDS if self.options.maxiter >= _PATIENT else 1  # who allows few wants an answer soon
        for doubled in range(rounds):
            if not (which & self._bad).any():
                break
            before, starts = self.stopped.chi2, np.array(self.starts)
            starts[self.ids] = self.stopped.P
            self._from(starts, which, replace(self.options, maxiter=self.options.maxiter * 2**doubled))
            which = which & (self.stopped.chi2 < before * (1.0 - _MARKEDLY / dof))

    def _from_lower(self, which: np.ndarray) -> tuple[Again, np.ndarray]:
        """From where chi-square is lower beside; also where that ends, and what has no slope there."""
        some = part_of_fits(self.stopped, which & self._bad)
        if not some.ids.size:
            return some, np.zeros(some.P.shape, dtype=bool)
        lower, flat = from_lower(self.problem, self.samples, some, self.bounds, self.options)
        self._take(lower)
        return lower, flat

    def _on_flat(self, which: np.ndarray) -> np.ndarray:
        """Rest on a kink, or in the middle of a valley; which fits are lower beside such a place."""
        saddle = np.zeros(self.ids.size, dtype=bool)
        if which.any():
            some, free = part_of_fits(self.stopped, which), self.verdicts.free
            rest, held, saddle[which] = rest_on_flat(
                self.problem, self.samples, some, self.bounds, free, self.options, self.slow[which], self._accepted
            )
            self._take(rest, held)
        return saddle

    def _accepted(self, found: Again, held: np.ndarray) -> np.ndarray:
        good = np.zeros(found.ids.size, dtype=bool)
        for rows, _ in _judged(self.verdicts, found, held):
            good[rows] = True
        return good

    def _take(self, found: Again, held: np.ndarray | None = None) -> None:
        """Write down those of the fits that are good now; ``held`` (b, K) are parameters without slope."""
        held = np.zeros(found.P.shape, dtype=bool) if held is None else held
        fields, verdicts = self.verdicts.task.layout.fields, self.verdicts
        for rows, one in _judged(verdicts, found, held):
            ids = found.ids[rows]
            one = _without_error(one, held[rows], found.P[rows], [bound[ids] for bound in self.bounds])
            verdicts.settle(ids, np.full(ids.shape, FitStatus.CONVERGED, dtype=np.int8), one)
            verdicts.parameters[ids] = found.P[rows]
            verdicts.packed[ids, fields["n_iter"]] += found.n_iter[rows][:, None]


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
        one = verdicts.judgement(found.ids[rows], found.P[rows], free[rows], np.ones(rows.shape, dtype=bool))
        fine = status_after(np.full(rows.shape, FitStatus.CONVERGED, dtype=np.int8), one) > 0
        fine &= ~held[rows].any(axis=1) | _known(verdicts, one, found.P[rows])
        if fine.any():
            yield rows[fine], one.only(fine)


def _known(verdicts: Verdicts, found: Judgement, P: np.ndarray) -> np.ndarray:
    """Whether the linear parameters of fits (b, K) are known at all: those of a spike between two samples are not."""
    linear = verdicts.problem.partly_linear
    lost = np.sqrt(found.variance[linear]) > _LOST * np.abs(P.T[linear])
    return ~np.any(lost, axis=0)


def _without_error(found: Judgement, flat: np.ndarray, P: np.ndarray, bounds: Sequence[np.ndarray]) -> Judgement:
    """A judgement where parameters that have no slope have no error; all other arrays have shape (b, K)."""
    if not flat.any():
        return found
    lost = flat.T
    covariance = np.where(lost[:, None] | lost[None, :], np.nan, found.covariance)
    at_bound = found.at_bound | np.any(flat & ((bounds[0] >= P) | (bounds[1] <= P)), axis=1)
    return replace(found, covariance=covariance, at_bound=at_bound)
