"""A fit that starts with a cusp, kink or jump of its model exactly on a sample, against scipy from the same start.

Everybody starts a galaxy at its brightest pixel, and there its profile has no derivative.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Model, Parameter, custom_model, models
from scipy.optimize import least_squares

import xr_modelfit
from support.problems import choose, derivatives, problem_of
from xr_modelfit.analysis.differences import derivative

X = np.arange(40.0)
SIDE = np.arange(25.0)
Y2, X2 = (a.ravel() for a in np.meshgrid(SIDE, SIDE, indexing="ij"))


class Laplace(Fittable1DModel):
    """A cusp whose own derivative is 0/0 there."""

    a, x0, h = Parameter(default=5.0), Parameter(default=20.0), Parameter(default=4.0)

    # Without annotations, in which astropy looks for units.
    evaluate = staticmethod(lambda x, a, x0, h: a * np.exp(-np.abs(x - x0) / h))

    @staticmethod
    def fit_deriv(x: Any, a: Any, x0: Any, h: Any) -> Any:
        r = np.abs(x - x0)
        e = np.exp(-r / h)
        return [e, a * e / h * (x - x0) / r, a * e * r / h**2]


class Root(Laplace):
    """A cusp with an infinite slope."""

    evaluate = staticmethod(lambda x, a, x0, h: a * np.exp(-np.sqrt(np.abs(x - x0) / h)))

    @staticmethod
    def fit_deriv(x: Any, a: Any, x0: Any, h: Any) -> Any:
        u = np.abs(x - x0) / h
        e = np.exp(-np.sqrt(u))
        return [e, a * e * 0.5 / np.sqrt(u) / h * np.sign(x - x0), a * e * 0.5 * np.sqrt(u) / h]


def custom(function: Callable[..., Any]) -> Model:
    return custom_model(function)()


# Started on samples; true values; scatter.
ONE: dict[str, tuple[Model, tuple[float, ...], float]] = {
    "cusp": (custom(lambda x, a=5.0, x0=20.0, h=4.0, c=1.0: a * np.exp(-abs(x - x0) / h) + c), (6, 21.3, 3, 1.2), 0.1),
    "cusp, complex": (
        custom(lambda x, a=5.0, x0=20.0, h=4.0, c=1.0: a * np.exp(-np.sqrt((x - x0) ** 2) / h) + c),
        (6, 21.3, 3, 1.2),
        0.1,
    ),
    "root": (custom(lambda x, a=5.0, x0=20.0, c=1.0: a * abs(x - x0) ** 0.5 + c), (6, 21.3, 1.2), 0.1),
    "fourth root": (custom(lambda x, a=5.0, x0=20.0, c=1.0: a * abs(x - x0) ** 0.25 + c), (6, 21.3, 1.2), 0.1),
    "fourth root, complex": (
        custom(lambda x, a=5.0, x0=20.0, c=1.0: a * ((x - x0) ** 2) ** 0.125 + c),
        (6, 21.3, 1.2),
        0.1,
    ),
    "steep profile, complex": (
        custom(lambda x, a=5.0, x0=20.0, h=4.0, c=1.0: a * np.exp(-((((x - x0) / h) ** 2) ** 0.125)) + c),
        (6, 21.3, 3, 1.2),
        0.02,
    ),
    "tent": (
        custom(lambda x, a=5.0, x0=20.0, w=8.0, c=1.0: a * np.maximum(1 - abs(x - x0) / w, 0) + c),
        (6, 21.3, 9.5, 1.2),
        0.1,
    ),
    "ramp": (custom(lambda x, a=5.0, x0=20.0, c=1.0: a * np.maximum(x - x0, 0) + c), (6, 21.3, 1.2), 0.1),
    "root of a ramp": (
        custom(lambda x, a=5.0, x0=20.0, c=1.0: a * np.sqrt(np.maximum(x - x0, 0)) + c),
        (6, 21.3, 1.2),
        0.1,
    ),
    "distance": (custom(lambda x, a=1.0, x0=20.0, c=1.0: a * abs(x - x0) + c), (2, 21.3, 1.2), 0.1),
    "own derivative 0/0": (Laplace(), (6, 21.3, 3), 0.1),
    "own derivative infinite": (Root(), (6, 21.3, 3), 0.1),
    "BrokenPowerLaw1D": (models.BrokenPowerLaw1D(5, 20, 1.0, 2.0), (6, 21.5, 0.5, 2.5), 0.02),
    "Trapezoid1D": (models.Trapezoid1D(5, 20, 8, 2.5), (6, 20.4, 9.3, 1.8), 0.1),
    "Lorentz1D": (models.Lorentz1D(5, 20, 4), (6, 21.3, 5), 0.1),
    "Moffat1D": (models.Moffat1D(5, 20, 4, 1.5), (6, 21.3, 5, 2), 0.1),
    "KingProjectedAnalytic1D": (models.KingProjectedAnalytic1D(5, 4, 20), (6, 5, 23.3), 0.01),
}
TWO: dict[str, tuple[Model, tuple[float, ...], float]] = {
    "Sersic2D n=1": (
        models.Sersic2D(5, 6, 1, 12, 12, 0.3, 0.2) + models.Const2D(1),
        (6, 5, 1.3, 12.6, 11.3, 0.4, 0.3, 1.2),
        0.1,
    ),
    "Sersic2D n=4": (
        models.Sersic2D(5, 6, 4, 12, 12, 0.3, 0.2) + models.Const2D(1),
        (6, 5, 3.5, 12.6, 11.3, 0.4, 0.3, 1.2),
        0.1,
    ),
    "AiryDisk2D": (models.AiryDisk2D(5, 12, 12, 6), (6, 12.6, 11.3, 5), 0.1),
    "Moffat2D": (models.Moffat2D(5, 12, 12, 3, 2) + models.Const2D(1), (6, 12.6, 11.3, 2.5, 2.2, 1.2), 0.1),
    "TrapezoidDisk2D": (models.TrapezoidDisk2D(5, 12, 12, 5, 1.0), (6, 12.6, 11.3, 4.3, 1.3), 0.1),
    "cone": (
        custom(
            lambda x, y, a=5.0, x0=12.0, y0=12.0, w=9.0, c=1.0: a * np.maximum(1 - np.hypot(x - x0, y - y0) / w, 0) + c
        ),
        (6, 12.6, 11.3, 8, 1.2),
        0.1,
    ),
    "de Vaucouleurs, complex": (
        custom(
            lambda x, y, a=50.0, x0=12.0, y0=12.0, w=9.0, c=1.0: (
                a * np.exp(-7.67 * (((x - x0) ** 2 + (y - y0) ** 2) / w**2) ** 0.125) + c
            )
        ),
        (60, 12.6, 11.3, 8, 1.2),
        0.1,
    ),
}


def best_of_scipy(model: Model, inputs: tuple[np.ndarray, ...], y: np.ndarray) -> float:
    """The least chi-square that scipy reaches from the model's start."""

    def residual(p: np.ndarray) -> np.ndarray:
        there = model.copy()
        there.parameters = p
        return np.ravel(there(*inputs) - y)

    found = [
        2 * least_squares(residual, model.parameters, jac=jac, x_scale="jac", xtol=1e-12, ftol=1e-12).cost
        for jac in ("2-point", "3-point")
    ]
    return float(min(found))


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("name", [*ONE, *TWO])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the models themselves, in scipy
def test_a_start_on_a_cusp_reaches_the_minimum_that_scipy_reaches(name: str) -> None:
    model, truth, scatter = (ONE | TWO)[name]
    true = model.copy()
    true.parameters = truth
    if name in ONE:
        x = X + 1.0 if name == "BrokenPowerLaw1D" else X  # a power law has no 0
        inputs, dims, coords = (x,), ("x",), {"x": x}
        pure = true(x)
    else:
        inputs, dims, coords = (X2, Y2), ("y", "x"), {"x": SIDE, "y": SIDE}
        pure = true(X2, Y2).reshape(25, 25)
    y = pure + np.random.default_rng(5).normal(0.0, scatter, (3, *pure.shape))
    data = xr.DataArray(y, dims=("k", *dims), coords=coords)
    fit = xr_modelfit.fit(data, model, dims, keep_failed=True, errors="ignore")
    expected = [best_of_scipy(model, inputs, one.ravel()) for one in y]
    assert np.all(fit["fit_status"] > 0)
    # Chi-square of a minimum to 1e-6: a thousandth of a standard error with some tens of samples.
    assert np.all(fit["chi2"] <= np.array(expected) * (1 + 1e-6))


