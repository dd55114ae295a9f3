"""Digests of samples, which tell whether a tile was made from the data that are there now.

A digest is a sum over all values, modulo 2**64, of their bits, mixed and multiplied by a number that depends on the
place. So parts of an array may be summed in any order, and values that changed or moved are noticed. It guards against
accidents, not against forgery.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["combined", "digest"]

_TOGETHER = 2**15  # values that stay in cache
_ODD = [np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]
_SHIFT = np.uint64(29)


def digest(values: np.ndarray, corner: Sequence[int] | None = None, shape: Sequence[int] | None = None) -> np.uint64:
    """The digest of an array of numbers or booleans; of a part that begins at ``corner`` of a whole of this shape."""
    if not values.size:
        return np.uint64(0)
    values = np.atleast_1d(values)
    corner, shape = corner or (0,) * values.ndim, shape or values.shape
    axes = [begin + np.arange(n) for begin, n in zip(corner, (*values.shape[:-1], 1), strict=True)]
    first = np.ravel_multi_index(np.ix_(*axes), tuple(shape)).astype(np.uint64).reshape(-1)
    rows = values.reshape(first.size, -1)
    total = np.uint64(0)
    height = max(1, _TOGETHER // rows.shape[1])
    with np.errstate(over="ignore"):
        for begin in range(0, len(rows), height):
            at = first[begin : begin + height, None] + np.arange(rows.shape[1], dtype=np.uint64)
            total += np.sum(_mixed(_bits(rows[begin : begin + height])) * _weights(at), dtype=np.uint64)
    return total


def combined(parts: Sequence[int]) -> int:
    """One number, never 0, of the digests of several arrays, in their order."""
    with np.errstate(over="ignore"):
        found = np.sum(_mixed(np.array(parts, dtype=np.uint64)) * _weights(np.arange(len(parts), dtype=np.uint64)))
    return int(found) or 1


def _bits(values: np.ndarray) -> np.ndarray:
    kind = np.float64 if values.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(values, dtype=kind).view(np.uint64)


def _mixed(bits: np.ndarray) -> np.ndarray:
    mixed = (bits ^ (bits >> _SHIFT)) * _ODD[1]
    return mixed ^ (mixed >> _SHIFT)


def _weights(at: np.ndarray) -> np.ndarray:
    mixed = (at + np.uint64(1)) * _ODD[0]
    return ((mixed ^ (mixed >> _SHIFT)) * _ODD[2]) | np.uint64(1)
