"""What it costs to verify a store of many tiles, beside what it costs to fit it: ``python verify_store.py [tiles]``."""

import sys
import tempfile
import time

import numpy as np
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit  # noqa: F401  registers .modelfit

FITS, SAMPLES = 20, 60  # of a tile


def main(tiles: int = 10_000) -> None:
    x = np.linspace(-5, 5, SAMPLES)
    y = np.exp(-0.5 * x**2) + np.random.default_rng(0).normal(0, 0.05, (tiles * FITS, SAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        data = xr.DataArray(y, dims=("p", "x"), coords={"x": x}, name="flux")
        data.chunk(p=FITS).to_zarr(f"{folder}/source.zarr", consolidated=False)
        lazy = xr.open_zarr(f"{folder}/source.zarr", consolidated=False)["flux"]

        def run(**options: bool) -> float:
            fit = lazy.modelfit(Gaussian1D(1, 0.1, 1.1), "x", errors="ignore")
            begin = time.perf_counter()
            fit.modelfit.to_zarr(f"{folder}/fit.zarr", memory=32_500, **options)
            return time.perf_counter() - begin

        print(f"fitted in {run():.1f} s", flush=True)
        n = int(np.prod(xr.open_zarr(f"{folder}/fit.zarr", consolidated=False)["mean"].data.numblocks))
        print(f"{n} tiles; verified in {run(resume=True):.1f} s", flush=True)
        print(f"not verified in {run(resume=True, verify=False):.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
