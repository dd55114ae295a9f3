"""Units of the parameters of astropy's models and of many formulas, worked out by hand.

Exponents are written as ``Y X-1``: ``Y`` is the unit of the data, ``X`` and ``Z`` are those of the inputs.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
from astropy.modeling import Model, custom_model
from astropy.modeling import models as M

Powers = tuple[Fraction, ...]


def powers(text: str | None) -> Powers | None:
    """Exponents of output and inputs as they are written in the tables: ``Y X-1``, ``1``, ``Y1/2 Z``; None is open."""
    if text is None:
        return None
    found = {symbol: Fraction(power or 1) for symbol, power in re.findall(r"([YXZ])(-?\d+(?:/\d+)?)?", text)}
    return tuple(found.get(symbol, Fraction(0)) for symbol in "YXZ")


# --- all models of astropy with one input or two

BY_HAND: dict[str, tuple[Callable[[], Model], Sequence[str | None]]] = {
    "AiryDisk2D": (M.AiryDisk2D, ["Y", "X", "X", "X"]),
    "ArcCosine1D": (M.ArcCosine1D, ["X", "Y-1", "1"]),
    "ArcSine1D": (M.ArcSine1D, ["X", "Y-1", "1"]),
    "ArcTangent1D": (M.ArcTangent1D, ["X", "Y-1", "1"]),
    "Box1D": (M.Box1D, ["Y", "X", "X"]),
    "Box2D": (M.Box2D, ["Y", "X", "X", "X", "X"]),
    "BrokenPowerLaw1D": (M.BrokenPowerLaw1D, ["Y", "X", "1", "1"]),
    "Chebyshev1D": (lambda: M.Chebyshev1D(2, domain=(0, 4)), ["Y"] * 3),
    "Chebyshev2D": (lambda: M.Chebyshev2D(1, 1, x_domain=(0, 4), y_domain=(0, 4)), ["Y"] * 4),
    "Const1D": (M.Const1D, ["Y"]),
    "Const2D": (M.Const2D, ["Y"]),
    "Cosine1D": (M.Cosine1D, ["Y", "X-1", "1"]),
    "Disk2D": (M.Disk2D, ["Y", "X", "X", "X"]),
    "Drude1D": (M.Drude1D, ["Y", "X", "X"]),
    "Ellipse2D": (M.Ellipse2D, ["Y", "X", "X", "X", "X", "1"]),
    "Exponential1D": (M.Exponential1D, ["Y", "X"]),
    "ExponentialCutoffPowerLaw1D": (M.ExponentialCutoffPowerLaw1D, ["Y", "X", "1", "X"]),
    "Gaussian1D": (M.Gaussian1D, ["Y", "X", "X"]),
    "Gaussian2D": (M.Gaussian2D, ["Y", "X", "X", "X", "X", "1"]),
    "GeneralSersic2D": (M.GeneralSersic2D, ["Y", "X", "1", "X", "X", "1", "1", "1"]),
    "Hermite1D": (lambda: M.Hermite1D(2, domain=(0, 4)), ["Y"] * 3),
    "Hermite2D": (lambda: M.Hermite2D(1, 1, x_domain=(0, 4), y_domain=(0, 4)), ["Y"] * 4),
    "KingProjectedAnalytic1D": (M.KingProjectedAnalytic1D, ["Y", "X", "X"]),
    "Legendre1D": (lambda: M.Legendre1D(2, domain=(0, 4)), ["Y"] * 3),
    "Legendre2D": (lambda: M.Legendre2D(1, 1, x_domain=(0, 4), y_domain=(0, 4)), ["Y"] * 4),
    "Linear1D": (M.Linear1D, ["Y X-1", "Y"]),
    "LogParabola1D": (M.LogParabola1D, ["Y", "X", "1", "1"]),
    "Logarithmic1D": (M.Logarithmic1D, ["Y", "X"]),
    "Lorentz1D": (M.Lorentz1D, ["Y", "X", "X"]),
    "Lorentz2D": (M.Lorentz2D, ["Y", "X", "X", "X"]),
    "Moffat1D": (M.Moffat1D, ["Y", "X", "X", "1"]),
    "Moffat2D": (M.Moffat2D, ["Y", "X", "X", "X", "1"]),
    "Multiply": (M.Multiply, ["Y X-1"]),
    "Planar2D": (M.Planar2D, ["Y X-1", "Y X-1", "Y"]),
    "Plummer1D": (M.Plummer1D, ["Y X3", "X"]),
    "Polynomial1D": (lambda: M.Polynomial1D(3), ["Y", "Y X-1", "Y X-2", "Y X-3"]),
    "Polynomial2D": (lambda: M.Polynomial2D(2), ["Y", "Y X-1", "Y X-2", "Y X-1", "Y X-2", "Y X-2"]),
    "PowerLaw1D": (M.PowerLaw1D, ["Y", "X", "1"]),
    "RedshiftScaleFactor": (M.RedshiftScaleFactor, ["Y X-1"]),
    "RickerWavelet1D": (M.RickerWavelet1D, ["Y", "X", "X"]),
    "RickerWavelet2D": (M.RickerWavelet2D, ["Y", "X", "X", "X"]),
    "Ring2D": (M.Ring2D, ["Y", "X", "X", "X", "X"]),
    "Scale": (M.Scale, ["Y X-1"]),
    "Schechter1D": (M.Schechter1D, ["Y", "X", "1"]),
    "Sersic1D": (M.Sersic1D, ["Y", "X", "1"]),
    "Sersic2D": (M.Sersic2D, ["Y", "X", "1", "X", "X", "1", "1"]),
    "Shift": (M.Shift, ["Y"]),
    "Sine1D": (M.Sine1D, ["Y", "X-1", "1"]),
    "SmoothlyBrokenPowerLaw1D": (M.SmoothlyBrokenPowerLaw1D, ["Y", "X", "1", "1", "1"]),
    "Tangent1D": (M.Tangent1D, ["Y", "X-1", "1"]),
    "Trapezoid1D": (M.Trapezoid1D, ["Y", "X", "X", "Y X-1"]),
    "TrapezoidDisk2D": (M.TrapezoidDisk2D, ["Y", "X", "X", "X", "Y X-1"]),
    "Voigt1D": (M.Voigt1D, ["X", "Y", "X", "X"]),
}

# --- custom expressions

# The expression in parameters p0, p1, ... and constants k0, k1, ...; the parameters' units; the constants, with theirs.
# After "or", for an open parameter, a unit that it may have.
W = "2 * np.pi"
LOGISTIC = "p0 + p1 * (1 / (1 + np.exp((p2 - x) / p3)) - 1 / (1 + np.exp((p4 - x) / p5)))"
LINES = " + ".join(f"{w} * np.exp(-0.5 * ((x - p1 - k{i}) / p2) ** 2)" for i, w in enumerate((0.11, 0.19, 0.11, 0.26)))
OFFSETS = {f"k{i}": (8.0 - i, "X") for i in range(4)}
YEAR = {"k0": (3.65, "X")}
CUSTOM: dict[str, tuple[str, Sequence[str], Mapping[str, tuple[float, str]]]] = {
    "decay": ("p0 * np.exp(-x / p1) + p2", ["Y", "X", "Y"], {}),
    "decay by its rate": ("p0 * np.exp(-p1 * x)", ["Y", "X-1"], {}),
    "two decays": ("p0 * (p1 * np.exp(-x / p2) + (1 - p1) * np.exp(-x / p3))", ["Y", "1", "X", "X"], {}),
    "stretched": ("p0 * np.exp(-((x / p1) ** p2))", ["Y", "X", "1"], {}),
    "double logistic": (LOGISTIC, ["Y", "Y", "X", "X", "X", "X"], {}),
    "Gaussian": ("p0 * np.exp(-0.5 * ((x - p1) / p2) ** 2)", ["Y", "X", "X"], {}),
    "Gaussian by its area": ("p0 / p2 / np.sqrt(2 * np.pi) * np.exp(-((x - p1) / p2) ** 2 / 2)", ["Y X", "X", "X"], {}),
    "Lorentzian": ("p0 / (1 + ((x - p1) / p2) ** 2)", ["Y", "X", "X"], {}),
    "hyperfine lines": (f"p0 * ({LINES}) + p3", ["Y", "X", "X", "Y"], OFFSETS),
    "saturated hyperfine lines": (f"p0 * (1 - np.exp(-p3 * ({LINES})))", ["Y", "X", "X", "1"], OFFSETS),
    "wave": (f"p0 * np.sin({W} * (p1 * x + p2))", ["Y", "X-1", "1"], {}),
    "wave by its period": (f"p0 * np.cos({W} * (x - p1) / p2) + p3", ["Y", "X", "X", "Y"], {}),
    "wave in radians": ("p0 * np.sin(p1 * x + p2)", ["Y", "X-1", "1"], {}),
    "annual wave": (f"p0 + p1 * x + p2 * np.sin({W} * x / k0) + p3 * np.cos(x / k0)", ["Y", "Y X-1", "Y", "Y"], YEAR),
    "annual wave with a phase": (f"p0 * np.sin({W} * x / k0 + p1)", ["Y", "1"], YEAR),
    "annual wave with a date": (f"p0 * np.sin({W} * (x - p1) / k0)", ["Y", "X"], YEAR),
    "angle in degrees": ("p0 * np.sin(np.deg2rad((x - p1) * k0))", ["Y", "X"], {"k0": (57.0, "X-1")}),
    "trend since": ("p0 + p1 * (x - k0)", ["Y", "Y X-1"], {"k0": (2.5, "X")}),
    "step": ("p0 + p1 * (x >= k0)", ["Y", "Y"], {"k0": (2.5, "X")}),
    "step and rate": ("p0 + p1 * (x - k0) + p2 * (x >= k1)", ["Y", "Y X-1", "Y"], {"k0": (1.5, "X"), "k1": (2.5, "X")}),
    "hinge": ("p0 + p1 * x + p2 * np.maximum(x - p3, 0)", ["Y", "Y X-1", "Y X-1", "X"], {}),
    "broken line": ("np.where(x < p0, p1 * (x - p0), p2 * (x - p0)) + p3", ["X", "Y X-1", "Y X-1", "Y"], {}),
    "power law": ("p0 * (x / p1) ** p2", ["Y", "X", "1"], {}),
    "fixed power": ("p0 * x ** 1.5 + p1", ["Y X-3/2", "Y"], {}),
    "square": ("p0**2 * x + p1", ["Y1/2 X-1/2", "Y"], {}),
    "root": ("np.sqrt((p0 * np.exp(-x / p1)) ** 2 + p2**2)", ["Y", "X", "Y"], {}),
    "hypot": ("np.hypot(p0 * np.exp(-x / p1), p2)", ["Y", "X", "Y"], {}),
    "Michaelis and Menten": ("p0 * x / (p1 + x)", ["Y", "X"], {}),
    "Hill": ("p0 * x**p2 / (p1**p2 + x**p2)", ["Y", "X", "1"], {}),
    "Arrhenius": ("p0 * np.exp(-p1 / x)", ["Y", "X"], {}),
    "parabola by its top": ("p0 - p1 * (x - p2) ** 2", ["Y", "Y X-2", "X"], {}),
    "polynomial by Horner": ("p0 + x * (p1 + x * (p2 + x * p3))", ["Y", "Y X-1", "Y X-2", "Y X-3"], {}),
    "magnitude": ("p0 - 2.5 * p3 * np.log10(p1 + x / p2)", ["Y", "1", "X", "Y"], {}),
    "logarithm": ("p0 * np.log(x / p1)", ["Y", "X"], {}),
    "inversion recovery": ("np.abs(p0 * (1 - 2 * np.exp(-x / p1)))", ["Y", "X"], {}),
    "gamma variate": ("p0 * ((x - p1) / p2) ** p3 * np.exp(-(x - p1) / p2)", ["Y", "X", "X", "1"], {}),
    "sigmoid by tanh": ("p0 * np.tanh((x - p1) / p2) + p3", ["Y", "X", "X", "Y"], {}),
    "arctan edge": ("p0 * (0.5 + np.arctan((x - p1) / p2) / np.pi)", ["Y", "X", "X"], {}),
    "clipped": ("np.clip(p0 * x, p1, p2)", ["Y X-1", "Y", "Y"], {}),
    "Butterworth": ("p0 / np.sqrt(1 + (x / p1) ** 4)", ["Y", "X"], {}),
    "sinc": ("p0 * np.sinc((x - p1) / p2) ** 2", ["Y", "X", "X"], {}),
    "two factors": ("p0 * p1 * np.exp(-x / p2)", [" or Y", " or 1", "X"], {}),
    "quotient of two": ("p0 / p1 + p2", [" or Y", " or 1", "Y"], {}),
    "hidden scale": ("p0 * x * np.exp(-x / k0)", [" or Y X-1"], {"k0": (10.0, "X")}),
    "hidden scale of a saturation": ("p0 * (1 - np.exp(-x / k0)) + p1", [" or Y", "Y"], {"k0": (2.0, "X")}),
    "logarithm of the input": ("p0 * np.log(x / k0) + p1", ["Y or Y", "Y"], {"k0": (1.5, "X")}),
}  # fmt: skip


def written(name: str, values: Sequence[float] | None = None, factors: Mapping[str, float] | None = None) -> Model:
    """A model as a user writes it, its constants times factors."""
    expression, units, constants = CUSTOM[name]
    values = [1.0 + j / 8 for j in range(len(units))] if values is None else values
    for constant, (number, _) in constants.items():
        expression = re.sub(rf"\b{constant}\b", repr(float(number * (factors or {}).get(constant, 1.0))), expression)
    arguments = ", ".join(f"p{j}={float(v)!r}" for j, v in enumerate(values))
    return custom_model(eval(f"lambda x, {arguments}: {expression}", {"np": np}))()
