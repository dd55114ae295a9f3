"""Coordinates of several dims: each fit reads its own, however data and coordinates are chunked."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Mapping
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D, Planar2D, Polynomial2D
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_modelfit import FitStatus

pytestmark = pytest.mark.quick_share(3)

Chunks = Mapping[str, Any] | None

# --- data and authorities


def curvilinear(nt: int = 4, ny: int = 7, nx: int = 9) -> xr.DataArray:
    """Planes over latitude and longitude that depend on both y and x, at several times, with noise."""
    rng = np.random.default_rng(21)
    y, x = np.meshgrid(np.arange(ny), np.arange(nx), indexing="ij")
    lat, lon = 45.0 + 0.5 * y + 0.1 * x + 0.02 * x * y, 10.0 - 0.05 * y + 0.7 * x
    slope = np.arange(1.0, nt + 1)[:, None, None]
    values = 2.0 + slope * lon - 0.5 * slope**2 * lat + rng.normal(0.0, 0.2, (nt, ny, nx))
    coords = {
        "lat": (("y", "x"), lat, {"units": "degrees_north"}),
        "lon": (("y", "x"), lon, {"units": "degrees_east"}),
        "t": np.arange(nt) * 10,
    }
    return xr.DataArray(values, dims=("t", "y", "x"), coords=coords, attrs={"units": "K"}, name="tas")


ON_THE_GLOBE: dict[str, Any] = {"dim": ("y", "x"), "coords": {"x": "lon", "y": "lat"}}


def plane(x: np.ndarray, y: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """slope_x, slope_y and intercept by numpy, and their standard errors; centred for the sake of rounding."""
    x, y, values = (np.ravel(a) for a in np.broadcast_arrays(x, y, values))
    kept = np.isfinite(x) & np.isfinite(y) & np.isfinite(values)
    x, y, values = x[kept], y[kept], values[kept]
    design = np.stack([x - x.mean(), y - y.mean(), np.ones(x.size)], axis=1)
    p = np.linalg.lstsq(design, values, rcond=None)[0]
    back = np.array([[1.0, 0, 0], [0, 1.0, 0], [-x.mean(), -y.mean(), 1.0]])
    covariance = np.linalg.inv(design.T @ design) * ((values - design @ p) ** 2).sum() / (x.size - 3)
    return back @ p, np.sqrt(np.diagonal(back @ covariance @ back.T))


def straight(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept by numpy, and their standard errors."""
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    design = np.stack([x - x.mean(), np.ones(x.size)], axis=1)
    p = np.linalg.lstsq(design, y, rcond=None)[0]
    back = np.array([[1.0, 0.0], [-x.mean(), 1.0]])
    covariance = np.linalg.inv(design.T @ design) * ((y - design @ p) ** 2).sum() / (x.size - 2)
    return back @ p, np.sqrt(np.diagonal(back @ covariance @ back.T))


def assert_close(one: xr.Dataset, names: tuple[str, ...], p: np.ndarray, stderr: np.ndarray) -> None:
    """A linear problem: within a millionth of a standard error, which its condition allows."""
    assert one["fit_status"] == FitStatus.CONVERGED
    for name, value, error in zip(names, p, stderr, strict=True):
        assert abs(one[name] - value) < 1e-6 * error, name
        np.testing.assert_allclose(one[f"{name}_stderr"], error, rtol=1e-6)


