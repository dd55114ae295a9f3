"""Quantities computed from fitted parameters, and the fitted model, with errors through the covariance."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.execution.execution import map_blocks
from xr_modelfit.fitters.propagation import flat_covariance, propagated
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.models.chains import chains
from xr_modelfit.models.expression import expression_text
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.models.known_quantities import formulas_of
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.records.schema import COV_DIMS
from xr_modelfit.records.units import in_units_of_data, parameter_numbers
from xr_modelfit.results.along_coordinates import along_the_coordinate
from xr_modelfit.results.evaluation import FIELD, Evaluation, matching
from xr_modelfit.results.points import at_positions
from xr_modelfit.results.quantities import DerivedQuantity
from xr_modelfit.results.trends import is_trend, trends
from xr_modelfit.results.waves import sum_of_waves, wave_of
from xr_modelfit.status import FitStatus

__all__ = ["derived", "predict"]


def derived(
    result: xr.Dataset,
    record: FitRecord,
    names: Sequence[str],
    functions: Mapping[str, Callable[..., Any]],
    model: ModelArg | None = None,
    completed: Callable[[], xr.Dataset] | None = None,
) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.derived`; ``completed`` gives the result with its covariance."""
    template = matching(model, record)
    wanted = _known(record, template, names, bool(functions)) + _own(record, template, functions)
    texts = (record.units or {}).get("parameters", [None] * len(record.names))
    wanted = [quantity.with_units(texts) for quantity in wanted]
    for quantity in wanted:
        _check(quantity)
    needed = any(quantity.needs_covariance for quantity in wanted)
    C = _covariance(completed() if needed and completed else result, record, needed)
    parameters = [_in_recorded_unit(result, record, name, j).variable for j, name in enumerate(record.names)]
    variables = [*parameters, C]
    core: list[tuple[Hashable, ...]] = [()] * len(parameters) + [COV_DIMS]
    packed = map_blocks(_DerivedBlock(tuple(wanted)), variables, core, {FIELD: 2 * len(wanted)})
    first = result[record.variable(record.names[0])]
    out: dict[str, xr.Variable] = {}
    for i, quantity in enumerate(wanted):
        value, error = (packed.isel({FIELD: 2 * i + k}) for k in (0, 1))
        name = record.variable(quantity.name)
        value.attrs = quantity.attrs | {"ancillary_variables": f"{name}_stderr"}
        error.attrs = quantity.error_attrs
        out |= {name: value, f"{name}_stderr": error}
    return xr.Dataset(out, coords=first.coords)


@dataclass(frozen=True)
class _DerivedBlock:
    """Block function: parameters (...) and covariance (..., K, K) to values and errors.

    A parameter on its bound has no error, NaN, and neither has what depends on it: 0 would say that it is known.
    """

    quantities: tuple[DerivedQuantity, ...]

    __name__ = "derived"

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        *parameters, C = arrays
        shape = np.broadcast_shapes(*(p.shape for p in parameters), C.shape[:-2])
        b = int(np.prod(shape))
        P = np.array([np.broadcast_to(p, shape).reshape(b) for p in parameters], dtype=float)
        C = flat_covariance(C, shape)
        out = np.full((b, 2 * len(self.quantities)), np.nan)
        good = np.flatnonzero(np.all(np.isfinite(P), axis=0))
        for i, quantity in enumerate(self.quantities):
            own = np.array(quantity.parameters)
            if good.size:
                here = P[np.ix_(own, good)]
                with np.errstate(all="ignore"):
                    function = quantity.about(here)
                out[good, 2 * i], out[good, 2 * i + 1] = propagated(function, here, C[np.ix_(own, own, good)])
        return out.reshape((*shape, out.shape[1]))


