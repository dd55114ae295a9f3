"""The covariance of a fit that kept none, from the data that was fitted.

No fit is done: the fitted parameters are judged once more by the samples, as they were when the fit ended. The standard
errors that follow must be those of the result. Where they are not, the data or its errors are others, and there is no
covariance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.execution.execution import is_lazy
from xr_modelfit.fitters.at_start import AtStart
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.messages import outside_level, sentence
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.records.registry import path_of
from xr_modelfit.records.schema import COV_DIMS, parameter_labels
from xr_modelfit.refits.again import Again
from xr_modelfit.refits.matching import arrays_of, held_values, status_at
from xr_modelfit.refits.options import options_of
from xr_modelfit.results import derived as results
from xr_modelfit.results.evaluation import Evaluation
from xr_modelfit.results.fit_samples import data_of, known_names
from xr_modelfit.results.selection import one_fit, whole_records
from xr_modelfit.units.text import parse_unit

__all__ = ["derived", "predict", "with_covariance"]

_ALIKE = 0.01  # of a standard error: from the same samples

Data = xr.DataArray | xr.Dataset


def with_covariance(
    result: xr.Dataset, obj: Data, data: str | None, model: ModelArg | None, where: Any, given: Mapping[str, Any]
) -> xr.Dataset:
    """See `accessor.covariance_methods.CovarianceMethods.with_covariance`."""
    records = whole_records(result) if data is None else [one_fit(result, data)]
    for record in records:
        if record.variable("covariance") not in result:
            tell_other_model(model, record)
            result = _with_covariance(result, record, obj, model, where, given)
    return result


def derived(
    result: xr.Dataset,
    names: Sequence[str],
    functions: Mapping[str, Callable[..., Any]],
    data: str | Data | None,
    model: ModelArg | None,
) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.derived`."""
    if data is None or isinstance(data, str):
        record = one_fit(result, data)
        tell_other_model(model, record)
        return results.derived(result, record, names, functions, model)
    record = _record_of(result, data)
    tell_other_model(model, record)
    return results.derived(
        result, record, names, functions, model, completed=lambda: _completed(result, record, data, model)
    )


def predict(
    result: xr.Dataset,
    obj: Any,
    data: str | Data | None,
    coords: Mapping[str, Any],
    model: ModelArg | None,
    *options: Any,
) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.predict`."""
    source: Data | None
    if data is None or isinstance(data, str):
        record = one_fit(result, data)
        source = obj if _holds(obj, record) else None
    else:
        record, source = _record_of(result, data), data
    tell_other_model(model, record)
    at = Evaluation.resolve(result, record, obj, coords, model, *options)
    if source is not None:
        result = _completed(result, record, source, model)
    return results.predict(result, at)


def _holds(obj: Any, record: FitRecord) -> bool:
    """Whether an object may be the data that was fitted."""
    return isinstance(obj, xr.DataArray) or (isinstance(obj, xr.Dataset) and record.content["data"] in obj)


def _record_of(result: xr.Dataset, data: Data) -> FitRecord:
    """The record of the fit of this data."""
    records = whole_records(result)
    if len(records) == 1:
        return records[0]
    if isinstance(data, xr.DataArray):
        return one_fit(result, str(data.name))
    names = [record.content["data"] for record in records]
    raise ValueError(f"The result holds {len(records)} fits. Pass the data of one: data=dataset[{names[0]!r}].")


def _completed(result: xr.Dataset, record: FitRecord, obj: Data, model: ModelArg | None) -> xr.Dataset:
    """The result with the covariance of a fit, from the data alone."""
    if record.variable("covariance") in result:
        return result
    try:
        return _with_covariance(result, record, obj, model, None, {})
    except ValueError as error:
        raise RecordError(
            f"The covariance does not follow from the data alone: {sentence(error)} Do so in "
            "fit = fit.modelfit.with_covariance(data, ...), and ask that result."
        ) from error


def _with_covariance(
    result: xr.Dataset, record: FitRecord, obj: Data, model: ModelArg | None, where: Any, given: Mapping[str, Any]
) -> xr.Dataset:
    labels = known_names(obj, data_of(obj, record))
    status = status_at(result, record, labels.data)
    options = options_of(result, record, model, {**given, "fitter": _at_start(record)})
    options = replace(options, **arrays_of(labels, options, where, record, "where"), covariance=True, fit_info=None)
    own = (record.units or {}).get("own") or [None] * len(record.names)
    units = [None if text is None else parse_unit(text) for text in own]
    again = Again(labels, options, held_values(result, record), units)
    tied = again.job(None).problem.tied
    starts = {n: record.parameter(result, n) for n, is_tied in zip(record.names, tied, strict=True) if not is_tied}
    succeeded = status.copy(data=(status.variable > 0).data)
    succeeded.attrs = {}
    made = again(succeeded, starts)
    name = record.variable("covariance")
    if made is None:  # no fit succeeded
        shape = (*status.shape, *[len(record.names)] * 2)
        made = xr.Dataset({name: xr.Variable((*status.dims, *COV_DIMS), np.full(shape, np.nan))})
        same = known = succeeded.variable
    else:
        same, known = _same_errors(result, made, record)
    C = made[name].variable.where(same).transpose(*status.dims, *COV_DIMS)
    C.attrs = dict(made[name].attrs)
    if not is_lazy(same, known):
        # Where the fit has left a parameter without error, as on level ground, its samples may say so again or not.
        _tell((known & ~same).values, known.values, record)
    return result.assign({name: C}).assign_coords(parameter_labels(record.names))


def _at_start(record: FitRecord) -> AtStart:
    """Judges as the fitter of the fit did."""
    fitter = record.content["fitter"]
    known = fitter["keywords"] if fitter["class"] == path_of(BatchLSQFitter) else {}
    return AtStart(**{**known, "engine": "numpy"})


def _same_errors(result: xr.Dataset, made: xr.Dataset, record: FitRecord) -> tuple[xr.Variable, xr.Variable]:
    """Where all standard errors are those of the result, and where it has all of them.

    Those that it has in another unit than that of the fit are not looked at.
    """
    texts = (record.units or {}).get("parameters") or [None] * len(record.names)
    same = (made[record.variable("fit_status")] > 0).variable
    known = (result[record.variable("fit_status")] > 0).variable
    for parameter, text in zip(record.names, texts, strict=True):
        name = record.variable(f"{parameter}_stderr")
        if name in result and result[name].attrs.get("units") == text:
            old, new = result[name].variable, made[name].variable
            same = same & ((abs(new - old) <= _ALIKE * old) | (old.isnull() & new.isnull()))
            known = known & old.notnull()
    return same, known


def _tell(other: np.ndarray, succeeded: np.ndarray, record: FitRecord) -> None:
    """Say if errors are others than those of the result.

    Raises
    ------
    ValueError
        They are everywhere.
    """
    n, n_all = int(other.sum()), int(succeeded.sum())
    if not n:
        return
    what = record.content["options"].get("weighting") or "sigma"
    text = "The standard errors that follow from the data given are not those of the result"
    if n == n_all:
        raise ValueError(f"{text}. Pass the data that was fitted, with {what}=, where= and bounds= as in the fit.")
    warnings.warn(
        f"{text} at {n} of {n_all} positions: the covariance is NaN there. Pass the data that was fitted, with "
        f"{what}=, where= and bounds= as in the fit.",
        UserWarning,
        stacklevel=outside_level(),
    )
