"""What has bitten batch fitters, one test or more for each, named after the trap.

Authorities are closed forms, `numpy.linalg.lstsq`, exact rational arithmetic, and
`scipy.optimize.least_squares` at tight tolerances.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, FittableModel, Model, Parameter, custom_model, fix_inputs, models
from astropy.modeling.fitting import TRFLSQFitter
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

import xr_modelfit
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.status import FitStatus

pytestmark = pytest.mark.quick_share(3)

Gaussian1D, Linear1D, PowerLaw1D = models.Gaussian1D, models.Linear1D, models.PowerLaw1D


def array(y: Any, x: Any, *dims: str) -> xr.DataArray:
    return xr.DataArray(y, dims=(*dims, "x"), coords={"x": np.asarray(x, dtype=float)})


def parameters(fit: xr.Dataset, model: Model, suffix: str = "") -> np.ndarray:
    """Parameters or errors, the parameter last."""
    return np.stack([fit[f"{name}{suffix}"].values for name in model.param_names], axis=-1)


def gaussian(x: np.ndarray, height: float, mean: float, width: float) -> np.ndarray:
    return height * np.exp(-0.5 * ((x - mean) / width) ** 2)


def by_scipy(residual: Callable[[np.ndarray], np.ndarray], start: Any, **keywords: Any) -> Any:
    tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "jac": "3-point", "x_scale": "jac", "max_nfev": 2000}
    return least_squares(residual, start, **(tight | keywords))


X = np.linspace(-5.0, 5.0, 61)


def noisy_peaks(n_fits: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [gaussian(X, rng.uniform(1, 3), rng.uniform(-1, 1), rng.uniform(0.7, 1.5)) for _ in range(n_fits)]
    return np.stack(rows) + 0.05 * rng.normal(size=(n_fits, X.size))


# ---------------------------------------------------------------- 1: one bad position

BAD = {
    "all NaN": np.full(X.size, np.nan),
    "zeros": np.zeros(X.size),
    "constant": np.full(X.size, 3.0),
    "infinite": np.full(X.size, np.inf),
    "huge": np.full(X.size, 1e300),
    "overflowing": np.where(np.arange(X.size) % 2, 1.7e308, -1.7e308),
    "one sample": np.where(np.arange(X.size) == 7, 1.0, np.nan),
    "three samples": np.where(np.isin(np.arange(X.size), (7, 8, 9)), 1.0, np.nan),
}


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_trap_01_one_bad_position_among_500(bad: str, linear: bool) -> None:
    """It neither raises nor changes the other 499."""
    y = noisy_peaks(500)
    model = models.Polynomial1D(3) if linear else Gaussian1D(1.5, 0.2, 1.0)
    rest = np.delete(np.arange(500), 250)
    expected = xr_modelfit.fit(array(y[rest], X, "fit"), model, "x")
    y[250] = BAD[bad]
    fit = xr_modelfit.fit(array(y, X, "fit"), model, "x", errors="ignore")
    assert_array_equal(fit["fit_status"][rest], FitStatus.CONVERGED)
    assert_array_equal(parameters(fit, model)[rest], parameters(expected, model))
    assert_array_equal(parameters(fit, model, "_stderr")[rest], parameters(expected, model, "_stderr"))


def test_trap_01_a_singular_design_among_500() -> None:
    """One position whose coordinate is constant: degenerate there, exact elsewhere."""
    x = np.tile(X, (500, 1))
    x[250] = 2.0
    y = 3.0 * x + 1.0
    data = xr.DataArray(y, dims=("fit", "x"))
    coordinate = xr.DataArray(x, dims=("fit", "x"))
    for model in (Linear1D(), Linear1D(bounds={"slope": (-100.0, 100.0)}), Linear1D(tied={}) + models.Const1D(0.0)):
        if model.n_submodels > 1:
            model.amplitude_1.fixed = True
        fit = xr_modelfit.fit(data, model, "x", coords={"x": coordinate}, errors="ignore")
        status = fit["fit_status"].values
        assert status[250] == FitStatus.DEGENERATE
        assert_array_equal(np.delete(status, 250), FitStatus.CONVERGED)
        slope = fit[model.param_names[0]].values
        assert_allclose(np.delete(slope, 250), 3.0, rtol=1e-13)  # noise-free: rounding of 61 terms
        assert np.isnan(slope[250])


# ---------------------------------------------------------------- 2: 0 x NaN


@pytest.mark.parametrize("by", ["nan", "where", "weights", "sigma"])
def test_trap_02_a_masked_singularity(by: str) -> None:
    """A power law at a masked x = 0."""
    rng = np.random.default_rng(1)
    x = np.arange(0.0, 25.0)
    y = np.empty(25)
    y[0], y[1:] = 1.0, 3.0 * x[1:] ** -0.7 + 0.02 * rng.normal(size=24)
    model = PowerLaw1D(2.0, 1.0, 1.0, fixed={"x_0": True})
    used = xr.DataArray(x > 0, dims="x")
    keywords: dict[str, Any] = {}
    if by == "nan":
        y[0] = np.nan
    elif by == "where":
        keywords["where"] = used
    elif by == "weights":
        keywords["weights"] = used.astype(float)
    else:
        keywords |= {"sigma": xr.where(used, 0.02, np.inf), "absolute_sigma": False}
    fit = xr_modelfit.fit(array(y, x), model, "x", **keywords)
    expected = by_scipy(lambda p: p[0] * x[1:] ** -p[1] - y[1:], [2.0, 1.0])
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    # The minimum is as flat as rounding of chi-square: parameters to 1e-8, far below their errors of 1e-2.
    assert_allclose([float(fit["amplitude"]), float(fit["alpha"])], expected.x, rtol=1e-7)
    factor = 0.02**-2 if by == "sigma" else 1.0
    assert_allclose(float(fit["chi2"]), 2 * expected.cost * factor, rtol=1e-12)
    assert int(fit["n_points"]) == 24


# ---------------------------------------------------------------- 3, 4: shift and scale


def test_trap_03_a_coordinate_far_from_its_origin() -> None:
    """x + 1e9 exactly; the authority fits the centred coordinate."""
    x = np.arange(-40, 41) / 8.0
    y = gaussian(x, 2.0, 0.3, 1.1) + 0.05 * np.random.default_rng(2).normal(size=x.size)
    assert_array_equal((x + 1e9) - 1e9, x)
    fit = xr_modelfit.fit(array(y, x + 1e9), Gaussian1D(1.5, 1e9 - 0.5, 1.5), "x")
    expected = by_scipy(lambda p: gaussian(x, *p) - y, [1.5, -0.5, 1.5])
    found = np.array([float(fit["amplitude"]), float(fit["mean"]) - 1e9, float(fit["stddev"])])
    errors = parameters(fit, Gaussian1D())
    errors = parameters(fit, Gaussian1D(), "_stderr")
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert np.all(np.abs(found - expected.x) < 1e-3 * errors)
    covariance = np.linalg.inv(expected.jac.T @ expected.jac) * 2 * expected.cost / (x.size - 3)
    assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=1e-5)  # the mean is rounded to 1e-7 widths


@pytest.mark.parametrize("scale", [1e-17, 1e-30, 1e17])
def test_trap_04_data_of_any_size(scale: float) -> None:
    """SEED row 5: data of order 1e-17 must not stop at the start."""
    y = noisy_peaks(3, seed=3)
    model = Gaussian1D(1.2 * scale, 0.3, 1.3)
    fit = xr_modelfit.fit(array(y * scale, X, "fit"), model, "x")
    for i in range(3):
        expected = by_scipy(lambda p, i=i: gaussian(X, *p) - y[i], [1.2, 0.3, 1.3])
        found = parameters(fit, model)[i] / [scale, 1.0, 1.0]
        covariance = np.linalg.inv(expected.jac.T @ expected.jac) * 2 * expected.cost / (X.size - 3)
        errors = np.sqrt(np.diag(covariance))
        assert np.all(np.abs(found - expected.x) < 1e-6 * errors)
        assert_allclose(parameters(fit, model, "_stderr")[i] / [scale, 1.0, 1.0], errors, rtol=1e-6)
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)


# ---------------------------------------------------------------- 5, 6: valleys and slow tails


def test_trap_05_the_first_step_keeps_to_the_valley() -> None:
    """Two lines of equal height: a start nearer to one finds that one, as a local search does."""
    x = np.linspace(-10.0, 10.0, 161)
    y = gaussian(x, 1.0, -4.0, 0.8) + gaussian(x, 1.0, 4.0, 0.8)
    y = y + 0.02 * np.random.default_rng(4).normal(size=x.size)
    starts = np.array([-5.2, -4.8, -3.2, -2.8, 2.8, 3.2, 4.8, 5.2])
    data = array(np.tile(y, (8, 1)), x, "fit")
    fit = xr_modelfit.fit(data, Gaussian1D(0.8, 0.0, 1.0), "x", p0={"mean": xr.DataArray(starts, dims="fit")})
    for i, start in enumerate(starts):
        expected = by_scipy(lambda p: gaussian(x, *p) - y, [0.8, start, 1.0])
        assert abs(expected.x[1] - np.sign(start) * 4.0) < 0.1
        assert_allclose(float(fit["chi2"][i]), 2 * expected.cost, rtol=1e-8)


def test_trap_06_slow_fits_are_told_and_hold_up_no_other() -> None:
    """Pure noise without bounds runs to the limit; its neighbours have their bits and few steps."""
    y = noisy_peaks(40, seed=5)
    y[::4] = np.random.default_rng(6).normal(size=(10, X.size))
    model = Gaussian1D(1.5, 0.2, 1.0)
    fit = xr_modelfit.fit(array(y, X, "fit"), model, "x", errors="ignore")
    good = np.arange(40) % 4 != 0
    alone = xr_modelfit.fit(array(y[good], X, "fit"), model, "x")
    assert_array_equal(parameters(fit, model)[good], parameters(alone, model))
    assert float(fit["n_iter"][good].max()) < 30
    limited = xr_modelfit.fit(array(y, X, "fit"), model, "x", fitter=BatchLSQFitter(maxiter=1), errors="ignore")
    assert_array_equal(limited["fit_status"], FitStatus.MAX_ITERATIONS)
    assert np.isnan(parameters(limited, model)).all()
    kept = xr_modelfit.fit(
        array(y, X, "fit"), model, "x", fitter=BatchLSQFitter(maxiter=1), errors="ignore", keep_failed=True
    )
    assert np.isfinite(parameters(kept, model)).all()


# ---------------------------------------------------------------- 7: linear models and normal equations


def test_trap_07_seconds_since_1970() -> None:
    """Slope over 17 hours, by rational arithmetic: to 1e-10 relative."""
    t = 1.7e9 + 60.0 * np.arange(1021)
    y = 280.0 + 1e-4 * (t - t[0]) + 0.3 * np.random.default_rng(7).normal(size=t.size)
    T, Y = [Fraction(float(v)) for v in t], [Fraction(float(v)) for v in y]
    mean = sum(T) / len(T)
    slope = sum((a - mean) * b for a, b in zip(T, Y, strict=True)) / sum((a - mean) ** 2 for a in T)
    fit = xr_modelfit.fit(array(y, t), Linear1D(0.0, 0.0), "x")
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert abs(float(fit["slope"]) / float(slope) - 1.0) < 1e-10
    residual = y - y.mean() - float(slope) * (t - float(mean))
    error = np.sqrt(np.sum(residual**2) / (t.size - 2) / np.sum((t - float(mean)) ** 2))
    assert_allclose(float(fit["slope_stderr"]), error, rtol=1e-8)


@pytest.mark.parametrize("bounded", [False, True])
def test_trap_07_a_cubic_at_1_4_GHz(bounded: bool) -> None:
    """With its domain, a cubic over 2 MHz at 1.4 GHz is as good as centred."""
    u = np.linspace(-1.0, 1.0, 201)
    x = 1.4e9 + 1e6 * u
    y = 2.0 + 0.5 * u - 0.3 * u**2 + 0.2 * u**3 + 0.01 * np.random.default_rng(8).normal(size=u.size)
    model = models.Polynomial1D(3, domain=(x[0], x[-1]))
    bounds = {"c2": (-10.0, 10.0)} if bounded else None
    fit = xr_modelfit.fit(array(y, x), model, "x", bounds=bounds)
    expected = np.linalg.lstsq(np.vander(u, 4, increasing=True), y, rcond=None)[0]
    assert_allclose(parameters(fit, model), expected, rtol=1e-8)  # the coordinate is rounded to 2e-13 of its span
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert float(fit["n_iter"]) == 1


def _plane() -> Model:
    return models.Planar2D(0.0, 2.0, 0.0, fixed={"slope_y": True})


D1, D2 = {"domain": (-5.0, 9.0)}, {"x_domain": (-5.0, 9.0), "y_domain": (-3.0, 4.0)}
LINEAR: dict[str, Callable[[], Model]] = {
    "Polynomial1D": lambda: models.Polynomial1D(4),
    "Polynomial1D in a domain": lambda: models.Polynomial1D(4, **D1),
    "Polynomial1D in a domain and window": lambda: models.Polynomial1D(3, domain=(-5.0, 9.0), window=(0.0, 2.0)),
    "Chebyshev1D": lambda: models.Chebyshev1D(4, **D1),
    "Legendre1D": lambda: models.Legendre1D(4, **D1),
    "Hermite1D": lambda: models.Hermite1D(4, **D1),
    "Linear1D": lambda: Linear1D(0.0, 0.0),
    "Const1D": lambda: models.Const1D(0.0),
    "Scale": lambda: models.Scale(1.0),
    "Multiply": lambda: models.Multiply(1.0),
    "Shift": lambda: models.Shift(0.0),
    "Polynomial2D": lambda: models.Polynomial2D(2, x_domain=(-5.0, 9.0), y_domain=(-3.0, 4.0)),
    "Chebyshev2D": lambda: models.Chebyshev2D(2, 1, **D2),
    "Legendre2D": lambda: models.Legendre2D(2, 1, **D2),
    "Hermite2D": lambda: models.Hermite2D(2, 1, **D2),
    "Planar2D": lambda: models.Planar2D(0.0, 0.0, 0.0),
    "Const2D": lambda: models.Const2D(0.0),
    "sum": lambda: (
        models.Legendre1D(2, **D1)
        + models.Const1D(2.0, fixed={"amplitude": True})
        * models.Polynomial1D(3, fixed={"c0": True, "c1": True, "c2": True})
    ),
    "difference": lambda: (
        models.Polynomial1D(2) - models.Hermite1D(4, **D1, fixed={"c0": True, "c1": True, "c2": True})
    ),
    "a fixed shape": lambda: Gaussian1D(1.0, 0.2, 1.5, fixed={"mean": True, "stddev": True}) + Linear1D(0.0, 0.0),
    "quotient": lambda: Linear1D(0.0, 0.0) / models.Const1D(4.0, fixed={"amplitude": True}),
    "fix_inputs": lambda: fix_inputs(_plane(), {"y": 3.0}),
    "sum with fix_inputs": lambda: (
        fix_inputs(_plane(), {"y": 3.0}) + models.Polynomial1D(2, fixed={"c0": True, "c1": True})
    ),
    "tied": lambda: models.Polynomial1D(3, tied={"c2": lambda m: 2.0 * m.c1 - 0.5 * m.c0}),
}


def design(model: Model, at: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Base (n,) and columns (n, k) of a linear model, from its own call, ties applied."""
    free = [n for n in model.param_names if not model.fixed[n] and not model.tied[n]]

    def values(at_parameters: Mapping[str, float]) -> np.ndarray:
        one = model.copy()
        for name in free:
            setattr(one, name, at_parameters.get(name, 0.0))
        for name in one.param_names:
            if one.tied[name]:
                setattr(one, name, float(np.squeeze(np.asarray(one.tied[name](one)))))
        return np.broadcast_to(np.asarray(one(*at), dtype=float), at[0].shape).ravel()

    base = values({})
    return base, np.stack([values({name: 1.0}) - base for name in free], axis=1)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("way", ["plain", "gaps", "weights", "loose bounds"])
