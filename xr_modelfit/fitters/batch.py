"""Levenberg-Marquardt over many fits at once, with box bounds: the fitter of blocks.

Fits live in columns (`fitters.active_fits`) and take their steps together (`fitters.levenberg_marquardt`). Those that
are done leave, others take their place, and the temporaries stay in cache.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from xr_modelfit.extras import needed
from xr_modelfit.fitters.acceptance import LastStep, judge_clear
from xr_modelfit.fitters.active_fits import ActiveFits
from xr_modelfit.fitters.chunking import isolate_errors, most_fits
from xr_modelfit.fitters.compiled.engine import solve_fits
from xr_modelfit.fitters.contract import FitArrays, Fits, Notes, Rules
from xr_modelfit.fitters.count_starts import with_positive_starts
from xr_modelfit.fitters.levenberg_marquardt import iterate
from xr_modelfit.fitters.linear import solve_directly
from xr_modelfit.fitters.noise import ROBUST
from xr_modelfit.fitters.rounds import Solve, clip_in_rounds, scale_in_rounds, with_scale
from xr_modelfit.fitters.sums import columns
from xr_modelfit.foreign_options import refuse_foreign_options
from xr_modelfit.messages import listed
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

__all__ = ["BatchLSQFitter"]

# Arguments of the call that may be taken for options of the fitter.
_OF_FIT = (
    "sigma", "weights", "bounds", "p0", "covariance", "absolute_sigma", "scheduler", "min_points", "skipna", "priors",
    "exposure", "noise",
)  # fmt: skip
_AGAIN = 50  # iterations of a second try
_TOGETHER = 4096  # fits that are judged at once

_T = TypeVar("_T")
Ended = tuple[np.ndarray, LastStep]


def _with_told_options(cls: type[_T]) -> type[_T]:
    """Have options of other fitters refused with what they are called here."""
    init: Any = cls.__init__
    known = [one.name for one in fields(cls)]  # type: ignore[arg-type]

    @wraps(init)
    def told(self: Any, *args: Any, **options: Any) -> None:
        refuse_foreign_options(options, known, _OF_FIT)
        init(self, *args, **options)

    setattr(cls, "__init__", told)  # noqa: B010
    return cls


@_with_told_options
@dataclass(frozen=True)
class BatchLSQFitter:
    """Nonlinear least squares for many positions at once.

    Parameters
    ----------
    maxiter : int
        Most iterations of one try. A fit that fails is tried again, with at most 50 iterations in each way. If 50 are
        allowed, a fit that gets markedly lower goes on.
    ftol, xtol, gtol : float
        A fit is done when all three hold: the linearised model promises a relative reduction of
        chi-square of no more than ``ftol``, its minimum is no further away than ``xtol`` standard errors
        (by the scatter of the residual), and the cosine between the residual and each column of the
        Jacobian is no more than ``gtol``. The step there is still taken.
    engine : {"auto", "numba", "numpy"}
        What does the work: loops compiled by numba, NumPy on whole blocks, or whichever is quicker for the call.
        Models that cannot be compiled, and linear ones, are left to NumPy. Recorded with the result.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan", "poisson"}
        What a sample adds to chi-square: its squared weighted residual, a robust loss as of
        `scipy.optimize.least_squares`, which outliers move less, or the deviance of counts. Then ``chi2`` is the sum of
        that: twice scipy's cost. Errors under a robust loss are those of Huber's sandwich, by the scatter of the
        residuals, whether ``sigma`` is given or not. Those of counts are from Fisher's information; the call's
        ``exposure`` is a factor of the model.
    f_scale : float or "mad"
        Of a robust loss: residuals beyond it count as outliers. In standard errors of a sample where ``sigma`` is
        given, otherwise in the unit of the data. "mad": 1.4826 times the median absolute residual of each fit,
        iterated; for fits of 40 samples or more, as errors come out too small with fewer.
    clip : (float, float), optional
        Samples whose residuals are further below or above their median than this many standard deviations of the
        residuals are left out, and the fit is done again (``inf``: not on that side). They do not count as
        ``n_points``. Of n samples none is further than ``sqrt(n + 2)``, so that a wider clip leaves none out. This is
        the answer of astropy's `FittingWithOutlierRemoval` with `sigma_clip` and the defaults of both.

    Raises
    ------
    ValueError
        An option is out of its range.
    ImportError
        ``engine="numba"``, and numba is not installed.

    Examples
    --------
    >>> BatchLSQFitter(maxiter=500).maxiter
    500
    >>> BatchLSQFitter(loss="huber", f_scale="mad").loss
    'huber'
    """

    maxiter: int = 100
    ftol: float = 1e-14
    xtol: float = 2e-7
    gtol: float = 1e-6
    engine: Literal["auto", "numba", "numpy"] = "auto"
    loss: Literal["linear", "soft_l1", "huber", "cauchy", "arctan", "poisson"] = "linear"
    f_scale: float | Literal["mad"] = 1.0
    clip: tuple[float, float] | None = None

    info_names: ClassVar[tuple[str, ...]] = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(
            "BatchLSQFitter fits many positions at once, and is not called for one: data.modelfit(model, dim, "
            "fitter=BatchLSQFitter()) uses it. For one array without labels, take an astropy fitter, TRFLSQFitter()."
        )

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{one.name}</th><td>{getattr(self, one.name)!r}</td></tr>" for one in fields(self))
        return f"<p><b>BatchLSQFitter</b></p><table><tbody>{rows}</tbody></table>"

    @property
    def rules(self) -> Rules:
        """When a fit is done."""
        return Rules(self.maxiter, self.ftol, self.xtol, self.gtol).of(self.loss)

    @property
    def second_try(self) -> Rules | None:
        """Fits that failed are tried once more, with fewer iterations: most have no minimum to go to."""
        return self.rules._replace(maxiter=min(self.maxiter, _AGAIN))

    def described(self, problem: Problem) -> dict[str, Any]:
        """The entries of the fitter in the record of a fit."""
        engine = "numpy" if problem.source is None else "numba"
        return {"fitter": self, "keywords": asdict(self) | {"engine": engine}, "engine": engine}

    def __post_init__(self) -> None:
        if isinstance(self.maxiter, bool) or not isinstance(self.maxiter, int | np.integer) or self.maxiter < 1:
            raise ValueError(f"maxiter is {self.maxiter!r}; a whole number of 1 or more is needed.")
        for name in ("ftol", "xtol", "gtol"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}; a number from 0 to below 1 is needed.")
        if self.engine not in ("auto", "numba", "numpy"):
            raise ValueError(f'engine is {self.engine!r}; it must be "auto", "numba" or "numpy".')
        if self.engine == "numba":
            needed("numba", "fast", 'engine="numba"')
        self._check_noise()

    def _check_noise(self) -> None:
        losses = ("linear", *ROBUST, "poisson")
        if self.loss not in losses:
            raise ValueError(f"loss is {self.loss!r}; it must be one of {listed(losses)}.")
        by_residuals = isinstance(self.f_scale, str) and self.f_scale == "mad"
        if not by_residuals and not _is_positive(self.f_scale):
            raise ValueError(f'f_scale is {self.f_scale!r}; a positive number or "mad" is needed.')
        if (by_residuals or self.f_scale != 1.0) and self.loss not in ROBUST:
            raise ValueError(
                f"f_scale is {self.f_scale!r}, but loss={self.loss!r} has no scale. Leave it out, or take a robust "
                f"loss: one of {listed(ROBUST)}."
            )
        if self.clip is None:
            return
        pair = self.clip if isinstance(self.clip, tuple | list) else ()
        if len(pair) != 2 or not all(_is_positive(one) or one == np.inf for one in pair):
            raise ValueError(
                f"clip is {self.clip!r}; a pair of positive numbers (lower, upper) is needed, as in clip=(3, 3)."
            )
        object.__setattr__(self, "clip", (float(pair[0]), float(pair[1])))

    def solve(self, fits: Fits, attempt: np.ndarray, notes: Notes | None = None) -> FitArrays:
        """See `fitters.contract.Fitter`."""
        ids = np.flatnonzero(attempt)

        def once(fits: Fits, ids: np.ndarray, rules: Rules) -> FitArrays:
            return self._solved(fits, ids, rules, notes)

        def scaled(fits: Fits, ids: np.ndarray, rules: Rules) -> FitArrays:
            return scale_in_rounds(once, fits, ids, self.loss, rules)

        solve: Solve = once
        if self.f_scale == "mad":
            solve = scaled
        elif self.loss != "linear":
            samples = replace(fits.samples, noise=self.loss)
            if self.f_scale != 1.0:
                samples = with_scale(samples, np.array([float(self.f_scale)]))
            fits = replace(fits, samples=samples)
        if self.clip is None:
            return solve(fits, ids, self.rules)
        return clip_in_rounds(solve, fits, ids, self.clip, self.rules)

    def _solved(self, fits: Fits, ids: np.ndarray, rules: Rules, notes: Notes | None) -> FitArrays:
        """One fit of each of ``ids``."""
        out, linear = FitArrays.unknown(fits), fits.samples.noise == "linear"

        def solved(ids: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                if fits.problem.source is not None:
                    ids = solve_fits(fits, ids, rules, out)
                elif fits.problem.traits.linear and linear:
                    ids = solve_directly(fits, ids, out)
                begun = fits
                if fits.problem.traits.linear and fits.samples.noise == "poisson":
                    begun = with_positive_starts(fits, ids)
                self._iterated(begun, ids, rules, out)

        for raising, error in isolate_errors(solved, ids):
            out.status[raising] = FitStatus.FITTER_ERROR
            if notes is not None:
                notes.raised(raising.tolist(), error)
        return out

    def _iterated(self, fits: Fits, waiting: np.ndarray, rules: Rules, out: FitArrays) -> None:
        """Iterate all fits, some in flight, the others waiting for a place."""
        most = most_fits(fits.samples.n_values)
        active: ActiveFits | None = None
        ended: list[Ended] = []
        while waiting.size or active is not None:
            room = most - (0 if active is None else active.ids.size)
            if waiting.size and room > 0:
                fresh = ActiveFits.filled(fits, waiting[:room], rules)
                waiting = waiting[room:]
                active = fresh if active is None else active.joined(fresh)
            assert active is not None
            active = _until_room(active, fits.samples.n_points, out, ended)
            if active is None or sum(ids.size for ids, _ in ended) >= _TOGETHER:
                _judge(fits.problem, ended, out)
                ended = []


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 < float(value) < np.inf


def _until_room(active: ActiveFits, n_points: np.ndarray, out: FitArrays, ended: list[Ended]) -> ActiveFits | None:
    """Iterate until a fifth of the fits is done (copying columns is not free), and drop those."""
    for done, status, left in iterate(active):
        ids = active.ids[done]
        out.parameters[ids], out.status[ids], out.n_iter[ids] = active.P[:, done].T, status[done], active.n_iter[done]
        ended.append(_last_step(active, done, n_points))
        which = np.flatnonzero(left)
        if which.size and which.size <= 0.8 * left.size:
            return active.kept(which)
    return None


def _last_step(active: ActiveFits, done: np.ndarray, n_points: np.ndarray) -> Ended:
    """Those of the fits that are done, once each, and where they have ended."""
    _, first = np.unique(active.ids[done], return_index=True)
    which = np.flatnonzero(done)[first]
    names = "P", "low", "high", "H", "g", "chi2", "size2"
    arrays = {name: columns(getattr(active, name), which) for name in names}
    return active.ids[which], LastStep(n_points=n_points[active.ids[which]], **arrays)


def _judge(problem: Problem, ended: list[Ended], out: FitArrays) -> None:
    """Judge those of the fits that are clear cases."""
    if ended:
        ids = np.concatenate([ids for ids, _ in ended])
        at = LastStep(*(np.concatenate(parts, axis=-1) for parts in zip(*(step for _, step in ended), strict=True)))
        found, clear = judge_clear(problem, at)
        out.judged.append((ids[clear], found.only(clear)))
