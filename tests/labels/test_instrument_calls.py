"""Calls with bins and responses as users write them: each gives the parameters of the model that made the data.

Data has no noise. Means of a line over bins and pixels are closed forms, responses are sums of shifted lines, an image
behind a point-spread function is made by `scipy.signal.fftconvolve`.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import models as M
from numpy.testing import assert_allclose
from scipy.signal import fftconvolve

from support.instrument import gauss, mean_gauss
from xr_modelfit import FitStatus

X = np.arange(60.0)
OFFSETS, VALUES = np.arange(-3.0, 4.0), np.array([0.2, 1.0, 3.0, 4.0, 2.5, 1.0, 0.3])
TRUTH = np.array([[5.0, 30.3, 1.6], [10.0, 30.3, 1.6]])  # of two positions
KERNEL = xr.DataArray(VALUES, dims="o", coords={"o": OFFSETS})
KERNELS = xr.concat([KERNEL, KERNEL], "p")
A = np.eye(60) + 0.3 * np.eye(60, k=1)
MATRIX = xr.DataArray(A, dims=("x", "seen"))


def over_x(samples: Callable[..., np.ndarray]) -> xr.DataArray:
    return xr.DataArray(np.stack([samples(*p) for p in TRUTH]), dims=("p", "x"), coords={"x": X}, name="flux")


BLURRED = over_x(lambda *p: sum(k * gauss(X - o, *p) for k, o in zip(VALUES, OFFSETS, strict=True)) / VALUES.sum())
SEEN = over_x(lambda *p: A.T @ gauss(X, *p))
BINNED = over_x(lambda *p: mean_gauss(X - 0.5, X + 0.5, *p))
BOUNDS = xr.DataArray(np.stack([X - 0.5, X + 0.5], axis=-1), dims=("x", "nv"))
LINE = M.Gaussian1D(4, 30, 2)


class Lines:
    """Lines of a user's own, in several forms."""

    times = 1.0

    def line(self, x: Any, a: float = 4.0, m: float = 30.0, s: float = 2.0) -> Any:
        return self.times * gauss(x, a, m, s)

    def __call__(self, x: Any, a: float = 4.0, m: float = 30.0, s: float = 2.0) -> Any:
        return self.line(x, a, m, s)

    @staticmethod
    def same(x: Any, a: float = 4.0, m: float = 30.0, s: float = 2.0) -> Any:
        return gauss(x, a, m, s)


def scaled(times: float, x: Any, a: float = 4.0, m: float = 30.0, s: float = 2.0) -> Any:
    return times * gauss(x, a, m, s)


def in_words(x: Any, a: float = 4.0, *, m: Any, s: Any) -> Any:
    return gauss(x, a, m, s)


