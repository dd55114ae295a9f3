"""The same fit at some positions of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import UnitBase

from xr_modelfit.call.diagnostics import make_folder
from xr_modelfit.call.fitting import job_of_labels
from xr_modelfit.call.job import Job
from xr_modelfit.call.options import FitOptions
from xr_modelfit.execution.execution import is_lazy
from xr_modelfit.execution.progress import fits_bar
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.coords import Labels
from xr_modelfit.records.schema import label

__all__ = ["Again"]

_HERE = "_modelfit_position"


@dataclass(frozen=True)
class Again:
    """Fits some positions of the data, from starts that differ from one call to the next."""

    labels: Labels
    options: FitOptions  # its ``where`` is an array, or None
    held: Mapping[str, xr.DataArray]  # values of fixed parameters that differ from fit to fit
    units: Sequence[UnitBase | None]  # of the parameters in the result that is to be bettered, where they are known

    def job(self, p0: Any, mask: xr.DataArray | None = None) -> Job:
        """The fit, resolved; of the positions of a mask alone, where given."""
        where: Any = self.options.where
        if mask is not None:
            where = mask if where is None else mask & where
        job = job_of_labels(self.labels, replace(self.options, p0=p0, where=where))
        own_units = (
            one if now is None else replace(one, own=now) for one, now in zip(job.units, self.units, strict=True)
        )
        job = replace(job, units=tuple(own_units))
        p, given = job.problem, p0 if isinstance(p0, Mapping) else {}
        own = {
            Role("start", j): self.held[n].variable * job.units[j].inward
            for j, n in enumerate(p.names)
            if n in self.held and not {n, p.model.param_names[j]} & set(given)
        }
        return replace(job, arrays=job.arrays | own, adapted=p0 is not None)

    def __call__(self, chosen: xr.DataArray, p0: Any) -> xr.Dataset | None:
        """A result over all positions, meaningful where they are ``chosen``; None where none is.

        It is lazy if anything is; then the other positions have no samples.
        """
        chosen = chosen.drop_vars(list(chosen.coords))
        job = self.job(p0)
        if job.lazy or is_lazy(chosen.variable):
            job = self.job(p0, chosen)
            return job.labelled(job.fields())
        at = np.nonzero(np.atleast_1d(chosen.transpose(*job.remaining).values))
        return None if not len(at[0]) else _fitted_at(job, at)


def _fitted_at(job: Job, at: tuple[np.ndarray, ...]) -> xr.Dataset:
    """The fits at some positions, side by side, and put in their places."""
    dims = tuple(job.remaining)
    index = {d: xr.Variable(_HERE, i) for d, i in zip(dims, at, strict=False)}  # without dims, one fit
    variables = [v.isel({d: i for d, i in index.items() if d in v.dims}) for v in job.variables]
    make_folder(job.diagnosis)
    with fits_bar(job.options.progress, len(at[0])) as tell:
        fields = job.fields(variables, scheduler=job.options.scheduler, tell=tell)
    some = label(fields, (_HERE,) if dims else (), job.layout, xr.Dataset(), job.metadata, job.samples)
    if not dims:
        return some
    made = {}
    for name, v in some.data_vars.items():
        v = v.transpose(_HERE, ...)
        shape = (*job.remaining.values(), *v.shape[1:])
        full = np.zeros(shape, v.dtype) if v.dtype.kind in "iub" else np.full(shape, np.nan)
        full[at] = v.values
        made[name] = xr.Variable((*dims, *v.dims[1:]), full, v.attrs)
    return xr.Dataset(made)
