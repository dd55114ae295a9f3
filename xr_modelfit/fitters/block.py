"""One block of fits: arrays of the block in, one packed array out.

The block is flattened to ``b`` fits of ``n`` samples, invalid samples are taken out, the fitter
solves, and every result is judged in the same way whatever the fitter (`fitters.covariance`).
Nothing here depends on what else is in the block.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.covariance import Judgement, judge
from xr_modelfit.fitters.diagnosis import Diagnosis, Ended
from xr_modelfit.fitters.pieces import apart, pieces
from xr_modelfit.fitters.quiet import caught_warnings, innermost, within
from xr_modelfit.fitters.samples import Fitter, Notes, Samples
from xr_modelfit.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["BlockTask", "FitError", "Layout", "Role", "fit_block"]


class FitError(RuntimeError):
    """A fit failed, and ``errors="raise"`` was asked for."""


class Role(NamedTuple):
    """What an array of a block is: its kind, and the parameter, input or dim that it belongs to."""

    kind: str
    name: str | int = ""


@dataclass(frozen=True)
class Layout:
    """Where each field lies in the trailing axis of the packed array.

    Parameters
    ----------
    n_parameters : int
    info_names : tuple of str
    covariance : bool
    diagnosed : bool
        Whether each fit says if its diagnostics could not be written.
    """

    n_parameters: int
    info_names: tuple[str, ...] = ()
    covariance: bool = False
    diagnosed: bool = False

    def fields(self) -> dict[str, slice]:
        """Name to slice: ``parameters``, ``stderr``, each scalar, each info, ``covariance``, ``unwritten``."""
        K = self.n_parameters
        widths = {"parameters": K, "stderr": K}
        widths |= dict.fromkeys(("chi2", "reduced_chi2", "dof", "n_points", "n_iter", "fit_status"), 1)
        widths |= {f"info:{name}": 1 for name in self.info_names}
        if self.covariance:
            widths["covariance"] = K * K
        if self.diagnosed:
            widths["unwritten"] = 1
        stops = np.cumsum(list(widths.values()))
        return {
            name: slice(int(stop) - width, int(stop)) for (name, width), stop in zip(widths.items(), stops, strict=True)
        }

    @property
    def width(self) -> int:
        return max(s.stop for s in self.fields().values())


@dataclass(frozen=True, eq=False)
class BlockTask:
    """Everything that a task needs beside its arrays; picklable, shared by all blocks of a call.

    ``label`` makes the task unlike any other: results of two calls never share a dask key.
    ``place`` is the user's function that the call was made in, if any (`fitters.quiet`).
    """

    problem: Problem
    fitter: Fitter
    layout: Layout
    roles: tuple[Role, ...]
    n_fitted_dims: int
    sigma: bool = False
    scalar_weight: float | None = None
    absolute: bool = False
    skipna: bool = True
    min_points: int | None = None
    keep_failed: bool = False
    raising: bool = False
    diagnosis: Diagnosis | None = None
    label: str = field(default_factory=lambda: uuid.uuid4().hex)
    place: str | None = field(default_factory=innermost)

    def __dask_tokenize__(self) -> str:
        return self.label


def fit_block(*arrays: np.ndarray, task: BlockTask) -> np.ndarray:
    """Fit every position of a block.

    Parameters
    ----------
    *arrays : ndarray, shape (..., *fitted) or (...)
        One for each role of the task. Leading axes broadcast; those of kinds ``start``,
        ``lower``, ``upper`` and ``position`` have no fitted axes.

    Returns
    -------
    ndarray, shape (..., task.layout.width)
    """
    whole = _Block(arrays, task)
    packed = np.full((*whole.shape, task.layout.width), np.nan)
    if whole.b:
        with within(task.place):
            problem = task.problem.private()
            for at in whole.parts():
                block = whole.part(at)
                filled = np.full((block.b, task.layout.width), np.nan)
                _fill(filled, block, task, problem)
                packed[at] = filled.reshape(*block.shape, task.layout.width)
    return packed


class _Block:
    """The arrays of a block by role, flattened to fits and samples."""

    def __init__(self, arrays: Sequence[np.ndarray], task: BlockTask) -> None:
        self.task = task
        given = dict(zip(task.roles, arrays, strict=True))
        core = task.n_fitted_dims
        data = given[Role("data")]
        self.fitted = data.shape[data.ndim - core :]
        lead = [a.shape[: a.ndim - core] if r.kind in _SAMPLED else a.shape for r, a in given.items()]
        self.shape = np.broadcast_shapes(*lead)
        self.b, self.n = int(np.prod(self.shape)), int(np.prod(self.fitted))
        self.given = given

    def parts(self) -> Iterator[tuple[slice, ...]]:
        """Cuts along the leading axes that keep copies of the samples of linear models small.

        Those of other models need many fits to choose from as others end (`fitters.batch`).
        """
        most = _PART // max(self.n, 1) if self.task.problem.ways.linear else self.b
        return _cuts(self.shape, max(1, most))

    def part(self, at: tuple[slice, ...]) -> "_Block":
        """The block of some of the fits."""
        arrays = []
        for role, a in self.given.items():
            lead = a.ndim - (self.task.n_fitted_dims if role.kind in _SAMPLED else 0)
            cuts = at[len(at) - lead :]
            arrays.append(a[tuple(s if size > 1 else slice(None) for s, size in zip(cuts, a.shape, strict=False))])
        return _Block(arrays, self.task)

    def samples(self) -> tuple[Samples, np.ndarray, np.ndarray]:
        """Samples, which are not finite, and which are not valid for another reason; (b, n) each."""
        task = self.task
        y = self._sampled(Role("data"), every=True)
        inputs = [self._sampled(r) for r in task.roles if r.kind == "input"]
        finite = np.isfinite(y)
        for x in inputs:
            usable = np.isfinite(x)
            finite = finite if usable.all() else finite & usable
        admitted = np.ones((1, 1), dtype=bool)
        if Role("where") in self.given:
            admitted = self._sampled(Role("where"), dtype=bool)
        weights = None
        if Role("weights") in self.given:
            weights = self._sampled(Role("weights"))
            finite = finite & np.isfinite(weights)
            with np.errstate(all="ignore"):
                positive = weights > 0
                if task.sigma:
                    weights = 1.0 / weights
            admitted = admitted & positive & (np.isfinite(weights) | ~positive)
        elif task.scalar_weight is not None:
            weights = np.full((1, self.n), task.scalar_weight)
        admitted, finite = (np.broadcast_to(a, y.shape) for a in (admitted, finite))
        valid = finite if admitted.all() else finite & admitted
        return Samples(y, inputs, weights, valid), finite, admitted

    def starts_and_bounds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts, lower and upper bounds, (b, K) each."""
        problem = self.task.problem
        out = []
        for kind, scalar in (("start", problem.start), ("lower", problem.lower), ("upper", problem.upper)):
            table = np.tile(scalar, (self.b, 1))
            for role, array in self.given.items():
                if role.kind == kind:
                    with np.errstate(all="ignore"):
                        values = np.broadcast_to(np.asarray(array, dtype=float), self.shape).reshape(self.b)
                    if kind != "start":  # a NaN bound is no bound
                        values = np.where(np.isnan(values), -np.inf if kind == "lower" else np.inf, values)
                    table[:, int(role.name)] = values
            out.append(table)
        starts, lower, upper = out
        held = (lower == upper) & ~problem.fixed & ~problem.tied
        starts[held] = lower[held]
        return starts, lower, upper

    @cached_property
    def positions(self) -> dict[str, np.ndarray]:
        """Index of each fit along each remaining dim, shape (b,); nothing unless they were passed."""
        return {
            str(role.name): np.broadcast_to(array, self.shape).reshape(self.b)
            for role, array in self.given.items()
            if role.kind == "position"
        }

    def position(self, i: int) -> str:
        """Position of fit ``i`` in words."""
        return ", ".join(f"{dim}={at[i]}" for dim, at in self.positions.items())

    def _sampled(self, role: Role, *, every: bool = False, dtype: type = float) -> np.ndarray:
        """An array of samples as (b, n), or (1, n) where it does not vary; native and contiguous."""
        array = self.given[role]
        lead = array.shape[: array.ndim - self.task.n_fitted_dims]
        rows = self.shape if every or int(np.prod(lead)) > 1 else (1,) * len(lead)
        full = np.broadcast_to(array, (*rows, *self.fitted))
        if self.task.problem.ways.linear and _samples_first(full, len(rows)):
            turned = np.moveaxis(full, range(len(rows)), range(-len(rows), 0))
            with np.errstate(all="ignore"):
                return np.ascontiguousarray(turned, dtype=dtype).reshape(self.n, int(np.prod(rows))).T
        with np.errstate(all="ignore"):  # a wider float beyond the range of ours is infinite, and left out
            return np.ascontiguousarray(full, dtype=dtype).reshape(int(np.prod(rows)), self.n)


