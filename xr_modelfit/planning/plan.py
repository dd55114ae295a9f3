"""What a fit will cost, as numbers, as text and as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["FitPlan", "PlannedFit", "bytes_text", "seconds_text"]

_LEFT = "style='text-align:left'"
_NO_WARNING = "Nothing needs to be changed."


@dataclass(frozen=True)
class PlannedFit:
    """What the fit of one variable will cost.

    Sizes are those of numbers in memory, not compressed. Counts and sizes of tiles are 0 for a fit that is not lazy.

    Parameters
    ----------
    name : str
        The prefix of the outputs, less its underscore, or the name of the data.
    fitter : str
    workers : str
    n_fits, n_samples : int
        Positions, and samples of each.
    n_blocks, block_fits : int
        Blocks of the result (or of the work, in memory), and fits of the largest.
    n_tiles, tile_fits : int
        Tiles of ``to_zarr``, and fits of the largest.
    merged : dict of Hashable to int
        Fitted dims that are chunked, and how many chunks become one.
    source_bytes : int
        What is not in memory yet.
    bytes_read, tile_bytes_read : int
        What is read by the call or ``compute()``, and by ``to_zarr``.
    bytes_written : int
        The result.
    block_memory : int
        Of a worker: the samples of a block, and what fitting them takes.
    compute_memory, tile_memory : int
        Of the call or ``compute()``, and of ``to_zarr``: all workers, and the chunks that they hold.
    seconds, tile_seconds : float
        Expected of the call or ``compute()``, and of ``to_zarr``.
    fit_seconds, read_seconds : float
        Parts of ``seconds``.
    n_timed : int
        Fits that were timed.
    simulated : bool
        Whether their samples were simulated.
    """

    name: str
    fitter: str
    workers: str
    n_fits: int
    n_samples: int
    n_blocks: int
    block_fits: int
    n_tiles: int
    tile_fits: int
    merged: Mapping[Hashable, int]
    source_bytes: int
    bytes_read: int
    tile_bytes_read: int
    bytes_written: int
    block_memory: int
    compute_memory: int
    tile_memory: int
    seconds: float
    tile_seconds: float
    fit_seconds: float
    read_seconds: float
    n_timed: int
    simulated: bool

    @property
    def amplification(self) -> float:
        """How often ``to_zarr`` reads the source, on average."""
        return self.tile_bytes_read / self.source_bytes if self.source_bytes else 1.0

    def rows(self, lazy: bool) -> Iterator[tuple[str, str]]:
        """Lines of the summary: a title and a text each."""
        yield "fits", f"{_count(self.n_fits, 'fit')} of {_count(self.n_samples, 'sample')}, {self.fitter}"
        if self.merged:
            merged = ", ".join(f"{n} chunks of {dim}" for dim, n in self.merged.items())
            yield "merged", f"{merged} become one"
        call = "compute()" if lazy else "call"
        blocks = f"{_count(self.n_blocks, 'block')} of up to {_count(self.block_fits, 'fit')}"
        yield call, f"{blocks}, {self.workers}"
        if self.source_bytes:
            yield "", f"reads {bytes_text(self.bytes_read)}"
        each = f", {bytes_text(self.block_memory)} for a block" if self.n_blocks > 1 else ""
        yield "", f"about {bytes_text(self.compute_memory)} of memory{each}"
        parts = f": {seconds_text(self.fit_seconds)} fitting, {seconds_text(self.read_seconds)} reading"
        yield "", f"about {seconds_text(self.seconds)}{parts if self.read_seconds > 0 and self.fit_seconds > 0 else ''}"
        if self.n_tiles:
            yield "to_zarr()", f"{_count(self.n_tiles, 'tile')} of up to {_count(self.tile_fits, 'fit')}"
            times = "" if self.amplification < 1.05 else f", each chunk {self.amplification:.1f} times"
            yield "", f"reads {bytes_text(self.tile_bytes_read)}{times}"
            yield "", f"about {bytes_text(self.tile_memory)} of memory"
            yield "", f"about {seconds_text(self.tile_seconds)}"
        yield "result", bytes_text(self.bytes_written)
        if self.n_timed:
            kind = " with simulated samples" if self.simulated else ""
            yield "timed", f"{_count(self.n_timed, 'fit')}{kind}"


def _over_fits(combine: Callable[[list[Any]], Any], name: str, doc: str) -> Any:
    """A property of a plan: the sum, or the largest, of a number of its fits."""
    return property(lambda plan: combine([0, *(getattr(f, name) for f in plan.fits.values())]), doc=doc)


@dataclass(frozen=True)
class FitPlan:
    """What a fit will cost, found out before it runs; its ``str`` is a short text, in notebooks it is a table.

    Times are those of this machine as it is now, and meant within a factor of three.

    Parameters
    ----------
    fits : dict of str to PlannedFit
        One for each variable that will be fitted, by name.
    lazy : bool
        Whether the call returns a lazy result, so that the work is done by ``compute()`` or ``to_zarr``.
    memory : int
        What ``to_zarr(memory=)`` was planned for, in bytes.
    warnings : tuple of str
        What is bad about the layout, and how to fix it; empty where nothing needs to be done.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xr_modelfit
    >>> from astropy.modeling.models import Linear1D
    >>> series = xr.DataArray(np.random.default_rng(0).normal(size=(50, 40, 365)), dims=("y", "x", "t"))
    >>> plan = series.chunk(y=10).modelfit.plan(Linear1D(), dim="t")
    >>> plan.n_fits, plan.n_blocks, plan.bytes_read
    (2000, 5, 5840000)
    >>> plan.warnings
    ()
    """

    fits: Mapping[str, PlannedFit]
    lazy: bool
    memory: int
    warnings: tuple[str, ...]

    n_fits = _over_fits(sum, "n_fits", "Fits in all.")
    n_blocks = _over_fits(sum, "n_blocks", "Blocks of the result (or of the work, in memory).")
    n_tiles = _over_fits(sum, "n_tiles", "Tiles of ``to_zarr``; 0 for a fit that is not lazy.")
    n_timed = _over_fits(sum, "n_timed", "Fits that were timed.")
    bytes_read = _over_fits(sum, "bytes_read", "Bytes that the call or ``compute()`` reads, not compressed.")
    tile_bytes_read = _over_fits(sum, "tile_bytes_read", "Bytes that ``to_zarr`` reads, not compressed.")
    bytes_written = _over_fits(sum, "bytes_written", "Bytes of the result, not compressed.")
    block_memory = _over_fits(max, "block_memory", "Of a worker: samples of the largest block, and fitting them.")
    compute_memory = _over_fits(
        max, "compute_memory", "About what the call or ``compute()`` takes, all workers together."
    )
    tile_memory = _over_fits(max, "tile_memory", "About what ``to_zarr`` takes, all workers together.")
    seconds = _over_fits(sum, "seconds", "Expected of the call or ``compute()``.")
    tile_seconds = _over_fits(sum, "tile_seconds", "Expected of ``to_zarr``.")

    @property
    def n_samples(self) -> int:
        """Samples in all."""
        return sum(f.n_fits * f.n_samples for f in self.fits.values())

    @property
    def merged(self) -> dict[Hashable, int]:
        """Fitted dims that are chunked, and how many chunks become one."""
        found: dict[Hashable, int] = {}
        for f in self.fits.values():
            found |= {d: max(n, found.get(d, 0)) for d, n in f.merged.items()}
        return found

    @property
    def amplification(self) -> float:
        """How often ``to_zarr`` reads the source, on average."""
        source = sum(f.source_bytes for f in self.fits.values())
        return self.tile_bytes_read / source if source and self.lazy else 1.0

    def __str__(self) -> str:
        if not self.fits:
            return "No variable has the fitted dims: nothing will be fitted."
        lines = []
        for name, f in self.fits.items():
            lines += [name or "the data", *(f"  {title:<9}  {text}" for title, text in f.rows(self.lazy))]
        if len(self.fits) > 1:
            lines.append(f"together     {self._together()}")
        return "\n".join([*lines, *([f"! {text}" for text in self.warnings] or [_NO_WARNING])])

    __repr__ = __str__

    def _together(self) -> str:
        tiles = f", to_zarr() about {seconds_text(self.tile_seconds)}" if self.lazy else ""
        call = "compute()" if self.lazy else "the call"
        return f"{_count(self.n_fits, 'fit')}, {call} about {seconds_text(self.seconds)}{tiles}"

    def _repr_html_(self) -> str:
        if not self.fits:
            return f"<p>{escape(str(self))}</p>"
        parts = []
        for name, f in self.fits.items():
            rows = "".join(
                f"<tr><th {_LEFT}>{escape(title)}</th><td {_LEFT}>{escape(text)}</td></tr>"
                for title, text in f.rows(self.lazy)
            )
            parts.append(f"<p><b>{escape(name or 'the data')}</b></p><table><tbody>{rows}</tbody></table>")
        if len(self.fits) > 1:
            parts.append(f"<p>Together {escape(self._together())}</p>")
        warnings = "".join(f"<li>{escape(text)}</li>" for text in self.warnings)
        return "".join([*parts, f"<ul>{warnings}</ul>" if warnings else f"<p>{_NO_WARNING}</p>"])


def bytes_text(n: float) -> str:
    """A size in words: ``1.5 GiB``."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if n < 1000:
            break
        n, unit = n / 1024, larger
    return f"{n:.0f} {unit}" if unit == "B" or n >= 10 or n == int(n) else f"{n:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """A time in words, no more exact than it is known."""
    if math.isnan(seconds):
        return "an unknown time"
    for limit, size, unit in ((1e-3, 1e-6, "us"), (1.0, 1e-3, "ms"), (100.0, 1.0, "s"), (6000.0, 60.0, "min")):
        if seconds < limit:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 3600:.2g}'):g} h"


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}".replace(",", " ")
