"""How the model of a call can be computed, found out once and before any sample is read.

Whether it is pointwise (`analysis.pointwise`), whether it takes many fits at once, how each atom
of its expression is differentiated (`analysis.derivatives`), whether it is linear, whether it
writes into its inputs. A way is taken only on evidence: where a parameter has no effect, anything agrees with anything.

Shapes as in `analysis.derivatives`: inputs (n, 1), parameters to try (K, 3).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.analysis.comparison import agrees
from xr_modelfit.analysis.derivatives import (
    OF_DIFFERENCES,
    RULES,
    Walk,
    accuracy,
    jacobian,
    tie_derivatives,
    tied_or_nan,
)
from xr_modelfit.analysis.memo import KEPT, Itself, Question, code_of, numbers_of
from xr_modelfit.analysis.pointwise import is_pointwise, same_on_grid
from xr_modelfit.analysis.probing import about, points_to_try
from xr_modelfit.models.expression import evaluate_tree, inner_inputs
from xr_modelfit.models.grid import Grid
from xr_modelfit.models.problem import Problem, Traits, as_rows
from xr_modelfit.models.sampling import Sampling
from xr_modelfit.tracing.arrays import array_sources, columns_of, values_of
from xr_modelfit.tracing.graph import TRUTHS, CannotTrace
from xr_modelfit.tracing.source import written
from xr_modelfit.tracing.tracing import Traced, traced

__all__ = ["Whole", "find_traits", "with_broadcasting", "with_sampling"]

_ROUGH = {"absolute", "sign", "floor", "ceil", "rint", "trunc", "minimum", "maximum", "where"}
_AGREE = 1e-4  # a wrong derivative is off by far more, a difference by far less

Inputs = Sequence[np.ndarray]


class Whole(NamedTuple):
    """All the samples of a fit, for models that need them.

    Parameters
    ----------
    grid : Grid
    inputs : callable
        Gives the coordinates of a fit, (n,) each.
    pointwise : bool, optional
        What the user says of the model; None: it is tried.
    """

    grid: Grid
    inputs: Callable[[], Sequence[np.ndarray]]
    pointwise: bool | None = None


def find_traits(
    problem: Problem, inputs: Sequence[np.ndarray], n_samples: int = 0, whole: Whole | None = None
) -> Problem:
    """The problem with its `Traits`, tried at the start and beside it.

    Parameters
    ----------
    problem : Problem
    inputs : sequence of ndarray, shape (n,)
        Coordinates to try it on.
    n_samples : int
        Of each fit, where there are more than ``inputs`` has.
    whole : Whole, optional
        All samples of a fit; default: those of ``inputs``, along one dim.
    """
    found = None
    whole = Whole(Grid.line(inputs[0].size), lambda: inputs) if whole is None else whole
    try:
        found = traced(problem)
        P, values = points_to_try(problem, inputs)
    except (CannotTrace, Exception):  # what it does cannot be seen, nor whether it is still the same
        return replace(problem, traits=_traits(problem, found, inputs, n_samples, whole))
    numbers = *numbers_of(problem, inputs), P.tobytes(), values.tobytes(), n_samples
    shape = whole.grid, whole.pointwise
    key = found.key, code_of(problem.model), *map(Itself, problem.ties), numbers, shape
    return replace(problem, traits=_traits_again(Question(key, (problem, found, inputs, n_samples, whole))))


@lru_cache(KEPT)
def _traits_again(question: Question) -> Traits:
    found = _traits(*question.taken())
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
    """What is found of a model that sees all samples of a fit: it is evaluated on all of them, one fit at a time."""
    every = whole.inputs()
    problem = replace(problem, traits=Traits(grid=whole.grid))
    problem = replace(problem, traits=replace(problem.traits, writes_inputs=_writes_into_inputs(problem, every)))
    try:
        P, _ = points_to_try(problem, every)
    except Exception:  # a model that cannot be evaluated here is met, and named, by the fits
        return replace(problem.traits, atoms=("difference",) * _count_atoms(problem.model))
    at = [x[:, None] for x in every]
    problem = _with_derivatives(problem, at, P)
    return replace(problem.traits, linear=_is_linear(problem, at, P))


def _pointwise_traits(problem: Problem, found: Traced | None, inputs: Inputs, n_samples: int) -> Traits:
    """What is found of a pointwise model."""
    unknown = replace(problem.traits, atoms=("difference",) * _count_atoms(problem.model))
    try:
        P, values = points_to_try(problem, inputs)
        at = _where_finite(inputs, values)
        broadcasts = _broadcasts(problem, at, P)
    except Exception:  # a model that cannot be evaluated here is met, and named, by the fits
        return unknown
    problem = _with_derivatives(replace(problem, traits=replace(problem.traits, broadcasts=broadcasts)), at, P)
    if found is not None:
        problem = _with_trace(problem, found, at, P, n_samples)
    return replace(problem.traits, linear=_is_linear(problem, at, P))


def _with_derivatives(problem: Problem, at: Inputs, P: np.ndarray) -> Problem:
    """The problem with the traits of its ties and of its atoms; ``at`` are (n, 1)."""
    problem = replace(problem, traits=replace(problem.traits, **_tie_traits(problem, P)))
    tried = _with_evidence(problem, at, P)
    atoms = tuple(one.way if one.proven else "difference" for one in tried)
    wrong = any(one.wrong for one in tried)
    return replace(problem, traits=replace(problem.traits, atoms=atoms, wrong_derivative=wrong))


def with_broadcasting(problem: Problem, inputs: Sequence[np.ndarray], grid: Grid | None = None) -> Problem:
    """The problem with what its evaluation alone needs of its `Traits`; arguments as in `find_traits`.

    Where the model sees all samples, it has a ``grid``.
    """
    if grid is not None:  # copies of its inputs are always right
        return replace(problem, traits=Traits(writes_inputs=True, grid=grid))
    try:
        problem = replace(problem, traits=Traits(writes_inputs=_writes_into_inputs(problem, inputs)))
        P, values = points_to_try(problem, inputs)
        together = _broadcasts(problem, _where_finite(inputs, values), P)
    except Exception:  # it cannot be evaluated there; one by one is always right
        return replace(problem, traits=Traits(writes_inputs=True))
    return replace(problem, traits=replace(problem.traits, broadcasts=together))


def with_sampling(problem: Problem, sampling: Sampling) -> Problem:
    """The problem whose samples are made of values at nodes; its traits are known."""
    traits = problem.traits
    if traits.compilable is not None:
        try:
            traits = replace(traits, compilable=written(traced(problem), sampling))
        except CannotTrace:
            traits = replace(traits, compilable=None)
    return replace(problem, traits=traits, sampling=sampling)


def _with_trace(problem: Problem, found: Traced, at: Inputs, P: np.ndarray, n_samples: int) -> Problem:
    """The problem with derivatives from its traced expression, where they and its values agree with the others."""
    with suppress(CannotTrace):
        problem = replace(problem, traits=replace(problem.traits, compilable=written(found)))
    try:
        sources = array_sources(found)
    except CannotTrace:
        return problem

    def columns(inputs: Inputs, Q: np.ndarray) -> Iterator[np.ndarray]:
        value, shared = values_of(sources, [x[:, None] for x in inputs], Q)
        yield value.copy()  # the derivatives may be written into it
        yield from columns_of(sources, [x[:, None] for x in inputs], Q, shared)

    if not agrees(problem, columns, [x[:, 0] for x in at], P, n_samples):
        return problem
    traits = replace(
        problem.traits, traced=sources, partly_linear=_partly_linear(problem, found), smooth=_is_smooth(found)
    )
    return replace(problem, traits=traits)


def _is_smooth(found: Traced) -> bool:
    """Whether nothing in the expression has a kink or a jump."""
    kinds = {found.graph.nodes[n][0] for n in found.graph.needed([found.value.number])}
    return not kinds & (_ROUGH | set(TRUTHS))


def _partly_linear(problem: Problem, found: Traced) -> np.ndarray:
    """Which free parameters (K,) the model is linear in, all together: none of their derivatives depends on one."""
    slopes = [s.number for s in found.slopes]
    on = [found.graph.depending([one.number]) for one in found.ours]
    chosen: list[int] = []
    for m in range(len(slopes)):
        if all(slopes[i] not in on[k] for i in (*chosen, m) for k in (*chosen, m)):
            chosen.append(m)
    linear = np.zeros(problem.n_parameters, dtype=bool)
    linear[np.flatnonzero(problem.free)[chosen]] = True
    return linear


class _Found(NamedTuple):
    """Way of an atom, whether its own ``fit_deriv`` is wrong, and whether every parameter had an effect to compare."""

    way: str
    wrong: bool
    proven: bool


def _where_finite(inputs: Sequence[np.ndarray], values: np.ndarray) -> list[np.ndarray]:
    """Those of the coordinates where the model's values are finite, (n, 1) each; raises where there are none."""
    finite = np.all(np.isfinite(values), axis=1)
    if np.count_nonzero(finite) < 2:
        raise ValueError("the model is finite nowhere")
    return [x[finite][:, None] for x in inputs]


