"""Wavelengths in even steps of their logarithm, as SDSS and IRAF write them: in the keywords of the standard.

They have ``DC-FLAG = 1`` or ``COEFF0`` and ``COEFF1``: pixel i, from 0, is at 10**(c0 + c1 i), in Angstrom. The
standard has ``WAVE-LOG`` for the same: r exp((w - r) / r) with w = r + d i and the reference value r = 10**c0, so that
d = r c1 ln 10.
"""

import math
import re
from typing import Any

from astropy.io import fits

__all__ = ["ANGSTROM", "log_linear"]

ANGSTROM = "Angstrom"  # of wavelengths that SDSS and IRAF say no unit of


def log_linear(header: fits.Header) -> dict[str, Any] | None:
    """Keywords of the first axis as the standard has them; None where the header tells of no such axis.

    Raises ValueError if the numbers are no logarithms of wavelengths.

    Examples
    --------
    >>> found = log_linear(fits.Header({"COEFF0": 3.5, "COEFF1": 1e-4}))
    >>> found["CTYPE1"], round(found["CRVAL1"], 3), found["CUNIT1"]
    ('WAVE-LOG', 3162.278, 'Angstrom')
    """
    coefficients = _coefficients(header)
    if coefficients is None:
        return None
    first, step, reference = coefficients
    if not (-12 < first < 12 and 0 < abs(step) < 1):  # from 1e-12 to 1e12 of any unit of length
        raise ValueError(
            f"The first axis has even steps of the logarithm (DC-FLAG, COEFF0, COEFF1), but its first value is "
            f"{first:g} and its step {step:g}, which are no decimal logarithms of wavelengths."
        )
    start = 10.0**first
    kind = str(header.get("CTYPE1", "")).strip().upper()
    air = kind.startswith("AWAV")
    known = air or header.get("VACUUM") in (True, 1) or kind == "WAVE"
    keywords = {
        "CTYPE1": "AWAV-LOG" if air else "WAVE-LOG",
        "CUNIT1": _unit(header),
        "CRPIX1": reference,
        "CRVAL1": start,
        "CDELT1": start * step * math.log(10),
    }
    return keywords if known else keywords | {"CNAME1": "wavelength"}  # in vacuum or in air: nothing tells


def _coefficients(header: fits.Header) -> tuple[float, float, float] | None:
    """Logarithm at the reference pixel, its step, and that pixel, from 1."""
    first, step = header.get("COEFF0"), header.get("COEFF1")
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (first, step))
    if header.get("DC-FLAG") == 1 and "CRVAL1" in header:
        own = header.get("CD1_1", header.get("CDELT1", step))
        return float(header["CRVAL1"]), float(own if own is not None else 1.0), float(header.get("CRPIX1", 1.0))
    same = "CRVAL1" not in header or (are_numbers and math.isclose(first, float(header["CRVAL1"]), rel_tol=1e-6))
    return (float(first), float(step), 1.0) if are_numbers and same and header.get("DC-FLAG", 1) == 1 else None


def _unit(header: fits.Header) -> str:
    """Of the wavelength: CUNIT1, what IRAF notes (``WAT1_001``), or else Angstrom."""
    noted = re.search(r"units=\"?(\w+)", str(header.get("WAT1_001", "")))
    text = str(header.get("CUNIT1", "")).strip() or (noted[1] if noted else "")
    inner = re.fullmatch(r"(?:log|log10|dex|alog10)\s*\(?\s*(.*?)\s*\)?", text, re.IGNORECASE)
    name = (inner[1] if inner else text).lower().rstrip("s")
    return {"nm": "nm", "nanometer": "nm", "um": "um", "micron": "um", "m": "m"}.get(name, ANGSTROM)
