"""Answers that ``parallel_fit_dask`` gives wrongly and silently; each test bears the number of its row in that list."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import scipy.optimize
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import (
    DogBoxLSQFitter,
    LevMarLSQFitter,
    LinearLSQFitter,
    LMLSQFitter,
    SLSQPLSQFitter,
    TRFLSQFitter,
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
)
from distributed import Client

from xr_modelfit import FitStatus, fit

T = np.array([0.0, 1.0, 2.5, 3.0, 4.0, 6.0, 7.5, 8.0])
ERRORS = ("slope_stderr", "intercept_stderr")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of one worker in this process, which nothing uses unless it is named."""
    with Client(processes=False, n_workers=1, threads_per_worker=4, dashboard_address=":0", set_as_default=False) as c:
        yield c


def line(x: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0) -> dict[str, np.ndarray]:
    """Straight-line fits along the last axis by the sums of the textbook; errors from the scatter."""
    x, w = np.broadcast_to(x, y.shape), np.broadcast_to(w, y.shape)
    s, sx, sy = ((w**2 * v).sum(-1) for v in (np.ones_like(y), x, y))
    centre = x - (sx / s)[..., None]
    sxx = (w**2 * centre**2).sum(-1)
    slope = (w**2 * centre * y).sum(-1) / sxx
    intercept = (sy - slope * sx) / s
    scatter = (w**2 * (y - slope[..., None] * x - intercept[..., None]) ** 2).sum(-1) / (y.shape[-1] - 2)
    return {
        "slope": slope,
        "intercept": intercept,
        "slope_stderr": np.sqrt(scatter / sxx),
        "intercept_stderr": np.sqrt(scatter * (1 / s + (sx / s) ** 2 / sxx)),
    }


def assert_line(result: xr.Dataset, expected: dict[str, np.ndarray]) -> None:
    """A linear problem of a few samples with a condition below 100: rounding is 1e-13, errors lose half of it."""
    for name, values in expected.items():
        np.testing.assert_allclose(result[name].values, values, rtol=1e-9, err_msg=name)


def noisy_lines(seed: int = 0, shape: tuple[int, ...] = (2, 3), dims: tuple[str, ...] = ("y", "x")) -> xr.DataArray:
    """Straight lines with noise, another one at each position."""
    rng = np.random.default_rng(seed)
    slope, intercept = rng.uniform(-5.0, 5.0, (2, *shape, 1))
    values = slope * T + intercept + rng.normal(0.0, 0.3, (*shape, T.size))
    return xr.DataArray(values, dims=(*dims, "t"), coords={"t": T}, name="flux")


def linear(data: Any, **options: Any) -> xr.Dataset:
    """The fit of straight lines."""
    return fit(data, Linear1D(1.0, 0.0), "t", **({"fitter": LinearLSQFitter()} | options))


def assert_same_bits(got: xr.Dataset, expected: xr.Dataset) -> None:
    """Every variable to the last bit; NaN equals NaN."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=str(name))


# --- row 1

WAYS: dict[str, Any] = {
    "synchronous": {"scheduler": "synchronous"},
    "500 fits in a chunk": {"scheduler": "synchronous", "fits_per_chunk": 500},
    "threads": {"scheduler": "threads", "fits_per_chunk": 77},
    "regular chunks": {"y": 10, "x": 10},
    "irregular chunks": {"y": (4, 8, 3), "x": (1, 38, 1), "t": (3, 5)},
    "default": {},
}


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("coordinate", ["per fit", "per row"])
@pytest.mark.parametrize("way", [pytest.param(w, marks=[pytest.mark.slow] * (w == "default")) for w in WAYS])
def test_row_01_coordinates_of_many_dims_are_chunked_with_the_data(way: str, coordinate: str) -> None:
    """Hundreds of fits, each at its own coordinates, against the closed form: not one may read a neighbour's."""
    rng = np.random.default_rng(1)
    ny = 30 if way == "default" else 15  # a thousand fits and more are done in processes
    data = noisy_lines(shape=(ny, 40))
    dims, shape = {"per fit": (("y", "x", "t"), (ny, 40, 8)), "per row": (("t", "y"), (8, ny))}[coordinate]
    place = xr.DataArray(rng.uniform(0.0, 10.0, shape), dims=dims)
    expected = line(place.broadcast_like(data).transpose("y", "x", "t").values, data.values)
    data = data.assign_coords(place=place)
    if "chunks" in way:
        result = linear(data.chunk(WAYS[way]), coords="place").compute(scheduler="synchronous")
    else:
        result = linear(data, coords="place", **WAYS[way])
    assert_line(result, expected)


# --- row 2


def result_keys(result: xr.Dataset) -> set[Any]:
    """The dask keys of all variables."""
    return {key for v in result.data_vars.values() for key in dask.core.flatten(v.__dask_keys__())}


VARIATIONS: dict[str, Callable[[xr.DataArray], xr.Dataset]] = {
    "other data": lambda d: linear(d + 1.0),
    "other data of the same name and shape": lambda d: linear(noisy_lines(99).chunk(x=1)),
    "a mask": lambda d: linear(d, where=d["t"] > 1.0),
    "weights": lambda d: linear(d, weights=d["t"] + 1.0),
    "another start": lambda d: fit(d, Linear1D(1.0, 5.0), "t", fitter=LinearLSQFitter()),
    "another model": lambda d: fit(d, Linear1D(1.0, 0.0, fixed={"slope": True}), "t", fitter=LinearLSQFitter()),
    "another fitter": lambda d: fit(d, Linear1D(1.0, 0.0), "t", fitter=TRFLSQFitter()),
    "other coordinates": lambda d: linear(d, coords=xr.DataArray(2.0 * T, dims="t")),
}


@pytest.mark.parametrize("variation", list(VARIATIONS))
def test_row_02_lazy_results_share_no_key(variation: str) -> None:
    """Neither the results nor anything between, unless it is the same input."""
    data = noisy_lines(0).chunk(x=1)
    one, other = linear(data), VARIATIONS[variation](data)
    assert one["slope"].chunks is not None
    assert not result_keys(one) & result_keys(other)
    graphs = [dict(r.__dask_graph__()) for r in (one, other)]
    inputs = set(graphs[0]) & set(graphs[1])
    assert not any("modelfit" in str(key) for key in inputs)
    for key in inputs:
        a, b = (dask.get(graph, key) for graph in graphs)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("way", ["lazy", "computed"])