@pytest.mark.parametrize("name", LINEAR)
def test_trap_07_linear_models_are_solved_directly(name: str, way: str) -> None:
    """All linear families, compounds and `fix_inputs` of them, against `numpy.linalg.lstsq`."""
    rng = np.random.default_rng(9)
    model = LINEAR[name]()
    x, z = np.linspace(-4.0, 8.0, 41 if model.n_inputs == 1 else 11), np.linspace(-2.5, 3.5, 7)
    at = [x] if model.n_inputs == 1 else list(np.meshgrid(x, z, indexing="ij"))
    dims = ("x", "y")[: model.n_inputs]
    y = rng.normal(size=(3, *at[0].shape)) + 3.0
    data = xr.DataArray(y, dims=("fit", *dims), coords={"x": x, "y": z} if model.n_inputs == 2 else {"x": x})
    keywords: dict[str, Any] = {}
    w = np.ones(y.shape)
    if way == "gaps":
        w = (rng.uniform(size=y.shape) > 0.2).astype(float)
        data = data.where(w > 0)
    elif way == "weights":
        w = rng.uniform(0.5, 2.0, y.shape)
        keywords["weights"] = data.copy(data=w)
    elif way == "loose bounds":
        first = next(n for n in model.param_names if not model.fixed[n] and not model.tied[n])
        keywords["bounds"] = {first: (-1e6, 1e6)}
    fit = xr_modelfit.fit(data, model, dims, **keywords)
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)
    assert_array_equal(fit["n_iter"], 1)
    base, A = design(model, at)
    free = [n for n in model.param_names if not model.fixed[n] and not model.tied[n]]
    for i in range(3):
        used = w[i].ravel() > 0
        WA, Wy = (A * w[i].ravel()[:, None])[used], ((y[i].ravel() - base) * w[i].ravel())[used]
        expected = np.linalg.lstsq(WA, Wy, rcond=None)[0]
        chi2 = np.sum((Wy - WA @ expected) ** 2)
        dof = np.count_nonzero(used) - len(free)
        errors = np.sqrt(np.diag(np.linalg.pinv(WA) @ np.linalg.pinv(WA).T) * chi2 / dof)
        found = np.array([float(fit[n][i]) for n in free])
        # lstsq itself is good to eps times the condition (up to 1e5 for the bare quartic), here in standard errors.
        assert np.all(np.abs(found - expected) < 1e-9 * errors), np.abs(found - expected) / errors
        assert_allclose([float(fit[f"{n}_stderr"][i]) for n in free], errors, rtol=1e-8)
        assert_allclose(float(fit["chi2"][i]), chi2, rtol=1e-12)
        assert int(fit["dof"][i]) == dof


