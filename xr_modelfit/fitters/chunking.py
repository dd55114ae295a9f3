"""Blocks in chunks that fit into the cache, and fits that raise found among others."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

__all__ = ["at_least_two", "chunks", "isolate_errors", "keep_freed_memory", "most_fits"]

_KEPT = 2**25 - 2**13  # bytes: larger arrays have no effect on glibc
_ELEMENTS = 262144  # samples at once: enough to outweigh the interpreter, few enough for the cache


@cache
def keep_freed_memory() -> None:
    """Have the arrays of a chunk made from memory that was freed before.

    glibc gives large arrays back to the system when they are freed, and gets new ones page by page, which can take as
    long as all work on them. It stops that for arrays smaller than one that it has seen freed [1]_. One is freed here,
    untouched. At most 64 MB more are kept by the process.

    References
    ----------
    .. [1] https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD
    """
    np.empty(_KEPT, dtype=np.uint8)


def most_fits(n: int) -> int:
    """How many fits of ``n`` samples to work on at once."""
    return max(2, _ELEMENTS // max(n, 1))


def at_least_two(ids: np.ndarray) -> np.ndarray:
    """A single fit twice: the sums of one column alone would run in another order."""
    return np.repeat(ids, 2) if ids.size == 1 else ids


def chunks(ids: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Fits of ``n`` values in chunks that stay in cache; a chunk has at least two columns."""
    most = most_fits(n)
    for start in range(0, ids.size, most):
        yield at_least_two(ids[start : start + most])


def isolate_errors(work: Callable[[np.ndarray], None], ids: np.ndarray) -> Iterator[tuple[np.ndarray, Exception]]:
    """Do ``work`` on all fits; yields those that make it raise, one by one, with the error.

    They are found by halving, so that one bad fit costs the others a few repeats only.
    """
    try:
        work(ids)
    except Exception as error:
        if ids.size <= 2 and ids[0] == ids[-1]:
            yield ids, error
            return
        half = (ids.size + 1) // 2
        for part in (ids[:half], ids[half:]):
            yield from isolate_errors(work, at_least_two(part))
