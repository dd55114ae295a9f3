"""Units as text: read in the spellings of CF (UDUNITS-2), FITS, astropy and pint, written in one.

The grammar is that of UDUNITS-2. Factors are multiplied by a space, a dot or a star, and divided by a
slash or ``per``, from left to right: ``mm/day m-1`` is ``mm d-1 m-1``, and ``W/m2 sr`` is
``W m-2 sr``, where astropy has the bracket ``W/(m2 sr)``. Powers are ``m2``, ``m-2``, ``m^2``,
``m**2`` or, as in astropy only, ``m(1/2)``; ``m**1/2`` could be two things and is not read. Words are those of
`units.words`, and a unit is never guessed.

A string all in capitals that is no unit as it stands, or is one of counts per siemens (``ADU/S``), is
read as old FITS files have it, ``KM/S``, without words whose case would decide (``MHZ``, ``MM``).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.units.words import CAPITALS, LOGARITHMS, as_written, by_name, doubt, word_for

__all__ = ["UnknownUnitError", "compose_text", "parse_unit", "write_unit"]

Factors = list[tuple[str, Fraction]]


class UnknownUnitError(ValueError):
    """A string is no unit that is known, or could be two."""


_WORD = r"Δ?°[^\W\d]*|''|\u2032{1,2}|[%‰'\"]|[^\W\d]+"
_DECIMAL = r"[+-]?\d{1,3}(?:\.\d{1,20})?"
_ATOM = re.compile(rf"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{{1,3}})?)|(?P<word>{_WORD})|\(\s*")
_POWER = re.compile(  # but not m**1/2
    rf"\s*(?:\*\*|\^)\s*(?:(?P<plain>(?>{_DECIMAL}))(?!\s*/\s*\d)"
    rf"|\(\s*(?P<inner>{_DECIMAL}(?:\s*/\s*\d{{1,3}})?)\s*\))"
    r"|(?P<attached>[+-]?\d{1,3})(?!\.?\d)|\((?P<fraction>[+-]?\d{1,3}(?:/\d{1,3})?)\)"
)
_BETWEEN = re.compile(r"\s*(?P<over>/|(?<!\w)per(?!\w))\s*|\s*(?:\*(?!\*)|[·⋅]|\.(?!\d))\s*|\s++(?!\))")
_CLOSING = re.compile(r"\s*\)")
_OF_TEMPERATURE = re.compile(r"\b(deg|degs|degree|degrees) +(C|F)\b(?![\d^*(+-])")
_TIMEDELTAS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")  # to xarray
_NAMED_DEGREE = re.compile(r"\b(?:deg|degs|degree|degrees) +(celsius|fahrenheit)\b", re.IGNORECASE)


def parse_unit(text: object, *, temperature: bool = False) -> UnitBase:
    """The unit that a string such as ``attrs["units"]`` means; an astropy unit is returned as it is.

    ``temperature``: the variable is a temperature, so ``C`` and ``F`` are degrees.

    Raises
    ------
    UnknownUnitError
        The string is no known unit, or could mean two.

    Examples
    --------
    >>> parse_unit("W m-2") == parse_unit("watts per metre^2")
    True
    >>> parse_unit("C"), parse_unit("C", temperature=True)
    (Unit("C"), Unit("deg_C"))
    """
    if isinstance(text, u.UnrecognizedUnit):
        raise UnknownUnitError(f"{str(text)!r} is no unit that is known.")
    if isinstance(text, UnitBase):
        return text
    if text is None:
        raise TypeError("text is None; pass a string.")
    given = bytes(text).decode("utf-8", "replace") if isinstance(text, bytes | bytearray) else str(text)
    return _parsed(given, bool(temperature))


@lru_cache(maxsize=4096)
def _parsed(text: str, temperature: bool) -> UnitBase:
    scale, factors = _factors(text, temperature)
    units = _meanings([word for word, _ in factors], text, temperature)
    if scale == 1 and len(factors) == 1 and factors[0][1] == 1:
        return units[0]
    try:
        unit = u.CompositeUnit(float(scale), [], [])
        for one, (_, power) in zip(units, factors, strict=True):
            unit = unit * one ** (int(power) if power.denominator == 1 else power)
        scale_to_si = unit.decompose().scale
        if isinstance(scale_to_si, complex) or not 0 < abs(scale_to_si) < float("inf"):  # that of mag is negative
            raise OverflowError
    except (OverflowError, ZeroDivisionError, u.UnitsError, u.UnitTypeError) as error:
        raise UnknownUnitError(f"{text!r} is no unit that numbers can be in.") from error
    return unit


def _factors(text: str, temperature: bool = False) -> tuple[Fraction, Factors]:
    """The number and the words of a string, with their powers, whatever the words mean."""
    if len(text) > 255 or text.count("(") > 20:
        raise UnknownUnitError(f"{text!r} is too long for a unit.")
    plain = unicodedata.normalize("NFKC", text.replace("º", "°")).replace("\u2212", "-").strip()
    plain = _NAMED_DEGREE.sub(r"degree_\1", plain.replace("_per_", " per "))
    if (phrase := _OF_TEMPERATURE.search(plain)) is not None:
        if not temperature:
            raise UnknownUnitError(f"{text!r} is ambiguous: {phrase[0]!r} is a temperature or a product.")
        plain = _OF_TEMPERATURE.sub(r"degree_\2", plain)
    try:
        return _Parser(plain).parse()
    except (SyntaxError, ArithmeticError):
        raise UnknownUnitError(f"{text!r} cannot be read as a unit.") from None


class _Parser:
    """Recursive descent by the grammar of UDUNITS-2; raises SyntaxError or ArithmeticError."""

    def __init__(self, plain: str) -> None:
        self.plain, self.at = plain, 0

    def parse(self) -> tuple[Fraction, Factors]:
        found = self._product() if self.plain else (Fraction(1), [])
        if self.at != len(self.plain):
            raise SyntaxError
        return found

    def _next(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over a pattern, if it comes next."""
        found = pattern.match(self.plain, self.at)
        self.at = self.at if found is None else found.end()
        return found

    def _product(self) -> tuple[Fraction, Factors]:
        scale, factors = Fraction(1), Factors()
        between = self._next(_BETWEEN)  # a slash in front: one over what follows
        if between and not between["over"]:
            raise SyntaxError
        while True:
            sign = -1 if between and between["over"] else 1
            one, of_one = self._factor()
            scale *= one**sign
            factors += [(word, sign * power) for word, power in of_one]
            attached = self.plain[self.at - 1].isdigit() and re.match(_WORD, self.plain[self.at :])  # m2s-1, 1e-3m
            between = self._next(_BETWEEN)
            if not between and not attached:
                return scale, factors

    def _factor(self) -> tuple[Fraction, Factors]:
        atom = self._next(_ATOM)
        if atom is None:
            raise SyntaxError
        if atom["number"]:
            scale, factors = Fraction(atom["number"]), Factors()
        elif atom["word"]:
            if atom["word"] in LOGARITHMS and self.plain[self.at :].lstrip().startswith("("):
                raise SyntaxError  # dex(cm s-2) is no product
            scale, factors = Fraction(1), [(atom["word"], Fraction(1))]
        else:
            scale, factors = self._product()
            if not self._next(_CLOSING):
                raise SyntaxError
        power = self._power(atom["number"])
        scale = _raised(scale, power)
        if not Fraction(10) ** -300 < scale < Fraction(10) ** 300:
            raise OverflowError
        return scale, [(word, p * power) for word, p in factors]

    def _power(self, number: str | None) -> Fraction:
        found = _POWER.match(self.plain, self.at)
        of_number = (
            ("plain", "inner", "attached") if number == "10" else ("plain", "inner")
        )  # 10-20, by FITS and UDUNITS
        if found is None or (number and found.lastgroup not in of_number):
            return Fraction(1)
        self.at = found.end()
        top, _, bottom = found[found.lastgroup or 0].partition("/")
        return (Fraction(top) / Fraction(bottom or 1)).limit_denominator(1000)


