"""Methods of ``.modelfit`` on a result: forwards to `results` and `stores`."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr
from astropy.modeling import Model

from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.refits import covariance
from xr_modelfit.results import components, evaluation, fitted_model
from xr_modelfit.results.evaluation import Evaluation
from xr_modelfit.results.report import FitReport, report_of
from xr_modelfit.results.selection import one_fit, parameters_of, succeeded
from xr_modelfit.stores import stores

__all__ = ["ResultMethods"]


class ResultMethods:
    """Summarize a result, evaluate it, and write it tile by tile."""

    _obj: xr.Dataset

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

        A lazy result is computed.

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
        >>> data = xr.DataArray([[0.0, 1.0, 4.0], [np.nan] * 3], dims=("y", "t"), coords={"t": [0.0, 1.0, 2.0]})
        >>> print(data.modelfit(Linear1D(), dim="t").modelfit.report())
        2 fits, 1 successful (50.0 %)
          1  converged           The fit converged.
          1  no_data             There is no valid sample.
        Largest reduced_chi2: 0.667 (y=0).
        """
        return report_of(self._obj, n_worst)

    def evaluate(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        equivalencies: Any = None,
        integrate: Any = None,
        response: Any = None,
        **coords: Any,
    ) -> xr.DataArray:
        """The fitted model at the coordinates of ``obj``, or at coordinates given by name.

        Parameters
        ----------
        obj : DataArray or Dataset, optional
            Something with the coordinates that the fit read; positions are matched by label.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model or callable, optional
            The model or function that was fitted; needed where the record cannot give it (functions and custom classes,
            read from a file).
        equivalencies : mapping, optional
            As in the fit, where the record could not keep them.
        integrate, response
            By default as in the fit; False: the model itself.
        **coords : DataArray, Quantity, sequence, number or date
            Coordinates by name, ``velocity=[1, 2, 3]``; each by its own name or its input's. Plain numbers are in the
            unit that the fit read; other units are converted.

        Returns
        -------
        xarray.DataArray
            Over the remaining dims and those of the coordinates, in the order of ``obj`` if it is given. NaN where the
            fit failed. Lazy if the result or the coordinates are.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.
        ValueError, TypeError
            Coordinates are missing or do not match.

        Notes
        -----
        A model that sees all its samples, such as a convolution, takes the given coordinates for its whole grid: on
        coordinates other than those of the fit it is another model.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t", coords={"t": [0.0, 1.0, 2.0]})
        >>> fit = data.modelfit(Linear1D(), dim="t")
        >>> fit.modelfit.evaluate(t=[10.0]).round(6).values.tolist()
        [21.0]
        """
        return evaluation.evaluate(self._at(obj, data, coords, model, equivalencies, integrate, response))

    def residuals(
        self,
        obj: xr.DataArray | xr.Dataset,
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        equivalencies: Any = None,
        integrate: Any = None,
        response: Any = None,
    ) -> xr.DataArray:
        """The data minus the fitted model.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted, or a part of it; positions are matched by label.
        data, model, equivalencies, integrate, response
            As in `evaluate`.

        Returns
        -------
        xarray.DataArray
            As the data: its dims, order and unit. NaN where the fit failed. Lazy where the result or the data is.

        Raises
        ------
        RecordError, ValueError, TypeError
            As in `evaluate`; or units do not match.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Const1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0], dims="t")
        >>> data.modelfit(Const1D(), dim="t").modelfit.residuals(data).round(6).values.tolist()
        [-2.0, 0.0, 2.0]
        """
        return components.residuals(self._obj, one_fit(self._obj, data), obj, model, equivalencies, integrate, response)

    def components(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        equivalencies: Any = None,
        integrate: Any = None,
        response: Any = None,
        **coords: Any,
    ) -> xr.Dataset:
        """The parts of a fitted compound model, each as a variable of its own.

        Parameters
        ----------
        obj, data, model, equivalencies, integrate, response, **coords
            As in `evaluate`.

        Returns
        -------
        xarray.Dataset
            The terms of the sum, which add up to what `evaluate` gives (one that is subtracted is negative), or the
            factors of a product. A part is called by the name of its model, ``Gaussian1D(name="halpha")``, or by its
            class and number, ``Gaussian1D_0``.

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
        return components.components(self._at(obj, data, coords, model, equivalencies, integrate, response))

    def predict(
        self,
        obj: xr.DataArray | xr.Dataset | None = None,
        *,
        data: str | xr.DataArray | xr.Dataset | None = None,
        model: ModelArg | None = None,
        equivalencies: Any = None,
        integrate: Any = None,
        response: Any = None,
        **coords: Any,
    ) -> xr.Dataset:
        """The fitted model with its standard error, from the covariance of the parameters.

        The error is that of the fitted curve, to first order. A new sample scatters about the curve with its own error
        as well: ``np.hypot(stderr, sigma)``.

        Parameters
        ----------
        obj, model, equivalencies, integrate, response, **coords
            As in `evaluate`.
        data : str, DataArray or Dataset, optional
            The name, as in `evaluate`; or the data that was fitted. If the result has no ``covariance``, it is computed
            from this data, by default from ``obj``. See `with_covariance` for what the record of the fit does not hold.

        Returns
        -------
        xarray.Dataset
            ``model``, as `evaluate` gives it, and ``model_stderr``, both in the unit of the data, with the name of the
            data before them. A parameter on its bound counts as held there.

        Raises
        ------
        RecordError, ValueError, TypeError
            The result has no covariance, and it does not follow from the data; or as in `evaluate`.

        Examples
        --------
        >>> import xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Const1D
        >>> data = xr.DataArray([1.0, 3.0, 5.0, 3.0], dims="t")
        >>> fit = data.modelfit(Const1D(), dim="t", sigma=2.0)
        >>> fit.modelfit.predict(t=[9.0], data=data)["model_stderr"].round(6).values.tolist()
        [1.0]
        """
        return covariance.predict(self._obj, obj, data, coords, model, equivalencies, integrate, response)

    def derived(
        self,
        *names: str,
        data: str | xr.DataArray | xr.Dataset | None = None,
        model: ModelArg | None = None,
        **functions: Callable[..., Any],
    ) -> xr.Dataset:
        """Compute quantities from the parameters, with standard errors.

        Errors follow from the covariance of the parameters, to first order, so correlations are included. A parameter
        on its bound has no error. A quantity that depends on it has none either: it is NaN.

        Parameters
        ----------
        *names : str
            Quantities with a known formula. Without names and functions: all that are known for the model.

            - Lines: ``flux`` and ``fwhm``. Sources in images: ``flux``, ``x_fwhm`` and ``y_fwhm``, or ``fwhm``.
            - Decays: ``half_life``.
            - Waves: ``period``, ``wave_amplitude`` (not negative), ``maximum`` (the first one in the data), and over
              dates ``maximum_day``, its day of the year.
            - Slopes in time: ``"per decade"`` or ``"per year"`` gives ``slope_per_decade`` or ``slope_per_year``.
              Years are those of the coordinate's own calendar.

            In a sum of models, a quantity is called like the parameters of its part: ``halpha_flux`` if the part has a
            name, else ``flux_0``. Waves of one fixed frequency are taken together, without a name or number.
        data : str, DataArray or Dataset, optional
            The name of a variable, if the result holds the fits of several: the quantities are those of its fit. Or the
            data that was fitted: if the result has no covariance, it is computed from the data; see `with_covariance`.
        model
            As in `evaluate`.
        **functions : callable
            Functions for quantities of your own; the keyword is the name of the quantity. Arguments of a function are
            names of parameters. It gets arrays. Where units are known and the function accepts Quantities, it gets
            Quantities. The unit of the result is found by a trial call. There is none if the function may contain a
            factor that changes the unit, such as 3600 or 1000.

        Returns
        -------
        xarray.Dataset
            Each quantity and its ``_stderr``, over the remaining dims, with ``units`` if they could be found. NaN
            where the fit failed. Lazy if the result is lazy.

        Raises
        ------
        RecordError
            The result does not tell enough about its fit. Or a quantity depends on several parameters, and the result
            has no covariance, and ``data`` is not given.
        ValueError, TypeError
            A name is not known; the coordinate of a trend is not a time; or an argument of a function is not a
            parameter.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([-2.0, 0.1, 1.9, 4.1], dims="t")
        >>> fit = data.modelfit(Linear1D(), dim="t", sigma=0.1)
        >>> zero = fit.modelfit.derived(data=data, crossing=lambda slope, intercept: -intercept / slope)
        >>> round(zero["crossing"].item(), 3), round(zero["crossing_stderr"].item(), 3)
        (0.99, 0.027)
        """
        return covariance.derived(self._obj, names, functions, data, model)

    def to_zarr(
        self,
        store: Any,
        *,
        resume: bool = False,
        verify: bool = True,
        progress: bool = False,
        memory: str | int = "1 GiB",
        scheduler: Any = None,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Fit a lazy result tile by tile into a zarr store; it may be larger than memory, and be interrupted.

        Parameters
        ----------
        store : str, path or zarr store
            It must not exist yet, unless with ``resume``.
        resume : bool
            Go on with what an interrupted or killed run of the same call left; begin where there is nothing yet. A
            store that was begun by another fit is refused.
        verify : bool
            When going on, read the samples of what is done, and refuse the store if they have changed. False: trust
            that data, and state of the model that cannot be compared, are the same.
        progress : bool
            Show a bar that counts fits. Needs tqdm.
        memory : str or int
            About how much to use for the samples and results under way, "2 GiB" or a number of bytes. The less, the
            more often chunks are read that are larger than a piece.
        scheduler : str or dask client, optional
            As in `xr_modelfit.fit`.
        encoding : mapping, optional
            ``{variable: {key: value}}``, as for `xarray.Dataset.to_zarr`.
        **options
            ``zarr_format`` and ``storage_options`` of `xarray.Dataset.to_zarr`.

        Returns
        -------
        xarray.Dataset
            The store, opened.

        Raises
        ------
        ValueError
            This is no lazy result, or was changed since the fit.
        FileExistsError
            The store exists.
        StoreError
            It was begun by another fit (model, data, coordinates, options or versions differ), or another process
            writes it.

        Examples
        --------
        >>> import tempfile, xarray as xr, xr_modelfit
        >>> from astropy.modeling.models import Linear1D
        >>> data = xr.DataArray([[1.0, 3.0, 5.0], [0.0, 2.0, 4.0]], dims=("y", "t")).chunk(t=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fit = data.modelfit(Linear1D(), dim="t").modelfit.to_zarr(f"{folder}/fit.zarr", resume=True)
        ...     fit["slope"].round(6).values.tolist()
        [2.0, 2.0]
        """
        return stores.to_zarr(
            self._obj, store, resume=resume, verify=verify, progress=progress, memory=memory, scheduler=scheduler,
            encoding=encoding, **options,
        )  # fmt: skip

    def to_model(self, *, data: str | None = None, model: ModelArg | None = None) -> Model:
        """The fitted astropy model; parameters are arrays over the remaining dims, in order.

        For one position, select it first: ``result.isel(y=3, x=5).modelfit.to_model()``.

        Parameters
        ----------
        data, model
            As in `evaluate`.

        Returns
        -------
        astropy.modeling.Model
            With constraints, domain and window; ties only where their code is found again.

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

    def _at(self, obj: Any, data: str | None, coords: Mapping[str, Any], *options: Any) -> Evaluation:
        record = one_fit(self._obj, data)
        tell_other_model(options[0], record)
        return Evaluation.resolve(self._obj, record, obj, coords, *options)
