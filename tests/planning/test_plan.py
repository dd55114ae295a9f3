"""A plan says what really happens, reads next to nothing for it, and its advice mends what it complains of."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D
from distributed import Client

from xr_modelfit import FitPlan
from xr_modelfit.call import job
from xr_modelfit.planning import samples as plan_samples
from xr_modelfit.planning.plan import bytes_text, seconds_text
from xr_modelfit.planning.timing import Timing
from xr_modelfit.stores import stores

pytestmark = pytest.mark.quick_share(3)

LINE = Gaussian1D(2.0, 0.5, 0.8)
X = np.linspace(-3.0, 3.0, 40)


def cube(shape: tuple[int, int] = (10, 12), dtype: str = "f4") -> xr.DataArray:
    y = LINE(X) + np.random.default_rng(0).normal(0, 0.1, (*shape, X.size))
    y[0, 0] = np.nan
    coords = {"x": ("x", X, {"units": "m"}), "lat": 1.0 * np.arange(shape[0]), "lon": 2.0 * np.arange(shape[1])}
    return xr.DataArray(y.astype(dtype), dims=("lat", "lon", "x"), coords=coords, name="flux", attrs={"units": "K"})


class Counter:
    """A lazy array that notes which of its blocks are computed."""

    def __init__(self, data: xr.DataArray, chunks: dict[str, int]) -> None:
        self.read: list[tuple[tuple[int, ...], int]] = []

        def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            self.read.append((tuple(block_info[0]["chunk-location"]), block.nbytes))
            return block

        lazy = dask.array.from_array(data.values, chunks=data.chunk(chunks).chunks)
        self.data = data.copy(data=lazy.map_blocks(note, dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype)))

    @property
    def bytes(self) -> int:
        return sum(n for _, n in self.read)


LAYOUTS: dict[str, dict[str, int]] = {
    "spectra": {"lat": 4, "lon": 5, "x": -1},
    "slices": {"lat": -1, "lon": -1, "x": 1},
    "both": {"lat": 3, "lon": -1, "x": 7},
    "one": {"lat": -1, "lon": -1, "x": -1},
}
MEMORY = [15_000, "1 GiB"]


# --- what it counts is what happens


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_tiles_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, memory: Any) -> None:
    data, chunks = cube(), LAYOUTS[layout]
    planned = data.chunk(chunks).modelfit.plan(LINE, dim="x", memory=memory)
    source = Counter(data, chunks)
    lazy = source.data.modelfit(LINE, dim="x", errors="ignore")
    assert planned.lazy
    assert planned.n_fits == 120
    assert planned.n_samples == data.size
    assert planned.n_blocks == lazy["mean"].data.npartitions
    assert planned.merged == {d: len(c) for d, c in source.data.chunksizes.items() if d == "x" and len(c) > 1}
    lazy.compute()
    assert planned.bytes_read == source.bytes == data.nbytes

    tiles, read = [], 0
    original = stores._write_tile

    def noted(job: Any, tile: Any, *rest: Any) -> int:
        nonlocal read
        before = source.bytes
        digest = original(job, tile, *rest)
        tiles.append(math.prod(s.stop - s.start for s in tile.values()))
        read += source.bytes - before
        return digest

    monkeypatch.setattr(stores, "_write_tile", noted)
    back = lazy.modelfit.to_zarr(tmp_path / "fit.zarr", memory=memory)
    (one,) = planned.fits.values()
    assert planned.n_tiles == len(tiles)
    assert one.tile_fits == max(tiles)
    assert planned.tile_bytes_read == read
    assert planned.amplification == pytest.approx(read / data.nbytes)
    assert planned.bytes_written == sum(v.nbytes for v in back.data_vars.values())


def test_the_store_on_disk(tmp_path: Path) -> None:
    data = cube().chunk(lat=5).assign_coords(x=X)
    options: dict[str, Any] = {"covariance": True}
    planned = data.modelfit.plan(LINE, dim="x", **options)
    fit = data.modelfit(LINE, dim="x", **options)
    plain = {name: {"compressors": None} for name in fit.data_vars}
    fit.modelfit.to_zarr(tmp_path / "fit.zarr", encoding=plain, zarr_format=2)
    files = [p for name in fit.data_vars for p in (tmp_path / "fit.zarr" / str(name)).rglob("[0-9]*")]
    assert planned.bytes_written == sum(p.stat().st_size for p in files if p.is_file())


@pytest.mark.parametrize(
    "options", [{}, {"fits_per_chunk": 25}, {"scheduler": "threads"}, {"scheduler": "threads", "fits_per_chunk": 7}]
)
def test_blocks_in_memory(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    data = cube()
    planned = data.modelfit.plan(LINE, dim="x", **options)
    blocks: list[int] = []
    original = job.fit_block

    def noted(*arrays: np.ndarray, task: Any) -> np.ndarray:
        packed = original(*arrays, task=task)
        blocks.append(packed[..., 0].size)
        return packed

    monkeypatch.setattr(job, "fit_block", noted)
    data.modelfit(LINE, dim="x", **options)
    (one,) = planned.fits.values()
    assert planned.n_blocks == len(blocks)
    assert one.block_fits == max(blocks)
    assert not planned.lazy
    assert planned.n_tiles == planned.bytes_read == planned.tile_bytes_read == 0
    assert planned.warnings == ()
    assert planned.seconds > 0


def test_fits_per_chunk_of_a_lazy_fit() -> None:
    data = cube().chunk(lat=5)
    planned = data.modelfit.plan(LINE, dim="x", fits_per_chunk=7)
    assert planned.n_blocks == data.modelfit(LINE, dim="x", fits_per_chunk=7)["mean"].data.npartitions


def test_a_companion_that_lacks_dims_is_read_by_every_tile() -> None:
    data = cube(dtype="f8")
    sigma = xr.full_like(data.isel(lat=0, drop=True), 0.1).chunk(lon=-1)
    planned = data.chunk(lat=2).modelfit.plan(LINE, dim="x", sigma=sigma, memory=15_000)
    (one,) = planned.fits.values()
    assert planned.n_tiles > 5
    assert planned.bytes_read == data.nbytes + sigma.nbytes
    assert planned.tile_bytes_read >= one.n_tiles // 2 * sigma.nbytes


# --- what it reads


def test_of_many_slices_two_or_three_are_read() -> None:
    source = Counter(cube(), LAYOUTS["slices"])
    planned = source.data.modelfit.plan(LINE, dim="x")
    assert 1 <= len(source.read) <= 3
    assert planned.fits["flux"].simulated
    assert planned.fits["flux"].read_seconds > 0
    assert 0 < planned.n_timed <= 120
    assert "simulated" in str(planned)


@pytest.mark.parametrize("chunks", [{"lat": 2, "lon": 2}, {"lat": 5, "lon": 6, "x": 4}, {"lat": 1, "lon": 1, "x": 13}])
def test_of_few_chunks_whole_fits_are_read(chunks: dict[str, int]) -> None:
    source = Counter(cube(), chunks)
    planned = source.data.modelfit.plan(LINE, dim="x")
    assert 1 <= len(source.read) <= 35
    assert len(source.read) < source.data.data.npartitions or source.data.data.npartitions <= 40
    assert not planned.fits["flux"].simulated


def test_large_chunks_are_not_read_for_their_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_samples, "_BYTES", 1000)
    source = Counter(cube(), {"lat": 5, "x": 10})
    planned = source.data.modelfit.plan(LINE, dim="x")
    assert len(source.read) <= 3
    assert planned.fits["flux"].simulated
    monkeypatch.setattr(plan_samples, "_LARGEST", 1000)
    source.read.clear()
    planned = source.data.modelfit.plan(LINE, dim="x")
    assert source.read == []
    assert "none was read" in planned.warnings[-1]


def test_what_is_made_of_many_chunks_is_not_computed() -> None:
    """One block of rechunked data would read all of it."""
    source = Counter(cube(), LAYOUTS["slices"])
    planned = source.data.chunk(x=-1, lat=2, lon=2).modelfit.plan(LINE, dim="x")
    assert source.read == []
    assert planned.fits["flux"].simulated
    assert planned.fits["flux"].read_seconds == 0
    assert any("computed from many others" in text and "to_zarr(path)" in text for text in planned.warnings)


def test_files_are_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    cube((30, 40)).to_dataset().to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as ds:
        planned = ds["flux"].modelfit.plan(LINE, dim="x")
        assert not ds["flux"].variable._in_memory
        assert not planned.lazy
        assert planned.bytes_read == ds["flux"].nbytes
        assert planned.fits["flux"].read_seconds > 0


def refusing(data: xr.DataArray) -> xr.DataArray:
    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    lazy = dask.array.from_array(data.values, chunks=5).map_blocks(refuse, dtype=float, meta=np.empty((0,) * data.ndim))
    return data.copy(data=lazy)


WRONG: list[dict[str, Any]] = [
    {"dim": "y"},
    {"dim": "x", "sigma": -1},
    {"dim": "x", "sigma": "missing"},
    {"dim": "x", "p0": {"men": 1}},
    {"dim": "x", "bounds": {"mean": (3, 1)}},
    {"dim": "x", "fitter": TRFLSQFitter},
    {"dim": "x", "fitter_kwargs": {"maxiter": 3}},
    {"dim": "x", "errors": "never"},
    {"dim": "x", "scheduler": "threads"},
    {"dim": "x", "progress": True},
    {"dim": "x", "data": "flux"},
    {"dim": "x", "fits_per_chunk": 0},
]


@pytest.mark.parametrize("call", WRONG, ids=lambda call: str(list(call)[-1]))
def test_wrong_calls_say_what_the_fit_says(call: dict[str, Any]) -> None:
    data = refusing(cube())
    with pytest.raises((ValueError, TypeError)) as expected:
        data.modelfit(LINE, **call)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        data.modelfit.plan(LINE, **call)


def test_options_that_are_not_there() -> None:
    data = refusing(cube())
    with pytest.raises(TypeError, match="sgima"):
        data.modelfit.plan(LINE, dim="x", sgima=0.1)
    for memory in ("much", 0, -1, None):
        with pytest.raises(ValueError, match="memory is"):
            data.modelfit.plan(LINE, dim="x", memory=memory)
    with pytest.raises(ValueError, match="no dim 'z'"):
        xr.Dataset({"flux": data}).modelfit.plan(LINE, dim="z", data="flux")


def test_it_leaves_no_trace(tmp_path: Path) -> None:
    """No folder of diagnostics, no call of the user's function, no change of data and model."""
    called: list[Any] = []
    data, model = cube(), LINE.copy()
    before = data.copy(deep=True)
    options: dict[str, Any] = {
        "diagnostics": "all",
        "diagnostics_path": tmp_path / "logs",
        "diagnostics_callable": lambda *a: called.append(a),
        "errors": "raise",
    }
    data.modelfit.plan(model, dim="x", **options)
    data.chunk(x=1).modelfit.plan(model, dim="x", **options)
    assert list(tmp_path.iterdir()) == []
    assert called == []
    xr.testing.assert_identical(data, before)
    np.testing.assert_array_equal(model.parameters, LINE.parameters)


