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

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.chunking import at_least_two
from xr_modelfit.fitters.correlated.products import Even, Uneven
from xr_modelfit.fitters.small_systems import inverse_of, times
from xr_modelfit.fitters.sums import columns

__all__ = ["AtMode", "Likelihood", "mean_covariance", "mode"]

_FIRST, _MOST = 2.5, 25  # largest z of a short series; steps to the mode
_FINE = 2e-2  # of an error of z: a shorter step to the top of a parabola is the last
_NODES = np.array([-2.4, -1.2, 1.2, 2.4])  # errors of z from the mode, which is a node itself


class AtMode(NamedTuple):
    """What generalised least squares finds with a correlation, in the basis of ``Q``; all as if weights were absolute.

    Parameters differ by ``shift`` from those where samples are taken for independent.
    """

    products: np.ndarray  # (k, k, b), Q'R^-1 Q
    inverse: np.ndarray  # (k, k, b)
    shift: np.ndarray  # (k, b)
    chi2: np.ndarray  # (b,), e'Pe


@dataclass(frozen=True)
class Likelihood:
    """The restricted likelihood of ``b`` fits."""

    products: Even | Uneven
    empty: np.ndarray  # (k, b), 1 for columns that are zero, otherwise 0
    n_points: np.ndarray  # (b,)
    counted: np.ndarray  # (b,), whether ``r`` may be negative

    @property
    def nu(self) -> np.ndarray:
        """Degrees of freedom, (b,)."""
        return self.n_points - len(self.empty) + np.count_nonzero(self.empty, axis=0)

    @property
    def error(self) -> np.ndarray:
        """About the standard error of ``z``, by ``cosh(z)``."""
        return 1.0 / np.sqrt(np.maximum(self.n_points, 2))

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The range of ``z``, (b,) each."""
        high = _FIRST + 0.5 * np.log(np.maximum(self.n_points, 2))
        return np.where(self.counted, -high, 0.0), high

    def taken(self, which: np.ndarray) -> Likelihood:
        """That of the fits ``which``."""
        return Likelihood(
            self.products.taken(which), columns(self.empty, which), self.n_points[which], self.counted[which]
        )

    def value(self, z: np.ndarray) -> np.ndarray:
        """The logarithm of the restricted likelihood, (b,)."""
        return self._value(*self._products(z))

    def system(self, z: np.ndarray) -> tuple[np.ndarray, AtMode]:
        """The same, and the solution of generalised least squares."""
        found, log_det_R = self._products(z)
        k = len(self.empty)
        A = np.empty((k, k, z.size))
        for i in range(k):
            A[i, : i + 1] = A[: i + 1, i] = found[_row(i)]
        inverse, _ = inverse_of(A)
        Qe = found[_row(k)][:k]
        shift = times(inverse, Qe) if k else Qe
        value = self._value(found, log_det_R)
        return value, AtMode(A, inverse, shift, _positive(found[-1] - np.sum(Qe * shift, axis=0)))

    def _products(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, log_det_R = self.products.at(np.tanh(z))
        for i, one in enumerate(self.empty):
            found[_row(i)][i] += one
        return found, log_det_R

    def _value(self, found: np.ndarray, log_det_R: np.ndarray) -> np.ndarray:
        """By Cholesky of the products, of which the last pivot is ``e'Pe``."""
        L: list[list[np.ndarray]] = []
        log_det = log_det_R
        for i in range(len(self.empty) + 1):
            row: list[np.ndarray] = []
            for j, one in enumerate(found[_row(i)]):
                for m in range(j):
                    one = one - row[m] * (row[m] if i == j else L[j][m])
                if i == len(self.empty) and j == i:
                    return -0.5 * (log_det + self.nu * np.log(_positive(one)))
                row.append(np.sqrt(one) if i == j else one / L[j][j])
            L.append(row)
            log_det = log_det + 2.0 * np.log(row[i])
        raise AssertionError


