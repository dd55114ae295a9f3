"""The samples of one fit as a grid, for models that see all of them.

The samples of a fit are counted along the fitted dims in the order of their names, so that no sum depends on how the
data lies in memory. A model that looks at neighbours needs them as an array: with one axis for each fitted dim that any
of its inputs reads, in the order in which the data has them. Along other fitted dims, which are pooled, it repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """How the ``n`` samples of a fit lie on the axes of its model."""

    sizes: tuple[int, ...]  # samples along each fitted dim, in the order in which they are counted
    axes: tuple[int, ...]  # which of these dims the model gets as axes, in this order

    @classmethod
    def line(cls, n: int) -> Grid:
        """``n`` samples along one dim."""
        return cls((n,), (0,))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the model gets and gives."""
        return tuple(self.sizes[a] for a in self.axes) or (1,)

    @property
    def is_line(self) -> bool:
        """Whether the model gets the samples as they are counted."""
        return len(self.sizes) == 1 and self.axes == (0,)

    @cached_property
    def _pooled(self) -> tuple[int, ...]:
        """The dims that are no axis of the model."""
        return tuple(d for d in range(len(self.sizes)) if d not in self.axes)

    @cached_property
    def in_order(self) -> np.ndarray:
        """Numbers (n,) of the samples, in the order in which the axes of the model have them."""
        return np.arange(math.prod(self.sizes)).reshape(self.sizes).transpose(self.axes + self._pooled).reshape(-1)

    def shaped(self, samples: np.ndarray) -> np.ndarray:
        """An input of a fit, from its samples (n,); contiguous."""
        if not samples.size:
            return np.full(self.shape, np.nan)
        array = samples.reshape(self.sizes).transpose(self.axes + self._pooled)
        first: Any = (..., *[0] * len(self._pooled))
        return np.ascontiguousarray(array[first]).reshape(self.shape)

    def counted(self, values: np.ndarray) -> np.ndarray:
        """Samples (n,) of what a model gives on the grid; `ValueError` where that has another shape."""
        values = np.asarray(values)
        if values.shape != self.shape:
            values = np.broadcast_to(values, self.shape)
        if self.is_line:
            return values
        order = self.axes + self._pooled
        values = values.reshape([self.sizes[d] if d in self.axes else 1 for d in order])
        return np.broadcast_to(values, [self.sizes[d] for d in order]).transpose(np.argsort(order)).reshape(-1)
