"""What a fit is worth: errors, ranks, bounds and statuses, against closed forms, scipy and simulation."""

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model, models
from astropy.modeling.fitting import (
    DogBoxLSQFitter,
    FittingWithOutlierRemoval,
    LevMarLSQFitter,
    LinearLSQFitter,
    LMLSQFitter,
    TRFLSQFitter,
)
from astropy.stats import sigma_clip
from scipy.optimize import curve_fit

import xr_modelfit
from xr_modelfit import FitStatus
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.fitters.covariance import judge as judge_many
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.models.expression import result_names
from xr_modelfit.models.problem import Problem

X = np.linspace(-4.0, 6.0, 41)
OK, AT_BOUND = FitStatus.CONVERGED, FitStatus.CONVERGED_AT_BOUND


def gauss(x: Any, amplitude: Any, mean: Any, stddev: Any) -> Any:
    return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def gauss_derivatives(x: np.ndarray, amplitude: float, mean: float, stddev: float) -> np.ndarray:
    z = (x - mean) / stddev
    e = np.exp(-0.5 * z * z)
    return np.stack([e, amplitude * e * z / stddev, amplitude * e * z * z / stddev], axis=1)


def noisy(clean: np.ndarray, noise: float, seed: int = 1, fits: int = 3) -> np.ndarray:
    return clean + np.random.default_rng(seed).normal(0, noise, (fits, clean.size))


Y = noisy(gauss(X, 2.0, 0.7, 1.3), 0.05)


def scatter_without(*columns: np.ndarray, noise: float = 0.1) -> np.ndarray:
    """Residuals that no combination of the columns would make smaller."""
    r = np.random.default_rng(8).normal(0, noise, columns[0].size)
    A = np.stack(columns, axis=1)
    return r - A @ np.linalg.lstsq(A, r, rcond=None)[0]


class Says:
    """A fitter that returns certain parameters and claims success."""

    def __init__(self, parameters: Any = None) -> None:
        self.parameters, self.fit_info = parameters, {"success": True, "status": 1}

    def __call__(self, model: Model, x: Any, y: Any, weights: Any = None) -> Model:
        fitted = model.copy()
        if self.parameters is not None:
            fitted.parameters = self.parameters
        return fitted


class Nearest(Says):
    """A fitter that knows the answers, and returns the one that suits the samples."""

    def __init__(self, answers: Any) -> None:
        super().__init__()
        self.answers = answers

    def __call__(self, model: Model, x: Any, y: Any, weights: Any = None) -> Model:
        chi2 = [np.sum((y - model.evaluate(x, *answer)) ** 2) for answer in self.answers]
        self.parameters = self.answers[int(np.argmin(chi2))]
        return super().__call__(model, x, y, weights)


def fit(y: Any, model: Model, x: np.ndarray = X, **options: Any) -> xr.Dataset:
    """Fit rows of ``y`` against ``x``, quietly and in this process; the last iterate is kept."""
    data = xr.DataArray(y, dims=("pix", "x")[-np.ndim(y) :], coords={"x": x})
    options = {"errors": "ignore", "scheduler": "synchronous", "keep_failed": True, **options}
    for name in ("sigma", "weights"):
        if np.ndim(options.get(name)):
            options[name] = xr.DataArray(options[name], dims=("pix", "x")[-np.ndim(options[name]) :])
    return xr_modelfit.fit(data, model, "x", **options)


def statuses(result: xr.Dataset) -> list[FitStatus]:
    return [FitStatus(int(code)) for code in np.ravel(result["fit_status"])]


def judge(
    model: Model, x: Any, y: np.ndarray, parameters: Any, w: np.ndarray | None = None, absolute: bool = False
) -> SimpleNamespace:
    """The judgement on a model at given parameters, with the constraints that it carries."""
    names = model.param_names
    low = np.array([-np.inf if model.bounds[n][0] is None else model.bounds[n][0] for n in names], dtype=float)
    high = np.array([np.inf if model.bounds[n][1] is None else model.bounds[n][1] for n in names], dtype=float)
    ties = tuple(model.tied[n] or None for n in names)
    fixed = np.array([bool(model.fixed[n]) for n in names])
    problem = Problem(model, result_names(model), np.array(model.parameters), low, high, fixed, ties)
    with np.errstate(all="ignore"):
        problem = find_traits(problem, [np.asarray(x, dtype=float)])
        P = problem.with_ties(np.array(parameters, dtype=float))[:, None]
        w = np.ones(np.shape(y)) if w is None else w
        samples = (np.asarray(a, dtype=float)[:, None] for a in (y, w))
        fits = FitColumns(problem, [np.asarray(x, dtype=float)[:, None]], *samples, P, low[:, None], high[:, None])
        found = judge_many(fits, np.array([np.size(y)]), problem.free[:, None], absolute, np.array([True]))
        return SimpleNamespace(
            covariance=found.covariance[:, :, 0],
            stderr=np.sqrt(found.variance[:, 0]),
            chi2=float(found.chi2[0]),
            finite=bool(found.finite[0]),
            full_rank=bool(found.full_rank[0]),
            stationary=bool(found.stationary[0]),
            at_bound=bool(found.at_bound[0]),
        )


