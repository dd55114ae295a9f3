"""Fits again at some positions of a result; the better answer is kept."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.fitting import fit_job, jobs_of_call
from xr_modelfit.call.options import FitOptions
from xr_modelfit.call.start_requests import described_starts
from xr_modelfit.labels.coords import Labels, bare
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.records.metadata import RECORD
from xr_modelfit.records.record import FitRecord
from xr_modelfit.refits.maps import outliers, starts_of_neighbours
from xr_modelfit.refits.options import options_of
from xr_modelfit.results.fit_samples import data_of, known_names
from xr_modelfit.results.selection import one_fit

__all__ = ["refit"]

NEIGHBOURS, SUSPICIOUS = "neighbours", "suspicious"
ROUND = "refit_round"
_TIMES = 5.0  # the scatter of the neighbours, and the standard error: unlike them
_LOWER = 1e-9  # of chi-square: less is the same minimum
_HERE = "_modelfit_position"


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
    """See `accessor.result_methods.ResultMethods.refit`."""
    record = one_fit(result, data)
    for name, number in (("radius", radius), ("neighbours", neighbours), ("rounds", rounds)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} is {number!r}; a whole number of 1 or more is needed.")
    status = result[record.variable("fit_status")]
    near = _dims(dims, status)
    if isinstance(p0, str) and p0 == NEIGHBOURS and not near:
        raise ValueError("The result has one position, so that it has no neighbours. Pass other starts: p0='estimate'.")
    array = data_of(obj, record)
    options = options_of(result, record, model, given)
    labels = known_names(obj, array)
    options = replace(options, **_beside(labels, options, samples))
    chosen = _chosen(result, record, where, near, radius)
    fitted = set(record.content["fitted_dims"])
    tools = _Again(array, options, fitted, record)
    current = result.assign({record.variable(ROUND): _rounds_of(result, record, status)})
    n_rounds = rounds if isinstance(p0, str) and p0 == NEIGHBOURS else 1
    for number in range(1, n_rounds + 1):
        ok = current[record.variable("fit_status")] > 0
        starts = p0
        if isinstance(p0, str) and p0 == NEIGHBOURS:
            bad = chosen & (current[record.variable(ROUND)] == 0)
            starts = starts_of_neighbours(current, record, ok & ~bad, near, radius, neighbours)
        new = tools.fitted(chosen, starts)
        current, any_better = _better(current, new, record, chosen, number)
        if any_better is False:
            break
    return _noted(current, record, p0, rounds if n_rounds > 1 else 1, tools.dims)


def _dims(dims: Any, status: xr.DataArray) -> list[Hashable]:
    """The dims along which positions are neighbours."""
    if dims is None:
        return list(status.dims)
    named = [dims] if isinstance(dims, str) else list(dims)
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
    ok = (status > 0).drop_attrs()
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
    return (where & (status == status)).transpose(*status.dims).drop_attrs()


def _beside(labels: Labels, options: FitOptions, samples: Any) -> dict[str, Any]:
    """Arrays that go with the data, as arrays, so that positions of them can be selected."""
    found: dict[str, Any] = {}
    for name, value in (("where", samples), ("sigma", options.sigma), ("weights", options.weights)):
        if isinstance(value, str | xr.DataArray):
            found[name] = labels.find(name, value)
    if isinstance(options.coords, Mapping):
        here, known = labels.data.coords, labels.variables
        there = {*known, *labels.data.dims}
        names = {key: name for key, name in options.coords.items() if not isinstance(name, str) or name in there}
        lent = {name for name in known if isinstance(name, str) and name not in here}
        found["coords"] = {k: known[n] if isinstance(n, str) and n in lent else n for k, n in names.items()} or None
    return found


def _rounds_of(result: xr.Dataset, record: FitRecord, status: xr.DataArray) -> xr.DataArray:
    """Which round each answer is of: 0 where it is that of the fit."""
    before = result.get(record.variable(ROUND))
    if before is not None:
        return before
    attrs = {"long_name": "round of the refit that gave this answer; 0: the fit itself", "units": "1"}
    return xr.zeros_like(status, dtype=np.int8).drop_attrs().assign_attrs(attrs)


class _Again:
    """Fits some positions of the data."""

    def __init__(self, data: xr.DataArray, options: FitOptions, fitted: set[Any], record: FitRecord) -> None:
        self.data, self.options, self.record = data, options, record
        self.dims = [d for d in data.dims if str(d) not in fitted]

    def fitted(self, chosen: xr.DataArray, p0: Any) -> xr.Dataset | None:
        """A result at all positions; what was not chosen is unknown there. None where nothing was to do."""
        lazy = any(v.chunks is not None for v in (self.data, chosen))
        if not lazy:
            return self._picked(chosen, p0)
        chosen = chosen.drop_vars(list(chosen.coords))
        mask: Any = self.options.where
        mask = chosen if mask is None else chosen & mask
        return self._run(self.data, replace(self.options, where=mask, p0=p0))

    def _picked(self, chosen: xr.DataArray, p0: Any) -> xr.Dataset | None:
        """Those positions alone, side by side."""
        at = np.nonzero(chosen.transpose(*self.dims).values)
        if not len(at[0]) if self.dims else not chosen.item():
            return None
        if not self.dims:
            return self._run(self.data, replace(self.options, p0=p0))
        index = {d: xr.DataArray(i, dims=_HERE) for d, i in zip(self.dims, at, strict=True)}

        def part(value: Any) -> Any:
            if not isinstance(value, xr.DataArray):
                return value
            own = {d: i for d, i in index.items() if d in value.dims}
            return value.isel(own).drop_vars([d for d in own if d in value.coords]) if own else value

        o = self.options
        bounds = {k: tuple(map(part, pair)) for k, pair in o.bounds.items()} if o.bounds else o.bounds
        coords = {k: part(v) for k, v in o.coords.items()} if isinstance(o.coords, Mapping) else o.coords
        if isinstance(p0, xr.Dataset):
            p0 = p0.map(part)
        elif isinstance(p0, Mapping):
            p0 = {k: part(v) for k, v in p0.items()}
        some = self._run(
            part(self.data),
            replace(o, p0=p0, bounds=bounds, coords=coords, where=part(o.where), sigma=part(o.sigma),
                    weights=part(o.weights), integrate=part(o.integrate), response=part(o.response)),
        )  # fmt: skip
        made = {}
        for name, v in some.data_vars.items():
            others = tuple(n for d, n in v.sizes.items() if d != _HERE)
            sizes = tuple(self.data.sizes[d] for d in self.dims)
            full = np.zeros((*sizes, *others), v.dtype) if v.dtype.kind in "iu" else np.full((*sizes, *others), np.nan)
            full[at] = v.transpose(_HERE, ...).values
            made[name] = xr.Variable((*self.dims, *(d for d in v.dims if d != _HERE)), full, v.attrs)
        return xr.Dataset(made)

    def _run(self, data: xr.DataArray, options: FitOptions) -> xr.Dataset:
        adapted = isinstance(options.p0, Mapping)
        (job,) = jobs_of_call(data, options)
        return fit_job(replace(job, adapted=adapted or job.adapted))


def _better(
    old: xr.Dataset, new: xr.Dataset | None, record: FitRecord, chosen: xr.DataArray, number: int
) -> tuple[xr.Dataset, bool | None]:
    """The better of two answers at each position, and whether any is new; None where that is not known yet."""
    if new is None:
        return old, False
    status, chi2 = record.variable("fit_status"), record.variable("chi2")
    bare_chosen = chosen.variable
    lower = new[chi2].variable < old[chi2].variable * (1.0 - _LOWER)
    take = bare_chosen & (new[status].variable > 0) & ((old[status].variable <= 0) | lower)
    made = {}
    for name, v in old.data_vars.items():
        if name == record.variable(ROUND):
            other: Any = xr.Variable((), np.int8(number))
        elif name in new:
            other = new[name].variable
        else:
            continue
        value = xr.where(xr.DataArray(take), xr.DataArray(other), xr.DataArray(v.variable)).variable
        value = value.transpose(*v.dims).astype(v.dtype, copy=False)
        made[name] = v.copy(data=value.data)
    lazy = take.chunks is not None
    return old.assign(made), None if lazy else bool(take.values.any())


def _noted(result: xr.Dataset, record: FitRecord, p0: Any, rounds: int, dims: Sequence[Hashable]) -> xr.Dataset:
    """The result with a word on the refit in its record."""
    name = record.variable("fit_status")
    content = dict(record.content)
    what = p0 if isinstance(p0, str) else described_starts(p0).get("starts", "given")
    content["refits"] = [*content.get("refits", []), {"starts": what, "rounds": int(rounds)}]
    status = result[name].copy(deep=False)
    status.attrs = {**status.attrs, RECORD: json.dumps(content)}
    return result.assign({name: status})
