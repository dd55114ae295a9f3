"""Sums over the samples of many fits, with bits that depend on nothing but the fit.

Arrays are (n, b), samples first. A sum then runs over rows, one after the other, in each column:
a sample of weight zero adds an exact zero, wherever it stands, and no column sees another.
"""

import numpy as np

__all__ = ["along", "columns", "dot", "norm2", "total"]


def columns(a: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Columns ``which`` of an array with fits last, in C order; indexing would transpose it in memory."""
    return np.take(a, which, axis=-1)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum over samples of the product of two (n, b) arrays, shape (b,)."""
    if a.shape[1] == 1:  # one column would be summed in another order
        return dot(np.repeat(a, 2, axis=1), np.repeat(b, 2, axis=1))[:1]
    return np.einsum("nb,nb->b", _in_rows(a), _in_rows(b), optimize=False)


def along(c: np.ndarray, a: np.ndarray) -> np.ndarray:
    """As `dot` of ``c`` (n, 1) or (n, b) and ``a`` (n, b), to the last bit; the fits may share ``c``."""
    if c.shape[1] == a.shape[1]:
        return dot(c, a)
    return np.einsum("n,nb->b", np.ascontiguousarray(c[:, 0]), _in_rows(a), optimize=False)


def norm2(a: np.ndarray) -> np.ndarray:
    """Squared length of each column, shape (b,)."""
    return dot(a, a)


def total(a: np.ndarray) -> np.ndarray:
    """Sum of each column, shape (b,)."""
    return along(np.ones((a.shape[0], 1)), a)


def _in_rows(a: np.ndarray) -> np.ndarray:
    """``a`` with its columns beside each other in memory; in any other layout it is summed in another order."""
    return a if a.strides[1] == a.itemsize else np.ascontiguousarray(a)