def straight(x: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of the weighted line, and their unscaled covariance, in closed form."""
    w2 = np.ones_like(x) if w is None else w**2
    mean = np.sum(w2 * x) / np.sum(w2)
    sxx = np.sum(w2 * (x - mean) ** 2)
    slope = np.sum(w2 * (x - mean) * y) / sxx
    covariance = np.array([[1 / sxx, -mean / sxx], [-mean / sxx, 1 / np.sum(w2) + mean**2 / sxx]])
    return np.array([slope, np.sum(w2 * (y - slope * x)) / np.sum(w2)]), covariance


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("weighting", ["none", "sigma", "relative sigma", "weights", "absolute weights"])
def test_line_against_its_closed_form(weighting: str) -> None:
    rng = np.random.default_rng(5)
    sigma = rng.uniform(0.05, 0.3, X.size)
    y = 0.4 * X + 1.0 + rng.normal(0, sigma)
    options: dict[str, Any] = {
        "none": {},
        "sigma": {"sigma": sigma},
        "relative sigma": {"sigma": sigma, "absolute_sigma": False},
        "weights": {"weights": 1 / sigma},
        "absolute weights": {"weights": 1 / sigma, "absolute_sigma": True},
    }[weighting]
    result = fit(y, models.Linear1D(0.3, 0.0), covariance=True, fitter=LinearLSQFitter(), **options)
    w = None if weighting == "none" else 1 / sigma
    p, covariance = straight(X, y, w)
    chi2 = np.sum(((1 if w is None else w) * (y - p[0] * X - p[1])) ** 2)
    if weighting not in ("sigma", "absolute weights"):
        covariance = covariance * chi2 / (X.size - 2)
    # Direct solutions of a well-conditioned problem: rounding times the number of samples.
    np.testing.assert_allclose([result["slope"], result["intercept"]], p, rtol=1e-11)
    np.testing.assert_allclose(result["covariance"], covariance, rtol=1e-10)
    np.testing.assert_allclose(
        [result["slope_stderr"], result["intercept_stderr"]], np.sqrt(np.diag(covariance)), rtol=1e-10
    )
    np.testing.assert_allclose(result["chi2"], chi2, rtol=1e-11)
    np.testing.assert_allclose(result["reduced_chi2"], chi2 / (X.size - 2), rtol=1e-11)
    assert (int(result["dof"]), int(result["n_points"])) == (X.size - 2, X.size)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("fitter", [LevMarLSQFitter(), LMLSQFitter(), TRFLSQFitter(), DogBoxLSQFitter()])
def test_gaussian_against_curve_fit(absolute: bool, fitter: Any) -> None:
    sigma = np.random.default_rng(6).uniform(0.03, 0.08, X.size)
    result = fit(
        Y, models.Gaussian1D(1.5, 0.3, 1.0), sigma=sigma, absolute_sigma=absolute, covariance=True, fitter=fitter
    )
    for i in range(3):
        p, covariance = curve_fit(
            gauss, X, Y[i], (1.5, 0.3, 1.0), sigma, absolute, jac=gauss_derivatives, xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
        # The fitters stop at a relative change of 1e-8 in chi-square: 1e-4 standard errors. Errors
        # change by that much times the curvature.
        error = np.sqrt(np.diag(covariance))
        found = np.array([result[n].values[i] for n in ("amplitude", "mean", "stddev")])
        assert np.all(np.abs(found - p) < 1e-3 * error)
        np.testing.assert_allclose(
            result["covariance"].values[i], covariance, rtol=1e-4, atol=1e-4 * np.min(error) ** 2
        )
    assert statuses(result) == [OK] * 3


def test_chi_square_is_that_of_numpy() -> None:
    w = np.random.default_rng(2).uniform(0.5, 2.0, (3, X.size))
    result = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), weights=w)
    for i in range(3):
        p = [result[n].values[i] for n in ("amplitude", "mean", "stddev")]
        chi2 = np.sum((w[i] * (Y[i] - gauss(X, *p))) ** 2)
        # The same numbers summed in the same way, but for the order of multiplications.
        np.testing.assert_allclose(result["chi2"].values[i], chi2, rtol=1e-13)
        np.testing.assert_allclose(result["reduced_chi2"].values[i], chi2 / 38, rtol=1e-13)


def test_no_degrees_of_freedom() -> None:
    """Two samples, a line: with sigma the errors are known, without there is no scatter to tell them."""
    x, y = np.array([1.0, 3.0]), np.array([2.0, 6.0])
    known = fit(y, models.Linear1D(1.0, 1.0), x, sigma=0.5, fitter=LinearLSQFitter())
    _, covariance = straight(x, y, np.full(2, 2.0))
    found = [known["slope_stderr"], known["intercept_stderr"]]
    np.testing.assert_allclose(found, np.sqrt(np.diag(covariance)), rtol=1e-12)
    unknown = fit(y, models.Linear1D(1.0, 1.0), x, fitter=LinearLSQFitter(), covariance=True)
    assert np.all(np.isnan([unknown["slope_stderr"], unknown["intercept_stderr"]]))
    assert bool(unknown["covariance"].isnull().all())
    for result in (known, unknown):
        assert statuses(result) == [OK]
        assert int(result["dof"]) == 0
        assert np.isnan(result["reduced_chi2"])
        np.testing.assert_allclose([result["slope"], result["intercept"]], [2.0, 0.0], atol=1e-14)


def test_a_fit_without_free_parameters_is_evaluated() -> None:
    model = models.Gaussian1D(2.0, 0.7, 1.3, fixed=dict.fromkeys(("amplitude", "mean", "stddev"), True))
    result = fit(Y, model, sigma=0.05)
    assert statuses(result) == [OK] * 3
    assert result["dof"].values.tolist() == [X.size] * 3
    for name in ("amplitude", "mean", "stddev"):
        assert result[f"{name}_stderr"].values.tolist() == [0.0] * 3
    np.testing.assert_allclose(result["chi2"], np.sum(((Y - gauss(X, 2.0, 0.7, 1.3)) / 0.05) ** 2, axis=1), rtol=1e-13)


def test_fixed_parameters_have_no_error() -> None:
    """The others' errors are those of the model without it; covariances with it are 0."""
    model = models.Gaussian1D(1.5, 0.7, 1.0, fixed={"mean": True})
    result = fit(Y[0], model, sigma=0.05, covariance=True)
    p = [float(result[n]) for n in ("amplitude", "mean", "stddev")]
    J = gauss_derivatives(X, *p)[:, [0, 2]] / 0.05
    expected = np.zeros((3, 3))
    expected[np.ix_([0, 2], [0, 2])] = np.linalg.inv(J.T @ J)
    np.testing.assert_allclose(result["covariance"], expected, rtol=1e-10)  # condition of 3
    assert float(result["mean_stderr"]) == 0.0


@pytest.mark.parametrize("absolute", [False, True])
def test_tied_errors_are_those_of_the_reduced_model(absolute: bool) -> None:
    """A doublet whose second line follows the first: 4 free parameters of 6."""

    def reduced(x: np.ndarray, a: float, m: float, s: float, b: float) -> np.ndarray:
        return gauss(x, a, m, s) + gauss(x, b, m + 3.0, 1.5 * s)

    y = noisy(reduced(X, 2.0, -1.0, 0.8, 1.0), 0.05, fits=1)[0]
    model = models.Gaussian1D(1.8, -0.9, 0.9) + models.Gaussian1D(1.1, 2.1, 1.3)
    model.mean_1.tied = lambda m: m.mean_0 + 3.0
    model.stddev_1.tied = lambda m: 1.5 * m.stddev_0
    result = fit(y, model, sigma=0.05, absolute_sigma=absolute, covariance=True)
    assert int(result["dof"]) == X.size - 4
    p, covariance = curve_fit(
        reduced, X, y, (1.8, -0.9, 0.9, 1.1), np.full(X.size, 0.05), absolute, xtol=1e-14, ftol=1e-14
    )
    T = np.zeros((6, 4))
    T[[0, 1, 2, 3], [0, 1, 2, 3]] = 1.0
    T[4, 1], T[5, 2] = 1.0, 1.5
    order = [0, 1, 2, 3, 4, 5]
    full = (T @ covariance @ T.T)[np.ix_(order, order)]
    # curve_fit differentiates by forward differences: 1e-8 relative, doubled and summed.
    found = result["covariance"].values
    np.testing.assert_allclose(found, full, rtol=1e-4, atol=1e-5 * np.max(np.abs(full)))
    np.testing.assert_allclose(result["mean_1_stderr"], result["mean_0_stderr"], rtol=1e-9)
    np.testing.assert_allclose(result["stddev_1_stderr"], 1.5 * result["stddev_0_stderr"], rtol=1e-9)
    assert abs(float(result["mean_0"]) - p[1]) < 1e-3 * np.sqrt(covariance[1, 1])


def test_a_nonlinear_tie_is_propagated() -> None:
    """An area tied to amplitude and width: error by the full covariance of both."""
    model = models.Gaussian1D(1.5, 0.3, 1.0) + models.Const1D(0.0)
    model.amplitude_1.tied = lambda m: 0.01 * m.amplitude_0 * m.stddev_0
    result = fit(Y[0], model, sigma=0.05, covariance=True)
    a, s = float(result["amplitude_0"]), float(result["stddev_0"])
    gradient = np.array([0.01 * s, 0.0, 0.01 * a])
    covariance = result["covariance"].values
    expected = np.sqrt(gradient @ covariance[:3, :3] @ gradient)
    np.testing.assert_allclose(result["amplitude_1_stderr"], expected, rtol=1e-7)  # central differences of the tie


def test_outliers_that_the_fitter_removes_do_not_count() -> None:
    y = noisy(0.4 * X + 1.0, 0.05)
    y[0, [3, 20]] += 5.0
    y[2, 11] -= 8.0
    robust = FittingWithOutlierRemoval(LinearLSQFitter(), sigma_clip, niter=3, sigma=4.0)
    result = fit(y, models.Linear1D(), fitter=robust)
    assert result["n_points"].values.tolist() == [39, 41, 40]
    assert result["dof"].values.tolist() == [37, 39, 38]
    kept = np.ones(X.size, dtype=bool)
    kept[[3, 20]] = False
    p, covariance = straight(X[kept], y[0, kept])
    chi2 = np.sum((y[0, kept] - p[0] * X[kept] - p[1]) ** 2)
    np.testing.assert_allclose([result["slope"][0], result["chi2"][0]], [p[0], chi2], rtol=1e-10)
    np.testing.assert_allclose(result["slope_stderr"][0], np.sqrt(covariance[0, 0] * chi2 / 37), rtol=1e-10)


# ------------------------------------------------------------------------------------ rank


@pytest.mark.parametrize(
    ("model", "y", "x"),
    [
        pytest.param(models.Const1D(1.0) + models.Const1D(2.0), Y, X, id="two constants"),
        pytest.param(models.Gaussian1D(0.0, 0.7, 1.3), 0 * Y, X, id="a line of amplitude 0"),
        pytest.param(models.Gaussian1D(1.0, 500.0, 1.3), Y, X, id="a line far away"),
        pytest.param(models.Linear1D(), noisy(np.ones(6), 0.1), np.full(6, 2.0), id="one value of the coordinate"),
        pytest.param(models.Linear1D(), noisy(np.ones(6), 0.1), np.zeros(6), id="a column of zeros"),
        pytest.param(
            models.Polynomial1D(3), noisy(np.ones(9), 0.1), np.array([1.0, 2.0, 4.0] * 3), id="3 values, 4 coefficients"
        ),
        pytest.param(models.Scale(2.0) | models.Linear1D(1.0, 0.0), Y, X, id="a product of two factors"),
    ],
)
def test_what_the_samples_do_not_determine(model: Model, y: np.ndarray, x: np.ndarray) -> None:
    """Where the status is a success there is an error, and no error is finite by a pseudo-inverse."""
    result = fit(y, model, x, covariance=True)
    assert statuses(result) == [FitStatus.DEGENERATE] * len(y)
    errors = [v for n, v in result.data_vars.items() if str(n).endswith("_stderr")]
    assert all(bool(e.isnull().all()) for e in errors)
    assert bool(result["covariance"].isnull().all())


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_two_identical_lines(noise: float) -> None:
    """Half the line each: a minimum of every fitter that keeps the symmetry, and no errors."""
    y = noisy(gauss(X, 2.0, 0.7, 1.3), noise)
    half = fit(y, models.Gaussian1D(1.5, 0.3, 1.0), fitter=LMLSQFitter())
    for i in range(3):
        p = [float(half[name][i]) for name in ("amplitude", "mean", "stddev")]
        both = [p[0] / 2, *p[1:]] * 2
        model = models.Gaussian1D(*both[:3]) + models.Gaussian1D(*both[3:])
        assert not judge(model, X, y[i], both).full_rank
        result = fit(y[i], model, fitter=Says(), sigma=0.05)
        assert statuses(result) == [FitStatus.DEGENERATE]
        assert np.isnan(result["mean_0_stderr"])


def test_nearly_the_same_is_not_the_same() -> None:
    """Two broad lines 1e-4 of their width apart: errors are large, and right."""
    x = np.linspace(-3, 3, 200)
    model = models.Gaussian1D(1.0, 0.0, 1.0) + models.Gaussian1D(2.0, 1e-4, 1.0)
    for name in ("mean_0", "stddev_0", "mean_1", "stddev_1"):
        getattr(model, name).fixed = True
    found = judge(model, x, model(x), model.parameters, absolute=True)
    assert found.full_rank
    J = np.stack([gauss(x, 1, 0, 1), gauss(x, 1, 1e-4, 1)], axis=1)
    # Sum and difference are orthogonal but for rounding: the error of an amplitude is 1 / |J0 - J1| nearly.
    expected = 1 / np.linalg.norm(J[:, 0] - J[:, 1] * (J[:, 0] @ J[:, 1]) / (J[:, 1] @ J[:, 1]))
    # The difference of the columns is 1e-4 of them: twelve digits are left, the square of it in a projection.
    np.testing.assert_allclose(found.stderr[0], expected, rtol=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_badly_centred_coordinate(degree: int) -> None:
    """Seconds since 1970 over 17 hours, against exact rational arithmetic; a cubic may say that it cannot."""
    x = 1.7e9 + np.arange(0.0, 61200.0, 1530.0)
    exact = [Fraction(v) for v in x.tolist()]
    K = degree + 1
    rows = [
        [sum(v ** (i + j) for v in exact) for j in range(K)] + [Fraction(int(i == j)) for j in range(K)]
        for i in range(K)
    ]
    for c in range(K):  # Gauss and Jordan
        rows[c] = [v / rows[c][c] for v in rows[c]]
        for r in range(K):
            if r != c:
                rows[r] = [v - rows[r][c] * w for v, w in zip(rows[r], rows[c], strict=True)]
    expected = np.sqrt([float(rows[i][K + i]) for i in range(K)])
    found = judge(models.Polynomial1D(degree), x, np.ones_like(x), [1.0] + [0.0] * degree, absolute=True)
    if degree == 3 and not found.full_rank:
        return  # columns alike to 14 digits
    assert found.full_rank
    # Columns alike to 5 digits for each degree: of 16 are left 11 and 6.
    np.testing.assert_allclose(found.stderr, expected, rtol={1: 1e-9, 2: 1e-5, 3: 1e-1}[degree])


def test_a_badly_centred_line_through_the_call() -> None:
    x = 1.7e9 + np.arange(0.0, 61200.0, 1530.0)
    y = noisy(20.0 + 1e-4 * (x - 1.7e9), 0.1)
    for row in y:
        centred = x - 1.7e9
        p, covariance = straight(centred, row)
        # A fitter that is told the answer: astropy's linear one loses the intercept here.
        result = fit(row, models.Linear1D(), x, fitter=Says([p[0], p[1] - p[0] * 1.7e9]))
        assert statuses(result) == [OK]
        chi2 = np.sum((row - p[0] * centred - p[1]) ** 2)
        np.testing.assert_allclose(result["chi2"], chi2, rtol=1e-8)  # slope times 1.7e9 rounds to 3e-11
        expected = np.sqrt(covariance[0, 0] * chi2 / (x.size - 2))
        np.testing.assert_allclose(result["slope_stderr"], expected, rtol=1e-6)
        linear = fit(row, models.Linear1D(), x, fitter=LinearLSQFitter())
        assert statuses(linear)[0] <= 0 or abs(float(linear["slope"]) - p[0]) < 0.2 * expected


# ------------------------------------------------------------------------------------ bounds


def test_on_its_bound_a_parameter_has_no_error() -> None:
    """And the others' errors are those with it held."""
    model = models.Gaussian1D(1.5, 1.2, 1.0, bounds={"mean": (1.0, 5.0)})
    result = fit(Y, model, sigma=0.05, covariance=True)
    assert statuses(result) == [AT_BOUND] * 3
    np.testing.assert_allclose(result["mean"], 1.0, rtol=1e-9)
    assert result["dof"].values.tolist() == [38] * 3
    assert bool(result["mean_stderr"].isnull().all())
    assert bool(result["covariance"].sel(cov_i="mean").isnull().all())
    for i in range(3):
        p, covariance = curve_fit(
            lambda x, a, s: gauss(x, a, 1.0, s),
            X,
            Y[i],
            (1.5, 1.0),
            np.full(X.size, 0.05),
            True,
            xtol=1e-14,
            ftol=1e-14,
        )
        error = np.sqrt(np.diag(covariance))
        found = [result["amplitude_stderr"].values[i], result["stddev_stderr"].values[i]]
        np.testing.assert_allclose(found, error, rtol=1e-4)  # forward differences, and a fitter that stops at 1e-8
        assert abs(result["amplitude"].values[i] - p[0]) < 1e-2 * error[0]


def test_a_parameter_tied_to_one_on_its_bound_has_no_error() -> None:
    y = noisy(gauss(X, 2.0, 0.7, 1.3) + gauss(X, 1.0, 3.7, 1.0), 0.05)
    model = models.Gaussian1D(1.8, 1.2, 1.1) + models.Gaussian1D(1.1, 4.2, 1.1)
    model.mean_0.bounds = (1.0, 5.0)
    model.mean_1.tied = lambda m: m.mean_0 + 3.0
    result = fit(y, model, sigma=0.05)
    assert statuses(result) == [AT_BOUND] * 3
    assert bool(result["mean_0_stderr"].isnull().all())
    assert bool(result["mean_1_stderr"].isnull().all())
    for name in ("amplitude_0", "stddev_0", "amplitude_1", "stddev_1"):
        assert bool((result[f"{name}_stderr"] > 0).all())


def test_all_on_their_bounds() -> None:
    model = models.Linear1D(0.5, 0.5, bounds={"slope": (0.5, 1.0), "intercept": (0.0, 0.5)})
    y = noisy(-2.0 * X + 9.0, 0.1)
    found = judge(model, X, y[0], [0.5, 0.5])
    # Of the slope the gradient points out, at any intercept; of the intercept at this slope.
    assert found.at_bound
    assert found.stationary
    assert np.all(np.isnan(found.stderr))


def test_a_bound_that_the_fit_would_leave_is_no_bound() -> None:
    """A start on the bound with the minimum inside: not converged, on a bound or otherwise."""
    model = models.Gaussian1D(1.5, 0.3, 1.0, bounds={"mean": (0.3, 5.0), "stddev": (1.0, None)})
    result = fit(Y, model, fitter=Says())
    assert statuses(result) == [FitStatus.NO_PROGRESS] * 3
    assert statuses(fit(Y, model)) == [OK] * 3


def test_bounds_beside_the_minimum_change_nothing() -> None:
    free = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0))
    error = float(free["mean_stderr"][0])
    for distance in (0.1, 1.0, 10.0):
        bounds = {"mean": (float(free["mean"][0]) - distance * error, None)}
        start = {"mean": float(free["mean"][0]) + 0.5 * error}
        bounded = fit(Y[:1], models.Gaussian1D(1.5, 0.3, 1.0), bounds=bounds, p0=start)
        assert statuses(bounded) == [OK]
        np.testing.assert_allclose(bounded["mean_stderr"][0], error, rtol=1e-4)  # another path of the same fitter
        assert abs(float(bounded["mean"][0] - free["mean"][0])) < 1e-2 * error


