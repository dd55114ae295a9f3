"""The public cases: their numbers, and a test for each sentence of their `behaviour`.

A tolerance in standard errors (`nsigma`) speaks of noisy data: an iterative fitter stops at a
relative change of 1e-8 of chi-square, which is 1e-4 standard errors at a chi-square of one per
degree of freedom. "Bit for bit" is meant so: the same samples through the same code.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.fitting import DogBoxLSQFitter, LevMarLSQFitter, LinearLSQFitter, LMLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Polynomial1D

import xr_modelfit
from xr_modelfit import FitError, FitStatus, FitWarning

CASES = [
    *("C01", "C02", "C08", "C10", "C11", "C13", "C14", "C16", "C17", "C19", "C21", "C22", "C23", "C25", "C26", "C28"),
    *("C30", "C33", "C35", "C37", "C39", "C41", "C42", "C44", "C46", "C48", "C50", "C52", "C53", "C55", "C56", "C60"),
    *("C04", "C05", "C07", "C31", "C58"),
    *("C62", "C63", "C64", "C65", "C66", "C67", "C68"),
]
WAITING = {
    "C36": "needs the scale-free batch fitter: astropy's stop at the start where data are of 1e-17",
}

Case = dict[str, Any]


@pytest.fixture
def case_of(public_cases: ModuleType) -> Callable[[str], Case]:
    """A case by its id."""
    known = {case["id"]: case for case in public_cases.CASES}
    return lambda name: known[name]


@pytest.fixture
def data_of(public_cases: ModuleType, case_of: Callable[[str], Case]) -> Callable[[str], xr.Dataset]:
    """The input of a case, never chunked: dask would already turn big-endian numbers."""
    return lambda name: public_cases.to_xarray({**case_of(name)["build"](), "dask": False})


@pytest.fixture
def model_of(public_cases: ModuleType, case_of: Callable[[str], Case]) -> Callable[[str], Any]:
    """The model of a case with its start values and constraints."""
    return lambda name: public_cases.model_of(case_of(name))


def fit(obj: Any, model: Any, dim: Any, **options: Any) -> xr.Dataset:
    """Fit without the warning about failed fits, synchronously where nothing else is asked for."""
    chunked = any(isinstance(v, xr.DataArray) and v.chunks is not None for v in [obj, *_flat(options.values())])
    if not chunked and not isinstance(obj, xr.Dataset):
        options.setdefault("scheduler", "synchronous")
    return xr_modelfit.fit(obj, model, dim, **{"errors": "ignore", **options})


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        yield from _flat(value.values()) if isinstance(value, dict) else (value,)


def numbers(result: xr.Dataset) -> xr.Dataset:
    """A result without its attrs, to compare bit for bit."""
    return result.compute().drop_attrs()


def assert_within_errors(one: xr.Dataset, other: xr.Dataset, names: Sequence[str], tolerance: float) -> None:
    """Two results agree within ``tolerance`` standard errors, in values and in errors."""
    for name in names:
        error = one[f"{name}_stderr"]
        assert bool((abs(one[name] - other[name]) <= tolerance * error).all()), name
        assert bool((abs(other[f"{name}_stderr"] / error - 1) <= tolerance).all()), name


# ------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "C64" else n for n in CASES])
def test_case(name: str, case_of: Callable[[str], Case], public_cases: ModuleType, run_case: ModuleType) -> None:
    """Parameters, errors and statuses agree with independent code, in the tolerances of the case."""
    assert run_case.check_case(case_of(name), public_cases, errors="ignore") == []


def test_every_case_runs_or_waits_for_a_reason(public_cases: ModuleType) -> None:
    assert sorted([*CASES, *WAITING]) == sorted(case["id"] for case in public_cases.CASES)


# ------------------------------------------------------------------------------------ C01, C02


def c01_options(data: xr.Dataset) -> dict[str, Any]:
    return {"p0": {"amplitude": 1.0, "tau": 2.0}, "bounds": {"tau": (1e-3, None)}}


def test_c01_a_bad_trace_is_flagged_and_told(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    data = data_of("C01")["data"]
    with pytest.warns(FitWarning, match="2 of 5 fits failed"):
        result = xr_modelfit.fit(data, model_of("C01"), "time", scheduler="synchronous")
    assert (result["fit_status"] > 0).values.tolist() == [True, True, False, True, False]
    assert np.isnan(result["tau_stderr"].values).tolist() == [False, False, True, False, True]


@pytest.mark.parametrize(("shots", "first"), [([101, 102, 103, 104, 105], 103), ([101, 104, 105], 105)])
def test_c01_errors_raise_names_the_pixel(
    shots: list[int], first: int, data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    data = data_of("C01")["data"].sel(shot=shots)
    with pytest.raises(FitError, match=rf"shot={first}\b"):
        fit(data, model_of("C01"), "time", errors="raise")


def test_c01_errors_raise_is_silent_where_all_is_well(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    good = data_of("C01")["data"].isel(shot=[0, 1, 3])
    assert fit(good, model_of("C01"), "time", errors="raise").sizes == {"shot": 3}


def test_c01_errors_raise_of_lazy_data_raises_where_it_is_computed(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    lazy = fit(data_of("C01")["data"].chunk(shot=2), model_of("C01"), "time", errors="raise")
    with pytest.raises(FitError, match=r"shot=(2|4|103|105)\b"):  # whichever block comes first
        lazy.compute(scheduler="synchronous")


def test_c02_a_start_map_needs_dims_that_remain(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    data = data_of("C02")["data"]
    alien = xr.DataArray([1.0, 2.0], dims="pixel")
    with pytest.raises(ValueError, match=r"p0.*mean.*\('pixel',\).*\('x', 'experiment'\)"):
        fit(data, model_of("C02"), "x", p0={"mean": alien})
    consumed = xr.DataArray(np.ones(data.sizes["x"]), dims="x")
    with pytest.raises(ValueError, match=r"p0.*mean.*'x'.*consumes"):
        fit(data, model_of("C02"), "x", p0={"mean": consumed})


@pytest.mark.parametrize(("chunk_data", "chunk_guess"), [(False, False), (True, False), (False, True), (True, True)])
def test_c02_dask_and_numpy_mix(
    chunk_data: bool, chunk_guess: bool, data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    data = data_of("C02")["data"]
    guess = xr.DataArray([5.0, 50.0, 94.0], dims="experiment", coords={"experiment": data["experiment"]})
    data = data.chunk(experiment=1) if chunk_data else data
    guess = guess.chunk(experiment=2) if chunk_guess else guess
    result = fit(data, model_of("C02"), "x", p0={"mean": guess})
    assert (result["mean"].chunks is not None) == (chunk_data or chunk_guess)
    result = result.compute()
    # Data without noise: the truth, as near as a relative change of 1e-8 in chi-square leaves it.
    np.testing.assert_allclose(result["mean"], [5.2, 50.0, 93.7], rtol=1e-8)
    np.testing.assert_allclose(result["amplitude"], [2.0, 1.0, 3.0], rtol=1e-8)
    np.testing.assert_allclose(result["stddev"], [1.5, 1.2, 0.8], rtol=1e-8)


# ------------------------------------------------------------------------------------ C08 to C17


def test_c08_samples_are_counted(data_of: Callable[[str], xr.Dataset]) -> None:
    result = fit(data_of("C08")["data"], Linear1D(), "x")
    assert result["n_points"].values.tolist() == [6, 2, 1, 0]
    assert result["n_points"].dtype.kind == "i"
    assert [FitStatus(int(s)).meaning for s in result["fit_status"]][2:] == ["too_few_points", "no_data"]
    # (1, 2.0) and (4, 8.6): the line is exact, and two samples say nothing about their scatter.
    np.testing.assert_allclose([result["slope"][1], result["intercept"][1]], [2.2, -0.2], rtol=1e-6)
    assert result["dof"].values.tolist()[:2] == [4, 0]
    assert np.isnan(result["slope_stderr"].values).tolist() == [False, True, True, True]


def test_c10_strings_are_no_coordinate(data_of: Callable[[str], xr.Dataset]) -> None:
    with pytest.raises(TypeError, match=r"'sample'.*coords="):
        fit(data_of("C10")["data"], Linear1D(), "sample")


def test_c10_the_index_is_read_where_nothing_else_is_asked_for(data_of: Callable[[str], xr.Dataset]) -> None:
    """The same numbers, once as a coordinate of another name, once as the index itself."""
    data = data_of("C10")["data"]
    by_name = fit(data, Linear1D(), "sample", coords="age")
    indexed = data.assign_coords(sample=data["age"].values).drop_vars("age")
    xr.testing.assert_identical(numbers(fit(indexed, Linear1D(), "sample")), numbers(by_name))


def c11_starts(data: xr.DataArray, case: Case) -> dict[str, Any]:
    return {"mean_0": xr.DataArray(case["build"]()["p0"]["mean_0"][1], dims=("y", "x"))}


@pytest.mark.parametrize("dims", [("velocity", "y", "x"), ("y", "x", "velocity"), ("x", "velocity", "y")])
def test_c11_transposes_change_nothing(
    dims: tuple[str, ...],
    data_of: Callable[[str], xr.Dataset],
    model_of: Callable[[str], Any],
    case_of: Callable[[str], Case],
) -> None:
    data = data_of("C11")["data"]
    starts = c11_starts(data, case_of("C11"))
    straight = fit(data, model_of("C11"), "velocity", p0=starts)
    assert straight["mean_0"].dims == ("y", "x")
    assert bool((straight["stddev_0"] > 0).all())
    turned = fit(data.transpose(*dims), model_of("C11"), "velocity", p0=starts)
    assert turned["mean_0"].dims == tuple(d for d in dims if d != "velocity")
    xr.testing.assert_identical(numbers(turned).transpose("y", "x"), numbers(straight))


def test_c11_a_reversed_axis_gives_the_same_maps(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any], case_of: Callable[[str], Case]
) -> None:
    data = data_of("C11")["data"]
    starts = c11_starts(data, case_of("C11"))
    down = fit(data, model_of("C11"), "velocity", p0=starts)
    up = fit(data.isel(velocity=slice(None, None, -1)), model_of("C11"), "velocity", p0=starts)
    # Sums in another order: iterations stop elsewhere, within the tolerance of the fitter.
    assert_within_errors(down, up, ["amplitude_0", "mean_0", "stddev_0", "amplitude_1"], 1e-3)


def test_c13_errors_are_broadcast_by_name(data_of: Callable[[str], xr.Dataset]) -> None:
    inputs = data_of("C13")
    one = fit(inputs["data"], Linear1D(), "dim_0", sigma=inputs["sigma"])
    full = inputs["sigma"].broadcast_like(inputs["data"]).transpose("dim_2", "dim_0", "dim_1")
    xr.testing.assert_identical(numbers(fit(inputs["data"], Linear1D(), "dim_0", sigma=full)), numbers(one))
    counted = inputs["data"].assign_coords(dim_0=np.arange(6))
    xr.testing.assert_identical(numbers(fit(counted, Linear1D(), "dim_0", sigma=inputs["sigma"])), numbers(one))


def test_c14_chunks_are_kept(
    public_cases: ModuleType, case_of: Callable[[str], Case], model_of: Callable[[str], Any]
) -> None:
    data = public_cases.to_xarray(case_of("C14"))["data"]
    result = fit(data, model_of("C14"), "time")
    for variable in result.data_vars.values():
        assert variable.chunks == ((1, 1, 1, 1), (2, 2, 2))


def test_c14_nothing_is_computed_by_the_call(data_of: Callable[[str], xr.Dataset]) -> None:
    reads: list[tuple[int, ...]] = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    data = data_of("C14")["data"].chunk(x=1, y=2)
    watched = data.copy(data=data.data.map_blocks(read, dtype=data.dtype, meta=np.empty((0, 0, 0))))
    where = (watched > -1e9).assign_coords(time=data["time"])
    result = fit(watched, Linear1D(), "time", where=where, sigma=xr.ones_like(watched))
    assert reads == []
    result.compute(scheduler="synchronous")
    assert len(reads) == 12  # once a block, though three arrays derive from it


def test_c14_tasks_grow_linearly_with_blocks() -> None:
    def n_tasks(blocks: int) -> int:
        data = xr.DataArray(dask.array.zeros((blocks, 5), chunks=(1, 5)), dims=("x", "time"))
        return len(dict(fit(data, Linear1D(), "time").__dask_graph__()))

    few, more, most = n_tasks(10), n_tasks(110), n_tasks(210)
    assert most - more == more - few
    assert (more - few) / 100 <= 40  # the packed output and its split; no shuffle between blocks


@pytest.mark.parametrize("chunks", [(2, 3, 5), (5, 3, 2), (1, 9), (10,)])
@pytest.mark.parametrize("chunk_mask", [False, True])
def test_c16_blocks_do_not_matter(
    chunks: tuple[int, ...], chunk_mask: bool, data_of: Callable[[str], xr.Dataset]
) -> None:
    inputs = data_of("C16")
    where = ~inputs["mask"]
    whole = fit(inputs["data"], Const1D(0), "t", where=where)
    where = where.chunk(x=(4, 6), t=3) if chunk_mask else where
    result = fit(inputs["data"].chunk(x=chunks, t=2), Const1D(0), "t", where=where)
    assert result["amplitude"].chunks == (chunks,)
    xr.testing.assert_identical(numbers(result), numbers(whole))
    assert result["x"].values.tolist() == list(range(0, 20, 2))


def test_c17_a_model_is_never_called_with_nothing(data_of: Callable[[str], xr.Dataset]) -> None:
    """A model that refuses empty and tiny input: no call with size 0 or 1 to learn a type."""

    def demanding(x: np.ndarray, a: float = 1.0, b: float = 0.0) -> np.ndarray:
        if np.size(x) < 8:
            raise RuntimeError(f"called with {np.size(x)} samples")
        return a * x + b

    data = data_of("C17")["data"]
    model = custom_model(demanding)()
    lazy = fit(data.chunk(pix=2), model, "x", errors="raise").compute(scheduler="synchronous")
    expected = [np.polyfit(np.arange(8.0), row, 1) for row in data.values]
    # A linear problem: Gauss-Newton steps leave 1e-8 of a standard error.
    np.testing.assert_allclose(np.stack([lazy["a"], lazy["b"]], axis=1), expected, rtol=1e-6)


# ------------------------------------------------------------------------------------ C25 to C37


@pytest.mark.parametrize("way", ["fixed", "bounds"])
def test_c25_fixed_values_may_be_a_map(way: str, data_of: Callable[[str], xr.Dataset]) -> None:
    data = data_of("C25")["data"]
    held = xr.DataArray([1.0, -3.0], dims="pix")
    model = Polynomial1D(2)
    model.c1.fixed = way == "fixed"
    options = {"p0": {"c1": held}} if way == "fixed" else {"bounds": {"c1": (held, held)}}
    result = fit(data, model, "x", **options)
    assert result["c1"].values.tolist() == [1.0, -3.0]
    assert result["c1_stderr"].values.tolist() == [0.0, 0.0]
    assert result["dof"].values.tolist() == [5, 5]
    assert result["fit_status"].values.tolist() == [1, 1]
    x = data["x"].values
    for i, c1 in enumerate(held.values):
        c2, c0 = np.linalg.lstsq(np.stack([x**2, np.ones(7)], axis=1), data.values[i] - c1 * x, rcond=None)[0]
        # A linear problem, which the default fitter solves by iteration to 1e-8.
        np.testing.assert_allclose([result["c0"][i], result["c2"][i]], [c0, c2], rtol=1e-6)


def test_c28_linear_and_other_fitters_agree(data_of: Callable[[str], xr.Dataset]) -> None:
    inputs = data_of("C28")
    linear = fit(inputs["data"], Polynomial1D(2), "x", sigma=inputs["sigma"], fitter=LinearLSQFitter())
    assert linear["n_points"].values.tolist() == [9, 9]
    for fitter in (TRFLSQFitter(), DogBoxLSQFitter(), LevMarLSQFitter()):
        other = fit(inputs["data"], Polynomial1D(2), "x", sigma=inputs["sigma"], fitter=fitter)
        assert_within_errors(linear, other, ["c0", "c1", "c2"], 1e-6)  # the fitters' own tolerance


def test_c28_zero_weight_is_no_sample(data_of: Callable[[str], xr.Dataset]) -> None:
    inputs = data_of("C28")
    weights = 1 / inputs["sigma"]
    weighted = fit(inputs["data"], Polynomial1D(2), "x", weights=weights, absolute_sigma=True)
    without = fit(inputs["data"][:, 1:], Polynomial1D(2), "x", weights=weights[1:], absolute_sigma=True)
    xr.testing.assert_identical(numbers(weighted), numbers(without))
    by_sigma = fit(inputs["data"], Polynomial1D(2), "x", sigma=inputs["sigma"])
    assert_within_errors(by_sigma, weighted, ["c0", "c1", "c2"], 1e-6)  # 1 / (1 / w) rounds


def test_c30_tied_values_follow_and_errors_are_propagated(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    result = fit(data_of("C30")["data"], model_of("C30"), "wave")
    assert result["dof"].values.tolist() == [106, 106]
    np.testing.assert_array_equal(result["amplitude_0"], result["amplitude_1"] / 2.98)
    np.testing.assert_array_equal(result["mean_0"], result["mean_1"] - 47.94)
    np.testing.assert_array_equal(result["stddev_0"], result["stddev_1"])
    # Derivatives of ties come from differences: linear ones are exact but for rounding.
    factors = {"amplitude": 1 / 2.98, "mean": 1.0, "stddev": 1.0}
    for name, factor in factors.items():
        expected = result[f"{name}_1_stderr"] * factor
        np.testing.assert_allclose(result[f"{name}_0_stderr"], expected, rtol=1e-9)


@pytest.mark.parametrize("units", ["degC", "furlongs per foo", "1", "degrees_north", "m s-1", ""])
def test_c33_a_unit_string_changes_no_number(units: str, data_of: Callable[[str], xr.Dataset]) -> None:
    data = data_of("C33")["data"]
    bare = data.drop_attrs(deep=True)
    data.attrs["units"] = units
    data["height"].attrs["units"] = units
    xr.testing.assert_identical(numbers(fit(data, Linear1D(), "height")), numbers(fit(bare, Linear1D(), "height")))


def test_c35_errors_follow_sigma_or_the_scatter(
    data_of: Callable[[str], xr.Dataset], case_of: Callable[[str], Case]
) -> None:
    inputs, expected = data_of("C35"), case_of("C35")["expected"]
    absolute = fit(inputs["data"], Linear1D(), "x", sigma=inputs["sigma"], absolute_sigma=True, covariance=True)
    order = ["intercept", "slope"]
    first = absolute["covariance"].isel(scale=0).sel(cov_i=order, cov_j=order)
    np.testing.assert_allclose(first, expected["cov_first"], rtol=1e-9)  # a QR against an SVD
    np.testing.assert_allclose(absolute["chi2"] / absolute["chi2"][0], [1, 1e-2, 1e-4], rtol=1e-9)
    rescaled = fit(inputs["data"], Linear1D(), "x", sigma=inputs["sigma"], absolute_sigma=False)
    for name, error in zip(order, expected["stderr_rescaled"], strict=True):
        np.testing.assert_allclose(absolute[f"{name}_stderr"] / absolute[f"{name}_stderr"][0], [1, 10, 100], rtol=1e-9)
        np.testing.assert_allclose(rescaled[f"{name}_stderr"], [error] * 3, rtol=1e-9)


@pytest.mark.parametrize("fitter", [None, LinearLSQFitter()], ids=["default", "linear"])
def test_c37_the_baseline_is_exact(
    fitter: Any,
    data_of: Callable[[str], xr.Dataset],
    model_of: Callable[[str], Any],
    case_of: Callable[[str], Case],
) -> None:
    """1e-6 of the noise, which is 0.02, against exact arithmetic."""
    data, expected = data_of("C37")["data"], case_of("C37")["expected"]
    result = fit(data, model_of("C37"), "freq", fitter=fitter)
    there = result.modelfit.evaluate(data).isel(freq=slice(None, None, 16))
    np.testing.assert_allclose(there, expected["evaluated"], rtol=0, atol=1e-6 * 0.02)
    for name in ("c0", "c1", "c2", "c3"):  # coefficients of the variable in [-1, 1]
        np.testing.assert_allclose(result[name], expected["params"][name], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------ C39 to C55


def test_c39_grids_or_ravelled(data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]) -> None:
    data = data_of("C39")["data"]
    grid = fit(data, model_of("C39"), ("y", "x"))
    assert grid["dof"].values.tolist() == [174]
    ravelled = data.stack(p=("y", "x")).reset_index("p")
    flat = fit(ravelled, model_of("C39"), "p", coords={"x": "x", "y": "y"})
    names = ["amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev", "theta"]
    assert_within_errors(grid, flat, names, 1e-9)  # the same samples in the same order
    swapped = fit(data.transpose("x", "t", "y"), model_of("C39"), ("x", "y"))
    assert_within_errors(grid, swapped, names, 1e-3)  # in another order, the fitter stops elsewhere


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -1e300, 0.0])
def test_c41_masked_samples_have_no_influence(garbage: float, data_of: Callable[[str], xr.Dataset]) -> None:
    inputs = data_of("C41")
    where = ~inputs["mask"]
    masked = fit(inputs["data"], Linear1D(0, 0), "x", where=where)
    other = fit(inputs["data"].where(where, garbage), Linear1D(0, 0), "x", where=where)
    xr.testing.assert_identical(numbers(other), numbers(masked))


def test_c41_a_mask_that_does_not_match_is_an_error(data_of: Callable[[str], xr.Dataset]) -> None:
    inputs = data_of("C41")
    with pytest.raises(ValueError, match=r"where has dims \('row', 'wave'\).*\('row', 'x'\).*'wave'"):
        fit(inputs["data"], Linear1D(), "x", where=(~inputs["mask"]).rename(x="wave"))
    with pytest.raises(ValueError, match=r"where.* 10 .*'x'.* 11"):
        fit(inputs["data"], Linear1D(), "x", where=(~inputs["mask"]).isel(x=slice(10)).drop_vars("x"))
    with pytest.raises(TypeError, match=r"where.*DataArray"):
        fit(inputs["data"], Linear1D(), "x", where=~inputs["mask"].values)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A distributed client with workers of their own process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs=40
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


def tied_decay(cases: ModuleType, x: xr.DataArray) -> tuple[Any, xr.DataArray]:
    """``exp_offset`` with tau tied to four times its amplitude by a lambda, and data of its kind."""
    model = custom_model(cases.exp_offset)(1.0, 4.0, 0.0)
    model.tau.tied = lambda m: 4 * m.amplitude
    true = xr.DataArray([0.5, 0.8, 1.2], dims="pix")
    noise = xr.DataArray(np.random.default_rng(42).normal(0, 0.01, (3, x.size)), dims=("pix", "x"))
    return model, true * np.exp(-x / (4 * true)) + 0.3 + noise


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True], ids=["closure", "lambda tie"])
def test_c42_every_scheduler_gives_the_same_bits(
    tied: bool,
    client: Any,
    public_cases: ModuleType,
    data_of: Callable[[str], xr.Dataset],
    model_of: Callable[[str], Any],
) -> None:
    data = data_of("C42")["data"]
    model = model_of("C42")
    if tied:
        model, data = tied_decay(public_cases, data["x"])
    lazy = fit(data.chunk(pix=1), model, "x")
    one = numbers(lazy.compute(scheduler="synchronous"))
    assert bool((one["fit_status"] > 0).all())
    for scheduler in ("threads", client, *([] if tied else ["processes"])):
        xr.testing.assert_identical(numbers(lazy.compute(scheduler=scheduler)), one)
    for scheduler in ("threads", client, *(["processes"] if tied else [])):
        xr.testing.assert_identical(numbers(fit(data, model, "x", scheduler=scheduler, fits_per_chunk=1)), one)
    if tied:
        np.testing.assert_array_equal(one["tau"], 4 * one["amplitude"])


def test_c44_fixed_components_come_back_unchanged(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any], case_of: Callable[[str], Case]
) -> None:
    maps = {k: xr.DataArray(v[1], dims=v[0]) for k, v in case_of("C44")["build"]()["fixed"].items() if v is not True}
    result = fit(data_of("C44")["data"], model_of("C44"), "e", p0=maps)
    for name, values in maps.items():
        np.testing.assert_array_equal(result[name], values)
        assert result[f"{name}_stderr"].values.tolist() == [0.0] * 3
    assert result["stddev_1"].values.tolist() == [1.5] * 3
    assert result["dof"].values.tolist() == [199] * 3


@pytest.mark.slow
def test_c46_pixels_are_independent(data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]) -> None:
    data, model = data_of("C46")["data"], model_of("C46")
    before = model.parameters.copy()
    whole = numbers(fit(data, model, "v"))
    np.testing.assert_array_equal(model.parameters, before)
    order = [3, 1, 5, 0, 4, 2]
    permuted = numbers(fit(data.isel(pix=order), model, "v"))
    xr.testing.assert_identical(permuted, whole.isel(pix=order))
    for i in range(6):
        xr.testing.assert_identical(numbers(fit(data.isel(pix=[i]), model, "v")), whole.isel(pix=[i]))
        xr.testing.assert_identical(numbers(fit(data.isel(pix=i), model, "v")), whole.isel(pix=i))
    for chunks in ((2, 2, 2), (1, 5), (3, 3)):
        lazy = fit(data.chunk(pix=chunks, v=10), model, "v")
        for scheduler in ("synchronous", "threads", *(["processes"] if chunks == (3, 3) else [])):
            xr.testing.assert_identical(numbers(lazy.compute(scheduler=scheduler)), whole)
    np.testing.assert_array_equal(model.parameters, before)


def test_c46_a_duplicated_pixel_gets_the_same_answer(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    twice = data_of("C46")["data"].isel(pix=[0, 1, 2, 0, 4, 2])
    result = numbers(fit(twice, model_of("C46"), "v"))
    xr.testing.assert_identical(result.isel(pix=[0, 2]), result.isel(pix=[3, 5]))


def test_c50_a_start_without_gradient_is_no_success(
    data_of: Callable[[str], xr.Dataset], run_case: ModuleType, case_of: Callable[[str], Case], public_cases: ModuleType
) -> None:
    result, _ = run_case.fit_case(case_of("C50"), public_cases, errors="ignore", keep_failed=True)
    assert result["fit_status"].sel(start="bad") <= 0
    assert result["fit_status"].sel(start="good") == FitStatus.CONVERGED
    assert np.isnan(result["mean_stderr"].sel(start="bad"))


def test_c52_big_endian_input(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any], public_cases: ModuleType
) -> None:
    data = data_of("C52")["data"]
    assert data.dtype == np.dtype(">f4")
    result = fit(data, model_of("C52"), "v")
    for name, variable in result.variables.items():
        assert variable.dtype.isnative, name
    for name in ("amplitude", "mean", "stddev", "mean_stderr", "chi2"):
        assert result[name].dtype == np.float64
    assert result["stokes"].item() == "I"
    swapped = data.astype("f8").assign_coords(v=data["v"].values.astype("f8"))
    xr.testing.assert_identical(numbers(fit(swapped, model_of("C52"), "v")), numbers(result))
    lazy = fit(data.chunk(y=1), model_of("C52"), "v")
    xr.testing.assert_identical(numbers(lazy), numbers(result))


def test_c53_errors_do_not_depend_on_the_values(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any]
) -> None:
    """Rows differ by exact members of the model: the same residuals, the same errors."""
    result = fit(data_of("C53")["data"], model_of("C53"), "x")
    for name in ("a", "b"):
        # Residuals of 0.01 on data of 1: rounding of 1e-16 becomes 1e-14.
        np.testing.assert_allclose(result[f"{name}_stderr"], [result[f"{name}_stderr"][0]] * 4, rtol=1e-9)


def test_c55_a_parameter_on_its_bound_has_no_error(
    data_of: Callable[[str], xr.Dataset], model_of: Callable[[str], Any], public_cases: ModuleType
) -> None:
    """The others' errors are those of the model with it held: amplitude and tau alone."""
    data, model = data_of("C55")["data"], model_of("C55")
    result = fit(data, model, "day")
    assert result["fit_status"].values.tolist() == [1, 1, 2]
    assert np.isnan(result["offset_stderr"].values).tolist() == [False, False, True]
    p, inverse, chi2, _ = public_cases._nls(public_cases.exp_decay, data["day"].values, data.values[2], [0.2, 5.0])
    expected = np.sqrt(np.diag(inverse) * chi2 / 18)  # the bounded parameter still counts as free
    found = [result["amplitude_stderr"][2], result["tau_stderr"][2]]
    # The fitter stops 1e-6 inside the bound, where the Jacobian is another by that much.
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert abs(result["tau"][2] - p[1]) < 0.05 * expected[1]


