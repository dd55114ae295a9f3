"""Derivatives of a model with respect to its free parameters, for errors and ranks.

Three ways, the best that works is chosen once a call (`choose`), never per block:

``analytic``
    The model's own ``fit_deriv``. Some are wrong (domains are left out, shapes differ), so it
    is taken only when it agrees with differences.
``complex``
    ``f'(p) = Im f(p + ih) / h`` with ``h`` so small that nothing is lost [1]_, where the
    model's code takes complex numbers and agrees with differences.
``difference``
    Central differences ``(f(p + h) - f(p - h)) / 2h``, inward ones at a bound. The step is not
    taken from ``|p|``, which says nothing at 0 or far from it, but from what it does to the
    model: rounding costs ``nu / |f(p+h) - f(p-h)|`` with the noise ``nu = eps max|f|``,
    truncation about the square of ``c = |f(p+h) - 2 f(p) + f(p-h)| / |f(p+h) - f(p-h)|``;
    the step with the smallest sum is kept.

Ties enter by the chain rule: with all ``K`` parameters ``P(p)`` a function of the ``k`` free
ones, ``J = (df/dP) (dP/dp) = D T``.

References
----------
.. [1] Squire, W. and Trapp, G. (1998), SIAM Review 40, 110.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xr_modelfit.problem import Problem

__all__ = ["ACCURACY", "choose", "jacobian"]

# Relative accuracy of a column, for rank tests.
ACCURACY = {"analytic": 1e-14, "complex": 1e-14, "difference": 1e-9}

_COMPLEX_STEP = 1e-30
_AGREE = 1e-4  # a wrong derivative is off by far more, a difference by far less


def jacobian(
    problem: Problem, inputs: Sequence[np.ndarray], parameters: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of one fit at ``parameters``.

    Parameters
    ----------
    problem : Problem
    inputs : sequence of ndarray, shape (n,)
    parameters : ndarray, shape (K,)
    free : ndarray of bool, shape (K,)
        Which parameters are free in this fit, ``k`` of them.

    Returns
    -------
    J : ndarray, shape (n, k)
        Derivatives of the model with respect to the free parameters, ties included.
    T : ndarray, shape (K, k)
        Derivatives of all parameters with respect to the free ones.
    """
    T = _tie_derivatives(problem, parameters, free)
    wanted = np.flatnonzero(free | (problem.tied & np.any(T != 0, axis=1))).tolist()
    D = np.zeros((inputs[0].size, problem.n_parameters))
    if problem.derivative == "analytic":
        D[:, wanted] = _analytic(problem, inputs, parameters)[:, wanted]
    elif problem.derivative == "complex":
        for j in wanted:
            D[:, j] = _complex(problem, inputs, parameters, j)
    else:
        for j in wanted:
            D[:, j] = _difference(problem, inputs, parameters, j)
    if not problem.tied.any():
        return D[:, free], T
    # einsum without BLAS: the same bits whatever the company.
    return np.einsum("nj,jk->nk", D, T, optimize=False), T


def choose(problem: Problem, inputs: Sequence[np.ndarray]) -> Problem:
    """The problem with its best ``derivative``, tried at the start and beside it on ``inputs``."""
    points = [problem.with_ties(p) for p in (problem.start, problem.start * 1.0625 + 0.03125)]
    every = range(problem.n_parameters)
    try:
        differences = [np.stack([_difference(problem, inputs, p, j) for j in every], axis=1) for p in points]
    except Exception:  # a model that cannot be evaluated here is met, and named, by the fits
        return problem

    def disagreement(way: str) -> float:
        """Largest difference against the scale of its column; infinite where there is none to compare."""
        worst = 0.0
        for p, E in zip(points, differences, strict=True):
            try:
                D = (
                    _analytic(problem, inputs, p)
                    if way == "analytic"
                    else np.stack([_complex(problem, inputs, p, j) for j in every], axis=1)
                )
            except Exception:
                return np.inf
            if not (np.all(np.isfinite(D)) and np.all(np.isfinite(E))):
                return np.inf
            scale = np.maximum(np.max(np.abs(D), axis=0), np.max(np.abs(E), axis=0))
            worst = max(worst, float(np.max(np.abs(D - E) / np.where(scale > 0, scale, 1.0))))
        return worst

    analytic = disagreement("analytic")
    if analytic <= _AGREE:
        return replace(problem, derivative="analytic")
    way = "complex" if disagreement("complex") <= _AGREE else "difference"
    return replace(problem, derivative=way, wrong_derivative=bool(np.isfinite(analytic)))


