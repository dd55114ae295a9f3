"""The record of a fit: what made a result, as JSON in the attrs of its ``fit_status``.

It holds no pickle and no code. Reading one imports nothing but classes of `astropy.modeling`;
custom classes are found only if they were fitted in this process, otherwise they are asked for.
"""

import importlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import astropy
import numpy as np
import xarray as xr
from astropy.modeling import CompoundModel, Model
from astropy.units import Quantity

from xr_modelfit.expression import with_values
from xr_modelfit.messages import listed
from xr_modelfit.metadata import RECORD
from xr_modelfit.remembered import key_of, path_of, recall

__all__ = ["FitRecord", "RecordError", "build_model", "describe_model", "read_records", "write_record"]

FORMAT = 1
_OPERATORS = ("+", "-", "*", "/", "**", "&", "|")
_KEYS = ("model", "names", "inputs", "data", "fitted_dims")
_ASTROPY = "astropy.modeling."
_NOT_ARGUMENTS = {"self", "name", "meta", "n_models", "model_set_axis", "fixed", "tied", "bounds", "eqcons", "ineqcons"}


class RecordError(ValueError):
    """A result does not say enough about its fit for what was asked of it."""


@dataclass(frozen=True)
class FitRecord:
    """One fit of a result, as its record tells.

    ``prefix`` is that of the variables as they are called now.
    """

    prefix: str
    content: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of the parameters, without prefix."""
        return list(self.content["names"])

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """For each model input its ``name``, its ``coordinate``, the coordinate's ``dims``, its unit or time axis."""
        return list(self.content["inputs"])

    @property
    def units(self) -> dict[str, Any] | None:
        """Units of data and parameters; None in records that have none."""
        return self.content.get("units")

    def variable(self, name: str) -> str:
        """Name of a variable of this fit in the result."""
        return self.prefix + name


def write_record(
    *,
    model: Model,
    names: Sequence[str],
    fitted: Sequence[Any],
    inputs: Sequence[Mapping[str, Any]],
    units: Mapping[str, Any],
    prefix: str,
    data: Any,
    fitter: Any,
    keywords: Mapping[str, Any],
    engine: str,
    options: Mapping[str, Any],
) -> str:
    """The record as JSON text."""
    content = {
        "format": FORMAT,
        "model": describe_model(model),
        "names": list(names),
        "fitted_dims": [str(d) for d in fitted],
        "inputs": [dict(one) for one in inputs],
        "units": dict(units),
        "prefix": prefix,
        "data": None if data is None else str(data),
        "fitter": {"class": path_of(type(fitter)), "keywords": _plain(keywords)},
        "engine": engine,
        "options": _plain(options),
        "versions": {"xr_modelfit": version("xr_modelfit"), "astropy": astropy.__version__, "numpy": np.__version__},
    }
    return json.dumps(content, allow_nan=False)


def read_records(result: xr.Dataset) -> list[FitRecord]:
    """The records in a result, one for each fit in it.

    Raises
    ------
    RecordError
        There is none, or one cannot be read.
    """
    found = []
    for name, variable in result.data_vars.items():
        text = variable.attrs.get(RECORD)
        if text is None or not str(name).endswith("fit_status"):
            continue
        try:
            content = json.loads(text)
            known = content["format"] == FORMAT and all(key in content for key in _KEYS)
        except (TypeError, ValueError, KeyError):
            known = False
        if not known:
            raise RecordError(
                f"The record of the fit in the attrs of {name!r} cannot be read: it is damaged, or was written by a "
                "newer version of xr_modelfit."
            )
        found.append(FitRecord(str(name).removesuffix("fit_status"), content))
    if not found:
        raise RecordError(
            "This Dataset is no result of a fit: no variable ...fit_status has a record of the fit in its attrs. Its "
            f"variables are {listed(result.data_vars)}. Attrs may have been lost in "
            "arithmetic: xarray.set_options(keep_attrs=True) keeps them."
        )
    return found


def describe_model(model: Model) -> dict[str, Any]:
    """The model as plain data: expression, classes, values, constraints, domain and window."""
    if isinstance(model, CompoundModel):
        tree: dict[str, Any] = {"op": str(model.op), "name": model.name, "left": describe_model(model.left)}
        if isinstance(model.right, Model):
            tree["right"] = describe_model(model.right)
        else:
            tree["right"] = [[key, _plain(value)] for key, value in model.right.items()]
        if tuple(model.inputs) != tuple(_default_inputs(model)):
            tree["inputs"] = list(model.inputs)
        return tree | _meta(model)
    cls = type(model)
    tree = {"class": f"{cls.__module__}.{cls.__qualname__}", "name": model.name}
    if not _is_astropy(cls):
        tree["custom"] = key_of(cls) or path_of(cls)
    tree["arguments"] = _constructor_arguments(model)
    tree["values"] = {name: _plain(_scalar(getattr(model, name).value)) for name in model.param_names}
    if getattr(model, "_output_units", None) is not None:  # a black body whose scale was given with a unit
        tree["scale_unit"] = model._output_units.to_string()
    tree["fixed"] = [name for name in model.param_names if model.fixed[name]]
    tree["bounds"] = {n: _plain(model.bounds[n]) for n in model.param_names if tuple(model.bounds[n]) != (None, None)}
    tree["tied"] = {n: _describe_tie(model.tied[n]) for n in model.param_names if model.tied[n]}
    return tree | _meta(model)


