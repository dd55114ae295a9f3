"""Tests of hypotheses about fitted parameters: forwards, nothing else."""

from __future__ import annotations

import xarray as xr

from xr_modelfit.results import statistics
from xr_modelfit.results.selection import one_fit

__all__ = ["StatisticsMethods"]


class StatisticsMethods:
    """Ask how surprising a parameter is."""

    _obj: xr.Dataset

    def p_value(self, param: str, *, null: float = 0.0, data: str | None = None) -> xr.DataArray:
        """How probable a parameter this far from ``null`` is by chance: a two-sided p-value.

        The parameter is taken for normal, and the samples for independent of each other. Samples of a
        series often are not (a warm month follows a warm one): then p-values are too small, unless the
        fit was made with ``noise="ar1"`` or a covariance.

        Parameters
        ----------
        param : str
            A parameter, such as ``"slope"``; of a result of several fits also as the result has it, ``"tas_slope"``.
        null : float
            The value that is put to the test, in the unit of the parameter.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.

        Returns
        -------
        xarray.DataArray
            Between 0 and 1, over the remaining dims. From Student's t with ``dof`` degrees of freedom
            where errors come from the residuals. From the normal distribution where ``sigma`` was given as
            absolute, and for counts (``loss="poisson"``); ``comment`` in its attrs says which. After a fit
            with ``noise="ar1"`` from Student's t with ``n_effective`` less the number of free parameters as
            degrees of freedom. NaN where
            the fit failed, the parameter is fixed or on its bound, or no degree of freedom is left. Lazy
            where the result is.

        Raises
        ------
        ValueError
            ``param`` is no parameter, or ``null`` no finite number.
        RecordError
            The Dataset does not say enough about its fit.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([1.0, 1.4, 2.1, 2.4, 3.2], dims="t")
        >>> fit = data.modelfit(Linear1D(), dim="t")
        >>> round(fit.modelfit.p_value("slope").item(), 4)
        0.001
        """
        return statistics.p_value(self._obj, one_fit(self._obj, data, param), param, null)
