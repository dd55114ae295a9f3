"""FITS files and NDData in, FITS images out: numbers, names, laziness, and positions on the way."""

import mmap
import pickle
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Gaussian1D, Polynomial1D
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    NDDataRef,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS, DistortionLookupTable, Sip
from hypothesis import given, settings
from hypothesis import strategies as st

import xr_modelfit  # noqa: F401
from xr_modelfit.fits_io.fits import from_fits
from xr_modelfit.fits_io.nddata import from_nddata
from xr_modelfit.fits_io.to_fits import to_hdulist
from xr_modelfit.fits_io.wcs import coords_from_wcs
from xr_modelfit.units.text import parse_unit

pytestmark = pytest.mark.quick_share(3)

Read = Callable[..., Any]


def header_of(**more: Any) -> fits.Header:
    """A cube: rotated sky, frequency, with the ordinary extras."""
    header = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CTYPE3": "VRAD",
        "CUNIT3": "km/s",
        "CRPIX1": 3.25,
        "CRPIX2": 40.0,
        "CRPIX3": 2.0,
        "CRVAL1": 266.4,
        "CRVAL2": -28.9,
        "CRVAL3": 12.5,
        "CDELT1": -0.003,
        "CDELT2": 0.003,
        "CDELT3": 0.4,
        "PC1_1": 0.8,
        "PC1_2": -0.6,
        "PC2_1": 0.6,
        "PC2_2": 0.8,
        "RESTFRQ": 1.1027e11,
        "SPECSYS": "LSRK",
        "RADESYS": "FK5",
        "EQUINOX": 2000.0,
        "BUNIT": " K ",
        "OBJECT": "cloud",
        "TELESCOP": "dish",
    }
    return fits.Header(header | more)


def values_of(*shape: int, dtype: str = ">f4") -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def image(header: fits.Header | None = None, shape: tuple[int, ...] = (5, 6, 7), **more: Any) -> fits.PrimaryHDU:
    return fits.PrimaryHDU(values_of(*shape), header if header is not None else header_of(**more))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    image().writeto(tmp_path / "cube.fits")
    return tmp_path / "cube.fits"


