"""A result survives files and stores as it is, and evaluates from them in a new process."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import contextlib
import json
import numbers
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model, fix_inputs
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import BlackBody, Chebyshev1D, Const1D, Gaussian1D, Gaussian2D, Linear1D, Planar2D

from xr_modelfit import RecordError, fit

pytestmark = pytest.mark.quick_share(3)

every_format = pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "zarr"])

# zarr has no specification of text yet, and says so for coordinates of the user's; its versions differ in how.
text_in_zarr = pytest.mark.filterwarnings(
    "ignore:The data type .FixedLengthUTF32", "ignore:The dtype .<U", "ignore:The codec .vlen-utf8"
)


def write(ds: xr.Dataset, path: Path, engine: str) -> Path:
    """Write as a user would, without any option."""
    if engine == "zarr":
        pytest.importorskip("zarr")
        ds.to_zarr(path)
    else:
        for module in {"netcdf4": ["netCDF4"], "h5netcdf": ["h5netcdf", "h5py"]}[engine]:
            pytest.importorskip(module)
        ds.to_netcdf(path, engine=engine)
    return path


def read(path: Path, engine: str) -> xr.Dataset:
    """Read as a user would; the file is closed."""
    with xr.open_dataset(path, engine=engine) as ds:
        return ds.load()


def there_and_back(ds: xr.Dataset, folder: Path, engine: str, name: str = "fit") -> xr.Dataset:
    """What comes back from a file."""
    return read(write(ds, folder / f"{name}.store", engine), engine)


def cube(seed: int = 1) -> xr.DataArray:
    """A small cube with coordinates of every kind that a file can hold; one position is masked."""
    rng = np.random.default_rng(seed)
    angle = np.random.default_rng(0).uniform(-90, 90, (4, 3))
    velocity = np.linspace(0.0, 10.0, 16)
    centre = xr.DataArray([[4.0, 5.0, 6.0], [5.0, 5.5, 6.0], [6.0, 6.0, 6.5], [4.5, 5.0, 6.0]], dims=("y", "x"))
    shape = 3.0 * np.exp(-0.5 * (xr.DataArray(velocity, dims="velocity") - centre) ** 2)
    data = shape.transpose("velocity", "y", "x") + rng.normal(0, 0.05, (16, 4, 3))
    data[:, 0, 0] = np.nan
    return (
        data.assign_coords(
            velocity=("velocity", velocity, {"units": "km/s"}),
            y=("y", [10, 20, 30, 40], {"long_name": "row"}),
            station=("y", ["a", "bcd", "e\u00e9", ""], {"cf_role": "timeseries_id"}),
            x=("x", np.array(["one", "two", "three"], dtype=object)),
            day=("y", np.array(["2020-01-01", "2020-01-02", "2021-01-01", "1999-12-31"], dtype="datetime64[ns]")),
            lat=(("y", "x"), angle, {"units": "degrees_north"}),
            quality=(("y", "x"), np.arange(12, dtype=np.int16).reshape(4, 3)),
            usable=("x", [True, False, True]),
            epoch=((), 2015.5, {"units": "yr"}),
            channel=("velocity", np.arange(16)),
        )
        .assign_attrs(units="K", title="A cube", history="made here", version=3, corner=[1.0, 2.0])
        .rename("flux")
    )


def full_fit(data: xr.DataArray, **options: Any) -> xr.Dataset:
    """A fit with everything that a result can hold."""
    return fit(
        data,
        Gaussian1D(2.0, 5.0, 1.5, bounds={"stddev": (0.1, None)}),
        "velocity",
        covariance=True,
        prefix="line_",
        fit_info=("nfev", "cost"),
        fitter=TRFLSQFitter(),
        errors="ignore",
        **options,
    )


def assert_came_back(got: xr.Dataset, expected: xr.Dataset) -> None:
    """Identical with attrs, and of the same types; text may come back as objects."""
    xr.testing.assert_identical(got, expected)
    for name, variable in expected.variables.items():
        now = got.variables[name]
        if variable.dtype.kind in "OUT":
            assert now.dtype.kind in "OUT", name
            assert all(isinstance(v, str) for v in now.values.ravel()), name
        else:
            assert now.dtype == variable.dtype, name
            np.testing.assert_array_equal(now.values, variable.values, err_msg=str(name))


# --- identical


@text_in_zarr
@every_format
def test_a_computed_result_comes_back_identical(engine: str, tmp_path: Path) -> None:
    """Values, dtypes, coordinates of every kind and attrs."""
    result = full_fit(cube())
    kept = {"y", "x", "station", "day", "lat", "quality", "usable", "epoch"}
    assert set(result.coords) == kept | {"cov_i", "cov_j"}
    assert result["line_fit_status"].dtype == np.int8
    assert result.attrs.items() >= {"title": "A cube", "version": 3, "corner": [1.0, 2.0]}.items()
    assert result.attrs["history"].endswith("\nmade here")
    assert_came_back(there_and_back(result, tmp_path, engine), result)


@text_in_zarr
@every_format
@pytest.mark.parametrize("chunks", [{"y": 2, "x": 2}, {"velocity": 5, "y": 1}], ids=str)
def test_a_lazy_result_comes_back_identical(engine: str, chunks: dict[str, int], tmp_path: Path) -> None:
    """Written block by block, it is what a computed one is."""
    data = cube()
    lazy = full_fit(data.chunk(chunks))
    assert lazy["line_fit_status"].chunks is not None
    assert_came_back(there_and_back(lazy, tmp_path, engine), full_fit(data))


@text_in_zarr
@every_format
def test_several_fits_in_one_file(engine: str, tmp_path: Path) -> None:
    """Each keeps its own record."""
    ds = xr.Dataset({"first": cube(1), "second": cube(2).drop_attrs()}, attrs={"title": "Two"})
    result = fit(ds, Gaussian1D(2.0, 5.0, 1.5), "velocity", errors="ignore")
    back = there_and_back(result, tmp_path, engine)
    assert_came_back(back, result)
    for name in ("first", "second"):
        expected = result.modelfit.evaluate(ds, data=name)
        xr.testing.assert_identical(back.modelfit.evaluate(ds, data=name), expected)
        assert not expected.isnull().all()


@text_in_zarr
@every_format
def test_a_result_without_remaining_dims_comes_back_identical(engine: str, tmp_path: Path) -> None:
    """A single fit is 0-dimensional."""
    result = full_fit(cube().isel(y=1, x=2))
    back = there_and_back(result, tmp_path, engine)
    assert_came_back(back, result)
    assert back["line_mean"].dims == ()
    xr.testing.assert_identical(back.modelfit.evaluate(velocity=[1.0, 6.0]), result.modelfit.evaluate(velocity=[1, 6]))


def test_a_selection_and_a_merge_keep_what_evaluate_needs(tmp_path: Path) -> None:
    """The record is with a variable, so it survives what users do before they write."""
    data = cube()
    result = full_fit(data)
    other = fit(data, Const1D(1.0), "velocity", prefix="sky_", errors="ignore")
    merged = xr.merge([result.isel(y=slice(1, 3)), other.isel(y=slice(1, 3))], compat="override", join="exact")
    back = there_and_back(merged, tmp_path, "netcdf4")
    expected = result.modelfit.evaluate(data).isel(y=slice(1, 3))
    got = back.modelfit.evaluate(data.isel(y=slice(1, 3)), data="line")
    xr.testing.assert_equal(got, expected)


def plain(value: Any) -> bool:
    """Whether netCDF and zarr can hold an attr."""
    if isinstance(value, bool | np.bool_):
        return False
    if isinstance(value, str | numbers.Real | np.number):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf" and value.ndim == 1
    return isinstance(value, list) and len({type(v) for v in value}) == 1 and all(plain(v) for v in value)


def test_attrs_are_plain() -> None:
    """Text, numbers, and lists or arrays of them; no None, no bool, no mapping."""
    ties = {"amplitude": lambda m: 1.0}
    results = [
        full_fit(cube(), min_points=4, keep_failed=True),
        fit(cube(), Gaussian1D(2, 5, 1.5, tied=ties, fixed={"mean": True}), "velocity", sigma=0.1, errors="ignore"),
        fit(cube(), Chebyshev1D(2, domain=(0, 10)), "velocity", fitter=LinearLSQFitter(), errors="ignore"),
        fit(
            cube().rename(None),
            half_life(3.0, 0.1),
            "velocity",
            fitter=TRFLSQFitter(),
            fitter_kwargs={"maxiter": 50},
            errors="ignore",
        ),
    ]
    for result in results:
        for holder in (result, *result.variables.values()):
            assert all(isinstance(key, str) and plain(value) for key, value in holder.attrs.items()), holder.attrs


@pytest.mark.filterwarnings("ignore:The codec .vlen-utf8")
def test_the_covariance_goes_to_zarr_without_a_warning(tmp_path: Path) -> None:
    """Its labels are of the package's making, so the package must take a type that zarr can hold."""
    result = fit(cube().reset_coords(drop=True).drop_vars("x"), Gaussian1D(2, 5, 1.5), "velocity", covariance=True)
    back = there_and_back(result, tmp_path, "zarr")
    assert_came_back(back, result)
    assert back["covariance"].sel(cov_i="mean", cov_j="stddev").shape == (4, 3)


