"""A lock on a store: one process writes at a time, and says so in the store itself.

A process of this machine is looked up by its number. A process elsewhere is known by its heartbeat only, a number that
it raises every few seconds. If that stands still, the process has ended.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["find_writer", "writing"]

_NAME = "writer"
_EVERY = 10.0  # seconds between two heartbeats
_WAIT = 2.5 * _EVERY
_OURS: set[str] = set()  # tokens of this process that write now

Open = Callable[[Any], Any]


def find_writer(group: Any) -> str | None:
    """The process that writes into the store of this group, in words; None where none does."""
    noted = _noted(group)
    if noted is None:
        return None
    if noted["host"] != socket.gethostname():
        before = _beat(group)
        time.sleep(_WAIT)
        alive = _noted(group) is not None and _beat(group) != before
    elif noted["process"] == os.getpid():
        alive = noted["token"] in _OURS
    else:
        alive = _is_running(int(noted["process"]), noted["begun"])
    return f"process {noted['process']} on {noted['host']!r}" if alive else None


@contextmanager
def writing(open_group: Open, taken_over: Exception) -> Iterator[Callable[[], None]]:
    """Inside, this process is the writer; gives a function that raises ``taken_over`` where it no longer is.

    ``open_group`` opens the group in a mode.
    """
    token, end = uuid.uuid4().hex, threading.Event()
    begun = {"host": socket.gethostname(), "process": os.getpid(), "begun": _begun(os.getpid()), "token": token}
    array = open_group("r+").create_array(
        _NAME, shape=(1,), chunks=(1,), dtype="u8", fill_value=0, overwrite=True, attributes=begun
    )
    _OURS.add(token)

    def beat() -> None:
        number = 0
        while not end.wait(_EVERY):
            number += 1
            with suppress(Exception):  # a full disk, a network: the next beat may succeed
                array[0] = number

    def require_ours() -> None:
        noted = _noted(open_group("r"))
        if noted is not None and noted["token"] != token:
            raise taken_over

    thread = threading.Thread(target=beat, name="modelfit store", daemon=True)
    thread.start()
    try:
        require_ours()
        yield require_ours
    finally:
        end.set()
        thread.join()
        _OURS.discard(token)
        with suppress(Exception):
            require_ours()
            del open_group("r+")[_NAME]


def _noted(group: Any) -> dict[str, Any] | None:
    try:
        noted = dict(group[_NAME].attrs)
        return noted if {"host", "process", "begun", "token"} <= noted.keys() else None
    except (KeyError, ValueError, FileNotFoundError):
        return None


def _beat(group: Any) -> int:
    try:
        return int(group[_NAME][0])
    except Exception:  # gone, or just being written
        return -1


def _is_running(process: int, begun: str | None) -> bool:
    """Whether a process of this machine runs, and is not another one with the same number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        pass
    return begun is None or _begun(process) == begun


def _begun(process: int) -> str | None:
    """When a process began, as text to compare; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
