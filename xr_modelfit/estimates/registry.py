"""Estimators that users register for models of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.function_models import function_of

__all__ = ["UnusableError", "UserEstimator", "register_estimator", "registered_for", "values_of"]

UserEstimator = Callable[..., Mapping[str, Any]]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_REGISTERED: WeakKeyDictionary[Any, UserEstimator] = WeakKeyDictionary()


class UnusableError(ValueError):
    """A function gave what cannot be used for any fit: there is no use in trying fewer of them."""


def register_estimator(model: Any, function: _Function | None = None) -> Any:
    """Register a function that estimates start values of a model from the data.

    It is used before the estimators of this package, wherever a fit of exactly this model asks for estimates. It works
    on many fits at once. What it does not estimate is solved for where the model is linear in it; otherwise it keeps
    its start. Bounds, ties and fixed parameters are taken care of.

    Parameters
    ----------
    model : type or callable
        A class of astropy models, or a plain function that is fitted as a model.
    function : callable, optional
        ``function(data, *inputs) -> {parameter: values}``. ``data`` has shape (b, n), NaN where a sample is left out;
        each input has shape (b, n) or (1, n). Numbers are in the units that the parameters have in the fit. Values
        are (b,), or one number for all fits; NaN where nothing can be said, and then the model's own start serves
        for that fit. Default: a decorator is returned.

    Returns
    -------
    callable
        The function, or the decorator.

    Raises
    ------
    TypeError
        ``model`` is neither a class of models nor a function, or ``function`` cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.modeling import custom_model
    >>> import xr_modelfit
    >>> @custom_model
    ... def pulse(t, height=1.0, peak=5.0):
    ...     return height * t / peak * np.exp(1 - t / peak)
    >>> @xr_modelfit.register_estimator(pulse)
    ... def start_of_pulse(data, t):
    ...     t = np.broadcast_to(t, data.shape)
    ...     top = np.nanargmax(data, axis=1)
    ...     return {"peak": t[np.arange(len(t)), top]}
    """
    if isinstance(model, Model):
        raise TypeError(
            f"model is an instance of {type(model).__name__}; an estimator belongs to a class. Pass "
            f"{type(model).__name__}."
        )
    if not callable(model) or (isinstance(model, type) and not issubclass(model, Model)):
        raise TypeError(f"model is {model!r}; pass a class of astropy models, or a plain function that is fitted.")
    if isinstance(model, type) and issubclass(model, CompoundModel):
        raise TypeError(
            "model is CompoundModel, the class of all expressions; register its parts, or one custom_model."
        )
    if function is None:
        return lambda found: register_estimator(model, found)
    if not callable(function):
        raise TypeError(f"function is {function!r}; pass function(data, *inputs) -> {{parameter: values}}.")
    _REGISTERED[model] = function
    return function


def registered_for(model: Model) -> UserEstimator | None:
    """The function that was registered for the class of a model, or for the function that it is made of."""
    cls = type(model)
    if cls in _REGISTERED:
        return _REGISTERED[cls]
    made_of = function_of(cls)
    try:
        return None if made_of is None else _REGISTERED.get(made_of)
    except TypeError:  # no weak references to it
        return None


def values_of(
    function: UserEstimator, names: tuple[str, ...], y: np.ndarray, inputs: list[np.ndarray], valid: np.ndarray
) -> dict[int, np.ndarray]:
    """What a function estimates, by number of the parameter, (b,) each; arguments as in `estimates.estimate`."""
    found = function(np.where(valid, y, np.nan), *(np.array(x) for x in inputs))
    if not isinstance(found, Mapping):
        raise UnusableError(f"it gave {type(found).__name__}, not {{parameter: values}}")
    unknown = [name for name in found if name not in names]
    if unknown:
        raise UnusableError(f"it gave {unknown[0]!r}; the model has {', '.join(names)}")
    shapes = [np.shape(value) for value in found.values()]
    if not all(shape in ((), (y.shape[0],)) for shape in shapes):
        raise UnusableError(f"it gave values of shapes {shapes} for {y.shape[0]} fits")
    return {
        names.index(name): np.array(np.broadcast_to(np.asarray(value, dtype=float), (y.shape[0],)))
        for name, value in found.items()
    }
