"""A fit result in a FITS file: beside its images, a table with all that images do not hold.

The table has one row. Its column ``RECORD`` is JSON text: names, dims, types and attrs of all variables, the record of
the fit among them, and in which image each one is. The other columns are the coordinates, as numbers. Nothing in it
is run, and nothing is believed: where it does not match the images, there is a sentence, and the images are read alone.
"""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from xr_modelfit.records.metadata import RECORD

__all__ = [
    "EPOCH", "FORMAT", "NUMBER_FORMATS", "TABLE", "TEXT", "ImagePlace", "attrs_of", "is_known_type", "result_table",
]  # fmt: skip

TABLE = "MODELFIT"
TEXT = "RECORD"
FORMAT = 1
EPOCH = "microseconds since 1970-01-01"
_TYPES = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|(datetime|timedelta)64\[(D|h|m|s|ms|us|ns)\]")
NUMBER_FORMATS = {"bool": "B", "int8": "I", "int16": "I", "int32": "J", "int64": "K"} | {
    "uint8": "B", "uint16": "J", "uint32": "K", "uint64": "K", "float16": "E", "float32": "E", "float64": "D",
}  # fmt: skip
Columns = list[fits.Column]


@dataclass(frozen=True)
class ImagePlace:
    """Where a variable is in the file."""

    hdu: int
    extname: str
    axes: Sequence[Hashable | None]  # dims in the image's order; None for an axis of length 1 that the variable lacks
    exact: bool  # the image has the numbers of the variable, not those of another unit


def _add(columns: Columns, name: Hashable, values: np.ndarray) -> int:
    """Put numbers into a column of their own; its number, from 0 behind the text."""
    raw = values.view("i8") if values.dtype.kind in "mM" else values
    code = NUMBER_FORMATS[raw.dtype.name]
    stored = np.asarray(raw).astype({"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}[code])
    title = str(name).encode("ascii", "replace").decode()
    if title.upper() in [c.name.upper() for c in columns] + [TEXT]:
        title = f"{title}_{len(columns)}"
    shape = f"({','.join(str(n) for n in reversed(values.shape))})" if values.ndim > 1 else None
    array = stored.reshape((1, *values.shape)) if values.size > 1 else stored.reshape(1)
    columns.append(fits.Column(title, f"{values.size}{code}", dim=shape, array=array))
    return len(columns) - 1


def result_table(obj: xr.Dataset, places: Mapping[Hashable, ImagePlace]) -> fits.BinTableHDU | None:
    """The table of a computed result; None if it is no fit result, or has names that are not text."""
    names = [*obj.variables, *obj.dims]
    if not any(RECORD in v.attrs for v in obj.data_vars.values()) or not all(isinstance(n, str) for n in names):
        return None
    columns: Columns = []
    coords = [entry for name, c in obj.coords.items() if (entry := _coordinate(name, c.variable, columns)) is not None]
    content = {
        "format": FORMAT,
        "sizes": {str(dim): int(n) for dim, n in obj.sizes.items()},
        "attrs": _plain_attrs(obj.attrs),
        "variables": [_variable(name, v.variable, places.get(name), columns) for name, v in obj.data_vars.items()],
        "coords": coords,
    }
    text = json.dumps(content)  # ASCII, as FITS requires
    first = fits.Column(TEXT, f"{len(text)}A", array=np.array([text.encode()]))
    table = fits.BinTableHDU.from_columns([first, *columns], name=TABLE)
    table.header.add_comment("What images do not hold of a fit by xr_modelfit; from_fits reads both.")
    return table


def _variable(name: Hashable, variable: xr.Variable, place: ImagePlace | None, columns: Columns) -> dict[str, Any]:
    """A variable: where its image is, or its numbers where no image has them."""
    entry = {"name": name, "dims": list(variable.dims), "dtype": variable.dtype.name}
    entry["attrs"] = _plain_attrs(variable.attrs)
    if place is None or not place.exact:
        return entry | {"column": _add(columns, name, variable.values)}
    return entry | {"hdu": place.hdu, "extname": place.extname, "axes": list(place.axes)}


def _coordinate(name: Hashable, variable: xr.Variable, columns: Columns) -> dict[str, Any] | None:
    """A coordinate: numbers and dates in a column, text with the rest. None where it is neither."""
    entry = {"name": name, "dims": list(variable.dims), "attrs": _plain_attrs(variable.attrs)}
    values = np.asarray(variable.values)
    if values.dtype.name in NUMBER_FORMATS or values.dtype.kind in "mM":
        return entry | {"dtype": values.dtype.name, "column": _add(columns, name, values)}
    flat = values.ravel().tolist()
    if all(isinstance(one, str) for one in flat):
        return entry | {"dtype": "text", "text": flat, "wide": values.dtype.kind == "U"}
    if all(hasattr(one, "calendar") for one in flat):  # cftime, which is optional
        import cftime

        calendar = flat[0].calendar
        numbers = np.asarray(cftime.date2num(values, EPOCH, calendar), dtype="i8")
        return entry | {"dtype": "cftime", "calendar": calendar, "column": _add(columns, name, numbers)}
    return None


def is_known_type(name: Any) -> bool:
    """Whether a text is a numpy type of numbers or dates."""
    return isinstance(name, str) and _TYPES.fullmatch(name) is not None


def _plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attrs for JSON. Only text, numbers and lists of them are kept, since files hold nothing else."""
    found = {key: _plain(value) for key, value in attrs.items() if isinstance(key, str)}
    return {key: value for key, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" and is_known_type(value.dtype.name):
        return {"dtype": value.dtype.name, "values": value.tolist()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return value.tolist()
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        parts = [_plain(one) for one in value]
        return None if any(part is None for part in parts) else parts
    return None


def attrs_of(stored: Any) -> dict[str, Any]:
    """The attrs that `_plain_attrs` made; a ValueError, TypeError or KeyError of what it did not make."""
    return {str(key): _value(value) for key, value in dict(stored).items()}


def _value(stored: Any) -> Any:
    if isinstance(stored, dict):
        values = np.array(stored["values"])
        if not is_known_type(stored["dtype"]) or (values.size and values.dtype.kind not in "biuf"):
            raise ValueError("an attr is no array of numbers")
        with np.errstate(invalid="raise"):  # FloatingPointError
            try:
                return values.astype(stored["dtype"])[()]
            except FloatingPointError:
                raise ValueError("an attr has numbers that its type cannot hold") from None
    if isinstance(stored, list):
        return [_value(one) for one in stored]
    if not isinstance(stored, str | bool | int | float):
        raise ValueError("an attr is neither text nor a number")
    return stored
