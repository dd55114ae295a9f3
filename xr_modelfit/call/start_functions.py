"""Functions of users that give start values: in the units of a result, and tried before any sample is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xr_modelfit.estimates.estimate import Estimator
from xr_modelfit.estimates.registry import values_of
from xr_modelfit.messages import a, listed, sentence, suggestion
from xr_modelfit.models.problem import Problem

__all__ = ["InUnits", "try_estimator"]

_FITS = 2


@dataclass(frozen=True, eq=False)
class InUnits:
    """A function whose values have the names and the units of the result, for the inside of a fit."""

    function: Callable[..., Mapping[str, Any]]
    names: tuple[str, ...]  # of the parameters in the result
    own: tuple[str, ...]  # of the parameters of the model
    inward: tuple[float, ...]  # what values are multiplied by

    def __call__(self, data: np.ndarray, *inputs: np.ndarray) -> dict[str, Any]:
        """Values by the model's own names."""
        found = self.function(data, *inputs)
        if not isinstance(found, Mapping):
            raise TypeError(f"it gave {a(found)}; {{parameter: values}} is needed.")
        out = {}
        for name, value in found.items():
            if name not in self.names:
                raise ValueError(
                    f"it gave {name!r}; the parameters are {listed(self.names)}.{suggestion(name, self.names)}"
                )
            j = self.names.index(name)
            numbers = np.asarray(value, dtype=float) * self.inward[j]
            out[self.own[j]] = numbers[0] if numbers.shape == (1,) else numbers  # made of a shared coordinate
        return out


def try_estimator(estimator: Estimator, problem: Problem, inputs: Sequence[np.ndarray]) -> None:
    """Call the user's function on the model's own values at its start, with ``inputs`` (n,).

    Raises ValueError if the function raises, or gives something else than values of parameters.
    """
    with np.errstate(all="ignore"):
        try:
            one = problem.evaluate_one(list(inputs), problem.with_ties(problem.start))
        except Exception:  # the model says nothing here, and the call says so later
            return
    y = np.where(np.isfinite(one), one, 0.0) * np.ones((_FITS, 1))
    assert estimator.function is not None
    try:
        with np.errstate(all="ignore"):
            values_of(
                estimator.function, tuple(problem.model.param_names), y, [np.array(x)[None] for x in inputs],
                np.ones(y.shape, dtype=bool),
            )  # fmt: skip
    except Exception as error:
        function = estimator.function.function if isinstance(estimator.function, InUnits) else estimator.function
        name = getattr(function, "__qualname__", type(function).__name__)
        raise ValueError(
            f"{name} cannot give start values: with data of shape {y.shape} it raised {type(error).__name__}: "
            f"{sentence(error)} It is called as {name}(data, {', '.join(problem.model.inputs)}) for {_FITS} or more "
            "fits at once, and returns {parameter: array of one value for each fit}."
        ) from error
