"""Quantities derived from parameters, and prediction bands: against closed forms and Monte Carlo."""

import inspect
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model, models
from scipy.integrate import quad

import xr_modelfit
from xr_modelfit import RecordError, tutorial
from xr_modelfit.models.known_quantities import formulas_of

DRAWS = 100_000
MONTE_CARLO = 0.02  # asked for; the scatter of a width from 1e5 draws is 0.2 %
X = np.linspace(-10.0, 10.0, 201)


def fitted(model: Model, noise: float = 0.01, x: np.ndarray = X, seed: int = 0, **options: Any) -> xr.Dataset:
    """Three fits of the model to its own values with noise."""
    rng = np.random.default_rng(seed)
    y = model(x) + rng.normal(0.0, noise, (3, x.size))
    data = xr.DataArray(y, dims=("position", "x"), coords={"x": x, "position": [10, 20, 30]}, name="signal")
    return data.modelfit(model, dim="x", sigma=noise, covariance=True, **options)


def draws(result: xr.Dataset, names: list[str], i: int) -> dict[str, np.ndarray]:
    """Parameters of fit ``i``, drawn from their covariance."""
    here = result.isel(position=i)
    mean = np.array([here[n].item() for n in names])
    C = here["covariance"].sel(cov_i=names, cov_j=names).values
    return dict(zip(names, np.random.default_rng(i + 1).multivariate_normal(mean, C, DRAWS).T, strict=True))


LINES = {
    "Gaussian1D": models.Gaussian1D(2.0, 0.5, 1.2),
    "Lorentz1D": models.Lorentz1D(2.0, 0.5, 1.2),
    "Voigt1D": models.Voigt1D(0.5, 2.0, 0.8, 0.9),
    "Moffat1D": models.Moffat1D(2.0, 0.5, 1.2, 2.5),
    "Box1D": models.Box1D(2.0, 0.5, 3.0),
}


@pytest.mark.parametrize("name", LINES)
def test_the_flux_is_the_integral_of_the_line(name: str) -> None:
    """Of the model's own curve, by quadrature; a Voigt profile is an approximation in astropy."""
    line = LINES[name]
    parameters = xr_modelfit.fit(
        xr.DataArray(line(X), dims="x", coords={"x": X}),
        line,
        "x",
        covariance=True,
        errors="ignore",
        keep_failed=True,  # a box has no slope to fit by
    )
    far = 1e5
    edges = [-far, -20.0, -1.0, 2.0, 20.0, far]
    whole = sum(quad(line, a, b, limit=500, epsabs=1e-10)[0] for a, b in pairwise(edges))
    # What lies beyond: 2 A (fwhm / 2)^2 / far for the profiles with wings.
    assert parameters.modelfit.derived("flux")["flux"].item() == pytest.approx(whole, rel=2e-4)


@pytest.mark.parametrize("name", ["Gaussian1D", "Voigt1D", "Moffat1D"])
def test_the_fwhm_is_where_the_line_is_half_as_high(name: str) -> None:
    line = LINES[name]
    result = fitted(line, noise=1e-6)
    fwhm = result.modelfit.derived("fwhm")["fwhm"].values
    half = 0.5 * line(0.5)
    # 0.02 %: how good the formula for the Voigt profile is.
    np.testing.assert_allclose(line(0.5 + fwhm / 2), half, rtol=4e-4)


def test_stars() -> None:
    """Fluxes of 2-D sources against sums over a fine grid."""
    y, x = np.mgrid[-40:40:0.25, -40:40:0.25]
    gauss, moffat = models.Gaussian2D(3.0, 0.2, -0.1, 1.5, 2.5, 0.4), models.Moffat2D(3.0, 0.2, -0.1, 1.5, 3.5)
    for star, tail in ((gauss, 1e-9), (moffat, 1e-6)):  # the wings of the second leave the grid: (40 / 1.5)^-5
        data = xr.DataArray(star(x, y), dims=("y", "x"), coords={"y": y[:, 0], "x": x[0]})
        result = data.modelfit(star, dim=("y", "x"), covariance=True)
        assert result.modelfit.derived("flux")["flux"].item() == pytest.approx(star(x, y).sum() / 16, rel=tail)
    widths = data.modelfit(moffat, dim=("y", "x"), covariance=True).modelfit.derived("fwhm")["fwhm"].item()
    assert moffat(0.2 + widths / 2, -0.1) == pytest.approx(1.5, rel=1e-6)