@pytest.mark.parametrize("pedestal", [0.0, 1.0, 280.0, 6.4e6])
def test_a_pedestal_brings_no_bound_nearer(pedestal: float) -> None:
    """A line 6 standard errors above its bound of 0, whatever lies below it."""
    rng = np.random.default_rng(3)
    x = np.linspace(-5, 5, 101)
    shape = np.exp(-0.5 * x**2)
    y = pedestal + 2e-3 * shape + rng.normal(0, 1e-3, x.size)
    model = models.Const1D(pedestal) + models.Gaussian1D(1e-3, 0.0, 1.0, fixed={"mean": True, "stddev": True})
    model.amplitude_1.bounds = (0.0, None)
    A = np.stack([np.ones_like(x), shape], axis=1)
    p, *_ = np.linalg.lstsq(A, y - pedestal, rcond=None)
    found = judge(model, x, y, [p[0] + pedestal, p[1], 0.0, 1.0], np.full(x.size, 1e3), absolute=True)
    assert found.stationary
    assert not found.at_bound
    # Data of 6.4e6 are multiples of 1e-9, a millionth of the noise; errors don't depend on data at all.
    np.testing.assert_allclose(found.stderr[:2], 1e-3 * np.sqrt(np.diag(np.linalg.inv(A.T @ A))), rtol=1e-6)


