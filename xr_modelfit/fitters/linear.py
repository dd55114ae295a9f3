"""Direct solution of models that are linear in their free parameters.

With ``f(p) = f(0) + J p`` the minimum of ``|w (y - f(p))|`` is found by one orthogonal
factorisation, and refined once: what is left of the residual is projected again. Fits that share
coordinates, and have neither weights nor gaps, share the factorisation as well. Clear cases,
which most are, take a shorter way (`fitters.normal`).
"""

from collections.abc import Sequence

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy, jacobian, weighted
from xr_modelfit.fitters.chunking import apart, pieces
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.normal import Design, design_of, solve_normal
from xr_modelfit.fitters.rows import all_in_row, any_in_row
from xr_modelfit.fitters.samples import FitArrays, Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["solve_directly", "solve_linear"]


def solve_directly(
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    starts: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    out: FitArrays,
) -> np.ndarray:
    """Solve the fits ``ids``, written to ``out``; returns those that bounds or overflow make iterate.

    Arguments as in `fitters.samples.Fitter`.
    """
    ids = _solve_clear(problem, samples, ids, starts, bounds, out)
    left = []
    for piece in pieces(ids, samples.n_values):
        inputs, y, w = samples.columns(piece)
        low, high = (np.ascontiguousarray(a[piece].T) for a in bounds)
        P = solve_linear(problem, inputs, y, w, np.ascontiguousarray(starts[piece].T), (low, high))
        inside = np.all((low <= P) & (high >= P) | ~problem.free[:, None], axis=0)
        done = np.all(np.isfinite(P), axis=0) & inside
        out.parameters[piece[done]] = P[:, done].T
        out.status[piece[done]], out.n_iter[piece[done]] = FitStatus.CONVERGED, 1
        left.append(np.unique(piece[~done]))
    return np.concatenate(left) if left else ids


def _solve_clear(
    problem: Problem,
    samples: Samples,
    ids: np.ndarray,
    starts: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    out: FitArrays,
) -> np.ndarray:
    """Solve and judge those of the fits ``ids`` that are clear cases; returns the others.

    Whether inputs are shared is no matter for the bits, so that a fit has the same ones in any company.
    """
    low, high = bounds
    usual = all_in_row((starts == problem.start) | ~problem.fixed) & ~any_in_row((low == high) & problem.free)
    some = ids[usual[ids]]
    if not some.size or not problem.free.any():
        return ids
    clear = np.zeros(len(starts), dtype=bool)
    n = samples.y.shape[1]
    shared: Design | None = None

    def solved(piece: np.ndarray) -> None:
        design = design_of(problem, samples.columns(piece)[0]) if shared is None else shared
        y, m = samples.squares(piece)
        low, high = (np.ascontiguousarray(a[piece].T) for a in bounds)
        found = solve_normal(problem, design, y, m, samples.n_points[piece], (low, high))
        done = found.clear & ~samples.any_valid(piece, design.unusable)
        clear[piece] = done
        out.parameters[piece[done]] = found.parameters[:, done].T
        out.status[piece[done]], out.n_iter[piece[done]] = FitStatus.CONVERGED, 1
        out.judged.append((piece[done], found.judgement.only(done)))

    if all(x.shape[0] == 1 for x in samples.inputs):
        try:
            shared = design_of(problem, samples.common())
        except Exception:
            return ids
    gaps = samples.n_points[some] < n
    for group in (some[~gaps], some[gaps]):
        for piece in pieces(group, samples.n_values):
            for _ in apart(solved, piece):  # those that raise are left
                pass
    return ids[~clear[ids]]


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
    J = [weighted(problem, c, w) for c in jacobian(problem, inputs, P[:, some], -infinite, infinite)]
    factors = factorise([np.ascontiguousarray(c) for c in J], active[:, some], accuracy(problem))
    for _ in range(2):
        r = y - problem.evaluate(inputs, P)
        z, _ = factors.remove(weighted(problem, r, w))
        P = P.copy()
        P[ours] += factors.solve(z)
        P = problem.with_ties(P)
    return P


def _varies(problem: Problem, P: np.ndarray) -> bool:
    """Whether any fixed parameter differs between fits."""
    return bool(np.any(P[problem.fixed] != P[problem.fixed][:, :1]))
