"""Coordinates of a WCS against the WCS itself, for all kinds that astropy can make."""

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS, Sip
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS

from xr_modelfit.fits_io.wcs import coords_from_wcs

SKY = {"crpix": (4.5, -2.0), "crval": (40.0, 30.0), "cdelt": (-0.02, 0.03)}


def put(wcs: WCS, key: str, value: Any) -> None:
    if key == "pv":
        wcs.wcs.set_pv(value)
    else:
        setattr(wcs.wcs, key, value)


def sky(projection: str, lon: str = "RA", lat: str = "DEC", **keywords: Any) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = f"{lon:-<4}-{projection}", f"{lat:-<4}-{projection}"
    for key, value in (SKY | keywords).items():
        put(wcs, key, value)
    wcs.wcs.set()
    return wcs


def cube(ctype: str, unit: str, crval: float, cdelt: float, **keywords: Any) -> WCS:
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN", ctype
    wcs.wcs.cunit = "deg", "deg", unit
    wcs.wcs.crpix = 4.5, -2, 2
    wcs.wcs.crval = 40, 30, crval
    wcs.wcs.cdelt = -0.02, 0.03, cdelt
    for key, value in keywords.items():
        put(wcs, key, value)
    wcs.wcs.set()
    return wcs


def line(ctype: str, unit: str, crval: float, cdelt: float, **keywords: Any) -> WCS:
    wcs = WCS(naxis=1)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.crval, wcs.wcs.cdelt = [ctype], [unit], [crval], [cdelt]
    wcs.wcs.crpix = [2.5]
    for key, value in keywords.items():
        put(wcs, key, value)
    wcs.wcs.set()
    return wcs


def with_pc(wcs: WCS, *entries: tuple[int, int, float]) -> WCS:
    pc = np.eye(wcs.naxis)
    for i, j, value in entries:
        pc[i, j] = value
    wcs.wcs.pc = pc
    wcs.wcs.set()
    return wcs


def with_cd() -> WCS:
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 3.0, "CRVAL1": 10.0, "CRVAL2": 20.0}
    return WCS(fits.Header(header | {"CD1_1": -0.01, "CD1_2": 0.004, "CD2_1": 0.003, "CD2_2": 0.012}))


def with_crota() -> WCS:
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 3.0, "CRVAL1": 10.0, "CRVAL2": 20.0}
    return WCS(fits.Header(header | {"CDELT1": -0.01, "CDELT2": 0.012, "CROTA2": 30.0}))


def with_sip() -> WCS:
    wcs = sky("TAN-SIP")
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], a[1, 1], b[0, 2], b[1, 1] = 1e-3, -4e-4, 2e-3, 5e-4
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def with_lookup() -> WCS:
    from astropy.wcs import DistortionLookupTable

    wcs = sky("TAN")
    table = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    wcs.cpdis1 = DistortionLookupTable(table, (1, 1), (1, 1), (1, 1))
    wcs.cpdis2 = DistortionLookupTable(table[::-1].copy(), (1, 1), (1, 1), (1, 1))
    return wcs


def table_hdus() -> fits.HDUList:
    """An image whose spectral axis is in a table, uneven."""
    values = np.array([[500.0, 501.0, 504.0, 510.0, 530.0]]).reshape(1, 5, 1)
    column = fits.Column("WAVE", "5D", dim="(1,5)", array=values)
    table = fits.BinTableHDU.from_columns([column], name="WCS-TABLE")
    image = fits.PrimaryHDU(np.zeros((5, 3, 4)))
    image.header.update(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 40.0, "CRVAL2": 30.0, "CDELT1": -0.1, "CDELT2": 0.1}
        | {"CTYPE3": "WAVE-TAB", "CUNIT3": "nm", "PS3_0": "WCS-TABLE", "PS3_1": "WAVE", "CRPIX3": 1.0, "CRVAL3": 1.0}
    )
    return fits.HDUList([image, table])