def assert_bits(got: xr.Dataset, expected: xr.Dataset) -> None:
    """The same numbers to the last bit."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=str(name), strict=True)


def rechunked(data: xr.DataArray, names: tuple[str, ...], chunks: Chunks, coordinate_chunks: Chunks) -> xr.DataArray:
    """The data chunked one way, its coordinates another; None leaves them to numpy."""

    def chunked(array: xr.DataArray, how: Chunks) -> xr.DataArray:
        return array if how is None else array.chunk({d: c for d, c in how.items() if d in array.dims})

    plain = data.drop_vars(names)
    coords = {name: chunked(data[name].drop_vars(names, errors="ignore"), coordinate_chunks) for name in names}
    return chunked(plain, chunks).assign_coords(coords)


def unreadable(array: xr.DataArray) -> xr.DataArray:
    """The same, but reading any sample fails the test."""

    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    lazy = dask.array.from_array(array.values, chunks=-1)
    return array.copy(data=lazy.map_blocks(read, dtype=array.dtype, meta=np.empty((0,) * array.ndim)))


# --- lat(y, x) and lon(y, x)


def test_planes_on_a_curvilinear_grid() -> None:
    """Each input reads its own coordinate: a loop over times by numpy."""
    data = curvilinear()
    result = data.modelfit(Planar2D(), **ON_THE_GLOBE)
    assert result["slope_x"].dims == ("t",)
    assert result["t"].values.tolist() == [0, 10, 20, 30]
    for i in range(4):
        p, stderr = plane(data["lon"].values, data["lat"].values, data.values[i])
        assert_close(result.isel(t=i), ("slope_x", "slope_y", "intercept"), p, stderr)


GRID_CHUNKS: dict[str, tuple[Chunks, Chunks]] = {
    "data by time": ({"t": 1}, None),
    "data in pieces": ({"t": 2, "y": 2, "x": 3}, None),
    "data in uneven pieces": ({"t": (1, 3), "y": (3, 1, 3), "x": (2, 4, 3)}, None),
    "coordinates": (None, {"y": 2, "x": 3}),
    "coordinates by row": (None, {"y": 1, "x": 9}),
    "coordinates, uneven": (None, {"y": (1, 4, 2), "x": (5, 1, 3)}),
    "both alike": ({"t": 1, "y": 2, "x": 3}, {"y": 2, "x": 3}),
    "both, one in pieces": ({"t": 1}, {"y": 2, "x": 4}),
    "both otherwise": ({"t": 2, "y": (3, 1, 3), "x": (2, 4, 3)}, {"y": (2, 2, 3), "x": (1, 7, 1)}),
}


@pytest.mark.parametrize("how", list(GRID_CHUNKS))
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_of_data_and_coordinates_do_not_matter(how: str, scheduler: str) -> None:
    """More than three chunks of each, in other places: the same bits."""
    data = curvilinear()
    one = rechunked(data, ("lat", "lon"), *GRID_CHUNKS[how])
    result = one.modelfit(Planar2D(), **ON_THE_GLOBE)
    assert result["slope_x"].chunks is not None
    assert_bits(result.compute(scheduler=scheduler), data.modelfit(Planar2D(), **ON_THE_GLOBE))


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.tuples(*(st.lists(st.integers(1, n - 1), unique=True).map(sorted) for n in (4, 7, 9, 7, 9))),
    order=st.permutations(["t", "y", "x"]),
)
def test_any_chunks_and_any_order_of_dims(cuts: tuple[list[int], ...], order: list[str]) -> None:
    data = curvilinear()
    sizes = [tuple(np.diff([0, *at, n]).tolist()) for at, n in zip(cuts, (4, 7, 9, 7, 9), strict=True)]
    one = rechunked(
        data, ("lat", "lon"), dict(zip("tyx", sizes[:3], strict=True)), dict(zip("yx", sizes[3:], strict=True))
    )
    result = one.transpose(*order).modelfit(Planar2D(), **ON_THE_GLOBE).compute(scheduler="synchronous")
    assert_bits(result, data.modelfit(Planar2D(), **ON_THE_GLOBE))


@pytest.mark.parametrize("turned", [("x", "y"), ("y", "x")])
def test_the_order_of_a_coordinates_dims_does_not_matter(turned: tuple[str, str]) -> None:
    data = curvilinear()
    one = data.assign_coords(lat=data["lat"].transpose(*turned), lon=data["lon"].transpose(*turned[::-1]))
    assert_bits(one.modelfit(Planar2D(), **ON_THE_GLOBE), data.modelfit(Planar2D(), **ON_THE_GLOBE))
    other = {"dim": ("x", "y"), "coords": {"y": "lat", "x": "lon"}}
    assert_bits(data.modelfit(Planar2D(), **other), data.modelfit(Planar2D(), **ON_THE_GLOBE))


def test_swapped_inputs_are_swapped_slopes() -> None:
    """Only ``coords`` says which input reads what."""
    data = curvilinear()
    result = data.modelfit(Planar2D(), **ON_THE_GLOBE)
    swapped = data.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "lat", "y": "lon"})
    for one, other in (("slope_x", "slope_y"), ("slope_y", "slope_x"), ("intercept", "intercept")):
        # The sums are in another order: rounding times the condition.
        np.testing.assert_allclose(swapped[one], result[other], rtol=1e-9)


def test_units_of_slopes_on_the_globe() -> None:
    result = curvilinear().modelfit(Planar2D(), **ON_THE_GLOBE)
    assert result["slope_x"].attrs["units"] == "K degrees_east-1"
    assert result["slope_y"].attrs["units"] == "K degrees_north-1"
    assert result["intercept"].attrs["units"] == "K"
    grid = curvilinear(3, 14, 15)
    data = spots().assign_coords({n: grid[n].variable for n in ("lat", "lon")})
    centre = data.modelfit(spot(), **ON_THE_GLOBE)
    assert centre["x_mean"].attrs["units"] == "degrees_east"
    assert centre["y_mean"].attrs["units"] == "degrees_north"


@pytest.mark.parametrize("way", ["names", "DataArrays", "lazy DataArrays", "variables of the Dataset"])
def test_where_coordinates_may_come_from(way: str) -> None:
    data = curvilinear()
    expected = data.modelfit(Planar2D(), **ON_THE_GLOBE)
    if way == "variables of the Dataset":
        ds = data.to_dataset().reset_coords(["lat", "lon"])
        result = ds.modelfit(Planar2D(), data="tas", **ON_THE_GLOBE)
    elif way == "names":
        result = data.modelfit(Planar2D(), **ON_THE_GLOBE)
    else:
        chunks: Any = {} if way == "DataArrays" else {"y": 2, "x": 4}
        lat, lon = (data[n].drop_vars(["lat", "lon"]) for n in ("lat", "lon"))
        lat, lon = (lat.chunk(chunks), lon.chunk(chunks)) if chunks else (lat, lon)
        bare = data.drop_vars(["lat", "lon"])
        result = bare.modelfit(Planar2D(), dim=("y", "x"), coords={"x": lon, "y": lat}).compute()
    assert_bits(result, expected)


def test_a_grid_that_moves_from_time_to_time() -> None:
    """Coordinates with all dims of the data; chunked over the dim that remains, too."""
    data = curvilinear()
    shift = xr.DataArray([0.0, 0.3, -1.1, 2.0], dims="t")
    moving = data.assign_coords(lat=(data["lat"] + shift).transpose("t", "y", "x"), lon=data["lon"] * (1 + shift / 10))
    result = moving.modelfit(Planar2D(), **ON_THE_GLOBE)
    for i in range(4):
        one = moving.isel(t=i)
        p, stderr = plane(one["lon"].values, one["lat"].values, one.values)
        assert_close(result.isel(t=i), ("slope_x", "slope_y", "intercept"), p, stderr)
    for chunks, of_coordinates in (
        ({"t": 1}, None),
        (None, {"t": 1, "y": 3, "x": 4}),
        ({"t": 3, "y": 2, "x": 9}, {"t": (1, 2, 1), "y": 4, "x": 3}),
    ):
        one = rechunked(moving, ("lat", "lon"), chunks, of_coordinates)
        assert_bits(one.modelfit(Planar2D(), **ON_THE_GLOBE).compute(), result)


def spots() -> xr.DataArray:
    """A bright spot on a curvilinear grid, at three times, with noise."""
    grid = curvilinear(3, 14, 15)
    rng = np.random.default_rng(5)
    lat, lon = grid["lat"].values, grid["lon"].values
    centres = [(14.0, 49.0), (15.5, 48.0), (13.0, 50.5)]
    values = [4.0 * np.exp(-0.5 * (((lon - a) / 1.5) ** 2 + ((lat - b) / 1.1) ** 2)) for a, b in centres]
    return grid.copy(data=np.stack(values) + rng.normal(0.0, 0.05, grid.shape)).drop_attrs(deep=False)


def spot() -> Gaussian2D:
    """A start; the axes of the ellipse are held along longitude and latitude."""
    return Gaussian2D(3.0, 14.2, 49.2, 1.3, 1.3, theta=0.0, fixed={"theta": True})


SPOT = ("amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev")


def test_spots_on_a_curvilinear_grid() -> None:
    """Against astropy's fitter, one time after the other."""
    data = spots()
    result = data.modelfit(spot(), **ON_THE_GLOBE)
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for i in range(3):
        found = TRFLSQFitter()(spot(), data["lon"].values, data["lat"].values, data.values[i], acc=1e-14)
        for name in SPOT:
            # Astropy's fitter stops at 1e-8 of chi-square: 1e-3 standard errors with some 200 samples.
            error = result[f"{name}_stderr"].values[i]
            assert abs(result[name].values[i] - getattr(found, name).value) < 1e-3 * error, name


