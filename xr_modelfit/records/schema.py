"""The output schema: from the packed arrays of a fit to a labelled Dataset."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.fitters.block_task import Layout
from xr_modelfit.parameter_units.parameters import ParameterUnit
from xr_modelfit.records.metadata import CORRELATED, STATISTICS, Metadata

__all__ = [
    "COV_DIMS",
    "FIELD",
    "Fields",
    "Maps",
    "check_names",
    "label",
    "lazy_fields",
    "output_names",
    "parameter_labels",
]

FIELD = "_modelfit_field"
COV_DIMS = ("cov_i", "cov_j")

_DTYPES: dict[str, Any] = {
    "dof": np.int64,
    "n_points": np.int64,
    "fit_status": np.int8,
    "n_reached": np.int64,
    "clipped": np.bool_,
}  # others are float64
_WIDE = ("covariance", "clipped")  # one array each, with an axis of its own behind

Fields = Mapping[str, Sequence[Any]]


def output_names(names: Iterable[str], layout: Layout, prefix: str) -> list[str]:
    """Every name that a fit puts on its result."""
    parts = [*names, *(f"{n}_stderr" for n in names), *STATISTICS, "fit_status", *layout.info_names]
    parts += ["covariance"] * layout.covariance + [f"{n}_start" for n in names] * layout.starts
    parts += ["n_reached"] * layout.reached + ["chi2_prior"] * layout.priors
    parts += ["clipped"] * (layout.clipped is not None)
    parts += [name for name in CORRELATED if name in layout.fields]
    return [prefix + part for part in parts]


def check_names(frame: xr.Dataset, data: xr.DataArray, names: list[str], layout: Layout) -> None:
    """Refuse output names that a dim or coordinate of the data has already, or that occur twice."""
    taken = {str(n) for n in [*data.coords, *data.dims]}
    clashes = [n for n in names if n in taken]
    if clashes:
        raise ValueError(
            f"The result's variable {clashes[0]!r} would have the name of a dim or coordinate of the data. Put "
            f"something before all names, for example prefix='fit_', or rename it: .rename({{{clashes[0]!r}: ...}})."
        )
    if layout.covariance and any(d in taken for d in COV_DIMS):
        raise ValueError(
            f"covariance=True adds the dims {COV_DIMS}, and the data has one of that name. "
            f"Rename it: .rename({{{COV_DIMS[0]!r}: ...}})."
        )
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        name = sorted(twice)[0]
        told = {*layout.info_names} if layout.info_names else set()
        out = ", or leave the name out of fit_info" if any(name.endswith(one) for one in told) else ""
        raise ValueError(
            f"The result would have two variables called {name!r}: a parameter of the model, and what the result tells "
            f"of each fit. Rename the parameter, for example {name}_0{out}."
        )


class Maps:
    """The ``fields`` of a result, as `label` takes them: each in an array of its own, filled block by block."""

    def __init__(self, layout: Layout, units: Sequence[ParameterUnit], shape: tuple[int, ...]) -> None:
        self._columns, self._divisor = _columns(layout), _divisor(layout, units)
        self.fields: dict[str, list[np.ndarray]] = {}
        for name, columns in self._columns.items():
            own = (columns[0].stop - columns[0].start,) if name in _WIDE else ()
            self.fields[name] = [np.empty((*shape, *own), _DTYPES.get(name, np.float64)) for _ in columns]

    def put(self, at: tuple[slice, ...], packed: np.ndarray) -> None:
        """Copy the packed array of a block to its place."""
        for name, columns in self._columns.items():
            for array, column in zip(self.fields[name], columns, strict=True):
                array[at] = packed[..., column] / self._divisor[column]


def lazy_fields(packed: xr.Variable, layout: Layout, units: Sequence[ParameterUnit]) -> dict[str, list[Any]]:
    """The fields of a lazy packed array, as `label` takes them."""
    divisor = _divisor(layout, units)
    if np.any(divisor != 1.0):
        packed = packed / xr.Variable([FIELD], divisor)
    return {
        name: [packed.data[..., column].astype(_DTYPES.get(name, np.float64), copy=False) for column in columns]
        for name, columns in _columns(layout).items()
    }


def _columns(layout: Layout) -> dict[str, Sequence[Any]]:
    """The columns of each field in the packed array; those that are `_WIDE` are together."""
    return {n: [part] if n in _WIDE else range(part.start, part.stop) for n, part in layout.fields.items()}


def label(
    fields: Fields,
    dims: Sequence[Hashable],
    layout: Layout,
    frame: xr.Dataset,
    metadata: Metadata,
    samples: Mapping[Hashable, int],
) -> xr.Dataset:
    """The variables of the result, with the coordinates of the frame.

    ``fields`` are arrays over the remaining ``dims`` in the units of the result; that of the covariance has an axis of
    size K * K behind, that of clipped samples one of all samples. ``samples`` are the fitted dims and their sizes.
    """
    prefix, names = metadata.prefix, metadata.names
    variables: dict[str, xr.Variable] = {}

    def put(name: str, attrs: dict[str, Any], field: str, which: int = 0) -> None:
        variables[prefix + name] = xr.Variable(dims, fields[field][which], attrs)

    for j, name in enumerate(names):
        put(name, metadata.parameter(j), "parameters", j)
    for j, name in enumerate(names):
        put(f"{name}_stderr", metadata.stderr(j), "stderr", j)
    for name in STATISTICS:
        put(name, metadata.statistic(name), name)
    if layout.priors:
        put("chi2_prior", metadata.prior(), "chi2_prior")
    for name in layout.info_names:
        put(name, metadata.info(name), f"info:{name}")
    for name in CORRELATED:
        if name in layout.fields:
            put(name, metadata.correlated(name), name)
    put("fit_status", metadata.status(), "fit_status")
    for j, name in enumerate(names if layout.starts else ()):
        put(f"{name}_start", metadata.start(j), "start", j)
    if layout.reached:
        put("n_reached", metadata.reached(), "n_reached")
    if layout.clipped is not None:
        flat = fields["clipped"][0]
        shaped = flat.reshape(*flat.shape[:-1], *samples.values())
        variables[f"{prefix}clipped"] = xr.Variable((*dims, *samples), shaped, metadata.clipped())
    result = xr.Dataset({**frame.data_vars, **variables}, frame.coords, frame.attrs)
    if layout.covariance:
        result = result.assign({f"{prefix}covariance": _covariance(fields["covariance"][0], dims, metadata)})
    return result


def _divisor(layout: Layout, units: Sequence[ParameterUnit]) -> np.ndarray:
    """The divisors of the packed columns, which convert parameters, errors and covariance to the result's units."""
    fields, inward = layout.fields, np.array([one.inward for one in units])
    divisor = np.ones(layout.width)
    divisor[fields["parameters"]] = divisor[fields["stderr"]] = inward
    if "start" in fields:
        divisor[fields["start"]] = inward
    if "covariance" in fields:
        divisor[fields["covariance"]] = np.outer(inward, inward).ravel()
    return divisor


def parameter_labels(names: Sequence[str]) -> dict[str, xr.Variable]:
    """The coordinates of a covariance."""
    labels = np.array(names, dtype=object)  # zarr has no settled type for text of fixed width
    titles = zip(COV_DIMS, ("parameter of the row", "parameter of the column"), strict=True)
    return {dim: xr.Variable(dim, labels, {"long_name": title}) for dim, title in titles}


def _covariance(flat: Any, dims: Sequence[Hashable], metadata: Metadata) -> xr.DataArray:
    K = len(metadata.names)
    return xr.DataArray(
        flat.reshape(*flat.shape[:-1], K, K),
        dims=(*dims, *COV_DIMS),
        coords=parameter_labels(metadata.names),
        attrs=metadata.covariance(),
    )
