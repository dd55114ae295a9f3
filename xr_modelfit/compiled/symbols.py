"""Expressions that a model's own code writes down when it is called with symbols instead of arrays.

`Symbol` answers to Python's operators, to NumPy's ufuncs and to those of its functions that act sample by sample. What
cannot be written as such an expression (a decision on a value, a sum over samples, a special function) raises
`CannotTrace`. Equal expressions are one node: what value and derivative share is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["TRUTHS", "CannotTrace", "Graph", "Symbol"]


class CannotTrace(BaseException):
    """The code does something that is no expression of single samples.

    No `Exception`: a model that catches those would go on with something else than what it does on arrays.
    """


def _functions(names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(np, name) for name in names.split()}


_ONE_ARGUMENT = _functions(
    "negative exp expm1 exp2 log log1p log10 log2 sqrt sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh "
    "arctanh absolute sign floor ceil rint trunc"
)
_TWO_ARGUMENTS = _functions("add subtract multiply divide power arctan2 hypot minimum maximum")
TRUTHS = _functions(
    "less less_equal greater greater_equal equal not_equal logical_and logical_or logical_not isfinite isnan"
)
_FUNCTIONS = _ONE_ARGUMENT | _TWO_ARGUMENTS | TRUTHS | {"where": np.where}
_LEAVES = {"constant", "input", "parameter"}
_UFUNCS = {f for f in vars(np).values() if isinstance(f, np.ufunc)}
_SAME = {"positive": "", "fabs": "absolute", "true_divide": "divide", "float_power": "power"}
_LOGICAL = {"logical_and", "logical_or", "logical_not"}
_OF_TRUTHS = {"add": "logical_or", "maximum": "logical_or", "multiply": "logical_and", "minimum": "logical_and"}
_BITWISE = {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "invert": "logical_not"}


class Graph:
    """Nodes of expressions: an operation and the numbers of its arguments, or a leaf and its value.

    Leaves are ``("constant", value)``, ``("input", number)`` and ``("parameter", number)``. Arguments come before what
    is made of them.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, ...]] = []
        self._numbers: dict[tuple[Any, ...], int] = {}

    def leaf(self, kind: str, value: Any) -> int:
        return self._number((kind, value))

    def constant(self, value: Any) -> int:
        """A number or a truth; two zeros that differ in sign are two."""
        value = bool(value) if isinstance(value, bool | np.bool_) else float(value)
        key = ("constant", value)
        if value == 0 or value != value:
            return self._number(key, (*key, type(value), str(value)))
        return self._number(key, (*key, type(value)))

    def make(self, op: str, *arguments: int) -> int:
        """The node of ``op`` on nodes; constants are worked out, and what changes nothing is left out."""
        known = [self.value(a) for a in arguments]
        if all(v is not None for v in known):
            with np.errstate(all="ignore"):
                return self.constant(np.asarray(_FUNCTIONS[op](*known))[()])
        if op in ("add", "multiply", "logical_and") and known[0] is not None:  # constants last
            arguments, known = arguments[::-1], known[::-1]
        neutral = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "divide": 1.0, "power": 1.0}.get(op)
        if neutral is not None and known[-1] == neutral:
            return arguments[0]
        if op == "power" and known[-1] == 0.0:  # of NaN too; its derivative at 0 would be 0 * inf
            return self.constant(1.0)
        if op == "where" and known[0] is not None:
            return arguments[1] if known[0] else arguments[2]
        return self._number((op, *arguments))

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

    def is_truth(self, number: int) -> bool:
        node = self.nodes[number]
        if node[0] == "where":  # choices are of one kind
            return self.is_truth(node[2])
        return node[0] in TRUTHS or (node[0] == "constant" and isinstance(node[1], bool))

    def of_one_kind(self, op: str, arguments: Sequence[int]) -> tuple[str, list[int]]:
        """What NumPy does where truths are among the operands: it makes them numbers unless all are truths."""
        truths = [self.is_truth(a) for a in arguments]
        if op == "where":
            return op, [arguments[0], *self._numbers_unless_all(arguments[1:])]
        if op in _LOGICAL:
            pairs = zip(arguments, truths, strict=True)
            return op, [a if truth else self.make("not_equal", a, self.constant(0.0)) for a, truth in pairs]
        if not all(truths) or op in TRUTHS:
            return op, self._numbers_unless_all(arguments)
        if op not in _OF_TRUTHS:
            raise CannotTrace(f"{op} of truths")
        return _OF_TRUTHS[op], list(arguments)

    def as_number(self, argument: int) -> int:
        """A truth as 0 or 1."""
        if not self.is_truth(argument):
            return argument
        return self.make("where", argument, self.constant(1.0), self.constant(0.0))

    def _numbers_unless_all(self, arguments: Sequence[int]) -> list[int]:
        if all(self.is_truth(a) for a in arguments):
            return list(arguments)
        return [self.as_number(a) for a in arguments]

    def _number(self, node: tuple[Any, ...], key: tuple[Any, ...] | None = None) -> int:
        key = node if key is None else key
        if key not in self._numbers:
            self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[key]