def _raised(scale: Fraction, power: Fraction) -> Fraction:
    return scale ** int(power) if power.denominator == 1 else Fraction(float(scale) ** float(power))


def _meanings(words: Sequence[str], text: str, temperature: bool) -> list[UnitBase]:
    if _of_old_fits(words):
        words = [CAPITALS.get(word, word) for word in words]
    return [_meaning(word, text, temperature) for word in words]


def _of_old_fits(words: Sequence[str]) -> bool:
    """Whether a string is all in capitals, and no unit as it stands: ``KM/S``, or counts per siemens."""
    if any(c.islower() for word in words for c in word):
        return False
    return any(word in ("ADU", "DN") or as_written(word, False) is None for word in words)


def _meaning(word: str, text: str, temperature: bool) -> UnitBase:
    if (meanings := doubt(word)) is not None:
        raise UnknownUnitError(f"{text!r} is ambiguous: {word!r} may be {meanings}.")
    found = as_written(word, temperature) or by_name(word)
    if found is None:
        within = "" if word == text else f": {word!r} is not known"
        raise UnknownUnitError(f"{text!r} is no unit that is known{within}.")
    return found


def write_unit(unit: UnitBase, spellings: Mapping[UnitBase, str] | None = None) -> str:
    """A unit as a string that `parse_unit`, astropy and UDUNITS-2 read, if they know the unit.

    It has no slash. Days are written ``d``, since xarray decodes numbers in ``days`` as timedeltas. ``spellings``
    come before those of this package.

    Examples
    --------
    >>> from astropy import units as u
    >>> write_unit(u.Unit("1e-20 erg / (s cm2 Angstrom)")), write_unit(u.deg_C / u.day)
    ('1e-20 erg Angstrom-1 cm-2 s-1', 'degC d-1')
    """
    if not isinstance(unit, UnitBase) or isinstance(unit, u.UnrecognizedUnit) or isinstance(unit.scale, complex):
        return str(unit.to_string())
    spelled = dict(spellings or {})
    if unit in spelled:
        return spelled[unit]
    scale, parts = Fraction(unit.scale), []
    for base, power in zip(unit.bases, unit.powers, strict=True):
        word = spelled.get(base) or _readable(base, word_for(base), power)
        if word is None:
            return write_unit(unit / base**power * base.represents**power, spelled)
        parts.append((word, Fraction(power).limit_denominator(1000)))
    return _joined(scale, sorted(parts))


