"""What is written about single fits. ``parallel_fit_dask`` is the authority for folders, logs and arguments."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Fittable1DModel, Parameter, custom_model
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import Gaussian1D, Linear1D, Planar2D
from distributed import Client

from support.bits import assert_same_bits
from xr_modelfit import BatchLSQFitter, FitError, FitStatus, FitWarning, fit
from xr_modelfit.fitters.diagnosis import folder_name

N = 8
T = np.arange(float(N))
GOOD, WARNS, RAISES, WARNS_TWICE, FLOATS = range(5)
LEVELS = ["error", "error+warn", "all"]


class Moody(LinearLSQFitter):
    """A fitter whose mood is in the first sample of the data."""

    def __call__(self, model: Any, x: Any, y: Any, **keywords: Any) -> Any:
        if y[0] in (WARNS, WARNS_TWICE):
            warnings.warn("first", UserWarning, stacklevel=1)
        if y[0] == WARNS_TWICE:
            warnings.warn("second", DeprecationWarning, stacklevel=1)
        if y[0] == FLOATS:
            np.log(-y[:1])
        if y[0] == RAISES:
            raise ValueError("bad mood")
        return super().__call__(model, x, y, **keywords)


def moods(marks: Any) -> xr.DataArray:
    """Lines over (y, x, t), the mood of each in its first sample."""
    marks = np.asarray(marks, dtype=float)
    values = np.random.default_rng(3).normal(0, 0.1, (*marks.shape, N)) + 0.5 * T
    values[..., 0] = marks
    return xr.DataArray(values, dims=("y", "x", "t"), coords={"t": T, "y": 10.0 * np.arange(len(marks))}, name="flux")


MARKS = [[GOOD, WARNS, GOOD, RAISES], [RAISES, WARNS_TWICE, FLOATS, GOOD], [GOOD, WARNS, WARNS, GOOD]]


def peaks(shape: tuple[int, ...] = (2, 3)) -> xr.DataArray:
    """Gaussians with noise over (y, x, v); one is masked."""
    rng = np.random.default_rng(5)
    v = np.linspace(-3.0, 3.0, 25)
    centre = rng.uniform(-0.5, 0.5, shape)[..., None]
    values = 3 * np.exp(-0.5 * (v - centre) ** 2) + rng.normal(0, 0.1, (*shape, v.size))
    values[(0,) * len(shape)] = np.nan
    return xr.DataArray(values, dims=("y", "x", "v")[-len(shape) - 1 :], coords={"v": v}, name="flux")


def tree(path: Path, rename: Callable[[str], str] = str) -> dict[str, list[str]]:
    """Files of each folder that is not empty of meaning: every folder, with what is in it."""
    return {rename(folder.name): sorted(os.listdir(folder)) for folder in sorted(path.iterdir())}


def named(*dims: str) -> Callable[[str], str]:
    """astropy's folder ``0_3`` as it is called here."""
    return lambda name: "_".join(f"{d}={int(i)}" for d, i in zip(dims, name.split("_"), strict=True))


