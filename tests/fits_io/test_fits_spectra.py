"""Spectra in tables and in images with logarithmic axes: files as archives have them, made by astropy, in and out."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Const1D, Gaussian1D
from astropy.table import Table

from xr_modelfit import from_fits, to_hdulist
from xr_modelfit.fits_io.units import spelled
from xr_modelfit.units.text import parse_unit

pytestmark = pytest.mark.quick_share(3)

Read = Callable[..., Any]
LINE = Gaussian1D(9.0, 4510.0, 25.0)
TRUE = Gaussian1D(10.0, 4500.0, 30.0)


def noisy(wavelength: np.ndarray, sigma: float = 0.1, rows: int = 1) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=sigma, size=(rows, *wavelength.shape[-1:]))
    return (TRUE(np.broadcast_to(wavelength, noise.shape)) + noise).squeeze()


def table(
    columns: dict[str, Any], name: str = "", units: dict[str, str] | None = None, **cards: Any
) -> fits.BinTableHDU:
    """A table HDU of arrays by name, whose formats astropy finds; a leading axis is the rows."""
    codes = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "b1": "L"}
    made = []
    for key, values in columns.items():
        values = np.asarray(values)
        if values.dtype.kind == "U":
            code = f"{values.dtype.itemsize // 4}A"
        else:
            code = ("" if values.ndim == 1 else str(values.shape[1])) + codes[values.dtype.str[1:]]
        made.append(fits.Column(key, code, unit=(units or {}).get(key), array=values))
    hdu = fits.BinTableHDU.from_columns(made, name=name or None)
    hdu.header.update(cards)
    return hdu


def sdss() -> fits.HDUList:
    """As SDSS-III and IV have it: spec-PPPP-MMMMM-FFFF.fits, lite; no TUNIT, BUNIT and the logarithm in the primary."""
    c0, c1, n = 3.6, 1e-4, 1000
    loglam = (c0 + c1 * np.arange(n)).astype("f4")
    flux = noisy(10.0 ** loglam.astype(float)).astype("f4")
    ivar = np.full(n, 100, "f4")
    and_mask, or_mask = np.zeros(n, "i4"), np.zeros(n, "i4")
    ivar[300], flux[300] = 0, 1e6
    and_mask[400], or_mask[400:500], flux[400] = 2**23, 2**23, 1e6
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"TELESCOP": "SDSS 2.5-M", "PLATEID": 3586, "MJD": 55181, "FIBERID": 16, "VACUUM": True,
         "BUNIT": "1E-17 erg/cm^2/s/Ang", "COEFF0": c0, "COEFF1": c1, "DC-FLAG": 1}
    )  # fmt: skip
    coadd = table(
        {"flux": flux, "loglam": loglam, "ivar": ivar, "and_mask": and_mask, "or_mask": or_mask, "wdisp": ivar,
         "sky": flux, "model": flux},
        "COADD",
    )  # fmt: skip
    about = table(
        {"PLATE": np.array([3586], "i4"), "CLASS": np.array(["GALAXY"]), "Z": np.array([0.1], "f4")}, "SPECOBJ"
    )
    lines = table({"LINENAME": np.array(["Ly_alpha", "C_IV"]), "LINEWAVE": np.array([1215.0, 1549.0])}, "SPZLINE")
    return fits.HDUList([primary, coadd, about, lines])


def one_row() -> fits.HDUList:
    """As ESO has spectra of its archive: vectors in one row, types of the virtual observatory, nm."""
    wavelength = np.linspace(430, 470, 800)
    flux = noisy(10 * wavelength)
    quality = np.zeros(800, "i4")
    quality[::50] = 1
    flux[::50] = -1e5
    columns = {
        "WAVE": wavelength, "FLUX": flux, "ERR": np.full(800, 0.1), "QUAL": quality, "SNR": flux * 10,
        "FLUX_REDUCED": flux * 7, "ERR_REDUCED": np.full(800, 0.7),
    }  # fmt: skip
    unit = "10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)"
    hdu = table(
        {key: np.asarray(values)[np.newaxis] for key, values in columns.items()},
        "SPECTRUM",
        {"WAVE": "nm", "FLUX": unit, "ERR": unit, "FLUX_REDUCED": "adu", "ERR_REDUCED": "adu"},
        TUCD1="em.wl;obs.atmos", VOCLASS="SPECTRUM v2.0", NELEM=800,
    )  # fmt: skip
    kinds = ("SpectralAxis.Value", "FluxAxis.Value", "FluxAxis.Accuracy.StatError", "FluxAxis.Accuracy.QualityStatus")
    hdu.header.update({f"TUTYP{i}": f"spec:Data.{kind}" for i, kind in enumerate(kinds, 1)})
    return fits.HDUList([fits.PrimaryHDU(header=fits.Header({"OBJECT": "HD 1", "INSTRUME": "XSHOOTER"})), hdu])


def row_per_sample() -> fits.HDUList:
    wavelength = np.sort(np.random.default_rng(3).uniform(4300, 4700, 500))
    columns = {
        "WAVELENGTH": wavelength,
        "FLUX": noisy(wavelength),
        "ERROR": np.full(500, 0.1),
        "DQ": np.zeros(500, "i2"),
    }
    units = {"WAVELENGTH": "ANGSTROMS", "FLUX": "FLAM", "ERROR": "FLAM"}
    return fits.HDUList([fits.PrimaryHDU(), table(columns, "SCI", units)])


def several_rows() -> fits.HDUList:
    wavelength = np.linspace(4300, 4700, 400) + np.array([0.0, 0.3, 0.7])[:, np.newaxis]
    columns = {
        "TARGET": np.array(["a", "bb", "c"]), "RA": np.array([1.0, 2.0, 3.0]), "WAVE": wavelength,
        "FLUX": noisy(wavelength, rows=3), "FLUX_IVAR": np.full((3, 400), 100.0, "f4"),
        "RESOLUTION": np.ones((3, 20), "f4"),
    }  # fmt: skip
    units = {"RA": "deg", "WAVE": "Angstrom", "FLUX": "erg/s/cm2/A", "FLUX_IVAR": "s2 cm4 A2 / erg2"}
    return fits.HDUList([fits.PrimaryHDU(), table(columns, "SPECTRA", units)])


def log_image(header: dict[str, Any] | None = None) -> fits.HDUList:
    """A 1-D image whose WCS is logarithmic."""
    told = header or {"CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom", "CRVAL1": 4000.0, "CRPIX1": 1.0, "CDELT1": 1.0}
    wavelength = 4000 * np.exp(np.arange(1000) / 4000)
    errors = fits.ImageHDU(np.full(1000, 0.1), fits.Header(told), name="ERR")
    return fits.HDUList([fits.PrimaryHDU(noisy(wavelength), fits.Header({**told, "BUNIT": "Jy"})), errors])


LAYOUTS = {
    "sdss": sdss,
    "one row": one_row,
    "row per sample": row_per_sample,
    "several rows": several_rows,
    "log image": log_image,
}


@pytest.fixture(params=["memory", "file", "lazy", "compressed"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Reads HDUs as they are, and from a file, at once and lazily."""

    def reader(hdus: fits.HDUList, **options: Any) -> Any:
        if request.param == "memory":
            return from_fits(hdus, **options)
        number = len(list(tmp_path.iterdir()))  # what is read lazily is not overwritten
        path = tmp_path / (f"{number}.fits.gz" if request.param == "compressed" else f"{number}.fits")
        hdus.writeto(path)
        return from_fits(path, chunks={} if request.param == "lazy" else None, **options)

    return reader