def mapped(array: np.ndarray) -> bool:
    """Whether the memory of an array is that of a file."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base, mmap.mmap | np.memmap)


def positions(hdu: Any) -> dict[str, np.ndarray]:
    """World coordinates of each pixel of an image, by the header alone."""
    wcs = WCS(hdu.header, naxis=hdu.header["NAXIS"])
    world = wcs.array_index_to_world_values(*np.indices(hdu.shape))
    return dict(zip(wcs.wcs.ctype, [world] if wcs.naxis == 1 else world, strict=True))


def sky_of(array: xr.DataArray, dims: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    expanded = array.expand_dims([d for d in dims if d not in array.dims]).transpose(*dims)
    return tuple(xr.broadcast(expanded, array[name])[1].transpose(*dims).values for name in ("ra", "dec"))  # type: ignore[return-value]


def assert_same_sky(array: xr.DataArray, hdu: Any) -> None:
    wanted = ("velocity", "y", "x") if hdu.header["NAXIS"] == 3 else ("y", "x")
    ra, dec = sky_of(array, wanted)
    found = positions(hdu)
    for ctype, values in found.items():
        if ctype.startswith("RA"):
            np.testing.assert_allclose(values, ra, rtol=0, atol=1e-9)
        elif ctype.startswith("DEC"):
            np.testing.assert_allclose(values, dec, rtol=0, atol=1e-9)
        else:
            expected = array["velocity"].values.reshape(-1, 1, 1)
            np.testing.assert_allclose(values, np.broadcast_to(expected, values.shape), rtol=1e-10)


# --- reading


def test_names_units_and_attrs(path: Path) -> None:
    array = from_fits(path)
    assert isinstance(array, xr.DataArray)
    assert (array.name, array.dims) == ("data", ("velocity", "y", "x"))
    assert array.attrs == {"units": "K", "object": "cloud", "telescope": "dish"}
    assert array["velocity"].attrs["units"] == "m s-1"
    np.testing.assert_array_equal(array, fits.getdata(path))
    assert fits.Header.fromstring(array["wcs"].attrs["fits_header"], sep="\n")["TELESCOP"] == "dish"
    assert array["wcs"].attrs["rest_frequency"] == 1.1027e11


@pytest.mark.parametrize("kind", ["path", "str", "hdu", "hdus", "file"])
def test_sources(path: Path, kind: str) -> None:
    expected = from_fits(path).load()
    with fits.open(path) as hdus:
        sources = {"path": path, "str": str(path), "hdu": hdus[0], "hdus": hdus, "file": path}
        found = from_fits(sources[kind])
    xr.testing.assert_identical(found.load(), expected)


def test_a_plain_file_is_mapped_not_copied(path: Path) -> None:
    array = from_fits(path)
    assert not array.variable._in_memory
    part = array.isel(velocity=slice(1, 4), y=2)
    assert mapped(part.values)
    assert array.values.dtype == np.dtype(">f4")
    assert mapped(array.values)
    assert np.shares_memory(array.values, array.values)
    assert np.shares_memory(array.isel(x=slice(2, 5)).values, array.values)


@pytest.mark.parametrize("order", [("x", "y", "velocity"), ("y", "velocity", "x"), ("velocity", "x", "y")])
@pytest.mark.parametrize("selection", [{}, {"y": slice(5, 1, -2), "x": slice(2, None)}, {"x": [5, 0, 2]}])
def test_a_transposed_file_is_still_lazy(path: Path, order: tuple[str, ...], selection: dict[str, Any]) -> None:
    loaded, array = from_fits(path).load(), from_fits(path)
    moved, expected = array.isel(selection).transpose(*order), loaded.isel(selection).transpose(*order)
    assert not moved.variable._in_memory
    assert not moved["ra"].variable._in_memory
    for cut in ({}, {"y": 1}, {"velocity": 0, "x": 1}, {"velocity": 0, "x": 1, "y": 1}, {"x": [0, 2], "y": slice(1)}):
        xr.testing.assert_identical(moved.isel(cut), expected.isel(cut))
    assert ("x" in selection and isinstance(selection["x"], list)) or mapped(moved.values)
    moved[:] = 0
    assert moved.values.max() == 0
    np.testing.assert_array_equal(array, loaded)


def test_an_open_file_is_mapped_too(path: Path) -> None:
    with fits.open(path) as hdus:
        array = from_fits(hdus)
        assert np.shares_memory(array.values, hdus[0].data)
    np.testing.assert_array_equal(array, fits.getdata(path))


def test_assigning_leaves_the_file_alone(path: Path) -> None:
    array = from_fits(path)
    array[:] = 0
    assert array.values.max() == 0
    assert fits.getdata(path).max() > 0


@pytest.mark.parametrize("chunks", [{}, {"y": 2}, {"y": 2, "x": 3, "velocity": -1}, 3, "auto", {"velocity": 1, "x": 2}])
def test_chunks(path: Path, chunks: Any) -> None:
    array = from_fits(path, chunks=chunks)
    assert array.chunks is not None
    np.testing.assert_array_equal(array, fits.getdata(path))
    np.testing.assert_array_equal(array[1:, ::2, ::-1], fits.getdata(path)[1:, ::2, ::-1])


def test_chunks_travel_as_a_path(tmp_path: Path) -> None:
    image(shape=(20, 100, 100)).writeto(tmp_path / "large.fits")
    array = from_fits(tmp_path / "large.fits", chunks={"y": 50})
    assert len(pickle.dumps(array.drop_vars(["ra", "dec", "wcs"]))) < 20_000
    data = fits.getdata(tmp_path / "large.fits")
    np.testing.assert_array_equal(array.mean("velocity").compute(scheduler="threads"), data.mean(axis=0))
    with ProcessPoolExecutor(1) as pool, dask.config.set(pool=pool):
        np.testing.assert_array_equal(array.compute(scheduler="processes"), data)


def test_files_are_told_apart_by_dask(tmp_path: Path) -> None:
    image().writeto(tmp_path / "a.fits")
    fits.PrimaryHDU(values_of(5, 6, 7) + 1, header_of()).writeto(tmp_path / "b.fits")
    a, b = (from_fits(tmp_path / name, chunks={}) for name in ("a.fits", "b.fits"))
    assert not set(a.__dask_graph__()) & set(b.__dask_graph__())
    image(shape=(5, 6, 7)).writeto(tmp_path / "a.fits", overwrite=True)
    again = from_fits(tmp_path / "a.fits", chunks={})
    assert not set(a.__dask_graph__()) & set(again.__dask_graph__())


def test_a_lazy_fit_of_a_lazy_file(path: Path) -> None:
    model = Gaussian1D(1, 12500, 500)
    lazy = from_fits(path, chunks={"y": 2}).modelfit(model, dim="velocity", errors="ignore")
    assert lazy["mean"].chunks is not None
    now = from_fits(path).modelfit(model, dim="velocity", errors="ignore")
    xr.testing.assert_identical(lazy.compute(), now)
    assert {"y", "x", "ra", "dec", "wcs"} <= set(now.coords)
    assert_same_sky(now["mean"], to_hdulist(now)["MEAN"])


def test_fits_are_computed_on_a_cluster(path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        np.testing.assert_array_equal(from_fits(path, chunks={"y": 3}), fits.getdata(path))


@pytest.mark.parametrize("chunks", [None, {"y": 2}])
@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.bz2"])
def test_compressed_files(tmp_path: Path, suffix: str, chunks: Any) -> None:
    image().writeto(tmp_path / f"cube{suffix}")
    array = from_fits(tmp_path / f"cube{suffix}", chunks=chunks)
    assert not array.variable._in_memory
    np.testing.assert_array_equal(array, fits.getdata(tmp_path / f"cube{suffix}"))


@pytest.mark.parametrize("chunks", [None, {"y": 2}])
@pytest.mark.parametrize("dtype", ["f4", "i2", "u2", "f8"])
def test_compressed_images(tmp_path: Path, dtype: str, chunks: Any) -> None:
    values = (100 * values_of(5, 6, 7) + 1000).astype(dtype)
    kind = "GZIP_2" if dtype.startswith("f") else "RICE_1"
    hdu = fits.CompImageHDU(values, header_of(), name="SCI", compression_type=kind, quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "cube.fits")
    array = from_fits(tmp_path / "cube.fits", chunks=chunks)
    assert array.name == "sci"
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array[1:, ::-2, 3], values[1:, ::-2, 3])
    np.testing.assert_array_equal(array, values)
    with fits.open(tmp_path / "cube.fits") as hdus:
        xr.testing.assert_identical(from_fits(hdus[1]).load(), array.load())


# --- stored numbers and physical numbers

STORED = {
    "u1": ("u1", {}),
    "signed byte": ("u1", {"BZERO": -128}),
    "i2": (">i2", {}),
    "u2": (">i2", {"BZERO": 32768}),
    "u4": (">i4", {"BZERO": 2147483648}),
    "u8": (">i8", {"BZERO": 9223372036854775808}),
    "i4": (">i4", {}),
    "i8": (">i8", {}),
    "i2 scaled": (">i2", {"BSCALE": 0.1, "BZERO": 3.0}),
    "i4 scaled": (">i4", {"BSCALE": 0.1, "BZERO": 3.0}),
    "i2 blank": (">i2", {"BLANK": -5}),
    "u1 blank": ("u1", {"BLANK": 7}),
    "i2 scaled blank": (">i2", {"BSCALE": 0.1, "BZERO": 3.0, "BLANK": -5}),
    "i2 offset blank": (">i2", {"BZERO": 5.0, "BLANK": -5}),
    "f4": (">f4", {}),
    "f8": (">f8", {}),
    "f4 scaled": (">f4", {"BSCALE": 0.5, "BZERO": 3.0}),
}


def stored(path: Path, dtype: str, cards: dict[str, Any]) -> np.ndarray:
    """A file with these numbers as they are, and cards that say what they mean."""
    raw = np.random.default_rng(2).integers(0, 250, size=(4, 5)).astype(dtype)
    if raw.dtype.kind == "i":
        raw -= 100
    raw[0, 0] = cards.get("BLANK", raw[0, 0])
    fits.PrimaryHDU(raw).writeto(path)
    with open(path, "r+b") as file:
        block = file.read(2880).decode()
        extra = "".join(f"{key:8s}= {value!s:>20s}".ljust(80) for key, value in cards.items())
        end = block.index("END" + " " * 77)
        file.seek(0)
        file.write((block[:end] + extra + "END").ljust(2880).encode())
    return raw


@pytest.mark.parametrize("chunks", [None, {"y": 2}])
@pytest.mark.parametrize("kind", STORED)
def test_numbers_are_those_of_astropy(tmp_path: Path, kind: str, chunks: Any) -> None:
    dtype, cards = STORED[kind]
    stored(tmp_path / "a.fits", dtype, cards)
    found = from_fits(tmp_path / "a.fits", chunks=chunks)
    expected = fits.getdata(tmp_path / "a.fits")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    if "BLANK" in cards:
        assert np.isnan(found.values[0, 0])


def test_blank_among_unsigned_numbers(tmp_path: Path) -> None:
    raw = stored(tmp_path / "a.fits", ">i2", {"BZERO": 32768, "BLANK": -5})
    found = from_fits(tmp_path / "a.fits")
    np.testing.assert_array_equal(found, np.where(raw == -5, np.nan, raw + 32768.0))


def test_blank_in_memory() -> None:
    hdu = fits.PrimaryHDU(np.array([[1, -5], [3, 4]], dtype=np.int16))
    hdu.header["BLANK"] = -5
    np.testing.assert_array_equal(from_fits(hdu), [[1, np.nan], [3, 4]])


def test_nan_stays(tmp_path: Path) -> None:
    values = values_of(3, 4)
    values[1, 2] = np.nan
    fits.PrimaryHDU(values).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(from_fits(tmp_path / "a.fits"), values)


# --- several HDUs


def with_companions(*companions: Any, primary: Any = None) -> fits.HDUList:
    first = primary if primary is not None else fits.PrimaryHDU()
    return fits.HDUList([first, *companions])


def ext(name: str, values: np.ndarray | None = None, header: fits.Header | None = None, **more: Any) -> fits.ImageHDU:
    values = values if values is not None else np.full((5, 6, 7), 4.0, dtype=">f4")
    hdu = fits.ImageHDU(values, header if header is not None else header_of(), name=name)
    hdu.header.update(more)
    return hdu


@pytest.fixture(params=["memory", "file", "lazy"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Reads HDUs as they are, and from a file, at once and lazily."""

    def reader(hdus: fits.HDUList, **options: Any) -> Any:
        if request.param == "memory":
            return from_fits(hdus, **options)
        hdus.writeto(tmp_path / "several.fits", overwrite=True)
        return from_fits(tmp_path / "several.fits", chunks={} if request.param == "lazy" else None, **options)

    return reader


