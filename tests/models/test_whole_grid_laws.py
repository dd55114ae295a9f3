"""Laws for models that see all their samples: no fit sees another, however data lie, and a result knows its model."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from astropy.convolution import convolve_models
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Linear1D

from support.bits import assert_same_bits
from support.whole_grid import CASES, Case, assert_right, recorded, right_of
from xr_modelfit import FitStatus, fit

pytestmark = pytest.mark.quick_share(3)

every_case = pytest.mark.parametrize("name", CASES)
FITTERS: dict[str, Callable[[], Any]] = {"batch": lambda: None, "TRF": TRFLSQFitter}
both_fitters = pytest.mark.parametrize("fitter", FITTERS)
TRAVEL = ["np.convolve", "fftconvolve", "x.shape[0] > 50", "convolve_models", "convolve_models_fft"]
SOME = ["np.convolve", "x - x.mean()", "sort", "x.shape[0] > 50", "uniform_filter"]
some_cases = pytest.mark.parametrize("name", [*SOME, pytest.param("fftconvolve", marks=pytest.mark.slow)])
OF_TRF = [*TRAVEL, "uniform_filter"]  # it evaluates all models in the same way
# Several times as much work as the others, in the same code.
LONG = {"convolve_models", "convolve_models_fft", "fftconvolve", "table convolved"}
every_fit = pytest.mark.parametrize(
    ("name", "fitter"),
    [
        pytest.param(name, fitter, marks=[pytest.mark.slow] * (name in LONG))
        for fitter, names in (("batch", CASES), ("TRF", OF_TRF))
        for name in names
    ],
)


def options(name: str, fitter: str = "batch") -> dict[str, Any]:
    return {"sigma": CASES[name].noise, "covariance": True, "fitter": FITTERS[fitter]()}


@cache
def expected(name: str, fitter: str = "batch") -> xr.Dataset:
    """The fit of a case, of computed data as they are."""
    result = CASES[name].fit(CASES[name].data(), **options(name, fitter), scheduler="synchronous")
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    return result


# --- chunks and schedulers


@pytest.mark.slow
@every_fit
def test_chunks_do_not_matter(name: str, fitter: str) -> None:
    """Along positions and along the grid, which is put together again; nor how many fits a block has."""
    case = CASES[name]
    data, given = case.data(), options(name, fitter)
    first, *others = case.dims
    chunks = {"p": 1, "q": 2, first: (5, 1, data.sizes[first] - 6)} | dict.fromkeys(others, 4)
    lazy = case.fit(data.chunk(chunks), **given)
    assert lazy["fit_status"].chunks == ((1, 1), (2,))
    assert_same_bits(lazy.compute(scheduler="synchronous"), expected(name, fitter))
    assert_same_bits(case.fit(data, **given, fits_per_chunk=3, scheduler="threads"), expected(name, fitter))


def travelling() -> list[xr.Dataset]:
    """Lazy fits whose models, made here, go to other processes."""
    return [CASES[name].fit(CASES[name].data().chunk(p=1), **options(name)) for name in TRAVEL]


@pytest.mark.slow
def test_processes_give_the_same_bits() -> None:
    """Functions travel by what they are; an operator of astropy's, which is known by a number, does too."""
    for name, got in zip(TRAVEL, dask.compute(*travelling(), scheduler="processes", num_workers=2), strict=True):
        assert_same_bits(got, expected(name))


@pytest.mark.slow
def test_distributed_gives_the_same_bits() -> None:
    """Lazy data, and computed data."""
    distributed = pytest.importorskip("distributed")
    where = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    wanted = [expected(name) for name in TRAVEL]
    with distributed.LocalCluster(**where) as cluster, distributed.Client(cluster):
        for got, right in zip(dask.compute(*travelling()), wanted, strict=True):
            assert_same_bits(got, right)
        for name, right in zip(TRAVEL, wanted, strict=True):
            here = CASES[name].fit(CASES[name].data(), **options(name), fits_per_chunk=3)
            assert_same_bits(here, right)


# --- company


@pytest.mark.quick_share(2)
@every_fit
def test_a_fit_alone_equals_the_fit_in_company(name: str, fitter: str) -> None:
    """A single position, with and without its dims, and one that occurs twice."""
    case = CASES[name]
    data, given = case.data(), options(name, fitter)
    for at in ({"p": 0, "q": 0}, {"p": 1, "q": [1]}, {"p": [1], "q": [1, 0, 1]}):
        assert_same_bits(case.fit(data.isel(at), **given), expected(name, fitter).isel(at))