# --- encodings of the source

PACKED = {"dtype": "int16", "scale_factor": 0.001, "add_offset": 1.0, "_FillValue": -32768, "zlib": True}


def source(path: Path, kind: str) -> xr.DataArray:
    """The cube, opened from a packed and chunked file; its 2-D coordinate is packed as well."""
    ds = cube().to_dataset()
    if kind == "zarr":
        packed = {k: v for k, v in PACKED.items() if k != "zlib"}
        encoding: dict[str, Any] = {
            "flux": packed | {"chunks": (5, 3, 2)},
            "lat": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1, "chunks": (3, 2)},
            "quality": {"chunks": (1, 1)},
        }
        ds.to_zarr(path, encoding=encoding)
        return xr.open_zarr(path)["flux"]
    encoding = {
        "flux": PACKED | {"chunksizes": (5, 3, 2)},
        "lat": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1, "chunksizes": (3, 2)},
        "quality": {"dtype": "int8", "chunksizes": (1, 1)},
        "day": {"units": "days since 1990-01-01", "dtype": "int16"},
        "y": {"dtype": "uint8"},
        "velocity": {"dtype": "float32"},
    }
    unlimited = ["y"] if kind == "netCDF" else None
    ds.to_netcdf(path, engine="netcdf4", encoding=encoding, unlimited_dims=unlimited)
    chunks = {"y": 3, "x": 2} if kind == "chunked netCDF" else None
    return xr.open_dataset(path, engine="netcdf4", chunks=chunks)["flux"]


