"""What is asked of a result over bins or behind a response: values, residuals, parts, errors, pictures, files."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import between, gauss, mean_gauss, means, recorded
from xr_modelfit import FitError, FitStatus, RecordError

pytestmark = [
    pytest.mark.quick_share(3),
    # matplotlib 3.8 with a newer pyparsing
    pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib"),
    pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning:matplotlib"),
]
X = np.arange(40.0)
NOISE = 0.02
OFFSETS = np.arange(-2.0, 5.0)
VALUES = np.array([0.5, 1.0, 4.0, 2.5, 2.0, 1.0, 0.3])
KERNEL = xr.DataArray(VALUES, dims="o", coords={"o": OFFSETS})
KERNELS = KERNEL * xr.DataArray([1.0, 2.0, 3.0], dims="p") + xr.DataArray([0.0, 1.0, 0.0], dims="p")
R = np.eye(40) + 0.3 * np.eye(40, k=1)
MATRIX = xr.DataArray(R, dims=("x", "seen"))
BOUNDS = np.stack([X - 0.4, X + 0.5], axis=-1)  # with gaps
CALLS: dict[str, dict[str, Any]] = {
    "bins": {"integrate": True},
    "bounds": {"integrate": "x_bnds"},
    "kernel": {"response": KERNEL},
    "kernel of each": {"response": KERNELS},
    "matrix": {"response": MATRIX},
    "both": {"integrate": True, "response": KERNEL},
}


def model() -> Any:
    return M.Gaussian1D(4, 20, 1.4) + M.Linear1D(0.0, 0.5)


def right(call: str, i: int, p: Any, x: np.ndarray = X) -> np.ndarray:
    """Samples of the fit at position ``i``, without the package."""

    def plain(at: np.ndarray, a: float, m: float, s: float, b: float, c: float) -> np.ndarray:
        return np.asarray(gauss(at, a, m, s) + b * at + c)

    def over(low: np.ndarray, high: np.ndarray, a: float, m: float, s: float, b: float, c: float) -> np.ndarray:
        return np.asarray(mean_gauss(low, high, a, m, s) + b * (low + high) / 2 + c)

    if call == "bins":
        return over(*between(x), *p)
    if call == "bounds":
        return over(*BOUNDS.T, *p)
    if call == "matrix":
        return R.T @ plain(x, *p)
    values = KERNELS[:, i].values if call == "kernel of each" else VALUES
    sides = between(x)
    each = [over(sides[0] - o, sides[1] - o, *p) if call == "both" else plain(x - o, *p) for o in OFFSETS]
    return np.asarray(np.tensordot(values, each, axes=1) / values.sum())


def data(call: str) -> xr.Dataset:
    truth = 5.0, 20.3, 1.1, 0.02, 1.0
    y = np.stack([right(call, i, truth) for i in range(3)])
    y += np.random.default_rng(2).normal(0, NOISE, y.shape)
    y[1, 3::9] = np.nan
    ds = xr.DataArray(y, dims=("p", "x"), coords={"x": X}, name="flux").to_dataset()
    ds["x_bnds"] = (("x", "bnds"), BOUNDS)
    return ds


def fitted(ds: xr.Dataset, call: str, **options: Any) -> xr.Dataset:
    return ds.modelfit(model(), "x", data="flux", sigma=NOISE, covariance=True, **CALLS[call], **options)


def parameters(fit: xr.Dataset) -> np.ndarray:
    return np.stack([fit[name].values for name in fit.modelfit.params], axis=-1)


def asked_again(call: str) -> dict[str, Any]:
    """What the record of a fit cannot hold."""
    return {"response": KERNELS} if call == "kernel of each" else {}


@pytest.mark.parametrize("source", ["memory", "file", "lazy"])
@pytest.mark.parametrize("call", CALLS)
def test_values_residuals_parts_and_errors(call: str, source: str, tmp_path: Path) -> None:
    ds = data(call)
    fit = fitted(ds.chunk(p=2, x=7) if source == "lazy" else ds, call)
    if source == "file":
        fit.to_netcdf(tmp_path / "fit.nc")
        ds.to_netcdf(tmp_path / "data.nc")
        fit, ds = xr.load_dataset(tmp_path / "fit.nc"), xr.load_dataset(tmp_path / "data.nc")
    again = asked_again(call)
    if again:
        with pytest.raises(RecordError, match=r"response.*could not hold.*response=\.\.\."):
            fit.modelfit.evaluate(ds)
    p = parameters(fit.compute())
    values = fit.modelfit.evaluate(ds, **again)
    assert_allclose(values, [right(call, i, p[i]) for i in range(3)], rtol=1e-8)
    assert bool(values.chunks) == (source == "lazy")
    itself = fit.modelfit.evaluate(ds, integrate=False, response=False)
    assert_allclose(itself, [gauss(X, *one[:3]) + one[3] * X + one[4] for one in p], rtol=1e-12)
    left = fit.modelfit.residuals(ds, **again)
    assert_allclose(((left / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-10)
    parts = fit.modelfit.components(ds, **again)
    assert_allclose(parts["Gaussian1D_0"] + parts["Linear1D_1"], values, rtol=1e-12)
    only_line = np.array([1, 1, 1, 0, 0]) * p
    assert_allclose(parts["Gaussian1D_0"], [right(call, i, only_line[i]) for i in range(3)], atol=1e-8)
    assert_errors(fit.modelfit.predict(ds, **again), fit.compute(), call, p)


def assert_errors(found: xr.Dataset, fit: xr.Dataset, call: str, p: np.ndarray) -> None:
    """Errors are those of J C J', with J by differences of the samples made without the package."""
    C = fit["covariance"].values
    for i in range(3):
        steps = 1e-5 * np.diag(fit.modelfit.params.to_array().values[:, i] * 0 + 1)
        J = np.stack([(right(call, i, p[i] + h) - right(call, i, p[i] - h)) / 2e-5 for h in steps], axis=-1)
        errors = np.sqrt(np.einsum("nj,jk,nk->n", J, C[i], J))
        assert_allclose(found["flux_model_stderr"][i], errors, rtol=1e-5)
        assert_allclose(found["flux_model"][i], right(call, i, p[i]), rtol=1e-8)


