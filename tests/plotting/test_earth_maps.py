"""Maps of the Earth: limits by CF bounds and the poles, equal scales, and cartopy's projections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Linear1D

pytest.importorskip("matplotlib")

from support.drawn import OLD_WARNINGS, clashes, on_panels

pytestmark = [
    *OLD_WARNINGS,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:cartopy"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:pyproj"),
]


def trend(lat: Any, lon: Any, **coords: Any) -> xr.Dataset:
    """A fit whose slopes number the positions."""
    lat, lon = np.asarray(lat, dtype=float), np.asarray(lon, dtype=float)
    numbers = np.arange(float(lat.size * lon.size)).reshape(lat.size, lon.size)
    data = xr.DataArray(
        numbers[..., None] * np.arange(4.0),
        dims=("lat", "lon", "year"),
        coords={
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
            "year": np.arange(4.0),
        },
        name="tas",
    )
    return data.modelfit(Linear1D(), "year").assign_coords(coords)


GLOBE = ([-90, -30, 30, 90], np.arange(0, 360, 45))


def test_no_cell_lies_beyond_a_pole() -> None:
    picture = trend(*GLOBE).modelfit.plot("slope", status=False)
    ax = picture.axs[0]
    assert tuple(ax.get_ylim()) == (-90, 90)
    assert tuple(ax.get_xlim()) == (-22.5, 337.5)
    assert picture.artists["slope"].get_coordinates()[:, 0, 1].tolist() == [-90, -60, 0, 60, 90]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["north", "south"])
def test_cells_end_at_their_bounds(order: slice) -> None:
    """Of unequal heights: CF's bounds say where each cell ends, half-way between the centres does not."""
    edges = np.array([-90.0, -60, -50, 0, 10, 90])
    bounds = xr.DataArray(np.stack([edges[:-1], edges[1:]], axis=-1), dims=("lat", "bnds"))
    centres = bounds.mean("bnds").values
    fit = trend(centres, [0, 10, 20], lat_bnds=bounds).isel(lat=order)
    fit["lat"].attrs["bounds"] = "lat_bnds"
    mesh = fit.modelfit.plot("slope", status=False).artists["slope"]
    assert mesh.get_coordinates()[:, 0, 1].tolist() == edges.tolist()
    values = np.ma.filled(mesh.get_array(), np.nan).reshape(5, 3)
    np.testing.assert_allclose(values, np.arange(15.0).reshape(5, 3), atol=1e-9)  # each where it was


def test_the_bounds_of_a_real_file(shared_data: Any) -> None:
    """Two latitudes of many, -90 and 35: the axis went to -152.5."""
    ds = xr.open_dataset(shared_data / "xclim_tas_hadgem2es.nc")
    fit = (
        ds[["tas"]]
        .assign_coords(lat_bnds=ds["lat_bnds"])
        .isel(time=slice(0, 24))
        .modelfit(Linear1D(), "time", data="tas")
    )
    ax = fit.modelfit.plot("slope", status=False).axs[0]
    low, high = ds["lat_bnds"].values.min(), ds["lat_bnds"].values.max()
    assert ax.get_ylim() == pytest.approx((low, high))
    assert low == -90


@pytest.mark.parametrize("wrong", ["missing", "of another size", "beside the centres"])
def test_bounds_that_are_none_are_not_used(wrong: str) -> None:
    fit = trend([0, 10, 20], [0, 10, 20])
    fit["lat"].attrs["bounds"] = "lat_bnds"
    if wrong == "of another size":
        fit = fit.assign_coords(lat_bnds=(("lat", "bnds"), np.zeros((3, 3))))
    elif wrong == "beside the centres":
        fit = fit.assign_coords(lat_bnds=(("lat", "bnds"), np.full((3, 2), 50.0)))
    assert tuple(fit.modelfit.plot("slope", status=False).axs[0].get_ylim()) == (-5, 25)


def test_scales_are_equal_and_ticks_have_the_unit() -> None:
    fit = trend([40, 45, 50], np.arange(-40, 60, 5.0))  # a strip, five times as long as high
    picture = fit.modelfit.plot()
    ax = picture.axs[0]
    assert ax.get_aspect() == 1
    picture.fig.canvas.draw()
    east = {"E": 1, "W": -1, "": 1}
    longitudes = picture.axs[-1]
    for text, at in zip(longitudes.get_xticklabels(), longitudes.get_xticks(), strict=True):
        number, side = text.get_text().split("°")
        assert float(number) * east[side] == at
    assert {-1, 0, 1} == set(np.sign(longitudes.get_xticks()))
    assert all(text.get_text() == f"{at:g}°N" for text, at in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True))
    assert ax.get_ylabel() == "latitude"
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)


