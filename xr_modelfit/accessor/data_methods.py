"""Methods of ``.modelfit`` on data: forwards to `call`, `planning` and `plotting`."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from typing import Any

import xarray as xr

from xr_modelfit.call import fitting
from xr_modelfit.foreign_words import refuse_more
from xr_modelfit.labels.coords import DimArg
from xr_modelfit.models.function_models import ModelArg, likely_parameters, require_model
from xr_modelfit.planning import planning
from xr_modelfit.planning.plan import FitPlan
from xr_modelfit.plotting import fit_plots
from xr_modelfit.plotting.style import Picture
from xr_modelfit.results import overview

__all__ = ["DataMethods"]


def _with_arguments_of_fit(method: Any) -> Any:
    """Show the arguments of `xr_modelfit.fit`, and those that the method has beside them."""
    shown = inspect.signature(fitting.fit)
    first, *others = shown.parameters.values()
    own = [p for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = [p.replace(annotation=p.empty) for p in own]
    method.__signature__ = shown.replace(parameters=[first.replace(name="self"), *others, *own])
    return method


def _as_fit(method: Any) -> Any:
    """Give ``__call__`` the documentation and signature of `xr_modelfit.fit`."""
    method.__doc__ = fitting.fit.__doc__
    return _with_arguments_of_fit(method)


class DataMethods:
    """Fit data, find out what that will cost, and draw single fits."""

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj: Any = obj

    @_as_fit
    def __call__(self, model: ModelArg | None = None, dim: DimArg = None, *more: Any, **options: Any) -> xr.Dataset:
        refuse_more(more, likely_parameters(model) if more else ())
        return fitting.fit(self._obj, require_model(model, options), dim, **options)

    def __repr__(self) -> str:
        return overview.text(self._obj)

    def _repr_html_(self) -> str:
        return overview.html(self._obj)

    @_with_arguments_of_fit
    def plan(
        self,
        model: ModelArg | None = None,
        dim: DimArg = None,
        *more: Any,
        memory: str | int = "1 GiB",
        **options: Any,
    ) -> FitPlan:
        """Find out what a fit will cost, before it runs.

        Counts fits, blocks and bytes, and times about a second of fits, at positions drawn at random. Of lazy data a
        few chunks are read, at most 32 and 256 MiB of them. If a fit needs more than that, as with chunks of one time
        step, up to three are read, and samples are simulated: the model at its start, with the mean and the scatter of
        what was read. Nothing is written.

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
            Its ``str`` is a short text, in notebooks it is a table. ``warnings`` says what is bad about the layout of
            the data, with the call that fixes it.

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
        refuse_more(more, likely_parameters(model) if more else ())
        return planning.plan(self._obj, require_model(model, options), dim, memory, dict(options))

    @_with_arguments_of_fit
    def estimate(self, model: ModelArg | None = None, dim: DimArg = None, *more: Any, **options: Any) -> xr.Dataset:
        """The start values that ``p0="estimate"`` would give, without a fit.

        Parameters
        ----------
        model, dim
            As in the call.
        **options
            Those of the call, see `xr_modelfit.fit`. ``p0`` may say which starts are meant: "mean", "coarse", a
            function, or ``{"stddev": "estimate", "mean": map}``.

        Returns
        -------
        xarray.Dataset
            A map for each parameter, over the remaining dims, in the units of the result. It can be passed as ``p0``.
            Of several starts, the first.
            Lazy if any input is dask-backed.

        Raises
        ------
        ValueError, TypeError
            The call is wrong; nothing has been read.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8))
        >>> starts = cube.modelfit.estimate(Gaussian1D(), dim="velocity")
        >>> list(starts.data_vars), starts["mean"].attrs["units"]
        (['amplitude', 'mean', 'stddev'], 'm s-1')
        """
        refuse_more(more, likely_parameters(model) if more else ())
        return fitting.estimate(self._obj, require_model(model, options), dim, **options)

    def plot_fit(
        self,
        fit: Any = None,
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        components: bool = True,
        residuals: bool = True,
        sigma: Any = None,
        where: Any = None,
        exposure: Any = None,
        upper_limit: Any = None,
        integrate: Any = None,
        response: Any = None,
        ax: Any = None,
        figsize: tuple[float, float] | None = None,
        **position: Any,
    ) -> Picture:
        """Draw one fit of this data: samples, model, components, residuals, and the status in words.

        A series is drawn over the coordinate that the model read, an image as three images. The title tells the
        position, the status, and the parameters with their errors.

        Parameters
        ----------
        fit : Dataset
            What a fit of this data returned.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model or callable, optional
            The model or function that was fitted, where the record alone cannot give it (functions and custom classes,
            read from a file).
        components : bool
            Draw the parts of a sum of models too.
        residuals : bool
            Draw data minus model too.
        sigma : DataArray, name, number or Quantity, or a tuple of two, optional
            Standard errors of the data, drawn as bars. ``(lower, upper)`` as in the fit.
        where : DataArray or name, optional
            The mask of the fit: samples where it is False are drawn hollow. So are, in another colour, samples that
            were clipped, where the fit was made with ``fit_info=["clipped"]``.
        exposure : DataArray, name, number or Quantity, optional
            That of a fit of counts that had one: samples are drawn divided by it, as the model is.
        upper_limit : DataArray or name, optional
            True at samples that are upper limits, drawn as arrows.
        integrate, response : optional
            By default as in the fit; False: the model itself. Needed where the record could not hold them: bounds in an
            array without a name, a response of each fit.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw: one for the fit alone, two for the fit and its residuals; for images three, two without
            residuals. By default on a new figure.
        figsize : tuple of float, optional
            Width and height of a new figure in inches.
        **position : label
            The position by label, ``y=10, x=12``, by number along a dim without a coordinate. A dim may be left out if
            one position of the data or of the fit was selected before; do so for a dim named like an argument.

        Returns
        -------
        Picture
            With ``fig``, ``axs`` and ``artists``, a dict with ``"data"``, ``"upper_limits"``, ``"left_out"``,
            ``"clipped"``, ``"model"``, ``"components"`` and ``"residuals"`` as far as they were drawn.

        Raises
        ------
        RecordError
            The fit had bins or a response that the record does not hold and that were not passed.
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
            self._obj, fit, position, data=data, model=model, components=components, residuals=residuals,
            sigma=sigma, where=where, exposure=exposure, upper_limit=upper_limit, integrate=integrate,
            response=response, ax=ax,
            figsize=figsize,
        )  # fmt: skip
