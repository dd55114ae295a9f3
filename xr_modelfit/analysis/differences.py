"""Derivatives by differences, for many fits at once, with steps from what they do.

``(f(p + h) - f(p - h)) / 2h``, inward at a bound. The step is not taken from ``|p|``, which says
nothing at 0 or far from it, but from what it does to the values: rounding costs
``nu / |f(p+h) - f(p-h)|`` with the noise ``nu = eps max|f|``, truncation about the square of
``c = |f(p+h) - 2 f(p) + f(p-h)| / |f(p+h) - f(p-h)|``; the step with the smallest sum is kept.

A sample in which ``f`` has a cusp, kink or jump at ``p`` itself (the centre of a profile on a
pixel) bends whatever the step, and would spoil the choice for all others. It is recognised by how
its bend changes with the step, and left out of the choice. Its own derivative is the mean of those
on both sides, and 0 where that has no limit.

Shapes: ``n`` samples, ``b`` fits; values and columns (n, b), parameters and bounds (b,).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["derivative"]

_JUMP = 0.1  # a step whose effect does not shrink with it
_GOOD = 1e-3  # an error that needs no second look
_SEEN = 1e3  # times the noise
_FAR = 1e2  # times the parameter
_OTHER_STEPS = (0.7, 0.3, 0.11)  # of that step: rounding does something else there
_ALIKE = 0.3  # of the largest slope
_FINER = 1.0 / 16.0  # from one step to the next, where samples are told apart
_ROUGH = 0.5  # how much of a bend is left at the finer step: 1/16 where smooth, 1 in a kink, more in a cusp
_STEEP = 1.5  # growth of a mean slope that has no limit

Values = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Place(NamedTuple):
    """Where fits are: their parameter, its bounds, the values there and their noise."""

    p: np.ndarray
    low: np.ndarray
    high: np.ndarray
    f0: np.ndarray
    noise: np.ndarray

    def of(self, which: np.ndarray) -> "_Place":
        return _Place(self.p[which], self.low[which], self.high[which], self.f0[:, which], self.noise[which])

    @property
    def width(self) -> np.ndarray:
        return np.where(np.isfinite(self.high - self.low), self.high - self.low, 1.0)

    @property
    def size(self) -> np.ndarray:
        return np.maximum(np.abs(self.p), self.width)

    @property
    def step(self) -> np.ndarray:
        """A step to begin with."""
        return 1e-5 * np.maximum(np.abs(self.p), 1e-3 * self.width)


class _Found(NamedTuple):
    """Columns, their errors, the steps that gave them, and which fits never had a finite neighbour."""

    columns: np.ndarray
    error: np.ndarray
    step: np.ndarray
    lost: np.ndarray


def derivative(at: Values, p: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Derivatives (n, b) of ``at(which, values)`` at ``p``, each fit with a step from its effect.

    Zero where no step does anything, or where it does the same whatever its size (a jump).
    """
    f0 = np.array(at(np.arange(p.size), p))
    noise = np.finfo(float).eps * np.maximum(np.max(np.abs(f0), axis=0), np.finfo(float).tiny)
    place = _Place(p, low, high, f0, noise)
    first = _unlike_rounding(at, place, _search(at, place))
    best = first.columns
    again = np.flatnonzero((first.error >= _GOOD) & np.isfinite(first.error) & ~first.lost)
    best[:, first.error > _JUMP] = 0.0
    if again.size:

        def some(which: np.ndarray, values: np.ndarray) -> np.ndarray:
            return at(again[which], values)

        columns, good = _by_regular_samples(some, place.of(again), first.step[again], first.error[again])
        best[:, again[good]] = columns[:, good]
    best[:, first.lost] = np.nan
    return best