# ------------------------------------------------------------------------------------ minimum or not


@pytest.mark.parametrize("offset", [0.0, 0.01, -0.01])
def test_near_the_minimum_is_converged(offset: float) -> None:
    """An astropy fitter that stops a hundredth of a standard error off has converged."""
    p, covariance = straight(X, Y[0])
    found = judge(models.Linear1D(), X, Y[0], p + offset * np.sqrt(np.diag(covariance) * np.var(Y[0] - p[0] * X)))
    assert found.stationary


@pytest.mark.parametrize("offset", [0.5, -0.5, 1.0, 30.0])
@pytest.mark.parametrize("parameter", [0, 1])
@pytest.mark.parametrize("pedestal", [0.0, 280.0, 6.4e6])
def test_away_from_the_minimum_is_no_progress(offset: float, parameter: int, pedestal: float) -> None:
    """Half a standard error is too far; a constant in the data makes it no nearer."""
    y = noisy(0.4 * X, 0.05, fits=1)[0] + pedestal
    p, covariance = straight(X, y - pedestal)
    scatter = np.sum((y - pedestal - p[0] * X - p[1]) ** 2) / (X.size - 2)
    p[1] += pedestal
    p[parameter] += offset * np.sqrt(covariance[parameter, parameter] * scatter)
    assert not judge(models.Linear1D(), X, y, p).stationary
    assert statuses(fit(y, models.Linear1D(0.0, pedestal), fitter=Says(p))) == [FitStatus.NO_PROGRESS]


