"""Units: the physical answer depends neither on those of data, coordinates, starts, bounds and errors, nor on spelling.

The authority is scipy on numbers in one unit, closed forms, and astropy's own Quantities.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import functools
import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import astropy.modeling.models as astropy_models
import dask
import dask.array
import numpy as np
import pytest
import scipy.optimize
import xarray as xr
from astropy import units as u
from astropy.modeling import FittableModel, Model, custom_model
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import (
    BlackBody,
    Chebyshev1D,
    Const1D,
    Exponential1D,
    Gaussian1D,
    Gaussian2D,
    Legendre1D,
    Linear1D,
    Lorentz1D,
    Multiply,
    Planar2D,
    Polynomial1D,
    PowerLaw1D,
    Shift,
    Sine1D,
    Voigt1D,
)
from astropy.units import Quantity
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from xr_modelfit import FitStatus
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.units.text import parse_unit

pytestmark = pytest.mark.quick_share(3)

KMS, MS = u.km / u.s, u.m / u.s
# TRF stops when chi-square changes by less than 1e-8 of itself: below 1e-3 standard errors with 28 degrees of freedom.
STOPPED = 1e-3
# Noise-free data: where chi-square is rounding, fitters stop within their own tolerances, of 1e-7 for TRF.
NOISE_FREE = 1e-6


def gaussian(x: Any, amplitude: Any, mean: Any, stddev: Any) -> Any:
    return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def quantity(array: xr.DataArray, unit: Any = None) -> Quantity:
    """Values of a labelled array with its unit, as astropy reads it."""
    return Quantity(array.values, u.Unit(array.attrs["units"]) if unit is None else unit)


def boom(*_: Any) -> np.ndarray:
    raise AssertionError("a sample was read")


def unreadable(array: xr.DataArray) -> xr.DataArray:
    """The same labels, over samples that must not be read."""
    values = dask.array.from_delayed(dask.delayed(boom)(), array.shape, float)
    return array.copy(data=values)


# --- any units of anything


X = np.linspace(1000.0, 7000.0, 31)
TRUTH = np.array([[2.0, 4100.0, 600.0], [3.0, 3600.0, 700.0]])
SIGMA = 0.05 * (1 + 0.5 * np.sin(X / 500))
LOW = 3800.0  # above the second mean
NAMES = ("amplitude", "mean", "stddev")
FAMILIES: dict[str, tuple[list[str], list[str]]] = {
    "radio": (["Jy", "mJy", "uJy"], ["m/s", "km/s", "cm/s"]),
    "optical": (["K", "mK"], ["nm", "Angstrom", "um"]),
    "frequency": (["Jy", "mJy", "uJy"], ["Hz", "kHz", "MHz", "GHz"]),
}


@functools.cache
def samples() -> np.ndarray:
    """Two lines with noise, in the first units of a family; shape (2, 31)."""
    noise = np.random.default_rng(11).normal(0.0, 1.0, (2, X.size)) * SIGMA
    return gaussian(X, *TRUTH.T[..., None]) + noise


@dataclass(frozen=True)
class Right:
    """What scipy finds at one position: values, covariance (NaN for a parameter on its bound) and chi-square."""

    values: np.ndarray
    covariance: np.ndarray
    chi2: float
    at_bound: bool


@functools.cache
def right(position: int, weighting: str, bounded: bool) -> Right:
    y, s = samples()[position], {"none": np.ones_like(X), "constant": np.full_like(X, 0.05), "each": SIGMA}[weighting]

    def solve(held: dict[int, float]) -> tuple[np.ndarray, np.ndarray, float]:
        free = [j for j in range(3) if j not in held]

        def residuals(p: np.ndarray) -> np.ndarray:
            full = np.array([held.get(j, 0.0) for j in range(3)])
            full[free] = p
            return (gaussian(X, *full) - y) / s

        start, tolerance = TRUTH[position][free], {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
        got = scipy.optimize.least_squares(residuals, start, jac="3-point", x_scale=start, **tolerance)
        values, covariance = np.array([held.get(j, 0.0) for j in range(3)]), np.full((3, 3), np.nan)
        values[free] = got.x
        covariance[np.ix_(free, free)] = np.linalg.inv(got.jac.T @ got.jac)
        return values, covariance, 2 * got.cost

    values, covariance, chi2 = solve({})
    at_bound = bounded and values[1] < LOW
    if at_bound:
        values, covariance, chi2 = solve({1: LOW})
    if weighting == "none":  # the parameter on its bound counts as free
        covariance = covariance * chi2 / (X.size - 3)
    return Right(values, covariance, chi2, at_bound)


@dataclass
class Call:
    """A call with a unit drawn for everything that has one."""

    data: xr.DataArray
    model: Gaussian1D
    units: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    weighting: str = "none"
    bounded: bool = False
    base: tuple[Any, Any] = (u.one, u.one)

    def base_of(self, name: str) -> Any:
        return self.base[0] if name == "amplitude" else self.base[1]


def in_form(draw: Any, value: float, base: Any, unit: Any, forms: list[str]) -> Any:
    """A number in ``unit``: as a Quantity, a labelled number, or a labelled map."""
    number = Quantity(value, base).to_value(unit)
    form = draw(st.sampled_from(forms))
    if form == "quantity":
        return Quantity(number, unit)
    array = xr.DataArray(number, attrs={"units": str(unit)})
    return array if form == "array" else array.expand_dims(p=["a", "b"]).copy()


@st.composite
def calls(draw: Any) -> Call:
    data_units, coordinate_units = FAMILIES[draw(st.sampled_from(list(FAMILIES)))]
    base = (u.Unit(data_units[0]), u.Unit(coordinate_units[0]))
    choices = {n: [u.Unit(t) for t in (data_units if n == "amplitude" else coordinate_units)] for n in NAMES}
    data_unit, coordinate_unit = draw(st.sampled_from(data_units)), draw(st.sampled_from(coordinate_units))
    values, at = Quantity(samples(), base[0]).to_value(data_unit), Quantity(X, base[1]).to_value(coordinate_unit)
    coords = {"v": ("v", at, {"units": coordinate_unit}), "p": ["a", "b"]}
    data = xr.DataArray(values, dims=("p", "v"), coords=coords, attrs={"units": data_unit}, name="flux")
    start = dict(zip(NAMES, (2.4, 3900.0, 500.0), strict=True))
    bases = dict(zip(NAMES, (base[0], base[1], base[1]), strict=True))
    carried = draw(st.booleans())
    own = {n: draw(st.sampled_from(choices[n])) for n in NAMES}
    if not carried:
        own = {n: u.Unit(data_unit if n == "amplitude" else coordinate_unit) for n in NAMES}
    numbers = {n: Quantity(start[n], bases[n]).to_value(own[n]) for n in NAMES}
    given_ = {n: Quantity(v, own[n]) if carried else v for n, v in numbers.items()}
    call = Call(data, Gaussian1D(**given_), dict(own), base=base)
    forms = ["quantity", "array", "map"]
    p0 = draw(st.sets(st.sampled_from(NAMES)))
    if p0:
        call.units |= {n: draw(st.sampled_from(choices[n])) for n in sorted(p0)}
        call.options["p0"] = {n: in_form(draw, start[n], bases[n], call.units[n], forms) for n in sorted(p0)}
        if carried:  # else the model's own numbers would be right anyway
            call.model = Gaussian1D(**{n: Quantity(v, own[n]) * (1.1 if n in p0 else 1) for n, v in numbers.items()})
    limits = {"amplitude": (0.0, 50.0), "mean": (LOW, 6500.0), "stddev": (100.0, 2500.0)}
    call.bounded = draw(st.booleans())
    if call.bounded and draw(st.booleans()):
        call.model.bounds.update()
        for n, pair in limits.items():
            getattr(call.model, n).bounds = tuple(Quantity(v, bases[n]).to_value(own[n]) for v in pair)
    elif call.bounded:
        call.options["bounds"] = {
            n: tuple(in_form(draw, v, bases[n], draw(st.sampled_from(choices[n])), forms) for v in pair)
            for n, pair in limits.items()
        }
    call.weighting = draw(st.sampled_from(["none", "constant", "each"]))
    unit = draw(st.sampled_from(choices["amplitude"]))
    if call.weighting == "constant":
        plain = Quantity(0.05, base[0]).to_value(data_unit)
        labelled = in_form(draw, 0.05, base[0], unit, ["quantity", "array"])
        call.options["sigma"] = draw(st.sampled_from([plain, labelled]))
    elif call.weighting == "each":
        errors = Quantity(SIGMA, base[0]).to_value(unit)
        call.options["sigma"] = xr.DataArray(errors, dims="v", coords={"v": at}, attrs={"units": str(unit)})
    if draw(st.booleans()):
        call.options["fitter"] = TRFLSQFitter()
    if draw(st.booleans()):
        call.data = call.data.chunk(p=1)
    return call


EACH = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)


@pytest.mark.slow
@EACH
@given(calls(), st.sampled_from([0, 1, -1]))
def test_the_physical_answer_never_changes(call: Call, which: int) -> None:
    """Values, errors, covariance, chi-square, status, evaluation and the model that comes back, in any units."""
    before = call.data.copy(deep=True), call.model.copy()
    result = call.data.modelfit(call.model, dim="v", covariance=True, **call.options).compute(scheduler="synchronous")
    assert {n: u.Unit(result[n].attrs["units"]) for n in NAMES} == call.units
    assert {n: result[f"{n}_stderr"].attrs["units"] for n in NAMES} == {n: result[n].attrs["units"] for n in NAMES}
    factors = np.array([call.units[n].to(call.base_of(n)) for n in NAMES])
    for i in range(2):
        expected = right(i, call.weighting, call.bounded)
        status = FitStatus.CONVERGED_AT_BOUND if expected.at_bound else FitStatus.CONVERGED
        assert result["fit_status"].values[i] == status
        covariance = result["covariance"].values[i] * np.outer(factors, factors)
        scale = np.sqrt(np.diagonal(np.where(np.isnan(expected.covariance), 1.0, expected.covariance)))
        np.testing.assert_allclose(
            covariance / np.outer(scale, scale), expected.covariance / np.outer(scale, scale), atol=2e-3
        )
        for j, name in enumerate(NAMES):
            value = quantity(result[name]).to_value(call.base_of(name))[i]
            error = quantity(result[f"{name}_stderr"]).to_value(call.base_of(name))[i]
            stderr = np.sqrt(expected.covariance[j, j])
            if np.isnan(stderr):  # TRF stays inside its bounds by a little
                np.testing.assert_allclose(value, LOW, rtol=1e-5)
                assert np.isnan(error)
            else:
                assert abs(value - expected.values[j]) <= STOPPED * stderr, (name, i)
                np.testing.assert_allclose(error, stderr, rtol=1e-3)
        chi2 = result["chi2"].values[i] * u.Unit(result["chi2"].attrs["units"])
        np.testing.assert_allclose(
            chi2.to_value(u.one if call.weighting != "none" else call.base[0] ** 2), expected.chi2, rtol=1e-5
        )
    fitted = [quantity(result[n]).to_value(call.base_of(n))[:, None] for n in NAMES]
    curve = gaussian(X, *fitted)
    evaluated = result.modelfit.evaluate(call.data)
    assert evaluated.attrs["units"] == call.data.attrs["units"]
    # The same exponential of the same numbers, but for the rounding of conversions.
    np.testing.assert_allclose(quantity(evaluated).to_value(call.base[0]), curve, rtol=1e-9, atol=1e-12)
    asked = Quantity(X, call.base[1]).to(FAMILIES_OF[call.base[1]][which])
    again = result.modelfit.evaluate(v=asked)
    np.testing.assert_allclose(quantity(again).to_value(call.base[0]), curve, rtol=1e-9, atol=1e-12)
    labelled = xr.DataArray(asked.value, dims="v", attrs={"units": str(asked.unit)})
    np.testing.assert_array_equal(result.modelfit.evaluate(v=labelled).values, again.values)
    model = result.modelfit.to_model()
    np.testing.assert_allclose(model(asked[:, None]).T.to_value(call.base[0]), curve, rtol=1e-9, atol=1e-12)
    assert {n: getattr(model, n).unit for n in NAMES} == call.units
    if call.bounded and (low := model.mean.bounds[0]) is not None:  # None where it is a map
        np.testing.assert_allclose(Quantity(low, call.units["mean"]).to_value(call.base[1]), LOW, rtol=1e-12)
    xr.testing.assert_identical(call.data, before[0])
    for name in NAMES:
        assert getattr(call.model, name).quantity == getattr(before[1], name).quantity
        assert getattr(call.model, name).value == getattr(before[1], name).value
        assert getattr(call.model, name).bounds == getattr(before[1], name).bounds


FAMILIES_OF = {u.Unit(c[0]): [u.Unit(t) for t in c] for _, c in FAMILIES.values()}


# --- models


def alternative(unit: Any) -> Any:
    """Another unit of the same dimension: each part by its neighbour."""
    swapped = {u.K: u.mK, u.km: u.m, u.m: u.km, u.nm: u.um, u.s: u.ms, u.Jy: u.mJy, u.rad: u.deg, u.yr: u.d}
    out = u.dimensionless_unscaled
    for base, power in zip(unit.bases, unit.powers, strict=True):
        out = out * swapped.get(base, base) ** power
    return out


T = np.linspace(0.5, 6.0, 40)
LINE = {"x": (T, u.km)}
PLANE = {"x": (np.linspace(0, 4, 15), u.km), "y": (np.linspace(1, 5, 14), u.km)}
HELD = {"fixed": {"x_0": True}}
K, KM = u.K, u.km
MODELS: dict[str, tuple[Callable[[], Model], dict[str, Any]]] = {
    "Gaussian": (lambda: Gaussian1D(2 * K, 3 * KM, 0.7 * KM), LINE),
    "Lorentz": (lambda: Lorentz1D(2 * K, 3 * KM, 0.7 * KM), LINE),
    "Voigt": (lambda: Voigt1D(3 * KM, 2 * K, 0.7 * KM, 0.9 * KM), LINE),
    "line": (lambda: Linear1D(2 * K / KM, 3 * K), LINE),
    "cubic": (lambda: Polynomial1D(3, c0=1 * K, c1=2 * K / KM, c2=-0.5 * K / KM**2, c3=0.1 * K / KM**3), LINE),
    "power law": (lambda: PowerLaw1D(2 * K, 1.5 * KM, 0.7 * u.one, **HELD), LINE),
    "exponential": (lambda: Exponential1D(2 * K, 4 * KM), LINE),
    "wave": (lambda: Sine1D(2 * K, 0.3 / KM, 0.1 * u.one), LINE),
    "plane": (lambda: Planar2D(2 * K / KM, -1 * K / KM, 3 * K), PLANE),
    "ellipse": (lambda: Gaussian2D(2 * K, 2.2 * KM, 3.1 * KM, 0.9 * KM, 0.5 * KM, theta=0.4 * u.rad), PLANE),
    "two lines": (lambda: Gaussian1D(2 * K, 2 * KM, 0.5 * KM) + Gaussian1D(1 * K, 4 * KM, 0.4 * KM), LINE),
    "line and background": (lambda: Linear1D(1 * K / KM, 3 * K) + Gaussian1D(2 * K, 3 * KM, 0.5 * KM), LINE),
    "background and line": (lambda: Gaussian1D(2 * K, 3 * KM, 0.5 * KM) + Linear1D(1 * K / KM, 3 * K), LINE),
    "line less background": (lambda: Gaussian1D(2 * K, 3 * KM, 0.5 * KM) - Const1D(0.5 * K), LINE),
    "product": (lambda: Const1D(2 * u.one, fixed={"amplitude": True}) * Gaussian1D(2 * K, 3 * KM, 0.7 * KM), LINE),
    "product of two": (lambda: Const1D(2 * K, fixed={"amplitude": True}) * Exponential1D(2 * u.one, 4 * KM), LINE),
    "shifted": (lambda: Shift(0.5 * KM, fixed={"offset": True}) | Gaussian1D(2 * K, 3 * KM, 0.7 * KM), LINE),
    "scaled": (lambda: Multiply(2 * u.s / KM, fixed={"factor": True}) | Gaussian1D(2 * K, 6 * u.s, 1.4 * u.s), LINE),
    "scaled after": (lambda: Gaussian1D(2 * K, 3 * KM, 0.7 * KM) | Multiply(2 * u.one, fixed={"factor": True}), LINE),
}
UNKNOWN = {  # neither of two factors has a unit of its own
    "product": {"amplitude_0", "amplitude_1"},
    "product of two": {"amplitude_0", "amplitude_1"},
    "scaled": {"factor_0", "mean_1", "stddev_1"},
    "scaled after": {"amplitude_0", "factor_1"},
}


def data_of(model: Model, inputs: Mapping[str, Any], **units: Any) -> xr.DataArray:
    """Values of a model by astropy's Quantities, on labelled coordinates."""
    grid = np.meshgrid(*(values for values, _ in inputs.values()), indexing="ij")
    given_ = [Quantity(g, unit) for g, (_, unit) in zip(grid, inputs.values(), strict=True)]
    shown = {n: units.get(n, unit) for n, (_, unit) in inputs.items()}
    coords = {n: (n, Quantity(v, unit).to_value(shown[n]), {"units": str(shown[n])}) for n, (v, unit) in inputs.items()}
    data = units.get("data", u.K)
    return xr.DataArray(model(*given_).to_value(data), dims=list(inputs), coords=coords, attrs={"units": str(data)})


