"""Any astropy fitter, one fit at a time.

The fitter is used exactly as given, on raveled valid samples. Each task works on a copy of it,
ties are not lost in its Jacobian, and its printing and warnings become a status.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from warnings import WarningMessage

import numpy as np
from astropy.modeling import Model
from astropy.modeling.fitting import (
    DogBoxLSQFitter,
    FittingWithOutlierRemoval,
    LevMarLSQFitter,
    LMLSQFitter,
    ModelsError,
    NonFiniteValueError,
    SimplexLSQFitter,
    SLSQPLSQFitter,
    TRFLSQFitter,
)

from xr_modelfit.fitters.contract import FitArrays, Fits, Notes
from xr_modelfit.fitters.position_model import position_model, sample_model_of
from xr_modelfit.models.problem import Problem
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.status import FitStatus

__all__ = ["PixelwiseFitter", "WrongKeywordsError"]

_SQUARES = (TRFLSQFitter, DogBoxLSQFitter, LMLSQFitter, LevMarLSQFitter)
_UNSUCCESSFUL = "may be unsuccessful"
_SLIPS = (TypeError, AttributeError, NameError, NotImplementedError)  # of code, whatever the samples
_WRONG_MODEL = re.compile(r"^Model (must|does not)|^Non-linear fitters")
_LIMIT = re.compile(r"maximum|max_nfev|maxfev|iterations? limit|limit exceeded", re.IGNORECASE)


class WrongKeywordsError(TypeError):
    """An astropy fitter raises because of the keywords it is called with."""


@dataclass(frozen=True)
class PixelwiseFitter:
    """An astropy fitter as a fitter of blocks."""

    fitter: Any  # never called itself: each block works on its own deep copy
    keywords: Mapping[str, Any] = field(default_factory=dict)  # passed to the fitter's call
    info_names: tuple[str, ...] = ()  # numbers of the fitter's ``fit_info`` to keep

    @property
    def second_try(self) -> None:
        """The user's fitter is used exactly."""

    def described(self, _: Problem) -> dict[str, Any]:
        """The entries of the fitter in the record of a fit."""
        return {"fitter": self.fitter, "keywords": self.keywords, "engine": "astropy"}

    def solve(self, fits: Fits, attempt: np.ndarray, notes: Notes | None = None) -> FitArrays:
        """See `fitters.contract.Fitter`."""
        problem, samples = fits.problem, fits.samples
        out = FitArrays.unknown(fits, self.info_names)
        valid = samples.valid.copy()  # the fitter may reject some
        fitter, keywords = copy.deepcopy(self.fitter), self._call_keywords(problem)
        model_of = _model_maker(problem)
        for i in np.flatnonzero(attempt).tolist():
            run = _Run(fitter, keywords, problem, model_of, fits.starts[i], (fits.low[i], fits.high[i]))
            numbers = _numbers(problem, fitter, samples.valid[i])
            run.fit(*samples.fit(i, numbers), numbers, samples.valid[i], floating=notes is not None)
            if notes is not None:
                notes.warned(i, run.heard)
                if run.error is not None:
                    notes.raised([i], run.error)
            out.status[i], out.n_iter[i] = run.status, run.n_iter
            if run.parameters is not None:
                out.parameters[i] = run.parameters
            if run.rejected is not None:
                valid[i, numbers[run.rejected]] = False
            for name in self.info_names:
                out.info[name][i] = _number(run.info.get(name))
        out.samples = replace(samples, valid=valid)
        return out

    def try_out(self, problem: Problem, inputs: Sequence[np.ndarray], weighted: bool) -> dict[str, Any]:
        """One fit of the model's own values; returns the ``fit_info`` that it leaves.

        Raises what no position could survive: `WrongKeywordsError` where the fitter works without its keywords only,
        and errors of the fitter that refuse the model or its constraints, or that its own code makes.
        """
        with caught_warnings():
            try:
                y = np.array(problem.evaluate_one(inputs, problem.with_ties(problem.start)), dtype=float)
            except Exception:
                return {}
        finite = np.isfinite(y)
        if not problem.free.any() or np.count_nonzero(finite) <= np.count_nonzero(problem.free):
            return {}
        if not problem.sees_others:
            inputs = [x[finite] for x in inputs]
        y = y[finite]
        y = y * (1.0 + 1e-3 * np.cos(np.arange(y.size)))
        weights = np.ones_like(y) if weighted else None
        model_of = _model_maker(problem)

        def tried(keywords: dict[str, Any]) -> _Run:
            bounds = (problem.lower, problem.upper)
            run = _Run(copy.deepcopy(self.fitter), keywords, problem, model_of, problem.start, bounds)
            run.fit(list(inputs), y, weights, np.flatnonzero(finite), finite)
            return run

        run = tried(self._call_keywords(problem))
        if run.error is None:
            return run.info
        if self.keywords:
            plain = replace(self, keywords={})
            if tried(plain._call_keywords(problem)).error is None:
                raise WrongKeywordsError(str(run.error)) from run.error
        wrong_model = isinstance(run.error, ValueError) and _WRONG_MODEL.search(str(run.error))
        if wrong_model or isinstance(run.error, (ModelsError, *_SLIPS)):
            raise run.error
        return {}

    def unknown_keywords(self) -> tuple[list[str], list[str]]:
        """Keywords that the fitter's signature does not have, and those that it has."""
        parameters = inspect.signature(type(self.fitter).__call__).parameters.values()
        known = [p.name for p in parameters if p.name not in _OURS and p.kind is not p.VAR_KEYWORD]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        return [] if takes_any else [name for name in self.keywords if name not in known], known

    def _call_keywords(self, problem: Problem) -> dict[str, Any]:
        """The user's keywords, and those that make the fitter right and silent."""
        keywords = dict(self.keywords)
        inner = self.fitter.fitter if isinstance(self.fitter, FittingWithOutlierRemoval) else self.fitter
        if isinstance(inner, SLSQPLSQFitter | SimplexLSQFitter):
            keywords.setdefault("verblevel", 0)
        misled = problem.tied.any() or problem.traits.wrong_derivative or problem.traits.writes_inputs
        if misled and "estimate_jacobian" in inspect.signature(type(inner).__call__).parameters:
            # astropy's analytic Jacobian leaves out ties and domains; a model that writes into its inputs spoils it.
            keywords.setdefault("estimate_jacobian", True)
        return keywords


