"""A model and its ties as expressions: their own code, called once with symbols."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, cast

import numpy as np

from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.ties import ModelStandIn
from xr_modelfit.tracing.gradient import gradient
from xr_modelfit.tracing.graph import CannotTrace, Graph
from xr_modelfit.tracing.products import multiplied_early
from xr_modelfit.tracing.symbols import Symbol

__all__ = ["Traced", "traced"]


@dataclass(frozen=True)
class Traced:
    """Expressions of a model."""

    graph: Graph  # with all K parameters of the model; tied ones are never read
    value: Symbol
    ours: tuple[Symbol, ...]  # the free parameters
    tied: dict[int, Symbol]  # values of the tied parameters
    n_inputs: int
    key: tuple[str, ...]  # differs for any other expressions

    @cached_property
    def slopes(self) -> list[Symbol]:
        """Derivatives of the value by each free parameter, ties included; `CannotTrace` where there is none."""
        with _as_cannot_trace():
            return multiplied_early(gradient(self.value, self.ours), [self.value])


def traced(problem: Problem) -> Traced:
    """The expressions of the problem's model; `CannotTrace` where it or a tie is no expression of single samples."""
    problem = problem.private()  # a model that stores what it computes would store symbols
    graph = Graph()
    parameters = [Symbol(graph, graph.leaf("parameter", j), locked=True) for j in range(problem.n_parameters)]
    inputs = [Symbol(graph, graph.leaf("input", i), locked=True) for i in range(problem.model.n_inputs)]
    ours = tuple(parameters[j] for j in np.flatnonzero(problem.free).tolist())

    tied = np.flatnonzero(problem.tied).tolist()

    def expressed() -> list[Symbol]:
        """The value, and those of tied parameters."""
        with _as_cannot_trace():
            full = _with_ties(problem, parameters)
            return [_symbol(graph, evaluate_tree(problem.model, cast(Any, inputs), full)), *(full[j] for j in tied)]

    value, *ties = expressed()
    if graph.somewhere:
        _check_decisions(graph, [value, *ties], expressed)
    roots = value.number, [p.number for p in ours], {j: s.number for j, s in zip(tied, ties, strict=True)}
    key = repr(graph.nodes), repr(roots)
    return Traced(graph, value, ours, dict(zip(tied, ties, strict=True)), problem.model.n_inputs, key)


def _check_decisions(graph: Graph, found: list[Symbol], again: Callable[[], list[Symbol]]) -> None:
    """Refuse code that does more than to save work where a condition holds nowhere.

    ``found`` are its expressions if all of its conditions hold somewhere. Where some hold nowhere, they must equal
    those of ``again``, in which the code learns that they hold nowhere.
    """
    known = list(graph.somewhere)
    for n in range(1, len(known) + 1):
        for nowhere in combinations(known, n):
            graph.somewhere = {one: one not in nowhere for one in known}
            pairs = [
                (graph.never(a.number, nowhere), graph.never(b.number, nowhere))
                for a, b in zip(found, again(), strict=True)
            ]
            if len(graph.somewhere) > len(known) or any(a != b for a, b in pairs):
                raise CannotTrace("a decision on a value")


@contextmanager
def _as_cannot_trace() -> Iterator[None]:
    """Turn any exception into `CannotTrace`."""
    try:
        yield
    except CannotTrace:
        raise
    except Exception as error:  # code that symbols do not suit
        raise CannotTrace(f"{type(error).__name__}: {error}") from error


def _with_ties(problem: Problem, parameters: Sequence[Symbol]) -> list[Symbol]:
    """All parameters, the tied ones as expressions of the others; see `Problem.with_ties`."""
    values = list(parameters)
    names = problem.model.param_names
    stand_in = ModelStandIn(names, lambda name: values[names.index(name)])
    ties = [(j, tie) for j, tie in enumerate(problem.ties) if tie is not None]
    for _ in ties:
        before = [v.number for v in values]
        for j, tie in ties:
            values[j] = _symbol(values[j].graph, tie(stand_in))
        if before == [v.number for v in values]:
            break
    return values


def _symbol(graph: Graph, value: Any) -> Symbol:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return Symbol(graph, Symbol(graph, 0).node(value))
