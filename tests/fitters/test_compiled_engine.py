"""Fits of the compiled engine against scipy's least squares and against the NumPy engine, and laws that they keep."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model, models
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

import xr_modelfit
from support.bits import assert_same_bits
from xr_modelfit import BatchLSQFitter, FitStatus

pytestmark = pytest.mark.quick_share(3)

pytest.importorskip("numba", reason="the engine that numba compiles")

M = models


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def fit(data: xr.DataArray, model: Model, dim: Any = "x", engine: str = "numba", **options: Any) -> xr.Dataset:
    """A fit, done by the engine that was asked for."""
    result = xr_modelfit.fit(data, model, dim, fitter=BatchLSQFitter(engine=engine), errors="ignore", **options)
    assert json.loads(result["fit_status"].attrs["modelfit_record"])["engine"] == engine
    return result


def same_answer(data: xr.DataArray, model: Model, dim: Any = "x", **options: Any) -> xr.Dataset:
    """What the compiled engine gives, which is what the NumPy engine gives: to 1e-6 of an error."""
    numba, numpy = (fit(data, model, dim, engine, **options) for engine in ("numba", "numpy"))
    assert_array_equal(numba["fit_status"], numpy["fit_status"])
    assert_array_equal(numba["n_points"], numpy["n_points"])
    for name in numpy.modelfit.params:
        error, ours = numpy[f"{name}_stderr"].values, numba[f"{name}_stderr"].values
        size = np.where(error > 0, error, np.finfo(float).tiny)
        apart = np.abs(numba[name].values - numpy[name].values)
        assert_array_equal(np.isnan(numba[name]), np.isnan(numpy[name]))
        assert np.nanmax(apart / size, initial=0.0) <= 1e-6, name
        assert_allclose(ours, error, rtol=1e-6, err_msg=name)
    assert_allclose(numba["chi2"], numpy["chi2"], rtol=1e-9)
    return numba


def by_scipy(
    residual: Callable[[np.ndarray], np.ndarray], start: np.ndarray, bounds: Any = (-np.inf, np.inf)
) -> tuple[np.ndarray, float]:
    found = least_squares(
        residual, start, bounds=bounds, jac="3-point", x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    return found.x, 2 * found.cost


def as_scipy(
    result: xr.Dataset, model: Model, x: np.ndarray, y: np.ndarray, w: Any = 1.0, names: Sequence[str] = (), **at: Any
) -> None:
    """One fit is the minimum that scipy finds from there and from the start: 1e-4 errors, chi-square to 1e-9."""
    one, names = result.isel(at), list(names or model.param_names)
    here = np.array([float(one[name]) for name in names])
    errors = np.array([float(one[f"{name}_stderr"]) for name in names])

    def residual(p: np.ndarray) -> np.ndarray:
        values = dict(zip(model.param_names, model.parameters, strict=True)) | dict(zip(names, p, strict=True))
        return (model.evaluate(x, *values.values()) - y) * w

    found, chi2 = by_scipy(residual, here)
    assert_allclose(float(one["chi2"]), chi2, rtol=1e-9)
    assert np.all(np.abs(found - here) <= 1e-4 * errors)


def lines(n: int = 60, fits: int = 5, seed: int = 1, noise: float = 0.05) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    x = np.linspace(-5, 5, n) if n > 1 else np.zeros(1)
    mean = rng.uniform(-1, 1, (fits, 1))
    y = rng.uniform(2, 4, (fits, 1)) * np.exp(-0.5 * ((x - mean) / rng.uniform(0.8, 1.5, (fits, 1))) ** 2)
    return xr.DataArray(y + noise * rng.normal(size=(fits, n)), dims=("p", "x"), coords={"x": x})


LINE = M.Gaussian1D(2.5, 0.1, 1.1)

# --- answers


@pytest.mark.slow
@pytest.mark.parametrize("weighted", ["", "weights", "sigma", "map of sigma", "gaps", "where"])
def test_the_minimum_is_the_one_that_scipy_finds(weighted: str) -> None:
    """With equal weights, weights, errors per sample or per fit, samples that are missing or left out."""
    data, rng = lines(), np.random.default_rng(5)
    w, options = np.ones(data.shape), {}
    if weighted == "weights":
        w = np.broadcast_to(rng.uniform(0.5, 2, data.x.size), data.shape)
        options["weights"] = xr.DataArray(w[0], dims="x")
    elif weighted == "sigma":
        w = np.broadcast_to(1 / rng.uniform(0.05, 0.2, data.x.size), data.shape)
        options["sigma"] = xr.DataArray(1 / w[0], dims="x")
    elif weighted == "map of sigma":
        w = 1 / rng.uniform(0.05, 0.2, data.shape)
        options["sigma"] = xr.DataArray(1 / w, dims=("p", "x"))
    elif weighted == "gaps":
        data = data.where(rng.uniform(size=data.shape) > 0.3)
    elif weighted == "where":
        options["where"] = xr.DataArray(rng.uniform(size=data.shape) > 0.3, dims=("p", "x"))
    result = same_answer(data, LINE, covariance=True, **options)
    assert_array_equal(result["fit_status"], FitStatus.CONVERGED)
    for p in range(data.sizes["p"]):
        taken = np.isfinite(data.values[p])
        if weighted == "where":
            taken &= options["where"].values[p]
        as_scipy(result, LINE, data.x.values[taken], data.values[p, taken], w[p, taken], p=p)


def test_coordinates_that_differ_from_fit_to_fit() -> None:
    data = lines()
    own = data.x + xr.DataArray(np.linspace(0, 2, 5), dims="p")
    data = data.assign_coords(wave=own.transpose("p", "x"))
    result = same_answer(data, LINE, coords="wave")
    for p in range(5):
        as_scipy(result, LINE, own.isel(p=p).values, data.values[p], p=p)


@pytest.mark.slow
def test_two_fitted_dims_in_any_order() -> None:
    rng = np.random.default_rng(3)
    y, x = np.meshgrid(np.linspace(-3, 3, 13), np.linspace(-2, 4, 11), indexing="ij")
    model = M.Gaussian2D(3, 0.5, 0.2, 1.2, 0.8, 0.3)
    values = model(x, y) + 0.05 * rng.normal(size=(3, *x.shape))
    data = xr.DataArray(values, dims=("p", "y", "x"), coords={"y": y[:, 0], "x": x[0]})
    result = same_answer(data, model, ["x", "y"])
    for p in range(3):
        chi2 = np.sum((values[p] - model.evaluate(x, y, *(float(result[n][p]) for n in model.param_names))) ** 2)
        assert_allclose(float(result["chi2"][p]), chi2, rtol=1e-12)
    assert_same_bits(fit(data.transpose("x", "p", "y"), model, ["x", "y"]), result)
    assert_same_bits(fit(data.transpose("x", "p", "y"), model, ["x", "y"]), fit(data, model, ["x", "y"]))


TIES = {
    "linear": ({"stddev": lambda m: 0.4 * m.amplitude}, lambda a, m: 0.4 * a),
    "nonlinear": ({"stddev": lambda m: np.sqrt(1 + m.mean**2)}, lambda a, m: np.sqrt(1 + m**2)),
    "constant": ({"stddev": lambda m: 1.2}, lambda a, m: 1.2),
}


@pytest.mark.parametrize("kind", TIES)
def test_tied_parameters(kind: str) -> None:
    """Fitted through their tie, and their errors by it."""
    tied, function = TIES[kind]
    data, model = lines(), M.Gaussian1D(2.5, 0.1, 1.1, tied=tied)
    result = same_answer(data, model, covariance=True)
    x = data.x.values
    for p in range(5):
        here = np.array([float(result[n][p]) for n in ("amplitude", "mean")])

        def residual(q: np.ndarray, p: int = p) -> np.ndarray:
            return LINE.evaluate(x, *q, function(*q)) - data.values[p]

        found, chi2 = by_scipy(residual, here)
        assert_allclose(float(result["chi2"][p]), chi2, rtol=1e-9)
        assert_allclose(float(result["stddev"][p]), function(*found), rtol=1e-6)


def test_ties_to_tied_parameters_and_across_parts() -> None:
    """Whatever comes first in the order of parameters."""
    first = M.Gaussian1D(2.5, 0.1, 1.1, tied={"amplitude": lambda m: 2 * m.amplitude_1})
    second = M.Gaussian1D(1.2, 2, 1, tied={"stddev": lambda m: m.stddev_0, "amplitude": lambda m: 0.5 * m.mean_1**2})
    model, data = first + second, lines(fits=3)
    result = same_answer(data, model)
    assert_allclose(result["amplitude_0"], result["mean_1"] ** 2, rtol=1e-14)
    assert_array_equal(result["stddev_0"], result["stddev_1"])


def test_fixed_parameters_and_their_maps() -> None:
    data = lines()
    at = xr.DataArray(np.linspace(-0.5, 0.5, 5), dims="p")
    result = same_answer(data, M.Gaussian1D(2.5, 0.1, 1.1, fixed={"mean": True}), p0={"mean": at})
    assert_array_equal(result["mean"], at)
    assert_array_equal(result["mean_stderr"], 0.0)


@pytest.mark.parametrize("as_map", [False, True])
def test_bounds_are_kept_and_the_minimum_within_is_scipys(as_map: bool) -> None:
    """Scalars and maps; equal ones fix a parameter; where one holds back, there is no error."""
    data = lines(fits=6)
    low, high = np.array([0.2, 0.9, 1.0, -np.inf, np.nan, 0.9]), np.array([0.9, 1.1, 1.0, 0.85, np.nan, 3.0])
    if not as_map:
        low, high = np.full(6, 0.9), np.full(6, 1.05)
    given = [xr.DataArray(b, dims="p") if as_map else float(b[0]) for b in (low, high)]
    start = xr.DataArray(np.array([0.8, 1.0, 1.0, 0.8, 1.1, 1.1]) if as_map else np.full(6, 1.0), dims="p")
    result = same_answer(data, LINE, bounds={"stddev": tuple(given)}, p0={"stddev": start})
    assert (result["fit_status"] > 0).all()
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    width = result["stddev"].values
    assert np.all((width >= low) & (width <= high))
    for p in np.flatnonzero(low < high).tolist():

        def residual(q: np.ndarray, p: int = p) -> np.ndarray:
            return LINE.evaluate(data.x.values, *q) - data.values[p]

        box = ([-np.inf, -np.inf, low[p]], [np.inf, np.inf, high[p]])
        begin = [2.5, 0.1, min(max(width[p], low[p] + 1e-3), high[p] - 1e-3)]
        assert_allclose(float(result["chi2"][p]), by_scipy(residual, np.array(begin), box)[1], rtol=1e-8)


def decays(x, a=1.0, p=1.0, b=1.0, q=2.0):  # astropy takes annotations for units
    return a * np.exp(-p * x) + b * np.exp(-q * x)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("held", ["nothing", "fixed", "tied", "on a bound"])
@pytest.mark.parametrize("ratio", [3.0, 1.5, 1.2])
def test_covariances_are_those_of_the_jacobian(ratio: float, held: str, absolute: bool) -> None:
    """By QR of its derivatives at the minimum, those alone that are free; two alike decays are hard to tell apart."""
    x = np.linspace(0, 4, 200)
    truth = np.array([2.0, 1.0, 1.5, ratio])
    noise = np.random.default_rng(2).normal(0, 1e-5, (9, x.size))
    data = xr.DataArray(decays(x, *truth) + noise, dims=("fit", "x"), coords={"x": x})
    model = custom_model(decays)(*truth)
    T = np.eye(4)  # derivatives of all parameters with respect to the free ones
    if held == "fixed":
        model.b.fixed = True
        T = T[:, [0, 1, 3]]
    if held == "tied":
        model.b.tied = lambda m: 0.75 * m.a
        T[2, 0] = 0.75
        T = T[:, [0, 1, 3]]
    bounds = {"q": (0, 0.999 * ratio)} if held == "on a bound" else {}
    start = {"q": 0.99 * ratio}
    given = {"sigma": 1e-5, "absolute_sigma": True} if absolute else {}
    result = fit(data, model, bounds=bounds, p0=start, covariance=True, **given)
    expected = FitStatus.CONVERGED_AT_BOUND if held == "on a bound" else FitStatus.CONVERGED
    assert_array_equal(result["fit_status"], expected)
    for i in range(9):
        a, p, b, q = (float(result[n][i]) for n in "apbq")
        J = np.stack([np.exp(-p * x), -a * x * np.exp(-p * x), np.exp(-q * x), -b * x * np.exp(-q * x)], axis=1)
        free = T[:, :3] if held == "on a bound" else T
        R = np.linalg.inv(np.linalg.qr(J @ free)[1])
        left = np.sum((data.values[i] - decays(x, a, p, b, q)) ** 2)
        scale = 1e-10 if absolute else left / (x.size - T.shape[1])
        right = free @ R @ R.T @ free.T * scale
        if held == "on a bound":
            right[3] = right[:, 3] = np.nan
        assert_allclose(result["covariance"][i], right, rtol=1e-6, atol=1e-12 * np.nanmax(right))
        assert_allclose([result[f"{n}_stderr"][i] for n in "apbq"], np.sqrt(np.diag(right)), rtol=1e-6)


def test_units_of_coordinates_and_data() -> None:
    data = lines()
    data.attrs["units"] = "mK"
    data["x"].attrs["units"] = "km/s"
    plain = M.Gaussian1D(2.5e-3 * u.K, 100 * u.m / u.s, 1.1 * u.km / u.s)
    model = plain.copy()
    model.stddev.tied = lambda m: 0 * m.mean + 1.1 * u.km / u.s
    same_answer(data, plain)
    same_answer(data, plain, bounds={"mean": (-0.2 * u.km / u.s, 200 * u.m / u.s)})
    results = [
        xr_modelfit.fit(data, model, "x", fitter=BatchLSQFitter(engine=e), errors="ignore") for e in ("numba", "numpy")
    ]
    for name in ("amplitude", "mean", "stddev"):
        assert_allclose(results[0][name], results[1][name], rtol=1e-9)


# --- sizes


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 39, 40, 41, 63, 64, 65, 70])
def test_any_number_of_samples(n: int) -> None:
    """Around whole vectors and pieces, and fewer than parameters: same status, and no sample counts twice."""
    data = lines(n)
    if n > 4:
        result = same_answer(data, LINE)
        y = data.values - np.stack([LINE.evaluate(data.x.values, *(float(result[v][p]) for v in LINE.param_names))
                                    for p in range(5)])  # fmt: skip
        assert_allclose(result["chi2"], np.sum(y**2, axis=1), rtol=1e-11)
    else:
        numba, numpy = (fit(data, LINE, engine=e, min_points=1) for e in ("numba", "numpy"))
        assert_array_equal(numba["fit_status"] > 0, numpy["fit_status"] > 0)
        assert_array_equal(numba["n_points"], n)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 4, 7, 9, 12])
def test_any_number_of_parameters(k: int) -> None:
    """Sums of exponentials with fixed rates times a Gaussian: as scipy has it."""
    model = LINE if k > 2 else M.Gaussian1D(2.5, 0.1, 1.1, fixed={"stddev": True, "amplitude": k == 1})
    for number in range(-(-(k - 3) // 3) if k > 3 else 0):
        model = model + M.Gaussian1D(1.5, 5.0 * (number + 1), 1.2)
    for name in model.param_names[k:] if k > 3 else ():
        getattr(model, name).fixed = True
    x = np.linspace(-5, 20, 90)
    y = model(x) * 1.05 + 0.02 * np.random.default_rng(2).normal(size=(3, 90))
    result = same_answer(xr.DataArray(y, dims=("p", "x"), coords={"x": x}), model)
    free = [n for n in model.param_names if not model.fixed[n]]
    assert len(free) == k
    for p in range(3):

        def residual(q: np.ndarray, p: int = p) -> np.ndarray:
            values = np.array(model.parameters)
            values[[model.param_names.index(n) for n in free]] = q
            return sum(_part(x, values[i : i + 3]) for i in range(0, values.size, 3)) - y[p]

        here = np.array([float(result[n][p]) for n in free])
        found, chi2 = by_scipy(residual, here)
        assert_allclose(float(result["chi2"][p]), chi2, rtol=1e-9)
        assert np.all(np.abs(found - here) <= 1e-4 * np.array([float(result[f"{n}_stderr"][p]) for n in free]))


def _part(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    return LINE.evaluate(x, *p)


# --- bad data


def bad(kind: str) -> xr.DataArray:
    data = lines(fits=4)
    values = data.values.copy()
    values[1] = {
        "all missing": np.nan, "infinite": np.inf, "huge": 1e300 * values[1], "tiny": 1e-300 * values[1], "zeros": 0.0,
        "denormal": 1e-315 * values[1], "constant": 3.0, "one left": np.where(np.arange(60) == 30, values[1], np.nan),
        "spike": np.where(np.arange(60) == 30, 1e200, values[1]),
    }[kind]  # fmt: skip
    return data.copy(data=values)


KINDS = ["all missing", "infinite", "huge", "tiny", "zeros", "denormal", "constant", "one left", "spike"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_fit_disturbs_no_other_and_never_looks_good(kind: str) -> None:
    """The others have the bits that they have alone; it succeeds only if its curve is a minimum."""
    data = bad(kind)
    result, alone = fit(data, LINE), fit(data.isel(p=[0, 2, 3]), LINE)
    assert_same_bits(result.isel(p=[0, 2, 3]), alone)
    numpy = fit(data, LINE, engine="numpy")
    good = [bool(one["fit_status"][1] > 0) for one in (result, numpy)]
    if kind in ("all missing", "infinite", "one left"):
        assert good == [False, False]
        assert int(result["fit_status"][1]) == int(numpy["fit_status"][1])
    if good[0]:
        chi2 = float(result["chi2"][1])
        p = [float(result[n][1]) for n in LINE.param_names]
        with np.errstate(all="ignore"):
            rounding = 1e-30 * np.sum(data.values[1] ** 2)
            exact = np.sum((data.values[1] - LINE.evaluate(data.x.values, *p)) ** 2)
            assert_allclose(chi2, exact, rtol=1e-6, atol=rounding)
            assert chi2 <= np.sum(data.values[1] ** 2) * (1 + 1e-12)


# --- laws


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"bounds": {"stddev": (0.5, 1.0)}, "p0": {"stddev": 0.9}}])
def test_bits_of_a_fit_depend_on_nothing_else(options: dict[str, Any]) -> None:
    """Not on chunks, order of dims, scheduler, or company."""
    data = lines(fits=12).where(np.random.default_rng(1).uniform(size=(12, 60)) > 0.05)
    whole = fit(data, LINE, **options)
    for chunks in ({"p": 1}, {"p": 5}, {"p": 12, "x": 7}):
        for scheduler in ("synchronous", "threads"):
            assert_same_bits(fit(data.chunk(chunks), LINE, **options).compute(scheduler=scheduler), whole)
    assert_same_bits(fit(data.transpose(), LINE, **options), whole)
    for p in (0, 7, 11):
        assert_same_bits(fit(data.isel(p=[p]), LINE, **options), whole.isel(p=[p]))
    backwards = fit(data.isel(p=slice(None, None, -1)), LINE, **options)
    assert_same_bits(backwards.isel(p=slice(None, None, -1)), whole)


@pytest.mark.parametrize("kind", ["free", "bounds", "tie", "errors"])
def test_no_fit_sees_those_at_its_side(kind: str) -> None:
    """Quick and slow fits, long and short ones, some on bounds, some without signal: each has the bits it has alone."""
    rng = np.random.default_rng(17)
    values = np.concatenate([lines(fits=30, noise=0.3).values, 0.3 * rng.normal(size=(30, 60))])
    values[rng.uniform(size=values.shape) > np.repeat(rng.uniform(0.2, 1.2, 60), 60).reshape(60, 60)] = np.nan
    values[[8, 31]], values[[9, 40], 30], values[[10, 50]] = np.nan, 1e200, 1e300 * values[[10, 50]]
    data = xr.DataArray(rng.permutation(values), dims=("p", "x"), coords={"x": lines().x})
    model, options = LINE.copy(), {}
    if kind == "bounds":
        model.mean.bounds, model.stddev.bounds, model.amplitude.bounds = (-0.7, 0.7), (0.9, 1.2), (0.0, 2.6)
    elif kind == "tie":
        model.stddev.tied = lambda m: 0.4 * m.amplitude
    elif kind == "errors":
        options = {"sigma": xr.DataArray(rng.uniform(0.1, 0.5, data.shape), dims=data.dims)}
    whole = fit(data, model, **options)
    assert np.any(whole["n_iter"] > 25)  # these are put back
    assert len(np.unique(whole["n_points"])) > 20
    if kind == "bounds":
        assert np.count_nonzero(whole["fit_status"] == FitStatus.CONVERGED_AT_BOUND) >= 4
    for p in range(60):
        own = {name: array.isel(p=[p]) for name, array in options.items()}
        assert_same_bits(fit(data.isel(p=[p]), model, **own), whole.isel(p=[p]))


@pytest.mark.slow
def test_bits_are_the_same_in_other_processes() -> None:
    data = lines(fits=4)
    there = fit(data.chunk({"p": 2}), LINE).compute(scheduler="processes", num_workers=2)
    assert_same_bits(there, fit(data, LINE))


@pytest.mark.slow
def test_bits_are_the_same_on_a_cluster() -> None:
    """The source travels, workers compile it; here they read the files of this run."""
    distributed = pytest.importorskip("distributed", reason="clusters")
    data = lines(fits=4)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        there = fit(data.chunk({"p": 1}), LINE).compute()
    assert_same_bits(there, fit(data, LINE))


@pytest.mark.parametrize("n", [40, 61])
def test_samples_that_are_left_out_are_absent(n: int) -> None:
    """Bit for bit: NaN, masked, without weight, or not there."""
    data, rng = lines(n), np.random.default_rng(4)
    kept = rng.uniform(size=n) > 0.4
    absent = fit(data.isel(x=kept), LINE)
    mask = xr.DataArray(kept, dims="x")
    assert_same_bits(fit(data.where(mask), LINE), absent)
    assert_same_bits(fit(data.where(mask, 1e300), LINE, where=mask), absent)
    weighted = fit(data.where(mask, 7.0), LINE, weights=mask.astype(float))
    for name in LINE.param_names:
        assert_array_equal(weighted[name], absent[name])


@pytest.mark.parametrize(("scale", "shift"), [(1e-17, 0.0), (2.0**70, 0.0), (1.0, 1e9), (1e17, -1e6)])
def test_neither_scale_nor_origin_matter(scale: float, shift: float) -> None:
    """Data of any size, coordinates from anywhere: the same fits to a thousandth of an error."""
    data = lines()
    plain = fit(data, LINE)
    moved = (scale * data).assign_coords(x=data.x + shift)
    result = fit(moved, M.Gaussian1D(2.5 * scale, 0.1 + shift, 1.1))
    assert_array_equal(result["fit_status"], plain["fit_status"])
    expected = {"amplitude": plain["amplitude"] * scale, "mean": plain["mean"] + shift, "stddev": plain["stddev"]}
    for name, by in (("amplitude", scale), ("mean", 1.0), ("stddev", 1.0)):
        assert np.all(np.abs(result[name] - expected[name]) <= 1e-3 * by * plain[f"{name}_stderr"]), name
        assert_allclose(result[f"{name}_stderr"], by * plain[f"{name}_stderr"], rtol=1e-4)


def test_inputs_are_left_as_they_are() -> None:
    data = lines()
    before = data.copy(deep=True)
    fit(data, LINE, weights=xr.ones_like(data))
    assert data.identical(before)


@pytest.mark.parametrize("function", [np.abs, np.sign])
def test_a_sample_on_a_cusp(function: Callable[..., Any]) -> None:
    """Where a derivative is no number the other engine takes over, and the answer is its answer."""

    def root(x, a=1.0, b=0.4):
        return a * np.sqrt(np.abs(x - b)) + 0 * function(x)

    x = np.linspace(0, 4, 41)
    y = 2 * np.sqrt(np.abs(x - 1.0)) + 0.01 * np.random.default_rng(0).normal(size=(3, 41))
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": x})
    model = custom_model(root)(1.8, 1.03)
    numba, numpy = (fit(data, model, engine=e) for e in ("numba", "numpy"))
    assert_array_equal(numba["fit_status"] > 0, numpy["fit_status"] > 0)
    good = (numba["fit_status"] > 0).values
    assert_allclose(numba["chi2"].values[good], numpy["chi2"].values[good], rtol=1e-6)
