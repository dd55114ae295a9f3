"""Which method differentiates each atom of a model's expression: the first that agrees with differences.

A method is used only on evidence: where a parameter has no effect, any derivative agrees.

Shapes as in `analysis.atoms`: inputs (n, 1), parameters to try (K, 3).
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.analysis.atoms import atoms_of, columns_of_part, values_of_part
from xr_modelfit.analysis.probing import coordinates_near
from xr_modelfit.models.problem import Inputs, Problem, Traits

__all__ = ["by_differences", "methods_of_atoms", "where_finite"]

_AGREE = 1e-4  # a wrong derivative is off by far more, a difference by far less


class _Method(NamedTuple):
    """The method of an atom."""

    name: str
    own_is_wrong: bool  # the atom's ``fit_deriv``
    proven: bool  # every parameter had an effect to compare


_DIFFERENCE = _Method("difference", False, True)


def by_differences(model: Model) -> tuple[str, ...]:
    """The method of each atom where nothing is known of them."""
    return ("difference",) * len(list(atoms_of(model, model.inputs)))


def methods_of_atoms(problem: Problem, at: Inputs, P: np.ndarray) -> tuple[tuple[str, ...], bool]:
    """The method of each atom at inputs (n, 1), and whether the ``fit_deriv`` of any is wrong.

    An atom that has no effect there is tried near its start.
    """
    found = _methods_at(problem, at, P)
    if not all(one.proven for one in found):
        grid = problem.traits.grid
        near = coordinates_near(problem.start, 200 if grid is None else at[0].shape[0], len(at))
        try:
            values = problem.evaluate([x[:, None] for x in near], P)
            there = where_finite(near, values)
            again = _methods_at(problem, there if grid is None else [x[:, None] for x in near], P)
            found = [old if old.proven else new for old, new in zip(found, again, strict=True)]
        except Exception:  # it cannot be evaluated there
            pass
    names = tuple(one.name if one.proven else "difference" for one in found)
    return names, any(one.own_is_wrong for one in found)


def where_finite(inputs: Inputs, values: np.ndarray) -> list[np.ndarray]:
    """Those of the coordinates where the model's values are finite, (n, 1) each; raises where there are none."""
    finite = np.all(np.isfinite(values), axis=1)
    if np.count_nonzero(finite) < 2:
        raise ValueError("the model is finite nowhere")
    return [x[finite][:, None] for x in inputs]


def _methods_at(problem: Problem, at: Inputs, P: np.ndarray) -> list[_Method]:
    free_or_tied = ~problem.fixed
    atoms = atoms_of(problem.model, at)
    return [_method_of(problem.traits, model, inputs, P[own], free_or_tied[own]) for model, inputs, own in atoms]


def _method_of(traits: Traits, model: Model, at: Inputs, P: np.ndarray, needed: np.ndarray) -> _Method:
    """The method of an atom, by its derivatives with respect to the parameters that are ``needed``."""
    if not needed.any():
        return _DIFFERENCE

    def columns(method: str) -> np.ndarray:
        infinite = np.full(P.shape, np.inf)
        found = columns_of_part(traits, (method,), model, at, P, (-infinite, infinite), needed)
        return np.stack([found[j] for j in np.flatnonzero(needed)])

    def agrees(D: np.ndarray) -> bool:
        """Whether columns are those of the model; differences alone may not see a badly scaled one."""
        if not np.all(np.isfinite(D)):
            return False
        scale = np.maximum(np.max(np.abs(D), axis=(1, 2)), np.max(np.abs(E), axis=(1, 2)))
        worst = np.max(np.abs(D - E), axis=(1, 2)) / np.where(scale > 0, scale, 1.0)
        own, doubtful = np.flatnonzero(needed), np.flatnonzero(worst > _AGREE).tolist()
        return all(_confirmed(lambda Q: values_of_part(traits, model, at, Q), P, D[j], own[j]) for j in doubtful)

    try:
        E = columns("difference")
    except Exception:
        return _DIFFERENCE
    smooth = np.all(np.isfinite(E), axis=(0, 1))
    if not smooth.any():
        return _DIFFERENCE
    P, E = P[:, smooth], E[:, :, smooth]  # a start may lie where the model ends
    wrong = False
    linear = not isinstance(model, CompoundModel) and bool(model.linear)
    for method in ("linear", "analytic", "complex") if linear else ("analytic", "complex"):
        try:
            D = columns(method)
        except Exception:
            continue
        if agrees(D):
            wrong = wrong or (method == "linear" and _own_is_wrong(columns, agrees))
            return _Method(method, wrong, bool(np.all(np.any(D != 0, axis=(1, 2)))))
        wrong = wrong or (method == "analytic" and bool(np.all(np.isfinite(D))))
    return _Method("difference", wrong, True)


def _confirmed(value: Callable[[np.ndarray], np.ndarray], P: np.ndarray, column: np.ndarray, j: int) -> bool:
    """Whether ``column`` ``j`` is a central difference with a step that, if the column is right, can be seen."""
    with np.errstate(all="ignore"):
        length = np.max(np.abs(column), axis=0)
        size = np.max(np.abs(value(P)), initial=0.0) or 1.0  # a start may make the model zero
        if not np.all(length > 0):
            return False
        for fraction in (1e-2, 1e-4, 1e-6, 1e-8):
            below, above = P.copy(), P.copy()
            below[j] -= fraction * size / length
            above[j] += fraction * size / length
            E = (value(above) - value(below)) / (above[j] - below[j])
            if np.all(np.abs(E - column) <= _AGREE * length):
                return True
    return False


def _own_is_wrong(columns: Callable[[str], np.ndarray], agrees: Callable[[np.ndarray], bool]) -> bool:
    """Whether a linear model's own ``fit_deriv``, which astropy's fitters use, is wrong."""
    try:
        return not agrees(columns("analytic"))
    except TypeError:
        return False
    except Exception:
        return True
