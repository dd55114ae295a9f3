"""Strings of units: read in every spelling in use, written in one, never guessed.

The factors to SI in `MEANINGS` are UDUNITS-2's (2.2.28) where it knows the string, else those of the
standard or the manual that is named.
"""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.units import imperial
from hypothesis import assume, example, given
from hypothesis import strategies as st

from xr_modelfit.units.text import UnknownUnitError, compose_text, parse_unit, write_unit

ONE = u.dimensionless_unscaled
DEGREE = math.pi / 180
FLUX = u.kg / u.m / u.s**3  # of energy, per area, time and length

# string: factor to SI, dimension in SI
UDUNITS = {
    "m s-1": (1, u.m / u.s),
    "m.s-1": (1, u.m / u.s),
    "m/s": (1, u.m / u.s),
    "m s^-1": (1, u.m / u.s),
    "m·s-1": (1, u.m / u.s),
    "m per s": (1, u.m / u.s),
    "m /s": (1, u.m / u.s),
    "m (s-1)": (1, u.m / u.s),
    "metres per second": (1, u.m / u.s),
    "metres per second per day": (1 / 86400, u.m / u.s**2),
    "Meters": (1, u.m),
    "METERS": (1, u.m),
    "m/s/s": (1, u.m / u.s**2),
    "m^2/s^2": (1, u.m**2 / u.s**2),
    "m**2": (1, u.m**2),
    "m²": (1, u.m**2),
    "(m/s)2": (1, u.m**2 / u.s**2),
    "(m/s)^2": (1, u.m**2 / u.s**2),
    "W m-2": (1, u.kg / u.s**3),
    "W/m2 sr": (1, u.kg / u.s**3 * u.rad**2),  # from left to right
    "mm/day": (1e-3 / 86400, u.m / u.s),
    "mm/day m-1": (1e-3 / 86400, 1 / u.s),
    "kg/m2/s": (1, u.kg / u.m**2 / u.s),
    "kg m-2 s-1": (1, u.kg / u.m**2 / u.s),
    "km h-1": (1 / 3.6, u.m / u.s),
    "knot": (0.514444444444444, u.m / u.s),
    "knots": (0.514444444444444, u.m / u.s),
    "degC": (1, u.K),
    "degreesC": (1, u.K),
    "degree_Celsius": (1, u.K),
    "celsius": (1, u.K),
    "°C": (1, u.K),
    "℃": (1, u.K),
    "degC m-1": (1, u.K / u.m),
    "degF": (5 / 9, u.K),
    "degF d-1": (5 / 9 / 86400, u.K / u.s),
    "degK": (1, u.K),
    "kelvin": (1, u.K),
    "KELVIN": (1, u.K),
    "K km s-1": (1e3, u.K * u.m / u.s),
    "degree": (DEGREE, u.rad),
    "degrees": (DEGREE, u.rad),
    "degrees_north": (DEGREE, u.rad),
    "degrees_east": (DEGREE, u.rad),
    "degree_N": (DEGREE, u.rad),
    "degreesE": (DEGREE, u.rad),
    "degree_true": (DEGREE, u.rad),
    "arc_degree": (DEGREE, u.rad),
    "°": (DEGREE, u.rad),
    "'": (DEGREE / 60, u.rad),
    '"': (DEGREE / 3600, u.rad),
    "arcsec": (DEGREE / 3600, u.rad),
    "arcseconds": (DEGREE / 3600, u.rad),
    '"-1': (3600 / DEGREE, 1 / u.rad),
    "1": (1, ONE),
    "1e-3": (1e-3, ONE),
    "1.e-3": (1e-3, ONE),
    "1E-3": (1e-3, ONE),
    ".001": (1e-3, ONE),
    "%": (0.01, ONE),
    "%2": (1e-4, ONE),
    "percent": (0.01, ONE),
    "ppm": (1e-6, ONE),
    "ppmv": (1e-6, ONE),
    "ppb": (1e-9, ONE),
    "pptv": (1e-12, ONE),
    "m3 m-3": (1, ONE),
    "mol mol-1": (1, ONE),
    "g kg-1": (1e-3, ONE),
    "umol m-2 s-1": (1e-6, u.mol / u.m**2 / u.s),
    "dobson": (4.462e-4, u.mol / u.m**2),
    "DU": (4.462e-4, u.mol / u.m**2),
    "sverdrup": (1e6, u.m**3 / u.s),
    "Sv": (1, u.m**2 / u.s**2),
    "T": (1, u.kg / u.s**2 / u.A),
    "S": (1, u.kg**-1 * u.m**-2 * u.s**3 * u.A**2),
    "t": (1e3, u.kg),
    "hPa": (100, u.kg / u.m / u.s**2),
    "mbar": (100, u.kg / u.m / u.s**2),
    "millibars": (100, u.kg / u.m / u.s**2),
    "decibar": (1e4, u.kg / u.m / u.s**2),
    "atm": (101325, u.kg / u.m / u.s**2),
    "mmHg": (133.322387415, u.kg / u.m / u.s**2),
    "sec": (1, u.s),
    "secs": (1, u.s),
    "minutes": (60, u.s),
    "hr": (3600, u.s),
    "hours": (3600, u.s),
    "day-1": (1 / 86400, 1 / u.s),
    "days": (86400, u.s),
    "1/s": (1, 1 / u.s),
    "µm": (1e-6, u.m),
    "um": (1e-6, u.m),
    "micron": (1e-6, u.m),
    "microns": (1e-6, u.m),
    "Å": (1e-10, u.m),
    "angstrom": (1e-10, u.m),
    "hectares": (1e4, u.m**2),
    "feet": (0.3048, u.m),
    "ft s-1": (0.3048, u.m / u.s),
    "inch": (0.0254, u.m),
    "in": (0.0254, u.m),
    "mile": (1609.344, u.m),
    "nautical_mile": (1852, u.m),
    "lb": (0.45359237, u.kg),
    "10^-20 J": (1e-20, u.kg * u.m**2 / u.s**2),
    "10**-20 J": (1e-20, u.kg * u.m**2 / u.s**2),
    "10-7 J": (1e-7, u.kg * u.m**2 / u.s**2),
    "10⁻²⁰ J": (1e-20, u.kg * u.m**2 / u.s**2),
    "10+3": (1e3, ONE),
    "10^3 m3": (1e3, u.m**3),
    "1000 kg m-3": (1e3, u.kg / u.m**3),
    "2 m": (2, u.m),
    "m 2": (2, u.m),
    "3 2 m": (6, u.m),
    "10^-20 erg/s/cm^2/A": (1e-23, u.kg / u.s**3 / u.A),  # ampere
}
OTHERS = {
    "": (1, ONE),  # CF 3.1, "dimensionless"
    "psu": (1e-3, ONE),  # CF 3.1 on practical salinity
    "‰": (1e-3, ONE),
    "kg m⁻³": (1, u.kg / u.m**3),
    "m s\u22121": (1, u.m / u.s),  # with a minus sign
    "m(1/2)": (1, u.m**0.5),  # astropy writes it; UDUNITS reads 0.5 m
    "m^(1/2)": (1, u.m**0.5),
    "m**(1/2)": (1, u.m**0.5),
    "m ** 0.5": (1, u.m**0.5),  # pint
    "m2s-1": (1, u.m**2 / u.s),  # astropy
    "/s": (1, 1 / u.s),  # astropy
    "year": (31557600, u.s),  # Julian: IAU, FITS, astropy
    "m a-1": (1 / 31557600, u.m / u.s),  # FITS
    "Ma": (31557600e6, u.s),
    "mas": (DEGREE / 3.6e6, u.rad),
    "Jy/beam": (1e-26, u.kg / u.s**2 / u.beam),  # FITS 4.0, tables 3 to 5
    "Jy/BEAM": (1e-26, u.kg / u.s**2 / u.beam),
    "JY/BEAM": (1e-26, u.kg / u.s**2 / u.beam),
    "JY/BEAM.KM/S": (1e-23, u.kg / u.s**3 * u.m / u.beam),
    "KM/S": (1e3, u.m / u.s),
    "M/S": (1, u.m / u.s),
    "METERS/S": (1, u.m / u.s),
    "HZ": (1, 1 / u.s),
    "GHZ": (1e9, 1 / u.s),
    "10**-20 Angstrom-1 cm-2 erg s-1": (1e-13, FLUX),
    "10**(-20)*erg/s/cm**2/Angstrom": (1e-13, FLUX),
    "1e-20 erg s-1 cm-2 Angstrom-1": (1e-13, FLUX),
    "km s-1 Mpc-1": (1e3 / 3.0856775814913674e22, 1 / u.s),
    "counts": (1, u.ct),
    "count s-1": (1, u.ct / u.s),
    "ct": (1, u.ct),
    "electrons": (1, u.electron),
    "photons": (1, u.ph),
    "ADU": (1, u.adu),
    "DN": (1, u.DN),
    "mag": (1, u.mag),
    "nmi": (1852, u.m),
    "meter / second": (1, u.m / u.s),  # pint, str(unit)
    "kilogram * meter ** 2 / second ** 2": (1, u.kg * u.m**2 / u.s**2),
    "1 / second": (1, 1 / u.s),
    "millikelvin": (1e-3, u.K),
    "megajansky / steradian": (1e-20, u.kg / u.s**2 / u.rad**2),
    "jansky": (1e-26, u.kg / u.s**2),
    "electron_volt": (1.602176634e-19, u.kg * u.m**2 / u.s**2),
    "kilometer_per_hour": (1 / 3.6, u.m / u.s),
    "dimensionless": (1, ONE),
    "delta_degree_Celsius": (1, u.K),
    "delta_degree_Fahrenheit / meter": (5 / 9, u.K / u.m),
    "deg Celsius": (1, u.K),
    "degrees Celsius per day": (1 / 86400, u.K / u.s),
}
MEANINGS = UDUNITS | OTHERS