@pytest.mark.parametrize("pedestal", [0.0, 280.0, 6.4e6])
@pytest.mark.parametrize("sigma", [None, 0.05])
def test_the_start_as_a_success_is_none(pedestal: float, sigma: float | None) -> None:
    """A fitter that returns its start and says "success", on data that it does not describe."""
    model = models.Gaussian1D(0.5, 2.0, 0.6) + models.Const1D(pedestal)
    result = fit(Y + pedestal, model, fitter=Says(), sigma=sigma)
    assert statuses(result) == [FitStatus.NO_PROGRESS] * 3
    lost = fit(Y + pedestal, model, fitter=Says(), sigma=sigma, keep_failed=False)
    assert bool(lost["mean_0"].isnull().all())
    assert bool(lost["mean_0_stderr"].isnull().all())


@pytest.mark.parametrize("pedestal", [0.0, 280.0, 6.4e6])
def test_a_success_on_a_pedestal_is_the_minimum(pedestal: float) -> None:
    """Fitters judge a change of the model against the model: on a pedestal they stop early, and that shows."""
    x = np.linspace(-5, 5, 101)
    y = noisy(np.exp(-0.5 * x**2), 1e-2)
    model = models.Const1D(pedestal) + models.Gaussian1D(0.7, 0.5, 0.8)
    truth = fit(y, models.Const1D(0.0) + models.Gaussian1D(0.7, 0.5, 0.8), x, fitter=LMLSQFitter())
    assert statuses(truth) == [OK] * 3
    result = fit(y + pedestal, model, x)
    for i in np.flatnonzero(result["fit_status"].values > 0):
        for name in ("amplitude_1", "mean_1", "stddev_1"):
            error = float(truth[f"{name}_stderr"][i])
            assert abs(float(result[name][i] - truth[name][i])) < 0.3 * error