@text_in_zarr
@pytest.mark.parametrize("kind", ["netCDF", "chunked netCDF", "zarr"])
@every_format
def test_no_encoding_of_the_source_is_left(kind: str, engine: str, tmp_path: Path) -> None:
    """Packing, fill values, compression and chunks of the source say nothing about the result."""
    data = source(tmp_path / "source", kind)
    packed_as = data.encoding["scale_factor"], data.coords["lat"].encoding["scale_factor"]
    assert packed_as == (0.001, 0.01)
    result = full_fit(data)
    assert (result["line_fit_status"].chunks is not None) == (kind != "netCDF")
    for name, variable in result.variables.items():
        of_times = {"units", "calendar", "dtype"}
        assert set(variable.encoding) <= (of_times if variable.dtype.kind == "M" else set()), name
    assert not result.encoding
    back = there_and_back(result, tmp_path, engine)
    assert_came_back(back, result.compute())
    assert (data.encoding["scale_factor"], data.coords["lat"].encoding["scale_factor"]) == packed_as
    data.close()


@text_in_zarr
@pytest.mark.parametrize("kind", ["netCDF", "zarr"])
def test_evaluated_data_has_no_encoding_of_the_source(kind: str, tmp_path: Path) -> None:
    """Model values are not packed like the data, nor in its chunks; they come back as they are."""
    data = source(tmp_path / "source", kind)
    model = full_fit(data).modelfit.evaluate(data)
    assert not model.encoding
    for engine in ("netcdf4", "zarr"):
        back = there_and_back(model.to_dataset(name="model"), tmp_path, engine, engine)["model"]
        np.testing.assert_array_equal(back.values, model.values)
    data.close()