@pytest.mark.parametrize(
    ("chunks", "of_coordinates"),
    [
        ({"t": 1, "y": 4, "x": 5}, None),
        (None, {"y": 5, "x": 4}),
        ({"t": 2, "y": 5, "x": 15}, {"y": (1, 9, 4), "x": (3, 3, 9)}),
    ],
)
@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_do_not_matter_for_spots(chunks: Chunks, of_coordinates: Chunks) -> None:
    data = spots()
    one = rechunked(data, ("lat", "lon"), chunks, of_coordinates)
    result = one.modelfit(spot(), **ON_THE_GLOBE).compute()
    assert_bits(result, data.modelfit(spot(), **ON_THE_GLOBE))


@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_do_not_matter_for_astropys_fitter() -> None:
    """Seed, row 1: N-D coordinates and more than one chunk gave other coordinates to the fits."""
    data = spots()
    one = rechunked(data, ("lat", "lon"), {"t": 1, "y": 5, "x": 6}, {"y": 4, "x": 3})
    options = {**ON_THE_GLOBE, "fitter": TRFLSQFitter()}
    expected = data.modelfit(spot(), scheduler="synchronous", **options)
    assert_bits(one.modelfit(spot(), **options).compute(scheduler="synchronous"), expected)
    found = TRFLSQFitter()(spot(), data["lon"].values.ravel(), data["lat"].values.ravel(), data.values[1].ravel())
    np.testing.assert_allclose(
        [expected[n].values[1] for n in SPOT], [getattr(found, n).value for n in SPOT], rtol=1e-6
    )


def test_seed_row_12_slopes_of_a_sky_image() -> None:
    """Slopes 3 along right ascension and 5 along declination, both coordinates of both dims, come out as such."""
    y, x = np.meshgrid(np.arange(20.0), np.arange(24.0), indexing="ij")
    ra, dec = 50.0 - 0.01 * x + 0.002 * y, -20.0 + 0.01 * y + 0.001 * x
    data = xr.DataArray(
        3.0 * ra + 5.0 * dec + 1.0, dims=("y", "x"), coords={"ra": (("y", "x"), ra), "dec": (("y", "x"), dec)}
    )
    for chunks in (None, {"y": 7, "x": 8}):
        one = rechunked(data, ("ra", "dec"), chunks, chunks)
        result = one.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "ra", "y": "dec"}).compute()
        # Noise-free; the grid is 0.2 wide at a distance of 50.
        np.testing.assert_allclose([result["slope_x"], result["slope_y"]], [3.0, 5.0], rtol=1e-9)
        np.testing.assert_allclose(result["intercept"], 1.0, rtol=0, atol=1e-6)


