"""What astropy's ``parallel_fit_dask`` can do, in labelled form, against closed forms and scipy."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dask
import dask.array
import dask.callbacks
import numpy as np
import pytest
import scipy.optimize
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import (
    DogBoxLSQFitter,
    FittingWithOutlierRemoval,
    LevMarLSQFitter,
    LinearLSQFitter,
    LMLSQFitter,
    SimplexLSQFitter,
    SLSQPLSQFitter,
    TRFLSQFitter,
    parallel_fit_dask,
)
from astropy.modeling.models import (
    Chebyshev1D,
    Const1D,
    Gaussian1D,
    Gaussian2D,
    Hermite1D,
    Legendre1D,
    Linear1D,
    Planar2D,
    Polynomial1D,
    Polynomial2D,
    PowerLaw1D,
)
from astropy.stats import sigma_clip
from astropy.utils.exceptions import AstropyUserWarning
from distributed import Client

import xr_modelfit
from xr_modelfit import FitStatus, fit

X = np.linspace(-2.0, 3.0, 26)
T = np.array([0.0, 1.0, 2.5, 3.0, 4.0, 6.0, 7.5])
# TRF, DogBox and LM stop when chi-square changes by less than 1e-8 of itself, whatever ``acc`` says. A step of d
# standard errors changes it by d**2 / dof of itself: with 23 degrees of freedom the last step was below 5e-4.
STOPPED = 5e-4


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of one worker in this process, which nothing uses unless it is named."""
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0", set_as_default=False) as c:
        yield c


# --- data and authorities


def gaussian(x: np.ndarray, amplitude: Any, mean: Any, stddev: Any) -> Any:
    """The model, written out."""
    return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def peaks(noise: float = 0.05) -> xr.DataArray:
    """One Gaussian at each of 2 x 3 positions, all different, with noise."""
    rng = np.random.default_rng(7)
    amplitude, mean = np.array([[2.0, 3.0, 4.0], [5.0, 2.5, 3.5]]), np.array([[0.0, 0.4, -0.3], [0.7, 1.0, 0.2]])
    values = gaussian(X, amplitude[..., None], mean[..., None], 0.6) + rng.normal(0.0, noise, (2, 3, X.size))
    return xr.DataArray(values, dims=("y", "x", "v"), coords={"v": X, "y": [10, 20]}, name="flux")


def lines() -> xr.DataArray:
    """Straight lines with noise at 2 x 3 positions."""
    rng = np.random.default_rng(8)
    slope = np.arange(1.0, 7.0).reshape(2, 3, 1)
    values = slope * T - 2.0 * slope**2 + rng.normal(0.0, 0.3, (2, 3, T.size))
    return xr.DataArray(values, dims=("y", "x", "t"), coords={"t": T, "y": [10, 20], "x": [3, 2, 1]}, name="flux")


def straight_line(
    x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0, absolute: bool = False
) -> dict[str, np.ndarray]:
    """Weighted straight-line fits along the last axis by the sums of the textbook, with their errors."""
    x, w = np.broadcast_to(x, y.shape), np.broadcast_to(w, y.shape)
    s, sx, sy = ((w**2 * v).sum(-1) for v in (np.ones_like(y), x, y))
    centre = x - (sx / s)[..., None]
    sxx = (w**2 * centre**2).sum(-1)
    slope = (w**2 * centre * y).sum(-1) / sxx
    intercept = (sy - slope * sx) / s
    chi2 = (w**2 * (y - slope[..., None] * x - intercept[..., None]) ** 2).sum(-1)
    scale = 1.0 if absolute else chi2 / (y.shape[-1] - 2)
    slope_stderr, intercept_stderr = np.sqrt(scale / sxx), np.sqrt(scale * (1 / s + (sx / s) ** 2 / sxx))
    return {
        "slope": slope,
        "intercept": intercept,
        "chi2": chi2,
        "slope_stderr": slope_stderr,
        "intercept_stderr": intercept_stderr,
    }


def assert_line(result: xr.Dataset, expected: Mapping[str, np.ndarray], rtol: float = 1e-9) -> None:
    """A linear problem of a few samples with a condition below 100: rounding is 1e-13 or less."""
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for name, values in expected.items():
        np.testing.assert_allclose(result[name].values, values, rtol=rtol, err_msg=name)


