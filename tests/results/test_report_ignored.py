"""The report names a parameter that the model does not use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D

from xr_modelfit.analysis.ignored import ignored_parameters

X = np.arange(20.0)


def unused(x: Any, a: float = 1.0, b: float = 2.0) -> Any:
    return a * x


def times_zero(x: Any, a: float = 1.0, b: float = 2.0, c: float = 0.5) -> Any:
    return a * np.exp(-c * x) + 0 * b


def used(x: Any, a: float = 1.0, b: float = 2.0) -> Any:
    return a * x + b


def by_its_code(x: Any, a: float = 1.0, b: float = 2.0) -> Any:
    """No expression of single samples."""
    return a * np.sort(x)


def data() -> xr.DataArray:
    noise = np.random.default_rng(0).normal(0, 0.1, (3, X.size))
    return xr.DataArray(noise + 2 * X, dims=("y", "x"), coords={"x": X})


@pytest.mark.parametrize("function", [unused, times_zero])
def test_the_parameter_is_named(function: Any) -> None:
    report = data().modelfit(function, "x", errors="ignore").modelfit.report()
    said = (
        "Fits are degenerate because the derivative of the model by 'b' is zero everywhere: the model does not use it"
    )
    assert said in str(report)
    assert "the model does not use it" in report._repr_html_()


def test_in_a_sum_it_has_the_name_of_the_result() -> None:
    fit = data().modelfit(custom_model(unused)() + Const1D(0), "x", errors="ignore")
    assert "the model by 'b_0' is zero everywhere" in str(fit.modelfit.report())


def test_nothing_is_said_where_all_are_used_or_the_parameter_is_held() -> None:
    far = data().modelfit(Gaussian1D(1, 2000, 1) + Const1D(0), "x", errors="ignore")
    assert "degenerate" in str(far.modelfit.report())
    fixed = data().modelfit(custom_model(unused)(fixed={"b": True}), "x")
    for fit in (far, fixed, data().modelfit(used, "x"), data().modelfit(Linear1D(), "x")):
        assert "does not use" not in str(fit.modelfit.report())


def test_nothing_is_claimed_of_what_is_no_expression() -> None:
    assert ignored_parameters(custom_model(by_its_code)()) == []


def test_nothing_is_claimed_of_ties() -> None:
    model = custom_model(unused)()
    model.a.tied = lambda m: m.b
    assert ignored_parameters(model) == []
