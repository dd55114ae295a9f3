"""Blocks cut into pieces: small enough for the cache, and apart from fits that raise."""

from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["apart", "at_least_two", "most_fits", "pieces"]

_ELEMENTS = 262144  # samples at once: enough to outweigh the interpreter, few enough for the cache


def most_fits(n: int) -> int:
    """How many fits of ``n`` samples to work on at once."""
    return max(2, _ELEMENTS // max(n, 1))


def at_least_two(ids: np.ndarray) -> np.ndarray:
    """A single fit twice: the sums of one column alone would run in another order."""
    return np.repeat(ids, 2) if ids.size == 1 else ids


def pieces(ids: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Fits in pieces that stay in cache, none of a single fit."""
    most = most_fits(n)
    for start in range(0, ids.size, most):
        yield at_least_two(ids[start : start + most])


def apart(work: Callable[[np.ndarray], None], ids: np.ndarray) -> Iterator[tuple[np.ndarray, Exception]]:
    """Do ``work`` on all fits, and give back those that make it raise, one by one, with the error.

    The others are found by halving, so that one bad fit costs them a few repeats, not all.
    """
    try:
        work(ids)
    except Exception as error:
        if ids.size <= 2 and ids[0] == ids[-1]:
            yield ids, error
            return
        half = (ids.size + 1) // 2
        for part in (ids[:half], ids[half:]):
            yield from apart(work, at_least_two(part))
