r"""Samples as weighted sums of a model's values: means over bins, and the response of an instrument.

A detector does not see a model ``f`` at a point. Its sample ``i`` is

.. math:: g_i = \sum_{s < S} W_{is} f(u_{A i + s}),

with *nodes* ``u``, the coordinates where the model is evaluated, ``A`` nodes further for each sample. This covers

- the mean over a bin, by Gauss and Legendre's rule: ``A = S``, the nodes of a sample are its own;
- a response that is the same everywhere, on a uniform grid: ``A = 1``, the samples share their nodes;
- a matrix: ``A = 0``, each sample sees all nodes;

and both at once. ``g`` is linear in ``f``, so derivatives are the same sums of derivatives.

Coordinates and weights of nodes are made where they are needed, since there are many times more nodes than samples: by
`Spread` and `Products`, from those of samples and of a response.

Shapes: ``n`` samples, ``N = A (n - 1) + S`` nodes, ``b`` fits; ``q`` nodes in a bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Products", "Sampling", "Spread"]


@dataclass(frozen=True)
class Sampling:
    """How the samples of a fit are made of values at nodes."""

    n: int  # samples of a fit
    step: int  # ``A``, nodes from the first node of a sample to that of the next
    span: int  # ``S``, how many nodes a sample sees
    rows: int  # ``n`` where each sample has weights of its own, 1 where all have the same

    @property
    def n_nodes(self) -> int:
        return self.step * (self.n - 1) + self.span if self.n else 0

    @property
    def n_weights(self) -> int:
        return self.span * self.rows

    @property
    def disjoint(self) -> bool:
        """Whether no node belongs to two samples."""
        return self.step == self.span

    def trial_inputs(self, coordinates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Inputs of a fit to try a fitter on: coordinates (n,) as those of nodes, and equal weights."""
        nodes = [np.resize(x, self.n_nodes) for x in coordinates]
        return [*nodes, np.full(self.n_weights, 1.0 / self.span)]

    def mixed(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Samples (n, b) from values at the nodes (N, b) and weights (S * rows, 1) or (S * rows, b).

        The sum runs over the nodes one after the other: a fit's bits depend on nothing but the fit.
        """
        W = weights.reshape(self.span, self.rows, weights.shape[1])
        with np.errstate(all="ignore"):
            out = self._summed(values, W)
            if not np.all(np.isfinite(out)):  # nodes without weight do not count
                out = self._summed(values, W, counts=W != 0.0)
        return out

    def _summed(self, values: np.ndarray, W: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
        out = np.zeros((self.n, values.shape[1]))
        stop = self.step * (self.n - 1) + 1
        for s in range(self.span):
            seen = values[s : s + stop : self.step] if self.step else values[s : s + 1]
            out += W[s] * seen if counts is None else np.where(counts[s], W[s] * seen, 0.0)
        return out


@dataclass(frozen=True, eq=False)
class Spread:
    """How the nodes of a sample lie in its bin, or at its coordinate."""

    points: np.ndarray | None  # (S,), from -1 at the low edge of the bin to 1 at the high one; None without bins
    shifts: np.ndarray  # (S,), subtracted from the coordinate

    def over(self, given: np.ndarray) -> np.ndarray:
        """Coordinates of nodes (b, n * S) from those of samples (b, n), or from edges (b, n * 2)."""
        b = given.shape[0]
        with np.errstate(all="ignore"):  # infinite samples are left out
            at = given.reshape(b, -1, 1)
            if self.points is not None:
                low, high = (given.reshape(b, -1, 2)[:, :, k, None] for k in (0, 1))
                at = (0.5 * low + 0.5 * high) + (0.5 * high - 0.5 * low) * self.points
            return np.asarray(at - self.shifts).reshape(b, -1)


@dataclass(frozen=True, eq=False)
class Products:
    """Weights of nodes, as products of a response and the weights of points in a bin."""

    weights: np.ndarray  # (q,)
    rows: int  # of `Sampling`

    def over(self, given: np.ndarray) -> np.ndarray:
        """Weights (b, m * q * rows) from a response (b, m * rows)."""
        b = given.shape[0]
        with np.errstate(all="ignore"):
            products = given.reshape(b, -1, 1, self.rows) * self.weights[:, None]
        return np.asarray(products).reshape(b, -1)
