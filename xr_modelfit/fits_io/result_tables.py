"""A fit result in a FITS file: beside its images, a table with all that images do not hold.

The table has one row. Its column ``RECORD`` is JSON text: names, dims, types and attrs of all variables, the record of
the fit among them, and in which image each one is. The other columns are the coordinates, as numbers. Nothing in it
is run, and nothing is believed: where it does not match the images, there is a sentence, and the images are read alone.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.attr_text import plain_attrs
from xr_modelfit.records.metadata import RECORD

__all__ = ["EPOCH", "FORMAT", "NUMBER_FORMATS", "TABLE", "TEXT", "ImagePlace", "result_table"]

TABLE = "MODELFIT"
TEXT = "RECORD"
FORMAT = 1
EPOCH = "microseconds since 1970-01-01"
NUMBER_FORMATS = {"bool": "B", "int8": "I", "int16": "I", "int32": "J", "int64": "K"} | {
    "uint8": "B", "uint16": "J", "uint32": "K", "uint64": "K", "float16": "E", "float32": "E", "float64": "D",
}  # fmt: skip


@dataclass(frozen=True)
class ImagePlace:
    """Where a variable is in the file."""

    hdu: int
    extname: str
    axes: Sequence[Hashable | None]  # dims in the image's order; None for an axis of length 1 that the variable lacks
    exact: bool  # the image has the numbers of the variable, not those of another unit


@dataclass
class _Columns:
    """Columns of the table, as they come."""

    found: list[fits.Column] = field(default_factory=list)

    def add(self, name: Hashable, values: np.ndarray) -> int:
        """Put numbers into a column of their own; its number, from 0 behind the text."""
        raw = values.view("i8") if values.dtype.kind in "mM" else values
        code = NUMBER_FORMATS[raw.dtype.name]
        stored = np.asarray(raw).astype({"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}[code])
        title = str(name).encode("ascii", "replace").decode()
        taken = [c.name.upper() for c in self.found] + [TEXT]
        title = title if title.upper() not in taken else f"{title}_{len(self.found)}"
        shape = f"({','.join(str(n) for n in reversed(values.shape))})" if values.ndim > 1 else None
        array = stored.reshape((1, *values.shape)) if values.size > 1 else stored.reshape(1)
        self.found.append(fits.Column(title, f"{values.size}{code}", dim=shape, array=array))
        return len(self.found) - 1


def result_table(obj: xr.Dataset, places: Mapping[Hashable, ImagePlace]) -> fits.BinTableHDU | None:
    """The table of a computed result; None of what is no result, or has names that are no text."""
    names = [*obj.variables, *obj.dims]
    if not any(RECORD in v.attrs for v in obj.data_vars.values()) or not all(isinstance(n, str) for n in names):
        return None
    columns = _Columns()
    coords = [told for name, c in obj.coords.items() if (told := _coordinate(name, c.variable, columns)) is not None]
    content = {
        "format": FORMAT,
        "sizes": {str(dim): int(n) for dim, n in obj.sizes.items()},
        "attrs": plain_attrs(obj.attrs),
        "variables": [_variable(name, v.variable, places.get(name), columns) for name, v in obj.data_vars.items()],
        "coords": coords,
    }
    text = json.dumps(content)  # of ASCII alone, as FITS wants it
    first = fits.Column(TEXT, f"{len(text)}A", array=np.array([text.encode()]))
    table = fits.BinTableHDU.from_columns([first, *columns.found], name=TABLE)
    table.header.add_comment("What images do not hold of a fit by xr_modelfit; from_fits reads both.")
    return table


def _variable(name: Hashable, variable: xr.Variable, place: ImagePlace | None, columns: _Columns) -> dict[str, Any]:
    """A variable: where its image is, or its numbers where no image has them."""
    told = {"name": name, "dims": list(variable.dims), "dtype": variable.dtype.name}
    told["attrs"] = plain_attrs(variable.attrs)
    if place is None or not place.exact:
        return told | {"column": columns.add(name, variable.values)}
    return told | {"hdu": place.hdu, "extname": place.extname, "axes": list(place.axes)}


def _coordinate(name: Hashable, variable: xr.Variable, columns: _Columns) -> dict[str, Any] | None:
    """A coordinate: numbers and dates in a column, text with the rest. None where it is neither."""
    told = {"name": name, "dims": list(variable.dims), "attrs": plain_attrs(variable.attrs)}
    values = np.asarray(variable.values)
    if values.dtype.name in NUMBER_FORMATS or values.dtype.kind in "mM":
        return told | {"dtype": values.dtype.name, "column": columns.add(name, values)}
    flat = values.ravel().tolist()
    if all(isinstance(one, str) for one in flat):
        return told | {"dtype": "text", "text": flat, "wide": values.dtype.kind == "U"}
    if all(hasattr(one, "calendar") for one in flat):  # of cftime, which need not be there otherwise
        import cftime

        calendar = flat[0].calendar
        numbers = np.asarray(cftime.date2num(values, EPOCH, calendar), dtype="i8")
        return told | {"dtype": "cftime", "calendar": calendar, "column": columns.add(name, numbers)}
    return None
