"""Second tries: starts on the wrong side, scales and origins far off, kinks, and parameters that lose their slope."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import scipy.special
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.models import Box1D, Const1D, Gaussian1D, Linear1D, RedshiftScaleFactor, Sine1D, Voigt1D
from scipy.optimize import least_squares

from xr_modelfit import BatchLSQFitter, FitStatus

TIGHT: dict[str, Any] = {"x_scale": "jac", "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}


@custom_model
def floor(t, s0=60.0, t2=50.0, noise=5.0):
    return np.sqrt((s0 * np.exp(-t / t2)) ** 2 + noise**2)


@custom_model
def hinge(t, a=0.0, b=0.0, c=-0.05, t0=60.0):
    return a + b * t + c * np.maximum(t - t0, 0)


@custom_model
def product(x, a=1.0, b=2.0):
    return a * b * x


def fitted(model: Model, x: np.ndarray, y: np.ndarray, **options: Any) -> xr.Dataset:
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": x})
    return data.modelfit(model, dim="x", errors="ignore", **options)


def optimum(model: Model, free: list[str], x: np.ndarray, y: np.ndarray, sigma: float, p: Any) -> tuple[Any, Any]:
    """Free parameters at the minimum and their errors, by scipy from a start near it."""
    at = [model.param_names.index(name) for name in free]

    def residual(q: np.ndarray) -> np.ndarray:
        values = np.array(model.parameters)
        values[at] = q
        return (model.evaluate(x, *values) - y) / sigma

    found = least_squares(residual, p, **TIGHT)
    return found.x, np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))


# --- scales and origins -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", [1.0, 1e150, 1e-150, -1e30])
@pytest.mark.parametrize("scale", [1e-17, 1e-30, 1e30])
def test_linear_parameters_need_no_start(scale: float, start: float) -> None:
    """The same minimum as from a start of the right size; to 1e-4 of an error, as both have converged."""
    x = np.linspace(6500.0, 6600.0, 80)
    noise = np.random.default_rng(0).normal(0, 0.2, (3, 80))
    y = scale * (5 * np.exp(-((x - 6550) ** 2) / 2 / 16) + 1 + noise)
    found = fitted(Gaussian1D(start, 6552, 3) + Const1D(start), x, y)
    near = fitted(Gaussian1D(4 * scale, 6551, 4) + Const1D(scale), x, y)
    assert (found["fit_status"] == FitStatus.CONVERGED).all()
    for name in ("amplitude_0", "mean_0", "stddev_0", "amplitude_1"):
        assert (abs(found[name] - near[name]) < 1e-4 * near[f"{name}_stderr"]).all(), name
        np.testing.assert_allclose(found[f"{name}_stderr"], near[f"{name}_stderr"], rtol=1e-3)


@pytest.mark.parametrize("origin", [0.0, 1e6, 2459000.0])
def test_an_origin_far_away(origin: float) -> None:
    """A dip on a slope, on Julian dates: as near zero. The coordinate itself is rounded to 5e-10, its width 0.02."""
    z = 0.3 + np.linspace(0, 0.3, 240)
    noise = np.random.default_rng(9).normal(0, 1e-3, (3, 240))
    y = 1 + 0.002 * (z - 0.45) - 0.01 * np.exp(-((z - 0.44) ** 2) / 2 / 0.02**2) + noise
    fit = fitted(Gaussian1D(-0.008, origin + 0.46, 0.03) + Linear1D(0, 1), origin + z, y, sigma=1e-3)
    assert (fit["fit_status"] > 0).all()
    here = Gaussian1D() + Linear1D()
    for i in range(3):
        right, errors = optimum(here, list(here.param_names), z, y[i], 1e-3, [-0.01, 0.44, 0.02, 0.002, 1.0])
        for j, name in enumerate(("amplitude_0", "mean_0", "stddev_0", "slope_1")):
            off = float(fit[name][i]) - (origin if name == "mean_0" else 0.0) - right[j]
            assert abs(off) < 1e-3 * errors[j], name
            assert float(fit[f"{name}_stderr"][i]) == pytest.approx(errors[j], rel=1e-3)


# --- bounds -----------------------------------------------------------------------------------------------------------
def test_a_wave_that_starts_half_a_period_off() -> None:
    """Its amplitude meets the bound 0 on the way, where the phase has no effect."""
    rng = np.random.default_rng(1)
    t, phase = np.arange(54) * 30.4, np.arange(12) / 12
    y = 300 + 2 * np.sin(2 * np.pi * (t / 365.25 + phase[:, None])) + rng.normal(0, 0.2, (12, 54))
    model = Linear1D(0, 300) + Sine1D(1, 1 / 365.25, 0, fixed={"frequency": True})
    fit = fitted(model, t, y, bounds={"amplitude_1": (0, None)})
    free = fitted(model, t, y)  # of either sign: closed form of the size
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    np.testing.assert_allclose(fit["amplitude_1"], abs(free["amplitude_1"]), rtol=1e-5)


def test_a_width_does_not_end_on_the_smallest_number() -> None:
    """Three lines at a redshift from equal starts; scipy's trf and lm reach 2.3929."""
    x = np.arange(6800.0, 7100.0, 1.25)
    rest = (6549.86, 6564.61, 6585.27)
    lines = [Gaussian1D(a, w * 1.0557, 2.6)(x) for a, w in zip((1.3, 10, 4), rest, strict=True)]
    y = sum(lines) + 1 + np.random.default_rng(0).normal(0, 0.1, x.size)
    parts = Gaussian1D(1, rest[0], 2.0) + Gaussian1D(1, rest[1], 2.0) + Gaussian1D(1, rest[2], 2.0) + Const1D(1)
    model = RedshiftScaleFactor(-0.0557 / 1.0557) | parts
    for i in (1, 2, 3):
        getattr(model, f"mean_{i}").fixed = True
    model.amplitude_1.tied = lambda m: m.amplitude_3 / 2.96
    fit = fitted(model, x, y[None])
    assert int(fit["fit_status"][0]) == FitStatus.CONVERGED
    assert float(fit["chi2"][0]) == pytest.approx(2.3929, abs=1e-3)


