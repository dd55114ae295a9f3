"""The call itself: resolve names, one ``apply_ufunc``, label the result."""

import sys
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Literal, TypedDict

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter

from xr_modelfit import coords as coordinates
from xr_modelfit.companions import resolve_companions
from xr_modelfit.coords import Labels, ModelInput, fitted_dims, model_inputs
from xr_modelfit.derivatives import choose
from xr_modelfit.execution import check_scheduler, is_lazy, map_blocks
from xr_modelfit.fitters.block import BlockTask, FitError, Layout, Role, fit_block
from xr_modelfit.fitters.pixelwise import PixelwiseFitter
from xr_modelfit.fitters.quiet import caught_warnings
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.problem import Problem, has_fixed_inputs
from xr_modelfit.record import write_record
from xr_modelfit.report import summary
from xr_modelfit.results import FIELD, check_names, frame_of, label, output_names
from xr_modelfit.starts import check_model, resolve_starts
from xr_modelfit.status import FitStatus

__all__ = ["FitError", "FitOptions", "FitWarning", "fit"]

_PROBE = 200  # samples on which derivatives and fitter are tried before any fit


class FitWarning(UserWarning):
    """Some fits of a call failed; their status tells why."""


class FitOptions(TypedDict, total=False):
    """The keyword arguments of `fit`, for type checkers."""

    data: Hashable | None
    coords: coordinates.CoordsArg
    where: Hashable | xr.DataArray | None
    sigma: Hashable | xr.DataArray | float | None
    weights: Hashable | xr.DataArray | float | None
    absolute_sigma: bool | None
    p0: Mapping[str, Any] | xr.Dataset | None
    bounds: Mapping[str, tuple[Any, Any]] | None
    fitter: Any
    fitter_kwargs: Mapping[str, Any] | None
    fit_info: bool | Sequence[str] | None
    skipna: bool
    min_points: int | None
    covariance: bool
    keep_failed: bool
    errors: Literal["warn", "ignore", "raise"]
    prefix: str
    scheduler: Any
    fits_per_chunk: int | None
    keep_attrs: bool


