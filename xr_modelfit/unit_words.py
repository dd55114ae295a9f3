"""Tables of the words that units are called by; `xr_modelfit.unit_text` reads and writes them."""

from typing import Any

from astropy import units as u
from astropy.units import cds, imperial

__all__ = ["LONG", "PREFIXES", "SHORT", "TEMPERATURES", "UNCLEAR", "WORDS", "WRITTEN"]

_ONE = u.dimensionless_unscaled

# Words that astropy lacks or reads as something else.
WORDS: dict[str, Any] = {
    "degC": u.deg_C, "degreeC": u.deg_C, "degree_C": u.deg_C, "degrees_C": u.deg_C, "celsius": u.deg_C,
    "Celsius": u.deg_C, "degree_Celsius": u.deg_C, "degrees_Celsius": u.deg_C, "degree_celsius": u.deg_C,
    "degrees_celsius": u.deg_C, "degsC": u.deg_C, "℃": u.deg_C, "°C": u.deg_C, "deg_C": u.deg_C,
    "degF": imperial.deg_F, "fahrenheit": imperial.deg_F, "Fahrenheit": imperial.deg_F, "deg_F": imperial.deg_F,
    "degree_Fahrenheit": imperial.deg_F, "degree_F": imperial.deg_F, "degrees_F": imperial.deg_F,
    "°F": imperial.deg_F,
    "degK": u.K, "deg_K": u.K, "degree_K": u.K, "degrees_K": u.K, "kelvin": u.K, "kelvins": u.K, "KELVIN": u.K,
    "°K": u.K,
    "degrees": u.deg, "°": u.deg, "DEG": u.deg, "degrees_true": u.deg, "arc_degree": u.deg, "angular_degree": u.deg,
    "degrees_north": u.deg, "degree_north": u.deg, "degree_N": u.deg, "degrees_N": u.deg, "degreeN": u.deg,
    "degreesN": u.deg, "degrees_south": u.deg, "degree_south": u.deg, "degrees_east": u.deg, "degree_east": u.deg,
    "degree_E": u.deg, "degrees_E": u.deg, "degreeE": u.deg, "degreesE": u.deg, "degrees_west": u.deg,
    "degree_west": u.deg,
    "arc_minute": u.arcmin, "arc_second": u.arcsec, "radians": u.rad, "steradian": u.sr,
    "percent": u.percent, "%": u.percent, "ppm": 1e-6 * _ONE, "ppmv": 1e-6 * _ONE, "ppmV": 1e-6 * _ONE,
    "ppb": 1e-9 * _ONE, "ppbv": 1e-9 * _ONE, "ppbV": 1e-9 * _ONE, "pptv": 1e-12 * _ONE,
    "psu": 1e-3 * _ONE, "PSU": 1e-3 * _ONE, "permil": 1e-3 * _ONE, "‰": 1e-3 * _ONE,
    "dimensionless": _ONE, "unitless": _ONE, "none": _ONE,
    "counts": u.ct, "COUNTS": u.ct, "COUNT": u.ct, "electrons": u.electron, "ADU": u.adu, "dn": u.DN, "pixels": u.pix,
    "day": u.d, "days": u.d, "hr": u.h, "hrs": u.h, "hours": u.h, "h": u.h, "sec": u.s, "secs": u.s,
    "minutes": u.min, "mins": u.min, "msec": u.ms, "usec": u.us, "years": u.yr, "year": u.yr, "yrs": u.yr,
    "millibar": u.mbar, "millibars": u.mbar, "mb": u.mbar, "atmosphere": cds.atm, "atm": cds.atm, "torr": u.Torr,
    "knot": imperial.kn, "knots": imperial.kn, "kts": imperial.kn, "kn": imperial.kn,
    "inch": imperial.inch, "inches": imperial.inch,
    "feet": imperial.ft, "foot": imperial.ft, "ft": imperial.ft, "mile": imperial.mi, "miles": imperial.mi,
    "yard": imperial.yd, "yards": imperial.yd, "calorie": imperial.cal, "cal": imperial.cal,
    "micron": u.um, "microns": u.um, "µm": u.um, "μm": u.um, "Å": u.AA, "angstroms": u.AA, "Angstroms": u.AA,
    "ANGSTROM": u.AA, "ANGSTROMS": u.AA,
    "metre": u.m, "metres": u.m, "meters": u.m, "litre": u.l, "litres": u.l, "liters": u.l,
    "tonnes": u.t, "tonne": u.t, "kgs": u.kg, "hectare": 1e4 * u.m**2, "hectares": 1e4 * u.m**2,
    "dobson": 4.4615e-4 * u.mol / u.m**2, "DU": 4.4615e-4 * u.mol / u.m**2,
    # capitals of old FITS files, where they can mean one thing only
    "M/S": u.m / u.s, "KM/S": u.km / u.s, "HZ": u.Hz, "KHZ": u.kHz, "MHZ": u.MHz, "GHZ": u.GHz, "JY": u.Jy,
    "BEAM": u.beam, "JY/BEAM": u.Jy / u.beam, "RAD": u.rad, "PIXEL": u.pix, "PIXELS": u.pix, "SEC": u.s,
}  # fmt: skip
TEMPERATURES = {"C": u.deg_C, "F": imperial.deg_F}
UNCLEAR = {"month", "months", "mon", "gpm", "PT", "kt"}
PREFIXES = ("", "yotta", "zetta", "exa", "peta", "tera", "giga", "mega", "kilo", "hecto", "deca", "deci", "centi",
             "milli", "micro", "nano", "pico", "femto", "atto")  # fmt: skip
LONG = {
    "meter": "m", "metre": "m", "gram": "g", "second": "s", "kelvin": "K", "jansky": "Jy", "angstrom": "Angstrom",
    "hertz": "Hz", "watt": "W", "joule": "J", "pascal": "Pa", "newton": "N", "volt": "V", "ampere": "A", "mole": "mol",
    "electron_volt": "eV", "bar": "bar", "liter": "l", "litre": "l", "radian": "rad", "arcsecond": "arcsec",
    "arcminute": "arcmin", "tesla": "T", "gauss": "G", "lumen": "lm", "candela": "cd", "count": "ct", "erg": "erg",
    "minute": "min", "hour": "h", "parsec": "pc", "pixel": "pix", "year": "yr", "sievert": "Sv", "coulomb": "C",
    "farad": "F", "ohm": "Ohm", "siemens": "S", "henry": "H", "weber": "Wb", "degree": "deg", "day": "d",
    "barn": "barn",
}  # fmt: skip
SHORT = dict(zip(PREFIXES, ("", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f",
                              "a"), strict=True))  # fmt: skip

# How bases are written so that UDUNITS and astropy read them; never "days", which xarray takes for a duration.
WRITTEN = {
    "deg_C": "degC", "deg_F": "degF", "deg": "degree", "ct": "count", "pix": "pixel", "AA": "Angstrom", "micron": "um",
    "l": "litre", "kn": "knot", "mi": "mile", "yd": "yard",
}  # fmt: skip
