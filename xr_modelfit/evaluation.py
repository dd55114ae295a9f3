"""The model of a result at any coordinates, and as an astropy model."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.coords import require_same_index
from xr_modelfit.execution import chunked_like, is_lazy, map_blocks
from xr_modelfit.expression import evaluate_tree, result_names, with_values
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.record import FitRecord, RecordError, build_model
from xr_modelfit.times import as_times
from xr_modelfit.unit_record import coordinate_numbers, in_units_of_data, parameter_numbers, parameter_quantities
from xr_modelfit.unit_text import parse_unit, write_unit
from xr_modelfit.units import check_equivalencies, factor, plain

__all__ = ["evaluate", "to_model"]

Source = xr.DataArray | xr.Dataset


def to_model(result: xr.Dataset, record: FitRecord, model: Model | None = None) -> Model:
    """The astropy model of a fit; its parameters are arrays over the remaining dims, in order."""
    values = parameter_quantities([_parameter(result, record, name) for name in record.names], record.units)
    if not _takes_units(record, values, model):
        values = [getattr(v, "value", v) for v in values]
    if model is not None:
        built = with_values(_matching(model, record), values)
        for name, value in zip(built.param_names, values, strict=True):
            unit = getattr(model, name).unit
            if unit is not None and isinstance(value, Quantity) and (times := factor(unit, value.unit)) is not None:
                bounds = getattr(built, name).bounds  # the model's are in its own unit
                getattr(built, name).bounds = tuple(None if b is None else b * times for b in bounds)
        return built
    built = _matching(build_model(record.content["model"], values), record)
    for name, inward in zip(built.param_names, (record.units or {}).get("inward", []), strict=False):
        bounds = getattr(built, name).bounds
        getattr(built, name).bounds = tuple(None if b is None else b / inward for b in bounds)
    return built


def _takes_units(record: FitRecord, values: Sequence[Any], model: Model | None) -> bool:
    """Whether the model can be evaluated with units on its parameters, as astropy's models can and many others not."""
    if record.units is None or not any(isinstance(v, Quantity) for v in values):
        return False
    if record.units["carried"]:
        return True
    if not all(isinstance(v, Quantity) for v in values):
        return False
    ones = [Quantity(1.0, v.unit) for v in values]
    tree = record.content["model"]
    try:
        tried = build_model(tree, ones) if model is None else with_values(_matching(model, record), ones)
        inputs = [Quantity(np.array([1.0, 2.0]), parse_unit(one["units"] or "1")) for one in record.inputs]
        with np.errstate(all="ignore"):
            given = tried(*inputs)
        return bool(Quantity(given).unit.is_equivalent(parse_unit(record.units["data"] or "1")))
    except Exception:  # whatever a model says of units that it does not take
        return False


def evaluate(
    result: xr.Dataset,
    record: FitRecord,
    data: Source | None,
    coords: Mapping[str, Any],
    model: Model | None = None,
    equivalencies: Any = None,
) -> xr.DataArray:
    """Model values of every fit of ``record``; see `xr_modelfit.accessor.ModelfitDataset.evaluate`."""
    template = _matching(build_model(record.content["model"]) if model is None else model, record)
    data = _one_variable(data, record)
    inputs = _coordinates(record, data, coords)
    told = check_equivalencies(equivalencies, {one["name"]: one["coordinate"] for one in record.inputs})
    parameters = [
        parameter_numbers(_parameter(result, record, name), record.units, j) for j, name in enumerate(record.names)
    ]
    if data is not None:
        parameters = [_at_positions(p, data) for p in parameters]
    _require_same_positions(parameters[0], inputs)
    loop = parameters[0].dims
    new = {d: x.sizes[d] for x in inputs for d in x.dims if d not in loop}
    numbers = [coordinate_numbers(x, one, told.get(one["name"])) for x, one in zip(inputs, record.inputs, strict=True)]
    variables = [p.variable for p in parameters] + numbers
    if isinstance(data, xr.DataArray) and data.chunks is not None and not is_lazy(*variables):
        variables = [chunked_like(data.variable, variables[0]), *variables[1:]]
    core = [tuple(d for d in new if d in v.dims) for v in variables]
    block = _EvaluateBlock(template, len(parameters), tuple(core), tuple(new.items()))
    values = in_units_of_data(map_blocks(block, variables, core, new), record.units)
    out = xr.DataArray(values, coords=_labels(values.dims, parameters[0], data, inputs), name=_name(record))
    return _shaped_like(out, data)