# --- any call can be planned


def calls() -> Iterator[tuple[str, xr.DataArray, Any, dict[str, Any]]]:
    data = cube((4, 5), "f8")
    start = xr.full_like(data.isel(x=0, drop=True), 0.4).assign_attrs(units="m")
    yield "maps", data, LINE, {"dim": "x", "p0": {"mean": start}, "bounds": {"mean": (start - 1, None)}}
    yield "where", data, LINE, {"dim": "x", "where": data < 2, "sigma": abs(data).fillna(1) + 0.1}
    yield "a coordinate for each fit", data, LINE, {"dim": "x", "coords": data["x"] + 0 * data["lat"]}
    yield "pooled", data, LINE, {"dim": ("x", "lon"), "coords": "x"}
    yield "all dims", data, Linear1D(), {"dim": ..., "coords": "x"}
    yield "two inputs", data, Gaussian2D(), {"dim": ("lat", "lon"), "coords": {"x": "lon", "y": "lat"}}
    yield "one fit", data.isel(lat=0, lon=0), LINE, {"dim": "x"}
    yield "no fit", data.isel(lat=slice(0, 0)), LINE, {"dim": "x"}
    yield "no sample", data.isel(x=slice(0, 0)), LINE, {"dim": "x"}
    yield "TRF", data, LINE, {"dim": "x", "fitter": TRFLSQFitter(), "fit_info": ["nfev"]}
    yield "linear", data, Linear1D(), {"dim": "x", "fitter": LinearLSQFitter()}
    yield "nothing but NaN", data.where(False), LINE, {"dim": "x"}