def minimum(
    function: Callable[..., Any], start: Any, x: np.ndarray, y: np.ndarray, bounds: Any = (-np.inf, np.inf)
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and standard errors of one fit by scipy, to rounding level."""
    found = scipy.optimize.least_squares(
        lambda p: function(x, *p) - y, start, jac="3-point", bounds=bounds, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    dof = y.size - found.x.size
    covariance = np.linalg.inv(found.jac.T @ found.jac) * 2 * found.cost / dof
    return found.x, np.sqrt(np.diagonal(covariance))


def assert_minimum(
    result: xr.Dataset,
    data: xr.DataArray,
    dim: str,
    names: list[str],
    function: Callable[..., Any],
    start: Any,
    distance: float = STOPPED,
) -> None:
    """Every position is at scipy's minimum, within ``distance`` standard errors; errors change by about as much."""
    assert (result["fit_status"] > 0).all()
    for at in np.ndindex(*(data.sizes[d] for d in data.dims if d != dim)):
        place = dict(zip([d for d in data.dims if d != dim], at, strict=True))
        one = data.isel(place)
        p, stderr = minimum(function, start, one[dim].values, one.values)
        for name, value, error in zip(names, p, stderr, strict=True):
            assert abs(result[name].isel(place).item() - value) <= distance * error, (name, at)
            np.testing.assert_allclose(result[f"{name}_stderr"].isel(place).item(), error, rtol=1e-3)


# --- models


def test_compound_model() -> None:
    """Astropy's names: the number of the sub-model behind that of the parameter."""
    data = peaks() + 1.0
    result = data.modelfit(Gaussian1D(3, 0.2, 0.5) + Const1D(0.5), dim="v")
    names = ["amplitude_0", "mean_0", "stddev_0", "amplitude_1"]
    assert list(result.modelfit.params) == names
    assert_minimum(result, data, "v", names, lambda x, a, m, s, c: gaussian(x, a, m, s) + c, (3, 0.2, 0.5, 0.5))


def test_names_of_models_and_sub_models_are_kept() -> None:
    """A named sub-model gives its name to its parameters, and ``to_model`` has all names again."""
    model = Gaussian1D(3, 0.2, 0.5, name="halpha") + Const1D(0.0, name="sky")
    model.name = "spectrum"
    result = peaks().modelfit(model, dim="v")
    assert list(result.modelfit.params) == ["halpha_amplitude", "halpha_mean", "halpha_stddev", "sky_amplitude"]
    back = result.modelfit.to_model()
    assert back.name == "spectrum"
    assert back.submodel_names == ("halpha", "sky")
    simple = peaks().modelfit(Gaussian1D(3, 0.2, 0.5, name="line"), dim="v")
    assert simple.modelfit.to_model().name == "line"
    assert list(simple.modelfit.params) == ["amplitude", "mean", "stddev"]


@custom_model
def decay(x, height=1.0, rate=1.0):
    """Exponential decay."""
    return height * np.exp(-rate * x)


CUSTOM: dict[str, Callable[[], Model]] = {
    "decorated": lambda: decay(4.0, 0.3),
    "lambda": lambda: custom_model(lambda x, height=4.0, rate=0.3: height * np.exp(-rate * x))(),
    "with derivatives": lambda: custom_model(
        lambda x, height=4.0, rate=0.3: height * np.exp(-rate * x),
        fit_deriv=lambda x, height=4.0, rate=0.3: [np.exp(-rate * x), -height * x * np.exp(-rate * x)],
    )(),
}


@pytest.mark.parametrize("kind", list(CUSTOM))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_custom_model(kind: str, way: str) -> None:
    """A class, a lambda, with and without derivatives; the seed's kind of model that pickle refuses."""
    rng = np.random.default_rng(9)
    values = np.array([[5.0], [3.0]]) * np.exp(-np.array([[0.4], [0.2]]) * T) + rng.normal(0.0, 0.05, (2, T.size))
    data = xr.DataArray(values, dims=("p", "t"), coords={"t": T})
    given = data.chunk(p=1) if way == "lazy" else data
    result = given.modelfit(CUSTOM[kind](), dim="t").compute()
    assert_minimum(result, data, "t", ["height", "rate"], decay.evaluate, (4.0, 0.3))


@pytest.mark.slow
def test_custom_model_on_processes() -> None:
    """Nothing of a lambda that pickle refuses is lost on the way to other processes."""
    data = xr.DataArray(np.array([[5.0], [3.0]]) * np.exp(-0.4 * T), dims=("p", "t"), coords={"t": T})
    model = custom_model(lambda x, height=4.0, rate=0.3: height * np.exp(-rate * x))()
    model.height.tied = lambda m: 5.0 * (m.rate.value / 0.4)
    result = data.isel(p=[0]).modelfit(model, dim="t", scheduler="processes", fits_per_chunk=1)
    np.testing.assert_allclose(result["rate"], 0.4, rtol=1e-6)  # noise-free: TRF's default is 1e-7
    np.testing.assert_allclose(result["height"], 5.0, rtol=1e-6)


def test_fixed_parameter() -> None:
    """The fixed one keeps its value and has the error 0; the others are at the minimum of the reduced model."""
    data = peaks()
    model = Gaussian1D(3, 0.2, 0.65, fixed={"stddev": True})
    result = data.modelfit(model, dim="v")
    assert (result["stddev"] == 0.65).all()
    assert (result["stddev_stderr"] == 0.0).all()
    assert (result["dof"] == X.size - 2).all()
    assert_minimum(result, data, "v", ["amplitude", "mean"], lambda x, a, m: gaussian(x, a, m, 0.65), (3, 0.2))


def test_tied_parameter() -> None:
    """Errors of the free ones are those of the reduced model, that of the tied one goes through its tie."""
    data = peaks()
    model = Gaussian1D(3, 0.2, 0.6, tied={"stddev": lambda m: 0.15 * m.amplitude.value})
    result = data.modelfit(model, dim="v")
    np.testing.assert_allclose(result["stddev"], 0.15 * result["amplitude"], rtol=1e-12)
    np.testing.assert_allclose(result["stddev_stderr"], 0.15 * result["amplitude_stderr"], rtol=1e-6)
    assert (result["dof"] == X.size - 2).all()
    assert_minimum(result, data, "v", ["amplitude", "mean"], lambda x, a, m: gaussian(x, a, m, 0.15 * a), (3, 0.2))


@pytest.mark.parametrize("given", ["on the model", "in the call"])
def test_bounds(given: str) -> None:
    """Where the minimum lies outside, the parameter ends on its bound and the others at the minimum with it held."""
    data = peaks()
    bounds = {"mean": (-5.0, 0.5)}
    model = Gaussian1D(3, 0.2, 0.5, bounds=bounds if given == "on the model" else {})
    options = {} if given == "on the model" else {"bounds": bounds}
    result = data.modelfit(model, dim="v", **options)
    free = {tuple(at): minimum(gaussian, (3, 0.2, 0.5), X, data.values[tuple(at)])[0] for at in np.ndindex(2, 3)}
    outside = np.array([[free[i, j][1] > 0.5 for j in range(3)] for i in range(2)])
    assert outside.sum() == 2
    np.testing.assert_array_equal(result["fit_status"] == FitStatus.CONVERGED_AT_BOUND, outside)
    for at in np.ndindex(2, 3):
        if outside[at]:
            # TRF stays inside by a distance that goes with its tolerance.
            np.testing.assert_allclose(result["mean"].values[at], 0.5, atol=1e-6)
            assert np.isnan(result["mean_stderr"].values[at])
            held, stderr = minimum(lambda x, a, s: gaussian(x, a, 0.5, s), (3, 0.5), X, data.values[at])
            # One parameter more counts as free, though it is on its bound.
            stderr = stderr * np.sqrt((X.size - 2) / (X.size - 3))
            for name, value, error in zip(("amplitude", "stddev"), held, stderr, strict=True):
                assert abs(result[name].values[at] - value) < STOPPED * error
                np.testing.assert_allclose(result[f"{name}_stderr"].values[at], error, rtol=1e-3)
        else:
            for name, value in zip(("amplitude", "mean", "stddev"), free[at], strict=True):
                assert abs(result[name].values[at] - value) < STOPPED * result[f"{name}_stderr"].values[at]


def two_valleys() -> xr.DataArray:
    """Two narrow lines of different height: the start decides which one is found."""
    x = np.linspace(0.0, 10.0, 41)
    values = gaussian(x, 2.0, 2.0, 0.4) + gaussian(x, 3.0, 8.0, 0.4)
    return xr.DataArray(np.broadcast_to(values, (2, 3, 41)).copy(), dims=("y", "x", "v"), coords={"v": x})


STARTS = {
    "map": np.array([[2.2, 7.8, 2.2], [7.8, 2.2, 7.8]]),
    "row": np.array([2.2, 7.8, 2.2]),
    "column": np.array([[2.2], [7.8]]),
}


@pytest.mark.parametrize("shape", list(STARTS))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_array_valued_parameters_are_maps(shape: str, way: str) -> None:
    """Start values over the remaining dims, in the data's order, broadcast as astropy does."""
    data = two_valleys()
    model = Gaussian1D(2.5, STARTS[shape], 0.5)
    result = (data.chunk(x=2) if way == "lazy" else data).modelfit(model, dim="v").compute()
    nearest = np.where(np.broadcast_to(STARTS[shape], (2, 3)) < 5, 2.0, 8.0)
    # The other line, 15 widths away, adds nothing that a double holds.
    np.testing.assert_allclose(result["mean"], nearest, rtol=1e-6)


def test_start_maps_by_name() -> None:
    """``p0`` is matched by the names of its dims, in any order, and overrides the model."""
    data = two_valleys()
    start = xr.DataArray(STARTS["map"], dims=("y", "x"))
    for p0 in ({"mean": start}, {"mean": start.T}, {"mean": start, "amplitude": 2.5}):
        result = data.modelfit(Gaussian1D(1.0, 5.0, 0.5), dim="v", p0=p0)
        np.testing.assert_allclose(result["mean"], np.where(STARTS["map"] < 5, 2.0, 8.0), rtol=1e-6)
    row = data.modelfit(Gaussian1D(2.5, 5.0, 0.5), dim="v", p0={"mean": xr.DataArray([2.2, 7.8], dims="y")})
    np.testing.assert_allclose(row["mean"], np.broadcast_to([[2.0], [8.0]], (2, 3)), rtol=1e-6)


def test_fixed_map() -> None:
    """A fixed parameter may differ from fit to fit."""
    data = lines()
    slope = xr.DataArray(np.arange(1.0, 7.0).reshape(3, 2), dims=("x", "y"))
    model = Linear1D(1.0, 0.0, fixed={"slope": True})
    result = data.modelfit(model, dim="t", p0={"slope": slope}, fitter=LinearLSQFitter())
    expected = (data - slope * data["t"]).mean("t")
    np.testing.assert_array_equal(result["slope"], slope.T)
    np.testing.assert_allclose(result["intercept"], expected.transpose("y", "x"), rtol=1e-12)
    assert (result["slope_stderr"] == 0).all()


# --- fitters

# SLSQP stops on the change of chi-square, at sqrt(acc * dof) standard errors or less; Simplex on the spread of the
# parameters, 1e-10 here, and of chi-square.
NONLINEAR: dict[str, tuple[Callable[[], Any], dict[str, Any], float]] = {
    "TRF": (TRFLSQFitter, {}, STOPPED),
    "TRF without derivatives": (TRFLSQFitter, {"estimate_jacobian": True}, STOPPED),
    "DogBox": (DogBoxLSQFitter, {}, STOPPED),
    "LM": (LMLSQFitter, {}, STOPPED),
    "LevMar": (LevMarLSQFitter, {}, STOPPED),
    "LevMar without derivatives": (LevMarLSQFitter, {"estimate_jacobian": True}, STOPPED),
    "SLSQP": (SLSQPLSQFitter, {"acc": 1e-12, "maxiter": 1000}, STOPPED),
    "Simplex": (SimplexLSQFitter, {"acc": 1e-10, "maxiter": 10000}, STOPPED),
}


@pytest.mark.parametrize("name", list(NONLINEAR))
def test_nonlinear_fitters(name: str) -> None:
    """Each astropy fitter ends at scipy's minimum, and errors are the same whatever the fitter."""
    make, keywords, distance = NONLINEAR[name]
    data = peaks()
    start = (3.0, 0.2, 0.5)
    result = data.modelfit(Gaussian1D(*start), dim="v", fitter=make(), fitter_kwargs=keywords)
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    assert_minimum(result, data, "v", ["amplitude", "mean", "stddev"], gaussian, start, distance)


@pytest.mark.parametrize("name", list(NONLINEAR))
def test_nonlinear_fitters_are_used_exactly(name: str) -> None:
    """The bits of a direct call of the same fitter on the same samples."""
    make, keywords, _ = NONLINEAR[name]
    keywords = {"maxiter": 100} | keywords  # the general minimisers print at their defaults
    data = peaks()
    result = data.modelfit(Gaussian1D(3.0, 0.2, 0.5), dim="v", fitter=make(), fitter_kwargs=keywords)
    quiet = {"verblevel": 0} if isinstance(make(), SLSQPLSQFitter | SimplexLSQFitter) else {}
    for at in np.ndindex(2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LM says that it is deprecated
            direct = make()(Gaussian1D(3.0, 0.2, 0.5), X, data.values[at], **keywords, **quiet)
        got = [result[n].values[at] for n in direct.param_names]
        np.testing.assert_array_equal(got, direct.parameters)


def test_linear_fitter() -> None:
    """The straight line of the textbook, values, errors and chi-square."""
    data = lines()
    assert_line(data.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter()), straight_line(T, data.values))


SERIES: dict[str, tuple[type[Model], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "Polynomial1D": (Polynomial1D, np.polynomial.polynomial.polyval),
    "Chebyshev1D": (Chebyshev1D, np.polynomial.chebyshev.chebval),
    "Legendre1D": (Legendre1D, np.polynomial.legendre.legval),
    "Hermite1D": (Hermite1D, np.polynomial.hermite.hermval),
}
COEFFICIENTS = np.array([[1.0, -2.0, 0.5, 0.25], [0.0, 3.0, -1.0, 0.125]])


@pytest.mark.parametrize("kind", list(SERIES))
@pytest.mark.parametrize("domain", [None, (0.0, 20.0)], ids=["no domain", "domain"])
@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter], ids=["Linear", "TRF"])
def test_polynomial_series(kind: str, domain: tuple[float, float] | None, fitter: Callable[[], Any]) -> None:
    """Coefficients are those of the data's own series in the model's domain, and evaluation gives the data."""
    model, series = SERIES[kind]
    t = np.linspace(1.0, 18.0, 30) / (1.0 if domain else 10.0)
    inside = t if domain is None else -1.0 + 2.0 * (t - domain[0]) / (domain[1] - domain[0])
    values = np.stack([series(inside, c) for c in COEFFICIENTS])
    data = xr.DataArray(values, dims=("p", "t"), coords={"t": t})
    start = model(3, domain=domain)
    start.parameters = [0.5, 0.5, 0.5, 0.5]
    result = data.modelfit(start, dim="t", fitter=fitter())
    got = np.stack([result[f"c{i}"].values for i in range(4)], axis=1)
    # Noise-free: the condition of the columns, some 100, times rounding.
    np.testing.assert_allclose(got, COEFFICIENTS, atol=1e-8)
    evaluated = result.modelfit.evaluate(data)
    np.testing.assert_allclose(evaluated, values, atol=1e-8 * np.abs(values).max())
    back = result.isel(p=1).modelfit.to_model()
    np.testing.assert_allclose(back(t), values[1], atol=1e-8 * np.abs(values).max())
    # Far outside of the samples a lost domain shows most.
    far = np.array([-7.0, 40.0])
    far_inside = far if domain is None else -1.0 + 2.0 * (far - domain[0]) / (domain[1] - domain[0])
    expected = np.stack([series(far_inside, c) for c in COEFFICIENTS])
    np.testing.assert_allclose(result.modelfit.evaluate(t=far), expected, rtol=1e-7)


