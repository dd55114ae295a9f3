r"""Peaks in a plane, one after the other.

The best square gives place and size. The shape follows from second moments under a round Gaussian weight of that size,
in which noise far out does not count: with moments ``M`` in units of the weight, the peak has ``S^-1 = M^-1 - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xr_modelfit.estimates.cells import Square, best_square, cells_of, without_spikes
from xr_modelfit.estimates.columns import SampleColumns, inner
from xr_modelfit.estimates.linear_part import Basis, columns_at, solved
from xr_modelfit.estimates.plane_peaks import PLANE_PEAKS
from xr_modelfit.estimates.terms import Term, with_values

__all__ = ["with_stars"]

_PER_EXTENT = 1 / 2.8  # standard deviation of a Gaussian in its best square
_WIDEST = 2.5  # times the size of the weight, and one over it
_ROUND = 1.05  # axes that differ by less leave their angle without effect


def with_stars(fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with those of the peaks, and linear ones, estimated; arguments as in `lines.with_lines`."""
    P = P.copy()
    for peak in peaks:
        P[peak.at[PLANE_PEAKS[type(peak.model)].height]] = 0.0
    cells = cells_of(fits)
    fits = replace(fits, y=without_spikes(fits, cells))
    zero, columns = columns_at(fits, P, fits.linear & continuum)
    basis = Basis.of(columns, fits.W)
    z, _ = basis.removed(np.where(fits.W > 0.0, fits.y - zero, 0.0), fits.W)
    for peak in peaks:
        kind = PLANE_PEAKS[type(peak.model)]
        if any(fits.problem.tied[peak.at[name]] for name in kind.places):
            continue
        square = best_square(z, fits.W, basis.columns, cells, _allowed(fits, peak))
        P = _placed(fits, P, peak, square, z)
        at_one = [np.ones(P.shape[1]) if name == kind.height else P[j] for name, j in peak.at.items()]
        column = np.asarray(peak.model.evaluate(*fits.inputs, *at_one))
        basis = basis.with_column(np.where(np.isfinite(column), column, 0.0), fits.W)
        q = basis.columns[-1]
        z = z - inner(fits.W * q, z) * q
    return solved(fits, P)


def _allowed(fits: SampleColumns, peak: Term) -> list[np.ndarray]:
    kind = PLANE_PEAKS[type(peak.model)]
    found = []
    for name in kind.places:
        j = peak.at[name]
        found += [bound[j] if fits.asked[j] else fits.start[j] for bound in (fits.lower, fits.upper)]
    j = peak.at[kind.height]
    low, high = (bound[j] if fits.asked[j] else fits.start[j] for bound in (fits.lower, fits.upper))
    signs = [high > 0.0, low < 0.0]
    return found + (signs if peak.sign > 0 else signs[::-1])


def _placed(fits: SampleColumns, P: np.ndarray, peak: Term, square: Square, z: np.ndarray) -> np.ndarray:
    kind = PLANE_PEAKS[type(peak.model)]
    values = kind.shape(*_ellipse(fits, square, z)) | dict(zip(kind.places, square.centre, strict=True))
    return with_values(fits, P, peak, values, np.isfinite(square.height))


def _ellipse(fits: SampleColumns, square: Square, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard deviations along both axes, and the angle from x to the first, (b,) each."""
    size = [e * _PER_EXTENT for e in square.extent]
    u, v = ((x - c) / s for x, c, s in zip(fits.inputs, square.centre, size, strict=True))
    weight = np.exp(-0.5 * (u * u + v * v)) * np.where(fits.W > 0.0, 1.0, 0.0)
    wz = weight * z
    with np.errstate(all="ignore"):
        total = inner(wz, np.ones((z.shape[0], 1)))
        mean_u, mean_v = inner(wz, u) / total, inner(wz, v) / total
        uu = inner(wz * u, u) / total - mean_u**2
        vv = inner(wz * v, v) / total - mean_v**2
        uv = inner(wz * u, v) / total - mean_u * mean_v
        half, apart = 0.5 * (uu + vv), np.hypot(0.5 * (uu - vv), uv)
        angle = np.where(apart > 0.0, 0.5 * np.arctan2(uv, 0.5 * (uu - vv)), 0.0)
        axes = [_unweighted(half + sign * apart) for sign in (1, -1)]
    major, minor = np.maximum(axes[0], _ROUND * axes[1]), axes[1]
    angle = np.where(np.isfinite(angle), angle, 0.0)
    return _in_coordinates(major, minor, angle, size)


def _unweighted(moment: np.ndarray) -> np.ndarray:
    """Standard deviation of a peak along an axis from its second moment under the weight."""
    variance = 1.0 / (1.0 / np.where(moment > 0.0, moment, np.nan) - 1.0)
    wide = np.where(moment >= 1.0, _WIDEST**2, variance)
    return np.clip(np.sqrt(np.where(np.isfinite(wide) & (wide > 0.0), wide, 1.0)), 1.0 / _WIDEST, _WIDEST)


def _in_coordinates(
    major: np.ndarray, minor: np.ndarray, angle: np.ndarray, size: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axes of an ellipse given in units of ``size`` along both coordinates."""
    c, s = np.cos(angle), np.sin(angle)
    xx = size[0] ** 2 * (major**2 * c * c + minor**2 * s * s)
    yy = size[1] ** 2 * (major**2 * s * s + minor**2 * c * c)
    xy = size[0] * size[1] * (major**2 - minor**2) * c * s
    half, apart = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    turned = np.where(apart > 0.0, 0.5 * np.arctan2(xy, 0.5 * (xx - yy)), 0.0)
    return np.sqrt(half + apart), np.sqrt(np.maximum(half - apart, 1e-3 * half)), turned
