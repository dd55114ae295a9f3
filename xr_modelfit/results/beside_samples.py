"""Bounds of bins and a response, selected together with the samples of one fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xr_modelfit.labels.bins import UNNAMED, name_of_bounds
from xr_modelfit.labels.coords import Labels
from xr_modelfit.records.record import FitRecord
from xr_modelfit.results.nodes_again import bins_asked, refuse_lost

__all__ = ["Beside", "is_own"]

_ARRAY, _OWN = "_modelfit_beside", "_modelfit_own"


@dataclass(frozen=True)
class Beside:
    """What a picture needs of bins and response.

    Parameters
    ----------
    integrate, response
        As in a fit; None: as the record has them.
    variables : mapping of Hashable to DataArray
        What names in these, and in the record, stand for.
    """

    integrate: Any = None
    response: Any = None
    variables: Mapping[Hashable, xr.DataArray] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Labels, record: FitRecord, integrate: Any, response: Any) -> Beside:
        """All that is needed, at all positions.

        Raises
        ------
        RecordError
            The bounds, or the response, are needed and not there.
        ValueError, TypeError
            A name is not known, or the response is no array.
        """
        told = record.sampled or {"bins": {}, "response": None}
        leaves = _leaves(integrate)
        names: list[Any] = [one for one in leaves if isinstance(one, str)]
        if integrate is None:
            bins_asked(told["bins"], labels)
            names += [name for name in told["bins"].values() if name not in (None, UNNAMED)]
        if any(one is True for one in leaves):
            read = (labels.variables.get(one["coordinate"]) for one in record.inputs)
            named = [name_of_bounds(coordinate) for coordinate in read if coordinate is not None]
            names += [name for name in named if name in labels.variables]
        found = {name: labels.find("integrate", name) for name in names}
        if response is None and told["response"] is not None:
            refuse_lost(told["response"])
        if response is not None and response is not False:
            response = labels.find("response", response)
        return cls(integrate, response, found)

    def put_into(self, held: xr.Dataset, dims: tuple[Hashable, ...]) -> xr.Dataset:
        """``held``, samples with the dims ``dims``, with all arrays beside them; dims of their own get other names.

        Raises
        ------
        ValueError
            An array has other labels than the samples.
        """
        for number, array in enumerate(self._arrays()):
            bare = array.reset_coords(drop=True).rename({d: own for own, d in _own_dims(number, array, dims).items()})
            bare = bare.drop_vars([d for d in bare.indexes if d in dims and d not in held.indexes])
            try:
                bare = bare.rename(f"{_ARRAY}{number}")
                held = xr.merge([held, bare], join="exact", compat="override", combine_attrs="override")
            except ValueError as error:
                title = "response" if array is self.response else f"The array {array.name!r} of integrate"
                raise ValueError(
                    f"{title} does not have the labels of the data. Use .reindex_like(data), or select the same "
                    "positions of both."
                ) from error
        return held

    def selected(self, held: xr.Dataset, dims: tuple[Hashable, ...]) -> Beside:
        """The same at the position that was selected of what `put_into` gave."""

        def here(number: int, array: xr.DataArray) -> xr.DataArray:
            one = held[f"{_ARRAY}{number}"].reset_coords(drop=True)
            return one.rename(_own_dims(number, array, dims)).rename(array.name)

        return self._changed(here)

    def _arrays(self) -> list[xr.DataArray]:
        found: list[xr.DataArray] = []

        def seen(_: int, array: xr.DataArray) -> xr.DataArray:
            found.append(array)
            return array

        self._changed(seen)
        return found

    def _changed(self, change: Callable[[int, xr.DataArray], xr.DataArray]) -> Beside:
        """The same with each array changed; ``change`` gets its number and the array."""
        numbers = itertools.count()

        def one(value: Any) -> Any:
            return change(next(numbers), value) if isinstance(value, xr.DataArray) else value

        variables = {name: one(array) for name, array in self.variables.items()}
        return Beside(_each(self.integrate, one), one(self.response), variables)


def is_own(dim: Hashable) -> bool:
    """Whether a dim is one that `Beside.put_into` has renamed: it counts no positions."""
    return str(dim).startswith(_OWN)


def _own_dims(number: int, array: xr.DataArray, dims: tuple[Hashable, ...]) -> dict[str, Hashable]:
    """The dims that an array has beside ``dims``, by the names that they get beside the samples."""
    return {f"{_OWN}{number}_{k}": d for k, d in enumerate(d for d in array.dims if d not in dims)}


def _each(integrate: Any, one: Callable[[Any], Any]) -> Any:
    """``integrate`` with ``one`` applied to each of the bounds that it names."""
    if isinstance(integrate, Mapping):
        return {key: one(value) for key, value in integrate.items()}
    return [one(value) for value in integrate] if isinstance(integrate, list | tuple) else one(integrate)


def _leaves(integrate: Any) -> list[Any]:
    found: list[Any] = []
    _each(integrate, found.append)
    return found