def test_row_02_concurrent_computes_give_their_own_maps(client: Client, way: str) -> None:
    """On one cluster, at the same time, with results that are kept there."""
    sets = [noisy_lines(seed) for seed in range(4)]
    if way == "lazy":
        futures = [client.compute(linear(d.chunk(x=1))) for d in sets]
        results = [f.result() for f in futures]
        again = client.compute(linear(sets[1].chunk(x=1))).result()  # the first ones are still there
        assert_line(again, line(T, sets[1].values))
    else:
        start = threading.Barrier(len(sets))

        def run(data: xr.DataArray) -> xr.Dataset:
            start.wait()
            return linear(data, scheduler=client, fits_per_chunk=2)

        with ThreadPoolExecutor(len(sets)) as pool:
            results = list(pool.map(run, sets))
    for data, result in zip(sets, results, strict=True):
        assert_line(result, line(T, data.values))


# --- row 3

FITTERS_WITH_STATE = {"TRF": TRFLSQFitter, "LevMar": LevMarLSQFitter}


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that state that they share is met at once."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FITTERS_WITH_STATE))
def test_row_03_threads_give_the_bits_of_one_after_the_other(name: str, eager_threads: None) -> None:
    """Blocks of one fit on many threads, three times; the authority is a fresh fitter for each position."""
    make = FITTERS_WITH_STATE[name]
    rng = np.random.default_rng(3)
    v = np.linspace(-5.0, 5.0, 30)
    mean, width = rng.uniform(-2.0, 2.0, (2, 40))[..., None]
    values = 3.0 * np.exp(-0.5 * ((v - mean) / (1.5 + width / 4)) ** 2) + rng.normal(0.0, 0.2, (40, 30))
    data = xr.DataArray(values, dims=("p", "v"), coords={"v": v})
    options: dict[str, Any] = {"fitter": make(), "fit_info": ("nfev",), "errors": "ignore", "covariance": True}
    synchronous = fit(data, Gaussian1D(2, 0, 1), "v", scheduler="synchronous", **options)
    for p in range(40):
        fitter = make()
        direct = fitter(Gaussian1D(2, 0, 1), v, values[p])
        got = [synchronous[n].values[p] for n in direct.param_names]
        np.testing.assert_array_equal(got, direct.parameters)
        assert synchronous["nfev"].values[p] == fitter.fit_info["nfev"]
    for _ in range(3):
        with dask.config.set(num_workers=8):
            threads = fit(data, Gaussian1D(2, 0, 1), "v", scheduler="threads", fits_per_chunk=1, **options)
            assert_same_bits(threads, synchronous)
            lazy = fit(data.chunk(p=1), Gaussian1D(2, 0, 1), "v", **options)
            assert_same_bits(lazy.compute(scheduler="threads"), synchronous)


# --- row 4