@every_fit
def test_gaps_of_one_fit_do_not_change_another(name: str, fitter: str) -> None:
    """Another gap, no data at all, too few, or numbers that no model could reach: for that fit alone."""
    case = CASES[name]
    changed = case.data().astype(float)
    changed[0, 1] = np.nan
    changed[1, 0] = 1e300
    flat = changed.values[1, 1].reshape(-1)
    flat[2:] = np.nan
    got = case.fit(changed, **options(name, fitter))
    assert_same_bits(got.isel(p=[0], q=[0]), expected(name, fitter).isel(p=[0], q=[0]))
    assert got["fit_status"][0, 1] == FitStatus.NO_DATA
    assert got["fit_status"][1, 1] == FitStatus.TOO_FEW_POINTS


# --- what leaves a sample out

LEFT_OUT: dict[str, Callable[[xr.Dataset, xr.DataArray], xr.Dataset]] = {
    "where": lambda ds, used: ds.assign(good=used),
    "where, wild data": lambda ds, used: ds.assign(good=used, flux=ds["flux"].where(used, -1e300)),
    "NaN data": lambda ds, used: ds.assign(flux=ds["flux"].where(used)),
    "infinite data": lambda ds, used: ds.assign(flux=ds["flux"].where(used, np.inf)),
    "NaN sigma": lambda ds, used: ds.assign(error=ds["error"].where(used)),
    "infinite sigma": lambda ds, used: ds.assign(error=ds["error"].where(used, np.inf)),
    "sigma 0": lambda ds, used: ds.assign(error=ds["error"].where(used, 0.0)),
}


@pytest.mark.quick_share(3)
@both_fitters
@some_cases
def test_all_ways_to_leave_a_sample_out_are_the_same(name: str, fitter: str) -> None:
    """Masked = NaN = no valid error: no weight, in values, errors, n_points and dof."""
    case = CASES[name]
    flux = case.data(gaps=False)
    used = flux.copy(data=~case.left_out)
    error = flux.copy(data=case.noise * np.random.default_rng(1).uniform(0.5, 2.0, flux.shape))
    ds = xr.Dataset({"flux": flux, "error": error, "good": xr.ones_like(used)})
    results = {
        way: case.fit(left_out(ds, used), data="flux", sigma="error", where="good", fitter=FITTERS[fitter]())
        for way, left_out in LEFT_OUT.items()
    }
    for way, result in results.items():
        xr.testing.assert_equal(result["n_points"], used.sum(case.dims).rename("n_points"))
        assert (result["fit_status"] > 0).all(), way
        assert_same_bits(result, results["where"])


# --- the order of dims


@pytest.mark.quick_share(3)
@both_fitters
@some_cases
def test_the_order_of_dims_does_not_matter(name: str, fitter: str) -> None:
    """Of ``dim``, and of positions in the data, which may lie between the fitted dims."""
    case, given = CASES[name], options(name, fitter)
    data = case.data()
    reads = {"coords": case.reads, "errors": "ignore"}
    for dim in permutations(case.dims):
        got = fit(data, case.model(), dim, **given, **reads)
        assert_same_bits(got, expected(name, fitter))
        assert recorded(got).get("grid_dims") == list(case.dims)
    first, *others = case.dims
    for order in (("q", *case.dims, "p"), (first, "p", *others, "q")):
        turned = case.fit(data.transpose(*order), **given)
        assert_same_bits(turned.transpose("p", "q", ...), expected(name, fitter))
    lying = data.copy(data=np.asfortranarray(data.values))
    assert_same_bits(case.fit(lying, **given), expected(name, fitter))


@pytest.mark.quick_share(3)
@both_fitters
@pytest.mark.parametrize("name", ["gaussian_filter", "fftconvolve", "row means", "x.ndim == 2", "uniform_filter"])
def test_axes_are_those_of_the_data(name: str, fitter: str) -> None:
    """A model that treats its axes in different ways gets them as the data have them, and that is written down."""
    case = CASES[name]
    turned = replace(case, coords=dict(reversed(case.coords.items())))
    data = turned.data(gaps=False)
    data[0, 1] = data[0, 1].where(np.random.default_rng(3).random(data.shape[2:]) > 0.3)
    result = turned.fit(data, **options(name, fitter))
    assert recorded(result)["grid_dims"] == list(turned.dims)
    for j in range(2):
        assert_right(result.isel(p=0, q=j), case.free, turned.right(data.values[0, j]))
    value = result.modelfit.evaluate(data.transpose(..., *case.dims)).transpose(*data.dims)
    assert_same(value.values[0, 1], turned.values(parameters_of(result, turned, 0, 1)))


