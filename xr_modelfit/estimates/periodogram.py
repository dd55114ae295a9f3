r"""How much each frequency lowers chi-square, at uneven times with gaps, beside a continuum.

For a frequency ``f`` and its columns ``c = cos(2 pi f t)`` and ``s = sin(2 pi f t)``, with ``z`` the data without the
continuum, ``q_j`` the orthonormal columns of that, and sums over samples,

    ``G = [[sum W c c, sum W c s], [sum W c s, sum W s s]] - sum_j v_j v_j'``,  ``v_j = (sum W q_j c, sum W q_j s)``
    ``g = (sum W z c, sum W z s)``,  drop of chi-square ``g' G^-1 g``

which is the generalised Lomb-Scargle periodogram where the continuum is a constant. Products of two columns are columns
of twice the frequency, so that all sums are Fourier transforms of ``W z``, ``W`` and ``W q_j``. These are spread
linearly on even times, which makes the transforms fast.
"""

from __future__ import annotations

import numpy as np

from xr_modelfit.estimates.columns import inner
from xr_modelfit.estimates.linear_part import Basis

__all__ = ["FINE", "best_frequency", "even_length"]

FINE = 3  # frequencies in one over the length of the series
_PER_PERIOD = 4  # even times in a period of the highest frequency
_TOLD_APART = 0.02  # of the product of their squares: two columns whose angle is smaller are one
_SIDE_BY_SIDE = 8  # series that a transform may take at once: with as many, all are treated alike


def even_length(n_steps: int) -> int:
    """How many even times are needed, with those that pad them, for frequencies of so many steps."""
    from scipy.fft import next_fast_len  # with all that it brings

    return int(next_fast_len(_PER_PERIOD * max(n_steps, 8), real=True))


def best_frequency(
    z: np.ndarray, W: np.ndarray, t: np.ndarray, basis: Basis, low: np.ndarray, high: np.ndarray, n_steps: int
) -> np.ndarray:
    """The frequency of each fit that lowers chi-square most, NaN where none is allowed, shape (b,).

    ``z`` is (n, b), ``W`` and the times ``t`` between 0 and 1 are (n, 1) or (n, b). The frequency, per length of the
    series, is from ``low`` to ``high`` (b,); the highest to look at is ``n_steps`` over `FINE` times the length.
    """
    N = even_length(n_steps)
    cells = N // FINE - 1
    steps = np.arange(1, n_steps + 1)
    step = (cells - 1) / N
    f = steps * step
    a, b = _transformed(W * z, t, cells, N, steps)
    every = _transformed(W, t, cells, N, np.arange(1, 2 * n_steps + 1))
    once = [part[:, 1::2] for part in every]
    total = inner(W, np.ones((W.shape[0], 1)))[:, None]
    cc, ss, cs = 0.5 * (total + once[0]), 0.5 * (total - once[0]), 0.5 * once[1]
    whole = cc * ss
    for q in basis.columns:
        if np.array_equal(q, np.broadcast_to(q[:1], q.shape)):  # a constant
            u, v = (part[:, :n_steps] * q[0][:, None] for part in every)
        else:
            u, v = _transformed(W * q, t, cells, N, steps)
        cc, ss, cs = cc - u * u, ss - v * v, cs - u * v
    det = cc * ss - cs * cs
    usable = det > _TOLD_APART * whole
    drop = (a * (ss * a - 2.0 * cs * b) + cc * b * b) / np.where(usable, det, np.inf)
    if np.any(low > 0.0) or np.isfinite(high).any():
        usable = usable & (f >= low[:, None] - 0.5 * step) & (f <= high[:, None] + 0.5 * step)
    drop = np.where(usable & (drop > 0.0), drop, 0.0)
    top = np.argmax(drop, axis=1)
    rows = np.arange(top.size)
    a, b, c = (drop[rows, np.clip(top + d, 0, n_steps - 1)] for d in (-1, 0, 1))
    bend = a - 2.0 * b + c
    shift = np.where((bend < 0.0) & (a > 0.0) & (c > 0.0), 0.5 * (a - c) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return np.where(b > 0.0, np.clip((top + 1 + np.clip(shift, -0.5, 0.5)) * step, low, high), np.nan)


def _transformed(a: np.ndarray, t: np.ndarray, cells: int, N: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over samples of ``a cos(2 pi f t)`` and ``-a sin(2 pi f t)``, (b, frequencies) or (1, frequencies)."""
    from scipy.fft import rfft

    b = max(a.shape[1], t.shape[1])
    at = t * (cells - 1)
    left = np.minimum(at.astype(np.int64), cells - 2)
    share = a * (at - left)
    even = np.zeros((-(-b // _SIDE_BY_SIDE) * _SIDE_BY_SIDE, N))
    if t.shape[1] == 1:
        _spread(even[:b], left[:, 0], a - share)
        _spread(even[:b], left[:, 0] + 1, share)
    else:
        cell = (left + N * np.arange(b)).ravel()
        even[:b] += np.bincount(cell, (a - share).ravel(), b * N).reshape(b, N)
        even[:b] += np.bincount(cell + 1, share.ravel(), b * N).reshape(b, N)
    found = rfft(even, axis=1, overwrite_x=True)[:b, 1 : steps[-1] + 1]
    x = np.pi * steps / N  # linear spreading dampens by sinc^2
    by = (x / np.sin(x)) ** 2
    return found.real * by, found.imag * by


def _spread(even: np.ndarray, cell: np.ndarray, values: np.ndarray) -> None:
    """Add rows (n, b) to cells that fits share; times are sorted, so that those of a cell follow each other."""
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    even[:, cell[first]] += np.add.reduceat(values, first, axis=0).T