@pytest.mark.parametrize(
    ("name", "more", "sigma"),
    [
        ("STAT", {"BUNIT": "K2"}, 2.0),
        ("VAR", {"BUNIT": ""}, 2.0),
        ("SCI_VAR", {}, 2.0),
        ("VARIANCE", {}, 2.0),
        ("ERR", {}, 4.0),
        ("ERROR", {}, 4.0),
        ("SCI_ERROR", {}, 4.0),
        ("STDDEV", {}, 4.0),
        ("UNCERT", {}, 4.0),
        ("UNCERT", {"UTYPE": "std"}, 4.0),
        ("UNCERT", {"UTYPE": "VAR"}, 2.0),
        ("UNCERT", {"UTYPE": "IVAR"}, 0.5),
        ("IVAR", {"BUNIT": "K-2"}, 0.5),
        ("WHATEVER", {"HDUCLAS2": "ERROR", "HDUCLAS3": "MSE", "SCIDATA": "SCI"}, 2.0),
        ("WHATEVER", {"HDUCLAS2": "ERROR", "HDUCLAS3": "RMSE"}, 4.0),
        ("WHATEVER", {"HDUCLAS2": "ERROR", "HDUCLAS3": "INVMSE"}, 0.5),
    ],
)
def test_errors_become_sigma(read: Read, name: str, more: dict[str, Any], sigma: float) -> None:
    ds = read(with_companions(ext("SCI"), ext(name, **more)))
    assert list(ds.data_vars) == ["sci", "sci_sigma"]
    np.testing.assert_array_equal(ds["sci_sigma"], np.full((5, 6, 7), sigma))
    assert ds["sci_sigma"].attrs["units"] == "K"
    assert ds["sci"].attrs["ancillary_variables"] == "sci_sigma"
    assert "units" not in ds.attrs


@pytest.mark.parametrize(
    ("name", "more", "good_where_zero"),
    [
        ("DQ", {}, True),
        ("MASK", {}, True),
        ("FLAGS", {}, True),
        ("SCI_DQ", {}, True),
        ("X", {"HDUCLAS2": "QUALITY", "HDUCLAS3": "FLAG32BIT"}, True),
        ("X", {"HDUCLAS2": "QUALITY", "HDUCLAS3": "MASKZERO"}, True),
        ("X", {"HDUCLAS2": "QUALITY", "HDUCLAS3": "MASKONE"}, False),
    ],
)
def test_flags_become_good(read: Read, name: str, more: dict[str, Any], good_where_zero: bool) -> None:
    flags = np.random.default_rng(3).integers(0, 3, size=(5, 6, 7)).astype(">i4")
    ds = read(with_companions(ext("SCI"), ext(name, flags, **more)))
    assert ds["sci_good"].dtype == bool
    np.testing.assert_array_equal(ds["sci_good"], (flags == 0) == good_where_zero)


def test_no_error_without_weight(read: Read) -> None:
    weights = np.array([4.0, 0.0, -1.0, np.nan, 1.0], dtype=">f8")
    ds = read(with_companions(ext("FLUX", np.ones(5), fits.Header()), ext("IVAR", weights, fits.Header())))
    np.testing.assert_array_equal(ds["flux_sigma"], [0.5, np.nan, np.nan, np.nan, 1.0])
    variances = ext("STAT", np.array([4.0, -1.0, 0.0, np.nan, 9.0]), fits.Header())
    ds = read(with_companions(ext("FLUX", np.ones(5), fits.Header()), variances))
    np.testing.assert_array_equal(ds["flux_sigma"], [2.0, np.nan, 0.0, np.nan, 3.0])


def test_units_of_errors(read: Read) -> None:
    ds = read(with_companions(ext("SCI", BUNIT="Jy"), ext("STAT", BUNIT="mJy2")))
    assert u.Unit(ds["sci_sigma"].attrs["units"]) == u.mJy
    ds = read(with_companions(ext("SCI", BUNIT="something odd"), ext("STAT", BUNIT="its square")))
    assert ds["sci_sigma"].attrs["units"] == "something odd"


def test_several_chips_with_their_own_companions(read: Read) -> None:
    chips = [ext(name, ver, EXTVER=n) for n, ver in ((1, None), (2, None)) for name in ("SCI", "ERR", "DQ")]
    chips[4].data = chips[4].data + 5
    ds = read(with_companions(*chips))
    assert list(ds.data_vars) == ["sci", "sci_sigma", "sci_good", "sci_2", "sci_2_sigma", "sci_2_good"]
    assert ds["sci_2_sigma"].values.max() == 9
    assert read(with_companions(*chips), hdu=("SCI", 2)).name == "sci"
    assert list(read(with_companions(*chips), hdu=[("SCI", 2), ("ERR", 2)]).data_vars) == ["sci", "sci_sigma"]


def test_other_images_are_variables_of_their_own(read: Read) -> None:
    ds = read(with_companions(ext("SCI"), ext("ERR"), ext("STAT"), ext("VAR_POISSON"), ext("EXPOSURE")))
    assert list(ds.data_vars) == ["sci", "sci_sigma", "stat", "var_poisson", "exposure"]
    assert ds["stat"].values.max() == 4  # a second kind of error, as it is


def test_companions_without_a_wcs_take_that_of_the_data(read: Read) -> None:
    ds = read(with_companions(ext("MASK", np.zeros((5, 6, 7), "u1"), fits.Header()), primary=image()))
    assert list(ds.data_vars) == ["data", "data_good"]
    assert ds["data_good"].dims == ("velocity", "y", "x")


def test_one_hdu_of_several(read: Read) -> None:
    hdus = with_companions(ext("SCI"), ext("STAT", BUNIT="K2"))
    for key in ("STAT", "stat", 2, -1, ("STAT", 1)):
        array = read(hdus, hdu=key)
        assert isinstance(array, xr.DataArray)
        assert array.name == "stat"
        assert array.values.max() == 4
        assert array.attrs["units"] == "K2"


def test_tables_are_not_looked_at(read: Read) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="CATALOGUE")
    assert read(with_companions(ext("SCI"), table)).name == "sci"


def test_ccddata_files(tmp_path: Path) -> None:
    ccd = CCDData(
        values_of(4, 5),
        unit="adu",
        mask=np.arange(20).reshape(4, 5) % 3 == 0,
        uncertainty=VarianceUncertainty(np.full((4, 5), 9.0)),
        wcs=WCS(header_of()).celestial,
    )
    ccd.write(tmp_path / "ccd.fits")
    ds = from_fits(tmp_path / "ccd.fits")
    assert list(ds.data_vars) == ["data", "data_good", "data_sigma"]
    np.testing.assert_array_equal(ds["data_good"], ~ccd.mask)
    assert ds["data_sigma"].values.max() == 3
    xr.testing.assert_equal(ds["data_sigma"], from_nddata(ccd)["data_sigma"])


def test_more_world_axes_than_pixel_axes() -> None:
    hdu = image(header_of(WCSAXES=4, CTYPE4="STOKES", CRVAL4=3.0, CRPIX4=1.0, CDELT4=1.0))
    array = from_fits(hdu)
    assert array.dims == ("velocity", "y", "x")
    assert array["stokes"].item() == 3
    assert_same_sky(array, to_hdulist(array)[1])


