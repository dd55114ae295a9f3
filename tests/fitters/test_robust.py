"""Robust losses and clipping, by both engines: against scipy, astropy and the truth."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.fitting import FittingWithOutlierRemoval, LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Linear1D
from astropy.stats import sigma_clip
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

from xr_modelfit import BatchLSQFitter
from xr_modelfit.fitters.noise import ROBUST

pytestmark = pytest.mark.quick_share(3)

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 80)
LINE = Gaussian1D(8, 0.3, 2.2) + Const1D(1.0)
TRUTH = (10.0, 0.0, 2.0, 1.0)
TIGHT: dict[str, Any] = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


def spoilt(model: Model, truth: Any, b: int, seed: int = 0, sigma: float = 1.0) -> np.ndarray:
    """Noise of ``sigma``, and one sample in ten off by ten times as much, (b, n)."""
    rng = np.random.default_rng(seed)
    clean = model.copy()
    clean.parameters = truth
    outliers = rng.choice([-10.0, 10.0], (b, X.size)) * (rng.random((b, X.size)) < 0.1)
    return clean(X) + sigma * (rng.normal(size=(b, X.size)) + outliers)


def fitted(model: Model, y: np.ndarray, engine: str = "numpy", sigma: Any = 1.0, **options: Any) -> xr.Dataset:
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": X})
    fitter = BatchLSQFitter(engine=engine, **options)
    return data.modelfit(model, dim="x", sigma=sigma, fitter=fitter, errors="ignore", scheduler="synchronous")


def parameters(fit: xr.Dataset, model: Model, ending: str = "") -> np.ndarray:
    return np.stack([fit[name + ending].values for name in model.param_names], axis=1)


def by_scipy(model: Model, y: np.ndarray, loss: str, f_scale: float = 1.0, start: Any = None, **options: Any) -> Any:
    one = model.copy()

    def residual(p: np.ndarray) -> np.ndarray:
        one.parameters = p
        return one(X) - y

    start = model.parameters if start is None else start
    with np.errstate(over="ignore"):
        return least_squares(residual, start, loss=loss, f_scale=f_scale, **TIGHT, **options)


def agree(model: Model, fit: xr.Dataset, y: np.ndarray, loss: str, f_scale: Any = 1.0, within: float = 1e-6) -> None:
    """scipy finds the same from the same start: parameters to ``within`` of an error, and twice its cost is chi2."""
    P, errors = parameters(fit, model), parameters(fit, model, "_stderr")
    assert (fit["fit_status"].values > 0).all()
    for i, scale in enumerate(np.broadcast_to(f_scale, len(y))):
        right = by_scipy(model, y[i], loss, scale)
        if loss in ("cauchy", "arctan") and right.cost > 0.5 * float(fit["chi2"][i]) * (1 + 1e-9):
            right = by_scipy(model, y[i], loss, scale, P[i])  # several minima: scipy ended in a higher one
        assert_allclose(float(fit["chi2"][i]), 2 * right.cost, rtol=1e-10)
        assert np.max(np.abs(P[i] - right.x) / errors[i]) < within


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", ROBUST)
def test_the_minimum_is_that_of_scipy(loss: str, engine: str) -> None:
    y = spoilt(LINE, TRUTH, 40)
    agree(LINE, fitted(LINE, y, engine, loss=loss, f_scale=2.0), y, loss, 2.0)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("loss", ROBUST)
@pytest.mark.parametrize("model", [Linear1D(0, 0), Exponential1D(2.0, 8.0)], ids=["linear", "exponential"])
def test_linear_and_other_models(model: Model, loss: str) -> None:
    """A linear model is iterated, since its minimum is no longer the solution of a linear system."""
    y = spoilt(model, (0.5, 2.0) if isinstance(model, Linear1D) else (3.0, 6.0), 20, 2)
    agree(model, fitted(model, y, loss=loss, f_scale=3.0), y, loss, 3.0)


@pytest.mark.parametrize("loss", ["huber", "cauchy"])
def test_the_scale_is_in_the_unit_of_the_data_without_sigma(loss: str) -> None:
    y = spoilt(LINE, TRUTH, 10, 3)
    fit = fitted(LINE, y, loss=loss, f_scale=1.5, sigma=None)
    agree(LINE, fit, y, loss, 1.5)
    same = fitted(LINE, y, loss=loss, f_scale=1.5)
    assert_allclose(parameters(fit, LINE, "_stderr"), parameters(same, LINE, "_stderr"), rtol=1e-12)


def test_bounds_hold_and_fixed_parameters_stay() -> None:
    model = LINE.copy()
    model.amplitude_0.bounds, model.amplitude_1.fixed = (0.0, 9.0), True
    y = spoilt(LINE, TRUTH, 20, 4)
    fit = fitted(model, y, loss="soft_l1")
    for i in range(20):
        one = model.copy()

        def residual(p: np.ndarray, one: Model = one, i: int = i) -> np.ndarray:
            one.parameters = (*p, 1.0)
            return one(X) - y[i]

        bounds = ([0.0, -np.inf, -np.inf], [9.0, np.inf, np.inf])
        right = least_squares(residual, [8.0, 0.3, 2.2], bounds=bounds, loss="soft_l1", **TIGHT)
        assert_allclose(float(fit["chi2"][i]), 2 * right.cost, rtol=1e-8)
    assert (fit["fit_status"].values == 2).sum() > 10
    assert_array_equal(fit["amplitude_1_stderr"], 0.0)


@pytest.mark.quick_share(4)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("loss", "f_scale", "most"),
    [("soft_l1", 1.0, 1.4), ("huber", 1.0, 1.35), ("cauchy", 2.0, 1.2), ("arctan", 3.0, 1.15)],
)
def test_errors_are_right_and_outliers_cost_little(loss: str, f_scale: float, most: float, engine: str) -> None:
    """Pulls of width 1 within 5 %, and parameters scatter at most ``most`` times as much as without outliers.

    By least squares they scatter more than three times as much.
    """
    y = spoilt(LINE, TRUTH, 3000, 5)
    fit = fitted(LINE, y, engine, loss=loss, f_scale=f_scale)
    P, errors = parameters(fit, LINE), parameters(fit, LINE, "_stderr")
    assert (fit["fit_status"].values > 0).all()
    pulls = np.std((P - TRUTH) / errors, axis=0)
    assert_allclose(pulls, 1.0, atol=0.05)
    rng = np.random.default_rng(6)
    clean = LINE.copy()
    clean.parameters = TRUTH
    without = parameters(fitted(LINE, clean(X) + rng.normal(size=(3000, X.size))), LINE)
    assert np.all(np.std(P, axis=0) < most * np.std(without, axis=0))  # 5 % by the samples that are lost


def test_errors_need_no_absolute_weights() -> None:
    """The scatter comes from the residuals: a sigma that is wrong by a factor, with the scale by as much, is none."""
    y = spoilt(LINE, TRUTH, 10, 7)
    one, other = fitted(LINE, y, loss="huber", f_scale=1.5), fitted(LINE, y, sigma=0.1, loss="huber", f_scale=15.0)
    for ending in ("", "_stderr"):
        assert_allclose(parameters(one, LINE, ending), parameters(other, LINE, ending), rtol=1e-7, atol=1e-9)
    assert_allclose(other["chi2"], 100.0 * one["chi2"], rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_scale_of_the_residuals(engine: str) -> None:
    """At the end it is what the residuals say, and the parameters are the minimum at that scale."""
    y = spoilt(LINE, TRUTH, 30, 8, sigma=0.03)
    fit = fitted(LINE, y, engine, sigma=None, loss="huber", f_scale="mad")
    P, errors = parameters(fit, LINE), parameters(fit, LINE, "_stderr")
    assert (fit["fit_status"].values > 0).all()
    scales = []
    for i in range(30):
        one = LINE.copy()
        one.parameters = P[i]
        scale = np.median(np.abs(y[i] - one(X))) / 0.6744897501960817
        scales.append(scale)
        right = by_scipy(LINE, y[i], "huber", scale)
        assert np.max(np.abs(P[i] - right.x) / errors[i]) < 3e-3  # the scale is steady to a thousandth
    assert_allclose(np.median(scales), 0.03, rtol=0.2)  # the median of 90 % of normal noise, and 10 % beyond


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options", [{"loss": "cauchy"}, {"loss": "huber", "f_scale": "mad"}, {"clip": (3, 2.5)}], ids=str
)
def test_a_fit_depends_on_nothing_but_itself(options: dict[str, Any], engine: str) -> None:
    """Any company, any chunking: the same bits; a sample that is left out is as if it were not there."""
    y = spoilt(LINE, TRUTH, 24, 9)
    together = fitted(LINE, y, engine, **options)
    for some in (slice(0, 1), slice(3, 11), slice(20, 24)):
        apart = fitted(LINE, y[some], engine, **options)
        xr.testing.assert_identical(apart.drop_attrs(), together.isel(p=some).drop_attrs())
    gaps = np.random.default_rng(1).random(y.shape) < 0.2
    holes = np.where(gaps, np.nan, y)
    fit = fitted(LINE, holes, engine, **options)
    for i in range(4):
        data = xr.DataArray(y[i][~gaps[i]], dims="x", coords={"x": X[~gaps[i]]})
        alone = data.modelfit(LINE, dim="x", sigma=1.0, fitter=BatchLSQFitter(engine=engine, **options))
        for name in ("amplitude_0", "stddev_0_stderr", "chi2", "n_points", "fit_status"):
            assert_allclose(float(alone[name]), float(fit[name][i]), rtol=1e-12)


@pytest.mark.parametrize("options", [{"loss": "huber", "f_scale": 1.5}, {"loss": "soft_l1", "f_scale": "mad"}], ids=str)
def test_scale_and_origin_do_not_matter(options: dict[str, Any]) -> None:
    y = spoilt(LINE, TRUTH, 10, 10)
    fit, model = fitted(LINE, y, **options), LINE.copy()
    tiny = 2.0**-60
    model.parameters = (8 * tiny, 0.3, 2.2, tiny)
    scaled = fitted(model, y * tiny, sigma=tiny, **options)
    assert_allclose(parameters(scaled, model) / [tiny, 1, 1, tiny], parameters(fit, LINE), rtol=1e-9, atol=1e-9)
    errors = parameters(scaled, model, "_stderr") / [tiny, 1, 1, tiny]
    assert_allclose(errors, parameters(fit, LINE, "_stderr"), rtol=1e-7)


def test_data_without_noise() -> None:
    """Nothing but an outlier: the others are met exactly, whatever the scale."""
    model = LINE.copy()
    model.parameters = TRUTH
    y = np.tile(model(X), (3, 1))
    y[1:, 40] += 5.0
    for options in ({"f_scale": "mad"}, {"f_scale": 1.0}):
        fit = fitted(LINE, y, loss="cauchy", **options)
        assert (fit["fit_status"].values > 0).all()
        assert_allclose(parameters(fit, LINE)[0], TRUTH, atol=1e-8)
    assert_allclose(parameters(fitted(LINE, y, clip=(3, 3)), LINE), [TRUTH] * 3, atol=1e-7)


def clipped_by_astropy(model: Model, y: np.ndarray, limits: tuple[float, float], fitter: Any) -> tuple[Any, int]:
    low, high = limits
    fit = FittingWithOutlierRemoval(fitter, sigma_clip, niter=3, sigma_lower=low, sigma_upper=high)
    with np.errstate(all="ignore"):
        options = {} if isinstance(fitter, LinearLSQFitter) else {"acc": 1e-14, "maxiter": 500}
        found, mask = fit(model, X, y, weights=np.ones_like(y), **options)
    return found.parameters, int(np.count_nonzero(~mask))


@pytest.mark.quick_share(4)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("limits", [(3.0, 3.0), (4.0, 2.0), (np.inf, 2.5)], ids=str)
def test_clipping_is_that_of_astropy(limits: tuple[float, float], engine: str) -> None:
    """But for samples at the limit: astropy's fitter ends within a thousandth of an error of the minimum."""
    y = spoilt(LINE, TRUTH, 60, 11)
    fit = fitted(LINE, y, engine, clip=limits)
    P, errors = parameters(fit, LINE), parameters(fit, LINE, "_stderr")
    others = 0
    for i in range(60):
        right, n = clipped_by_astropy(LINE, y[i], limits, TRFLSQFitter())
        assert int(fit["dof"][i]) == int(fit["n_points"][i]) - 4
        if int(fit["n_points"][i]) == n:
            assert np.max(np.abs(P[i] - right) / errors[i]) < 2e-2
        else:
            others += 1
    assert others <= 1
    assert int(fit["n_points"].min()) < 80


