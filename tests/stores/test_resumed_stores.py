"""Stores that are gone on with: what is there was made from the same data by the same model, or the store says no."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Parameter, custom_model, models
from astropy.modeling.fitting import FittingWithOutlierRemoval, TRFLSQFitter
from astropy.stats import sigma_clip
from distributed import Client
from numpy.testing import assert_array_equal

import xr_modelfit  # noqa: F401  registers .modelfit
from xr_modelfit import StoreError
from xr_modelfit.execution import execution
from xr_modelfit.stores import stores
from xr_modelfit.stores import writer as store_writer
from xr_modelfit.stores.tile_digests import combined, digest

pytestmark = pytest.mark.quick_share(3)

pytest.importorskip("zarr", reason="the stores are zarr's")

X = np.linspace(-3.0, 3.0, 16)
LINE = models.Gaussian1D(2.0, 0.5, 0.8)
MEMORY = 12_000  # about a tenth of the samples


def cube() -> xr.DataArray:
    y = LINE(X) + np.random.default_rng(0).normal(0, 0.1, (12, 10, X.size))
    return xr.DataArray(y, dims=("lat", "lon", "x"), coords={"x": X}, name="flux")


def write(data: xr.DataArray, store: Path, model: Any = LINE, fit: Any = None, **options: Any) -> xr.Dataset:
    lazy = data.chunk(lat=3, lon=5).modelfit(model, dim="x", errors="ignore", **(fit or {}))
    return lazy.modelfit.to_zarr(store, memory=MEMORY, resume=True, **options)


def stopped(monkeypatch: pytest.MonkeyPatch, after: int, *arguments: Any, **options: Any) -> None:
    """A run that is interrupted after so many tiles."""
    written, original = [], stores._write_tile

    def counted(*rest: Any) -> int:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(None)
        return original(*rest)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_write_tile", counted)
        with pytest.raises(KeyboardInterrupt):
            write(*arguments, **options)


def same_as(store: Path, expected: xr.Dataset) -> None:
    back = xr.open_zarr(store, consolidated=False).load()
    for name in ("amplitude", "mean", "fit_status"):
        assert_array_equal(back[name], expected[name])


# --- data


@pytest.mark.slow
@pytest.mark.parametrize("done", [4, 12])
@pytest.mark.parametrize("scheduler", [None, "client"])
def test_a_sample_that_changed_anywhere_in_what_is_done_is_refused(
    done: int, scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the blocks that are read for the fingerprint: the first, the last and one in the middle."""
    store, data = tmp_path / "fit.zarr", cube()
    if done == 12:
        write(data, store)
    else:
        stopped(monkeypatch, done, data, store)
    changed = data.copy()
    changed[4, 2, 3] += 1e-12
    expected = data.modelfit(LINE, "x")
    with Client(processes=False, n_workers=1, dashboard_address=None, set_as_default=False) as client:
        chosen = client if scheduler == "client" else None
        with pytest.raises(StoreError, match=r"other data: of \d+ tiles that are done, 1 .*lat=\d+:\d+, lon"):
            write(changed, store, scheduler=chosen)
        write(data, store, scheduler=chosen)
    same_as(store, expected)


def test_a_sample_that_changed_in_what_is_left_is_fitted_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    stopped(monkeypatch, 3, data, store)
    changed = data.copy()
    changed[10, 1, 3] += 1.0
    write(changed, store)
    same_as(store, changed.modelfit(LINE, "x"))


def test_verify_false_takes_what_is_there_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    write(data, store)
    changed = data.copy()
    changed[4, 2] *= 2
    monkeypatch.setattr(stores, "loaded", None)  # nothing is read
    write(changed, store, verify=False)
    same_as(store, data.modelfit(LINE, "x"))
    with pytest.raises(TypeError, match=r"verify is 'no'; it must be True or False"):
        write(changed, store, verify="no")


