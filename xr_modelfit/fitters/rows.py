"""Rows of tables (b, K), one for each fit."""

from functools import reduce

import numpy as np

__all__ = ["all_in_row", "any_in_row", "together"]


def all_in_row(table: np.ndarray) -> np.ndarray:
    """Which rows of (b, K) hold nothing but true, shape (b,); NumPy reduces short axes slowly."""
    return reduce(np.logical_and, table.T, np.ones(table.shape[0], dtype=bool))


def any_in_row(table: np.ndarray) -> np.ndarray:
    """Which rows of (b, K) hold any true, shape (b,)."""
    return reduce(np.logical_or, table.T, np.zeros(table.shape[0], dtype=bool))


def together(ids: np.ndarray) -> np.ndarray | slice:
    """The fits ``ids`` as a slice where they follow each other: views are taken instead of copies."""
    if ids.size and ids[-1] - ids[0] == ids.size - 1 and bool(np.all(np.diff(ids) == 1)):
        return slice(int(ids[0]), int(ids[-1]) + 1)
    return ids
