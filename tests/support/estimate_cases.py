"""Simulated fits whose truth is known, to see what start values from the data are worth.

A start is good if the fit from it reaches the chi-square that the fit from the truth reaches. The truth is the outside
authority: no estimator has a part in it.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling import models as m

import xr_modelfit
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.estimates.estimate import Estimates, estimator_for
from xr_modelfit.models.problem import Problem

SAME = 1e-4  # of chi-square


@custom_model
def logistic(x, top=1.0, middle=1.0, rate=1.0):
    """A step that is smooth."""
    return top / (1.0 + np.exp(-rate * (x - middle)))


@custom_model
def decaying_wave(t, height=1.0, decay=1.0, period=1.0, delay=0.1):
    """Four parameters, known by their bounds alone."""
    return height * np.exp(-t / decay) * np.sin(2 * np.pi * (t - delay) / period)


@dataclass(frozen=True)
class Fits:
    """Fits of one model: coordinates (n,) each, data (b, n), truths (b, K)."""

    model: Model
    inputs: list[np.ndarray]
    y: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What starts led to: fits that reached what the truth reaches, from estimates and from the model's start."""

    estimated: np.ndarray
    single: np.ndarray | None
    estimates: Estimates


def problem_of(model: Model, inputs: list[np.ndarray]) -> Problem:
    """The numeric view of a model, with its traits."""
    names = tuple(model.param_names)
    bounds = np.array([[np.nan if v is None else v for v in model.bounds[n]] for n in names], dtype=float)
    problem = Problem(
        model,
        names,
        np.array(model.parameters, dtype=float),
        np.where(np.isnan(bounds[:, 0]), -np.inf, bounds[:, 0]),
        np.where(np.isnan(bounds[:, 1]), np.inf, bounds[:, 1]),
        np.array([bool(model.fixed[n]) for n in names]),
        tuple(model.tied[n] or None for n in names),
    )
    with np.errstate(all="ignore"):
        found = find_traits(problem, inputs)
    return found if isinstance(found, Problem) else replace(problem, traits=found)


def estimated(fits: Fits, **changes: Any) -> Estimates:
    """Estimates of all fits; ``changes`` are other arguments of the estimator."""
    return estimating(fits, **changes)()


def estimating(fits: Fits, **changes: Any) -> Callable[[], Estimates]:
    """What estimates all fits, with what a call knows of its model in any case."""
    problem = problem_of(fits.model, fits.inputs)
    arguments = {
        "y": fits.y,
        "inputs": [x[None] for x in fits.inputs],
        "weights": None,
        "valid": np.isfinite(fits.y),
        "starts": problem.start[None],
        "bounds": (problem.lower[None], problem.upper[None]),
    } | changes
    return lambda: estimator_for(problem)(problem, **arguments)


def fitted(fits: Fits, starts: np.ndarray | None, engine: str = "auto") -> xr.Dataset:
    """The fits from starts (b, K), or from those of the model."""
    data = xr.DataArray(fits.y, dims=("fit", "sample"))
    coords = {name: xr.DataArray(x, dims="sample") for name, x in zip(fits.model.inputs, fits.inputs, strict=True)}
    names = fits.model.param_names
    tied = fits.model.tied
    p0 = (
        {n: xr.DataArray(starts[:, j], dims="fit") for j, n in enumerate(names) if not tied[n]}
        if starts is not None
        else {}
    )
    fitter = xr_modelfit.BatchLSQFitter(engine=engine)
    return data.modelfit(fits.model, "sample", coords=coords, p0=p0, errors="ignore", keep_failed=True, fitter=fitter)


def outcome(fits: Fits, engine: str = "auto", single: bool = False) -> Outcome:
    """What estimates lead to, and on request the model's own start."""
    found = estimated(fits)
    goal = fitted(fits, fits.truth, engine)["chi2"].values

    def reached(starts: np.ndarray | None) -> np.ndarray:
        return fitted(fits, starts, engine)["chi2"].values <= goal * (1.0 + SAME)

    return Outcome(reached(found.parameters), reached(None) if single else None, found)


# --- the experiments --------------------------------------------------------------------------------------------------
def noisy(
    rng: np.random.Generator, model: Model, inputs: list[np.ndarray], truth: np.ndarray, sigma: Any
) -> np.ndarray:
    """Values (b, n) of a model with noise of standard errors ``sigma`` (b, 1) or a number."""
    values = np.asarray(model.evaluate(*(x[None] for x in inputs), *(p[:, None] for p in truth.T)))
    return values + sigma * rng.normal(size=values.shape)


def with_faults(
    rng: np.random.Generator, y: np.ndarray, size: float, gaps: float = 0.05, spikes: float = 0.05
) -> np.ndarray:
    """The data with gaps, and one spike in some of the fits."""
    hit = np.flatnonzero(rng.uniform(size=len(y)) < spikes)
    y[hit, rng.integers(0, y.shape[1], hit.size)] += size
    y[rng.uniform(size=y.shape) < gaps] = np.nan
    return y


