"""An astropy model as plain data for the record of a fit, and the model built from that data.

Reading a record imports modules of `astropy.modeling` only. Custom classes and ties are found if they were fitted in
this process, or if the user has imported them and their code is unchanged; see `records.registry`. Otherwise an error
asks for the class, and ties are left out.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import importlib
import inspect
import math
import pickle
import types
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from astropy.modeling import CompoundModel, Model
from astropy.units import Quantity

from xr_modelfit.models.convolution import convolution_like, describe_convolution
from xr_modelfit.models.expression import with_values
from xr_modelfit.models.function_models import as_model, function_of, kind_of
from xr_modelfit.models.input_names import default_inputs
from xr_modelfit.parameter_units.tables import inner_of, own_tables
from xr_modelfit.records.model_digests import own_state
from xr_modelfit.records.registry import ASTROPY, find, is_astropy, key_of, path_of
from xr_modelfit.records.validation import are_sizes_right

__all__ = ["RecordError", "build_model", "describe_model", "key_of_class", "plain_value", "recorded_values"]

_OPERATORS = ("+", "-", "*", "/", "**", "&", "|")
_NOT_ARGUMENTS = {"self", "name", "meta", "n_models", "model_set_axis", "fixed", "tied", "bounds", "eqcons", "ineqcons"}
_ARGUMENTS: WeakKeyDictionary[type, list[str]] = WeakKeyDictionary()  # inspecting a signature takes time
_PASS = "Pass it: model=..., the model or the function that was fitted."


class RecordError(ValueError):
    """A result does not say enough about its fit for what was asked of it."""


def describe_model(model: Model) -> dict[str, Any]:
    """The model as plain data: expression, classes, values, constraints, domain and window."""
    if isinstance(model, CompoundModel):
        op = model.op if isinstance(model.op, str) else model.op[0]  # a convolution has a number as well
        tree: dict[str, Any] = {"op": op, "name": model.name, "left": describe_model(model.left)}
        if isinstance(model.right, Model):
            tree["right"] = describe_model(model.right)
        else:
            tree["right"] = [[key, plain_value(value)] for key, value in model.right.items()]
        if op not in (*_OPERATORS, "fix_inputs") and (described := describe_convolution(model)) is not None:
            tree["convolution"] = described
        if tuple(model.inputs) != default_inputs(model):
            tree["inputs"] = list(model.inputs)
        return tree | _meta(model)
    cls = type(model)
    tree = {"class": path_of(cls).replace(":", "."), "name": model.name}
    custom = not is_astropy(cls)
    if custom:
        tree["custom"] = key_of_class(cls) or path_of(cls)
        if (kind := kind_of(cls)) is not None:
            tree["kind"] = kind
    if (inner := inner_of(model)) is not None:
        model, tree["inner"] = own_tables(model), inner.described()
    tree["arguments"], unread = _constructor_arguments(model)
    parameters = {name: getattr(model, name) for name in model.param_names}
    tree["values"] = {name: plain_value(_scalar(one.value)) for name, one in parameters.items()}
    if getattr(model, "_output_units", None) is not None:  # a black body whose scale was given with a unit
        tree["scale_unit"] = model._output_units.to_string()
    tree["fixed"] = [name for name, one in parameters.items() if one.fixed]
    tree["bounds"] = {n: plain_value(one.bounds) for n, one in parameters.items() if tuple(one.bounds) != (None, None)}
    tree["tied"] = {name: _describe_tie(one.tied) for name, one in parameters.items() if one.tied}
    if custom or unread:
        tree |= _beyond_parameters(model, tree)
    return tree | _meta(model)


def build_model(tree: Mapping[str, Any], values: Sequence[Any] | None = None) -> Model:
    """The model that `describe_model` described, with other parameter values, numbers or arrays, if they are given."""
    try:
        return _build(tree, iter(values) if values is not None else None)
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(
            f"The model cannot be built from the record of the fit ({type(error).__name__}: {error}). {_PASS}"
        ) from error


def recorded_values(tree: Mapping[str, Any]) -> list[float]:
    """The parameter values that `describe_model` noted, in astropy's order; of maps the first number."""
    if "op" not in tree:
        return [float(_value(v)) for v in tree["values"].values()]
    right = tree["right"]
    return recorded_values(tree["left"]) + (recorded_values(right) if isinstance(right, Mapping) else [])


