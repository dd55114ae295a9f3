"""By what dask tells functions of a model apart: the content of the model, its code included.

By itself dask would pickle the model, and a class of the user's by value, at each evaluation.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import uuid
from typing import Any

from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.convolution import operator_of
from xr_modelfit.models.function_models import function_of
from xr_modelfit.models.problem import Problem
from xr_modelfit.records.model_record import own_state
from xr_modelfit.records.registry import digest_by_value, path_of

__all__ = ["token_of"]


def token_of(function: Any, problem: Problem, *others: Any) -> str:
    """A token for ``function``, which evaluates a model with ``others``: plain values and arrays.

    The same for the same content, in any process; unlike any other where the content cannot be told.
    """
    traits = problem.traits
    how = (
        traits.broadcasts,
        traits.writes_inputs,
        traits.atoms,
        traits.traced,
        repr(traits.grid),
        repr(problem.sampling),
    )
    try:
        return digest_by_value(type(function), (_content(problem.model), how, others))
    except Exception:  # it holds something that cannot be compared, such as an open file
        return uuid.uuid4().hex


def _content(model: Model) -> Any:
    if isinstance(model, CompoundModel):
        if operator_of(model) is not None:
            raise LookupError("an operator that is known to one process")
        right = _content(model.right) if isinstance(model.right, Model) else dict(model.right)
        return model.op, _content(model.left), right
    cls = type(model)
    made_of = function_of(cls)
    units = [str(getattr(model, name).unit) for name in model.param_names]
    return path_of(cls), digest_by_value(cls if made_of is None else made_of, own_state(model)), model.parameters, units
