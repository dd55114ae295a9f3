"""A lazy result can be written piece by piece as long as its arrays are those of the fit, whatever it is called."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit
from xr_modelfit.call import lazy_results

pytestmark = pytest.mark.quick_share(3)

pytest.importorskip("zarr", reason="stores")

X = np.linspace(-5, 5, 40)
CENTRES = np.linspace(-1, 1, 60).reshape(6, 10, 1)


def lazy_fit() -> xr.Dataset:
    data = xr.DataArray(
        np.exp(-0.5 * (X - CENTRES) ** 2), dims=("y", "x", "v"), coords={"v": X, "y": np.arange(6)}
    ).chunk(y=2)
    return xr_modelfit.fit(data, Gaussian1D(1, 0, 1.1), "v", covariance=True)


SAME = {
    "copied": lambda fit: fit.copy(),
    "copied deep": lambda fit: fit.copy(deep=True),
    "other attrs": lambda fit: fit.assign_attrs(made_by="a test"),
    "another coordinate": lambda fit: fit.assign_coords(z=("x", np.arange(10.0))),
    "other names": lambda fit: fit.rename(mean="centre", y="lat", x="lon"),
}
CHANGED = {
    "a part": lambda fit: fit.isel(x=slice(5)),
    "one variable": lambda fit: fit[["mean"]],
    "one more": lambda fit: fit.assign(twice=2 * fit["mean"]),
    "one changed": lambda fit: fit.assign(mean=2 * fit["mean"]),
    "computed": lambda fit: fit.compute(),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_result_with_the_same_arrays_is_written(change: Callable[[xr.Dataset], xr.Dataset], tmp_path: Path) -> None:
    changed = change(lazy_fit())  # nothing else holds the result of the fit
    gc.collect()
    stored = changed.modelfit.to_zarr(tmp_path / "fit.zarr", memory="16 KiB").load()  # several tiles
    assert dict(stored.sizes) == dict(changed.sizes)
    assert stored.attrs == changed.attrs
    mean = stored["centre" if "centre" in stored else "mean"]
    np.testing.assert_allclose(mean.values, CENTRES[..., 0], atol=1e-9)  # the data have no noise
    assert set(stored.variables) == set(changed.variables)


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_result_with_other_arrays_is_refused(change: Callable[[xr.Dataset], xr.Dataset], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no lazy result"):
        change(lazy_fit()).modelfit.to_zarr(tmp_path / "fit.zarr")


def test_nothing_is_remembered_of_results_that_are_gone() -> None:
    gc.collect()
    before = len(lazy_results._ORIGINS)
    fit = lazy_fit()
    assert len(lazy_results._ORIGINS) > before
    copied = fit.copy()
    del fit
    gc.collect()
    assert len(lazy_results._ORIGINS) > before
    del copied
    gc.collect()
    assert len(lazy_results._ORIGINS) == before


def test_what_is_remembered_does_not_travel() -> None:
    """A task that goes to another process takes its own function alone."""
    fit = lazy_fit()
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_allclose(again["mean"].values, CENTRES[..., 0], atol=1e-9)
