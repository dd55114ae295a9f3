"""What the inputs of a model are called: by the arguments of a function that was made a model, else as astropy does.

astropy calls the inputs of such a model x, y or x0, x1, x2, whatever its function calls them: with ``f(y, x)``, the
input "x" would be the argument y.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.function_models import inputs_of_function

__all__ = ["default_inputs", "input_names", "is_custom", "keyed_by_input"]


def input_names(model: Model) -> tuple[str, ...]:
    """Names of the inputs: arguments of functions, and for all else what astropy calls them.

    Of a compound they are those of its parts, combined as astropy combines its own. Names that the user gave to a
    model, ``model.inputs = ...``, stay.
    """
    own = tuple(model.inputs)
    if own != default_inputs(model):
        return own
    if not isinstance(model, CompoundModel):
        return _arguments(type(model)) or own
    left = input_names(model.left)
    if model.op == "fix_inputs":
        held = {model.left.inputs.index(key) if isinstance(key, str) else int(key) for key in model.right}
        return tuple(name for i, name in enumerate(left) if i not in held)
    names = left + input_names(model.right) if model.op == "&" else left
    return names if len(names) == len(set(names)) == len(own) else own


def is_custom(cls: type) -> bool:
    """Whether the code of a class of models is a function that `astropy.modeling.custom_model` was given."""
    home = next((c for c in cls.__mro__ if "evaluate" in vars(c)), cls)
    return "_settable_properties" in vars(home)


def default_inputs(model: Model) -> tuple[str, ...]:
    """What astropy calls the inputs of a model, unless it is told otherwise."""
    if not isinstance(model, CompoundModel):
        n = model.n_inputs
        return ("x", "y")[:n] if n in (1, 2) else tuple(f"x{i}" for i in range(n))
    if model.op in ("&", "fix_inputs"):
        return tuple(CompoundModel(model.op, model.left, model.right).inputs)
    return tuple(model.left.inputs)


def keyed_by_input(given: Any, model: Model, others: Iterable[Any] = ()) -> Any:
    """An argument of a call by input, ``{input: ...}``, where astropy's names of inputs may stand for the arguments'.

    They do not where one of them is also the name of another argument, or one of ``others``: that is then meant.
    """
    names, old = input_names(model), tuple(model.inputs)
    if not isinstance(given, Mapping) or any(n in names and names.index(n) != i for i, n in enumerate(old)):
        return given
    own = {key: name for key, name in zip(old, names, strict=True) if key not in others}
    found = {own.get(key, key): value for key, value in given.items()}
    return found if len(found) == len(given) else given  # an input that is named twice is told of


def _arguments(cls: Any) -> tuple[str, ...] | None:
    """Arguments of the function that a class was made of; None where it was not."""
    made = inputs_of_function(cls)
    if made is not None or not is_custom(cls):
        return made
    arguments = inspect.signature(cls.evaluate).parameters.values()
    names = tuple(one.name for one in arguments if one.default is one.empty)
    return names if len(names) == cls.n_inputs else None
