"""Samples to time a fit with: drawn from memory, read from a few chunks, or simulated.

Samples are simulated where a fit needs too many chunks: the model at its start, shifted to the mean of what was read,
with noise of the same scatter, and with the same share of missing positions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from xr_modelfit.analysis.probing import about
from xr_modelfit.call.job import Job
from xr_modelfit.execution.execution import n_sources, read_timed
from xr_modelfit.fitters.block_task import PRIORS, Role
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.stores.tiles import Tiling

__all__ = ["POSITION", "FitSamples", "samples_of"]

Arrays = dict[Role, xr.Variable]

POSITION = "_modelfit_position"  # the dim of drawn positions
_CHUNKS = 32  # so many may be read, if they are small
_BYTES = 2**28  # of these chunks together
_LARGEST = 2**29  # of a chunk that is read at all
_SOURCES = 8  # a chunk made of more source chunks than this is not read


@dataclass(frozen=True)
class FitSamples:
    """What the fit reads at some positions, and the seconds that reading takes.

    ``reading`` has those of each array that is not in memory, all of it. ``unread`` are lazy arrays of which no chunk
    could be read cheaply.
    """

    arrays: Arrays = field(default_factory=dict)
    reading: Mapping[Role, float] = field(default_factory=dict)
    simulated: bool = False
    unread: tuple[Role, ...] = ()


def samples_of(job: Job, most: int) -> FitSamples:
    """Samples of at most ``most`` positions; of lazy arrays a few blocks or chunks are read."""
    arrays, rng = job.arrays, np.random.default_rng(0)
    lazy = {r: _chunked(v, r, job, most) for r, v in arrays.items() if v.chunks is not None or not v._in_memory}
    if not lazy:
        return FitSamples(_drawn(arrays, job.remaining, most, rng))
    blocks = {d: next((v.chunksizes[d] for v in lazy.values() if d in v.dims), (n,)) for d, n in job.remaining.items()}
    unread = tuple(r for r, v in lazy.items() if not _is_cheap(v))
    n_chunks = {r: v.isel(_parts(blocks, 1)[0], missing_dims="ignore").data.npartitions for r, v in lazy.items()}
    large = {r for r, n in n_chunks.items() if n > _CHUNKS or n * _chunk_bytes(lazy[r]) > _BYTES}
    replaced = {*unread, *large}
    parts = _parts(blocks, _CHUNKS // max(1, sum(n for r, n in n_chunks.items() if r not in replaced)))

    read: dict[Role, list[xr.Variable]] = {}
    reading: dict[Role, float] = {}
    for role in [r for r in lazy if r not in unread]:
        places = _parts(lazy[role].chunksizes, 3) if role in large else parts
        read[role], reading[role] = _read(lazy[role], places)
    pools = []
    for i, part in enumerate(parts):
        here = {r: read[r][i] if r in lazy else v.isel(part, missing_dims="ignore")
                for r, v in arrays.items() if r not in replaced}  # fmt: skip
        sizes = {d: s.stop - s.start for d, s in part.items()}
        pools.append(_drawn(here, sizes, math.ceil(most / len(parts)), rng))
    pool = _joined(pools, rng)
    if replaced:
        n = next((v.sizes[POSITION] for v in pool.values() if POSITION in v.dims), min(most, job.n_fits))
        pool |= _simulated(job, replaced, pool, read.get(Role("data"), []), n)
    return FitSamples({role: pool[role] for role in arrays}, reading, bool(replaced), unread)


def _drawn(arrays: Arrays, sizes: Mapping[Hashable, int], n: int, rng: np.random.Generator) -> Arrays:
    """Arrays at up to ``n`` positions, drawn at random: a regular step could coincide with the rows of a map."""
    total = math.prod(sizes.values())
    drawn = rng.permutation(total)[:n] if total <= 20 * n else rng.integers(total, size=n)
    index = np.unravel_index(drawn, tuple(sizes.values())) if sizes else ()
    at = {d: xr.Variable(POSITION, i) for d, i in zip(sizes, index, strict=True)}
    return {role: v.isel(at, missing_dims="ignore") for role, v in arrays.items()}


def _joined(pools: Sequence[Arrays], rng: np.random.Generator) -> Arrays:
    """The positions of several blocks, mixed."""
    joined = {
        role: xr.Variable.concat([pool[role] for pool in pools], dim=POSITION) if POSITION in v.dims else v
        for role, v in pools[0].items()
    }
    order = rng.permutation(max((v.sizes.get(POSITION, 0) for v in joined.values()), default=0))
    return {role: v.isel({POSITION: order}, missing_dims="ignore") for role, v in joined.items()}


def _chunked(variable: xr.Variable, role: Role, job: Job, most: int) -> xr.Variable:
    """A lazy array with the chunks of dask, else those of its file, else chunks of at most ``most`` fits."""
    if variable.chunks is not None:
        return variable
    chunks = variable.encoding.get("preferred_chunks") or Tiling.of(job.remaining, {}, most).steps
    wanted = {d: chunks.get(d, -1) for d in variable.dims}
    return variable.chunk(wanted, name=f"plan-{role.kind}-{role.name}")  # a name saves dask a digest of the file


def _parts(chunks: Mapping[Hashable, Sequence[int]], most: int) -> list[dict[Hashable, slice]]:
    """Where up to ``most`` blocks lie, but one at least and three at most: in the middle and on both sides of it."""
    found: list[dict[Hashable, slice]] = []
    for at in (0.5, 0.25, 0.75)[: max(most, 1)]:
        index = {d: int(at * len(sizes)) for d, sizes in chunks.items()}
        part = {d: slice(sum(sizes[: index[d]]), sum(sizes[: index[d] + 1])) for d, sizes in chunks.items()}
        if part not in found:
            found.append(part)
    return found


def _chunk_bytes(variable: xr.Variable) -> int:
    return variable.dtype.itemsize * math.prod(variable.data.chunksize)


def _is_cheap(variable: xr.Variable) -> bool:
    """Whether one chunk can be read without many others, and is not too large."""
    one = variable.isel(_parts(variable.chunksizes, 1)[0])
    return n_sources(one) <= _SOURCES and _chunk_bytes(variable) <= _LARGEST


def _read(variable: xr.Variable, places: Sequence[Mapping[Hashable, slice]]) -> tuple[list[xr.Variable], float]:
    """Parts of a lazy array, and the seconds that all of it would take."""
    parts, times = [], []
    for place in places:
        part = variable.isel(place, missing_dims="ignore")
        values, seconds = read_timed(part)
        parts.append(part.copy(data=values))
        times.append(seconds / part.data.npartitions)
    return parts, min(times[1:] or times) * variable.data.npartitions  # the first read opens files


def _simulated(job: Job, roles: Collection[Role], pool: Arrays, read: Sequence[xr.Variable], n: int) -> Arrays:
    """Arrays in place of those that would cost too much to read."""
    dims = dict(zip(job.arrays, job.core_dims, strict=True))
    made: Arrays = {}
    for role in {*roles} - {Role("data")}:
        array = job.arrays[role]
        one = _of_one_fit(job, role, array.isel(dict.fromkeys(set(array.dims) - set(dims[role]), 0)))
        lead = {} if one.dims == array.dims else {POSITION: n}
        made[role] = one.transpose(*dims[role]).set_dims({**lead, **{d: array.sizes[d] for d in dims[role]}})
    if Role("data") not in roles:
        return made
    inputs = []
    for role in [r for r in job.arrays if r.kind in ("input", "response")]:
        at_first = (pool | made)[role].isel({POSITION: 0}, missing_dims="ignore").transpose(*dims[role])
        values, spread = np.asarray(at_first.values, float).reshape(1, -1), job.spreads.get(role)
        inputs.append((values if spread is None else spread.over(values)).T)
    problem = job.problem.private()
    with caught_warnings():
        clean = np.nan_to_num(problem.evaluate(inputs, problem.start[:, None])).ravel()
    shape = n, *(job.data.sizes[d] for d in job.fitted)
    return made | {Role("data"): xr.Variable((POSITION, *job.fitted), _noisy(clean, read, n).reshape(shape))}


def _of_one_fit(job: Job, role: Role, like: xr.Variable) -> xr.Variable:
    """What one fit reads in place of an array: coordinates about the start of the model, or a constant."""
    problem, sampling = job.problem, job.problem.sampling
    if role.kind in ("input", "place"):
        return like.copy(data=about(problem.start, like.size).reshape(like.shape))
    if role.kind == "response" and sampling is not None:
        return like.copy(data=np.full(like.shape, sampling.rows / like.size))
    if role.kind == "noise":
        return like.copy(data=np.eye(like.shape[0]))
    table = {"start": problem.start, "lower": problem.lower, "upper": problem.upper, PRIORS[0]: problem.start}
    if role.kind in table:
        return like.copy(data=np.full(like.shape, table[role.kind][int(role.name)]))
    return like.copy(data=np.ones(like.shape, like.dtype))


def _noisy(clean: np.ndarray, read: Sequence[xr.Variable], n: int) -> np.ndarray:
    """Samples (n, N) about model values (N,): with the mean, the scatter and the missing positions of what was read."""
    shift, scatter, missing = 0.0, float(np.std(clean)), 0.0
    finite = [v.values[np.isfinite(v.values)] for v in read]
    finite = [values for values in finite if values.size]
    if finite:
        shift = float(np.mean([values.mean(dtype=float) for values in finite]) - clean.mean())
        scatter = float(np.mean([values.std(dtype=float) for values in finite]))
        missing = 1.0 - sum(values.size for values in finite) / sum(v.size for v in read)
    rng = np.random.default_rng(0)
    samples = clean + shift + (scatter or 1.0) * rng.normal(size=(n, clean.size))
    samples[rng.uniform(size=n) < missing] = np.nan
    return samples
