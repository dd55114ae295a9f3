"""A call, resolved: every name found, every argument checked, and no sample read."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import shorten
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.analysis.checks import refuse_broken
from xr_modelfit.analysis.traits import Whole, find_traits, with_sampling
from xr_modelfit.call.choose_fitter import choose_fitter, grid_of, probe_inputs, refuse_gaps, whole_inputs
from xr_modelfit.call.diagnostics import check_diagnostics, diagnosis_of
from xr_modelfit.call.starts import Starts, check_model, resolve_starts
from xr_modelfit.call.weights import Companions, resolve_companions
from xr_modelfit.execution.computing import Habit, check_scheduler
from xr_modelfit.execution.execution import is_lazy, map_blocks
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block import FitError, fit_block
from xr_modelfit.fitters.block_task import BlockTask, Layout, Role
from xr_modelfit.fitters.compiled.cache_folder import tell_unused
from xr_modelfit.fitters.compiled.choice import compiled_source
from xr_modelfit.fitters.diagnosis import Diagnosis
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.labels.bins import bins_of, numbers_in_fit
from xr_modelfit.labels.coords import Labels, ModelInput, fitted_dims, model_inputs
from xr_modelfit.labels.nodes import EDGE, NODE, WEIGHT, Nodes, sampled
from xr_modelfit.labels.responses import response_of
from xr_modelfit.models.expression import expression_text, parameter_titles, representatives
from xr_modelfit.models.function_models import function_of
from xr_modelfit.models.input_names import input_names, keyed_by_input
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.spreads import Products, Spread
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.parameter_units.system import resolve_units
from xr_modelfit.parameter_units.values import given_units
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.records.metadata import Metadata, dataset_attrs, frame_of, grid_mapping_of
from xr_modelfit.records.record import write_record
from xr_modelfit.records.schema import FIELD, check_names, output_names
from xr_modelfit.records.units import describe_units
from xr_modelfit.units.text import compose_text
from xr_modelfit.units.units import check_equivalencies, measure_of

__all__ = ["Request", "check_options", "resolve_request"]


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Parameters
    ----------
    data : xarray.DataArray
    fitted : tuple of Hashable
        Dims that each fit consumes, in the order of their names.
    system : UnitSystem
    units : tuple of ParameterUnit
    companions : Companions
    problem : Problem
    fitter : BatchLSQFitter or PixelwiseFitter
    layout : Layout
    frame : xarray.Dataset
        The coordinates of the result.
    arrays : dict of Role to xarray.Variable
        All that goes through the blocks; arrays of samples have all fitted dims.
    options : mapping
        Those of `xr_modelfit.fit`.
    diagnosis : Diagnosis or None
    nodes : Nodes or None
        Where the model is evaluated instead of at the samples.
    """

    data: xr.DataArray
    fitted: tuple[Hashable, ...]
    system: UnitSystem
    units: tuple[ParameterUnit, ...]
    companions: Companions
    problem: Problem
    fitter: BatchLSQFitter | PixelwiseFitter
    layout: Layout
    frame: xr.Dataset
    arrays: dict[Role, xr.Variable]
    options: Mapping[str, Any]
    diagnosis: Diagnosis | None = None
    nodes: Nodes | None = None

    @property
    def variables(self) -> list[xr.Variable]:
        return list(self.arrays.values())

    @property
    def core_dims(self) -> list[tuple[Hashable, ...]]:
        """Fitted dims of each array, those of edges, or that of nodes or weights; maps and positions have none."""
        kinds: list[tuple[Hashable, ...]] = [(*self.fitted, EDGE), self.fitted, (NODE,), (WEIGHT,)]
        return [next((dims for dims in kinds if set(dims) <= set(v.dims)), ()) for v in self.variables]

    @cached_property
    def lazy(self) -> bool:
        return is_lazy(*self.variables)

    @property
    def habit(self) -> Habit:
        """How to work on computed input by default."""
        if isinstance(self.fitter, PixelwiseFitter):
            return Habit.one_by_one()
        n_samples = math.prod(self.data.sizes[d] for d in self.fitted)
        traits = self.problem.traits
        long = (traits.expensive or traits.traced is None) and not traits.linear and traits.broadcasts
        return Habit.for_arrays(n_samples, release=long or self.problem.source is not None)

    @property
    def spreads(self) -> dict[Role, Spread | Products]:
        """By what blocks make nodes, and weights of these, from the arrays of a role."""
        if self.nodes is None:
            return {}
        made: dict[Role, Spread | Products] = {Role("input", name): s for name, s in self.nodes.spreads.items()}
        return made if self.nodes.products is None else made | {Role("response"): self.nodes.products}

    @property
    def chi2_units(self) -> str | None:
        """Unit of chi-square: none with errors of the data, the data's squared without weights."""
        if self.companions.weighted:
            return "1" if self.companions.sigma else None
        text = self.system.measure.text
        return None if text is None or self.system.data is not None else compose_text([(text, 2)])

    @property
    def time_attrs(self) -> dict[str, str]:
        """What numbers of time in the result count."""
        axes = [i.measure.time for i in self.system.inputs if i.measure.time is not None]
        if not axes:
            return {}
        calendar = {} if axes[0].calendar is None else {"time_calendar": axes[0].calendar}
        return {"time_units": axes[0].units} | calendar

    def block_function(self, *, replayed: bool = False) -> Callable[..., np.ndarray]:
        """The function of arrays that fits a block; ``replayed`` writes nothing and raises what it meets."""
        o = self.options
        return _BlockFunction(
            BlockTask(
                self.problem,
                self.fitter,
                self.layout,
                tuple(self.arrays),
                n_fitted_dims=len(self.fitted),
                sigma=self.companions.sigma,
                scalar_weight=self.companions.scalar_weight,
                absolute=self.companions.absolute,
                skipna=o["skipna"],
                min_points=o["min_points"],
                keep_failed=o["keep_failed"],
                raising=replayed or (self.lazy and o["errors"] == "raise"),
                diagnosis=None if replayed else self.diagnosis,
                spreads=self.spreads,
            )
        )

    def cause(self, at: Mapping[Hashable, int]) -> BaseException | None:
        """The error that ends the fit at a position, found by fitting it again; None where it just fails."""
        one = [v.isel({d: slice(i, i + 1) for d, i in at.items() if d in v.dims}) for v in self.variables]
        try:
            function = self.block_function(replayed=True)
            map_blocks(function, one, self.core_dims, {FIELD: self.layout.width}, scheduler="synchronous")
        except FitError as error:
            return error.__cause__
        return None

    def metadata(self, prefix: str) -> Metadata:
        """What is said of the result's variables."""
        return Metadata(
            self.units,
            parameter_titles(self.problem.model),
            prefix,
            self.record(prefix),
            self.chi2_units,
            self.time_attrs,
            grid_mapping_of(self.data, self.frame),
        )

    def dataset_attrs(self, source: Mapping[Any, Any]) -> dict[Any, Any]:
        """What is said of the result; ``source`` are attrs of the input."""
        kept = source if self.options["keep_attrs"] else {}
        return dataset_attrs(kept, expression_text(self.problem.model), self.data.name, self.fitted)

    def record(self, prefix: str) -> str:
        """The record of the fit, for the attrs of its ``fit_status``."""
        options = {k: self.options[k] for k in ("skipna", "min_points", "keep_failed")}
        grid = self.problem.traits.grid
        return write_record(
            model=self.problem.model,
            names=self.problem.names,
            fitted=self.fitted,
            grid_dims=None if grid is None else [self.fitted[a] for a in grid.axes],
            **describe_units(self.system, self.units),
            sampled=None if self.nodes is None else self.nodes.described,
            prefix=prefix,
            data=self.data.name,
            **self.fitter.described(self.problem),
            options=options | self.companions.described(),
        )


