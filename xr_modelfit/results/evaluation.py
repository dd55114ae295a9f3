"""The model of a result at any coordinates."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Hashable, Mapping
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
from xr_modelfit.models.sampling import Products, Spread
from xr_modelfit.parameter_units.tables import as_fitted
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.records.record import FitRecord, RecordError, as_recorded, build_model
from xr_modelfit.records.units import coordinate_numbers, in_units_of_data, parameter_numbers, recorded_measure
from xr_modelfit.results.evaluation_blocks import EvaluateBlock
from xr_modelfit.results.instrument import recorded_nodes
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

__all__ = ["FIELD", "Evaluation", "evaluate", "matching"]

FIELD = "_modelfit_field"
_PROBE = 50  # coordinates on which the model is tried with many fits at once


@dataclass(frozen=True)
class Evaluation:
    """The model of a fit, its parameters and coordinates, all as numbers inside the fit."""

    record: FitRecord
    template: Model
    parameters: list[xr.DataArray]  # over the remaining dims, at the positions of the data
    inputs: list[xr.DataArray]  # the coordinate of each model input, as it was given
    numbers: list[xr.Variable]  # the coordinates as numbers inside the fit
    data: Source | None
    nodes: Nodes | None = None  # the points of bins and responses, if there are any

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
        variables: Mapping[Hashable, xr.DataArray] | None = None,
    ) -> Evaluation:
        """Find what the record names, and refuse what does not match; reads no sample.

        ``integrate`` and ``response`` are as in the fit; None means those of the fit. The names in them may be those of
        ``variables``, of variables of ``obj``, and of coordinates.
        """
        template = matching(model, record)
        data = None if obj is None else one_variable(obj, record)
        maps = [record.parameter(result, name) for name in record.names]
        inputs = coordinates(record, data, coords, {*maps[0].dims, *maps[0].coords})
        asked = check_equivalencies(equivalencies, {one["name"]: one["coordinate"] for one in record.inputs})
        with as_recorded():
            parameters = [parameter_numbers(one, record.units, j) for j, one in enumerate(maps)]
        if data is not None:
            parameters = [at_positions(p, data) for p in parameters]
        for x in inputs:
            title = "A coordinate" if x.name is None else f"The coordinate {x.name!r}"
            require_same_positions(x, title, parameters[0], "result")
        with as_recorded():
            both = zip(inputs, record.inputs, strict=True)
            numbers = [coordinate_numbers(x, one, asked.get(one["name"])) for x, one in both]
        at = cls(record, template, parameters, inputs, numbers, data)
        measured = [
            ModelInput(one["name"], one["coordinate"], values, recorded_measure(one))
            for one, values in zip(record.inputs, numbers, strict=True)
        ]
        with as_recorded() if integrate is None and response is None else nullcontext():
            nodes = recorded_nodes(
                record, measured, at._labels(obj, variables or {}), tuple(at.new), integrate, response
            )
        return replace(at, nodes=nodes)

    def _labels(self, obj: Any, variables: Mapping[Hashable, xr.DataArray]) -> Labels:
        """The dims of the values, and the arrays that names in the call may mean."""
        known, found = plain(obj), dict(variables)
        if isinstance(known, xr.DataArray):
            found |= known.coords
        for array in self.inputs:
            found |= array.coords
        if isinstance(known, xr.Dataset):
            found |= {n: known[n] for n in known.variables}
        first = self.parameters[0]
        sizes = {**first.sizes, **self.new}
        indexes = {d: i for array in (first, *self.inputs) for d, i in array.indexes.items() if d in sizes}
        shape = np.broadcast_to(0.0, tuple(sizes.values()))
        return Labels(xr.DataArray(shape, dims=list(sizes), coords={d: (d, i) for d, i in indexes.items()}), found)

    @cached_property
    def new(self) -> dict[Hashable, int]:
        """Dims of the values that the parameters lack."""
        remaining = self.parameters[0].dims
        return {d: x.sizes[d] for x in self.numbers for d in x.dims if d not in remaining}

    def values(self, part: Part | None = None) -> xr.Variable:
        """Values of the model, or of a part of it, as numbers inside the fit."""
        if part is not None and not part.additive and self.nodes is not None:
            # The mean of a product is not the product of means.
            return replace(self, nodes=None).values(part)
        values = self._mapped(part)
        return values if part is None or part.sign == 1 else -values

    def values_and_errors(self, at_bound: xr.Variable, covariance: xr.Variable) -> xr.Variable:
        """Values of the model and their standard errors, along `FIELD`, as numbers inside the fit."""
        return self._mapped(None, at_bound, covariance)

    def _mapped(self, part: Part | None, *errors: xr.Variable) -> xr.Variable:
        """The model evaluated block by block; with errors, given the bound flag and the covariance."""
        K, new, nodes = len(self.parameters), self.new, self.nodes
        part = Part("", self.template, tuple(range(K))) if part is None else part
        if nodes is None:
            inputs = self.numbers
            core = [tuple(d for d in new if d in v.dims) for v in inputs]
            spreads: list[Spread | Products | None] = [None] * len(inputs)
        else:
            inputs = [*nodes.inputs.values(), nodes.weights]
            core = [(*new, EDGE) if EDGE in v.dims else (v.dims[-1],) for v in inputs]
            spreads = [*map(nodes.spreads.get, nodes.inputs), nodes.products]
        problem = self._problem(part.model, bool(errors))
        block = EvaluateBlock(
            problem, part.parameters, K, tuple(core), tuple(new.items()), tuple(spreads), bool(errors)
        )
        variables = [*(p.variable for p in self.parameters), *errors, *inputs]
        data = self.data
        if isinstance(data, xr.DataArray) and data.chunks is not None and not is_lazy(*variables):
            variables[0] = chunked_like(data.variable, variables[0])
        remaining = self.parameters[0].dims
        own = [tuple(d for d in v.dims if d not in remaining) for v in variables[: K + len(errors)]]
        return map_blocks(block, variables, [*own, *core], {**new, **({FIELD: 2} if errors else {})})

    def _problem(self, model: Model, derivatives: bool) -> Problem:
        """The numeric view of the model or of a part of it, with all its parameters free."""
        start = np.array(model.parameters, dtype=float)
        probe = [np.resize(about(start, _PROBE) if x is None else x, _PROBE) for x in map(_some, self.numbers)]
        fixed = np.zeros(start.shape, dtype=bool)
        unbounded = np.full(start.shape, np.inf)
        problem = Problem(model, tuple(result_names(model)), start, -unbounded, unbounded, fixed, (None,) * start.size)
        with caught_warnings():
            if derivatives:
                n = math.prod(self.new.values())
                every = [np.resize(about(start, n) if x is None else x, n) for x in map(self._of_a_fit, self.numbers)]
                whole = Whole(self.grid or Grid.line(n), lambda: every, pointwise=self.grid is None)
                problem = find_traits(problem, probe, n, whole)
            else:
                problem = with_broadcasting(problem, probe, self.grid)
        return problem if self.nodes is None else replace(problem, sampling=self.nodes.sampling)

    @property
    def grid(self) -> Grid | None:
        """The new dims in the order of the fit, for a model that sees all samples; None for a pointwise one."""
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
        return np.array(one.set_dims({**self.new, **one.sizes}).transpose(*self.new).values, dtype=float).reshape(-1)

    def labelled(self, values: xr.Variable, name: str | None) -> xr.DataArray:
        """Values with the coordinates of data, inputs and result, in the order of the data."""
        labels = labels_of(values.dims, self.parameters[0], self.data, self.inputs)
        return shaped_like(xr.DataArray(values, coords=labels, name=name), self.data)


def evaluate(at: Evaluation) -> xr.DataArray:
    """Model values of every fit; see `accessor.result_methods.ResultMethods.evaluate`."""
    return at.labelled(in_units_of_data(at.values(), at.record.units), at.record.model_name)


def _some(numbers: xr.Variable) -> np.ndarray | None:
    """A few finite coordinates; None where they are not in memory."""
    if not numbers._in_memory or not numbers.size:
        return None
    flat = np.asarray(numbers.values, dtype=float).ravel()
    flat = flat[np.linspace(0, flat.size - 1, min(flat.size, _PROBE)).astype(int)]
    flat = flat[np.isfinite(flat)]
    return flat if flat.size else None


def matching(model: ModelArg | None, record: FitRecord) -> Model:
    """The model, or that of the record, after its parameters and inputs were found to be those of the fit."""
    given = build_model(record.content["model"]) if model is None else model
    found: Model = as_model(given, dict.fromkeys(record.names, 1.0))
    names = list(result_names(found))
    if names != record.names:
        raise RecordError(
            f"model has the parameters {listed(names)}, but the fit had {listed(record.names)}. "
            "Pass the model or the function that was fitted."
        )
    if found.n_inputs != len(record.inputs):
        read = [one["name"] for one in record.inputs]
        raise RecordError(
            f"model has the inputs {listed(input_names(found))}, but the fit read {listed(read)}. "
            "Pass the model or the function that was fitted."
        )
    return as_fitted(found, record.content["model"])