def _readable(base: u.NamedUnit, word: str | None, power: float) -> str | None:
    """The word, if a reader finds the unit by it; that of the user's alone is ``(360 d)`` below, None if it is long."""
    if word is None or isinstance(base, u.IrreducibleUnit):
        return word
    known = as_written(word, False) or by_name(word)
    if known is base or (known is not None and known == base):
        return word
    inner = base.represents
    if power > 0 or inner.scale != int(inner.scale) or list(inner.powers) != [1]:
        return None
    return f"({int(inner.scale)} {write_unit(inner.bases[0])})"


def compose_text(factors: Sequence[tuple[str, Fraction | int]]) -> str:
    """The unit of a product of powers, in the words of its factors; a unit that cannot be read stands in brackets.

    Examples
    --------
    >>> compose_text([("degC", 1), ("m", -1)]), compose_text([("mm/day", 1), ("d", 1)])
    ('degC m-1', 'mm')
    >>> compose_text([("K", 1), ("furlongs per foo", -1)])
    'K (furlongs per foo)-1'
    """
    used = [(text, Fraction(power)) for text, power in factors if power != 0]
    if len(used) == 1 and used[0][1] == 1:
        return used[0][0]
    number = Fraction(1)
    powers: dict[str, Fraction] = {}
    known: dict[str, UnitBase] = {}
    for text, power in used:
        scale, parts = _parts(text)
        number *= _raised(scale, power)
        for word, unit, inner in parts:
            same = next((w for w in powers if w == word or (unit is not None and known.get(w) == unit)), word)
            powers[same] = powers.get(same, Fraction(0)) + inner * power
            if unit is not None:
                known.setdefault(same, unit)
    left = [(word, power) for word, power in powers.items() if power != 0]
    if number == 1 and len(left) == 1 and left[0][1] == 1 and left[0][0] in _TIMEDELTAS:
        return write_unit(known[left[0][0]])
    return _joined(number, left)


def _parts(text: str) -> tuple[Fraction, list[tuple[str, UnitBase | None, Fraction]]]:
    """Number and words of a string, each with unit and power; one bracket where it cannot be read."""
    try:
        scale, factors = _factors(text)
        words = [word for word, _ in factors]
        units = _meanings(words, text, temperature=False)
        if not Fraction(10) ** -60 < scale < Fraction(10) ** 60:
            raise UnknownUnitError(text)
    except UnknownUnitError:
        return Fraction(1), [(text if _is_word(text) else f"({text})", None, Fraction(1))]
    if _of_old_fits(words):
        words = [write_unit(unit) for unit in units]  # capitals are read together only
    elif _is_word(text):
        words = [text]
    parts = [(word, unit, power) for word, unit, (_, power) in zip(words, units, factors, strict=True)]
    return scale, [part for part in parts if part[1] != u.dimensionless_unscaled]


def _is_word(text: str) -> bool:
    return re.fullmatch(_WORD, unicodedata.normalize("NFKC", text)) is not None


def _joined(number: Fraction, parts: Sequence[tuple[str, Fraction]]) -> str:
    """A product in one line: its number, then positive powers, then negative ones."""
    scale = float(number)
    written = [] if scale == 1 and parts else [str(int(scale)) if scale == int(scale) < 1e15 else repr(scale)]
    for word, power in sorted(parts, key=lambda part: part[1] < 0):
        shown = "" if power == 1 else str(power) if power.denominator == 1 else f"**({power})"
        written.append(word + shown)
    text = " ".join(written)
    unlike = re.sub(r"\(.*?\)", "", text)  # "degree C" would be a temperature
    return ".".join(written) if _OF_TEMPERATURE.search(unlike) or _NAMED_DEGREE.search(unlike) else text