UNKNOWN = [
    *("gpm", "furlongs per foo", "level", "K @ 273.15", "days since 2000-01-01", "degrees_west", "degrees_south"),
    *(
        "m/",
        "/",
        "(m s",
        "m s)",
        "()",
        "m//s",
        "m..s",
        "m**",
        "m^^2",
        "m 's'x",
        "m-",
        "mag(1/2)",
        "-1 m",
        "m0.5",
        "m2.5",
        "m**1/2",
    ),
    *("0", "0 m", "1e999", "10**999", "1e200 1e200", "m^(1/0)", "m1234", "Mpc**99", "(" * 100, "m" * 300),
    *("mag(AB)", "dex(cm s-2)", "dB (mW)", "sqrt(m)", "H2O", "ppmv CO2", "\x00", "NaN", "inf", "nan", "e", "True"),
    # could be two things
    *(
        "month",
        "months",
        "R",
        "kR",
        "b",
        "mb",
        "Mb",
        "kt",
        "cal",
        "kcal",
        "oz",
        "ppt",
        "k",
        "mil",
        "ua",
        "cps",
        "mph",
        "MS",
    ),
    *("MHZ", "MJY/SR", "MM", "deg C", "degrees F", "NM"),
]


def same(unit: u.UnitBase, other: u.UnitBase) -> bool:
    return unit == other or (unit.is_equivalent(other) and math.isclose(unit.to(other), 1, rel_tol=1e-12))


