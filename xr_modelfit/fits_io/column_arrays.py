"""Numbers and text of the columns of table HDUs, read where and when they are asked for."""

import os
from typing import Any

import numpy as np
from astropy.io import fits
from xarray.backends import BackendArray
from xarray.core import indexing

from xr_modelfit.fits_io.file_arrays import Scale, is_plain, transformed, transformed_dtype
from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.fits_io.table_columns import Column

__all__ = ["ColumnArray", "column_dtype", "memory_column"]


def column_dtype(column: Column) -> np.dtype[Any]:
    """Of the values of a column, as they are read."""
    if column.kind == "L":
        return np.dtype(bool)
    return np.dtype(f"U{column.stored.itemsize}") if column.kind == "A" else _scale(column).dtype


def _scale(column: Column) -> Scale:
    zero = int(column.zero) if float(column.zero).is_integer() else column.zero  # the offset of unsigned ones is exact
    return Scale(column.scale, zero, column.null if column.stored.kind in "iu" else None, column.stored, narrow=False)


class ColumnArray(BackendArray):
    """A column of a table in a file, opened anew for each reading, so that it travels as a path.

    Of a plain file only the rows that are asked for are read. Of a compressed file, all of it.

    Parameters
    ----------
    path : str
    index : int
        Of the HDU.
    hdu : astropy BinTableHDU
    column : Column
    role : Role
    ignored : int
        Flags that do not count.
    dtype : dtype, optional
        Other than that of the column.
    """

    def __init__(
        self,
        path: str,
        index: int,
        hdu: Any,
        column: Column,
        role: Role = Role.DATA,
        ignored: int = 0,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        status = os.stat(path)
        self.path = path
        self.age = (status.st_mtime_ns, status.st_size)  # tells dask one state of the file from another
        self.index = index
        self.start = int(hdu.fileinfo()["datLoc"]) if is_plain(path) else None
        rows, width = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
        layout: Any = {"names": ["a"], "formats": [(column.stored, column.shape)], "offsets": [column.offset]}
        self.row: np.dtype[Any] = np.dtype(layout | {"itemsize": width})
        self.rows = rows
        self.column = column
        self.role = role
        self.ignored = ignored
        self.shape = column.shape if rows == 1 else (rows, *column.shape)
        self.dtype = transformed_dtype(column_dtype(column), role) if dtype is None else dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def read(self) -> Any:
        """All values."""
        return self._read((slice(None),) * len(self.shape))

    def _read(self, key: tuple[Any, ...]) -> Any:
        if self.start is not None:
            raw = np.memmap(self.path, self.row, "c", self.start, (self.rows,)).view(np.ndarray)["a"]
        else:
            with fits.open(self.path, memmap=False) as hdus:
                raw = np.asarray(hdus[self.index].data).view(self.row)["a"]
        values = _values(raw.reshape(self.shape)[key], self.column)
        return np.asarray(transformed(values, self.role, self.ignored), dtype=self.dtype)


def _values(raw: Any, column: Column) -> Any:
    """What stored values mean."""
    if column.kind == "L":
        return np.asarray(raw) == ord("T")
    if column.kind == "A":
        text = np.char.rstrip(np.char.decode(np.asarray(raw, dtype=column.stored), "ascii", "replace"))
        return np.asarray(text, dtype=column_dtype(column))
    return _scale(column).apply(np.asarray(raw))


def memory_column(hdu: Any, column: Column, role: Role = Role.DATA, ignored: int = 0) -> Any:
    """The values of a column that astropy has opened or that is in memory."""
    values = np.asarray(hdu.data[column.name])
    if values.dtype.kind == "S":
        values = np.char.decode(values, "ascii", "replace")
    if values.dtype.kind == "U":
        values = np.asarray(np.char.rstrip(values), dtype=column_dtype(column))
    elif values.dtype.kind in "iu" and column.null is not None and column.scale == 1 and column.zero == 0:
        values = np.where(values == column.null, np.nan, values)
    values = values.reshape(column.shape if len(values) == 1 else (len(values), *column.shape))
    return transformed(values, role, ignored)
