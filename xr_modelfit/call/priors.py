"""Priors of a call: what is known of parameters beforehand, as arrays that travel with the data."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.call.starts import Starts, is_ambiguous, parameter_number
from xr_modelfit.fitters.block_task import PRIORS, Role
from xr_modelfit.labels.coords import Labels
from xr_modelfit.messages import a
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.parameter_units.values import deviation_or_map, number_or_map

__all__ = ["GivenPriors", "resolve_priors"]

Value = float | xr.Variable


@dataclass(frozen=True)
class GivenPriors:
    """Means and standard deviations by role, and what the record says of them by parameter."""

    maps: dict[Role, xr.Variable] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """The parameters that have one."""
        return sorted({int(role.name) for role in self.maps})


def resolve_priors(
    labels: Labels, priors: Any, starts: Starts, remaining: tuple[Hashable, ...], system: UnitSystem
) -> GivenPriors:
    """Means and standard deviations of priors, in the numbers of the fit.

    Parameters
    ----------
    labels : Labels
    priors
        As the user gave them.
    starts : Starts
    remaining : tuple of Hashable
        The dims that are not fitted, in the data's order.
    system : UnitSystem

    Raises
    ------
    ValueError
        An unknown parameter, a unit that cannot be converted, a mean that is not finite, a deviation that is not
        positive, or a map that does not match the data.
    TypeError
        It is no mapping from parameters to pairs of numbers or DataArrays.
    """
    found = GivenPriors()
    if priors is None:
        return found
    problem = starts.problem
    if not isinstance(priors, Mapping) or isinstance(priors, xr.Dataset):
        name = problem.names[0]
        earlier = f" Of an earlier result: priors={{{name!r}: (fit[{name!r}], fit['{name}_stderr'])}}."
        raise TypeError(
            f"priors is {a(priors)}; pass {{parameter: (mean, standard deviation)}}: priors={{{name!r}: (mean, "
            f"deviation)}}.{earlier if isinstance(priors, xr.Dataset) else ''}"
        )
    for key, given in priors.items():
        j = parameter_number("priors", key, problem.model, problem.names)
        name, unit = problem.names[j], starts.units[j]
        if Role(PRIORS[0], j) in found.maps:
            raise ValueError(f"priors names the parameter {name!r} twice, the second time as {key!r}. Keep one.")
        pair = _pair(key, given)
        for number, value in enumerate(pair):
            _refuse_ambiguous(key, number, value, unit, system.parameters[j])
        of = system.parameters[j], labels, remaining, system
        mean = _number(number_or_map(f"priors[{key!r}][0]", pair[0], *of)[0])
        deviation = _number(deviation_or_map(f"priors[{key!r}][1]", pair[1], *of))
        _check_numbers(key, pair, mean, deviation)
        for kind, one in zip(PRIORS, (mean, deviation), strict=True):
            found.maps[Role(kind, j)] = xr.Variable((), one) if isinstance(one, float) else one
        told = [one / unit.inward if isinstance(one, float) else None for one in (mean, deviation)]
        found.described[name] = {"mean": told[0], "deviation": told[1], "units": unit.text}
    return found


def _pair(key: str, given: Any) -> tuple[Any, Any]:
    """Mean and standard deviation.

    Raises
    ------
    TypeError
    """
    if isinstance(given, Quantity) and given.shape == (2,):
        given = tuple(given)
    if not isinstance(given, tuple | list) or len(given) != 2:
        shown = f"{given!r}" if isinstance(given, str | int | float | tuple | list) else a(given)
        raise TypeError(
            f"priors[{key!r}] is {shown}; pass a pair (mean, standard deviation), each a number, a Quantity or a "
            f"DataArray: priors={{{key!r}: (120, 10)}}, for example."
        )
    if any(one is None for one in given):
        raise TypeError(
            f"priors[{key!r}] has None; a mean and a standard deviation are needed. Leave the parameter out if nothing "
            "is known of it; in a map, NaN is no prior at that position."
        )
    return given[0], given[1]


def _refuse_ambiguous(key: str, number: int, value: Any, given: ParameterUnit, own: ParameterUnit) -> None:
    """A plain number beside a start in another unit could be meant in either."""
    if is_ambiguous(value, given, own):
        raise ValueError(
            f"priors[{key!r}][{number}] has no unit, but the start of {given.name!r} is given in {given.text!r}. Say "
            f"what it is in: priors={{{key!r}: (mean * unit, deviation * unit)}}."
        )


def _number(value: float | xr.Variable | None) -> Value:
    """A float, of an array without dims too, if it is in memory; a map as it is."""
    assert value is not None
    if isinstance(value, float) or value.ndim or not value._in_memory:
        return value
    return float(value.values)


def _check_numbers(key: str, pair: tuple[Any, Any], mean: Value, deviation: Value) -> None:
    """Refuse numbers that make no prior; those in maps give their positions a status.

    Raises
    ------
    ValueError
    """
    if isinstance(mean, float) and not np.isfinite(mean):
        raise ValueError(f"priors[{key!r}][0] is {mean}; the mean must be finite. Leave out what is not known.")
    if isinstance(deviation, float) and not (np.isfinite(deviation) and deviation > 0.0):
        shown = f"{pair[1]}" if np.ndim(pair[1]) == 0 and not isinstance(pair[1], xr.DataArray) else f"{deviation}"
        raise ValueError(
            f"priors[{key!r}][1] is {shown}; the standard deviation must be positive and finite. Leave the prior out "
            f"if nothing is known. If the value is certain, fix the parameter: bounds={{{key!r}: (value, value)}}."
        )
