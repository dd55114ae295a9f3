"""Plain functions as models: each becomes a class of astropy models with the name of the function.

Arguments without a default are inputs, unless the call gives them a start. Those with a real number as default are
parameters. Keyword-only arguments, those whose default is no real number, and those that a `functools.partial` binds
are options: they keep their value.

The same function gives the same class again, so that the traits of a model are still known at the next call. The last
classes are kept, and their functions with them: a lambda would otherwise be gone before its result is evaluated. A
class calls the function itself, which sees the current values of its closure and of its object.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import functools
import inspect
import numbers
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from astropy.modeling import FittableModel, Model, Parameter
from astropy.units import Quantity

from xr_modelfit.foreign_words import refuse_foreign
from xr_modelfit.messages import a, listed
from xr_modelfit.models.expression import result_names

__all__ = [
    "ModelArg",
    "as_model",
    "function_of",
    "inputs_of_function",
    "kind_of",
    "likely_parameters",
    "not_a_model",
    "require_model",
]

ModelArg: TypeAlias = "Model | Callable[..., Any]"

_KEPT = 32  # classes
_SOURCE = "_modelfit_function"  # the attribute of a class with its function and the names of its inputs
_HOW = "def decay(t, a=1.0, tau=2.0): return a * np.exp(-t / tau)"
_NO_DEFAULT = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def as_model(model: Any, starts: Mapping[str, float] | None = None, labels: Collection[str] = ()) -> Model:
    """An astropy model as it is, and a function as a model.

    An argument of a function whose default is missing or None is a parameter if ``starts`` has a value for it.
    ``labels`` names what inputs may read: arguments of these names are no parameters that somebody forgot to name.
    Raises `TypeError` for anything else and for arguments without names, `ValueError` for a function without inputs or
    parameters.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, type) or not callable(model):
        raise not_a_model(model)
    starts = starts or {}
    roles = _roles(model, starts)
    _check(model, roles, labels)
    return _class_of(_FunctionKey(model), roles)(**{name: starts[name] for name in roles.started})


def not_a_model(model: Any) -> TypeError:
    """The error for what is neither a model nor a function."""
    if isinstance(model, type):
        if not model.__name__.isidentifier():  # a lambda in custom_model
            return TypeError("model is a class that custom_model made of a lambda; pass an instance, with () after it.")
        return TypeError(f"model is the class {model.__name__}; pass an instance, {model.__name__}(...).")
    shown = f" ({model!r})" if isinstance(model, str) else ""
    return TypeError(
        f"model is {a(model)}{shown}; pass a function whose parameters have start values, {_HOW}, or an instance of an "
        "astropy model, such as astropy.modeling.models.Gaussian1D(1, 0, 1)."
    )


def require_model(model: Any, options: Iterable[str] = ()) -> Any:
    """``model``, unless it is None: a call without one; ``options`` names its other arguments."""
    if model is None:
        refuse_foreign(options)
        raise TypeError(
            f"model is missing. It comes first, data.modelfit(model, dim): a function, {_HOW}, or an instance of an "
            "astropy model, such as astropy.modeling.models.Polynomial1D(degree=1)."
        )
    return model


