"""Pictures: what is on them, that wrong calls say so, that clicks work, and that they look as they did."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D, Polynomial2D, Sine1D
from astropy.units import Quantity

import xr_modelfit
from xr_modelfit import FitStatus, tutorial
from xr_modelfit.plotting.style import BLANK, with_error

matplotlib = pytest.importorskip("matplotlib")

pytestmark = [
    pytest.mark.quick_share(3),
    # matplotlib 3.8 with a newer pyparsing
    pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib"),
    pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning:matplotlib"),
    pytest.mark.filterwarnings("ignore:inspect.. needs a live backend:UserWarning"),
]
BASELINES = Path(__file__).parents[1] / "data" / "plots"
SHAPE = (12, 16)


@pytest.fixture(autouse=True)
def agg() -> Iterator[None]:
    """No windows, default settings, and no figure left open."""
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    with matplotlib.style.context("default"):
        yield
    plt.close("all")


def line_start(cube: xr.DataArray) -> dict[str, xr.DataArray]:
    return {"amplitude": cube.max("velocity"), "mean": cube.fillna(0).idxmax("velocity")}


def seen(cube: xr.DataArray) -> xr.DataArray:
    return (cube > 0.4).sum("velocity") >= 4


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    return tutorial.line_cube(shape=SHAPE)


@pytest.fixture(scope="module")
def fit(cube: xr.DataArray) -> xr.Dataset:
    line = Gaussian1D(1, 4000, 500)
    return cube.modelfit(line, "velocity", sigma=0.1, where=seen(cube), p0=line_start(cube))


@pytest.fixture(scope="module")
def noisy(cube: xr.DataArray) -> xr.Dataset:
    """Fitted everywhere, so mostly to noise."""
    bounds = {"mean": (0, 9000), "stddev": (75, 4500)}
    start = line_start(cube)
    return cube.modelfit(Gaussian1D(1, 4000, 500), "velocity", sigma=0.1, p0=start, bounds=bounds, errors="ignore")


@pytest.fixture(scope="module")
def stamps() -> xr.DataArray:
    return tutorial.star_stamps(n_stamps=8)


@pytest.fixture(scope="module")
def stars(stamps: xr.DataArray) -> xr.Dataset:
    model = Gaussian2D(100, 0, 0, 2, 1.5, 0.4, bounds={"x_stddev": (0.1, 10), "y_stddev": (0.1, 10)})
    return stamps.modelfit(model, ("y", "x"), p0={"amplitude": stamps.max(("y", "x"))}, errors="ignore")


def series(time: Any, name: str = "time", **attrs: str) -> tuple[xr.DataArray, xr.Dataset]:
    """Two lines over some coordinate."""
    n = len(time)
    values = np.array([[1.0], [2.0]]) * np.arange(n) + np.random.default_rng(3).normal(size=(2, n)) / 10
    data = xr.DataArray(values, dims=("station", name), coords={name: (name, time, attrs)}, name="level")
    return data, data.modelfit(Linear1D(), name)


def drawn(ax: Any) -> np.ndarray:
    """The values of a map, NaN where it is blank."""
    (mesh,) = [c for c in ax.collections if type(c).__name__ == "QuadMesh"]
    array = mesh.get_array()
    return np.ma.filled(array.astype(float), np.nan)


# Maps


def test_a_map_of_each_parameter_and_of_the_status(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot()
    assert list(picture.artists) == ["amplitude", "mean", "stddev", "fit_status"]
    assert picture.axs.shape == (4,)
    assert [ax.get_title() for ax in picture.axs] == list(picture.artists)
    assert all(ax.figure is picture.fig for ax in picture.axs)
    assert repr(picture) == "<Picture: amplitude, mean, stddev, fit_status>"


def test_units_and_long_names_are_on_the_labels(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot()
    bars = [artist.colorbar.ax.get_ylabel() for artist in picture.artists.values()]
    assert bars[:3] == ["amplitude of Gaussian1D [K]", "mean of Gaussian1D [m s-1]", "stddev of Gaussian1D [m s-1]"]
    assert picture.axs[2].get_xlabel() == "x pixel [pixel]"
    assert picture.axs[2].get_ylabel() == "y pixel [pixel]"


def test_a_unit_of_one_is_not_shown() -> None:
    data = tutorial.seasonal_series().isel(lat=slice(2, 4), lon=slice(2, 5))
    model = Sine1D(5, 1, 0, fixed={"frequency": True}) + Const1D(15)
    artist = data.modelfit(model, "time").modelfit.plot("phase_0").artists["phase_0"]
    assert artist.colorbar.ax.get_ylabel() == "phase of Sine1D 0"


def test_values_are_where_their_labels_are(fit: xr.Dataset) -> None:
    artist = fit.modelfit.plot("mean").artists["mean"]
    np.testing.assert_array_equal(np.ma.filled(artist.get_array(), np.nan).reshape(SHAPE), fit["mean"].values)
    corners = artist.get_coordinates()
    assert corners[0, 0].tolist() == [-0.5, -0.5]
    assert corners[-1, -1].tolist() == [15.5, 11.5]


@pytest.mark.parametrize("y", [[11, 10, 9, 8], [10, 8, 11, 9]], ids=["descending", "unsorted"])
def test_any_order_of_labels_gives_the_same_map(fit: xr.Dataset, y: list[int]) -> None:
    """Cells may be drawn in another order, not at another place."""
    part = fit.sel(y=y).modelfit.plot("mean").artists["mean"]
    values, at = part.get_array().reshape(4, 16), part.get_coordinates()[:, 0, 1]
    centres = (at[1:] + at[:-1]) / 2
    for row, centre in zip(values, centres, strict=True):
        np.testing.assert_array_equal(np.ma.filled(row, np.nan), fit["mean"].sel(y=centre).values)


def test_failed_positions_are_blank_on_grey(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot()
    for name in ("amplitude", "mean", "stddev"):
        ax = picture.artists[name].axes
        np.testing.assert_array_equal(np.isnan(drawn(ax).reshape(SHAPE)), ~fit.modelfit.ok.values)
        assert matplotlib.colors.same_color(ax.get_facecolor(), BLANK)
    assert picture.fig.get_supxlabel() == "grey: no fit"


def test_kept_iterates_of_failed_fits_are_blank_too(cube: xr.DataArray) -> None:
    """They have values, and would pass for good ones."""
    part = cube.isel(y=slice(4, 7), x=slice(6, 9))
    kept = part.modelfit(
        Gaussian1D(1, 100, 5),
        "velocity",
        keep_failed=True,
        errors="ignore",
        fitter=xr_modelfit.BatchLSQFitter(maxiter=1),
    )
    failed = ~kept.modelfit.ok.values
    assert (failed & kept["mean"].notnull().values).any()
    ax = kept.modelfit.plot("mean", status=False).axs[0]
    assert np.isnan(drawn(ax).reshape(3, 3)[failed]).all()


def test_no_remark_where_all_fits_succeed(fit: xr.Dataset) -> None:
    picture = fit.sel(y=[5, 6], x=[7, 8, 9]).modelfit.plot()
    assert not picture.fig.get_supxlabel()


def test_the_status_map_shows_what_occurs_with_meanings_and_counts(fit: xr.Dataset) -> None:
    artist = fit.modelfit.plot().artists["fit_status"]
    labels = [text.get_text() for text in artist.colorbar.ax.get_yticklabels()]
    counts = {s: int((fit["fit_status"] == s).sum()) for s in (FitStatus.NO_DATA, FitStatus.CONVERGED)}
    assert labels == [f"{status.meaning}\n{n} fits" for status, n in counts.items()]
    assert artist.cmap.N == 2


def test_statuses_of_newer_versions_and_selected_ones_are_drawn(fit: xr.Dataset) -> None:
    odd = fit.assign(fit_status=fit["fit_status"].copy(data=np.where(fit["x"] > 3, fit["fit_status"], 7)))
    labels = odd.modelfit.plot().artists["fit_status"].colorbar.ax.get_yticklabels()
    assert labels[-1].get_text().startswith("status 7")
    part = fit.where(fit["x"] > 5)
    blank = np.isnan(drawn(part.modelfit.plot().artists["fit_status"].axes).reshape(SHAPE))
    np.testing.assert_array_equal(blank, np.broadcast_to(fit["x"].values <= 5, SHAPE))


def test_every_status_has_a_colour_of_its_own() -> None:
    from xr_modelfit.plotting.style import status_colours

    colours = [matplotlib.colors.to_hex(c) for c in status_colours([int(s) for s in FitStatus])]
    assert len(set(colours)) == len(colours)


def test_noise_does_not_choose_the_colours(noisy: xr.Dataset, fit: xr.Dataset) -> None:
    """The limits are those of what is known well; all values would take the whole band."""
    vmin, vmax = noisy.modelfit.plot("mean").artists["mean"].get_clim()
    low, high = float(fit["mean"].min()), float(fit["mean"].max())
    assert noisy["mean"].max() > 8000
    assert low - 100 < vmin < low + 600
    assert high - 600 < vmax < high + 100


def test_robust_false_shows_everything(noisy: xr.Dataset) -> None:
    limits = noisy.modelfit.plot("mean", robust=False).artists["mean"].get_clim()
    assert limits == (float(noisy["mean"].min()), float(noisy["mean"].max()))


def test_colours_of_the_call_win(fit: xr.Dataset) -> None:
    artists = fit.modelfit.plot(cmap="magma", vmin=1.0, vmax=2.0).artists
    assert artists["mean"].get_clim() == (1.0, 2.0)
    assert artists["mean"].cmap.name == "magma"
    assert artists["fit_status"].cmap.name != "magma"


def test_both_signs_get_diverging_colours_about_zero(fit: xr.Dataset) -> None:
    shifted = fit.assign(mean=fit["mean"] - 4500)
    artist = shifted.modelfit.plot("mean").artists["mean"]
    low, high = artist.get_clim()
    assert low == -high
    assert artist.cmap.name == xr.get_options()["cmap_divergent"]


def test_some_noise_below_zero_is_no_second_sign(noisy: xr.Dataset) -> None:
    artist = noisy.modelfit.plot("amplitude").artists["amplitude"]
    assert artist.cmap.name == xr.get_options()["cmap_sequential"]


def test_constant_and_empty_maps_are_drawn(cube: xr.DataArray) -> None:
    part = cube.isel(y=slice(4, 7), x=slice(6, 9))
    fixed = part.modelfit(Gaussian1D(1, 4500, 500, fixed={"stddev": True}), "velocity", errors="ignore")
    fixed.modelfit.plot().fig.canvas.draw()
    empty = (part * np.nan).modelfit(Gaussian1D(1, 4500, 500), "velocity", errors="ignore")
    picture = empty.modelfit.plot("mean", status=False)
    picture.fig.canvas.draw()
    assert np.isnan(drawn(picture.axs[0])).all()
    assert [text.get_text() for text in picture.axs[0].texts] == ["no values"]


def test_errors_beside_parameters(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot(["amplitude", "mean"], stderr=True, status=False)
    assert list(picture.artists) == ["amplitude", "amplitude_stderr", "mean", "mean_stderr"]


def test_other_variables_of_the_result(fit: xr.Dataset) -> None:
    assert list(fit.modelfit.plot("reduced_chi2", status=False).artists) == ["reduced_chi2"]
    assert list(fit.modelfit.plot("fit_status").artists) == ["fit_status"]
    assert list(fit.modelfit.plot(["mean", "mean"]).artists) == ["mean", "fit_status"]


def test_one_axes_returns_the_artist(fit: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    artist = fit.modelfit.plot("mean", ax=ax)
    assert artist.axes is ax
    assert plt.get_fignums() == [figure.number]


def test_several_axes_are_used_in_order(fit: xr.Dataset) -> None:
    figure = matplotlib.figure.Figure()
    axs = figure.subplots(1, 2)
    picture = fit.modelfit.plot(["mean", "fit_status"], ax=axs)
    assert list(picture.axs) == list(axs)
    assert picture.fig is figure


def test_columns_and_size(fit: xr.Dataset) -> None:
    picture = fit.modelfit.plot(col_wrap=3, figsize=(9, 4))
    assert tuple(picture.fig.get_size_inches()) == (9, 4)
    assert picture.axs[0].get_gridspec().ncols == 3
    assert picture.axs[0].get_xlabel() == "x pixel [pixel]" or picture.axs[3].get_xlabel() == "x pixel [pixel]"


def test_labels_stand_at_the_outer_axes_only(fit: xr.Dataset) -> None:
    axs = fit.modelfit.plot(["amplitude", "mean"], col_wrap=2).axs  # three maps: the last place is empty
    assert [bool(ax.get_xlabel()) for ax in axs] == [False, True, True]
    assert [bool(ax.get_ylabel()) for ax in axs] == [True, False, True]


def test_images_have_square_pixels_and_other_maps_not(fit: xr.Dataset) -> None:
    assert fit.modelfit.plot("mean").axs[0].get_aspect() == 1
    mixed = fit.assign_coords(x=fit["x"].assign_attrs(units="hour"))
    assert mixed.modelfit.plot("mean").axs[0].get_aspect() == "auto"


def test_xarray_options_are_passed_on(fit: xr.Dataset) -> None:
    artist = fit.modelfit.plot("mean", x="y", status=False).artists["mean"]
    assert artist.axes.get_xlabel() == "y pixel [pixel]"
    assert artist.axes.get_ylabel() == "x pixel [pixel]"
    ra = (0.1 * fit["x"] + 0.01 * fit["y"]).drop_attrs()
    sky = fit.assign_coords(ra=ra, dec=(0.1 * fit["y"]).drop_attrs() + 0 * ra)
    picture = sky.modelfit.plot("mean", x="ra", y="dec", xincrease=False)
    assert picture.axs[0].get_xlabel() == "ra"
    assert picture.axs[0].xaxis_inverted()


def test_a_lazy_result_is_computed_once(cube: xr.DataArray) -> None:
    import dask

    lazy = cube.chunk(y=6).modelfit(Gaussian1D(2, 4500, 500), "velocity", where=seen(cube), errors="ignore")
    computed = []

    def scheduler(graph: Any, keys: Any, **options: Any) -> Any:
        computed.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        lazy.modelfit.plot(stderr=True)
    assert len(computed) == 1


def test_prefixes_and_several_fits(cube: xr.DataArray) -> None:
    part = cube.isel(y=slice(4, 7), x=slice(6, 9))
    both = xr.Dataset({"a": part, "b": 2 * part}).modelfit(Gaussian1D(1, 4500, 500), "velocity", errors="ignore")
    picture = both.modelfit.plot("mean", data="b")
    assert list(picture.artists) == ["b_mean", "b_fit_status"]
    assert list(both.modelfit.plot("b_mean", data="b", status=False).artists) == ["b_mean"]
    with pytest.raises(ValueError, match="holds 2 fits"):
        both.modelfit.plot()


# Axes of all kinds


def test_names_of_positions_are_ticks() -> None:
    values = np.arange(24.0).reshape(2, 3, 4) ** 2
    data = xr.DataArray(values, dims=("kind", "place", "t"), coords={"place": ["here", "there", "far"]})
    ax = data.modelfit(Linear1D(), "t").modelfit.plot("slope").axs[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["here", "there", "far"]


def test_many_names_do_not_overlap() -> None:
    data = xr.DataArray(
        np.arange(600.0).reshape(100, 2, 3),
        dims=("place", "kind", "t"),
        coords={"place": [f"place {i}" for i in range(100)]},
    )
    picture = data.modelfit(Linear1D(), "t").modelfit.plot("slope")
    picture.fig.canvas.draw()
    boxes = [text.get_window_extent() for text in picture.axs[0].get_yticklabels()]
    assert 5 < len(boxes) < 30
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_duplicate_labels_count_positions() -> None:
    data = xr.DataArray(np.arange(12.0).reshape(2, 2, 3), dims=("y", "x", "t"), coords={"x": [5.0, 5.0]})
    picture = data.modelfit(Linear1D(), "t").modelfit.plot("slope")
    assert picture.artists["slope"].get_coordinates()[0, :, 0].tolist() == [-0.5, 0.5, 1.5]


def test_dates_on_a_map() -> None:
    time = np.arange("2000-01", "2000-07", dtype="datetime64[M]").astype("datetime64[ns]")
    data = xr.DataArray(np.arange(36.0).reshape(6, 2, 3), dims=("time", "y", "t"), coords={"time": time})
    picture = data.modelfit(Linear1D(), "t").modelfit.plot("slope")
    picture.fig.canvas.draw()
    assert any("2000" in text.get_text() for text in picture.axs[0].get_yticklabels())


@pytest.mark.parametrize(
    ("freq", "unit"), [("YS", "year, 360_day calendar"), ("D", "days since 2000-01-01 00:00:00, 360_day calendar")]
)
def test_dates_of_other_calendars_without_nc_time_axis(
    freq: str, unit: str, monkeypatch: pytest.MonkeyPatch, fit: xr.Dataset
) -> None:
    pytest.importorskip("cftime")
    monkeypatch.setattr("xr_modelfit.plotting.axes.find_spec", lambda name: None)
    time = xr.date_range("2000-01-01", periods=5, freq=freq, calendar="360_day", use_cftime=True)
    data = xr.DataArray(np.arange(30.0).reshape(5, 2, 3), dims=("time", "y", "t"), coords={"time": time})
    picture = data.modelfit(Linear1D(), "t").modelfit.plot("slope")
    assert picture.axs[0].get_ylabel().replace("\n", " ") == f"time [{unit}]"
    start = 2000 if freq == "YS" else 0
    np.testing.assert_allclose(picture.artists["slope"].get_coordinates()[:, 0, 1], start + np.arange(6) - 0.5)


def test_nc_time_axis_draws_dates_of_other_calendars() -> None:
    pytest.importorskip("nc_time_axis")
    data, fit = series(xr.date_range("2000-01-15", periods=60, freq="MS", calendar="noleap", use_cftime=True))
    picture = data.modelfit.plot_fit(fit, station=0)
    assert picture.axs[-1].get_xlabel() == "time"
    samples = picture.axs[0].convert_xunits(data["time"].values)
    expected = fit.isel(station=0).modelfit.evaluate(data.isel(station=0))
    at, curve = picture.artists["model"].get_data()
    np.testing.assert_allclose(np.interp(samples, at, curve), expected.values, rtol=1e-4)


def test_durations_are_numbers_with_a_unit() -> None:
    lag = np.array([0, 6, 12, 18], dtype="timedelta64[h]").astype("timedelta64[ns]")
    data = xr.DataArray(np.arange(24.0).reshape(4, 2, 3), dims=("lag", "y", "t"), coords={"lag": lag})
    ax = data.modelfit(Linear1D(), "t").modelfit.plot("slope").axs[0]
    assert ax.get_ylabel() == "lag [hours]"


# Lines


def test_one_dim_gives_lines_with_errors(fit: xr.Dataset) -> None:
    picture = fit.sel(y=6).modelfit.plot()
    assert list(picture.artists) == ["amplitude", "mean", "stddev", "fit_status"]
    x, values = picture.artists["mean"].get_data()
    np.testing.assert_array_equal(x, fit["x"].values)
    np.testing.assert_array_equal(values, fit["mean"].sel(y=6).values)
    (bars,) = picture.axs[1].containers
    lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.lines[2][0].get_segments() if len(segment)]
    known = fit["mean_stderr"].sel(y=6).values
    np.testing.assert_allclose([n for n in lengths if np.isfinite(n)], known[np.isfinite(known)])
    assert picture.axs[1].get_ylabel() == "mean [m s-1]"
    assert picture.axs[-1].get_xlabel() == "x pixel [pixel]"


def test_a_dim_of_size_one_gives_lines(fit: xr.Dataset) -> None:
    assert fit.isel(y=[6]).modelfit.plot("mean", status=False).artists["mean"].get_xdata().size == 16


def test_many_positions_have_a_band() -> None:
    data = xr.DataArray(np.random.default_rng(1).normal(size=(100, 5)), dims=("x", "t"))
    ax = data.modelfit(Linear1D(), "t").modelfit.plot("slope").axs[0]
    assert not ax.containers
    assert any(type(c).__name__.startswith(("Poly", "FillBetween")) for c in ax.collections)


def test_failed_positions_of_lines_are_grey(fit: xr.Dataset) -> None:
    ax = fit.sel(y=6).modelfit.plot("mean").axs[0]
    grey = [
        c
        for c in ax.collections
        if len(c.get_facecolor()) and matplotlib.colors.same_color(c.get_facecolor()[0], BLANK)
    ]
    covered = [path.get_extents() for path in grey[0].get_paths()]
    failed = fit["x"].values[fit["fit_status"].sel(y=6).values <= 0]
    for x in fit["x"].values:
        assert any(box.x0 < x < box.x1 for box in covered) == (x in failed)


def test_unsorted_lines_are_sorted(fit: xr.Dataset) -> None:
    line = fit.sel(y=6, x=[9, 5, 7, 6]).modelfit.plot("mean").artists["mean"]
    assert line.get_xdata().tolist() == [5, 6, 7, 9]
    np.testing.assert_array_equal(line.get_ydata(), fit["mean"].sel(y=6, x=[5, 6, 7, 9]).values)


def test_nothing_joins_positions_that_have_names_only() -> None:
    data = xr.DataArray(np.arange(9.0).reshape(3, 3), dims=("place", "t"), coords={"place": ["a", "b", "c"]})
    line = data.modelfit(Linear1D(), "t").modelfit.plot("slope").artists["slope"]
    assert line.get_linestyle() == "None"


def test_status_of_lines_in_words(fit: xr.Dataset) -> None:
    ax = fit.sel(y=6).modelfit.plot().axs[-1]
    words = [text.get_text() for text in ax.get_yticklabels()]
    assert [word.split()[0] for word in words] == ["no_data", "converged"]


# Facets


@pytest.fixture(scope="module")
def stack(fit: xr.Dataset) -> xr.Dataset:
    return xr.concat(
        [fit, fit.shift(x=2)], xr.Variable("epoch", [1, 2]), data_vars="all", coords="minimal", compat="override"
    )


def test_facets_are_those_of_xarray(stack: xr.Dataset) -> None:
    grid = stack.modelfit.plot("mean", col="epoch")
    assert type(grid).__name__ == "FacetGrid"
    assert grid.axs.shape == (1, 2)
    assert grid.cbar.ax.get_ylabel().replace("\n", " ") == "mean of Gaussian1D [m s-1]"
    assert all(matplotlib.colors.same_color(ax.get_facecolor(), BLANK) for ax in grid.axs.flat)
    assert [ax.get_title() for ax in grid.axs.flat] == ["epoch = 1", "epoch = 2"]
    assert grid.axs[0, 0].get_xlabel() == "x pixel [pixel]"
    grid.fig.canvas.draw()


def test_facets_of_the_status_and_of_lines(stack: xr.Dataset) -> None:
    grid = stack.modelfit.plot("fit_status", row="epoch")
    words = [text.get_text().split("\n")[0] for text in grid.cbar.ax.get_yticklabels()]
    assert words == ["no_data", "converged"]
    lines = stack.sel(y=6).modelfit.plot("mean", col="epoch")
    assert lines.axs.shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"params": "mean", "ax": "given"}, r"over 3 dims, \('epoch', 'y', 'x'\).*fit.isel\(epoch=0\).*col='epoch'"),
        ({"col": "epoch"}, "Facets show one variable, and 'amplitude', 'mean', 'stddev'"),
        ({"params": "mean", "col": "epok"}, "row or col is 'epok'.*Did you mean 'epoch'"),
        ({"params": "mean", "col": "epoch", "ax": "x"}, "ax is given with row or col"),
    ],
)
def test_wrong_facets(stack: xr.Dataset, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stack.modelfit.plot(**arguments)


# Histogram


def test_histogram_counts_successful_fits(fit: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    counts, edges, patches = fit.modelfit.plot_hist("mean", robust=False)
    assert counts.sum() == int(fit.modelfit.ok.sum())
    assert edges[0] == float(fit["mean"].min())
    assert len(patches) == len(counts)
    ax = plt.gca()
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("mean of Gaussian1D [m s-1]", "fits", "mean")


def test_an_outlier_does_not_squeeze_the_histogram(fit: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    wild = fit["mean"].where(fit["mean"] != fit["mean"].max(), 1e12)
    counts, edges, _ = fit.assign(mean=wild).modelfit.plot_hist("mean", bins=10, figsize=(3, 2))
    assert edges[-1] < 1e5
    assert counts.max() < counts.sum() / 2
    n = int(fit.modelfit.ok.sum())
    assert plt.gca().get_ylabel() == f"fits (1 of {n} not shown)"


def test_histogram_takes_axes_bins_and_options(fit: xr.Dataset) -> None:
    figure = matplotlib.figure.Figure()
    ax = figure.subplots()
    _, edges, _ = fit.modelfit.plot_hist("stddev", bins=[200, 400, 600], ax=ax, color="red")
    assert edges.tolist() == [200, 400, 600]
    assert matplotlib.colors.same_color(ax.patches[0].get_facecolor(), "red")


def test_histogram_of_equal_values() -> None:
    data = xr.DataArray(np.ones((4, 5)), dims=("x", "t"))
    fit = data.modelfit(Linear1D(0, 1, fixed={"slope": True}), "t")
    counts, _, _ = fit.modelfit.plot_hist("slope")
    assert counts.sum() == 4


# One fit


def test_a_fit_with_samples_model_and_residuals(cube: xr.DataArray, fit: xr.Dataset) -> None:
    picture = cube.modelfit.plot_fit(fit, y=6, x=8, sigma=0.1)
    assert list(picture.artists) == ["data", "model", "components", "residuals"]
    spectrum = cube.sel(y=6, x=8)
    good = np.isfinite(spectrum.values)
    x, y = picture.artists["data"].lines[0].get_data()
    np.testing.assert_array_equal(x, spectrum["velocity"].values[good])
    np.testing.assert_array_equal(y, spectrum.values[good])
    model = fit.sel(y=6, x=8).modelfit.evaluate(cube.sel(y=6, x=8)).values
    left = picture.artists["residuals"].lines[0].get_ydata()
    np.testing.assert_allclose(left, (spectrum.values - model)[good], atol=1e-12)
    at, curve = picture.artists["model"].get_data()
    assert at.size >= 500
    np.testing.assert_allclose(curve[np.isin(at, x)], model[good])
    assert picture.axs[0].get_ylabel() == "brightness temperature [K]"
    assert picture.axs[1].get_xlabel() == "radio velocity [m s-1]"
    assert picture.axs[1].get_ylabel() == "residuals [K]"


def test_the_title_tells_position_status_and_values(cube: xr.DataArray, fit: xr.Dataset) -> None:
    title = cube.modelfit.plot_fit(fit, y=6, x=8).axs[0].get_title("left")
    assert title.startswith("y = 6, x = 8: converged, reduced chi2 ")
    here = fit.sel(y=6, x=8)
    assert f"mean = {here['mean'].item():.0f} ± {here['mean_stderr'].item():.0f} m s-1" in title


def test_a_failed_fit_tells_its_status_in_words(cube: xr.DataArray, fit: xr.Dataset) -> None:
    picture = cube.modelfit.plot_fit(fit, y=0, x=0)
    title = " ".join(picture.axs[0].get_title("left").split())
    assert title == "y = 0, x = 0: no_data. There is no valid sample."
    assert "model" not in picture.artists
    picture.fig.canvas.draw()


def test_a_failed_fit_on_one_axes_keeps_its_ticks(cube: xr.DataArray) -> None:
    import matplotlib.pyplot as plt

    fitter = xr_modelfit.BatchLSQFitter(maxiter=1)
    failed = cube.isel(y=[6], x=[8]).modelfit(Gaussian1D(1, 100, 5), "velocity", errors="ignore", fitter=fitter)
    assert not failed.modelfit.ok.any()
    ax = plt.gca()
    cube.modelfit.plot_fit(failed, ax=ax)
    assert len(ax.get_yticks()) > 2
    assert "max_iterations. The fitter reached" in " ".join(ax.get_title("left").split())
    axs = cube.modelfit.plot_fit(failed).axs
    assert [text.get_text() for text in axs[1].texts] == ["no model"]


def test_several_inputs_along_a_track() -> None:
    """No single coordinate: samples are drawn over the dim, the model at the samples."""
    t = np.arange(30.0)
    coords = {"t": t, "lon": ("t", np.cos(t)), "lat": ("t", np.sin(2 * t))}
    data = xr.DataArray(1 + 2 * np.cos(t) + 3 * np.sin(2 * t), dims="t", coords=coords)
    plane = Polynomial2D(1)
    fit = data.modelfit(plane, "t", coords={"x": "lon", "y": "lat"})
    picture = data.modelfit.plot_fit(fit)
    x, model = picture.artists["model"].get_data()
    np.testing.assert_array_equal(x, t)
    np.testing.assert_allclose(model, data.values)
    assert list(picture.artists) == ["data", "model", "residuals"]


def test_errors_of_samples_are_bars(cube: xr.DataArray, fit: xr.Dataset) -> None:
    def lengths(**options: Any) -> np.ndarray:
        artist = cube.modelfit.plot_fit(fit, y=6, x=8, **options).artists["data"]
        return np.array([np.ptp(s[:, 1]) / 2 for s in artist.lines[2][0].get_segments()])

    np.testing.assert_allclose(lengths(sigma=0.1), 0.1)
    np.testing.assert_allclose(lengths(sigma=Quantity(100, "mK")), 0.1)
    along = xr.DataArray(np.linspace(0.1, 0.2, 60), dims="velocity", coords={"velocity": cube["velocity"]})
    assert lengths(sigma=along)[[0, -1]] == pytest.approx([0.1, 0.2])
    np.testing.assert_allclose(lengths(sigma=(along * 1000).assign_attrs(units="mK")), lengths(sigma=along))
    named = cube.assign_coords(error=along)
    assert named.modelfit.plot_fit(fit, y=6, x=8, sigma="error").artists["data"].has_yerr
    assert not cube.modelfit.plot_fit(fit, y=6, x=8).artists["data"].has_yerr


def test_samples_left_out_are_hollow(cube: xr.DataArray, fit: xr.Dataset) -> None:
    where = cube["velocity"] > 2000
    picture = cube.modelfit.plot_fit(fit, y=6, x=8, where=where)
    assert picture.artists["left_out"].get_markerfacecolor() == "none"
    assert (picture.artists["left_out"].get_xdata() <= 2000).all()
    assert (picture.artists["data"].lines[0].get_xdata() > 2000).all()
    assert picture.artists["model"].get_xdata().min() > 2000
    sigma = xr.where(where, 0.1, np.nan)
    assert "left_out" in cube.modelfit.plot_fit(fit, y=6, x=8, sigma=sigma).artists


def test_clipped_samples_are_hollow(cube: xr.DataArray) -> None:
    part = cube.isel(y=[6], x=[8, 9]).copy(deep=True)
    part[{"y": 0, "x": 0, "velocity": 10}] += 5.0
    line = Gaussian1D(2, 4800, 500)
    clip = xr_modelfit.BatchLSQFitter(clip=(4, 4))
    fit = part.modelfit(line, "velocity", fitter=clip, fit_info=["clipped"])
    picture = part.modelfit.plot_fit(fit, x=part["x"].values[0])
    clipped = fit["clipped"].isel(y=0, x=0).values
    assert clipped[10]
    drawn = picture.artists["clipped"]
    assert drawn.get_markerfacecolor() == "none"
    np.testing.assert_array_equal(drawn.get_xdata(), part["velocity"].values[clipped])
    assert not np.isin(drawn.get_xdata(), picture.artists["data"].lines[0].get_xdata()).any()
    assert "clipped" in [text.get_text() for text in picture.axs[0].get_legend().get_texts()]
    first = part["x"].values[0]
    assert "clipped" not in part.modelfit.plot_fit(fit.drop_vars("clipped"), x=first).artists
    others = part.isel(velocity=slice(2, None))
    assert "clipped" not in others.modelfit.plot_fit(fit, x=first).artists
    viewer = fit.modelfit.inspect(part)
    viewer.select(x=part["x"].values[0])
    assert "clipped" in viewer.picture.artists


def test_limits_are_arrows_and_bars_have_two_sides(cube: xr.DataArray) -> None:
    part = cube.isel(y=[6], x=[8])
    limit = part < 0.2
    sigma = (0.1, xr.full_like(part, 0.2))
    fit = part.where(~limit, 0.2).modelfit(Gaussian1D(2, 4800, 500), "velocity", sigma=sigma, upper_limit=limit)
    picture = part.modelfit.plot_fit(fit, sigma=sigma, upper_limit=limit)
    arrows = picture.artists["upper_limits"]
    np.testing.assert_array_equal(arrows.lines[0].get_xdata(), part["velocity"].values[limit.values.ravel()])
    assert "upper limit" in [text.get_text() for text in picture.axs[0].get_legend().get_texts()]
    dots = picture.artists["data"]
    assert len(dots.lines[0].get_xdata()) == int((~limit).sum())
    y = dots.lines[0].get_ydata()
    ends = np.array([segment[:, 1] for segment in dots.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, np.stack([y - 0.1, y + 0.2], axis=1))
    assert "upper_limits" in part.modelfit.plot_fit(fit, upper_limit=limit).artists


def test_terms_of_a_sum_are_drawn(cube: xr.DataArray) -> None:
    part = cube.isel(y=[6], x=[8])
    model = Gaussian1D(2, 4800, 500, name="line") + Const1D(0.1)
    fit = part.modelfit(model, "velocity", prefix="a_")
    picture = part.modelfit.plot_fit(fit)  # one position: there is no choice
    assert [one.get_label() for one in picture.artists["components"]] == ["line", "Const1D_1"]
    total = sum(one.get_ydata() for one in picture.artists["components"])
    np.testing.assert_allclose(total, picture.artists["model"].get_ydata())
    assert "components" not in part.modelfit.plot_fit(fit, components=False).artists
    words = [text.get_text() for text in picture.axs[0].get_legend().get_texts()]
    assert words == ["data", "model", "line", "Const1D_1"]


def test_terms_far_away_do_not_squeeze_the_samples() -> None:
    """A season is about zero, and the temperature is not."""
    data, _ = series(np.arange(40.0))
    data = data.isel(station=0) + 1000 + 5 * np.sin(np.arange(40.0))
    fit = data.modelfit(Linear1D(1, 1000) + Sine1D(5, 1 / (2 * np.pi), 0, fixed={"frequency": True}), "time")
    picture = data.modelfit.plot_fit(fit)
    assert picture.axs[0].get_ylim()[0] > 900
    labels = [one.get_label() for one in picture.artists["components"]]
    assert labels == ["Linear1D_0", "Sine1D_1 (out of view)"]


def test_factors_of_a_product_are_not_drawn(cube: xr.DataArray) -> None:
    part = cube.isel(y=[6], x=[8])
    fit = part.modelfit(Gaussian1D(2, 4800, 500) * Const1D(1.0, fixed={"amplitude": True}), "velocity")
    assert part.modelfit.plot_fit(fit).artists["components"] == []


def test_the_position_may_be_selected_before(cube: xr.DataArray, fit: xr.Dataset) -> None:
    pictures = [
        cube.modelfit.plot_fit(fit, y=6, x=8),
        cube.modelfit.plot_fit(fit.sel(y=6, x=8)),
        cube.sel(y=6, x=8).modelfit.plot_fit(fit),
        cube.sel(y=6, x=8).modelfit.plot_fit(fit.sel(y=6, x=8)),
        cube.isel(y=[6]).modelfit.plot_fit(fit.sel(x=8), y=6),
        cube.isel(y=slice(None, None, -1)).modelfit.plot_fit(fit, y=6, x=8.0000000001),
    ]
    expected = pictures[0].artists["residuals"].lines[0].get_ydata()
    for picture in pictures:
        np.testing.assert_array_equal(picture.artists["residuals"].lines[0].get_ydata(), expected)


def test_dims_without_coordinates_are_numbered(cube: xr.DataArray, fit: xr.Dataset) -> None:
    bare, bare_fit = cube.drop_vars(["y", "x"]), fit.drop_vars(["y", "x"])
    picture = bare.modelfit.plot_fit(bare_fit, y=6, x=8)
    expected = cube.modelfit.plot_fit(fit, y=6, x=8).artists["model"].get_ydata()
    np.testing.assert_array_equal(picture.artists["model"].get_ydata(), expected)
    with pytest.raises(ValueError, match="number the position from 0 to 11"):
        bare.modelfit.plot_fit(bare_fit, y=12, x=8)


def test_the_dataset_form(cube: xr.DataArray) -> None:
    part = cube.isel(y=slice(5, 7), x=slice(7, 9))
    source = xr.Dataset({"a": part, "b": 2 * part, "e": 0.1 + 0 * part})
    both = source[["a", "b"]].modelfit(Gaussian1D(2, 4500, 500), "velocity")
    picture = source.modelfit.plot_fit(both, data="b", y=6, x=8, sigma="e")
    np.testing.assert_array_equal(
        picture.artists["data"].lines[0].get_ydata(), source["b"].sel(y=6, x=8).dropna("velocity").values
    )
    with pytest.raises(ValueError, match="The fit was of 'b', and the Dataset has 'a'"):
        source[["a"]].modelfit.plot_fit(both, data="b", y=6, x=8)


def test_images_are_three(stamps: xr.DataArray, stars: xr.Dataset) -> None:
    picture = stamps.modelfit.plot_fit(stars, stamp=5)
    assert list(picture.artists) == ["data", "model", "residuals"]
    assert [ax.get_title() for ax in picture.axs] == ["data", "model", "residuals"]
    assert picture.artists["data"].get_clim() == picture.artists["model"].get_clim()
    low, high = picture.artists["residuals"].get_clim()
    assert low == -high
    assert "stamp = 5: converged" in picture.fig.get_suptitle()
    assert len(stamps.modelfit.plot_fit(stars, stamp=5, residuals=False).axs) == 2
    lost = int(stars["stamp"][stars["fit_status"] == FitStatus.NO_DATA][0])
    assert "no_data" in stamps.modelfit.plot_fit(stars, stamp=lost).fig.get_suptitle()


def test_one_fit_on_given_axes(cube: xr.DataArray, fit: xr.Dataset, stamps: xr.DataArray, stars: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    figure, axs = plt.subplots(3)
    assert list(cube.modelfit.plot_fit(fit, y=6, x=8, ax=axs[0]).artists) == ["data", "model", "components"]
    assert "residuals" in cube.modelfit.plot_fit(fit, y=6, x=8, ax=axs[1:]).artists
    picture = stamps.modelfit.plot_fit(stars, stamp=5, ax=axs)
    assert list(picture.axs) == list(axs)
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(ValueError, match="ax holds 1 axes, but the images of data, model and residuals need 3"):
        stamps.modelfit.plot_fit(stars, stamp=5, ax=axs[0])


def test_dates_of_one_fit() -> None:
    time = np.arange("2000-01-01", "2000-02-10", dtype="datetime64[D]").astype("datetime64[ns]")
    data, fit = series(time)
    picture = data.modelfit.plot_fit(fit, station=1)
    picture.fig.canvas.draw()
    at, curve = picture.artists["model"].get_data()
    days = matplotlib.dates.date2num(time)
    np.testing.assert_allclose((at.min(), at.max()), (days[0], days[-1]))
    expected = fit.isel(station=1).modelfit.evaluate(data.isel(station=1))
    np.testing.assert_allclose(np.interp(days, at, curve), expected.values, rtol=1e-6)


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_dates_of_other_calendars_of_one_fit(calendar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cftime")
    monkeypatch.setattr("xr_modelfit.plotting.axes.find_spec", lambda name: None)
    data, fit = series(xr.date_range("2000-01-15", periods=60, freq="MS", calendar=calendar, use_cftime=True))
    picture = data.modelfit.plot_fit(fit, station=0)
    at, curve = picture.artists["model"].get_data()
    assert 2000 < at.min() < at.max() < 2006
    samples, _ = picture.artists["data"].lines[0].get_data()
    expected = fit.isel(station=0).modelfit.evaluate(data.isel(station=0))
    np.testing.assert_allclose(np.interp(samples, at, curve), expected.values, rtol=1e-4)
    assert picture.axs[-1].get_xlabel() == f"time [year, {calendar} calendar]"


def test_pooled_dims_are_all_drawn() -> None:
    data = xr.DataArray(np.arange(24.0).reshape(2, 3, 4), dims=("y", "member", "t"), coords={"t": [0.0, 1.0, 2.0, 3.0]})
    fit = data.modelfit(Linear1D(), ("t", "member"), coords="t")
    picture = data.modelfit.plot_fit(fit, y=1)
    assert picture.artists["data"].lines[0].get_xdata().size == 12


def test_coordinates_that_vary_from_fit_to_fit() -> None:
    wavelength = xr.DataArray([[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]], dims=("pixel", "channel"))
    data = (2 * wavelength).assign_coords(wavelength=wavelength)
    fit = data.modelfit(Linear1D(), "channel", coords="wavelength")
    picture = data.modelfit.plot_fit(fit, pixel=1)
    assert picture.artists["data"].lines[0].get_xdata().tolist() == [11, 12, 13, 14]
    assert picture.axs[-1].get_xlabel() == "wavelength"


def test_a_long_series_is_resolved() -> None:
    """Five points of the curve for each sample: fewer would show another season than the model has."""
    t = np.arange(4000.0)
    data = xr.DataArray(np.sin(2 * np.pi * t / 7.3), dims="t", coords={"t": t})
    fit = data.modelfit(Sine1D(1, 1 / 7.3, 0, fixed={"frequency": True}), "t")
    curve = data.modelfit.plot_fit(fit).artists["model"].get_ydata()
    assert curve.size >= 20_000


def test_a_custom_model_is_passed(cube: xr.DataArray) -> None:
    @custom_model
    def bump(v: Any, height: float = 1.0, place: float = 4500.0) -> Any:
        return height * np.exp(-(((v - place) / 700.0) ** 2))

    part = cube.isel(y=slice(5, 7), x=slice(7, 9))
    fit = part.modelfit(bump(2.0, 4800.0), "velocity")
    assert "model" in part.modelfit.plot_fit(fit, y=6, x=8, model=bump()).artists


def test_the_last_iterate_of_a_failed_fit_is_dashed(cube: xr.DataArray) -> None:
    part = cube.isel(y=[6], x=[8])
    fitter = xr_modelfit.BatchLSQFitter(maxiter=1)
    fit = part.modelfit(Gaussian1D(1, 4000, 300), "velocity", keep_failed=True, errors="ignore", fitter=fitter)
    line = part.modelfit.plot_fit(fit).artists["model"]
    assert line.get_linestyle() == "--"
    assert line.get_label() == "where the fit stopped"


def test_the_data_in_another_unit_than_was_fitted(cube: xr.DataArray, fit: xr.Dataset) -> None:
    small = (1000 * cube).assign_attrs(cube.attrs, units="mK")
    picture = small.modelfit.plot_fit(fit, y=6, x=8)
    assert np.abs(picture.artists["residuals"].lines[0].get_ydata()).max() < 1000
    assert picture.axs[0].get_ylabel().endswith("[mK]")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (4844.3, 11.2, "4844 ± 11"),
        (0.99412, 0.01049, "0.994 ± 0.010"),
        (1.2345e-17, 2.1e-19, "(1.234 ± 0.021)e-17"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (123456.0, 4321.0, "123500 ± 4300"),
        (0.001, 3.0, "0.0 ± 3.0"),
        (4500.0, 0.0, "4500"),
        (4500.0, float("nan"), "4500"),
    ],
)
def test_values_are_rounded_by_their_errors(value: float, error: float, words: str) -> None:
    assert with_error(value, error) == words


# The inspector


def click(viewer: Any, x: float, y: float, ax: Any = None, button: int = 1) -> None:
    """Send a real click at data coordinates."""
    from matplotlib.backend_bases import MouseEvent

    place = viewer.ax_map if ax is None else ax
    pixel = place.transData.transform((x, y))
    event = MouseEvent("button_press_event", viewer.fig.canvas, *pixel, button)
    viewer.fig.canvas.callbacks.process("button_press_event", event)


def press(viewer: Any, key: str) -> None:
    from matplotlib.backend_bases import KeyEvent

    event = KeyEvent("key_press_event", viewer.fig.canvas, key)
    viewer.fig.canvas.callbacks.process("key_press_event", event)


@pytest.fixture
def viewer(cube: xr.DataArray, fit: xr.Dataset) -> Any:
    viewer = fit.modelfit.inspect(cube, param="mean", sigma=0.1)
    viewer.fig.canvas.draw()
    return viewer


def test_a_click_draws_that_fit(viewer: Any, cube: xr.DataArray, fit: xr.Dataset) -> None:
    assert viewer.selected is None
    click(viewer, 8.3, 5.8)
    assert viewer.selected == {"y": 6, "x": 8}
    expected = cube.modelfit.plot_fit(fit, y=6, x=8)
    assert viewer.picture.axs[0].get_title("left").startswith("y = 6, x = 8: converged")
    np.testing.assert_array_equal(viewer.picture.artists["model"].get_ydata(), expected.artists["model"].get_ydata())
    viewer.fig.canvas.draw()
    first = viewer.picture
    click(viewer, 9, 5)
    assert viewer.selected == {"y": 5, "x": 9}
    assert viewer.picture is not first
    assert first.axs[0] not in viewer.fig.axes  # nothing piles up


def test_a_click_on_a_blank_position_tells_why(viewer: Any) -> None:
    click(viewer, 0, 0)
    assert viewer.selected == {"y": 0, "x": 0}
    assert "no_data" in viewer.picture.axs[0].get_title("left")


def test_other_clicks_do_nothing(viewer: Any) -> None:
    click(viewer, 8, 6)
    before = viewer.picture
    click(viewer, 40, 6)  # beside the map
    click(viewer, 4000, 1, ax=viewer.picture.axs[0])
    click(viewer, 5, 5, button=3)
    viewer.fig.canvas.toolbar = SimpleNamespace(mode="zoom rect")
    click(viewer, 5, 5)
    assert viewer.picture is before
    viewer.fig.canvas.toolbar = None
    viewer.ax_map.set_xlim(-20, 40)  # the margin after zooming out
    click(viewer, -10, 5)
    assert viewer.picture is before
    click(viewer, 5, 5)
    assert viewer.selected == {"y": 5, "x": 5}


@pytest.mark.slow
def test_arrows_move_and_stop_at_the_border(viewer: Any) -> None:
    press(viewer, "right")  # the first shows the middle
    assert viewer.selected == {"y": 6, "x": 8}
    for key, expected in {"right": (6, 9), "up": (7, 9), "left": (7, 8), "down": (6, 8)}.items():
        press(viewer, key)
        assert tuple(viewer.selected.values()) == expected
    for _ in range(20):
        press(viewer, "up")
    assert viewer.selected == {"y": 11, "x": 8}
    press(viewer, "x")
    assert viewer.selected == {"y": 11, "x": 8}


def test_arrows_follow_the_screen(cube: xr.DataArray, fit: xr.Dataset) -> None:
    """Descending labels and inverted axes: right is to the right."""
    viewer = fit.isel(y=slice(None, None, -1)).modelfit.inspect(cube)
    viewer.select(y=6, x=8)
    press(viewer, "up")
    assert viewer.selected == {"y": 7, "x": 8}
    viewer.ax_map.invert_xaxis()
    press(viewer, "right")
    assert viewer.selected == {"y": 7, "x": 7}


def test_the_inspector_lives_without_a_name(cube: xr.DataArray, fit: xr.Dataset) -> None:
    """Callbacks that are only weakly held would be gone."""
    import gc

    import matplotlib.pyplot as plt

    fit.modelfit.inspect(cube)
    gc.collect()
    figure = plt.gcf()
    figure.canvas.draw()
    n = len(figure.axes)
    click(SimpleNamespace(fig=figure, ax_map=figure.axes[0]), 8, 6)
    assert len(figure.axes) > n


def test_select_and_close(viewer: Any) -> None:
    import matplotlib.pyplot as plt

    viewer.select(y=6, x=8)
    assert viewer.selected == {"y": 6, "x": 8}
    with pytest.raises(ValueError, match="select got 'y'; the dims of the fits are"):
        viewer.select(y=6)
    with pytest.raises(ValueError, match="y has no label 99; the nearest is 11"):
        viewer.select(y=99, x=1)
    viewer.close()
    assert plt.get_fignums() == []
    click(viewer, 2, 2)
    assert viewer.selected == {"y": 6, "x": 8}


def test_inspect_lines_and_images(stamps: xr.DataArray, stars: xr.Dataset) -> None:
    viewer = stars.modelfit.inspect(stamps)
    viewer.fig.canvas.draw()
    click(viewer, 4.2, np.mean(viewer.ax_map.get_ylim()))
    assert viewer.selected == {"stamp": 4}
    assert list(viewer.picture.artists) == ["data", "model", "residuals"]
    press(viewer, "left")
    assert viewer.selected == {"stamp": 3}
    press(viewer, "up")
    assert viewer.selected == {"stamp": 3}
    viewer.fig.canvas.draw()


def test_inspect_dates(fit: xr.Dataset) -> None:
    time = np.arange("2000-01", "2000-07", dtype="datetime64[M]").astype("datetime64[ns]")
    data = xr.DataArray(np.arange(36.0).reshape(6, 2, 3), dims=("time", "y", "t"), coords={"time": time})
    viewer = data.modelfit(Linear1D(), "t").modelfit.inspect(data)
    viewer.fig.canvas.draw()
    click(viewer, 1, matplotlib.dates.date2num(time[4]))
    assert viewer.selected["y"] == 1
    assert np.datetime64(viewer.selected["time"]) == time[4]


def test_inspect_reads_what_it_shows_only(cube: xr.DataArray, fit: xr.Dataset) -> None:
    import dask.array

    read = []

    def load(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(block_info)
        return block

    values = dask.array.from_array(cube.values, chunks=(60, 3, 4)).map_blocks(
        load, dtype=float, meta=np.empty((0, 0, 0))
    )
    lazy = cube.copy(data=values)
    viewer = fit.modelfit.inspect(lazy)
    assert read == []
    viewer.select(y=6, x=8)
    assert len(read) == 1


def test_what_is_wrong_with_a_clicked_position_is_told_in_the_figure(cube: xr.DataArray, fit: xr.Dataset) -> None:
    viewer = fit.modelfit.inspect(cube.isel(x=slice(0, 4)))
    viewer.fig.canvas.draw()
    click(viewer, 8, 6)
    assert viewer.picture is None
    texts = viewer.fig.findobj(matplotlib.text.Text)
    assert any("but the data does not" in " ".join(t.get_text().split()) for t in texts)
    with pytest.raises(ValueError, match="but the data does not"):
        viewer.select(y=6, x=8)


# Wrong calls


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("meen", "params names 'meen', which is no variable over .*Did you mean 'mean'"),
        ([], "params is \\[\\]; name at least one of"),
        ("velocity", "params names 'velocity'"),
    ],
)
def test_wrong_variables(fit: xr.Dataset, params: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit.modelfit.plot(params)


def test_wrong_axes(fit: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    with pytest.raises(TypeError, match="ax is a str; pass matplotlib Axes"):
        fit.modelfit.plot("mean", ax="here")
    with pytest.raises(ValueError, match="ax holds 1 axes, but the variables 'amplitude', 'mean', 'stddev' need 3"):
        fit.modelfit.plot(ax=plt.gca())
    with pytest.raises(ValueError, match="ax and figsize are both given"):
        fit.modelfit.plot("mean", ax=plt.gca(), figsize=(3, 3))


def test_one_fit_is_no_map_to_click_on(fit: xr.Dataset, cube: xr.DataArray) -> None:
    with pytest.raises(ValueError, match=r"holds one fit.*plot_fit\(fit\)"):
        fit.sel(y=6, x=8).modelfit.inspect(cube)
    with pytest.raises(ValueError, match="nothing to draw"):
        fit.isel(y=slice(0, 0)).modelfit.plot()


def test_wrong_histograms(fit: xr.Dataset) -> None:
    with pytest.raises(TypeError, match="a histogram is of one variable, for example 'amplitude'"):
        fit.modelfit.plot_hist(["mean"])
    with pytest.raises(ValueError, match="has no value of a successful fit"):
        fit.where(False).modelfit.plot_hist("mean")


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ({"y": 6}, r"there are 16 along 'x'. Name one, plot_fit\(fit, x=8.0\), or select it before: fit.isel\(x=8\)"),
        ({"y": 6.4, "x": 8}, r"y has no label 6.4; the nearest is 6.0: plot_fit\(fit, y=6.0\)"),
        ({"y": "six", "x": 8}, "y has no label 'six'"),
        ({"y": [5, 6], "x": 8}, r"y is \[5, 6\]; plot_fit draws one fit"),
        ({"y": slice(5, 6), "x": 8}, "plot_fit draws one fit, so one label is needed"),
        ({"y": 6, "x": 8, "z": 1}, r"plot_fit got 'z', but the dims of the fits are \('y', 'x'\)"),
        ({"y": 6, "x": 8, "velocity": 1}, "plot_fit got 'velocity'"),
    ],
)
def test_wrong_positions(cube: xr.DataArray, fit: xr.Dataset, position: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cube.modelfit.plot_fit(fit, **position)


def test_wrong_dates_of_a_position() -> None:
    time = np.arange("2000-01-01", "2000-01-07", dtype="datetime64[D]").astype("datetime64[ns]")
    data = xr.DataArray(np.arange(18.0).reshape(6, 3), dims=("time", "t"), coords={"time": time})
    fit = data.modelfit(Linear1D(), "t")
    assert "2000-01-03" in data.modelfit.plot_fit(fit, time="2000-01-03").axs[0].get_title("left")
    with pytest.raises(ValueError, match="the nearest is '2000-01-06'"):
        data.modelfit.plot_fit(fit, time="2000-01-09")
    with pytest.raises(ValueError, match=r"names 6 positions\. Name one: time='2000-01-01'"):
        data.modelfit.plot_fit(fit, time="2000-01")


def test_wrong_companions_and_data(cube: xr.DataArray, fit: xr.Dataset) -> None:
    def draw(data: Any = cube, **options: Any) -> None:
        data.modelfit.plot_fit(fit, y=6, x=8, **options)

    with pytest.raises(ValueError, match=r"sigma is in 'm', which cannot be converted to 'K'"):
        draw(sigma=Quantity(1, "m"))
    with pytest.raises(ValueError, match="sigma names 'noise', which is not there"):
        draw(sigma="noise")
    with pytest.raises(ValueError, match=r"sigma has dims \('z',\), the data"):
        draw(sigma=xr.DataArray([1.0], dims="z"))
    with pytest.raises(ValueError, match=r"sigma has another index along 'y' than the data: they differ by up to 0\.5"):
        draw(sigma=0.1 + 0 * cube.assign_coords(y=cube["y"] + 0.5))
    with pytest.raises(ValueError, match="read the coordinate 'velocity', which the data does not have"):
        draw(cube.drop_vars("velocity").rename(velocity="v").isel(v=[3]))
    with pytest.raises(TypeError, match="pass the DataArray or Dataset that was fitted"):
        fit.modelfit.inspect(cube.values)
    with pytest.raises(TypeError, match="fit is a DataArray; pass the Dataset that fitting this data returned"):
        cube.modelfit.plot_fit(fit["mean"], y=6, x=8)
    with pytest.raises(xr_modelfit.RecordError):
        cube.modelfit.plot_fit(cube.to_dataset(name="a"), y=6, x=8)


@pytest.mark.parametrize("method", ["plot", "plot_hist", "inspect", "plot_fit"])
def test_without_matplotlib_the_extra_is_named(
    cube: xr.DataArray, fit: xr.Dataset, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    calls = {
        "plot": lambda: fit.modelfit.plot(),
        "plot_hist": lambda: fit.modelfit.plot_hist("mean"),
        "inspect": lambda: fit.modelfit.inspect(cube),
        "plot_fit": lambda: cube.modelfit.plot_fit(fit, y=6, x=8),
    }
    told = rf"{method}\(\) needs matplotlib: pip install matplotlib. The extra 'plot'"
    with pytest.raises(ImportError, match=told):
        calls[method]()


def test_global_settings_stay(cube: xr.DataArray, fit: xr.Dataset) -> None:
    before = dict(matplotlib.rcParams)
    fit.modelfit.plot()
    fit.modelfit.plot_hist("mean")
    fit.modelfit.inspect(cube).select(y=6, x=8)
    assert dict(matplotlib.rcParams) == before


def test_the_user_s_style_is_used(cube: xr.DataArray, fit: xr.Dataset) -> None:
    with matplotlib.style.context("dark_background"):
        picture = cube.modelfit.plot_fit(fit, y=6, x=8)
        colour = picture.artists["data"].lines[0].get_color()
    assert matplotlib.colors.same_color(colour, "white")


def test_inputs_are_not_changed(cube: xr.DataArray, fit: xr.Dataset) -> None:
    data, result = cube.copy(deep=True), fit.copy(deep=True)
    cube.modelfit.plot_fit(fit, y=6, x=8, sigma=0.1)
    fit.modelfit.plot(stderr=True)
    xr.testing.assert_identical(cube, data)
    xr.testing.assert_identical(fit, result)


# The demo


def test_the_demo_draws_maps(noisy: xr.Dataset) -> None:
    from xr_modelfit.__main__ import draw_maps

    figure = draw_maps(noisy, "a cube")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["amplitude", "mean", "stddev", "fit_status"]
    mean = next(ax for ax in figure.axes if ax.get_title() == "mean")
    significant = (noisy["amplitude"] > 5 * noisy["amplitude_stderr"]) | (
        noisy["amplitude"] < -5 * noisy["amplitude_stderr"]
    )
    np.testing.assert_array_equal(np.isfinite(drawn(mean).reshape(SHAPE)), (significant & noisy.modelfit.ok).values)


# Pictures compared with those that were looked at: XR_MODELFIT_NEW_PICTURES=1 writes them anew


def picture(name: str, request: pytest.FixtureRequest, wrong: bool = False) -> Any:
    """One of the pictures; ``wrong`` makes a small fault."""
    get = request.getfixturevalue
    fit, cube = get("fit"), get("cube")
    if name == "maps":
        shown = fit.roll(x=1) if wrong else fit
        return shown.modelfit.plot(figsize=(6, 4.5)).fig
    if name == "lines":
        return fit.sel(y=7 if wrong else 6).modelfit.plot(figsize=(4, 5)).fig
    if name == "histogram":
        figure = matplotlib.figure.Figure(figsize=(4, 3))
        fit.modelfit.plot_hist("mean", bins=9 if wrong else 8, ax=figure.subplots())
        return figure
    if name == "fit":
        where = cube["velocity"] > 1000
        return cube.modelfit.plot_fit(fit, y=6, x=9 if wrong else 8, sigma=0.1, where=where, figsize=(4, 4)).fig
    return get("stamps").modelfit.plot_fit(get("stars"), stamp=4 if wrong else 5, figsize=(6, 3)).fig


def save(figure: Any, path: Path) -> None:
    """Without text and layout, which depend on fonts and versions."""
    figure.set_layout_engine("none")
    for ax in figure.axes:  # where they stood before the layout
        if ax.get_subplotspec() is not None:
            ax.set_position(ax.get_subplotspec().get_position(figure))
    for text in figure.findobj(matplotlib.text.Text):
        text.set_visible(False)
    for ax in figure.findobj(matplotlib.axes.Axes):
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    figure.savefig(path, dpi=50, metadata={"Software": None})


PICTURES = ["maps", "lines", "histogram", "fit", "image"]
TOLERANCE = 4  # rms of 255: less than one cell of a map, more than how versions round edges


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_look_as_they_did(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from matplotlib.testing.compare import compare_images

    expected = BASELINES / f"{name}.png"
    if os.environ.get("XR_MODELFIT_NEW_PICTURES"):
        BASELINES.mkdir(parents=True, exist_ok=True)
        save(picture(name, request), expected)
    save(picture(name, request), tmp_path / "now.png")
    assert compare_images(str(expected), str(tmp_path / "now.png"), TOLERANCE) is None


@pytest.mark.parametrize("name", PICTURES)
def test_a_wrong_picture_fails(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from matplotlib.testing.compare import compare_images

    save(picture(name, request, wrong=True), tmp_path / "wrong.png")
    assert compare_images(str(BASELINES / f"{name}.png"), str(tmp_path / "wrong.png"), TOLERANCE) is not None
