"""How well ``plan()`` foretells the time of three fits: predicted and actual seconds, and their ratio.

    python tests/benchmarks/plan.py [CUBE.fits] [--repeats 3] [--mib 200]

A cube in memory with the default fitter, 300 positions of it with ``TRFLSQFitter``, and a zarr store in chunks of one
time step with ``to_zarr``, whose tiles are smaller than a chunk. ``CUBE.fits`` is as in ``speed.py``; without it, a
simulated cube serves. Predictions and runs take turns, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Linear1D
from speed import read, simulated

import xr_modelfit  # noqa: F401  registers .modelfit

N_TIME = 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cube", nargs="?", type=Path, metavar="CUBE.fits", help="spectral cube [a simulated one]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mib", type=int, default=200, help="size of the store, uncompressed")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of fits that do not converge
    cube = simulated() if options.cube is None else read(options.cube)
    line = Gaussian1D(1, 4000, 500)
    few = cube.stack(position=("y", "x")).isel(position=slice(None, None, cube[0].size // 300))[:, :300]
    few = few.reset_index("position")
    print("| case | predicted / s | actual / s | ratio | planning / s |\n|---|--:|--:|--:|--:|")
    trf: dict[str, Any] = {"fitter": TRFLSQFitter(), "errors": "ignore"}
    for _ in range(options.repeats):
        case(
            "cube, default fitter",
            lambda: cube.modelfit.plan(line, "velocity").seconds,
            lambda: cube.modelfit(line, "velocity", errors="ignore"),
        )
        case(
            "300 positions, TRFLSQFitter",
            lambda: few.modelfit.plan(line, "velocity", **trf).seconds,
            lambda: few.modelfit(line, "velocity", **trf),
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source.zarr")
        write(source, options.mib)
        data = xr.open_zarr(source, consolidated=False)["t"]
        for memory in ("64 MiB", "1 GiB"):
            for _ in range(options.repeats):
                stored(data, Path(folder, "fit.zarr"), memory)


def stored(data: xr.DataArray, target: Path, memory: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    case(
        f"{data.nbytes / 2**20:.0f} MiB of maps, to_zarr, {memory}",
        lambda: data.modelfit.plan(Linear1D(), "time", memory=memory).tile_seconds,
        lambda: data.modelfit(Linear1D(), "time").modelfit.to_zarr(target, memory=memory),
    )


def case(name: str, predict: Callable[[], float], run: Callable[[], Any]) -> None:
    begin = time.perf_counter()
    predicted = predict()
    planning = time.perf_counter() - begin
    begin = time.perf_counter()
    run()
    actual = time.perf_counter() - begin
    print(f"| {name} | {predicted:.2f} | {actual:.2f} | {predicted / actual:.2f} | {planning:.2f} |", flush=True)


def write(path: Path, mib: int) -> None:
    """A trend and noise, one map after the other, compressed as zarr does it by default."""
    side = round((mib * 2**20 / (4 * N_TIME)) ** 0.5)
    array = zarr.open_group(path, mode="w", zarr_format=2).create_array(
        "t", shape=(N_TIME, side, side), chunks=(1, side, side), dtype="f4", fill_value=np.nan
    )
    array.attrs["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    rng = np.random.default_rng(0)
    for i in range(N_TIME):
        array[i] = np.round(10 + 0.01 * i + rng.normal(0, 1, (side, side)), 2).astype("f4")


if __name__ == "__main__":
    main()
