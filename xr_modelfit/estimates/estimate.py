"""Start values of a block of fits from its own samples.

A sum of a continuum with peaks or waves is taken apart; any other model gets the best of some hundred points. What a
model is linear in is solved for. Each fit is estimated from its own samples alone: what else is in the block changes
not a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.modeling.models import PowerLaw1D

from xr_modelfit.analysis.probing import about
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.estimates.cleaning import cleaned
from xr_modelfit.estimates.columns import SampleColumns, in_columns
from xr_modelfit.estimates.continuum import with_continuum
from xr_modelfit.estimates.linear_part import solved
from xr_modelfit.estimates.linearity import linear_by_trial
from xr_modelfit.estimates.lines import with_lines
from xr_modelfit.estimates.peaks import PEAKS
from xr_modelfit.estimates.plane_peaks import PLANE_PEAKS
from xr_modelfit.estimates.polish import polished
from xr_modelfit.estimates.profile import best_points
from xr_modelfit.estimates.registry import UnusableError, UserEstimator, registered_for, values_of
from xr_modelfit.estimates.roles import ParameterRole, roles_of
from xr_modelfit.estimates.stars import with_stars
from xr_modelfit.estimates.terms import Terms, terms_of
from xr_modelfit.estimates.waves import with_waves
from xr_modelfit.fitters.chunking import chunks, isolate_errors
from xr_modelfit.models.expression import parts_of
from xr_modelfit.models.problem import Problem, Traits

__all__ = ["Estimates", "Estimator", "estimator_for"]

_SAMPLES = 60  # on which a model is tried
_KEPT, _STEPS = 4, 1  # best points of a model with many parameters, and steps from each


@dataclass(frozen=True)
class Estimates:
    """Start values of a block.

    Fits ``failed`` whose estimator raised, or gave what is no number: they have the starts that were given. So have
    those without any sample, which nothing has failed for.
    """

    parameters: np.ndarray  # (b, K), in the problem's units
    failed: np.ndarray  # (b,)


@dataclass(frozen=True, eq=False)
class Estimator:
    """What estimates the starts of a call: found once, and picklable where the user's function is."""

    asked: np.ndarray  # (K,), parameters that are estimated
    traits: Traits  # of the model, perhaps seen on other coordinates than those of the data
    terms: Terms  # those that the model is the sum of
    roles: Sequence[ParameterRole] = ()  # of each parameter, for the search of points
    function: UserEstimator | None = None  # the one that the user has registered
    name: str = field(default="")  # of the function, or of what this package does

    def __call__(
        self,
        problem: Problem,
        y: np.ndarray,
        inputs: Sequence[np.ndarray],
        weights: np.ndarray | None,
        valid: np.ndarray,
        starts: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> Estimates:
        """Estimates of a block of fits.

        Parameters
        ----------
        problem : Problem
            With its traits. Of one whose samples are made of values at nodes, that at the nodes.
        y : ndarray, shape (b, n)
        inputs : sequence of ndarray, shape (b, n) or (1, n)
            Coordinates of the samples.
        weights : ndarray, shape (b, n) or (1, n), or None
            Factors of the residuals.
        valid : ndarray of bool, shape (b, n)
            Which samples take part. The others may hold anything.
        starts : ndarray, shape (b, K) or (1, K)
            Of parameters that are not asked for, and of those that cannot be estimated.
        bounds : pair of ndarray, shape (b, K) or (1, K)

        Returns
        -------
        Estimates
            Inside the bounds, with the ties applied.
        """
        b, n = y.shape
        given = np.array(np.broadcast_to(starts, (b, starts.shape[1])))
        out = given.copy()
        failed = np.zeros(b, dtype=bool)
        if not self.asked.any() or not n:
            return Estimates(out, failed)
        problem = replace(problem, traits=self.traits)
        low, high = (np.broadcast_to(bound, given.shape) for bound in bounds)
        inside = np.where(self.asked, np.clip(given, low, high), given)
        whole = np.all(valid, axis=1)

        def work(ids: np.ndarray) -> None:
            few = slice(0, 1) if whole[ids].all() else ids
            part = in_columns(
                problem,
                y[ids],
                [x if x.shape[0] == 1 else x[ids] for x in inputs],
                weights if weights is None or weights.shape[0] == 1 else weights[ids],
                np.ones((1, n), dtype=bool) if few is not ids else valid[ids],
                (inside[ids], low[ids], high[ids]),
                self.asked,
            )
            try:
                P = _estimated(self, part) if self.function is None else _by_user(self, part, y, inputs, valid, ids)
            except UnusableError:
                failed[ids] = True
                return
            good = np.all(np.isfinite(P), axis=0)
            out[ids[good]] = P[:, good].T
            failed[ids] = ~good

        some = np.any(valid, axis=1)
        for group in (np.flatnonzero(whole), np.flatnonzero(some & ~whole)):
            for piece in chunks(group, n):
                with np.errstate(all="ignore"):
                    for ids, _ in isolate_errors(work, piece):
                        failed[ids] = True
        return Estimates(out, failed)


def estimator_for(problem: Problem, asked: np.ndarray | None = None) -> Estimator:
    """The estimator of a model: the one that a user has registered, or ours.

    Parameters
    ----------
    problem : Problem
        With its traits.
    asked : ndarray of bool, shape (K,), optional
        Which parameters to estimate; default: all that are free. Fixed and tied ones never are.
    """
    problem = _seen_near_start(problem)
    asked = problem.free if asked is None else asked & problem.free
    asked = asked & ~_without_effect(problem)
    function = registered_for(problem.model)
    terms, roles = terms_of(problem, asked), roles_of(problem, asked)
    name = type(problem.model).__name__ if function is None else getattr(function, "__name__", type(function).__name__)
    return Estimator(asked, problem.traits, terms, roles, function, name)


def _seen_near_start(problem: Problem) -> Problem:
    """The problem with traits that are seen about its start, where that is too far from the data to see any.

    Where the code of the model cannot be followed, what it is linear in is tried.
    """
    if problem.traits.traced is not None or problem.sees_others:
        return problem
    inputs = [np.roll(about(problem.start, _SAMPLES), 7 * i) for i in range(problem.model.n_inputs)]
    try:
        with np.errstate(all="ignore"):
            found = find_traits(problem, inputs)
    except Exception:  # nor is it seen there
        found = problem
    if found.traits.traced is not None and found.traits.grid is None:
        return found
    return replace(problem, traits=replace(problem.traits, partly_linear=linear_by_trial(problem)))


def _without_effect(problem: Problem) -> np.ndarray:
    """Which parameters (K,) only repeat what another does: the scale of a power law beside its amplitude."""
    found = np.zeros(problem.n_parameters, dtype=bool)
    for part in parts_of(problem.model):
        if type(part.model) is PowerLaw1D:
            found[part.parameters[part.model.param_names.index("x_0")]] = True
    return found


def _estimated(estimator: Estimator, fits: SampleColumns) -> np.ndarray:
    """Parameters (K, b) by the estimators of this package."""
    terms, asked = estimator.terms, estimator.asked
    P = np.where(np.isfinite(fits.start), fits.start, np.clip(1.0, fits.lower, fits.upper))
    others = terms.others & asked & ~fits.problem.partly_linear
    if not (terms.peaks or terms.plane_peaks or terms.waves):
        alone = len(fits.inputs) == 1 and not fits.problem.sees_others
        clean = cleaned(fits)[0] if alone else fits
        return _best_of_all(clean, P, estimator.roles, others)
    for table, some in ((PEAKS, terms.peaks), (PLANE_PEAKS, terms.plane_peaks)):
        for peak in some:
            P[peak.at[table[type(peak.model)].height]] = 0.0
    for wave in terms.waves:
        P[wave.at["amplitude"]] = 0.0
    if others.any():
        P = with_continuum(fits, P, estimator.roles, terms.others)
    continuum = terms.others.copy()
    if terms.waves:
        P = with_waves(fits, P, terms.waves, continuum)
        for wave in terms.waves:
            continuum[list(wave.at.values())] = True
    if terms.peaks:
        P = with_lines(fits, P, terms.peaks, continuum)
    if terms.plane_peaks:
        P = with_stars(fits, P, terms.plane_peaks, continuum)
    return P


def _best_of_all(
    fits: SampleColumns, P: np.ndarray, roles: Sequence[ParameterRole], searched: np.ndarray
) -> np.ndarray:
    """Parameters (K, b) at the best point; of several, if there are many parameters, after steps downhill."""
    many = int(np.count_nonzero(searched)) > 2
    points = best_points(fits, P, roles, searched, fits.linear, _KEPT if many else 1)
    if not many:
        return solved(fits, points[0])
    tried = [polished(fits, Q, searched, _STEPS) for Q in points]
    best = np.argmin(np.stack([chi2 for _, chi2 in tried]), axis=0)
    return np.take_along_axis(np.stack([Q for Q, _ in tried]), best[None, None], axis=0)[0]


def _by_user(
    estimator: Estimator,
    fits: SampleColumns,
    y: np.ndarray,
    inputs: Sequence[np.ndarray],
    valid: np.ndarray,
    ids: np.ndarray,
) -> np.ndarray:
    """Parameters (K, b) by a function that a user has registered; NaN where it gives NaN."""
    assert estimator.function is not None
    own = [x if x.shape[0] == 1 else x[ids] for x in inputs]
    names = tuple(fits.problem.model.param_names)
    P, given = fits.start.copy(), np.zeros(fits.asked.shape, dtype=bool)
    for j, value in values_of(estimator.function, names, y[ids], own, valid[ids]).items():
        given[j] = True
        if fits.asked[j]:
            P[j] = np.clip(value, fits.lower[j], fits.upper[j])
    found = solved(SampleColumns(**{**vars(fits), "asked": fits.asked & ~given}), P)
    return np.where(np.all(np.isfinite(P), axis=0), found, np.nan)
