"""Fits again at some positions of a result; the better answer is kept."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.first_fits import asks_for_a_first_fit
from xr_modelfit.call.fitting import first_starts
from xr_modelfit.call.start_requests import ESTIMATE, SEVERAL, described_starts
from xr_modelfit.labels.coords import bare
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.records.metadata import RECORD
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.records.record import FitRecord
from xr_modelfit.refits.again import Again
from xr_modelfit.refits.maps import outliers, starts_of_neighbours
from xr_modelfit.refits.matching import arrays_of, held_values, status_at
from xr_modelfit.refits.options import options_of, units_of
from xr_modelfit.results.fit_samples import data_of, known_names
from xr_modelfit.results.selection import one_fit

__all__ = ["refit"]

NEIGHBOURS, SUSPICIOUS = "neighbours", "suspicious"
ROUND = "refit_round"
_TIMES = 5.0  # the scatter of the neighbours, and the standard error: unlike them
_LOWER = 1e-9  # of chi-square: less is the same minimum


def refit(
    result: xr.Dataset,
    obj: xr.DataArray | xr.Dataset,
    where: Any,
    p0: Any,
    *,
    data: str | None,
    model: ModelArg | None,
    samples: Any,
    dims: Any,
    radius: int,
    neighbours: int,
    rounds: int,
    given: Mapping[str, Any],
) -> xr.Dataset:
    """See `accessor.refit_methods.RefitMethods.refit`."""
    record = one_fit(result, data)
    for name, number in (("radius", radius), ("neighbours", neighbours), ("rounds", rounds)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} is {number!r}; a whole number of 1 or more is needed.")
    beside = isinstance(p0, str) and p0 == NEIGHBOURS
    labels = known_names(obj, data_of(obj, record))
    status = status_at(result, record, labels.data)
    near = _dims(dims, status, beside or (isinstance(where, str) and where == SUSPICIOUS))
    tell_other_model(model, record)
    options = options_of(result, record, model, given)
    options = replace(options, **arrays_of(labels, options, samples, record))
    again = Again(labels, options, held_values(result, record), units_of(result, record))
    problem = again.job(_known(p0) if not asks_for_a_first_fit(p0) and not beside else None).problem
    chosen = _chosen(result, record, where, near, radius)
    starts = p0 if beside else first_starts(labels, replace(options, p0=p0))
    free = [name for name, free in zip(problem.names, problem.free, strict=True) if free]
    current = result.assign({record.variable(ROUND): _rounds_of(result, record, status)})
    better: Any = chosen & False
    before = None
    for number in range(1, (rounds if beside else 1) + 1):
        todo = chosen
        if beside:
            ok = current[record.variable("fit_status")] > 0
            trust = xr.where(ok, xr.where(chosen & ~better, 1.0, 2.0), 0.0)
            starts = starts_of_neighbours(current, record, free, trust, near, radius, neighbours)
            todo = chosen if before is None else chosen & _differ(starts, before)  # the same starts end alike
            before = starts
        new = again(todo, starts)
        if new is None:
            break
        current, taken = _better(current, new, record, todo, number)
        better = better | taken
        if taken.chunks is None and not taken.values.any():
            break
    return _noted(current, record, p0, rounds if beside else 1)


def _known(p0: Any) -> Any:
    """Starts that are no word that a fit does not know."""
    for word in p0 if isinstance(p0, list | tuple) else [p0]:
        if isinstance(word, str) and word != ESTIMATE:
            known = [NEIGHBOURS, ESTIMATE, "mean", "coarse"]
            alone = " Pass it alone, not in a list." if word in known else suggestion(word, known)
            raise ValueError(f"p0 is {word!r}; known words are {listed(known)}.{alone}")
    return p0


def _differ(one: Mapping[str, xr.DataArray], other: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Positions with other starts than before."""
    found: Any = False
    for name, now in one.items():
        then = other[name]
        found = found | ((now != then) & (now.notnull() | then.notnull())).any(SEVERAL)
    return found