@pytest.mark.parametrize("call", ["bins", "kernel", "both"])
def test_other_coordinates_than_those_of_the_fit(call: str) -> None:
    """A kernel goes along; bins end between the neighbours that are asked for."""
    ds = data(call)
    fit = fitted(ds, call)
    fine = np.linspace(10, 30, 11)
    p = parameters(fit)
    assert_allclose(fit.modelfit.evaluate(x=fine), [right(call, i, p[i], fine) for i in range(3)], rtol=1e-8)
    part = ds.isel(x=slice(10, 30), p=[2, 0])
    right_part = [right(call, i, p[i], X[10:30]) for i in (2, 0)]
    assert_allclose(fit.isel(p=[2, 0]).modelfit.evaluate(part), right_part, rtol=1e-8)


def test_one_place_has_no_bin_but_a_kernel() -> None:
    ds = data("kernel")
    fit = fitted(ds, "kernel")
    p = parameters(fit)
    one = fit.modelfit.evaluate(x=20.0)
    assert one.dims == ("p",)
    assert_allclose(one, [right("kernel", i, p[i], np.array([20.0]))[0] for i in range(3)], rtol=1e-10)
    binned = fitted(data("bins"), "bins")
    with pytest.raises(ValueError, match=r"'x' are to end between neighbours.*1 place.*integrate=False"):
        binned.modelfit.evaluate(x=20.0)
    line, plain = binned.isel(p=0).modelfit.to_model(), binned.isel(p=0).modelfit.evaluate(x=20.0, integrate=False)
    assert_allclose(plain, line(20.0), rtol=1e-12)  # the model has neither bins nor response


def test_a_matrix_is_for_the_places_of_its_fit() -> None:
    ds = data("matrix")
    fit = fitted(ds, "matrix")
    with pytest.raises(RecordError, match=r"matrix for 40 samples, and 20 are asked for.*response=False"):
        fit.modelfit.evaluate(ds.isel(x=slice(0, 20)))
    half = xr.DataArray(R[:20, :20], dims=("x", "seen"))
    found = fit.modelfit.evaluate(ds.isel(x=slice(0, 20)), response=half)
    assert_allclose(found[:, 1:], fit.modelfit.evaluate(ds)[:, 1:20], rtol=1e-12)


def test_bounds_that_are_not_there_are_asked_for() -> None:
    ds = data("bounds")
    fit = fitted(ds, "bounds")
    with pytest.raises(RecordError, match=r"bins 'x_bnds', which are not there.*integrate=True.*integrate=False"):
        fit.modelfit.evaluate(ds["flux"])
    bounds = xr.DataArray(BOUNDS, dims=("x", "b"))
    assert_allclose(fit.modelfit.evaluate(ds["flux"], integrate=bounds), fit.modelfit.evaluate(ds), rtol=1e-12)
    unnamed = ds["flux"].modelfit(model(), "x", integrate=bounds)
    with pytest.raises(RecordError, match=r"array without a name.*integrate="):
        unnamed.modelfit.evaluate(ds)
    assert_allclose(unnamed.modelfit.evaluate(ds, integrate=bounds), fit.modelfit.evaluate(ds), rtol=1e-5)