def test_seed_row_1_every_position_its_own_coordinate() -> None:
    """1200 lines over a coordinate that is another at each position, in many chunks."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0.0, 10.0, (30, 40, 8)), axis=-1) + rng.uniform(-50, 50, (30, 40, 1))
    values = 2.0 * x + np.arange(1200.0).reshape(30, 40, 1)
    data = xr.DataArray(values, dims=("y", "x", "n"), coords={"depth": (("y", "x", "n"), x)})
    expected = data.modelfit(Linear1D(), dim="n", coords="depth")
    np.testing.assert_allclose(expected["slope"], 2.0, rtol=1e-9)
    np.testing.assert_allclose(expected["intercept"].values.ravel(), np.arange(1200.0), rtol=0, atol=1e-8)
    for chunks, of_coordinates in (
        ({"y": 10, "x": 10}, None),
        (None, {"y": 7, "x": 9, "n": 3}),
        ({"y": 8, "x": 40, "n": 4}, {"y": 30, "x": 11}),
    ):
        one = rechunked(data, ("depth",), chunks, of_coordinates)
        assert_bits(one.modelfit(Linear1D(), dim="n", coords="depth").compute(), expected)


# --- one input, a coordinate of two dims


def fibres() -> xr.DataArray:
    """A spectral line in five fibres, each with a wavelength of its own."""
    rng = np.random.default_rng(4)
    channel = np.arange(60)
    start, step = np.array([650.0, 650.3, 649.8, 651.0, 650.1]), np.array([0.2, 0.19, 0.21, 0.2, 0.205])
    wavelength = start[:, None] + step[:, None] * channel + 1e-4 * channel**2
    mean = np.array([655.0, 656.1, 657.0, 656.5, 655.7])[:, None]
    values = 8.0 * np.exp(-0.5 * ((wavelength - mean) / 0.8) ** 2) + rng.normal(0.0, 0.1, (5, 60))
    coords = {"wavelength": (("fibre", "channel"), wavelength, {"units": "nm"}), "fibre": list("abcde")}
    return xr.DataArray(values, dims=("fibre", "channel"), coords=coords, attrs={"units": "Jy"}, name="flux")


OF_FIBRES: dict[str, Any] = {"dim": "channel", "coords": "wavelength"}


def emission() -> Gaussian1D:
    return Gaussian1D(6.0, 656.0, 1.0)


def test_a_wavelength_for_each_fibre() -> None:
    """Against astropy's fitter, fibre by fibre."""
    data = fibres()
    result = data.modelfit(emission(), **OF_FIBRES)
    assert result["mean"].attrs["units"] == "nm"
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    for i in range(5):
        found = TRFLSQFitter()(emission(), data["wavelength"].values[i], data.values[i], acc=1e-14)
        for name in ("amplitude", "mean", "stddev"):
            error = result[f"{name}_stderr"].values[i]
            assert abs(result[name].values[i] - getattr(found, name).value) < 1e-3 * error


@pytest.mark.parametrize(
    ("chunks", "of_coordinates"),
    [
        ({"fibre": 1}, None),
        ({"fibre": 2, "channel": 20}, None),
        (None, {"fibre": 2, "channel": 17}),
        ({"fibre": (1, 3, 1)}, {"fibre": (2, 1, 2)}),
        ({"fibre": (1, 3, 1), "channel": (10, 30, 20)}, {"fibre": 5, "channel": (7, 50, 3)}),
    ],
)
@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_do_not_matter_for_fibres(chunks: Chunks, of_coordinates: Chunks) -> None:
    data = fibres()
    result = rechunked(data, ("wavelength",), chunks, of_coordinates).modelfit(emission(), **OF_FIBRES)
    assert_bits(result.compute(), data.modelfit(emission(), **OF_FIBRES))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_lazy_coordinate_is_converted_to_the_units_of_the_model(lazy: bool) -> None:
    """Nanometres and a model in Angstrom, Jansky and a model in mJy."""
    data = fibres()
    plain = data.modelfit(emission(), **OF_FIBRES)
    one = rechunked(data, ("wavelength",), {"fibre": 2}, {"fibre": 1, "channel": 20}) if lazy else data
    model = Gaussian1D(6000 * u.mJy, 6560 * u.AA, 10 * u.AA)
    result = one.modelfit(model, **OF_FIBRES)
    assert (result["mean"].chunks is not None) == lazy
    for name, scale, units in (("mean", 10.0, "Angstrom"), ("stddev", 10.0, "Angstrom"), ("amplitude", 1000.0, "mJy")):
        assert result[name].attrs["units"] == units
        # Iterative fits of the same data in other units.
        error = plain[f"{name}_stderr"] * scale
        assert (abs(result[name] - plain[name] * scale) < 1e-4 * error).all()


def test_units_that_cannot_be_converted() -> None:
    data = unreadable(fibres())
    data["wavelength"].attrs["units"] = "s"
    with pytest.raises(ValueError, match=r"Angstrom.*'wavelength'.*'s'"):
        data.modelfit(Gaussian1D(6 * u.Jy, 6560 * u.AA, 10 * u.AA), **OF_FIBRES)


def columns() -> xr.DataArray:
    """Temperature over a height that is another in each column, at three times."""
    rng = np.random.default_rng(6)
    height = np.sort(rng.uniform(0.0, 12.0, (4, 25)), axis=1) + np.array([[0.0], [1.5], [0.3], [2.2]])
    lapse = np.array([-6.5, -5.0, -9.8, -7.1])[:, None]
    values = 288.0 + lapse * height + rng.normal(0.0, 0.5, (3, 4, 25)) + np.arange(3.0)[:, None, None]
    coords = {"height": (("column", "level"), height, {"units": "km"})}
    return xr.DataArray(values, dims=("time", "column", "level"), coords=coords, attrs={"units": "K"}, name="T")