CALLS: dict[str, Callable[[], xr.Dataset]] = {
    "kernel": lambda: BLURRED.modelfit(LINE, "x", response=KERNEL),
    "reversed": lambda: BLURRED.modelfit(LINE, "x", response=KERNEL[::-1]),
    "shuffled": lambda: BLURRED.modelfit(LINE, "x", response=KERNEL.isel(o=[3, 1, 0, 6, 5, 2, 4])),
    "in chunks": lambda: BLURRED.modelfit(LINE, "x", response=KERNEL.chunk(o=2)),
    "of each, in chunks": lambda: BLURRED.modelfit(LINE, "x", response=KERNELS.chunk(p=1, o=3)),
    "of whole numbers": lambda: BLURRED.modelfit(LINE, "x", response=(10 * KERNEL).astype(int)),
    "without a coordinate": lambda: BLURRED.modelfit(LINE, "x", response=KERNEL.drop_vars("o")),
    "of data without one": lambda: BLURRED.drop_vars("x").modelfit(LINE, "x", response=KERNEL),
    "of descending data": lambda: BLURRED[:, ::-1].modelfit(LINE, "x", response=KERNEL),
    "of unsorted data": lambda: BLURRED.isel(x=np.random.default_rng(0).permutation(60)).modelfit(
        LINE, "x", response=KERNEL
    ),
    "of some samples": lambda: BLURRED.isel(x=slice(20, 45, 2)).modelfit(LINE, "x", response=KERNEL),
    "in a Dataset": lambda: BLURRED.to_dataset().assign(lsf=KERNEL).modelfit(LINE, "x", data="flux", response="lsf"),
    "pooled": lambda: xr.concat([BLURRED, BLURRED], "m").modelfit(LINE, ("x", "m"), coords="x", response=KERNEL),
    "a scalar called like the offsets": lambda: BLURRED.assign_coords(o=3.0).modelfit(LINE, "x", response=KERNEL),
    "matrix": lambda: SEEN.modelfit(LINE, "x", response=MATRIX),
    "matrix, turned": lambda: SEEN.modelfit(LINE, "x", response=MATRIX.T),
    "matrix with labels": lambda: SEEN.modelfit(LINE, "x", response=MATRIX.assign_coords(x=X, seen=X)),
    "matrix with channels": lambda: SEEN.modelfit(LINE, "x", response=MATRIX.assign_coords(seen=np.arange(60) + 100)),
    "matrix in chunks": lambda: SEEN.chunk(p=1).modelfit(LINE, "x", response=MATRIX.chunk(x=7, seen=9)),
    "bins": lambda: BINNED.modelfit(LINE, "x", integrate=True),
    "bins, descending": lambda: BINNED[:, ::-1].modelfit(LINE, "x", integrate=True),
    "bins, no coordinate": lambda: BINNED.drop_vars("x").modelfit(LINE, "x", integrate=True),
    "bounds": lambda: BINNED.modelfit(LINE, "x", integrate=BOUNDS),
    "bounds, falling edges": lambda: BINNED.modelfit(LINE, "x", integrate=BOUNDS[:, ::-1]),
    "bounds, edges first": lambda: BINNED.modelfit(LINE, "x", integrate=BOUNDS.T),
    "bounds with labels": lambda: BINNED.modelfit(LINE, "x", integrate=BOUNDS.assign_coords(x=X, nv=["low", "high"])),
    "bounds in chunks": lambda: BINNED.modelfit(LINE, "x", integrate={"x": BOUNDS.chunk(x=11)}),
    "bounds in a Dataset": lambda: BINNED.to_dataset().assign(b=BOUNDS).modelfit(LINE, "x", data="flux", integrate="b"),
    "partial": lambda: BLURRED.modelfit(functools.partial(scaled, 1.0), "x", response=KERNEL),
    "bound method": lambda: BLURRED.modelfit(Lines().line, "x", response=KERNEL),
    "callable object": lambda: BINNED.modelfit(Lines(), "x", integrate=True),
    "static method": lambda: SEEN.modelfit(Lines.same, "x", response=MATRIX),
    "keywords without a default": lambda: BLURRED.modelfit(in_words, "x", response=KERNEL, p0={"m": 30.0, "s": 2.0}),
}


@pytest.mark.parametrize("name", CALLS)
def test_parameters_are_those_that_made_the_data(name: str) -> None:
    fit = CALLS[name]().compute()
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    found = np.stack([fit[n].values for n in fit.modelfit.params], axis=-1)
    assert_allclose(found, TRUTH, rtol=1e-6)


def test_bounds_of_each_position_over_one_coordinate() -> None:
    """Bins that are wider at one position than at another, while the coordinate is the same."""
    wide = np.array([1.0, 2.5])[:, None]
    low, high = X - 0.5 * wide, X + 0.4 * wide
    data = BINNED.copy(data=np.stack([mean_gauss(low[i], high[i], *TRUTH[i]) for i in range(2)]))
    bounds = xr.DataArray(np.stack([low, high], axis=-1), dims=("p", "x", "nv"))
    ds = data.to_dataset().assign(b=bounds)
    for one, integrate in ((ds, bounds), (ds, {"x": bounds.T}), (ds, "b"), (ds.chunk(p=1), "b")):
        fit = one.modelfit(LINE, "x", data="flux", integrate=integrate).compute()
        assert_allclose(np.stack([fit[n] for n in fit.modelfit.params], axis=-1), TRUTH, rtol=1e-6)
        assert_allclose(fit.modelfit.evaluate(one, integrate=integrate), data, atol=1e-6)


