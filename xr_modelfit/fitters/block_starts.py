"""The starts of the fits of a block, and the best of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xr_modelfit.fitters.block_arrays import Block
from xr_modelfit.fitters.block_task import BlockTask, Layout
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.quiet import caught_warnings

__all__ = ["Best", "Tables", "tables_of"]

_LOWER = 1e-10  # of chi-square: less is rounding, and the first of two starts counts
_SAME = 1e-6  # of chi-square: the same minimum


class Tables(NamedTuple):
    """Starts and bounds, (b, K) each, or (1, K) where no fit has its own."""

    starts: np.ndarray
    low: np.ndarray
    high: np.ndarray


def tables_of(block: Block, task: BlockTask, problem: Problem, given: Samples, number: int) -> Tables:
    """Starts and bounds for one of the starts, those from the data estimated."""
    starts, low, high = block.starts_and_bounds(number)
    if task.adapted:
        known = np.isfinite(starts) | problem.fixed  # a fixed parameter that is unknown has no other value
        starts = np.clip(starts if number else np.where(known, starts, problem.start), low, high)
    estimator = task.estimators[number]
    if estimator is None:
        return Tables(starts, low, high)
    inputs = given.inputs if problem.sampling is None else block.places
    y, weights = given.y, given.weights
    if weights is not None and getattr(task.fitter, "loss", "") == "poisson":
        with np.errstate(all="ignore"):  # the model gives rates, whose variance falls with the exposure
            y, weights = y / weights, np.sqrt(weights)
    with caught_warnings():
        found = estimator(problem.at_nodes, y, inputs, weights, given.measured, starts, (low, high))
    return Tables(found.parameters, low, high)


class Best:
    """The best of several fits of a block: a success before a failure, the lower chi-square, the earlier start."""

    def __init__(self, layout: Layout) -> None:
        self.fields = layout.fields
        self.all: list[np.ndarray] = []

    def add(self, packed: np.ndarray) -> None:
        """What one of the starts came to, (b, width)."""
        self.all.append(packed)

    @property
    def numbers(self) -> np.ndarray:
        """Which of the starts is the best, (b,)."""
        chosen = np.zeros(len(self.all[0]), dtype=int)
        best_ok, best = self._ended(self.all[0])
        for number, packed in enumerate(self.all[1:], start=1):
            ok, chi2 = self._ended(packed)
            better = ok & (~best_ok | (chi2 < best * (1.0 - _LOWER)))
            chosen = np.where(better, number, chosen)
            best_ok, best = best_ok | ok, np.where(better, chi2, best)
        return chosen

    @property
    def packed(self) -> np.ndarray:
        """The best of each fit, and how many of its starts came there."""
        chosen = self.numbers
        out = np.array(self.all[0])
        for number, packed in enumerate(self.all):
            out[chosen == number] = packed[chosen == number]
        if "n_reached" in self.fields:
            ok, best = self._ended(out)
            ended = [self._ended(packed) for packed in self.all]
            reached = sum(fine & (chi2 <= best * (1.0 + _SAME)) for fine, chi2 in ended)
            out[:, self.fields["n_reached"]] = np.where(ok, reached, 0)[:, None]
        return out

    def starts(self, tables: Sequence[Tables]) -> Tables:
        """The starts of the best."""
        chosen = self.numbers
        starts = np.stack([np.broadcast_to(t.starts, (chosen.size, t.starts.shape[1])) for t in tables])
        return tables[0]._replace(starts=starts[chosen, np.arange(chosen.size)])

    def _ended(self, packed: np.ndarray) -> tuple[Any, np.ndarray]:
        chi2 = packed[:, self.fields["chi2"]][:, 0]
        if "chi2_prior" in self.fields:
            chi2 = chi2 + packed[:, self.fields["chi2_prior"]][:, 0]
        return packed[:, self.fields["fit_status"]][:, 0] > 0, chi2