def as_kelvins(unit: u.UnitBase) -> u.UnitBase:
    """A unit without the zero points of its degrees."""
    out = u.CompositeUnit(unit.decompose().scale, [], [])
    for base, power in zip(unit.decompose().bases, unit.decompose().powers, strict=True):
        out *= {"deg_C": u.K, "deg_F": 5 / 9 * u.K}.get(base.name, base) ** power
    return u.Unit(out)


@pytest.mark.parametrize("text", MEANINGS)
def test_a_string_means_what_its_authority_says(text: str) -> None:
    scale, dimension = MEANINGS[text]
    assert as_kelvins(parse_unit(text)).to(dimension) == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    with pytest.raises(UnknownUnitError, match=re.escape(repr(text))):
        parse_unit(text)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("C", u.deg_C), ("F", imperial.deg_F), ("deg C", u.deg_C), ("degrees C", u.deg_C), ("degree F", imperial.deg_F)],
)
@pytest.mark.parametrize("per", ["", " d-1", "/d", " / d", " per d"])
def test_on_a_temperature_c_and_f_are_degrees(text: str, unit: u.UnitBase, per: str) -> None:
    assert parse_unit(text + per, temperature=True) == (unit / u.d if per else unit)


def test_elsewhere_c_and_f_are_coulomb_and_farad() -> None:
    assert parse_unit("C") == u.C
    assert parse_unit("F m-1") == u.F / u.m
    assert parse_unit("kg C m-2") == u.kg * u.C / u.m**2
    assert parse_unit("C/DAY", temperature=True) == u.deg_C / u.d


def test_degrees_keep_their_zero_point() -> None:
    assert parse_unit("degC") is u.deg_C
    assert parse_unit("degF") is imperial.deg_F
    assert parse_unit("delta_degree_Celsius") is u.K


