"""Samples to time a fit with: drawn from memory, read from a few chunks, or made up.

Where a fit needs too many chunks, samples are simulated: the model at its start, shifted to the mean of each chunk that
was read and between them, with noise as large as their scatter, and as many positions without data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from xr_modelfit.analysis.probing import about
from xr_modelfit.call.job import Job
from xr_modelfit.execution.execution import loaded, n_sources, read_block
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.nodes import EDGE, NODE, WEIGHT
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.stores.tiles import Tiling

__all__ = ["POSITION", "Found", "Pool", "samples_of"]

Pool = dict[Role, xr.Variable]  # arrays at the drawn positions

POSITION = "_modelfit_position"  # the dim of drawn positions
_CHUNKS = 32  # so many may be read, if they are small
_BYTES = 2**28  # of these chunks together
_LARGEST = 2**29  # of a chunk that is read at all
_SOURCES = 8  # a chunk of more pieces than this was made of others, and is not read


@dataclass
class Found:
    """What was found, and how long reading took.

    Parameters
    ----------
    pool : dict of Role to Variable
    reading : dict of Role to float
        Seconds for a chunk of each lazy array; for the whole of each that is in a file.
    simulated : bool
        Whether samples were made up.
    unread : list of Role
        Lazy arrays of which no chunk could be read cheaply.
    """

    pool: Pool = field(default_factory=dict)
    reading: dict[Role, float] = field(default_factory=dict)
    simulated: bool = False
    unread: list[Role] = field(default_factory=list)


def samples_of(job: Job, most: int) -> Found:
    """Samples of ``most`` positions at the most."""
    if all(_in_memory(v) for v in job.variables):
        return Found(_drawn(job.arrays, job.loop, most, np.random.default_rng(0)))
    return _read(job, most)


def _in_memory(variable: xr.Variable) -> bool:
    return variable.chunks is None and variable._in_memory


def _drawn(arrays: Mapping[Role, xr.Variable], loop: Mapping[Hashable, int], n: int, rng: np.random.Generator) -> Pool:
    """Arrays at ``n`` positions at the most, drawn at random: a step could go along with the rows of a map."""
    total = math.prod(loop.values())
    drawn = rng.permutation(total)[:n] if total <= 20 * n else rng.integers(total, size=n)
    index = np.unravel_index(drawn, tuple(loop.values())) if loop else ()
    at = {d: xr.Variable(POSITION, i) for d, i in zip(loop, index, strict=True)}
    return {role: v.isel({d: i for d, i in at.items() if d in v.dims}) for role, v in arrays.items()}


def _read(job: Job, most: int) -> Found:
    """Time the reading of a few chunks, and take fits of them if that can be had cheaply."""
    found, rng = Found(), np.random.default_rng(0)
    grids = {role: _grid(v, job, most) for role, v in job.arrays.items() if not _in_memory(v)}
    seen: dict[Role, list[tuple[int, np.ndarray]]] = {}
    for role, grid in grids.items():
        variable = job.arrays[role]
        indices = [_index(grid, at) for at in (0.0, 0.75, 0.5)][: min(3, _pieces(grid, {}))]
        many = variable.chunks is not None and n_sources(variable, indices[0]) > _SOURCES
        if many or _bytes(variable, grid) > _LARGEST:
            found.unread.append(role)
            continue
        times = []
        for index in indices:
            values, took = _block(variable, grid, index)
            times.append(took * _share(variable, values))
            seen.setdefault(role, []).append((_middle(job, grid, index), values))
        found.reading[role] = min(times[1:] or times)  # the first opens files
    tiling = Tiling(job.loop, {d: max(_steps(grids, d, n), 1) for d, n in job.loop.items()})
    tile = _tile(tiling, 0.5)
    large = [r for r, g in grids.items() if _pieces(g, tile) > _CHUNKS or _bytes(job.arrays[r], g, tile) > _BYTES]
    made_up = {*found.unread, *large}
    pieces = sum(_pieces(g, tile) for r, g in grids.items() if r not in made_up)
    columns = [_tile(tiling, at) for at in (0.5, 0.25, 0.75)[: max(1, min(3, _CHUNKS // max(pieces, 1)))]]
    pools = []
    for column in [c for i, c in enumerate(columns) if c not in columns[:i]]:
        part = {r: v.isel(column, missing_dims="ignore") for r, v in job.arrays.items() if r not in made_up}
        part = dict(zip(part, (v.compute() for v in loaded([*part.values()], "synchronous")), strict=True))
        loop = {d: s.stop - s.start for d, s in column.items()}
        pools.append(_drawn(part, loop, -(-most // len(columns)), rng))
    pool = _joined(pools, rng)
    n = min(most, job.n_fits)
    if made_up:
        found.simulated = True
        pool |= _simulated(job, made_up, pool, seen, n, rng)
    found.pool = {role: pool[role] for role in job.arrays}
    return found


def _grid(variable: xr.Variable, job: Job, most: int) -> dict[Hashable, tuple[int, ...]]:
    """Chunks along each dim: dask's, or those of the file, or what a few fits need."""
    if variable.chunks is not None:
        return dict(variable.chunksizes)
    stored = variable.encoding.get("preferred_chunks", {})
    steps = Tiling.of(job.loop, {}, most).steps
    grid = {}
    for dim, n in variable.sizes.items():
        step = max(1, min(n, stored.get(dim, steps.get(dim, n) if not stored else n)))
        grid[dim] = tuple(min(step, n - start) for start in range(0, n, step))
    return grid


