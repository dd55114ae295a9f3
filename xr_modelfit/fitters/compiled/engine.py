"""The compiled engine: arrays of a block in, what became of its fits out.

It does all fits in one call that holds no lock of the interpreter (`fitters.compiled.levenberg`),
and leaves to the NumPy engine those that need more than derivatives: where a sample lies on a cusp of the model.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.acceptance import LIMITS
from xr_modelfit.fitters.compiled.kernels import kernels, loop
from xr_modelfit.fitters.compiled.sample_arrays import arrays_of, tables_of
from xr_modelfit.fitters.contract import FitArrays, Fits, Rules
from xr_modelfit.fitters.covariance import Judgement, of_all_parameters, slopes_of_ties
from xr_modelfit.models.sampling import Sampling
from xr_modelfit.tracing.source import LANES, LEFT, PIECE, ROWS, SCALARS, rows_of_nodes, with_noise

__all__ = ["solve_fits"]

_AT_ONCE = 2**18  # numbers that are kept of fits until they are judged


def solve_fits(fits: Fits, ids: np.ndarray, rules: Rules, out: FitArrays) -> np.ndarray:
    """Fit ``ids``, written to ``out``; returns those that are left to the other engine."""
    problem, samples = fits.problem, fits.samples
    assert problem.source is not None
    functions, rules = kernels(with_noise(problem.source, samples.noise)), rules.of(samples.noise)
    k, K, n = int(np.count_nonzero(problem.free)), problem.n_parameters, samples.y.shape[1]
    arrays = arrays_of(samples)
    priors = (np.zeros((0, K)),) * 2 if fits.priors is None else fits.priors
    tables = *tables_of(fits.starts, fits.low, fits.high, *priors), np.flatnonzero(problem.free)
    work = _work(arrays[1].shape[0], n, k, K, problem.sampling)
    for_each = np.empty(LANES, np.int64), np.empty((2, k, k)), np.empty(k), np.empty(k)
    left = []
    most = max(_AT_ONCE // (1 + k) ** 2, 1)
    for start in range(0, ids.size, most):
        some = ids[start : start + most]
        sums = np.empty((some.size, 2 + k, 1 + k))
        room = np.empty((some.size, 2 * k + SCALARS)), np.empty(some.size, np.int64), *for_each
        loop()(
            functions.addresses, some, arrays, tables, Rules(*map(float, rules)), LIMITS,
            (out.parameters, out.status, out.n_iter, sums), (*work, *room),
        )  # fmt: skip
        undone = out.status[some] == LEFT
        out.parameters[some[undone]], out.n_iter[some[undone]] = np.nan, np.nan
        left.append(some[undone])
        _judge(fits, some, sums, out)
    return np.concatenate(left) if left else ids


def _judge(fits: Fits, ids: np.ndarray, sums: np.ndarray, out: FitArrays) -> None:
    """Take the judgement on those of the fits ``ids`` that are clear cases from what `solve_all` writes of them."""
    clear = (sums[:, 0, 1] == 1.0) & (out.status[ids] != LEFT)
    if not clear.all():  # to pick them copies all
        ids, sums = ids[clear], sums[clear]
    if not ids.size:
        return
    held = np.stack([column == 1.0 for column in sums[:, -1, 1:].T])  # at once, NumPy would go along the short axis
    inverse = np.moveaxis(sums[:, 1:-1, 1:], 0, 2)
    problem = fits.problem
    T, known, active = None, np.ones(1, dtype=bool), held  # not used without ties
    if problem.tied.any():
        T, known = slopes_of_ties(problem, np.ascontiguousarray(out.parameters[ids].T))
        low, high = (a[ids][:, problem.free].T for a in (fits.low, fits.high))
        active = (low != high) & ~held
    covariance = of_all_parameters(problem, inverse, T, active, held)
    good = np.broadcast_to(known, ids.shape)
    found = Judgement(covariance, sums[:, 0, 0], good, good, good, good, np.any(held, axis=0))
    out.judged.append((ids[good], found.only(good)))


def _work(n_inputs: int, n: int, k: int, K: int, sampling: Sampling | None) -> tuple[np.ndarray, ...]:
    """Work arrays of the fits side by side; see `fitters.compiled.lanes` and `fitters.compiled.levenberg`."""
    rows, n = n_inputs + 2 + sum(rows_of_nodes(sampling, 1 + k)), n if sampling is None else sampling.n_nodes
    shapes = (rows, n), (2, PIECE, 1 + k), (3, K), (3, k, k), (ROWS, k), (SCALARS,), (1 + k + PIECE, 1 + k)
    return tuple(np.zeros((*shape, LANES)) for shape in shapes)