def test_data_without_noise_converge() -> None:
    """Residuals of rounding have no direction: that is a minimum, at any scale."""
    clean = gauss(X, 2.0, 0.7, 1.3)
    for scale in (1.0, 2.0**-60, 2.0**60):
        model = models.Gaussian1D(1.5 * scale, 0.3, 1.0)
        result = fit(clean[None] * scale, model, fitter=LevMarLSQFitter())
        assert statuses(result) == [OK]
        np.testing.assert_allclose(result["mean"], [0.7], rtol=1e-7)  # the fitter's own tolerance
    exact = judge(models.Gaussian1D(), X, clean, [2.0, 0.7, 1.3])
    assert exact.stationary
    assert exact.chi2 < 1e-28  # rounding of values of 2


@pytest.mark.parametrize("off", [1e-2, 1e-3])
def test_data_without_noise_are_no_excuse(off: float) -> None:
    found = judge(models.Gaussian1D(), X, gauss(X, 2.0, 0.7, 1.3), [2.0, 0.7 + off, 1.3])
    assert not found.stationary


@pytest.mark.parametrize("fitter", [TRFLSQFitter(), DogBoxLSQFitter()])
def test_an_absolute_tolerance_is_found_out(fitter: Any) -> None:
    """scipy's trust-region fitters return the start of data of 1e-17 as a success."""
    result = fit(Y * 1e-17, models.Gaussian1D(1.5e-17, 0.3, 1.0), fitter=fitter)
    assert result["amplitude"].values.tolist() == [1.5e-17] * 3  # else this test shows nothing
    assert statuses(result) == [FitStatus.NO_PROGRESS] * 3


