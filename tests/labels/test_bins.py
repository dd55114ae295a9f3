"""Samples that are means of the model over bins: right values in one and two dims, for every fitter.

Right values are closed forms (a line over bins by error functions, polynomials by their integrals), astropy's
`discretize_model`, or sums over hundreds of points in each bin.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
import xarray as xr
from astropy.convolution import discretize_model
from astropy.modeling import models as M
from astropy.modeling.fitting import DogBoxLSQFitter, LevMarLSQFitter, LMLSQFitter
from numpy.testing import assert_allclose

from support.instrument import answers, assert_right, between, fitters, gauss, mean_gauss, means, recorded
from xr_modelfit import BatchLSQFitter

pytestmark = pytest.mark.quick_share(3)

X = np.arange(40.0)
NOISE = 0.02
FAINT = 3e-4  # shows how wide a line is that is narrower than a bin
TRUTH = (5.0, 20.3, 0.85, 1.0)
PEAK = "amplitude_0", "mean_0", "stddev_0", "amplitude_1"


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def spectra(clean: np.ndarray, noise: float = NOISE, n: int = 4) -> np.ndarray:
    """Noisy spectra (n, len(clean)) or images; all but the first have gaps, each its own, none at the line."""
    rng = np.random.default_rng(3)
    y = clean + rng.normal(0.0, noise, (n, *clean.shape))
    low = clean < np.quantile(clean, 0.9)
    y[1:][(rng.random(y[1:].shape) < 0.15) & low] = np.nan
    y[2, ..., 5:9][..., low[..., 5:9]] = np.nan
    return y


def over_x(y: np.ndarray, x: np.ndarray = X, **coords: Any) -> xr.DataArray:
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x} | coords, name="flux")


def peak(**constraints: Any) -> Any:
    return M.Gaussian1D(4.0, 20.0, 1.0, **constraints) + M.Const1D(0.5)


def uneven(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Edges of unequal bins; every fourth is followed by a gap."""
    width = 0.5 + np.random.default_rng(9).random(n)
    gap = np.where(np.arange(n) % 4 == 0, 0.4, 0.0)
    low = np.concatenate([[0.0], np.cumsum(width + gap)[:-1]])
    return low, low + width


@fitters(compiled=True)
def test_a_line_over_bins_between_neighbours(fitter: Any, engine: str) -> None:
    low, high = between(X)
    y = spectra(mean_gauss(low, high, *TRUTH[:3]) + TRUTH[3])
    fit = over_x(y).modelfit(peak(), "x", sigma=NOISE, fitter=fitter, integrate=True)
    right = answers(lambda _, a, m, s, c: mean_gauss(low, high, a, m, s) + c, y, NOISE, (4, 20, 1, 0.5))
    assert_right(fit, PEAK, right)
    assert recorded(fit, "engine") == engine
    assert recorded(fit, "sampled") == {"points": 8, "bins": {"x": None}, "response": None}


@fitters()
def test_unequal_bins_with_gaps_masks_and_errors_of_each_sample(fitter: Any, engine: str) -> None:
    low, high = uneven()
    middle = 0.5 * (low + high)
    truth = (5.0, middle[20] + 0.2, 0.6, 1.0)
    rng = np.random.default_rng(5)
    sigma = NOISE * (0.5 + rng.random((4, 40)))
    y = spectra(mean_gauss(low, high, *truth[:3]) + truth[3])
    where = rng.random((4, 40)) > 0.1
    ds = over_x(y, middle).to_dataset()
    ds["x"].attrs["bounds"] = "x_bnds"
    ds["x_bnds"] = (("x", "bnds"), np.stack([high, low], axis=-1))  # the order of the two does not matter
    ds["err"], ds["good"] = (("p", "x"), sigma), (("p", "x"), where)
    start = (4.0, middle[20], 1.0, 0.5)
    right = answers(lambda _, a, m, s, c: mean_gauss(low, high, a, m, s) + c, np.where(where, y, np.nan), sigma, start)
    model = M.Gaussian1D(*start[:3]) + M.Const1D(0.5)
    options = {"data": "flux", "sigma": "err", "where": "good", "fitter": fitter}
    for integrate in (True, "x_bnds", ["x_bnds"], {"x": "x_bnds"}, {"x": True}, ds["x_bnds"]):
        fit = ds.modelfit(model, "x", integrate=integrate, **options)
        assert_right(fit, PEAK, right)
        assert recorded(fit, "engine") == engine
        assert recorded(fit, "sampled")["bins"] == {"x": "x_bnds"}
        if engine == "numba":
            break


def twice_the_width(model: Any) -> Any:
    return 2.0 * model.stddev_0