# --- what a result knows of its model

ITSELF = ["table convolved", "convolve_models", "convolve_models_fft"]  # kept by the record, all of it


def told(name: str) -> dict[str, Any]:
    """The model that methods are told of; what the record keeps of it is looked at with files."""
    return {"model": CASES[name].model()} if name in ITSELF else {}


def parameters_of(result: xr.Dataset, case: Case, i: int, j: int) -> np.ndarray:
    return np.array([result[name].values[i, j] for name in case.model().param_names])


def modelled(result: xr.Dataset, case: Case, **coords: np.ndarray) -> np.ndarray:
    """What new models with the fitted parameters give when they are called on the grid."""
    values = [case.values(parameters_of(result, case, i, j), **coords) for i, j in np.ndindex(2, 2)]
    return np.array(values).reshape(2, 2, *values[0].shape)


def assert_same(got: np.ndarray, right: np.ndarray) -> None:
    """The same code, called with the same numbers: rounding is all that may differ, in sums of units for one."""
    np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-12 * np.nanmax(np.abs(right)))


@every_case
def test_evaluate_is_the_model_on_the_grid(name: str) -> None:
    """On the gappy data, on parts of the positions, on data with other orders of dims, and lazily."""
    case, result, given = CASES[name], expected(name), told(name)
    data, right = case.data(), modelled(result, case)
    value = result.modelfit.evaluate(data, **given)
    assert value.dims == data.dims
    assert_same(value.values, right)
    here = result.isel(p=1).modelfit.evaluate(data.isel(p=1, q=[1, 0]), **given)
    np.testing.assert_array_equal(here.values, value.values[1, ::-1])
    turned = result.modelfit.evaluate(data.transpose(), **given)
    assert turned.dims == data.dims[::-1]
    np.testing.assert_array_equal(turned.transpose(*data.dims), value)
    lazy = result.modelfit.evaluate(data.chunk({"p": 1, case.dims[0]: 3}), **given).compute(scheduler="synchronous")
    np.testing.assert_array_equal(lazy, value)


@every_case
def test_residuals_are_data_less_the_model(name: str) -> None:
    """NaN in the gaps; a sum of squares of them is chi-square."""
    case, result, given = CASES[name], expected(name), told(name)
    data = case.data()
    left = result.modelfit.residuals(data, **given)
    assert_same(left.values, data.values - modelled(result, case))
    assert left.isnull().equals(data.isnull())
    np.testing.assert_allclose((left**2).sum(case.dims) / case.noise**2, result["chi2"], rtol=1e-10)


@every_case
def test_other_coordinates_are_another_grid(name: str) -> None:
    """By name, and a part of the data: the model is called on what is given, along the axes of the fit."""
    case, result, given = CASES[name], expected(name), told(name)
    other = {d: x[: x.size - 3] for d, x in case.coords.items()}
    right = modelled(result, case, **other)
    part = case.data().isel({d: slice(0, x.size) for d, x in other.items()})
    assert_same(result.modelfit.evaluate(part, **given).values, right)
    named = result.modelfit.evaluate(**dict(reversed(other.items())), **given)
    assert_same(named.transpose("p", "q", *case.dims).values, right)


@pytest.mark.quick_share(3)
@every_case
def test_predicted_errors_are_those_of_linear_propagation(name: str) -> None:
    """J C J' with the covariance of least squares, and derivatives by central differences of a fiftieth of an error.

    Those are good to 1e-4 or so, and the covariance to 1e-3.
    """
    case, result, given = CASES[name], expected(name), told(name)
    data = case.data()
    found = result.modelfit.predict(data, **given)
    np.testing.assert_array_equal(found["flux_model"], result.modelfit.evaluate(data, **given))
    for at in ((0, 0), (1, 1)):
        right = right_of(name)[at]
        steps = np.diag(0.02 * right.errors)
        J = [
            (case.values(case.full(right.parameters + h)) - case.values(case.full(right.parameters - h)))
            / (2 * h.sum())
            for h in steps
        ]
        variance = np.einsum("i...,ij,j...->...", np.array(J), right.covariance, np.array(J))
        size = np.sqrt(variance.max())
        np.testing.assert_allclose(
            found["flux_model_stderr"].values[at], np.sqrt(variance), rtol=2e-3, atol=2e-3 * size
        )