def pair(t, cosine=0.7, sine=0.4):  # type: ignore[no-untyped-def]  # astropy takes annotations for units
    return cosine * np.cos(2 * np.pi * t / 5.0) + sine * np.sin(2 * np.pi * t / 5.0)


CASES = {
    "line flux": (LINES["Gaussian1D"], "flux", lambda p: np.sqrt(2 * np.pi) * p["amplitude"] * np.abs(p["stddev"])),
    "fwhm": (LINES["Gaussian1D"], "fwhm", lambda p: np.sqrt(8 * np.log(2)) * np.abs(p["stddev"])),
    "Lorentz flux": (LINES["Lorentz1D"], "flux", lambda p: np.pi / 2 * p["amplitude"] * np.abs(p["fwhm"])),
    "Moffat flux": (LINES["Moffat1D"], "flux", None),
    "Voigt width": (LINES["Voigt1D"], "fwhm", None),
    "amplitude": (custom_model(pair)(), None, lambda p: np.hypot(p["cosine"], p["sine"])),
    "phase": (custom_model(pair)(), None, lambda p: np.arctan2(p["sine"], p["cosine"])),
    "ratio": (models.Linear1D(1.5, 3.0), None, lambda p: p["intercept"] / p["slope"]),
}
FUNCTIONS = {
    "amplitude": lambda cosine, sine: np.hypot(cosine, sine),
    "phase": lambda cosine, sine: np.arctan2(sine, cosine),
    "ratio": lambda intercept, slope: intercept / slope,
}


@pytest.mark.parametrize("name", CASES)
def test_errors_equal_a_monte_carlo(name: str) -> None:
    model, known, formula = CASES[name]
    result = fitted(model)
    out = result.modelfit.derived(known) if known else result.modelfit.derived(value=FUNCTIONS[name])
    variable = known or "value"
    if formula is None:  # the formulas themselves are tested above
        (one,) = [f for f in formulas_of(model) if f.name == known]
        names = list(inspect.signature(one.function).parameters)

        def formula(p: dict[str, np.ndarray]) -> np.ndarray:
            return one.function(*(p[n] for n in names))

    for i in range(3):
        drawn = formula(draws(result, list(model.param_names), i))
        assert out[f"{variable}_stderr"].values[i] == pytest.approx(drawn.std(), rel=MONTE_CARLO)
        # The mean of the draws is within the curvature of the function, far below a standard error.
        assert out[variable].values[i] == pytest.approx(drawn.mean(), abs=0.1 * drawn.std())


def test_a_product_in_closed_form() -> None:
    """``var(a b) = b^2 C_aa + a^2 C_bb + 2 a b C_ab``."""
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2))
    a, s = result["amplitude"], result["stddev"]
    C = result["covariance"]
    caa, css, cas = (
        C.sel(cov_i=i, cov_j=j).drop_vars(("cov_i", "cov_j"))
        for i, j in (("amplitude", "amplitude"), ("stddev", "stddev"), ("amplitude", "stddev"))
    )
    expected = np.sqrt(2 * np.pi * (s**2 * caa + a**2 * css + 2 * a * s * cas))
    got = result.modelfit.derived("flux")["flux_stderr"]
    # Central differences on a thousandth of an error: 1e-6 of curvature, 1e-10 of rounding.
    np.testing.assert_allclose(got.values, expected.values, rtol=1e-6)
    assert got.dims == ("position",)
    np.testing.assert_array_equal(got["position"], [10, 20, 30])


