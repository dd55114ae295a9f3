"""What fails at the start is refused; what fails for some values or coordinates only is a status there."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import LMLSQFitter, TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Linear1D, PowerLaw1D

import xr_modelfit
from xr_modelfit import FitError, FitStatus

X = np.arange(10.0)
FITTERS = [None, TRFLSQFitter(), LMLSQFitter()]


def lines(*slopes: float) -> xr.DataArray:
    """Lines over x, one for each p, with labels 10, 20, ..."""
    p = 10.0 * np.arange(1, len(slopes) + 1)
    return xr.DataArray(np.multiply.outer(slopes, X) + 0.5, dims=("p", "x"), coords={"x": X, "p": p})


@custom_model
def touchy(x, height=1.0, offset=0.0):
    if np.any(height > 4):
        raise RuntimeError("too high")
    return height * x + offset


@custom_model
def only_above_two(x, height=1.0, offset=0.0):
    if np.any(x < 2):
        raise ValueError("x is below 2")
    return height * x + offset


@custom_model
def never_below_zero(x, height=-1.0, offset=0.0):
    if np.any(height < 0):
        raise ValueError("height is below 0")
    return height * x + offset


TEMPLATE = X**2


@custom_model
def template(x, height=1.0):
    """A model of one size, for coordinates of any value."""
    return height * TEMPLATE


def logarithmic() -> Model:
    """A line whose offset is tied to the logarithm of its slope, which is none at the model's own start."""
    model = Linear1D(-1.0, 0.0)
    model.intercept.tied = lambda m: math.log(m.slope.value)
    return model


@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_a_tie_that_fails_at_some_starts_only_is_a_status(way: str) -> None:
    data = lines(1.0, 2.0, 3.0)
    starts = xr.DataArray([1.0, -2.0, 3.0], dims="p", coords={"p": data["p"]})
    given, maps = (data.chunk(p=1), starts.chunk(p=1)) if way == "lazy" else (data, starts)
    fit = given.modelfit(logarithmic(), dim="x", p0={"slope": maps}, errors="ignore").compute()
    np.testing.assert_array_equal(fit["fit_status"] == FitStatus.FITTER_ERROR, [False, True, False])
    # The authority: the same fit where all starts are right.
    right = data[[0, 2]].modelfit(logarithmic(), dim="x", p0={"slope": abs(starts[[0, 2]])})
    np.testing.assert_array_equal(fit["slope"][[0, 2]], right["slope"])
    with pytest.raises(ValueError, match="raises ValueError: math domain error"):
        data.modelfit(logarithmic(), dim="x")


def test_a_tie_that_fails_during_a_fit_is_a_status() -> None:
    """The start is right; the minimum is where the tie ends."""
    model = Linear1D(1.0, 0.0)
    model.intercept.tied = lambda m: math.sqrt(m.slope.value + 2.0)
    fit = lines(1.0, -9.0).modelfit(model, dim="x", errors="ignore", fitter=TRFLSQFitter())
    assert fit["fit_status"].values.tolist() == [FitStatus.CONVERGED, FitStatus.FITTER_ERROR]


@pytest.mark.parametrize("fitter", FITTERS, ids=["batch", "trf", "lm"])
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (touchy(), {}),
        (only_above_two(), {"where": xr.DataArray(X >= 2, dims="x")}),
        (never_below_zero(), {"p0": {"height": xr.DataArray([1.0, 2.0], dims="p")}}),
        (template(), {}),
    ],
    ids=["other values", "masked coordinates", "other starts", "one size"],
)
@pytest.mark.parametrize("lazy_coordinate", [False, True])
def test_a_model_that_works_somewhere_is_fitted(
    model: Model, options: dict[str, Any], fitter: Any, lazy_coordinate: bool
) -> None:
    data = lines(1.0, 2.0)
    if lazy_coordinate:
        options = options | {"coords": {"x": xr.DataArray(X, dims="x").chunk()}}
    options = {key: value for key, value in options.items()}
    if "p0" in options:
        options["p0"] = {"height": options["p0"]["height"].assign_coords(p=data["p"])}
    fit = data.modelfit(model, dim="x", fitter=fitter, errors="ignore", **options).compute()
    assert (fit["fit_status"] == FitStatus.CONVERGED).all()
    if len(model.param_names) == 2:
        np.testing.assert_allclose(fit["height"], [1.0, 2.0], rtol=1e-6)  # without noise; LM stops at 1e-7


def test_the_cause_is_chained() -> None:
    model = Gaussian1D(1, 5, 1) + Gaussian1D(1, 7, 1)
    model.mean_1.tied = lambda m: m.nosuch
    with pytest.raises(ValueError, match="mean_1") as caught:
        lines(1.0).modelfit(model, dim="x")
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(ValueError, match="below 0") as caught:
        lines(1.0).modelfit(never_below_zero(), dim="x")
    assert str(caught.value.__cause__) == "height is below 0"


@pytest.mark.parametrize("fitter", FITTERS, ids=["batch", "trf", "lm"])
@pytest.mark.parametrize(
    "form",
    [
        lambda data: {"obj": data},
        lambda data: {"obj": data, "scheduler": "threads", "fits_per_chunk": 1},
        lambda data: {"obj": data, "diagnostics": "error"},
        lambda data: {"obj": data.chunk(p=1)},
    ],
    ids=["computed", "threads", "diagnosed", "lazy"],
)
def test_an_error_of_a_fit_has_its_cause(form: Callable[[Any], dict[str, Any]], fitter: Any, tmp_path: Any) -> None:
    options = form(lines(1.0, 9.0, 2.0))
    if "diagnostics" in options:
        options["diagnostics_path"] = tmp_path
    with pytest.raises(FitError, match=r"p=(20|1)\D") as caught:
        xr_modelfit.fit(model=touchy(), dim="x", fitter=fitter, errors="raise", **options).compute(
            scheduler="synchronous"
        )
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert str(caught.value.__cause__) == "too high"


def test_a_failure_without_an_error_has_no_cause() -> None:
    with pytest.raises(FitError) as caught:
        lines(1.0, np.nan).modelfit(Linear1D(), dim="x", min_points=3, where=lines(1.0, 1.0) < 1.6, errors="raise")
    assert caught.value.__cause__ is None


def test_a_quantity_without_dimension_ties_what_has_no_unit() -> None:
    """A percentage is a hundredth, not a number of hundreds."""
    model = PowerLaw1D(1.0 * u.K, 2.0 * u.m, 1.0)
    model.x_0.fixed = True
    model.alpha.tied = lambda m: 200.0 * u.percent
    x = X + 1.0
    data = xr.DataArray([3.0 * (x / 2.0) ** -2], dims=("p", "x"), coords={"x": x}, attrs={"units": "K"})
    data["x"].attrs["units"] = "m"
    fit = data.modelfit(model, dim="x")
    np.testing.assert_allclose(fit["alpha"], 2.0, rtol=1e-12)
    np.testing.assert_allclose(fit["amplitude"], 3.0, rtol=1e-12)


@pytest.mark.parametrize("fitter", FITTERS, ids=["batch", "trf", "lm"])
def test_trying_ties_leaves_the_starts_in_the_record(fitter: Any) -> None:
    model = Gaussian1D(3.0, 4.0, 2.0)
    model.stddev.tied = lambda m: m.mean / 4
    fit = lines(1.0).modelfit(model, dim="x", errors="ignore", fitter=fitter)
    record = json.loads(fit["fit_status"].attrs["modelfit_record"])
    assert record["model"]["values"] == {"amplitude": 3.0, "mean": 4.0, "stddev": 2.0}
