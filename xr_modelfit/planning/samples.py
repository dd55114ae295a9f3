"""A few fits of a call, timed; and a few chunks of its data, where they are not in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from xr_modelfit.call.job import Job
from xr_modelfit.execution.execution import map_blocks
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.planning.pool import POSITION, Pool, samples_of
from xr_modelfit.records.schema import FIELD

__all__ = ["Timing", "time_sample"]

_SECONDS = 0.5  # for the longest of the timed runs; all together about twice that
_MOST_FITS = 4096
_MOST_FITS_EACH = 256  # of a fitter that does one after the other: more tell nothing new
_MOST_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Timing:
    """What was timed.

    Parameters
    ----------
    fits, seconds : ndarray, shape (runs,)
        Fits in one block, and how long it took.
    reading : dict of Role to float
        Seconds for a chunk of each lazy array; for the whole of each that is in a file.
    simulated : bool
        Whether samples were made up.
    unread : tuple of Role
        Lazy arrays of which no chunk could be read cheaply.
    """

    fits: np.ndarray
    seconds: np.ndarray
    reading: Mapping[Role, float] = field(default_factory=dict)
    simulated: bool = False
    unread: tuple[Role, ...] = ()

    @property
    def n_timed(self) -> int:
        return int(self.fits.max(initial=0))

    def block(self, n: float) -> float:
        """Seconds for a block of ``n`` fits on one thread."""
        if not self.fits.size:
            return math.nan if n else 0.0
        if n <= self.fits[-1]:
            return float(np.interp(n, self.fits, self.seconds))
        rate = self.seconds[-1] / self.fits[-1]
        if self.fits.size > 1:  # what a block costs whatever its size shows in the small ones; noise must not decide
            marginal = (self.seconds[-1] - self.seconds[-2]) / (self.fits[-1] - self.fits[-2])
            rate = float(np.clip(marginal, rate / 2, rate))
        return float(self.seconds[-1] + rate * (n - self.fits[-1]))


def time_sample(job: Job) -> Timing:
    """Time a small sample of a fit, in blocks like its own."""
    n = math.prod(job.data.sizes[d] for d in job.fitted)
    if not job.n_fits or not n:
        return Timing(np.zeros(0, dtype=int), np.zeros(0))
    each = isinstance(job.fitter, PixelwiseFitter)
    most = max(1, min(_MOST_FITS_EACH if each else _MOST_FITS, _MOST_SAMPLES // n, job.n_fits))
    found = samples_of(job, most)
    block = math.prod(max(sizes, default=0) for sizes in job.blocks().values())
    fits, seconds = _runs(job, found.pool, block)
    return Timing(fits, seconds, found.reading, found.simulated, tuple(found.unread))


def _runs(job: Job, pool: Pool, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Fits in a block and seconds for it, of larger and larger blocks until the next would take too long.

    If ``block`` is small, several blocks of that size are among them: fits that never converge are in few of them.
    """
    quiet = replace(job, diagnosis=None, options=replace(job.options, errors="ignore"))
    function, fields = quiet.block_function(), job.layout.fields
    each = isinstance(job.fitter, PixelwiseFitter)

    def run(first: int, n: int) -> tuple[float, np.ndarray]:
        part = [v.isel({POSITION: slice(first, first + n)}, missing_dims="ignore") for v in pool.values()]
        begin = time.perf_counter()
        packed = map_blocks(
            function,
            part,
            job.core_dims,
            {FIELD: job.layout.width},
            scheduler="synchronous",
            habit=job.habit,
        )
        return time.perf_counter() - begin, packed.values[..., fields["n_iter"]].ravel()

    most = pool[Role("data")].sizes.get(POSITION, 1)
    run(0, 1)  # what is done once only
    fits: list[int] = []
    seconds: list[float] = []
    steps: list[tuple[float, float]] = []
    n, first = 1, 0
    while n:
        took, iterations = run(first, n)
        fits.append(n)
        seconds.append(took)
        steps.append((iterations.max(initial=0), iterations.sum()))
        first += n if each else 0  # one by one, the more different fits the better
        larger = min((2 if each else 4) * n, most - first)
        foreseen = took * larger / n if each else _foreseen(seconds, steps, larger / n)
        n = larger if (each or larger > n) and foreseen <= _SECONDS else 0
    if each:
        return np.array([0, sum(fits)]), np.array([0.0, sum(seconds)])
    if block < fits[-1]:
        starts = range(0, most - block + 1, block)
        took = 0.0
        done = 0
        while took < _SECONDS / 2 and done < len(starts):
            took += run(starts[done], block)[0]
            done += 1
        small = [(n, s) for n, s in zip(fits, seconds, strict=True) if n > block]
        fits, seconds = map(list, zip((block, took / done), *small, strict=True))
    return np.array(fits), np.maximum.accumulate(seconds)


def _foreseen(seconds: list[float], steps: list[tuple[float, float]], times: float) -> float:
    """Seconds for a block so many times larger than the last.

    An iteration of a block takes its time however few fits are left: one that never converges makes a small block slow,
    and a large one no slower.
    """
    from scipy.optimize import nnls  # takes longer to import than all of this package

    longest, total = steps[-1]
    if len(seconds) == 1:
        return seconds[0] * (1 + times) / 2
    weights = 1 / np.maximum(seconds, 1e-9)
    overhead, each = nnls(np.array(steps, dtype=float) * weights[:, None], np.ones(len(seconds)))[0]
    return float(overhead * longest + each * total * times)
