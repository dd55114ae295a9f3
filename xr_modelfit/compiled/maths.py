"""Elementary functions for compiled loops.

The compiler has no vector library: a call of the system's ``exp`` in a loop costs four nanoseconds a sample and keeps
all the rest from running in vectors. ``exp`` here has no branch and no table, so that loops over it become vectors; it
is right to within 1 unit in the last place.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["namespace"]

_ROUNDER = 1.5 * 2.0**52  # added to a float, it leaves the nearest whole number in the low bits
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


@intrinsic
def _as_float(context, bits):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@intrinsic
def _as_bits(context, value):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), codegen


_BITS = int(np.float64(_ROUNDER).view(np.int64))


@njit(error_model="numpy")
def exp(x):
    """``2^k`` times the exponential of what is left, ``|r| <= ln(2) / 2``, by its series."""
    z = -746.0 if x < -746.0 else (710.0 if x > 710.0 else x)
    t = z * _LOG2_E + _ROUNDER
    k = _as_bits(t) - _BITS
    whole = t - _ROUNDER
    r = (z - whole * _LN2_HIGH) - whole * _LN2_LOW
    y = 1.6059043836821613e-10
    y = y * r + 2.08767569878681e-09
    y = y * r + 2.505210838544172e-08
    y = y * r + 2.755731922398589e-07
    y = y * r + 2.7557319223985893e-06
    y = y * r + 2.48015873015873e-05
    y = y * r + 0.0001984126984126984
    y = y * r + 0.001388888888888889
    y = y * r + 0.008333333333333333
    y = y * r + 0.041666666666666664
    y = y * r + 0.16666666666666666
    y = y * r + 0.5
    y = 1.0 + (r + r * r * y)
    half = k >> 1  # in two factors: 2^k itself may be no normal number
    y = y * _as_float((half + 1023) << 52) * _as_float((k - half + 1023) << 52)
    return x if x != x else y


def namespace():
    """What the source of a model may name."""
    names = (
        "sqrt expm1 exp2 log log1p log10 log2 sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh "
        "sign floor ceil rint trunc arctan2 hypot power"
    )
    return {name: getattr(np, name) for name in names.split()} | {"exp": exp}