# --- the layouts


def test_sdss(read: Read) -> None:
    hdus = sdss()
    ds = read(hdus)
    assert list(ds.data_vars) == ["flux", "flux_sigma", "flux_good", "wdisp", "sky", "model", "or_mask"]
    assert ds["flux"].dims == ("wavelength",)
    np.testing.assert_allclose(ds["wavelength"], 10.0 ** hdus[1].data["loglam"].astype(float), rtol=1e-15)
    assert ds["wavelength"].attrs["units"] == "Angstrom"
    assert ds["wavelength"].attrs["long_name"] == "wavelength in vacuum"
    assert parse_unit(ds["flux"].attrs["units"]) == u.Unit("1e-17 erg / (cm2 s Angstrom)")
    assert ds["flux_sigma"].attrs["units"] == ds["flux"].attrs["units"]
    assert ds.attrs["telescope"] == "SDSS 2.5-M"
    assert np.isnan(ds["flux_sigma"][300])
    assert ds["flux_sigma"].values[299] == np.float32(0.1)
    np.testing.assert_array_equal(np.flatnonzero(~ds["flux_good"].values), [400])
    np.testing.assert_array_equal(ds["or_mask"], hdus[1].data["or_mask"])


def test_vectors_in_one_row(read: Read) -> None:
    ds = read(one_row())
    assert {"flux", "flux_sigma", "flux_good", "flux_reduced", "flux_reduced_sigma", "snr"} == set(ds.data_vars)
    assert ds["flux"].dims == ("wavelength",)
    assert (ds["wavelength"].attrs["units"], ds["wavelength"].attrs["long_name"]) == ("nm", "wavelength in air")
    assert parse_unit(ds["flux"].attrs["units"]) == u.Unit("1e-17 erg / (cm2 s Angstrom)")
    assert ds["flux"].attrs["ancillary_variables"] == "flux_sigma flux_good"
    assert ds["flux_reduced"].attrs["ancillary_variables"] == "flux_reduced_sigma"
    np.testing.assert_array_equal(ds["flux_reduced_sigma"], np.full(800, 0.7))
    assert ds.attrs == {"object": "HD 1", "instrument": "XSHOOTER"}


