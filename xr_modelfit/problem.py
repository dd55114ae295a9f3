"""The numeric view of an astropy model: what is free, what is tied, and what the model says.

A `Problem` holds no label, no unit and no sample. Shapes here: ``K`` parameters of the model
in astropy's order, ``n`` samples of one fit.

Expression trees are evaluated here rather than by `astropy.modeling.CompoundModel.evaluate`,
which counts the inputs of ``fix_inputs`` wrongly.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

__all__ = ["Problem", "evaluate_tree", "has_fixed_inputs", "leaves", "parameter_titles", "result_names", "with_values"]

Tie = Callable[[Model], Any]
Arrays = Sequence[np.ndarray]


def leaves(model: Model) -> Iterator[Model]:
    """The simple models of an expression, in the order of their parameters."""
    if isinstance(model, CompoundModel):
        yield from leaves(model.left)
        if isinstance(model.right, Model):
            yield from leaves(model.right)
    else:
        yield model


def has_fixed_inputs(model: Model) -> bool:
    """Whether ``fix_inputs`` occurs anywhere in the expression."""
    if not isinstance(model, CompoundModel):
        return False
    return model.op == "fix_inputs" or has_fixed_inputs(model.left) or has_fixed_inputs(model.right)


def result_names(model: Model) -> tuple[str, ...]:
    """Names of the parameters in a result: ``halpha_mean`` for a named sub-model, else astropy's.

    A name that two sub-models share, or that is no identifier, is not used.
    """
    if not isinstance(model, CompoundModel):
        return tuple(model.param_names)
    parts = list(leaves(model))
    taken = [part.name for part in parts]
    names: list[str] = []
    for part in parts:
        named = isinstance(part.name, str) and part.name.isidentifier() and taken.count(part.name) == 1
        for parameter in part.param_names:
            astropy_name = model.param_names[len(names)]
            names.append(f"{part.name}_{parameter}" if named else astropy_name)
    # A label such as Const1D(name="amplitude_0") may collide with another's astropy name.
    return tuple(names) if len(set(names)) == len(names) else tuple(model.param_names)


def parameter_titles(model: Model) -> list[str]:
    """For each parameter, what it is in words: ``mean of halpha (Gaussian1D)``."""
    titles = []
    parts = list(leaves(model))
    for number, part in enumerate(parts):
        kind = type(part).__name__
        which = f"{part.name} ({kind})" if part.name else f"{kind} {number}" if len(parts) > 1 else kind
        titles += [f"{parameter} of {which}" for parameter in part.param_names]
    return titles


def with_values(model: Model, values: Sequence[Any]) -> Model:
    """A copy of ``model`` with new parameter values, numbers or arrays, in astropy's order.

    The expression is built anew: a compound remembers the sizes of its parameters.
    Names, constraints, domain and window are kept.
    """
    if not isinstance(model, CompoundModel):
        copied = model.copy()
        copied._reset_parameters(**dict(zip(model.param_names, values, strict=True)))
        for name in model.param_names:
            old, new = getattr(model, name), getattr(copied, name)
            new.fixed, new.tied, new.bounds = old.fixed, old.tied, old.bounds
        return copied
    n_left = len(model.left.param_names)
    left = with_values(model.left, values[:n_left])
    right = with_values(model.right, values[n_left:]) if isinstance(model.right, Model) else dict(model.right)
    built = CompoundModel(model.op, left, right, name=model.name)
    built.inputs, built.outputs = model.inputs, model.outputs
    return built


def evaluate_tree(model: Model, inputs: Arrays, parameters: Sequence[Any]) -> Any:
    """Evaluate ``model`` by its expression tree on plain arrays, one value per parameter."""
    if not isinstance(model, CompoundModel) or model.op not in _OPERATORS | {"&", "|", "fix_inputs"}:
        return model.evaluate(*inputs, *parameters)
    n_left = len(model.left.param_names)
    left, right = parameters[:n_left], parameters[n_left:]
    if model.op == "fix_inputs":
        given = {
            model.left.inputs.index(key) if isinstance(key, str) else int(key): value
            for key, value in model.right.items()
        }
        rest = iter(inputs)
        inside = [given[i] if i in given else next(rest) for i in range(model.left.n_inputs)]
        return evaluate_tree(model.left, inside, left)
    if model.op == "|":
        between = evaluate_tree(model.left, inputs, left)
        return evaluate_tree(model.right, between if isinstance(between, tuple) else (between,), right)
    if model.op == "&":
        outputs = (
            evaluate_tree(model.left, inputs[: model.left.n_inputs], left),
            evaluate_tree(model.right, inputs[model.left.n_inputs :], right),
        )
        return tuple(v for out in outputs for v in (out if isinstance(out, tuple) else (out,)))
    return _binary(
        model.op, evaluate_tree(model.left, inputs, left), evaluate_tree(model.right, _copies(inputs), right)
    )


_OPERATORS = {"+", "-", "*", "/", "**"}


def _binary(op: str, left: Any, right: Any) -> Any:
    if isinstance(left, tuple):
        return tuple(_binary(op, a, b) for a, b in zip(left, right, strict=True))
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left / right if op == "/" else left**right


def _copies(inputs: Arrays) -> list[np.ndarray]:
    """Copies, since some user models change their input in place."""
    return [np.array(x) for x in inputs]


@dataclass(frozen=True, eq=False)
class Problem:
    """An astropy model as the fitters see it.

    Parameters
    ----------
    model : astropy.modeling.Model
        Template with scalar parameters and no units; constraints are those of the call.
    names : tuple of str
        Parameter names in the result, ``K`` of them, in astropy's order.
    start, lower, upper : ndarray, shape (K,)
        Scalar start values and bounds; infinite where there is no bound.
    fixed : ndarray of bool, shape (K,)
    ties : tuple of callable or None, length K
    derivative : {"analytic", "complex", "difference"}
        How `xr_modelfit.derivatives` differentiates this model; chosen once a call.
    wrong_derivative : bool
        Whether the model has a ``fit_deriv`` that disagrees with differences.
    careless : bool
        Whether the model writes into its inputs.
    """

    model: Model
    names: tuple[str, ...]
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    fixed: np.ndarray
    ties: tuple[Tie | None, ...]
    derivative: str = "difference"
    wrong_derivative: bool = False
    careless: bool = False

    @property
    def n_parameters(self) -> int:
        return len(self.names)

    @property
    def tied(self) -> np.ndarray:
        """Which parameters are tied, shape (K,)."""
        return np.array([tie is not None for tie in self.ties], dtype=bool)

    @property
    def free(self) -> np.ndarray:
        """Which parameters are neither fixed nor tied, shape (K,)."""
        return ~self.fixed & ~self.tied

    def private(self) -> Problem:
        """A copy whose model belongs to one task: ties and some models write to it."""
        return replace(self, model=copy.deepcopy(self.model))

    def evaluate(self, inputs: Arrays, parameters: np.ndarray) -> np.ndarray:
        """Model values of one fit, shape (n,), from inputs of shape (n,) and parameters (K,).

        Complex parameters give complex values, for derivatives.
        """
        values = np.asarray(evaluate_tree(self.model, _copies(inputs), list(parameters)))
        return np.broadcast_to(values, inputs[0].shape) if values.shape != inputs[0].shape else values

    def with_ties(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters of shape (K,) with the tied ones computed from the others.

        astropy goes through the ties once, in the order of the parameters; a tie to a tied
        parameter that comes later would lag behind, so it is repeated until nothing changes.
        """
        ties = [(i, tie) for i, tie in enumerate(self.ties) if tie is not None]
        if not ties:
            return parameters
        values = np.array(parameters, dtype=float)
        for _ in range(len(ties)):
            before = values.copy()
            for i, tie in ties:
                self.model.parameters = values
                values[i] = float(np.squeeze(np.asarray(tie(self.model))))
            if np.array_equal(before, values, equal_nan=True):
                break
        return values
