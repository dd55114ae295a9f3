"""Keys of custom model classes and ties, by which a record finds them in this process and its imported modules.

A record cannot hold code, and reading one must not run any. It holds a key instead: the import path of the class or
tie, and a digest of its code. What was fitted in this process is found by its key, and held weakly. What the user has
imported is found by its path, and taken if its digest is the same. Nothing is ever imported for a key.

The digest is of the code, its constants, names and defaults, of what it closes over, and of the constants, functions
and base classes of its own package that it uses; not of comments, docstrings, line numbers or the place of a file.
"""

import functools
import hashlib
import importlib
import inspect
import pickle
import sys
import types
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from astropy.modeling import Parameter
from astropy.units import Quantity, UnitBase

__all__ = ["ASTROPY", "digest_by_value", "find", "is_astropy", "key_of", "path_of"]

ASTROPY = "astropy.modeling."

_KNOWN: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()
_PYTHON = f"py{sys.version_info[0]}.{sys.version_info[1]}"  # other versions compile the same source to other bytecode
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_CUSTOM = "astropy.modeling.core"
_KIND = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
_CODE = types.CodeType | types.FunctionType | types.MethodType | functools.partial | type
_LARGE = 100_000  # elements of an array
_LIBRARIES = {"astropy", "dask", "numpy", "scipy", "xarray", "xr_modelfit", *sys.stdlib_module_names} - {"__main__"}
_MANY = 100  # functions and classes in a digest: a model of a large package may use all of it


def is_astropy(cls: type) -> bool:
    """Whether astropy has this class of models under its own name."""
    if not cls.__module__.startswith(ASTROPY):
        return False
    return getattr(importlib.import_module(cls.__module__), cls.__qualname__, None) is cls


def path_of(thing: Any) -> str:
    """``module:qualname`` of a class or callable."""
    named: Any = thing if hasattr(thing, "__qualname__") else type(thing)
    module = named.__module__
    if module == _CUSTOM and vars(sys.modules[_CUSTOM]).get(named.__name__) is not named and hasattr(named, "evaluate"):
        module = named.evaluate.__module__  # custom_model names its own module otherwise
    return f"{module}:{named.__qualname__}"


def key_of(thing: Any, holder: Any = None) -> str | None:
    """A key by which ``thing``, or ``holder`` in its place, is found again; None if it has no digest."""
    try:
        key = f"{path_of(thing)}:{_PYTHON}:{_digest_of(thing)}"
        _KNOWN[key] = thing if holder is None else holder
    except Exception:  # no weak reference, no pickle or no code: the user must pass it
        return None
    return key


def find(key: Any) -> Any:
    """The class or tie with this key, in this process or in an imported module.

    A LookupError says in a sentence why it is not found, and what to do.
    """
    parts = key.split(":") if isinstance(key, str) else []
    if len(parts) < 2 or not all(p.isidentifier() for p in parts[0].split(".")):
        raise LookupError("The record does not say where it is.")
    known = _KNOWN.get(key)
    if known is not None:
        return known
    module, qualname = parts[:2]
    if module not in sys.modules:
        raise LookupError(f"Import {module} first, where it is.")
    found = _imported(module, qualname)
    if not found:
        raise LookupError(f"The module {module} holds no {qualname!r} now.")
    if len(parts) != 4:
        raise LookupError("The record holds no digest of its code, so it cannot be told whether it is still the same.")
    if parts[2] != _PYTHON:
        raise LookupError(f"It was fitted under {parts[2]}; under {_PYTHON} its code cannot be compared with that.")
    same = [thing for thing in found if key_of(thing) == key]
    if not same:
        raise LookupError(f"The code of {module}:{qualname} has changed since the fit.")
    return same[0]


def _imported(module: str, qualname: str) -> list[Any]:
    """Classes and functions of that name in an imported module, under whatever name the module has them.

    No code runs: attributes are looked up, not asked for, and a module that waits for its first use goes on waiting.
    """
    found: Any = sys.modules[module]
    things = list(_namespace(found).values())
    for part in qualname.split("."):
        found = _namespace(found).get(part)
    things = [found, *things]
    return [t for t in things if isinstance(t, types.FunctionType | type) and path_of(t) == f"{module}:{qualname}"]


def _namespace(thing: Any) -> Any:
    if issubclass(type(thing), types.ModuleType):
        return object.__getattribute__(thing, "__dict__")
    return type.__getattribute__(thing, "__dict__") if issubclass(type(thing), type) else {}


def _digest_of(thing: Any) -> str:
    return _digest(_CodeAsBytes(_package_of(thing)).of(thing))[:16]


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def digest_by_value(thing: Any, state: Any = None) -> str:
    """A digest of code and of all that it holds and reads: large arrays whole, objects by their pickle.

    Raises any error for what has no digest, such as an open file.
    """
    return _digest(_CodeAndState(_package_of(thing)).of((thing, state)))