def _steps(grids: Mapping[Role, Mapping[Hashable, Sequence[int]]], dim: Hashable, n: int) -> int:
    """Positions of a chunk along a dim: of the data, else of the first array that has any."""
    given = [max(grid[dim], default=1) for grid in grids.values() if dim in grid]
    return given[0] if given else n


def _tile(tiling: Tiling, at: float) -> dict[Hashable, slice]:
    """The tile that lies so far along every dim."""
    i = 0
    for dim, n in tiling.sizes.items():
        count = math.ceil(n / tiling.steps[dim])
        i = i * count + min(int(at * count), count - 1)
    return tiling[i]


def _pieces(grid: Mapping[Hashable, Sequence[int]], tile: Mapping[Hashable, slice]) -> int:
    """Chunks of an array that a tile touches."""
    found = 1
    for dim, chunks in grid.items():
        edges = np.cumsum([0, *chunks])
        part = tile.get(dim, slice(0, edges[-1]))
        found *= int(np.count_nonzero((edges[:-1] < part.stop) & (edges[1:] > part.start)))
    return found


def _bytes(
    variable: xr.Variable, grid: Mapping[Hashable, Sequence[int]], tile: Mapping[Hashable, slice] | None = None
) -> int:
    """Of a chunk, or of those that a tile touches."""
    chunk = variable.dtype.itemsize * math.prod(max(c, default=0) for c in grid.values())
    return chunk if tile is None else chunk * _pieces(grid, tile)


def _index(grid: Mapping[Hashable, Sequence[int]], at: float) -> tuple[int, ...]:
    """The chunk that lies so far along every dim."""
    return tuple(min(int(at * len(chunks)), len(chunks) - 1) for chunks in grid.values())