def test_trap_07_a_polynomial_at_any_coordinate_is_solved_directly() -> None:
    """Cubics in hertz and quartics in metres are linear too, however unlike their columns are in size."""
    u = np.linspace(0.5, 1.5, 60)
    y = 1.0 + u + 0.05 * np.random.default_rng(10).normal(size=u.size)
    for scale in (1e-17, 5e-7, 1.4e9, 1e17):
        for degree in (2, 3, 4):
            model = models.Polynomial1D(degree)
            fit = xr_modelfit.fit(array(y, u * scale), model, "x")
            expected = np.linalg.lstsq(np.vander(u, degree + 1, increasing=True), y, rcond=None)[0]
            factor = scale ** np.arange(degree + 1)
            assert float(fit["n_iter"]) == 1, (scale, degree)
            assert_allclose(parameters(fit, model) * factor, expected, rtol=1e-8)  # condition about 1e4


# ---------------------------------------------------------------- 8: noise-free data


@pytest.mark.parametrize("scale", [1.0, 1e-17, 1e17])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_trap_08_noise_free_data(scale: float, offset: float) -> None:
    """Nothing is left to fit: converged, not without progress; on a pedestal too."""
    truth = np.array([2.0, 0.3, 1.1, offset])
    y = (gaussian(X, *truth[:3]) + offset) * scale
    model = Gaussian1D(1.5 * scale, 0.0, 1.5) + models.Const1D(0.0)
    starts = [Gaussian1D(f * 1.5 * scale, 0.1, 1.4) + models.Const1D(0.9 * offset * scale) for f in (0.5, 1.0, 2.0)]
    for start in (model, *starts):
        fit = xr_modelfit.fit(array(y, X), start, "x")
        assert int(fit["fit_status"]) == FitStatus.CONVERGED
        # Data are rounded at 1e-16 of the pedestal; the peak is a fiftieth of it.
        assert_allclose(parameters(fit, start) / [scale, 1.0, 1.0, scale], truth, rtol=1e-11, atol=1e-11)


def test_trap_08_a_start_at_the_solution() -> None:
    y = gaussian(X, 2.0, 0.3, 1.1)
    for scale in (1.0, 1e-17):
        fit = xr_modelfit.fit(array(y * scale, X), Gaussian1D(2.0 * scale, 0.3, 1.1), "x")
        assert int(fit["fit_status"]) == FitStatus.CONVERGED
        assert_allclose(float(fit["mean"]), 0.3, rtol=1e-12)  # rounding of the data


def test_trap_08_far_from_a_minimum_is_no_success() -> None:
    """A plateau that no local step leaves: whatever is said, it is not `converged`."""
    y = gaussian(X, 2.0, 0.3, 0.5)
    fit = xr_modelfit.fit(array(y, X), Gaussian1D(1.0, 200.0, 0.5), "x", errors="ignore")
    assert int(fit["fit_status"]) <= 0
    assert np.isnan(float(fit["mean"]))


# ---------------------------------------------------------------- 9: difference steps

Root = custom_model(lambda x, a=1.0, b=0.5: np.sqrt(np.real(a)) * np.exp(-((x - np.real(b)) ** 2)))
Log = custom_model(lambda x, a=1.0, b=0.5: np.log(np.real(a)) * x + np.real(b))


@pytest.mark.parametrize("low_truth", [False, True])
def test_trap_09_a_square_root_on_its_bound(low_truth: bool) -> None:
    """a >= 0 under a root: steps go inward, and the fit leaves the bound or stays on it."""
    rng = np.random.default_rng(11)
    peak = np.exp(-((X - 0.4) ** 2))
    y = (0.0 if low_truth else 1.5) * peak + 0.02 * rng.normal(size=X.size) - (0.1 * peak if low_truth else 0.0)
    for start in (1e-8, 1e-6, 1e-3, 0.25, 4.0):
        model = Root(start, 0.4, bounds={"a": (1e-8, 9.0)}, fixed={"b": low_truth})
        fit = xr_modelfit.fit(array(y, X), model, "x")
        if low_truth:
            assert float(fit["a"]) == 1e-8
            assert int(fit["fit_status"]) == FitStatus.CONVERGED_AT_BOUND
            assert np.isnan(float(fit["a_stderr"]))
        else:
            expected = by_scipy(lambda p: np.sqrt(p[0]) * np.exp(-((X - p[1]) ** 2)) - y, [2.0, 0.4])
            assert int(fit["fit_status"]) == FitStatus.CONVERGED
            assert np.all(np.abs([float(fit["a"]), float(fit["b"])] - expected.x) < 1e-6)  # errors are about 0.02


def test_trap_09_a_logarithm_on_its_bound() -> None:
    """The best slope is log of less than 1: with a >= 1 it is on the bound, from any start, that bound too."""
    y = -0.3 * X + 0.2 + 0.05 * np.random.default_rng(12).normal(size=X.size)
    for start in (1.0, 1.5, 20.0):
        fit = xr_modelfit.fit(array(y, X), Log(start, 0.0), "x", bounds={"a": (1.0, None)})
        assert int(fit["fit_status"]) == FitStatus.CONVERGED_AT_BOUND
        assert float(fit["a"]) == 1.0
        assert_allclose(float(fit["b"]), y.mean(), rtol=1e-6)  # the mean, since the slope is 0
        error = np.sqrt(np.sum((y - y.mean()) ** 2) / (X.size - 2) / X.size)
        assert_allclose(float(fit["b_stderr"]), error, rtol=1e-6)
    inside = xr_modelfit.fit(array(-y, X), Log(1.0, 0.0), "x", bounds={"a": (1.0, None)})
    slope, intercept = np.polynomial.polynomial.polyfit(X, -y, 1)[::-1]
    assert_allclose([float(inside["a"]), float(inside["b"])], [np.exp(slope), intercept], rtol=1e-6)


SECH = custom_model(lambda x, a=1.0, b=0.0, c=1.0: np.real(a) / np.cosh((x - np.real(b)) / np.real(c)))


