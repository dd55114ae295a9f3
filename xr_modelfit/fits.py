"""FITS images as labelled arrays: read lazily, with coordinates of their WCS."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, WCSCOMPARE_ANCILLARY

from xr_modelfit.file_arrays import FileArray, memory_array
from xr_modelfit.fits_headers import read_wcs, without_wcs
from xr_modelfit.fits_units import read_unit
from xr_modelfit.hdus import Image, Role, image_of, named_images, selected_images, table_of
from xr_modelfit.lazy_arrays import LazyArray, kept
from xr_modelfit.messages import a, suggestion
from xr_modelfit.unit_text import write_unit
from xr_modelfit.wcs import PixelGrid, labelled

__all__ = ["OBSERVATION", "from_fits", "observation"]

Hdu = int | str | tuple[str, int]
# Keywords that become attrs of the whole, and the other way round; all others stay in the header.
OBSERVATION = {
    "OBJECT": "object",
    "TELESCOP": "telescope",
    "INSTRUME": "instrument",
    "OBSERVER": "observer",
    "DATE-OBS": "date_obs",
    "ORIGIN": "origin",
}


def from_fits(
    source: Any,
    *,
    hdu: Hdu | Sequence[Hdu] | None = None,
    chunks: Any = None,
    wcs: Any = None,
) -> xr.DataArray | xr.Dataset:
    """A FITS image as a labelled array, with the coordinates of its WCS.

    Parameters
    ----------
    source : path, HDU or HDUList
        A path may be compressed (``.fits.gz``), an image too.
    hdu : int, str, (str, int), or a list of them, optional
        Which HDUs: number, EXTNAME, or EXTNAME and EXTVER. Default: all with an image.
    chunks : dict, int or "auto", optional
        As in `xarray.open_dataset`: gives dask arrays. ``{}`` is one chunk.
    wcs : WCS or False, optional
        In place of the header's: any of astropy's shared interface, ``WCS(header, key="A")`` for
        one. False: pixel numbers only.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A DataArray of one HDU, a Dataset of several. Nothing is read until it is used, and plain
        files are then mapped into memory. Errors of ``data`` are ``data_sigma``, whether the file
        holds standard deviations, variances or inverse variances. ``data_good`` is True where flags
        or masks of the file are 0. ``units`` are those of BUNIT. Coordinates are as
        `coords_from_wcs` makes them; ``wcs`` keeps the header.

    Raises
    ------
    TypeError, ValueError
        There is no image, HDUs do not fit together, or the WCS cannot be read.
    KeyError
        There is no such HDU.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> header = fits.Header({"CTYPE1": "WAVE", "CUNIT1": "nm", "CRVAL1": 500.0, "BUNIT": "Jy"})
    >>> spectrum = from_fits(fits.PrimaryHDU(np.ones(3), header))
    >>> spectrum["wavelength"].attrs["units"], spectrum.attrs["units"]
    ('m', 'Jy')
    """
    if isinstance(source, str | os.PathLike):
        path = str(Path(source).expanduser().absolute())
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            return _labelled(hdus, hdu, chunks, wcs, path)
    if isinstance(source, fits.HDUList):
        return _labelled(source, hdu, chunks, wcs, None)
    if isinstance(source, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        if hdu is not None:
            raise ValueError(f"hdu is {hdu!r}, but source is a single HDU. Leave it out, or pass the HDUList.")
        return _labelled(source, None, chunks, wcs, None)
    raise TypeError(f"source is {a(source)}; pass the path of a FITS file, an image HDU or an HDUList.")


def _labelled(source: Any, asked: Any, chunks: Any, wcs: Any, path: str | None) -> xr.DataArray | xr.Dataset:
    hdus = source if isinstance(source, fits.HDUList) else None
    images = selected_images(hdus, asked) if hdus is not None else [image_of(0, source)]
    first = next((image for image in images if image.role is Role.DATA), images[0])
    if not first.shape:
        raise ValueError("source is an HDU without data; pass one with an image, or the HDUList.")
    coords = _coordinates(first, hdus, wcs)
    _require_same_grid(images, first, hdus, compare=wcs is None)
    dims = tuple(coords.dims)[: len(first.shape)]
    _check_chunks(chunks, dims)
    named = named_images(images)
    variables = {}
    for name, (image, owner) in named.items():
        attrs = _attrs(image, owner)
        companions = [other for other, (_, theirs) in named.items() if theirs is image]
        if companions:
            attrs["ancillary_variables"] = " ".join(companions)
        if path is None:
            data = memory_array(image)
        else:  # dask reads each chunk once, and must not get a copy of what was read before
            data = kept(FileArray(path, image)) if chunks is None else LazyArray(FileArray(path, image))
        variable = xr.Variable(dims, data, attrs)
        variables[name] = variable if chunks is None else variable.chunk(chunks)
    about = observation(first.header, hdus[0].header if hdus is not None else None)
    result = xr.Dataset(variables, coords, about)
    if len(variables) > 1:
        return result
    array = result[next(iter(variables))]
    array.attrs |= about
    return array


def _coordinates(first: Image, hdus: fits.HDUList | None, wcs: Any) -> xr.Coordinates:
    header, sizes = first.header, tuple(reversed(first.shape))
    if wcs is not None and wcs is not False:
        grid = PixelGrid.of(wcs, first.shape)
        bare = without_wcs(header)
        if isinstance(grid.wcs, WCS):
            bare.update(grid.wcs.to_header(relax=True))
        return labelled(grid, header=bare)
    found = None
    if wcs is None:
        try:
            found = read_wcs(header, hdus)
        except ValueError as error:
            raise ValueError(
                f"{first.shown}: {error} Pass wcs=False for pixel numbers, or a WCS of your own: wcs=WCS(...)."
            ) from error
    # a header may describe axes of one pixel that the image does not have
    beyond = 0 if found is None else max(0, found.pixel_n_dim - len(sizes))
    grid = PixelGrid(found, (0,) * (len(sizes) + beyond), (*sizes, *(None,) * beyond))
    return labelled(grid, header=header if wcs is None else without_wcs(header))


def _require_same_grid(images: list[Image], first: Image, hdus: Any, *, compare: bool) -> None:
    """Raise unless all images have one shape and one WCS; those without a WCS take the first one's."""
    ours = read_wcs(first.header, hdus) if compare and len(images) > 1 else None
    fit: list[Any] = []
    fault = ""
    for image in images:
        theirs = None if ours is None or image is first else read_wcs(image.header, hdus)
        if image.shape != first.shape:
            fault = fault or f"{image.shown} has the shape {image.shape}, {first.shown} {first.shape}"
        elif ours is not None and theirs is not None and not theirs.wcs.compare(ours.wcs, WCSCOMPARE_ANCILLARY, 1e-9):
            fault = fault or f"{image.shown} has another WCS than {first.shown}"
        else:
            fit.append((image.extname, image.extver) if image.extver > 1 else image.extname or image.index)
    if fault:
        raise ValueError(
            f"{fault}: they do not fit into one Dataset. Say which to read, hdu={fit[0]!r} or hdu={fit!r} for some. "
            f"The file has {table_of(hdus)}."
        )


