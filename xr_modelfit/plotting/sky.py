"""Maps of the sky: axes with right ascension to the left, equal scales, and ticks in hours or degrees."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.wcs import WCS, InvalidSubimageSpecificationError
from astropy.wcs.utils import wcs_to_celestial_frame

from xr_modelfit.fits_io.headers import stored_wcs
from xr_modelfit.fits_io.wcs import PIXEL_AXIS, WORLD_AXIS

__all__ = ["Sky", "dress_sky", "fit_sky_labels", "hide_inner", "is_sky_axes", "oriented", "sky_of"]

_WORDS = {
    "pos.eq.ra": "right ascension",
    "pos.eq.dec": "declination",
    "pos.galactic.lon": "Galactic longitude",
    "pos.galactic.lat": "Galactic latitude",
    "pos.ecliptic.lon": "ecliptic longitude",
    "pos.ecliptic.lat": "ecliptic latitude",
    "pos.supergalactic.lon": "supergalactic longitude",
    "pos.supergalactic.lat": "supergalactic latitude",
    "pos.helioprojective.lon": "helioprojective longitude",
    "pos.helioprojective.lat": "helioprojective latitude",
}


@dataclass(frozen=True)
class Sky:
    """The sky that a map shows."""

    wcs: WCS  # of longitude and latitude, in this order, at pixel numbers from 0
    slices: tuple[str, str]  # its horizontal pixel axis: ("x", "y"), or ("y", "x") for its second one

    @property
    def projection(self) -> dict[str, Any]:
        """For ``subplot_kw`` of matplotlib."""
        return {"projection": self.wcs, "slices": self.slices}

    @property
    def steps(self) -> np.ndarray:
        """Degrees of longitude and latitude on the sky (rows) for one pixel to the right and up (columns)."""
        matrix = np.asarray(self.wcs.pixel_scale_matrix, dtype=float)
        return matrix if self.slices == ("x", "y") else matrix[:, ::-1]

    @property
    def aspect(self) -> float:
        """Height of a pixel in units of its width."""
        width, height = np.hypot(*self.steps)
        return float(height / width)

    @property
    def inverted(self) -> tuple[bool, bool]:
        """Whether the horizontal and the vertical axis are turned, so that north is up and east is left."""
        steps = self.steps
        down = bool(steps[1, 1] < 0 and abs(steps[1, 1]) >= abs(steps[1, 0]))
        mirrored = np.linalg.det(steps) * (-1 if down else 1) > 0
        return bool(mirrored), down

    def transform(self, ax: Any) -> Any:
        """From pixels of this sky to axes of another one; None where it is the same."""
        other = ax.wcs.low_level_wcs if hasattr(ax.wcs, "low_level_wcs") else ax.wcs
        if self.slices == ("x", "y") and isinstance(other, WCS) and _alike(self.wcs, other):
            return None
        return ax.get_transform(self.wcs if self.slices == ("x", "y") else self.wcs.swapaxes(0, 1))

    def frame_transform(self, ax: Any) -> Any:
        """From longitude and latitude in degrees to axes."""
        return ax.get_transform(wcs_to_celestial_frame(self.wcs))


def sky_of(array: xr.DataArray, horizontal: Hashable, vertical: Hashable) -> Sky | None:
    """The sky of a map over pixels of a FITS WCS; None where dims are no such pixels, or the WCS is not complete."""
    number = {}
    for dim in (horizontal, vertical):
        coordinate = array.coords.get(dim)
        if coordinate is None or PIXEL_AXIS not in coordinate.attrs or WORLD_AXIS in coordinate.attrs:
            return None
        number[dim] = coordinate.attrs[PIXEL_AXIS]
    try:
        stored = stored_wcs(array)
        if stored is None or stored.lookup or not stored.wcs.has_celestial:
            return None
        lon, lat = stored.wcs.wcs.lng, stored.wcs.wcs.lat
        if {number[horizontal], number[vertical]} != {lon + 1, lat + 1} or {lon, lat} & set(stored.tabular):
            return None
        celestial = stored.wcs.celestial if lon < lat else stored.wcs.sub([lon + 1, lat + 1])
    except (ValueError, InvalidSubimageSpecificationError):  # what cannot be read, or not be parted, has pixels still
        return None
    return Sky(celestial, ("x", "y") if number[horizontal] == lon + 1 else ("y", "x"))


def oriented(
    array: xr.DataArray, horizontal: Hashable, vertical: Hashable, given: Mapping[str, Any]
) -> tuple[Sky | None, dict[str, Any]]:
    """The sky of a map, and options that put its dims where north is up and not to a side; yours are kept."""
    sky = sky_of(array, horizontal, vertical)
    if sky is None or given.get("x") is not None or given.get("y") is not None:
        return sky, {}
    if abs(sky.steps[1, 1]) >= abs(sky.steps[1, 0]):
        return sky, {}
    return sky_of(array, vertical, horizontal), {"x": vertical, "y": horizontal}


def is_sky_axes(ax: Any) -> bool:
    """Whether these are astropy's WCSAxes; nothing is imported to find out."""
    module = sys.modules.get("astropy.visualization.wcsaxes")
    return module is not None and isinstance(ax, module.WCSAxes)


