"""Units in headers: read by `xr_modelfit.unit_text` as all others are, written in the words of FITS."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import xarray as xr
from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.unit_text import UnknownUnitError, parse_unit
from xr_modelfit.units import measure_of

__all__ = ["FitsUnit", "fits_unit", "read_unit"]


class FitsUnit(NamedTuple):
    """A unit as a header says it, and what numbers are multiplied by to be in it."""

    text: str
    factor: float = 1.0


def fits_unit(array: xr.DataArray) -> FitsUnit:
    """What a header says of the ``units`` of an array; no text where there are none, or a pure number.

    As they are spelled if FITS means the same by it, else in its own words. FITS knows powers of
    ten only: numbers in another multiple are converted. Of a unit that FITS has no word for, there
    is none to convert to: it is written as it is.

    Examples
    --------
    >>> fits_unit(xr.DataArray(0.0, attrs={"units": "1e-20 erg cm-2 s-1"}))
    FitsUnit(text='10**-20 erg s-1 cm-2', factor=1.0)
    >>> fits_unit(xr.DataArray(0.0, attrs={"units": "12 Jy"}))
    FitsUnit(text='Jy', factor=12.0)
    """
    measure = measure_of(array)
    if measure.text is None:
        return FitsUnit("")
    as_it_is = FitsUnit(measure.text if measure.text.isascii() else "")
    unit = measure.unit
    if unit is None or (as_it_is.text and _read_by_fits(as_it_is.text) == unit):
        return as_it_is
    return _in_words(unit) or as_it_is


def read_unit(text: str) -> UnitBase | None:
    """What a header's unit means; None where it is not known."""
    try:
        return parse_unit(text)
    except UnknownUnitError:
        return None


def _in_words(unit: UnitBase) -> FitsUnit | None:
    """A unit in the words of FITS, None where it has none for a part of it."""
    for factor in (1.0, float(unit.scale)):
        scaled = u.CompositeUnit(unit.scale / factor, unit.bases, unit.powers)
        try:
            text = str(scaled.to_string("fits"))
        except ValueError:
            continue
        if _read_by_fits(text) == scaled:
            return FitsUnit(text, factor)
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if _is_unsaid(base):
            irreducible = isinstance(base, u.IrreducibleUnit)
            return None if irreducible else _in_words(unit / base**power * base.represents**power)
    return None


def _is_unsaid(base: UnitBase) -> bool:
    try:
        base.to_string("fits")
    except ValueError:
        return True
    return False


def _read_by_fits(text: str) -> UnitBase | None:
    if text.count("/") > 1:  # discouraged, and not read alike by all
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", u.UnitsWarning)
        try:
            return u.Unit(text, format="fits")
        except (ValueError, TypeError, u.UnitsWarning):
            return None
