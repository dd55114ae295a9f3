"""A disk that fills up while a store is written: a clear error, and the rest later."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit  # noqa: F401  registers .modelfit

zarr = pytest.importorskip("zarr", reason="the stores are zarr's")

MEMORY = 4000  # tiles that do not divide the whole
X = np.linspace(-3.0, 3.0, 16)


def cube() -> xr.DataArray:
    values = np.random.default_rng(0).normal(0, 0.1, (5, 4, X.size)) + 2 * np.exp(-0.5 * (X - 0.3) ** 2)
    return xr.DataArray(values, dims=("lat", "lon", "x"), coords={"x": X, "lat": np.arange(5.0)}, name="flux")


def fitted(data: xr.DataArray) -> xr.Dataset:
    return data.modelfit(Gaussian1D(2.0, 0.5, 0.8), dim="x")


class Disk(zarr.storage.LocalStore):
    """A folder with room for so many files more; what does not fit is cut off, as a disk does it."""

    room = 10**9

    async def set(self, key: str, value: Any, *rest: Any) -> None:
        if Disk.room <= 0:
            part = value.to_bytes()[: len(value) // 2]
            (self.root / key).parent.mkdir(parents=True, exist_ok=True)
            if not key.endswith("json"):  # metadata is put in place in one go
                (self.root / key).write_bytes(part)
            raise OSError(errno.ENOSPC, "No space left on device", key)
        Disk.room -= 1
        await super().set(key, value, *rest)


def write(folder: Path, room: int, resume: bool = False) -> int:
    """Room that is left."""
    Disk.room = room
    lazy = fitted(cube().chunk(lat=2, lon=3))
    lazy.modelfit.to_zarr(Disk(folder), memory=MEMORY, resume=resume, scheduler="synchronous")
    return Disk.room


def check(folder: Path) -> None:
    xr.testing.assert_equal(xr.open_zarr(folder, consolidated=False).load(), fitted(cube()))


@pytest.mark.slow
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_any_moment(step: int, tmp_path: Path) -> None:
    """From the first file to the last; the fit goes on when there is room again."""
    needed = 10**6 - write(tmp_path / "whole", 10**6)
    check(tmp_path / "whole")
    for room in [*range(0, needed - 1, step), needed - 1]:
        folder = tmp_path / f"room for {room}"
        with pytest.raises(OSError, match="No space left on device") as caught:
            write(folder, room)
        if room == needed - 1:
            assert "resume=True" in "".join(caught.value.__notes__)
        write(folder, 10**6, resume=True)
        check(folder)


def test_a_disk_that_is_full_again_and_again(tmp_path: Path) -> None:
    """Each time some files more."""
    for run in range(100):
        try:
            write(tmp_path / "fit", 60, resume=True)
        except OSError:
            continue
        assert run > 0
        break
    check(tmp_path / "fit")