OF_COLUMNS: dict[str, Any] = {"dim": "level", "coords": "height"}


def test_a_height_for_each_column() -> None:
    """A loop over times and columns by numpy."""
    data = columns()
    result = data.modelfit(Linear1D(), **OF_COLUMNS)
    assert result["slope"].dims == ("time", "column")
    assert result["slope"].attrs["units"] == "K km-1"
    for i, j in np.ndindex(3, 4):
        p, stderr = straight(data["height"].values[j], data.values[i, j])
        assert_close(result.isel(time=i, column=j), ("slope", "intercept"), p, stderr)


@pytest.mark.parametrize(
    ("chunks", "of_coordinates"),
    [
        ({"time": 1, "column": 1}, None),
        ({"time": 2, "column": 3, "level": 9}, None),
        (None, {"column": 1, "level": 8}),
        ({"time": 1}, {"column": (1, 2, 1), "level": 25}),
        ({"column": (2, 1, 1), "level": (5, 5, 15)}, {"column": (1, 1, 2), "level": (10, 5, 10)}),
    ],
)
@pytest.mark.parametrize("order", [("time", "column", "level"), ("level", "time", "column")])
@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_do_not_matter_for_columns(chunks: Chunks, of_coordinates: Chunks, order: tuple[str, ...]) -> None:
    data = columns()
    one = rechunked(data, ("height",), chunks, of_coordinates).transpose(*order)
    assert_bits(one.modelfit(Linear1D(), **OF_COLUMNS).compute(), data.modelfit(Linear1D(), **OF_COLUMNS))


@pytest.mark.parametrize("fits_per_chunk", [1, 2, 5])
def test_blocks_of_computed_input_do_not_matter(fits_per_chunk: int) -> None:
    data = columns()
    result = data.modelfit(Linear1D(), **OF_COLUMNS, fits_per_chunk=fits_per_chunk)
    assert_bits(result, data.modelfit(Linear1D(), **OF_COLUMNS))


def test_masks_and_errors_beside_a_coordinate_of_two_dims() -> None:
    """All in other chunks than the data and the coordinate."""
    data = columns()
    rng = np.random.default_rng(9)
    where = xr.DataArray(rng.uniform(size=(4, 25)) > 0.2, dims=("column", "level"))
    sigma = xr.DataArray(rng.uniform(0.3, 0.7, (25,)), dims="level")
    options = {**OF_COLUMNS, "absolute_sigma": True}
    expected = data.modelfit(Linear1D(), where=where, sigma=sigma, **options)
    one = rechunked(data, ("height",), {"time": 2, "column": 3}, {"column": 1, "level": 10})
    result = one.modelfit(Linear1D(), where=where.chunk(column=2), sigma=sigma.chunk(level=7), **options)
    assert_bits(result.compute(), expected)
    for i, j in np.ndindex(3, 4):
        kept = where.values[j]
        x, y, w = data["height"].values[j][kept], data.values[i, j][kept], 1 / sigma.values[kept]
        slope, _ = np.polyfit(x, y, 1, w=w)
        np.testing.assert_allclose(expected["slope"].values[i, j], slope, rtol=1e-9)


def profiles(unit: str = "s") -> xr.DataArray:
    """Observations of four drifting profilers, each at its own dates."""
    rng = np.random.default_rng(7)
    second = np.sort(rng.integers(0, 900 * 86400, (4, 20)), axis=1)
    time = np.datetime64("2009-08-07T06:05:04", "s") + second.astype("m8[s]")
    values = 12.0 + 0.01 * second / 86400 * np.array([[1.0], [-2.0], [0.5], [3.0]]) + rng.normal(0.0, 0.3, (4, 20))
    coords = {"time": (("profile", "obs"), time.astype(f"M8[{unit}]")), "id": ("profile", [7, 5, 3, 1])}
    return xr.DataArray(values, dims=("profile", "obs"), coords=coords, attrs={"units": "degC"}, name="sst")


OF_PROFILES: dict[str, Any] = {"dim": "obs", "coords": "time"}


def test_dates_for_each_profile() -> None:
    """A loop over profiles by numpy, in days since 1970."""
    data = profiles()
    result = data.modelfit(Linear1D(), **OF_PROFILES)
    days = data["time"].values.astype("M8[s]").astype(np.int64) / 86400
    for i in range(4):
        p, stderr = straight(days[i], data.values[i])
        assert_close(result.isel(profile=i), ("slope", "intercept"), p, stderr)
    assert result["fit_status"].attrs["time_units"] == "days since 1970-01-01"
    assert result["id"].values.tolist() == [7, 5, 3, 1]
    assert result["slope"].attrs["units"] == "degC d-1"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    ("chunks", "of_coordinates"),
    [(None, None), ({"profile": 1, "obs": 6}, None), (None, {"profile": 1, "obs": 7}), ({"profile": 3}, {"obs": 5})],
)
@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")
def test_chunks_and_resolution_do_not_matter_for_dates(unit: str, chunks: Chunks, of_coordinates: Chunks) -> None:
    one = rechunked(profiles(unit), ("time",), chunks, of_coordinates)
    assert one["time"].dtype == f"M8[{unit}]"
    result = one.modelfit(Linear1D(), **OF_PROFILES).compute()
    assert_bits(result, profiles().modelfit(Linear1D(), **OF_PROFILES))