def nudged(model: Model, change: Callable[[Any], Any]) -> Model:
    """A copy with other starts: 5 % off unless held, each as ``change`` makes it."""
    out = model.copy()
    for name in model.param_names:
        p, held = getattr(model, name), getattr(model, name).fixed
        value = change(p.quantity * (1.0 if held else 1.05))
        getattr(out, name)._set_unit(getattr(value, "unit", None), force=True)
        getattr(out, name).value = getattr(value, "value", value)
    return out


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter], ids=["batch", "TRF"])
def test_models_in_any_units(name: str, fitter: Any) -> None:
    """Data, coordinates and each parameter in the given unit, or in a neighbour: the truth, in the parameter's unit."""
    make, inputs = MODELS[name]
    truth = make()
    for labels in ({}, {"data": u.mK}, {"x": u.m, "y": u.m}):
        data = data_of(truth, inputs, **labels)
        for change in (lambda q: q, lambda q: q.to(alternative(q.unit))):
            start = nudged(truth, change)
            result = data.modelfit(start, dim=..., fitter=fitter and fitter())
            assert result["fit_status"] == FitStatus.CONVERGED
            for parameter in truth.param_names:
                got, expected = quantity(result[parameter]), getattr(truth, parameter).quantity
                assert got.unit == getattr(start, parameter).unit
                np.testing.assert_allclose(got.to_value(expected.unit), expected.value, rtol=NOISE_FREE)
            np.testing.assert_allclose(
                result.modelfit.evaluate(data), data, rtol=1e-5, atol=1e-6 * float(np.abs(data).max())
            )
            at = [Quantity(values[:9], unit) for values, unit in inputs.values()]
            back = result.modelfit.to_model()(*at)
            np.testing.assert_allclose(back.to_value(u.K), truth(*at).to_value(u.K), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(MODELS))
