"""Fit astropy models along named dimensions of xarray objects.

Importing registers the accessor ``.modelfit`` on DataArray and Dataset.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xr_modelfit.accessor.accessor import ModelfitDataArray, ModelfitDataset
from xr_modelfit.call.first_fits import CoarseStart
from xr_modelfit.call.fitting import FitError, FitWarning, fit
from xr_modelfit.estimates.registry import register_estimator
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.foreign_methods import no_such_function
from xr_modelfit.planning.plan import FitPlan
from xr_modelfit.records.metadata import own_version
from xr_modelfit.records.record import RecordError
from xr_modelfit.results.report import FitReport
from xr_modelfit.status import FitStatus
from xr_modelfit.stores.log import StoreError
from xr_modelfit.units.text import UnknownUnitError
from xr_modelfit.units.times import CalendarError

if TYPE_CHECKING:
    from xr_modelfit.fits_io.fits import from_fits
    from xr_modelfit.fits_io.nddata import from_nddata
    from xr_modelfit.fits_io.to_fits import to_hdulist
    from xr_modelfit.fits_io.wcs import coords_from_wcs

__all__ = [
    "BatchLSQFitter",
    "CalendarError",
    "CoarseStart",
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
    "register_estimator",
    "to_hdulist",
]

__version__ = own_version()

# Most users have no FITS files: what reads and writes them is imported when it is first named.
_WHEN_NAMED = {
    "coords_from_wcs": "xr_modelfit.fits_io.wcs",
    "from_fits": "xr_modelfit.fits_io.fits",
    "from_nddata": "xr_modelfit.fits_io.nddata",
    "to_hdulist": "xr_modelfit.fits_io.to_fits",
}


def __getattr__(name: str) -> Any:
    if name == "tutorial":
        return import_module("xr_modelfit.tutorial")
    if name not in _WHEN_NAMED:
        raise no_such_function(__name__, name, __all__)
    globals()[name] = found = getattr(import_module(_WHEN_NAMED[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "tutorial"])