def test_components_of_a_sum_with_a_convolution() -> None:
    """Each part on the complete grid: the convolution, and the line beneath it."""
    case, result, given = CASES["convolve_models"], expected("convolve_models"), told("convolve_models")
    data = case.data()
    parts = result.modelfit.components(data, **given)
    assert list(parts) == ["Gaussian1D_0_Gaussian1D_1", "Linear1D_2"]
    for i, j in np.ndindex(2, 2):
        p = parameters_of(result, case, i, j)
        convolved = convolve_models(Gaussian1D(*p[:3]), Gaussian1D(*p[3:6]))(case.coords["t"])
        assert_same(parts["Gaussian1D_0_Gaussian1D_1"].values[i, j], convolved)
        assert_same(parts["Linear1D_2"].values[i, j], Linear1D(*p[6:])(case.coords["t"]))
    assert_same(sum(parts.values()).values, result.modelfit.evaluate(data, **given).values)


@pytest.mark.parametrize("name", ["fftconvolve", "np.convolve"])
def test_the_only_component_of_a_model_is_the_model(name: str) -> None:
    case, result = CASES[name], expected(name)
    (part,) = result.modelfit.components(case.data()).values()
    np.testing.assert_array_equal(part, result.modelfit.evaluate(case.data()))


@every_case
def test_to_model_gives_the_fitted_model(name: str) -> None:
    """Called on the grid it says what evaluate says, with the parameters of the map."""
    case, result, given = CASES[name], expected(name), told(name)
    model = result.isel(p=1, q=0).modelfit.to_model(**given)
    np.testing.assert_array_equal(model.parameters, parameters_of(result, case, 1, 0))
    assert_same(np.asarray(model(*case.grids())), modelled(result, case)[1, 0])


FROM_FILE = [*ITSELF, "np.convolve", "fftconvolve", "uniform_filter"]


@pytest.mark.parametrize("name", FROM_FILE)
def test_a_file_keeps_how_the_model_was_evaluated(name: str, tmp_path: Path) -> None:
    """Read again, also transposed and a part of it, it is evaluated on the grid as before."""
    pytest.importorskip("netCDF4")
    case, result = CASES[name], expected(name)
    result.to_netcdf(tmp_path / "fit.nc")
    with xr.open_dataset(tmp_path / "fit.nc") as file:
        back = file.load()
    assert recorded(back) == recorded(result)
    given = {} if name in ITSELF else {"model": case.model()}
    data = case.data()
    value = result.modelfit.evaluate(data)
    np.testing.assert_array_equal(back.modelfit.evaluate(data, **given), value)
    np.testing.assert_array_equal(back.modelfit.residuals(data, **given), data - value)
    some = back.transpose("q", "p", ...).isel(q=[1])
    np.testing.assert_array_equal(some.modelfit.evaluate(data.isel(q=[1]), **given), value[:, [1]])
    got, right = (r.modelfit.predict(data, **m)["flux_model_stderr"] for r, m in ((back, given), (result, {})))
    np.testing.assert_array_equal(got, right)


EVALUATE = """
import sys
import numpy as np
import xarray as xr
import xr_modelfit

folder, tests, *names = sys.argv[1:]
for number, name in enumerate(names):
    back = xr.open_dataset(f"{folder}/{number}.nc")
    data = xr.open_dataarray(f"{folder}/{number}_data.nc")
    if number == len(names) - 1:
        sys.path.insert(0, tests)
        from support.whole_grid import CASES
        model = CASES[name].model()
        assert xr_modelfit.__file__ is not None
    else:
        model = None
    np.save(f"{folder}/{number}.npy", back.modelfit.evaluate(data, model=model).values)
"""


