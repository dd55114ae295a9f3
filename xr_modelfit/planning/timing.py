"""How long a few fits of a call take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np

from xr_modelfit.call.job import Job
from xr_modelfit.execution.execution import map_blocks
from xr_modelfit.planning.samples import POSITION, Arrays, FitSamples, samples_of
from xr_modelfit.records.schema import FIELD

__all__ = ["Timing", "time_sample"]

_SECONDS = 0.25  # the first run that takes longer is the last
_MOST_FITS = 4096
_MOST_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Timing:
    """Seconds (runs,) that blocks of so many fits (runs,) took."""

    fits: np.ndarray
    seconds: np.ndarray

    @property
    def n_timed(self) -> int:
        return int(self.fits.max(initial=0))

    def block(self, n: float) -> float:
        """Seconds for a block of ``n`` fits on one thread."""
        if n <= self.fits[-1]:
            return float(np.interp(n, self.fits, self.seconds))
        rate = self.seconds[-1] / self.fits[-1]
        if self.fits.size > 1:  # small blocks show the cost of a block; noise must not decide
            marginal = (self.seconds[-1] - self.seconds[-2]) / (self.fits[-1] - self.fits[-2])
            rate = float(np.clip(marginal, rate / 2, rate))
        return float(self.seconds[-1] + rate * (n - self.fits[-1]))


def time_sample(job: Job) -> tuple[Timing, FitSamples]:
    """Time a small sample of a fit, in blocks like its own; and the sample."""
    n = math.prod(job.data.sizes[d] for d in job.fitted)
    if not job.n_fits or not n:
        return Timing(np.zeros(0, dtype=int), np.zeros(0)), FitSamples()
    samples = samples_of(job, max(1, min(_MOST_FITS, _MOST_SAMPLES // n, job.n_fits)))
    block = math.prod(max(sizes) for sizes in job.blocks().values())
    n_drawn = max(v.sizes.get(POSITION, 1) for v in samples.arrays.values())
    return _timed(_run(job, samples.arrays), n_drawn, block), samples


def _run(job: Job, arrays: Arrays) -> Callable[[int, int], float]:
    """A function that fits ``n`` positions from the ``first`` in one block, and returns the seconds."""
    quiet = replace(job, diagnosis=None, options=replace(job.options, errors="ignore"))
    function = quiet.block_function()
    output_dims: dict[Hashable, int] = {FIELD: job.layout.width}

    def run(first: int, n: int) -> float:
        part = [v.isel({POSITION: slice(first, first + n)}, missing_dims="ignore") for v in arrays.values()]
        begin = time.perf_counter()
        map_blocks(function, part, job.core_dims, output_dims, scheduler="synchronous", defaults=job.defaults)
        return time.perf_counter() - begin

    return run


def _timed(run: Callable[[int, int], float], n_drawn: int, block: int) -> Timing:
    """Time larger and larger blocks, up to ``block`` fits, until one takes long.

    Blocks of the full size are timed several times, with other fits: few of them have fits that never converge.
    """
    run(0, 1)  # what is done only once
    largest = min(n_drawn, block)
    fits, seconds = [1], [run(0, 1)]
    while fits[-1] < largest and seconds[-1] < _SECONDS:
        fits.append(min(4 * fits[-1], largest))
        seconds.append(run(0, fits[-1]))
    times = [seconds[-1]]
    while sum(times) < _SECONDS and (len(times) + 1) * fits[-1] <= n_drawn:
        times.append(run(len(times) * fits[-1], fits[-1]))
    seconds[-1] = sum(times) / len(times)
    return Timing(np.array(fits), np.maximum.accumulate(seconds))