@pytest.mark.parametrize("bounds", [{"amplitude": (0.0, 1.5)}, {"mean": (1.0, 5.0)}])
def test_parameters_clipped_to_bounds_are_found_out(bounds: dict[str, Any]) -> None:
    """LevMar clips to bounds after each step, and the others no longer move to where they should."""
    start = {"mean": 1.0} if "mean" in bounds else {}
    clipped = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), bounds=bounds, p0=start, fitter=LevMarLSQFitter())
    right = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), bounds=bounds, p0=start, fitter=TRFLSQFitter())
    assert statuses(right) == [AT_BOUND] * 3
    worse = (clipped["chi2"] > right["chi2"] * 1.01).values
    assert worse.any()  # else this test shows nothing
    assert all(s <= 0 for s, w in zip(statuses(clipped), worse, strict=True) if w)


# ------------------------------------------------------------------------------------ models that raise


def test_a_model_that_raises_beside_the_fit_stops_no_other() -> None:
    """Judging a fit asks the model beside its parameters: what it raises there is this fit's alone."""

    def refuses(x: np.ndarray, c: float = 2.0, d: float = 0.0) -> np.ndarray:
        # No d but 0 and what lies far off: refused only where the third fit is judged.
        if np.any((np.asarray(c) > 2.5) & (np.abs(d) > 0) & (np.abs(d) < 0.5)):
            raise ValueError("not here")
        return np.hypot(x, 0.0) * c + d

    model = custom_model(refuses)()
    y = np.abs(X) * np.array([[1.0], [2.0], [3.0]]) + scatter_without(np.abs(X), np.ones_like(X))
    answers = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    result = fit(y, model, fitter=Nearest(answers), sigma=1e3)
    assert statuses(result)[:2] == [OK, OK]
    assert statuses(result)[2] <= 0
    alone = fit(y[:2], model, fitter=Nearest(answers), sigma=1e3)
    xr.testing.assert_identical(result.isel(pix=[0, 1]).drop_attrs(), alone.drop_attrs())


def test_a_tie_that_raises_beside_the_fit_stops_no_other() -> None:
    """math.sqrt of a slope that ends on its bound of 0: below there is no tie."""
    model = models.Linear1D(1.0, 1.0, bounds={"slope": (0.0, None)})
    model.intercept.tied = lambda m: math.sqrt(m.slope.value)
    y = np.stack([2.0 * X + math.sqrt(2.0), 0.0 * X]) + scatter_without(X, np.ones_like(X))
    result = fit(y, model, fitter=Nearest([[2.0, math.sqrt(2.0)], [0.0, 0.0]]), sigma=1.0)
    alone = fit(y[:1], model, fitter=Nearest([[2.0, math.sqrt(2.0)]]), sigma=1.0)
    assert statuses(alone) == [OK]
    xr.testing.assert_identical(result.isel(pix=[0]).drop_attrs(), alone.drop_attrs())


# ------------------------------------------------------------------------------------ scale


@pytest.mark.parametrize("of_data", [1.0, 2.0**-60, 2.0**60])
@pytest.mark.parametrize("of_x", [1.0, 2.0**-60, 2.0**60])
def test_scale_changes_errors_and_nothing_else(of_data: float, of_x: float) -> None:
    plain = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), fitter=LevMarLSQFitter(), sigma=0.05)
    model = models.Gaussian1D(1.5 * of_data, 0.3 * of_x, 1.0 * of_x)
    scaled = fit(Y * of_data, model, X * of_x, fitter=LevMarLSQFitter(), sigma=0.05 * of_data)
    assert statuses(scaled) == statuses(plain) == [OK] * 3
    for name, factor in (("amplitude", of_data), ("mean", of_x), ("stddev", of_x)):
        # Powers of two scale exactly; MINPACK guards its norms against overflow by other sums.
        np.testing.assert_allclose(scaled[f"{name}_stderr"] / factor, plain[f"{name}_stderr"], rtol=1e-6)
        assert bool((abs(scaled[name] / factor - plain[name]) < 1e-3 * plain[f"{name}_stderr"]).all())
    np.testing.assert_allclose(scaled["chi2"], plain["chi2"], rtol=1e-9)