def _build(tree: Mapping[str, Any], values: Any) -> Model:
    if "op" not in tree:
        model = _build_simple(tree, _find_class(tree), values)
        model.meta.update(tree.get("meta", {}))
        return model
    left = _build(tree["left"], values)
    right = tree["right"]
    if tree["op"] == "fix_inputs":
        held = {key: float(_value(value)) for key, value in right}
        built = CompoundModel("fix_inputs", left, held, name=tree["name"])
    elif tree["op"] in _OPERATORS:
        built = CompoundModel(tree["op"], left, _build(right, values), name=tree["name"])
    elif "convolution" in tree:
        built = convolution_like(tree["convolution"], left, _build(right, values))
        built.name = tree["name"]
    else:
        raise RecordError(f"The model has the operator {tree['op']!r}, which no record can hold. {_PASS}")
    if "inputs" in tree:
        built.inputs = tuple(tree["inputs"])
    built.meta.update(tree.get("meta", {}))
    return built


def _build_simple(tree: Mapping[str, Any], cls: type[Model], values: Any) -> Model:
    if tree.get("lost"):
        raise RecordError(
            f"The model {tree['class']!r} holds more than its parameters ({tree['lost']}), which the record could not "
            f"keep. {_PASS}"
        )
    if is_astropy(cls) and not are_sizes_right(tree):
        raise RecordError(
            f"The record of the fit is damaged: {tree['class']!r} has {len(tree['values'])} parameter values, and its "
            f"arguments ask for more. {_PASS}"
        )
    own = {name: _value(v) for name, v in tree["values"].items()}
    if values is not None:
        own = {name: next(values) for name in own}
    classes = {n: getattr(getattr(cls, n, None), "unit", None) for n in own}  # a polynomial makes its parameters itself
    units = {n: u for n, u in classes.items() if u is not None and not isinstance(own[n], Quantity)}
    given = {n: Quantity(v, units[n]) if n in units else v for n, v in own.items()}
    if "scale_unit" in tree:
        given["scale"] = Quantity(getattr(given["scale"], "value", given["scale"]), tree["scale_unit"])
    model = cls(**{k: _value(v) for k, v in tree["arguments"].items()}, **given, name=tree["name"])
    if units or "scale_unit" in tree:  # such a class is made with units only
        model = with_values(model, list(own.values()))
    for name, value in tree.get("state", {}).items():
        if not _may_hold(cls, name):
            raise RecordError(f"The record of the fit is damaged: {name!r} is no state of {tree['class']!r}. {_PASS}")
        vars(model)[name] = _value(value)
    for name in own:
        parameter = getattr(model, name)
        parameter.fixed = name in tree["fixed"]
        parameter.bounds = tuple(_value(tree["bounds"].get(name, (None, None))))
        tie = _find_tie(tree["tied"].get(name, {}))
        if tie is not None:
            parameter.tied = tie
    return model


def _find_class(tree: Mapping[str, Any]) -> type[Model]:
    path = str(tree["class"])
    if "custom" in tree:
        try:
            found = find(tree["custom"])
        except LookupError as error:
            why = f"It is {tree['kind']}, which is known in its own process alone." if "kind" in tree else error
            raise RecordError(
                f"The model {path!r} is not one of astropy's, and no code is run from a record. {why} {_PASS}"
            ) from None
        function = function_of(found) or found
        if not isinstance(function, type) and callable(function):
            return type(as_model(function, dict.fromkeys(tree["values"], 1.0)))
        if isinstance(found, type) and Model in found.__mro__:
            return found
        raise RecordError(f"The record names {path!r} as a model, but it is not one. {_PASS}")
    module, _, name = path.rpartition(".")
    found = None
    if module.startswith(ASTROPY) and all(p.isidentifier() and p != "tests" for p in path.split(".")):
        found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Model) and found.__module__.startswith(ASTROPY)):
        raise RecordError(f"The record names the class {path!r}, which is no model of astropy.modeling. {_PASS}")
    return found


