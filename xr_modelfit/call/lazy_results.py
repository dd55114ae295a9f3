"""How a lazy result came about, for as long as it lives.

Its variables alone cannot be computed piece by piece within bounded memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable

import xarray as xr

from xr_modelfit.call.job import Job

__all__ = ["jobs_of", "remember"]

_JOBS: dict[int, tuple[list[Job], dict[Hashable, str]]] = {}


def remember(result: xr.Dataset, jobs: list[Job]) -> xr.Dataset:
    """Note the jobs of a lazy result; returns the result."""
    if any(job.lazy for job in jobs):
        _JOBS[id(result)] = jobs, _names_of(result)
        weakref.finalize(result, _JOBS.pop, id(result), None).atexit = False
    return result


def jobs_of(result: xr.Dataset) -> list[Job] | None:
    """The jobs of a result that was not changed since; None where they are not known."""
    jobs, names = _JOBS.get(id(result), (None, {}))
    return jobs if jobs is not None and names == _names_of(result) else None


def _names_of(result: xr.Dataset) -> dict[Hashable, str]:
    return {name: v.data.name if v.chunks is not None else "" for name, v in result.data_vars.items()}
