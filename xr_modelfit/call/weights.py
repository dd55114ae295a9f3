"""Masks, errors and weights of a call, matched to the data by name."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.coords import Labels, bare
from xr_modelfit.parameter_units.parameters import UnitSystem

__all__ = ["Companions", "resolve_companions"]


@dataclass
class Companions:
    """Arrays that go with the samples, and how the weights are meant.

    ``sigma``: the array holds standard errors. ``scalar_weight``: one weight for all samples.
    ``absolute``: errors of the parameters are not rescaled by the residuals. ``times``: what the
    array is multiplied by to be in the unit of the samples.
    """

    maps: dict[Role, xr.Variable] = field(default_factory=dict)
    sigma: bool = False
    scalar_weight: float | None = None
    absolute: bool = False
    times: float = 1.0

    @property
    def weighted(self) -> bool:
        return self.scalar_weight is not None or Role("weights") in self.maps

    def described(self) -> dict[str, Any]:
        """What the record of the fit says of the weights."""
        kind = "sigma" if self.sigma else "weights"
        return {"weighting": kind if self.weighted else None, "absolute_sigma": self.absolute}


def resolve_companions(
    labels: Labels, where: Any, sigma: Any, weights: Any, absolute_sigma: bool | None, units: UnitSystem
) -> Companions:
    """Check and match ``where``, ``sigma`` and ``weights``.

    Raises
    ------
    ValueError
        Both sigma and weights, a number that is not positive, a unit that is not the data's, dims
        or indexes that do not match.
    TypeError
        An array without names, or of the wrong type.
    """
    if sigma is not None and weights is not None:
        raise ValueError(
            "sigma and weights are both given; they exclude each other. sigma is the standard error of each sample, "
            "weights multiply the residuals (1 / sigma up to a factor). Leave one out."
        )
    if not isinstance(absolute_sigma, bool | np.bool_ | None):
        raise TypeError(f"absolute_sigma is {absolute_sigma!r}; it must be True, False or None.")
    out = Companions(absolute=sigma is not None if absolute_sigma is None else bool(absolute_sigma))
    if where is not None:
        out.maps[Role("where")] = _mask(labels, where)
    for argument, value in (("sigma", sigma), ("weights", weights)):
        if value is None:
            continue
        out.sigma = argument == "sigma"
        power = 1 if out.sigma else -1
        times = units.plain_factor(power)
        if isinstance(value, Quantity) and value.ndim == 0:
            times, value = units.sigma_factor(value, argument, power), float(value.value)
        if isinstance(value, tuple) and len(value) == 2:
            raise TypeError(
                f"{argument} is a pair, as if errors differed below and above; least squares knows one standard error "
                f"for each sample. Pass one, such as the mean of both: {argument}=(low + high) / 2."
            )
        if isinstance(value, bool | np.bool_):
            raise TypeError(f"{argument} is {value}; pass a DataArray, a name or a number. where= leaves samples out.")
        if not isinstance(value, str | xr.DataArray) and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf":
            number = float(value) * times
            if not (np.isfinite(number) and number > 0):
                raise ValueError(
                    f"{argument} is {number}; a positive, finite number is needed. To leave samples out, use where=."
                )
            out.scalar_weight = 1.0 / number if out.sigma else number
        else:
            array = labels.find(argument, value)
            if array.dtype.kind not in "iuf":
                raise TypeError(
                    f"{argument} holds {array.dtype}; real numbers are needed. To leave samples out, use where=."
                )
            if out.sigma or out.absolute:  # other weights are relative
                out.times = units.sigma_factor(array, argument, power)
            out.maps[Role("weights")] = bare(labels.data, array, argument, labels.data.dims)
    return out


def _mask(labels: Labels, where: Any) -> xr.Variable:
    if isinstance(where, bool | np.bool_):
        raise TypeError(f"where is {where}; pass a boolean DataArray, True where a sample is to be used.")
    array = labels.find("where", where)
    if array.dtype.kind != "b":
        raise TypeError(
            f"where holds {array.dtype}; it must be boolean, True where a sample is to be used. "
            "For example, where=quality == 0."
        )
    return bare(labels.data, array, "where", labels.data.dims)
