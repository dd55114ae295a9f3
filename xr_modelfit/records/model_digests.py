"""By what models are told apart: their content, the code of custom classes, functions and ties included."""

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

_SCRATCH = {"density_s", "radius_s"}  # NFW computes them anew at every evaluation


def token_of(function: Any, problem: Problem, *others: Any) -> str:
    """A token by which dask tells ``function`` apart, which evaluates a model with ``others``, plain values and arrays.

    It is the same for the same content, in any process, and unlike any other where the content cannot be told. By
    itself dask would pickle the model, and a class of the user's by value, at each evaluation.
    """
    how = problem.traits
    told = how.broadcasts, how.writes_inputs, how.atoms, how.traced, repr(how.grid), repr(problem.sampling)
    try:
        return digest_by_value(type(function), (_content(problem.model), told, others))
    except Exception:  # it holds something that cannot be compared, such as an open file
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
    """Digests of what the record cannot hold of a model: code of custom classes and ties, and what they hold and read.

    A LookupError names what cannot be told by value.
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
    """What a model that is no compound holds beside what all models do."""
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
