"""What a task of a call needs to know beside its arrays, and what its packed array holds."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.contract import Fitter, StartEstimator
from xr_modelfit.fitters.correlated.solving import CorrelatedNoise
from xr_modelfit.fitters.diagnosis import Diagnosis
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.sampling import Products, Spread
from xr_modelfit.quiet import innermost

__all__ = ["PRIORS", "BlockTask", "Layout", "Role", "refuse_noise", "refuse_sides"]


PRIORS = ("prior_mean", "prior_deviation")  # kinds of arrays, (...), of parameters by number
_SAMPLED = {"data", "input", "where", "weights", "weights_above", "limit", "coord_sigma", "place"}


class Role(NamedTuple):
    """What an array of a block is: its kind, and the parameter, input or dim that it belongs to."""

    kind: str
    name: str | int = ""


@dataclass(frozen=True)
class Layout:
    """Where each field lies in the trailing axis of the packed array."""

    n_parameters: int
    info_names: tuple[str, ...] = ()
    covariance: bool = False
    diagnosed: bool = False  # each fit says if its diagnostics could not be written
    starts: bool = False  # each fit tells the start values that it used
    reached: bool = False  # each fit tells how many of its starts ended in the minimum that it has
    priors: bool = False  # each fit tells what its priors add to chi-square
    clipped: int | None = None  # samples of a fit, where each of them tells whether the fitter has left it out
    correlated: str = ""  # noise, "ar1" or "covariance": each fit tells its effective number of samples

    @cached_property
    def fields(self) -> Mapping[str, slice]:
        """Name to slice: ``parameters``, ``stderr``, each scalar, each info, ``covariance``, ``unwritten``."""
        K = self.n_parameters
        widths = {"parameters": K, "stderr": K}
        widths |= dict.fromkeys(("chi2", "reduced_chi2", "dof", "n_points", "n_iter", "fit_status"), 1)
        widths |= {f"info:{name}": 1 for name in self.info_names}
        if self.covariance:
            widths["covariance"] = K * K
        if self.diagnosed:
            widths["unwritten"] = 1
        if self.starts:
            widths["start"] = K
        if self.reached:
            widths["n_reached"] = 1
        if self.priors:
            widths["chi2_prior"] = 1
        if self.clipped is not None:
            widths["clipped"] = self.clipped
        if self.correlated:
            widths["n_effective"] = 1
        if self.correlated == "ar1":
            widths["ar1"] = 1
        stops = np.cumsum(list(widths.values()))
        parts = zip(widths.items(), stops.tolist(), strict=True)
        return {name: slice(stop - width, stop) for (name, width), stop in parts}

    @property
    def width(self) -> int:
        return max(s.stop for s in self.fields.values())


def refuse_noise(problem: Problem, fitter: Fitter, priors: Sequence[int], sigma: bool, absolute: bool) -> None:
    """Refuse errors of the data and priors where there is no place for them.

    Parameters
    ----------
    problem : Problem
    fitter : Fitter
    priors : sequence of int
        The parameters that have one.
    sigma, absolute : bool
        As of `BlockTask`.

    Raises
    ------
    ValueError
    """
    loss = getattr(fitter, "loss", None)
    if sigma and loss == "poisson":
        raise ValueError(
            'sigma is given, but loss="poisson" knows the noise of counts: the root of what the model predicts. '
            "Leave sigma out. If the data are no counts, use another loss."
        )
    for j in priors:
        if not problem.free[j]:
            what = "tied" if problem.tied[j] else "fixed"
            raise ValueError(
                f"priors has {problem.names[j]!r}, which is {what}: no data could change it. Leave the prior out, "
                "or free the parameter."
            )
    if priors and loss not in ("linear", "poisson"):
        name = type(getattr(fitter, "fitter", fitter)).__name__ + (f"(loss={loss!r})" if loss else "")
        raise ValueError(
            f"priors are given, with {name}, which has no place for them. Use BatchLSQFitter() with "
            'loss="linear" or "poisson".'
        )
    if priors and loss == "linear" and not absolute:
        raise ValueError(
            "priors are given without the errors of the data, so there is nothing to weigh them against. Pass sigma, "
            "and leave absolute_sigma out."
        )


def refuse_sides(kinds: Sequence[str], fitter: Fitter) -> None:
    """Refuse errors of two sides or of the coordinate, and upper limits, where they mean nothing.

    ``kinds`` are those of the roles of a call.

    Raises
    ------
    ValueError
    """
    loss = getattr(fitter, "loss", None)
    said = {"coord_sigma": "coord_sigma is given", "limit": "upper_limit is given", "weights_above": "sigma is a pair"}
    given = [words for kind, words in said.items() if kind in kinds]
    if not given:
        return
    what = given[0]
    if what == said["coord_sigma"] and len(given) > 1:
        raise ValueError(
            f"{what}, and {given[1]}: what errors of the coordinate make of that is not known. Leave one out."
        )
    if loss != "linear":
        name = type(getattr(fitter, "fitter", fitter)).__name__ + (f"(loss={loss!r})" if loss else "")
        raise ValueError(f'{what}, with {name}, which has no place for that. Use BatchLSQFitter() with loss="linear".')
    if what != said["weights_above"] and getattr(fitter, "clip", None) is not None:
        raise ValueError(
            f"{what} together with clip=, but samples are clipped by residuals that all count alike. Leave clip out, "
            "or leave outliers out by where=."
        )


@dataclass(frozen=True, eq=False)
class BlockTask:
    """Everything that a task needs beside its arrays; picklable, shared by all blocks of a call.

    ``label`` makes the task unlike any other: results of two calls never share a dask key.
    ``place`` is the user's function that the call was made in, if any (`quiet`). ``spreads`` make nodes, and
    their weights, of the arrays that they are for. ``estimators`` has one for each start of a fit, None where starts
    are given; the arrays of starts that are ``several`` have an axis of starts last. Starts that are ``adapted`` were
    found by another fit: the model's own serves where the first is NaN, and they are moved inside the bounds.
    ``weighted`` is what is solved instead where the coordinate has errors (`analysis.coordinate_errors`).
    """

    problem: Problem
    fitter: Fitter
    layout: Layout
    roles: tuple[Role, ...]
    n_fitted_dims: int
    sigma: bool = False
    scalar_weight: float | None = None
    absolute: bool = False
    skipna: bool = True
    min_points: int | None = None
    keep_failed: bool = False
    raising: bool = False
    diagnosis: Diagnosis | None = None
    label: str = field(default_factory=lambda: uuid.uuid4().hex)
    place: str | None = field(default_factory=innermost)
    spreads: Mapping[Role, Spread | Products] = field(default_factory=dict)
    estimators: tuple[StartEstimator | None, ...] = (None,)
    several: frozenset[Role] = frozenset()
    adapted: bool = False
    weighted: Problem | None = None
    correlation: CorrelatedNoise | None = None

    def __post_init__(self) -> None:
        refuse_sides([role.kind for role in self.roles], self.fitter)
        asked = sorted({int(role.name) for role in self.roles if role.kind in PRIORS})
        refuse_noise(self.problem, self.fitter, asked, self.sigma, self.absolute)

    def n_core(self, role: Role) -> int:
        """How many of the last axes of an array belong to the samples of a fit."""
        if role.kind == "input" and role in self.spreads:
            return self.n_fitted_dims + 1  # coordinate or edges of each sample
        if role.kind == "response" or (role.kind == "input" and self.problem.sampling is not None):
            return 1  # weights of nodes, and nodes
        if role in self.several:
            return 1
        if role.kind == "noise":
            return self.n_fitted_dims + 1  # a covariance of two samples
        return self.n_fitted_dims if role.kind in _SAMPLED else 0

    def __dask_tokenize__(self) -> str:
        return self.label