# ------------------------------------------------------------------------------------ C60 to C63


def test_c60_coordinates_survive(data_of: Callable[[str], xr.Dataset]) -> None:
    data = data_of("C60")["data"].rename("amplitude")
    with pytest.raises(ValueError, match="prefix="):
        fit(data, Gaussian1D(1, 0, 1), "x")
    result = fit(data, Gaussian1D(1, 0, 1), "x", prefix="line_")
    for name in ("mean", "stddev", "amplitude"):
        xr.testing.assert_identical(result[name].reset_coords(drop=True), data[name].reset_coords(drop=True))
    # Data without noise: (1, -0.5, 0.8) and (2, 0.7, 1.2) made them.
    np.testing.assert_allclose(result["line_mean"], [-0.5, 0.7], rtol=1e-8)


@pytest.mark.parametrize("name", ["param", "parameter", "degree", "cov_i", "cov_j", "variable", "fit_status", "x_0"])
def test_c60_any_name_of_a_dim(name: str, data_of: Callable[[str], xr.Dataset]) -> None:
    data = data_of("C60")["data"].drop_vars(["mean", "stddev"]).rename(amplitude=name)
    if name == "fit_status":
        with pytest.raises(ValueError, match=r"'fit_status'.*prefix=.*rename"):
            fit(data, Gaussian1D(1, 0, 1), "x")
        return
    result = fit(data, Gaussian1D(1, 0, 1), "x")
    assert result["mean"].dims == (name,)
    assert result[name].values.tolist() == [10, 20]
    if name in ("cov_i", "cov_j"):
        with pytest.raises(ValueError, match=rf"covariance.*{name}.*rename"):
            fit(data, Gaussian1D(1, 0, 1), "x", covariance=True)
    else:
        covariance = fit(data, Gaussian1D(1, 0, 1), "x", covariance=True)["covariance"]
        assert covariance.dims == (name, "cov_i", "cov_j")


