"""Start values, bounds and constraints of a call: from the model, ``p0`` and ``bounds``.

Scalars go into the `models.problem.Problem`; whatever varies from fit to fit becomes a map
that travels with the data.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.call.options import FitOptions
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.labels.coords import Labels
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.models.expression import held_inputs, leaves, result_names, scalar_model
from xr_modelfit.models.function_models import as_model, not_a_model, require_model
from xr_modelfit.models.input_names import input_names, is_custom
from xr_modelfit.models.problem import Problem
from xr_modelfit.models.ties import TieInUnits
from xr_modelfit.parameter_units.parameters import ParameterUnit, UnitSystem
from xr_modelfit.parameter_units.values import number_or_map
from xr_modelfit.records.record import RecordError, read_records
from xr_modelfit.units.times import TimeAxis
from xr_modelfit.units.units import plain

__all__ = ["Starts", "check_model", "model_to_fit", "resolve_starts"]

Value = float | xr.DataArray
P0Arg = Mapping[str, Any] | xr.Dataset | None
BoundsArg = Mapping[str, tuple[Any, Any]] | None


@dataclass
class Starts:
    """The problem of a call, the units of its parameters, and the maps that vary from fit to fit."""

    problem: Problem
    units: tuple[ParameterUnit, ...]
    maps: dict[Role, xr.Variable] = field(default_factory=dict)


def model_to_fit(options: FitOptions, dims: Iterable[Hashable] = ()) -> Model:
    """The model of a call: as it is, or that of a function; checked.

    Parameters
    ----------
    options : FitOptions
    dims : iterable of Hashable
        Those of the data.

    Raises
    ------
    TypeError, ValueError
        It is neither, or cannot be fitted; see `check_model`.
    """
    model, dim, p0, coords = require_model(options.model), options.dim, options.p0, options.coords
    if not callable(model) and callable(dim):
        given = dim.__name__ if hasattr(dim, "__name__") else type(dim).__name__
        raise TypeError(
            f"model is {model!r} and dim is {given}: the model comes first. Swap them: data.modelfit({given}, "
            f"{model!r})."
        )
    if isinstance(model, str) and model in dims:
        raise TypeError(
            f"model is {model!r}, a dim of the data. The model comes first: data.modelfit(model, {model!r})."
        )
    if callable(model) and p0 is not None and not isinstance(p0, Mapping | xr.Dataset):
        raise _no_p0(p0)
    read = coords if isinstance(coords, Mapping) else {}
    starts = {name: start for name, start in _starts_by_name(p0, options.bounds).items() if name not in read}
    found = as_model(model, starts)
    check_model(found)
    return found


def _starts_by_name(p0: Any, bounds: Any) -> dict[str, float]:
    """One number for each name in ``p0`` and ``bounds``, with which a model can be made."""
    starts = {str(key): _between(pair) for key, pair in bounds.items()} if isinstance(bounds, Mapping) else {}
    if isinstance(p0, xr.Dataset):
        return starts | {str(key): _some_number(value, 1.0) for key, value in _named_variables(p0).items()}
    return starts | {str(key): _some_number(value, 1.0) for key, value in (p0 or {}).items()}


def _named_variables(result: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Variables of an earlier result, also by the names of its parameters where they bear a prefix."""
    try:
        records = read_records(result)
    except RecordError:
        return dict(result.data_vars)
    return {n: result[r.variable(n)] for r in records for n in r.names if r.variable(n) in result}


