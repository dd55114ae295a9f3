"""Which fits mean something: a question beside the status, answered with a reason, and never a mask by itself."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.fitters.significance import Limits
from xr_modelfit.fitters.significance import significant as significant_numbers
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.models.known_quantities import formulas_of
from xr_modelfit.records.parts import Part, parts_of
from xr_modelfit.records.record import FitRecord, RecordError, build_model
from xr_modelfit.records.units import parameter_numbers

__all__ = ["SNR", "Rule", "checked_snr", "judged_for", "rule_of", "significant"]

SNR = 3.0
_POSITIONS = {"mean": 0, "x_0": 0, "x_mean": 0, "y_0": 1, "y_mean": 1}  # and the input along which they lie
_ANGLES = {"phase", "theta"}
_WIDTHS = {"stddev", "fwhm", "fwhm_L", "fwhm_G", "width", "sigma", "gamma", "x_stddev", "y_stddev", "R_0", "r_eff"}


@dataclass(frozen=True)
class _Limited:
    """A position or a width: a function of parameters that has to be within limits, in numbers of the fit."""

    name: str
    parameters: tuple[str, ...]
    function: Callable[..., Any]
    limits: Limits
    units: str | None
    unit_in_fit: float = 1.0  # the unit in which limits are told, in numbers of the fit


@dataclass(frozen=True)
class Rule:
    """What makes a fit of a result significant."""

    measured: tuple[str, ...]  # parameters, without prefix, that are held against their errors
    limited: tuple[_Limited, ...]  # positions and widths, and their limits

    def words(self, snr: float) -> str:
        """The rule in one line."""
        parts = ["the fit succeeded", *(f"|{name}| >= {snr:g} {name}_stderr" for name in self.measured)]
        for one in self.limited:
            unit = "" if one.units in (None, "", "1") else f" {one.units}"
            low, high = sorted((one.limits.low / one.unit_in_fit, one.limits.high / one.unit_in_fit))
            parts.append(f"{low:.6g} <= {one.name} <= {high:.6g}{unit}")
        return "; ".join(parts)

    def reason(self, snr: float) -> str:
        """Why a position is not significant, for the foot of a picture."""
        name = self.measured[0] if len(self.measured) == 1 else f"one of {', '.join(self.measured)}"
        less = f"{name} less than {snr:g} times its error"
        outside = " or ".join(one.name for one in self.limited)
        return less + (f", or {outside} outside the band" if outside else "")


def significant(
    result: xr.Dataset, record: FitRecord, params: str | Iterable[str] | None = None, snr: float = SNR
) -> xr.DataArray:
    """See `accessor.significance_methods.SignificanceMethods.significant`."""
    snr = checked_snr(snr)
    rule = rule_of(record, params)
    if rule is None:
        raise ValueError(
            f"The model has no amplitude to hold against its error; its parameters are {listed(record.names)}. Name "
            f"what has to differ from zero: significant({record.names[0]!r})."
        )
    arrays = [result[record.variable("fit_status")] > 0]
    for name in rule.measured:
        arrays += [_variable(result, record, name), _variable(result, record, f"{name}_stderr")]
    numbers = [_numbers(result, record, name) for one in rule.limited for name in one.parameters]
    good = xr.apply_ufunc(
        _Test(rule, snr), *arrays, *numbers, dask="parallelized", output_dtypes=[bool], keep_attrs=False
    )
    good.attrs = {"long_name": "fit is significant", "comment": rule.words(snr)}
    return good.rename(record.variable("significant"))


@dataclass(frozen=True)
class _Test:
    """Block function: success, then value and error of each parameter, then what positions and widths are made of."""

    rule: Rule
    snr: float

    __name__ = "significant"

    def __call__(self, success: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
        n = 2 * len(self.rule.measured)
        rest = iter(arrays[n:])
        limited = []
        for one in self.rule.limited:
            with np.errstate(all="ignore"):
                limited.append((one.function(*(next(rest) for _ in one.parameters)), one.limits))
        return significant_numbers(success, list(zip(arrays[:n:2], arrays[1:n:2], strict=True)), limited, self.snr)


def checked_snr(snr: Any) -> float:
    """The number itself, if it is positive and finite."""
    number = isinstance(snr, int | float | np.integer | np.floating) and not isinstance(snr, bool)
    if not number or not math.isfinite(snr) or snr <= 0:
        raise ValueError(f"snr is {snr!r}; a positive number is needed, how many times its error a value has to be.")
    return float(snr)


def rule_of(record: FitRecord, params: str | Iterable[str] | None = None) -> Rule | None:
    """What makes a fit significant; None where nothing is named and the model has no amplitude that was fitted.

    Raises ValueError if a name is no parameter of the fit.
    """
    parts = parts_of(record)
    if params is None:
        # A constant is a background, which may well be zero; alone, it is all that there is.
        measured = [one for part in parts if (one := part.amplitude) and (len(part.names) > 1 or len(parts) == 1)]
        fixed = set().union(*(part.fixed for part in parts))
        measured = [one for one in measured if one not in fixed]
        if not measured:
            return None
    else:
        asked = [params] if isinstance(params, str) else list(params)
        measured = [str(one).removeprefix(record.prefix) if one not in record.names else one for one in asked]
        for name, given in zip(measured, asked, strict=True):
            if name not in record.names:
                raise ValueError(
                    f"significant got {given!r}, which is no parameter of the fit; they are {listed(record.names)}."
                    f"{suggestion(given, record.names)}"
                )
        if not measured:
            raise ValueError(f"params is {params!r}; name at least one of {listed(record.names)}, or leave it out.")
    limited = [
        one
        for part in parts
        if part.direct and set(measured) & set(part.names.values())
        for one in _limits(record, part)
    ]
    return Rule(tuple(dict.fromkeys(measured)), tuple(limited))


def judged_for(record: FitRecord, name: str) -> list[str] | None:
    """Parameters that tell whether one of them means something: itself, and the amplitude of its part of the model.

    A position or an angle may well be zero, so there the amplitude alone. None where ``name`` was not fitted.
    """
    name = name if name in record.names else name.removeprefix(record.prefix)
    for part in parts_of(record):
        if name in part.names.values() and name not in part.fixed:
            own = next(one for one, full in part.names.items() if full == name)
            amplitude = part.amplitude
            if amplitude is None or amplitude in part.fixed:
                return [name]
            alone = own in _ANGLES or own in _POSITIONS
            return list(dict.fromkeys([*([] if alone else [name]), amplitude]))
    return None


def _limits(record: FitRecord, part: Part) -> list[_Limited]:
    """Positions and widths of a part that has both, as far as they were fitted and the coordinates are known."""
    if not set(part.names) & set(_POSITIONS) or not set(part.names) & _WIDTHS:
        return []
    extents = {axis: one["extent"] for axis, one in enumerate(record.inputs) if "extent" in one}
    found = []
    for own, axis in _POSITIONS.items():
        full = part.names.get(own)
        if full is not None and full not in part.fixed and axis in extents:
            low, high, _ = extents[axis]
            found.append(_Limited(full, (full,), lambda p: p, Limits(low, high), *_told_in(record, (full,), axis)))
    return found + _width_limits(record, part)


def _width_limits(record: FitRecord, part: Part) -> list[_Limited]:
    """Widths of a part; nothing along axes whose extents are not known or not in one unit."""
    extents = [one["extent"] for one in record.inputs if "extent" in one]
    if len(extents) < len(record.inputs) or len({_units(record, axis) for axis in range(len(extents))}) != 1:
        return []
    longest = math.hypot(*(high - low for low, high, _ in extents))  # of an image, across it: it may be turned
    limits = Limits(min(step for *_, step in extents), longest)
    found = []
    for name, function in _widths(part):
        arguments = tuple(part.names[one] for one in inspect.signature(function).parameters)
        if not set(arguments) <= part.fixed:
            found.append(_Limited(_like(part, name), arguments, function, limits, *_told_in(record, arguments, 0)))
    return found


def _widths(part: Part) -> list[tuple[str, Callable[..., Any]]]:
    """Full widths of a part: by formula, or the parameter that is one."""
    try:
        known = {f.name: f.function for f in formulas_of(build_model(part.tree)) if f.name.endswith("fwhm")}
    except RecordError:  # a class of the user's, or a function
        known = {}
    if known:
        return list(known.items())
    plain: dict[str, Callable[..., Any]] = {"fwhm": lambda fwhm: np.abs(fwhm), "width": lambda width: np.abs(width)}
    return [(name, function) for name, function in plain.items() if name in part.names]


def _like(part: Part, name: str) -> str:
    """The name of a quantity in the pattern of the part's parameters."""
    own, full = next(iter(part.names.items()))
    return full.replace(own, name) if full.count(own) == 1 else name


def _told_in(record: FitRecord, names: Sequence[str], axis: int) -> tuple[str | None, float]:
    """The unit of parameters in the result, and what it is in the fit; that of the coordinate where they differ."""
    units = record.units
    if units is not None:
        found = {(units["parameters"][j], units["inward"][j]) for j in map(record.names.index, names)}
        text, inward = next(iter(found))
        if len(found) == 1 and text is not None and inward != 1:
            *_, since = (_units(record, axis) or "").partition(" since ")  # of dates
            return f"{text} since {since}" if since else text, float(inward)
    return _units(record, axis), 1.0


def _units(record: FitRecord, axis: int) -> str | None:
    one = record.inputs[axis]
    time = one.get("time")
    return str(time["units"]) if time else one.get("units")


def _variable(result: xr.Dataset, record: FitRecord, name: str) -> xr.DataArray:
    if (full := record.variable(name)) not in result:
        raise RecordError(f"The result has no variable {full!r}, which tells whether its fits are significant.")
    return result[full]


def _numbers(result: xr.Dataset, record: FitRecord, name: str) -> xr.DataArray:
    """A parameter in numbers of the fit, as the coordinate's limits are."""
    return parameter_numbers(_variable(result, record, name), record.units, record.names.index(name))
