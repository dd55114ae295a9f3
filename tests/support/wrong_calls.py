"""Wrong calls as rows of a table, and data that they cannot read: its tasks raise, or the backend of its file.

Each message is held to three things: what was got, what was expected, and what to do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask
import dask.array
import numpy as np
import pandas as pd
import xarray as xr
from astropy import units as u
from astropy.modeling.models import Gaussian1D
from xarray.backends import BackendArray
from xarray.core.indexing import LazilyIndexedArray

import xr_modelfit  # noqa: F401  registers .modelfit

N = 12
VELOCITY = np.linspace(0.0, 110.0, N)
SIZES = {"y": 3, "x": 2, "velocity": N}
LABELS = {"y": [10.0, 20.0, 30.0], "x": [1.0, 2.0], "velocity": VELOCITY}
G = Gaussian1D(1, 50, 10)
KELVINS = Gaussian1D(1 * u.K, 50 * u.m / u.s, 10 * u.m / u.s)


class SampleWasRead(Exception):
    """A wrong call read the data."""


class Unreadable(BackendArray):
    """An array in a file, as xarray sees it, whose samples cannot be read."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: list[str]) -> None:
        self.shape, self.dtype, self.read = shape, np.dtype(dtype), read

    def __getitem__(self, key: Any) -> Any:
        self.read.append("file")
        raise SampleWasRead


@dataclass
class Stage:
    """Data that cannot be read, and what goes with it."""

    dask: bool
    read: list[str] = field(default_factory=list)

    def array(self, sizes: dict[str, int], dtype: Any = float, name: str = "flux", **coords: Any) -> xr.DataArray:
        shape = tuple(sizes.values())
        data: Any = LazilyIndexedArray(Unreadable(shape, dtype, self.read))
        if self.dask:
            data = dask.array.from_delayed(dask.delayed(self._compute)(), shape, dtype=dtype)
        return xr.DataArray(xr.Variable(list(sizes), data), coords=coords, name=name)

    def _compute(self) -> None:
        self.read.append("dask")
        raise SampleWasRead

    @property
    def cube(self) -> xr.DataArray:
        return self.array(SIZES, **LABELS)

    def of(self, dtype: Any) -> xr.DataArray:
        return self.array(SIZES, dtype, **LABELS)

    @property
    def dated(self) -> xr.DataArray:
        return self.cube.assign_coords(velocity=pd.date_range("2000", periods=N))

    @property
    def labelled(self) -> xr.DataArray:
        velocity = ("velocity", VELOCITY, {"units": "m s-1"})
        return self.cube.assign_coords(velocity=velocity).assign_attrs(units="K")

    @property
    def image(self) -> xr.DataArray:
        return self.array({"t": 4, "lat": 5, "lon": 6}, lat=np.arange(5.0), lon=np.arange(6.0))

    @property
    def dataset(self) -> xr.Dataset:
        quality = self.array(SIZES, int, **LABELS)
        return xr.Dataset({"flux": self.cube, "flux_err": self.cube, "quality": quality})

    def fit(self, model: Any = G, **options: Any) -> Any:
        return self.cube.modelfit(model, dim="velocity", **options)


@dataclass(frozen=True)
class Wrong:
    """A wrong call, the error that it must raise, and words of its message."""

    call: Callable[[Stage], Any]
    error: type[Exception] | tuple[type[Exception], ...]
    got: str
    expected: str
    advice: str
    forms: tuple[str, ...] = ("dask", "file")
