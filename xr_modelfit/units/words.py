"""The words for units: symbols as they are written, names also in the plural and in any case.

They are those of astropy, its imperial units, and the table here. A word with two meanings in use
is not read, unless one of them is far-fetched:

=================  ==============================  =========================  ======================
word               astropy                         UDUNITS-2, usage           read as
=================  ==============================  =========================  ======================
C, F               coulomb, farad                  the same                   degC, degF on a
                                                                              temperature
deg C, degree F    degree times coulomb, farad     the same                   degC, degF on a
                                                                              temperature, else not
degree Celsius     --                              degree times celsius       degC
a, ka, Ma, Ga      year                            are (100 m2)               year
yr, year           365.25 d                        365.242198781 d            365.25 d
ct, count          a count                         10 kg, a number            a count
ph, photon         photon                          phot, --                   photon
bit, byte          unit of its own                 number                     as astropy has it
u, eV, Torr, Oe    newer constants                 older constants            as astropy has them
nmi                nautical mile (imperial)        1e-9 mile                  nautical mile
acre, gallon, ...  imperial units                  the same to 5e-6           as astropy has them
psu                --                              --; 1e-3 by CF             1e-3
molecule           --                              1/6.022e23 mol; a number   1/6.022e23 mol
S, Sv, T, P, G     siemens, sievert, tesla, ...    the same where known       as astropy has them
A, N               ampere, newton                  the same; ångström,        ampere, newton
                                                   nitrogen in usage
R, kR              rayleigh                        röntgen                    not
b, mb, Mb          bit                             barn; millibar in usage    not
kt                 knot (imperial)                 knot; kilotonne in usage   not
cal, kcal          4.184 J                         4.1868 J                   not
oz                 mass                            volume                     not
ppt                --                              1e-12; 1e-3 in usage       not
k                  kayser                          --; kelvin in usage        not
ua                 1e-6 year                       astronomical unit          not
mil                1e-3 inch (imperial)            1e-3 inch; an angle, pint  not
cps, mph, kph      --, milliphoton, kilophoton     rad s-1, phot              not
MS                 megasiemens                     the same; ms, m s-1        not
month              --                              year / 12                  not
degrees_west       --                              -1 degree                  not
=================  ==============================  =========================  ======================

A difference of temperatures, as pint writes it (``delta_degree_Celsius``), is in kelvins.
"""

import re
from functools import lru_cache

from astropy import units as u
from astropy.units import UnitBase, imperial

__all__ = ["CAPITALS", "LOGARITHMS", "as_written", "by_name", "doubt", "word_for"]


def _number(scale: float) -> UnitBase:
    return u.CompositeUnit(scale, [], [])