def test_axes_without_a_wcs() -> None:
    header = fits.Header({"WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 0.1, "CDELT2": 0.1})
    array = from_fits(fits.PrimaryHDU(values_of(3, 4, 5), header))
    assert array.dims == ("z", "y", "x")
    assert from_fits(fits.PrimaryHDU(values_of(3, 4, 5))).dims == ("z", "y", "x")
    assert from_fits(fits.PrimaryHDU(values_of(2, 3, 4, 5))).dims == ("axis_4", "z", "y", "x")
    assert from_fits(fits.PrimaryHDU(values_of(5))).dims == ("x",)


def test_degenerate_axes_are_kept() -> None:
    header = header_of(CTYPE4="STOKES", CRVAL4=1.0, CRPIX4=1.0, CDELT4=1.0)
    array = from_fits(fits.PrimaryHDU(values_of(1, 1, 6, 7), header))
    assert dict(array.sizes) == {"stokes": 1, "velocity": 1, "y": 6, "x": 7}


def test_a_wcs_of_the_users_own() -> None:
    header = header_of(CTYPE1A="PIXX", CTYPE2A="PIXY", CRVAL1A=100.0, CTYPE3A="FREQ", CRVAL3A=1e9, CDELT3A=1e6)
    array = from_fits(image(header), wcs=WCS(header, key="A"))
    assert array.dims == ("frequency", "pixy", "pixx")
    assert from_fits(image(), wcs=False).dims == ("z", "y", "x")
    plain = to_hdulist(from_fits(image(), wcs=False))[1].header
    assert "RA---TAN" not in plain.values()


def test_what_astropy_repairs_is_repaired_without_a_word() -> None:
    header = header_of(CTYPE3="VELO-LSR", CUNIT3="m/s", RADECSYS="FK5", **{"DATE-OBS": "04/07/97"})
    del header["RADESYS"]
    array = from_fits(image(header))  # warnings are errors
    assert array.dims == ("velocity", "y", "x")
    assert array["wcs"].attrs["radesys"] == "FK5"


def test_reading_on_threads_leaves_the_warnings_alone(path: Path) -> None:
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [from_fits(path) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# --- NDData


def test_nddata() -> None:
    data = values_of(5, 6, 7)
    nd = NDData(
        data,
        unit=u.Jy / u.beam,
        mask=data > 1,
        uncertainty=StdDevUncertainty(np.full(data.shape, 200.0), unit=u.mJy / u.beam),
        wcs=WCS(header_of()),
        meta={"object": "cloud", "size": 3, "list": [1, 2], "with space": 1},
    )
    ds = from_nddata(nd, name="flux")
    assert list(ds.data_vars) == ["flux", "flux_sigma", "flux_good"]
    assert ds["flux"].dims == ("velocity", "y", "x")
    assert np.shares_memory(ds["flux"].values, data)
    assert u.Unit(ds["flux"].attrs["units"]) == u.Jy / u.beam
    assert u.Unit(ds["flux_sigma"].attrs["units"]) == u.mJy / u.beam
    np.testing.assert_array_equal(ds["flux_good"], data <= 1)
    assert ds.attrs == {"object": "cloud", "size": 3}
    assert_same_sky(ds["flux"], to_hdulist(ds)["FLUX"])


@pytest.mark.parametrize(
    ("uncertainty", "sigma"), [(StdDevUncertainty, 4.0), (VarianceUncertainty, 2.0), (InverseVariance, 0.5)]
)
def test_kinds_of_uncertainty(uncertainty: Any, sigma: float) -> None:
    ds = from_nddata(NDData(np.ones((2, 3)), uncertainty=uncertainty(np.full((2, 3), 4.0)), unit="K"))
    np.testing.assert_array_equal(ds["data_sigma"], np.full((2, 3), sigma))
    assert ds["data_sigma"].attrs["units"] == "K"


@pytest.mark.parametrize(
    ("shape", "dims"),
    [((3,), ("x",)), ((3, 2), ("y", "x")), ((3, 2, 1), ("z", "y", "x")), ((1, 2, 3, 4), ("axis_4", "z", "y", "x"))],
)
def test_nddata_without_a_wcs(shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    array = from_nddata(NDData(np.zeros(shape)))
    assert isinstance(array, xr.DataArray)
    assert (array.dims, array.attrs) == (dims, {})


def test_a_sliced_ccddata_knows_where_it_is() -> None:
    whole = CCDData(values_of(8, 9), unit="adu", wcs=WCS(header_of()).celestial, meta={"OBJECT": "cloud"})
    cut = from_nddata(whole[2:6, 3:8]).isel(x=slice(None, None, -2))
    full = from_nddata(whole).isel(y=slice(2, 6), x=slice(3, 8)).isel(x=slice(None, None, -2))
    np.testing.assert_allclose(cut["ra"], full["ra"], rtol=0, atol=1e-10)
    assert_same_sky(full, to_hdulist(cut)[1])


def test_a_row_of_nddata() -> None:
    whole = NDDataRef(values_of(5, 6, 7), wcs=WCS(header_of()), unit="K")
    array = from_nddata(whole[:, 2, :])
    assert array.dims == ("velocity", "x")
    assert array["ra"].dims == ("x",)
    row = to_hdulist(array)[1]
    assert row.shape == (5, 1, 7)
    assert_same_sky(from_nddata(whole).isel(y=2), row)
    part = from_nddata(whole[:, 2:5, 3:])
    np.testing.assert_array_equal(part["y"], [2, 3, 4])
    assert_same_sky(from_nddata(whole).isel(y=slice(2, 5), x=slice(3, None)), to_hdulist(part)[1])


def test_dask_stays_dask() -> None:
    data = xr.DataArray(np.ones((4, 5))).chunk(2).data
    nd = NDData(data, uncertainty=VarianceUncertainty(data), mask=data > 2)
    ds = from_nddata(nd)
    assert all(variable.chunks is not None for variable in ds.data_vars.values())
    assert ds["data_sigma"].values.max() == 1


# --- writing


@pytest.mark.slow
@given(
    y=st.tuples(st.integers(0, 20), st.integers(1, 30), st.sampled_from([-3, -2, -1, 1, 2, 5])),
    x=st.tuples(st.integers(0, 20), st.integers(1, 30), st.sampled_from([-3, -1, 1, 2, 4])),
    velocity=st.one_of(st.integers(0, 4), st.sampled_from([slice(None), slice(None, None, -1), slice(1, None, 2)])),
    order=st.permutations(["velocity", "y", "x"]),
)
@settings(deadline=None, max_examples=60)
def test_positions_survive_any_even_selection(y: Any, x: Any, velocity: Any, order: Any) -> None:
    array = from_fits(image(shape=(5, 24, 26)))
    rows, columns = (np.sort(np.arange(a, a + n))[::s] for a, n, s in (y, x))
    part = array.isel(y=rows[rows < 24], x=columns[columns < 26], velocity=velocity)
    if 0 in part.shape:
        return
    moved = part.transpose(*(dim for dim in order if dim in part.dims))
    hdu = to_hdulist(moved)[1]
    assert_same_sky(part, hdu)
    np.testing.assert_array_equal(hdu.data, part.values)


@pytest.mark.parametrize("scalar", [{"y": 3}, {"x": 2}, {"y": [3]}, {"y": 3, "velocity": 0}])
def test_one_row_keeps_its_place(scalar: dict[str, Any]) -> None:
    part = from_fits(image()).isel(scalar)
    hdu = to_hdulist(part)[1]
    assert 1 in hdu.shape
    assert_same_sky(part, hdu)


def test_the_header_keeps_frames() -> None:
    header = to_hdulist(from_fits(image()).isel(velocity=0))[1].header
    assert (header["RADESYS"], header["EQUINOX"], header["SPECSYS"]) == ("FK5", 2000.0, "LSRK")
    assert header["RESTFRQ"] == 1.1027e11
    assert header["BUNIT"] == "K"
    assert to_hdulist(from_fits(image()))[0].header["OBJECT"] == "cloud"


def test_averaged_pixels_have_their_middle() -> None:
    part = from_fits(image(shape=(4, 8, 12))).coarsen(y=2, x=3).mean()
    wcs = WCS(to_hdulist(part)[1].header).celestial
    whole = WCS(header_of()).celestial
    np.testing.assert_allclose(
        wcs.pixel_to_world_values(1, 2), whole.pixel_to_world_values(4, 4.5), rtol=0, atol=1e-9
    )  # columns 3 to 5 and rows 4 and 5


def back_from(store: str, obj: xr.Dataset, folder: Path) -> xr.Dataset:
    if store == "zarr":
        obj.to_zarr(folder / "a.zarr", consolidated=False, mode="w")
        return xr.open_zarr(folder / "a.zarr", consolidated=False).load()
    obj.to_netcdf(folder / "a.nc", engine=store)
    return xr.load_dataset(folder / "a.nc", engine=store)


@pytest.mark.parametrize("store", ["netcdf4", "h5netcdf", "zarr"])
@pytest.mark.parametrize("what", ["result", "data", "chunks"])
def test_round_trip_through_a_store(store: str, what: str, tmp_path: Path, path: Path) -> None:
    if what == "result":
        obj = from_fits(path).modelfit(Gaussian1D(1, 12500, 500), dim="velocity", errors="ignore")
    else:
        obj = from_fits(path, chunks=None if what == "data" else {}).isel(y=slice(1, None, 2)).to_dataset()
        if store == "zarr":
            obj = obj.astype("f8")  # before 3.1 it cannot write the byte order of FITS
    back = back_from(store, obj, tmp_path)
    xr.testing.assert_equal(back, obj.compute())
    assert back["wcs"].attrs["fits_header"] == obj["wcs"].attrs["fits_header"]
    assert back.attrs == obj.attrs
    name = "mean" if what == "result" else "data"
    assert_same_sky(obj[name].compute(), to_hdulist(back)[name.upper()])


def test_labels_of_other_dims_are_comments(path: Path) -> None:
    result = from_fits(path).modelfit(Gaussian1D(1, 12500, 500), dim="velocity", covariance=True, errors="ignore")
    hdu = to_hdulist(result)["COVARIANCE"]
    assert hdu.shape == (3, 3, 6, 7)
    assert "Along axis 3, cov_j: amplitude, mean, stddev" in list(hdu.header["COMMENT"])
    assert_same_sky(result["mean"], to_hdulist(result)["MEAN"])


def test_long_headers_are_kept(tmp_path: Path) -> None:
    header = header_of()
    for i in range(3000):
        header.add_history(f"step {i} of the reduction, which was told at some length")
    array = from_fits(image(header))
    array.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(xr.load_dataarray(tmp_path / "a.nc")["wcs"], array["wcs"])


def test_maps_of_a_fit(path: Path, tmp_path: Path) -> None:
    result = from_fits(path).modelfit(Gaussian1D(1, 12500, 500), dim="velocity", errors="ignore")
    hdus = to_hdulist(result)
    hdus.writeto(tmp_path / "maps.fits")
    with fits.open(tmp_path / "maps.fits") as back:
        assert back[0].data is None
        assert [hdu.name for hdu in back[1:]] == [*(str(name).upper() for name in result.data_vars), "MODELFIT"]
        assert back["MEAN"].header["BUNIT"] == result["mean"].attrs["units"]
        assert back["FIT_STATUS"].data.dtype.kind == "i"
        assert "1: converged" in list(back["FIT_STATUS"].header["COMMENT"])
        np.testing.assert_array_equal(back["FIT_STATUS"].data, result["fit_status"])
    again = from_fits(tmp_path / "maps.fits")
    assert list(again.data_vars) == list(result.data_vars)
    np.testing.assert_array_equal(again["mean"], result["mean"])
    np.testing.assert_allclose(again["ra"], result["ra"], rtol=0, atol=1e-9)


def test_errors_and_flags_come_back(read: Read) -> None:
    flags = np.random.default_rng(3).integers(0, 2, size=(5, 6, 7)).astype(">i4")
    ds = read(with_companions(ext("SCI"), ext("STAT"), ext("DQ", flags))).load()
    again = read(to_hdulist(ds))
    for name in ds.data_vars:
        np.testing.assert_array_equal(again[name], ds[name])
        assert again[name].dtype.kind == ds[name].dtype.kind


def test_renamed_dims_keep_their_place() -> None:
    part = from_fits(image()).rename(y="row", x="column", velocity="v").isel(row=slice(1, 4))
    hdu = to_hdulist(part)[1]
    assert_same_sky(part.rename(row="y", column="x", v="velocity"), hdu)


def test_a_converted_coordinate_is_still_known() -> None:
    array = from_fits(image())
    in_km = array.assign_coords(
        velocity=("velocity", array["velocity"].values / 1e3, array["velocity"].attrs | {"units": "km s-1"})
    )
    assert_same_sky(array, to_hdulist(in_km)[1])


def test_dims_without_a_wcs_get_a_linear_axis() -> None:
    array = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4),
        dims=("step", "lat", "lon"),
        coords={"lat": ("lat", np.float32([10, 9.9, 9.8]), {"units": "degrees_north"}), "lon": [0.0, 0.25, 0.5, 0.75]},
        attrs={"units": "°C"},
        name="t2m",
    )
    hdu = to_hdulist(array)["T2M"]
    header = hdu.header
    assert [header[f"CTYPE{i}"] for i in (1, 2, 3)] == ["LON", "LAT", "STEP"]
    assert (header["CRVAL1"], header["CDELT1"], header["CRPIX1"]) == (0.0, 0.25, 1.0)
    np.testing.assert_allclose([header["CRVAL2"], header["CDELT2"]], [10, -0.1], rtol=1e-6)
    assert header["BUNIT"].isascii()
    again = from_fits(hdu)
    assert again.dims == ("step", "lat", "lon")
    np.testing.assert_allclose(again["lat"], array["lat"], rtol=1e-6)


# What FITS can say, and by hand what it means.
ERG = 1e-20 * u.erg / u.s / u.cm**2
SAID: dict[str, Any] = {
    "K": u.K,
    "km/s": u.km / u.s,
    "1e-20 erg Angstrom-2 cm-2 s-1": ERG / u.AA**2,
    "10**-20 erg/s/cm**2/Angstrom": ERG / u.AA,
    "10^-17 erg/s/cm^2/Angstrom": 1e-17 * u.erg / u.s / u.cm**2 / u.AA,
    "W/m2 sr": u.W / u.m**2 * u.sr,
    "mm day-1": u.mm / u.d,
    "degree": u.deg,
    "degrees_north": u.deg,
    "degC": u.deg_C,
    "degC d-1": u.deg_C / u.d,
    "%": 1e-2 * u.one,
    "psu": 1e-3 * u.one,
    "µm": u.um,
    "Jy/beam": u.Jy / u.beam,
    "m(1/2)": u.m**0.5,
    "mbar": 100 * u.Pa,
    "0.01 K": 0.01 * u.K,
    "12 Jy": 12 * u.Jy,
    "0.5 km": 500 * u.m,
    "knot": 1852 * u.m / u.h,
    "weeks": 7 * u.d,
    "nautical_mile-2": 1852**-2 * u.m**-2,
    "dyn": 1e-5 * u.N,
    "": u.one,
    "1": u.one,
    "1000": 1000 * u.one,
}


@pytest.mark.parametrize("text", list(SAID))
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16])
def test_units_are_said_as_fits_takes_them(text: str, kind: Any) -> None:
    """By astropy's strict reader a number of the file is what it is in the array; so are positions of an axis."""
    coords = {"t": ("t", [2.0, 3.0, 4.0], {"units": text})}
    array = xr.DataArray(np.array([1, 5, 7], dtype=kind), coords, "t", name="a", attrs={"units": text})
    hdu = to_hdulist(array)["A"]
    right = u.Quantity(1, SAID[text])
    for key, numbers, stored in (
        ("BUNIT", hdu.data, [1, 5, 7]),
        ("CUNIT1", hdu.header["CRVAL1"] + hdu.header["CDELT1"] * np.arange(3), [2, 3, 4]),
    ):
        unit = u.Unit(hdu.header.get(key, ""), format="fits")
        factor = 1.0 if unit == right.unit else (1 * unit).to_value(right.unit)  # degrees Celsius have no factor
        np.testing.assert_allclose(numbers * factor, np.array(stored) * right.value, rtol=4 * np.finfo(np.float32).eps)
    assert hdu.data.dtype.kind == ("i" if kind is np.int16 and (hdu.data == array).all() else "f")
    again = from_fits(hdu)
    assert parse_unit(again.attrs.get("units", "")) == u.Unit(hdu.header.get("BUNIT", ""), format="fits")


