"""Whether the compiled engine does the work of a call.

It does where it is installed, the model can be compiled, and the work repays what compiling costs. For a lazy result
this depends on nothing but the call, so that a job that goes on tomorrow goes on with the same engine; a computed call
also profits from what was compiled before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec

import numpy as np

from xr_modelfit.compiled.kernels import are_kept, are_ready, kernels
from xr_modelfit.compiled.source import PIECE, is_slow, written
from xr_modelfit.compiled.symbols import CannotTrace
from xr_modelfit.derivatives import jacobian, tied_or_nan
from xr_modelfit.problem import Problem
from xr_modelfit.ways import about, points_to_try

__all__ = ["compiled_source"]

_POINTER = ctypes.POINTER(ctypes.c_double)
_MANY = 2e7  # samples whose fits by NumPy take longer than to compile everything
_SOME = 2e6  # the same where files hold what was compiled
_FEW = 2e4  # the same where it is in memory
_SAME = 1e-10  # of the largest value
_ALIKE = 1e-6  # the same far from the start, where a model may be ill-conditioned
_CLOSE = 1e-3  # of the largest slope: differences are no better in the worst case


def compiled_source(
    problem: Problem, inputs: Sequence[np.ndarray], engine: str, n_fits: int, n_samples: int, lazy: bool
) -> str | None:
    """The source of the functions to compile; None where the NumPy engine does the work.

    Parameters
    ----------
    problem : Problem
        Its ways are known.
    inputs : sequence of ndarray, shape (n,)
        Coordinates on which the compiled functions are compared with the model.
    engine : {"auto", "numba", "numpy"}
    n_fits, n_samples : int
        Fits of the call, and samples of each.
    lazy : bool
        Whether the result is.
    """
    work = n_fits * n_samples
    if engine == "numpy" or (engine == "auto" and (problem.ways.linear or work < (_MANY if lazy else _FEW))):
        return None
    if problem.ways.linear or not problem.free.any():  # one factorisation serves all
        return None
    if engine == "auto" and find_spec("numba") is None:
        return None
    try:
        source = written(problem)
    except CannotTrace:
        return None
    if engine == "auto" and (is_slow(source) or (not lazy and work < _worth(source, work))):
        return None
    from numba.core.errors import NumbaError

    with suppress(NumbaError):
        return source if _agrees(problem, source, inputs, n_samples) else None
    return None


def _worth(source: str, work: int) -> float:
    """From how many samples on a computed call takes less time compiled."""
    if are_ready(source):
        return _FEW
    return _SOME if work >= _SOME and are_kept(source) else _MANY


def _agrees(problem: Problem, source: str, inputs: Sequence[np.ndarray], n_samples: int) -> bool:
    """Whether the compiled functions say what the model says: at its start, beside it, and far from it.

    Symbols see through no code that treats them in another way than arrays: by their type, or by how many samples
    there are. Hence also as many samples as the fits have, and parameters that take other branches.
    """
    k = int(np.count_nonzero(problem.free))
    with np.errstate(all="ignore"):
        P = points_to_try(problem, inputs)
        infinite = np.full(P.shape, np.inf)
        slopes = jacobian(problem, [x[:, None] for x in inputs], P, -infinite, infinite)
        for number, found in enumerate(_columns(source, inputs, P, k)):
            if not all(_close(a, s[:, number], _CLOSE) for a, s in zip(found[1:], slopes, strict=True)):
                return False
        as_many = [np.resize(x, max(n_samples, x.size)) for x in inputs]
        near = about(problem.start, 100)  # coordinates of other fits may lie elsewhere
        others = [np.roll(np.concatenate([near, -near]), 7 * number) for number in range(len(inputs))]
        return (
            _same_values(problem, source, as_many, P, _SAME)
            and _same_values(problem, source, others, P, _ALIKE)
            and _same_values(problem, source, inputs, _far(problem), _ALIKE)
        )


def _far(problem: Problem) -> np.ndarray:
    """Parameters (K, b) far from the start, on both sides of what code may compare them with; ties hold."""
    start = np.where(np.isfinite(problem.start), problem.start, 1.0)
    free = problem.free
    points = [start * by for by in (-1.0, 0.25, 4.0, 30.0)]
    for j in np.flatnonzero(free).tolist():
        for value in (-start[j], 0.0, 0.25 * start[j], 4.0 * start[j], start[j] + 10.0, start[j] - 10.0):
            points.append(np.where(np.arange(start.size) == j, value, start))
    return tied_or_nan(problem, np.stack([np.where(free, p, start) for p in points], axis=1))


def _same_values(problem: Problem, source: str, inputs: Sequence[np.ndarray], P: np.ndarray, limit: float) -> bool:
    """Whether values agree, at those of the parameters (K, b) where the model has any."""
    k = int(np.count_nonzero(problem.free))
    for p, found in zip(P.T, _columns(source, inputs, P, k), strict=True):
        try:
            expected = problem.evaluate([x[:, None] for x in inputs], p[:, None])[:, 0]
        except Exception:  # not here
            continue
        if not _close(found[0], expected, limit):
            return False
    return True


def _columns(source: str, inputs: Sequence[np.ndarray], P: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Values and derivatives by the compiled functions, (1 + k, n), for each of the parameters (K, b)."""
    columns = kernels(source).columns.ctypes
    n = inputs[0].size
    pieces = -(-n // PIECE)
    D = np.zeros((len(inputs) + 2, pieces * PIECE))
    D[: len(inputs)] = [np.resize(x, pieces * PIECE) for x in inputs]
    for p in np.ascontiguousarray(P.T):
        J = np.empty((pieces, 1 + k, PIECE))
        columns(pieces, D.shape[1], *(a.ctypes.data_as(_POINTER) for a in (D, p, J)))
        yield np.moveaxis(J, 1, 0).reshape(1 + k, -1)[:, :n]


def _close(a: np.ndarray, b: np.ndarray, limit: float) -> bool:
    """Whether two columns agree where both are finite, in all but a few samples (those on a kink)."""
    finite = np.isfinite(a) & np.isfinite(b)
    if np.count_nonzero(np.isfinite(a) != np.isfinite(b)) > 0.05 * a.size:
        return False
    off = np.abs(a - b)[finite] > limit * np.max(np.abs(b[finite]), initial=0.0)
    return bool(np.count_nonzero(off) <= (0.05 * a.size if limit > _SAME else 0))
