"""Start values from an earlier result."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from xr_modelfit.call.in_order import no_starts
from xr_modelfit.messages import listed
from xr_modelfit.parameter_units.parameters import UnitSystem
from xr_modelfit.records.record import FitRecord, RecordError, read_records
from xr_modelfit.units.times import TimeAxis

__all__ = ["named_starts", "require_same_time", "starts_of"]


def named_starts(result: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Variables of an earlier result; those of parameters without the prefix that they have."""
    records = _records(result)
    named: dict[Hashable, xr.DataArray] = {
        n: result[r.variable(n)] for r in records for n in r.names if r.variable(n) in result
    }
    return named if records else dict(result.data_vars)


def starts_of(p0: Any, names: tuple[str, ...], data: Hashable | None) -> Mapping[str, Any]:
    """Start values by parameter ``names``, from a mapping or an earlier result.

    ``data`` is the name of what is fitted: a result of several fits may have one of the same name. Raises ValueError
    if the result has none of the parameters, TypeError if ``p0`` is neither.
    """
    if isinstance(p0, xr.Dataset):
        found = {name: p0[name] for name in names if name in p0.data_vars} or _with_prefix(p0, names, data)
        if not found:
            raise ValueError(
                f"p0 is a Dataset with variables {listed(p0.data_vars)}, none of which is a parameter of the model: "
                f"{listed(names)}. Pass a dict: p0={{{names[0]!r}: dataset[...]}}."
            )
        return found
    if p0 is not None and not isinstance(p0, Mapping):
        raise no_starts(p0, names)
    return {str(key): value for key, value in (p0 or {}).items()}


def require_same_time(result: xr.Dataset, units: UnitSystem) -> None:
    """Refuse an earlier result whose times count from elsewhere: its places and phases mean something else."""
    times = [one.get("time") for record in _records(result) for one in record.inputs]
    then = [TimeAxis.recorded(time) for time in times if time is not None]
    now = [one.measure.time for one in units.inputs if one.measure.time is not None]
    if then and now and not then[0].agrees_with(now[0]):
        raise ValueError(
            f"p0 is a result that counts {then[0].units} ({then[0].calendar}), the fit counts {now[0].units} "
            f"({now[0].calendar}). Pass time_units={then[0].units!r}, or a dict of the parameters that do not depend "
            "on it."
        )


def _with_prefix(result: xr.Dataset, names: tuple[str, ...], data: Hashable | None) -> dict[str, xr.DataArray]:
    """Parameters of the one fit whose variables have a prefix; nothing where several could be meant."""
    records = [r for r in _records(result) if set(r.names) & set(names)]
    same = [r for r in records if r.content["data"] == str(data)] or records
    if len(same) != 1:
        return {}
    return {n: result[same[0].variable(n)] for n in same[0].names if n in names and same[0].variable(n) in result}


def _records(result: xr.Dataset) -> list[FitRecord]:
    try:
        return read_records(result)
    except RecordError:
        return []
