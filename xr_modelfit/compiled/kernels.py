"""The functions of a model, compiled from their source and kept: in this process, and in files for later ones."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from xr_modelfit.extras import needed

__all__ = ["Kernels", "are_kept", "are_ready", "kernels", "loop"]

_READY: dict[str, Kernels] = {}
_LOOP: list[Any] = []
_LOCK = threading.RLock()
_TAKEN_IN = (
    "algebra",
    "faddeeva",
    "judging",
    "lanes",
    "levenberg",
    "maths",
    "source",
    "vectors",
)  # modules whose code is compiled


class Kernels(NamedTuple):
    """Compiled functions of one model; see `xr_modelfit.compiled.source`.

    Parameters
    ----------
    sums, columns, tied : object
        Compiled functions with an ``address`` and a ``ctypes`` form.
    """

    sums: Any
    columns: Any
    tied: Any

    @property
    def addresses(self) -> tuple[int, int, int]:
        return self.sums.address, self.columns.address, 0 if self.tied is None else self.tied.address


def kernels(source: str) -> Kernels:
    """The compiled functions of ``source``; compiled, or read from a file, once a process.

    Raises
    ------
    ImportError
        numba is not installed.
    numba.core.errors.NumbaError
        The source cannot be compiled.
    """
    with _LOCK:
        if source not in _READY:
            _READY[source] = _compiled(source)
        return _READY[source]


def are_ready(source: str) -> bool:
    """Whether they, and the loop, are compiled in this process."""
    return source in _READY and bool(_LOOP)


def are_kept(source: str) -> bool:
    """Whether files hold them and the loop."""
    folder = _folder()
    names = _name(source, "model"), _name(_loop()[0], "loop")
    return folder is not None and all(any(folder.glob(f"__pycache__/{name}.*.nbc")) for name in names)


def loop() -> Any:
    """The compiled loop over fits, the same for all models; see `xr_modelfit.compiled.levenberg`.

    Raises
    ------
    ImportError
        numba is not installed.
    """
    with _LOCK:
        if not _LOOP:
            numba = needed("numba", "fast", "The compiled engine")
            source, names = _loop()
            known, kept = _function(source, "loop", names)
            _LOOP.append(numba.njit(nogil=True, error_model="numpy", cache=kept)(known["solve_all"]))
            if kept:
                _forgive(_LOOP[0]._cache, _name(source, "loop"))
        return _LOOP[0]


def _loop() -> tuple[str, dict[str, Any]]:
    """The source of the loop, to lie in a file of ours, and what it names."""
    from xr_modelfit.compiled import levenberg

    names = {name: value for name, value in vars(levenberg).items() if not name.startswith("__")}
    return getsource(levenberg.solve_all), names


def _compiled(source: str) -> Kernels:
    numba = needed("numba", "fast", "The compiled engine")
    from xr_modelfit.compiled.faddeeva import special_functions
    from xr_modelfit.compiled.maths import namespace

    known, kept = _function(source, "model", namespace() | special_functions())
    number, numbers, nothing = numba.types.int64, numba.types.CPointer(numba.types.float64), numba.types.void
    of_all = nothing(number, number, numbers, numbers, numbers)
    of_some = nothing(number, number, number, number, numbers, numbers, numbers)

    def function(name: str, signature: Any, maths: Any) -> Any:
        def built(kept: bool) -> Any:
            return numba.cfunc(signature, cache=kept, error_model="numpy", fastmath=maths)(known[name])

        try:
            return built(kept)
        except numba.core.errors.NumbaError:
            raise
        except Exception:  # files that were damaged, or cannot be written
            _forget(_name(source, "model"))
            return built(False)

    return Kernels(
        sums=function("sums", of_all, {"contract", "arcp"}),
        columns=function("columns", of_some, {"contract", "arcp"}),
        tied=function("tied", nothing(numbers), False) if "tied" in known else None,
    )


def _forgive(cache: Any, name: str) -> None:
    """Have numba compile again what it cannot read from its files, and do without those it cannot write."""
    load, save = cache.load_overload, cache.save_overload

    def loaded(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:
            _forget(name)
            return None

    def saved(*arguments: Any) -> None:
        try:
            save(*arguments)
        except Exception:
            _forget(name)

    cache.load_overload, cache.save_overload = loaded, saved


def _forget(name: str) -> None:
    """Remove the files of what was compiled under a name."""
    folder = _folder()
    for path in () if folder is None else folder.glob(f"__pycache__/{name}.*.nb[ic]"):
        with suppress(OSError):
            path.unlink()


def _function(source: str, kind: str, known: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Run a source; and whether it lies in a file, beside which numba keeps what it compiles."""
    name = _name(source, kind)
    path = _written(source, name)
    module = ModuleType(f"_xr_modelfit_{name}")
    sys.modules[module.__name__] = module  # numba looks there for the globals of what it reads from a file
    vars(module).update(known)
    exec(compile(source, str(path or "<model>"), "exec"), vars(module))
    return vars(module), path is not None


def _written(source: str, name: str) -> Path | None:
    """A file with this source; None where none can be written."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{name}.py"
    try:
        if not path.exists() or path.read_bytes() != source.encode():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            ours = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            ours.write_bytes(source.encode())
            ours.replace(path)
    except OSError:
        return None
    return path if os.access(folder, os.W_OK) else None


def _folder() -> Path | None:
    """``XR_MODELFIT_CACHE``, or the user's folder for what can be made again."""
    given = os.environ.get("XR_MODELFIT_CACHE")
    if given is not None:
        return Path(given) if given else None
    with suppress(ImportError, OSError, RuntimeError):
        from numba.misc.appdirs import user_cache_dir

        return Path(user_cache_dir("xr_modelfit", appauthor=False))
    return None


def _name(source: str, kind: str) -> str:
    """Another one for any other code: numba itself looks at the file of the outermost function alone."""
    return f"{kind}_{hashlib.sha256((source + _digest()).encode()).hexdigest()[:24]}"


@cache
def _digest() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in _TAKEN_IN)).hexdigest()