class _CodeAsBytes:
    """Code as bytes, the same in every process."""

    _whole = False  # whether large arrays are read whole

    def __init__(self, package: str) -> None:
        self._package = package
        self._seen: set[int] = set()

    def _is_own(self, thing: Any) -> bool:
        return str(thing.__module__).partition(".")[0] == self._package and len(self._seen) < _MANY

    def of(self, value: Any) -> Iterator[bytes]:
        """The bytes of code or of a value; raises any error for what has none."""
        yield type(value).__qualname__.encode()
        if isinstance(value, _PLAIN):
            yield repr(value).encode()
        elif isinstance(value, tuple | list):
            for item in value:
                yield from self.of(item)
        elif isinstance(value, set | frozenset | dict):  # their order changes from process to process
            items = value.items() if isinstance(value, dict) else value
            yield from sorted(b"".join(self.of(item)) for item in items)
        elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
            array = np.asarray(value)  # a Quantity has no bytes
            yield f"{array.dtype.str}{array.shape}".encode()
            yield array.ravel()[:: 1 if self._whole else 1 + array.size // _LARGE].tobytes()
        elif id(value) in self._seen:
            yield b"again"
        elif isinstance(value, _CODE):
            self._seen.add(id(value))
            yield from self._code(value)
        else:
            yield pickle.dumps(value, protocol=4)

    def _code(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.MethodType):
            yield from self.of(value.__func__)
            yield from self.of(value.__self__)
        elif isinstance(value, functools.partial):
            yield from self.of((value.func, value.args, value.keywords))
        elif isinstance(value, type):
            yield from self._class(value)
        else:
            yield from self._compiled(value, value.co_consts)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        code = function.__code__
        consts = code.co_consts
        if consts and function.__doc__ is not None and consts[0] == function.__doc__:
            consts = (None, *consts[1:])
        yield from self._compiled(code, consts)
        yield from self.of((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            yield from self.of(cell.cell_contents)
        for name in sorted(set(_names(code)) & function.__globals__.keys()):
            yield name.encode()
            yield from self._used(function.__globals__[name])

    def _compiled(self, code: types.CodeType, consts: tuple[Any, ...]) -> Iterator[bytes]:
        yield code.co_code
        yield code.co_exceptiontable
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _KIND)
        yield from self.of((counts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        yield from self.of(consts)

    def _class(self, cls: type) -> Iterator[bytes]:
        for name, value in sorted(vars(cls).items()):
            inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if isinstance(inner, types.FunctionType):
                if f"__{name}__func" in inner.__globals__:  # a signature that astropy made from the parameters
                    continue
            elif name.startswith("_") and (name.startswith("__") or not isinstance(inner, _PLAIN)):
                continue
            yield name.encode()
            yield from self._used(inner)
        for base in cls.__mro__[1:]:
            yield from self._used(base)

    def _used(self, value: Any) -> Iterator[bytes]:
        """What code uses by name: constants and code of its own package as bytes, all else by its path."""
        if isinstance(value, (*_PLAIN, tuple, list, dict, set, frozenset, np.ndarray, np.generic)):
            try:
                yield from list(self.of(value))
            except Exception:  # a list of anything
                yield type(value).__qualname__.encode()
        elif isinstance(value, Parameter):
            yield str(value.unit).encode()
            for way in (getattr(value, "_getter", None), getattr(value, "_setter", None)):
                yield from self._used(way)
        elif isinstance(value, Quantity | UnitBase):
            yield str(getattr(value, "unit", value)).encode()
            yield from self.of(np.asarray(getattr(value, "value", 1.0)))
        elif isinstance(value, types.ModuleType):
            yield value.__name__.encode()
        elif isinstance(value, types.FunctionType | type) and self._is_own(value):
            yield from self.of(value)
        elif isinstance(value, np.ufunc):
            yield value.__name__.encode()
        else:
            yield path_of(value).encode()
            for cell in getattr(value, "__closure__", None) or ():
                yield from self._used(cell.cell_contents)


class _CodeAndState(_CodeAsBytes):
    """Code and the state of objects that it uses."""

    _whole = True

    def of(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, types.FunctionType | type) and _package_of(value) in _LIBRARIES:
            yield path_of(value).encode()  # its version is recorded elsewhere
        else:
            yield from super().of(value)

    def _used(self, value: Any) -> Iterator[bytes]:
        if hasattr(value, "__get__") or isinstance(value, types.ModuleType | type | np.ufunc | Quantity | UnitBase):
            yield from super()._used(value)
        else:
            yield from self.of(value)


def _package_of(thing: Any) -> str:
    return str(path_of(thing)).partition(":")[0].partition(".")[0]


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that the code uses, and those of functions inside it."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)
