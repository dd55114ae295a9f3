"""The WCS of the pixels that labelled maps still have, moved from that of the header which they keep.

Which pixels these are is told by the indexes: pixel numbers, or world coordinates that the WCS turns back into pixel
numbers.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.wcs import WCS, Sip

from xr_modelfit.fits_io.headers import StoredWCS, units_of
from xr_modelfit.fits_io.units import read_unit
from xr_modelfit.fits_io.wcs import PIXEL_AXIS, WORLD_AXIS

__all__ = ["Track", "even_track", "wcs_of_maps"]


class Track(NamedTuple):
    """Positions on a regular grid, ``first + step * n``, and the dim along them; None for a single position."""

    first: float
    step: float
    dim: Hashable | None

    def moved(self, crpix: float) -> float:
        """A reference pixel, from 1, by its number on this grid."""
        return (crpix - 1 - self.first) / self.step + 1


def wcs_of_maps(array: xr.DataArray, stored: StoredWCS) -> tuple[WCS | None, list[Hashable | None]]:
    """The WCS of the axes that are left, in FITS order, and the dims along them.

    Raises ValueError if positions have no even step, or the WCS needs tables that the header does not hold, or an axis
    that is gone.
    """
    found = _tracks(array, stored)
    kept = _axes_with_wcs(found, stored.wcs)
    missing = [k for k in kept if k in stored.tabular or (stored.lookup and k < 2)]
    if missing:
        kind = "lookup table (-TAB)" if missing[0] in stored.tabular else "table of distortions"
        raise ValueError(
            f"The WCS along {found[missing[0]].dim!r} needs a {kind}, which the header that is kept does not hold; "
            "positions would be wrong. Leave the WCS out, .drop_vars('wcs'), and add the file's own to the HDUs."
        )
    return _moved_wcs(stored.wcs, {k: found[k] for k in kept}) if kept else None, [found[k].dim for k in kept]


def _tracks(array: xr.DataArray, stored: StoredWCS) -> dict[int, Track]:
    """By pixel axis of the stored WCS: the pixels of the array along it."""
    found: dict[int, Track] = {}
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
            if axis in stored.tabular:  # an error is raised later, whatever the pixels are
                values = np.arange(len(values))
            elif (pixels := _pixels_of(stored.wcs, axis, values, coordinate.attrs.get("units"))) is not None:
                values = pixels
            else:
                continue
        found[axis] = even_track(values, name, "the WCS")._replace(dim=name if coordinate.dims else None)
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


def even_track(values: np.ndarray, dim: Hashable, what: str, tolerance: float = 1e-6) -> Track:
    values = np.asarray(values, dtype=float)
    n = len(values)
    step = (values[-1] - values[0]) / (n - 1) if n > 1 else 1.0
    slack = max(tolerance * abs(step), 4 * np.finfo(float).eps * np.max(np.abs(values)))
    if not np.all(np.isfinite(values)) or step == 0 or np.max(np.abs(values - values[0] - step * np.arange(n))) > slack:
        raise ValueError(
            f"Positions along {dim!r} have no even step, which {what} of a FITS image needs. Select with an even step, "
            f".isel({dim}=slice(...)), or leave its coordinate out for plain pixels: .drop_vars({dim!r})."
        )
    return Track(float(values[0]), float(step), dim)


def _axes_with_wcs(found: dict[int, Track], wcs: WCS) -> list[int]:
    """Pixel axes that keep their WCS: those whose world axes need no pixel axis that is gone."""
    matrix = np.array(wcs.axis_correlation_matrix, dtype=bool)
    gone = [k for k in range(matrix.shape[1]) if k not in found]
    usable = ~matrix[:, gone].any(axis=1)
    kept = [k for k in sorted(found) if matrix[usable, k].any()]
    needed = [k for k in kept if found[k].dim is not None]  # of single positions, keep only what other axes need
    rows = usable & matrix[:, needed].any(axis=1)
    return [k for k in kept if found[k].dim is not None or matrix[rows, k].any()]


def _moved_wcs(wcs: WCS, tracks: dict[int, Track]) -> WCS:
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
        crpix[k] = track.moved(crpix[k])
        if not np.delete(old[k], k).any() and not np.delete(old[:, k], k).any():  # not rotated with another axis
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


def _moved_sip(sip: Sip, tracks: dict[int, Track]) -> Sip:
    """Distortions, which are polynomials in pixels and shifts in pixels, at other pixels."""
    steps = [tracks[k].step for k in (0, 1)]
    crpix = [tracks[k].moved(sip.crpix[k]) for k in (0, 1)]

    def scaled(coefficients: np.ndarray | None, shift: float) -> np.ndarray | None:
        if coefficients is None:
            return None
        p, q = np.indices(coefficients.shape)
        return np.asarray(coefficients * steps[0] ** p * steps[1] ** q / shift)

    return Sip(
        *(scaled(c, s) for c, s in ((sip.a, steps[0]), (sip.b, steps[1]), (sip.ap, steps[0]), (sip.bp, steps[1]))),
        crpix,
    )