def test_names_of_a_compound() -> None:
    model = models.Gaussian1D(2.0, 0.5, 1.2, name="halpha") + models.Gaussian1D(1.0, 6.0, 0.5) + models.Const1D(0.1)
    result = fitted(model)
    found = result.modelfit.derived()
    assert set(found) == {
        "halpha_flux", "halpha_flux_stderr", "halpha_fwhm", "halpha_fwhm_stderr",
        "flux_1", "flux_1_stderr", "fwhm_1", "fwhm_1_stderr",
    }  # fmt: skip
    np.testing.assert_allclose(found["flux_1"], np.sqrt(2 * np.pi) * result["amplitude_1"] * result["stddev_1"])
    both = result.modelfit.derived("flux_1", ratio=lambda halpha_amplitude, amplitude_1: halpha_amplitude / amplitude_1)
    assert set(both) == {"flux_1", "flux_1_stderr", "ratio", "ratio_stderr"}
    # astropy's own spelling serves as well
    same = result.modelfit.derived(ratio=lambda amplitude_0, amplitude_1: amplitude_0 / amplitude_1)
    xr.testing.assert_identical(same["ratio"], both["ratio"])


def test_units_follow() -> None:
    cube = tutorial.line_cube(shape=(3, 4))
    fit = cube.modelfit(models.Gaussian1D(1, 4000, 500), dim="velocity", covariance=True, errors="ignore")
    found = fit.modelfit.derived(
        "flux", "fwhm", share=lambda amplitude: amplitude / (amplitude + 1 * u.mK), plain=lambda stddev: np.log(stddev)
    )
    units = {name: found[name].attrs.get("units") for name in ("flux", "fwhm", "share", "plain")}
    assert units == {"flux": "K m s-1", "fwhm": "m s-1", "share": "1", "plain": None}
    assert found["flux_stderr"].attrs["units"] == "K m s-1"
    a = fit["amplitude"].values
    np.testing.assert_allclose(found["share"], a / (a + 1e-3))  # the function's own unit is converted, not dropped
    np.testing.assert_allclose(found["plain"], np.log(fit["stddev"]))


UNITS: dict[str, tuple[Any, str | None]] = {  # of a slope in K d-1 and an intercept in K
    "a factor of hours": (lambda slope: slope * 3600, None),
    "two factors": (lambda slope: slope * 60.0 * 24, None),
    "days in a decade": (lambda slope: 3652.5 * slope, None),
    "by hours": (lambda slope, intercept: slope / 24 * intercept / intercept, None),
    "milli": (lambda intercept: 1000 * intercept, None),
    "percent": (lambda intercept: 100 * intercept / (intercept + intercept), None),
    "without units inside": (lambda intercept: 2.0 * np.asarray(intercept), None),
    "half": (lambda slope: 0.5 * slope, "K d-1"),
    "a full width": (lambda slope: 2 * np.sqrt(2 * np.log(2)) * abs(slope), "K d-1"),
    "a time": (lambda slope, intercept: -intercept / slope, "d"),
    "a square": (lambda slope: slope**2, "K2 d-2"),
    "per its own unit": (lambda slope: slope * (1 * u.d), "K"),
    "over an hour of its own": (lambda slope: (slope * (1 * u.h)).to("K"), "K"),
    "a number": (lambda slope, intercept: np.arctan2(slope, slope), "rad"),
}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_follows_or_there_is_none(name: str) -> None:
    """A factor that may be there to change the unit, and a function that forgets units, leave none."""
    function, unit = UNITS[name]
    time = xr.DataArray(np.arange(6.0), dims="t", attrs={"units": "d"})
    data = xr.DataArray(3.0 + 0.5 * np.arange(6.0), dims="t", coords={"t": time}, attrs={"units": "K"})
    found = data.modelfit(models.Linear1D(), dim="t", sigma=0.1, covariance=True).modelfit.derived(value=function)
    assert found["value"].attrs.get("units") == unit
    assert found["value_stderr"].attrs.get("units") == unit
    if unit == "d":
        assert found["value"].item() == pytest.approx(-6.0)
    if name == "a factor of hours":
        assert found["value"].item() == pytest.approx(1800.0)


@pytest.mark.parametrize("name", ["flux", "fwhm"])
def test_the_unit_of_a_parameter_may_be_changed_afterwards(name: str) -> None:
    """Maps that the user converted mean the same; the covariance is still in the units of the fit."""
    cube = tutorial.line_cube(shape=(3, 4))
    fit = cube.modelfit(models.Gaussian1D(1, 4000, 500), dim="velocity", covariance=True, errors="ignore")
    changed = fit.assign(stddev=(fit["stddev"] / 1000).assign_attrs(units="km/s"))
    for variable in (name, f"{name}_stderr"):
        np.testing.assert_allclose(
            changed.modelfit.derived(name)[variable], fit.modelfit.derived(name)[variable], rtol=1e-9
        )