@pytest.mark.slow
def test_a_new_process_evaluates_it(tmp_path: Path) -> None:
    """Convolutions of astropy by their record alone, another model by the one that is passed."""
    pytest.importorskip("netCDF4")
    names = [*ITSELF, "fftconvolve"]
    for number, name in enumerate(names):
        expected(name).to_netcdf(tmp_path / f"{number}.nc")
        CASES[name].data().to_netcdf(tmp_path / f"{number}_data.nc")
    command = [sys.executable, "-c", EVALUATE, str(tmp_path), str(Path(__file__).parents[1]), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for number, name in enumerate(names):
        assert_same(np.load(tmp_path / f"{number}.npy"), modelled(expected(name), CASES[name]))


# --- what else a user does with a fit


@pytest.mark.quick_share(3)
@both_fitters
@some_cases
def test_an_earlier_result_is_a_start(name: str, fitter: str) -> None:
    """From the minimum, a fit stays there; a few more steps may bring it nearer."""
    case, before = CASES[name], expected(name, fitter)
    after = case.fit(case.data(), **options(name, fitter), p0=before)
    assert (after["fit_status"] == FitStatus.CONVERGED).all()
    for parameter in case.free:
        assert (np.abs(after[parameter] - before[parameter]) < 1e-3 * before[f"{parameter}_stderr"]).all()


@some_cases
def test_a_plan_counts_and_times_the_fits(name: str) -> None:
    case = CASES[name]
    plan = case.data().modelfit.plan(case.model(), case.dims, **({"coords": case.reads} | options(name)))
    assert plan.n_fits == 4
    assert plan.seconds > 0
    assert "4 fits" in str(plan)


def test_a_report_counts_the_fits() -> None:
    report = str(expected("fftconvolve").modelfit.report())
    assert report.startswith("4 fits, 4 successful")


KEPT: dict[str, dict[str, Any]] = {}


def keep(path: Path, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    """A callable of diagnostics."""
    values = np.asarray(model(*(np.array(x) for x in world)))
    KEPT[path.name] = {"world": world, "data": data, "weights": weights, "values": values}


@every_fit
def test_diagnostics_get_the_complete_grid(name: str, fitter: str, tmp_path: Path) -> None:
    """Coordinates and data as they lie, weight zero in the gaps, and a model to call on these coordinates."""
    case = CASES[name]
    data = case.data()
    KEPT.clear()
    result = case.fit(data, **options(name, fitter), scheduler="synchronous", diagnostics="all",
                      diagnostics_path=tmp_path, diagnostics_callable=keep)  # fmt: skip
    assert not list(tmp_path.rglob("*.log"))
    assert_same_bits(result, expected(name, fitter))
    right = modelled(result, case)
    assert set(KEPT) == {f"p={i}_q={j}" for i, j in np.ndindex(2, 2)}
    for i, j in np.ndindex(2, 2):
        got = KEPT[f"p={i}_q={j}"]
        for x, grid in zip(got["world"], case.grids(), strict=True):
            np.testing.assert_array_equal(x, grid)
        np.testing.assert_array_equal(got["data"], data.values[i, j])
        weights = np.where(data.notnull().values[i, j], 1 / case.noise, 0.0)
        np.testing.assert_allclose(got["weights"], weights, rtol=1e-15)
        assert_same(got["values"], right[i, j])


@pytest.mark.quick_share(2)
@pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib")
@pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning:matplotlib")
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if len(c.dims) == 1 and n != "convolve_models_fft"])
def test_the_curve_is_the_model_at_the_samples(name: str) -> None:
    """The model has no values between the samples of its grid; in gaps it has them."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    case, result = CASES[name], expected(name)
    data = case.data()
    picture = data.modelfit.plot_fit(result, p=20.0, q=3, sigma=case.noise, **told(name))
    picture.fig.canvas.draw()
    order = np.argsort(case.coords["t"])
    at, curve = picture.artists["model"].get_data()
    np.testing.assert_array_equal(at, case.coords["t"][order])
    assert_same(np.asarray(curve), modelled(result, case)[1, 0][order])
    kept = data.notnull().values[1, 0]
    left = picture.artists["residuals"].lines[0].get_ydata()
    assert_same(np.asarray(left), (data.values[1, 0] - modelled(result, case)[1, 0])[kept])
    plt.close("all")


@pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib")
@pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning:matplotlib")
@pytest.mark.parametrize("name", [n for n, c in CASES.items() if len(c.dims) == 2])
def test_the_image_of_the_model_is_the_model(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    case, result = CASES[name], expected(name)
    picture = case.data().modelfit.plot_fit(result, p=20.0, q=3)
    picture.fig.canvas.draw()
    drawn = np.asarray(picture.artists["model"].get_array(), dtype=float).reshape(-1)
    right = modelled(result, case)[1, 0]
    assert any(np.allclose(drawn, turned.reshape(-1), rtol=1e-12) for turned in (right, right.T))
    plt.close("all")
