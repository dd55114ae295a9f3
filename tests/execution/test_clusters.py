"""Many fits at once, workers that die, fits that are stopped: no wrong map, and nothing is left changed."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import _thread
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Lorentz1D

from support.bits import assert_same_bits
from xr_modelfit import fit

distributed = pytest.importorskip("distributed", reason="its clusters are tried")

X = np.linspace(0.0, 6.0, 16)


def lines(seed: int = 0, shape: tuple[int, int] = (4, 6)) -> xr.DataArray:
    """Noisy lines with dims (y, x, v)."""
    rng = np.random.default_rng(seed)
    centre, height = rng.uniform(2.0, 4.0, (*shape, 1)), rng.uniform(1.0, 5.0, (*shape, 1))
    values = height * np.exp(-0.5 * (X - centre) ** 2) + rng.normal(0, 0.05, (*shape, X.size))
    return xr.DataArray(values, dims=("y", "x", "v"), coords={"v": X}, name="flux")


def gaussian() -> Model:
    return Gaussian1D(2.5, 3.0, 1.2)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Threads of this process."""
    options = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as running:
        yield running


@pytest.fixture
def two_processes() -> Iterator[Any]:
    """Two processes that may be killed, and are then replaced."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as running:
        yield running


# --- at the same time


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Results of calls that begin at the same moment, each on a thread of its own."""
    start = threading.Barrier(len(calls))

    def begun(call: Callable[[], Any]) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(begun, call) for call in calls]]


def pairs(rounds: int) -> Iterator[list[tuple[xr.DataArray, dict[str, Any]]]]:
    """Two fits at a time that differ in one thing: data, model, start, errors, fitter, in turn."""
    for i in range(rounds):
        data, plain = lines(2 * i), {"model": gaussian(), "dim": "v"}
        others: list[tuple[xr.DataArray, dict[str, Any]]] = [
            (lines(2 * i + 1), plain),
            (data, plain | {"model": Lorentz1D(2.5, 3.0, 1.2)}),
            (data, plain | {"model": Gaussian1D(2.5, 3.0, 0.7, fixed={"stddev": True})}),
            (data, plain | {"sigma": 0.1 + 0.01 * i}),
            (data, plain | {"fitter": TRFLSQFitter()}),
        ]
        yield [(data, plain), others[i % len(others)]]


def check_pairs(client: Any, rounds: int) -> None:
    def computed(data: xr.DataArray, options: dict[str, Any]) -> xr.Dataset:
        return fit(data, scheduler=client, fits_per_chunk=5, **options)

    def lazy(data: xr.DataArray, options: dict[str, Any]) -> xr.Dataset:
        return client.compute(fit(data.chunk(y=2, x=3), **options)).result()

    def on_threads(data: xr.DataArray, options: dict[str, Any]) -> xr.Dataset:
        return fit(data, scheduler="threads", fits_per_chunk=5, **options)

    def on_a_worker(data: xr.DataArray, options: dict[str, Any]) -> xr.Dataset:
        return client.submit(fit, data, scheduler="synchronous", pure=False, **options).result()

    for pair in pairs(rounds):
        expected = [fit(data, scheduler="synchronous", **options) for data, options in pair]
        assert not expected[0].equals(expected[1])
        for way in (computed, lazy, on_threads, on_a_worker):
            got = together(*(partial(way, data, options) for data, options in pair))
            for one, wanted in zip(got, expected, strict=True):
                assert_same_bits(one, wanted)
        futures = client.compute([fit(data.chunk(y=1), **options) for data, options in pair])
        for one, wanted in zip(client.gather(futures), expected, strict=True):
            assert_same_bits(one, wanted)


@pytest.mark.slow
def test_two_fits_at_the_same_time_never_mix(client: Any) -> None:
    check_pairs(client, 5)


@pytest.mark.slow
def test_two_fits_at_the_same_time_never_mix_a_hundred_times(client: Any) -> None:
    check_pairs(client, 100)


# --- a fit that is stopped