SERIES: dict[str, tuple[type[Model], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "Chebyshev1D": (Chebyshev1D, np.polynomial.chebyshev.chebval),
    "Legendre1D": (Legendre1D, np.polynomial.legendre.legval),
    "Hermite1D": (Hermite1D, np.polynomial.hermite.hermval),
    "Polynomial1D": (Polynomial1D, np.polynomial.polynomial.polyval),
}
DOMAINS: dict[str, dict[str, Any]] = {
    "no domain": {},
    "domain of the samples": {"domain": (100.0, 160.0)},
    "wider domain": {"domain": (0.0, 200.0)},
    "domain and window": {"domain": (90.0, 170.0), "window": (-2.0, 3.0)},
}


@pytest.mark.parametrize("kind", list(SERIES))
@pytest.mark.parametrize("domain", list(DOMAINS))
def test_row_04_domain_and_window_are_kept(kind: str, domain: str) -> None:
    """Cubic data without noise: evaluation gives the data, there and far outside, and so does ``to_model``."""
    model, series = SERIES[kind]
    t = np.linspace(100.0, 160.0, 40)
    cubic = np.array([[1e3, -20.0, 0.3, 0.02], [5.0, 4.0, -0.3, 0.004]])
    values = np.stack([np.polynomial.polynomial.polyval(t - 130.0, c) for c in cubic])
    data = xr.DataArray(values, dims=("p", "t"), coords={"t": t})
    result = fit(data, model(3, **DOMAINS[domain]), "t", fitter=LinearLSQFitter())
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    # Without a domain the columns reach 160**3 at a condition of 1e7 or more: 1e-16 of rounding becomes 1e-9.
    np.testing.assert_allclose(result.modelfit.evaluate(data), values, atol=1e-8 * np.abs(values).max())
    far = np.array([70.0, 200.0])
    expected = np.stack([np.polynomial.polynomial.polyval(far - 130.0, c) for c in cubic])
    np.testing.assert_allclose(result.modelfit.evaluate(t=far), expected, atol=1e-6 * np.abs(expected).max())
    back = result.isel(p=0).modelfit.to_model()
    np.testing.assert_allclose(back(t), values[0], atol=1e-8 * np.abs(values).max())
    for key, pair in DOMAINS[domain].items():
        assert tuple(getattr(back, key)) == pair
    # The coefficients are those of the series in the domain that the model has, or in the coordinate itself.
    low, high = DOMAINS[domain].get("domain", (-1.0, 1.0))
    left, right = DOMAINS[domain].get("window", (-1.0, 1.0))
    inside = left + (right - left) * (t - low) / (high - low)
    got = np.array([result[f"c{i}"].values[1] for i in range(4)])
    np.testing.assert_allclose(series(inside, got), values[1], atol=1e-8 * np.abs(values).max())


# --- row 6

TIED_FITTERS = {"TRF": TRFLSQFitter, "DogBox": DogBoxLSQFitter, "LM": LMLSQFitter, "LevMar": LevMarLSQFitter}


def two_lines(x: np.ndarray, a0: Any, m0: Any, a1: Any) -> np.ndarray:
    """Two lines 3 apart, as wide as each other."""
    return a0 * np.exp(-0.5 * ((x - m0) / 0.8) ** 2) + a1 * np.exp(-0.5 * ((x - m0 - 3.0) / 0.8) ** 2)


@pytest.mark.parametrize("name", list(TIED_FITTERS))
@pytest.mark.parametrize("start", [3.6, 4.9])
def test_row_06_tied_parameters_count_in_the_jacobian(name: str, start: float) -> None:
    """The second line is the stronger one, so a Jacobian without the tie leads astray."""
    x = np.linspace(0.0, 12.0, 60)
    rng = np.random.default_rng(6)
    values = two_lines(x, 1.0, 4.2, 2.0) + rng.normal(0.0, 0.35, (3, 60))
    data = xr.DataArray(values, dims=("p", "x"), coords={"x": x})
    fixed = {"stddev": True}
    model = Gaussian1D(1.5, start, 0.8, fixed=fixed) + Gaussian1D(1.5, start + 3, 0.8, fixed=fixed)
    model.mean_1.tied = lambda m: m.mean_0 + 3.0
    result = fit(data, model, "x", fitter=TIED_FITTERS[name]())
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    assert (result["dof"] == 57).all()
    np.testing.assert_allclose(result["mean_1"], result["mean_0"] + 3.0, rtol=1e-14)
    for p in range(3):
        best = scipy.optimize.least_squares(
            lambda q, y=values[p]: two_lines(x, *q) - y,
            (1.5, start, 1.5),
            jac="3-point",
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-15,
        )
        chi2 = 2 * best.cost
        stderr = np.sqrt(np.diagonal(np.linalg.inv(best.jac.T @ best.jac)) * chi2 / 57)
        for parameter, value, error in zip(("amplitude_0", "mean_0", "amplitude_1"), best.x, stderr, strict=True):
            # They stop when chi-square changes by 1e-8 of itself: a step of sqrt(57e-8) standard errors.
            assert abs(result[parameter].values[p] - value) < 1e-3 * error, parameter
            np.testing.assert_allclose(result[f"{parameter}_stderr"].values[p], error, rtol=1e-3)
        np.testing.assert_allclose(result["mean_1_stderr"].values[p], stderr[1], rtol=1e-3)
        np.testing.assert_allclose(result["chi2"].values[p], chi2, rtol=1e-6)


# --- row 7


@pytest.mark.parametrize("size", [(15, 15), (6, 6), (4, 9)], ids=str)
@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter], ids=["Linear", "TRF"])
def test_row_07_errors_of_a_plane_are_those_of_its_samples(size: tuple[int, int], fitter: Callable[[], Any]) -> None:
    """Degrees of freedom are samples less parameters, not rows less parameters: against the closed form."""
    rng = np.random.default_rng(7)
    y, x = np.arange(size[0]) * 0.5, np.arange(size[1]) ** 1.2
    columns = np.stack([c.ravel() for c in np.broadcast_arrays(x, y[:, None], 1.0)], axis=1)
    values = (columns @ [2.0, -3.0, 5.0]).reshape(size) + rng.normal(0.0, 0.4, (2, *size))
    data = xr.DataArray(values, dims=("p", "y", "x"), coords={"y": y, "x": x})
    result = fit(data, Planar2D(1.0, 1.0, 1.0), ("y", "x"), fitter=fitter())
    n = size[0] * size[1]
    assert (result["dof"] == n - 3).all()
    for p in range(2):
        best, chi2, *_ = np.linalg.lstsq(columns, values[p].ravel(), rcond=None)
        stderr = np.sqrt(np.diagonal(np.linalg.inv(columns.T @ columns)) * chi2 / (n - 3))
        for name, value, error in zip(("slope_x", "slope_y", "intercept"), best, stderr, strict=True):
            # One Gauss-Newton step solves a linear problem; what TRF adds to it is below 1e-7.
            assert abs(result[name].values[p] - value) < 1e-6 * error
            np.testing.assert_allclose(result[f"{name}_stderr"].values[p], error, rtol=1e-8)


def test_row_07_errors_of_a_gaussian_on_15_x_15() -> None:
    """The case of the report, against the Jacobian of scipy."""
    rng = np.random.default_rng(17)
    y, x = np.mgrid[:15.0, :15.0]

    def peak(p: np.ndarray) -> np.ndarray:
        return p[0] * np.exp(-0.5 * ((x - p[1]) / p[3]) ** 2 - 0.5 * ((y - p[2]) / p[4]) ** 2)

    values = peak(np.array([5.0, 6.5, 8.0, 3.0, 2.0])) + rng.normal(0.0, 0.3, (15, 15))
    data = xr.DataArray(values, dims=("y", "x"))
    result = fit(data, Gaussian2D(4, 7, 7, 2.5, 2.5, fixed={"theta": True}), ("y", "x"), coords={"x": "x", "y": "y"})
    best = scipy.optimize.least_squares(
        lambda p: (peak(p) - values).ravel(), (4, 7, 7, 2.5, 2.5), jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    stderr = np.sqrt(np.diagonal(np.linalg.inv(best.jac.T @ best.jac)) * 2 * best.cost / 220)
    assert result["dof"] == 220
    for name, value, error in zip(
        ("amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev"), best.x, stderr, strict=True
    ):
        # TRF's last step: 1e-8 of chi-square, sqrt(220e-8) standard errors.
        assert abs(result[name].item() - value) < 1.5e-3 * error
        np.testing.assert_allclose(result[f"{name}_stderr"].item(), error, rtol=1e-3)


# --- row 8

MASKED: dict[str, Callable[[xr.DataArray, xr.DataArray], xr.Dataset]] = {
    "where": lambda data, keep: linear(data, where=keep, covariance=True),
    "NaN": lambda data, keep: linear(data.where(keep), covariance=True),
    "spoilt and masked": lambda data, keep: linear(data.where(keep, -1e30), where=keep, covariance=True),
    "removed": lambda data, keep: linear(data.isel(t=np.flatnonzero(keep.values)), covariance=True),
}


@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter, LevMarLSQFitter], ids=["Linear", "TRF", "LevMar"])
@pytest.mark.parametrize("dims", [("t",), ("y", "x", "t"), ("x",)], ids=str)
def test_row_08_a_mask_that_masks_nothing_changes_nothing(fitter: Callable[[], Any], dims: tuple[str, ...]) -> None:
    """Bit for bit, values and errors."""
    data = noisy_lines(8)
    every = xr.ones_like(data, dtype=bool).isel({d: 0 for d in data.dims if d not in dims}, drop=True)
    plain = linear(data, fitter=fitter(), covariance=True)
    assert_same_bits(linear(data, where=every, fitter=fitter(), covariance=True), plain)
    assert (plain["slope_stderr"] > 0).all()