_SAMPLED = {"data", "input", "where", "weights"}
_PART = 2**20  # samples: 8 MB


def _samples_first(array: np.ndarray, lead: int) -> bool:
    """Whether fits lie closer together in memory than the samples of one; ``lead`` axes are those of fits."""
    steps = [abs(s) if n > 1 else 0 for s, n in zip(array.strides, array.shape, strict=True)]
    fits, samples = ([s for s in part if s] for part in (steps[:lead], steps[lead:]))
    return bool(fits) and bool(samples) and min(fits) < min(samples)


def _cuts(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Slices along all axes, of no more than ``most`` elements each."""
    if not shape:
        yield ()
        return
    step = max(1, most // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], step):
        for rest in _cuts(shape[1:], most):
            yield (slice(start, min(start + step, shape[0])), *rest)


def _fill(packed: np.ndarray, block: _Block, task: BlockTask, problem: Problem) -> None:
    given, finite, admitted = block.samples()
    starts, lower, upper = block.starts_and_bounds()
    free = problem.free & ~(lower == upper)
    n_points = given.n_points
    status = _before(task, given, finite, admitted, starts, lower, upper, free)
    attempt = (status == FitStatus.CONVERGED) & free.any(axis=1)

    notes = None
    if task.diagnosis is not None or task.raising:
        notes = Notes(errors={} if task.raising else None)
    solved = task.fitter.solve(problem, given, attempt, starts, (lower, upper), notes)
    parameters = np.where(attempt[:, None], solved.parameters, np.nan)
    status[attempt] = solved.status[attempt]
    raised = attempt & np.isin(status, (FitStatus.FITTER_ERROR, FitStatus.NONFINITE_MODEL))
    status[raised & (n_points < np.count_nonzero(free, axis=1))] = FitStatus.DEGENERATE
    samples = given
    if solved.valid is not given.valid:
        samples = Samples(given.y, given.inputs, given.weights, solved.valid)
        n_points = np.where(attempt, samples.n_points, n_points)

    fields = task.layout.fields()
    n_free = np.count_nonzero(free, axis=1)
    packed[:, fields["dof"]] = (n_points - n_free)[:, None]
    packed[:, fields["n_points"]] = n_points[:, None]
    packed[:, fields["n_iter"]] = np.where(attempt, solved.n_iter, 0.0)[:, None]
    for name, values in solved.info.items():
        packed[:, fields[f"info:{name}"]] = values[:, None]
    all_fixed = (status == FitStatus.CONVERGED) & ~free.any(axis=1)
    if all_fixed.any():
        with caught_warnings():
            parameters[all_fixed] = problem.with_ties(starts[all_fixed].T).T
    _judge(packed, task, problem, samples, status, parameters, (lower, upper), free, solved.judged, notes)
    dof = (n_points - n_free).astype(float)
    chi2 = packed[:, fields["chi2"]][:, 0]
    packed[:, fields["reduced_chi2"]] = np.where(dof > 0, chi2 / np.where(dof > 0, dof, 1.0), np.nan)[:, None]
    kept = (status > 0) | task.keep_failed
    packed[:, fields["parameters"]] = np.where(kept[:, None], parameters, np.nan)
    packed[:, fields["fit_status"]] = status[:, None]
    if task.diagnosis is not None and notes is not None:
        numbers = {name: packed[:, part] for name, part in fields.items()} | {"parameters": parameters, "start": starts}
        masked = Role("where") in block.given
        ended = Ended(problem, given, masked, block.fitted, block.positions, status, (lower, upper), numbers, notes)
        packed[:, fields["unwritten"]] = task.diagnosis.write(ended)[:, None]
    if task.raising:
        _raise_first(status, block, notes)


def _judge(
    packed: np.ndarray,
    task: BlockTask,
    problem: Problem,
    samples: Samples,
    status: np.ndarray,
    parameters: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    free: np.ndarray,
    known: Sequence[tuple[np.ndarray, Judgement]],
    notes: Notes | None,
) -> None:
    """Judge every fit that has parameters; fills ``packed``, and has the last word on ``status``."""
    fields = task.layout.fields()
    n_points = packed[:, fields["n_points"]][:, 0].astype(int)
    there = np.all(np.isfinite(parameters), axis=1)
    status[(status > 0) & ~there] = FitStatus.NONFINITE_MODEL
    said = status.copy()

    def judged(ids: np.ndarray) -> None:
        inputs, y, w = samples.columns(ids)
        w = np.ones_like(y) if w is None else w
        P, (low, high) = parameters[ids].T, (bound[ids].T for bound in bounds)
        with caught_warnings():
            settle(ids, judge(problem, inputs, y, w, n_points[ids], P, (low, high), free[ids].T, task.absolute))

    def settle(ids: np.ndarray, found: Judgement) -> None:
        status[ids] = _after(said[ids], found)
        packed[ids, fields["chi2"]] = found.chi2[:, None]
        good = status[ids] > 0
        packed[ids[good], fields["stderr"]] = found.stderr.T[good]
        if task.layout.covariance:
            K = problem.n_parameters
            packed[ids[good], fields["covariance"]] = np.moveaxis(found.covariance, 2, 0).reshape(-1, K * K)[good]

    for ids, found in known:
        settle(ids, found if task.absolute else found.relative(packed[ids, fields["dof"]][:, 0]))
        there[ids] = False
    left = np.flatnonzero(there)
    for ids in pieces(left, samples.y.shape[1]):
        for raising, error in apart(judged, ids):
            status[raising] = np.where(status[raising] > 0, FitStatus.NONFINITE_MODEL, status[raising])
            if notes is not None:
                notes.raised(raising.tolist(), error)


def _before(
    task: BlockTask,
    samples: Samples,
    finite: np.ndarray,
    admitted: np.ndarray,
    starts: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    free: np.ndarray,
) -> np.ndarray:
    """Status of each fit before it is tried, shape (b,); CONVERGED where it can be."""
    problem = task.problem
    n_points = samples.n_points
    least = np.count_nonzero(free, axis=1) if task.min_points is None else task.min_points
    outside = ~((starts >= lower) & (starts <= upper)) & ~problem.fixed
    bad_start = (outside | ~np.isfinite(starts)) & ~problem.tied
    status = np.full(len(starts), FitStatus.CONVERGED, dtype=np.int8)
    status[n_points < least] = FitStatus.TOO_FEW_POINTS
    status[bad_start.any(axis=1)] = FitStatus.INVALID_START
    status[n_points == 0] = FitStatus.NO_DATA
    if not task.skipna:
        status[np.any(admitted & ~finite, axis=1)] = FitStatus.NONFINITE_DATA
    return status


def _after(status: np.ndarray, found: Judgement) -> np.ndarray:
    """Status of fits that were tried, from the fitter's word and our own judgement."""
    new = status.copy()
    stuck = status == FitStatus.NO_PROGRESS  # where rounding hides what a step gains, a fit ends at its minimum so
    good = (status > 0) | (stuck & found.at_minimum)
    new[good] = FitStatus.CONVERGED
    new[good & found.at_bound] = FitStatus.CONVERGED_AT_BOUND
    new[good & ~found.stationary] = FitStatus.NO_PROGRESS
    new[(good | (status == FitStatus.NO_PROGRESS)) & ~found.full_rank] = FitStatus.DEGENERATE
    raised = (status == FitStatus.FITTER_ERROR) | (status == FitStatus.NONFINITE_MODEL)
    new[~found.finite & ~raised] = FitStatus.NONFINITE_MODEL
    return new


def _raise_first(status: np.ndarray, block: _Block, notes: Notes | None) -> None:
    failed = np.flatnonzero((status <= 0) & (status != FitStatus.NO_DATA))
    causes = {} if notes is None or notes.errors is None else notes.errors
    if failed.size:
        first, code = int(failed[0]), FitStatus(int(status[failed[0]]))
        raise FitError(
            f"The fit at position {block.position(first) or '()'} has status {code.meaning}: {code.sentence} "
            'Use errors="warn" to get a status instead.'
        ) from causes.get(first)
