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

FINE = 5  # frequencies in one over the length of the series
_TOLD_APART = 0.02  # of the product of their squares: two columns whose angle is smaller are one


def even_length(n_steps: int) -> int:
    """How many even times are needed, with those that pad them, for frequencies of so many steps."""
    least = 6 * max(n_steps, 8)  # a period of the highest frequency has six of them
    power = 2 ** int(np.ceil(np.log2(least)))
    return 3 * power // 4 if 3 * power // 4 >= least else power


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
    Z, once = _transformed(W * z, t, cells, N, steps), _transformed(W, t, cells, N, 2 * steps)
    total = inner(W, np.ones((W.shape[0], 1)))[:, None]
    cc, ss, cs = 0.5 * (total + once.real), 0.5 * (total - once.real), 0.5 * once.imag
    whole = cc * ss
    for q in basis.columns:
        v = _transformed(W * q, t, cells, N, steps)
        cc, ss, cs = cc - v.real**2, ss - v.imag**2, cs - v.real * v.imag
    det = cc * ss - cs * cs
    usable = det > _TOLD_APART * whole
    drop = (ss * Z.real**2 - 2.0 * cs * Z.real * Z.imag + cc * Z.imag**2) / np.where(usable, det, 1.0)
    allowed = (f >= low[:, None] - 0.5 * step) & (f <= high[:, None] + 0.5 * step)
    drop = np.where(usable & allowed & (drop > 0.0), drop, 0.0)
    top = np.argmax(drop, axis=1)
    rows = np.arange(top.size)
    a, b, c = (drop[rows, np.clip(top + d, 0, n_steps - 1)] for d in (-1, 0, 1))
    bend = a - 2.0 * b + c
    shift = np.where((bend < 0.0) & (a > 0.0) & (c > 0.0), 0.5 * (a - c) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return np.where(b > 0.0, np.clip((top + 1 + np.clip(shift, -0.5, 0.5)) * step, low, high), np.nan)


def _transformed(a: np.ndarray, t: np.ndarray, cells: int, N: int, steps: np.ndarray) -> np.ndarray:
    """Sums over samples of ``a exp(2 pi i f t)``, shape (b, frequencies) or (1, frequencies)."""
    b = max(a.shape[1], t.shape[1])
    at = t * (cells - 1)
    left = np.minimum(at.astype(np.int64), cells - 2)
    share = a * (at - left)
    even = np.zeros((b, N))
    if t.shape[1] == 1:
        _spread(even, left[:, 0], a - share)
        _spread(even, left[:, 0] + 1, share)
    else:
        cell = (left + N * np.arange(b)).ravel()
        even += np.bincount(cell, (a - share).ravel(), b * N).reshape(b, N)
        even += np.bincount(cell + 1, share.ravel(), b * N).reshape(b, N)
    found = np.conj(np.fft.rfft(even, axis=1)[:, steps])
    x = np.pi * steps / N  # linear spreading dampens by sinc^2
    with np.errstate(invalid="ignore", divide="ignore"):
        dampened = np.where(steps > 0, (np.sin(x) / np.where(steps > 0, x, 1.0)) ** 2, 1.0)
    return found / dampened


def _spread(even: np.ndarray, cell: np.ndarray, values: np.ndarray) -> None:
    """Add rows (n, b) to cells that fits share; times are sorted, so that those of a cell follow each other."""
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    even[:, cell[first]] += np.add.reduceat(values, first, axis=0).T
