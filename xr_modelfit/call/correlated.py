"""Noise of a call that is correlated along the fitted dim: checked, and prepared for the blocks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from xr_modelfit.analysis.traits import with_sampling
from xr_modelfit.call.job import Job
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block_task import PRIORS, Role
from xr_modelfit.fitters.compiled.cache_folder import tell_unused
from xr_modelfit.fitters.compiled.choice import compiled_source
from xr_modelfit.fitters.correlated import ar1, covariances
from xr_modelfit.fitters.correlated.solving import CorrelatedNoise
from xr_modelfit.foreign_words import loss_of
from xr_modelfit.labels.coords import Labels, ModelInput
from xr_modelfit.labels.covariances import covariance_of
from xr_modelfit.messages import listed, suggestion
from xr_modelfit.quiet import caught_warnings
from xr_modelfit.records.schema import check_names, output_names

__all__ = ["with_noise"]

AR1: Literal["ar1"] = "ar1"


def with_noise(job: Job, labels: Labels, at: Sequence[np.ndarray], n_samples: int) -> Job:
    """The job with the noise that its options name.

    ``at``: coordinates (n,) to try compiled functions on; ``n_samples``: how many samples a fit has.

    Raises
    ------
    TypeError, ValueError
        The noise is of the wrong kind or form, or goes with another option not at all.
    """
    noise = job.options.noise
    if noise is None:
        return job
    array = _array(labels, noise)
    kind: Literal["ar1", "covariance"] = AR1 if array is None else "covariance"
    _refuse_others(job, kind)
    (dim,) = job.fitted
    arrays, weighting, along = job.arrays, job.weighting, 0
    if array is None:
        along = _input_along(job, dim)
        _require_distinct(job.system.inputs[along], dim)
    else:
        if job.weighting.weighted:
            raise ValueError(
                "noise is a covariance, which holds the standard errors of the samples, and sigma or weights are "
                "given too. Leave them out, or multiply them in: noise = correlation * sigma_i * sigma_j."
            )
        absolute = True if job.options.absolute_sigma is None else bool(job.options.absolute_sigma)
        weighting = replace(weighting, absolute=absolute)
        factor = job.system.sigma_factor(array, "noise", 2)
        matrix = covariance_of(labels, array, dim)
        arrays = arrays | {Role("noise"): matrix if factor == 1.0 else matrix.astype(float) * factor}
    sizes = job.data.sizes
    n = sizes[dim]
    sampling = (ar1 if kind == AR1 else covariances).sampling_of(n)
    problem = with_sampling(job.problem, sampling)
    assert isinstance(job.fitter, BatchLSQFitter)
    with caught_warnings():
        n_fits = math.prod(sizes[d] for d in job.remaining)
        source = compiled_source(problem, at, job.fitter.engine, n_fits, n_samples)
    tell_unused()
    layout = replace(job.layout, correlated=kind)
    check_names(job.frame, job.data, output_names(job.problem.names, layout, job.options.prefix), layout)
    correlation = CorrelatedNoise(kind, replace(problem, source=source), along, weighting.absolute)
    return replace(job, arrays=arrays, layout=layout, weighting=replace(weighting, noise=kind), correlation=correlation)


def _array(labels: Labels, noise: Any) -> xr.DataArray | None:
    """The covariance, or the variable that a name means; None for "ar1"."""
    if not isinstance(noise, str | xr.DataArray):
        raise TypeError(
            f'noise is {type(noise).__name__}; it must be "ar1", for samples of which each remembers the one before, '
            "or a DataArray (or a name) of a covariance. Standard errors go to sigma=."
        )
    if isinstance(noise, str) and noise == AR1:
        return None
    if isinstance(noise, str) and noise not in labels.variables:
        known = list(map(str, labels.variables))
        raise ValueError(
            f'noise is {noise!r}; it must be "ar1" or name a covariance, one of the variables {listed(known)}.'
            f"{loss_of(noise) or suggestion(noise, [AR1, *known])}"
        )
    return labels.find("noise", noise)


def _refuse_others(job: Job, kind: str) -> None:
    """Refuse what correlated noise does not go with."""
    fitter, problem = job.fitter, job.problem
    if not isinstance(fitter, BatchLSQFitter):
        raise ValueError(
            f"noise is given with {type(getattr(fitter, 'fitter', fitter)).__name__}, which takes samples for "
            "independent. Leave fitter out: BatchLSQFitter() knows correlated noise."
        )
    if fitter.loss != "linear" or fitter.clip is not None:
        what = "clip" if fitter.loss == "linear" else f"loss={fitter.loss!r}"
        raise ValueError(
            f"noise is given with {what}, which looks at each sample alone: outliers and correlation cannot be told "
            "apart so. Leave one of them out; bad samples that are known are left out by where=."
        )
    others = {"weights_above": "sigma=(lower, upper)", "limit": "upper_limit", "coord_sigma": "coord_sigma"}
    given = [words for name, words in others.items() if Role(name) in job.arrays]
    if given:
        raise ValueError(
            f"noise is given with {given[0]}, which weighs each sample by the model alone: what such samples have in "
            "common has no covariance. Leave one of them out."
        )
    if len(job.fitted) != 1:
        raise ValueError(
            f"noise is given, and {len(job.fitted)} dims are fitted, {job.fitted}: correlation runs along one. Fit "
            "along one, or stack the dims to one and give a covariance: data.stack(sample=[...])."
        )
    if job.nodes is not None:
        raise ValueError(
            "noise is given with integrate or response; samples of bins or behind an instrument are not whitened. "
            "Write a model that takes its means or is convolved inside, or leave noise out."
        )
    if problem.traits.grid is not None:
        raise ValueError(
            "noise is given, but the model sees all its samples, and has no value at one alone. Leave noise out, or "
            "fit with pointwise=True if the model's value at a sample depends on that sample alone."
        )
    if kind == AR1 and any(role.kind in PRIORS for role in job.arrays):
        raise ValueError(
            'priors are given with noise="ar1", whose correlation follows from what the parameters leave over. Give a '
            "covariance, or leave one of them out."
        )


def _input_along(job: Job, dim: Hashable) -> int:
    """The number of the input whose coordinate tells how far samples are apart."""
    inputs = job.system.inputs
    reads = [k for k, one in enumerate(inputs) if dim in one.values.dims]
    if len(reads) == 1:
        return reads[0]
    own = [k for k in reads if inputs[k].coordinate == dim]
    if len(own) == 1:
        return own[0]
    raise ValueError(
        f'noise is "ar1", and the inputs {listed(inputs[k].name for k in reads)} all read coordinates along {dim!r}: '
        f"none of them is the coordinate {dim!r} itself, by which neighbours would be known. Give a covariance."
    )


def _require_distinct(one: ModelInput, dim: Hashable) -> None:
    """Refuse a coordinate of all fits on which two samples are at one place."""
    if one.values.dims != (dim,) or not one.values._in_memory:
        return
    values = np.asarray(one.values.values, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    if np.any(np.diff(values) == 0.0):
        twice = values[1:][np.diff(values) == 0.0][0]
        raise ValueError(
            f'noise is "ar1", and the coordinate {one.coordinate!r} has the value {twice:g} more than once: samples '
            f"at one place would be fully correlated. Take their mean, .groupby({str(one.coordinate)!r}).mean(), or "
            "give a covariance."
        )
