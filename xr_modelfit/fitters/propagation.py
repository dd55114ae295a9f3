r"""Errors of functions of parameters, to first order: ``var f = g' C g`` with the gradient ``g``.

Shapes: ``K`` parameters, ``b`` fits.
"""

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["flat_covariance", "propagated", "variance", "with_held"]

_STEP = 1e-3  # of a standard error: curvature on that scale is beyond first order anyway
_SMALLEST = 6e-6  # of the parameter: the cube root of the rounding error


def flat_covariance(C: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Covariances (..., K, K) of a block of fits as (K, K, b)."""
    K, b = C.shape[-1], int(np.prod(shape))
    return np.moveaxis(np.broadcast_to(C, (*shape, K, K)).reshape(b, K, K), 0, -1)


def with_held(C: np.ndarray, at_bound: np.ndarray) -> np.ndarray:
    """Covariances (K, K, b) in which parameters on a bound are held; ``at_bound`` (b,) are the fits that have some.

    Their rows, NaN until here, become 0. Where no parameter has an error there is nothing to go by, and it stays NaN.
    """
    diagonal = np.einsum("iib->ib", C)
    held = np.isnan(diagonal) & at_bound & np.any(diagonal > 0, axis=0)
    return np.where(held[:, None] | held[None, :], 0.0, C)


def variance(g: Sequence[np.ndarray], C: np.ndarray) -> np.ndarray:
    """``g' C g``, of gradients (b,) or (n, b); NaN where an error is unknown that matters."""
    total = np.zeros(np.broadcast_shapes(*(np.shape(one) for one in g), C.shape[2:]))
    for i, a in enumerate(g):
        for j, b in enumerate(g):
            with np.errstate(invalid="ignore"):
                term = a * b * C[i, j]
            total = total + np.where((a == 0) | (b == 0), 0.0, term)
    return np.maximum(total, 0.0)  # a rounding error below zero


def propagated(
    function: Callable[[np.ndarray], np.ndarray], P: np.ndarray, C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors, (b,) each.

    Parameters
    ----------
    function : callable
        Of parameters (K, b), to (b,).
    P : ndarray, shape (K, b)
    C : ndarray, shape (K, K, b)
    """
    with np.errstate(all="ignore"):
        value = function(P)
        gradient = [_slope(function, P, j, np.sqrt(C[j, j])) for j in range(P.shape[0])]
        return value, np.sqrt(variance(gradient, C))


def _slope(function: Callable[[np.ndarray], np.ndarray], P: np.ndarray, j: int, stderr: np.ndarray) -> np.ndarray:
    """Derivative with respect to parameter ``j``; 0 where it has no error, so that it does not matter."""
    least = _SMALLEST * np.abs(P[j])
    slope = np.full(P.shape[1], np.nan)
    for h in (np.fmax(_STEP * stderr, least), least):  # a large step may leave the domain of the function
        h = np.where(h > 0, h, _SMALLEST)
        below, above = P.copy(), P.copy()
        below[j] -= h
        above[j] += h
        central = (function(above) - function(below)) / (above[j] - below[j])
        slope = np.where(np.isfinite(slope), slope, central)
    return np.where(stderr == 0, 0.0, slope)