def test_small_tiles_are_verified_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read a tile of a few kilobytes takes as long as to read many of them."""
    store, data = tmp_path / "fit.zarr", cube()
    done = write(data, store)
    tiles = int(np.prod(done["mean"].data.numblocks))
    shapes, original = [], stores.loaded

    def counted(variables: Any, scheduler: Any = None) -> Any:
        shapes.append(variables[0].shape)
        return original(variables, scheduler)

    monkeypatch.setattr(stores, "loaded", counted)
    write(data, store)
    assert tiles > 4
    assert len(shapes) < tiles
    assert sum(np.prod(shape) for shape in shapes) == data.size
    shapes.clear()
    monkeypatch.setattr(stores, "_TOGETHER", 1)
    write(data, store)
    assert len(shapes) == tiles


@pytest.mark.parametrize("name", ["sigma", "where", "p0"])
def test_maps_are_looked_at_too(name: str, tmp_path: Path) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    values: dict[str, Any] = {"sigma": 0.1 + 0 * data, "where": data < 1e9, "p0": 0.5 + 0 * data.isel(x=0, drop=True)}
    first = values[name].drop_attrs()
    second = first.copy()
    second[4, 2] = False if name == "where" else 0.4

    def options(array: xr.DataArray) -> dict[str, Any]:
        lazy = array.chunk(lat=3, lon=5)
        return {name: {"mean": lazy} if name == "p0" else lazy}

    write(data, store, fit=options(first))
    write(data, store, fit=options(first))
    with pytest.raises(StoreError, match="other data"):
        write(data, store, fit=options(second))


def test_other_chunks_of_the_same_data_are_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    stopped(monkeypatch, 3, data, store)
    other = data.chunk(lat=3, lon=5).chunk(x=4).modelfit(LINE, dim="x", errors="ignore")
    monkeypatch.setattr("xr_modelfit.stores.fingerprints._digest", lambda variable: "of three blocks")
    with pytest.raises(StoreError, match="'data' changed"):  # the three blocks are others
        other.modelfit.to_zarr(store, resume=True)
    assert stores._digest_of([data.chunk(x=4).variable], None) == stores._digest_of([data.variable], None)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "bool"])
@pytest.mark.parametrize("chunks", [(5, 7, 6), (12, 1, 16), (1, 10, 3)])
def test_the_digest_is_that_of_the_whole_whatever_the_blocks(dtype: str, chunks: Any) -> None:
    values = (10 * cube().variable).astype(dtype)
    (found,) = execution.sums_over_blocks([values.chunk(dict(zip(values.dims, chunks, strict=True)))], digest, None)
    assert found == int(digest(values.values))
    other = values.copy(deep=True)
    other[3, 4, 5], other[3, 4, 6] = not values[3, 4, 5], values[3, 4, 5]
    assert int(digest(other.values)) != found
    assert combined([found, 1]) != combined([1, found])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 1)])
def test_the_digest_of_little(shape: tuple[int, ...]) -> None:
    assert isinstance(int(digest(np.ones(shape))), int)
    assert combined([]) == 1


# --- models

GRID = np.zeros(300_001)


class Table:
    def __init__(self, level: float) -> None:
        self.level = level


TABLE = Table(1.0)


class WithArray(Fittable1DModel):
    a = Parameter(default=1.0)

    def __init__(self, table: np.ndarray, **options: Any) -> None:
        self._table = table
        super().__init__(**options)

    def evaluate(self, x: Any, a: Any) -> Any:
        return a + self._table[7]


def with_closure(value: Any) -> Any:
    def function(x: Any, a: float = 1.0) -> Any:
        return a + np.sum(value)

    return function


def reads_a_global(x: Any, a: float = 1.0) -> Any:
    return a + GRID[1]


def reads_an_object(x: Any, a: float = 1.0) -> Any:
    return a + TABLE.level


def with_default(value: float) -> Any:
    def function(x: Any, a: float = 1.0, *, option: Any = (value,)) -> Any:
        return a + option[0]

    return function


def tied(value: float) -> Any:
    model = models.Linear1D(1.0, 0.0)
    model.slope.tied = lambda m: value * m.intercept
    return model


def large(value: float) -> np.ndarray:
    """Of which every third number is told in a record."""
    array = np.zeros(300_001)
    array[1] = value
    return array


STATES: dict[str, Any] = {
    "an array of the instance": lambda value: WithArray(large(value)),
    "an array closed over": lambda value: with_closure(large(value)),
    "an object closed over": lambda value: with_closure(value),
    "a default": with_default,
    "a tie": tied,
    "a custom model": lambda value: custom_model(with_closure(large(value)))(),
}


@pytest.mark.parametrize("name", STATES)
def test_state_of_a_model_goes_by_value(name: str, tmp_path: Path) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    write(data, store, STATES[name](1.0))
    write(data, store, STATES[name](1.0))  # another object of the same value
    with pytest.raises(StoreError, match="'model' changed"):
        write(data, store, STATES[name](2.0))


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [(reads_a_global, "GRID", large(2.0)), (reads_an_object, "TABLE", Table(2.0))],
)
def test_globals_that_are_read_go_by_value(
    function: Any, name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    write(data, store, function)
    write(data, store, function)
    monkeypatch.setitem(globals(), name, value)
    with pytest.raises(StoreError, match="'model' changed"):
        write(data, store, function)


def test_what_cannot_be_compared_is_asked_for(tmp_path: Path) -> None:
    """An object without a pickle: the store cannot know, and says so."""
    store, data = tmp_path / "fit.zarr", cube()
    lock = threading.Lock()

    def function(x: Any, a: float = 1.0) -> Any:
        return a + 0 * lock.locked()

    write(data, store, function)
    with pytest.raises(StoreError, match=r"cannot be told: the model 'function' holds or reads .*verify=False"):
        write(data, store, function)
    write(data, store, function, verify=False)


def test_how_outliers_are_found_is_an_option(tmp_path: Path) -> None:
    store, data = tmp_path / "fit.zarr", cube().isel(lat=slice(2), lon=slice(2))

    def options(sigma: float) -> dict[str, Any]:
        return {"fitter": FittingWithOutlierRemoval(TRFLSQFitter(), sigma_clip, niter=2, sigma=sigma)}

    write(data, store, fit=options(3.0))
    write(data, store, fit=options(3.0))
    with pytest.raises(StoreError, match="'options' changed"):
        write(data, store, fit=options(4.0))


# --- who writes

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import test_resumed_stores as t
from xr_modelfit.stores import stores
original = stores._write_tile
def slow(*arguments):
    print("tile", flush=True)
    time.sleep(float(sys.argv[2]))
    return original(*arguments)
stores._write_tile = slow
t.write(t.cube(), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("resume", [True, False])
def test_a_store_that_another_process_writes_is_refused_until_it_has_ended(resume: bool, tmp_path: Path) -> None:
    """Killed, it has ended at once."""
    store, data = tmp_path / "fit.zarr", cube()
    code = SCRIPT.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code, str(store), "600"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "tile\n"
        lazy = data.chunk(lat=3, lon=5).modelfit(LINE, dim="x", errors="ignore")
        with pytest.raises((StoreError, FileExistsError)) as caught:
            lazy.modelfit.to_zarr(store, memory=MEMORY, resume=resume)
        assert not resume or f"being written by process {other.pid}" in str(caught.value)
        other.kill()
    write(data, store)
    same_as(store, data.modelfit(LINE, "x"))


def test_two_threads_do_not_write_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data = tmp_path / "fit.zarr", cube()
    began, go_on, original = threading.Event(), threading.Event(), stores._write_tile

    def slow(*arguments: Any) -> int:
        began.set()
        go_on.wait(60)
        return original(*arguments)

    monkeypatch.setattr(stores, "_write_tile", slow)
    thread = threading.Thread(target=write, args=(data, store))
    thread.start()
    assert began.wait(60)
    with pytest.raises(StoreError, match="being written"):
        write(data, store)
    go_on.set()
    thread.join()
    same_as(store, data.modelfit(LINE, "x"))


@pytest.mark.parametrize("alive", [True, False])
def test_of_a_process_elsewhere_the_sign_of_life_tells(
    alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stands still is that of a process that has ended."""
    store, data = tmp_path / "fit.zarr", cube()
    monkeypatch.setattr(store_writer, "_EVERY", 0.05)
    monkeypatch.setattr(store_writer, "_WAIT", 0.5)

    def elsewhere(*rest: Any) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(store_writer.socket, "gethostname", lambda: "another machine")
            if not alive:
                patch.setattr(store_writer, "_beat", lambda group: 7)
                write(data, store)
            else:
                with pytest.raises(StoreError, match="being written by process"):
                    write(data, store)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_write_tile", _first_only(elsewhere))
        with pytest.raises(KeyboardInterrupt):
            write(data, store)
    write(data, store)
    same_as(store, data.modelfit(LINE, "x"))


def _first_only(function: Any) -> Any:
    """``function`` for the first tile, and what was there for all others."""
    original, called = stores._write_tile, []

    def either(*arguments: Any) -> int:
        called.append(None)
        return function(*arguments) if len(called) == 1 else original(*arguments)

    return either


def test_a_run_whose_store_was_taken_over_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that began at the same moment: the one that sees another's name stops before its next tile."""
    store, data = tmp_path / "fit.zarr", cube()
    original = stores._write_tile

    def taken_over(*arguments: Any) -> int:
        import zarr

        zarr.open_group(store, mode="r+", use_consolidated=False)["_modelfit"]["writer"].attrs["token"] = "of another"
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_write_tile", taken_over)
        with pytest.raises(StoreError, match="taken over by another process"):
            write(data, store)
    time.sleep(0)
    write(data, store)
    same_as(store, data.modelfit(LINE, "x"))