def test_a_row_for_each_sample(read: Read) -> None:
    hdus = row_per_sample()
    ds = read(hdus)
    assert list(ds.data_vars) == ["flux", "flux_sigma", "flux_good"]
    np.testing.assert_array_equal(ds["wavelength"], hdus[1].data["WAVELENGTH"])
    assert parse_unit(ds["wavelength"].attrs["units"]) == u.AA
    assert parse_unit(ds["flux"].attrs["units"]) == u.Unit("erg / (cm2 s Angstrom)")
    assert ds["flux_good"].values.all()


def test_vectors_in_several_rows(read: Read) -> None:
    hdus = several_rows()
    ds = read(hdus)
    assert list(ds.data_vars) == ["flux", "flux_sigma"]  # what has another length is left out
    assert ds["flux"].dims == ds["wavelength"].dims == ("row", "pixel")
    assert ds["target"].values.tolist() == ["a", "bb", "c"]
    assert ds["ra"].attrs["units"] == "deg"
    np.testing.assert_array_equal(ds["wavelength"], hdus[1].data["WAVE"])
    fit = ds.modelfit(LINE, dim="pixel", coords="wavelength", data="flux", sigma="flux_sigma").compute()
    assert fit["mean"].dims == ("row",)
    assert fit["target"].values.tolist() == ["a", "bb", "c"]
    assert (abs(fit["mean"] - 4500) < 5 * fit["mean_stderr"]).all()
    xr.testing.assert_identical(read(to_hdulist(fit)).compute(), fit)
    assert parse_unit(fit["amplitude"].attrs["units"]) == u.Unit("erg / (cm2 s Angstrom)")


