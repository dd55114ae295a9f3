"""Direct solution of models that are linear in their free parameters.

With ``f(p) = f(0) + J p`` the minimum of ``|w (y - f(p))|`` is found by one orthogonal
factorisation, and refined once: what is left of the residual is projected again. Fits that share
coordinates, and have neither weights nor gaps, share the factorisation as well.
"""

from collections.abc import Sequence

import numpy as np

from xr_modelfit.derivatives import accuracy, jacobian
from xr_modelfit.fitters.orthogonal import factorise
from xr_modelfit.problem import Problem

__all__ = ["solve_linear"]


def solve_linear(
    problem: Problem,
    inputs: Sequence[np.ndarray],
    y: np.ndarray,
    w: np.ndarray | None,
    P: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Parameters (K, b) at the minimum; those that are fixed, in a fit or in all, stay.

    Parameters
    ----------
    inputs : sequence of ndarray, shape (n, 1) or (n, b)
    y, w : ndarray, shape (n, b)
        ``w=None`` means ones.
    P : ndarray, shape (K, b)
        Starts: they matter for fixed parameters only.
    bounds : pair of ndarray, shape (K, b)
        Equal ones fix a parameter of one fit. Others are not obeyed.
    """
    low, high = bounds
    ours = np.flatnonzero(problem.free)
    held = low == high
    active = ~held[ours]
    P = np.where(problem.free[:, None] & ~held, 0.0, P)
    P = problem.with_ties(P)
    shared = w is None and all(x.shape[1] == 1 for x in inputs) and not held.any() and not _varies(problem, P)
    some = slice(0, 1) if shared else slice(None)
    infinite = np.full(P[:, some].shape, np.inf)
    J = jacobian(problem, inputs, P[:, some], -infinite, infinite)
    if w is not None:
        J = [c * w for c in J]
    factors = factorise([np.ascontiguousarray(c) for c in J], active[:, some], accuracy(problem))
    for _ in range(2):
        r = y - problem.evaluate(inputs, P)
        z, _ = factors.remove(r if w is None else r * w)
        P = P.copy()
        P[ours] += factors.solve(z)
        P = problem.with_ties(P)
    return P


def _varies(problem: Problem, P: np.ndarray) -> bool:
    """Whether any fixed parameter differs between fits."""
    return bool(np.any(P[problem.fixed] != P[problem.fixed][:, :1]))
