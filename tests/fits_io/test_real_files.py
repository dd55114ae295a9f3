"""Real files as their fields use them: hyperfine lines, an image cube with its variance, a sparse ensemble of climates.

Authorities are scipy's least squares on the model written out by hand, astropy's own fitter, and numpy's lstsq.
"""

import operator
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import (
    Const1D,
    Const2D,
    Gaussian1D,
    Gaussian2D,
    Linear1D,
    Moffat2D,
    Polynomial2D,
    Sersic2D,
    Sine1D,
)
from astropy.wcs import WCS
from scipy.ndimage import binary_dilation
from scipy.optimize import least_squares

import xr_modelfit
from xr_modelfit import BatchLSQFitter, FitStatus

Array = np.ndarray
Minimum = tuple[Array, Array, float]


def minimum(function: Callable[[Array], Array], y: Array, sigma: Any, start: Any, rescaled: bool = False) -> Minimum:
    """Parameters, their errors and chi2 by scipy, from derivatives by complex steps, which are exact.

    Steps of Gauss and Newton follow: where scipy stops, chi2 has no more digits, but the place has.
    """
    y, sigma = np.ravel(y).astype(float), np.broadcast_to(sigma, np.shape(y)).ravel().astype(float)

    def jacobian(p: Array) -> Array:
        steps = 1e-30j * np.eye(p.size)
        columns = [np.broadcast_to(np.ravel(function(p + step)).imag, y.shape) / 1e-30 for step in steps]
        return np.stack(columns, axis=1) / sigma[:, None]

    tight: dict[str, Any] = {"x_scale": "jac", "ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "max_nfev": 2000}
    found = least_squares(lambda p: (np.ravel(function(p)) - y) / sigma, start, jac=jacobian, **tight)
    p, chi2 = found.x, 2 * found.cost
    for _ in range(100):  # a step is what is left of the one before, half of it for a Moffat
        step = np.linalg.lstsq(jacobian(p), (np.ravel(function(p)) - y) / sigma, rcond=None)[0]
        p = p - step
        if np.linalg.norm(jacobian(p) @ step) < 1e-9:  # of all standard errors together
            break
    J = jacobian(p)
    covariance = np.linalg.inv(J.T @ J) * (chi2 / (y.size - p.size) if rescaled else 1.0)
    return p, np.sqrt(np.diagonal(covariance)), chi2


def linear_minimum(design: Array, y: Array, sigma: Array | None = None) -> Minimum:
    """The same for a linear model by numpy. Without ``sigma`` the scatter of the residuals tells the errors."""
    w = np.ones(y.size) if sigma is None else 1 / sigma.astype(float)
    weighted, target = design * w[:, None], y.astype(float) * w
    size = np.linalg.norm(weighted, axis=0)  # columns of one size
    p = np.linalg.lstsq(weighted / size, target, rcond=None)[0]
    chi2 = float(((weighted / size @ p - target) ** 2).sum())
    root = np.linalg.inv(np.linalg.qr(weighted / size, mode="r"))  # of the covariance, without squaring the condition
    scale = chi2 / (y.size - p.size) if sigma is None else 1.0
    return p / size, np.sqrt((root**2).sum(1) * scale) / size, chi2


def assert_minimum(fit: xr.Dataset, names: list[str], expected: Minimum, close: float = 1e-6) -> None:
    """One fit is at the minimum, to a millionth of a standard error: far below what any user sees."""
    for name, value, error in zip(names, *expected[:2], strict=True):
        assert abs(fit[name].item() - value) < close * error, name
        # An error changes by as much, relative to itself, as the point where derivatives are taken.
        np.testing.assert_allclose(fit[f"{name}_stderr"].item(), error, rtol=max(close, 1e-6), err_msg=name)
    np.testing.assert_allclose(fit["chi2"].item(), expected[2], rtol=1e-9)  # flat at the minimum


def assert_same_values(got: xr.Dataset, expected: xr.Dataset) -> None:
    """The same numbers to the last bit, under the same names, units and coordinates."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        xr.testing.assert_equal(got[name], expected[name])
        assert got[name].attrs.get("units") == expected[name].attrs.get("units")


def units_of(fit: xr.Dataset, *names: str) -> list[Any]:
    return [fit[name].attrs.get("units") for name in names]


# --- the seven lines of N2H+ (1-0): offsets in km/s (Pagani et al. 2009), relative strengths of LTE

OFFSETS = 1000 * (np.array([-7.9930, -0.6112, 0.0, 0.9533, 5.5371, 5.9704, 6.9238]) + 7.9930)
STRENGTHS = np.array([3, 3, 7, 5, 3, 5, 1]) / 27
RATIOS = STRENGTHS / STRENGTHS[0]
ALL_LINES = range(7)


def hyperfine(velocity: Any = 1.0, kelvin: Any = 1.0, ratios: bool = True) -> Model:
    """Seven lines of one width at fixed distances. ``velocity`` and ``kelvin`` are one m/s and one K of the model."""
    parts = [
        Gaussian1D(0.5 * r * kelvin, (3000 + o) * velocity, 300 * velocity)
        for r, o in zip(RATIOS, OFFSETS, strict=True)
    ]
    model = reduce(operator.add, parts)
    for i in ALL_LINES[1:]:
        getattr(model, f"mean_{i}").tied = lambda m, offset=OFFSETS[i] * velocity: m.mean_0 + offset
        getattr(model, f"stddev_{i}").tied = lambda m: m.stddev_0
        if ratios:
            getattr(model, f"amplitude_{i}").tied = lambda m, ratio=RATIOS[i]: ratio * m.amplitude_0
    return model


def lines(v: Array, amplitudes: Any, mean: Any, stddev: Any) -> Array:
    """The same by hand."""
    return sum(a * np.exp(-(((v - mean - o) / stddev) ** 2) / 2) for a, o in zip(amplitudes, OFFSETS, strict=True))


@pytest.fixture(scope="module")
def n2hp(shared_data: Path) -> xr.DataArray:
    return xr_modelfit.from_fits(shared_data / "n2hp_cube.fits")


def n2hp_start(cube: xr.DataArray) -> dict[str, xr.DataArray]:
    """The isolated line, below 7 km/s at all positions: its peak."""
    alone = cube.sel(velocity=slice(7000, 0))  # velocities descend
    return {"mean_0": alone.idxmax("velocity"), "amplitude_0": alone.max("velocity")}


def n2hp_noise(cube: xr.DataArray) -> xr.DataArray:
    """Of channels beyond all lines."""
    return cube.sel(velocity=slice(27000, 21000)).std("velocity")


def test_the_n2hp_cube_is_read_as_its_header_says(n2hp: xr.DataArray, shared_data: Path) -> None:
    with fits.open(shared_data / "n2hp_cube.fits") as hdus:
        header, values = hdus[0].header, hdus[0].data.astype(float)
    channel = np.arange(1, 502)
    wanted = header["CRVAL3"] + header["CDELT3"] * (channel - header["CRPIX3"])
    assert n2hp.dims == ("velocity", "y", "x")
    np.testing.assert_allclose(n2hp["velocity"], wanted, rtol=0, atol=1e-8)  # m/s: rounding of 3e4
    np.testing.assert_array_equal(n2hp.values, values)
    assert (n2hp.attrs["units"], n2hp["velocity"].attrs["units"]) == ("K", "m s-1")
    assert n2hp["wcs"].attrs["rest_frequency"] == header["RESTFREQ"]
    # All seven lines are within the band, at every position.
    first = n2hp_start(n2hp)["mean_0"]
    assert n2hp["velocity"].min() < first.min()
    assert first.max() + OFFSETS[-1] < n2hp["velocity"].max()


def test_a_peak_as_the_start_of_lines_in_km_s(n2hp: xr.DataArray) -> None:
    """As ``idxmax`` gives it, or converted by the user, who then has to say so: 1/1000 of it finds other lines."""
    model = hyperfine(1e-3 * u.km / u.s, u.K)
    peak = n2hp_start(n2hp)["mean_0"]
    given = {"as it is": peak, "said": (peak / 1000).assign_attrs(units="km/s")}
    fits_ = {k: n2hp.modelfit(model, dim="velocity", p0={"mean_0": start}) for k, start in given.items()}
    for k, fit in fits_.items():
        assert [u.Unit(fit[f"mean_{i}"].attrs["units"]) for i in range(7)] == [u.km / u.s] * 7, k
        np.testing.assert_allclose(fit["mean_0"] * 1000, peak, rtol=0, atol=500)  # a line is 300 m/s wide
    for start in (peak / 1000, (peak / 1000).drop_attrs(), peak + 1.0, peak.chunk()):
        with pytest.raises(ValueError, match=r"p0\['mean_0'\] is called 'velocity'.*\.assign_attrs\(units='m s-1'\)"):
            n2hp.modelfit(model, dim="velocity", p0={"mean_0": start})


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_seven_lines_of_one_strength(n2hp: xr.DataArray, way: str) -> None:
    """Three free parameters of 21. The errors of the tied ones follow from theirs."""
    cube = n2hp if way == "computed" else n2hp.chunk(y=1, velocity=100)
    fit = cube.modelfit(hyperfine(), dim="velocity", sigma=n2hp_noise(n2hp), p0=n2hp_start(n2hp), covariance=True)
    assert (fit.chunks == {}) == (way == "computed")
    fit = fit.compute()
    assert fit["mean_0"].dims == ("y", "x")
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    assert (fit["dof"] == 501 - 3).all()
    v = n2hp["velocity"].values
    for y, x in np.ndindex(2, 2):
        at = {"y": y, "x": x}
        start = [n2hp_start(n2hp)["amplitude_0"][at].item(), n2hp_start(n2hp)["mean_0"][at].item(), 300]
        right = minimum(
            lambda p: lines(v, p[0] * RATIOS, p[1], p[2]), n2hp[at].values, n2hp_noise(n2hp)[at].values, start
        )
        assert_minimum(fit[at], ["amplitude_0", "mean_0", "stddev_0"], right)
        for i in ALL_LINES:  # rounding of a sum or product
            names = [f"{name}_{i}" for name in ("amplitude", "mean", "stddev")]
            values, errors = ([fit[at][f"{n}{end}"].item() for n in names] for end in ("", "_stderr"))
            np.testing.assert_allclose(values, right[0] * [RATIOS[i], 1, 1] + [0, OFFSETS[i], 0], rtol=1e-6)
            np.testing.assert_allclose(errors, right[1] * [RATIOS[i], 1, 1], rtol=1e-6)
    names = [f"{name}_{i}{end}" for end in ("", "_stderr") for i in ALL_LINES for name in ("amplitude", "mean")]
    assert set(units_of(fit, *names[::2])) == {"K"}
    assert set(units_of(fit, *names[1::2])) == {"m s-1"}
    # Velocities of all lines move together: their correlation is 1.
    covariance = fit["covariance"].isel(y=0, x=0)
    pair = covariance.sel(cov_i="mean_0", cov_j="mean_3") / covariance.sel(cov_i="mean_3", cov_j="mean_3")
    assert abs(pair.item() - 1) < 1e-12


def test_seven_lines_of_their_own_strengths(n2hp: xr.DataArray) -> None:
    """Opacity changes the ratios. Without ``sigma``, errors come from the residuals."""
    fit = n2hp.modelfit(hyperfine(ratios=False), dim="velocity", p0=n2hp_start(n2hp))
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    assert (fit["dof"] == 501 - 9).all()
    v, names = n2hp["velocity"].values, [*(f"amplitude_{i}" for i in ALL_LINES), "mean_0", "stddev_0"]
    for y, x in np.ndindex(2, 2):
        at = {"y": y, "x": x}
        start = [*(0.5 * RATIOS), n2hp_start(n2hp)["mean_0"][at].item(), 300]
        right = minimum(lambda p: lines(v, p[:7], p[7], p[8]), n2hp[at].values, 1.0, start, rescaled=True)
        assert_minimum(fit[at], names, right)
    ratio = n2hp.modelfit(hyperfine(), dim="velocity", p0=n2hp_start(n2hp))
    assert (fit["chi2"] < ratio["chi2"]).all()  # it has them among its own
    # The main line is the strongest, the last one the weakest, as the strengths say.
    amplitudes = xr.concat([fit[f"amplitude_{i}"] for i in ALL_LINES], "line")
    assert (amplitudes.argmax("line") == 2).all()
    assert (amplitudes.argmin("line") == 6).all()
    assert units_of(fit, "chi2", "reduced_chi2") == ["K2", "K2"]


def test_seven_lines_in_other_units(n2hp: xr.DataArray) -> None:
    """A model and ties in km/s and mK: the same fit, told in them. Another path there: 1e-6 of an error."""
    options: dict[str, Any] = {"dim": "velocity", "sigma": n2hp_noise(n2hp)}
    right = n2hp.modelfit(hyperfine(), p0=n2hp_start(n2hp), **options)
    start = n2hp_start(n2hp)
    start["mean_0"] = (start["mean_0"] / 1000).assign_attrs(units="km s-1").rename("start")
    fit = n2hp.modelfit(hyperfine(1e-3 * u.km / u.s, 1000 * u.mK), p0=start | {"amplitude_0": 500 * u.mK}, **options)
    xr.testing.assert_equal(fit["fit_status"], right["fit_status"])
    for i in ALL_LINES:
        assert units_of(fit, f"mean_{i}", f"stddev_{i}_stderr") == ["km s-1", "km s-1"]
        assert units_of(fit, f"amplitude_{i}") == ["mK"]
        for name, factor in (("amplitude", 1000.0), ("mean", 1e-3), ("stddev", 1e-3)):
            off = abs(fit[f"{name}_{i}"] / factor - right[f"{name}_{i}"]) / right[f"{name}_{i}_stderr"]
            assert float(off.max()) < 1e-6
            np.testing.assert_allclose(
                fit[f"{name}_{i}_stderr"], right[f"{name}_{i}_stderr"] * factor, rtol=1e-6, err_msg=name
            )
    best = fit.isel(y=1, x=1).modelfit.to_model()(n2hp["velocity"].values * u.m / u.s)
    np.testing.assert_allclose(best.to_value(u.K), right.modelfit.evaluate(n2hp)[:, 1, 1], rtol=0, atol=1e-7)


def test_seven_lines_by_frequency(n2hp: xr.DataArray) -> None:
    """Channels told in GHz by the file's own rest frequency; 1e-6 of an error as the model is the same."""
    rest = n2hp["wcs"].attrs["rest_frequency"] * u.Hz
    frequency = rest.to_value(u.GHz) * (1 - n2hp["velocity"].values / 299792458.0)
    told = n2hp.assign_coords(velocity=("velocity", frequency, {"units": "GHz"})).rename(velocity="frequency")
    model, start = hyperfine(u.m / u.s, u.K), {"mean_0": n2hp_start(n2hp)["mean_0"].drop_attrs()}
    options: dict[str, Any] = {"equivalencies": {"frequency": u.doppler_radio(rest)}, "sigma": n2hp_noise(n2hp)}
    fit = told.modelfit(model, dim="frequency", p0=start, **options)
    right = n2hp.modelfit(model, dim="velocity", p0=start, sigma=n2hp_noise(n2hp))
    xr.testing.assert_equal(fit["fit_status"], right["fit_status"])
    for name in ("amplitude_0", "mean_0", "mean_5", "stddev_0"):
        assert float((abs(fit[name] - right[name]) / right[f"{name}_stderr"]).max()) < 1e-6
        assert fit[name].attrs["units"] == right[name].attrs["units"]


def test_astropy_fitter_with_ties_equals_astropy(n2hp: xr.DataArray) -> None:
    """The same fitter on the same numbers: 1e-10 relative."""
    model, noise = hyperfine(ratios=False), n2hp_noise(n2hp)
    cube = n2hp.isel(x=[0], y=[0, 1])
    fit = cube.modelfit(model, dim="velocity", weights=1 / noise.isel(x=[0], y=[0, 1]), fitter=TRFLSQFitter())
    for y in (0, 1):
        v, T = cube["velocity"].values, cube.isel(y=y, x=0).values.astype(float)
        weights = np.full(T.shape, 1 / noise[y, 0].item())
        best = TRFLSQFitter()(model.copy(), v, T, weights=weights, estimate_jacobian=True)
        for name in model.param_names:
            np.testing.assert_allclose(fit[name][y, 0].item(), getattr(best, name).value, rtol=1e-10, err_msg=name)


def test_n2hp_maps_are_written_with_their_units(n2hp: xr.DataArray, tmp_path: Path) -> None:
    fit = n2hp.modelfit(hyperfine(), dim="velocity", sigma=n2hp_noise(n2hp), p0=n2hp_start(n2hp))
    xr_modelfit.to_hdulist(fit).writeto(tmp_path / "maps.fits")
    with fits.open(tmp_path / "maps.fits") as hdus:
        for name, unit in (("MEAN_0", u.m / u.s), ("STDDEV_6_STDERR", u.m / u.s), ("AMPLITUDE_3", u.K)):
            np.testing.assert_array_equal(hdus[name].data, fit[name.lower()].values)
            assert u.Unit(hdus[name].header["BUNIT"], format="fits") == unit


# --- a cube of MUSE: ten images, with their variance

FLUX = 1e-20 * u.erg / u.s / u.cm**2 / u.Angstrom
STAR = {"y": slice(70, 101), "x": slice(78, 101)}
GALAXY = {"y": slice(42, 70), "x": slice(12, 50)}
Image = Callable[..., Array]


@pytest.fixture(scope="module")
def muse(shared_data: Path) -> xr.Dataset:
    return xr_modelfit.from_fits(shared_data / "muse_central_cube.fits")


@pytest.fixture(scope="module")
def sky(muse: xr.Dataset) -> xr.DataArray:
    """True away from stars and galaxies."""
    bright = muse["data"].mean("wavelength") > 3.5
    return bright.copy(data=~binary_dilation(bright.values, iterations=3))


def gaussian(x: Array, y: Array, a: Any, x0: Any, y0: Any, sx: Any, sy: Any, t: Any, base: Any) -> Array:
    along, across = (x - x0) * np.cos(t) + (y - y0) * np.sin(t), (y - y0) * np.cos(t) - (x - x0) * np.sin(t)
    return a * np.exp(-((along / sx) ** 2 + (across / sy) ** 2) / 2) + base


def moffat(x: Array, y: Array, a: Any, x0: Any, y0: Any, gamma: Any, alpha: Any, base: Any) -> Array:
    return a * (1 + ((x - x0) ** 2 + (y - y0) ** 2) / gamma**2) ** -alpha + base


def test_the_muse_cube_is_read_with_its_errors(muse: xr.Dataset, shared_data: Path) -> None:
    with fits.open(shared_data / "muse_central_cube.fits") as hdus:
        wcs, values, variance = WCS(hdus["DATA"].header), hdus["DATA"].data, hdus["STAT"].data
        assert set(muse) == {"data", "data_sigma"}
        np.testing.assert_array_equal(muse["data"].values, values)
        # The root is taken in float32, the precision of the file: 2**-23.
        np.testing.assert_allclose(muse["data_sigma"].values, np.sqrt(variance.astype(float)), rtol=2e-7)
    y, x = np.indices((101, 101))
    ra, dec = wcs.celestial.wcs_pix2world(x, y, 0)
    np.testing.assert_allclose(muse["ra"], ra, rtol=0, atol=1e-9)  # degrees: microarcseconds
    np.testing.assert_allclose(muse["dec"], dec, rtol=0, atol=1e-9)
    np.testing.assert_allclose(muse["wavelength"], 6050 + 1.25 * np.arange(10), rtol=0, atol=1e-9)
    assert muse["wavelength"].attrs["units"] == "Angstrom"
    for name in ("data", "data_sigma"):
        assert u.Unit(muse[name].attrs["units"]) == FLUX


def test_units_of_a_source_by_its_place_on_the_sky(shared_data: Path) -> None:
    """A ten-thousandth of a degree wide at 20 and -30 degrees; right ascension and declination are made when read."""
    source = Gaussian2D(300, 19.9979, -29.99847, 1e-4, 1e-4)
    own = custom_model(
        lambda x, y, a=300.0, b=19.9979, c=-29.99847, s=1e-4: a * np.exp(-((x - b) ** 2 + (y - c) ** 2) / (2 * s**2))
    )()
    for model, units in ((source, [FLUX, *[u.deg] * 4, u.rad]), (own, [FLUX, *[u.deg] * 3])):
        for computed in (False, True):
            cube = xr_modelfit.from_fits(shared_data / "muse_central_cube.fits")
            cube = cube.isel(y=slice(70, 101), x=slice(78, 101), wavelength=slice(2))
            if computed:
                cube = cube.compute()
            where = {"x": "ra", "y": "dec"}
            fit = cube.modelfit(model, dim=("y", "x"), data="data", coords=where, errors="ignore")
            assert [u.Unit(fit[n].attrs["units"]) for n in model.param_names] == units


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_the_sky_of_every_image(muse: xr.Dataset, sky: xr.DataArray, way: str) -> None:
    """A quadratic surface, weighted, where nothing shines."""
    cube = muse if way == "computed" else muse.chunk(wavelength=3, y=40)
    fit = cube.modelfit(Polynomial2D(2), dim=("y", "x"), data="data", sigma="data_sigma", where=sky).compute()
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    assert (fit["n_points"] == int(sky.sum())).all()
    Y, X = (c[sky.values].astype(float) for c in np.indices((101, 101)))
    powers = {"c0_0": (0, 0), "c1_0": (1, 0), "c2_0": (2, 0), "c0_1": (0, 1), "c0_2": (0, 2), "c1_1": (1, 1)}
    design = np.stack([X**i * Y**j for i, j in powers.values()], axis=1)
    for k in range(10):
        z, sigma = (muse[name].values[k][sky.values] for name in ("data", "data_sigma"))
        # Conditions of 1e2 leave 1e-12 of an error; the general tolerance is enough.
        assert_minimum(fit.isel(wavelength=k), list(powers), linear_minimum(design, z, sigma))
    assert fit["c0_0"].dims == ("wavelength",)
    assert u.Unit(fit["c0_0"].attrs["units"]) == FLUX
    # The sky gets brighter by 2 over the field, and the errors are a little too large for its scatter.
    assert ((fit["reduced_chi2"] > 0.5) & (fit["reduced_chi2"] < 0.7)).all()
    best = fit.modelfit.evaluate(muse["data"])
    assert best.dims == muse["data"].dims
    assert float((best[:, 100, 100] - best[:, 0, 0]).min()) > 1.5


def test_the_sky_over_right_ascension_and_declination(muse: xr.Dataset, sky: xr.DataArray) -> None:
    """The same surface over coordinates of the sky, 20 and -30 degrees from 0, over 20 arcseconds."""
    options: dict[str, Any] = {"dim": ("y", "x"), "data": "data", "sigma": "data_sigma", "where": sky}
    fit = muse.modelfit(Polynomial2D(2), coords={"x": "ra", "y": "dec"}, **options)
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    flux = muse["data"].attrs["units"]
    for name, power in (("c0_0", 0), ("c1_0", 1), ("c0_1", 1), ("c2_0", 2), ("c1_1", 2)):
        assert u.Unit(fit[name].attrs["units"]) == u.Unit(flux) / u.deg**power
    best = fit.modelfit.evaluate(muse["data"]).values
    a, d = ((muse[c].values - muse[c].values.mean()) * 3600 for c in ("ra", "dec"))
    full = np.stack([a**i * d**j for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))], axis=-1)
    for k in range(10):
        z, sigma = (muse[name].values[k][sky.values] for name in ("data", "data_sigma"))
        p, _, chi2 = linear_minimum(full[sky.values], z, sigma)
        np.testing.assert_allclose(fit["chi2"][k], chi2, rtol=1e-9)
        # Terms of 1e6 cancel to 1 where the polynomial is evaluated at ra and dec: 1e6 roundings of 2e-16, some times.
        np.testing.assert_allclose(best[k], full @ p, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "by_hand", "where"),
    [
        (Moffat2D(300, 91, 84, 2, 2) + Const2D(1), moffat, STAR),
        (Gaussian2D(30, 91, 84, 2.2, 1.8, 0.2) + Const2D(1), gaussian, STAR),
        (Gaussian2D(60, 30, 55, 4, 2, -0.1) + Const2D(1), gaussian, GALAXY),
    ],
    ids=["moffat of the star", "gaussian of the star", "gaussian of the galaxy"],
)
@pytest.mark.parametrize("tight", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["as it comes", "tight"])
def test_a_source_in_every_image(muse: xr.Dataset, model: Model, by_hand: Image, where: Any, tight: bool) -> None:
    """Computed with the default tolerances, lazy with tight ones."""
    part = muse.isel(where)
    cube = part.chunk(wavelength=4, y=10) if tight else part
    fitter = BatchLSQFitter(xtol=1e-12, ftol=1e-16, gtol=1e-12) if tight else BatchLSQFitter()
    fit = cube.modelfit(model, dim=("y", "x"), data="data", sigma="data_sigma", fitter=fitter).compute()
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    x, y = np.meshgrid(part["x"].values.astype(float), part["y"].values.astype(float))
    for k in range(10):
        z, sigma = (part[name].values[k] for name in ("data", "data_sigma"))
        right = minimum(lambda p: by_hand(x, y, *p), z, sigma, model.parameters)
        assert_minimum(fit.isel(wavelength=k), list(model.param_names), right, 1e-6)
    names = [n for n in model.param_names if n.startswith("amplitude")]
    assert all(u.Unit(unit) == FLUX for unit in units_of(fit, *names))
    # It is at the brightest pixel, in all colours alike: to a pixel, and half a pixel of scatter.
    brightest = part["data"].mean("wavelength").argmax(("y", "x"))
    for name, c in zip(model.param_names[1:3], ("x", "y"), strict=True):
        assert float(abs(fit[name] - part[c][brightest[c]]).max()) < 1
        assert np.ptp(fit[name].values) < 0.5