@pytest.mark.parametrize("lazy", [False, True])
def test_dates_of_cftime_for_each_profile(lazy: bool) -> None:
    """Whole seconds, as objects."""
    cftime = pytest.importorskip("cftime")
    data = profiles()
    dates = cftime.num2date(data["time"].values.astype(np.int64), "seconds since 1970-01-01", "standard")
    objects = np.asarray(dates, dtype=object)
    values = dask.array.from_array(objects, chunks=(2, 7)) if lazy else objects
    one = data.assign_coords(time=(("profile", "obs"), values))
    assert_bits(one.modelfit(Linear1D(), **OF_PROFILES).compute(), data.modelfit(Linear1D(), **OF_PROFILES))


def test_a_plane_of_height_and_time() -> None:
    """One input reads dates, the other a coordinate of two dims: their slopes have their own units."""
    rng = np.random.default_rng(8)
    height = rng.uniform(0.0, 5.0, (3, 12, 10))
    time = np.datetime64("2001-01-01", "D") + np.arange(12) * 30
    days = time.astype(np.int64).astype(float)
    values = 280.0 - 6.0 * height + 0.002 * days[None, :, None] + rng.normal(0.0, 0.2, height.shape)
    coords = {"height": (("place", "time", "level"), height, {"units": "km"}), "time": time}
    data = xr.DataArray(values, dims=("place", "time", "level"), coords=coords, attrs={"units": "K"})
    options: dict[str, Any] = {"dim": ("time", "level"), "coords": {"x": "time", "y": "height"}}
    result = data.modelfit(Planar2D(), **options)
    for i in range(3):
        p, stderr = plane(days[:, None], height[i], values[i])
        assert_close(result.isel(place=i), ("slope_x", "slope_y", "intercept"), p, stderr)
    assert [result[n].attrs["units"] for n in ("slope_x", "slope_y", "intercept")] == ["K d-1", "K km-1", "K"]
    one = rechunked(data, ("height",), {"place": 1, "time": 4}, {"place": 2, "time": 5, "level": 3})
    assert_bits(one.modelfit(Planar2D(), **options).compute(), result)


def test_a_surface_of_second_order_on_a_curvilinear_grid() -> None:
    """Noise-free: its six coefficients come back."""
    data = curvilinear(2)
    lon, lat = data["lon"] - 13.0, data["lat"] - 47.0
    model = Polynomial2D(2, c0_0=1.0, c1_0=-2.0, c2_0=0.5, c0_1=3.0, c0_2=-0.25, c1_1=0.125)
    values = model(lon.values, lat.values)
    one = xr.DataArray(values, dims=("y", "x"), coords={"lon": lon.drop_vars("lat"), "lat": lat.drop_vars("lon")})
    result = one.chunk(y=3, x=3).modelfit(Polynomial2D(2), dim=("y", "x"), coords={"x": "lon", "y": "lat"}).compute()
    for name in model.param_names:
        np.testing.assert_allclose(result[name], getattr(model, name).value, rtol=1e-9, err_msg=name)


# --- samples without a coordinate


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("lazy", [False, True])
def test_samples_without_a_height_are_left_out(bad: float, lazy: bool) -> None:
    """Each column lacks others: bit for bit the fit of the column without them."""
    data = columns()
    height = data["height"].values.copy()
    gone = {0: [], 1: [0], 2: [3, 4, 24], 3: list(range(25))}
    for j, levels in gone.items():
        height[j, levels] = bad
    one = data.assign_coords(height=(("column", "level"), height, {"units": "km"}))
    one = rechunked(one, ("height",), {"column": 2}, {"column": 1, "level": 8}) if lazy else one
    result = one.modelfit(Linear1D(), **OF_COLUMNS, errors="ignore").compute()
    assert result["n_points"].isel(time=0).values.tolist() == [25, 24, 22, 0]
    for j in (0, 1, 2):
        alone = data.isel(column=[j]).drop_isel(level=gone[j]).modelfit(Linear1D(), **OF_COLUMNS)
        assert_bits(result.isel(column=[j]), alone)
    assert (result["fit_status"].isel(column=3) == FitStatus.NO_DATA).all()


def test_samples_without_a_position_are_left_out() -> None:
    """A grid with holes in lat and others in lon: as if the data had holes in both, against numpy."""
    data = curvilinear()
    lat, lon = data["lat"].copy(deep=True), data["lon"].copy(deep=True)
    lat[0, :3], lon[5, 2] = np.nan, np.nan
    holes = data.assign_coords(lat=lat.drop_vars(["lat", "lon"]), lon=lon.drop_vars(["lat", "lon"]))
    result = holes.modelfit(Planar2D(), **ON_THE_GLOBE)
    assert (result["n_points"] == 63 - 4).all()
    there = np.isfinite(holes["lat"].values) & np.isfinite(holes["lon"].values)
    masked = data.where(xr.DataArray(there, dims=("y", "x")))
    assert_bits(result, masked.modelfit(Planar2D(), **ON_THE_GLOBE))
    for i in range(4):
        p, stderr = plane(holes["lon"].values, holes["lat"].values, data.values[i])
        assert_close(result.isel(t=i), ("slope_x", "slope_y", "intercept"), p, stderr)
    one = rechunked(holes, ("lat", "lon"), {"t": 1, "y": 3}, {"y": 2, "x": 4})
    assert_bits(one.modelfit(Planar2D(), **ON_THE_GLOBE).compute(), result)


