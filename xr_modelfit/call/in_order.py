"""Values in the order of the parameters, as `scipy.optimize.curve_fit` takes them: what is written instead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.messages import a, numbers_in_order, starts_by_name

__all__ = ["no_bounds", "no_starts", "refuse_coordinates"]


def no_starts(p0: Any, names: Sequence[str] = ()) -> TypeError:
    """What is said of a ``p0`` that has no names; ``names`` are those of the parameters, where they are known."""
    each = ", ".join(f"{name!r}: ..." for name in names) or "'amplitude': 2.0"
    example = starts_by_name(p0, names) or f"p0={{{each}}}"
    return TypeError(
        f"p0 is {a(p0)}; pass {{parameter: number or DataArray}}, for example {example}, or an earlier result. Values "
        "have names here, no order."
    )


def no_bounds(bounds: Any, names: Sequence[str]) -> TypeError:
    """What is said of ``bounds`` that have no names."""
    pairs = ["(low, high)"] * len(names)
    if isinstance(bounds, tuple | list) and len(bounds) == 2:
        low, high = ([ends[0]] * len(names) if len(ends := numbers_in_order(side)) == 1 else ends for side in bounds)
        if len(low) == len(high) == len(names):
            pairs = [f"({one}, {other})" for one, other in zip(low, high, strict=True)]
    each = ", ".join(f"{name!r}: {pair}" for name, pair in zip(names, pairs, strict=True)) or "parameter: (low, high)"
    return TypeError(
        f"bounds is {a(bounds)}; pass {{parameter: (low, high)}}, with None where there is no bound: "
        f"bounds={{{each}}}. Lists in order, as scipy takes them, have no names."
    )


def refuse_coordinates(dim: Any, dims: Collection[Any]) -> None:
    """Refuse values of the coordinate where the name of a dim goes, as the second argument of curve_fit is.

    Raises
    ------
    TypeError
    """
    arrays = np.ndarray | xr.DataArray | xr.Variable
    listed = isinstance(dim, list | tuple) and any(isinstance(one, float | np.floating | arrays) for one in dim)
    if isinstance(dim, arrays) or listed:
        raise TypeError(
            f"dim is {a(dim)}; pass the name of a dim, one of {tuple(dims)}. The values of its coordinate are read "
            "from the data: data.assign_coords({name: values}) puts them there."
        )
