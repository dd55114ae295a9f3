"""Formulas of simple models, as they hold along the coordinate if ``|`` changes it first."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.modeling import Model

from xr_modelfit.models.chains import Chain, Slope, Slopes
from xr_modelfit.models.known_quantities import Formula
from xr_modelfit.results.quantities import DerivedQuantity

__all__ = ["along_the_coordinate"]


@dataclass(frozen=True)
class _Along:
    """A formula of ``n`` parameters, over the size of some slopes and times others; their parameters come last."""

    formula: Callable[..., Any]
    n: int
    below: tuple[Slope, ...]
    above: tuple[Slope, ...]

    def __call__(self, *P: Any) -> Any:
        value = self.formula(*P[: self.n])
        rest = iter(P[self.n :])
        for one in self.below:
            value = value / np.abs(one.function(next(rest)))
        for one in self.above:
            value = value * one.function(next(rest))
        return value


def along_the_coordinate(formula: Formula, chain: Chain, name: str, title: str, model: Model) -> DerivedQuantity | None:
    """The quantity called ``name`` of a simple model in ``model``; None if it does not follow.

    A width or a period is in steps of the coordinate: over the slope of the steps before. An integral is over all
    coordinates, and in the unit of the output: times the slope of the steps behind, too.
    """
    own = tuple(chain.first + chain.model.param_names.index(p) for p in inspect.signature(formula.function).parameters)
    below, above = _slopes(formula, chain)
    if below is None or above is None:
        return None
    more = tuple(one.parameter for one in (*below, *above))
    if not more:
        return DerivedQuantity(name, title, formula.function, own)
    function = _Along(formula.function, len(own), below, above)
    fixed = list(model.fixed.values())
    return DerivedQuantity(name, title, function, own + more, of_one=len(own) == 1 and all(fixed[j] for j in more))


def _slopes(formula: Formula, chain: Chain) -> tuple[Slopes, Slopes]:
    """The slopes that a quantity is divided by, and those that it is multiplied by."""
    if chain.behind is None or any(one is None for one in chain.before):
        return None, None
    before = [one for one in chain.before if one is not None]
    if formula.name == "flux":
        return None if chain.lifted else tuple(slope for one in before for slope in one), chain.behind
    if len(before) == 1:
        return before[0], ()
    return None if any(before) else (), ()  # a width of an image has a direction
