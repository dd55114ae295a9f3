"""Counts, by both engines: against the likelihood itself, scipy and the truth."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Linear1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.stats import poisson

from xr_modelfit import BatchLSQFitter, FitError, FitStatus

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 80)
TRUTH = (30.0, 0.0, 2.0, 0.3)


def line() -> Model:
    model = Gaussian1D(20, 0.3, 2.2) + Const1D(1.0)
    model.amplitude_0.bounds, model.amplitude_1.bounds = (0.0, None), (1e-6, None)
    return model


def counted(model: Model, truth: Any, b: int, seed: int = 0, exposure: Any = 1.0) -> np.ndarray:
    clean = model.copy()
    clean.parameters = truth
    return np.random.default_rng(seed).poisson(np.broadcast_to(exposure * clean(X), (b, X.size))).astype(float)


def fitted(model: Model, y: np.ndarray, engine: str = "numpy", **options: Any) -> xr.Dataset:
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": X})
    fitter = BatchLSQFitter(engine=engine, loss="poisson")
    return data.modelfit(model, dim="x", fitter=fitter, errors="ignore", scheduler="synchronous", **options)


def parameters(fit: xr.Dataset, model: Model, ending: str = "") -> np.ndarray:
    return np.stack([fit[name + ending].values for name in model.param_names], axis=1)


def log_likelihood(model: Model, p: np.ndarray, y: np.ndarray, exposure: Any = 1.0) -> float:
    one = model.copy()
    one.parameters = p
    mu = np.broadcast_to(exposure * one(X), y.shape)
    used = np.isfinite(y)
    return float(np.sum(poisson.logpmf(y[used], mu[used])))


def is_maximum(model: Model, p: np.ndarray, errors: np.ndarray, y: np.ndarray, exposure: Any = 1.0) -> None:
    """No direct search from there finds a likelihood that is larger by more than 1e-8."""
    free = np.isfinite(errors) & (errors > 0)

    def loss(s: np.ndarray) -> float:
        q = p.copy()
        q[free] += s * errors[free]
        with np.errstate(invalid="ignore"):
            value = -log_likelihood(model, q, y, exposure)
        return value if np.isfinite(value) else np.inf

    begin = 1e-2 * np.vstack([np.zeros(free.sum()), np.eye(free.sum())])
    options = {"initial_simplex": begin, "xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    found = minimize(loss, np.zeros(free.sum()), method="Nelder-Mead", options=options)
    assert loss(np.zeros(free.sum())) - found.fun < 1e-8
    assert np.max(np.abs(found.x)) < 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_the_likelihood_is_at_its_maximum(engine: str) -> None:
    model = line()
    y = counted(model, TRUTH, 20)
    y[:10][np.random.default_rng(1).random((10, X.size)) < 0.2] = np.nan
    fit = fitted(model, y, engine)
    assert (fit["fit_status"].values > 0).all()
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    for i in range(20):
        if i % 4 == 0:
            is_maximum(model, P[i], errors[i], y[i])
        some = np.where(np.isfinite(y[i]), y[i], 0.0)
        best = np.sum(poisson.logpmf(some, some)[np.isfinite(y[i])])
        assert_allclose(float(fit["chi2"][i]), 2 * (best - log_likelihood(model, P[i], y[i])), rtol=1e-10)
    assert_array_equal(fit["n_points"], np.isfinite(y).sum(axis=1))


@pytest.mark.parametrize("engine", ENGINES)
def test_exposures_multiply_the_model(engine: str) -> None:
    model, exposure = line(), np.linspace(0.2, 3.0, X.size)
    y = counted(model, TRUTH, 10, 2, exposure)
    fit = fitted(model, y, engine, weights=xr.DataArray(exposure, dims="x"))
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    for i in range(0, 10, 3):
        is_maximum(model, P[i], errors[i], y[i], exposure)


def test_errors_are_those_of_fishers_information() -> None:
    """The inverse of ``sum (df/dp) (df/dp)' / f``, by differences of the model; they need no sigma."""
    model = line()
    y = counted(model, TRUTH, 5, 3)
    fit = fitted(model, y, covariance=True)
    for i, p in enumerate(parameters(fit, model)):
        J, one = np.empty((X.size, 4)), model.copy()
        for j in range(4):
            values = []
            for side in (-1, 1):
                q = p.copy()
                q[j] += side * 1e-5
                one.parameters = q
                values.append(one(X))
            J[:, j] = (values[1] - values[0]) / 2e-5
        one.parameters = p
        right = np.linalg.inv(J.T @ (J / one(X)[:, None]))
        assert_allclose(fit["covariance"][i], right, rtol=1e-5, atol=1e-7 * np.abs(right).max())