def test_north_is_up_in_whichever_order_the_dims_are() -> None:
    fit = trend(*GLOBE)
    turned = fit.transpose("lon", "lat")
    ax = turned.modelfit.plot("slope", status=False).axs[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("longitude", "latitude")


def test_a_dim_called_lat_that_counts_something_else_is_no_latitude() -> None:
    fit = trend([1, 2, 3], [0, 10])
    fit = fit.assign_coords(lat=("lat", [100.0, 200.0, 300.0], {"units": "ms"}))
    ax = fit.modelfit.plot("slope", status=False).axs[0]
    assert ax.get_ylabel() == "lat [ms]"
    assert ax.get_aspect() == "auto"


def test_two_dimensional_longitudes_and_latitudes() -> None:
    y, x = np.mgrid[0:4, 0:5]
    fit = trend([0, 1, 2, 3], [0, 1, 2, 3, 4]).rename(lat="y", lon="x").drop_vars(["y", "x"])
    fit = fit.assign_coords(
        lon=(("y", "x"), 10 + x + 0.2 * y, {"units": "degrees_east"}),
        lat=(("y", "x"), 50 + y + 0.1 * x, {"units": "degrees_north"}),
    )
    picture = fit.modelfit.plot("slope", x="lon", y="lat")
    assert picture.axs[0].get_aspect() == 1
    assert (picture.axs[0].get_xlabel(), picture.axs[0].get_ylabel()) == ("longitude", "latitude")
    assert not clashes(picture.fig)


# Projections


@pytest.fixture
def crs() -> Any:
    return pytest.importorskip("cartopy.crs")


def placed(ax: Any, mesh: Any) -> dict[int, tuple[float, float]]:
    """Where the middle of each cell is on axes of cartopy, in degrees, by its number."""
    import cartopy.crs

    corners = mesh.get_coordinates()
    middle = (corners[:-1, :-1] + corners[1:, 1:]).reshape(-1, 2) / 2
    middle = ax.transData.inverted().transform(mesh.get_transform().transform(middle))
    points = cartopy.crs.PlateCarree().transform_points(ax.projection, *middle.T)
    numbers = np.rint(np.ma.filled(mesh.get_array(), -1)).astype(int).ravel()
    return {int(n): (lon, lat) for n, (lon, lat) in zip(numbers, points[:, :2], strict=True) if n >= 0}


def test_axes_of_cartopy_are_taken(crs: Any) -> None:
    import matplotlib.pyplot as plt

    lat, lon = np.arange(-60, 61, 5.0), np.arange(-90, 91, 5.0)
    figure, ax = plt.subplots(subplot_kw={"projection": crs.Robinson()})
    mesh = trend(lat, lon).modelfit.plot("slope", ax=ax)
    for number, (found_lon, found_lat) in placed(ax, mesh).items():
        assert abs(found_lat - lat[number // lon.size]) < 0.2
        assert abs(found_lon - lon[number % lon.size]) < 0.2
    left, right, low, high = ax.get_extent(crs.PlateCarree())
    assert left < -80
    assert right > 80
    assert low == pytest.approx(-62.5, abs=0.5)
    assert high == pytest.approx(62.5, abs=0.5)
    assert not clashes(figure)


def test_a_projection_for_new_axes(crs: Any) -> None:
    picture = trend(np.arange(-60, 61, 20.0), np.arange(-90, 91, 30.0)).modelfit.plot(
        subplot_kws={"projection": crs.Mollweide()}
    )
    assert [ax.projection for ax in picture.axs] == [crs.Mollweide()] * 3
    assert all(len(ax.collections) == 1 for ax in picture.axs)
    values = np.ma.filled(picture.artists["slope"].get_array(), np.nan)
    assert np.isfinite(values).all()
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)


def test_facets_in_a_projection(crs: Any) -> None:
    fit = trend(np.arange(-60, 61, 20.0), np.arange(-90, 91, 30.0))
    stack = xr.concat([fit, fit], xr.Variable("run", [1, 2]), data_vars="all", coords="minimal", compat="override")
    grid = stack.modelfit.plot("slope", col="run", subplot_kws={"projection": crs.Robinson()})
    left, right, *_ = grid.axs[0, 0].get_extent(crs.PlateCarree())
    assert left < -90
    assert right > 90
    assert not clashes(grid.fig)


def test_axes_with_the_interface_of_cartopy_are_told_what_the_coordinates_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cartopy is not installed: axes with a projection get plain longitude and latitude with the transform."""
    import matplotlib.pyplot as plt

    from xr_modelfit.plotting import geography, map_drawing

    ax = plt.figure().subplots()
    shift = plt.matplotlib.transforms.Affine2D().translate(1000, 0)
    ax.projection, ax.set_extent = object(), lambda *args: None
    monkeypatch.setattr(map_drawing, "plate_carree", lambda: shift + ax.transData)
    assert geography.is_projected(ax)
    mesh = trend([0, 10, 20], [0, 10, 20]).modelfit.plot("slope", ax=ax)
    at = ax.transData.inverted().transform(mesh.get_transform().transform(mesh.get_coordinates()[0]))
    np.testing.assert_allclose(at[:, 0], [995, 1005, 1015, 1025])


def test_axes_and_a_projection_are_one_too_many(crs: Any) -> None:
    import matplotlib.pyplot as plt

    with pytest.raises(ValueError, match="ax and subplot_kws are both given"):
        trend([0, 10], [0, 10]).modelfit.plot("slope", ax=plt.gca(), subplot_kws={"projection": crs.Robinson()})
