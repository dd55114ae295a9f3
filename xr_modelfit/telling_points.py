"""Inputs at which a model says something: about its own numbers, on the scale of its own numbers.

A line that is narrow for its place is zero almost everywhere, and so is a source on the sky. Which
of a model's numbers are places and which are widths is not known, so each is tried as both.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

__all__ = ["moderate_changes", "telling_points"]

Evaluate = Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray | None]

_MOST = 30_000  # points that are tried
_KEPT = 200  # points of an answer
_STEP = 1e-6  # of a parameter: a line a millionth as wide as it is far from zero is still in sight
_EXACT = (1e-200, 1e200)  # sizes of values that are neither rounded to nothing nor about to overflow


def telling_points(
    evaluate: Evaluate, start: np.ndarray, n_inputs: int, unknown: Sequence[int]
) -> Iterator[list[np.ndarray]]:
    """Values of each input about ``start``: where some parameters have an effect, then where values are as usual.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(inputs, parameters)``: values, or None where it cannot be evaluated.
    start : ndarray, shape (K,)
        Parameters, none of them 0.
    n_inputs : int
    unknown : sequence of int
        The parameters whose effect is looked for.

    Yields
    ------
    list of ndarray, shape (n,)
    """
    rng = np.random.default_rng(1)
    kinds = _kinds(start, n_inputs, rng)

    def drawn(which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of these kinds, sizes of values there, and of the effects of the parameters."""
        points = which[..., 0] + which[..., 1] * rng.uniform(-1.5, 1.5, which.shape[:-1])
        size, effects = _sizes(evaluate, list(points.T), start, unknown)
        return points, size, effects

    kinds = np.repeat(kinds, 3, axis=0)
    _, size, effects = drawn(kinds)
    largest = np.max(effects, axis=1, initial=0.0)
    seen = np.flatnonzero(largest > 0)
    if seen.size:
        telling = np.concatenate(
            [rng.choice(np.flatnonzero(effects[j] >= 1e-2 * largest[j]), 2 * _KEPT // seen.size + 1) for j in seen]
        )
        points, _, again = drawn(kinds[rng.permutation(telling)])
        points = points[np.any(again[seen] >= 1e-3 * largest[seen, None], axis=0)][:_KEPT]
        if len(points) > 1:
            yield list(points.T)
    if size.any():
        usual = float(np.median(size[size > 0]))
        points, again, _ = drawn(
            kinds[rng.choice(np.flatnonzero((size >= usual / 99) & (size <= usual * 99)), 2 * _KEPT)]
        )
        points = points[(again >= usual / 99) & (again <= usual * 99)][:_KEPT]
        if len(points) > 1:
            yield list(points.T)


def _kinds(start: np.ndarray, n_inputs: int, rng: np.random.Generator) -> np.ndarray:
    """Place and scale of each input, in every combination or many of them, shape (m, n_inputs, 2)."""
    places = np.unique([0.0, *start])
    scales = np.unique(np.abs(start))
    each = np.array([(place, scale) for place in places for scale in scales])
    every = len(each) ** n_inputs
    some = np.arange(every) if every <= _MOST // 3 else rng.choice(every, _MOST // 3, replace=False)
    return each[np.stack(np.unravel_index(some, (len(each),) * n_inputs), axis=1)]


def _sizes(
    evaluate: Evaluate, inputs: Sequence[np.ndarray], start: np.ndarray, unknown: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the values, (n,), and of the effects of parameters on them, (len(unknown), n); 0 where not to be had."""
    here = evaluate(inputs, start)
    n = inputs[0].size
    if here is None:
        return np.zeros(n), np.zeros((len(unknown), n))
    usable = (np.abs(here) > _EXACT[0]) & (np.abs(here) < _EXACT[1])
    effects = []
    for j in unknown:
        there = evaluate(inputs, np.where(np.arange(start.size) == j, start * (1 + _STEP), start))
        effect = np.zeros(n) if there is None else np.abs(there - here)
        effects.append(np.where(usable & (effect > 1e3 * np.finfo(float).eps * np.abs(here)), effect, 0.0))
    return np.where(usable, np.abs(here), 0.0), np.array(effects).reshape(len(unknown), n)


def moderate_changes(evaluate: Evaluate, inputs: Sequence[np.ndarray], start: np.ndarray, most: float) -> np.ndarray:
    """For each parameter, a relative change of at most ``most`` that leaves the values of their size, shape (K,)."""
    here = evaluate(inputs, start)
    found = np.full(start.size, most)
    if here is None:
        return found
    size = np.nanmax(np.abs(here), initial=0.0)
    for j in range(start.size):
        while found[j] > 1e-12:
            beside = [
                evaluate(inputs, np.where(np.arange(start.size) == j, start * s, start))
                for s in (1 - found[j], 1 + found[j])
            ]
            if all(b is not None and np.nanmax(np.abs(b - here), initial=0.0) <= 0.5 * size for b in beside):
                break
            found[j] /= 4
    return found
