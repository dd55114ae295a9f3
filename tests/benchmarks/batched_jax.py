"""Levenberg-Marquardt of jaxopt over many fits at once through ``jax.vmap``: a competitor of ``compare.py``.

With its default tolerance of 1e-5 it stops some hundredths of a standard error from the minimum; the tolerances here
are those with which it gets as close as the others. Its damping is the same for all parameters, and with a slope of
1e-5 beside a mean of 4500 it ends far from many minima; so its parameters are in units of their effect at the start.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
from cases import Case, Curve
from competitors import LeftOut
from jaxopt import LevenbergMarquardt

jax.config.update("jax_enable_x64", True)
TOLERANCE = 1e-8


def levenberg_marquardt(case: Case) -> np.ndarray:
    if case.bounds:
        raise LeftOut("jaxopt's Levenberg-Marquardt knows no bounds")
    if not case.traceable:
        raise LeftOut("jax.numpy has no Faddeeva function")
    y, w = case.rows()
    start = tuple(case.start.values())
    return np.asarray(compiled(case.curve, start, tuple(x.tobytes() for x in case.inputs()))(y, w)).T


@functools.cache
def compiled(curve: Curve, start: tuple[float, ...], inputs: tuple[bytes, ...]) -> Callable[..., jax.Array]:
    """The solver of one curve on one set of inputs, compiled at its first call."""
    sampled = [np.frombuffer(values) for values in inputs]

    def model(p: jax.Array) -> jax.Array:
        return curve(jax.numpy, sampled, p)

    unit = 1 / jax.numpy.linalg.norm(jax.jacfwd(model)(jax.numpy.array(start)), axis=0)

    def residual(q: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
        return w * (model(unit * q) - y)

    solver = LevenbergMarquardt(residual, maxiter=100, tol=TOLERANCE, xtol=TOLERANCE, gtol=TOLERANCE)

    def solved(y: jax.Array, w: jax.Array) -> jax.Array:
        return unit * solver.run(jax.numpy.array(start) / unit, y, w).params

    return jax.jit(jax.vmap(solved))


def forget() -> None:
    """Make the next call compile."""
    compiled.cache_clear()
    jax.clear_caches()