def test_bins_of_a_fit_stay_between_neighbours_where_bounds_turn_up_later() -> None:
    ds = data("bins")
    fit = fitted(ds.drop_vars("x_bnds"), "bins")
    ds["x"].attrs["bounds"] = "x_bnds"
    assert_allclose(((fit.modelfit.residuals(ds) / NOISE) ** 2).sum("x"), fit["chi2"], rtol=1e-10)


def test_factors_of_a_product_have_no_means() -> None:
    product = M.Gaussian1D(4, 20, 1.4) * M.Linear1D(0.01, 1.0, fixed={"slope": True, "intercept": True})
    low, high = between(X)
    y = means(lambda x: gauss(x, 5.0, 20.3, 1.1) * (1 + 0.01 * x), low, high)
    da = xr.DataArray(y, dims="x", coords={"x": X})
    fit = da.modelfit(product, "x", integrate=True)
    assert_allclose([fit["amplitude_0"], fit["mean_0"], fit["stddev_0"]], [5.0, 20.3, 1.1], rtol=1e-5)
    parts = fit.modelfit.components(da)
    assert_allclose(parts["Linear1D_1"], 1 + 0.01 * X)
    assert_allclose(parts["Gaussian1D_0"], gauss(X, 5.0, 20.3, 1.1), atol=1e-4)
    assert_allclose(fit.modelfit.evaluate(da), y, atol=1e-5)


def drawn(picture: Any) -> tuple[np.ndarray, np.ndarray]:
    """The curve of the model in a picture, which is then closed."""
    import matplotlib.pyplot as plt

    line = picture.artists["model"]
    found = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
    plt.close(picture.fig)
    return found


@pytest.mark.parametrize("call", CALLS)
def test_pictures_show_the_samples_of_the_fit(call: str) -> None:
    ds = data(call)
    fit = fitted(ds, call)
    x, y = drawn(ds.modelfit.plot_fit(fit, p=1, sigma=NOISE, **asked_again(call)))
    assert_allclose(y, np.interp(x, X, right(call, 1, parameters(fit)[1])), rtol=1e-6)


