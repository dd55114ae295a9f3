"""Parameters that a model does not use: its derivative by them is zero, whatever the inputs and the parameters."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import numpy as np
from astropy.modeling import Model

from xr_modelfit.models.expression import result_names
from xr_modelfit.models.problem import Problem
from xr_modelfit.tracing.graph import CannotTrace
from xr_modelfit.tracing.tracing import traced

__all__ = ["ignored_parameters"]


def ignored_parameters(model: Model) -> list[str]:
    """Names of the free parameters by which the derivative is zero; none where the model is no expression.

    Nor are any told of a model with ties, by which a parameter may act through another.
    """
    tied = any(model.tied.values())
    names = tuple(result_names(model))
    fixed = np.array([bool(model.fixed[one]) for one in model.param_names], dtype=bool)
    if tied or fixed.all():
        return []
    start, unbounded = np.array(model.parameters, dtype=float), np.full(fixed.shape, np.inf)
    try:
        found = traced(Problem(model, names, start, -unbounded, unbounded, fixed, (None,) * fixed.size))
        slopes = found.slopes
    except (CannotTrace, Exception):  # code that symbols do not suit; CannotTrace is no Exception
        return []
    free = [name for name, held in zip(names, fixed, strict=True) if not held]
    return [name for name, slope in zip(free, slopes, strict=True) if found.graph.value(slope.number) == 0]