def fit(
    obj: xr.DataArray | xr.Dataset,
    model: Model,
    dim: Hashable | Iterable[Hashable] | EllipsisType | None = None,
    *,
    data: Hashable | None = None,
    coords: coordinates.CoordsArg = None,
    where: Hashable | xr.DataArray | None = None,
    sigma: Hashable | xr.DataArray | float | None = None,
    weights: Hashable | xr.DataArray | float | None = None,
    absolute_sigma: bool | None = None,
    p0: Mapping[str, Any] | xr.Dataset | None = None,
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
    fitter: Any = None,
    fitter_kwargs: Mapping[str, Any] | None = None,
    fit_info: bool | Sequence[str] | None = None,
    skipna: bool = True,
    min_points: int | None = None,
    covariance: bool = False,
    keep_failed: bool = False,
    errors: Literal["warn", "ignore", "raise"] = "warn",
    prefix: str = "",
    scheduler: Any = None,
    fits_per_chunk: int | None = None,
    keep_attrs: bool = True,
) -> xr.Dataset:
    """Fit an astropy model at every position of a labelled array.

    Also as ``obj.modelfit(model, dim, ...)``.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        Data of real numbers. Of a Dataset, ``data`` names the variable to fit; without it, every
        numeric variable that has the fitted dims is fitted, and its name is put before its outputs.
    model : astropy.modeling.Model
        One output, any number of inputs that the fitter takes; carries start values, ``fixed``,
        ``tied`` and ``bounds``. It is not changed. A parameter with an array of values is a map
        over the remaining dims, in the data's order.
    dim : Hashable, sequence of Hashable, or ...
        Dims that each fit consumes, in any order; ``...`` for all. May be left out where
        ``coords`` names 1-D coordinates.
    data : Hashable, optional
        Variable of a Dataset to fit.
    coords : mapping, Hashable or DataArray, optional
        What each input of the model reads: ``{input: coordinate name or DataArray}``; with one
        input also just the name. By default one input reads the index of the one fitted dim, and
        several read what bears their name. A dim without coordinate counts 0, 1, 2, ...
    where : DataArray of bool, or name
        True where a sample is used.
    sigma : DataArray, name or number, optional
        Standard errors of the data, in its unit.
    weights : DataArray, name or number, optional
        Factors of the residuals, relative. Exclusive with ``sigma``.
    absolute_sigma : bool, optional
        False: parameter errors are rescaled by the residuals. Default: True exactly when
        ``sigma`` is given.
    p0 : mapping or Dataset, optional
        ``{parameter: number or DataArray}``, or an earlier result; instead of the model's values.
    bounds : mapping, optional
        ``{parameter: (low, high)}``, each a number, a DataArray or None; instead of the model's.
        Equal bounds fix a parameter.
    fitter : astropy fitter, optional
        Used exactly as given, one fit at a time. Default: ``TRFLSQFitter()``.
    fitter_kwargs : mapping, optional
        Passed to the fitter's call, ``{"maxiter": 500}`` for one.
    fit_info : True or sequence of str, optional
        Names of numbers in the fitter's ``fit_info`` that become variables; True for all.
    skipna : bool
        Leave samples out that are not finite. False: their fit gets ``nonfinite_data``.
    min_points : int, optional
        Fewest valid samples for a fit; default: its number of free parameters.
    covariance : bool
        Add ``covariance`` with the dims ``cov_i`` and ``cov_j``.
    keep_failed : bool
        Keep the last iterate of fits that did not succeed, instead of NaN.
    errors : {"warn", "ignore", "raise"}
        Failures of computed input: one summary warning, nothing, or an error for the first.
    prefix : str
        Put before every output name.
    scheduler : str or dask client, optional
        For computed input: "synchronous", "threads", "processes", "distributed", or "default"
        for dask's active one. By default an active one, else processes.
    fits_per_chunk : int, optional
        At most this many fits in a block.
    keep_attrs : bool
        Put the input's attrs that do not speak of one variable on the result.

    Returns
    -------
    xarray.Dataset
        Over the dims that are not fitted, in the data's order: each parameter, its ``_stderr``,
        ``chi2``, ``reduced_chi2``, ``dof``, ``n_points``, ``n_iter`` and ``fit_status``
        (`xr_modelfit.FitStatus`; positive means success). Lazy if any input is dask-backed.

    Raises
    ------
    ValueError, TypeError
        The call is wrong; nothing has been read.
    FitError
        A fit failed and ``errors="raise"``.

    Warns
    -----
    FitWarning
        Some fits failed, other than for want of data.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xr_modelfit
    >>> from astropy.modeling.models import Linear1D
    >>> t = np.arange(5.0)
    >>> series = xr.DataArray([2 * t + 1, 3 * t], dims=("station", "t"), coords={"t": t})
    >>> trend = xr_modelfit.fit(series, Linear1D(), dim="t")
    >>> trend["slope"].round(6).values.tolist()
    [2.0, 3.0]
    """
    options: dict[str, Any] = {
        "coords": coords, "where": where, "sigma": sigma, "weights": weights, "absolute_sigma": absolute_sigma,
        "p0": p0, "bounds": bounds, "fitter": fitter, "fitter_kwargs": fitter_kwargs, "fit_info": fit_info,
        "skipna": skipna, "min_points": min_points, "covariance": covariance, "keep_failed": keep_failed,
        "errors": errors, "scheduler": scheduler, "fits_per_chunk": fits_per_chunk, "keep_attrs": keep_attrs,
    }  # fmt: skip
    if isinstance(obj, xr.DataArray):
        if data is not None:
            raise ValueError(f"data is {data!r}, but the object is a DataArray, which is the data itself. Leave it out.")
        variables = {name: obj.coords[name] for name in obj.coords}
        return _fit_array(Labels(obj, variables), model, dim, prefix=prefix, attrs=obj.attrs, **options)
    if not isinstance(obj, xr.Dataset):
        raise TypeError(f"fit takes a DataArray or a Dataset, not a {type(obj).__name__}. Wrap it: xr.DataArray(...).")
    return _fit_dataset(obj, model, dim, data=data, prefix=prefix, options=options)


def _fit_dataset(
    ds: xr.Dataset, model: Model, dim: Any, *, data: Hashable | None, prefix: str, options: dict[str, Any]
) -> xr.Dataset:
    variables = {name: ds[name] for name in ds.variables}
    if data is not None:
        if data not in ds.data_vars:
            raise ValueError(
                f"data is {data!r}, but the Dataset's variables are {listed(ds.data_vars)}.{suggestion(data, ds.data_vars)}"
            )
        return _fit_array(Labels(ds[data], variables), model, dim, prefix=prefix, attrs=ds.attrs, **options)
    check_model(model)
    names = _variables_to_fit(ds, dim, options)
    results = [
        _fit_array(Labels(ds[name], variables), model, dim, prefix=f"{prefix}{name}_", attrs=ds.attrs, **options)
        for name in names
    ]
    return xr.merge(results, compat="equals", join="exact", combine_attrs="override") if results else xr.Dataset()


