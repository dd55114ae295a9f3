"""Fits in several processes, without a main guard, wherever the code comes from."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Linear1D

import xr_modelfit  # noqa: F401  registers .modelfit
from xr_modelfit.execution import process_pool

CODE = """
import os
import numpy as np
import xarray as xr
import xr_modelfit
from astropy.modeling import custom_model
from astropy.modeling.fitting import TRFLSQFitter

print("begin", flush=True)  # once, whoever starts processes

@custom_model
def line(x, a=1.1, c=0.1):
    return a * np.exp(-0.5 * (x - c) ** 2)

class Noted(TRFLSQFitter):
    def __call__(self, model, x, y, **options):
        open(os.path.join(FOLDER, str(os.getpid())), "a").close()
        return super().__call__(model, x, y, **options)

x = np.linspace(-5, 5, 30)
y = np.exp(-0.5 * (x - np.linspace(-1, 1, N)[:, None]) ** 2)
fit = xr.DataArray(y, dims=("p", "x"), coords={"x": x}).modelfit(line(), "x", fitter=Noted()OPTIONS)
print(int((fit["fit_status"] > 0).sum()), float(abs(fit["c"] - np.linspace(-1, 1, N)).max()) < 1e-6)
"""


def code(folder: Path, n: int, options: str) -> str:
    (folder / "seen").mkdir()
    return CODE.replace("FOLDER", repr(str(folder / "seen"))).replace("N)", f"{n})").replace("OPTIONS", options)


def run(way: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in one of the ways in which people do."""
    path, given, command = folder / "script.py", None, [sys.executable, "-W", "error"]
    if way == "a script":
        path.write_text(text)
        command += [str(path)]
    elif way == "a module":
        path.write_text(text)
        command += ["-m", "script"]
    elif way == "piped":
        command, given = [*command, "-"], text
    elif way == "-c":
        command += ["-c", text]
    else:  # as a kernel runs it: compiled under another name, in the namespace of __main__
        path.write_text(f"import sys\nexec(compile({text!r}, '<cell 1>', 'exec'), vars(sys.modules['__main__']))\n")
        command += [str(path)]
    return subprocess.run(command, input=given, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a script", "a module", "piped", "-c", "a cell"])
@pytest.mark.parametrize(
    ("n", "options"), [(8, ", scheduler='processes', fits_per_chunk=2"), pytest.param(2000, "", marks=pytest.mark.slow)]
)
def test_no_guard_is_needed(way: str, n: int, options: str, tmp_path: Path) -> None:
    """A model and a fitter of ``__main__`` are fitted in other processes, and ``__main__`` runs once."""
    done = run(way, code(tmp_path, n, options), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["begin", f"{n} True", ""]
    # An old zarr installs crc32c, and the numcodecs of today warns of it in each process, whatever the filters are.
    assert [line for line in done.stderr.splitlines() if "numcodecs" not in line] == []
    seen = list((tmp_path / "seen").iterdir())
    assert len(seen) > (1 if n > 1000 and (os.cpu_count() or 1) > 1 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a script", "piped"])
def test_a_store_needs_no_guard_either(way: str, tmp_path: Path) -> None:
    """A lazy result, of which dask's own processes would run the script again."""
    pytest.importorskip("zarr")
    text = code(tmp_path, 8, "").replace('.modelfit(line(), "x"', '.chunk(p=4).modelfit(line(), "x", fits_per_chunk=2')
    text = text.replace(
        "print(int((", f"fit = fit.modelfit.to_zarr({str(tmp_path / 'a.zarr')!r}, scheduler='processes')\nprint(int(("
    )
    done = run(way, text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["begin", "8 True", ""]
    assert list((tmp_path / "seen").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    """At once, whatever is left to fit, and with nothing said but the interruption."""
    text = code(tmp_path, 40, ", scheduler='processes', fits_per_chunk=2")
    text = text.replace("return super", "import time; time.sleep(60); return super")
    path = tmp_path / "script.py"
    path.write_text(text)
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until = time.monotonic() + 300
        while not list((tmp_path / "seen").iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, told = process.communicate(timeout=50)
    assert time.monotonic() - begin < 45
    assert process.returncode != 0
    assert told.count("KeyboardInterrupt") == 1
    for path in (tmp_path / "seen").iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_main_is_as_it_was(tmp_path: Path) -> None:
    """What is hidden while processes start is there again."""
    main = sys.modules["__main__"]
    before = {name: vars(main).get(name, "nothing") for name in ("__spec__", "__file__", "__name__")}
    with process_pool._without_main():
        assert main.__spec__ is None
        assert not hasattr(main, "__file__")
    assert {name: vars(main).get(name, "nothing") for name in before} == before


@pytest.mark.slow
def test_an_error_in_a_process_is_that_of_the_call() -> None:
    def fails(array: np.ndarray) -> np.ndarray:
        if array[0] == 3:
            raise ArithmeticError("the third")
        return array

    seen: list[int] = []
    with pytest.raises(ArithmeticError, match="the third"):
        process_pool.each_in_processes(fails, 9, lambda i: [np.full(2, i)], lambda i, values: seen.append(i), 2)
    assert 3 not in seen


@pytest.mark.slow
def test_the_numbers_are_those_of_one_process() -> None:
    x = np.linspace(0, 1, 9)
    data = xr.DataArray(np.random.default_rng(0).normal(size=(3, 5, 9)), dims=("a", "b", "x"), coords={"x": x})
    options = {"fitter": TRFLSQFitter(), "fits_per_chunk": 4, "where": data > -2, "p0": {"slope": data.isel(x=0)}}
    here = data.modelfit(Linear1D(), "x", scheduler="synchronous", **options)
    xr.testing.assert_identical(data.modelfit(Linear1D(), "x", scheduler="processes", **options), here)