def test_a_parameter_without_slope_on_its_bound() -> None:
    """Where the noise floor ends at 0, the others are as if it were held there."""
    te = np.arange(10, 170, 20.0)
    y = 60 * np.exp(-te / 60) + np.random.default_rng(5).normal(0, 1, (50, 8))
    fit = fitted(floor(), te, y, bounds={"noise": (0, None)})
    held = fitted(floor(60, 50, 0, fixed={"noise": True}), te, y)
    at = (fit["fit_status"] == FitStatus.CONVERGED_AT_BOUND).values
    assert (fit["fit_status"] > 0).all()
    assert 10 < at.sum() < 40
    np.testing.assert_array_equal(fit["noise"].values[at], 0.0)
    assert np.isnan(fit["noise_stderr"].values[at]).all()
    for name in ("s0", "t2"):
        np.testing.assert_allclose(fit[name].values[at], held[name].values[at], rtol=1e-4)
        np.testing.assert_allclose(fit[f"{name}_stderr"].values[at], held[f"{name}_stderr"].values[at], rtol=1e-3)


# --- places without slope ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bounds", [None, {"fwhm_L": (0, None), "fwhm_G": (0, None)}])
def test_a_voigt_profile_of_a_lorentzian(bounds: Any) -> None:
    """The others are those of a Lorentzian; a Gaussian width below 0.1 moves them by less than their errors."""
    x = np.arange(450.0, 470.0, 0.1)
    y = 300 / (1 + ((x - 460) / 0.5) ** 2) + np.random.default_rng(1).normal(0, 2, (20, x.size))
    fit = fitted(Voigt1D(460.2, 250, 0.5, 0.8), x, y, sigma=2.0, bounds=bounds)
    assert (fit["fit_status"] > 0).all()
    assert (abs(fit["x_0"] - 460) < 5 * fit["x_0_stderr"]).all()  # where it is NaN, another parameter was held
    flat = np.isnan(fit["fwhm_G_stderr"].values)
    assert flat.any()
    assert (abs(fit["fwhm_G"].values[flat]) < 0.1).all()