@dataclass(frozen=True)
class _EvaluateBlock:
    """Block function: parameters (...) and inputs (..., some new dims) to values (..., all new dims)."""

    model: Model
    n_parameters: int
    core: tuple[tuple[Hashable, ...], ...]
    new: tuple[tuple[Hashable, int], ...]

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        sizes = dict(self.new)
        leads = [a.shape[: a.ndim - len(c)] for a, c in zip(arrays, self.core, strict=True)]
        shape = np.broadcast_shapes(*leads)
        parameters = [np.broadcast_to(a, shape) for a in arrays[: self.n_parameters]]
        inputs = []
        for array, dims, lead in list(zip(arrays, self.core, leads, strict=True))[self.n_parameters :]:
            aligned = array.reshape((*lead, *(sizes[d] if d in dims else 1 for d in sizes)))
            inputs.append(np.broadcast_to(aligned, (*shape, *sizes.values())))
        out = np.full((*shape, *sizes.values()), np.nan)
        model = self.model.copy()
        for i in np.ndindex(*shape):
            row = [p[i] for p in parameters]
            if not out[i].size or np.any(np.isnan(row)):
                continue
            at = [np.array(x[i], dtype=float).ravel() for x in inputs]
            with np.errstate(all="ignore"):
                values = np.asarray(evaluate_tree(model, at, row, careless=True))
            out[i] = np.broadcast_to(values, at[0].shape).reshape(tuple(sizes.values()))
        return out


def _matching(model: Model, record: FitRecord) -> Model:
    names = list(result_names(model))
    if names != record.names:
        raise RecordError(
            f"model has the parameters {listed(names)}, but the fit had {listed(record.names)}. "
            "Pass an instance of the model that was fitted."
        )
    if model.n_inputs != len(record.inputs):
        read = [one["name"] for one in record.inputs]
        raise RecordError(
            f"model has the inputs {listed(model.inputs)}, but the fit read {listed(read)}. "
            "Pass an instance of the model that was fitted."
        )
    return model


def _parameter(result: xr.Dataset, record: FitRecord, name: str) -> xr.DataArray:
    variable = record.variable(name)
    if variable not in result:
        raise RecordError(
            f"The result has no variable {variable!r}, which its record names; it has {listed(result.data_vars)}. "
            "Keep the parameters of a fit together, under the names that the fit gave."
        )
    return result[variable]


def _one_variable(data: Any, record: FitRecord) -> Source | None:
    data = plain(data)
    if data is None or isinstance(data, xr.DataArray):
        return data
    if not isinstance(data, xr.Dataset):
        raise TypeError(
            f"evaluate takes a DataArray or Dataset with the coordinates, or coordinates by name, not a "
            f"{type(data).__name__}: evaluate({record.inputs[0]['coordinate']}=values)."
        )
    name = record.content["data"]
    return data[name] if name in data.data_vars else data


def _coordinates(record: FitRecord, data: Source | None, given: Mapping[str, Any]) -> list[xr.DataArray]:
    """What each model input reads, from keywords or from the data."""
    known = {key for one in record.inputs for key in (one["coordinate"], one["name"])}
    unknown = [key for key in given if key not in known]
    if unknown:
        read = [one["coordinate"] for one in record.inputs]
        raise ValueError(
            f"evaluate got {unknown[0]!r}, but the fit read {listed(read)}.{suggestion(unknown[0], read)} "
            f"Give it: evaluate({read[0]}=values)."
        )
    found = []
    for one in record.inputs:
        name = one["coordinate"]
        key = name if name in given else one["name"] if one["name"] in given else None
        if key is not None:
            found.append(_given_coordinate(one, given[key]))
        elif data is not None and (label := _label(name, data.coords)) is not None:
            found.append(data.coords[label])
        elif data is not None and (label := _label(name, data.dims)) is not None:
            found.append(xr.DataArray(np.arange(data.sizes[label], dtype=float), dims=[label]))
        else:
            raise ValueError(
                f"The model's input {one['name']!r} read the coordinate {name!r}, which is not there. "
                f"Give it: evaluate({name}=values)."
            )
    return found


