"""What is said beside the failures of a call: why nothing could be fitted, and what the data or the start cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from xr_modelfit.call.exposure import is_of_counts
from xr_modelfit.call.job import Job
from xr_modelfit.call.trial_points import TrialPoints
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.results.report import NEGATIVE_COUNTS
from xr_modelfit.status import FitStatus

__all__ = ["about_counts", "about_start", "why_no_sample"]

_FLAT = 1e-9  # of the largest difference
_STARTS = (FitStatus.DEGENERATE, FitStatus.NO_PROGRESS)


def why_no_sample(job: Job) -> str:
    """Why no position has a valid sample, in a sentence; of what is in memory."""
    for one in job.system.inputs:
        if _has_none(one.values, np.isfinite):
            return f"The coordinate {one.coordinate!r} is NaN everywhere."
    found = job.arrays.get(Role("where"))
    if found is not None and _has_none(found, np.asarray):
        return "where is False everywhere; it is True where a sample is used: where=~mask for a mask of bad ones."
    found = job.arrays.get(Role("weights"))
    if found is not None and _has_none(found, lambda values: np.isfinite(values) & (values > 0)):
        return f"{job.weighting.weighting} has no positive, finite value."
    if _has_none(job.data.variable, np.isfinite):
        return "The data is NaN or infinite everywhere."
    return "Data, coordinates, where, sigma and weights leave no sample that all of them allow."


def _has_none(variable: xr.Variable, usable: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether an array in memory has values, none of which can be used."""
    if not variable._in_memory or not variable.size:
        return False
    return not np.any(usable(variable.values))


def about_counts(job: Job, codes: np.ndarray) -> str:
    """How many samples are negative where counts are fitted, in the fits that failed for it; nothing if none is.

    ``codes`` are the statuses of the fits, in the order of the data.
    """
    data = job.data.variable
    if not is_of_counts(job.fitter) or data.dtype.kind not in "if" or not data._in_memory:
        return ""
    negative = data < 0
    where, weights = (job.arrays.get(Role(kind)) for kind in ("where", "weights"))
    if where is not None and where._in_memory:
        negative = negative & where.astype(bool)
    if weights is not None and weights._in_memory:
        negative = negative & np.isfinite(weights) & (weights > 0)
    failed = xr.Variable(list(job.remaining), codes == FitStatus.NONFINITE_MODEL)
    number = (negative & failed).sum(job.fitted)
    n, fits = int(number.sum()), int((number > 0).sum())
    if not n:
        return ""
    samples = "1 sample is" if n == 1 else f"{n} samples are"
    return f" {samples} negative, in {fits} of these fits. {NEGATIVE_COUNTS}"


def about_start(job: Job, codes: np.ndarray) -> str:
    """That the model is flat at the start, where fits ended as fits from such a start do; nothing otherwise.

    ``codes`` are the statuses of the fits.
    """
    problem = job.problem.at_nodes
    given = not any(role.kind == "start" for role in job.arrays) and not any(job.estimators) and not job.adapted
    known = all(one.values._in_memory and one.values.size for one in job.system.inputs)
    if problem.traits.linear or not given or not known or not np.isin(codes, _STARTS).any():
        return ""
    inputs = TrialPoints(job.system.inputs, job.fitted, job.data).all(problem.start)
    try:
        with caught_warnings(), np.errstate(all="ignore"):
            private = problem.private()
            values = np.asarray(private.evaluate_one(inputs, private.with_ties(problem.start)), dtype=float)
    except Exception:  # the fits have their own statuses
        return ""
    values = values[np.isfinite(values)]
    away = np.abs(values - np.median(values)) if values.size else values
    seen = int(np.count_nonzero(away > _FLAT * away.max())) if away.size and away.max() > 0 else 0
    if not values.size or seen >= min(np.count_nonzero(problem.free), values.size):
        return ""
    level = float(np.median(values))
    ranges = " and ".join(map(_range, job.system.inputs))
    return (
        f" At the start the model is {level:g} at {values.size - seen} of {values.size} samples: {_start(job)}, while "
        f"{ranges}. The start lies outside that range, is narrower than its steps, has an amplitude of 0, or is meant "
        "in another unit. Start inside it: p0={...}, or p0='estimate'."
    )


def _start(job: Job) -> str:
    parts = []
    for one, value, free in zip(job.units, job.problem.start, job.problem.free, strict=True):
        unit = "" if one.text in (None, "1", "") else f" {one.text}"
        if free:
            parts.append(f"{one.name} = {value / one.inward:.6g}{unit}")
    return ", ".join(parts)


def _range(one: ModelInput) -> str:
    values = np.asarray(one.values.values, dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return f"{one.coordinate!r} is NaN"
    text = one.measure.text if one.measure.time is None else one.measure.time.units
    unit = "" if text in (None, "1", "") else f" {text}"
    return f"{one.coordinate!r} runs from {values.min():.6g} to {values.max():.6g}{unit}"
