"""Names of a model's inputs: the arguments of its function, if it was made from one, else astropy's names.

astropy calls the inputs of a model made from a function x, y or x0, x1, x2: of ``f(y, x)``, "x" is the argument y.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.function_models import inputs_of_function

__all__ = ["default_inputs", "input_names", "is_custom", "keyed_by_input"]


def input_names(model: Model) -> tuple[str, ...]:
    """Names of the inputs: arguments of functions, otherwise astropy's names.

    Those of a compound are the names of its parts, combined as astropy combines its own. Names that the user gave to
    a model, ``model.inputs = ...``, stay.
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
    """Whether `astropy.modeling.custom_model` made a class of models from a function."""
    home = next((c for c in cls.__mro__ if "evaluate" in vars(c)), cls)
    return "_settable_properties" in vars(home)


def default_inputs(model: Model) -> tuple[str, ...]:
    """The names that astropy gives to the inputs of a model by itself."""
    if not isinstance(model, CompoundModel):
        n = model.n_inputs
        return ("x", "y")[:n] if n in (1, 2) else tuple(f"x{i}" for i in range(n))
    if model.op in ("&", "fix_inputs"):
        return tuple(CompoundModel(model.op, model.left, model.right).inputs)
    return tuple(model.left.inputs)


def keyed_by_input(given: Any, model: Model, others: Iterable[Any] = ()) -> Any:
    """A mapping ``{input: ...}`` with the names of `input_names` in place of astropy's.

    Nothing is renamed where one of astropy's names belongs to another input here, and names in ``others`` stay.
    """
    names, old = input_names(model), tuple(model.inputs)
    if not isinstance(given, Mapping) or any(n in names and names.index(n) != i for i, n in enumerate(old)):
        return given
    own = {key: name for key, name in zip(old, names, strict=True) if key not in others}
    found = {own.get(key, key): value for key, value in given.items()}
    return found if len(found) == len(given) else given  # the caller refuses an input that is named twice


def _arguments(cls: Any) -> tuple[str, ...] | None:
    """Arguments of the function that a class was made from; None for other classes."""
    made = inputs_of_function(cls)
    if made is not None or not is_custom(cls):
        return made
    arguments = inspect.signature(cls.evaluate).parameters.values()
    names = tuple(one.name for one in arguments if one.default is one.empty)
    return names if len(names) == cls.n_inputs else None
