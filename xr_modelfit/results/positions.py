"""One position of a result and of its data, by label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.records.record import FitRecord
from xr_modelfit.results.points import require_same_size

__all__ = ["index_label", "label_text", "labels_at", "number_at", "one_position", "place_text"]

_NEAR = 1e-6  # of the step between labels: a difference by rounding

Numbers = dict[Hashable, int]


def one_position(
    data: xr.DataArray, result: xr.Dataset, record: FitRecord, position: Mapping[str, Any]
) -> tuple[Numbers, Numbers, dict[Hashable, str]]:
    """The indices of a position in the data and in the result, and its labels as text.

    A dim may be left out of ``position`` if the data or the result was selected along it before, or if it has size 1.
    """
    fitted = record.content["fitted_dims"]
    remaining = result[record.variable("fit_status")].dims
    others = [d for d in data.dims if str(d) not in fitted and d not in remaining]
    names = {str(d): d for d in (*remaining, *others)}
    for key, label in position.items():
        held = [c for one in (result, data) for n, c in one.coords.items() if str(n) == key]
        known = held and np.ndim(label) == 0 and all(c.ndim == 0 and c.values[()] == label for c in held)
        if key not in names and not known:
            raise ValueError(
                f"plot_fit got {key!r}, but the dims of the fits are {tuple(names)}.{suggestion(key, names)}"
            )
    in_data: Numbers = {}
    in_result: Numbers = {}
    labels: dict[Hashable, str] = {}
    for name, dim in names.items():
        holder = result if dim in remaining else data
        number = number_at(holder, dim, position[name] if name in position else _settled(dim, data, result))
        label = index_label(holder, dim, number)
        if dim in remaining:
            in_result[dim] = number
        if dim in data.dims:
            in_data[dim] = _same_position(data, result, dim, number, label) if dim in remaining else number
        labels[dim] = label_text(label)
    return in_data, in_result, labels


def _settled(dim: Hashable, data: xr.DataArray, result: xr.Dataset) -> Any:
    """The label along a dim that the call leaves out, if there is only one."""
    for one, other in ((data, result), (result, data)):
        if dim in one.coords and one.coords[dim].ndim == 0 and dim in other.dims:
            return one.coords[dim].values[()]
    holder = result if dim in result.dims else data
    size = holder.sizes[dim]
    if size == 1:
        return index_label(holder, dim, 0)
    raise ValueError(
        f"plot_fit draws one fit, and there are {size} along {dim!r}. Name one, plot_fit(fit, "
        f"{dim}={_written(index_label(holder, dim, size // 2))}), or select it before: fit.isel({dim}={size // 2})."
    )


def index_label(holder: xr.DataArray | xr.Dataset, dim: Hashable, number: int) -> Any:
    """The label of a position; its index along a dim without labels."""
    return holder.indexes[dim][number] if dim in holder.indexes else number


def labels_at(holder: xr.DataArray | xr.Dataset, at: Mapping[Hashable, int]) -> dict[Hashable, Any]:
    """The labels of a position that is given by indices."""
    labels = {dim: index_label(holder, dim, number) for dim, number in at.items()}
    return {dim: label.item() if isinstance(label, np.generic) else label for dim, label in labels.items()}


def label_text(label: Any) -> str:
    """A label as people read it: no time of day where it is midnight."""
    return f"{label:.10g}" if isinstance(label, float) else _written(label).strip("'")


def place_text(labels: Mapping[Hashable, Any]) -> str:
    """Labels on one line: ``y=3, x=5``."""
    return ", ".join(f"{dim}={label_text(label)}" for dim, label in labels.items())


def number_at(holder: xr.DataArray | xr.Dataset, dim: Hashable, label: Any) -> int:
    """The index of a label; the error for a missing label names the nearest one."""
    if isinstance(label, slice) or np.ndim(label):
        raise ValueError(f"{dim} is {label!r}; plot_fit draws one fit, so one label is needed.")
    label = label.values[()] if isinstance(label, xr.DataArray) else label
    label = label.item() if isinstance(label, np.generic) and label.dtype.kind in "biufU" else label
    size = holder.sizes[dim]
    if dim not in holder.indexes:
        if not isinstance(label, int) or not 0 <= label < size:
            raise ValueError(
                f"{dim} is {label!r}; {dim!r} has no coordinate, so number the position from 0 to {size - 1}."
            )
        return int(label)
    index = holder.indexes[dim]
    try:
        found = np.atleast_1d(np.arange(size)[index.get_loc(label)])
    except (KeyError, TypeError, ValueError, pd.errors.InvalidIndexError):
        return _nearest(index, dim, label)
    if len(found) != 1:
        raise ValueError(
            f"{dim}={label!r} names {len(found)} positions. Name one: {dim}={_written(index[found[0]])}, or select it "
            f"before: fit.isel({dim}={found[0]})."
        )
    return int(found[0])


def _nearest(index: pd.Index, dim: Hashable, label: Any) -> int:
    """The index of a label that differs by rounding only."""
    try:
        distances = np.abs(np.asarray(index - type(index)([label])[0]))
        nearest = int(np.argmin(distances))
    except Exception:  # labels of different kinds
        words = [str(one) for one in index]
        hint = suggestion(label, words) or f" It has {listed(words[:3])}{', ...' if len(words) > 3 else ''}."
        raise ValueError(f"{dim} has no label {label!r}.{hint}") from None
    if distances.dtype.kind == "f" and index.size > 1:
        steps = np.abs(np.diff(np.sort(np.asarray(index))))
        if distances[nearest] <= _NEAR * steps.min():
            return nearest
    written = _written(index[nearest])
    raise ValueError(f"{dim} has no label {label!r}; the nearest is {written}: plot_fit(fit, {dim}={written}).")


def _written(label: Any) -> str:
    """A label as a user types it: dates as text, without a time of midnight."""
    if isinstance(label, int | float | np.integer | np.floating):
        return repr(label.item() if isinstance(label, np.generic) else label)
    return repr(str(label).removesuffix(" 00:00:00"))


def _same_position(data: xr.DataArray, result: xr.Dataset, dim: Hashable, number: int, label: Any) -> int:
    """The index in the data of a position of the result."""
    if dim not in data.indexes or dim not in result.indexes:
        require_same_size(data, "The data", result, "result", dim)
        return number
    found = data.indexes[dim].get_indexer_for([label])
    if len(found) != 1 or found[0] < 0:
        raise ValueError(f"The fit has {dim}={_written(label)}, but the data does not. Pass the data that was fitted.")
    return int(found[0])
