"""The functions of a model, compiled from their source and kept: in this process, and in files for later ones."""

from __future__ import annotations

import ast
import hashlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from xr_modelfit.extras import needed
from xr_modelfit.fitters.compiled.cache_folder import chosen_folder as _folder
from xr_modelfit.fitters.compiled.cache_folder import forget, remove_unsealed, seal, written

__all__ = ["Kernels", "kernels", "loop"]

_READY: dict[str, Kernels] = {}
_LOOPS: dict[str, Any] = {}
_LOCK = threading.RLock()
_FOLDERS = ("fitters.compiled", "tracing")
# Modules whose code is compiled, with all of these folders that they import.
_COMPILED_FROM = tuple(f"fitters.compiled.{name}" for name in ("faddeeva", "levenberg", "maths", "noise", "residuals"))


class Kernels(NamedTuple):
    """Compiled functions of one model, with an ``address`` and a ``ctypes`` form; see `tracing.source`."""

    sums: Any
    columns: Any
    tied: Any

    @property
    def addresses(self) -> tuple[int, int, int]:
        return self.sums.address, self.columns.address, 0 if self.tied is None else self.tied.address


def kernels(source: str) -> Kernels:
    """The compiled functions of ``source``; compiled, or read from a file, once a process.

    Raises ``ImportError`` without numba, and ``NumbaError`` where the source cannot be compiled.
    """
    with _LOCK:
        if source not in _READY:
            _READY[source] = _compiled(source)
        return _READY[source]


def loop(module: str = "levenberg", name: str = "solve_all") -> Any:
    """A compiled loop over fits, the same for all models: a function of a module of this folder."""
    with _LOCK:
        if name not in _LOOPS:
            numba = needed("numba", "fast", "The compiled engine")
            source, names = _loop(module, name)
            known, folder = _function(source, "loop", names)
            with _beside_its_source(numba):
                built = numba.njit(nogil=True, error_model="numpy", cache=folder is not None)(known[name])
            if folder is not None:
                _forgive(built._cache, folder, _name(source, "loop"))
            _LOOPS[name] = built
        return _LOOPS[name]


def _loop(module: str, name: str) -> tuple[str, dict[str, Any]]:
    """The source of a loop, to lie in a file of ours, and what it names."""
    found = import_module(f"{__package__}.{module}")
    names = {name: value for name, value in vars(found).items() if not name.startswith("__")}
    return getsource(names[name]), names


def _compiled(source: str) -> Kernels:
    numba = needed("numba", "fast", "The compiled engine")
    from xr_modelfit.fitters.compiled.faddeeva import special_functions
    from xr_modelfit.fitters.compiled.maths import namespace
    from xr_modelfit.fitters.compiled.noise import noises

    known, folder = _function(source, "model", namespace() | special_functions() | noises())
    number, numbers, nothing = numba.types.int64, numba.types.CPointer(numba.types.float64), numba.types.void
    of_all = nothing(number, number, numbers, numbers, numbers)
    of_some = nothing(number, number, number, number, numbers, numbers, numbers)

    def function(name: str, signature: Any, maths: Any) -> Any:
        def built(kept: bool) -> Any:
            return numba.cfunc(signature, cache=kept, error_model="numpy", fastmath=maths)(known[name])

        try:
            return built(folder is not None)
        except numba.core.errors.NumbaError:
            raise
        except Exception:  # files that cannot be read or written
            if folder is not None:
                forget(folder, _name(source, "model"))
            return built(False)

    with _beside_its_source(numba):
        found = Kernels(
            sums=function("sums", of_all, {"contract", "arcp"}),
            columns=function("columns", of_some, {"contract", "arcp"}),
            tied=function("tied", nothing(numbers), False) if "tied" in known else None,
        )
    if folder is not None:
        seal(folder, _name(source, "model"))
    return found


@contextmanager
def _beside_its_source(numba: Any) -> Iterator[None]:
    """Have numba keep files in our folder, which was checked, whatever its own variable says."""
    named, numba.config.CACHE_DIR = numba.config.CACHE_DIR, ""
    try:
        yield
    finally:
        numba.config.CACHE_DIR = named


def _forgive(cache: Any, folder: Path, name: str) -> None:
    """Have numba compile again what it cannot read from its files, and do without those it cannot write."""
    load, save = cache.load_overload, cache.save_overload

    def loaded(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:
            forget(folder, name)
            return None

    def saved(*arguments: Any) -> None:
        try:
            save(*arguments)
        except Exception:
            forget(folder, name)
        else:
            seal(folder, name)

    cache.load_overload, cache.save_overload = loaded, saved


def _function(source: str, kind: str, known: Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """Run a source; returns its names, and the folder where numba keeps the compiled code, if any."""
    name, folder = _name(source, kind), _folder()
    path = None if folder is None else written(folder, name, source)
    if folder is not None and path is not None:
        remove_unsealed(folder, name)
    module = ModuleType(f"_xr_modelfit_{name}")
    sys.modules[module.__name__] = module  # numba looks there for the globals of what it reads from a file
    vars(module).update(known)
    exec(compile(source, str(path or "<model>"), "exec"), vars(module))
    return vars(module), None if path is None else folder


def _name(source: str, kind: str) -> str:
    """Another one for any other code: numba itself looks at the file of the outermost function alone."""
    return f"{kind}_{hashlib.sha256((source + _digest()).encode()).hexdigest()[:24]}"


@cache
def _digest() -> str:
    return hashlib.sha256(b"".join(_file_of(name).read_bytes() for name in _taken_in())).hexdigest()


def _file_of(name: str) -> Path:
    return Path(__file__).parents[2].joinpath(*name.split(".")).with_suffix(".py")


def _taken_in() -> list[str]:
    """The modules whose code goes into what is compiled: those compiled from, and what they import."""
    found: list[str] = []
    waiting = list(_COMPILED_FROM)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += _imported_by(_file_of(name))
    return sorted(found)


def _imported_by(path: Path) -> Iterator[str]:
    """Modules of the folders that a file imports."""
    top = __name__.partition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            name = node.module.removeprefix(f"{top}.")
            if name in _FOLDERS:
                yield from (f"{name}.{alias.name}" for alias in node.names)
            elif name.rpartition(".")[0] in _FOLDERS:
                yield name
