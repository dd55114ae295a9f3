"""The columns of a binary table: what the header says about them, and their values, read lazily."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from xr_modelfit.fits_io.file_arrays import Scale, StoredArray, is_plain, transformed, transformed_dtype
from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.fits_io.headers import card_text

__all__ = ["Column", "column_numbers", "columns_of"]

_FORMAT = re.compile(r"(\d*)([LBIJKEDA])(?![A-Z])")


@dataclass(frozen=True)
class Column:
    """A column of a table, as its header tells."""

    name: str
    unit: str
    utype: str
    ucd: str
    kind: str  # letter of its format; empty if unsupported: bits, complex numbers, rows of variable length
    shape: tuple[int, ...]  # of one row
    offset: int  # in bytes, in a row
    scale: Scale

    @property
    def key(self) -> str:
        """The name in capitals, its words between underscores."""
        return re.sub(r"[^A-Z0-9]+", "_", self.name.upper()).strip("_")

    @property
    def is_number(self) -> bool:
        return bool(self.kind) and self.kind not in "AL"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        if self.kind == "L":
            return np.dtype(bool)
        return np.dtype(f"U{self.scale.stored.itemsize}") if self.kind == "A" else self.scale.dtype

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
        base, offset = layout.fields[column.name][:2]
        stored, shape = base.subdtype or (base, ())
        scale, zero, null = (header.get(f"{key}{number}") for key in ("TSCAL", "TZERO", "TNULL"))
        zero = int(zero or 0) if float(zero or 0).is_integer() else zero  # the offset of unsigned ones is exact
        null = null if stored.kind in "iu" else None
        found.append(
            Column(
                name=str(column.name),
                unit=card_text(header, f"TUNIT{number}"),
                utype=card_text(header, f"TUTYP{number}"),
                ucd=card_text(header, f"TUCD{number}").lower(),
                kind=match[2] if match is not None else "",
                shape=tuple(int(n) for n in shape if n != 1),
                offset=int(offset),
                scale=Scale(float(1 if scale is None else scale), zero, null, stored.newbyteorder(">"), narrow=False),
            )
        )
    return found


class _ColumnArray(StoredArray):
    """A column of a table in a file. Only the requested rows of an uncompressed file are read."""

    def __init__(
        self,
        path: str,
        index: int,
        hdu: Any,
        column: Column,
        role: Role,
        ignored: int,
        dtype: np.dtype[Any] | None,
    ) -> None:
        self.start = int(hdu.fileinfo()["datLoc"]) if is_plain(path) else None
        self.rows, width = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
        layout: Any = {"names": ["a"], "formats": [(column.scale.stored, column.shape)], "offsets": [column.offset]}
        self.row: np.dtype[Any] = np.dtype(layout | {"itemsize": width})
        self.column = column
        shape = column.shape if self.rows == 1 else (self.rows, *column.shape)
        super().__init__(
            path, index, role, ignored, shape, transformed_dtype(column.dtype, role) if dtype is None else dtype
        )

    def _physical(self, key: tuple[Any, ...]) -> Any:
        if self.start is not None:
            raw = np.memmap(self.path, self.row, "c", self.start, (self.rows,)).view(np.ndarray)["a"]
        else:
            with fits.open(self.path, memmap=False) as hdus:
                raw = np.asarray(hdus[self.index].data).view(self.row)["a"]
        raw = np.asarray(raw.reshape(self.shape)[key])
        if self.column.kind == "L":
            return raw == ord("T")
        if self.column.kind == "A":
            text = np.char.decode(np.asarray(raw, dtype=self.column.scale.stored), "ascii", "replace")
            return np.asarray(np.char.rstrip(text), dtype=self.column.dtype)
        return self.column.scale.apply(raw)


def column_numbers(
    path: str | None,
    index: int,
    hdu: Any,
    column: Column,
    role: Role = Role.DATA,
    ignored: int = 0,
    dtype: np.dtype[Any] | None = None,
) -> Any:
    """The values of a column: lazily from a file, or without a path from what astropy has opened.

    ``ignored`` are flags that do not count; ``dtype`` is that of the column where none is given.
    """
    if path is not None:
        return _ColumnArray(path, index, hdu, column, role, ignored, dtype)
    values, scale = np.asarray(hdu.data[column.name]), column.scale
    if values.dtype.kind == "S":
        values = np.char.decode(values, "ascii", "replace")
    if values.dtype.kind == "U":
        values = np.asarray(np.char.rstrip(values), dtype=column.dtype)
    elif values.dtype.kind in "iu" and scale.blank is not None and scale.scale == 1 and scale.zero == 0:
        values = np.where(values == scale.blank, np.nan, values)
    values = values.reshape(column.shape if len(values) == 1 else (len(values), *column.shape))
    values = transformed(values, role, ignored)
    return values if dtype is None else np.asarray(values, dtype=dtype)
