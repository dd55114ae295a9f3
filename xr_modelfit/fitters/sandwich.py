r"""Errors under a robust loss: the sandwich of Huber.

A robust fit sets ``sum of psi(u) du/dp`` to zero (`fitters.noise`). Where the weighted residuals ``u`` of all samples
have one distribution, whatever it is, the covariance of ``p`` is [1]_

.. math:: K^2 \frac{\sum \psi^2 / (n - k)}{(\sum \psi' / n)^2} (J'J)^{-1}, \qquad
          K = 1 + \frac{k}{n} \frac{\mathrm{var}(\psi')}{\mathrm{mean}(\psi')^2},

with the Jacobian ``J = w df/dp`` of ordinary least squares. What the solver has is that of working weights ``q``; with
``eta = (q / w)^2`` the mean of ``eta`` times its ``(J'J)^-1`` stands for that one. It also knows which samples are
outliers, and so tell little. The scatter is that of the residuals themselves: it makes no difference whether weights
are absolute.

References
----------
.. [1] Huber, P. and Ronchetti, E. (2009), Robust Statistics, 2nd ed., Wiley, section 7.6.
"""

import numpy as np

from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.noise import influence
from xr_modelfit.fitters.sums import norm2, total

__all__ = ["influence_sums", "scatter"]


def influence_sums(fits: FitColumns) -> np.ndarray:
    """Sums over samples of ``psi^2``, ``psi'``, its square and ``eta``, shape (4, b)."""
    psi, slope, eta = influence(fits.noise, fits.y, fits.values(fits.P), fits.w)
    return np.stack([norm2(psi), total(slope), norm2(slope), total(eta)])


def scatter(sums: np.ndarray, n_points: np.ndarray, n_free: np.ndarray) -> np.ndarray:
    """What the working covariance is multiplied by, (b,), as are samples and free parameters; NaN without scatter.

    ``sums`` are those of `influence_sums`.
    """
    psi2, slope, slope2, eta = sums
    n, dof = np.maximum(n_points, 1), n_points - n_free
    mean = slope / n
    with np.errstate(all="ignore"):
        spread = np.maximum(slope2 / n - mean**2, 0.0)
        few = 1.0 + n_free / n * spread / mean**2
        found = few**2 * psi2 / np.maximum(dof, 1) / mean**2 * (eta / n)
    return np.where((dof > 0) & (mean > 0), found, np.nan)
