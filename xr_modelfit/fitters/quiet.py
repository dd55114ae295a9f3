"""Warnings of one fit, caught in a way that is safe on threads.

`warnings.catch_warnings` swaps filters of the whole process: on several threads at once most
warnings are lost and the filters stay changed. One lock makes it exact; code that holds the
GIL anyway loses nothing by it.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["caught_warnings"]

_LOCK = threading.RLock()


@contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """All warnings raised inside, as a list; floating-point errors are silent."""
    with _LOCK, warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        yield caught
