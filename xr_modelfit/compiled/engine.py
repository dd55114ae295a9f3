"""The compiled engine: arrays of a block in, what became of its fits out.

It does fits one after the other in one call that holds no lock of the interpreter (`xr_modelfit.compiled.levenberg`),
and leaves to the NumPy engine those that need more than derivatives: where a sample lies on a cusp of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xr_modelfit.compiled.kernels import kernels, loops
from xr_modelfit.compiled.source import LEFT, PIECE, ROWS
from xr_modelfit.fitters import covariance, slots, steps
from xr_modelfit.fitters.covariance import Judgement
from xr_modelfit.fitters.samples import FitArrays, Samples
from xr_modelfit.problem import Problem

if TYPE_CHECKING:
    from xr_modelfit.fitters.steps import Options

__all__ = ["judge_fits", "solve_fits"]

_ACCURACY = 1e-14  # of derivatives by rule


def solve_fits(
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    starts: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    options: Options,
    out: FitArrays,
) -> np.ndarray:
    """Fit ``ids``, written to ``out``; returns those that are left to the other engine.

    Arguments as in `xr_modelfit.fitters.samples.Fitter`.
    """
    functions = kernels(_source(problem))
    room = _Room.of(problem, samples)
    k = room.ours.size
    rules = (
        options.maxiter, options.ftol, options.xtol, options.gtol, slots.FIRST_DAMPING, steps.SLOW, steps.ALONG,
        steps.ALPHA, steps.FORGET, steps.ROUNDING, steps.STUCK, steps.NEAR, steps.ALIGNED, steps.FLAT, steps.SINGULAR,
    )  # fmt: skip
    loops().solve(
        *functions.addresses, ids, *_arrays(samples), *_tables(samples, starts, *bounds), room.ours,
        tuple(float(rule) for rule in rules), out.parameters, out.status, out.n_iter, *room.work,
        np.zeros((1 + k + PIECE, 1 + k)), np.zeros(5),
    )  # fmt: skip
    left = out.status[ids] == LEFT
    out.parameters[ids[left]], out.n_iter[ids[left]] = np.nan, np.nan
    return ids[left]


def judge_fits(
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    n_points: np.ndarray,
    parameters: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    free: np.ndarray,
    absolute: bool,
) -> tuple[Judgement, np.ndarray]:
    """Judgement on the fits ``ids``, and which of them are left to the other engine, (b,).

    Parameters
    ----------
    parameters, bounds, free : ndarray, shape (b, K)
    n_points : ndarray of int, shape (b,)
        Of all fits of the block, as are the others.
    absolute : bool
        Whether weights are one over standard errors.
    """
    functions = kernels(_source(problem))
    room = _Room.of(problem, samples)
    b, K = parameters.shape
    rules = (
        _ACCURACY, covariance.ON_BOUND, covariance.STATIONARY, covariance.EXACT, covariance.AT_MINIMUM,
        covariance.NO_SCATTER,
    )  # fmt: skip
    C, chi2, verdicts = np.empty((b, K, K)), np.empty(b), np.zeros((b, 6), dtype=bool)
    loops().judge(
        *functions.addresses[1:], ids, *_arrays(samples), *_tables(samples, parameters, *bounds),
        np.ascontiguousarray(free), n_points.astype(np.int64), absolute, room.ours, rules, C, chi2, verdicts,
        *room.work,
    )  # fmt: skip
    finite, full_rank, stationary, at_minimum, at_bound, left = verdicts[ids].T
    found = Judgement(np.moveaxis(C[ids], 0, 2), chi2[ids], finite, full_rank, stationary, at_minimum, at_bound)
    return found, left


class _Room(NamedTuple):
    """The free parameters, and work arrays for one fit at a time; see `xr_modelfit.compiled.lanes`."""

    ours: np.ndarray
    work: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: Problem, samples: Samples) -> _Room:
        ours = np.flatnonzero(problem.free)
        n, k, K = samples.y.shape[1], ours.size, problem.n_parameters
        most = -(-n // PIECE)
        D, J = np.zeros((len(samples.inputs) + 2, most * PIECE)), np.zeros((2 * most, 1 + k, PIECE))
        P, T = np.zeros((2, K)), np.zeros((K, k))
        T[ours, np.arange(k)] = 1.0
        return cls(ours, (D, J, P, T, np.zeros((3, k, k)), np.zeros((ROWS, k)), np.zeros((2, k), dtype=bool)))


def _source(problem: Problem) -> str:
    if problem.source is None:
        raise ValueError("the problem has no source of compiled functions")
    return problem.source


def _arrays(samples: Samples) -> Sequence[np.ndarray]:
    """Data (b, n), inputs (n_inputs, 1 or b, n), weights and which samples are valid; without rows where all are."""
    y = samples.y
    nothing = np.zeros((0, y.shape[1]))
    rows = max(x.shape[0] for x in samples.inputs)
    x = np.stack([np.broadcast_to(x, (rows, y.shape[1])) for x in samples.inputs])
    weights = nothing if samples.weights is None else np.ascontiguousarray(samples.weights)
    valid = nothing.astype(bool) if samples.all_valid else np.ascontiguousarray(samples.valid)
    return np.ascontiguousarray(y), x, weights, valid


def _tables(samples: Samples, *tables: np.ndarray) -> list[np.ndarray]:
    """Tables of parameters, (b, K) each."""
    b = samples.y.shape[0]
    return [np.ascontiguousarray(np.broadcast_to(t, (b, t.shape[1])), dtype=float) for t in tables]
