"""Strings of units: read in the spellings of CF, UDUNITS, FITS, astropy and pint, and written for all of them.

A string is split by a small grammar, that of UDUNITS: products by a space, a dot or a star,
quotients by a slash or "per", both from left to right, so that ``mm/day m-1`` is millimetres per
day and metre; powers as ``m2``, ``m-2``, ``m^2``, ``m**2`` or ``m(1/2)``; numbers as factors. Words are
looked up in the tables below, then in astropy, exactly as they are written, then without a plural
``s``. Nothing else is tried: a unit is never guessed.

Some words mean different things to different people:

=========  ==================  =============================================
word       here                elsewhere
=========  ==================  =============================================
``C``      coulomb; degree     degree Celsius in many files, coulomb by the standards
           Celsius on a
           temperature
``F``      farad; degree       the same
           Fahrenheit on a
           temperature
``a``      year (astropy)      are, 100 m2 (UDUNITS)
``year``   365.25 d (astropy)  365.2422 d (UDUNITS)
``A``      ampere              Angstrom in some spectra
``month``  not known           a twelfth of a year (UDUNITS)
=========  ==================  =============================================
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.unit_words import LONG, PREFIXES, SHORT, TEMPERATURES, UNCLEAR, WORDS, WRITTEN

__all__ = ["UnknownUnitError", "compose_text", "parse_unit", "write_unit"]

_ONE = u.dimensionless_unscaled


class UnknownUnitError(ValueError):
    """A string is no unit that is known."""


_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[^\W\d]+(?:_[^\W\d]+)*|%|‰|°[CFK]?|℃|\"|')"
    r"|(?P<power>\*\*|\^)"
    r"|(?P<sign>[+-])"
    r"|(?P<times>\*|\.|·|⋅)"
    r"|(?P<over>/)"
    r"|(?P<open>\()"
    r"|(?P<close>\))"
    r")"
)


def parse_unit(text: object, *, temperature: bool = False) -> UnitBase:
    """The unit that a string names.

    Parameters
    ----------
    text : str
        As in ``attrs["units"]``; a unit of astropy is returned as it is.
    temperature : bool
        It is the unit of a temperature: ``C`` and ``F`` are degrees.

    Returns
    -------
    astropy.units.UnitBase

    Raises
    ------
    UnknownUnitError
        The string is no unit that is known.

    Examples
    --------
    >>> parse_unit("W m-2")
    Unit("W / m2")
    """
    if isinstance(text, UnitBase):
        return text
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _parsed(str(text).strip(), temperature)


@lru_cache(maxsize=1024)
def _parsed(text: str, temperature: bool) -> UnitBase:
    if text in WORDS:
        return u.Unit(WORDS[text])
    try:
        return _Reader(text, temperature).whole()
    except (ValueError, TypeError, OverflowError, ZeroDivisionError, IndexError):
        raise UnknownUnitError(
            f"{text!r} is no unit that is known. Spell it like 'm s-1', 'km/s', 'degC' or 'W m-2'."
        ) from None


class _Reader:
    """Reads one string by the grammar of the module's docstring."""

    def __init__(self, text: str, temperature: bool) -> None:
        self.temperature = temperature
        self.tokens: list[tuple[str, str, bool]] = []
        at = 0
        text = text.replace("µ", "u").replace("μ", "u").replace("⁻", "-")
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(text)
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind) > at))
            at = found.end()
        self.at = 0

    def whole(self) -> UnitBase:
        """The unit of the whole string; none is a pure number."""
        if not self.tokens:
            return _ONE
        unit = self._product()
        if self.at < len(self.tokens):
            raise ValueError(self.tokens[self.at])
        return u.Unit(unit)

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _product(self) -> Any:
        unit = self._factor()
        while True:
            kind = self._peek()
            if kind == "over" or (kind == "word" and self.tokens[self.at][1] in ("per", "PER")):
                self._take()
                unit = unit / self._factor()
            elif kind == "times":
                self._take()
                unit = unit * self._factor()
            elif kind in ("word", "number", "open"):
                unit = unit * self._factor()
            else:
                return unit

    def _factor(self) -> Any:
        kind = self._peek()
        if kind == "open":
            self._take()
            unit = self._product()
            if self._peek() != "close":
                raise ValueError("unbalanced")
            self._take()
        elif kind == "number":
            number = self._take()
            unit = float(number) * _ONE
        elif kind == "word":
            unit = self._word(self._take())
        else:
            raise ValueError(kind)
        power = self._power(kind)
        return unit if power == 1 else unit**power

    def _power(self, of: str) -> Any:
        """The power of what was just read: ``2``, ``-1``, ``^2``, ``**-2``, ``(1/2)``; 1 without one."""
        kind = self._peek()
        explicit = kind == "power"
        if explicit:
            self._take()
        elif of == "number" or kind not in ("number", "sign") or self.tokens[self.at][2]:
            # after a space, a number is a factor; a number has a power by a sign for it alone
            return 1
        sign = 1
        if self._peek() == "sign":
            sign = -1 if self._take() == "-" else 1
        if self._peek() == "open" and explicit:
            self._take()
            sign = -sign if self._peek() == "sign" and self._take() == "-" else sign
            top = Fraction(self._number())
            bottom = Fraction(1)
            if self._peek() == "over":
                self._take()
                bottom = Fraction(self._number())
            if self._peek() != "close":
                raise ValueError("unbalanced")
            self._take()
            return sign * top / bottom
        return sign * Fraction(self._number())

    def _number(self) -> str:
        if self._peek() != "number":
            raise ValueError("a power is missing")
        return self._take()

    def _word(self, word: str) -> UnitBase:
        if self.temperature and word in TEMPERATURES:
            return TEMPERATURES[word]
        if word in UNCLEAR:
            raise ValueError(word)
        if word in WORDS:
            return u.Unit(WORDS[word])
        for name in (word, word[:-1] if word.endswith("s") and len(word) > 3 else word):
            if name in UNCLEAR:
                raise ValueError(word)
            found = _by_name(name)
            if found is not None:
                return found
        raise ValueError(word)


