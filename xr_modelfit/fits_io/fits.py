"""`from_fits`: FITS images as labelled arrays, read lazily, with coordinates of their WCS; tables and results, too."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from astropy.io import fits
from astropy.wcs import WCSCOMPARE_ANCILLARY

from xr_modelfit.fits_io.file_arrays import Scale, image_numbers
from xr_modelfit.fits_io.flags import Flags, checked_names, names_in
from xr_modelfit.fits_io.hdus import Image, Role, image_of, named_images, selected_images, table_of
from xr_modelfit.fits_io.headers import card_text, read_wcs, with_wcs
from xr_modelfit.fits_io.reading import ABOUT_ERRORS, ABOUT_GOOD, Reading, array_or_dataset, observation
from xr_modelfit.fits_io.spectra import spectrum
from xr_modelfit.fits_io.spectrum_columns import selected_table
from xr_modelfit.fits_io.stored_results import stored_result
from xr_modelfit.fits_io.units import error_units, spelled, unit_attrs
from xr_modelfit.fits_io.wcs import PixelGrid, labelled
from xr_modelfit.fits_io.world_axes import unique
from xr_modelfit.messages import a

__all__ = ["from_fits"]

Hdu = int | str | tuple[str, int]
BitsToIgnore = int | str | Sequence[int | str]


def from_fits(
    source: Any,
    *,
    hdu: Hdu | Sequence[Hdu] | None = None,
    chunks: Any = None,
    wcs: Any = None,
    ignore_bits: BitsToIgnore | None = None,
    flag_names: Mapping[str, int] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Read FITS images, a table of spectra, or a fit result that `to_hdulist` wrote.

    Parameters
    ----------
    source : path, HDU or HDUList
        What to read. The file, or an image in it, may be compressed.
    hdu : int, str, (str, int), or a list of them, optional
        Which HDUs to read, by number, by EXTNAME, or by EXTNAME and EXTVER. By default, the fit
        result if the file holds one, else all images, else the table that holds spectra.
    chunks : dict, int or "auto", optional
        Sizes of the chunks, as in `xarray.open_dataset`. Arrays are then dask arrays. ``{}`` makes
        one chunk.
    wcs : WCS or False, optional
        A WCS to use in place of the header's, for example ``WCS(header, key="A")``. It may be any
        WCS of astropy's shared interface. False: no WCS, coordinates are pixel numbers.
    ignore_bits : int, str, or a list of them, optional
        Flags that are harmless: samples that have only these count as good. Each is a flag value (a
        power of two) or a name. A single number may be a sum of flag values. By default, every flag
        makes a sample bad.
    flag_names : dict of str to int, optional
        Names of flag values, such as ``{"SATURATED": 256}``. They are added to the names in the file.
    columns : dict, optional
        Which columns of a table to read, if their names do not tell. Keys are ``data`` (one name or
        several), ``coordinate`` (None: pixel numbers), ``log10_coordinate``, ``sigma``,
        ``variance``, ``ivar``, ``flags`` (0 is good) and ``good`` (0 is bad).

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A DataArray if there is one variable, else a Dataset. Values are read when they are first
        used; those of an uncompressed file are mapped into memory. The coordinate of a table is
        read at once if it is an index.

        - Errors of ``data`` are in ``data_sigma``, as standard deviations. The file may hold
          variances or inverse variances instead.
        - ``data_good`` is True where flags or masks are 0, apart from ignored flags.
        - ``data_flags`` holds the flags themselves, with the attrs ``flag_masks`` and
          ``flag_meanings``. It exists if flags have names, or if ``ignore_bits`` is given.
        - ``units`` are those of BUNIT or TUNIT.
        - Coordinates of an image are those of `coords_from_wcs`. The scalar coordinate ``wcs`` keeps
          the header.
        - A fit result comes back as it was written. Where ``.where(...)`` has masked it, variables
          are NaN, ``fit_status`` too: such a position has no status.

    Raises
    ------
    TypeError, ValueError
        The source holds neither an image nor a spectrum; images differ in shape or WCS; the WCS
        cannot be read; the meaning of columns cannot be found; an argument does not apply to the
        source; or a flag is not known.
    KeyError
        There is no such HDU.

    Warns
    -----
    UserWarning
        The table of a fit result does not match the images beside it, which are read alone.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> header = fits.Header({"CTYPE1": "WAVE", "CUNIT1": "nm", "CRVAL1": 500.0, "BUNIT": "Jy"})
    >>> spectrum = from_fits(fits.PrimaryHDU(np.ones(3), header))
    >>> spectrum["wavelength"].attrs["units"], spectrum.attrs["units"]
    ('m', 'Jy')
    >>> from astropy.table import Table
    >>> table = Table({"loglam": [3.5, 3.6], "flux": [1.0, 2.0], "ivar": [25.0, 0.0]})
    >>> ds = from_fits(fits.BinTableHDU(table))
    >>> list(ds), ds["wavelength"].values.round(), ds["flux_sigma"].values
    (['flux', 'flux_sigma'], array([3162., 3981.]), array([0.2, nan]))
    """
    names = checked_names(flag_names)
    if isinstance(source, str | os.PathLike):
        path = str(Path(source).expanduser().absolute())
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            return _labelled(hdus, hdu, wcs, Reading(path, chunks, ignore_bits, names, columns))
    reading = Reading(None, chunks, ignore_bits, names, columns)
    if isinstance(source, fits.HDUList):
        return _labelled(source, hdu, wcs, reading)
    if isinstance(source, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU | fits.BinTableHDU):
        if hdu is not None:
            raise ValueError(f"hdu is {hdu!r}, but source is a single HDU. Leave it out, or pass the HDUList.")
        return _labelled(source, None, wcs, reading)
    raise TypeError(f"source is {a(source)}; pass the path of a FITS file, an image HDU or a table HDU, or an HDUList.")


