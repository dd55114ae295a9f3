r"""What a sample costs, and how its cost is linearised, for each kind of noise.

A sample with datum ``y``, weight ``w`` and model value ``f`` adds ``c(y, f, w)`` to ``chi2``. Near ``f`` it acts as a
sample of ordinary least squares with the *working* residual ``e`` and weight ``q`` of generalised linear models [1]_:

.. math:: e\,q = -\tfrac12 \partial c / \partial f, \qquad q^2 = h,

with ``J = q df/dp``, so that ``J'e`` is minus half the gradient of ``chi2``, exactly, and ``J'J`` stands for half its
second derivative. ``h`` need not be that derivative: it must be positive, and near it at the minimum.

*Robust losses* (the names and formulas of `scipy.optimize.least_squares`). With ``u = w (y - f)``, weights divided by
``f_scale`` before, and ``z = u^2``, a sample costs ``rho(z)``; ``psi = u rho'`` is half its slope in ``u``, and
``psi' = rho' + 2 z rho''`` half its curvature. That may vanish or be negative for outliers: ``h / w^2`` is the larger
one of ``psi'`` and a tenth of ``rho'``, which alone would be that of iterated reweighting.

*Counts.* With ``mu = w f``, where ``w`` is the exposure, a sample costs the deviance of Poisson's distribution
``2 (mu - y + y ln(y / mu))`` [2]_, without a logarithm where ``y`` is 0. ``h`` is Fisher's information ``w^2 / mu``. A
model that predicts negative counts costs NaN, and so does a negative datum.

*Errors that differ below and above the datum* (``two_sided``). A sample costs ``(w (y - f))^2`` with its own weight
where the model lies below the datum, and with a second one where it lies above. The slope of that is continuous.

*Upper limits* (``limits``). All that is known of a measurement of standard error ``1 / w`` is that it is below the
datum. The chance of that is Phi(z) with ``z = w (y - f)``, Phi the normal distribution, and a sample costs ``-2 ln
Phi(z)`` [3]_. With the ratio ``q`` of the normal density to Phi at ``z``, which is also the slope of ``ln Phi``, half
the curvature of the cost is ``w^2 q (z + q)``. That is positive everywhere, so that ``h`` is the curvature itself. A
limit has a second weight that is negative; other samples have two positive weights, as above.

Shapes: ``n`` samples, ``b`` fits; all arrays (n, b). Where ``w`` is 0 a sample is left out, and all three are 0.

References
----------
.. [1] McCullagh, P. and Nelder, J. (1989), Generalized Linear Models, 2nd ed., Chapman and Hall, section 2.5;
   Triggs, B. et al. (2000), Bundle adjustment: a modern synthesis, Lecture Notes in Computer Science 1883, 298.
.. [2] Cash, W. (1979), Astrophysical Journal 228, 939.
.. [3] Tobin, J. (1958), Econometrica 26, 24; Isobe, T. et al. (1986), Astrophysical Journal 306, 490; Sawicki, M.
   (2012), Publications of the Astronomical Society of the Pacific 124, 1208, section 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["LEAST", "LIMITS", "ROBUST", "SMALL_COUNT", "TWO_SIDED", "Loss", "Working", "influence", "working"]

TWO_SIDED, LIMITS = "two_sided", "limits"

LEAST = 0.1  # of rho': the least curvature of a robust loss
SMALL_COUNT = 1e-100  # smaller predictions do as this one
_NEAR = 0.1  # of (mu - y) / (mu + y): below, the deviance by its series
_FAR_ABOVE = -100.0  # z of a limit that the model is far above: z + q would cancel, and a series serves


class Working(NamedTuple):
    """Cost, working residual and working weights of samples."""

    cost: np.ndarray
    residual: np.ndarray
    weights: np.ndarray


class Loss(NamedTuple):
    """A robust loss."""

    rho: Callable[[np.ndarray], np.ndarray]  # of z
    slope: Callable[[np.ndarray], np.ndarray]  # rho', of z
    bend: Callable[[np.ndarray], np.ndarray]  # psi' / rho', of rho'


ROBUST = {
    "soft_l1": Loss(
        lambda z: 2.0 * z / (1.0 + np.sqrt(1.0 + z)), lambda z: 1.0 / np.sqrt(1.0 + z), lambda slope: slope * slope
    ),
    "huber": Loss(
        lambda z: np.where(z <= 1.0, z, 2.0 * np.sqrt(z) - 1.0),
        lambda z: 1.0 / np.sqrt(np.maximum(z, 1.0)),
        lambda slope: np.where(slope >= 1.0, 1.0, 0.0),
    ),
    "cauchy": Loss(np.log1p, lambda z: 1.0 / (1.0 + z), lambda slope: 2.0 * slope - 1.0),
    "arctan": Loss(np.arctan, lambda z: 1.0 / (1.0 + z * z), lambda slope: 4.0 * slope - 3.0),
}


def working(kind: str, y: np.ndarray, f: np.ndarray, w: np.ndarray | None, above: np.ndarray | None = None) -> Working:
    """Cost, working residual and weights of samples; ``w`` None means ones, ``above`` are second weights."""
    if kind == "poisson":
        return _counts(y, f, w)
    if kind in (TWO_SIDED, LIMITS):
        assert w is not None
        assert above is not None
        return _two_sided(y, f, w, above) if kind == TWO_SIDED else _with_limits(y, f, w, above)
    loss, u = ROBUST[kind], _weighted_residual(y, f, w)
    z = u * u
    slope = loss.slope(z)
    bend = np.sqrt(np.maximum(loss.bend(slope), LEAST))
    root = np.sqrt(slope)
    q = root * bend
    return Working(loss.rho(z), u * root / bend, q if w is None else q * w)


def influence(
    kind: str, y: np.ndarray, f: np.ndarray, w: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``psi``, ``psi'`` and ``h / w^2`` of a robust loss at each sample; all 0 where it is left out."""
    loss, u = ROBUST[kind], _weighted_residual(y, f, w)
    slope = loss.slope(u * u)
    psi = u * slope
    if w is not None:
        slope = np.where(w == 0.0, 0.0, slope)
    bend = loss.bend(slope)
    return psi, slope * bend, slope * np.maximum(bend, LEAST)


