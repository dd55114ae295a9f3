"""The model of a call: a model as it is, or a function as a model; checked."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.call.earlier_results import named_starts
from xr_modelfit.call.first_fits import asks_for_a_first_fit
from xr_modelfit.call.in_order import no_bounds, refuse_coordinates
from xr_modelfit.call.options import FitOptions
from xr_modelfit.call.start_requests import StartRequest, requests_of
from xr_modelfit.messages import a, listed
from xr_modelfit.models.expression import held_inputs, leaves
from xr_modelfit.models.function_models import as_model, likely_parameters, not_a_model, require_model
from xr_modelfit.models.input_names import input_names, is_custom
from xr_modelfit.units.units import plain

__all__ = ["check_model", "model_to_fit", "not_labelled"]


def model_to_fit(options: FitOptions, obj: xr.DataArray | xr.Dataset) -> Model:
    """The model of a call: as it is, or that of a function; ``obj`` has the dims and coordinates of the data.

    Raises TypeError or ValueError if it is neither, or cannot be fitted; see `check_model`.
    """
    model, dim, p0, coords = require_model(options.model), options.dim, options.p0, options.coords
    dims = obj.dims
    if not callable(model) and callable(dim):
        given = dim.__name__ if hasattr(dim, "__name__") else type(dim).__name__
        raise TypeError(
            f"model is {model!r} and dim is {given}: the model comes first. Swap them: data.modelfit({given}, "
            f"{model!r})."
        )
    if isinstance(model, str) and model in dims:
        raise TypeError(
            f"model is {model!r}, a dim of the data. The model comes first: data.modelfit(model, {model!r})."
        )
    refuse_coordinates(dim, dims)
    read = coords if isinstance(coords, Mapping) else {}
    labels = _labels_along(obj, dim) | {str(name) for name in read}
    names = likely_parameters(model, labels)
    asked = [StartRequest()] if asks_for_a_first_fit(p0) else requests_of(p0, dims, names)
    if options.bounds is not None and not isinstance(options.bounds, Mapping):
        raise no_bounds(options.bounds, names)
    starts = {n: start for one in asked for n, start in _starts_by_name(one, options.bounds).items() if n not in read}
    found = as_model(model, starts, labels)
    check_model(found)
    return found


def not_labelled(obj: Any) -> TypeError:
    """The error for data without labels, or a model in its place."""
    if isinstance(obj, Model) or (callable(obj) and not hasattr(obj, "dims")):
        given = getattr(obj, "__name__", type(obj).__name__)
        return TypeError(f"fit got {given} where the data goes. Data first, then the model: fit(data, {given}, dim).")
    text = f"fit takes a DataArray or a Dataset, not {a(obj)}."
    if hasattr(obj, "to_xarray"):  # pandas
        return TypeError(f"{text} Turn it into one: obj.to_xarray().")
    if isinstance(obj, str):
        return TypeError(f"{text} Open the file: xr.open_dataset({obj!r}), or xr_modelfit.from_fits({obj!r}) for FITS.")
    dims = ("time", "y", "x", "wavelength")
    try:
        n = np.ndim(obj)
    except ValueError:  # lists of several lengths
        n = 0
    named = repr(list(dims[:n])) if 0 < n <= len(dims) else "[...]"
    what = ", with the coordinate that the model reads: coords={'time': times}" if n else ""
    return TypeError(f"{text} Wrap it: xr.DataArray(values, dims={named}){what}.")


def _labels_along(obj: xr.DataArray | xr.Dataset, dim: Any) -> set[str]:
    """Names of the dims that a call fits along, and of the coordinates on them."""
    named = [dim] if isinstance(dim, str) else dim if isinstance(dim, list | tuple) else obj.dims
    fitted = [d for d in obj.dims if d in named]
    return {str(n) for n in [*fitted, *(c for c, array in obj.coords.items() if set(array.dims) & set(fitted))]}


def _starts_by_name(asked: StartRequest, bounds: Any) -> dict[str, float]:
    """One number for each name in ``p0`` and ``bounds``, with which a model can be made."""
    p0 = asked.values
    starts = {str(key): _between(pair) for key, pair in bounds.items()} if isinstance(bounds, Mapping) else {}
    starts = dict.fromkeys(asked.estimated or (), 1.0) | starts
    if isinstance(p0, xr.Dataset):
        return starts | {str(key): _some_number(value, 1.0) for key, value in named_starts(p0).items()}
    return starts | {str(key): _some_number(value, 1.0) for key, value in (p0 or {}).items()}


def _between(pair: Any) -> float:
    """A number between two bounds, as `scipy.optimize.curve_fit` chooses it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return 1.0
    low, high = (_some_number(v, math.nan) for v in pair)
    if math.isfinite(low):
        return 0.5 * (low + high) if math.isfinite(high) else low + 1.0
    return high - 1.0 if math.isfinite(high) else 1.0


def _some_number(value: Any, default: float) -> float:
    """The first finite number of a start or bound; ``default`` where there is none in memory."""
    value = plain(value) if isinstance(value, xr.DataArray) else value
    if isinstance(value, xr.DataArray):
        value = value.values if value.variable._in_memory and value.dtype.kind in "iuf" else default
    if not isinstance(value, int | float | np.number | np.ndarray):  # a Quantity is an array
        return default
    flat = np.ravel(np.asarray(value, dtype=float))
    return float(flat[np.isfinite(flat)][0]) if np.isfinite(flat).any() else default


def check_model(model: Any) -> None:
    """Refuse what cannot be fitted as one model with one output.

    Raises TypeError if it is no model instance; ValueError if it is a model set, has several outputs, or no parameters.
    """
    if not isinstance(model, Model):
        raise not_a_model(model)
    if len(model) != 1:
        raise ValueError(
            f"model is a set of {len(model)} models; a fit takes one model (n_models=1). Give start values that "
            "vary from fit to fit by p0={name: DataArray}."
        )
    if model.n_outputs != 1:
        raise ValueError(
            f"model has {model.n_outputs} outputs {listed(model.outputs)}; the data is one, so a model with one output "
            "is needed."
        )
    if not model.param_names:
        raise ValueError(
            f"model {type(model).__name__} has no parameters, so there is nothing to fit.{_no_defaults(model)}"
        )
    for name, value in held_inputs(model).items():
        if isinstance(value, Quantity) or np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
            raise ValueError(
                f"model holds its input {name!r} at {value}; one plain number is needed there: "
                f"fix_inputs(model, {{{name!r}: number}}), with a model without units."
            )
    if any(kind.__name__ == "_Spline" for part in leaves(model) for kind in type(part).__mro__):
        raise ValueError(
            "model has a Spline1D, whose values do not follow from its parameters, so that only astropy's own spline "
            "fitters can fit it. Take a polynomial (for example Chebyshev1D), or custom_model with a spline inside."
        )


def _no_defaults(model: Model) -> str:
    """What to do about a function whose arguments have no defaults, made a model by astropy's custom_model."""
    if not is_custom(type(model)):
        return ""
    name, names = type(model).__name__, input_names(model)
    define = name if name.isidentifier() else "f"
    others = names[1:] or ("a",)
    return (
        f" custom_model takes those arguments for parameters that have a default; {listed(names)} of {name} have none. "
        f"Give them defaults, def {define}({names[0]}, {', '.join(f'{n}=1.0' for n in others)}), or pass the function "
        f"itself and starts for them: p0={{{', '.join(f'{n!r}: ...' for n in others)}}}."
    )
