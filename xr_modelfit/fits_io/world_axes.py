"""What the axes of a WCS are: names, units and attrs, by physical type, CTYPE or unit.

`fits_io.wcs` makes coordinates of them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS

from xr_modelfit.fits_io.headers import units_of
from xr_modelfit.units.text import write_unit

__all__ = ["WorldAxis", "identifier", "pixel_names", "unique", "world_axis"]

# By physical type (UCD 1+): name, long name, and CF's standard name where its table has one.
_BY_TYPE: dict[str, tuple[str, str, str | None]] = {
    "pos.eq.ra": ("ra", "right ascension", None),
    "pos.eq.dec": ("dec", "declination", None),
    "pos.galactic.lon": ("glon", "galactic longitude", None),
    "pos.galactic.lat": ("glat", "galactic latitude", None),
    "pos.ecliptic.lon": ("elon", "ecliptic longitude", None),
    "pos.ecliptic.lat": ("elat", "ecliptic latitude", None),
    "pos.bodyrc.lon": ("tlon", "planetary longitude", None),
    "pos.bodyrc.lat": ("tlat", "planetary latitude", None),
    "custom:pos.helioprojective.lon": ("hpln", "helioprojective longitude", None),
    "custom:pos.helioprojective.lat": ("hplt", "helioprojective latitude", None),
    "custom:pos.helioprojective.z": ("hprz", "helioprojective distance", None),
    "custom:pos.heliographic.stonyhurst.lon": ("hgln", "Stonyhurst heliographic longitude", None),
    "custom:pos.heliographic.stonyhurst.lat": ("hglt", "Stonyhurst heliographic latitude", None),
    "custom:pos.heliographic.carrington.lon": ("crln", "Carrington heliographic longitude", None),
    "custom:pos.heliographic.carrington.lat": ("crlt", "Carrington heliographic latitude", None),
    "custom:pos.heliocentric.x": ("solx", "heliocentric x", None),
    "custom:pos.heliocentric.y": ("soly", "heliocentric y", None),
    "custom:pos.heliocentric.z": ("solz", "heliocentric z", None),
    "pos.cartesian.x": ("cartesian_x", "cartesian x", None),
    "pos.cartesian.y": ("cartesian_y", "cartesian y", None),
    "pos.cartesian.z": ("cartesian_z", "cartesian z", None),
    "pos.distance": ("distance", "distance", None),
    "custom:pos.distance.sunToObserver": ("dsun", "distance from the Sun to the observer", None),
    "em.freq": ("frequency", "frequency", "radiation_frequency"),
    "em.energy": ("energy", "photon energy", None),
    "em.wavenumber": ("wavenumber", "wavenumber", None),
    "em.wl": ("wavelength", "wavelength in vacuum", "radiation_wavelength"),
    "em.wl;obs.atmos": ("wavelength", "wavelength in air", "radiation_wavelength"),
    "spect.dopplerVeloc": ("velocity", "apparent radial velocity", None),
    "spect.dopplerVeloc.radio": ("velocity", "radio velocity", None),
    "spect.dopplerVeloc.opt": ("velocity", "optical velocity", None),
    "custom:spect.doplerVeloc.beta": ("beta", "velocity in units of the speed of light", None),
    "src.redshift": ("redshift", "redshift", None),
    "phys.polarization.stokes": ("stokes", "Stokes parameter", None),
    "time": ("time", "time", None),
}

# What was written before there was a standard, by CTYPE up to its first hyphen.
_BY_CTYPE = {
    "FELO": ("velocity", "optical velocity"),
    "VELOCITY": ("velocity", "velocity"),
    "VELOC": ("velocity", "velocity"),
    "VLSR": ("velocity", "velocity in the local standard of rest"),
    "VHEL": ("velocity", "heliocentric velocity"),
    "LAMBDA": ("wavelength", "wavelength"),
    "WAVELENGTH": ("wavelength", "wavelength"),
    "WAVELENG": ("wavelength", "wavelength"),
    "FREQUENCY": ("frequency", "frequency"),
    "FREQUENC": ("frequency", "frequency"),
    "ENERGY": ("energy", "energy"),
    "WAVENUMBER": ("wavenumber", "wavenumber"),
    "DATE": ("time", "time"),
}
_SAYS_NOTHING = ("", "LINEAR", "LINE", "POINT", "UNKNOWN", "NONE")

_BY_UNIT = [
    (u.m / u.s, "velocity"),
    (u.m, "wavelength"),
    (u.Hz, "frequency"),
    (u.J, "energy"),
    (1 / u.m, "wavenumber"),
    (u.s, "time"),
    (u.deg, "angle"),
    (u.K, "temperature"),
]


@dataclass(frozen=True)
class WorldAxis:
    """One world axis: its name and unit, if known, and attrs."""

    name: str | None
    unit: u.UnitBase | None
    attrs: dict[str, Any]


def world_axis(wcs: BaseLowLevelWCS, i: int) -> WorldAxis:
    """What world axis ``i`` is.

    Its physical type decides. Next come a FITS CTYPE, the unit, and the axis's own name.
    """
    kind = wcs.world_axis_physical_types[i]
    ctype = str(wcs.wcs.ctype[i]) if isinstance(wcs, WCS) else ""
    if ctype.upper().startswith("AWAV"):
        kind = "em.wl;obs.atmos"  # older astropy says em.wl, as in vacuum
    title = str(wcs.world_axis_names[i] or "")
    unit = _unit(wcs, i)
    name, long_name, standard_name = _named(kind, ctype.split("-")[0].strip().upper(), unit, title)
    attrs: dict[str, Any] = {} if unit is None else {"units": write_unit(unit)}
    if title or long_name:
        attrs["long_name"] = title or long_name
    if standard_name:
        attrs["standard_name"] = standard_name
    if name == "time" and isinstance(wcs, WCS):
        attrs |= _time_reference(wcs)
    return WorldAxis(name, unit, attrs)


def _named(kind: str | None, ctype: str, unit: Any, title: str) -> tuple[str | None, str, str | None]:
    """Name, long name and standard name."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if ctype in _BY_CTYPE:
        return (*_BY_CTYPE[ctype], None)
    if kind is None and ctype in _SAYS_NOTHING:
        quantity = next((name for known, name in _BY_UNIT if unit is not None and unit.is_equivalent(known)), None)
        return quantity or identifier(title), quantity or "", None
    name = identifier(ctype) or identifier(title) or identifier((kind or "").split(".")[-1])
    return name, "", None


