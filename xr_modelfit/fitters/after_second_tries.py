"""Fits whose weights follow from their residuals, done again where a second try has moved them.

Clipping, a scale by the residuals and the correlation of the noise are found in rounds, with the residuals of each fit
where it has come to. A fit that stands at a saddle or at a bound has residuals that hold what the model has not
explained. A second try may then find the minimum, but with the weights of these residuals. So it is done again from
there, until it stays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block_task import BlockTask
from xr_modelfit.fitters.second_try.retries import FAILED

__all__ = ["follows_residuals", "until_steady"]

_ROUNDS = 4

Pass = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def follows_residuals(task: BlockTask) -> bool:
    """Whether samples count by what the residuals of a fit are."""
    if task.correlation is not None:
        return task.correlation.kind == "ar1"
    fitter = task.fitter
    return isinstance(fitter, BatchLSQFitter) and (fitter.clip is not None or fitter.f_scale == "mad")


def until_steady(
    task: BlockTask, starts: np.ndarray, packed: np.ndarray, moved: np.ndarray, fit: Pass, independent: Pass | None
) -> np.ndarray:
    """Where the fits begin that come to what they are in one pass, (b, K); ``packed`` is written to.

    Parameters
    ----------
    task : BlockTask
    starts : ndarray, shape (b, K)
    packed : ndarray, shape (b, width)
        Of the first pass.
    moved : ndarray of bool, shape (b,)
        Which fits a second try has moved.
    fit : callable
        A pass of some fits from some starts, (b,) and (b, K): its packed array, and which fits a second try has moved.
    independent : callable, optional
        The same as if noise were independent. Fits that failed begin where it ends.
    """
    fields, starts = task.layout.fields, np.array(np.broadcast_to(starts, (len(packed), task.problem.n_parameters)))
    status = packed[:, fields["fit_status"]][:, 0]
    moved = moved.copy()
    starts[moved] = packed[moved, fields["parameters"]]
    failed = np.isin(status, FAILED)
    if independent is not None and failed.any():
        found, _ = independent(failed, starts)
        good = failed & (found[:, fields["fit_status"]][:, 0] > 0)
        starts[good] = found[good, fields["parameters"]]
        moved |= good
    for _ in range(_ROUNDS):
        if not moved.any():
            break
        found, again = fit(moved, starts)
        for name in ("start",) if task.layout.starts else ():
            found[:, fields[name]] = packed[:, fields[name]]
        found[:, fields["n_iter"]] += packed[:, fields["n_iter"]]
        packed[moved] = found[moved]
        moved &= again
        starts[moved] = packed[moved, fields["parameters"]]
    return starts
