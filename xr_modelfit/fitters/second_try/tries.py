"""Fits anew, with linear parameters solved for (`fitters.second_try.own_basis`) and away from bounds at first.

A parameter that is put on its bound early may take away the effect of others: the phase of a wave whose amplitude is 0.
So the first steps go at most nine tenths of the way to a bound.

Shapes: ``K`` parameters, ``b`` fits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import at_least_two, chunks
from xr_modelfit.fitters.compiled.engine import solve_fits
from xr_modelfit.fitters.contract import FitArrays, Fits, Rules
from xr_modelfit.fitters.levenberg_marquardt import iterate
from xr_modelfit.fitters.second_try.own_basis import OwnBasis
from xr_modelfit.fitters.sums import norm2

__all__ = ["Refit", "from_beside", "run", "try_again"]


class Refit(NamedTuple):
    """Where fits ``ids`` are now."""

    ids: np.ndarray  # (b,)
    P: np.ndarray  # (b, K)
    chi2: np.ndarray  # (b,)
    n_iter: np.ndarray  # (b,)
    good: np.ndarray  # (b,), whether each converged

    @classmethod
    def nowhere(cls, ids: np.ndarray, P: np.ndarray) -> Refit:
        """Fits that have not converged anywhere yet."""
        return cls(ids, P, np.full(ids.size, np.inf), np.zeros(ids.size), np.zeros(ids.size, dtype=bool))

    def copy(self) -> Refit:
        """A copy of which no fit is good yet."""
        return Refit(self.ids, self.P.copy(), self.chi2.copy(), self.n_iter.copy(), np.zeros(self.ids.size, dtype=bool))

    def put(self, rows: np.ndarray, new: Refit) -> None:
        """Write down a better place of the fits in these rows; their iterations add up."""
        self.P[rows], self.chi2[rows], self.good[rows] = new.P, new.chi2, new.good
        self.n_iter[rows] += new.n_iter

    def part(self, which: np.ndarray) -> Refit:
        """Those of the fits that ``which`` picks."""
        return Refit(*(a[which] for a in self))


def try_again(fits: Fits, ids: np.ndarray, rules: Rules) -> Refit:
    """Fit ``ids`` anew from their starts, with linear parameters in a basis of each fit."""
    return run(OwnBasis, fits, ids, rules)


def from_beside(fits: Fits, ids: np.ndarray, rules: Rules) -> Refit:
    """The best of fits from starts with one parameter elsewhere, where it changes the model by as much as is missing.

    A start may lie just between two valleys, or on the wrong side of one.
    """
    best = Refit.nowhere(ids, fits.starts[ids].copy())
    for j in np.flatnonzero(fits.problem.free & ~fits.problem.partly_linear).tolist():
        reach = _reach(fits, ids, j)
        for side in (-1.0, 1.0):
            P = fits.starts[ids]
            P[:, j] = np.clip(P[:, j] + side * reach, fits.low[ids, j], fits.high[ids, j])
            moved = np.flatnonzero(P[:, j] != fits.starts[ids, j])  # the start itself was tried
            if not moved.size:
                continue
            new = try_again(fits.starting_at(ids[moved], P[moved]), ids[moved], rules)
            better = new.good & (new.chi2 < best.chi2[moved])
            at, new = moved[better], new.part(better)
            best.P[at], best.chi2[at], best.n_iter[at], best.good[at] = new.P, new.chi2, new.n_iter, True
    return best


def _reach(fits: Fits, ids: np.ndarray, j: int) -> np.ndarray:
    """How far parameter ``j`` moves, by its slope at the start, until the model changes as much as is missing; (b,)."""
    reach = np.zeros(ids.size)
    which = np.flatnonzero(fits.problem.free).tolist().index(j)
    for rows, at in fits.in_chunks(ids, fits.starts[ids]):
        P = fits.problem.with_ties(at.P)
        far = np.sqrt(at.chi2(P) / norm2(at.jacobian(P)[which]))
        reach[rows] = np.where(np.isfinite(far), far, 0.0)
    return reach


def run(kind: type[ActiveFits], fits: Fits, ids: np.ndarray, rules: Rules) -> Refit:
    """Iterate fits ``ids`` from their starts until all are done."""
    rules = rules._replace(cautious=kind.cautious)
    new = Refit.nowhere(ids, np.full((ids.size, fits.problem.n_parameters), np.nan))
    row = np.zeros(fits.samples.y.shape[0], dtype=int)
    row[ids] = np.arange(ids.size)
    for some in chunks(ids, fits.samples.n_values):
        active = kind.filled(fits, some, rules)
        if fits.problem.source is None:
            _iterate(active, new, row[some])
            continue
        left = _compiled(active, fits, some, rules, new, row[some])
        if left.size:
            again = at_least_two(left)
            _iterate(kind.filled(fits, again, rules), new, row[again])
    return new


def _compiled(active: ActiveFits, fits: Fits, ids: np.ndarray, rules: Rules, new: Refit, at: np.ndarray) -> np.ndarray:
    """Iterate fits by the compiled engine, and write them to the rows ``at`` of ``new``; returns those left undone."""
    plain, out = active.plain, FitArrays.unknown(fits)
    started = fits.starting_at(ids, active.model_parameters(active.P).T)
    left = solve_fits(started, np.unique(ids[plain]), rules, out)
    new.P[at], new.n_iter[at], new.good[at] = out.parameters[ids], out.n_iter[ids], out.status[ids] > 0
    found = fits.columns(ids, out.parameters[ids])
    new.chi2[at] = found.chi2(found.P)
    return np.concatenate([left, np.unique(ids[~plain])])


def _iterate(active: ActiveFits, new: Refit, at: np.ndarray) -> None:
    """Iterate fits until all are done, and write them to the rows ``at`` of ``new``."""
    for done, status, _ in iterate(active):
        now = active.model_parameters(active.P)
        new.P[at[done]], new.chi2[at[done]] = now[:, done].T, active.chi2[done]
        new.n_iter[at[done]], new.good[at[done]] = active.n_iter[done], status[done] > 0
