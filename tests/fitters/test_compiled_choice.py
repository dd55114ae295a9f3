"""Which engine does a call, and where compiled code is kept: in this process, and in files that others read."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Gaussian1D, Lorentz1D, Voigt1D
from numpy.testing import assert_array_equal

import xr_modelfit
from support.problems import problem_of
from xr_modelfit import BatchLSQFitter
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.tracing.source import written
from xr_modelfit.tracing.tracing import traced

pytest.importorskip("numba", reason="the engine that numba compiles")
from xr_modelfit.fitters.compiled import choice, kernels

pytestmark = pytest.mark.quick_share(3)

BEGIN = """
import json, sys
import numpy as np
import xarray as xr
from astropy.modeling.models import Gaussian1D
import xr_modelfit
from xr_modelfit import BatchLSQFitter
x = np.linspace(-5, 5, 40)
data = xr.DataArray(np.exp(-0.5 * (x - 0.3) ** 2) + np.zeros((50, 1)), dims=("p", "x"), coords={"x": x})
def fit(engine="auto"):
    result = xr_modelfit.fit(data, Gaussian1D(1.1, 0.1, 1.2), "x", fitter=BatchLSQFitter(engine=engine))
    return json.loads(result["fit_status"].attrs["modelfit_record"])["engine"]
"""


def run(code: str, folder: Path | str) -> str:
    """What a new process prints."""
    environment = os.environ | {"XR_MODELFIT_CACHE": str(folder)}
    command = [sys.executable, "-W", "error", "-c", BEGIN + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def engine_of(fit: xr.Dataset) -> str:
    return json.loads(fit["fit_status"].attrs["modelfit_record"])["engine"]


def lines(fits: int = 1000) -> xr.DataArray:
    x = np.linspace(-5, 5, 40)
    y = np.exp(-0.5 * (x - np.linspace(-1, 1, fits)[:, None]) ** 2)
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x})


LINE = Gaussian1D(1.1, 0.1, 1.2)
SOURCE = written(traced(problem_of(LINE)))


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for compiled code that does not exist yet, and a process that knows no model."""
    monkeypatch.setattr(kernels, "_READY", {})
    monkeypatch.setenv("XR_MODELFIT_CACHE", str(tmp_path / "new" / "folder"))
    return tmp_path / "new" / "folder"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def works() -> None:
    """The compiled functions give the values of the model, whatever became of their files."""
    x = [np.linspace(-5, 5, 40)]
    assert choice.compiled_source(find_traits(problem_of(LINE), x), x, "numba", 1, 40) == SOURCE


# --- choice


@pytest.mark.slow
def test_small_calls_neither_compile_nor_import_numba(tmp_path: Path) -> None:
    """Nor does any call with ``engine="numpy"``."""
    code = """
print(fit(), fit("numpy"), "numba" in sys.modules)
from xr_modelfit.fitters.compiled import choice
choice._ENOUGH = 1
print(fit("numpy"), "numba" in sys.modules)
"""
    assert run(code, tmp_path).split() == ["numpy", "numpy", "False", "numpy", "False"]
    assert not files(tmp_path)


@pytest.mark.slow
def test_without_numba_numpy_serves_and_a_call_for_the_other_says_what_to_install(tmp_path: Path) -> None:
    code = """
sys.modules["numba"] = None
from xr_modelfit.fitters.compiled import choice
choice._ENOUGH = 1
print(fit())
try:
    fit("numba")
except ImportError as error:
    print(error)
"""
    engine, message = run(code, tmp_path).split("\n")
    assert engine == "numpy"
    assert "pip install numba" in message


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [None, {"p": 500}])
def test_what_was_compiled_before_decides_nothing(chunks: dict[str, int] | None, monkeypatch) -> None:
    """A call has the same engine today and tomorrow, computed or lazy."""
    data = lines() if chunks is None else lines().chunk(chunks)
    assert engine_of(xr_modelfit.fit(data, LINE, "x")) == "numpy"
    xr_modelfit.fit(lines(), LINE, "x", fitter=BatchLSQFitter(engine="numba"))  # it is in memory from here on
    assert SOURCE in kernels._READY
    assert engine_of(xr_modelfit.fit(data, LINE, "x")) == "numpy"
    monkeypatch.setattr(choice, "_ENOUGH", data.size)
    assert engine_of(xr_modelfit.fit(data, LINE, "x")) == "numba"