def test_models_without_units(name: str) -> None:
    """Numbers in the data's and the coordinate's unit; the result says so, where it can be known."""
    make, inputs = MODELS[name]
    truth = make()
    data = data_of(truth, inputs)
    result = data.modelfit(nudged(truth, lambda q: q.value), dim=...)
    for parameter in truth.param_names:
        expected = getattr(truth, parameter).quantity
        text = result[parameter].attrs.get("units")
        if parameter in UNKNOWN.get(name, ()):
            assert text is None
            assert "units" not in result[f"{parameter}_stderr"].attrs
        else:
            assert u.Unit(text) == expected.unit, parameter
            assert result[f"{parameter}_stderr"].attrs["units"] == text
        np.testing.assert_allclose(result[parameter], expected.value, rtol=NOISE_FREE)
    if name not in UNKNOWN:
        at = [Quantity(values[:9], unit) for values, unit in inputs.values()]
        back = result.modelfit.to_model()(*at)
        np.testing.assert_allclose(back.to_value(u.K), truth(*at).to_value(u.K), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("with_units", [True, False])
@pytest.mark.parametrize("background", [Const1D, Linear1D, Polynomial1D])
def test_the_order_of_operands_changes_nothing(with_units: bool, background: Any) -> None:
    """Same units, values and errors by either order."""
    line = Gaussian1D(1.9 * K, 2900 * u.m, 0.5 * KM)
    base = {
        Const1D: lambda: Const1D(500 * u.mK),
        Linear1D: lambda: Linear1D(1 * u.mK / u.m, 3 * K),
        Polynomial1D: lambda: Polynomial1D(1, c0=3 * K, c1=1 * u.mK / u.m),
    }[background]()
    if not with_units:
        line, base = Gaussian1D(1.9, 2.9, 0.5), background(**({"degree": 1} if background is Polynomial1D else {}))
    truth = Gaussian1D(2 * K, 3 * KM, 0.5 * KM) + Linear1D((background is not Const1D) * K / KM, 3 * K)
    data = data_of(truth, LINE)
    data = data + np.random.default_rng(3).normal(0, 0.02, data.shape)
    data.attrs = {"units": "K"}
    one, other = data.modelfit(line + base, dim="x"), data.modelfit(base + line, dim="x")
    for number, part in ((0, line), (1, base)):
        for name in part.param_names:
            for suffix in ("", "_stderr"):
                a, b = one[f"{name}_{number}{suffix}"], other[f"{name}_{1 - number}{suffix}"]
                assert a.attrs["units"] == b.attrs["units"]
                np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_mapped_polynomial_has_the_data_s_unit() -> None:
    """Its domain makes a pure number of the coordinate."""
    domain = (0.5, 6.0)
    coefficients = {"c0": 1.0, "c1": 2.0, "c2": 0.5}
    for kind in (Polynomial1D, Chebyshev1D, Legendre1D):
        truth = kind(2, domain=domain, **coefficients)
        data = xr.DataArray(truth(T), dims="x", coords={"x": ("x", T, {"units": "km"})}, attrs={"units": "K"})
        for fitter in (None, LinearLSQFitter()):
            result = data.modelfit(kind(2, domain=domain), dim="x", fitter=fitter)
            assert [result[n].attrs["units"] for n in coefficients] == ["K"] * 3
            np.testing.assert_allclose([result[n] for n in coefficients], list(coefficients.values()), rtol=1e-9)
            evaluated = result.modelfit.evaluate(x=[1000.0, 2500.0] * u.m)
            np.testing.assert_allclose(evaluated, truth([1.0, 2.5]), rtol=1e-9)


def test_a_polynomial_that_is_mapped_by_the_fitter_has_no_unit_of_the_coordinate() -> None:
    """``LinearLSQFitter`` makes a domain for a Chebyshev that has none: either way the result is that of its units."""
    data = xr.DataArray(2 * T + 1, dims="x", coords={"x": ("x", T, {"units": "km"})}, attrs={"units": "K"})
    result = data.modelfit(Chebyshev1D(1), dim="x", fitter=LinearLSQFitter())
    np.testing.assert_allclose(result.modelfit.evaluate(x=[1000.0, 2500.0] * u.m), [3.0, 6.0], rtol=1e-9)
    if u.Unit(result["c1"].attrs["units"]) == u.K / u.km:
        np.testing.assert_allclose(result["c1"], 2.0, rtol=1e-9)


@pytest.mark.parametrize("theta", [0.0, 0.5])
def test_two_inputs_in_different_units(theta: float) -> None:
    """One in km, one in m: a model with units is what astropy makes of it; one without has units where it can."""
    x, y = np.linspace(0, 4, 15), np.linspace(1000, 5000, 14)
    truth = Gaussian2D(2 * K, 2 * KM, 3000 * u.m, 0.9 * KM, 500 * u.m, theta=theta * u.rad)
    data = data_of(truth, {"x": (x, u.km), "y": (y, u.m)})
    start = nudged(truth, lambda q: q)
    result = data.modelfit(start, dim=("x", "y"))
    for name in truth.param_names:
        expected = getattr(truth, name).quantity
        np.testing.assert_allclose(quantity(result[name]).to_value(expected.unit), expected.value, rtol=1e-6, atol=1e-6)
    plane = data_of(Planar2D(2 * K / KM, -1 * K / u.m, 3 * K), {"x": (x, u.km), "y": (y, u.m)})
    result = plane.modelfit(Planar2D(), dim=("x", "y"))
    assert [u.Unit(result[n].attrs["units"]) for n in ("slope_x", "slope_y", "intercept")] == [K / KM, K / u.m, K]
    np.testing.assert_allclose([result[n] for n in ("slope_x", "slope_y", "intercept")], [2, -1, 3], rtol=1e-9)


WAVELENGTH = np.linspace(0.4, 2.5, 40)
PER_HZ, PER_UM = "W m-2 Hz-1 sr-1", "W m-2 um-1 sr-1"
BODIES: dict[str, tuple[Any, str]] = {
    "scale without unit": (1.0, PER_HZ),
    "scale in the data's unit": (1 * u.Unit(PER_HZ), PER_HZ),
    "scale in erg": (1 * u.erg / (u.cm**2 * u.s * u.Hz * u.sr), PER_HZ),
    "per micrometre": (1 * u.Unit(PER_UM), PER_UM),
}


@pytest.mark.parametrize("name", list(BODIES))
def test_black_body(name: str) -> None:
    """It reads frequencies; a wavelength is converted as its own equivalencies say."""
    scale, unit = BODIES[name]
    truth = BlackBody(5800 * u.K, scale=2 * scale)
    values = truth(WAVELENGTH * u.um).to_value(unit)
    coords = {"w": ("w", WAVELENGTH, {"units": "um"})}
    data = xr.DataArray(values, dims="w", coords=coords, attrs={"units": unit})
    result = data.modelfit(BlackBody(5000 * u.K, scale=scale), dim="w")
    np.testing.assert_allclose(quantity(result["temperature"]).to_value(u.K), 5800, rtol=NOISE_FREE)
    np.testing.assert_allclose(result["scale"], 2.0, rtol=NOISE_FREE)
    np.testing.assert_allclose(result.modelfit.evaluate(data), data, rtol=1e-5)
    at = [700.0, 1500.0] * u.nm
    np.testing.assert_allclose(result.modelfit.evaluate(w=at), truth(at).to_value(unit), rtol=1e-5)
    np.testing.assert_allclose(result.modelfit.to_model()(at).to_value(unit), truth(at).to_value(unit), rtol=1e-5)


def test_black_body_with_errors_of_the_data() -> None:
    """Plain errors are in the data's unit, whatever the fit makes of the samples."""
    truth = BlackBody(5800 * u.K, scale=2.0)
    values = truth(WAVELENGTH * u.um).to_value(PER_HZ)
    coords = {"w": ("w", WAVELENGTH, {"units": "um"})}
    data = xr.DataArray(values, dims="w", coords=coords, attrs={"units": PER_HZ})
    error = float(values.max()) / 100
    h = 1e-4

    def at(temperature: float, scale: float) -> np.ndarray:
        return BlackBody(temperature * u.K, scale=scale)(WAVELENGTH * u.um).to_value(PER_HZ) / error

    jacobian = np.stack(
        [(at(5800 * (1 + h), 2) - at(5800 * (1 - h), 2)) / (2 * h * 5800), (at(5800, 2.1) - at(5800, 1.9)) / 0.2],
        axis=1,
    )
    expected = np.sqrt(np.diagonal(np.linalg.inv(jacobian.T @ jacobian)))
    for sigma in (error, error * u.Unit(PER_HZ), xr.DataArray(error), xr.DataArray(error, attrs={"units": PER_HZ})):
        result = data.modelfit(BlackBody(5000 * u.K, scale=1.0), dim="w", sigma=sigma)
        stderr = [result["temperature_stderr"], result["scale_stderr"]]
        np.testing.assert_allclose(stderr, expected, rtol=1e-4, err_msg=repr(sigma))


# --- functions of the user's own


def decay(t, amplitude=1.0, tau=2.0, offset=0.0):
    return amplitude * np.exp(-t / tau) + offset


def with_units(function: Callable[..., Any], **units: Any) -> Model:
    """A custom model whose defaults bear units, as a user writes it."""
    arguments = ", ".join(f"{n}=d_{n}" for n in units)
    source = f"lambda t, {arguments}: f(t, {', '.join(units)})"
    return custom_model(eval(source, {"f": function} | {f"d_{n}": q for n, q in units.items()}))()


def test_custom_model_with_units() -> None:
    truth = with_units(decay, amplitude=2 * K, tau=3 * KM, offset=500 * u.mK)
    data = data_of(truth, LINE)
    for tau, offset in ((2500 * u.m, 0.4 * K), (2.5 * KM, 400 * u.mK)):
        result = data.modelfit(with_units(decay, amplitude=1500 * u.mK, tau=tau, offset=offset), dim="x", coords="x")
        for name, expected in (("amplitude", 2 * K), ("tau", 3 * KM), ("offset", 0.5 * K)):
            np.testing.assert_allclose(quantity(result[name]).to_value(expected.unit), expected.value, rtol=NOISE_FREE)
        assert [u.Unit(result[n].attrs["units"]) for n in ("amplitude", "tau", "offset")] == [
            u.mK,
            tau.unit,
            offset.unit,
        ]
        np.testing.assert_allclose(result.modelfit.evaluate(data), data, rtol=1e-6)


LOGISTIC = "f + a * (1 / (1 + np.exp((s - x) / p)) - 1 / (1 + np.exp((e - x) / q)))"
CUSTOM: dict[str, tuple[str, dict[str, float], dict[str, str | None]]] = {
    "decay": ("a * np.exp(-x / b) + c", {"a": 2, "b": 3, "c": 0.5}, {"a": "K", "b": "km", "c": "K"}),
    "double logistic": (
        LOGISTIC,
        {"f": 0.1, "a": 0.8, "s": 2.0, "p": 0.2, "e": 4.5, "q": 0.3},
        {"f": "K", "a": "K", "s": "km", "p": "km", "e": "km", "q": "km"},
    ),
    "harmonic with trend": (
        "a + b * x + c * np.cos(2 * np.pi * x / 1.5) + d * np.sin(2 * np.pi * x / 1.5)",
        {"a": 1, "b": 0.2, "c": 0.5, "d": 0.7},
        {"a": "K", "b": "K / km", "c": "K", "d": "K"},
    ),
    "hidden scale": ("a * x * np.exp(-x / 10)", {"a": 1}, {"a": None}),
    "hidden scale of a saturation": ("a * (1 - np.exp(-x / 2)) + c", {"a": 2, "c": 1}, {"a": None, "c": "K"}),
    "two factors": ("a * b * np.exp(-x / c)", {"a": 2, "b": 1, "c": 3}, {"a": None, "b": None, "c": "km"}),
    "a square": ("a ** 2 * x + c", {"a": 2, "c": 1}, {"a": "K(1/2) km(-1/2)", "c": "K"}),
}


@pytest.mark.parametrize(
    ("name", "scale"), [*((name, 1.0) for name in CUSTOM), ("decay", 1e-17), ("harmonic with trend", 1e-17)]
)
def test_units_of_functions(name: str, scale: float) -> None:
    """Worked out where the function tells them; else left out. A hidden constant has a unit that nobody told."""
    expression, values, units = CUSTOM[name]
    if scale != 1.0:
        values = {n: v * scale if units[n] in ("K", "K / km") else v for n, v in values.items()}
    model = custom_model(
        eval(f"lambda x, {', '.join(f'{n}={v}' for n, v in values.items())}: {expression}", {"np": np})
    )()
    data = xr.DataArray(model(T), dims="x", coords={"x": ("x", T, {"units": "km"})}, attrs={"units": "K"})
    result = data.modelfit(model, dim="x", errors="ignore")
    for parameter, unit in units.items():
        text = result[parameter].attrs.get("units")
        assert (text is None) if unit is None else (u.Unit(text) == u.Unit(unit)), parameter


@pytest.mark.parametrize(("mean", "width"), [(230.538, 1e-3), (4000.0, 5.0), (1000.0, 1e-3), (5e5, 1.0)])
def test_a_narrow_line_of_the_user_s_own(mean: float, width: float) -> None:
    """A millionth as wide as it is far from zero: its units are known, and given with the model they are no fault."""
    x = mean + width * np.linspace(-5, 5, 41)
    coords = {"x": ("x", x, {"units": "GHz"})}
    data = xr.DataArray(gaussian(x, 2.0, mean, width), dims="x", coords=coords, attrs={"units": "Jy"})
    plain = custom_model(eval(f"lambda x, a=1.9, b={mean}, c={1.1 * width}: g(x, a, b, c)", {"g": gaussian}))()
    result = data.modelfit(plain, dim="x")
    for name, unit in (("a", "Jy"), ("b", "GHz"), ("c", "GHz")):
        assert result[name].attrs["units"] == unit, name
    start = {"a": 1.9 * u.Jy, "b": mean * u.GHz, "c": 1100 * width * u.MHz}
    labelled = custom_model(
        eval("lambda x, a=A, b=B, c=C: g(x, a, b, c)", {"g": gaussian} | dict(zip("ABC", start.values(), strict=True)))
    )()
    result = data.modelfit(labelled, dim="x")
    np.testing.assert_allclose(quantity(result["c"]).to_value(u.GHz), width, rtol=NOISE_FREE)


def narrow(make: str) -> tuple[Model, dict[str, str | None]]:
    """A source that is narrow for its place, without units, and the units that it has over degrees in Jy."""
    if make == "astropy":
        model = Gaussian2D(300, 19.9979, -29.99847, 1e-4, 2e-4, theta=0.3)
        return model, dict(zip(model.param_names, ["Jy", *["degree"] * 4, "rad"], strict=True))
    own = custom_model(
        lambda x, y, a=300.0, b=19.9979, c=-29.99847, s=1e-4, t=2e-4: gaussian(x, a, b, s) * gaussian(y, 1, c, t)
    )()
    units: dict[str, str | None] = dict(zip("abcst", ["Jy", *["degree"] * 4], strict=True))
    if make == "own":
        return own, units
    if make == "own and background":
        named = {f"{n}_0": unit for n, unit in units.items()}
        return own + Planar2D(0, 0, 3), named | {"slope_x_1": "Jy degree-1", "intercept_1": "Jy"}
    named = {f"{n}_1": unit for n, unit in units.items()}
    return astropy_models.Const2D(2) * own, named | {"amplitude_0": None, "a_1": None}  # of two factors


@pytest.mark.parametrize("make", ["astropy", "own", "own and background", "product"])
def test_units_do_not_depend_on_whether_coordinates_are_computed(make: str) -> None:
    """Coordinates of two dims: lazy ones, those of a file that was not read, and computed ones."""
    model, units = narrow(make)
    y, x = np.mgrid[-10:11, -9:10] * 5e-5
    coords = {
        "ra": (("y", "x"), 19.9979 + x, {"units": "degree"}),
        "dec": (("y", "x"), y - 29.99847, {"units": "degree"}),
    }
    rng = np.random.default_rng(3)
    data = xr.DataArray(model(coords["ra"][1], coords["dec"][1]) + rng.normal(0, 0.1, x.shape), coords, ("y", "x"))
    data.attrs["units"] = "Jy"
    lazy = data.assign_coords({n: data[n].chunk() for n in ("ra", "dec")})
    never = data.chunk().assign_coords({n: unreadable(data[n]) for n in ("ra", "dec")})
    for one in (data, lazy, never):
        result = one.modelfit(model, dim=("y", "x"), coords={"x": "ra", "y": "dec"}, errors="ignore")
        for name, unit in units.items():
            assert result[name].attrs.get("units") == unit, name
            assert result[f"{name}_stderr"].attrs.get("units") == unit, name


@pytest.mark.parametrize("width", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("place", [1e-9, 230.538, 2.3e11])
@pytest.mark.parametrize("amplitude", [1e-17, 1.9, 3e8])
def test_units_of_a_line_of_any_place_and_width(amplitude: float, place: float, width: float) -> None:
    """Wherever the coordinates are: the start alone tells, and no number of the model is taken for another."""
    shapes = {
        "Gaussian": lambda z: np.exp(-0.5 * z**2),
        "Lorentzian": lambda z: 1 / (1 + z**2),
        "edge": lambda z: 1 / (1 + np.exp(-np.clip(z, -600, 600))),
    }
    for shape in shapes.values():
        function = eval(f"lambda x, a={amplitude}, b={place}, c={width * place}: a * f((x - b) / c)", {"f": shape})
        x = np.linspace(0.0, 3.0, 12)
        data = xr.DataArray(x, dims="x", coords={"x": ("x", x, {"units": "GHz"})}, attrs={"units": "Jy"})
        result = data.modelfit(custom_model(function)(), dim="x", fitter=BatchLSQFitter(maxiter=1), errors="ignore")
        assert [result[n].attrs.get("units") for n in "abc"] == ["Jy", "GHz", "GHz"]


# --- ties, fixed parameters, bounds on the model, maps

TWO = Gaussian1D(2 * K, 4 * KMS, 0.8 * KMS) + Gaussian1D(1 * K, 7 * KMS, 0.8 * KMS)
VELOCITY = np.linspace(0.0, 12000.0, 61)


def two_lines(noise: float = 0.02) -> xr.DataArray:
    """Two lines 3 km/s apart, over m/s."""
    values = TWO(VELOCITY * MS).to_value(K) + np.random.default_rng(5).normal(0, noise, VELOCITY.size)
    return xr.DataArray(values, dims="v", coords={"v": ("v", VELOCITY, {"units": "m/s"})}, attrs={"units": "K"})


def two_gaussians(first: Any = 4.1 * KMS, second: Any = 6900 * MS) -> Model:
    return Gaussian1D(1.8 * K, first, 0.8 * KMS) + Gaussian1D(1.1 * K, second, 700 * MS)


TIES: dict[str, tuple[Callable[[Any], Any], tuple[float, float]]] = {  # with factor and offset, in m/s
    "parameter": (lambda m: m.mean_0 + 3 * KMS, (1.0, 3000.0)),
    "quantity": (lambda m: m.mean_0.quantity + 3 * KMS, (1.0, 3000.0)),
    "value": (lambda m: (m.mean_0.value + 3) * 1000, (1.0, 3000.0)),
    "parameter times": (lambda m: m.mean_0 * 1.75, (1.75, 0.0)),
    "quantity times": (lambda m: m.mean_0.quantity * 1.75, (1.75, 0.0)),
    "converted": (lambda m: m.mean_0.quantity.to(MS) + 3000 * MS, (1.0, 3000.0)),
    "converted value": (lambda m: m.mean_0.quantity.to_value(MS) + 3000, (1.0, 3000.0)),
    "value and unit": (lambda m: m.mean_0.value * m.mean_0.unit + 3 * KMS, (1.0, 3000.0)),
    "a branch": (lambda m: max(m.mean_0.quantity, 0 * KMS) + 3 * KMS, (1.0, 3000.0)),
    "by number of the part": (lambda m: m[0].mean.quantity + 3 * KMS, (1.0, 3000.0)),
    "by the left part": (lambda m: m.left.mean.quantity + 3 * KMS, (1.0, 3000.0)),
}


@pytest.mark.parametrize("name", list(TIES))
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter], ids=["batch", "TRF"])
def test_ties_see_the_parameters_as_the_user_wrote_them(name: str, fitter: Any) -> None:
    """Means in km/s and in m/s over m/s; the reduced model's minimum by scipy."""
    tie, (factor, offset) = TIES[name]
    data = two_lines()
    model = two_gaussians()
    model.mean_1.tied = tie

    def residuals(p: np.ndarray) -> np.ndarray:
        a, m, s, b, t = p * np.array([1, 1000, 1000, 1, 1000])
        return gaussian(VELOCITY, a, m, s) + gaussian(VELOCITY, b, factor * m + offset, t) - data.values

    got = scipy.optimize.least_squares(
        residuals, [2, 4, 0.8, 1, 0.8], jac="3-point", ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    error = np.sqrt(np.linalg.inv(got.jac.T @ got.jac)[1, 1] * 2 * got.cost / (VELOCITY.size - 5))
    result = data.modelfit(model, dim="v", fitter=fitter and fitter())
    assert result["fit_status"] == FitStatus.CONVERGED
    assert [result[n].attrs["units"] for n in ("mean_0", "mean_1")] == ["km s-1", "m/s"]
    assert abs(result["mean_0"] - got.x[1]) < STOPPED * error
    np.testing.assert_allclose(result["mean_0_stderr"], error, rtol=1e-3)
    np.testing.assert_allclose(result["mean_1"], 1000 * factor * result["mean_0"] + offset, rtol=1e-12)
    np.testing.assert_allclose(result["mean_1_stderr"], 1000 * factor * error, rtol=1e-3)
    moved = data.modelfit(model, dim="v", p0={"mean_0": 4100 * MS}, fitter=fitter and fitter())
    assert u.Unit(moved["mean_0"].attrs["units"]) == MS
    np.testing.assert_allclose(moved["mean_0"], 1000 * result["mean_0"], rtol=0, atol=1000 * STOPPED * error)


def test_ties_of_named_parts() -> None:
    model = Gaussian1D(1.8 * K, 4.1 * KMS, 0.8 * KMS, name="a") + Gaussian1D(1.1 * K, 6.9 * KMS, 0.7 * KMS, name="b")
    model.mean_1.tied = lambda m: m.mean_0.quantity + 3000 * MS
    result = two_lines().modelfit(model, dim="v")
    np.testing.assert_allclose(result["b_mean"], result["a_mean"] + 3, rtol=1e-12)


def test_ties_of_a_model_without_units_see_numbers_of_data_and_coordinates() -> None:
    """Also where a start is given in another unit."""
    model = Gaussian1D(1.8, 4100, 800) + Gaussian1D(1.1, 6900, 700)
    model.mean_1.tied = lambda m: m.mean_0.value + 3000
    for p0 in (None, {"mean_0": 4.1 * KMS}, {"mean_1": 6.9 * KMS}):
        result = two_lines().modelfit(model, dim="v", p0=p0)
        first, second = (quantity(result[n]).to_value(MS) for n in ("mean_0", "mean_1"))
        np.testing.assert_allclose(second, first + 3000, rtol=1e-12)
        np.testing.assert_allclose(first, 4000, atol=20)


@pytest.mark.parametrize("unit", [MS, KMS])
def test_a_fixed_parameter_keeps_its_number_and_unit(unit: Any) -> None:
    model = two_gaussians((4 * KMS).to(unit))
    model.mean_0.fixed = True
    result = two_lines().modelfit(model, dim="v")
    assert result["mean_0"].item() == (4 * KMS).to_value(unit)
    assert u.Unit(result["mean_0"].attrs["units"]) == unit
    assert result["mean_0_stderr"].item() == 0.0
    free = two_lines().modelfit(two_gaussians(), dim="v")
    assert abs(quantity(result["mean_1"]) - quantity(free["mean_1"])) < 50 * MS


@pytest.mark.parametrize("unit", [MS, KMS, u.cm / u.s])
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter], ids=["batch", "TRF"])
def test_bounds_on_the_model_are_in_its_parameter_s_unit(unit: Any, fitter: Any) -> None:
    """The seed's fault: they stayed numbers while the parameter was converted."""
    model = two_gaussians((4.3 * KMS).to(unit))
    model.mean_0.bounds = tuple((v * KMS).to_value(unit) for v in (4.2, 5.0))
    result = two_lines().modelfit(model, dim="v", fitter=fitter and fitter())
    assert result["fit_status"] == FitStatus.CONVERGED_AT_BOUND
    np.testing.assert_allclose(quantity(result["mean_0"]).to_value(KMS), 4.2, rtol=1e-6)
    back = result.modelfit.to_model()
    np.testing.assert_allclose(back.mean_0.bounds, model.mean_0.bounds, rtol=1e-12)
    moved = two_lines().modelfit(model, dim="v", p0={"mean_0": 4300 * MS}, fitter=fitter and fitter())
    np.testing.assert_allclose(quantity(moved["mean_0"]).to_value(KMS), 4.2, rtol=1e-6)
    np.testing.assert_allclose(moved.modelfit.to_model().mean_0.bounds, [4200, 5000], rtol=1e-12)
    np.testing.assert_allclose(moved.modelfit.to_model(model=model).mean_0.bounds, [4200, 5000], rtol=1e-12)


