"""The covariance of the parameters, after the fit: forwards, nothing else."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import xarray as xr

from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.refits import covariance

__all__ = ["CovarianceMethods"]


class CovarianceMethods:
    """Add the covariance to a result that was made without."""

    _obj: xr.Dataset

    def with_covariance(
        self,
        obj: xr.DataArray | xr.Dataset,
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        where: Any = None,
        **options: Any,
    ) -> xr.Dataset:
        """The result with the covariance of its parameters, from the data that was fitted; nothing is fitted again.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted, at the positions of the result.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted. Default: all.
        model : astropy.modeling.Model or callable, optional
            The model or function that was fitted, where the record alone cannot give it.
        where : DataArray or name, optional
            The mask of samples of the fit.
        **options
            What the record of the fit does not hold: ``sigma`` and ``weights`` that were no single number, ``bounds``
            that are maps, ``integrate``, ``response``.

        Returns
        -------
        xarray.Dataset
            The result with ``covariance`` over the remaining dims, ``cov_i`` and ``cov_j``, as ``covariance=True``
            gives it. NaN where a fit failed, and where the standard errors that follow from the data are not those of
            the result. Lazy if the result or the data is.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.
        ValueError, TypeError
            Something that the fit had is missing, or an argument does not match; or the standard errors are not those
            of the result at any position (of computed input).

        Warns
        -----
        UserWarning
            They are not at some positions (of computed input).

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([-2.0, 0.1, 1.9, 4.1], dims="t")
        >>> fit = data.modelfit(Linear1D(), dim="t", sigma=0.1).modelfit.with_covariance(data)
        >>> fit["covariance"].values.round(4).tolist()
        [[0.002, -0.003], [-0.003, 0.007]]
        """
        return covariance.with_covariance(self._obj, obj, data, model, where, options)
