"""What a sample costs, and how its cost is linearised, for compiled loops: the formulas of `fitters.noise`.

Each takes datum, model value and weight, some a second weight, and returns cost, working residual and working weight.
All three are 0 where the weight is.
"""

from xr_modelfit.fitters.compiled.faddeeva import erfcx
from xr_modelfit.fitters.compiled.maths import arctan as _arctan
from xr_modelfit.fitters.compiled.maths import exp, inline, log
from xr_modelfit.fitters.compiled.vectors import anywhere, choose, sqrt

__all__ = ["noises"]

# As in `fitters.noise`: numbers here are written into the code.
_LEAST, _LEAST_ROOT = 0.1, 0.31622776601683794
_SMALL_COUNT = 1e-100
_NEAR = 0.1
_NONE = float("nan")
_FAR_ABOVE = -100.0
_ROOT_OF_HALF = 0.7071067811865476
_DENSITY = 0.3989422804014327  # of the normal distribution at 0


@inline
def _residual(y, f, w):
    return choose(w == 0.0, 0.0, (y - f) * w)


@inline
def _log1p(z):
    above = 1.0 + z
    return choose(above == 1.0, z, log(above) * (z / (above - 1.0)))


@inline
def _worked(cost, u, slope, bend, w):
    bend = sqrt(choose(bend > _LEAST, bend, _LEAST))
    root = sqrt(slope)
    return cost, u * root / bend, root * bend * w


@inline
def soft_l1(y, f, w):
    u = _residual(y, f, w)
    root = sqrt(1.0 + u * u)
    slope = 1.0 / root
    return _worked(2.0 * (u * u) / (1.0 + root), u, slope, slope * slope, w)


@inline
def huber(y, f, w):
    u = _residual(y, f, w)
    size = abs(u)
    inside = size <= 1.0
    root = sqrt(1.0 / choose(inside, 1.0, size))
    cost = choose(inside, u * u, 2.0 * size - 1.0)
    return cost, u * root * choose(inside, 1.0, 1.0 / _LEAST_ROOT), root * choose(inside, 1.0, _LEAST_ROOT) * w


@inline
def cauchy(y, f, w):
    u = _residual(y, f, w)
    slope = 1.0 / (1.0 + u * u)
    return _worked(_log1p(u * u), u, slope, 2.0 * slope - 1.0, w)


@inline
def arctan(y, f, w):
    u = _residual(y, f, w)
    z = u * u
    slope = 1.0 / (1.0 + z * z)
    return _worked(_arctan(z), u, slope, 4.0 * slope - 3.0, w)


@inline
def poisson(y, f, w):
    left = w == 0.0
    y, mu = choose(left, 0.0, y), choose(left, 0.0, f * w)
    d, both = mu - y, mu + y
    s = d / choose(both == 0.0, 1.0, both)
    z = s * s
    rest = z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z / 15))))))
    some = y > 0.0
    far = 2.0 * (d - y * log(choose(some, mu / choose(some, y, 1.0), 1.0)))
    cost = choose((abs(s) < _NEAR) & some, 2.0 * s * d - 4.0 * y * s * rest, far)
    possible = (y >= 0.0) & (mu >= 0.0) & ((mu > 0.0) | (y == 0.0))
    cost = choose(possible, cost, _NONE)
    least = choose(mu > _SMALL_COUNT, mu, _SMALL_COUNT)
    root = sqrt(least)
    return cost, choose(left, 0.0, (y - least) / root), w / root


@inline
def two_sided(y, f, w, above):
    u = y - f
    q = choose(w == 0.0, 0.0, choose(u < 0.0, above, w))
    r = choose(q == 0.0, 0.0, u * q)
    return r * r, r, q


@inline
def _below_limit(z):
    size, square = abs(z), z * z
    near, scaled = exp(-0.5 * square), 0.5 * erfcx(size * _ROOT_OF_HALF)
    below = z <= 0.0
    chance = choose(below, scaled, 1.0 - near * scaled)  # Phi(z); over exp(-z^2 / 2) where z is not positive
    ratio = _DENSITY * choose(below, 1.0, near) / chance
    x = choose(z < _FAR_ABOVE, z, _FAR_ABOVE)
    by = 1.0 / (x * x)
    bend = choose(z < _FAR_ABOVE, -(1.0 - (2.0 - 10.0 * by) * by) / x, z + ratio)
    cost = choose(below, square - 2.0 * log(scaled), -2.0 * _log1p(-near * scaled))
    return cost, -sqrt(ratio / bend), sqrt(ratio * bend)


@inline
def limits(y, f, w, above):
    cost, r, q = two_sided(y, f, w, abs(above))
    limit = (above < 0.0) & (w != 0.0)
    if anywhere(limit):
        below = _below_limit((y - f) * w)
        cost, r, q = choose(limit, below[0], cost), choose(limit, below[1], r), choose(limit, below[2] * w, q)
    return cost, r, q


def noises():
    """What the source of a model may name, beside `fitters.compiled.maths.namespace`."""
    return {f"{f.__name__}_noise": f for f in (soft_l1, huber, cauchy, arctan, poisson, two_sided, limits)}
