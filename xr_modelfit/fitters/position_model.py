"""The astropy model of one position: what an astropy fitter gets, and a user's function."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Fittable1DModel, Model, Parameter
from astropy.modeling.convolution import Convolution

from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.models.problem import Problem

__all__ = ["position_model", "sample_model_of"]


def position_model(problem: Problem, parameters: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> Model:
    """A fresh copy of the template with the parameters, bounds and fixed parameters of one position.

    ``parameters`` and each of ``bounds`` have shape (K,).
    """
    model = problem.model.copy()
    model.parameters = problem.with_ties(parameters)
    _set_bounds(model, problem, bounds)
    _keep_domain(model)
    if problem.traits.writes_inputs or _has_own_grid(problem.model):
        _guard_inputs(model, problem.traits.writes_inputs)
    return model


def sample_model_of(problem: Problem) -> Callable[[Sequence[np.ndarray], np.ndarray, np.ndarray, Any], Model]:
    """Makes models of *sample numbers* of single fits, for a model that sees all samples.

    Fitters pass on numbers; the model is evaluated on all samples, and gives the values that are asked for. Where a
    sample is left out it gives 0, whatever it is there.

    Returns
    -------
    callable
        ``(inputs, valid, parameters, bounds) -> Model`` with one input, the numbers of samples. Arguments are all
        inputs of a fit, (n,) each, which of its samples take part, (n,), and the others as in `position_model`.
    """
    names, template = problem.model.param_names, problem.model
    own = {name: Parameter(default=float(value)) for name, value in zip(names, problem.start, strict=True)}

    def evaluate(self, numbers, *parameters):  # type: ignore[no-untyped-def]  # astropy takes annotations for units
        at = np.array([float(np.squeeze(p)) for p in parameters])
        values = problem.evaluate_one(self._held.inputs, at)
        return np.where(self._held.valid, values, 0.0)[np.asarray(numbers, dtype=int)]

    kind = type(type(template).__name__, (Fittable1DModel,), {**own, "evaluate": evaluate})

    def tied_to(tie: Any) -> Any:
        def tied(model: Model) -> Any:
            template.parameters = model.parameters
            return tie(template)

        return tied

    def made(inputs: Sequence[np.ndarray], valid: np.ndarray, parameters: np.ndarray, bounds: Any) -> Model:
        model = kind(*problem.with_ties(parameters))
        model._held = _Held(inputs, valid)
        for name, fixed, tie in zip(names, problem.fixed, problem.ties, strict=True):
            parameter = getattr(model, name)
            parameter.fixed, parameter.bounds = bool(fixed), getattr(template, name).bounds
            parameter.tied = tied_to(tie) if tie is not None else False
        _set_bounds(model, problem, bounds)
        return model

    return made


class _Held:
    """The samples of a fit, which copies of its model share."""

    def __init__(self, inputs: Sequence[np.ndarray], valid: np.ndarray) -> None:
        self.inputs, self.valid = inputs, valid

    def __deepcopy__(self, _: Any) -> _Held:
        return self


def _set_bounds(model: Model, problem: Problem, bounds: tuple[np.ndarray, np.ndarray]) -> None:
    """Bounds of one position, where they are not those of all."""
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


def _keep_domain(model: Model) -> None:
    """Say that polynomials without a domain read the coordinate as it is.

    `LinearLSQFitter` would otherwise map the samples' own range into the window, and forget it.
    """
    for name in ("domain", "x_domain", "y_domain"):
        window = name.replace("domain", "window")
        if hasattr(model, name) and getattr(model, name) is None and getattr(model, window, None) is not None:
            setattr(model, name, getattr(model, window))


def _has_own_grid(model: Any) -> bool:
    """Whether ``evaluate``, which fitters call, forgets the grid of a `convolve_models_fft`."""
    if not isinstance(model, CompoundModel):
        return False
    return isinstance(model, Convolution) or _has_own_grid(model.left) or _has_own_grid(model.right)


def _guard_inputs(model: Model, writes_inputs: bool) -> None:
    """Let ``evaluate`` go through the expression; a model that writes into its inputs gets copies of them."""
    n_inputs = model.n_inputs
    template = model.copy()

    def evaluate(*args):  # type: ignore[no-untyped-def]
        return evaluate_tree(template, args[:n_inputs], args[n_inputs:], writes_inputs=writes_inputs)

    model.evaluate = evaluate
