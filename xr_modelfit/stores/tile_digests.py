"""Digests of samples, by which a store knows whether a tile was made from the data that are there now.

A digest is a sum over all values, modulo 2**64, of the bits of each, mixed and multiplied by a number that belongs to
its place. So parts of an array may be summed in any order, wherever they lie; values that changed or moved are seen.
It guards against accidents, not against forgery.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["combined", "digest"]

_PIECE = 2**15  # values at a time, which stay in cache
_ODD = [np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)]
_SHIFT = np.uint64(29)


def digest(values: np.ndarray, corner: Sequence[int] | None = None, shape: Sequence[int] | None = None) -> np.uint64:
    """The digest of an array, or of a part of one.

    Parameters
    ----------
    values : ndarray
        Numbers or truths.
    corner, shape : sequence of int, optional
        Where the part begins, and the shape of the whole.
    """
    if not values.size:
        return np.uint64(0)
    corner, shape = corner or (0,) * values.ndim, shape or values.shape
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    first = np.full(rows.shape[:1], sum(c * s for c, s in zip(corner, strides, strict=True)), dtype=np.uint64)
    for axis, index in enumerate(np.unravel_index(np.arange(len(rows)), values.shape[:-1]) if values.ndim > 1 else ()):
        first += index.astype(np.uint64) * np.uint64(strides[axis])
    total = np.uint64(0)
    height = max(1, _PIECE // max(rows.shape[1], 1))
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
