"""Correlated noise, by both engines: against generalised least squares and likelihoods of dense matrices."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Polynomial1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares, minimize_scalar

from support.bits import assert_same_bits
from xr_modelfit import BatchLSQFitter, FitStatus

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
N = 240
EVEN = np.arange(float(N))
UNEVEN = np.cumsum(np.random.default_rng(5).choice([0.4, 1.0, 1.0, 1.7, 3.0], N))
LINE = Gaussian1D(8, 118, 14) + Const1D(1.0)
TRUTH = (10.0, 120.0, 12.0, 1.0)


def matrix(r: float, t: np.ndarray, step: float = 1.0) -> np.ndarray:
    """The correlation matrix of an autoregressive process, dense."""
    lag = np.abs(t[:, None] - t) / step
    return np.abs(r) ** lag * (np.where(np.rint(lag) % 2 == 1, -1.0, 1.0) if r < 0 else 1.0)


def process(b: int, r: float, t: np.ndarray, seed: int = 0) -> np.ndarray:
    """Noise of variance 1, (b, n)."""
    return np.random.default_rng(seed).normal(size=(b, t.size)) @ np.linalg.cholesky(matrix(r, t)).T


def gappy(y: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(y.shape) < share, np.nan, y)


def series(y: np.ndarray, t: np.ndarray = EVEN) -> xr.DataArray:
    return xr.DataArray(y, dims=("p", "t"), coords={"t": t})


def fitted(model: Model, y: np.ndarray, t: np.ndarray = EVEN, engine: str = "auto", **options: Any) -> xr.Dataset:
    given = {"errors": "ignore", "scheduler": "synchronous", "covariance": True, "noise": "ar1"} | options
    if engine != "auto":
        given["fitter"] = BatchLSQFitter(engine=engine)
    return series(y, t).modelfit(model, "t", **given)


def parameters(fit: xr.Dataset, model: Model, ending: str = "") -> np.ndarray:
    return np.stack([fit[name + ending].values for name in model.param_names], axis=-1)


def design(model: Model, t: np.ndarray) -> np.ndarray:
    one, k = model.copy(), len(model.parameters)
    columns = []
    for j in range(k):
        one.parameters = np.eye(k)[j]
        columns.append(one(t))
    return np.stack(columns, axis=1)


def by_gls(A: np.ndarray, y: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Generalised least squares by its formula: parameters, their covariance, chi-square."""
    used = np.isfinite(y)
    A, y, W = A[used], y[used], np.linalg.inv(C[np.ix_(used, used)])
    V = np.linalg.inv(A.T @ W @ A)
    p = V @ A.T @ W @ y
    return p, V, float((y - A @ p) @ W @ (y - A @ p))


def restricted(r: float, A: np.ndarray, y: np.ndarray, t: np.ndarray, step: float) -> float:
    """Minus twice the restricted log likelihood, by dense matrices."""
    used = np.isfinite(y)
    A, y = A[used], y[used]
    R = matrix(r, t[used], step)
    _, V, chi2 = by_gls(A, y, R)
    k = A.shape[1]
    return np.linalg.slogdet(R)[1] - np.linalg.slogdet(V)[1] + (y.size - k) * np.log(chi2)