class Slow(LinearLSQFitter):
    """Calls ``then`` at its n-th fit; every copy counts together."""

    def __init__(self, n: int, then: Callable[[], None]) -> None:
        super().__init__()
        self.n, self.then = n, then
        self.state = {"fits": 0, "running": 0}
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: Any) -> Slow:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Model:
        with self.lock:
            self.state["fits"] += 1
            self.state["running"] += 1
            mine = self.state["fits"]
        try:
            if mine == self.n:
                self.then()
            time.sleep(0.1 if mine >= self.n else 1e-3)  # a loaded machine takes its time to tell the main thread
            warnings.warn("The fit may be slow", stacklevel=1)
            return super().__call__(*args, **kwargs)
        finally:
            with self.lock:
                self.state["running"] -= 1


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Interrupts are heard: a shell that starts a job in the background has it ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def global_state() -> tuple[Any, ...]:
    return list(warnings.filters), warnings.showwarning, warnings._showwarnmsg_impl, np.geterr()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "then"),
    [("synchronous", interrupt), ("threads", interrupt), ("threads", _thread.interrupt_main)],
    ids=["within a fit", "within a fit on a thread", "from the keyboard"],
)
@pytest.mark.usefixtures("keyboard")
def test_a_fit_that_is_interrupted_leaves_nothing_behind(scheduler: str, then: Callable[[], None]) -> None:
    """Filters of warnings, numpy's handling of floats, and the lock: the next fit is what it would have been."""
    data = lines(shape=(6, 10))
    expected = fit(data, Linear1D(), "v", fitter=LinearLSQFitter(), scheduler="synchronous")
    for n in (20, 21, 33):
        before = global_state()
        fitter = Slow(n, then)
        with pytest.raises(KeyboardInterrupt):
            fit(data, Linear1D(), "v", fitter=fitter, scheduler=scheduler, fits_per_chunk=10)
        end = time.monotonic() + 60
        idle = 0
        while idle < 20 and time.monotonic() < end:  # blocks that had begun come to their end
            idle = 0 if fitter.state["running"] else idle + 1
            time.sleep(2e-3)
        assert global_state() == before
        for again in ("synchronous", "threads"):
            got = fit(data, Linear1D(), "v", fitter=LinearLSQFitter(), scheduler=again, fits_per_chunk=10)
            assert_same_bits(got, expected)


def test_an_interrupted_batch_leaves_nothing_behind() -> None:
    """The batch fitter, stopped inside of the model."""

    class Line(Linear1D):
        calls = 0

        @staticmethod
        def evaluate(x: Any, slope: Any, intercept: Any) -> Any:
            Line.calls += 1
            if Line.calls == 40:
                raise KeyboardInterrupt
            return slope * x + intercept

        fit_deriv = None

    data, before = lines(), global_state()
    with pytest.raises(KeyboardInterrupt):
        fit(data, Line(), "v", scheduler="threads", fits_per_chunk=1)
    time.sleep(0.1)
    assert global_state() == before
    assert_same_bits(
        fit(data, gaussian(), "v", scheduler="threads", fits_per_chunk=5),
        fit(data, gaussian(), "v", scheduler="synchronous"),
    )


GO = threading.Event()  # here, where threads of a cluster find it: what a function encloses travels as a copy
TRIES: dict[int, int] = {}


def slowly(block: np.ndarray) -> np.ndarray:
    GO.wait(10)
    return block


def read(block: np.ndarray, block_info: Any = None) -> np.ndarray:
    """Block ``i`` cannot be read the first ``i % 3`` times."""
    i = block_info[0]["chunk-location"][0]
    TRIES[i] = TRIES.get(i, 0) + 1
    if TRIES[i] <= i % 3:
        raise OSError("the network is down")
    return block


