"""Models as the numeric side sees them, and their derivatives: no call and no labels are needed."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.analysis.derivatives import jacobian, tie_derivatives
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.models.expression import result_names
from xr_modelfit.models.problem import Problem, Traits


def problem_of(model: Model, derivative: str | None = None) -> Problem:
    """The numeric view of a model with the constraints that it carries."""
    names = model.param_names
    low = [-np.inf if model.bounds[n][0] is None else model.bounds[n][0] for n in names]
    high = [np.inf if model.bounds[n][1] is None else model.bounds[n][1] for n in names]
    problem = Problem(
        model=model,
        names=result_names(model),
        start=np.array(model.parameters, dtype=float),
        lower=np.array(low, dtype=float),
        upper=np.array(high, dtype=float),
        fixed=np.array([bool(model.fixed[n]) for n in names]),
        ties=tuple(model.tied[n] or None for n in names),
    )
    return problem if derivative is None else replace(problem, traits=Traits(atoms=(derivative,) * atoms_of(model)))


def atoms_of(model: Model) -> int:
    """Parts of an expression that are differentiated as they are."""
    if isinstance(model, CompoundModel) and model.op in ("+", "-", "*", "/"):
        return atoms_of(model.left) + atoms_of(model.right)
    return atoms_of(model.left) if isinstance(model, CompoundModel) and model.op == "fix_inputs" else 1


def choose(problem: Problem, inputs: Any) -> Problem:
    """The problem with its ways, found quietly as a call finds them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return find_traits(problem, inputs)


def jacobian_of_one(problem: Problem, inputs: Any, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``J`` (n, k) and ``T`` (K, k) of one fit."""
    P = np.asarray(point, dtype=float)[:, None]
    bounds = (problem.lower[:, None], problem.upper[:, None])
    with np.errstate(all="ignore"):
        columns = jacobian(problem, [np.asarray(x, dtype=float)[:, None] for x in inputs], P, *bounds)
        return np.stack([c[:, 0] for c in columns], axis=1), tie_derivatives(problem, P)[:, :, 0]


def derivatives(problem: Problem, *inputs: np.ndarray, at: Any = None) -> np.ndarray:
    """The Jacobian of the free parameters at ``at``, or at the start."""
    point = problem.start if at is None else np.asarray(at, dtype=float)
    return jacobian_of_one(problem, inputs, problem.with_ties(point))[0]
