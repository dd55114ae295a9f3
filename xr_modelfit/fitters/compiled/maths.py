"""Elementary functions for compiled loops.

The compiler has no vector library: a call of the system's ``exp`` costs several nanoseconds a sample, for one fit after
the other. The functions here have neither branch nor table, and take the numbers of `fitters.compiled.vectors`
all at once. They are right to within 1 unit in the last place (``log2``, ``log10``, ``hypot``: 2, ``power``, ``tan``:
3), for angles up to 2^43. A ``power`` with an exponent beyond 100 may lose more, up to 45 units. Others are those of
the system.

References
----------
Muller, J.-M. (2016), Elementary Functions, 3rd ed., Birkhäuser, chapters 10 and 11. The coefficients of ``sin``,
``cos``, ``log`` and ``arctan`` are those of fdlibm, Sun Microsystems (1993).
"""

import numpy as np
from numba import njit

from xr_modelfit.fitters.compiled.vectors import (
    ROUNDED,
    as_bits,
    as_numbers,
    choose,
    fma,
    half_of,
    lane_of,
    load_from,
    polynomial_of,
    save_to,
    sqrt,
    wide,
    with_lane,
    zero,
)
from xr_modelfit.tracing.source import LANES, SLOW

__all__ = ["arctan", "cos", "exp", "exp_of_both", "in_each_lane", "inline", "namespace", "sin"]

_ROUNDER = 1.5 * 2.0**52  # added to a float, it leaves the nearest whole number in the low bits
_ROUNDER_BITS = int(np.float64(_ROUNDER).view(np.int64))
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LN2, _LN2_REST = 0.6931471805599453, 2.3190468138462996e-17
_TWO_OVER_PI = 0.6366197723675814
_HALF_PI, _HALF_PI_LOW, _HALF_PI_LOWER = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33
_INFINITE, _NONE = float("inf"), float("nan")

# Coefficients from the constant on; those of ``exp`` were found by Lawson's weighted least squares.
_exp_rest = polynomial_of((  # of ``(exp(r) - 1 - r) / r^2``, with the least relative error of ``exp``: 2^-58
    0.5000000000000011, 0.16666666666666413, 0.04166666666653022, 0.008333333333493353, 0.0013888888943607853,
    0.000198412695089314, 2.4801493127735608e-05, 2.7557584319393854e-06, 2.7630236295601295e-07,
    2.5000696339267118e-08,
))  # fmt: skip
_log_rest = polynomial_of((  # of ``(log((1 + s) / (1 - s)) - 2 s) / s^3``, of ``s^2``
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
))  # fmt: skip
_sin_rest = polynomial_of((  # of ``(sin(r) - r) / r^3``, of ``r^2``
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04, 2.75573137070700676789e-06,
    -2.50507602534068634195e-08, 1.58969099521155010221e-10,
))  # fmt: skip
_cos_rest = polynomial_of((  # of ``(cos(r) - 1 + r^2 / 2) / r^4``, of ``r^2``
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05, -2.75573143513906633035e-07,
    2.08757232129817482790e-09, -1.13596475577881948265e-11,
))  # fmt: skip
_arctan_rest = polynomial_of((  # of ``(t - arctan(t)) / t^3``, of ``t^2``
    3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01, -1.11111104054623557880e-01,
    9.09088713343650656196e-02, -7.69187620504482999495e-02, 6.66107313738753120669e-02, -5.83357013379057348645e-02,
    4.97687799461593236017e-02, -3.65315727442169155270e-02, 1.62858201153657823623e-02,
))  # fmt: skip

inline = njit(error_model="numpy", forceinline=True)


@inline
def _times_power_of_2(y, k):
    """``k`` from -1077 on; in two factors, since ``2^k`` itself may be no normal number."""
    above = k + 2046
    half = half_of(above)
    return y * as_numbers(half << 52) * as_numbers((above - half) << 52)