def resolve_request(labels: Labels, model: Model, dim: Any, prefix: str, options: Mapping[str, Any]) -> Request:
    """Resolve a call by metadata and index coordinates alone.

    Raises
    ------
    ValueError, TypeError
        The call is wrong; the message says what to do.
    """
    check_model(model)
    _check_data(labels.data)
    check_options(prefix, options)
    data = labels.data
    fitted = fitted_dims(labels, dim, options["coords"])
    loop = tuple(d for d in data.dims if d not in fitted)
    system = _resolve_units(labels, model, fitted, options)
    companions = resolve_companions(
        labels, options["where"], options["sigma"], options["weights"], options["absolute_sigma"], system
    )
    starts = resolve_starts(labels, model, options["p0"], options["bounds"], loop, system)
    arrays = _arrays(data, system.inputs, companions.maps, fitted) | starts.maps
    lazy = is_lazy(*arrays.values())
    check_scheduler(options["scheduler"], lazy)
    _refuse_progress_of_lazy(lazy, options["progress"])
    diagnosed = options["diagnostics"] is not None
    if diagnosed or (lazy and options["errors"] == "raise"):
        arrays |= {Role("position", str(d)): xr.Variable([d], np.arange(data.sizes[d])) for d in loop}

    of_call = labels, system.inputs, fitted
    bins = bins_of(*of_call, options["integrate"], numbers_in_fit(system.converted))
    response = response_of(*of_call, options["response"], system.converted)
    tried, probe = _tried(starts, system.inputs, fitted, data, options["pointwise"])
    nodes, at = sampled(tried, bins, response, system.inputs, fitted, data.sizes), probe
    if nodes is not None:
        tried, at = with_sampling(tried, nodes.sampling), nodes.sampling.trial_inputs(probe)
        arrays = _at_nodes(arrays, nodes, diagnosed)
    problem = replace(starts.problem, traits=tried.traits, sampling=tried.sampling)
    of_fitter = (options[name] for name in ("fitter", "fitter_kwargs", "fit_info"))
    fitter = choose_fitter(tried, starts.maps, at, companions.weighted, *of_fitter)
    if isinstance(fitter, BatchLSQFitter):
        n_samples, n_fits = (math.prod(data.sizes[d] for d in dims) for dims in (fitted, loop))
        with caught_warnings():
            source = compiled_source(tried, probe, fitter.engine, n_fits, n_samples, lazy)
        tell_unused()
        problem = replace(problem, source=source)
    layout = Layout(problem.n_parameters, fitter.info_names, options["covariance"], diagnosed)
    frame = frame_of(data, labels.variables, fitted)
    check_names(frame, data, output_names(problem.names, layout, prefix), layout)
    keywords = fitter.keywords if isinstance(fitter, PixelwiseFitter) else None
    diagnosis = diagnosis_of(options, data, fitted, system.inputs, starts.units, keywords, problem.traits.grid is None)
    arrays = _in_inner_units(arrays, system, companions)
    return Request(
        data, fitted, system, starts.units, companions, problem, fitter, layout, frame, arrays, options, diagnosis,
        nodes,
    )  # fmt: skip