def test_given_units_stay() -> None:
    x = xr.DataArray(X, dims="x", attrs={"units": "m/s"})
    y = xr.DataArray(models.Gaussian1D(2.0, 0.5, 1.2)(X), dims="x", coords={"x": x}, attrs={"units": "K"})
    fit = y.modelfit(models.Gaussian1D(2 * u.K, 0.0005 * u.km / u.s, 0.0012 * u.km / u.s), dim="x", covariance=True)
    flux = fit.modelfit.derived("flux")["flux"]
    value = (flux.item() * u.Unit(flux.attrs["units"])).to_value("K m / s")
    assert value == pytest.approx(np.sqrt(2 * np.pi) * 2.0 * 1.2, rel=1e-9)


def test_a_fixed_parameter_has_no_error() -> None:
    line = models.Gaussian1D(2.0, 0.5, 1.2)
    line.stddev.fixed = True
    result = fitted(line)
    expected = np.sqrt(2 * np.pi) * 1.2 * result["amplitude_stderr"]
    np.testing.assert_allclose(result.modelfit.derived("flux")["flux_stderr"], expected, rtol=1e-9)
    assert (result.modelfit.derived("fwhm")["fwhm_stderr"] == 0.0).all()


ON_A_BOUND: dict[str, tuple[Any, bool]] = {  # of amplitude, mean and a stddev on its bound; whether there is an error
    "flux": ("flux", False),
    "fwhm": ("fwhm", False),
    "a function of it": (lambda stddev: 2.3548 * stddev, False),
    "a product with it": (lambda amplitude, stddev: amplitude * stddev, False),
    "its logarithm": (lambda stddev: np.log(stddev), False),
    "another": (lambda mean: 2.0 * mean, True),
    "it does not count": (lambda amplitude, stddev: 3.0 * amplitude + 0.0 * stddev, True),
}


@pytest.mark.parametrize("name", ON_A_BOUND)
@pytest.mark.parametrize("with_covariance", [True, False])
def test_what_depends_on_a_parameter_on_its_bound_has_no_error(name: str, with_covariance: bool) -> None:
    """As the parameter itself has none; an error of 0 would say that it is known exactly."""
    quantity, known = ON_A_BOUND[name]
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2), p0={"stddev": 1.0}, bounds={"stddev": (None, 1.1)})
    assert (result["fit_status"] == 2).all()
    assert result["stddev_stderr"].isnull().all()
    if not with_covariance:
        if name in ("flux", "a product with it", "it does not count"):
            return
        result = result.drop_vars("covariance").drop_dims(("cov_i", "cov_j"))
    if callable(quantity):
        found = result.modelfit.derived(value=quantity)
    else:
        found = result.modelfit.derived(quantity).rename({quantity: "value", f"{quantity}_stderr": "value_stderr"})
    assert np.isfinite(found["value"]).all()
    if not known:
        assert found["value_stderr"].isnull().all()
    else:
        factor, parameter = (2.0, "mean") if name == "another" else (3.0, "amplitude")
        np.testing.assert_allclose(found["value_stderr"], factor * result[f"{parameter}_stderr"], rtol=1e-9)


def test_what_is_tied_to_a_parameter_on_its_bound_has_no_error() -> None:
    model = models.Gaussian1D(2.0, -3.0, 1.0) + models.Gaussian1D(1.0, 5.0, 1.0)
    model.stddev_1.tied = lambda m: m.stddev_0
    result = fitted(model, bounds={"stddev_0": (1.1, 2.0)}, p0={"stddev_0": 1.5})
    found = result.modelfit.derived("fwhm_0", "fwhm_1")
    assert found["fwhm_0_stderr"].isnull().all()
    assert found["fwhm_1_stderr"].isnull().all()


def test_only_fits_on_a_bound_lose_an_error() -> None:
    limit = xr.DataArray([1.1, 5.0, 5.0], dims="position", coords={"position": [10, 20, 30]})
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2), p0={"stddev": 1.0}, bounds={"stddev": (None, limit)})
    assert result.modelfit.derived("fwhm")["fwhm_stderr"].isnull().values.tolist() == [True, False, False]


