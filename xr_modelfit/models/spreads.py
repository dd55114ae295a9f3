"""Coordinates and weights of nodes, made where they are needed from those of samples and of a response.

There are many times more nodes than samples. Where coordinates or responses differ from fit to fit, nodes of only a few
fits are made at a time.

Shapes: ``b`` fits of ``n`` samples, ``S`` nodes of each, ``q`` of them in a bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Products", "Spread"]


@dataclass(frozen=True, eq=False)
class Spread:
    """How the nodes of a sample lie in its bin, or at its coordinate."""

    points: np.ndarray | None  # (S,), from -1 at the low edge of the bin to 1 at the high one; None without bins
    shifts: np.ndarray  # (S,), subtracted from the coordinate

    @property
    def n_given(self) -> int:
        """How many numbers each sample has: its coordinate, or two edges."""
        return 1 if self.points is None else 2

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
    rows: int  # of `models.sampling.Sampling`

    def over(self, given: np.ndarray) -> np.ndarray:
        """Weights (b, m * q * rows) from a response (b, m * rows)."""
        b = given.shape[0]
        with np.errstate(all="ignore"):
            products = given.reshape(b, -1, 1, self.rows) * self.weights[:, None]
        return np.asarray(products).reshape(b, -1)
