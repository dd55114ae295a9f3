"""The columns of a binary table, as its header tells them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Column", "columns_of"]

_FORMAT = re.compile(r"(\d*)([LBIJKEDA])(?![A-Z])")


@dataclass(frozen=True)
class Column:
    """A column of a table, as its header tells.

    Parameters
    ----------
    name, unit, utype, ucd : str
    kind : str
        The letter of its format, empty where it is not read: bits, complex numbers, rows of various lengths.
    shape : tuple of int
        Of one row.
    stored : dtype
        Of one number, as it is in the file.
    offset : int
        In bytes, in a row.
    scale, zero : float
    null : int or None
    """

    name: str
    unit: str
    utype: str
    ucd: str
    kind: str
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    offset: int
    scale: float
    zero: float
    null: int | None

    @property
    def key(self) -> str:
        """The name in capitals, its words between underscores."""
        return re.sub(r"[^A-Z0-9]+", "_", self.name.upper()).strip("_")

    @property
    def is_number(self) -> bool:
        return bool(self.kind) and self.kind not in "AL"

    @property
    def shown(self) -> str:
        """For messages: ``'FLUX' [4000] (Jy)``."""
        size = f" {list(self.shape)}" if self.shape else ""
        kind = {"A": " text", "": " of a kind that is not read"}.get(self.kind, "")
        return f"{self.name!r}{size}{kind}{f' ({self.unit})' if self.unit else ''}"


def columns_of(hdu: Any) -> list[Column]:
    """All columns of a binary table."""
    header, layout = hdu.header, hdu.columns.dtype
    found = []
    for number, column in enumerate(hdu.columns, 1):
        match = _FORMAT.fullmatch(str(column.format).strip())
        kind = match[2] if match is not None else ""
        base, offset = layout.fields[column.name][:2]
        stored, shape = (base, ()) if base.subdtype is None else base.subdtype
        unit, utype, ucd = (str(header.get(f"{key}{number}", "")).strip() for key in ("TUNIT", "TUTYP", "TUCD"))
        scale, zero, null = (header.get(f"{key}{number}") for key in ("TSCAL", "TZERO", "TNULL"))
        found.append(
            Column(
                name=str(column.name),
                unit=unit,
                utype=utype,
                ucd=ucd.lower(),
                kind=kind,
                shape=_without_ones(shape),
                stored=stored.newbyteorder(">"),
                offset=int(offset),
                scale=float(1 if scale is None else scale),
                zero=0 if zero is None else zero,
                null=null,
            )
        )
    return found


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in shape if n != 1)
