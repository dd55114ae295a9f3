"""Blocks in several processes, without a main guard, and with models from a notebook or a piped script.

Processes are spawned, since forking one that has threads may hang. Python's spawn runs the main script again in each
process; here the main script is hidden from it, and cloudpickle sends what the script defines by value. loky is not
used: its pool starts as slowly, and its processes would keep modules that the user has changed and reloaded.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any

import cloudpickle
import numpy as np

__all__ = ["each_in_processes"]

_AHEAD = 2  # blocks of each process that are in its queue or finished
_LOCK = threading.Lock()
_loaded = lru_cache(1)(cloudpickle.loads)  # a process gets the same function for each block

Arrays = Sequence[np.ndarray]


def each_in_processes(
    function: Callable[..., np.ndarray],
    n: int,
    arrays_of: Callable[[int], Arrays],
    done: Callable[[int, np.ndarray], None],
    workers: int,
) -> None:
    """Call ``done(i, function(*arrays_of(i)))`` for each i below ``n``, the function in processes, in any order.

    Raises RuntimeError if a process dies.
    """
    code = cloudpickle.dumps(function)
    pool = ProcessPoolExecutor(min(workers, n), multiprocessing.get_context("spawn"), initializer=_start)
    waiting: dict[Future[np.ndarray], int] = {}
    numbers = iter(range(n))
    try:
        while True:
            for i in islice(numbers, max(0, workers * _AHEAD - len(waiting))):
                with _without_main():  # a process may start
                    waiting[pool.submit(_call, code, tuple(arrays_of(i)))] = i
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                done(waiting.pop(future), future.result())
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process died while fitting: the system ended it, for example for lack of memory, or the model's "
            'own code did. scheduler="synchronous" fits without other processes.'
        ) from error
    except BaseException:  # Ctrl-C too
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that start inside do not know a main script, and so do not run it."""
    main = sys.modules["__main__"]
    with _LOCK:
        hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)}
        main.__spec__ = None
        try:
            yield
        finally:
            del main.__spec__
            vars(main).update(hidden)


def _start() -> None:
    """In a new process: Ctrl-C is for the one that started it, which ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(code: bytes, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    return _loaded(code)(*arrays)
