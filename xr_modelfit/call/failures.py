"""Failures of a computed result, told once: a warning, an error, or nothing."""

import warnings
from collections.abc import Callable, Hashable, Mapping

import numpy as np
import xarray as xr

from xr_modelfit.fitters.block import FitError
from xr_modelfit.messages import outside_level, sentence
from xr_modelfit.results.positions import labels_at, place_text
from xr_modelfit.results.report import summary
from xr_modelfit.status import FitStatus

__all__ = ["FitWarning", "tell_failures", "tell_nothing_fitted", "tell_unwritten"]

Cause = Callable[[Mapping[Hashable, int]], BaseException | None]

_RAISED = (FitStatus.FITTER_ERROR, FitStatus.NONFINITE_MODEL)
_NOT_TRIED = (
    FitStatus.NO_DATA, FitStatus.TOO_FEW_POINTS, FitStatus.NONFINITE_DATA, FitStatus.INVALID_START,
    FitStatus.NOT_ATTEMPTED,
)  # fmt: skip


class FitWarning(UserWarning):
    """Some fits of a call failed; their status tells why."""


def tell_nothing_fitted(status: xr.DataArray, errors: str, why: Callable[[], str]) -> None:
    """Warn where no position of a computed ``fit_status`` has a valid sample; ``why`` says for which cause."""
    codes = status.values
    if errors == "ignore" or not codes.size or (codes != FitStatus.NO_DATA).any():
        return
    where = "the only position has no" if codes.size == 1 else f"none of {codes.size} positions has a"
    warnings.warn(
        f'Nothing could be fitted: {where} valid sample. {why()} Silence this with errors="ignore".',
        FitWarning,
        stacklevel=outside_level(),
    )


def tell_failures(status: xr.DataArray, errors: str, cause: Cause, remark: Callable[[], str] = str) -> None:
    """Act on the failures in a computed ``fit_status`` as ``errors`` says; masked positions are none.

    ``cause`` gives the error that ended the fit at a position, ``remark`` what else is to be said. Raises FitError if
    ``errors`` is "raise" and a fit failed; the first is named by its labels.
    """
    codes = status.values
    failed = (codes <= 0) & (codes != FitStatus.NO_DATA)
    if errors == "ignore" or not failed.any():
        return
    if errors == "warn":
        more = f"{_of_all(status, cause)}{remark()}"
        warnings.warn(
            f"{np.count_nonzero(failed)} of {codes.size} fits failed: {summary(codes)}. Their parameters are NaN "
            f'(unless keep_failed=True); see fit_status. Silence this with errors="ignore".{more}',
            FitWarning,
            stacklevel=outside_level(),
        )
        return
    at = np.unravel_index(int(np.flatnonzero(failed)[0]), codes.shape)
    numbers = {dim: int(i) for dim, i in zip(status.dims, at, strict=True)}
    labels = place_text(labels_at(status, numbers))
    code = FitStatus(int(codes[at]))
    raised = code in _RAISED
    raise FitError(
        f"The fit at {labels or 'the only position'} has status {code.meaning}: {code.sentence} "
        f'Use errors="warn" to get a status instead.{remark()}'
    ) from (cause(numbers) if raised else None)


def _of_all(status: xr.DataArray, cause: Cause) -> str:
    """The error that ended every fit that was attempted, as a sentence; nothing where some ended otherwise."""
    attempted = ~np.isin(status.values, _NOT_TRIED)
    if not attempted.any() or not np.isin(status.values[attempted], _RAISED).all():
        return ""
    reasons = set()
    places = np.argwhere(attempted)
    for at in places[sorted({0, len(places) // 2, len(places) - 1})]:
        error = cause({dim: int(i) for dim, i in zip(status.dims, at, strict=True)})
        reasons.add(None if error is None else f"{type(error).__name__}: {sentence(error)}")
    (found, *others) = reasons
    return "" if others or found is None else f" All that were attempted raised {found}"


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
