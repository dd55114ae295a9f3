"""Direct solution of models that are linear in their free parameters.

With ``f(p) = f(0) + J p`` the minimum of ``|w (y - f(p))|`` is found by one orthogonal
factorisation, and refined once: what is left of the residual is projected again. Fits that share
coordinates, and have neither weights nor gaps, share the factorisation as well. Clear cases,
which most are, take a shorter way (`fitters.normal`).
"""

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy, jacobian, weighted
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.contract import FitArrays, Fits
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import factorise
from xr_modelfit.fitters.normal import Design, design_of, solve_normal
from xr_modelfit.fitters.rows import all_in_row, any_in_row
from xr_modelfit.status import FitStatus

__all__ = ["solve_directly", "solve_linear"]


def solve_directly(fits: Fits, ids: np.ndarray, out: FitArrays) -> np.ndarray:
    """Solve the fits ``ids``, written to ``out``; returns those that bounds or overflow make iterate."""
    ids = _solve_clear(fits, ids, out)
    left = []
    for some in chunks(ids, fits.samples.n_values):
        at = fits.columns(some)
        P = solve_linear(at)
        inside = np.all((at.low <= P) & (at.high >= P) | ~fits.problem.free[:, None], axis=0)
        done = np.all(np.isfinite(P), axis=0) & inside
        _write(out, some[done], P[:, done])
        left.append(np.unique(some[~done]))
    return np.concatenate(left) if left else ids


def _write(out: FitArrays, ids: np.ndarray, P: np.ndarray) -> None:
    """Write down the solution (K, b) of the fits ``ids``."""
    out.parameters[ids], out.status[ids], out.n_iter[ids] = P.T, FitStatus.CONVERGED, 1


def _solve_clear(fits: Fits, ids: np.ndarray, out: FitArrays) -> np.ndarray:
    """Solve and judge those of the fits ``ids`` that are clear cases; returns the others.

    Whether fits share their inputs does not change their bits.
    """
    problem, samples = fits.problem, fits.samples
    held = any_in_row((fits.low == fits.high) & problem.free)
    usual = all_in_row((fits.starts == problem.start) | ~problem.fixed) & ~held
    some = ids[usual[ids]]
    if not some.size or not problem.free.any():
        return ids
    clear = np.zeros(len(fits.starts), dtype=bool)
    shared: Design | None = None

    def solved(ids: np.ndarray) -> None:
        design = design_of(problem, samples.columns(ids)[0]) if shared is None else shared
        y, m = samples.squares(ids)
        low, high = (np.ascontiguousarray(a[ids].T) for a in (fits.low, fits.high))
        priors = None if fits.priors is None else fits.priors.in_columns(ids)
        found = solve_normal(problem, design, y, m, samples.n_points[ids], (low, high), priors)
        done = found.clear & ~samples.any_valid(ids, design.unusable)
        clear[ids] = done
        _write(out, ids[done], found.parameters[:, done])
        out.judged.append((ids[done], found.judgement.only(done)))

    if all(x.shape[0] == 1 for x in samples.inputs):
        try:
            shared = design_of(problem, samples.common())
        except Exception:
            return ids
    gaps = samples.n_points[some] < samples.y.shape[1]
    for group in (some[~gaps], some[gaps]):
        for chunk in chunks(group, samples.n_values):
            for _ in isolate_errors(solved, chunk):  # those that raise are left
                pass
    return ids[~clear[ids]]


def solve_linear(fits: FitColumns) -> np.ndarray:
    """Parameters (K, b) at the minimum; those that are fixed, in a fit or in all, stay.

    Equal bounds fix a parameter of one fit; other bounds are not obeyed.
    """
    problem, w, low, high = fits.problem, fits.w, fits.low, fits.high
    ours = np.flatnonzero(problem.free)
    held = low == high
    active = ~held[ours]
    P = problem.with_ties(np.where(problem.free[:, None] & ~held, 0.0, fits.P))
    fixed = P[problem.fixed]
    alike = not held.any() and bool(np.all(fixed == fixed[:, :1]))
    shared = w is None and fits.priors is None and alike and all(x.shape[1] == 1 for x in fits.inputs)
    some = slice(0, 1) if shared else slice(None)
    infinite = np.full(P[:, some].shape, np.inf)
    J = [weighted(problem, c, w) for c in jacobian(problem, fits.inputs, P[:, some], -infinite, infinite)]
    if fits.priors is not None:
        _, J = fits.with_priors(P, fits.y, J)
    factors = factorise([np.ascontiguousarray(c) for c in J], active[:, some], accuracy(problem))
    for _ in range(2):
        r = fits.residual(P)
        if fits.priors is not None:
            r, _ = fits.with_priors(P, r, ())
        z, _ = factors.remove(r)
        P = P.copy()
        P[ours] += factors.solve(z)
        P = problem.with_ties(P)
    return P
