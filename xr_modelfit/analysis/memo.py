"""Cache keys for what is found out about a model, so that the next call finds it again.

A key holds all that the answer depends on: the expression that the model's code writes down, the functions that are
called for it, the numbers that it is tried on, and the values that it gives there. See `functools.lru_cache`.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model

from xr_modelfit.models.problem import Problem

__all__ = ["CACHE_SIZE", "CacheKey", "IdentityKey", "code_of", "numbers_of"]

CACHE_SIZE = 64  # answers of a kind


class CacheKey:
    """The argument of a cached function: compared by ``key``; it holds the arguments until they are taken."""

    def __init__(self, key: Hashable, arguments: Any) -> None:
        self.key, self._arguments = key, arguments

    def taken(self) -> Any:
        """The arguments; once, so that the cache does not keep them alive."""
        arguments, self._arguments = self._arguments, None
        return arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheKey) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


class IdentityKey:
    """An object in a key: equal only to itself, and kept alive only if it cannot be referred to weakly."""

    def __init__(self, thing: object) -> None:
        self._id = id(thing)
        try:
            self._thing: Callable[[], object] = weakref.ref(thing)
        except TypeError:
            self._thing = lambda: thing

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, IdentityKey):
            return self is other
        return self._id == id(self._thing()) == id(other._thing())  # None in place of an object that is gone

    def __hash__(self) -> int:
        return self._id


def numbers_of(problem: Problem, inputs: Sequence[np.ndarray]) -> tuple[Hashable, ...]:
    """The numbers that a problem is tried on, and which parameters are free."""
    arrays = (problem.start, problem.free, *inputs)
    return tuple((a.shape, np.ascontiguousarray(a).tobytes()) for a in arrays)


def code_of(model: Model) -> Hashable:
    """The functions of a model that are called for its values and derivatives, in the order of its expression."""
    if isinstance(model, CompoundModel):
        right = code_of(model.right) if isinstance(model.right, Model) else tuple(model.right)
        return model.op, code_of(model.left), right
    functions = (model.evaluate, getattr(model, "fit_deriv", None))  # not all parts can be fitted alone
    kind = bool(model.linear), bool(getattr(model, "col_fit_deriv", True))
    return IdentityKey(type(model)), *(IdentityKey(getattr(f, "__func__", f)) for f in functions), *kind
