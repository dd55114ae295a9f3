"""The attrs of a result, decided here and nowhere else: CF conventions, the record of the fit.

What is said must be true by the conventions' own definitions, so a standard name is never guessed:
a parameter has one where it is a value of the quantity of the data (a constant, an intercept) or of
a coordinate (the place of a line). Nothing is said about time of day or machine: equal calls have
equal results, lazy or computed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.parameter_units.parameters import ParameterUnit
from xr_modelfit.status import FitStatus
from xr_modelfit.units.units import involves_temperature

__all__ = [
    "CORRELATED",
    "RECORD",
    "STATISTICS",
    "Metadata",
    "coordinates_of_samples",
    "counting",
    "dataset_attrs",
    "difference_attrs",
    "frame_of",
    "grid_mapping_of",
    "joined_history",
    "own_version",
]

RECORD = "modelfit_record"
STATISTICS = {
    "chi2": "sum of squared weighted residuals",
    "reduced_chi2": "sum of squared weighted residuals per degree of freedom",
    "dof": "degrees of freedom: valid samples less free parameters",
    "n_points": "number of valid samples",
    "n_iter": "number of iterations or evaluations",
}
CORRELATED = {
    "n_effective": "effective number of independent samples",
    "ar1": "correlation of the noise of samples one step apart",
}
_SQUARES = {"chi2", "reduced_chi2"}

_CF = (1, 11)  # the first with units_metadata
_CF_NAME = re.compile(r"CF-(\d+)\.(\d+)")
_OF_THE_WHOLE = re.compile(r"ACDD-[\d.]+")  # conventions on global attributes, which come along

# Attrs that speak of one variable, or of a file's structure, not of what a Dataset is about.
_VARIABLE_ATTRS = {
    "units", "units_metadata", "long_name", "standard_name", "short_name", "cell_methods", "cell_measures",
    "ancillary_variables", "axis", "positive", "coordinates", "grid_mapping", "bounds", "climatology", "calendar",
    "compress", "flag_masks", "flag_meanings", "flag_values", "formula_terms", "scale_factor", "add_offset",
    "missing_value", "valid_min", "valid_max", "valid_range", "actual_range", "featureType", "external_variables",
}  # fmt: skip

# Programs take a data variable with such a standard name for a coordinate.
_AXIS = re.compile(r"(.*_)?(time|latitude|longitude|altitude|coordinate|height|depth)(_.*)?|projection_.*")
_HORIZONTAL = re.compile(r"(.*_)?(latitude|longitude)|projection_[xy]_.*")
_LINKS = ("bounds", "climatology", "formula_terms", "ancillary_variables", "cell_measures", "geometry", "nodes")


@dataclass(frozen=True)
class Metadata:
    """What is said of the variables of one fit."""

    units: Sequence[ParameterUnit]  # names and units of the parameters
    titles: Sequence[str]  # what each parameter is, in words
    prefix: str
    record: str  # JSON text, kept in the attrs of ``fit_status``
    chi2_units: str | None
    times: Mapping[str, str]  # what numbers of time count, for ``fit_status``
    everywhere: Mapping[str, str]  # attrs of all maps
    noise: str = ""  # how it is correlated

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, without prefix."""
        return tuple(one.name for one in self.units)

    def parameter(self, j: int) -> dict[str, Any]:
        """Attrs of a parameter."""
        unit, p = self.units[j], self.prefix
        others = f"{p}{unit.name}_stderr {p}fit_status {p}n_points"
        attrs = _units(unit.text, _scale(unit))
        return self._attrs(self.titles[j], attrs, _standard_name(unit), ancillary_variables=others)

    def stderr(self, j: int) -> dict[str, Any]:
        """Attrs of a standard error. That of a temperature is a difference, which has no zero point."""
        unit = self.units[j]
        name = _standard_name(unit)
        standard_name = name and f"{name} standard_error"
        return self._attrs(f"standard error of {self.titles[j]}", _units(unit.text, "difference"), standard_name)

    def start(self, j: int) -> dict[str, Any]:
        """Attrs of a start value."""
        unit = self.units[j]
        return self._attrs(f"start value of {self.titles[j]}", _units(unit.text, _scale(unit)))

    def reached(self) -> dict[str, Any]:
        """Attrs of the number of starts that ended in the same minimum."""
        return self._attrs("number of starts that ended in this minimum", {"units": "1"})

    def clipped(self) -> dict[str, Any]:
        """Attrs of the mask of samples that were clipped."""
        return self._attrs("whether the fitter left the sample out for its residual")

    def statistic(self, name: str) -> dict[str, Any]:
        """Attrs of one of `STATISTICS`."""
        units = _units(self.chi2_units if name in _SQUARES else "1", "difference")
        whitened = {"comment": "of whitened residuals"} if self.noise and name in _SQUARES else {}
        standard_name = "number_of_observations" if name == "n_points" else None
        return self._attrs(STATISTICS[name], units, standard_name, **whitened)

    def correlated(self, name: str) -> dict[str, Any]:
        """Attrs of one of `CORRELATED`."""
        return self._attrs(CORRELATED[name], {"units": "1"})

    def prior(self) -> dict[str, Any]:
        """Attrs of what priors add to chi-square."""
        return self._attrs("squared distances from the means of priors in their standard deviations", {"units": "1"})

    def info(self, name: str) -> dict[str, Any]:
        """Attrs of a number that the fitter reports."""
        return self._attrs(f"{name} of the fitter's fit_info")

    def covariance(self) -> dict[str, Any]:
        """Attrs of the covariance; its elements have different units."""
        return self._attrs("covariance of the parameters")

    def _attrs(
        self, long_name: str, units: Mapping[str, Any] | None = None, standard_name: str | None = None, **others: str
    ) -> dict[str, Any]:
        named = {"standard_name": standard_name} if standard_name else {}
        return {**(units or {}), **named, "long_name": long_name, **others, **self.everywhere}

    def status(self) -> dict[str, Any]:
        """Attrs of ``fit_status``."""
        return {
            "standard_name": "status_flag",
            "long_name": "status of the fit; positive means success",
            "flag_values": np.array([int(s) for s in FitStatus], dtype=np.int8),
            "flag_meanings": " ".join(s.meaning for s in FitStatus),
            **self.everywhere,
            **self.times,
            RECORD: self.record,
        }