@pytest.mark.parametrize("origin", [0.0, 1e9])
def test_trap_09_steps_at_zero_and_far_from_it(origin: float) -> None:
    """A parameter at 0 or 1e9 with a width of 1/4: the step is of neither size."""
    u = np.arange(-40, 41) / 32.0
    y = 2.0 / np.cosh((u - 0.08) / 0.256) + 0.02 * np.random.default_rng(13).normal(size=u.size)
    fit = xr_modelfit.fit(array(y, u + origin), SECH(1.5, origin, 0.32), "x")
    expected = by_scipy(lambda p: p[0] / np.cosh((u - p[1]) / p[2]) - y, [1.5, 0.0, 0.32])
    found = np.array([float(fit["a"]), float(fit["b"]) - origin, float(fit["c"])])
    errors = np.array([float(fit[f"{n}_stderr"]) for n in "abc"])
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert np.all(np.abs(found - expected.x) < 1e-3 * errors)


def test_trap_09_where_numbers_are_too_coarse_for_the_minimum() -> None:
    """At 1e9 numbers are 1.2e-7 apart, a four-hundredth of the error: the nearest one is converged."""
    u = np.arange(-40, 41) / 512.0
    y = 2.0 / np.cosh((u - 0.005) / 0.016) + 0.02 * np.random.default_rng(13).normal(size=u.size)
    for model in (SECH(1.5, 1e9, 0.02), models.Lorentz1D(1.5, 1e9, 0.04)):
        fit = xr_modelfit.fit(array(y, u + 1e9), model, "x", errors="ignore", keep_failed=True)
        start = [1.5, 0.0, model.parameters[2]]
        expected = by_scipy(lambda p, model=model: model.evaluate(u, *p) - y, start)
        assert int(fit["fit_status"]) == FitStatus.CONVERGED
        assert abs(float(fit[model.param_names[1]]) - 1e9 - expected.x[1]) <= np.spacing(1e9)


# ---------------------------------------------------------------- 10: bounds


def test_trap_10_correlated_bounds() -> None:
    """Clipping would stop short: with the slope on its bound, the intercept is that of the held slope."""
    x = np.linspace(10.0, 11.0, 30)
    y = 2.0 * x - 5.0 + 0.01 * np.random.default_rng(14).normal(size=30)
    fit = xr_modelfit.fit(array(y, x), Linear1D(0.5, 0.0), "x", bounds={"slope": (0.0, 1.0)})
    assert int(fit["fit_status"]) == FitStatus.CONVERGED_AT_BOUND
    assert float(fit["slope"]) == 1.0
    assert_allclose(float(fit["intercept"]), np.mean(y - x), rtol=1e-12)  # closed form, well conditioned
    assert np.isnan(float(fit["slope_stderr"]))
    spread = np.sqrt(np.sum((y - x - np.mean(y - x)) ** 2) / 28 / 30)
    assert_allclose(float(fit["intercept_stderr"]), spread, rtol=1e-10)


# ---------------------------------------------------------------- 11: NaN at a trial point

Walled = custom_model(lambda x, a=1.0, b=1.0: np.where(np.real(b) > 3.0, np.nan, 1.0) * np.real(a) * x ** np.real(b))


@pytest.mark.parametrize("scale", [1.0, 1e-17])
def test_trap_11_nan_at_a_trial_point_is_a_rejected_step(scale: float) -> None:
    """The first full step lands where the model is NaN; the minimum is reached nevertheless."""
    x = np.linspace(0.5, 2.0, 40)
    y = (0.2 * x**2.9 + 0.001 * np.random.default_rng(15).normal(size=40)) * scale
    fit = xr_modelfit.fit(array(y, x), Walled(1.0 * scale, -2.0), "x")
    expected = by_scipy(lambda p: p[0] * x ** p[1] - y / scale, [0.2, 2.9])
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert_allclose([float(fit["a"]) / scale, float(fit["b"])], expected.x, rtol=1e-6)


def test_trap_11_only_a_start_is_nonfinite() -> None:
    """NaN at the start is `nonfinite_model`, and only there."""
    x = np.linspace(0.5, 2.0, 40)
    y = np.tile(0.2 * x**2.5, (3, 1))
    start = xr.DataArray([1.0, 4.0, 2.0], dims="fit")
    fit = xr_modelfit.fit(array(y, x, "fit"), Walled(1.0, 1.0), "x", p0={"b": start}, errors="ignore")
    assert_array_equal(fit["fit_status"], [FitStatus.CONVERGED, FitStatus.NONFINITE_MODEL, FitStatus.CONVERGED])


# ---------------------------------------------------------------- 12: dof 0, rank


@pytest.mark.parametrize("model", [Linear1D(0.0, 0.0), PowerLaw1D(1.0, 1.0, -0.5, fixed={"x_0": True})])
def test_trap_12_no_degrees_of_freedom(model: Model) -> None:
    """Two samples and two parameters: errors with sigma, none without."""
    x, y = np.array([1.0, 4.0]), np.array([2.0, 5.0])
    plain = xr_modelfit.fit(array(y, x), model, "x")
    absolute = xr_modelfit.fit(array(y, x), model, "x", sigma=0.3)
    for fit in (plain, absolute):
        assert int(fit["fit_status"]) == FitStatus.CONVERGED
        assert int(fit["dof"]) == 0
        assert np.isnan(float(fit["reduced_chi2"]))
    last = "slope" if isinstance(model, Linear1D) else "alpha"
    assert np.isnan(float(plain[f"{last}_stderr"]))
    if last == "slope":
        assert_allclose([float(plain["slope"]), float(plain["intercept"])], [1.0, 1.0], rtol=1e-13)
        expected = 0.3 * np.sqrt(2.0) / 3.0  # of a difference of two samples, 3 apart
    else:
        alpha = -np.log(2.5) / np.log(4.0)
        assert_allclose([float(plain["amplitude"]), float(plain["alpha"])], [2.0, alpha], rtol=1e-9)
        expected = 0.3 * np.hypot(1 / 2.0, 1 / 5.0) / np.log(4.0)  # propagated through the logarithms
    assert_allclose(float(absolute[f"{last}_stderr"]), expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-17, 1e17])
def test_trap_12_degenerate_whatever_the_size_of_the_errors(scale: float) -> None:
    """Amplitude and x_0 of a power law are one parameter; SEED row 11: no error from a pseudo-inverse."""
    x = np.linspace(1.0, 5.0, 40)
    y = (2.0 * x**-0.8 + 0.01 * np.random.default_rng(16).normal(size=40)) * scale
    fit = xr_modelfit.fit(array(y, x), PowerLaw1D(1.5 * scale, 1.2, 1.0), "x", errors="ignore", covariance=True)
    assert int(fit["fit_status"]) == FitStatus.DEGENERATE
    assert np.isnan(parameters(fit, PowerLaw1D(), "_stderr")).all()
    assert np.isnan(fit["covariance"]).all()


def test_trap_12_a_parameter_without_effect() -> None:
    """A line far from all samples has no place and no width; nor has one of height 0 in a constant."""
    y = 2.0 + 0.1 * np.random.default_rng(29).normal(size=X.size)
    away = Gaussian1D(1.0, 1e4, 1.0) + models.Const1D(1.0)
    fit = xr_modelfit.fit(array(y, X), away, "x", errors="ignore", keep_failed=True)
    assert int(fit["fit_status"]) == FitStatus.DEGENERATE
    assert_allclose(float(fit["amplitude_1"]), y.mean(), rtol=1e-12)  # what is determined is right
    none = Gaussian1D(0.0, 0.0, 1.0, fixed={"amplitude": True}) + models.Const1D(1.0)
    fit = xr_modelfit.fit(array(y, X), none, "x", errors="ignore")
    assert int(fit["fit_status"]) == FitStatus.DEGENERATE
    assert np.isnan(parameters(fit, none, "_stderr")).all()


# ---------------------------------------------------------------- 13: ties

TIES: dict[str, tuple[str, Callable[[Model], Any], Callable[[np.ndarray], float]]] = {
    "sum": ("mean_1", lambda m: m.mean_0 + 3.0, lambda p: p[1] + 3.0),
    "value": ("mean_1", lambda m: m.mean_0.value + 3.0, lambda p: p[1] + 3.0),
    "first element": ("stddev_1", lambda m: m.stddev_0[0] * 2, lambda p: p[2] * 2),
    "max": ("amplitude_1", lambda m: max(m.amplitude_0.value, 0.0), lambda p: max(p[0], 0.0)),
    "math.sqrt": ("stddev_1", lambda m: math.sqrt(m.stddev_0.value), lambda p: math.sqrt(p[2])),
    "if": (
        "amplitude_1",
        lambda m: 0.5 * m.amplitude_0.value if m.amplitude_0.value > 0 else 0.0,
        lambda p: 0.5 * p[0] if p[0] > 0 else 0.0,
    ),
    "numpy": ("stddev_1", lambda m: np.hypot(m.stddev_0, 0.5), lambda p: math.hypot(p[2], 0.5)),
    "a number": ("stddev_1", lambda m: 1.25, lambda p: 1.25),
    "float": ("mean_1", lambda m: float(m.mean_0.value) + 3.0, lambda p: p[1] + 3.0),
}