def _label(name: str, labels: Iterable[Hashable]) -> Hashable | None:
    """The label that a record, which holds text, calls ``name``; it need not be text itself."""
    return next((label for label in labels if str(label) == name), None)


def _given_coordinate(one: Mapping[str, Any], value: Any) -> xr.DataArray:
    if isinstance(value, xr.DataArray):
        return plain(value)
    attrs = {"units": write_unit(value.unit)} if isinstance(value, Quantity) else {}
    times = as_times(value) if one.get("time") else None
    values = np.asarray(value) if times is None else times
    name = one["coordinate"]
    if values.ndim == 0:
        return xr.DataArray(values, coords={name: ((), values, attrs)}, attrs=attrs)
    if values.ndim == 1:
        dim = one["dims"][0] if len(one["dims"]) == 1 else name
        return xr.DataArray(values, dims=[dim], coords={name: ([dim], values, attrs)}, attrs=attrs)
    raise TypeError(
        f"{name} is an array of shape {values.shape}; pass a DataArray, so that its dims have names: "
        f"evaluate({name}=xr.DataArray(values, dims=[...]))."
    )


def _at_positions(parameter: xr.DataArray, data: Source) -> xr.DataArray:
    """The parameter where the data is: by label, never by order."""
    for dim in parameter.dims:
        scalar = dim in data.coords and data.coords[dim].ndim == 0
        if dim not in data.dims and not (scalar and dim in parameter.indexes):
            continue
        if dim not in parameter.indexes or (dim not in data.indexes and not scalar):
            if dim in data.dims and data.sizes[dim] != parameter.sizes[dim]:
                raise ValueError(
                    f"The data has {data.sizes[dim]} positions along {dim!r}, the result {parameter.sizes[dim]}, and "
                    "there are no labels to match them by. Select the same positions of both."
                )
            continue
        if not scalar and parameter.indexes[dim].equals(data.indexes[dim]):
            continue
        try:
            parameter = parameter.sel({dim: data.coords[dim]})
        except KeyError:
            raise ValueError(
                f"The data has labels along {dim!r} that the result has not. Evaluate where there are fits: "
                f"data.sel({dim}=fit[{dim!r}])."
            ) from None
    return parameter


def _require_same_positions(parameter: xr.DataArray, inputs: Sequence[xr.DataArray]) -> None:
    for array in inputs:
        for dim in set(array.dims) & set(parameter.dims):
            name = "A coordinate" if array.name is None else f"The coordinate {array.name!r}"
            if array.sizes[dim] != parameter.sizes[dim]:
                raise ValueError(
                    f"{name} has {array.sizes[dim]} positions along {dim!r}, the result {parameter.sizes[dim]}. "
                    "Select the same positions of both."
                )
            if dim in array.indexes and dim in parameter.indexes:
                require_same_index(array.indexes[dim], parameter.indexes[dim], name, dim, "result")


def _labels(
    dims: Sequence[Hashable], parameter: xr.DataArray, data: Source | None, inputs: Sequence[xr.DataArray]
) -> xr.Coordinates:
    """Coordinates of the values: those of the result, of the data, and of coordinates given by name."""
    merged = xr.Dataset()
    for source in ([] if data is None else [data], inputs, [parameter]):
        for array in source:
            kept = array.coords.to_dataset()
            kept = kept.drop_dims([d for d in kept.dims if d not in dims])
            merged = merged.merge(kept.drop_vars([n for n in kept.variables if n in merged.variables]), join="override")
    return merged.coords


def _shaped_like(out: xr.DataArray, data: Source | None) -> xr.DataArray:
    """With the data's pooled dims, in the data's order."""
    if not isinstance(data, xr.DataArray):
        return out
    pooled = {d: data.sizes[d] for d in data.dims if d not in out.dims}
    if pooled:
        shape = {d: out.sizes.get(d, pooled.get(d)) for d in (*pooled, *out.dims)}
        widened = xr.DataArray(out.variable.set_dims(shape), name=out.name)
        out = widened.assign_coords(data.coords.to_dataset().drop_dims([]).coords).assign_coords(out.coords)
    return out.transpose(*[d for d in data.dims if d in out.dims], ...)


def _name(record: FitRecord) -> str:
    name = record.content["data"]
    return f"{name}_model" if name else "model"