def _unit(wcs: BaseLowLevelWCS, i: int) -> u.UnitBase | None:
    # For a FITS WCS the interface speaks VOUnit, which warns of ångströms.
    given = units_of(wcs)[i] if isinstance(wcs, WCS) else wcs.world_axis_units[i]
    unit = u.Unit(given or "", parse_strict="silent")
    return None if isinstance(unit, u.UnrecognizedUnit) or unit in (u.dimensionless_unscaled, u.pix) else unit


def _time_reference(wcs: WCS) -> dict[str, str]:
    """The epoch and the time scale of a time axis."""
    own = next((str(c) for c in wcs.wcs.ctype if str(c).split("(")[0].strip() in _TIME_SCALES), "")
    attrs = {"time_scale": own or str(wcs.wcs.timesys) or "UTC"}
    if wcs.wcs.dateref:
        attrs["time_reference"] = str(wcs.wcs.dateref)
    days = np.nan_to_num(np.asarray(wcs.wcs.mjdref, dtype=float))
    return attrs | {"time_reference_mjd": repr(float(days.sum()))}


_TIME_SCALES = ("TAI", "TT", "TDT", "ET", "IAT", "UT1", "UT", "UTC", "GMT", "GPS", "TCG", "TCB", "TDB", "LOCAL")


def _is_celestial(wcs: BaseLowLevelWCS, i: int) -> bool:
    """Whether a world axis is one of a pair of angles on the sky, or a position in another sense."""
    kind = str(wcs.world_axis_physical_types[i] or "")
    if isinstance(wcs, WCS):
        return i in (wcs.wcs.lng, wcs.wcs.lat) or kind.startswith(("pos.", "custom:pos."))
    return kind.startswith(("pos.", "custom:pos.")) and not kind.startswith("pos.distance")


def pixel_names(wcs: BaseLowLevelWCS | None, n: int, depends: np.ndarray) -> list[str]:
    """Names of the ``n`` pixel axes, in FITS order; ``depends``: bool, shape (world axes, pixel axes).

    The two that a pair of angles on the sky depends on are ``x`` and ``y``; other axes are called
    by their number: ``x``, ``y``, ``z``, ``axis_4``. Where the sky took the name, ``axis_3``.
    """
    given = [identifier(str(name or "")) for name in (wcs.pixel_axis_names if wcs is not None else [])]
    if wcs is not None and len(given) == n and all(given) and len(set(given)) == n:
        return [str(name) for name in given]
    sky = [_is_celestial(wcs, i) for i in range(wcs.world_n_dim)] if wcs is not None else []
    on_sky = np.flatnonzero(depends[sky].any(axis=0)) if any(sky) else np.array([], dtype=int)
    names = {int(k): name for k, name in zip(on_sky, "xy", strict=False)} if len(on_sky) <= 2 else {}
    for k in range(n):
        if k not in names:
            plain = "xyz"[k] if k < 3 else ""
            names[k] = plain if plain and plain not in names.values() else f"axis_{k + 1}"
    return [names[k] for k in range(n)]


def identifier(text: str) -> str | None:
    """Text as a lower-case Python identifier; None if nothing is left of it."""
    name = re.sub(r"\W+", "_", text.strip().lower(), flags=re.ASCII).strip("_")
    return None if not name else name if name.isidentifier() else f"axis_{name}"


def unique(name: str, taken: Collection[str]) -> str:
    """``name``, or if that is taken ``name_2``, ``name_3``, ..."""
    numbered = (f"{name}_{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)
