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
    times = np.broadcast_to(times, found.shape)
    for i in np.flatnonzero(open_.any(axis=0)):
        found[i] = _by_others(covariance[..., i] * times[i], P[:, i], np.flatnonzero(open_[:, i]), linear)
    return found


def _by_others(C: np.ndarray, p: np.ndarray, chosen: np.ndarray, linear: np.ndarray) -> bool:
    """Whether one of the ``chosen`` linear parameters of a fit would differ from 0 if the shape were known."""
    size = np.sqrt(np.diagonal(C))
    N = np.flatnonzero(~linear & np.isfinite(size) & (size > 0.0))
    if not N.size:
        return False
    shape, between = C[np.ix_(N, N)], C[np.ix_(chosen, N)] / size[N]
    inverse = np.linalg.pinv(shape / size[N, None] / size[N], hermitian=True)
    left = size[chosen] ** 2 - np.einsum("aj,jk,ak->a", between, inverse, between)
    return bool(np.any(p[chosen] ** 2 > left))