CLIPPED = {
    "Linear": LinearLSQFitter,
    "TRF": TRFLSQFitter,
}


@pytest.mark.parametrize("inner", list(CLIPPED))
def test_fitting_with_outlier_removal(inner: str) -> None:
    """Two outliers are thrown out: the line is that of the other samples, which alone are counted."""
    t = np.arange(20.0)
    rng = np.random.default_rng(3)
    values = np.array([[2.0], [-1.0]]) * t + 5.0 + rng.normal(0.0, 0.1, (2, 20))
    values[0, 4] += 50.0
    values[1, [3, 15]] += [80.0, -60.0]
    data = xr.DataArray(values, dims=("p", "t"), coords={"t": t})
    fitter = FittingWithOutlierRemoval(CLIPPED[inner](), sigma_clip, niter=5, sigma=3.0)
    result = data.modelfit(Linear1D(1.0, 1.0), dim="t", fitter=fitter, coords="t")
    for p, out in enumerate(([4], [3, 15])):
        keep = np.setdiff1d(np.arange(20), out)
        expected = straight_line(t[keep], values[p, keep])
        # TRF stops at 1e-7 of chi-square, which for a linear model is one exact step.
        assert_line(result.isel(p=p), expected, rtol=1e-6)
    np.testing.assert_array_equal(result["n_points"], [19, 18])
    np.testing.assert_array_equal(result["dof"], [17, 16])


USED: dict[str, Callable[[], Any]] = {
    "TRF": TRFLSQFitter,
    "LevMar": LevMarLSQFitter,
    "Linear": LinearLSQFitter,
    "Simplex": SimplexLSQFitter,
}


@pytest.mark.parametrize("name", list(USED))
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_users_fitter_is_untouched(name: str, scheduler: str) -> None:
    """It was used before the call: what it knows of that fit is still there, the very object."""
    fitter = USED[name]()
    own = Linear1D(1.0, 0.5) if name == "Linear" else Gaussian1D(2.0, 0.1, 0.7)
    quiet = {"verblevel": 0, "maxiter": 1000} if name == "Simplex" else {}
    fitter(own, X, gaussian(X, 2.2, 0.0, 0.6), **quiet)
    info, content = fitter.fit_info, copy.deepcopy(fitter.fit_info)
    model = Linear1D() if name == "Linear" else Gaussian1D(3, 0.2, 0.5)
    peaks().modelfit(model, dim="v", fitter=fitter, scheduler=scheduler, errors="ignore")
    assert fitter.fit_info is info
    np.testing.assert_equal(fitter.fit_info, content)


