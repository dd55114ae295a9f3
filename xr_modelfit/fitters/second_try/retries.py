"""Second tries for the fits of a block that failed; their cost is that of the failures alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.amplitudes import undetermined
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.contract import Fits, Rules
from xr_modelfit.fitters.covariance import AT_MINIMUM, Judgement
from xr_modelfit.fitters.second_try.distances import run_away
from xr_modelfit.fitters.second_try.flat_places import rest_on_flat
from xr_modelfit.fitters.second_try.saddles import from_lower, past_kinks
from xr_modelfit.fitters.second_try.tries import Refit, from_beside, try_again
from xr_modelfit.fitters.verdicts import Verdicts, status_after
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.status import FitStatus

__all__ = ["FAILED", "retry"]

_ROUNDS = 6
_PATIENT = 50  # iterations that are allowed
_MARKEDLY = 0.01  # of chi-square by its degrees of freedom
FAILED = (FitStatus.NO_PROGRESS, FitStatus.DEGENERATE, FitStatus.MAX_ITERATIONS)


def retry(verdicts: Verdicts) -> None:
    """A second try for fits that stopped away from a minimum, were slow, or lost a direction.

    ``verdicts`` is written to, where a fit is good now.
    """
    rules = verdicts.task.fitter.second_try
    if rules is None:
        return
    traits = verdicts.fits.problem.traits
    has_kinks = traits.traced is not None and not traits.smooth  # chi-square has a minimum between any two kinks
    good = verdicts.status > 0
    which = np.isin(verdicts.status, FAILED)
    if rules.xtol < AT_MINIMUM:
        which |= good & ~verdicts.at_minimum
    if has_kinks:
        which |= good
    if not which.any():
        return
    priors, n_free = verdicts.fits.priors, np.count_nonzero(verdicts.free, axis=1)
    n_unknown = n_free if priors is None else n_free - np.count_nonzero(priors.trust, axis=1)
    ids = np.flatnonzero(which & (verdicts.fits.samples.n_points >= n_unknown))
    if not ids.size:
        return
    part = verdicts.part(ids)

    def each(chosen: Callable[[np.ndarray], np.ndarray], done: Callable[[_SecondTry], None]) -> None:
        def work(ids: np.ndarray) -> None:
            ids = np.unique(ids)
            ids = ids[chosen(ids)]
            if ids.size:
                with np.errstate(all="ignore"), caught_warnings():
                    done(_SecondTry(part, ids, rules))

        for _ in isolate_errors(work, np.arange(part.status.size)):
            pass  # a fit whose model raises stays as it was

    each(lambda ids: np.isin(part.status[ids], FAILED), _SecondTry.run)
    each(lambda ids: (part.status[ids] > 0) & ~part.at_minimum[ids] & ~part.vague[ids], _SecondTry.go_on)
    if has_kinks:
        each(lambda ids: (part.status[ids] > 0) & ~part.vague[ids], _SecondTry.go_lower)
    verdicts.take(part, ids)


class _SecondTry:
    """A second try of the fits ``ids``, each in one way after the other until it is good.

    ``stopped`` is where they have come so far; masks have shape (b,).
    """

    def __init__(self, verdicts: Verdicts, ids: np.ndarray, rules: Rules) -> None:
        self.verdicts, self.fits, self.ids, self.rules = verdicts, verdicts.fits, ids, rules
        chi2 = verdicts.packed[ids, verdicts.task.layout.fields["chi2"]][:, 0]
        self.stopped = Refit.nowhere(ids, verdicts.parameters[ids])._replace(chi2=chi2)
        self.slow = verdicts.status[ids] == FitStatus.MAX_ITERATIONS

    def run(self) -> None:
        """Of fits that failed: from other starts, on from where they stopped, beside level places."""
        away = self._away(self.slow)
        self._from(self.fits, ~away)
        self._go_on(self.slow & ~away)
        level = self._bad & ~self._away(self._bad)
        lower, flat = self._from_lower(level & ~self.slow)
        saddle = self._on_flat(level & self._bad)
        self._from_lower(saddle & self.slow)
        lost = self.ids[self.verdicts.status[self.ids] == FitStatus.DEGENERATE]
        if lost.size:
            self._take(from_beside(self.fits, lost, self.rules))
        lower.good[:] = (self.verdicts.status[lower.ids] <= 0) & flat.any(axis=1)
        self._take(lower, flat)

    def go_on(self) -> None:
        """Of good fits that a small step has ended, in directions that are hardly told apart: on from there."""
        again = try_again(self.fits.starting_at(self.ids, self.stopped.P), self.ids, self.rules)
        again.good[:] &= again.chi2 <= self.stopped.chi2
        self._take(again)

    def go_lower(self) -> None:
        """Of good fits: to a lower minimum on the other side of a kink."""
        self._take(past_kinks(self.fits, self.stopped, self.rules))

    @property
    def _bad(self) -> np.ndarray:
        bad: np.ndarray = self.verdicts.status[self.ids] <= 0
        return bad

    def _away(self, which: np.ndarray) -> np.ndarray:
        """Which of these fits run away."""
        away = np.zeros(self.ids.size, dtype=bool)
        if which.any():
            away[which] = run_away(self.fits, self.ids[which], self.stopped.P[which])
        return away

    def _from(self, fits: Fits, which: np.ndarray, rules: Rules | None = None) -> None:
        """From the starts of ``fits``, with linear parameters solved for."""
        which = which & self._bad
        if which.any():
            again = try_again(fits, self.ids[which], rules or self.rules)
            self._take(again)
            self.stopped = _lower(self.stopped, again, which)

    def _go_on(self, which: np.ndarray) -> None:
        """From where they have stopped, while that gets markedly lower; each time with twice as many iterations."""
        rounds = _ROUNDS if self.rules.maxiter >= _PATIENT else 1  # who allows few wants an answer soon
        for doubled in range(rounds):
            if not (which & self._bad).any():
                break
            before, fits = self.stopped.chi2, self.fits.starting_at(self.ids, self.stopped.P)
            self._from(fits, which, self.rules._replace(maxiter=self.rules.maxiter * 2**doubled))
            which = which & (self.stopped.chi2 < before * (1.0 - _MARKEDLY / self.fits.dof(self.ids)))

    def _from_lower(self, which: np.ndarray) -> tuple[Refit, np.ndarray]:
        """From where chi-square is lower beside; also where that ends, and what has no slope there."""
        which = which & self._bad
        some = self.stopped.part(which)
        if not some.ids.size:
            return some, np.zeros(some.P.shape, dtype=bool)
        lower, flat = from_lower(self.fits, some, self.rules)
        self._take(lower)
        self.stopped = _lower(self.stopped, lower, which)
        return lower, flat

    def _on_flat(self, which: np.ndarray) -> np.ndarray:
        """Rest on a kink, or in the middle of a valley; which fits are lower beside such a place."""
        saddle = np.zeros(self.ids.size, dtype=bool)
        if which.any():
            some, free, slow = self.stopped.part(which), self.verdicts.free, self.slow[which]
            rest, held, saddle[which] = rest_on_flat(self.fits, some, free, self.rules, slow, self._accepted)
            self._take(rest, held)
        return saddle

    def _accepted(self, found: Refit, held: np.ndarray) -> np.ndarray:
        good = np.zeros(found.ids.size, dtype=bool)
        for rows, _ in _judged(self.verdicts, found, held):
            good[rows] = True
        return good

    def _take(self, found: Refit, held: np.ndarray | None = None) -> None:
        """Write down those of the fits that are good now; ``held`` (b, K) are parameters without slope."""
        held = np.zeros(found.P.shape, dtype=bool) if held is None else held
        fields, verdicts = self.verdicts.task.layout.fields, self.verdicts
        for rows, one in _judged(verdicts, found, held):
            ids = found.ids[rows]
            one = _without_error(one, held[rows], found.P[rows], self.fits.low[ids], self.fits.high[ids])
            verdicts.parameters[ids] = found.P[rows]
            verdicts.settle(ids, np.full(ids.shape, FitStatus.CONVERGED, dtype=np.int8), one)
            verdicts.packed[ids, fields["n_iter"]] += found.n_iter[rows][:, None]


def _lower(stopped: Refit, again: Refit, which: np.ndarray) -> Refit:
    """Where fits have stopped at last: those ``which`` were tried again where that went lower."""
    lower = np.zeros(which.shape, dtype=bool)
    lower[which] = (again.chi2 < stopped.chi2[which]) | ~np.all(np.isfinite(stopped.P[which]), axis=1)
    P, chi2 = stopped.P.copy(), stopped.chi2.copy()
    P[lower], chi2[lower] = again.P[lower[which]], again.chi2[lower[which]]
    return stopped._replace(P=P, chi2=chi2)


def _judged(verdicts: Verdicts, found: Refit, held: np.ndarray) -> Iterator[tuple[np.ndarray, Judgement]]:
    """Rows of fits that are good, with their judgement; ``held`` (b, K): parameters without slope."""
    free = verdicts.free[found.ids] & ~held
    for rows in chunks(np.flatnonzero(found.good), verdicts.fits.samples.n_values):
        one = verdicts.judgement(found.ids[rows], found.P[rows], free[rows], np.ones(rows.shape, dtype=bool))
        fine = status_after(np.full(rows.shape, FitStatus.CONVERGED, dtype=np.int8), one) > 0
        fine &= ~undetermined(one.covariance, found.P[rows].T, verdicts.fits.problem.partly_linear)
        if fine.any():
            yield rows[fine], one.only(fine)


def _without_error(found: Judgement, flat: np.ndarray, P: np.ndarray, low: np.ndarray, high: np.ndarray) -> Judgement:
    """A judgement where parameters that have no slope have no error; all other arrays have shape (b, K)."""
    if not flat.any():
        return found
    lost = flat.T
    covariance = np.where(lost[:, None] | lost[None, :], np.nan, found.covariance)
    at_bound = found.at_bound | np.any(flat & ((low >= P) | (high <= P)), axis=1)
    return replace(found, covariance=covariance, at_bound=at_bound)