def _peaks(rng: np.random.Generator, b: int, snr: float, per_sigma: float) -> np.ndarray:
    """Height, place and width: places over 80 % of the band, widths over a factor of 5, one in ten negative."""
    height = np.where(rng.uniform(size=b) < 0.1, -snr, snr)
    return np.stack([height, rng.uniform(10, 90, b), per_sigma * 2.0 * 5.0 ** rng.uniform(0, 1, b)], axis=1)


def lines(b: int, seed: int, snr: float = 5.0, kind: str = "gauss") -> Fits:
    """Experiment 1: single lines."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 100.0, 100)
    model: Model = m.Gaussian1D(1, 50, 5)
    truth = _peaks(rng, b, snr, 1.0)
    if kind == "lorentz":
        model, truth[:, 2] = m.Lorentz1D(1, 50, 10), 2.3548 * truth[:, 2]
    elif kind == "voigt":
        model = m.Voigt1D(50, 1, 6, 6)
        truth = np.stack([truth[:, 1], truth[:, 0], 1.2 * truth[:, 2], 1.5 * truth[:, 2]], axis=1)
    elif kind == "moffat":
        model = m.Moffat1D(1, 50, 10, 2)
        truth = np.column_stack([truth[:, :2], 2.2 * truth[:, 2], rng.uniform(1.5, 4.0, b)])
    elif kind == "box":
        model, truth[:, 2] = m.Box1D(1, 50, 10), 2.8 * truth[:, 2]
    elif kind == "trapezoid":
        model = m.Trapezoid1D(1, 50, 10, 1)
        truth = np.column_stack([truth[:, :2], 1.5 * truth[:, 2], truth[:, 0] / truth[:, 2]])
    elif kind == "ricker":
        model = m.RickerWavelet1D(1, 50, 5)
    elif kind == "slope":
        model = m.Gaussian1D(1, 50, 5) + m.Linear1D(0, 0)
        truth = np.column_stack([truth, rng.normal(0, 0.1, b), rng.normal(0, 5, b)])
    elif kind == "power":
        model = m.Gaussian1D(1, 50, 5) + m.PowerLaw1D(1, 1, 1, fixed={"x_0": True})
        x = x + 10.0
        truth = np.column_stack([truth, 10 * 10 ** rng.uniform(0, 2, b), np.ones(b), rng.uniform(-1.0, 2.0, b)])
        truth[:, 3] /= 50.0 ** -truth[:, 5]
        truth[:, 1] += 10.0
    return Fits(model, [x], with_faults(rng, noisy(rng, model, [x], truth, 1.0), 20.0), truth)


def blends(b: int, seed: int, snr: float = 10.0) -> Fits:
    """Experiment 2: two blended lines on a slope, 1.8 to 4 widths apart."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 100.0, 120)
    width = rng.uniform(2.5, 5.0, b)
    first = rng.uniform(20.0, 70.0, b)
    second = first + rng.uniform(1.8, 4.0, b) * width * 1.5
    heights = snr * rng.uniform(0.5, 1.0, (2, b))
    widths = width * rng.uniform(0.7, 1.3, (2, b))
    truth = np.stack(
        [heights[0], first, widths[0], heights[1], second, widths[1], rng.normal(0, 0.1, b), rng.normal(0, 5, b)],
        axis=1,
    )
    model = m.Gaussian1D(1, 40, 4) + m.Gaussian1D(1, 60, 4) + m.Linear1D(0, 0)
    return Fits(model, [x], with_faults(rng, noisy(rng, model, [x], truth, 1.0), 20.0, spikes=0.0), truth)


def waves(b: int, seed: int, snr: float = 2.0, offset: bool = False) -> Fits:
    """Experiment 2: sines of unknown frequency at 200 uneven times with gaps."""
    rng = np.random.default_rng(seed)
    t = np.sort(np.concatenate([rng.uniform(0.0, 40.0, 120), rng.uniform(55.0, 100.0, 80)]))
    model = m.Sine1D(1, 0.5, 0)
    truth = np.stack([np.full(b, snr), 0.02 * 40.0 ** rng.uniform(0, 1, b), rng.uniform(0, 1, b)], axis=1)
    if offset:
        model, truth = model + m.Const1D(0), np.column_stack([truth, rng.normal(0, 10, b)])
    return Fits(model, [t], with_faults(rng, noisy(rng, model, [t], truth, 1.0), 5.0, spikes=0.0), truth)