def save(path: Any, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    """A callable that keeps what it gets."""
    arrays = {f"world{i}": w for i, w in enumerate(world)} | {"data": data}
    if weights is not None:
        arrays["weights"] = weights
    if model is not None:
        arrays |= {"parameters": model.parameters, "values": model(*world)}
    np.savez(os.path.join(path, "kept.npz"), keywords=repr(fitter_kwargs), **arrays)


def kept(path: Path, rename: Callable[[str], str] = str) -> dict[str, dict[str, Any]]:
    """What `save` kept, by folder."""
    out = {}
    for folder in path.iterdir():
        with np.load(folder / "kept.npz") as file:
            out[rename(folder.name)] = dict(file)
    return out


def plot(path: Any, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    """The example of the documentation: a plot for each fit, by pyplot."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(3, 2))
    ax = fig.add_subplot(1, 1, 1)
    ax.plot(world[0], data, "k.")
    if model is None:
        ax.text(0.1, 0.9, "Fit failed!", color="r", transform=ax.transAxes)
    else:
        ax.plot(world[0], model(world[0]), "r-")
    fig.savefig(os.path.join(path, "fit.png"), dpi=50)
    plt.close(fig)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0", set_as_default=False) as c:
        yield c


# --- the same as parallel_fit_dask


@pytest.mark.parametrize("level", LEVELS)
def test_folders_and_logs_are_those_of_astropy(level: str, tmp_path: Path) -> None:
    """Errors, warnings of Python and of numpy, and fits without data."""
    data = moods(MARKS)
    data[2, 3] = np.nan
    parallel_fit_dask(
        model=Linear1D(), fitter=Moody(), data=data.values, fitting_axes=2, world=(T,), scheduler="synchronous",
        diagnostics=level, diagnostics_path=tmp_path / "there",
    )  # fmt: skip
    fit(data, Linear1D(), "t", fitter=Moody(), errors="ignore", diagnostics=level, diagnostics_path=tmp_path / "here")
    there = tree(tmp_path / "there", named("y", "x"))
    assert tree(tmp_path / "here") == there
    assert there["y=0_x=3"] == ["error.log"]
    rename = named("y", "x")
    for folder in (tmp_path / "there").iterdir():
        for log in folder.iterdir():
            here = (tmp_path / "here" / rename(folder.name) / log.name).read_text()
            if log.name == "warn.log":
                assert here == log.read_text()
            else:
                assert here.startswith("Traceback (most recent call last):\n")
                assert here.splitlines()[-1] == log.read_text().splitlines()[-1] == "ValueError: bad mood"


def test_warnings_that_numpy_raises_in_a_model_count(tmp_path: Path) -> None:
    """As there, where a model overflows or takes a logarithm of what it should not."""

    @custom_model
    def writes_inputs(x: Any, slope: float = 1.0, start: float = 0.0) -> Any:
        return start + slope * x + 0 * np.nan_to_num(np.log(x - 1.0))

    data = moods(np.zeros((1, 3)))
    for run in ("there", "here"):
        common = {"diagnostics": "error+warn", "diagnostics_path": tmp_path / run, "scheduler": "synchronous"}
        if run == "there":
            parallel_fit_dask(
                model=writes_inputs(), fitter=TRFLSQFitter(), data=data.values, fitting_axes=2, world=(T,), **common
            )
        else:
            fit(data, writes_inputs(), "t", fitter=TRFLSQFitter(), **common)
    assert tree(tmp_path / "here") == tree(tmp_path / "there", named("y", "x"))
    log = (tmp_path / "here" / "y=0_x=0" / "warn.log").read_text()
    assert log == (tmp_path / "there" / "0_0" / "warn.log").read_text()
    assert "divide by zero encountered in log" in log


def assert_same_arguments(here: dict[str, Any], there: dict[str, Any]) -> None:
    assert sorted(here) == sorted(there)
    for folder, expected in there.items():
        got = here[folder]
        assert sorted(got) == sorted(expected)
        for name, array in expected.items():
            assert got[name].shape == array.shape, name
            if array.dtype.kind == "U":
                assert got[name] == array
            else:
                fitted = name in ("parameters", "values")
                np.testing.assert_allclose(got[name], array, rtol=1e-6 if fitted else 0, err_msg=f"{folder}: {name}")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_callable_gets_what_astropy_passes(weighted: bool, masked: bool, tmp_path: Path) -> None:
    data = peaks()
    weights = xr.DataArray(np.random.default_rng(1).uniform(1, 2, data.shape), dims=data.dims)
    bad = xr.DataArray(np.random.default_rng(2).random(data.shape) < 0.1, dims=data.dims)
    model, keywords = Gaussian1D(2, 0.1, 1.2), {"maxiter": 200}
    common = {
        "fitter": TRFLSQFitter(), "fitter_kwargs": keywords, "scheduler": "synchronous", "diagnostics": "all",
        "diagnostics_callable": save,
    }  # fmt: skip
    parallel_fit_dask(
        model=model, data=data.values, fitting_axes=2, world=(data["v"].values,), diagnostics_path=tmp_path / "there",
        weights=weights.values.copy() if weighted else None, mask=bad.values if masked else None, **common,
    )  # fmt: skip
    fit(
        data, model, "v", diagnostics_path=tmp_path / "here", weights=weights if weighted else None,
        where=~bad if masked else None, **common,
    )  # fmt: skip
    here, there = kept(tmp_path / "here"), kept(tmp_path / "there", named("y", "x"))
    assert len(here) == 5
    assert_same_arguments(here, there)
    assert ("weights" in here["y=0_x=1"]) == (weighted or masked)
    assert here["y=1_x=1"]["keywords"] == "{'maxiter': 200}"


@pytest.mark.parametrize("order", [("y", "x", "t"), ("x", "t", "y"), ("t", "x", "y")])
def test_the_callable_gets_what_astropy_passes_of_images(order: tuple[str, ...], tmp_path: Path) -> None:
    """Axes in the order of the model's inputs, and coordinates of the shape of the data."""
    rng = np.random.default_rng(4)
    x, y = np.linspace(0.0, 1.0, 6), np.linspace(5.0, 7.0, 5)
    data = xr.DataArray(rng.normal(size=(4, 5, 6)), dims=("t", "y", "x"), coords={"x": x, "y": y}).transpose(*order)
    weights = xr.DataArray(rng.uniform(1, 2, (4, 5, 6)), dims=("t", "y", "x"))
    common = {"fitter": TRFLSQFitter(), "scheduler": "synchronous", "diagnostics": "all", "diagnostics_callable": save}
    parallel_fit_dask(
        model=Planar2D(), data=data.values, fitting_axes=(order.index("x"), order.index("y")), world=(x, y),
        weights=weights.transpose(*order).values, diagnostics_path=tmp_path / "there", **common,
    )  # fmt: skip
    fit(data, Planar2D(), ("y", "x"), weights=weights, diagnostics_path=tmp_path / "here", **common)
    here = kept(tmp_path / "here")
    assert_same_arguments(here, kept(tmp_path / "there", named("t")))
    assert here["t=3"]["data"].shape == here["t=3"]["world0"].shape == here["t=3"]["world1"].shape == (6, 5)


def test_samples_that_are_left_out_have_weight_zero(tmp_path: Path) -> None:
    data = peaks()[1:]
    data[0, 0, 3] = np.nan
    sigma = xr.full_like(data, 0.1)
    fit(data, Gaussian1D(), "v", sigma=sigma, diagnostics="all", diagnostics_path=tmp_path, diagnostics_callable=save)
    got = kept(tmp_path)["y=0_x=0"]
    assert np.isnan(got["data"][3])
    assert got["weights"][3] == 0
    np.testing.assert_allclose(np.delete(got["weights"], 3), 10)


def test_pooled_dims_and_coordinates_of_several_dims(tmp_path: Path) -> None:
    """Where inputs and dims do not match one by one, axes are in the data's order."""
    data = moods(np.zeros((2, 3)))
    options = {"diagnostics": "all", "diagnostics_callable": save}
    fit(data, Linear1D(), ("t", "x"), coords="t", diagnostics_path=tmp_path / "pooled", **options)
    got = kept(tmp_path / "pooled")["y=1"]
    assert got["data"].shape == got["world0"].shape == (3, N)
    np.testing.assert_array_equal(got["data"], data[1])
    data = data.assign_coords(late=(("y", "t"), T + np.array([[0.0], [100.0]])))
    fit(data, Linear1D(), "t", coords="late", diagnostics_path=tmp_path / "late", **options)
    np.testing.assert_array_equal(kept(tmp_path / "late")["y=1_x=2"]["world0"], T + 100)


def test_the_model_has_the_constraints_of_its_position_and_no_units(tmp_path: Path) -> None:
    def look(path: Path, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
        bounds = [model.stddev.bounds, model.mean.bounds, model.mean.unit, model.amplitude.fixed, model.name]
        (path / "seen.txt").write_text(repr(bounds))

    data = peaks()[1:].assign_attrs(units="K")
    data["v"].attrs["units"] = "km/s"
    start = Gaussian1D(3 * u.K, 0 * u.m / u.s, 1 * u.km / u.s, name="line", fixed={"amplitude": True})
    high = xr.DataArray([1.5, 2.0, 2.5], dims="x", attrs={"units": "km/s"})
    fit(data, start, "v", bounds={"stddev": (0.5, high)} | {"mean": (None, None)}, diagnostics="all",
        diagnostics_path=tmp_path, diagnostics_callable=look)  # fmt: skip
    for x, limit in enumerate(high.values):
        seen = (tmp_path / f"y=0_x={x}" / "seen.txt").read_text()
        assert seen == repr([(0.5, float(limit)), (None, None), None, True, "line"])


# --- logs of failed fits


class Marked(Fittable1DModel):
    """A line that breaks where it is marked."""

    slope = Parameter(default=1)
    mark = Parameter(default=0, fixed=True)

    @staticmethod
    def evaluate(x: Any, slope: Any, mark: Any) -> Any:
        if np.any(np.asarray(mark) == RAISES):
            raise ArithmeticError("a marked line")
        return slope * x


def test_the_batch_fitter_says_why_a_fit_failed(tmp_path: Path) -> None:
    data = peaks((5,)).assign_attrs(units="K")
    data["v"].attrs["units"] = "km/s"
    data[1, 2:] = np.nan
    start = xr.DataArray([1.0, 1.0, np.nan, 1.0, 1.0], dims="x")
    got = fit(
        data, Gaussian1D(1, 1, 3, bounds={"mean": (-5, 5)}), "v", p0={"amplitude": start}, keep_failed=True,
        fitter=BatchLSQFitter(maxiter=2), errors="ignore", diagnostics="error", diagnostics_path=tmp_path,
    )  # fmt: skip
    assert got["fit_status"].values.tolist() == [-5, -4, -7, -1, -1]
    assert tree(tmp_path) == {f"x={i}": ["error.log"] for i in (1, 2, 3, 4)}
    text = (tmp_path / "x=3" / "error.log").read_text()
    one = {name: got[name].values[3].item() for name in ("amplitude", "mean", "stddev", "chi2")}
    assert text.splitlines() == [
        f"max_iterations: {FitStatus.MAX_ITERATIONS.sentence}",
        "",
        "last iterate",
        f"  amplitude = {one['amplitude']:.10g} K",
        f"  mean = {one['mean']:.10g} km/s  in [-5, 5]",
        f"  stddev = {one['stddev']:.10g} km/s{text.splitlines()[5].partition(' km/s')[2]}",
        "",
        f"chi2        {one['chi2']:.10g}",
        "samples     25",
        "dof         22",
        "iterations  2",
    ]
    few = (tmp_path / "x=1" / "error.log").read_text()
    assert few.startswith("too_few_points: ")
    assert "no iterate; start\n  amplitude = 1 K" in few
    assert "samples     2\n" in few
    assert "amplitude = nan" in (tmp_path / "x=2" / "error.log").read_text()


def test_units_of_the_log_are_those_of_the_result(tmp_path: Path) -> None:
    data = peaks((2,))[1:].assign_attrs(units="K")
    data["v"].attrs["units"] = "km/s"
    model = Gaussian1D(1 * u.mK, 1000 * u.m / u.s, 3 * u.km / u.s)
    got = fit(data, model, "v", keep_failed=True, fitter=BatchLSQFitter(maxiter=1), errors="ignore",
              diagnostics="error", diagnostics_path=tmp_path)  # fmt: skip
    text = (tmp_path / "x=0" / "error.log").read_text()
    for name in ("amplitude", "mean"):
        shown = text.partition(f"{name} = ")[2].split()
        np.testing.assert_allclose(float(shown[0]), got[name].item(), rtol=1e-9)
        assert " ".join(shown[1:2]) == got[name].attrs["units"].split()[0]


def test_a_model_that_raises_leaves_its_traceback(tmp_path: Path) -> None:
    """With the batch fitter after the rest, with an astropy fitter alone."""
    data = moods(np.zeros((1, 4)))
    marks = xr.DataArray([GOOD, GOOD, RAISES, GOOD], dims="x")
    for name, fitter in {"batch": None, "astropy": TRFLSQFitter()}.items():
        got = fit(data, Marked(), "t", p0={"mark": marks}, fitter=fitter, errors="ignore", diagnostics="error",
                  diagnostics_path=tmp_path / name)  # fmt: skip
        assert got["fit_status"].values.tolist() == [[1, 1, FitStatus.FITTER_ERROR, 1]]
        assert tree(tmp_path / name) == {"y=0_x=2": ["error.log"]}
        text = (tmp_path / name / "y=0_x=2" / "error.log").read_text()
        assert text.endswith("ArithmeticError: a marked line\n")
        assert text.startswith("Traceback" if name == "astropy" else "fitter_error: The fitter raised an error.\n")
        assert "Traceback (most recent call last):\n" in text


def test_a_fit_that_its_fitter_gives_up_has_both_logs(tmp_path: Path) -> None:
    """astropy leaves such fits out of its errors, and yet returns a map with NaN for other reasons."""
    data = peaks()
    options = {"fitter": TRFLSQFitter(), "fitter_kwargs": {"maxiter": 2}, "errors": "ignore"}
    for level, logs in {"error": ["error.log"], "error+warn": ["error.log", "warn.log"]}.items():
        fit(data, Gaussian1D(), "v", diagnostics=level, diagnostics_path=tmp_path / level, **options)
        assert tree(tmp_path / level) == {f"y={y}_x={x}": logs for y in (0, 1) for x in (0, 1, 2) if x or y}
    assert "may be unsuccessful" in (tmp_path / "error+warn" / "y=1_x=1" / "warn.log").read_text()
    assert (tmp_path / "error" / "y=1_x=1" / "error.log").read_text().startswith("max_iterations: ")


def test_the_batch_fitter_warns_of_fits_without_errors(tmp_path: Path) -> None:
    data = moods(np.zeros((1, 2))).isel(t=slice(1, 4))
    data[0, 1, 0] = np.nan
    for level in LEVELS:
        fit(data, Linear1D(), "t", diagnostics=level, diagnostics_path=tmp_path / level)
    assert tree(tmp_path / "error") == {}
    assert tree(tmp_path / "error+warn") == {"y=0_x=1": ["warn.log"]}
    assert tree(tmp_path / "all") == {"y=0_x=0": [], "y=0_x=1": ["warn.log"]}
    assert (tmp_path / "all" / "y=0_x=1" / "warn.log").read_text() == (
        "FitWarning: The parameters have no standard errors: 2 samples leave 0 degrees of freedom. "
        "Pass sigma, or use more samples.\n"
    )
    fit(data, Linear1D(), "t", sigma=0.1, diagnostics="error+warn", diagnostics_path=tmp_path / "sigma")
    assert tree(tmp_path / "sigma") == {}


# --- folders


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("y", "y"), ("λ rest", "λ rest"), ("a/b", "a_b"), ("a\\b:c", "a_b_c"), ("..", "_"), (".", "_"), ("", "_"),
        ("end. ", "end_"), ("a\0b\n", "a_b_"), (3, "3"), ("[OIII]", "[OIII]"),
    ],
)  # fmt: skip
def test_names_become_parts_of_paths(name: object, folder: str) -> None:
    assert folder_name(name) == folder


def test_no_remaining_dim(tmp_path: Path) -> None:
    data = moods([[GOOD]]).isel(y=0, x=0)
    fit(data, Linear1D(), "t", diagnostics="all", diagnostics_path=tmp_path, diagnostics_callable=save)
    assert tree(tmp_path) == {"fit": ["kept.npz"]}


def test_positions_are_those_of_the_array_that_was_passed(tmp_path: Path) -> None:
    """Also with odd names, a dim of size 1, and a cut: positions are not labels."""
    data = moods(MARKS).isel(y=slice(1, 3), x=[1]).rename(y="a/b").transpose("x", "t", "a/b")
    fit(data, Linear1D(), "t", fitter=Moody(), diagnostics="all", diagnostics_path=tmp_path / "deep" / "er")
    assert tree(tmp_path / "deep" / "er") == {"x=0_a_b=0": ["warn.log"], "x=0_a_b=1": ["warn.log"]}


def test_each_variable_of_a_dataset_has_its_folder(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": moods([[GOOD, WARNS]]), "b/c": moods([[RAISES, GOOD]]), "b:c": moods([[WARNS, GOOD]])})
    options = {"fitter": Moody(), "errors": "ignore", "diagnostics": "error+warn"}
    fit(ds, Linear1D(), "t", diagnostics_path=tmp_path / "several", **options)
    assert {name: tree(tmp_path / "several" / name) for name in os.listdir(tmp_path / "several")} == {
        "a": {"y=0_x=1": ["warn.log"]},
        "b_c": {"y=0_x=0": ["error.log"]},
        "b_c_": {"y=0_x=0": ["warn.log"]},
    }
    fit(ds, Linear1D(), "t", data="a", diagnostics_path=tmp_path / "one", **options)
    assert tree(tmp_path / "one") == {"y=0_x=1": ["warn.log"]}


def test_a_relative_path_is_that_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = moods(MARKS).chunk(x=1)
    lazy = fit(data, Linear1D(), "t", fitter=Moody(), diagnostics="error", diagnostics_path="logs")
    monkeypatch.chdir(Path(__file__).parents[1])
    assert tree(tmp_path / "logs") == {}
    lazy.compute(scheduler="synchronous")
    assert sorted(tree(tmp_path / "logs")) == ["y=0_x=3", "y=1_x=0"]


def test_a_second_run_replaces_its_logs(tmp_path: Path) -> None:
    options = {"fitter": Moody(), "errors": "ignore", "diagnostics": "all", "diagnostics_path": tmp_path}
    fit(moods([[RAISES, WARNS]]), Linear1D(), "t", diagnostics_callable=broken, **options)
    (tmp_path / "y=0_x=0" / "mine.txt").touch()
    fit(moods([[GOOD, GOOD]]), Linear1D(), "t", **options)
    assert tree(tmp_path) == {"y=0_x=0": ["callable.log", "mine.txt"], "y=0_x=1": ["callable.log"]}
    fit(moods([[GOOD, GOOD]]), Linear1D(), "t", diagnostics_callable=save, **options)
    assert tree(tmp_path) == {"y=0_x=0": ["kept.npz", "mine.txt"], "y=0_x=1": ["kept.npz"]}


@pytest.mark.parametrize("fitter", [None, Moody()], ids=["batch", "astropy"])
def test_nothing_to_fit(fitter: Any, tmp_path: Path) -> None:
    """No position, no sample, no data: no folder."""
    data = moods(MARKS)
    for i, empty in enumerate((data.isel(x=slice(0)), data.isel(t=slice(0)), data * np.nan)):
        for form in (empty, empty.chunk()):
            path = tmp_path / str(i)
            fit(
                form, Linear1D(), "t", fitter=fitter, errors="ignore", diagnostics="all", diagnostics_path=path
            ).compute()
        assert tree(tmp_path / str(i)) == {}


# --- what goes wrong stops nothing


def broken(path: Path, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    warnings.warn("look out", UserWarning, stacklevel=1)
    if path.name.endswith("1"):
        sys.exit("no more")
    raise KeyError(path.name)


def spoil(path: Path, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    """Change all that it gets, and settings of the process."""
    for array in (*world, data, weights):
        array[...] = np.nan
    fitter_kwargs["maxiter"] = 1
    if model is not None:
        model.parameters = [np.nan] * len(model.parameters)
        model.mean.fixed = True
        model.stddev.bounds = (7, 8)
    np.seterr(all="raise")
    warnings.simplefilter("error")


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter()], ids=["batch", "astropy"])
@pytest.mark.parametrize("function", [spoil, broken, None, save])
def test_the_numbers_are_those_of_a_run_without(fitter: Any, function: Any, tmp_path: Path) -> None:
    data = peaks((3, 4))
    data[1, 1] = 0.0  # degenerate
    data[2, 2, 4:] = np.inf
    weights = xr.full_like(data, 2.0)
    weights[0, 2, 5] = 0
    options = {
        "fitter": fitter, "weights": weights, "where": data["v"] < 2.9, "covariance": True, "errors": "ignore",
        "fitter_kwargs": {"maxiter": 20} if fitter else None, "fit_info": "nfev" if fitter else None,
    }  # fmt: skip
    expected = fit(data, Gaussian1D(2, 0.3, 2), "v", **options)
    before, filters, errors = data.copy(), list(warnings.filters), np.geterr()
    for keep in (data, data.chunk(y=1, x=2)):
        got = fit(
            keep, Gaussian1D(2, 0.3, 2), "v", diagnostics="all", diagnostics_path=tmp_path,
            diagnostics_callable=function, **options,
        )  # fmt: skip
        assert_same_bits(got.compute(scheduler="threads"), expected)
    assert data.identical(before)
    assert warnings.filters == filters
    assert np.geterr() == errors
    assert len(tree(tmp_path)) == 11


def test_a_callable_that_raises_is_told_in_its_folder(tmp_path: Path) -> None:
    fit(moods([[GOOD, GOOD]]), Linear1D(), "t", diagnostics="all", diagnostics_path=tmp_path,
        diagnostics_callable=broken)  # fmt: skip
    first, second = ((tmp_path / f"y=0_x={x}" / "callable.log").read_text() for x in (0, 1))
    assert "look out" in first.splitlines()[0]
    assert first.splitlines()[-1] == "KeyError: 'y=0_x=0'"
    assert second.splitlines()[-1] == "SystemExit: no more"


def test_a_folder_that_cannot_be_made_is_warned_of_once(tmp_path: Path) -> None:
    data = moods(MARKS)
    expected = fit(data, Linear1D(), "t")
    for taken in ("y=0_x=0", "y=1_x=3"):
        (tmp_path / taken).touch()
    options = {"diagnostics": "all", "diagnostics_path": tmp_path, "diagnostics_callable": save}
    with pytest.warns(FitWarning, match=r"diagnostics of 2 fits could not be written to .*Check") as caught:
        got = fit(data, Linear1D(), "t", **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_same_bits(got, expected)
    assert_same_bits(fit(data.chunk(x=1), Linear1D(), "t", **options).compute(), expected)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 10


def test_the_first_failure_still_raises_where_asked(tmp_path: Path) -> None:
    options = {"fitter": Moody(), "errors": "raise", "diagnostics": "error"}
    with pytest.raises(FitError, match="y=0, x=3"):
        fit(moods(MARKS), Linear1D(), "t", diagnostics_path=tmp_path / "now", **options)
    with pytest.raises(FitError, match="y=0, x=3"):
        fit(moods(MARKS).chunk(), Linear1D(), "t", diagnostics_path=tmp_path / "lazy", **options).compute()
    for name in ("now", "lazy"):
        assert sorted(tree(tmp_path / name)) == ["y=0_x=3", "y=1_x=0"]


# --- schedulers

SCHEDULERS = ["synchronous", "threads", "client", pytest.param("processes", marks=pytest.mark.slow)]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("fitter", [None, Moody()], ids=["batch", "astropy"])
@pytest.mark.parametrize("lazy", [False, True])
def test_every_scheduler_writes_the_same(
    scheduler: str, fitter: Any, lazy: bool, tmp_path: Path, client: Client
) -> None:
    data = moods(MARKS)
    data[0, 0, 1:] = np.nan
    chosen = client if scheduler == "client" else scheduler

    def local(*six: Any) -> None:
        save(*six)

    options = {"fitter": fitter, "errors": "ignore", "diagnostics": "all", "diagnostics_callable": local}
    expected = fit(data, Linear1D(), "t", diagnostics_path=tmp_path / "whole", **options)
    options |= {"diagnostics_path": tmp_path / "parts"}
    if lazy:
        result = fit(data.chunk(y=2, x=1, t=3), Linear1D(), "t", **options)
        got = client.compute(result).result() if chosen is client else result.compute(scheduler=chosen)
    else:
        got = fit(data, Linear1D(), "t", scheduler=chosen, fits_per_chunk=2, **options)
    assert_same_bits(got, expected)
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")
    assert sorted(tree(tmp_path / "parts")) == sorted(f"y={y}_x={x}" for y in range(3) for x in range(4))


def noisy(path: Path, world: Any, data: Any, weights: Any, model: Any, fitter_kwargs: Any) -> None:
    """Warns of its own, which must not be taken for a warning of another fit."""
    warnings.warn("from the callable", UserWarning, stacklevel=1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_4000_fits_of_which_one_in_ten_warns(scheduler: str, tmp_path: Path) -> None:
    marks = np.zeros(4000)
    marks[3::10] = WARNS
    data = moods(marks.reshape(40, 100))
    filters = list(warnings.filters)
    got = fit(data, Linear1D(), "t", fitter=Moody(), scheduler=scheduler, fits_per_chunk=100,
              diagnostics="error+warn", diagnostics_path=tmp_path, diagnostics_callable=noisy)  # fmt: skip
    assert (got["fit_status"] == FitStatus.CONVERGED).all()
    expected = {f"y={i // 100}_x={i % 100}": ["callable.log", "warn.log"] for i in range(3, 4000, 10)}
    assert len(expected) == 400
    assert tree(tmp_path) == expected
    for folder in tmp_path.iterdir():
        assert len((folder / "warn.log").read_text().splitlines()) == 1
        assert len((folder / "callable.log").read_text().splitlines()) == 1
    assert warnings.filters == filters


@pytest.mark.slow
def test_4000_fits_are_those_of_astropy_too(tmp_path: Path) -> None:
    marks = np.zeros(4000)
    marks[3::10] = WARNS
    data = moods(marks.reshape(40, 100))
    parallel_fit_dask(model=Linear1D(), fitter=Moody(), data=data.values, fitting_axes=2, world=(T,),
                      scheduler="processes", diagnostics="error+warn", diagnostics_path=tmp_path / "there")  # fmt: skip
    fit(data, Linear1D(), "t", fitter=Moody(), diagnostics="error+warn", diagnostics_path=tmp_path / "here")
    assert tree(tmp_path / "here") == tree(tmp_path / "there", named("y", "x"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # older matplotlib, of newer libraries
@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter()], ids=["batch", "astropy"])
def test_a_plot_of_each_fit_of_the_cube(scheduler: str, fitter: Any, cube: xr.DataArray, tmp_path: Path) -> None:
    """The documentation's callable runs here as it does there, unchanged."""
    pytest.importorskip("matplotlib")
    part = cube.isel(y=slice(40, 46), x=slice(40, 46))
    model = Gaussian1D(1, 4000, 500)
    common = {"diagnostics": "all", "diagnostics_callable": plot}
    corner = part.isel(y=slice(2), x=slice(2))
    parallel_fit_dask(
        model=model, fitter=TRFLSQFitter(), data=corner.values.astype(float), fitting_axes=0, scheduler="synchronous",
        world=(part["velocity"].values,), diagnostics_path=tmp_path / "there", **common,
    )  # fmt: skip
    got = fit(
        part, model, "velocity", fitter=fitter, errors="ignore", scheduler=scheduler, fits_per_chunk=9,
        diagnostics_path=tmp_path / "here", **common,
    )  # fmt: skip
    expected = {
        f"y={y}_x={x}": ["fit.png"] if got["fit_status"][y, x] > 0 else ["error.log", "fit.png"]
        for y in range(6)
        for x in range(6)
    }
    here = {name: [f for f in files if f != "warn.log"] for name, files in tree(tmp_path / "here").items()}
    assert here == expected
    for name, files in tree(tmp_path / "there", named("y", "x")).items():
        assert "fit.png" in files
        assert name in here
    sizes = [(tmp_path / "here" / name / "fit.png").stat().st_size for name in here]
    assert min(sizes) > 1000


# --- wrong calls


def unreadable() -> None:
    raise AssertionError("a sample was read")


WRONG = {
    "unknown word": ({"diagnostics": "errors"}, ValueError, r"'errors'.*'error', 'error\+warn', 'all'.*Did you mean"),
    "no word": ({"diagnostics": True}, ValueError, r"True.*'error', 'error\+warn', 'all'"),
    "no path": ({"diagnostics": "all"}, ValueError, r"diagnostics_path is missing.*diagnostics_path='fits'"),
    "path alone": ({"diagnostics_path": "x"}, ValueError, r"path is 'x'.*diagnostics is None.*'error\+warn'"),
    "callable alone": ({"diagnostics_callable": save}, ValueError, r"diagnostics_callable.*diagnostics is None"),
    "path of no kind": ({"diagnostics": "all", "diagnostics_path": 3}, TypeError, r"an int.*a folder"),
    "bytes": ({"diagnostics": "all", "diagnostics_path": b"x"}, TypeError, r"a bytes.*a folder"),
    "empty path": ({"diagnostics": "all", "diagnostics_path": ""}, ValueError, r"''.*a folder"),
    "remote": ({"diagnostics": "all", "diagnostics_path": "s3://bucket/x"}, ValueError, r"s3.*this machine"),
    "a file": ({"diagnostics": "all", "diagnostics_path": "FILE"}, ValueError, r"is a file.*Name a folder"),
    "in a file": ({"diagnostics": "all", "diagnostics_path": "FILE/x"}, ValueError, r"taken' is a file"),
    "no callable": ({"diagnostics": "all", "diagnostics_path": "P", "diagnostics_callable": "f"}, TypeError, "a str"),
    "few arguments": (
        {"diagnostics": "all", "diagnostics_path": "P", "diagnostics_callable": lambda path, model: None},
        TypeError,
        r"takes \(path, model\).*six arguments",
    ),
    "other fault": ({"diagnostics": "all", "diagnostics_path": "P", "p0": {"slop": 1}}, ValueError, "slop"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("dataset", [False, True])
def test_wrong_calls_raise_at_once(name: str, dataset: bool, tmp_path: Path) -> None:
    """Nothing is read and no folder is made."""
    options, error, message = WRONG[name]
    taken = tmp_path / "taken"
    taken.touch()
    if str(options.get("diagnostics_path", "")).startswith(("P", "FILE")):
        place = str(options["diagnostics_path"]).replace("FILE", str(taken)).replace("P", str(tmp_path / "new"), 1)
        options = options | {"diagnostics_path": taken if name == "a file" else place}
        if name == "in a file":
            options |= {"diagnostics_path": taken / "x"}
    data: Any = xr.DataArray(
        dask.array.from_delayed(dask.delayed(unreadable)(), (3, N), dtype=float), dims=("y", "t"), name="flux"
    )
    data = data.to_dataset() if dataset else data
    with pytest.raises(error, match=message):
        data.modelfit(Linear1D(), "t", **options)
    assert os.listdir(tmp_path) == ["taken"]


def test_a_callable_without_a_signature_is_taken(tmp_path: Path) -> None:
    class Opaque:
        __signature__ = "none"

        def __call__(self, *six: Any) -> None:
            (six[0] / "called").touch()

    fit(moods([[GOOD]]), Linear1D(), "t", diagnostics="all", diagnostics_path=tmp_path, diagnostics_callable=Opaque())
    assert tree(tmp_path) == {"y=0_x=0": ["called"]}