@pytest.mark.quick_share(5)
@pytest.mark.parametrize("layout", ["sdss", "one row", "row per sample"])
def test_a_line_in_each_layout(read: Read, layout: str) -> None:
    """Errors, flags and samples without weight are used: what they leave out is far off."""
    ds = read(LAYOUTS[layout]())
    scale = 0.1 if layout == "one row" else 1.0
    model = Gaussian1D(9.0, 4510.0 * scale, 25.0 * scale)
    fit = ds.modelfit(model, dim="wavelength", data="flux", sigma="flux_sigma", where="flux_good").compute()
    left = {"sdss": 998, "one row": 784, "row per sample": 500}[layout]
    assert fit["n_points"] == left
    assert abs(fit["mean"] - 4500 * scale) < 5 * fit["mean_stderr"]
    assert abs(fit["reduced_chi2"] - 1) < 0.3
    again = read(to_hdulist(fit))
    xr.testing.assert_identical(again.compute(), fit)
    best = again.modelfit.evaluate(ds["flux"]).compute()
    xr.testing.assert_equal(read(to_hdulist(best.rename("best")))["best"].compute(), best)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_go_out_and_come_back(read: Read, layout: str) -> None:
    along = "pixel" if layout == "several rows" else "wavelength"
    ds = read(LAYOUTS[layout]()).compute().isel({along: slice(5, None, 3)})
    again = read(to_hdulist(ds)).compute()
    assert set(again.data_vars) == set(ds.data_vars)
    for name in ds.data_vars:
        np.testing.assert_array_equal(again[name], ds[name], err_msg=str(name))
        assert again[name].dims == ds[name].dims
        assert again[name].dtype.kind == ds[name].dtype.kind
        old, new = (parse_unit(one[name].attrs.get("units", "")) for one in (ds, again))
        assert old == new
    np.testing.assert_allclose(again["wavelength"], ds["wavelength"], rtol=1e-13)
    old, new = (parse_unit(one["wavelength"].attrs["units"]) for one in (ds, again))
    assert old == new
    if layout == "several rows":
        assert again["target"].values.tolist() == ["a", "bb", "c"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_programs_read_the_same(tmp_path: Path, layout: str) -> None:
    ds = from_fits(LAYOUTS[layout]()).compute()
    to_hdulist(ds).writeto(tmp_path / "out.fits")
    if layout == "log image":
        with fits.open(tmp_path / "out.fits") as hdus:
            assert hdus["DATA"].header["CTYPE1"] == "WAVE-LOG"
        return
    found = Table.read(tmp_path / "out.fits", hdu=1)
    np.testing.assert_array_equal(found["FLUX"], ds["flux"])
    np.testing.assert_array_equal(found["WAVELENGTH"], ds["wavelength"])
    assert u.Unit(found["WAVELENGTH"].unit) == parse_unit(ds["wavelength"].attrs["units"])
    assert u.Unit(found["FLUX"].unit) == parse_unit(ds["flux"].attrs["units"])


# --- logarithmic axes of images


SDSS_OLD = {"COEFF0": 3.5, "COEFF1": 1e-4}
IRAF = {"CRVAL1": 3.5, "CDELT1": 1e-4, "CRPIX1": 1.0, "DC-FLAG": 1, "CTYPE1": "LINEAR"}


@pytest.mark.quick_share(5)
@pytest.mark.parametrize(
    ("cards", "unit", "title"),
    [
        (SDSS_OLD, 1e-10, "wavelength"),
        (SDSS_OLD | {"CRVAL1": 3.5, "CD1_1": 1e-4, "CRPIX1": 1.0}, 1e-10, "wavelength"),
        (SDSS_OLD | IRAF | {"CD1_1": 1e-4, "CTYPE1": "WAVE"}, 1e-10, "wavelength in vacuum"),
        (SDSS_OLD | {"VACUUM": True}, 1e-10, "wavelength in vacuum"),
        (IRAF, 1e-10, "wavelength"),
        (IRAF | {"WAT1_001": "wtype=linear label=Wavelength units=Angstroms"}, 1e-10, "wavelength"),
        (IRAF | {"CUNIT1": "nm"}, 1e-9, "wavelength"),
        (IRAF | {"CUNIT1": "log(Angstrom)"}, 1e-10, "wavelength"),
        (IRAF | {"CTYPE1": "AWAV"}, 1e-10, "wavelength in air"),
    ],
)
def test_old_logarithms(read: Read, cards: dict[str, Any], unit: float, title: str) -> None:
    expected = 10 ** (3.5 + 1e-4 * np.arange(50)) * unit
    for shape in ((50,), (3, 50)):
        array = read(fits.HDUList([fits.PrimaryHDU(np.ones(shape), fits.Header(cards))]))
        np.testing.assert_allclose(array["wavelength"], expected, rtol=1e-13)
        assert array["wavelength"].attrs["units"] == "m"
        assert array["wavelength"].attrs["long_name"] == title
        part = array.isel(wavelength=slice(40, 2, -2))
        np.testing.assert_allclose(from_fits(to_hdulist(part))["wavelength"], part["wavelength"], rtol=1e-12)


def test_what_is_no_logarithm() -> None:
    linear = {"CRVAL1": 3800.0, "CDELT1": 1.5, "CRPIX1": 1.0, "CUNIT1": "Angstrom", "CTYPE1": "WAVE", "DC-FLAG": 0}
    array = from_fits(fits.PrimaryHDU(np.ones(4), fits.Header(linear)))
    np.testing.assert_allclose(array["wavelength"], [3.8e-7, 3.8015e-7, 3.803e-7, 3.8045e-7])
    with pytest.raises(ValueError, match=r"first value is 3800 and its step 1.5.*wcs=False"):
        from_fits(fits.PrimaryHDU(np.ones(4), fits.Header(linear | {"DC-FLAG": 1})))
    assert from_fits(fits.PrimaryHDU(np.ones(4), fits.Header(SDSS_OLD)), wcs=False).dims == ("x",)


def test_a_fit_over_a_logarithmic_axis(read: Read) -> None:
    ds = read(log_image())
    fit = ds.modelfit(Gaussian1D(9, 4.51e-7, 2.5e-9), dim="wavelength", data="data", sigma="data_sigma").compute()
    assert abs(fit["mean"] - 4.5e-7) < 5 * fit["mean_stderr"]
    xr.testing.assert_identical(read(to_hdulist(fit)).compute(), fit)


# --- numbers, text and types


@pytest.mark.parametrize(
    "column",
    [
        fits.Column("X", "I", array=np.array([1, -2, 3], "i2")),
        fits.Column("X", "I", bzero=32768, array=np.array([1, 40000, 3], "u2")),
        fits.Column("X", "J", bzero=2**31, array=np.array([1, 2**32 - 1, 3], "u4")),
        fits.Column("X", "K", bzero=2**63, array=np.array([1, 2**64 - 1, 3], "u8")),
        fits.Column("X", "B", array=np.array([0, 200, 3], "u1")),
        fits.Column("X", "B", bzero=-128, array=np.array([-128, 127, 3], "i1")),
        fits.Column("X", "E", array=np.array([1.5, np.nan, 3], "f4")),
    ],
    ids=lambda c: f"{c.format} {c.bscale} {c.bzero}",
)
def test_numbers_are_those_of_astropy(read: Read, column: fits.Column) -> None:
    wave = fits.Column("WAVE", "D", array=[1.0, 2.0, 3.0])
    hdu = fits.BinTableHDU.from_columns([wave, fits.Column("FLUX", "D", array=[1.0, 2.0, 3.0]), column])
    ds = read(fits.HDUList([fits.PrimaryHDU(), hdu]))
    np.testing.assert_array_equal(ds["x"], np.asarray(hdu.data["X"]))
    if column.format != "B":  # of signed bytes astropy makes floats
        assert ds["x"].dtype.kind == hdu.data["X"].dtype.kind


@pytest.mark.parametrize("chunks", [None, {}])
def test_scaled_numbers_are_those_of_astropy(tmp_path: Path, chunks: Any) -> None:
    raw = np.array([[1, -2, 3]], "i2")
    hdu = table({"WAVE": raw.astype("f8"), "FLUX": raw}, TSCAL2=0.5, TZERO2=3.0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    expected = fits.getdata(tmp_path / "a.fits", 1)["FLUX"][0]
    np.testing.assert_array_equal(expected, [3.5, 2.0, 4.5])
    np.testing.assert_array_equal(from_fits(tmp_path / "a.fits", chunks=chunks)["flux"], expected)


def test_missing_integers_are_nan(read: Read) -> None:
    columns = [
        fits.Column("WAVE", "D", array=[1.0, 2.0, 3.0]),
        fits.Column("FLUX", "J", null=-99, array=np.array([5, -99, 7], "i4")),
    ]
    ds = read(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]))
    np.testing.assert_array_equal(ds["flux"], [5, np.nan, 7])


