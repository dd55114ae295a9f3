"""Inputs are called like the arguments of the function: never x for y."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Fittable1DModel, Parameter, custom_model, fix_inputs
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D, Mapping, Polynomial2D, Scale

from xr_modelfit import BatchLSQFitter, fit
from xr_modelfit.models.input_names import input_names, keyed_by_input

X, Y = np.arange(6.0), 10 * np.arange(1.0, 5.0)


def slopes(y, x, a=1.0, b=1.0):
    """A plane, its arguments the other way round than those of astropy's."""
    return a * x + b * y


def plane_of(first: str = "y", second: str = "x") -> xr.DataArray:
    """2 per ``x`` and 3 per ``y``, whatever the dims are called."""
    values = 2 * X + 3 * Y[:, None]
    return xr.DataArray(values, dims=(first, second), coords={first: Y, second: X})


def check(result: xr.Dataset) -> None:
    """The numbers are exact, the fit is linear: rounding alone."""
    np.testing.assert_allclose([result["a"], result["b"]], [2.0, 3.0], rtol=1e-12)


def inputs_of(result: xr.Dataset) -> list[tuple[str, str]]:
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    return [(one["name"], one["coordinate"]) for one in record["inputs"]]


MADE = {"function": slopes, "custom_model": custom_model(slopes)()}
made = pytest.mark.parametrize("model", MADE.values(), ids=MADE)
engines = pytest.mark.parametrize("engine", ["numpy", "numba"])


# --- which input reads what


@made
@engines
def test_inputs_that_are_called_like_dims_read_them(model: Any, engine: str) -> None:
    """``f(y, x)`` over dims y and x, in any order: y reads y. astropy's names would swap them."""
    fitter = BatchLSQFitter(engine=engine)
    for data in (plane_of(), plane_of().T):
        for dim in (("y", "x"), ("x", "y"), ...):
            result = data.modelfit(model, dim, fitter=fitter)
            check(result)
            assert inputs_of(result) == [("y", "y"), ("x", "x")]


@made
def test_keys_of_coords_are_arguments(model: Any) -> None:
    """Also where astropy has the same names the other way round."""
    data = plane_of("lat", "lon")
    result = data.modelfit(model, coords={"x": "lon", "y": "lat"})
    check(result)
    assert inputs_of(result) == [("y", "lat"), ("x", "lon")]
    check(data.modelfit(model, coords={"y": "lat", "x": "lon"}))


def test_arguments_called_like_coordinates() -> None:
    """``f(lat, lon)`` over dims lat and lon, or over j and i with coordinates lat and lon."""

    def plane(lat, lon, a=1.0, b=1.0):
        return a * lon + b * lat

    for model in (plane, custom_model(plane)()):
        check(plane_of("lat", "lon").modelfit(model, ("lat", "lon")))
        curved = plane_of("j", "i")
        curved = curved.assign_coords(lat=curved["j"] + 0 * curved["i"], lon=curved["i"] + 0 * curved["j"])
        check(curved.modelfit(model, ("j", "i")))


def line(wave, width, a=1.0, c=4.8):
    return a * np.exp(-((wave - c) ** 2) / 2 / width**2)


@pytest.mark.parametrize("model", [line, custom_model(line)()], ids=["function", "custom_model"])
@pytest.mark.parametrize("keys", [("wave", "width"), ("x", "y"), ("x", "width")])
def test_a_map_for_an_input(model: Any, keys: tuple[str, str]) -> None:
    """Lines whose widths differ, known from elsewhere; astropy's names of inputs serve as well."""
    wave = xr.DataArray(np.linspace(0, 10, 50), dims="wave")
    width = xr.DataArray([1.0, 2.0, 3.0], dims="p", name="lsf")
    data = (2 * np.exp(-((wave - 5) ** 2) / 2 / width**2)).transpose("p", "wave").assign_coords(wave=wave.values)
    result = data.modelfit(model, "wave", coords=dict(zip(keys, ("wave", width), strict=True)))
    np.testing.assert_allclose(result["a"], 2, rtol=1e-8)  # no noise
    np.testing.assert_allclose(result["c"], 5, rtol=1e-8)
    assert inputs_of(result) == [("wave", "wave"), ("width", "lsf")]
    if keys == ("wave", "width"):  # wave is found by its name
        xr.testing.assert_identical(
            data.modelfit(model, "wave", coords={"width": width}).drop_attrs(), result.drop_attrs()
        )


