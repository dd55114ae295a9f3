"""Which variables of a result are drawn, and where they have values worth drawing."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.plotting.geography import bounds_name
from xr_modelfit.records.parts import fixed_names
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.records.schema import COV_DIMS
from xr_modelfit.results.derived import derived
from xr_modelfit.results.selection import one_fit
from xr_modelfit.results.significance import judged_for, rule_of, significant

__all__ = ["Selected", "chosen_variables", "drawable", "select_variables", "with_derived"]

_LINE = 110  # characters at the foot of a figure


@dataclass(frozen=True)
class Selected:
    """What is drawn: computed, without dims of size 1.

    Parameters are blank where a fit is not ``good``: it failed or, if that was asked, is not significant.
    """

    loaded: xr.Dataset  # the variables, all parameters with their errors, and the status
    record: FitRecord
    good: xr.DataArray
    grey: str  # why parameters are blank; empty where none is
    judged: str = ""  # the one parameter whose significance was asked for; empty if that of whole fits

    @property
    def status(self) -> xr.DataArray:
        return self.loaded[self.record.variable("fit_status")]

    @property
    def dims(self) -> tuple[Hashable, ...]:
        return self.status.dims

    def isel(self, **position: int) -> Selected:
        """One position along a dim."""
        return Selected(self.loaded.isel(position), self.record, self.good.isel(position), self.grey, self.judged)


def drawable(obj: xr.Dataset, data: str | None) -> tuple[xr.Dataset, FitRecord, bool]:
    """A result and its record; what has values and errors alone, as derived quantities have, passes for one.

    The last tells whether the status is there, and no stand-in.
    """
    pairs = [str(name) for name in obj.data_vars if f"{name}_stderr" in obj.data_vars]
    if not pairs or any(str(name).endswith("fit_status") for name in obj.data_vars):
        return obj, one_fit(obj, data), True
    content = {"names": pairs, "model": {"values": dict.fromkeys(pairs)}, "inputs": [], "fitted_dims": []}
    known = xr.concat([obj[name].notnull() for name in pairs], dim="_name", coords="minimal", compat="override").any(
        "_name"
    )
    return obj.assign(fit_status=known.astype(np.int8)), FitRecord("", content), False


def with_derived(result: xr.Dataset, record: FitRecord, params: Any, *, known: bool = True) -> xr.Dataset:
    """The result with the derived quantities that are named, if it does not have them."""
    asked = [params] if isinstance(params, str) else list(params or ())
    new = [one for one in asked if isinstance(one, str) and record.variable(one) not in result and one not in result]
    for name in new if known else ():
        try:
            result = result.assign(_derived(result, record, name.removeprefix(record.prefix)).data_vars)
        except (ValueError, RecordError):  # no such quantity: the choice of variables says so
            continue
    return result


def _derived(result: xr.Dataset, record: FitRecord, name: str) -> xr.Dataset:
    """A quantity with its error; without, where the covariance was not kept that the error needs."""
    try:
        return derived(result, record, [name], {})
    except RecordError:
        status = result[record.variable("fit_status")]
        K = len(record.names)
        unknown = xr.DataArray(np.nan).broadcast_like(status).expand_dims(dict.fromkeys(COV_DIMS, K), axis=(-2, -1))
        unknown = unknown.assign_coords(dict.fromkeys(COV_DIMS, record.names))
        found = derived(result.assign({record.variable("covariance"): unknown}), record, [name], {})
        return found[[record.variable(name)]]


def chosen_variables(result: xr.Dataset, record: FitRecord, params: Any, stderr: bool = False) -> list[str]:
    """Variables to draw, by their names in the result; unless they are named, no fixed parameters.

    Raises ValueError if one is not there, or has other dims than the fits.
    """
    fixed = fixed_names(record)
    default = [name for name in record.names if name not in fixed] or record.names
    asked = default if params is None else [params] if isinstance(params, str) else list(params)
    status_dims = result[record.variable("fit_status")].dims
    known = [str(n).removeprefix(record.prefix) for n, v in result.data_vars.items() if v.dims == status_dims]
    names = []
    for one in asked:
        name = record.variable(one) if one in known else one
        if params is None and name not in result:
            raise RecordError(f"The result has no variable {name!r}, which its record names; it has {listed(known)}.")
        if name not in result or result[name].dims != status_dims or not str(name).startswith(record.prefix):
            raise ValueError(
                f"params names {one!r}, which is no variable over {status_dims}; those are {listed(known)}."
                f"{suggestion(one, known)}"
            )
        names.append(name)
        if stderr and one not in fixed and f"{name}_stderr" in result:
            names.append(f"{name}_stderr")
    if not names:
        raise ValueError(f"params is {params!r}; name at least one of {listed(known)}, or leave it out.")
    return list(dict.fromkeys(names))


def select_variables(
    result: xr.Dataset,
    record: FitRecord,
    names: Iterable[str],
    *,
    keep: Sequence[Hashable] = (),
    snr: float | None = None,
    alone: str | None = None,
    known: bool = True,
) -> Selected:
    """The variables, all parameters with their errors, and the status; computed at once.

    ``alone``: the only variable that was asked for. ``snr`` judges it, if it is a parameter that was fitted.
    Parameters are blank where the fit failed, whatever is kept there. Raises ValueError if there is no position.
    """
    status = record.variable("fit_status")
    names = list(names)
    parameters = [name for name in dict.fromkeys([*map(record.variable, record.names), *names]) if name in result]
    errors = [f"{name}_stderr" for name in parameters if f"{name}_stderr" in result]
    bounds = [bounds_name(result, result[d]) for d in result[status].dims if d in result.coords]
    beside = [one for one in bounds if one is not None]
    loaded = result[list(dict.fromkeys([*names, *parameters, *errors, status, *beside]))]
    loaded = loaded.squeeze([d for d, n in loaded.sizes.items() if n == 1 and d not in keep]).compute()
    if loaded[status].size == 0:
        raise ValueError(f"There is nothing to draw: the result has the sizes {dict(result[status].sizes)}.")
    good = loaded[status] > 0
    reasons = [] if bool(good.all()) else ["no fit" if known else "no value"]
    blank = {record.variable(name) for name in record.names} | set(errors)
    blank |= {name.removesuffix("_stderr") for name in errors}
    judged = None if snr is None or alone is None else judged_for(record, alone)
    if snr is not None:
        if not known:
            raise ValueError(
                "snr needs the status and errors of a fit, and these are variables alone. Leave out what is not "
                "significant before: fit.where(fit.modelfit.significant(snr=5)).modelfit.derived()."
            )
        good = good & significant(loaded, record, judged, snr)
        rule = rule_of(record, judged)
        assert rule is not None
        reasons.append(rule.reason(snr))
        blank |= set(names)
    grey = "\n".join(textwrap.wrap("grey: " + ", or ".join(reasons), _LINE)) if reasons else ""
    shown = {name: loaded[name].where(good) for name in blank - {status} if name in loaded}
    return Selected(loaded.assign(shown), record, good, grey, "" if judged is None else str(alone))
