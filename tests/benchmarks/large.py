"""Fit a zarr store that is larger than memory, in chunks of one time step, into another store.

Prints the time, the peak memory of the process and its workers, and how far a sample of the result
is from the same fits in memory: ``python tests/benchmarks/large.py FOLDER --gib 8 --memory 1GiB``.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import xarray as xr
import zarr
from astropy.modeling.models import Linear1D

import xr_modelfit  # noqa: F401  registers .modelfit

N_TIME, N_X = 480, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=8.0, help="size of the source, uncompressed float32")
    parser.add_argument("--memory", default="1GiB", help="what to_zarr is told")
    parser.add_argument("--workers", type=int, default=0, help="processes of a LocalCluster [threads]")
    options = parser.parse_args()
    source, target = options.folder / "source.zarr", options.folder / "fit.zarr"
    n_y = round(options.gib * 2**30 / (4 * N_TIME * N_X))
    if not source.exists():
        write_source(source, n_y)
    shutil.rmtree(target, ignore_errors=True)
    data = xr.open_zarr(source)["t"]
    print(f"source: {data.sizes}, {data.nbytes / 2**30:.2f} GiB, chunks of one time step")
    peak = Peak()
    begin = time.perf_counter()
    if options.workers:
        from distributed import Client

        with Client(n_workers=options.workers, threads_per_worker=1, memory_limit="1GiB", dashboard_address=None) as c:
            fit(data, target, options.memory, c)
    else:
        fit(data, target, options.memory, None)
    print(f"{time.perf_counter() - begin:.0f} s, peak {peak.stop() / 2**30:.2f} GiB")
    compare(data, xr.open_zarr(target))


def fit(data: xr.DataArray, target: Path, memory: str, scheduler: object) -> None:
    data.modelfit(Linear1D(), dim="time").modelfit.to_zarr(target, memory=memory, scheduler=scheduler, progress=True)


def write_source(path: Path, n_y: int) -> None:
    """A trend and noise, one map after the other, compressed as zarr does it by default."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    shape = (N_TIME, n_y, N_X)
    array = root.create_array("t", shape=shape, chunks=(1, n_y, N_X), dtype="f4", fill_value=np.nan)
    array.attrs["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    rng = np.random.default_rng(0)
    slope = rng.normal(0, 0.01, (n_y, N_X)).astype("f4")
    for i in range(N_TIME):
        array[i] = np.round(10 + slope * i + rng.normal(0, 1, (n_y, N_X)), 2).astype("f4")


class Peak:
    """Peak of the resident memory of this process and its children, ten times a second."""

    def __init__(self) -> None:
        self.most, self.going = 0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        me = psutil.Process()
        while self.going:
            total = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.most = max(self.most, total)
            time.sleep(0.1)

    def stop(self) -> int:
        self.going = False
        self.thread.join()
        return self.most


def compare(data: xr.DataArray, result: xr.Dataset) -> None:
    """A sample of positions, fitted in memory."""
    rng = np.random.default_rng(1)
    at = {d: xr.DataArray(rng.integers(0, data.sizes[d], 200), dims="sample") for d in ("y", "x")}
    part = data.isel(at).load()
    expected, got = part.modelfit(Linear1D(), dim="time"), result.isel(at).load()
    same = all(np.array_equal(got[n], expected[n], equal_nan=True) for n in expected.data_vars)
    share = float((result["fit_status"] > 0).mean())
    print(f"sample of 200 identical: {same}; successful: {100 * share:.2f} %")


if __name__ == "__main__":
    main()
