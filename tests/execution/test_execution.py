"""Where and when the work is done: lazily, in blocks, on any scheduler, with the same bits and no side effects."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array
import dask.callbacks
import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Voigt1D
from astropy.utils.exceptions import AstropyUserWarning
from dask.core import flatten

from support.bits import assert_same_bits
from xr_modelfit import BatchLSQFitter, FitError, FitStatus, fit


class ReadError(Exception):
    """Something was computed where nothing should be."""


def raising_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """A scheduler that does not compute."""
    raise ReadError(f"computed {len(list(flatten([keys])))} chunks")


class Counting(LinearLSQFitter):
    """A fitter that counts the fits of each of its copies; every block works on one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fits = 0
        self.copies: list[Counting] = []

    def __deepcopy__(self, memo: Any) -> Counting:
        copied = type(self)()
        self.copies.append(copied)
        return copied

    def __call__(self, *args: Any, **kwargs: Any) -> Model:
        self.fits += 1
        return super().__call__(*args, **kwargs)

    def fits_of_blocks(self) -> list[int]:
        """Since the last call of this; one copy is tried when a call is checked."""
        counted = [copied.fits for copied in self.copies]
        self.copies.clear()
        return counted


X = np.linspace(0.0, 6.0, 16)


def lines(ny: int = 4, nx: int = 6) -> xr.DataArray:
    """Noisy lines with dims (y, x, v), all easy; one position is masked."""
    centre = np.linspace(2.0, 4.0, ny * nx).reshape(ny, nx, 1)
    noise = np.random.default_rng(5).normal(0, 0.05, (ny, nx, X.size))
    values = 3 * np.exp(-0.5 * (X - centre) ** 2) + noise
    values[-1, -1] = np.nan
    y, x = 10 * np.arange(ny), np.array(list("abcdefghijklmnop"))[:nx]
    return xr.DataArray(values, dims=("y", "x", "v"), coords={"y": y, "x": x, "v": X}, name="flux")


def gaussian() -> Model:
    return Gaussian1D(2.5, 3.0, 1.2)


# --- nothing is read