@pytest.mark.parametrize("unit", [u.m, u.deg_C, u.one, u.Unit("1e-3 Jy / beam"), imperial.cal])
def test_a_unit_of_astropy_is_returned_as_it_is(unit: u.UnitBase) -> None:
    assert parse_unit(unit) is unit


def test_other_objects_are_read_as_they_are_printed() -> None:
    class Printed:
        def __str__(self) -> str:
            return "meter / second"

    assert parse_unit(Printed()) == parse_unit(b"m/s") == parse_unit(np.str_("m s-1")) == u.m / u.s
    assert parse_unit("µm".encode()) == u.um
    assert parse_unit(1) == parse_unit(1.0) == parse_unit(np.float32(1)) == ONE
    assert parse_unit(1e-3) == u.Unit(1e-3)
    for unreadable in (u.mag("AB"), u.Unit("furlongs", parse_strict="silent"), True, [1]):
        with pytest.raises(UnknownUnitError):
            parse_unit(unreadable)
    with pytest.raises(TypeError, match="None"):
        parse_unit(None)


def test_imperial_units_are_read_without_being_enabled() -> None:
    assert parse_unit("ft") == imperial.ft
    with pytest.raises(ValueError, match="ft"):
        u.Unit("ft")


def test_units_that_the_user_enabled_are_read() -> None:
    with pytest.raises(UnknownUnitError):
        parse_unit("smoot")
    with u.add_enabled_units([u.def_unit("smoot", 1.7018 * u.m)]):
        assert parse_unit("smoot s-1").to(u.m / u.s) == pytest.approx(1.7018)


def known_units() -> list[Any]:
    own = [unit for unit in u.get_current_unit_registry().all_units if not isinstance(unit, u.PrefixUnit)]
    return sorted({*own, *(x for x in vars(imperial).values() if isinstance(x, u.NamedUnit))}, key=lambda x: x.name)


@pytest.mark.parametrize("unit", known_units(), ids=lambda unit: unit.name)
def test_all_that_astropy_knows_is_written_and_read_back(unit: u.UnitBase) -> None:
    for one in (unit, unit / u.d, unit**2, 1e-20 * unit / u.m):
        assert same(parse_unit(write_unit(u.Unit(one))), u.Unit(one))


@pytest.mark.parametrize("name", ["km", "mJy", "kR", "Mb", "GHz", "ua", "kyr", "Ma", "uas", "hPa", "kct", "mph", "MS"])
def test_so_are_those_with_a_prefix(name: str) -> None:
    assert same(parse_unit(write_unit(u.Unit(name))), u.Unit(name))


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (u.km / u.s, "km s-1"),
        (u.K * u.km / u.s, "K km s-1"),
        (u.Jy / u.beam, "Jy beam-1"),
        (u.AA, "Angstrom"),
        (u.deg_C, "degC"),
        (u.deg_C / u.m, "degC m-1"),
        (imperial.deg_F, "degF"),
        (u.K / u.d, "K d-1"),
        (u.one, "1"),
        (u.Unit(1e-3), "0.001"),
        (u.Unit(1000 * u.m), "1000 m"),
        (u.Unit("1e-20 erg / (s cm2 Angstrom)"), "1e-20 erg Angstrom-1 cm-2 s-1"),
        (u.deg, "degree"),
        (u.percent, "%"),
        (u.ct / u.s, "count s-1"),
        (u.pix, "pixel"),
        (u.day, "d"),
        (u.hour, "h"),
        (u.minute, "min"),
        (u.second, "s"),
        (u.m**0.5, "m**(1/2)"),
        (u.m**-1.5, "m**(-3/2)"),
        (imperial.cal, "4.184 J"),
        (u.R, "Rayleigh"),
        (u.mag("AB"), "mag(AB)"),
        (u.Unit("furlongs", parse_strict="silent"), "furlongs"),
    ],
    ids=str,
)
def test_how_a_unit_is_written(unit: u.UnitBase, text: str) -> None:
    assert write_unit(unit) == text


def test_a_spelling_can_be_given() -> None:
    spellings = {u.deg_C: "celsius", u.d: "day", u.m / u.s: "m/s"}
    assert write_unit(u.deg_C / u.d, spellings) == "celsius day-1"
    assert write_unit(u.m / u.s, spellings) == "m/s"
    assert write_unit(u.K, spellings) == "K"