@given(st.integers(1, 120_000), st.sampled_from([(MS, KMS), (KMS, MS), (u.cm / u.s, KMS), (KMS, u.cm / u.s)]))
@settings(EACH, max_examples=60)
def test_equal_bounds_in_two_units_fix_a_parameter(decimetres: int, units: tuple[Any, Any]) -> None:
    """Neither the low one above the high one, nor free between them, by the rounding of a conversion."""
    numbers = {MS: decimetres / 10, KMS: decimetres / 10_000, u.cm / u.s: float(decimetres * 10)}
    low, high = (Quantity(numbers[unit], unit) for unit in units)
    data = two_lines()
    result = data.modelfit(Gaussian1D(2, 4000, 800), dim="v", bounds={"mean": (low, high)}, errors="ignore")
    np.testing.assert_allclose(result["mean"], decimetres / 10, rtol=1e-12)
    assert result["dof"] == VELOCITY.size - 2
    assert result["mean_stderr"] == 0.0


def test_a_start_on_its_bound_in_another_unit() -> None:
    """Equal but for rounding is not outside."""
    data = two_lines()
    for k in range(1, 60):
        low, start = Quantity(k * 1e-4, u.Mm / u.s), Quantity(k * 1e4, u.cm / u.s)
        data.modelfit(Gaussian1D(2, 1, 800), dim="v", p0={"mean": start}, bounds={"mean": (low, None)}, errors="ignore")


def test_arrays_of_starts_with_units_on_the_model() -> None:
    cube = xr.concat([two_lines(), two_lines()], "p").assign_coords(p=["a", "b"]).assign_attrs(units="K")
    model = Gaussian1D([1900, 900] * u.mK, [4.1, 6.9] * KMS, [800, 800] * MS)
    result = cube.modelfit(model, dim="v")
    assert [u.Unit(result[n].attrs["units"]) for n in NAMES] == [u.mK, KMS, MS]
    plain = cube.modelfit(Gaussian1D([1.9, 0.9], [4100, 6900], [800, 800]), dim="v")
    for name in NAMES:
        np.testing.assert_allclose(quantity(result[name]).to_value(plain[name].attrs["units"]), plain[name], rtol=1e-6)


# --- rules

FITTABLE = [
    cls
    for _, cls in inspect.getmembers(astropy_models, inspect.isclass)
    if issubclass(cls, FittableModel) and cls.__module__.startswith("astropy.") and not inspect.isabstract(cls)
]
# One unit in, another out: there a factor has that of the quotient, though astropy says that of the output.
WRONG_RULES = {"Scale": {"factor": u.K / u.km}, "Multiply": {"factor": u.K / u.km}}
NO_RULES = {"BlackBody", "NFW", "Spline1D", "Identity", "Mapping", "OrthoPolynomialBase"}  # or constants of their own


def instance(cls: Any) -> Model:
    if "degree" in inspect.signature(cls).parameters:
        return cls(2)
    return cls(2, 2) if "x_degree" in inspect.signature(cls).parameters else cls()


@pytest.mark.parametrize("cls", [c for c in FITTABLE if c.__name__ not in NO_RULES], ids=lambda c: c.__name__)
def test_units_are_those_of_astropy_s_rules(cls: Any) -> None:
    """Of parameters that the rules don't name: none, or those of a pure number."""
    model = instance(cls)
    if model.n_outputs != 1:
        pytest.skip("several outputs")
    try:
        told = model._parameter_units_for_data_units(dict.fromkeys(model.inputs, u.km), {model.outputs[0]: u.K})
    except AttributeError:
        told = None
    told = WRONG_RULES.get(cls.__name__, told)
    x = np.linspace(0.2, 3.0, 12)
    coords = {n: (n, x, {"units": "km"}) for n in model.inputs}
    values = np.random.default_rng(0).uniform(1, 2, [12] * model.n_inputs)
    data = xr.DataArray(values, dims=model.inputs, coords=coords, attrs={"units": "K"})
    result = data.modelfit(model, dim=model.inputs, fitter=BatchLSQFitter(maxiter=1), errors="ignore")
    for name in model.param_names:
        text = result[name].attrs.get("units")
        assert result[f"{name}_stderr"].attrs.get("units") == text
        if told is not None and name in told:
            assert text is not None, name
            assert u.Unit(text) == told[name], name
        elif told is not None and "Polynomial" not in cls.__name__:  # its rule speaks of the first degrees only
            assert text is None or u.Unit(text) == u.one, name


# --- temperature

YEARS = np.linspace(0.0, 30.0, 31)


def series(unit: str = "degC", slope: float = 0.1, intercept: float = 8.0, **attrs: Any) -> xr.DataArray:
    """A trend of temperatures with noise, in kelvins per year and degrees Celsius."""
    kelvin = slope * YEARS + intercept + 273.15 + np.random.default_rng(4).normal(0, 0.05, YEARS.size)
    values = {"K": kelvin, "degC": kelvin - 273.15, "C": kelvin - 273.15, "degF": (kelvin - 273.15) * 1.8 + 32}[unit]
    coords = {"t": ("t", YEARS, {"units": "yr"})}
    return xr.DataArray(values, dims="t", coords=coords, attrs={"units": unit, **attrs}, name="tas")


