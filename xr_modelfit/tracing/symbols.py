"""Expressions that a model's own code writes down when it is called with symbols instead of arrays.

`Symbol` answers to Python's operators, to NumPy's ufuncs, to some of scipy's and to those of NumPy's functions that act
sample by sample; `Complex` is a pair of symbols. What cannot be written as such an expression (a decision on a value, a
sum over samples, most special functions) raises `CannotTrace`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xr_modelfit.tracing.functions import NUMPY_FUNCTIONS, REWRITTEN_UFUNCS, special_function
from xr_modelfit.tracing.graph import FUNCTIONS, ONE_ARGUMENT, CannotTrace, Graph

__all__ = ["Complex", "Symbol"]

_UFUNCS = {f for f in vars(np).values() if isinstance(f, np.ufunc)}
_SAME = {
    "positive": "", "fabs": "absolute", "true_divide": "divide", "float_power": "power", "radians": "deg2rad",
    "degrees": "rad2deg",
}  # fmt: skip
_MOST_DECISIONS = 4  # each doubles the number of expressions to compare
_BITWISE = {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "invert": "logical_not"}


def _refused(what: str) -> Callable[..., Any]:
    """A method that no expression can have."""

    def method(*_: Any) -> Any:
        raise CannotTrace(what)

    return method


class _Size:
    """The number of samples, which no expression may depend on; but it is not 1."""

    def __eq__(self, other: object) -> bool:
        if other != 1:
            raise CannotTrace("a decision on the number of samples")
        return False

    __hash__ = None  # type: ignore[assignment]


class _Anywhere:
    """Whether a condition holds for any sample; code may ask this to save work (see `tracing.tracing`)."""

    def __init__(self, condition: Symbol) -> None:
        self.condition = condition

    def __bool__(self) -> bool:
        known, number = self.condition.graph.somewhere, self.condition.number
        if number not in known and len(known) == _MOST_DECISIONS:
            raise CannotTrace("many decisions on values")
        return known.setdefault(number, True)

    __eq__ = __ne__ = _refused("a decision on a value")
    __hash__ = None  # type: ignore[assignment]


class Symbol:
    """A value of each sample, or of a parameter, that is not known yet.

    It looks like an array of two samples, without a unit. What is assigned to a part of it changes the symbol itself,
    unless it is ``locked``, as inputs and parameters are.
    """

    __slots__ = ("graph", "locked", "number")
    __array_priority__ = 1e6
    shape, size, ndim, unit = (2,), _Size(), 1, None

    def __init__(self, graph: Graph, number: int, *, locked: bool = False) -> None:
        self.graph, self.number, self.locked = graph, number, locked

    def symbol(self, number: int) -> Symbol:
        """Another node of the same expression."""
        return Symbol(self.graph, number)

    def complex(self, real: Any, imag: Any) -> Complex:
        """A complex number of the same expression."""
        return Complex(real, imag)

    @property
    def is_boolean(self) -> bool:
        return self.graph.is_boolean(self.number)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(bool if self.is_boolean else float)

    value = real = property(lambda self: self)  # of astropy's parameters, and of arrays

    @property
    def imag(self) -> Symbol:
        return self.constant(0.0)

    def constant(self, value: float) -> Symbol:
        """A number in the same expression."""
        return self.symbol(self.graph.constant(value))

    def copy(self, *_: Any, **__: Any) -> Symbol:
        return self.symbol(self.number)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Symbol:
        if np.dtype(dtype) != np.dtype(float):
            raise CannotTrace(f"conversion to {dtype}")
        return self.symbol(self.graph.as_number(self.number))

    def made(self, op: str, *operands: Any) -> Symbol:
        """The symbol of an operation on symbols and numbers."""
        op, arguments = self.graph.of_one_kind(op, [self.node(o) for o in operands])
        return self.symbol(self.graph.make(op, *arguments))

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
        special = special_function(ufunc)
        if ufunc not in _UFUNCS and special is None:  # it may do something else under the same name
            raise CannotTrace(f"{ufunc.__name__}, which is not NumPy's")
        if method != "__call__" or keywords:
            raise CannotTrace(f"{ufunc.__name__} with options")
        if special is not None:
            return special(self, *operands)
        if any(map(_is_complex, operands)):
            return _of_complex(name, *operands)
        if any(isinstance(o, np.ndarray) and o.dtype == object and o.size > 1 for o in operands):  # of symbols
            cells = np.frompyfunc(lambda *one: self.__array_ufunc__(ufunc, method, *one), len(operands), 1)
            return cells(*map(_boxed, operands))
        if name in _BITWISE:
            if not all(self.graph.is_boolean(self.node(o)) for o in operands):
                raise CannotTrace(ufunc.__name__)
            name = _BITWISE[name]
        if name in REWRITTEN_UFUNCS:
            return REWRITTEN_UFUNCS[name](self, *operands)
        if name == "remainder" and self.graph.value(self.node(operands[1])) == 1.0:
            return operands[0] - np.floor(operands[0])
        if name not in FUNCTIONS:
            raise CannotTrace(ufunc.__name__)
        return self.made(name, *operands)

    def __array_function__(self, function: Any, _: Any, arguments: Any, keywords: Any) -> Any:
        if function.__name__ not in NUMPY_FUNCTIONS:
            raise CannotTrace(function.__name__)
        return NUMPY_FUNCTIONS[function.__name__](self, *arguments, **keywords)

    def __getitem__(self, which: Any) -> Symbol:
        """Where a condition holds; elsewhere it is computed as well, and not looked at."""
        self._truth(which)
        return self.copy()

    def __setitem__(self, which: Any, value: Any) -> None:
        number = self.node(value)
        if self.locked or (self.is_boolean and not self.graph.is_boolean(number)):
            raise CannotTrace("an assignment to an input, or of numbers to booleans")
        number = number if self.is_boolean else self.graph.as_number(number)
        self.number = self.made("where", self._truth(which), self.symbol(number), self).number

    def any(self) -> _Anywhere:
        return _Anywhere(self._truth(self))

    max = any  # of booleans

    def _truth(self, which: Any) -> Symbol:
        if isinstance(which, Symbol) and which.is_boolean:
            return which
        raise CannotTrace("numbers where a condition is needed")

    def __pow__(self, other: Any) -> Symbol:
        return self.made("power", self, other)

    def __rpow__(self, other: Any) -> Symbol:
        return self.made("power", other, self)

    def __mod__(self, other: Any) -> Any:
        return self.__array_ufunc__(np.remainder, "__call__", self, other)

    __pos__ = copy

    def __invert__(self) -> Any:
        return np.invert(self)

    __bool__ = _refused("a decision on a value")
    __float__ = __int__ = __index__ = __complex__ = _refused("a number in place of a symbol")
    __hash__ = __iter__ = None  # type: ignore[assignment]


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
        if _is_complex(other):
            return _of_complex(op, other, self) if swapped else _of_complex(op, self, other)
        return self.made(op, other, self) if swapped else self.made(op, self, other)

    return method


_ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide"}
for _name, _op in _ARITHMETIC.items():
    setattr(Symbol, f"__{_name}__", _operator(_op))
    setattr(Symbol, f"__r{_name}__", _operator(_op, swapped=True))
for _name, _op in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(Symbol, f"__{_name}__", _operator(_op))
for _name, _ufunc in {"and": np.bitwise_and, "or": np.bitwise_or}.items():
    setattr(Symbol, f"__{_name}__", lambda self, other, u=_ufunc: u(self, other))
    setattr(Symbol, f"__r{_name}__", lambda self, other, u=_ufunc: u(other, self))
for _name, _op in [("__neg__", "negative"), ("__abs__", "absolute"), *((name, name) for name in ONE_ARGUMENT)]:
    setattr(Symbol, _name, lambda self, op=_op: self.made(op, self))  # NumPy calls them for elements of object arrays


class Complex:
    """A complex value of each sample that is not known yet."""

    __slots__ = ("imag", "real")
    __array_priority__ = 1e6
    shape, size, ndim, unit, dtype = (2,), _Size(), 1, None, np.dtype(complex)
    real: Any
    imag: Any

    def __init__(self, real: Any, imag: Any) -> None:
        self.real, self.imag = real, imag

    def copy(self, *_: Any, **__: Any) -> Complex:
        return self

    def conj(self) -> Complex:
        return Complex(self.real, -self.imag)

    conjugate = conj

    def times(self, other: Complex | Symbol) -> Complex:
        """The product; a part that is 0 stays 0."""

        def product(a: Any, b: Any) -> Any:
            return next((one for one in (a, b) if one.graph.value(one.number) == 0.0), a * b)

        a, b = self.real, self.imag
        if isinstance(other, Symbol):
            return Complex(product(a, other), product(b, other))
        c, d = other.real, other.imag
        return Complex(product(a, c) - product(b, d), product(a, d) + product(b, c))

    def over(self, other: Complex | Symbol) -> Complex:
        """The quotient."""
        if isinstance(other, Symbol):
            return Complex(self.real / other, self.imag / other)
        size = other.real * other.real + other.imag * other.imag
        return self.times(other.conj()).over(size)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        return self.real.__array_ufunc__(ufunc, method, *operands, **keywords)

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        if function.__name__ in ("where", "select", "clip", "ones_like", "zeros_like", "full_like"):
            raise CannotTrace(f"{function.__name__} of complex numbers")
        return self.real.__array_function__(function, types, arguments, keywords)

    def __neg__(self) -> Complex:
        return Complex(-self.real, -self.imag)

    __pos__ = copy

    def __abs__(self) -> Any:
        return self.real.made("hypot", self.real, self.imag)

    def __pow__(self, other: Any) -> Complex:
        if not isinstance(other, int | float | np.integer | np.floating) or other not in (1, 2, 3, 4):
            raise CannotTrace("this power of a complex number")
        power = self
        for _ in range(int(other) - 1):
            power = power.times(self)
        return power

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refused("a decision on a complex value")
    __float__ = __int__ = __index__ = __complex__ = __bool__
    __hash__ = None  # type: ignore[assignment]


for _name, _op in _ARITHMETIC.items():
    setattr(Complex, f"__{_name}__", lambda self, other, op=_op: _of_complex(op, self, other))
    setattr(Complex, f"__r{_name}__", lambda self, other, op=_op: _of_complex(op, other, self))


def _element(operand: Any) -> Any:
    """The element of an array that has one; anything else as it is."""
    return operand.reshape(-1)[0] if isinstance(operand, np.ndarray) and operand.size == 1 else operand


def _is_complex(operand: Any) -> bool:
    return isinstance(_element(operand), Complex | complex | np.complexfloating)


def _of_complex(op: str, *operands: Any) -> Any:
    """The result of an operation on complex numbers, or on a complex and a real one."""
    graph = next(o.real.graph for o in operands if isinstance(o, Complex | Symbol))
    zero = Symbol(graph, graph.constant(0.0))

    def symbols(operand: Any) -> Any:
        operand = _element(operand)
        if isinstance(operand, Complex):
            return operand
        if isinstance(operand, complex | np.complexfloating):
            return Complex(zero.constant(float(operand.real)), zero.constant(float(operand.imag)))
        return Symbol(graph, graph.as_number(zero.node(operand)))

    a, *rest = map(symbols, operands)
    if op == "multiply":
        return a.times(rest[0]) if isinstance(a, Complex) else rest[0].times(a)
    if op in ("add", "subtract"):
        b = rest[0] if op == "add" else -rest[0]
        return Complex(a.real + b.real, a.imag + b.imag)
    whole = a if isinstance(a, Complex) else Complex(a, zero)
    if op == "divide":
        return whole.over(rest[0])
    if op == "exp":
        size = np.exp(whole.real)
        return Complex(size * np.cos(whole.imag), size * np.sin(whole.imag))
    one_argument = {"negative": whole.__neg__, "absolute": whole.__abs__, "conjugate": whole.conj, "": whole.copy}
    if op in one_argument:
        return one_argument[op]()
    if op in ("square", "power"):
        return whole ** (2 if op == "square" else operands[1])
    raise CannotTrace(f"{op} of complex numbers")
