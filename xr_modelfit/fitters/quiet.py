"""Warnings of one fit, caught in a way that is safe on threads.

`warnings.catch_warnings` swaps filters of the whole process: on several threads at once most
warnings are lost and the filters stay changed. One lock makes it exact; code that holds the
GIL anyway loses nothing by it.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

__all__ = ["caught_warnings"]

_LOCK = threading.RLock()


@contextmanager
def caught_warnings(floating: bool = False) -> Iterator[list[warnings.WarningMessage]]:
    """All warnings raised inside, as a list; floating-point errors are silent unless ``floating``."""
    heard: Literal["warn", "ignore"] = "warn" if floating else "ignore"
    errors = np.errstate(divide=heard, over=heard, invalid=heard, under="ignore")
    with _LOCK, warnings.catch_warnings(record=True) as caught, errors:
        warnings.simplefilter("always")
        yield caught
