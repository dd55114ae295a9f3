"""The model of a result at any coordinates."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.analysis.probing import about
from xr_modelfit.analysis.traits import Whole, find_traits, with_broadcasting
from xr_modelfit.execution.execution import chunked_like, is_lazy, map_blocks
from xr_modelfit.labels.coords import Labels, ModelInput
from xr_modelfit.labels.nodes import EDGE, Nodes
from xr_modelfit.messages import listed
from xr_modelfit.models.expression import Part, result_names
from xr_modelfit.models.function_models import ModelArg, as_model
from xr_modelfit.models.grid import Grid
from xr_modelfit.models.input_names import input_names
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.spreads import Products, Spread
from xr_modelfit.parameter_units.tables import as_fitted
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.records.record import FitRecord, RecordError, as_recorded, build_model
from xr_modelfit.records.units import coordinate_numbers, in_units_of_data, parameter_numbers, recorded_measure
from xr_modelfit.results.evaluation_blocks import EvaluateBlock
from xr_modelfit.results.nodes_again import nodes_again
from xr_modelfit.results.points import (
    Source,
    at_positions,
    coordinates,
    labels_of,
    one_variable,
    require_same_positions,
    shaped_like,
)
from xr_modelfit.units.units import check_equivalencies, plain

__all__ = ["Evaluation", "evaluate", "matching", "model_name", "parameter_of"]

_PROBE = 50  # coordinates on which it is tried whether a model takes many fits at once


@dataclass(frozen=True)
class Evaluation:
    """The model of a fit, its parameters and coordinates, all as numbers inside the fit.

    Parameters
    ----------
    record : FitRecord
    template : astropy.modeling.Model
    parameters : list of DataArray
        Where the data is, over the remaining dims.
    inputs : list of DataArray
        What each model input reads, as it was given.
    numbers : list of Variable
        The same as numbers.
    data : DataArray, Dataset or None
    nodes : Nodes or None
        Where the model is evaluated instead, and how samples are made of its values there.
    """

    record: FitRecord
    template: Model
    parameters: list[xr.DataArray]
    inputs: list[xr.DataArray]
    numbers: list[xr.Variable]
    data: Source | None
    nodes: Nodes | None = None

    @classmethod
    def resolve(
        cls,
        result: xr.Dataset,
        record: FitRecord,
        obj: Any,
        coords: Mapping[str, Any],
        model: ModelArg | None = None,
        equivalencies: Any = None,
        integrate: Any = None,
        response: Any = None,
        beside: Mapping[Hashable, xr.DataArray] | None = None,
    ) -> Evaluation:
        """Find what the record names, and refuse what does not fit; reads no sample.

        ``integrate`` and ``response``: as in the fit; None: those of the fit. ``beside``: what names in these may stand
        for, beside the variables of ``obj``.

        Raises
        ------
        RecordError, ValueError, TypeError
        """
        template = matching(build_model(record.content["model"]) if model is None else model, record)
        data = one_variable(obj, record)
        inputs = coordinates(record, data, coords)
        told = check_equivalencies(equivalencies, {one["name"]: one["coordinate"] for one in record.inputs})
        with as_recorded():
            parameters = [
                parameter_numbers(parameter_of(result, record, name), record.units, j)
                for j, name in enumerate(record.names)
            ]
        if data is not None:
            parameters = [at_positions(p, data) for p in parameters]
        require_same_positions(parameters[0], inputs)
        with as_recorded():
            numbers = [
                coordinate_numbers(x, one, told.get(one["name"])) for x, one in zip(inputs, record.inputs, strict=True)
            ]
        at = cls(record, template, parameters, inputs, numbers, data)
        with as_recorded() if integrate is None and response is None else nullcontext():
            nodes = nodes_again(record, at.measured, at.labels(obj, beside or {}), tuple(at.new), integrate, response)
        return replace(at, nodes=nodes)

    @property
    def measured(self) -> list[ModelInput]:
        """The coordinates as the fit had them."""
        return [
            ModelInput(one["name"], one["coordinate"], values, recorded_measure(one))
            for one, values in zip(self.record.inputs, self.numbers, strict=True)
        ]

    def labels(self, obj: Any, beside: Mapping[Hashable, xr.DataArray]) -> Labels:
        """What names may stand for, over the dims of the values."""
        known = plain(obj)
        variables = {n: known[n] for n in known.variables} if isinstance(known, xr.Dataset) else {}
        variables = {n: c for array in self.inputs for n, c in array.coords.items()} | variables
        if isinstance(known, xr.DataArray):
            variables = {**known.coords} | variables
        variables = dict(beside) | variables
        first = self.parameters[0]
        sizes = {**first.sizes, **self.new}
        kept = {d: i for d, i in [*first.indexes.items()] if d in sizes}
        for array in self.inputs:
            kept |= {d: i for d, i in array.indexes.items() if d in sizes}
        shape = np.broadcast_to(0.0, tuple(sizes.values()))
        return Labels(xr.DataArray(shape, dims=list(sizes), coords={d: (d, i) for d, i in kept.items()}), variables)

    @cached_property
    def new(self) -> dict[Hashable, int]:
        """Dims of the values that the parameters lack."""
        loop = self.parameters[0].dims
        return {d: x.sizes[d] for x in self.numbers for d in x.dims if d not in loop}

    def problem(self, model: Model, derivatives: bool = False) -> Problem:
        """The numeric view of the model or of a part of it, with all its parameters free."""
        start = np.array(model.parameters, dtype=float)
        probe = [about(start, _PROBE) if x is None else x for x in map(_some, self.numbers)]
        fixed = np.zeros(start.shape, dtype=bool)
        unbounded = np.full(start.shape, np.inf)
        names = tuple(result_names(model))
        problem = Problem(model, names, start, -unbounded, unbounded, fixed, (None,) * start.size)
        probe = [np.resize(x, _PROBE) for x in probe]
        grid = self.grid
        with caught_warnings():
            if not derivatives:
                return self._sampled(with_broadcasting(problem, probe, grid))
            n = math.prod(self.new.values())
            every = [np.resize(about(start, n) if x is None else x, n) for x in map(self._of_a_fit, self.numbers)]
            whole = Whole(grid or Grid.line(n), lambda: every, pointwise=grid is None)
            return self._sampled(find_traits(problem, probe, n, whole))

    def _sampled(self, problem: Problem) -> Problem:
        return problem if self.nodes is None else replace(problem, sampling=self.nodes.sampling)

    @property
    def grid(self) -> Grid | None:
        """The new dims as the model gets them, where it sees all samples of a fit: in the order of the fit."""
        dims = self.record.grid_dims
        if dims is None:
            return None
        names = [str(d) for d in self.new]
        axes = [names.index(d) for d in dims if d in names] + [i for i, d in enumerate(names) if d not in dims]
        return Grid(tuple(self.new.values()), tuple(axes))

    def _of_a_fit(self, numbers: xr.Variable) -> np.ndarray | None:
        """All coordinates of the first fit; None where they are not in memory."""
        if not numbers._in_memory or not numbers.size:
            return None
        one = numbers.isel({d: 0 for d in numbers.dims if d not in self.new})
        absent = {d: n for d, n in self.new.items() if d not in one.dims}
        return np.array(one.set_dims({**absent, **one.sizes}).transpose(*self.new).values, dtype=float).reshape(-1)

    def apply(
        self, function: Any, extra: Sequence[xr.Variable] = (), output: Mapping[Hashable, int] | None = None
    ) -> xr.Variable:
        """Map a block function of parameters, ``extra`` and inputs; values end with the new dims, then ``output``."""
        variables = [p.variable for p in self.parameters] + list(extra) + self.read
        data = self.data
        if isinstance(data, xr.DataArray) and data.chunks is not None and not is_lazy(*variables):
            variables = [chunked_like(data.variable, variables[0]), *variables[1:]]
        loop = self.parameters[0].dims
        core = [tuple(d for d in v.dims if d not in loop) for v in variables]
        core[len(variables) - len(self.read) :] = self.core
        return map_blocks(function, variables, core, {**self.new, **(output or {})})

    def values(self, part: Part | None = None) -> xr.Variable:
        """Values of the model, or of a part of it, as numbers inside the fit."""
        part = Part("", self.template, tuple(range(len(self.parameters)))) if part is None else part
        if not part.additive and self.nodes is not None:  # a factor has no mean of its own
            return replace(self, nodes=None).values(part)
        block = EvaluateBlock(
            self.problem(part.model), part.parameters, len(self.parameters), self.core, self.new_dims, self.spreads
        )
        values = self.apply(block)
        return values if part.sign == 1 else -values

    @property
    def read(self) -> list[xr.Variable]:
        """What the model reads: coordinates, or those of nodes and the weights of its values there."""
        return self.numbers if self.nodes is None else [*self.nodes.inputs.values(), self.nodes.weights]

    @property
    def core(self) -> tuple[tuple[Hashable, ...], ...]:
        """New dims of each coordinate; those of edges, nodes and weights."""
        if self.nodes is not None:
            return tuple((*self.new, EDGE) if EDGE in v.dims else (v.dims[-1],) for v in self.read)
        return tuple(tuple(d for d in self.new if d in v.dims) for v in self.numbers)

    @property
    def spreads(self) -> tuple[Spread | Products | None, ...]:
        """By what each array of `read` is made to nodes or weights of these, None for those that are not."""
        nodes = self.nodes
        if nodes is None:
            return (None,) * len(self.read)
        return (*(nodes.spreads.get(name) for name in nodes.inputs), nodes.products)

    @property
    def new_dims(self) -> tuple[tuple[Hashable, int], ...]:
        """`new` as block functions take it."""
        return tuple(self.new.items())

    def labelled(self, values: xr.Variable, name: str | None) -> xr.DataArray:
        """Values with the coordinates of data, inputs and result, in the order of the data."""
        labels = labels_of(values.dims, self.parameters[0], self.data, self.inputs)
        return shaped_like(xr.DataArray(values, coords=labels, name=name), self.data)


def evaluate(at: Evaluation) -> xr.DataArray:
    """Model values of every fit; see `accessor.result_methods.ResultMethods.evaluate`."""
    return at.labelled(in_units_of_data(at.values(), at.record.units), model_name(at.record))


def _some(numbers: xr.Variable) -> np.ndarray | None:
    """A few finite coordinates; None where they are not in memory."""
    if not numbers._in_memory or not numbers.size:
        return None
    flat = np.asarray(numbers.values, dtype=float).ravel()
    flat = flat[np.linspace(0, flat.size - 1, min(flat.size, _PROBE)).astype(int)]
    flat = flat[np.isfinite(flat)]
    return flat if flat.size else None


def matching(model: ModelArg, record: FitRecord) -> Model:
    """The model for a record, if its parameters and inputs are those of the fit; also that of a function."""
    model = as_model(model, dict.fromkeys(record.names, 1.0))
    names = list(result_names(model))
    if names != record.names:
        raise RecordError(
            f"model has the parameters {listed(names)}, but the fit had {listed(record.names)}. "
            "Pass an instance of the model that was fitted."
        )
    if model.n_inputs != len(record.inputs):
        read = [one["name"] for one in record.inputs]
        raise RecordError(
            f"model has the inputs {listed(input_names(model))}, but the fit read {listed(read)}. "
            "Pass an instance of the model that was fitted."
        )
    return as_fitted(model, record.content["model"])


def parameter_of(result: xr.Dataset, record: FitRecord, name: str) -> xr.DataArray:
    """The map of a parameter."""
    variable = record.variable(name)
    if variable not in result:
        raise RecordError(
            f"The result has no variable {variable!r}, which its record names; it has {listed(result.data_vars)}. "
            "Keep the parameters of a fit together, under the names that the fit gave."
        )
    return result[variable]


def model_name(record: FitRecord) -> str:
    """What values of the model are called."""
    name = record.content["data"]
    return f"{name}_model" if name else "model"