def _search(at: Values, place: _Place, regular: np.ndarray | None = None) -> _Found:
    """The best step of each fit, by its ``regular`` samples."""
    noise, size = place.noise, place.size
    b, h = size.size, place.step
    room = np.maximum(place.p - place.low, place.high - place.p)  # no step goes further
    best, best_error, best_step = np.zeros(place.f0.shape), np.full(b, np.inf), h.copy()
    todo, lost = np.ones(b, dtype=bool), np.ones(b, dtype=bool)  # lost: never finite beside p
    bent = np.zeros(b, dtype=bool)  # an effect was seen, and no slope
    for _ in range(40):
        which = np.flatnonzero(todo)
        if not which.size:
            break
        slopes = _slopes(at, which, place.of(which), h[which])
        columns, effect, bend = slopes.seen(None if regular is None else regular[:, which])
        nu = noise[which]
        rounding = nu / np.maximum(effect, nu)
        truncation = np.minimum((bend / np.maximum(effect, nu)) ** 2, 1.0)
        error = np.where(np.isfinite(effect), rounding + truncation, np.inf)
        lost[which] &= ~np.isfinite(effect)
        unseen = np.maximum(effect, bend) <= _SEEN * nu
        better = ~unseen & (error < best_error[which])
        best[:, which[better]] = columns[:, better]
        past = ~unseen & ~better & (best_error[which] < _GOOD) & np.isfinite(error)
        best_error[which[better]] = error[better]
        best_step[which[better]] = h[which[better]]
        blind = unseen & ((h[which] > 1e40 * size[which]) | (h[which] >= room[which]))
        between = unseen & bent[which] & (best_error[which] > _JUMP)  # larger steps bend, and this does nothing
        bent[which] |= np.isfinite(effect) & ~unseen & (truncation > _JUMP)
        todo[which[past | blind | between | (best_error[which] < 1e-9)]] = False
        factor = np.where(truncation < rounding, 4.0, np.where(truncation > 1e-2, 0.05, 0.25))
        # What is unseen is below 1e-12 of the values, so that 1e8 times as much is a small step still.
        wider = np.where(h[which] > _FAR * size[which], 1e8, 100.0)
        factor = np.where(np.isfinite(effect), np.where(unseen, wider, factor), 0.05)
        h[which] *= factor
    return _Found(best, best_error, best_step, lost)


def _unlike_rounding(at: Values, place: _Place, found: _Found) -> _Found:
    """What was found, with an infinite error where a step far beyond the parameter shows rounding alone.

    A parameter without effect may seem to have one by such steps: ``a + (b - a)`` is ``b``, and rounded where ``a``
    is large. Other steps then say something else.
    """
    far = np.flatnonzero((found.step > _FAR * place.size) & np.isfinite(found.error) & ~found.lost)
    if not far.size:
        return found
    there, step, kinked = place.of(far), found.step[far], found.error[far] > _JUMP
    first, same = _slopes(at, far, there, step), np.ones(far.size, dtype=bool)
    with np.errstate(all="ignore"):
        for fraction in _OTHER_STEPS:
            other = _slopes(at, far, there, fraction * step)
            mean, below, above = (_alike(a, b) for a, b in zip(other.sides, first.sides, strict=True))
            same &= np.where(kinked, below & above, mean)
    error = found.error.copy()
    error[far[~same]] = np.inf
    return found._replace(error=error)


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether slopes (n, b) are about the same, (b,)."""
    return np.asarray(np.max(np.abs(a - b), axis=0) <= _ALIKE * np.max(np.abs(b), axis=0))


def _by_regular_samples(
    at: Values, place: _Place, step: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of fits without a good step, which now is chosen without the samples that are rough at ``p``.

    Returns them, and for which fits they are better than those with the ``error`` given.
    """
    rough, steep, own, alive = _rough(at, place, step)
    columns, good = own, (error > _JUMP) & np.any(rough & ~steep, axis=0)
    which = np.flatnonzero(rough.any(axis=0) & alive)
    if which.size:

        def some(among: np.ndarray, values: np.ndarray) -> np.ndarray:
            return at(which[among], values)

        found = _search(some, place.of(which), ~rough[:, which])
        better = found.error < np.minimum(error[which], _JUMP)
        chosen = which[better]
        columns[:, chosen] = np.where(steep[:, chosen], 0.0, found.columns[:, better])
        good[chosen] = True
    return columns, good & np.all(np.isfinite(columns), axis=0)