# --- the type of the data

DTYPES = ["float32", "float16", "int16", "int64", "uint8", ">f4", ">f8", ">i2", "<u4"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["numpy", "read-only", "dask"])
def test_types_of_data(dtype: str, form: str) -> None:
    """The straight line of the same numbers, in doubles, whatever they are stored as."""
    values = np.array([[1, 3, 4, 8, 9, 12, 16], [90, 75, 70, 55, 40, 22, 3]])
    stored = values.astype(dtype)
    stored.flags.writeable = form != "read-only"
    data = xr.DataArray(stored, dims=("p", "t"), coords={"t": T.astype(">f4")})
    result = (data.chunk(p=1) if form == "dask" else data).modelfit(Linear1D(), "t", fitter=LinearLSQFitter())
    assert result["slope"].dtype == np.dtype(float)
    assert_line(result.compute(), straight_line(T, values.astype(float)), rtol=1e-11)
    assert data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored, values.astype(dtype))


def test_float32_loses_nothing_more() -> None:
    """Single precision rounds the data once; the fit itself is in doubles."""
    data = peaks()
    result = data.astype("float32").modelfit(Gaussian1D(3, 0.2, 0.5), dim="v")
    rounded = data.astype("float32").astype(float)
    assert_minimum(result, rounded, "v", ["amplitude", "mean", "stddev"], gaussian, (3, 0.2, 0.5))


# --- weights and errors of the data


def companion(kind: str) -> tuple[Any, np.ndarray | float]:
    """A weight or error: as it is given, and as an array that broadcasts against (y, x, t)."""
    rng = np.random.default_rng(4)
    if kind == "number":
        return 0.25, 0.25
    dims = {"t": ("t",), "turned": ("t", "x", "y"), "full": ("y", "x", "t"), "remaining": ("x",), "some": ("t", "y")}
    values = rng.uniform(0.2, 2.0, [{"y": 2, "x": 3, "t": T.size}[d] for d in dims[kind]])
    array = xr.DataArray(values, dims=dims[kind])
    wide = array.broadcast_like(xr.DataArray(np.zeros((2, 3, T.size)), dims=("y", "x", "t"))).transpose("y", "x", "t")
    return array, wide.values


COMPANIONS = ["number", "t", "turned", "full", "remaining", "some"]


@pytest.mark.parametrize("kind", COMPANIONS)
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_weights(kind: str, way: str) -> None:
    """They multiply the residual, are matched by name, and are relative: errors come from the scatter."""
    data = lines()
    given, w = companion(kind)
    expected = straight_line(T, data.values, w)
    result = (data.chunk(x=2) if way == "lazy" else data).modelfit(
        Linear1D(), dim="t", weights=given, fitter=LinearLSQFitter()
    )
    assert_line(result.compute(), expected)


@pytest.mark.parametrize("kind", COMPANIONS)
@pytest.mark.parametrize("absolute", [None, True, False])
def test_sigma(kind: str, absolute: bool | None) -> None:
    """Residuals are divided by it, and it is absolute unless the call says otherwise."""
    data = lines()
    given, sigma = companion(kind)
    expected = straight_line(T, data.values, 1.0 / sigma, absolute=absolute is not False)
    result = data.modelfit(Linear1D(), "t", sigma=given, absolute_sigma=absolute, fitter=LinearLSQFitter())
    assert_line(result, expected)


@pytest.mark.parametrize("argument", ["weights", "sigma"])
def test_weights_and_sigma_of_a_nonlinear_fitter(argument: str) -> None:
    """TRF gets them as astropy's weights."""
    data = peaks()
    w = xr.DataArray(np.linspace(0.5, 2.0, X.size), dims="v")
    given = {argument: w if argument == "weights" else 1.0 / w}
    result = data.modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", **given)
    for at in np.ndindex(2, 3):
        p, stderr = minimum(lambda x, *q: w.values * gaussian(x, *q), (3, 0.2, 0.5), X, w.values * data.values[at])
        if argument == "sigma":  # absolute: not rescaled by the scatter
            stderr = stderr / np.sqrt(result["reduced_chi2"].values[at])
        for name, value, error in zip(("amplitude", "mean", "stddev"), p, stderr, strict=True):
            assert abs(result[name].values[at] - value) <= 1e-3 * error
            np.testing.assert_allclose(result[f"{name}_stderr"].values[at], error, rtol=1e-3)


@pytest.mark.parametrize("argument", ["weights", "sigma", "where"])
@pytest.mark.parametrize("chunked", [False, True])
def test_companions_by_the_name_of_a_variable(argument: str, chunked: bool) -> None:
    """In the Dataset form a companion may be a variable, and in both forms a coordinate."""
    data = lines()
    rng = np.random.default_rng(5)
    values = rng.uniform(0.5, 2.0, (T.size, 2))
    other = xr.DataArray(values > 0.8 if argument == "where" else values, dims=("t", "y"))
    ds = xr.Dataset({"flux": data, "other": other})
    ds = ds.chunk(y=1, t=3) if chunked else ds
    by_name = ds.modelfit(Linear1D(), "t", data="flux", fitter=LinearLSQFitter(), **{argument: "other"}).compute()
    as_coordinate = data.assign_coords(other=other).modelfit(
        Linear1D(), "t", fitter=LinearLSQFitter(), **{argument: "other"}
    )
    for at in np.ndindex(2, 3):
        v = other.values[:, at[0]]
        keep = v if argument == "where" else np.ones(T.size, dtype=bool)
        w = {"weights": v, "sigma": 1.0 / np.where(v, v, 1), "where": 1.0}[argument]
        w = np.broadcast_to(w, T.shape)[keep]
        expected = straight_line(T[keep], data.values[at][keep], w, absolute=argument == "sigma")
        for result in (by_name, as_coordinate):
            assert_line(result.isel(y=at[0], x=at[1]), expected)


# --- masks


@pytest.mark.parametrize("dims", [("t",), ("y", "x", "t"), ("t", "x", "y"), ("t", "y"), ("y", "x"), ("y",)], ids=str)
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_where(dims: tuple[str, ...], way: str) -> None:
    """True means that the sample is used; the line is that of the used samples, whatever the others hold."""
    data = lines()
    rng = np.random.default_rng(6)
    used = xr.DataArray(rng.random([data.sizes[d] for d in dims]) > 0.3, dims=dims)
    wide = used.broadcast_like(data).transpose("y", "x", "t")
    spoilt = data.where(wide, 1e6)
    given = spoilt.chunk(y=1, t=2) if way == "lazy" else spoilt
    result = given.modelfit(Linear1D(), "t", where=used, fitter=LinearLSQFitter()).compute()
    np.testing.assert_array_equal(result["n_points"], wide.sum("t"))
    for at in np.ndindex(2, 3):
        keep = wide.values[at]
        here = result.isel(y=at[0], x=at[1])
        if keep.sum() == 0:
            assert here["fit_status"] == FitStatus.NO_DATA
            assert np.isnan(here["slope"])
        else:
            assert keep.sum() > 2
            assert_line(here, straight_line(T[keep], data.values[at][keep]))


