"""Fit astropy models along named dimensions of xarray objects.

Importing registers the accessor ``.modelfit`` on DataArray and Dataset.
"""

from xr_modelfit.accessor import ModelfitDataArray, ModelfitDataset
from xr_modelfit.fits import from_fits
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitting import FitError, FitWarning, fit
from xr_modelfit.metadata import own_version
from xr_modelfit.nddata import from_nddata
from xr_modelfit.plan import FitPlan
from xr_modelfit.record import RecordError
from xr_modelfit.report import FitReport
from xr_modelfit.status import FitStatus
from xr_modelfit.store_log import StoreError
from xr_modelfit.times import CalendarError
from xr_modelfit.to_fits import to_hdulist
from xr_modelfit.unit_text import UnknownUnitError
from xr_modelfit.wcs import coords_from_wcs

__all__ = [
    "BatchLSQFitter",
    "CalendarError",
    "FitError",
    "FitPlan",
    "FitReport",
    "FitStatus",
    "FitWarning",
    "ModelfitDataArray",
    "ModelfitDataset",
    "RecordError",
    "StoreError",
    "UnknownUnitError",
    "coords_from_wcs",
    "fit",
    "from_fits",
    "from_nddata",
    "to_hdulist",
]

__version__ = own_version()