def _rough(at: Values, place: _Place, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples that bend whatever the step, those of them whose slope has no limit, and the slopes; all (n, b).

    Also the fits in which a step has an effect on another sample.
    """
    n, b = place.f0.shape
    rough, steep = np.zeros((n, b), dtype=bool), np.zeros((n, b), dtype=bool)
    own, upward = np.zeros((n, b)), np.zeros((n, b))
    every, visible = np.arange(b), np.zeros((n, b), dtype=bool)
    slope, bend, moved = np.zeros((n, b)), np.zeros((n, b)), np.zeros((n, b), dtype=bool)
    step = np.maximum(step, place.step)
    for _ in range(14):
        slopes = _slopes(at, every, place, step)
        with np.errstate(all="ignore"):
            before, bend_before, slope_before = visible, bend, slope
            slope, bend, short = slopes.mean, np.abs(slopes.below - slopes.above), slopes.short
            visible = bend * short > _SEEN * place.noise
            comparable = visible & before
            rough = np.where(comparable, bend > _ROUGH * bend_before, rough)
            changed = np.abs(slope) * short > _SEEN * place.noise
            steep = np.where(comparable, changed & (np.abs(slope) > _STEEP * np.abs(slope_before)), steep)
            own, upward = np.where(comparable, slope, own), np.where(comparable, slopes.above, upward)
            moved |= changed
        if not visible.any():
            break
        step = _FINER * step
    limited, alive = rough & ~steep, np.any(moved & ~rough, axis=0)
    own = np.where(limited, own, 0.0)
    idle = ~alive & ~own.any(axis=0)  # |p| at 0: either side is a way out
    return rough, steep, np.where(limited & idle, upward, own), alive


class _Slopes(NamedTuple):
    """What a step does: slopes (n, m) below, above and between, and how long it and its shorter half are."""

    below: np.ndarray
    above: np.ndarray
    mean: np.ndarray
    long: np.ndarray
    short: np.ndarray

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.mean, self.below, self.above

    def seen(self, regular: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns, the largest effects of the steps on regular samples, and the bends there."""
        with np.errstate(all="ignore"):
            effects, bends = np.abs(self.mean), np.abs(self.below - self.above)
            if regular is not None:
                effects, bends = np.where(regular, effects, 0.0), np.where(regular, bends, 0.0)
            effect = np.max(effects, axis=0) * self.long
            bend = np.max(bends, axis=0) * self.short
        nowhere = self.short == 0
        return self.mean, np.where(nowhere, 0.0, effect), np.where(nowhere, 0.0, bend)


def _slopes(at: Values, which: np.ndarray, place: _Place, h: np.ndarray) -> _Slopes:
    """Differences of fits ``which``, which are at ``place``, with the step ``h`` or inward ones."""
    p, low, high, f, _ = place
    below, above = p - low, high - p  # room on either side
    h = np.minimum(h, np.maximum(below, above))
    a = np.where(below >= 0.25 * h, p - np.minimum(h, below), p + 0.5 * np.minimum(h, above))
    c = np.where(above >= 0.25 * h, p + np.minimum(h, above), p - 0.5 * np.minimum(h, below))
    a, c = np.clip(a, low, high), np.clip(c, low, high)
    da, dc = a - p, c - p  # the steps as they are represented
    with np.errstate(all="ignore"):
        fa, fc = at(which, a) - f, at(which, c) - f
        ends_below, ends_above = (~np.all(np.isfinite(v), axis=0) for v in (fa, fc))
        if np.any(ends_below != ends_above):  # the model ends on one side: both points on the other
            a = np.where(ends_below & ~ends_above, p + 0.5 * (c - p), a)
            c = np.where(ends_above & ~ends_below, p + 0.5 * (a - p), c)
            da, dc = a - p, c - p
            fa, fc = at(which, a) - f, at(which, c) - f
        # Derivative at 0 of the parabola through (0, 0), (da, fa), (dc, fc).
        mean = (fc * (da / dc) - fa * (dc / da)) / (da - dc)
        return _Slopes(fa / da, fc / dc, mean, np.abs(dc - da), np.minimum(np.abs(da), np.abs(dc)))
