"""Fitting into a zarr store, tile by tile, so that a fit may be larger than memory and may be interrupted."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.computing import compute, on_cluster, resolve_scheduler
from xr_modelfit.execution import loaded
from xr_modelfit.jobs import Job, jobs_of
from xr_modelfit.messages import listed
from xr_modelfit.progress import Tell, fits_bar
from xr_modelfit.tiles import Tiling

__all__ = ["BLOCKS_OF_TILE", "StoreError", "bytes_of", "tiling_of", "to_zarr"]

_LOG = "_modelfit"  # a group beside the variables, which opening the store does not see
BLOCKS_OF_TILE = 16  # of a tile on a cluster, for its workers to share
_SHARE = 0.4  # of the memory for samples of a tile; the rest for blocks under way, and for reading


class StoreError(RuntimeError):
    """A store does not hold what a fit was to go on from."""


def to_zarr(
    result: xr.Dataset,
    store: Any,
    *,
    resume: bool = False,
    progress: bool = False,
    memory: str | int = "1 GiB",
    scheduler: Any = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> xr.Dataset:
    """See `xr_modelfit.accessor.ModelfitDataset.to_zarr`."""
    budget = bytes_of(memory)
    jobs = jobs_of(result)
    if jobs is None:
        raise ValueError(
            "The Dataset is no lazy result as a fit gave it, so there is nothing to fit piece by piece. Call to_zarr "
            "on what modelfit returns for chunked input; a computed or changed result has .to_zarr(store) of its own."
        )
    log = _Log(store, options.get("storage_options"), options.get("zarr_format"))
    parts = _fingerprint(jobs, result)
    tilings = [tiling_of(job, budget) for job in jobs]
    if resume and log.ready():
        tilings = log.go_on(parts, tilings)
    else:
        log.begin(exists_ok=resume)
        _write_frame(result, jobs, tilings, store, encoding or {}, options)
        log.start(parts, tilings)
    done = [log.done(j)[: len(tiling)] for j, tiling in enumerate(tilings)]
    finished = sum(t.fits(i) for t, d in zip(tilings, done, strict=True) for i in np.flatnonzero(d).tolist())
    with fits_bar(progress, sum(t.n_fits for t in tilings), finished) as tell:
        for j, (job, tiling) in enumerate(zip(jobs, tilings, strict=True)):
            for i in np.flatnonzero(~done[j]).tolist():
                with _what_is_kept(store):
                    _write_tile(job, tiling[i], store, scheduler, tell, options)
                    log.mark(j, i)
    return xr.open_zarr(store, storage_options=options.get("storage_options"), consolidated=False)


@contextmanager
def _what_is_kept(store: Any) -> Iterator[None]:
    """Say of an error in the middle, a full disk for one, that what was written is not lost."""
    try:
        yield
    except Exception as error:
        error.add_note(f"What was fitted until then is in {store!r}. Repeat the call with resume=True to go on.")
        raise


def bytes_of(memory: str | int) -> int:
    """A size as a number of bytes.

    Raises
    ------
    ValueError
        It is none, or not positive.
    """
    from dask.utils import parse_bytes

    try:
        found = int(parse_bytes(memory))
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f'memory is {memory!r}; pass a size, "1 GiB" for one, or a number of bytes.') from None
    if found <= 0:
        raise ValueError(f"memory is {memory!r}; it must be positive.")
    return found


def tiling_of(job: Job, budget: int) -> Tiling:
    """The tiles of a fit that is to keep within so many bytes."""
    return Tiling.of(job.loop, job.chunks, max(1, int(_SHARE * budget) // max(job.bytes_per_fit, 1)))


def _write_frame(
    result: xr.Dataset,
    jobs: list[Job],
    tilings: list[Tiling],
    store: Any,
    encoding: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
) -> None:
    """Coordinates, attrs and empty variables: all but the numbers."""
    import dask.array

    empty, chunked = {}, {}
    for job, tiling in zip(jobs, tilings, strict=True):
        for name in _names(result, job):
            v = result[name].variable
            chunks = tuple(tiling.steps.get(d, n) for d, n in v.sizes.items())
            empty[name] = xr.Variable(v.dims, dask.array.zeros(v.shape, dtype=v.dtype, chunks=chunks or -1), v.attrs)
            chunked[str(name)] = {"chunks": chunks} | _unwritten(v, options) | dict(encoding.get(str(name), {}))
    unknown = set(encoding) - set(chunked) - set(map(str, result.coords))
    if unknown:
        raise ValueError(f"encoding names {sorted(unknown)[0]!r}; variables are {listed(chunked)}.")
    frame = xr.Dataset(empty, result.coords, result.attrs)
    others = {n: dict(e) for n, e in encoding.items() if n not in chunked}
    with warnings.catch_warnings():  # xarray wants consolidated metadata to open a store, and zarr warns of them
        warnings.filterwarnings("ignore", "Consolidated metadata is currently")
        warnings.filterwarnings("ignore", "The codec `vlen-utf8` is currently")  # the oldest, of labels of text
        frame.to_zarr(store, mode="a", compute=False, encoding=chunked | others, **options)


def _unwritten(variable: xr.Variable, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is read where nothing was written: NaN, which older xarray says to format 2 only."""
    return {"fill_value": np.nan} if variable.dtype.kind == "f" and options.get("zarr_format") != 2 else {}