def _known(record: FitRecord, model: Model, names: Sequence[str], only_named: bool) -> list[DerivedQuantity]:
    """Quantities with a formula: those that are named or, without any name or function, all."""
    found: dict[str, DerivedQuantity] = {}
    unknown: set[str] = set()
    parts = chains(model)
    for number, chain in enumerate(parts):
        part = chain.model
        own = {p: chain.first + j for j, p in enumerate(part.param_names)}
        for formula in formulas_of(part):
            name = _like(record.names, own, part, formula.name, number, len(parts))
            which = part.name or (type(part).__name__ + (f" {number}" if len(parts) > 1 else ""))
            one = along_the_coordinate(formula, chain, name, f"{formula.title}, {which}", model)
            if one is None:
                unknown.add(name)
            else:
                found[name] = one
        like = partial(_like, record.names, own, part, number=number, n_parts=len(parts))
        found |= {one.name: one for one in wave_of(record, model, min(own.values(), default=-1), like)}
    found |= {one.name: one for one in sum_of_waves(record, model)}
    if not names:
        if not found and not only_named:
            raise ValueError(
                f"No formula is known for the model, a {type(model).__name__}. Give functions of its parameters "
                f"{listed(record.names)}: derived(ratio=lambda {', '.join(record.names[:2])}: ...)."
            )
        return [] if only_named else list(found.values())
    wanted: list[DerivedQuantity] = []
    for name in names:
        if is_trend(name) and name not in found:
            wanted += trends(record, model, name)
            continue
        if isinstance(name, Mapping):
            raise TypeError(
                f"derived got a {type(name).__name__}; name functions: derived(name=function), or derived(**it)."
            )
        if name in unknown:
            raise ValueError(
                f"derived got {name!r}, but no formula is known for it: in the model, {expression_text(model)}, the "
                f"coordinate or the values are changed by '|', and not by Shift, Scale or the like alone. "
                f"Give a function: derived({name}=lambda ...)."
            )
        if not isinstance(name, str) or name not in found:
            raise ValueError(
                f"derived got {name!r}, but the quantities known for the model are {listed([*found, 'per decade'])}."
                f"{suggestion(name, found)} Give a function for another one: derived({name}=lambda ...)."
            )
        wanted.append(found[name])
    return wanted


def _like(names: Sequence[str], own: Mapping[str, int], part: Model, name: str, number: int, n_parts: int) -> str:
    """The name of a quantity in the pattern of the parameters of its sub-model: ``halpha_flux``, ``flux_0``."""
    if n_parts == 1:
        return name
    if isinstance(part.name, str) and any(names[j].startswith(f"{part.name}_") for j in own.values()):
        return f"{part.name}_{name}"
    return f"{name}_{number}"


def _own(record: FitRecord, model: Model, functions: Mapping[str, Callable[..., Any]]) -> list[DerivedQuantity]:
    """Quantities by functions of the user, whose arguments are parameters."""
    positions = {name: j for j, name in enumerate(model.param_names)} | {n: j for j, n in enumerate(record.names)}
    found = []
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"derived({name}=...) is {a(function)}; pass a function of parameters: "
                f"lambda {', '.join(record.names[:2])}: ..., or name a known quantity: derived({name!r})."
            )
        arguments = []
        for one in inspect.signature(function).parameters.values():
            if one.name in positions and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                arguments.append(positions[one.name])
            elif one.default is one.empty:
                raise ValueError(
                    f"The function {name!r} takes {one.name!r}, which is no parameter of the fit; they are "
                    f"{listed(record.names)}.{suggestion(one.name, record.names)} Its arguments must be parameters."
                )
            else:
                break  # what follows keeps its default
        if not arguments:
            raise ValueError(f"The function {name!r} takes no parameter of the fit; they are {listed(record.names)}.")
        taken = record.variable(name)
        if name in record.names:
            raise ValueError(f"{taken!r} is a parameter of the fit; call what is derived from it by another name.")
        found.append(DerivedQuantity(name, f"{name}, from the fitted parameters", function, tuple(arguments)))
    return found


