"""Digests of models: their content, and the code of custom classes, functions and ties."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import functools
import inspect
import uuid
from typing import Any

from astropy.modeling import CompoundModel, Model

from xr_modelfit.messages import sentence
from xr_modelfit.models.convolution import operator_of
from xr_modelfit.models.function_models import function_of
from xr_modelfit.models.problem import Problem
from xr_modelfit.records.registry import digest_by_value, is_astropy, path_of

__all__ = ["own_state", "state_by_value", "token_of"]

_SCRATCH = {"density_s", "radius_s"}  # of NFW, computed again at every evaluation


def token_of(function: Any, problem: Problem, *others: Any) -> str:
    """A dask token of a function that evaluates a model with ``others``, which are plain values and arrays.

    Equal content has equal tokens, in any process; content that cannot be digested has a token of its own. Without
    this, dask would pickle the model at each evaluation, and custom classes by value.
    """
    how = problem.traits
    traits = how.broadcasts, how.writes_inputs, how.atoms, how.traced, repr(how.grid), repr(problem.sampling)
    try:
        return digest_by_value(type(function), (_content(problem.model), traits, others))
    except Exception:  # it holds something that has no digest, such as an open file
        return uuid.uuid4().hex


def _content(model: Model) -> Any:
    if isinstance(model, CompoundModel):
        if operator_of(model) is not None:
            raise LookupError("an operator that is known to one process")
        right = _content(model.right) if isinstance(model.right, Model) else dict(model.right)
        return model.op, _content(model.left), right
    units = [str(getattr(model, name).unit) for name in model.param_names]
    return path_of(type(model)), digest_by_value(_made_of(model), own_state(model)), model.parameters, units


def state_by_value(model: Model) -> list[str]:
    """Digests of what a record cannot hold: the code and the state of custom classes and ties.

    A LookupError names what has no digest.
    """
    if isinstance(model, CompoundModel):
        parts = [model.left, model.right] if isinstance(model.right, Model) else [model.left]
        return [digest for part in parts for digest in state_by_value(part)]
    things: list[tuple[str, Any, Any]] = []
    if not is_astropy(type(model)):
        things.append((f"the model {type(model).__name__!r}", _made_of(model), own_state(model)))
    for name in model.param_names:
        if tie := getattr(model, name).tied:
            things.append((f"the tie of {name!r}", inspect.unwrap(tie), None))
    found = []
    for what, thing, state in things:
        try:
            found.append(digest_by_value(thing, state))
        except Exception as error:
            raise LookupError(f"{what} holds or reads something that cannot be compared: {sentence(error)}") from error
    return found


def _made_of(model: Model) -> Any:
    """The function that the class of a model was made of, or the class."""
    function = function_of(type(model))
    return type(model) if function is None else function


def own_state(model: Model) -> dict[str, Any]:
    """The attributes of a simple model that other models do not have."""
    own = vars(model).keys() - _held_by_all() - _SCRATCH - set(model.param_names)
    return {name: vars(model)[name] for name in own}


@functools.cache
def _held_by_all() -> set[str]:
    from astropy.modeling.functional_models import Const1D  # here, since importing it takes time

    model = Const1D()
    for name in ("meta", "fixed", "tied", "bounds", "sync_constraints"):  # made at their first use
        getattr(model, name)
    model(1.0)
    return {*vars(model), "_output_units", "_user_inverse", "_bounding_box", "_user_bounding_box"}
