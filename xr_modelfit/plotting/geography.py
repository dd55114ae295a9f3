"""Maps of the Earth: which axis is latitude or longitude, how far its cells reach, and axes of cartopy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "LATITUDE",
    "LONGITUDE",
    "bounds_name",
    "cell_limits",
    "degrees_on",
    "earth_role",
    "is_projected",
    "is_projection",
    "plate_carree",
]

LATITUDE, LONGITUDE = "latitude", "longitude"
POLE = 90.0
_UNITS = {
    LATITUDE: ("degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"),
    LONGITUDE: ("degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"),
}
_NAMES = {LATITUDE: ("lat", "latitude"), LONGITUDE: ("lon", "longitude")}


def earth_role(coordinate: xr.DataArray) -> str | None:
    """Latitude or longitude by CF's standard name or unit, or by a usual name with a unit of degrees or none."""
    units = str(coordinate.attrs.get("units", "")).lower()
    for role in (LATITUDE, LONGITUDE):
        if coordinate.attrs.get("standard_name") == role or units in _UNITS[role]:
            return role
        if str(coordinate.name).lower() in _NAMES[role] and units in ("", "degree", "degrees", "deg"):
            return role
    return None


def cell_limits(holder: xr.Dataset | xr.DataArray, coordinate: xr.DataArray, role: str | None) -> np.ndarray | None:
    """Borders of the cells (n, 2), lower one first, each shared with the neighbour; in the order of the data.

    The outer ones are those of the coordinate's bounds, where ``holder`` has them, or half a step beyond the last
    position; no latitude lies beyond a pole. None where nothing is known but the positions.
    """
    values = np.asarray(coordinate.values, dtype=float)
    bounds = _bounds(holder, coordinate)
    if values.size < 2 or (bounds is None and role != LATITUDE):
        return None
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    half = np.diff(ordered) / 2
    low, high = np.concatenate([half[:1], half]), np.concatenate([half, half[-1:]])
    outer = np.stack([ordered - low, ordered + high], axis=-1) if bounds is None else np.sort(bounds[order], axis=-1)
    inner = (outer[:-1, 1] + outer[1:, 0]) / 2  # where cells lie apart, as in a selection, half-way between them
    edges = np.concatenate([outer[:1, 0], inner, outer[-1:, 1]])
    if role == LATITUDE and np.all(np.abs(values) <= POLE):
        edges = np.clip(edges, -POLE, POLE)
    if not np.all(np.diff(edges) > 0):
        return None
    limits = np.empty((values.size, 2))
    limits[order] = np.stack([edges[:-1], edges[1:]], axis=-1)
    return limits


def bounds_name(known: Any, coordinate: xr.DataArray) -> str | None:
    """The variable with the bounds of a coordinate, if it is there."""
    named = [coordinate.attrs.get("bounds"), coordinate.encoding.get("bounds"), f"{coordinate.name}_bnds"]
    return next((one for one in named if one is not None and one in known), None)


def _bounds(holder: xr.Dataset | xr.DataArray, coordinate: xr.DataArray) -> np.ndarray | None:
    """CF bounds of a 1-D coordinate, which contain its positions."""
    known = holder if isinstance(holder, xr.Dataset) else holder.coords
    name = bounds_name(known, coordinate)
    if name is None or known[name].ndim != 2 or coordinate.dims[0] not in known[name].dims:
        return None
    array = known[name].transpose(coordinate.dims[0], ...)
    if array.shape[1] != 2 or array.dtype.kind not in "iuf":
        return None
    bounds = np.sort(np.asarray(array.values, dtype=float), axis=-1)
    values = np.asarray(coordinate.values, dtype=float)
    return bounds if np.all((bounds[:, 0] <= values) & (values <= bounds[:, 1])) else None


def degrees_on(ax: Axes, side: str, role: str) -> None:
    """Ticks in degrees north and south, or east and west, in place of a unit."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    marks = "NS" if role == LATITUDE else "EW"

    def text(value: float, _: Any) -> str:
        at = value if role == LATITUDE else (value + 180) % 360 - 180
        mark = "" if abs(at) < 1e-9 or (role == LONGITUDE and abs(abs(at) - 180) < 1e-9) else marks[int(at < 0)]
        return f"{abs(at):.6g}°{mark}"

    axis = getattr(ax, f"{side}axis")
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 1.5, 2, 3, 5, 6, 10]))
    axis.set_major_formatter(FuncFormatter(text))


def is_projected(ax: Any) -> bool:
    """Whether these are axes of cartopy, which draw longitude and latitude in a projection."""
    return hasattr(ax, "projection") and callable(getattr(ax, "set_extent", None))


def is_projection(projection: Any) -> bool:
    """Whether axes made with it will be those of cartopy."""
    return callable(getattr(projection, "as_geodetic", None))


def plate_carree() -> Any:
    """The coordinate system of plain longitude and latitude; axes of cartopy exist only where cartopy is there."""
    return import_module("cartopy.crs").PlateCarree()