class _Size:
    """The number of samples, which no expression may depend on; but it is not 1."""

    def __eq__(self, other: object) -> bool:
        if other != 1:
            raise CannotTrace("a decision on the number of samples")
        return False

    __hash__ = None  # type: ignore[assignment]


class Symbol:
    """A value of each sample, or of a parameter, that is not known yet.

    It looks like an array of two samples, without a unit.
    """

    __slots__ = ("graph", "number")
    __array_priority__ = 1e6
    shape, size, ndim, unit = (2,), _Size(), 1, None

    def __init__(self, graph: Graph, number: int) -> None:
        self.graph, self.number = graph, number

    @property
    def is_truth(self) -> bool:
        return self.graph.is_truth(self.number)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(bool if self.is_truth else float)

    @property
    def value(self) -> Symbol:
        """As parameters of astropy have it."""
        return self

    def copy(self, *_: Any, **__: Any) -> Symbol:
        return self

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Symbol:
        if np.dtype(dtype) != np.dtype(float):
            raise CannotTrace(f"conversion to {dtype}")
        return Symbol(self.graph, self.graph.as_number(self.number))

    def made(self, op: str, *operands: Any) -> Symbol:
        """What ``op`` makes of ``operands``, symbols and numbers."""
        op, arguments = self.graph.of_one_kind(op, [self.node(o) for o in operands])
        return Symbol(self.graph, self.graph.make(op, *arguments))

    def node(self, operand: Any) -> int:
        if isinstance(operand, np.ndarray) and operand.dtype == object and operand.size == 1:
            operand = operand.item()
        if isinstance(operand, Symbol):
            if operand.graph is not self.graph:
                raise CannotTrace("a symbol of another expression")
            return operand.number
        if type(operand) is np.ndarray and operand.dtype.kind in "biuf" and operand.size:
            flat = np.unique(operand)
            if flat.size == 1:
                return self.graph.constant(flat[0])
        if isinstance(operand, bool | int | float | np.bool_ | np.integer | np.floating):
            return self.graph.constant(operand)
        raise CannotTrace(f"an operand of type {type(operand).__name__}")

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        name = _SAME.get(ufunc.__name__, ufunc.__name__)
        if ufunc not in _UFUNCS:  # it may do something else under the same name
            raise CannotTrace(f"{ufunc.__name__}, which is not NumPy's")
        if method != "__call__" or keywords:
            raise CannotTrace(f"{ufunc.__name__} with options")
        if any(isinstance(o, np.ndarray) and o.dtype == object and o.size > 1 for o in operands):  # of symbols
            cells = np.frompyfunc(lambda *one: self.__array_ufunc__(ufunc, method, *one), len(operands), 1)
            boxed = [_boxed(o) for o in operands]
            return cells(*boxed)
        if name in _BITWISE:
            if not all(self.graph.is_truth(self.node(o)) for o in operands):
                raise CannotTrace(ufunc.__name__)
            name = _BITWISE[name]
        if name == "":
            return Symbol(self.graph, self.node(operands[0]))
        if name == "square":
            return self.made("multiply", operands[0], operands[0])
        if name == "reciprocal":
            return self.made("divide", 1.0, operands[0])
        if name in ("deg2rad", "radians"):
            return self.made("multiply", operands[0], np.pi / 180.0)
        if name in ("rad2deg", "degrees"):
            return self.made("multiply", operands[0], 180.0 / np.pi)
        if name not in _FUNCTIONS:
            raise CannotTrace(ufunc.__name__)
        return self.made(name, *operands)

    def __array_function__(self, function: Any, _: Any, arguments: Any, keywords: Any) -> Any:
        name = function.__name__
        if name not in _ARRAY_FUNCTIONS:
            raise CannotTrace(name)
        return _ARRAY_FUNCTIONS[name](self, *arguments, **keywords)

    def __pow__(self, other: Any) -> Symbol:
        return self.made("power", self, other)

    def __rpow__(self, other: Any) -> Symbol:
        return self.made("power", other, self)

    def __bool__(self) -> bool:
        raise CannotTrace("a decision on a value")

    def _no_number(self, *_: Any) -> Any:
        raise CannotTrace("a number in place of a symbol")

    __float__ = __int__ = __index__ = __complex__ = _no_number
    __hash__ = None  # type: ignore[assignment]