def test_a_start_on_the_pixel_and_beside_it_is_one_fit() -> None:
    """The same minimum, parameter by parameter."""
    true = models.Sersic2D(50, 4, 1.2, 12.6, 11.3, 0.4, 0.3) + models.Const2D(1)
    y = true(X2, Y2).reshape(25, 25) + np.random.default_rng(2).normal(0.0, 1.0, (4, 25, 25))
    data = xr.DataArray(y, dims=("k", "y", "x"), coords={"x": SIDE, "y": SIDE})
    on, beside = (
        data.modelfit(models.Sersic2D(30, 5, 1, 12 + d, 12 + d, 0.3, 0.2) + models.Const2D(0), dim=("y", "x"))
        for d in (0.0, 1e-3)
    )
    assert np.all(on["fit_status"] == 1)
    for name in ("x_0_0", "y_0_0", "n_0", "theta_0"):
        assert np.all(abs(on[name] - beside[name]) < 1e-5 * on[f"{name}_stderr"])
        np.testing.assert_allclose(on[f"{name}_stderr"], beside[f"{name}_stderr"], rtol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-17, 0.0), (1e17, 0.0), (1.0, 1e9), (1e17, 1e9)])
def test_one_sample_on_a_kink_leaves_the_others_their_derivatives(scale: float, shift: float) -> None:
    """Against closed forms; in the kink itself the mean of both sides."""
    x = (X * scale + shift * scale)[:, None]
    at, h = x[20, 0], 4.0 * scale

    def values(which: np.ndarray, x0: np.ndarray) -> np.ndarray:
        return np.exp(-np.abs(x - x0) / h)

    infinite = np.full(1, np.inf)
    found = derivative(values, np.array([at]), -infinite, infinite)
    expected = np.sign(x - at) * np.exp(-np.abs(x - at) / h) / h
    # A coordinate of 1e9 has a resolution of 1e-7: what is left of a difference there.
    np.testing.assert_allclose(found * h, expected * h, rtol=0, atol=1e-3 if shift else 1e-6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(
            lambda x, c: np.maximum(x - c, 0), lambda x, c: -1.0 * (x > c) - 0.5 * (x == c), id="kink: the mean"
        ),
        pytest.param(
            lambda x, c: np.where(x >= c, np.exp(-(x - c)), 0),
            lambda x, c: np.where(x > c, np.exp(-(x - c)), 0),
            id="jump: nothing",
        ),
        pytest.param(
            lambda x, c: np.sqrt(np.maximum(x - c, 0)),
            lambda x, c: np.where(x > c, -0.5 / np.sqrt(np.maximum(x - c, 1e-300)), 0),
            id="infinite on one side: nothing",
        ),
        pytest.param(
            lambda x, c: np.abs(x - c) ** 0.25,
            lambda x, c: np.where(x == c, 0, -0.25 * np.sign(x - c) * np.maximum(abs(x - c), 1e-300) ** -0.75),
            id="infinite on both: nothing",
        ),
    ],
)
def test_the_derivative_on_a_rough_sample(function: Callable[..., Any], expected: Callable[..., Any]) -> None:
    x = X[:, None]
    infinite = np.full(1, np.inf)
    found = derivative(lambda which, c: function(x, c), np.array([20.0]), -infinite, infinite)
    np.testing.assert_allclose(found, expected(x, 20.0), atol=1e-6)