def test_a_compute_that_is_cancelled_gives_no_wrong_map(client: Any) -> None:
    """Neither then nor when the same result is computed again."""
    data = lines(shape=(6, 10))
    GO.clear()
    lazy = data.copy(
        data=dask.array.from_array(data.values, chunks=(1, 10, 16)).map_blocks(slowly, dtype=float, meta=np.zeros(0))
    )
    result, expected = fit(lazy, gaussian(), "v"), fit(data, gaussian(), "v")
    future = client.compute(result)
    time.sleep(0.05)
    future.cancel()
    GO.set()
    with pytest.raises((CancelledError, distributed.CancelledError)):
        future.result()
    for _ in range(3):
        assert_same_bits(uncancelled(client, result), expected)


def uncancelled(client: Any, result: xr.Dataset) -> xr.Dataset:
    """The result of a new computation, once the scheduler's word of an earlier cancellation has come."""
    for _ in range(20):
        try:
            return client.compute(result).result()
        except (CancelledError, distributed.CancelledError):  # it came late, and met the new one of the same key
            time.sleep(0.1)
    raise AssertionError("cancelled again and again")


def test_a_task_that_is_tried_again_gives_no_wrong_map(client: Any) -> None:
    """A source that cannot be read at first."""
    data = lines(shape=(6, 10))
    TRIES.clear()
    array = dask.array.from_array(data.values, chunks=(1, 10, 16)).map_blocks(read, dtype=float, meta=np.zeros(0))
    result = fit(data.copy(data=array), gaussian(), "v")
    assert_same_bits(client.compute(result, retries=5).result(), fit(data, gaussian(), "v"))
    assert TRIES == {0: 1, 1: 2, 2: 3, 3: 1, 4: 2, 5: 3}
    TRIES[4] = 0
    with pytest.raises(OSError, match="the network is down"):
        client.compute(result).result()


# --- fits within the user's function

