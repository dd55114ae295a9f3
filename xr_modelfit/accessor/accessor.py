"""``.modelfit`` on DataArray and Dataset."""

from typing import Any

import xarray as xr

from xr_modelfit.accessor.covariance_methods import CovarianceMethods
from xr_modelfit.accessor.data_methods import DataMethods
from xr_modelfit.accessor.picture_methods import PictureMethods
from xr_modelfit.accessor.refit_methods import RefitMethods
from xr_modelfit.accessor.result_methods import ResultMethods
from xr_modelfit.accessor.significance_methods import SignificanceMethods
from xr_modelfit.accessor.statistics_methods import StatisticsMethods
from xr_modelfit.foreign_methods import no_such_method

__all__ = ["ModelfitDataArray", "ModelfitDataset"]


def _public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


@xr.register_dataarray_accessor("modelfit")
class ModelfitDataArray(DataMethods):
    """Fit astropy models along named dims; see `xr_modelfit.fit`."""

    def __getattr__(self, name: str) -> Any:
        raise no_such_method("DataArray.modelfit", name, _public(ModelfitDataArray), _public(ModelfitDataset))


@xr.register_dataset_accessor("modelfit")
class ModelfitDataset(
    DataMethods, ResultMethods, RefitMethods, CovarianceMethods, SignificanceMethods, StatisticsMethods, PictureMethods
):
    """Fit astropy models along named dims, and question the results; see `xr_modelfit.fit`."""

    _obj: xr.Dataset

    def __getattr__(self, name: str) -> Any:
        variables = () if name.startswith("_") else map(str, self._obj.variables)
        raise no_such_method("Dataset.modelfit", name, _public(ModelfitDataset), variables=variables)