@fitters()
def test_ties_bounds_and_fixed_parameters(fitter: Any, engine: str) -> None:
    low, high = between(X)
    y = spectra(mean_gauss(low, high, 5, 15.3, 0.5) + mean_gauss(low, high, 3, 27.8, 1.0) + 1.0 + 0.1 * X, n=3)
    model = M.Gaussian1D(4, 15, 0.7) + M.Gaussian1D(2, 28, 1) + M.Linear1D(0.1, 0.5)
    model.stddev_1.tied = twice_the_width
    model.slope_2.fixed = True
    bounds = {"mean_1": (27.9, 29), "amplitude_0": (0, 9)}
    fit = over_x(y).modelfit(model, "x", sigma=NOISE, fitter=fitter, integrate=True, bounds=bounds)

    def samples(_: int, a: float, m: float, s: float, b: float, d: float) -> np.ndarray:
        return mean_gauss(low, high, a, m, s) + mean_gauss(low, high, b, 27.9, 2 * s) + 0.1 * X + d

    right = answers(samples, y, NOISE, (4, 15, 0.7, 2, 0.5))
    # With scipy 1.12, astropy's fitter ends 1.6e-3 of an error away, whatever its acc; with 1.17 it ends at 1.3e-6.
    within = 3e-3 if engine == "astropy" and scipy.__version__.startswith("1.12.") else 1e-3
    assert_right(fit, ["amplitude_0", "mean_0", "stddev_0", "amplitude_1", "intercept_2"], right, within)
    assert (fit["fit_status"] == 2).all()
    assert_allclose(fit["mean_1"], 27.9, rtol=1e-12)
    assert_allclose(fit["stddev_1"], 2 * fit["stddev_0"], rtol=1e-14)
    assert_allclose(fit["stddev_1_stderr"], 2 * fit["stddev_0_stderr"], rtol=1e-6)
    assert recorded(fit, "engine") == engine


@pytest.mark.parametrize(
    "model", [M.Linear1D(), M.Polynomial1D(4), M.Legendre1D(3, domain=(0, 45)), M.Chebyshev1D(5, domain=(0, 50))]
)
@pytest.mark.parametrize("integrate", [True, "bounds"])
def test_polynomials_exactly(model: Any, integrate: Any) -> None:
    """The means of a polynomial are differences of its integral; a linear model is solved at once."""
    low, high = uneven() if integrate == "bounds" else between(X)
    x = 0.5 * (low + high) if integrate == "bounds" else X
    rng = np.random.default_rng(1)
    columns = []
    for j in range(len(model.parameters)):
        one = model.copy()
        one.parameters = np.eye(len(model.parameters))[j]
        nodes, weights = np.polynomial.legendre.leggauss(9)
        at = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * nodes
        columns.append((one(at) * weights).sum(axis=1) / 2)  # exact up to degree 17
    A = np.stack(columns, axis=1)
    truth = rng.normal(size=(3, A.shape[1])) / np.abs(A).max(axis=0)
    y = spectra(A @ truth[0], 0.1)[:3]
    bounds = xr.DataArray(np.stack([low, high], axis=-1), dims=("x", "bnds"), name="x_bnds")
    fit = over_x(y, x).modelfit(model, "x", sigma=0.1, integrate=bounds if integrate == "bounds" else True)
    assert (fit["n_iter"] == 1).all()
    assert recorded(fit, "sampled")["points"] <= 4
    for i in range(3):
        keep = np.isfinite(y[i])
        right, *_ = np.linalg.lstsq(A[keep], y[i][keep], rcond=None)
        errors = 0.1 * np.sqrt(np.diag(np.linalg.inv(A[keep].T @ A[keep])))
        for name, value, error in zip(model.param_names, right, errors, strict=True):
            assert abs(fit[name].values[i] - value) <= 1e-8 * error
            assert_allclose(fit[f"{name}_stderr"].values[i], error, rtol=1e-8)


@pytest.mark.parametrize("model", [M.Gaussian1D(3, 12.3, 0.7), M.Lorentz1D(3, 12.3, 1.1), M.Moffat1D(2, 11.8, 1.5, 2)])
def test_pixels_of_discretize_model(model: Any) -> None:
    """astropy integrates over pixels of width 1 about whole numbers."""
    right = discretize_model(model, (0, 30), mode="integrate")
    start = model.copy()
    start.parameters = model.parameters * 1.1
    data = xr.DataArray(right, dims="x", coords={"x": np.arange(30.0)})
    fit = data.modelfit(start, "x", integrate=True, fitter=BatchLSQFitter(ftol=1e-20, xtol=1e-10))
    for name, value in zip(model.param_names, model.parameters, strict=True):
        assert_allclose(fit[name], value, rtol=1e-7)
    assert_allclose(fit.modelfit.evaluate(data), right, atol=1e-9)


