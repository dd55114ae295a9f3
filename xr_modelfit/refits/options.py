"""The options of a call, as the record of its result tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import xarray as xr
from astropy.units import Quantity, UnitBase

from xr_modelfit.call.options import FitOptions
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.foreign_words import refuse_foreign
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.records.model_record import recorded_values
from xr_modelfit.records.record import FitRecord
from xr_modelfit.records.registry import path_of
from xr_modelfit.results.fitted_model import model_of
from xr_modelfit.units.text import parse_unit

__all__ = ["options_of", "units_of"]

_OWN = ("model", "dim", "p0", "where", "data", "prefix", "errors", "fit_info")


def options_of(result: xr.Dataset, record: FitRecord, model: ModelArg | None, given: Mapping[str, Any]) -> FitOptions:
    """The options for another fit of the same data; what the record does not hold must be ``given`` again.

    Raises
    ------
    ValueError
        The fit had weights, an exposure, bins, a response, bounds or priors that are maps, or an astropy fitter, and
        these are not given.
    TypeError
        An option is not known.
    """
    refuse_foreign(given, [f.name for f in fields(FitOptions) if f.name not in _OWN])
    recorded = record.content["options"]
    weighting = recorded.get("weighting")
    number = {} if {"sigma", "weights", "exposure"} & set(given) else _one_weight(recorded)
    if weighting == "exposure":
        _require(None if number else weighting, ("exposure",), given, "had an {}")
    else:
        _require(None if number else weighting, ("sigma", "weights"), given, "was weighted by {}")
    for word in ("upper_limit", "coord_sigma"):
        _require(word if recorded.get(word) else None, (word,), given, "was given {}")
    _require("noise" if recorded.get("noise") == "covariance" else None, ("noise",), given, "had {} of a covariance")
    sampled = record.sampled or {}
    _require("integrate" if sampled.get("bins") else None, ("integrate",), given, "took means over bins, {}")
    _require("response" if sampled.get("response") else None, ("response",), given, "had an instrument, {}")
    _require("bounds" if recorded.get("maps", {}).get("bounds") else None, ("bounds",), given, "had {} that are maps")
    if "priors" in given and not record.priors:
        raise ValueError(
            "priors are given, but the fit had none: with them, its answers are no better or worse than new ones. Fit "
            "all positions with priors instead."
        )
    maps = [name for name, one in record.priors.items() if None in (one["mean"], one["deviation"])]
    _require("priors" if maps else None, ("priors",), given, "had {} that are maps")
    fitter = record.content["fitter"]
    known: dict[str, Any] = {
        "coords": {one["name"]: one["coordinate"] for one in record.inputs},
        "absolute_sigma": recorded.get("absolute_sigma"),
        "noise": "ar1" if recorded.get("noise") == "ar1" else None,
        "skipna": recorded.get("skipna", True),
        "min_points": recorded.get("min_points"),
        "keep_failed": recorded.get("keep_failed", False),
        "pointwise": record.grid_dims is None,
        "covariance": record.variable("covariance") in result,
        "fit_info": _own_info(result, record),
        "priors": {} if maps else _priors(record),
    }
    times = [one["time"]["units"] for one in record.inputs if one.get("time") is not None]
    if times:
        known["time_units"] = times[0]
    if fitter["class"] == path_of(BatchLSQFitter):
        known["fitter"] = BatchLSQFitter(**fitter["keywords"])
    else:
        _require(fitter["class"].rpartition(":")[2], ("fitter",), given, "was made by {}")
    return FitOptions(
        model_of(_at_start(result, record), record, model),
        record.content["fitted_dims"],
        prefix=record.prefix,
        errors="ignore",
        **(known | number | dict(given)),
    )


def _priors(record: FitRecord) -> dict[str, tuple[xr.DataArray, xr.DataArray]] | None:
    """The priors of the fit, each number with its unit; None where there were none."""

    def number(one: Mapping[str, Any], which: str) -> xr.DataArray:
        return xr.DataArray(one[which], attrs={} if one["units"] is None else {"units": one["units"]})

    return {n: (number(one, "mean"), number(one, "deviation")) for n, one in record.priors.items()} or None


def _one_weight(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The sigma, the weight or the exposure of all samples, where it was one number."""
    kind = recorded.get("weighting")
    number = recorded.get(kind) if kind in ("sigma", "weights", "exposure") else None
    known = isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf
    if not known or number is None:
        return {}
    units = recorded.get("exposure_units")
    return {str(kind): Quantity(float(number), parse_unit(units)) if isinstance(units, str) else float(number)}


def units_of(result: xr.Dataset, record: FitRecord) -> list[UnitBase | None]:
    """The units in which the parameters of a result are, whatever those of another fit of the data would be."""
    if record.units is None:
        return [None] * len(record.names)
    now = [record.parameter(result, name).attrs.get("units") for name in record.names]
    known = zip(now, record.units["parameters"], record.units["own"], strict=True)
    texts = [own if text == then else text for text, then, own in known]
    return [None if text is None else parse_unit(text) for text in texts]


def _own_info(result: xr.Dataset, record: FitRecord) -> list[str] | None:
    """What was asked for beside what the fitter itself reports."""
    shown = {"start": f"{record.names[0]}_start", "n_reached": "n_reached", "clipped": "clipped"}
    return [word for word, name in shown.items() if record.variable(name) in result] or None


def _at_start(result: xr.Dataset, record: FitRecord) -> xr.Dataset:
    """The parameters as numbers, those that the fit started from; no map is read."""
    inward = (record.units or {}).get("inward", [1.0] * len(record.names))
    values = zip(record.names, recorded_values(record.content["model"]), inward, strict=True)
    return xr.Dataset({record.variable(n): ((), v / i, record.parameter(result, n).attrs) for n, v, i in values})


def _require(what: str | None, names: tuple[str, ...], given: Mapping[str, Any], how: str) -> None:
    if what is not None and not any(name in given for name in names):
        needed = what if what in names else names[0]
        raise ValueError(
            f"The fit {how.format(what)}, which its record does not hold. Pass {needed}=..., as in the fit."
        )
