"""Counts as rates: divided by their exposure, as the model predicts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.labels.coords import Labels
from xr_modelfit.records.record import FitRecord
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import divided, measure_of

__all__ = ["as_rates", "exposure_of", "of_counts"]


def exposure_of(labels: Labels, record: FitRecord, exposure: Any) -> xr.DataArray | None:
    """The exposure of a fit, as the user gives it again or the record tells; None where the fit had none.

    Raises
    ------
    ValueError
        The fit had one and it is not given, or the reverse.
    """
    recorded = record.content["options"]
    kind = recorded.get("weighting")
    had = kind == "exposure" or (of_counts(record) and kind == "weights")
    if exposure is None:
        if had and isinstance(number := recorded.get(kind), int | float):  # one for all samples
            units = recorded.get("exposure_units")
            return xr.DataArray(float(number), attrs={"units": units} if isinstance(units, str) else {})
        if had:
            raise ValueError(
                "The fit had an exposure, which its record does not hold. Pass exposure=..., as in the fit: the "
                "samples are drawn divided by it, as the model is."
            )
        return None
    if not had:
        raise ValueError("exposure is given, but the fit had none. Leave it out.")
    if isinstance(exposure, Quantity) and exposure.ndim == 0:
        return xr.DataArray(float(exposure.value), attrs={"units": write_unit(exposure.unit)})
    if not isinstance(exposure, str | xr.DataArray) and np.ndim(exposure) == 0:
        return xr.DataArray(float(exposure))
    return labels.find("exposure", exposure)


def of_counts(record: FitRecord) -> bool:
    """Whether the fit maximised the likelihood of counts."""
    return record.content["fitter"]["keywords"].get("loss") == "poisson"


def as_rates(counts: xr.DataArray, exposure: xr.DataArray) -> xr.DataArray:
    """Counts over their exposure; NaN where that is not positive."""
    rates = counts / exposure.where(exposure > 0.0)
    text = divided(measure_of(counts), exposure.attrs.get("units")).text
    rates.attrs = {k: v for k, v in counts.attrs.items() if k != "units"} | ({} if text is None else {"units": text})
    return rates.transpose(*counts.dims).rename(counts.name)
