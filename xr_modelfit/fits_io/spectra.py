"""A table of spectra as a Dataset: data with their errors and flags, and the coordinate.

A value in each row: the dim is the coordinate. A vector in a single row: the same. Vectors in several rows: the dims
are ``row`` and ``pixel``, and the coordinate is over both, since it may differ from row to row.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.flags import Flags
from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.fits_io.headers import card_text
from xr_modelfit.fits_io.log_axes import ANGSTROM
from xr_modelfit.fits_io.reading import ABOUT_ERRORS, ABOUT_GOOD, FITS_COLUMN, Reading, observation
from xr_modelfit.fits_io.spectrum_columns import SpectrumTable
from xr_modelfit.fits_io.table_columns import Column, column_numbers
from xr_modelfit.fits_io.units import error_units, logarithm_of, spelled, unit_attrs
from xr_modelfit.fits_io.world_axes import identifier, unique

__all__ = ["spectrum"]

_STANDARD_NAMES = {"wavelength": "radiation_wavelength", "frequency": "radiation_frequency"}


def spectrum(table: SpectrumTable, hdus: fits.HDUList | None, reading: Reading) -> xr.Dataset:
    """The Dataset of a table whose columns are understood."""
    name = table.quantity or (identifier(table.coordinate.name) if table.coordinate is not None else None)
    grid = bool(table.data[0].shape) and table.rows > 1
    along = "pixel" if grid or name is None else name
    dims: tuple[Hashable, ...] = ("row", along) if grid else (along,)
    reading.require_chunks_of(dims)
    reader = _Reader(table, hdus, reading)
    coords: dict[Hashable, xr.Variable] = {}
    if table.coordinate is not None and name is not None:
        coords[name] = reader.coordinate(dims, name)
    variables: dict[Hashable, xr.Variable] = {}
    for c in table.data:
        own = unique(identifier(c.name) or "data", [*map(str, coords), *map(str, dims), *map(str, variables)])
        variables |= reader.data(c, own, dims)
    if reading.ignore_bits is not None and not any(role is Role.FLAGS for _, role, _ in table.ancillary):
        raise ValueError(
            f"ignore_bits is given, but no column of {table.shown} holds flags. Leave it out, or name it: "
            "columns={'flags': ...}."
        )
    per = dims[:1] if grid or not table.data[0].shape else ()
    for c in table.others:
        own = unique(identifier(c.name) or "column", [*map(str, coords), *map(str, dims), *map(str, variables)])
        coords[own] = reader.variable(per, c, unit_attrs(spelled(c.unit)))
    return xr.Dataset(variables, coords, observation(*reader.headers))


class _Reader:
    """Makes variables of the columns of a table."""

    def __init__(self, table: SpectrumTable, hdus: fits.HDUList | None, reading: Reading) -> None:
        self.table, self.hdus, self.reading = table, hdus, reading
        self.of_wavelength = table.quantity == "wavelength"
        self.headers = [table.hdu.header, *([] if hdus is None else [hdus[0].header])]

    def variable(
        self, dims: Any, column: Column, attrs: Mapping[str, Any], role: Role = Role.DATA, ignored: int = 0
    ) -> xr.Variable:
        """A column as it is, or as ``role`` says."""
        path, table = self.reading.path, self.table
        return self.reading.variable(dims, column_numbers(path, table.index, table.hdu, column, role, ignored), attrs)

    def coordinate(self, dims: tuple[Hashable, ...], name: str) -> xr.Variable:
        """The coordinate with its unit; logarithms are converted to what they are the logarithms of."""
        column = self.table.coordinate
        assert column is not None
        inner = logarithm_of(column.unit)
        logarithmic = self.table.logarithmic or inner is not None
        units = spelled(column.unit if inner is None else inner, wavelength=name == "wavelength")
        if logarithmic and (not units or units.lower() in ("dex", "1")):
            units = ANGSTROM  # as in SDSS, which gives no unit
        attrs = unit_attrs(units) | _about(name, column, self.headers)
        attrs[FITS_COLUMN] = column.name
        variable = self.variable(dims, column, attrs, Role.LOGARITHM if logarithmic else Role.DATA)
        return variable.load() if len(dims) == 1 else variable  # an index is read

    def data(self, column: Column, name: str, dims: tuple[Hashable, ...]) -> dict[Hashable, xr.Variable]:
        """The variables of a data column: itself, its errors, and where it is good."""
        units = self._units(column)
        found: dict[Hashable, xr.Variable] = {}
        for other, role, owner in self.table.ancillary:
            if owner != column:
                continue
            key = f"{name}{role.suffix}"
            if role.suffix == "_sigma":
                own = error_units(spelled(other.unit, wavelength=self.of_wavelength), units, role)
                found[key] = self.variable(dims, other, unit_attrs(own) | ABOUT_ERRORS, role)
            elif role is Role.GOOD:
                found[key] = self.variable(dims, other, ABOUT_GOOD, role)
            else:
                flags = self._flags(other)
                found[key] = self.variable(dims, other, ABOUT_GOOD | flags.comment(), role, flags.ignored)
                if flags.are_kept:
                    found[f"{name}_flags"] = self.variable(dims, other, flags.attrs())
        second = self._flags(column).attrs() if column in self.table.flags else {}  # a second kind is kept as it is
        attrs = unit_attrs(units) | second | ({"ancillary_variables": " ".join(map(str, found))} if found else {})
        return {name: self.variable(dims, column, attrs), **found}

    def _flags(self, column: Column) -> Flags:
        return Flags.of(self.reading, f"the column {column.name!r}", self.table.hdu.header, self.hdus, column.dtype)

    def _units(self, column: Column) -> str:
        """TUNIT; of the main data, else BUNIT of the table or of the whole file (SDSS)."""
        text = column.unit
        if not text and column is self.table.data[0]:
            text = next((unit for header in self.headers if (unit := card_text(header, "BUNIT"))), "")
        return spelled(text, wavelength=self.of_wavelength)


def _about(name: str, column: Column, headers: Sequence[fits.Header]) -> dict[str, Any]:
    """What the coordinate is; in vacuum or in air, if that is known."""
    attrs = {"standard_name": _STANDARD_NAMES[name]} if name in _STANDARD_NAMES else {}
    vacuum = next((h["VACUUM"] for h in headers if "VACUUM" in h), None)
    where = ""
    if "AIR" in column.key or column.ucd.startswith("em.wl;obs.atmos"):
        where = " in air"
    elif "VAC" in column.key or vacuum in (True, 1):
        where = " in vacuum"
    return {"long_name": f"{name}{where if name == 'wavelength' else ''}", **attrs}