@pytest.mark.parametrize("way", list(MASKED))
def test_row_08_masked_is_nan_is_removed(way: str) -> None:
    """Bit for bit the fit of the samples that are there, which is the closed form's."""
    data = noisy_lines(8)
    keep = xr.DataArray(np.array([True, True, False, True, True, False, True, True]), dims="t")
    result = MASKED[way](data, keep)
    assert_same_bits(result, MASKED["removed"](data, keep))
    assert_line(result, line(T[keep.values], data.values[..., keep.values]))
    assert (result["n_points"] == 6).all()
    assert (result["dof"] == 4).all()


# --- rows 9, 10 and 11


def assert_nothing_there(result: xr.Dataset) -> None:
    """NaN in parameters and their errors."""
    for name in ("slope", "intercept", *ERRORS):
        assert result[name].isnull().all(), name


FITTERS = {"Linear": LinearLSQFitter, "TRF": TRFLSQFitter, "LevMar": LevMarLSQFitter, "SLSQP": SLSQPLSQFitter}
every_fitter = pytest.mark.parametrize("name", list(FITTERS))


@every_fitter
@pytest.mark.parametrize("keep_failed", [False, True])
@pytest.mark.parametrize("how", ["masked", "NaN", "sigma"])
def test_row_09_a_fully_masked_position_has_no_data(name: str, keep_failed: bool, how: str) -> None:
    """Not the start as a success; the positions beside it are as ever, and nobody is warned."""
    data = noisy_lines(9)
    empty = xr.zeros_like(data, dtype=bool)
    empty[1, 2] = True
    options: dict[str, Any] = {"fitter": FITTERS[name](), "keep_failed": keep_failed, "covariance": True}
    if how == "masked":
        result = linear(data, where=~empty, **options)
    elif how == "NaN":
        result = linear(data.where(~empty), **options)
    else:
        result = linear(data, sigma=xr.where(empty, np.nan, 1.0), absolute_sigma=False, **options)
    assert result["fit_status"].values.tolist() == [[1, 1, 1], [1, 1, FitStatus.NO_DATA]]
    here = result.isel(y=1, x=2)
    assert_nothing_there(here)
    assert here["covariance"].isnull().all()
    assert here["chi2"].isnull()
    assert here["n_points"] == 0
    expected = {k: v[0] for k, v in line(T, data.values).items()}
    for key, values in expected.items():
        # SLSQP stops at 1e-6 of chi-square, sqrt(6e-6) standard errors; the others go with 1e-8 or better.
        error = values if "stderr" in key else expected[f"{key}_stderr"]
        assert (np.abs(result[key].isel(y=0) - values) < 5e-3 * error).all()


@every_fitter
@pytest.mark.parametrize("valid", [1, 2])
def test_row_10_fewer_samples_than_parameters(name: str, valid: int) -> None:
    """One or two samples and three parameters or two: ``too_few_points``, not a success."""
    data = noisy_lines(10)
    data[0, 1, valid:] = np.nan
    result = linear(data, fitter=FITTERS[name](), errors="ignore")
    status = FitStatus(int(result["fit_status"].values[0, 1]))
    if valid == 1:
        assert status == FitStatus.TOO_FEW_POINTS
        assert_nothing_there(result.isel(y=0, x=1))
    else:  # two samples determine a line, but no errors: there is no scatter to take them from
        assert status == FitStatus.CONVERGED
        assert_nan_errors(result.isel(y=0, x=1))
        np.testing.assert_allclose(result["slope"].values[0, 1], data[0, 1, 1] - data[0, 1, 0], rtol=1e-3)
    others = np.ones((2, 3), dtype=bool)
    others[0, 1] = False
    assert (result["fit_status"].values[others] == FitStatus.CONVERGED).all()
    if name in ("TRF", "LevMar"):
        three = fit(data, Gaussian1D(1, 3, 2), "t", fitter=FITTERS[name](), errors="ignore")
        assert three["fit_status"].values[0, 1] == FitStatus.TOO_FEW_POINTS
        assert np.isnan(three["mean"].values[0, 1])
        assert three["n_points"].values[0, 1] == valid
        assert three["dof"].values[0, 1] == valid - 3


def assert_nan_errors(result: xr.Dataset) -> None:
    for name in ERRORS:
        assert np.isnan(result[name])


SINGULAR: dict[str, tuple[Callable[[], Model], np.ndarray]] = {
    "one coordinate": (lambda: Linear1D(1.0, 0.0), np.full(8, 3.0)),
    "two constants": (lambda: Const1D(1.0) + Const1D(2.0), T),
    "a quadratic on two coordinates": (lambda: Polynomial1D(2, c0=1.0), np.array([1.0, 1, 1, 1, 4, 4, 4, 4])),
    "a line that is not there": (lambda: Gaussian1D(0.5, 100.0, 1.0), T),
}


SINGULAR_FITTERS = {"Linear": LinearLSQFitter, "TRF": TRFLSQFitter, "LM": LMLSQFitter}
LINEAR_MODELS = ("one coordinate", "a quadratic on two coordinates")


