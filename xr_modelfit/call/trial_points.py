"""Coordinates on which the model of a call is tried, before any sample is read."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xr_modelfit.analysis.probing import about
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.models.grid import Grid

__all__ = ["TrialPoints"]

_FEW = 200  # samples on which derivatives and fitter are tried


@dataclass(frozen=True, eq=False)
class TrialPoints:
    """What the inputs of a model read along the fitted dims, as far as it is in memory."""

    inputs: Sequence[ModelInput]
    fitted: tuple[Hashable, ...]
    data: xr.DataArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the fitted dims."""
        return tuple(self.data.sizes[d] for d in self.fitted)

    @property
    def n_samples(self) -> int:
        """Samples of a fit."""
        return math.prod(self.shape)

    @property
    def shared(self) -> bool:
        """Whether all coordinates are in memory, and the same for all fits."""
        return all(one.values._in_memory and set(one.values.dims) <= set(self.fitted) for one in self.inputs)

    @property
    def grid(self) -> Grid:
        """The samples of a fit as a model that sees all of them needs them."""
        read = {d for one in self.inputs for d in one.values.dims}
        axes = tuple(self.fitted.index(d) for d in self.data.dims if d in self.fitted and d in read)
        return Grid(self.shape, axes)

    def some(self, start: np.ndarray, most: int = _FEW, *, indexes: bool = False) -> list[np.ndarray]:
        """Coordinates (n,) of each input, n at most ``most``; numbers about ``start`` for those not in memory.

        A model that is zero there (a line far from the coordinates) tells nothing. With ``indexes``, only coordinates
        that are always in memory are used: a result must not depend on what was computed before.
        """
        n = min(max(self.n_samples, 2), most)
        positions = np.linspace(0, self.n_samples - 1, n).astype(int)
        at = np.unravel_index(positions, self.shape) if self.n_samples else ()
        found = []
        for number, one in enumerate(self.inputs):
            usable = self.n_samples and (not indexes or one.coordinate in self.data.indexes)
            values = self._first_position(one) if usable else None
            if values is None:
                found.append(_about(start, n, number))
            else:
                own = tuple(at[self.fitted.index(d)] for d in values.dims)
                found.append(np.broadcast_to(np.asarray(values.values, dtype=float)[own], (n,)).copy())
        finite = np.all([np.isfinite(x) for x in found], axis=0)
        if np.count_nonzero(finite) < 2:
            return [_about(start, n, number) for number in range(len(self.inputs))]
        return [x[finite] for x in found]

    def all(self, start: np.ndarray) -> list[np.ndarray]:
        """Coordinates (n,) of each input at all samples of the first position; or numbers about ``start``."""
        found = []
        for number, one in enumerate(self.inputs):
            values = self._first_position(one)
            if values is None:
                found.append(_about(start, self.n_samples, number))
            else:
                absent = {d: self.data.sizes[d] for d in self.fitted if d not in values.dims}
                array = values.set_dims({**absent, **values.sizes}).transpose(*self.fitted).values
                found.append(np.array(array, dtype=float).reshape(-1))
        return found

    def refuse_gaps(self) -> None:
        """Refuse coordinates that are not finite everywhere, for a model that needs the whole grid.

        Raises ValueError if a coordinate that all fits share has such a place; of others, only the fits concerned get a
        status.
        """
        for one in self.inputs:
            if one.values._in_memory and set(one.values.dims) <= set(self.fitted):
                bad = np.count_nonzero(~np.isfinite(np.asarray(one.values.values, dtype=float)))
                if bad:
                    raise ValueError(
                        f"The coordinate {one.coordinate!r} is not finite at {bad} of {one.values.size} places, and "
                        "the model sees all its samples, so that it needs a coordinate at each. Fill the coordinate, "
                        "or pass pointwise=True if the model's value at a sample depends on that sample alone."
                    )

    def _first_position(self, one: ModelInput) -> xr.Variable | None:
        """A coordinate along the fitted dims, at the first position; None unless it is in memory."""
        values = one.values
        if not values._in_memory or values.size == 0:  # a file is not read before the call is known to be right
            return None
        first = {d: 0 for d in values.dims if d not in self.fitted}
        return values.isel(first) if first else values


def _about(start: np.ndarray, n: int, number: int) -> np.ndarray:
    """Numbers (n,) about the start values, in another order for each input."""
    return np.roll(about(start, n), 7 * number)