def with_table() -> WCS:
    hdus = table_hdus()
    return WCS(hdus[0].header, hdus)


def four() -> WCS:
    wcs = WCS(naxis=4)
    wcs.wcs.ctype = "RA---SIN", "DEC--SIN", "FREQ", "STOKES"
    wcs.wcs.crval, wcs.wcs.cdelt = (180, -20, 1.4e9, 1), (-0.01, 0.01, 1e5, 1)
    wcs.wcs.set()
    return wcs


def spectral_first() -> WCS:
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "VRAD", "GLON-CAR", "GLAT-CAR"
    wcs.wcs.cunit = "km/s", "deg", "deg"
    wcs.wcs.crval, wcs.wcs.cdelt = (-10, 30, 0), (0.3, -0.1, 0.1)
    wcs.wcs.set()
    return wcs


REST = {"restfrq": 1.15e11}
KINDS: dict[str, tuple[Any, tuple[int, ...], tuple[str, ...], tuple[str, ...]]] = {
    # name: (wcs, shape, dims, other coordinates)
    **{
        f"sky {p}": (sky(p, pv=pv) if pv else sky(p), (3, 5), ("y", "x"), ("ra", "dec"))
        for p, pv in [
            *((p, None) for p in ("TAN", "SIN", "STG", "ARC", "ZEA", "CAR", "SFL", "MOL", "AIT", "MER", "CEA", "PAR")),
            *((p, [(2, 1, 45.0)]) for p in ("COP", "COE", "COD", "COO", "BON")),
            ("ZPN", [(2, 1, 1.0), (2, 3, 0.1)]),
            ("TSC", None),
            ("AZP", None),
        ]
    },
    "whole sky": (sky("AIT", crval=(0, 0), cdelt=(-40, 40), crpix=(5.5, 3)), (5, 10), ("y", "x"), ("ra", "dec")),
    "galactic": (sky("TAN", "GLON", "GLAT"), (3, 5), ("y", "x"), ("glon", "glat")),
    "ecliptic": (sky("TAN", "ELON", "ELAT"), (3, 5), ("y", "x"), ("elon", "elat")),
    "sun": (sky("TAN", "HPLN", "HPLT"), (3, 5), ("y", "x"), ("hpln", "hplt")),
    "carrington": (sky("CAR", "CRLN", "CRLT"), (3, 5), ("y", "x"), ("crln", "crlt")),
    "declination first": (sky("TAN", "DEC", "RA"), (3, 5), ("y", "x"), ("dec", "ra")),
    "rotated": (with_pc(sky("TAN"), (0, 1, 0.5), (1, 0, -0.5)), (3, 5), ("y", "x"), ("ra", "dec")),
    "cd": (with_cd(), (3, 5), ("y", "x"), ("ra", "dec")),
    "crota": (with_crota(), (3, 5), ("y", "x"), ("ra", "dec")),
    "sip": (with_sip(), (6, 7), ("y", "x"), ("ra", "dec")),
    "lookup": (with_lookup(), (6, 7), ("y", "x"), ("ra", "dec")),
    "frequency": (cube("FREQ", "GHz", 115, 0.01), (4, 3, 2), ("frequency", "y", "x"), ("ra", "dec")),
    "wavelength": (cube("WAVE", "nm", 500, 0.1), (4, 3, 2), ("wavelength", "y", "x"), ("ra", "dec")),
    "air wavelength": (cube("AWAV", "Angstrom", 5000, 1), (4, 3, 2), ("wavelength", "y", "x"), ("ra", "dec")),
    "radio velocity": (cube("VRAD", "km/s", 5, 0.3, **REST), (4, 3, 2), ("velocity", "y", "x"), ("ra", "dec")),
    "optical velocity": (cube("VOPT", "m/s", 5, 300, **REST), (4, 3, 2), ("velocity", "y", "x"), ("ra", "dec")),
    "frequency as velocity": (
        cube("VOPT-F2W", "km/s", 9e3, 20, restwav=0.21),
        (4, 3, 2),
        ("velocity", "y", "x"),
        ("ra", "dec"),
    ),
    "velocity, old": (cube("VELOCITY", "m/s", 5, 300), (4, 3, 2), ("velocity", "y", "x"), ("ra", "dec")),
    "felo": (cube("FELO", "m/s", 5, 300, **REST), (4, 3, 2), ("velocity", "y", "x"), ("ra", "dec")),
    "linear, with a unit": (cube("LINEAR", "Angstrom", 6050, 1.25), (4, 3, 2), ("wavelength", "y", "x"), ("ra", "dec")),
    "energy": (cube("ENER", "keV", 5, 0.1), (4, 3, 2), ("energy", "y", "x"), ("ra", "dec")),
    "wavenumber": (cube("WAVN", "cm-1", 500, 2), (4, 3, 2), ("wavenumber", "y", "x"), ("ra", "dec")),
    "redshift": (cube("ZOPT", "", 0.5, 0.01, restwav=5e-7), (4, 3, 2), ("redshift", "y", "x"), ("ra", "dec")),
    "beta": (cube("BETA", "", 0.01, 1e-3, **REST), (4, 3, 2), ("beta", "y", "x"), ("ra", "dec")),
    "logarithmic": (cube("WAVE-LOG", "m", 5e-7, 1e-8), (4, 3, 2), ("wavelength", "y", "x"), ("ra", "dec")),
    "grism": (
        line("WAVE-GRI", "m", 5e-7, 1e-9, pv=[(1, 0, 4.5e5), (1, 1, 1.0), (1, 2, 27.0), (1, 3, 1.765)]),
        (6,),
        ("wavelength",),
        (),
    ),
    "table": (with_table(), (5, 3, 4), ("wavelength", "y", "x"), ("ra", "dec")),
    "time": (line("TIME", "s", 1000, 0.5, mjdref=(58849, 0)), (5,), ("time",), ()),
    "utc": (line("UTC", "d", 0.5, 0.25), (5,), ("time",), ()),
    "stokes": (line("STOKES", "", 1, 1), (4,), ("stokes",), ()),
    "of a unit only": (line("", "Hz", 1, 1), (4,), ("frequency",), ()),
    "of another kind": (line("SLITPOS", "", 1, 2), (4,), ("slitpos",), ()),
    "nothing told": (WCS(naxis=3), (4, 3, 2), ("z", "y", "x"), ()),
    "a scale only": (line("", "", 10, 0.5), (4,), ("axis_1",), ()),
    "four axes": (four(), (4, 3, 1, 2), ("stokes", "frequency", "y", "x"), ("ra", "dec")),
    "spectral axis first": (spectral_first(), (2, 3, 4), ("y", "x", "velocity"), ("glon", "glat")),
    "sheared slit": (
        with_pc(cube("WAVE", "nm", 500, 0.1), (2, 0, 0.7)),
        (4, 3, 2),
        ("z", "y", "x"),
        ("ra", "dec", "wavelength"),
    ),
    "sheared sky": (
        with_pc(cube("WAVE", "nm", 500, 0.1), (0, 2, 0.7)),
        (4, 3, 2),
        ("z", "y", "x"),
        ("ra", "dec", "wavelength"),
    ),
    "a row": (SlicedLowLevelWCS(cube("FREQ", "Hz", 5, 1), (slice(None), 2, slice(None))), (4, 2), None, ("ra", "dec")),
    "a part": (
        SlicedLowLevelWCS(cube("FREQ", "Hz", 5, 1), (slice(1, 4), slice(2, None), slice(None))),
        (3, 3, 2),
        ("frequency", "y", "x"),
        ("ra", "dec"),
    ),
    "one channel": (cube("FREQ", "Hz", 5, 1)[2], (3, 2), ("y", "x"), ("ra", "dec", "frequency")),
    "high level": (HighLevelWCSWrapper(sky("TAN")), (3, 5), ("y", "x"), ("ra", "dec")),
    "celestial part": (cube("FREQ", "Hz", 5, 1).celestial, (3, 5), ("y", "x"), ("ra", "dec")),
}


