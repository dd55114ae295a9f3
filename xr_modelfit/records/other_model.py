"""Whether a model that a call gives is the one that was fitted: its expression, its classes and their code."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import warnings
from collections.abc import Mapping
from typing import Any

from astropy.modeling import CompoundModel, Model

from xr_modelfit.messages import outside_level
from xr_modelfit.models.expression import result_names
from xr_modelfit.models.function_models import ModelArg, as_model
from xr_modelfit.records.model_record import key_of_class
from xr_modelfit.records.record import FitRecord
from xr_modelfit.records.registry import is_astropy, path_of

__all__ = ["tell_other_model"]


def tell_other_model(given: ModelArg | None, record: FitRecord) -> None:
    """Warn of a model with the parameters and inputs of the fit that is another one; nothing where that cannot be told.

    What has others, or is no model, is refused where it is used.
    """
    if given is None:
        return
    try:
        model = as_model(given, dict.fromkeys(record.names, 1.0))
        alike = list(result_names(model)) == record.names and model.n_inputs == len(record.inputs)
        other = _difference(model, record.content["model"]) if alike else None
    except (TypeError, ValueError, KeyError, AttributeError):
        return
    if other is not None:
        warnings.warn(
            f"model is not what was fitted: {other}. Its values with the parameters of the fit may be wrong. Pass the "
            "model of the fit, or fit again with this one.",
            UserWarning,
            stacklevel=outside_level(),
        )


def _difference(model: Model, tree: Mapping[str, Any]) -> str | None:
    """In what a model differs from that of a record, in words; None where it is the same, or may be."""
    if not isinstance(model, CompoundModel):
        return _other_class(model, tree) if "op" not in tree else "the fit had an expression of several models"
    if "op" not in tree:
        return f"the fit had {_last(tree)} alone"
    op = model.op if isinstance(model.op, str) else model.op[0]
    if op != tree["op"]:
        return f"it has the operator {op!r} where the fit had {tree['op']!r}"
    left = _difference(model.left, tree["left"])
    if left is not None or not (isinstance(model.right, Model) and isinstance(tree["right"], Mapping)):
        return left
    return _difference(model.right, tree["right"])


def _other_class(model: Model, tree: Mapping[str, Any]) -> str | None:
    """Other code of a custom class or function, or another class."""
    cls = type(model)
    known = tree.get("custom")
    if known is None or is_astropy(cls):
        same = path_of(cls).replace(":", ".") == tree["class"]
        return None if same else f"the fit had {_last(tree)}, and this is {cls.__name__}"
    if tree.get("kind", "").startswith("an object"):  # its pickle may differ from process to process
        return None
    (python, digest), (own_python, own_digest) = _parts(known), _parts(key_of_class(cls))
    if not digest or not own_digest or python != own_python or digest == own_digest:
        return None
    return f"the code of {cls.__name__!r}, or a constant that it reads, is not that of {_last(tree)!r} in the fit"


def _parts(key: str | None) -> tuple[str, str]:
    """The Python of a key and the digest of the code; both empty where it has none."""
    parts = str(key).split(":")
    return (parts[2], parts[3]) if len(parts) == 4 else ("", "")


def _last(tree: Mapping[str, Any]) -> str:
    return str(tree["class"]).rpartition(".")[2]