def _alike(one: WCS, other: WCS) -> bool:
    """Whether two WCS have the same sky at the same pixels."""
    if other.naxis != 2 or not other.has_celestial:
        return False
    at = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    with np.errstate(all="ignore"):
        mine, theirs = one.wcs_pix2world(at, 0), other.wcs_pix2world(at, 0)
    same = list(one.wcs.ctype) == list(other.wcs.ctype) and one.wcs.radesys == other.wcs.radesys
    return bool(same and np.allclose(mine, theirs, rtol=0, atol=1e-9, equal_nan=True))


def dress_sky(ax: Any, sky: Sky | None, given: Mapping[str, Any]) -> None:
    """Labels, scales and ticks of the sky; directions too where the axes are ours, as ``sky`` says."""
    kinds = _kinds(ax)
    frame = _frame(ax)
    ax.patch.set_in_layout(False)  # until the first drawing it lies at the pixels 0 and 1
    for coordinate, kind, position in zip(ax.coords, kinds, _positions(ax, sky), strict=False):
        if kind is None:
            continue
        coordinate.set_axislabel(f"{_WORDS.get(kind, _plain(kind))}{frame if kind.startswith('pos.eq') else ''}")
        coordinate.set_ticklabel(exclude_overlapping=True)
        if sky is not None:
            coordinate.set_ticks(number=4)
            coordinate.set_ticks_position(position)
            coordinate.set_ticklabel_position(position)
            coordinate.set_axislabel_position(position)
    if sky is None:
        if ax.get_aspect() == "auto" and isinstance(ax.wcs, WCS) and ax.wcs.naxis == 2 and ax.wcs.has_celestial:
            ax.set_aspect(Sky(ax.wcs, ("x", "y")).aspect)
        return
    ax.set_aspect(sky.aspect)
    for turned, side in zip(sky.inverted, "xy", strict=True):
        axis = getattr(ax, f"{side}axis")
        if turned and given.get(f"{side}increase") is None and not axis.get_inverted():
            axis.set_inverted(True)


def hide_inner(ax: Any, *, left: bool, lowest: bool) -> None:
    """No labels on axes inside a grid of panels, which have those of the outer ones."""
    for coordinate in ax.coords:
        if (not left and "l" in coordinate.get_axislabel_position()) or (
            not lowest and "b" in coordinate.get_axislabel_position()
        ):
            coordinate.set_ticklabel_visible(False)
            coordinate.set_auto_axislabel(False)
            coordinate.set_axislabel("")


def fit_sky_labels(ax: Any) -> None:
    """Shrink labels that are longer than their axes."""
    box = ax.get_window_extent()
    for coordinate in ax.coords:
        label = coordinate.get_axislabel()
        room = (box.width if "b" in coordinate.get_axislabel_position() else box.height) / ax.figure.dpi * 72
        long = 0.55 * float(coordinate._axislabels.get_fontsize()) * len(label or "")
        if label and long > room:
            coordinate.set_axislabel(label, fontsize=max(6.0, room / (0.55 * len(label))))


def _kinds(ax: Any) -> list[str | None]:
    return [kind if kind and kind.startswith("pos.") else None for kind in ax.wcs.world_axis_physical_types]


def _positions(ax: Any, sky: Sky | None) -> Sequence[str]:
    """Which side each coordinate is written at: the one that it changes along."""
    if sky is None:
        return ["b", "l"] * len(ax.wcs.world_axis_physical_types)
    across = np.abs(sky.steps[0, 0]) >= np.abs(sky.steps[0, 1])
    return ["b", "l"] if across else ["l", "b"]


def _frame(ax: Any) -> str:
    low = ax.wcs.low_level_wcs if hasattr(ax.wcs, "low_level_wcs") else ax.wcs
    core = getattr(low, "wcs", None)
    if core is None:
        return ""
    system = str(core.radesys or "")
    if system in ("FK5", "FK4") and np.isfinite(core.equinox):
        system = f"{'J' if system == 'FK5' else 'B'}{core.equinox:g}"
    return f" ({system})" if system else ""


def _plain(kind: str) -> str:
    return " ".join(kind.split(".")[1:]).replace("lon", "longitude").replace("lat", "latitude")
