"""Bits of data-quality arrays: which are ignored, what they are called, judged by astropy's own bit masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.modeling.models import Const1D
from astropy.nddata.bitmask import bitfield_to_boolean_mask

from xr_modelfit import from_fits, to_hdulist

Read = Callable[..., Any]
SHAPE = (6, 4, 5)
NAMES = {"DEAD": 1, "HOT": 2, "SATURATED": 256, "COSMIC RAY": 2**20}
WAVE = {"CTYPE3": "WAVE", "CUNIT3": "Angstrom", "CRVAL3": 5000.0, "CDELT3": 2.0, "CRPIX3": 1.0, "BUNIT": "Jy"}


def flags_of(dtype: str = ">i4") -> np.ndarray:
    bits = np.array([0, 1, 2, 3, 256, 258, 2**20, 2**20 + 1])
    picked = bits[np.random.default_rng(2).integers(0, len(bits), SHAPE)]
    return (picked if np.dtype(dtype).itemsize > 2 else picked % 512).astype(dtype)


def cube(flags: np.ndarray, names: tuple[str, str, str] = ("SCI", "ERR", "DQ"), **cards: Any) -> fits.HDUList:
    """A cube with errors and flags; data that are flagged are far off."""
    data = np.where(flags == 0, 1.0, 1e4).astype(">f4")
    header = fits.Header(WAVE)
    extensions = [fits.ImageHDU(data, header, name=names[0])]
    extensions.append(fits.ImageHDU(np.full(SHAPE, 4.0, ">f4"), header, name=names[1]))
    extensions.append(fits.ImageHDU(flags, fits.Header({k: v for k, v in WAVE.items() if k != "BUNIT"}), name=names[2]))
    extensions[-1].header.update(cards)
    return fits.HDUList([fits.PrimaryHDU(), *extensions])


@pytest.fixture(params=["memory", "file", "lazy"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Reads HDUs as they are, and from a file, at once and lazily."""

    def reader(hdus: fits.HDUList, **options: Any) -> Any:
        if request.param == "memory":
            return from_fits(hdus, **options)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.fits"  # what is read lazily is not overwritten
        hdus.writeto(path)
        return from_fits(path, chunks={} if request.param == "lazy" else None, **options)

    return reader


@pytest.mark.quick_share(7)
@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", "u2", "u4", "u1"])
@pytest.mark.parametrize("ignored", [0, 1, 2, 256, [1, 2], [2, 256], 258, [1, 2, 256, 2**20], [2**40], []])
def test_ignored_bits_are_those_of_astropy(read: Read, dtype: str, ignored: Any) -> None:
    flags = flags_of(dtype)
    ds = read(cube(flags), ignore_bits=ignored)
    value = ignored if isinstance(ignored, int) else sum(ignored)
    used = np.asarray(flags, "i8")
    expected = bitfield_to_boolean_mask(used, ignore_flags=value, good_mask_value=True)
    np.testing.assert_array_equal(ds["sci_good"], expected)
    assert ds["sci_good"].dtype == bool
    np.testing.assert_array_equal(ds["sci_flags"], flags)
    assert ds["sci"].attrs["ancillary_variables"] == "sci_sigma sci_good sci_flags"


@pytest.mark.parametrize("ignored", ["HOT", "hot", ["HOT", 256], ["hot", "Saturated"], ("COSMIC RAY",)])
def test_names_of_the_users(read: Read, ignored: Any) -> None:
    flags = flags_of()
    ds = read(cube(flags), ignore_bits=ignored, flag_names=NAMES)
    words = [ignored] if isinstance(ignored, str) else ignored
    value = sum(NAMES[word.upper()] if isinstance(word, str) else word for word in words)
    expected = bitfield_to_boolean_mask(flags.astype("i8"), ignore_flags=value, good_mask_value=True)
    np.testing.assert_array_equal(ds["sci_good"], expected)
    np.testing.assert_array_equal(ds["sci_flags"].attrs["flag_masks"], list(NAMES.values()))
    assert ds["sci_flags"].attrs["flag_masks"].dtype == np.int32  # of the flags' own type, as CF wants it
    assert ds["sci_flags"].attrs["flag_meanings"] == "DEAD HOT SATURATED COSMIC_RAY"


def test_names_of_the_header(read: Read) -> None:
    """Cards with the number of the bit, as LSST has them."""
    hdus = cube(flags_of(), MP_HOT=1, MP_SAT=8)
    ds = read(hdus)
    assert ds["sci_flags"].attrs["flag_meanings"] == "HOT SAT"
    np.testing.assert_array_equal(ds["sci_flags"].attrs["flag_masks"], [2, 256])
    good = read(hdus, ignore_bits=["SAT"])["sci_good"]
    np.testing.assert_array_equal(good, (flags_of() & ~256) == 0)
    assert good.attrs["comment"] == "flags that are ignored: 256 (SAT)"


def test_names_of_a_table(read: Read) -> None:
    """A table of definitions, as JWST has them."""
    columns = [
        fits.Column("BIT", "J", array=[0, 8]),
        fits.Column("VALUE", "J", array=[1, 256]),
        fits.Column("NAME", "20A", array=["DO_NOT_USE", "SATURATED"]),
    ]
    hdus = cube(flags_of())
    hdus.append(fits.BinTableHDU.from_columns(columns, name="DQ_DEF"))
    ds = read(hdus, ignore_bits="saturated")
    assert ds["sci_flags"].attrs["flag_meanings"] == "DO_NOT_USE SATURATED"
    np.testing.assert_array_equal(ds["sci_good"], (flags_of() & ~256) == 0)