@pytest.mark.parametrize(
    ("kind", "fitter"), [(k, f) for k in SINGULAR for f in SINGULAR_FITTERS if f != "Linear" or k in LINEAR_MODELS]
)
@pytest.mark.parametrize("keep_failed", [False, True])
def test_row_11_a_singular_covariance_has_no_errors(kind: str, fitter: str, keep_failed: bool) -> None:
    """The zero variance of a pseudo-inverse is no error: NaN, and the status says why."""
    make, x = SINGULAR[kind]
    rng = np.random.default_rng(11)
    data = xr.DataArray(5.0 + rng.normal(0.0, 0.1, (2, 8)), dims=("p", "t"), coords={"t": x})
    result = fit(
        data, make(), "t", fitter=SINGULAR_FITTERS[fitter](), errors="ignore", keep_failed=keep_failed, covariance=True
    )
    assert (result["fit_status"] == FitStatus.DEGENERATE).all()
    for name in result.modelfit.params:
        assert result[f"{name}_stderr"].isnull().all()
        assert result[name].isnull().all() != keep_failed
    assert result["covariance"].isnull().all()


# --- row 13


@pytest.mark.parametrize("dim", [("x", "y"), ("y", "x")], ids=str)
@pytest.mark.parametrize("order", [("p", "y", "x"), ("x", "p", "y"), ("x", "y", "p")], ids=str)
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_13_fitted_dims_in_any_order(dim: tuple[str, str], order: tuple[str, ...], way: str) -> None:
    """Slopes 3 along x and 5 along y, never 5 and 3, with as many columns as rows."""
    y, x = np.linspace(10.0, 12.0, 5), np.linspace(-1.0, 1.0, 5)
    plane = 3.0 * x + 5.0 * y[:, None] + 7.0
    data = xr.DataArray(np.stack([plane, 2 * plane]), dims=("p", "y", "x"), coords={"y": y, "x": x}).transpose(*order)
    data = data.chunk(p=1, y=2) if way == "lazy" else data
    result = fit(data, Planar2D(1.0, 1.0, 1.0), dim, fitter=LinearLSQFitter()).compute()
    for name, value in (("slope_x", 3.0), ("slope_y", 5.0), ("intercept", 7.0)):
        np.testing.assert_allclose(result[name], [value, 2 * value], rtol=1e-10)


# --- row 15


def frozen(values: np.ndarray) -> np.ndarray:
    """A copy that cannot be written to: an attempt raises."""
    values = values.copy()
    values.flags.writeable = False
    return values


@pytest.mark.parametrize("argument", ["weights", "sigma"])
@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter], ids=["Linear", "TRF"])
@pytest.mark.parametrize("read_only", [False, True])
def test_row_15_no_argument_is_changed(argument: str, fitter: Callable[[], Any], read_only: bool) -> None:
    """Weights with a mask above all; data, mask, coordinate, starts, bounds and model too, also when they can't be."""
    rng = np.random.default_rng(15)
    source = noisy_lines(15)
    values = source.values.copy()
    values[0, 0, 3] = np.nan
    arrays = {
        "data": values,
        "companion": rng.uniform(0.5, 2.0, (2, 3, 8)),
        "where": rng.random((2, 3, 8)) > 0.2,
        "place": T + 1.0,
        "start": rng.uniform(0.5, 1.5, (2, 3)),
        "low": np.full((2, 3), -np.inf),
    }
    before = copy.deepcopy(arrays)
    given = {k: frozen(v) if read_only else v for k, v in arrays.items()}
    dims = {"place": ("t",), "start": ("y", "x"), "low": ("y", "x")}
    labelled = {k: xr.DataArray(v, dims=dims.get(k, ("y", "x", "t"))) for k, v in given.items()}
    bounds = {} if fitter is LinearLSQFitter else {"intercept": (labelled["low"], None)}
    model = Linear1D(given["start"], 0.0)
    result = fit(
        labelled["data"],
        model,
        "t",
        coords=labelled["place"],
        where=labelled["where"],
        p0={"slope": labelled["start"]},
        bounds=bounds,
        fitter=fitter(),
        **{argument: labelled["companion"]},
    )
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for key, value in before.items():
        np.testing.assert_array_equal(given[key], value, err_msg=key)
    np.testing.assert_array_equal(model.slope.value, before["start"])
    assert model.bounds == {"slope": (None, None), "intercept": (None, None)}
    # And the mask did its work, though not in the weights.
    keep = before["where"][1, 1]
    w = before["companion"][1, 1] if argument == "weights" else 1.0 / before["companion"][1, 1]
    expected = line(T[keep] + 1.0, before["data"][1, 1][keep], w[keep])
    np.testing.assert_allclose(result["slope"].values[1, 1], expected["slope"], rtol=1e-6)


def test_row_15_a_model_that_writes_into_its_input_does_no_harm() -> None:
    """The coordinate stays what it is, and every fit reads it unspoilt."""

    @custom_model
    def writes_inputs(x, slope=1.0, intercept=0.0):
        x *= slope
        return x + intercept

    data = noisy_lines(15)
    result = fit(data, writes_inputs(1.0, 0.0), "t", fitter=TRFLSQFitter(), scheduler="synchronous")
    np.testing.assert_array_equal(data["t"], T)
    expected = line(T, data.values)
    np.testing.assert_allclose(result["slope"], expected["slope"], rtol=1e-6)
    np.testing.assert_allclose(result["slope_stderr"], expected["slope_stderr"], rtol=1e-5)


# --- row 18


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_18_remaining_dims_of_size_1_are_kept(shape: tuple[int, int], way: str) -> None:
    """In every variable, with their coordinates, and in the evaluated model."""
    data = noisy_lines(18, shape).assign_coords(y=np.arange(shape[0]) + 10)
    given = data.chunk() if way == "lazy" else data
    result = linear(given, covariance=True).compute()
    for name, variable in result.data_vars.items():
        assert variable.dims[:2] == ("y", "x"), name
        assert variable.shape[:2] == shape, name
    np.testing.assert_array_equal(result["y"], data["y"])
    assert_line(result, line(T, data.values))
    assert result.modelfit.evaluate(data).sizes == data.sizes
    assert result.modelfit.to_model().slope.shape == shape