# --- two fitted dims


def images(clean: np.ndarray, x: np.ndarray, y: np.ndarray) -> xr.DataArray:
    return xr.DataArray(spectra(clean, n=3), dims=("p", "y", "x"), coords={"x": x, "y": y}, name="flux")


def mean_blob(edges: Any, a: float, x0: float, y0: float, sx: float, sy: float) -> np.ndarray:
    """A round blob over pixels (ny, nx): a product of means."""
    (xlow, xhigh), (ylow, yhigh) = edges
    return np.outer(mean_gauss(ylow, yhigh, 1.0, y0, sy), mean_gauss(xlow, xhigh, a, x0, sx))


BLOB = (5.0, 5.3, 4.1, 0.6, 0.45)
BLOB_START = (4.0, 5.0, 4.0, 0.8, 0.6)
BLOB_NAMES = "amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev"


@fitters(compiled=True)
def test_a_blob_on_large_pixels(fitter: Any, engine: str) -> None:
    x, y = np.arange(11.0), 2.0 + 0.5 * np.arange(9)
    edges = between(x), between(y)
    data = images(mean_blob(edges, *BLOB), x, y)
    model = M.Gaussian2D(*BLOB_START, theta=0.0, fixed={"theta": True})
    fit = data.modelfit(model, ("y", "x"), sigma=NOISE, fitter=fitter, integrate=True)
    right = answers(lambda _, *p: mean_blob(edges, *p).ravel(), data.values.reshape(3, -1), NOISE, BLOB_START)
    assert_right(fit, BLOB_NAMES, right)
    assert recorded(fit, "engine") == engine


@pytest.mark.parametrize("only", [None, "x"])
def test_uneven_pixels_by_bounds_along_both_sides_or_one(only: str | None) -> None:
    (xlow, xhigh), (ylow, yhigh) = uneven(12), uneven(10)
    x, y = 0.5 * (xlow + xhigh), 0.5 * (ylow + yhigh)

    def samples(_: int, *p: float) -> np.ndarray:
        if only is None:
            return mean_blob(((xlow, xhigh), (ylow, yhigh)), *p).ravel()
        return np.outer(gauss(y, 1.0, p[2], p[4]), mean_gauss(xlow, xhigh, p[0], p[1], p[3])).ravel()

    data = images(samples(0, *BLOB).reshape(10, 12), x, y)
    ds = data.to_dataset()
    ds["x_bnds"] = (("x", "bnds"), np.stack([xlow, xhigh], axis=-1))
    ds["y_bnds"] = (("y", "bnds"), np.stack([ylow, yhigh], axis=-1))
    model = M.Gaussian2D(*BLOB_START, theta=0.0, fixed={"theta": True})
    right = answers(samples, data.values.reshape(3, -1), NOISE, BLOB_START)
    asked = ["y_bnds", "x_bnds"] if only is None else "x_bnds"
    fit = ds.modelfit(model, ("x", "y"), data="flux", sigma=NOISE, integrate=asked)
    assert_right(fit, BLOB_NAMES, right)
    by_input = {"x": "x_bnds", "y": "y_bnds" if only is None else False}
    again = ds.transpose("x", "p", "y", ...).modelfit(model, ("x", "y"), data="flux", sigma=NOISE, integrate=by_input)
    xr.testing.assert_allclose(again, fit, rtol=1e-9)


def test_a_turned_blob_on_large_pixels() -> None:
    """astropy's oversampling of a turned Gaussian, in 40 x 40 parts of a pixel."""
    truth = M.Gaussian2D(5, 5.3, 4.1, 0.9, 0.45, 0.6)
    right = discretize_model(truth, (0, 11), (0, 9), mode="oversample", factor=40)
    data = xr.DataArray(right, dims=("y", "x"), coords={"x": np.arange(11.0), "y": np.arange(9.0)})
    fit = data.modelfit(M.Gaussian2D(4, 5, 4, 1.0, 0.6, 0.4), ("x", "y"), integrate=True)
    for name, value in zip(truth.param_names, truth.parameters, strict=True):
        assert_allclose(fit[name], value, rtol=2e-4)  # of forty parts each side: 1 / 24 / 40**2 of the curvature


# --- how many points


@pytest.mark.parametrize("start", [3.0, 1.0, 0.3])
def test_a_line_much_narrower_than_its_start(start: float) -> None:
    """Points are chosen at the start, where a line may be ten times as wide as it turns out to be."""
    low, high = between(X)
    y = spectra(mean_gauss(low, high, 5, 20.4, 0.3) + 1.0, FAINT)
    right = answers(lambda _, a, m, s, c: mean_gauss(low, high, a, m, s) + c, y, FAINT, (5, 20.4, 0.3, 1))
    model = M.Gaussian1D(4, 20.3, start) + M.Const1D(1.0)
    fit = over_x(y).modelfit(model, "x", sigma=FAINT, integrate=True)
    assert_right(fit, PEAK, right)