def test_a_band_holds_a_parameter_on_its_bound() -> None:
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2), p0={"stddev": 1.0}, bounds={"stddev": (None, 1.1)})
    band = result.modelfit.predict(x=[0.5])
    alone = fitted(models.Gaussian1D(2.0, 0.5, 1.1, fixed={"stddev": True})).modelfit.predict(x=[0.5])
    # held on its bound = fixed there
    np.testing.assert_allclose(band["signal_model_stderr"], alone["signal_model_stderr"], rtol=1e-5)


def test_failed_fits_have_nothing() -> None:
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2))
    gone = result.where(result["position"] != 20).assign(fit_status=result["fit_status"])
    found = gone.modelfit.derived()
    assert all(np.isnan(found[n].values[1]) and np.isfinite(found[n].values[[0, 2]]).all() for n in found)


def test_one_parameter_needs_no_covariance() -> None:
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2))
    bare = result.drop_vars("covariance").drop_dims(("cov_i", "cov_j"))
    xr.testing.assert_allclose(bare.modelfit.derived("fwhm"), result.modelfit.derived("fwhm"), rtol=1e-12)
    for call in (lambda: bare.modelfit.derived(), lambda: bare.modelfit.predict(x=[1.0])):
        with pytest.raises(RecordError, match="covariance=True"):
            call()


def test_lazy_stays_lazy_and_is_the_same() -> None:
    result = fitted(models.Gaussian1D(2.0, 0.5, 1.2))
    lazy = result.chunk(position=1)
    for call in (lambda r: r.modelfit.derived(), lambda r: r.modelfit.predict(x=X[:5])):
        got = call(lazy)
        assert all(v.chunks is not None for v in got.values())
        xr.testing.assert_equal(got.compute(), call(result))


def test_a_result_of_several_fits() -> None:
    line = models.Gaussian1D(2.0, 0.5, 1.2)
    noise = np.random.default_rng(5).normal(0, 0.01, (2, X.size))
    ds = xr.Dataset({n: ("x", line(X) * f + e) for n, f, e in zip("ab", (1, 2), noise, strict=True)}, {"x": X})
    both = ds.modelfit(line, dim="x", covariance=True)
    found = both.modelfit.derived("flux", data="b")
    assert set(found) == {"b_flux", "b_flux_stderr"}
    alone = ds.modelfit(line, dim="x", data="b", covariance=True)
    assert found["b_flux"].item() == alone.modelfit.derived("flux")["flux"].item()
    assert set(both.modelfit.predict(x=[0.0], data="a")) == {"a_model", "a_model_stderr"}


# --- bands


def test_the_band_of_a_line_in_closed_form() -> None:
    """``var y(x) = sigma^2 (1 / n + (x - <x>)^2 / Sxx)``."""
    result = fitted(models.Linear1D(1.0, 2.0), noise=0.3)
    at = np.array([-30.0, 0.0, 4.0, 11.0])
    band = result.modelfit.predict(x=at)
    expected = 0.3 * np.sqrt(1 / X.size + (at - X.mean()) ** 2 / ((X - X.mean()) ** 2).sum())
    for i in range(3):
        np.testing.assert_allclose(band["signal_model_stderr"].values[i], expected, rtol=1e-9)
    xr.testing.assert_equal(band["signal_model"], result.modelfit.evaluate(x=at))


@pytest.mark.parametrize("name", ["Gaussian1D", "Voigt1D", "Moffat1D"])
def test_the_band_equals_a_monte_carlo(name: str) -> None:
    model = LINES[name]
    result = fitted(model)
    at = np.array([-2.0, 0.4, 1.1, 3.0])
    band = result.modelfit.predict(x=at)["signal_model_stderr"]
    p = draws(result, list(model.param_names), 0)
    drawn = model.evaluate(at[:, None], *(p[n] for n in model.param_names))
    np.testing.assert_allclose(band.values[0], drawn.std(axis=1), rtol=MONTE_CARLO)


