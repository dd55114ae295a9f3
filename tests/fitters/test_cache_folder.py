"""The folder of compiled code: the user's own or none, and nothing in it is run that was not put there by us."""

import importlib
import os
import pickle
import random
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit
from xr_modelfit import BatchLSQFitter
from xr_modelfit.fitters.compiled import cache_folder, kernels

pytest.importorskip("numba", reason="the compiled engine")
posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")

SOURCE = """
def sums(n, stride, D, p, out):
    pass

def columns(i, n, stride, k, D, p, out):
    pass
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that knows no model, and has told nothing."""
    monkeypatch.setattr(kernels, "_READY", {})
    monkeypatch.setattr(cache_folder, "_REASONS", {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without anything, who works in a folder that came from somewhere else."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "foreign").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path / "foreign")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("XR_MODELFIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the variable names; it is not there yet."""
    monkeypatch.setenv("XR_MODELFIT_CACHE", str(home / "kept"))
    return home / "kept"


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that must not be read; the test fails if it was."""
    found = pickle.dumps(Trap(tmp_path / "sprung"))
    yield found
    assert not (tmp_path / "sprung").exists(), "a planted pickle was read"


def compiled() -> int:
    """Compile, as a new process would; how many of the functions came from files."""
    kernels._READY.clear()
    found = kernels.kernels(SOURCE)
    return int(found.sums.cache_hits) + int(found.columns.cache_hits)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("__pycache__/model_*.nb[ic]"))


def planted(folder: Path, content: bytes) -> None:
    """Files under the names that numba looks for, all of this content."""
    made = kernels._folder()
    assert made is not None
    compiled()
    (folder / "__pycache__").mkdir(parents=True, exist_ok=True)
    for path in (*files(made), *made.glob("model_*.py")):
        place = folder / path.relative_to(made)
        place.write_bytes(content if path.suffix != ".py" else path.read_bytes())
        os.utime(place, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))


# --- where it is


@pytest.mark.skipif(sys.platform != "linux", reason="the rules are those of XDG")
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "XR_MODELFIT_CACHE"])
@pytest.mark.parametrize("value", [None, "relative", ".", "~/kept"])
def test_variables_that_are_unset_or_relative_mean_the_usual_folder(
    variable: str, value: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(variable, value)
    assert kernels._folder() == home / ".cache" / "xr_modelfit"
    assert not list(Path.cwd().iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the rules are those of XDG")
def test_an_empty_xdg_variable_counts_as_unset_and_an_absolute_one_is_followed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert kernels._folder() == home / ".cache" / "xr_modelfit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
    assert kernels._folder() == home / "caches" / "xr_modelfit"


def test_an_empty_name_of_ours_means_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XR_MODELFIT_CACHE", "")
    assert kernels._folder() is None
    assert not list(home.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the rules are those of XDG")
def test_a_home_that_is_relative_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "somewhere")
    assert kernels._folder() is None


@posix
def test_it_is_made_for_its_owner_alone_with_all_it_lies_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / "a" / "b"
    monkeypatch.setenv("XR_MODELFIT_CACHE", str(deep))
    assert kernels._folder() == deep
    for made in (folder, folder / "a", deep, deep / "__pycache__"):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_numbas_own_variable_changes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import config

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "numbas"))
    compiled()
    assert len(files(folder)) == 4
    assert not (tmp_path / "numbas").exists()
    assert str(tmp_path / "numbas") == config.CACHE_DIR


# --- whose it is


def unused(folder: Path, why: str) -> None:
    """The folder is left alone, which is told once; compiling works."""
    before = files(folder)
    assert kernels._folder() is None
    assert compiled() == 0
    with pytest.warns(UserWarning, match=why):
        cache_folder.tell_unused()
    cache_folder.tell_unused()  # warnings are errors
    assert files(folder) == before


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(mode: int, folder: Path, trap: bytes) -> None:
    planted(folder, trap)
    folder.chmod(mode)
    unused(folder, "others can write to")


@posix
def test_nor_one_whose_inner_folder_others_can_write_to(folder: Path, trap: bytes) -> None:
    planted(folder, trap)
    (folder / "__pycache__").chmod(0o777)
    unused(folder, "others can write to .*__pycache__")


