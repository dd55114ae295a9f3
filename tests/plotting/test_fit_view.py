"""What the axes of one fit show: outliers do not squeeze the samples, and long units do not leave their axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D

from xr_modelfit import BatchLSQFitter

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib"),  # matplotlib 3.8
    pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning"),
]
MUSE = "10**(-17)*erg/s/cm**2/Angstrom"
X = np.linspace(5000, 5015, 60)


def spectrum(units: str = "K", **outliers: float) -> tuple[xr.DataArray, xr.DataArray]:
    """A line of height 10 on 1.5 with noise of 0.3, and which samples are good."""
    y = 1.5 + 10 * np.exp(-0.5 * ((X - 5007) / 1.2) ** 2) + np.random.default_rng(1).normal(0, 0.3, X.size)
    good = np.ones(X.size, dtype=bool)
    for name, value in outliers.items():
        y[int(name[1:])], good[int(name[1:])] = value, False
    coords = {"wavelength": ("wavelength", X, {"units": "Angstrom"})}
    data = xr.DataArray(y, dims="wavelength", coords=coords, name="flux", attrs={"units": units})
    return data, data.copy(data=good).drop_attrs()


def line() -> Any:
    return Gaussian1D(8, 5007, 1) + Const1D(1.0)


def arrows(ax: Any) -> dict[str, list[float]]:
    """Where arrows at the edge stand, by their direction."""
    return {one.get_marker(): list(one.get_xdata()) for one in ax.lines if one.get_marker() in ("^", "v")}


def test_masked_outliers_are_arrows_and_leave_the_view_to_what_was_fitted() -> None:
    data, good = spectrum(i10=60.0, i45=-40.0)
    fit = data.modelfit(line(), "wavelength", sigma=0.3, where=good)
    picture = data.modelfit.plot_fit(fit, sigma=0.3, where=good)
    fitted = data.where(good)
    for ax, values in zip(picture.axs, (fitted, fitted - fit.modelfit.evaluate(data)), strict=True):
        low, high = ax.get_ylim()
        assert low < float(values.min())
        assert float(values.max()) < high
        assert high - low < 2.5 * float(values.max() - values.min())
        assert arrows(ax) == {"^": [X[10]], "v": [X[45]]}
    np.testing.assert_array_equal(picture.artists["left_out"].get_ydata(), [60.0, -40.0])
    words = [text.get_text() for text in picture.axs[0].get_legend().get_texts()]
    assert words == ["data", "left out", "model", "Gaussian1D_0", "Const1D_1"]


def test_near_samples_left_out_stay_in_view() -> None:
    data, good = spectrum(i10=14.0)
    fit = data.modelfit(line(), "wavelength", sigma=0.3, where=good)
    ax = data.modelfit.plot_fit(fit, sigma=0.3, where=good).axs[0]
    assert ax.get_ylim()[1] > 14
    assert arrows(ax) == {}


def test_clipped_outliers_are_arrows() -> None:
    data, _ = spectrum(i50=80.0)
    fit = data.modelfit(line(), "wavelength", fitter=BatchLSQFitter(clip=(4, 4)), fit_info=["clipped"])
    assert bool(fit["clipped"][50])
    for ax in data.modelfit.plot_fit(fit).axs:
        assert ax.get_ylim()[1] < 20
        assert X[50] in arrows(ax)["^"]


def test_upper_limits_stay_in_view_beside_an_outlier() -> None:
    data, good = spectrum(i50=80.0)
    limit = xr.zeros_like(good)
    limit[[3, 8]] = True
    fit = data.modelfit(line(), "wavelength", sigma=0.3, where=good, upper_limit=limit)
    picture = data.modelfit.plot_fit(fit, sigma=0.3, where=good, upper_limit=limit)
    low, high = picture.axs[0].get_ylim()
    assert low < float(data[limit].min())
    assert high < 20
    assert arrows(picture.axs[0])["^"] == [X[50]]


def test_a_huge_error_does_not_squeeze_the_samples() -> None:
    data, _ = spectrum()
    sigma = xr.full_like(data, 0.3)
    sigma[20] = 1e4
    fit = data.modelfit(line(), "wavelength", sigma=sigma)
    for ax in data.modelfit.plot_fit(fit, sigma=sigma).axs:
        assert np.ptp(ax.get_ylim()) < 30


def test_usual_errors_are_whole_where_residuals_are_small() -> None:
    x = np.arange(5.0)
    data = xr.DataArray(2 * x + 1 + 1e-3 * np.array([1, -1, 0, 1, -1]), dims="x", coords={"x": x})
    fit = data.modelfit(Linear1D(1, 0), "x", sigma=1.0)
    low, high = data.modelfit.plot_fit(fit, sigma=1.0).axs[1].get_ylim()
    assert low < -1
    assert high > 1


def test_axes_with_limits_or_other_lines_keep_their_view() -> None:
    import matplotlib.pyplot as plt

    data, good = spectrum(i10=60.0)
    fit = data.modelfit(line(), "wavelength", where=good)
    fixed, used, turned = (plt.figure().subplots() for _ in range(3))
    fixed.set_ylim(-5, 100)
    used.plot(X, np.full(X.size, 200.0))
    turned.invert_yaxis()
    for ax in (fixed, used, turned):
        data.modelfit.plot_fit(fit, where=good, ax=ax)
    assert fixed.get_ylim() == (-5, 100)
    assert used.get_ylim()[1] > 200
    assert 20 > turned.get_ylim()[0] > 11
    assert turned.get_ylim()[1] < 1.5
    assert arrows(turned) == {"v": [X[10]]}


@pytest.mark.parametrize("units", [MUSE, "1e-20 erg s-1 cm-2 Angstrom-1 arcsec-2"])
def test_labels_of_long_units_fit_their_axes(units: str) -> None:
    data, _ = spectrum(units)
    picture = data.modelfit.plot_fit(data.modelfit(line(), "wavelength", sigma=0.3))
    picture.fig.draw_without_rendering()
    boxes = [ax.yaxis.label.get_window_extent() for ax in picture.axs]
    assert boxes[1].y1 < boxes[0].y0
    assert boxes[1].y0 >= 0
    assert boxes[0].y1 <= picture.fig.bbox.height
    assert min(box.x0 for box in boxes) >= 0


def test_a_long_unit_is_written_with_raised_powers_and_a_short_one_as_it_is() -> None:
    data, _ = spectrum(MUSE)
    picture = data.modelfit.plot_fit(data.modelfit(line(), "wavelength"))
    assert picture.axs[0].get_ylabel() == "flux\n[10$^{-17}$ erg Angstrom$^{-1}$ cm$^{-2}$ s$^{-1}$]"
    assert picture.axs[1].get_ylabel() == "residuals"
    assert "**" not in picture.axs[0].get_title("left")
    data, _ = spectrum("mJy beam-1")
    beside = data.modelfit.plot_fit(data.modelfit(line(), "wavelength")).axs[1].get_ylabel()
    assert beside.split() == ["residuals", "[mJy", "beam-1]"]


def test_the_bars_of_an_image_have_labels_that_fit() -> None:
    y, x = np.mgrid[0:12, 0:15].astype(float)
    values = Gaussian2D(5, 7, 6, 2, 2)(x, y) + np.random.default_rng(1).normal(0, 0.1, x.shape)
    data = xr.DataArray(
        values, dims=("y", "x"), coords={"y": y[:, 0], "x": x[0]}, name="surface_brightness", attrs={"units": MUSE}
    )
    picture = data.modelfit.plot_fit(data.modelfit(Gaussian2D(4, 7, 6, 2, 2), ("y", "x")))
    picture.fig.draw_without_rendering()
    for name, ax in zip(("model", "residuals"), picture.axs[1:], strict=True):
        label = picture.artists[name].colorbar.ax.yaxis.label
        assert label.get_window_extent().height <= 1.05 * ax.get_window_extent().height
