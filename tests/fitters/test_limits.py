"""Errors of two sides, upper limits and errors of the coordinate, by both engines: against scipy and the truth."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Gaussian2D, Linear1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares, minimize
from scipy.special import log_ndtr

from xr_modelfit import BatchLSQFitter

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 80)
LINE = Gaussian1D(8, 0.3, 2.2) + Const1D(1.0)
TRUTH = (10.0, 0.0, 2.0, 1.0)
CURVES = [(LINE, TRUTH), (Exponential1D(2.0, 8.0), (3.0, 6.0))]
TIGHT: dict[str, Any] = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


def values_of(model: Model, p: np.ndarray, x: np.ndarray = X) -> np.ndarray:
    one = model.copy()
    one.parameters = p
    return np.asarray(one(x))


def parameters(fit: xr.Dataset, model: Model, ending: str = "") -> np.ndarray:
    return np.stack([fit[name + ending].values for name in model.param_names], axis=1)


def labelled(values: np.ndarray, x: np.ndarray = X) -> xr.DataArray:
    return xr.DataArray(values, dims=("p", "x")[-np.ndim(values) :], coords={"x": x})


def fitted(model: Model, y: np.ndarray, engine: str = "numpy", *, x: np.ndarray = X, **options: Any) -> xr.Dataset:
    fitter = BatchLSQFitter(engine=engine)
    options = {"errors": "ignore", "scheduler": "synchronous", "fitter": fitter} | options
    fit = labelled(y, x).modelfit(model, dim="x", **options)
    if "fitter" in options and options["fitter"] is fitter:
        assert json.loads(fit["fit_status"].attrs["modelfit_record"])["fitter"]["keywords"]["engine"] == engine
    return fit


# --- errors of two sides


def two_sided(b: int, seed: int = 0, model: Model = LINE, truth: Any = TRUTH) -> tuple[np.ndarray, ...]:
    """Data, errors below and errors above, (b, n): a datum lies above the truth where its lower error made it so."""
    rng = np.random.default_rng(seed)
    lower, upper = rng.uniform(0.5, 1.0, (b, X.size)), rng.uniform(1.0, 3.0, (b, X.size))
    noise = np.abs(rng.normal(size=(b, X.size)))
    above = rng.random((b, X.size)) < lower / (lower + upper)  # the density is continuous
    return values_of(model, np.array(truth)) + np.where(above, lower, -upper) * noise, lower, upper


def residual_of_two_sides(model: Model, y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Any:
    def residual(p: np.ndarray) -> np.ndarray:
        f = values_of(model, p)
        return np.asarray((f - y) / np.where(f > y, upper, lower))

    return residual


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("model", "truth"), CURVES, ids=["line", "exp"])
def test_two_sides_have_the_minimum_of_scipy(model: Model, truth: Any, engine: str) -> None:
    y, lower, upper = two_sided(40, 1, model, truth)
    y[::4, 7:9] = np.nan
    lower[1::4, 20] = np.nan
    upper[2::4, 30] = -1.0
    fit = fitted(model, y, engine, sigma=(labelled(lower), labelled(upper)))
    assert (fit["fit_status"].values > 0).all()
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    for i in range(len(y)):
        used = np.isfinite(y[i]) & np.isfinite(lower[i]) & (upper[i] > 0)
        whole = residual_of_two_sides(model, np.where(used, y[i], 0.0), np.abs(lower[i]), np.abs(upper[i]))
        right = least_squares(lambda p, whole=whole, used=used: whole(p)[used], model.parameters, **TIGHT)
        assert int(fit["n_points"][i]) == used.sum()
        assert_allclose(float(fit["chi2"][i]), 2 * right.cost, rtol=1e-9)
        assert np.max(np.abs(P[i] - right.x) / errors[i]) < 1e-4
        assert_allclose(errors[i], np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac))), rtol=1e-3)


def test_two_sides_of_a_linear_model_are_iterated() -> None:
    model = Linear1D(0.0, 0.0)
    y, lower, upper = two_sided(30, 2, model, (0.5, 2.0))
    fit = fitted(model, y, sigma=(labelled(lower), labelled(upper)))
    for i, p in enumerate(parameters(fit, model)):
        right = least_squares(residual_of_two_sides(model, y[i], lower[i], upper[i]), [0.0, 0.0], **TIGHT)
        assert_allclose(p, right.x, atol=1e-5 * np.min(parameters(fit, model, "_stderr")[i]))
        assert_allclose(float(fit["chi2"][i]), 2 * right.cost, rtol=1e-10)


def test_equal_sides_are_least_squares() -> None:
    y = two_sided(10, 3)[0]
    plain, both = fitted(LINE, y, sigma=0.7), fitted(LINE, y, sigma=(0.7, 0.7))
    assert np.max(np.abs(parameters(plain, LINE) - parameters(both, LINE)) / parameters(plain, LINE, "_stderr")) < 1e-5
    assert_allclose(parameters(both, LINE, "_stderr"), parameters(plain, LINE, "_stderr"), rtol=1e-5)
    assert_allclose(both["chi2"], plain["chi2"], rtol=1e-10)


def test_two_sides_are_converted_and_rescaled() -> None:
    """Errors in another unit count the same; relative ones give errors by the residuals."""
    y, lower, upper = two_sided(6, 4)
    data = labelled(y).assign_attrs(units="m")
    told = labelled(lower).assign_attrs(units="m"), labelled(upper * 100).assign_attrs(units="cm")
    plain = data.modelfit(LINE, "x", sigma=(labelled(lower), labelled(upper)))
    same = data.modelfit(LINE, "x", sigma=told)
    assert_allclose(parameters(same, LINE), parameters(plain, LINE), rtol=1e-7)
    by_quantity = data.modelfit(LINE, "x", sigma=(1.0 * u.m, 200 * u.cm))
    assert_allclose(by_quantity["chi2"], data.modelfit(LINE, "x", sigma=(1.0, 2.0))["chi2"], rtol=1e-12)
    relative = data.modelfit(LINE, "x", sigma=told, absolute_sigma=False)
    by = np.sqrt(plain["reduced_chi2"].values)[:, None]
    assert_allclose(parameters(relative, LINE, "_stderr"), parameters(plain, LINE, "_stderr") * by, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_errors_of_two_sides_are_right(engine: str) -> None:
    """Where the noise has two halves of normal distributions, less biased than one error for both sides, pulls of 1."""
    y, lower, upper = two_sided(3000, 5)
    fit = fitted(LINE, y, engine, sigma=(labelled(lower), labelled(upper)))
    pulls = (parameters(fit, LINE) - TRUTH) / parameters(fit, LINE, "_stderr")
    one = fitted(LINE, y, engine, sigma=labelled(0.5 * (lower + upper)))
    background = np.abs(np.median([(f["amplitude_1"] - 1.0).values for f in (fit, one)], axis=1))
    assert background[0] < 0.1 * background[1]
    assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.07)


# --- upper limits


def limited(
    b: int, seed: int = 0, model: Model = LINE, truth: Any = TRUTH, least: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Data of error 1 of which those below ``least`` are told as limits, and which these are."""
    rng = np.random.default_rng(seed)
    y = values_of(model, np.array(truth)) + rng.normal(size=(b, X.size))
    limit = y < least
    return np.where(limit, least, y), limit