@pytest.mark.parametrize("engine", ENGINES)
def test_low_counts_are_not_biased(engine: str) -> None:
    """Means from 0.1 to 30: coverage of 68 % within 3 %, where weights of ``1 / sqrt(N)`` are off by over an error."""
    model, truth = Exponential1D(2.0, 4.0), (np.sqrt(3.0), 20.0 / np.log(300.0))
    y = counted(model, truth, 4000, 4)
    fit = fitted(model, y, engine)
    good = fit["fit_status"].values > 0
    assert good.mean() > 0.99
    P, errors = (parameters(fit, model, ending)[good] for ending in ("", "_stderr"))
    covered = np.mean(np.abs(P - truth) < errors, axis=0)
    assert_allclose(covered, 0.6827, atol=0.03)
    bias = np.mean(P - truth, axis=0) / np.std(P, axis=0)
    assert np.all(np.abs(bias) < 0.02 + 2.5 / np.sqrt(4000))
    weighted = xr.DataArray(y, dims=("p", "x"), coords={"x": X}).modelfit(
        model, dim="x", sigma=xr.DataArray(np.sqrt(np.maximum(y, 1.0)), dims=("p", "x")), errors="ignore"
    )
    off = np.nanmean(parameters(weighted, model) - truth, axis=0) / np.std(P, axis=0)
    assert np.max(np.abs(off)) > 1.0


@pytest.mark.parametrize("model", [Linear1D(0.0, 0.0), Linear1D(-5.0, 1.0)], ids=["none", "negative"])
def test_a_linear_model_needs_no_start(model: Model) -> None:
    y = counted(Linear1D(), (0.02, 0.5), 50, 5)
    y[0] = 0.0
    y[0, 40] = 1.0
    fit, right = fitted(model, y), fitted(Linear1D(0.0, 1.0), y)
    good = (fit["fit_status"].values > 0) & (right["fit_status"].values > 0)
    assert good.sum() > 45
    assert (fit["fit_status"].values != FitStatus.NONFINITE_MODEL).all()
    assert_allclose(parameters(fit, model)[good], parameters(right, model)[good], rtol=1e-6, atol=1e-9)


def test_models_that_predict_negative_counts_get_a_status() -> None:
    model = Gaussian1D(-5.0, 0.0, 2.0) + Const1D(1.0)
    fit = fitted(model, counted(line(), TRUTH, 3, 6))
    assert_array_equal(fit["fit_status"], FitStatus.NONFINITE_MODEL)
    negative = counted(line(), TRUTH, 3, 6)
    negative[1, 5] = -1.0
    assert_array_equal(fitted(line(), negative)["fit_status"].values > 0, [True, False, True])


OFFSET = "add it back, and give the model a term for it"


def offset_subtracted(lazy: bool = False) -> tuple[xr.DataArray, int, int]:
    """Counts of which an offset was subtracted; how many are negative, and in how many spectra."""
    y = counted(line(), TRUTH, 6, seed=3)
    y[1:4] -= 2.0
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": X})
    return data.chunk(p=2) if lazy else data, int((y < 0).sum()), int((y < 0).any(axis=1).sum())


def test_negative_counts_are_told() -> None:
    """The fault is the data's, not the start's: how many samples, in how many fits, and what to do."""
    data, n, fits = offset_subtracted()
    counts = BatchLSQFitter(loss="poisson")
    with pytest.warns(UserWarning, match=f"{n} samples are negative, in {fits} of these fits.*{OFFSET}"):
        fit = data.modelfit(line(), "x", fitter=counts)
    negative = (data < 0).any("x")
    assert_array_equal(fit["fit_status"] == FitStatus.NONFINITE_MODEL, negative)
    assert OFFSET in str(fit.modelfit.report())
    assert OFFSET in fit.modelfit.report()._repr_html_()
    with pytest.raises(FitError, match=f"a sample is negative.*{OFFSET}"):
        data.modelfit(line(), "x", fitter=counts, errors="raise")
    restored = (data + 2.0).modelfit(line(), "x", fitter=counts)  # warnings are errors
    assert OFFSET not in str(restored.modelfit.report())


