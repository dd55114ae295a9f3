"""A resolved fit of one array, to be run on all positions or on a part of them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.request import Request
from xr_modelfit.execution.computing import resolve_scheduler
from xr_modelfit.execution.execution import computed_chunks, fill_blocks, is_lazy, lazy_chunks, map_blocks
from xr_modelfit.execution.progress import Tell
from xr_modelfit.records.schema import FIELD, Fields, Maps, label, lazy_fields

__all__ = ["Job", "jobs_of", "remember"]

Work = tuple[Callable[..., np.ndarray], Sequence[xr.Variable], list[tuple[Hashable, ...]], dict[Hashable, int]]


@dataclass(frozen=True)
class Job:
    """One fit of one array.

    Parameters
    ----------
    request : Request
    prefix : str
    attrs : mapping
        Attrs of the result.
    """

    request: Request
    prefix: str
    attrs: Mapping[Any, Any]

    @property
    def loop(self) -> dict[Hashable, int]:
        """Remaining dims and their sizes."""
        return {d: n for d, n in self.request.data.sizes.items() if d not in self.request.fitted}

    @property
    def n_fits(self) -> int:
        """Positions in all."""
        return math.prod(self.loop.values())

    @property
    def chunks(self) -> dict[Hashable, tuple[int, ...]]:
        """Chunks of the data along the remaining dims."""
        return {d: c for d, c in self.request.data.chunksizes.items() if d in self.loop}

    def blocks(self, tile: Mapping[Hashable, slice] | None = None) -> dict[Hashable, tuple[int, ...]]:
        """Blocks along each remaining dim; those of a tile that is in memory, where given."""
        request, options = self.request, self.request.options
        most, habit = options["fits_per_chunk"], request.habit
        if request.lazy and tile is None:
            return lazy_chunks(request.variables, request.core_dims, most, habit)
        loop = self.loop if tile is None else {d: s.stop - s.start for d, s in tile.items()}
        name = resolve_scheduler(options["scheduler"], habit, math.prod(loop.values()) if most is None else None)[1]
        cut = computed_chunks(loop, name, habit, most, told=options["progress"])
        return {d: (n,) for d, n in loop.items()} if cut is None else cut

    @property
    def bytes_per_fit(self) -> int:
        """Samples and result of one fit, as they lie in memory before the fit."""
        samples = 0
        for v in self.request.variables:
            if set(v.dims) & set(self.loop):
                samples += v.dtype.itemsize * math.prod(n for d, n in v.sizes.items() if d not in self.loop)
        return samples + 8 * self.request.layout.width

    def packed(self, variables: Sequence[xr.Variable] | None = None, most_fits: int | None = None) -> xr.Variable:
        """The packed array, lazy; of `variables` at a part of the positions, where given.

        ``most_fits``: at most so many in a block.
        """
        given = [n for n in (self.request.options["fits_per_chunk"], most_fits) if n is not None]
        return map_blocks(
            *self._work(variables), fits_per_chunk=min(given) if given else None, habit=self.request.habit
        )

    def fields(
        self, variables: Sequence[xr.Variable] | None = None, scheduler: Any = None, tell: Tell | None = None
    ) -> Fields:
        """The fields of the result, as `records.schema.label` takes them; arguments as in `packed`."""
        request, work = self.request, self._work(variables)
        variables = work[1]
        if is_lazy(*variables):
            return self.fields_of(self.packed(variables))
        shape = tuple(n for d, n in variables[0].sizes.items() if d not in request.fitted)  # the data's
        maps = Maps(request.layout, request.units, shape)
        fits_per_chunk = request.options["fits_per_chunk"]
        fill_blocks(
            *work, put=maps.put, scheduler=scheduler, fits_per_chunk=fits_per_chunk, habit=request.habit, tell=tell
        )
        return maps.fields

    def fields_of(self, packed: xr.Variable) -> Fields:
        """The fields that a packed array holds."""
        request = self.request
        if is_lazy(packed):
            return lazy_fields(packed, request.layout, request.units)
        maps = Maps(request.layout, request.units, packed.shape[:-1])
        maps.put((slice(None),) * (packed.ndim - 1), packed.values)
        return maps.fields

    def _work(self, variables: Sequence[xr.Variable] | None) -> Work:
        """What is to be done, as `map_blocks` and `fill_blocks` take it."""
        request = self.request
        variables = request.variables if variables is None else variables
        return request.block_function(), variables, request.core_dims, {FIELD: request.layout.width}

    def variables(self, tile: Mapping[Hashable, slice] | None = None) -> list[xr.Variable]:
        """What goes through the blocks, at a part of the positions."""
        return [v if tile is None else v.isel(tile, missing_dims="ignore") for v in self.request.variables]

    def labelled(self, fields: Fields, tile: Mapping[Hashable, slice] | None = None) -> xr.Dataset:
        """The result that some fields make, at a part of the positions where given."""
        request, frame = self.request, self.request.frame
        frame = frame if tile is None else frame.isel(tile, missing_dims="ignore")
        result = label(fields, tuple(self.loop), request.layout, frame, request.metadata(self.prefix))
        result.attrs = dict(self.attrs)
        return result

    def outline(self) -> xr.Dataset:
        """The result without a position: its names, dims and types."""
        maps = Maps(self.request.layout, self.request.units, (0,) * len(self.loop))
        return self.labelled(maps.fields, dict.fromkeys(self.loop, slice(0, 0)))


# How a lazy result came about, for as long as it lives: its variables alone cannot be computed piece by piece
# within bounded memory. Known by identity, and only while its arrays are those of the fit.
_JOBS: dict[int, tuple[list[Job], dict[Hashable, str]]] = {}


def remember(result: xr.Dataset, jobs: list[Job]) -> xr.Dataset:
    """Note the jobs of a lazy result; returns the result."""
    if any(job.request.lazy for job in jobs):
        _JOBS[id(result)] = jobs, _names_of(result)
        weakref.finalize(result, _JOBS.pop, id(result), None).atexit = False
    return result


def jobs_of(result: xr.Dataset) -> list[Job] | None:
    """The jobs of a result that was not changed since; None where they are not known."""
    jobs, names = _JOBS.get(id(result), (None, {}))
    return jobs if jobs is not None and names == _names_of(result) else None


def _names_of(result: xr.Dataset) -> dict[Hashable, str]:
    return {name: v.data.name if v.chunks is not None else "" for name, v in result.data_vars.items()}
