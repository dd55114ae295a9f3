"""Where and in which pieces the work is done: chunks, schedulers, one ``apply_ufunc``.

Whatever is chosen here never changes a result: a block's fits do not see each other.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.execution.computing import Habit, compute, compute_each, crew_of, resolve_scheduler
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

Apply = Callable[[Sequence[xr.Variable]], xr.Variable]
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
    habit: Habit | None = None,
    tell: Tell | None = None,
) -> xr.Variable:
    """Apply a function of arrays to blocks; the first variable is the data and has all loop dims.

    Parameters
    ----------
    function : callable
        ``(*arrays) -> array``: leading axes of the arrays broadcast, core dims come last.
    variables : sequence of xarray.Variable
    core_dims : sequence of sequence of Hashable
        Core dims of each variable.
    output_dims : mapping of Hashable to int
        Trailing dims of the output and their sizes.
    scheduler, fits_per_chunk
        As in `xr_modelfit.fit`.
    habit : Habit, optional
        What to do with computed input where neither call nor dask's configuration says.
    tell : callable, optional
        Told of the number of finished fits, block by block, for computed input.

    Returns
    -------
    xarray.Variable
        Dims are the loop dims in the data's order, then those of the output. Lazy if any
        variable is.
    """
    core = {d for dims in core_dims for d in dims}
    loop = {d: n for v in variables for d, n in v.sizes.items() if d not in core}
    shape = tuple(loop.values())
    lazy = is_lazy(*variables)

    apply = _applied(function, core_dims, output_dims)
    if lazy and 0 in shape:  # dask wants arrays without a dim to have it with size 0 then
        return _without_fits(loop, output_dims)
    if lazy and any(v.sizes[d] == 0 for v, dims in zip(variables, core_dims, strict=True) for d in dims):
        # dask divides by the size of core dims: with no sample, every position says the same.
        return _without_samples(apply, variables, core, loop, output_dims)
    if lazy:
        chunks = lazy_chunks(variables, core_dims, fits_per_chunk, habit or Habit.for_arrays())
        return apply([_chunked(v, chunks, core) for v in variables])

    out = np.empty((*shape, *output_dims.values()))

    def put(at: tuple[slice, ...], values: np.ndarray) -> None:
        nonlocal out
        if values.shape == out.shape:
            out = values
        else:
            out[at] = values

    fill_blocks(
        function, variables, core_dims, output_dims, put,
        scheduler=scheduler, fits_per_chunk=fits_per_chunk, habit=habit, tell=tell,
    )  # fmt: skip
    return xr.Variable((*loop, *output_dims), out)


def fill_blocks(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    put: Put,
    *,
    scheduler: Any = None,
    fits_per_chunk: int | None = None,
    habit: Habit | None = None,
    tell: Tell | None = None,
) -> None:
    """Apply a function to blocks of arrays in memory; the other arguments are those of `map_blocks`.

    Parameters
    ----------
    put : callable
        Gets the slices of a block along the loop dims, and what ``function`` gave for it; perhaps from several threads
        at once.
    """
    variables = [v if v._in_memory else v.compute() for v in variables]
    core = {d for dims in core_dims for d in dims}
    loop = {d: n for v in variables for d, n in v.sizes.items() if d not in core}
    everywhere = (slice(None),) * len(loop)
    habit = habit or Habit.for_arrays()
    n_fits = math.prod(loop.values())
    get, name = resolve_scheduler(scheduler, habit, n_fits if fits_per_chunk is None else None)
    pieces = computed_chunks(loop, name, habit, fits_per_chunk, told=tell is not None)
    if pieces is None or n_fits == 0 or not _has_samples(variables, core_dims):
        put(everywhere, _applied(function, core_dims, output_dims)(variables).values)
        if tell is not None:
            tell(n_fits)
    elif name in ("synchronous", "threads"):
        _in_place(function, variables, core_dims, output_dims, pieces, put, name, tell)
    elif name == "processes":
        _in_processes(function, variables, core_dims, output_dims, pieces, put, tell)
    else:
        lazy_out = _applied(function, core_dims, output_dims)([_chunked(v, pieces, core) for v in variables])
        put(everywhere, compute(lazy_out, get, name, tell).values)


def _applied(
    function: Callable[..., np.ndarray], core_dims: Sequence[Sequence[Hashable]], output_dims: Mapping[Hashable, int]
) -> Apply:
    def apply(parts: Sequence[xr.Variable]) -> xr.Variable:
        out: xr.Variable = xr.apply_ufunc(
            function,
            *parts,
            input_core_dims=list(core_dims),
            output_core_dims=[list(output_dims)],
            dask="parallelized",
            output_dtypes=[np.float64],
            dask_gufunc_kwargs={"output_sizes": dict(output_dims)},
            keep_attrs=False,
        )
        return out

    return apply


def _in_place(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    pieces: Mapping[Hashable, Sequence[int]],
    put: Put,
    name: str,
    tell: Tell | None,
) -> None:
    """Blocks that are views of arrays in memory, each result straight to its place.

    As a dask array, the input would be copied and hashed as a whole, and copied again block by block.
    """
    places = _places(pieces)
    shape = tuple(sum(c) for c in pieces.values())

    def everywhere(*arrays: np.ndarray) -> np.ndarray:
        def modelfit(i: int) -> np.ndarray:
            at = places[i]
            values = function(*(part_of(a, at, len(dims)) for a, dims in zip(arrays, core_dims, strict=True)))
            put(at, values)
            return np.broadcast_to(0.0, values.shape)  # its shape is told, and takes no memory

        compute_each(modelfit, len(places), name, tell)
        return np.broadcast_to(0.0, (*shape, *output_dims.values()))

    _applied(everywhere, core_dims, output_dims)(variables)


def _in_processes(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    pieces: Mapping[Hashable, Sequence[int]],
    put: Put,
    tell: Tell | None,
) -> None:
    """The same with each block copied to another process, and its result copied back."""
    from xr_modelfit.execution.process_pool import each_in_processes

    places = _places(pieces)
    shape = tuple(sum(c) for c in pieces.values())

    def everywhere(*arrays: np.ndarray) -> np.ndarray:
        def arrays_of(i: int) -> list[np.ndarray]:
            return [part_of(a, places[i], len(dims)) for a, dims in zip(arrays, core_dims, strict=True)]

        def done(i: int, values: np.ndarray) -> None:
            put(places[i], values)
            if tell is not None:
                tell(math.prod(values.shape[:-1]))

        each_in_processes(function, len(places), arrays_of, done, crew_of("processes", "processes").processes)
        return np.broadcast_to(0.0, (*shape, *output_dims.values()))

    _applied(everywhere, core_dims, output_dims)(variables)


def _places(pieces: Mapping[Hashable, Sequence[int]]) -> list[tuple[slice, ...]]:
    """Where each block lies along the loop dims."""
    steps = [[slice(int(end) - n, int(end)) for n, end in zip(c, np.cumsum(c), strict=True)] for c in pieces.values()]
    return list(itertools.product(*steps))


def lazy_chunks(
    variables: Sequence[xr.Variable], core_dims: Sequence[Sequence[Hashable]], fits_per_chunk: int | None, habit: Habit
) -> dict[Hashable, tuple[int, ...]]:
    """Blocks of a lazy result along each loop dim."""
    core = {d for dims in core_dims for d in dims}
    loop = {d: n for v in variables for d, n in v.sizes.items() if d not in core}
    chunks = _loop_chunks(variables, loop, fits_per_chunk)
    if any(len(variables[0].chunksizes.get(d, ())) > 1 for d in core):  # merged, a block may become very large
        chunks = _split(chunks, habit.largest)
    return chunks


def computed_chunks(
    loop: Mapping[Hashable, int], name: str, habit: Habit, fits_per_chunk: int | None, *, told: bool
) -> dict[Hashable, tuple[int, ...]] | None:
    """Blocks that computed input is cut into along each loop dim; None where all is done in one go.

    ``name`` is that of the scheduler, ``told`` whether progress is shown.
    """
    n_fits = math.prod(loop.values())
    alone = fits_per_chunk is None and (name == "synchronous" or n_fits <= 1) and n_fits <= habit.largest
    if alone and not told:
        return None
    from dask.system import CPU_COUNT

    most = min(habit.most_fits, habit.told_fits) if told else habit.most_fits
    fits_per_chunk = fits_per_chunk or max(1, min(most, math.ceil(n_fits / (habit.rounds * CPU_COUNT))))
    return _split({d: (n,) for d, n in loop.items()}, fits_per_chunk)


def n_sources(variable: xr.Variable) -> int:
    """How many pieces of its sources a lazy array is made of."""
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
        told = block_info[0]
        return np.full(
            (1,) * block.ndim, function(block, [begin for begin, _ in told["array-location"]], told["shape"])
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


def _has_samples(variables: Sequence[xr.Variable], core_dims: Sequence[Sequence[Hashable]]) -> bool:
    """Whether every variable has samples along its core dims."""
    return all(v.sizes[d] > 0 for v, dims in zip(variables, core_dims, strict=True) for d in dims)


def _without_fits(loop: Mapping[Hashable, int], output_dims: Mapping[Hashable, int]) -> xr.Variable:
    import dask.array

    return xr.Variable((*loop, *output_dims), dask.array.zeros((*loop.values(), *output_dims.values())))


def _without_samples(
    apply: Callable[[Sequence[xr.Variable]], xr.Variable],
    variables: Sequence[xr.Variable],
    core: set[Hashable],
    loop: Mapping[Hashable, int],
    output_dims: Mapping[Hashable, int],
) -> xr.Variable:
    import dask.array

    one = [xr.Variable(v.dims, np.zeros([v.sizes[d] if d in core else 1 for d in v.dims], v.dtype)) for v in variables]
    row = apply(one).values.reshape(tuple(output_dims.values()))
    chunks = _loop_chunks(variables, dict(loop), None)
    blocks = tuple(chunks[d] for d in loop) + tuple((n,) for n in output_dims.values())
    shape = (*loop.values(), *output_dims.values())
    filled = dask.array.broadcast_to(dask.array.from_array(row, name=False), shape, chunks=blocks)
    return xr.Variable((*loop, *output_dims), filled)


def _loop_chunks(
    variables: Sequence[xr.Variable], loop: dict[Hashable, int], fits_per_chunk: int | None
) -> dict[Hashable, tuple[int, ...]]:
    """Chunks of each loop dim: the data's, else those of the first companion that has any."""
    chunks: dict[Hashable, tuple[int, ...]] = {}
    for dim, size in loop.items():
        given = [v.chunksizes[dim] for v in variables if v.chunks is not None and dim in v.dims]
        chunks[dim] = tuple(given[0]) if given else (size,)
    return chunks if fits_per_chunk is None else _split(chunks, fits_per_chunk)


def _split(chunks: dict[Hashable, tuple[int, ...]], most: int) -> dict[Hashable, tuple[int, ...]]:
    """Split chunks, first dims first, until no block holds more than ``most`` fits."""
    out = dict(chunks)
    for dim in chunks:
        others = math.prod(max(c, default=0) for d, c in out.items() if d != dim)
        allowed = max(1, most // max(others, 1))
        pieces: list[int] = []
        for size in out[dim]:
            n = math.ceil(size / allowed) if size else 1
            pieces += [size // n + (i < size % n) for i in range(n)]
        out[dim] = tuple(pieces)
    return out


def _chunked(variable: xr.Variable, chunks: Mapping[Hashable, tuple[int, ...]], core: set[Hashable]) -> xr.Variable:
    wanted: dict[Any, Any] = {d: -1 if d in core else chunks[d] for d in variable.dims}
    return variable.chunk(wanted) if wanted else variable
