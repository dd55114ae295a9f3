"""Which fits a result holds, and what belongs to each."""

from typing import Any

import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.records.record import FitRecord, read_records
from xr_modelfit.results.averages import refuse_averages

__all__ = ["one_fit", "parameters_of", "succeeded", "whole_records"]


def whole_records(result: xr.Dataset) -> list[FitRecord]:
    """The records of all fits; a RecordError if one of them was averaged."""
    records = read_records(result)
    for record in records:
        refuse_averages(result, record)
    return records


def one_fit(result: xr.Dataset, name: str | None, param: Any = None) -> FitRecord:
    """The record of the fit called ``name`` (its prefix, or the variable fitted), of ``param``, or of the only one.

    ``param`` may be a parameter with the prefix of its fit.
    """
    record = (_of_parameter(result, param) if name is None else None) or _called(result, name)
    refuse_averages(result, record)
    return record


def _of_parameter(result: xr.Dataset, param: Any) -> FitRecord | None:
    """The record of the fit that has a parameter, named as in the result; None if it is none or several."""
    found = [r for r in read_records(result) if param in map(r.variable, r.names)] if isinstance(param, str) else []
    return found[0] if len(found) == 1 else None


def _called(result: xr.Dataset, name: str | None) -> FitRecord:
    records = read_records(result)
    titles = [r.prefix.removesuffix("_") or r.content["data"] or "" for r in records]
    if name is None:
        if len(records) == 1:
            return records[0]
        raise ValueError(
            f"The result holds {len(records)} fits, {listed(titles)}. Say which is meant: data={titles[0]!r}."
        )
    for record in records:
        if name in (record.prefix, record.prefix.removesuffix("_"), record.content["data"]):
            return record
    if titles == [""]:
        raise ValueError(f"data is {name!r}, but the result holds one fit, which has no name. Leave it out.")
    raise ValueError(f"data is {name!r}, but the fits of the result are {listed(titles)}.{suggestion(name, titles)}")


def succeeded(result: xr.Dataset) -> xr.DataArray | xr.Dataset:
    """Where each fit succeeded."""
    ok = {}
    for record in whole_records(result):
        good = result[record.variable("fit_status")] > 0
        good.attrs = {}  # xarray's drop_attrs breaks the labels of stacked dims
        ok[record.variable("ok")] = good
    return xr.Dataset(ok) if len(ok) > 1 else good.rename("ok")


def parameters_of(result: xr.Dataset) -> xr.Dataset:
    """The parameters of every fit."""
    return result[[r.parameter(result, n).name for r in read_records(result) for n in r.names]]
