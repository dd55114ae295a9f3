"""Bits of data-quality arrays: what they are called, and which of them leave a sample usable.

A flag is a power of two, as lists of flags have it, not the number of its bit. Names come from the user, from cards
``MP_<NAME>`` with the number of the bit (LSST and others), or from a table ``DQ_DEF`` with the columns VALUE and NAME
(JWST).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from astropy.io import fits

from xr_modelfit.fits_io.reading import Reading
from xr_modelfit.messages import a, listed, suggestion

__all__ = ["Flags", "bits_of", "checked_names", "flag_cards", "names_in", "whole_flags"]

_CARD = "MP_"
_TABLE = "DQ_DEF"


def checked_names(names: Any) -> dict[str, int]:
    """Names of flags as the user gives them."""
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise TypeError(f"flag_names is {a(names)}; pass {{name: flag}}, as {{'SATURATED': 256}}.")
    return {str(name): _single(value, f"flag_names[{name!r}]") for name, value in names.items()}


def names_in(header: fits.Header, hdus: Sequence[Any] | None) -> dict[str, int]:
    """Names of flags in a header, or else in a table of definitions in the file."""
    cards = {key[len(_CARD) :]: header[key] for key in header if key.startswith(_CARD) and len(key) > len(_CARD)}
    found = {name: 2 ** int(n) for name, n in cards.items() if _is_integer(n) and 0 <= n < 64}
    if found or hdus is None:
        return found
    for hdu in hdus:
        known = isinstance(hdu, fits.BinTableHDU) and hdu.name == _TABLE
        if known and {"NAME", "VALUE"} <= {name.upper() for name in hdu.columns.names}:
            pairs = zip(hdu.data["NAME"], hdu.data["VALUE"], strict=True)
            return {str(name).strip(): int(v) for name, v in pairs if int(v).bit_count() == 1 and v > 0}
    return {}


def bits_of(ignored: Any, names: Mapping[str, int], shown: str) -> int:
    """The flags to ignore, numbers or names, as one number; one alone may be a sum. Messages say ``shown`` has them.

    Examples
    --------
    >>> bits_of(["SATURATED", 4], {"SATURATED": 256}, "DQ")
    260
    """
    if _is_integer(ignored):
        if not 0 <= ignored < 2**64:
            raise ValueError(f"ignore_bits is {ignored}; pass flags, which are powers of two, or a sum of them.")
        return int(ignored)
    if not isinstance(ignored, str) and (not isinstance(ignored, Sequence | set | frozenset | np.ndarray)):
        raise TypeError(f"ignore_bits is {a(ignored)}; pass flags or their names: ignore_bits=['SATURATED', 4].")
    total = 0
    for one in [ignored] if isinstance(ignored, str) else list(ignored):
        if isinstance(one, str):
            alike = [name for name in names if name.upper() == one.strip().upper()]
            if not alike:
                known = f"its flags are {listed(names)}" if names else "it does not tell what its flags are called"
                raise ValueError(
                    f"ignore_bits has {one!r}, and {shown} has no such flag: {known}.{suggestion(one, names)} Pass the "
                    "flag itself (a power of two), or name it: flag_names={name: flag}."
                )
            total |= names[alike[0]]
        else:
            total |= _single(one, "ignore_bits")
    return total


def _single(value: Any, what: str) -> int:
    if not _is_integer(value):
        raise TypeError(f"{what} has {a(value)}; a flag is a power of two, such as 1, 2, 4, 8.")
    if not 0 < value < 2**64 or int(value).bit_count() > 1:
        raise ValueError(
            f"{what} has {value}, which is no flag: flags are powers of two, 1, 2, 4, 8, ... That of the bit number n, "
            "counted from 0, is 2**n."
        )
    return int(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


@dataclass(frozen=True)
class Flags:
    """The flags of one image or column."""

    names: Mapping[str, int]
    ignored: int  # those that leave a sample usable
    dtype: np.dtype[Any]  # of the flags as they are read
    are_kept: bool  # the bits have names, or some are ignored: they get a variable of their own

    @classmethod
    def of(cls, reading: Reading, shown: str, header: fits.Header, hdus: Any, dtype: np.dtype[Any]) -> Flags:
        """Those that ``shown`` holds, of a header."""
        names = names_in(header, hdus) | dict(reading.flag_names)
        asked = reading.ignore_bits is not None
        if asked and dtype.kind not in "iu":
            raise TypeError(f"ignore_bits is given, but {shown} holds {dtype}, which has no bits. Leave it out.")
        ignored = bits_of(reading.ignore_bits, names, shown) if asked else 0
        return cls(names, ignored, dtype, dtype.kind in "iu" and (asked or bool(names)))

    def attrs(self) -> dict[str, Any]:
        """CF attrs of the flags: their masks, of the same type, and what they mean."""
        attrs: dict[str, Any] = {"long_name": "flags of the data"}
        own = self.dtype.newbyteorder("=")
        known = {name: value for name, value in self.names.items() if value < 2 ** (8 * own.itemsize)}
        if known:
            attrs["flag_masks"] = np.array(list(known.values()), dtype="u8").astype(own)
            attrs["flag_meanings"] = " ".join("_".join(name.split()) for name in known)
        return attrs

    def comment(self) -> dict[str, str]:
        """An attr that lists the ignored flags, if any."""
        flags = [2**n for n in range(64) if self.ignored >> n & 1]
        called = {value: f" ({name})" for name, value in self.names.items()}
        shown = ", ".join(f"{flag}{called.get(flag, '')}" for flag in flags)
        return {"comment": f"flags that are ignored: {shown}"} if flags else {}


def flag_cards(attrs: Mapping[str, Any]) -> dict[str, int]:
    """Header cards with the names of flags, from their CF attrs."""
    masks, meanings = attrs.get("flag_masks"), str(attrs.get("flag_meanings", "")).split()
    values = [] if masks is None else [int(value) % 2**64 for value in np.atleast_1d(masks)]
    if len(values) != len(meanings) or "flag_values" in attrs:
        return {}
    pairs = zip(meanings, values, strict=True)
    cards = {f"{_CARD}{name}".upper(): value.bit_length() - 1 for name, value in pairs if name.isascii()}
    return {key if len(key) <= 8 else f"HIERARCH {key}": bit for key, bit in cards.items()}


def whole_flags(values: np.ndarray, attrs: Mapping[str, Any]) -> tuple[np.ndarray, int | None]:
    """Flags and codes that a mask has made floats, as integers again, and the BLANK that stands for their NaN.

    Other numbers stay as they are, and so do codes that are no whole numbers, as averages of them.

    Examples
    --------
    >>> whole_flags(np.array([1.0, np.nan, -3.0]), {"flag_values": [1, -3]})
    (array([     1, -32768,     -3], dtype=int16), -32768)
    """
    if values.dtype.kind != "f" or not ("flag_values" in attrs or "flag_masks" in attrs):
        return values, None
    blank = np.isnan(values)
    known = values[~blank]
    if not np.array_equal(known, np.trunc(known)):
        return values, None
    largest = float(np.max(np.abs(known), initial=0))
    for kind in ("i2", "i4"):
        if largest < 2 ** (8 * np.dtype(kind).itemsize - 1):
            lowest = np.iinfo(kind).min
            return np.where(blank, lowest, values).astype(kind), int(lowest) if blank.any() else None
    return values, None
