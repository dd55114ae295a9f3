"""How a lazy result came about: its variables alone cannot be computed piece by piece within bounded memory.

The function in the graph of a result holds the jobs of the call, so they live as long as any array that is made with
it. They are found by the names of those arrays: copies of a result, with other attrs or names, have the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary, finalize

import xarray as xr

from xr_modelfit.call.job import Job

__all__ = ["Origin", "origin_of", "remember"]


@dataclass(frozen=True, eq=False)
class Origin:
    """The jobs of a call, and what its result is made of."""

    jobs: list[Job]
    variables: dict[Hashable, tuple[str, tuple[Hashable, ...]]]  # name in dask's graph, "" for computed ones; dims

    def names_in(self, result: xr.Dataset) -> dict[Hashable, Hashable] | None:
        """What variables and dims of the call are called in a result; None if it has others, or not all."""
        now = {_array_name(v): name for name, v in result.data_vars.items() if v.chunks is not None}
        names: dict[Hashable, Hashable] = {}
        for name, (array, dims) in self.variables.items():
            found = now.get(array, name) if array else name
            if found not in result.data_vars or _array_name(result[found]) != array:
                return None
            names |= {name: found} | dict(zip(dims, result[found].dims, strict=True))
        return names if len(result.data_vars) == len(self.variables) else None


_ORIGINS: WeakValueDictionary[str, Origin] = WeakValueDictionary()


def remember(result: xr.Dataset, jobs: list[Job]) -> xr.Dataset:
    """Note the jobs of a lazy result; returns the result."""
    arrays = {name: (_array_name(v), v.dims) for name, v in result.data_vars.items()}
    lazy = [array for array, _ in arrays.values() if array]
    if lazy:
        origin = Origin([replace(job) for job in jobs], arrays)  # without their functions, which hold this
        for job in jobs:
            job.function.origin = origin
        _ORIGINS.update(dict.fromkeys(lazy, origin))
        finalize(result, _let_go, origin).atexit = False  # a result of no positions has no graph with a function
    return result


def _let_go(_: Origin) -> None:
    """Called when the result is gone; until then the origin lives."""


def _array_name(v: xr.DataArray) -> str:
    return "" if v.chunks is None else str(v.data.name)


def origin_of(result: xr.Dataset) -> Origin | None:
    """The origin of a result whose arrays are those of a fit; None where they are not, or not all."""
    for v in result.data_vars.values():
        origin = _ORIGINS.get(_array_name(v))
        if origin is not None:
            return origin if origin.names_in(result) is not None else None
    return None
