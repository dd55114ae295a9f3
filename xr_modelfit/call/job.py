"""A resolved fit of one array, to be run at all positions or at a part of them."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.options import FitOptions
from xr_modelfit.call.start_requests import described_starts
from xr_modelfit.call.starts import START
from xr_modelfit.call.weights import Weighting
from xr_modelfit.estimates.estimate import Estimator
from xr_modelfit.execution.computing import ExecutionDefaults, resolve_scheduler
from xr_modelfit.execution.execution import computed_chunks, fill_blocks, is_lazy, lazy_chunks, map_blocks
from xr_modelfit.execution.progress import Tell
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block import FitError, fit_block, start_block
from xr_modelfit.fitters.block_task import BlockTask, Layout, Role
from xr_modelfit.fitters.correlated.solving import CorrelatedNoise
from xr_modelfit.fitters.diagnosis import Diagnosis
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.labels.covariances import OTHER
from xr_modelfit.labels.nodes import EDGE, NODE, WEIGHT, Nodes
from xr_modelfit.models.expression import expression_text, parameter_titles
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Products, Spread
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.records.metadata import Metadata, coordinates_of_samples, counting, dataset_attrs, grid_mapping_of
from xr_modelfit.records.record import write_record
from xr_modelfit.records.schema import FIELD, Fields, Maps, label, lazy_fields
from xr_modelfit.records.units import describe_units
from xr_modelfit.units.text import compose_text

__all__ = ["BlockFunction", "Job"]

Work = tuple[Callable[..., np.ndarray], Sequence[xr.Variable], list[tuple[Hashable, ...]], dict[Hashable, int]]


@dataclass(frozen=True)
class Job:
    """One fit of one array: what was found out about it, to be run at all positions or at a part of them.

    Parameters
    ----------
    data : xarray.DataArray
    fitted : tuple of Hashable
        Dims that each fit consumes, in the order of their names.
    system : UnitSystem
    units : tuple of ParameterUnit
    weighting : Weighting
    problem : Problem
    fitter : BatchLSQFitter or PixelwiseFitter
    layout : Layout
    frame : xarray.Dataset
        The coordinates of the result.
    arrays : dict of Role to xarray.Variable
        All that goes through the blocks; arrays of samples have all fitted dims.
    options : FitOptions
    attrs : mapping
        Attrs of the input that the result may get.
    diagnosis : Diagnosis or None
    nodes : Nodes or None
        Where the model is evaluated instead of at the samples.
    estimators : tuple of Estimator or None
        One for each start of a fit; None where starts are given.
    adapted : bool
        Starts are found by another fit: one that is NaN or outside its bounds is no mistake.
    priors : mapping
        What the record says of priors, by parameter.
    weighted : Problem or None
        What is solved instead where the coordinate has errors.
    correlation : CorrelatedNoise or None
        How noise is correlated along the fitted dim.
    """

    data: xr.DataArray
    fitted: tuple[Hashable, ...]
    system: UnitSystem
    units: tuple[ParameterUnit, ...]
    weighting: Weighting
    problem: Problem
    fitter: BatchLSQFitter | PixelwiseFitter
    layout: Layout
    frame: xr.Dataset
    arrays: dict[Role, xr.Variable]
    options: FitOptions
    attrs: Mapping[Any, Any]
    diagnosis: Diagnosis | None = None
    nodes: Nodes | None = None
    estimators: tuple[Estimator | None, ...] = (None,)
    adapted: bool = False
    priors: Mapping[str, Any] = field(default_factory=dict)
    weighted: Problem | None = None
    correlation: CorrelatedNoise | None = None

    @property
    def fitted_problem(self) -> Problem:
        """What the fitter gets: the model at the samples, or at whitened ones."""
        return self.problem if self.correlation is None else self.correlation.problem

    @property
    def variables(self) -> list[xr.Variable]:
        return list(self.arrays.values())

    @property
    def core_dims(self) -> list[tuple[Hashable, ...]]:
        """Fitted dims of each array, those of edges, or that of nodes or weights; maps and positions have none."""
        kinds: list[tuple[Hashable, ...]] = [
            (*self.fitted, EDGE),
            (*self.fitted, OTHER),
            self.fitted,
            (NODE,),
            (WEIGHT,),
            (START,),
        ]
        return [next((dims for dims in kinds if set(dims) <= set(v.dims)), ()) for v in self.variables]

    @cached_property
    def lazy(self) -> bool:
        return is_lazy(*self.variables)

    @property
    def defaults(self) -> ExecutionDefaults:
        """How to work on computed input by default."""
        if isinstance(self.fitter, PixelwiseFitter):
            return ExecutionDefaults.one_by_one()
        n_samples = math.prod(self.data.sizes[d] for d in self.fitted)
        traits = self.problem.traits
        long = (traits.expensive or traits.traced is None) and not traits.linear and traits.broadcasts
        return ExecutionDefaults.for_arrays(n_samples, release=long or self.fitted_problem.source is not None)

    @property
    def spreads(self) -> dict[Role, Spread | Products]:
        """By what blocks make nodes, and weights of these, from the arrays of a role."""
        if self.nodes is None:
            return {}
        made: dict[Role, Spread | Products] = {Role("input", name): s for name, s in self.nodes.spreads.items()}
        return made if self.nodes.products is None else made | {Role("response"): self.nodes.products}

    @property
    def chi2_units(self) -> str | None:
        """Unit of chi-square: none with errors of the data or of counts, the data's squared without weights."""
        if self.weighting.counted or self.weighting.noise == "covariance":
            return "1"
        if self.weighting.weighted:
            return "1" if self.weighting.sigma else None
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

    def block_function(self, *, replayed: bool = False) -> BlockFunction:
        """The function of arrays that fits a block; ``replayed`` writes nothing and raises what it meets."""
        return BlockFunction(self._task(replayed))

    @cached_property
    def function(self) -> BlockFunction:
        """The function of the result's own graph."""
        return self.block_function()

    def _task(self, replayed: bool = False) -> BlockTask:
        o = self.options
        return BlockTask(
            self.problem,
            self.fitter,
            self.layout,
            tuple(self.arrays),
            n_fitted_dims=len(self.fitted),
            sigma=self.weighting.sigma,
            scalar_weight=self.weighting.scalar_weight,
            absolute=self.weighting.absolute,
            skipna=o.skipna,
            min_points=o.min_points,
            keep_failed=o.keep_failed,
            raising=replayed or (self.lazy and o.errors == "raise"),
            diagnosis=None if replayed else self.diagnosis,
            spreads=self.spreads,
            estimators=self.estimators,
            adapted=self.adapted,
            weighted=self.weighted,
            correlation=self.correlation,
            several=frozenset(r for r, v in self.arrays.items() if START in v.dims),
        )

    def starts(self) -> xr.Dataset:
        """The start values that the fits will have, by parameter."""
        packed = map_blocks(
            _StartFunction(self._task()), self.variables, self.core_dims, {FIELD: self.problem.n_parameters},
            scheduler=self.options.scheduler, fits_per_chunk=self.options.fits_per_chunk, defaults=self.defaults,
        )  # fmt: skip
        metadata, made = self.metadata, {}
        for j, name in enumerate(self.problem.names):
            one = packed.isel({FIELD: j}) / self.units[j].inward
            made[f"{self.options.prefix}{name}"] = xr.Variable(one.dims, one.data, metadata.start(j))
        return self.frame.assign(made)

    def cause(self, at: Mapping[Hashable, int]) -> BaseException | None:
        """The error that ends the fit at a position, found by fitting it again; None where it just fails."""
        one = [v.isel({d: slice(i, i + 1) for d, i in at.items() if d in v.dims}) for v in self.variables]
        try:
            function = self.block_function(replayed=True)
            map_blocks(function, one, self.core_dims, {FIELD: self.layout.width}, scheduler="synchronous")
        except FitError as error:
            return error.__cause__
        return None

    @property
    def metadata(self) -> Metadata:
        """What is said of the result's variables."""
        return Metadata(
            self.units,
            parameter_titles(self.problem.model),
            self.options.prefix,
            self.record,
            self.chi2_units,
            self.time_attrs,
            grid_mapping_of(self.data, self.frame),
            self.weighting.noise,
        )

    @property
    def record(self) -> str:
        """The record of the fit, for the attrs of its ``fit_status``."""
        options = {k: getattr(self.options, k) for k in ("skipna", "min_points", "keep_failed")}
        options |= described_starts(self.options.p0, self.data.dims) | self._maps
        options |= {"priors": dict(self.priors)} if self.priors else {}
        grid = self.problem.traits.grid
        return write_record(
            model=self.problem.model,
            names=self.problem.names,
            fitted=self.fitted,
            grid_dims=None if grid is None else [self.fitted[a] for a in grid.axes],
            **describe_units(self.system, self.units),
            sampled=None if self.nodes is None else self.nodes.described,
            prefix=self.options.prefix,
            data=self.data.name,
            **self.fitter.described(self.fitted_problem),
            options=options | self.weighting.described(),
        )

    @property
    def _maps(self) -> dict[str, Any]:
        """What varied from fit to fit and is not in the record: names of parameters by kind, and the mask."""
        p = self.problem
        bounds = {p.names[int(r.name)] for r in self.arrays if r.kind in ("lower", "upper")}
        fixed = {p.names[int(r.name)] for r in self.arrays if r.kind == "start" and p.fixed[int(r.name)]}
        named = {kind: sorted(names) for kind, names in (("bounds", bounds), ("fixed", fixed)) if names}
        return ({"maps": named} if named else {}) | ({"masked": True} if Role("where") in self.weighting.maps else {})

    @property
    def remaining(self) -> dict[Hashable, int]:
        """Remaining dims and their sizes."""
        return {d: n for d, n in self.data.sizes.items() if d not in self.fitted}

    @property
    def samples(self) -> dict[Hashable, int]:
        """Fitted dims and their sizes."""
        return {d: self.data.sizes[d] for d in self.fitted}

    @property
    def n_fits(self) -> int:
        """Positions in all."""
        return math.prod(self.remaining.values())

    @property
    def chunks(self) -> dict[Hashable, tuple[int, ...]]:
        """Chunks of the data along the remaining dims."""
        return {d: c for d, c in self.data.chunksizes.items() if d in self.remaining}

    def blocks(self, tile: Mapping[Hashable, slice] | None = None) -> dict[Hashable, tuple[int, ...]]:
        """Blocks along each remaining dim; those of a tile that is in memory, where given."""
        most, defaults = self.options.fits_per_chunk, self.defaults
        if self.lazy and tile is None:
            return lazy_chunks(self.variables, self.core_dims, most, defaults)
        remaining = self.remaining if tile is None else {d: s.stop - s.start for d, s in tile.items()}
        name = resolve_scheduler(
            self.options.scheduler, defaults, math.prod(remaining.values()) if most is None else None
        )[1]
        cut = computed_chunks(remaining, name, defaults, most, progress=self.options.progress)
        return {d: (n,) for d, n in remaining.items()} if cut is None else cut

    @property
    def bytes_per_fit(self) -> int:
        """Samples and result of one fit, as they lie in memory before the fit."""
        samples = 0
        for v in self.variables:
            if set(v.dims) & set(self.remaining):
                samples += v.dtype.itemsize * math.prod(n for d, n in v.sizes.items() if d not in self.remaining)
        return samples + 8 * self.layout.width

    def packed(self, variables: Sequence[xr.Variable] | None = None, most_fits: int | None = None) -> xr.Variable:
        """The packed array, lazy; of `variables` at a part of the positions, where given.

        ``most_fits``: at most so many in a block.
        """
        given = [n for n in (self.options.fits_per_chunk, most_fits) if n is not None]
        return map_blocks(*self._work(variables), fits_per_chunk=min(given) if given else None, defaults=self.defaults)

    def fields(
        self, variables: Sequence[xr.Variable] | None = None, scheduler: Any = None, tell: Tell | None = None
    ) -> Fields:
        """The fields of the result, as `records.schema.label` takes them; arguments as in `packed`."""
        if is_lazy(*(self.variables if variables is None else variables)):
            return self.fields_of(self.packed(variables))
        work = self._work(variables)
        shape = tuple(n for d, n in work[1][0].sizes.items() if d not in self.fitted)  # the data's
        maps = Maps(self.layout, self.units, shape)
        most = self.options.fits_per_chunk
        fill_blocks(*work, put=maps.put, scheduler=scheduler, fits_per_chunk=most, defaults=self.defaults, tell=tell)
        return maps.fields

    def fields_of(self, packed: xr.Variable) -> Fields:
        """The fields that a packed array holds."""
        if is_lazy(packed):
            return lazy_fields(packed, self.layout, self.units)
        maps = Maps(self.layout, self.units, packed.shape[:-1])
        maps.put((slice(None),) * (packed.ndim - 1), packed.values)
        return maps.fields

    def _work(self, variables: Sequence[xr.Variable] | None) -> Work:
        """What is to be done, as `map_blocks` and `fill_blocks` take it."""
        function = self.function if variables is None else self.block_function()
        variables = self.variables if variables is None else variables
        return function, variables, self.core_dims, {FIELD: self.layout.width}

    def variables_at(self, tile: Mapping[Hashable, slice]) -> list[xr.Variable]:
        """What goes through the blocks, at a part of the positions."""
        return [v.isel(tile, missing_dims="ignore") for v in self.variables]

    def labelled(self, fields: Fields, tile: Mapping[Hashable, slice] | None = None) -> xr.Dataset:
        """The result that some fields make, at a part of the positions where given."""
        frame = self.frame
        frame = frame if tile is None else frame.isel(tile, missing_dims="ignore")
        result = label(fields, tuple(self.remaining), self.layout, frame, self.metadata, self.samples)
        if self.layout.clipped is not None:
            result = result.assign_coords(coordinates_of_samples(self.data, self.fitted))
        kept = self.attrs if self.options.keep_attrs else {}
        counted = {i.name: counting(i.coordinate, i.values.size) for i in self.system.inputs if i.counted}
        result.attrs = dataset_attrs(kept, expression_text(self.problem.model), self.data.name, self.fitted, counted)
        return result

    def outline(self) -> xr.Dataset:
        """The result without a position: its names, dims and types."""
        maps = Maps(self.layout, self.units, (0,) * len(self.remaining))
        return self.labelled(maps.fields, dict.fromkeys(self.remaining, slice(0, 0)))


class BlockFunction:
    """`fit_block` with its task, under a name that dask can show.

    ``origin`` is what `call.lazy_results` remembers of the call; it stays in this process.
    """

    __name__ = "modelfit"

    def __init__(self, task: BlockTask) -> None:
        self.task = task
        self.origin: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task,)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return fit_block(*arrays, task=self.task)

    def __dask_tokenize__(self) -> str:
        return self.task.label


class _StartFunction(BlockFunction):
    """`start_block` with its task."""

    __name__ = "modelfit_start"

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return start_block(*arrays, task=self.task)
