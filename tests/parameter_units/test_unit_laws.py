"""The law of units: data in kilo-units over coordinates in milli-units give the same physical answer, by a real fit.

And a formula as spectroscopists write it, with constants of its own, which keeps its units.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling import models as M
from scipy.optimize import curve_fit

from support.astropy_models import SPECIAL
from support.unit_tables import BY_HAND, CUSTOM, Powers, powers, written

Y, X = u.Jy, u.s
SAME_UNIT = {"Shift", "RedshiftScaleFactor"}  # of value and input: so there is no other
MAGNITUDES = {"Schechter1D"}  # its input has no factor
# Parameters that others stand for, and edges, on which no sample depends: held, so that the fit has one answer.
HELD = {
    "Box1D": ["x_0", "width"],
    "Box2D": ["x_0", "x_width", "y_0", "y_width"],
    "Disk2D": ["x_0", "y_0", "R_0"],
    "Ellipse2D": ["x_0", "y_0", "a", "b", "theta"],
    "Ring2D": ["x_0", "y_0", "r_in", "width"],
    "ExponentialCutoffPowerLaw1D": ["x_0"],
    "KingProjectedAnalytic1D": ["r_tide"],
    "LogParabola1D": ["x_0"],
    "PowerLaw1D": ["x_0"],
    "power law": ["p1"],
    "two factors": ["p1"],
    "quotient of two": ["p1", "p2"],
    "magnitude": ["p2"],
    "logarithm": ["p1"],
}


# Where other numbers than 1, 1.125, 1.25, ... make a curve of which all parameters can be told.
VALUES = {
    "two decays": [3, 0.4, 0.6, 4],
    "double logistic": [1, 2, 2, 0.3, 4.5, 0.4],
    "saturated hyperfine lines": [1, -3, 0.3, 5],
    "hyperfine lines": [1, -3, 0.3, 0.5],
    "broken line": [3, -1, 2, 1],
    "gamma variate": [2, 0.3, 0.8, 2],
}


def unit(name: str, each: Powers) -> Any:
    """Of a parameter, in which it is given and comes out."""
    y, x, z = each
    return u.rad if name == "theta" else Y**y * X ** (x + z)


def labelled(values: np.ndarray, grids: Mapping[str, np.ndarray], data: str, coordinate: str) -> xr.DataArray:
    coords = {name: (name, grid, {"units": coordinate}) for name, grid in grids.items()}
    return xr.DataArray(values, dims=list(grids), coords=coords, attrs={"units": data})


def samples(model: Model, grids: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """Values with noise of a hundredth of their range."""
    at = np.meshgrid(*grids.values(), indexing="ij")
    values = np.broadcast_to(model(*at), at[0].shape)
    return values + np.random.default_rng(seed).normal(0, 0.01 * (np.ptp(values) or 1), values.shape)


def assert_same_answer(models: tuple[Model, Model], grids: Mapping[str, np.ndarray], each: Sequence[Powers]) -> None:
    """Of both models, the second of which has constants in milli-units."""
    truth = models[0]
    values = samples(truth, grids, seed=len(each))
    known = zip(truth.param_names, truth.parameters.tolist(), each, strict=True)
    p0 = {n: (v if truth.fixed[n] else 1.02 * v or 0.01) * unit(n, e) for n, v, e in known}
    before = labelled(values, grids, "Jy", "s").modelfit(models[0], dim=..., p0=p0, errors="ignore")
    milli = {name: grid * 1e3 for name, grid in grids.items()}
    after = labelled(values / 1e3, milli, "kJy", "ms").modelfit(models[1], dim=..., p0=p0, errors="ignore")
    assert before["fit_status"] > 0
    assert after["fit_status"] == before["fit_status"]
    for name, e in zip(truth.param_names, each, strict=True):
        assert u.Unit(before[name].attrs["units"]) == u.Unit(after[name].attrs["units"]) == unit(name, e)
        error = before[f"{name}_stderr"].item()
        np.testing.assert_allclose(after[f"{name}_stderr"], error, rtol=1e-7)
        np.testing.assert_allclose(after[name], before[name], rtol=1e-12, atol=1e-7 * error)


def in_milli(model: Model) -> Model:
    """The same, whose domains are those of coordinates in milli-units."""
    other = model.copy()
    if isinstance(model, (M.Polynomial1D, M.Polynomial2D)):  # which map nothing here
        return other
    for name in ("domain", "x_domain", "y_domain"):
        if (domain := getattr(other, name, None)) is not None:
            setattr(other, name, tuple(1e3 * v for v in domain))
    return other


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("name", sorted(set(BY_HAND) - SAME_UNIT - MAGNITUDES))
def test_models_of_astropy(name: str) -> None:
    make, right = BY_HAND[name]
    case = SPECIAL.get(name)
    model = (
        make()
        if case is None or name.startswith("Poly") or len(case.truth().parameters) != len(right)
        else case.truth()
    )
    for held in HELD.get(name, ()):
        getattr(model, held).fixed = True
    low, high = (0.5, 6.5) if case is None else (case.low, case.high)
    size = 60 if model.n_inputs == 1 else 18
    grids = {n: np.linspace(low, high + i, size + i) for i, n in enumerate(model.inputs)}
    each = [p for text in right if (p := powers(text)) is not None]
    assert_same_answer((model, in_milli(model)), grids, each)


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("name", list(CUSTOM))
def test_custom_expressions(name: str) -> None:
    _, units, constants = CUSTOM[name]
    each = [p for text in units if (p := powers(text.rpartition(" or ")[2])) is not None]
    factors = {k: 1e3 ** float(powers(text)[1]) for k, (_, text) in constants.items()}  # type: ignore[index]
    models = written(name, VALUES.get(name)), written(name, VALUES.get(name), factors)
    for model in models:
        for held in HELD.get(name, ()):
            getattr(model, held).fixed = True
    assert_same_answer(models, {"x": np.linspace(0.7, 6.0, 80)}, each)


# --- the seven lines of N2H+ (1-0), with their offsets in km/s in the formula

OFFSETS = [-8.0064, -0.6109, 0.0, 0.9533, 5.5371, 5.9704, 6.9238]
STRENGTHS = [0.037, 0.185, 0.111, 0.185, 0.259, 0.111, 0.111]
VELOCITY = np.linspace(-15.0, 15.0, 200)
TRUTH = {"peak": 3.0, "velocity": 0.4, "width": 0.35, "base": 0.2}


def seven_lines(v: Any, peak: Any = 1.0, velocity: Any = 0.0, width: Any = 0.5) -> Any:
    total = 0.0
    for offset, strength in zip(OFFSETS, STRENGTHS, strict=True):
        total = total + strength * np.exp(-0.5 * ((v - velocity - offset) / width) ** 2)
    return peak * total / 0.259


def opaque_lines(v: Any, peak: Any = 1.0, velocity: Any = 0.0, width: Any = 0.5, tau: Any = 1.0) -> Any:
    return peak * (1 - np.exp(-tau * seven_lines(v, 1.0, velocity, width)))


def hyperfine_cube() -> xr.DataArray:
    peaks = np.array([[1.0, 2.0], [3.0, 4.0]])[..., None]
    values = seven_lines(VELOCITY, peaks, TRUTH["velocity"], TRUTH["width"]) + TRUTH["base"]
    values = values + np.random.default_rng(5).normal(0, 0.05, values.shape)
    coords = {"velocity": ("velocity", VELOCITY, {"units": "km s-1"})}
    return xr.DataArray(values, dims=("y", "x", "velocity"), coords=coords, attrs={"units": "K"})


def test_seven_hyperfine_lines_keep_kelvins_on_their_amplitude() -> None:
    """Of a compound of a function and a constant; values and errors are scipy's."""
    cube = hyperfine_cube()
    model = custom_model(seven_lines)() + M.Const1D()
    p0 = {"peak_0": 900 * u.mK, "width_0": 400 * u.m / u.s, "amplitude_1": 0.1 * u.K}
    result = cube.modelfit(model, dim="velocity", p0=p0)
    units = {name: result[name].attrs["units"] for name in result.modelfit.params}
    assert units == {"peak_0": "mK", "velocity_0": "km s-1", "width_0": "m s-1", "amplitude_1": "K"}
    plain = cube.modelfit(model, dim="velocity")
    assert [plain[n].attrs["units"] for n in units] == ["K", "km s-1", "km s-1", "K"]
    for y, x in np.ndindex(2, 2):
        best, covariance = curve_fit(
            lambda v, *p: seven_lines(v, *p[:3]) + p[3], VELOCITY, cube.values[y, x], list(TRUTH.values()), ftol=1e-12
        )
        errors = np.sqrt(np.diagonal(covariance))
        for name, factor, value, error in zip(units, (1e3, 1, 1e3, 1), best, errors, strict=True):
            one = result.isel(y=y, x=x)
            np.testing.assert_allclose(one[name] / factor, value, rtol=0, atol=1e-4 * error)
            np.testing.assert_allclose(one[f"{name}_stderr"] / factor, error, rtol=1e-4)


@pytest.mark.parametrize("way", ["opaque", "ties"])
def test_other_ways_to_write_the_seven_lines(way: str) -> None:
    cube = hyperfine_cube()
    if way == "opaque":
        result = cube.modelfit(custom_model(opaque_lines)(), dim="velocity", prefix="fit_", errors="ignore")
        assert [v.attrs["units"] for v in result.modelfit.params.values()] == ["K", "km s-1", "km s-1", "1"]
        return
    model: Any = sum((M.Gaussian1D(1, o, 0.5) for o in OFFSETS[1:]), M.Gaussian1D(1, OFFSETS[0], 0.5))
    for i in range(1, 7):
        for name, tie in {
            "mean": lambda m, offset=OFFSETS[i] - OFFSETS[0]: m.mean_0 + offset,
            "stddev": lambda m: m.stddev_0,
            "amplitude": lambda m, ratio=STRENGTHS[i] / STRENGTHS[0]: ratio * m.amplitude_0,
        }.items():
            getattr(model, f"{name}_{i}").tied = tie
    result = cube.modelfit(model, dim="velocity", errors="ignore")
    assert [result[n].attrs["units"] for n in result.modelfit.params] == ["K", "km s-1", "km s-1"] * 7
