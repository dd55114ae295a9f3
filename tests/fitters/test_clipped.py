"""The mask of clipped samples: against astropy, lazily, in stores, and in what is told of a fit."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import FittingWithOutlierRemoval, LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D
from astropy.stats import sigma_clip
from numpy.testing import assert_array_equal

from xr_modelfit import BatchLSQFitter

X = np.linspace(-10.0, 10.0, 60)
CLIP = BatchLSQFitter(clip=(3, 3))


def spoilt(shape: tuple[int, ...] = (4, 5), seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    full = (*shape, X.size)
    outliers = rng.choice([-15.0, 15.0], full) * (rng.random(full) < 0.05)
    y = 0.5 * X + 2.0 + rng.normal(size=full) + outliers
    y[..., 3] = np.nan
    time = ("x", np.arange(X.size), {"bounds": "lost"})
    coords = {"x": X, "number": time, "row": np.arange(shape[0])}
    return xr.DataArray(y, dims=("row", "column", "x"), coords=coords)


def fitted(data: xr.DataArray, **options: Any) -> xr.Dataset:
    return data.modelfit(Linear1D(0, 0), "x", **({"fitter": CLIP, "fit_info": ["clipped"]} | options))


def test_the_mask_is_that_of_astropy() -> None:
    data = spoilt()
    fit = fitted(data)
    assert fit["clipped"].dims == ("row", "column", "x")
    assert fit["clipped"].dtype == bool
    assert_array_equal(fit["x"], X)
    assert_array_equal(data.notnull().sum("x") - fit["clipped"].sum("x"), fit["n_points"])
    removal = FittingWithOutlierRemoval(LinearLSQFitter(), sigma_clip, niter=3, sigma=3)
    kept = np.isfinite(data.values[0, 0])
    for row in range(4):
        for column in range(5):
            _, mask = removal(Linear1D(0, 0), X[kept], data.values[row, column, kept])
            assert_array_equal(fit["clipped"].values[row, column, kept], mask)
            assert not fit["clipped"].values[row, column, ~kept].any()


def test_the_mask_of_astropys_own_fitter() -> None:
    data, removal = spoilt(), FittingWithOutlierRemoval(LinearLSQFitter(), sigma_clip, niter=3, sigma=3)
    ours, theirs = fitted(data), fitted(data, fitter=removal, scheduler="synchronous")
    assert_array_equal(ours["clipped"], theirs["clipped"])


def test_several_fitted_dims_and_positions_without_a_fit() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:12.0, :15.0]
    images = Gaussian2D(9, 7, 5, 2, 2)(x, y)[:, None, :, None] + rng.normal(size=(12, 3, 15, 2))
    images[10, 0, 1, 0] = 12.0
    images[:, 2, :, 1] = np.nan
    data = xr.DataArray(images, dims=("y", "a", "x", "b"), coords={"y": np.arange(12.0), "x": np.arange(15.0)})
    fit = data.modelfit(Gaussian2D(8, 7, 5, 2, 2), ("y", "x"), fitter=CLIP, fit_info="clipped", errors="ignore")
    assert fit["clipped"].sizes == {"a": 3, "b": 2, "x": 15, "y": 12}
    assert bool(fit["clipped"].sel(a=0, b=0, y=10, x=1))
    assert not fit["clipped"].sel(a=2, b=1).any()
    assert_array_equal(fit["clipped"].sum(("x", "y"))[:2], 180 - fit["n_points"][:2])


def test_it_is_lazy_with_the_data_and_the_same() -> None:
    data = spoilt()
    whole, lazy = fitted(data), fitted(data.chunk(row=2, column=3))
    assert lazy["clipped"].chunks is not None
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), whole)
    xr.testing.assert_identical(fitted(data, fits_per_chunk=3), whole)


def test_stores_keep_it(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("netCDF4")
    data = spoilt()
    whole, lazy = fitted(data), fitted(data.chunk(row=2, column=3))
    lazy.modelfit.to_zarr(tmp_path / "fit.zarr")
    stored = xr.open_zarr(tmp_path / "fit.zarr", consolidated=False).load()
    assert stored["clipped"].dtype == bool
    assert_array_equal(stored["clipped"], whole["clipped"])
    whole.to_netcdf(tmp_path / "fit.nc")
    with xr.open_dataset(tmp_path / "fit.nc") as read:
        assert read["clipped"].dtype == bool
        xr.testing.assert_equal(read["clipped"].load(), whole["clipped"])
        assert read.modelfit.report().clipped == whole.modelfit.report().clipped


def test_the_report_counts_it() -> None:
    fit = fitted(spoilt())
    n, fits = int(fit["clipped"].sum()), int(fit["clipped"].any("x").sum())
    report = fit.modelfit.report()
    assert report.clipped == {"": (n, fits)}
    assert f"Clipped: {n} samples in {fits} fits." in str(report)
    assert f"Clipped: {n} samples" in report._repr_html_()
    aligned = fit.isel(row=[0, 1]).reindex(row=np.arange(4))
    assert aligned.modelfit.report().clipped[""][0] == int(fit["clipped"][:2].sum())
    assert not fitted(spoilt(), fit_info=None).modelfit.report().clipped


def test_what_is_asked_of_a_result_stays_possible() -> None:
    data = spoilt()
    fit, plain = fitted(data, covariance=True), fitted(data, covariance=True, fit_info=None)
    xr.testing.assert_identical(fit.modelfit.residuals(data), plain.modelfit.residuals(data))
    xr.testing.assert_identical(fit.modelfit.evaluate(x=X), plain.modelfit.evaluate(x=X))
    xr.testing.assert_identical(fit.modelfit.predict(data), plain.modelfit.predict(data))
    again = fit.modelfit.refit(data, fit["row"] == 1, "estimate")
    assert_array_equal(again["clipped"], fit["clipped"])
    named = xr.Dataset({"flux": data}).modelfit(Linear1D(0, 0), "x", fitter=CLIP, fit_info=["clipped"])
    assert_array_equal(named["flux_clipped"], fit["clipped"])


@pytest.mark.parametrize("fitter", [None, BatchLSQFitter(loss="huber"), TRFLSQFitter()])
def test_asked_of_a_fitter_that_clips_nothing(fitter: Any) -> None:
    with pytest.raises(ValueError, match=r"fit_info names 'clipped', but this fit leaves no sample out.*clip=\(3, 3\)"):
        fitted(spoilt(), fitter=fitter)


def test_its_name_is_taken() -> None:
    data = spoilt().assign_coords(clipped=("row", np.arange(4)))
    with pytest.raises(ValueError, match="'clipped' would have the name of a dim or coordinate"):
        fitted(data)


@pytest.mark.slow
def test_a_gaussian_with_numba() -> None:
    pytest.importorskip("numba", reason="the engine that is asked for")
    rng = np.random.default_rng(2)
    y = 9 * np.exp(-0.5 * (X / 2) ** 2) + rng.normal(size=(30, X.size)) + 20 * (rng.random((30, X.size)) < 0.03)
    data = xr.DataArray(y, dims=("p", "x"), coords={"x": X})
    fits = [
        data.modelfit(Gaussian1D(8, 0, 2), "x", fitter=BatchLSQFitter(clip=(3, 3), engine=engine), fit_info=["clipped"])
        for engine in ("numpy", "numba")
    ]
    assert_array_equal(fits[0]["clipped"], fits[1]["clipped"])
    assert fits[0]["clipped"].any()