def _boxed(operand: Any) -> Any:
    """A symbol in an array, so that NumPy calls nothing of its own."""
    if not isinstance(operand, Symbol):
        return operand
    box = np.empty((), dtype=object)
    box[()] = operand
    return box


def _operator(op: str, swapped: bool = False) -> Callable[[Symbol, Any], Any]:
    def method(self: Symbol, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.dtype == object and other.size > 1:
            return NotImplemented
        return self.made(op, other, self) if swapped else self.made(op, self, other)

    return method


for _name, _op in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide"}.items():
    setattr(Symbol, f"__{_name}__", _operator(_op))
    setattr(Symbol, f"__r{_name}__", _operator(_op, swapped=True))
for _name, _op in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_name}__", _operator(_op))
for _name, _op in {"and": "bitwise_and", "or": "bitwise_or"}.items():
    _ufunc = getattr(np, _op)
    setattr(Symbol, f"__{_name}__", lambda self, other, u=_ufunc: u(self, other))
    setattr(Symbol, f"__r{_name}__", lambda self, other, u=_ufunc: u(other, self))
for _name, _op in {"neg": "negative", "abs": "absolute"}.items():
    setattr(Symbol, f"__{_name}__", lambda self, op=_op: self.made(op, self))
setattr(Symbol, "__pos__", lambda self: self)  # noqa: B010
setattr(Symbol, "__invert__", lambda self: np.invert(self))  # noqa: B010
for _name in _ONE_ARGUMENT:  # NumPy calls these of the elements of an array of objects
    setattr(Symbol, _name, lambda self, op=_name: self.made(op, self))


def _where(self: Symbol, condition: Any, *choices: Any) -> Symbol:
    if len(choices) != 2:
        raise CannotTrace("where with one argument")
    condition = self.made("not_equal", condition, 0.0) if not self.graph.is_truth(self.node(condition)) else condition
    return self.made("where", condition, *choices)


def _select(self: Symbol, conditions: Any, choices: Any, default: Any = 0) -> Any:
    chosen = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        chosen = _where(self, condition, choice, chosen)
    return chosen


def _clip(self: Symbol, a: Any, a_min: Any = None, a_max: Any = None, **keywords: Any) -> Any:
    low, high = keywords.pop("min", a_min), keywords.pop("max", a_max)
    if keywords:
        raise CannotTrace("clip with options")
    a = a if low is None else self.made("maximum", a, low)
    return a if high is None else self.made("minimum", a, high)


def _like(value: float) -> Callable[..., Any]:
    return lambda self, a, dtype=None, *_, **__: _full_like(self, a, value, dtype)


def _full_like(self: Symbol, a: Any, value: Any, dtype: Any = None, *_: Any, **__: Any) -> Symbol:
    kind = np.dtype(dtype if dtype is not None else getattr(a, "dtype", float))
    if kind != np.dtype(float):
        raise CannotTrace(f"conversion to {kind}")
    return Symbol(self.graph, self.graph.as_number(self.node(value)))


_ARRAY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "select": _select,
    "clip": _clip,
    "ones_like": _like(1.0),
    "zeros_like": _like(0.0),
    "full_like": _full_like,
    "shape": lambda self, a: a.shape,
    "size": lambda self, a: a.size,
    "ndim": lambda self, a: a.ndim,
    "copy": lambda self, a, **_: a,
    "atleast_1d": lambda self, a: a,
    "broadcast_to": lambda self, a, *_, **__: a,
}