def _names(result: xr.Dataset, job: Job) -> list[Hashable]:
    """Variables of a job: those over its dims that bear its prefix, which may be the beginning of another's."""
    return [n for n in job.outline().data_vars if n in result]


def _write_tile(
    job: Job, tile: Mapping[Hashable, slice], store: Any, scheduler: Any, tell: Tell | None, options: Mapping[str, Any]
) -> None:
    variables = job.variables(tile)
    if not on_cluster(scheduler):  # a cluster's workers read what they fit
        variables = loaded(variables, scheduler)
        packed = job.packed(variables, scheduler=scheduler, tell=tell)
    else:
        packed = job.packed(
            variables, most_fits=-(-math.prod(s.stop - s.start for s in tile.values()) // BLOCKS_OF_TILE)
        )
        packed = compute(packed, *resolve_scheduler(scheduler, job.request.habit, None), tell)
    part = job.labelled(packed, tile)
    numbers = part.drop_vars([*part.coords])
    region: dict[Any, slice] = {d: s for d, s in tile.items() if d in numbers.dims}
    given = {k: v for k, v in options.items() if k == "storage_options"}
    if region:
        numbers.to_zarr(store, region=region, consolidated=False, **given)
    else:
        numbers.drop_attrs().to_zarr(store, mode="r+", consolidated=False, **given)


# --- what is done


@dataclass(frozen=True)
class _Log:
    """The group that says which tiles are done, and of what fit."""

    store: Any
    storage_options: Mapping[str, Any] | None = None
    zarr_format: Any = None

    def _open(self, mode: Any) -> Any:
        import zarr

        options = None if self.storage_options is None else dict(self.storage_options)
        return zarr.open_group(
            self.store, mode=mode, storage_options=options, zarr_format=self.zarr_format, use_consolidated=False
        )

    def ready(self) -> bool:
        """Whether an earlier run came as far as the first tile."""
        try:
            return _LOG in self._open("r") and bool(self._open("r")[_LOG].attrs.get("ready"))
        except (FileNotFoundError, KeyError, ValueError):
            return False

    def begin(self, exists_ok: bool) -> None:
        """An empty store.

        Raises
        ------
        FileExistsError
            There is something already.
        """
        try:
            group = self._open("r")
            with warnings.catch_warnings():  # a folder that a full disk left empty
                warnings.simplefilter("ignore")
                there = [*group.array_keys(), *group.group_keys()]
        except (FileNotFoundError, KeyError, ValueError):
            there = []
        ours = _LOG in there
        if there and not (exists_ok and ours):
            raise FileExistsError(
                f"The store {self.store!r} holds {listed(sorted(there))} already. Remove it, name another one, or go "
                "on with an interrupted fit: resume=True."
            )
        root = self._open("w" if ours else "a")
        root.create_group(_LOG)

    def start(self, parts: Mapping[str, str], tilings: list[Tiling]) -> None:
        """Nothing is done yet."""
        log = self._open("r+")[_LOG]
        for j, tiling in enumerate(tilings):
            log.create_array(f"done_{j}", shape=(max(len(tiling), 1),), chunks=(1,), dtype="i1", fill_value=0)
        steps = [[[str(d), n, t.steps[d]] for d, n in t.sizes.items()] for t in tilings]
        log.attrs.update({"fit": dict(parts), "tiles": steps, "ready": True})

    def go_on(self, parts: Mapping[str, str], tilings: list[Tiling]) -> list[Tiling]:
        """The tiles of the earlier run.

        Raises
        ------
        StoreError
            It was another fit.
        """
        attrs = dict(self._open("r")[_LOG].attrs)
        changed = [name for name, digest in parts.items() if attrs["fit"].get(name) != digest]
        if changed:
            raise StoreError(
                f"The store {self.store!r} was begun by another fit: {listed(changed)} changed since. Repeat the call "
                "that began it, or fit into another store."
            )
        found = []
        for tiling, noted in zip(tilings, attrs["tiles"], strict=True):
            found.append(Tiling(tiling.sizes, {d: step for d, (_, _, step) in zip(tiling.sizes, noted, strict=True)}))
        return found

    def done(self, j: int) -> np.ndarray:
        """Which tiles of job ``j`` are written; not those whose mark was cut off by a full disk."""
        marks = self._open("r")[_LOG][f"done_{j}"]
        try:
            return np.asarray(marks[:]) > 0
        except Exception:
            return np.array([_legible(marks, i) for i in range(marks.shape[0])])

    def mark(self, j: int, i: int) -> None:
        """Tile ``i`` is written."""
        self._open("r+")[_LOG][f"done_{j}"][i] = 1


def _legible(marks: Any, i: int) -> bool:
    try:
        return bool(np.all(marks[i] > 0))
    except Exception:
        return False


def _fingerprint(jobs: list[Job], result: xr.Dataset) -> dict[str, str]:
    """Digests of all that decides the numbers, by what a user calls it."""
    parts: dict[str, list[Any]] = {name: [] for name in ("model", "options", "versions", "coordinates", "data")}
    for job in jobs:
        request = job.request
        record = json.loads(request.record(job.prefix))
        parts["versions"].append(record.pop("versions"))
        parts["options"] += [record.pop("options"), record.pop("fitter"), repr(request.layout)]
        parts["options"] += [repr(request.companions.scalar_weight), request.companions.times]
        parts["model"].append(record)
        for role, variable in request.arrays.items():
            kind = {"start": "model", "lower": "model", "upper": "model"}.get(role.kind, "data")
            parts[kind if role.kind != "input" else "coordinates"].append([*map(str, role), _digest(variable)])
    parts["coordinates"] += [[str(n), _digest(c.variable)] for n, c in sorted(result.coords.items(), key=str)]
    return {
        name: hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
        for name, found in parts.items()
    }


def _digest(variable: xr.Variable) -> str:
    """Digest of an array; of a lazy one, of its shape and three of its blocks."""
    found = hashlib.sha256(repr((variable.dims, variable.shape, str(variable.dtype))).encode())
    if variable.chunks is None:
        blocks = [variable.values]
    else:
        array, n = variable.data, int(np.prod(variable.data.numblocks))
        chosen = sorted({0, n // 2, n - 1}) if n else []
        blocks = [array.blocks[np.unravel_index(i, array.numblocks)].compute() for i in chosen]
    for block in blocks:
        found.update(
            repr(block.tolist()).encode() if block.dtype.kind in "OUM" else np.ascontiguousarray(block).tobytes()
        )
    return found.hexdigest()