@pytest.mark.parametrize("share", [0.0, 0.2], ids=["whole", "gaps"])
@pytest.mark.parametrize("model", [Linear1D(0, 0), Polynomial1D(3)], ids=["line", "cubic"])
def test_a_covariance_gives_generalised_least_squares(model: Model, share: float) -> None:
    """Parameters to 1e-9 of an error; covariance and chi-square of the closed form."""
    t = np.linspace(-1, 1, 60)
    rng = np.random.default_rng(0)
    root = rng.normal(size=(60, 60)) / 8 + np.diag(rng.uniform(0.5, 2, 60))
    C, A = root @ root.T, design(model, t)
    y = gappy((A @ rng.normal(size=(len(model.parameters), 12))).T + rng.normal(size=(12, 60)) @ root.T, share)
    fit = fitted(model, y, t, noise=xr.DataArray(C, dims=("t", "s")))
    assert_array_equal(fit["fit_status"], 1)
    for i in range(12):
        p, V, chi2 = by_gls(A, y[i], C)
        assert np.max(np.abs(parameters(fit, model)[i] - p) / np.sqrt(np.diag(V))) < 1e-9
        assert_allclose(fit["covariance"][i], V, rtol=1e-8, atol=1e-12 * np.abs(V).max())
        assert_allclose(fit["chi2"][i], chi2, rtol=1e-9)
        used = np.isfinite(y[i])
        sigma = np.sqrt(np.diag(C)[used])
        R = C[np.ix_(used, used)] / sigma[:, None] / sigma
        assert_allclose(fit["n_effective"][i], np.sum(np.linalg.inv(R)), rtol=1e-9)
    assert_array_equal(fit["dof"] + len(model.parameters), np.isfinite(y).sum(axis=1))


def test_covariances_differ_from_fit_to_fit() -> None:
    """In any order of dims; one that is no covariance fails alone, as does one that is not finite."""
    t, A = np.arange(30.0), design(Linear1D(0, 0), np.arange(30.0))
    C = np.stack([matrix(r, t) * s for r, s in ((0.2, 1.0), (0.8, 4.0), (-0.5, 0.1), (0.5, 1.0), (0.5, 1.0))])
    C[3, 0, 1] += 0.1
    C[4, 5, 6] = C[4, 6, 5] = np.nan
    y = np.random.default_rng(1).normal(size=(5, 30))
    noise = xr.DataArray(C, dims=("p", "t", "s")).transpose("s", "p", "t")
    fit = fitted(Linear1D(0, 0), y, t, noise=noise)
    assert fit["fit_status"].values.tolist() == [1, 1, 1, *[int(FitStatus.NONFINITE_DATA)] * 2]
    for i in range(3):
        p, V, chi2 = by_gls(A, y[i], C[i])
        assert_allclose(parameters(fit, Linear1D())[i], p, rtol=1e-9)
        assert_allclose(fit["chi2"][i], chi2, rtol=1e-9)
        assert_allclose(fit["covariance"][i], V, rtol=1e-9, atol=1e-14)
    assert fit["n_effective"][3:].isnull().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_nonlinear_model_under_a_covariance(engine: str) -> None:
    """scipy's least squares of residuals whitened by a dense Cholesky factor, to 1e-6 of an error."""
    C = matrix(0.6, EVEN) + 0.5 * np.eye(N)
    L = np.linalg.cholesky(C)
    clean = LINE.copy()
    clean.parameters = TRUTH
    y = gappy(clean(EVEN) + np.random.default_rng(2).normal(size=(4, N)) @ L.T, 0.1)
    fit = fitted(LINE, y, engine=engine, noise=xr.DataArray(C, dims=("t", "s")))
    assert_array_equal(fit["fit_status"], 1)
    for i in (0, 3):
        right = by_scipy(LINE, y[i], C, parameters(fit, LINE)[i])
        errors = np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac)))
        assert np.max(np.abs(parameters(fit, LINE)[i] - right.x) / errors) < 1e-6
        assert_allclose(parameters(fit, LINE, "_stderr")[i], errors, rtol=1e-4)
        assert_allclose(fit["chi2"][i], 2 * right.cost, rtol=1e-9)


