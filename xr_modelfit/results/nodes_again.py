"""Bins and response of a fit, found again where its model is evaluated."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.labels.bins import BETWEEN, UNNAMED, bins_of
from xr_modelfit.labels.coords import Labels, ModelInput
from xr_modelfit.labels.nodes import UNKNOWN, Nodes, nodes_of, refuse_between, shared_at_hand
from xr_modelfit.labels.responses import Response, response_of
from xr_modelfit.records.record import FitRecord, RecordError
from xr_modelfit.records.units import coordinate_numbers
from xr_modelfit.units.times import holds_times
from xr_modelfit.units.units import Measure, measure_of

__all__ = ["bins_asked", "nodes_again", "refuse_lost"]

_SAMPLE = "_modelfit_sample"


def nodes_again(
    record: FitRecord,
    inputs: Sequence[ModelInput],
    labels: Labels,
    new: tuple[Hashable, ...],
    integrate: Any,
    response: Any,
) -> Nodes | None:
    """The nodes at which a recorded model is evaluated; None where its values are the samples.

    Parameters
    ----------
    record : FitRecord
    inputs : sequence of ModelInput
        The coordinates of the evaluation, as numbers inside the fit.
    labels : Labels
        What names may stand for; the data has the dims of the values.
    new : tuple of Hashable
        The dims of the values that the result lacks.
    integrate, response
        As in a fit; None: as the record has them.

    Raises
    ------
    RecordError
        The bounds, or the response, are needed and not there.
    ValueError, TypeError
        They do not match.
    """
    told = record.sampled or {"points": None, "bins": {}, "response": None}
    asked = bins_asked(told["bins"], labels) if integrate is None else integrate
    bins = bins_of(labels, inputs, new, asked, _numbers_as_recorded(record, inputs, labels))
    found = _response(told["response"], inputs, labels, new) if response is None else None
    if response is not None:
        found = response_of(labels, inputs, new, response, _as_given(record, inputs, labels))
    if bins is None and found is None:
        return None
    if record.grid_dims is not None:
        refuse_between(bins, found)
    bins, inputs = shared_at_hand(bins, inputs, new)
    n_points = 1 if bins is None else told["points"] or UNKNOWN
    fitted = set(record.content["fitted_dims"])
    along = [one["name"] for one in record.inputs if fitted & set(one["dims"])]
    return nodes_of(bins, found, inputs, new, labels.data.sizes, n_points, along)


def bins_asked(named: Mapping[str, str | None], labels: Labels) -> dict[str, Any] | None:
    """The bins of the fit as an argument of `bins_of`; ``named`` are bounds by model input, as the record has them.

    Raises
    ------
    RecordError
        The bounds are not there.
    """
    if not named:
        return None
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
    return {key: BETWEEN if name is None else name for key, name in named.items()}


def _as_given(record: FitRecord, inputs: Sequence[ModelInput], labels: Labels) -> dict[str, tuple[None, Measure]]:
    """What the coordinates are in before they become numbers of the fit, as far as that is known."""
    read = {one["name"]: one.get("from", one["units"]) for one in record.inputs}
    found = {}
    for one in inputs:
        coordinate = labels.variables.get(one.coordinate)
        now = None if coordinate is None or one.measure.time is not None else measure_of(coordinate).text
        found[one.name] = (None, Measure(read[one.name] if now is None else now))
    return found


def _numbers_as_recorded(record: FitRecord, inputs: Sequence[ModelInput], labels: Labels) -> Any:
    recorded = {one["name"]: one for one in record.inputs}

    def numbers(one: ModelInput, bounds: xr.DataArray) -> xr.Variable:
        coordinate = labels.variables.get(one.coordinate)
        if coordinate is not None and not holds_times(bounds):  # by CF, bounds have no units of their own
            bounds = bounds.assign_attrs({**coordinate.attrs, **bounds.attrs})
        return coordinate_numbers(bounds, recorded[one.name])

    return numbers


def _response(told: Any, inputs: Sequence[ModelInput], labels: Labels, new: tuple[Hashable, ...]) -> Response | None:
    """The response of the fit."""
    if told is None:
        return None
    refuse_lost(told)
    values = np.asarray(told["values"], dtype=float)
    if told["offsets"] is not None:
        return Response(xr.Variable([_SAMPLE], values), np.asarray(told["offsets"], dtype=float))
    n = labels.data.sizes[new[0]] if len(new) == 1 else 0
    if values.shape != (n, n):
        raise RecordError(
            f"The fit had a response that is a matrix for {len(values)} samples, and {n} are asked for. Evaluate at "
            "the coordinates of the data, or pass response=False for the model itself."
        )
    return Response(xr.Variable([new[0], _SAMPLE], values), None)


def refuse_lost(told: Any) -> None:
    """Refuse to go on without a response that a record says there was, but could not hold.

    Raises
    ------
    RecordError
    """
    if told == "lost":
        raise RecordError(
            "The fit had a response that its record could not hold. Pass it, response=..., or response=False for the "
            "model itself."
        )
