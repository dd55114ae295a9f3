"""Who writes into a store: one process at a time, told by a sign of life that lies in the store itself.

A process of this machine is looked up by its number. Of one elsewhere only the sign of life tells: a number that it
raises every few seconds. Where that stands still, the process has ended, whatever it left behind.
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
_EVERY = 10.0  # seconds between two signs of life
_WAIT = 2.5 * _EVERY
_OURS: set[str] = set()  # tokens of this process that write now

Open = Callable[[Any], Any]


def find_writer(group: Any) -> str | None:
    """Who writes into the store of this group, in words; None where nobody does."""
    told = _told(group)
    if told is None:
        return None
    if told["host"] != socket.gethostname():
        before = _beat(group)
        time.sleep(_WAIT)
        alive = _told(group) is not None and _beat(group) != before
    elif told["process"] == os.getpid():
        alive = told["token"] in _OURS
    else:
        alive = _is_running(int(told["process"]), told["begun"])
    return f"process {told['process']} on {told['host']!r}" if alive else None


@contextmanager
def writing(open_group: Open) -> Iterator[Callable[[], bool]]:
    """Inside, this process is the writer; gives a function that tells whether it still is.

    Parameters
    ----------
    open_group : callable
        Opens the group in a mode.
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
            with suppress(Exception):  # a full disk, a network: the next time
                array[0] = number

    def is_ours() -> bool:
        told = _told(open_group("r"))
        return told is None or told["token"] == token

    thread = threading.Thread(target=beat, name="modelfit store", daemon=True)
    thread.start()
    try:
        yield is_ours
    finally:
        end.set()
        thread.join()
        _OURS.discard(token)
        with suppress(Exception):
            if is_ours():
                del open_group("r+")[_NAME]


def _told(group: Any) -> dict[str, Any] | None:
    try:
        told = dict(group[_NAME].attrs)
        return told if {"host", "process", "begun", "token"} <= told.keys() else None
    except (KeyError, ValueError, FileNotFoundError):
        return None


def _beat(group: Any) -> int:
    try:
        return int(group[_NAME][0])
    except Exception:  # gone, or just being written
        return -1


def _is_running(process: int, begun: str | None) -> bool:
    """Whether a process of this machine is there, and is not another one under the same number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        pass
    return begun is None or _begun(process) == begun


def _begun(process: int) -> str | None:
    """When a process began, where the system tells; it is text that is compared."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
