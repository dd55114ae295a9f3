"""Fits into a zarr store, tile by tile, so that they may be larger than memory and may be interrupted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.job import Job
from xr_modelfit.call.lazy_results import origin_of
from xr_modelfit.execution.computing import check_scheduler, compute, on_cluster, resolve_scheduler
from xr_modelfit.execution.execution import loaded, sums_over_blocks
from xr_modelfit.execution.progress import Tell, fits_bar
from xr_modelfit.extras import needed
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.stores.fingerprints import fingerprint
from xr_modelfit.stores.log import StoreError, StoreLog
from xr_modelfit.stores.tile_digests import combined, digest
from xr_modelfit.stores.tiles import Tiling

__all__ = ["BLOCKS_OF_TILE", "bytes_of", "tiling_of", "to_zarr"]

BLOCKS_OF_TILE = 16  # of a tile on a cluster, for its workers to share
Work = tuple[Job, Tiling, np.ndarray]  # and what each tile has read, as the log notes it

_OPTIONS = ("zarr_format", "storage_options")
_TOGETHER = 2**25  # bytes of tiles that are verified at once
_SHARE = 0.4  # of the memory is for the samples of a tile; the rest for blocks under way, and for reading


def to_zarr(
    result: xr.Dataset,
    store: Any,
    *,
    resume: bool = False,
    verify: bool = True,
    progress: bool = False,
    memory: str | int = "1 GiB",
    scheduler: Any = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> xr.Dataset:
    """See `accessor.result_methods.ResultMethods.to_zarr`."""
    budget = bytes_of(memory)
    _check(resume, verify, progress, scheduler, options)
    origin = origin_of(result)
    names = None if origin is None else origin.names_in(result)
    if origin is None or names is None:
        raise ValueError(
            "The Dataset is no lazy result as a fit returned it, so there is nothing to fit tile by tile. Call to_zarr "
            "on what modelfit returns for chunked input; write a computed or changed result with .to_zarr(store)."
        )
    jobs = origin.jobs
    encoding = _checked_encoding(encoding, result)
    log = StoreLog(store, options.get("storage_options"), options.get("zarr_format"))
    parts, unknown = fingerprint(jobs, result)
    tilings = [tiling_of(job, budget) for job in jobs]
    if resume and log.ready():
        if verify and unknown:
            raise StoreError(
                f"Whether the store {store!r} was begun by the same fit cannot be told: {unknown} If you know that it "
                "was, pass verify=False; or fit into another store."
            )
        tilings = log.go_on(parts, tilings)
    else:
        log.begin(exists_ok=resume)
        _write_frame(result, jobs, names, tilings, store, encoding, options)
        log.start(parts, tilings)
    with log.writing() as require_ours:
        read = [log.read(j)[: len(tiling)] for j, tiling in enumerate(tilings)]
        work = list(zip(jobs, tilings, read, strict=True))
        done = sum(tiling.fits(i) for _, tiling, marks in work for i in np.flatnonzero(marks).tolist())
        if verify and done:
            _verify(store, work, done, scheduler, progress)
        with fits_bar(progress, sum(t.n_fits for t in tilings), done) as tell:
            for j, (job, tiling, marks) in enumerate(work):
                for i in np.flatnonzero(marks == 0).tolist():
                    with _noting_what_is_kept(store):
                        require_ours()
                        log.mark(j, i, _write_tile(job, tiling[i], names, store, scheduler, tell, options))
    return xr.open_zarr(store, storage_options=options.get("storage_options"), consolidated=False)


def _check(resume: Any, verify: Any, progress: Any, scheduler: Any, options: Mapping[str, Any]) -> None:
    """Refuse a wrong call before the store is made."""
    for name, value in (("resume", resume), ("verify", verify), ("progress", progress)):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} is {value!r}; it must be True or False.")
    check_scheduler(scheduler, lazy=False)
    for name in options:
        if name not in _OPTIONS:
            raise TypeError(
                f"to_zarr got {name!r}, which it does not know; besides its arguments it takes {listed(_OPTIONS)}."
                f"{suggestion(name, _OPTIONS)}"
            )
    needed("zarr", "io", "to_zarr")
    if progress:
        needed("tqdm", "progress", "progress=True")


def _checked_encoding(
    encoding: Mapping[str, Mapping[str, Any]] | None, result: xr.Dataset
) -> Mapping[str, Mapping[str, Any]]:
    known = [str(n) for n in result.variables]
    unknown = [name for name in encoding or {} if name not in known]
    if unknown:
        raise ValueError(
            f"encoding names {unknown[0]!r}, but the variables are {listed(known)}.{suggestion(unknown[0], known)}"
        )
    return encoding or {}


@contextmanager
def _noting_what_is_kept(store: Any) -> Iterator[None]:
    """Add to an error in the middle, such as a full disk, that finished tiles are not lost."""
    try:
        yield
    except Exception as error:
        error.add_note(f"What was fitted until then is in {store!r}. Repeat the call with resume=True to go on.")
        raise


def bytes_of(memory: str | int) -> int:
    """A size as a number of bytes; raises ValueError if it is none, or not positive."""
    from dask.utils import parse_bytes

    try:
        found = int(parse_bytes(memory))
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f'memory is {memory!r}; pass a size such as "1 GiB", or a number of bytes.') from None
    if found <= 0:
        raise ValueError(f"memory is {memory!r}; it must be positive.")
    return found


def tiling_of(job: Job, budget: int) -> Tiling:
    """The tiles of a fit that is to use so many bytes of memory."""
    return Tiling.of(job.remaining, job.chunks, max(1, int(_SHARE * budget) // max(job.bytes_per_fit, 1)))


def _write_frame(
    result: xr.Dataset,
    jobs: list[Job],
    names: Mapping[Hashable, Hashable],
    tilings: list[Tiling],
    store: Any,
    encoding: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
) -> None:
    """Coordinates, attrs and empty variables: all but the numbers."""
    import dask.array

    empty: dict[Hashable, xr.Variable] = {}
    chunked: dict[str, dict[str, Any]] = {}
    for job, tiling in zip(jobs, tilings, strict=True):
        for own, one in job.outline().data_vars.items():
            name = names[own]
            v = result[name].variable
            chunks = tuple(tiling.steps.get(d, n) for d, n in zip(one.dims, v.shape, strict=True))
            empty[name] = xr.Variable(v.dims, dask.array.zeros(v.shape, dtype=v.dtype, chunks=chunks or -1), v.attrs)
            fill = v.dtype.kind == "f" and options.get("zarr_format") != 2  # older xarray notes NaN in format 2 only
            chunked[str(name)] = {"chunks": chunks} | ({"fill_value": np.nan} if fill else {})
            chunked[str(name)] |= encoding.get(str(name), {})
    frame = xr.Dataset(empty, result.coords, result.attrs)
    others = {n: dict(e) for n, e in encoding.items() if n not in chunked}
    with warnings.catch_warnings():  # xarray wants consolidated metadata to open a store, and zarr warns of them
        warnings.filterwarnings("ignore", "Consolidated metadata is currently")
        warnings.filterwarnings("ignore", "The codec `vlen-utf8` is currently")  # the oldest, of labels of text
        frame.to_zarr(store, mode="a", compute=False, encoding=chunked | others, **options)


def _write_tile(
    job: Job,
    tile: Mapping[Hashable, slice],
    names: Mapping[Hashable, Hashable],
    store: Any,
    scheduler: Any,
    tell: Tell | None,
    options: Mapping[str, Any],
) -> int:
    """Fit a tile and write it; returns the digest of its samples."""
    variables = job.variables_at(tile)
    if on_cluster(scheduler):  # its workers read what they fit
        n_fits = math.prod(s.stop - s.start for s in tile.values())
        packed = job.packed(variables, most_fits=math.ceil(n_fits / BLOCKS_OF_TILE))
        fields = job.fields_of(compute(packed, *resolve_scheduler(scheduler, job.defaults, None), tell))
    else:
        variables = loaded(variables, scheduler)
        fields = job.fields(variables, scheduler, tell)
    part = job.labelled(fields, tile)
    numbers = part.drop_vars([*part.coords])
    region: dict[Any, slice] = {names[d]: s for d, s in tile.items() if d in numbers.dims}
    numbers = numbers.rename({name: names[name] for name in [*numbers.dims, *numbers] if names[name] != name})
    given: dict[str, Any] = {"consolidated": False, "storage_options": options.get("storage_options")}
    if region:
        numbers.to_zarr(store, region=region, **given)
    else:
        numbers.drop_attrs().to_zarr(store, mode="r+", **given)
    return _digest_of(variables, scheduler)


def _digest_of(variables: Sequence[xr.Variable], scheduler: Any) -> int:
    """One number for the samples of a tile; lazy samples are digested where they are read."""
    if any(v.chunks is not None for v in variables):
        return combined(sums_over_blocks(variables, digest, scheduler))
    return combined([int(digest(v.values)) for v in variables])


def _verify(store: Any, work: Sequence[Work], done: int, scheduler: Any, progress: bool) -> None:
    """Read the samples of the tiles that are done, and raise StoreError if they are not those that were fitted."""
    changed = []
    with fits_bar(progress, done, what="verifying") as tell:
        for job, tiling, marks in work:
            # small tiles are read many at once: for dask, to read a few kilobytes takes as long as to read many
            most = 1 if on_cluster(scheduler) else _TOGETHER // max(job.bytes_per_fit, 1)
            for run, box in tiling.runs(np.flatnonzero(marks).tolist(), most):
                variables = job.variables_at(box)
                if not on_cluster(scheduler):
                    variables = loaded(variables, scheduler)
                for i in run:
                    at = {d: slice(s.start - box[d].start, s.stop - box[d].start) for d, s in tiling[i].items()}
                    part = [v.isel(at, missing_dims="ignore") for v in variables]
                    if _digest_of(part, scheduler) != marks[i]:
                        changed.append(tiling[i])
                    if tell is not None:
                        tell(tiling.fits(i))
    if changed:
        n_tiles = sum(np.count_nonzero(marks) for *_, marks in work)
        where = ", ".join(f"{d}={s.start}:{s.stop}" for d, s in changed[0].items()) or "the only position"
        raise StoreError(
            f"The store {store!r} was begun with other data: of {n_tiles} tiles that are done, {len(changed)} were "
            f" fitted to other samples than are there now, the first at {where}. Repeat the call with the data "
            "that it was begun with, or fit into another store; verify=False goes on without reading the data."
        )
