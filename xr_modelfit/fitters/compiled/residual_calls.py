"""What residuals say of fits of the compiled engine: arrays in, arrays out (`fitters.compiled.residuals`).

Shapes: ``b`` fits of ``n`` samples, of which the ``m`` that ``ids`` names are looked at; ``K`` parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xr_modelfit.fitters.chunking import chunks
from xr_modelfit.fitters.compiled.kernels import kernels, loop
from xr_modelfit.fitters.compiled.sample_arrays import arrays_of
from xr_modelfit.fitters.contract import Fits
from xr_modelfit.tracing.source import LANES, PIECE

__all__ = ["can_look_at", "left_by_clipping", "sandwich_sums", "scales"]

_KINDS = {"soft_l1": 0, "huber": 1, "cauchy": 2, "arctan": 3}  # as in `fitters.compiled.residuals`


def can_look_at(fits: Fits) -> bool:
    """Whether compiled loops do, as they have made the fits; not where samples are made of values at nodes."""
    return fits.problem.source is not None and fits.samples.sampling is None


def scales(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """1.4826 times the median absolute weighted residual of fits ``ids`` at ``P`` (m, K); NaN where there is none."""
    found = np.empty(ids.size)
    for rows, residuals, samples in _in_chunks(fits, ids, P):
        out = np.empty(rows.size)
        loop("residuals", "scales_of")(ids[rows], residuals, samples[2], out)
        found[rows] = out
    return found


def left_by_clipping(fits: Fits, ids: np.ndarray, P: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """See `fitters.residuals.left_by_clipping`."""
    left = np.empty((ids.size, fits.samples.y.shape[1]), dtype=bool)
    for rows, residuals, _ in _in_chunks(fits, ids, P):
        out = np.empty(residuals.shape, dtype=bool)
        loop("residuals", "left_by_clipping")(residuals, *map(float, limits), out)
        left[rows] = out
    return left


def sandwich_sums(fits: Fits, ids: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Sums over samples of ``psi^2``, ``psi'``, its square and ``h / w^2`` (`fitters.sandwich`), shape (4, m)."""
    found, kind = np.empty((ids.size, 4)), _KINDS[fits.samples.noise]
    for rows, residuals, samples in _in_chunks(fits, ids, P):
        out = np.empty((rows.size, 4))
        loop("residuals", "sandwich_sums")(ids[rows], residuals, samples[2], samples[3], kind, out)
        found[rows] = out
    return found.T


def _in_chunks(
    fits: Fits, ids: np.ndarray, P: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]]:
    """Rows of ``ids``, ``y - f`` of these fits (rows, n), NaN where a sample is left out, and the arrays of samples."""
    problem, samples = fits.problem, arrays_of(fits.samples)
    assert problem.source is not None
    _, columns, tied = kernels(problem.source).addresses
    n, k = samples[0].shape[1], int(np.count_nonzero(problem.free))
    shapes = (samples[1].shape[0] + 2, n), (3, problem.n_parameters), (2, PIECE, 1 + k), (n,)
    work = tuple(np.zeros((*shape, LANES)) for shape in shapes)
    for rows in chunks(np.arange(ids.size), n):
        residuals = np.empty((rows.size, n))
        loop("residuals", "write_residuals")(columns, tied, ids[rows], samples, P[rows], residuals, work)
        yield rows, residuals, samples