# --- row 19


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("way", ["computed", "lazy", "Dataset"])
def test_row_19_complex_data_is_an_error(dtype: str, way: str) -> None:
    """At once, and with what to do: nothing is dropped."""
    data = noisy_lines(19).astype(dtype)
    given = {"computed": data, "lazy": data.chunk(x=1), "Dataset": data.to_dataset()}[way]
    options = {"data": "flux"} if way == "Dataset" else {}
    with pytest.raises(TypeError, match=r"complex.*data\.real and data\.imag"):
        fit(given, Linear1D(), "t", **options)


@pytest.mark.parametrize("argument", ["weights", "sigma", "where", "coords"])
def test_row_19_complex_companions_are_an_error(argument: str) -> None:
    """Nor of a companion."""
    data = noisy_lines(19)
    with pytest.raises(TypeError, match="complex128"):
        linear(data, **{argument: xr.DataArray(T.astype(complex) + 1j, dims="t")})


# --- row 20

BAD_SAMPLES: dict[str, tuple[str, float]] = {
    "NaN data": ("flux", np.nan),
    "infinite data": ("flux", np.inf),
    "minus infinite data": ("flux", -np.inf),
    "NaN sigma": ("sigma", np.nan),
    "sigma 0": ("sigma", 0.0),
    "infinite sigma": ("sigma", np.inf),
    "negative sigma": ("sigma", -1.0),
    "NaN weight": ("weights", np.nan),
    "weight 0": ("weights", 0.0),
    "infinite weight": ("weights", np.inf),
    "NaN coordinate": ("place", np.nan),
    "infinite coordinate": ("place", np.inf),
}


@pytest.mark.quick_share(5)
@pytest.mark.parametrize("kind", list(BAD_SAMPLES))
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter], ids=["Linear", "TRF"])
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_20_a_bad_sample_is_left_out(kind: str, masked: bool, fitter: Callable[[], Any], way: str) -> None:
    """One bad sample costs that sample, not the fit; masked as well, it costs nothing more."""
    where, bad = BAD_SAMPLES[kind]
    rng = np.random.default_rng(20)
    data = noisy_lines(20)
    ds = xr.Dataset({"flux": data, "place": data["t"].broadcast_like(data), "good": xr.ones_like(data, dtype=bool)})
    argument = "weights" if where == "weights" else "sigma"
    ds[argument] = data.dims, rng.uniform(0.5, 2.0, data.shape)
    weights = ds[argument].values if argument == "weights" else 1.0 / ds[argument].values
    ds[where] = ds[where].copy()
    ds[where][0, 1, 4] = bad
    if masked:
        ds["good"][0, 1, 4] = False
    options: dict[str, Any] = {"data": "flux", "coords": "place", argument: argument, "where": "good"}
    options |= {"absolute_sigma": False}
    given = ds.chunk(x=2) if way == "lazy" else ds
    result = fit(given, Linear1D(1.0, 0.0), "t", fitter=fitter(), **options).compute()
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    n_points = np.full((2, 3), 8)
    n_points[0, 1] = 7
    np.testing.assert_array_equal(result["n_points"], n_points)
    for at in np.ndindex(2, 3):
        keep = np.arange(8) != (4 if at == (0, 1) else 8)
        expected = line(T[keep], data.values[at][keep], weights[at][keep])
        for name, value in expected.items():
            error = value if "stderr" in name else expected[f"{name}_stderr"]
            # TRF solves a linear problem in one step, to 1e-7; errors take their scatter from there.
            assert abs(result[name].values[at] - value) < 1e-6 * error, (name, at)


def test_row_20_without_skipna_it_is_a_status() -> None:
    """Asked for so, such a fit is not tried; a masked one still counts for nothing."""
    data = noisy_lines(20)
    data[0, 1, 4] = np.nan
    data[1, 2, 0] = np.inf
    result = linear(data, skipna=False, errors="ignore")
    bad = np.array([[False, True, False], [False, False, True]])
    np.testing.assert_array_equal(result["fit_status"], np.where(bad, FitStatus.NONFINITE_DATA, FitStatus.CONVERGED))
    np.testing.assert_array_equal(result["slope"].isnull(), bad)
    masked = linear(data, skipna=False, where=np.isfinite(data))
    assert (masked["fit_status"] == FitStatus.CONVERGED).all()


# --- row 21


def unread() -> xr.DataArray:
    """Lazy data that fails when a sample is read."""

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    block = dask.array.zeros((2, 3, 8), chunks=(1, 3, 8)).map_blocks(refuse, dtype=float, meta=np.zeros((0, 0, 0)))
    return xr.DataArray(block, dims=("y", "x", "t"), coords={"t": T})


def tied(model: Model) -> Model:
    model.intercept.tied = lambda m: 2.0 * m.slope
    return model


