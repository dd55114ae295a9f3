"""Warnings about the layout of a fit, with the call that fixes it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence

from xr_modelfit.call.job import Job
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.planning.plan import PlannedFit, bytes_text
from xr_modelfit.stores.stores import tiling_of

__all__ = ["advice", "good_chunks"]

_MANY_CHUNKS = 8
_MANY_BLOCKS = 10_000
_OFTEN = 2.0  # readings of each chunk
_FEW = 1.5
_CHUNK = 2**26  # bytes of a good chunk: several fit into memory, and reading outweighs the cost of a task


def good_chunks(job: Job, memory: int) -> dict[Hashable, int]:
    """Chunks that hold whole fits: about equally long in all remaining dims."""
    left = max(1, min(_CHUNK, memory // 8) // max(job.bytes_per_fit, 1))
    steps: dict[Hashable, int] = {}
    for i, (dim, n) in enumerate(sorted(job.remaining.items(), key=lambda item: item[1])):
        side = round(left ** (1 / (len(job.remaining) - i)))
        steps[dim] = max(1, min(n, side))
        left = max(1, left // steps[dim])
    return {d: steps.get(d, -1) for d in job.data.dims}


def advice(job: Job, planned: PlannedFit, unread: Sequence[Role], memory: int) -> Iterator[str]:
    """Warnings on one fit."""
    chunks = f"data.chunk({good_chunks(job, memory)})"
    lazy = job.lazy
    if math.prod(planned.merged.values()) > _MANY_CHUNKS:
        yield _merged(planned, chunks)
    elif lazy and planned.block_memory > memory:
        yield (
            f"A block takes about {bytes_text(planned.block_memory)}, more than the {bytes_text(memory)} planned for. "
            f"Take smaller chunks: {chunks}."
        )
    if planned.n_blocks > _MANY_BLOCKS:
        yield _many(job, planned, chunks)
    if lazy and planned.amplification > _OFTEN:
        yield _often(job, planned, chunks, memory)
    if unread:
        names = ", ".join(sorted({role.kind for role in unread}))
        yield (
            f"A chunk ({names}) is very large, or is computed from many others, so none was read: reading is not in "
            "the times, and each tile of to_zarr may do it again. Save the data first, and open what was saved: "
            f"{chunks}.drop_encoding().to_zarr(path)."
        )
    threads = planned.workers.endswith("threads") and "process" not in planned.workers
    if lazy and threads and isinstance(job.fitter, PixelwiseFitter) and planned.n_blocks > 1:
        yield (
            f"compute() works on threads, of which {planned.fitter} uses one at a time: "
            'fit.compute(scheduler="processes") uses all cores, in a script under if __name__ == "__main__":, and '
            'fit.modelfit.to_zarr(path, scheduler="processes") without it.'
        )


def _merged(planned: PlannedFit, chunks: str) -> str:
    dims = " and ".join(f"{dim} in {n} chunks" for dim, n in planned.merged.items())
    tiles = f"fit.modelfit.to_zarr(store) holds about {bytes_text(planned.tile_memory)}. "
    return (
        f"Each fit needs all of {dims}, so compute() holds about {bytes_text(planned.compute_memory)}. "
        f"{tiles if planned.tile_memory < planned.compute_memory else ''}"
        f"To fit the data more than once, save them in other chunks: {chunks}.drop_encoding().to_zarr(path)."
    )


def _many(job: Job, planned: PlannedFit, chunks: str) -> str:
    given = job.options.fits_per_chunk
    cost = f"{planned.n_blocks} blocks of {planned.block_fits} fits: each costs dask milliseconds. "
    if given is not None and (not job.lazy or given <= planned.block_fits):
        return f"{cost}Leave fits_per_chunk={given} out, or make it larger."
    return f"{cost}Take larger chunks: {chunks}."


def _often(job: Job, planned: PlannedFit, chunks: str, memory: int) -> str:
    source = planned.source_bytes

    def times(budget: int) -> float:
        tiling = tiling_of(job, budget)
        read = sum(v.nbytes * tiling.readings(v.chunksizes) for v in job.variables if v.chunks is not None)
        return read / source

    larger = memory
    while times(larger) > _FEW and larger < 2**60:
        larger *= 2
    then = "once" if times(larger) < 1.05 else f"{times(larger):.1f} times"
    return (
        f"to_zarr reads each chunk {planned.amplification:.1f} times, since a tile of {planned.tile_fits} fits is a "
        f'part of its chunks. memory="{bytes_text(larger)}" makes that {then}; so does saving the '
        f"data in other chunks first: {chunks}.drop_encoding().to_zarr(path)."
    )
