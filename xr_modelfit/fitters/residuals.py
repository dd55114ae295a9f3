r"""Residuals of fits, and what they say: the scale of a fit, and which of its samples are outliers.

*Scale.* The median absolute weighted residual, times 1.4826: the standard deviation of noise that is normal but for
outliers [1]_.

*Outliers.* Residuals lose those that lie further from their median than so many standard deviations, until no more do,
at most five times: what astropy's ``sigma_clip`` does.

Fits of the compiled engine are looked at by compiled loops (`fitters.compiled.residuals`). No fit sees another, and
samples that are left out change no bit. Shapes: ``b`` fits of ``n`` samples, of which the ``m`` that ``ids`` names are
looked at; ``K`` parameters.

References
----------
.. [1] Hampel, F. (1974), J. American Statistical Association 69, 383.
"""

import numpy as np

from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.compiled import residual_calls as compiled
from xr_modelfit.fitters.contract import Fits
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.sums import norm2

__all__ = ["least_scales", "left_by_clipping", "scales"]

_TIMES = 5  # passes over the residuals
_NORMAL = 1.482602218505602  # standard deviation of a normal distribution by its median absolute value
_NO_SCALE = 1e-10  # of the root mean square of the data: a smaller scale is rounding
_FEW = 8  # numbers of an order that are found more quickly than the whole order


def scales(fits: Fits, ids: np.ndarray, P: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The scale of the weighted residuals of fits ``ids`` at ``P`` (m, K), shape (m,); ``least`` (b,) at least."""
    found = compiled.scales(fits, ids, P) if compiled.can_look_at(fits) else _scales(fits, ids, P)
    found = np.fmax(found, least[ids])
    return np.where(found > 0.0, found, 1.0)


def _scales(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    found, samples = np.empty(ids.size), fits.samples
    for rows in chunks(np.arange(ids.size), samples.n_values):
        r = _residuals(fits, ids[rows], P[rows])
        if samples.weights is not None:
            r *= samples.weights if len(samples.weights) == 1 else samples.weights[ids[rows]]
        found[rows] = _NORMAL * _median(np.abs(r, out=r), np.isfinite(r))
    return found


def least_scales(samples: Samples) -> np.ndarray:
    """What is told from rounding, (b,): a smaller scale is that of an exact fit."""
    size = samples.y if samples.weights is None else samples.y * samples.weights
    size = np.where(samples.valid, size, 0.0)
    least: np.ndarray = _NO_SCALE * np.sqrt(np.sum(size.T**2, axis=0) / np.maximum(samples.n_points, 1))
    return least


def left_by_clipping(fits: Fits, ids: np.ndarray, P: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Which samples of fits ``ids`` are valid, and no outliers at ``P`` (m, K); shape (m, n).

    ``limits``: in standard deviations of the residuals, below and above their median.
    """
    if compiled.can_look_at(fits):
        return compiled.left_by_clipping(fits, ids, P, limits)
    left = np.empty((ids.size, fits.samples.y.shape[1]), dtype=bool)
    for rows in chunks(np.arange(ids.size), fits.samples.n_values):
        left[rows] = _clipped(_residuals(fits, ids[rows], P[rows]), *limits)
    return left


def _residuals(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """``y - f`` of fits ``ids`` at ``P``, (m, n); NaN where a sample is left out, and where the model raises."""
    found = np.full((ids.size, fits.samples.y.shape[1]), np.nan)

    def some(rows: np.ndarray) -> None:
        at = fits.columns(ids[rows], P[rows])
        with np.errstate(all="ignore"):
            found[rows] = (at.y - at.values(fits.problem.with_ties(at.P))).T

    for _ in isolate_errors(some, np.arange(ids.size)):
        pass
    if not fits.samples.all_valid:
        found[~fits.samples.valid[ids]] = np.nan
    return found


def _clipped(r: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Which residuals (m, n) are no outliers; NaN is one."""
    left = np.isfinite(r)
    low, high = np.full((len(r), 1), -np.inf), np.full((len(r), 1), np.inf)
    todo = np.arange(len(r))
    for _ in range(_TIMES):
        some, all_of_them = left[todo], r[todo]
        centre, deviation = _median(all_of_them, some), _deviation(all_of_them, some)
        if lower < np.inf:
            low[todo, 0] = centre - lower * deviation
        if upper < np.inf:
            high[todo, 0] = centre + upper * deviation
        now = some & (all_of_them >= low[todo]) & (all_of_them <= high[todo])
        fewer = np.any(now != some, axis=1)
        left[todo] = now
        todo = todo[fewer]
        if not todo.size:
            break
    return (r >= low) & (r <= high)


def _median(a: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median of the valid numbers in each row of (m, n); NaN where there are none."""
    n = np.count_nonzero(valid, axis=1)
    low, high = np.maximum(n - 1, 0) // 2, np.minimum(n // 2, a.shape[1] - 1)
    places = np.unique(np.stack([low, high]))
    ordered = np.where(valid, a, np.inf)
    if places.size <= _FEW:
        ordered.partition(places, axis=1)
    else:
        ordered.sort(axis=1)
    rows = np.arange(len(a))
    middle = 0.5 * (ordered[rows, low] + ordered[rows, high])
    return np.where(n > 0, middle, np.nan)


def _deviation(a: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Standard deviation of the valid numbers in each row of (m, n)."""
    n = np.maximum(np.count_nonzero(valid, axis=1), 1)
    mean = np.sum(np.where(valid, a, 0.0).T, axis=0) / n
    return np.sqrt(norm2(np.ascontiguousarray(np.where(valid, a - mean[:, None], 0.0).T)) / n)
