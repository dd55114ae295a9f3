"""What is on a figure and where: words that do not touch, panels that are worth it, one unit, pictures of any dims."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Sine1D

from xr_modelfit import RecordError, tutorial

matplotlib = pytest.importorskip("matplotlib")

from support.drawn import OLD_WARNINGS, clashes, on_panels, words  # noqa: E402

pytestmark = [*OLD_WARNINGS, pytest.mark.quick_share(3)]
SHAPE = (12, 16)


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    return tutorial.line_cube(shape=SHAPE)


@pytest.fixture(scope="module")
def everywhere(cube: xr.DataArray) -> xr.Dataset:
    """Fitted to lines and to noise."""
    return cube.modelfit(Gaussian1D(1, 4500, 500), "velocity", sigma=0.1, errors="ignore")


@pytest.fixture(scope="module")
def fit(cube: xr.DataArray) -> xr.Dataset:
    start = {"amplitude": cube.max("velocity"), "mean": cube.fillna(0).idxmax("velocity")}
    seen = (cube > 0.4).sum("velocity") >= 4
    return cube.modelfit(Gaussian1D(1, 4000, 500), "velocity", sigma=0.1, where=seen, p0=start, covariance=True)


@pytest.fixture(scope="module")
def six(cube: xr.DataArray) -> xr.Dataset:
    """Six parameters with long names; with the status, seven panels and all kinds of failures."""
    model = Gaussian1D(1, 4000, 500, name="narrow") + Gaussian1D(0.3, 4500, 1500, name="broad")
    return cube.modelfit(model, "velocity", sigma=0.1, errors="ignore")


@pytest.fixture(scope="module")
def waves() -> xr.Dataset:
    """With a parameter that is fixed."""
    data = tutorial.seasonal_series().isel(lat=slice(2, 4), lon=slice(2, 5))
    return data.modelfit(Sine1D(5, 1, 0, fixed={"frequency": True}) + Const1D(15), "time")


def epochs(fit: xr.Dataset, n: int) -> xr.Dataset:
    parts = [fit.assign(mean=(fit["mean"] + 1000 * i).assign_attrs(fit["mean"].attrs)) for i in range(n)]
    dim = xr.Variable("epoch", np.arange(n) + 1)
    return xr.concat(parts, dim, data_vars="all", coords="minimal", compat="override")


# Words


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"figsize": (8, 8)}, {"figsize": (7, 5)}, {"stderr": True}, {"col_wrap": 4}], ids=str
)
def test_seven_panels_do_not_get_in_each_other_s_way(six: xr.Dataset, options: dict[str, Any]) -> None:
    picture = six.modelfit.plot(**options)
    assert len(picture.axs) == (13 if "stderr" in options else 7)
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)


def test_a_label_is_no_longer_than_its_map(six: xr.Dataset) -> None:
    picture = six.modelfit.plot(figsize=(8, 8))
    picture.fig.canvas.draw()
    for name, artist in picture.artists.items():
        label = artist.colorbar.ax.yaxis.label
        assert label.get_window_extent().height <= artist.axes.get_window_extent().height * 1.1, name
        assert label.get_fontsize() >= 6
    assert "[m s-1]" in picture.artists["narrow_mean"].colorbar.ax.get_ylabel()  # a unit is not torn


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (2, 3)], ids=str)
def test_bars_on_axes_of_a_figure_without_layout_stay_in_their_place(fit: xr.Dataset, shape: tuple[int, int]) -> None:
    import matplotlib.pyplot as plt

    figure, axs = plt.subplots(*shape, figsize=(5 * shape[1], 4 * shape[0]))
    places = [ax.get_position(original=True) for ax in axs.flat]
    names = ["amplitude", "mean", "stddev", "reduced_chi2", "fit_status", "chi2"][: axs.size]
    picture = fit.modelfit.plot(names, ax=axs)
    figure.canvas.draw()
    for artist, place in zip(picture.artists.values(), places, strict=True):
        right = artist.colorbar.ax.get_tightbbox().x1 / figure.bbox.width
        assert place.x1 - 0.04 < right <= place.x1 + 0.005
    assert not clashes(figure)
    assert not on_panels(figure)


@pytest.mark.slow
def test_no_title_or_label_is_of_the_wcs(fit: xr.Dataset) -> None:
    odd = fit.assign_coords(wcs=np.int8(0), height=2.0)
    for picture in (odd.modelfit.plot(), epochs(odd, 2).modelfit.plot(), odd.isel(y=6).modelfit.plot()):
        assert not any("wcs" in text or "height" in text for text, _ in words(picture.fig))
    grid = epochs(odd, 2).modelfit.plot("mean", col="epoch")
    assert [ax.get_title() for ax in grid.axs.flat] == ["epoch = 1", "epoch = 2"]
    one = odd.isel(y=6, x=8).modelfit.plot()
    assert not any("wcs" in text for text, _ in words(one.fig))


# Which panels


def test_fixed_parameters_have_no_panel(waves: xr.Dataset) -> None:
    assert list(waves.modelfit.plot().artists) == ["amplitude_0", "phase_0", "amplitude_1", "fit_status"]
    errors = waves.modelfit.plot(stderr=True, status=False)
    assert "frequency_0" not in errors.artists
    assert "frequency_0_stderr" not in errors.artists
    named = waves.modelfit.plot("frequency_0", stderr=True, status=False)
    assert list(named.artists) == ["frequency_0"]  # an error of zero says nothing


def test_all_that_is_fixed_is_drawn_if_there_is_nothing_else(cube: xr.DataArray) -> None:
    held = {"amplitude": True, "mean": True, "stddev": True}
    part = cube.isel(y=slice(4, 7), x=slice(6, 9))
    fit = part.modelfit(Gaussian1D(1, 4500, 500, fixed=held), "velocity", errors="ignore")
    assert list(fit.modelfit.plot(status=False).artists) == ["amplitude", "mean", "stddev"]


def test_failures_alone_are_one_panel(cube: xr.DataArray) -> None:
    failed = (cube * np.nan).modelfit(Gaussian1D(1, 4500, 500), "velocity", errors="ignore")
    for picture in (failed.modelfit.plot(), failed.modelfit.plot("mean"), failed.isel(y=0).modelfit.plot()):
        assert list(picture.artists) == ["fit_status"]
        assert len([ax for ax in picture.fig.axes if ax.get_visible()]) == 1
        assert picture.fig.get_suptitle() == "no fit succeeded"
        assert not clashes(picture.fig)
    assert list(failed.modelfit.plot(["mean", "n_points"]).artists) == ["mean", "n_points", "fit_status"]


def test_nothing_significant_says_so(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot(snr=1e6)
    assert list(picture.artists) == ["fit_status"]
    assert picture.fig.get_suptitle() == "no fit is significant"


# Significance


def test_what_is_not_significant_is_grey_and_the_foot_says_why(everywhere: xr.Dataset) -> None:
    picture = everywhere.modelfit.plot(snr=5)
    good = everywhere.modelfit.significant(snr=5).values
    assert 0 < good.sum() < everywhere.modelfit.ok.sum()
    for name in ("amplitude", "mean", "stddev"):
        blank = np.ma.getmaskarray(picture.artists[name].get_array()).reshape(SHAPE)
        np.testing.assert_array_equal(blank, ~good)
    status = picture.artists["fit_status"].get_array().reshape(SHAPE)
    assert not np.ma.getmaskarray(status).any()
    foot = " ".join(picture.fig.get_supxlabel().split())
    assert foot == "grey: no fit, or amplitude less than 5 times its error, or mean or fwhm outside the band"
    assert not clashes(picture.fig)


def test_lines_are_grey_there_too(everywhere: xr.Dataset) -> None:
    row = everywhere.isel(y=6)
    picture = row.modelfit.plot(snr=5)
    shown = np.isfinite(picture.artists["mean"].get_ydata())
    np.testing.assert_array_equal(shown, row.modelfit.significant(snr=5).values)
    assert "5 times its error" in picture.fig.get_supxlabel()


@pytest.mark.parametrize("snr", [0, -1, "5", True])
def test_wrong_snr(fit: xr.Dataset, snr: Any) -> None:
    with pytest.raises(ValueError, match=r"snr is .*; a positive number is needed"):
        fit.modelfit.plot(snr=snr)


def test_snr_needs_an_amplitude() -> None:
    data = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "t"))
    with pytest.raises(ValueError, match="has no amplitude"):
        data.modelfit(Linear1D(), "t").modelfit.plot(snr=5)


# Dims


def test_one_fit_is_values_with_errors(fit: xr.Dataset) -> None:
    picture = fit.sel(y=6, x=8).modelfit.plot()
    assert list(picture.artists) == ["amplitude", "mean", "stddev"]
    one = fit.sel(y=6, x=8)
    for ax, name in zip(picture.axs, picture.artists, strict=True):
        ((segment,),) = (c.get_segments() for c in picture.artists[name].lines[2])
        half = (segment[1, 0] - segment[0, 0]) / 2
        assert half == pytest.approx(float(one[f"{name}_stderr"]))
        assert segment[:, 0].mean() == pytest.approx(float(one[name]))
        low, high = ax.get_xlim()
        assert low < segment[0, 0] < segment[1, 0] < high
        assert ax.get_title("left").startswith(f"{name} = ")
    assert picture.axs[1].get_title("left") == "mean = 4844 ± 11 m s-1"
    assert picture.fig.get_suptitle() == "x = 8, y = 6: converged"
    assert not clashes(picture.fig)


def test_one_fit_that_failed_says_so(fit: xr.Dataset) -> None:
    picture = fit.sel(y=0, x=0).modelfit.plot()
    assert [ax.get_title("left") for ax in picture.axs] == [f"{n}: no value" for n in ("amplitude", "mean", "stddev")]
    assert picture.fig.get_suptitle().endswith("no_data")
    assert not clashes(picture.fig)


def test_three_dims_are_rows_of_maps(fit: xr.Dataset) -> None:
    stack = epochs(fit, 3)
    picture = stack.modelfit.plot()
    assert picture.axs.shape == (4, 3)
    assert [ax.get_title() for ax in picture.axs[0]] == ["epoch = 1", "epoch = 2", "epoch = 3"]
    for number, mesh in enumerate(picture.artists["mean"]):
        values = np.ma.filled(mesh.get_array(), np.nan).reshape(SHAPE)
        np.testing.assert_array_equal(
            values, stack["mean"].isel(epoch=number).where(stack.modelfit.ok.isel(epoch=number))
        )
    assert len({mesh.get_clim() for mesh in picture.artists["mean"]}) == 1  # one scale in a row
    assert picture.artists["mean"][-1].colorbar.ax.get_ylabel().replace("\n", " ") == "mean of Gaussian1D [m s-1]"
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)


def test_the_third_dim_is_the_one_that_is_no_side_of_a_map(fit: xr.Dataset) -> None:
    last = epochs(fit, 2).transpose("y", "x", "epoch", ...)
    picture = last.modelfit.plot("mean")
    assert [ax.get_title() for ax in picture.axs[0]] == ["epoch = 1", "epoch = 2"]
    np.testing.assert_array_equal(
        np.ma.filled(picture.artists["mean"][1].get_array(), np.nan).reshape(SHAPE), fit["mean"] + 1000
    )


def test_many_positions_are_sampled_and_the_foot_says_so(fit: xr.Dataset) -> None:
    picture = epochs(fit, 21).modelfit.plot("mean", status=False)
    assert [ax.get_title() for ax in picture.axs[0]] == [f"epoch = {n}" for n in (1, 5, 9, 13, 17, 21)]
    assert "6 of 21 positions along epoch" in picture.fig.get_supxlabel()
    assert not clashes(picture.fig)


def test_four_dims_ask_for_a_selection(fit: xr.Dataset) -> None:
    four = epochs(fit, 2).expand_dims(run=[1, 2])
    with pytest.raises(ValueError, match=r"over 4 dims.*Select first, fit.isel\(run=0\)"):
        four.modelfit.plot()


# Colours


def test_diverging_colours_of_the_call_have_zero_in_the_middle(fit: xr.Dataset) -> None:
    """Of both signs, however unequal; colours that do not diverge, and values of one sign, are left as they are."""
    shifted = fit.assign(mean=fit["mean"] - 3300)
    low, high = shifted.modelfit.plot("mean", cmap="coolwarm").artists["mean"].get_clim()
    assert low == -high
    low, high = shifted.modelfit.plot("mean", cmap="magma").artists["mean"].get_clim()
    assert -low < high / 5
    low, high = fit.modelfit.plot("mean", cmap="RdBu_r").artists["mean"].get_clim()
    assert 0 < low < high


# One fit


def test_title_and_axes_have_one_unit(cube: xr.DataArray, fit: xr.Dataset) -> None:
    km = cube.assign_coords(velocity=(cube["velocity"] / 1000).assign_attrs(units="km s-1"))
    picture = km.modelfit.plot_fit(fit, y=6, x=8)
    mean, error = (float(fit[name].sel(y=6, x=8)) for name in ("mean", "mean_stderr"))
    assert f"mean = {mean / 1000:.3f} ± {error / 1000:.3f} km s-1" in picture.axs[0].get_title("left")
    assert "[km s-1]" in picture.axs[-1].get_xlabel()
    milli = (1000 * cube).assign_attrs(units="mK")
    assert " mK" in milli.modelfit.plot_fit(fit, y=6, x=8).axs[0].get_title("left")


@pytest.mark.parametrize("components", [True, False])
@pytest.mark.parametrize("given", ["own figure", "axes"])
def test_the_legend_covers_no_data(cube: xr.DataArray, six: xr.Dataset, components: bool, given: str) -> None:
    import matplotlib.pyplot as plt

    axs = None if given == "own figure" else plt.figure(layout="constrained").subplots(2, 1)
    picture = cube.modelfit.plot_fit(six, y=6, x=8, sigma=0.1, components=components, ax=axs)
    figure = picture.fig
    figure.canvas.draw()
    box = picture.axs[0].get_legend().get_window_extent()
    assert {"data", "model"} <= {text.get_text() for text in picture.axs[0].get_legend().get_texts()}
    for ax in picture.axs:
        assert not box.overlaps(ax.get_window_extent().shrunk(0.999, 0.999)) or box.y0 >= ax.get_window_extent().y1 - 1
    assert not clashes(figure)


# Derived quantities


def test_derived_quantities_are_drawn_by_name(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot(["flux", "mean"])
    assert list(picture.artists) == ["flux", "mean", "fit_status"]
    drawn = np.ma.filled(picture.artists["flux"].get_array(), np.nan).reshape(SHAPE)
    expected = np.sqrt(2 * np.pi) * fit["amplitude"] * abs(fit["stddev"])
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)
    assert "[K m s-1]" in picture.artists["flux"].colorbar.ax.get_ylabel()
    assert list(fit.modelfit.plot("flux", stderr=True, status=False).artists) == ["flux", "flux_stderr"]
    counts, *_ = fit.modelfit.plot_hist("flux")
    assert counts.sum() > 0


def test_without_covariance_the_values_are_drawn_without_errors(fit: xr.Dataset) -> None:
    bare = fit.drop_vars("covariance").drop_dims(["cov_i", "cov_j"], errors="ignore")
    picture = bare.modelfit.plot("flux", status=False)
    expected = np.sqrt(2 * np.pi) * fit["amplitude"] * abs(fit["stddev"])
    np.testing.assert_allclose(np.ma.filled(picture.artists["flux"].get_array(), np.nan).reshape(SHAPE), expected)


def test_what_derived_returns_draws_itself(fit: xr.Dataset) -> None:
    found = fit.modelfit.derived()
    picture = found.modelfit.plot()
    assert list(picture.artists) == ["flux", "fwhm"]
    np.testing.assert_array_equal(
        np.ma.filled(picture.artists["fwhm"].get_array(), np.nan).reshape(SHAPE), found["fwhm"]
    )
    assert picture.fig.get_supxlabel() == "grey: no value"
    assert not clashes(picture.fig)
    line = found.isel(y=6).modelfit.plot(["flux"])
    np.testing.assert_array_equal(line.artists["flux"].get_ydata(), found["flux"].isel(y=6))
    with pytest.raises(ValueError, match="snr needs the status"):
        found.modelfit.plot(snr=5)


def test_a_dataset_that_is_neither_says_so(cube: xr.DataArray) -> None:
    with pytest.raises(RecordError, match="no result of a fit"):
        cube.to_dataset(name="T").modelfit.plot()


def test_an_unknown_name_is_told_as_before(fit: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="params names 'fluks', which is no variable"):
        fit.modelfit.plot("fluks")


# The inspector


def test_a_still_backend_says_that_it_needs_a_live_one(cube: xr.DataArray, fit: xr.Dataset) -> None:
    with pytest.warns(UserWarning, match=r"needs a live backend to click on.*\([Aa]gg\).*%matplotlib widget"):
        viewer = fit.modelfit.inspect(cube)
    assert any("a still picture: clicks need a live backend" in text for text, _ in words(viewer.fig))
    viewer.close()


@pytest.mark.parametrize(
    "live", [{"required_interactive_framework": "qt"}, {"handle_event": print}], ids=["window", "browser"]
)
def test_a_live_backend_is_silent(
    cube: xr.DataArray, fit: xr.Dataset, live: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for name, value in live.items():
        monkeypatch.setattr(FigureCanvasAgg, name, value, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viewer = fit.modelfit.inspect(cube)
    assert any("click on a position" in text for text, _ in words(viewer.fig))
    viewer.close()
