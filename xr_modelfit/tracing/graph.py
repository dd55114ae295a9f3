"""Expressions as a graph: nodes that are operations on other nodes. Equal expressions are one node."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["BOOLEANS", "FUNCTIONS", "ONE_ARGUMENT", "PARTS", "SPECIAL", "CannotTrace", "Graph"]


class CannotTrace(BaseException):
    """The code does something that is no expression of single samples.

    It is no `Exception`, since a model that catches those would go on in another way than on arrays.
    """


def _functions(names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(np, name) for name in names.split()}


ONE_ARGUMENT = _functions(
    "negative exp expm1 exp2 log log1p log10 log2 sqrt sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh "
    "arctanh absolute sign floor ceil rint trunc"
)
_TWO_ARGUMENTS = _functions("add subtract multiply divide power arctan2 hypot minimum maximum")
BOOLEANS = _functions(
    "less less_equal greater greater_equal equal not_equal logical_and logical_or logical_not isfinite isnan"
)
FUNCTIONS = ONE_ARGUMENT | _TWO_ARGUMENTS | BOOLEANS | {"where": np.where}
SPECIAL = {"erf", "erfc", "erfcx", "expit"}  # of scipy.special
PARTS = {"real", "imag"}  # of ``wofz``, which is a pair of numbers made of another pair
_LEAVES = {"constant", "input", "parameter"}
_LOGICAL = {"logical_and", "logical_or", "logical_not"}
_OF_BOOLEANS = {"add": "logical_or", "maximum": "logical_or", "multiply": "logical_and", "minimum": "logical_and"}


class Graph:
    """Nodes of expressions: an operation and the numbers of its arguments, or a leaf and its value.

    Leaves are ``("constant", value)``, ``("input", number)`` and ``("parameter", number)``. Arguments come before what
    is made of them.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, ...]] = []
        self.somewhere: dict[int, bool] = {}  # of conditions that code has asked about: whether they hold anywhere
        self._numbers: dict[tuple[Any, ...], int] = {}

    def leaf(self, kind: str, value: Any) -> int:
        return self._number((kind, value))

    def constant(self, value: Any) -> int:
        """A number or a boolean; two zeros that differ in sign are two."""
        value = bool(value) if isinstance(value, bool | np.bool_) else float(value)
        key = ("constant", value)
        sign = str(value) if value == 0 or value != value else ""
        return self._number(key, (*key, type(value), sign))

    def make(self, op: str, *arguments: int) -> int:
        """The node of ``op`` on nodes; constants are worked out, and operations without effect are left out."""
        known = [self.value(a) for a in arguments]
        if (op in FUNCTIONS or op in SPECIAL) and all(v is not None for v in known):
            function = FUNCTIONS.get(op)
            if function is None:
                from scipy import special  # takes long to import, and few models need it

                function = getattr(special, op)
            with np.errstate(all="ignore"):
                return self.constant(np.asarray(function(*known))[()])
        if op in ("add", "multiply", "logical_and", "logical_or") and known[0] is not None:  # constants last
            arguments, known = arguments[::-1], known[::-1]
        if op in ("logical_and", "logical_or") and known[1] is not None:
            return arguments[0] if known[1] == (op == "logical_and") else arguments[1]
        neutral = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "divide": 1.0, "power": 1.0}.get(op)
        if neutral is not None and known[-1] == neutral:
            return arguments[0]
        if op == "power" and known[-1] == 0.0:  # of NaN too; its derivative at 0 would be 0 * inf
            return self.constant(1.0)
        if op == "where" and known[0] is not None:
            return arguments[1] if known[0] else arguments[2]
        return self._number((op, *arguments))

    def never(self, root: int, conditions: Iterable[int]) -> int:
        """A node where none of some conditions holds."""
        new = dict.fromkeys(conditions, self.constant(False))
        for number in self.needed([root]):
            if number not in new:
                op, arguments = self.nodes[number][0], self.arguments(number)
                new[number] = self.make(op, *(new[a] for a in arguments)) if arguments else number
        return new[root]

    def value(self, number: int) -> Any:
        """The value of a constant, None for any other node."""
        node = self.nodes[number]
        return node[1] if node[0] == "constant" else None

    def arguments(self, number: int) -> tuple[int, ...]:
        """The nodes that a node is made of."""
        node = self.nodes[number]
        return () if node[0] in _LEAVES else node[1:]

    def needed(self, numbers: Iterable[int], known: Container[int] = ()) -> list[int]:
        """The nodes that some are made of, and they themselves, in an order in which they can be computed.

        Those that are known, and what only they are made of, are left out.
        """
        found: set[int] = set()
        left = list(numbers)
        while left:
            number = left.pop()
            if number not in found and number not in known:
                found.add(number)
                left += self.arguments(number)
        return sorted(found)

    def depending(self, leaves: Iterable[int]) -> set[int]:
        """The nodes that depend on any of the leaves, and these."""
        found = set(leaves)
        for number in range(len(self.nodes)):
            if any(a in found for a in self.arguments(number)):
                found.add(number)
        return found

    def of_kind(self, kind: str) -> list[int]:
        """All leaves of a kind."""
        return [number for number, node in enumerate(self.nodes) if node[0] == kind]

    def is_boolean(self, number: int) -> bool:
        node = self.nodes[number]
        if node[0] == "where":  # choices are of one kind
            return self.is_boolean(node[2])
        return node[0] in BOOLEANS or (node[0] == "constant" and isinstance(node[1], bool))

    def of_one_kind(self, op: str, arguments: Sequence[int]) -> tuple[str, list[int]]:
        """What NumPy does where booleans are among the operands: it makes them numbers unless all are booleans."""
        booleans = [self.is_boolean(a) for a in arguments]
        if op == "where":
            return op, [arguments[0], *self._numbers_unless_all(arguments[1:])]
        if op in _LOGICAL:
            pairs = zip(arguments, booleans, strict=True)
            return op, [a if boolean else self.make("not_equal", a, self.constant(0.0)) for a, boolean in pairs]
        if not all(booleans) or op in BOOLEANS:
            return op, self._numbers_unless_all(arguments)
        if op not in _OF_BOOLEANS:
            raise CannotTrace(f"{op} of booleans")
        return _OF_BOOLEANS[op], list(arguments)

    def as_number(self, argument: int) -> int:
        """A boolean as 0 or 1."""
        if not self.is_boolean(argument):
            return argument
        return self.make("where", argument, self.constant(1.0), self.constant(0.0))

    def _numbers_unless_all(self, arguments: Sequence[int]) -> list[int]:
        if all(self.is_boolean(a) for a in arguments):
            return list(arguments)
        return [self.as_number(a) for a in arguments]

    def _number(self, node: tuple[Any, ...], key: tuple[Any, ...] | None = None) -> int:
        key = node if key is None else key
        if key not in self._numbers:
            self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[key]