def _by_name(name: str) -> UnitBase | None:
    """A word of astropy, or a long name with its prefix as pint writes it."""
    lower = name[0].lower() + name[1:]
    for prefix in PREFIXES:
        rest = lower.removeprefix(prefix)
        if lower.startswith(prefix) and rest in LONG:
            return u.Unit(SHORT[prefix] + LONG[rest]) if prefix or rest != "angstrom" else u.AA
    try:
        return u.Unit(name, parse_strict="raise") if re.fullmatch(r"[^\W\d_][\w]*|\"|'", name) else None
    except (ValueError, TypeError):
        return None


def write_unit(unit: UnitBase, spellings: Mapping[UnitBase, str] | None = None) -> str:
    """A unit as UDUNITS, astropy and `parse_unit` read it: ``km s-1``.

    Parameters
    ----------
    unit : astropy.units.UnitBase
    spellings : mapping of unit to str, optional
        How a base is to be written.

    Returns
    -------
    str
        ``1`` for a pure number.

    Examples
    --------
    >>> from astropy import units as u
    >>> write_unit(u.km / u.s), write_unit(u.deg_C / u.m)
    ('km s-1', 'degC m-1')
    """
    unit = u.Unit(unit)
    if not hasattr(unit, "bases") or not hasattr(unit, "powers"):
        return str(unit.to_string())  # logarithmic ones
    spelled = {u.Unit(k): v for k, v in (spellings or {}).items()}
    parts = [] if unit.scale == 1 and unit.bases else [repr(float(unit.scale)).removesuffix(".0")]
    pairs = sorted(zip(unit.bases, unit.powers, strict=True), key=lambda pair: (pair[1] < 0,))
    for base, power in pairs:
        name = base.to_string()
        parts.append(_raised(spelled.get(base, WRITTEN.get(name, name)), Fraction(power).limit_denominator(60)))
    return " ".join(parts)


def _raised(word: str, power: Fraction) -> str:
    if power == 1:
        return word
    if power.denominator == 1:
        return f"{word}{power.numerator}"
    return f"{word}**({power.numerator}/{power.denominator})"


def compose_text(factors: Sequence[tuple[str, Any]]) -> str:
    """The unit of a product of units with powers, in the words of those who wrote them.

    Parameters
    ----------
    factors : sequence of (str, number)
        Strings of units and their powers.

    Returns
    -------
    str
        A single factor stays as it is; units that cannot be read are put in parentheses.

    Examples
    --------
    >>> compose_text([("degC", 1), ("m", -1)])
    'degC m-1'
    """
    powers: dict[str, Fraction] = {}
    for text, power in factors:
        powers[text] = powers.get(text, Fraction(0)) + Fraction(power)
    used = [(text, power) for text, power in powers.items() if power != 0]
    if not used:
        return "1"
    if len(used) == 1 and used[0][1] == 1:
        return used[0][0]
    units: list[UnitBase] = []
    spellings: dict[UnitBase, str] = {}
    for text, _ in used:
        try:
            unit = parse_unit(text)
        except UnknownUnitError:
            return " ".join(_raised(t if _is_word(t) else f"({t})", p) for t, p in used)
        if _is_word(text) and text not in _DURATIONS and getattr(unit, "scale", 1) == 1:
            spellings.setdefault(unit, text)
        units.append(unit)
    product = _ONE
    for unit, (_, power) in zip(units, used, strict=True):
        product = product * unit**power
    return write_unit(product, spellings)


_DURATIONS = {f"{name}s" for name in ("day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond")}


def _is_word(text: str) -> bool:
    return re.fullmatch(r"[^\W\d]+(?:_[^\W\d]+)*|%|°[CFK]?", text) is not None
