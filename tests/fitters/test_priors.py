"""Priors as arrays of a block, by both engines: against the closed form and scipy."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Polynomial1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares, minimize
from scipy.stats import poisson

from xr_modelfit import BatchLSQFitter, FitStatus
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.fitters.block import fit_block
from xr_modelfit.fitters.block_task import BlockTask, Layout, Role
from xr_modelfit.fitters.compiled.choice import compiled_source
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.models.problem import Problem

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 60)
TRUTH = np.array([10.0, 0.5, 2.0, 1.0])


def line() -> Model:
    return Gaussian1D(8, 0.0, 2.2) + Const1D(1.0)


def noisy(b: int, seed: int = 0, sigma: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    model = line()
    model.parameters = TRUTH
    return model(X) + sigma * rng.normal(size=(b, X.size))


def task_of(model: Model, roles: list[Role], engine: str = "numpy", fitter: Any = None, **options: Any) -> BlockTask:
    names = tuple(model.param_names)
    low, high = (
        np.array([given if (given := model.bounds[name][side]) is not None else none for name in names], dtype=float)
        for side, none in ((0, -np.inf), (1, np.inf))
    )
    fixed, ties = np.array([model.fixed[name] for name in names]), tuple(model.tied[name] or None for name in names)
    problem = find_traits(Problem(model, names, np.array(model.parameters), low, high, fixed, ties), [X])
    if engine == "numba":
        pytest.importorskip("numba", reason="the compiled engine")
        problem = replace(problem, source=compiled_source(problem, [X], "numba", 100, X.size))
    layout = Layout(problem.n_parameters, covariance=True, priors=True)
    given = {"absolute": True, "keep_failed": True, "n_fitted_dims": 1} | options
    return BlockTask(problem, fitter or BatchLSQFitter(engine=engine), layout, tuple(roles), **given)


def fitted(
    model: Model, y: np.ndarray, priors: dict[int, tuple[Any, Any]], engine: str = "numpy", **options: Any
) -> dict[str, np.ndarray]:
    """The fields of the packed array, (b, ...); ``priors``: mean and deviation by the parameter's number."""
    roles, arrays = [Role("data"), Role("input", "x")], [y, X]
    for j, pair in priors.items():
        roles += [Role("prior_mean", j), Role("prior_deviation", j)]
        arrays += [np.asarray(one, dtype=float) for one in pair]
    task = task_of(model, roles, engine, **options)
    packed = fit_block(*arrays, task=task)
    return {name: packed[:, part] if part.stop - part.start > 1 else packed[:, part][:, 0]
            for name, part in task.layout.fields.items()}  # fmt: skip


def by_scipy(model: Model, y: np.ndarray, mean: np.ndarray, deviation: np.ndarray, sigma: float = 1.0) -> Any:
    """Least squares with a pseudo-residual for each prior, by the model alone."""
    one = model.copy()

    def residual(p: np.ndarray) -> np.ndarray:
        one.parameters = p
        return np.concatenate([(one(X) - y) / sigma, (p - mean) / deviation])

    return least_squares(residual, model.parameters, xtol=1e-15, ftol=1e-15, gtol=1e-15, jac="3-point")