def _between(pair: Any) -> float:
    """A number between two bounds, as `scipy.optimize.curve_fit` chooses it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return 1.0
    low, high = (_some_number(v, math.nan) for v in pair)
    if math.isfinite(low):
        return 0.5 * (low + high) if math.isfinite(high) else low + 1.0
    return high - 1.0 if math.isfinite(high) else 1.0


def _some_number(value: Any, default: float) -> float:
    """The first finite number of a start or bound; ``default`` where there is none in memory."""
    value = plain(value) if isinstance(value, xr.DataArray) else value
    if isinstance(value, xr.DataArray):
        value = value.values if value.variable._in_memory and value.dtype.kind in "iuf" else default
    if not isinstance(value, int | float | np.number | np.ndarray):  # a Quantity is an array
        return default
    flat = np.ravel(np.asarray(value, dtype=float))
    return float(flat[np.isfinite(flat)][0]) if np.isfinite(flat).any() else default


def check_model(model: Any) -> None:
    """Refuse what cannot be fitted as one model with one output.

    Raises
    ------
    TypeError
        It is no model instance.
    ValueError
        It is a model set, has several outputs, or no parameters.
    """
    if not isinstance(model, Model):
        raise not_a_model(model)
    if len(model) != 1:
        raise ValueError(
            f"model is a set of {len(model)} models; a fit takes one model (n_models=1). Give start values that "
            "vary from fit to fit by p0={name: DataArray}."
        )
    if model.n_outputs != 1:
        raise ValueError(
            f"model has {model.n_outputs} outputs {listed(model.outputs)}; the data is one, so a model with one output "
            "is needed."
        )
    if not model.param_names:
        raise ValueError(
            f"model {type(model).__name__} has no parameters, so there is nothing to fit.{_no_defaults(model)}"
        )
    for name, value in held_inputs(model).items():
        if isinstance(value, Quantity) or np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
            raise ValueError(
                f"model holds its input {name!r} at {value}; one plain number is needed there: "
                f"fix_inputs(model, {{{name!r}: number}}), with a model without units."
            )
    if any(kind.__name__ == "_Spline" for part in leaves(model) for kind in type(part).__mro__):
        raise ValueError(
            "model has a Spline1D, whose values do not follow from its parameters, so that only astropy's own spline "
            "fitters can fit it. Take a polynomial (Chebyshev1D, for one), or custom_model with a spline inside."
        )


def _no_defaults(model: Model) -> str:
    """What to do about a function whose arguments have no defaults, made a model by astropy's custom_model."""
    if not is_custom(type(model)):
        return ""
    name, names = type(model).__name__, input_names(model)
    define = name if name.isidentifier() else "f"
    others = names[1:] or ("a",)
    return (
        f" custom_model takes those arguments for parameters that have a default; {listed(names)} of {name} have none. "
        f"Give them defaults, def {define}({names[0]}, {', '.join(f'{n}=1.0' for n in others)}), or pass the function "
        f"itself and starts for them: p0={{{', '.join(f'{n!r}: ...' for n in others)}}}."
    )