def c62_result(case: Case, folder: Path) -> xr.Dataset:
    """The fit of a packed netCDF file, as a user has it: opened, lazy, with its encoding."""
    extra = case["build"]()
    data = xr.DataArray(extra["data"], dims=extra["dims"], name="t", attrs=extra["attrs"])
    data = data.assign_coords({k: (v[0], v[1]) for k, v in extra["coords"].items()})
    data.to_dataset().to_netcdf(folder / "packed.nc", engine="netcdf4", encoding={"t": extra["extra"]["encoding"]})
    with xr.open_dataset(folder / "packed.nc", engine="netcdf4", chunks={"station": 1}) as opened:
        assert "scale_factor" in opened["t"].encoding
        return fit(opened["t"], Linear1D(), "time", covariance=True).compute()


def test_c62_attrs_and_encodings_can_be_written(case_of: Callable[[str], Case], tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    result = c62_result(case_of("C62"), tmp_path)
    packing = {"scale_factor", "add_offset", "_FillValue", "missing_value", "dtype"}
    for variable in result.variables.values():
        assert not packing & set(variable.encoding)
        for value in variable.attrs.values():
            assert isinstance(value, str | int | float | list | np.ndarray | np.number), value
    assert all(isinstance(value, str | int | float | list) for value in result.attrs.values())
    assert result["fit_status"].attrs["flag_meanings"].split()[0] == "converged"


@pytest.mark.parametrize("store", ["netcdf4", "h5netcdf", "zarr"])
def test_c62_written_and_read_back(store: str, case_of: Callable[[str], Case], tmp_path: Path) -> None:
    for needed in {"netCDF4", *{"h5netcdf": ("h5netcdf", "h5py"), "zarr": ("zarr",)}.get(store, ())}:
        pytest.importorskip(needed)
    result = c62_result(case_of("C62"), tmp_path)
    if store == "zarr":
        result.to_zarr(tmp_path / "maps.zarr", zarr_format=2)  # format 3 has no stable strings
        again = xr.open_zarr(tmp_path / "maps.zarr").load()
    else:
        result.to_netcdf(tmp_path / "maps.nc", engine=store)
        with xr.open_dataset(tmp_path / "maps.nc", engine=store) as opened:
            again = opened.load()
    for name in result.data_vars:
        assert again[name].dtype == result[name].dtype, name
        np.testing.assert_array_equal(again[name].values, result[name].values)
        assert set(again[name].attrs) == set(result[name].attrs)
        for key, value in result[name].attrs.items():
            np.testing.assert_array_equal(again[name].attrs[key], value)
    assert again["station"].values.tolist() == ["Oslo", "Lima"]
    np.testing.assert_array_equal(again.modelfit.to_model().slope, result["slope"])


def test_c63_all_variables_that_have_the_dim(
    data_of: Callable[[str], xr.Dataset], case_of: Callable[[str], Case]
) -> None:
    build = case_of("C63")["build"]()
    ds = data_of("C63").rename(data="a").assign(build["extra"]["others"])
    result = ds.modelfit(Linear1D(), dim="t", errors="ignore")
    assert {n for n in result.data_vars if str(n).endswith("slope")} == {"a_slope", "b_slope"}
    assert not [n for n in result.variables if str(n).startswith("area")]
    assert result["a_slope"].dims == ("y",)
    assert result["b_slope"].dims == ()
    assert result["run"].item() == "r17"
    expected = case_of("C63")["expected"]["other_b"]
    for name in ("intercept", "slope"):
        # A linear problem: the case's own tolerances, 1e-2 standard errors and 2e-3 of the error.
        error = expected["stderr"][name]
        assert abs(result[f"b_{name}"] - expected["params"][name]) < 1e-2 * error
        np.testing.assert_allclose(result[f"b_{name}_stderr"], error, rtol=2e-3)


# ------------------------------------------------------------------------------------ C64


MANY_PIXELS = """
import json, resource, sys
import dask, dask.array, numpy as np, xarray as xr, xr_modelfit
from astropy.modeling.models import Linear1D


class ClosedForm:
    fit_info = {}

    def __call__(self, model, x, y, weights=None):
        dx = x - x.mean()
        slope = np.sum(dx * y) / np.sum(dx * dx)
        model.parameters = [slope, y.mean() - slope * x.mean()]
        return model


def make(n, path):
    i = dask.array.arange(n, chunks=64) / (n - 1)
    t = np.arange(50, dtype="f4")
    cube = (1 + i[:, None, None]) + (0.1 + 0.4 * i[None, :, None]) * t + 0.5 * ((t % 3) - 1)
    cube = xr.DataArray(cube.astype("f4"), dims=("y", "x", "t"), coords={"t": t}, name="cube")
    cube.to_dataset().to_zarr(path, zarr_format=2, compute=True)


def run(path, result):
    cube = xr.open_zarr(path)["cube"]
    xr_modelfit.fit(cube, Linear1D(), "t", fitter=ClosedForm()).to_zarr(result, zarr_format=2)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

"""


def run_script(code: str, folder: Path, **environment: str) -> dict[str, Any]:
    """What a script prints as JSON, run in a process of its own; ``MANY_PIXELS`` is put before it."""
    done = subprocess.run(
        [sys.executable, "-c", MANY_PIXELS + textwrap.dedent(code)],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_c64_memory_stays_at_a_few_blocks(tmp_path: Path) -> None:
    """From 4 blocks to 16, zarr to zarr: far less than what is added to the input alone.

    A closed form stands for the fitter, so that the package's own memory is what is measured.
    The allocator is told to give back what is freed: its own holes are a few blocks.
    """
    pytest.importorskip("zarr")
    pytest.importorskip("resource")
    found = run_script(
        """
        make(128, "small"), make(256, "large")
        run("small", "small_maps")
        before = peak()
        run("large", "large_maps")
        corners = xr.open_zarr("large_maps").isel(x=[0, -1], y=[0, -1])
        print(json.dumps({"growth": peak() - before, "slope": corners["slope"].values.tolist()}))
        """,
        tmp_path,
        MALLOC_ARENA_MAX="1",
        MALLOC_MMAP_THRESHOLD_="65536",
        MALLOC_TRIM_THRESHOLD_="65536",
    )
    assert found["growth"] < 6 * 64 * 64 * 50 * 4
    # The slope of the ripple (t % 3) - 1 comes on top of 0.1 and 0.5; input is float32.
    ripple = np.polyfit(np.arange(50.0), 0.5 * (np.arange(50) % 3 - 1), 1)[0]
    np.testing.assert_allclose(found["slope"], np.array([[0.1, 0.5]] * 2) + ripple, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not tell what each thread did")
def test_c64_threads_of_blas_do_not_get_in_the_way(tmp_path: Path) -> None:
    """They do nothing while dask's threads fit, so that no two compete for a core: one of BLAS alone or as many as it
    likes, the same is left to threads that are not Python's.

    How long the fits take would tell it too, but tells as well what else the machine does.
    """
    pytest.importorskip("zarr")
    code = """
        import threading
        from pathlib import Path

        def work():
            "Clock ticks of this process's threads: of Python's, and of others."
            own, ticks = {t.native_id for t in threading.enumerate()}, [0, 0]
            for task in Path("/proc/self/task").iterdir():
                user, system = (task / "stat").read_text().rpartition(")")[2].split()[11:13]
                ticks[int(task.name) not in own] += int(user) + int(system)
            return np.array(ticks)

        make(64, "small")
        xr.open_zarr("small").chunk(x=16, y=64, t=-1).drop_encoding().to_zarr("blocks", zarr_format=2)
        run("blocks", "first")
        before = work()
        for i in range(3):
            run("blocks", f"maps{i}")
        fits = work()
        square = np.ones((3000, 3000))
        square @ square
        print(json.dumps({"fits": (fits - before).tolist(), "product": (work() - fits).tolist()}))
        """
    (tmp_path / "one").mkdir(), (tmp_path / "unset").mkdir()
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    one = run_script(code, tmp_path / "one", **threads)
    unset = run_script(code, tmp_path / "unset", **dict.fromkeys(threads, ""))
    own, others = unset["fits"]
    assert own > 20  # ticks of 10 ms: enough to compare with
    assert others <= one["fits"][1] + 0.1 * own
    if len(os.sched_getaffinity(0)) > 1:
        assert unset["product"][1] > 0.2 * sum(unset["product"])  # so much is seen of them where they work


# ------------------------------------------------------------------------------------ C65 to C68


@pytest.mark.parametrize(
    "fitter", [TRFLSQFitter(), DogBoxLSQFitter(), LMLSQFitter(), LevMarLSQFitter()], ids=lambda f: type(f).__name__
)
@pytest.mark.parametrize("name", ["C65", "C66", "C67", "C68"])
def test_certified_or_flagged(
    name: str, fitter: Any, case_of: Callable[[str], Case], public_cases: ModuleType, run_case: ModuleType
) -> None:
    """Whatever fitter stops where: a success has the certified numbers, or is another true minimum."""
    case = case_of(name)
    result, _ = run_case.fit_case(case, public_cases, errors="ignore", fitter=fitter)
    build = case["build"]()
    function = public_cases.FUNCS[build["model"].removesuffix("()")]
    for i in np.flatnonzero(result["fit_status"] > 0):
        if result["chi2"].values[i] > 1.001 * case["expected"]["chi2"][i]:
            found = [result[parameter].values[i] for parameter in case["expected"]["params"]]
            p, inverse, chi2, dof = public_cases._nls(function, build["coords"]["x"][1], build["data"][i], found)
            distance = np.abs(p - found) / np.sqrt(np.diag(inverse) * chi2 / dof)
            assert np.all(distance < 1e-2)
            continue
        for parameter, values in case["expected"]["params"].items():
            error = case["expected"]["stderr"][parameter][i]
            assert abs(result[parameter].values[i] - values[i]) < 1e-2 * error
            assert abs(result[f"{parameter}_stderr"].values[i] / error - 1) < 1e-2
    failed = result["fit_status"] <= 0
    for parameter in case["expected"]["params"]:
        assert bool(result[parameter].where(failed, drop=True).isnull().all())


@pytest.mark.parametrize("name", ["C67", "C68"])
def test_certified_with_enough_iterations(
    name: str, case_of: Callable[[str], Case], public_cases: ModuleType, run_case: ModuleType
) -> None:
    """From the second start, with a tight tolerance and enough iterations, there is no excuse."""
    case = case_of(name)
    options = {"fitter": TRFLSQFitter(), "fitter_kwargs": {"maxiter": 5000, "acc": 1e-14}, "errors": "ignore"}
    result, _ = run_case.fit_case(case, public_cases, **options)
    assert result["fit_status"].sel(start=2) == FitStatus.CONVERGED
    for parameter, values in case["expected"]["params"].items():
        error = case["expected"]["stderr"][parameter][1]
        assert abs(result[parameter].sel(start=2) - values[1]) < 1e-3 * error
