"""Labelled maps as FITS images, with the WCS of the axes that are left; beside those of a fit result, its record."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from astropy.io import fits

from xr_modelfit.fits_io.flags import flag_cards, whole_flags
from xr_modelfit.fits_io.headers import StoredWCS, stored_wcs
from xr_modelfit.fits_io.moved_wcs import even_track, wcs_of_maps
from xr_modelfit.fits_io.reading import OBSERVATION
from xr_modelfit.fits_io.result_tables import ImagePlace, result_table
from xr_modelfit.fits_io.spectrum_tables import spectrum_table, tabular
from xr_modelfit.fits_io.units import FitsUnit, fits_unit
from xr_modelfit.messages import a

__all__ = ["to_hdulist"]

_MANY_LABELS = 100  # longer lists of labels are not written into a header
_IMAGE_TYPES = {"bool": "u1", "int8": "i2", "float16": "f4", np.dtype(np.longdouble).name: "f8"}  # those FITS lacks


def to_hdulist(obj: xr.Dataset | xr.DataArray) -> fits.HDUList:
    """Maps as FITS images: an empty primary HDU, and one image extension for each variable.

    A fit result also gets a table, ``MODELFIT``, with its record and all coordinates, so that
    `from_fits` gives the same result again. Data that come from a table become a table.

    Parameters
    ----------
    obj : xarray.Dataset or xarray.DataArray
        A fit result, data of `from_fits`, or anything else with numbers. Lazy ones are computed, in
        one go.

    Returns
    -------
    astropy.io.fits.HDUList
        Write it with ``.writeto(path)``. EXTNAME is the name of the variable, BUNIT its ``units`` in
        the words of FITS, to which numbers are converted where that is needed (knots); meanings of
        flags are comments. Axes are in the order of the original file, whatever the
        order of the dims, followed by dims that it did not have.

    Raises
    ------
    TypeError
        ``obj`` is neither a Dataset nor a DataArray, or a variable does not hold real numbers.
    ValueError
        A dim has positions without an even step, or the WCS needs tables that the header does not hold.

    Notes
    -----
    Positions on the sky stay right in any selection with an even step, a reversed one and one of
    a single row too, of which an axis of length 1 remains. A dim that the WCS does not know gets a
    linear axis from its coordinate, or plain pixels without one. Booleans become 8-bit integers,
    signed bytes 16-bit ones. Flags and statuses stay integers where ``.where(...)`` has masked them:
    the keyword BLANK says which number stands for NaN, and readers give NaN there.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from astropy.wcs import WCS
    >>> from xr_modelfit.fits_io.wcs import coords_from_wcs
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    >>> wcs.wcs.crpix = 3, 2
    >>> image = xr.DataArray(np.zeros((4, 6)), coords_from_wcs(wcs, (4, 6)), name="flux", attrs={"units": "Jy"})
    >>> hdus = to_hdulist(image.isel(x=slice(2, None)))
    >>> hdus["FLUX"].shape, hdus["FLUX"].header["CRPIX1"], hdus["FLUX"].header["BUNIT"]
    ((4, 4), 1.0, 'Jy')
    """
    if isinstance(obj, xr.DataArray):
        obj = obj.to_dataset(name=obj.name if obj.name is not None else "data", promote_attrs=True)
    if not isinstance(obj, xr.Dataset):
        raise TypeError(f"obj is {a(obj)}; pass a Dataset, for example a fit result, or a DataArray.")
    stored = next((found for array in obj.data_vars.values() if (found := stored_wcs(array)) is not None), None)
    coordinate, columns = tabular(obj) or (None, [])
    images = obj.drop_vars(columns).data_vars
    plans = {name: _Plan.of(array, name, stored) for name, array in images.items()}  # raises before it computes
    computed = obj.compute()
    primary = fits.PrimaryHDU()
    for key, attr in OBSERVATION.items():
        if isinstance(value := obj.attrs.get(attr), str | int | float) and str(value).isascii():
            primary.header[key] = value
    hdus = fits.HDUList([primary])
    places: dict[Hashable, ImagePlace] = {}
    for name, plan in plans.items():
        values, blank = whole_flags(plan.arranged(computed[name]), obj[name].attrs)
        if blank is not None:
            plan.header["BLANK"] = (blank, "no flag: masked")
        hdus.append(fits.ImageHDU(values, plan.header, name=_ascii(str(name)).upper()))
        hdus[-1].header.update(_classes(name, obj))
        places[name] = ImagePlace(len(hdus) - 1, hdus[-1].header["EXTNAME"], plan.dims, plan.factor == 1.0)
    if columns:
        hdus.append(spectrum_table(computed, coordinate, columns))
    if (table := result_table(computed, places)) is not None:
        hdus.append(table)
    return hdus


def _classes(name: Hashable, obj: xr.Dataset) -> dict[str, str]:
    """What the image is to the others, for `from_fits` and other readers: STDDEV may be a parameter of a model."""
    parent, _, last = str(name).rpartition("_")
    if parent not in obj or last not in ("sigma", "good", "flags"):
        return {"HDUCLAS1": "IMAGE", "HDUCLAS2": "DATA"}
    kind = {"sigma": ("ERROR", "RMSE"), "good": ("QUALITY", "MASKONE"), "flags": ("QUALITY", "FLAG32BIT")}[last]
    return {"HDUCLAS1": "IMAGE", "HDUCLAS2": kind[0], "HDUCLAS3": kind[1], "SCIDATA": _ascii(parent).upper()}


@dataclass(frozen=True)
class _Plan:
    """How one variable becomes an image."""

    dims: tuple[Hashable | None, ...]  # in the array's order; None for an axis of length 1 that the variable lacks
    header: fits.Header
    factor: float  # by which numbers are multiplied where FITS has no word for their unit

    @classmethod
    def of(cls, array: xr.DataArray, name: Hashable, stored: StoredWCS | None) -> "_Plan":
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"The variable {name!r} holds {array.dtype}, which no FITS image does. Leave it out: "
                f".drop_vars({name!r})."
            )
        for dim, n in array.sizes.items():
            if n == 0:
                raise ValueError(f"The variable {name!r} has nothing along {dim!r}, which no FITS image can have.")
        wcs, on_wcs = wcs_of_maps(array, stored) if stored is not None else (None, [])
        header = fits.Header() if wcs is None else wcs.to_header(relax=True)
        others = [dim for dim in array.dims if dim not in on_wcs]
        if on_wcs or others:
            header["WCSAXES"] = len(on_wcs) + len(others)
        for number, dim in enumerate(reversed(others), len(on_wcs) + 1):
            _linear_axis(header, number, array, dim)
        unit = fits_unit(array)
        _describe(header, array, unit)
        return cls((*others, *reversed(on_wcs)) or (None,), header, unit.factor)  # no image is without axes

    def arranged(self, array: xr.DataArray) -> np.ndarray:
        """Numbers in the order of the file and of a type that FITS has."""
        values = array.transpose(*(dim for dim in self.dims if dim is not None)).values
        values = values[tuple(np.newaxis if dim is None else slice(None) for dim in self.dims)]
        if self.factor != 1.0:
            values = values * self.factor
        return values.astype(_IMAGE_TYPES.get(values.dtype.name, values.dtype), copy=False)


def _linear_axis(header: fits.Header, number: int, array: xr.DataArray, dim: Hashable) -> None:
    """Keywords of an axis that the WCS does not know, from the coordinate of the dim where it has one."""
    header[f"CTYPE{number}"] = (str(dim).upper() if str(dim).isascii() else "", "dim")
    if dim not in array.coords:
        return
    coordinate = array.coords[dim]
    if coordinate.dtype.kind not in "iuf":
        if coordinate.size <= _MANY_LABELS:
            header.add_comment(_ascii(f"Along axis {number}, {dim}: {', '.join(map(str, coordinate.values))}"))
        return
    eps = np.finfo(coordinate.dtype).eps if coordinate.dtype.kind == "f" else 0.0
    values = coordinate.values.astype(float)
    step = float(np.max(np.abs(np.diff(values)), initial=0)) or 1.0
    track = even_track(values, dim, "an axis", max(1e-6, 4 * float(eps) * float(np.max(np.abs(values))) / step))
    header[f"CRPIX{number}"] = 1.0
    unit = fits_unit(coordinate)
    header[f"CRVAL{number}"] = track.first * unit.factor
    header[f"CDELT{number}"] = track.step * unit.factor
    if unit.text:
        header[f"CUNIT{number}"] = unit.text


def _describe(header: fits.Header, array: xr.DataArray, unit: FitsUnit) -> None:
    """BUNIT, what the variable is, and what its flags mean."""
    if unit.text:
        header["BUNIT"] = unit.text
    if title := array.attrs.get("long_name"):
        header.add_comment(_ascii(str(title)))
    header.update(flag_cards(array.attrs))
    values = np.atleast_1d(array.attrs.get("flag_values", ()))
    meanings = str(array.attrs.get("flag_meanings", "")).split()
    for value, meaning in zip(values, meanings, strict=True) if len(values) == len(meanings) else ():
        header.add_comment(_ascii(f"{value}: {meaning}"))


def _ascii(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "replace").decode()