@inline
def exp_of_both(x, low):
    """``exp(x + low)``: ``2^k`` times the exponential of the rest, ``|r| <= ln(2) / 2``, by a polynomial."""
    z = choose(x < -746.0, -746.0, choose(x > 710.0, 710.0, x))
    t = fma(z, _LOG2_E, _ROUNDER)
    whole = t - _ROUNDER
    near, rest = fma(-whole, _LN2_HIGH, z), fma(-whole, _LN2_LOW, low)  # the first is exact
    r = near + rest
    y = _exp_rest(r)
    return _times_power_of_2(1.0 + (near + fma(r * r, y, rest)), as_bits(t) - _ROUNDER_BITS)


@inline
def exp(x):
    return exp_of_both(x, 0.0)


@inline
def exp2(x):
    z = choose(x < -1080.0, -1080.0, choose(x > 1025.0, 1025.0, x))
    t = z + _ROUNDER
    part = z - (t - _ROUNDER)
    r = part * _LN2
    y = exp_of_both(r, fma(part, _LN2, -r) + part * _LN2_REST)
    return _times_power_of_2(y, as_bits(t) - _ROUNDER_BITS)


@inline
def _log_in_two(x):
    """``log(x)`` as the sum of two numbers, for ``x > 0``."""
    small = x < 2.2250738585072014e-308
    bits = as_bits(choose(small, x * 2.0**54, x))
    k = (bits - 0x3FE6A09E667F3BCD) >> 52  # so that the rest lies between sqrt(1/2) and sqrt(2)
    f = as_numbers(bits - (k << 52)) - 1.0
    whole = (as_numbers(k + _ROUNDER_BITS) - _ROUNDER) - choose(small, 54.0, 0.0)
    below = 2.0 + f
    s = f / below
    left = fma(-s, below, f)
    s_low = (left - s * (f - (below - 2.0))) / below
    z = s * s
    p = _log_rest(z)
    tail = fma(s * z, p, 2.0 * s_low)
    high = whole * _LN2_HIGH  # exact
    total = high + 2.0 * s
    lost = choose(whole == 0.0, 0.0, (high - total) + 2.0 * s)  # the larger one is high, unless it is 0
    low = lost + fma(whole, _LN2_LOW, tail)
    first = total + low
    return first, (total - first) + low


@inline
def log(x):
    high, low = _log_in_two(x)
    y = high + low
    y = choose(x > 0.0, y, choose(x == 0.0, -_INFINITE, _NONE))
    return choose(x == _INFINITE, x, y)


@inline
def log2(x):
    return log(x) * _LOG2_E


@inline
def log10(x):
    return log(x) * 0.4342944819032518


@inline
def power(x, y):
    x, y = wide(x), wide(y)
    size = abs(x)
    high, low = _log_in_two(size)
    product = high * y
    value = exp_of_both(product, choose(abs(product) < 1e4, fma(high, y, -product) + low * y, 0.0))
    value = choose(x == 0.0, choose(y < 0.0, _INFINITE, 0.0), value)
    value = choose(size == _INFINITE, choose(y < 0.0, 0.0, _INFINITE), value)
    rounded = y + _ROUNDER
    large = abs(y) >= 2.0**51  # without a fraction, and even but for what no fit has as an exponent
    whole = large | (rounded - _ROUNDER == y)
    odd = (not large) & ((as_bits(rounded) & 1) == 1)
    value = choose((as_bits(x) < 0) & whole & odd, -value, value)  # of -0 too
    value = choose((x < 0.0) & (not whole) & (size < _INFINITE), _NONE, value)
    value = choose((x != x) | (y != y), _NONE, value)
    return choose((y == 0.0) | (x == 1.0) | ((x == -1.0) & (abs(y) == _INFINITE)), 1.0, value)


@inline
def _sin_and_cos(x):
    """Of what is left of whole quarters of a turn, ``|r| <= pi / 4``; and how many quarters."""
    t = x * _TWO_OVER_PI + _ROUNDER
    whole = t - _ROUNDER
    r = fma(-whole, _HALF_PI, x)
    first, second = r, whole * _HALF_PI_LOW  # the first is exact; near a multiple of pi / 2 their difference is small
    r = first - second
    back = r - first
    lost = (first - (r - back)) - (second + back)
    low = lost - (fma(whole, _HALF_PI_LOW, -second) + whole * _HALF_PI_LOWER)
    z = r * r
    p = _sin_rest(z)
    sine = r + fma(z * r, p, low)
    q = _cos_rest(z)
    half = 0.5 * z
    most = 1.0 - half
    cosine = most + (((1.0 - most) - half) + fma(z * z, q, -r * low))
    return sine, cosine, as_bits(t) - _ROUNDER_BITS


