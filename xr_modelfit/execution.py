"""Where and in which pieces the work is done: chunks, schedulers, one ``apply_ufunc``.

The only module that knows dask. Whatever is chosen here never changes a result: a block's fits
do not see each other.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import xarray as xr
from dask.base import get_scheduler
from dask.system import CPU_COUNT

__all__ = ["Habit", "check_scheduler", "chunked_like", "is_lazy", "map_blocks"]

SCHEDULERS = ("synchronous", "threads", "processes", "distributed", "default")
_ALIASES = {
    "sync": "synchronous",
    "single-threaded": "synchronous",
    "threading": "threads",
    "multiprocessing": "processes",
}
_FEW_SAMPLES = 2_000_000  # below, threads wait for the interpreter longer than they work side by side
_MOST_SAMPLES = 4_000_000  # 32 MB of data in a block
_GUARD = (
    'Processes import the script that started them: put its calls under `if __name__ == "__main__":`, '
    'or pass scheduler="synchronous".'
)


@dataclass(frozen=True)
class Habit:
    """How computed input is worked on by default.

    Parameters
    ----------
    scheduler : {"threads", "processes"}
    few_fits : int
        So few are done at once, without a scheduler.
    most_fits : int
        So many are in a block at the most.
    rounds : int
        Blocks for each core.
    """

    scheduler: str
    few_fits: int
    most_fits: int
    rounds: int

    @property
    def largest(self) -> int:
        """Most fits in one go, whatever the scheduler: beyond, copies of the samples cost memory."""
        return max(self.few_fits, self.most_fits)

    @classmethod
    def for_arrays(cls, n_samples: int = 1) -> Habit:
        """For functions of whole blocks: few large ones, on threads."""
        n = max(n_samples, 1)
        return cls("threads", few_fits=_FEW_SAMPLES // n, most_fits=max(1, _MOST_SAMPLES // n), rounds=1)

    @classmethod
    def one_by_one(cls) -> Habit:
        """For fits of a millisecond each: many blocks, in processes, which take seconds to start."""
        return cls("processes", few_fits=1000, most_fits=500, rounds=4)


def is_lazy(*variables: xr.Variable) -> bool:
    """Whether any of the arrays is chunked by dask."""
    return any(v.chunks is not None for v in variables)


def check_scheduler(scheduler: Any, lazy: bool) -> None:
    """Refuse an unknown scheduler, or one for a result that is not computed here.

    Raises
    ------
    ValueError
    """
    if scheduler is None:
        return
    if lazy:
        raise ValueError(
            f"scheduler is {scheduler!r}, but the input is dask-backed, so the result is lazy and nothing runs yet. "
            "Leave it out, and compute the result with it: fit.compute(scheduler=...)."
        )
    if isinstance(scheduler, str) and _ALIASES.get(scheduler, scheduler) not in SCHEDULERS:
        raise ValueError(f"scheduler is {scheduler!r}; known are {', '.join(map(repr, SCHEDULERS))}, or a dask client.")
    if not isinstance(scheduler, str) and not hasattr(scheduler, "get"):
        raise ValueError(f"scheduler is a {type(scheduler).__name__}; pass a name or a distributed Client.")


def map_blocks(
    function: Callable[..., np.ndarray],
    variables: Sequence[xr.Variable],
    core_dims: Sequence[Sequence[Hashable]],
    output_dims: Mapping[Hashable, int],
    *,
    scheduler: Any = None,
    fits_per_chunk: int | None = None,
    habit: Habit | None = None,
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

    if lazy and 0 in shape:  # dask wants arrays without a dim to have it with size 0 then
        return _without_fits(loop, output_dims)
    if lazy and any(v.sizes[d] == 0 for v, dims in zip(variables, core_dims, strict=True) for d in dims):
        # dask divides by the size of core dims: with no sample, every position says the same.
        return _without_samples(apply, variables, core, loop, output_dims)
    if lazy:
        chunks = _loop_chunks(variables, loop, fits_per_chunk)
        return apply([_chunked(v, chunks, core) for v in variables])

    variables = [v.compute() for v in variables]
    habit = habit or Habit.for_arrays()
    n_fits = math.prod(shape)
    get, name = _resolve(scheduler, habit, n_fits if fits_per_chunk is None else None)
    whole = fits_per_chunk is None and (name == "synchronous" or n_fits <= 1) and n_fits <= habit.largest
    if whole or n_fits == 0 or not _has_samples(variables, core_dims):
        return apply(variables)
    fits_per_chunk = fits_per_chunk or max(1, min(habit.most_fits, math.ceil(n_fits / (habit.rounds * CPU_COUNT))))
    chunks = _split({d: (n,) for d, n in loop.items()}, fits_per_chunk)
    lazy_out = apply([_chunked(v, chunks, core) for v in variables])
    return _compute(lazy_out, get, name)


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


def _resolve(scheduler: Any, habit: Habit, n_fits: int | None) -> tuple[Any, str]:
    """What to hand to ``dask.compute(scheduler=)``, and the name of it."""
    if scheduler is not None and scheduler != "default":
        if isinstance(scheduler, str):
            scheduler = _ALIASES.get(scheduler, scheduler)
            return scheduler, scheduler
        return scheduler, "distributed"
    if scheduler == "default" or dask.config.get("scheduler", None) is not None:
        return None, "default"
    if "distributed" in sys.modules and get_scheduler() is not None:  # an active client comes first
        return None, "default"
    processes = habit.scheduler == "processes"
    if processes and multiprocessing.parent_process() is not None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(f"A fit started while a process was being started for it. {_GUARD}")
        return "synchronous", "synchronous"  # already one of several workers
    if n_fits is not None and n_fits <= habit.few_fits:
        return "synchronous", "synchronous"
    return habit.scheduler, habit.scheduler


def _compute(variable: xr.Variable, scheduler: Any, name: str) -> xr.Variable:
    try:
        return variable.compute() if scheduler is None else variable.compute(scheduler=scheduler)
    except BrokenProcessPool as error:
        raise RuntimeError(f"A worker process died while fitting. {_GUARD}") from error
    except RuntimeError as error:
        if "bootstrapping phase" in str(error):
            raise RuntimeError(f"A fit started while a process was being started for it. {_GUARD}") from error
        raise