def _meta(model: Model) -> dict[str, Any]:
    """What the user noted on the model, as far as JSON has it."""
    noted = {str(k): v for k, v in dict(model.meta).items() if isinstance(v, str | bool | int | float | list | None)}
    return {"meta": _plain(noted)} if noted else {}


def build_model(tree: Mapping[str, Any], values: Sequence[Any] | None = None) -> Model:
    """The model that `describe_model` described.

    Parameters
    ----------
    tree : mapping
    values : sequence, optional
        Parameter values, numbers or arrays, in astropy's order; default: those of the record.

    Raises
    ------
    RecordError
        A class is not one of `astropy.modeling` and was not fitted in this process.
    """
    try:
        return _build(tree, iter(values) if values is not None else None)
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(
            f"The model cannot be built from the record of the fit ({type(error).__name__}: {error}). "
            "Pass it: model=..., an instance of the model that was fitted."
        ) from error


def _build(tree: Mapping[str, Any], values: Any) -> Model:
    if "op" in tree:
        left = _build(tree["left"], values)
        right = tree["right"]
        if tree["op"] == "fix_inputs":
            built = CompoundModel("fix_inputs", left, {k: _value(v) for k, v in right}, name=tree["name"])
        elif tree["op"] in _OPERATORS:
            built = CompoundModel(tree["op"], left, _build(right, values), name=tree["name"])
        else:
            raise RecordError(f"The record names the operator {tree['op']!r}, which is not known. Pass model=....")
        if "inputs" in tree:
            built.inputs = tuple(tree["inputs"])
        built.meta.update(tree.get("meta", {}))
        return built
    cls = _find_class(tree)
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
    model.meta.update(tree.get("meta", {}))
    for name in own:
        parameter = getattr(model, name)
        parameter.fixed = name in tree["fixed"]
        parameter.bounds = tuple(_value(tree["bounds"].get(name, (None, None))))
        tie = recall(tree["tied"].get(name, {}).get("key"))
        if tie is not None:
            parameter.tied = tie
    return model


def _find_class(tree: Mapping[str, Any]) -> type[Model]:
    path = str(tree["class"])
    if "custom" in tree:
        found = recall(tree["custom"])
        if isinstance(found, type) and issubclass(found, Model):
            return found
        raise RecordError(
            f"The model {path!r} is not one of astropy's, and no code is run from a record. "
            "Pass it: model=..., an instance of the model that was fitted."
        )
    module, _, name = path.rpartition(".")
    found = None
    if module.startswith(_ASTROPY) and all(part.isidentifier() for part in path.split(".")):
        found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Model) and found.__module__.startswith(_ASTROPY)):
        raise RecordError(
            f"The record names the class {path!r}, which is no model of astropy.modeling. Pass model=...."
        )
    return found


def _is_astropy(cls: type) -> bool:
    if not cls.__module__.startswith(_ASTROPY):
        return False
    return getattr(importlib.import_module(cls.__module__), cls.__qualname__, None) is cls


def _constructor_arguments(model: Model) -> dict[str, Any]:
    """Constructor arguments that are no parameters: degree, domain, window, mapping, ..."""
    found = {}
    for name, parameter in inspect.signature(type(model).__init__).parameters.items():
        plain = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if plain and name not in _NOT_ARGUMENTS and name not in model.param_names and hasattr(model, name):
            found[name] = _plain(getattr(model, name))
    return found


def _default_inputs(model: CompoundModel) -> Sequence[str]:
    rebuilt = CompoundModel(model.op, model.left, model.right)
    return tuple(rebuilt.inputs)


def _describe_tie(tie: Any) -> dict[str, Any]:
    tie = inspect.unwrap(tie)
    return {"path": path_of(tie), "key": key_of(tie)}


def _scalar(value: Any) -> Any:
    return float(np.ravel(value)[0]) if np.size(value) else math.nan


def _plain(value: Any) -> Any:
    """A value as JSON has it: infinite and NaN numbers as text, arrays as lists, the rest as repr."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(v) for v in value]
    return repr(value)


def _value(plain: Any) -> Any:
    """The reverse of `_plain` for numbers and sequences of them."""
    if isinstance(plain, list):
        return tuple(_value(v) for v in plain)
    return float(plain) if plain in ("nan", "inf", "-inf") else plain