@inline
def sin(x):
    sine, cosine, quarters = _sin_and_cos(x)
    value = choose((quarters & 1) != 0, cosine, sine)
    return choose((quarters & 2) != 0, -value, value)


@inline
def cos(x):
    sine, cosine, quarters = _sin_and_cos(x)
    value = choose((quarters & 1) != 0, sine, cosine)
    return choose(((quarters + 1) & 2) != 0, -value, value)


@inline
def tan(x):
    sine, cosine, quarters = _sin_and_cos(x)
    turned = (quarters & 1) != 0
    return choose(turned, -cosine, sine) / choose(turned, sine, cosine)


@inline
def arctan(x):
    """That of 0, 1/2, 1, 3/2 or infinity, whichever is near, and of what is left, ``t = (x - c) / (1 + c x)``."""
    size = abs(x)
    above, below = wide(-1.0), size  # c is infinite
    high, low = wide(_HALF_PI), wide(_HALF_PI_LOW)
    near = size < 2.4375
    above, below = choose(near, size - 1.5, above), choose(near, 1.0 + 1.5 * size, below)
    high, low = choose(near, 9.82793723247329054082e-01, high), choose(near, 1.39033110312309984516e-17, low)
    near = size < 1.1875
    above, below = choose(near, size - 1.0, above), choose(near, size + 1.0, below)
    high, low = choose(near, 7.85398163397448278999e-01, high), choose(near, 3.06161699786838301793e-17, low)
    near = size < 0.6875
    above, below = choose(near, 2.0 * size - 1.0, above), choose(near, 2.0 + size, below)
    high, low = choose(near, 4.63647609000806093515e-01, high), choose(near, 2.26987774529616870924e-17, low)
    near = size < 0.4375
    above, below = choose(near, size, above), choose(near, 1.0, below)
    high, low = choose(near, 0.0, high), choose(near, 0.0, low)
    t = above / below
    z = t * t
    value = high - ((t * (z * _arctan_rest(z)) - low) - t)
    return choose(as_bits(x) < 0, -value, value)


@inline
def hypot(a, b):
    a, b = abs(wide(a)), abs(wide(b))
    large = choose(a > b, a, b)
    by = choose(large > 1e150, 2.0**-600, choose(large < 1e-140, 2.0**600, 1.0))  # squares neither vanish nor overflow
    a, b = a * by, b * by
    value = sqrt(fma(a, a, b * b)) / by
    return choose((a == _INFINITE) | (b == _INFINITE), _INFINITE, value)


@inline
def sign(x):
    return choose(x > 0.0, 1.0, choose(x < 0.0, -1.0, x))


def in_each_lane(function):
    """A function of single numbers, in one lane after the other."""

    @njit(error_model="numpy")
    def of_one(x):
        y = x
        for lane in range(LANES):
            y = with_lane(y, lane, function(lane_of(x, lane)))
        return y

    @njit(error_model="numpy")
    def of_two(a, b):
        a, b = wide(a), wide(b)
        y = a
        for lane in range(LANES):
            y = with_lane(y, lane, function(lane_of(a, lane), lane_of(b, lane)))
        return y

    return of_two if function is np.arctan2 else of_one


def namespace():
    """What the source of a model may name."""
    own = (exp, exp2, log, log2, log10, power, sin, cos, tan, arctan, hypot, sign)
    slow = {name: in_each_lane(getattr(np, name)) for name in SLOW}
    basic = {"choose": choose, "sqrt": sqrt, "zero": zero, "load_from": load_from, "save_to": save_to}
    return {f.__name__: f for f in own} | ROUNDED | slow | basic