def test_a_galaxy_started_at_its_brightest_pixel(muse: xr.Dataset) -> None:
    """A profile has no derivative in its centre. From the same start scipy reaches the minimum."""
    part = muse.isel(GALAXY).isel(wavelength=[0, 4, 9])
    model = Sersic2D(10, 5, 1, 30, 55, 0.5, -0.2) + Const2D(1)
    fit = part.modelfit(model, dim=("y", "x"), data="data", sigma="data_sigma")
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    x, y = np.meshgrid(part["x"].values.astype(float), part["y"].values.astype(float))
    for k in range(3):
        z, sigma = (part[name].values[k] for name in ("data", "data_sigma"))

        def residual(p: Array, z: Array = z, sigma: Array = sigma) -> Array:
            values = Sersic2D.evaluate(x, y, *p[:7]) + p[7]
            return np.ravel((values - z) / sigma)

        found = least_squares(residual, model.parameters, jac="3-point", x_scale="jac", xtol=1e-12, ftol=1e-14)
        np.testing.assert_allclose(fit["chi2"][k], 2 * found.cost, rtol=1e-9)
        for name, value in zip(model.param_names, found.x, strict=True):  # as near as its differences come
            assert abs(fit[name][k] - value) < 1e-3 * fit[f"{name}_stderr"][k], name


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_the_continuum_of_every_spaxel(muse: xr.Dataset, way: str) -> None:
    """Weighted straight lines against their closed form, about the middle of the band."""
    cube = muse if way == "computed" else muse.chunk(y=30, x=50, wavelength=5)
    options: dict[str, Any] = {"dim": "wavelength", "data": "data", "sigma": "data_sigma"}
    fit = cube.modelfit(Linear1D(), **options).compute()
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    z, w = muse["data"].values.astype(float), muse["data_sigma"].values.astype(float) ** -2
    t = muse["wavelength"].values[:, None, None]
    S = w.sum(0)
    middle, mean = (w * t).sum(0) / S, (w * z).sum(0) / S
    Sxx = (w * (t - middle) ** 2).sum(0)
    slope = (w * (t - middle) * z).sum(0) / Sxx
    slope_error, level_error = Sxx**-0.5, np.sqrt(1 / S + middle**2 / Sxx)
    # A condition of 1e3 (6055 over 12 Angstrom) leaves 1e-10 of an error.
    assert np.max(abs(fit["slope"].values - slope) / slope_error) < 1e-8
    assert np.max(abs(fit["intercept"].values - (mean - slope * middle)) / level_error) < 1e-8
    np.testing.assert_allclose(fit["slope_stderr"], slope_error, rtol=1e-8)
    np.testing.assert_allclose(fit["intercept_stderr"], level_error, rtol=1e-8)
    assert u.Unit(fit["slope"].attrs["units"]) == FLUX / u.Angstrom
    assert u.Unit(fit["intercept"].attrs["units"]) == FLUX
    constant = cube.modelfit(Const1D(), **options).compute()
    np.testing.assert_allclose(constant["amplitude"], mean, rtol=1e-10)  # one sum of ten
    np.testing.assert_allclose(constant["amplitude_stderr"], S**-0.5, rtol=1e-10)