# --- a new process


def in_new_process(code: str, *arguments: Any) -> str:
    """Run code in another interpreter, warnings as errors; returns what it prints."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def spectra() -> xr.DataArray:
    """Three noisy spectra, the last one masked."""
    x = np.linspace(0.0, 10.0, 20)
    rng = np.random.default_rng(7)
    values = 2 + 3 * np.exp(-0.5 * (x - 4.5) ** 2) + rng.normal(0, 0.05, (3, 20))
    values[2] = np.nan
    return xr.DataArray(values, dims=("star", "v"), coords={"v": x, "star": ["a", "b", "c"]}, name="flux")


def stamps() -> xr.DataArray:
    """Three noisy images of an inclined ellipse, the last one masked."""
    y, x = np.arange(8.0), np.arange(9.0)
    values = Gaussian2D(3, 4, 3.5, 2.0, 1.0, theta=0.5)(x, y[:, None])
    values = values + np.random.default_rng(8).normal(0, 0.02, (3, 8, 9))
    values[2] = np.nan
    return xr.DataArray(values, dims=("star", "y", "x"), coords={"y": y, "x": x, "star": ["a", "b", "c"]}, name="flux")


def chebyshev() -> Model:
    return Chebyshev1D(3, domain=(0, 50), window=(-1, 1))


FITTED: dict[str, tuple[Callable[[], Model], Callable[[], xr.DataArray], Any, Any]] = {
    "gaussian": (lambda: Gaussian1D(3, 4, 1), lambda: spectra() - 2, "v", TRFLSQFitter()),
    "compound": (lambda: Gaussian1D(3, 4, 1, name="line") + Const1D(2, name="sky"), spectra, "v", TRFLSQFitter()),
    "chebyshev": (chebyshev, spectra, "v", LinearLSQFitter()),
    "ellipse": (lambda: Gaussian2D(3, 4, 3, 2.2, 0.8, theta=0.4), stamps, ("y", "x"), TRFLSQFitter()),
}

EVALUATE = """
    import sys
    from pathlib import Path
    import numpy as np
    import xarray as xr
    import xr_modelfit

    for path in sorted(Path(sys.argv[1]).glob("*.fit.nc")):
        stem = str(path).removesuffix(".fit.nc")
        result, data = xr.load_dataset(path), xr.load_dataset(stem + ".data.nc")
        out = xr.Dataset({"at_data": result.modelfit.evaluate(data["flux"])})
        one = result.isel(star=0).modelfit.to_model()
        every = result.modelfit.to_model()
        if "y" in data.dims:
            given = result.modelfit.evaluate(x=[1.0, 2.5], y=[3.0, 4.0, 5.0]).rename(x="x2", y="y2")
            x, y = np.meshgrid(data["x"], data["y"])
            row, table = one(x, y), every(x[..., None], y[..., None])
            out["table"] = ("y", "x", "star"), table
        else:
            given = result.modelfit.evaluate(v=[1.0, 2.5]).rename(v="v2")
            row, table = one(data["v"].values), every(data["v"].values[:, None])
            out["table"] = ("v", "star"), table
        out["given"] = given
        out["row"] = out["at_data"].isel(star=0).dims, row
        out.attrs["names"] = repr((one.param_names, getattr(one, "submodel_names", None)))
        out.to_netcdf(stem + ".out.nc")
