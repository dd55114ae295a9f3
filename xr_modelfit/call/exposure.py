"""The exposure of counts: when it may be given, and what it makes of the unit of the data."""

from __future__ import annotations

from typing import Any

import xarray as xr
from astropy.units import Quantity

from xr_modelfit.call.options import FitOptions
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.labels.coords import Labels
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Measure, divided, measure_of

__all__ = ["check_exposure", "is_of_counts", "measure_of_rates"]


def is_of_counts(fitter: Any) -> bool:
    """Whether a fitter maximises the likelihood of counts."""
    return isinstance(fitter, BatchLSQFitter) and fitter.loss == "poisson"


def check_exposure(options: FitOptions) -> None:
    """Refuse an exposure where there is no place for it.

    Raises
    ------
    ValueError
    """
    if options.exposure is None:
        return
    if not is_of_counts(options.fitter):
        raise ValueError(
            "exposure is given, but the fitter is not one of counts, whose model times exposure predicts the data. "
            'Pass fitter=BatchLSQFitter(loss="poisson"). If the data are no counts, divide them and their sigma by the '
            "exposure."
        )
    if options.sigma is not None:
        raise ValueError(
            'exposure and sigma are both given, but loss="poisson" knows the noise of counts: the root of what the '
            "model predicts. Leave sigma out."
        )
    if options.weights is not None:
        raise ValueError(
            'exposure and weights are both given. With loss="poisson" weights are another name of the exposure. Leave '
            "weights out."
        )


def measure_of_rates(labels: Labels, options: FitOptions) -> Measure:
    """What the numbers of the model mean: those of the data or, of counts, of the data over the exposure."""
    measure = measure_of(labels.data)
    if not is_of_counts(options.fitter):
        return measure
    argument = "exposure" if options.exposure is not None else "weights"
    return divided(measure, _units_of(labels, argument, getattr(options, argument)))


def _units_of(labels: Labels, argument: str, value: Any) -> str | None:
    """The units of an exposure; None where it has none, or is no exposure."""
    if isinstance(value, Quantity) and value.ndim == 0:
        return write_unit(value.unit)
    if not isinstance(value, str | xr.DataArray):
        return None  # a number, or what is refused later
    return measure_of(labels.find(argument, value)).text
