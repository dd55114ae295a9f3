"""Errors are errors: pulls of simulated fits have mean 0 and width 1, and chi-square has its degrees of freedom.

The pull of a parameter is ``(value - truth) / stderr``. The noise of the 2000 fits of a case has exactly the mean 0 and
the covariance 1 that it is drawn from. In linear theory the mean of the pulls is then 0 and their width 1 without any
scatter of the simulation; what is left is gaps, curvature of the model, and the fits' own faults, and 4 % is more
than 2.5 times what scatters. Where errors are rescaled by the residuals, pulls follow Student's distribution, whose
width is ``sqrt(dof / (dof - 2))``.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D, Moffat1D

from xr_modelfit import BatchLSQFitter, fit

pytestmark = pytest.mark.quick_share(3)

N_FITS = 2000
TOLERANCE = 0.04
SIZES = {1: {"x": 60}, 2: {"y": 11, "x": 11}}
GAPS = 0.1  # of the samples


@custom_model
def decay(t, height=1.0, rate=0.5, floor=0.0):  # type: ignore[no-untyped-def]  # astropy reads annotations as units
    """An exponential without derivatives of its own."""
    return height * np.exp(-rate * t) + floor


def twelve_apart(model: Any) -> Any:
    return model.mean_0 + 12.0


def half_as_wide_again(model: Any) -> Any:
    return 1.5 * model.stddev_0


def inverse_of_slope(model: Any) -> Any:
    return 1.0 / model.slope


def rate_of_height(model: Any) -> Any:
    return 0.05 * model.height


def round_star(model: Any) -> Any:
    return model.x_stddev


def doublet(*values: float) -> Model:
    model = Gaussian1D() + Gaussian1D() + Const1D()
    model.parameters = values
    model.mean_1.tied, model.stddev_1.tied = twelve_apart, half_as_wide_again
    return model


@dataclass(frozen=True)
class Case:
    """A model at the truth, the start of the fits, and the noise."""

    truth: Model
    start: Model
    noise: float


CASES = {
    "gaussian": Case(Gaussian1D(5, 21, 4) + Const1D(1), Gaussian1D(4, 23, 5) + Const1D(0), 0.1),
    "line": Case(Linear1D(0.3, 2), Linear1D(), 0.5),
    "decay": Case(decay(10, 0.1, 1), decay(8, 0.15, 0), 0.1),
    "tied gaussians": Case(doublet(5, 21, 3, 3, 33, 4.5, 1), doublet(4, 22, 4, 4, 34, 6, 0), 0.1),
    "tied line": Case(
        Linear1D(0.3, 1 / 0.3, tied={"intercept": inverse_of_slope}),
        Linear1D(0.4, 2.5, tied={"intercept": inverse_of_slope}),
        0.1,
    ),
    "tied decay": Case(
        decay(4, 0.2, 1, tied={"rate": rate_of_height}), decay(3, 0.15, tied={"rate": rate_of_height}), 0.1
    ),
    "stamp": Case(Gaussian2D(10, 5.3, 4.6, 2.5, 1.5, 0.5), Gaussian2D(8, 5, 5, 2.2, 1.7, 0.4), 0.2),
    "tied stamp": Case(
        Gaussian2D(10, 5.3, 4.6, 2, 2, 0, fixed={"theta": True}, tied={"y_stddev": round_star}),
        Gaussian2D(8, 5, 5, 1.7, 1.7, 0, fixed={"theta": True}, tied={"y_stddev": round_star}),
        0.2,
    ),
}

every_case = pytest.mark.parametrize("name", list(CASES))
with_and_without_sigma = pytest.mark.parametrize("given", [True, False], ids=["sigma", "no sigma"])
with_and_without_gaps = pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])


def standard_noise(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Normal noise (fits, samples) whose means over the fits are 0 and whose covariance is 1, exactly."""
    drawn = rng.normal(size=(N_FITS, n_samples))
    orthonormal, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    return orthonormal * np.sqrt(N_FITS)