def _units(text: str | None, scale: str | None) -> dict[str, Any]:
    """``units`` and, for a temperature, whether it is a difference; programs cannot convert it otherwise."""
    if text is None:
        return {}
    tells = scale is not None and (text == "C" or involves_temperature(text))
    return {"units": text} | ({"units_metadata": f"temperature: {scale}"} if tells else {})


def difference_attrs(text: str | None) -> dict[str, Any]:
    """``units`` of something that is no place on a scale, such as a width or an amplitude."""
    return _units(text, "difference")


def _scale(unit: ParameterUnit) -> str | None:
    if unit.level is False or unit.place is False:
        return "difference"
    if unit.parent is None:
        return None
    return next((s for s in ("on_scale", "difference") if s in str(unit.parent.scale)), "unknown")


def _standard_name(unit: ParameterUnit) -> str | None:
    name = None if unit.parent is None else unit.parent.standard_name
    return None if name is None or (unit.place and _AXIS.fullmatch(name)) else name


@functools.cache  # looking it up takes as long as a fit
def own_version() -> str:
    """The version of this package."""
    return version("xr_modelfit")


def counting(dim: Hashable, n: int) -> str:
    """What an input does where a dim of ``n`` positions has no coordinate, in words."""
    return f"counts 0 to {n - 1} along {dim} (no coordinate)"


def dataset_attrs(
    source: Mapping[Any, Any], expression: str, data: Any, fitted: Sequence[Hashable], counted: Mapping[str, str]
) -> dict[Any, Any]:
    """Attrs of a result: those of the source that describe the whole, conventions, and a line of history.

    ``counted``: for each input that counts positions, what it does in words.
    """
    kept = {k: v for k, v in source.items() if k not in _VARIABLE_ATTRS and not str(k).startswith("_")}
    to = "" if data is None else f" to {data}"
    line = f"xr_modelfit {own_version()}: {expression} fitted{to} along {', '.join(map(str, fitted))}"
    line += "".join(f"; {name} {words}" for name, words in counted.items())
    before = _text(source.get("history"), "\n")  # the newest line stands first, as NCO and CDO have it
    return kept | {
        "Conventions": _conventions(_text(source.get("Conventions"), ", ")),
        "history": f"{line}\n{before}" if before else line,
    }


def _text(value: Any, between: str) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or np.ndim(value) == 0 else between.join(map(str, value))


def _conventions(source: str) -> str:
    """The version of CF of a result, or a newer one of the source, and other conventions that remain true."""
    versions = [(int(major), int(minor)) for major, minor in _CF_NAME.findall(source)]
    return ", ".join(["CF-{}.{}".format(*max([*versions, _CF])), *_OF_THE_WHOLE.findall(source)])


