"""One position of a result and of its data, by label."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xr_modelfit.messages import listed, suggestion
from xr_modelfit.records.record import FitRecord

__all__ = ["index_label", "label_text", "labels_at", "number_at", "one_position", "place_text"]

_NEAR = 1e-6  # of the step between labels: as good as the label itself


def one_position(
    data: xr.Dataset,
    result: xr.Dataset,
    record: FitRecord,
    position: Mapping[str, Any],
    kept: Collection[Hashable] = (),
) -> tuple[xr.Dataset, xr.Dataset, dict[Hashable, str]]:
    """The samples and the fit at one position, and its labels.

    A dim that ``position`` leaves out is taken from what was selected before, of the data or of the result, or has one
    position. Dims that are ``kept`` have no positions.

    Raises
    ------
    ValueError
        A dim is unknown or missing, or a label is not there.
    """
    fitted = record.content["fitted_dims"]
    remaining = list(result[record.variable("fit_status")].dims)
    others = [d for d in data.dims if str(d) not in fitted and d not in remaining and d not in kept]
    dims: list[Hashable] = [*remaining, *others]
    names = {str(d): d for d in dims}
    chosen: dict[Hashable, Any] = {}
    settled = [str(n) for n in [*result.coords, *data.coords] if str(n) not in names]
    for key, label in position.items():
        if key in names:
            chosen[names[key]] = label
        elif key not in settled or np.ndim(label) or not _agrees(key, label, data, result):
            raise ValueError(
                f"plot_fit got {key!r}, but the dims of the fits are {tuple(names)}.{suggestion(key, names)}"
            )
    labels: dict[Hashable, str] = {}
    for dim in dims:
        if dim not in chosen:
            chosen[dim] = _settled(dim, data, result)
        number, shown = number_at(result if dim in remaining else data, dim, chosen[dim])
        label = index_label(result if dim in remaining else data, dim, number)
        if dim in remaining and dim in data.dims:
            data = data.isel({dim: _same_position(data, result, dim, number, label)})
        elif dim in others:
            data = data.isel({dim: number})
        if dim in remaining:
            result = result.isel({dim: number})
        labels[dim] = shown
    return data, result, labels


def _settled(dim: Hashable, data: xr.Dataset, result: xr.Dataset) -> Any:
    """The label along a dim that the call leaves out, where there is no choice."""
    for one, other in ((data, result), (result, data)):
        if dim in one.coords and one.coords[dim].ndim == 0 and dim in other.dims:
            return one.coords[dim].values[()]
    holder = result if dim in result.dims else data
    if holder.sizes[dim] == 1:
        return index_label(holder, dim, 0)
    example = index_label(holder, dim, holder.sizes[dim] // 2)
    raise ValueError(
        f"plot_fit draws one fit, and there are {holder.sizes[dim]} along {dim!r}. Name one, "
        f"plot_fit(fit, {dim}={_written(example)}), or select it before: fit.isel({dim}={holder.sizes[dim] // 2})."
    )


def _agrees(key: str, label: Any, data: xr.Dataset, result: xr.Dataset) -> bool:
    """Whether a scalar coordinate has this label already."""
    held = [o.coords[key] for o in (result, data) if key in o.coords]
    return all(one.ndim == 0 and one.values[()] == label for one in held)


def index_label(holder: xr.DataArray | xr.Dataset, dim: Hashable, number: int) -> Any:
    """The label of a position; its number along a dim without an index."""
    return holder.indexes[dim][number] if dim in holder.indexes else number


def labels_at(holder: xr.DataArray | xr.Dataset, at: Mapping[Hashable, int]) -> dict[Hashable, Any]:
    """The labels of a position that is given by numbers."""
    labels = {dim: index_label(holder, dim, number) for dim, number in at.items()}
    return {dim: label.item() if isinstance(label, np.generic) else label for dim, label in labels.items()}


def label_text(label: Any) -> str:
    """A label as people read it: no time of day where it is midnight."""
    return f"{label:.10g}" if isinstance(label, float) else _written(label).strip("'")


def place_text(labels: Mapping[Hashable, Any]) -> str:
    """Labels on one line: ``y=3, x=5``."""
    return ", ".join(f"{dim}={label_text(label)}" for dim, label in labels.items())


def number_at(holder: xr.Dataset, dim: Hashable, label: Any) -> tuple[int, str]:
    """The number of the position that bears a label, and the label as text.

    Raises
    ------
    ValueError
        The label is not there (the message names the nearest), or it names several positions.
    """
    if isinstance(label, slice) or np.ndim(label):
        raise ValueError(f"{dim} is {label!r}; plot_fit draws one fit, so one label is needed.")
    label = label.item() if isinstance(label, np.generic) and label.dtype.kind in "biufU" else label
    label = label.values[()] if isinstance(label, xr.DataArray) else label
    size = holder.sizes[dim]
    if dim not in holder.indexes:
        if not isinstance(label, int) or not 0 <= label < size:
            raise ValueError(
                f"{dim} is {label!r}; {dim!r} has no coordinate, so number the position from 0 to {size - 1}."
            )
        return label, str(label)
    index = holder.indexes[dim]
    try:
        found = index.get_loc(label)
    except (KeyError, TypeError, ValueError, pd.errors.InvalidIndexError):
        found = _nearest(index, dim, label)
    if isinstance(found, np.ndarray):
        found = np.flatnonzero(found) if found.dtype == bool else found
        if len(found) != 1:
            raise ValueError(f"{dim}={label!r} names {len(found)} positions; use .isel({dim}=...) on the fit.")
        found = found[0]
    if isinstance(found, slice):
        numbers = range(*found.indices(size))
        if len(numbers) != 1:
            raise ValueError(
                f"{dim}={label!r} names {len(numbers)} positions. Name one: {dim}={_written(index[numbers[0]])}."
            )
        found = numbers[0]
    return int(found), label_text(index[int(found)])


def _nearest(index: pd.Index, dim: Hashable, label: Any) -> int:
    """The position of a label that differs by rounding only.

    Raises
    ------
    ValueError
        There is none; with the nearest label.
    """
    try:
        distances = np.abs(np.asarray(index - type(index)([label])[0]))
        nearest = int(np.argmin(distances))
        numeric = distances.dtype.kind == "f"
    except Exception:  # labels of different kinds
        words = [str(one) for one in index]
        hint = suggestion(label, words) or f" It has {listed(words[:3])}{', ...' if len(words) > 3 else ''}."
        raise ValueError(f"{dim} has no label {label!r}.{hint}") from None
    steps = np.abs(np.diff(np.sort(np.asarray(index)))) if numeric else None
    if steps is not None and steps.size and distances[nearest] <= _NEAR * steps.min():
        return nearest
    raise ValueError(
        f"{dim} has no label {label!r}; the nearest is {_written(index[nearest])}: "
        f"plot_fit(fit, {dim}={_written(index[nearest])})."
    )


def _written(label: Any) -> str:
    """A label as it is typed: dates as text without a time of midnight."""
    if isinstance(label, int | float | np.integer | np.floating):
        return repr(label.item() if isinstance(label, np.generic) else label)
    return repr(str(label).removesuffix(" 00:00:00"))


def _same_position(data: xr.Dataset, result: xr.Dataset, dim: Hashable, number: int, label: Any) -> int:
    """The number of the position in the data."""
    if dim in data.indexes and dim in result.indexes:
        found = data.indexes[dim].get_indexer_for([label])
        if len(found) != 1 or found[0] < 0:
            raise ValueError(f"The fit has {dim}={_written(label)}, the data has not. Pass the data that was fitted.")
        return int(found[0])
    if data.sizes[dim] != result.sizes[dim]:
        raise ValueError(
            f"The data has {data.sizes[dim]} positions along {dim!r}, the result {result.sizes[dim]}, and there are no "
            "labels to match them by. Select the same positions of both."
        )
    return number
