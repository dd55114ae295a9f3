"""How the model of a call can be computed, found out once and before any sample is read.

Whether it is pointwise (`analysis.pointwise`), whether it takes many fits at once, how each atom of its expression is
differentiated (`analysis.methods`), whether it is linear, whether it writes into its inputs.

Shapes as in `analysis.derivatives`: inputs (n, 1), parameters to try (K, 3).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xr_modelfit.analysis.comparison import agrees
from xr_modelfit.analysis.derivatives import OF_DIFFERENCES, accuracy, jacobian, tie_derivatives, tied_or_nan
from xr_modelfit.analysis.memo import CACHE_SIZE, CacheKey, IdentityKey, code_of, numbers_of
from xr_modelfit.analysis.methods import by_differences, methods_of_atoms, where_finite
from xr_modelfit.analysis.pointwise import is_pointwise, same_on_grid
from xr_modelfit.analysis.probing import points_to_try
from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.models.grid import Grid
from xr_modelfit.models.problem import Inputs, Problem, Traits, as_rows
from xr_modelfit.models.sampling import Sampling
from xr_modelfit.tracing.arrays import array_sources, columns_of, values_of
from xr_modelfit.tracing.graph import BOOLEANS, CannotTrace
from xr_modelfit.tracing.source import written
from xr_modelfit.tracing.tracing import Traced, traced

__all__ = ["Whole", "find_traits", "with_broadcasting", "with_sampling"]

_ROUGH = {"absolute", "sign", "floor", "ceil", "rint", "trunc", "minimum", "maximum", "where"}  # kinks and jumps


class Whole(NamedTuple):
    """All the samples of a fit, for models that need them."""

    grid: Grid
    inputs: Callable[[], Sequence[np.ndarray]]  # gives the coordinates of a fit, (n,) each
    pointwise: bool | None = None  # what the user says of the model; None: it is tried


def find_traits(problem: Problem, inputs: Inputs, n_samples: int = 0, whole: Whole | None = None) -> Problem:
    """The problem with its `Traits`, tried at the start and beside it on ``inputs`` (n,).

    Fits may have more samples, ``n_samples``; ``whole`` has all of them. By default they are ``inputs``, along one dim.
    """
    found = None
    whole = Whole(Grid.line(inputs[0].size), lambda: inputs) if whole is None else whole
    try:
        found = traced(problem)
        P, values = points_to_try(problem, inputs)
    except (CannotTrace, Exception):  # no key would tell whether the model has changed
        return replace(problem, traits=_traits(problem, found, inputs, n_samples, whole))
    numbers = *numbers_of(problem, inputs), P.tobytes(), values.tobytes(), n_samples
    shape = whole.grid, whole.pointwise
    key = found.key, code_of(problem.model), *map(IdentityKey, problem.ties), numbers, shape
    return replace(problem, traits=_cached_traits(CacheKey(key, (problem, found, inputs, n_samples, whole))))


@lru_cache(CACHE_SIZE)
def _cached_traits(key: CacheKey) -> Traits:
    found = _traits(*key.taken())
    if found.tie_matrix is not None:
        found.tie_matrix.flags.writeable = False  # other calls get it too
    return found


def _traits(problem: Problem, found: Traced | None, inputs: Inputs, n_samples: int, whole: Whole) -> Traits:
    """What `find_traits` finds; ``found`` is the expression of the model, where it has one."""
    problem = replace(problem, traits=Traits(writes_inputs=_writes_into_inputs(problem, inputs)))
    if found is not None and whole.pointwise is not False:
        traits = _pointwise_traits(problem, found, inputs, n_samples)
        line = whole.grid.is_line or whole.pointwise
        if traits.traced is not None and (line or same_on_grid(problem, whole.grid, whole.inputs())):
            return traits  # an expression of single samples
        if whole.pointwise or is_pointwise(problem, whole.grid, whole.inputs()) is not False:
            return traits
    elif whole.pointwise or (whole.pointwise is None and is_pointwise(problem, whole.grid, whole.inputs())):
        return _pointwise_traits(problem, None, inputs, n_samples)
    return _grid_traits(problem, whole)


def _grid_traits(problem: Problem, whole: Whole) -> Traits:
    """Traits of a model that sees all samples of a fit: it is evaluated on all of them, one fit at a time."""
    every = whole.inputs()
    problem = replace(problem, traits=Traits(grid=whole.grid))
    problem = problem.with_traits(writes_inputs=_writes_into_inputs(problem, every))
    try:
        P, _ = points_to_try(problem, every)
    except Exception:  # the fits meet a model that cannot be evaluated here, and say so
        return replace(problem.traits, atoms=by_differences(problem.model))
    at = [x[:, None] for x in every]
    problem = _with_derivatives(problem, at, P)
    return replace(problem.traits, linear=_is_linear(problem, at, P))


def _pointwise_traits(problem: Problem, found: Traced | None, inputs: Inputs, n_samples: int) -> Traits:
    """Traits of a pointwise model."""
    try:
        P, values = points_to_try(problem, inputs)
        at = where_finite(inputs, values)
        broadcasts = _broadcasts(problem, at, P)
    except Exception:  # the fits meet a model that cannot be evaluated here, and say so
        return replace(problem.traits, atoms=by_differences(problem.model))
    problem = _with_derivatives(problem.with_traits(broadcasts=broadcasts), at, P)
    if found is not None:
        problem = _with_trace(problem, found, at, P, n_samples)
    return replace(problem.traits, linear=_is_linear(problem, at, P))


def _with_derivatives(problem: Problem, at: Inputs, P: np.ndarray) -> Problem:
    """The problem with the traits of its ties and of its atoms; ``at`` are (n, 1)."""
    problem = problem.with_traits(**_tie_traits(problem, P))
    atoms, wrong = methods_of_atoms(problem, at, P)
    return problem.with_traits(atoms=atoms, wrong_derivative=wrong)


def with_broadcasting(problem: Problem, inputs: Inputs, grid: Grid | None = None) -> Problem:
    """The problem with the `Traits` that evaluation needs; ``grid`` is that of a model that sees all samples."""
    if grid is not None:  # copies of its inputs are always right
        return replace(problem, traits=Traits(writes_inputs=True, grid=grid))
    try:
        problem = replace(problem, traits=Traits(writes_inputs=_writes_into_inputs(problem, inputs)))
        P, values = points_to_try(problem, inputs)
        together = _broadcasts(problem, where_finite(inputs, values), P)
    except Exception:  # it cannot be evaluated there; one fit at a time is always right
        return replace(problem, traits=Traits(writes_inputs=True))
    return problem.with_traits(broadcasts=together)


def with_sampling(problem: Problem, sampling: Sampling) -> Problem:
    """The problem whose samples are made of values at nodes; its traits are known."""
    compilable = None
    if problem.traits.compilable is not None:
        with suppress(CannotTrace):
            compilable = written(traced(problem), sampling)
    return replace(problem.with_traits(compilable=compilable), sampling=sampling)


def _with_trace(problem: Problem, found: Traced, at: Inputs, P: np.ndarray, n_samples: int) -> Problem:
    """The problem with derivatives from its traced expression, where it agrees with the model."""
    with suppress(CannotTrace):
        problem = problem.with_traits(compilable=written(found))
    try:
        sources = array_sources(found)
    except CannotTrace:
        return problem

    def columns(inputs: Inputs, Q: np.ndarray) -> Iterator[np.ndarray]:
        value, shared = values_of(sources, [x[:, None] for x in inputs], Q)
        yield value.copy()  # the derivatives may be written into its memory
        yield from columns_of(sources, [x[:, None] for x in inputs], Q, shared)

    if not agrees(problem, columns, [x[:, 0] for x in at], P, n_samples):
        return problem
    operations = {found.graph.nodes[n][0] for n in found.graph.needed([found.value.number])}
    smooth = not operations & (_ROUGH | set(BOOLEANS))
    return problem.with_traits(traced=sources, partly_linear=_partly_linear(problem, found), smooth=smooth)


def _partly_linear(problem: Problem, found: Traced) -> np.ndarray:
    """Which free parameters (K,) the model is linear in, all together: none of their derivatives depends on one."""
    slopes = [s.number for s in found.slopes]
    on = [found.graph.depending([one.number]) for one in found.ours]
    chosen: list[int] = []
    for m in range(len(slopes)):
        among = [*chosen, m]
        if all(slopes[i] not in on[k] for i in among for k in among):
            chosen = among
    linear = np.zeros(problem.n_parameters, dtype=bool)
    linear[np.flatnonzero(problem.free)[chosen]] = True
    return linear


def _tie_traits(problem: Problem, P: np.ndarray) -> dict[str, Any]:
    """Whether ties take many fits at once, and their derivatives where they are linear."""
    if not problem.tied.any():
        return {"ties_broadcast": True, "tie_matrix": np.eye(problem.n_parameters)[:, problem.free]}
    together = problem.with_traits(ties_broadcast=True)
    try:
        broadcasts = bool(np.array_equal(together.with_ties(P), problem.with_ties(P)))
    except Exception:
        broadcasts = False
    problem = together if broadcasts else problem
    far = P.copy()
    far[problem.free] = far[problem.free] * np.array([1.0, 5.0, -3.0]) + np.array([0.0, 11.0, -7.0])
    try:
        T = tie_derivatives(problem, tied_or_nan(problem, far))
    except Exception:
        T = np.full((1, 1, 1), np.nan)
    linear = bool(np.all(np.isfinite(T)) and np.all(np.abs(T - T[:, :, :1]) <= 1e-7 * np.max(np.abs(T))))
    return {"ties_broadcast": broadcasts, "tie_matrix": _rounded(T[:, :, 0]) if linear else None}


def _rounded(T: np.ndarray) -> np.ndarray:
    """``T`` with a short decimal in place of what differs from it by rounding alone."""
    short = np.round(T, 9)
    return np.where(np.abs(short - T) <= 1e-9 * np.abs(T), short, T)


def _writes_into_inputs(problem: Problem, inputs: Inputs) -> bool:
    """Whether the model works on copies of its inputs, but not on read-only arrays."""
    if problem.traits.grid is not None:
        inputs = [problem.traits.grid.shaped(x) for x in inputs]
    for point in (problem.start, problem.start * 1.0625 + 0.03125):
        try:
            evaluate_tree(problem.model, inputs, list(point), writes_inputs=True)
        except Exception:  # it cannot be evaluated here at all
            continue
        try:
            evaluate_tree(problem.model, inputs, list(point))
        except Exception:
            return True
    return False


def _broadcasts(problem: Problem, at: Inputs, P: np.ndarray) -> bool:
    """Whether the values of many fits at once are those of one fit at a time, with shared inputs and with own."""
    together = problem.with_traits(broadcasts=True)
    shift = max(at[0].shape[0] // 3, 1)  # each fit has its samples in another order
    own = [np.stack([np.roll(x[:, 0], i * shift) for i in range(P.shape[1])], axis=1) for x in at]
    for inputs in (at, own):
        try:
            one_by_one = problem.evaluate(inputs, P)
            n, b = one_by_one.shape
            if problem.model_values(inputs, as_rows(P)).shape not in ((n, b), (n, 1), (1, b), (b,), ()):
                return False
            if not _same(together.evaluate(inputs, P), one_by_one):
                return False
        except Exception:
            return False
    return True


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        scale = np.max(np.where(np.isfinite(b), np.abs(b), 0.0), initial=0.0)
        return bool(np.allclose(a, b, rtol=1e-12, atol=1e-13 * scale, equal_nan=True))


def _is_linear(problem: Problem, at: Inputs, P: np.ndarray) -> bool:
    """Whether the Jacobian is the same at any free parameters."""
    free = problem.free
    if not free.any():
        return False
    Q = np.repeat(problem.start[:, None], 3, axis=1)
    Q[free] = np.stack([P[free, 0], P[free, 1] * 3.0 + 7.0, P[free, 2] * -2.0 - 5.0], axis=1)
    try:
        Q = problem.with_ties(Q)
        infinite = np.full(Q.shape, np.inf)
        J = np.stack(jacobian(problem, at, Q, -infinite, infinite))
        f = problem.evaluate(at, Q)
    except Exception:
        return False
    if not (np.all(np.isfinite(J)) and np.all(np.isfinite(f))):
        return False
    tolerance = 1e-7 if accuracy(problem) == OF_DIFFERENCES else 1e-12
    scale = np.max(np.abs(J), axis=(1, 2))
    if not np.all(scale > 0):  # a column of zeros is no evidence
        return False
    if np.any(np.max(np.abs(J - J[:, :, :1]), axis=(1, 2)) > tolerance * scale):
        return False
    step = (Q - Q[:, :1])[free]
    guess = f[:, :1] + np.einsum("kn,kb->nb", J[:, :, 0], step)
    return bool(np.all(np.abs(guess - f) <= 1e2 * tolerance * np.max(np.abs(f), axis=0)))