@posix
def test_nor_one_of_another_user(folder: Path, trap: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(folder, trap)
    monkeypatch.setattr(cache_folder, "_me", lambda: os.geteuid() + 1)
    unused(folder, "belongs to another user")


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone may give files away")
def test_not_even_for_root(folder: Path, trap: bytes) -> None:
    planted(folder, trap)
    os.chown(folder, 65534, 65534)
    unused(folder, "belongs to another user")


@posix
@pytest.mark.parametrize(("mode", "used"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_a_folder_that_could_be_exchanged_is_not_used(mode: int, used: bool, folder: Path) -> None:
    """What everybody can write to must at least leave to each what is theirs, as /tmp does."""
    kernels._folder()
    folder.parent.chmod(mode)
    try:
        if used:
            assert kernels._folder() == folder
        else:
            unused(folder, "everybody can write to")
    finally:
        folder.parent.chmod(0o700)


@posix
def test_a_link_is_followed_to_what_it_names(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    assert kernels._folder() == target
    target.chmod(0o777)
    unused(folder, "others can write to .*target")


@posix
def test_the_call_warns_once(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    x = np.linspace(-5, 5, 40)
    data = xr.DataArray(np.exp(-(x**2) / 2) * np.ones((8, 1)), dims=("p", "x"), coords={"x": x})

    def fit() -> None:  # lazy, so that the model alone is compiled
        xr_modelfit.fit(data.chunk(p=4), Gaussian1D(1.1, 0.1, 1.2), "x", fitter=BatchLSQFitter(engine="numba"))

    with pytest.warns(UserWarning, match="XR_MODELFIT_CACHE") as told:
        fit()
    assert [w.filename for w in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit()


# --- what is in it


def test_nothing_is_read_from_the_working_directory(
    home: Path, trap: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A foreign folder that was unpacked, with what an empty or relative name would find in it."""
    monkeypatch.setenv("XR_MODELFIT_CACHE", str(home / "kept"))
    for name in ("xr_modelfit", "relative/xr_modelfit", "relative"):
        planted(Path.cwd() / name, trap)
    monkeypatch.delenv("XR_MODELFIT_CACHE")
    for variable in ("XDG_CACHE_HOME", "XR_MODELFIT_CACHE"):
        for value in ("relative", "."):
            monkeypatch.setenv(variable, value)
            compiled()
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_planted_pickle_is_not_read_even_in_the_users_own_folder(sealed: bool, folder: Path, trap: bytes) -> None:
    """The seal is that of other files, or there is none."""
    planted(folder, trap)
    if not sealed:
        for path in folder.glob("__pycache__/*.seal"):
            path.unlink()
    assert compiled() == 0
    assert compiled() == 2


@posix
def test_files_of_another_user_are_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled()
    assert compiled() == 2
    for path in files(folder)[:1]:
        path.chmod(0o666)
    assert compiled() == 0
    assert compiled() == 2
    for path in files(folder)[:1]:
        path.rename(folder / "elsewhere")
        path.symlink_to(folder / "elsewhere")
    assert compiled() == 0
    assert compiled() == 2


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """A file that was cut off, lengthened, or changed in a byte."""
    at = rng.randrange(len(content))
    changed = bytes([content[at] ^ (1 + rng.randrange(255))])
    return rng.choice([content[:at], content + changed, content[:at] + changed + content[at + 1 :], b""])


@pytest.mark.slow
def test_two_thousand_damaged_files_are_never_unpickled(folder: Path) -> None:
    """Those of numba are removed unread; one in 250 is compiled anew, and is right."""
    rng = random.Random(3)
    compiled()
    name = kernels._name(SOURCE, "model")
    whole = {path: path.read_bytes() for path in folder.glob("__pycache__/*")}
    removed = 0
    for number in range(2000):
        path = rng.choice(sorted(whole))
        path.write_bytes(_damaged(whole[path], rng))
        if number % 250 == 0:
            assert compiled() == 0
            assert compiled() == 2
        else:
            cache_folder.remove_unsealed(folder, name)
            removed += not files(folder)
        for one, content in whole.items():
            one.write_bytes(content)
    assert removed == 2000 - 8


def test_what_is_compiled_is_known_by_all_modules_that_it_comes_from() -> None:
    """All modules of the things that compiled code names are taken in, so that a change of one is seen."""
    package, reached = "xr_modelfit.fitters.compiled", set()
    waiting = [f"{package}.{name}" for name in ("levenberg", "maths", "faddeeva")]
    while waiting:
        name = waiting.pop()
        if name not in reached and name.startswith((f"{package}.", "xr_modelfit.tracing.")):
            reached.add(name)
            waiting += [str(getattr(v, "__module__", "")) for v in vars(importlib.import_module(name)).values()]
    taken = kernels._taken_in()
    assert {name.removeprefix("xr_modelfit.") for name in reached} <= set(taken)
    assert {"fitters.compiled.gammas", "tracing.source"} <= set(taken)
