"""Fit astropy models along named dimensions of xarray objects.

Importing registers the accessor ``.modelfit`` on DataArray and Dataset.
"""

from importlib.metadata import version

from xr_modelfit.accessor import ModelfitDataArray, ModelfitDataset
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitting import FitError, FitWarning, fit
from xr_modelfit.record import RecordError
from xr_modelfit.report import FitReport
from xr_modelfit.status import FitStatus

__all__ = [
    "BatchLSQFitter",
    "FitError",
    "FitReport",
    "FitStatus",
    "FitWarning",
    "ModelfitDataArray",
    "ModelfitDataset",
    "RecordError",
    "fit",
]

__version__ = version("xr_modelfit")
