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
_EXACT = (1e-200, 1e200)  # sizes of values that are neither rounded to nothing nor about to overflow


def telling_points(evaluate: Evaluate, start: np.ndarray, n_inputs: int) -> Iterator[list[np.ndarray]]:
    """Values of each input about ``start``: where the model is largest, then where it is of its usual size.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(inputs, parameters)``: values, or None where it cannot be evaluated.
    start : ndarray, shape (K,)
        Parameters, none of them 0.
    n_inputs : int

    Yields
    ------
    list of ndarray, shape (n,)
    """
    rng = np.random.default_rng(1)
    places = np.unique([0.0, *start])
    sizes = np.abs(start)
    scales = np.unique([*sizes, *1.0 / sizes])
    kinds = np.array([(place, scale) for place in places for scale in scales])
    every = len(kinds) ** n_inputs
    some = np.arange(every) if every <= _MOST // 3 else rng.choice(every, _MOST // 3, replace=False)
    pairs = kinds[np.stack(np.unravel_index(some, (len(kinds),) * n_inputs), axis=1)]  # (m, n_inputs, 2)

    def drawn(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = which[..., 0] + which[..., 1] * rng.uniform(-1.5, 1.5, which.shape[:-1])
        values = evaluate(list(points.T), start)
        size = np.zeros(len(points)) if values is None else np.abs(values)
        return points, np.where((size > _EXACT[0]) & (size < _EXACT[1]), size, 0.0)

    pairs = np.repeat(pairs, 3, axis=0)
    size = drawn(pairs)[1]
    if not size.any():
        return
    usual = float(np.median(size[size > 0]))
    for low, high in ((1e-3 * size.max(), np.inf), (1e-2 * usual, 1e2 * usual)):
        telling = pairs[(size >= low) & (size <= high)]
        points, again = drawn(telling[rng.integers(len(telling), size=2 * _KEPT)])
        points = points[(again >= low) & (again <= high)][:_KEPT]
        if len(points) > 1:
            yield list(points.T)


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
