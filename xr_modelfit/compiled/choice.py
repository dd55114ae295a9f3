"""Whether the compiled engine does the work of a call.

It does where it is installed, the model can be compiled, and the work repays what compiling costs. For a lazy result
this depends on nothing but the call, so that a job that goes on tomorrow goes on with the same engine; a computed call
also profits from what was compiled before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np

from xr_modelfit.comparison import ALIKE, CLOSE, SAME, columns_agree, far_points, same_values
from xr_modelfit.compiled.kernels import are_kept, are_ready, kernels
from xr_modelfit.compiled.source import PIECE, is_slow, written
from xr_modelfit.compiled.symbols import CannotTrace
from xr_modelfit.derivatives import jacobian
from xr_modelfit.problem import Problem
from xr_modelfit.ways import about, points_to_try

__all__ = ["compiled_source"]

_POINTER = ctypes.POINTER(ctypes.c_double)
_MANY = 2e7  # samples whose fits by NumPy take longer than to compile everything
_SOME = 2e6  # the same where files hold what was compiled
_FEW = 2e4  # the same where it is in memory


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

    try:
        return source if _agrees(problem, source, inputs, n_samples) else None
    except (NumbaError, ArithmeticError, TypeError, ValueError):  # it does not compile, or says nothing here
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
            if not all(columns_agree(a, s[:, number], CLOSE) for a, s in zip(found[1:], slopes, strict=True)):
                return False

        def values(at: Sequence[np.ndarray], Q: np.ndarray) -> np.ndarray:
            return np.stack([found[0] for found in _columns(source, at, Q, k)], axis=1)

        as_many = [np.resize(x, max(n_samples, x.size)) for x in inputs]
        near = about(problem.start, 100)  # coordinates of other fits may lie elsewhere
        others = [np.roll(np.concatenate([near, -near]), 7 * number) for number in range(len(inputs))]
        return (
            same_values(problem, values, as_many, P, SAME)
            and same_values(problem, values, others, P, ALIKE)
            and same_values(problem, values, inputs, far_points(problem), ALIKE)
        )


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
