"""Fit a Gaussian line at every position of a spectral cube, simulated unless a FILE is given.

Prints the status report, writes ``fit.nc`` and ``maps.png``. Run it with ``python -m xr_modelfit [FILE]``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit
from xr_modelfit import tutorial
from xr_modelfit.extras import needed
from xr_modelfit.plotting.colour_limits import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPECTRAL_NAMES = ("vel", "freq", "wave", "lambda", "energy", "spec")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m xr_modelfit", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="FITS cube or netCDF file [simulated cube]")
    parser.add_argument("--dim", help="dimension to fit along [the spectral one]")
    parser.add_argument("--variable", help="variable of the netCDF file, or name of the FITS extension")
    parser.add_argument("--output-dir", type=Path, default=Path("."), metavar="DIR", help="where the results go [.]")
    options = parser.parse_args(arguments)
    for module, extra, product in (("matplotlib", "plot", "maps.png"), ("netCDF4", "io", "fit.nc")):
        try:
            needed(module, extra, product)
        except ImportError as error:
            _stop(str(error))

    cube = tutorial.line_cube() if options.file is None else read_cube(options.file, options.variable, options.dim)
    dim = spectral_dim(cube, options.dim)
    cube = with_two_other_dims(cube, dim).assign_coords({dim: cube[dim]})  # without a coordinate: 0, 1, 2, ...
    fit = fit_line(cube, dim)
    print(fit.modelfit.report())

    options.output_dir.mkdir(parents=True, exist_ok=True)
    fit.to_netcdf(options.output_dir / "fit.nc")
    title = "simulated cube" if options.file is None else options.file.name
    draw_maps(fit, title).savefig(options.output_dir / "maps.png", dpi=150)
    print(f"\nwrote {options.output_dir / 'fit.nc'} and {options.output_dir / 'maps.png'}")


def fit_line(cube: xr.DataArray, dim: str) -> xr.Dataset:
    """Fit a Gaussian along `dim`, from a start at the peak of each spectrum, and say what is done."""
    coordinate = cube[dim]
    low, high = float(coordinate.min()), float(coordinate.max())
    channel = float(np.abs(np.diff(coordinate)).min())
    noise = noise_rms(cube, dim)
    units = cube.attrs.get("units", "")
    n_fits = cube.size // cube.sizes[dim]
    print(f"{n_fits} spectra of {cube.sizes[dim]} samples along {dim!r}, noise {noise:.3g} {units}".rstrip())

    begin = time.perf_counter()
    fit = cube.modelfit(
        Gaussian1D(),
        dim=dim,
        p0=line_starts(cube, dim),
        bounds={"mean": (low, high), "stddev": (channel / 2, (high - low) / 2)},
        sigma=noise or None,  # data without noise: unweighted
        errors="ignore",  # the report follows
    )
    print(f"fitted in {time.perf_counter() - begin:.1f} s\n")
    return fit


def line_starts(cube: xr.DataArray, dim: str) -> dict[str, xr.DataArray]:
    """Return start maps: height and place of the peak, and its width at half height.

    The peak is that of the running median of three samples, so that no single spike poses as the line.
    """
    smooth = cube.astype(float).rolling({dim: 3}, center=True, min_periods=1).median()
    peak = smooth.max(dim)
    coordinate = cube[dim].astype(float)
    step = xr.DataArray(np.abs(np.gradient(coordinate.values)), dims=dim, coords={dim: coordinate})
    width = step.where(smooth > peak / 2).sum(dim) / 2.355  # full width at half maximum -> standard deviation
    span = float(coordinate.max() - coordinate.min())
    return {"amplitude": peak, "mean": smooth.idxmax(dim), "stddev": width.clip(float(step.min()), span / 4)}


def noise_rms(cube: xr.DataArray, dim: str) -> float:
    """Return the rms noise from the differences of neighbours, which neither lines nor spikes disturb."""
    return 1.4826 * float(abs(cube.diff(dim)).median()) / np.sqrt(2)


# Input


def read_cube(path: Path, variable: str | None, dim: str | None) -> xr.DataArray:
    """Return the cube in `path`, with its samples in memory."""
    if not path.exists():
        _stop(f"no such file: {path}")
    if any(suffix in (".fits", ".fit", ".fts") for suffix in path.suffixes):
        try:
            found = xr_modelfit.from_fits(path, hdu=variable)
        except (KeyError, ValueError) as error:
            _stop(f"{path}: {error}")
        return (found if isinstance(found, xr.DataArray) else choose_variable(found, None, dim)).load()
    try:
        with xr.open_dataset(path) as dataset:
            return choose_variable(dataset, variable, dim).load()
    except ValueError as error:  # no engine of xarray knows it
        _stop(f"{path} is neither FITS, by its suffix, nor a file that xarray opens: {str(error).splitlines()[0]}")


def choose_variable(dataset: xr.Dataset, variable: str | None, dim: str | None) -> xr.DataArray:
    """Return the named variable, or else the only one that is a cube of numbers."""
    beside = {name for array in dataset.values() for name in array.attrs.get("ancillary_variables", "").split()}
    cubes = [str(name) for name, array in dataset.items() if array.ndim >= 3 and array.dtype.kind in "iuf"]
    cubes = [name for name in cubes if name not in beside]
    if dim is not None:
        cubes = [name for name in cubes if dim in dataset[name].dims]
    if variable is None and not cubes:
        _stop("no variable has three dimensions and numbers" + (f" along {dim!r}" if dim else ""))
    if variable is None and len(cubes) > 1:
        _stop(f"several variables could be the cube, {', '.join(cubes)}: name one with --variable")
    name = cubes[0] if variable is None else variable
    if name not in dataset:
        _stop(f"no variable {name!r}, there are {', '.join(map(str, dataset))}")
    return dataset[name]


def spectral_dim(cube: xr.DataArray, dim: str | None) -> str:
    """Return `dim`, or else the dimension whose name says that it is the spectral one; check its coordinate."""
    dims = [str(name) for name in cube.dims]
    named = [name for name in dims if name.lower().startswith(SPECTRAL_NAMES)] if dim is None else [dim]
    if len(named) != 1 or named[0] not in dims:
        _stop(f"the dimensions are {', '.join(dims)}: name the one to fit along with --dim")
    if cube[named[0]].dtype.kind not in "iuf":
        _stop(f"{named[0]!r} holds {cube[named[0]].dtype} values: only plain numbers can be fitted along here")
    return named[0]


def with_two_other_dims(cube: xr.DataArray, dim: str) -> xr.DataArray:
    """Return the cube without dimensions of size 1; maps need exactly two besides `dim`."""
    cube = cube.squeeze([name for name in cube.dims if name != dim and cube.sizes[name] == 1])
    if cube.ndim != 3 or cube.sizes[dim] < 3:
        sizes = ", ".join(f"{name}: {size}" for name, size in cube.sizes.items())
        _stop(f"the cube has the sizes ({sizes}): maps need two dimensions besides {dim!r}, the fit three samples")
    return cube


# Maps


def draw_maps(fit: xr.Dataset, title: str) -> Figure:
    """Draw the parameters and the status; fits that are not significant are grey."""
    from matplotlib import pyplot

    figure: Figure = fit.modelfit.plot(snr=SIGNIFICANT, figsize=(11, 8)).fig
    figure.suptitle(f"Gaussian1D, {title}")
    pyplot.close(figure)  # it is written to a file
    return figure


# Faults


def _stop(message: str) -> NoReturn:
    raise SystemExit(f"xr_modelfit: {message}")


if __name__ == "__main__":  # the fits may run in other processes, which import this file
    main()
