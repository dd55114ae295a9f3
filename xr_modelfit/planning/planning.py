"""Plan a fit: count blocks and bytes, time a small sample, and warn about the layout."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import xarray as xr

from xr_modelfit.call.fitting import jobs_of_call
from xr_modelfit.call.job import Job
from xr_modelfit.call.options import FitOptions, words_of
from xr_modelfit.execution.computing import ExecutionDefaults, Workers, on_cluster, resolve_scheduler, workers_of
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.foreign_words import refuse_foreign
from xr_modelfit.planning.advice import advice
from xr_modelfit.planning.plan import FitPlan, PlannedFit
from xr_modelfit.planning.samples import FitSamples
from xr_modelfit.planning.timing import Timing, time_sample
from xr_modelfit.stores.stores import BLOCKS_OF_TILE, bytes_of, tiling_of
from xr_modelfit.stores.tiles import Tiling

__all__ = ["plan"]

# The share of the work that threads do one after the other, measured: two threads are 7 to 25 % faster than one with
# large blocks of the batch fitter, and slower with small ones. astropy's fitters hold the GIL all the time.
_SERIAL = 0.7
_SERIAL_SMALL = 1.6
_SMALL = 100_000  # samples of a block
_START = 3.0  # seconds until processes are there
_TASK = 2e-4  # seconds of dask for a task
_OUTPUTS = 17  # tasks of a block: each variable of the result is cut out of it
_TILE = 0.05  # seconds to write the variables of a tile
_WRITING = 1e8  # bytes a second, compressed on the way
# Bytes that fitting takes, measured: copies of each sample, and temporaries of the samples that are computed together.
_PER_SAMPLE = 25
_TOGETHER = 262_144


def plan(obj: xr.DataArray | xr.Dataset, model: Any, dim: Any, memory: str | int, options: dict[str, Any]) -> FitPlan:
    """See `accessor.data_methods.DataMethods.plan`."""
    refuse_foreign(options, inspect.signature(FitOptions).parameters, lambda: words_of(model, options))
    budget = bytes_of(memory)
    jobs = jobs_of_call(obj, FitOptions(model, dim, **options))
    found: dict[str, PlannedFit] = {}
    warnings: list[str] = []
    for job in jobs:
        timing, samples = time_sample(job)
        planned = _Costs(job, budget, timing, samples).planned()
        found[planned.name] = planned
        about = f"{planned.name}: " if len(jobs) > 1 else ""
        warnings += [about + text for text in advice(job, planned, samples.unread, budget)]
    return FitPlan(found, any(job.lazy for job in jobs), budget, tuple(warnings))


@dataclass(frozen=True)
class _Costs:
    """What a fit costs, and the parts of that."""

    job: Job
    budget: int
    timing: Timing
    samples: FitSamples

    @cached_property
    def n_samples(self) -> int:
        return math.prod(self.job.data.sizes[d] for d in self.job.fitted)

    @cached_property
    def blocks(self) -> dict[Hashable, tuple[int, ...]]:
        return self.job.blocks()

    @cached_property
    def n_blocks(self) -> int:
        return math.prod(map(len, self.blocks.values()))

    @cached_property
    def tiling(self) -> Tiling:
        return tiling_of(self.job, self.budget)

    @cached_property
    def sources(self) -> dict[Role, xr.Variable]:
        """Arrays that are not in memory yet."""
        arrays = self.job.arrays
        return {r: v for r, v in arrays.items() if v.chunks is not None or not v._in_memory}

    @cached_property
    def source_bytes(self) -> int:
        return sum(v.nbytes for v in self.sources.values())

    @cached_property
    def readings(self) -> dict[Role, float]:
        """How often ``to_zarr`` reads each of them."""
        return {role: self.tiling.readings(v.chunksizes) for role, v in self.sources.items()}

    @cached_property
    def merged(self) -> dict[Hashable, int]:
        """Fitted dims in several chunks, and the number of chunks."""
        chunks = [v.chunksizes for v in self.sources.values()]
        counts = {d: max((len(c[d]) for c in chunks if d in c), default=0) for d in self.job.fitted}
        return {d: n for d, n in counts.items() if n > 1}

    def planned(self) -> PlannedFit:
        job, lazy, fitter = self.job, self.job.lazy, self.job.fitter
        workers, tiles = self._workers(), self._tile_blocks() if lazy else (0, 0)
        block_fits = _largest(self.blocks)
        reading = sum(self.samples.reading.values()) / (workers.processes if lazy else 1)
        fitting = self._fitting(workers, self.n_blocks, job.n_fits)
        dask = _TASK * self.n_blocks * (_OUTPUTS + math.prod(self.merged.values())) if self.n_blocks > 1 else 0.0
        return PlannedFit(
            name=job.options.prefix.removesuffix("_") or str("" if job.data.name is None else job.data.name),
            fitter=type(fitter.fitter if isinstance(fitter, PixelwiseFitter) else fitter).__name__,
            workers=_described(workers),
            n_fits=job.n_fits,
            n_samples=self.n_samples,
            n_blocks=self.n_blocks,
            block_fits=block_fits,
            n_tiles=len(self.tiling) if lazy else 0,
            tile_fits=self.tiling.largest if lazy else 0,
            merged=self.merged,
            source_bytes=self.source_bytes,
            bytes_read=self.source_bytes,
            tile_bytes_read=round(sum(self.sources[r].nbytes * n for r, n in self.readings.items())) if lazy else 0,
            bytes_written=self._bytes_written(),
            block_memory=block_fits * job.bytes_per_fit + self._working(block_fits),
            compute_memory=self._memory(workers, block_fits),
            tile_memory=self._tile_memory(*tiles) if lazy else 0,
            seconds=fitting + reading + dask,
            tile_seconds=self._tile_seconds(tiles[0]) if lazy else 0.0,
            fit_seconds=fitting,
            read_seconds=reading,
            n_timed=self.timing.n_timed,
            simulated=self.samples.simulated,
        )

    # --- workers and tiles

    def _workers(self) -> Workers:
        """Those of the call, or of ``compute()`` of its result, for which dask takes threads."""
        if self.job.lazy:
            return workers_of(*resolve_scheduler(None, ExecutionDefaults.for_arrays(), None))
        return self._workers_of(self.job.options.scheduler, self.job.n_fits) if self.n_blocks > 1 else Workers()

    def _tile_workers(self) -> Workers:
        return self._workers_of(None, self.tiling.largest)

    def _workers_of(self, scheduler: Any, n_fits: int) -> Workers:
        every = n_fits if self.job.options.fits_per_chunk is None else None
        return workers_of(*resolve_scheduler(scheduler, self.job.defaults, every))

    def _tile_blocks(self) -> tuple[int, int]:
        """Blocks of a tile, and fits of the largest."""
        if not self.job.n_fits:
            return 0, 0
        if on_cluster(None):
            return BLOCKS_OF_TILE, math.ceil(self.tiling.largest / BLOCKS_OF_TILE)
        blocks = self.job.blocks(self.tiling[0])
        return math.prod(map(len, blocks.values())), _largest(blocks)

    # --- seconds

    def _fitting(self, workers: Workers, n_blocks: int, n_fits: int) -> float:
        if not n_fits or not self.n_samples:
            return 0.0
        small = n_fits / n_blocks * self.n_samples < _SMALL
        serial = _SERIAL_SMALL if small else _SERIAL
        if isinstance(self.job.fitter, PixelwiseFitter):
            serial = 1.0
        start = 0.0 if workers.started or n_blocks <= 1 else _START
        return start + n_blocks * self.timing.block(n_fits / n_blocks) / workers.gain(serial, n_blocks)

    def _tile_seconds(self, n_blocks: int) -> float:
        tiles, workers = len(self.tiling), self._tile_workers()
        if not self.job.n_fits:
            return 0.0
        fitting = tiles * self._fitting(workers, n_blocks, math.ceil(self.job.n_fits / tiles))
        reading = sum(seconds * self.readings[role] for role, seconds in self.samples.reading.items())
        reading /= workers.processes if workers.started else 1
        return fitting + reading + tiles * _TILE + self._bytes_written() / _WRITING

    # --- bytes

    def _bytes_written(self) -> int:
        outline = self.job.outline()
        extra = {d: n for d, n in outline.sizes.items() if d not in self.job.remaining}
        each = sum(v.dtype.itemsize * math.prod(extra.get(d, 1) for d in v.dims) for v in outline.data_vars.values())
        return each * self.job.n_fits

    def _working(self, n_fits: int) -> int:
        """What fitting a block takes beside its samples."""
        layout = self.job.layout
        samples = n_fits * self.n_samples
        temporaries = 8 * (2 * layout.n_parameters + 6) * min(samples, _TOGETHER)
        return _PER_SAMPLE * samples + 3 * 8 * layout.width * n_fits + temporaries

    def _chunk_bytes(self, *, whole: bool = False) -> int:
        """Bytes of one chunk of each lazy array; of all chunks that a block of ``whole`` fits needs."""
        found = 0
        for v in [v for v in self.sources.values() if v.chunks is not None]:
            sizes = [
                v.sizes[d] if whole and d not in self.job.remaining else max(c, default=0)
                for d, c in v.chunksizes.items()
            ]
            found += v.dtype.itemsize * math.prod(sizes)
        return found

    def _memory(self, workers: Workers, block_fits: int) -> int:
        result = 8 * self.job.layout.width * self.job.n_fits
        at_once = min(workers.total, max(self.n_blocks, 1))
        working = at_once * self._working(block_fits)
        if not self.job.lazy:
            return self.source_bytes + working + 2 * result
        held = min(at_once * self._chunk_bytes(whole=True), self.source_bytes)
        return (2 * held if self.merged else held) + working + result  # chunks, and blocks merged of them

    def _tile_memory(self, n_blocks: int, block_fits: int) -> int:
        workers = self._tile_workers()
        samples = self.tiling.largest * self.job.bytes_per_fit
        at_once = min(workers.total, max(n_blocks, 1))
        return samples + at_once * self._working(block_fits) + workers.total * self._chunk_bytes()


def _largest(blocks: dict[Hashable, tuple[int, ...]]) -> int:
    return math.prod(max(sizes, default=0) for sizes in blocks.values())


def _described(workers: Workers) -> str:
    threads = "1 thread" if workers.threads == 1 else f"{workers.threads} threads"
    if workers.processes == 1:
        return threads
    return f"{workers.processes} processes" + (f" of {threads}" if workers.threads > 1 else "")