def likely_parameters(model: Any, labels: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the parameters of a model, or of the arguments of a function that are, or may be meant as, parameters.

    ``labels`` as in `as_model`. Nothing for what is neither.
    """
    if isinstance(model, Model):
        return result_names(model)
    if isinstance(model, type) or not callable(model):
        return ()
    try:
        roles = _roles(model, {})
    except (TypeError, ValueError):  # said when it is made a model
        return ()
    read = _inputs_to_read(roles, labels)
    return tuple(name for name in roles.by_position if name is not None and name not in read)


def function_of(cls: Any) -> Callable[..., Any] | None:
    """The function from which `as_model` made a class; None for any other class."""
    return vars(cls).get(_SOURCE, (None, None))[0] if isinstance(cls, type) else None


def inputs_of_function(cls: type) -> tuple[str, ...] | None:
    """Names of the inputs of a class that `as_model` made; None for any other class."""
    return vars(cls).get(_SOURCE, (None, None))[1]


def name_of_function(model: Any) -> str:
    """The name of a plain function that is given as a model, or nothing."""
    return "" if isinstance(model, (Model, type)) or not callable(model) else _name(model)


def kind_of(cls: type) -> str | None:
    """In words, what `as_model` made a class from, unless it is a function, which can be found again by its name."""
    function = function_of(cls)
    if function is None or isinstance(function, types.FunctionType):
        return None
    if isinstance(function, functools.partial):
        return "a functools.partial"
    return "a method of an object" if isinstance(function, types.MethodType) else f"an object, {a(function)}"


@dataclass(frozen=True)
class _Roles:
    """The roles of the arguments of a function."""

    inputs: tuple[str, ...]
    parameters: tuple[tuple[str, Any], ...]  # with their defaults
    started: tuple[str, ...]  # parameters without a default: the call gives their starts
    by_position: tuple[str | None, ...]  # arguments up to the last input or parameter; None for an option
    options: dict[str, str] = field(compare=False)  # why each of them is one
    held: tuple[Any, ...] = field(compare=False)  # defaults of the options in ``by_position``

    @property
    def order(self) -> list[str]:
        """Names of what ``evaluate`` gets."""
        return [*self.inputs, *(name for name, _ in self.parameters)]


@dataclass(frozen=True)
class _Argument:
    """An argument of a function."""

    name: str
    default: Any
    by_position: bool
    option: str | None  # why it is an option whatever its default, if it is


def _roles(function: Callable[..., Any], starts: Mapping[str, float]) -> _Roles:
    """The role of each argument; ``starts`` as in `as_model`."""
    inputs, parameters, started, options = [], [], [], {}
    arguments = list(_arguments(function, starts))
    for one in arguments:
        if one.option is None and _is_number(one.default):
            parameters.append((one.name, one.default if isinstance(one.default, Quantity) else float(one.default)))
        elif one.option is None and one.name in starts and (one.default is _NO_DEFAULT or one.default is None):
            parameters.append((one.name, 1.0))
            started.append(one.name)
        elif one.option is None and one.default is _NO_DEFAULT:
            inputs.append(one.name)
        else:
            options[one.name] = one.option or f"its default is {one.default!r:.40}"
    for name in options.keys() & starts.keys():
        raise ValueError(
            f"p0 or bounds name {name!r}, which is an option of {_name(function)}: {options[name]}. Leave it out, or "
            f"make it a parameter, with a number as its default: {name}=1.0."
        )
    last = max((i for i, one in enumerate(arguments) if one.by_position and one.name not in options), default=-1)
    before = [one for one in arguments[: last + 1] if one.by_position]
    names = tuple(None if one.name in options else one.name for one in before)
    held = tuple(one.default for one in before if one.name in options)
    return _Roles(tuple(inputs), tuple(parameters), tuple(started), names, options, held)


def _arguments(function: Callable[..., Any], starts: Mapping[str, float]) -> Iterator[_Argument]:
    """The arguments of a function but ``**kwargs``; ``starts`` as in `as_model`."""
    for one in _signature(function):
        if one.kind is one.VAR_KEYWORD:
            continue
        if one.kind is one.VAR_POSITIONAL:
            raise TypeError(
                f"model {_name(function)} takes *{one.name}: arguments without names can be neither inputs nor "
                f"parameters. Write them out: {_HOW}. (A decorator hides the names unless it uses functools.wraps.)"
            )
        option = None
        if _is_bound(function, one.name):
            option = "functools.partial binds it"
        elif one.kind is one.KEYWORD_ONLY and not _was_positional(function, one.name):
            option = None if one.default is _NO_DEFAULT else "it is keyword-only"
            if option is None and one.name not in starts:
                raise ValueError(
                    f"model {_name(function)} needs {one.name!r}, which is keyword-only and has no default. Bind it, "
                    f"functools.partial({_name(function)}, {one.name}=...), or give it a start to fit it: "
                    f"p0={{{one.name!r}: ...}}."
                )
        yield _Argument(one.name, one.default, one.kind in _POSITIONAL, option)


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        if isinstance(function, np.ufunc):
            raise TypeError("its arguments have names in some versions of numpy, and never defaults")
        return list(inspect.signature(_inner(function)).parameters.values())
    except (TypeError, ValueError):
        raise TypeError(
            f"model is {a(function)} ({_name(function)}), whose arguments cannot be read. Write a function around it, "
            f"{_HOW}, and pass that, or an instance of an astropy model, as custom_model(decay)() is."
        ) from None


def _inner(function: Any) -> Any:
    """The function with the signature, which `numpy.vectorize` hides."""
    return function.pyfunc if isinstance(function, np.vectorize) else function


def _is_bound(function: Any, name: str) -> bool:
    """Whether a partial binds the argument by name; what it binds by position is not in its signature."""
    is_partial = isinstance(function, functools.partial)
    return is_partial and (name in function.keywords or _is_bound(function.func, name))


def _was_positional(function: Any, name: str) -> bool:
    """Whether a partial made an argument keyword-only, as it does with all after one that it binds by name."""
    if not isinstance(function, functools.partial):
        return False
    inner = function.func
    return any(p.name == name and p.kind in _POSITIONAL for p in _signature(inner)) or _was_positional(inner, name)


def _is_number(value: Any) -> bool:
    """Whether a default is one real number, with or without a unit."""
    if isinstance(value, Quantity):
        return bool(value.isscalar) and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _named(function: Any) -> Any:
    """What gives a function its name: the function that a partial calls, the class of an object."""
    if isinstance(function, functools.partial):
        return _named(function.func)
    function = _inner(function)
    return function if isinstance(getattr(function, "__name__", None), str) else type(function)


def _name(function: Any) -> str:
    return str(_named(function).__name__)


def _check(function: Any, roles: _Roles, labels: Collection[str]) -> None:
    """Refuse a function without inputs or parameters, and names that astropy has taken."""
    name = _name(function)
    if not roles.inputs:
        raise ValueError(
            f"model {name} has no input: each of its arguments has a default or a start. What it reads comes first, "
            f"without a default: {_HOW}."
        )
    if not roles.parameters:
        raise ValueError(
            f"model {name} has no parameters, so there is nothing to fit: {_how_to_fit(name, roles, labels)}"
        )
    for parameter, _ in roles.parameters:
        if parameter in _taken():
            raise ValueError(
                f"model {name} has the parameter {parameter!r}, but astropy has an attribute {parameter!r} on each "
                f"model. Use another name, for example {parameter}_0."
            )


def _how_to_fit(name: str, roles: _Roles, labels: Collection[str]) -> str:
    read = _inputs_to_read(roles, labels)
    others = [n for n in roles.inputs if n not in read]
    if others:
        called = name if name.isidentifier() else "f"
        defaults = ", ".join([*read, *(f"{n}=1.0" for n in others)])
        return (
            f"its arguments {listed(roles.inputs)} have no default, so they are inputs. To fit one, give it a start, "
            f"p0={{{', '.join(f'{n!r}: ...' for n in others)}}} with numbers or 'estimate', or bounds, "
            f"bounds={{{others[0]!r}: (low, high)}}, or a default, def {called}({defaults}). To read one as an input, "
            f"name its coordinate: coords={{{others[0]!r}: ...}}."
        )
    few = list(roles.options.items())[:3]
    why = "".join(f", {option!r} is an option ({reason})" for option, reason in few)
    return f"{roles.inputs[0]!r} is its input{why}. Parameters have a number as their default: {_HOW}."


def _inputs_to_read(roles: _Roles, labels: Collection[str]) -> list[str]:
    """Those of the inputs that are meant as such: what the data has a name for, or else the first."""
    return [n for n in roles.inputs if n in labels] or list(roles.inputs[:1])


@functools.cache
def _taken() -> frozenset[str]:
    """Names that each model has, or that its constructor takes."""
    from astropy.modeling.functional_models import Const1D  # takes long to import

    own = {*dir(FittableModel), *vars(Const1D())} - {"amplitude"}
    return frozenset(own | {"self", "n_models", "model_set_axis", "eqcons", "ineqcons"})


class _FunctionKey:
    """A function in a cache key: equal to itself; a method, to the same method of the same object."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._ids: tuple[int, ...] = (id(function),)
        if isinstance(function, types.MethodType):  # a new object each time that it is read
            self._ids = (id(function.__self__), id(function.__func__))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FunctionKey) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)