@pytest.mark.parametrize("call", CALLS)
def test_pictures_show_the_model_itself_when_asked(call: str) -> None:
    ds = data(call)
    fit = fitted(ds, call)
    x, y = drawn(ds.modelfit.plot_fit(fit, p=1, integrate=False, response=False))
    assert x.size > 400
    a, m, s, b, c = parameters(fit)[1]
    assert_allclose(y, gauss(x, a, m, s) + b * x + c, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:inspect.. needs a live backend:UserWarning")
@pytest.mark.parametrize("lazy", [False, True])
def test_pictures_take_what_a_record_cannot_hold(lazy: bool) -> None:
    """A response of each fit, by array or by name; bounds without a name, shared or of each fit."""
    ds = data("kernel of each").assign(lsf=KERNELS.transpose("o", "p"))
    ds = ds.chunk(p=1) if lazy else ds
    fit = fitted(ds, "kernel of each").compute()
    wanted = right("kernel of each", 2, parameters(fit)[2])
    for response in (KERNELS, KERNELS.chunk(p=1), "lsf"):
        assert_allclose(drawn(ds.modelfit.plot_fit(fit, p=2, response=response))[1], wanted, rtol=1e-8)
    viewer = fit.modelfit.inspect(ds, response="lsf")
    viewer.select(p=2)
    assert viewer.picture is not None
    assert_allclose(viewer.picture.artists["model"].get_ydata(), wanted, rtol=1e-8)
    viewer.close()


def test_pictures_take_bounds_that_have_no_name() -> None:
    bounds = xr.DataArray(BOUNDS, dims=("x", "b"))
    ds = data("bounds")
    fit = ds["flux"].modelfit(model(), "x", integrate=bounds)
    wanted = right("bounds", 1, parameters(fit)[1])
    for integrate in (bounds, {"x": bounds}, [bounds.chunk()], "x_bnds"):
        assert_allclose(drawn(ds.modelfit.plot_fit(fit, p=1, integrate=integrate))[1], wanted, rtol=1e-6)
    ds["x"].attrs["bounds"] = "x_bnds"
    assert_allclose(drawn(ds.modelfit.plot_fit(fit, p=1, integrate=True))[1], wanted, rtol=1e-6)


def test_pictures_take_bounds_of_each_position() -> None:
    ds = data("bounds").drop_vars("x_bnds").assign_coords(p=[7, 8, 9])
    ds = ds.assign_coords(scale=ds["x"] + 0.1 * (ds["p"] - 7))
    bounds = xr.DataArray(BOUNDS, dims=("x", "b")) + 0.1 * (ds["p"] - 7)
    fit = ds["flux"].modelfit(model(), "x", coords="scale", integrate={"x": bounds})
    low, high = BOUNDS.T + 0.2
    a, m, s, b, c = parameters(fit)[2]
    wanted = mean_gauss(low, high, a, m, s) + b * (low + high) / 2 + c
    for integrate in ({"x": bounds}, [bounds.transpose("b", "p", "x")]):
        assert_allclose(drawn(ds.modelfit.plot_fit(fit, p=9, integrate=integrate))[1], wanted, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:inspect.. needs a live backend:UserWarning")
def test_pictures_ask_for_what_a_record_cannot_hold() -> None:
    import matplotlib.pyplot as plt

    ds = data("kernel of each").assign_coords(p=[4, 5, 6])
    fit = fitted(ds, "kernel of each")
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({}, RecordError, r"could not hold.*response=\.\.\."),
        ({"response": "nothing"}, ValueError, "'nothing', which is not there"),
        ({"response": KERNELS.values}, TypeError, "response is an ndarray.*DataArray"),
        ({"response": KERNELS.assign_coords(p=[4, 5, 7])}, ValueError, "response has another index along 'p' than"),
        ({"response": KERNELS, "integrate": "no_bnds"}, ValueError, "'no_bnds', which is not there"),
        ({"response": KERNELS, "integrate": 3}, TypeError, "integrate is an int"),
    ]
    for options, error, match in wrong:
        with pytest.raises(error, match=match):
            ds.modelfit.plot_fit(fit, p=5, **options)
        if "index" not in match and "an int" not in match:
            with pytest.raises(error, match=match):
                fit.modelfit.inspect(ds, **options)
    with pytest.raises(ValueError, match=r"response has dims.*'p'"):
        ds.isel(p=1).modelfit.plot_fit(fit, response=KERNELS)
    one = fitted(data("bounds"), "bounds")
    with pytest.raises(RecordError, match="bins 'x_bnds', which are not there"):
        one.modelfit.inspect(data("bounds")["flux"])
    plt.close("all")


@pytest.mark.parametrize("call", CALLS)
def test_a_plan_is_made(call: str) -> None:
    ds = data(call)
    options = {"data": "flux", "sigma": NOISE} | CALLS[call]
    plan = ds.modelfit.plan(model(), "x", **options)
    assert (plan.n_fits, plan.n_samples) == (3, 120)
    assert ds.chunk(p=1).modelfit.plan(model(), "x", **options).lazy


def test_diagnostics_get_the_coordinates_of_samples(tmp_path: Path) -> None:
    seen: list[Any] = []

    def look(path: str, world: Any, values: Any, weights: Any, best: Any, keywords: Any) -> None:
        seen.append((world, values, best))

    for call in CALLS:
        ds = data(call)
        folder = tmp_path / call.replace(" ", "_")
        told = {"diagnostics": "all", "diagnostics_path": folder, "diagnostics_callable": look}
        fit = fitted(ds, call, **told)
        assert recorded(fit, "sampled") is not None
        assert len(seen) == 3
        for world, values, best in seen:
            assert_allclose(world[0], X)
            assert values.shape == X.shape
            assert best.n_submodels == 2
        seen.clear()


@pytest.mark.parametrize("call", CALLS)
def test_the_first_failure_is_raised(call: str) -> None:
    ds = data(call)
    ds["flux"][1] = 0.0
    ds["flux"][1, 4:] = np.nan
    with pytest.raises(FitError, match=r"p=1.*too_few_points|too_few_points.*p=1"):
        fitted(ds, call, errors="raise", min_points=10)
    status = fitted(ds, call, errors="ignore", min_points=10)["fit_status"]
    assert status.values.tolist() == [1, FitStatus.TOO_FEW_POINTS, 1]
    with pytest.raises(FitError):
        fitted(ds.chunk(p=1), call, errors="raise", min_points=10).compute()
