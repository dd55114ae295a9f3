"""From a coarse grid of fits to a fine one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xr_modelfit.estimates.neighbours import filled

__all__ = ["refined", "rounded"]

_PART = 8.0  # of a standard error, that starts are rounded to


def refined(maps: np.ndarray, factors: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """Maps (..., *sizes) on a fine grid, linear between the middles of coarse cells and constant beyond the outermost.

    ``maps`` (..., *coarse) are NaN where a coarse fit failed; such cells are filled from those beside them first. A
    cell has ``factors`` positions along the axes of the grid.
    """
    out = filled(maps, len(sizes))
    for axis, (factor, size) in enumerate(zip(factors, sizes, strict=True), start=maps.ndim - len(sizes)):
        last = out.shape[axis] - 1
        at = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0.0, last)
        low = np.minimum(np.floor(at).astype(int), max(last - 1, 0))
        share = (at - low).reshape(-1, *[1] * (out.ndim - 1 - axis))
        below, above = np.take(out, low, axis), np.take(out, np.minimum(low + 1, last), axis)
        out = below + share * (above - below)
    return out


def rounded(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Values to about an eighth of their standard error, a power of two.

    The last bits of a mean depend on the order in which its samples are added. Starts must not: another start ends at
    the same minimum, but not at the same bits. An error that is no positive number leaves its value as it is.
    """
    with np.errstate(all="ignore"):
        step = np.exp2(np.floor(np.log2(errors / _PART)))
        out = np.round(values / step) * step
    return np.where(np.isfinite(out), out, values)
