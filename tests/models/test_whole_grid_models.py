"""Models that see all their samples: the answers of least squares on the whole grid, gaps or not, with any fitter."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import warnings
from collections.abc import Callable
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy.convolution import convolve_models
from astropy.modeling import Fittable2DModel, Model, Parameter, custom_model, fix_inputs
from astropy.modeling.fitting import FittingWithOutlierRemoval, LMLSQFitter, TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D, Polynomial1D, Shift
from astropy.stats import sigma_clip
from scipy.ndimage import gaussian_filter1d

from support.whole_grid import CASES, POSITIONS, Case, assert_right, optimum, recorded, right_of
from xr_modelfit import BatchLSQFitter, FitStatus, fit

pytestmark = pytest.mark.quick_share(3)

every_case = pytest.mark.parametrize("name", CASES)
FITTERS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: BatchLSQFitter(engine="numpy"),
    "numba": lambda: BatchLSQFitter(engine="numba"),
    "TRF": TRFLSQFitter,
}
every_fitter = pytest.mark.parametrize("fitter", FITTERS)
ON_ITS_OWN_GRID = "convolve_models_fft"  # its value at a sample depends on no other sample


@pytest.mark.quick_share(2)
@every_fitter
@every_case
def test_gaps_do_not_change_the_grid(name: str, fitter: str) -> None:
    """Parameters and errors at each position, each with other gaps, and one without any."""
    if fitter == "numba":
        pytest.importorskip("numba")
    case = CASES[name]
    result = case.fit(case.data(), sigma=case.noise, fitter=FITTERS[fitter]())
    for (i, j), right in right_of(name).items():
        assert_right(result.isel(p=i, q=j), case.free, right)


@pytest.mark.quick_share(2)
@every_case
def test_the_record_says_how_the_model_was_evaluated(name: str) -> None:
    """No model of several samples is compiled or taken for a pointwise one; its axes are those of the data."""
    case = CASES[name]
    for fitter, engine in ((BatchLSQFitter(), "numpy"), (TRFLSQFitter(), "astropy")):
        record = recorded(case.fit(case.data(), fitter=fitter))
        assert record["engine"] == engine
        if name != ON_ITS_OWN_GRID:
            assert record["pointwise"] is False
            assert record["grid_dims"] == list(case.dims)


# --- as parallel_fit_dask does it

ALIKE = ["np.convolve", "cumsum", "convolve_models", "fft", "x - x.mean()", "gaussian_filter", "fftconvolve"]


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("name", ALIKE)
def test_maps_are_those_of_parallel_fit_dask(name: str, masked: bool) -> None:
    """Data without gaps, and a mask, which gives samples the weight zero there; both run the same fitter.

    Both sum the same residuals in the same order, at the fitter's default tolerances.
    """
    case = CASES[name]
    data, gone = case.data(gaps=False), case.left_out
    axes = tuple(range(2, data.ndim))
    theirs = parallel_fit_dask(
        model=case.model(),
        fitter=TRFLSQFitter(),
        data=data.values,
        mask=gone if masked else None,
        fitting_axes=axes,
        world=tuple(case.coords.values()),
        scheduler="synchronous",
    )
    reads = dict(zip(case.model().inputs, case.dims, strict=True))  # they pass axes to inputs in order
    used = data.copy(data=~gone) if masked else None
    ours = case.fit(data, where=used, fitter=TRFLSQFitter(), coords=reads)
    assert (ours["fit_status"] == FitStatus.CONVERGED).all()
    for parameter in case.free:
        np.testing.assert_allclose(ours[parameter].values, getattr(theirs, parameter).value, rtol=1e-10)


# --- what else a call says


DECAY = CASES["np.convolve"]
IMAGE = CASES["fftconvolve"]


@pytest.mark.parametrize("case", [DECAY, IMAGE], ids=lambda c: c.name)
@every_fitter
def test_errors_of_the_samples_may_vary(case: Case, fitter: str) -> None:
    """A map of sigma, with places where it is not usable: those are left out as well."""
    data = case.data()
    sigma = case.noise * np.random.default_rng(3).uniform(0.5, 3.0, data.shape)
    sigma.reshape(-1)[::17] = np.nan
    sigma.reshape(-1)[5::23] = 0.0
    result = case.fit(data, sigma=data.copy(data=sigma), fitter=FITTERS[fitter]())
    for i, j in np.ndindex(2, 2):
        s = np.where(sigma[i, j] > 0, sigma[i, j], np.nan)
        assert_right(result.isel(p=i, q=j), case.free, case.right(data.values[i, j], s))


@every_fitter
def test_weights_are_relative(fitter: str) -> None:
    """Errors come from the scatter of the samples that are kept."""
    data = DECAY.data()
    w = np.random.default_rng(3).uniform(0.5, 3.0, data.shape)
    w[..., 10] = 0.0
    result = DECAY.fit(data, weights=data.copy(data=w), fitter=FITTERS[fitter]())
    for i, j in np.ndindex(2, 2):
        right = DECAY.right(data.values[i, j], np.where(w[i, j] > 0, 1 / np.where(w[i, j] > 0, w[i, j], 1.0), np.nan))
        scaled = right._replace(covariance=right.covariance * right.chi2 / right.dof)
        assert_right(result.isel(p=i, q=j), DECAY.free, scaled)


@every_fitter
def test_starts_and_bounds_may_vary(fitter: str) -> None:
    """Maps of both: where a bound is in the way, the others are those with the parameter held there."""
    data = DECAY.data()
    start = xr.DataArray([[2.0, 3.0], [1.5, 4.0]], dims=("p", "q"))
    high = xr.DataArray([[10.0, 2.4], [2.45, np.nan]], dims=("p", "q"))
    result = DECAY.fit(
        data,
        sigma=DECAY.noise,
        p0={"tau": start.clip(max=2.3)},
        bounds={"tau": (0.5, high)},
        fitter=FITTERS[fitter](),
    )
    for i, j in np.ndindex(2, 2):
        here, right = result.isel(p=i, q=j), right_of(DECAY.name)[i, j]
        if not right.parameters[1] > high[i, j]:
            assert_right(here, DECAY.free, right)
            continue
        y, limit = data.values[i, j], float(high[i, j])
        held = optimum(lambda p, y=y, t=limit: (DECAY.values([p[0], t, p[1]]) - y) / DECAY.noise, [150.0, 2.0])
        assert here["fit_status"] == FitStatus.CONVERGED_AT_BOUND
        # TRF ends inside, 1e-3 of an error from the bound at most, which moves the others by as much.
        np.testing.assert_allclose(here["tau"], limit, rtol=1e-5)
        np.testing.assert_array_less(np.abs(here["a"] - held.parameters[0]) / held.errors[0], 5e-3)
        np.testing.assert_array_less(np.abs(here["background"] - held.parameters[1]) / held.errors[1], 5e-3)
        np.testing.assert_allclose([here["a_stderr"], here["background_stderr"]], held.errors, rtol=1e-3)
        assert np.isnan(here["tau_stderr"])
    assert (result["fit_status"] == FitStatus.CONVERGED_AT_BOUND).sum() == 2


@custom_model
def line_behind_kernel(x, a=4.0, centre=0.5, width=1.5, kernel=0.5):
    """A line behind a kernel of which one width alone is known."""
    if np.any(kernel != 0.5):
        raise ValueError("there is no kernel of this width")
    return gaussian_filter1d(a * np.exp(-0.5 * ((x - centre) / width) ** 2), 2.0, mode="constant")


X = np.linspace(-9.0, 9.0, 72)


def series(model: Any, truth: list[float], noise: float, x: np.ndarray = X) -> xr.DataArray:
    """Noisy values of a model with gaps: none, some samples, a stretch."""
    y = np.stack([model.evaluate(np.array(x), *truth)] * 3)
    y += np.random.default_rng(2).normal(0.0, noise, y.shape)
    y[1, [3, 30, 34, 50]] = np.nan
    y[2, 28:37] = np.nan
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x}, name="flux")


@every_fitter
def test_a_fixed_parameter_is_never_moved(fitter: str) -> None:
    """The model raises if it is: no derivative is taken, and no trial made, with another value."""
    data = series(line_behind_kernel, [5.0, 0.7, 1.3, 0.5], 0.1)
    model = line_behind_kernel(fixed={"kernel": True})
    result = fit(data, model, "x", sigma=0.1, fitter=FITTERS[fitter](), errors="ignore")
    assert recorded(result)["pointwise"] is False
    for i, y in enumerate(data.values):
        right = optimum(lambda p, y=y: (line_behind_kernel.evaluate(X, *p, 0.5) - y) / 0.1, [4.0, 0.5, 1.5])
        assert_right(result.isel(p=i), ("a", "centre", "width"), right)
    assert (result["kernel"] == 0.5).all()
    assert (result["kernel_stderr"] == 0.0).all()


@custom_model
def two_lines_filtered(x, a=4.0, centre=-2.0, b=2.0, other=2.0, width=1.0):
    lines = a * np.exp(-0.5 * ((x - centre) / width) ** 2) + b * np.exp(-0.5 * ((x - other) / width) ** 2)
    return gaussian_filter1d(lines, 2.0)


@every_fitter
@pytest.mark.parametrize("tie", [lambda m: m.centre + 4.0, lambda m: 4.0 / (1.0 + m.width.value**2)])
def test_tied_parameters(tie: Callable[[Model], Any], fitter: str) -> None:
    """A linear tie and another one: least squares in the free ones, errors through the tie."""
    truth = two_lines_filtered(5.0, -1.8, 2.5, 0.0, 1.1)
    truth.other = float(tie(truth))
    data = series(two_lines_filtered, list(truth.parameters), 0.1)
    result = fit(
        data, two_lines_filtered(tied={"other": tie}), "x", sigma=0.1, fitter=FITTERS[fitter](), errors="ignore"
    )
    free = ("a", "centre", "b", "width")

    def other(p: np.ndarray) -> float:
        return float(tie(two_lines_filtered(*p[:3], 0.0, p[3])))

    for i, y in enumerate(data.values):
        right = optimum(
            lambda p, y=y: (two_lines_filtered.evaluate(X, *p[:3], other(p), p[3]) - y) / 0.1, [4.0, -2.0, 2.0, 1.0]
        )
        here = result.isel(p=i)
        assert_right(here, free, right)
        np.testing.assert_allclose(here["other"], other(np.array([here[n].item() for n in free])), rtol=1e-12)
        steps = 1e-5 * np.eye(4)
        slopes = np.array([other(right.parameters + s) - other(right.parameters - s) for s in steps]) / 2e-5
        np.testing.assert_allclose(here["other_stderr"], np.sqrt(slopes @ right.covariance @ slopes), rtol=1e-3)


@custom_model
def with_a_hole(x, a=4.0, centre=0.5, width=1.5):
    """A smoothed line, without a value in a stretch of its coordinate."""
    line = gaussian_filter1d(a * np.exp(-0.5 * ((x - centre) / width) ** 2), 2.0)
    return np.where((x > 4.0) & (x < 5.0), np.nan, line)


@every_fitter
def test_a_model_may_have_no_value_where_samples_are_left_out(fitter: str) -> None:
    """It has no weight there; where a sample is kept, the fit has failed."""
    data = series(with_a_hole, [5.0, 0.7, 1.3], 0.1)
    result = fit(data, with_a_hole(), "x", sigma=0.1, fitter=FITTERS[fitter](), errors="ignore")
    for i, y in enumerate(data.values):
        right = optimum(lambda p, y=y: (with_a_hole.evaluate(X, *p) - y) / 0.1, [4.0, 0.5, 1.5])
        assert_right(result.isel(p=i), ("a", "centre", "width"), right)
    whole = fit(data.fillna(0.0).where(data["x"] != X[50], 0.0).fillna(0.0), with_a_hole(), "x", sigma=0.1,
                fitter=FITTERS[fitter](), errors="ignore")  # fmt: skip
    assert (whole["fit_status"] == FitStatus.NONFINITE_MODEL).all()
    assert whole["a"].isnull().all()


@pytest.mark.parametrize("fill", [1e7, 1e10])
@every_fitter
def test_a_large_value_elsewhere_hides_no_neighbours(fill: float, fitter: str) -> None:
    """A number that stands for none where samples are left out; beside it all else is small.

    Of sixteen digits a line of 5 beside 1e10 has seven, and its derivatives by differences more than four.
    """

    @custom_model
    def filled(x, a=4.0, centre=0.5, width=1.5):
        line = gaussian_filter1d(a * np.exp(-0.5 * ((x - centre) / width) ** 2), 2.0)
        return np.where((x > 4.0) & (x < 5.0), fill, line)

    data = series(filled, [5.0, 0.7, 1.3], 0.1).where((X < 4.0) | (X > 5.0))
    result = fit(data, filled(), "x", sigma=0.1, fitter=FITTERS[fitter](), errors="ignore")
    assert recorded(result)["pointwise"] is False
    for i, y in enumerate(data.values):
        right = optimum(lambda p, y=y: (filled.evaluate(X, *p) - y) / 0.1, [5.0, 0.7, 1.3])
        assert_right(result.isel(p=i), ("a", "centre", "width"), right)


# --- as a part of an expression


@custom_model
def low_pass(x, a=4.0, centre=0.5, width=1.5):
    """A line without its high frequencies; code that takes no complex numbers."""
    line = a * np.exp(-0.5 * ((x - centre) / width) ** 2)
    return np.fft.irfft(np.fft.rfft(line) * np.exp(-20.0 * np.fft.rfftfreq(x.size) ** 2), x.size)


def line(x: np.ndarray, *p: float) -> np.ndarray:
    return low_pass.evaluate(x, *p)


# The model, its values from its free parameters, the truth, and how many parts it has.
COMPOUNDS: dict[str, tuple[Callable[[], Model], Callable[..., np.ndarray], list[float], int]] = {
    "sum": (
        lambda: low_pass() + Linear1D(0.0, 0.5),
        lambda a, c, w, s, b: line(X, a, c, w) + s * X + b,
        [5.0, 0.7, 1.3, 0.01, 0.4],
        2,
    ),
    "difference": (lambda: Const1D(0.5) - low_pass(), lambda b, a, c, w: b - line(X, a, c, w), [0.4, 5.0, 0.7, 1.3], 2),
    "pipe": (
        lambda: low_pass() | Linear1D(1.0, 0.5, fixed={"slope": True}),
        lambda a, c, w, b: line(X, a, c, w) + b,
        [5.0, 0.7, 1.3, 0.4],
        1,
    ),
    "behind a shift": (
        lambda: Shift(0.1) | low_pass(fixed={"centre": True}) + Const1D(0.5),
        lambda s, a, w, b: line(X + s, a, 0.5, w) + b,
        [-0.2, 5.0, 1.3, 0.4],
        2,
    ),
    "product": (
        lambda: low_pass() * Polynomial1D(1, c0=1.0, c1=0.05, fixed={"c0": True, "c1": True}),
        lambda a, c, w: line(X, a, c, w) * (1.0 + 0.05 * X),
        [5.0, 0.7, 1.3],
        2,
    ),
    "quotient": (
        lambda: low_pass(centre=3.0) / Const1D(2.0, fixed={"amplitude": True}),
        lambda a, c, w: line(X, a, c, w) / 2.0,
        [5.0, 2.7, 1.3],
        2,
    ),
    "held input": (
        lambda: fix_inputs(
            custom_model(lambda x, k, a=4.0, centre=0.5, width=1.5: k * line(x, a, centre, width))(), {1: 2.0}
        ),
        lambda a, c, w: 2.0 * line(X, a, c, w),
        [5.0, 0.7, 1.3],
        1,
    ),
}


@every_fitter
@pytest.mark.parametrize("name", COMPOUNDS)
def test_a_compound_of_which_one_part_sees_all_samples(name: str, fitter: str) -> None:
    """The whole is fitted on its grid, and so is each of its parts evaluated."""
    build, values, truth, n_parts = COMPOUNDS[name]
    y = values(*truth) + np.random.default_rng(3).normal(0, 0.1, (3, X.size))
    y[1, ::9] = np.nan
    y[2, 40:46] = np.nan
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": X}, name="flux")
    model = build()
    free = [n for n in model.param_names if not model.fixed[n]]
    result = fit(data, model, "x", sigma=0.1, fitter=FITTERS[fitter](), errors="ignore")
    assert recorded(result)["pointwise"] is False
    found = []
    for i in range(3):
        assert_right(result.isel(p=i), free, optimum(lambda p, i=i: (values(*p) - y[i]) / 0.1, truth))
        found.append(values(*(result[n].values[i] for n in free)))
    whole = result.modelfit.evaluate(data, model=model)
    np.testing.assert_allclose(whole, found, rtol=1e-12, atol=1e-12)
    parts = list(result.modelfit.components(data, model=model).values())
    assert len(parts) == n_parts
    together = {"product": lambda a, b: a * b, "quotient": lambda a, b: a / b}.get(name, lambda *terms: sum(terms))
    np.testing.assert_allclose(together(*parts), whole, rtol=1e-12, atol=1e-12)


@every_fitter
def test_astropys_convolution_of_images(fitter: str) -> None:
    """`convolve_models` of two sources, over an image that has gaps."""
    y, x = np.mgrid[:13, :15].astype(float)

    def build(*p: float) -> Model:
        held = {n: True for n in Gaussian2D.param_names}
        return convolve_models(Gaussian2D(*p), Gaussian2D(1, 7, 6, 1.2, 1.5, 0.3, fixed=held))

    truth = [5.0, 7.3, 5.8, 2.0, 1.6, 0.4]
    image = build(*truth)(x, y) + np.random.default_rng(0).normal(0, 0.05, (2, *x.shape))
    image[1, 3:6, 4:9] = np.nan
    data = xr.DataArray(image, dims=("p", "y", "x"), coords={"y": y[:, 0], "x": x[0]})
    model = build(4.0, 7.0, 6.0, 2.2, 1.5, 0.3)
    result = fit(data, model, ("y", "x"), sigma=0.05, fitter=FITTERS[fitter](), errors="ignore")
    for i in range(2):
        right = optimum(lambda p, i=i: (build(*p)(x, y) - image[i]).ravel() / 0.05, truth)
        assert_right(result.isel(p=i), model.param_names[:6], right)


# --- coordinates


@every_fitter
def test_coordinates_may_vary_from_fit_to_fit(fitter: str) -> None:
    """Each fit has the grid of its own; the model decides by its grid whether it looks at neighbours."""
    case = CASES["np.diff"]
    grids = np.stack([X**3 / 81.0, X, 0.9 * X, np.sort(np.random.default_rng(1).uniform(-9, 9, X.size))])
    y = np.stack([case.values(case.truth, t=x) for x in grids])
    y += np.random.default_rng(4).normal(0, case.noise, y.shape)
    y[1:, 31:36] = np.nan
    y[0, ::7] = np.nan
    place = xr.DataArray(grids, dims=("p", "t"), name="place")
    data = xr.DataArray(y, dims=("p", "t"))
    for order in ([0, 1, 2, 3], [1, 3, 0, 2]):
        result = fit(
            data.isel(p=order), case.model(), "t", coords=place.isel(p=order), sigma=case.noise,
            fitter=FITTERS[fitter](), errors="ignore",
        )  # fmt: skip
        for number, i in enumerate(order):
            assert_right(result.isel(p=number), case.free, case.right(y[i], t=grids[i]))


@pytest.mark.parametrize("name", ["np.diff", "np.convolve", "x.size > 50"])
def test_coordinates_that_are_not_read_before_the_fit(name: str) -> None:
    """Lazy ones: the model is tried elsewhere, and found out all the same."""
    case = CASES[name]
    place = xr.DataArray(dask.array.from_array(case.coords["t"], chunks=20), dims="t", name="place")
    result = case.fit(case.data().drop_vars("t"), coords=place, sigma=case.noise).compute()
    assert recorded(result)["pointwise"] is False
    for (i, j), right in right_of(name).items():
        assert_right(result.isel(p=i, q=j), case.free, right)


@every_fitter
def test_coordinates_of_several_dims(fitter: str) -> None:
    """A rotated grid: two inputs that each read an array over both dims."""
    v, u = np.meshgrid(np.arange(12.0), np.arange(14.0), indexing="ij")
    x, y = 0.9 * u - 0.3 * v + 2.0, 0.3 * u + 0.9 * v
    truth = (20.0, 7.7, 6.6, 2.4)
    image = np.stack([IMAGE.model(*truth).evaluate(x, y, *truth)] * 2)
    image += np.random.default_rng(6).normal(0, 0.1, image.shape)
    image[1][np.random.default_rng(7).random(x.shape) < 0.3] = np.nan
    data = xr.DataArray(image, dims=("p", "v", "u"), coords={"x": (("v", "u"), x), "y": (("v", "u"), y)}, name="flux")
    result = fit(data, IMAGE.model(10, 7, 6, 3), ("u", "v"), coords={"x": "x", "y": "y"}, sigma=0.1,
                 fitter=FITTERS[fitter](), errors="ignore")  # fmt: skip
    for i in range(2):
        right = optimum(lambda p, i=i: (IMAGE.model.evaluate(x, y, *p) - image[i]).ravel() / 0.1, [10.0, 7.0, 6.0, 3.0])
        assert_right(result.isel(p=i), IMAGE.free, right)


@every_fitter
def test_an_image_with_pooled_samples_between_its_axes(fitter: str) -> None:
    """The model gets an image all the same, and its values serve all that are pooled."""
    case = CASES["gaussian_filter"]
    image = case.values(case.truth)
    flux = image[:, None, :] + np.random.default_rng(0).normal(0, 0.1, (2, image.shape[0], 3, image.shape[1]))
    flux[1][np.random.default_rng(1).random(flux.shape[1:]) < 0.3] = np.nan
    data = xr.DataArray(flux, dims=("p", "y", "member", "x"), coords=case.coords)
    result = fit(data, case.model(), ("x", "member", "y"), coords=case.reads, sigma=0.1, fitter=FITTERS[fitter](),
                 errors="ignore")  # fmt: skip
    assert recorded(result)["grid_dims"] == ["y", "x"]
    value = result.modelfit.evaluate(data)
    for i in range(2):
        right = optimum(lambda p, i=i: (case.values(p)[:, None, :] - flux[i]).ravel() / 0.1, case.truth)
        assert_right(result.isel(p=i), case.free, right)
        found = case.values([result[n].values[i] for n in case.free])
        for member in range(3):
            np.testing.assert_allclose(value.isel(p=i, member=member).transpose("y", "x"), found, rtol=1e-12)


@pytest.mark.parametrize("dims", [("p", "t", "member"), ("member", "p", "t")])
@every_fitter
def test_pooled_samples_share_the_grid(dims: tuple[str, ...], fitter: str) -> None:
    """A fitted dim that no input reads is no axis of the model: it says the same for all along it."""
    x = DECAY.coords["t"]
    y = DECAY.values(DECAY.truth)[:, None] + np.random.default_rng(6).normal(0, DECAY.noise, (2, x.size, 3))
    y[0, 5:12, 1] = np.nan
    y[1, 40:, 0] = np.nan
    data = xr.DataArray(y, dims=("p", "t", "member"), coords={"t": x}).transpose(*dims)
    result = fit(data, DECAY.model(), ("t", "member"), coords="t", sigma=DECAY.noise,
                 fitter=FITTERS[fitter](), errors="ignore")  # fmt: skip
    assert recorded(result)["grid_dims"] == ["t"]
    start = [100.0, 2.0, 1.0]
    for i in range(2):
        right = optimum(lambda p, i=i: ((DECAY.values(p)[:, None] - y[i]) / DECAY.noise).ravel(), start)
        assert_right(result.isel(p=i), DECAY.free, right)


def test_all_dims_may_be_fitted() -> None:
    """A single fit, of an image, without any dim left."""
    data = IMAGE.data().isel(p=1, q=1)
    result = fit(data, IMAGE.model(), ..., coords=IMAGE.reads, sigma=IMAGE.noise, errors="ignore")
    assert_right(result, IMAGE.free, right_of(IMAGE.name)[1, 1])


@pytest.mark.parametrize("name", ["np.convolve", "fftconvolve"])
def test_a_coordinate_with_a_gap_is_refused(name: str) -> None:
    """Where all fits share it, at the call, by its name and how many places there are; not if the user knows better."""
    case = CASES[name]
    place = case.coords[case.inputs[0]].copy()
    place[[2, 4]] = [np.nan, np.inf]
    data = case.data().assign_coords(place=(case.inputs[0], place))
    reads = case.reads | {next(iter(case.reads)): "place"}
    for fitter in (None, TRFLSQFitter()):
        with pytest.raises(ValueError, match=rf"'place' is not finite at 2 of {place.size} places"):
            case.fit(data, coords=reads, fitter=fitter)
    with pytest.raises(ValueError, match="'place' is not finite"):
        case.fit(data.copy(data=dask.array.from_array(data.values)), coords=reads)
    pointwise = Gaussian1D(100, 0, 3) + Const1D(3)
    fits = fit(DECAY.data().assign_coords(place=("t", np.where(DECAY.coords["t"] == 1, np.nan, DECAY.coords["t"]))),
               pointwise, "t", coords="place", errors="ignore")  # fmt: skip
    assert (fits["fit_status"] > 0).all()


@every_fitter
def test_a_gap_in_the_coordinate_of_one_fit_is_its_own(fitter: str) -> None:
    """That fit has a status, whether the sample is used or not; the others are fitted, without a trace of it."""
    data = DECAY.data()
    place = data["t"].broadcast_like(data).copy().drop_vars("t").rename("place")
    expected = DECAY.fit(data, coords=place, sigma=DECAY.noise, fitter=FITTERS[fitter]())
    place[0, 1, 7] = np.nan
    place[1, 0, int(np.flatnonzero(data.isnull()[1, 0])[0])] = np.inf
    result = DECAY.fit(data, coords=place, sigma=DECAY.noise, fitter=FITTERS[fitter]())
    np.testing.assert_array_equal(
        result["fit_status"], [[FitStatus.CONVERGED, FitStatus.NONFINITE_DATA], [FitStatus.NONFINITE_DATA, 1]]
    )
    for parameter in DECAY.free:
        kept = np.array([[True, False], [False, True]])
        np.testing.assert_array_equal(result[parameter], np.where(kept, expected[parameter], np.nan))
    lazy = DECAY.fit(data, coords=place.chunk(), sigma=DECAY.noise, fitter=FITTERS[fitter]()).compute()
    np.testing.assert_array_equal(lazy["fit_status"], result["fit_status"])


# --- wrong models


class ReadError(Exception):
    """Something was computed where nothing should be."""


def unreadable(shape: tuple[int, ...], dims: tuple[str, ...]) -> xr.DataArray:
    """Data that raise when they are computed."""

    def read(_: Any) -> Any:
        raise ReadError

    array = dask.array.map_blocks(
        read, dask.array.zeros(shape, chunks=-1), dtype=float, meta=np.zeros((0,) * len(shape))
    )
    return xr.DataArray(array, dims=dims, coords={dims[-1]: np.linspace(0.0, 5.0, shape[-1])})


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "complex": (lambda x, a=1.0, tau=2.0: np.fft.ifft(np.fft.fft(a * np.exp(-x / tau))), "complex"),
    "complex of each": (lambda x, a=1.0, w=2.0: a * np.exp(1j * w * x), "complex"),
    "fewer by one": (lambda x, a=1.0, tau=2.0: np.diff(a * np.exp(-x / tau)), r"for 40 .*\(39,\)"),
    "valid": (
        lambda x, a=1.0, tau=2.0: np.convolve(a * np.exp(-x / tau), np.ones(5), mode="valid"),
        r"for 40 .*\(36,\)",
    ),
    "full": (lambda x, a=1.0, tau=2.0: np.convolve(a * np.exp(-x / tau), np.ones(5)), r"for 40 .*\(44,\)"),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("fitter", [None, TRFLSQFitter()], ids=["batch", "TRF"])
@pytest.mark.parametrize("wrong", WRONG)
def test_models_that_cannot_be_right_are_refused(wrong: str, fitter: Any, lazy: bool) -> None:
    """Complex values, and more or fewer than there are samples: at the call, before anything is read."""
    function, message = WRONG[wrong]
    data = unreadable((3, 40), ("p", "x"))
    if not lazy:
        data = data.copy(data=np.ones((3, 40)))
    with pytest.raises(ValueError, match=message):
        fit(data, custom_model(function)(), "x", fitter=fitter)


def test_an_image_that_loses_its_margin_is_refused() -> None:
    """With the shapes of both."""

    @custom_model
    def cut(x, y, a=1.0, b=2.0):
        return (a * x + b * y)[1:-1, 1:-1]

    data = xr.DataArray(np.ones((3, 7, 9)), dims=("p", "y", "x"))
    with pytest.raises(ValueError, match=r"\(7, 9\).*\(5, 7\)"):
        fit(data, cut(), ("x", "y"), coords={"x": "x", "y": "y"})


# --- the user's word


def test_the_user_may_say_that_a_model_sees_all_samples() -> None:
    """Of a pointwise one nothing changes but how it is evaluated."""
    x = np.linspace(-5, 5, 40)
    y = Gaussian1D(3, 0.3, 1.2)(x) + np.random.default_rng(0).normal(0, 0.1, (2, 40))
    y[1, 10:14] = np.nan
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": x})
    plain, told = (fit(data, Gaussian1D(2, 0, 1), "x", sigma=0.1, pointwise=p) for p in (None, False))
    assert recorded(plain)["pointwise"] is True
    assert recorded(told)["pointwise"] is False
    assert recorded(told)["grid_dims"] == ["x"]
    assert "grid_dims" not in recorded(plain)
    for name in ("amplitude", "mean", "stddev"):
        distance = (told[name] - plain[name]) / plain[f"{name}_stderr"]
        assert np.abs(distance).max() < 1e-6
        np.testing.assert_allclose(told[f"{name}_stderr"], plain[f"{name}_stderr"], rtol=1e-6)
    np.testing.assert_array_equal(told["n_points"], [40, 36])


ASKED: list[tuple[int, ...]] = []


@custom_model
def wants_many(x, a=1.0, tau=2.0):
    """Pointwise, which cannot be found out: it takes no few samples, and none but those of the grid."""
    ASKED.append(x.shape)
    if x.shape[0] < 20 or np.any((x < 0) | (x > 10)):
        raise ValueError("not such a grid")
    return a * np.exp(-np.sqrt(x / tau).astype(complex)).real


@pytest.mark.parametrize("fitter", ["numpy", "TRF"])
def test_the_user_may_say_that_a_model_is_pointwise(fitter: str) -> None:
    """Then samples that are left out are taken from its grid; otherwise it is asked of the complete grid alone."""
    x = np.linspace(0.0, 10.0, 40)
    y = wants_many.evaluate(x, 3.0, 2.5) + np.random.default_rng(0).normal(0, 0.05, (2, 40))
    y[1, 10:14] = np.nan
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": x})
    rights = [optimum(lambda p, i=i: (wants_many.evaluate(x, *p) - y[i]) / 0.05, [1.0, 2.0]) for i in range(2)]
    for said in (None, False, True):
        lazy = fit(data.chunk(), wants_many(), "x", sigma=0.05, pointwise=said, fitter=FITTERS[fitter]())
        ASKED.clear()  # of trials, before the fits
        result = lazy.compute(scheduler="synchronous")
        asked = set(ASKED)
        assert recorded(result)["pointwise"] is (said is True)
        for i, right in enumerate(rights):
            assert_right(result.isel(p=i), ("a", "tau"), right)
        if said is not True:
            assert asked == {(40,)}
        elif fitter == "TRF":
            assert (36,) in asked


class Watched(Fittable2DModel):
    """The model of the image, and what it is asked for: a class that is pickled by its name, without its own list."""

    a, x0, y0, r = Parameter(default=10.0), Parameter(default=5.0), Parameter(default=5.0), Parameter(default=3.0)

    @staticmethod
    def evaluate(x, y, a, x0, y0, r):
        ASKED.append(x.shape)
        assert x.shape == y.shape
        return IMAGE.model.evaluate(x, y, a, x0, y0, r)


@every_fitter
def test_an_image_is_only_asked_for_as_a_whole(fitter: str) -> None:
    """All axes, in the order of the data, whatever is asked of the model: by fits, judgement and evaluation."""
    data = IMAGE.data()
    lazy = fit(data.chunk(), Watched(), ("x", "y"), coords=IMAGE.reads, sigma=0.1, covariance=True,
               fitter=FITTERS[fitter]())  # fmt: skip
    everything = lazy.assign(value=lazy.modelfit.evaluate(data), **lazy.modelfit.predict(data.chunk()))
    ASKED.clear()  # of trials, before the fits
    result = everything.compute(scheduler="synchronous")
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    assert set(ASKED) == {data.shape[2:]}


@pytest.mark.parametrize("value", ["yes", 1, 0.0, [True], np.array([True])], ids=repr)
def test_another_word_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"pointwise is .*True or False"):
        DECAY.fit(DECAY.data(), pointwise=value)


def test_both_words_of_numpy_are_known() -> None:
    assert recorded(DECAY.fit(DECAY.data(), pointwise=np.bool_(False)))["pointwise"] is False
    assert recorded(DECAY.fit(DECAY.data(gaps=False), pointwise=np.bool_(True)))["pointwise"] is True


# --- fitters of astropy


@pytest.mark.parametrize("inner", [TRFLSQFitter, LMLSQFitter])
@pytest.mark.parametrize("case", [DECAY, IMAGE], ids=lambda c: c.name)
def test_outliers_are_removed_and_the_grid_stays(case: Case, inner: Callable[[], Any]) -> None:
    """What is rejected has no weight, as what is left out: least squares without it, on the same grid."""
    data = case.data()
    first = (slice(None),) * 2
    out = np.zeros(data.shape, dtype=bool)
    for at in np.ndindex(2, 2):
        kept = np.argwhere(np.isfinite(data.values[at]))
        for number in (7, len(kept) // 2):
            out[at][tuple(kept[number])] = True
    data = data.copy(data=np.where(out, data.values + 25.0 * case.noise, data.values))
    assert out[first].sum() == 8
    fitter = FittingWithOutlierRemoval(inner(), sigma_clip, niter=3, sigma=4.0)
    result = case.fit(data, sigma=case.noise, fitter=fitter)
    without = np.where(out, np.nan, data.values)
    for i, j in np.ndindex(2, 2):
        right = case.right(without[i, j])
        residual = (case.values(right.parameters) - without[i, j]) / case.noise
        assert np.nanmax(np.abs(residual)) < 3.9  # or others are removed as well
        assert_right(result.isel(p=i, q=j), case.free, right)


def test_nothing_is_said_of_engines() -> None:
    """Asked for compiled code, a model of several samples is left to NumPy, without a word, bit for bit."""
    pytest.importorskip("numba")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [DECAY.fit(DECAY.data(), fitter=BatchLSQFitter(engine=e)) for e in ("numba", "numpy", "auto")]
    assert not caught
    for other in results[1:]:
        xr.testing.assert_equal(other, results[0])
    assert {recorded(r)["engine"] for r in results} == {"numpy"}
    assert set(POSITIONS) == set(results[0].dims)


HUGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a step": lambda t: np.where(t > 0.5, 1e200, 0.0),
    "growing": lambda t: np.exp(np.clip(60.0 * t, -700.0, 690.0)),
    "a pole": lambda t: 1e150 / np.maximum(t, 0.0) ** 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_a_value_that_is_far_larger_hides_no_neighbours(name: str) -> None:
    """A model that looks at its neighbours is told from one that does not, where both have huge values somewhere."""

    def alone(t: np.ndarray, a: float = 2.0, tau: float = 5.0) -> np.ndarray:
        return np.where(t <= 0.0, a * np.exp(-np.abs(t + 8.0) / tau), HUGE[name](t))

    def smooth(t: np.ndarray, a: float = 2.0, tau: float = 5.0) -> np.ndarray:
        seen = np.cumsum(a * np.exp(-np.abs(t + 8.0) / tau))
        return np.where(t <= 0.0, seen, HUGE[name](t))

    t = np.arange(-30.0, 10.0)
    keep = xr.DataArray(t <= 0.0, dims="t", coords={"t": t})
    for model, right in ((alone, True), (smooth, False)):
        with np.errstate(all="ignore"):
            data = xr.DataArray(model(t, 3.0, 4.0), dims="t", coords={"t": t}).where(keep)
        assert recorded(fit(data, model, "t", where=keep, errors="ignore"))["pointwise"] is right


@pytest.mark.parametrize("by", [1e-300, 1.0, 1e290])
def test_what_cancels_is_no_neighbour(by: float) -> None:
    """Differences of large terms are rounding at a few samples: at the roots of a polynomial, where two lines cross."""

    def crossing(t: np.ndarray, a: float = 2.0, m: float = 11.0, s: float = 5.0) -> np.ndarray:
        return by * a * (np.exp(-(((t - m) / s) ** 2)) - np.exp(-(((t - m - 4.0) / s) ** 2)))

    def roots(t: np.ndarray, a: float = 1.0, b: float = 0.0) -> np.ndarray:
        return by * (a * (t - 3.0) * (t - 17.0) + b) + by * np.sin(np.pi * t)

    t = np.arange(40.0)
    for model in (crossing, roots):
        data = xr.DataArray(model(t), dims="t", coords={"t": t})
        assert recorded(fit(data, model, "t", errors="ignore"))["pointwise"] is True