@pytest.mark.parametrize("name", TIES)
def test_trap_13_ties_that_do_not_broadcast(name: str) -> None:
    """SEED row 6 in the batch: every fit has its own tied value, and the tied part in its Jacobian."""
    target, tie, value = TIES[name]
    rng = np.random.default_rng(17)
    x = np.linspace(-5.0, 9.0, 90)
    model = Gaussian1D(1.5, 0.4, 1.1) + Gaussian1D(1.2, 3.2, 1.2)
    names = list(model.param_names)
    truths = rng.uniform([1.0, -1.0, 0.6] * 2, [2.0, 1.0, 1.4] * 2, (6, 6))
    truths[:, 4] += 3.0
    j = names.index(target)
    truths[:, j] = [value(t) for t in truths]
    y = np.stack([gaussian(x, *t[:3]) + gaussian(x, *t[3:]) for t in truths]) + 0.03 * rng.normal(size=(6, 90))
    getattr(model, target).tied = tie
    fit = xr_modelfit.fit(array(y, x, "fit"), model, "x")
    free = [i for i in range(6) if i != j]
    P, E = parameters(fit, model), parameters(fit, model, "_stderr")
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)
    assert_array_equal(fit["dof"], 90 - 5)
    for i in range(6):

        def full(q: np.ndarray) -> np.ndarray:
            p = np.insert(np.asarray(q, dtype=float), j, 0.0)
            p[j] = value(p)
            return p

        def residual(q: np.ndarray, i: int = i) -> np.ndarray:
            p = full(q)
            return gaussian(x, *p[:3]) + gaussian(x, *p[3:]) - y[i]

        expected = by_scipy(residual, truths[i][free])
        covariance = np.linalg.inv(expected.jac.T @ expected.jac) * 2 * expected.cost / 85
        errors = np.sqrt(np.diag(covariance))
        assert np.all(np.abs(P[i][free] - expected.x) < 1e-5 * errors)
        assert_allclose(P[i][j], value(P[i]), rtol=1e-13)  # the same sum in another order
        assert_allclose(E[i][free], errors, rtol=1e-5)  # differences of the authority
        slope = np.array([(full(expected.x + d)[j] - full(expected.x - d)[j]) / 2e-6 for d in np.eye(5) * 1e-6])
        assert_allclose(E[i][j], np.sqrt(slope @ covariance @ slope), rtol=1e-5, atol=1e-12)


def test_trap_13_seed_row_06() -> None:
    """Two lines tied 3 apart, and the same pair without a tie, written as one model."""
    x = np.linspace(0.0, 10.0, 60)
    y = gaussian(x, 3.0, 4.2, 0.8) + gaussian(x, 2.0, 7.2, 0.8) + 0.35 * np.random.default_rng(18).normal(size=60)
    model = Gaussian1D(2.0, 3.6, 1.0) + Gaussian1D(1.0, 6.6, 1.0)
    model.mean_1.tied = lambda m: m.mean_0 + 3.0
    fit = xr_modelfit.fit(array(y, x), model, "x")
    expected = by_scipy(
        lambda p: gaussian(x, p[0], p[1], p[2]) + gaussian(x, p[3], p[1] + 3.0, p[4]) - y, [2.0, 3.6, 1.0, 1.0, 1.0]
    )
    assert_allclose(float(fit["chi2"]), 2 * expected.cost, rtol=1e-10)
    assert_allclose(float(fit["mean_0"]), expected.x[1], rtol=1e-6)
    assert float(fit["mean_1"]) == float(fit["mean_0"]) + 3.0


def test_trap_13_a_tie_to_a_tied_parameter() -> None:
    """In the order against that of the parameters: mean_0 from mean_1 from mean_2."""
    x = np.linspace(-4.0, 12.0, 120)
    y = gaussian(x, 2.0, 0.1, 0.7) + gaussian(x, 1.5, 3.1, 0.7) + gaussian(x, 1.0, 6.1, 0.7)
    y = np.stack([y, np.roll(y, 2)]) + 0.02 * np.random.default_rng(19).normal(size=(2, 120))
    model = Gaussian1D(1.8, 0.0, 0.8) + Gaussian1D(1.8, 3.0, 0.8) + Gaussian1D(1.8, 6.0, 0.8)
    model.mean_0.tied = lambda m: m.mean_1 - 3.0
    model.mean_1.tied = lambda m: m.mean_2 - 3.0
    for width in ("stddev_1", "stddev_2"):
        getattr(model, width).tied = lambda m: m.stddev_0
    fit = xr_modelfit.fit(array(y, x, "fit"), model, "x")
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)
    for i in range(2):

        def residual(p: np.ndarray, i: int = i) -> np.ndarray:
            lines = (gaussian(x, a, p[3] - s, p[4]) for a, s in zip(p[:3], (6.0, 3.0, 0.0), strict=True))
            return sum(lines) - y[i]

        expected = by_scipy(residual, [1.8, 1.8, 1.8, 6.0, 0.8])
        assert_allclose(float(fit["chi2"][i]), 2 * expected.cost, rtol=1e-10)
        found = [float(fit[n][i]) for n in ("amplitude_0", "amplitude_1", "amplitude_2", "mean_2", "stddev_0")]
        assert_allclose(found, expected.x, rtol=1e-6)
        assert_allclose(float(fit["mean_0"][i]), found[3] - 6.0, rtol=0, atol=1e-14)
        error = float(fit["mean_2_stderr"][i])
        assert_allclose([float(fit["mean_0_stderr"][i]), float(fit["mean_1_stderr"][i])], error, rtol=1e-8)


def test_trap_13_bounds_on_a_tied_parameter_are_ignored() -> None:
    """As astropy has it."""
    x = np.linspace(-5.0, 9.0, 90)
    y = gaussian(x, 2.0, 0.2, 1.0) + gaussian(x, 1.0, 3.2, 1.0) + 0.02 * np.random.default_rng(20).normal(size=90)
    model = Gaussian1D(1.5, 0.0, 1.1) + Gaussian1D(1.2, 3.2, 1.2, bounds={"mean": (0.0, 1.0)})
    model.mean_1.tied = lambda m: m.mean_0 + 3.0
    fit = xr_modelfit.fit(array(y, x), model, "x")
    expected = by_scipy(
        lambda p: gaussian(x, p[0], p[1], p[2]) + gaussian(x, p[3], p[1] + 3.0, p[4]) - y, [1.5, 0.0, 1.1, 1.2, 1.2]
    )
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    assert_allclose(float(fit["chi2"]), 2 * expected.cost, rtol=1e-10)


# ---------------------------------------------------------------- 14: fit_deriv


class _Peak(Fittable1DModel):
    amplitude = Parameter(default=1.0)
    mean = Parameter(default=0.0)
    stddev = Parameter(default=1.0)

    @staticmethod
    def evaluate(x: Any, amplitude: Any, mean: Any, stddev: Any) -> Any:
        return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def _right(x: Any, amplitude: Any, mean: Any, stddev: Any) -> list[Any]:
    f = np.exp(-0.5 * ((x - mean) / stddev) ** 2)
    return [f, amplitude * f * (x - mean) / stddev**2, amplitude * f * (x - mean) ** 2 / stddev**3]


