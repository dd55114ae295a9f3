"""A type for compiled code: numbers of `LANES` fits side by side, which the processor treats at once.

``Numbers`` are floats, ``Bits`` are integers, ``Truths`` are booleans, one for each fit. Operators work on each lane by
itself, so that what one fit holds changes nothing in another, and single numbers are taken for all lanes. A loop over
samples then becomes vectors whatever it contains.
"""

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import errors
from numba.core.datamodel import models, register_default
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin

from xr_modelfit.tracing.source import LANES

__all__ = [
    "NUMBERS", "ROUNDED", "anywhere", "as_bits", "as_numbers", "called", "choose", "constant", "fma", "half_of",
    "lane_of", "load", "load_from", "polynomial_of", "save", "save_to", "sqrt", "wide", "with_lane", "zero",
]  # fmt: skip

_BIT = ir.IntType(1)


class _Numbers(types.Type):
    """Floats."""


class _Bits(types.Type):
    """Integers of 64 bits."""


class _Booleans(types.Type):
    """Booleans."""


NUMBERS, BITS, BOOLEANS = _Numbers("numbers of lanes"), _Bits("bits of lanes"), _Booleans("booleans of lanes")
_KINDS = {
    NUMBERS: (types.float64, ir.VectorType(ir.DoubleType(), LANES)),
    BITS: (types.int64, ir.VectorType(ir.IntType(64), LANES)),
    BOOLEANS: (types.boolean, ir.VectorType(_BIT, LANES)),
}


def _held_as(kind):
    class Held(models.PrimitiveModel):
        def __init__(self, manager, type_):
            super().__init__(manager, type_, _KINDS[kind][1])

    register_default(type(kind))(Held)


for _kind in _KINDS:
    _held_as(_kind)


def _in_all_lanes(context, builder, value, of, kind):
    """A value of a type as one of ``kind``: a single number goes into all lanes."""
    if of == kind:
        return value
    scalar, vector = _KINDS[kind]
    single = context.cast(builder, value, of, scalar)
    if kind == BOOLEANS and single.type != _BIT:
        single = builder.trunc(single, _BIT)
    if isinstance(single, ir.Constant):
        return ir.Constant(vector, [single.constant] * LANES)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, single, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _two(functions: tuple[Callable, ...], emit: dict, result=None) -> None:
    """Define operators of two arguments; ``emit`` writes them for the kinds that they take."""

    def written(context, builder, typed, arguments):
        kind = next(kind for kind in emit if kind in typed.args)
        pair = (_in_all_lanes(context, builder, v, t, kind) for v, t in zip(arguments, typed.args, strict=True))
        return emit[kind](builder, *pair)

    for function in functions:

        @infer_global(function)
        class Typed(AbstractTemplate):
            def generic(self, arguments, _):
                for kind in emit:
                    single = [a for a in arguments if a != kind]
                    if len(single) < len(arguments) and all(
                        isinstance(a, types.Number | types.Boolean) for a in single
                    ):
                        return signature(result or kind, *arguments)
                return None

        for kind in emit:
            lower_builtin(function, kind, kind)(written)
            for single in (types.Number, types.Boolean):
                lower_builtin(function, kind, single)(written)
                lower_builtin(function, single, kind)(written)


def _one(function: Callable, kind, emit: Callable) -> None:
    @infer_global(function)
    class Typed(AbstractTemplate):
        def generic(self, arguments, _):
            return signature(kind, kind) if arguments == (kind,) else None

    @lower_builtin(function, kind)
    def written(context, builder, typed, arguments):
        return emit(builder, *arguments)


def called(builder, name, *arguments):
    """A function of the compiler's own, of numbers."""
    of = arguments[0].type
    kind = ir.FunctionType(of, [a.type for a in arguments])
    full = f"llvm.{name}.v{LANES}f64"
    known = builder.module.globals.get(full)
    return builder.call(known or ir.Function(builder.module, kind, full), arguments)


def _compared(sign: str) -> dict:
    def of_numbers(builder, a, b):
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, a, b)

    return {NUMBERS: of_numbers, BITS: lambda builder, a, b: builder.icmp_signed(sign, a, b)}


_I = ir.IRBuilder
_two((operator.add, operator.iadd), {NUMBERS: _I.fadd, BITS: _I.add})
_two((operator.sub, operator.isub), {NUMBERS: _I.fsub, BITS: _I.sub})
_two((operator.mul, operator.imul), {NUMBERS: _I.fmul, BITS: _I.mul})
_two((operator.truediv, operator.itruediv), {NUMBERS: _I.fdiv})
_two((operator.rshift,), {BITS: _I.ashr})
_two((operator.lshift,), {BITS: _I.shl})
_two((operator.and_, operator.iand), {BITS: _I.and_, BOOLEANS: _I.and_})
_two((operator.or_, operator.ior), {BITS: _I.or_, BOOLEANS: _I.or_})
for _function, _sign in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="), (operator.eq, "=="),
    (operator.ne, "!="),
):  # fmt: skip
    _two((_function,), _compared(_sign), BOOLEANS)
_one(operator.neg, NUMBERS, _I.fneg)
_one(operator.not_, BOOLEANS, _I.not_)
_one(abs, NUMBERS, lambda builder, x: called(builder, "fabs", x))


def _rounded(name: str) -> Callable:
    @intrinsic
    def function(context, x):
        return NUMBERS(NUMBERS), lambda _, builder, typed, arguments: called(builder, name, *arguments)

    return function


sqrt = _rounded("sqrt")
ROUNDED = {name: _rounded(name) for name in ("floor", "ceil", "rint", "trunc")}