def test_a_kink_is_a_minimum() -> None:
    """A change of trend: chi-square there and beside, by linear fits, is not lower: to 1e-7, as near as it is told."""
    rng, t = np.random.default_rng(4), np.arange(100.0)
    place = rng.uniform(25, 75, 40)
    y = -1 - 0.02 * t - 0.06 * np.maximum(t - place[:, None], 0) + rng.normal(0, 0.25, (40, 100))
    fit = fitted(hinge(t0=50.0), t, y)
    assert ((fit["fit_status"] > 0).sum() >= 39).item()
    for i in np.flatnonzero(fit["fit_status"] > 0):
        t0 = float(fit["t0"][i])
        chi2 = []
        for at in (t0, t0 - 0.05, t0 + 0.05):
            A = np.stack([np.ones(100), t, np.maximum(t - at, 0)], axis=1)
            chi2.append(np.sum((y[i] - A @ np.linalg.lstsq(A, y[i], rcond=None)[0]) ** 2))
        assert float(fit["chi2"][i]) <= min(chi2) * (1 + 1e-7)


def test_what_the_samples_do_not_determine_stays_so() -> None:
    """A flat valley is no minimum: neither factor of a product is known, nor the decay time of nothing."""
    x = np.linspace(1.0, 10.0, 30)
    y = 3 * x + np.random.default_rng(2).normal(0, 0.1, (3, 30))
    assert (fitted(product(), x, y)["fit_status"] == FitStatus.DEGENERATE).all()
    nothing = fitted(floor(), x, np.zeros((2, 30)), bounds={"t2": (1e-3, None)})
    assert (nothing["fit_status"] <= 0).all()


# --- laws -------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_company_changes_no_bit(engine: str) -> None:
    """Fits that are tried again are the same alone, among others, in another order and in other blocks."""
    te = np.arange(10, 170, 20.0)
    y = 60 * np.exp(-te / 60) + np.random.default_rng(5).normal(0, 1, (30, 8))
    options: dict[str, Any] = {"bounds": {"noise": (0, None)}, "fitter": BatchLSQFitter(engine=engine)}
    together = fitted(floor(), te, y, **options)
    backwards = fitted(floor(), te, y[::-1], **options).isel(p=slice(None, None, -1))
    blocks = fitted(floor(), te, y, fits_per_chunk=4, scheduler="threads", **options)
    for other in (backwards, blocks):
        for name in ("s0", "t2", "noise", "t2_stderr", "chi2", "fit_status", "n_iter"):
            np.testing.assert_array_equal(together[name].values, other[name].values, err_msg=name)
    for i in range(0, 30, 7):
        alone = fitted(floor(), te, y[i : i + 1], **options)
        np.testing.assert_array_equal(alone["t2"].values, together["t2"].values[i : i + 1])


