"""Estimates of the correlation of neighbours, of fits where they have come to; see `fitters.correlated.likelihood`.

Shapes: ``n`` samples, ``K`` parameters, ``k`` free ones, ``b`` fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xr_modelfit.analysis.derivatives import accuracy
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.fitters.correlated.direct import Direct, basis, solved, within
from xr_modelfit.fitters.correlated.likelihood import Likelihood, mean_covariance, mode
from xr_modelfit.fitters.correlated.ordered import Ordered
from xr_modelfit.fitters.correlated.products import Even, Uneven
from xr_modelfit.fitters.covariance import slopes_of_ties
from xr_modelfit.fitters.fit_columns import FitColumns
from xr_modelfit.fitters.gram_schmidt import Factors, factorise
from xr_modelfit.fitters.sums import norm2

__all__ = ["Estimate", "estimated"]

_SEVERAL = 2  # as many arrays of samples with gaps, which should stay in cache
_FEWEST = 2  # degrees of freedom
_NO_SCATTER = 1e-12  # of the length of the data: smaller residuals are rounding


@dataclass
class Estimate:
    """What is known of the correlation."""

    r: np.ndarray  # (b,), of samples one step apart
    wider: np.ndarray  # (b, K), factors of the standard errors, as ``r`` is not known exactly
    direct: list[Direct] = field(default_factory=list)  # fits that are done with it

    @classmethod
    def nothing(cls, b: int, K: int) -> Estimate:
        """No correlation."""
        return cls(np.zeros(b), np.ones((b, K)))


def estimated(ordered: Ordered, ids: np.ndarray, P: np.ndarray, absolute: bool, spread: bool = True) -> Estimate:
    """The correlation in the fits ``ids`` at ``P`` (ids.size, K); 0 where the model raises, or nothing is left over.

    Without ``spread``, as if it were known exactly. With it, linear models may be done with; rows of ``P`` number them.
    """
    out = Estimate.nothing(ids.size, P.shape[1])

    def some(rows: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            found = _of_columns(ordered, ids[rows], P[rows], absolute, spread)
        out.r[rows], out.wider[rows] = found.r, found.wider
        out.direct += [one._replace(which=rows[one.which]) for one in found.direct]

    even, gaps = ordered.even[ids], ordered.gaps[ids]
    for group, several in ((even, 1), (gaps, _SEVERAL), (~even & ~gaps, _SEVERAL)):
        for rows in chunks(np.flatnonzero(group), several * ordered.fits.samples.n_values):
            for _ in isolate_errors(some, rows):
                pass
    return out


def _of_columns(ordered: Ordered, ids: np.ndarray, P: np.ndarray, absolute: bool, spread: bool) -> Estimate:
    """The same of fits that are all even, all with gaps alone, or all uneven."""
    fits, problem, even = ordered.fits, ordered.fits.problem, bool(ordered.even[ids[0]])
    at = fits.columns(ids, P)
    at = at._replace(P=problem.with_ties(at.P))
    n_points = fits.samples.n_points[ids]
    factors, z, e = _factorised(at, even and fits.samples.all_valid)
    if even:
        products: Even | Uneven = Even.of(factors.Q, e)
    else:
        steps = ordered.steps.T if ordered.steps.shape[0] == 1 else np.ascontiguousarray(ordered.steps[ids].T)
        make = Uneven.of_gaps if ordered.gaps[ids[0]] else Uneven.of
        products = make(factors.Q, e, steps, np.ascontiguousarray(fits.samples.valid[ids, 1:].T))
    active = np.broadcast_to(factors.active, (len(factors.Q), ids.size))
    likelihood = Likelihood(products, np.where(active, 0.0, 1.0), n_points, ordered.counted[ids])
    top, best = mode(likelihood)
    r = np.tanh(top)
    size2 = norm2(at.y if at.w is None else at.y * at.w)
    known = (likelihood.nu >= _FEWEST) & np.isfinite(r) & (norm2(e) > _NO_SCATTER**2 * size2)
    found = Estimate(np.where(known, r, 0.0), np.ones(P.shape))
    if spread:
        _, at_mode = likelihood.system(top)
        covariances = mean_covariance(likelihood, top, best, at_mode, absolute)
        found.wider = np.where(known[:, None], _wider(at, factors, *covariances).T, 1.0)
        if problem.traits.linear and fits.priors is None:
            found.direct = [solved(at, factors, z, e, at_mode, n_points, known)]
    return found


def _factorised(at: FitColumns, may_share: bool) -> tuple[Factors, np.ndarray, np.ndarray]:
    """The factors of the weighted Jacobian of parameters off their bounds; what they take of the residual, and leave.

    The latter are (k, b) and (n, b). Where fits share coordinates, and the model is linear, they share the factors.
    """
    problem = at.problem
    active = ((at.low < at.P) & (at.high > at.P))[problem.free]
    fixed, r = at.P[problem.fixed], at.residual(at.P)
    shared = may_share and problem.traits.linear and at.w is None and all(x.shape[1] == 1 for x in at.inputs)
    if shared and active.all() and np.all(fixed == fixed[:, :1]):
        active = active[:, :1]
        at = at._replace(P=at.P[:, :1], low=at.low[:, :1], high=at.high[:, :1])
    J = at.jacobian(at.P)
    factors = factorise([np.ascontiguousarray(c) for c in J], active, accuracy(problem))
    return factors, *factors.remove(r)


def _wider(at: FitColumns, factors: Factors, before: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Factors of the standard errors of all parameters, (K, b), from covariances (k, k, b) in the basis of ``Q``."""
    problem, found = at.problem, np.ones(at.P.shape)
    if not factors.Q:
        return found
    rows, which = basis(factors), np.flatnonzero(problem.free)
    T, _ = slopes_of_ties(problem, at.P)
    if T is not None:
        which = np.arange(len(at.P))
        rows = sum(T[:, m][:, None] * rows[m] for m in range(len(factors.Q)))
    now, before = (np.einsum("iib->ib", within(rows, V)) for V in (mean, before))
    ratio = np.sqrt(now / before)
    found[which] = np.where(np.isfinite(ratio) & (ratio > 0.0), ratio, 1.0)
    return found