WRONG: dict[str, Callable[..., Any]] = {
    "right": _right,
    "a factor": lambda x, a, m, s: [c * k for c, k in zip(_right(x, a, m, s), (1.0, 1.0, 2.0), strict=True)],
    "a sign": lambda x, a, m, s: [c * k for c, k in zip(_right(x, a, m, s), (1.0, -1.0, 1.0), strict=True)],
    "swapped": lambda x, a, m, s: _right(x, a, m, s)[::-1],
    "a column short": lambda x, a, m, s: _right(x, a, m, s)[:2],
    "a column over": lambda x, a, m, s: [*_right(x, a, m, s), _right(x, a, m, s)[0]],
    "transposed": lambda x, a, m, s: np.asarray(_right(x, a, m, s)).T,
    "raveled": lambda x, a, m, s: [np.ravel(c) for c in _right(x, a, m, s)],
    "raising": lambda x, a, m, s: 1 / 0,
    "NaN": lambda x, a, m, s: [c * np.nan for c in _right(x, a, m, s)],
    "zero": lambda x, a, m, s: [c * 0.0 for c in _right(x, a, m, s)],
    "right at the first sample only": lambda x, a, m, s: [np.full_like(c, c.flat[0]) for c in _right(x, a, m, s)],
    "right for one row": lambda x, a, m, s: [c if np.size(a) == 1 else c * 3.0 for c in _right(x, a, m, s)],
}


@pytest.mark.parametrize("name", WRONG)
def test_trap_14_wrong_derivatives_change_no_answer(name: str) -> None:
    Model_ = type("Peak", (_Peak,), {"fit_deriv": staticmethod(WRONG[name])})
    y = noisy_peaks(4, seed=21)
    fit = xr_modelfit.fit(array(y, X, "fit"), Model_(1.5, 0.2, 1.0), "x")
    for i in range(4):
        expected = by_scipy(lambda p, i=i: gaussian(X, *p) - y[i], [1.5, 0.2, 1.0])
        covariance = np.linalg.inv(expected.jac.T @ expected.jac) * 2 * expected.cost / (X.size - 3)
        errors = np.sqrt(np.diag(covariance))
        assert np.all(np.abs(parameters(fit, _Peak())[i] - expected.x) < 1e-6 * errors)
        assert_allclose(parameters(fit, _Peak(), "_stderr")[i], errors, rtol=1e-6)


@pytest.mark.parametrize("kind", ["Polynomial1D", "Chebyshev1D", "Legendre1D", "Hermite1D"])
def test_trap_14_seed_row_04_domain_in_a_nonlinear_compound(kind: str) -> None:
    """A baseline with a domain under a line: its derivatives are mapped, and evaluation is exact."""
    x = np.linspace(1000.0, 1200.0, 101)
    base = getattr(models, kind)(2, domain=(1000.0, 1200.0))
    base.parameters = [1.0, 0.5, -0.3]
    y = np.asarray(base(x)) + gaussian(x, 2.0, 1090.0, 9.0) + 0.05 * np.random.default_rng(22).normal(size=101)
    start = getattr(models, kind)(2, domain=(1000.0, 1200.0)) + Gaussian1D(1.5, 1100.0, 12.0)
    fit = xr_modelfit.fit(array(y, x), start, "x")
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    u = (x - 1100.0) / 100.0
    columns = {
        "Polynomial1D": [np.ones(101), u, u**2],
        "Chebyshev1D": [np.ones(101), u, 2 * u**2 - 1],
        "Legendre1D": [np.ones(101), u, 1.5 * u**2 - 0.5],
        "Hermite1D": [np.ones(101), 2 * u, 4 * u**2 - 2],
    }[kind]
    A = np.stack(columns, axis=1)
    expected = by_scipy(lambda p: A @ p[:3] + gaussian(x, *p[3:]) - y, [1.0, 0.5, -0.3, 2.0, 1090.0, 9.0])
    assert_allclose(float(fit["chi2"]), 2 * expected.cost, rtol=1e-11)
    assert_allclose(parameters(fit, start), expected.x, rtol=1e-6)
    values = fit.modelfit.evaluate(array(y, x))
    assert_allclose(values, A @ expected.x[:3] + gaussian(x, *expected.x[3:]), rtol=0, atol=1e-7)


# ---------------------------------------------------------------- 15: layouts


@pytest.mark.parametrize("model", [Gaussian1D(1.5, 0.2, 1.0), models.Polynomial1D(5), _Peak(1.5, 0.2, 1.0)])
def test_trap_15_layout_and_type_of_the_array(model: Model) -> None:
    """Transposed and strided views, big-endian and read-only arrays: the same bits."""
    y = noisy_peaks(9, seed=23)
    reference = xr_modelfit.fit(array(y, X, "fit"), model, "x")
    spaced = np.zeros((18, 2 * X.size))
    spaced[::2, ::2] = y
    frozen = y.copy()
    frozen.flags.writeable = False
    layouts: list[xr.DataArray] = [
        xr.DataArray(np.asfortranarray(y), dims=("fit", "x"), coords={"x": X}),
        xr.DataArray(np.ascontiguousarray(y.T), dims=("x", "fit"), coords={"x": X}),
        xr.DataArray(spaced[::2, ::2], dims=("fit", "x"), coords={"x": X}),
        xr.DataArray(y.astype(">f8"), dims=("fit", "x"), coords={"x": X}),
        xr.DataArray(frozen, dims=("fit", "x"), coords={"x": X}),
        xr.DataArray(y[::-1], dims=("fit", "x"), coords={"x": X}).isel(fit=slice(None, None, -1)),
    ]
    for data in layouts:
        fit = xr_modelfit.fit(data, model, "x")
        assert_array_equal(parameters(fit, model), parameters(reference, model))
        assert_array_equal(parameters(fit, model, "_stderr"), parameters(reference, model, "_stderr"))


# ---------------------------------------------------------------- 30: threads


def test_trap_30_threads_and_small_blocks_change_no_bit() -> None:
    model = Gaussian1D(1.5, 0.2, 1.0) + models.Polynomial1D(1)
    model.mean_0.tied = lambda m: 0.1 * m.amplitude_0
    data = array(noisy_peaks(60, seed=24), X, "fit")
    reference = xr_modelfit.fit(data, model, "x", scheduler="synchronous")
    for size in (1, 7, 60):
        fit = xr_modelfit.fit(data, model, "x", scheduler="threads", fits_per_chunk=size)
        assert_array_equal(parameters(fit, model), parameters(reference, model))
        assert_array_equal(fit["n_iter"], reference["n_iter"])


# ---------------------------------------------------------------- SEED part 2, rows 7 and 11