def minus_two_log(model: Model, p: np.ndarray, y: np.ndarray, limit: np.ndarray, sigma: Any = 1.0) -> float:
    z = (y - values_of(model, p)) / sigma
    used = np.isfinite(y)
    return float(np.sum(np.where(limit, -2 * log_ndtr(np.where(used, z, 0.0)), z * z)[used]))


def lowest(model: Model, p: np.ndarray, errors: np.ndarray, objective: Any) -> tuple[float, np.ndarray]:
    """The lowest value that a direct search about ``p`` finds, and how far it is, in errors."""
    begin = 1e-2 * np.vstack([np.zeros(p.size), np.eye(p.size)])
    options = {"initial_simplex": begin, "xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000, "maxfev": 4000}
    found = minimize(lambda s: objective(p + s * errors), np.zeros(p.size), method="Nelder-Mead", options=options)
    return float(found.fun), found.x


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("model", "truth"), CURVES, ids=["line", "exp"])
def test_limits_have_the_likelihood_of_their_definition(model: Model, truth: Any, engine: str) -> None:
    """No direct search finds a lower one; scipy, from the same start with roots of the costs, ends there as well."""
    y, limit = limited(12, 1, model, truth)
    y[::3, 40:43] = np.nan
    fit = fitted(model, y, engine, sigma=1.0, upper_limit=labelled(limit))
    assert (fit["fit_status"].values > 0).all()
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    assert_array_equal(fit["n_points"], np.isfinite(y).sum(axis=1))
    for i in range(len(y)):
        used = np.isfinite(y[i])
        here = minus_two_log(model, P[i], y[i], limit[i])
        assert_allclose(float(fit["chi2"][i]), here, rtol=1e-9)
        fun, far = lowest(model, P[i], errors[i], lambda p, i=i: minus_two_log(model, p, y[i], limit[i]))
        assert here - fun < 1e-7
        assert np.max(np.abs(far)) < 1e-3

        def residual(p: np.ndarray, i: int = i, used: np.ndarray = used) -> np.ndarray:
            z = (y[i] - values_of(model, p))[used]
            return np.where(limit[i][used], np.sqrt(-2 * log_ndtr(z)), z)

        right = least_squares(residual, model.parameters, **TIGHT)
        assert_allclose(here, 2 * right.cost, rtol=1e-7)