def test_logical_flags(read: Read) -> None:
    """A mask is True where the sample is bad, as numpy has it; what is good can be said."""
    columns = {"WAVE": np.arange(4.0), "FLUX": np.arange(4.0), "MASK": np.array([True, False, False, True])}
    hdus = fits.HDUList([fits.PrimaryHDU(), table(columns)])
    np.testing.assert_array_equal(read(hdus)["flux_good"], [False, True, True, False])
    np.testing.assert_array_equal(read(hdus, columns={"good": "MASK"})["flux_good"], [True, False, False, True])


@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("ERR", 4.0), ("FLUX_ERR", 4.0), ("ERR_FLUX", 4.0), ("FLUXERR", 4.0), ("E_FLUX", 4.0), ("sigma", 4.0),
        ("uncertainty", 4.0), ("VAR", 2.0), ("STAT", 2.0), ("FLUX_VAR", 2.0), ("IVAR", 0.5), ("FLUX_IVAR", 0.5),
    ],
)  # fmt: skip
def test_names_of_errors(read: Read, name: str, sigma: float) -> None:
    columns = {"WAVE": np.arange(4.0), "FLUX": np.arange(4.0), name: np.full(4, 4.0)}
    ds = read(fits.HDUList([fits.PrimaryHDU(), table(columns)]))
    assert list(ds.data_vars) == ["flux", "flux_sigma"]
    np.testing.assert_array_equal(ds["flux_sigma"], np.full(4, sigma))


