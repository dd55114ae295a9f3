"""A clip that is wider than the residuals of so few samples can be: against astropy's ``sigma_clip``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Linear1D
from astropy.stats import sigma_clip

from xr_modelfit import BatchLSQFitter, FitWarning


def data(n: int, b: int = 3) -> xr.DataArray:
    y = np.random.default_rng(1).normal(size=(b, n))
    y[:, n // 2] += 1e4
    return xr.DataArray(y, dims=("p", "x"), coords={"x": np.arange(float(n))}, name="flux")


def fitted(array: Any, clip: tuple[float, float], **options: Any) -> xr.Dataset:
    return array.modelfit(Linear1D(), "x", fitter=BatchLSQFitter(clip=clip), **options)


@pytest.mark.parametrize("n", [*range(3, 30), 100])
def test_no_sample_is_further_away(n: int) -> None:
    """The furthest that n numbers can be from their median, by the construction and by chance, with astropy."""
    at_median = n // 2 + 1
    furthest = np.full(n, 1.0 / (at_median + 1))
    furthest[:at_median], furthest[-1] = 0.0, 1.0
    limit = math.sqrt(n + 2)
    assert not np.ma.getmaskarray(sigma_clip(furthest, sigma=limit, maxiters=1)).any()
    if n >= 9:
        assert np.ma.getmaskarray(sigma_clip(furthest, sigma=0.98 * limit, maxiters=1)).any()
    rng = np.random.default_rng(n)
    drawn = rng.standard_t(0.3, (300, n))
    assert not np.ma.getmaskarray(sigma_clip(drawn, sigma=limit, axis=1, maxiters=1)).any()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_clip_out_of_reach_is_told_once(lazy: bool) -> None:
    array = data(12).chunk(p=1) if lazy else data(12)
    with pytest.warns(FitWarning, match=r"clip=\(5, 5\) leaves no sample out: of the 12 .* 3\.7 standard") as told:
        fit = fitted(array, (5, 5))
    assert len(told) == 1
    assert told[0].filename == __file__
    assert (fit["n_points"] == 12).all()


def test_variables_of_a_dataset_are_told_of_once() -> None:
    both = xr.Dataset({"a": data(12), "b": data(12)})
    with pytest.warns(FitWarning, match="leaves no sample out") as told:
        fitted(both, (5, 5))
    assert len(told) == 1


def test_one_side_out_of_reach_is_named() -> None:
    with pytest.warns(FitWarning, match=r"clip=\(2, 5\) leaves no sample out on the side of 5: "):
        fitted(data(12), (2, 5))


def test_a_clip_in_reach_is_not_told() -> None:
    """Of samples enough, on one side alone, or where failures are not to be told; warnings are errors."""
    fitted(data(24), (5, 5))
    fitted(data(12), (math.inf, 3))
    fitted(data(12), (5, 5), errors="ignore")
    # Two dims in one fit: 48 samples.
    data(12, 4).modelfit(Const1D(), ("p", "x"), coords="x", fitter=BatchLSQFitter(clip=(5, 5)))