def key_of_class(cls: type[Model]) -> str | None:
    """The key of a custom class, or of the function that it was made of."""
    function = function_of(cls)
    if function is None:
        return key_of(cls)
    return key_of(function, holder=None if isinstance(function, types.FunctionType) else cls)


def _find_tie(described: Mapping[str, Any]) -> Any:
    try:
        tie = find(described.get("key"))
    except LookupError:
        return None
    return tie if callable(tie) else None


def _constructor_arguments(model: Model) -> tuple[dict[str, Any], list[str]]:
    """Constructor arguments besides parameters (degree, domain, window, ...), and the names of those not kept."""
    cls: Any = type(model)
    if cls not in _ARGUMENTS:
        named = inspect.signature(cls.__init__).parameters.values()
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        _ARGUMENTS[cls] = [p.name for p in named if p.kind not in variadic and p.name not in _NOT_ARGUMENTS]
    names = [name for name in _ARGUMENTS[cls] if name not in model.param_names]
    found = {name: plain_value(getattr(model, name)) for name in names if hasattr(model, name)}
    return found, [name for name in names if name not in found]


def _beyond_parameters(model: Model, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What the model holds besides parameters and arguments: plain values, and the names of what is lost."""
    mine, state, lost = own_state(model), {}, []
    try:
        made = _build_simple(dict(tree, tied={}), type(model), None)
    except Exception:
        return {"lost": "arguments of its constructor"}
    theirs = own_state(made)
    for name, value in mine.items():
        if name in theirs and _same(value, theirs[name]):
            continue
        plain = value.isscalar if isinstance(value, Quantity) else isinstance(value, bool | int | float | str | None)
        if plain and _may_hold(type(model), name):
            state[name] = plain_value(value)
        else:
            lost.append(name)
    lost += [name for name in theirs if name not in mine]
    return ({"state": state} if state else {}) | ({"lost": ", ".join(sorted(lost))} if lost else {})


def _may_hold(cls: type, name: str) -> bool:
    """Whether a plain value may be set under this name, which must not replace a method."""
    of_class = getattr(cls, name, None)
    return not name.startswith("__") and not callable(of_class) and not isinstance(of_class, property)


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    try:
        if type(a) is type(b) and bool(np.all(a == b)) and np.shape(a) == np.shape(b):
            return True
        return pickle.dumps(a) == pickle.dumps(b)
    except Exception:  # neither can be compared
        return False


def _meta(model: Model) -> dict[str, Any]:
    """The user's notes on the model that JSON can hold."""
    noted = {str(k): v for k, v in dict(model.meta).items() if isinstance(v, str | bool | int | float | list | None)}
    return {"meta": plain_value(noted)} if noted else {}


def _describe_tie(tie: Any) -> dict[str, Any]:
    tie = inspect.unwrap(tie)
    return {"path": path_of(tie), "key": key_of(tie)}


def _scalar(value: Any) -> Any:
    return float(np.ravel(value)[0]) if np.size(value) else math.nan


def plain_value(value: Any) -> Any:
    """A value as JSON has it: infinite and NaN numbers as text, arrays as lists, the rest as repr."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Quantity):
        return {"quantity": [plain_value(value.value), value.unit.to_string()]}
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [plain_value(v) for v in value]
    return repr(value)


def _value(plain: Any) -> Any:
    """The reverse of `plain_value` for numbers, text, Quantities, and sequences of them."""
    if isinstance(plain, Mapping) and plain.keys() == {"quantity"}:
        return Quantity(_value(plain["quantity"][0]), plain["quantity"][1])
    if isinstance(plain, Mapping):
        raise RecordError(f"The record of the fit is damaged: {plain} stands where a number should. {_PASS}")
    if isinstance(plain, list):
        return tuple(_value(v) for v in plain)
    return float(plain) if plain in ("nan", "inf", "-inf") else plain