@pytest.mark.quick_share(4)
@pytest.mark.parametrize("data", [t for t in SAID if "degC" not in t])
def test_units_of_results_are_said_as_fits_takes_them(data: str) -> None:
    """Slopes, curvatures, chi-square: whatever units the coordinate and the data have."""
    for over, per in (("m s-1", u.m / u.s), ("Angstrom", u.AA), ("12 s", 12 * u.s), ("knot", 1852 * u.m / u.h)):
        coords = {"x": ("x", np.arange(8.0), {"units": over})}
        array = xr.DataArray(np.arange(8.0) ** 2 + 1, coords, "x", name="a", attrs={"units": data}).expand_dims(p=2)
        result = array.modelfit(Polynomial1D(2), dim="x", errors="ignore")
        hdus = to_hdulist(result)
        for name, power in (("c0", 0), ("c1", -1), ("c2", -2), ("c2_stderr", -2)):
            header = hdus[name.upper()].header
            right = u.Quantity(1, SAID[data]) * u.Quantity(1, per) ** power
            got = hdus[name.upper()].data * u.Unit(header.get("BUNIT", ""), format="fits")
            np.testing.assert_allclose(got.to_value(right.unit), result[name] * right.value, rtol=1e-12)
        right = u.Quantity(1, SAID[data]) ** 2
        got = hdus["CHI2"].data * u.Unit(hdus["CHI2"].header.get("BUNIT", ""), format="fits")
        np.testing.assert_allclose(got.to_value(right.unit), result["chi2"] * right.value, rtol=1e-12)


