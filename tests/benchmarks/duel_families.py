"""Families of fits for the duel: a model, and how truths, starts and data of it are drawn.

Starts are as people have them: widths off by factors of 2 to 5, places by some widths, amplitudes by any factor, bounds
as users set them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.modeling import Model, custom_model
from astropy.modeling import models as m

__all__ = ["FAMILIES", "Drawn", "Family"]

Rng = np.random.Generator


@dataclass(frozen=True)
class Drawn:
    """One fit: coordinates (one array for each input), data, and the start; ``sigma`` where errors differ."""

    y: np.ndarray
    start: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Family:
    """A kind of fit.

    Parameters
    ----------
    name : str
    model : Model
        With ties, fixed parameters and bounds.
    inputs : tuple of ndarray
        One for each input of the model, over the dims of the samples.
    truth, start : callable
        ``truth(rng)`` and ``start(rng, truth)``: values of all parameters, in order.
    noise : float or callable
        Standard error of the samples: a number, or ``noise(values)``.
    gaps : float
        Share of the samples that are left out.
    bounds : mapping
    """

    name: str
    model: Model
    inputs: tuple[np.ndarray, ...]
    truth: Callable[[Rng], Any]
    start: Callable[[Rng, np.ndarray], Any]
    noise: Any
    gaps: float = 0.0
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


FAMILIES: list[Family] = []


def add(name: str, model: Model, inputs: Any, truth: Any, start: Any, noise: Any, **options: Any) -> None:
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    FAMILIES.append(Family(name, model, inputs, truth, start, noise, **options))


def by(rng: Rng, most: float) -> float:
    """A factor between 1 / most and most."""
    return float(most ** rng.uniform(-1, 1))


X = np.linspace(-10.0, 10.0, 60)
T = np.linspace(0.0, 10.0, 50)
P = np.linspace(0.5, 20.0, 60)
Y2, X2 = (a.astype(float) for a in np.mgrid[:15, :15])


# --- lines ------------------------------------------------------------------------------------------------------------
def line_truth(r: Rng) -> list[float]:
    return [r.uniform(2, 8), r.uniform(-4, 4), r.uniform(0.5, 2.0)]


def line_start(r: Rng, p: np.ndarray) -> list[float]:
    return [p[0] * by(r, 4), p[1] + r.uniform(-2.5, 2.5) * p[2], p[2] * by(r, 4)]


add("gaussian", m.Gaussian1D(), X, line_truth, line_start, 0.2)
add(
    "gaussian and constant",
    m.Gaussian1D() + m.Const1D(),
    X,
    lambda r: [*line_truth(r), r.uniform(-3, 3)],
    lambda r, p: [*line_start(r, p[:3]), 0.0],
    0.3,
    gaps=0.2,
)
add(
    "gaussian with bounds",
    m.Gaussian1D(),
    X,
    line_truth,
    lambda r, p: [1.0, np.clip(p[1] + r.uniform(-2, 2), -4.9, 4.9), np.clip(p[2] * by(r, 4), 0.3, 4.9)],
    0.3,
    bounds={"amplitude": (0.0, None), "mean": (-5.0, 5.0), "stddev": (0.2, 5.0)},
)
add(
    "faint gaussian",
    m.Gaussian1D(),
    X,
    lambda r: [r.uniform(0.8, 1.5), r.uniform(-4, 4), r.uniform(0.7, 2.0)],
    lambda r, p: [1.0, p[1] + r.uniform(-1, 1), 1.0],
    0.3,
)
ORIGIN = 2459000.0
J = ORIGIN + np.linspace(0.3, 0.6, 120)
add(
    "dip on Julian dates",
    m.Gaussian1D() + m.Linear1D(),
    J,
    lambda r: [-r.uniform(0.005, 0.02), ORIGIN + r.uniform(0.4, 0.5), r.uniform(0.01, 0.03), 0.002, 1 - 0.002 * ORIGIN],
    lambda r, p: [-0.008, p[1] + r.uniform(-0.02, 0.02), p[2] * by(r, 2), 0.0, 1.0],
    1e-3,
)
W = np.linspace(6500.0, 6600.0, 100)
add(
    "flux of 1e-17, start 1",
    m.Gaussian1D() + m.Const1D(),
    W,
    lambda r: [1e-17 * r.uniform(3, 8), r.uniform(6530, 6570), r.uniform(3, 8), 1e-17],
    lambda r, p: [1.0, p[1] + r.uniform(-3, 3), p[2] * by(r, 2), 1.0],
    2e-18,
)
add(
    "voigt",
    m.Voigt1D(),
    X,
    lambda r: [r.uniform(-3, 3), r.uniform(3, 8), r.uniform(0.5, 2), r.uniform(0.5, 2)],
    lambda r, p: [p[0] + r.uniform(-1, 1), p[1] * by(r, 2), p[2] * by(r, 2), p[3] * by(r, 2)],
    0.1,
)
add(
    "voigt of a lorentzian",
    m.Voigt1D(),
    X,
    lambda r: [r.uniform(-3, 3), r.uniform(3, 8), r.uniform(0.8, 2), 1e-9],
    lambda r, p: [p[0] + r.uniform(-0.5, 0.5), p[1] * by(r, 1.5), p[2] * by(r, 2), r.uniform(0.3, 1.0)],
    0.1,
)
add(
    "lorentzian and constant",
    m.Lorentz1D() + m.Const1D(),
    X,
    lambda r: [r.uniform(3, 8), r.uniform(-4, 4), r.uniform(0.6, 2.5), 1.0],
    lambda r, p: [p[0] * by(r, 4), p[1] + r.uniform(-1.5, 1.5), p[2] * by(r, 4), 0.0],
    0.2,
)
add(
    "moffat",
    m.Moffat1D(),
    X,
    lambda r: [r.uniform(3, 8), r.uniform(-3, 3), r.uniform(1, 3), r.uniform(1.5, 4)],
    lambda r, p: [p[0] * by(r, 3), p[1] + r.uniform(-1.5, 1.5), p[2] * by(r, 2.5), 2.0],
    0.1,
)
add(
    "three gaussians and a line",
    m.Gaussian1D() + m.Gaussian1D() + m.Gaussian1D() + m.Linear1D(),
    X,
    lambda r: [4, -5 + r.uniform(-1, 1), 0.8, 6, r.uniform(-0.5, 0.5), 1.0, 3, 5 + r.uniform(-1, 1), 0.7, 0.1, 1.0],
    lambda r, p: [3, -5, 1.0 * by(r, 2.5), 3, 0, 1.0 * by(r, 2.5), 3, 5, 1.0 * by(r, 2.5), 0, 0],
    0.3,
)
doublet = m.Gaussian1D(1, -1.5, 1) + m.Gaussian1D(1, 1.5, 1) + m.Const1D(0)
doublet.mean_1.tied = lambda model: model.mean_0 + 3.0
doublet.stddev_1.tied = lambda model: model.stddev_0
add(
    "tied doublet",
    doublet,
    X,
    lambda r: (lambda c, w: [r.uniform(2, 6), c, w, r.uniform(1, 4), c + 3, w, 0.5])(
        r.uniform(-4, 1), r.uniform(0.5, 1.2)
    ),
    lambda r, p: (lambda c, w: [1, c, w, 1, c + 3, w, 0.0])(p[1] + r.uniform(-1.2, 1.2), p[2] * by(r, 3)),
    0.3,
)
Z = np.arange(6800.0, 7100.0, 2.5)
REST = (6549.86, 6564.61, 6585.27)
lines = m.Gaussian1D(1, REST[0], 2) + m.Gaussian1D(1, REST[1], 2) + m.Gaussian1D(1, REST[2], 2) + m.Const1D(1)
redshifted = m.RedshiftScaleFactor(0.0) | lines
for _i in (1, 2, 3):
    getattr(redshifted, f"mean_{_i}").fixed = True
redshifted.amplitude_1.tied = lambda model: model.amplitude_3 / 2.96
add(
    "three lines from equal starts",
    redshifted,
    Z,
    lambda r: [
        -0.0527 + r.uniform(-1e-3, 1e-3),
        4 / 2.96,
        REST[0],
        2.6,
        r.uniform(5, 12),
        REST[1],
        2.6,
        4,
        REST[2],
        2.6,
        1,
    ],
    lambda r, p: [p[0] + r.uniform(-2e-4, 2e-4), 1 / 2.96, REST[0], 2.0, 1, REST[1], 2.0, 1, REST[2], 2.0, 1],
    0.1,
)
add(
    "absorption of a continuum",
    m.Linear1D() * (m.Const1D() - m.Gaussian1D()),
    X,
    lambda r: [r.uniform(-0.1, 0.1), r.uniform(5, 9), 1.0, r.uniform(0.3, 0.9), r.uniform(-4, 4), r.uniform(0.5, 2)],
    lambda r, p: [0, 5, 1.0, 0.5, p[4] + r.uniform(-1.5, 1.5), p[5] * by(r, 3)],
    0.1,
    bounds={"amplitude_1": (1.0, 1.0)},
)
add(
    "absorption line, amplitude <= 0",
    m.Gaussian1D() + m.Const1D(),
    X,
    lambda r: [-r.uniform(1, 3), r.uniform(-4, 4), r.uniform(0.5, 2), 4.0],
    lambda r, p: [-0.1, p[1] + r.uniform(-1.5, 1.5), p[2] * by(r, 3), 1.0],
    0.2,
    bounds={"amplitude_0": (None, 0.0)},
)


@custom_model
def skewed(x, a=1.0, c=0.0, w=1.0, s=0.0):
    from scipy.special import erf

    u = (x - c) / w
    return a * np.exp(-0.5 * u**2) * (1 + erf(s * u / np.sqrt(2)))


add(
    "skewed gaussian",
    skewed(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(-3, 3), r.uniform(1, 2.5), r.uniform(-4, 4)],
    lambda r, p: [p[0] * by(r, 2), p[1] + r.uniform(-1, 1), p[2] * by(r, 2), 0.1 * np.sign(p[3])],
    0.1,
)
add(
    "ricker wavelet",
    m.RickerWavelet1D(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(-3, 3), r.uniform(0.7, 2)],
    lambda r, p: [1, p[1] + r.uniform(-0.7, 0.7) * p[2], p[2] * by(r, 2)],
    0.2,
)
add(
    "drude",
    m.Drude1D(),
    P,
    lambda r: [r.uniform(2, 6), r.uniform(6, 14), r.uniform(1, 5)],
    lambda r, p: [1, p[1] + r.uniform(-2, 2), p[2] * by(r, 3)],
    0.1,
)
add(
    "box",
    m.Box1D(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(-3, 3), r.uniform(2, 6)],
    lambda r, p: [1, p[1] + r.uniform(-0.5, 0.5), p[2] * by(r, 1.5)],
    0.2,
)
add(
    "trapezoid",
    m.Trapezoid1D(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(-3, 3), r.uniform(2, 5), r.uniform(0.7, 3)],
    lambda r, p: [2, p[1] + r.uniform(-0.7, 0.7), p[2] * by(r, 1.5), p[3] * by(r, 2)],
    0.1,
)


# --- waves ------------------------------------------------------------------------------------------------------------
D = np.arange(54) * 30.4
wave = m.Linear1D(0, 300) + m.Sine1D(1, 1 / 365.25, 0, fixed={"frequency": True})
add(
    "season, amplitude >= 0, half a period off",
    wave,
    D,
    lambda r: [1e-4, 300, r.uniform(1, 3), 1 / 365.25, r.uniform(0, 1)],
    lambda r, p: [0, 290, 1, 1 / 365.25, 0.0],
    0.2,
    bounds={"amplitude_1": (0.0, None)},
)
add(
    "sine, frequency near",
    m.Sine1D() + m.Const1D(),
    T,
    lambda r: [r.uniform(1, 3), r.uniform(0.2, 0.6), r.uniform(0, 1), 1.0],
    lambda r, p: [1, p[1] + r.uniform(-0.04, 0.04), r.uniform(0, 1), 0.0],
    0.2,
)


@custom_model
def damped(t, a=1.0, f=0.3, phase=0.0, tau=5.0):
    return a * np.exp(-t / tau) * np.sin(2 * np.pi * (f * t + phase))


add(
    "damped sine",
    damped(),
    T,
    lambda r: [r.uniform(2, 5), r.uniform(0.3, 0.7), r.uniform(0, 1), r.uniform(3, 9)],
    lambda r, p: [1, p[1] + r.uniform(-0.04, 0.04), r.uniform(0, 1), 5.0],
    0.1,
)


# --- decays, growth, laws ---------------------------------------------------------------------------------------------
@custom_model
def floor(t, s0=60.0, t2=50.0, noise=5.0):
    return np.sqrt((s0 * np.exp(-t / t2)) ** 2 + noise**2)


ECHO = np.arange(10.0, 170.0, 15.0)
add(
    "rician floor, noise >= 0",
    floor(),
    ECHO,
    lambda r: [r.uniform(50, 90), r.uniform(30, 80), 0.0],
    lambda r, p: [p[0] * by(r, 2), p[1] * by(r, 2), 5.0],
    1.0,
    bounds={"noise": (0.0, None)},
)
add(
    "rician floor that is seen",
    floor(),
    ECHO,
    lambda r: [r.uniform(50, 90), r.uniform(20, 40), r.uniform(4, 10)],
    lambda r, p: [p[0] * by(r, 2), p[1] * by(r, 2), 5.0],
    1.0,
    bounds={"noise": (0.0, None)},
)
add(
    "exponential and constant",
    m.Exponential1D() + m.Const1D(),
    T,
    lambda r: [r.uniform(2, 6), -r.uniform(1, 4), 1.0],
    lambda r, p: [1, p[1] * by(r, 5), 0.0],
    0.1,
)
add(
    "two exponentials",
    m.Exponential1D() + m.Exponential1D(),
    T,
    lambda r: [r.uniform(3, 6), -r.uniform(0.3, 0.8), r.uniform(2, 4), -r.uniform(3, 8)],
    lambda r, p: [1, p[1] * by(r, 3), 1, p[3] * by(r, 3)],
    0.03,
)


@custom_model
def stretched(t, a=1.0, tau=2.0, beta=0.7):
    return a * np.exp(-((t / tau) ** beta))


add(
    "stretched exponential",
    stretched(),
    T,
    lambda r: [r.uniform(2, 6), r.uniform(1, 4), r.uniform(0.5, 1.5)],
    lambda r, p: [p[0] * by(r, 3), p[1] * by(r, 3), 1.0],
    0.05,
    bounds={"tau": (1e-3, None), "beta": (0.05, 5.0)},
)


@custom_model
def hinge(t, a=0.0, b=0.0, c=-0.05, t0=90.0):
    return a + b * t + c * np.maximum(t - t0, 0)


add(
    "hinge at an unknown place",
    hinge(),
    np.arange(120.0),
    lambda r: [-1, -0.02, -0.06, r.uniform(30, 90)],
    lambda r, p: [0, 0, -0.05, 60.0],
    0.25,
)
add(
    "power law and constant",
    m.PowerLaw1D(1, 1, 1, fixed={"x_0": True}) + m.Const1D(),
    P,
    lambda r: [r.uniform(2, 8), 1.0, r.uniform(0.7, 2.5), 1.0],
    lambda r, p: [1, 1.0, p[2] * by(r, 3), 0.0],
    0.05,
)
add(
    "broken power law",
    m.BrokenPowerLaw1D(1, 5, 1, 2),
    P,
    lambda r: [r.uniform(2, 8), r.uniform(4, 10), r.uniform(0.3, 1.2), r.uniform(1.8, 3)],
    lambda r, p: [1, p[1] + r.uniform(-2, 2), 1.0, 2.0],
    0.05,
)
add(
    "smoothly broken power law",
    m.SmoothlyBrokenPowerLaw1D(1, 5, 1, 2, 0.2, fixed={"delta": True}),
    P,
    lambda r: [r.uniform(2, 8), r.uniform(4, 10), r.uniform(0.3, 1.2), r.uniform(1.8, 3), 0.2],
    lambda r, p: [1, p[1] + r.uniform(-1.5, 1.5), 1.0, 2.0, 0.2],
    0.03,
)
add(
    "power law with cutoff",
    m.ExponentialCutoffPowerLaw1D(1, 1, 1, 5, fixed={"x_0": True}),
    P,
    lambda r: [r.uniform(2, 8), 1.0, r.uniform(0.3, 1.5), r.uniform(3, 10)],
    lambda r, p: [1, 1.0, 1.0, p[3] * by(r, 3)],
    0.03,
)
add(
    "log parabola",
    m.LogParabola1D(1, 3, 1, 0.1, fixed={"x_0": True}),
    P,
    lambda r: [r.uniform(2, 8), 3.0, r.uniform(0.5, 2), r.uniform(0.1, 0.5)],
    lambda r, p: [1, 3.0, 1.0, 0.0],
    0.03,
)
add(
    "schechter",
    m.Schechter1D(1, -20, -1),
    np.linspace(-24, -16, 40),
    lambda r: [r.uniform(1, 3), r.uniform(-21, -19), r.uniform(-1.4, -0.6)],
    lambda r, p: [1, p[1] + r.uniform(-0.7, 0.7), -1.0],
    0.05,
)
add(
    "plummer",
    m.Plummer1D(),
    P,
    lambda r: [r.uniform(500, 3000), r.uniform(2, 6)],
    lambda r, p: [p[0] * by(r, 4), p[1] * by(r, 3)],
    lambda v: 0.02 * np.max(np.abs(v)),
)
add(
    "king",
    m.KingProjectedAnalytic1D(1, 2, 30),
    P,
    lambda r: [r.uniform(2, 8), r.uniform(1, 4), r.uniform(25, 40)],
    lambda r, p: [1, p[1] * by(r, 2), p[2] * by(r, 1.2)],
    0.02,
    bounds={"r_core": (0.1, 15.0), "r_tide": (20.5, 200.0)},
)
add(
    "sersic",
    m.Sersic1D(1, 5, 2),
    P,
    lambda r: [r.uniform(1, 4), r.uniform(3, 9), r.uniform(1, 4)],
    lambda r, p: [1, p[1] * by(r, 2), 2.0],
    0.03,
    bounds={"n": (0.3, 10.0), "r_eff": (0.1, 50.0)},
)
add(
    "arctangent",
    m.ArcTangent1D(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(0.05, 0.3), r.uniform(-0.3, 0.3)],
    lambda r, p: [1, p[1] * by(r, 4), 0.0],
    0.2,
)


@custom_model
def logistic(x, a=1.0, x0=0.0, s=1.0, c=0.0):
    return a / (1 + np.exp(-(x - x0) / s)) + c


add(
    "logistic",
    logistic(),
    X,
    lambda r: [r.uniform(2, 6), r.uniform(-4, 4), r.uniform(0.4, 2), 1.0],
    lambda r, p: [1, p[1] + r.uniform(-3, 3), p[2] * by(r, 3), 0.0],
    0.15,
)


@custom_model
def saturating(x, vmax=1.0, km=1.0):
    return vmax * (1 - np.exp(-km * x))


add(
    "saturation (BoxBOD)",
    saturating(),
    np.array([1.0, 2, 3, 5, 7, 10]),
    lambda r: [r.uniform(150, 250), r.uniform(0.3, 0.8)],
    lambda r, p: [p[0] * by(r, 3), p[1] * by(r, 5)],
    8.0,
)


@custom_model
def kinetics(x, vmax=1.0, km=1.0):
    return vmax * x / (km + x)


add(
    "michaelis and menten",
    kinetics(),
    P,
    lambda r: [r.uniform(2, 8), r.uniform(1, 8)],
    lambda r, p: [1, p[1] * by(r, 5)],
    0.1,
    bounds={"km": (0.0, None)},
)


@custom_model
def gompertz(t, a=1.0, b=2.0, c=0.5):
    return a * np.exp(-b * np.exp(-c * t))


add(
    "gompertz",
    gompertz(),
    T,
    lambda r: [r.uniform(3, 9), r.uniform(2, 6), r.uniform(0.4, 1.2)],
    lambda r, p: [1, p[1] * by(r, 2), p[2] * by(r, 2)],
    0.1,
)


@custom_model
def rational(x, b1=0.2, b2=0.2, b3=0.1, b4=0.1):
    return b1 * (x**2 + b2 * x) / (x**2 + b3 * x + b4)


add(
    "rational (MGH09)",
    rational(),
    np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]),
    lambda r: [0.19 * by(r, 1.2), 0.19 * by(r, 1.2), 0.12 * by(r, 1.2), 0.135 * by(r, 1.2)],
    lambda r, p: p * [by(r, 2) for _ in range(4)],
    1e-3,
)

# --- images -----------------------------------------------------------------------------------------------------------
add(
    "star and background",
    m.Gaussian2D(theta=0, fixed={"theta": True}) + m.Const2D(),
    (X2, Y2),
    lambda r: [r.uniform(3, 9), r.uniform(5, 9), r.uniform(5, 9), r.uniform(1, 2.5), r.uniform(1, 2.5), 0.0, 1.0],
    lambda r, p: [1, p[1] + r.uniform(-2, 2), p[2] + r.uniform(-2, 2), p[3] * by(r, 2.5), p[4] * by(r, 2.5), 0.0, 0.0],
    0.3,
    gaps=0.1,
)
add(
    "rotated gaussian",
    m.Gaussian2D(),
    (X2, Y2),
    lambda r: [
        r.uniform(3, 9),
        r.uniform(5, 9),
        r.uniform(5, 9),
        r.uniform(2.2, 3.5),
        r.uniform(1, 1.6),
        r.uniform(-0.7, 0.7),
    ],
    lambda r, p: [1, 7, 7, 2.0, 1.5, 0.1],
    0.3,
)
add(
    "moffat star",
    m.Moffat2D() + m.Const2D(),
    (X2, Y2),
    lambda r: [r.uniform(3, 9), r.uniform(5, 9), r.uniform(5, 9), r.uniform(1.5, 3), r.uniform(1.5, 3.5), 1.0],
    lambda r, p: [1, p[1] + r.uniform(-1.5, 1.5), p[2] + r.uniform(-1.5, 1.5), p[3] * by(r, 2), 2.0, 0.0],
    0.1,
)
add(
    "sersic galaxy",
    m.Sersic2D(1, 4, 1.5, 7, 7, 0.3, 0.5),
    (X2, Y2),
    lambda r: [
        r.uniform(1, 3),
        r.uniform(2, 4),
        r.uniform(0.8, 2.5),
        r.uniform(6, 8),
        r.uniform(6, 8),
        r.uniform(0.2, 0.6),
        r.uniform(0, 1),
    ],
    lambda r, p: [1, p[1] * by(r, 1.5), 1.5, 7, 7, 0.3, 0.5],
    0.05,
    bounds={"n": (0.3, 8.0), "r_eff": (0.3, 20.0), "ellip": (0.0, 0.95)},
)
