"""Starts from a fit of fewer, less noisy samples: of their mean over all positions, or of a coarser grid."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.units import Quantity

from xr_modelfit.call.exposure import is_of_counts
from xr_modelfit.call.options import FitOptions
from xr_modelfit.call.start_requests import ESTIMATE
from xr_modelfit.estimates.coarse import refined, rounded
from xr_modelfit.labels.coords import Labels, fitted_dims
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.models.expression import representatives, with_values

__all__ = ["CoarseStart", "asks_for_a_first_fit", "starts_of_first_fit", "with_numbers"]

_DATA, _BESIDE, _EXPOSURE = "_modelfit_data", "_modelfit_input_", "_modelfit_exposure"
_OWN = (_DATA, _EXPOSURE)
_FACTOR = 4  # positions in a cell along each dim
_SMALLEST = 2  # cells along a dim

Fit = Callable[[Labels, Model, FitOptions], xr.Dataset]


@dataclass(frozen=True)
class CoarseStart:
    """Starts from fits of a coarser grid, for ``p0``.

    The data are averaged in cells of positions and fitted there, where the noise is less. What those fits found is
    interpolated to the full grid; cells whose fit failed are filled from their neighbours.

    Parameters
    ----------
    factors : mapping of Hashable to int, optional
        Positions in a cell, ``{"y": 4, "x": 4}``. Default: 4 along each remaining dim that has 8 positions or more.
    levels : int
        How many coarser grids: with 2, the coarse fits start from those of a grid coarser by the same factors again.

    Examples
    --------
    >>> import xr_modelfit
    >>> from astropy.modeling.models import Gaussian1D
    >>> from xr_modelfit import tutorial
    >>> cube = tutorial.line_cube((16, 16))
    >>> start = xr_modelfit.CoarseStart({"y": 4, "x": 4})
    >>> fit = cube.modelfit(Gaussian1D(1, 4500, 500), dim="velocity", p0=start, errors="ignore")
    >>> int(fit.modelfit.ok.sum()) > 190
    True
    """

    factors: Mapping[Hashable, int] | None = None
    levels: int = 1

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises ValueError if a factor is no whole number above 1, or ``levels`` none above 0.
        """
        for dim, factor in (self.factors or {}).items():
            if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 2:
                raise ValueError(f"factors[{dim!r}] is {factor!r}; a whole number of 2 or more is needed.")
        if isinstance(self.levels, bool) or not isinstance(self.levels, int | np.integer) or self.levels < 1:
            raise ValueError(f"levels is {self.levels!r}; a whole number of 1 or more is needed.")

    def of(self, sizes: Mapping[Hashable, int]) -> dict[Hashable, int]:
        """Positions in a cell along each dim.

        Raises ValueError if a dim is not among the remaining ones, or none can be made coarser.
        """
        for dim in self.factors or {}:
            if dim not in sizes:
                raise ValueError(
                    f"p0 makes {dim!r} coarser, but the remaining dims are {listed(sizes)}.{suggestion(dim, sizes)}"
                )
        wanted = dict.fromkeys(sizes, _FACTOR) if self.factors is None else self.factors
        return {d: int(f) for d, f in wanted.items() if sizes[d] >= _SMALLEST * f}

    @property
    def described(self) -> dict[str, Any]:
        """What the record says of it."""
        factors = None if self.factors is None else {str(d): int(f) for d, f in self.factors.items()}
        return {"coarse": factors, "levels": int(self.levels)}


def asks_for_a_first_fit(p0: Any) -> bool:
    """Whether starts come from another fit of the same data."""
    return isinstance(p0, CoarseStart) or (isinstance(p0, str) and p0 in ("mean", "coarse"))


def starts_of_first_fit(labels: Labels, model: Model, options: FitOptions, free: Iterable[str], fit: Fit) -> Any:
    """Starts as ``p0`` takes them: maps of the ``free`` parameters, NaN where the first fit has nothing to say.

    The ``p0`` of the options asks for a first fit; ``fit`` fits the data of labels.
    """
    if is_of_counts(options.fitter) and options.weights is not None:  # the other name of the exposure
        options = replace(options, exposure=options.weights, weights=None)
    fitted = fitted_dims(labels, options.dim, options.coords)
    remaining = {d: n for d, n in labels.data.sizes.items() if d not in fitted}
    reduced = _of_fits(labels, options, fitted)
    p0 = CoarseStart() if options.p0 == "coarse" else options.p0
    factors = p0.of(remaining) if isinstance(p0, CoarseStart) else {}
    first: Any = [{}, ESTIMATE]
    if isinstance(p0, CoarseStart):
        if not factors:  # too small to be made coarser
            return [{}, ESTIMATE]
        few = reduced.coarsen(factors, boundary="pad")
        small, low, high = few.mean(), _bounds(options.bounds, factors, "min"), _bounds(options.bounds, factors, "max")
        if p0.levels > 1:
            first = replace(p0, levels=p0.levels - 1)
    else:
        small = reduced.mean(list(remaining))
        low, high = (_bounds(options.bounds, list(remaining), how) for how in ("min", "max"))
    exposure = options.exposure
    if _EXPOSURE in small:
        exposure = small[_EXPOSURE].assign_attrs(labels.find("exposure", exposure).attrs)
    small = small.drop_vars(_EXPOSURE, errors="ignore").set_coords([n for n in small.variables if n not in _OWN])
    data = small[_DATA].rename(labels.data.name).assign_attrs(labels.data.attrs)
    result = fit(
        Labels(data, {n: data.coords[n] for n in data.coords}),
        with_numbers(model),
        replace(
            options, p0=first, bounds={n: (low[n], high[n]) for n in low} or None, data=None, where=None, prefix="",
            sigma=None, weights=None, absolute_sigma=None, noise=None, exposure=exposure, priors=None,
            upper_limit=None, coord_sigma=None, min_points=None, covariance=False, keep_failed=False, errors="ignore",
            fit_info=None, progress=False, diagnostics=None, diagnostics_path=None, diagnostics_callable=None,
            keep_attrs=False, coords=_by_name(options.coords),
            **{name: _without_dims(labels, getattr(options, name), remaining) for name in ("integrate", "response")},
        ),
    )  # fmt: skip
    found = {name: _rounded(result[name], result[f"{name}_stderr"]) for name in free}
    if not factors:
        return found
    return {name: _refined(one, factors, remaining) for name, one in found.items()}


