"""``.modelfit`` on DataArray and Dataset: forwards, nothing else."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Callable, Hashable, Iterable
from types import EllipsisType
from typing import Any, Unpack

import xarray as xr
from astropy.modeling import Model

from xr_modelfit import components, derived, evaluation, fitted_model, fitting, prediction
from xr_modelfit.report import FitReport
from xr_modelfit.selection import all_fits, one_fit, parameters_of, succeeded

__all__ = ["ModelfitDataArray", "ModelfitDataset"]

Dim = Hashable | Iterable[Hashable] | EllipsisType | None


def _as_fit(method: Any) -> Any:
    """Give ``__call__`` the documentation and signature of `xr_modelfit.fit`."""
    method.__doc__ = fitting.fit.__doc__
    signature = inspect.signature(fitting.fit)
    first, *others = signature.parameters.values()
    method.__signature__ = signature.replace(parameters=[first.replace(name="self"), *others])
    return method


@xr.register_dataarray_accessor("modelfit")
class ModelfitDataArray:
    """Fit astropy models along named dims; see `xr_modelfit.fit`."""

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    @_as_fit
    def __call__(self, model: Model, dim: Dim = None, **options: Unpack[fitting.FitOptions]) -> xr.Dataset:
        return fitting.fit(self._obj, model, dim, **options)


@xr.register_dataset_accessor("modelfit")
class ModelfitDataset:
    """Fit astropy models along named dims, and question the results; see `xr_modelfit.fit`."""

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    @_as_fit
    def __call__(self, model: Model, dim: Dim = None, **options: Unpack[fitting.FitOptions]) -> xr.Dataset:
        return fitting.fit(self._obj, model, dim, **options)

    @property
    def ok(self) -> xr.DataArray | xr.Dataset:
        """Where the fit succeeded: bool, over the remaining dims.

        A result of several fits gives a Dataset, one variable for each.
        """
        return succeeded(self._obj)

    @property
    def params(self) -> xr.Dataset:
        """The parameters alone, without errors and statistics."""
        return parameters_of(self._obj)

    def report(self, n_worst: int = 5) -> FitReport:
        """Count how the fits ended, how many are on a bound, and name the worst.

        Computes what is lazy.

        Parameters
        ----------
        n_worst : int
            How many of the successful fits with the largest ``reduced_chi2`` to name.

        Returns
        -------
        FitReport
            Its ``str`` is a short text, in notebooks it is a table.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([[0.0, 1.0, 4.0], [np.nan] * 3], dims=("y", "t"))
        >>> print(data.modelfit(Linear1D(), dim="t").modelfit.report())
        2 fits, 1 successful (50.0 %)
          1  converged           The fit converged.
          1  no_data             There is no valid sample.
        Largest reduced_chi2: 0.667 (y=0).
        """
        return all_fits(self._obj, n_worst)

    def evaluate(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | None = None,
        model: Model | None = None,
        equivalencies: Any = None,
        **coords: Any,
    ) -> xr.DataArray:
        """The fitted model at the coordinates of ``obj``, or at coordinates given by name.

        Parameters
        ----------
        obj : DataArray or Dataset, optional
            Something with the coordinates that the fit read; positions are matched by label.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model, optional
            The model that was fitted, where the record alone cannot give it (custom classes,
            read from a file).
        equivalencies : mapping, optional
            As in the fit, where the record could not keep them.
        **coords : DataArray, Quantity, sequence, number or date
            Coordinates by name, ``velocity=[1, 2, 3]``; each by its own name or its input's. Plain
            numbers are in the unit that the fit read; other units are converted.

        Returns
        -------
        xarray.DataArray
            Over the remaining dims and those of the coordinates; in the order of ``obj`` where it
            is given. NaN where the fit failed. Lazy where the result or the coordinates are.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.
        ValueError, TypeError
            Coordinates are missing or do not match.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t", coords={"t": [0.0, 1.0, 2.0]})
        >>> fit = data.modelfit(Linear1D(), dim="t")
        >>> fit.modelfit.evaluate(t=[10.0]).round(6).values.tolist()
        [21.0]
        """
        return evaluation.evaluate(self._obj, one_fit(self._obj, data), obj, coords, model, equivalencies)

    def residuals(
        self,
        obj: xr.DataArray | xr.Dataset,
        *,
        data: str | None = None,
        model: Model | None = None,
        equivalencies: Any = None,
    ) -> xr.DataArray:
        """The data less the fitted model.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted, or a part of it; positions are matched by label.
        data, model, equivalencies
            As in `evaluate`.

        Returns
        -------
        xarray.DataArray
            As the data: its dims, order and unit. NaN where the fit failed. Lazy where the result
            or the data is.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.
        ValueError, TypeError
            Coordinates or units do not match, or there is no data.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Const1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t")
        >>> data.modelfit(Const1D(), dim="t").modelfit.residuals(data).round(6).values.tolist()
        [-2.0, 0.0, 2.0]
        """
        return components.residuals(self._obj, one_fit(self._obj, data), obj, model, equivalencies)

    def components(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | None = None,
        model: Model | None = None,
        equivalencies: Any = None,
        **coords: Any,
    ) -> xr.Dataset:
        """The parts of a fitted compound model, each as a variable of its own.

        Parameters
        ----------
        obj, data, model, equivalencies, **coords
            As in `evaluate`.

        Returns
        -------
        xarray.Dataset
            The terms of the sum, which add up to what `evaluate` gives (one that is subtracted
            is negative), or the factors of a product. A part is called by the name of its model,
            ``Gaussian1D(name="halpha")``, or by its class and number, ``Gaussian1D_0``.

        Raises
        ------
        RecordError, ValueError, TypeError
            As in `evaluate`.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Const1D, Linear1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t", coords={"t": [0.0, 1.0, 2.0]})
        >>> model = Linear1D(name="trend", fixed={"intercept": True}) + Const1D(name="offset")
        >>> parts = data.modelfit(model, dim="t").modelfit.components(data)
        >>> parts["trend"].round(6).values.tolist()
        [0.0, 2.0, 4.0]
        """
        return components.components(self._obj, one_fit(self._obj, data), obj, coords, model, equivalencies)

    def predict(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | None = None,
        model: Model | None = None,
        equivalencies: Any = None,
        **coords: Any,
    ) -> xr.Dataset:
        """The fitted model with its standard error, from the covariance of the parameters.

        The error is that of the fitted curve, to first order. A new sample scatters about the
        curve with its own error as well: ``np.hypot(stderr, sigma)``.

        Parameters
        ----------
        obj, data, model, equivalencies, **coords
            As in `evaluate`. The fit must have been made with ``covariance=True``.

        Returns
        -------
        xarray.Dataset
            ``model``, as `evaluate` gives it, and ``model_stderr``, both in the unit of the data,
            with the name of the data before them. A parameter on its bound counts as held there.

        Raises
        ------
        RecordError
            The result has no covariance, or does not say enough about its fit.
        ValueError, TypeError
            As in `evaluate`.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Const1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0, 3.0], dims="t")
        >>> fit = data.modelfit(Const1D(), dim="t", sigma=2.0, covariance=True)
        >>> fit.modelfit.predict(t=[9.0])["model_stderr"].round(6).values.tolist()
        [1.0]
        """
        return prediction.predict(self._obj, one_fit(self._obj, data), obj, coords, model, equivalencies)

    def derived(
        self, *names: str, data: str | None = None, model: Model | None = None, **functions: Callable[..., Any]
    ) -> xr.Dataset:
        """Quantities computed from the parameters, with errors through their covariance.

        Errors are propagated to first order, correlations included.

        Parameters
        ----------
        *names : str
            Quantities with a known formula: ``flux`` and ``fwhm`` of lines, ``x_fwhm``, ``y_fwhm``
            and ``flux`` of sources, ``half_life``, ``period``. Of a compound, in the pattern of its
            parameters: ``halpha_flux``, ``flux_0``. Without names and functions: all.
        data, model
            As in `evaluate`.
        **functions : callable
            New quantities, each by a function whose arguments are called like parameters. It gets
            arrays, as Quantities where units are known and the function takes them.

        Returns
        -------
        xarray.Dataset
            Over the remaining dims: each quantity and its ``_stderr``, with ``units`` where they
            follow. NaN where the fit failed. Lazy where the result is.

        Raises
        ------
        RecordError
            The result has no covariance where a quantity takes several parameters (fit with
            ``covariance=True``), or does not say enough about its fit.
        ValueError, TypeError
            A name is not known, or a function takes something that is no parameter.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([-2.0, 0.1, 1.9, 4.1], dims="t")
        >>> fit = data.modelfit(Linear1D(), dim="t", sigma=0.1, covariance=True)
        >>> zero = fit.modelfit.derived(crossing=lambda slope, intercept: -intercept / slope)
        >>> round(zero["crossing"].item(), 3), round(zero["crossing_stderr"].item(), 3)
        (0.99, 0.027)
        """
        return derived.derived(self._obj, one_fit(self._obj, data), names, functions, model)

    def to_model(self, *, data: str | None = None, model: Model | None = None) -> Model:
        """The fitted astropy model; parameters are arrays over the remaining dims, in order.

        For one position, select it first: ``result.isel(y=3, x=5).modelfit.to_model()``.

        Parameters
        ----------
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model, optional
            The model that was fitted, where the record alone cannot give it.

        Returns
        -------
        astropy.modeling.Model
            With constraints, domain and window; ties only where they are known in this process.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t")
        >>> line = data.modelfit(Linear1D(), dim="t").modelfit.to_model()
        >>> round(float(line(10.0)), 6)
        21.0
        """
        return fitted_model.to_model(self._obj, one_fit(self._obj, data), model)
