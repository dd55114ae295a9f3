"""Every model of astropy that can be fitted, and every way to combine them: a table, and data that are made of it."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import astropy.modeling
import numpy as np
import xarray as xr
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.modeling import CompoundModel, FittableModel, Model, fix_inputs, models
from astropy.modeling.math_functions import ExpUfunc, HypotUfunc, SqrtUfunc

from xr_modelfit import fit

# --- all models that astropy has

CANNOT = {
    "Mapping": "no parameters",
    "Identity": "no parameters",
    "Spline1D": "its values do not follow from its parameters",
}


def astropy_classes() -> dict[str, type[Model]]:
    """Every class of astropy.modeling that calls itself fittable, by name; not the bases that are for its own use."""
    for module in pkgutil.walk_packages(astropy.modeling.__path__, "astropy.modeling."):
        if ".tests" not in module.name:
            importlib.import_module(module.name)

    def below(cls: type) -> Iterator[type]:
        for sub in cls.__subclasses__():
            yield from (sub, *below(sub))

    found = {c.__name__: c for c in below(FittableModel) if c.__module__.startswith("astropy.modeling.")}
    found = {name: c for name, c in found.items() if getattr(sys.modules[c.__module__], name, None) is c}
    bases = {
        name for name, c in found.items() if name.startswith("_") or name.endswith("Base") or inspect.isabstract(c)
    }
    return {name: found[name] for name in sorted(found.keys() - bases)}


CLASSES = astropy_classes()


class Case(NamedTuple):
    """A model with the values that the data is made of, and the units of the coordinate and the data."""

    truth: Callable[[], Model]
    low: float = 0.5
    high: float = 6.5
    x_units: str | None = None
    units: str | None = None


M = models
D1 = {"domain": (-1.0, 8.0), "window": (-2.0, 1.0)}
D2 = {"x_domain": (-1.0, 8.0), "y_domain": (-2.0, 9.0), "x_window": (-1.0, 2.0), "y_window": (-2.0, 1.0)}
COSMOS = FlatLambdaCDM(67.0, 0.3)

# Classes that need arguments, or another start than their defaults; all others are made without any.
SPECIAL: dict[str, Case] = {
    "AiryDisk2D": Case(lambda: M.AiryDisk2D(3.0, 3.1, 2.9, 4.0)),
    "ArcCosine1D": Case(lambda: M.ArcCosine1D(3.0, 0.05, 0.1), -2.0, 2.0),
    "ArcSine1D": Case(lambda: M.ArcSine1D(3.0, 0.05, 0.1), -2.0, 2.0),
    "BlackBody": Case(lambda: M.BlackBody(5000 * u.K, 2.0), 2e14, 9e14, "Hz", "erg / (s cm2 Hz sr)"),
    "Box1D": Case(lambda: M.Box1D(2.0, 3.0, 2.5)),
    "Box2D": Case(lambda: M.Box2D(2.0, 3.0, 3.0, 2.5, 3.5)),
    "BrokenPowerLaw1D": Case(lambda: M.BrokenPowerLaw1D(2.0, 3.0, 0.5, 1.5)),
    "Chebyshev1D": Case(lambda: M.Chebyshev1D(3, c0=1, c1=0.5, c2=0.25, c3=2, **D1)),
    "Chebyshev2D": Case(lambda: M.Chebyshev2D(1, 2, c0_0=1, c1_0=0.5, c0_1=0.25, c1_1=2, c0_2=1, c1_2=3, **D2)),
    "Disk2D": Case(lambda: M.Disk2D(2.0, 3.0, 3.0, 2.2)),
    "Ellipse2D": Case(lambda: M.Ellipse2D(2.0, 3.0, 3.0, 3.2, 1.7, 0.3)),
    "Gaussian1D": Case(lambda: M.Gaussian1D(3.0, 3.0, 1.2, name="line")),
    "Gaussian2D": Case(lambda: M.Gaussian2D(3.0, 3.0, 2.5, 1.2, 0.8, 0.4)),
    "GeneralSersic2D": Case(lambda: M.GeneralSersic2D(2.0, 2.5, 1.5, 3.2, 2.7, 0.3, 0.5, 0.2)),
    "Hermite1D": Case(lambda: M.Hermite1D(2, c0=1, c1=0.5, c2=0.25, **D1)),
    "Hermite2D": Case(lambda: M.Hermite2D(1, 1, c0_0=1, c1_0=0.5, c0_1=0.25, c1_1=2, **D2)),
    "KingProjectedAnalytic1D": Case(lambda: M.KingProjectedAnalytic1D(3.0, 1.0, 9.0)),
    "Legendre1D": Case(lambda: M.Legendre1D(2, c0=1, c1=0.5, c2=0.25, **D1)),
    "Legendre2D": Case(lambda: M.Legendre2D(1, 1, c0_0=1, c1_0=0.5, c0_1=0.25, c1_1=2, **D2)),
    "Logarithmic1D": Case(lambda: M.Logarithmic1D(3.0, 0.2)),
    "Lorentz1D": Case(lambda: M.Lorentz1D(3.0, 3.0, 1.5)),
    "Lorentz2D": Case(lambda: M.Lorentz2D(3.0, 3.0, 2.5, 1.5)),
    "Moffat1D": Case(lambda: M.Moffat1D(3.0, 3.0, 1.5, 1.7)),
    "Moffat2D": Case(lambda: M.Moffat2D(3.0, 3.0, 2.5, 1.5, 1.7)),
    "Multiply": Case(lambda: M.Multiply(2.5)),
    "NFW": Case(
        lambda: M.NFW(2e12 * u.M_sun, 5.0, 0.5, massfactor=("mean", 180), cosmo=COSMOS, fixed={"redshift": True}),
        20.0,
        300.0,
        "kpc",
        "solMass / kpc3",
    ),
    "Plummer1D": Case(lambda: M.Plummer1D(1e4, 3.0)),
    "Polynomial1D": Case(lambda: M.Polynomial1D(2, c0=1, c1=0.5, c2=0.25, **D1)),
    "Polynomial2D": Case(lambda: M.Polynomial2D(2, c0_0=1, c1_0=0.5, c0_1=0.25, c1_1=2, c2_0=1, c0_2=3, **D2)),
    "RickerWavelet1D": Case(lambda: M.RickerWavelet1D(3.0, 3.0, 1.5)),
    "RickerWavelet2D": Case(lambda: M.RickerWavelet2D(3.0, 3.0, 2.5, 1.5)),
    "Ring2D": Case(lambda: M.Ring2D(2.0, 3.0, 3.0, 1.2, 1.5)),
    "Scale": Case(lambda: M.Scale(2.5)),
    "Schechter1D": Case(lambda: M.Schechter1D(1e-2, -20.0, -0.9), -22.0, -17.0),
    "Sersic1D": Case(lambda: M.Sersic1D(2.0, 2.5, 1.5)),
    "Sersic2D": Case(lambda: M.Sersic2D(2.0, 2.5, 1.5, 3.2, 2.7, 0.3, 0.5)),
    "Shift": Case(lambda: M.Shift(2.5)),
    "SmoothlyBrokenPowerLaw1D": Case(lambda: M.SmoothlyBrokenPowerLaw1D(2.0, 3.0, 0.5, 1.5, 0.4)),
    "Tangent1D": Case(lambda: M.Tangent1D(2.0, 0.03, 0.05)),
    "Trapezoid1D": Case(lambda: M.Trapezoid1D(2.0, 3.0, 2.0, 1.3)),
    "TrapezoidDisk2D": Case(lambda: M.TrapezoidDisk2D(2.0, 3.0, 3.0, 1.5, 0.7)),
    "Voigt1D": Case(lambda: M.Voigt1D(3.0, 2.0, 1.2, 0.8)),
}


def made(cls: type[Model]) -> Callable[[], Model]:
    """A model of a class that this table does not know: a new one of astropy's, or one whose defaults will do."""
    return lambda: cls()


