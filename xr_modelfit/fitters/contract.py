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
from xr_modelfit.fitters.priors import Priors
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["FitArrays", "Fits", "Fitter", "Notes", "Rules", "StartEstimator"]


class Rules(NamedTuple):
    """When a fit is done (`fitters.batch.BatchLSQFitter`), and the constants of its steps, for both engines."""

    maxiter: float
    ftol: float
    xtol: float
    gtol: float
    cautious: float = 0.0  # iterations that go at most ``reach`` of the way to a bound
    reach: float = 0.9
    first_damping: float = 1e-1
    slow: float = 25.0  # iterations after which a fit gets the acceleration, and forgets its start
    along: float = 0.1  # of the step, for the second derivative along it
    alpha: float = 0.75  # largest acceleration against the step, in the scaling
    forget: float = 0.5  # of the largest lengths of the columns, each step of a slow fit
    singular: float = 1e-14  # a pivot of the scaled matrix below this is no direction
    rounding: float = 8 * 2.0**-52
    noise: float = 1e-12  # of chi-square, by rounding of the model
    at_end: float = 1e-10  # of chi-square: a fit that is stuck with less to gain has converged
    stuck: float = 1e14  # damping beyond which no step is seen
    flat: float = 20.0  # steps in a row that chi-square cannot judge
    near: float = 1e-2  # of chi-square promised, and damping, below which steps shrink at a steady rate
    aligned: float = 0.8  # squared cosine of two steps along one line
    shortest: float = 0.4  # factor of such a step
    longest: float = 3.0  # times the factor of the step before
    early: float = 5.0  # iterations in which a step must gain what it promises
    poor: float = 0.5  # of the promised gain: less is not enough early
    gains: float = 1e-4  # of the promised gain: less is never enough

    def of(self, noise: str) -> Rules:
        """Without the acceleration where the residual is not that of least squares."""
        return self if noise == "linear" else self._replace(alpha=0.0)


@dataclass(frozen=True)
class Fits:
    """The fits of a block: their model, samples, starts and bounds."""

    problem: Problem
    samples: Samples
    starts: np.ndarray  # (b, K)
    low: np.ndarray  # (b, K)
    high: np.ndarray  # (b, K)
    priors: Priors | None = None  # (b, K)

    def columns(self, ids: np.ndarray, P: np.ndarray | None = None) -> FitColumns:
        """Fits ``ids`` in columns, at ``P`` (ids.size, K) or at their starts."""
        tables = self.starts[ids] if P is None else P, self.low[ids], self.high[ids]
        P, low, high = (np.ascontiguousarray(a.T) for a in tables)
        priors = None if self.priors is None else self.priors.in_columns(ids)
        samples = self.samples
        above = samples.above_in_columns(ids)
        return FitColumns(self.problem, *samples.columns(ids), P, low, high, samples.noise, priors, above)

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
        priors = None if self.priors is None else self.priors.rows(ids)
        return Fits(self.problem, self.samples.part(ids), self.starts[ids], self.low[ids], self.high[ids], priors)


@dataclass
class FitArrays:
    """What became of the fits of a block."""

    parameters: np.ndarray  # (b, K), the last iterate; NaN where there is none
    status: np.ndarray  # (b,), as the fitter sees it; `fitters.verdicts` decides
    n_iter: np.ndarray  # (b,), NaN where it is not known
    samples: Samples  # as they were fitted: those given, less what the fitter rejected, with the noise of its loss
    problem: Problem | None = None  # of these samples, where it is another one than that of the fits
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
        return cls(nothing, status, np.full(b, np.nan), fits.samples, info=info)

    def with_others(self, before: FitArrays, ids: np.ndarray) -> FitArrays:
        """Itself, of a further round of the fits ``ids``, with what became of all others in the round before."""
        others = np.ones(len(self.status), dtype=bool)
        others[ids] = False
        for name in ("parameters", "status", "n_iter"):
            getattr(self, name)[others] = getattr(before, name)[others]
        for known, judgement in before.judged:
            kept = others[known]
            self.judged.append((known[kept], judgement.only(kept)))
        return self


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
    def second_try(self) -> Rules | None:
        """When a second try is done; None where there is none."""
        ...

    def solve(self, fits: Fits, attempt: np.ndarray, notes: Notes | None = None) -> FitArrays:
        """Fit where ``attempt`` (b,) is true; errors and warnings of single fits go to ``notes``."""
        ...


class Estimated(Protocol):
    """Start values of a block."""

    @property
    def parameters(self) -> np.ndarray:
        """Start values, (b, K)."""
        ...


class StartEstimator(Protocol):
    """Estimates start values from the data."""

    def __call__(
        self,
        problem: Problem,
        y: np.ndarray,
        inputs: Sequence[np.ndarray],
        weights: np.ndarray | None,
        valid: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> Estimated:
        """Start values of each fit from its samples; see `estimates.estimate.Estimator`."""
        ...