def _analytic(problem: Problem, inputs: Sequence[np.ndarray], p: np.ndarray) -> np.ndarray:
    """The model's own derivatives, shape (n, K); raises if there are none of that shape."""
    model, n = problem.model, inputs[0].size
    if model.fit_deriv is None:
        raise TypeError("the model has no derivatives")
    columns = model.fit_deriv(*[np.array(x) for x in inputs], *p)
    if not model.col_fit_deriv:
        columns = np.moveaxis(np.asarray(columns), -1, 0)
    if len(columns) != p.size:
        raise ValueError("fit_deriv does not give one column for each parameter")
    return np.stack([np.broadcast_to(np.asarray(c, dtype=float), (n,)) for c in columns], axis=1)


def _complex(problem: Problem, inputs: Sequence[np.ndarray], p: np.ndarray, j: int) -> np.ndarray:
    q = p.astype(complex)
    q[j] += 1j * _COMPLEX_STEP
    return np.imag(problem.evaluate(inputs, q)) / _COMPLEX_STEP


def _difference(problem: Problem, inputs: Sequence[np.ndarray], p: np.ndarray, j: int) -> np.ndarray:
    """Column ``j`` by differences, shape (n,), with a step from its effect on the model."""
    f0 = np.array(problem.evaluate(inputs, p), dtype=float)
    noise = np.finfo(float).eps * max(np.max(np.abs(f0)), np.finfo(float).tiny)
    low, high = problem.lower[j], problem.upper[j]
    h = 1e-5 * max(abs(p[j]), 1e-3 * _width(low, high))
    best, best_error = np.zeros_like(f0), np.inf
    for _ in range(40):
        column, effect, bend = _central_or_inward(problem, inputs, p, j, h, low, high, f0)
        if not np.isfinite(effect):
            h *= 0.05
            continue
        if max(effect, bend) <= 1e3 * noise:  # nothing seen yet
            if h > 1e6 * max(abs(p[j]), _width(low, high)):
                break  # no step of any size does anything: a column of zeros
            h *= 100.0
            continue
        rounding = noise / max(effect, noise)
        truncation = min((bend / max(effect, noise)) ** 2, 1.0)
        if rounding + truncation < best_error:
            best, best_error = column, rounding + truncation
        elif best_error < 1e-3:
            break  # past the optimum
        if best_error < 1e-9:
            break
        h *= 4.0 if truncation < rounding else 0.05 if truncation > 1e-2 else 0.25
    return best


def _width(low: float, high: float) -> float:
    return high - low if np.isfinite(high - low) else 1.0


def _central_or_inward(
    problem: Problem,
    inputs: Sequence[np.ndarray],
    p: np.ndarray,
    j: int,
    h: float,
    low: float,
    high: float,
    f0: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    """One difference column, the largest effect of its step, and the largest bend."""

    def at(value: float) -> np.ndarray:
        q = np.array(p, dtype=float)
        q[j] = value
        return np.asarray(problem.evaluate(inputs, q), dtype=float)

    a, b = p[j] - h, p[j] + h
    if a < low and b <= high:
        a = p[j] + 2 * h
    elif b > high and a >= low:
        b = p[j] - 2 * h
    da, db = a - p[j], b - p[j]  # the steps as they are represented
    if da == 0 or db == 0:
        return np.zeros_like(f0), 0.0, 0.0
    fa, fb = at(a) - f0, at(b) - f0
    # Derivative at 0 of the parabola through (0, 0), (da, fa), (db, fb).
    column = (fb * da / db - fa * db / da) / (da - db)
    effect = float(np.max(np.abs(column)) * abs(db - da))
    bend = float(np.max(np.abs(fa / da - fb / db)) * min(abs(da), abs(db)))
    return column, effect, bend


def _tie_derivatives(problem: Problem, p: np.ndarray, free: np.ndarray) -> np.ndarray:
    """``T``, shape (K, k): by central differences, exact for linear ties but for rounding."""
    T = np.eye(problem.n_parameters)[:, free]
    if not problem.tied.any():
        return T
    for column, j in enumerate(np.flatnonzero(free)):
        h = 1e-4 * abs(p[j]) or 1e-8
        for below, above in ((-h, h), (0.0, h), (-h, 0.0)):  # one-sided where the tie ends
            a, b = p.copy(), p.copy()
            a[j] += below
            b[j] += above
            change = (problem.with_ties(b) - problem.with_ties(a))[problem.tied] / (b[j] - a[j])
            if np.all(np.isfinite(change)):
                break
        T[problem.tied, column] = change
    return T