def test_one_input_reads_the_one_dim_whatever_it_is_called() -> None:
    data = xr.DataArray(2 * X + 1, dims="time", coords={"time": X})
    for model in (lambda t, a=1.0, b=1.0: a * t + b, custom_model(lambda t, a=1.0, b=1.0: a * t + b)()):
        for coords in (None, "time", {"t": "time"}, {"x": "time"}):
            result = data.modelfit(model, "time", coords=coords)
            np.testing.assert_allclose([result["a"], result["b"]], [2, 1], rtol=1e-12)
            assert inputs_of(result) == [("t", "time")]


# --- nothing is guessed


def test_astropys_names_find_no_dims_of_a_function() -> None:
    """``f(row, col)`` over dims y and x: astropy's x would be the row."""

    def plane(row, col, a=1.0, b=1.0):
        return a * col + b * row

    with pytest.raises(ValueError, match=r"'row'.*coords=\{'row': \.\.\."):
        plane_of().modelfit(custom_model(plane)(), ("y", "x"))
    with pytest.raises(ValueError, match=r"'row', 'col'|'col'"):
        plane_of().modelfit(plane, ("y", "x"))
    check(plane_of().modelfit(plane, coords={"row": "y", "col": "x"}))


def test_a_name_of_astropy_that_is_another_argument() -> None:
    """``f(y, z)``: with "y" an argument, "x" does not stand for it."""
    model = custom_model(lambda y, z, a=1.0, b=1.0: a * z + b * y)()
    data = plane_of("lat", "lon")
    with pytest.raises(ValueError, match=r"the key 'x', but the model's inputs are 'y', 'z'"):
        data.modelfit(model, coords={"x": "lat", "y": "lon"})
    check(data.modelfit(model, coords={"y": "lat", "z": "lon"}))


def test_an_input_by_both_its_names() -> None:
    with pytest.raises(ValueError, match=r"the key 'x', but the model's inputs are 'wave', 'width'"):
        plane_of().modelfit(line, coords={"wave": "x", "x": "y"})


def test_a_name_that_is_no_input() -> None:
    with pytest.raises(ValueError, match=r"'lsf', but the model's inputs are 'wave', 'width'"):
        plane_of().modelfit(line, ("y", "x"), coords={"lsf": "x"})
    with pytest.raises(ValueError, match=r"2 inputs.*coords=\{'wave': \.\.\., 'width': \.\.\.\}"):
        plane_of().modelfit(line, ("y", "x"), coords="x")


# --- whose names they are


class Own(Fittable1DModel):
    """A class of the user's own: astropy's names, as its documentation says."""

    a = Parameter(default=1.0)

    @staticmethod
    def evaluate(wave, a):
        return a * wave


Line, Plane = custom_model(line), custom_model(slopes)
Simple = custom_model(lambda t, a=1.0: a * t)
Three = custom_model(lambda u, v, w, a=1.0: a * u * v * w)


class Derived(Line):
    """Evaluates as its base does."""


class Overridden(Line):
    """Does not."""

    @staticmethod
    def evaluate(first, second, a, c):
        return a * first * second + c


def renamed() -> Any:
    model = Line()
    model.inputs = ("lam", "fwhm")
    return model


def renamed_sum() -> Any:
    model = Line() + Line()
    model.inputs = ("lam", "fwhm")
    return model