def test_the_band_with_ties_and_units() -> None:
    """The tied width takes part through the covariance; numbers are in the unit of the data."""
    model = models.Gaussian1D(2.0, 0.5, 1.0) + models.Gaussian1D(1.0, 5.0, 1.0)
    model.stddev_1.tied = lambda m: m.stddev_0
    rng = np.random.default_rng(1)
    y = xr.DataArray(model(X) + rng.normal(0, 0.01, X.size), dims="x", coords={"x": X})
    fit = y.modelfit(model, dim="x", sigma=0.01, covariance=True)
    names = list(model.param_names)
    C = fit["covariance"].sel(cov_i=names, cov_j=names).values
    p = np.random.default_rng(2).multivariate_normal([fit[n].item() for n in names], C, DRAWS, check_valid="ignore").T
    at = np.array([1.5, 4.0, 5.5])
    drawn = sum(a * np.exp(-0.5 * ((at[:, None] - m) / s) ** 2) for a, m, s in ((p[0], p[1], p[2]), (p[3], p[4], p[5])))
    np.testing.assert_allclose(fit.modelfit.predict(x=at)["model_stderr"], drawn.std(axis=1), rtol=MONTE_CARLO)

    x = xr.DataArray(X, dims="x", attrs={"units": "m/s"})
    labelled = xr.DataArray(y.values, dims="x", coords={"x": x}, attrs={"units": "K"})
    given = models.Gaussian1D(2000 * u.mK, 0.0005 * u.km / u.s, 0.001 * u.km / u.s)
    one = labelled.modelfit(given, dim="x", sigma=10 * u.mK, covariance=True)
    same = y.modelfit(models.Gaussian1D(2, 0.5, 1), dim="x", sigma=0.01, covariance=True)
    got, expected = (r.modelfit.predict(x=X[::50])["model_stderr"] for r in (one, same))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.attrs["units"] == "K"


def test_the_band_at_a_part_of_the_data() -> None:
    rng = np.random.default_rng(0)
    y = models.Gaussian1D(2.0, 0.5, 1.2)(X) + rng.normal(0, 0.01, (3, X.size))
    data = xr.DataArray(y, dims=("position", "x"), coords={"x": X, "position": [10, 20, 30]})
    fit = data.modelfit(models.Gaussian1D(2, 0.5, 1), dim="x", covariance=True)
    whole = fit.modelfit.predict(data)
    part = fit.modelfit.predict(data.sel(position=[30, 10]).transpose("x", "position"))
    assert part["model_stderr"].dims == ("x", "position")
    expected = whole.sel(position=[30, 10]).transpose("x", "position")
    xr.testing.assert_allclose(part, expected, rtol=1e-12)


# --- wrong calls

WRONG = {
    "an unknown name": (lambda f: f.modelfit.derived("fluxx"), ValueError, ("'fluxx'", "'flux'", "Did you mean")),
    "no parameter": (
        lambda f: f.modelfit.derived(a=lambda mean, width: mean),
        ValueError,
        ("'a'", "'width'", "'amplitude'"),
    ),
    "no function": (lambda f: f.modelfit.derived(a=3.0), TypeError, ("a=", "lambda")),
    "a function of nothing": (lambda f: f.modelfit.derived(a=lambda: 1), ValueError, ("'a'", "no parameter")),
    "a taken name": (lambda f: f.modelfit.derived(mean=lambda mean: mean), ValueError, ("'mean'", "another name")),
    "a function that fails": (
        lambda f: f.modelfit.derived(a=lambda mean: [1] if mean > 0 else 2),
        ValueError,
        ("'a'", "arrays of parameters"),
    ),
    "a wrong size": (lambda f: f.modelfit.derived(a=lambda mean: np.ones(7)), ValueError, ("'a'", "one number")),
    "a coordinate that it did not read": (lambda f: f.modelfit.predict(t=[1.0]), ValueError, ("'t'", "'x'")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, error, words = WRONG[name]
    with pytest.raises(error) as caught:
        call(fitted(models.Gaussian1D(2.0, 0.5, 1.2)))
    for word in words:
        assert word in str(caught.value)


def test_a_model_without_formula() -> None:
    result = fitted(models.Linear1D(1.0, 2.0))
    with pytest.raises(ValueError, match="No formula is known"):
        result.modelfit.derived()