def test_an_error_of_the_coordinate_is_none_of_the_data(read: Read) -> None:
    columns = {"WAVE": np.arange(4.0), "WAVE_ERR": np.full(4, 0.1), "FLUX": np.arange(4.0), "SKY_ERR": np.full(4, 0.1)}
    assert list(read(fits.HDUList([fits.PrimaryHDU(), table(columns)])).data_vars) == ["flux", "wave_err", "sky_err"]


def test_a_light_curve(read: Read) -> None:
    """Several kinds of data, each with its errors; the time is the coordinate."""
    columns = {
        "TIME": np.arange(4.0), "SAP_FLUX": np.ones(4, "f4"), "SAP_FLUX_ERR": np.full(4, 0.1, "f4"),
        "PDCSAP_FLUX": np.ones(4, "f4"), "PDCSAP_FLUX_ERR": np.full(4, 0.2, "f4"),
        "QUALITY": np.array([0, 8, 0, 0], "i4"),
    }  # fmt: skip
    ds = read(fits.HDUList([fits.PrimaryHDU(), table(columns, units={"TIME": "d"})]))
    assert ds["sap_flux"].dims == ("time",)
    np.testing.assert_array_equal(ds["pdcsap_flux_sigma"], np.full(4, 0.2, "f4"))
    np.testing.assert_array_equal(ds["sap_flux_good"], [True, False, True, True])


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("erg/s/cm2/A", "erg / (s cm2 Angstrom)"),
        ("10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)", "1e-17 erg / (s cm2 Angstrom)"),
        ("10^-17 ergs/s/cm^2/A", "1e-17 erg / (s cm2 Angstrom)"),
        ("1E-17 erg/cm^2/s/Ang", "1e-17 erg / (s cm2 Angstrom)"),
        ("E-17 erg/cm2/s/Angstrom", "1e-17 erg / (s cm2 Angstrom)"),
        ("10^{-17} erg s^{-1} cm^{-2} \u00c5^{-1}", "1e-17 erg / (s cm2 Angstrom)"),
        ("ERG/CM2/S/A", "erg / (s cm2 Angstrom)"),
        ("ERG/CM**2/S/ANG", "erg / (s cm2 Angstrom)"),
        ("erg/s/cm$^2$/\\AA", "erg / (s cm2 Angstrom)"),
        ("[10**-17 erg/s/cm2/A]", "1e-17 erg / (s cm2 Angstrom)"),
        ("s2 cm4 A2 / erg2", "s2 cm4 Angstrom2 / erg2"),
        ("nm (vacuum)", "nm"),
        ("Ang.", "Angstrom"),
        ("nanomaggies", "nmgy"),
        ("FLAM", "erg / (s cm2 Angstrom)"),
        ("fnu", "erg / (s cm2 Hz)"),
        ("e-/s", "electron / s"),
        ("microJy", "uJy"),
        ("W m-2 um-1", "W / (m2 um)"),
        ("counts", "ct"),
    ],
)
def test_units_in_any_spelling(text: str, unit: str) -> None:
    assert parse_unit(spelled(text, wavelength=True)) == u.Unit(unit)


def test_units_that_nobody_knows_stay_as_they_are() -> None:
    assert spelled("BJD - 2457000, days") == "BJD - 2457000, days"
    assert spelled("mA") == "mA"
    assert spelled("A") == "A"  # an ampere, of all but wavelengths


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("log10(nm)", "nm"), ("dex(Angstrom)", "Angstrom"), ("Angstrom", "Angstrom"), ("", "Angstrom")],
)
def test_units_of_logarithms(read: Read, unit: str, expected: str) -> None:
    columns = {"LOGLAM": np.array([3.0, 3.5]), "FLUX": np.ones(2)}
    ds = read(fits.HDUList([fits.PrimaryHDU(), table(columns, units={"LOGLAM": unit} if unit else {})]))
    assert ds["wavelength"].attrs["units"] == expected
    np.testing.assert_allclose(ds["wavelength"], [1e3, 10**3.5], rtol=1e-15)