@pytest.mark.parametrize("text", ["electron", "DN", "DN/s", "degF", "dex", "furlongs per foo", "R"])
def test_a_unit_that_fits_has_no_word_for_is_written_as_it_is(text: str) -> None:
    array = xr.DataArray(np.arange(3.0), dims="t", name="a", attrs={"units": text})
    hdu = to_hdulist(array)["A"]
    assert hdu.header["BUNIT"] == text
    np.testing.assert_array_equal(hdu.data, array)
    assert from_fits(hdu).attrs["units"] == text


def test_c_on_a_temperature_is_no_coulomb_in_a_file() -> None:
    array = xr.DataArray([1.0, 2.0], dims="t", name="tas", attrs={"units": "C"})
    assert u.Unit(to_hdulist(array)["TAS"].header["BUNIT"], format="fits") == u.deg_C
    assert u.Unit(to_hdulist(array.rename("q"))["Q"].header["BUNIT"], format="fits") == u.C


@pytest.mark.parametrize(
    ("data", "variance", "error"),
    [
        ("erg/s/cm2/Angstrom", "erg2/s2/cm4/Angstrom2", ERG * 1e20 / u.AA),
        ("10**-20 erg/s/cm2", "10**-40 erg2/s2/cm4", ERG),
        ("W/m2/sr", "mW2/m4/sr2", u.mW / u.m**2 / u.sr),
        ("K km/s", "(K km/s)**2", u.K * u.km / u.s),
    ],
)
def test_slashes_in_units_of_errors(read: Read, data: str, variance: str, error: Any) -> None:
    """From left to right, as everywhere."""
    ds = read(with_companions(ext("SCI", BUNIT=data), ext("STAT", BUNIT=variance)))
    right = u.Quantity(1, error)
    np.testing.assert_allclose((1 * parse_unit(ds["sci_sigma"].attrs["units"])).to_value(right.unit), right.value)
    if "mW" not in variance:
        assert ds["sci_sigma"].attrs["units"] == data


def test_a_sky_whose_other_axis_is_gone_is_left_out() -> None:
    header = to_hdulist(from_fits(image()).mean("y"))[1].header
    assert not any(str(value).startswith("RA-") for value in header.values())
    assert header["CTYPE1"] == "VRAD"  # still known, now the first
    assert header["CTYPE2"] == "X"


def test_a_fit_along_the_sky() -> None:
    result = from_fits(image(shape=(5, 6, 7))).modelfit(Gaussian1D(1, 3, 2), dim="x", errors="ignore")
    header = to_hdulist(result)["MEAN"].header
    assert {header["CTYPE1"], header["CTYPE2"]} == {"VRAD", "Y"}


def sheared(**more: Any) -> fits.Header:
    """A slit: the wavelength depends on the position."""
    return header_of(CTYPE3="WAVE", CUNIT3="nm", CRVAL3=500.0, PC3_1=0.3, **more)


def test_maps_of_a_sheared_slit_keep_the_sky() -> None:
    array = from_fits(image(sheared()))
    assert array["wavelength"].dims == ("z", "x")
    result = array.mean("z").isel(y=slice(None, None, 2))
    assert_same_sky(result, to_hdulist(result)[1])
    part = array.isel(z=slice(1, None, 2), x=slice(None, None, -2))
    hdu = to_hdulist(part)[1]
    expected = part["wavelength"].values[:, None, :] + np.zeros((1, 6, 1))
    np.testing.assert_allclose(positions(hdu)["WAVE"], expected, rtol=1e-12)


def test_a_slit_without_its_sky_keeps_the_wavelength() -> None:
    array = from_fits(image(sheared())).mean("y").isel(x=slice(1, None, 2))
    found = positions(to_hdulist(array)[1])
    np.testing.assert_allclose(found["WAVE"], array["wavelength"].values, rtol=1e-12)
    np.testing.assert_allclose(found[""], np.broadcast_to(array["x"].values, (5, 3)), rtol=1e-12)


