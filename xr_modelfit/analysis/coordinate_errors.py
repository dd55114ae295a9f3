r"""Errors of the coordinate: the residual is weighted by what they make of it, along the slope of the model.

A sample with datum ``y`` of standard error ``s`` and coordinate ``x`` of standard error ``t`` adds the square of

.. math:: r = \frac{y - f(x)}{\sqrt{s^2 + t^2 f'(x)^2}}

to chi-square, the *effective variance* [1]_. ``f'`` is taken at the parameters that are tried, so that the denominator
changes with them, and derivatives of ``r`` take that into account. For a straight line the minimum is that of
orthogonal distances [2]_. To hold the denominator while the numerator is minimised, and to repeat that, would not
lead there: with the same errors at all samples, that is ordinary least squares, whose slopes are too flat.

``r`` is again an expression of inputs and parameters, so that this is a model like others: with ``w = 1 / s`` the model
is ``w y - r`` and its datum ``w y``, of weight 1. Inputs are those of the model, then ``y``, ``w`` and ``t``.

References
----------
.. [1] Orear, J. (1982), American Journal of Physics 50, 912.
.. [2] York, D. (1966), Canadian Journal of Physics 44, 1079; Lybanon, M. (1984), American Journal of Physics 52, 22.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from xr_modelfit.models.problem import Inputs, Problem
from xr_modelfit.tracing.arrays import array_sources, values_of
from xr_modelfit.tracing.gradient import gradient
from xr_modelfit.tracing.graph import CannotTrace
from xr_modelfit.tracing.source import written
from xr_modelfit.tracing.symbols import Symbol
from xr_modelfit.tracing.tracing import Traced, traced

__all__ = ["more_inputs", "with_coordinate_errors"]

_FURTHER = 3  # inputs behind those of the model


@dataclass(frozen=True, eq=False)
class _Expressed(Problem):
    """A problem whose model is an expression, and no longer what astropy evaluates."""

    sources: tuple[str, str] = ("", "")

    def evaluate(self, inputs: Inputs, parameters: np.ndarray) -> np.ndarray:
        """Values (n, b), as of `Problem`."""
        return values_of(self.sources, inputs, parameters)[0]

    def evaluate_one(self, inputs: Inputs, parameters: np.ndarray) -> np.ndarray:
        """Values (n,) of one fit."""
        return self.evaluate([x[:, None] for x in inputs], parameters[:, None])[:, 0]


def more_inputs(problem: Problem, inputs: Inputs) -> list[np.ndarray]:
    """Coordinates (n,) on which a problem is tried, with some of its further inputs where it has those."""
    further = (0.5, 1.0, 0.1) if isinstance(problem, _Expressed) else ()
    return [*inputs, *(np.full(inputs[0].shape, value) for value in further)]


def with_coordinate_errors(problem: Problem) -> Problem | None:
    """The problem of residuals that are weighted so; None where the model has no expression with a slope."""
    if problem.traits.traced is None or problem.sees_others or problem.model.n_inputs != 1:
        return None
    compilable = None
    try:
        found = _weighted_model(traced(problem))
        sources = array_sources(found)
        with suppress(CannotTrace):
            compilable = written(found)
    except CannotTrace:
        return None
    traits = replace(
        problem.traits, traced=sources, compilable=compilable, linear=False, atoms=(), broadcasts=True,
        partly_linear=np.zeros(0, dtype=bool),
    )  # fmt: skip
    own = {name: getattr(problem, name) for name in problem.__dataclass_fields__}
    return _Expressed(**(own | {"traits": traits}), sources=sources)


def _weighted_model(found: Traced) -> Traced:
    """The expression ``w y - r``."""
    graph, n, f = found.graph, found.n_inputs, cast(Any, found.value)
    x, y, w, t = cast(Any, [Symbol(graph, graph.leaf("input", i), locked=True) for i in range(n - 1, n + _FURTHER)])
    (slope,) = cast(Any, gradient(f, [x]))
    across = slope * (t * w)
    value = y * w + (f - y) * (w / np.sqrt(1.0 + across * across))
    return Traced(graph, value, found.ours, found.tied, n + _FURTHER, (*found.key, "coordinate errors"))
