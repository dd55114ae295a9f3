r"""The correlation of neighbours, from the residuals of each fit, by restricted likelihood.

Residuals are less correlated than the noise, as the fit follows it: an estimate from them is too small, and so are the
errors of slow parameters such as slopes. The restricted likelihood [1]_ is that of what no parameter explains. With the
Jacobian ``Q`` of the fit (in a basis of orthonormal columns), its residual ``e``, and the correlation matrix ``R`` of
`fitters.correlated.ar1`,

.. math:: \ell(r) = -\tfrac12 \left( \ln |R| + \ln |Q'R^{-1}Q| + (n - k) \ln (e'Pe) \right), \qquad
          e'Pe = e'R^{-1}e - e'R^{-1}Q (Q'R^{-1}Q)^{-1} Q'R^{-1}e.

The scale of the noise is profiled out: ``r`` follows from the shape of the correlation alone. ``r`` is the mode, found
in ``z = artanh(r)``.

*Errors.* ``r`` is not known exactly, and errors depend on it steeply where it is large. They are those of the mean
covariance over ``r``, with the restricted likelihood times the reference prior ``1 / sqrt(1 - r^2)`` as weight [2]_.
`Estimate.wider` has the factor by which they exceed those at the mode.

Shapes: ``n`` samples first, ``k`` free parameters, ``b`` fits last.

References
----------
.. [1] Patterson, H. and Thompson, R. (1971), Biometrika 58, 545; Cheang, W. and Reinsel, G. (2000), Journal of the
   American Statistical Association 95, 1173.
.. [2] Zellner, A. and Tiao, G. (1964), Journal of the American Statistical Association 59, 763; Berger, J. and
   Yang, R. (1994), Econometric Theory 10, 461.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.correlated.ar1 import correlation
from xr_modelfit.fitters.small_systems import inverse_of, times
from xr_modelfit.fitters.sums import along, dot, total

__all__ = ["Even", "Profile", "Uneven", "profiled"]

_FIRST, _MOST = 2.5, 25  # largest z of a short series; steps to the mode
_COUNTED = 64  # classes of spacings that are whole numbers
_FINE = 2e-2  # of an error of z: a shorter step to the top of a parabola is the last
_NODES = np.array([-2.4, -1.2, 1.2, 2.4])  # errors of z from the mode, which is a node itself


class Products(NamedTuple):
    """Products of whitened columns."""

    QQ: np.ndarray  # (k, k, b)
    Qe: np.ndarray  # (k, b)
    ee: np.ndarray  # (b,)
    log_det: np.ndarray  # (b,), of the correlation matrix


class Profile(NamedTuple):
    """What is known of ``r``, and the covariance in the basis of ``Q``, (k, k, b), at the mode and averaged."""

    r: np.ndarray  # (b,)
    at_mode: np.ndarray | None = None
    mean: np.ndarray | None = None


class Even:
    """Products of columns without gaps, one step apart: polynomials in ``r``, whose coefficients are summed once."""

    def __init__(self, Q: Sequence[np.ndarray], e: np.ndarray) -> None:
        columns, (self.n, b) = [*Q, e], e.shape
        m = len(columns)
        self.all, self.lagged, self.inner = np.empty((3, m, m, b))
        for i, a in enumerate(columns):
            for j, c in enumerate(columns[: i + 1]):
                every = _dot(a, c)
                pairs = _dot(a[1:], c[:-1]) + _dot(a[:-1], c[1:])
                self.all[i, j] = self.all[j, i] = every
                self.lagged[i, j] = self.lagged[j, i] = pairs
                self.inner[i, j] = self.inner[j, i] = every - a[0] * c[0] - a[-1] * c[-1]

    @property
    def neighbours(self) -> np.ndarray:
        """The correlation of neighbours among the residuals, (b,)."""
        return 0.5 * self.lagged[-1, -1] / self.all[-1, -1]

    def __call__(self, r: np.ndarray) -> Products:
        rest = (1.0 - r) * (1.0 + r)
        found = (self.all + r * (r * self.inner - self.lagged)) / rest
        return Products(found[:-1, :-1], found[-1, :-1], found[-1, -1], (self.n - 1) * np.log(rest))


class Uneven:
    """Products of columns with gaps, or any spacings: samples that are equally far from the one before share sums.

    A class of spacings that a fit does not have adds exact zeros, so classes may be those of many fits.
    """

    def __init__(self, Q: Sequence[np.ndarray], e: np.ndarray, steps: np.ndarray, there: np.ndarray) -> None:
        # steps (n - 1, 1 or b); there (n - 1, b), which samples take part
        columns, b = [*Q, e], e.shape[1]
        numbers, self.spacings = _classes(steps, there)  # (n - 1, 1 or b), (d, 1 or b)
        d = len(self.spacings)
        at = (np.where(there, numbers, d) * b + np.arange(b)).ravel()

        def sums(a: np.ndarray) -> np.ndarray:
            return np.bincount(at, np.ascontiguousarray(a).ravel(), minlength=(d + 1) * b)[: d * b].reshape(d, b)

        self.counts = sums(np.ones(there.shape))
        self.pairs, self.first, self.own, self.before, self.lagged = [], [], [], [], []
        for i, a in enumerate(columns):
            for j, c in enumerate(columns[: i + 1]):
                product = a * c
                self.pairs.append((i, j))
                self.first.append(product[0])
                self.own.append(sums(product[1:]))
                self.before.append(sums(product[:-1]))
                self.lagged.append(sums(a[1:] * c[:-1] + a[:-1] * c[1:]))
        self.shape = len(columns), len(columns), b

    @property
    def neighbours(self) -> np.ndarray:
        """The correlation of neighbours among the residuals, (b,)."""
        return 0.5 * total(self.lagged[-1]) / (self.first[-1] + total(self.own[-1]))

    def __call__(self, r: np.ndarray) -> Products:
        phi = np.broadcast_to(correlation(r, self.spacings), self.counts.shape)
        rest = (1.0 - phi) * (1.0 + phi)
        own = 1.0 / rest
        lagged = phi * own
        before = phi * lagged
        found = np.empty(self.shape)
        for at, (i, j) in enumerate(self.pairs):
            one = self.first[at] + (
                dot(own, self.own[at]) + dot(before, self.before[at]) - dot(lagged, self.lagged[at])
            )
            found[i, j] = found[j, i] = one
        return Products(found[:-1, :-1], found[-1, :-1], found[-1, -1], dot(self.counts, np.log(rest)))


def _classes(steps: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of classes of equal steps, as ``steps``, and the step of each class, (d, 1 or b), ascending."""
    if not len(steps):
        return np.zeros(steps.shape, dtype=int), np.ones((1, 1))
    if steps.shape[1] == 1:
        values, numbers = np.unique(steps[:, 0], return_inverse=True)
        return numbers.reshape(-1, 1), values[:, None]
    known = np.where(there, steps, 1.0)
    largest = float(np.max(known))
    if largest <= _COUNTED and np.all(known == np.rint(known)) and np.all(known >= 1.0):
        return known.astype(int) - 1, np.arange(1.0, largest + 1.0)[:, None]
    order = np.argsort(known, axis=0, kind="stable")
    ascending = np.take_along_axis(known, order, axis=0)
    ranks = np.zeros(known.shape, dtype=int)
    ranks[1:] = np.cumsum(ascending[1:] != ascending[:-1], axis=0)
    numbers, values = np.empty_like(ranks), np.ones((int(ranks.max()) + 1, steps.shape[1]))
    np.put_along_axis(numbers, order, ranks, axis=0)
    np.put_along_axis(values, ranks, ascending, axis=0)
    return numbers, values