@pytest.mark.parametrize("of_data", [1.0, 2.0**-60, 2.0**60])
@pytest.mark.parametrize("of_x", [1.0, 2.0**-60, 2.0**60])
def test_scale_of_a_linear_problem(of_data: float, of_x: float) -> None:
    """astropy's linear fitter scales columns wrongly: what it then gives must not pass for converged."""
    y = noisy(0.4 * X + 1.0, 0.05)
    result = fit(y * of_data, models.Linear1D(), X * of_x, fitter=LinearLSQFitter())
    if of_x == 1.0:
        assert statuses(result) == [OK] * 3
    for i in np.flatnonzero(result["fit_status"].values > 0):
        p, covariance = straight(X, y[i])
        error = np.sqrt(np.diag(covariance) * np.sum((y[i] - p[0] * X - p[1]) ** 2) / (X.size - 2))
        found = [float(result["slope"][i]) * of_x / of_data, float(result["intercept"][i]) / of_data]
        assert np.all(np.abs(found - p) < 1e-9 * error)
        errors = [float(result["slope_stderr"][i]) * of_x / of_data, float(result["intercept_stderr"][i]) / of_data]
        np.testing.assert_allclose(errors, error, rtol=1e-9)


def test_a_weight_of_any_scale() -> None:
    """Weights are relative: a common factor changes chi-square, not the errors."""
    plain = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), weights=1.0, fitter=LevMarLSQFitter())
    for factor in (2.0**-60, 2.0**60):
        scaled = fit(Y, models.Gaussian1D(1.5, 0.3, 1.0), weights=factor, fitter=LevMarLSQFitter())
        assert statuses(scaled) == [OK] * 3
        np.testing.assert_allclose(scaled["mean_stderr"], plain["mean_stderr"], rtol=1e-6)
        np.testing.assert_allclose(scaled["chi2"], plain["chi2"] * factor**2, rtol=1e-6)


# ------------------------------------------------------------------------------------ calibration

FITS = 300
# The mean of 300 pulls has a standard error of 1 / sqrt(300), their width one of 1 / sqrt(600).
# Pulls by the scatter of 40 residuals follow Student's t: wider by 2.5 %, with a width that is
# known a little less well; both are far within the five standard errors that are allowed.
MEAN, WIDTH = 5 / np.sqrt(FITS), 5 / np.sqrt(2 * FITS)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("known", [True, False], ids=["sigma", "scatter"])
@pytest.mark.parametrize("kind", ["line", "gaussian"])
def test_errors_are_calibrated(kind: str, known: bool) -> None:
    """Simulated fits with gaps: (found - true) / error is normal with mean 0 and width 1."""
    rng = np.random.default_rng([known, kind == "line"])
    x = np.linspace(-4.0, 6.0, 61)
    sigma = rng.uniform(0.02, 0.06, x.size) if known else np.full(x.size, 0.04)
    true = {"slope": 0.4, "intercept": 1.0} if kind == "line" else {"amplitude": 2.0, "mean": 0.7, "stddev": 1.3}
    clean = 0.4 * x + 1.0 if kind == "line" else gauss(x, 2.0, 0.7, 1.3)
    y = clean + rng.normal(0, sigma, (FITS, x.size))
    y[rng.uniform(size=y.shape) < 0.3] = np.nan
    model = models.Linear1D(0.3, 0.9) if kind == "line" else models.Gaussian1D(1.8, 0.6, 1.2)
    fitter = LinearLSQFitter() if kind == "line" else LevMarLSQFitter()
    result = fit(y, model, x, sigma=sigma if known else None, fitter=fitter)
    assert statuses(result) == [OK] * FITS
    for name, value in true.items():
        pulls = ((result[name] - value) / result[f"{name}_stderr"]).values
        assert abs(np.mean(pulls)) < MEAN, name
        assert abs(np.std(pulls) - 1) < WIDTH, name
    if known:
        # The mean of 300 reduced chi-squares of about 40 degrees each.
        dof = result["dof"].values
        assert abs(np.sum(result["chi2"].values) - dof.sum()) < 5 * np.sqrt(2 * dof.sum())


def test_chi_square_counts_what_is_there() -> None:
    """Errors of gappy data are those of the data without the gaps."""
    y = Y[0].copy()
    y[[0, 7, 8, 30]] = np.nan
    keep = np.isfinite(y)
    gappy = fit(y, models.Gaussian1D(1.5, 0.3, 1.0), sigma=0.05)
    removed = fit(y[keep], models.Gaussian1D(1.5, 0.3, 1.0), X[keep], sigma=0.05)
    xr.testing.assert_identical(gappy.drop_attrs(), removed.drop_attrs())


@pytest.mark.parametrize("noise", [0.0, 1e-10, 1e-6, 1e-3])
@pytest.mark.parametrize("frequency", [1 / 365, 1 / 365.25])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_fit_that_ends_where_rounding_hides_its_minimum_has_converged(
    noise: float, frequency: float, slope: float
) -> None:
    """Far from its origin (days since 1970), a season without noise leaves chi-square to rounding."""
    day = 7300.0 + 30.4 * np.arange(240)
    values = 8 + 1e-4 * day + 9 * np.sin(2 * np.pi * day / 365.25)
    values = values + noise * np.random.default_rng(0).normal(size=day.size)
    data = xr.DataArray(values, dims="t", coords={"t": day})
    fit = data.modelfit(models.Linear1D(slope, 0) + models.Sine1D(5, frequency, 0), dim="t")
    assert fit["fit_status"] == FitStatus.CONVERGED
    np.testing.assert_allclose(fit["slope_0"], 1e-4, rtol=0, atol=1e-11 + 10 * noise / 240**0.5 / 2000)
    np.testing.assert_allclose(fit["frequency_1"], 1 / 365.25, rtol=0, atol=1e-14 + 1e-6 * noise)