def test_astropys_mask_is_its_complement() -> None:
    """``where=~mask`` gives what ``parallel_fit_dask(mask=mask)`` gives, but for samples that carry no weight."""
    data = peaks()
    mask = xr.zeros_like(data, dtype=bool)
    mask[0, 1, [3, 9]] = True
    mask[1, 2, :5] = True
    model = Gaussian1D(3, 0.2, 0.5)
    result = data.modelfit(model, dim="v", where=~mask, fitter=TRFLSQFitter())
    theirs = parallel_fit_dask(
        model=model,
        fitter=TRFLSQFitter(),
        data=data.values,
        mask=mask.values,
        world=(X,),
        fitting_axes=2,
        scheduler="synchronous",
    )
    for name in model.param_names:
        np.testing.assert_allclose(result[name], getattr(theirs, name).value, rtol=1e-8)


# --- dims


def planes() -> tuple[xr.DataArray, dict[str, np.ndarray]]:
    """A 4-D cube: at each time and channel an uneven Gaussian in a plane that is not square."""
    rng = np.random.default_rng(11)
    y, x = np.linspace(-1.0, 2.0, 9), np.linspace(3.0, -4.0, 11)
    truth = {
        "amplitude": rng.uniform(2.0, 4.0, (2, 3)),
        "x_mean": rng.uniform(-1.0, 0.5, (2, 3)),
        "y_mean": rng.uniform(0.0, 1.0, (2, 3)),
        "x_stddev": rng.uniform(1.2, 1.6, (2, 3)),
        "y_stddev": rng.uniform(0.4, 0.7, (2, 3)),
    }
    a, mx, my, sx, sy = (v[..., None, None] for v in truth.values())
    values = a * np.exp(-0.5 * ((x - mx) / sx) ** 2 - 0.5 * ((y[:, None] - my) / sy) ** 2)
    dims = ("time", "channel", "y", "x")
    return xr.DataArray(values, dims=dims, coords={"y": y, "x": x, "time": [5, 6]}), truth


PLANE = {"amplitude": 3.0, "x_mean": -0.2, "y_mean": 0.4, "x_stddev": 1.4, "y_stddev": 0.5}


@pytest.mark.parametrize("dim", [("x", "y"), ("y", "x"), ["y", "x"]], ids=str)
@pytest.mark.parametrize(
    "order", [("time", "channel", "y", "x"), ("x", "time", "y", "channel"), ("x", "y", "channel", "time")], ids=str
)
def test_a_plane_model_in_a_4_d_cube(dim: Any, order: tuple[str, ...]) -> None:
    """One call; neither the order of ``dim`` nor that of the data's dims says which input reads what."""
    data, truth = planes()
    model = Gaussian2D(**PLANE, fixed={"theta": True})
    result = data.transpose(*order).modelfit(model, dim=dim)
    assert result["x_mean"].dims == tuple(d for d in order if d not in ("x", "y"))
    for name, values in truth.items():
        # Noise-free, so the minimum is the truth.
        np.testing.assert_allclose(result[name].transpose("time", "channel"), values, rtol=1e-7, err_msg=name)
    np.testing.assert_array_equal(result["time"], [5, 6])


def test_coords_say_which_input_reads_what() -> None:
    """The same cube with other names of dims: the swap is as good as its opposite, and both are as asked."""
    data, truth = planes()
    data = data.rename(y="lat", x="lon")
    model = Gaussian2D(**PLANE, fixed={"theta": True})
    result = data.modelfit(model, coords={"x": "lon", "y": "lat"})
    np.testing.assert_allclose(result["x_mean"], truth["x_mean"], rtol=1e-7)
    swap = {"x_mean": 0.4, "y_mean": -0.2, "x_stddev": 0.5, "y_stddev": 1.4}
    swapped = data.modelfit(
        Gaussian2D(**(PLANE | swap), fixed={"theta": True}),
        ["lon", "lat"],
        coords={"x": "lat", "y": "lon"},
    )
    np.testing.assert_allclose(swapped["y_mean"], truth["x_mean"], rtol=1e-7)
    np.testing.assert_allclose(swapped["x_stddev"], truth["y_stddev"], rtol=1e-7)


@pytest.mark.parametrize("order", [("y", "x", "t"), ("t", "y", "x"), ("x", "t", "y")], ids=str)
def test_the_fitted_dim_may_be_anywhere(order: tuple[str, ...]) -> None:
    """Maps have the remaining dims in the data's order."""
    data = lines()
    result = data.transpose(*order).modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter())
    assert result["slope"].dims == tuple(d for d in order if d != "t")
    assert_line(result.transpose("y", "x"), straight_line(T, data.values))


def test_all_dims() -> None:
    """``dim=...`` is one fit of all samples: a plane through a 2-D image."""
    y, x = np.arange(4.0), np.array([0.0, 1.0, 3.0, 4.0, 9.0])
    data = xr.DataArray(3.0 * x + 5.0 * y[:, None] + 7.0, dims=("y", "x"), coords={"y": y, "x": x})
    result = data.modelfit(Planar2D(1.0, 1.0, 1.0), dim=..., fitter=LinearLSQFitter())
    assert result["slope_x"].dims == ()
    found = [result[n].item() for n in ("slope_x", "slope_y", "intercept")]
    np.testing.assert_allclose(found, [3.0, 5.0, 7.0], rtol=1e-12)


def test_pooled_dim() -> None:
    """A fitted dim that no input reads: its samples lie at the same coordinates."""
    data = lines()
    result = data.modelfit(Linear1D(), dim=("t", "x"), coords="t", fitter=LinearLSQFitter())
    pooled = data.values.transpose(0, 2, 1).reshape(2, -1)
    assert_line(result, straight_line(np.repeat(T, 3), pooled))
    assert result["slope"].dims == ("y",)
    assert (result["n_points"] == 3 * T.size).all()


# --- coordinates


def test_without_coordinate_samples_are_counted() -> None:
    """As without ``world``: 0, 1, 2, ..."""
    data = lines().drop_vars("t")
    expected = straight_line(np.arange(T.size, dtype=float), data.values)
    assert_line(data.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter()), expected)


COORDINATES: dict[str, Callable[[], xr.DataArray]] = {
    "descending": lambda: xr.DataArray(-T, dims="t"),
    "not in order": lambda: xr.DataArray(T[[3, 0, 6, 1, 5, 2, 4]], dims="t"),
    "integers": lambda: xr.DataArray(np.array([0, 1, 3, 4, 8, 9, 11]), dims="t"),
    "another per column": lambda: T[:, None] * xr.DataArray([[1.0, 2.0, 0.5]], dims=("t", "x")),
    "another per fit": lambda: xr.DataArray(
        np.random.default_rng(2).uniform(0, 5, (T.size, 2, 3)), dims=("t", "y", "x")
    ),
}
COORDINATES["another per column"] = lambda: xr.DataArray(T[:, None] * [1.0, 2.0, 0.5], dims=("t", "x"))


@pytest.mark.parametrize("kind", list(COORDINATES))
@pytest.mark.parametrize("way", ["by name", "as an array", "lazy"])
def test_coordinates(kind: str, way: str) -> None:
    """1-D and N-D, not the index of the dim: astropy's tuple of 1-D or N-D arrays."""
    data, place = lines(), COORDINATES[kind]()
    where = place.broadcast_like(data).transpose("y", "x", "t").values
    given = data.assign_coords(place=place)
    if way == "lazy":
        given = given.chunk(y=1, x=2, t=4)
    coords = {"x": place} if way == "as an array" else "place"
    result = given.modelfit(Linear1D(), dim="t", coords=coords, fitter=LinearLSQFitter()).compute()
    assert_line(result, straight_line(where, data.values))