def closed_form(A: np.ndarray, y: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (k,) and their covariance (k, k), exact before they are rounded."""
    A, y, mean, deviation = (np.vectorize(Fraction, otypes=[object])(a) for a in (A, y, mean, deviation))
    k = len(mean)
    rows = np.concatenate([A.T @ A + np.diag(1 / deviation**2), np.diag([Fraction(1)] * k)], axis=1)
    for j in range(k):  # Gauss and Jordan; no pivots of a positive definite matrix vanish
        rows[j] = rows[j] / rows[j, j]
        for i in set(range(k)) - {j}:
            rows[i] = rows[i] - rows[i, j] * rows[j]
    C = rows[:, k:]
    return (C @ (A.T @ y + mean / deviation**2)).astype(float), C.astype(float)


@pytest.mark.parametrize("model", [Linear1D(0.0, 0.0), Polynomial1D(3)], ids=["line", "cubic"])
@pytest.mark.parametrize(("gaps", "strongest"), [(0.0, -3), (0.3, -3), (0.3, -8)], ids=["all", "gaps", "strong"])
def test_linear_problems_have_a_closed_form(model: Model, gaps: float, strongest: int) -> None:
    """``(A'A + T)^-1 (A'y + T m)`` in fractions, to 1e-10 of an error; priors differ from fit to fit."""
    rng = np.random.default_rng(1)
    b, k = 30, len(model.parameters)
    A, one = np.empty((X.size, k)), model.copy()
    for j in range(k):
        one.parameters = np.eye(k)[j]
        A[:, j] = one(X)
    y = (A @ rng.normal(size=(k, b))).T + rng.normal(size=(b, X.size))
    y[rng.random(y.shape) < gaps] = np.nan
    mean, deviation = rng.normal(size=(b, k)), 10.0 ** rng.uniform(strongest, 1, (b, k))
    found = fitted(model, y, {j: (mean[:, j], deviation[:, j]) for j in range(k)})
    assert_array_equal(found["fit_status"], 1)
    for i in range(b):
        there = np.isfinite(y[i])
        B, data = A[there], y[i, there]
        right, C = closed_form(B, data, mean[i], deviation[i])
        errors = np.sqrt(np.diag(C))
        # An error of 1e-8 of a parameter of 1: rounding alone is 1e-8 of an error.
        assert np.max(np.abs(found["parameters"][i] - right) / errors) < (1e-10 if strongest > -8 else 3e-8)
        assert_allclose(found["covariance"][i].reshape(k, k), C, rtol=1e-9, atol=1e-12 * np.abs(C).max())
        assert_allclose(found["chi2"][i], np.sum((data - B @ right) ** 2), rtol=1e-10 if strongest > -8 else 1e-6)
        prior = np.sum(((right - mean[i]) / deviation[i]) ** 2)
        assert_allclose(found["chi2_prior"][i], prior, rtol=1e-7 if strongest > -8 else 1e-5)
    n_points = np.count_nonzero(np.isfinite(y), axis=1)
    assert_array_equal(found["n_points"], n_points)
    assert_array_equal(found["dof"], n_points - k)


@pytest.mark.parametrize("engine", ENGINES)
def test_nonlinear_problems_have_pseudo_residuals(engine: str) -> None:
    rng = np.random.default_rng(2)
    y = noisy(100, 3)
    mean, deviation = TRUTH + 0.1 * rng.normal(size=(100, 4)), 10.0 ** rng.uniform(-2, 1, (100, 4))
    deviation[:, 3] = np.inf
    priors = {0: (mean[:, 0], deviation[:, 0]), 1: (0.4, 0.05), 2: (mean[:, 2], deviation[:, 2])}
    mean[:, 1], deviation[:, 1] = 0.4, 0.05
    found = fitted(line(), y, priors, engine)
    assert_array_equal(found["fit_status"], 1)
    for i in range(100):
        right = by_scipy(line(), y[i], mean[i], deviation[i])
        errors = np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac)))
        assert np.max(np.abs(found["parameters"][i] - right.x) / errors) < 1e-6
        assert_allclose(found["stderr"][i], errors, rtol=1e-5)
        assert_allclose(found["chi2"][i] + found["chi2_prior"][i], 2 * right.cost, rtol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_prior_is_none(engine: str) -> None:
    """NaN in a map, or an infinite deviation, is no prior at that position; the others do not mind."""
    y = noisy(6, 4)
    plain = fitted(line(), y, {}, engine)
    mean, deviation = np.array([2.0, np.nan, 2.0, 2.0, 2.0, 2.0]), np.array([0.1, 0.1, np.nan, np.inf, 0.1, 0.1])
    found = fitted(line(), y, {2: (mean, deviation)}, engine)
    for i in (1, 2, 3):
        assert_allclose(found["parameters"][i], plain["parameters"][i], rtol=1e-6, atol=1e-6)
        assert found["chi2_prior"][i] == 0.0
    alone = fitted(line(), y[4:], {2: (2.0, 0.1)}, engine)
    assert_array_equal(alone["parameters"], found["parameters"][4:])
    assert_array_equal(alone["covariance"], found["covariance"][4:])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_prior_makes_up_for_samples(engine: str) -> None:
    """Two samples and priors on all four parameters: there is a posterior. A model that shows nothing has the prior."""
    y = noisy(3, 5)
    y[0, 2:] = np.nan
    y[0, :2] = 1.1, 0.9
    priors = {0: (10.0, 0.5), 1: (0.5, 0.2), 2: (2.0, 0.3), 3: (1.0, 0.4)}
    found = fitted(line(), y, priors, engine)
    assert_array_equal(found["fit_status"], 1)
    assert found["n_points"][0] == 2
    assert found["dof"][0] == -2
    assert_allclose(found["parameters"][0, :3], [10.0, 0.5, 2.0], atol=1e-5)
    assert_allclose(found["stderr"][0], [0.5, 0.2, 0.3, 1 / np.sqrt(2 + 1 / 0.16)], rtol=1e-4)
    none = fitted(line(), y, {}, engine)
    assert none["fit_status"][0] == FitStatus.TOO_FEW_POINTS


def test_bounds_hold_against_priors() -> None:
    model = line()
    model.stddev_0.bounds, model.stddev_0.value = (2.5, 5.0), 3.0
    found = fitted(model, noisy(4, 6), {2: (1.5, 0.05)})
    assert_array_equal(found["fit_status"], FitStatus.CONVERGED_AT_BOUND)
    assert_allclose(found["parameters"][:, 2], 2.5)
    assert_allclose(found["chi2_prior"], (1.0 / 0.05) ** 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_priors_of_counts(engine: str) -> None:
    model = Gaussian1D(8, 0.3, 2.2) + Const1D(1.0)
    model.amplitude_0.bounds, model.amplitude_1.bounds = (0.0, None), (1e-6, None)
    clean = line()
    clean.parameters = TRUTH
    y = np.random.default_rng(7).poisson(np.broadcast_to(clean(X), (5, X.size))).astype(float)
    fitter = BatchLSQFitter(loss="poisson", engine=engine)
    found = fitted(model, y, {2: (2.5, 0.1)}, engine, fitter=fitter, absolute=False)
    for i in range(5):

        def loss(s: np.ndarray, i: int = i) -> float:
            p = found["parameters"][i] + s * found["stderr"][i]
            clean.parameters = p
            return float(-np.sum(poisson.logpmf(y[i], clean(X))) + 0.5 * ((p[2] - 2.5) / 0.1) ** 2)

        right = minimize(loss, np.full(4, 1e-2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
        assert loss(np.zeros(4)) - right.fun < 1e-8
        assert np.max(np.abs(right.x)) < 1e-3
    assert np.all(found["stderr"][:, 2] < 0.1)


def test_wrong_priors() -> None:
    model = line()
    model.stddev_0.fixed = True
    roles = [Role("data"), Role("input", "x"), Role("prior_mean", 2), Role("prior_deviation", 2)]
    with pytest.raises(ValueError, match=r"priors has 'stddev_0', which is fixed: no data could change it\. Leave"):
        task_of(model, roles)
    model = line()
    model.stddev_0.tied = lambda m: m.amplitude_0 / 5
    with pytest.raises(ValueError, match="'stddev_0', which is tied"):
        task_of(model, roles)
    with pytest.raises(ValueError, match=r"priors are given, with BatchLSQFitter\(loss='huber'\), which has no place"):
        task_of(line(), roles, fitter=BatchLSQFitter(loss="huber"))
    with pytest.raises(ValueError, match=r"with TRFLSQFitter, which has no place for them\. Use BatchLSQFitter"):
        task_of(line(), roles, fitter=PixelwiseFitter(TRFLSQFitter()))
    with pytest.raises(ValueError, match=r"without the errors of the data, .* Pass sigma"):
        task_of(line(), roles, absolute=False)