def resolve_starts(
    labels: Labels, model: Model, p0: P0Arg, bounds: BoundsArg, loop: tuple[Hashable, ...], units: UnitSystem
) -> Starts:
    """Start values, bounds and constraints by parameter.

    Parameters
    ----------
    labels : Labels
    model : astropy.modeling.Model
        As checked by `check_model`; not changed.
    p0, bounds
        As the user gave them.
    loop : tuple of Hashable
        The dims that are not fitted, in the data's order.
    units : UnitSystem

    Raises
    ------
    ValueError
        A unit that cannot be converted, an unknown parameter, a scalar start outside its bounds,
        bounds in the wrong order, or a map that does not match the data.
    TypeError
        A value that is neither a number nor a DataArray.
    """
    model = model if units.model is None else units.model
    names = result_names(model)
    if bounds is not None and not isinstance(bounds, Mapping):
        raise TypeError(f"bounds is {a(bounds)}; pass {{parameter: (low, high)}}, with None where there is no bound.")
    reader = _Reader(labels, loop, names, units)
    starts = _model_starts(labels, model, loop, units)
    if isinstance(p0, xr.Dataset):
        _require_same_time(p0, units)
    starts.update(reader.starts(_plain_p0(p0, names, labels.data.name), model))
    lows, highs = _model_bounds(model, units)
    for key, pair in (bounds or {}).items():
        j = _index("bounds", key, model, names)
        lows[j], highs[j] = reader.bounds(key, j, pair)
    template = scalar_model(model)
    if units.carried:
        _tie_in_units(template, model, units)
    K = len(names)
    held, tied = template.fixed, template.tied  # astropy looks at all parameters for each of these
    fixed = np.array([bool(held[n]) for n in template.param_names])
    ties = tuple(tied[n] or None for n in template.param_names)
    start = np.array(template.parameters, dtype=float)
    lower, upper = np.full(K, -np.inf), np.full(K, np.inf)
    maps: dict[Role, xr.Variable] = {}
    for j in range(K):
        if fixed[j] or ties[j] is not None:  # its bounds stay on the model, and play no part
            lows.pop(j, None), highs.pop(j, None)
        for kind, given, scalars in (("start", starts, start), ("lower", lows, lower), ("upper", highs, upper)):
            value = given.get(j)
            if isinstance(value, xr.Variable):
                maps[Role(kind, j)] = value
            elif value is not None:
                scalars[j] = value
    for bound in (lower, upper):
        start[:] = np.where(_same(start, bound), bound, start)
    _check_scalars(reader.units, start, lower, upper, fixed, ties, maps)
    for j in np.flatnonzero((lower == upper) & ~fixed).tolist():
        if Role("lower", j) not in maps and Role("upper", j) not in maps:
            fixed[j], start[j] = True, lower[j]
            maps.pop(Role("start", j), None)
    _constrain(template, start, lower, upper, fixed)
    return Starts(Problem(template, names, start, lower, upper, fixed, ties), tuple(reader.units), maps)


def _require_same_time(result: xr.Dataset, units: UnitSystem) -> None:
    """Refuse an earlier result whose times count from elsewhere: its places and phases mean something else."""
    try:
        told = [one.get("time") for record in read_records(result) for one in record.inputs]
    except RecordError:
        return
    then = [TimeAxis.recorded(time) for time in told if time is not None]
    now = [one.measure.time for one in units.inputs if one.measure.time is not None]
    if then and now and not then[0].agrees_with(now[0]):
        raise ValueError(
            f"p0 is a result that counts {then[0].units} ({then[0].calendar}), the fit counts {now[0].units} "
            f"({now[0].calendar}). Pass time_units={then[0].units!r}, or a dict of the parameters that do not depend "
            "on it."
        )


def _tie_in_units(template: Model, model: Model, units: UnitSystem) -> None:
    owns, inward = tuple(p.own for p in units.parameters), tuple(p.inward for p in units.parameters)
    for j, name in enumerate(template.param_names):
        parameter = getattr(template, name)
        if parameter.tied:
            parameter.tied = TieInUnits(parameter.tied, model, tuple(template.param_names), owns, inward, j)