@pytest.mark.parametrize("size", [6, 15])
def test_seed_row_07_errors_of_an_image(size: int) -> None:
    """dof = valid samples - free parameters, on an image as on a line."""
    u = np.arange(size) - size / 2.0
    A, B = np.meshgrid(u, u, indexing="ij")
    truth = (2.0, 0.3, -0.2, 1.4, 1.9)
    rng = np.random.default_rng(25)
    image = truth[0] * np.exp(-0.5 * (((A - 0.3) / 1.4) ** 2 + ((B + 0.2) / 1.9) ** 2)) + 0.05 * rng.normal(
        size=A.shape
    )
    image[1, 2] = np.nan
    used = np.isfinite(image)
    data = xr.DataArray(image, dims=("x", "y"), coords={"x": u, "y": u})
    model = models.Gaussian2D(1.7, 0.0, 0.0, 1.5, 1.7, fixed={"theta": True})
    fit = xr_modelfit.fit(data, model, ("y", "x"))

    def residual(p: np.ndarray) -> np.ndarray:
        f = p[0] * np.exp(-0.5 * (((A - p[1]) / p[3]) ** 2 + ((B - p[2]) / p[4]) ** 2))
        return (f - image)[used]

    expected = by_scipy(residual, truth)
    dof = size * size - 1 - 5
    covariance = np.linalg.inv(expected.jac.T @ expected.jac) * 2 * expected.cost / dof
    assert int(fit["dof"]) == dof
    assert_allclose(parameters(fit, model)[:5], expected.x, rtol=1e-6)
    assert_allclose(parameters(fit, model, "_stderr")[:5], np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_seed_row_11_the_same_column_twice() -> None:
    model = Linear1D(1.0, 0.0) + Linear1D(0.5, 0.0)
    y = 3.0 * X + 1.0 + 0.1 * np.random.default_rng(26).normal(size=X.size)
    fit = xr_modelfit.fit(array(y, X), model, "x", errors="ignore", keep_failed=True)
    assert int(fit["fit_status"]) == FitStatus.DEGENERATE
    assert np.isnan(parameters(fit, model, "_stderr")).all()
    slope, intercept = np.polynomial.polynomial.polyfit(X, y, 1)[::-1]
    # What is determined, the sums, is right nevertheless; so is chi-square.
    assert_allclose(float(fit["slope_0"] + fit["slope_1"]), slope, rtol=1e-8)
    assert_allclose(float(fit["chi2"]), np.sum((y - slope * X - intercept) ** 2), rtol=1e-8)


# ---------------------------------------------------------------- every model of astropy


@dataclass(frozen=True)
class Case:
    """True model, parameters held, range of its coordinates."""

    model: Model
    fixed: tuple[str, ...] = ()
    x: tuple[float, float] = (-3.0, 4.0)


def _with(model: Model, *values: float) -> Model:
    model.parameters = values
    return model


CASES = [
    Case(models.AiryDisk2D(2.0, 0.1, 0.2, 3.0)),
    Case(models.ArcCosine1D(5.0, 0.1, 0.02)),
    Case(models.ArcSine1D(5.0, 0.1, 0.02)),
    Case(models.ArcTangent1D(3.0, 0.5, 0.1)),
    Case(models.Box1D(2.0, 0.1, 3.0), ("x_0", "width")),
    Case(models.Box2D(2.0, 0.1, 0.2, 2.5, 3.0), ("x_0", "y_0", "x_width", "y_width")),
    Case(models.BrokenPowerLaw1D(2.0, 3.1, 0.5, 2.0), (), (1.0, 6.0)),
    Case(_with(models.Chebyshev1D(2, **D1), 1.0, 2.0, -0.5)),
    Case(_with(models.Chebyshev2D(1, 1, **D2), 1.0, 2.0, -0.5, 0.3)),
    Case(models.Const1D(3.0)),
    Case(models.Const2D(3.0)),
    Case(models.Cosine1D(2.0, 0.3, 0.1)),
    Case(models.Disk2D(2.0, 0.1, 0.2, 2.0), ("x_0", "y_0", "R_0")),
    Case(models.Drude1D(2.0, 3.0, 1.5), (), (1.0, 6.0)),
    Case(models.Ellipse2D(2.0, 0.1, 0.2, 2.5, 1.5, 0.3), ("x_0", "y_0", "a", "b", "theta")),
    Case(models.Exponential1D(2.0, 3.0)),
    Case(models.ExponentialCutoffPowerLaw1D(2.0, 1.0, 0.7, 4.0), ("x_0",), (0.5, 6.0)),
    Case(models.Gaussian1D(2.0, 0.3, 1.0)),
    Case(models.Gaussian2D(2.0, 0.3, 0.2, 1.0, 1.7, theta=0.4)),
    Case(models.GeneralSersic2D(2.0, 2.0, 1.5, 0.21, 0.13, 0.3, 0.4, 0.2)),
    Case(_with(models.Hermite1D(2, **D1), 1.0, 2.0, -0.5)),
    Case(_with(models.Hermite2D(1, 1, **D2), 1.0, 2.0, -0.5, 0.3)),
    Case(models.KingProjectedAnalytic1D(2.0, 1.0, 8.0), (), (0.1, 6.0)),
    Case(_with(models.Legendre1D(2, **D1), 1.0, 2.0, -0.5)),
    Case(_with(models.Legendre2D(1, 1, **D2), 1.0, 2.0, -0.5, 0.3)),
    Case(models.Linear1D(2.0, 1.0)),
    Case(models.LogParabola1D(2.0, 1.0, 0.7, 0.3), ("x_0",), (0.5, 6.0)),
    Case(models.Logarithmic1D(2.0, 3.0), (), (0.5, 6.0)),
    Case(models.Lorentz1D(2.0, 0.3, 1.5)),
    Case(models.Moffat1D(2.0, 0.3, 1.5, 2.0)),
    Case(models.Moffat2D(2.0, 0.3, 0.2, 1.5, 2.0)),
    Case(models.Multiply(2.0)),
    Case(models.Planar2D(1.0, 2.0, 3.0)),
    Case(models.Plummer1D(20.0, 1.5), (), (0.1, 6.0)),
    Case(_with(models.Polynomial1D(2, **D1), 1.0, 2.0, -0.5)),
    Case(_with(models.Polynomial2D(1, **D2), 1.0, 2.0, -0.5)),
    Case(models.PowerLaw1D(2.0, 1.0, 0.7), ("x_0",), (0.5, 6.0)),
    Case(models.RedshiftScaleFactor(0.3)),
    Case(models.RickerWavelet1D(2.0, 0.3, 1.0)),
    Case(models.RickerWavelet2D(2.0, 0.3, 0.2, 1.2)),
    Case(models.Ring2D(2.0, 0.1, 0.2, r_in=1.0, width=1.5), ("x_0", "y_0", "r_in", "width")),
    Case(models.Scale(2.0)),
    Case(models.Schechter1D(2.0, -20.0, -1.2), (), (-23.0, -15.0)),
    Case(models.Sersic1D(2.0, 2.0, 1.5), (), (0.1, 6.0)),
    Case(models.Sersic2D(2.0, 2.0, 1.5, 0.21, 0.13, 0.3, 0.4)),
    Case(models.Shift(2.0)),
    Case(models.Sine1D(2.0, 0.3, 0.1)),
    Case(models.SmoothlyBrokenPowerLaw1D(2.0, 2.5, -1.0, 1.5, 0.3), (), (0.5, 8.0)),
    Case(models.Tangent1D(2.0, 0.05, 0.01)),
    Case(models.Trapezoid1D(2.0, 0.1, 2.0, 1.1)),
    Case(models.TrapezoidDisk2D(2.0, 0.1, 0.2, 1.5, 1.1)),
    Case(models.Voigt1D(0.3, 2.0, 1.0, 1.2)),
]
if hasattr(models, "Lorentz2D"):  # astropy 7.1 and later
    CASES.append(Case(models.Lorentz2D(2.0, 0.3, 0.2, 2.0)))
EXCLUDED = {
    "BlackBody": "its parameters are quantities",
    "NFW": "its parameters are quantities, and it integrates a cosmology",
    "Spline1D": "its coefficients are no parameters before it is fitted in its own way",
    "OrthoPolynomialBase": "the base class of Chebyshev2D, Legendre2D and Hermite2D",
}
KINKS = {"TrapezoidDisk2D", "Trapezoid1D", "BrokenPowerLaw1D"}  # minima on either side of a sample


def test_every_model_of_astropy_is_tried() -> None:
    """Models of one output and one or two inputs are all in the table, or left out for a reason."""
    known = {type(case.model).__name__ for case in CASES} | set(EXCLUDED)
    for cls in vars(models).values():
        if not (inspect.isclass(cls) and issubclass(cls, FittableModel)) or inspect.isabstract(cls):
            continue
        if cls.n_outputs == 1 and cls.n_inputs in (1, 2):
            assert cls.__name__ in known, cls.__name__


def _coordinates(case: Case) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    if case.model.n_inputs == 1:
        x = np.linspace(*case.x, 61) + 0.003
        return [x], {"x": x}
    x, y = np.linspace(*case.x, 17) + 0.003, np.linspace(*case.x, 15) - 0.004
    return list(np.meshgrid(x, y, indexing="ij")), {"x": x, "y": y}


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.model).__name__)
def test_every_model_of_astropy(case: Case) -> None:
    """From a start 4 % off: exact on its own values, and what least_squares finds on noisy ones."""
    model, name = case.model, type(case.model).__name__
    at, coords = _coordinates(case)
    truth = np.array(model.parameters)
    names = model.param_names
    start = model.copy()
    for fixed in case.fixed:
        getattr(start, fixed).fixed = True
    free = np.array([not start.fixed[n] for n in names])
    start.parameters = np.where(free, 1.04 * truth, truth)

    def values(p: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.asarray(model.evaluate(*(a.copy() for a in at), *p), dtype=float), at[0].shape)

    exact = values(truth)
    size = np.max(np.abs(exact))
    noise = np.random.default_rng(5).normal(size=exact.shape)
    y = np.stack([exact, exact + 0.02 * size * noise, exact + 1e-3 * size * noise])
    data = xr.DataArray(y, dims=("fit", *coords), coords=coords)
    fit = xr_modelfit.fit(data, start, list(coords), errors="ignore")
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)
    P = parameters(fit, model)
    # Noise-free: rounding of the data times the condition of the Jacobian (1e4 for Sersic's index).
    assert_allclose(P[0], truth, rtol=1e-10)
    bounds = np.array([[-np.inf if b is None else b for b in model.bounds[n]] for n in names])
    bounds[:, 1] = [np.inf if model.bounds[n][1] is None else model.bounds[n][1] for n in names]
    for i in (1, 2):

        def residual(q: np.ndarray, i: int = i) -> np.ndarray:
            p = truth.copy()
            p[free] = q
            return (values(p) - y[i]).ravel()

        chi2 = np.sum(residual(P[i][free]) ** 2)
        assert_allclose(float(fit["chi2"][i]), chi2, rtol=1e-10)
        for first in (start.parameters[free], P[i][free]):
            if name in KINKS and first is not P[i][free] and not np.array_equal(first, P[i][free]):
                continue
            box = tuple(bounds[free].T)
            expected = by_scipy(residual, first, bounds=box, x_scale=np.maximum(np.abs(truth[free]), 1e-3))
            assert chi2 <= 2 * expected.cost * (1 + 1e-8)
            assert chi2 >= 2 * expected.cost * (1 - 1e-6)  # scipy may stop a little early, not in another valley