def _check(quantity: DerivedQuantity) -> None:
    """Refuse a function that fails on arrays, or whose value has another shape."""
    trial = np.array([[1.25, 1.5, 1.75]] * len(quantity.parameters))
    try:
        with np.errstate(all="ignore"):
            quantity(trial)
    except Exception as error:
        raise ValueError(
            f"The function {quantity.name!r} fails on arrays of parameters ({type(error).__name__}: {error}). "
            "Use functions of numpy, np.sqrt for math.sqrt, and return one number for each fit."
        ) from error


def predict(result: xr.Dataset, at: Evaluation) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.predict`."""
    record, name = at.record, at.record.model_name
    inward = np.ones(len(record.names)) if record.units is None else np.array(record.units["inward"])
    C = _covariance(result, record) * xr.Variable(COV_DIMS, np.outer(inward, inward))
    packed = at.values_and_errors(*(_placed(result, v, at) for v in (_at_bound(result, record), C)))
    value = at.labelled(in_units_of_data(packed.isel({FIELD: 0}), record.units), name)
    scale = None if record.units is None else record.units["scale"]
    error = packed.isel({FIELD: 1}) / (1.0 if scale is None else abs(scale[0]))
    stderr = at.labelled(error, f"{name}_stderr")
    stderr.attrs = dict(value.attrs, long_name="standard error of the fitted model")
    value.attrs |= {"long_name": "fitted model", "ancillary_variables": f"{name}_stderr"}
    return xr.Dataset({name: value, f"{name}_stderr": stderr})


def _placed(result: xr.Dataset, variable: xr.Variable, at: Evaluation) -> xr.Variable:
    """A variable of the result at the positions of the data."""
    array = xr.DataArray(variable, coords={n: c for n, c in result.coords.items() if set(c.dims) <= set(variable.dims)})
    return array.variable if at.data is None else at_positions(array, at.data).variable


def _in_recorded_unit(result: xr.Dataset, record: FitRecord, name: str, j: int) -> xr.DataArray:
    """A parameter in the unit that it had in the result of the fit; the covariance is in the same unit."""
    inside = parameter_numbers(record.parameter(result, name), record.units, j)
    inward = 1.0 if record.units is None else record.units["inward"][j]
    return inside if inward == 1.0 else inside / inward


def _covariance(result: xr.Dataset, record: FitRecord, needed: bool = True) -> xr.Variable:
    """The covariance of all parameters, with `COV_DIMS` last; squared errors replace it where it is not ``needed``."""
    name = record.variable("covariance")
    if name in result:
        array = result[name]
        missing = [d for d in COV_DIMS if d not in array.dims or not set(record.names) <= set(array[d].values.tolist())]
        if missing:
            raise RecordError(
                f"{name!r} lacks parameters along {missing[0]!r}; all of {listed(record.names)} are needed."
            )
        chosen = array.sel(dict.fromkeys(COV_DIMS, record.names)).transpose(..., *COV_DIMS)
        return chosen.variable
    if needed:
        raise RecordError(
            f"The result has no {name!r}, which errors of quantities of several parameters need. Pass the data that "
            "was fitted, data=..., from which it follows; fit.modelfit.with_covariance(data, sigma=...) adds it where "
            "sigma was an array. Or fit with covariance=True."
        )
    errors = []
    for parameter in record.names:
        stderr = record.variable(f"{parameter}_stderr")
        if stderr not in result:
            raise RecordError(f"The result has neither {name!r} nor {stderr!r}, from which errors come.")
        errors.append(result[stderr].variable ** 2)
    squares = xr.Variable.concat(errors, dim=COV_DIMS[0]).transpose(..., COV_DIMS[0])
    K = len(errors)
    diagonal = xr.Variable(COV_DIMS, np.eye(K, dtype=bool))
    return (squares.set_dims({**squares.sizes, COV_DIMS[1]: K}).where(diagonal, 0.0)).transpose(..., *COV_DIMS)


def _at_bound(result: xr.Dataset, record: FitRecord) -> xr.Variable:
    """Whether a parameter is on its bound."""
    name = record.variable("fit_status")
    return (result[name] == int(FitStatus.CONVERGED_AT_BOUND)).variable