def test_coordinates_of_a_plane_may_have_two_dims() -> None:
    """``lat(y, x)`` and ``lon(y, x)`` of a turned grid, in an array with a time before."""
    y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij")
    lat, lon = 40 + 0.8 * y - 0.3 * x, 10 + 0.5 * y + 0.9 * x
    slopes = np.array([[3.0, 5.0], [-2.0, 0.25]])
    values = slopes[:, 0, None, None] * lon + slopes[:, 1, None, None] * lat + 7.0
    data = xr.DataArray(values, dims=("time", "y", "x"), coords={"lat": (("y", "x"), lat), "lon": (("x", "y"), lon.T)})
    model = Polynomial2D(1)
    for given in (data, data.chunk(time=1, y=2, x=4)):
        coords = {"x": "lon", "y": "lat"}
        result = given.modelfit(model, ("x", "y"), coords=coords, fitter=LinearLSQFitter()).compute()
        np.testing.assert_allclose(result["c1_0"], slopes[:, 0], rtol=1e-9)
        np.testing.assert_allclose(result["c0_1"], slopes[:, 1], rtol=1e-9)
        evaluated = result.modelfit.evaluate(given)
        assert evaluated.dims == data.dims
        np.testing.assert_allclose(evaluated, values, rtol=1e-10)


# --- blocks, chunks and schedulers


@pytest.mark.parametrize("most", [1, 2, 4, 5])
def test_fits_per_chunk_of_lazy_data(most: int) -> None:
    """No block has more fits, and the maps are the same."""
    data = lines().chunk(t=3)
    result = data.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter(), fits_per_chunk=most)
    y, x = result["slope"].chunks
    assert max(y) * max(x) <= most
    assert sum(y) * sum(x) == 6
    assert_line(result.compute(), straight_line(T, data.values))


@pytest.mark.parametrize("most", [1, 2, 6])
def test_fits_per_chunk_of_computed_data(most: int) -> None:
    """No block that a task fits has more, and all are fitted."""
    blocks: list[int] = []

    class Watch(dask.callbacks.Callback):
        def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
            if "modelfit" in str(key):
                blocks.append(int(np.prod(result.shape[:-1])))

    data = lines()
    with Watch():
        result = data.modelfit(Linear1D(), "t", fitter=LinearLSQFitter(), fits_per_chunk=most, scheduler="synchronous")
    assert sum(blocks) == 6
    assert max(blocks) <= most
    assert_line(result, straight_line(T, data.values))


def test_native_chunks_are_kept_and_merged_along_fitted_dims() -> None:
    """Irregular ones too, and those of a companion do not disturb them."""
    data = lines()
    lazy = data.chunk(y=(1, 1), x=(2, 1), t=(1, 3, 2, 1))
    sigma = xr.full_like(data, 0.5).chunk(x=(1, 2), t=5)
    result = lazy.modelfit(Linear1D(), dim="t", sigma=sigma, fitter=LinearLSQFitter())
    for name in ("slope", "intercept_stderr", "fit_status", "n_points"):
        assert result[name].chunks == ((1, 1), (2, 1))
    assert_line(result.compute(), straight_line(T, data.values, 2.0, absolute=True))


def test_nothing_is_read_while_a_lazy_result_is_built() -> None:
    """Data, companions, coordinates and starts that fail when they are computed."""

    def refuse(*args: Any) -> np.ndarray:
        raise AssertionError("a sample was read")

    def unread(dims: tuple[str, ...]) -> xr.DataArray:
        shape = tuple({"y": 2, "x": 3, "t": T.size}[d] for d in dims)
        block = dask.array.zeros(shape, chunks=shape).map_blocks(refuse, dtype=float, meta=np.zeros((0,) * len(shape)))
        return xr.DataArray(block, dims=dims)

    data = unread(("y", "x", "t")).assign_coords(place=unread(("x", "t")))
    result = data.modelfit(
        Linear1D(),
        dim="t",
        coords="place",
        sigma=unread(("t",)),
        where=unread(("y", "t")) > 0,
        p0={"slope": unread(("x",))},
        bounds={"slope": (None, unread(("y", "x")))},
    )
    assert result["slope"].chunks is not None
    with pytest.raises(AssertionError, match="a sample was read"):
        result.compute(scheduler="synchronous")


# Starting processes takes seconds.
SCHEDULERS = ["synchronous", "threads", "default", "distributed", "client"]
SCHEDULERS += [pytest.param(name, marks=pytest.mark.slow) for name in ("processes", None)]


