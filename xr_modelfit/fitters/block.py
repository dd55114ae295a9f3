"""One block of fits: arrays of the block in, one packed array out.

The block is flattened to ``b`` fits of ``n`` samples, invalid samples are taken out, the fitter
solves, and every result is judged in the same way whatever the fitter (`fitters.covariance`).
Nothing here depends on what else is in the block.
"""

from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.after_second_tries import follows_residuals, until_steady
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block_arrays import Block
from xr_modelfit.fitters.block_starts import Best, Tables, tables_of
from xr_modelfit.fitters.block_task import BlockTask, Role
from xr_modelfit.fitters.chunking import keep_freed_memory
from xr_modelfit.fitters.contract import FitArrays, Fits, Notes
from xr_modelfit.fitters.diagnosis import Ended
from xr_modelfit.fitters.rows import any_in_row
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.fitters.second_try.retries import retry
from xr_modelfit.fitters.verdicts import Verdicts
from xr_modelfit.models.problem import Problem
from xr_modelfit.quiet import caught_warnings, within
from xr_modelfit.status import FitStatus

AllSamples = tuple[Samples, np.ndarray, np.ndarray]

__all__ = ["FitError", "fit_block", "start_block"]


class FitError(RuntimeError):
    """A fit failed, and ``errors="raise"`` was asked for."""


def fit_block(*arrays: np.ndarray, task: BlockTask) -> np.ndarray:
    """Fit every position of a block; returns (..., task.layout.width).

    ``arrays``, (..., *fitted) or (...): one for each role of the task, whose leading axes broadcast.
    """
    keep_freed_memory()
    whole = Block(arrays, task)
    width = task.layout.width
    if not whole.b:
        return _fields_apart(whole.shape, width)
    with within(task.place):
        problem = task.problem.private()
        cuts = list(whole.parts())
        if len(cuts) == 1:
            return _from_starts(whole, task, problem).reshape(*whole.shape, width)
        packed = _fields_apart(whole.shape, width)
        for at in cuts:
            block = whole.part(at)
            packed[at] = _from_starts(block, task, problem).reshape(*block.shape, width)
    return packed


def _fields_apart(shape: tuple[int, ...], width: int) -> np.ndarray:
    """An array (..., width) in which each field is contiguous in memory, as it is written and read."""
    return np.moveaxis(np.empty((width, *shape)), 0, -1)


def start_block(*arrays: np.ndarray, task: BlockTask) -> np.ndarray:
    """The start values of every position of a block, shape (..., K); arguments as in `fit_block`."""
    whole = Block(arrays, task)
    out = np.empty((*whole.shape, task.problem.n_parameters))
    with within(task.place):
        problem = task.problem.private()
        for at in whole.parts() if whole.b else ():
            block = whole.part(at)
            tables = tables_of(block, task, problem, block.samples()[0], 0)
            out[at] = np.broadcast_to(tables.starts, (block.b, out.shape[-1])).reshape(*block.shape, -1)
    return out


def _from_starts(block: Block, task: BlockTask, problem: Problem) -> np.ndarray:
    """The packed array of a part, shape (b, width); the best of all starts where there are several."""
    samples = block.samples()
    tables = [tables_of(block, task, problem, samples[0], number) for number in range(len(task.estimators))]
    quiet = replace(task, diagnosis=None, raising=False)
    if len(tables) == 1:
        if not follows_residuals(task):
            return _fitted(block, task, problem, samples, tables[0])[0]
        packed, starts = _steady(block, quiet, problem, samples, tables[0])
        if task.diagnosis is not None or task.raising:
            return _fitted(block, task, problem, samples, tables[0]._replace(starts=starts))[0]
        return packed
    best = Best(task.layout)
    for one in tables:
        best.add(_steady(block, quiet, problem, samples, one)[0])
    if task.diagnosis is not None or task.raising:  # only the best is written about
        packed = _fitted(block, task, problem, samples, best.starts(tables))[0]
        for name in ("n_reached",) if task.layout.reached else ():
            packed[:, task.layout.fields[name]] = best.packed[:, task.layout.fields[name]]
        return packed
    return best.packed


