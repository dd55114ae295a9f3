"""Fluxes and widths of lines in chains of models, ``Scale(0.1) | Gaussian1D()``: against the evaluated component."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, models
from scipy.integrate import simpson

import xr_modelfit  # noqa: F401  # the accessor

X = np.linspace(0.0, 40.0, 4001)  # a line at 20, 1.5 wide, is far from both ends


def held(model: Model) -> Model:
    """With all parameters fixed, but those of lines: a chain has more parameters than a curve tells."""
    for name in model.param_names:
        getattr(model, name).fixed = not name.startswith(("amplitude", "mean", "stddev", "x_0", "gamma", "fwhm"))
    return model


def line(mean: float, stddev: float) -> Model:
    return models.Gaussian1D(3.0, mean, stddev)


def linear(slope: float, constant: float) -> Model:
    return models.Polynomial1D(1, c0=constant, c1=slope)


CHAINS = {
    "Scale": models.Scale(0.1) | line(2.0, 0.15) + models.Const1D(1.5),
    "a negative scale": models.Scale(-0.5) | line(-10.0, 0.75) + models.Const1D(1.5),
    "Multiply": models.Multiply(3.0) | line(60.0, 4.5),
    "a redshift": models.RedshiftScaleFactor(-0.25) | line(15.0, 1.2) + models.Const1D(1.5),
    "Shift": models.Shift(-20.0) | line(0.0, 1.5) + models.Const1D(0.5),
    "Linear1D": models.Linear1D(2.0, -40.0) | line(0.0, 3.0),
    "Polynomial1D": linear(0.25, 1.0) | line(6.0, 0.4),
    "two steps": models.Shift(-18.0) | models.Scale(4.0) | line(8.0, 6.0) + models.Const1D(0.5),
    "steps in brackets": (models.Shift(-18.0) | models.Scale(4.0)) | line(8.0, 6.0),
    "in one term": (models.Scale(0.5) | line(10.0, 0.75)) + models.Const1D(0.5),
    "two lines": models.Scale(0.5) | line(7.0, 0.4) + line(13.0, 0.6) + models.Const1D(0.5),
    "a scale behind": line(20.0, 1.5) | models.Scale(-2.0),
    "scales on both sides": models.Scale(0.5) | line(10.0, 0.75) | models.Scale(3.0),
    "no chain": line(20.0, 1.5) + models.Const1D(1.5),
}


def fitted(model: Model, **options: Any) -> tuple[xr.DataArray, xr.Dataset]:
    data = xr.DataArray(model(X), dims="x", coords={"x": X})
    return data, data.modelfit(held(model.copy()), dim="x", sigma=0.1, covariance=True, **options)


@pytest.mark.parametrize("name", CHAINS)
def test_flux_and_width_are_those_of_the_evaluated_component(name: str) -> None:
    data, fit = fitted(CHAINS[name])
    parts = fit.modelfit.components(data)
    found = fit.modelfit.derived()
    lines = sorted(n for n in found if "flux" in n and not n.endswith("_stderr"))
    curves = [parts[n].values for n in parts if "Gaussian1D" in str(n)]
    assert len(lines) == len(curves) > 0
    for flux, curve in zip(lines, curves, strict=True):
        assert found[flux].item() == pytest.approx(simpson(curve, x=X), rel=1e-6)
        above = X[np.abs(curve) >= 0.5 * np.abs(curve).max()]
        width = found[flux.replace("flux", "fwhm")].item()
        assert width == pytest.approx(above[-1] - above[0], abs=2 * (X[1] - X[0]))


@pytest.mark.parametrize("profile", [models.Lorentz1D(2.0, 5.0, 0.5), models.Moffat1D(2.0, 5.0, 0.5, 2.5)])
def test_other_profiles(profile: Model) -> None:
    """As the same profile without a chain, four times as wide."""
    model = models.Scale(0.25) | profile
    _data, fit = fitted(model)
    name = "flux_1"
    wide = np.linspace(-4000.0, 4040.0, 2_000_001)
    whole = simpson(model(wide), x=wide)
    assert fit.modelfit.derived(name)[name].item() == pytest.approx(whole, rel=3e-4)  # the wings beyond the ends


def test_errors_take_in_the_slope() -> None:
    """By the law of products: a free redshift, a fixed line position."""
    model = models.Scale(0.5) | models.Gaussian1D(3.0, 10.0, 0.75)
    free = model.copy()
    free.mean_1.fixed = True
    rng = np.random.default_rng(0)
    data = xr.DataArray(model(X) + rng.normal(0, 0.1, X.size), dims="x", coords={"x": X})
    fit = data.modelfit(free, dim="x", sigma=0.1, covariance=True)
    names = ["factor_0", "amplitude_1", "stddev_1"]
    C = fit["covariance"].sel(cov_i=names, cov_j=names).values
    k, a, s = (fit[n].item() for n in names)
    flux = np.sqrt(2 * np.pi) * a * s / k
    g = flux * np.array([-1 / k, 1 / a, 1 / s])
    found = fit.modelfit.derived("flux_1")
    assert found["flux_1"].item() == pytest.approx(flux, rel=1e-12)
    assert found["flux_1_stderr"].item() == pytest.approx(np.sqrt(g @ C @ g), rel=1e-6)


def test_a_width_behind_a_fixed_scale_needs_no_covariance() -> None:
    _data, fit = fitted(CHAINS["Scale"])
    bare = fit.drop_vars("covariance").drop_dims(("cov_i", "cov_j"))
    found = bare.modelfit.derived("fwhm_1")
    expected = 10 * np.sqrt(8 * np.log(2)) * fit["stddev_1_stderr"].item()
    assert found["fwhm_1_stderr"].item() == pytest.approx(expected, rel=1e-9)


def test_units_are_those_of_the_integral() -> None:
    model = held(models.RedshiftScaleFactor(-0.25) | line(15.0, 1.2))
    x = xr.DataArray(X, dims="x", attrs={"units": "Angstrom"})
    data = xr.DataArray(model(X), dims="x", coords={"x": x}, attrs={"units": "mJy"})
    found = data.modelfit(model, dim="x", sigma=0.1, covariance=True).modelfit.derived("flux_1", "fwhm_1")
    whole = simpson(model(X), x=X) * u.mJy * u.AA
    got = found["flux_1"].item() * u.Unit(found["flux_1"].attrs["units"])
    assert got.to_value("mJy Angstrom") == pytest.approx(whole.value, rel=1e-6)
    assert found["fwhm_1"].attrs["units"] == "Angstrom"


def test_images() -> None:
    """A flux is over the product of both scales; a width has a direction, and is refused."""
    star = models.Gaussian2D(3.0, 5.0, 10.0, 0.5, 2.0, 0.3)
    y, x = np.mgrid[0:20:0.125, 0:20:0.125]
    scaled = models.Scale(0.5) & models.Scale(2.0) | models.Gaussian2D(3.0, 5.0, 20.0, 0.6, 2.0, 0.3)
    moved = models.Shift(-5.0) & models.Shift(0.0) | star
    turned = models.Rotation2D(20.0) | models.Gaussian2D(3.0, 6.0, 12.0, 0.7, 1.5)
    for model in (scaled, moved, turned):
        data = xr.DataArray(model(x, y), dims=("y", "x"), coords={"y": y[:, 0], "x": x[0]})
        start = model.copy()
        for name in start.param_names:
            getattr(start, name).fixed = not name.startswith(("amplitude", "x_", "y_"))
        coords = dict(zip(model.inputs, ("x", "y"), strict=True))
        fit = data.modelfit(start, dim=("y", "x"), sigma=0.1, covariance=True, coords=coords)
        (flux,) = (n for n in fit.modelfit.derived() if n.startswith("flux") and not n.endswith("stderr"))
        assert fit.modelfit.derived(flux)[flux].item() == pytest.approx(model(x, y).sum() / 64, rel=1e-4)
        width = flux.replace("flux", "x_fwhm")
        if model is scaled:
            with pytest.raises(ValueError, match="no formula is known"):
                fit.modelfit.derived(width)
        else:
            assert fit.modelfit.derived(width)[width].item() > 0


NOT_LINEAR = {
    "a parabola": models.Polynomial1D(2, c0=0.0, c1=0.0, c2=0.05) | line(20.0, 2.0),
    "a sum": models.Scale(0.1) + models.Const1D(0.2) | line(2.2, 0.15),
    "a power behind": line(20.0, 1.5) | models.Polynomial1D(2, c0=0.0, c1=1.0, c2=0.5),
    "a polynomial over a window": models.Polynomial1D(1, c0=0.0, c1=1.0, domain=(0, 40)) | line(0.0, 0.1),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_what_is_not_linear_is_refused(name: str) -> None:
    """A width is no longer a number times the parameter; without names there is nothing of it."""
    _, fit = fitted(NOT_LINEAR[name])
    number = next(p for p in fit.data_vars if str(p).startswith("stddev")).split("_")[1]  # type: ignore[union-attr]
    for quantity in (f"flux_{number}", f"fwhm_{number}"):
        with pytest.raises(ValueError, match=rf"'{quantity}'.*no formula is known.*lambda"):
            fit.modelfit.derived(quantity)
    with pytest.raises(ValueError, match="No formula is known"):
        fit.modelfit.derived()


def test_a_constant_added_behind_has_no_flux() -> None:
    """Its integral is infinite; the width is what it was."""
    _, fit = fitted(line(20.0, 1.5) | models.Shift(2.0))
    with pytest.raises(ValueError, match="no formula is known"):
        fit.modelfit.derived("flux_0")
    assert fit.modelfit.derived("fwhm_0")["fwhm_0"].item() == pytest.approx(1.5 * np.sqrt(8 * np.log(2)), rel=1e-6)