@functools.lru_cache(_KEPT)
def _class_of(key: _FunctionKey, roles: _Roles) -> type[Model]:
    """The class of models of a function."""
    function, named = key.function, _named(key.function)
    members: dict[str, Any] = {
        "__module__": str(getattr(named, "__module__", None)),
        "__qualname__": str(getattr(named, "__qualname__", named.__name__)),
        "__doc__": named.__doc__,
        "n_inputs": len(roles.inputs),
        "n_outputs": 1,
        "evaluate": staticmethod(_evaluate(function, roles)),
        "_input_units": None,  # astropy would take annotations, which are types here, for units
        "_return_units": None,
        "_separable": len(roles.inputs) == 1,
        _SOURCE: (function, roles.inputs),
    }
    members |= {name: Parameter(name, default=default) for name, default in roles.parameters}
    return type(str(named.__name__), (FittableModel,), members)


def _evaluate(function: Callable[..., Any], roles: _Roles) -> Callable[..., Any]:
    """The function as astropy calls it, with inputs and parameters by position."""
    if list(roles.by_position) == roles.order:
        return function

    def evaluate(*values: Any) -> Any:
        named, held = dict(zip(roles.order, values, strict=True)), iter(roles.held)
        by_position = [next(held) if name is None else named.pop(name) for name in roles.by_position]
        return function(*by_position, **named)

    return evaluate
