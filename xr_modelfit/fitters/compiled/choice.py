"""Whether the compiled engine does the work of a call.

It does where it is installed, the model can be compiled, and the work repays the compilation. This follows from the
model and the number of samples alone: a call has the same engine today and tomorrow.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec

import numpy as np

from xr_modelfit.analysis.comparison import agrees
from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.analysis.memo import CACHE_SIZE, CacheKey, numbers_of
from xr_modelfit.analysis.probing import points_to_try
from xr_modelfit.fitters.compiled.kernels import Kernels, kernels
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Sampling
from xr_modelfit.tracing.source import LANES, is_slow, rows_of_nodes

__all__ = ["compiled_source"]

_POINTER = ctypes.POINTER(ctypes.c_double)
_ENOUGH = 5e6  # samples: NumPy needs some seconds for them; to compile takes ten once, and half a second from files
_EXPENSIVE = 8  # as many samples of another model take NumPy as long as one of a Voigt profile
_LONGEST = 2**18  # samples of a fit: beyond, eight fits side by side take much memory, and NumPy has long arrays


def compiled_source(
    problem: Problem, inputs: Sequence[np.ndarray], engine: str, n_fits: int, n_samples: int
) -> str | None:
    """The source of the functions to compile; None where the NumPy engine does the work.

    ``problem``'s traits are known; compiled functions are compared with the model on ``inputs`` (n,). The call has
    ``n_fits`` fits of ``n_samples`` samples each.
    """
    if engine == "numpy" or problem.traits.linear or not problem.free.any():  # one factorisation serves all
        return None
    source = problem.traits.compilable
    if source is None or n_samples > _LONGEST:
        return None
    sampling = problem.sampling
    if sampling is not None and max(sampling.n_nodes, sampling.n_weights) > _LONGEST:
        return None
    work = n_fits * n_samples * (_EXPENSIVE if problem.traits.expensive else 1)
    if engine == "auto" and (work < _ENOUGH or n_fits < LANES or is_slow(source) or find_spec("numba") is None):
        return None
    from numba.core.errors import NumbaError

    try:
        compiled = kernels(source)
    except (NumbaError, ArithmeticError, TypeError, ValueError):  # it does not compile
        return None
    key = source, problem.traits.traced, compiled.addresses, numbers_of(problem, inputs), n_samples, sampling
    tried = CacheKey(key, (problem, compiled, inputs, n_samples))
    # Where its expression was seen to say what the model says, so do compiled functions that say what it says.
    found = _says_the_same(tried) if problem.traits.traced is None else _said_the_same(tried)
    return source if found else None


def _says_the_same(tried: CacheKey) -> bool:
    problem, compiled, inputs, n_samples = tried.taken()
    try:
        P, _ = points_to_try(problem.at_nodes, inputs)
    except (ArithmeticError, TypeError, ValueError):  # the model says nothing here
        return False
    k = int(np.count_nonzero(problem.free))
    if problem.sampling is not None:
        return _says_the_same_at_nodes(problem, problem.sampling, compiled, inputs, P)
    return agrees(problem, lambda at, Q: _columns(compiled, at, Q, k), inputs, P, n_samples)


def _says_the_same_at_nodes(
    problem: Problem, sampling: Sampling, compiled: Kernels, inputs: Sequence[np.ndarray], P: np.ndarray
) -> bool:
    """Whether compiled functions make the samples, and their derivatives, that NumPy makes, whatever the nodes."""
    at = [np.resize(x, sampling.n_nodes) for x in inputs]
    weights = 1.0 + 0.5 * np.cos(np.arange(sampling.n_weights))
    given, infinite = [x[:, None] for x in (*at, weights)], np.full(P.shape, np.inf)
    found = list(_columns(compiled, at, P, int(np.count_nonzero(problem.free)), sampling, weights))
    with np.errstate(all="ignore"):
        right = [problem.evaluate(given, P), *jacobian(problem, given, P, -infinite, infinite)]
        same = 1e-10 if problem.traits.traced is not None else 1e-3  # differences are no better in the worst case
        return all(
            np.allclose(a, b, rtol=0.0, atol=same * np.max(np.abs(b), initial=0.0), equal_nan=True)
            for a, b in zip(found, right, strict=True)
        )


_said_the_same = lru_cache(CACHE_SIZE)(_says_the_same)


def _columns(
    compiled: Kernels,
    inputs: Sequence[np.ndarray],
    P: np.ndarray,
    k: int,
    sampling: Sampling | None = None,
    weights: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Values and derivatives by the compiled functions, (n, b) each, from inputs (n,) and parameters (K, b).

    Inputs (N,) of nodes, where samples are made of values there with ``weights``.
    """
    stride, points = inputs[0].size, P.shape[1]
    n = stride if sampling is None else sampling.n
    groups = -(-points // LANES)
    D = np.zeros((len(inputs) + 2 + sum(rows_of_nodes(sampling, 1 + k)), stride, LANES))
    D[: len(inputs)] = np.stack(inputs)[:, :, None]
    if weights is not None:
        D[len(inputs) + 2 :].reshape(-1, LANES)[: weights.size] = weights[:, None]
    side_by_side = np.resize(P.T, (groups * LANES, len(P))).reshape(groups, LANES, -1)
    J = np.empty((groups, n, 1 + k, LANES))
    for some, one in zip(np.ascontiguousarray(side_by_side.swapaxes(1, 2)), J, strict=True):
        compiled.columns.ctypes(0, n, stride, 0, *(a.ctypes.data_as(_POINTER) for a in (D, some, one)))
    yield from np.moveaxis(J, (2, 0), (0, 2)).reshape(1 + k, n, -1)[:, :, :points]
