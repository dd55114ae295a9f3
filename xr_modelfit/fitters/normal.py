r"""Most linear fits, solved and judged at once by normal equations that are refined.

For ``f(p) = f(0) + C p`` and squared weights ``m`` (0 where a sample is left out)

    ``G = C' m C = S H S``,  ``p = G^-1 C' m (y - f(0))``,
    ``r = y - f(0) - C p``,  ``d = G^-1 C' m r``,  solution ``p + d``,  ``chi2 = r' m r - d' G d``,

with ``S`` the lengths of the columns. Where fits share coordinates, ``C`` has one column for all of them: what is
done for each sample is a few sums and one residual, with or without gaps. The refinement by the residual makes ``p``
as good as an orthogonal factorisation does [1]_ as long as ``G`` is far from singular; the covariance is good to
rounding times the trace of ``H^-1``.

Only clear cases end here: a well-conditioned ``G``, a refinement that moved next to nothing, parameters off their
bounds. Others are left to `fitters.linear` and `fitters.covariance`. Whether a fit is a clear case, and its bits,
depend on that fit alone: not on other fits, on shared columns, or on samples of weight zero.

Priors add ``T^2`` to ``G`` and ``T^2 (mean - p)`` to ``C' m r``, with ``T`` their trusts (`fitters.priors`).

Shapes: ``n`` samples, ``k`` free parameters, ``b`` fits; columns (n, 1) or (n, b).

References
----------
.. [1] Björck, Å. (1987), Linear Algebra Appl. 88/89, 31: the corrected seminormal equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.fitters.covariance import ON_BOUND, Judgement, of_all_parameters, slopes_of_ties
from xr_modelfit.fitters.priors import Priors
from xr_modelfit.fitters.small_systems import inverse_of, times
from xr_modelfit.fitters.sums import along, dot
from xr_modelfit.models.problem import Problem

__all__ = ["SQUARES", "WORST", "Design", "Solution", "design_of", "off_bounds", "solve_normal"]

WORST = 1e5  # trace of H^-1: the covariance is good to ten digits
_REFINED = 1e-4  # of a standard error: a refinement that small leaves nothing to a second one
SQUARES = (1e-190, 1e190)  # of lengths of columns
_WEIGHTS = (1e-90, 1e90)  # sums of squared weights: neither they nor squares of columns underflow


@dataclass(frozen=True)
class Design:
    """A linear model at the samples of a fit, or of all fits."""

    offset: np.ndarray | None  # f(0), (n, 1) or (n, b); None where it is 0
    columns: list[np.ndarray]  # C, k of (n, 1) or (n, b)
    unusable: np.ndarray  # (n,), where the model of all fits is not finite; offset and columns are 0 there


@dataclass(frozen=True)
class Solution:
    """Solutions of ``b`` fits; those that are not ``clear`` have no values that count."""

    parameters: np.ndarray  # (K, b)
    judgement: Judgement  # as if weights were one over the standard errors of the data
    clear: np.ndarray  # (b,)


def design_of(problem: Problem, inputs: Sequence[np.ndarray]) -> Design:
    """The model at inputs (n, 1) or (n, b), with fixed parameters at their scalar starts."""
    P = problem.with_ties(np.repeat(_origin(problem), max(x.shape[1] for x in inputs), axis=1))
    infinite = np.full(P.shape, np.inf)
    offset = problem.evaluate(inputs, P)
    C = [np.ascontiguousarray(c, dtype=float) for c in jacobian(problem, inputs, P, -infinite, infinite)]
    n = offset.shape[0]
    unusable = np.zeros(n, dtype=bool)
    if all(x.shape[1] == 1 for x in inputs):
        unusable = ~np.isfinite(offset[:, 0])
        for c in C:
            unusable |= ~np.isfinite(c[:, 0] * c[:, 0])
        if unusable.any():
            offset, C = _without(unusable, offset), [_without(unusable, c) for c in C]
    return Design(offset if np.any(offset) else None, C, unusable)


def _origin(problem: Problem) -> np.ndarray:
    return np.where(problem.free, 0.0, problem.start)[:, None]


def solve_normal(
    problem: Problem,
    design: Design,
    y: np.ndarray,
    m: np.ndarray | None,
    n_points: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    priors: Priors | None = None,
) -> Solution:
    """Solve and judge fits of which no free parameter is held.

    ``y`` (n, b) are data, ``m`` (n, b) squared weights, None for ones; both are 0 where a sample is left out.
    ``n_points`` (b,); ``bounds`` (K, b) each; ``priors`` (K, b).
    """
    C, k, b = design.columns, len(design.columns), y.shape[1]
    own = None if priors is None else priors.parameters(problem.free)
    G = _moments(C, m, b)
    if own is not None:
        G = np.repeat(G, b // G.shape[2], axis=2)
        for j in range(k):
            G[j, j] += own.trust[j] ** 2
    inverse, trace = inverse_of(G)
    y = y if design.offset is None else y - design.offset
    my = y if m is None else y * m
    p = times(inverse, _downhill(C, my, own, np.zeros((k, b))))
    r = _residual(y, C, p)
    mr = r if m is None else np.multiply(r, m, out=my if my is not y else None)
    g = _downhill(C, mr, own, p)
    d = times(inverse, g)
    removed = np.maximum(np.sum(g * d, axis=0), 0.0)
    chi2 = np.maximum(dot(mr, r) + (0.0 if own is None else own.chi2(p)) - removed, 0.0)
    p = p + d

    dof = n_points - k
    scatter = chi2 / np.maximum(dof, 1)
    clear = (trace <= WORST) & (dof > 0) & (removed <= _REFINED**2 * scatter) & np.isfinite(chi2)
    for j in range(k):
        clear &= (G[j, j] > SQUARES[0]) & (G[j, j] < SQUARES[1]) & np.isfinite(p[j])
        clear &= np.isfinite(inverse[j, j] * scatter)
    if m is not None:
        total = along(np.ones((len(m), 1)), m)
        clear &= (total > _WEIGHTS[0]) & (total < _WEIGHTS[1])
    low, high = (a[problem.free] for a in bounds)
    if np.any(np.isfinite(low) | np.isfinite(high)):
        square = np.einsum("jjb->jb", G)
        clear &= off_bounds(p, low, high, square, scatter, dot(y, y if m is None else y * m))
    P = np.repeat(_origin(problem), b, axis=1)
    P[problem.free] = p
    P = problem.with_ties(P)
    clear &= np.all(np.isfinite(P), axis=0)
    active = np.ones((k, 1), dtype=bool)
    T, _ = slopes_of_ties(problem, P[:, : inverse.shape[2]])
    covariance = of_all_parameters(problem, inverse, T, active, ~active)
    covariance = np.broadcast_to(covariance, (*covariance.shape[:2], b))
    return Solution(P, Judgement(covariance, chi2, clear, clear, clear, clear, np.zeros(b, dtype=bool)), clear)


def _downhill(C: Sequence[np.ndarray], mr: np.ndarray, priors: Priors | None, p: np.ndarray) -> np.ndarray:
    """``C' m r`` with what priors add to it at ``p``, shape (k, b)."""
    g = np.stack([along(c, mr) for c in C])
    return g if priors is None else g + priors.trust**2 * (priors.mean - p)


