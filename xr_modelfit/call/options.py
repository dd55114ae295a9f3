"""The arguments of `fit` as one frozen object.

This is the one list of them: the signatures of `fit`, of the accessors and of ``plan`` are made of it.
"""

import inspect
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import wraps
from textwrap import shorten
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.call.diagnostics import check_diagnostics
from xr_modelfit.foreign_words import Call, refuse_foreign, refuse_more
from xr_modelfit.labels.coords import CoordsArg, DimArg
from xr_modelfit.models.function_models import ModelArg, likely_parameters, name_of_function

__all__ = ["FitOptions", "as_call", "check_options", "words_of"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, eq=False)
class FitOptions:
    """What a call says beside the data; `xr_modelfit.fit` documents each."""

    model: ModelArg
    dim: DimArg = None
    _: KW_ONLY
    data: Hashable | None = None
    coords: CoordsArg = None
    where: Hashable | xr.DataArray | None = None
    sigma: Hashable | xr.DataArray | float | Quantity | tuple[Any, Any] | None = None
    weights: Hashable | xr.DataArray | float | None = None
    absolute_sigma: bool | None = None
    noise: Hashable | xr.DataArray | None = None
    exposure: Hashable | xr.DataArray | float | Quantity | None = None
    upper_limit: Hashable | xr.DataArray | None = None
    coord_sigma: Hashable | xr.DataArray | float | Quantity | None = None
    p0: Any = None
    bounds: Mapping[str, tuple[Any, Any]] | None = None
    priors: Mapping[str, tuple[Any, Any]] | None = None
    fitter: Any = None
    fitter_kwargs: Mapping[str, Any] | None = None
    fit_info: bool | Sequence[str] | None = None
    skipna: bool = True
    min_points: int | None = None
    equivalencies: Any = None
    time_units: str | None = None
    pointwise: bool | None = None
    integrate: Any = None
    response: Hashable | xr.DataArray | None = None
    covariance: bool = False
    keep_failed: bool = False
    errors: Literal["warn", "ignore", "raise"] = "warn"
    prefix: str = ""
    scheduler: Any = None
    fits_per_chunk: int | None = None
    progress: bool = False
    diagnostics: Literal["error", "error+warn", "all"] | None = None
    diagnostics_path: str | os.PathLike[str] | None = None
    diagnostics_callable: Callable[..., Any] | None = None
    keep_attrs: bool = True


def as_call(
    options: Callable[_P, FitOptions],
) -> Callable[
    [Callable[[xr.DataArray | xr.Dataset, FitOptions], _R]], Callable[Concatenate[xr.DataArray | xr.Dataset, _P], _R]
]:
    """Have a function of data and `FitOptions` called with the arguments one by one."""

    def decorate(
        function: Callable[[xr.DataArray | xr.Dataset, FitOptions], _R],
    ) -> Callable[Concatenate[xr.DataArray | xr.Dataset, _P], _R]:
        obj, _ = inspect.signature(function).parameters.values()
        arguments = [obj, *inspect.signature(options).parameters.values()]
        bare = [one.replace(annotation=one.empty) for one in arguments]  # names are read at the prompt, types are below
        signature = inspect.Signature(bare)

        @wraps(function)
        def call(obj: xr.DataArray | xr.Dataset, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            refuse_foreign(
                kwargs, signature.parameters, lambda: words_of(args[0] if args else kwargs.get("model"), kwargs)
            )
            refuse_more(args[2:], likely_parameters(args[0]) if len(args) > 2 else ())
            return function(obj, options(*args, **kwargs))

        called: Any = call
        called.__signature__ = signature
        return cast("Callable[Concatenate[xr.DataArray | xr.Dataset, _P], _R]", called)

    return decorate


def words_of(model: Any, options: Mapping[str, Any]) -> Call:
    """What a call says, for messages in its own words: the parameters that it names, or else all."""
    names = likely_parameters(model)
    said = [p for p in (options.get("p0"), options.get("bounds")) if isinstance(p, Mapping)]
    named = [n for n in names if any(n in p for p in said)]
    return Call(named or names, name_of_function(model), options.get("p0"))


def check_options(o: FitOptions) -> None:
    """Refuse options of the wrong kind.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(o.prefix, str):
        raise TypeError(f'prefix is {o.prefix!r}; it must be a str, "" for none.')
    if not isinstance(o.errors, str) or o.errors not in ("warn", "ignore", "raise"):
        raise ValueError(
            f'errors is {shorten(repr(o.errors), 60)}; it must be "warn", "ignore" or "raise", what to do about '
            "fits that fail. Standard errors of the data go to sigma=."
        )
    for name in ("min_points", "fits_per_chunk"):
        value = getattr(o, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} is {value!r}; a whole number of 1 or more is needed, or None.")
    for name in ("skipna", "covariance", "keep_failed", "keep_attrs", "progress"):
        if not isinstance(getattr(o, name), bool | np.bool_):
            raise TypeError(f"{name} is {getattr(o, name)!r}; it must be True or False.")
    if not isinstance(o.pointwise, bool | np.bool_ | None):
        raise TypeError(f"pointwise is {o.pointwise!r}; it must be True or False, or None to find out.")
    check_diagnostics(o.diagnostics, o.diagnostics_path, o.diagnostics_callable)