# --- level, but no minimum ------------------------------------------------------------------------------------------
@custom_model
def skewed(x, a=1.0, c=0.0, w=1.0, s=0.1):
    z = (x - c) / w
    return a * np.exp(-0.5 * z**2) * (1 + scipy.special.erf(s * z))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_skewness_does_not_stay_at_zero(engine: str) -> None:
    """At no skewness, place and skewness have the same slope and chi-square is level; both signs lie beside."""
    if engine == "numba":
        pytest.importorskip("numba")
    rng, x = np.random.default_rng(8), np.linspace(-8, 8, 70)
    truths = np.stack([rng.uniform(2, 6, 40), rng.uniform(-2, 2, 40), rng.uniform(0.8, 2, 40)], axis=1)
    tilt = rng.choice([-1.0, 1.0], 40) * rng.uniform(0.8, 2.0, 40)
    y = np.stack([skewed.evaluate(x, *t, s) for t, s in zip(truths, tilt, strict=True)]) + rng.normal(0, 0.1, (40, 70))
    start = {
        "a": 4.0,
        "c": xr.DataArray(truths[:, 1] + rng.uniform(-1, 1, 40), dims="p"),
        "s": 0.1 * rng.choice([-1, 1]),
    }
    fit = fitted(skewed(), x, y, sigma=0.1, p0=start, fitter=BatchLSQFitter(engine=engine))
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    for i in range(40):
        p, _ = optimum(skewed(), ["a", "c", "w", "s"], x, y[i], 0.1, [*truths[i], tilt[i]])
        chi2 = np.sum((skewed.evaluate(x, *p) - y[i]) ** 2) / 0.01
        assert float(fit["chi2"][i]) <= chi2 * (1 + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_width_that_counts_as_its_square_leaves_zero(engine: str) -> None:
    """The Gaussian width of a Voigt profile overshoots to 0, where it has no slope; chi-square falls beside."""
    if engine == "numba":
        pytest.importorskip("numba")
    rng, x = np.random.default_rng(5), np.linspace(-8, 8, 80)
    centre, wide = rng.uniform(-3, 3, 60), rng.uniform(0.2, 0.5, 60)
    y = np.stack([Voigt1D().evaluate(x, c, 6.0, 1.5, g) for c, g in zip(centre, wide, strict=True)])
    y += rng.normal(0, 0.02, y.shape)
    start = {
        "x_0": xr.DataArray(centre + rng.uniform(-0.6, 0.6, 60), dims="p"),
        "amplitude_L": 4.0,
        "fwhm_L": xr.DataArray(rng.uniform(1.0, 3.0, 60), dims="p"),
        "fwhm_G": xr.DataArray(rng.uniform(0.3, 0.9, 60), dims="p"),
    }
    fit = fitted(Voigt1D(), x, y, sigma=0.02, p0=start, fitter=BatchLSQFitter(engine=engine))
    assert (fit["fit_status"] > 0).all()
    for i in range(60):
        p, _ = optimum(Voigt1D(), list(Voigt1D.param_names), x, y[i], 0.02, [centre[i], 6.0, 1.5, wide[i]])
        chi2 = np.sum((Voigt1D().evaluate(x, *p) - y[i]) ** 2) / 0.02**2
        assert float(fit["chi2"][i]) <= chi2 * (1 + 1e-6)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_edges_of_a_box_are_found(engine: str) -> None:
    """Place and width have no slope anywhere. The best box is that of all pairs of edges."""
    if engine == "numba":
        pytest.importorskip("numba")
    rng, x = np.random.default_rng(2), np.linspace(0, 10, 60)
    place, width = rng.uniform(3, 7, 30), rng.uniform(1.5, 4, 30)
    y = np.stack([Box1D.evaluate(x, 3.0, p, w) for p, w in zip(place, width, strict=True)]) + rng.normal(
        0, 0.3, (30, 60)
    )
    start = {
        "x_0": xr.DataArray(place + rng.uniform(-0.5, 0.5, 30), dims="p"),
        "width": xr.DataArray(width * rng.uniform(0.7, 1.4, 30), dims="p"),
    }
    fit = fitted(Box1D(1.0), x, y, sigma=0.3, p0=start, fitter=BatchLSQFitter(engine=engine))
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    assert np.isnan(fit["x_0_stderr"]).all()
    assert np.isnan(fit["width_stderr"]).all()
    best = 0
    for i in range(30):
        sums = np.concatenate([[0.0], np.cumsum(y[i])])
        gains = [(sums[b] - sums[a]) ** 2 / (b - a) for a in range(60) for b in range(a + 1, 61)]
        best += float(fit["chi2"][i]) <= (np.sum(y[i] ** 2) - max(gains)) / 0.09 * (1 + 1e-9)
        inside = np.abs(x - float(fit["x_0"][i])) <= float(fit["width"][i]) / 2
        assert float(fit["amplitude"][i]) == pytest.approx(y[i][inside].mean(), rel=1e-9)
        assert float(fit["amplitude_stderr"][i]) == pytest.approx(0.3 / np.sqrt(inside.sum()), rel=1e-9)
    assert best >= 27  # a search from a start; some end a sample beside


def test_a_parameter_without_any_effect_is_not_known() -> None:
    """The phase of a wave that is held at amplitude 0, and a box beside all samples."""
    x = np.linspace(0, 10, 40)
    wave = fitted(Sine1D(0.0, 0.3, 0.1), x, np.ones((1, 40)), bounds={"amplitude": (0, 0)})
    beside = fitted(Box1D(1.0, 50.0, 2.0), x, np.ones((1, 40)))
    assert (wave["fit_status"] == FitStatus.DEGENERATE).all()
    assert (beside["fit_status"] == FitStatus.DEGENERATE).all()


def test_fewer_samples_than_parameters_stay_degenerate() -> None:
    """Holding parameters does not make two samples enough for three."""
    fit = fitted(Box1D(1.0, 0.5, 3.0), np.array([0.0, 1.0]), np.array([[2.0, 2.1]]), min_points=1)
    assert (fit["fit_status"] == FitStatus.DEGENERATE).all()


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_first_steps_do_not_leave_the_valley(engine: str) -> None:
    """A doublet with one amplitude for both lines and a constant, from amplitudes of 1; a leap turns one negative."""
    if engine == "numba":
        pytest.importorskip("numba")
    pair = Gaussian1D(1, 0, 1) + Gaussian1D(1, 3, 1) + Const1D(0)
    pair.mean_1.tied = lambda m: m.mean_0 + 3.0
    pair.stddev_1.tied = lambda m: m.stddev_0
    rng, x = np.random.default_rng(7), np.linspace(-8, 8, 100)
    n = 200
    truth = np.stack([rng.uniform(4, 7, n), rng.uniform(-4, 1, n), rng.uniform(0.5, 1.0, n), rng.uniform(1, 4, n)])
    y = np.stack([
        Gaussian1D.evaluate(x, a, m, s) + Gaussian1D.evaluate(x, b, m + 3, s) + 0.5 for a, m, s, b in truth.T
    ]) + rng.normal(0, 0.1, (n, 100))  # fmt: skip
    start = {
        "mean_0": xr.DataArray(truth[1] + rng.uniform(-1.0, 1.0, n), dims="p"),
        "stddev_0": xr.DataArray(truth[2] * rng.uniform(0.7, 2.0, n), dims="p"),
    }
    fit = fitted(pair, x, y, sigma=0.1, p0=start, fitter=BatchLSQFitter(engine=engine))
    right = (fit["fit_status"] > 0) & (abs(fit["mean_0"] - xr.DataArray(truth[1], dims="p")) < 0.2)
    assert float(right.mean()) >= 0.995


class Once(BatchLSQFitter):
    second_try = None


def test_a_slow_fit_is_tried_again() -> None:
    """The first try has too few iterations; the second begins with linear parameters that are solved for."""
    rng, x = np.random.default_rng(3), np.linspace(-8, 8, 100)
    y = 1e6 * np.exp(-0.5 * ((x - 1) / 2) ** 2) + 3e5 + rng.normal(0, 1e3, (20, 100))
    model = Gaussian1D(1, 2.5, 3) + Const1D(0)
    once = fitted(model, x, y, sigma=1e3, fitter=Once(maxiter=15))
    assert (once["fit_status"] == FitStatus.MAX_ITERATIONS).any()
    fit = fitted(model, x, y, sigma=1e3, fitter=BatchLSQFitter(maxiter=15))
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_lower_minimum_past_a_kink_is_found(engine: str) -> None:
    """Where a trend bends: for each place the others follow by linear algebra, so the lowest chi-square is known."""
    if engine == "numba":
        pytest.importorskip("numba")
    rng, t = np.random.default_rng(4), np.arange(100.0)
    place = rng.uniform(30, 75, 60)
    y = np.stack([hinge.evaluate(t, -1.0, -0.02, -0.06, p) for p in place]) + rng.normal(0, 0.3, (60, 100))
    fit = fitted(hinge(), t, y, sigma=0.3, fitter=BatchLSQFitter(engine=engine))
    assert (fit["fit_status"] > 0).all()
    reached = 0
    for i in range(60):
        lowest = np.inf
        for p in np.linspace(5, 95, 3601):
            columns = np.stack([np.ones(100), t, np.maximum(t - p, 0)], axis=1)
            lowest = min(lowest, np.linalg.lstsq(columns, y[i], rcond=None)[1][0] / 0.09)
        reached += float(fit["chi2"][i]) <= lowest * (1 + 1e-6)
    assert reached >= 57  # the search goes eight standard errors far


@pytest.mark.parametrize("bounds", [{"mid": (1, 365), "wid": (1, 60)}, None])
def test_a_start_where_the_model_is_flat_is_soon_given_up(bounds: Any) -> None:
    """Days since 1970 for a start in days of the year: not a thousand times the calls of a good start."""
    calls = [0]

    def logistic(t, lo=0.1, hi=0.8, mid=100.0, wid=10.0):
        calls[0] += 1
        return lo + (hi - lo) / (1 + np.exp(-(t - mid) / wid))

    day = np.arange(365.0)
    y = logistic(day, 0.2, 0.7, 120.0, 15.0) + np.random.default_rng(4).normal(0, 0.02, (6, 365))
    status, needed = [], []
    for origin in (0.0, 17897.0):
        calls[0] = 0
        fit = fitted(logistic, origin + day, y, bounds=bounds, scheduler="synchronous")
        status.append(set(fit["fit_status"].values.tolist()))
        needed.append(calls[0])
    assert status == [{FitStatus.CONVERGED}, {FitStatus.DEGENERATE}]
    assert needed[1] <= 20 * needed[0]