def by_scipy(model: Model, y: np.ndarray, C: np.ndarray, start: np.ndarray) -> Any:
    used, one = np.isfinite(y), model.copy()
    L = np.linalg.cholesky(C[np.ix_(used, used)])

    def residual(p: np.ndarray) -> np.ndarray:
        one.parameters = p
        return solve_triangular(L, (one(EVEN) - y)[used], lower=True)

    return least_squares(residual, start * (1 + 1e-4), xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point")


@pytest.mark.parametrize("share", [0.0, 0.3], ids=["whole", "gaps"])
@pytest.mark.parametrize("t", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_the_correlation_has_the_highest_restricted_likelihood(t: np.ndarray, share: float) -> None:
    """Its mode by dense matrices and scipy's search; then parameters are those of generalised least squares there."""
    low, t = -0.99 if t is EVEN else 0.0, t[:80]
    A, step = design(Linear1D(0, 0), t), float(np.median(np.diff(t)))
    y = np.concatenate([gappy(process(3, r, t / step, 3), share) for r in (0.0, 0.5, 0.9)]) + 0.01 * t
    fit = fitted(Linear1D(0, 0), y, t)
    assert_array_equal(fit["fit_status"], 1)
    for i in range(len(y)):
        best = minimize_scalar(restricted, bounds=(low, 0.999), args=(A, y[i], t, step), options={"xatol": 1e-7})
        r = float(fit["ar1"][i])
        assert restricted(r, A, y[i], t, step) < best.fun + 2e-3  # 0.05 of an error, squared, is 2.5e-3
        used = np.isfinite(y[i])
        R = matrix(r, t / step)
        p, V, chi2 = by_gls(A, y[i], R)
        assert_allclose(parameters(fit, Linear1D())[i], p, rtol=1e-7)
        assert_allclose(fit["chi2"][i], chi2, rtol=1e-8)
        assert_allclose(fit["n_effective"][i], np.sum(np.linalg.inv(R[np.ix_(used, used)])), rtol=1e-8)
        known = np.sqrt(np.diag(V) * chi2 / (used.sum() - 2))
        wider = parameters(fit, Linear1D(), "_stderr")[i] / known
        assert np.all((wider > 1.0) & (wider < 2.5))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_line_on_correlated_noise(engine: str) -> None:
    """At the correlation that was found, parameters are those of scipy's whitened least squares."""
    clean = LINE.copy()
    clean.parameters = TRUTH
    y = gappy(clean(EVEN) + process(12, 0.7, EVEN, 4), 0.1)
    fit = fitted(LINE, y, engine=engine)
    assert_array_equal(fit["fit_status"], 1)
    assert_allclose(fit["ar1"].mean(), 0.7, atol=0.05)
    for i in range(5):
        right = by_scipy(LINE, y[i], matrix(float(fit["ar1"][i]), EVEN), parameters(fit, LINE)[i])
        errors = parameters(fit, LINE, "_stderr")[i]
        assert np.max(np.abs(parameters(fit, LINE)[i] - right.x) / errors) < 1e-6
        assert_allclose(fit["chi2"][i], 2 * right.cost, rtol=1e-8)


def test_sigma_scales_the_noise() -> None:
    """Weighted residuals are correlated: the covariance is R times sigma_i sigma_j, and errors are absolute."""
    rng, A = np.random.default_rng(6), design(Linear1D(0, 0), EVEN)
    sigma = rng.uniform(0.5, 3.0, N)
    y = sigma * process(6, 0.6, EVEN, 7)
    given = xr.DataArray(sigma, dims="t")
    fit, relative = fitted(Linear1D(0, 0), y, sigma=given), fitted(Linear1D(0, 0), y, weights=1 / given)
    for i in range(6):
        C = matrix(float(fit["ar1"][i]), EVEN) * sigma[:, None] * sigma
        p, V, chi2 = by_gls(A, y[i], C)
        assert_allclose(parameters(fit, Linear1D())[i], p, rtol=1e-7)
        assert_allclose(fit["chi2"][i], chi2, rtol=1e-8)
        wider = parameters(fit, Linear1D(), "_stderr")[i] / np.sqrt(np.diag(V))
        assert np.all((wider > 0.95) & (wider < 1.2))
    assert_allclose(parameters(relative, Linear1D()), parameters(fit, Linear1D()), rtol=1e-9)
    assert_allclose(relative["chi2"], fit["chi2"], rtol=1e-9)


def test_independent_noise_remains() -> None:
    """Without correlation the fit is about the plain one. Data without scatter have no correlation."""
    y = np.random.default_rng(8).normal(size=(200, N)) + 0.02 * EVEN
    fit, plain = fitted(Linear1D(0, 0), y), fitted(Linear1D(0, 0), y, noise=None)
    assert abs(float(fit["ar1"].mean())) < 0.015
    assert_allclose(fit["slope_stderr"].mean(), plain["slope_stderr"].mean(), rtol=0.02)
    exact = fitted(Linear1D(0, 0), 3.0 * EVEN[None] + 1.0)
    assert_allclose(exact["slope"], 3.0, rtol=1e-12)
    assert exact["ar1"].item() == 0.0
    assert exact["n_effective"].item() == N


def test_a_fit_depends_on_nothing_but_itself() -> None:
    """Bit for bit: any chunks, other fits, the order of samples, and samples that are left out or absent."""
    y = np.concatenate([process(10, 0.8, EVEN, 9), gappy(process(10, 0.5, EVEN, 10), 0.2)])
    for model, truth in ((Linear1D(0, 0), 0.01 * EVEN), (LINE, LINE(EVEN))):
        whole = fitted(model, y + truth)
        for rows in (slice(3, 4), slice(12, 13), slice(5, 17)):
            assert_same_bits(fitted(model, (y + truth)[rows]), whole.isel(p=rows))
        lazy = series(y + truth).chunk(p=7).modelfit(model, "t", noise="ar1", covariance=True).compute()
        assert_same_bits(lazy, whole)
        back = series(y + truth).isel(t=slice(None, None, -1))
        back = back.modelfit(model, "t", noise="ar1", covariance=True, errors="ignore")
        assert_allclose(parameters(back, model), parameters(whole, model), rtol=1e-7)
        left_out = np.isfinite(y[15])
        absent = fitted(model, (y + truth)[15:16, left_out], EVEN[left_out])
        assert_allclose(parameters(absent, model), parameters(whole, model)[15:16], rtol=1e-9)


def test_a_fit_under_a_covariance_depends_on_nothing_but_itself() -> None:
    t = np.linspace(-10, 10, 60)
    model = Gaussian1D(8, 0.5, 2) + Const1D(1.0)
    y = np.concatenate([process(6, 0.5, np.arange(60.0), 9), gappy(process(6, 0.5, np.arange(60.0), 10), 0.2)]) + model(
        t
    )
    C = xr.DataArray(matrix(0.5, np.arange(60.0)), dims=("t", "s"))
    whole = fitted(model, y, t, noise=C)
    assert_same_bits(fitted(model, y[7:9], t, noise=C), whole.isel(p=slice(7, 9)))
    assert_same_bits(fitted(model, y[2:3], t, noise=C), whole.isel(p=slice(2, 3)))
    lazy = series(y, t).chunk(p=5).modelfit(model, "t", noise=C.chunk(t=50), covariance=True).compute()
    assert_same_bits(lazy, whole)


def test_scales_and_shifts_change_nothing() -> None:
    y = gappy(process(6, 0.7, UNEVEN, 11), 0.1) + 0.01 * UNEVEN
    fit = fitted(Linear1D(0, 0), y, UNEVEN)
    far = fitted(Linear1D(0, 0), y * 1e-17, UNEVEN * 86400 + 1e9)
    assert_allclose(far["ar1"], fit["ar1"], atol=1e-5)
    assert_allclose(far["slope"] * 1e17 * 86400, fit["slope"], rtol=1e-4)
    assert_allclose(far["n_effective"], fit["n_effective"], rtol=1e-4)


def test_tied_fixed_and_bounded_parameters() -> None:
    model = Gaussian1D(8, 112, 14) + Gaussian1D(4, 60, 14) + Const1D(0.0)
    model.stddev_1.tied = lambda m: m.stddev_0
    model.amplitude_2.fixed = True
    model.mean_0.bounds = (90.0, 115.0)
    clean = model.copy()
    clean.parameters = (10.0, 118.0, 12.0, 5.0, 60.0, 12.0, 0.0)
    fit = fitted(model, clean(EVEN) + process(8, 0.6, EVEN, 12))
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED_AT_BOUND)
    assert_array_equal(fit["stddev_0"], fit["stddev_1"])
    assert_allclose(fit["stddev_0_stderr"], fit["stddev_1_stderr"])
    assert_array_equal(fit["amplitude_2_stderr"], 0.0)
    assert fit["mean_0_stderr"].isnull().all()


def test_short_series() -> None:
    """Too few samples to tell a correlation; fits with as many samples as parameters, fewer, and none."""
    y = np.full((4, 6), np.nan)
    y[0], y[1, :3], y[2, :2], y[3, 0] = [1.0, 2.0, 2.5, 4.4, 4.9, 6.3], [1.0, 2.1, 2.8], [1.0, 2.0], 1.0
    fit = fitted(Linear1D(0, 0), y, np.arange(6.0))
    assert fit["fit_status"].values.tolist() == [1, 1, 1, int(FitStatus.TOO_FEW_POINTS)]
    assert np.isfinite(fit["slope_stderr"][:2]).all()
    assert fit["ar1"].values[1:3].tolist() == [0.0, 0.0]


def test_samples_at_one_place_fail_alone() -> None:
    """Where coordinates differ from fit to fit, one that has a place twice gets a status."""
    t = np.stack([EVEN, np.where(EVEN == 7, 6.0, EVEN)])
    data = xr.DataArray(process(2, 0.5, EVEN, 13), dims=("p", "t"))
    data = data.assign_coords(when=(("p", "t"), t))
    fit = data.modelfit(Linear1D(), "t", coords="when", noise="ar1", errors="ignore")
    assert fit["fit_status"].values.tolist() == [1, int(FitStatus.NONFINITE_DATA)]


PULLS = [(r, t, share) for r in (0.0, 0.3, 0.6, 0.9) for t, share in (("even", 0), ("even", 0.3), ("uneven", 0.1))]


@pytest.mark.slow
@pytest.mark.parametrize(("r", "spacing", "share"), PULLS)
def test_pulls_of_slopes_have_width_one(r: float, spacing: str, share: float) -> None:
    """Within 7 %, for 240 samples; intervals hold the truth at least as often as they say, and so do p-values."""
    t = EVEN if spacing == "even" else UNEVEN
    step = np.median(np.diff(t))
    y = gappy(process(3000, r, t / step, 20), share) + 0.01 * t
    fit = fitted(Linear1D(0, 0), y, t, covariance=False)
    pull = (fit["slope"] - 0.01) / fit["slope_stderr"]
    assert abs(float(pull.std()) - 1.0) < 0.07
    assert 0.65 < float((abs(pull) < 1).mean()) < 0.78
    assert float((fit.modelfit.p_value("slope", null=0.01) < 0.05).mean()) < 0.065


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, 0.6, 0.9])
def test_pulls_of_a_nonlinear_model_have_width_one(r: float) -> None:
    """A line on correlated noise: all four parameters, within 8 %."""
    clean = LINE.copy()
    clean.parameters = (30.0, 120.0, 12.0, 1.0)
    fit = fitted(LINE, clean(EVEN) + process(2000, r, EVEN, 21), covariance=False)
    assert (fit["fit_status"] > 0).mean() > 0.999
    pull = (parameters(fit, LINE) - clean.parameters) / parameters(fit, LINE, "_stderr")
    assert np.all(np.abs(np.nanstd(pull, axis=0) - 1.0) < 0.08)
