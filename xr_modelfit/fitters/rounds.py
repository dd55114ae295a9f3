r"""Fits in rounds, where their residuals say what the next round fits.

*Clipping.* After each round the residuals ``y - f`` of a fit lose those that lie further from their median than
``lower`` or ``upper`` standard deviations, until no more do, at most five times; then the fit goes on without these
samples. At most three rounds follow the first. This is what astropy's ``FittingWithOutlierRemoval`` does with its
``sigma_clip``, with the defaults of both.

*Scale.* The scale of a robust loss is the median absolute residual ``m`` of the fit, times 1.4826: the standard
deviation of noise that is normal but for outliers [1]_. The first round is one of ordinary least squares, the others
begin where the one before has ended, until the scale stays as it is. All but the last need not be exact.

No fit sees another, and a fit is done in no more rounds than it needs.

References
----------
.. [1] Hampel, F. (1974), J. American Statistical Association 69, 383.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.contract import FitArrays, Fits, Rules
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.sums import norm2

__all__ = ["Solve", "clip_in_rounds", "scale_in_rounds", "with_scale"]

Solve = Callable[[Fits, np.ndarray], FitArrays]

_CLIPS = 3  # rounds after the first
_TIMES = 5  # passes over the residuals of a round
_SCALES = 10  # rounds after the first, less the last
_ROUGHLY = {"ftol": 1e-4, "xtol": 1e-2, "gtol": 1e-2}  # of rounds that are not the last
_STEADY = 1e-3  # of a scale that stays as it is
_NORMAL = 1.482602218505602  # standard deviation of a normal distribution by its median absolute value
_NO_SCALE = 1e-10  # of the root mean square of the data: a smaller scale is rounding


def clip_in_rounds(solve: Solve, fits: Fits, ids: np.ndarray, limits: tuple[float, float]) -> FitArrays:
    """Fit ``ids``, without the samples whose residuals are out of ``limits``, lower and upper."""
    out = solve(fits, ids)
    for _ in range(_CLIPS):
        ids = ids[np.all(np.isfinite(out.parameters[ids]), axis=1)]
        valid = out.samples.valid.copy()
        valid[ids] = _clipped(_residuals(fits, ids, out.parameters[ids]), valid[ids], *limits)
        ids = ids[np.any(valid[ids] != out.samples.valid[ids], axis=1)]
        if not ids.size:
            break
        samples = replace(fits.samples, valid=valid)
        again = solve(replace(fits, samples=samples).starting_at(ids, out.parameters[ids]), ids)
        out = _after(out, again, ids)
    return out


def scale_in_rounds(
    solve: Callable[[Fits, np.ndarray, Rules], FitArrays], fits: Fits, ids: np.ndarray, noise: str, rules: Rules
) -> FitArrays:
    """Fit ``ids`` with the loss ``noise``, at the scale of the residuals of each fit."""
    every, roughly = ids, rules._replace(**{name: max(getattr(rules, name), least) for name, least in _ROUGHLY.items()})
    plain, scale = fits.samples, np.ones(len(fits.starts))
    out = solve(fits, ids, roughly)

    def again(ids: np.ndarray, rules: Rules) -> FitArrays:
        samples = with_scale(replace(plain, noise=noise), scale)
        begin = replace(fits, samples=samples).starting_at(ids, _reached(fits, out, ids))
        return _after(out, solve(begin, ids, rules), ids)

    for number in range(_SCALES):
        found = _scales(fits, ids, _reached(fits, out, ids))
        moved = np.full(ids.shape, number == 0) | (np.abs(found - scale[ids]) > _STEADY * scale[ids])
        scale[ids[moved]] = found[moved]
        ids = ids[moved]
        if not ids.size:
            break
        out = again(ids, roughly)
    return again(every, rules)


def _reached(fits: Fits, out: FitArrays, ids: np.ndarray) -> np.ndarray:
    """Where fits ``ids`` are now, (ids.size, K), or their starts."""
    P = out.parameters[ids]
    return np.where(np.isfinite(P), P, fits.starts[ids])


def with_scale(samples: Samples, scale: np.ndarray) -> Samples:
    """Samples whose weighted residuals are divided by ``scale``, (b,) or (1,)."""
    weights = np.ones((1, samples.y.shape[1])) if samples.weights is None else samples.weights
    return replace(samples, weights=weights / scale[:, None], scale=np.broadcast_to(scale, len(samples.y)))


def _after(out: FitArrays, again: FitArrays, ids: np.ndarray) -> FitArrays:
    """What became of fits after a further round of those named ``ids``."""
    again.n_iter[ids] += np.nan_to_num(out.n_iter[ids])
    others = np.ones(len(out.status), dtype=bool)
    others[ids] = False
    for name in ("parameters", "status", "n_iter"):
        getattr(again, name)[others] = getattr(out, name)[others]
    for known, judgement in out.judged:
        kept = others[known]
        again.judged.append((known[kept], judgement.only(kept)))
    before, now = out.samples, again.samples
    if before.scale is not None and now.scale is not None and before.scale is not now.scale:
        assert before.weights is not None
        assert now.weights is not None
        weights = np.where(others[:, None], before.weights, now.weights)
        again.samples = replace(now, weights=weights, scale=np.where(others, before.scale, now.scale))
    return again


def _residuals(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """``y - f`` of fits ``ids`` at ``P`` (ids.size, K), shape (ids.size, n); NaN where the model raises."""
    found = np.full((ids.size, fits.samples.y.shape[1]), np.nan)

    def some(rows: np.ndarray) -> None:
        at = fits.columns(ids[rows], P[rows])
        with np.errstate(all="ignore"):
            found[rows] = (at.y - at.values(fits.problem.with_ties(at.P))).T

    for rows in chunks(np.arange(ids.size), fits.samples.n_values):
        for _ in isolate_errors(some, rows):
            pass
    return found


def _scales(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """The scale of the weighted residuals of fits ``ids`` at ``P`` (ids.size, K), shape (b,)."""
    samples, r = fits.samples, _residuals(fits, ids, P)
    w = np.ones((1, 1)) if samples.weights is None else np.broadcast_to(samples.weights, samples.y.shape)[ids]
    valid = samples.valid[ids] & np.isfinite(r)
    size = np.where(valid, samples.y[ids] * w, 0.0)
    n = np.maximum(np.count_nonzero(valid, axis=1), 1)
    least = _NO_SCALE * np.sqrt(np.sum(size.T**2, axis=0) / n)
    found = np.fmax(_NORMAL * _median(np.abs(r * w), valid), least)
    return np.where(found > 0.0, found, 1.0)


def _clipped(r: np.ndarray, valid: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Which samples are left of those ``valid``; (b, n) each, ``r`` the residuals."""
    left = valid & np.isfinite(r)
    low, high = np.full((len(r), 1), -np.inf), np.full((len(r), 1), np.inf)
    todo = np.arange(len(r))
    for _ in range(_TIMES):
        some = left[todo]
        centre, deviation = _median(r[todo], some), _deviation(r[todo], some)
        if lower < np.inf:
            low[todo, 0] = centre - lower * deviation
        if upper < np.inf:
            high[todo, 0] = centre + upper * deviation
        now = some & (r[todo] >= low[todo]) & (r[todo] <= high[todo])
        fewer = np.any(now != some, axis=1)
        left[todo] = now
        todo = todo[fewer]
        if not todo.size:
            break
    return valid & (r >= low) & (r <= high)


def _median(a: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median of the valid numbers in each row of (b, n); NaN where there are none."""
    ordered = np.sort(np.where(valid, a, np.inf), axis=1)
    n = np.count_nonzero(valid, axis=1)
    rows = np.arange(len(a))
    middle = 0.5 * (ordered[rows, np.maximum(n - 1, 0) // 2] + ordered[rows, np.minimum(n // 2, a.shape[1] - 1)])
    return np.where(n > 0, middle, np.nan)


def _deviation(a: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Standard deviation of the valid numbers in each row of (b, n)."""
    n = np.maximum(np.count_nonzero(valid, axis=1), 1)
    mean = np.sum(np.where(valid, a, 0.0).T, axis=0) / n
    return np.sqrt(norm2(np.ascontiguousarray(np.where(valid, a - mean[:, None], 0.0).T)) / n)