_OURS = {"self", "model", "x", "y", "z", "weights", "inplace", "equivalencies", "kwargs"}


_ModelMaker = Callable[[Sequence[np.ndarray], np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]], Model]


def _model_maker(problem: Problem) -> _ModelMaker:
    """Makes the model of one fit from its inputs, which samples take part, its start and its bounds."""
    if problem.sees_others:
        return sample_model_of(problem)
    return lambda _, __, start, bounds: position_model(problem, start, bounds)


def _numbers(problem: Problem, fitter: Any, valid: np.ndarray) -> np.ndarray:
    """Which samples of a fit the fitter gets, in this order; ``valid`` has shape (n,).

    Fitters that minimise a sum of squares may get the samples that are left out as well, with weight 0. For a model
    that sees all samples this makes sums, and so every bit, those of astropy's own parallel fit. Others count samples.
    """
    if not problem.sees_others:
        return np.flatnonzero(valid)
    grid = problem.traits.grid
    order = np.arange(valid.size) if grid is None else grid.in_order
    return order if isinstance(fitter, _SQUARES) else order[valid[order]]


@dataclass
class _Run:
    """One call of an astropy fitter, and what came of it."""

    fitter: Any
    keywords: dict[str, Any]
    problem: Problem
    model_of: _ModelMaker
    start: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray]
    status: FitStatus = FitStatus.CONVERGED
    n_iter: float = np.nan
    parameters: np.ndarray | None = None
    rejected: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    caught: list[WarningMessage] = field(default_factory=list)
    n_before: int = 0

    @property
    def heard(self) -> list[WarningMessage]:
        """Those of the fitter's call; where it was not called, those of the model at its start."""
        return self.caught[self.n_before :]

    def fit(
        self,
        inputs: list[np.ndarray],
        y: np.ndarray,
        w: np.ndarray | None,
        numbers: np.ndarray,
        valid: np.ndarray,
        floating: bool = False,
    ) -> None:
        """Fit the samples ``y`` with these ``numbers``, of which some are ``valid``, shape (n,).

        ``inputs`` are those of all samples, if the model sees all of them.
        """
        whole = self.problem.sees_others
        with caught_warnings(floating) as caught:
            self.caught = caught
            try:
                at_start = self.problem.evaluate_one(inputs, self.problem.with_ties(self.start))
                if not np.all(np.isfinite(at_start[valid] if whole else at_start)):
                    self.status = FitStatus.NONFINITE_MODEL
                    return
                self.n_before = len(caught)
                model = self.model_of(inputs, valid, self.start, self.bounds)
                self._call(model, [numbers.astype(float)] if whole else inputs, y, w)
            except NonFiniteValueError as error:
                self.status, self.error = FitStatus.NONFINITE_MODEL, error
                return
            except Exception as error:
                self.status, self.error = FitStatus.FITTER_ERROR, error
                return
        self.info = _as_dict(getattr(self.fitter, "fit_info", None))
        self.n_iter = _iterations(self.info)
        self.status = _verdict(self.info, [str(c.message) for c in caught])

    def _call(self, model: Model, inputs: list[np.ndarray], y: np.ndarray, w: np.ndarray | None) -> None:
        keywords = self.keywords if w is None else {**self.keywords, "weights": w}
        fitted = self.fitter(model, *inputs, y, **keywords)
        if isinstance(fitted, tuple):  # FittingWithOutlierRemoval: (model, mask)
            fitted, mask = fitted
            self.rejected = np.broadcast_to(np.asarray(mask, dtype=bool), y.shape)
        parameters = np.array(fitted.parameters, dtype=float)
        self.parameters = self.problem.with_ties(parameters)


