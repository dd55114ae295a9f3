"""Variables of a Dataset that describe others, by CF: bounds, errors, flags, counts, dates. They are not fitted."""

from __future__ import annotations

import re
from typing import Any

import xarray as xr

__all__ = ["auxiliary_variables"]

_NAMING = (
    "ancillary_variables", "bounds", "cell_measures", "climatology", "coordinates", "formula_terms", "geometry",
    "grid_mapping", "interior_ring", "node_coordinates", "node_count", "part_node_count",
)  # fmt: skip
_OF_FLAGS = ("flag_values", "flag_masks", "flag_meanings", "grid_mapping_name")
_MODIFIERS = re.compile(
    r"\s(standard_error|status_flag|number_of_observations|detection_minimum)$|^(status|quality)_flag$|^region$"
)
_DATES = re.compile(r"\bsince\b|yyyy|%Y", re.IGNORECASE)
_DATE_NAMES = re.compile(r"^(date|dates|datesec|date_?vec(tor)?|time_?vec(tor)?|yyyy?mm(dd)?|ymd)$", re.IGNORECASE)
_ABOUT_DATES = re.compile(
    r"\bdate\b.*\b(vector|components?|ymd|year)\b|\b(vector|components?) of .*date", re.IGNORECASE
)
_BOUNDS = re.compile(r"^(.+)_(bnds|bounds|bnd|vertices|corners)$")


def auxiliary_variables(ds: xr.Dataset) -> set[Any]:
    """Names of the variables that describe others, by CF or by their own attrs."""
    found = {name for name, v in ds.variables.items() if _describes_others(str(name), v) or _are_bounds(str(name), ds)}
    for variable in ds.variables.values():
        for key in _NAMING:
            text = variable.attrs.get(key, variable.encoding.get(key))
            found |= {word for word in text.split() if word in ds.variables} if isinstance(text, str) else set()
    return found


def _describes_others(name: str, variable: xr.Variable) -> bool:
    """Whether its attrs or its name say that it holds flags, errors, counts or dates."""
    kind, units, title = (str(variable.attrs.get(key, "")) for key in ("standard_name", "units", "long_name"))
    dates = _DATES.search(units) or _DATE_NAMES.match(name) or _ABOUT_DATES.search(title)
    return any(key in variable.attrs for key in _OF_FLAGS) or bool(_MODIFIERS.search(kind) or dates)


def _are_bounds(name: str, ds: xr.Dataset) -> bool:
    """Whether it is named like the bounds of another variable, and has one dim more."""
    match = _BOUNDS.match(name)
    if match is None or match[1] not in ds.variables:
        return False
    return ds.variables[name].ndim == ds.variables[match[1]].ndim + 1