def _row(i: int) -> slice:
    """A row of a lower triangle that is stored row by row."""
    return slice(i * (i + 1) // 2, (i + 1) * (i + 2) // 2)


def _positive(a: np.ndarray) -> np.ndarray:
    return np.maximum(a, np.finfo(float).tiny)


def mode(likelihood: Likelihood) -> tuple[np.ndarray, np.ndarray]:
    """Where the likelihood is largest, ``z`` (b,), and its value there.

    From the correlation of neighbours uphill in growing steps, then to the top of the parabola through three places.
    """
    low, high = likelihood.ends
    z = np.arctanh(np.clip(np.nan_to_num(likelihood.products.neighbours), -0.95, 0.95))
    z = np.clip(z, low, high)
    error = np.cosh(z) * likelihood.error
    out, value = z.copy(), likelihood.value(z)
    best, h, ids = value.copy(), error, np.arange(z.size)
    for _ in range(_MOST):
        left, right = np.maximum(z - h, low), np.minimum(z + h, high)
        on_left, on_right = likelihood.value(left), likelihood.value(right)
        up = on_right > best
        up &= on_right >= on_left
        down = (on_left > best) & ~up
        inner = ~up & ~down
        a, c = left - z, right - z
        top = _top(a, c, on_left - best, on_right - best)
        trial = np.where(up, right, np.where(down, left, z + top))
        found = np.where(up, on_right, np.where(down, on_left, -np.inf))
        if inner.any():
            found = np.where(inner, likelihood.value(trial), found)
        better = found > best
        z, best = np.where(better, trial, z), np.where(better, found, best)
        at_end = (a == 0.0) | (c == 0.0)
        smaller = np.where(at_end, 0.4 * h, np.clip(2.0 * np.abs(top), 0.1 * h, 0.4 * h))
        done = inner & ((~at_end & (np.abs(top) < _FINE * error)) | (h < _FINE * error))
        done |= ~np.isfinite(best)
        h = np.where(inner, smaller, 1.6 * h)
        out[ids], value[ids] = z, best
        left_over = at_least_two(np.flatnonzero(~done))
        if not left_over.size:
            break
        if left_over.size < z.size:
            likelihood, ids = likelihood.taken(left_over), ids[left_over]
            z, best, h, error, low, high = (x[left_over] for x in (z, best, h, error, low, high))
    return out, value


def _top(a: np.ndarray, c: np.ndarray, fa: np.ndarray, fc: np.ndarray) -> np.ndarray:
    """Where the parabola through 0 at 0, ``fa`` at ``a`` and ``fc`` at ``c`` has its top; at most half way to these."""
    top = (a * a * fc - c * c * fa) / (2.0 * (a * fc - c * fa))
    return np.clip(np.where(np.isfinite(top), top, 0.0), 0.5 * a, 0.5 * c)


def mean_covariance(
    likelihood: Likelihood, z: np.ndarray, best: np.ndarray, at_mode: AtMode, absolute: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The covariance at the mode ``z`` (b,), where the likelihood is ``best``, and its mean over ``r``; (k, k, b) each.

    In the basis of ``Q``. Unless ``absolute``, the scale of the noise is that of the residuals.
    """
    low, high = likelihood.ends
    width = _width(likelihood, z, best)

    def scaled(found: AtMode) -> np.ndarray:
        return found.inverse if absolute else found.inverse * (found.chi2 / likelihood.nu)

    before = scaled(at_mode)
    weight = 1.0 / np.cosh(z)
    mean, shift, square = weight * before, np.zeros_like(at_mode.shift), np.zeros_like(before)
    for node in _NODES:
        at = z + node * width
        inside = (at >= low) & (at <= high)
        value, found = likelihood.system(np.clip(at, low, high))
        own = np.where(inside, np.exp(np.minimum(value - best, 50.0)) / np.cosh(at), 0.0)
        moved = found.shift - at_mode.shift
        weight += own
        mean += own * scaled(found)
        shift += own * moved
        square += own * moved[:, None] * moved[None, :]
    mean, shift, square = mean / weight, shift / weight, square / weight
    return before, mean + square - shift[:, None] * shift[None, :]


def _width(likelihood: Likelihood, z: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The standard error of ``z`` by the curvature at the mode; about `Likelihood.error` at an end of the range."""
    low, high = likelihood.ends
    error = np.cosh(z) * likelihood.error
    inside = (z - error >= low) & (z + error <= high)
    drop = 2.0 * best - likelihood.value(np.maximum(z - error, low)) - likelihood.value(np.minimum(z + error, high))
    found = error / np.sqrt(np.clip(np.where(np.isfinite(drop), drop, 1.0), 0.1, 4.0))
    return np.where(inside, found, 1.5 * error)