WRONG_CALLS: dict[str, tuple[Callable[[], Model], dict[str, Any], type[Exception], str]] = {
    "typing error in fitter_kwargs": (
        lambda: Gaussian1D(1, 3, 2),
        {"fitter": TRFLSQFitter(), "fitter_kwargs": {"maxitr": 10}},
        TypeError,
        "maxitr.*maxiter",
    ),
    "keyword of another fitter": (
        Linear1D,
        {"fitter": LinearLSQFitter(), "fitter_kwargs": {"maxiter": 10}},
        TypeError,
        "maxiter.*rcond",
    ),
    "typing error for SLSQP": (
        lambda: Gaussian1D(1, 3, 2),
        {"fitter": SLSQPLSQFitter(), "fitter_kwargs": {"maxitr": 10}},
        TypeError,
        "maxitr",
    ),
    "nonlinear model for the linear fitter": (
        lambda: Gaussian1D(1, 3, 2),
        {"fitter": LinearLSQFitter()},
        ValueError,
        "LinearLSQFitter",
    ),
    "bounds for the linear fitter": (
        lambda: Linear1D(1, 0, bounds={"slope": (0, 2)}),
        {"fitter": LinearLSQFitter()},
        ValueError,
        "LinearLSQFitter",
    ),
    "bounds of the call for the linear fitter": (
        Linear1D,
        {"fitter": LinearLSQFitter(), "bounds": {"slope": (0.0, 2.0)}},
        ValueError,
        "LinearLSQFitter",
    ),
    "tie for the linear fitter": (
        lambda: tied(Linear1D(1, 2)),
        {"fitter": LinearLSQFitter()},
        ValueError,
        "LinearLSQFitter",
    ),
    "start outside of the model's bounds": (
        lambda: Gaussian1D(1, 3, 2, bounds={"mean": (4, 5)}),
        {},
        ValueError,
        r"mean.*outside its bounds \(4, 5\)",
    ),
    "start outside of the call's bounds": (
        lambda: Gaussian1D(1, 3, 2),
        {"bounds": {"mean": (4, 5)}},
        ValueError,
        r"mean.*outside its bounds \(4, 5\)",
    ),
    "start of the call outside": (
        lambda: Gaussian1D(1, 3, 2, bounds={"mean": (2, 5)}),
        {"p0": {"mean": 7}},
        ValueError,
        r"mean.*outside its bounds \(2, 5\)",
    ),
    "a class instead of a fitter": (Linear1D, {"fitter": TRFLSQFitter}, TypeError, r"TRFLSQFitter\(\)"),
}


@pytest.mark.parametrize("kind", list(WRONG_CALLS))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_21_wrong_calls_raise_at_once(kind: str, way: str) -> None:
    """No map of NaN without a message: an error before a sample is read."""
    make, options, error, message = WRONG_CALLS[kind]
    data = unread() if way == "lazy" else noisy_lines(21)
    with pytest.raises(error, match=message):
        fit(data, make(), "t", **options)


@pytest.mark.parametrize("fitter", [LinearLSQFitter, TRFLSQFitter, LevMarLSQFitter], ids=["Linear", "TRF", "LevMar"])
@pytest.mark.parametrize("how", ["fixed", "equal bounds"])
def test_row_21_all_parameters_fixed_evaluates_chi2(fitter: Callable[[], Any], how: str) -> None:
    """Nothing to fit: chi-square of the model as it is, errors 0, converged."""
    data = noisy_lines(21)
    data[1, 1] = np.nan
    data[0, 0, 5] = np.nan
    if how == "fixed":
        result = linear_fixed(data, fitter(), {})
    else:
        result = linear_fixed(data, fitter(), {"slope": (2.0, 2.0), "intercept": (-1.0, -1.0)})
    status = np.full((2, 3), FitStatus.CONVERGED)
    status[1, 1] = FitStatus.NO_DATA
    np.testing.assert_array_equal(result["fit_status"], status)
    chi2 = np.nansum((data.values - (2.0 * T - 1.0)) ** 2, axis=-1)
    chi2[1, 1] = np.nan
    np.testing.assert_allclose(result["chi2"], chi2, rtol=1e-12)
    np.testing.assert_array_equal(result["dof"], [[7, 8, 8], [8, 0, 8]])
    there = status == FitStatus.CONVERGED
    np.testing.assert_array_equal(result["slope"], np.where(there, 2.0, np.nan))
    np.testing.assert_array_equal(result["intercept"], np.where(there, -1.0, np.nan))
    np.testing.assert_array_equal(result["slope_stderr"], np.where(there, 0.0, np.nan))


def linear_fixed(data: xr.DataArray, fitter: Any, bounds: dict[str, Any]) -> xr.Dataset:
    """With both parameters held on the model, or by bounds."""
    fixed = {} if bounds else {"slope": True, "intercept": True}
    return fit(data, Linear1D(2.0, -1.0, fixed=fixed), "t", fitter=fitter, bounds=bounds)


# --- row 22


@pytest.mark.parametrize("order", [("t", "y", "x"), ("y", "t", "x"), ("y", "x", "t")], ids=str)
def test_row_22_the_last_dim_or_any_other(order: tuple[str, ...]) -> None:
    """What negative axes were for."""
    data = noisy_lines(22)
    result = linear(data.transpose(*order))
    assert_line(result.transpose("y", "x"), line(T, data.values))


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_22_data_of_one_dim(way: str) -> None:
    """One fit, a result without dims."""
    data = noisy_lines(22)[1, 2]
    result = linear(data.chunk(t=3) if way == "lazy" else data, errors="raise").compute()
    assert result["slope"].dims == ()
    assert_line(result, line(T, data.values))


