"""Whether a model is pointwise: its value at a sample depends on that sample alone.

A model that is not, such as a convolution or one that centres its coordinate, needs the whole grid of a fit, gaps
included. Code cannot be read for this, so it is tried: on the samples of a fit in another order, on some of them, on
single ones, and with other coordinates in the place of some. Where the value at a sample changes with any of this, the
model is not pointwise. Without proof, a model is taken for one that sees all its samples, which is right for both kinds
and slower.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from xr_modelfit.analysis.probing import beside_start, coordinates_near, far_points
from xr_modelfit.models.grid import Grid
from xr_modelfit.models.problem import Inputs, Problem

__all__ = ["is_pointwise", "same_on_grid"]

_SAME = 1e-9  # of the value: code that sees one sample gives the same but for rounding
_ROUNDING = 1e-13  # of the usual size of values: what is small beside it may still depend on its neighbours
_CANCELS = 1e-7  # of the largest value at a sample with any parameters
_FEW = 8  # parameters far from the start
_SINGLE = 3  # samples that are tried alone
_SOME = 64  # samples among which those are looked for that a model takes

Known = tuple[np.ndarray, np.ndarray]  # parameters (K,), and the values that they give


class _Trial(NamedTuple):
    """Coordinates to evaluate the model on, which of the values to look at, and the samples that they belong to."""

    inputs: list[np.ndarray]
    at: np.ndarray
    known: np.ndarray


def is_pointwise(problem: Problem, grid: Grid, inputs: Inputs) -> bool | None:
    """Whether the model is seen to be pointwise; None where it has no varying values to tell.

    ``inputs`` (n,) are all coordinates of a fit. Of the problem's traits, only ``writes_inputs`` matters.
    """
    here, shape = [grid.shaped(x).reshape(-1) for x in inputs], grid.shape
    far = far_points(problem)
    try:
        near = beside_start(problem)
    except Exception:  # ties that work for some values only
        near = far
    few = far[:, np.linspace(0, far.shape[1] - 1, min(_FEW, far.shape[1])).astype(int)]
    if not here[0].size:
        return None
    # The start may lie far from the samples: what has no effect on them is seen near it.
    there = _near_start(problem, shape, len(here), near)
    places = [place for place in (_accepted(problem, at, shape, near) for at in (here, there)) if place[0][0].size]
    varied = False
    for P, trials in ((near, _every_trial), (few, _quick_trials)):
        for number, (at, form) in enumerate(places):
            known = _known(problem, form, at, P)
            if known and not _stays(problem, known, trials(form, at)):
                return False
            if number == 0 and P is near and not known:
                return None
            varied = varied or any(np.ptp(v[np.isfinite(v)]) > 0 for _, v in known)
    return True if varied else None


def same_on_grid(problem: Problem, grid: Grid, inputs: Inputs) -> bool:
    """Whether the model gives on the grid of a fit what it gives on its samples in a row; arguments as there."""
    try:
        P = beside_start(problem)
        on_grid = [(p, _evaluated(problem, [grid.shaped(x) for x in inputs], p)) for p in P.T]
        in_row = _evaluated(problem, [grid.shaped(x).reshape(-1) for x in inputs], P[:, 1])
    except Exception:  # it takes one of the two only
        return False
    return _same(in_row, on_grid[1][1], _rounding(on_grid))


def _accepted(
    problem: Problem, inputs: list[np.ndarray], shape: tuple[int, ...], P: np.ndarray
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Coordinates and their shape, without those that the model refuses: samples there may be left out."""
    if not _raises(problem, shape, inputs, P):
        return inputs, shape
    n = inputs[0].size
    some = np.unique(np.linspace(0, n - 1, min(n, _SOME)).astype(int))
    good = [i for i in some.tolist() if not _raises(problem, (1,), [x[i : i + 1] for x in inputs], P[:, :1])]
    usable = [x[np.array(good, dtype=int)] for x in inputs]
    return usable, usable[0].shape


