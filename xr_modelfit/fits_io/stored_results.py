"""A fit result out of a FITS file that `fits_io.result_tables` completed.

All is checked by headers before it is used: names, dims, shapes, types. A table that was damaged, or images that were
changed, give a sentence, and then images alone are read.
"""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.file_arrays import image_numbers
from xr_modelfit.fits_io.hdus import Role, image_of
from xr_modelfit.fits_io.headers import card_text
from xr_modelfit.fits_io.reading import Reading
from xr_modelfit.fits_io.result_tables import EPOCH, FORMAT, TABLE, TEXT, attrs_of, is_known_type
from xr_modelfit.fits_io.table_columns import Column, column_numbers, columns_of
from xr_modelfit.messages import outside_level, sentence

__all__ = ["stored_result"]

_LONGEST = 64 * 2**20  # characters, more than any record and header need
_FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def stored_result(hdus: fits.HDUList, reading: Reading) -> xr.Dataset | None:
    """The result in a file; None if there is none, or if it cannot be put together."""
    tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU) and hdu.name == TABLE]
    found = [i for i in tables if TEXT in hdus[i].columns.names]
    if not found:
        return None
    try:
        if len(found) > 1:
            raise ValueError("the file has two of them")
        result = _Stored(hdus, found[0], reading).dataset()
    except _FAULTS as error:
        warnings.warn(
            f"The result in the file cannot be put together from its table, HDU {found[0]} ({TABLE!r}): "
            f"{sentence(error)} Its images are read alone, without names of dims, record of the fit and coordinates.",
            UserWarning,
            stacklevel=outside_level(),
        )
        return None
    if reading.chunks is None:
        return result
    reading.require_chunks_of(tuple(result.dims))
    return result.chunk(reading.chunks)


class _Stored:
    """The parts of a result in a file."""

    def __init__(self, hdus: fits.HDUList, index: int, reading: Reading) -> None:
        self.hdus, self.index, self.reading = hdus, index, reading
        self.table = hdus[index]
        text, *self.columns = columns_of(self.table)
        if self.table.header["NAXIS2"] != 1 or text.name != TEXT or text.kind != "A":
            raise ValueError("it has not the columns that it was written with.")
        if text.scale.stored.itemsize > _LONGEST:
            raise ValueError("its text is longer than that of any result.")
        self.content = json.loads(str(np.asarray(self._values(text, text.dtype))))
        if self.content["format"] != FORMAT:
            raise ValueError(f"it has the format {self.content['format']!r}, this version knows {FORMAT}.")
        self.sizes: dict[str, int] = dict(self.content["sizes"])
        if not all(type(n) is int and n > 0 for n in self.sizes.values()):
            raise ValueError("the sizes of its dims are no numbers.")

    def dataset(self) -> xr.Dataset:
        coords = {one["name"]: self._coordinate(one) for one in self.content["coords"]}
        variables = {one["name"]: self._variable(one) for one in self.content["variables"]}
        if not all(isinstance(name, str) for name in [*coords, *variables]):
            raise ValueError("its variables have no names.")
        return xr.Dataset(variables, coords, attrs_of(self.content["attrs"]))

    def _shape(self, entry: Mapping[str, Any]) -> tuple[int, ...]:
        if len(set(entry["dims"])) != len(entry["dims"]):
            raise ValueError(f"{entry['name']!r} has a dim twice.")
        return tuple(self.sizes[dim] for dim in entry["dims"])

    def _variable(self, entry: Mapping[str, Any]) -> xr.Variable:
        """A variable, from its image, or from a column where the image has other numbers."""
        dtype, attrs, shape = _dtype(entry["dtype"]), attrs_of(entry["attrs"]), self._shape(entry)
        if "column" in entry:
            return xr.Variable(entry["dims"], self._column(entry["column"], shape, dtype), attrs)
        index, axes = entry["hdu"], entry["axes"]
        if not 0 < index < len(self.hdus):
            raise ValueError(f"the image of {entry['name']!r} is not there.")
        if sorted(dim for dim in axes if dim is not None) != sorted(entry["dims"]):
            raise ValueError(f"the axes of {entry['name']!r} are not its dims.")
        image = replace(image_of(index, self.hdus[index]), role=Role.DATA)
        name, expected = card_text(image.header, "EXTNAME"), tuple(1 if d is None else self.sizes[d] for d in axes)
        if name != entry["extname"] or image.shape != expected:
            raise ValueError(
                f"HDU {index} is {name!r} of shape {image.shape}, but {entry['name']!r} was written as "
                f"{entry['extname']!r} of shape {expected}: the file was changed."
            )
        data = self.reading.lazy(image_numbers(self.reading.path, image, dtype))
        in_file = [f"axis {k}" if dim is None else dim for k, dim in enumerate(axes)]
        single = {dim: 0 for dim, axis in zip(in_file, axes, strict=True) if axis is None}
        return xr.Variable(in_file, data, attrs).isel(single).transpose(*entry["dims"])

    def _coordinate(self, entry: Mapping[str, Any]) -> xr.Variable:
        shape, kind = self._shape(entry), entry["dtype"]
        if kind == "text":
            if not all(isinstance(one, str) for one in entry["text"]):
                raise ValueError(f"the coordinate {entry['name']!r} is no text.")
            data = np.array(entry["text"], dtype=str if entry["wide"] else object).reshape(shape)
        elif kind == "cftime":
            import cftime

            numbers = np.asarray(self._column(entry["column"], shape, np.dtype("i8")))
            dates = cftime.num2date(numbers, EPOCH, str(entry["calendar"]), only_use_cftime_datetimes=True)
            data = np.asarray(dates, dtype=object).reshape(shape)
        else:
            data = self._column(entry["column"], shape, _dtype(kind))
        return xr.Variable(entry["dims"], data, attrs_of(entry["attrs"]))

    def _column(self, number: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """The numbers of a column, in another shape."""
        if not 0 <= number < len(self.columns):
            raise ValueError("a column is not there.")
        column = self.columns[number]
        if not column.is_number or math.prod(column.shape) != math.prod(shape):
            raise ValueError(f"the column {column.name!r} has not as many numbers as its dims say.")
        return self._values(replace(column, shape=shape), dtype)

    def _values(self, column: Column, dtype: np.dtype[Any]) -> Any:
        return self.reading.lazy(column_numbers(self.reading.path, self.index, self.table, column, dtype=dtype))


def _dtype(name: Any) -> np.dtype[Any]:
    if not is_known_type(name):
        raise ValueError(f"{name!r} is no type of numbers.")
    return np.dtype(name)