@pytest.mark.parametrize(("model", "engine"), [(LINE, "numpy"), (Voigt1D(0.1, 1.1, 0.9, 1.2), "numba")])
def test_dear_functions_are_worth_compiling_sooner(model: Any, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """4000 samples of a Voigt profile cost NumPy what 32 000 of a Gaussian do."""
    monkeypatch.setattr(choice, "_ENOUGH", 2e4)
    data = lines(100).chunk({"p": 50})
    assert engine_of(xr_modelfit.fit(data, model, "x")) == engine


@pytest.mark.parametrize("chunks", [None, {"p": 500}])
@pytest.mark.parametrize(("enough", "engine"), [pytest.param(4e4, "numba", marks=pytest.mark.slow), (4e4 + 1, "numpy")])
def test_the_number_of_samples_decides(
    enough: float, engine: str, chunks: dict[str, int] | None, folder: Path, monkeypatch
) -> None:
    """With nothing in memory and no files."""
    monkeypatch.setattr(choice, "_ENOUGH", enough)
    data = lines() if chunks is None else lines().chunk(chunks)
    assert engine_of(xr_modelfit.fit(data, LINE, "x")) == engine


@pytest.mark.parametrize(
    ("fits", "asked", "engine"), [(7, "auto", "numpy"), (8, "auto", "numba"), (1, "numba", "numba")]
)
def test_lanes_that_would_be_empty_are_left_to_numpy(fits: int, asked: Any, engine: str, monkeypatch) -> None:
    """Unless they are asked for."""
    monkeypatch.setattr(choice, "_ENOUGH", 1)
    x = np.linspace(-5, 5, 4000)
    y = np.exp(-0.5 * (x - np.linspace(-1, 1, fits)[:, None]) ** 2)
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": x})
    assert engine_of(xr_modelfit.fit(data, LINE, "x", fitter=BatchLSQFitter(engine=asked))) == engine


@pytest.mark.parametrize(("n_samples", "source"), [(2**18, SOURCE), (2**18 + 1, None)])
def test_very_long_fits_stay_with_numpy(n_samples: int, source: str | None) -> None:
    """Eight of them side by side would take much memory."""
    x = [np.linspace(-5, 5, 40)]
    problem = find_traits(problem_of(LINE), x)
    assert choice.compiled_source(problem, x, "numba", 8, n_samples) == source


def test_a_job_that_is_taken_up_again_goes_on_with_its_engine(tmp_path: Path) -> None:
    """Begun when nothing was compiled, ended when everything was."""
    pytest.importorskip("zarr", reason="stores")
    data = lines().chunk({"p": 250})
    whole = xr_modelfit.fit(data, LINE, "x").compute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_READY", {})
        xr_modelfit.fit(data, LINE, "x").modelfit.to_zarr(tmp_path / "fit.zarr")
    xr_modelfit.fit(lines(), LINE, "x", fitter=BatchLSQFitter(engine="numba"))
    assert SOURCE in kernels._READY
    xr_modelfit.fit(data, LINE, "x").modelfit.to_zarr(tmp_path / "fit.zarr", resume=True)
    stored = xr.open_zarr(tmp_path / "fit.zarr")
    assert engine_of(stored) == "numpy"
    assert_array_equal(stored["mean"], whole["mean"])


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_linear_models_are_solved_directly_whatever_the_engine(engine: str) -> None:
    fit = xr_modelfit.fit(lines(3), Const1D(1), "x", fitter=BatchLSQFitter(engine=engine))
    assert engine_of(fit) == "numpy"
    assert_array_equal(fit["n_iter"], 1)


# --- files


@pytest.mark.slow
def test_files_are_written_once_and_read_by_other_processes(tmp_path: Path) -> None:
    """The second process adds none and changes none; in a folder of their own, as other tests compile beside."""
    assert run('print(fit("numba"))', tmp_path) == "numba"
    before = files(tmp_path)
    assert any(name.startswith("model_") and name.endswith(".nbc") for name in before)
    assert any(name.startswith("loop_") for name in before)
    assert run('print(fit("numba"))', tmp_path) == "numba"
    assert files(tmp_path) == before


def test_a_missing_folder_is_made_and_only_its_owner_may_enter(folder: Path) -> None:
    works()
    assert any(name.endswith(".nbc") for name in files(folder))
    assert os.name != "posix" or folder.stat().st_mode & 0o077 == 0
    assert kernels._folder() == folder


def test_an_empty_name_keeps_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XR_MODELFIT_CACHE", "")
    monkeypatch.chdir(tmp_path)
    works()
    assert not files(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_no_error(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    works()
    assert folder.read_text() == "not a folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("filled", [False, True])
def test_a_folder_that_cannot_be_written_to_is_no_error(folder: Path, filled: bool, monkeypatch) -> None:
    folder.mkdir(parents=True)
    if filled:
        works()
        monkeypatch.setattr(kernels, "_READY", {})
    folder.chmod(0o500)
    try:
        works()
    finally:
        folder.chmod(0o700)


DAMAGE = {
    "empty": lambda b: b"",
    "cut": lambda b: b[: len(b) // 2],
    "garbage": lambda b: bytes(255 - v for v in b),
    "of another kind": lambda b: b"\x80\x04K\x01.",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("ending", ["nbi", "nbc", "py"])
def test_damaged_files_are_no_error_and_are_replaced(how: str, ending: str, folder: Path, monkeypatch) -> None:
    """Compiled again: by this process, and kept by the next."""
    works()
    for path in folder.rglob(f"model_*.{ending}"):
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    for _ in range(3):
        monkeypatch.setattr(kernels, "_READY", {})
        works()
    assert kernels.kernels(SOURCE).columns.cache_hits == 1


@pytest.mark.slow
@pytest.mark.parametrize(("how", "ending"), [("cut", "nbc"), ("empty", "nbi")])
def test_damaged_files_of_the_loops_are_no_error_and_are_replaced(
    how: str, ending: str, compiled_code: Path, tmp_path: Path
) -> None:
    run('print(fit("numba"))', compiled_code)
    folder = tmp_path / "copied"
    shutil.copytree(compiled_code, folder)
    for path in folder.rglob(f"judge_all*.{ending}"):
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    run('print(fit("numba"))', folder)
    before = files(folder)
    assert run('print(fit("numba"))', folder) == "numba"
    assert files(folder) == before


def test_a_full_disk_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is compiled all the same."""
    from numba.core import caching

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_index", full)
    works()


def test_threads_that_need_a_model_at_the_same_time_share_it(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(kernels.kernels, [SOURCE] * 8))
    assert all(one is found[0] for one in found)
    works()


@pytest.mark.slow
def test_processes_that_compile_the_same_model_at_the_same_time(folder: Path) -> None:
    """Each gets right functions, and the files they leave are whole."""
    code = f"""
from xr_modelfit.fitters.compiled.kernels import kernels
source = {SOURCE!r}
kernels(source)
print("compiled")
"""
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: run(code, folder), range(3))) == ["compiled"] * 3
    works()


def test_other_code_has_another_source_and_other_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the model, or of this package."""
    kernels.kernels(SOURCE)
    before = set(files(folder))
    other = written(traced(problem_of(Lorentz1D(1, 0, 1))))
    assert other != SOURCE
    kernels.kernels(other)
    assert before < set(files(folder))
    assert written(traced(problem_of(Gaussian1D(7, 8, 9)))) == SOURCE  # values are no code
    assert written(traced(problem_of(Gaussian1D(1, 0, 1, fixed={"mean": True})))) != SOURCE
    name = kernels._name(SOURCE, "model")
    monkeypatch.setattr(kernels, "_digest", lambda: "another version")
    assert kernels._name(SOURCE, "model") != name
