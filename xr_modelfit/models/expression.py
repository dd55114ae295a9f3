"""Expressions of astropy models: their parts, names, values and evaluation on plain arrays.

Expression trees are evaluated here rather than by `astropy.modeling.CompoundModel.evaluate`,
which counts the inputs of ``fix_inputs`` wrongly.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import getattr_static
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from astropy.modeling import CompoundModel, Model
from astropy.modeling.convolution import Convolution
from astropy.modeling.models import Voigt1D

from xr_modelfit.models.convolution import compound_like, on_own_grid, operator_of

__all__ = [
    "Part",
    "evaluate_tree",
    "expression_text",
    "forgetful",
    "has_fixed_inputs",
    "held_inputs",
    "inner_inputs",
    "keeps_nothing",
    "leaves",
    "locked",
    "parameter_titles",
    "parts_of",
    "representatives",
    "result_names",
    "scalar_model",
    "with_values",
]

_ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}
_KNOWN = {*_ARITHMETIC, "&", "|", "fix_inputs"}
_SETTERS: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def leaves(model: Model) -> Iterator[Model]:
    """The simple models of an expression, in the order of their parameters."""
    if isinstance(model, CompoundModel):
        yield from leaves(model.left)
        if isinstance(model.right, Model):
            yield from leaves(model.right)
    else:
        yield model


def has_fixed_inputs(model: Model) -> bool:
    """Whether ``fix_inputs`` occurs anywhere in the expression."""
    compound = isinstance(model, CompoundModel)
    return compound and (model.op == "fix_inputs" or has_fixed_inputs(model.left) or has_fixed_inputs(model.right))


def held_inputs(model: Model) -> dict[Any, Any]:
    """What ``fix_inputs`` holds anywhere in the expression."""
    if not isinstance(model, CompoundModel):
        return {}
    right = held_inputs(model.right) if isinstance(model.right, Model) else dict(model.right)
    return held_inputs(model.left) | right


def result_names(model: Model) -> tuple[str, ...]:
    """Names of the parameters in a result: ``halpha_mean`` for a named sub-model, else astropy's."""
    if not isinstance(model, CompoundModel):
        return tuple(model.param_names)
    parts = list(leaves(model))
    names: list[str] = []
    for part, own in zip(parts, _own_names(parts), strict=True):
        for parameter in part.param_names:
            names.append(f"{own}_{parameter}" if own else model.param_names[len(names)])
    # A label such as Const1D(name="amplitude_0") may collide with another's astropy name.
    return tuple(names) if len(set(names)) == len(names) else tuple(model.param_names)


def _own_names(parts: Sequence[Model]) -> list[str | None]:
    """The names that the user gave to sub-models; None for one that is no identifier, or that two share."""
    names = [part.name for part in parts]
    return [n if isinstance(n, str) and n.isidentifier() and names.count(n) == 1 else None for n in names]


def parameter_titles(model: Model) -> list[str]:
    """For each parameter, what it is in words: ``mean of halpha (Gaussian1D)``."""
    titles = []
    parts = list(leaves(model))
    for number, part in enumerate(parts):
        kind = type(part).__name__
        which = f"{part.name} ({kind})" if part.name else f"{kind} {number}" if len(parts) > 1 else kind
        titles += [f"{parameter} of {which}" for parameter in part.param_names]
    return titles


def expression_text(model: Model) -> str:
    """The expression in the names of its parts or their classes: ``Linear1D + 2 * Sine1D`` without the numbers."""
    if not isinstance(model, CompoundModel):
        return str(model.name or type(model).__name__)
    left = _operand(model.left, model.op, ("+", "*", "&", "|"))
    if not isinstance(model.right, Model):
        return f"{left} with {', '.join(map(str, model.right))} held"
    return f"{left} {model.op} {_operand(model.right, model.op, ())}"


def _operand(part: Model, op: str, same: tuple[str, ...]) -> str:
    text = expression_text(part)
    plain = not isinstance(part, CompoundModel) or (part.op == op and op in same)
    return text if plain else f"({text})"


