"""A call, resolved: every name found, every argument checked, and no sample read."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.analysis.checks import refuse_broken
from xr_modelfit.analysis.coordinate_errors import more_inputs, with_coordinate_errors
from xr_modelfit.analysis.traits import Whole, find_traits, with_sampling
from xr_modelfit.call.called_model import check_model
from xr_modelfit.call.choose_fitter import choose_fitter, own_info, refuse_clipped
from xr_modelfit.call.correlated import with_noise
from xr_modelfit.call.diagnostics import diagnosis_of
from xr_modelfit.call.exposure import check_exposure, is_of_counts, measure_of_rates
from xr_modelfit.call.job import Job
from xr_modelfit.call.options import FitOptions
from xr_modelfit.call.priors import GivenPriors, resolve_priors
from xr_modelfit.call.start_functions import InUnits, try_estimator
from xr_modelfit.call.start_requests import StartRequest, requests_of
from xr_modelfit.call.starts import Starts, resolve_starts
from xr_modelfit.call.trial_points import TrialPoints
from xr_modelfit.call.weights import Weighting, resolve_weighting
from xr_modelfit.estimates.estimate import Estimator, estimator_for
from xr_modelfit.execution.computing import check_scheduler
from xr_modelfit.execution.execution import is_lazy
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block_task import Layout, Role, refuse_noise, refuse_sides
from xr_modelfit.fitters.compiled.cache_folder import tell_unused
from xr_modelfit.fitters.compiled.choice import compiled_source
from xr_modelfit.fitters.diagnosis import Diagnosis
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.labels.bins import bins_of, numbers_in_fit
from xr_modelfit.labels.coords import Labels, ModelInput, fitted_dims, model_inputs
from xr_modelfit.labels.nodes import Nodes, sampled
from xr_modelfit.labels.responses import response_of
from xr_modelfit.models.expression import representatives
from xr_modelfit.models.function_models import function_of
from xr_modelfit.models.input_names import input_names, keyed_by_input
from xr_modelfit.models.problem import Problem
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.parameter_units.system import resolve_units
from xr_modelfit.parameter_units.values import given_units
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.records.metadata import frame_of
from xr_modelfit.records.schema import check_names, output_names
from xr_modelfit.units.units import check_equivalencies

__all__ = ["resolve"]


def resolve(labels: Labels, model: Model, options: FitOptions, attrs: Mapping[Any, Any]) -> Job:
    """Resolve the fit of one array by metadata and index coordinates alone.

    ``options`` as checked by `options.check_options`; ``attrs`` are those of the input as a whole. Raises ValueError
    or TypeError if the call is wrong; the message says what to do.
    """
    check_model(model)
    _check_data(labels.data)
    check_exposure(options)
    data = labels.data
    fitted = fitted_dims(labels, options.dim, options.coords)
    remaining = tuple(d for d in data.dims if d not in fitted)
    system = _resolve_units(labels, model, fitted, options)
    weighting = resolve_weighting(labels, options, system, is_of_counts(options.fitter))
    requests = requests_of(options.p0, data.dims)
    starts = resolve_starts(labels, model, requests, options.bounds, remaining, system)
    priors = resolve_priors(labels, options.priors, starts, remaining, system)
    arrays = _arrays(data, system.inputs, weighting.maps, fitted) | starts.maps | priors.maps
    lazy = is_lazy(*arrays.values())
    check_scheduler(options.scheduler, lazy)
    _refuse_progress_of_lazy(lazy, options.progress)
    diagnosed = options.diagnostics is not None
    if diagnosed or (lazy and options.errors == "raise"):
        arrays |= {Role("position", str(d)): xr.Variable([d], np.arange(data.sizes[d])) for d in remaining}

    of_call = labels, system.inputs, fitted
    bins = bins_of(*of_call, options.integrate, numbers_in_fit(system.converted))
    response = response_of(*of_call, options.response, system.converted)
    points = TrialPoints(system.inputs, fitted, data)
    tried, at = _tried(starts, points, options.pointwise)
    nodes = sampled(tried, bins, response, system.inputs, fitted, data.sizes)
    at_samples = at
    if nodes is not None:
        tried, at = with_sampling(tried, nodes.sampling), nodes.sampling.trial_inputs(at)
        arrays = _at_nodes(arrays, nodes, diagnosed or bool(starts.estimated.any()))
    estimators = tuple(
        _estimator(one, asked, tried, starts.units, points)
        for one, asked in zip(requests, starts.estimated, strict=True)
    )
    own, info = own_info(options.fit_info)
    of_fitter = options.fitter, options.fitter_kwargs, info
    fitter = choose_fitter(tried, starts.maps, at, weighting.weighted, *of_fitter)
    problem = replace(starts.problem, traits=tried.traits, sampling=tried.sampling)
    _refuse_noise(problem, fitter, priors, weighting, options)
    refuse_sides([role.kind for role in arrays], fitter)
    weighted = _with_coordinate_errors(tried) if Role("coord_sigma") in arrays else None
    if isinstance(fitter, BatchLSQFitter):
        n_fits = math.prod(data.sizes[d] for d in remaining)
        two = nodes is not None and not {Role("weights_above"), Role("limit")}.isdisjoint(arrays)
        engine = "numpy" if two or options.noise is not None else fitter.engine  # compiled loops have one weight there
        solved = tried if weighted is None else weighted
        with caught_warnings():
            source = compiled_source(solved, more_inputs(solved, at_samples), engine, n_fits, points.n_samples)
        tell_unused()
        problem = replace(problem, source=source)
        weighted = None if weighted is None else replace(weighted, source=source)
    layout = _layout(fitter, options, own, problem.n_parameters, bool(priors.maps), [data.sizes[d] for d in fitted])
    frame = frame_of(data, labels.variables, fitted)
    check_names(frame, data, output_names(problem.names, layout, options.prefix), layout)
    job = Job(
        data, fitted, system, starts.units, weighting, problem, fitter, layout, frame,
        _in_inner_units(arrays, system, weighting), options, attrs,
        _diagnosis(options, data, fitted, system, starts, fitter, problem), nodes, estimators,
        priors=priors.described, weighted=weighted,
    )  # fmt: skip
    return with_noise(job, labels, at_samples, points.n_samples)


def _refuse_noise(
    problem: Problem,
    fitter: BatchLSQFitter | PixelwiseFitter,
    priors: GivenPriors,
    weighting: Weighting,
    options: FitOptions,
) -> None:
    """See `fitters.block_task.refuse_noise`; whether a covariance of the noise is absolute is found out later."""
    absolute = weighting.absolute or options.noise is not None
    refuse_noise(problem, fitter, priors.numbers, weighting.sigma, absolute)


def _layout(
    fitter: BatchLSQFitter | PixelwiseFitter,
    options: FitOptions,
    own: set[str],
    n_parameters: int,
    priors: bool,
    sizes: Sequence[int],
) -> Layout:
    """What the packed array holds; ``sizes`` are those of fitted dims, ``own`` is what ``fit_info`` asks of any fit.

    Raises
    ------
    ValueError
        It asks for something that the fitter does not do.
    """
    if "clipped" in own:
        refuse_clipped(fitter)
    return Layout(
        n_parameters, fitter.info_names, options.covariance, options.diagnostics is not None, "start" in own,
        "n_reached" in own, priors, math.prod(sizes) if "clipped" in own else None,
    )  # fmt: skip


def _with_coordinate_errors(problem: Problem) -> Problem:
    """What is solved where the coordinate has errors.

    Raises
    ------
    ValueError
        The slope of the model along its coordinate is not known.
    """
    found = with_coordinate_errors(problem)
    if found is None:
        what = "has bins or a response" if problem.sampling is not None else "cannot be written as such"
        raise ValueError(
            "coord_sigma is given, which needs the model as an expression, and its slope: this one "
            f"{what}. Leave it out, and make sigma larger by the slope of an earlier fit: "
            "sigma=np.hypot(sigma, slope * coord_sigma)."
        )
    return found


def _estimator(
    request: StartRequest, asked: np.ndarray, problem: Problem, units: Sequence[ParameterUnit], points: TrialPoints
) -> Estimator | None:
    """What estimates one of the starts; None where all are given.

    Raises ValueError if the user's function fails on the model's own values.
    """
    if not asked.any():
        return None
    found = estimator_for(problem.at_nodes, asked)
    if request.function is not None:
        found = replace(
            found,
            function=InUnits(
                request.function, problem.names, tuple(problem.model.param_names), tuple(one.inward for one in units)
            ),
        )
    if found.function is not None:
        try_estimator(found, problem.at_nodes, points.all(problem.start))
    return found


def _diagnosis(
    options: FitOptions,
    data: xr.DataArray,
    fitted: tuple[Hashable, ...],
    system: UnitSystem,
    starts: Starts,
    fitter: BatchLSQFitter | PixelwiseFitter,
    problem: Problem,
) -> Diagnosis | None:
    asked = options.diagnostics, options.diagnostics_path, options.diagnostics_callable
    keywords = fitter.keywords if isinstance(fitter, PixelwiseFitter) else None
    return diagnosis_of(*asked, data, fitted, system.inputs, starts.units, keywords, problem.traits.grid is None)


def _refuse_progress_of_lazy(lazy: bool, progress: bool) -> None:
    if lazy and progress:
        raise ValueError(
            "progress is True, but the input is dask-backed, so the result is lazy and nothing runs yet. Leave it out; "
            "fit.modelfit.to_zarr(store, progress=True) shows a bar, dask's ProgressBar works with fit.compute()."
        )


def _tried(starts: Starts, points: TrialPoints, pointwise: bool | None) -> tuple[Problem, list[np.ndarray]]:
    """The problem with its traits, a copy that may be written to, and the coordinates (n,) on which it was tried.

    Raises ValueError if the model or a tie fails wherever it is tried.
    """
    start = starts.problem.start
    at = points.some(start)
    with caught_warnings():
        whole = Whole(points.grid, lambda: points.all(start), pointwise)
        tried = find_traits(starts.problem.private(), at, points.n_samples, whole)  # ties write to the model
    if tried.traits.grid is not None:
        points.refuse_gaps()
        at = points.all(start)
    mapped = np.zeros(tried.n_parameters, dtype=bool)
    mapped[[int(role.name) for role in starts.maps]] = True
    every = max(points.n_samples, 2)
    refuse_broken(tried, at, lambda: points.some(start, most=every), mapped, points.shared)
    return tried, at


def _resolve_units(labels: Labels, model: Model, fitted: tuple[Hashable, ...], options: FitOptions) -> UnitSystem:
    coords, function = keyed_by_input(options.coords, model), function_of(type(model))
    inputs = model_inputs(labels, fitted, coords, input_names(model), options.time_units, function is not None)
    read = {i.name: i.coordinate for i in inputs}
    by_input = check_equivalencies(keyed_by_input(options.equivalencies, model, read.values()), read)

    def probe() -> list[np.ndarray]:
        bare = all(getattr(model, name).unit is None for name in model.param_names)
        return TrialPoints(inputs, fitted, labels.data).some(np.array(representatives(model)), indexes=bare)

    with caught_warnings():
        given = given_units(options.p0, options.bounds, options.priors, model)
        return resolve_units(model, inputs, measure_of_rates(labels, options), by_input, probe, given)


def _at_nodes(arrays: dict[Role, xr.Variable], nodes: Nodes, diagnosed: bool) -> dict[Role, xr.Variable]:
    """The arrays with the coordinates of nodes in place of those of samples, and the weights of their values."""
    places = {Role("place", r.name): v for r, v in arrays.items() if r.kind == "input"} if diagnosed else {}
    at = {Role("input", name): values for name, values in nodes.inputs.items()}
    return arrays | at | {Role("response"): nodes.weights} | places


def _in_inner_units(
    arrays: dict[Role, xr.Variable], system: UnitSystem, weighting: Weighting
) -> dict[Role, xr.Variable]:
    """The arrays as the fit reads them; last of all, since it may read samples."""
    data = Role("data")
    if system.data is not None and not weighting.counted:
        arrays = arrays | {data: system.data.apply(arrays[data])}
    for role, times in weighting.multiplied.items():
        if times != 1.0:
            arrays = arrays | {role: arrays[role].astype(float) * times}
    return arrays


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
        "M": "Make it numbers, for example (data - data[0]) / np.timedelta64(1, 's').",
        "m": "Make it numbers, for example data / np.timedelta64(1, 's').",
    }.get(data.dtype.kind, "Make it numbers: data.astype(float).")
    name = "The data" if data.name is None else f"The data {data.name!r}"
    raise TypeError(f"{name} holds {data.dtype}; real numbers are needed. {advice}")


def _arrays(
    data: xr.DataArray,
    inputs: list[ModelInput],
    others: Mapping[Role, xr.Variable],
    fitted: tuple[Hashable, ...],
) -> dict[Role, xr.Variable]:
    """Arrays of samples by role, each with all fitted dims; views, no copies."""
    sampled: dict[Role, xr.Variable] = {Role("data"): data.variable}
    sampled |= {Role("input", i.name): i.values for i in inputs}
    return {role: _with_dims(v, fitted, data) for role, v in (sampled | dict(others)).items()}


def _with_dims(variable: xr.Variable, fitted: tuple[Hashable, ...], data: xr.DataArray) -> xr.Variable:
    variable = variable.to_base_variable()
    missing = {d: data.sizes[d] for d in fitted if d not in variable.dims}
    return variable.set_dims({**missing, **variable.sizes}) if missing else variable
