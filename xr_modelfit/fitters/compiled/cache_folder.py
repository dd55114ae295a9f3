"""The folder where compiled code is kept, and the files in it: what is read there is run, so it must be the user's own.

The folder follows the XDG rules: variables that are empty or relative count as unset. It is made for its owner alone.
It is used only if it belongs to the user and nobody else can write to it, and nobody else can put another one in its
place. Otherwise nothing is kept, and one warning says so.

Beside the files of each name lies a seal: their digests. Files without their seal are removed unread, so that those
that were cut off, damaged, or put there by something else are never unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xr_modelfit.messages import outside_level, sentence

__all__ = ["COMPILED", "chosen_folder", "forget", "remove_unsealed", "seal", "tell_unused", "written"]

COMPILED = "__pycache__"  # where numba keeps what it compiles of a file: beside it
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_REASONS: dict[str, bool] = {}  # why a folder is not used, and whether it was told


def chosen_folder() -> Path | None:
    """``XR_MODELFIT_CACHE`` or the user's folder for caches, made if need be; None where nothing is to be kept."""
    folder = _named_folder()
    if folder is None:
        return None
    try:
        folder = folder.resolve()
        reason = _why_not(folder)
        if reason is None:
            _made(folder / COMPILED)
            reason = _why_not(folder) or _why_not(folder / COMPILED)
    except (OSError, RuntimeError):  # it cannot be made, or links form a circle
        return None
    if reason is not None:
        _REASONS.setdefault(reason, False)
        return None
    return folder


def tell_unused() -> None:
    """Warn, once a process, of a folder that is not used because others could write to it."""
    for reason, told in _REASONS.items():
        if not told:
            _REASONS[reason] = True
            warnings.warn(
                f"Compiled code is not kept between processes: {sentence(reason)} What lies there would be run. Make "
                "the folder your own (chown, chmod go-w), or let the environment variable XR_MODELFIT_CACHE name "
                "another one; XR_MODELFIT_CACHE='' keeps nothing and is silent.",
                stacklevel=outside_level(),
            )


def _named_folder() -> Path | None:
    given = os.environ.get("XR_MODELFIT_CACHE")
    if given == "":
        return None
    if given is not None and os.path.isabs(given):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser(os.path.join("~", *_usual()))
    return Path(base, "xr_modelfit") if os.path.isabs(base) else None


def _usual() -> tuple[str, ...]:
    """The folder for caches in that of the user."""
    if sys.platform == "win32":
        return ("AppData", "Local")
    return ("Library", "Caches") if sys.platform == "darwin" else (".cache",)


def _me() -> int | None:
    """The number of the user; None on systems that know none."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def _why_not(folder: Path) -> str | None:
    """Why a folder must not be used; None where it may, or is not there yet and may be made."""
    if _me() is None:
        return None
    for parent in folder.parents:
        if (found := _status(parent)) and found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            return f"everybody can write to {str(parent)!r}, and so put another folder in the place of {str(folder)!r}"
    found = _status(folder)
    if found is None:
        return None
    if found.st_uid != _me():
        return f"the folder {str(folder)!r} belongs to another user"
    return f"others can write to the folder {str(folder)!r}" if found.st_mode & _OTHERS_WRITE else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _made(folder: Path) -> None:
    """Make a folder and what it lies in, for its owner alone."""
    for one in (*reversed(folder.parents), folder):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)


def written(folder: Path, name: str, source: str) -> Path | None:
    """The file of a source in the folder; None where none can be written."""
    path, text = folder / f"{name}.py", source.encode()
    try:
        if not _is_ours(path) or path.read_bytes() != text:
            _replace(path, text)
    except OSError:
        return None
    return path if os.access(folder, os.W_OK) else None


def _replace(path: Path, text: bytes) -> None:
    ours = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    with suppress(FileNotFoundError):
        ours.unlink()
    ours.write_bytes(text)
    ours.replace(path)


def _is_ours(path: Path) -> bool:
    """Whether it is a file of the user that nobody else can write to."""
    found = _status(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    return _me() is None or (found.st_uid == _me() and not found.st_mode & _OTHERS_WRITE)


def _files(folder: Path, name: str) -> Iterator[Path]:
    return (folder / COMPILED).glob(f"{name}.*.nb[ic]")


def _seal_text(folder: Path, name: str) -> bytes:
    """The digests of the compiled files of a name."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(_files(folder, name))}
    return json.dumps(found).encode()


def remove_unsealed(folder: Path, name: str) -> None:
    """Remove the compiled files of a name unless they are those that were sealed."""
    path = _seal_of(folder, name)
    with suppress(OSError):
        if all(map(_is_ours, (path, *_files(folder, name)))) and path.read_bytes() == _seal_text(folder, name):
            return
    forget(folder, name)


def seal(folder: Path, name: str) -> None:
    """Note the digests of the compiled files of a name, as they are now."""
    with suppress(OSError):
        text, path = _seal_text(folder, name), _seal_of(folder, name)
        if not _is_ours(path) or path.read_bytes() != text:
            _replace(path, text)


def _seal_of(folder: Path, name: str) -> Path:
    return folder / COMPILED / f"{name}.seal"


def forget(folder: Path, name: str) -> None:
    """Remove the files of what was compiled under a name."""
    for path in (*_files(folder, name), _seal_of(folder, name)):
        with suppress(OSError):
            path.unlink()