def test_errors_with_limits_are_those_of_the_curvature() -> None:
    y, limit = limited(4, 2)
    fit = fitted(LINE, y, sigma=1.0, upper_limit=labelled(limit), covariance=True)
    errors = parameters(fit, LINE, "_stderr")
    for i, p in enumerate(parameters(fit, LINE)):
        H, steps = np.empty((4, 4)), 1e-3 * np.diag(errors[i])
        for a in range(4):
            for c in range(4):
                four = [
                    s * t * minus_two_log(LINE, p + s * steps[a] + t * steps[c], y[i], limit[i])
                    for s in (-1, 1)
                    for t in (-1, 1)
                ]
                H[a, c] = 0.5 * sum(four) / (4 * steps[a, a] * steps[c, c])
        # Gauss and Newton leave out the curvature of the model itself, which the noise multiplies.
        assert_allclose(errors[i], np.sqrt(np.diag(np.linalg.inv(H))), rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_limits_are_not_biased(engine: str) -> None:
    """Pulls of width 1 within 7 %, and less than 0.15 errors off, where leaving limits out is far off."""
    y, limit = limited(3000, 3, least=2.0)
    fit = fitted(LINE, y, engine, sigma=1.0, upper_limit=labelled(limit))
    good = fit["fit_status"].values > 0
    assert good.mean() > 0.99
    pulls = ((parameters(fit, LINE) - TRUTH) / parameters(fit, LINE, "_stderr"))[good]
    assert np.max(np.abs(np.median(pulls, axis=0))) < 0.15
    assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.07)
    out = fitted(LINE, y, engine, sigma=1.0, where=labelled(~limit))
    assert abs(float(out["amplitude_1"].median()) - 1.0) > 5 * float(fit["amplitude_1_stderr"].median())


def test_limits_and_two_sides_together() -> None:
    y, lower, upper = two_sided(6, 6)
    limit = y < 2.0
    y = np.where(limit, 2.0, y)
    fit = fitted(LINE, y, sigma=(labelled(lower), labelled(upper)), upper_limit=labelled(limit))
    for i, p in enumerate(parameters(fit, LINE)):
        f = values_of(LINE, p)
        detected = ((y[i] - f) / np.where(f > y[i], upper[i], lower[i])) ** 2
        cost = np.where(limit[i], -2 * log_ndtr((y[i] - f) / lower[i]), detected)
        assert_allclose(float(fit["chi2"][i]), cost.sum(), rtol=1e-10)


def test_estimates_leave_limits_out() -> None:
    y, limit = limited(20, 7)
    far = np.where(limit & (X < -5), 50.0, y)  # limits of bad exposures, above the line
    fit = fitted(
        LINE, far, sigma=labelled(np.where(far == 50.0, 16.0, 1.0)), upper_limit=labelled(limit), p0="estimate"
    )
    assert (fit["fit_status"].values > 0).mean() > 0.9
    assert np.median(np.abs(fit["mean_0"])) < 0.5


# --- errors of the coordinate