@pytest.mark.parametrize(
    ("factors", "text"),
    [
        ([], "1"),
        ([("K", 1)], "K"),
        ([("degrees_north", 1)], "degrees_north"),
        ([("no unit at all", 1)], "no unit at all"),
        ([("m/s", Fraction(1))], "m/s"),
        ([("degC", 1), ("m", 0)], "degC"),
        ([("degC", 0)], "1"),
        ([("degC", 1), ("m", -1)], "degC m-1"),
        ([("mm/day", 1), ("m", -1)], "mm day-1 m-1"),
        ([("m", 1), ("m", -1)], "1"),
        ([("m", 1), ("metre", -1)], "1"),
        ([("m", 2)], "m2"),
        ([("m", 1), ("km", 1)], "m km"),
        ([("m", -1), ("K", 1)], "K m-1"),
        ([("m", Fraction(1, 2))], "m**(1/2)"),
        ([("m s-1", 2), ("s", 1)], "m2 s-1"),
        ([("furlongs per foo", 1), ("m", -1)], "(furlongs per foo) m-1"),
        ([("K", 1), ("furlongs per foo", -1)], "K (furlongs per foo)-1"),
        ([("furlongs per foo", 1), ("furlongs per foo", -1)], "1"),
        ([("widgets", 1), ("d", -1)], "widgets d-1"),
        ([("foo2", 1), ("d", -1)], "(foo2) d-1"),
        ([("C", 1), ("d", -1)], "C d-1"),
        ([("deg C", 1), ("d", -1)], "(deg C) d-1"),
        ([("degree", 1), ("C", 1)], "degree.C"),  # not a temperature
        ([("%", 1), ("d", -1)], "% d-1"),
        ([("°C", 1), ("µm", -1)], "°C µm-1"),
        ([("counts", 1), ("s", -1)], "counts s-1"),
        ([("1", 1), ("d", -1)], "d-1"),
        ([("", 1), ("d", -1)], "d-1"),
        ([("dimensionless", 1), ("d", -1)], "d-1"),
        ([("1e-3", 1), ("d", -1)], "0.001 d-1"),
        ([("10**-20 erg/s/cm**2/Angstrom", 1), ("Angstrom", 1)], "1e-20 erg s-1 cm-2"),
        ([("KM/S", 1), ("S", -1)], "km s-1 S-1"),
        ([("mm", 1), ("mm/days", -1)], "d"),  # xarray would read a variable in "days" as timedeltas
    ],
    ids=str,
)
def test_a_product_is_written_in_the_words_of_its_factors(factors: list[tuple[str, int]], text: str) -> None:
    assert compose_text(factors) == text


def test_a_product_that_says_degree_c_is_read_as_a_product() -> None:
    for temperature, word in ((False, u.C), (True, u.deg_C)):
        text = compose_text([("degree", 1), ("C", 1)])
        assert parse_unit(text, temperature=temperature) == u.deg * word
    assert parse_unit(compose_text([("deg C", 1), ("d", -1)]), temperature=True) == u.deg_C / u.d


WORDS = {
    **{"m": u.m, "km": u.km, "metres": u.m, "s": u.s, "day": u.d, "K": u.K, "degC": u.deg_C, "Jy": u.Jy, "µm": u.um},
    **{"degrees": u.deg, "counts": u.ct, "beam": u.beam, "ft": imperial.ft, "%": u.percent, "erg": u.erg, "C": u.C},
    **{"Angstrom": u.AA, "degree_true": u.deg, "hPa": u.hPa, "kelvin": u.K, "ppm": u.Unit(1e-6), "knots": imperial.kn},
}
PLAIN = sorted({"m", "km", "s", "d", "K", "Jy", "beam", "erg", "Angstrom", "hPa", "C", "mol", "MHz", "sr"})
POWERS = st.integers(-4, 4).filter(bool)
SPELLINGS = {
    "CF": (" ", "{word}{power}"),
    "dots": (".", "{word}{power}"),
    "hats": (" ", "{word}^{power}"),
    "stars": ("*", "{word}**{power}"),
    "pint": (" * ", "{word} ** {power}"),
    "brackets": (" ", "({word})^({power})"),
}


def product(parts: list[tuple[str, int]]) -> u.UnitBase:
    unit = ONE
    for word, power in parts:
        unit = unit * WORDS[word] ** power
    return unit


