"""Failures of a computed result, told once: a warning, an error, or nothing."""

import warnings
from collections.abc import Callable, Hashable, Mapping

import numpy as np
import xarray as xr

from xr_modelfit.fitters.block import FitError
from xr_modelfit.messages import outside_level
from xr_modelfit.positions import labels_at, place_text
from xr_modelfit.report import summary
from xr_modelfit.status import FitStatus

__all__ = ["FitWarning", "tell_failures", "tell_unwritten"]


class FitWarning(UserWarning):
    """Some fits of a call failed; their status tells why."""


def tell_failures(
    status: xr.DataArray, errors: str, cause: Callable[[Mapping[Hashable, int]], BaseException | None]
) -> None:
    """Act on the failures in a computed ``fit_status`` as ``errors`` says; masked positions are none.

    ``cause`` gives the error that ended the fit at a position.

    Raises
    ------
    FitError
        ``errors`` is "raise" and a fit failed; the first is named by its labels.
    """
    codes = status.values
    failed = (codes <= 0) & (codes != FitStatus.NO_DATA)
    if errors == "ignore" or not failed.any():
        return
    if errors == "warn":
        warnings.warn(
            f"{np.count_nonzero(failed)} of {codes.size} fits failed: {summary(codes)}. Their parameters are NaN "
            '(unless keep_failed=True); see fit_status. Silence this with errors="ignore".',
            FitWarning,
            stacklevel=outside_level(),
        )
        return
    at = np.unravel_index(int(np.flatnonzero(failed)[0]), codes.shape)
    numbers = {dim: int(i) for dim, i in zip(status.dims, at, strict=True)}
    labels = place_text(labels_at(status, numbers))
    code = FitStatus(int(codes[at]))
    raised = code in (FitStatus.FITTER_ERROR, FitStatus.NONFINITE_MODEL)
    raise FitError(
        f"The fit at {labels or 'the only position'} has status {code.meaning}: {code.sentence} "
        'Use errors="warn" to get a status instead.'
    ) from (cause(numbers) if raised else None)


def tell_unwritten(unwritten: np.ndarray, path: str) -> None:
    """Warn once of diagnostics that could not be written."""
    count = np.count_nonzero(unwritten)
    if count:
        warnings.warn(
            f"The diagnostics of {count} fits could not be written to {path!r}; the fits themselves are not concerned. "
            "Check its space and permissions.",
            FitWarning,
            stacklevel=outside_level(),
        )