def _refuse_progress_of_lazy(lazy: bool, progress: bool) -> None:
    if lazy and progress:
        raise ValueError(
            "progress is True, but the input is dask-backed, so the result is lazy and nothing runs yet. Leave it out; "
            "fit.modelfit.to_zarr(store, progress=True) shows a bar, dask's ProgressBar works with fit.compute()."
        )


def _tried(
    starts: Starts,
    inputs: list[ModelInput],
    fitted: tuple[Hashable, ...],
    data: xr.DataArray,
    pointwise: bool | None,
) -> tuple[Problem, list[np.ndarray]]:
    """The problem with its traits, a copy that may be written to, and the coordinates (n,) on which it was tried."""
    start = starts.problem.start
    probe = probe_inputs(inputs, fitted, data, start)

    def every() -> list[np.ndarray]:
        return whole_inputs(inputs, fitted, data, start)

    with caught_warnings():
        whole = Whole(grid_of(inputs, fitted, data), every, pointwise)
        n_samples = math.prod(data.sizes[d] for d in fitted)
        tried = find_traits(starts.problem.private(), probe, n_samples, whole)  # ties that are tried write to the model
    if tried.traits.grid is not None:
        refuse_gaps(inputs, fitted)
        probe = every()
    _try_out(tried, starts.maps, probe, inputs, fitted, data)
    return tried, probe


def _resolve_units(
    labels: Labels, model: Model, fitted: tuple[Hashable, ...], options: Mapping[str, Any]
) -> UnitSystem:
    coords, function = keyed_by_input(options["coords"], model), function_of(type(model))
    inputs = model_inputs(labels, fitted, coords, input_names(model), options["time_units"], function is not None)
    read = {i.name: i.coordinate for i in inputs}
    told = check_equivalencies(keyed_by_input(options["equivalencies"], model, read.values()), read)

    def probe() -> list[np.ndarray]:
        bare = all(getattr(model, name).unit is None for name in model.param_names)
        return probe_inputs(inputs, fitted, labels.data, np.array(representatives(model)), indexes=bare)

    with caught_warnings():
        given = given_units(options["p0"], options["bounds"], model)
        return resolve_units(model, inputs, measure_of(labels.data), told, probe, given)


def _at_nodes(arrays: dict[Role, xr.Variable], nodes: Nodes, diagnosed: bool) -> dict[Role, xr.Variable]:
    """The arrays with the coordinates of nodes in place of those of samples, and the weights of their values."""
    places = {Role("place", r.name): v for r, v in arrays.items() if r.kind == "input"} if diagnosed else {}
    at = {Role("input", name): values for name, values in nodes.inputs.items()}
    return arrays | at | {Role("response"): nodes.weights} | places