@given(st.lists(st.tuples(st.sampled_from(sorted(WORDS)), POWERS), min_size=1, max_size=4))
def test_all_spellings_of_a_product_mean_the_same(parts: list[tuple[str, int]]) -> None:
    assume(abs(sum(p * np.log10(WORDS[w].decompose().scale) for w, p in parts)) < 290)  # else no number is in it
    expected = product(parts)
    for between, one in SPELLINGS.values():
        text = between.join(one.format(word=word, power=power) for word, power in parts)
        assert same(parse_unit(text), expected), text


@given(
    st.sampled_from(sorted(WORDS)),
    st.lists(
        st.tuples(st.sampled_from(["/", " / ", " per ", " ", "*", "."]), st.sampled_from(sorted(WORDS))), max_size=4
    ),
)
def test_slashes_are_read_from_left_to_right(first: str, rest: list[tuple[str, str]]) -> None:
    parts = [(first, 1), *((word, -1 if sign.strip() in ("/", "per") else 1) for sign, word in rest)]
    text = first + "".join(sign + word for sign, word in rest)
    assume("degrees C" not in text)
    assert same(parse_unit(text), product(parts)), text


def product_in_range(factors: list[u.UnitBase]) -> u.UnitBase:
    """Their product, if a number stands for it in SI units; for Jy-12 there is none, and it is refused."""
    unit = ONE
    try:
        for one in factors:
            unit = unit * one
        scale = unit.decompose().scale
    except OverflowError:
        scale = 0.0
    assume(np.isfinite(scale) and scale > 0)
    return unit


@given(
    st.floats(1e-30, 1e30),
    st.lists(st.tuples(st.sampled_from(PLAIN), POWERS), max_size=4),
)
@example(1.0, [("Jy", -4), ("Jy", -4), ("Jy", -3)])
@example(1.0, [("Jy", -4), ("Jy", -4), ("Jy", -4), ("Angstrom", 1)])
def test_what_is_written_means_the_same_to_astropy(scale: float, parts: list[tuple[str, int]]) -> None:
    unit = product_in_range([u.CompositeUnit(scale, [], []), *(u.Unit(word) ** power for word, power in parts)])
    text = write_unit(unit)
    assert "/" not in text
    assert same(parse_unit(text), unit)
    assert same(u.Unit(text), unit)


@example([("Jy", -4), ("Jy", -4), ("Jy", -4)])
@given(st.lists(st.tuples(st.sampled_from([*sorted(WORDS), "mm/day", "W m-2", "KM/S", "1e-3 m"]), POWERS), max_size=4))
def test_a_product_of_strings_means_the_product(factors: list[tuple[str, int]]) -> None:
    expected = product_in_range([parse_unit(text) ** power for text, power in factors])
    assert same(parse_unit(compose_text(factors)), expected)


@given(st.one_of(st.text(), st.text("mKsCdeg%°/*^.()-+0123456789 ", max_size=20)))
def test_any_text_is_a_unit_or_unknown(text: str) -> None:
    for temperature in (False, True):
        try:
            unit = parse_unit(text, temperature=temperature)
        except UnknownUnitError:
            continue
        assert isinstance(unit, u.UnitBase)
        assert same(parse_unit(write_unit(unit)), unit)


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(-3, 3)), max_size=3))
def test_any_strings_can_be_composed(factors: list[tuple[str, int]]) -> None:
    assert isinstance(compose_text(factors), str)


def test_units_are_read_on_threads() -> None:
    texts = [*(f"{n} {text}" for n in range(1, 9) for text in MEANINGS if not text.startswith("/")), *UNKNOWN] * 4

    def read(text: str) -> str:
        try:
            return str(write_unit(parse_unit(text)))
        except UnknownUnitError as error:
            return str(error)

    alone = [read(text) for text in texts]
    parse_unit.__globals__["_parsed"].cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, texts)) == alone


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (u.K / u.def_unit("yr365", 365 * u.d), "K (365 d)-1"),
        (u.def_unit("yr365", 365 * u.d), "365 d"),
        (u.m / u.def_unit("yr365", 365 * u.d) ** 2, "m (365 d)-2"),
        (u.K / u.def_unit("decade", 10 * u.yr), "K decade-1"),  # known by this name
        (u.K / u.def_unit("half", 0.5 * u.d), "2 K d-1"),
        (u.K / u.def_unit("metre_second", u.m * u.s), "K m-1 s-1"),
    ],
)
def test_units_that_only_their_author_knows(unit: u.UnitBase, text: str) -> None:
    """A file is read by others: a word that nobody knows is replaced by what it stands for."""
    assert write_unit(unit) == text
    assert parse_unit(text) == unit