@pytest.mark.parametrize("lazy", [False, True])
def test_observations_without_a_date_are_left_out(lazy: bool) -> None:
    data = profiles("ns")
    time = data["time"].values.copy()
    time[0, [0, 5]], time[2, 19] = np.datetime64("NaT"), np.datetime64("NaT")
    one = data.assign_coords(time=(("profile", "obs"), time))
    one = rechunked(one, ("time",), {"profile": 1}, {"profile": 2, "obs": 6}) if lazy else one
    result = one.modelfit(Linear1D(), **OF_PROFILES).compute()
    assert result["n_points"].values.tolist() == [18, 20, 19, 20]
    for j, gone in ((0, [0, 5]), (1, []), (2, [19]), (3, [])):
        alone = data.isel(profile=[j]).drop_isel(obs=gone).modelfit(Linear1D(), **OF_PROFILES)
        assert_bits(result.isel(profile=[j]), alone)


def test_with_skipna_false_a_sample_without_a_coordinate_fails_its_fit() -> None:
    data = columns()
    height = data["height"].values.copy()
    height[1, 3] = np.nan
    one = data.assign_coords(height=(("column", "level"), height))
    result = one.modelfit(Linear1D(), **OF_COLUMNS, skipna=False, errors="ignore")
    expected = [FitStatus.CONVERGED, FitStatus.NONFINITE_DATA, FitStatus.CONVERGED, FitStatus.CONVERGED]
    assert (result["fit_status"] == xr.DataArray(expected, dims="column")).all()


# --- evaluating


@pytest.mark.parametrize("lazy", [False, True])
def test_evaluate_on_a_curvilinear_grid(lazy: bool) -> None:
    """In the data's order, with its coordinates."""
    data = curvilinear().transpose("y", "t", "x")
    given_ = rechunked(data, ("lat", "lon"), {"t": 1, "y": 3}, {"y": 2, "x": 4}) if lazy else data
    result = given_.modelfit(Planar2D(), **ON_THE_GLOBE)
    best = result.modelfit.evaluate(given_)
    assert best.dims == data.dims
    assert (best.chunks is not None) == lazy
    result = result.compute()
    expected = result["slope_x"] * data["lon"] + result["slope_y"] * data["lat"] + result["intercept"]
    np.testing.assert_allclose(best, expected.transpose(*data.dims), rtol=1e-12)
    assert best.attrs["units"] == "K"
    for name in ("lat", "lon"):
        np.testing.assert_array_equal(best[name], data[name])
    best = best.compute()
    np.testing.assert_allclose(((data - best) ** 2).sum(("y", "x")), result["chi2"], rtol=1e-10)


def test_evaluate_at_other_positions() -> None:
    """Other grids by name, with the dims that they have."""
    result = curvilinear().modelfit(Planar2D(), **ON_THE_GLOBE)
    lon, lat = xr.DataArray([10.0, 12.0, 14.0], dims="station"), xr.DataArray([45.5, 46.0, 47.5], dims="station")
    along = result.modelfit.evaluate(lon=lon, lat=lat)
    assert along.sizes == {"t": 4, "station": 3}
    np.testing.assert_allclose(
        along, result["slope_x"] * lon + result["slope_y"] * lat + result["intercept"], rtol=1e-12
    )
    crossed = result.modelfit.evaluate(lon=lon.rename(station="a"), lat=lat.rename(station="b"))
    assert crossed.sizes == {"t": 4, "a": 3, "b": 3}
    np.testing.assert_array_equal(crossed.isel(a=1, b=1), along.isel(station=1))
    one = result.modelfit.evaluate(lon=12.0, lat=46.0)
    np.testing.assert_array_equal(one, along.isel(station=1))


def test_evaluate_in_each_column() -> None:
    """On the heights of the columns, and at one height for all."""
    data = columns()
    result = data.modelfit(Linear1D(), **OF_COLUMNS)
    best = result.modelfit.evaluate(data)
    expected = (result["slope"] * data["height"] + result["intercept"]).transpose(*data.dims)
    np.testing.assert_allclose(best, expected, rtol=1e-13)
    at_sea = result.modelfit.evaluate(height=0.0)
    assert at_sea.dims == ("time", "column")
    np.testing.assert_array_equal(at_sea, result["intercept"])
    in_metres = result.modelfit.evaluate(height=5000 * u.m)
    np.testing.assert_allclose(in_metres, 5.0 * result["slope"] + result["intercept"], rtol=1e-12)


# --- wrong calls: at once, by name, with a way out


def test_a_coordinate_of_text() -> None:
    data = unreadable(curvilinear()).assign_coords(station=("x", list("abcdefghi")))
    with pytest.raises(TypeError, match=r"'station'.*real numbers.*coords="):
        data.modelfit(Linear1D(), dim="x", coords="station")
    two = data.assign_coords(label=(("y", "x"), np.full((7, 9), "a")))
    with pytest.raises(TypeError, match=r"'label'.*real numbers.*coords="):
        two.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "label", "y": "lat"})