def _pointer(builder, base, lanes):
    """Where the numbers of so many lanes from ``base`` on begin."""
    at = builder.gep(base, [builder.mul(lanes, ir.Constant(lanes.type, LANES))])
    return builder.bitcast(at, _KINDS[NUMBERS][1].as_pointer())


def _read(builder, pointer):
    value = builder.load(pointer)
    value.align = 8
    return value


def _write(builder, pointer, value):
    builder.store(value, pointer).align = 8


@intrinsic
def wide(context, value):
    """One number for all lanes."""

    def written(context, builder, typed, arguments):
        return _in_all_lanes(context, builder, arguments[0], typed.args[0], NUMBERS)

    return NUMBERS(value), written


@intrinsic
def zero(context):
    return NUMBERS(), lambda *_: constant(0.0)


@intrinsic
def load_from(context, pointer, at):
    """The numbers of all lanes at ``at`` of what a pointer points to."""

    def written(context, builder, typed, arguments):
        return _read(builder, _pointer(builder, *arguments))

    return NUMBERS(pointer, types.int64), written


@intrinsic
def save_to(context, pointer, at, value):
    """Put numbers, or one number for all lanes, there."""

    def written(context, builder, typed, arguments):
        numbers = _in_all_lanes(context, builder, arguments[2], typed.args[2], NUMBERS)
        _write(builder, _pointer(builder, *arguments[:2]), numbers)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, value), written


def _check_order(array):
    if array.layout != "C":
        raise errors.TypingError(f"an array in the order of C is needed, not {array}")


def _place(context, builder, typed, arguments):
    """Pointer to the lanes at an index of an array (..., LANES) in the order of C."""
    struct = context.make_array(typed.args[0])(context, builder, arguments[0])
    index, of = arguments[1], typed.args[1]
    if isinstance(of, types.Integer):
        which = [context.cast(builder, index, of, types.int64)]
    else:
        numbers = enumerate(of)
        which = [context.cast(builder, builder.extract_value(index, i), t, types.int64) for i, t in numbers]
    number = which[0]
    for axis, one in enumerate(which[1:], start=1):
        number = builder.add(builder.mul(number, builder.extract_value(struct.shape, axis)), one)
    return _pointer(builder, struct.data, number)


@intrinsic
def load(context, array, index):
    """The numbers of all lanes at ``index``, a number or a tuple, of ``array`` (..., LANES), in the order of C."""
    _check_order(array)

    def written(context, builder, typed, arguments):
        return _read(builder, _place(context, builder, typed, arguments))

    return NUMBERS(array, index), written


@intrinsic
def save(context, array, index, value):
    """Put numbers, or one number for all lanes, at ``index``, a number or a tuple, of ``array`` (..., LANES)."""
    _check_order(array)

    def written(context, builder, typed, arguments):
        numbers = _in_all_lanes(context, builder, arguments[2], typed.args[2], NUMBERS)
        _write(builder, _place(context, builder, typed, arguments), numbers)
        return context.get_dummy_value()

    return types.void(array, index, value), written


@intrinsic
def choose(context, condition, a, b):
    """``a`` where the condition holds, else ``b``, without a branch."""
    kind = BOOLEANS if BOOLEANS in (a, b) else BITS if BITS in (a, b) else NUMBERS

    def written(context, builder, typed, arguments):
        both = (_in_all_lanes(context, builder, v, t, kind) for v, t in zip(arguments[1:], typed.args[1:], strict=True))
        return builder.select(arguments[0], *both)

    return kind(BOOLEANS, a, b), written


@intrinsic
def fma(context, a, b, c):
    """``a * b + c``, rounded once."""

    def written(context, builder, typed, arguments):
        all_three = zip(arguments, typed.args, strict=True)
        return called(builder, "fma", *(_in_all_lanes(context, builder, v, t, NUMBERS) for v, t in all_three))

    return NUMBERS(a, b, c), written


def constant(value):
    """A number for all lanes, as it is written into code."""
    return ir.Constant(_KINDS[NUMBERS][1], [float(value)] * LANES)


def polynomial_of(coefficients):
    """The polynomial with these coefficients, from the constant on."""

    @intrinsic
    def polynomial(context, x):
        def written(context, builder, typed, arguments):
            value = constant(coefficients[-1])
            for c in coefficients[-2::-1]:
                value = called(builder, "fma", value, *arguments, constant(c))
            return value

        return NUMBERS(NUMBERS), written

    return polynomial


@intrinsic
def as_numbers(context, bits):
    """The floats of which these are the bits."""
    return NUMBERS(BITS), lambda _, builder, typed, arguments: builder.bitcast(arguments[0], _KINDS[NUMBERS][1])


@intrinsic
def as_bits(context, numbers):
    """The bits of floats."""
    return BITS(NUMBERS), lambda _, builder, typed, arguments: builder.bitcast(arguments[0], _KINDS[BITS][1])


@intrinsic
def half_of(context, bits):
    """Half of integers that are not negative, rounded down: quicker than ``>> 1`` where shifts have no sign."""

    def written(context, builder, typed, arguments):
        return builder.lshr(arguments[0], ir.Constant(_KINDS[BITS][1], [1] * LANES))

    return BITS(BITS), written


@intrinsic
def anywhere(context, booleans):
    """Whether it holds in any lane."""

    def written(context, builder, typed, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(BOOLEANS), written


@intrinsic
def lane_of(context, numbers, lane):
    """The number of one lane."""
    return types.float64(NUMBERS, types.int64), lambda _, builder, typed, args: builder.extract_element(*args)


@intrinsic
def with_lane(context, numbers, lane, value):
    """The same numbers, but for one lane."""

    def written(context, builder, typed, arguments):
        return builder.insert_element(arguments[0], arguments[2], arguments[1])

    return NUMBERS(NUMBERS, types.int64, types.float64), written
