"""Whether the traced expression of a model has the values and derivatives of the model.

Code may treat symbols in another way than arrays, by their type or by the number of samples. So they are also compared
on as many samples as the fits have, on other coordinates, and at parameters that take other branches.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from xr_modelfit.analysis.derivatives import jacobian
from xr_modelfit.analysis.probing import about, far_points
from xr_modelfit.models.problem import Inputs, Problem

__all__ = ["agrees"]

_SAME = 1e-10  # of the largest value
_ALIKE = 1e-6  # the same far from the start, where a model may be ill-conditioned
_CLOSE = 1e-3  # of the largest slope: differences are no better in the worst case
_ON_A_KINK = 0.05  # share of the samples whose slopes may differ

Columns = Callable[[Inputs, np.ndarray], Iterator[np.ndarray]]


def agrees(problem: Problem, columns: Columns, inputs: Inputs, P: np.ndarray, n_samples: int) -> bool:
    """Whether ``columns`` gives the model's values and its derivatives by the free parameters.

    It takes inputs (n,) and parameters (K, b), and gives columns (n, b): values, then each derivative. They are
    compared at ``inputs`` and ``P``, which is at and beside the start, and elsewhere.
    """
    near = about(problem.start, 100)  # coordinates of other fits may lie elsewhere
    others = [np.roll(np.concatenate([near, -near]), 7 * number) for number in range(len(inputs))]
    as_many = [np.resize(x, max(n_samples, x.size)) for x in inputs]
    infinite = np.full(P.shape, np.inf)
    with np.errstate(all="ignore"):
        try:
            slopes = jacobian(problem, [x[:, None] for x in inputs], P, -infinite, infinite)
            _, *ours = columns(inputs, P)
            if not all(_agree(a, b, _CLOSE, _ON_A_KINK) for a, b in zip(ours, slopes, strict=True)):
                return False
            tries = (as_many, P, _SAME), (others, P, _ALIKE), (inputs, far_points(problem), _ALIKE)
            alone = problem.with_traits(broadcasts=False)  # samples in the shape of a fit
            as_one = _same_values(alone, next(columns(as_many, P)), as_many, P, _SAME)
            return as_one and all(_same_values(problem, next(columns(at, Q)), at, Q, limit) for at, Q, limit in tries)
        except Exception:  # it cannot be computed here
            return False


def _same_values(problem: Problem, found: np.ndarray, inputs: Inputs, P: np.ndarray, limit: float) -> bool:
    """Whether values (n, b) are those of the model, for those of the parameters where it has any."""
    at = [x[:, None] for x in inputs]
    try:
        expected = problem.evaluate(at, P)
    except Exception:  # of some of them
        expected = np.array(found)
        for i in range(P.shape[1]):
            with suppress(Exception):
                expected[:, i] = problem.evaluate(at, P[:, [i]])[:, 0]
    return _agree(found, expected, limit, 0.0)


def _agree(a: np.ndarray, b: np.ndarray, limit: float, share: float) -> bool:
    """Whether columns (n, b) agree to ``limit`` of their largest number, but for a share of the samples."""
    finite = np.isfinite(a) & np.isfinite(b)
    most = np.max(np.where(finite, np.abs(b), 0.0), axis=0, initial=0.0)
    off = np.where(finite, np.abs(a - b) > limit * most, np.isfinite(a) != np.isfinite(b))
    return bool(np.all(np.count_nonzero(off, axis=0) <= share * len(a)))
