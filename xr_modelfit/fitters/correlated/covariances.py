"""Noise of which the covariance is known: samples whitened by its Cholesky factor.

With ``C = L L'`` of the samples that take part, residuals are whitened by ``T = L^-1``: ``|T e|^2 = e' C^-1 e``, so
least squares of ``T y`` by ``T f`` is generalised least squares [1]_. Each whitened sample is a sum of all values of
the model (`models.sampling`): rows and columns of ``T`` are 0 where a sample is left out.

``n_effective`` is ``1' R^-1 1`` with the correlation matrix ``R`` of ``C``; see `fitters.correlated.ar1`.

References
----------
.. [1] Aitken, A. (1936), Proceedings of the Royal Society of Edinburgh 55, 42.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from xr_modelfit.fitters.contract import Fits
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Sampling

__all__ = ["factor_of", "sampling_of", "whitened"]

_SYMMETRIC = 1e-8  # of the product of two standard errors


def sampling_of(n: int) -> Sampling:
    """How ``n`` whitened samples are made of the model's values."""
    return Sampling(n, step=0, span=n, rows=n)


def factor_of(covariance: np.ndarray) -> np.ndarray | None:
    """``L^-1`` of a matrix (n, n); None unless it is symmetric and positive definite."""
    from scipy.linalg.lapack import dpotrf, dtrtri  # takes long to import

    variance = np.diagonal(covariance)
    if not np.all(np.isfinite(covariance)) or not np.all(variance > 0.0):
        return None
    sigma = np.sqrt(variance)
    correlation = covariance / sigma[:, None] / sigma
    if np.any(np.abs(correlation - correlation.T) > _SYMMETRIC):
        return None
    factor, failed = dpotrf(correlation, lower=1, clean=1)
    if failed or np.min(np.diagonal(factor), initial=1.0) ** 2 <= len(variance) * np.finfo(float).eps:
        return None
    inverse, failed = dtrtri(factor, lower=1)
    return None if failed else np.asarray(inverse / sigma)


def whitened(fits: Fits, problem: Problem, ids: np.ndarray) -> tuple[Fits, np.ndarray, np.ndarray]:
    """Fits of the whitened samples, by ``problem``, whose samples are made as `sampling_of` says.

    Also the effective number of samples (b,), and which of the fits ``ids`` have no valid covariance, (b,). Samples of
    fits that are not named hold nothing.
    """
    samples = fits.samples
    assert samples.covariance is not None
    b, n = samples.y.shape
    alike = samples.all_valid and len(samples.covariance) == 1
    W, y = np.zeros((1 if alike else b, n, n)), np.zeros((b, n))
    effective, bad = np.full(b, np.nan), np.zeros(b, dtype=bool)
    for some, covariance, valid in _matrices(samples, ids):
        at = np.flatnonzero(valid)
        T = factor_of(covariance[np.ix_(at, at)])
        if T is None:
            bad[some] = True
            continue
        whole = np.zeros((n, n))
        whole[np.ix_(at, at)] = T
        W[: 1 if alike else 0] = whole.T
        if not alike:
            W[some] = whole.T
        y[some] = _times(whole, at, samples.y[some])
        unit = T @ np.sqrt(np.diagonal(covariance)[at])
        effective[some] = np.sum(unit * unit)
    weights = W.reshape(len(W), n * n)
    made = replace(
        samples, y=y, inputs=[*_filled(samples), weights], weights=None, whole=True, sampling=problem.sampling,
        covariance=None,
    )  # fmt: skip
    return replace(fits, problem=problem, samples=made), effective, bad


def _matrices(samples: Samples, ids: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Fits that share a covariance and have the same valid samples, (some,), with both: (n, n) and (n,)."""
    C = samples.covariance
    assert C is not None
    if len(C) > 1:
        for i in ids:
            yield np.array([i]), C[i], samples.valid[i]
    elif ids.size:
        masks, which = np.unique(samples.valid[ids], axis=0, return_inverse=True)
        for number, valid in enumerate(masks):
            yield ids[which.ravel() == number], C[0], valid


def _times(T: np.ndarray, at: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``T y`` of (n, n) and (b, n), lower triangular, of the samples ``at``; shape (b, n).

    One column after the other: a fit's bits depend on nothing but the fit.
    """
    out, columns = np.zeros(y.shape[::-1]), np.ascontiguousarray(y.T)
    for s in at.tolist():
        out[s:] += T[s:, s, None] * columns[s]
    return np.ascontiguousarray(out.T)


def _filled(samples: Samples) -> list[np.ndarray]:
    """Inputs that can be evaluated everywhere: those of a valid sample where one that is left out has none."""
    if samples.all_valid or all(np.all(np.isfinite(x)) for x in samples.inputs):
        return list(samples.inputs)
    first = np.argmax(samples.valid, axis=1)
    rows = np.arange(len(first))
    wide = [np.broadcast_to(x, samples.y.shape) for x in samples.inputs]
    return [np.where(samples.valid, x, x[rows, first][:, None]) for x in wide]