def _as_dict(info: Any) -> dict[str, Any]:
    return dict(info if isinstance(info, Mapping) else getattr(info, "__dict__", {}))  # scipy's OptimizeResult is one


def _iterations(info: Mapping[str, Any]) -> float:
    return next((_number(info[k]) for k in ("nit", "numiter", "nfev", "niter") if k in info), np.nan)


def _number(value: Any) -> float:
    """A scalar of ``fit_info`` as a float; NaN for anything else."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return np.nan
    return float(array) if array.ndim == 0 else np.nan


def _verdict(info: Mapping[str, Any], messages: list[str]) -> FitStatus:
    """Status from the codes of the fitter, else from its warnings."""
    if info.get("ierr") is not None:  # MINPACK through scipy.optimize.leastsq
        good, at_limit = int(info["ierr"]) in (1, 2, 3, 4), int(info["ierr"]) == 5
    elif info.get("exit_mode") is not None:  # Simplex, SLSQP
        limits = (1, 2) if "num_function_calls" in info else (9,)
        good, at_limit = int(info["exit_mode"]) == 0, int(info["exit_mode"]) in limits
    elif "success" in info and "status" in info:  # scipy.optimize.least_squares
        good, at_limit = bool(info["success"]), bool(info["status"] == 0)
    else:
        complaints = [m for m in messages if _UNSUCCESSFUL in m]
        good, at_limit = not complaints, any(map(_LIMIT.search, complaints))
    return FitStatus.CONVERGED if good else FitStatus.MAX_ITERATIONS if at_limit else FitStatus.FITTER_WARNING