"""


@pytest.fixture(scope="module")
def evaluated_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[xr.Dataset, xr.Dataset]]:
    """For a kind of model: the result here, and what another process makes of its file."""
    folder = tmp_path_factory.mktemp("elsewhere")
    results = {}
    for kind, (model, data, dim, fitter) in FITTED.items():
        results[kind] = fit(data(), model(), dim, fitter=fitter)
        data().to_netcdf(folder / f"{kind}.data.nc")
        results[kind].to_netcdf(folder / f"{kind}.fit.nc")
    in_new_process(EVALUATE, folder)
    return lambda kind: (results[kind], xr.load_dataset(folder / f"{kind}.out.nc"))


@pytest.mark.parametrize("kind", FITTED)
def test_a_file_evaluates_in_a_new_process(
    kind: str, evaluated_elsewhere: Callable[[str], tuple[xr.Dataset, xr.Dataset]]
) -> None:
    """At the data, at coordinates by name, and as an astropy model: what the result gives here."""
    result, there = evaluated_elsewhere(kind)
    model, make, _, _ = FITTED[kind]
    data = make()
    assert (result["fit_status"] > 0).sum() == 2
    here = result.modelfit.evaluate(data)
    assert here.dims == data.dims
    assert np.all(abs(here - data).isel(star=[0, 1]) < 4)
    assert here.isel(star=2).isnull().all()
    assert_close(there["at_data"], here)
    if kind == "ellipse":
        assert_close(there["given"], result.modelfit.evaluate(x=[1.0, 2.5], y=[3.0, 4.0, 5.0]))
    else:
        assert_close(there["given"], result.modelfit.evaluate(v=[1.0, 2.5]))
    one = model()
    one.parameters = [float(result[name][0]) for name in result.modelfit.params]
    grid = np.meshgrid(data["x"], data["y"]) if kind == "ellipse" else (data["v"].values,)
    assert_close(there["row"], one(*grid))
    assert_close(there["row"], here.isel(star=0))
    assert_close(there["table"].transpose(*data.dims), here)
    assert there.attrs["names"] == repr((one.param_names, getattr(one, "submodel_names", None)))


def assert_close(got: xr.DataArray, expected: Any) -> None:
    """To 1e-12 of the largest value: another process may sum in another way, nothing more."""
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.values, expected, rtol=1e-12, atol=1e-12 * np.nanmax(np.abs(expected)))


def test_the_model_that_comes_back_has_its_constraints(tmp_path: Path) -> None:
    """Fixed parameters, bounds, names, domain and window."""
    model = Gaussian1D(3, 4, 1, name="line", fixed={"stddev": True}, bounds={"mean": (3, None)}) + Const1D(2)
    result = there_and_back(fit(spectra(), model, "v"), tmp_path, "netcdf4")
    back = result.modelfit.to_model()
    assert (back[0].name, back[1].name) == ("line", None)
    assert back.fixed == {"amplitude_0": False, "mean_0": False, "stddev_0": True, "amplitude_1": False}
    assert tuple(back.bounds["mean_0"]) == (3, None)
    assert back.amplitude_0.shape == (3,)
    result = there_and_back(
        fit(spectra(), chebyshev(), "v", fitter=LinearLSQFitter()), tmp_path, "netcdf4", "polynomial"
    )
    assert tuple(result.modelfit.to_model().domain) == (0, 50)
    assert tuple(result.modelfit.to_model().window) == (-1, 1)


# --- models that are not astropy's


@custom_model
def half_life(x, start=1.0, rate=0.5):
    """Exponential decay to the base of two."""
    return start * 2.0 ** (-rate * x)


CUSTOM = """
    import sys
    import numpy as np
    import xarray as xr
    import xr_modelfit
    from astropy.modeling import custom_model

    result = xr.load_dataset(sys.argv[1])
    for method in (lambda: result.modelfit.evaluate(x=[1.0, 3.0]), lambda: result.modelfit.to_model()):
        try:
            method()
        except xr_modelfit.RecordError as error:
            print(error)

    @custom_model
    def half_life(x, start=1.0, rate=0.5):
        return start * 2.0 ** (-rate * x)

    values = result.modelfit.evaluate(x=[1.0, 3.0], model=half_life())
    print([repr(float(v)) for v in values.values.ravel()])
    model = result.isel(star=1).modelfit.to_model(model=half_life())
    print([repr(float(v)) for v in model(np.array([1.0, 3.0]))])