def test_offsets_in_another_unit_than_the_coordinate() -> None:
    data = BLURRED.rename(x="v").assign_coords(v=("v", 1000 * X, {"units": "m/s"})).assign_attrs(units="K")
    kernel = KERNEL.rename(o="dv").assign_coords(dv=("dv", OFFSETS, {"units": "km/s"}))
    line = M.Gaussian1D(4 * u.K, 30 * u.km / u.s, 2 * u.km / u.s)
    bare = kernel.assign_coords(dv=1000 * OFFSETS)  # in the unit of the coordinate, then
    for fit, times in (
        (data.modelfit(line, "v", response=kernel), 1.0),
        (data.modelfit(line, "v", response=bare), 1.0),
        (data.drop_attrs(deep=False).modelfit(M.Gaussian1D(4, 3e4, 2e3), "v", response=kernel), 1e3),
    ):
        assert_allclose(fit["mean"], TRUTH[:, 1] * times, rtol=1e-6)
        assert_allclose(fit["stddev"], TRUTH[:, 2] * times, rtol=1e-6)


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_dates_with_bounds_and_durations(calendar: str) -> None:
    edges = xr.date_range("2000-01-01", periods=41, freq="6h", calendar=calendar, use_cftime=calendar != "standard")
    starts = 0.25 * np.arange(40)
    ds = xr.Dataset(
        {
            "f": ("time", mean_gauss(starts, starts + 0.25, 5.0, 4.3, 0.5)),
            "time_bnds": (("time", "nv"), np.stack([edges[:-1], edges[1:]], axis=-1)),
        },
        coords={"time": ("time", edges[:-1], {"bounds": "time_bnds"})},  # the beginning of each bin
    )
    told: dict[str, Any] = {"data": "f", "time_units": "days since 2000-01-01"}
    for integrate in (True, "time_bnds", {"time": "time_bnds"}, {"x": True}):
        fit = ds.modelfit(M.Gaussian1D(4, 4, 1), "time", integrate=integrate, **told)
        assert_allclose([fit["mean"], fit["stddev"]], [4.3, 0.5], rtol=1e-6)
    lag = np.array([0, 6], dtype="m8[h]").astype("m8[ns]")
    ds["f"] = "time", 0.5 * (gauss(starts, 5.0, 4.3, 0.5) + gauss(starts - 0.25, 5.0, 4.3, 0.5))
    for offsets in (lag, ("lag", [0.0, 6.0], {"units": "h"}), ("lag", [0.0, 0.25], {"units": "days"}), [0.0, 0.25]):
        response = xr.DataArray([1.0, 1.0], dims="lag", coords={"lag": offsets})
        fit = ds.modelfit(M.Gaussian1D(4, 4, 1), "time", response=response, **told)
        assert_allclose([fit["mean"], fit["stddev"]], [4.3, 0.5], rtol=1e-6)


def test_pixels_whatever_the_order_of_dims() -> None:
    x, y = np.arange(20.0), np.arange(16.0)
    rows, columns = mean_gauss(y - 0.5, y + 0.5, 1.0, 8.1, 1.1), mean_gauss(x - 0.5, x + 0.5, 7.0, 9.3, 0.8)
    image = xr.DataArray(np.outer(rows, columns), dims=("y", "x"), coords={"x": x, "y": y})
    model = M.Gaussian2D(6, 9, 8, 1, 1, fixed={"theta": True})
    for data in (image, image.T, image[::-1], image.chunk(x=5)):
        fit = data.modelfit(model, ("x", "y"), integrate=True)
        found = [float(fit[n]) for n in ("amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev")]
        assert_allclose(found, [7.0, 9.3, 8.1, 0.8, 1.1], rtol=1e-6)


def test_an_image_behind_a_point_spread_function_with_gaps() -> None:
    psf = np.exp(-0.5 * (np.mgrid[-4:5, -4:5] ** 2).sum(axis=0) / 1.5**2)

    def scene(y: Any, x: Any, a: float = 8.0, y0: float = 11.0, x0: float = 14.0, s: float = 2.0) -> Any:
        return fftconvolve(a * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / s**2), psf / psf.sum(), mode="same")

    truth = (10.0, 11.4, 14.7, 1.7)
    axes = np.arange(24.0), np.arange(30.0)
    image = xr.DataArray(scene(*np.meshgrid(*axes, indexing="ij"), *truth), dims=("y", "x"))
    image = image.assign_coords(y=axes[0], x=axes[1])
    image = image.where(xr.DataArray(np.random.default_rng(1).random((24, 30)) > 0.3, dims=("y", "x")))
    stack = xr.concat([image, image], "t")
    for data, dim in ((image, ("y", "x")), (image.T, ("y", "x")), (image, ...), (stack.chunk(t=1), ("x", "y"))):
        fit = data.modelfit(scene, dim).compute()
        assert (fit["fit_status"] == FitStatus.CONVERGED).all()
        for name, value in zip(fit.modelfit.params, truth, strict=True):
            assert_allclose(fit[name], value, rtol=1e-6)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("told", [{"integrate": True}, {"response": KERNEL}, {"response": KERNELS, "integrate": True}])
def test_no_sample_at_all(told: dict[str, Any], lazy: bool) -> None:
    """As without bins and responses: there is no data."""
    data = BLURRED.isel(x=slice(0, 0))
    data = data.chunk() if lazy else data
    fit = data.modelfit(M.Const1D(1), "x", errors="ignore", **told)
    assert (fit["fit_status"] == FitStatus.NO_DATA).all()
    again = {"response": KERNELS} if told.get("response") is KERNELS else {}
    assert fit.modelfit.evaluate(data, **again).shape == (2, 0)
    assert data.modelfit.plan(M.Const1D(1), "x", **told).n_fits == 2