def _try_out(
    problem: Problem,
    maps: Mapping[Role, xr.Variable],
    probe: list[np.ndarray],
    inputs: list[ModelInput],
    fitted: tuple[Hashable, ...],
    data: xr.DataArray,
) -> None:
    """Refuse ties and models that fail wherever they are tried."""
    mapped = np.zeros(problem.n_parameters, dtype=bool)
    mapped[[int(role.name) for role in maps]] = True
    every = max(math.prod(data.sizes[d] for d in fitted), 2)
    known = all(one.values._in_memory and set(one.values.dims) <= set(fitted) for one in inputs)
    refuse_broken(problem, probe, lambda: probe_inputs(inputs, fitted, data, problem.start, most=every), mapped, known)


def _in_inner_units(
    arrays: dict[Role, xr.Variable], system: UnitSystem, companions: Companions
) -> dict[Role, xr.Variable]:
    """The arrays as the fit reads them; last of all, since it may read samples."""
    data, weights = Role("data"), Role("weights")
    if system.data is not None:
        arrays = arrays | {data: system.data.apply(arrays[data])}
    if companions.times != 1.0:
        arrays = arrays | {weights: arrays[weights].astype(float) * companions.times}
    return arrays


class _BlockFunction:
    """`fit_block` with its task, under a name that dask can show."""

    __name__ = "modelfit"

    def __init__(self, task: BlockTask) -> None:
        self.task = task

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return fit_block(*arrays, task=self.task)

    def __dask_tokenize__(self) -> str:
        return self.task.label


def _check_data(data: xr.DataArray) -> None:
    if data.dtype.kind in "iuf":
        return
    advice = {
        "c": (
            "Fit abs(data), or data.real and data.imag together, as the samples of one fit: parts = "
            'xr.concat([data.real, data.imag], xr.Variable("part", [0, 1])), dim=(..., "part"), and a function '
            "f(x, part, ...) that returns np.where(part == 0, z.real, z.imag)."
        ),
        "b": "Make it numbers: data.astype(float).",
        "M": "Make it numbers: (data - data[0]) / np.timedelta64(1, 's'), for one.",
        "m": "Make it numbers: data / np.timedelta64(1, 's'), for one.",
    }.get(data.dtype.kind, "Make it numbers: data.astype(float).")
    name = "The data" if data.name is None else f"The data {data.name!r}"
    raise TypeError(f"{name} holds {data.dtype}; real numbers are needed. {advice}")


def check_options(prefix: Any, o: Mapping[str, Any]) -> None:
    """Refuse options of the wrong kind."""
    if not isinstance(prefix, str):
        raise TypeError(f'prefix is {prefix!r}; it must be a str, "" for none.')
    if not isinstance(o["errors"], str) or o["errors"] not in ("warn", "ignore", "raise"):
        raise ValueError(
            f'errors is {shorten(repr(o["errors"]), 60)}; it must be "warn", "ignore" or "raise", what to do about '
            "fits that fail. Standard errors of the data go to sigma=."
        )
    for name in ("min_points", "fits_per_chunk"):
        value = o[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} is {value!r}; a whole number of 1 or more is needed, or None.")
    for name in ("skipna", "covariance", "keep_failed", "keep_attrs", "progress"):
        if not isinstance(o[name], bool | np.bool_):
            raise TypeError(f"{name} is {o[name]!r}; it must be True or False.")
    if not isinstance(o["pointwise"], bool | np.bool_ | None):
        raise TypeError(f"pointwise is {o['pointwise']!r}; it must be True or False, or None to find out.")
    check_diagnostics(o)


def _arrays(
    data: xr.DataArray,
    inputs: list[ModelInput],
    companions: Mapping[Role, xr.Variable],
    fitted: tuple[Hashable, ...],
) -> dict[Role, xr.Variable]:
    """Arrays of samples by role, each with all fitted dims; views, no copies."""
    sampled: dict[Role, xr.Variable] = {Role("data"): data.variable}
    sampled |= {Role("input", i.name): i.values for i in inputs}
    return {role: _with_dims(v, fitted, data) for role, v in (sampled | dict(companions)).items()}


def _with_dims(variable: xr.Variable, fitted: tuple[Hashable, ...], data: xr.DataArray) -> xr.Variable:
    variable = variable.to_base_variable()
    missing = {d: data.sizes[d] for d in fitted if d not in variable.dims}
    return variable.set_dims({**missing, **variable.sizes}) if missing else variable
