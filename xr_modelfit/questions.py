"""Questions about a model that call after call asks again, so that the last answers are kept.

A question is the same where all that its answer follows from is: the expression that the model's own code writes down,
the functions that were called for it, and every number that it is tried on. Equal questions have equal answers,
whatever was asked before; see `functools.lru_cache`.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.problem import Problem

__all__ = ["KEPT", "Itself", "Question", "code_of", "numbers_of"]

KEPT = 64  # answers of a kind


@dataclass(frozen=True)
class Question:
    """A question, known by its ``key``; ``about`` is what it takes to answer it."""

    key: Hashable
    about: Any = field(compare=False, repr=False)


class Itself:
    """An object in a key: equal to nothing but itself, and alive for as long as the key is."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


def numbers_of(problem: Problem, inputs: Sequence[np.ndarray]) -> Hashable:
    """The numbers that a problem is tried on, and what is free in it."""
    arrays = (problem.start, problem.free, *inputs)
    return tuple((a.shape, np.ascontiguousarray(a).tobytes()) for a in arrays)


def code_of(model: Model) -> Hashable:
    """The functions of a model that are called for its values and derivatives, in the order of its expression."""
    if isinstance(model, CompoundModel):
        right = code_of(model.right) if isinstance(model.right, Model) else tuple(model.right)
        return model.op, code_of(model.left), right
    functions = (model.evaluate, getattr(model, "fit_deriv", None))  # not all parts can be fitted alone
    kind = bool(model.linear), bool(getattr(model, "col_fit_deriv", True))
    return type(model), *(Itself(getattr(f, "__func__", f)) for f in functions), *kind