CHUNKS: list[dict[str, Any]] = [
    {"y": (1, 4), "x": (2, 1, 3)},
    {"y": (4, 1), "x": (1, 1, 1, 3), "t": (1, 6, 1)},
    {"x": (5, 1)},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_row_22_irregular_chunks(chunks: dict[str, Any]) -> None:
    """Of the data and of a companion, which has its own."""
    data = noisy_lines(22, (5, 6))
    w = xr.DataArray(np.random.default_rng(2).uniform(0.5, 2.0, data.shape), dims=data.dims)
    lazy = linear(data.chunk(chunks), weights=w.chunk(y=(2, 2, 1), x=(3, 3)))
    assert_line(lazy.compute(scheduler="synchronous"), line(T, data.values, w.values))


@pytest.mark.parametrize("dim", ["y", "x", "t"])
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_22_dims_of_size_0(dim: str, way: str) -> None:
    """Empty maps, or positions without data."""
    data = noisy_lines(22).isel({dim: slice(0, 0)})
    result = linear(data.chunk() if way == "lazy" else data, covariance=True).compute()
    assert result["slope"].shape == tuple(data.sizes[d] for d in ("y", "x"))
    assert result["covariance"].shape == (*result["slope"].shape, 2, 2)
    assert (result["fit_status"] == FitStatus.NO_DATA).all()
    assert result["slope"].isnull().all()


@pytest.mark.parametrize("dims", [("t",), ("x",), ("t", "y"), ()], ids=str)
@pytest.mark.parametrize("way", ["computed", "lazy", "lazy weights"])
def test_row_22_weights_that_need_broadcasting(dims: tuple[str, ...], way: str) -> None:
    """By name, over any of the data's dims."""
    data = noisy_lines(22)
    shape = [data.sizes[d] for d in dims]
    w = xr.DataArray(np.random.default_rng(4).uniform(0.5, 2.0, shape), dims=dims)
    wide = w.broadcast_like(data).transpose("y", "x", "t").values
    given = data.chunk(y=1) if way == "lazy" else data
    result = linear(given, weights=w.chunk() if way == "lazy weights" else w).compute()
    assert_line(result, line(T, data.values, wide))


# --- row 23


@custom_model
def touchy(x, slope=1.0, intercept=0.0):
    """A line that refuses slopes above 50."""
    if slope > 50:
        raise RuntimeError("too steep")
    return slope * x + intercept


@pytest.mark.parametrize("keep_failed", [False, True])
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_23_fit_info_of_fits_that_were_not_is_nan(keep_failed: bool, way: str) -> None:
    """0 would say that the limit of evaluations was reached, which is a status of its own."""
    data = noisy_lines(23, (6,), ("p",))
    data[1] = np.nan
    data[2, 1:] = np.nan
    data[3] = 100.0 * T
    start = xr.DataArray([1.0, 1.0, 1.0, 1.0, np.nan, 1.0], dims="p")
    result = fit(
        data.chunk(p=2) if way == "lazy" else data,
        touchy(),
        "t",
        p0={"slope": start},
        fitter=TRFLSQFitter(),
        fit_info=("status", "nfev", "cost"),
        errors="ignore",
        keep_failed=keep_failed,
    ).compute()
    status = [FitStatus.CONVERGED, FitStatus.NO_DATA, FitStatus.TOO_FEW_POINTS, FitStatus.FITTER_ERROR]
    status += [FitStatus.INVALID_START, FitStatus.CONVERGED]
    np.testing.assert_array_equal(result["fit_status"], status)
    was_run = np.array(status) == FitStatus.CONVERGED
    for name in ("status", "nfev", "cost"):
        np.testing.assert_array_equal(result[name].notnull(), was_run, err_msg=name)
    assert (result["status"].values[was_run] > 0).all()
    residual = data.values[0] - (result["slope"].values[0] * T + result["intercept"].values[0])
    np.testing.assert_allclose(result["cost"][0], (residual**2).sum() / 2, rtol=1e-10)


def test_row_23_the_limit_of_evaluations_is_told_apart() -> None:
    """A fit that ran into it has scipy's status 0 and our ``max_iterations``."""
    data = xr.DataArray(3.0 * np.exp(-0.5 * (T - 5.0) ** 2)[None], dims=("p", "t"), coords={"t": T})
    result = fit(
        data,
        Gaussian1D(1, 2, 2),
        "t",
        fitter=TRFLSQFitter(),
        fitter_kwargs={"maxiter": 2},
        fit_info=("status",),
        errors="ignore",
    )
    assert result["status"] == 0
    assert result["fit_status"] == FitStatus.MAX_ITERATIONS


# --- row 24


@pytest.mark.parametrize("name", ["TRF", "DogBox", "LM", "LevMar"])
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_row_24_not_converged_is_not_good(name: str, way: str) -> None:
    """``max_iterations`` and NaN where a fit ran out of them; the others have converged."""
    v = np.linspace(0.0, 10.0, 40)
    values = np.stack([3.0 * np.exp(-0.5 * ((v - m) / 1.0) ** 2) for m in (5.0, 6.5)])
    data = xr.DataArray(values, dims=("p", "v"), coords={"v": v})
    start = xr.DataArray([5.0, 4.5], dims="p")  # the first one is there already
    options: dict[str, Any] = {"dim": "v", "fitter": TIED_FITTERS[name](), "fitter_kwargs": {"maxiter": 3}}
    options |= {"p0": {"mean": start}, "errors": "ignore"}
    given = data.chunk(p=1) if way == "lazy" else data
    result = fit(given, Gaussian1D(3.0, 5.0, 1.0), **options).compute()
    assert result["fit_status"].values.tolist() == [FitStatus.CONVERGED, FitStatus.MAX_ITERATIONS]
    np.testing.assert_array_equal(result.modelfit.ok, [True, False])
    for variable in ("amplitude", "mean", "mean_stderr"):
        np.testing.assert_array_equal(result[variable].isnull(), [False, True])
    np.testing.assert_allclose(result["mean"][0], 5.0, rtol=1e-12)
    kept = fit(given, Gaussian1D(3.0, 5.0, 1.0), keep_failed=True, **options).compute()
    assert kept["mean"].notnull().all()
    assert kept["mean_stderr"].isnull().values.tolist() == [False, True]
    assert kept["fit_status"].equals(result["fit_status"])


def test_row_24_a_line_that_ran_away_is_not_on_its_bound() -> None:
    """The line has left the data and all but vanished: nothing sees its width then, which is not on its bound for that.

    Gaussian1D has the bound 1e-38 on its width by itself. TRF stops, since there is no gradient.
    """
    v = np.linspace(0.0, 10.0, 40)
    data = xr.DataArray(3.0 * np.exp(-0.5 * (v - 6.5) ** 2), dims="v", coords={"v": v})
    start = Gaussian1D(-1e-4, -1.1, 0.35)
    result = fit(data, start, "v", fitter=TRFLSQFitter(), errors="ignore", keep_failed=True)
    np.testing.assert_allclose(result["stddev"], 0.35, rtol=0.1)
    np.testing.assert_allclose(result["chi2"], (data**2).sum(), rtol=1e-3)
    assert result["fit_status"] != FitStatus.CONVERGED_AT_BOUND


def test_row_24_is_warned_about() -> None:
    """One warning that tells how many and why."""
    data = xr.DataArray(3.0 * np.exp(-0.5 * (T - 5.0) ** 2)[None], dims=("p", "t"), coords={"t": T})
    with pytest.warns(UserWarning, match="1 of 1 fits failed: 1 max_iterations"):
        fit(data, Gaussian1D(1, 2, 2), "t", fitter=TRFLSQFitter(), fitter_kwargs={"maxiter": 2})
