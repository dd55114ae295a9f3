"""Right ascension and declination as coordinates on plain axes: mirrored, to scale, in hours and degrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SkyPair", "sky_pair"]

_LONGITUDES = {"ra": True, "right_ascension": True, "glon": False, "elon": False, "galactic_longitude": False}
_LATITUDES = {"dec", "declination", "glat", "elat", "galactic_latitude"}
_SEXAGESIMAL = np.array(
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 18000, 36000, 54000, 108000]
)


class SkyPair:
    """Two coordinates of an array that are a longitude and a latitude on the sky, in degrees.

    Attributes
    ----------
    x, y : Hashable
        Names, horizontal and vertical.
    hours : bool
        Whether the longitude is counted in hours, as right ascension is.
    """

    def __init__(self, array: xr.DataArray, x: Any, y: Any, hours: bool) -> None:
        self.x, self.y, self.hours = x, y, hours
        self._latitude = float(np.nanmean(array.coords[y].values))

    def unwrapped(self, array: xr.DataArray) -> xr.DataArray:
        """Without the jump from 360 degrees to 0 in a field that contains it."""
        values = np.asarray(array.coords[self.x].values, dtype=float)
        if np.nanmax(values) - np.nanmin(values) <= 180:
            return array
        near = np.where(values > 180, values - 360, values)
        if np.nanmax(near) - np.nanmin(near) > 180:
            return array  # most of the sky
        return array.assign_coords({self.x: array.coords[self.x].copy(data=near)})

    def ratio(self, array: xr.DataArray) -> float:
        """Height of the field in units of its width on the sky."""
        spans = [float(np.ptp(self.unwrapped(array).coords[one].values)) for one in (self.x, self.y)]
        return spans[1] / max(spans[0] * np.cos(np.deg2rad(self._latitude)), 1e-300)

    def dress(self, ax: Axes, array: xr.DataArray, given: Mapping[str, Any]) -> None:
        """East to the left, equal scales in the middle of the map, sexagesimal ticks."""
        if given.get("xincrease") is None and not ax.xaxis_inverted():
            ax.invert_xaxis()
        ax.set_aspect(1 / max(np.cos(np.deg2rad(self._latitude)), 0.01))
        for side, name, hours in (("x", self.x, self.hours), ("y", self.y, False)):
            _sexagesimal(ax, side, hours)
            ax.set(**{f"{side}label": str(array.coords[name].attrs.get("long_name", name))})


def sky_pair(array: xr.DataArray, x: Any, y: Any) -> SkyPair | None:
    """The pair that two names are; None where they are not, or are not in degrees."""
    if x not in array.coords or y not in array.coords:
        return None
    if _kind(array.coords[x]) not in _LONGITUDES or _kind(array.coords[y]) not in _LATITUDES:
        return None
    if any(str(array.coords[one].attrs.get("units", "deg")) not in ("deg", "degree", "degrees") for one in (x, y)):
        return None
    return SkyPair(array, x, y, _LONGITUDES[_kind(array.coords[x])])


def _kind(coordinate: xr.DataArray) -> str:
    long = str(coordinate.attrs.get("long_name", "")).lower().replace(" ", "_")
    return long if long in _LONGITUDES or long in _LATITUDES else str(coordinate.name).lower()


def _sexagesimal(ax: Axes, side: str, hours: bool) -> None:
    """Ticks at round hours, minutes and seconds, or degrees, minutes and seconds."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    axis = getattr(ax, f"{side}axis")
    scale = 240.0 if hours else 3600.0  # seconds in a degree
    low, high = sorted(getattr(ax, f"get_{side}lim")())
    wanted = (high - low) * scale / (2.2 if side == "x" else 4)  # labels side by side are long
    steps = _SEXAGESIMAL[wanted <= _SEXAGESIMAL]
    if wanted < 0.5 or not steps.size:
        axis.set_major_locator(MaxNLocator(4))
        return
    axis.set_major_locator(MultipleLocator(steps[0] / scale))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _written(value, scale, hours, int(steps[0]))))


def _written(value: float, scale: float, hours: bool, step: int) -> str:
    """``3h26m00s`` or ``-5°30'``, no finer than the step between ticks."""
    seconds = round(value % 360 * scale if hours else abs(value) * scale)
    first, rest = divmod(seconds % 86400 if hours else seconds, 3600)
    minutes, last = divmod(rest, 60)
    sign = "-" if value < 0 and not hours else ""
    a, b, c = ("h", "m", "s") if hours else ("°", "'", '"')
    text = f"{sign}{first}{a}"
    if step % 3600:
        text += f"{minutes:02d}{b}"
    return text + (f"{last:02d}{c}" if step % 60 else "")
