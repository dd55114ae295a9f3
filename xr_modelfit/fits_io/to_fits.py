"""Labelled maps as FITS images, with the WCS of the axes that are left; beside those of a fit result, its record.

The WCS is that of the header which the scalar coordinate ``wcs`` keeps, moved to the pixels that
the maps still have. Which ones these are is told by the indexes: pixel numbers, or world
coordinates that the WCS turns back into pixel numbers.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, Sip

from xr_modelfit.fits_io.flags import flag_cards
from xr_modelfit.fits_io.headers import StoredWCS, stored_wcs, units_of
from xr_modelfit.fits_io.reading import OBSERVATION
from xr_modelfit.fits_io.result_tables import ImagePlace, result_table
from xr_modelfit.fits_io.spectrum_tables import spectrum_table, tabular
from xr_modelfit.fits_io.units import FitsUnit, fits_unit, read_unit
from xr_modelfit.fits_io.wcs import PIXEL_AXIS, WORLD_AXIS
from xr_modelfit.messages import a

__all__ = ["to_hdulist"]

_MANY_LABELS = 100  # more than these are not listed in a header


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
    signed bytes 16-bit ones.

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
        raise TypeError(f"obj is {a(obj)}; pass a Dataset, a fit result for one, or a DataArray.")
    stored = next((found for array in obj.data_vars.values() if (found := stored_wcs(array)) is not None), None)
    coordinate, columns = tabular(obj) or (None, [])
    images = obj.drop_vars(columns).data_vars
    plans = {name: _Plan.of(array, name, stored) for name, array in images.items()}  # refuses before it reads
    computed = obj.compute()
    primary = fits.PrimaryHDU()
    for key, attr in OBSERVATION.items():
        if isinstance(value := obj.attrs.get(attr), str | int | float) and str(value).isascii():
            primary.header[key] = value
    hdus = fits.HDUList([primary])
    places: dict[Hashable, ImagePlace] = {}
    for name, plan in plans.items():
        values = plan.arranged(computed[name])
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
class _Track:
    """Where the positions along a dim are on a regular grid: ``first + step * n``."""

    first: float
    step: float


@dataclass(frozen=True)
class _Plan:
    """How one variable becomes an image: its dims in the array's order, None for an axis of length 1.

    Numbers are multiplied by ``factor`` where FITS has no word for their unit.
    """

    dims: tuple[Hashable | None, ...]
    header: fits.Header
    factor: float = 1.0

    @classmethod
    def of(cls, array: xr.DataArray, name: Hashable, stored: StoredWCS | None) -> "_Plan":
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"The variable {name!r} holds {array.dtype}, which no FITS image does. Leave it out: "
                f".drop_vars({name!r})."
            )
        empty = [dim for dim, n in array.sizes.items() if n == 0]
        if empty:
            raise ValueError(f"The variable {name!r} has nothing along {empty[0]!r}, which no FITS image can have.")
        found = _tracks(array, stored)
        kept = _kept(found, stored.wcs) if stored is not None else []
        header = fits.Header()
        if stored is not None and kept:
            _require_tables(stored, kept, found)
            moved = moved_wcs(stored.wcs, {k: found[k][1] for k in kept})
            header = moved.to_header(relax=True)
        on_wcs = [found[k][0] for k in kept]
        others = [dim for dim in array.dims if dim not in on_wcs]
        if kept or others:
            header["WCSAXES"] = len(kept) + len(others)
        for number, dim in enumerate(reversed(others), len(kept) + 1):
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
        if values.dtype.kind == "b":
            return values.astype(np.uint8)
        if values.dtype == np.int8:
            return values.astype(np.int16)
        if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
            return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
        return values


def _tracks(array: xr.DataArray, stored: StoredWCS | None) -> dict[int, tuple[Hashable | None, _Track]]:
    """By pixel axis of the stored WCS: the dim along it, None for a single position, and its pixels."""
    found: dict[int, tuple[Hashable | None, _Track]] = {}
    if stored is None:
        return found
    for name, coordinate in array.coords.items():
        number, world = (coordinate.attrs.get(key) for key in (PIXEL_AXIS, WORLD_AXIS))
        if coordinate.dims not in ((), (name,)) or number is None:
            continue
        axis = int(number) - 1
        if not 0 <= axis < stored.wcs.naxis or axis in found:
            continue
        values = np.atleast_1d(np.asarray(coordinate.values))
        if world is not None:
            if not coordinate.dims or world != number:  # one position of an axis of its own is left out
                continue
            tabular = axis in stored.tabular  # refused later, whatever its pixels are
            pixels = values * 0 if tabular else _pixels_of(stored.wcs, axis, values, coordinate.attrs.get("units"))
            if pixels is None:
                continue
            values = np.arange(len(values)) if tabular else pixels
        found[axis] = (name if coordinate.dims else None, _even(values, name, "the WCS"))
    return found


def _pixels_of(wcs: WCS, axis: int, values: np.ndarray, units: str | None) -> np.ndarray | None:
    """Pixel numbers, from 0, of world coordinates along an axis of its own; None where they are others."""
    own = u.Unit(units_of(wcs)[axis], parse_strict="silent")
    theirs = read_unit(units or "")
    if theirs is None:
        return None
    try:
        values = np.asarray(values, dtype=float) if theirs == own else theirs.to(own, np.asarray(values, dtype=float))
        alone = wcs.sub([axis + 1])
        pixels = np.asarray(alone.all_world2pix(values, 0)[0])
        back = np.asarray(alone.all_pix2world(pixels, 0)[0])
    except (ValueError, TypeError, u.UnitConversionError):
        return None
    whole = np.rint(pixels)
    pixels = np.where(np.abs(pixels - whole) < 1e-5, whole, pixels)
    near = np.allclose(back, values, rtol=1e-9, atol=1e-6 * np.max(np.abs(np.diff(values)), initial=0))
    return pixels if near and np.all(np.isfinite(pixels)) else None


def _even(values: np.ndarray, dim: Hashable, what: str, tolerance: float = 1e-6) -> _Track:
    values = np.asarray(values, dtype=float)
    n = len(values)
    step = (values[-1] - values[0]) / (n - 1) if n > 1 else 1.0
    slack = max(tolerance * abs(step), 4 * np.finfo(float).eps * np.max(np.abs(values)))
    if not np.all(np.isfinite(values)) or step == 0 or np.max(np.abs(values - values[0] - step * np.arange(n))) > slack:
        raise ValueError(
            f"Positions along {dim!r} have no even step, which {what} of a FITS image needs. Select with an even step, "
            f".isel({dim}=slice(...)), or leave its coordinate out for plain pixels: .drop_vars({dim!r})."
        )
    return _Track(float(values[0]), float(step))


def _kept(found: dict[int, tuple[Hashable | None, _Track]], wcs: WCS) -> list[int]:
    """Pixel axes that keep their WCS: those whose world axes need no pixel axis that is gone."""
    matrix = np.array(wcs.axis_correlation_matrix, dtype=bool)
    gone = [k for k in range(matrix.shape[1]) if k not in found]
    usable = ~matrix[:, gone].any(axis=1)
    kept = [k for k in sorted(found) if matrix[usable, k].any()]
    # of a single position only what other axes need
    needed = [k for k in kept if found[k][0] is not None]
    rows = usable & matrix[:, needed].any(axis=1)
    return [k for k in kept if found[k][0] is not None or matrix[rows, k].any()]


def _require_tables(stored: StoredWCS, kept: list[int], found: dict[int, tuple[Hashable | None, _Track]]) -> None:
    missing = [k for k in kept if k in stored.tabular or (stored.lookup and k < 2)]
    if missing:
        dim = found[missing[0]][0]
        kind = "lookup table (-TAB)" if missing[0] in stored.tabular else "table of distortions"
        raise ValueError(
            f"The WCS along {dim!r} needs a {kind}, which the header that is kept does not hold; positions would be "
            "wrong. Leave the WCS out, .drop_vars('wcs'), and add the file's own to the HDUs."
        )


def moved_wcs(wcs: WCS, tracks: dict[int, _Track]) -> WCS:
    """The WCS of some pixel axes at other pixels: pixel n is what was ``first + step * n``, both from 0.

    Astropy's own `WCS.slice` takes a step as averaging, which moves positions by a part of a pixel,
    and knows no negative one.
    """
    moved = wcs.deepcopy()
    core = moved.wcs
    crpix, cdelt, matrix = core.crpix.copy(), core.get_cdelt().copy(), core.get_pc().copy()
    old = matrix.copy()
    dependent = np.array(wcs.axis_correlation_matrix, dtype=bool)
    gone = [k for k in range(wcs.naxis) if k not in tracks]
    misplaced = [i for i in gone if dependent[i].any() and not dependent[i, gone].any()]
    if misplaced:
        raise ValueError(
            f"The header's axis {misplaced[0] + 1}, {core.ctype[misplaced[0]]!r}, goes along pixel axes of other "
            "numbers (in its PC or CD matrix), of which one is gone: the rest cannot be written. Leave the WCS out, "
            ".drop_vars('wcs')."
        )
    ctype, crval = list(core.ctype), core.crval.copy()
    for k, track in tracks.items():
        crpix[k] = (crpix[k] - 1 - track.first) / track.step + 1
        alone = not np.delete(old[k], k).any() and not np.delete(old[:, k], k).any()
        if alone:
            cdelt[k] *= track.step
        else:
            matrix[:, k] *= track.step
    for i in range(wcs.naxis):
        if i in gone or dependent[i, gone].any():  # no position without the axis that is gone
            matrix[i] = np.eye(wcs.naxis)[i]
            ctype[i], cdelt[i], crval[i] = "", 1.0, 0.0
            core.cunit[i] = ""
            if i in tracks:  # plain pixels instead, with their old numbers
                cdelt[i] = tracks[i].step
                crval[i] = tracks[i].first + tracks[i].step * (crpix[i] - 1)
    if core.has_cd():
        del core.cd
    if core.has_crota():
        del core.crota
    core.pc, core.cdelt, core.crpix, core.crval = matrix, cdelt, crpix, crval
    core.ctype = ctype
    if moved.sip is not None:
        moved.sip = _moved_sip(moved.sip, tracks)
    core.set()
    return moved.sub([k + 1 for k in sorted(tracks)])


def _moved_sip(sip: Sip, tracks: dict[int, _Track]) -> Sip:
    """Distortions, which are polynomials in pixels and shifts in pixels, at other pixels."""
    steps = [tracks[k].step for k in (0, 1)]
    crpix = [(sip.crpix[k] - 1 - tracks[k].first) / tracks[k].step + 1 for k in (0, 1)]

    def scaled(coefficients: np.ndarray | None, shift: float) -> np.ndarray | None:
        if coefficients is None:
            return None
        p, q = np.indices(coefficients.shape)
        return np.asarray(coefficients * steps[0] ** p * steps[1] ** q / shift)

    return Sip(
        *(scaled(c, s) for c, s in ((sip.a, steps[0]), (sip.b, steps[1]), (sip.ap, steps[0]), (sip.bp, steps[1]))),
        crpix,
    )


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
    largest = float(np.max(np.abs(coordinate.values.astype(float))))
    step = float(np.max(np.abs(np.diff(coordinate.values.astype(float))), initial=0)) or 1.0
    track = _even(coordinate.values, dim, "an axis", max(1e-6, 4 * float(eps) * largest / step))
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
    values, meanings = array.attrs.get("flag_values"), str(array.attrs.get("flag_meanings", "")).split()
    if values is not None and len(np.atleast_1d(values)) == len(meanings):
        for value, meaning in zip(np.atleast_1d(values), meanings, strict=True):
            header.add_comment(_ascii(f"{value}: {meaning}"))


def _ascii(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "replace").decode()