# --- reading when it is needed


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    """The flux of the file is changed behind the back of what was opened."""
    several_rows().writeto(tmp_path / "a.fits")
    ds, kept = from_fits(tmp_path / "a.fits"), from_fits(tmp_path / "a.fits").load()
    changed = several_rows()
    changed[1].data["FLUX"][:] += 1
    changed.writeto(tmp_path / "a.fits", overwrite=True)
    np.testing.assert_allclose(ds["flux"].isel(row=1), kept["flux"].isel(row=1) + 1)


def test_a_few_rows_of_a_large_table(tmp_path: Path) -> None:
    rows, n = 200, 1000
    columns = {"WAVE": np.ones((rows, n)) * np.arange(n), "FLUX": np.arange(rows * n, dtype="f8").reshape(rows, n)}
    fits.HDUList([fits.PrimaryHDU(), table(columns)]).writeto(tmp_path / "a.fits")
    lazy = from_fits(tmp_path / "a.fits", chunks={"row": 50})
    assert lazy["flux"].chunks == ((50,) * 4, (n,))
    assert lazy["wavelength"].chunks == ((50,) * 4, (n,))
    copy = pickle.loads(pickle.dumps(lazy["flux"].isel(row=[3, 150], pixel=slice(5, 8))))
    np.testing.assert_array_equal(copy, columns["FLUX"][[3, 150], 5:8])
    assert len(pickle.dumps(lazy)) < 100_000
    with pytest.raises(ValueError, match="chunks names the dim 'rows', but the image has"):
        from_fits(tmp_path / "a.fits", chunks={"rows": 50})


def test_assigning_leaves_the_file_alone(tmp_path: Path) -> None:
    row_per_sample().writeto(tmp_path / "a.fits")
    ds = from_fits(tmp_path / "a.fits")
    ds["flux"][:] = 0
    assert from_fits(tmp_path / "a.fits")["flux"].values.max() > 9


def test_results_survive_netcdf(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    ds = from_fits(several_rows()).compute()
    ds.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "a.nc"), ds)


# --- which table, and wrong calls


def test_which_table(read: Read) -> None:
    two = fits.HDUList([fits.PrimaryHDU(), *row_per_sample()[1:], *one_row()[1:]])
    assert read(two, hdu="SPECTRUM")["flux"].sizes == {"wavelength": 800}
    assert read(two, hdu=1)["flux"].sizes == {"wavelength": 500}
    assert read(two, hdu=["SCI"])["flux"].sizes == {"wavelength": 500}
    with pytest.raises(ValueError, match=r"Several tables hold spectra: HDU 1 \('SCI'\), HDU 2 .*hdu=1"):
        read(two)
    with pytest.raises(ValueError, match="name one table, and nothing beside it"):
        read(two, hdu=[1, 2])
    mixed = fits.HDUList([fits.PrimaryHDU(np.ones((2, 3))), *row_per_sample()[1:]])
    assert read(mixed).dims == ("y", "x")  # images come first
    assert read(mixed, hdu=1)["flux"].sizes == {"wavelength": 500}


def test_a_single_table() -> None:
    assert from_fits(row_per_sample()[1])["flux"].sizes == {"wavelength": 500}


def test_columns_are_named(read: Read) -> None:
    columns = {
        "L": np.arange(4.0) + 1,
        "S": np.ones(4),
        "DS": np.full(4, 4.0),
        "T": np.ones(4),
        "F": np.array([0, 1, 0, 0]),
    }
    hdus = fits.HDUList([fits.PrimaryHDU(), table(columns, units={"L": "um", "S": "Jy"})])
    with pytest.raises(
        ValueError, match=r"no column is known to be its coordinate.*'L' \(um\), 'S' \(Jy\), 'DS'.*columns="
    ):
        read(hdus)
    with pytest.raises(ValueError, match=r"each of 'S', 'DS', 'T', 'F' could be the data.*columns=\{'data': 'S'\}"):
        read(hdus, columns={"coordinate": "L"})
    ds = read(hdus, columns={"coordinate": "L", "data": "s", "variance": "DS", "flags": "F"})
    assert list(ds.data_vars) == ["s", "s_sigma", "s_good", "t"]
    assert ds["s"].dims == ("l",)
    assert ds["s_sigma"].values.max() == 2
    both = read(hdus, columns={"log10_coordinate": "L", "data": ["S", "T"], "sigma": "DS"})
    np.testing.assert_allclose(both["l"], 10.0 ** (np.arange(4) + 1))
    assert list(both.data_vars)[:2] == ["s", "s_sigma"]
    assert read(hdus, columns={"coordinate": None, "data": "S"})["s"].dims == ("pixel",)