@functools.cache
def trend() -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept in K/yr and K, and their errors where those of the samples are 0.5 K; by numpy."""
    design = np.stack([YEARS, np.ones_like(YEARS)], axis=1)
    return np.linalg.lstsq(design, series("K").values, rcond=None)[0], np.sqrt(
        np.diagonal(np.linalg.inv(design.T @ design)) * 0.25
    )


@pytest.mark.parametrize("unit", ["K", "degC", "degF"])
@pytest.mark.parametrize("sigma", ["number", "quantity", "array", "unlabelled", "map"])
@pytest.mark.parametrize("lazy", [False, True])
def test_temperatures_with_an_offset(unit: str, sigma: str, lazy: bool) -> None:
    """Samples are moved by it, errors of them are not."""
    (slope, intercept), (slope_error, intercept_error) = trend()
    own = 0.9 if unit == "degF" else 0.5
    errors = {
        "number": own,
        "quantity": 500 * u.mK,
        "array": xr.DataArray(0.5, attrs={"units": "K"}),
        "unlabelled": xr.DataArray(own),
        "map": xr.DataArray(np.full(31, own), dims="t", attrs={"units": unit}),
    }[sigma]
    data = series(unit)
    given_ = data.chunk(t=-1) if lazy else data
    result = given_.modelfit(Linear1D(0.08 * K / u.yr, 280 * K), dim="t", sigma=errors).compute()
    assert [u.Unit(result[n].attrs["units"]) for n in ("slope", "intercept")] == [K / u.yr, K]
    np.testing.assert_allclose(result["slope"], slope, rtol=1e-9)  # a straight line of 31 samples
    np.testing.assert_allclose(result["intercept"], intercept, rtol=1e-9)
    np.testing.assert_allclose(result["slope_stderr"], slope_error, rtol=1e-9)
    np.testing.assert_allclose(result["intercept_stderr"], intercept_error, rtol=1e-9)
    evaluated = result.modelfit.evaluate(data)
    assert evaluated.attrs["units"] == unit
    assert abs(evaluated - data).max() < 0.5
    if unit != "degF":
        model = result.modelfit.to_model()
        np.testing.assert_allclose(model(10 * u.yr).to_value(K), intercept + 10 * slope, rtol=1e-9)


@pytest.mark.parametrize(("unit", "size"), [("degC", 1.0), ("degF", 1.8)])
def test_a_slope_of_temperatures_is_a_difference(unit: str, size: float) -> None:
    """Given in kelvins per year; the intercept is a temperature of the data's scale."""
    (slope, intercept), _ = trend()
    for p0 in (0 * K / u.yr, 0 * u.mK / u.d, xr.DataArray(0.0, attrs={"units": "K yr-1"})):
        result = series(unit).modelfit(Linear1D(), dim="t", p0={"slope": p0}, sigma=0.5 * K)
        np.testing.assert_allclose(quantity(result["slope"]).to_value(K / u.yr), slope, rtol=1e-9)
        assert result["intercept"].attrs["units"] == unit
        np.testing.assert_allclose(
            result["intercept"], size * (intercept - 273.15) + (32 if size > 1 else 0), rtol=1e-8
        )
        np.testing.assert_allclose(quantity(result["slope_stderr"]).to_value(K / u.yr), trend()[1][0], rtol=1e-9)


def test_differences_of_temperatures_have_no_offset() -> None:
    """CF's ``units_metadata`` on the data, and on a coordinate; evaluated as it was fitted."""
    data = series(units_metadata="temperature: difference")
    result = data.modelfit(Linear1D(0.08 * K / u.yr, 8 * K), dim="t")
    np.testing.assert_allclose(result["intercept"], trend()[0][1] - 273.15, rtol=1e-9)
    assert abs(result.modelfit.evaluate(data) - data).max() < 0.5
    attrs = {"units": "degC", "units_metadata": "temperature: difference"}
    x = np.linspace(0.0, 8.0, 41)
    data = xr.DataArray(gaussian(x, 2.0, 4.0, 1.0), dims="dT", coords={"dT": ("dT", x, attrs)}, attrs={"units": "1"})
    result = data.modelfit(Gaussian1D(1.9 * u.one, 4.2 * K, 1.1 * K), dim="dT")
    np.testing.assert_allclose(result["mean"], 4.0, rtol=NOISE_FREE)
    np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-5)


def over_temperature(unit: str = "degC", data: str = "Pa", **attrs: Any) -> xr.DataArray:
    """A line at 12 degrees Celsius, over them."""
    celsius = np.linspace(0.0, 30.0, 61)
    x = celsius + (273.15 if unit == "K" else 0)
    coords = {"T": ("T", x, {"units": unit, **attrs})}
    return xr.DataArray(gaussian(celsius, 2.0, 12.0, 4.0), dims="T", coords=coords, attrs={"units": data})


@pytest.mark.parametrize("data", ["Pa", "1"])
def test_coordinates_of_temperature(data: str) -> None:
    """A place on the scale and a width."""
    unit = u.Unit(data)
    for celsius, kelvin in ((over_temperature(data=data), over_temperature("K", data)),):
        model = Gaussian1D(1.9 * unit, 284 * K, 4.2 * K)
        for one in (celsius, kelvin):
            result = one.modelfit(model, dim="T")
            np.testing.assert_allclose([result[n] for n in NAMES], [2.0, 285.15, 4.0], rtol=NOISE_FREE)
            np.testing.assert_allclose(result.modelfit.evaluate(celsius), celsius, atol=1e-5)
            np.testing.assert_allclose(result.modelfit.evaluate(kelvin), celsius, atol=1e-5)
        result = celsius.modelfit(Gaussian1D(1.9, 11.0, 4.2), dim="T")
        assert [result[n].attrs["units"] for n in NAMES] == [data, "degC", "degC"]
        np.testing.assert_allclose(result.modelfit.evaluate(kelvin), celsius, atol=1e-5)


