"""Masks, errors and weights of a call, matched to the data by name."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.call.options import FitOptions
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.coords import Labels, bare
from xr_modelfit.parameter_units.parameters import UnitSystem
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Measure, measure_of, required_conversion

__all__ = ["Weighting", "resolve_weighting"]


@dataclass
class Weighting:
    """Arrays that go with the samples, and how the weights are meant.

    ``sigma``: the array holds standard errors. ``scalar_weight``: one weight for all samples. ``number``: the sigma
    or weight that it is made of, in the unit of the data.
    ``absolute``: errors of the parameters are not rescaled by the residuals. ``times``: what the
    array is multiplied by to be in the unit of the samples; ``times_above`` that of errors above the data,
    ``times_coord`` that of errors of the coordinate. ``counted``: samples are counts, which are never
    converted, and the array is their exposure. ``noise``: how it is correlated, "ar1" or "covariance".
    """

    maps: dict[Role, xr.Variable] = field(default_factory=dict)
    sigma: bool = False
    scalar_weight: float | None = None
    number: float | None = None
    absolute: bool = False
    times: float = 1.0
    counted: bool = False
    weighting: str | None = None  # the argument that it is
    exposure_units: str | None = None  # of an exposure that is one number
    times_above: float = 1.0
    times_coord: float = 1.0
    noise: str = ""

    @property
    def multiplied(self) -> dict[Role, float]:
        """By what each array of errors is multiplied."""
        factors = (self.times, self.times_above, self.times_coord)
        roles = (Role("weights"), Role("weights_above"), Role("coord_sigma"))
        return {role: by for role, by in zip(roles, factors, strict=True) if role in self.maps}

    @property
    def weighted(self) -> bool:
        return self.scalar_weight is not None or Role("weights") in self.maps

    def described(self) -> dict[str, Any]:
        """What the record of the fit says of the weights."""
        named = {"weights_above": "two_sided", "limit": "upper_limit", "coord_sigma": "coord_sigma"}
        described: dict[str, Any] = {"weighting": self.weighting, "absolute_sigma": self.absolute}
        if self.number is not None and self.weighting is not None:
            described[self.weighting] = self.number
            described |= {"exposure_units": self.exposure_units} if self.exposure_units else {}
        if self.noise:
            described["noise"] = self.noise
        return described | {word: True for kind, word in named.items() if Role(kind) in self.maps}


def resolve_weighting(labels: Labels, options: FitOptions, units: UnitSystem, counted: bool) -> Weighting:
    """Check and match the mask, errors, weights, exposure and limits; the data are counts where ``counted``.

    Raises
    ------
    ValueError
        Both sigma and weights, limits without sigma, a number that is not positive, a unit that is not the data's,
        dims or indexes that do not match.
    TypeError
        An array without names, or of the wrong type.
    """
    sigma: Any = options.sigma
    weights: Any = options.weights
    absolute_sigma = options.absolute_sigma
    if sigma is not None and weights is not None:
        raise ValueError(
            "sigma and weights are both given; they exclude each other. sigma is the standard error of each sample, "
            "weights multiply the residuals (1 / sigma up to a factor). Leave one out."
        )
    if not isinstance(absolute_sigma, bool | np.bool_ | None):
        raise TypeError(f"absolute_sigma is {absolute_sigma!r}; it must be True, False or None.")
    out = Weighting(absolute=sigma is not None if absolute_sigma is None else bool(absolute_sigma), counted=counted)
    if options.where is not None:
        out.maps[Role("where")] = _mask(labels, options.where)
    if counted:
        _scale_counts(out, units)
    _put_limits(out, labels, options)
    _put_coordinate(out, labels, options, units)
    given: dict[str, Any] = {"sigma": sigma, "weights": weights, "exposure": options.exposure}
    if isinstance(sigma, tuple):
        _put_sides(out, labels, given.pop("sigma"), units)
    for argument, value in given.items():
        if value is None:
            continue
        out.sigma, out.weighting = argument == "sigma", argument
        power = 1 if out.sigma else -1
        times = units.plain_factor(power)
        if isinstance(value, Quantity) and value.ndim == 0:
            if counted:
                out.exposure_units = write_unit(value.unit)
            else:
                times = units.sigma_factor(value, argument, power)
            value = float(value.value)
        if isinstance(value, tuple) and len(value) == 2:
            raise TypeError(
                f"{argument} is a pair, as if errors differed below and above; pass these as sigma=(lower, upper)."
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
            out.number = number / units.plain_factor(power)
        else:
            array = labels.find(argument, value)
            if array.dtype.kind not in "iuf":
                raise TypeError(
                    f"{argument} holds {array.dtype}; real numbers are needed. To leave samples out, use where=."
                )
            if counted:
                out.times, out.scalar_weight = times, None
            elif out.sigma or out.absolute:  # other weights are relative
                out.times = units.sigma_factor(array, argument, power)
            out.maps[Role("weights")] = bare(labels.data, array, argument, labels.data.dims)
    return out


def _scale_counts(out: Weighting, units: UnitSystem) -> None:
    """Have the exposure make up for the unit of a model that is not that of the counts, which stay what they are.

    Raises
    ------
    ValueError
        The units have different zero points.
    """
    how = units.data
    if how is None:
        return
    if how.offset != 0.0 or how.equivalencies is not None:
        raise ValueError(
            f"The data would be converted from {how.old} to {how.new}, the unit of the model, but counts cannot be. "
            "Give the model the unit of the data."
        )
    if how.factor != 1.0:
        out.scalar_weight = units.plain_factor(-1)


def _put_limits(out: Weighting, labels: Labels, options: FitOptions) -> None:
    """Which data are upper limits."""
    if options.upper_limit is None:
        return
    out.maps[Role("limit")] = _mask(labels, options.upper_limit, "upper_limit", "the datum is an upper limit")
    if options.sigma is None or not out.absolute:
        raise ValueError(
            "upper_limit is given without the errors of the data, and how well a model agrees with a limit depends on "
            "them. Pass sigma, which is then absolute."
        )


def _put_sides(out: Weighting, labels: Labels, sigma: tuple[Any, ...], units: UnitSystem) -> None:
    """Standard errors below and above the data."""
    if len(sigma) != 2:
        raise TypeError(f"sigma has {len(sigma)} parts; a pair is needed, (lower, upper), or one for both sides.")
    out.sigma, out.weighting = True, "sigma"
    for number, (role, value) in enumerate(zip((Role("weights"), Role("weights_above")), sigma, strict=True)):
        argument, times = f"sigma[{number}]", units.plain_factor()
        if isinstance(value, Quantity) and value.ndim == 0:
            times, value = units.sigma_factor(value, argument), float(value.value)
        if isinstance(value, bool | np.bool_ | None):
            raise TypeError(f"{argument} is {value}; pass a DataArray, a name or a number, positive on both sides.")
        if not isinstance(value, str | xr.DataArray) and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf":
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{argument} is {value}; a positive, finite number is needed.")
            out.maps[role] = xr.Variable((), float(value))
        else:
            array = labels.find(argument, value)
            if array.dtype.kind not in "iuf":
                raise TypeError(f"{argument} holds {array.dtype}; real numbers are needed.")
            times = units.sigma_factor(array, argument)
            out.maps[role] = bare(labels.data, array, argument, labels.data.dims)
        if number == 0:
            out.times = times
        else:
            out.times_above = times


def _put_coordinate(out: Weighting, labels: Labels, options: FitOptions, units: UnitSystem) -> None:
    """Standard errors of the coordinate that the model's one input reads."""
    value: Any = options.coord_sigma
    if value is None:
        return
    if options.sigma is None:
        raise ValueError(
            "coord_sigma is given without the errors of the data, and it is their sum that counts. Pass sigma too."
        )
    if len(units.inputs) != 1:
        raise ValueError(
            f"coord_sigma is given, but the model has {len(units.inputs)} inputs: it is for models of one. Leave it "
            "out, or make sigma larger by what the errors of the coordinates make of the data."
        )
    one = units.inputs[0]
    was = units.converted[one.name][1] if one.name in units.converted else one.measure
    if isinstance(value, Quantity) and value.ndim == 0:
        own, array = Measure(write_unit(value.unit)), xr.DataArray(float(value.value))
    elif not isinstance(value, str | bool | xr.DataArray) and np.ndim(value) == 0 and np.isreal(value):
        own, array = Measure(), xr.DataArray(float(value))
    else:
        array = labels.find("coord_sigma", value)
        own = measure_of(array)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"coord_sigma holds {array.dtype}; numbers are needed, in the unit of {one.coordinate!r}.")
    if array.ndim == 0 and array.chunks is None and not (np.isfinite(array.values) and array.values >= 0):
        raise ValueError(f"coord_sigma is {array.item()}; a finite number that is not negative is needed.")
    own = was if own.text is None else own
    if own.text is not None and one.measure.text is not None:
        what = "coord_sigma is", f"the coordinate {one.coordinate!r}"
        out.times_coord = required_conversion(own, one.measure, *what, difference=True).factor
    elif own.text is not None and isinstance(value, Quantity):
        raise ValueError(f"coord_sigma is in {own.text!r}, but the coordinate {one.coordinate!r} has no units.")
    out.maps[Role("coord_sigma")] = bare(labels.data, array, "coord_sigma", labels.data.dims)


def _mask(labels: Labels, mask: Any, argument: str = "where", meaning: str = "a sample is to be used") -> xr.Variable:
    if isinstance(mask, bool | np.bool_):
        raise TypeError(f"{argument} is {mask}; pass a boolean DataArray, True where {meaning}.")
    array = labels.find(argument, mask)
    if array.dtype.kind != "b":
        raise TypeError(
            f"{argument} holds {array.dtype}; it must be boolean, True where {meaning}. "
            f"Make it so: {argument}=quality == 0, for example."
        )
    return bare(labels.data, array, argument, labels.data.dims)
