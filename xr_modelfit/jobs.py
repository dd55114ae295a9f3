"""A resolved fit of one array, to be run on all positions or on a part of them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.computing import resolve_scheduler
from xr_modelfit.execution import computed_chunks, lazy_chunks, map_blocks
from xr_modelfit.progress import Tell
from xr_modelfit.request import Request
from xr_modelfit.results import FIELD, label

__all__ = ["Job", "jobs_of", "remember"]


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
                samples += v.dtype.itemsize * math.prod(v.sizes[d] for d in self.request.fitted if d in v.dims)
        return samples + 8 * self.request.layout.width

    def packed(
        self, variables: Sequence[xr.Variable] | None = None, most_fits: int | None = None, **how: Any
    ) -> xr.Variable:
        """The packed array; of `variables` at a part of the positions, where given.

        ``most_fits``: at most so many in a block; ``how`` as `xr_modelfit.execution.map_blocks` takes it.
        """
        request = self.request
        given = [n for n in (request.options["fits_per_chunk"], most_fits) if n is not None]
        return map_blocks(
            request.block_function(),
            request.variables if variables is None else variables,
            request.core_dims,
            {FIELD: request.layout.width},
            fits_per_chunk=min(given) if given else None,
            habit=request.habit,
            **how,
        )

    def variables(self, tile: Mapping[Hashable, slice] | None = None) -> list[xr.Variable]:
        """What goes through the blocks, at a part of the positions."""
        return [v if tile is None else v.isel(tile, missing_dims="ignore") for v in self.request.variables]

    def labelled(self, packed: xr.Variable, tile: Mapping[Hashable, slice] | None = None) -> xr.Dataset:
        """The result that a packed array holds."""
        request, frame = self.request, self.request.frame
        frame = frame if tile is None else frame.isel(tile, missing_dims="ignore")
        result = label(packed, request.layout, frame, request.metadata(self.prefix))
        result.attrs = dict(self.attrs)
        return result

    def outline(self) -> xr.Dataset:
        """The result without a position: its names, dims and types."""
        nothing = dict.fromkeys(self.loop, slice(0, 0))
        shape = (*(0 for _ in self.loop), self.request.layout.width)
        return self.labelled(xr.Variable((*self.loop, FIELD), np.zeros(shape)), nothing)

    def run(self, scheduler: Any = None, tell: Tell | None = None) -> tuple[xr.Dataset, xr.Variable]:
        """All positions: the result, and the packed array that it was made of."""
        packed = self.packed(scheduler=scheduler, tell=tell)
        return self.labelled(packed), packed


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