def _middle(job: Job, grid: Mapping[Hashable, Sequence[int]], index: tuple[int, ...]) -> int:
    """The sample in the middle of a chunk, by its number in the fit."""
    at = {d: sum(chunks[:i]) + chunks[i] // 2 for (d, chunks), i in zip(grid.items(), index, strict=True)}
    found = 0
    for d in job.fitted:
        found = found * job.data.sizes[d] + at.get(d, 0)
    return found


def _block(
    variable: xr.Variable, grid: Mapping[Hashable, Sequence[int]], index: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """The numbers of a chunk, and the seconds that it took to read it."""
    if variable.chunks is not None:
        return read_block(variable, index)
    edges = {dim: (sum(chunks[:i]), chunks[i]) for (dim, chunks), i in zip(grid.items(), index, strict=True)}
    part = variable.isel({dim: slice(start, start + n) for dim, (start, n) in edges.items()})
    begin = time.perf_counter()
    values = np.asarray(part.values)
    return values, time.perf_counter() - begin


def _share(variable: xr.Variable, block: np.ndarray) -> float:
    """What the time of one chunk is multiplied by: of a file, all is read."""
    return 1.0 if variable.chunks is not None else variable.size / max(block.size, 1)


def _joined(pools: list[Pool], rng: np.random.Generator) -> Pool:
    """Positions of several tiles, mixed."""
    joined = {}
    order = rng.permutation(sum(next((v.sizes[POSITION] for v in p.values() if POSITION in v.dims), 0) for p in pools))
    for role, first in pools[0].items():
        if POSITION in first.dims:
            joined[role] = xr.Variable.concat([pool[role] for pool in pools], dim=POSITION).isel({POSITION: order})
        else:
            joined[role] = first
    return joined


def _simulated(
    job: Job,
    roles: set[Role],
    pool: Pool,
    seen: Mapping[Role, list[tuple[int, np.ndarray]]],
    n: int,
    rng: np.random.Generator,
) -> Pool:
    """Samples in place of those that would have cost too much to read."""
    sizes = {d: job.data.sizes[d] for d in job.fitted}
    shape, problem = tuple(sizes.values()), job.problem.private()
    read = {role: array for role, array in job.arrays.items() if role.kind in ("input", "response")}
    made: Pool = {role: _stand_in(job, role) for role in roles if role.kind in ("input", "response", "place")}
    inputs = [_numbers(job, role, made.get(role, pool.get(role, array))) for role, array in read.items()]
    n = next((v.sizes[POSITION] for v in pool.values() if POSITION in v.dims), n)
    for role in roles:
        if role.kind == "data":
            with caught_warnings(), np.errstate(all="ignore"):
                clean = np.nan_to_num(problem.evaluate(inputs, problem.start[:, None]).reshape(shape))
            level, scatter, empty = _looks(seen.get(role, []), clean)
            samples = level + scatter * rng.normal(size=(n, *shape))
            samples[rng.uniform(size=n) < empty] = np.nan
            made[role] = xr.Variable((POSITION, *sizes), samples)
        elif role.kind in ("weights", "where"):
            made[role] = xr.Variable((POSITION, *sizes), np.ones((n, *shape), dtype=job.arrays[role].dtype))
        elif role not in made:  # maps, and positions
            made[role] = xr.Variable((POSITION,), np.full(n, _scalar(job, role)))
    return made


def _stand_in(job: Job, role: Role) -> xr.Variable:
    """Coordinates about the start of the model, or a response of equal weights, in the shape of one fit."""
    problem, sampling = job.problem, job.problem.sampling
    array = job.arrays[role]
    if role.kind == "response" and sampling is not None:
        return xr.Variable((WEIGHT,), np.full(array.sizes[WEIGHT], sampling.rows / array.sizes[WEIGHT]))
    if NODE in array.dims:
        return xr.Variable((NODE,), about(problem.start, array.sizes[NODE]))
    sizes = {d: job.data.sizes[d] for d in job.fitted}
    n = math.prod(sizes.values())
    at = about(problem.start, n)
    if EDGE not in array.dims:
        return xr.Variable(tuple(sizes), at.reshape(tuple(sizes.values())))
    sides = np.linspace(-1.0, 1.0, array.sizes[EDGE]) if array.sizes[EDGE] > 1 else np.zeros(1)
    edges = at[:, None] + 0.5 * np.ptp(at) / n * sides
    return xr.Variable((*sizes, EDGE), edges.reshape((*sizes.values(), sides.size)))


def _numbers(job: Job, role: Role, array: xr.Variable) -> np.ndarray:
    """What a model reads of one input, or the weights of its values, (N, 1)."""
    one = array.isel({POSITION: 0}, missing_dims="ignore")
    values = np.ascontiguousarray(one.transpose(*[d for d in (*job.fitted, ...) if d in (*one.dims, ...)]), float)
    spread = job.spreads.get(role)
    return (values if spread is None else spread.over(values.reshape(1, -1))).reshape(-1, 1)


def _looks(seen: list[tuple[int, np.ndarray]], clean: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Level of the samples, standard deviation about it, and the share of positions that have none."""
    known = [(at, block[np.isfinite(block)]) for at, block in sorted(seen, key=lambda one: one[0])]
    known = [(at, values) for at, values in known if values.size]
    if not known:
        return clean, float(np.std(clean)) or 1.0, 0.0
    shift = [float(values.mean(dtype=float)) - clean.flat[at] for at, values in known]
    level = clean + np.interp(np.arange(clean.size), [at for at, _ in known], shift).reshape(clean.shape)
    scatter = float(np.mean([values.std(dtype=float) for _, values in known])) or 1.0
    finite = sum(values.size for _, values in known) / sum(block.size for _, block in seen)
    return level, scatter, 1.0 - finite


def _scalar(job: Job, role: Role) -> float:
    table = {"start": job.problem.start, "lower": job.problem.lower, "upper": job.problem.upper}
    return float(table[role.kind][int(role.name)]) if role.kind in table else 0.0