def _dot(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """As `dot`, of columns (n, 1) or (n, b)."""
    if a.shape[1] < c.shape[1]:
        return along(a, c)
    return along(c, a)


def profiled(
    products: Callable[[np.ndarray], Products],
    begin: np.ndarray,
    active: np.ndarray,
    n_points: np.ndarray,
    counted: np.ndarray,
    absolute: bool,
    spread: bool,
) -> Profile:
    """The mode of the restricted likelihood, and covariances.

    Parameters
    ----------
    products : callable
        Products of the whitened columns at ``r`` (b,).
    begin : ndarray, shape (b,)
        A guess of ``r``.
    active : ndarray of bool, shape (k, b)
        Columns that are not zero.
    n_points : ndarray, shape (b,)
    counted : ndarray of bool, shape (b,)
        Whether ``r`` may be negative.
    absolute : bool
        Whether the scale of the noise is 1, rather than that of the residuals.
    spread : bool
        Whether covariances are asked for.
    """
    nu = n_points - np.count_nonzero(active, axis=0)
    empty = np.where(active, 0.0, 1.0)

    def system(z: np.ndarray) -> tuple[np.ndarray, Products]:
        found = products(np.tanh(z))
        for j, one in enumerate(empty):
            found.QQ[j, j] += one
        log_det, explained = _log_det_and_explained(found.QQ, found.Qe)
        rest = np.maximum(found.ee - explained, np.finfo(float).tiny)
        return -0.5 * (found.log_det + log_det + nu * np.log(rest)), found._replace(ee=rest)

    high = _FIRST + 0.5 * np.log(np.maximum(n_points, 2))
    low = np.where(counted, -high, 0.0)
    z = np.arctanh(np.clip(np.nan_to_num(begin), -0.95, 0.95))
    z = np.clip(z, low, high)
    z, best = _mode(lambda at: system(at)[0], z, low, high, _error(z, n_points))
    if not spread:
        return Profile(np.tanh(z))
    width = _width(lambda at: system(at)[0], z, best, low, high, _error(z, n_points))

    def covariance(found: Products) -> tuple[np.ndarray, np.ndarray]:
        inverse, _ = inverse_of(found.QQ)
        scale = 1.0 if absolute else found.ee / nu
        return inverse * scale, times(inverse, found.Qe) if len(inverse) else found.Qe

    at_mode, there = covariance(system(z)[1])
    weight = 1.0 / np.cosh(z)
    mean, shift, square = weight * at_mode, np.zeros_like(there), np.zeros_like(at_mode)
    for node in _NODES:
        at = z + node * width
        inside = (at >= low) & (at <= high)
        value, found = system(np.clip(at, low, high))
        own = np.where(inside, np.exp(np.minimum(value - best, 50.0)) / np.cosh(at), 0.0)
        one, moved = covariance(found)
        moved = moved - there
        weight += own
        mean += own * one
        shift += own * moved
        square += own * moved[:, None] * moved[None, :]
    mean, shift, square = mean / weight, shift / weight, square / weight
    return Profile(np.tanh(z), at_mode, mean + square - shift[:, None] * shift[None, :])


def _error(z: np.ndarray, n_points: np.ndarray) -> np.ndarray:
    """About the standard error of ``z``."""
    return np.cosh(z) / np.sqrt(np.maximum(n_points, 2))


def _log_det_and_explained(A: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``ln |A|`` and ``c' A^-1 c`` of (k, k, b) and (k, b), by Cholesky."""
    L: list[list[np.ndarray]] = []
    u: list[np.ndarray] = []
    log_det, explained = np.zeros(A.shape[2]), np.zeros(A.shape[2])
    for i in range(len(A)):
        row: list[np.ndarray] = []
        for j in range(i + 1):
            one = A[i, j]
            for m in range(j):
                one = one - row[m] * (row[m] if i == j else L[j][m])
            row.append(np.sqrt(one) if i == j else one / L[j][j])
        L.append(row)
        one = c[i]
        for m in range(i):
            one = one - row[m] * u[m]
        u.append(one / row[i])
        log_det = log_det + 2.0 * np.log(row[i])
        explained = explained + u[i] * u[i]
    return log_det, explained


def _mode(
    value: Callable[[np.ndarray], np.ndarray], z: np.ndarray, low: np.ndarray, high: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a function of ``z`` (b,) with one maximum is largest between ``low`` and ``high``, and its value there.

    Uphill in growing steps, then to the top of the parabola through three places.
    """
    h, best, done = error.copy(), value(z), np.zeros(z.shape, dtype=bool)
    for _ in range(_MOST):
        left, right = np.maximum(z - h, low), np.minimum(z + h, high)
        on_left, on_right = value(left), value(right)
        up = on_right > best
        up &= on_right >= on_left
        down = (on_left > best) & ~up
        inner = ~up & ~down
        a, c, fa, fc = left - z, right - z, on_left - best, on_right - best
        top = (a * a * fc - c * c * fa) / (2.0 * (a * fc - c * fa))
        top = np.clip(np.where(np.isfinite(top), top, 0.0), 0.5 * a, 0.5 * c)
        trial = np.where(up, right, np.where(down, left, z + top))
        found = np.where(up, on_right, np.where(down, on_left, value(trial)))
        taken = ~done & (found > best)
        z, best = np.where(taken, trial, z), np.where(taken, found, best)
        at_end = (a == 0.0) | (c == 0.0)
        smaller = np.where(at_end, 0.4 * h, np.clip(2.0 * np.abs(top), 0.1 * h, 0.4 * h))
        h = np.where(inner, smaller, 1.6 * h)
        done |= inner & ((~at_end & (np.abs(top) < _FINE * error)) | (h < _FINE * error))
        done |= ~np.isfinite(best)
        if done.all():
            break
    return z, best


def _width(
    value: Callable[[np.ndarray], np.ndarray],
    z: np.ndarray,
    best: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    error: np.ndarray,
) -> np.ndarray:
    """The standard error of ``z`` by the curvature at the mode; about ``error`` at an end of the range."""
    inside = (z - error >= low) & (z + error <= high)
    drop = 2.0 * best - value(np.maximum(z - error, low)) - value(np.minimum(z + error, high))
    found = error / np.sqrt(np.clip(np.where(np.isfinite(drop), drop, 1.0), 0.1, 4.0))
    return np.where(inside, found, 1.5 * error)
