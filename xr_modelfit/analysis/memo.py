"""Questions about a model that call after call asks again, so that the last answers are kept.

A question is the same where all that its answer follows from is: the expression that the model's own code writes down,
the functions that were called for it, every number that it is tried on, and the values that it gives there. Equal
questions have equal answers, whatever was asked before; see `functools.lru_cache`.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.problem import Problem

__all__ = ["KEPT", "Itself", "Question", "code_of", "numbers_of"]

KEPT = 64  # answers of a kind


class Question:
    """A question that is known by its ``key``; ``about`` is what it takes to answer it, and is let go with that."""

    def __init__(self, key: Hashable, about: Any) -> None:
        self.key, self._about = key, about

    def taken(self) -> Any:
        """What it is about; once."""
        about, self._about = self._about, None
        return about

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Question) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


class Itself:
    """An object in a key: equal to nothing but itself, and not kept alive where that is possible."""

    def __init__(self, thing: object) -> None:
        self._hash = id(thing)
        self._thing: Callable[[], object]
        try:
            self._thing = weakref.ref(thing)
            self._gone: object = None  # what a reference gives then
        except TypeError:
            self._thing = lambda: thing
            self._gone = self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Itself) or self._hash != other._hash:
            return False
        thing = self._thing()
        return self is other or (thing is not self._gone and thing is other._thing())

    def __hash__(self) -> int:
        return self._hash


def numbers_of(problem: Problem, inputs: Sequence[np.ndarray]) -> tuple[Hashable, ...]:
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
    return Itself(type(model)), *(Itself(getattr(f, "__func__", f)) for f in functions), *kind