def off_coordinates(
    b: int, model: Model, truth: Any, seed: int = 0, sigma: float = 0.5, off: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates that were read with an error, and data, (b, n)."""
    rng = np.random.default_rng(seed)
    y = values_of(model, np.array(truth)) + sigma * rng.normal(size=(b, X.size))
    return X + off * rng.normal(size=(b, X.size)), y


def fitted_at(model: Model, x: np.ndarray, y: np.ndarray, engine: str = "numpy", **options: Any) -> xr.Dataset:
    data = xr.DataArray(y, dims=("p", "i"), coords={"read": (("p", "i"), x)})
    fitter = BatchLSQFitter(engine=engine)
    fit = data.modelfit(model, "i", coords="read", fitter=fitter, errors="ignore", scheduler="synchronous", **options)
    assert json.loads(fit["fit_status"].attrs["modelfit_record"])["fitter"]["keywords"]["engine"] == engine
    return fit


def effective(model: Model, x: np.ndarray, y: np.ndarray, sigma: Any, off: Any) -> Any:
    def residual(p: np.ndarray) -> np.ndarray:
        h = 1e-5
        slope = (values_of(model, p, x + h) - values_of(model, p, x - h)) / (2 * h)
        return (values_of(model, p, x) - y) / np.hypot(sigma, slope * off)

    return residual


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("model", "truth"), CURVES, ids=["line", "exp"])
def test_the_effective_variance_is_at_its_minimum(model: Model, truth: Any, engine: str) -> None:
    x, y = off_coordinates(20, model, truth, 1)
    y[::3, 4] = np.nan
    fit = fitted_at(model, x, y, engine, sigma=0.5, coord_sigma=0.4)
    assert (fit["fit_status"].values > 0).all()
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    for i in range(len(y)):
        used = np.isfinite(y[i])
        residual = effective(model, x[i][used], y[i][used], 0.5, 0.4)
        right = least_squares(residual, P[i], x_scale=errors[i], **TIGHT)
        assert_allclose(float(fit["chi2"][i]), 2 * right.cost, rtol=1e-8)
        assert np.max(np.abs(P[i] - right.x) / errors[i]) < 1e-3
        assert_allclose(errors[i], np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac))), rtol=1e-3)
    assert_array_equal(fit["n_points"], np.isfinite(y).sum(axis=1))


def orthogonal(model: Model, x: np.ndarray, y: np.ndarray, sigma: Any, off: Any) -> np.ndarray:
    """By ODRPACK."""
    with warnings.catch_warnings(action="ignore"):  # scipy gives it up for a package of its own
        odr = pytest.importorskip("scipy.odr")
        given, f = odr.RealData(x, y, sx=off, sy=sigma), odr.Model(lambda p, x: values_of(model, p, x))
        return np.asarray(odr.ODR(given, f, model.parameters, sstol=1e-14, maxit=500).run().beta)


@pytest.mark.parametrize("engine", ENGINES)
def test_straight_lines_are_those_of_orthogonal_distances(engine: str) -> None:
    model = Linear1D(1.0, 0.0)
    x, y = off_coordinates(12, model, (0.8, 2.0), 2)
    rng = np.random.default_rng(3)
    sigma, off = rng.uniform(0.3, 0.8, y.shape), rng.uniform(0.0, 0.8, y.shape)
    over = {"dims": ("p", "i")}
    fit = fitted_at(model, x, y, engine, sigma=xr.DataArray(sigma, **over), coord_sigma=xr.DataArray(off, **over))
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    for i in range(len(y)):
        right = orthogonal(model, x[i], y[i], sigma[i], np.maximum(off[i], 1e-8))
        assert np.max(np.abs(P[i] - right) / errors[i]) < 1e-3


def test_curves_are_near_orthogonal_distances() -> None:
    x, y = off_coordinates(6, LINE, TRUTH, 4, off=0.2)
    fit = fitted_at(LINE, x, y, sigma=0.5, coord_sigma=0.2)
    P, errors = parameters(fit, LINE), parameters(fit, LINE, "_stderr")
    for i in range(len(y)):
        assert np.max(np.abs(P[i] - orthogonal(LINE, x[i], y[i], 0.5, 0.2)) / errors[i]) < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("model", "truth", "off"),
    [(Linear1D(1.0, 0.0), (0.8, 2.0), 0.4), (LINE, TRUTH, 0.2)],
    ids=["straight", "line"],
)
def test_errors_with_those_of_the_coordinate_are_right(model: Model, truth: Any, off: float, engine: str) -> None:
    """Pulls of width 1 within 7 %, and less than 0.15 errors off; wide without the errors of the coordinate."""
    x, y = off_coordinates(3000, model, truth, 5, off=off)
    fit = fitted_at(model, x, y, engine, sigma=0.5, coord_sigma=off)
    without = fitted_at(model, x, y, sigma=0.5)
    pulls, others = ((parameters(f, model) - truth) / parameters(f, model, "_stderr") for f in (fit, without))
    assert np.max(np.abs(np.median(pulls, axis=0))) < 0.15
    assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.07)
    assert np.max(np.std(others, axis=0)) > 1.15


def test_no_error_of_the_coordinate_is_least_squares() -> None:
    x, y = off_coordinates(8, LINE, TRUTH, 6, off=0.0)
    fit, plain = fitted_at(LINE, x, y, sigma=0.5, coord_sigma=0.0), fitted_at(LINE, x, y, sigma=0.5)
    assert np.max(np.abs(parameters(fit, LINE) - parameters(plain, LINE)) / parameters(plain, LINE, "_stderr")) < 1e-5
    assert_allclose(fit["chi2"], plain["chi2"], rtol=1e-10)


def test_errors_of_the_coordinate_are_converted() -> None:
    y = off_coordinates(3, LINE, TRUTH, 7)[1]
    data = labelled(y)
    data = data.assign_coords(x=data["x"].assign_attrs(units="km"))
    plain, same = (data.modelfit(LINE, "x", sigma=0.5, coord_sigma=one) for one in (0.4, 400 * u.m))
    assert_allclose(parameters(same, LINE), parameters(plain, LINE), rtol=1e-12)
    carried = data.assign_attrs(units="K").modelfit(
        Gaussian1D(8 * u.K, 300 * u.m, 2200 * u.m), "x", sigma=0.5, coord_sigma=0.4
    )
    here = data.modelfit(Gaussian1D(8, 0.3, 2.2), "x", sigma=0.5, coord_sigma=0.4)
    assert_allclose(carried["chi2"], here["chi2"], rtol=1e-8)
    with pytest.raises(ValueError, match="coord_sigma is in 's', which cannot be converted to 'km'"):
        data.modelfit(LINE, "x", sigma=0.5, coord_sigma=1 * u.s)


# --- all of them


KINDS = ["two sides", "limits", "coordinate"]


def of_kind(kind: str) -> tuple[xr.DataArray, dict[str, Any]]:
    """Data, and the arguments of a fit."""
    y, lower, upper = (labelled(a) for a in two_sided(13, 8))
    options: dict[str, Any] = {
        "two sides": {"sigma": (lower, upper)},
        "limits": {"sigma": 1.0, "upper_limit": y < 2.0},
        "coordinate": {"sigma": lower, "coord_sigma": 0.1 * upper},
    }
    return y, options[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_covariance_follows_from_the_data_later(kind: str) -> None:
    y, options = of_kind(kind)
    now, later = y.modelfit(LINE, "x", covariance=True, **options), y.modelfit(LINE, "x", **options)
    made = later.modelfit.with_covariance(y, **options)
    assert_allclose(made["covariance"], now["covariance"], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_any_chunking_gives_the_same(kind: str) -> None:
    y, options = of_kind(kind)
    whole = y.modelfit(LINE, "x", **options)
    lazy = {
        name: tuple(part.chunk(p=5) for part in v) if isinstance(v, tuple) else v.chunk(p=4) if np.ndim(v) else v
        for name, v in options.items()
    }
    chunked = y.chunk(p=3).modelfit(LINE, "x", **lazy)
    assert chunked["chi2"].chunks is not None
    xr.testing.assert_identical(chunked.compute(scheduler="synchronous"), whole)
    xr.testing.assert_identical(y.modelfit(LINE, "x", fits_per_chunk=2, **options), whole)


def test_the_record_and_the_report_say_so() -> None:
    y, lower, upper = (labelled(a) for a in two_sided(3, 9))
    fit = y.modelfit(LINE, "x", sigma=(lower, upper), upper_limit=y < 2.0)
    told = json.loads(fit["fit_status"].attrs["modelfit_record"])["options"]
    assert told["two_sided"] is told["upper_limit"] is True
    text = str(fit.modelfit.report())
    assert "Errors of the data differ below and above" in text
    assert "Some samples are upper limits" in text
    with pytest.raises(ValueError, match=r"was given upper_limit, which its record does not hold"):
        fit.modelfit.refit(y, sigma=(lower, upper))
    again = fit.modelfit.refit(y, "suspicious", dims="p", sigma=(lower, upper), upper_limit=y < 2.0)
    assert (again["fit_status"] > 0).all()
    off = y.modelfit(LINE, "x", sigma=lower, coord_sigma=0.1)
    assert "Errors of the coordinate are counted along the slope" in str(off.modelfit.report())


Y = labelled(two_sided(2, 10)[0])
MASK = Y < 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upper_limit": MASK}, "upper_limit is given without the errors of the data.*Pass sigma"),
        ({"upper_limit": MASK, "sigma": 1.0, "absolute_sigma": False}, "upper_limit is given without the errors"),
        ({"upper_limit": MASK, "weights": 1.0}, "upper_limit is given without the errors"),
        (
            {"upper_limit": MASK, "sigma": 1.0, "fitter": TRFLSQFitter()},
            r'upper_limit is given, with TRFLSQFitter, which has.*Use BatchLSQFitter\(\) with loss="linear"',
        ),
        (
            {"sigma": (1.0, 2.0), "fitter": BatchLSQFitter(loss="huber")},
            r"sigma is a pair, with BatchLSQFitter\(loss='huber'\), which has no place for that",
        ),
        (
            {"sigma": 1.0, "upper_limit": MASK, "fitter": BatchLSQFitter(clip=(3, 3))},
            "upper_limit is given together with clip=.*Leave clip",
        ),
        ({"sigma": (1.0, -2.0)}, r"sigma\[1\] is -2.0; a positive, finite number is needed"),
        ({"coord_sigma": 0.1}, "coord_sigma is given without the errors of the data.*Pass sigma too"),
        ({"coord_sigma": -0.1, "sigma": 1.0}, "coord_sigma is -0.1; a finite number that is not negative"),
        (
            {"coord_sigma": 0.1, "sigma": (1.0, 2.0)},
            "coord_sigma is given, and sigma is a pair.*Leave one out",
        ),
        (
            {"coord_sigma": 0.1, "sigma": 1.0, "integrate": True},
            r"coord_sigma is given, which needs the model as an expression.*has bins or a response.*np\.hypot",
        ),
    ],
)
def test_wrong_calls(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Y.modelfit(LINE, "x", **options)


def test_calls_of_the_wrong_types() -> None:
    with pytest.raises(TypeError, match=r"sigma has 3 parts; a pair is needed, \(lower, upper\)"):
        Y.modelfit(LINE, "x", sigma=(1.0, 2.0, 3.0))
    with pytest.raises(TypeError, match=r"sigma\[1\] is None; pass a DataArray"):
        Y.modelfit(LINE, "x", sigma=(1.0, None))
    with pytest.raises(TypeError, match=r"upper_limit holds float64; it must be boolean"):
        Y.modelfit(LINE, "x", sigma=1.0, upper_limit=Y)


def test_models_whose_slope_is_not_known() -> None:
    @custom_model
    def decided(x, a=1.0):
        return a * np.array([v if v > 0 else 0.0 for v in np.ravel(x)]).reshape(np.shape(x))

    with pytest.raises(ValueError, match=r"needs the model as an expression.*cannot be written as such"):
        Y.modelfit(decided(), "x", sigma=1.0, coord_sigma=0.1)
    image = xr.DataArray(np.ones((4, 5)), dims=("y", "x"), coords={"x": np.arange(5.0), "y": np.arange(4.0)})
    with pytest.raises(ValueError, match="the model has 2 inputs: it is for models of one"):
        image.modelfit(Gaussian2D(1, 2, 2, 1, 1), ("y", "x"), sigma=1.0, coord_sigma=0.1)


def test_names_in_a_dataset_are_no_variables_to_fit() -> None:
    y, lower, upper = two_sided(2, 11)
    ds = xr.Dataset({"y": labelled(y), "low": labelled(lower), "high": labelled(upper), "limit": labelled(y < 2.0)})
    fit = ds.modelfit(LINE, "x", sigma=("low", "high"), upper_limit="limit")
    assert [name for name in fit if str(name).endswith("chi2")] == ["y_chi2", "y_reduced_chi2"]


def test_bins_are_left_to_numpy() -> None:
    pytest.importorskip("numba", reason="the engine that is asked for")
    y, lower, upper = two_sided(4, 12)
    options = {"sigma": (labelled(lower), labelled(upper)), "integrate": True, "upper_limit": labelled(y < 2.0)}
    fits = [
        labelled(y).modelfit(LINE, "x", fitter=BatchLSQFitter(engine=engine), **options)
        for engine in ("numba", "numpy")
    ]
    assert_array_equal(fits[0]["chi2"], fits[1]["chi2"])