def _with_evidence(problem: Problem, at: Inputs, P: np.ndarray) -> list[_Found]:
    """The way of each atom; an atom without effect on the coordinates is tried where its start puts it."""
    found = _atom_traits(problem, at, P)
    if all(one.proven for one in found):
        return found
    n = 200 if problem.traits.grid is None else at[0].shape[0]
    elsewhere = [np.roll(about(problem.start, n), 7 * number) for number in range(len(at))]
    try:
        values = problem.evaluate([x[:, None] for x in elsewhere], P)
        there = _where_finite(elsewhere, values)
        again = _atom_traits(problem, there if problem.traits.grid is None else [x[:, None] for x in elsewhere], P)
    except Exception:  # it cannot be evaluated there
        return found
    return [old if old.proven else new for old, new in zip(found, again, strict=True)]


def _tie_traits(problem: Problem, P: np.ndarray) -> dict[str, Any]:
    """Whether ties take many fits at once, and their derivatives where they are linear."""
    if not problem.tied.any():
        return {"ties_broadcast": True, "tie_matrix": np.eye(problem.n_parameters)[:, problem.free]}
    together = replace(problem, traits=replace(problem.traits, ties_broadcast=True))
    try:
        apart = problem.with_ties(P)
        broadcasts = bool(np.array_equal(together.with_ties(P), apart))
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
    """Derivatives that differ from a short decimal by rounding alone are that decimal."""
    short = np.round(T, 9)
    return np.where(np.abs(short - T) <= 1e-9 * np.abs(T), short, T)


