"""Start values, bounds and constraints of a call: from the model, ``p0`` and ``bounds``.

Scalars go into the `xr_modelfit.problem.Problem`; whatever varies from fit to fit becomes a map
that travels with the data.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.coords import Labels, bare
from xr_modelfit.expression import result_names, with_values
from xr_modelfit.fitters.block import Role
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.problem import Problem
from xr_modelfit.record import RecordError, read_records

__all__ = ["Starts", "check_model", "resolve_starts", "scalar_model"]

Value = float | xr.DataArray
P0Arg = Mapping[str, Any] | xr.Dataset | None
BoundsArg = Mapping[str, tuple[Any, Any]] | None


@dataclass
class Starts:
    """The problem of a call, and the maps that vary from fit to fit."""

    problem: Problem
    maps: dict[Role, xr.Variable] = field(default_factory=dict)


def check_model(model: Any) -> None:
    """Refuse what cannot be fitted as one model with one output.

    Raises
    ------
    TypeError
        It is no model instance.
    ValueError
        It is a model set, has several outputs, or has units.
    """
    if isinstance(model, type) and issubclass(model, Model):
        raise TypeError(f"model is the class {model.__name__}; pass an instance, {model.__name__}(...).")
    if not isinstance(model, Model):
        raise TypeError(
            f"model is a {type(model).__name__}; pass an instance of an astropy model, such as "
            "astropy.modeling.models.Gaussian1D(1, 0, 1). astropy's custom_model makes one of a function."
        )
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
        raise ValueError(f"model {type(model).__name__} has no parameters, so there is nothing to fit.")
    for name in model.param_names:
        if getattr(model, name).unit is not None:
            raise ValueError(
                f"model has the unit {getattr(model, name).unit} on {name!r}; units are not supported yet. Give plain "
                "numbers in the units of the data and its coordinates."
            )


def scalar_model(model: Model) -> Model:
    """A copy of ``model`` with one number for each parameter; constraints, domain and names kept.

    Of a parameter with an array of values, the first finite one stands for all.
    """
    return with_values(model, [_representative(getattr(model, name).value) for name in model.param_names])


def _representative(value: Any) -> float:
    flat = np.ravel(np.asarray(value, dtype=float))
    finite = flat[np.isfinite(flat)]
    return float(finite[0]) if finite.size else float(flat[0]) if flat.size else 1.0


def resolve_starts(labels: Labels, model: Model, p0: P0Arg, bounds: BoundsArg, loop: tuple[Hashable, ...]) -> Starts:
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

    Raises
    ------
    ValueError
        An unknown parameter, a scalar start outside its bounds, bounds in the wrong order, or a
        map that does not match the data.
    TypeError
        A value that is neither a number nor a DataArray.
    """
    names = result_names(model)
    if bounds is not None and not isinstance(bounds, Mapping):
        raise TypeError(f"bounds is {a(bounds)}; pass {{parameter: (low, high)}}, with None where there is no bound.")
    starts = _model_starts(labels, model, loop)
    starts.update(_by_index("p0", _plain_p0(p0, names, labels.data.name), model, names, labels, loop))
    lows, highs = _model_bounds(model)
    for key, pair in (bounds or {}).items():
        j = _index("bounds", key, model, names)
        lows[j], highs[j] = _bound_pair(key, pair, labels, loop)
    template = scalar_model(model)
    K = len(names)
    fixed = np.array([bool(template.fixed[n]) for n in template.param_names])
    ties = tuple(template.tied[n] or None for n in template.param_names)
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
    _check_scalars(names, start, lower, upper, fixed, ties, maps)
    for j in np.flatnonzero((lower == upper) & ~fixed).tolist():
        if Role("lower", j) not in maps and Role("upper", j) not in maps:
            fixed[j], start[j] = True, lower[j]
            maps.pop(Role("start", j), None)
    _constrain(template, start, lower, upper, fixed)
    return Starts(Problem(template, names, start, lower, upper, fixed, ties), maps)


def _model_starts(labels: Labels, model: Model, loop: tuple[Hashable, ...]) -> dict[int, float | xr.Variable]:
    """Start values that the model carries: numbers, or maps over the remaining dims in order."""
    shape = tuple(labels.data.sizes[d] for d in loop)
    starts: dict[int, float | xr.Variable] = {}
    for j, name in enumerate(model.param_names):
        value = np.asarray(getattr(model, name).value, dtype=float)
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


