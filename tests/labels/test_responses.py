"""A model behind the response of an instrument: right values for every fitter.

Right values are sums of shifted models, written out; `numpy.convolve`; closed forms of Gaussians.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import answers, assert_right, between, fitters, gauss, mean_gauss, recorded
from xr_modelfit import FitStatus

pytestmark = pytest.mark.quick_share(3)

X = np.arange(60.0)
NOISE = 0.02
TRUTH = (5.0, 30.3, 1.6, 1.0)
START = (4.0, 30.0, 2.0, 0.5)
PEAK = "amplitude_0", "mean_0", "stddev_0", "amplitude_1"
OFFSETS = np.arange(-4.0, 8.0)
KERNEL = np.exp(-0.5 * ((OFFSETS - 0.7) / 1.5) ** 2) * (1.0 + 0.1 * OFFSETS)  # asymmetric, and not about 0


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def kernel(values: Any = KERNEL, offsets: Any = OFFSETS, *loop: str) -> xr.DataArray:
    return xr.DataArray(values, dims=(*loop, "offset"), coords={"offset": offsets})


def behind(f: Any, x: np.ndarray, offsets: Any = OFFSETS, values: Any = KERNEL) -> np.ndarray:
    """Samples at ``x`` of a function behind a kernel, by its definition."""
    total = sum(k * f(x - o) for k, o in zip(values, offsets, strict=True))
    return np.asarray(total / np.sum(values))


def peak_at(x: np.ndarray, a: float, m: float, s: float, c: float) -> np.ndarray:
    return np.asarray(gauss(x, a, m, s) + c)


def spectra(clean: np.ndarray, n: int = 4) -> np.ndarray:
    """Noisy spectra (n, len(clean)); all but the first have gaps, each its own, also at the line."""
    rng = np.random.default_rng(3)
    y = np.broadcast_to(clean, (n, np.shape(clean)[-1])) + rng.normal(0.0, NOISE, (n, np.shape(clean)[-1]))
    y[1:][rng.random(y[1:].shape) < 0.15] = np.nan
    y[2, 10:14] = y[n - 1, 29:31] = np.nan
    return y


def over_x(y: np.ndarray, x: np.ndarray = X, **coords: Any) -> xr.DataArray:
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x} | coords, name="flux")


def peak() -> Any:
    return M.Gaussian1D(*START[:3]) + M.Const1D(START[3])


@fitters(compiled=True)
def test_a_line_behind_an_asymmetric_kernel(fitter: Any, engine: str) -> None:
    def samples(_: int, *p: float) -> np.ndarray:
        return behind(lambda x: peak_at(x, *p), X)

    y = spectra(samples(0, *TRUTH))
    fit = over_x(y).modelfit(peak(), "x", sigma=NOISE, fitter=fitter, response=3.0 * kernel())
    assert_right(fit, PEAK, answers(samples, y, NOISE, START))
    assert recorded(fit, "engine") == engine
    told = recorded(fit, "sampled")
    assert (told["points"], told["bins"], told["response"]["offsets"]) == (None, {}, OFFSETS.tolist())
    assert_allclose(told["response"]["values"], KERNEL / KERNEL.sum(), rtol=1e-14)


@fitters()
def test_a_kernel_of_each_position(fitter: Any, engine: str) -> None:
    kernels = np.stack([np.roll(KERNEL, i) ** (1 + 0.1 * i) for i in range(4)])

    def samples(i: int, *p: float) -> np.ndarray:
        return behind(lambda x: peak_at(x, *p), X, values=kernels[i])

    y = np.stack([spectra(samples(i, *TRUTH))[i] for i in range(4)])
    response = kernel(kernels, OFFSETS, "p").transpose("offset", "p")
    fit = over_x(y).modelfit(peak(), "x", sigma=NOISE, fitter=fitter, response=response)
    assert_right(fit, PEAK, answers(samples, y, NOISE, START))
    assert recorded(fit, "engine") == engine
    assert recorded(fit, "sampled")["response"] == "lost"


@pytest.mark.parametrize("shift", [2.0, -3.0, 0.25])
def test_a_positive_offset_moves_the_model_up_the_coordinate(shift: float) -> None:
    data = over_x(peak_at(X, *TRUTH)[None])
    for one in (data, data.isel(x=slice(None, None, -1))):
        fit = one.modelfit(peak(), "x", response=kernel([1.0], [shift]))
        assert_allclose(fit["mean_0"], TRUTH[1] - shift, rtol=1e-8)
        assert_allclose(fit["stddev_0"], TRUTH[2], rtol=1e-8)


def test_a_causal_response_is_what_convolve_makes_of_it() -> None:
    """A decay behind the response of a detector, which looks back in time; the light begins inside the record."""
    t = np.arange(80.0)
    response = np.array([0.0, 1.0, 3.0, 2.0, 1.0, 0.5])
    light = np.where(t >= 20, 50.0 * np.exp(-(t - 20) / 9.0), 0.0)
    y = np.convolve(light, response / response.sum())[: t.size]

    def decay(t: Any, a: float = 30.0, tau: float = 6.0) -> Any:
        return np.where(t >= 20, a * np.exp(-(t - 20) / tau), 0.0)

    fit = xr.DataArray(y, dims="t", coords={"t": t}).modelfit(decay, "t", response=kernel(response, np.arange(6.0)))
    assert_allclose([fit["a"], fit["tau"]], [50.0, 9.0], rtol=1e-7)


@pytest.mark.parametrize("x", [X, 50.0 - 0.5 * X, (4000 + 0.3 * X).astype("f4")], ids=["up", "down", "float32"])
def test_a_kernel_without_a_coordinate_counts_samples_from_its_middle(x: np.ndarray) -> None:
    """As `numpy.convolve` with mode="same" has it, along the samples; there is no edge, as the model goes on."""
    values = np.array([0.5, 1.0, 4.0, 2.5, 2.0])
    truth = (5.0, float(x[30] + 0.3 * (x[1] - x[0])), abs(float(x[1] - x[0])) * 1.6, 1.0)
    step = (float(x[-1]) - float(x[0])) / (x.size - 1)
    longer = float(x[0]) + step * np.arange(-2, x.size + 2)
    y = np.convolve(peak_at(longer, *truth), values / values.sum(), mode="valid")
    model = M.Gaussian1D(4, float(x[30]), truth[2] * 1.2) + M.Const1D(0.5)
    fit = over_x(y[None], x).modelfit(model, "x", response=xr.DataArray(values, dims="k"))
    for name, value in zip(PEAK, truth, strict=True):
        assert_allclose(fit[name], value, rtol=1e-4 if x.dtype == "f4" else 1e-7)


@pytest.mark.parametrize(
    ("x", "offsets"),
    [
        (np.sort(np.random.default_rng(1).uniform(0, 60, 60)), OFFSETS),
        (X, 0.37 * OFFSETS),
        (X, np.array([-3.0, -1.0, 0.0, 0.5, 7.0])),
        (X, np.array([0.0, 25.0])),
        (X, np.array([5.0, 6.0, 8.0])),
        (X[::-1], np.array([5.0, 6.0, 8.0])),
        (0.1 * X, np.array([0.3, -0.2, 0.1])),
    ],
    ids=["uneven grid", "between samples", "uneven offsets", "an echo", "far off", "far off, falling", "unordered"],
)
def test_any_grid_and_any_offsets(x: np.ndarray, offsets: np.ndarray) -> None:
    values = KERNEL[: offsets.size]

    def samples(_: int, *p: float) -> np.ndarray:
        return behind(lambda at: peak_at(at, *p), x, offsets, values)

    wide = np.ptp(x) / 60
    start = (4.0, 30.0 * wide, 2.0 * wide, 0.5)
    y = spectra(samples(0, 5.0, 30.3 * wide, 1.6 * wide, 1.0))
    model = M.Gaussian1D(*start[:3]) + M.Const1D(0.5)
    fit = over_x(y, x).modelfit(model, "x", sigma=NOISE, response=kernel(values, offsets))
    assert_right(fit, PEAK, answers(samples, y, NOISE, start))


def test_a_kernel_on_a_scale_of_each_position() -> None:
    x = np.array([[0.0], [0.4], [-2.0], [1.0]]) + np.array([[1.0], [1.05], [1.1], [0.97]]) * X

    def samples(i: int, *p: float) -> np.ndarray:
        return behind(lambda at: peak_at(at, *p), x[i])

    y = np.stack([spectra(samples(i, *TRUTH))[i] for i in range(4)])
    da = xr.DataArray(y, dims=("p", "c"), coords={"w": (("p", "c"), x)})
    fit = da.modelfit(peak(), "c", coords="w", sigma=NOISE, response=kernel())
    assert_right(fit, PEAK, answers(samples, y, NOISE, START))


def test_pooled_samples_are_behind_the_same_kernel() -> None:
    def samples(_: int, *p: float) -> np.ndarray:
        return np.tile(behind(lambda x: peak_at(x, *p), X), 4)

    y = spectra(samples(0, *TRUTH)[:60])
    fit = over_x(y).modelfit(peak(), ("x", "p"), coords="x", sigma=NOISE, response=kernel())
    assert_right(fit, PEAK, answers(samples, y.reshape(1, -1), NOISE, START))
    assert_allclose(((fit.modelfit.residuals(over_x(y)) / NOISE) ** 2).sum(), fit["chi2"], rtol=1e-10)


def test_gaussians_behind_a_gaussian() -> None:
    """Variances add up, to the accuracy of a sum in place of an integral: all digits, for steps below a width."""
    offsets = np.arange(-12, 13) * 1.0
    response = kernel(np.exp(-0.5 * (offsets / 1.7) ** 2), offsets)
    y = 4.0 * gauss(X, 1.0, 30.2, np.hypot(2.0, 1.7)) * 2.0 / np.hypot(2.0, 1.7)
    fit = over_x(y[None]).modelfit(M.Gaussian1D(3, 30, 3), "x", response=response)
    assert_allclose([fit["amplitude"][0], fit["mean"][0], fit["stddev"][0]], [4.0, 30.2, 2.0], rtol=1e-8)


@pytest.mark.parametrize("model", [M.Linear1D(), M.Legendre1D(4, domain=(-10, 70)), M.Polynomial1D(2) + M.Linear1D()])
def test_linear_models_are_solved_at_once(model: Any) -> None:
    if model.n_submodels > 1:
        for name in ("c0_0", "c1_0"):
            getattr(model, name).fixed = True
    free = [name for name in model.param_names if not model.fixed[name]]

    def column(name: str, x: np.ndarray) -> np.ndarray:
        one = model.copy()
        one.parameters = [float(n == name) for n in model.param_names]
        return np.asarray(one(x))

    A = np.stack([behind(lambda x, n=name: column(n, x), X) for name in free], axis=1)
    y = spectra(A @ np.random.default_rng(2).normal(size=len(free)) / np.abs(A).max())
    fit = over_x(y).modelfit(model, "x", sigma=NOISE, response=kernel())
    assert (fit["n_iter"] == 1).all()
    for i in range(4):
        keep = np.isfinite(y[i])
        right, *_ = np.linalg.lstsq(A[keep], y[i][keep], rcond=None)
        errors = NOISE * np.sqrt(np.diag(np.linalg.inv(A[keep].T @ A[keep])))
        for name, value, error in zip(free, right, errors, strict=True):
            assert abs(fit[name].values[i] - value) <= 1e-8 * error
            assert_allclose(fit[f"{name}_stderr"].values[i], error, rtol=1e-8)


# --- matrices


def matrix(n: int = 60) -> np.ndarray:
    """What falls into each place (rows), as the samples (columns) see it: neither symmetric nor of sum 1."""
    at = np.arange(n)
    width = 1.0 + 0.03 * at
    M_ = np.exp(-0.5 * ((at[None] - at[:, None] - 1.3) / width[:, None]) ** 2) / width[:, None]
    return np.asarray(M_ * (0.6 + 0.005 * at))


@fitters(compiled=True)
def test_a_matrix_is_taken_as_it_is(fitter: Any, engine: str) -> None:
    R = matrix()

    def samples(_: int, *p: float) -> np.ndarray:
        return R.T @ peak_at(X, *p)

    y = spectra(samples(0, *TRUTH))
    response = xr.DataArray(R, dims=("x", "channel"))
    for one in (response, response.T):
        fit = over_x(y).modelfit(peak(), "x", sigma=NOISE, fitter=fitter, response=one)
        assert_right(fit, PEAK, answers(samples, y, NOISE, START))
        assert recorded(fit, "engine") == engine
    percent = (100 * response).assign_attrs(units="%")
    again = over_x(y).modelfit(peak(), "x", sigma=NOISE, response=percent)
    assert_allclose(again["amplitude_0"], fit["amplitude_0"], rtol=1e-5)


@fitters()
def test_a_matrix_of_each_position_over_bins(fitter: Any, engine: str) -> None:
    R = np.stack([matrix() * (1 + 0.1 * i) + 0.01 * i for i in range(4)])
    low, high = between(X)
    truth, start = (5.0, 30.3, 0.8, 1.0), (4.0, 30.0, 1.0, 0.5)

    def samples(i: int, a: float, m: float, s: float, c: float) -> np.ndarray:
        return R[i].T @ (mean_gauss(low, high, a, m, s) + c)

    y = np.stack([spectra(samples(i, *truth))[i] for i in range(4)])
    model = M.Gaussian1D(*start[:3]) + M.Const1D(0.5)
    response = xr.DataArray(R, dims=("p", "x", "channel")).transpose("channel", "x", "p")
    fit = over_x(y).modelfit(model, "x", sigma=NOISE, fitter=fitter, response=response, integrate=True)
    assert_right(fit, PEAK, answers(samples, y, NOISE, start))
    assert recorded(fit, "engine") == engine


# --- both


@fitters()
@pytest.mark.parametrize("grid", ["even", "uneven"])
def test_bins_and_a_kernel_together(fitter: Any, engine: str, grid: str) -> None:
    x = X if grid == "even" else X + 0.2 * np.sin(X)
    low, high = between(x)
    truth, start = (5.0, 30.3, 0.8, 1.0), (4.0, 30.0, 1.0, 0.5)

    def samples(_: int, a: float, m: float, s: float, c: float) -> np.ndarray:
        moved = sum(k * mean_gauss(low - o, high - o, a, m, s) for k, o in zip(KERNEL, OFFSETS, strict=True))
        return np.asarray(moved / KERNEL.sum() + c)

    y = spectra(samples(0, *truth))
    model = M.Gaussian1D(*start[:3]) + M.Const1D(0.5)
    fit = over_x(y, x).modelfit(model, "x", sigma=NOISE, fitter=fitter, response=kernel(), integrate=True)
    assert_right(fit, PEAK, answers(samples, y, NOISE, start))
    assert recorded(fit, "engine") == engine
    assert recorded(fit, "sampled")["points"] >= 8


def same_width(model: Any) -> Any:
    return model.stddev_0


@fitters()
def test_ties_bounds_and_masks_behind_a_kernel(fitter: Any, engine: str) -> None:
    """What a mask leaves out is still seen by its neighbours through the kernel."""

    def samples(_: int, a: float, m: float, s: float, b: float, c: float) -> np.ndarray:
        return behind(lambda x: gauss(x, a, m, s) + gauss(x, b, 38.0, s) + c, X)

    y = spectra(samples(0, 5.0, 30.3, 1.6, 3.0, 1.0))
    y[:, 33] = 1e3
    model = M.Gaussian1D(4, 30, 2) + M.Gaussian1D(2, 37, 2) + M.Const1D(0.5)
    model.stddev_1.tied = same_width
    da = over_x(y)
    fit = da.modelfit(
        model, "x", sigma=NOISE, fitter=fitter, response=kernel(), where=da["x"] != 33,
        bounds={"mean_1": (38.0, 38.0), "amplitude_0": (0, None)},
    )  # fmt: skip
    y[:, 33] = np.nan
    right = answers(samples, y, NOISE, (4, 30, 2, 2, 0.5))
    assert_right(fit, ["amplitude_0", "mean_0", "stddev_0", "amplitude_1", "amplitude_2"], right)
    assert (fit["stddev_1"] == fit["stddev_0"]).all()
    assert recorded(fit, "engine") == engine


USELESS = {
    "NaN": np.where(np.arange(12) == 4, np.nan, KERNEL),
    "all NaN": np.full(12, np.nan),
    "infinite": np.where(np.arange(12) == 4, np.inf, KERNEL),
    "zero": np.zeros(12),
    "sum 0": np.repeat([1.0, -1.0], 6),
    "sum 0 but for rounding": np.array([0.1, 0.2, -0.3] * 4),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("offsets", [OFFSETS, 0.37 * OFFSETS], ids=["shared nodes", "nodes of each sample"])
@fitters(compiled=True)
def test_a_useless_kernel_fails_its_own_fit_alone(fitter: Any, engine: str, offsets: np.ndarray, lazy: bool) -> None:
    """With one status, whatever is wrong with it; the others are fitted as if it were not there."""
    n = len(USELESS)
    good = np.stack([np.roll(KERNEL, i % 3) for i in range(n + 2)])
    y = np.stack([behind(lambda x: peak_at(x, *TRUTH), X, offsets, values) for values in good])
    y += np.random.default_rng(8).normal(0.0, NOISE, y.shape)
    y[2, :] = np.nan
    kernels = np.concatenate([good[:1], [*USELESS.values()], good[-1:]])
    data, response = over_x(y), kernel(kernels, offsets, "p")
    one = (data.chunk(p=3), response.chunk(p=2)) if lazy else (data, response)
    told = {"sigma": NOISE, "fitter": fitter, "errors": "ignore"}
    fit = one[0].modelfit(peak(), "x", response=one[1], **told).compute()
    assert recorded(fit, "engine") == engine
    nothing, bad = int(FitStatus.NO_DATA), int(FitStatus.NONFINITE_DATA)
    assert fit["fit_status"].values.tolist() == [1, bad, nothing, *[bad] * (n - 2), 1]
    for name in ("amplitude_0", "mean_0_stderr", "chi2"):
        assert np.isnan(fit[name][1:-1]).all()
    right = data.modelfit(peak(), "x", response=kernel(good, offsets, "p"), **told)
    for name in fit.data_vars:
        np.testing.assert_array_equal(fit[name][[0, -1]], right[name][[0, -1]])
    values = one[0].modelfit(peak(), "x", response=one[1], **told).modelfit.evaluate(one[0], response=one[1])
    assert np.isnan(values.values[1:-1]).all()


@fitters(compiled=True)
def test_a_matrix_that_is_not_finite_fails_its_own_fit_alone(fitter: Any, engine: str) -> None:
    matrices = np.stack([np.eye(60)] * 3)
    matrices[1, 7, 9] = np.nan
    response = xr.DataArray(matrices, dims=("p", "x", "seen"))
    data = over_x(spectra(peak_at(X, *TRUTH), 3))
    for integrate in (None, True):
        fit = data.modelfit(
            peak(), "x", sigma=NOISE, fitter=fitter, response=response, integrate=integrate, errors="ignore"
        )
        assert fit["fit_status"].values.tolist() == [1, int(FitStatus.NONFINITE_DATA), 1]
