r"""Products of whitened columns as functions of the correlation of neighbours, from sums that are made once.

With the columns ``X = (Q, e)`` and the correlation matrix ``R`` of `fitters.correlated.ar1`, in which sample ``i`` has
the correlation ``phi_i`` with the one before,

.. math:: (X'R^{-1}X)_{ac} = a_0 c_0 + \sum_{i>0} \frac{a_i c_i + \phi_i^2 a_{i-1} c_{i-1}
          - \phi_i (a_i c_{i-1} + a_{i-1} c_i)}{1 - \phi_i^2}, \qquad \ln |R| = \sum_{i>0} \ln (1 - \phi_i^2).

Samples that are equally far from the one before have the same ``phi``, and share their sums.

Shapes: ``n`` samples first, ``k`` columns ``Q``, ``m = (k + 1) (k + 2) / 2`` pairs of columns, ``b`` fits last. Pairs
are the lower triangle, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from xr_modelfit.fitters.correlated.ar1 import correlation
from xr_modelfit.fitters.sums import along, columns, dot, total

__all__ = ["Even", "Uneven"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Even:
    """Of samples without gaps, one step apart: polynomials in ``r``."""

    n: int
    all: np.ndarray  # (m, b)
    lagged: np.ndarray  # (m, b)
    inner: np.ndarray  # (m, b), without the first sample and the last

    @classmethod
    def of(cls, Q: Sequence[np.ndarray], e: np.ndarray) -> Even:
        n, b = e.shape
        pairs = list(_pairs([*Q, e]))
        every, lagged, inner = np.empty((3, len(pairs), b))
        for at, (a, c) in enumerate(pairs):
            every[at] = _dot(a, c)
            lagged[at] = _dot(a[1:], c[:-1]) + _dot(a[:-1], c[1:])
            inner[at] = every[at] - a[0] * c[0] - a[-1] * c[-1]
        return cls(n, every, lagged, inner)

    def taken(self, which: np.ndarray) -> Even:
        """Those of the fits ``which``."""
        every, lagged, inner = (columns(a, which) for a in (self.all, self.lagged, self.inner))
        return Even(self.n, every, lagged, inner)

    @property
    def neighbours(self) -> np.ndarray:
        """The correlation of neighbours among the residuals, (b,)."""
        return 0.5 * self.lagged[-1] / self.all[-1]

    def at(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products (m, b), and ``ln |R|`` (b,)."""
        rest = (1.0 - r) * (1.0 + r)
        found = self.inner * r
        found -= self.lagged
        found *= r
        found += self.all
        found /= rest
        return found, (self.n - 1) * np.log(rest)