def test_muse_maps_keep_the_sky(muse: xr.Dataset, tmp_path: Path) -> None:
    """Written and read again: values, units and positions; 1e-9 degrees are microarcseconds."""
    fit = muse.modelfit(Linear1D(), dim="wavelength", data="data", sigma="data_sigma")
    xr_modelfit.to_hdulist(fit.isel(y=slice(20, 90, 2), x=slice(10, None))).writeto(tmp_path / "maps.fits")
    back = xr_modelfit.from_fits(tmp_path / "maps.fits", hdu=["SLOPE", "INTERCEPT"])
    part = fit.isel(y=slice(20, 90, 2), x=slice(10, None))
    for name, unit in (("slope", FLUX / u.Angstrom), ("intercept", FLUX)):
        np.testing.assert_array_equal(back[name].values, part[name].values)
        assert u.Unit(back[name].attrs["units"]) == unit
    for name in ("ra", "dec"):
        np.testing.assert_allclose(back[name].values, part[name].values, rtol=0, atol=1e-9)


# --- an ensemble of climate models: scenario, time, model, run; 93 % of it is empty

CYCLE = 11 * 365.25


@custom_model
def cycle(t, level=0.0, trend=0.0, cosine=1.0, sine=1.0):
    """A trend and one oscillation in eleven years, that of the sun."""
    return level + trend * t + cosine * np.cos(2 * np.pi / CYCLE * t) + sine * np.sin(2 * np.pi / CYCLE * t)