def test_clipping_of_linear_models() -> None:
    model = Linear1D(0.0, 0.0)
    y = spoilt(model, (0.5, 2.0), 100, 12)
    fit = fitted(model, y, clip=(3, 3))
    for i in range(100):
        right, n = clipped_by_astropy(model, y[i], (3.0, 3.0), LinearLSQFitter())
        assert int(fit["n_points"][i]) == n
        assert_allclose(parameters(fit, model)[i], right, rtol=1e-9)


def test_clipping_and_a_loss_together() -> None:
    """The answer is that of the loss on the samples that are left, which are the nearest ones."""
    y = spoilt(LINE, TRUTH, 10, 13)
    options: dict[str, Any] = {"loss": "huber", "f_scale": "mad"}
    fit = fitted(LINE, y, clip=(2.5, 2.5), **options)
    n = fit["n_points"].values
    assert n.min() < 75
    size = np.abs(y - fit.modelfit.evaluate(x=X).values)
    left = fitted(LINE, np.where(np.argsort(np.argsort(size, axis=1), axis=1) < n[:, None], y, np.nan), **options)
    assert_allclose(parameters(fit, LINE), parameters(left, LINE), atol=5e-3)


def test_the_options_are_recorded() -> None:
    fit = fitted(LINE, spoilt(LINE, TRUTH, 2), loss="huber", f_scale="mad", clip=(3, np.inf))
    assert any('"loss": "huber"' in str(value) for value in fit["fit_status"].attrs.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "l1"},
            r"loss is 'l1'; it must be one of 'linear', 'soft_l1', 'huber', 'cauchy', 'arctan', 'poisson'",
        ),
        ({"loss": "huber", "f_scale": 0}, r'f_scale is 0; a positive number or "mad" is needed'),
        ({"loss": "huber", "f_scale": "std"}, r"f_scale is 'std'; a positive number"),
        ({"f_scale": "mad"}, r"f_scale is 'mad', but loss='linear' has no scale. Leave it out, or take a robust loss"),
        ({"loss": "poisson", "f_scale": 2.0}, r"f_scale is 2.0, but loss='poisson' has no scale"),
        ({"clip": 3}, r"clip is 3; a pair of positive numbers \(lower, upper\) is needed, as in clip=\(3, 3\)"),
        ({"clip": (3, -1)}, r"clip is \(3, -1\); a pair of positive numbers"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchLSQFitter(**options)