def _variables_to_fit(ds: xr.Dataset, dim: Any, options: Mapping[str, Any]) -> list[Hashable]:
    """Numeric variables with all fitted dims, less those that the call or CF bounds name."""
    probe = Labels(xr.DataArray(np.empty([0] * len(ds.dims)), dims=list(ds.dims)), {})
    if dim is None:
        skeleton = Labels(xr.DataArray(np.broadcast_to(0.0, tuple(ds.sizes.values())), dims=list(ds.dims), coords=ds.coords), ds.coords)
        fitted = fitted_dims(skeleton, dim, options["coords"])
    elif isinstance(dim, EllipsisType):
        fitted = ()
    else:
        fitted = fitted_dims(probe, dim, None)
    named: list[Any] = [options[k] for k in ("where", "sigma", "weights")]
    given = options["coords"]
    named += list(given.values()) if isinstance(given, Mapping) else [given]
    named += [v.attrs.get(k, v.encoding.get(k)) for v in ds.variables.values() for k in ("bounds", "climatology")]
    left_out = [n for n in named if isinstance(n, str) or (isinstance(n, Hashable) and n is not None)]
    return [
        name
        for name, v in ds.data_vars.items()
        if v.dtype.kind in "iufc" and set(fitted) <= set(v.dims) and v.dims and name not in left_out
    ]


@dataclass(frozen=True)
class _Arrays:
    """What goes through ``apply_ufunc``: roles, arrays without labels, and their core dims."""

    roles: tuple[Role, ...]
    variables: list[xr.Variable]
    core_dims: list[tuple[Hashable, ...]]


def _fit_array(
    labels: Labels, model: Model, dim: Any, *, prefix: str, attrs: Mapping[Any, Any], **o: Any
) -> xr.Dataset:
    """Fit one DataArray; ``o`` are the options of `fit`."""
    check_model(model)
    _check_data(labels.data)
    _check_options(o)
    data = labels.data
    fitted = fitted_dims(labels, dim, o["coords"])
    loop = tuple(d for d in data.dims if d not in fitted)
    inputs = model_inputs(labels, fitted, o["coords"], model.inputs)
    companions = resolve_companions(labels, o["where"], o["sigma"], o["weights"], o["absolute_sigma"])
    starts = resolve_starts(labels, model, o["p0"], o["bounds"], loop)
    probe = _probe_inputs(inputs, fitted, data)
    with caught_warnings():
        problem = choose(_mark_careless(starts.problem, probe), probe)
    pixelwise = _pixelwise(o, problem, starts.maps, probe, weighted=o["sigma"] is not None or o["weights"] is not None)
    layout = Layout(problem.n_parameters, pixelwise.info_names, o["covariance"])
    frame = frame_of(data, fitted)
    names = output_names(problem.names, layout, prefix)
    check_names(frame, data, names, layout)

    arrays = _arrays(data, inputs, companions.maps, starts.maps, fitted)
    lazy = is_lazy(*arrays.variables)
    check_scheduler(o["scheduler"], lazy)
    if lazy and o["errors"] == "raise":
        arrays = _with_positions(arrays, loop, data)
    task = BlockTask(
        problem, pixelwise, layout, arrays.roles, len(fitted), companions.sigma, companions.scalar_weight,
        companions.absolute, o["skipna"], o["min_points"], o["keep_failed"],
        tuple(map(str, loop)) or ("-",) if lazy and o["errors"] == "raise" else (),
    )  # fmt: skip
    packed = map_blocks(
        _TaskFunction(task), arrays.variables, arrays.core_dims, {FIELD: layout.width},
        scheduler=o["scheduler"], fits_per_chunk=o["fits_per_chunk"], prefer="processes",
    )  # fmt: skip
    record = write_record(
        model=problem.model, names=problem.names, fitted=fitted,
        inputs=[(i.name, i.coordinate, i.values.dims) for i in inputs], prefix=prefix, data=data.name,
        fitter=pixelwise.fitter, keywords=pixelwise.keywords,
        options={
            "absolute_sigma": companions.absolute, "skipna": o["skipna"], "min_points": o["min_points"],
            "keep_failed": o["keep_failed"],
            "weighting": "sigma" if o["sigma"] is not None else "weights" if o["weights"] is not None else None,
        },
    )  # fmt: skip
    result = label(
        packed, layout, problem.names, frame, prefix=prefix, record=record,
        model_name=" ".join(model.name.split()) if model.name else type(model).__name__,
        attrs=attrs if o["keep_attrs"] else {},
    )  # fmt: skip
    if not lazy:
        _tell_failures(result[f"{prefix}fit_status"], o["errors"])
    return result