INNER = """
    import sys, warnings
    from pathlib import Path
    import numpy as np
    import xarray as xr
    import xr_modelfit
    from astropy.modeling.fitting import LinearLSQFitter
    from astropy.modeling.models import Linear1D

    data = xr.DataArray(np.random.default_rng(0).normal(size=(4, 8)), dims=("y", "t"))
    folder, outer, inner = Path(sys.argv[1]), *(LinearLSQFitter() if a == "astropy" else None for a in sys.argv[2:4])

    def bootstrap(path, world, y, weights, model, fitter_kwargs):
        warnings.warn("before")
        draws = xr.DataArray(y + np.zeros((8, 1)), dims=("draw", "t"))
        options = {"fitter": inner, "diagnostics": "all", "diagnostics_path": path / "inner",
                   "diagnostics_callable": lambda *a: warnings.warn("within")}
        now = xr_modelfit.fit(draws, Linear1D(), "t", scheduler="threads", fits_per_chunk=2, **options)
        lazy = xr_modelfit.fit(draws.chunk(draw=1), Linear1D(), "t", **options).compute(scheduler="threads")
        assert (now["fit_status"] == 1).all() and now.equals(lazy)
        warnings.warn("after")

    filters = list(warnings.filters)
    xr_modelfit.fit(data, Linear1D(), "t", fitter=outer, scheduler="threads", fits_per_chunk=1,
                    diagnostics="all", diagnostics_path=folder, diagnostics_callable=bootstrap)
    assert warnings.filters == filters
    for pattern in ("y=*/callable.log", "y=*/inner/*/callable.log"):
        logs = [path.read_text() for path in folder.glob(pattern)]
        print(len(logs), sorted({tuple(w for w in ("before", "within", "after") if w in log) for log in logs}),
              {log.count("UserWarning('") for log in logs})
"""


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["batch", "astropy"])
@pytest.mark.parametrize("outer", ["batch", "astropy"])
def test_a_callable_may_fit_on_threads(outer: str, inner: str, tmp_path: Path) -> None:
    """A bootstrap for each fit: it does not wait for itself, and every warning is told where it belongs."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INNER))
    command = [sys.executable, str(script), str(tmp_path / "out"), outer, inner]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "4 [('before', 'after')] {2}\n32 [('within',)] {1}\n", done.stderr


# --- workers that die


ENOUGH = "enough"  # a file: no further worker will be killed


def slow_marks(folder: Path) -> Any:
    """A fitter that leaves a file for each fit, and after 200 fits waits for the last kill; it travels by value."""

    class Marking(LinearLSQFitter):
        def __call__(self, *args: Any, **kwargs: Any) -> Model:
            if not (folder / ENOUGH).exists():
                (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
                time.sleep(5e-3)
                begun = time.monotonic()
                many = len(list(folder.glob(f"{os.getpid()}-*"))) > 200
                while many and not (folder / ENOUGH).exists() and time.monotonic() - begun < 120.0:
                    time.sleep(5e-3)
            return super().__call__(*args, **kwargs)

    return Marking()


def kill_in_the_middle(client: Any, folder: Path, work: Callable[[], Any], times: int) -> Any:
    """Do the work; meanwhile one worker after the other is killed, each in the middle of its fits."""
    killed: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        for _ in range(times):
            victim = None
            while victim is None:  # one that has fitted something
                assert not future.done(), "the work was over before a worker could be killed"
                time.sleep(5e-3)
                pids = {int(path.name.split("-")[0]) for path in folder.glob("*-*")} - set(killed)
                there = set(client.run(os.getpid, on_error="ignore").values())
                victim = next(iter(pids & there), None)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
        (folder / ENOUGH).touch()
        return future.result(timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True], ids=["computed", "lazy"])
def test_workers_that_are_killed_in_the_middle_of_a_fit(two_processes: Any, lazy: bool, tmp_path: Path) -> None:
    """Three kills: the result is that of a run without."""
    data = lines(shape=(40, 60))
    expected = fit(data, Linear1D(), "v", fitter=LinearLSQFitter(), scheduler="synchronous")

    def work() -> xr.Dataset:
        if lazy:
            result = fit(data.chunk(y=2, x=15), Linear1D(), "v", fitter=slow_marks(tmp_path))
            return two_processes.compute(result).result()
        return fit(data, Linear1D(), "v", fitter=slow_marks(tmp_path), scheduler=two_processes, fits_per_chunk=30)

    assert_same_bits(kill_in_the_middle(two_processes, tmp_path, work, 3), expected)


@pytest.mark.slow
def test_workers_that_are_killed_in_the_middle_of_a_store(two_processes: Any, tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="the stores are zarr's")
    data, marks = lines(shape=(40, 60)), tmp_path / "marks"
    marks.mkdir()
    expected = fit(data, Linear1D(), "v", fitter=LinearLSQFitter(), scheduler="synchronous")

    def work() -> None:
        result = fit(data.chunk(y=4, x=15, v=5), Linear1D(), "v", fitter=slow_marks(marks))
        result.modelfit.to_zarr(tmp_path / "fit.zarr", memory=200_000, scheduler=two_processes)

    kill_in_the_middle(two_processes, marks, work, 3)
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "fit.zarr").load(), expected)


@pytest.mark.slow
def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    """By the system, for want of memory for one: the message says what may have been."""

    class Deadly(LinearLSQFitter):
        def __call__(self, model: Model, x: Any, y: Any, **kwargs: Any) -> Model:
            if multiprocessing.parent_process() is not None and y[0] > 50:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(model, x, y, **kwargs)

    data = lines()
    data[2, 3] = 100.0
    with pytest.raises(RuntimeError, match=r"A worker process died while fitting.*memory.*synchronous"):
        fit(data, Linear1D(), "v", fitter=Deadly(), scheduler="processes", fits_per_chunk=8)
    got = fit(lines(), Linear1D(), "v", fitter=Deadly(), scheduler="processes", fits_per_chunk=8)
    assert_same_bits(got, fit(lines(), Linear1D(), "v", fitter=LinearLSQFitter()))


# --- what is defined here reaches the workers


def a_model_of_its_own() -> Model:
    power = 2.0

    @custom_model
    def bump(x, height=2.0, centre=3.0, width=1.0):
        """Defined in a function, with what that function knows."""
        return height * np.exp(-0.5 * np.abs((x - centre) / width) ** power)

    model = bump() + Const1D(0.1)
    model.width_0.tied = lambda m: m.height_0 / (power + 1.0)
    return model


def check_travel(compute: Callable[[xr.Dataset], xr.Dataset], scheduler: Any, tmp_path: Path) -> None:
    data = lines(shape=(2, 4))
    options: dict[str, Any] = {"diagnostics": "all", "errors": "ignore"}
    options["diagnostics_callable"] = lambda path, world, y, *rest: (path / "n").write_text(str(y.size))
    for fitter in (None, TRFLSQFitter()):
        expected = fit(data, a_model_of_its_own(), "v", fitter=fitter, errors="ignore", scheduler="synchronous")
        assert (expected["fit_status"] > 0).sum() > 4
        given = options | {"fitter": fitter}
        now = tmp_path / f"now {fitter is None}"
        got = fit(data, a_model_of_its_own(), "v", scheduler=scheduler, fits_per_chunk=3, diagnostics_path=now, **given)
        assert_same_bits(got, expected)
        later = tmp_path / f"later {fitter is None}"
        lazy = fit(data.chunk(x=1), a_model_of_its_own(), "v", diagnostics_path=later, **given)
        assert_same_bits(compute(lazy), expected)
        for folder in (now, later):
            assert [p.read_text() for p in folder.glob("*/n")] == ["16"] * 8


def test_a_model_that_has_travelled_has_the_same_record() -> None:
    """The key of its code is that of before: an interrupted store knows it again."""
    model = a_model_of_its_own()
    records = []
    for _ in range(3):
        result = fit(lines(shape=(1, 2)), model, "v", errors="ignore")
        records.append(result["fit_status"].attrs["modelfit_record"])
        copied = cloudpickle.loads(cloudpickle.dumps(model))
        records.append(fit(lines(shape=(1, 2)), copied, "v", errors="ignore")["fit_status"].attrs["modelfit_record"])
    assert set(records) == {records[0]}
    assert '"key": null' not in records[0]


@pytest.mark.slow
def test_functions_reach_processes(tmp_path: Path) -> None:
    check_travel(lambda lazy: lazy.compute(scheduler="processes"), "processes", tmp_path)


@pytest.mark.slow
def test_functions_reach_a_cluster(two_processes: Any, tmp_path: Path) -> None:
    check_travel(lambda lazy: two_processes.compute(lazy).result(), two_processes, tmp_path)


MAIN = """
    import numpy as np
    import xarray as xr
    import xr_modelfit
    from astropy.modeling import custom_model
    from distributed import Client

    @custom_model
    def line(x, slope=1.0, level=0.5):
        return slope * x + level

    model = line()
    model.level.tied = lambda m: m.slope / HALF
    HALF = 2.0

    if __name__ == "__main__":
        t = np.arange(6.0)
        data = xr.DataArray(np.arange(1.0, 9.0)[:, None] * (t + 0.5), dims=("y", "t"), coords={"t": t})
        expected = xr_modelfit.fit(data, model, "t", scheduler="synchronous")
        got = [xr_modelfit.fit(data, model, "t", scheduler="processes", fits_per_chunk=2)]
        with Client(n_workers=2, threads_per_worker=1, dashboard_address=':0'):
            got.append(xr_modelfit.fit(data, model, "t", fits_per_chunk=2))
            got.append(xr_modelfit.fit(data.chunk(y=2), model, "t").compute())
        print([one.identical(expected) for one in got], expected["slope"].round(9).values.tolist())
"""


@pytest.mark.slow
def test_what_a_script_defines_reaches_its_workers(tmp_path: Path) -> None:
    """Its own functions and their global variables, which no worker can import by name."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(MAIN))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout == f"[True, True, True] {np.arange(1.0, 9.0).tolist()}\n", done.stderr