def _labelled(source: Any, asked: Any, wcs: Any, reading: Reading) -> xr.DataArray | xr.Dataset:
    hdus = source if isinstance(source, fits.HDUList) else None
    if hdus is not None and asked is None and wcs is None:
        result = stored_result(hdus, reading)
        if result is not None:
            for option in ("ignore_bits", "columns"):
                if getattr(reading, option) is not None:
                    raise ValueError(
                        f"{option} is given, but the file holds a fit result, which has none. Leave it out."
                    )
            return result
    table = selected_table(source, asked, reading.columns)
    if table is not None:
        if wcs is not None:
            raise ValueError(f"wcs is given, but {table.shown} is a table, which has no WCS. Leave it out.")
        return spectrum(table, hdus, reading)
    if reading.columns is not None:
        where = "pass a table" if hdus is None else f"name a table by hdu=: the file has {table_of(hdus)}"
        raise ValueError(f"columns is {reading.columns!r}, but an image is read. Leave it out, or {where}.")
    images = selected_images(hdus, asked) if hdus is not None else [image_of(0, source)]
    return _image_array(images, hdus, wcs, reading)


def _image_array(
    images: list[Image], hdus: fits.HDUList | None, wcs: Any, reading: Reading
) -> xr.DataArray | xr.Dataset:
    first = next((image for image in images if image.role is Role.DATA), images[0])
    if not first.shape:
        raise ValueError("source is an HDU without data; pass one with an image, or the HDUList.")
    coords = _coordinates(first, hdus, wcs)
    _require_same_grid(images, first, hdus, compare=wcs is None)
    dims = tuple(coords.dims)[: len(first.shape)]
    reading.require_chunks_of(dims)
    named = _with_flags(named_images(images), hdus, reading)
    variables = {}
    for name, (image, owner, attrs) in named.items():
        ancillary = [other for other, (_, theirs, _) in named.items() if theirs is image]
        if ancillary and owner is None:
            attrs["ancillary_variables"] = " ".join(ancillary)
        variables[name] = reading.variable(dims, image_numbers(reading.path, image), attrs)
    about = observation(first.header, *([] if hdus is None else [hdus[0].header]))
    return array_or_dataset(xr.Dataset(variables, coords, about))


def _with_flags(
    named: Mapping[str, tuple[Image, Image | None]], hdus: fits.HDUList | None, reading: Reading
) -> dict[str, tuple[Image, Image | None, dict[str, Any]]]:
    """The variables with their attrs; also the flags themselves, if their bits have names or some are ignored."""
    found: dict[str, tuple[Image, Image | None, dict[str, Any]]] = {}
    for name, (image, owner) in named.items():
        attrs = _attrs(image, owner)
        if image.role is not Role.FLAGS or owner is None:
            names = image.role is Role.DATA and names_in(image.header, None)  # a second kind of flags, as it is
            dtype = Scale.of(image.header).dtype
            attrs |= Flags(names, 0, dtype, True).attrs() if names and dtype.kind in "iu" else {}
            found[name] = (image, owner, attrs)
            continue
        flags = Flags.of(reading, image.shown, image.header, hdus, Scale.of(image.header).dtype)
        found[name] = (replace(image, ignored=flags.ignored), owner, attrs | flags.comment())
        if flags.are_kept:
            own = unique(f"{name.removesuffix('_good')}_flags", [*named, *found])
            found[own] = (replace(image, role=Role.DATA), owner, flags.attrs())
    if reading.ignore_bits is not None and not any(one.role is Role.FLAGS for one, _, _ in found.values()):
        shown = ", ".join(image.shown for image, _, _ in found.values())
        raise ValueError(
            f"ignore_bits is given, but there are no flags beside data in what is read: {shown}. Leave it out."
        )
    return found


def _coordinates(first: Image, hdus: fits.HDUList | None, wcs: Any) -> xr.Coordinates:
    header, sizes = first.header, tuple(reversed(first.shape))
    if wcs is not None and wcs is not False:
        grid = PixelGrid.of(wcs, first.shape)
        return labelled(grid, header=with_wcs(header, grid.wcs))
    try:
        found = None if wcs is False else read_wcs(header, hdus)
    except ValueError as error:
        raise ValueError(
            f"{first.shown}: {error} Pass wcs=False for pixel numbers, or a WCS of your own: wcs=WCS(...)."
        ) from error
    # a header may describe axes of one pixel that the image does not have
    beyond = 0 if found is None else max(0, found.pixel_n_dim - len(sizes))
    grid = PixelGrid(found, (0,) * (len(sizes) + beyond), (*sizes, *(None,) * beyond))
    return labelled(grid, header=header if wcs is None else with_wcs(header, None))


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


def _attrs(image: Image, owner: Image | None) -> dict[str, Any]:
    units = spelled(card_text(image.header, "BUNIT"))
    if owner is None:
        title = card_text(image.header, "BTYPE")
        return unit_attrs(units) | ({"long_name": title} if title else {})
    if image.role.suffix == "_good":
        return dict(ABOUT_GOOD)
    return unit_attrs(error_units(units, spelled(card_text(owner.header, "BUNIT")), image.role)) | ABOUT_ERRORS