CHUNKS = [
    {"y": 2, "x": 2, "v": 5},
    {"y": 1, "x": 6, "v": 16},
    {"y": (1, 3), "x": (2, 1, 3), "v": (1, 15)},
    {"y": 4, "x": 6, "v": 1},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_a_call_on_dask_input_computes_nothing(chunks: dict[str, Any]) -> None:
    """Neither building the result, nor what is asked of it, until it is computed."""
    data = lines().chunk(chunks)
    with dask.config.set(scheduler=raising_get):
        result = fit(data, gaussian(), "v", covariance=True)
        for lazy in (result.modelfit.ok, result.modelfit.params, result.modelfit.evaluate(data)):
            assert lazy.chunks
        assert result.modelfit.evaluate(v=[1.0, 2.0]).chunks
        assert result.isel(y=0).modelfit.evaluate(data.isel(y=0)).chunks
        with pytest.raises(ReadError):
            result.compute()
        with pytest.raises(ReadError):
            result.modelfit.report()
    assert (result["fit_status"] > 0).sum() == 23


def test_nothing_that_goes_with_the_data_is_read(tmp_path: Path) -> None:
    """Lazy masks, errors, coordinates, starts, bounds and other coordinates of the data stay lazy too."""
    data = lines().chunk(y=2, x=3, v=4)
    unread = xr.ones_like(data)
    data = data.assign_coords(lat=unread.isel(v=0, drop=True), lon=unread.isel(v=0, drop=True).compute())
    with dask.config.set(scheduler=raising_get):
        result = fit(
            data,
            gaussian(),
            "v",
            coords=(unread * data["v"]).rename("place"),
            where=unread > 0,
            sigma=unread / 20,
            p0={"mean": 3.0 * unread.isel(v=0, drop=True)},
            bounds={"mean": (0.0 * unread.isel(v=0, drop=True), 6.0)},
            errors="raise",
        )
        assert result["lat"].chunks == ((2, 2), (3, 3))
        model = result.modelfit.evaluate(place=unread * data["v"])
        assert model.chunks
        assert result["lon"].chunks is None
    assert_same_bits(
        result.drop_vars(["lat", "lon"]).compute(),
        fit(lines(), gaussian(), "v", sigma=0.05, bounds={"mean": (0.0, 6.0)}, p0={"mean": 3.0}),
    )
    assert model.notnull().sum() == 23 * 16


def test_a_dataset_of_lazy_variables_is_not_read() -> None:
    """All variables are fitted, and merged without comparing anything."""
    ds = xr.Dataset({"a": lines(), "b": lines() + 1}).chunk(y=2)
    ds = ds.assign_coords(lat=xr.ones_like(ds["a"].isel(v=0, drop=True)))
    with dask.config.set(scheduler=raising_get):
        result = fit(ds, gaussian() + Const1D(0.5), "v")
        assert result["a_fit_status"].chunks == result["b_fit_status"].chunks == ((2, 2), (6,))
        assert result["lat"].chunks
        assert set(result.modelfit.ok) == {"a_ok", "b_ok"}
    assert (result["b_fit_status"] > 0).sum() == 23


def test_computed_data_with_lazy_companions_gives_a_lazy_result() -> None:
    """Any input that is dask-backed makes the result lazy."""
    data, mask = lines(), lines().notnull()
    maps = xr.full_like(data.isel(v=0, drop=True), 3.0)
    expected = fit(
        data, gaussian(), "v", sigma=0.1, where=mask, p0={"mean": maps}, bounds={"mean": (maps - 3, maps + 3)}
    )
    for lazy in ("sigma", "where", "p0", "low", "high", "coords"):
        given = {
            "sigma": xr.full_like(data, 0.1).chunk(x=2),
            "where": mask.chunk(x=2),
            "p0": maps.chunk(x=2),
            "low": (maps - 3).chunk(x=2),
            "high": (maps + 3).chunk(x=2),
            "coords": data["v"].broadcast_like(data).drop_vars("v").rename("place").chunk(x=2),
        }
        here = {name: value if name == lazy else value.compute() for name, value in given.items()}
        with dask.config.set(scheduler=raising_get):
            result = fit(
                data,
                gaussian(),
                "v",
                sigma=here["sigma"],
                where=here["where"],
                p0={"mean": here["p0"]},
                bounds={"mean": (here["low"], here["high"])},
                coords=here["coords"],
            )
            assert result["fit_status"].chunks == ((4,), (2, 2, 2)), lazy
        assert_same_bits(result.compute(), expected)


# --- chunks and tasks


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_chunks_stay_along_remaining_dims(chunks: dict[str, Any]) -> None:
    """Those along fitted dims are merged; those of companions do not matter."""
    data = lines().chunk(chunks)
    sigma = xr.full_like(lines(), 0.05).chunk(y=3, x=4, v=7)
    result = fit(data, gaussian(), "v", sigma=sigma, covariance=True)
    for name, variable in result.data_vars.items():
        assert variable.chunks[:2] == data.chunks[:2], name
        assert all(len(c) == 1 for c in variable.chunks[2:]), name
    model = result.modelfit.evaluate(data)
    assert model.chunks[:2] == data.chunks[:2]
    turned = fit(data.transpose("v", "x", "y"), gaussian(), "v")
    assert turned["mean"].chunks == (data.chunks[1], data.chunks[0])


def test_the_number_of_tasks_grows_with_the_number_of_blocks() -> None:
    """Not with its square; a few for each block and variable."""
    data = lines(ny=64)
    n_tasks, n_variables = {}, 0
    for blocks in (8, 16, 32):
        result = fit(data.chunk(y=64 // blocks, v=5), gaussian(), "v", sigma=xr.full_like(data, 0.1).chunk(y=5))
        n_tasks[blocks], n_variables = len(result.__dask_graph__()), len(result.data_vars)
    per_block = (n_tasks[32] - n_tasks[16]) / 16
    assert abs((n_tasks[16] - n_tasks[8]) / 8 - per_block) <= 0.1 * per_block
    assert per_block <= 2 * n_variables + 20


def test_the_graph_grows_with_blocks_and_not_with_what_is_in_them() -> None:
    """Model, coordinates and maps in memory are in it once."""

    def size(blocks: int, samples: int = 16, width: int = 1, start: bool = False) -> int:
        array = dask.array.zeros((blocks, width, samples), chunks=(1, width, samples))
        data = xr.DataArray(array, dims=("y", "x", "v"), coords={"v": np.arange(float(samples))})
        maps = {"mean_0": xr.DataArray(np.full((blocks, width), 3.0), dims=("y", "x"))} if start else None
        return len(cloudpickle.dumps(fit(data, gaussian() + Const1D(0.0), "v", p0=maps).__dask_graph__()))

    assert (size(96) - size(32)) / 64 < 1500
    assert (size(96, start=True) - size(32, start=True)) / 64 < 2000
    coordinate, maps = 8 * 10_000, 8 * 32 * 1000
    assert size(32, samples=10_000) - size(32) < 2 * coordinate
    assert size(32, width=1000, start=True) - size(32, start=True) < 2 * maps


def test_the_fit_of_a_block_runs_once() -> None:
    """However many variables are taken from it, where they are computed in one go."""
    fitter = Counting()
    result = fit(lines().chunk(y=2), Linear1D(), "v", fitter=fitter, covariance=True)
    assert fitter.fits_of_blocks() == [1]
    result.compute(scheduler="synchronous")
    assert sorted(fitter.fits_of_blocks()) == [11, 12]


@pytest.mark.parametrize("per_block", [1, 3, 5, 100])
def test_fits_per_chunk_is_a_limit(per_block: int) -> None:
    """Of lazy and of computed input; chunks are split, and never merged."""
    fitter = Counting()
    expected = fit(lines(), Linear1D(), "v", fitter=fitter, scheduler="synchronous")
    assert sorted(fitter.fits_of_blocks()) == [1, 23]
    lazy = fit(lines().chunk(y=2), Linear1D(), "v", fitter=fitter, fits_per_chunk=per_block)
    y, x = lazy["slope"].chunks
    assert max(y) * max(x) <= per_block
    assert set(np.cumsum(y)) >= {2, 4}
    assert sum(x) == 6
    fitter.fits_of_blocks()
    assert_same_bits(lazy.compute(scheduler="synchronous"), expected)
    counted = fitter.fits_of_blocks()
    assert max(counted) <= per_block
    assert sum(counted) == 23
    computed = fit(lines(), Linear1D(), "v", fitter=fitter, fits_per_chunk=per_block, scheduler="threads")
    assert_same_bits(computed, expected)
    counted = fitter.fits_of_blocks()
    assert max(counted) <= per_block
    assert sum(counted) == 24


def test_big_computed_input_is_cut_into_blocks() -> None:
    """So that every core has something to do."""
    fitter = Counting()
    data = xr.DataArray(np.arange(5500.0).reshape(1100, 5) % 7, dims=("y", "v"))
    result = fit(data, Linear1D(), "v", fitter=fitter, scheduler="threads")
    counted = fitter.fits_of_blocks()
    assert len(counted) > 3
    assert max(counted) <= 500
    assert (result["fit_status"] == FitStatus.CONVERGED).all()


def peak_beyond_result(data: xr.DataArray, **options: Any) -> int:
    """Bytes at the highest, less those of the result."""
    tracemalloc.start()
    try:
        result = fit(data, Linear1D(), "v", fits_per_chunk=10_000, errors="ignore", **options)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("options", [{}, {"covariance": True}], ids=["plain", "covariance"])
def test_memory_beyond_the_result_does_not_grow_with_the_input(scheduler: str, options: dict[str, Any]) -> None:
    """Each block goes to its place; there is no second copy of all results, which would be 20 MB more here."""
    few, many = (xr.DataArray(np.random.default_rng(1).normal(size=(n, 5)), dims=("k", "v")) for n in (50_000, 250_000))
    peak_beyond_result(few, scheduler=scheduler)  # what is imported or kept at the first call
    peaks = [peak_beyond_result(data, scheduler=scheduler, **options) for data in (few, many)]
    assert peaks[1] < peaks[0] + 5e6  # blocks of the threads may meet in another way


@pytest.mark.parametrize("n", [3, 250_000])
def test_variables_of_a_result_are_arrays_of_their_own(n: int) -> None:
    """One that is kept does not keep the others in memory, and can be written to."""
    data = xr.DataArray(np.random.default_rng(1).normal(size=(n, 5)), dims=("k", "v"))
    result = fit(data, Linear1D(), "v", covariance=True, errors="ignore")
    arrays = {name: v.values for name, v in result.data_vars.items()}
    for name, values in arrays.items():
        owner = values if values.base is None else values.base
        assert owner.nbytes == values.nbytes, name
        assert values.flags.writeable, name
        assert values.flags.c_contiguous, name
        assert not any(np.shares_memory(values, other) for key, other in arrays.items() if key != name)


# --- schedulers


def everything(data: xr.DataArray, **options: Any) -> xr.Dataset:
    """A fit with all that travels to a task."""
    return fit(
        data,
        Gaussian1D(2.5, 3.0, 1.2, bounds={"stddev": (0.2, 3.0)}),
        "v",
        sigma=xr.full_like(data, 0.05),
        where=data["v"] < 5.8,
        p0={"mean": xr.full_like(data.isel(v=0, drop=True), 2.9)},
        fitter=TRFLSQFitter(),
        fit_info=["nfev"],
        covariance=True,
        **options,
    )


@pytest.mark.parametrize(
    ("model", "n_fits", "threads"),
    [
        (Voigt1D(0, 1, 1, 1), 2400, False),
        (Voigt1D(0, 1, 1, 1), 2600, True),
        (Gaussian1D(1, 0, 1), 2600, False),
        (Linear1D(), 2600, False),
    ],
    ids=["few", "many", "Gaussian", "linear"],
)
def test_functions_that_take_long_get_threads_sooner(model: Model, n_fits: int, threads: bool) -> None:
    """From 200 000 samples on, of models that only their own code can compute; others wait for the interpreter."""
    x = np.linspace(-4, 4, 80)
    data = xr.DataArray(np.broadcast_to(model(x), (n_fits, 80)), dims=("k", "x"), coords={"x": x})
    started: list[str] = []

    def begun(dsk: Any) -> None:
        started.append("threads")

    with dask.callbacks.Callback(start=begun), dask.config.set(scheduler=None):
        result = fit(data, model, "x", fitter=BatchLSQFitter(engine="numpy"))
    assert bool(started) == threads
    np.testing.assert_allclose(result[model.param_names[1]], model.parameters[1], atol=1e-9)  # it starts there


@pytest.fixture(scope="module")
def expected_bits() -> xr.Dataset:
    """What the synchronous scheduler gives for computed input."""
    result = everything(lines(), scheduler="synchronous")
    assert (result["fit_status"] > 0).sum() == 23
    return result


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A distributed cluster with processes of its own."""
    distributed = pytest.importorskip("distributed")
    # None would take the port 8787 all the same, and warn where another cluster has it.
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_lazy_and_computed_are_the_same_on_every_scheduler(scheduler: str, expected_bits: xr.Dataset) -> None:
    """To the last bit."""
    lazy = everything(lines().chunk(y=2, x=(1, 5), v=7))
    assert_same_bits(lazy.compute(scheduler=scheduler), expected_bits)
    assert_same_bits(everything(lines(), scheduler=scheduler, fits_per_chunk=10), expected_bits)


@pytest.mark.slow
def test_distributed_gives_the_same_bits(cluster: Any, expected_bits: xr.Dataset) -> None:
    """Lazy input, computed input, a client that is passed and one that is active."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        assert_same_bits(everything(lines(), scheduler=client, fits_per_chunk=8), expected_bits)
    with Client(cluster) as client:
        lazy = everything(lines().chunk(y=2, x=(1, 5), v=7))
        assert_same_bits(lazy.compute(), expected_bits)
        for scheduler in (None, "distributed", "default", client):
            assert_same_bits(everything(lines(), scheduler=scheduler), expected_bits)
        persisted = everything(lines().chunk(y=2).persist())
        assert_same_bits(persisted.compute(), expected_bits)


def test_an_active_client_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed input goes to the cluster if there is one, even where it is small."""
    pytest.importorskip("distributed")
    from distributed import Client, LocalCluster

    calls = []
    original = Client.get

    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Client, "get", get)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster):
        everything(lines())
        assert calls
        calls.clear()
        everything(lines(), scheduler="synchronous")
        assert not calls


@pytest.mark.slow
def test_results_of_different_data_never_mix(cluster: Any) -> None:
    """Under distributed, equal keys would give one result for both; also for data that changed in place."""
    from distributed import Client

    with Client(cluster):
        first, second = (fit(lines().chunk(y=2) * factor, gaussian(), "v") for factor in (1.0, 2.0))
        kept = first.persist()
        other = second.compute()
        model = gaussian()
        at_start = fit(lines().chunk(y=2), model, "v", bounds={"mean": (2.9, 3.1)}).persist()
        model.mean.fixed = True
        fixed = fit(lines().chunk(y=2), model, "v", bounds={"amplitude": (None, None)}).compute()
        assert (at_start["mean"].compute() - 3).max() > 0.05
        xr.testing.assert_allclose(other["amplitude"], kept["amplitude"].compute() * 2, rtol=1e-5)
        assert (fixed["mean"].fillna(3.0) == 3.0).all()


@pytest.mark.slow
def test_a_lambda_with_a_lambda_tie_works_on_processes() -> None:
    """Neither can be pickled by name; functions and what they enclose travel with the task."""
    power = 2.0
    model = custom_model(
        lambda x, height=2.0, centre=3.0, width=1.0: height * np.exp(-0.5 * abs((x - centre) / width) ** power)
    )()
    model.width.tied = lambda m: m.height / (power + 1.0)
    data = lines().isel(y=[0, 3])
    expected = fit(data, model, "v", scheduler="synchronous")
    assert (expected["fit_status"] > 0).sum() == 11
    ok = expected["fit_status"] > 0
    xr.testing.assert_allclose(expected["width"].where(ok), (expected["height"] / 3).where(ok).rename("width"))
    assert_same_bits(fit(data, model, "v", scheduler="processes", fits_per_chunk=6), expected)
    assert_same_bits(fit(data.chunk(y=1), model, "v").compute(scheduler="processes"), expected)


def test_a_scheduler_for_lazy_input_is_refused() -> None:
    """It would have no effect; the message says where to say it."""
    with pytest.raises(ValueError, match=r"scheduler is 'threads'.*lazy.*compute\(scheduler="):
        fit(lines().chunk(), gaussian(), "v", scheduler="threads")
    with pytest.raises(ValueError, match=r"compute\(scheduler="):
        fit(lines(), gaussian(), "v", sigma=xr.ones_like(lines()).chunk(), scheduler="synchronous")


@pytest.mark.parametrize("scheduler", ["thread", "cluster", "", 3, object(), True])
def test_an_unknown_scheduler_is_refused(scheduler: Any) -> None:
    """At once, with the names that are known."""
    with pytest.raises(ValueError, match="scheduler is"):
        fit(lines(), gaussian(), "v", scheduler=scheduler)


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["sync", "single-threaded", "threading", "multiprocessing"])
def test_other_names_of_schedulers(alias: str) -> None:
    """Those that dask has."""
    data = lines().isel(y=[0], x=[0, 1])
    assert_same_bits(fit(data, gaussian(), "v", scheduler=alias), fit(data, gaussian(), "v"))


# --- errors="raise"


def with_a_bad_position() -> xr.DataArray:
    """Two samples are too few for three parameters at y=10, x='c'."""
    data = lines()
    data[1, 2, 2:] = np.nan
    return data


def test_computed_input_raises_by_labels() -> None:
    """The first failure is named by its labels; masked positions are none."""
    with pytest.raises(FitError, match=r"y=10, x=c has status too_few_points: .*fewer valid samples"):
        fit(with_a_bad_position(), gaussian(), "v", errors="raise")
    assert (fit(lines(), gaussian(), "v", errors="raise")["fit_status"] > 0).sum() == 23
    without = with_a_bad_position().drop_vars(["x", "y"])
    with pytest.raises(FitError, match=r"y=1, x=2 has status too_few_points"):
        fit(without, gaussian(), "v", errors="raise")
    with pytest.raises(FitError, match=r"y=10, x=c"):
        fit(with_a_bad_position(), gaussian(), "v", errors="raise", scheduler="threads", fits_per_chunk=4)


IRREGULAR = {"y": (1, 3), "x": (2, 1, 3), "v": 5}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "chunks"),
    [
        ("synchronous", {"y": 2, "x": 2}),
        ("synchronous", {"y": -1}),
        ("synchronous", IRREGULAR),
        ("threads", IRREGULAR),
        ("processes", IRREGULAR),
    ],
    ids=str,
)
def test_lazy_input_raises_by_position(scheduler: str, chunks: dict[str, Any]) -> None:
    """The position in the whole array, not in the block; nothing is raised before."""
    result = fit(with_a_bad_position().chunk(chunks), gaussian(), "v", errors="raise")
    with pytest.raises(FitError, match=r"position y=1, x=2 has status too_few_points: .*fewer valid samples"):
        result.compute(scheduler=scheduler)
    turned = fit(with_a_bad_position().transpose("x", "v", "y").chunk(x=4), gaussian(), "v", errors="raise")
    with pytest.raises(FitError, match=r"position x=2, y=1 has"):
        turned.compute(scheduler="synchronous")


def test_lazy_input_without_failure_does_not_raise() -> None:
    """Masked positions are no failures, and the bits are those of a call that does not raise."""
    lazy = fit(lines().chunk(y=1), gaussian(), "v", errors="raise")
    assert_same_bits(lazy.compute(), fit(lines(), gaussian(), "v"))


def test_lazy_input_does_not_warn_of_failures() -> None:
    """They are in the status: nothing has been computed when the call returns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fit(with_a_bad_position().chunk(y=1), gaussian(), "v").compute()
    assert not caught
    assert result["fit_status"][1, 2] == FitStatus.TOO_FEW_POINTS


# --- processes and scripts


def run_script(path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code as a script of a user, in a file of its own."""
    path.write_text(textwrap.dedent(code))
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=180, check=False)


SCRIPT = """
    import sys
    import numpy as np
    import xarray as xr
    import xr_modelfit
    from astropy.modeling.fitting import LinearLSQFitter
    from astropy.modeling.models import Linear1D

    def main():
        data = xr.DataArray(np.ones((N, 4)), dims=("y", "t"))
        result = data.modelfit(Linear1D(), "t", fitter=LinearLSQFitter()OPTIONS)
        print("status", int((result["fit_status"] == 1).sum()))

    GUARD
"""


def script(n: int, options: str, guard: str) -> str:
    return SCRIPT.replace("N, 4", f"{n}, 4").replace("OPTIONS", options).replace("GUARD", guard)


@pytest.mark.slow
def test_a_script_with_guard_works(tmp_path: Path) -> None:
    """By default on processes, where there is enough to do."""
    done = run_script(tmp_path / "script.py", script(1001, "", 'if __name__ == "__main__":\n        main()'))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "status 1001\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_a_small_script_needs_no_guard(tmp_path: Path) -> None:
    """A few fits are not worth a process."""
    done = run_script(tmp_path / "script.py", script(20, "", "main()"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "status 20\n"


@pytest.mark.slow
def test_importing_takes_no_extra() -> None:
    """The package works without its extras, and does not pay for them before they are used."""
    code = """
        import sys
        import astropy.modeling.fitting, dask.array, xarray
        before = set(sys.modules)  # an older dask imports distributed by itself
        import xr_modelfit
        heavy = {"numba", "matplotlib", "distributed", "zarr", "netCDF4", "h5netcdf", "tqdm"}
        print(sorted(heavy & {name.partition(".")[0] for name in set(sys.modules) - before}))
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_fitting_takes_no_extra() -> None:
    """Nor does a small fit on threads, or its evaluation."""
    code = """
        import sys
        import numpy as np, xarray as xr, xr_modelfit
        from astropy.modeling.models import Linear1D
        data = xr.DataArray(np.arange(12.0).reshape(2, 6) ** 2, dims=("y", "t"))
        result = data.modelfit(Linear1D(), "t", scheduler="threads", fits_per_chunk=1)
        assert result.modelfit.evaluate(data).shape == (2, 6)
        assert data.chunk(y=1).modelfit(Linear1D(), "t").compute()["slope"].shape == (2,)
        print(sorted({"numba", "matplotlib", "zarr", "netCDF4"} & {name.partition(".")[0] for name in sys.modules}))
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


# --- global state


class Complaining(LinearLSQFitter):
    """Says of large data that the fit may be unsuccessful, as astropy's fitters do: by a warning alone."""

    def __call__(self, model: Model, x: Any, y: Any, **kwargs: Any) -> Model:
        if y[0] > 50:
            warnings.warn("The fit may be unsuccessful; large data.", AstropyUserWarning, stacklevel=2)
        elif y[0] > 30:
            warnings.warn(
                "The fit may be unsuccessful; Maximum number of iterations reached.", AstropyUserWarning, stacklevel=2
            )
        return super().__call__(model, x, y, **kwargs)


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads change places often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
def test_warnings_of_fits_on_threads_are_exact(busy_threads: None) -> None:
    """One fit in ten warns: its status says so, no other's does, and the filters of the process stay as they are."""
    rng = np.random.default_rng(9)
    kind = rng.permutation(np.repeat([0.0, 60.0, 40.0], [1800, 100, 100]))
    data = xr.DataArray(kind[:, None] + rng.normal(0, 0.1, (2000, 5)), dims=("y", "t"))
    expected = np.select([kind == 60, kind == 40], [FitStatus.FITTER_WARNING, FitStatus.MAX_ITERATIONS], 1)
    filters, show, state = list(warnings.filters), warnings.showwarning, np.geterr()
    with dask.config.set(pool=None, num_workers=4):
        computed = fit(
            data, Linear1D(), "t", fitter=Complaining(), scheduler="threads", fits_per_chunk=25, errors="ignore"
        )
        lazy = fit(data.chunk(y=40), Linear1D(), "t", fitter=Complaining())
        once = lazy.compute(scheduler="threads")
    assert warnings.filters == filters
    assert warnings.showwarning is show
    assert np.geterr() == state
    np.testing.assert_array_equal(computed["fit_status"], expected)
    np.testing.assert_array_equal(once["fit_status"], expected)


def test_real_fitters_on_threads_are_exact(busy_threads: None) -> None:
    """Fits that reach the limit of iterations, beside others that do not."""
    data = lines(ny=8, nx=8).isel(y=slice(7))
    start = xr.full_like(data.isel(v=0, drop=True), 3.0)
    start[::3, ::3] = 300.0
    options: dict[str, Any] = {
        "p0": {"mean": start},
        "fitter": TRFLSQFitter(),
        "fitter_kwargs": {"maxiter": 15},
        "errors": "ignore",
    }
    filters = list(warnings.filters)
    expected = fit(data, gaussian(), "v", scheduler="synchronous", **options)
    got = fit(data, gaussian(), "v", scheduler="threads", fits_per_chunk=3, **options)
    assert warnings.filters == filters
    assert 0 < (expected["fit_status"] <= 0).sum() < 20
    assert_same_bits(got, expected)


def test_calls_from_several_threads_do_not_disturb_each_other(busy_threads: None) -> None:
    """A user may call from threads of their own."""
    data = lines(2, 4)
    expected = [fit(data * k, gaussian(), "v", scheduler="synchronous") for k in (1, 2, 3, 4)]
    got: list[Any] = [None] * 4
    filters = list(warnings.filters)

    def work(k: int) -> None:
        got[k] = fit(data * (k + 1), gaussian(), "v", scheduler="synchronous")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


def test_fits_print_nothing_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also those that fail."""
    monkeypatch.chdir(tmp_path)
    fit(with_a_bad_position(), gaussian(), "v", errors="ignore", fitter=TRFLSQFitter(), fitter_kwargs={"maxiter": 3})
    fit(with_a_bad_position().chunk(y=1), gaussian(), "v").compute()
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []
