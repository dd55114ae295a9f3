"""Blocks of fits, and the one ``apply_ufunc`` that runs them: chunks, schedulers, reading.

The choice of blocks never changes a result, because the fits of a block are independent.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.execution.computing import ExecutionDefaults, compute, compute_each, resolve_scheduler, workers_of
from xr_modelfit.execution.progress import Tell
from xr_modelfit.fitters.block_arrays import part_of

__all__ = [
    "chunked_like",
    "computed_chunks",
    "fill_blocks",
    "is_lazy",
    "lazy_chunks",
    "loaded",
    "map_blocks",
    "n_sources",
    "read_timed",
    "sums_over_blocks",
]

Chunks = Mapping[Hashable, tuple[int, ...]]
Put = Callable[[tuple[slice, ...], np.ndarray], None]


def is_lazy(*variables: xr.Variable) -> bool:
    """Whether any of the arrays is chunked by dask."""
    return any(not v._in_memory and v.chunks is not None for v in variables)  # to ask for chunks takes time


def map_blocks(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    *,
    scheduler: Any = None,
    fits_per_chunk: int | None = None,
    defaults: ExecutionDefaults | None = None,
    tell: Tell | None = None,
) -> xr.Variable:
    """Apply a function of arrays to blocks; the first variable is the data and has all remaining dims.

    Parameters
    ----------
    function : callable
        ``(*arrays) -> array``: leading axes of the arrays broadcast, core dims come last.
    core_dims : sequence of sequence of Hashable
        Core dims of each variable.
    output_dims : mapping of Hashable to int
        Trailing dims of the output and their sizes.
    scheduler, fits_per_chunk
        As in `xr_modelfit.fit`.
    defaults : ExecutionDefaults, optional
        How computed input is worked on, unless the call or dask's configuration says otherwise.
    tell : callable, optional
        Called with the number of finished fits, block by block, for computed input.

    Returns
    -------
    xarray.Variable
        Dims are the remaining dims in the data's order, then those of the output. Lazy if any variable is.
    """
    work = _Blockwise(function, variables, core_dims, output_dims)
    if is_lazy(*variables):
        return work.lazy_result(fits_per_chunk, defaults or ExecutionDefaults.for_arrays())
    sizes = work.output_sizes
    out = np.empty(tuple(sizes.values()))

    def put(at: tuple[slice, ...], values: np.ndarray) -> None:
        nonlocal out
        if values.shape == out.shape:
            out = values
        else:
            out[at] = values

    fill_blocks(
        function, variables, core_dims, output_dims, put,
        scheduler=scheduler, fits_per_chunk=fits_per_chunk, defaults=defaults, tell=tell,
    )  # fmt: skip
    return xr.Variable([*sizes], out)


def fill_blocks(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    put: Put,
    *,
    scheduler: Any = None,
    fits_per_chunk: int | None = None,
    defaults: ExecutionDefaults | None = None,
    tell: Tell | None = None,
) -> None:
    """Apply a function to blocks of arrays in memory; the other arguments are those of `map_blocks`.

    ``put`` gets the slices of a block along the remaining dims, and its result; perhaps from several threads at once.
    """
    work = _Blockwise(function, [v if v._in_memory else v.compute() for v in variables], core_dims, output_dims)
    defaults, n_fits = defaults or ExecutionDefaults.for_arrays(), math.prod(work.remaining.values())
    get, name = resolve_scheduler(scheduler, defaults, n_fits if fits_per_chunk is None else None)
    chunks = computed_chunks(work.remaining, name, defaults, fits_per_chunk, progress=tell is not None)
    everywhere = (slice(None),) * len(work.remaining)
    if chunks is None or n_fits == 0 or not work.has_samples:
        put(everywhere, work.apply(work.variables).values)
        if tell is not None:
            tell(n_fits)
    elif name in ("synchronous", "threads", "processes"):
        work.fill(chunks, put, name, tell)
    else:
        put(everywhere, compute(work.apply(work.chunked(chunks)), get, name, tell).values)


@dataclass(frozen=True)
class _Blockwise:
    """A function of blocks and what it is applied to; fields as in `map_blocks`."""

    function: Callable[..., np.ndarray]
    variables: Sequence[xr.Variable]
    core_dims: Sequence[Sequence[Hashable]]
    output_dims: Mapping[Hashable, int]

    @cached_property
    def core(self) -> set[Hashable]:
        return {d for dims in self.core_dims for d in dims}

    @cached_property
    def remaining(self) -> dict[Hashable, int]:
        """Remaining dims and their sizes."""
        return {d: n for v in self.variables for d, n in v.sizes.items() if d not in self.core}

    @property
    def output_sizes(self) -> dict[Hashable, int]:
        return {**self.remaining, **self.output_dims}

    @property
    def has_samples(self) -> bool:
        """Whether every variable has samples along its core dims."""
        return all(v.sizes[d] > 0 for v, dims in zip(self.variables, self.core_dims, strict=True) for d in dims)

    def apply(self, variables: Sequence[xr.Variable], function: Callable[..., np.ndarray] | None = None) -> xr.Variable:
        """Apply the function, or another one, to variables of these dims."""
        out: xr.Variable = xr.apply_ufunc(
            function or self.function,
            *variables,
            input_core_dims=list(self.core_dims),
            output_core_dims=[list(self.output_dims)],
            dask="parallelized",
            output_dtypes=[np.float64],
            dask_gufunc_kwargs={"output_sizes": dict(self.output_dims)},
            keep_attrs=False,
        )
        return out

    def chunked(self, chunks: Chunks) -> list[xr.Variable]:
        """The variables as dask arrays, with these chunks along the remaining dims."""
        found = []
        for v in self.variables:
            wanted: dict[Any, Any] = {d: chunks.get(d, -1) for d in v.dims}
            found.append(v.chunk(wanted) if wanted else v)
        return found

    def lazy_result(self, fits_per_chunk: int | None, defaults: ExecutionDefaults) -> xr.Variable:
        """The output as a dask array.

        dask can apply nothing to arrays without fits or samples. Without samples, all positions give the same.
        """
        chunks = lazy_chunks(self.variables, self.core_dims, fits_per_chunk, defaults)
        if 0 not in self.remaining.values():
            if self.has_samples:
                return self.apply(self.chunked(chunks))
            shapes = [[n if d in self.core else 1 for d, n in v.sizes.items()] for v in self.variables]
            one = [xr.Variable(v.dims, np.zeros(n, v.dtype)) for v, n in zip(self.variables, shapes, strict=True)]
            row = self.apply(one).values.reshape(tuple(self.output_dims.values()))
        else:
            row = np.zeros(tuple(self.output_dims.values()))
        return xr.Variable([*self.output_dims], row).chunk().set_dims(self.output_sizes).chunk(dict(chunks))

    def fill(self, chunks: Chunks, put: Put, name: str, tell: Tell | None) -> None:
        """Apply the function to views of arrays in memory, and put each result straight to its place.

        As a dask array, the input would be copied and hashed as a whole, and copied again block by block.
        """
        ends = {d: np.cumsum(sizes).tolist() for d, sizes in chunks.items()}
        slices = [[slice(end - n, end) for n, end in zip(chunks[d], ends[d], strict=True)] for d in chunks]
        places = list(itertools.product(*slices))
        shape = tuple(self.output_sizes.values())

        def on_aligned(*arrays: np.ndarray) -> np.ndarray:
            def block(i: int) -> list[np.ndarray]:
                return [part_of(a, places[i], len(dims)) for a, dims in zip(arrays, self.core_dims, strict=True)]

            def modelfit(i: int) -> np.ndarray:
                values = self.function(*block(i))
                put(places[i], values)
                return np.broadcast_to(0.0, values.shape)  # its shape is known, and takes no memory

            def done(i: int, values: np.ndarray) -> None:
                put(places[i], values)
                if tell is not None:
                    tell(math.prod(values.shape[:-1]))

            if name == "processes":
                from xr_modelfit.execution.process_pool import each_in_processes

                each_in_processes(self.function, len(places), block, done, workers_of(name, name).processes)
            else:
                compute_each(modelfit, len(places), name, tell)
            return np.broadcast_to(0.0, shape)

        self.apply(self.variables, on_aligned)


def lazy_chunks(
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    fits_per_chunk: int | None,
    defaults: ExecutionDefaults,
) -> dict[Hashable, tuple[int, ...]]:
    """Blocks of a lazy result along each remaining dim: chunks of the data, else of the first other array."""
    core = {d for dims in core_dims for d in dims}
    given = [v.chunksizes for v in variables]
    sizes = {d: n for v in variables for d, n in v.sizes.items() if d not in core}
    chunks = {d: next((c[d] for c in given if d in c), (n,)) for d, n in sizes.items()}
    if fits_per_chunk is not None:
        chunks = _split(chunks, fits_per_chunk)
    if any(len(given[0].get(d, ())) > 1 for d in core):  # merged, a block may become very large
        chunks = _split(chunks, defaults.largest)
    return chunks


def computed_chunks(
    remaining: Mapping[Hashable, int],
    name: str,
    defaults: ExecutionDefaults,
    fits_per_chunk: int | None,
    *,
    progress: bool,
) -> dict[Hashable, tuple[int, ...]] | None:
    """Blocks of computed input along each remaining dim; None where all is done in one go.

    ``name`` is that of the scheduler, ``progress`` whether progress is shown.
    """
    n_fits = math.prod(remaining.values())
    alone = fits_per_chunk is None and (name == "synchronous" or n_fits <= 1) and n_fits <= defaults.largest
    if alone and not progress:
        return None
    from dask.system import CPU_COUNT

    most = min(defaults.most_fits, defaults.progress_fits) if progress else defaults.most_fits
    fits_per_chunk = fits_per_chunk or max(1, min(most, math.ceil(n_fits / (defaults.rounds * CPU_COUNT))))
    return _split({d: (n,) for d, n in remaining.items()}, fits_per_chunk)


def n_sources(variable: xr.Variable) -> int:
    """How many source chunks a lazy array is made of."""
    from dask.core import flatten

    graph = variable.data.__dask_graph__().cull(set(flatten(variable.data.__dask_keys__())))
    return sum(not needed for needed in graph.get_all_dependencies().values())


def read_timed(variable: xr.Variable) -> tuple[np.ndarray, float]:
    """The values of a lazy array, and the seconds that reading took once its graph was ready."""
    from dask.base import optimize

    (array,) = optimize(variable.data)
    begin = time.perf_counter()
    values = np.asarray(array.compute(scheduler="synchronous", optimize_graph=False))
    return values, time.perf_counter() - begin


def loaded(variables: Sequence[xr.Variable], scheduler: Any = None) -> list[xr.Variable]:
    """Arrays in memory, each block read straight to its place: nothing is there twice."""
    import dask.array

    lazy = [v for v in variables if v.chunks is not None]
    targets = [np.empty(v.shape, v.dtype) for v in lazy]
    get = "synchronous" if scheduler == "synchronous" else "threads"  # processes cannot write to our memory
    if lazy:
        dask.array.store([v.data for v in lazy], targets, lock=False, scheduler=get)
    read = iter(targets)
    return [v if v.chunks is None else xr.Variable(v.dims, next(read), v.attrs) for v in variables]


def sums_over_blocks(variables: Sequence[xr.Variable], function: Callable[..., Any], scheduler: Any) -> list[int]:
    """For each array the sum of ``function(block, corner, shape)`` over its blocks, modulo 2**64."""
    import dask.array
    from dask.base import compute as computed

    def of_block(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        info = block_info[0]
        return np.full(
            (1,) * block.ndim, function(block, [begin for begin, _ in info["array-location"]], info["shape"])
        )

    found = []
    for v in variables:
        array = v.data if v.chunks is not None else dask.array.from_array(v.values, chunks=-1)
        parts = array.map_blocks(of_block, dtype=np.uint64, chunks=tuple((1,) * n for n in array.numblocks))
        found.append(parts.sum(dtype=np.uint64))
    return [int(one) for one in computed(*found, scheduler=scheduler)]


def chunked_like(data: xr.Variable, variable: xr.Variable) -> xr.Variable:
    """``variable`` in the chunks of ``data`` along the dims that they share."""
    wanted: dict[Any, Any] = {d: data.chunksizes[d] for d in variable.dims if d in data.chunksizes}
    return variable.chunk(wanted) if wanted else variable.chunk()


def _split(chunks: dict[Hashable, tuple[int, ...]], most: int) -> dict[Hashable, tuple[int, ...]]:
    """Split chunks, first dims first, until no block holds more than ``most`` fits."""
    out = dict(chunks)
    for dim in chunks:
        others = math.prod(max(c, default=0) for d, c in out.items() if d != dim)
        allowed = max(1, most // max(others, 1))
        parts: list[int] = []
        for size in out[dim]:
            n = math.ceil(size / allowed) if size else 1
            parts += [size // n + (i < size % n) for i in range(n)]
        out[dim] = tuple(parts)
    return out