def _model_bounds(model: Model) -> tuple[dict[int, Any], dict[int, Any]]:
    lows: dict[int, Any] = {}
    highs: dict[int, Any] = {}
    for j, name in enumerate(model.param_names):
        low, high = (None if v is None or np.isnan(v) else float(v) for v in model.bounds[name])
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
    raise TypeError(f"p0 is a {type(p0).__name__}; pass {{parameter: number or DataArray}}, or an earlier result.")


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


def _by_index(
    argument: str,
    given: Mapping[str, Any],
    model: Model,
    names: tuple[str, ...],
    labels: Labels,
    loop: tuple[Hashable, ...],
) -> dict[int, float | xr.Variable]:
    found: dict[int, float | xr.Variable] = {}
    for key, value in given.items():
        j = _index(argument, key, model, names)
        if j in found:
            raise ValueError(
                f"{argument} names the parameter {names[j]!r} twice, the second time as {key!r}. Keep one."
            )
        resolved = _number_or_map(f"{argument}[{key!r}]", value, labels, loop)
        if resolved is None:
            raise TypeError(f"{argument}[{key!r}] is None; leave it out to start from the model's own value.")
        if isinstance(resolved, float) and not np.isfinite(resolved):
            raise ValueError(f"{argument}[{key!r}] is {resolved}; a start value must be finite.")
        found[j] = resolved
    return found


def _index(argument: str, key: str, model: Model, names: tuple[str, ...]) -> int:
    for known in (names, tuple(model.param_names)):
        if key in known:
            return known.index(key)
    parts = [n for n in names if n.endswith(f"_{key}") or n.startswith(f"{key}_")]
    hint = f" Did you mean {listed(parts)}?" if parts else suggestion(key, names)
    raise ValueError(f"{argument} has the key {key!r}, but the model's parameters are {listed(names)}.{hint}")


def _bound_pair(
    key: str, pair: Any, labels: Labels, loop: tuple[Hashable, ...]
) -> tuple[float | xr.Variable | None, float | xr.Variable | None]:
    argument = f"bounds[{key!r}]"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{argument} is {pair!r}; pass a pair (low, high), with None where there is no bound.")
    low, high = (_number_or_map(argument, v, labels, loop) for v in pair)
    low, high = (None if isinstance(v, float) and np.isnan(v) else v for v in (low, high))
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise ValueError(f"{argument} is ({low}, {high}): the low bound is above the high one. Swap them.")
    return low, high


def _number_or_map(argument: str, value: Any, labels: Labels, loop: tuple[Hashable, ...]) -> float | xr.Variable | None:
    if value is None:
        return None
    if isinstance(value, xr.DataArray):
        if value.dtype.kind not in "iuf":
            raise TypeError(f"{argument} is a DataArray of {value.dtype}; real numbers are needed: .astype(float).")
        return bare(labels.data, value, argument, loop)
    if isinstance(value, Quantity):
        raise TypeError(f"{argument} is the Quantity {value}; units are not supported yet. Give a plain number.")
    if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf":
        return float(value)
    raise TypeError(
        f"{argument} is {_shown(value)}; pass a number or a DataArray over {tuple(map(str, loop))}, so that it can be "
        "matched by the names of its dims."
    )


def _shown(value: Any) -> str:
    return f"an array of shape {np.shape(value)}" if np.ndim(value) else f"{value!r}"


def _check_scalars(
    names: tuple[str, ...],
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    ties: tuple[Any, ...],
    maps: Mapping[Role, xr.Variable],
) -> None:
    for j, name in enumerate(names):
        if ties[j] is not None or Role("start", j) in maps:
            continue
        if not np.isfinite(start[j]):
            raise ValueError(f"The start of {name!r} is {start[j]}; it must be finite. Set it by p0={{{name!r}: ...}}.")
        low = -np.inf if Role("lower", j) in maps else lower[j]
        high = np.inf if Role("upper", j) in maps else upper[j]
        if fixed[j] or low == high or low <= start[j] <= high:
            continue
        raise ValueError(
            f"The start of {name!r} is {start[j]:g}, outside its bounds ({low:g}, {high:g}). Move it inside by "
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
