"""The record of a fit: what made a result, as JSON in the attrs of its ``fit_status``.

It holds no pickle and no code; see `xr_modelfit.model_record` for the model in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import astropy
import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.messages import listed
from xr_modelfit.model_record import RecordError, build_model, describe_model, plain_value
from xr_modelfit.remembered import path_of
from xr_modelfit.results import RECORD

__all__ = ["FitRecord", "RecordError", "build_model", "describe_model", "read_records", "write_record"]

FORMAT = 1
_KEYS = ("model", "names", "inputs", "data", "fitted_dims")


@dataclass(frozen=True)
class FitRecord:
    """One fit of a result, as its record tells.

    ``prefix`` is that of the variables as they are called now.
    """

    prefix: str
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
    def units(self) -> dict[str, Any] | None:
        """Units of data and parameters; None in records that have none."""
        return self.content.get("units")

    def variable(self, name: str) -> str:
        """Name of a variable of this fit in the result."""
        return self.prefix + name


def write_record(
    *,
    model: Model,
    names: Sequence[str],
    fitted: Sequence[Any],
    inputs: Sequence[Mapping[str, Any]],
    units: Mapping[str, Any],
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
        "inputs": [dict(one) for one in inputs],
        "units": dict(units),
        "prefix": prefix,
        "data": None if data is None else str(data),
        "fitter": {"class": path_of(type(fitter)), "keywords": plain_value(keywords)},
        "engine": engine,
        "options": plain_value(options),
        "versions": {"xr_modelfit": version("xr_modelfit"), "astropy": astropy.__version__, "numpy": np.__version__},
    }
    return json.dumps(content, allow_nan=False)


def read_records(result: xr.Dataset) -> list[FitRecord]:
    """The records in a result, one for each fit in it.

    Raises
    ------
    RecordError
        There is none, or one cannot be read.
    """
    found = []
    for name, variable in result.data_vars.items():
        text = variable.attrs.get(RECORD)
        if text is None or not str(name).endswith("fit_status"):
            continue
        try:
            content = json.loads(text)
            known = content["format"] == FORMAT and all(key in content for key in _KEYS)
        except (TypeError, ValueError, KeyError):
            known = False
        if not known:
            raise RecordError(
                f"The record of the fit in the attrs of {name!r} cannot be read: it is damaged, or was written by a "
                "newer version of xr_modelfit."
            )
        found.append(FitRecord(str(name).removesuffix("fit_status"), content))
    if not found:
        raise RecordError(
            "This Dataset is no result of a fit: no variable ...fit_status has a record of the fit in its attrs. Its "
            f"variables are {listed(result.data_vars)}. Attrs may have been lost in "
            "arithmetic: xarray.set_options(keep_attrs=True) keeps them."
        )
    return found
