"""Data that came from a table, written as a table: one row for each sample, or for each spectrum."""

from collections.abc import Hashable

import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.flags import flag_cards
from xr_modelfit.fits_io.reading import FITS_COLUMN
from xr_modelfit.fits_io.result_tables import NUMBER_FORMATS
from xr_modelfit.fits_io.units import fits_unit

__all__ = ["spectrum_table", "tabular"]

_FORMATS = {name: code for name, code in NUMBER_FORMATS.items() if name != "uint64"} | {"bool": "L"}


def tabular(obj: xr.Dataset) -> tuple[Hashable, list[Hashable]] | None:
    """The coordinate that came from a table's column, and the variables along it; None where there is none."""
    for name, coordinate in obj.coords.items():
        if FITS_COLUMN in coordinate.attrs and coordinate.ndim in (1, 2) and coordinate.size:
            along = [key for key, v in obj.data_vars.items() if set(v.dims) == set(coordinate.dims)]
            if known := [key for key in along if obj[key].dtype.name in _FORMATS]:
                return name, known
    return None


def spectrum_table(obj: xr.Dataset, name: Hashable, along: list[Hashable]) -> fits.BinTableHDU:
    """The table of a computed Dataset, its coordinate in the first column."""
    dims = obj[name].dims
    found = [_column(name, obj[name], dims), *(_column(key, obj[key], dims) for key in along)]
    if len(dims) == 2:
        per_row = [key for key, c in obj.coords.items() if c.dims == dims[:1] and key not in dims]
        found += [_column(key, obj[key], dims[:1]) for key in per_row if _is_storable(obj[key])]
    table = fits.BinTableHDU.from_columns(found)
    for key in along:
        table.header.update(flag_cards(obj[key].attrs))
    return table


def _is_storable(array: xr.DataArray) -> bool:
    if array.dtype.kind not in "UO":
        return array.dtype.name in _FORMATS
    return all(isinstance(one, str) and one.isascii() for one in array.values.ravel())


def _column(name: Hashable, array: xr.DataArray, dims: tuple[Hashable, ...]) -> fits.Column:
    values = array.transpose(*dims).values
    title = str(name).encode("ascii", "replace").decode().upper()
    if values.dtype.kind in "UO":
        text = values.astype("S")
        return fits.Column(title, f"{max(1, text.dtype.itemsize)}A", array=text)
    unit = fits_unit(array)
    if unit.factor != 1.0:
        values = values * unit.factor
    code = _FORMATS[values.dtype.name]
    number = "" if values.ndim == 1 else str(values.shape[1])
    return fits.Column(title, f"{number}{code}", unit=unit.text or None, array=values)
