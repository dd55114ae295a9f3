r"""Fits in rounds, where their residuals say what the next round fits.

*Clipping.* After each round the samples of a fit lose those that are outliers (`fitters.residuals`), and it goes on
without them. At most three rounds follow the first. This is what astropy's ``FittingWithOutlierRemoval`` does with its
``sigma_clip``, with the defaults of both.

*Scale.* The scale of a robust loss is that of the residuals (`fitters.residuals`). The first round is one of ordinary
least squares, the others begin where the one before has ended, until the scale stays as it is. All but the last need
not be exact.

A round that begins where another has ended is near its minimum, and its steps are hardly damped. No fit sees another,
and a fit is done in no more rounds than it needs.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.contract import FitArrays, Fits, Rules
from xr_modelfit.fitters.residuals import least_scales, left_by_clipping, scales
from xr_modelfit.fitters.rows import all_in_row, together
from xr_modelfit.fitters.samples import Samples

__all__ = ["Solve", "clip_in_rounds", "scale_in_rounds", "with_scale"]

Solve = Callable[[Fits, np.ndarray, Rules], FitArrays]

_CLIPS = 3  # rounds after the first
_SCALES = 10  # rounds after the first, less the last
_ROUGHLY = {"ftol": 1e-4, "xtol": 1e-1, "gtol": 1e-2}  # of rounds that are not the last
_NEAR = 1e-3  # first damping of a round that begins near its minimum
_STEADY = 1e-3  # of a scale that stays as it is
_STEEPEST = 0.8  # by how much the residuals follow their scale


def clip_in_rounds(solve: Solve, fits: Fits, ids: np.ndarray, limits: tuple[float, float], rules: Rules) -> FitArrays:
    """Fit ``ids``, without the samples whose residuals are out of ``limits``, lower and upper."""
    out = solve(fits, ids, rules)
    for _ in range(_CLIPS):
        ids = ids[all_in_row(np.isfinite(out.parameters[ids]))]
        before, valid = out.samples.valid, out.samples.valid.copy()
        fits = replace(fits, samples=replace(fits.samples, valid=before))
        valid[ids] = left_by_clipping(fits, ids, out.parameters[ids], limits)
        ids = ids[np.any(valid[ids] != before[ids], axis=1)]
        if not ids.size:
            break
        fits = replace(fits, samples=replace(fits.samples, valid=valid))
        again = solve(fits.starting_at(ids, out.parameters[ids]), ids, _near(rules))
        out = _after(out, again, ids)
    return out


def scale_in_rounds(solve: Solve, fits: Fits, ids: np.ndarray, noise: str, rules: Rules) -> FitArrays:
    """Fit ``ids`` with the loss ``noise``, at the scale of the residuals of each fit."""
    every, roughly = ids, rules._replace(**{name: max(getattr(rules, name), least) for name, least in _ROUGHLY.items()})
    out, least = solve(fits, ids, roughly), least_scales(fits.samples)
    scale = np.ones(len(fits.starts))
    before = np.full((2, scale.size), np.nan)  # scales of the round before, and what its residuals had
    scaled = with_scale(replace(fits.samples, noise=noise), scale)
    assert scaled.weights is not None
    own = np.array(np.broadcast_to(scaled.weights, fits.samples.y.shape))  # written to, as scales move
    plain = scaled.weights

    def again(ids: np.ndarray, rules: Rules) -> FitArrays:
        out.judged.clear()  # of a round that was not the last
        samples = replace(scaled, weights=own, scale=scale)
        begin = replace(fits, samples=samples).starting_at(ids, _reached(fits, out, ids))
        return _after(out, solve(begin, ids, rules), ids)

    for number in range(_SCALES):
        found = scales(fits, ids, _reached(fits, out, ids), least)
        moved = np.full(ids.shape, number == 0) | (np.abs(found - scale[ids]) > _STEADY * scale[ids])
        ids, found = ids[moved], found[moved]
        if not ids.size:
            break
        wanted = _ahead(scale[ids], found, *before[:, ids]) if number else found
        before[:, ids] = np.stack([scale[ids], found]) if number else np.nan
        scale[ids] = wanted
        at = together(ids)
        own[at] = (plain if len(plain) == 1 else plain[at]) / scale[at, None]
        out = again(ids, _near(roughly))
    return again(every, _near(rules))


def _ahead(scale: np.ndarray, found: np.ndarray, scale_before: np.ndarray, found_before: np.ndarray) -> np.ndarray:
    """The scale that its residuals would have, by the secant of two rounds; arrays (m,)."""
    with np.errstate(all="ignore"):
        slope = np.clip((found - found_before) / (scale - scale_before), -1.0, _STEEPEST)
        wanted = scale + (found - scale) / (1.0 - slope)
    return np.where(np.isfinite(wanted), np.clip(wanted, 0.5 * found, 2.0 * found), found)


def _near(rules: Rules) -> Rules:
    """The rules of a round that begins near its minimum."""
    return rules._replace(first_damping=min(_NEAR, rules.first_damping))


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
    again.with_others(out, ids)
    others = np.ones(len(out.status), dtype=bool)
    others[ids] = False
    before, now = out.samples, again.samples
    if before.scale is not None and now.scale is not None and before.scale is not now.scale:
        assert before.weights is not None
        assert now.weights is not None
        weights = np.where(others[:, None], before.weights, now.weights)
        again.samples = replace(now, weights=weights, scale=np.where(others, before.scale, now.scale))
    return again
