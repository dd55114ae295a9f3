"""A fit result out of a FITS file that `fits_io.result_tables` completed.

All is checked by headers before it is used: names, dims, shapes, types. A table that was damaged, or images that were
changed, give a sentence, and then images alone are read.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.attr_text import attrs_of, is_known_type
from xr_modelfit.fits_io.file_arrays import FileArray, memory_array
from xr_modelfit.fits_io.hdus import Role, image_of
from xr_modelfit.fits_io.reading import Reading
from xr_modelfit.fits_io.result_tables import EPOCH, FORMAT, TABLE, TEXT
from xr_modelfit.fits_io.table_columns import Column, ColumnArray, columns_of, memory_column
from xr_modelfit.messages import outside_level, sentence

__all__ = ["is_result_table", "stored_result"]

_LONGEST = 64 * 2**20  # characters: a record may have half of them, and the header of the data another part
_FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def is_result_table(hdu: Any) -> bool:
    """Whether an HDU is the table of a fit result."""
    return isinstance(hdu, fits.BinTableHDU) and hdu.name == TABLE and TEXT in hdu.columns.names


def stored_result(hdus: fits.HDUList, reading: Reading) -> xr.Dataset | None:
    """The result in a file; None where there is none, or it cannot be put together."""
    found = [i for i, hdu in enumerate(hdus) if is_result_table(hdu)]
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
        self.columns = columns_of(self.table)
        if self.table.header["NAXIS2"] != 1 or self.columns[0].name != TEXT or self.columns[0].kind != "A":
            raise ValueError("it has not the columns that it was written with.")
        if self.columns[0].scale.stored.itemsize > _LONGEST:
            raise ValueError("its text is longer than that of any result.")
        content = json.loads(str(self._column(self.columns[0], np.dtype(str))))
        if content["format"] != FORMAT:
            raise ValueError(f"it has the format {content['format']!r}, this version knows {FORMAT}.")
        self.content = content
        sizes = content["sizes"]
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes.values()):
            raise ValueError("the sizes of its dims are no numbers.")
        self.sizes: dict[str, int] = dict(sizes)

    def dataset(self) -> xr.Dataset:
        coords = {one["name"]: self._coordinate(one) for one in self.content["coords"]}
        variables = {one["name"]: self._variable(one) for one in self.content["variables"]}
        if not all(isinstance(name, str) for name in [*coords, *variables]) or coords.keys() & variables.keys():
            raise ValueError("its variables have no names, or the same.")
        return xr.Dataset(variables, coords, attrs_of(self.content["attrs"]))

    def _shape(self, dims: Any) -> tuple[int, ...]:
        if not isinstance(dims, list) or len(set(dims)) != len(dims):
            raise ValueError("dims are no list of names.")
        return tuple(self.sizes[dim] for dim in dims)

    def _variable(self, told: Mapping[str, Any]) -> xr.Variable:
        """A variable, from its image, or from a column where the image has other numbers."""
        shape, dtype, attrs = self._shape(told["dims"]), _dtype(told["dtype"]), attrs_of(told["attrs"])
        if "column" in told:
            return xr.Variable(told["dims"], self._lazy_column(told["column"], shape, dtype), attrs)
        index, axes = told["hdu"], told["axes"]
        if isinstance(index, bool) or not isinstance(index, int) or not 0 < index < len(self.hdus):
            raise ValueError(f"the image of {told['name']!r} is not there.")
        image = replace(image_of(index, self.hdus[index]), role=Role.DATA)
        in_file = [f"axis {k}" if dim is None else dim for k, dim in enumerate(axes)]
        if sorted(dim for dim in axes if dim is not None) != sorted(told["dims"]):
            raise ValueError(f"the axes of {told['name']!r} are not its dims.")
        expected = tuple(1 if dim is None else self.sizes[dim] for dim in axes)
        name = str(image.header.get("EXTNAME", "")).strip()
        if name != told["extname"] or image.shape != expected:
            raise ValueError(
                f"HDU {index} is {name!r} of shape {image.shape}, but {told['name']!r} was written as "
                f"{told['extname']!r} of shape {expected}: the file was changed."
            )
        if self.reading.path is None:
            data = np.asarray(memory_array(image), dtype=dtype)
        else:
            data = self.reading.lazy(FileArray(self.reading.path, image, dtype))
        variable = xr.Variable(in_file, data, attrs)
        single = {dim: 0 for dim, axis in zip(in_file, axes, strict=True) if axis is None}
        return variable.isel(single).transpose(*told["dims"])

    def _coordinate(self, told: Mapping[str, Any]) -> xr.Variable:
        shape, attrs, kind = self._shape(told["dims"]), attrs_of(told["attrs"]), told["dtype"]
        if kind == "text":
            text = told["text"]
            if not all(isinstance(one, str) for one in text):
                raise ValueError(f"the coordinate {told['name']!r} is no text.")
            return xr.Variable(
                told["dims"], np.array(text, dtype=str if told["wide"] else object).reshape(shape), attrs
            )
        if kind == "cftime":
            import cftime

            numbers = np.asarray(self._column(self._numbered(told["column"], shape), np.dtype("i8")))
            dates = cftime.num2date(numbers, EPOCH, str(told["calendar"]), only_use_cftime_datetimes=True)
            return xr.Variable(told["dims"], np.asarray(dates, dtype=object).reshape(shape), attrs)
        return xr.Variable(told["dims"], self._lazy_column(told["column"], shape, _dtype(kind)), attrs)

    def _numbered(self, number: Any, shape: tuple[int, ...]) -> Column:
        """The column of a number, with the shape that its values have."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.columns) - 1:
            raise ValueError("a column is not there.")
        column = self.columns[number + 1]
        if not column.is_number or int(np.prod(column.shape)) != int(np.prod(shape)):
            raise ValueError(f"the column {column.name!r} has not as many numbers as its dims say.")
        return replace(column, shape=shape)

    def _lazy_column(self, number: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        column = self._numbered(number, shape)
        if self.reading.path is None:
            return self._column(column, dtype)
        return self.reading.lazy(ColumnArray(self.reading.path, self.index, self.table, column, dtype=dtype))

    def _column(self, column: Column, dtype: np.dtype[Any]) -> Any:
        """The values of a column, at once."""
        if self.reading.path is None:
            return np.asarray(memory_column(self.table, column)).astype(dtype)
        array = ColumnArray(self.reading.path, self.index, self.table, column)
        return np.asarray(self.reading.lazy(array)).astype(dtype)


def _dtype(name: Any) -> np.dtype[Any]:
    if not is_known_type(name):
        raise ValueError(f"{name!r} is no type of numbers.")
    return np.dtype(name)
