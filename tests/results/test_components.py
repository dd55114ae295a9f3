"""Parts of compound models and residuals, against astropy's own evaluation of each part."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, fix_inputs, models

from xr_modelfit import tutorial

X = np.linspace(-5.0, 5.0, 41)


def truth(model: Model, shape: tuple[int, ...] = (2, 3), noise: float = 0.01, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    y = model(X) + rng.normal(0.0, noise, (*shape, X.size))
    return xr.DataArray(y, dims=("p", "q", "x"), coords={"x": X, "q": list("abc")}, name="signal")


A, B, C = models.Gaussian1D(2.0, 0.5, 0.8, name="halpha"), models.Gaussian1D(1.0, -2.0, 0.5), models.Const1D(0.3)
LINE = models.Linear1D(0.1, 1.0)
FIXED_LINE = models.Linear1D(0.1, 1.0, fixed={"slope": True, "intercept": True})
SHIFT = models.Shift(0.2, fixed={"offset": True})

# Model, and its parts: name, the astropy model and the parameters of the whole that it takes.
SUMS: dict[str, tuple[Model, dict[str, tuple[Model, list[str], int]]]] = {
    "a sum": (
        A + B + C,
        {
            "halpha": (A, ["halpha_amplitude", "halpha_mean", "halpha_stddev"], 1),
            "Gaussian1D_1": (B, ["amplitude_1", "mean_1", "stddev_1"], 1),
            "Const1D_2": (C, ["amplitude_2"], 1),
        },
    ),
    "a difference": (
        LINE - (A - B),
        {
            "Linear1D_0": (LINE, ["slope_0", "intercept_0"], 1),
            "halpha": (A, ["halpha_amplitude", "halpha_mean", "halpha_stddev"], -1),
            "Gaussian1D_2": (B, ["amplitude_2", "mean_2", "stddev_2"], 1),
        },
    ),
    "a sum of products": (
        A * FIXED_LINE + C,
        {
            "halpha_Linear1D_1": (
                A * LINE,
                ["halpha_amplitude", "halpha_mean", "halpha_stddev", "slope_1", "intercept_1"],
                1,
            ),
            "Const1D_2": (C, ["amplitude_2"], 1),
        },
    ),
    "a shift before a sum": (
        SHIFT | (A + C),
        {
            "halpha": (SHIFT | A, ["offset_0", "halpha_amplitude", "halpha_mean", "halpha_stddev"], 1),
            "Const1D_2": (SHIFT | C, ["offset_0", "amplitude_2"], 1),
        },
    ),
}
PRODUCTS = {
    "a product": (A * FIXED_LINE, {"halpha": 3, "Linear1D_1": 2}, np.multiply),
    "a quotient": (A / models.Const1D(2.0, fixed={"amplitude": True}), {"halpha": 3, "Const1D_1": 1}, np.divide),
}


@pytest.mark.parametrize("way", ["computed", "lazy", "by name"])
@pytest.mark.parametrize("name", SUMS)
def test_terms_are_those_of_astropy(name: str, way: str) -> None:
    model, expected = SUMS[name]
    data = truth(model)
    fit = data.modelfit(model, dim="x")
    if way == "lazy":
        fit = fit.chunk(p=1)
    parts = fit.modelfit.components(x=X) if way == "by name" else fit.modelfit.components(data)
    assert list(parts) == list(expected)
    for key, (part, parameters, sign) in expected.items():
        assert (parts[key].chunks is not None) == (way == "lazy")
        for at in np.ndindex(2, 3):
            here = part.copy()
            here.parameters = [fit[n].values[at] for n in parameters]
            # the same formula on the same numbers, in another order of sums at the most
            np.testing.assert_allclose(parts[key].values[at], sign * here(X), rtol=1e-12, atol=1e-14)
    whole = fit.modelfit.evaluate(data)
    xr.testing.assert_allclose(sum(parts.values()).drop_attrs(), whole.drop_attrs().rename(None), rtol=1e-12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_multiply_to_the_model(name: str) -> None:
    model, expected, together = PRODUCTS[name]
    data = truth(model)
    fit = data.modelfit(model, dim="x")
    assert fit.modelfit.ok.all()
    parts = fit.modelfit.components(data)
    assert list(parts) == list(expected)
    left, right = parts.values()
    xr.testing.assert_allclose(
        together(left.drop_attrs(), right.drop_attrs()).rename(None),
        fit.modelfit.evaluate(data).drop_attrs().rename(None),
        rtol=1e-12,
    )
    assert all("units" not in part.attrs for part in parts.values())


def test_a_simple_model_is_its_own_part() -> None:
    data = truth(B)
    fit = data.modelfit(B, dim="x")
    parts = fit.modelfit.components(data)
    assert list(parts) == ["Gaussian1D"]
    xr.testing.assert_equal(parts["Gaussian1D"].rename(None), fit.modelfit.evaluate(data).rename(None))


def test_two_parts_of_one_name() -> None:
    model = models.Gaussian1D(2.0, 0.5, 0.8, name="line") + models.Gaussian1D(1.0, -2.0, 0.5, name="line")
    data = truth(model)
    assert list(data.modelfit(model, dim="x").modelfit.components(data)) == ["Gaussian1D_0", "Gaussian1D_1"]


def test_fixed_inputs_belong_to_each_term() -> None:
    plane = models.Polynomial2D(1, c0_0=1.0, c1_0=0.2, c0_1=0.5, fixed={"c0_1": True})
    both = models.Gaussian2D(2.0, 0.5, 1.0, 0.8, 1.0, fixed={"y_mean": True, "y_stddev": True, "theta": True}) + plane
    model = fix_inputs(both, {"y": 1.0})
    data = truth(model)
    fit = data.modelfit(model, dim="x")
    assert fit.modelfit.ok.all()
    parts = fit.modelfit.components(data)
    assert list(parts) == ["Gaussian2D_0", "Polynomial2D_1"]
    expected = models.Polynomial2D(1, c0_0=fit["c0_0_1"][0, 0].item(), c1_0=fit["c1_0_1"][0, 0].item(), c0_1=0.5)
    np.testing.assert_allclose(parts["Polynomial2D_1"].values[0, 0], expected(X, np.ones_like(X)), rtol=1e-12)
    xr.testing.assert_allclose(
        sum(parts.values()).drop_attrs(), fit.modelfit.evaluate(data).drop_attrs().rename(None), rtol=1e-12
    )


def test_units_and_names_of_parts() -> None:
    cube = tutorial.line_cube(shape=(2, 3))
    model = models.Gaussian1D(1, 4000, 500, name="line") + models.Const1D(0)
    fit = cube.to_dataset(name="t").modelfit(model, dim="velocity", errors="ignore")
    parts = fit.modelfit.components(cube)
    assert list(parts) == ["t_line", "t_Const1D_1"]
    assert {p.attrs["units"] for p in parts.values()} == {"K"}
    assert parts["t_line"].dims == cube.dims
    assert "Gaussian1D" in parts["t_line"].attrs["long_name"]


def test_failed_fits_have_no_parts() -> None:
    """Nor has a part without parameters of its own."""
    model = models.Gaussian1D(2.0, 0.5, 0.8) + models.Const1D(0.3)
    data = truth(model)
    data[0, 1] = np.nan
    parts = data.modelfit(model, dim="x").modelfit.components(data)
    assert all(np.isnan(p.values[0, 1]).all() and np.isfinite(p.values[0, 0]).all() for p in parts.values())


# --- residuals


def test_residuals_give_chi_square() -> None:
    """``sum((r / sigma)^2)`` is what the fit says."""
    data = truth(A + C)
    fit = data.modelfit(A + C, dim="x", sigma=0.01)
    left = fit.modelfit.residuals(data)
    assert left.name == "signal_residual"
    assert left.dims == data.dims
    np.testing.assert_allclose(((left / 0.01) ** 2).sum("x"), fit["chi2"], rtol=1e-12)
    expected = data - fit.modelfit.evaluate(data)
    xr.testing.assert_equal(left.rename(None), expected.rename(None))


@pytest.mark.parametrize(("unit", "factor"), [("mK", 1e3), ("kK", 1e-3), ("K", 1.0)])
def test_residuals_are_in_the_unit_of_the_data_that_is_given(unit: str, factor: float) -> None:
    data = truth(A + C).assign_attrs(units="K", long_name="brightness")
    fit = data.modelfit(A + C, dim="x")
    given = (data * factor).assign_attrs(units=unit)
    left = fit.modelfit.residuals(given)
    assert left.attrs["units"] == unit
    np.testing.assert_allclose(left, factor * fit.modelfit.residuals(data), atol=1e-12 * factor)


def test_residuals_of_a_part_in_another_order() -> None:
    data = truth(A + C)
    fit = data.modelfit(A + C, dim="x")
    part = data.isel(x=slice(3, 20)).sel(q=["c", "a"]).transpose("x", "q", "p")
    left = fit.modelfit.residuals(part)
    assert left.dims == part.dims
    whole = fit.modelfit.residuals(data)
    xr.testing.assert_equal(left, whole.isel(x=slice(3, 20)).sel(q=["c", "a"]).transpose("x", "q", "p"))


def test_residuals_of_one_of_several_variables_and_of_lazy_data() -> None:
    data = truth(A + C)
    ds = xr.Dataset({"a": data, "b": 2 * data})
    fit = ds.modelfit(A + C, dim="x")
    left = fit.modelfit.residuals(ds, data="b")
    assert left.name == "b_residual"
    np.testing.assert_allclose(left, 2 * fit.modelfit.residuals(ds, data="a"), atol=1e-9)
    lazy = fit.modelfit.residuals(ds.chunk(q=1), data="b")
    assert lazy.chunks is not None
    xr.testing.assert_equal(lazy.compute(), left)


def test_residuals_of_an_image_pooled_over_a_dim() -> None:
    """A dim that no input reads: the model is the same along it."""
    data = truth(LINE)
    fit = data.modelfit(LINE, dim=("x", "q"), coords="x")
    left = fit.modelfit.residuals(data)
    assert left.dims == data.dims
    np.testing.assert_allclose((left**2).sum(("x", "q")), fit["chi2"], rtol=1e-10)


def test_quantities_wrapped_in_arrays() -> None:
    data = truth(C + LINE).assign_attrs(units="K")
    fit = data.modelfit(models.Const1D(1 * u.K), dim="x", coords="x")
    assert fit.modelfit.residuals(data).attrs["units"] == "K"


WRONG: dict[str, tuple[Any, type[Exception], tuple[str, ...]]] = {
    "no data": (lambda f, d: f.modelfit.residuals(None), TypeError, ("residuals", "'signal'")),
    "a Dataset without it": (
        lambda f, d: f.modelfit.residuals(xr.Dataset({"other": d})),
        TypeError,
        ("residuals", "'signal'"),
    ),
    "another unit": (
        lambda f, d: f.modelfit.residuals(d.assign_attrs(units="m")),
        ValueError,
        ("'m'", "'K'", "attrs['units']"),
    ),
    "no coordinate": (lambda f, d: f.modelfit.components(), ValueError, ("'x'", "x=values")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, error, words = WRONG[name]
    data = truth(A + C).assign_attrs(units="K")
    fit = data.modelfit(A + C, dim="x")
    with pytest.raises(error) as caught:
        call(fit, data)
    for word in words:
        assert word in str(caught.value)