def test_two_coordinates(read: Read) -> None:
    columns = {"WAVE_VAC": np.arange(4.0), "WAVE_AIR": np.arange(4.0), "FLUX": np.ones(4)}
    hdus = fits.HDUList([fits.PrimaryHDU(), table(columns)])
    with pytest.raises(ValueError, match=r"each of 'WAVE_VAC', 'WAVE_AIR' could be its coordinate"):
        read(hdus)
    ds = read(hdus, columns={"coordinate": "WAVE_AIR"})
    assert ds["wavelength"].attrs["long_name"] == "wavelength in air"
    both = {"LOGLAM": np.arange(4.0), "WAVE": np.arange(4.0) + 5, "FLUX": np.ones(4)}
    assert read(fits.HDUList([fits.PrimaryHDU(), table(both)]))["wavelength"].values[0] == 5


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"columns": {"flux": "FLUX"}}, ValueError, "columns has the key 'flux'; keys are 'data', 'coordinate'"),
        ({"columns": {"data": "FLUKS"}}, ValueError, "columns.'data'. is 'FLUKS', but .*Did you mean 'FLUX'"),
        ({"columns": {"data": "NOTE"}}, ValueError, "cannot be read as numbers: 'NOTE' text"),
        ({"columns": ["FLUX"]}, TypeError, "columns is a list; pass"),
        ({"columns": {"coordinate": None}}, ValueError, "no data are named"),
        ({"wcs": False}, ValueError, "is a table, which has no WCS"),
        ({"ignore_bits": 4}, ValueError, "no column of HDU 1 holds flags"),
        ({"hdu": "NONE"}, KeyError, "there is no such HDU"),
    ],
)
def test_wrong_calls(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    columns = {"WAVE": np.arange(4.0), "FLUX": np.ones(4), "NOTE": np.array(["a"] * 4)}
    with pytest.raises(kind, match=message):
        from_fits(fits.HDUList([fits.PrimaryHDU(), table(columns)]), **options)


def test_tables_that_are_no_spectra() -> None:
    catalogue = table({"RA": np.ones(2), "DEC": np.ones(2), "NAME": np.array(["a", "b"])}, "CATALOGUE")
    with pytest.raises(ValueError, match=r"HDU 1 \('CATALOGUE'\) cannot be read as a spectrum: no column is known"):
        from_fits(fits.HDUList([fits.PrimaryHDU(), catalogue]))
    with pytest.raises(ValueError, match="No table of the file is told to be a spectrum"):
        from_fits(fits.HDUList([fits.PrimaryHDU(), catalogue, catalogue.copy()]))
    empty = table({"WAVE": np.zeros(0), "FLUX": np.zeros(0)})
    with pytest.raises(ValueError, match="it has no rows"):
        from_fits(fits.HDUList([fits.PrimaryHDU(), empty]))
    with pytest.raises(ValueError, match=r"columns is .*but an image is read"):
        from_fits(fits.PrimaryHDU(np.ones(3)), columns={"data": "FLUX"})
    ragged = fits.Column("FLUX", "PD()", array=np.array([np.ones(2), np.ones(3)], dtype=object))
    wave = fits.Column("WAVE", "2D", array=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"'FLUX' \[2\] of a kind that is not read"):
        from_fits(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([wave, ragged])]))


def test_a_constant_over_pixels() -> None:
    ds = from_fits(several_rows(), columns={"coordinate": None, "data": "FLUX", "ivar": "FLUX_IVAR"})
    fit = ds.modelfit(Const1D(1.0), dim="pixel", data="flux", sigma="flux_sigma", errors="ignore")
    expected = np.average(ds["flux"], axis=1)
    np.testing.assert_allclose(fit["amplitude"], expected)
