"""Small simulated data sets for documentation, demo and tests.

For `line_cube`, `seasonal_series` and `star_stamps`, a function ``<name>_truth`` returns the true parameters, named as
in astropy's models. They depend on the size only; ``seed`` changes the noise and the faults. The other data sets, one
for each of several fields, give their parameters in the docstring. All are made in milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.tutorial_images import bead_movie, correlation_planes, lifetime_image, spin_echoes, vegetation_index
from xr_modelfit.tutorial_series import (
    coda_envelopes,
    dose_response,
    raman_scan,
    river_recession,
    slit_spectra,
    xray_spectra,
)

__all__ = [
    "bead_movie",
    "coda_envelopes",
    "correlation_planes",
    "dose_response",
    "lifetime_image",
    "line_cube",
    "line_cube_truth",
    "raman_scan",
    "river_recession",
    "seasonal_series",
    "seasonal_series_truth",
    "slit_spectra",
    "spin_echoes",
    "star_stamps",
    "star_stamps_truth",
    "vegetation_index",
    "xray_spectra",
]


def line_cube_truth(shape: tuple[int, int] = (40, 48)) -> xr.Dataset:
    """Return the emission line that `line_cube` observes: an inclined rotating disc with a faint companion.

    Parameters
    ----------
    shape : tuple of int
        Number of positions along y and x.

    Returns
    -------
    xarray.Dataset
        ``amplitude`` in K, ``mean`` and ``stddev`` in m/s, each with dims (y, x), as in ``Gaussian1D``; and
        ``sigma``, the rms of the noise in K. The amplitude runs from 0 to 30 times ``sigma``.

    Examples
    --------
    >>> truth = line_cube_truth()
    >>> float(truth["sigma"]), round(float(truth["amplitude"].max()))
    (0.1, 3)
    """
    y = _axis("y", np.arange(float(shape[0])), "pixel", "y pixel")
    x = _axis("x", np.arange(float(shape[1])), "pixel", "x pixel")
    # The field is 2 wide and 2 high whatever its number of pixels.
    v, u = (2 * y + 1) / shape[0] - 1, (2 * x + 1) / shape[1] - 1
    along, across = 0.9 * u + 0.45 * v, (0.9 * v - 0.45 * u) / 0.55
    radius = np.hypot(along, across)
    disc = 3.0 * np.exp(-((radius / 0.42) ** 2)) + 0.6 * np.exp(-(((radius - 0.62) / 0.14) ** 2))
    companion = np.exp(-(((u + 0.62) / 0.14) ** 2) - ((v - 0.62) / 0.14) ** 2)
    rotation = 1900 * np.tanh(2 * along) / (1 + (across / 1.2) ** 2)
    return xr.Dataset(
        {
            "amplitude": _described(disc + companion, "K", "peak of the line"),
            "mean": _described(4500 + rotation, "m s-1", "centre of the line"),
            "stddev": _described(280 + 320 * np.exp(-radius / 0.35), "m s-1", "width of the line"),
            "sigma": _described(xr.DataArray(0.1), "K", "rms noise"),
        }
    ).transpose("y", "x")


def line_cube(shape: tuple[int, int] = (40, 48), n_velocity: int = 60, seed: int = 20260101) -> xr.DataArray:
    """Return a spectral cube: one emission line that comes and goes, noise, and the usual faults.

    Parameters
    ----------
    shape : tuple of int
        Number of positions along y and x.
    n_velocity : int
        Number of velocity channels between 0 and 9000 m/s.
    seed : int
        Seed of the noise and of the places of the faults.

    Returns
    -------
    xarray.DataArray
        Brightness temperature in K with dims (velocity, y, x); velocity in m/s, y and x in pixels. White noise of
        0.1 K. NaN: one corner, about one position in 300, about one sample in 2000. A few samples are spikes.

    See Also
    --------
    line_cube_truth : the parameters of the line and the rms of the noise.

    Examples
    --------
    >>> cube = line_cube()
    >>> dict(cube.sizes), cube.attrs["units"], cube["velocity"].attrs["units"]
    ({'velocity': 60, 'y': 40, 'x': 48}, 'K', 'm s-1')
    >>> int(cube.isnull().all("velocity").sum())
    93
    """
    rng = np.random.default_rng(seed)
    truth = line_cube_truth(shape)
    velocity = _axis("velocity", np.linspace(0.0, 9000.0, n_velocity), "m s-1", "radio velocity")
    line = truth["amplitude"] * np.exp(-0.5 * ((velocity - truth["mean"]) / truth["stddev"]) ** 2)
    cube = line.transpose("velocity", "y", "x")
    sigma = float(truth["sigma"])
    values = rng.normal(0.0, sigma, cube.shape)
    values += cube.values  # in place: stays contiguous, so that the flat views below write into it

    values.reshape(-1)[_few(rng, cube.size, 10_000)] += 20 * sigma  # spikes
    values.reshape(-1)[_few(rng, cube.size, 2_000)] = np.nan  # single channels
    values.reshape(n_velocity, -1)[:, _few(rng, shape[0] * shape[1], 300)] = np.nan  # dead positions
    corner = (cube["y"] + 0.5) / shape[0] + (cube["x"] + 0.5) / shape[1] < 0.3
    values[:, corner.values] = np.nan
    return _described(cube.copy(data=values).rename("brightness"), "K", "brightness temperature")


def seasonal_series_truth(n_lat: int = 6, n_lon: int = 8) -> xr.Dataset:
    """Return trend and season of `seasonal_series`.

    Parameters
    ----------
    n_lat, n_lon : int
        Number of grid cells along latitude and longitude.

    Returns
    -------
    xarray.Dataset
        ``slope`` in degC per year and ``intercept`` (at time 0) in degC as in ``Linear1D``; ``amplitude`` in degC and
        ``phase`` in cycles as in ``Sine1D`` with a frequency of 1 per year, each with dims (lat, lon); and
        ``sigma``, the rms of the noise in degC.

    Examples
    --------
    >>> truth = seasonal_series_truth()
    >>> list(truth.data_vars)
    ['slope', 'intercept', 'amplitude', 'phase', 'sigma']
    """
    lat = _axis("lat", np.linspace(32.5, 57.5, n_lat), "degrees_north", "latitude")
    lon = _axis("lon", np.linspace(-10.0, 25.0, n_lon), "degrees_east", "longitude")
    north, inland = lat - 32.5, (lon + 10) / 35
    return xr.Dataset(
        {
            "slope": _described(0.012 + 0.0008 * north + 0.01 * inland, "degC year-1", "trend"),
            "intercept": _described(19.0 - 0.45 * north - 1.5 * inland, "degC", "mean temperature at time 0"),
            "amplitude": _described(5.0 + 0.12 * north + 4.0 * inland, "degC", "half range of the season"),
            "phase": _described(0.0 * north + 0.04 * inland - 0.33, "1", "phase of the season at time 0"),
            "sigma": _described(xr.DataArray(1.2), "degC", "rms noise"),
        }
    )


def seasonal_series(n_lat: int = 6, n_lon: int = 8, n_years: int = 30, seed: int = 20260102) -> xr.DataArray:
    """Return gridded monthly temperature with a trend, a season and gaps, over a time that is a plain number.

    Parameters
    ----------
    n_lat, n_lon : int
        Number of grid cells along latitude and longitude.
    n_years : int
        Length; the series begins 20 years before time 0.
    seed : int
        Seed of the noise and of the places of the gaps.

    Returns
    -------
    xarray.DataArray
        Temperature in degC with dims (time, lat, lon); time in years since the beginning of 2000, mid-month.
        White noise of 1.2 degC. One month in 20 is missing; the first cell is all sea (NaN), the second begins
        ten years late, the third has two months only.

    See Also
    --------
    seasonal_series_truth : trend, season and the rms of the noise.

    Examples
    --------
    >>> temperature = seasonal_series()
    >>> dict(temperature.sizes)
    {'time': 360, 'lat': 6, 'lon': 8}
    >>> temperature.count("time").values.ravel()[:3]
    array([  0, 224,   2])
    """
    rng = np.random.default_rng(seed)
    truth = seasonal_series_truth(n_lat, n_lon)
    time = _axis("time", (np.arange(12 * n_years) + 0.5) / 12 - 20, "year", "time since the beginning of 2000")
    season = truth["amplitude"] * np.sin(2 * np.pi * (time + truth["phase"]))
    series = (truth["slope"] * time + truth["intercept"] + season).transpose("time", "lat", "lon")
    values = rng.normal(0.0, float(truth["sigma"]), series.shape)
    values += series.values

    values.reshape(-1)[_few(rng, values.size, 20)] = np.nan
    cells = values.reshape(len(time), -1)
    cells[:, :1] = np.nan
    cells[:120, 1:2] = np.nan
    cells[:, 2:3] = np.where(np.isin(np.arange(len(time)), (7, 8))[:, None], truth["intercept"].values.flat[2], np.nan)
    return _described(series.copy(data=values).rename("temperature"), "degC", "air temperature")


def star_stamps_truth(n_stamps: int = 24, size: int = 15) -> xr.Dataset:
    """Return the stars of `star_stamps`.

    Parameters
    ----------
    n_stamps, size : int
        Number of images, and of their pixels along y and along x.

    Returns
    -------
    xarray.Dataset
        ``amplitude`` in electrons, ``x_mean``, ``y_mean``, ``x_stddev``, ``y_stddev`` in pixels and ``theta`` in
        radians, as in ``Gaussian2D``, each with dim stamp; and ``sigma``, the noise of each pixel (photons and a
        readout noise of 5) in electrons, with dims (stamp, y, x).

    Examples
    --------
    >>> truth = star_stamps_truth()
    >>> truth["amplitude"].dims, truth["sigma"].dims
    (('stamp',), ('stamp', 'y', 'x'))
    """
    stamp = _axis("stamp", np.arange(n_stamps), "1", "number of the star")
    truth = xr.Dataset(
        {
            "amplitude": _described(20 * 100 ** ((stamp + 0.5) / n_stamps), "electron", "peak"),
            "x_mean": _described(1.5 * np.sin(2.4 * stamp), "pixel", "centre along x"),
            "y_mean": _described(1.5 * np.cos(2.4 * stamp), "pixel", "centre along y"),
            "x_stddev": _described(2.1 + 0.2 * np.sin(stamp), "pixel", "width along the long axis"),
            "y_stddev": _described(1.4 + 0.1 * np.cos(stamp), "pixel", "width along the short axis"),
            "theta": _described(0.4 + 0.2 * np.sin(0.7 * stamp), "rad", "angle from x to the long axis"),
        }
    )
    return truth.assign(sigma=_described(np.sqrt(_star_image(truth, size) + 5.0**2), "electron", "noise of the pixel"))


def star_stamps(n_stamps: int = 24, size: int = 15, seed: int = 20260103) -> xr.DataArray:
    """Return small images of single stars, elliptical and rotated, each brighter than the one before.

    Parameters
    ----------
    n_stamps, size : int
        Number of images, and of their pixels along y and along x.
    seed : int
        Seed of the noise and of the places of the faults.

    Returns
    -------
    xarray.DataArray
        Electrons above the sky with dims (stamp, y, x); y and x are offsets from the middle of the image in pixels.
        One image in ten is lost (NaN), one pixel in 300 is hot or dead.

    See Also
    --------
    star_stamps_truth : the parameters of the stars and the noise of each pixel.

    Examples
    --------
    >>> stamps = star_stamps()
    >>> dict(stamps.sizes), stamps.attrs["units"]
    ({'stamp': 24, 'y': 15, 'x': 15}, 'electron')
    """
    rng = np.random.default_rng(seed)
    truth = star_stamps_truth(n_stamps, size)
    image = _star_image(truth, size)
    values = rng.normal(size=image.shape) * truth["sigma"].values
    values += image.values

    values.reshape(-1)[_few(rng, image.size, 600)] += 500.0
    values.reshape(-1)[_few(rng, image.size, 600)] = np.nan
    values[_few(rng, n_stamps, 10)] = np.nan
    return _described(image.copy(data=values).rename("signal"), "electron", "signal above the sky")


def _star_image(truth: xr.Dataset, size: int) -> xr.DataArray:
    """Return noise-free images, dims (stamp, y, x); theta turns counterclockwise, as in ``Gaussian2D``."""
    offset = np.arange(size) - (size - 1) / 2
    y, x = (_axis(name, offset, "pixel", f"{name} offset from the middle") for name in "yx")
    east, north = x - truth["x_mean"], y - truth["y_mean"]
    major = np.cos(truth["theta"]) * east + np.sin(truth["theta"]) * north
    minor = np.cos(truth["theta"]) * north - np.sin(truth["theta"]) * east
    shape = np.exp(-0.5 * ((major / truth["x_stddev"]) ** 2 + (minor / truth["y_stddev"]) ** 2))
    return (truth["amplitude"] * shape).transpose("stamp", "y", "x")


def _axis(name: str, values: np.ndarray, units: str, long_name: str) -> xr.DataArray:
    """Return a dimension coordinate."""
    return xr.Dataset(coords={name: (name, values, {"units": units, "long_name": long_name})})[name]


def _described(array: Any, units: str, long_name: str) -> xr.DataArray:
    # Any: type checkers take what a NumPy function makes of a DataArray for an ndarray.
    return array.assign_attrs(units=units, long_name=long_name)


def _few(rng: np.random.Generator, size: int, one_in: int) -> np.ndarray:
    """Return about one in `one_in` of the indices below `size`, drawn without repetition."""
    return rng.choice(size, size=round(size / one_in), replace=False)