def _near_start(problem: Problem, shape: tuple[int, ...], n_inputs: int, P: np.ndarray) -> list[np.ndarray]:
    """Coordinates of a fit near the start of the model, or farther out where it refuses those."""
    n = math.prod(shape)
    for by in (1.0, -1.0, 10.0, 1e3):
        at = coordinates_near(problem.start, n, n_inputs, by)
        if not _raises(problem, shape, at, P):
            break
    return at


def _raises(problem: Problem, shape: tuple[int, ...], inputs: Inputs, P: np.ndarray) -> bool:
    """Whether the model refuses coordinates, whatever its parameters."""
    for p in P.T:
        with suppress(Exception):
            _evaluated(problem, [x.reshape(shape) for x in inputs], p)
            return False
    return True


def _known(problem: Problem, shape: tuple[int, ...], inputs: Inputs, P: np.ndarray) -> list[Known]:
    """Parameters with the values that they give on the coordinates of a fit, where any are finite."""
    known: list[Known] = []
    for p in P.T:
        with suppress(Exception):  # it may refuse these parameters, or these coordinates
            values = _evaluated(problem, [x.reshape(shape) for x in inputs], p)
            if np.any(np.isfinite(values)):
                known.append((p, values))
    return known


def _stays(problem: Problem, known: list[Known], trials: Iterator[_Trial]) -> bool:
    """Whether the value at a sample is the same, whatever the other samples are."""
    rounding = _rounding(known)
    for trial in trials:
        for p, values in known:
            try:
                found = _evaluated(problem, trial.inputs, p)
            except Exception:  # it needs its samples as they are
                return False
            if not _same(found[trial.at], values[trial.known], rounding[trial.known]):
                return False
    return True


def _every_trial(shape: tuple[int, ...], inputs: Inputs) -> Iterator[_Trial]:
    """All trials; those that most models fail come first."""
    n = inputs[0].size
    yield from _quick_trials(shape, inputs)
    some = np.sort(np.random.default_rng(2).permutation(n)[: max(n // 2, 1)])
    for chosen in (some, *(np.array([i]) for i in np.unique(np.linspace(0, n - 1, _SINGLE).astype(int)).tolist())):
        yield _Trial([x[chosen] for x in inputs], np.arange(chosen.size), chosen)


def _quick_trials(shape: tuple[int, ...], inputs: Inputs) -> Iterator[_Trial]:
    """Trials on as many samples as a fit has: some in the place of others, and all in another order."""
    n = inputs[0].size
    order = np.random.default_rng(1).permutation(n)
    some = np.zeros(n, dtype=bool)
    some[order[: n // 2]] = True
    for kept in (some, ~some):
        if kept.any():
            moved = [np.where(kept, x, x[np.argmax(kept)]) for x in inputs]
            yield _Trial([x.reshape(shape) for x in moved], kept, kept)
    yield _Trial([x[order] for x in inputs], np.arange(n), order)


def _evaluated(problem: Problem, inputs: Inputs, parameters: np.ndarray) -> np.ndarray:
    """Values of the model, one after the other."""
    with np.errstate(all="ignore"):
        values = problem.model_values(inputs, list(parameters))
    return np.array(np.broadcast_to(values, inputs[0].shape)).reshape(-1)  # the model may return the same array again


def _rounding(known: Sequence[Known]) -> np.ndarray:
    """How much of a value may be rounding (n,).

    A value may be small because large terms cancel: their size shows at the same sample with other parameters, and at
    most other samples. The largest value of all is no measure: it may be far larger, and would hide all changes.
    """
    sizes = np.max([np.where(np.isfinite(values), np.abs(values), 0.0) for _, values in known], axis=0)
    usual = np.quantile(sizes[sizes > 0.0], 0.25) if np.any(sizes > 0.0) else 0.0
    return np.maximum(_CANCELS * sizes, _ROUNDING * usual)


def _same(a: np.ndarray, b: np.ndarray, rounding: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= _SAME * np.abs(b) + rounding
        return bool(np.all(near | (a == b) | (np.isnan(a) & np.isnan(b))))
