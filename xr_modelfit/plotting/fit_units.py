"""Units in the picture of one fit: those of the result, unless the data comes in others than were fitted."""

from __future__ import annotations

import xarray as xr
from astropy.units import UnitBase

from xr_modelfit.results.fit_samples import OneFit
from xr_modelfit.units.text import UnknownUnitError, parse_unit

__all__ = ["in_unit_of_fit", "told_in"]


def in_unit_of_fit(one: OneFit, coordinate: xr.DataArray) -> xr.DataArray:
    """A coordinate in the unit of the first parameter that measures it; as it is where none does.

    A parameter may measure the data instead where these are of the same kind, so then nothing is converted; nor is a
    coordinate in another unit than was fitted, which somebody chose for the picture.
    """
    if coordinate.attrs.get("units") in _new_units(one):
        return coordinate
    own, data = _parsed(coordinate.attrs.get("units")), _parsed(one.data.attrs.get("units"))
    if own is None or coordinate.dtype.kind not in "iuf" or (data is not None and own.is_equivalent(data)):
        return coordinate
    for name in one.record.names:
        variable = one.result.get(one.record.variable(name))
        units = None if variable is None else variable.attrs.get("units")
        unit = _parsed(units)
        if unit is not None and unit.is_equivalent(own):
            factor = float(own.to(unit))
            return coordinate if factor == 1 else (coordinate * factor).assign_attrs(coordinate.attrs, units=units)
    return coordinate


def told_in(one: OneFit, units: str | None) -> tuple[str | None, float]:
    """The unit in which a parameter is told, and the factor to it: its own, or that of data that came in another."""
    own = _parsed(units)
    if own is None:
        return units, 1.0
    for other in _new_units(one):
        unit = _parsed(other)
        if unit is not None and own.is_equivalent(unit):
            return other, float(own.to(unit))
    return units, 1.0


def _new_units(one: OneFit) -> list[str]:
    """Units of coordinate and data, as far as these are not what was fitted."""
    pairs = [(one.data.attrs.get("units"), (one.record.units or {}).get("data"))]
    if not one.is_image and len(one.record.inputs) == 1:
        given = one.record.inputs[0]
        pairs.insert(0, (one.coordinate().attrs.get("units"), given.get("from", given.get("units"))))
    return [now for now, fitted in pairs if now is not None and _differ(now, fitted)]


def _differ(now: str, fitted: str | None) -> bool:
    one, other = _parsed(now), _parsed(fitted)
    return one is not None and other is not None and one != other


def _parsed(units: str | None) -> UnitBase | None:
    """A unit with a dimension; None of text that is none, as that of dates."""
    if units in (None, "", "1"):
        return None
    try:
        unit = parse_unit(units)
    except (UnknownUnitError, ValueError):
        return None
    return unit if isinstance(unit, UnitBase) and unit.physical_type != "dimensionless" else None