def _weighted_residual(y: np.ndarray, f: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """``w (y - f)``, 0 where a sample is left out, even if the model is NaN there."""
    return y - f if w is None else np.where(w == 0.0, 0.0, (y - f) * w)


def _two_sided(y: np.ndarray, f: np.ndarray, w: np.ndarray, above: np.ndarray) -> Working:
    u = y - f
    q = np.where(w == 0.0, 0.0, np.where(u < 0.0, above, w))
    r = np.where(q == 0.0, 0.0, u * q)
    return Working(r * r, r, q)


def _with_limits(y: np.ndarray, f: np.ndarray, w: np.ndarray, above: np.ndarray) -> Working:
    found = _two_sided(y, f, w, np.abs(above))
    limit = (above < 0.0) & (w != 0.0)
    if limit.any():
        w = w[limit]
        found.cost[limit], found.residual[limit], root = _below_limit(w * (y - f)[limit])
        found.weights[limit] = w * root
    return found


def _below_limit(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cost, working residual and working weight of limits at ``z`` standard errors above the model."""
    from scipy.special import erfcx, log_ndtr

    ratio = np.sqrt(2.0 / np.pi) / erfcx(-z * np.sqrt(0.5))
    x = np.where(z < _FAR_ABOVE, z, _FAR_ABOVE)
    bend = np.where(z < _FAR_ABOVE, -(1.0 - (2.0 - 10.0 / x**2) / x**2) / x, z + ratio)
    return -2.0 * log_ndtr(z), -np.sqrt(ratio / bend), np.sqrt(ratio * bend)


def _counts(y: np.ndarray, f: np.ndarray, w: np.ndarray | None) -> Working:
    w = np.ones((1, 1)) if w is None else w
    mu = f * w
    y, mu = np.where(w == 0.0, 0.0, y), np.where(w == 0.0, 0.0, mu)
    possible = (y >= 0.0) & (mu >= 0.0) & ((mu > 0.0) | (y == 0.0))
    cost = np.where(possible, _deviance(y, mu), np.nan)
    least = np.maximum(mu, SMALL_COUNT)
    root = np.sqrt(least)
    return Working(cost, np.where(w == 0.0, 0.0, (y - least) / root), w / root)


def _deviance(y: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """``2 (mu - y + y ln(y / mu))``; where both are alike their logarithms would cancel, and a series serves."""
    d = mu - y
    s = d / np.where(mu + y == 0.0, 1.0, mu + y)  # ln(mu / y) = 2 artanh(s) = d / y - 2 s^2 / (1 - s) - ...
    z = s * s
    rest = z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z / 15))))))
    near = 2.0 * s * d - 4.0 * y * s * rest
    far = 2.0 * (d - y * np.log(np.where(y > 0.0, mu / np.where(y > 0.0, y, 1.0), 1.0)))
    return np.where((np.abs(s) < _NEAR) & (y > 0.0), near, far)