def test_where_every_sample_has_the_kink_one_side_is_the_way_out() -> None:
    """|a| at 0 is flat in the mean; a fit that starts there must move."""
    found = derivatives(problem_of(custom(lambda x, a=0.0: np.abs(a) * np.exp(-x / 9)), "difference"), X)
    np.testing.assert_allclose(found[:, 0], np.exp(-X / 9), rtol=1e-6)


def test_columns_that_a_cusp_spoils_do_not_spoil_the_company() -> None:
    """Fits beside one that starts on the cusp keep their bits; a masked sample on the cusp does nothing."""
    rng = np.random.default_rng(0)
    model = Root(5.0, 20.3, 4.0)
    data = xr.DataArray(model(X) + rng.normal(0, 0.05, (5, X.size)), dims=("k", "x"), coords={"x": X})
    starts = xr.DataArray([20.25, 21.0, 19.75, 20.5, 20.0], dims="k")
    together = data.modelfit(model, dim="x", p0={"x0": starts})
    apart = [data[[k]].modelfit(model, dim="x", p0={"x0": starts[[k]]}) for k in range(5)]
    assert np.all(together["fit_status"] == 1)
    for name in ("a", "x0", "h", "x0_stderr"):
        np.testing.assert_array_equal(together[name], np.concatenate([one[name] for one in apart]))
    without = data.where(data["x"] != 20.0)
    np.testing.assert_array_equal(without.modelfit(model, dim="x", p0={"x0": starts})["fit_status"], 1)


def test_a_model_that_is_smooth_keeps_its_own_derivatives() -> None:
    """What was taken before is taken still: a narrow line is no spike."""
    assert choose(problem_of(models.Gaussian1D(5.0, 20.0, 0.3)), [X]).traits.atoms == ("analytic",)
    narrow = custom(lambda x, a=5.0, m=20.0, s=0.4: a * np.exp(-0.5 * ((x - m) / s) ** 2))
    y = narrow(X) + np.random.default_rng(1).normal(0, 0.1, (3, X.size))
    data = xr.DataArray(y, dims=("k", "x"), coords={"x": X})
    ours = data.modelfit(narrow, dim="x")
    own = data.modelfit(models.Gaussian1D(5.0, 20.0, 0.4), dim="x")
    np.testing.assert_allclose(ours["m_stderr"], own["mean_stderr"], rtol=1e-10)
