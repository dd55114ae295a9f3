r"""Amplitudes that samples show and do not determine.

Fits to noise can end on a line that lies outside the samples, or between two of them, at any amplitude: what the
samples see of it can be had from many places and widths. With the covariance ``C`` of the parameters, and those that
the model is not linear in called ``N``, a linear parameter ``a`` has the variance ``C_aa``, and

.. math:: C_{aa} - C_{aN} C_{NN}^{-1} C_{Na}

if the others were known. Such an amplitude exceeds its error by the second one, and is far below that by the first.

Shapes: ``K`` parameters, ``b`` fits.
"""

import numpy as np

__all__ = ["undetermined"]

_TIMES = 10.0  # its own size: an error that tells nothing


def undetermined(
    covariance: np.ndarray, P: np.ndarray, linear: np.ndarray, times: np.ndarray | float = 1.0
) -> np.ndarray:
    """Which fits have an amplitude that the place or the shape leaves open, (b,).

    Parameters
    ----------
    covariance : ndarray, shape (K, K, b)
        0 or NaN for parameters that are not free.
    P : ndarray, shape (K, b)
    linear : ndarray of bool, shape (K,)
        Which parameters the model is linear in.
    times : ndarray, shape (b,), or float
        What the covariance is multiplied by.
    """
    found = np.zeros(P.shape[1], dtype=bool)
    if linear.all() or not linear.any():
        return found
    with np.errstate(all="ignore"):
        variance = np.einsum("iib->ib", covariance) * times
        if not np.any(variance[~linear] > 0.0):  # the free ones are linear
            return found
        open_ = (variance > (_TIMES * P) ** 2) & np.isfinite(variance) & linear[:, None]
    at = np.flatnonzero(open_.any(axis=0))
    if not at.size:
        return found
    C = np.moveaxis(covariance[..., at] * np.broadcast_to(times, found.shape)[at], 2, 0)
    with np.errstate(all="ignore"):
        size = np.sqrt(np.einsum("mii->mi", C))
    others, which = np.unique(~linear & np.isfinite(size) & (size > 0.0), axis=0, return_inverse=True)
    for number, mask in enumerate(others):  # fits with the same parameters are done together
        rows, N = np.flatnonzero(which.ravel() == number), np.flatnonzero(mask)
        if N.size:
            left = _by_others(C[rows], size[rows], N)
            found[at[rows]] = np.any((left < P[:, at[rows]].T ** 2) & open_[:, at[rows]].T, axis=1)
    return found


def _by_others(C: np.ndarray, size: np.ndarray, N: np.ndarray) -> np.ndarray:
    """Variances (m, K) if the parameters ``N`` were known, from ``C`` (m, K, K) and its standard errors (m, K)."""
    shape, between = C[:, N[:, None], N], C[:, :, N] / size[:, None, N]
    inverse = np.linalg.pinv(shape / size[:, N, None] / size[:, None, N], hermitian=True)
    return np.asarray(size**2 - np.einsum("maj,mjk,mak->ma", between, inverse, between, optimize=False))
