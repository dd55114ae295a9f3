"""Starts of linear models for counts: where the given one predicts none, that of least squares serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.contract import FitArrays, Fits
from xr_modelfit.fitters.linear import solve_directly

__all__ = ["with_positive_starts"]


def with_positive_starts(fits: Fits, ids: np.ndarray) -> Fits:
    """Fits of which those of ``ids`` whose likelihood is not finite at their start begin at least squares.

    Where that predicts negative counts too, they begin at least squares of their mean count.
    """
    samples, problem = fits.samples, fits.problem
    w = np.ones((1, 1)) if samples.weights is None else samples.weights  # exposures
    used = samples.valid & (w != 0.0)
    rates = np.where(used, samples.y / np.where(w != 0.0, w, 1.0), 0.0)
    n = np.maximum(np.count_nonzero(used, axis=1), 1)
    means = np.broadcast_to((np.sum(rates.T, axis=0) / n)[:, None], rates.shape)
    starts = np.array(np.broadcast_to(fits.starts, fits.low.shape))
    for data in (rates, means):
        bad = ids[~np.isfinite(_costs(fits, ids, starts[ids]))]
        if not bad.size:
            break
        plain = replace(fits, samples=replace(samples, y=data, noise="linear"))
        found = FitArrays.unknown(plain)
        solve_directly(plain, bad, found)
        P = np.where(problem.fixed, starts[bad], np.clip(found.parameters[bad], fits.low[bad], fits.high[bad]))
        good = np.isfinite(_costs(fits, bad, P))
        starts[bad[good]] = P[good]
    return replace(fits, starts=starts)


def _costs(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Deviance of fits ``ids`` at ``P`` (ids.size, K), shape (b,)."""
    found = np.full(ids.size, np.nan)
    for rows, at in fits.in_chunks(ids, P):
        found[rows] = at.chi2(fits.problem.with_ties(at.P))
    return found