class _TaskFunction:
    """`fit_block` with its task, under a name that dask can show."""

    __name__ = "modelfit"

    def __init__(self, task: BlockTask) -> None:
        self.task = task

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return fit_block(*arrays, task=self.task)

    def __dask_tokenize__(self) -> str:
        return self.task.label


def _check_data(data: xr.DataArray) -> None:
    if data.dtype.kind in "iuf":
        return
    advice = {
        "c": "Fit data.real and data.imag, or abs(data), each on its own.",
        "b": "Make it numbers: data.astype(float).",
        "M": "Make it numbers: (data - data[0]) / np.timedelta64(1, 's'), for one.",
        "m": "Make it numbers: data / np.timedelta64(1, 's'), for one.",
    }.get(data.dtype.kind, "Make it numbers: data.astype(float).")
    raise TypeError(f"The data {data.name!r} holds {data.dtype}; real numbers are needed. {advice}")


def _check_options(o: Mapping[str, Any]) -> None:
    if o["errors"] not in ("warn", "ignore", "raise"):
        raise ValueError(f'errors is {o["errors"]!r}; it must be "warn", "ignore" or "raise".')
    for name in ("min_points", "fits_per_chunk"):
        value = o[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} is {value!r}; a whole number of 1 or more is needed, or None.")
    for name in ("skipna", "covariance", "keep_failed", "keep_attrs"):
        if not isinstance(o[name], bool | np.bool_):
            raise TypeError(f"{name} is {o[name]!r}; it must be True or False.")


def _probe_inputs(inputs: list[ModelInput], fitted: tuple[Hashable, ...], data: xr.DataArray) -> list[np.ndarray]:
    """Values to try the model on: those of index coordinates, and numbers where none is in memory."""
    sizes = {d: data.sizes[d] for d in fitted}
    n = min(max(int(np.prod(list(sizes.values()))), 2), _PROBE)
    flat = np.linspace(0, max(int(np.prod(list(sizes.values()))) - 1, 0), n).astype(int)
    probe = []
    for one in inputs:
        known = isinstance(one.values, xr.IndexVariable) or one.coordinate not in data.coords
        if known and one.values.ndim == 1 and one.values.dims[0] in sizes and 0 not in sizes.values() and one.values.chunks is None:
            position = np.unravel_index(flat, tuple(sizes.values()))[list(sizes).index(one.values.dims[0])]
            probe.append(np.asarray(one.values.values, dtype=float)[position])
        else:
            probe.append(np.linspace(0.5, 1.5, n))
    finite = np.all([np.isfinite(p) for p in probe], axis=0)
    return [p[finite] for p in probe] if np.count_nonzero(finite) > 1 else [np.linspace(0.5, 1.5, n)] * len(probe)


def _mark_careless(problem: Problem, probe: list[np.ndarray]) -> Problem:
    """Note whether the model writes into its inputs."""
    given = [p.copy() for p in probe]
    try:
        problem.model.copy().evaluate(*given, *problem.start)
    except Exception:
        return problem
    changed = any(not np.array_equal(a, b) for a, b in zip(given, probe, strict=True))
    return replace(problem, careless=True) if changed else problem


def _pixelwise(
    o: Mapping[str, Any], problem: Problem, maps: Mapping[Role, Any], probe: list[np.ndarray], weighted: bool
) -> PixelwiseFitter:
    """The fitter of the call, tried once on the model's own values."""
    fitter = TRFLSQFitter() if o["fitter"] is None else o["fitter"]
    if isinstance(fitter, type):
        raise TypeError(f"fitter is the class {fitter.__name__}; pass an instance, {fitter.__name__}().")
    if not callable(fitter):
        raise TypeError(f"fitter is a {type(fitter).__name__}; pass an astropy fitter, TRFLSQFitter() for one.")
    model = problem.model
    if len(model.inputs) > 2:
        raise ValueError(
            f"The model has {len(model.inputs)} inputs {listed(model.inputs)}; astropy's fitters take one or two."
        )
    if has_fixed_inputs(model):
        raise ValueError(
            "The model holds some inputs by fix_inputs, which astropy's fitters cannot fit. Write it as a "
            "custom_model with fewer inputs."
        )
    found = PixelwiseFitter(fitter, dict(o["fitter_kwargs"] or {}))
    name = type(fitter).__name__
    unknown, known = found.unknown_keywords()
    if unknown:
        raise TypeError(
            f"fitter_kwargs has {unknown[0]!r}, which {name} does not know; it knows {listed(known)}."
            f"{suggestion(unknown[0], known)}"
        )
    if "weights" in found.keywords or "equivalencies" in found.keywords or "inplace" in found.keywords:
        raise TypeError("fitter_kwargs must not hold weights, inplace or equivalencies: they are arguments of the fit.")
    tried = _with_bounds_of_maps(problem, maps)
    try:
        info = found.try_out(tried, probe, weighted)
    except Exception as error:
        raise type(error)(
            f"{name} cannot do this fit: {error} Take another fitter, TRFLSQFitter() for one, or change the model's "
            "constraints or fitter_kwargs."
        ) from error
    return PixelwiseFitter(fitter, found.keywords, _info_names(o["fit_info"], info, name))


