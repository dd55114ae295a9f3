"""Microseconds a fit: the batch fitter side by side with astropy's ``parallel_fit_dask``, as a Markdown table.

    python tests/benchmarks/speed.py [CUBE.fits] [--repeats 5] [--third]

``CUBE.fits`` is a spectral cube with the velocities on its third axis in m/s, the 13CO cube of astropy's documentation
for one; without it, a simulated cube of 11 025 positions serves. Each variant fits one Gaussian at all positions, the
fits are compared, and only then a time is printed. ``--third`` gives astropy every third row of the cube. Processes
are started by ``parallel_fit_dask`` itself; that is part of its time, as are reading the cube and labelling the maps
of ours.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.modeling.fitting import TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import Gaussian1D
from astropy.wcs import WCS

from xr_modelfit import fit, tutorial

NAMES = ("amplitude", "mean", "stddev")
VARIANTS: dict[str, dict[str, tuple[float, float]]] = {"no": {}, "mean": {"mean": (3000.0, 6000.0)}}
WAYS = {"default": None, "threads": "threads", "synchronous": "synchronous"}
AGREEMENT = 0.01  # of a standard error, where both are in the same minimum
SHARE = 0.9  # of the positions have to be such


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cube", nargs="?", type=Path, metavar="CUBE.fits", help="spectral cube [a simulated one]")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours, of which the median counts [5]")
    parser.add_argument("--third", action="store_true", help="give astropy every third row of the cube only")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of fits that do not converge, of which real cubes have some
    cube = simulated() if options.cube is None else read(options.cube)
    few = cube.isel(y=slice(None, None, 3)) if options.third else cube
    theirs: dict[str, float] = {}
    ours: dict[tuple[str, str], float] = {}
    share: dict[str, float] = {}
    for variant in VARIANTS:
        # Runs of one and the other take turns, so that both meet the same machine.
        times: dict[str, list[float]] = {"astropy": [], **{way: [] for way in WAYS}}
        for turn in range(options.repeats):
            batch(cube, variant, None)  # untimed: memory that the processes before have emptied
            for way, scheduler in WAYS.items():
                times[way].append(timed(batch, cube, variant, scheduler)[0])
            if turn < min(3, options.repeats):
                elapsed, maps = timed(astropy_maps, few, variant)
                times["astropy"].append(elapsed)
        share[variant] = agreement(few, variant, maps)
        theirs[variant] = 1e6 * median(times["astropy"]) / positions(few)
        ours |= {(variant, way): 1e6 * median(times[way]) / positions(cube) for way in WAYS}
    report(cube, few, options.repeats, theirs, ours, share)


def report(
    cube: xr.DataArray,
    few: xr.DataArray,
    repeats: int,
    theirs: dict[str, float],
    ours: dict[tuple[str, str], float],
    share: dict[str, float],
) -> None:
    agree = ", ".join(f"{value:.1%} (bounds: {variant})" for variant, value in share.items())
    sizes = " x ".join(map(str, cube.shape))
    print(
        f"{cube.name}, {sizes}: {positions(cube)} fits of {cube.sizes['velocity']} samples; {os.cpu_count()} threads."
    )
    print(f"Medians of {repeats} runs, of {min(3, repeats)} for parallel_fit_dask ({positions(few)} fits).")
    print(f"In the same minimum, parameters within {AGREEMENT:.0%} of a standard error: {agree}.\n")
    print("| fitter | scheduler | bounds | microseconds a fit | times faster | bounded / unbounded |")
    print("|---|---|---|--:|--:|--:|")
    for variant, value in theirs.items():
        ratio = "" if variant == "no" else f"{value / theirs['no']:.2f}"
        print(f"| parallel_fit_dask, TRF | processes (default) | {variant} | {value:.0f} | 1 | {ratio} |")
    for way in WAYS:
        for variant in VARIANTS:
            value = ours[variant, way]
            ratio = "" if variant == "no" else f"{value / ours['no', way]:.2f}"
            print(f"| batch | {way} | {variant} | {value:.1f} | {theirs[variant] / value:.1f} | {ratio} |")


def read(path: Path) -> xr.DataArray:
    """A cube with velocities in m/s from a FITS file."""
    with fits.open(path, memmap=False) as hdus:
        values, wcs = hdus[0].data, WCS(hdus[0].header)
    velocity = wcs.pixel_to_world_values(0, 0, np.arange(values.shape[0]))[2]
    return xr.DataArray(values, dims=("velocity", "y", "x"), coords={"velocity": velocity}, name=path.name)


def simulated() -> xr.DataArray:
    """A cube of the same shape, with a line everywhere and no gaps: astropy makes NaN of a fit with one."""
    cube = tutorial.line_cube(shape=(105, 105), n_velocity=53)
    noise = np.random.default_rng(20260302).normal(0.0, 0.1, cube.shape)
    line = 0.7 * np.exp(-0.5 * ((cube["velocity"] - 4500.0) / 400.0) ** 2)
    return (cube.fillna(0.0) + line + noise).astype(np.float32).rename("simulated")


def positions(cube: xr.DataArray) -> int:
    return cube.sizes["y"] * cube.sizes["x"]


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    begin = time.perf_counter()
    returned = call(*arguments)
    return time.perf_counter() - begin, returned


def start(variant: str) -> Gaussian1D:
    return Gaussian1D(1, 4000, 500, bounds=VARIANTS[variant])


def batch(cube: xr.DataArray, variant: str, scheduler: str | None, **options: Any) -> xr.Dataset:
    return fit(cube, start(variant), "velocity", keep_failed=True, errors="ignore", scheduler=scheduler, **options)


def astropy_maps(cube: xr.DataArray, variant: str) -> dict[str, np.ndarray]:
    """The maps of ``parallel_fit_dask`` at its defaults: processes, chunks of its choice."""
    fitted = parallel_fit_dask(
        model=start(variant),
        fitter=TRFLSQFitter(),
        data=cube.values,
        world=(cube["velocity"].values,),
        fitting_axes=0,
    )
    return {name: np.asarray(getattr(fitted, name).value) for name in NAMES}


def agreement(cube: xr.DataArray, variant: str, maps: dict[str, np.ndarray]) -> float:
    """Share of the positions where both are in one minimum; raises if parameters differ there, or if it is small."""
    result = batch(cube, variant, None)
    theirs = xr.Dataset({name: (("y", "x"), values) for name, values in maps.items()}, coords=result.coords)
    velocity = cube["velocity"]
    line = theirs["amplitude"] * np.exp(-0.5 * ((velocity - theirs["mean"]) / theirs["stddev"]) ** 2)
    chi2 = ((cube.astype(float) - line) ** 2).sum("velocity")
    same = result.modelfit.ok & (abs(result["chi2"] - chi2) <= 1e-6 * chi2)
    for name in NAMES:
        distance = abs(result[name] - theirs[name]) / result[f"{name}_stderr"]  # NaN on a bound
        worst = float(distance.where(same).max())
        if not worst <= AGREEMENT:
            raise SystemExit(f"{name} differs by {worst:.3g} standard errors (bounds: {variant}); no time is printed.")
    share = float(same.mean())
    if share < SHARE:
        raise SystemExit(f"Only {share:.1%} of the fits agree (bounds: {variant}); no time is printed.")
    return share


if __name__ == "__main__":  # processes import this file
    main()
