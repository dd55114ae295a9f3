"""What is written above the picture of one fit: position, status and parameters in the units of the result."""

from __future__ import annotations

import textwrap

import numpy as np

from xr_modelfit.plotting.fit_units import told_in
from xr_modelfit.plotting.style import status_name, with_error
from xr_modelfit.plotting.unit_words import shown_length, typeset
from xr_modelfit.results.fit_samples import OneFit
from xr_modelfit.status import FitStatus

__all__ = ["title_of"]

_MOST_SHOWN = 12  # parameters


def title_of(one: OneFit, width: int) -> str:
    """Position, status and parameters, on lines of a width in characters."""
    position = ", ".join(f"{dim} = {label}" for dim, label in one.labels.items())
    lines = [f"{position}: {_status(one)}" if position else _status(one)]
    lines = textwrap.wrap(lines[0], width)
    parts = [text for name in one.record.names if (text := _parameter(one, name))]
    if len(parts) > _MOST_SHOWN:
        parts = [*parts[:_MOST_SHOWN], f"and {len(parts) - _MOST_SHOWN} more"]
    row = ""
    for part in parts:
        if row and shown_length(row) + shown_length(part) + 3 > width:
            lines.append(row)
            row = ""
        row = f"{row}   {part}".strip()
    return "\n".join([*lines, row] if row else lines)


def _status(one: OneFit) -> str:
    if not np.isfinite(one.status):
        return "no status"
    words = status_name(one.status)
    if one.status > 0:
        chi2 = one.result.get(one.record.variable("reduced_chi2"))
        if chi2 is not None and np.isfinite(float(chi2)) and one.record.content["options"].get("weighting") == "sigma":
            words += f", reduced chi2 {float(chi2):.2g}"
    if one.status != FitStatus.CONVERGED and int(one.status) in {int(s) for s in FitStatus}:
        words += f". {FitStatus(int(one.status)).sentence}"
    return words


def _parameter(one: OneFit, name: str) -> str | None:
    """``mean = 4844 ± 11 m s-1``; nothing where there is no value."""
    variable = one.record.variable(name)
    if variable not in one.result or not np.isfinite(value := float(one.result[variable])):
        return None
    error = one.result.get(f"{variable}_stderr")
    known = float("nan") if error is None else float(error)
    units, factor = told_in(one, one.result[variable].attrs.get("units"))
    words = with_error(value * factor, known * factor) + ("" if units in (None, "", "1") else f" {typeset(units)}")
    if known == 0:
        words += " (fixed)"
    elif np.isnan(known) and one.status == FitStatus.CONVERGED_AT_BOUND:
        words += " (at its bound)"
    return f"{name} = {words}"