def _of_fits(labels: Labels, options: FitOptions, fitted: tuple[Hashable, ...]) -> xr.Dataset:
    """The samples that take part, and the numbers beside them that a model may read, as variables of a Dataset."""
    data = labels.data
    if options.where is not None:
        data = data.where(labels.find("where", options.where))
    made = data.to_dataset(name=_DATA, promote_attrs=False)
    given = options.coords if isinstance(options.coords, Mapping) else {}
    named = [v for v in (given.values() if given else [options.coords]) if isinstance(v, str)]
    made = made.assign({n: labels.variables[n] for n in named if n in labels.variables and n not in made.variables})
    made = made.assign({f"{_BESIDE}{key}": v for key, v in given.items() if isinstance(v, xr.DataArray)})
    made = made.assign(_exposure(labels, options, made[_DATA]))
    apart = [n for n, c in made.coords.items() if n in made.dims and n not in fitted]
    texts = [n for n, c in made.variables.items() if c.dtype.kind not in "iufM" and n not in made.indexes]
    return made.drop_vars([*apart, *texts]).reset_coords()


def _exposure(labels: Labels, options: FitOptions, data: xr.DataArray) -> dict[str, xr.DataArray]:
    """The exposure of the samples that take part, to be averaged as they are; nothing where it is a number."""
    if not isinstance(options.exposure, str | xr.DataArray):
        return {}
    given = labels.find("exposure", options.exposure)
    return {_EXPOSURE: given.drop_vars(list(given.coords)).where(data.notnull())}


def _by_name(coords: Any) -> Any:
    """What inputs read, by the names that arrays have beside the smaller data."""
    if isinstance(coords, Mapping):
        return {key: f"{_BESIDE}{key}" if isinstance(value, xr.DataArray) else value for key, value in coords.items()}
    return coords


def _without_dims(labels: Labels, value: Any, remaining: Mapping[Hashable, int]) -> Any:
    """Bins or a response that all fits share; nothing where each fit has its own."""
    if value is None or isinstance(value, bool):
        return value
    each = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    arrays = [labels.variables[v] if isinstance(v, str) and v in labels.variables else v for v in each]
    return None if any(isinstance(v, xr.DataArray) and set(v.dims) & set(remaining) for v in arrays) else value


def _bounds(bounds: Any, over: Any, how: str) -> dict[str, Any]:
    """Low or high bounds that hold for all positions of a cell, or for all."""
    if not isinstance(bounds, Mapping):
        return {}

    def reduced(value: Any) -> Any:
        if not isinstance(value, xr.DataArray) or not value.dims:
            return value
        if isinstance(over, Mapping):
            own = {d: f for d, f in over.items() if d in value.dims}
            return getattr(value.coarsen(own, boundary="pad"), how)() if own else value
        return getattr(value, how)([d for d in over if d in value.dims])

    number = 0 if how == "min" else 1
    pairs = {n: p for n, p in bounds.items() if isinstance(p, tuple | list | Quantity) and len(p) == 2}
    return {n: reduced(p[number]) for n, p in pairs.items()}


def with_numbers(model: Model) -> Model:
    """The model with one start for all positions, where it has a map of its own."""
    if all(np.size(getattr(model, name).value) == 1 for name in model.param_names):
        return model
    values = [
        number if (unit := getattr(model, name).unit) is None else Quantity(number, unit)
        for name, number in zip(model.param_names, representatives(model), strict=True)
    ]
    return with_values(model, values)


def _rounded(values: xr.DataArray, errors: xr.DataArray) -> xr.DataArray:
    """Starts that do not depend on the order in which samples were added."""
    made = xr.apply_ufunc(rounded, values, errors, dask="parallelized", output_dtypes=[np.float64], keep_attrs=False)
    return made.assign_attrs(values.attrs)


def _refined(one: xr.DataArray, factors: Mapping[Hashable, int], sizes: Mapping[Hashable, int]) -> xr.DataArray:
    """A map on the full grid, of one on the coarse grid."""
    dims = list(factors)
    one = one.drop_vars(list(one.coords))
    if one.chunks is not None:
        one = one.chunk(dict.fromkeys(dims, -1))
    out = xr.apply_ufunc(
        refined,
        one,
        kwargs={"factors": list(factors.values()), "sizes": [sizes[d] for d in dims]},
        input_core_dims=[dims],
        output_core_dims=[dims],
        exclude_dims=set(dims),
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {d: sizes[d] for d in dims}},
        keep_attrs=True,
    )
    return out.transpose(*(d for d in sizes if d in out.dims))