def test_without_a_word_all_bits_count(read: Read) -> None:
    ds = read(cube(flags_of()))
    assert list(ds.data_vars) == ["sci", "sci_sigma", "sci_good"]
    np.testing.assert_array_equal(ds["sci_good"], flags_of() == 0)


@pytest.mark.parametrize(
    ("names", "sigma"), [(("SCI", "ERR", "DQ"), 4.0), (("DATA", "STAT", "DQ"), 2.0), (("FLUX", "IVAR", "MASK"), 0.5)]
)
def test_a_cube_of_several_extensions(read: Read, names: tuple[str, str, str], sigma: float) -> None:
    """In, fitted with harmless bits, and out again, data and result."""
    flags = flags_of()
    hdus = cube(flags, names)
    hdus[1].data[(flags & 1) == 0] = 1.0  # all but the dead ones are good
    ds = read(hdus, ignore_bits=[2, 256, 2**20])
    name = names[0].lower()
    np.testing.assert_allclose(ds[f"{name}_sigma"], np.full(SHAPE, sigma))
    fit = ds.modelfit(Const1D(0.5), dim="wavelength", data=name, sigma=f"{name}_sigma", where=f"{name}_good").compute()
    np.testing.assert_array_equal(fit["n_points"], ((flags & 1) == 0).sum(axis=0))
    np.testing.assert_allclose(fit["amplitude"], np.ones(SHAPE[1:]))
    again = read(to_hdulist(ds))
    for key in ds.data_vars:
        np.testing.assert_array_equal(again[key], ds[key])
    xr.testing.assert_identical(read(to_hdulist(fit)).compute(), fit)


def test_names_go_out_and_come_back(read: Read) -> None:
    ds = read(cube(flags_of()), flag_names=NAMES).compute()
    again = read(to_hdulist(ds))
    assert again["sci_flags"].attrs["flag_meanings"] == "DEAD HOT SATURATED COSMIC_RAY"
    np.testing.assert_array_equal(again["sci_flags"].attrs["flag_masks"], list(NAMES.values()))
    np.testing.assert_array_equal(again["sci_good"], ds["sci_good"])


def test_flags_are_not_fitted(read: Read) -> None:
    ds = read(cube(flags_of()), ignore_bits=2)
    fit = ds.modelfit(Const1D(1.0), dim="wavelength").compute()
    assert "sci_amplitude" in fit
    assert not [name for name in fit.data_vars if "flags" in str(name) or "good" in str(name)]


def test_bits_of_columns(read: Read) -> None:
    flags = np.array([0, 1, 2, 3, 256], "i4")
    columns = [
        fits.Column("WAVE", "D", array=np.arange(5.0)),
        fits.Column("FLUX", "D", array=np.ones(5)),
        fits.Column("QUALITY", "J", array=flags),
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)])
    ds = read(hdus, ignore_bits=["HOT"], flag_names=NAMES)
    np.testing.assert_array_equal(ds["flux_good"], [True, False, True, False, False])
    np.testing.assert_array_equal(ds["flux_flags"], flags)
    assert ds["flux_flags"].attrs["flag_meanings"] == "DEAD HOT SATURATED COSMIC_RAY"


def test_flags_survive_netcdf(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    ds = from_fits(cube(flags_of()), flag_names=NAMES)
    ds.to_netcdf(tmp_path / "a.nc")
    back = xr.load_dataset(tmp_path / "a.nc")
    np.testing.assert_array_equal(back["sci_flags"].attrs["flag_masks"], list(NAMES.values()))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"ignore_bits": [3]}, ValueError, r"ignore_bits has 3, which is no flag: .* number n.*2\*\*n"),
        ({"ignore_bits": [-4]}, ValueError, "ignore_bits has -4, which is no flag"),
        ({"ignore_bits": -1}, ValueError, "ignore_bits is -1"),
        ({"ignore_bits": 2**70}, ValueError, "ignore_bits is"),
        ({"ignore_bits": True}, TypeError, "ignore_bits is a bool"),
        ({"ignore_bits": 4.0}, TypeError, "ignore_bits is a float"),
        ({"ignore_bits": [4.0]}, TypeError, "ignore_bits has a float; a flag is a power of two"),
        ({"ignore_bits": "HOT"}, ValueError, r"has 'HOT', and HDU 3 \('DQ'\) has no such flag: it does not tell"),
        (
            {"ignore_bits": "HOTT", "flag_names": NAMES},
            ValueError,
            "its flags are 'DEAD', 'HOT', .*Did you mean 'HOT'.*flag_names=",
        ),
        ({"flag_names": ["HOT"]}, TypeError, "flag_names is a list; pass"),
        ({"flag_names": {"HOT": 3}}, ValueError, r"flag_names\['HOT'\] has 3, which is no flag"),
        ({"ignore_bits": 1, "hdu": ["SCI", "ERR"]}, ValueError, "there are no flags beside data in what is read"),
    ],
)
def test_wrong_calls(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        from_fits(cube(flags_of()), **options)


def test_flags_without_bits(read: Read) -> None:
    with pytest.raises(TypeError, match=r"HDU 3 \('DQ'\) holds .*, which has no bits"):
        read(cube(flags_of().astype(">f4")), ignore_bits=1)
    np.testing.assert_array_equal(read(cube(flags_of().astype(">f4")))["sci_good"], flags_of() == 0)