@pytest.mark.parametrize("data", ["Pa", "1", "%"])
def test_a_slope_per_degree_is_one_per_kelvin(data: str) -> None:
    """Whatever the data is in. The intercept is at 0 degrees of the coordinate's scale in all spellings."""
    celsius = np.linspace(0.0, 30.0, 31)
    coords = {"T": ("T", celsius, {"units": "degC"})}
    line = xr.DataArray(3 * celsius + 5, dims="T", coords=coords, attrs={"units": data})
    unit = u.Unit(data)
    calls = {
        "start": lambda: line.modelfit(Linear1D(), dim="T", p0={"slope": 2 * unit / K}),
        "model": lambda: line.modelfit(Linear1D(2 * unit / K, 1 * unit), dim="T"),
        "own": lambda: line.modelfit(Linear1D(2 * unit / u.deg_C, 1 * unit), dim="T"),
    }
    for name, call in calls.items():
        result = call()
        np.testing.assert_allclose(result["slope"], 3.0, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(result["intercept"], 5.0, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    "attrs",
    [
        {"standard_name": "air_temperature"},
        {"long_name": "Daily mean temperature"},
        {"long_name": "Temperature anomaly", "units_metadata": "temperature: difference"},
    ],
)
def test_c_on_a_temperature_is_no_coulomb(attrs: dict[str, str]) -> None:
    data = series("C", **attrs).rename("v1")
    difference = "units_metadata" in attrs
    result = data.modelfit(Linear1D(0.08 * K / u.yr, (8 if difference else 280) * K), dim="t", sigma=0.5 * K)
    np.testing.assert_allclose(result["intercept"], trend()[0][1] - (273.15 if difference else 0), rtol=1e-9)
    np.testing.assert_allclose(result["intercept_stderr"], trend()[1][1], rtol=1e-9)
    assert result.modelfit.evaluate(data).attrs["units"] == "C"
    plain = data.modelfit(Linear1D(), dim="t")
    assert plain["intercept"].attrs["units"] == "C"
    again = series("degC").modelfit(Linear1D(), dim="t", p0=plain)
    np.testing.assert_allclose(again["intercept"], trend()[0][1] - 273.15, rtol=1e-9)
    charge = series("C").rename("charge").drop_attrs(deep=False).assign_attrs(units="C")
    with pytest.raises(ValueError, match="'C'"):
        charge.modelfit(Linear1D(0.08 * K / u.yr, 280 * K), dim="t")


def test_c_on_a_coordinate_of_temperature() -> None:
    """Evaluated on kelvins, whatever the coordinate was called."""
    data = over_temperature("C", long_name="air temperature")
    result = data.modelfit(Gaussian1D(1.9, 11.0, 4.2), dim="T")
    np.testing.assert_allclose(result.modelfit.evaluate(over_temperature("K")), data, atol=1e-5)


def test_a_place_and_a_width_are_not_told_apart_by_their_units() -> None:
    """A start in kelvins on degrees Celsius may be either: refused."""
    for name in ("mean", "stddev"):
        with pytest.raises(ValueError, match=f"{name}.*'K'"):
            over_temperature().modelfit(Gaussian1D(1, 12, 4), dim="T", p0={name: 5 * K})


def test_an_intercept_that_the_user_moved_to_another_scale() -> None:
    """Converted with the offset, or refused; never by a factor alone."""
    data = series()
    result = data.modelfit(Linear1D(), dim="t")
    before = result.modelfit.evaluate(data)
    moved = result.assign(intercept=(result["intercept"] + 273.15).assign_attrs(units="K"))
    try:
        after = moved.modelfit.evaluate(data)
    except ValueError as error:
        assert "'K'" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(after, before, rtol=1e-9)


def test_weights_with_a_unit_are_one_over_the_data_s() -> None:
    data = series()
    _, (_, error) = trend()
    for weights in (
        2 / K,
        xr.DataArray(2.0, attrs={"units": "K-1"}),
        xr.DataArray(0.002, attrs={"units": "mK-1"}),
        2.0,
    ):
        for one in (series("K"), data):
            result = one.modelfit(Linear1D(), dim="t", weights=weights, absolute_sigma=True)
            np.testing.assert_allclose(result["intercept_stderr"], error, rtol=1e-9)


# --- strings

STRINGS = [
    ("m s-1", "K"),
    ("degrees_north", "furlongs per foo"),
    ("km/s", "10**-20 erg/s/cm**2"),
    ("meters", "W m-2"),
    ("hPa", "kg m-2 s-1"),
    ("", "Jy/beam"),
    ("1", "%"),
    ("foo", ""),
    ("um", "mm day-1"),
    ("Angstrom", "1e-3 Jy"),
]


@pytest.mark.parametrize(("coordinate", "data"), STRINGS)
def test_the_user_s_strings_are_carried_through_untouched(coordinate: str, data: str) -> None:
    """As long as nothing is converted, whatever they are."""
    coords = {"x": ("x", T, {"units": coordinate})}
    line = xr.DataArray(gaussian(T, 2, 3, 0.7), dims="x", coords=coords, attrs={"units": data})
    result = line.modelfit(Gaussian1D(2, 3.1, 0.7), dim="x", sigma=xr.DataArray(0.1, attrs={"units": data}))
    for name, expected in (("amplitude", data), ("mean", coordinate), ("stddev", coordinate)):
        assert result[name].attrs["units"] == expected
        assert result[f"{name}_stderr"].attrs["units"] == expected
    assert result.modelfit.evaluate(line).attrs["units"] == data
    start = xr.DataArray(3.1, attrs={"units": coordinate})
    again = line.modelfit(Gaussian1D(2, 3, 0.7), dim="x", p0={"mean": start}, bounds={"mean": (start - 1, None)})
    assert again["mean"].attrs["units"] == coordinate
    xr.testing.assert_allclose(again["mean"], result["mean"])
    assert line.modelfit(Gaussian1D(), dim="x", p0=result)["amplitude"].attrs["units"] == data


@pytest.mark.parametrize(("coordinate", "data"), [s for s in STRINGS if "foo" not in s[0] + s[1]])
def test_composed_strings_are_read_back(coordinate: str, data: str) -> None:
    """By the reader that takes the user's: a slope, a curvature, chi-square."""
    coords = {"x": ("x", T, {"units": coordinate})}
    curve = xr.DataArray(2 * T + 1, dims="x", coords=coords, attrs={"units": data})
    result = curve.modelfit(Polynomial1D(2), dim="x")
    x, y = parse_unit(coordinate), parse_unit(data)
    for name, unit in (("c0", y), ("c1", y / x), ("c2", y / x**2), ("chi2", y**2)):
        got = parse_unit(result[name].attrs["units"])
        np.testing.assert_allclose(got.to(unit), 1.0, rtol=1e-12, err_msg=result[name].attrs["units"])


def test_unknown_strings_are_told_where_a_conversion_needs_them() -> None:
    """Quantity, labelled number, error, model and coordinate: each message has the string."""
    line = xr.DataArray(gaussian(T, 2, 3, 0.7), dims="x", coords={"x": ("x", T, {"units": "km"})})
    line = unreadable(line.assign_attrs(units="furlongs per foo"))
    wrong: list[dict[str, Any]] = [
        {"p0": {"amplitude": 1 * K}},
        {"p0": {"amplitude": xr.DataArray(1.0, attrs={"units": "K"})}},
        {"bounds": {"amplitude": (0 * K, 1 * K)}},
        {"bounds": {"amplitude": (xr.DataArray(0.0, attrs={"units": "K"}), None)}},
        {"sigma": 1 * K},
        {"sigma": xr.DataArray(1.0, attrs={"units": "K"})},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match="furlongs per foo"):
            line.modelfit(Gaussian1D(2, 3, 0.7), dim="x", **options)
    for given_ in ({"p0": {"mean": 3 * u.km}}, {"sigma": xr.DataArray(0.1, attrs={"units": "furlongs per foo"})}):
        line.modelfit(Gaussian1D(2, 3, 0.7), dim="x", **given_)  # nothing unknown is converted
    odd = xr.DataArray(3.0, attrs={"units": "parsnips"})
    for options in ({"p0": {"mean": odd}}, {"bounds": {"mean": (odd, None)}}, {"sigma": odd}):
        with pytest.raises(ValueError, match="parsnips"):
            line.assign_attrs(units="K").modelfit(Gaussian1D(2, 3, 0.7), dim="x", **options)


# --- wrong calls


LABELLED = two_lines().rename("T")
LINE_MODEL = Gaussian1D(1 * K, 4 * KMS, 1 * KMS)
WRONG: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "data without units": (
        lambda: unreadable(LABELLED).drop_attrs(deep=False).modelfit(LINE_MODEL, dim="v"),
        ["'K'", "amplitude", "no units", "the unit of its numbers", "data.assign_attrs(units='K')"],
    ),
    "coordinate without units": (
        lambda: unreadable(LABELLED).assign_coords(v=VELOCITY).modelfit(LINE_MODEL, dim="v"),
        ["'km s-1'", "mean", "'v'", "no units", "the unit of its numbers", "assign_attrs(units='km s-1')"],
    ),
    "coordinate in another kind of unit": (
        lambda: unreadable(LABELLED).assign_coords(v=("v", VELOCITY, {"units": "GHz"})).modelfit(LINE_MODEL, dim="v"),
        ["'km s-1'", "'GHz'", "mean", "equivalencies="],
    ),
    "start in another kind of unit": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", p0={"mean": 3 * u.kg}),
        ["p0['mean']", "'kg'", "'m s-1'"],
    ),
    "map of starts in another kind of unit": (
        lambda: unreadable(LABELLED).modelfit(
            LINE_MODEL, dim="v", p0={"mean": xr.DataArray(3.0, attrs={"units": "kg"})}
        ),
        ["p0['mean']", "'kg'", "'m s-1'"],
    ),
    "bound in another kind of unit": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", bounds={"mean": (1 * u.kg, None)}),
        ["bounds['mean']", "'kg'", "'m s-1'"],
    ),
    "error in another kind of unit": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", sigma=1 * u.kg),
        ["sigma", "'kg'", "'K'"],
    ),
    "error with a unit on data without": (
        lambda: unreadable(LABELLED).drop_attrs(deep=False).modelfit(Gaussian1D(), dim="v", sigma=1 * K),
        ["sigma", "'K'", "no units", "the unit of its numbers", "assign_attrs"],
    ),
    "start outside its bounds": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", bounds={"mean": (4500 * MS, None)}),
        ["'mean'", "is 4,", "4.5", "'km s-1'"],
    ),
    "bounds the wrong way round": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", bounds={"mean": (5 * KMS, 4500 * MS)}),
        ["bounds['mean']", "5.0 km / s", "4500.0 m / s", "Swap"],
    ),
    "a plain number among units": (
        lambda: unreadable(LABELLED).modelfit(Gaussian1D(1 * K, 4 * KMS, 1.0), dim="v"),
        ["'stddev'", "'m s-1'", "Give it one"],
    ),
    "equivalencies for nothing": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", equivalencies={"velo": u.spectral()}),
        ["'velo'", "'x'", "'v'"],
    ),
    "equivalencies of the wrong type": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", equivalencies={"v": "spectral"}),
        ["equivalencies['v']", "str", "u.spectral()"],
    ),
    "an array of starts without names": (
        lambda: unreadable(LABELLED).modelfit(LINE_MODEL, dim="v", p0={"mean": [1, 2] * KMS}),
        ["p0['mean']", "DataArray"],
    ),
    "two kinds of unit in a product": (
        lambda: unreadable(LABELLED).modelfit(Const1D(2 * u.s) * LINE_MODEL, dim="v"),
        ["'s'", "'K'"],
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_units_are_told_before_a_sample_is_read(name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert not isinstance(caught.value, u.UnitsError)
    for word in words:
        assert word in str(caught.value)


def bare_line(**units: str) -> xr.DataArray:
    """Numbers over x, with the given units of ``data`` and ``x``, that must not be read."""
    attrs = {n: {"units": text} for n, text in units.items()}
    array = xr.DataArray(T, dims="x", coords={"x": ("x", T, attrs.get("x", {}))}, attrs=attrs.get("data", {}))
    return unreadable(array)


TREND = Linear1D(1 * K / u.yr, 3 * K)
WAVE = Sine1D(1 * K, 1 / KM, 0.1 * u.rad)
OVER_DAYS = bare_line().assign_coords(x=xr.date_range("2000-01-01", periods=T.size))
LABELS: dict[str, tuple[Model, xr.DataArray, list[str]]] = {  # each with what is to be labelled, and how
    "a slope over dates": (TREND, OVER_DAYS, ["the data has", "data.assign_attrs(units='K')"]),
    "a factor over dates": (Multiply(1 * K / u.yr), OVER_DAYS, ["data.assign_attrs(units='K')"]),
    "a slope over years": (TREND, bare_line(x="yr"), ["data.assign_attrs(units='K')"]),
    "a factor over days": (Multiply(1 * K / u.yr), bare_line(x="d"), ["data.assign_attrs(units='K')"]),
    "a slope of kelvins": (TREND, bare_line(data="K"), ["'x' has", "data['x'].assign_attrs(units='yr')"]),
    "a factor of kelvins": (Multiply(1 * K / u.yr), bare_line(data="mK"), ["data['x'].assign_attrs(units='yr')"]),
    "neither": (
        TREND,
        bare_line(),
        ["have no units", "the unit of their numbers", "units='K'", "data['x'].assign_attrs(units='yr')"],
    ),
    "neither, and it cannot be told": (Multiply(1 * K / u.yr), bare_line(), ["units='...'"]),
    "a square": (
        Polynomial1D(2, c0=1 * K, c1=1 * K / KM, c2=1 * K / KM**2),
        bare_line(data="K"),
        ["data['x'].assign_attrs(units='km')"],
    ),
    "a line": (Gaussian1D(1 * u.Jy, 1 * KM, 1 * KM), bare_line(x="m"), ["data.assign_attrs(units='Jy')"]),
    "a place": (Gaussian1D(1 * u.Jy, 1 * KM, 1 * KM), bare_line(data="Jy"), ["data['x'].assign_attrs(units='km')"]),
    "a phase": (WAVE, bare_line(data="K", x="km"), ["'rad'", "'phase'", "pure number", "cycles"]),
    "a phase in metres": (
        Sine1D(1 * K, 1 / KM, 0.1 * u.m),
        bare_line(data="K", x="km"),
        ["'m'", "'phase'", "pure number", "without unit"],
    ),
    "an exponent": (PowerLaw1D(1 * K, 1 * KM, 2 * u.rad), bare_line(data="K", x="km"), ["'alpha'", "pure number"]),
    "another kind of data": (TREND, bare_line(data="Jy", x="yr"), ["'Jy'", "'yr'", "'Jy yr-1'", "equivalencies="]),
}


@pytest.mark.parametrize("name", list(LABELS))
def test_units_that_do_not_fit_are_told_with_the_way_out(name: str) -> None:
    """What is missing or wrong, and the label that fits where the model tells it; no gaps in the sentence."""
    model, data, words = LABELS[name]
    with pytest.raises(ValueError, match="model has the unit") as caught:
        data.modelfit(model, dim="x")
    for word in words:
        assert word in str(caught.value)
    assert "but ," not in str(caught.value)
    assert "  " not in str(caught.value)
    assert ("'...'" in str(caught.value)) == ("'...'" in str(words))


def test_an_angle_of_the_ellipse_is_an_angle() -> None:
    y, x = (xr.DataArray(T, dims=n, attrs={"units": "km"}) for n in "yx")
    data = unreadable(xr.DataArray(np.outer(T, T), {"y": y, "x": x}, ("y", "x"), attrs={"units": "K"}))
    ellipse = Gaussian2D(1 * K, 1 * KM, 1 * KM, 1 * KM, 1 * KM, theta=1 * u.m)
    with pytest.raises(ValueError, match="'m' on 'theta', but it is in 'rad', whatever"):
        data.modelfit(ellipse, dim=("y", "x"))


def test_a_rate_in_radians() -> None:
    """Where astropy's Quantities take an angle for a number, so does the fit."""
    wave = with_units(lambda t, a, w, p: a * np.sin(w * t + p), a=1.8 * K, w=2.05 * u.rad / u.s, p=0.3 * u.rad)
    truth = 2 * np.sin(2.0 * T + 0.35)
    data = xr.DataArray(truth, dims="x", coords={"x": ("x", T, {"units": "s"})}, attrs={"units": "K"})
    result = data.modelfit(wave, dim="x")
    np.testing.assert_allclose([result[n] for n in "awp"], [2.0, 2.0, 0.35], rtol=NOISE_FREE)
    assert [u.Unit(result[n].attrs["units"]) for n in "awp"] == [K, u.rad / u.s, u.rad]


def test_conversions_are_lazy() -> None:
    """Neither an offset nor an equivalency reads samples, nor a coordinate of two dims."""
    unreadable(series()).modelfit(Linear1D(0.08 * K / u.yr, 280 * K), dim="t", sigma=0.5 * K)
    data = unreadable(two_lines().expand_dims(p=2))
    frequency = data.copy().assign_coords(f=(("p", "v"), data.data + 1, {"units": "GHz"}))
    model = Gaussian1D(1 * K, 4 * KMS, 1 * KMS)
    frequency.modelfit(model, dim="v", coords="f", equivalencies={"f": u.doppler_radio(230 * u.GHz)})


# --- the case of the seed


def test_data_without_units_and_a_model_that_says_so() -> None:
    """``u.one`` on data without units: in the model, and in all that goes with the data."""
    values = gaussian(VELOCITY, 2.0, 4000, 500)
    data = xr.DataArray(values, dims="velocity", coords={"velocity": ("velocity", VELOCITY, {"units": "m/s"})})
    model = Gaussian1D(1 * u.one, 4100 * MS, 600 * MS)
    plain = Gaussian1D(1, 4100, 600)
    one = xr.DataArray(0.1, attrs={"units": "1"})
    for options in (
        {},
        {"p0": {"amplitude": 1 * u.one}},
        {"bounds": {"amplitude": (0 * u.one, None)}},
        {"sigma": 0.1 * u.one},
        {"sigma": one},
        {"weights": 10 * u.one},
    ):
        for which in (model, plain):
            result = data.modelfit(which, dim="velocity", **options)
            np.testing.assert_allclose([result[n] for n in NAMES], [2, 4000, 500], rtol=NOISE_FREE)
            assert [result[n].attrs["units"] for n in NAMES[1:]] == ["m/s", "m/s"]
            assert result["amplitude"].attrs.get("units", "1") == "1"


# --- a result


def small_cube() -> xr.DataArray:
    """Lines at 2 x 3 positions, over km/s."""
    rng = np.random.default_rng(6)
    v = np.linspace(0.0, 10.0, 31)
    mean = np.array([[4.0, 5.0, 6.0], [4.5, 5.5, 4.2]])
    values = gaussian(v, 2.0, mean[..., None], 0.9) + rng.normal(0, 0.03, (2, 3, 31))
    coords = {"v": ("v", v, {"units": "km/s"}), "x": [1, 2, 3], "y": [10, 20]}
    return xr.DataArray(values, dims=("y", "x", "v"), coords=coords, attrs={"units": "K", "title": "t"}, name="T")


CUBE_MODEL = Gaussian1D(1500 * u.mK, 5000 * MS, 1 * KMS)
PATIENT = {"maxiter": 2000}  # TRF goes in small steps where an amplitude is 2000 mK and a width 1 km/s
CUBE_UNITS = {"amplitude": u.mK, "mean": MS, "stddev": KMS}


def assert_evaluates(result: xr.Dataset, cube: xr.DataArray, expected: xr.DataArray) -> None:
    """At the cube, and at other units of its coordinate."""
    for at in ({}, {"v": cube["v"].values * 1000 * MS}):
        values = result.modelfit.evaluate(**at) if at else result.modelfit.evaluate(cube)
        values = values.transpose("y", "x", "v")
        assert values.attrs["units"] == "K"
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)  # the rounding of conversions
    metres = xr.DataArray(cube["v"].values * 1000, dims="v", attrs={"units": "m s-1"})
    values = result.modelfit.evaluate(v=metres).transpose("y", "x", "v")
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", [CUBE_MODEL, Gaussian1D(1.5, 5, 1)], ids=["with units", "without"])
def test_units_survive_files_selection_and_joining(model: Model, tmp_path: Path) -> None:
    cube = small_cube()
    result = cube.modelfit(model, dim="v")
    expected = result.modelfit.evaluate(cube)
    result.to_netcdf(tmp_path / "a.nc")
    result.to_zarr(tmp_path / "a.zarr")
    halves = [cube.isel(y=[i]).modelfit(model, dim="v") for i in range(2)]
    with xr.open_dataset(tmp_path / "a.nc") as read, xr.open_zarr(tmp_path / "a.zarr") as stored:
        for one in (read.load(), stored.load(), xr.concat(halves, "y"), result.isel(x=slice(None)), result.copy()):
            for name in NAMES:
                assert one[name].attrs["units"] == result[name].attrs["units"]
                assert one[f"{name}_stderr"].attrs["units"] == result[name].attrs["units"]
            assert_evaluates(one, cube, expected)
            back = one.modelfit.to_model()
            np.testing.assert_allclose(back(5 * KMS).to_value(K), CUBE_AT_5(result), rtol=1e-9)
    part = result.sel(y=20, x=[1, 3])
    values = part.modelfit.evaluate(v=5000 * MS)
    np.testing.assert_allclose(values, expected.sel(y=20, x=[1, 3]).interp(v=5.0), rtol=1e-9)


def CUBE_AT_5(result: xr.Dataset) -> np.ndarray:
    a, m, s = (quantity(result[n]) for n in NAMES)
    return gaussian(5 * KMS, a, m, s).to_value(K)


def test_parameters_that_the_user_converted_evaluate_the_same() -> None:
    """Numbers and ``units`` changed together, of a result with and without units on its model."""
    cube = small_cube()
    for model in (CUBE_MODEL, Gaussian1D(1.5, 5, 1)):
        result = cube.modelfit(model, dim="v")
        expected = result.modelfit.evaluate(cube)
        changed = result.copy()
        for name, unit in (("amplitude", u.uK), ("mean", u.cm / u.s), ("stddev", u.mm / u.s)):
            values = quantity(result[name]).to(unit)
            changed[name] = result[name].copy(data=values.value).assign_attrs(units=str(values.unit))
        assert_evaluates(changed, cube, expected)
        back = changed.modelfit.to_model()
        np.testing.assert_allclose(back(5 * KMS).to_value(K), CUBE_AT_5(result), rtol=1e-9)
        wrong = result.assign(mean=result["mean"].assign_attrs(units="kg"))
        with pytest.raises(ValueError, match="'kg'"):
            wrong.modelfit.evaluate(cube)


def test_a_slope_that_the_user_converted_evaluates_the_same() -> None:
    """A composed unit, of temperatures with an offset too."""
    for data in (series(), series("K")):
        result = data.modelfit(Linear1D(), dim="t")
        slope = (result["slope"] / 365.25).assign_attrs(units="K d-1")
        changed = result.assign(slope=slope)
        np.testing.assert_allclose(changed.modelfit.evaluate(data), result.modelfit.evaluate(data), rtol=1e-12)


@pytest.mark.parametrize("data_unit", [u.K, u.mK])
@pytest.mark.parametrize("bounded", [False, True])
def test_the_model_that_comes_back_is_that_of_parallel_fit_dask(data_unit: Any, bounded: bool) -> None:
    cube = small_cube()
    cube = (cube * (1 * K).to_value(data_unit)).assign_attrs(units=str(data_unit))
    model = CUBE_MODEL.copy()
    if bounded:
        model.mean.bounds = (1000, 9000)
    seed = CUBE_MODEL.copy()  # its bounds are not converted there, so they are given in the unit of its world
    expected = parallel_fit_dask(
        model=seed,
        fitter=TRFLSQFitter(),
        data=Quantity(cube.values, data_unit),
        world=(cube["v"].values * KMS,),
        fitting_axes=2,
        scheduler="synchronous",
        fitter_kwargs=PATIENT,
    )
    result = cube.modelfit(model, dim="v", fitter=TRFLSQFitter(), fitter_kwargs=PATIENT)
    back = result.modelfit.to_model()
    for name in NAMES:
        ours, theirs = getattr(back, name).quantity, getattr(expected, name).quantity
        assert ours.shape == theirs.shape == (2, 3)
        # TRF from the same start, in other units of the parameters.
        np.testing.assert_allclose(ours.to_value(CUBE_UNITS[name]), theirs.to_value(CUBE_UNITS[name]), rtol=1e-5)
    x = np.linspace(2, 8, 5)[:, None, None] * KMS
    np.testing.assert_allclose(back(x).to_value(K), expected(x).to_value(K), rtol=1e-4, atol=1e-6)


def test_an_earlier_result_in_other_units_is_a_start() -> None:
    cube = small_cube()
    first = cube.modelfit(CUBE_MODEL, dim="v")
    metres = cube.assign_coords(v=("v", cube["v"].values * 1000, {"units": "m s-1"}))
    metres = (metres * 1000).assign_attrs(units="mK")
    for start in (first, first[list(NAMES)], {n: first[n] for n in NAMES}):
        for model in (Gaussian1D(1, 1, 1), Gaussian1D(1 * K, 1 * MS, 1 * MS)):
            again = metres.modelfit(model, dim="v", p0=start, fitter=BatchLSQFitter(maxiter=3))
            assert (again["fit_status"] == FitStatus.CONVERGED).all()
            for name in NAMES:
                assert u.Unit(again[name].attrs["units"]) == CUBE_UNITS[name]
                np.testing.assert_allclose(again[name], first[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("data", "carried"),
    [*((data, carried) for data in ("K", None, "km/s") for carried in (False, True)), ("furlongs per foo", False)],
)
def test_the_place_of_a_maximum_is_in_the_coordinate_s_unit(data: str | None, carried: bool) -> None:
    """``idxmax`` gives coordinates, under the name of the dim, with the data's units or with none."""
    cube = small_cube().drop_attrs(deep=False)
    cube = cube if data is None else cube.assign_attrs(units=data)
    model = Gaussian1D(2, 1, 1)
    if carried:
        model = Gaussian1D(2 * (u.one if data is None else u.Unit(data)), 1000 * MS, 1 * KMS)
    kept = cube.idxmax("v", keep_attrs=True)
    for start in (kept, cube.idxmax("v"), kept.drop_attrs()):
        result = cube.modelfit(model, dim="v", p0={"mean": start}, errors="ignore")
        assert (result["fit_status"] == FitStatus.CONVERGED).all()
        means = quantity(result["mean"]).to_value(KMS)
        np.testing.assert_allclose(means, [[4.0, 5.0, 6.0], [4.5, 5.5, 4.2]], atol=0.1)


TENS = u.dam / u.s


def over_metres(unit: str | None = "K") -> xr.DataArray:
    """Peaks at 400, 300 and 600 of every metre per second up to 800: a tenth of each is a place too."""
    v = np.arange(0.0, 801.0)
    values = gaussian(v, 2.0, np.array([400.0, 300.0, 600.0])[:, None], 50.0)
    cube = xr.DataArray(values, dims=("x", "v"), coords={"v": ("v", v, {"units": "m/s"})}, name="T")
    return cube if unit is None else cube.assign_attrs(units=unit)


PLACES: dict[str, tuple[Callable[[xr.DataArray], xr.DataArray], Any]] = {  # and what they are then in
    "as it is": (lambda st: st, MS),
    "some replaced": (lambda st: st.where(st > 350, 77.0), MS),
    "in tens": (lambda st: st / 10, TENS),
    "in tens by a factor": (lambda st: st * 0.1, TENS),
    "in km/s": (lambda st: st / 1000, KMS),
    "moved": (lambda st: st + 0.25, MS),
    "one of them": (lambda st: st.isel(x=0, drop=True) / 10, TENS),
    "nowhere": (lambda st: st * np.nan, MS),
}


@pytest.mark.quick_share(5)
@pytest.mark.parametrize("name", list(PLACES))
@pytest.mark.parametrize("unit", [None, MS, TENS], ids=str)
@pytest.mark.parametrize("data", ["K", None, "dam/s", "cm/s"])
def test_a_converted_place_of_a_maximum_is_never_taken_for_another(name: str, unit: Any, data: str | None) -> None:
    """It keeps name and units in arithmetic: the start is what was meant, or the call asks for its unit.

    A parameter that is held is its start. A number without unit is in the parameter's, as any other.
    """
    change, meant = PLACES[name]
    cube = over_metres(data)
    own = MS if unit is None else unit
    amplitude = u.one if data is None else u.Unit(data)
    model = Gaussian1D(2, 300, 50) if unit is None else Gaussian1D(2 * amplitude, (300 * MS).to(unit), 50 * MS)
    model.mean.fixed = True

    def started(start: xr.DataArray) -> Quantity:
        result = cube.modelfit(model, dim="v", p0={"mean": start}, errors="ignore", keep_failed=True).compute()
        assert u.Unit(result["mean"].attrs["units"]) == own or start.name is None  # the parameter keeps its own
        return quantity(result["mean"])

    for attrs in ({}, {"units": data}) if data is not None else ({},):
        start = change(cube.idxmax("v")).rename("v").drop_attrs().assign_attrs(attrs)
        truth = np.broadcast_to(Quantity(start.values, meant).to_value(MS), (3,))
        for given_ in (start, start.chunk()) if start.ndim else (start,):
            try:
                got = started(given_)
            except ValueError as error:
                assert "p0['mean'] is called 'v'" in str(error)  # noqa: PT017
                assert "assign_attrs(units=" in str(error)  # noqa: PT017
                # of data in cm/s, 400 of them are a place as well
                assert given_.chunks or name not in ("as it is", "nowhere") or data == "cm/s"
                continue
            if own != MS or meant == MS or (data == "dam/s" and attrs):
                np.testing.assert_allclose(got.to_value(MS), truth, rtol=1e-12)
            else:  # nothing says that there is another unit than that of the coordinate
                np.testing.assert_array_equal(got.to_value(MS), np.broadcast_to(start.values, (3,)))
        for said in (MS, TENS, KMS):
            bare = Quantity(start.values, meant).to_value(said)
            got = started(start.copy(data=bare).rename(None).assign_attrs(units=str(said)))
            np.testing.assert_allclose(got.to_value(MS), truth, rtol=1e-12)


def test_the_place_of_a_maximum_over_another_coordinate() -> None:
    """Converted by an equivalency, or not read at all: the message says what it is and what to do."""
    _, velocity = EQUIVALENCIES["radio"]
    data = over_frequency(velocity)
    model = Gaussian1D(2 * K, 6200 * MS, 1.4 * KMS) + Const1D(0 * K)
    for place in (data.idxmax("f", keep_attrs=True), data.idxmax("f").drop_attrs()):
        for given_ in (place, place.chunk()):
            with pytest.raises(ValueError, match=r"'f'.*'GHz'.*'m s-1'.*\.assign_attrs\(units='m s-1'\)"):
                data.modelfit(model, dim="f", equivalencies=EQUIVALENCIES["radio"][0], p0={"mean_0": given_})
    said = place.copy(data=velocity(place.values)).assign_attrs(units="km/s")
    result = data.modelfit(model, dim="f", equivalencies=EQUIVALENCIES["radio"][0], p0={"mean_0": said})
    np.testing.assert_allclose(quantity(result["mean_0"]).to_value(KMS), 6.0, rtol=1e-6)
    pixels = data.assign_coords(f=np.arange(41), g=("f", FREQUENCY, {"units": "GHz"}))
    with pytest.raises(ValueError, match=r"p0\['mean'\] is called 'f' and in 'K'.*'g'"):
        pixels.modelfit(Gaussian1D(), dim="f", coords="g", p0={"mean": pixels.idxmax("f", keep_attrs=True)})


def test_places_of_maxima_leave_the_units_of_the_parameters() -> None:
    """One start by ``idxmax``, the other tied to it: both in the model's unit, as the user's tie has it."""
    model = two_gaussians()
    model.mean_1.tied = lambda m: m.mean_0 + 3 * KMS
    cube = xr.concat([two_lines(), two_lines()], "p").assign_attrs(units="K")
    result = cube.modelfit(model, dim="v", p0={"mean_0": cube.idxmax("v")})
    assert [result[n].attrs["units"] for n in ("mean_0", "mean_1")] == ["km s-1", "m/s"]
    np.testing.assert_allclose(result["mean_0"], 4.0, atol=0.02)
    np.testing.assert_allclose(result["mean_1"], 1000 * result["mean_0"] + 3000, rtol=1e-12)


def test_pint() -> None:
    """Data and coordinates in arrays of pint; what comes out is numbers with strings."""
    pytest.importorskip("pint_xarray")
    cube = small_cube()
    right_ = cube.modelfit(CUBE_MODEL, dim="v")
    for given_ in (cube.pint.quantify(), cube.to_dataset().pint.quantify(), cube.chunk(x=1).pint.quantify()):
        kwargs = {"data": "T"} if isinstance(given_, xr.Dataset) else {}
        result = given_.modelfit(CUBE_MODEL, dim="v", **kwargs).compute()
        for name in NAMES:
            assert u.Unit(result[name].attrs["units"]) == CUBE_UNITS[name]
            np.testing.assert_allclose(result[name], right_[name], rtol=1e-9)
        evaluated = result.modelfit.evaluate(given_)
        np.testing.assert_allclose(
            quantity(evaluated, parse_unit(evaluated.attrs["units"])).to_value(K),  # a word of pint
            right_.modelfit.evaluate(cube),
            rtol=1e-9,
            atol=1e-12,
        )
    plain = cube.pint.quantify().modelfit(Gaussian1D(1, 5, 1), dim="v")
    assert [parse_unit(plain[n].attrs["units"]) for n in NAMES] == [K, KMS, KMS]
    quantified = plain[list(NAMES)].pint.quantify()
    again = cube.modelfit(CUBE_MODEL, dim="v", p0={n: quantified[n] for n in NAMES})
    np.testing.assert_allclose(again["mean"], plain["mean"], rtol=1e-5)
    error = xr.DataArray(np.full(31, 30.0), dims="v", attrs={"units": "mK"}).pint.quantify()
    weighted = cube.pint.quantify().modelfit(CUBE_MODEL, dim="v", sigma=error)
    np.testing.assert_allclose(weighted["chi2"], cube.modelfit(CUBE_MODEL, dim="v", sigma=0.03)["chi2"], rtol=1e-6)


def test_arrays_of_astropy() -> None:
    """A DataArray that holds a Quantity."""
    cube = small_cube()
    wrapped = xr.DataArray(Quantity(cube.values, K), dims=cube.dims, coords=cube.coords)
    if not isinstance(wrapped.variable._data, Quantity):
        pytest.skip("this xarray takes the numbers alone")
    result = wrapped.modelfit(CUBE_MODEL, dim="v")
    np.testing.assert_allclose(result["mean"], cube.modelfit(CUBE_MODEL, dim="v")["mean"], rtol=1e-9)


def test_nothing_of_the_input_is_changed() -> None:
    cube = small_cube()
    p0 = {"mean": xr.DataArray(np.full((2, 3), 5000.0), dims=("y", "x"), attrs={"units": "m s-1"}), "amplitude": 1 * K}
    bounds = {"mean": (xr.DataArray(1.0, attrs={"units": "km/s"}), 9000 * MS)}
    sigma = xr.DataArray(np.full(31, 30.0), dims="v", attrs={"units": "mK"})
    kept = cube.copy(deep=True), p0["mean"].copy(deep=True), sigma.copy(deep=True), CUBE_MODEL.copy()
    result = cube.modelfit(CUBE_MODEL, dim="v", p0=p0, bounds=bounds, sigma=sigma)
    before = result.copy(deep=True)
    result.modelfit.evaluate(cube)
    result.modelfit.to_model().mean.value[...] = 0
    xr.testing.assert_identical(result, before)
    xr.testing.assert_identical(cube, kept[0])
    xr.testing.assert_identical(p0["mean"], kept[1])
    xr.testing.assert_identical(sigma, kept[2])
    assert (p0["amplitude"], bounds["mean"][1]) == (1 * K, 9000 * MS)
    for name in NAMES:
        assert getattr(CUBE_MODEL, name).quantity == getattr(kept[3], name).quantity
        assert getattr(CUBE_MODEL, name).bounds == (None, None) if name != "stddev" else True


# --- equivalencies

REST = 230.538 * u.GHz
FREQUENCY = np.linspace(230.528, 230.538, 41)
C = 299792.458
EQUIVALENCIES: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {
    "radio": (u.doppler_radio(REST), lambda f: C * (1 - f / REST.value)),
    "optical": (u.doppler_optical(REST), lambda f: C * (REST.value / f - 1)),
    "relativistic": (u.doppler_relativistic(REST), lambda f: C * (REST.value**2 - f**2) / (REST.value**2 + f**2)),
    "radio and spectral": (u.doppler_radio(REST) + u.spectral(), lambda f: C * (1 - f / REST.value)),
}


def over_frequency(velocity: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    values = gaussian(velocity(FREQUENCY), 2.0, 6.0, 1.5)
    return xr.DataArray(values, dims="f", coords={"f": ("f", FREQUENCY, {"units": "GHz"})}, attrs={"units": "K"})


@pytest.mark.parametrize("name", list(EQUIVALENCIES))
@pytest.mark.parametrize("key", ["f", "x", None])
def test_equivalencies_of_a_velocity(name: str, key: str | None) -> None:
    """By the closed forms; named for the coordinate, for the model's input, or alone."""
    equivalencies, velocity = EQUIVALENCIES[name]
    data = over_frequency(velocity)
    told = equivalencies if key is None else {key: equivalencies}
    result = data.modelfit(Gaussian1D(2 * K, 6200 * MS, 1.4 * KMS), dim="f", equivalencies=told)
    assert [u.Unit(result[n].attrs["units"]) for n in NAMES] == [K, MS, KMS]
    np.testing.assert_allclose([result[n] for n in NAMES], [2.0, 6000.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-5)
    # A frequency is read to 1e-16 of itself, so a velocity to 1e-16 of the speed of light.
    np.testing.assert_allclose(result.modelfit.evaluate(f=FREQUENCY * 1e9 * u.Hz), data, atol=1e-5)
    np.testing.assert_allclose(result.modelfit.evaluate(f=velocity(FREQUENCY) * KMS), data, atol=1e-5)


def test_spectral_equivalency() -> None:
    wavelength = np.linspace(400.0, 700.0, 41)
    values = gaussian(wavelength, 2.0, 550.0, 40.0)
    coords = {"f": ("f", 299792.458 / wavelength, {"units": "THz"})}
    data = xr.DataArray(values, dims="f", coords=coords, attrs={"units": "K"})
    result = data.modelfit(Gaussian1D(2 * K, 5400 * u.AA, 42 * u.nm), dim="f", equivalencies={"f": u.spectral()})
    np.testing.assert_allclose([result[n] for n in NAMES], [2.0, 5500.0, 40.0], rtol=1e-6)
    np.testing.assert_allclose(result.modelfit.evaluate(f=wavelength * u.nm), data, atol=1e-6)
    with pytest.raises(ValueError, match="equivalencies"):
        data.modelfit(Gaussian1D(2 * K, 5400 * u.AA, 42 * u.nm), dim="f")


def test_temperature_equivalency_is_there_without_being_asked_for() -> None:
    data = over_temperature()
    model = Gaussian1D(1.9 * u.Pa, 284 * K, 4.2 * K)
    plain = data.modelfit(model, dim="T")
    for told in ({"T": u.temperature()}, {"x": u.temperature()}):
        xr.testing.assert_allclose(data.modelfit(model, dim="T", equivalencies=told), plain)


def test_an_equivalency_for_one_of_two_coordinates_in_the_same_unit() -> None:
    """The other one stays what it is: its parameters in another kind of unit are refused, in its own they are right."""
    f = np.linspace(300.0, 600.0, 15)
    x, y = np.meshgrid(f, f, indexing="ij")
    values = np.exp(-0.5 * ((299792.458 / x - 700) / 100) ** 2 - 0.5 * ((y - 450) / 50) ** 2)
    coords = {n: (n, f, {"units": "THz"}) for n in ("x", "y")}
    data = xr.DataArray(values, dims=("x", "y"), coords=coords, attrs={"units": "K"})

    def model(unit: Any, place: float, width: float, *, converted_first: bool = True) -> Model:
        def function(x, y, a=1 * K, b=690 * u.nm, s=95 * u.nm, c=place * unit, t=width * unit):
            return a * np.exp(-0.5 * ((x - b) / s) ** 2 - 0.5 * ((y - c) / t) ** 2)

        def turned(x, y, c=place * unit, t=width * unit, a=1 * K, b=690 * u.nm, s=95 * u.nm):
            return function(x, y, a, b, s, c, t)

        return custom_model(function if converted_first else turned)()

    told = {"x": u.spectral()}
    for first in (True, False):
        with pytest.raises(ValueError, match="THz"):
            data.modelfit(model(u.nm, 700, 90, converted_first=first), dim=("x", "y"), equivalencies=told)
        result = data.modelfit(model(u.THz, 455, 47, converted_first=first), dim=("x", "y"), equivalencies=told)
        got = [quantity(result[n]).to_value(unit) for n, unit in zip("bsct", (u.nm, u.nm, u.THz, u.THz), strict=True)]
        np.testing.assert_allclose(got, [700, 100, 450, 50], rtol=NOISE_FREE)
        np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-5)


def test_equivalencies_without_a_name_are_asked_for_again() -> None:
    """The record cannot keep functions, and says so; given again they serve."""
    _, velocity = EQUIVALENCIES["radio"]
    data = over_frequency(velocity)
    for unnamed in (
        list(u.doppler_radio(REST)),
        [(u.GHz, KMS, velocity, lambda v: REST.value * (1 - v / C))],
    ):
        result = data.modelfit(Gaussian1D(2 * K, 6.2 * KMS, 1.4 * KMS), dim="f", equivalencies={"f": unnamed})
        np.testing.assert_allclose(result["mean"], 6.0, rtol=1e-6)
        with pytest.raises(ValueError, match="equivalencies="):
            result.modelfit.evaluate(data)
        evaluated = result.modelfit.evaluate(data, equivalencies={"f": unnamed})
        np.testing.assert_allclose(evaluated, data, atol=1e-5)


@pytest.mark.slow
def test_a_new_process_knows_named_equivalencies(tmp_path: Path) -> None:
    """And all units, from the file alone."""
    equivalencies, velocity = EQUIVALENCIES["relativistic"]
    data = over_frequency(velocity)
    model = Gaussian1D(2 * K, 6200 * MS, 1.4 * KMS)
    data.modelfit(model, dim="f", equivalencies={"f": equivalencies}).to_netcdf(tmp_path / "fit.nc")
    data.to_netcdf(tmp_path / "data.nc")
    code = (
        "import sys, numpy as np, xarray as xr, xr_modelfit\n"
        "from astropy import units as u\n"
        "fit, data = (xr.load_dataset(sys.argv[i]) for i in (1, 2))\n"
        "data = data[list(data.data_vars)[0]]\n"
        "assert fit.modelfit.to_model().mean.unit == u.m / u.s\n"
        "for at in (data['f'], (data['f'] * 1e9).assign_attrs(units='Hz')):\n"
        "    values = fit.modelfit.evaluate(f=at)\n"
        "    assert values.attrs['units'] == 'K'\n"
        "    np.testing.assert_allclose(values, data, atol=1e-5)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fit.nc"), str(tmp_path / "data.nc")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
