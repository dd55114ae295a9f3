"""``.modelfit`` on DataArray and Dataset: forwards, nothing else."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Unpack

import xarray as xr
from astropy.modeling import Model

from xr_modelfit import (
    components,
    derived,
    evaluation,
    fit_plots,
    fitted_model,
    fitting,
    histograms,
    inspector,
    map_plots,
    planning,
    prediction,
    stores,
)
from xr_modelfit.plan import FitPlan
from xr_modelfit.plot_style import Picture
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


def _documented_by(other: Any) -> Any:
    """Give a method the documentation of another."""

    def document(method: Any) -> Any:
        method.__doc__ = other.__doc__
        return method

    return document


@xr.register_dataarray_accessor("modelfit")
class ModelfitDataArray:
    """Fit astropy models along named dims; see `xr_modelfit.fit`."""

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    @_as_fit
    def __call__(self, model: Model, dim: Dim = None, **options: Unpack[fitting.FitOptions]) -> xr.Dataset:
        return fitting.fit(self._obj, model, dim, **options)

    def plan(
        self, model: Model, dim: Dim = None, *, memory: str | int = "1 GiB", **options: Unpack[fitting.FitOptions]
    ) -> FitPlan:
        """Find out what a fit will cost, before it runs.

        Counts fits, blocks and bytes, and times a small sample: about a second of fits, at
        positions drawn from data in memory. Of lazy data a few chunks are read, at most 32 and
        256 MiB of them; where a fit needs more than that, as with chunks of one time step, two or
        three are, and the fits are of simulated samples: about the model at its start, with the level and
        the scatter of what was read. Nothing is written.

        Parameters
        ----------
        model, dim
            As in the call that is planned.
        memory : str or int
            What ``to_zarr`` will be given, "2 GiB" or a number of bytes.
        **options
            Those of the call, see `xr_modelfit.fit`.

        Returns
        -------
        FitPlan
            Its ``str`` is a short text, in notebooks it is a table. ``warnings`` says what is bad
            about the layout of the data, with the call that mends it.

        Raises
        ------
        ValueError, TypeError
            The call is wrong; nothing has been read.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).chunk(velocity=1)
        >>> plan = cube.modelfit.plan(Gaussian1D(2, 4500, 500), dim="velocity")
        >>> plan.n_fits, plan.n_tiles, plan.merged
        (48, 1, {'velocity': 60})
        >>> "data.chunk({'velocity': -1, 'y': 6, 'x': 8})" in plan.warnings[0]
        True
        """
        return planning.plan(self._obj, model, dim, memory, dict(options))

    def plot_fit(
        self,
        fit: xr.Dataset,
        *,
        data: str | None = None,
        model: Model | None = None,
        components: bool = True,
        residuals: bool = True,
        sigma: Any = None,
        where: Any = None,
        ax: Any = None,
        figsize: tuple[float, float] | None = None,
        **position: Any,
    ) -> Picture:
        """Draw one fit of this data: samples, model, its components, residuals, and the status in words.

        A series is drawn over the coordinate that the model read, an image as three images. The
        title tells the position, the status, and the parameters with their errors.

        Parameters
        ----------
        fit : Dataset
            What a fit of this data returned.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model, optional
            The model that was fitted, where the record alone cannot give it (custom classes,
            read from a file).
        components : bool
            Draw the parts of a sum of models too.
        residuals : bool
            Draw data minus model too.
        sigma : DataArray, name, number or Quantity, optional
            Standard errors of the data, drawn as bars.
        where : DataArray or name, optional
            The mask of the fit: samples where it is False are drawn hollow.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw: one for the fit alone, two for the fit and its residuals; for images
            three, two without residuals. By default on a new figure.
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        **position : label
            The position by label, ``y=10, x=12``, by number along a dim without a coordinate.
            A dim may be left out where one position of the data or of the fit was selected before,
            which also serves where a dim is called like an argument.

        Returns
        -------
        Picture
            With ``fig``, ``axs`` and ``artists``, a dict with ``"data"``, ``"model"``,
            ``"components"`` and ``"residuals"`` as far as they were drawn.

        Raises
        ------
        ValueError, TypeError
            A label is not there (the message names the nearest), or an argument does not match.
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).isel(y=slice(2, 4), x=slice(3, 5))
        >>> fit = cube.modelfit(Gaussian1D(2, 4500, 500), dim="velocity", sigma=0.1)
        >>> picture = cube.modelfit.plot_fit(fit, y=3, x=4, sigma=0.1)
        >>> list(picture.artists)
        ['data', 'model', 'components', 'residuals']
        """
        return fit_plots.plot_fit(
            self._obj,
            fit,
            position,
            data=data,
            model=model,
            components=components,
            residuals=residuals,
            sigma=sigma,
            where=where,
            ax=ax,
            figsize=figsize,
        )


@xr.register_dataset_accessor("modelfit")
class ModelfitDataset:
    """Fit astropy models along named dims, and question the results; see `xr_modelfit.fit`."""

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    @_as_fit
    def __call__(self, model: Model, dim: Dim = None, **options: Unpack[fitting.FitOptions]) -> xr.Dataset:
        return fitting.fit(self._obj, model, dim, **options)

    @_documented_by(ModelfitDataArray.plan)
    def plan(
        self, model: Model, dim: Dim = None, *, memory: str | int = "1 GiB", **options: Unpack[fitting.FitOptions]
    ) -> FitPlan:
        return planning.plan(self._obj, model, dim, memory, dict(options))

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

    def to_zarr(
        self,
        store: Any,
        *,
        resume: bool = False,
        progress: bool = False,
        memory: str | int = "1 GiB",
        scheduler: Any = None,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Fit a lazy result piece by piece into a zarr store; it may be larger than memory, and be interrupted.

        Parameters
        ----------
        store : str, path or zarr store
            It must not exist yet, unless with ``resume``.
        resume : bool
            Go on with what an interrupted or killed run of the same call left; begin where there is
            nothing yet. A store that was begun by another fit is refused.
        progress : bool
            Show a bar that counts fits. Needs tqdm.
        memory : str or int
            About how much to use for the samples and results under way, "2 GiB" or a number of
            bytes. The less, the more often chunks are read that are larger than a piece.
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
            It was begun by another fit: model, data, coordinates, options or versions differ.

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
            self._obj,
            store,
            resume=resume,
            progress=progress,
            memory=memory,
            scheduler=scheduler,
            encoding=encoding,
            **options,
        )

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

    @_documented_by(ModelfitDataArray.plot_fit)
    def plot_fit(
        self,
        fit: xr.Dataset,
        *,
        data: str | None = None,
        model: Model | None = None,
        components: bool = True,
        residuals: bool = True,
        sigma: Any = None,
        where: Any = None,
        ax: Any = None,
        figsize: tuple[float, float] | None = None,
        **position: Any,
    ) -> Picture:
        return fit_plots.plot_fit(
            self._obj,
            fit,
            position,
            data=data,
            model=model,
            components=components,
            residuals=residuals,
            sigma=sigma,
            where=where,
            ax=ax,
            figsize=figsize,
        )

    def plot(
        self,
        params: str | Iterable[str] | None = None,
        *,
        data: str | None = None,
        stderr: bool = False,
        status: bool = True,
        robust: bool = True,
        row: Hashable | None = None,
        col: Hashable | None = None,
        col_wrap: int | None = None,
        figsize: tuple[float, float] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Draw the fits: a map of each parameter and of the status; lines where one dim remains.

        Positions without a fit are grey. Dims of size 1 are left out.

        Parameters
        ----------
        params : str or iterable of str, optional
            What to draw: parameters, or other variables of the result such as ``"reduced_chi2"``.
            Default: all parameters.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        stderr : bool
            Draw the standard error beside each parameter. Lines have error bars or bands anyhow.
        status : bool
            Draw the status too, with its meanings; not with ``ax``, ``row`` or ``col``.
        robust : bool
            Choose colours by the 2nd to 98th percentile of what is known well: values with a small
            error, of parts of the model whose amplitude is at least five times its error. False:
            from the least to the greatest value.
        row, col : Hashable, optional
            Dims to facet one variable over, where more than two remain.
        col_wrap : int, optional
            Maps in a row.
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw: one for each variable.
        **kwargs
            For `xarray.DataArray.plot.pcolormesh`: ``cmap``, ``vmin``, ``x="lon", y="lat"`` for
            2-D coordinates, ...; for lines, those of `matplotlib.axes.Axes.plot`.

        Returns
        -------
        Picture, artist or FacetGrid
            A `Picture` with ``fig``, ``axs`` and ``artists``, a dict by variable; the artist
            itself if ``ax`` is one Axes; xarray's ``FacetGrid`` with ``row`` or ``col``.

        Raises
        ------
        ValueError
            A variable is unknown, or none or more than two dims remain.
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).isel(y=slice(2, 4), x=slice(2, 6))
        >>> fit = cube.modelfit(Gaussian1D(2, 4500, 500), dim="velocity", sigma=0.1)
        >>> picture = fit.modelfit.plot(["amplitude", "mean"])
        >>> list(picture.artists)
        ['amplitude', 'mean', 'fit_status']
        """
        return map_plots.plot(
            self._obj,
            one_fit(self._obj, data),
            params,
            stderr=stderr,
            status=status,
            robust=robust,
            row=row,
            col=col,
            col_wrap=col_wrap,
            figsize=figsize,
            ax=ax,
            **kwargs,
        )

    def plot_hist(
        self,
        param: str,
        *,
        data: str | None = None,
        bins: Any = None,
        robust: bool = True,
        ax: Any = None,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Draw a histogram of a parameter, or of another variable, over the successful fits.

        Parameters
        ----------
        param : str
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        bins : int or sequence of float, optional
            Number or edges of the bins; default: by the number of fits.
        robust : bool
            Leave far outliers out of the picture; their number is told. False: show all.
        ax : matplotlib Axes, optional
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        **kwargs
            For `matplotlib.axes.Axes.hist`.

        Returns
        -------
        counts, edges, patches
            As `matplotlib.axes.Axes.hist` returns them.

        Raises
        ------
        ValueError
            The variable is unknown, or no fit has a value of it.
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).isel(y=slice(2, 4), x=slice(2, 6))
        >>> fit = cube.modelfit(Gaussian1D(2, 4500, 500), dim="velocity", sigma=0.1)
        >>> counts, edges, patches = fit.modelfit.plot_hist("mean", bins=4)
        >>> int(counts.sum())
        8
        """
        return histograms.plot_hist(
            self._obj,
            one_fit(self._obj, data),
            param,
            bins=bins,
            robust=robust,
            ax=ax,
            figsize=figsize,
            **kwargs,
        )

    def inspect(
        self,
        obj: xr.DataArray | xr.Dataset,
        *,
        param: str | None = None,
        data: str | None = None,
        model: Model | None = None,
        sigma: Any = None,
        where: Any = None,
        figsize: tuple[float, float] | None = None,
    ) -> inspector.Inspector:
        """Open a map of the fits; a click on it draws that fit beside it, arrow keys move on.

        In a window, or in a notebook with an interactive backend (``%matplotlib widget``). Where
        one dim remains, the map is a line.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted; of lazy data, only what is looked at is read.
        param : str, optional
            The variable of the map; default: the first parameter.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model, optional
            The model that was fitted, where the record alone cannot give it.
        sigma, where : optional
            As in ``plot_fit``.
        figsize : tuple of float, optional
            Width and height of the figure in inches.

        Returns
        -------
        Inspector
            ``selected`` is the position by labels, ``select(y=10, x=12)`` draws one, ``close()``
            ends it; ``fig`` is the figure.

        Raises
        ------
        ValueError, TypeError
            An argument does not match, or none or more than two dims remain.
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).isel(y=slice(2, 4), x=slice(2, 6))
        >>> fit = cube.modelfit(Gaussian1D(2, 4500, 500), dim="velocity", sigma=0.1)
        >>> viewer = fit.modelfit.inspect(cube)
        >>> viewer.select(y=3, x=4)
        >>> viewer.selected
        {'y': 3.0, 'x': 4.0}
        >>> viewer.close()
        """
        return inspector.inspect(
            self._obj,
            obj,
            one_fit(self._obj, data),
            param,
            model=model,
            sigma=sigma,
            where=where,
            figsize=figsize,
        )
