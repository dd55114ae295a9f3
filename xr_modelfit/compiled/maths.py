"""Elementary functions for compiled loops.

The compiler has no vector library: a call of the system's ``exp`` costs several nanoseconds a sample and keeps the
whole loop from running in vectors. The functions here have neither branch nor table, so that loops over them become
vectors; they are right to within 1 unit in the last place (``log2``, ``log10``, ``hypot``: 2, ``power``, ``tan``: 3),
for angles up to 2^43. A ``power`` with an exponent beyond 100 may lose more, up to 40 units. Others are those of the
system.

References
----------
Muller, J.-M. (2016), Elementary Functions, 3rd ed., Birkhäuser, chapters 10 and 11. The coefficients of ``sin``,
``cos`` and ``log`` are those of fdlibm, Sun Microsystems (1993).
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from xr_modelfit.compiled.source import SLOW

__all__ = ["namespace"]

_ROUNDER = 1.5 * 2.0**52  # added to a float, it leaves the nearest whole number in the low bits
_ROUNDER_BITS = int(np.float64(_ROUNDER).view(np.int64))
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LN2, _LN2_REST = 0.6931471805599453, 2.3190468138462996e-17
_TWO_OVER_PI = 0.6366197723675814
_HALF_PI, _HALF_PI_LOW, _HALF_PI_LOWER = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33
_INFINITE, _NONE = float("inf"), float("nan")


def _bitcast(to, of, kind):
    def typed(context, value):
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], kind)

        return to(of), codegen

    return intrinsic(typed)


_as_float = _bitcast(types.float64, types.int64, ir.DoubleType())
_as_bits = _bitcast(types.int64, types.float64, ir.IntType(64))


@intrinsic
def _fma(context, a, b, c):
    """``a * b + c``, rounded once."""

    def codegen(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def choose(context, condition, a, b):
    """``a if condition else b`` without a branch."""

    def codegen(context, builder, signature, arguments):
        return builder.select(builder.icmp_unsigned("!=", arguments[0], arguments[0].type(0)), *arguments[1:])

    kind = types.boolean if a == types.boolean else types.float64
    return kind(types.boolean, kind, kind), codegen


_inline = njit(error_model="numpy", forceinline=True)


@_inline
def _times_power_of_2(y, k):
    half = k >> 1  # in two factors: 2^k itself may be no normal number
    return y * _as_float((half + 1023) << 52) * _as_float((k - half + 1023) << 52)


@_inline
def _exp_of_both(x, low):
    """``exp(x + low)``: ``2^k`` times the exponential of what is left, ``|r| <= ln(2) / 2``, by its series."""
    z = choose(x < -746.0, -746.0, choose(x > 710.0, 710.0, x))
    t = z * _LOG2_E + _ROUNDER
    k = _as_bits(t) - _ROUNDER_BITS
    whole = t - _ROUNDER
    r = _fma(-whole, _LN2_HIGH, z)
    tail = _fma(-whole, _LN2_LOW, low)
    r = r + tail
    y = 1.6059043836821613e-10
    y = _fma(y, r, 2.08767569878681e-09)
    y = _fma(y, r, 2.505210838544172e-08)
    y = _fma(y, r, 2.755731922398589e-07)
    y = _fma(y, r, 2.7557319223985893e-06)
    y = _fma(y, r, 2.48015873015873e-05)
    y = _fma(y, r, 0.0001984126984126984)
    y = _fma(y, r, 0.001388888888888889)
    y = _fma(y, r, 0.008333333333333333)
    y = _fma(y, r, 0.041666666666666664)
    y = _fma(y, r, 0.16666666666666666)
    y = _fma(y, r, 0.5)
    y = 1.0 + _fma(r * r, y, r)
    return choose(x != x, x, _times_power_of_2(y, k))


@_inline
def exp(x):
    return _exp_of_both(x, 0.0)


@_inline
def exp2(x):
    z = choose(x < -1080.0, -1080.0, choose(x > 1025.0, 1025.0, x))
    t = z + _ROUNDER
    part = z - (t - _ROUNDER)
    r = part * _LN2
    y = _exp_of_both(r, _fma(part, _LN2, -r) + part * _LN2_REST)
    return choose(x != x, x, _times_power_of_2(y, _as_bits(t) - _ROUNDER_BITS))


@_inline
def _log_in_two(x):
    """``log(x)`` as the sum of two numbers, for ``x > 0``."""
    small = x < 2.2250738585072014e-308
    bits = _as_bits(choose(small, x * 2.0**54, x))
    k = (bits - 0x3FE6A09E667F3BCD) >> 52  # so that the rest lies between sqrt(1/2) and sqrt(2)
    f = _as_float(bits - (k << 52)) - 1.0
    whole = (_as_float(k + _ROUNDER_BITS) - _ROUNDER) - choose(small, 54.0, 0.0)
    below = 2.0 + f
    s = f / below
    left = _fma(-s, below, f)
    s_low = (left - s * (f - (below - 2.0))) / below
    z = s * s
    p = 1.479819860511658591e-01
    p = _fma(p, z, 1.531383769920937332e-01)
    p = _fma(p, z, 1.818357216161805012e-01)
    p = _fma(p, z, 2.222219843214978396e-01)
    p = _fma(p, z, 2.857142874366239149e-01)
    p = _fma(p, z, 3.999999999940941908e-01)
    p = _fma(p, z, 6.666666666666735130e-01)
    tail = _fma(s * z, p, 2.0 * s_low)
    high = whole * _LN2_HIGH  # exact
    total = high + 2.0 * s
    lost = choose(whole == 0.0, 0.0, (high - total) + 2.0 * s)  # the larger one is high, unless it is 0
    low = lost + _fma(whole, _LN2_LOW, tail)
    first = total + low
    return first, (total - first) + low


@_inline
def log(x):
    high, low = _log_in_two(x)
    y = high + low
    y = choose(x > 0.0, y, choose(x == 0.0, -_INFINITE, _NONE))
    return choose(x == _INFINITE, x, y)


@_inline
def log2(x):
    return log(x) * _LOG2_E


@_inline
def log10(x):
    return log(x) * 0.4342944819032518


@_inline
def power(x, y):
    size = abs(x)
    high, low = _log_in_two(size)
    product = high * y
    value = _exp_of_both(product, choose(abs(product) < 1e4, _fma(high, y, -product) + low * y, 0.0))
    value = choose(x == 0.0, choose(y < 0.0, _INFINITE, 0.0), value)
    value = choose(size == _INFINITE, choose(y < 0.0, 0.0, _INFINITE), value)
    rounded = y + _ROUNDER
    large = abs(y) >= 2.0**51  # without a fraction, and even but for what no fit has as an exponent
    whole = large | (rounded - _ROUNDER == y)
    odd = (not large) & ((_as_bits(rounded) & 1) == 1)
    value = choose((_as_bits(x) < 0) & whole & odd, -value, value)  # of -0 too
    value = choose((x < 0.0) & (not whole) & (size < _INFINITE), _NONE, value)
    value = choose((x != x) | (y != y), _NONE, value)
    return choose((y == 0.0) | (x == 1.0) | ((x == -1.0) & (abs(y) == _INFINITE)), 1.0, value)


@_inline
def _sin_and_cos(x):
    """Of what is left of whole quarters of a turn, ``|r| <= pi / 4``; and how many quarters."""
    t = x * _TWO_OVER_PI + _ROUNDER
    whole = t - _ROUNDER
    r = _fma(-whole, _HALF_PI, x)
    first, second = r, whole * _HALF_PI_LOW  # the first is exact; near a multiple of pi / 2 their difference is small
    r = first - second
    back = r - first
    lost = (first - (r - back)) - (second + back)
    low = lost - (_fma(whole, _HALF_PI_LOW, -second) + whole * _HALF_PI_LOWER)
    z = r * r
    p = 1.58969099521155010221e-10
    p = _fma(p, z, -2.50507602534068634195e-08)
    p = _fma(p, z, 2.75573137070700676789e-06)
    p = _fma(p, z, -1.98412698298579493134e-04)
    p = _fma(p, z, 8.33333333332248946124e-03)
    p = _fma(p, z, -1.66666666666666324348e-01)
    sine = r + _fma(z * r, p, low)
    q = -1.13596475577881948265e-11
    q = _fma(q, z, 2.08757232129817482790e-09)
    q = _fma(q, z, -2.75573143513906633035e-07)
    q = _fma(q, z, 2.48015872894767294178e-05)
    q = _fma(q, z, -1.38888888888741095749e-03)
    q = _fma(q, z, 4.16666666666666019037e-02)
    half = 0.5 * z
    most = 1.0 - half
    cosine = most + (((1.0 - most) - half) + _fma(z * z, q, -r * low))
    return sine, cosine, _as_bits(t) - _ROUNDER_BITS


@_inline
def sin(x):
    sine, cosine, quarters = _sin_and_cos(x)
    value = choose((quarters & 1) != 0, cosine, sine)
    return choose((quarters & 2) != 0, -value, value)


@_inline
def cos(x):
    sine, cosine, quarters = _sin_and_cos(x)
    value = choose((quarters & 1) != 0, sine, cosine)
    return choose(((quarters + 1) & 2) != 0, -value, value)


@_inline
def tan(x):
    sine, cosine, quarters = _sin_and_cos(x)
    turned = (quarters & 1) != 0
    return choose(turned, -cosine, sine) / choose(turned, sine, cosine)


@_inline
def hypot(a, b):
    a, b = abs(a), abs(b)
    large = choose(a > b, a, b)
    by = choose(large > 1e150, 2.0**-600, choose(large < 1e-140, 2.0**600, 1.0))  # squares neither vanish nor overflow
    a, b = a * by, b * by
    value = np.sqrt(_fma(a, a, b * b)) / by
    return choose((a == _INFINITE) | (b == _INFINITE), _INFINITE, value)


def namespace():
    """What the source of a model may name."""
    own = {f.__name__: f for f in (exp, exp2, log, log2, log10, power, sin, cos, tan, hypot)} | {"choose": choose}
    quick = ("sqrt", "sign", "floor", "ceil", "rint", "trunc")
    return {name: getattr(np, name) for name in (*quick, *SLOW)} | own
