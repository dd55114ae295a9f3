"""Units in headers: read by `units.text` as all others are, written in the words of FITS."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.units.text import UnknownUnitError, parse_unit, write_unit
from xr_modelfit.units.units import measure_of

__all__ = ["FitsUnit", "error_units", "fits_unit", "logarithm_of", "read_unit", "spelled", "unit_attrs"]


class FitsUnit(NamedTuple):
    """A unit as written in a header, and the factor that converts numbers to it."""

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


def unit_attrs(units: str) -> dict[str, Any]:
    """The attr of a unit; none of a pure number."""
    return {"units": units} if units else {}


def read_unit(text: str) -> UnitBase | None:
    """The unit that a header's text means; None if unknown."""
    try:
        return parse_unit(text)
    except UnknownUnitError:
        return None


# Spellings in tables and headers that no convention knows; the repairs are applied one after the other.
_REPAIRS = (
    (re.compile(r"[{}\[\]]|\\mathrm|\\rm\b|\$"), ""),  # of LaTeX
    (re.compile(r"(?<=\))\s*(?=[A-Za-z])"), "."),  # 10**(-17)erg
    (re.compile(r"^\s*[eE](?=-?\d+\b)"), "1e"),
    (re.compile(r"\\AA\b"), "Angstrom"),
    (re.compile(r"\s*\((?:vacuum|vac|air)\)", re.IGNORECASE), ""),
    (re.compile(r"\bANG\b\.?"), "ANGSTROM"),
    (re.compile(r"\b[Aa]ng\b\."), "Angstrom"),
    (re.compile(r"\bnanomagg(?:y|ies)\b", re.IGNORECASE), "nmgy"),
    (re.compile(r"\bergs\b", re.IGNORECASE), "erg"),
    (re.compile(r"\be-(?=/|\s|$)"), "electron"),
    (re.compile(r"\bmicro(?=Jy|m\b)"), "u"),
    (re.compile(r"^\s*FLAM\s*$", re.IGNORECASE), "erg s-1 cm-2 Angstrom-1"),
    (re.compile(r"^\s*FNU\s*$", re.IGNORECASE), "erg s-1 cm-2 Hz-1"),
)
_AMPERE = re.compile(r"(?<![A-Za-z])A(?![A-Za-z])")
_LOGARITHM = re.compile(r"(?:log|log10|dex|alog10)\s*[\[(]\s*(.*?)\s*[\])]", re.IGNORECASE)


def spelled(text: str, *, wavelength: bool = False) -> str:
    """A header's unit in a spelling that is known: as it is where it can be read, or where nothing makes it so.

    ``wavelength``: it is of a spectrum over wavelengths, or a wavelength itself, so that ``A`` is no ampere.

    Examples
    --------
    >>> spelled("10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)")
    '10**(-17).erg.cm**(-2).s**(-1).angstrom**(-1)'
    >>> spelled("erg/s/cm2/A", wavelength=True)
    'erg/s/cm2/Angstrom'
    """
    given = " ".join(text.split())
    if wavelength:
        given = _AMPERE.sub("ANGSTROM" if given.isupper() and len(given) > 1 else "Angstrom", given)
    repaired = given
    for pattern, instead in _REPAIRS:
        if read_unit(repaired) is not None:
            return repaired
        repaired = pattern.sub(instead, repaired)
    return given if read_unit(repaired) is None else repaired


def logarithm_of(text: str) -> str | None:
    """The unit inside ``log10(Angstrom)``; None if a unit is not logarithmic."""
    found = _LOGARITHM.fullmatch(text.strip())
    return None if found is None else found[1]


def error_units(own: str, of_data: str, role: Role) -> str:
    """Unit of the standard error where ``own`` is that of a variance, an inverse variance or the error itself.

    A variance without a unit, or with that of the data, is in the square of the data's unit.
    """
    power = {Role.VARIANCE: 0.5, Role.INVERSE_VARIANCE: -0.5}.get(role)
    if power is None or not own or own == of_data:
        return own if power is None and own else of_data
    theirs, data = read_unit(own), read_unit(of_data)
    if theirs is None:
        return of_data
    error = theirs**power
    if data is not None and error.is_equivalent(data) and np.isclose(error.to(data), 1):
        return of_data
    return "" if error == u.dimensionless_unscaled else write_unit(error)


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
        try:
            base.to_string("fits")
        except ValueError:
            if isinstance(base, u.IrreducibleUnit):
                return None
            return _in_words(unit / base**power * base.represents**power)
    return None


def _read_by_fits(text: str) -> UnitBase | None:
    if text.count("/") > 1:  # discouraged, and readers differ
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", u.UnitsWarning)
        try:
            return u.Unit(text, format="fits")
        except (ValueError, TypeError, u.UnitsWarning):
            return None
