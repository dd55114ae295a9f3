"""Models that carry units which do not fit: what is to blame, and a call that works, which does."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.models import NFW, BlackBody, BrokenPowerLaw1D, Gaussian1D, Plummer1D

W = np.linspace(3500.0, 9000.0, 60)
X = np.linspace(1.0, 10.0, 40)
BRIGHT = "erg s-1 cm-2 Angstrom-1 sr-1"
FLUX = "erg s-1 cm-2 Angstrom-1"


def glow(units: str) -> xr.DataArray:
    values = 3e-26 * BlackBody(8500 * u.K, scale=1 * u.Unit(BRIGHT))(W * u.AA).value
    return xr.DataArray(values, dims="w", coords={"w": ("w", W, {"units": "Angstrom"})}, attrs={"units": units})


def line(units: str = "K") -> xr.DataArray:
    values = np.exp(-0.5 * (X - 5) ** 2) + 0.1
    return xr.DataArray(values, dims="x", coords={"x": ("x", X, {"units": "km"})}, attrs={"units": units})


def test_a_missing_steradian_is_called_so() -> None:
    model = BlackBody(1e4 * u.K, scale=1e-26 * u.Unit(BRIGHT))
    with pytest.raises(ValueError, match="A 'sr' is missing") as caught:
        glow(FLUX).modelfit(model, dim="w")
    assert "'temperature'" in str(caught.value) or "temperature in 'K'" in str(caught.value)
    label = re.search(r"data\.assign_attrs\(units='(.*?)'\)", str(caught.value))
    assert label is not None
    result = glow(FLUX).assign_attrs(units=label[1]).modelfit(model, dim="w", errors="ignore")
    np.testing.assert_allclose(result["temperature"], 8500, rtol=1e-4)


def test_a_black_body_per_hertz_over_data_per_angstrom() -> None:
    """Its scale is to blame; with and without the steradian."""
    for units, words in ((BRIGHT, "It works with"), (FLUX, "A 'sr' is missing")):
        with pytest.raises(ValueError, match=words) as caught:
            glow(units).modelfit(BlackBody(1e4 * u.K), dim="w")
        written = re.search(r"scale=1 \* u\.Unit\('(.*?)'\)", str(caught.value))
        assert written is not None
        data = glow(BRIGHT)
        model = BlackBody(1e4 * u.K, scale=1e-26 * u.Unit(written[1]))
        np.testing.assert_allclose(data.modelfit(model, dim="w")["temperature"], 8500, rtol=1e-4)


BLAMED: dict[str, tuple[Callable[[], Model], str]] = {
    "a break in seconds": (lambda: BrokenPowerLaw1D(1 * u.K, 3 * u.s, 1, 2), "x_break"),
    "a mass": (lambda: Plummer1D(1 * u.M_sun, 3 * u.km), "mass"),
    "a mean in seconds": (lambda: Gaussian1D(1 * u.K, 5 * u.s, 1 * u.km), "mean"),
    "an amplitude in janskys": (lambda: Gaussian1D(1 * u.Jy, 5 * u.km, 1 * u.km), "amplitude"),
}


@pytest.mark.parametrize("name", list(BLAMED))
def test_the_parameter_to_blame_and_a_call_that_works(name: str) -> None:
    make, blamed = BLAMED[name]
    with pytest.raises(ValueError, match=f"on '{blamed}'") as caught:
        line().modelfit(make(), dim="x")
    written = re.search(rf"It works with {blamed}=([\d.]+) \* u\.Unit\('(.*?)'\)", str(caught.value))
    assert written is not None
    model: Any = make()
    values = {n: getattr(model, n).quantity if n != blamed else None for n in model.param_names}
    values = {n: getattr(model, n).value if q is None else q for n, q in values.items()}
    values[blamed] = float(written[1]) * u.Unit(written[2])
    line().modelfit(type(model)(**values), dim="x", errors="ignore")


def test_an_exponent_with_a_unit() -> None:
    with pytest.raises(ValueError, match=r"'alpha_1', but it is a pure number\. Give it without unit"):
        line().modelfit(BrokenPowerLaw1D(1 * u.K, 3 * u.km, 1 * u.K, 2), dim="x")


def test_nothing_that_works_is_not_made_up() -> None:
    with pytest.raises(ValueError, match="mass in 'solMass'") as caught:
        line().modelfit(NFW(1e12 * u.M_sun, 3), dim="x")
    assert "It works" not in str(caught.value)


def test_an_expression_that_contradicts_itself() -> None:
    def odd(x: Any, a: Any = 1 * u.K) -> Any:
        return a * (x + x**2)

    with pytest.raises(ValueError, match=r"contradicts itself: it adds 'km'.* and 'km'"):
        line().modelfit(custom_model(odd)(), dim="x")