def with_values(model: Model, values: Sequence[Any]) -> Model:
    """A copy of ``model`` with new parameter values, in astropy's order: numbers, arrays or Quantities.

    A number removes the unit that the parameter had. Names, constraints, domain and window are kept. Compounds are
    built anew, since they remember the sizes of their parameters.
    """
    if not isinstance(model, CompoundModel):
        copied = model.copy()
        for name in model.param_names:  # a parameter that has a unit takes no plain number
            getattr(copied, name)._set_unit(None, force=True)
        copied._reset_parameters(**dict(zip(model.param_names, values, strict=True)))
        for name in model.param_names:
            old, new = getattr(model, name), getattr(copied, name)
            new.fixed, new.tied, new.bounds = old.fixed, old.tied, old.bounds
        return copied
    n_left = len(model.left.param_names)
    right = with_values(model.right, values[n_left:]) if isinstance(model.right, Model) else dict(model.right)
    built = compound_like(model, with_values(model.left, values[:n_left]), right)
    built.inputs, built.outputs = model.inputs, model.outputs
    built.meta.update(model.meta)
    return built


@dataclass(frozen=True)
class Part:
    """A part of an expression."""

    name: str
    model: Model
    parameters: tuple[int, ...]  # its own among those of the whole
    title: str = ""  # in words
    additive: bool = True  # the whole is the sum of such parts; otherwise their product or quotient
    sign: int = 1  # of the part in the sum


def parts_of(model: Model) -> list[Part]:
    """The terms of a sum or, where there is none, the factors of a product, in order.

    Shifts before a sum, as in ``RedshiftScaleFactor() | (a + b)``, and ``fix_inputs`` around it belong to each term.
    """
    simple = list(leaves(model))
    kinds = [type(leaf).__name__ for leaf in simple]
    numbered = [f"{kind}_{n}" for n, kind in enumerate(kinds)] if len(simple) > 1 else kinds
    names = [own or other for own, other in zip(_own_names(simple), numbered, strict=True)]
    parts = _split(model, ("+", "-"), 0, 0)
    additive = len(parts) > 1
    if not additive:
        parts = _split(model, ("*", "/"), 0, 0)
        additive = len(parts) == 1
    found = []
    for part, numbers in parts:
        title = f"{' and '.join(dict.fromkeys(kinds[n] for n in numbers))} in the fitted model"
        found.append(replace(part, name="_".join(names[n] for n in numbers), title=title, additive=additive))
    return found


def _split(model: Model, operators: Sequence[str], parameter: int, number: int) -> list[tuple[Part, tuple[int, ...]]]:
    """Parts with the numbers of their simple models; ``parameter`` and ``number`` are the first of ``model``."""
    op = model.op if isinstance(model, CompoundModel) else None
    if op == "fix_inputs":
        inner = _split(model.left, operators, parameter, number)
        return [(replace(p, model=CompoundModel("fix_inputs", p.model, model.right)), n) for p, n in inner]
    if op in (*operators, "|"):
        n_left = len(model.left.param_names)
        right = _split(model.right, operators, parameter + n_left, number + len(list(leaves(model.left))))
        if op == "-":
            right = [(replace(p, sign=-p.sign), n) for p, n in right]
        if op in operators:
            return _split(model.left, operators, parameter, number) + right
        if len(right) > 1:
            before = tuple(range(parameter, parameter + n_left))
            return [
                (replace(p, model=CompoundModel("|", model.left, p.model), parameters=before + p.parameters), n)
                for p, n in right
            ]
    own = tuple(range(parameter, parameter + len(model.param_names)))
    return [(Part("", model, own), tuple(range(number, number + len(list(leaves(model))))))]


def scalar_model(model: Model, values: Sequence[Any] | None = None) -> Model:
    """A copy of ``model`` with one number for each parameter, from its own values or others; all else is kept."""
    return with_values(model, representatives(model) if values is None else [_representative(v) for v in values])


def representatives(model: Model) -> list[float]:
    """One number for each parameter: the first finite one, where it has an array of values."""
    return [_representative(getattr(model, name).value) for name in model.param_names]


def _representative(value: Any) -> float:
    flat = np.ravel(np.asarray(value, dtype=float))
    finite = flat[np.isfinite(flat)]
    return float(finite[0]) if finite.size else float(flat[0]) if flat.size else 1.0