def low(wcs: Any) -> Any:
    return getattr(wcs, "low_level_wcs", wcs)


def is_world(coordinate: xr.DataArray) -> bool:
    return coordinate.name != "wcs" and (
        "fits_pixel_axis" not in coordinate.attrs or "fits_world_axis" in coordinate.attrs
    )


def in_order(coords: xr.Coordinates, wcs: Any) -> list[str]:
    """Names of the coordinates of the world axes, by their physical types, as astropy orders them."""
    left = [str(name) for name in coords if is_world(coords[name])]
    units = list(low(wcs).world_axis_physical_types)
    known = {"pos.eq.ra": "ra", "pos.eq.dec": "dec", "em.wl": "wavelength", "em.freq": "frequency"}
    ordered = [known[kind] for kind in units if kind in known]
    assert set(ordered) <= set(left)
    return ordered


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_are_the_numbers_of_the_wcs(kind: str) -> None:
    wcs, shape, dims, others = KINDS[kind]
    coords = coords_from_wcs(wcs, shape)
    if dims is not None:
        assert tuple(coords.dims) == dims
    assert set(others) <= set(coords)
    array = xr.DataArray(np.zeros(shape), coords=coords)
    expected = low(wcs).array_index_to_world_values(*np.indices(shape))
    expected = [expected] if low(wcs).world_n_dim == 1 else list(expected)
    given = [
        xr.broadcast(array, coords[name])[1].transpose(*array.dims).values for name in coords if is_world(coords[name])
    ]
    if kind == "nothing told":  # pixels that are counted from 1
        given = [xr.broadcast(array, array[dim] + 1)[1].transpose(*array.dims).values for dim in ("x", "y", "z")]
    for values in expected:
        scale = np.nanmax(np.abs(values))
        near = [np.allclose(one, values, rtol=1e-10, atol=1e-10 * scale, equal_nan=True) for one in given]
        assert any(near)
    for name in in_order(coords, wcs):  # and each by its name
        kinds = {"ra": "pos.eq.ra", "dec": "pos.eq.dec", "wavelength": "em.wl", "frequency": "em.freq"}
        i = list(low(wcs).world_axis_physical_types).index(kinds[name])
        values = xr.broadcast(array, coords[name])[1].transpose(*array.dims).values
        np.testing.assert_allclose(values, expected[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_attrs_are_text_and_numbers(kind: str) -> None:
    wcs, shape, _, _ = KINDS[kind]
    for coordinate in coords_from_wcs(wcs, shape).values():
        assert all(isinstance(value, str | int | float) for value in coordinate.attrs.values())


@pytest.mark.parametrize(
    ("kind", "name", "units"),
    [
        ("frequency", "frequency", "Hz"),
        ("wavelength", "wavelength", "m"),
        ("linear, with a unit", "wavelength", "Angstrom"),
        ("optical velocity", "velocity", "m s-1"),
        ("wavenumber", "wavenumber", "m-1"),
        ("energy", "energy", "J"),
        ("redshift", "redshift", None),
        ("stokes", "stokes", None),
        ("time", "time", "s"),
        ("sun", "hpln", "degree"),
        ("cd", "ra", "degree"),
    ],
)
def test_units(kind: str, name: str, units: str | None) -> None:
    wcs, shape, _, _ = KINDS[kind]
    assert coords_from_wcs(wcs, shape)[name].attrs.get("units") == units


def test_pixel_dims_carry_pixel_numbers_of_the_whole() -> None:
    whole = cube("FREQ", "Hz", 5, 1)
    full = xr.DataArray(np.zeros((6, 5, 4)), coords=coords_from_wcs(whole, (6, 5, 4)))
    cut = xr.Dataset(coords=coords_from_wcs(whole[1:4, 2, 1:], (3, 3))).drop_vars("wcs")
    expected = full.isel(frequency=slice(1, 4), y=2, x=slice(1, None)).coords.to_dataset().drop_vars("wcs")
    xr.testing.assert_allclose(cut, expected)
    assert cut["y"].attrs == expected["y"].attrs
    np.testing.assert_array_equal(cut["x"], [1, 2, 3])


def test_what_was_cut_away_is_a_scalar_coordinate() -> None:
    coords = coords_from_wcs(cube("FREQ", "Hz", 5, 1)[3], (3, 2))
    assert coords["frequency"].ndim == 0
    assert coords["frequency"].item() == 7


def test_a_slit_has_several_coordinates_on_one_dim() -> None:
    wcs = SlicedLowLevelWCS(with_pc(cube("WAVE", "nm", 500, 0.1), (2, 0, 0.7)), (1, 2, slice(None)))
    coords = coords_from_wcs(wcs, (6,))
    assert [coords[name].dims for name in ("ra", "dec", "wavelength")] == [("x",)] * 3
    for name, values in zip(("ra", "dec", "wavelength"), wcs.pixel_to_world_values(np.arange(6.0)), strict=True):
        np.testing.assert_allclose(coords[name], values, rtol=1e-12)


def test_only_what_depends_on_several_axes_has_them() -> None:
    coords = coords_from_wcs(with_pc(cube("WAVE", "nm", 500, 0.1), (2, 0, 0.7)), (4, 3, 2))
    assert coords["ra"].dims == ("y", "x")
    assert coords["wavelength"].dims == ("z", "x")


def test_names_are_unique() -> None:
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "FREQ", "VELOCITY", "VELOCITY"
    wcs.wcs.cunit = "Hz", "m/s", "m/s"
    wcs.wcs.cdelt = 2, 3, 4
    coords = coords_from_wcs(wcs, (2, 3, 4))
    assert tuple(coords.dims) == ("velocity_2", "velocity", "frequency")  # the first in the header comes first
    np.testing.assert_array_equal(coords["velocity_2"], [4, 8])


def test_dims_can_be_named() -> None:
    coords = coords_from_wcs(cube("FREQ", "Hz", 5, 1), (4, 3, 2), dims=("nu", "j", "i"))
    assert tuple(coords.dims) == ("nu", "j", "i")
    assert coords["ra"].dims == ("j", "i")
    np.testing.assert_array_equal(coords["nu"], [4, 5, 6, 7])


def test_the_frame_is_kept() -> None:
    wcs = cube("VRAD", "km/s", 5, 0.3, restfrq=1.15e11, specsys="LSRK", radesys="FK5", equinox=2000.0)
    attrs = coords_from_wcs(wcs, (4, 3, 2))["wcs"].attrs
    assert (attrs["rest_frequency"], attrs["specsys"]) == (1.15e11, "LSRK")
    assert (attrs["radesys"], attrs["equinox"]) == ("FK5", 2000.0)
    assert fits.Header.fromstring(attrs["fits_header"], sep="\n")["CTYPE3"] == "VRAD"


def test_time_says_when_it_counts_from() -> None:
    attrs = coords_from_wcs(line("TIME", "s", 1000, 0.5, mjdref=(58849, 0.5), timesys="TAI"), (5,))["time"].attrs
    assert (attrs["time_scale"], attrs["time_reference_mjd"]) == ("TAI", "58849.5")


def test_standard_names_are_those_of_cf() -> None:
    assert coords_from_wcs(*KINDS["frequency"][:2])["frequency"].attrs["standard_name"] == "radiation_frequency"
    assert coords_from_wcs(*KINDS["wavelength"][:2])["wavelength"].attrs["standard_name"] == "radiation_wavelength"
    assert "standard_name" not in coords_from_wcs(*KINDS["cd"][:2])["ra"].attrs


class TwoAxes:
    """A WCS that is none of FITS: two cartesian positions that mix, as a generalized WCS may have."""

    def __new__(cls) -> Any:
        from astropy.wcs.wcsapi import BaseLowLevelWCS

        class Mixed(BaseLowLevelWCS):
            pixel_n_dim = world_n_dim = 2
            world_axis_physical_types = ("custom:lab.stage", None)
            world_axis_units = ("mm", "pix")
            world_axis_names = ("", "Bottom row")
            pixel_axis_names = ("column", "row")
            axis_correlation_matrix = np.ones((2, 2), dtype=bool)
            world_axis_object_components = world_axis_object_classes = None

            def pixel_to_world_values(self, *pixels: Any) -> Any:
                column, row = pixels
                return column + 2 * row, column - row

            def world_to_pixel_values(self, *world: Any) -> Any:
                raise NotImplementedError

        return Mixed()


def test_a_wcs_that_is_not_of_fits() -> None:
    coords = coords_from_wcs(TwoAxes(), (3, 4))
    assert tuple(coords.dims) == ("row", "column")
    assert set(coords) == {"row", "column", "stage", "bottom_row"}
    np.testing.assert_array_equal(coords["stage"], np.arange(4) + 2 * np.arange(3)[:, None])
    assert coords["stage"].attrs["units"] == "mm"


def test_large_skies_are_computed_when_asked_for() -> None:
    coords = coords_from_wcs(sky("TAN"), (100_000, 100_000))  # 80 GB each
    part = xr.Dataset(coords=coords).isel(y=slice(70_000, 70_010, 3), x=[5, 7, 99_000])
    ra, dec = sky("TAN").array_index_to_world_values(
        *np.meshgrid([70_000, 70_003, 70_006, 70_009], [5, 7, 99_000], indexing="ij")
    )
    np.testing.assert_array_equal(part["ra"], ra)
    np.testing.assert_array_equal(part["dec"], dec)
    assert part["ra"].isel(y=1, x=2).item() == ra[1, 2]


def test_what_happens_to_the_wcs_later_does_not_matter() -> None:
    wcs = sky("TAN")
    coords = coords_from_wcs(wcs, (3, 4))
    expected = wcs.array_index_to_world_values(*np.indices((3, 4)))[0]
    wcs.wcs.crval = 10, 10
    np.testing.assert_array_equal(coords["ra"], expected)


def test_coordinates_can_be_pickled() -> None:
    coords = xr.Dataset(coords=coords_from_wcs(with_sip(), (6, 7)))
    xr.testing.assert_allclose(pickle.loads(pickle.dumps(coords)), coords, rtol=1e-13)
    xr.testing.assert_identical(coords.copy(deep=True), coords)


def test_wrong_calls() -> None:
    with pytest.raises(TypeError, match=r"wcs is a str; pass a WCS: astropy.wcs.WCS\(header\)"):
        coords_from_wcs("m31.fits", (3, 4))
    with pytest.raises(ValueError, match=r"shape is \(3, 4\), of 2 axes, but the WCS has 3 pixel axes"):
        coords_from_wcs(cube("FREQ", "Hz", 5, 1), (3, 4))
    with pytest.raises(TypeError, match="shape is an int; pass the shape of the array"):
        coords_from_wcs(sky("TAN"), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape is 3\.5, 4"):
        coords_from_wcs(sky("TAN"), (3.5, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"dims is \('y',\); the array has the shape \(3, 4\): pass 2 different names"):
        coords_from_wcs(sky("TAN"), (3, 4), dims=("y",))
    with pytest.raises(ValueError, match="pass 2 different names"):
        coords_from_wcs(sky("TAN"), (3, 4), dims=("y", "y"))
