"""Derivatives of a model with respect to its free parameters, for many fits at once.

Each atom of the expression has a method (`analysis.atoms`), found once a call (`analysis.traits`). Where the whole
expression can be traced (`tracing.arrays`) and agrees with these, it gives all derivatives at once.

Where a sample lies on a cusp of the model, an analytic derivative may be 0/0, and a complex one huge:
`replace_at_cusps` takes differences there.

Ties enter by the chain rule: with all ``K`` parameters ``P(p)`` a function of the ``k`` free ones,
``J = (df/dP) (dP/dp) = D T``.

Shapes: ``n`` samples, ``b`` fits; inputs (n, 1) or (n, b), parameters (K, b), columns (n, b).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from contextlib import suppress
from dataclasses import replace

import numpy as np

from xr_modelfit.analysis.atoms import Bounds, Columns, columns_of_part
from xr_modelfit.analysis.differences import derivative
from xr_modelfit.models.problem import Inputs, Problem
from xr_modelfit.tracing.arrays import columns_of, values_of

__all__ = [
    "OF_DIFFERENCES",
    "accuracy",
    "jacobian",
    "replace_at_cusps",
    "tie_derivatives",
    "tied_or_nan",
    "values",
    "weighted",
]

_SPIKE = 1e6  # a sample that exceeds most others by this factor may be on a cusp
OF_DIFFERENCES = 1e-9


def accuracy(problem: Problem) -> float:
    """Relative accuracy of the columns of the Jacobian, for rank tests."""
    return OF_DIFFERENCES if "difference" in problem.traits.atoms and problem.traits.traced is None else 1e-14


def values(problem: Problem, inputs: Inputs, P: np.ndarray) -> tuple[np.ndarray, Columns | None]:
    """The model's values (n, b), ties applied, and what `jacobian` shares with them; arguments as there."""
    if problem.sampling is not None:
        *nodes, weights = inputs
        found, shared = values(problem.at_nodes, nodes, P)
        return problem.sampling.mixed(found, weights), shared
    if problem.traits.traced is not None:
        return values_of(problem.traits.traced, inputs, P)
    return problem.evaluate(inputs, P), None


def jacobian(
    problem: Problem,
    inputs: Inputs,
    P: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    shared: Columns | None = None,
    w: np.ndarray | None = None,
) -> Columns:
    """``J``: derivatives of the model by each free parameter, (n, b) each, ties included.

    Parameters
    ----------
    problem : Problem
    inputs : sequence of ndarray, shape (n, 1) or (n, b)
    P : ndarray, shape (K, b)
    low, high : ndarray, shape (K, b)
        Bounds, which difference steps must not cross.
    shared : list of ndarray, optional
        What `values` returned with the values at these parameters; written to.
    w : ndarray, shape (n, b), optional
        Weights, by which the columns are multiplied.
    """
    if problem.sampling is not None:
        *nodes, weights = inputs
        J = jacobian(problem.at_nodes, nodes, P, low, high, shared)
        return [weighted(problem, problem.sampling.mixed(c, weights), w) for c in J]
    if problem.traits.traced is not None:
        return columns_of(problem.traits.traced, inputs, P, shared, w)
    return [weighted(problem, c, w) for c in _by_atoms(problem, inputs, P, low, high)]


def weighted(problem: Problem, values: np.ndarray, w: np.ndarray | None, out: np.ndarray | None = None) -> np.ndarray:
    """Values (n, b) times weights, if there are any; 0 where a sample is left out, even if the model is NaN there."""
    if w is None:
        return values
    product = np.multiply(values, w, out=out)
    if problem.sees_others:
        product[w == 0.0] = 0.0
    return product


def _by_atoms(problem: Problem, inputs: Inputs, P: np.ndarray, low: np.ndarray, high: np.ndarray) -> Columns:
    """`jacobian` by the methods of the atoms."""
    traits = problem.traits
    D = columns_of_part(traits, traits.atoms, problem.model, inputs, P, (low, high), ~problem.fixed)
    free = np.flatnonzero(problem.free).tolist()
    if not problem.tied.any():
        return [D[j] for j in free]
    T = tie_derivatives(problem, P)
    columns = []
    for m, j in enumerate(free):
        total = D[j]
        for t in np.flatnonzero(problem.tied).tolist():
            if np.any(T[t, m] != 0):
                total = total + D[t] * T[t, m]
        columns.append(total)
    return columns


