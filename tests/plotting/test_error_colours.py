"""Colours of standard errors begin at zero and end at usual errors, whatever a few others are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Linear1D

import xr_modelfit  # noqa: F401

pytest.importorskip("matplotlib")

from support.drawn import OLD_WARNINGS

pytestmark = OLD_WARNINGS
SHAPE = (8, 10)


@pytest.fixture(scope="module")
def fit() -> xr.Dataset:
    """Lines with noise between 1 and 2; for the errors of a twelfth of them it is a million times that."""
    x = np.linspace(-1, 1, 20)
    sigma = np.linspace(1, 2, 80)
    sigma[::13] *= 1e6
    sigma = xr.DataArray(sigma.reshape(SHAPE), dims=("y", "x"))
    data = xr.DataArray(np.zeros((*SHAPE, 20)) + 3 * x, dims=("y", "x", "t"), coords={"t": x})
    return data.modelfit(Linear1D(1, 0), "t", sigma=sigma.broadcast_like(data))


def limits(picture: Any, name: str) -> tuple[float, float]:
    return picture.artists[name].get_clim()  # type: ignore[no-any-return]


def test_huge_errors_do_not_hide_the_others(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot(stderr=True, status=False)
    spread = float(np.sqrt((np.linspace(-1, 1, 20) ** 2).sum()))
    assert float(fit["slope_stderr"].max()) > 1e5
    low, high = limits(picture, "slope_stderr")
    assert low == 0
    assert 1.9 / spread < high < 2.1 / spread  # the error of a slope: sigma over the root of the sum of squares
    assert picture.artists["slope_stderr"].colorbar.extend == "max"
    assert limits(picture, "intercept_stderr")[0] == 0


def test_the_whole_range_begins_at_zero_too(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot("slope", stderr=True, status=False, robust=False)
    assert limits(picture, "slope_stderr") == (0, float(fit["slope_stderr"].max()))


def test_limits_of_the_user_stay(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot("slope", stderr=True, status=False, vmin=0.1, vmax=0.5)
    assert limits(picture, "slope_stderr") == (0.1, 0.5)


def test_errors_that_are_missing_beside_values(fit: xr.Dataset) -> None:
    few = xr.DataArray(np.arange(80).reshape(SHAPE) % 13 == 5, dims=("y", "x"))
    bound = fit.assign(slope_stderr=fit["slope_stderr"].where(few))
    low, high = limits(bound.modelfit.plot("slope", stderr=True, status=False), "slope_stderr")
    assert (low, high) == pytest.approx((0, float(np.nanpercentile(bound["slope_stderr"], 98))), rel=0.05)


def test_in_facets_as_well(fit: xr.Dataset) -> None:
    both = xr.concat([fit, fit], "epoch", data_vars="all", coords="minimal", compat="override")
    grid = both.modelfit.plot("slope_stderr", col="epoch")
    low, high = grid.axs.flat[0].collections[0].get_clim()
    assert low == 0
    assert high < 1