_OURS = {
    "degC deg_C degreeC degree_C degsC degs_C degreesC degrees_C celsius Celsius degree_celsius degree_Celsius "
    "degrees_celsius degrees_Celsius °C": u.deg_C,
    "degF deg_F degreeF degree_F degsF degs_F degreesF degrees_F fahrenheit Fahrenheit degree_fahrenheit "
    "degree_Fahrenheit degrees_fahrenheit degrees_Fahrenheit °F": imperial.deg_F,
    "degR deg_R degreeR degree_R rankine Rankine degree_Rankine °R": imperial.deg_R,
    "degK deg_K degreeK degree_K degsK degs_K degreesK degrees_K degree_kelvin degree_Kelvin degrees_kelvin "
    "degrees_Kelvin kelvin kelvins °K delta_degC delta_degree_C delta_degree_Celsius Δ°C": u.K,
    "delta_degF delta_degree_F delta_degree_Fahrenheit Δ°F": u.CompositeUnit(5 / 9, [u.K], [1]),
    "deg degs degree degrees ° arcdeg arc_degree arc_degrees angular_degree angular_degrees degree_north "
    "degrees_north degree_N degrees_N degreeN degreesN degree_east degrees_east degree_E degrees_E degreeE "
    "degreesE degree_true degrees_true degree_T degrees_T degreeT degreesT": u.deg,
    "' \u2032 arcmins arc_minute arc_minutes": u.arcmin,
    "\" '' \u2032\u2032 arcsecs arc_second arc_seconds": u.arcsec,
    "dimensionless unitless none fraction": u.dimensionless_unscaled,
    "% percent percents": u.percent,
    "‰ permil permille psu PSU": _number(1e-3),
    "ppm ppmv ppmV": _number(1e-6),
    "ppb ppbv ppbV": _number(1e-9),
    "pptv pptV": _number(1e-12),
    "sec secs": u.s,
    "msec": u.ms,
    "usec": u.us,
    "nsec": u.ns,
    "mins": u.min,
    "hr hrs": u.h,
    "day days": u.d,
    "yrs": u.yr,
    "decade decades": u.CompositeUnit(10, [u.yr], [1]),
    "mbar millibar millibars": u.mbar,
    "atm atmosphere atmospheres standard_atmosphere": u.def_unit("atm", 101325 * u.Pa),
    "mmHg mm_Hg": u.def_unit("mmHg", 133.322387415 * u.Pa),
    "dbar decibar decibars": u.CompositeUnit(0.1, [u.bar], [1]),
    "count counts cts": u.ct,
    "electron electrons": u.electron,
    "adu ADU": u.adu,
    "DN dn": u.DN,
    "beam beams": u.beam,
    "pixel pixels pix": u.pix,
    "photon photons": u.ph,
    "micron microns": u.micron,
    "angstrom Angstrom angstroms ångström Ang": u.AA,
    "DU dobson dobsons": u.CompositeUnit(4.462e-4, [u.mol, u.m], [1, -2]),
    "sverdrup sverdrups": u.CompositeUnit(1e6, [u.m, u.s], [3, -1]),
    "knot knots kts kn": imperial.kn,
    "foot feet ft": imperial.foot,
    "inch inches in": imperial.inch,
    "pound pounds lb lbs": imperial.lb,
    "nautical_mile nautical_miles": imperial.nmi,
    "electron_volt electron_volts": u.eV,
    "light_year light_years ly": u.lyr,
    "ergs": u.erg,
    "molecule molecules molec": u.CompositeUnit(1 / 6.02214076e23, [u.mol], [1]),  # as UDUNITS-2 has it
}
_WORDS = {name: unit for unit in vars(imperial).values() if isinstance(unit, u.NamedUnit) for name in unit.names}
_WORDS |= {word: unit for words, unit in _OURS.items() for word in words.split()}
_LATIN = str.maketrans({"µ": "u", "μ": "u", "Ω": "Ohm", "Å": "Angstrom"})
_P = "(?:da|[yzafpnuµμmcdhkMGTPEZY])"
_DOUBTS = {
    rf"{_P}?R": "rayleigh or röntgen",
    rf"{_P}?b": "barn, bit or bar",
    rf"{_P}?k": "kayser or kelvin",
    r"(?:da|[yzafpnuµμmcdTEZY])a": "years, ares or astronomical units",  # but ka, Ma, Ga, ha and Pa
    r"k?cal|Cal|kilocal|(kilo)?calories?|Calories?": "4.184 J or 4.1868 J",
    r"f?oz|ounces?": "a mass or a volume",
    r"kilopound": "a mass or a force",
    r"NM(PH)?": "nanometre or nautical mile",
    r"ppt": "1e-12 or 1e-3",
    r"kt": "knot or kilotonne",
    r"cps": "counts or cycles per second",
    r"[mkM]ph": "a speed or photons",
    r"mil": "a thousandth of an inch or of a radian",
    r"MS": "ms, m s-1 or megasiemens",
    r"months?": "28 to 31 days",
}
_LOWER = "m cm km s sec min hr day yr Hz kHz GHz Jy K W erg eV keV GeV pc kpc deg rad sr arcsec arcmin adu mag pix ct"
CAPITALS = {word.upper(): word for word in _LOWER.split()}
LOGARITHMS = ("mag", "dex", "dB", "decibel", "lg", "ln", "lb", "log", "exp", "sqrt")
_WRITTEN = {
    "percent": "%",
    "deg_C": "degC",
    "deg_F": "degF",
    "deg_R": "degR",
    "deg": "degree",
    "kn": "knot",
    "nmi": "nautical_mile",
    "ct": "count",
    "pix": "pixel",
    "ph": "photon",
    "AU": "au",
    "a": "yr",
    "ka": "kyr",
    "Ma": "Myr",
    "Ga": "Gyr",
}
_PREFIX = re.compile(
    "quetta|ronna|yotta|zetta|exa|peta|tera|giga|mega|kilo|hecto|deka|deca|deci|centi|milli|micro|nano|pico|femto|atto|"
    "zepto|yocto|ronto|quecto"
)


def doubt(word: str) -> str | None:
    """The meanings of a word that is not read because it has several."""
    return next((meanings for pattern, meanings in _DOUBTS.items() if re.fullmatch(pattern, word)), None)


def as_written(word: str, temperature: bool) -> UnitBase | None:
    """The unit of a word as it is written."""
    if temperature and word in ("C", "F"):
        return u.deg_C if word == "C" else imperial.deg_F
    if word in _WORDS:
        return _WORDS[word]
    known = u.get_current_unit_registry().registry
    return known.get(word) or known.get(word.translate(_LATIN))


def by_name(word: str) -> UnitBase | None:
    """The unit of a name, which may be in the plural and in any case."""
    word = word.lower().replace("metre", "meter").replace("litre", "liter")
    return _names().get(word) or (_names().get(word[:-1]) if word.endswith("s") else None)


@lru_cache(maxsize=1)
def _names() -> dict[str, UnitBase]:
    found = {
        name.lower(): unit
        for unit in u.get_current_unit_registry().all_units
        for name in unit.long_names
        if len(name) > (3 if name.islower() else 4) and name.isascii()
        if not isinstance(unit, u.PrefixUnit) or _PREFIX.match(name)
    }
    return found | {word.lower(): unit for word, unit in _WORDS.items() if len(word) > 3 and word[0].isalpha()}


def word_for(unit: u.NamedUnit) -> str | None:
    """The word to write for a unit; None if each of its names could mean another unit."""
    return _WRITTEN.get(unit.name) or next((name for name in unit.names if doubt(name) is None), None)
