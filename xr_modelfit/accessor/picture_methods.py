"""Plots of a result by ``.modelfit``: forwards to `plotting`."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Hashable, Iterable
from typing import Any

import xarray as xr

from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.plotting import histograms, inspector, map_plots
from xr_modelfit.results.selection import one_fit

__all__ = ["PictureMethods"]


class PictureMethods:
    """Draw a result."""

    _obj: xr.Dataset

    def plot(
        self,
        params: str | Iterable[str] | None = None,
        *,
        data: str | None = None,
        stderr: bool = False,
        status: bool = True,
        robust: bool = True,
        snr: float | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
        col_wrap: int | None = None,
        figsize: tuple[float, float] | None = None,
        ax: Any = None,
        subplot_kws: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Draw the fits: a map of each parameter and of the status; lines where one dim remains.

        Positions without a fit are grey. Dims of size 1 are left out. Where three dims remain, each
        variable is a row of maps, at most six of them. One fit alone is drawn as values with errors.

        A result with a celestial WCS is drawn on axes of the sky: east to the left, equal scales,
        sexagesimal ticks. Latitudes and longitudes have equal scales and end at the poles.

        Parameters
        ----------
        params : str or iterable of str, optional
            What to draw: parameters, quantities that `derived` knows (``"flux"``), or other variables
            of the result such as ``"reduced_chi2"``. Default: all parameters that are not fixed.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        stderr : bool
            Draw the standard error beside each parameter. Lines always have error bars or bands.
        status : bool
            Draw the status too, with its meanings; not with ``ax``, ``row`` or ``col``.
        robust : bool
            Choose colours by the 2nd to 98th percentile of what is known well: values with a small
            error, of parts of the model whose amplitude is at least five times its error. False:
            from the least to the greatest value. Colours that diverge have zero in the middle where
            both signs occur; those of standard errors begin at zero.
        snr : float, optional
            Leave fits grey that are not significant: see ``significant``. If ``params`` names one
            fitted parameter, this judges the parameter: its value and the amplitude, if any, of its
            part of the model are at least ``snr`` times their errors (of a position or an angle the
            amplitude only). The foot of the figure says why.
        row, col : Hashable, optional
            Dims to facet one variable over, where more than two remain.
        col_wrap : int, optional
            Maps in a row.
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw: one for each variable. Astropy's WCSAxes and cartopy's GeoAxes are drawn
            on in their own projection.
        subplot_kws : dict, optional
            For new axes, ``{"projection": cartopy.crs.Robinson()}``.
        **kwargs
            For `xarray.DataArray.plot.pcolormesh`: ``cmap``, ``vmin``, ``x="ra", y="dec"`` for
            2-D coordinates, ...; for lines, those of `matplotlib.axes.Axes.plot`.

        Returns
        -------
        Picture, artist or FacetGrid
            A `Picture` with ``fig``, ``axs`` and ``artists``, a dict by variable (of lists, where
            three dims remain); the artist itself if ``ax`` is one Axes; xarray's ``FacetGrid`` with
            ``row`` or ``col``. If there is no value to draw, the status alone.

        Raises
        ------
        ValueError
            A variable is unknown, or more than three dims remain.
        RecordError
            The Dataset is no result, and has no pairs of values and errors either.
        ImportError
            matplotlib is not installed.

        Notes
        -----
        Variables with their errors, as ``derived()`` returns them, are drawn too; there is no status
        then.

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
            self._obj, params, data=data, stderr=stderr, status=status, robust=robust, snr=snr,
            row=row, col=col, col_wrap=col_wrap, figsize=figsize, ax=ax, subplot_kws=subplot_kws, **kwargs,
        )  # fmt: skip

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
            A parameter, a quantity that `derived` knows, or another variable of the result.
        bins : int or sequence of float, optional
            Number or edges of the bins; default: by the number of fits.
        robust : bool
            Leave far outliers out; the plot tells their number. False: show all.
        data, ax, figsize
            As in `plot`.
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
        fit = one_fit(self._obj, data)
        return histograms.plot_hist(self._obj, fit, param, bins=bins, robust=robust, ax=ax, figsize=figsize, **kwargs)

    def inspect(
        self,
        obj: xr.DataArray | xr.Dataset,
        *,
        param: str | None = None,
        data: str | None = None,
        model: ModelArg | None = None,
        sigma: Any = None,
        where: Any = None,
        exposure: Any = None,
        upper_limit: Any = None,
        integrate: Any = None,
        response: Any = None,
        figsize: tuple[float, float] | None = None,
    ) -> inspector.Inspector:
        """Open a map of the fits; a click draws that fit beside it, arrow keys move on.

        In a window, or in a notebook with an interactive backend (``%matplotlib widget``); other
        backends draw still pictures, and a warning says so. Where one dim remains, the map is a line.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted; of lazy data, only what is looked at is read.
        param : str, optional
            The variable of the map; default: the first parameter.
        data, figsize
            As in `plot`.
        model, sigma, where, exposure, upper_limit, integrate, response : optional
            As in ``plot_fit``.

        Returns
        -------
        Inspector
            ``selected`` is the position by labels, ``select(y=10, x=12)`` draws one, ``close()`` ends it; ``fig`` is
            the figure.

        Raises
        ------
        RecordError, ValueError, TypeError, ImportError
            As in ``plot_fit`` and `plot`.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8)).isel(y=slice(2, 4), x=slice(2, 6))
        >>> fit = cube.modelfit(Gaussian1D(2, 4500, 500), dim="velocity", sigma=0.1)
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):  # of a backend without windows
        ...     viewer = fit.modelfit.inspect(cube)
        >>> viewer.select(y=3, x=4)
        >>> viewer.selected
        {'y': 3.0, 'x': 4.0}
        >>> viewer.close()
        """
        return inspector.inspect(
            self._obj, obj, one_fit(self._obj, data), param,
            model=model, sigma=sigma, where=where, exposure=exposure, upper_limit=upper_limit, integrate=integrate,
            response=response,
            figsize=figsize,
        )  # fmt: skip
