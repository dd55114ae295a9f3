"""The astropy model of one position: what an astropy fitter gets, and a user's function."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
from astropy.modeling import Model

from xr_modelfit.expression import evaluate_tree
from xr_modelfit.problem import Problem

__all__ = ["position_model"]


def position_model(problem: Problem, parameters: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> Model:
    """A fresh copy of the template with the parameters, bounds and fixed parameters of one position.

    ``parameters`` and each of ``bounds`` have shape (K,).
    """
    model = problem.model.copy()
    model.parameters = problem.with_ties(parameters)
    low, high = bounds
    for j, name in enumerate(model.param_names):
        parameter = getattr(model, name)
        if low[j] == problem.lower[j] and high[j] == problem.upper[j]:
            continue
        if low[j] == high[j]:
            parameter.fixed = True
            parameter.bounds = (None, None)
        else:
            parameter.bounds = tuple(None if np.isinf(v) else float(v) for v in (low[j], high[j]))
    _keep_domain(model)
    if problem.ways.careless:
        _guard_inputs(model)
    return model


def _keep_domain(model: Model) -> None:
    """Say that polynomials without a domain read the coordinate as it is.

    `LinearLSQFitter` would otherwise map the samples' own range into the window, and forget it.
    """
    for name in ("domain", "x_domain", "y_domain"):
        window = name.replace("domain", "window")
        if hasattr(model, name) and getattr(model, name) is None and getattr(model, window, None) is not None:
            setattr(model, name, getattr(model, window))


def _guard_inputs(model: Model) -> None:
    """Give a model that writes into its inputs copies of them."""
    n_inputs = model.n_inputs
    template = model.copy()

    def evaluate(*args: Any) -> Any:
        return evaluate_tree(template, args[:n_inputs], args[n_inputs:], careless=True)

    model.evaluate = evaluate
