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
        open_ = (variance > (_TIMES * P) ** 2) & np.isfinite(variance) & linear[:, None]
    at = np.flatnonzero(open_.any(axis=0))
    if at.size:
        C = np.moveaxis(covariance[..., at] * np.broadcast_to(times, found.shape)[at], 2, 0)
        left = _by_others(C, linear)
        found[at] = np.any((left < P[:, at].T ** 2) & open_[:, at].T, axis=1)
    return found


def _by_others(C: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Variances (m, K) of linear parameters if the others were known, from ``C`` (m, K, K); inf where none is free."""
    size = np.sqrt(np.einsum("mii->mi", C))
    others = ~linear & np.isfinite(size) & (size > 0.0)
    inverse = 1.0 / np.where(others, size, np.inf)
    C = np.where(np.isfinite(C), C, 0.0) * inverse[:, None, :]  # in errors of N
    between = np.where(others[:, None, :], C, 0.0)
    known = np.linalg.pinv(between * inverse[:, :, None], hermitian=True)
    left = size**2 - np.einsum("maj,mjk,mak->ma", between, known, between, optimize=False)
    return np.where(others.any(axis=1)[:, None], left, np.inf)