@pytest.mark.parametrize("way", ["computed", "lazy"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers(scheduler: str | None, way: str, client: Client) -> None:
    """The maps are right, and the same bits, on each."""
    data = peaks()
    chosen = client if scheduler == "client" else scheduler
    options = {"covariance": True}
    with client.as_current() if scheduler == "distributed" else dask.config.set({}):
        if way == "computed":
            result = data.modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", scheduler=chosen, fits_per_chunk=2, **options)
        else:
            lazy = data.chunk(x=2, v=10).modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", **options)
            result = lazy.compute(scheduler=None if scheduler == "default" else chosen)
    assert result["mean"].chunks is None
    assert_minimum(result, data, "v", ["amplitude", "mean", "stddev"], gaussian, (3, 0.2, 0.5))
    expected = data.modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", scheduler="synchronous", **options)
    xr.testing.assert_equal(result, expected)


def test_an_active_client_comes_first(client: Client) -> None:
    """Without ``scheduler`` the fits run on the cluster that is active."""

    @custom_model
    def particular(x, slope=1.0):
        if not _on_a_worker():
            raise RuntimeError("not on the cluster")
        return slope * x

    data = lines()
    elsewhere = data.modelfit(particular(), dim="t", fits_per_chunk=2, scheduler="threads", errors="ignore")
    assert (elsewhere["fit_status"] == FitStatus.FITTER_ERROR).all()
    with client.as_current():
        on_cluster = data.modelfit(particular(), dim="t", fits_per_chunk=2)
    assert (on_cluster["fit_status"] == FitStatus.CONVERGED).all()


def _on_a_worker() -> bool:
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def test_a_scheduler_for_a_lazy_result_is_an_error() -> None:
    """Nothing runs yet, and the message says how to do it."""
    with pytest.raises(ValueError, match=r"compute\(scheduler="):
        lines().chunk(x=1).modelfit(Linear1D(), dim="t", scheduler="threads")


# --- what goes to the fitter, and what comes from it


def test_fitter_kwargs_reach_the_fitter() -> None:
    """The bits of a direct call with the same keywords, which are not those at the defaults."""
    data = peaks(noise=0.3)
    loose = {"acc": 1e-2, "maxiter": 17, "estimate_jacobian": True}
    result = data.modelfit(
        Gaussian1D(3, 0.2, 0.5), dim="v", fitter=TRFLSQFitter(), fitter_kwargs=loose, errors="ignore"
    )
    default = data.modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", fitter=TRFLSQFitter(), errors="ignore")
    for at in np.ndindex(2, 3):
        direct = TRFLSQFitter()(Gaussian1D(3, 0.2, 0.5), X, data.values[at], **loose)
        assert result["mean"].values[at] == direct.mean.value
        assert default["mean"].values[at] != direct.mean.value


INFO: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "TRF": (TRFLSQFitter, ("nfev", "njev", "cost", "optimality", "status")),
    "DogBox": (DogBoxLSQFitter, ("nfev", "cost")),
    "LevMar": (LevMarLSQFitter, ("nfev", "ierr")),
    "SLSQP": (SLSQPLSQFitter, ("final_func_val", "numiter", "exit_mode")),
    "Linear": (LinearLSQFitter, ("rank",)),
}


# An older scipy says this of SLSQP, which is called directly here.
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
@pytest.mark.parametrize("name", list(INFO))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_fit_info(name: str, way: str) -> None:
    """Names become variables with the values of a direct fit."""
    make, names = INFO[name]
    model = Linear1D() if name == "Linear" else Gaussian1D(3, 0.2, 0.5)
    data = peaks()
    given = data.chunk(x=1) if way == "lazy" else data
    result = given.modelfit(model, dim="v", fitter=make(), fit_info=names).compute()
    for at in np.ndindex(2, 3):
        fitter = make()
        fitter(model, X, data.values[at], **({"verblevel": 0} if name == "SLSQP" else {}))
        for key in names:
            assert result[key].dims == ("y", "x")
            assert result[key].values[at] == fitter.fit_info[key], key


def test_all_of_fit_info() -> None:
    """True takes every number that the fitter gives."""
    result = peaks().modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", fitter=TRFLSQFitter(), fit_info=True)
    assert {"nfev", "njev", "cost", "optimality", "status"} <= set(result.data_vars)
    direct = TRFLSQFitter()
    direct(Gaussian1D(3, 0.2, 0.5), X, peaks().values[1, 2])
    assert result["cost"].values[1, 2] == direct.fit_info.cost


def test_fit_info_where_the_start_has_a_pole() -> None:
    """A masked sample at x = 0 says nothing of what the fitter can tell of the others."""
    x = np.arange(0.0, 9.0)
    data = xr.DataArray(3.0 * np.maximum(x, 1.0) ** -1.5, dims="x", coords={"x": x})
    model = PowerLaw1D(1.0, 1.0, 1.0, fixed={"x_0": True})
    result = data.modelfit(model, dim="x", where=data["x"] > 0, fitter=TRFLSQFitter(), fit_info=("nfev",))
    fitter = TRFLSQFitter()
    fitter(model, x[1:], data.values[1:])
    assert result["nfev"] == fitter.fit_info.nfev


def test_fit_info_without_a_free_parameter() -> None:
    """No fit is run, so there is no number: NaN, as at positions without data, and no error."""
    model = Linear1D(2.0, 1.0, fixed={"slope": True, "intercept": True})
    result = lines().modelfit(model, dim="t", fitter=TRFLSQFitter(), fit_info=("nfev",))
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    assert result["nfev"].isnull().all()


def test_no_fit_info_by_default() -> None:
    """The result has the documented variables alone."""
    names = ["amplitude", "mean", "stddev", "amplitude_stderr", "mean_stderr", "stddev_stderr"]
    names += ["chi2", "reduced_chi2", "dof", "n_points", "n_iter", "fit_status"]
    assert list(peaks().modelfit(Gaussian1D(3, 0.2, 0.5), dim="v").data_vars) == names


# --- fits that cannot be, or go wrong


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_a_position_without_data(way: str) -> None:
    """All NaN: ``no_data``, NaN, and not warned about, though warnings are errors here."""
    data = lines()
    data[1, 1] = np.nan
    given = data.chunk(x=1) if way == "lazy" else data
    result = given.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter()).compute()
    here = result.isel(y=1, x=1)
    assert here["fit_status"] == FitStatus.NO_DATA
    assert here["n_points"] == 0
    for name in ("slope", "intercept", "slope_stderr", "chi2", "reduced_chi2"):
        assert np.isnan(here[name])
    expected = straight_line(T, data.values[0])
    assert_line(result.isel(y=0), expected)


@custom_model
def touchy(x, height=1.0, offset=0.0):
    """A line that refuses heights above 4."""
    if height > 4:
        raise RuntimeError("too high")
    return height * x + offset