NAMES = {
    "custom_model": (Line(), "wave width"),
    "one input": (Simple(), "t"),
    "three inputs": (Three(), "u v w"),
    "a class that inherits": (Derived(), "wave width"),
    "a class that evaluates itself": (Overridden(), "x y"),
    "a class of the user's own": (Own(), "x"),
    "astropy": (Gaussian2D(), "x y"),
    "astropy, one": (Gaussian1D(), "x"),
    "named by the user": (renamed(), "lam fwhm"),
    "sum": (Line() + Plane(), "wave width"),
    "sum, other way": (Plane() + Line(), "y x"),
    "product with astropy": (Simple() * Const1D(), "t"),
    "astropy times it": (Const1D() * Simple(), "x"),
    "power": (Simple() ** Const1D(), "t"),
    "quotient": (Simple() / Const1D(), "t"),
    "pipe": (Line() | Scale(1.0), "wave width"),
    "pipe of a pipe": (Scale(1.0) | Simple() | Scale(2.0), "x"),
    "side by side": (Line() & Simple(), "wave width t"),
    "side by side, alike": (Simple() & Simple(), "x0 x1"),
    "side by side with astropy": (Simple() & Gaussian1D(), "t x"),
    "side by side with two of astropy's": (Simple() & Gaussian2D(), "t x y"),
    "held": (fix_inputs(Three(), {"x1": 2.0}), "u w"),
    "held by number": (fix_inputs(Three(), {0: 2.0}), "v w"),
    "held in a sum": (fix_inputs(Line() + Plane(), {"y": 2.0}), "wave"),
    "sum named by the user": (renamed_sum(), "lam fwhm"),
    "sum of one named by the user": (renamed() + Line(), "lam fwhm"),
    "mapped": (Mapping((1, 0)) | Line(), "x0 x1"),
}


@pytest.mark.parametrize("what", NAMES)
def test_names(what: str) -> None:
    """As astropy combines its own names; those of the user stay."""
    model, names = NAMES[what]
    assert input_names(model) == tuple(names.split())
    assert len(input_names(model)) == model.n_inputs


def test_keys_stay_where_they_are_no_mapping() -> None:
    assert keyed_by_input("wave", Line()) == "wave"
    assert keyed_by_input(None, Line()) is None
    assert keyed_by_input({"x": 1, "width": 2}, Line()) == {"wave": 1, "width": 2}
    assert keyed_by_input({"x": 1}, Line(), ["x"]) == {"x": 1}


def test_compounds_fit_by_name() -> None:
    """A sum, a pipe, one side held, each against its closed form."""
    data = plane_of("lat", "lon")
    total = Plane(a=1.0, b=1.0) + custom_model(lambda u, v, c=1.0: c + 0 * u)()
    result = (data + 5).modelfit(total, coords={"y": "lat", "x": "lon"})
    np.testing.assert_allclose([result[n] for n in ("a_0", "b_0", "c_1")], [2, 3, 5], rtol=1e-10)
    twice = Plane() | Scale(2.0)
    twice.factor_1.fixed = True
    result = data.modelfit(twice, coords={"x": "lon", "y": "lat"})
    np.testing.assert_allclose([result["a_0"], result["b_0"]], [1, 1.5], rtol=1e-10)
    held = fix_inputs(Plane(b=3.0, fixed={"b": True}), {"x": 20.0})  # astropy's name of the argument y
    result = data.sel(lat=20.0).modelfit(held, "lon")
    np.testing.assert_allclose(result["a_0"] if "a_0" in result else result["a"], 2, rtol=1e-10)
    assert inputs_of(result) == [("x", "lon")]


def test_astropys_own_keep_theirs() -> None:
    data = plane_of()
    result = data.modelfit(Polynomial2D(1), ("y", "x"))
    np.testing.assert_allclose([result["c1_0"], result["c0_1"]], [2, 3], rtol=1e-10)
    assert inputs_of(result) == [("x", "x"), ("y", "y")]


# --- afterwards


