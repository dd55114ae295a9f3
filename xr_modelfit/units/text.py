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
_POWER = re.compile(
    rf"\s*(?:\*\*|\^)\s*(?:(?P<plain>{_DECIMAL})|\(\s*(?P<inner>{_DECIMAL}(?:\s*/\s*\d{{1,3}})?)\s*\))"
    r"|(?P<attached>[+-]?\d{1,3})(?!\.?\d)|\((?P<fraction>[+-]?\d{1,3}(?:/\d{1,3})?)\)"
)
_BETWEEN = re.compile(r"\s*(?P<over>/|(?<!\w)per(?!\w))\s*|\s*(?:\*(?!\*)|[·⋅]|\.(?!\d))\s*|\s+")
_OF_TEMPERATURE = re.compile(r"\b(deg|degs|degree|degrees) +(C|F)\b(?![\d^*(+-])")
_TIMEDELTAS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")  # to xarray
_NAMED_DEGREE = re.compile(r"\b(?:deg|degs|degree|degrees) +(celsius|fahrenheit)\b", re.IGNORECASE)


def parse_unit(text: object, *, temperature: bool = False) -> UnitBase:
    """The unit that a string means.

    Parameters
    ----------
    text : str
        As ``attrs["units"]`` has it. A unit of astropy is returned as it is; of anything else
        ``str(text)`` is read.
    temperature : bool
        What bears the string is a temperature: ``C`` and ``F`` are degrees.

    Returns
    -------
    astropy.units.UnitBase

    Raises
    ------
    UnknownUnitError
        The string is no unit that is known, or could be two.

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
    return _Reader(plain, text).read()


class _Reader:
    """Takes a string apart by the grammar of UDUNITS-2."""

    def __init__(self, plain: str, text: str) -> None:
        self.plain, self.text, self.at = plain, text, 0

    def read(self) -> tuple[Fraction, Factors]:
        if not self.plain:
            return Fraction(1), []
        found = self._product()
        if self.at != len(self.plain):
            raise self._fault()
        return found

    def _fault(self) -> UnknownUnitError:
        return UnknownUnitError(f"{self.text!r} cannot be read as a unit.")

    def _product(self) -> tuple[Fraction, Factors]:
        scale, factors = Fraction(1), Factors()
        between = _BETWEEN.match(self.plain, self.at)  # a slash in front is one over what follows
        if between is not None and not between["over"]:
            raise self._fault()
        while True:
            self.at = self.at if between is None else between.end()
            sign = -1 if between is not None and between["over"] else 1
            one, of_one = self._factor()
            scale *= one**sign
            factors += [(word, sign * power) for word, power in of_one]
            between = _BETWEEN.match(self.plain, self.at)
            rest = self.plain[self.at :]
            if between is None and not (self.plain[self.at - 1].isdigit() and re.match(_WORD, rest)):  # m2s-1, 1e-3m
                return scale, factors
            if between is not None and rest[between.end() - self.at :].startswith(")"):
                return scale, factors

    def _factor(self) -> tuple[Fraction, Factors]:
        atom = _ATOM.match(self.plain, self.at)
        if atom is None:
            raise self._fault()
        self.at = atom.end()
        if atom["number"]:
            scale, factors = Fraction(atom["number"]), Factors()
        elif atom["word"]:
            if atom["word"] in LOGARITHMS and self.plain[self.at :].lstrip().startswith("("):
                raise self._fault()  # dex(cm s-2) is no product
            scale, factors = Fraction(1), [(atom["word"], Fraction(1))]
        else:
            scale, factors = self._product()
            closing = re.compile(r"\s*\)").match(self.plain, self.at)
            if closing is None:
                raise self._fault()
            self.at = closing.end()
        power = self._power(atom["number"])
        return self._raised(scale, power), [(word, p * power) for word, p in factors]

    def _power(self, number: str | None) -> Fraction:
        found = _POWER.match(self.plain, self.at)
        if found is None or (number and found["fraction"]):
            return Fraction(1)
        if number and found["attached"] and not (number == "10" and found["attached"][0] in "+-"):
            raise self._fault()  # 10-20 is a power, by FITS and UDUNITS
        self.at = found.end()
        if found["plain"] and re.match(r"\s*/\s*\d", self.plain[self.at :]):
            raise self._fault()  # m**1/2
        try:
            written = found["plain"] or found["inner"] or found["attached"] or found["fraction"]
            top, _, bottom = written.partition("/")
            return (Fraction(top.strip()) / Fraction(bottom.strip() or 1)).limit_denominator(1000)
        except ZeroDivisionError:
            raise self._fault() from None

    def _raised(self, scale: Fraction, power: Fraction) -> Fraction:
        try:
            raised = scale ** int(power) if power.denominator == 1 else Fraction(float(scale) ** float(power))
        except (OverflowError, ZeroDivisionError):
            raise self._fault() from None
        if not Fraction(10) ** -300 < raised < Fraction(10) ** 300:
            raise self._fault()
        return raised


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
    """A unit as a string that `parse_unit`, astropy and UDUNITS-2 read, each as far as it knows the unit.

    Parameters
    ----------
    unit : astropy.units.UnitBase
    spellings : mapping of UnitBase to str
        How units are to be spelled that are not to be written as here.

    Returns
    -------
    str
        Without a slash. Durations are not written as xarray takes them for timedeltas: ``d``.

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
        word = spelled.get(base) or word_for(base)
        if word is None:
            return write_unit(unit / base**power * base.represents**power, spelled)
        parts.append((word, Fraction(power).limit_denominator(1000)))
    return _joined(scale, sorted(parts))


def compose_text(factors: Sequence[tuple[str, Fraction | int]]) -> str:
    """The unit of a product of powers, in the words of its factors.

    Parameters
    ----------
    factors : sequence of (str, Fraction or int)
        Units, each with its power. A string that cannot be read stands in brackets.

    Returns
    -------
    str
        A factor that stands alone is returned as it is.

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
        number *= scale ** int(power) if power.denominator == 1 else Fraction(float(scale) ** float(power))
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