def test_starts_of_each_position_where_the_model_starts_elsewhere() -> None:
    """At the model's own start, no bin sees the line; it takes as many points all the same."""
    x = 60.0 + X
    low, high = between(x)
    y = spectra(mean_gauss(low, high, 5, 80.4, 0.3) + 0.1 * X, FAINT)
    right = answers(
        lambda _, a, m, s, b, c: mean_gauss(low, high, a, m, s) + b * (x - 80) + c, y, FAINT, (5, 80.4, 0.3, 0.1, 2)
    )
    model = M.Gaussian1D() + (M.Shift(-80, fixed={"offset": True}) | M.Linear1D())
    maps = {name: xr.DataArray(np.full(4, value), dims="p") for name, value in (("mean_0", 80.3), ("stddev_0", 0.5))}
    fit = over_x(y, x).modelfit(model, "x", sigma=FAINT, integrate=True, p0=maps)
    assert recorded(fit, "sampled")["points"] >= 8
    assert_right(fit, ["amplitude_0", "mean_0", "stddev_0", "slope_2", "intercept_2"], right)


def test_steep_models_get_more_points() -> None:
    def points(model: Any) -> int:
        return recorded(over_x(spectra(gauss(X, 5, 20, 1))).modelfit(model, "x", integrate=True, errors="ignore"),
                        "sampled")["points"]  # fmt: skip

    assert points(M.Polynomial1D(3)) == 2
    assert points(M.Gaussian1D(5, 20, 8.0)) <= 8
    assert points(M.Gaussian1D(5, 20, 0.4)) > 8
    assert points(M.Box1D(5, 20, 3)) == 20


def test_two_coordinates_along_one_dim_run_through_their_bins_together() -> None:
    """Both are places of the same sample: f(x, z) is averaged along the dim, not over a rectangle."""
    z = 0.2 * X**1.5
    (xl, xh), (zl, zh) = between(X), between(z)
    at = (np.arange(400) + 0.5) / 400

    def samples(_: int, a: float, b: float, c: float) -> np.ndarray:
        xs, zs = (lo[:, None] + (hi - lo)[:, None] * at for lo, hi in ((xl, xh), (zl, zh)))
        return (a * xs * zs + b * xs + c).mean(axis=1)

    def product(x: Any, z: Any, a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Any:
        return a * x * z + b * x + c

    y = spectra(samples(0, 0.05, -0.3, 2.0))
    fit = over_x(y, z=("x", z)).modelfit(product, "x", sigma=NOISE, integrate=True)
    assert_right(fit, ["a", "b", "c"], answers(samples, y, NOISE, (1, 1, 0)))


def test_pooled_dims_share_their_bins() -> None:
    low, high = between(X)
    y = spectra(mean_gauss(low, high, *TRUTH[:3]) + TRUTH[3])
    fit = over_x(y).modelfit(peak(), ("p", "x"), coords="x", sigma=NOISE, integrate=True)
    right = answers(
        lambda _, a, m, s, c: np.tile(mean_gauss(low, high, a, m, s) + c, 4), y.reshape(1, -1), NOISE, (4, 20, 1, 0.5)
    )
    assert_right(fit, PEAK, right)


@pytest.mark.parametrize(
    "fitter", [LMLSQFitter(), DogBoxLSQFitter(), LevMarLSQFitter()], ids=lambda f: type(f).__name__
)
def test_other_fitters_of_astropy(fitter: Any) -> None:
    low, high = between(X)
    y = spectra(mean_gauss(low, high, *TRUTH[:3]) + TRUTH[3])
    fit = over_x(y).modelfit(peak(), "x", sigma=NOISE, fitter=fitter, integrate=True)
    right = answers(lambda _, a, m, s, c: mean_gauss(low, high, a, m, s) + c, y, NOISE, (4, 20, 1, 0.5))
    assert_right(fit, PEAK, right)


def test_means_by_many_points_of_a_model_without_a_closed_form() -> None:
    low, high = between(X)

    def samples(_: int, a: float, m: float, w: float) -> np.ndarray:
        return means(lambda x: a / (1 + ((x - m) / w) ** 2) ** 1.7, low, high)

    y = spectra(samples(0, 5, 20.3, 1.2))
    model = M.Moffat1D(4, 20, 1.5, 1.7, fixed={"alpha": True})
    fit = over_x(y).modelfit(model, "x", sigma=NOISE, integrate=True)
    assert_right(fit, ["amplitude", "x_0", "gamma"], answers(samples, y, NOISE, (4, 20, 1.5)))