# --- their combinations

TABLE = {"points": np.linspace(0, 8, 17), "lookup_table": np.cos(np.arange(17.0))}


def renamed_inputs() -> Model:
    model = M.Gaussian1D(3, 3, 1) + M.Const1D(1)
    model.inputs = ("velocity",)
    return model


def line_with_units() -> Model:
    return M.Gaussian1D(3 * u.K, 3000 * u.m / u.s, 1.2 * u.km / u.s, bounds={"stddev": (0.1, None)}) + M.Const1D(
        1 * u.K
    )


COMBINED: dict[str, Case] = {
    "sum": Case(lambda: M.Gaussian1D(3, 3, 1) + M.Const1D(1)),
    "named parts": Case(lambda: M.Gaussian1D(3, 3, 1, name="line") + M.Linear1D(0.1, 1, name="sky")),
    "named whole": Case(lambda: CompoundModel("+", M.Gaussian1D(3, 3, 1), M.Const1D(1), name="both")),
    "difference": Case(lambda: M.Linear1D(1, 5) - M.Gaussian1D(1, 3, 1)),
    "product": Case(lambda: M.Linear1D(0.1, 1) * M.Gaussian1D(3, 3, 1, fixed={"amplitude": True})),
    "quotient": Case(lambda: M.Linear1D(1, 2) / M.Polynomial1D(1, c0=1, c1=0.2, fixed={"c0": True}, **D1)),
    "power": Case(lambda: M.Linear1D(0.5, 1) ** M.Const1D(1.5)),
    "pipe": Case(lambda: M.Shift(-3) | M.Gaussian1D(3, 0, 1, fixed={"mean": True})),
    "pipe of functions": Case(lambda: M.Linear1D(-0.3, 1) | ExpUfunc() | SqrtUfunc()),
    "side by side in a pipe": Case(
        lambda: M.Shift(-3.1) & M.Shift(-2.9) | M.Gaussian2D(3, 0, 0, 1.2, 0.8, fixed={"x_mean": True, "y_mean": True})
    ),
    "rotation": Case(lambda: M.Rotation2D(20) | M.Gaussian2D(3, 4, 1, 1.2, 0.8, fixed={"theta": True})),
    "mapping": Case(
        lambda: M.Mapping((1, 0)) | M.Gaussian1D(3, 3, 1) & M.Scale(2, fixed={"factor": True}) | M.Mapping((0,), 2)
    ),
    "distance": Case(
        lambda: M.Shift(-3) & M.Shift(-2.5) | HypotUfunc() | M.Gaussian1D(3, 0, 1.5, fixed={"mean": True})
    ),
    "table": Case(lambda: M.Const1D(2) * M.Tabular1D(**TABLE) + M.Const1D(1)),
    "table beyond its ends": Case(
        lambda: M.Shift(0.3) | M.Tabular1D(**TABLE, bounds_error=False, fill_value=0.5, method="linear") | M.Scale(2)
    ),
    "fixed input": Case(
        lambda: fix_inputs(
            M.Gaussian2D(3, 3, 2.5, 1.2, 0.8, fixed={"y_mean": True, "y_stddev": True, "theta": True}), {"y": 2.0}
        )
    ),
    "fixed input by number": Case(lambda: fix_inputs(M.Planar2D(1, 2, 3, fixed={"slope_x": True}), {0: 1.5})),
    "fixed input in a sum": Case(
        lambda: fix_inputs(M.Planar2D(1, 2, 3, fixed={"slope_y": True}), {1: 0.5}) + M.Gaussian1D(3, 3, 1)
    ),
    "nested": Case(
        lambda: (
            (M.Gaussian1D(3, 2, 0.5) + M.Lorentz1D(2, 5, 1))
            * (M.Const1D(2, fixed={"amplitude": True}) - M.Linear1D(0.1, 0.2))
        )
    ),
    "same part twice": Case(lambda: M.Gaussian1D(3, 2, 0.7, name="line") + M.Gaussian1D(2, 5, 0.7, name="line")),
    "inputs renamed": Case(renamed_inputs),
    "bounds": Case(lambda: M.Gaussian1D(3, 3, 1, bounds={"mean": (2.5, None), "stddev": (None, 4)}) + M.Const1D(1)),
    "line and polynomial": Case(lambda: M.Gaussian1D(3, 3, 0.7) + M.Chebyshev1D(2, c0=1, c1=0.5, c2=0.3, **D1)),
    "units": Case(line_with_units, 0.5, 6.5, "km / s", "mK"),
    "black body with a scale": Case(
        lambda: M.BlackBody(5000 * u.K, scale=2 * u.erg / (u.cm**2 * u.s * u.AA * u.sr)),
        3000,
        9000,
        "Angstrom",
        "erg / (s cm2 Angstrom sr)",
    ),
    "drude with units": Case(lambda: M.Drude1D(3 * u.Jy, 3 * u.um, 1 * u.um), 0.5, 6.5, "um", "Jy"),
    "power law with units": Case(
        lambda: M.PowerLaw1D(3 * u.Jy, 3 * u.GHz, 1.3, fixed={"x_0": True}), 0.5, 6.5, "GHz", "Jy"
    ),
    "ring and plane": Case(lambda: M.Ring2D(2.0, 3.0, 3.0, 1.2, 1.5) + M.Planar2D(0.1, 0.2, 1)),
}

