"""Results that were averaged, coarsened or interpolated are refused by every question; all else is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Gaussian1D, Linear1D

from xr_modelfit.records.record import RecordError

pytestmark = pytest.mark.quick_share(3)

Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.fixture(scope="module")
def data() -> xr.DataArray:
    """All fits succeed, so that a mean of their statuses is one too."""
    values = np.random.default_rng(0).normal(size=(4, 6, 20))
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan  # so that counts differ
    coords = {"lat": [3.0, 1.0, -1.0, -3.0], "lon": np.arange(6.0), "t": np.arange(20.0)}
    return xr.DataArray(values, dims=("lat", "lon", "t"), coords=coords, name="tas")


@pytest.fixture(scope="module")
def fit(data: xr.DataArray) -> xr.Dataset:
    return data.modelfit(Linear1D(), dim="t", covariance=True)


MEANS: dict[str, Change] = {
    "mean": lambda f: f.mean("lon"),
    "mean of all": lambda f: f.mean(),
    "weighted": lambda f: f.weighted(np.cos(np.deg2rad(f["lat"]))).mean("lat"),
    "coarsened": lambda f: f.coarsen(lon=2).mean(),
    "rolling": lambda f: f.rolling(lon=2).mean(),
    "groups": lambda f: f.groupby(f["lon"] // 3).mean(),
    "median": lambda f: f.median("lon"),
    "quantile": lambda f: f.quantile(0.9, "lon"),
    "spread": lambda f: f.std("lon"),
    "interpolated": lambda f: f.interp(lon=[0.5, 1.25]),
    "difference": lambda f: f - f.mean("lon"),
    "masked before, over other counts": lambda f: f.where(f["lon"] > 1).mean("lat"),
}

KEPT: dict[str, Change] = {
    "one": lambda f: f.isel(lat=0, lon=2),
    "selected": lambda f: f.sel(lat=slice(2, -2), lon=[4.0, 1.0]),
    "nearest": lambda f: f.sel(lon=[0.2, 3.8], method="nearest"),
    "masked": lambda f: f.where(f["lat"] > 0),
    "masked and dropped": lambda f: f.where(f["lat"] > 0, drop=True),
    "reindexed": lambda f: f.reindex(lon=np.arange(9.0)),
    "aligned": lambda f: xr.align(f, f["slope"].isel(lon=slice(2)).assign_coords(lon=[8.0, 9.0]), join="outer")[0],
    "sorted": lambda f: f.sortby("lat"),
    "joined": lambda f: xr.concat([f.isel(lat=[2]), f.where(f["lon"] > 1).isel(lat=[0, 1])], "lat"),
    "filled": lambda f: f.where(f["lat"] > 0).fillna(f),
    "stacked": lambda f: f.stack(place=("lat", "lon")).isel(place=slice(1, None)).unstack("place"),
    "shifted": lambda f: f.shift(lon=1),
    "computed of chunks": lambda f: f.chunk(lon=2).where(f["lat"] > 0).compute(),
}


def questions(fit: xr.Dataset, data: xr.DataArray) -> dict[str, Callable[[], Any]]:
    """All methods that compute from a result."""
    ask = fit.modelfit
    bare = fit.drop_vars("covariance").modelfit
    return {
        "ok": lambda: ask.ok,
        "report": lambda: ask.report(),
        "p_value": lambda: ask.p_value("slope"),
        "significant": lambda: ask.significant("slope"),
        "evaluate": lambda: ask.evaluate(t=[1.0]),
        "residuals": lambda: ask.residuals(data),
        "components": lambda: ask.components(t=[1.0]),
        "predict": lambda: ask.predict(t=[1.0]),
        "derived": lambda: ask.derived(twice=lambda slope: 2 * slope),
        "derived from data": lambda: bare.derived(crossing=lambda slope, intercept: intercept / slope, data=data),
        "with_covariance": lambda: bare.with_covariance(data),
        "refit": lambda: ask.refit(data),
        "to_model": lambda: ask.to_model(),
    }


@pytest.mark.parametrize("name", MEANS)
def test_every_question_refuses_an_average(name: str, fit: xr.Dataset, data: xr.DataArray) -> None:
    with xr.set_options(keep_attrs=True):
        mean = MEANS[name](fit)
    for asked, question in questions(mean, data).items():
        with pytest.raises(RecordError, match=r"do not average.*Average the data, and fit that"):
            raise AssertionError(f"{asked} gave {question()}")
    assert "do not average" in repr(mean.modelfit)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("store", [None, "netcdf", "zarr"])
def test_what_is_no_average_is_taken(
    name: str, store: str | None, fit: xr.Dataset, data: xr.DataArray, tmp_path: Path
) -> None:
    kept = KEPT[name](fit)
    if store == "netcdf":
        pytest.importorskip("netCDF4")
        kept.to_netcdf(tmp_path / "fit.nc")
        kept = xr.load_dataset(tmp_path / "fit.nc")
    elif store == "zarr":
        pytest.importorskip("zarr")
        kept.to_zarr(tmp_path / "fit.zarr")
        kept = xr.open_zarr(tmp_path / "fit.zarr")
    xr.testing.assert_equal(kept.modelfit.ok, kept["fit_status"] > 0)
    report = kept.modelfit.report()
    assert sum(report.counts[""].values()) + report.masked.get("", 0) == kept["fit_status"].size
    for asked in ("p_value", "significant", "evaluate", "components", "predict", "derived", "to_model"):
        questions(kept, data)[asked]()


def test_a_lazy_mean_is_refused_without_computing(fit: xr.Dataset) -> None:
    with xr.set_options(keep_attrs=True):
        mean = fit.chunk(lat=1).mean("lon")
    with pytest.raises(RecordError, match="do not average"):
        mean.modelfit.evaluate(t=[1.0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what old versions of matplotlib import
def test_pictures(fit: xr.Dataset, data: xr.DataArray) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    with xr.set_options(keep_attrs=True):
        mean = fit.coarsen(lon=2).mean()
    for draw in (
        lambda: mean.modelfit.plot("slope"),
        lambda: mean.modelfit.plot_hist("slope"),
        lambda: data.modelfit.plot_fit(mean, lat=1.0, lon=0.5),
    ):
        with pytest.raises(RecordError, match="do not average"):
            draw()


def test_only_the_fit_that_is_asked(fit: xr.Dataset, data: xr.DataArray) -> None:
    """Of two variables, one averaged by hand."""
    both = xr.Dataset({"a": data, "b": data}).modelfit(Linear1D(), dim="t")
    both["b_fit_status"], both["b_n_iter"] = both["b_fit_status"].astype(float), both["b_n_iter"] + 0.5
    assert both.modelfit.p_value("slope", data="a").notnull().all()
    with pytest.raises(RecordError, match=r"b_n_iter counts, but has values that are not whole"):
        both.modelfit.p_value("slope", data="b")
    both["b_n_iter"] = both["b_n_iter"] - 0.5
    assert both.modelfit.p_value("slope", data="b").notnull().all()


def test_a_mean_may_be_a_start() -> None:
    """It is a guess, not a fit."""
    x = np.linspace(-5, 5, 40)
    noise = np.random.default_rng(1).normal(0, 0.05, (6, 40))
    cube = xr.DataArray(3 * np.exp(-0.5 * (x - 0.5) ** 2) + noise, dims=("y", "x"), coords={"x": x})
    first = cube.modelfit(Gaussian1D(2, 0, 1.5), dim="x")
    with xr.set_options(keep_attrs=True):
        again = cube.modelfit(Gaussian1D(), dim="x", p0=first.mean("y"))
    np.testing.assert_allclose(again["mean"], first["mean"], atol=1e-4)