def _without(unusable: np.ndarray, a: np.ndarray) -> np.ndarray:
    return np.where(unusable[:, None], 0.0, a)


def _moments(C: Sequence[np.ndarray], m: np.ndarray | None, b: int) -> np.ndarray:
    """``G``, shape (k, k, b); one fit stands for all that share everything."""
    k, n = len(C), C[0].shape[0]
    if m is None:
        m = np.ones((n, 2 if all(c.shape[1] == 1 for c in C) else b))
    G = np.empty((k, k, m.shape[1]))
    for i in range(k):
        for j in range(i + 1):
            G[i, j] = G[j, i] = along(C[i] * C[j], m)
    return G if G.shape[2] == b else G[:, :, :1]


def _residual(y: np.ndarray, C: Sequence[np.ndarray], p: np.ndarray) -> np.ndarray:
    """``y - C p``, a new array."""
    r = np.empty(y.shape)
    work: np.ndarray | None = None
    for c, value in zip(C, p, strict=True):
        if c.shape[1] == 1 and np.all(c == c[0]):  # a constant: the same products for all samples
            np.subtract(y, c[0] * value, out=r)
        else:
            work = np.empty(y.shape) if work is None else work
            if c.shape[1] == 1:
                np.einsum("n,b->nb", c[:, 0], value, out=work)
            else:
                np.multiply(c, value, out=work)
            np.subtract(y, work, out=r)
        y = r
    return r


def off_bounds(
    p: np.ndarray, low: np.ndarray, high: np.ndarray, square: np.ndarray, scatter: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Which fits have all parameters (k, b) well inside their bounds, shape (b,).

    ``square`` (k, b) are squared lengths of the columns; ``size`` (b,) bounds the spread of the data.
    """
    near = 10.0 * np.maximum(ON_BOUND * np.sqrt(scatter), 1e-9 * np.sqrt(size))
    off = np.ones(p.shape[1], dtype=bool)
    for j, value in enumerate(p):
        bounded = np.isfinite(low[j]) | np.isfinite(high[j])
        off &= ~bounded | (np.minimum(value - low[j], high[j] - value) * np.sqrt(square[j]) > near)
    return off
