"""How far a coordinate reaches, and its smallest step: what a fitted position or width is measured against later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["described_extent", "is_extent"]


def described_extent(values: xr.Variable) -> dict[str, Any]:
    """For the record: ``extent`` is (lowest, highest, smallest step) of a 1-D coordinate in memory.

    Nothing for a coordinate that is lazy, has several dims, or has no two different values.
    """
    if values.ndim != 1 or not values._in_memory or values.dtype.kind not in "iuf":
        return {}
    numbers = np.unique(np.asarray(values.values, dtype=float))
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size < 2:
        return {}
    return {"extent": [float(numbers[0]), float(numbers[-1]), float(np.diff(numbers).min())]}


def is_extent(one: Mapping[str, Any]) -> bool:
    """Whether an input of a record has no extent, or three numbers that can be one."""
    if "extent" not in one:
        return True
    found = one["extent"]
    if not isinstance(found, list) or len(found) != 3:
        return False
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in found):
        return False
    return found[0] < found[1] and 0 < found[2] <= found[1] - found[0]
