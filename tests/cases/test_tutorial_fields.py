"""Simulated data: what the docstrings say they are made from is what fits find."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import xr_modelfit
from xr_modelfit import BatchLSQFitter, tutorial

DATA = [name for name in tutorial.__all__ if not name.endswith("_truth")]


@pytest.mark.parametrize("name", DATA)
def test_data_are_labelled_small_and_the_same_each_time(name: str) -> None:
    make = getattr(tutorial, name)
    data = make()
    assert isinstance(data, xr.DataArray)
    assert data.size < 200_000
    assert data.name
    assert {"units", "long_name"} <= set(data.attrs)
    assert all("long_name" in data[dim].attrs for dim in data.dims)
    xr.testing.assert_identical(data, make())
    assert not data.equals(make(seed=1))
    assert inspect.getdoc(make)


def scatter(found: xr.DataArray, error: xr.DataArray, truth: object) -> float:
    """The scatter of the deviations in units of the error; 1 if data, model and error belong together."""
    return float(np.sqrt((((found - truth) / error) ** 2).mean()))


def check(fit: xr.Dataset, **truths: object) -> None:
    """Each within three of its own standard deviations of 1."""
    for name, truth in truths.items():
        n = int(fit[name].notnull().sum())
        assert n > 0
        assert abs(scatter(fit[name], fit[f"{name}_stderr"], truth) - 1) < 3 / np.sqrt(2 * n), name


def test_slit_spectra() -> None:
    data = tutorial.slit_spectra()
    s = data["position"]

    def lines(wavelength, velocity=0.0, width=80.0, ha=5.0, nii=2.0, level=1.0):
        def line(rest):
            return np.exp(-0.5 * ((299792.458 * (wavelength / rest - 1) - velocity) / width) ** 2)

        return level + ha * line(656.28) + nii * (line(658.35) + line(654.80) / 3)

    plain = data.drop_attrs()  # a velocity from a ratio of wavelengths has no unit that follows
    fit = plain.modelfit(lines, dim="wavelength", sigma=0.15, p0={"velocity": 220 * np.tanh(s / 3)})
    ha = 8 * np.exp(-abs(s) / 5)
    check(fit, velocity=220 * np.tanh(s / 3), width=70, ha=ha, level=2 * np.exp(-abs(s) / 4))
    check(fit, nii=ha * (0.35 + 0.25 * np.exp(-((s / 2) ** 2))))


def test_raman_scan() -> None:
    from astropy.modeling.models import Linear1D, Lorentz1D

    data = tutorial.raman_scan()
    model = Lorentz1D(100, 1350, 120) + Lorentz1D(100, 1580, 80) + Linear1D(0, 300)
    fit = data.modelfit(model, dim="shift", sigma=6.0)
    ratio = 0.4 + 0.8 / (1 + np.exp((35 - data["position"]) / 6))
    check(fit, amplitude_0=200 * ratio, x_0_0=1350, fwhm_0=150, amplitude_1=200, x_0_1=1585, fwhm_1=90, slope_2=0.08)


def test_river_recession() -> None:
    data = tutorial.river_recession()
    fit = data.modelfit(
        lambda time, flood=60.0, k=4.0, base=5.0: flood * np.exp(-time / k) + base, dim="time", sigma=0.03 * data
    )
    # errors of 3 % of the measured value, not of the mean, draw the curve down by 0.2 %: less than an error here
    check(fit, flood=xr.DataArray([40, 55, 80, 90, 120], dims="gauge"))
    check(fit, k=xr.DataArray([2, 3, 4.5, 6, 9], dims="gauge"))


def test_dose_response() -> None:
    data = tutorial.dose_response()
    fit = data.modelfit(
        lambda log_dose, top=90.0, middle=-7.0, hill=1.0: top / (1 + 10 ** (hill * (middle - log_dose))),
        dim=("log_dose", "replicate"),
        coords="log_dose",
        sigma=4.0,
        p0={"middle": xr.DataArray(np.arange(-8, -5, 0.5), dims="compound")},
        bounds={"hill": (0.2, 5)},
    )
    check(fit, middle=xr.DataArray(np.arange(-8, -5, 0.5), dims="compound"))
    check(fit, top=xr.DataArray([95.0, 100, 80, 100, 60, 98], dims="compound"))
    check(fit, hill=xr.DataArray([1, 1.5, 1, 0.8, 1.2, 2], dims="compound"))


def test_coda_envelopes() -> None:
    from astropy.modeling.models import Linear1D

    data = tutorial.coda_envelopes()
    level = np.log(data * data["time"]).drop_attrs(deep=False)
    fit = level.modelfit(Linear1D(), dim="time", sigma=0.12)
    check(fit, slope=xr.DataArray(-np.pi * 4 / np.linspace(150, 400, 8), dims="station"), intercept=np.log(2e5))


def test_counts() -> None:
    """Means of counts against the formulas; the variance of counts is the mean."""
    time = 0.1 + 0.2 * np.arange(64)
    cell = tutorial.lifetime_image().isel(y=12, x=slice(3, 7)).mean("x")
    mean = 20 * np.exp(-time / 2) + 0.3
    assert np.sum((cell - mean) ** 2 / (mean / 4)) < 64 + 4 * np.sqrt(128)
    spectra = tutorial.xray_spectra(n_spectra=240)
    t, energy = spectra["time"], spectra["energy"]
    norm, line = 3 + 1.8 * np.sin(2 * np.pi * t / 24), 4 + 2.4 * np.sin(2 * np.pi * (t - 3) / 24)
    expected = norm * (energy / 5) ** -1.7 + line * np.exp(-0.5 * ((energy - 6.4) / 0.08) ** 2)
    pulls = (spectra - expected).sum("time") / np.sqrt(expected.sum("time"))
    assert abs(float(pulls.std()) - 1) < 4 / np.sqrt(2 * 140)


def test_vegetation_index() -> None:
    data = tutorial.vegetation_index()

    def year(day, base=0.2, rise=0.5, green_up=120.0, fall=280.0, width=10.0):
        return base + rise * (1 / (1 + np.exp((green_up - day) / width)) - 1 / (1 + np.exp((fall - day) / width)))

    bounds = {"green_up": (60, 200), "fall": (200, 350), "width": (9, 9)}
    fit = data.modelfit(year, dim="day", sigma=0.03, bounds=bounds)
    v, u = (2 * np.arange(16) + 1) / 16 - 1, (2 * np.arange(20) + 1) / 20 - 1
    height = xr.DataArray(np.exp(-(((u - 0.2) / 0.6) ** 2) - ((v[:, None] + 0.1) / 0.7) ** 2), dims=("y", "x"))
    assert int(fit.modelfit.ok.sum()) == 320
    for name, truth in {"base": 0.15, "rise": 0.55, "green_up": 105 + 40 * height, "fall": 290 - 25 * height}.items():
        # a third of the pixels have no sample on a slope of the curve: errors of first order are rough there
        assert abs(float(((fit[name] - truth) / fit[f"{name}_stderr"]).median())) < 0.3, name
    assert 0.1 < float(data.isnull().mean()) < 0.22


def test_spin_echoes() -> None:
    data = tutorial.spin_echoes(shape=(64, 64))
    air = data.isel(y=32, x=32).values  # between the tubes
    assert abs(np.sqrt(np.mean(air**2) / 2) - 8) < 3  # the scale of Rayleigh's distribution
    tube = data.isel(y=slice(46, 50), x=slice(46, 50))
    squares = (tube**2).mean(("y", "x")) - 2 * 8**2
    expected = (150 * np.exp(-data["echo"] / 140)) ** 2
    error = np.sqrt(4 * 8**2 * expected + 4 * 8**4) / 4  # the variance of a squared Rician, of 16 pixels
    assert float((((squares - expected) / error) ** 2).mean()) < 3


def test_correlation_planes() -> None:
    from astropy.modeling.models import Gaussian2D

    data = xr.concat([tutorial.correlation_planes(seed=seed) for seed in range(1, 5)], dim="run")
    y, x = data["y"] - 144, data["x"] - 192
    turn = 4 / 60 * np.exp(0.5 - 0.5 * (x**2 + y**2) / 60**2)
    start = {"x_mean": -turn * y, "y_mean": turn * x}
    peak = Gaussian2D(0.5, 0, 0, 1, 1, fixed={"theta": True})
    fit = data.modelfit(peak, coords={"x": "dx", "y": "dy"}, sigma=0.04, p0=start, errors="ignore")
    good = fit.modelfit.significant(snr=5)
    assert int((~good).sum()) == 4 * 3
    check(fit.where(good), x_mean=start["x_mean"], y_mean=start["y_mean"], amplitude=0.8, x_stddev=1.1)


def test_bead_movie() -> None:
    from astropy.modeling.models import Const2D, Gaussian2D

    data = tutorial.bead_movie()
    model = Gaussian2D(100, 0, 0, 0.13, 0.13, fixed={"theta": True}) + Const2D(10)
    starts: dict[str, Callable[..., object] | str] = {"x_mean_0": "estimate", "y_mean_0": "estimate"}
    fit = data.modelfit(
        model, dim=("y", "x"), p0=starts, fitter=BatchLSQFitter(loss="poisson"), errors="ignore",
        bounds={"amplitude_0": (0, None), "amplitude_1": (1e-3, None)}
        | dict.fromkeys(("x_stddev_0", "y_stddev_0"), (0.05, 0.4)),
    )  # fmt: skip
    good = fit["amplitude_0"] > 8 * fit["amplitude_0_stderr"]
    dark = np.flatnonzero(~good)
    assert {26, 40} <= set(dark)
    assert len(dark) < 10
    check(fit.where(good), amplitude_0=150 * np.exp(-data["time"] / 4), x_stddev_0=0.13, amplitude_1=10)
    assert xr_modelfit.FitStatus(int(fit["fit_status"].isel(time=0))) > 0