"""


def decays() -> xr.DataArray:
    """Two noisy decays."""
    x = np.linspace(0, 5, 15)
    values = half_life(3.0, 0.7)(x) + np.random.default_rng(3).normal(0, 0.02, (2, 15))
    return xr.DataArray(values, dims=("star", "x"), coords={"x": x})


def test_a_custom_model_is_known_in_the_same_process(tmp_path: Path) -> None:
    """It was fitted here, so it need not be asked for again."""
    result = fit(decays(), half_life(2.0, 0.5), "x")
    back = there_and_back(result, tmp_path, "netcdf4")
    xr.testing.assert_identical(back.modelfit.evaluate(decays()), result.modelfit.evaluate(decays()))
    assert type(back.modelfit.to_model()).__name__ == "half_life"


@pytest.mark.slow
def test_a_custom_model_is_asked_for_in_a_new_process(tmp_path: Path) -> None:
    """Without it the error says what to pass; with it, values are the same."""
    result = fit(decays(), half_life(2.0, 0.5), "x")
    path = write(result, tmp_path / "fit.nc", "netcdf4")
    evaluate, to_model, values, single = in_new_process(CUSTOM, path).splitlines()
    for message in (evaluate, to_model):
        assert "model=" in message
        assert "half_life" in message
    expected = result.modelfit.evaluate(x=[1.0, 3.0])
    np.testing.assert_allclose([float(v) for v in json.loads(values.replace("'", '"'))], expected.values.ravel(), 1e-12)
    np.testing.assert_allclose([float(v) for v in json.loads(single.replace("'", '"'))], expected.values[1], 1e-12)


def test_a_wrong_model_is_refused() -> None:
    """``model=`` must have the parameters that were fitted."""
    result = fit(decays(), half_life(2.0, 0.5), "x")
    with pytest.raises(RecordError, match=r"'slope', 'intercept'.*'start', 'rate'"):
        result.modelfit.evaluate(x=[1.0], model=Linear1D())


# --- records that nobody wrote

FOREIGN = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "xr_modelfit.tests.X",
    "xr_modelfit.call.fitting.fit",
    "a_module_that_tells.Model",
    "astropy.modeling.core.custom_model",
    "astropy.modeling.core.Model",
    "astropy.modeling.core.CompoundModel",
    "astropy.modeling.functional_models.np.load",
    "astropy.modeling.models.os.system",
    "astropy.modeling.../../evil",
    "astropy.modeling.a_module_that_tells.Model",
    "astropy.modeling.fitting.os",
    "astropy.modeling.functional_models.__builtins__",
    "astropy.modeling.core.Model.__subclasses__",
    "astropy.modeling.tests.test_models.NonFittableModel",
    "__import__('os').system('true')",
    "astropy.modeling.core;os.system",
    "os:system",
    "os:system:py3.11:0123456789abcdef",
    "subprocess:Popen:py3.11:0123456789abcdef",
    "subprocess:Popen.__init__.__globals__:py3.11:0123456789abcdef",
    "a_module_that_tells:Model:py3.11:0123456789abcdef",
    "a_package.a_module_that_tells:Model:py3.11:0123456789abcdef",
    "os;system:Model:py3.11:0123456789abcdef",
    "astropy.modeling.functional_models:Gaussian1D:py3.11:0123456789abcdef",
    ":::",
    "astropy.modeling",
    "astropy.modeling.",
    ".Gaussian1D",
    "Gaussian1D",
    "",
    None,
    3,
    ["os.system"],
]


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lays traps; the function that it gives asserts that none was stepped on."""
    called: list[str] = []
    monkeypatch.setattr(os, "system", lambda *a, **k: called.append("os.system"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: called.append("subprocess.Popen"))
    trap = tmp_path / "a_module_that_tells.py"
    trap.write_text(
        "from pathlib import Path\nfrom astropy.modeling.models import Gaussian1D as Model\n"
        "Path(__file__).with_suffix('.imported').touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop(trap.stem, None)

    def check() -> None:
        assert not called
        assert not trap.with_suffix(".imported").exists()
        assert "a_module_that_tells" not in sys.modules

    return check


@cache
def fitted_line() -> xr.Dataset:
    """A fit whose record many tests forge, each in a copy."""
    return fit(spectra() - 2, Gaussian1D(3, 4, 1), "v")


@cache
def fitted_sum() -> xr.Dataset:
    """The same of a compound."""
    return fit(spectra(), Gaussian1D(3, 4, 1) + Const1D(2), "v")


def forged(result: xr.Dataset, change: Callable[[dict[str, Any]], Any]) -> xr.Dataset:
    """The result with another record."""
    forgery = result.copy()
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    change(record)
    forgery["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    return forgery


@pytest.mark.parametrize("path", FOREIGN, ids=str)
@pytest.mark.parametrize("where", ["whole", "part", "custom", "only custom"])
def test_a_foreign_class_in_a_record_does_nothing_but_raise(
    path: Any, where: str, nothing_runs: Callable[[], None]
) -> None:
    """Nothing is imported or called for it, wherever in the record it stands."""
    result = fitted_sum()

    def change(record: dict[str, Any]) -> None:
        tree = record["model"]
        target = tree["right"] if where == "part" else tree
        if where == "whole":
            target = record["model"] = dict(tree["right"])
        if where in ("custom", "only custom"):
            target = record["model"]["left"]
            target["custom"] = path
        if where != "only custom":
            target["class"] = path

    forgery = forged(result, change)
    for method in (lambda: forgery.modelfit.evaluate(v=[1.0]), lambda: forgery.modelfit.to_model()):
        with pytest.raises(RecordError, match="model="):
            method()
    nothing_runs()


@pytest.mark.parametrize("path", ["os:system", "builtins:eval", "a_module_that_tells:Model", "os:system:py3.11:0", 3])
def test_a_foreign_tie_in_a_record_is_lost(path: str, nothing_runs: Callable[[], None]) -> None:
    """The path of a tie is for people to read."""
    result = fitted_line()
    forgery = forged(result, lambda r: r["model"].update(tied={"mean": {"path": path, "key": path}}))
    assert forgery.modelfit.to_model().tied["mean"] is False
    xr.testing.assert_equal(forgery.modelfit.evaluate(v=[1.0]), result.modelfit.evaluate(v=[1.0]))
    nothing_runs()


STATES: list[Any] = [
    {"__class__": "os.system"},
    {"__dict__": "os.system"},
    {"evaluate": "os.system"},
    {"evaluate": 3},
    {"copy": "os.system"},
    {"param_names": {"quantity": ["os", "system"]}},
    {"_parameters": {"quantity": ["os", "system"]}},
    {"amplitude": {"quantity": [1.0, "__import__('os').system('true')"]}},
    "os.system",
    ["os.system"],
]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_foreign_state_in_a_record_runs_nothing(state: Any, nothing_runs: Callable[[], None]) -> None:
    """What a record says that a model holds besides its parameters: plain values, which nothing calls."""
    result = fitted_line()
    forgery = forged(result, lambda r: r["model"].update(state=state))
    for method in (lambda: forgery.modelfit.evaluate(v=[1.0]), lambda: forgery.modelfit.to_model()):
        with pytest.raises(RecordError):
            method()
    nothing_runs()


def nested(tree: dict[str, Any], depth: int, side: str) -> dict[str, Any]:
    """The model inside so many sums."""
    for _ in range(depth):
        parts = (tree, {"class": "os.system"}) if side == "left" else ({"class": "os.system"}, tree)
        tree = {"op": "+", "name": None, "left": parts[0], "right": parts[1]}
    return tree


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("depth", [100, 400])
def test_a_deep_record_does_nothing_but_raise(depth: int, side: str, nothing_runs: Callable[[], None]) -> None:
    """As deep as JSON can be written."""
    result = fitted_line()
    forgery = forged(result, lambda r: r.update(model=nested(r["model"], depth, side)))
    with pytest.raises(RecordError):
        forgery.modelfit.evaluate(v=[1.0])
    nothing_runs()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1, "model": ' + '{"left":' * 50_000])
def test_a_record_that_is_deeper_than_can_be_read(text: str) -> None:
    """Deeper than Python goes."""
    result = fitted_line().copy()
    result["fit_status"].attrs["modelfit_record"] = text
    with pytest.raises(RecordError):
        result.modelfit.evaluate(v=[1.0])


WRONG: list[Any] = [None, 3, -1e308, True, "os.system", [], {}, [[["x"]]], {"op": "fix_inputs"}]


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a record."""
    yield at
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*at, key))


def of_a_compound() -> tuple[xr.Dataset, xr.DataArray]:
    plane = fix_inputs(Planar2D(1, 2, 3, fixed={"slope_y": True, "intercept": True}), {"y": 1.5})
    tie = {"c1": lambda m: 1.0}
    model = (plane + Chebyshev1D(1, domain=(0, 4), tied=tie)) * Const1D(2, fixed={"amplitude": True})
    return fit(spectra()[:2], model, "v", errors="ignore", keep_failed=True), spectra()[:2]


def of_units() -> tuple[xr.Dataset, xr.DataArray]:
    data = spectra()[:2].assign_attrs(units="K")
    data = data.assign_coords(v=data["v"].assign_attrs(units="km/s"))
    model = Gaussian1D(3 * u.K, 4000 * u.m / u.s, 1 * u.km / u.s, bounds={"mean": (100, None)}) + Const1D(2 * u.K)
    return fit(data, model, "v"), data


def of_dates() -> tuple[xr.Dataset, xr.DataArray]:
    days = np.datetime64("2020-01-01", "ns") + np.arange(9) * np.timedelta64(1, "D")
    data = xr.DataArray(np.arange(9.0)[None], dims=("star", "t"), coords={"t": days})
    return fit(data, Linear1D(), "t"), data


def of_an_equivalency() -> tuple[xr.Dataset, xr.DataArray]:
    nm = np.linspace(400.0, 900.0, 9)
    frequency = (nm * u.nm).to(u.Hz, u.spectral())
    values = BlackBody(5000 * u.K)(frequency)
    data = xr.DataArray(values.value[None], dims=("star", "w"), coords={"w": ("w", nm, {"units": "nm"})})
    data = data.assign_attrs(units=str(values.unit))
    return fit(data, BlackBody(4800 * u.K), "w"), data


@pytest.mark.slow
@pytest.mark.parametrize("make", [of_a_compound, of_units, of_dates, of_an_equivalency])
def test_anything_anywhere_in_a_record(
    make: Callable[[], tuple[xr.Dataset, xr.DataArray]], nothing_runs: Callable[[], None]
) -> None:
    """Wherever it stands it makes no difference, or an error that says so, none of Python's own; and nothing runs."""
    result, data = make()
    text = result["fit_status"].attrs["modelfit_record"]
    result.modelfit.evaluate(data)
    for place in places(json.loads(text)):
        for wrong in WRONG:
            record = json.loads(text)
            node = record
            for key in place[:-1]:
                node = node[key]
            if place:
                node[place[-1]] = wrong
            result["fit_status"].attrs["modelfit_record"] = json.dumps(record if place else wrong)
            for method in (
                lambda: result.modelfit.evaluate(data),
                result.modelfit.to_model,
                lambda: result.modelfit.ok,
            ):
                with contextlib.suppress(ValueError):
                    method()
    nothing_runs()


def set_model(record: dict[str, Any], tree: Any) -> None:
    record["model"] = tree


DAMAGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no model": lambda r: r.pop("model"),
    "no names": lambda r: r.pop("names"),
    "no inputs": lambda r: r.pop("inputs"),
    "no data": lambda r: r.pop("data"),
    "no class": lambda r: r["model"].pop("class"),
    "no values": lambda r: r["model"].pop("values"),
    "model is a list": lambda r: set_model(r, []),
    "model is text": lambda r: set_model(r, "os.system('true')"),
    "unknown operator": lambda r: set_model(r, {"op": "os.system", "name": None, "left": r["model"], "right": []}),
    "unknown argument": lambda r: r["model"]["arguments"].update(no_such_argument=1),
    "another format": lambda r: r.update(format=2),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_record_raises_a_record_error(fault: str) -> None:
    """Not an error of Python's from somewhere inside."""
    forgery = forged(fitted_line(), DAMAGED[fault])
    with pytest.raises(RecordError):
        forgery.modelfit.evaluate(spectra())


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '{"format": null}', 5])
def test_a_record_that_is_none_raises_a_record_error(text: Any) -> None:
    """Text that is no record at all."""
    result = fitted_line().copy()
    result["fit_status"].attrs["modelfit_record"] = text
    for method in (lambda: result.modelfit.evaluate(v=[1.0]), lambda: result.modelfit.ok, result.modelfit.report):
        with pytest.raises(RecordError):
            method()