@pytest.mark.parametrize("name", ["Gaussian1D", "Voigt1D", "Gaussian2D"])
def test_models_agree_with_astropys_trf(name: str) -> None:
    """The same call with TRFLSQFitter."""
    case = next(c for c in CASES if type(c.model).__name__ == name)
    at, coords = _coordinates(case)
    exact = np.asarray(case.model(*at))
    y = exact + 0.03 * np.random.default_rng(6).normal(size=(2, *exact.shape))
    data = xr.DataArray(y, dims=("fit", *coords), coords=coords)
    start = case.model.copy()
    start.parameters = 1.04 * start.parameters
    ours = xr_modelfit.fit(data, start, list(coords))
    theirs = xr_modelfit.fit(data, start, list(coords), fitter=TRFLSQFitter(), scheduler="synchronous")
    for parameter in start.param_names:
        off = np.abs(ours[parameter] - theirs[parameter]) / theirs[f"{parameter}_stderr"]
        assert float(off.max()) < 1e-3  # TRF stops at 1e-8 of its cost
    assert np.all(ours["chi2"] <= theirs["chi2"] * (1 + 1e-10))


# ---------------------------------------------------------------- models that do not broadcast


class Cached(Fittable1DModel):
    """Keeps what it computed for the last samples, as Voigt1D does, and takes scalars only."""

    height = Parameter(default=1.0)
    rate = Parameter(default=1.0)
    _last: Any = None

    def evaluate(self, x: Any, height: Any, rate: Any) -> Any:
        key = (np.asarray(x).tobytes(), float(np.squeeze(rate)))
        if self._last is None or self._last[0] != key:
            self._last = (key, np.array([math.exp(-float(np.squeeze(rate)) * v) for v in np.ravel(x)]))
        return np.squeeze(height) * self._last[1].reshape(np.shape(x))


class Careless(Fittable1DModel):
    """Writes into its input."""

    height = Parameter(default=1.0)
    rate = Parameter(default=1.0)

    @staticmethod
    def evaluate(x: Any, height: Any, rate: Any) -> Any:
        x -= 1.0
        return height * np.exp(-rate * (x + 1.0))


class Flat(Fittable1DModel):
    """Flattens its input and loops over it."""

    height = Parameter(default=1.0)
    rate = Parameter(default=1.0)

    @staticmethod
    def evaluate(x: Any, height: Any, rate: Any) -> Any:
        return np.array([float(np.squeeze(height)) * math.exp(-float(np.squeeze(rate)) * v) for v in np.ravel(x)])


class Branching(Fittable1DModel):
    """Branches on a parameter."""

    height = Parameter(default=1.0)
    rate = Parameter(default=1.0)

    @staticmethod
    def evaluate(x: Any, height: Any, rate: Any) -> Any:
        if rate < 0:
            return height * np.exp(rate * x)
        return height * np.exp(-rate * x)


@pytest.mark.parametrize("how", ["alone", "sum", "gaps", "own coordinates"])
@pytest.mark.parametrize("cls", [Cached, Careless, Flat, Branching])
def test_models_that_do_not_broadcast(cls: Any, how: str) -> None:
    rng = np.random.default_rng(27)
    x = np.linspace(0.0, 4.0, 30)
    truths = np.array([[2.0, 0.5], [1.0, 1.0], [3.0, 1.5]])
    offset = 1.0 if how == "sum" else 0.0
    y = truths[:, :1] * np.exp(-truths[:, 1:] * x) + offset + 0.01 * rng.normal(size=(3, 30))
    y[:, 5] = np.nan if how == "gaps" else y[:, 5]
    model = cls(1.5, 0.8) + models.Const1D(0.8) if how == "sum" else cls(1.5, 0.8)
    data = array(y, x, "fit")
    keywords = {}
    if how == "own coordinates":
        keywords["coords"] = {"x": (data["x"] + 0.0 * data).drop_vars("x").transpose("fit", "x")}
    x_before, y_before = data["x"].values.copy(), data.values.copy()
    fit = xr_modelfit.fit(data, model, "x", **keywords)
    assert_array_equal(fit["fit_status"], FitStatus.CONVERGED)
    assert_array_equal(data["x"], x_before)
    assert_array_equal(data, y_before)
    for i in range(3):
        used = np.isfinite(y[i])
        extra = [0.8] if how == "sum" else []

        def residual(p: np.ndarray, i: int = i, used: np.ndarray = used) -> np.ndarray:
            return (p[0] * np.exp(-p[1] * x) + sum(p[2:]) - y[i])[used]

        expected = by_scipy(residual, [1.5, 0.8, *extra])
        assert_allclose(parameters(fit, model)[i], expected.x, rtol=1e-5)
        assert_allclose(float(fit["chi2"][i]), 2 * expected.cost, rtol=1e-9)


# ---------------------------------------------------------------- three inputs


def plane(x: Any, y: Any, z: Any, a: float = 1.0, b: float = 1.0, c: float = 1.0, d: float = 0.0) -> Any:
    return a * x + b * y + c * z + d


def blob(x: Any, y: Any, z: Any, a: float = 1.0, b: float = 0.0, c: float = 1.0) -> Any:
    return a * np.exp(-((x - b) ** 2 + (y - b) ** 2 + z**2) / c**2)


@pytest.mark.parametrize("pooled", [False, True])
def test_three_inputs(pooled: bool) -> None:
    """A cube, and scattered samples with three coordinates."""
    rng = np.random.default_rng(28)
    axes = [np.linspace(-1.0, 1.0, n) for n in (5, 6, 7)]
    X3 = np.meshgrid(*axes, indexing="ij")
    flat = [a.ravel() for a in X3]
    y = np.stack([plane(*X3, 1.0, -2.0, 3.0, 0.5), plane(*X3, 0.0, 1.0, 1.0, 2.0)]) + 0.1 * rng.normal(
        size=(2, 5, 6, 7)
    )
    z = np.stack([blob(*X3, 2.0, 0.2, 0.8)] * 2) + 0.02 * rng.normal(size=(2, 5, 6, 7))

    def labelled(values: np.ndarray) -> xr.DataArray:
        if not pooled:
            return xr.DataArray(values, dims=("fit", "x", "y", "z"), coords=dict(zip("xyz", axes, strict=True)))
        coords = {n: ("sample", a) for n, a in zip("xyz", flat, strict=True)}
        return xr.DataArray(values.reshape(2, -1), dims=("fit", "sample"), coords=coords)

    dims = ("sample",) if pooled else ("z", "x", "y")
    coords = {"x0": "x", "x1": "y", "x2": "z"}
    linear = xr_modelfit.fit(labelled(y), custom_model(plane)(), dims, coords=coords)
    A = np.stack([*flat, np.ones(210)], axis=1)
    for i in range(2):
        expected = np.linalg.lstsq(A, y[i].ravel(), rcond=None)[0]
        assert_allclose([float(linear[n][i]) for n in "abcd"], expected, rtol=1e-11, atol=1e-13)
    assert_array_equal(linear["n_iter"], 1)
    curved = xr_modelfit.fit(labelled(z), custom_model(blob)(1.5, 0.1, 1.0), dims, coords=coords)
    for i in range(2):
        best = by_scipy(lambda p, i=i: blob(*flat, *p) - z[i].ravel(), [1.5, 0.1, 1.0])
        assert_allclose([float(curved[n][i]) for n in "abc"], best.x, rtol=1e-6)