def _with_bounds_of_maps(problem: Problem, maps: Mapping[Role, Any]) -> Problem:
    """The problem with a bound wherever a map will bring one, so that the fitter can refuse it."""
    if not any(role.kind in ("lower", "upper") for role in maps):
        return problem
    lower, upper, model = problem.lower.copy(), problem.upper.copy(), problem.model.copy()
    for role in maps:
        if role.kind in ("lower", "upper"):
            j = int(role.name)
            span = 1.0 + abs(problem.start[j])
            lower[j], upper[j] = problem.start[j] - span, problem.start[j] + span
            getattr(model, model.param_names[j]).bounds = (lower[j], upper[j])
    return replace(problem, model=model, lower=lower, upper=upper)


def _info_names(asked: Any, info: Mapping[str, Any], fitter: str) -> tuple[str, ...]:
    if asked is None or asked is False:
        return ()
    numbers = [n for n, v in info.items() if isinstance(v, int | float | bool | np.number | np.bool_)]
    if asked is True:
        return tuple(numbers)
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    for name in names:
        if name not in numbers:
            what = "is no single number" if name in info else "is not there"
            raise ValueError(
                f"fit_info names {name!r}, which {what} in the fit_info of {fitter}; numbers there are "
                f"{listed(numbers)}.{suggestion(name, numbers)}"
            )
    return names


def _arrays(
    data: xr.DataArray,
    inputs: list[ModelInput],
    companions: Mapping[Role, xr.Variable],
    maps: Mapping[Role, xr.Variable],
    fitted: tuple[Hashable, ...],
) -> _Arrays:
    sampled: dict[Role, xr.Variable] = {Role("data"): data.variable}
    sampled |= {Role("input", i.name): i.values for i in inputs}
    sampled |= companions
    # Every array of samples gets all fitted dims, in one order; views, no copies.
    full = {role: _with_dims(v, fitted, data) for role, v in sampled.items()}
    return _Arrays(
        (*full, *maps), [*full.values(), *maps.values()], [fitted] * len(full) + [()] * len(maps)
    )


def _with_dims(variable: xr.Variable, fitted: tuple[Hashable, ...], data: xr.DataArray) -> xr.Variable:
    variable = variable.to_base_variable()
    missing = {d: data.sizes[d] for d in fitted if d not in variable.dims}
    if missing:
        variable = variable.set_dims({**missing, **variable.sizes})
    return variable


def _with_positions(arrays: _Arrays, loop: tuple[Hashable, ...], data: xr.DataArray) -> _Arrays:
    positions = {Role("position", str(d)): xr.Variable([d], np.arange(data.sizes[d])) for d in loop}
    return _Arrays(
        (*arrays.roles, *positions),
        [*arrays.variables, *positions.values()],
        [*arrays.core_dims, *[()] * len(positions)],
    )


def _tell_failures(status: xr.DataArray, errors: str) -> None:
    codes = status.values
    failed = (codes <= 0) & (codes != FitStatus.NO_DATA)
    if errors == "ignore" or not failed.any():
        return
    if errors == "warn":
        warnings.warn(
            f"{np.count_nonzero(failed)} of {codes.size} fits failed: {summary(codes)}. Their parameters are NaN "
            '(unless keep_failed=True); see fit_status. Silence this with errors="ignore".',
            FitWarning,
            stacklevel=_caller(),
        )
        return
    at = np.unravel_index(int(np.flatnonzero(failed)[0]), codes.shape)
    first = status[at]
    labels = ", ".join(
        f"{d}={first.coords[d].item() if d in first.coords else int(i)}" for d, i in zip(status.dims, at, strict=True)
    )
    code = FitStatus(int(first))
    raise FitError(
        f"The fit at {labels or 'the only position'} has status {code.meaning}: {code.sentence} "
        'Use errors="warn" to get a status instead.'
    )


def _caller() -> int:
    """Stack level of the first frame outside the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("xr_modelfit."):
        level, frame = level + 1, frame.f_back
    return level