def evaluate_tree(
    model: Model, inputs: Sequence[np.ndarray], parameters: Sequence[Any], *, writes_inputs: bool = False
) -> Any:
    """Evaluate ``model`` by its expression tree on plain arrays, one value per parameter.

    With ``writes_inputs``, every part gets copies of its inputs, since it may write into them.
    """
    special = operator_of(model) if isinstance(model, CompoundModel) and model.op not in _KNOWN else None
    if not isinstance(model, CompoundModel) or (model.op not in _KNOWN and special is None):
        given = [np.array(x) if writes_inputs else locked(x) for x in inputs]
        return model.evaluate(*given, *_inner_values(model, parameters))
    n_left = len(model.left.param_names)
    left, right = parameters[:n_left], parameters[n_left:]
    if model.op == "fix_inputs":
        return evaluate_tree(model.left, inner_inputs(model, inputs), left, writes_inputs=writes_inputs)
    if model.op == "|":
        between = evaluate_tree(model.left, inputs, left, writes_inputs=writes_inputs)
        outputs = between if isinstance(between, tuple) else (between,)
        return evaluate_tree(model.right, outputs, right, writes_inputs=writes_inputs)
    if special is not None:

        def both(at: Sequence[Any]) -> list[Any]:
            parts = (model.left, left), (model.right, right)
            return [evaluate_tree(part, at, own, writes_inputs=writes_inputs) for part, own in parts]

        return on_own_grid(model, inputs, special, both) if isinstance(model, Convolution) else special(*both(inputs))
    n_inputs = model.left.n_inputs if model.op == "&" else 0
    a = evaluate_tree(model.left, inputs[: n_inputs or None], left, writes_inputs=writes_inputs)
    b = evaluate_tree(model.right, inputs[n_inputs:], right, writes_inputs=writes_inputs)
    if model.op == "&":
        return tuple(v for out in (a, b) for v in (out if isinstance(out, tuple) else (out,)))
    return _binary(model.op, a, b)


def forgetful(model: Model) -> Model:
    """``model``, changed in place, so that it remembers no earlier evaluation.

    `Voigt1D` returns its last values again where the new arguments are almost the same everywhere: the values of
    a fit would depend on other fits, and on other threads.
    """
    for part in leaves(model):
        if isinstance(part, Voigt1D):
            part._wrap_wofz = part._faddeeva
    return model


def keeps_nothing(model: Model) -> bool:
    """Whether tasks can share ``model``, since the functions that evaluate it do not get it.

    Other functions may write to it: `NFW` stores what it has computed there, and reads it again. So may an unknown
    operator, such as that of a convolution.
    """
    if isinstance(model, CompoundModel):
        parts = [part for part in (model.left, model.right) if isinstance(part, Model)]
        return model.op in _KNOWN and all(map(keeps_nothing, parts))
    return all(_is_static(model, name) for name in ("evaluate", "fit_deriv"))


def _is_static(model: Model, name: str) -> bool:
    """Whether the model has a function of this name that does not get the model, or none."""
    function = getattr_static(model, name, None)
    return function is None or isinstance(function, staticmethod)


def _inner_values(model: Model, parameters: Sequence[Any]) -> Sequence[Any]:
    """Parameters as ``evaluate`` takes them: Rotation2D, for example, wants its angle in radians."""
    if not _with_setters(type(model)):
        return parameters
    setters = [getattr(model, name)._setter for name in model.param_names]
    return [p if setter is None else setter(p) for p, setter in zip(parameters, setters, strict=True)]


def _with_setters(cls: Any) -> bool:
    if cls not in _SETTERS:
        names = cls.param_names if isinstance(getattr(cls, "param_names", None), tuple) else ()
        _SETTERS[cls] = any(getattr(getattr(cls, name, None), "_setter", None) is not None for name in names)
    return _SETTERS[cls]


def locked(values: Any) -> Any:
    """A read-only view: a model that writes into it raises, and coordinates stay as they are."""
    if not isinstance(values, np.ndarray) or not values.flags.writeable:
        return values
    view = values.view()
    view.flags.writeable = False
    return view


def inner_inputs(model: CompoundModel, inputs: Sequence[np.ndarray]) -> list[Any]:
    """All inputs of the model inside ``fix_inputs``: those held, and the others in order."""
    names = model.left.inputs
    held = {names.index(key) if isinstance(key, str) else int(key): value for key, value in model.right.items()}
    rest = iter(inputs)
    return [held[i] if i in held else next(rest) for i in range(model.left.n_inputs)]


def _binary(op: str, left: Any, right: Any) -> Any:
    if isinstance(left, tuple):
        return tuple(_binary(op, a, b) for a, b in zip(left, right, strict=True))
    return _ARITHMETIC[op](left, right)