@dataclass(frozen=True)
class Uneven:
    """Of samples with gaps, or any spacings.

    A class of spacings that a fit does not have adds exact zeros, so classes may be those of many fits.
    """

    spacings: np.ndarray  # (d, 1 or b), of each class
    counts: np.ndarray  # (d, b)
    first: np.ndarray  # (m, b)
    sums: np.ndarray  # (m, 3 d, b), of squares, of squares of the samples before, and of products of both

    @classmethod
    def of(cls, Q: Sequence[np.ndarray], e: np.ndarray, steps: np.ndarray, there: np.ndarray) -> Uneven:
        """``steps`` (n - 1, 1 or b) from the sample before; ``there`` (n - 1, b), which samples take part."""
        b, pairs = e.shape[1], list(_pairs([*Q, e]))
        numbers, spacings = _classes(steps, there)
        d = len(spacings)
        at = (np.where(there, numbers, d) * b + np.arange(b)).ravel()

        def sums(a: np.ndarray) -> np.ndarray:
            return np.bincount(at, np.ascontiguousarray(a).ravel(), minlength=(d + 1) * b)[: d * b].reshape(d, b)

        first, parts = np.empty((len(pairs), b)), np.empty((len(pairs), 3, d, b))
        for number, (a, c) in enumerate(pairs):
            product = np.broadcast_to(a * c, e.shape)
            first[number] = product[0]
            lagged = np.broadcast_to(a[1:] * c[:-1] + a[:-1] * c[1:], there.shape)
            parts[number] = sums(product[1:]), sums(product[:-1]), sums(lagged)
        return cls(spacings, sums(np.ones(there.shape)), first, parts.reshape(len(pairs), 3 * d, b))

    @classmethod
    def of_gaps(cls, Q: Sequence[np.ndarray], e: np.ndarray, steps: np.ndarray, there: np.ndarray) -> Uneven:
        """The same where steps are small whole numbers, mostly 1: sums of all samples, less those of longer steps.

        Columns are 0 where ``there`` is not.
        """
        b = e.shape[1]
        flat = np.flatnonzero(there & (steps > 1.0))
        number = np.broadcast_to(steps, there.shape).ravel()[flat].astype(int)
        d = int(number.max(initial=1))
        at = (number - 2) * b + flat % b
        last = np.count_nonzero(there, axis=0) * b + np.arange(b)

        def classes(whole: np.ndarray, longer: np.ndarray) -> np.ndarray:
            sums = np.bincount(at, longer, minlength=(d - 1) * b)[: (d - 1) * b].reshape(d - 1, b)
            return np.concatenate([(whole - total(sums))[None], sums])

        X = [np.ascontiguousarray(np.broadcast_to(c, e.shape)) for c in (*Q, e)]
        ends = [(c[0], c.ravel()[last], c.ravel()[flat + b], c.ravel()[flat]) for c in X]
        first, parts = [], []
        for (a, c), (of_a, of_c) in zip(_pairs(X), _pairs(ends), strict=True):
            (first_a, last_a, here_a, before_a), (first_c, last_c, here_c, before_c) = of_a, of_c
            every, pairs = dot(a, c), dot(a[1:], c[:-1]) + dot(a[:-1], c[1:])
            first.append(first_a * first_c)
            own = classes(every - first_a * first_c, here_a * here_c)
            before = classes(every - last_a * last_c, before_a * before_c)
            lagged = classes(pairs, here_a * before_c + before_a * here_c)
            parts.append(np.concatenate([own, before, lagged]))
        counts = classes(np.count_nonzero(there, axis=0).astype(float), np.ones(flat.size))
        return cls(np.arange(1.0, d + 1.0)[:, None], counts, np.array(first), np.array(parts))

    def taken(self, which: np.ndarray) -> Uneven:
        """Those of the fits ``which``."""
        names = "counts", "first", "sums", *(("spacings",) if self.spacings.shape[1] > 1 else ())
        return replace(self, **{name: columns(getattr(self, name), which) for name in names})

    @property
    def neighbours(self) -> np.ndarray:
        """The correlation of neighbours among the residuals, (b,)."""
        own, _, lagged = self.sums[-1].reshape(3, *self.counts.shape)
        return 0.5 * total(lagged) / (self.first[-1] + total(own))

    def at(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products (m, b), and ``ln |R|`` (b,); of two fits or more, as the sums of one would run in another order."""
        phi = np.broadcast_to(correlation(r, self.spacings), self.counts.shape)
        rest = (1.0 - phi) * (1.0 + phi)
        own = 1.0 / rest
        lagged = phi * own
        by = np.concatenate([own, phi * lagged, -lagged])
        found = np.einsum("db,mdb->mb", by, self.sums, optimize=False)
        return self.first + found, dot(self.counts, np.log(rest))


def _pairs(X: Sequence[_T]) -> Iterator[tuple[_T, _T]]:
    for i, a in enumerate(X):
        for c in X[: i + 1]:
            yield a, c


def _dot(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    """As `dot`, of columns (n, 1) or (n, b)."""
    if a.shape[1] < c.shape[1]:
        return along(a, c)
    return along(c, a)


def _classes(steps: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of classes of equal steps, as ``steps``, and the step of each class, (d, 1 or b), ascending."""
    if not len(steps):
        return np.zeros(steps.shape, dtype=int), np.ones((1, 1))
    if steps.shape[1] == 1:
        values, numbers = np.unique(steps[:, 0], return_inverse=True)
        return numbers.reshape(-1, 1), values[:, None]
    known = np.where(there, steps, 1.0)
    order = np.argsort(known, axis=0, kind="stable")
    ascending = np.take_along_axis(known, order, axis=0)
    ranks = np.zeros(known.shape, dtype=int)
    ranks[1:] = np.cumsum(ascending[1:] != ascending[:-1], axis=0)
    numbers, values = np.empty_like(ranks), np.ones((int(ranks.max()) + 1, steps.shape[1]))
    np.put_along_axis(numbers, order, ranks, axis=0)
    np.put_along_axis(values, ranks, ascending, axis=0)
    return numbers, values
