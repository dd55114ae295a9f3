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

        Positions without a fit are grey. Dims of size 1 are left out.

        Parameters
        ----------
        params : str or iterable of str, optional
            What to draw: parameters, or other variables of the result such as ``"reduced_chi2"``. Default: all
            parameters.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        stderr : bool
            Draw the standard error beside each parameter. Lines always have error bars or bands.
        status : bool
            Draw the status too, with its meanings; not with ``ax``, ``row`` or ``col``.
        robust : bool
            Choose colours by the 2nd to 98th percentile of the well-determined values: their error is small, and the
            amplitude of their part of the model is at least five times its error. False: by all values.
        row, col : Hashable, optional
            Dims to facet one variable over, where more than two remain.
        col_wrap : int, optional
            Maps in a row.
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw: one for each variable.
        **kwargs
            For `xarray.DataArray.plot.pcolormesh`: ``cmap``, ``vmin``, ``x="lon", y="lat"`` for 2-D coordinates, ...;
            for lines, those of `matplotlib.axes.Axes.plot`.

        Returns
        -------
        Picture, artist or FacetGrid
            A `Picture` with ``fig``, ``axs`` and ``artists``, a dict by variable; the artist itself if ``ax`` is one
            Axes; xarray's ``FacetGrid`` with ``row`` or ``col``.

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
        integrate: Any = None,
        response: Any = None,
        figsize: tuple[float, float] | None = None,
    ) -> inspector.Inspector:
        """Open a map of the fits; a click draws that fit beside it, arrow keys move on.

        In a window, or in a notebook with an interactive backend (``%matplotlib widget``). Where one dim remains, the
        map is a line.

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted; of lazy data, only what is looked at is read.
        param : str, optional
            The variable of the map; default: the first parameter.
        data, figsize
            As in `plot`.
        model, sigma, where, integrate, response : optional
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
        >>> viewer = fit.modelfit.inspect(cube)
        >>> viewer.select(y=3, x=4)
        >>> viewer.selected
        {'y': 3.0, 'x': 4.0}
        >>> viewer.close()
        """
        return inspector.inspect(
            self._obj, obj, one_fit(self._obj, data), param,
            model=model, sigma=sigma, where=where, integrate=integrate, response=response, figsize=figsize,
        )  # fmt: skip
