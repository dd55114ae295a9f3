"""A number times a sum of a number and a parameter, as ``5007 * (1 + z)``: either number may have the unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u

import xr_modelfit  # noqa: F401

WAVELENGTH = np.linspace(5000.0, 5180.0, 60)
REST, C = 5006.843, 299792.458


def by_redshift(x: Any, amp: float = 3.0, z: float = 0.0165, width: float = 2.0, level: float = 1.5) -> Any:
    return amp * np.exp(-0.5 * ((x - REST * (1 + z)) / width) ** 2) + level


def by_velocity(x: Any, amp: float = 3.0, v: float = 4940.0, width: float = 2.0, level: float = 1.5) -> Any:
    return amp * np.exp(-0.5 * ((x - (v / C + 1) * REST) / width) ** 2) + level


def spectrum(units: str = "Angstrom") -> xr.DataArray:
    y = by_redshift(WAVELENGTH) + np.random.default_rng(0).normal(0, 0.05, 60)
    x = xr.DataArray(WAVELENGTH, dims="w", attrs={"units": units})
    return xr.DataArray(y, dims="w", coords={"w": x}, attrs={"units": "mJy"})


@pytest.mark.parametrize(("function", "name"), [(by_redshift, "z"), (by_velocity, "v")])
def test_the_parameter_has_no_unit_that_nobody_told(function: Any, name: str) -> None:
    """Its number is no wavelength: it stays as it is where the unit of the coordinate has another name."""
    fit = spectrum().modelfit(function, "w", sigma=0.05)
    assert "units" not in fit[name].attrs
    assert fit["width"].attrs["units"] == "Angstrom"
    assert fit["amp"].attrs["units"] == fit["level"].attrs["units"] == "mJy"
    other = spectrum("0.1 nm").modelfit(function, "w", sigma=0.05)
    assert float(other[name]) == float(fit[name])
    assert "units" not in other[name].attrs


@pytest.mark.parametrize(
    ("function", "name", "start", "units"),
    [(by_redshift, "z", 0.0165 * u.one, "1"), (by_velocity, "v", 4940.0 * u.km / u.s, "km s-1")],
)
def test_a_start_decides(function: Any, name: str, start: u.Quantity, units: str) -> None:
    fit = spectrum().modelfit(function, "w", sigma=0.05, p0={name: start})
    plain = spectrum().modelfit(function, "w", sigma=0.05)
    assert fit[name].attrs["units"] == units
    assert float(fit[name]) == float(plain[name])


def test_numbers_of_other_formulas_stay_pure() -> None:
    """Where they can all be pure they are."""

    def flank(x: Any, amp: float = 2.0, mid: float = 5090.0, width: float = 9.0) -> Any:
        return 0.5 * amp * (1 + np.tanh((x - mid) / width))

    fit = spectrum().modelfit(flank, "w", errors="ignore")
    assert [fit[n].attrs["units"] for n in ("amp", "mid", "width")] == ["mJy", "Angstrom", "Angstrom"]
