"""The median of the gamma distribution, which Sersic profiles need of their index; one number at a time.

``P(a, x) = 1/2``, where ``P = x^a exp(-x) / gamma(a + 1) (1 + x / (a + 1) + x^2 / (a + 1) / (a + 2) + ...)`` is the
regularised incomplete gamma function [1]_, solved by Newton's method for the logarithms; for large ``a`` an asymptotic
series [2]_. Both are right to within 1e-13 of the value.

References
----------
.. [1] NIST Digital Library of Mathematical Functions, 8.7.1 and 5.11.2, https://dlmf.nist.gov
.. [2] Choi, K. P. (1994), On the medians of gamma distributions and an equation of Ramanujan, Proc. AMS 121, 245.
"""

from math import exp, inf, lgamma, log, nan

from numba import njit

__all__ = ["median", "median_slope"]

_LARGE = 200.0
_C1, _C2, _C3, _C4 = 8 / 405, 184 / 25515, 2248 / 3444525, -19006408 / 15345358875  # of 1 / a, 1 / a^2, ...

_scalar = njit(error_model="numpy")


@_scalar
def _series(a, x):
    """``1 + x / (a + 1) + x^2 / (a + 1) / (a + 2) + ...``, and its derivative with respect to ``a``."""
    total, term, n, down, change = 1.0, 1.0, a, 0.0, 0.0
    while term > 1e-17 * total:
        n += 1.0
        term *= x / n
        down += 1.0 / n
        total += term
        change -= term * down
    return total, change


@_scalar
def median(a):
    if not 0.0 < a < inf:
        return nan
    by = 1.0 / a
    if a > _LARGE:
        return a - 1.0 / 3.0 + by * (_C1 + by * (_C2 + by * (_C3 + by * _C4)))
    x = a - 1.0 / 3.0 + by * _C1 if a > 0.5 else exp((lgamma(a + 1.0) - log(2.0)) * by)
    for _ in range(50):
        if x == 0.0:  # smaller than any number
            return x
        total, _ = _series(a, x)
        step = (log(0.5 / total) - a * log(x) + x + lgamma(a + 1.0)) * total * by
        x *= exp(step)
        if abs(step) < 1e-9:  # its square is lost
            break
    return x


@_scalar
def _digamma(a):
    total = 0.0
    while a < 10.0:
        total -= 1.0 / a
        a += 1.0
    by = 1.0 / (a * a)
    series = by * (1 / 12 - by * (1 / 120 - by * (1 / 252 - by * (1 / 240 - by * (1 / 132 - by * 691 / 32760)))))
    return total + log(a) - 0.5 / a - series


@_scalar
def median_slope(a):
    """Its derivative: minus that of ``log P`` with respect to ``a``, over that with respect to ``x``."""
    if not 0.0 < a < inf:
        return nan
    by = 1.0 / a
    if a > _LARGE:
        return 1.0 - by * by * (_C1 + by * (2.0 * _C2 + by * (3.0 * _C3 + by * 4.0 * _C4)))
    x = median(a)
    if x == 0.0:
        return x
    total, change = _series(a, x)
    return (_digamma(a + 1.0) - log(x) - change / total) * x * total * by
