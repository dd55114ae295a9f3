"""A continuum that is not linear in all its parameters, under peaks that are not known yet.

The best point of all samples, and from there downhill on those that do not stand out from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xr_modelfit.estimates.columns import SampleColumns
from xr_modelfit.estimates.linear_part import residual_of
from xr_modelfit.estimates.polish import polished
from xr_modelfit.estimates.profile import best_points
from xr_modelfit.estimates.roles import ParameterRole

__all__ = ["with_continuum"]

_STEPS = 5  # a strong continuum must be known to a fraction of a weak line
_OUTSIDE = 2.5 * 1.4826  # medians of what is left: farther out there may be a peak


def with_continuum(
    fits: SampleColumns, P: np.ndarray, roles: Sequence[ParameterRole], others: np.ndarray
) -> np.ndarray:
    """Parameters (K, b) with those of the continuum ``others`` (K,); peaks have no height in ``P``."""
    part = replace(fits, asked=fits.asked & others)
    searched = part.asked & ~fits.problem.partly_linear
    P = best_points(part, P, roles, searched, part.linear)[0]
    P, _ = polished(part, P, searched, _STEPS)
    P, _ = polished(replace(part, W=_without_peaks(fits, P)), P, searched, _STEPS)
    return P


def _without_peaks(fits: SampleColumns, P: np.ndarray) -> np.ndarray:
    """Squared weights, 0 for samples that stand out."""
    left = np.abs(residual_of(fits, P)) * np.sqrt(fits.W)
    used = np.broadcast_to(fits.W > 0.0, left.shape)
    ranked = np.sort(np.where(used, left, np.inf).T, axis=1)
    middle = np.minimum(np.count_nonzero(used, axis=0) // 2, left.shape[0] - 1)
    median = np.take_along_axis(ranked, middle[:, None], axis=1)[:, 0]
    return np.where(left <= _OUTSIDE * median, np.broadcast_to(fits.W, left.shape), 0.0)