def test_negative_samples_that_are_left_out_are_not_told() -> None:
    data, _, _ = offset_subtracted()
    counts = BatchLSQFitter(loss="poisson")
    fit = data.modelfit(line(), "x", fitter=counts, where=data >= 0)
    assert (fit["fit_status"] > 0).all()
    exposure = xr.where(data < 0, 0.0, 1.0)
    assert (data.modelfit(line(), "x", fitter=counts, exposure=exposure)["fit_status"] > 0).all()
    data = data.clip(min=0)
    data[0, 4] = -3.0
    with pytest.warns(UserWarning, match="1 sample is negative, in 1 of these fits"):
        data.modelfit(line(), "x", fitter=counts)


def test_a_model_that_predicts_no_counts_is_no_fault_of_the_data() -> None:
    """The same status for another cause: the warning does not speak of samples."""
    model = Exponential1D(-3.0, 5.0)
    with pytest.warns(UserWarning, match="nonfinite_model") as told:
        xr.DataArray(counted(line(), TRUTH, 2), dims=("p", "x"), coords={"x": X}).modelfit(
            model, "x", fitter=BatchLSQFitter(loss="poisson")
        )
    assert "negative" not in str(told[0].message)


def test_lazy_counts_are_told_in_the_report() -> None:
    data, _, _ = offset_subtracted(lazy=True)
    fit = data.modelfit(line(), "x", fitter=BatchLSQFitter(loss="poisson"))
    assert OFFSET in str(fit.modelfit.report())


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_counted(engine: str) -> None:
    """The amplitude ends on its bound; a fit in a block of others does not mind."""
    model = line()
    y = counted(model, TRUTH, 3, 7)
    y[1] = 0.0
    fit = fitted(model, y, engine)
    assert_array_equal(fit["fit_status"].values[[0, 2]], 1)
    alone = fitted(model, y[::2], engine)
    assert_array_equal(parameters(alone, model), parameters(fit, model)[::2])
    constant = Const1D(0.5)
    constant.amplitude.bounds = (0.0, None)
    none = fitted(constant, y)
    assert_array_equal(none["fit_status"], [1, 2, 1])
    assert_allclose(none["amplitude"], y.mean(axis=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_bright_counts_are_as_normal(engine: str) -> None:
    """Of a million counts the deviance is that of normal noise, to the last digits that its logarithms leave."""
    model = line()
    y = counted(model, (1e6, 0.0, 2.0, 1e5), 20, 8)
    model.parameters = (8e5, 0.3, 2.2, 1e5)
    fit = fitted(model, y, engine)
    assert_array_equal(fit["fit_status"], 1)
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    one = model.copy()
    for _ in range(3):
        sigma = []
        for p in P:
            one.parameters = p
            sigma.append(np.sqrt(one(X)))
        data = xr.DataArray(y, dims=("p", "x"), coords={"x": X})
        normal = data.modelfit(model, dim="x", sigma=xr.DataArray(np.array(sigma), dims=("p", "x")))
    assert np.max(np.abs(P - parameters(normal, model)) / errors) < 0.02
    assert_allclose(parameters(normal, model, "_stderr"), errors, rtol=1e-2)


def test_sigma_is_refused() -> None:
    for sigma in (1.0, xr.DataArray(np.ones(X.size), dims="x")):
        with pytest.raises(ValueError, match='sigma is given, but loss="poisson" knows the noise of counts'):
            fitted(line(), counted(line(), TRUTH, 1), sigma=sigma)
    lazy = xr.DataArray(counted(line(), TRUTH, 2), dims=("p", "x"), coords={"x": X}).chunk({"p": 1})
    with pytest.raises(ValueError, match="sigma is given"):
        lazy.modelfit(line(), dim="x", sigma=1.0, fitter=BatchLSQFitter(loss="poisson"))
