r"""Noise of which each sample remembers the one before: an autoregressive process of order 1.

Two samples ``t`` steps apart have the correlation ``r^t = exp(-t / tau)``. With the samples in order, ``t_i`` the steps
from sample ``i - 1`` to ``i`` and ``phi_i = r^{t_i}``, weighted residuals ``e`` are whitened by

.. math:: u_0 = e_0, \qquad u_i = (e_i - \phi_i e_{i-1}) / \sqrt{1 - \phi_i^2},

whatever the gaps [1]_: the ``u`` are independent, and all have the variance of ``e``. The whitened residual and its
derivatives are sums of the model's values at two samples each. So the whitened fit is one of samples that are made of
values at nodes (`models.sampling`): node 0 repeats the first sample, and sample ``i`` sees the nodes ``i`` and
``i + 1``.

``n_effective`` is ``1' R^-1 1`` with the correlation matrix ``R``: as many independent samples would determine a mean
as well [2]_. Here it is ``1 + sum (1 - phi_i) / (1 + phi_i)``.

References
----------
.. [1] Jones, R. (1980), Technometrics 22, 389; Robinson, P. (1977), Stochastic Processes and their Applications 6, 9.
.. [2] Vallejos, R. and Osorio, F. (2014), Spatial Statistics 9, 66.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.contract import Fits
from xr_modelfit.fitters.correlated.ordered import Ordered
from xr_modelfit.fitters.rows import together
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Sampling

__all__ = ["correlation", "effective_samples", "sampling_of", "whitened"]


def sampling_of(n: int) -> Sampling:
    """How ``n`` whitened samples are made of the model's values."""
    return Sampling(n, step=1, span=2, rows=n)


def correlation(r: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``r^steps``, of arrays that broadcast; where ``r`` is negative, steps are whole numbers."""
    with np.errstate(all="ignore"):
        size = np.exp(steps * np.log(np.abs(r)))
    negative = r < 0.0
    return np.where(negative & (steps % 2.0 == 1.0), -size, size) if negative.any() else size


def effective_samples(ordered: Ordered, r: np.ndarray) -> np.ndarray:
    """Number of independent samples that tell as much of a mean, shape (b,)."""
    samples = ordered.fits.samples
    found = 1.0 + (samples.y.shape[1] - 1) * (1.0 - r) / (1.0 + r)
    if not ordered.even.all():
        phi = correlation(r[:, None], ordered.steps)
        each = np.where(samples.valid[:, 1:], (1.0 - phi) / (1.0 + phi), 0.0)
        found = np.where(ordered.even, found, 1.0 + np.sum(each.T, axis=0))
    return found


def whitened(ordered: Ordered, problem: Problem, r: np.ndarray, ids: np.ndarray) -> Fits:
    """Fits of the whitened samples, by ``problem``, whose samples are made as `sampling_of` says; ``r`` (b,).

    Samples of fits that are not among ``ids`` hold nothing.
    """
    samples = ordered.fits.samples
    b, n = samples.y.shape
    W, y = np.zeros((b, 2, n)), np.zeros((b, n))
    if ids.size:
        at = together(ids)
        W[at], y[at] = _weights_and_data(ordered, r[at], at)
    inputs = [np.concatenate([x[:, :1], x], axis=1) for x in samples.inputs]
    made = replace(
        samples, y=y, inputs=[*inputs, W.reshape(b, 2 * n)], weights=None, whole=True, sampling=problem.sampling
    )
    return replace(ordered.fits, problem=problem, samples=made)


def _weights_and_data(ordered: Ordered, r: np.ndarray, at: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the nodes (b, 2, n) and whitened data (b, n) of the fits ``at``."""
    samples = ordered.fits.samples
    data, valid = samples.y[at], samples.valid[at]
    b, n = data.shape
    steps = ordered.steps if ordered.steps.shape[0] == 1 else ordered.steps[at]
    if ordered.even.all():
        steps = steps[:, :1]  # all alike
    phi = correlation(r[:, None], steps)
    W = np.zeros((b, 2, n))
    with np.errstate(all="ignore"):
        own = 1.0 / np.sqrt((1.0 - phi) * (1.0 + phi))
        lagged = -phi * own
        if not samples.all_valid:
            own, lagged = (np.where(valid[:, 1:], a, 0.0) for a in (own, lagged))
        W[:, 1, 0], W[:, 1, 1:], W[:, 0, 1:] = 1.0, own, lagged
        if samples.weights is not None:
            weights = samples.weights if samples.weights.shape[0] == 1 else samples.weights[at]
            W[:, 1] *= weights
            W[:, 0, 1:] *= weights[:, :-1]
        y = W[:, 1] * data
        y[:, 1:] += W[:, 0, 1:] * data[:, :-1]
    return W, y
