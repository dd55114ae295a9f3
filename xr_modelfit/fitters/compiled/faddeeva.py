"""The complex error function and its relatives, for compiled loops.

``w(z) = exp(-z^2) erfc(-iz)`` of Faddeeva is what Voigt profiles are made of. In the upper half-plane it is a rational
function of ``Z = (L + iz) / (L - iz)``, ``|Z| <= 1``, whose coefficients are those of a Fourier series [1]_; with 40 of
them it is right to within 3e-14 of its size, its real part to within 1e-14 of the largest value that it has anywhere.
The error functions are made of it on the imaginary axis.

References
----------
.. [1] Weideman, J. A. C. (1994), Computation of the complex error function, SIAM J. Numer. Anal. 31, 1497.
"""

from numba import types
from numba.extending import intrinsic

from xr_modelfit.fitters.compiled.gammas import median, median_slope
from xr_modelfit.fitters.compiled.maths import cos, exp, exp_of_both, in_each_lane, inline, sin
from xr_modelfit.fitters.compiled.vectors import NUMBERS, anywhere, called, choose, constant, fma, polynomial_of, wide

__all__ = ["COEFFICIENTS", "L", "special_functions"]

L = 5.3182958969449886  # sqrt(n / sqrt(2)), of n coefficients
COEFFICIENTS = (  # of powers of Z, from the constant on
    2.8996245093897053, 2.61605415276186, 2.201513794878312, 1.7253830848179779, 1.2563815675765133,
    0.8472174576593818, 0.5266528988277086, 0.29989437996150065, 0.15504263802479495, 0.07182361779074337,
    0.029202916471241867, 0.010048186242783424, 0.0027054056330737914, 0.0004398070159869668,
    -3.939363145489569e-05, -5.591309264248318e-05, -1.8007447144750956e-05, -1.0660138984947143e-06,
    1.483566113220078e-06, 5.912136951899494e-07, 1.4198642399935674e-08, -6.35177348504429e-08,
    -1.8315616783040462e-08, 3.2497465180436973e-09, 3.0177805400090707e-09, 2.1086006347066517e-10,
    -3.5632339865976533e-10, -9.055124450928292e-11, 3.47272670930455e-11, 1.7714495214011192e-11,
    -2.7276023158200452e-12, -2.907688342182867e-12, 1.2031458219387989e-13, 4.5329666782606727e-13,
    1.37256205867155e-14, -7.074086260286855e-14, -5.409310282882142e-15, 1.1357687198999241e-14,
    1.128073562364402e-15, -1.899694947394927e-15,
)  # fmt: skip
_UNDER_ROOT_OF_PI = 0.5641895835477563
_FAR = 1e8  # beyond, w(z) is i / (sqrt(pi) z) to the last bit
_SMALL = 0.5  # below, erf by its power series
_SERIES = tuple(2.0 * _UNDER_ROOT_OF_PI * (-1.0) ** n / f / (2 * n + 1) for n, f in enumerate(
    (1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0)
))  # fmt: skip
_PAIR = types.UniTuple(NUMBERS, 2)


def _of_complex(coefficients):
    """As `polynomial_of` of a complex number, given and returned as a pair; the coefficients are real."""

    @intrinsic
    def polynomial(context, x, y):
        def written(context, builder, typed, arguments):
            x, y = arguments
            below = builder.fneg(y)
            real, imag = constant(coefficients[-1]), constant(0.0)
            for c in coefficients[-2::-1]:
                rest = called(builder, "fma", imag, below, constant(c))
                imag = called(builder, "fma", real, y, builder.fmul(imag, x))
                real = called(builder, "fma", real, x, rest)
            return context.make_tuple(builder, _PAIR, (real, imag))

        return _PAIR(NUMBERS, NUMBERS), written

    return polynomial


# Even and odd powers apart, so that the processor works on both at the same time.
_even, _odd = _of_complex(COEFFICIENTS[::2]), _of_complex(COEFFICIENTS[1::2])
_even_of_real, _odd_of_real = polynomial_of(COEFFICIENTS[::2]), polynomial_of(COEFFICIENTS[1::2])
_series = polynomial_of(_SERIES)


@inline
def _above(x, y):
    """``w(x + iy)`` for ``y >= 0``."""
    near = L + y
    by = 1.0 / fma(near, near, x * x)
    a, b = near * by, x * by  # 1 / (L - iz)
    c, d = fma(L - y, near, -(x * x)) * by, (2.0 * L) * b  # Z
    c2, d2 = fma(c, c, -(d * d)), (2.0 * c) * d
    even, odd = _even(c2, d2), _odd(c2, d2)
    p, q = even[0] + fma(c, odd[0], -(d * odd[1])), even[1] + fma(c, odd[1], d * odd[0])
    p, q = fma(2.0, fma(p, a, -(q * b)), _UNDER_ROOT_OF_PI), 2.0 * fma(p, b, q * a)
    u, v = fma(p, a, -(q * b)), fma(p, b, q * a)
    far = (abs(x) > _FAR) | (y > _FAR)
    if anywhere(far):  # squares may overflow
        most = choose(abs(x) > y, abs(x), y)
        over, up = x / most, y / most
        by = _UNDER_ROOT_OF_PI / fma(over, over, up * up) / most
        end = (most == float("inf")) & (x == x) & (y == y)
        u, v = choose(far, choose(end, 0.0, up * by), u), choose(far, choose(end, 0.0, over * by), v)
    return u, v


@inline
def wofz(x, y):
    """Real and imaginary part of ``w(x + iy)``."""
    x, y = wide(x), wide(y)
    below = y < 0.0
    u, v = _above(choose(below, -x, x), abs(y))
    if anywhere(below):  # w(z) = 2 exp(-z^2) - w(-z)
        size, angle = 2.0 * exp((y - x) * (y + x)), 2.0 * (x * y)
        u = choose(below, size * cos(angle) - u, u)
        v = choose(below, -(size * sin(angle)) - v, v)
    return u, v


@inline
def _scaled(x):
    """``exp(x^2) erfc(x)`` for ``x >= 0``, which is ``w(ix)``."""
    by = 1.0 / (L + x)
    z = (L - x) * by
    p = fma(z, _odd_of_real(z * z), _even_of_real(z * z))
    return choose(x == float("inf"), 0.0, fma(2.0 * p, by, _UNDER_ROOT_OF_PI) * by)


@inline
def erfcx(x):
    size = abs(x)
    value = _scaled(size)
    below = x < 0.0
    if anywhere(below):
        square = x * x
        low = choose(square < 1e4, fma(x, x, -square), 0.0)
        value = choose(below, 2.0 * exp_of_both(square, low) - value, value)
    return value


@inline
def erfc(x):
    size = choose(abs(x) > 30.0, 30.0, abs(x))  # where it is 0
    square = size * size
    value = exp_of_both(-square, -fma(size, size, -square)) * _scaled(size)
    return choose(x < 0.0, 2.0 - value, value)


@inline
def erf(x):
    value = 1.0 - erfc(abs(x))
    value = choose(x < 0.0, -value, value)
    return choose(abs(x) < _SMALL, x * _series(x * x), value)


@inline
def expit(x):
    size = exp(-abs(x))
    return choose(x < 0.0, size, 1.0) / (1.0 + size)


def special_functions():
    """What the source of a model may name, beside `fitters.compiled.maths.namespace`."""
    gammas = {"gamma_median": in_each_lane(median), "gamma_median_slope": in_each_lane(median_slope)}
    return {f.__name__: f for f in (wofz, erf, erfc, erfcx, expit)} | gammas