def _dims(dims: Any, status: xr.DataArray, needed: bool) -> list[Hashable]:
    """The dims along which positions are neighbours; some, where neighbours are ``needed``."""
    named: list[Hashable] = list(status.dims if dims is None else [dims] if isinstance(dims, str) else dims)
    if needed and not named:
        what = "The result has one position, so that it" if dims is None else f"dims is {dims!r}, so that a position"
        raise ValueError(f"{what} has no neighbours. Pass other starts, p0='estimate', and positions as a DataArray.")
    for dim in named:
        if dim not in status.dims:
            raise ValueError(
                f"dims names {dim!r}, but the dims of the result are {listed(status.dims)}."
                f"{suggestion(dim, status.dims)}"
            )
    return named


def _chosen(result: xr.Dataset, record: FitRecord, where: Any, near: Sequence[Hashable], radius: int) -> xr.DataArray:
    """Positions to fit again."""
    status = result[record.variable("fit_status")]
    ok = _mask(status.variable > 0, status)
    if where is None:
        return ~ok
    if isinstance(where, str) and where == SUSPICIOUS:
        return ~ok | outliers(result, record, ok, near, radius, _TIMES)
    if not isinstance(where, xr.DataArray) or where.dtype.kind != "b":
        shown = f"{where!r}" if isinstance(where, str) else a(where)
        raise TypeError(
            f"where is {shown}; pass a boolean DataArray over {tuple(map(str, status.dims))}, True at positions to fit "
            f"again, or {SUSPICIOUS!r}. A mask of samples goes to samples=."
        )
    bare(status, where, "where", status.dims)
    return _mask((where.variable & (status.variable == status.variable)).transpose(*status.dims), status)


def _mask(values: xr.Variable, status: xr.DataArray) -> xr.DataArray:
    """Positions with the labels of the result; xarray's drop_attrs would break those of stacked dims."""
    made = status.copy(data=values.data)
    made.attrs = {}
    return made


def _rounds_of(result: xr.Dataset, record: FitRecord, status: xr.DataArray) -> xr.Variable:
    """Which round each answer is of: 0 where it is that of the fit."""
    before = result.get(record.variable(ROUND))
    if before is not None:
        return before.variable
    attrs = {"long_name": "round of the refit that gave this answer; 0: the fit itself", "units": "1"}
    made = xr.zeros_like(status.variable, dtype=np.int8)
    made.attrs = attrs
    return made


def _better(
    old: xr.Dataset, new: xr.Dataset, record: FitRecord, chosen: xr.DataArray, number: int
) -> tuple[xr.Dataset, xr.DataArray]:
    """The better of two answers at each position, and where it is the new one."""
    status = record.variable("fit_status")
    lower = _minimised(new, record) < _minimised(old, record) * (1.0 - _LOWER)
    take = chosen.variable & (new[status].variable > 0) & ((old[status].variable <= 0) | lower)
    made = {}
    for name, v in old.data_vars.items():
        if name == record.variable(ROUND):
            other: Any = xr.Variable((), np.int8(min(number, 127)))
        elif name in new:
            other = new[name].variable
        else:
            continue
        value = xr.where(xr.DataArray(take), xr.DataArray(other), xr.DataArray(v.variable)).variable
        value = value.transpose(*v.dims).astype(v.dtype, copy=False)
        made[name] = v.variable.copy(data=value.data)  # without labels, which xarray would merge
    return old.assign(made), chosen.copy(data=take.transpose(*chosen.dims).data)


def _minimised(result: xr.Dataset, record: FitRecord) -> xr.Variable:
    """What the fits minimise: chi-square, or what stands for it, and what priors add."""
    chi2, added = result[record.variable("chi2")].variable, record.variable("chi2_prior")
    return chi2 + result[added].variable if added in result else chi2


def _noted(result: xr.Dataset, record: FitRecord, p0: Any, rounds: int) -> xr.Dataset:
    """The result with a word on the refit in its record."""
    name = record.variable("fit_status")
    content = dict(record.content)
    what = p0 if isinstance(p0, str) else described_starts(p0).get("starts", "given")
    content["refits"] = [*content.get("refits", []), {"starts": what, "rounds": int(rounds)}]
    status = result[name].variable.copy(deep=False)
    status.attrs = {**status.attrs, RECORD: json.dumps(content)}
    return result.assign({name: status})