def decays(b: int, seed: int, snr: float = 20.0, offset: bool = False, grows: bool = False) -> Fits:
    """Experiment 2: exponentials whose scale is between a hundredth of the range and ten ranges."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 100.0, 100)
    tau = 100.0 * 10.0 ** rng.uniform(-2.0, 1.0, b)
    if grows:
        tau = np.where(rng.uniform(size=b) < 0.5, tau, -tau)
    height = snr * np.where(tau < 0, 1.0, np.exp(-100.0 / np.abs(tau)))
    truth = np.stack([height, tau], axis=1)
    model = m.Exponential1D(1, 10)
    if offset:
        model, truth = model + m.Const1D(0), np.column_stack([truth, rng.normal(0, 20, b)])
    return Fits(model, [x], with_faults(rng, noisy(rng, model, [x], truth, 1.0), 10.0, spikes=0.0), truth)


def steps(b: int, seed: int, snr: float = 20.0, offset: bool = False) -> Fits:
    """Experiment 2: logistic steps whose rate spans three decades."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 100.0, 100)
    rate = 2.0 * 10.0 ** rng.uniform(-3.0, 0.0, b) * np.where(rng.uniform(size=b) < 0.5, 1.0, -1.0)
    truth = np.stack([np.full(b, snr), rng.uniform(15, 85, b), rate], axis=1)
    model = logistic(1, 50, 0.5)
    if offset:
        model, truth = model + m.Const1D(0), np.column_stack([truth, rng.normal(0, 20, b)])
    return Fits(model, [x], with_faults(rng, noisy(rng, model, [x], truth, 1.0), 10.0, spikes=0.0), truth)


def power_laws(b: int, seed: int, snr: float = 20.0) -> Fits:
    rng = np.random.default_rng(seed)
    x = np.geomspace(1.0, 100.0, 100)
    alpha = rng.uniform(-2.0, 4.0, b)
    truth = np.stack([np.where(alpha < 0, snr * 100.0**alpha, snr), np.ones(b), alpha], axis=1)
    model = m.PowerLaw1D(1, 1, 1, fixed={"x_0": True})
    return Fits(model, [x], with_faults(rng, noisy(rng, model, [x], truth, 1.0), 10.0, spikes=0.0), truth)


def bounded(b: int, seed: int, snr: float = 10.0) -> Fits:
    """Experiment 2: a custom model of four parameters, of which bounds alone are known."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 10.0, 150)
    model = decaying_wave(
        1, 5, 2, 0.1, bounds={"decay": (0.5, 20), "period": (0.2, 10), "delay": (0, 1), "height": (0, 100)}
    )
    truth = np.stack(
        [np.full(b, snr), 10 ** rng.uniform(0.0, 1.2, b), 10 ** rng.uniform(-0.5, 0.9, b), rng.uniform(0.05, 0.9, b)],
        axis=1,
    )
    return Fits(model, [t], with_faults(rng, noisy(rng, model, [t], truth, 1.0), 10.0, spikes=0.0), truth)


def stars(b: int, seed: int, snr: float = 5.0, kind: str = "gauss") -> Fits:
    """Stars in images of 20 x 20 pixels on a constant sky, hot pixels in some."""
    rng = np.random.default_rng(seed)
    y, x = (a.ravel() for a in np.mgrid[0:20.0, 0:20.0])
    place = rng.uniform(4, 15, (2, b))
    widths = 1.2 * 2.5 ** rng.uniform(0, 1, (2, b))
    sky = rng.normal(0, 10, b)
    if kind == "gauss":
        model = m.Gaussian2D(1, 10, 10, 2, 1.5, 0.1) + m.Const2D(0)
        truth = np.stack([np.full(b, snr), *place, *widths, rng.uniform(-0.7, 0.7, b), sky], axis=1)
    else:
        model = m.Moffat2D(1, 10, 10, 3, 2) + m.Const2D(0)
        truth = np.stack([np.full(b, snr), *place, 1.8 * widths[0], rng.uniform(1.7, 4, b), sky], axis=1)
    return Fits(model, [x, y], with_faults(rng, noisy(rng, model, [x, y], truth, 1.0), 20.0), truth)


CASES: dict[str, Callable[[int, int], Fits]] = {
    "Gaussian1D, SNR 5": lines,
    "Gaussian1D, SNR 3": lambda b, seed: lines(b, seed, 3.0),
    "Gaussian1D + slope": lambda b, seed: lines(b, seed, kind="slope"),
    "Gaussian1D + power law": lambda b, seed: lines(b, seed, kind="power"),
    "Lorentz1D": lambda b, seed: lines(b, seed, kind="lorentz"),
    "Voigt1D": lambda b, seed: lines(b, seed, kind="voigt"),
    "Moffat1D": lambda b, seed: lines(b, seed, kind="moffat"),
    "RickerWavelet1D": lambda b, seed: lines(b, seed, kind="ricker"),
    "Box1D": lambda b, seed: lines(b, seed, kind="box"),
    "Trapezoid1D": lambda b, seed: lines(b, seed, kind="trapezoid"),
    "two blended lines + slope": blends,
    "Sine1D": waves,
    "Sine1D + constant": lambda b, seed: waves(b, seed, offset=True),
    "Exponential1D": decays,
    "Exponential1D, both signs": lambda b, seed: decays(b, seed, grows=True),
    "Exponential1D + constant": lambda b, seed: decays(b, seed, offset=True),
    "logistic": steps,
    "logistic + constant": lambda b, seed: steps(b, seed, offset=True),
    "PowerLaw1D": power_laws,
    "custom, four bounds": bounded,
    "Gaussian2D + sky": stars,
    "Moffat2D + sky": lambda b, seed: stars(b, seed, kind="moffat"),
}
"""By name: ``(number of fits, seed) -> Fits``. Constants were looked at on seeds below 100; report on others."""
