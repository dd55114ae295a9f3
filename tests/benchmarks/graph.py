"""What a lazy fit costs beside its fits: building it, its tasks, its bytes, and the time that a block takes more.

``python tests/benchmarks/graph.py --blocks 10000``; tests hold the tasks and the bytes, never a time.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import cloudpickle
import dask.array
import numpy as np
import xarray as xr
from astropy.modeling.models import Gaussian1D, Linear1D

from xr_modelfit import fit
from xr_modelfit.call.lazy_results import origin_of

N = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10_000)
    n = parser.parse_args().blocks
    for name, options in {
        "line": {"model": Linear1D()},
        "with errors": {"model": Linear1D(), "sigma": source(n)},
        "with start maps in memory": {"model": Gaussian1D(1, 3, 1), "p0": {"mean": xr.zeros_like(maps(n)) + 3.0}},
    }.items():
        begin = time.perf_counter()
        result = fit(source(n), dim="t", **options)
        built = time.perf_counter() - begin
        graph = result.__dask_graph__()
        print(f"{name}: {n} blocks of one fit, built in {built:.2f} s")
        begin = time.perf_counter()
        size, tasks = len(cloudpickle.dumps(graph)), len(graph)
        took = time.perf_counter() - begin
        print(f"  {tasks / n:.1f} tasks and {size / n:.0f} bytes a block, pickled in {took:.1f} s")
    beyond(min(n, 2000))


def source(n: int) -> xr.DataArray:
    values = dask.array.ones((n, N), chunks=(1, N))
    return xr.DataArray(values, dims=("y", "t"), coords={"t": np.arange(float(N))})


def maps(n: int) -> xr.DataArray:
    return xr.DataArray(np.ones(n), dims="y")


def beyond(n: int) -> None:
    """The time of blocks on the synchronous scheduler, less that of the same blocks fitted by hand."""
    result = fit(source(n), Linear1D(), "t")
    (job,) = origin_of(result).jobs
    packed, by_hand = job.packed(), job.block_function()
    arrays = [np.ones((1, N)), np.arange(float(N))]
    times: dict[str, float] = {}

    def measured(name: str, call: Any) -> None:
        begin = time.perf_counter()
        call()
        times[name] = time.perf_counter() - begin

    measured("the fits alone", lambda: [by_hand(*arrays) for _ in range(n)])
    measured("the source alone", lambda: source(n).compute(scheduler="synchronous"))
    measured("one packed array", lambda: packed.compute(scheduler="synchronous"))
    measured("all variables", lambda: result.compute(scheduler="synchronous"))
    for name, seconds in times.items():
        print(f"{name}: {1e3 * seconds / n:.2f} ms a block")
    own = times["one packed array"] - times["the fits alone"] - times["the source alone"]
    print(f"beyond fit and source: {1e3 * own / n:.2f} ms a block packed")


if __name__ == "__main__":
    main()