def test_a_result_is_asked_by_both_names() -> None:
    """By the name of the coordinate and by that of the input."""
    result = plane_of("lat", "lon").modelfit(slopes, coords={"y": "lat", "x": "lon"})
    right = 2 * 4.0 + 3 * 7.0
    for names in (("lat", "lon"), ("y", "x"), ("lat", "x")):
        found = result.modelfit.evaluate(**dict(zip(names, (7.0, 4.0), strict=True)))
        assert found.item() == pytest.approx(right, rel=1e-12)
    xr.testing.assert_allclose(result.modelfit.evaluate(plane_of("lat", "lon")), plane_of("lat", "lon"), rtol=1e-12)


def test_names_that_cross() -> None:
    """An input that is called like the coordinate of another: the coordinate is meant, and a mixture is refused."""
    data = plane_of("x", "y")  # the coordinate x is what slopes calls y
    result = data.modelfit(slopes, coords={"y": "x", "x": "y"})
    check(result)
    assert result.modelfit.evaluate(x=7.0, y=4.0).item() == pytest.approx(2 * 4.0 + 3 * 7.0, rel=1e-12)
    chain = plane_of("b", "c").modelfit(lambda a, b, p=1.0, q=1.0: p * b + q * a, coords={"a": "b", "b": "c"})
    assert chain.modelfit.evaluate(b=7.0, c=4.0).item() == pytest.approx(2 * 4.0 + 3 * 7.0, rel=1e-12)
    with pytest.raises(ValueError, match=r"'a' is given, but no input reads it.*b=\.\.\., c=\.\.\."):
        chain.modelfit.evaluate(a=7.0, b=4.0)


def test_equivalencies_by_input() -> None:
    """Under the argument's name, that of the coordinate, and astropy's."""
    rest = 110.2 * u.GHz
    speed = np.linspace(-5, 5, 60)
    frequency = (speed * u.km / u.s).to_value(u.GHz, equivalencies=u.doppler_radio(rest))
    data = xr.DataArray(
        3 * np.exp(-((speed - 1) ** 2) / 2), dims="freq", coords={"freq": ("freq", frequency, {"units": "GHz"})}
    )
    profile = custom_model(
        lambda v, a=2.0, c=0.5 * u.km / u.s, s=1.5 * u.km / u.s: a * np.exp(-((v - c) ** 2) / 2 / s**2)
    )
    for key in ("v", "freq", "x"):
        result = data.assign_attrs(units="1").modelfit(profile(), "freq", equivalencies={key: u.doppler_radio(rest)})
        np.testing.assert_allclose([result["a"], result["c"], result["s"]], [3, 1, 1], rtol=1e-6)  # frequencies round


def test_input_units_of_a_part_of_astropys() -> None:
    """What astropy says of an input, it says under its own name for it."""
    wave = np.linspace(1.0, 3.0, 40)
    data = xr.DataArray(2 * wave + 1, dims="w", coords={"w": ("w", wave, {"units": "um"})}, attrs={"units": "mJy"})
    flat = custom_model(
        lambda lam, c=0.5 * u.mJy: c + 0 * lam.value * u.mJy if isinstance(lam, u.Quantity) else c + 0 * lam
    )
    result = data.modelfit(flat() + Linear1D(1000 * u.mJy / u.mm, 0 * u.mJy, fixed={"intercept": True}), "w")
    np.testing.assert_allclose(result["c_0"], 1, rtol=1e-8)
    np.testing.assert_allclose(result["slope_1"], 2000, rtol=1e-8)


def test_diagnostics_get_inputs_in_order(tmp_path: Any) -> None:
    """As the function takes them, whatever they are called."""
    seen = []
    plane_of().modelfit(
        slopes,
        ("y", "x"),
        diagnostics="all",
        diagnostics_path=tmp_path,
        diagnostics_callable=lambda path, world, *rest: seen.append(world),
    )
    np.testing.assert_array_equal(seen[0][0], np.broadcast_to(Y[:, None], (4, 6)))
    np.testing.assert_array_equal(seen[0][1], np.broadcast_to(X, (4, 6)))


def test_fit_as_a_function_too() -> None:
    check(fit(plane_of(), slopes, ("y", "x")))
