"""Words and axes of one fit are in the units of its result, whatever the unit of the coordinate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling.models import Gaussian1D

import xr_modelfit  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib"),  # matplotlib 3.8
    pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning"),
]
CASES = [  # the axis, the unit of the model, a width in it, and from where to where the axis goes in that
    ("m s-1", u.km / u.s, "km s-1", 0.6, (0.0, 9.0)),
    ("m", u.AA, "Angstrom", 2.0, (5000.0, 5020.0)),
    ("GHz", u.MHz, "MHz", 3.0, (100.0, 130.0)),
]


def fitted(axis: str, unit: Any, width: float, reach: tuple[float, float]) -> tuple[xr.DataArray, xr.Dataset]:
    x = np.linspace(*reach, 91)
    centre = 0.4 * reach[0] + 0.6 * reach[1]
    y = 3 * np.exp(-0.5 * ((x - centre) / width) ** 2) + np.random.default_rng(1).normal(0, 0.1, x.size)
    coords = {"along": ("along", (x * unit).to_value(u.Unit(axis)), {"units": axis})}
    data = xr.DataArray(y[np.newaxis], dims=("row", "along"), coords=coords, name="T", attrs={"units": "K"})
    return data, data.modelfit(Gaussian1D(2 * u.K, centre * unit, 1.2 * width * unit), "along", sigma=0.1)


@pytest.mark.parametrize(("axis", "unit", "text", "width", "reach"), CASES)
def test_title_and_axis_have_the_unit_of_the_fit(axis: str, unit: Any, text: str, width: float, reach: Any) -> None:
    data, fit = fitted(axis, unit, width, reach)
    picture = data.modelfit.plot_fit(fit)
    assert fit["mean"].attrs["units"] == text
    parts = [part for part in picture.axs[0].get_title("left").replace("\n", "   ").split("   ") if "=" in part]
    told = {part.split(" = ")[0]: part for part in parts}
    for name in ("mean", "stddev"):
        assert told[name].endswith(f" {text}")
        assert float(told[name].split()[2].strip("(")) == pytest.approx(float(fit[name][0]), rel=0.01)
    assert picture.axs[1].get_xlabel() == f"along [{text}]"
    np.testing.assert_allclose(picture.artists["data"].lines[0].get_xdata(), np.linspace(*reach, 91))
    at, curve = picture.artists["model"].get_data()
    assert at[np.argmax(curve)] == pytest.approx(float(fit["mean"][0]), abs=0.02 * width)


@pytest.mark.parametrize(("axis", "unit", "text", "width", "reach"), CASES)
def test_limits_of_the_report_are_in_the_unit_of_the_fit(
    axis: str, unit: Any, text: str, width: float, reach: Any
) -> None:
    _, fit = fitted(axis, unit, width, reach)
    span, step = reach[1] - reach[0], (reach[1] - reach[0]) / 90
    for words in (str(fit.modelfit.report()), fit.modelfit.significant().attrs["comment"]):
        assert f"{reach[0]:.6g} <= mean <= {reach[1]:.6g} {text}" in words
        assert f"{step:.6g} <= fwhm <= {span:.6g} {text}" in words


def test_limits_of_dates_keep_their_origin() -> None:
    days = np.arange(60.0)
    y = 3 * np.exp(-0.5 * ((days - 30) / 5) ** 2) + np.random.default_rng(0).normal(0, 0.1, 60)
    times = np.datetime64("2000-01-01", "ns") + (days * 86400e9).astype("timedelta64[ns]")
    data = xr.DataArray(y, dims="time", coords={"time": times})
    first = 24 * 10957  # hours of 2000-01-01 since 1970-01-01
    fit = data.modelfit(Gaussian1D(2, (first + 600) * u.hour, 100 * u.hour), "time")
    words = fit.modelfit.significant().attrs["comment"]
    assert f"{first} <= mean <= {first + 24 * 59} h since 1970-01-01" in words
    assert bool(fit.modelfit.significant())


def test_axes_in_use_keep_their_unit() -> None:
    import matplotlib.pyplot as plt

    data, fit = fitted("m s-1", u.km / u.s, 0.6, (0.0, 9.0))
    ax = plt.figure().subplots()
    ax.plot(data["along"], data[0])
    picture = data.modelfit.plot_fit(fit, ax=ax)
    assert ax.get_xlabel() == "along [m s-1]"
    np.testing.assert_array_equal(picture.artists["data"].lines[0].get_xdata(), data["along"])


def test_an_axis_like_the_data_is_not_converted_by_an_amplitude() -> None:
    x = np.linspace(0.0, 9.0, 50)
    y, coords = 300 * np.exp(-0.5 * (x - 4) ** 2), {"distance": ("distance", x, {"units": "km"})}
    data = xr.DataArray(y, dims="distance", coords=coords, name="height", attrs={"units": "m"})
    fit = data.modelfit(Gaussian1D(250, 4.2, 1.1), "distance")
    picture = data.modelfit.plot_fit(fit)
    assert picture.axs[1].get_xlabel() == "distance [km]"
    assert "amplitude = 300" in picture.axs[0].get_title("left")