def simulated(case: Case, given: bool, gaps: bool, seed: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Data of all fits and the standard errors of their samples, which differ if they are to be given."""
    sizes = SIZES[case.truth.n_inputs]
    axes = {dim: np.arange(float(size)) for dim, size in sizes.items()}
    rng = np.random.default_rng(seed)
    at = np.meshgrid(*axes.values(), indexing="ij")
    values = np.asarray(case.truth(*reversed(at)))  # x varies along the last dim
    spread = np.linspace(0.7, 1.6, values.size).reshape(values.shape) if given else np.ones(values.shape)
    sigma = case.noise * spread
    data = values + sigma * standard_noise(rng, values.size).reshape(N_FITS, *values.shape)
    if gaps:
        data[rng.random(data.shape) < GAPS] = np.nan
    return xr.DataArray(data, dims=("fit", *sizes), coords=axes), xr.DataArray(sigma, dims=list(sizes), coords=axes)


@cache
def calibrated(name: str, given: bool, gaps: bool) -> tuple[xr.Dataset, dict[str, float]]:
    """The result of the fits of a case, and the true values of the parameters that scatter."""
    case = CASES[name]
    data, sigma = simulated(case, given, gaps, seed=20260301 + list(CASES).index(name))
    options: dict[str, Any] = {"sigma": sigma} if given else {}
    result = fit(data, case.start, list(SIZES[case.truth.n_inputs]), **options)
    names = [n for n in case.truth.param_names if not getattr(case.truth, n).fixed]
    return result, {n: float(getattr(case.truth, n).value) for n in names}


def miscalibrated(result: xr.Dataset, truth: dict[str, float], given: bool, factor: float = 1.0) -> dict[str, str]:
    """Parameters whose pulls are off, and by how much; ``factor`` makes their errors wrong."""
    found = {}
    dof = result["dof"]
    width = 1.0 if given else float(np.sqrt((dof / (dof - 2)).mean()))
    for name, value in truth.items():
        pull = (result[name] - value) / (factor * result[f"{name}_stderr"]) / width
        mean, std = float(pull.mean()), float(pull.std())
        if not (abs(mean) <= TOLERANCE and abs(std - 1.0) <= TOLERANCE):
            found[name] = f"mean {mean:.3f}, width {std:.3f}"
    return found


@pytest.mark.quick_share(3)
@every_case
@with_and_without_sigma
@with_and_without_gaps
def test_pulls_have_mean_0_and_width_1(name: str, given: bool, gaps: bool) -> None:
    result, truth = calibrated(name, given, gaps)
    assert result.modelfit.ok.all()
    assert int(result["n_points"].min()) < int(np.prod(list(SIZES[CASES[name].truth.n_inputs].values()))) or not gaps
    assert miscalibrated(result, truth, given) == {}


@pytest.mark.quick_share(3)
@every_case
@with_and_without_gaps
def test_chi_square_has_its_degrees_of_freedom(name: str, gaps: bool) -> None:
    """With sigma; the mean of 2000 scatters by sqrt(2 dof / 2000)."""
    result, _ = calibrated(name, True, gaps)
    excess = float((result["chi2"] - result["dof"]).mean())
    assert abs(excess) <= 2.5 * np.sqrt(2 * float(result["dof"].mean()) / N_FITS)


@pytest.mark.parametrize("factor", [0.9, 1.1])
@every_case
def test_errors_wrong_by_a_tenth_are_seen(name: str, factor: float) -> None:
    """The check above can fail, for every parameter."""
    result, truth = calibrated(name, True, False)
    assert list(miscalibrated(result, truth, True, factor)) == list(truth)


@every_case
def test_values_off_by_a_tenth_of_an_error_are_seen(name: str) -> None:
    result, truth = calibrated(name, True, False)
    moved = {n: value + 0.1 * float(result[f"{n}_stderr"].mean()) for n, value in truth.items()}
    assert list(miscalibrated(result, moved, True)) == list(truth)


@pytest.mark.parametrize(("n", "scatter"), [(60, 0.3), (1000, 3.0)], ids=["clear", "drowned in noise"])
def test_what_the_default_tolerances_leave(n: int, scatter: float) -> None:
    """As the page on accuracy says: less than a millionth of a standard error, and 2e-5 where steps shrink slowly."""
    x = np.linspace(0.0, 10.0, n)
    y = Moffat1D(3, 4.6, 1.2, 2.0)(x) + np.random.default_rng(8).normal(0.0, scatter, (100, n))
    data = xr.DataArray(y, dims=("k", "x"), coords={"x": x})
    start = Moffat1D(2.5, 5.0, 1.0, 1.5)
    default = fit(data, start, "x", errors="ignore")
    tight = BatchLSQFitter(xtol=1e-13, ftol=1e-26, gtol=1e-13, maxiter=1000)
    minimum = fit(data, start, "x", errors="ignore", fitter=tight)
    done = (default["fit_status"] > 0) & (minimum["fit_status"] > 0)
    assert done.sum() > 60  # the others are undetermined
    left = xr.concat([abs(default[p] - minimum[p]) / minimum[f"{p}_stderr"] for p in start.param_names], "p")
    left = left.max("p").where(done, drop=True)
    assert (left < 1e-6).mean() >= 0.99
    assert left.max() < 2.5e-5
