"""Warnings of one fit, caught in a way that is safe on threads.

`warnings.catch_warnings` swaps filters of the whole process: on several threads at once most warnings are lost and the
filters stay changed. One lock makes it exact; code that holds the GIL anyway loses nothing by it.

A user's function that runs under the lock may start fits on other threads. These would wait for the lock while the
function waits for them, so they share another lock.
"""

import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

__all__ = ["caught_warnings", "inner_fits", "innermost", "within"]

_LOCK = threading.RLock()
_INNER: dict[str, threading.RLock] = {}


class _Place(threading.local):
    key: str | None = None  # of the user's function in which a thread works


_PLACE = _Place()


@contextmanager
def caught_warnings(floating: bool = False) -> Iterator[list[warnings.WarningMessage]]:
    """All warnings raised inside, as a list; floating-point errors are silent unless ``floating``."""
    heard: Literal["warn", "ignore"] = "warn" if floating else "ignore"
    errors = np.errstate(divide=heard, over=heard, invalid=heard, under="ignore")
    lock = _INNER.get(_PLACE.key or "", _LOCK)
    with lock, warnings.catch_warnings(record=True) as caught, errors:
        warnings.simplefilter("always")
        yield caught


@contextmanager
def inner_fits() -> Iterator[None]:
    """Fits that are started inside, on any thread, do not wait for the lock that is held outside."""
    key = uuid.uuid4().hex
    _INNER[key] = threading.RLock()
    try:
        with within(key):
            yield
    finally:
        del _INNER[key]


def innermost() -> str | None:
    """The key of the user's function in which this thread works, for tasks on other threads."""
    return _PLACE.key


@contextmanager
def within(key: str | None) -> Iterator[None]:
    """Inside, this thread works in the user's function ``key``."""
    before, _PLACE.key = _PLACE.key, key
    try:
        yield
    finally:
        _PLACE.key = before