def _model_starts(
    labels: Labels, model: Model, loop: tuple[Hashable, ...], units: UnitSystem
) -> dict[int, float | xr.Variable]:
    """Start values that the model carries: numbers, or maps over the remaining dims in order."""
    shape = tuple(labels.data.sizes[d] for d in loop)
    starts: dict[int, float | xr.Variable] = {}
    for j, name in enumerate(model.param_names):
        value = np.asarray(getattr(model, name).value, dtype=float) * units.parameters[j].inward
        if value.size == 1:
            starts[j] = float(value.reshape(()))
            continue
        try:
            starts[j] = xr.Variable(loop, np.broadcast_to(value, shape))
        except ValueError:
            raise ValueError(
                f"model.{name} has values of shape {value.shape}, the remaining dims {tuple(map(str, loop))} have "
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


def _plain_p0(p0: P0Arg, names: tuple[str, ...], data: Hashable | None) -> Mapping[str, Any]:
    if p0 is None:
        return {}
    if isinstance(p0, xr.Dataset):
        found = {name: p0[name] for name in names if name in p0.data_vars} or _earlier(p0, names, data)
        if not found:
            raise ValueError(
                f"p0 is a Dataset with variables {listed(p0.data_vars)}, none of which is a parameter of the model: "
                f"{listed(names)}. Pass a dict: p0={{{names[0]!r}: dataset[...]}}."
            )
        return found
    if isinstance(p0, Mapping):
        return {str(key): value for key, value in p0.items()}
    raise _no_p0(p0)


def _no_p0(p0: Any) -> TypeError:
    return TypeError(f"p0 is {a(p0)}; pass {{parameter: number or DataArray}}, or an earlier result.")


def _earlier(result: xr.Dataset, names: tuple[str, ...], data: Hashable | None) -> dict[str, xr.DataArray]:
    """Parameters of an earlier result whose variables bear a prefix."""
    try:
        records = [r for r in read_records(result) if set(r.names) & set(names)]
    except RecordError:
        return {}
    same = [r for r in records if r.content["data"] == str(data)] or records
    if len(same) != 1:
        return {}
    return {n: result[same[0].variable(n)] for n in same[0].names if n in names and same[0].variable(n) in result}


class _Reader:
    """Reads starts and bounds; ``units`` become those that the starts have."""

    def __init__(self, labels: Labels, loop: tuple[Hashable, ...], names: tuple[str, ...], system: UnitSystem) -> None:
        self.labels, self.loop, self.names, self.system = labels, loop, names, system
        self.units = list(system.parameters)

    def starts(self, given: Mapping[str, Any], model: Model) -> dict[int, float | xr.Variable]:
        """Starts by number of the parameter."""
        found: dict[int, float | xr.Variable] = {}
        for key, value in given.items():
            j = _index("p0", key, model, self.names)
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
            raise TypeError(f"{argument} is {pair!r}; pass a pair (low, high), with None where there is no bound.")
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
        return number_or_map(argument, value, self.system.parameters[j], self.labels, self.loop, self.system)

    def _refuse_ambiguous(self, key: str, j: int, value: Any) -> None:
        """A plain bound beside a start in another unit could be meant in either."""
        if self.units[j].own == self.system.parameters[j].own or value is None:
            return
        bare_number = isinstance(value, int | float | np.number)
        if bare_number and (value == 0 or not np.isfinite(value)):
            return  # the same in every unit
        if bare_number or (isinstance(value, xr.DataArray) and "units" not in plain(value).attrs):
            raise ValueError(
                f"bounds[{key!r}] has a number without unit, but the start of {self.names[j]!r} is given in "
                f"{self.units[j].text!r}. Say what the bound is in: bounds={{{key!r}: (low * unit, high * unit)}}."
            )


def _index(argument: str, key: str, model: Model, names: tuple[str, ...]) -> int:
    for known in (names, tuple(model.param_names)):
        if key in known:
            return known.index(key)
    parts = [n for n in names if n.endswith(f"_{key}") or n.startswith(f"{key}_")]
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
) -> None:
    for j, unit in enumerate(units):
        name = unit.name
        if ties[j] is not None or Role("start", j) in maps:
            continue
        if not np.isfinite(start[j]):
            raise ValueError(f"The start of {name!r} is {start[j]}; it must be finite. Set it by p0={{{name!r}: ...}}.")
        low = -np.inf if Role("lower", j) in maps else lower[j]
        high = np.inf if Role("upper", j) in maps else upper[j]
        if fixed[j] or low == high or low <= start[j] <= high:
            continue
        at, low, high = (f"{v / unit.inward:g}" for v in (start[j], low, high))
        inside = "" if unit.text is None else f" in {unit.text!r}"
        raise ValueError(
            f"The start of {name!r} is {at}, outside its bounds ({low}, {high}){inside}. Move it inside by "
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
