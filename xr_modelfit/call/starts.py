"""Start values, bounds and constraints of a call: from the model, ``p0`` and ``bounds``.

Scalars go into the `models.problem.Problem`; whatever varies from fit to fit becomes a map
that travels with the data.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.call.earlier_results import require_same_time, starts_of
from xr_modelfit.call.in_order import no_bounds
from xr_modelfit.call.start_requests import StartRequest
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.foreign_methods import same_parameter
from xr_modelfit.labels.coords import Labels
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.models.expression import result_names, scalar_model
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.ties import TieInUnits
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.parameter_units.values import number_or_map
from xr_modelfit.units.units import plain

__all__ = ["START", "Starts", "is_ambiguous", "parameter_number", "resolve_starts"]

START = "_modelfit_start"  # the dim of several starts, in the arrays of a block

_ABOVE_ZERO = 4 * float(np.finfo(np.float32).tiny)  # astropy's smallest width, and rounding

Value = float | xr.DataArray
BoundsArg = Mapping[str, tuple[Any, Any]] | None


@dataclass
class Starts:
    """The problem of a call, the units of its parameters, and the maps that vary from fit to fit.

    ``estimated`` (n_starts, K) says which parameters are estimated from the data. Maps of starts have the dim `START`
    last where they differ from one start to the next.
    """

    problem: Problem
    units: tuple[ParameterUnit, ...]
    maps: dict[Role, xr.Variable]
    n_starts: int
    estimated: np.ndarray


def resolve_starts(
    labels: Labels,
    model: Model,
    requests: Sequence[StartRequest],
    bounds: BoundsArg,
    remaining: tuple[Hashable, ...],
    units: UnitSystem,
) -> Starts:
    """Start values, bounds and constraints by parameter; one request for each start of a fit.

    ``remaining`` are the dims that are not fitted, in the data's order. Raises ValueError for a unit that cannot be
    converted, an unknown parameter, a scalar start outside its bounds, bounds in the wrong order, or a map that does
    not match the data; TypeError for a value that is neither a number nor a DataArray.
    """
    model = model if units.model is None else units.model
    names = result_names(model)
    if bounds is not None and not isinstance(bounds, Mapping):
        raise no_bounds(bounds, names)
    reader = _Reader(labels, remaining, names, units)
    of_model = _model_starts(labels, model, remaining, units)
    each = []
    for one in requests:
        if isinstance(one.values, xr.Dataset):
            require_same_time(one.values, units)
        each.append(of_model | reader.starts(starts_of(one.values, names, labels.data.name), model))
    lows, highs = _model_bounds(model, units)
    for key, pair in (bounds or {}).items():
        j = parameter_number("bounds", key, model, names)
        lows[j], highs[j] = reader.bounds(key, j, pair)
    template = scalar_model(model)
    if units.carried:
        _tie_in_units(template, model, units)
    K = len(names)
    held, tied = template.fixed, template.tied  # astropy looks at all parameters for each of these
    fixed = np.array([bool(held[n]) for n in template.param_names])
    ties = tuple(tied[n] or None for n in template.param_names)
    lower, upper = np.full(K, -np.inf), np.full(K, np.inf)
    maps: dict[Role, xr.Variable] = {}
    for j in range(K):
        if fixed[j] or ties[j] is not None:  # its bounds stay on the model, and play no part
            lows.pop(j, None), highs.pop(j, None)
    _place("lower", lows, lower, maps)
    _place("upper", highs, upper, maps)
    asked = np.array([[one.estimated is None or _is_in(one.estimated, j, model, names) for j in range(K)]
                      for one in requests])  # fmt: skip
    start = np.array(template.parameters, dtype=float)
    for given, estimated in zip(each, asked, strict=True):
        _moved_inside(given, estimated, lower, upper)
        numbers = np.array([v if isinstance(v := given[j], float) else np.nan for j in range(K)])
        given_maps = {j for j, v in given.items() if isinstance(v, xr.Variable)}
        _check_scalars(reader.units, numbers, lower, upper, fixed, ties, maps, given_maps)
    _place("start", _together(each), start, maps)
    for j in np.flatnonzero((lower == upper) & ~fixed).tolist():
        if Role("lower", j) not in maps and Role("upper", j) not in maps:
            fixed[j], start[j] = True, lower[j]
            maps.pop(Role("start", j), None)
    _constrain(template, start, lower, upper, fixed)
    problem = Problem(template, names, start, lower, upper, fixed, ties)
    return Starts(problem, tuple(reader.units), maps, len(requests), asked & problem.free)


def _place(
    kind: str, given: Mapping[int, float | xr.Variable | None], numbers: np.ndarray, maps: dict[Role, xr.Variable]
) -> None:
    """Put numbers (K,) and maps in their places."""
    for j, value in given.items():
        if isinstance(value, xr.Variable):
            maps[Role(kind, j)] = value
        elif value is not None:
            numbers[j] = value


def _together(each: Sequence[Mapping[int, float | xr.Variable]]) -> dict[int, float | xr.Variable]:
    """The starts of all requests; what differs from one to the next is a map along the dim of starts, its last."""
    if len(each) == 1:
        return dict(each[0])
    found: dict[int, float | xr.Variable] = {}
    for j, first in each[0].items():
        values = [one[j] for one in each]
        if isinstance(first, float) and all(isinstance(v, float) and v == first for v in values):
            found[j] = first
            continue
        arrays = xr.broadcast(*(xr.DataArray(v) for v in values))
        found[j] = xr.concat(arrays, START).variable.transpose(..., START)
    return found


def _moved_inside(
    given: dict[int, float | xr.Variable], estimated: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> None:
    """Move starts inside their bounds: those but for rounding outside, and those that are estimated anyway."""
    for j, value in given.items():
        if not isinstance(value, float):
            continue
        for bound in (lower[j], upper[j]):
            if _same(value, bound):
                given[j] = value = float(bound)
        if estimated[j] and not lower[j] <= value <= upper[j] and lower[j] <= upper[j]:
            middle = 0.5 * (lower[j] + upper[j])
            given[j] = float(middle if np.isfinite(middle) else np.clip(value, lower[j], upper[j]))


def _is_in(keys: Iterable[str], j: int, model: Model, names: tuple[str, ...]) -> bool:
    """Whether parameter ``j`` is among those that some keys name."""
    return any(parameter_number("p0", key, model, names) == j for key in keys)


def _tie_in_units(template: Model, model: Model, units: UnitSystem) -> None:
    owns, inward = tuple(p.own for p in units.parameters), tuple(p.inward for p in units.parameters)
    for j, name in enumerate(template.param_names):
        parameter = getattr(template, name)
        if parameter.tied:
            parameter.tied = TieInUnits(parameter.tied, model, tuple(template.param_names), owns, inward, j)


def _model_starts(
    labels: Labels, model: Model, remaining: tuple[Hashable, ...], units: UnitSystem
) -> dict[int, float | xr.Variable]:
    """Start values that the model carries: numbers, or maps over the remaining dims in order."""
    shape = tuple(labels.data.sizes[d] for d in remaining)
    starts: dict[int, float | xr.Variable] = {}
    for j, name in enumerate(model.param_names):
        value = np.asarray(getattr(model, name).value, dtype=float) * units.parameters[j].inward
        if value.size == 1:
            starts[j] = float(value.reshape(()))
            continue
        try:
            starts[j] = xr.Variable(remaining, np.broadcast_to(value, shape))
        except ValueError:
            raise ValueError(
                f"model.{name} has values of shape {value.shape}, the remaining dims {tuple(map(str, remaining))} have "
                f"shape {shape}. Give a map by name instead: p0={{{name!r}: DataArray}}."
            ) from None
    return starts


def _model_bounds(model: Model, units: UnitSystem) -> tuple[dict[int, Any], dict[int, Any]]:
    """Bounds that the model carries; they are in the units of its parameters."""
    lows: dict[int, Any] = {}
    highs: dict[int, Any] = {}
    bounds = model.bounds
    for j, name in enumerate(model.param_names):
        inward = units.parameters[j].inward
        low, high = (None if v is None or np.isnan(v) else float(v) * inward for v in bounds[name])
        lows[j], highs[j] = low, high
    return lows, highs


class _Reader:
    """Reads starts and bounds; ``units`` become those that the starts have."""

    def __init__(
        self, labels: Labels, remaining: tuple[Hashable, ...], names: tuple[str, ...], system: UnitSystem
    ) -> None:
        self.labels, self.remaining, self.names, self.system = labels, remaining, names, system
        self.units = list(system.parameters)

    def starts(self, given: Mapping[str, Any], model: Model) -> dict[int, float | xr.Variable]:
        """Starts by number of the parameter."""
        found: dict[int, float | xr.Variable] = {}
        for key, value in given.items():
            j = parameter_number("p0", key, model, self.names)
            if j in found:
                raise ValueError(
                    f"p0 names the parameter {self.names[j]!r} twice, the second time as {key!r}. Keep one."
                )
            resolved, self.units[j] = self._read(f"p0[{key!r}]", j, value)
            if resolved is None:
                raise TypeError(f"p0[{key!r}] is None; leave it out to start from the model's own value.")
            if isinstance(resolved, float) and not np.isfinite(resolved):
                raise ValueError(f"p0[{key!r}] is {resolved}; a start value must be finite.")
            found[j] = resolved
        return found

    def bounds(self, key: str, j: int, pair: Any) -> tuple[float | xr.Variable | None, float | xr.Variable | None]:
        """Low and high bound of parameter ``j``."""
        argument = f"bounds[{key!r}]"
        if isinstance(pair, Quantity) and pair.shape == (2,):
            pair = tuple(pair)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            one = " To hold the parameter there, give it twice." if isinstance(pair, int | float) else ""
            raise TypeError(
                f"{argument} is {pair!r}; pass a pair (low, high), with None where there is no bound: (0, None) for a "
                f"positive one.{one}"
            )
        for value in pair:
            self._refuse_ambiguous(key, j, value)
        low, high = (self._read(argument, j, v)[0] for v in pair)
        low, high = (None if isinstance(v, float) and np.isnan(v) else v for v in (low, high))
        if isinstance(low, float) and isinstance(high, float) and _same(low, high):
            high = low  # but for the rounding of a conversion
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"{argument} is ({pair[0]}, {pair[1]}): the low bound is above the high one. Swap them.")
        return low, high

    def _read(self, argument: str, j: int, value: Any) -> tuple[float | xr.Variable | None, ParameterUnit]:
        # Plain numbers are in the unit of the model's parameter, whatever unit a start has.
        return number_or_map(argument, value, self.system.parameters[j], self.labels, self.remaining, self.system)

    def _refuse_ambiguous(self, key: str, j: int, value: Any) -> None:
        """A plain bound beside a start in another unit could be meant in either."""
        if is_ambiguous(value, self.units[j], self.system.parameters[j]):
            raise ValueError(
                f"bounds[{key!r}] has a number without unit, but the start of {self.names[j]!r} is given in "
                f"{self.units[j].text!r}. Say what the bound is in: bounds={{{key!r}: (low * unit, high * unit)}}."
            )


def is_ambiguous(value: Any, given: ParameterUnit, own: ParameterUnit) -> bool:
    """Whether a value without unit may be meant in that of the start, ``given``, or that of the parameter, ``own``."""
    if given.own == own.own or value is None:
        return False
    if isinstance(value, int | float | np.number):
        return value != 0 and bool(np.isfinite(value))  # others are the same in every unit
    return isinstance(value, xr.DataArray) and "units" not in plain(value).attrs


def parameter_number(argument: str, key: str, model: Model, names: tuple[str, ...]) -> int:
    """The number of the parameter that a key of an argument names; a ValueError if there is none."""
    for known in (names, tuple(model.param_names)):
        if key in known:
            return known.index(key)
    parts = [n for n in names if n.endswith(f"_{key}") or n.startswith(f"{key}_")]
    parts = parts or same_parameter(key, names)
    hint = f" Did you mean {listed(parts)}?" if parts else suggestion(key, names)
    raise ValueError(f"{argument} has the key {key!r}, but the model's parameters are {listed(names)}.{hint}")


def _same(one: Any, other: Any) -> Any:
    """Whether numbers are equal but for rounding."""
    return np.isclose(one, other, rtol=4 * np.finfo(float).eps, atol=0.0)


def _check_scalars(
    units: Sequence[ParameterUnit],
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    ties: tuple[Any, ...],
    maps: Mapping[Role, xr.Variable],
    given_maps: set[int],
) -> None:
    """Refuse starts (K,) that are no numbers or outside their bounds; those that are maps are met in the blocks."""
    for j, unit in enumerate(units):
        name = unit.name
        if ties[j] is not None or j in given_maps:
            continue
        if not np.isfinite(start[j]):
            raise ValueError(f"The start of {name!r} is {start[j]}; it must be finite. Set it by p0={{{name!r}: ...}}.")
        low = -np.inf if Role("lower", j) in maps else lower[j]
        high = np.inf if Role("upper", j) in maps else upper[j]
        if fixed[j] or low == high or low <= start[j] <= high:
            continue
        raise _outside(unit, start[j], low, high)


def _outside(unit: ParameterUnit, start: float, low: float, high: float) -> ValueError:
    """The error for a start outside its bounds."""
    name = unit.name
    inside = "" if unit.text is None else f" in {unit.text!r}"
    at = f"The start of {name!r} is {start / unit.inward:g}"
    if 0 < low <= _ABOVE_ZERO * abs(unit.inward) and high == np.inf:  # astropy's own bound of widths
        return ValueError(f"{at}{inside}, and must be > 0. Give a positive one: p0={{{name!r}: ...}}.")
    return ValueError(
        f"{at}, outside its bounds ({low / unit.inward:g}, {high / unit.inward:g}){inside}. Move it inside by "
        f"p0={{{name!r}: ...}}, or widen bounds={{{name!r}: (low, high)}}."
    )


def _constrain(template: Model, start: np.ndarray, lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray) -> None:
    """Write starts, bounds and fixed flags of the call into the template."""
    template.parameters = start
    for j, name in enumerate(template.param_names):
        parameter = getattr(template, name)
        if parameter.fixed or parameter.tied:
            continue
        parameter.fixed = bool(fixed[j])
        unbounded = fixed[j] or lower[j] == upper[j]
        parameter.bounds = tuple(None if unbounded or not np.isfinite(v) else float(v) for v in (lower[j], upper[j]))
