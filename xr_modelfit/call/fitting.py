"""The call itself: resolve it, fit the blocks, label the result."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from types import EllipsisType
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model

from xr_modelfit.call.called_model import model_to_fit, not_labelled
from xr_modelfit.call.clipping import tell_idle_clip
from xr_modelfit.call.diagnostics import folders_of_variables, make_folder
from xr_modelfit.call.failures import FitWarning, tell_failures, tell_nothing_fitted, tell_unwritten
from xr_modelfit.call.first_fits import asks_for_a_first_fit, starts_of_first_fit
from xr_modelfit.call.job import Job
from xr_modelfit.call.lazy_results import remember
from xr_modelfit.call.options import FitOptions, as_call, check_options
from xr_modelfit.call.remarks import about_counts, about_start, why_no_sample
from xr_modelfit.call.resolve import resolve
from xr_modelfit.execution.progress import fits_bar
from xr_modelfit.fitters.block import FitError
from xr_modelfit.labels.auxiliary import auxiliary_variables
from xr_modelfit.labels.coords import Labels, fitted_dims
from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.records.metadata import joined_history
from xr_modelfit.units.units import plain

__all__ = ["FitError", "FitWarning", "estimate", "first_starts", "fit", "fit_job", "job_of_labels", "jobs_of_call"]


@as_call(FitOptions)
def fit(obj: xr.DataArray | xr.Dataset, options: FitOptions) -> xr.Dataset:
    """Fit an astropy model or a function at every position of a labelled array.

    Also as ``obj.modelfit(model, dim, ...)``. The arguments in groups:

    - what: ``model``, ``dim``, ``coords``, ``equivalencies``, ``time_units``, ``pointwise``,
      ``integrate``, ``response``
    - data: ``data``, ``where``, ``sigma``, ``weights``, ``absolute_sigma``, ``noise``, ``exposure``,
      ``upper_limit``, ``coord_sigma``, ``skipna``, ``min_points``
    - parameters: ``p0``, ``bounds``, ``priors``
    - fitter: ``fitter``, ``fitter_kwargs``, ``fit_info``
    - output: ``covariance``, ``keep_failed``, ``errors``, ``prefix``, ``keep_attrs``
    - running: ``scheduler``, ``fits_per_chunk``, ``progress``, ``diagnostics``, ``diagnostics_path``,
      ``diagnostics_callable``

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        Data of real numbers. Of a Dataset, ``data`` names the variable to fit; without it, every
        numeric variable that has the fitted dims is fitted, and its name is put before its outputs.
        Units are those of ``attrs["units"]``, of pint or of astropy.
    model : astropy.modeling.Model or callable
        One output, any number of inputs that the fitter takes; carries start values, ``fixed``,
        ``tied`` and ``bounds``. It is not changed. A parameter with an array of values is a map
        over the remaining dims, in the data's order. Units that it carries are kept; the data and
        its coordinates then need units that can be converted to them.
        Or a function of arrays, ``decay(t, a=1.0, tau=2.0)``: arguments with a number as default are
        parameters, the default is the start; those without a default are inputs, unless ``p0`` or
        ``bounds`` names them. Keyword-only arguments and other defaults (None, str, bool) are kept
        as they are.
    dim : Hashable, sequence of Hashable, or ...
        Dims that each fit consumes, in any order; ``...`` for all. May be left out where
        ``coords`` names 1-D coordinates.
    data : Hashable, optional
        Variable of a Dataset to fit.
    coords : mapping, Hashable or DataArray, optional
        What each input of the model reads: ``{input: coordinate name or DataArray}``; with one
        input also just the name. Inputs of a function, also after ``custom_model``, are called like
        its arguments. By default one input reads the index of the one fitted dim, and several read
        what bears their name. A dim without coordinate counts 0, 1, 2, ...
        Dates and durations are read as numbers; see ``time_units``.
    where : DataArray of bool, or name
        True where a sample is used.
    sigma : DataArray, name, number or Quantity, or a tuple of two, optional
        Standard errors of the data. Plain numbers are in its unit; others are converted.
        ``(lower, upper)``: those below and above each datum, both positive. The side on which the model lies
        decides: where it is above the datum, ``upper``.
    weights : DataArray, name or number, optional
        Factors of the residuals, relative. Exclusive with ``sigma``.
    absolute_sigma : bool, optional
        False: parameter errors are rescaled by the residuals. Default: True exactly when
        ``sigma`` is given.
    noise : "ar1", DataArray or name, optional
        How the noise of samples along the one fitted dim is correlated. Default: samples are independent.
        "ar1": each sample remembers the one before. Two samples a distance t apart have the correlation
        ``r ** (t / step)``. The step is the median spacing of the coordinate; r is found from the residuals
        of each fit.
        A DataArray or a name: a known covariance, over the fitted dim and a second dim of the same length.
        It may also have remaining dims, and then differs from fit to fit. It is in the squared unit of the
        data. It replaces ``sigma``, and as with ``sigma``, errors are absolute by default.
    exposure : DataArray, name, number or Quantity, optional
        Of counts, with ``fitter=BatchLSQFitter(loss="poisson")``: the time or the area in which each
        sample was counted. The model times the exposure predicts the data, so that the model is in
        the unit of the data over that of the exposure. Samples whose exposure is 0, negative or NaN
        are left out.
    upper_limit : DataArray of bool, or name, optional
        True where nothing was detected, and the datum is the limit below which the measurement lies. ``sigma``
        is the standard error of that measurement: a limit of three sigma has a third of the datum. Such a
        sample adds ``-2 ln Phi((datum - model) / sigma)`` to ``chi2``, with Phi the normal distribution.
    coord_sigma : DataArray, name, number or Quantity, optional
        Standard errors of the coordinate, of a model with one input; ``sigma`` is needed too. Residuals are
        weighted by the effective variance ``sigma**2 + (slope * coord_sigma)**2``, with the slope of the model
        at the parameters that are tried. Plain numbers are in the unit of the coordinate.
    p0 : mapping, Dataset, str, CoarseStart, callable or list, optional
        ``{parameter: number, Quantity, date or DataArray}``, or an earlier result; instead of the
        model's values. Plain numbers are in the unit of the model's parameter or, where it has
        none, in the unit that data and coordinates give it. A parameter keeps the unit given here.
        "estimate": from the samples of each fit; ``{"stddev": "estimate"}``: this parameter alone.
        "mean" or "coarse": from a fit of the mean over all positions, or of a coarser grid; see
        `CoarseStart`.
        A function ``f(data, *inputs) -> {parameter: values (b,)}`` of samples (b, n), NaN where left
        out, and inputs (b, n) or (1, n), numbers in the units of the parameters and coordinates in
        the fit.
        A list of these (without "mean" and "coarse"), or maps along a dim "start": several starts
        for each fit. The success with the lowest chi-square counts.
    bounds : mapping, optional
        ``{parameter: (low, high)}``, each as in ``p0`` or None; instead of the model's, which are
        in the unit of the model's parameter.
        Equal bounds fix a parameter.
    priors : mapping, optional
        ``{parameter: (mean, standard deviation)}``: normal distributions, known beforehand. Each
        number is as in ``p0``; the deviation is a difference (of dates, a duration). Needs ``sigma``,
        or counts. In maps, NaN is no prior at that position, and a deviation that is not positive
        gives its fit the status ``invalid_start``.
    fitter : BatchLSQFitter or astropy fitter, optional
        Used exactly as given, one fit at a time. Default: `BatchLSQFitter`, many fits at once.
    fitter_kwargs : mapping, optional
        Passed to the fitter's call, for example ``{"maxiter": 500}``.
    fit_info : True or sequence of str, optional
        Names of numbers in the fitter's ``fit_info`` that become variables; True for all. "start"
        adds ``<parameter>_start``, the starts that were used; "n_reached" how many of several starts
        ended in the best minimum; "clipped" a mask over the fitted dims too, True at the samples that
        ``BatchLSQFitter(clip=...)`` or astropy's ``FittingWithOutlierRemoval`` left out.
    skipna : bool
        Leave samples out that are not finite. False: their fit gets ``nonfinite_data``.
    min_points : int, optional
        Fewest valid samples for a fit; default: its number of free parameters.
    equivalencies : mapping, optional
        ``{input or coordinate: equivalencies of astropy.units}``, for a coordinate in another kind
        of unit than the model: a frequency for a velocity. The data is not converted; multiply a
        density by the Jacobian before the fit.
    time_units : str, optional
        What dates are counted in, as CF writes it: "hours since 2015-03-01"; a unit alone for
        durations. Default: "days since 1970-01-01" in the coordinate's calendar.
    pointwise : bool, optional
        Whether the model's value at a sample depends on that sample alone. False for a convolution, or
        a model that centres or normalises itself: it then sees the whole grid of each fit, with the
        fitted dims as axes in the data's order, and samples that are left out have no weight.
        Default: it is tried, and recorded.
    integrate : bool, name, DataArray or mapping, optional
        Compare samples with means of the model over their bins. True: the bins are CF bounds of the
        coordinates or, where there are none, end in the middle between neighbours. Or the name of the
        bounds, a list of names, or ``{coordinate: bounds}``.
    response : DataArray or name, optional
        What the instrument makes of the model along the one fitted dim. A kernel over a dim of offsets,
        whose coordinate is in the unit of the fitted one (positive offsets move the model up the
        coordinate; without a coordinate, offsets count samples from the middle): it is divided by its
        sum. Or a matrix over the fitted dim and one more of the same size, for the sample that sees it:
        taken as it is. May vary from fit to fit.
    covariance : bool
        Add ``covariance`` with the dims ``cov_i`` and ``cov_j``.
    keep_failed : bool
        Keep the last iterate of fits that did not succeed, instead of NaN.
    errors : {"warn", "ignore", "raise"}
        Failures of computed input: one summary warning, nothing, or an error for the first; what the
        model or fitter raised is its ``__cause__``.
    prefix : str
        Put before every output name.
    scheduler : str or dask client, optional
        For computed input: "synchronous", "threads", "processes", "distributed", or "default"
        for dask's active one. By default an active one, else threads for `BatchLSQFitter` (one
        below two million samples, 200 000 for compiled or special functions) and processes for
        astropy's fitters (above a thousand fits).
    fits_per_chunk : int, optional
        At most this many fits in a block.
    progress : bool
        For computed input, show a bar that counts fits. A lazy result has one in ``to_zarr``.
    diagnostics : {"error", "error+warn", "all"}, optional
        Write about fits that failed, those and fits that warned, or all but those without data.
        Each gets a folder named by its position, ``y=0_x=3``, with ``error.log`` and ``warn.log``
        where there is something to tell. Of a Dataset, ``variable/y=0_x=3``.
    diagnostics_path : str or path, optional
        The folder for these, which every worker must see.
    diagnostics_callable : callable, optional
        ``f(path, world, data, weights, model, fitter_kwargs)``, called for each fit that is
        written about, one at a time in a process. It gets the fit's folder, the samples of each
        input, the data and the weights (0 for samples left out; None without weights and
        ``where``) as plain arrays over the fitted dims, and the fitted model without units, None
        where there is none. What it raises or warns of is in ``callable.log``.
    keep_attrs : bool
        Put the input's attrs that do not speak of one variable on the result, beside its own
        ``Conventions`` and ``history``.

    Returns
    -------
    xarray.Dataset
        Over the dims that are not fitted, in the data's order: each parameter, its ``_stderr``,
        ``chi2``, ``reduced_chi2``, ``dof``, ``n_points``, ``n_iter``, with priors ``chi2_prior``, and
        ``fit_status`` (`xr_modelfit.FitStatus`; positive means success). ``attrs["units"]`` where they are
        known. Lazy if any input is dask-backed.

    Raises
    ------
    ValueError, TypeError
        The call is wrong, or a tie or the model fails at the start values; nothing has been read.
    FitError
        A fit failed and ``errors="raise"``.

    Warns
    -----
    FitWarning
        Some fits failed, other than for want of data; or no position has a valid sample; or ``clip`` of the
        fitter is too wide for the number of samples.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xr_modelfit
    >>> from astropy.modeling.models import Linear1D
    >>> t = np.arange(5.0)
    >>> series = xr.DataArray([2 * t + 1, 3 * t], dims=("station", "t"), coords={"t": t})
    >>> trend = xr_modelfit.fit(series, Linear1D(), dim="t")
    >>> trend["slope"].round(6).values.tolist()
    [2.0, 3.0]
    >>> growth = xr_modelfit.fit(series, lambda t, rate=1.0, level=0.0: rate * t + level, dim="t")
    >>> growth["rate"].round(6).values.tolist()
    [2.0, 3.0]
    """
    jobs = jobs_of_call(obj, options)
    tell_idle_clip(jobs)
    results = [fit_job(job) for job in jobs]
    if options.data is not None or not isinstance(obj, xr.Dataset):
        return remember(results[0], jobs)
    if not results:
        return xr.Dataset()
    # All coordinates are those of the Dataset, so there is nothing to compare (or to compute).
    merged = xr.merge(results, compat="override", join="exact", combine_attrs="override")
    return remember(merged.assign_attrs(history=joined_history(results)), jobs)


@as_call(FitOptions)
def estimate(obj: xr.DataArray | xr.Dataset, options: FitOptions) -> xr.Dataset:
    """See `accessor.data_methods.DataMethods.estimate`."""
    options = replace(options, p0="estimate" if options.p0 is None else options.p0)
    return xr.merge([job.starts() for job in jobs_of_call(obj, options)], compat="override", join="exact")


def jobs_of_call(obj: Any, options: FitOptions) -> list[Job]:
    """The fits of a call, resolved; of a Dataset without ``data``, as many as there are variables to fit.

    Raises
    ------
    ValueError, TypeError
        The call is wrong; nothing has been read.
    """
    obj, data = plain(obj), options.data
    if not isinstance(obj, xr.DataArray | xr.Dataset):
        raise not_labelled(obj)
    model = model_to_fit(options, obj)
    check_options(options)
    if isinstance(obj, xr.DataArray):
        if data is not None:
            given = repr(data) if isinstance(data, str) else a(data)
            raise ValueError(f"data is {given}, but the object is a DataArray, which is the data itself. Leave it out.")
        return [_resolved(Labels(obj, {name: obj.coords[name] for name in obj.coords}), model, options, obj.attrs)]
    variables = {name: obj[name] for name in obj.variables}
    if data is not None:
        if not isinstance(data, Hashable):
            raise TypeError(f"data is {a(data)}; name one variable, of {listed(obj.data_vars)}.")
        if data not in obj.data_vars:
            raise ValueError(
                f"data is {data!r}, but the Dataset's variables are {listed(obj.data_vars)}."
                f"{suggestion(data, obj.data_vars)}"
            )
        return [_resolved(Labels(obj[data], variables), model, options, obj.attrs)]
    names = _variables_to_fit(obj, variables, options)
    folders = folders_of_variables(options.diagnostics_path, names)
    return [
        _resolved(
            Labels(obj[name], variables),
            model,
            replace(options, prefix=f"{options.prefix}{name}_", diagnostics_path=folder),
            obj.attrs,
        )
        for name, folder in zip(names, folders, strict=True)
    ]


def _resolved(labels: Labels, model: Model, options: FitOptions, attrs: Mapping[Any, Any]) -> Job:
    """The fit of one array, after a first fit where its starts come from one."""
    if not asks_for_a_first_fit(options.p0):
        return resolve(labels, model, options, attrs)
    starts = _first_starts(labels, model, options)
    return replace(resolve(labels, model, replace(options, p0=starts), attrs), options=options, adapted=True)


def _first_starts(labels: Labels, model: Model, options: FitOptions) -> Any:
    own = resolve(labels, model, replace(options, p0=None), {})  # a wrong call raises before anything is read
    free = [name for name, free in zip(own.problem.names, own.problem.free, strict=True) if free]
    return starts_of_first_fit(labels, model, options, free, _fit_of_labels)


def job_of_labels(labels: Labels, options: FitOptions) -> Job:
    """The fit of one array, resolved; names in the call mean the variables of ``labels``.

    Raises
    ------
    ValueError, TypeError
        The call is wrong; nothing has been read.
    """
    check_options(options)
    return _resolved(labels, model_to_fit(options, labels.data), options, {})


def first_starts(labels: Labels, options: FitOptions) -> Any:
    """``p0`` as the values that a first fit of all positions gives, where it asks for one; else as it is."""
    if not asks_for_a_first_fit(options.p0):
        return options.p0
    check_options(options)
    return _first_starts(labels, model_to_fit(options, labels.data), options)


def _fit_of_labels(labels: Labels, model: Model, options: FitOptions) -> xr.Dataset:
    return fit_job(_resolved(labels, model, options, {}))


def _variables_to_fit(ds: xr.Dataset, variables: Mapping[Any, xr.DataArray], options: FitOptions) -> list[Hashable]:
    """Numeric variables with all fitted dims, less those that the call names and CF's auxiliary ones."""
    dim = options.dim
    fitted: tuple[Hashable, ...] = ()
    if not isinstance(dim, EllipsisType):
        if not ds.sizes or _lacks(ds, dim):
            return []  # a node of a tree without these dims has nothing to fit
        shape = np.broadcast_to(0.0, tuple(ds.sizes.values()))  # a view: the dims alone matter
        skeleton = Labels(xr.DataArray(shape, dims=list(ds.sizes), coords=ds.coords), variables)
        fitted = fitted_dims(skeleton, dim, options.coords)
    given = [options.where, options.weights, options.noise, options.exposure, options.response]
    given += [options.upper_limit, options.coord_sigma]
    for one in (options.coords, options.integrate, options.sigma):
        given += list(one.values() if isinstance(one, Mapping) else one if isinstance(one, list | tuple) else [one])
    named = {v.name if isinstance(v, xr.DataArray) else v for v in given if isinstance(v, xr.DataArray | str)}
    named |= auxiliary_variables(ds)
    return [
        name
        for name, v in ds.data_vars.items()
        if v.dtype.kind in "iufc" and v.dims and set(fitted) <= set(v.dims) and name not in named
    ]


def _lacks(ds: xr.Dataset, dim: Any) -> bool:
    """Whether the Dataset lacks one of the named dims altogether; a misspelt one is told, not passed over."""
    names = [dim] if isinstance(dim, str) else list(dim) if isinstance(dim, list | tuple) and dim not in ds.dims else []
    return any(
        isinstance(name, str) and name not in ds.dims and name not in ds.coords and not suggestion(name, ds.dims)
        for name in names
    )


def fit_job(job: Job) -> xr.Dataset:
    """The result of one fit, and what is told of its failures."""
    options = job.options
    make_folder(job.diagnosis)
    with fits_bar(options.progress, job.n_fits) as tell:
        fields = job.fields(scheduler=options.scheduler, tell=tell)
    result = job.labelled(fields)
    if not job.lazy:
        if job.diagnosis is not None:
            tell_unwritten(fields["unwritten"][0], job.diagnosis.path)
        status = result[f"{options.prefix}fit_status"]
        if job.data.size:
            tell_nothing_fitted(status, options.errors, lambda: why_no_sample(job))
        remarks = (about_start, about_counts)
        tell_failures(status, options.errors, job.cause, lambda: "".join(f(job, status.values) for f in remarks))
    return result
