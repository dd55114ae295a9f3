"""The samples of a block of fits. Shapes: ``b`` fits of ``n`` samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from xr_modelfit.fitters.noise import LIMITS, TWO_SIDED
from xr_modelfit.fitters.rows import together
from xr_modelfit.fitters.sums import columns
from xr_modelfit.models.sampling import Sampling

__all__ = ["Correlation", "Samples", "with_sides"]


class Correlation(NamedTuple):
    """What was found of noise that is correlated along the samples of fits; see `fitters.correlated`."""

    r: np.ndarray  # (b,), of samples one step apart; NaN where the covariance was given
    n_effective: np.ndarray  # (b,)
    wider: np.ndarray | None  # (b, K), factors of the standard errors, as ``r`` is not known exactly

    def part(self, ids: np.ndarray) -> "Correlation":
        """That of the fits ``ids``."""
        return Correlation(self.r[ids], self.n_effective[ids], None if self.wider is None else self.wider[ids])


@dataclass(frozen=True)
class Samples:
    """What the fits of a block read."""

    y: np.ndarray  # (b, n)
    inputs: Sequence[np.ndarray]  # one per input of the model, (b, n), or (1, n) where it does not vary
    weights: np.ndarray | None  # (b, n) or (1, n), factors of the residuals
    valid: np.ndarray  # (b, n), which samples take part; the others may hold anything
    whole: bool = False  # the model sees all coordinates of a fit, those of samples that are left out too
    sampling: Sampling | None = None  # samples are made of nodes: inputs (b, N) or (1, N), and one more has the weights
    noise: str = "linear"  # how a sample counts; see `fitters.noise`
    scale: np.ndarray | None = None  # (b,), by which weights were divided, so that chi-square is by its square
    above: np.ndarray | None = None  # (b, n) or (1, n), second weights; see `fitters.noise`
    off: np.ndarray | None = None  # (b, n) or (1, n), standard errors of the coordinate
    covariance: np.ndarray | None = None  # (1 or b, n, n), of the noise, where it is given instead of weights
    correlation: Correlation | None = None  # of the noise, where samples are whitened

    def columns(self, ids: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
        """Fits ``ids`` in columns: inputs (n, 1) or (n, b), data (n, b), weights (n, b) or None.

        A sample that is left out has weight 0, and the coordinate and the value of a valid one:
        whatever stood there is not even evaluated. Where the model sees all coordinates, they stay.
        """
        y, inputs, weights = self._filled
        w = None if weights is None else np.ascontiguousarray(weights[ids].T)
        return [x if x.shape[1] == 1 else columns(x, ids) for x in inputs], np.ascontiguousarray(y[ids].T), w

    def above_in_columns(self, ids: np.ndarray) -> np.ndarray | None:
        """Second weights of fits ``ids``, (n, b), 0 where a sample is left out; None without."""
        if self.above is None:
            return None
        above = np.broadcast_to(self.above, self.y.shape)[ids]
        return np.ascontiguousarray(np.where(self.valid[ids], above, 0.0).T)

    def squares(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Data and squared weights of fits ``ids``, (n, b) each, 0 where a sample is left out; None means ones.

        They may be views of the samples: not to be written to.
        """
        y = _in_columns(self.y, ids)
        m = None
        if self.weights is not None:
            w = self.weights.T if self.weights.shape[0] == 1 else _in_columns(self.weights, ids)
            m = np.broadcast_to(w * w, y.shape)
        if np.all(self.n_points[ids] == self.y.shape[1]):
            return y, m
        valid = _in_columns(self.valid, ids)
        keep = np.negative(valid.view(np.int8), dtype=np.int64)  # all bits or none: quicker than a choice
        return _masked(y, keep), valid.astype(float) if m is None else _masked(m, keep)

    def common(self) -> list[np.ndarray]:
        """Inputs that all fits share, (n, 1) each; where one is not finite, all are those of another sample."""
        inputs = [np.ascontiguousarray(x[0])[:, None] for x in self.inputs]
        if self.sampling is not None or self.whole:  # inputs that are not finite make samples that cannot be used
            return inputs
        usable = np.all([np.isfinite(x) for x in inputs], axis=0)
        return inputs if usable.all() else [np.where(usable, x, x[np.argmax(usable)]) for x in inputs]

    def in_rows(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
        """As `columns` of all fits, but in rows: inputs (1, N) or (b, N), data (b, n), weights (1 or b, n) or None."""
        if self.all_valid:
            w = None if self.weights is None else np.ascontiguousarray(self.weights)
            return [np.ascontiguousarray(x) for x in self.inputs], self.y, w
        y, inputs, w = self._filled
        return [np.ascontiguousarray(x.T) for x in inputs], y, w

    @property
    def needed_whole(self) -> Sequence[np.ndarray]:
        """Inputs without which there is no fit, whatever samples are left out: all, none, or the weights of nodes."""
        if self.whole:
            return self.inputs
        return self.inputs[-1:] if self.sampling is not None else ()

    @property
    def measured(self) -> np.ndarray:
        """The valid samples that are no upper limits, (b, n)."""
        return self.valid if self.noise != LIMITS or self.above is None else self.valid & (self.above > 0.0)

    @property
    def n_values(self) -> int:
        """How many values of the model a fit takes."""
        return self.y.shape[1] if self.sampling is None else self.sampling.n_nodes

    def any_valid(self, ids: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Which of the fits ``ids`` have a valid sample among ``which`` (n,), shape (b,)."""
        at = np.flatnonzero(which)
        return np.any(self.valid[np.ix_(ids, at)], axis=1) if at.size else np.zeros(ids.size, dtype=bool)

    @cached_property
    def all_valid(self) -> bool:
        return bool(self.valid.all())

    @cached_property
    def n_points(self) -> np.ndarray:
        """How many samples of each fit take part, shape (b,)."""
        b, n = self.y.shape
        if self.all_valid:
            return np.full(b, n)
        narrow = np.uint16 if n < 2**16 else np.int64
        return np.add.reduce(self.valid.view(np.uint8), axis=1, dtype=narrow).astype(np.int64)

    @cached_property
    def _filled(self) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
        b, n = self.y.shape
        weights = None if self.weights is None else np.broadcast_to(self.weights, (b, n))
        if self.all_valid:
            return self.y, self._whole_inputs, weights
        stand_in = np.argmax(self.valid, axis=1)
        rows = np.arange(b)

        def filled(a: np.ndarray) -> np.ndarray:
            a = np.broadcast_to(a, (b, n))
            return np.where(self.valid, a, a[rows, stand_in][:, None])

        def filled_nodes(a: np.ndarray) -> np.ndarray:
            a = np.broadcast_to(a.reshape(len(a), n, -1), (b, n, a.shape[1] // n))
            return np.where(self.valid[:, :, None], a, a[rows, stand_in][:, None]).reshape(b, -1)

        if self.whole:
            inputs = self._whole_inputs
        elif self.sampling is not None:
            inputs = [np.ascontiguousarray(filled_nodes(x).T) for x in self.inputs[:-1]] + self._whole_inputs[-1:]
        else:
            inputs = [np.ascontiguousarray(filled(x).T) for x in self.inputs]
        ones = np.broadcast_to(1.0, (b, n)) if weights is None else weights
        return filled(self.y), inputs, np.where(self.valid, ones, 0.0)

    @property
    def _whole_inputs(self) -> list[np.ndarray]:
        return [x[0][:, None] if x.shape[0] == 1 else np.ascontiguousarray(x.T) for x in self.inputs]

    def part(self, ids: np.ndarray) -> "Samples":
        """Those of the fits ``ids``."""
        inputs = [x if x.shape[0] == 1 else x[ids] for x in self.inputs]
        weights = self.weights if self.weights is None or self.weights.shape[0] == 1 else self.weights[ids]
        scale = None if self.scale is None else self.scale[ids]
        above = self.above if self.above is None or self.above.shape[0] == 1 else self.above[ids]
        off = self.off if self.off is None or self.off.shape[0] == 1 else self.off[ids]
        some = replace(self, y=self.y[ids], inputs=inputs, weights=weights, valid=self.valid[ids])
        covariance = self.covariance if self.covariance is None or len(self.covariance) == 1 else self.covariance[ids]
        correlation = None if self.correlation is None else self.correlation.part(ids)
        return replace(some, scale=scale, above=above, off=off, covariance=covariance, correlation=correlation)

    def weighted(self) -> "Samples":
        """The same for the model of `analysis.coordinate_errors`."""
        assert self.weights is not None
        assert self.off is not None
        with np.errstate(all="ignore"):
            y = self.y * self.weights
        return replace(self, y=y, inputs=[*self.inputs, self.y, self.weights, self.off], weights=None, off=None)

    def fit(self, i: int, numbers: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
        """Inputs, data and weights of the samples ``numbers`` of fit ``i``, contiguous copies.

        All inputs where the value at a sample depends on those of others. A sample that is left out has weight 0.
        """
        if self.sampling is not None:
            inputs = [column[:, 0] for column in self.columns(np.array([i]))[0]]
        else:
            inputs = [np.array(_row(x, i)) if self.whole else _row(x, i)[numbers] for x in self.inputs]
        y, w, valid = self.y[i][numbers], None, self.valid[i][numbers]
        if self.weights is not None:
            w = _row(self.weights, i)[numbers]
        if not valid.all():
            y, w = np.where(valid, y, 0.0), np.where(valid, 1.0 if w is None else w, 0.0)
        return inputs, y, w


def with_sides(samples: Samples, above: np.ndarray | None, limits: np.ndarray | None) -> Samples:
    """Samples with weights for where the model lies ``above`` the datum, and of which some are upper limits.

    Both (b, n) or (1, n), None without.
    """
    if above is None and limits is None:
        return samples
    assert samples.weights is not None
    above = samples.weights if above is None else above
    if limits is None:
        return replace(samples, above=above, noise=TWO_SIDED)
    return replace(samples, above=np.where(limits, -samples.weights, above), noise=LIMITS)


def _in_columns(a: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows ``ids`` of (b, n) as columns (n, b) that lie beside each other in memory; a view where that is possible."""
    at = together(ids)
    if a.strides[0] == a.itemsize and a.strides[1] != a.itemsize:  # samples first in memory
        return a.T[:, at] if isinstance(at, slice) else columns(a.T, at)
    return np.ascontiguousarray(a[at].T)


def _masked(a: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """``a`` where all bits of ``keep`` are set, 0 where none is, whatever stands there."""
    masked: np.ndarray = (a.view(np.int64) & keep).view(np.float64)
    return masked


def _row(array: np.ndarray, i: int) -> np.ndarray:
    row: np.ndarray = array[i if array.shape[0] > 1 else 0]
    return row