@pytest.mark.parametrize("dtype", [complex, bool, object])
def test_a_coordinate_that_holds_no_real_numbers(dtype: Any) -> None:
    data = unreadable(curvilinear()).assign_coords(odd=("x", np.ones(9).astype(dtype)))
    with pytest.raises(TypeError, match=r"'odd'.*coords="):
        data.modelfit(Linear1D(), dim="x", coords="odd")


def test_a_coordinate_with_a_dim_that_the_data_lacks() -> None:
    data = unreadable(curvilinear())
    odd = xr.DataArray(np.zeros((3, 7)), dims=("level", "y"), name="height")
    with pytest.raises(ValueError, match=r"'height'.*no dim 'level'.*select"):
        data.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "lon", "y": odd})


def test_a_coordinate_of_another_size() -> None:
    data = unreadable(curvilinear())
    with pytest.raises(ValueError, match=r"'lat'.*6 positions along 'y'.*7"):
        data.modelfit(
            Planar2D(), dim=("y", "x"), coords={"x": "lon", "y": curvilinear()["lat"].isel(y=slice(6)).rename("lat")}
        )


def test_a_coordinate_with_another_index() -> None:
    data = unreadable(curvilinear().assign_coords(x=np.arange(9.0)))
    other = curvilinear()["lat"].assign_coords(x=np.arange(9.0) + 0.25).drop_vars(["lat", "lon"])
    with pytest.raises(ValueError, match=r"'lat'.*'x'.*0\.25.*reindex_like"):
        data.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "lon", "y": other})


@pytest.mark.parametrize("two", [["lat", "lon"], ("lat", "lon")])
def test_two_coordinates_for_one_input(two: Any) -> None:
    data = unreadable(curvilinear())
    with pytest.raises((TypeError, ValueError), match=r"coord.*'x'.*'lat'"):
        data.modelfit(Planar2D(), dim=("y", "x"), coords={"x": two, "y": "lat"})
    with pytest.raises((TypeError, ValueError), match=r"coord.*'lat'"):
        data.modelfit(Linear1D(), dim="x", coords=two)


def test_an_input_without_a_coordinate() -> None:
    """Inputs are never taken by guess."""
    data = unreadable(curvilinear()).rename(y="row", x="column")
    with pytest.raises(ValueError, match=r"input 'x'.*coords="):
        data.modelfit(Planar2D(), dim=("row", "column"))
    with pytest.raises(ValueError, match=r"input 'y'.*coords=.*'lat'"):
        data.modelfit(Planar2D(), dim=("row", "column"), coords={"x": "lon"})
    with pytest.raises(ValueError, match=r"2 inputs.*coords="):
        data.modelfit(Planar2D(), dim=("row", "column"), coords="lon")


def test_a_coordinate_of_two_dims_does_not_tell_the_dim() -> None:
    data = unreadable(curvilinear())
    with pytest.raises(ValueError, match=r"dim is missing.*'lon'.*\('y', 'x'\)"):
        data.modelfit(Planar2D(), coords={"x": "lon", "y": "lat"})


def test_a_coordinate_that_no_fitted_dim_has() -> None:
    data = unreadable(curvilinear()).assign_coords(age=("t", np.arange(4.0)))
    with pytest.raises(ValueError, match=r"'age'.*constant in each fit.*coords="):
        data.modelfit(Linear1D(), dim="x", coords="age")


def test_an_unknown_coordinate() -> None:
    data = unreadable(curvilinear())
    with pytest.raises(ValueError, match=r"'latt'.*'lat'"):
        data.modelfit(Planar2D(), dim=("y", "x"), coords={"x": "lon", "y": "latt"})
    with pytest.raises(ValueError, match=r"'lon'.*inputs are 'x', 'y'"):
        data.modelfit(Planar2D(), dim=("y", "x"), coords={"lon": "x", "lat": "y"})


@pytest.mark.parametrize("lazy", [False, True])
def test_evaluate_on_a_coordinate_that_does_not_match(lazy: bool) -> None:
    data = columns().chunk(column=1) if lazy else columns()
    result = data.modelfit(Linear1D(), **OF_COLUMNS)
    other = xr.DataArray(np.zeros((3, 25)), dims=("column", "level"))
    with pytest.raises(ValueError, match=r"3 positions along 'column'.*4"):
        result.modelfit.evaluate(height=other)


def test_lazy_coordinates_are_not_read_by_the_call() -> None:
    """Neither those of the data nor the data; they are read when the result is computed."""
    data = curvilinear()
    reads: list[str] = []

    def watched(array: xr.DataArray) -> Callable[[np.ndarray], np.ndarray]:
        def read(block: np.ndarray) -> np.ndarray:
            reads.append(str(array.name))
            return block

        return read

    def lazy(array: xr.DataArray) -> dask.array.Array:
        blocks = dask.array.from_array(array.values, chunks=3)
        return blocks.map_blocks(watched(array), dtype=float, meta=np.empty((0,) * array.ndim))

    one = data.copy(data=lazy(data)).assign_coords({n: (("y", "x"), lazy(data[n])) for n in ("lat", "lon")})
    result = one.modelfit(Planar2D(), **ON_THE_GLOBE)
    assert reads == []
    assert_bits(result.compute(scheduler="synchronous"), data.modelfit(Planar2D(), **ON_THE_GLOBE))
    assert set(reads) == {"tas", "lat", "lon"}
