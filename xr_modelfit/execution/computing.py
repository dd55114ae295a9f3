"""Schedulers: which one computes, with how many workers, and how many fits it has finished.

dask takes longer to import than all of this package, so the functions that need it import it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.execution.progress import Tell

__all__ = [
    "ExecutionDefaults",
    "Workers",
    "check_scheduler",
    "compute",
    "compute_each",
    "on_cluster",
    "resolve_scheduler",
    "workers_of",
]

_NAMES = ("synchronous", "threads", "processes", "distributed", "default")
_ALIASES = {
    "sync": "synchronous",
    "single-threaded": "synchronous",
    "threading": "threads",
    "multiprocessing": "processes",
}
_FEW_SAMPLES = 2_000_000  # with fewer, threads lose more time to the GIL than they save
_FEW_RELEASED = 200_000  # the same without the GIL; starting threads takes some milliseconds
_MOST_SAMPLES = 4_000_000  # 32 MB of data in a block
_GUARD = (
    'Processes import the script that started them: put its calls under `if __name__ == "__main__":`, '
    'or pass scheduler="synchronous".'
)


@dataclass(frozen=True)
class ExecutionDefaults:
    """How computed input is worked on by default."""

    scheduler: str  # "threads" or "processes"
    few_fits: int  # up to this number, fits are done in one block, without a scheduler
    most_fits: int  # of a block
    rounds: int  # blocks for each core
    progress_fits: int = 20_000  # most of a block where progress is shown: a second's work

    @property
    def largest(self) -> int:
        """Most fits of a block, whatever the scheduler: in larger ones, copies of the samples cost memory."""
        return max(self.few_fits, self.most_fits)

    @classmethod
    def for_arrays(cls, n_samples: int = 1, *, release: bool = False) -> ExecutionDefaults:
        """For functions of whole blocks: a few large blocks, on threads; ``release``: the function releases the GIL."""
        n, few = max(n_samples, 1), _FEW_RELEASED if release else _FEW_SAMPLES
        return cls("threads", few_fits=few // n, most_fits=max(1, _MOST_SAMPLES // n), rounds=1)

    @classmethod
    def one_by_one(cls) -> ExecutionDefaults:
        """For fits of a millisecond each: many blocks, in processes, which take seconds to start."""
        return cls("processes", few_fits=1000, most_fits=500, rounds=4, progress_fits=200)


def check_scheduler(scheduler: Any, lazy: bool) -> None:
    """Raise ValueError for an unknown scheduler, or for one that is given for a lazy result."""
    if scheduler is None:
        return
    if lazy:
        raise ValueError(
            f"scheduler is {scheduler!r}, but the input is dask-backed, so the result is lazy and nothing runs yet. "
            "Leave it out, and compute the result with it: fit.compute(scheduler=...)."
        )
    if isinstance(scheduler, str) and _ALIASES.get(scheduler, scheduler) not in _NAMES:
        raise ValueError(f"scheduler is {scheduler!r}; known are {', '.join(map(repr, _NAMES))}, or a dask client.")
    if not isinstance(scheduler, str) and not hasattr(scheduler, "get"):
        raise ValueError(f"scheduler is a {type(scheduler).__name__}; pass a name or a distributed Client.")


def resolve_scheduler(scheduler: Any, defaults: ExecutionDefaults, n_fits: int | None) -> tuple[Any, str]:
    """The argument of ``dask.compute(scheduler=)``, and the name of the scheduler."""
    if scheduler is not None and scheduler != "default":
        if isinstance(scheduler, str):
            scheduler = _ALIASES.get(scheduler, scheduler)
            return scheduler, scheduler
        return scheduler, "distributed"
    import dask
    from dask.base import get_scheduler

    if scheduler == "default" or dask.config.get("scheduler", None) is not None:
        return None, "default"
    if "distributed" in sys.modules and get_scheduler() is not None:  # an active client comes first
        return None, "default"
    if defaults.scheduler == "processes" and _in_worker():
        return "synchronous", "synchronous"  # already one of several workers
    if n_fits is not None and n_fits <= defaults.few_fits:
        return "synchronous", "synchronous"
    return defaults.scheduler, defaults.scheduler


def _in_worker() -> bool:
    """Whether this process was started by another."""
    import multiprocessing

    if multiprocessing.parent_process() is None:
        return False
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(f"A fit started while a process was being started for it. {_GUARD}")
    return True


@dataclass(frozen=True)
class Workers:
    """The workers of a scheduler: processes, threads of each, and whether the processes run already."""

    processes: int = 1
    threads: int = 1
    started: bool = True

    @property
    def total(self) -> int:
        """Blocks under way at the same time."""
        return self.processes * self.threads

    def gain(self, serial: float, n_blocks: int) -> float:
        """Speed relative to one thread; ``serial`` is the share that threads of a process do one after the other."""
        processes = max(1, min(self.processes, n_blocks))
        threads = max(1, min(self.threads, math.ceil(n_blocks / processes)))
        return processes / (serial + (1 - serial) / threads)


def workers_of(scheduler: Any, name: str) -> Workers:
    """The workers of what `resolve_scheduler` returned."""
    import dask
    from dask.system import CPU_COUNT

    cores = int(dask.config.get("num_workers", None) or CPU_COUNT)
    if name in ("default", "distributed"):
        client = scheduler if hasattr(scheduler, "nthreads") else _active_client()
        if client is not None:
            return _workers_of_client(client, cores)
    if name == "default":
        given = dask.config.get("scheduler", None)
        name = _ALIASES.get(given, given) if isinstance(given, str) else "threads"
    if name == "synchronous":
        return Workers()
    return Workers(processes=cores, started=False) if name == "processes" else Workers(threads=cores)


def _workers_of_client(client: Any, cores: int) -> Workers:
    if getattr(client, "asynchronous", False):  # it can be asked only by await
        return Workers(threads=cores)
    workers = dict(client.nthreads())
    threads = max(1, sum(workers.values()))
    if all(address.startswith("inproc:") for address in workers):  # all in this process, or none yet
        return Workers(threads=threads)
    return Workers(len(workers), max(1, round(threads / len(workers))))


def on_cluster(scheduler: Any) -> bool:
    """Whether workers of a cluster do the work; they should then read the data themselves."""
    if isinstance(scheduler, str) and scheduler != "default":
        return scheduler == "distributed"
    return hasattr(scheduler, "get") or _active_client() is not None


def _active_client() -> Any:
    if "distributed" not in sys.modules:
        return None
    from dask.base import get_scheduler
    from distributed import default_client

    try:
        return default_client() if get_scheduler() is not None else None
    except ValueError:
        return None


def compute(variable: xr.Variable, scheduler: Any, name: str, tell: Tell | None = None) -> xr.Variable:
    """Compute a lazy array whose last dim is that of fields; ``tell`` is called with the fits of each block."""
    from concurrent.futures.process import BrokenProcessPool

    from dask.core import flatten

    try:
        if tell is not None and on_cluster(scheduler if scheduler is not None else name):
            return _compute_on_cluster(variable, scheduler, tell)
        with _counting(flatten(variable.data.__dask_keys__()), tell):
            return variable.compute(scheduler=scheduler)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process died while fitting: the system ended it, for example for lack of memory, or the model's "
            f"own code did; or it could not start. {_GUARD}"
        ) from error
    except RuntimeError as error:
        if "bootstrapping phase" in str(error):
            raise RuntimeError(f"A fit started while a process was being started for it. {_GUARD}") from error
        raise


def compute_each(work: Callable[[int], np.ndarray], n: int, scheduler: str, tell: Tell | None = None) -> None:
    """Do ``work(i)`` for each i below ``n`` in threads, or one after the other; callbacks of dask see the tasks.

    dask shows the name of ``work``. ``tell`` is called with the fits of each block, by the shape of what it returns.
    """
    from dask.base import get_scheduler
    from dask.delayed import delayed

    task = delayed(work, pure=False, traverse=False)
    graph: dict[Any, Any] = {}
    for i in range(n):
        graph.update(task(i).dask)
    with _counting(graph, tell):
        get_scheduler(scheduler=scheduler)(graph, list(graph))  # dask.compute would optimize the graph first


def _counting(keys: Iterable[Any], tell: Tell | None) -> AbstractContextManager[Any]:
    """Counts the fits of finished blocks on dask's own schedulers."""
    if tell is None:
        return nullcontext()
    from dask.callbacks import Callback

    counted = set(keys)

    def count(key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if key in counted and isinstance(result, np.ndarray):
            tell(math.prod(result.shape[:-1]))

    counter: AbstractContextManager[Any] = Callback(posttask=count)
    return counter


def _compute_on_cluster(variable: xr.Variable, scheduler: Any, tell: Tell) -> xr.Variable:
    from dask.core import flatten
    from distributed import as_completed, futures_of

    client = scheduler if hasattr(scheduler, "persist") else _active_client()
    kept = client.persist(variable.data)
    chunks = variable.data.chunks[:-1]
    sizes = {
        key: math.prod(c[i] for c, i in zip(chunks, key[1:-1], strict=True))
        for key in flatten(variable.data.__dask_keys__())
    }
    with client.as_current():  # as_completed looks for one, even where it has nothing to do
        for future in as_completed(futures_of(kept, client=client)):
            tell(sizes.get(future.key, 0))
    return variable.copy(data=client.compute(kept, sync=True))