def test_the_sky_of_a_sheared_cube_is_not_invented() -> None:
    array = from_fits(image(header_of(PC1_3=0.3)))
    assert array["ra"].dims == ("z", "y", "x")
    header = to_hdulist(array.mean("z"))[1].header
    assert not any(str(value).startswith("RA-") for value in header.values())
    one = array.isel(z=2)
    hdu = to_hdulist(one)[1]
    assert hdu.shape == (1, 6, 7)
    np.testing.assert_allclose(positions(hdu)["RA---TAN"][0], one["ra"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "keywords", [{"CD1_1": -0.003, "CD1_2": 0.001, "CD2_1": 0.001, "CD2_2": 0.003}, {"CROTA2": 30}]
)
def test_old_ways_to_rotate(keywords: dict[str, Any]) -> None:
    header = header_of()
    for key in [key for key in header if key.startswith("PC")]:
        del header[key]
    if "CROTA2" not in keywords:
        for key in ("CDELT1", "CDELT2", "CDELT3"):
            del header[key]
        keywords = keywords | {"CD3_3": 0.4}
    header.update(keywords)
    array = from_fits(image(header)).isel(y=slice(None, None, -2), x=slice(1, None, 3))
    assert_same_sky(array, to_hdulist(array)[1])


def distorted() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cdelt = (4, 5), (40, 30), (-0.02, 0.03)
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[1, 1], a[0, 3], b[0, 2], b[2, 1] = 1e-3, -4e-4, 1e-5, 2e-3, 5e-5
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize(
    "selection", [{}, {"y": slice(2, 9)}, {"y": slice(None, None, -3), "x": slice(1, None, 2)}, {"x": 3}]
)
def test_distortions_move_along(selection: dict[str, Any]) -> None:
    wcs = distorted()
    header = wcs.to_header(relax=True)
    part = from_fits(fits.PrimaryHDU(values_of(10, 12), header)).isel(selection)
    exact = xr.DataArray(np.zeros((10, 12)), coords=coords_from_wcs(wcs, (10, 12))).isel(selection)
    np.testing.assert_allclose(part["ra"], exact["ra"], rtol=1e-12)
    assert_same_sky(exact, to_hdulist(part)[1])


@pytest.mark.parametrize("ctype", ["WAVE-LOG", "AWAV", "FREQ-W2F", "STOKES", "LINEAR"])
def test_axes_that_are_not_linear(ctype: str) -> None:
    header = header_of(CTYPE3=ctype, CRVAL3=5e-7 if "W" in ctype[:4] else 3.0, CDELT3=1e-9 if "W" in ctype[:4] else 1.0)
    header["CUNIT3"] = "m" if "W" in ctype[:4] else "Hz" if ctype == "FREQ-W2F" else ""
    if ctype == "FREQ-W2F":
        header["CRVAL3"], header["CDELT3"], header["RESTFRQ"] = 5e14, 1e12, 5e14
    array = from_fits(image(header))
    dim = array.dims[0]
    part = array.isel({dim: slice(None, None, -2)})
    found = positions(to_hdulist(part)[1])
    name = next(name for name in found if name[:4] == ctype[:4])
    np.testing.assert_allclose(found[name][:, 0, 0], part[dim], rtol=1e-12)


def permuted() -> fits.Header:
    """The first world axis goes along the third pixel axis, and so on."""
    header = fits.Header({"CTYPE1": "FREQ", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN", "CRVAL1": 1e9, "CDELT1": 1e6})
    header.update({"CRVAL2": 40.0, "CRVAL3": 30.0, "CDELT2": -0.01, "CDELT3": 0.02})
    header.update({"PC1_1": 0.0, "PC2_2": 0.0, "PC3_3": 0.0, "PC1_3": 1.0, "PC2_1": 1.0, "PC3_2": 1.0})
    return header


def test_permuted_axes() -> None:
    array = from_fits(image(permuted()))
    assert array.dims == ("frequency", "y", "x")
    frequency, ra, _ = WCS(permuted()).array_index_to_world_values(*np.indices(array.shape))
    np.testing.assert_array_equal(array["frequency"], frequency[:, 0, 0])
    np.testing.assert_array_equal(array["ra"], ra[0])
    with pytest.raises(ValueError, match=r"axis 3, 'DEC--TAN', goes along pixel axes of other numbers"):
        to_hdulist(array.mean("frequency"))


def test_inputs_are_not_changed(path: Path) -> None:
    array = from_fits(path)
    before = array.copy(deep=True)
    to_hdulist(array)
    to_hdulist(array.to_dataset())
    xr.testing.assert_identical(array, before)
    hdu = image()
    header = hdu.header.copy()
    from_fits(hdu)
    assert hdu.header == header


def test_lazy_maps_are_computed_in_one_go(path: Path) -> None:
    counted = []
    lazy = from_fits(path, chunks={"y": 3}).map_blocks(lambda block: counted.append(1) or block)
    ds = xr.Dataset({"a": lazy, "b": 2 * lazy})
    counted.clear()
    to_hdulist(ds)
    assert len(counted) <= 3


def test_types_that_fits_does_not_have() -> None:
    ds = xr.Dataset({"flag": ("x", [True, False]), "byte": ("x", np.int8([-1, 2])), "half": ("x", np.float16([1, 2]))})
    hdus = to_hdulist(ds)
    assert [hdus[name].header["BITPIX"] for name in ("FLAG", "BYTE", "HALF")] == [8, 16, -32]
    np.testing.assert_array_equal(hdus["BYTE"].data, [-1, 2])


# --- real files


def test_the_13co_cube(shared_data: Path) -> None:
    array = from_fits(shared_data / "l1448_13co.fits")
    assert array.dims == ("velocity", "y", "x")
    assert array["velocity"].attrs["units"] == "m s-1"
    wcs = WCS(fits.getheader(shared_data / "l1448_13co.fits"))
    ra, dec, velocity = wcs.array_index_to_world_values(*np.indices(array.shape))
    np.testing.assert_allclose(array["ra"].values + 0 * ra, ra, rtol=1e-12)
    np.testing.assert_allclose(array["dec"].values + 0 * dec, dec, rtol=1e-12)
    np.testing.assert_allclose(array["velocity"].values, velocity[:, 0, 0], rtol=1e-12)
    part = array.isel(y=slice(40, 60, 3), x=slice(50, 40, -2))
    result = part.modelfit(Gaussian1D(1, 4000, 500), dim="velocity", errors="ignore")
    assert result["mean"].attrs["units"] == "m s-1"
    assert_same_sky(result["mean"], to_hdulist(result)["MEAN"])


def test_the_n2hp_cube(shared_data: Path) -> None:
    array = from_fits(shared_data / "n2hp_cube.fits")
    assert array.dims == ("velocity", "y", "x")
    np.testing.assert_array_equal(array["x"], [0, 1])
    assert array.attrs["units"] == "K"
    header = to_hdulist(array)[1].header
    assert header["CTYPE3"] == "VELOCITY"


def test_the_muse_cube(shared_data: Path) -> None:
    ds = from_fits(shared_data / "muse_central_cube.fits")
    assert list(ds.data_vars) == ["data", "data_sigma"]
    assert ds["data"].dims == ("wavelength", "y", "x")
    wcs = WCS(fits.getheader(shared_data / "muse_central_cube.fits", 1))
    np.testing.assert_allclose(ds["wavelength"], wcs.array_index_to_world_values(np.arange(10), 0, 0)[2], rtol=1e-12)
    variance = fits.getdata(shared_data / "muse_central_cube.fits", 2)
    np.testing.assert_array_equal(ds["data_sigma"], np.sqrt(variance))
    assert ds["data_sigma"].attrs["units"] == ds["data"].attrs["units"] == "10**-20 Angstrom-1 cm-2 erg s-1"
    assert_same_sky(ds["data"].isel(wavelength=0), to_hdulist(ds.isel(wavelength=0))["DATA"])


# --- wrong calls


def test_wrong_sources(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="source is an ndarray; pass the path of a FITS file, an image HDU or"):
        from_fits(np.zeros((3, 4)))
    with pytest.raises(FileNotFoundError):
        from_fits(tmp_path / "none.fits")
    with pytest.raises(ValueError, match="There is no image in the file, only 0: PrimaryHDU"):
        from_fits(fits.HDUList([fits.PrimaryHDU()]))
    with pytest.raises(ValueError, match="an HDU without data"):
        from_fits(fits.PrimaryHDU())
    with pytest.raises(ValueError, match="source is a single HDU"):
        from_fits(image(), hdu=1)


def test_wrong_hdus() -> None:
    hdus = with_companions(ext("SCI"), ext("ERR"))
    with pytest.raises(KeyError, match=r"hdu is 'SCU', and there is no such HDU. Did you mean 'SCI'\? The file has"):
        from_fits(hdus, hdu="SCU")
    with pytest.raises(KeyError, match="hdu is 7, and there is no such HDU"):
        from_fits(hdus, hdu=7)
    with pytest.raises(ValueError, match=r"hdu is 0, which is no image. The file has 0: PrimaryHDU; 1 'SCI': image"):
        from_fits(hdus, hdu=0)
    with pytest.raises(ValueError, match="name at least one HDU, and each once"):
        from_fits(hdus, hdu=["SCI", 1])
    with pytest.raises(ValueError, match="name at least one HDU, and each once"):
        from_fits(hdus, hdu=[])


def test_hdus_that_do_not_fit_together() -> None:
    small = ext("WHITE", np.zeros((6, 7), dtype=">f4"))
    with pytest.raises(
        ValueError, match=r"HDU 3 \('WHITE'\) has the shape \(6, 7\), HDU 1 \('SCI'\) \(5, 6, 7\): they"
    ):
        from_fits(with_companions(ext("SCI"), ext("ERR"), small))
    with pytest.raises(ValueError, match=r"hdu='SCI' or hdu=\['SCI', 'ERR'\] for some. The file has"):
        from_fits(with_companions(ext("SCI"), ext("ERR"), small))
    with pytest.raises(ValueError, match=r"HDU 2 \('ERR'\) has another WCS than HDU 1 \('SCI'\)"):
        from_fits(with_companions(ext("SCI"), ext("ERR", CRVAL1=10.0)))


def test_wrong_chunks(path: Path) -> None:
    with pytest.raises(ValueError, match=r"chunks names the dim 'velocty'.*Did you mean 'velocity'\?"):
        from_fits(path, chunks={"velocty": 3})
    with pytest.raises(TypeError, match="chunks is a list; pass"):
        from_fits(path, chunks=[1, 2])
    with pytest.raises(TypeError, match="chunks is a str; pass"):
        from_fits(path, chunks="many")


def test_a_wcs_that_cannot_be_read() -> None:
    header = header_of(CTYPE2="DEC--SIN")
    with pytest.raises(ValueError, match=r"HDU 0: The WCS cannot be read: .* Pass wcs=False for pixel numbers"):
        from_fits(image(header))
    assert from_fits(image(header), wcs=False).dims == ("z", "y", "x")


def test_wrong_nddata() -> None:
    with pytest.raises(TypeError, match="nddata is an ndarray; pass an NDData, a CCDData, or an NDCube"):
        from_nddata(np.zeros(3))
    with pytest.raises(TypeError, match="nddata is a DataArray"):
        from_nddata(xr.DataArray([1.0]))
    with pytest.raises(TypeError, match="UnknownUncertainty, which does not say what its numbers are"):
        from_nddata(NDData(np.zeros(3), uncertainty=UnknownUncertainty(np.ones(3))))


def no_reading(array: xr.DataArray) -> xr.DataArray:
    def fail(block: Any) -> Any:
        raise AssertionError("samples were read")

    return array.chunk().map_blocks(fail, template=array.chunk())


def test_wrong_maps() -> None:
    array = no_reading(from_fits(image()))
    with pytest.raises(TypeError, match="obj is an ndarray; pass a Dataset, for example a fit result, or a DataArray"):
        to_hdulist(np.zeros((3, 4)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Positions along 'y' have no even step.*\.isel\(y=slice\(\.\.\.\)\)"):
        to_hdulist(array.isel(y=[0, 1, 3]))
    with pytest.raises(ValueError, match="Positions along 'velocity' have no even step"):
        to_hdulist(array.isel(velocity=[0, 1, 3]))
    with pytest.raises(ValueError, match="Positions along 'y' have no even step"):
        to_hdulist(array.isel(y=[2, 2]))
    with pytest.raises(ValueError, match="The variable 'data' has nothing along 'y'"):
        to_hdulist(array.isel(y=slice(0, 0)))
    with pytest.raises(TypeError, match=r"The variable 'name' holds .*, which no FITS image does. Leave it out"):
        to_hdulist(xr.Dataset({"data": array, "name": ("y", list("abcdef"))}))
    with pytest.raises(TypeError, match="holds complex128"):
        to_hdulist(array.astype(complex))
    uneven = xr.DataArray(np.zeros(3), coords={"lat": [1.0, 2.0, 4.0]}, dims="lat")
    with pytest.raises(ValueError, match=r"Positions along 'lat' have no even step.*\.drop_vars\('lat'\)"):
        to_hdulist(uneven)
    assert to_hdulist(uneven.drop_vars("lat"))[1].shape == (3,)


def test_tables_that_the_header_does_not_hold() -> None:
    from test_wcs import table_hdus, with_lookup

    array = from_fits(table_hdus())
    np.testing.assert_allclose(array["wavelength"], [500, 501, 504, 510, 530], rtol=1e-12)
    assert array["wavelength"].attrs["units"] == "nm"
    with pytest.raises(ValueError, match=r"The WCS along 'wavelength' needs a lookup table \(-TAB\)"):
        to_hdulist(array)
    flat = array.mean("wavelength")
    assert_same_sky(flat, to_hdulist(flat)[1])

    wcs = with_lookup()
    assert isinstance(wcs.cpdis1, DistortionLookupTable)
    array = xr.DataArray(np.zeros((6, 7)), coords=coords_from_wcs(wcs, (6, 7)))
    with pytest.raises(ValueError, match=r"needs a table of distortions.*\.drop_vars\('wcs'\)"):
        to_hdulist(array)
    assert to_hdulist(array.drop_vars("wcs"))[1].header["CTYPE1"] == "X"

    hdus = wcs.to_fits(relax=True)
    hdus[0].data = values_of(6, 7)
    read = from_fits(hdus, hdu=0)
    np.testing.assert_allclose(read["ra"], array["ra"], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="needs a table of distortions"):
        to_hdulist(read)