def replace_at_cusps(
    problem: Problem, inputs: Inputs, w: np.ndarray | None, P: np.ndarray, bounds: Bounds, J: Columns, which: np.ndarray
) -> np.ndarray:
    """Put differences into the weighted columns ``J`` of those fits ``which`` (b,) that a sample on a cusp spoils.

    Returns which fits (b,) have differences now.
    """
    changed = np.zeros(P.shape[1], dtype=bool)
    if not {"analytic", "complex"} & set(problem.traits.atoms) and problem.traits.traced is None:
        return changed
    if not problem.traits.atoms:  # an expression of which no atom has derivatives of its own
        return changed
    ids = np.flatnonzero(which)
    ids = ids[np.any([_spiked(c[:, ids]) for c in J], axis=0)] if ids.size and J else ids[:0]
    if not ids.size:
        return changed
    by_differences = replace(problem.traits, traced=None, atoms=("difference",) * len(problem.traits.atoms))
    some = [x if x.shape[1] == 1 else np.take(x, ids, axis=1) for x in inputs]
    there, low, high = (np.ascontiguousarray(a[:, ids]) for a in (P, *bounds))
    for m, c in enumerate(jacobian(replace(problem, traits=by_differences), some, there, low, high)):
        ours, given = weighted(problem, c, None if w is None else w[:, ids]), J[m][:, ids]
        with np.errstate(all="ignore"):
            most = np.max(np.abs(given), axis=0)
            agrees = (np.max(np.abs(ours - given), axis=0) <= 1e-3 * most) & np.isfinite(most)
        other = ~agrees & np.all(np.isfinite(ours), axis=0)
        if other.any():
            J[m] = J[m].copy()
            J[m][:, ids[other]] = ours[:, other]
            changed[ids[other]] = True
    return changed


def _spiked(column_: np.ndarray) -> np.ndarray:
    """Which fits have a column that is not finite, or in which a few samples outweigh all others, shape (b,)."""
    n, size = column_.shape[0], np.abs(column_)
    peak = np.max(size, axis=0)
    few = np.count_nonzero(_SPIKE * size > peak, axis=0) <= min(max(4, n // 16), n // 4)
    return np.asarray(~np.isfinite(peak) | (few & (peak > 0)))


def tie_derivatives(problem: Problem, P: np.ndarray) -> np.ndarray:
    """``T``, shape (K, k, b): known where the ties are linear, otherwise by differences."""
    K, b = P.shape
    free = np.flatnonzero(problem.free)
    if problem.traits.tie_matrix is not None:
        return np.repeat(problem.traits.tie_matrix[:, :, None], b, axis=2)
    T = np.zeros((K, free.size, b))
    T[free, np.arange(free.size)] = 1.0
    infinite = np.full(b, np.inf)
    read, finite = problem.read_by_ties(P), np.isfinite(tied_or_nan(problem, P))
    for t in np.flatnonzero(problem.tied).tolist():
        T[t] = np.where(finite[t], 0.0, np.nan)
        for m, j in enumerate(free.tolist()):
            if not read[t, j]:
                continue

            def at(which: np.ndarray, value: np.ndarray, t: int = t, j: int = j) -> np.ndarray:
                Q = P[:, which].copy()
                Q[j] = value
                return tied_or_nan(problem, Q)[t][None]

            T[t, m] = np.where(finite[t], derivative(at, P[j], -infinite, infinite)[0], np.nan)
    return T


def tied_or_nan(problem: Problem, Q: np.ndarray) -> np.ndarray:
    """Parameters with ties; NaN for fits whose ties cannot be computed."""
    try:
        return problem.with_ties(Q)
    except Exception:
        out = np.full(Q.shape, np.nan)
        for i in range(Q.shape[1]):
            with suppress(Exception):
                out[:, i] = problem.with_ties(Q[:, i])
        return out