@custom_model
def season(t, level=0.0, trend=0.0, cosine=1.0, sine=1.0):
    """A trend and one oscillation a year."""
    return level + trend * t + cosine * np.cos(2 * np.pi / 365.25 * t) + sine * np.sin(2 * np.pi / 365.25 * t)


@pytest.fixture(scope="module")
def tas(shared_data: Path) -> xr.DataArray:
    """Yearly means of the Pacific Northwest. The file has no units; its values are kelvins."""
    pytest.importorskip("netCDF4")
    with xr.open_dataset(shared_data / "xclim_cmip5_tas_pnw_mon.nc") as ds:
        return ds["tas"].load().assign_attrs(units="K")


def waves(days: Array, period: float | None) -> Array:
    """Columns of the level, the trend and a wave."""
    columns = [np.ones(days.size), days]
    if period is not None:
        columns += [np.cos(2 * np.pi / period * days), np.sin(2 * np.pi / period * days)]
    return np.stack(columns, axis=1)


def assert_ensemble(fit: xr.Dataset, tas: xr.DataArray, names: list[str], period: float | None, close: float) -> None:
    """Each series against numpy; where it is empty, the fit is NaN and says so."""
    days = (tas["time"].values - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    assert fit[names[0]].dims == ("scen", "model", "run")
    count = tas.notnull().sum("time")
    xr.testing.assert_equal(fit["n_points"].drop_attrs(), count)
    filled = (count > 0).values
    assert (int(filled.sum()), int((~filled).sum())) == (521, 2839)
    assert (fit["fit_status"].values[filled] == FitStatus.CONVERGED).all()
    assert (fit["fit_status"].values[~filled] == FitStatus.NO_DATA).all()
    for name in names:
        for variable in (name, f"{name}_stderr"):
            np.testing.assert_array_equal(np.isfinite(fit[variable].values), filled)
    values = {n: fit[n].values for n in (*names, *(f"{n}_stderr" for n in names), "chi2")}
    for index in zip(*np.nonzero(filled), strict=True):
        series = tas.values[index[0], :, index[1], index[2]]
        kept = np.isfinite(series)
        p, error, chi2 = linear_minimum(waves(days[kept], period), series[kept])
        for name, value, sigma in zip(names, p, error, strict=True):
            assert abs(values[name][index] - value) < close * sigma, (name, index)
            assert abs(values[f"{name}_stderr"][index] - sigma) < close * sigma, (name, index)
        assert abs(values["chi2"][index] - chi2) < 1e-8 * chi2


def test_trends_of_a_sparse_ensemble(tas: xr.DataArray) -> None:
    """Straight lines in kelvins a year; a millionth of an error."""
    fit = tas.modelfit(Linear1D(), dim="time", p0={"slope": 0 * u.K / u.yr})
    assert units_of(fit, "slope", "slope_stderr", "intercept") == ["K yr-1", "K yr-1", "K"]
    per_day = fit.assign(slope=fit["slope"] / 365.25, slope_stderr=fit["slope_stderr"] / 365.25)
    assert_ensemble(per_day, tas, ["intercept", "slope"], None, 1e-6)
    for name in ("scen", "model", "run"):
        xr.testing.assert_identical(fit[name], tas[name])
    # More forcing, more warming: kelvins in a century.
    century = 100 * fit["slope"].median(("model", "run"))
    assert (np.diff(century) > 0).all()
    assert 0.3 < float(century.sel(scen="historical")) < 1
    assert 4.5 < float(century.sel(scen="rcp85")) < 6.5


def test_trend_and_cycle_of_a_sparse_ensemble(tas: xr.DataArray) -> None:
    fit = tas.modelfit(cycle(), dim="time")
    assert_ensemble(fit, tas, ["level", "trend", "cosine", "sine"], CYCLE, 1e-6)
    assert units_of(fit, "level", "trend", "cosine", "sine") == ["K", "K d-1", "K", "K"]
    # The same by astropy's sine of a fixed frequency: 1e-6 of an error between a linear and a nonlinear way.
    model = Linear1D() + Sine1D(0.3, 1 / CYCLE, 0.1)
    model.frequency_1.fixed = True
    wave = tas.modelfit(model, dim="time")
    xr.testing.assert_equal(wave["fit_status"].drop_attrs(), fit["fit_status"].drop_attrs())
    off = abs(abs(wave["amplitude_1"]) - np.hypot(fit["cosine"], fit["sine"])) / fit["cosine_stderr"]
    assert float(off.max()) < 1e-6
    assert float((abs(wave["slope_0"] - fit["trend"]) / fit["trend_stderr"]).max()) < 1e-6
    assert units_of(wave, "slope_0", "amplitude_1", "frequency_1") == ["K d-1", "K", "d-1"]
    # Residuals are those of the samples that are there.
    residual = tas.astype(float) - fit.modelfit.evaluate(tas)
    np.testing.assert_allclose((residual**2).sum("time", min_count=1), fit["chi2"], rtol=1e-9)


def test_a_season_that_is_sampled_once_a_year(tas: xr.DataArray) -> None:
    """Only leap days tell the season from the level: the errors say so, in hundreds of kelvins and more.

    Columns differ by 1e-4 of themselves: a condition of 1e5, whose square is lost where normal equations are used.
    """
    fit = tas.modelfit(season(), dim="time")
    assert_ensemble(fit, tas, ["level", "trend", "cosine", "sine"], 365.25, 1e-5)
    assert float(fit["cosine_stderr"].min()) > 500


def test_a_lazy_ensemble_is_the_computed_one(tas: xr.DataArray, shared_data: Path, tmp_path: Path) -> None:
    """Chunks of any kind, straight from the file; then through a file of results, text coordinates included."""
    right = tas.modelfit(cycle(), dim="time")
    with xr.open_dataset(shared_data / "xclim_cmip5_tas_pnw_mon.nc", chunks={}) as ds:
        lazy = ds["tas"].assign_attrs(units="K")
        for chunks in ({}, {"scen": 2, "model": 13, "run": 5, "time": 100}):
            fit = lazy.chunk(chunks).modelfit(cycle(), dim="time")
            assert fit["level"].chunks is not None
            assert_same_values(fit.compute(), right)
    right.to_netcdf(tmp_path / "fit.nc")
    back = xr.load_dataset(tmp_path / "fit.nc")
    xr.testing.assert_identical(back, right)
    xr.testing.assert_equal(back.modelfit.evaluate(tas, model=cycle()), right.modelfit.evaluate(tas))


def test_a_series_of_too_few_years(tas: xr.DataArray) -> None:
    """Three samples for four parameters are another thing than none; neighbours stay what they are, to the bit."""
    part = tas.sel(scen="historical", run=["run1"]).isel(model=slice(0, 6))
    year = xr.DataArray(np.arange(250), dims="time", coords={"time": part["time"]})
    short = part.where((part["model"] != "ACCESS1-3") | (year < 3))
    with pytest.warns(xr_modelfit.FitWarning, match="1 of 6 fits failed: 1 too_few_points"):
        fit = short.modelfit(cycle(), dim="time")
    assert fit["fit_status"].sel(model="ACCESS1-3").item() == FitStatus.TOO_FEW_POINTS
    assert fit["n_points"].sel(model="ACCESS1-3").item() == 3
    others = part["model"].values != "ACCESS1-3"
    assert_same_values(fit.isel(model=others), part.modelfit(cycle(), dim="time").isel(model=others))
    with pytest.raises(xr_modelfit.FitError, match=r"model='?ACCESS1-3'?"):
        short.modelfit(cycle(), dim="time", errors="raise")