def _check_chunks(chunks: Any, dims: tuple[Hashable, ...]) -> None:
    if chunks is None or chunks == "auto" or (isinstance(chunks, int) and not isinstance(chunks, bool)):
        return
    if not isinstance(chunks, Mapping):
        raise TypeError(f"chunks is {a(chunks)}; pass {{dim: size}} with dims of {dims}, a number, 'auto' or None.")
    unknown = [dim for dim in chunks if dim not in dims]
    if unknown:
        raise ValueError(
            f"chunks names the dim {unknown[0]!r}, but the image has {dims}.{suggestion(unknown[0], dims)}"
        )


def _attrs(image: Image, owner: Image | None) -> dict[str, Any]:
    units = str(image.header.get("BUNIT", "")).strip()
    if owner is None:
        title = str(image.header.get("BTYPE", "")).strip()
        return ({"units": units} if units else {}) | ({"long_name": title} if title else {})
    if image.role.suffix == "_good":
        return {"long_name": "True where the data can be used"}
    units = _error_units(units, str(owner.header.get("BUNIT", "")).strip(), image.role)
    return ({"units": units} if units else {}) | {"long_name": "standard error of the data"}


def _error_units(own: str, of_data: str, role: Role) -> str:
    """Unit of the standard error where ``own`` is that of a variance, an inverse variance or the error itself.

    A variance without a unit, or with that of the data, is in the square of the data's unit.
    """
    power = {Role.VARIANCE: 0.5, Role.INVERSE_VARIANCE: -0.5}.get(role)
    if power is None or not own or own == of_data:
        return own if power is None and own else of_data
    theirs, data = read_unit(own), read_unit(of_data)
    if theirs is None:
        return of_data
    error = theirs**power
    if data is not None and error.is_equivalent(data) and np.isclose(error.to(data), 1):
        return of_data
    return "" if error == u.dimensionless_unscaled else write_unit(error)


def observation(header: fits.Header, primary: fits.Header | None = None) -> dict[str, Any]:
    """The few keywords that tell what was observed, of the image's header or else of the primary one."""
    attrs: dict[str, Any] = {}
    for key, name in OBSERVATION.items():
        value = header.get(key) or (primary.get(key) if primary is not None else None)
        if isinstance(value, str | int | float) and str(value).strip():
            attrs[name] = value.strip() if isinstance(value, str) else value
    return attrs
