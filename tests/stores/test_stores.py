"""Fits into a zarr store: the same numbers as in memory, whatever the tiles and however often it was interrupted."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models
from distributed import Client

import xr_modelfit
from xr_modelfit import FitStatus, StoreError
from xr_modelfit.stores import log as store_log
from xr_modelfit.stores import stores

pytestmark = pytest.mark.quick_share(3)

pytest.importorskip("zarr", reason="the stores are zarr's")

LINE = models.Gaussian1D(2.0, 0.5, 0.8)
X = np.linspace(-3.0, 3.0, 24)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0", set_as_default=False) as c:
        yield c


def cube(shape: tuple[int, int] = (10, 12), seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    y = LINE(X) + rng.normal(0, 0.1, (*shape, X.size))
    y[1, 2] = np.nan
    y[3, 4, 2:] = np.nan
    coords = {"x": ("x", X, {"units": "m"}), "lat": 1.0 * np.arange(shape[0]), "lon": 2.0 * np.arange(shape[1])}
    return xr.DataArray(y, dims=("lat", "lon", "x"), coords=coords, name="flux", attrs={"units": "K"})


LAYOUTS: dict[str, dict[str, int]] = {
    "spectra": {"lat": 4, "lon": 5, "x": -1},
    "slices": {"lat": -1, "lon": -1, "x": 1},
    "both": {"lat": 3, "lon": -1, "x": 7},
    "one": {"lat": -1, "lon": -1, "x": -1},
}
# The samples of a fit are 24 * 8 bytes: a few tiles, and one.
MEMORY = [15_000, "1 GiB"]


def fitted(data: xr.DataArray, **options: Any) -> xr.Dataset:
    return data.modelfit(LINE, dim="x", covariance=True, errors="ignore", **options)


def same_as(store: Any, expected: xr.Dataset) -> None:
    """Bits, dims, coordinates and attrs of all variables; lists come back where arrays of flags were."""
    back = xr.open_zarr(store).load()
    xr.testing.assert_equal(back, expected)
    assert set(back.data_vars) == set(expected.data_vars)
    for name, variable in expected.variables.items():
        given = {k: list(v) if isinstance(v, np.ndarray) else v for k, v in variable.attrs.items()}
        kept = {k: list(v) if isinstance(v, np.ndarray) else v for k, v in back[name].attrs.items()}
        assert kept == given, name
        assert back[name].dtype == variable.dtype or name in ("cov_i", "cov_j")
    assert back.attrs == expected.attrs


QUICK = {"both", "one"}  # of chunks along positions and samples, and a single one


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("layout", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in LAYOUTS])
def test_a_store_holds_what_memory_holds(tmp_path: Path, layout: str, memory: Any) -> None:
    data = cube()
    opened = fitted(data.chunk(LAYOUTS[layout])).modelfit.to_zarr(tmp_path / "fit.zarr", memory=memory)
    same_as(tmp_path / "fit.zarr", fitted(data))
    assert opened["mean"].chunks is not None
    xr.testing.assert_allclose(opened.modelfit.evaluate(data), fitted(data).modelfit.evaluate(data), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "client"])
def test_schedulers(tmp_path: Path, scheduler: str, client: Client) -> None:
    data = cube()
    chosen = client if scheduler == "client" else scheduler
    fitted(data.chunk(LAYOUTS["slices"])).modelfit.to_zarr(tmp_path / "fit.zarr", memory=20_000, scheduler=chosen)
    same_as(tmp_path / "fit.zarr", fitted(data))


def test_from_a_zarr_source_with_scaled_integers(tmp_path: Path) -> None:
    """Packed numbers are decoded, and their encoding does not reach the result."""
    data = cube()
    encoding = {"flux": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -32768, "chunks": (10, 12, 1)}}
    data.to_dataset().to_zarr(tmp_path / "source.zarr", encoding=encoding)
    source = xr.open_zarr(tmp_path / "source.zarr")["flux"]
    fitted(source).modelfit.to_zarr(tmp_path / "fit.zarr", memory=20_000)
    same_as(tmp_path / "fit.zarr", fitted(source.load()))


@pytest.mark.slow
def test_several_variables_of_different_dims(tmp_path: Path) -> None:
    data = cube()
    ds = xr.Dataset({"a": data, "b": data.isel(lon=0, drop=True) * 2, "b_b": data.isel(lat=0, lon=1, drop=True)})
    lazy = ds.chunk(lat=3, lon=4).modelfit(LINE, dim="x", errors="ignore")
    lazy.modelfit.to_zarr(tmp_path / "fit.zarr", memory=5000)
    same_as(tmp_path / "fit.zarr", ds.modelfit(LINE, dim="x", errors="ignore"))


def test_maps_of_starts_bounds_errors_and_masks_go_along(tmp_path: Path) -> None:
    data = cube()
    rng = np.random.default_rng(1)
    start = data.isel(x=0, drop=True).copy(data=rng.uniform(0.3, 0.6, data.shape[:2])).rename("start")
    start.attrs = {"units": "m"}
    options: dict[str, Any] = {
        "p0": {"mean": start},
        "bounds": {"stddev": (None, (start + 0.5).assign_attrs(units="m"))},
        "sigma": 0.1 + 0 * data.fillna(0),
        "where": data < 1.9,
    }
    lazy = {k: v.chunk(lon=5) if isinstance(v, xr.DataArray) else v for k, v in options.items()}
    fitted(data.chunk(LAYOUTS["both"]), **lazy).modelfit.to_zarr(tmp_path / "fit.zarr", memory=9000)
    same_as(tmp_path / "fit.zarr", fitted(data, **options))


@pytest.mark.parametrize("isel", [{"lat": 0, "lon": 0}, {"lat": slice(0, 0)}, {"lon": 3}])
def test_one_fit_and_none(tmp_path: Path, isel: dict[str, Any]) -> None:
    data = cube().isel(isel)
    fitted(data.chunk(x=5)).modelfit.to_zarr(tmp_path / "fit.zarr")
    same_as(tmp_path / "fit.zarr", fitted(data))


def test_encoding_and_format(tmp_path: Path) -> None:
    data = cube()
    encoding = {"mean": {"dtype": "f4"}}
    fit = fitted(data.chunk(LAYOUTS["spectra"]))
    back = fit.modelfit.to_zarr(tmp_path / "fit.zarr", encoding=encoding, zarr_format=2)
    assert (tmp_path / "fit.zarr" / ".zgroup").exists()
    assert back["mean"].dtype == np.float32
    with pytest.raises(ValueError, match="encoding names 'men'"):
        fit.modelfit.to_zarr(tmp_path / "other.zarr", encoding={"men": {}})


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_neither_writing_nor_opening_warns(tmp_path: Path, zarr_format: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also what the configuration of pytest passes over
        warnings.filterwarnings("ignore", "The codec `vlen-utf8` is currently")  # the oldest zarr, on opening
        fitted(cube((4, 5)).chunk(lat=2)).modelfit.to_zarr(tmp_path / "fit.zarr", zarr_format=zarr_format)
        xr.open_zarr(tmp_path / "fit.zarr")


# --- interrupted


def written(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[dict[Any, slice]]:
    """Tiles that are fitted; with ``stop_after``, the next one is interrupted before it is written."""
    tiles: list[dict[Any, slice]] = []
    original = stores._write_tile

    def noted(job: Any, tile: Any, *rest: Any) -> int:
        if len(tiles) == stop_after:
            raise KeyboardInterrupt
        tiles.append(dict(tile))
        return original(job, tile, *rest)

    monkeypatch.setattr(stores, "_write_tile", noted)
    return tiles


def test_resuming_does_the_rest_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = cube(), tmp_path / "fit.zarr"
    lazy = fitted(data.chunk(LAYOUTS["spectra"]))
    with monkeypatch.context() as patch:
        first = written(patch, stop_after=3)
        with pytest.raises(KeyboardInterrupt):
            lazy.modelfit.to_zarr(store, memory=10_000)
    half = xr.open_zarr(store).load()
    assert (half["fit_status"] == FitStatus.NOT_ATTEMPTED).any()
    assert half["mean"].where(half["fit_status"] == 0, drop=True).isnull().all()
    with monkeypatch.context() as patch:
        second = written(patch)
        fitted(data.chunk(LAYOUTS["spectra"])).modelfit.to_zarr(store, resume=True)  # tiles are those of the first run
    assert len(first) == 3
    assert not any(tile in first for tile in second)
    seen = np.zeros((10, 12), dtype=int)
    for tile in first + second:
        seen[tile["lat"], tile["lon"]] += 1
    assert (seen == 1).all()
    same_as(store, fitted(data))
    with monkeypatch.context() as patch:
        third = written(patch)
        lazy.modelfit.to_zarr(store, resume=True)
    assert third == []


def test_a_run_that_died_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = cube(), tmp_path / "fit.zarr"
    lazy = fitted(data.chunk(LAYOUTS["spectra"]))
    with monkeypatch.context() as patch:
        patch.setattr(store_log.StoreLog, "start", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lazy.modelfit.to_zarr(store)
    lazy.modelfit.to_zarr(store, resume=True)
    same_as(store, fitted(data))


CHANGES: dict[str, tuple[Any, str]] = {
    "another start": (lambda d: d.modelfit(models.Gaussian1D(2.0, 0.5, 0.9), dim="x", covariance=True), "model"),
    "another model": (lambda d: d.modelfit(LINE + models.Const1D(0.0), dim="x", covariance=True), "model"),
    "bounds": (lambda d: fitted(d, bounds={"mean": (0, 1)}), "model"),
    "a start map": (lambda d: fitted(d, p0={"mean": 0.5 + 0 * d.isel(x=0, drop=True).fillna(0).drop_attrs()}), "model"),
    "other data": (lambda d: fitted(d + 1e-3 if d.attrs else d), "data"),
    "another coordinate": (lambda d: fitted(d.assign_coords(x=("x", X + 1e-9, {"units": "m"}))), "coordinates"),
    "other labels": (lambda d: fitted(d.assign_coords(lat=d["lat"] + 1.0)), "coordinates"),
    "another option": (lambda d: fitted(d, skipna=False), "options"),
    "weights": (lambda d: fitted(d, sigma=0.1), "options"),
    "another fitter": (lambda d: fitted(d, fitter=xr_modelfit.BatchLSQFitter(maxiter=7)), "options"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_fit_is_refused(tmp_path: Path, name: str) -> None:
    data, store = cube((4, 5)), tmp_path / "fit.zarr"
    fitted(data.chunk(lat=2)).modelfit.to_zarr(store)
    call, part = CHANGES[name]
    other = call(data.chunk(lat=2))
    with pytest.raises(StoreError, match=f"'{part}'"):
        other.modelfit.to_zarr(store, resume=True)
    same_as(store, fitted(data))


SCRIPT = """
    import sys
    import numpy as np, xarray as xr, xr_modelfit
    from astropy.modeling import models
    source = xr.open_zarr(sys.argv[1])["flux"]
    print("begin", flush=True)
    fit = source.modelfit(models.Gaussian1D(2.0, 0.5, 0.8), dim="x", covariance=True)
    fit.modelfit.to_zarr(sys.argv[2], resume=True, memory=60_000)
    print("end", flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Five kills; the store is the same as that of a run without."""
    data = cube((60, 50))
    data.chunk(x=3).to_dataset().to_zarr(tmp_path / "source.zarr")
    store, script = tmp_path / "fit.zarr", tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    rng = np.random.default_rng(int(time.time()))
    command = [sys.executable, str(script), str(tmp_path / "source.zarr"), str(store)]
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begin\n"
            time.sleep(rng.uniform(0.0, 1.5))
            process.send_signal(signal.SIGKILL)
    assert "end" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    same_as(store, fitted(data))


# --- faults


def test_wrong_calls(tmp_path: Path) -> None:
    data = cube((4, 5))
    lazy = fitted(data.chunk(lat=1))
    for wrong in (fitted(data), lazy.isel(lat=0), lazy.assign(mean=lazy["mean"] * 2)):
        with pytest.raises(ValueError, match="no lazy result"):
            wrong.modelfit.to_zarr(tmp_path / "fit.zarr")
    changed = fitted(data.chunk(lat=1))
    changed["mean"] = changed["mean"] * 2  # in place
    with pytest.raises(ValueError, match="no lazy result"):
        changed.modelfit.to_zarr(tmp_path / "fit.zarr")
    for memory in ("much", 0, -1, None):
        with pytest.raises(ValueError, match="memory is"):
            lazy.modelfit.to_zarr(tmp_path / "fit.zarr", memory=memory)
    assert not (tmp_path / "fit.zarr").exists()


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "an unknown scheduler": ({"scheduler": "thread"}, ValueError, ("'thread'", "'threads'")),
    "no scheduler": ({"scheduler": 3}, ValueError, ("int", "Client")),
    "an unknown option": ({"mode": "w"}, TypeError, ("'mode'", "'zarr_format'")),
    "a misspelt option": ({"zarr_fromat": 2}, TypeError, ("'zarr_fromat'", "Did you mean 'zarr_format'")),
    "no encoding": ({"encoding": {"men": {}}}, ValueError, ("'men'", "Did you mean 'mean'")),
    "no flag": ({"resume": "yes"}, TypeError, ("resume", "'yes'", "True or False")),
    "no flag for the bar": ({"progress": 1}, TypeError, ("progress", "1", "True or False")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_calls_leave_no_store(tmp_path: Path, name: str) -> None:
    """They are told before anything is written, so that the corrected call finds its place free."""
    options, error, words = REFUSED[name]
    lazy = fitted(cube((4, 5)).chunk(lat=1))
    with pytest.raises(error) as caught:
        lazy.modelfit.to_zarr(tmp_path / "fit.zarr", **options)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "fit.zarr").exists()


@pytest.mark.parametrize(
    ("module", "extra", "options"), [("zarr", "io", {}), ("tqdm.auto", "progress", {"progress": True})]
)
def test_a_missing_extra_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, options: dict[str, Any]
) -> None:
    lazy = fitted(cube((4, 5)).chunk(lat=1))
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(ImportError, match=f"pip install {module.partition('.')[0]}. The extra '{extra}'"):
        lazy.modelfit.to_zarr(tmp_path / "fit.zarr", **options)
    assert not (tmp_path / "fit.zarr").exists()


def test_an_encoding_that_zarr_refuses_is_no_reason_to_remove_the_store(tmp_path: Path) -> None:
    lazy = fitted(cube((4, 5)).chunk(lat=1))
    with pytest.raises(Exception, match="no_such_type"):
        lazy.modelfit.to_zarr(tmp_path / "fit.zarr", encoding={"mean": {"dtype": "no_such_type"}})
    lazy.modelfit.to_zarr(tmp_path / "fit.zarr")
    same_as(tmp_path / "fit.zarr", fitted(cube((4, 5))))


def test_a_store_that_is_there_is_not_touched(tmp_path: Path) -> None:
    data, store = cube((4, 5)), tmp_path / "fit.zarr"
    mine = xr.Dataset({"precious": ("z", np.arange(3.0))})
    mine.to_zarr(store)
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="'precious'"):
            fitted(data.chunk(lat=1)).modelfit.to_zarr(store, resume=resume)
    xr.testing.assert_identical(xr.open_zarr(store).load(), mine)
    other = tmp_path / "other.zarr"
    fitted(data.chunk(lat=1)).modelfit.to_zarr(other)
    with pytest.raises(FileExistsError, match="resume=True"):
        fitted(data.chunk(lat=1)).modelfit.to_zarr(other)


def test_a_source_that_cannot_be_read_ends_the_run_and_not_the_store(tmp_path: Path) -> None:
    """A corrupt chunk is an error; what was written before stays, and the run goes on once it is mended."""
    import dask.array

    data, store = cube(), tmp_path / "fit.zarr"
    broken = [True]

    def read(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if broken[0] and block_info[0]["chunk-location"][0] == 2:
            raise OSError("a corrupt chunk")
        return block

    def lazy() -> xr.Dataset:
        array = dask.array.from_array(data.values, chunks=(4, 12, 24)).map_blocks(read, dtype=float, meta=np.zeros(0))
        return fitted(data.copy(data=array))

    # the fingerprint reads three blocks, the last among them
    with pytest.raises(OSError, match="a corrupt chunk"):
        lazy().modelfit.to_zarr(store, memory=30_000)
    broken[0] = False
    lazy().modelfit.to_zarr(store, memory=30_000, resume=True)
    same_as(store, fitted(data))


# --- progress


class Bar:
    """Stands in for tqdm, and remembers."""

    made: list["Bar"] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        self.options, self.told = options, []
        Bar.made.append(self)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: int) -> None:
        self.told.append(n)


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    tqdm = pytest.importorskip("tqdm.auto", reason="the bar is tqdm's")
    Bar.made = []
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return Bar.made


@pytest.mark.parametrize("scheduler", [None, "synchronous", "threads", "client"])
def test_the_bar_counts_fits(bars: list[Bar], scheduler: Any, client: Client) -> None:
    chosen = client if scheduler == "client" else scheduler
    data = cube()
    got = fitted(data, progress=True, scheduler=chosen, fits_per_chunk=25)
    xr.testing.assert_identical(got, fitted(data))
    (bar,) = bars
    assert bar.options["total"] == 120
    assert sum(bar.told) == 120
    assert len(bar.told) > 1


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [None, "client"])
def test_the_bar_of_a_store_goes_on_where_it_was(
    tmp_path: Path, bars: list[Bar], scheduler: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = cube(), tmp_path / "fit.zarr"
    lazy = fitted(data.chunk(LAYOUTS["slices"]))
    chosen = client if scheduler == "client" else None
    with monkeypatch.context() as patch:
        tiles = written(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            lazy.modelfit.to_zarr(store, memory=9000, progress=True, scheduler=chosen)
    done = sum((t["lat"].stop - t["lat"].start) * (t["lon"].stop - t["lon"].start) for t in tiles)
    lazy.modelfit.to_zarr(store, resume=True, progress=True, scheduler=chosen)
    first, looked_at, second = bars
    assert first.options["initial"] == 0
    assert looked_at.options["desc"] == "verifying"
    assert sum(looked_at.told) == looked_at.options["total"] == done
    assert sum(first.told) == done
    assert second.options["initial"] == done
    assert sum(second.told) == 120 - done


def test_no_bar_unless_asked_for(bars: list[Bar]) -> None:
    fitted(cube())
    assert bars == []


def test_a_lazy_fit_has_no_bar() -> None:
    with pytest.raises(ValueError, match="to_zarr"):
        fitted(cube().chunk(lat=2), progress=True)


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        fitted(cube(), progress=True)
