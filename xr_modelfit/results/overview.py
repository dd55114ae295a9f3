"""What ``fit.modelfit`` and ``data.modelfit`` show of themselves: the model, how the fits ended, what can be asked."""

from __future__ import annotations

from html import escape

import xarray as xr

from xr_modelfit.execution.execution import is_lazy
from xr_modelfit.messages import listed, sentence
from xr_modelfit.models.expression import expression_text
from xr_modelfit.records.record import FitRecord, RecordError, build_model, read_records
from xr_modelfit.results.averages import refuse_averages
from xr_modelfit.results.report import headline, n_without_status, status_counts, without_status

__all__ = ["html", "text"]

_OF_DATA = (
    ("(model, dim)", "fits at every position"),
    ("plan(model, dim)", "what that will cost"),
    ("estimate(model, dim)", "start values from the data"),
    ("plot_fit(fit, ...)", "one fit with its samples"),
)
_OF_RESULT = (
    ("ok, params", "where the fits succeeded, and their parameters"),
    ("report()", "how the fits ended, and which are worst"),
    ("significant(), p_value(param)", "which of them mean something"),
    ("plot(), inspect()", "maps, and single fits by a click"),
    ("evaluate(data), residuals(data), components(data)", "the fitted model at the data"),
    ("predict(data), derived()", "the model and further quantities, with their errors"),
    ("refit(data)", "another try where fits failed"),
    ("to_model()", "the astropy model"),
)


def text(obj: xr.DataArray | xr.Dataset) -> str:
    """A few lines of text; nothing is computed."""
    title, facts, methods = _parts(obj)
    width = max(len(f".modelfit.{call}") for call, _ in methods)
    lines = [title, *(f"  {name + ':':<11}{value}" for name, value in facts)]
    return "\n".join([*lines, *(f"  {_called(call):<{width}}  {what}" for call, what in methods)])


def html(obj: xr.DataArray | xr.Dataset) -> str:
    """The same as a table."""
    title, facts, methods = _parts(obj)
    left = " style='text-align:left'"
    rows = [f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(value)}</td></tr>" for name, value in facts]
    rows += [
        f"<tr><td{left}><code>{escape(_called(call))}</code></td><td{left}>{escape(what)}</td></tr>"
        for call, what in methods
    ]
    return f"<p><b>{escape(title)}</b></p><table><tbody>{''.join(rows)}</tbody></table>"


def _called(call: str) -> str:
    return f".modelfit{call}" if call.startswith("(") else f".modelfit.{call}"


def _parts(obj: xr.DataArray | xr.Dataset) -> tuple[str, list[tuple[str, str]], tuple[tuple[str, str], ...]]:
    """Title, facts by name, and calls with what they are for."""
    records, fault = _records(obj)
    if records and isinstance(obj, xr.Dataset):
        facts = [fact for record in records for fact in _facts(obj, record, len(records) > 1)]
        return "modelfit of a result", facts, _OF_RESULT
    facts = [("dims", ", ".join(f"{dim}: {size}" for dim, size in obj.sizes.items()) or "none")]
    if isinstance(obj, xr.Dataset):
        facts += [("variables", listed(obj.data_vars)), *fault]
    return "modelfit of data", facts, _OF_DATA


def _records(obj: xr.DataArray | xr.Dataset) -> tuple[list[FitRecord], list[tuple[str, str]]]:
    """The records of a result; or none, and what is wrong with those of a Dataset that seems to be a result."""
    if not isinstance(obj, xr.Dataset):
        return [], []
    try:
        return read_records(obj), []
    except RecordError as error:
        seems_one = any(str(name).endswith("fit_status") for name in obj.data_vars)
        return [], [("record", sentence(error))] if seems_one else []


def _facts(obj: xr.Dataset, record: FitRecord, several: bool) -> list[tuple[str, str]]:
    name = record.prefix.removesuffix("_") if several else ""
    title = f"{name}: " if name else ""
    return [("model", f"{title}{_model(record)}, {', '.join(record.read)}"), ("ended", f"{title}{_ended(obj, record)}")]


def _model(record: FitRecord) -> str:
    try:
        return expression_text(build_model(record.content["model"]))
    except RecordError:  # of a class or function that only the user has
        return f"a model of {listed(record.names)}"


def _ended(obj: xr.Dataset, record: FitRecord) -> str:
    status = obj[record.variable("fit_status")]
    if is_lazy(status.variable):
        return f"{status.size}, not computed yet"
    try:
        refuse_averages(obj, record)
        counts = status_counts(status.to_numpy())
    except RecordError as error:
        return sentence(error)
    ended = ", ".join(f"{n} {status.meaning}" for status, n in counts.items())
    masked = n_without_status(status.to_numpy())
    return headline("", counts) + (f": {ended}" if ended else "") + (f"; {without_status(masked)}" if masked else "")
