"""Text in FITS headers, their WCS, and the header that a labelled array keeps.

It is kept as text in the attrs of a scalar coordinate, because a scalar coordinate stays on fit
results, through selections, netCDF and zarr.
"""

import re
from dataclasses import dataclass
from typing import Any

import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS, InvalidTransformError

from xr_modelfit.fits_io.log_axes import log_linear
from xr_modelfit.messages import sentence

__all__ = ["FRAME", "HEADER", "LOOKUP", "StoredWCS", "card_text", "read_wcs", "stored_wcs", "units_of", "with_wcs"]

FRAME = "wcs"  # the scalar coordinate
HEADER = "fits_header"
LOOKUP = "fits_lookup_tables"
_WCS_KEY = re.compile(
    r"((CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME|CRDER|CSYER)\d+|(CD|PC|PV|PS)\d+_\d+|WCSAXES|WCSNAME|LONPOLE|LATPOLE)"
    r"[A-Z]?|DC-FLAG|COEFF[01]|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)|(CPDIS|CQDIS|CPERR|CQERR|D2IMDIS|D2IMERR|D2IMARR)\d*|(DP|DQ)\d+.*"
)
_AXIS_KEY = re.compile(r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT)\d+|(CD|PC)\d+_\d+")
_TABLE_KEY = re.compile(r"(CPDIS|CQDIS|CPERR|CQERR|D2IMDIS|D2IMERR|D2IMARR)\d*|(DP|DQ)\d+.*|AXISCORR")


def card_text(header: fits.Header, key: str) -> str:
    """The value of a keyword as text; empty where there is none."""
    return str(header.get(key, "")).strip()


def read_wcs(header: fits.Header, hdus: fits.HDUList | None = None) -> WCS | None:
    """The WCS of a header; None where it has no WCS keyword.

    What astropy can put right in it is put right without a word. Raises ValueError if the keywords make no valid WCS.
    """
    header = header.copy()
    if (log := log_linear(header)) is not None:
        for key in {key for key in header if re.fullmatch(r"(CTYPE|CUNIT|CRVAL|CDELT|CRPIX|CNAME)1|(CD|PC)1_1", key)}:
            del header[key]
        header.update(log)
    if not any(_AXIS_KEY.fullmatch(key) for key in header):
        return None
    if "RADECSYS" in header and "RADESYS" not in header:
        header.rename_keyword("RADECSYS", "RADESYS")
    for key in [key for key in header if key.startswith("NAXIS")]:
        del header[key]  # an array with fewer axes than its WCS is no fault
    try:
        wcs = WCS(header, hdus, fix=False, _do_set=False)  # WCS.fix would warn of each repair
        if wcs.sip is not None and wcs.wcs.get_pv():
            wcs.fix()  # two distortions, of which one is removed: that matters
        else:
            wcs.wcs.fix()
        wcs.wcs.set()
    except (ValueError, KeyError, InvalidTransformError, AssertionError, MemoryError) as error:
        raise ValueError(f"The WCS cannot be read: {sentence(error)}") from error
    return wcs


def units_of(wcs: WCS) -> list[str]:
    """Units of the world axes as the header has them; ``wcs.wcs.cunit`` warns of those that FITS does not know."""
    header = fits.Header.fromstring(wcs.wcs.to_header())
    return [card_text(header, f"CUNIT{i + 1}{wcs.wcs.alt.strip()}") for i in range(wcs.naxis)]


def with_wcs(header: fits.Header, wcs: Any) -> fits.Header:
    """A copy of a header with the keywords of ``wcs`` in place of its own; with none, unless that is a FITS WCS."""
    changed = header.copy()
    for key in {key for key in changed if _WCS_KEY.fullmatch(key)}:
        changed.remove(key, remove_all=True)
    if isinstance(wcs, WCS):
        changed.update(wcs.to_header(relax=True))
    return changed


@dataclass(frozen=True)
class StoredWCS:
    """The WCS that a labelled array keeps, without the tables that the header does not hold."""

    wcs: WCS
    tabular: tuple[int, ...]  # world axes that a lookup table defines; linear in ``wcs``
    lookup: bool  # there are distortions by tables, too


def stored_wcs(obj: xr.DataArray) -> StoredWCS | None:
    """The WCS that the scalar coordinate ``wcs`` keeps."""
    frame = obj.coords.get(FRAME)
    if frame is None or HEADER not in frame.attrs:
        return None
    header = fits.Header.fromstring(frame.attrs[HEADER], sep="\n")
    tabular = [int(key[5:]) - 1 for key in header if re.fullmatch(r"CTYPE\d+", key) and "-TAB" in str(header[key])]
    for i in tabular:
        header[f"CTYPE{i + 1}"] = ""
    tables = {key for key in header if _TABLE_KEY.fullmatch(key)}
    parameters = {key for key in header if any(re.fullmatch(rf"P[SV]{i + 1}_\d+", key) for i in tabular)}
    for key in tables | parameters:
        header.remove(key, remove_all=True)
    wcs = read_wcs(header)
    return None if wcs is None else StoredWCS(wcs, tuple(tabular), LOOKUP in frame.attrs)
