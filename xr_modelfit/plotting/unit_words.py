"""Long units as they are printed: ``10**(-17)*erg/s/cm**2/Angstrom`` with raised powers, and on lines that fit."""

from __future__ import annotations

import re

from xr_modelfit.units.text import UnknownUnitError, parse_unit, write_unit

__all__ = ["on_lines", "shown_length", "typeset"]

_TIMES = "\u00d7"
_LONG = 16  # characters: a shorter unit stays as it is written
_RAISED = re.compile(r"\$\^\{([^}]*)\}\$")
_TEN = re.compile(r"(?<![\w.])(?:1(?:\.0*)?|(\d+\.?\d*))[eE]\+?(-?\d+)(?!\w)")
_POWER = re.compile(r"(?<=[^\W\d_])(?:(-?\d+)|\*\*\(([^()]*)\)|\*\*(-?[\d.]+))(?=\s|$)")


def typeset(units: str) -> str:
    """A long unit as one product with raised powers, for matplotlib; others, and those not known, stay.

    Examples
    --------
    >>> typeset("10**(-17)*erg/s/cm**2/Angstrom")
    '10$^{-17}$ erg Angstrom$^{-1}$ cm$^{-2}$ s$^{-1}$'
    >>> typeset("km s-1"), typeset("days since 2000-01-01")
    ('km s-1', 'days since 2000-01-01')
    """
    if len(units) < _LONG:
        return units
    try:
        product = write_unit(parse_unit(units))
    except (UnknownUnitError, ValueError):
        return units
    if sorted(product.split()) == sorted(units.split()):  # one product already: its order stays
        product = units
    product = _TEN.sub(lambda m: (f"{m[1]} {_TIMES} " if m[1] else "") + f"10$^{{{int(m[2])}}}$", product)
    return _POWER.sub(lambda m: f"$^{{{next(filter(None, m.groups()))}}}$", product)


def shown_length(text: str) -> int:
    """Characters as they are seen: a raised power without what raises it."""
    return len(_RAISED.sub(r"\1", text))


def on_lines(text: str, width: int) -> str:
    """Text on lines of at most a width, as it is seen, where it has spaces; also within a unit."""
    lines: list[str] = []
    for word in text.split():
        if lines and shown_length(lines[-1]) + 1 + shown_length(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
