"""The record of a fit: what made a result, as JSON in the attrs of its ``fit_status``.

It holds no pickle and no code; see `records.model_record` for the model in it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import astropy
import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.messages import listed, sentence
from xr_modelfit.records.metadata import RECORD, counting, own_version
from xr_modelfit.records.model_record import RecordError, build_model, describe_model, plain_value
from xr_modelfit.records.registry import path_of
from xr_modelfit.records.validation import has_its_parts, is_within_limits
from xr_modelfit.units.times import CalendarError

__all__ = ["FitRecord", "RecordError", "as_recorded", "build_model", "describe_model", "read_records", "write_record"]

FORMAT = 1


class OtherCalendarError(CalendarError, RecordError):
    """Dates are not of the calendar that the record names."""


@dataclass(frozen=True)
class FitRecord:
    """One fit of a result, as its record tells."""

    prefix: str  # of the variables as they are called now
    content: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of the parameters, without prefix."""
        return list(self.content["names"])

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """For each model input its ``name``, its ``coordinate``, the coordinate's ``dims``, its unit or time axis."""
        return list(self.content["inputs"])

    @property
    def read(self) -> list[str]:
        """What each input read, in words: ``t reads time``."""
        counted = {one["name"]: words for one, words in zip(self._counting, self.counted, strict=True)}
        return [counted.get(one["name"], f"{one['name']} reads {one['coordinate']}") for one in self.inputs]

    @property
    def counted(self) -> list[str]:
        """The inputs that counted positions along a dim without a coordinate, in words."""
        return [f"{one['name']} {counting(one['coordinate'], one['counted'])}" for one in self._counting]

    @property
    def _counting(self) -> list[dict[str, Any]]:
        return [one for one in self.inputs if "counted" in one]

    @property
    def units(self) -> dict[str, Any] | None:
        """Units of data and parameters; None in records that have none."""
        return self.content.get("units")

    @property
    def grid_dims(self) -> list[str] | None:
        """The fitted dims in the order of the axes that the model got; None for a pointwise model."""
        return None if self.content.get("pointwise", True) else list(self.content["grid_dims"])

    @property
    def sampled(self) -> dict[str, Any] | None:
        """Bins and response of the fit; see `labels.nodes.Nodes.described`."""
        return self.content.get("sampled")

    @property
    def priors(self) -> dict[str, dict[str, Any]]:
        """``mean``, ``deviation`` (None where it was a map) and ``units`` of each parameter that had a prior."""
        options = self.content.get("options")
        return dict(options.get("priors", {})) if isinstance(options, dict) else {}

    def variable(self, name: str) -> str:
        """Name of a variable of this fit in the result."""
        return self.prefix + name

    def parameter(self, result: xr.Dataset, name: str) -> xr.DataArray:
        """The map of a parameter."""
        variable = self.variable(name)
        if variable not in result:
            raise RecordError(
                f"The result has no variable {variable!r}, which its record names; it has {listed(result.data_vars)}. "
                "Keep the parameters of a fit together, under the names that the fit gave."
            )
        return result[variable]

    def present(self, result: xr.Dataset, *others: str) -> list[str]:
        """Those of the parameters, their errors and ``others`` that the result has."""
        names = [*self.names, *(f"{n}_stderr" for n in self.names), *others]
        return [self.variable(n) for n in names if self.variable(n) in result]

    @property
    def model_name(self) -> str:
        """The name of evaluated values of the model."""
        name = self.content["data"]
        return f"{name}_model" if name else "model"


def write_record(
    *,
    model: Model,
    names: Sequence[str],
    fitted: Sequence[Any],
    grid_dims: Sequence[Any] | None,
    inputs: Sequence[Mapping[str, Any]],
    units: Mapping[str, Any],
    sampled: Mapping[str, Any] | None,
    prefix: str,
    data: Any,
    fitter: Any,
    keywords: Mapping[str, Any],
    engine: str,
    options: Mapping[str, Any],
) -> str:
    """The record as JSON text."""
    content = {
        "format": FORMAT,
        "model": describe_model(model),
        "names": list(names),
        "fitted_dims": [str(d) for d in fitted],
        "pointwise": grid_dims is None,
        "inputs": [dict(one) for one in inputs],
        "units": dict(units),
        "prefix": prefix,
        "data": None if data is None else str(data),
        "fitter": {"class": path_of(type(fitter)), "keywords": plain_value(keywords)},
        "engine": engine,
        "options": plain_value(options),
        "versions": _versions(engine),
    }
    if grid_dims is not None:
        content["grid_dims"] = [str(d) for d in grid_dims]
    if sampled is not None:
        content["sampled"] = dict(sampled)
    return json.dumps(content, allow_nan=False)


def _versions(engine: str) -> dict[str, str]:
    versions = {"xr_modelfit": own_version(), "astropy": astropy.__version__, "numpy": np.__version__}
    return versions | ({"numba": import_module("numba").__version__} if engine == "numba" else {})


def read_records(result: xr.Dataset) -> list[FitRecord]:
    """The records of all fits in a result; a RecordError if there is none, or if one cannot be read."""
    found = []
    for name, variable in result.data_vars.items():
        text = variable.attrs.get(RECORD)
        if text is None or not str(name).endswith("fit_status"):
            continue
        try:
            content = json.loads(text)
            known = is_within_limits(text, content) and content["format"] == FORMAT and has_its_parts(content)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            known = False
        if not known:
            raise RecordError(
                f"The record of the fit in the attrs of {name!r} cannot be read: it is damaged, or was written by a "
                "newer version of xr_modelfit."
            )
        found.append(FitRecord(str(name).removesuffix("fit_status"), content))
    if not found:
        raise RecordError(_no_record(result))
    return found


@contextmanager
def as_recorded() -> Iterator[None]:
    """Inside, a ValueError becomes a RecordError: the record is at fault, not the call."""
    try:
        yield
    except RecordError:
        raise
    except CalendarError as error:
        raise OtherCalendarError(str(error)) from error
    except ValueError as error:
        raise RecordError(f"The record of the fit does not match what is asked of it: {sentence(error)}") from error


def _no_record(result: xr.Dataset) -> str:
    bare = [name for name in result.data_vars if str(name).endswith("fit_status")]
    if not bare:
        return (
            "This Dataset is no result of a fit: it has no variable ...fit_status with a record of the fit. Its "
            f"variables are {listed(result.data_vars)}. Fit it first: fit = data.modelfit(model, dim)."
        )
    return (
        f"{bare[0]!r} has no record of the fit: its attrs were lost, in arithmetic or where results were combined. "
        f"Keep them by xarray.set_options(keep_attrs=True), or give them back: result[{bare[0]!r}].attrs = "
        f"fit[{bare[0]!r}].attrs, of the result that the fit gave. Images of a FITS file hold no record; it is in the "
        "file's table MODELFIT, which from_fits(path) reads."
    )
