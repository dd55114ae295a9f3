"""Small simulated stacks of images of single fields; see `xr_modelfit.tutorial`.

Each docstring gives the formula and the numbers that the data are made from. ``seed`` changes what is random.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from xr_modelfit.tutorial_series import labelled

__all__ = ["bead_movie", "correlation_planes", "lifetime_image", "spin_echoes", "vegetation_index"]


def lifetime_image(shape: tuple[int, int] = (24, 32), seed: int = 20260105) -> xr.DataArray:
    """Return photon counts after a laser pulse at each pixel of a microscope image.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels along y and x.
    seed : int
        Seed of the counts.

    Returns
    -------
    xarray.DataArray
        Counts with dims (time, y, x), 64 bins of 0.2 ns; Poisson noise. The mean is
        ``height * exp(-time / lifetime) + 0.3``. The lifetime is 2 ns in the cell and 3.2 ns in its nucleus, the
        height 20 and 12 counts; outside the cell there is only background.

    Examples
    --------
    >>> dict(lifetime_image().sizes)
    {'time': 64, 'y': 24, 'x': 32}
    """
    rng = np.random.default_rng(seed)
    time = 0.1 + 0.2 * np.arange(64)
    v, u = _unit_square(shape)
    cell, nucleus = (u / 0.85) ** 2 + (v / 0.8) ** 2 < 1, ((u - 0.15) / 0.35) ** 2 + ((v + 0.1) / 0.4) ** 2 < 1
    height = np.where(nucleus, 12.0, np.where(cell, 20.0, 0.0))
    mean = height * np.exp(-time[:, None, None] / np.where(nucleus, 3.2, 2.0)) + 0.3
    return labelled(
        rng.poisson(mean).astype(float), "photons", "count", "photons",
        time=(time, "ns", "time after the pulse"), **_pixels(shape),
    )  # fmt: skip


def vegetation_index(shape: tuple[int, int] = (16, 20), seed: int = 20260108) -> xr.DataArray:
    """Return a year of a vegetation index over a mountain, with clouds.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels along y and x.
    seed : int
        Seed of the noise and of the clouds.

    Returns
    -------
    xarray.DataArray
        Index with dims (day, y, x), each 16 days; white noise of 0.03, one sample in six is missing. The mean is
        ``0.15 + 0.55 * (logistic((day - green_up) / 9) - logistic((day - fall) / 9))``. Green-up is on day 105 in
        the valley and 40 days later on the top, the fall on day 290 and 25 days earlier.

    Examples
    --------
    >>> dict(vegetation_index().sizes)
    {'day': 23, 'y': 16, 'x': 20}
    """
    rng = np.random.default_rng(seed)
    day = np.arange(8.0, 366.0, 16.0)
    v, u = _unit_square(shape)
    height = np.exp(-(((u - 0.2) / 0.6) ** 2) - ((v + 0.1) / 0.7) ** 2)

    def risen(middle: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-(day[:, None, None] - middle) / 9)))

    mean = 0.15 + 0.55 * (risen(105 + 40 * height) - risen(290 - 25 * height))
    values = mean + rng.normal(0, 0.03, mean.shape)
    values[rng.random(mean.shape) < 1 / 6] = np.nan
    return labelled(values, "ndvi", "1", "vegetation index", day=(day, "d", "day of the year"), **_pixels(shape))


def spin_echoes(shape: tuple[int, int] = (32, 32), seed: int = 20260110) -> xr.DataArray:
    """Return magnitude images of a phantom at 16 echo times: four tubes in air.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels along y and x.
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Signal with dims (echo, y, x), each 10 ms; Rician noise of 8. The signal of a tube is
        ``150 * exp(-echo / t2)`` with t2 of 25, 45, 80 and 140 ms; that of air is zero.

    Examples
    --------
    >>> spin_echoes()["echo"].values[[0, -1]]
    array([ 10., 160.])
    """
    rng = np.random.default_rng(seed)
    echo = 10.0 * np.arange(1, 17)
    v, u = _unit_square(shape)
    mean = np.zeros((16, *shape))
    for t2, (down, across) in zip((25, 45, 80, 140), ((-1, -1), (-1, 1), (1, -1), (1, 1)), strict=True):
        tube = (u - 0.48 * across) ** 2 + (v - 0.48 * down) ** 2 < 0.36**2
        mean += tube * 150 * np.exp(-echo / t2)[:, None, None]
    real, imaginary = rng.normal(0, 8, (2, *mean.shape))
    return labelled(
        np.hypot(mean + real, imaginary), "signal", "1", "signal", echo=(echo, "ms", "echo time"), **_pixels(shape)
    )


def correlation_planes(shape: tuple[int, int] = (9, 12), seed: int = 20260115) -> xr.DataArray:
    """Return correlation planes of particle images: how far the particles of each window moved.

    Parameters
    ----------
    shape : tuple of int
        Number of windows along y and x, 32 pixels apart.
    seed : int
        Seed of the noise and of the places of the windows without particles.

    Returns
    -------
    xarray.DataArray
        Correlation with dims (y, x, dy, dx), shifts from -6 to 6 pixels; white noise of 0.04. Each plane has a peak
        ``0.8 * exp(-0.5 * r**2 / 1.1**2)`` at the shift of a vortex about the middle: with r the distance from it,
        ``4 * (r / 60) * exp(0.5 - 0.5 * (r / 60)**2)`` pixels, counterclockwise in axes of x and y. Three windows
        hold noise alone.

    Examples
    --------
    >>> dict(correlation_planes().sizes)
    {'y': 9, 'x': 12, 'dy': 13, 'dx': 13}
    """
    rng = np.random.default_rng(seed)
    at = {name: 32.0 * np.arange(n) + 16 for name, n in zip("yx", shape, strict=True)}
    north, east = np.meshgrid(at["y"] - 16 * shape[0], at["x"] - 16 * shape[1], indexing="ij")
    turn = 4 / 60 * np.exp(0.5 - 0.5 * (north**2 + east**2) / 60**2)
    shift = np.arange(-6.0, 7.0)
    dy, dx = shift[:, None] - (turn * east)[..., None, None], shift - (-turn * north)[..., None, None]
    height = np.full(shape, 0.8)
    height.reshape(-1)[rng.choice(height.size, 3, replace=False)] = 0
    mean = height[..., None, None] * np.exp(-0.5 * (dy**2 + dx**2) / 1.1**2)
    return labelled(
        mean + rng.normal(0, 0.04, mean.shape), "correlation", "1", "correlation",
        y=(at["y"], "pixel", "y"), x=(at["x"], "pixel", "x"),
        dy=(shift, "pixel", "shift along y"), dx=(shift, "pixel", "shift along x"),
    )  # fmt: skip


def bead_movie(n_frames: int = 80, size: int = 21, seed: int = 20260114) -> xr.DataArray:
    """Return a movie of a fluorescent bead that diffuses in water and bleaches.

    Parameters
    ----------
    n_frames, size : int
        Number of frames, and of their pixels along y and along x.
    seed : int
        Seed of the path and of the photons.

    Returns
    -------
    xarray.DataArray
        Photons with dims (time, y, x), a frame each 0.05 s, pixels of 0.1 micrometres; Poisson noise. A round
        Gaussian with stddev 0.13 um and height ``150 * exp(-time / 4)`` on a background of 10. The diffusion
        coefficient is 0.02 um2/s. In two frames the bead is dark.

    Examples
    --------
    >>> bead_movie()["x"].attrs["units"]
    'um'
    """
    rng = np.random.default_rng(seed)
    time, offset = 0.05 * np.arange(n_frames), 0.1 * (np.arange(size) - (size - 1) / 2)
    down, across = np.cumsum(rng.normal(0, np.sqrt(2 * 0.02 * 0.05), (2, n_frames)), axis=1)[..., None, None]
    height = 150 * np.exp(-time / 4)
    height[[n_frames // 3, n_frames // 2]] = 0
    r2 = (offset[:, None] - down) ** 2 + (offset - across) ** 2
    mean = height[:, None, None] * np.exp(-0.5 * r2 / 0.13**2) + 10
    return labelled(
        rng.poisson(mean).astype(float), "photons", "count", "photons",
        time=(time, "s", "time"), y=(offset, "um", "y"), x=(offset, "um", "x"),
    )  # fmt: skip


def _unit_square(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the pixels of a field from -1 to 1, whatever its number of pixels."""
    v, u = ((2 * np.arange(n) + 1) / n - 1 for n in shape)
    return v[:, None], u[None]


def _pixels(shape: tuple[int, int]) -> dict[str, tuple[np.ndarray, str, str]]:
    return {name: (np.arange(float(n)), "pixel", f"{name} pixel") for name, n in zip("yx", shape, strict=True)}
