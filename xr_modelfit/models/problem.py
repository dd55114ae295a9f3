"""The numeric view of an astropy model: its free and tied parameters, and its values.

A `Problem` holds no label, no unit and no sample. Shapes here: ``K`` parameters of the model in
astropy's order, ``n`` samples of a fit, ``b`` fits. Samples come first, fits last: a sum over
the samples of a fit is then a sum of rows, in which a sample of weight zero changes no bit, and
nothing depends on what else is in the batch.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy.modeling import Model

from xr_modelfit.models.expression import evaluate_tree, forgetful, keeps_nothing
from xr_modelfit.models.grid import Grid
from xr_modelfit.models.sampling import Sampling
from xr_modelfit.models.ties import ModelStandIn, ParameterValues

__all__ = ["Inputs", "Problem", "Traits", "as_rows", "column"]

Inputs = Sequence[np.ndarray]  # one array for each input of the model
Tie = Callable[[Model], Any]


@dataclass(frozen=True, eq=False)
class Traits:
    """How the model can be computed, found out once a call; see `analysis.traits`."""

    broadcasts: bool = False  # ``evaluate`` takes inputs (n, 1) and parameters (b,); otherwise fits go one by one
    ties_broadcast: bool = False  # ties take parameters (b,)
    tie_matrix: np.ndarray | None = None  # (K, k): of all parameters by the free ones, where the ties are linear
    atoms: tuple[str, ...] = ()  # how each atom of the expression is differentiated; see `analysis.derivatives`
    linear: bool = False  # in all free parameters
    wrong_derivative: bool = False  # a ``fit_deriv`` disagrees with differences
    writes_inputs: bool = False  # the model writes into its inputs, or refuses those that cannot be written to
    # Sources of the values and of the derivatives by the free parameters (`tracing.arrays`), in place of ``atoms``.
    traced: tuple[str, str] | None = None
    compilable: str | None = None  # source of functions to compile; see `tracing.source`
    # Free parameters (K,) in which, all together, the model is seen to be linear whatever the others are.
    partly_linear: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    smooth: bool = False  # the model is seen to have no kinks and no jumps
    grid: Grid | None = None  # the samples of a fit, where the model sees all of them; None where it is pointwise

    @property
    def expensive(self) -> bool:
        """Whether a value takes NumPy ten times as long as others, as scipy computes the complex error function."""
        return self.compilable is not None and " wofz(" in self.compilable

    @property
    def complex(self) -> bool:
        """Whether any derivative is taken by a complex step."""
        return "complex" in self.atoms and self.traced is None


@dataclass(frozen=True, eq=False)
class Problem:
    """An astropy model as the fitters see it."""

    model: Model  # scalar parameters without units; constraints are those of the call
    names: tuple[str, ...]  # of the K parameters in the result, in astropy's order
    start: np.ndarray  # (K,)
    lower: np.ndarray  # (K,), infinite where there is no bound
    upper: np.ndarray
    fixed: np.ndarray  # of bool, (K,)
    ties: tuple[Tie | None, ...]  # K of them
    traits: Traits = field(default_factory=Traits)
    source: str | None = None  # of the model's compiled functions, where the compiled engine does the work
    # Where samples are made of values at nodes, inputs are those of the nodes (N, 1) or (N, b), then their weights.
    sampling: Sampling | None = None

    @cached_property
    def partly_linear(self) -> np.ndarray:
        """Free parameters (K,) in which, all together, the model is linear, as far as that is known."""
        known = self.traits.partly_linear
        return known if known.size else np.zeros(self.n_parameters, dtype=bool)

    @property
    def sees_others(self) -> bool:
        """Whether the value at a sample depends on more than the inputs at that sample."""
        return self.traits.grid is not None or self.sampling is not None

    @cached_property
    def at_nodes(self) -> Problem:
        """The problem of the model itself, whose samples are the nodes."""
        return replace(self, sampling=None)

    @property
    def n_parameters(self) -> int:
        return len(self.names)

    @cached_property
    def tied(self) -> np.ndarray:
        """Which parameters are tied, shape (K,)."""
        return np.array([tie is not None for tie in self.ties], dtype=bool)

    @cached_property
    def free(self) -> np.ndarray:
        """Which parameters are neither fixed nor tied, shape (K,)."""
        return ~self.fixed & ~self.tied

    def with_traits(self, **found: Any) -> Problem:
        """A copy with some traits replaced."""
        return replace(self, traits=replace(self.traits, **found))

    def private(self) -> Problem:
        """A copy whose model belongs to one task, as ties write to it; this one, where none do."""
        if not self.tied.any() and keeps_nothing(self.model):
            return self
        return replace(self, model=forgetful(copy.deepcopy(self.model)))

    def evaluate(self, inputs: Inputs, parameters: np.ndarray) -> np.ndarray:
        """Model values, shape (n, b), of inputs (n, 1) or (n, b) and parameters (K, b).

        Complex parameters give complex values, for derivatives.
        """
        if self.sampling is not None:
            *nodes, weights = inputs
            return self.sampling.mixed(self.at_nodes.evaluate(nodes, parameters), weights)
        shape = (inputs[0].shape[0], parameters.shape[1])
        if self.traits.broadcasts:
            values = self.model_values(inputs, as_rows(parameters))
            return values if values.shape == shape else np.broadcast_to(values, shape)
        out = np.empty(shape, dtype=parameters.dtype if parameters.dtype.kind == "c" else float)
        for i in range(shape[1]):
            out[:, i] = self.evaluate_one(column(inputs, i), parameters[:, i])
        return out

    def evaluate_one(self, inputs: Inputs, parameters: np.ndarray) -> np.ndarray:
        """Model values of one fit, shape (n,), from inputs (n,) and parameters (K,)."""
        if self.sampling is not None:
            *nodes, weights = inputs
            return self.sampling.mixed(self.at_nodes.evaluate_one(nodes, parameters)[:, None], weights[:, None])[:, 0]
        grid = self.traits.grid
        if grid is not None:
            return grid.counted(self.model_values([grid.shaped(x) for x in inputs], list(parameters)))
        values = self.model_values(inputs, list(parameters))
        return values if values.shape == inputs[0].shape else np.broadcast_to(values, inputs[0].shape)

    def model_values(self, inputs: Inputs, parameters: Sequence[Any]) -> np.ndarray:
        """What the model returns for inputs and parameters in any shape that it takes."""
        return np.asarray(evaluate_tree(self.model, inputs, parameters, writes_inputs=self.traits.writes_inputs))

    def with_ties(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters (K,) or (K, b) with the tied ones computed from the others.

        astropy goes through the ties once, in the order of the parameters; a tie to a tied
        parameter that comes later would lag behind, so it is repeated until nothing changes.
        """
        if not self.tied.any():
            return parameters
        values = np.array(parameters, dtype=float, order="C")
        if values.ndim == 1:
            self._tie(values)
        elif self.traits.ties_broadcast:
            names = self.model.param_names
            stand_in = ModelStandIn(names, lambda name: values[names.index(name)].view(ParameterValues))
            self._tie(values, lambda _: stand_in)
        else:
            for i in range(values.shape[1]):
                one = values[:, i].copy()
                self._tie(one)
                values[:, i] = one
        return values

    def read_by_ties(self, parameters: np.ndarray) -> np.ndarray:
        """Which parameters (K, K) each tie reads, itself or through other ties, at parameters (K, b).

        A tie depends only on what it reads. Where that cannot be seen, it may be all of them.
        """
        K, names = self.n_parameters, self.model.param_names
        if not self.traits.ties_broadcast:
            return np.ones((K, K), dtype=bool)
        reads, values = np.zeros((K, K), dtype=bool), np.array(parameters, dtype=float, order="C")

        def watched(tie: int) -> ModelStandIn:
            def read(name: str) -> ParameterValues:
                reads[tie, names.index(name)] = True
                return values[names.index(name)].view(ParameterValues)

            return ModelStandIn(names, read)

        try:
            self._tie(values, watched)
        except Exception:  # it fails for some of the values
            return np.ones((K, K), dtype=bool)
        for t in np.flatnonzero(self.tied).tolist():
            reads |= np.outer(reads[:, t], reads[t])
        return reads

    def _tie(self, values: np.ndarray, stand_in: Callable[[int], ModelStandIn] | None = None) -> None:
        """Put the tied parameters into ``values``; each tie reads its stand-in or, without any, the model."""
        ties = [(j, tie) for j, tie in enumerate(self.ties) if tie is not None]
        for _ in range(len(ties)):
            before = values.copy()
            for j, tie in ties:
                if stand_in is None:
                    self.model.parameters = values
                    values[j] = float(np.squeeze(np.asarray(tie(self.model))))
                else:
                    values[j] = tie(stand_in(j))
            if np.array_equal(before, values, equal_nan=True):
                break


def as_rows(parameters: np.ndarray) -> list[np.ndarray]:
    """Rows of (K, b) as models get them: contiguous.

    For a strided array NumPy chooses between two kinds of ``power``, which differ in the last bit, by whether the
    memory that it spans touches that of the result.
    """
    return list(np.ascontiguousarray(parameters))


def column(inputs: Inputs, i: int) -> list[np.ndarray]:
    """Inputs of fit ``i``, shape (n,) each, contiguous."""
    return [np.ascontiguousarray(x[:, i if x.shape[1] > 1 else 0]) for x in inputs]
