"""Do two answers to a case agree? Asked by ``compare.py`` before it prints a time.

The distance of two fits is the length of the difference of their curves, each sample in units of its error:
``sqrt(sum((w (f_a - f_b))^2) / s^2)`` with the weights w and the reduced chi-square ``s^2`` of the reference (1 where
errors are given). With ``C = s^2 (J^T J)^-1`` the covariance of the parameters, it is ``sqrt(d^T C^-1 d)`` for a small
difference d of the parameters, and that is at least ``|d_i| / stderr_i`` of each of them. It takes parameters for equal
that make the same curve, as two lines that have changed places, or a width and its negative.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from cases import Case

CLOSE = 1e-3  # standard errors: the same answer
VALLEY = 1.0  # standard errors: the same minimum, of which one of both has stopped short
SHARE = 0.9  # of the fits that converged in both have to be the same


@dataclass(frozen=True)
class Agreement:
    """Shares of the fits that converged in the reference."""

    failed: float  # not in the other
    close: float  # of those that converged in both, as are the next three
    short: float  # in the same valley, further than CLOSE
    worse: float  # elsewhere, with a larger chi-square than the reference
    better: float  # elsewhere, with a smaller one
    median: float  # distance in one valley, standard errors


def needed(engine: str) -> float:
    """Share that a row of this package needs: its NumPy engine, the reference, gives one answer in all ways."""
    return 1.0 if engine == "numpy" else SHARE


def compared(case: Case, reference: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare parameters of shape (k, n_fits); NaN where a fit failed."""
    distance, excess = (np.concatenate(parts) for parts in zip(*distances(case, reference, other), strict=True))
    known = np.isfinite(reference).all(axis=0)
    both = known & np.isfinite(distance)
    if not both.any():
        return Agreement(1.0, *4 * [0.0], np.nan)
    d, e = distance[both], excess[both]
    valley, n = d <= VALLEY, d.size
    return Agreement(
        failed=float(1 - n / known.sum()),
        close=float(np.mean(d <= CLOSE)),
        short=float(np.mean(valley & (d > CLOSE))),
        worse=float(np.mean(~valley & (e >= 0))),
        better=float(np.mean(~valley & (e < 0))),
        median=float(np.median(d[valley])) if valley.any() else np.nan,
    )


def distances(
    case: Case, reference: np.ndarray, other: np.ndarray, piece: int = 20_000
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Distance, and the chi-square of the other minus that of the reference, for pieces of the positions."""
    inputs = case.inputs()
    with np.errstate(all="ignore"):
        for begin in range(0, case.n_fits, piece):
            here = slice(begin, begin + piece)
            y, w = case.at(here).rows()
            a, b = (case.curve(np, inputs, p[:, here, None]) for p in (reference, other))
            chi2, theirs = (np.sum((w * (f - y)) ** 2, axis=1) for f in (a, b))
            dof = np.count_nonzero(w, axis=1) - len(reference)
            scale = chi2 / dof if case.sigma is None else 1.0
            yield np.sqrt(np.sum((w * (a - b)) ** 2, axis=1) / scale), theirs - chi2
