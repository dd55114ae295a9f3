r"""Judgement on fits that are clear cases, from what their last step knows.

A fit ends with ``chi2 = r'r``, ``g = J'r`` and ``H = J'J`` of its weighted residual and Jacobian. Where ``H``, its
columns scaled to length 1, is far from singular, its inverse is as good as that of an orthogonal factorisation:
rounding costs ``eps`` times the trace of the inverse. Then ``H^-1`` is the covariance, and ``g' H^-1 g`` the reduction
of chi-square that a linear step would still bring. What is no clear case is left to `fitters.covariance`: a trace
that large, no scatter, a minimum that was not reached. Whether it is one depends on the fit alone.

Shapes: ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.covariance import (
    AT_MINIMUM,
    ON_BOUND,
    Judgement,
    of_all_parameters,
    on_bound,
    slopes_of_ties,
)
from xr_modelfit.fitters.normal import SQUARES, WORST
from xr_modelfit.fitters.small_systems import inverse_of
from xr_modelfit.models.problem import Problem

__all__ = ["LIMITS", "LastStep", "Limits", "judge_clear"]


class Limits(NamedTuple):
    """What a clear case is, for both engines."""

    on_bound: float = ON_BOUND
    at_minimum: float = AT_MINIMUM
    worst: float = WORST
    shortest: float = SQUARES[0]
    longest: float = SQUARES[1]


LIMITS = Limits()


class LastStep(NamedTuple):
    """Where fits have ended."""

    P: np.ndarray  # (K, b)
    low: np.ndarray  # (K, b)
    high: np.ndarray  # (K, b)
    H: np.ndarray  # (k, k, b)
    g: np.ndarray  # (k, b)
    chi2: np.ndarray  # (b,), squared length of the weighted residual
    size2: np.ndarray  # (b,), squared length of the weighted data
    n_points: np.ndarray  # (b,), samples that take part


def judge_clear(problem: Problem, at: LastStep) -> tuple[Judgement, np.ndarray]:
    """Judgement, as if weights were one over standard errors, and for which fits it counts, (b,)."""
    ours = problem.free
    p, low, high = at.P[ours], at.low[ours], at.high[ours]
    free = low != high
    dof = at.n_points - np.count_nonzero(free, axis=0)
    some = np.maximum(dof, 1)
    with np.errstate(all="ignore"):
        square = np.einsum("iib->ib", at.H)
        held = free & on_bound(np.sqrt(square), at.g, at.chi2, p, low, high, some, np.zeros(1))
        active = free & ~held
        both = active[:, None] & active[None, :]
        G = np.where(both, at.H, np.where(np.eye(len(p), dtype=bool)[:, :, None], 1.0, 0.0))
        inverse, trace = inverse_of(G)
        inverse = np.where(both, inverse, 0.0)
        g = np.where(active, at.g, 0.0)
        removable = np.maximum(np.einsum("ib,ijb,jb->b", g, inverse, g, optimize=False), 0.0)
        scatter = np.maximum(at.chi2 - removable, 0.0) / some
        clear = (dof > 0) & np.isfinite(at.chi2) & (trace <= WORST) & (removable <= AT_MINIMUM**2 * scatter)
        clear &= 1e-9 * np.sqrt(at.size2) <= ON_BOUND * np.sqrt(at.chi2 / some)
        inside = (square > SQUARES[0]) & (square < SQUARES[1])
        clear &= np.all((inside & np.isfinite(np.einsum("iib->ib", inverse) * scatter)) | ~active, axis=0)
        T, known = slopes_of_ties(problem, at.P)
        clear &= known
        covariance = of_all_parameters(problem, inverse, T, active, held)
    return Judgement(covariance, at.chi2, clear, clear, clear, clear, held.any(axis=0)), clear
