"""``.modelfit`` on DataArray and Dataset."""

import xarray as xr

from xr_modelfit.accessor.data_methods import DataMethods
from xr_modelfit.accessor.picture_methods import PictureMethods
from xr_modelfit.accessor.result_methods import ResultMethods
from xr_modelfit.accessor.significance_methods import SignificanceMethods

__all__ = ["ModelfitDataArray", "ModelfitDataset"]


@xr.register_dataarray_accessor("modelfit")
class ModelfitDataArray(DataMethods):
    """Fit astropy models along named dims; see `xr_modelfit.fit`."""


@xr.register_dataset_accessor("modelfit")
class ModelfitDataset(DataMethods, ResultMethods, SignificanceMethods, PictureMethods):
    """Fit astropy models along named dims, and question the results; see `xr_modelfit.fit`."""

    _obj: xr.Dataset
