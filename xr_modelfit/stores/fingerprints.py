"""Digests of a fit, which tell whether it is the one that began a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.job import Job
from xr_modelfit.fitters.block_task import PRIORS
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.records.model_digests import state_by_value
from xr_modelfit.records.registry import digest_by_value

__all__ = ["fingerprint"]

_PARTS = {"start": "model", "lower": "model", "upper": "model", "input": "coordinates"} | dict.fromkeys(
    PRIORS, "options"
)
_OF_A_RUN = ("fit_info", "fitter")  # results of a fit; an inner fitter is recorded by its class


def fingerprint(jobs: Sequence[Job], result: xr.Dataset) -> tuple[dict[str, str], str | None]:
    """Digests of all that determines the numbers, keyed by words of the user.

    And the part of a model that cannot be compared from one run to the next, in words; None where all can.
    """
    unknown: str | None = None
    parts: dict[str, list[Any]] = {name: [] for name in ("model", "options", "versions", "coordinates", "data")}
    for job in jobs:
        record = json.loads(job.record)
        parts["versions"].append(record.pop("versions"))
        parts["options"] += [record.pop("options"), record.pop("fitter"), repr(job.layout)]
        parts["options"] += [repr(job.weighting.scalar_weight), *job.weighting.multiplied.values()]
        parts["options"].append(_state_of_fitter(job.fitter))
        try:
            parts["model"] += [record, state_by_value(job.problem.model)]
        except LookupError as error:
            parts["model"] += [record, None]
            unknown = unknown or str(error)
        for role, variable in job.arrays.items():
            kind = _PARTS.get(role.kind, "data")
            parts[kind].append([*map(str, role), _digest(variable)])
    parts["coordinates"] += [[str(n), _digest(c.variable)] for n, c in sorted(result.coords.items(), key=str)]
    texts = {name: json.dumps(found, sort_keys=True, default=str) for name, found in parts.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}, unknown


def _state_of_fitter(fitter: Any) -> Any:
    """The state of an astropy fitter that the record does not hold: how outliers are found, for example."""
    if not isinstance(fitter, PixelwiseFitter):
        return None
    held = {name: v for name, v in vars(fitter.fitter).items() if not name.startswith("_") and name not in _OF_A_RUN}
    try:
        return digest_by_value(type(fitter.fitter), held)
    except Exception:  # an object that has no digest: the names must do
        return sorted(held)


def _digest(variable: xr.Variable) -> str:
    """Digest of an array; of a lazy array, of its shape and three of its blocks."""
    found = hashlib.sha256(repr((variable.dims, variable.shape, str(variable.dtype))).encode())
    if variable.chunks is None:
        blocks = [variable.values]
    else:
        array, n = variable.data, int(np.prod(variable.data.numblocks))
        chosen = sorted({0, n // 2, n - 1}) if n else []
        blocks = [array.blocks[np.unravel_index(i, array.numblocks)].compute() for i in chosen]
    for block in blocks:
        found.update(repr(block.tolist()).encode() if block.dtype.kind in "OUM" else block.tobytes())
    return found.hexdigest()
