"""Coordinates as the axis of a picture: numbers, dates, or names of positions."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_modelfit.plotting.geography import cell_limits, degrees_on, earth_role
from xr_modelfit.plotting.style import label_of, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PlotAxis", "axis_along", "cell_edges", "plot_values", "same_scale"]

_DURATIONS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("s", 1.0), ("ms", 1e-3), ("ns", 1e-9))
_LINE, _CHARACTER = 1.4, 0.8  # room that a name takes, in sizes of the font


@dataclass(frozen=True)
class PlotAxis:
    """Where the positions along a dim are drawn, in the order of the data.

    ``names`` are set where the coordinate has no order of its own (text, duplicates): values are then 0, 1, 2, ...
    ``role`` is set for latitude and longitude; ``limits`` are the borders of the cells (n, 2) where these are known.
    """

    dim: Hashable
    values: np.ndarray
    label: str
    units: str | None = None
    names: tuple[str, ...] | None = None
    role: str | None = None
    limits: np.ndarray | None = None

    @property
    def reach(self) -> tuple[float, float]:
        """From the first border of a cell to the last."""
        if self.limits is not None:
            return float(self.limits.min()), float(self.limits.max())
        edges = cell_edges(np.sort(np.asarray(self.values, dtype=float)))
        return float(edges[0]), float(edges[-1])

    @property
    def order(self) -> np.ndarray:
        """The positions with their values ascending; as they are where they ascend or descend already."""
        steps = self.values[1:] > self.values[:-1]
        if self.limits is not None:
            return np.argsort(self.values, kind="stable")
        return np.arange(len(self.values)) if steps.all() or not steps.any() else np.argsort(self.values, kind="stable")

    def decorate(self, ax: Axes, side: str) -> None:
        """Put the label and, where there are names, the ticks on the axis ``"x"`` or ``"y"``."""
        ax.set(**{f"{side}label": self.label})
        if self.role is not None:
            degrees_on(ax, side, self.role)
        if self.names is None:
            return
        axis = getattr(ax, f"{side}axis")
        box = ax.get_window_extent()
        room = (box.width if side == "x" else box.height) / ax.figure.dpi * 72 / axis.label.get_fontsize()
        across = side == "y" or sum(map(len, self.names)) * _CHARACTER < room
        step = math.ceil(len(self.names) * _LINE / max(room, 1)) if side == "y" or not across else 1
        axis.set_ticks(np.arange(0, len(self.names), step), labels=self.names[::step])
        axis.set_tick_params(which="minor", length=0)
        axis.set_tick_params(rotation=0 if across else 90)


def axis_along(array: xr.DataArray | xr.Dataset, dim: Hashable) -> PlotAxis:
    """The axis that a dim gives: its index where that is one of numbers or dates, else 0, 1, 2, ..."""
    size = array.sizes[dim]
    if dim not in array.coords:
        return PlotAxis(dim, np.arange(size, dtype=float), str(dim))
    coordinate = array.coords[dim]
    index = array.indexes.get(dim)
    values, label = plot_values(coordinate)
    if values is None or pd.isnull(values).any() or len(set(values.tolist())) < size:
        names = tuple(_name(one) for one in (coordinate.values if index is None else index))
        return PlotAxis(dim, np.arange(size, dtype=float), label, names=names)
    units = coordinate.attrs.get("units")
    if coordinate.dtype.kind not in "iuf":
        return PlotAxis(dim, values, label, units)
    role = earth_role(coordinate)
    if role is not None:  # the ticks have the unit
        label = wrapped(str(coordinate.attrs.get("long_name") or role))
    return PlotAxis(dim, values, label, units, role=role, limits=cell_limits(array, coordinate, role))


def plot_values(coordinate: xr.DataArray) -> tuple[np.ndarray | None, str]:
    """Values of a coordinate that matplotlib draws, and their label; None where it has none of numbers or dates.

    Durations become numbers. So do dates of other calendars, unless nc-time-axis is there.
    """
    values, label = coordinate.values, label_of(coordinate)
    kind = values.dtype.kind
    if kind in "iuf":
        return values.astype(float), label
    if kind == "M":
        return values, label
    if kind == "m":
        return _durations(values, label)
    first = next(iter(values.ravel().tolist()), None) if kind == "O" else None
    if type(first).__module__.startswith("cftime") and all(hasattr(v, "calendar") for v in values.flat):
        if not find_spec("nc_time_axis"):
            return _calendar_dates(values, label)
        import_module("nc_time_axis")  # tells matplotlib how such dates are drawn
        return values, label
    return None, label


def _durations(values: np.ndarray, label: str) -> tuple[np.ndarray, str]:
    seconds = values / np.timedelta64(1, "s")
    longest = np.nanmax(np.abs(seconds), initial=0.0)
    unit, length = next(((u, s) for u, s in _DURATIONS if longest >= 2 * s), _DURATIONS[-1])
    return seconds / length, f"{label} [{unit}]".strip()


def _calendar_dates(values: np.ndarray, label: str) -> tuple[np.ndarray, str]:
    """Years, or days where there are few; matplotlib knows no other calendar than ours."""
    dates = values.ravel()
    first, last = min(dates), max(dates)
    if (last - first).total_seconds() > 2 * 365 * 86400:
        numbers = [_year(one) for one in dates]
        unit = f"year, {first.calendar} calendar"
    else:
        numbers = [(one - first).total_seconds() / 86400 for one in dates]
        unit = f"days since {first}, {first.calendar} calendar"
    return np.array(numbers, dtype=float).reshape(values.shape), f"{label} [{unit}]".strip()


def _year(date: Any) -> float:
    start = date.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return float(date.year + (date - start) / (start.replace(year=date.year + 1) - start))


def _name(label: Any) -> str:
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def cell_edges(values: np.ndarray) -> np.ndarray:
    """Borders half-way between positions, which ascend or descend."""
    if len(values) == 1:
        one = np.timedelta64(24, "h") if values.dtype.kind == "M" else 1.0
        return np.array([values[0] - one / 2, values[0] + one / 2])
    half = (values[1:] - values[:-1]) / 2
    return np.concatenate([values[:1] - half[:1], values[:-1] + half, values[-1:] + half[-1:]])


def same_scale(x: PlotAxis, y: PlotAxis) -> bool:
    """Whether a step along one is as long as the same step along the other, as in an image or a map of the Earth."""
    if x.names or y.names or x.values.dtype.kind != "f" or y.values.dtype.kind != "f":
        return False
    if x.role is not None and y.role is not None:
        return x.role != y.role
    units = [None if u is None else "degree" if str(u).startswith("degree") else u for u in (x.units, y.units)]
    spans = [max(np.ptp(one.values), 1e-300) for one in (x, y)]
    return units[0] == units[1] and 0.2 < spans[0] / spans[1] < 5
