"""The samples of fits in the order of a coordinate, those that take part first, and how far each is from the last."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xr_modelfit.fitters.contract import Fits
from xr_modelfit.fitters.samples import Samples

__all__ = ["Ordered", "in_order"]

_DIGITS = 9  # of steps: what differs by less is rounding of the coordinate
_FEW = 64  # steps of a gap, of which each number has sums of its own
_WHOLE = 1e-3  # steps: a spacing this near to a whole number of steps is that number


@dataclass(frozen=True)
class Ordered:
    """Fits whose samples are in order."""

    fits: Fits
    steps: np.ndarray  # (1 or b, n - 1), from the sample before, in median spacings; 1 behind the last valid sample
    counted: np.ndarray  # (b,), whether all spacings are whole numbers of steps
    even: np.ndarray  # (b,), whether all are one step, and no sample is left out
    gaps: np.ndarray  # (b,), whether all are few steps, and not all are one
    distinct: np.ndarray  # (b,), whether no two samples are at one place


def in_order(fits: Fits, along: int) -> Ordered:
    """Fits with their samples in the order of the input number ``along``.

    Behind the valid samples stand copies of the first, which are left out.
    """
    b, n = fits.samples.y.shape
    step = _median_spacing(fits.samples.inputs[along])
    samples = _placed(fits.samples, along)
    with np.errstate(all="ignore"):
        steps = np.diff(samples.inputs[along], axis=1) / step[:, None]
    whole = np.ones((1, max(n - 1, 0)), dtype=bool)
    if not samples.all_valid:
        whole = samples.valid[:, 1:]
        steps = np.where(whole, steps, 1.0)
    rounded = np.rint(steps)
    near = np.all((np.abs(steps - rounded) <= _WHOLE) & (rounded >= 1.0), axis=1)
    steps = np.where(near[:, None], rounded, np.round(steps, _DIGITS))
    even = np.all(steps == 1.0, axis=1) & (samples.n_points == n)
    distinct = np.all(steps > 0.0, axis=1)
    gaps = near & np.all(steps <= _FEW, axis=1) & ~even
    counted, even, gaps, distinct = (np.broadcast_to(a, b) for a in (near, even, gaps, distinct))
    return Ordered(replace(fits, samples=samples), steps, counted, even, gaps, distinct)


def _median_spacing(x: np.ndarray) -> np.ndarray:
    """Median of the positive spacings of the finite numbers in each row of (b, n), shape (b,); 1 without any."""
    with np.errstate(all="ignore"):
        spacings = np.diff(np.sort(np.where(np.isfinite(x), x, np.inf), axis=1), axis=1)
    known = np.isfinite(spacings) & (spacings > 0.0)
    if not known.any():
        return np.ones(len(x))
    spacings = np.sort(np.where(known, spacings, np.inf), axis=1)
    m, rows = np.count_nonzero(known, axis=1), np.arange(len(x))
    middle = 0.5 * (spacings[rows, np.maximum(m - 1, 0) // 2] + spacings[rows, np.minimum(m // 2, x.shape[1] - 2)])
    return np.where(m > 0, middle, 1.0)


def _placed(samples: Samples, along: int) -> Samples:
    """Samples in order, those that take part first."""
    b, n = samples.y.shape
    shared = samples.inputs[along].shape[0] == 1
    if shared:
        samples = _sorted(samples, samples.inputs[along][0])
        if samples.all_valid:
            return samples
    valid = np.arange(n) < samples.n_points[:, None]
    # Flags are many times as quick to sort as numbers.
    key = ~samples.valid if shared else np.where(samples.valid, samples.inputs[along], np.inf)
    order = np.argsort(key, axis=1, kind="stable")
    order = np.where(valid, order, order[:, :1])

    def placed(a: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.broadcast_to(a, (b, n)), order, axis=1)

    weights = None if samples.weights is None else placed(samples.weights)
    return replace(
        samples, y=placed(samples.y), inputs=[placed(one) for one in samples.inputs], weights=weights, valid=valid
    )


def _sorted(samples: Samples, x: np.ndarray) -> Samples:
    """The samples of all fits in the order of ``x`` (n,), which they share."""
    if np.all(x[1:] >= x[:-1]):
        return samples
    at = np.argsort(x, kind="stable")
    weights = None if samples.weights is None else np.ascontiguousarray(samples.weights[:, at])
    inputs = [np.ascontiguousarray(one[:, at]) for one in samples.inputs]
    y, valid = (np.ascontiguousarray(a[:, at]) for a in (samples.y, samples.valid))
    return replace(samples, y=y, inputs=inputs, weights=weights, valid=valid)
