"""The response of an instrument, by name: a kernel over offsets, or a matrix."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import dimensionless_unscaled

from xr_modelfit.labels.bins import at_hand
from xr_modelfit.labels.coords import Labels, ModelInput, bare
from xr_modelfit.messages import listed
from xr_modelfit.units.times import TimeAxis
from xr_modelfit.units.units import Measure, factor, measure_of, required_conversion

__all__ = ["Response", "response_of", "step_of"]

_UNIFORM = 1e-6  # tolerance, in steps, for equally spaced samples
_COUNTED = 1e-3  # the same for a kernel without a coordinate, whose offsets count samples
_NOTHING = 1e-12  # relative to the sum of absolute values: a sum that is 0 except for rounding
_RESOLVED = 0.1  # largest rounding error of an equally spaced coordinate, in steps

Converted = Mapping[str, tuple[Any, Measure]]  # measure of coordinates before their conversion, by model input


@dataclass(frozen=True)
class Response:
    """A kernel or a matrix that is applied to the model along the fitted dim."""

    values: xr.Variable  # (..., offset), or of a matrix (..., fitted dim, sample that sees it)
    offsets: np.ndarray | None  # (n_offsets,), as numbers inside the fit; None for a matrix


def response_of(
    labels: Labels, inputs: Sequence[ModelInput], fitted: tuple[Hashable, ...], response: Any, converted: Converted
) -> Response | None:
    """The response that a call names, if any. Arguments as in `bins_of`.

    Raises ValueError if its dims, its length or its unit do not match, or it is zero, or not finite; TypeError if it
    holds no real numbers.
    """
    if response is None or response is False:
        return None
    array = labels.find("response", response)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"response holds {array.dtype}; real numbers are needed.")
    read = [d for d in fitted if any(d in one.values.dims for one in inputs)]  # others are pooled
    if len(read) != 1:
        raise ValueError(
            f"response is given, and {len(read)} dims are fitted, {tuple(read)}: a response runs along one. Write a "
            "model that is convolved inside (scipy.signal.fftconvolve, for example)."
        )
    (dim,) = read
    own = [d for d in array.dims if d not in labels.data.dims]
    if any(array.sizes[d] == 0 for d in (*own, *fitted) if d in array.dims):
        raise ValueError(f"response is empty, with the dims {dict(array.sizes)}. Give the values of a response.")
    if len(own) != 1:
        raise ValueError(
            f"response has dims {array.dims}; a kernel has one dim of offsets that the data does not have, a matrix "
            f"{dim!r} and one more. Rename the dim of a kernel: response.rename({{{dim!r}: 'offset'}})."
        )
    if set(array.dims) <= {*own, *fitted}:
        array = array.compute()
    if dim not in array.dims:
        return _kernel(labels, inputs, dim, array, own[0], converted)
    if len(fitted) > 1:
        raise ValueError(
            f"response is a matrix along {dim!r}, and each fit pools the samples of {len(fitted)} dims, {fitted}. Give "
            "a kernel over offsets, or take the mean over the other dims before."
        )
    return _matrix(labels, array, dim, own[0])


def _matrix(labels: Labels, array: xr.DataArray, dim: Hashable, out: Hashable) -> Response:
    bare(labels.data, array.isel({out: 0}, drop=True), "response", labels.data.dims)
    n = labels.data.sizes[dim]
    if array.sizes[out] != n:
        raise ValueError(
            f"response is a matrix of {array.sizes[dim]} places along {dim!r} by {array.sizes[out]} along {out!r}; the "
            f"data has {n} samples, and each of them needs its column: {n} along {out!r}."
        )
    ours, theirs = labels.data.indexes.get(dim), array.indexes.get(out)
    if ours is not None and theirs is not None and not theirs.equals(ours) and np.all(theirs.isin(ours)):
        raise ValueError(
            f"response is a matrix with the labels of {dim!r} along {out!r}, in another order than the data has them. "
            f"Put them in order: response.sel({out}=data[{str(dim)!r}].values)."
        )
    measure = measure_of(array)
    unit = dimensionless_unscaled if measure.text is None else measure.unit
    times = None if unit is None else factor(unit, dimensionless_unscaled)
    if times is None:
        raise ValueError(
            f"response has the unit {measure.text!r}; a matrix has none, since the model's values are in the unit of "
            "the data. Divide it by its unit."
        )
    _require_weight(array, (dim, out))
    return Response(array.transpose(..., dim, out).variable.astype(float) * times, None)


def _kernel(
    labels: Labels,
    inputs: Sequence[ModelInput],
    dim: Hashable,
    array: xr.DataArray,
    own: Hashable,
    converted: Converted,
) -> Response:
    bare(labels.data, array.isel({own: 0}, drop=True), "response", labels.data.dims)
    along = [one for one in inputs if dim in one.values.dims]
    if len(along) != 1:
        raise ValueError(
            f"response is a kernel along {dim!r}, where {len(along)} inputs of the model read coordinates, "
            f"{listed(one.name for one in along)}: it shifts one. Give a matrix, over {dim!r} and one more dim."
        )
    _require_weight(array, (own,))
    offsets = _offsets(array, own, along[0], dim, converted)
    values: xr.Variable = xr.apply_ufunc(
        _divided_by_sum,
        array.transpose(..., own).variable.astype(float),
        input_core_dims=[[own]],
        output_core_dims=[[own]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    return Response(values, offsets)


def _divided_by_sum(values: np.ndarray) -> np.ndarray:
    """Kernels (..., n_offsets) of sum 1, else NaN; summed one by one: bits do not depend on the memory layout."""
    total, size = np.zeros(values.shape[:-1]), np.zeros(values.shape[:-1])
    with np.errstate(all="ignore"):  # a useless kernel fails its own fit alone
        for k in range(values.shape[-1]):
            total, size = total + values[..., k], size + np.abs(values[..., k])
        total = np.where(np.abs(total) > _NOTHING * size, total, np.nan)
        return np.asarray(values / total[..., None])


def _require_weight(array: xr.DataArray, own: tuple[Hashable, ...]) -> None:
    """Refuse a response in memory that is useless to all fits. If some fits can use it, the others get a status."""
    if not array.variable._in_memory or not array.size:
        return
    values, axes = array.values, tuple(array.dims.index(d) for d in own)
    finite = np.all(np.isfinite(values), axis=axes)
    if not finite.any():
        raise ValueError(
            f"response is not finite everywhere: {np.count_nonzero(~np.isfinite(values))} of {array.size} values "
            "are NaN or infinite. Fill it, with 0 where there is no response."
        )
    with np.errstate(all="ignore"):
        size = np.sum(np.abs(values), axis=axes)
        # The values of a matrix may have the sum 0; a kernel is divided by its sum.
        total = size if len(own) > 1 else np.abs(np.sum(values, axis=axes))
    if np.all((total <= _NOTHING * size) | ~finite):
        raise ValueError(
            "response has the sum 0, so that nothing is left of a model behind it: a kernel is divided by its sum, and "
            "a matrix multiplies the model. Check its values."
        )


def _offsets(array: xr.DataArray, own: Hashable, one: ModelInput, dim: Hashable, converted: Converted) -> np.ndarray:
    """Offsets of a kernel along a coordinate, as numbers inside the fit."""
    if own not in array.coords:
        n = array.sizes[own]
        step = step_of(at_hand(one.values, (dim,)), dim, _COUNTED)
        if step is None or n % 2 == 0:
            why = "is even" if n % 2 == 0 else f"counts samples, which are not equally spaced along {dim!r}"
            raise ValueError(
                f"response has {n} offsets along {own!r} and no coordinate there, so that it is centred on its middle, "
                f"but its number {why}. Give it one: response.assign_coords({own}=offsets in the unit of "
                f"{one.coordinate!r})."
            )
        return step * (np.arange(n) - n // 2)
    coordinate = array.coords[own]
    if coordinate.dtype.kind == "m":
        if one.measure.time is None:
            raise ValueError(
                f"response has durations along {own!r}, but the coordinate {one.coordinate!r} holds no times. "
                "Give numbers in its unit."
            )
        axis = TimeAxis.durations(one.measure.time.symbol)
        offsets = axis.numbers(coordinate.variable, "The offsets of the response").values
    elif coordinate.dtype.kind in "iuf":
        _, was = converted.get(one.name, (None, one.measure))
        inner, now = one.measure.text, coordinate.attrs.get("units", was.text)
        offsets = np.asarray(coordinate.values, dtype=float)
        if now is not None and inner is not None and now != inner:
            what, of = f"The offsets of the response, along {own!r}, are", f"{one.coordinate!r} in the fit"
            how = required_conversion(Measure(str(now)), Measure(inner), what, of, difference=True)
            offsets = offsets * how.factor
    else:
        raise TypeError(f"The offsets of the response, along {own!r}, hold {coordinate.dtype}; numbers are needed.")
    if not np.all(np.isfinite(offsets)):
        raise ValueError(f"The offsets of the response, along {own!r}, are not finite everywhere.")
    return np.asarray(offsets, dtype=float)


def step_of(values: xr.Variable, dim: Hashable, tolerance: float = _UNIFORM) -> float | None:
    """The step of a coordinate that all fits share and that is equally spaced to ``tolerance`` steps, else None.

    What rounding does to the coordinate is allowed on top.
    """
    if values.dims != (dim,) or not values._in_memory or values.size < 2:
        return None
    x = np.asarray(values.values, dtype=float)
    step = float((x[-1] - x[0]) / (x.size - 1))
    if not np.isfinite(step) or step == 0.0:
        return None
    resolution = np.finfo(values.dtype if values.dtype.kind == "f" else float).eps * np.max(np.abs(x))
    off_grid = np.abs(x - (x[0] + step * np.arange(x.size)))
    even = resolution <= _RESOLVED * abs(step) and np.all(off_grid <= tolerance * abs(step) + resolution)
    return step if even else None