def joined_history(results: Sequence[xr.Dataset]) -> str:
    """The history of several fits of one source: a line for each, then the history of the source."""
    parts = [str(one.attrs["history"]).partition("\n") for one in results]
    lines = [line for line, _, _ in parts]
    return "".join(["\n".join(lines), *parts[0][1:]])


def frame_of(data: xr.DataArray, variables: Mapping[Hashable, xr.DataArray], fitted: Sequence[Hashable]) -> xr.Dataset:
    """The coordinates of the result, with the ``variables`` that these and the grid mapping of the data refer to."""
    coords = data.coords.to_dataset()
    frame = coords.drop_dims([d for d in fitted if d in coords.dims])

    def found(name: str) -> bool:
        return name in frame.variables or (name in variables and set(fitted).isdisjoint(variables[name].dims))

    links = {n: {k: t for k, t in _links(v) if all(map(found, _named(t)))} for n, v in frame.variables.items()}
    wanted = {other for texts in links.values() for text in texts.values() for other in _named(text)}
    mapping = [name for name in _mappings(data) if found(name)] if _is_horizontal(data, frame) else []
    new = [name for name in [*sorted(wanted), *mapping] if name not in frame.variables]
    frame = frame.assign_coords({name: variables[name].variable for name in new})
    bounds = {text for texts in links.values() for key, text in texts.items() if key in ("bounds", "climatology")}
    for name, variable in frame.variables.items():
        old, attrs = variable.encoding, {k: v for k, v in variable.attrs.items() if k not in _LINKS}
        variable.attrs = attrs | links.get(name, {})
        if name in mapping and {"long_name", "standard_name"}.isdisjoint(attrs):
            variable.attrs["long_name"] = "grid mapping"
        variable.encoding = {}  # such as the chunks of the source
        if name in bounds or links.get(name, {}).keys() & {"bounds", "climatology"}:  # counted alike
            variable.encoding = {k: old[k] for k in ("units", "calendar", "dtype") if k in old and "units" in old}
        dates = name in bounds or isinstance(frame.indexes.get(name), xr.CFTimeIndex)  # of objects; others are text
        if (name in frame.dims or name in bounds) and (variable.dtype.kind in "fmM" or dates):
            variable.encoding["_FillValue"] = None  # CF: no value of a coordinate is missing
    return frame


def coordinates_of_samples(data: xr.DataArray, fitted: Sequence[Hashable]) -> xr.Coordinates:
    """The coordinates of the data along its fitted dims alone, as `frame_of` has those along the others."""
    frame = frame_of(data, {}, [d for d in data.dims if d not in fitted])
    return frame.drop_vars([name for name, c in frame.coords.items() if not c.ndim]).coords


def _links(variable: xr.Variable) -> Iterator[tuple[str, str]]:
    """Attrs that name other variables; xarray may have put them into the encoding."""
    for key in _LINKS:
        text = variable.attrs.get(key, variable.encoding.get(key))
        if isinstance(text, str):
            yield key, text


def _named(text: str) -> list[str]:
    """The variables that such an attr names: ``area: areacella`` names one."""
    return [word for word in text.split() if not word.endswith(":")]


def _grid_mapping(data: xr.DataArray) -> str:
    """The attr ``grid_mapping``: ``crs``, or ``crs: x y`` with the coordinates that each is for."""
    return str(data.attrs.get("grid_mapping", data.encoding.get("grid_mapping", "")))


def _mappings(data: xr.DataArray) -> list[str]:
    """Names of the grid mappings."""
    text = _grid_mapping(data)
    return [word.rstrip(":") for word in text.split() if ":" not in text or word.endswith(":")]


def _is_horizontal(data: xr.DataArray, frame: xr.Dataset) -> bool:
    """Whether a horizontal coordinate remains, if any coordinate is marked as horizontal."""
    horizontal = [
        name
        for name, c in data.coords.items()
        if c.ndim and (c.attrs.get("axis") in ("X", "Y") or _HORIZONTAL.fullmatch(str(c.attrs.get("standard_name"))))
    ]
    return not horizontal or any(name in frame.variables for name in horizontal)


def grid_mapping_of(data: xr.DataArray, frame: xr.Dataset) -> dict[str, str]:
    """The attr ``grid_mapping`` of the data, if all variables that it names are in the result."""
    text = _grid_mapping(data)
    named = [word.rstrip(":") for word in text.split()]
    stays = bool(named) and all(name in frame.variables for name in named) and _is_horizontal(data, frame)
    return {"grid_mapping": text} if stays else {}