def _steady(
    block: Block, task: BlockTask, problem: Problem, samples: AllSamples, tables: Tables
) -> tuple[np.ndarray, np.ndarray]:
    """The packed array of a part from one start of each fit, and starts from which one pass comes to it."""

    def fit(only: np.ndarray, starts: np.ndarray, task: BlockTask = task) -> tuple[np.ndarray, np.ndarray]:
        return _fitted(block, task, problem, samples, tables._replace(starts=starts), only)

    def independent(only: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return fit(only, starts, replace(task, correlation=None))

    packed, moved = _fitted(block, task, problem, samples, tables)
    if not follows_residuals(task):
        return packed, tables.starts
    before = None if task.correlation is None else independent
    return packed, until_steady(task, tables.starts, packed, moved, fit, before)


def _fitted(
    block: Block,
    task: BlockTask,
    problem: Problem,
    all_samples: AllSamples,
    tables: Tables,
    only: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The packed array of a part in one pass, shape (b, width), and which fits a second try has moved, (b,).

    ``only`` (b,) are the fits to do.
    """
    packed = _fields_apart((block.b,), task.layout.width)
    packed[...] = np.nan
    given, finite, admitted = all_samples
    own = problem, given
    if task.weighted is not None:
        problem, given = task.weighted.private(), given.weighted()
    free = problem.free & ~(tables.low == tables.high)
    n_points, n_free = given.n_points, np.count_nonzero(free, axis=1)
    priors, wrong = block.priors(free)
    n_known = 0 if priors is None else np.count_nonzero(priors.trust, axis=1)
    status = _before(task, Fits(problem, given, *tables), finite, admitted, n_free - n_known, wrong)
    starts, lower, upper, free = (np.broadcast_to(table, (block.b, free.shape[1])) for table in (*tables, free))
    attempt = (status == FitStatus.CONVERGED) & (n_free > 0) & (True if only is None else only)

    notes = None
    if task.diagnosis is not None or task.raising:
        notes = Notes(errors={} if task.raising else None)
    fits = Fits(problem, given, starts, lower, upper, priors)
    solved = _solved(task, fits, attempt, notes)
    parameters = np.where(attempt[:, None], solved.parameters, np.nan)
    status[attempt] = solved.status[attempt]
    raised = (status == FitStatus.FITTER_ERROR) | (status == FitStatus.NONFINITE_MODEL)
    status[attempt & raised & (n_points < n_free - n_known)] = FitStatus.DEGENERATE
    if solved.samples is not given:
        fits = replace(fits, samples=solved.samples, problem=solved.problem or problem)
        n_points = np.where(attempt, fits.samples.n_points, n_points)

    fields = task.layout.fields
    packed[:, fields["dof"]] = (n_points - n_free)[:, None]
    packed[:, fields["n_points"]] = n_points[:, None]
    packed[:, fields["n_iter"]] = np.where(attempt, solved.n_iter, 0.0)[:, None]
    if task.layout.clipped is not None:
        packed[:, fields["clipped"]] = given.valid & ~fits.samples.valid
    for name, values in solved.info.items():
        packed[:, fields[f"info:{name}"]] = values[:, None]
    _fill_fixed(problem, parameters, starts, (status == FitStatus.CONVERGED) & (n_free == 0))
    verdicts = Verdicts(packed, task, fits, status, parameters, free, *np.zeros((2, block.b), dtype=bool))
    _decide(verdicts, solved, notes)
    _tell_chi2(verdicts)
    if task.layout.starts:
        packed[:, fields["start"]] = starts
    if task.layout.reached:
        packed[:, fields["n_reached"]] = (status > 0)[:, None]
    kept = (status > 0) | task.keep_failed
    _tell_correlation(packed, task, fits, kept & attempt)
    packed[:, fields["parameters"]] = np.where(kept[:, None], parameters, np.nan)
    packed[:, fields["fit_status"]] = status[:, None]
    if task.diagnosis is not None and notes is not None:
        numbers = {name: packed[:, part] for name, part in fields.items()} | {"parameters": parameters, "start": starts}
        masked = Role("where") in block.given
        places = block.places or own[1].inputs
        ended = Ended(*own, places, masked, block.fitted, block.positions, status, (lower, upper), numbers, notes)
        packed[:, fields["unwritten"]] = task.diagnosis.write(ended)[:, None]
    if task.raising:
        _raise_first(status, block, notes)
    return packed, attempt & (status > 0) & np.any(parameters != solved.parameters, axis=1)


def _solved(task: BlockTask, fits: Fits, attempt: np.ndarray, notes: Notes | None) -> FitArrays:
    if task.correlation is None:
        return task.fitter.solve(fits, attempt, notes)
    assert isinstance(task.fitter, BatchLSQFitter)
    return task.correlation.solve(task.fitter, fits, attempt, notes)


def _fill_fixed(problem: Problem, parameters: np.ndarray, starts: np.ndarray, fits: np.ndarray) -> None:
    """Put the starts in place of the parameters of fits without any that is free, (b,)."""
    if fits.any():
        with caught_warnings():
            parameters[fits] = problem.with_ties(starts[fits].T).T


def _decide(verdicts: Verdicts, solved: FitArrays, notes: Notes | None) -> None:
    """What is a success, after second tries."""
    verdicts.judge(solved.judged, notes)
    retry(verdicts)
    verdicts.refuse_vague()


def _tell_correlation(packed: np.ndarray, task: BlockTask, fits: Fits, told: np.ndarray) -> None:
    """What was found of correlated noise, in the fits that are ``told`` (b,)."""
    found = fits.samples.correlation
    if found is None:
        return
    for name, values in (("n_effective", found.n_effective), ("ar1", found.r)):
        if name in task.layout.fields:
            packed[:, task.layout.fields[name]] = np.where(told, values, np.nan)[:, None]


def _tell_chi2(verdicts: Verdicts) -> None:
    """Chi-square of the samples alone, in the scale of their weights, and what priors add to it."""
    packed, fits, fields = verdicts.packed, verdicts.fits, verdicts.task.layout.fields
    if fits.priors is not None:
        added = fits.priors.in_columns(np.arange(len(packed))).chi2(verdicts.parameters.T)[:, None]
        packed[:, fields["chi2"]] = np.maximum(packed[:, fields["chi2"]] - added, 0.0)
        for name in ("chi2_prior",) if verdicts.task.layout.priors else ():
            packed[:, fields[name]] = added
    if fits.samples.scale is not None:
        packed[:, fields["chi2"]] *= fits.samples.scale[:, None] ** 2
    dof, chi2 = packed[:, fields["dof"]], packed[:, fields["chi2"]]
    packed[:, fields["reduced_chi2"]] = np.where(dof > 0, chi2 / np.where(dof > 0, dof, 1.0), np.nan)


def _before(
    task: BlockTask, fits: Fits, finite: np.ndarray, admitted: np.ndarray, n_free: np.ndarray, wrong: np.ndarray
) -> np.ndarray:
    """Status of each fit before it is tried, shape (b,); CONVERGED where it can be.

    Starts, bounds and ``n_free`` have one row where all fits share them; ``wrong`` (b,) have a prior that is none.
    """
    problem, samples, n_points = fits.problem, fits.samples, fits.samples.n_points
    least = n_free if task.min_points is None else task.min_points
    outside = ~((fits.starts >= fits.low) & (fits.starts <= fits.high)) & ~problem.fixed
    bad_start = (outside | ~np.isfinite(fits.starts)) & ~problem.tied
    status = np.full(n_points.shape, FitStatus.CONVERGED, dtype=np.int8)
    status[n_points < least] = FitStatus.TOO_FEW_POINTS
    status[wrong | np.broadcast_to(any_in_row(bad_start), status.shape)] = FitStatus.INVALID_START
    for x in samples.needed_whole:
        status[np.broadcast_to(~np.all(np.isfinite(x), axis=1), status.shape)] = FitStatus.NONFINITE_DATA
    status[n_points == 0] = FitStatus.NO_DATA
    if not task.skipna:
        status[np.any(admitted & ~finite, axis=1)] = FitStatus.NONFINITE_DATA
    return status


def _raise_first(status: np.ndarray, block: Block, notes: Notes | None) -> None:
    failed = np.flatnonzero((status <= 0) & (status != FitStatus.NO_DATA))
    causes = {} if notes is None or notes.errors is None else notes.errors
    if failed.size:
        first, code = int(failed[0]), FitStatus(int(status[failed[0]]))
        raise FitError(
            f"The fit at position {block.position(first) or '()'} has status {code.meaning}: {code.sentence} "
            'Use errors="warn" to get a status instead.'
        ) from causes.get(first)
