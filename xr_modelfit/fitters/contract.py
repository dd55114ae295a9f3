"""The contract between blocks and fitters: what a fitter is given, and what it gives back.

Shapes: ``b`` fits, ``n`` samples each, ``K`` parameters of the model.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol
from warnings import WarningMessage

import numpy as np

from xr_modelfit.fitters.chunking import chunks
from xr_modelfit.fitters.covariance import Judgement
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["FitArrays", "Fits", "Fitter", "Notes", "Options"]


class Options(NamedTuple):
    """When a fit is done; see `fitters.batch.BatchLSQFitter`."""

    maxiter: int
    ftol: float
    xtol: float
    gtol: float


@dataclass(frozen=True)
class Fits:
    """The fits of a block: their model, samples, starts and bounds."""

    problem: Problem
    samples: Samples
    starts: np.ndarray  # (b, K)
    low: np.ndarray  # (b, K)
    high: np.ndarray  # (b, K)

    def columns(self, ids: np.ndarray, P: np.ndarray | None = None) -> FitColumns:
        """Fits ``ids`` in columns, at ``P`` (ids.size, K) or at their starts."""
        tables = self.starts[ids] if P is None else P, self.low[ids], self.high[ids]
        return FitColumns(self.problem, *self.samples.columns(ids), *(np.ascontiguousarray(a.T) for a in tables))

    def in_chunks(self, ids: np.ndarray, P: np.ndarray) -> Iterator[tuple[np.ndarray, FitColumns]]:
        """Rows of ``ids`` and ``P`` (ids.size, K), and those fits in columns: few enough for the cache."""
        for rows in chunks(np.arange(ids.size), self.samples.n_values):
            yield rows, self.columns(ids[rows], P[rows])

    def starting_at(self, ids: np.ndarray, P: np.ndarray) -> Fits:
        """The same with the starts ``P`` (ids.size, K) of the fits ``ids``; others have none."""
        starts = np.zeros(self.starts.shape)
        starts[ids] = P
        return replace(self, starts=starts)

    def dof(self, ids: np.ndarray) -> np.ndarray:
        """Degrees of freedom of fits ``ids``, at least 1."""
        return np.maximum(self.samples.n_points[ids] - np.count_nonzero(self.problem.free), 1)

    def part(self, ids: np.ndarray) -> Fits:
        """Those of the fits ``ids``."""
        return Fits(self.problem, self.samples.part(ids), self.starts[ids], self.low[ids], self.high[ids])


@dataclass
class FitArrays:
    """What became of the fits of a block."""

    parameters: np.ndarray  # (b, K), the last iterate; NaN where there is none
    status: np.ndarray  # (b,), as the fitter sees it; `fitters.verdicts` decides
    n_iter: np.ndarray  # (b,), NaN where it is not known
    valid: np.ndarray  # (b, n), samples that took part: those given, less what the fitter rejected
    info: dict[str, np.ndarray] = field(default_factory=dict)  # (b,) numbers of an astropy fitter's ``fit_info``
    judged: list[tuple[np.ndarray, Judgement]] = field(default_factory=list)  # ids, and judgements as if weights
    # were absolute, which need no check

    @classmethod
    def unknown(cls, fits: Fits, info_names: Sequence[str] = ()) -> FitArrays:
        """Nothing attempted yet."""
        b = fits.samples.y.shape[0]
        status = np.full(b, FitStatus.NOT_ATTEMPTED, dtype=np.int8)
        nothing = np.full((b, fits.problem.n_parameters), np.nan)
        info = {name: np.full(b, np.nan) for name in info_names}
        return cls(nothing, status, np.full(b, np.nan), fits.samples.valid, info)


@dataclass
class Notes:
    """What happened in single fits, in words, by the fit's number; kept only where somebody will read it."""

    tracebacks: dict[int, str] = field(default_factory=dict)
    warnings: dict[int, list[str]] = field(default_factory=dict)
    errors: dict[int, Exception] | None = None  # kept where one will be raised

    def raised(self, ids: Iterable[int], error: Exception) -> None:
        """Note the error that ended these fits."""
        text = "".join(traceback.format_exception(error))
        self.tracebacks |= {int(i): text for i in ids}
        if self.errors is not None:
            self.errors |= {int(i): error for i in ids}

    def warned(self, i: int, caught: Sequence[WarningMessage]) -> None:
        """Note the warnings of a fit."""
        if caught:
            self.warnings[i] = [str(one) for one in caught]


class Fitter(Protocol):
    """A fitter for blocks: arrays in, arrays out."""

    @property
    def second_try(self) -> Options | None:
        """When a second try is done; None where there is none."""
        ...

    def solve(self, fits: Fits, attempt: np.ndarray, notes: Notes | None = None) -> FitArrays:
        """Fit where ``attempt`` (b,) is true; errors and warnings of single fits go to ``notes``."""
        ...