CALLS = {name: rest for name, *rest in calls()}


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("chunks", [None, {"x": 1}, {"x": 20, "lat": 2}, {}], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_any_call(name: str, chunks: dict[str, int] | None) -> None:
    data, model, options = CALLS[name]
    if chunks is not None:
        chunks = {d: n for d, n in chunks.items() if d in data.dims and data.sizes[d]}
        data = data.chunk(chunks)
        options = {k: v.chunk(chunks) if k in ("where", "sigma", "coords") and isinstance(v, xr.DataArray) else v
                   for k, v in options.items()}  # fmt: skip
    planned = data.modelfit.plan(model, **options)
    result = data.modelfit(model, errors="ignore", **options)
    assert planned.n_fits == result["fit_status"].size
    assert planned.lazy == (result["fit_status"].chunks is not None)
    assert planned.bytes_written == sum(v.nbytes for v in result.data_vars.values())
    assert np.isfinite(planned.seconds)
    assert np.isfinite(planned.tile_seconds)
    if planned.lazy and planned.n_fits:
        assert planned.n_blocks == result["fit_status"].data.npartitions
    assert str(planned)
    assert planned._repr_html_()


def test_a_dataset_has_a_line_for_each_variable() -> None:
    data = cube((4, 5))
    ds = xr.Dataset({"a": data, "b": data.isel(lon=0, drop=True), "c": ("z", [1.0])})
    planned = ds.chunk(lat=2).modelfit.plan(LINE, dim="x")
    assert list(planned.fits) == ["a", "b"]
    assert planned.n_fits == 24
    assert planned.bytes_read == ds["a"].nbytes + ds["b"].nbytes
    assert planned.seconds == pytest.approx(sum(f.seconds for f in planned.fits.values()))
    assert "together" in str(planned)
    assert list(ds.modelfit.plan(LINE, dim="x", data="b").fits) == ["b"]
    assert list(ds.modelfit.plan(LINE, dim="x", prefix="my_").fits) == ["my_a", "my_b"]
    nothing = ds[["c"]].modelfit.plan(LINE, dim="x")
    assert nothing.n_fits == nothing.n_blocks == 0
    assert "nothing will be fitted" in str(nothing)
    assert "nothing will be fitted" in nothing._repr_html_()


@pytest.mark.parametrize(
    ("data", "workers"),
    [(cube(), "3 threads"), (cube().chunk(lat=2), "3 threads"), (cube().chunk(lat=2, x=1), "3 threads")],
)
def test_an_active_client_does_the_work(data: xr.DataArray, workers: str) -> None:
    with Client(processes=False, n_workers=1, threads_per_worker=3, dashboard_address=":0"):
        planned = data.modelfit.plan(LINE, dim="x", fits_per_chunk=20)
    assert planned.fits["flux"].workers == workers


def test_workers_of_computed_input() -> None:
    data = cube((40, 40))
    told = {
        scheduler: data.modelfit.plan(LINE, "x", scheduler=scheduler).fits["flux"].workers
        for scheduler in ("synchronous", "threads", "processes")
    }
    assert told["synchronous"] == "1 thread"
    assert data.modelfit.plan(LINE, "x").fits["flux"].workers == "1 thread"  # too few samples for more


# --- advice


def chunk_call(text: str) -> dict[str, int]:
    found = re.search(r"data\.chunk\((\{.*?\})\)", text)
    assert found, text
    return eval(found[1], {})


def test_slices_and_the_call_that_mends_them() -> None:
    data = cube()
    planned = data.chunk(LAYOUTS["slices"]).modelfit.plan(LINE, dim="x")
    assert len(planned.warnings) == 1
    assert "x in 40 chunks" in planned.warnings[0]
    mended = data.chunk(chunk_call(planned.warnings[0])).modelfit.plan(LINE, dim="x")
    assert mended.warnings == ()
    assert "Nothing needs to be changed." in str(mended)


def test_the_advice_can_be_followed_word_by_word(tmp_path: Path) -> None:
    """Data from a store bear its chunks in their encoding, which must not get in the way."""
    cube().chunk(x=1).to_dataset().to_zarr(tmp_path / "slices.zarr")
    data = xr.open_zarr(tmp_path / "slices.zarr")["flux"]
    (text,) = data.modelfit.plan(LINE, dim="x").warnings
    call = re.search(r"data\.chunk\(.*to_zarr\(path\)", text)
    assert call
    eval(call[0], {"data": data, "path": tmp_path / "spectra.zarr"})
    saved = xr.open_zarr(tmp_path / "spectra.zarr")["flux"]
    assert saved.modelfit.plan(LINE, dim="x").warnings == ()


def test_chunks_that_are_read_again_and_again() -> None:
    data = cube().chunk(x=20)
    planned = data.modelfit.plan(LINE, dim="x", memory=15_000)
    (text,) = [t for t in planned.warnings if "reads each chunk" in t]
    assert planned.amplification > 2
    memory = re.search(r'memory="(.*?)"', text)
    assert memory
    assert data.modelfit.plan(LINE, dim="x", memory=memory[1]).amplification <= 2


def test_blocks_that_do_not_fit() -> None:
    data = cube((40, 50))
    planned = data.chunk().modelfit.plan(LINE, dim="x", memory="400 KiB")
    text = planned.warnings[0]
    assert planned.block_memory > 400 * 2**10
    assert "A block takes" in text
    better = data.chunk(chunk_call(text)).modelfit.plan(LINE, dim="x", memory="400 KiB")
    assert better.block_memory < planned.block_memory / 4


def test_too_many_blocks() -> None:
    data = cube((101, 100))
    planned = data.chunk(lat=1, lon=1).modelfit.plan(LINE, dim="x")
    (text,) = planned.warnings
    assert planned.n_blocks == 10_100
    assert data.chunk(chunk_call(text)).modelfit.plan(LINE, dim="x").warnings == ()
    (text,) = data.chunk(lat=50).modelfit.plan(LINE, dim="x", fits_per_chunk=1).warnings
    assert "Leave fits_per_chunk=1 out" in text


def test_fitters_that_threads_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set(num_workers=2):
        planned = cube((4, 5)).chunk(lat=2).modelfit.plan(LINE, dim="x", fitter=TRFLSQFitter())
        assert 'fit.compute(scheduler="processes")' in planned.warnings[0]
        assert cube((4, 5)).chunk(lat=2).modelfit.plan(LINE, dim="x").warnings == ()


def test_chunks_hold_whole_fits_and_have_no_long_side() -> None:
    data = cube((50, 60), "f8")
    (text, *_) = data.chunk(x=1).modelfit.plan(LINE, dim="x", memory="1 MiB").warnings
    chunks = chunk_call(text)
    assert chunks["x"] == -1
    assert 8 * X.size * chunks["lat"] * chunks["lon"] < 2**20 / 4
    assert 0.5 < chunks["lat"] / chunks["lon"] < 2


# --- how it looks


def test_text_and_table() -> None:
    data = cube().rename(x="<x>").rename("a<b>&")
    planned = data.chunk({"<x>": 1}).modelfit.plan(LINE, dim="<x>")
    assert isinstance(planned, FitPlan)
    assert repr(planned) == str(planned)
    text, html = str(planned), planned._repr_html_()
    assert "120 fits of 40 samples" in text
    assert "40 chunks of <x>" in text
    assert "<x>" not in html
    assert "a<b>" not in html
    assert "&lt;x&gt;" in html
    assert "a&lt;b&gt;&amp;" in html
    for tag in ("table", "tbody", "tr", "th", "td", "p", "b", "ul", "li"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag
    with pytest.raises(dataclasses.FrozenInstanceError):
        planned.lazy = False  # type: ignore[misc]


def test_data_without_a_name() -> None:
    assert "the data" in str(cube().rename(None).modelfit.plan(LINE, dim="x"))


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1 KiB"), (1500, "1.5 KiB"), (2**20, "1 MiB"), (40 * 2**30, "40 GiB")],
)
def test_sizes(n: int, text: str) -> None:
    assert bytes_text(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 us"), (2.34e-4, "230 us"), (0.0512, "51 ms"), (1.26, "1.3 s"), (99.4, "99 s"), (200, "3.3 min"),
        (7200, "2 h"), (1e6, "280 h"), (math.nan, "an unknown time"),
    ],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_a_block_larger_than_what_was_timed() -> None:
    timing = Timing(np.array([1, 100, 1000]), np.array([0.1, 0.2, 0.4]))
    assert timing.block(100) == pytest.approx(0.2)
    assert timing.block(550) == pytest.approx(0.3)
    assert timing.block(10_000) == pytest.approx(0.4 + 9000 * 2e-4 * 10 / 9)
    assert Timing(np.array([1, 100]), np.array([0.2, 0.2])).block(1000) == pytest.approx(0.2 + 900 * 1e-3)
    assert timing.n_timed == 1000
