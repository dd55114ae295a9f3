"""Custom model classes and ties that were fitted in this process, by a key of their code.

A record cannot hold code, and reading one must not run any. What the user fitted in the same
process is known, though, and need not be asked for again: it is looked up by a digest of its
code, defaults and closure, and is only ever held weakly.
"""

import hashlib
import pickle
import types
import weakref
from typing import Any

__all__ = ["key_of", "path_of", "recall"]

_KNOWN: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()


def path_of(thing: Any) -> str:
    """``module:qualname`` of a class or callable, for people to read."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def key_of(thing: Any) -> str | None:
    """A key for ``thing``, which is remembered under it; None where its code cannot be told."""
    try:
        digest = hashlib.sha256()
        for part in _code_of(thing):
            digest.update(part)
        key = f"{path_of(thing)}:{digest.hexdigest()[:16]}"
        _KNOWN[key] = thing
    except Exception:  # no weak reference, no pickle, no code: it is then asked for
        return None
    return key


def recall(key: str | None) -> Any:
    """What was remembered under ``key`` in this process, or None."""
    return None if key is None else _KNOWN.get(key)


def _code_of(thing: Any) -> list[bytes]:
    if isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        parts = [_told(thing.__code__).encode(), pickle.dumps((thing.__defaults__, thing.__kwdefaults__))]
        for value in cells:
            parts += _code_of(value) if isinstance(value, types.FunctionType) else [pickle.dumps(value)]
        return parts
    if isinstance(thing, type):
        parts = []
        for name, value in sorted(vars(thing).items()):
            function = getattr(value, "__func__", value)
            if isinstance(function, types.FunctionType):
                parts += [name.encode(), *_code_of(function)]
        return parts
    return [pickle.dumps(thing)]


def _told(constant: Any) -> str:
    """Code and its constants in words, without where they are written.

    The bytes of `marshal` would not do: they depend on who else holds the constants.
    """
    if isinstance(constant, types.CodeType):
        c = constant
        names = (c.co_names, c.co_varnames, c.co_freevars, c.co_cellvars, c.co_argcount, c.co_kwonlyargcount)
        return f"{c.co_code!r}{names}{c.co_flags}[{','.join(map(_told, c.co_consts))}]"
    if isinstance(constant, tuple):
        return f"({','.join(map(_told, constant))})"
    if isinstance(constant, frozenset):
        return f"{{{','.join(sorted(map(_told, constant)))}}}"
    return repr(constant)
