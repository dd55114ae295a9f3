"""The bins and the response of a fit, wherever its model is evaluated or drawn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.labels.bins import BETWEEN, UNNAMED, bins_of, name_of_bounds
from xr_modelfit.labels.coords import Labels, ModelInput
from xr_modelfit.labels.nodes import UNKNOWN, Nodes, nodes_of, refuse_between, shared_at_hand
from xr_modelfit.labels.responses import Response, response_of
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.records.units import coordinate_numbers
from xr_modelfit.results.points import require_same_positions
from xr_modelfit.units.times import holds_times
from xr_modelfit.units.units import Measure, measure_of

__all__ = ["Instrument", "recorded_nodes"]

_SAMPLE = "_modelfit_sample"
_NOTHING: Mapping[str, Any] = {"points": None, "bins": {}, "response": None}


def recorded_nodes(
    record: FitRecord,
    inputs: Sequence[ModelInput],
    labels: Labels,
    new: tuple[Hashable, ...],
    integrate: Any,
    response: Any,
) -> Nodes | None:
    """The nodes at which the model of a record is evaluated; None if its values are the samples.

    The ``inputs`` are numbers inside the fit. The data of the ``labels`` has the dims of the values; the result lacks
    the ``new`` ones. ``integrate`` and ``response`` are as in a fit; None means those of the record.
    """
    recorded = record.sampled or _NOTHING
    asked = _recorded_bins(recorded["bins"], labels) if integrate is None else integrate
    bins = bins_of(labels, inputs, new, asked, _numbers_as_recorded(record, labels))
    if response is None:
        found = _recorded_response(recorded["response"], labels, new)
    else:
        found = response_of(labels, inputs, new, response, _as_given(record, inputs, labels))
    if bins is None and found is None:
        return None
    if record.grid_dims is not None:
        refuse_between(bins, found)
    bins, inputs = shared_at_hand(bins, inputs, new)
    n_points = 1 if bins is None else recorded["points"] or UNKNOWN
    fitted = set(record.content["fitted_dims"])
    along = [one["name"] for one in record.inputs if fitted & set(one["dims"])]
    return nodes_of(bins, found, inputs, new, labels.data.sizes, n_points, along)


def _recorded_bins(named: Mapping[str, str | None], labels: Labels) -> dict[str, Any] | None:
    """The recorded bins as an argument of `bins_of`; ``named`` are the names of the bounds by model input."""
    for name in named.values():
        if name == UNNAMED:
            raise RecordError(
                "The fit took means over bins whose bounds were given as an array without a name. Give them again, "
                "integrate=..., or pass integrate=False for the model itself."
            )
        if name is not None and name not in labels.variables:
            raise RecordError(
                f"The fit took means over the bins {name!r}, which are not there. Pass the Dataset that has them, "
                "integrate=True for bins that end between neighbours, or integrate=False for the model itself."
            )
    return {key: BETWEEN if name is None else name for key, name in named.items()} or None


def _as_given(record: FitRecord, inputs: Sequence[ModelInput], labels: Labels) -> dict[str, tuple[None, Measure]]:
    """The units of the coordinates before they become numbers inside the fit, if they are known."""
    read = {one["name"]: one.get("from", one["units"]) for one in record.inputs}
    found = {}
    for one in inputs:
        coordinate = labels.variables.get(one.coordinate)
        now = None if coordinate is None or one.measure.time is not None else measure_of(coordinate).text
        found[one.name] = (None, Measure(read[one.name] if now is None else now))
    return found


def _numbers_as_recorded(record: FitRecord, labels: Labels) -> Callable[[ModelInput, xr.DataArray], xr.Variable]:
    """The function that turns bounds of a coordinate into numbers inside the fit."""
    recorded = {one["name"]: one for one in record.inputs}

    def numbers(one: ModelInput, bounds: xr.DataArray) -> xr.Variable:
        coordinate = labels.variables.get(one.coordinate)
        if coordinate is not None and not holds_times(bounds):  # by CF, bounds have no units of their own
            bounds = bounds.assign_attrs({**coordinate.attrs, **bounds.attrs})
        return coordinate_numbers(bounds, recorded[one.name])

    return numbers


def _recorded_response(recorded: Any, labels: Labels, new: tuple[Hashable, ...]) -> Response | None:
    """The response that the record holds."""
    if recorded is None:
        return None
    _refuse_lost(recorded)
    values = np.asarray(recorded["values"], dtype=float)
    if recorded["offsets"] is not None:
        return Response(xr.Variable([_SAMPLE], values), np.asarray(recorded["offsets"], dtype=float))
    n = labels.data.sizes[new[0]] if len(new) == 1 else 0
    if values.shape != (n, n):
        raise RecordError(
            f"The fit had a response that is a matrix for {len(values)} samples, and {n} are asked for. Evaluate at "
            "the coordinates of the data, or pass response=False for the model itself."
        )
    return Response(xr.Variable([new[0], _SAMPLE], values), None)


def _refuse_lost(recorded: Any) -> None:
    if recorded == "lost":
        raise RecordError(
            "The fit had a response that its record could not hold. Pass it, response=..., or response=False for the "
            "model itself."
        )


@dataclass(frozen=True)
class Instrument:
    """Bins and response of a picture, as arguments of an evaluation."""

    integrate: Any
    response: Any
    variables: Mapping[Hashable, xr.DataArray]  # the bounds that arguments and record name

    @classmethod
    def of(cls, labels: Labels, record: FitRecord, integrate: Any, response: Any) -> Instrument:
        """The arrays at all positions; refuses unknown names, and missing bounds or responses."""
        recorded = record.sampled or _NOTHING
        given: list[Any] = []
        _each(integrate, given.append)
        names: list[Any] = [one for one in given if isinstance(one, str)]
        if integrate is None:
            bins = _recorded_bins(recorded["bins"], labels) or {}
            names += [name for name in bins.values() if name is not BETWEEN]
        if any(one is True for one in given):
            read = (labels.variables.get(one["coordinate"]) for one in record.inputs)
            named = [name_of_bounds(coordinate) for coordinate in read if coordinate is not None]
            names += [name for name in named if name in labels.variables]
        if response is None:
            _refuse_lost(recorded["response"])
        elif response is not False:
            response = labels.find("response", response)
        return cls(integrate, response, {name: labels.find("integrate", name) for name in names})

    def at(self, data: xr.DataArray, position: Mapping[Hashable, int]) -> Instrument:
        """The arrays at one position of the data, computed; refuses arrays with other labels."""

        def here(array: Any) -> Any:
            if not isinstance(array, xr.DataArray):
                return array
            title = "response" if array is self.response else f"The array {array.name!r} of integrate"
            require_same_positions(array, title, data, "data")
            numbers = {d: i for d, i in position.items() if d in array.dims}
            return array.reset_coords(drop=True).isel(numbers, drop=True).compute()

        variables = {name: here(array) for name, array in self.variables.items()}
        return Instrument(_each(self.integrate, here), here(self.response), variables)


def _each(integrate: Any, change: Callable[[Any], Any]) -> Any:
    """``integrate`` with a function applied to each of its bounds."""
    if isinstance(integrate, Mapping):
        return {key: change(value) for key, value in integrate.items()}
    return [change(value) for value in integrate] if isinstance(integrate, list | tuple) else change(integrate)