CASES = {name: SPECIAL.get(name, Case(made(cls))) for name, cls in CLASSES.items() if name not in CANNOT} | COMBINED

# --- data of them


def coordinates(case: Case) -> dict[str, Any]:
    """Coordinates by input: few samples."""
    n = case.truth().n_inputs
    sizes = {1: (14,), 2: (6, 7), 3: (3, 4, 5)}[n]
    return {
        name: (dim, np.linspace(case.low, case.high, size), {} if case.x_units is None else {"units": case.x_units})
        for name, dim, size in zip(case.truth().inputs, "uvw", sizes, strict=False)
    }


def called(model: Model, case: Case, coords: Any) -> np.ndarray:
    """What astropy's own call of the model gives in the data's unit, over the dims in order."""
    inputs = [np.asarray(coords[name]) for name in model.inputs]
    grid: list[Any] = list(np.meshgrid(*inputs, indexing="ij"))
    if any(getattr(model, name).unit is not None for name in model.param_names) and case.x_units is not None:
        grid = [u.Quantity(x, case.x_units) for x in grid]
    with np.errstate(all="ignore"):
        values = model(*grid)
    return values.to_value(case.units) if isinstance(values, u.Quantity) and case.units else np.asarray(values)


def measured(case: Case) -> xr.DataArray:
    """Two positions: the truth, and a second one that is 1.5 times as bright; with a little noise."""
    model, coords = case.truth(), coordinates(case)
    truth = called(model, case, {name: values for name, (_, values, _) in coords.items()})
    noise = np.random.default_rng(5).normal(0, 1e-3 * np.ptp(truth), (2, *truth.shape))
    dims = [dim for dim, _, _ in coords.values()]
    attrs = {} if case.units is None else {"units": case.units}
    values = np.stack([truth, 1.5 * truth]) + noise
    return xr.DataArray(values, dims=("star", *dims), coords=coords, name="flux", attrs=attrs)


def fitted(case: Case, data: xr.DataArray) -> xr.Dataset:
    names = {name: name for name in case.truth().inputs}
    return fit(data, case.truth(), data.dims[1:], coords=names, keep_failed=True, errors="ignore")
