"""Sums over the samples of many fits, with bits that depend on nothing but the fit.

Arrays are (n, b), samples first. A sum then runs over rows, one after the other, in each column:
a sample of weight zero adds an exact zero, wherever it stands, and no column sees another.
"""

import numpy as np

__all__ = ["dot", "norm2"]


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum over samples of the product of two (n, b) arrays, shape (b,)."""
    if a.shape[1] == 1:  # one column would be summed in another order
        return dot(np.repeat(a, 2, axis=1), np.repeat(b, 2, axis=1))[:1]
    # Picking columns may leave an array in another layout, and with it in another order of the sum.
    return np.einsum("nb,nb->b", np.ascontiguousarray(a), np.ascontiguousarray(b), optimize=False)


def norm2(a: np.ndarray) -> np.ndarray:
    """Squared length of each column, shape (b,)."""
    return dot(a, a)