def _writes_into_inputs(problem: Problem, inputs: Sequence[np.ndarray]) -> bool:
    """Whether the model takes copies of its inputs only: it refuses those that cannot be written to."""
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
    """Whether many fits at once give what they give one by one, with shared and with own inputs."""
    together = replace(problem, traits=replace(problem.traits, broadcasts=True))
    shift = max(at[0].shape[0] // 3, 1)  # another order in each fit: what looks at other samples sees others
    own = [np.stack([np.roll(x[:, 0], i * shift) for i in range(P.shape[1])], axis=1) for x in at]
    for inputs in (at, own):
        try:
            apart = problem.evaluate(inputs, P)
            values = evaluate_tree(problem.model, inputs, as_rows(P), writes_inputs=problem.traits.writes_inputs)
            if np.shape(values) not in (apart.shape, (apart.shape[0], 1), (1, apart.shape[1]), apart.shape[1:], ()):
                return False
            if not _same(together.evaluate(inputs, P), apart):
                return False
        except Exception:
            return False
    return True


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        scale = np.max(np.where(np.isfinite(b), np.abs(b), 0.0), initial=0.0)
        return bool(np.allclose(a, b, rtol=1e-12, atol=1e-13 * scale, equal_nan=True))


def _count_atoms(model: Model) -> int:
    if isinstance(model, CompoundModel) and model.op == "fix_inputs":
        return _count_atoms(model.left)
    if isinstance(model, CompoundModel) and model.op in RULES:
        return _count_atoms(model.left) + _count_atoms(model.right)
    return 1


def _atom_traits(problem: Problem, at: Inputs, P: np.ndarray) -> list[_Found]:
    """The way of each atom on the coordinates ``at``."""
    found: list[_Found] = []

    def visit(model: Model, inputs: Inputs, rows: np.ndarray, needed: np.ndarray) -> None:
        if isinstance(model, CompoundModel) and model.op == "fix_inputs":
            visit(model.left, inner_inputs(model, inputs), rows, needed)
        elif isinstance(model, CompoundModel) and model.op in RULES:
            n_left = len(model.left.param_names)
            visit(model.left, inputs, rows[:n_left], needed[:n_left])
            visit(model.right, inputs, rows[n_left:], needed[n_left:])
        else:
            found.append(_atom_way(problem, model, inputs, rows, at[0].shape[0], needed))

    visit(problem.model, at, P, ~problem.fixed)
    return found


def _atom_way(problem: Problem, model: Model, at: Inputs, rows: np.ndarray, n: int, needed: np.ndarray) -> _Found:
    """The way of an atom, by the derivatives that are needed: those of fixed parameters are not."""
    if not needed.any():
        return _Found("difference", False, True)

    def columns(way: str) -> np.ndarray:
        out = []
        for i in range(rows.shape[1]) if not problem.traits.broadcasts else (slice(None),):
            i = slice(i, i + 1) if isinstance(i, int) else i
            walk = Walk(problem.traits, iter((way,)), one_by_one=not problem.traits.broadcasts)
            low, high = (list(np.full(rows[:, i].shape, sign * np.inf)) for sign in (-1, 1))
            parts = walk.columns(model, at, as_rows(rows[:, i]), low, high, list(needed))
            shape = (n, rows[:, i].shape[1])
            out.append(np.stack([np.broadcast_to(c, shape) for c, one in zip(parts, needed, strict=True) if one]))
        return np.concatenate(out, axis=2)

    def value(q: np.ndarray) -> np.ndarray:
        shape = (n, q.shape[1])
        if problem.traits.broadcasts:
            return np.broadcast_to(Walk(problem.traits, iter(())).value(model, at, as_rows(q)), shape)
        walk = Walk(problem.traits, iter(()), one_by_one=True)
        return np.concatenate([walk.value(model, at, list(q[:, i : i + 1])) for i in range(q.shape[1])], axis=1)

    def agrees(D: np.ndarray) -> bool:
        """Whether columns are those of the model; differences alone may not see a badly scaled one."""
        if not np.all(np.isfinite(D)):
            return False
        scale = np.maximum(np.max(np.abs(D), axis=(1, 2)), np.max(np.abs(E), axis=(1, 2)))
        worst = np.max(np.abs(D - E), axis=(1, 2)) / np.where(scale > 0, scale, 1.0)
        own = np.flatnonzero(needed)
        return all(_confirmed(value, rows, D[j], own[j]) for j in np.flatnonzero(worst > _AGREE).tolist())

    try:
        E = columns("difference")
    except Exception:
        return _Found("difference", False, True)
    bad = False
    smooth = np.all(np.isfinite(E), axis=(0, 1))
    if not smooth.any():
        return _Found("difference", False, True)
    rows, E = rows[:, smooth], E[:, :, smooth]  # a start may lie where the model ends
    candidates = ("linear", "analytic", "complex") if _simple_linear(model) else ("analytic", "complex")
    for way in candidates:
        try:
            D = columns(way)
        except Exception:
            continue
        if agrees(D):
            bad = bad or (way == "linear" and _own_is_wrong(columns, agrees))
            return _Found(way, bad, bool(np.all(np.any(D != 0, axis=(1, 2)))))
        bad = bad or (way == "analytic" and bool(np.all(np.isfinite(D))))
    return _Found("difference", bad, True)


def _confirmed(value: Any, rows: np.ndarray, column_: np.ndarray, j: int) -> bool:
    """Whether column ``j`` is a central difference whose step, by the column's own word, can be seen."""
    with np.errstate(all="ignore"):
        length = np.max(np.abs(column_), axis=0)
        size = np.max(np.abs(value(rows)), initial=0.0) or 1.0  # a start may make the model zero
        if not np.all(length > 0):
            return False
        for fraction in (1e-2, 1e-4, 1e-6, 1e-8):
            below, above = rows.copy(), rows.copy()
            below[j] -= fraction * size / length
            above[j] += fraction * size / length
            E = (value(above) - value(below)) / (above[j] - below[j])
            if np.all(np.abs(E - column_) <= _AGREE * length):
                return True
    return False


def _own_is_wrong(columns: Any, agrees: Any) -> bool:
    """Whether a linear model's own ``fit_deriv``, which astropy's fitters use, is wrong."""
    try:
        D = columns("analytic")
    except TypeError:
        return False
    except Exception:
        return True
    return not agrees(D)


def _simple_linear(model: Model) -> bool:
    return not isinstance(model, CompoundModel) and bool(model.linear)


def _is_linear(problem: Problem, at: Inputs, P: np.ndarray) -> bool:
    """Whether the Jacobian is the same wherever the free parameters are."""
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
