"""What images and tables of FITS files have in common when they are read: the options, and attrs of the whole."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from astropy.io import fits
from xarray.backends import BackendArray

from xr_modelfit.execution.lazy_arrays import LazyArray, kept
from xr_modelfit.messages import a, suggestion

__all__ = ["ABOUT_ERRORS", "ABOUT_GOOD", "FITS_COLUMN", "OBSERVATION", "Reading", "array_or_dataset", "observation"]

FITS_COLUMN = "fits_column"  # attr of a coordinate: the column of a table that it is from
ABOUT_ERRORS = {"long_name": "standard error of the data"}
ABOUT_GOOD = {"long_name": "True where the data can be used"}

# Keywords that become attrs of the whole, and the other way round; all others stay in the header.
OBSERVATION = {
    "OBJECT": "object",
    "TELESCOP": "telescope",
    "INSTRUME": "instrument",
    "OBSERVER": "observer",
    "DATE-OBS": "date_obs",
    "ORIGIN": "origin",
}


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: the options of `from_fits`."""

    path: str | None  # None: what astropy has opened, or has in memory
    chunks: Any
    ignore_bits: Any
    flag_names: Mapping[str, int]
    columns: Any

    def variable(self, dims: tuple[Hashable, ...], data: Any, attrs: Mapping[str, Any]) -> xr.Variable:
        """A variable of numbers in memory, or of a `BackendArray` that reads them."""
        variable = xr.Variable(dims, self.lazy(data), dict(attrs))
        if self.chunks is None:
            return variable
        own = {d: n for d, n in self.chunks.items() if d in dims} if isinstance(self.chunks, Mapping) else self.chunks
        return variable.chunk(own)

    def lazy(self, data: Any) -> Any:
        """Numbers, of a `BackendArray` when they are used; dask reads each chunk once, and must not get copies."""
        if not isinstance(data, BackendArray):
            return data
        return kept(data) if self.chunks is None else LazyArray(data)

    def require_chunks_of(self, dims: tuple[Hashable, ...]) -> None:
        """Raise unless ``chunks`` are such, of these dims."""
        chunks = self.chunks
        if chunks is None or chunks == "auto" or (isinstance(chunks, int) and not isinstance(chunks, bool)):
            return
        if not isinstance(chunks, Mapping):
            raise TypeError(f"chunks is {a(chunks)}; pass {{dim: size}} with dims of {dims}, a number, 'auto' or None.")
        unknown = [dim for dim in chunks if dim not in dims]
        if unknown:
            raise ValueError(
                f"chunks names the dim {unknown[0]!r}, but the image has {dims}.{suggestion(unknown[0], dims)}"
            )


def array_or_dataset(ds: xr.Dataset) -> xr.DataArray | xr.Dataset:
    """A DataArray, with the attrs of the whole too, where there is one variable alone."""
    if len(ds.data_vars) > 1:
        return ds
    (array,) = ds.data_vars.values()
    array.attrs |= ds.attrs
    return array


def observation(*headers: fits.Header) -> dict[str, Any]:
    """The few keywords that tell what was observed, each of the first header that has it."""
    attrs: dict[str, Any] = {}
    for key, name in OBSERVATION.items():
        value = next((header[key] for header in headers if header.get(key)), None)
        if isinstance(value, str | int | float) and str(value).strip():
            attrs[name] = value.strip() if isinstance(value, str) else value
    return attrs