@pytest.mark.parametrize("way", ["computed", "lazy"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_fit_that_raises(way: str, keep: bool) -> None:
    """NaN and ``fitter_error`` where the model raises, the others as if nothing had been."""
    slopes = np.array([1.0, 2.0, 9.0, 3.0])
    data = xr.DataArray(slopes[:, None] * T + 0.5, dims=("p", "t"), coords={"t": T})
    given = data.chunk(p=2) if way == "lazy" else data
    result = given.modelfit(touchy(), dim="t", errors="ignore", keep_failed=keep).compute()
    raised = [False, False, True, False]
    np.testing.assert_array_equal(result["fit_status"] == FitStatus.FITTER_ERROR, raised)
    np.testing.assert_array_equal(np.isnan(result["height"]), raised)
    np.testing.assert_array_equal(np.isnan(result["height_stderr"]), raised)
    # Noise-free: TRF's steps are exact for a linear model, but for difference derivatives.
    np.testing.assert_allclose(result["height"][[0, 1, 3]], slopes[[0, 1, 3]], rtol=1e-6)


class Doubtful(LinearLSQFitter):
    """A fitter that has its doubts about data that begin above 100, and has much to say otherwise."""

    def __call__(self, model: Model, x: Any, y: Any, weights: Any = None) -> Model:
        fitted = super().__call__(model, x, y, weights=weights)
        warnings.warn("The weather is bad", UserWarning, stacklevel=2)
        if y[0] > 100:
            warnings.warn("The fit may be unsuccessful; check: something", AstropyUserWarning, stacklevel=2)
        return fitted


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_fit_with_a_warning(keep: bool, scheduler: str) -> None:
    """That it may be unsuccessful is a status; other warnings are not, and none gets out."""
    data = lines()
    data[0, 2] += 200.0
    before = list(warnings.filters)
    result = data.modelfit(
        Linear1D(), "t", fitter=Doubtful(), errors="ignore", keep_failed=keep, scheduler=scheduler, fits_per_chunk=1
    )
    assert warnings.filters == before
    doubted = np.array([[False, False, True], [False, False, False]])
    np.testing.assert_array_equal(result["fit_status"], np.where(doubted, FitStatus.FITTER_WARNING, 1))
    expected = straight_line(T, data.values)
    slope = expected["slope"] if keep else np.where(doubted, np.nan, expected["slope"])
    np.testing.assert_allclose(result["slope"], slope, rtol=1e-10)
    np.testing.assert_allclose(result["chi2"], expected["chi2"], rtol=1e-9)
    assert np.isnan(result["slope_stderr"].values[0, 2])


@pytest.mark.parametrize("name", ["TRF", "DogBox", "LM", "LevMar", "SLSQP", "Simplex"])
def test_a_fitter_that_runs_out_of_iterations(name: str) -> None:
    """Each fitter's own way to say so is ``max_iterations``; ``keep_failed`` has the iterate of a direct call."""
    make = NONLINEAR[name][0]
    data = peaks()
    options = {"dim": "v", "fitter": make(), "fitter_kwargs": {"maxiter": 2}, "errors": "ignore"}
    result = data.modelfit(Gaussian1D(1.0, -1.0, 2.0), **options)
    assert (result["fit_status"] == FitStatus.MAX_ITERATIONS).all()
    assert result["mean"].isnull().all()
    assert result["mean_stderr"].isnull().all()
    kept = data.modelfit(Gaussian1D(1.0, -1.0, 2.0), keep_failed=True, **options)
    assert kept["mean"].notnull().all()
    quiet = {"verblevel": 0} if name in ("SLSQP", "Simplex") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        direct = make()(Gaussian1D(1.0, -1.0, 2.0), X, data.values[1, 0], maxiter=2, **quiet)
    assert kept["mean"].values[1, 0] == direct.mean.value
    chi2 = ((data.values[1, 0] - gaussian(X, *direct.parameters)) ** 2).sum()
    np.testing.assert_allclose(kept["chi2"].values[1, 0], chi2, rtol=1e-10)


def test_failures_are_told_once() -> None:
    """One summary warning by default, an error with the labels of the first failure on request."""
    data = xr.DataArray(np.array([1.0, 9.0, 9.0])[:, None] * T, dims=("p", "t"), coords={"t": T, "p": ["a", "b", "c"]})
    with pytest.warns(xr_modelfit.FitWarning, match="2 of 3 fits failed") as caught:
        data.modelfit(touchy(), dim="t")
    assert len(caught) == 1
    with pytest.raises(xr_modelfit.FitError, match="p=b"):
        data.modelfit(touchy(), dim="t", errors="raise")


# --- the result as a model


@pytest.mark.parametrize("kind", ["simple", "compound", "bounded"])
def test_to_model_is_what_parallel_fit_dask_returns(kind: str) -> None:
    """The same parameter arrays, and the same values when it is called as its documentation does."""
    data = peaks()
    model = {
        "simple": Gaussian1D(3, 0.2, 0.5, name="line"),
        "compound": Gaussian1D(3, 0.2, 0.5) + Const1D(0.0),
        "bounded": Gaussian1D(3, 0.2, 0.5, bounds={"mean": (-1, 0.6)}, fixed={"stddev": True}),
    }[kind]
    theirs = parallel_fit_dask(
        model=model, fitter=TRFLSQFitter(), data=data.values, world=(X,), fitting_axes=2, scheduler="synchronous"
    )
    ours = data.modelfit(model, dim="v", fitter=TRFLSQFitter()).modelfit.to_model()
    assert type(ours) is type(theirs)
    assert ours.param_names == theirs.param_names
    assert ours.name == theirs.name
    for name in theirs.param_names:
        # The same fitter on the same numbers.
        np.testing.assert_allclose(getattr(ours, name).value, getattr(theirs, name).value, rtol=1e-12, atol=1e-12)
        assert getattr(ours, name).shape == (2, 3)
        assert getattr(ours, name).fixed == getattr(theirs, name).fixed
    np.testing.assert_allclose(ours(X[:, None, None]), theirs(X[:, None, None]), rtol=1e-10, atol=1e-12)


def test_bounds_of_the_model_are_kept() -> None:
    """Those of a fixed parameter too, which only wait until it is freed."""
    bounds = {"mean": (-1.0, 0.6), "stddev": (0.1, 2.0)}
    model = Gaussian1D(3, 0.2, 0.5, bounds=bounds, fixed={"stddev": True})
    back = peaks().modelfit(model, dim="v").modelfit.to_model()
    assert back.mean.bounds == (-1.0, 0.6)
    assert back.stddev.bounds == (0.1, 2.0)


def test_meta_of_the_model_is_kept() -> None:
    """As ``parallel_fit_dask`` does, which returns a copy of the model."""
    model = Gaussian1D(3, 0.2, 0.5, meta={"line": "H alpha", "order": 2})
    assert peaks().modelfit(model, dim="v").modelfit.to_model().meta == {"line": "H alpha", "order": 2}


def test_to_model_of_one_position() -> None:
    """Select it first."""
    data = peaks()
    result = data.modelfit(Gaussian1D(3, 0.2, 0.5), dim="v", fitter=TRFLSQFitter())
    one = result.isel(y=1, x=2).modelfit.to_model()
    direct = TRFLSQFitter()(Gaussian1D(3, 0.2, 0.5), X, data.values[1, 2])
    np.testing.assert_array_equal(one.parameters, direct.parameters)
    assert one.mean.shape == ()


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_evaluate(way: str) -> None:
    """A labelled cube like the data: the model at its parameters, NaN where the fit failed."""
    data = peaks().transpose("x", "v", "y")
    data[1, :, 0] = np.nan
    given = data.chunk(x=1) if way == "lazy" else data
    result = given.modelfit(Gaussian1D(3, 0.2, 0.5) + Const1D(0.0), dim="v")
    best = result.modelfit.evaluate(given)
    assert (best.chunks is not None) == (way == "lazy")
    assert best.dims == data.dims
    xr.testing.assert_identical(best.coords.to_dataset(), data.coords.to_dataset())
    parameters = [result[n] for n in ("amplitude_0", "mean_0", "stddev_0", "amplitude_1")]
    a, m, s, c = (p.compute().expand_dims(v=X.size, axis=1).values for p in parameters)
    expected = gaussian(X[None, :, None], a, m, s) + c
    np.testing.assert_allclose(best, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(np.isnan(best), np.isnan(data))
    residual = (data - best).compute()
    np.testing.assert_allclose(
        (residual**2).sum("v", skipna=False).transpose(*result["chi2"].dims), result["chi2"], rtol=1e-10
    )


def test_evaluate_at_other_coordinates() -> None:
    """By the name of the coordinate, finer or a single one."""
    data = lines()
    result = data.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter())
    expected = straight_line(T, data.values)
    fine = result.modelfit.evaluate(t=np.array([-1.0, 100.0]))
    assert fine.sizes == {"y": 2, "x": 3, "t": 2}
    np.testing.assert_allclose(fine.sel(t=100.0), expected["slope"] * 100 + expected["intercept"], rtol=1e-10)
    at_two = result.modelfit.evaluate(t=2.0)
    assert at_two.dims == ("y", "x")
    np.testing.assert_allclose(at_two, expected["slope"] * 2 + expected["intercept"], rtol=1e-9)


# --- Datasets


def test_every_variable_of_a_dataset() -> None:
    """Those that have the fitted dim, each under its own name."""
    data = lines()
    ds = xr.Dataset({"a": data, "b": -2.0 * data + 1.0, "area": ("y", [1.0, 2.0])})
    result = ds.modelfit(Linear1D(), dim="t", fitter=LinearLSQFitter())
    for name, values in (("a", data.values), ("b", -2.0 * data.values + 1.0)):
        expected = straight_line(T, values)
        np.testing.assert_allclose(result[f"{name}_slope"], expected["slope"], rtol=1e-9)
        np.testing.assert_allclose(result[f"{name}_intercept_stderr"], expected["intercept_stderr"], rtol=1e-9)
    assert not any(str(v).startswith("area") for v in result.data_vars)


def test_function_and_accessor_are_the_same() -> None:
    """``xr_modelfit.fit`` of a DataArray, and of a Dataset's variable."""
    data = lines()
    options = {"dim": "t", "fitter": LinearLSQFitter(), "covariance": True}
    expected = fit(data, Linear1D(), **options)
    xr.testing.assert_identical(data.modelfit(Linear1D(), **options), expected)
    xr.testing.assert_equal(data.to_dataset().modelfit(Linear1D(), data="flux", **options), expected)
    assert_line(expected, straight_line(T, data.values))


def test_power_law_without_a_start_at_its_pole() -> None:
    """A masked sample at x = 0, where the model is infinite, costs nothing: it is never evaluated there."""
    x = np.arange(0.0, 9.0)
    with np.errstate(divide="ignore"):
        values = 3.0 * x**-1.5
    data = xr.DataArray(values, dims="x", coords={"x": x})
    result = data.modelfit(PowerLaw1D(1.0, 1.0, 1.0, fixed={"x_0": True}), dim="x", where=data["x"] > 0)
    np.testing.assert_allclose([result["amplitude"], result["alpha"]], [3.0, 1.5], rtol=1e-6)
    assert result["n_points"] == 8
