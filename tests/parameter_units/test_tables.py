"""Lookup tables with units: the numbers are those of the same table without, in the units of data and coordinates."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.models import (
    Const1D,
    Gaussian1D,
    Identity,
    Mapping,
    RedshiftScaleFactor,
    Scale,
    Shift,
    Tabular1D,
    Tabular2D,
    tabular_model,
)
from scipy.optimize import least_squares

from xr_modelfit import BatchLSQFitter, RecordError, fit

pytestmark = pytest.mark.quick_share(3)

W = np.arange(4000.0, 7000.0, 20.0)  # Angstrom
F = 1 + 0.3 * np.sin(W / 90)  # mJy
X = np.linspace(4705, 6503, 120)
SAMPLED = np.interp(X, W, F)
LINE = np.exp(-((X - 5500) ** 2) / 2 / 50**2)


def table(points: Any = u.AA, values: Any = u.mJy, **options: Any) -> Model:
    at = W if points is None else (W * u.AA).to(points)
    return Tabular1D(points=at, lookup_table=F if values is None else (F * u.mJy).to(values), **options)


def data(values: np.ndarray, x: Any = u.AA, y: Any = u.mJy) -> xr.DataArray:
    """Values in mJy at `X`, labelled in other units."""
    at = X if x is None else (X * u.AA).to_value(x)
    values = values if y is None else (values * u.mJy).to_value(y)
    labels = [{} if unit is None else {"units": unit.to_string()} for unit in (x, y)]
    return xr.DataArray(values, dims="w", coords={"w": ("w", at, labels[0])}, attrs=labels[1], name="flux")


def seen(result: xr.Dataset, *names: str) -> list[tuple[float, str]]:
    assert result["fit_status"] > 0
    return [(float(result[name]), result[name].attrs.get("units", "")) for name in names]


def check(result: xr.Dataset, **right: tuple[float, str]) -> None:
    """Without noise the answer is exact: to rounding, and where the fit is nonlinear to its last step."""
    for (name, (value, unit)), (got, got_unit) in zip(right.items(), seen(result, *right), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-8, err_msg=name)
        assert got_unit == unit, name


# --- one table, times a factor


@pytest.mark.parametrize("y", [u.mJy, u.Jy], ids=str)
@pytest.mark.parametrize("x", [u.AA, u.nm, u.um], ids=str)
@pytest.mark.parametrize("values", [u.mJy, u.uJy, None], ids=str)
@pytest.mark.parametrize("points", [u.AA, u.nm, None], ids=str)
def test_a_factor(points: Any, values: Any, x: Any, y: Any) -> None:
    """Whatever the table has units on. Its plain numbers are in the units of the coordinate, or are pure numbers."""
    if points is None and values is None:
        pytest.skip("a table of plain numbers")
    model = table(points, values) if points is not None or x == u.AA else None
    if model is None:
        model = Tabular1D(points=(W * u.AA).to_value(x), lookup_table=(F * u.mJy).to(values))
    factor = (2.0, "1") if values is not None else (float((2 * u.mJy).to_value(y)), y.to_string())
    for compound, name in ((model | Scale(1.0), "factor_1"), (model * Const1D(1.0), "amplitude_1")):
        before = repr(compound)
        check(fit(data(2 * SAMPLED, x, y), compound, "w"), **{name: factor})
        assert repr(compound) == before


def test_a_factor_with_a_unit() -> None:
    """A table of pure numbers with points in a unit."""
    check(fit(data(2 * SAMPLED, u.nm), table(values=None) * Const1D(1 * u.Jy), "w"), amplitude_1=(2e-3, "Jy"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_engines_and_lazy_input(engine: str) -> None:
    """A table is not compiled; numpy serves, as it does without units."""
    several = xr.concat([data(SAMPLED), data(3 * SAMPLED)], "star", combine_attrs="override")
    model = table(u.nm, u.Jy) | Scale(1.0)
    fitter = BatchLSQFitter(engine=engine)
    for given in (several, several.chunk(star=1)):
        result = fit(given, model, "w", fitter=fitter)
        for scheduler in ("threads", "processes"):
            np.testing.assert_allclose(result.compute(scheduler=scheduler)["factor_1"], [1, 3], rtol=1e-12)


def test_with_noise_as_scipy_fits_the_plain_table() -> None:
    """Redshift and factor of a template, with errors: within 1e-4 of them, which least_squares has by differences."""
    noise = np.random.default_rng(4).normal(0, 0.02, X.size)
    y = 2 * np.interp(X * 1.01, W, F) + noise
    model = RedshiftScaleFactor(0.0098) | table(u.nm, u.Jy) | Scale(1.8)
    result = fit(data(y, u.um), model, "w", sigma=0.02)

    def residual(p: np.ndarray) -> np.ndarray:
        return (p[1] * np.interp(X * (1 + p[0]), W, F) - y) / 0.02

    right = least_squares(residual, [0.0098, 1.8], x_scale=[1e-4, 0.1], ftol=1e-15, xtol=1e-15, gtol=1e-15)
    errors = np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac)))
    for j, name in enumerate(("z_0", "factor_2")):
        assert abs(result[name] - right.x[j]) < 1e-2 * errors[j]  # a template has kinks, where either may stop
        np.testing.assert_allclose(result[f"{name}_stderr"], errors[j], rtol=1e-2)


# --- in expressions


WIDE = np.exp(-((X - 5500) ** 2) / 2 / 500**2)
PLACES = Tabular1D(points=W * u.AA, lookup_table=(W + 30) * u.AA, bounds_error=False)
SECOND = Tabular1D(points=(W * u.AA).to(u.um), lookup_table=W * u.uJy)
PERCENT = Tabular1D(points=W * u.AA, lookup_table=W / 100 * u.percent)
NAMED_LINE = {"mean_2": (0.55, "um"), "stddev_2": (50, "Angstrom")}
EXPRESSIONS: dict[str, tuple[Callable[[], Model], np.ndarray, dict[str, tuple[float, str]]]] = {
    "sum, with a unit": (lambda: (table() | Scale(1.0)) + Const1D(1 * u.uJy), 2 * SAMPLED + 3,
        {"factor_1": (2, "1"), "amplitude_2": (3000, "uJy")}),
    "sum, plain": (lambda: (table() | Scale(1.0)) + Const1D(1.0), 2 * SAMPLED + 3,
        {"factor_1": (2, "1"), "amplitude_2": (3, "mJy")}),
    "sum with a line": (lambda: (table() | Scale(1.0)) + Gaussian1D(1 * u.mJy, 0.551 * u.um, 40 * u.AA),
        2 * SAMPLED + 3 * LINE, {"factor_1": (2, "1"), "amplitude_2": (3, "mJy")} | NAMED_LINE),
    "sum with a plain line": (lambda: (table() | Scale(1.0)) + Gaussian1D(1, 551, 4), 2 * SAMPLED + 3 * LINE,
        {"factor_1": (2, "1"), "amplitude_2": (3, "mJy"), "mean_2": (550, "nm"), "stddev_2": (5, "nm")}),
    "difference": (lambda: Const1D(8 * u.mJy) - (table() | Scale(1.0)), 10 - 2 * SAMPLED,
        {"amplitude_0": (10, "mJy"), "factor_2": (2, "1")}),
    "two templates": (lambda: (table() | Scale(1.0)) + (SECOND | Scale(1.0)), 2 * SAMPLED + 3e-3 * X,
        {"factor_1": (2, "1"), "factor_3": (3, "1")}),
    "times a line": (lambda: table() * Gaussian1D(1, 548, 40), 3 * SAMPLED * WIDE,
        {"amplitude_1": (3, "1"), "mean_1": (550, "nm"), "stddev_1": (50, "nm")}),
    "throughput in percent": (lambda: table(values=None) * Const1D(1 * u.mJy) * PERCENT, 2 * SAMPLED * X / 1e4,
        {"amplitude_1": (2, "mJy")}),
    "shifted": (lambda: Shift(1.0) | table() | Scale(1.0), 2 * np.interp(X + 12, W, F),
        {"offset_0": (1.2, "nm"), "factor_2": (2, "1")}),
    "shifted by a unit": (lambda: Shift(11 * u.AA) | table() | Scale(1.0), 2 * np.interp(X + 12, W, F),
        {"offset_0": (12, "Angstrom"), "factor_2": (2, "1")}),
    "redshifted": (lambda: RedshiftScaleFactor(0.0195) | table() | Scale(1.0), 2 * np.interp(X * 1.02, W, F),
        {"z_0": (0.02, "1"), "factor_2": (2, "1")}),
    "by a table of places": (lambda: PLACES | table(bounds_error=False) | Scale(1.0), 2 * np.interp(X + 30, W, F),
        {"factor_2": (2, "1")}),
}  # fmt: skip


@pytest.mark.parametrize("what", EXPRESSIONS)
def test_expressions(what: str) -> None:
    """On a coordinate in nm, of which neither the tables nor most parameters know."""
    make, values, right = EXPRESSIONS[what]
    model = make()
    check(fit(data(values, u.nm), model, "w"), **right)
    twin = make()
    assert repr(model) == repr(twin)
    np.testing.assert_array_equal(model.parameters, twin.parameters)


def cube() -> tuple[xr.DataArray, np.ndarray]:
    """A surface in K over x in mm and y in um, three times a table in um."""
    x, y = np.linspace(0.1, 3.9, 9), np.linspace(0.2, 4.8, 7)
    values = 3 * bilinear(x[:, None], y)
    coords = {"x": ("x", x * 1e-3, {"units": "mm"}), "y": ("y", y, {"units": "um"})}
    return xr.DataArray(values, dims=("x", "y"), coords=coords, attrs={"units": "K"}), values


def bilinear(x: Any, y: Any) -> Any:
    return 5 + 2 * x + 3 * y + x * y  # which a table of its values gives back exactly


GRID = np.arange(5.0), np.arange(6.0)
SURFACE = bilinear(GRID[0][:, None], GRID[1])


@pytest.mark.parametrize(
    "model",
    [
        Tabular2D(points=tuple(g * u.um for g in GRID), lookup_table=SURFACE * u.K) | Scale(1.0),
        Tabular2D(points=tuple(g * u.um for g in GRID), lookup_table=SURFACE * 1e3 * u.mK) | Scale(1.0),
        Mapping((1, 0)) | Tabular2D(points=(GRID[1] * u.um, GRID[0] * u.um), lookup_table=SURFACE.T * u.K) | Scale(1.0),
        Identity(2) | tabular_model(2)(points=tuple(g * u.um for g in GRID), lookup_table=SURFACE * u.K) | Scale(1.0),
    ],
)  # fmt: skip
def test_two_dimensions(model: Model) -> None:
    """Each axis is brought to the unit of the coordinate that it reads."""
    names = {"x0": "x", "x1": "y"} if model.inputs[0] == "x0" else {"x": "x", "y": "y"}
    given, _ = cube()
    check(fit(given, model, ("x", "y"), coords=names), **{model.param_names[0]: (3.0, "1")})


def test_values_outside() -> None:
    """``fill_value`` is converted with the values."""
    y = 2 * np.where(X > 6000, 0.5, np.interp(X, W, F))
    short = Tabular1D(
        points=W[W <= 6000] * u.AA, lookup_table=F[W <= 6000] * u.mJy, bounds_error=False, fill_value=500 * u.uJy
    )
    check(fit(data(y, u.nm, u.Jy), short | Scale(1.0), "w"), factor_1=(2.0, "1"))


def test_a_coordinate_of_another_kind() -> None:
    """A frequency for a wavelength: by equivalencies, as for parameters."""
    frequency = (X * u.AA).to(u.THz, u.spectral())
    given = data(2 * SAMPLED).assign_coords(w=("w", frequency.value, {"units": "THz"}))
    for key in ("x", "w"):
        result = fit(given, table() | Scale(1.0), "w", equivalencies={key: u.spectral()})
        check(result, factor_1=(2.0, "1"))
    evaluated = result.modelfit.evaluate(given)
    np.testing.assert_allclose(evaluated, 2 * SAMPLED, rtol=1e-9)
    with pytest.raises(
        ValueError, match=r"points in 'Angstrom'.*the coordinate 'w' in 'THz'.*equivalencies=\{'x': \.\.\.\}"
    ):
        fit(given, table() | Scale(1.0), "w")


def test_data_and_coordinate_of_one_kind() -> None:
    """A table of wavelengths over wavelengths, the data in another unit than the coordinate: tried, not guessed."""
    given = data(2 * W[0] + 2 * X, u.nm, None).assign_attrs(units="Angstrom")
    model = Tabular1D(points=W * u.AA, lookup_table=((W + W[0]) * u.AA).to(u.um)) | Scale(1.0)
    check(fit(given, model, "w"), factor_1=(2.0, "1"))


def test_what_could_be_two_things_and_has_no_expression() -> None:
    """Values in the unit of the data or of the coordinate, behind a function that is no expression: not guessed."""

    def opaque(x: Any, factor: Any = 1.0) -> Any:
        return factor * x if np.all(np.asarray(x) > -1) else x

    given = data(2 * W[0] + 2 * X, u.nm, None).assign_attrs(units="Angstrom")
    model = Tabular1D(points=W * u.AA, lookup_table=((W + W[0]) * u.AA).to(u.um)) | custom_model(opaque)()
    with pytest.raises(ValueError, match=r"plain numbers to its tables"):
        fit(given, model, "w")


# --- afterwards


def one() -> tuple[xr.DataArray, Model, xr.Dataset]:
    given = data(2 * SAMPLED + 3, u.nm, u.Jy)
    model = (table() | Scale(1.0)) + Const1D(1 * u.mJy)
    return given, model, fit(given, model, "w", covariance=True)


def between(wavelength: Any) -> np.ndarray:
    return np.asarray((2 * np.interp(wavelength, W, F) + 3) / 1e3)  # Jy


def test_questions_to_a_result(tmp_path: Path) -> None:
    """Evaluated in the units of the data, after a file too, from the record and with the model given."""
    pytest.importorskip("netCDF4")
    given, model, result = one()
    result.to_netcdf(tmp_path / "fit.nc")
    back = xr.load_dataset(tmp_path / "fit.nc")
    xr.testing.assert_identical(back, result)
    for options in ({}, {"model": model}):
        ask = back.modelfit
        np.testing.assert_allclose(ask.evaluate(given, **options), given, rtol=1e-9)
        np.testing.assert_allclose(ask.evaluate(w=[550.0, 600.0], **options), between([5500, 6000]), rtol=1e-9)
        np.testing.assert_allclose(ask.evaluate(w=[5500.0] * u.AA, **options), between([5500]), rtol=1e-9)
        np.testing.assert_allclose(ask.residuals(given, **options), 0, atol=1e-12)
        np.testing.assert_allclose(sum(ask.components(given, **options).values()), given, rtol=1e-9)
        assert (ask.predict(given, **options)["flux_model_stderr"] < 1e-9).all()


def test_the_model_of_a_result() -> None:
    """Its table has the units that it had, and takes and gives Quantities."""
    _, model, result = one()
    for options in ({}, {"model": model}):
        again = result.modelfit.to_model(**options)
        full = again(X * u.AA)
        assert full.unit.is_equivalent(u.mJy)
        np.testing.assert_allclose(full.to_value(u.mJy), 2 * SAMPLED + 3, rtol=1e-9)
        leaf = again[0]
        assert (leaf.points[0].unit, leaf.lookup_table.unit) == (u.AA, u.mJy)
    assert model(X[0] * u.AA).to_value(u.mJy) == pytest.approx(SAMPLED[0] + 1)


def test_the_record_tells_both() -> None:
    """The table as it was, and what its numbers were in the fit."""
    _, _, result = one()
    leaf = json.loads(result["fit_status"].attrs["modelfit_record"])["model"]["left"]["left"]
    assert leaf["arguments"]["lookup_table"]["quantity"][1] == "mJy"
    assert leaf["inner"] == {"points": ["nm"], "values": "Jy"}


def test_a_damaged_record() -> None:
    _, _, result = one()
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    record["model"]["left"]["left"]["arguments"]["lookup_table"] = {"quantity": [1], "more": 2}
    result["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    with pytest.raises(RecordError, match="damaged"):
        result.modelfit.evaluate(w=[550.0])


def test_the_model_is_not_changed() -> None:
    leaf = table(bounds_error=False, fill_value=1 * u.Jy)
    model = leaf | Scale(1.0)
    before = copy.deepcopy(vars(leaf))
    fit(data(2 * SAMPLED, u.nm, u.Jy), model, "w").modelfit.to_model(model=model)
    assert model.left is leaf
    assert vars(leaf).keys() == before.keys()
    assert leaf.bounds_error is False
    assert leaf.fill_value == before["fill_value"]
    np.testing.assert_array_equal(leaf.points[0], before["points"][0])
    np.testing.assert_array_equal(leaf.lookup_table, before["lookup_table"])


# --- wrong calls


def wavelengths(unit: str) -> dict[str, Any]:
    return {"w": ("w", X, {"units": unit})}


WRONG = {
    "unlabelled coordinate": (table(), data(SAMPLED, None), r"in 'Angstrom'.*'w' has no units.*the unit of its.*plain"),
    "unlabelled data": (table(), data(SAMPLED, u.AA, None), r"values in 'mJy'.*data has no units\. Label.*units='mJy'"),
    "another coordinate": (table(), data(SAMPLED).assign_coords(wavelengths("s")), r"'w' in 's', which cannot be conv"),
    "other data": (table(), data(SAMPLED, u.AA, None).assign_attrs(units="K"), r"'mJy', which cannot be con.* to 'K'"),
    "an unknown coordinate": (table(), data(SAMPLED).assign_coords(wavelengths("steps")), r"'steps', which"),
    "data of an unknown unit": (table(), data(SAMPLED).assign_attrs(units="steps"), r"'steps', which is no unit"),
    "a unit that does not fit": (table() * Const1D(1 * u.K), data(SAMPLED), r"'amplitude_1'.*pure number"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_units(what: str) -> None:
    model, given, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        fit(given, model | Scale(1.0), "w")
