"""A fit result in a FITS file: identical when it comes back, and no harm where the file was damaged."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.modeling import custom_model
from astropy.modeling.models import Chebyshev1D, Const1D, Gaussian1D, Linear1D
from astropy.wcs import WCS

from xr_modelfit import FitStatus, RecordError, fit, from_fits, to_hdulist

pytestmark = pytest.mark.quick_share(3)

LINE = Gaussian1D(2.0, 5.0, 1.5, bounds={"stddev": (0.1, None)})


def cube(**coords: Any) -> xr.DataArray:
    """A cube with coordinates of every kind; one position is masked."""
    rng = np.random.default_rng(1)
    velocity = np.linspace(0.0, 10.0, 16)
    centre = xr.DataArray(4.5 + rng.uniform(size=(4, 3)), dims=("y", "x"))
    shape = 3.0 * np.exp(-0.5 * (xr.DataArray(velocity, dims="velocity") - centre) ** 2)
    data = shape.transpose("velocity", "y", "x") + rng.normal(0, 0.05, (16, 4, 3))
    data[:, 0, 0] = np.nan
    return (
        data.assign_coords(
            velocity=("velocity", velocity, {"units": "km/s"}),
            y=("y", [10, 20, 30, 40], {"long_name": "row"}),
            station=("y", ["a", "bcd", "e\u00e9", ""], {"cf_role": "timeseries_id"}),
            x=("x", np.array(["one", "two", "three"], dtype=object)),
            day=("y", np.array(["2020-01-01", "2020-01-02", "NaT", "1999-12-31"], dtype="datetime64[ns]")),
            lag=("x", np.array([1, 2, 3], dtype="timedelta64[ns]")),
            lat=(("y", "x"), rng.uniform(-90, 90, (4, 3)), {"units": "degrees_north"}),
            quality=(("y", "x"), np.arange(12, dtype=np.int16).reshape(4, 3)),
            small=("y", np.array([1, -2, 3, 4], dtype=np.int8)),
            large=("y", np.array([1, 2**63, 3, 2**64 - 1], dtype=np.uint64)),
            single=("y", np.array([0.1, np.nan, np.inf, -0.0], dtype=np.float32)),
            usable=("x", [True, False, True]),
            epoch=((), 2015.5, {"units": "yr"}),
            **coords,
        )
        .assign_attrs(
            units="K", title="A cube", history="made here", version=3, corner=[1.0, 2.0], flag=np.float32(0.1)
        )
        .rename("flux")
    )


def sky_cube() -> xr.DataArray:
    """A cube with a WCS, as files have it."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN", "VRAD"
    wcs.wcs.cunit = "deg", "deg", "km/s"
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cdelt = (3, 2, 1), (52.3, 31.2, 2.0), (-0.01, 0.01, 0.1)
    wcs.wcs.pc = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    header = wcs.to_header()
    header.update({"BUNIT": "K", "OBJECT": "cloud"})
    v, y, _ = np.meshgrid(2 + 0.1 * np.arange(40), np.arange(5), np.arange(6), indexing="ij")
    values = 3 * np.exp(-(((v - 4 - 0.02 * y) / 0.3) ** 2) / 2) + np.random.default_rng(1).normal(0, 0.1, v.shape)
    return from_fits(fits.PrimaryHDU(values.astype(">f4"), header))


def line_fit(data: xr.DataArray, **options: Any) -> xr.Dataset:
    return fit(data, LINE, "velocity", errors="ignore", **options)


def there_and_back(result: xr.Dataset, folder: Path, way: str = "file") -> Any:
    """What comes back from a file."""
    hdus = to_hdulist(result)
    if way == "memory":
        return from_fits(hdus)
    number = len(list(folder.iterdir()))
    path = folder / (f"{number}.fits.gz" if way == "compressed" else f"{number}.fits")
    hdus.writeto(path)
    return from_fits(path, chunks={} if way == "lazy" else None)


def assert_came_back(got: xr.Dataset, expected: xr.Dataset) -> None:
    """Identical with attrs, and of the same types."""
    xr.testing.assert_identical(got.compute(), expected)
    for name, variable in expected.variables.items():
        now = got.variables[name]
        assert now.dtype == variable.dtype or variable.dtype.kind in "OUT", name
        for key, value in variable.attrs.items():
            assert type(now.attrs[key]) is type(value), (name, key)


every_way = pytest.mark.parametrize("way", ["memory", "file", "lazy", "compressed"])


@every_way
def test_a_result_comes_back_identical(way: str, tmp_path: Path) -> None:
    """Values, types, coordinates of every kind, attrs; errors, flags and covariance among them."""
    result = line_fit(cube(), covariance=True, prefix="line_")
    back = there_and_back(result, tmp_path, way)
    assert_came_back(back, result)
    assert {"line_covariance", "line_fit_status", "line_mean_stderr"} <= set(back.data_vars)
    assert back["line_fit_status"].dtype == np.int8


@every_way
def test_a_result_on_the_sky(way: str, tmp_path: Path) -> None:
    data = sky_cube()
    result = fit(data, Gaussian1D(2, 4100, 250), "velocity", errors="ignore", covariance=True)
    assert_came_back(there_and_back(result, tmp_path, way), result)
    part = result.isel(y=slice(4, 0, -2), x=slice(1, None)).transpose("x", "y", "cov_i", "cov_j")
    assert_came_back(there_and_back(part, tmp_path, way), part)
    row = result.isel(y=2)
    assert_came_back(there_and_back(row, tmp_path, way), row)


@every_way
def test_a_single_fit(way: str, tmp_path: Path) -> None:
    result = line_fit(cube().isel(y=1, x=1), covariance=True)
    assert_came_back(there_and_back(result, tmp_path, way), result)


def test_dates_of_other_calendars(tmp_path: Path) -> None:
    cftime = pytest.importorskip("cftime")
    days = [cftime.DatetimeNoLeap(2000 + i, 2, 28, 12, microsecond=1) for i in range(4)]
    result = line_fit(cube(month=("y", days)))
    assert_came_back(there_and_back(result, tmp_path), result)


def test_a_result_of_a_dataset(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": cube(), "b": 2 * cube()})
    result = ds.modelfit(LINE, dim="velocity", errors="ignore")
    back = there_and_back(result, tmp_path)
    assert_came_back(back, result)
    assert set(back.modelfit.report().counts) == {"a_", "b_"}


def test_it_answers_questions(tmp_path: Path) -> None:
    data = sky_cube()
    result = fit(data, Gaussian1D(2, 4100, 250) + Const1D(0.0), "velocity", errors="ignore", covariance=True)
    back = there_and_back(result, tmp_path)
    xr.testing.assert_identical(back.modelfit.evaluate(data), result.modelfit.evaluate(data))
    xr.testing.assert_identical(back.modelfit.residuals(data), result.modelfit.residuals(data))
    xr.testing.assert_identical(back.modelfit.components(data), result.modelfit.components(data))
    xr.testing.assert_identical(back.modelfit.ok, result.modelfit.ok)
    assert str(back.modelfit.report()) == str(result.modelfit.report())
    at = {"y": 2, "x": 3}
    mine, theirs = back.isel(at).modelfit.to_model(), result.isel(at).modelfit.to_model()
    np.testing.assert_array_equal(mine.parameters, theirs.parameters)
    velocity = np.array([4000.0, 4100.0]) * u.Unit("m/s")
    np.testing.assert_array_equal(mine(velocity), theirs(velocity))
    again = fit(data, Gaussian1D() + Const1D(), "velocity", p0=back, errors="ignore")
    xr.testing.assert_allclose(again["mean_0"], result["mean_0"], rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Chebyshev1D(3, domain=(0.0, 10.0), c0=1.0),
        Linear1D(1 * u.K / (u.km / u.s), 0 * u.K),
        Gaussian1D(2.0, 5.0, 1.5, tied={"stddev": lambda m: m.amplitude / 2}),
    ],
    ids=["domain", "units", "tie"],
)
def test_models_of_all_kinds(model: Any, tmp_path: Path) -> None:
    data = cube()
    result = fit(data, model, "velocity", errors="ignore")
    back = there_and_back(result, tmp_path)
    assert_came_back(back, result)
    xr.testing.assert_identical(back.modelfit.evaluate(data), result.modelfit.evaluate(data))


def test_units_that_fits_has_no_word_for(tmp_path: Path) -> None:
    """Their images have converted numbers; the result has its own all the same."""
    data = cube().assign_attrs(units="12 Jy")
    result = line_fit(data)
    hdus = to_hdulist(result)
    assert hdus["AMPLITUDE"].header["BUNIT"] == "Jy"
    np.testing.assert_allclose(hdus["AMPLITUDE"].data, 12 * result["amplitude"], rtol=1e-15)
    assert_came_back(there_and_back(result, tmp_path), result)


def test_lazy_results_are_computed_once(tmp_path: Path) -> None:
    data = cube().chunk(y=2)
    lazy = line_fit(data)
    with dask.config.set(scheduler="synchronous"):
        back = there_and_back(lazy, tmp_path)
    xr.testing.assert_identical(back.compute(), lazy.compute())


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    result = line_fit(cube())
    to_hdulist(result).writeto(tmp_path / "a.fits")
    back = from_fits(tmp_path / "a.fits")
    again = from_fits(tmp_path / "a.fits", chunks={"y": 2})
    assert again["mean"].chunks == ((2, 2), (3,))
    changed = to_hdulist(result)
    changed["MEAN"].data = changed["MEAN"].data + 1
    changed.writeto(tmp_path / "a.fits", overwrite=True)
    np.testing.assert_array_equal(back["mean"], result["mean"] + 1)


def test_images_are_read_as_before(tmp_path: Path) -> None:
    """By name, with another WCS, and by programs that know nothing of the table."""
    result = fit(sky_cube(), Gaussian1D(2, 4100, 250), "velocity", errors="ignore")
    to_hdulist(result).writeto(tmp_path / "a.fits")
    mean = from_fits(tmp_path / "a.fits", hdu="MEAN")
    assert isinstance(mean, xr.DataArray)
    np.testing.assert_array_equal(mean, result["mean"])
    plain = from_fits(tmp_path / "a.fits", wcs=False)
    assert list(plain.data_vars) == list(result.data_vars)
    assert "ra" not in plain.coords
    with fits.open(tmp_path / "a.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == [*(str(n).upper() for n in result.data_vars), "MODELFIT"]
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["MODELFIT"].data["ra"][0], result["ra"])


def test_what_is_no_result_has_no_table() -> None:
    assert [hdu.name for hdu in to_hdulist(sky_cube())[1:]] == ["DATA"]
    assert len(to_hdulist(line_fit(cube())[["mean"]])) == 2


def test_a_result_read_and_written_again(tmp_path: Path) -> None:
    result = fit(sky_cube(), Gaussian1D(2, 4100, 250), "velocity", errors="ignore")
    assert_came_back(there_and_back(there_and_back(result, tmp_path), tmp_path), result)


# --- damaged and malicious files


def stored() -> tuple[fits.HDUList, xr.Dataset]:
    result = line_fit(cube())
    return to_hdulist(result), result


def content_of(hdus: fits.HDUList) -> dict[str, Any]:
    return dict(json.loads(hdus["MODELFIT"].data["RECORD"][0]))


def with_text(hdus: fits.HDUList, text: str) -> fits.HDUList:
    """The file with another text in its table."""
    old = hdus["MODELFIT"]
    others = [fits.Column(c.name, c.format, dim=c.dim, array=old.data[c.name]) for c in old.columns[1:]]
    first = fits.Column("RECORD", f"{max(1, len(text))}A", array=np.array([text.encode()]))
    changed = fits.BinTableHDU.from_columns([first, *others], name="MODELFIT")
    return fits.HDUList([*hdus[:-1], changed])


def assert_images_alone(hdus: fits.HDUList, match: str) -> None:
    with pytest.warns(UserWarning, match=match):
        plain = from_fits(hdus)
    assert isinstance(plain, xr.Dataset)
    with pytest.raises(RecordError, match=r"has no record of the fit.*MODELFIT"):
        plain.modelfit.evaluate()


def change(hdus: fits.HDUList, how: Any) -> fits.HDUList:
    content = content_of(hdus)
    how(content)
    return with_text(hdus, json.dumps(content))


CHANGES = {
    "format": lambda c: c.update(format=99),
    "no variables": lambda c: c.pop("variables"),
    "sizes": lambda c: c["sizes"].update(y=5),
    "huge sizes": lambda c: c["sizes"].update(y=10**12, x=10**12),
    "negative": lambda c: c["sizes"].update(y=-4),
    "dims": lambda c: c["variables"][0].update(dims=["y", "y"]),
    "no such dim": lambda c: c["variables"][0].update(dims=["y", "z"]),
    "axes": lambda c: c["variables"][0].update(axes=["y", "y"]),
    "hdu": lambda c: c["variables"][0].update(hdu=99),
    "hdu of the table": lambda c: c["variables"][0].update(hdu=-1),
    "other image": lambda c: c["variables"][0].update(hdu=2),
    "text for hdu": lambda c: c["variables"][0].update(hdu="1"),
    "dtype": lambda c: c["variables"][0].update(dtype="object"),
    "pickle": lambda c: c["variables"][0].update(dtype="O"),
    "column": lambda c: c["coords"][0].update(column=999),
    "column of text": lambda c: c["coords"][0].update(column=-1),
    "name": lambda c: c["variables"][0].update(name=None),
    "names": lambda c: c["variables"][0].update(name=["a"]),
    "attrs": lambda c: c["variables"][0].update(attrs=[1]),
    "attr": lambda c: c["variables"][0].update(attrs={"a": {"dtype": "object", "values": [1]}}),
    "number attr": lambda c: c["variables"][0].update(attrs={"a": {"dtype": "int8", "values": [10**400]}}),
    "null attr": lambda c: c["variables"][0].update(attrs={"a": None}),
    "list": lambda c: c.update(coords=7),
    "calendar": lambda c: c["coords"][0].update(dtype="cftime", calendar="of the Mayas"),
}


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_table_is_not_believed(what: str) -> None:
    hdus, _ = stored()
    assert_images_alone(change(hdus, CHANGES[what]), r"cannot be put together from its table, HDU \d+ \('MODELFIT'\)")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, "1" * 100_000, '{"format": 1}', "NaN", '{"format": 1, "sizes": 3}'],
    ids=lambda text: text[:20] or "empty",
)
def test_a_text_that_is_none_of_ours(text: str) -> None:
    hdus, _ = stored()
    assert_images_alone(with_text(hdus, text), "cannot be put together from its table")


def test_a_changed_image_is_said() -> None:
    hdus, _ = stored()
    hdus["MEAN"].data = hdus["MEAN"].data[:2]
    with (
        pytest.warns(UserWarning, match=r"HDU 2 is 'MEAN' of shape \(2, 3\), but 'mean' .*of shape \(4, 3\): the file"),
        pytest.raises(ValueError, match="has the shape"),  # they are no Dataset either
    ):
        from_fits(hdus)
    hdus, _ = stored()
    del hdus["CHI2"]
    assert_images_alone(hdus, "the file was changed")


@pytest.mark.parametrize(
    "record",
    ["", "{}", "{", '{"format": 1, "model": {"class": "os.system"}}', "[" * 5000, "null"],
    ids=lambda text: text[:12] or "empty",
)
def test_a_broken_record_raises_when_it_is_asked(record: str) -> None:
    """As of a result out of a netCDF file: the numbers are there, questions raise."""
    hdus, result = stored()

    def how(content: dict[str, Any]) -> None:
        status = next(one for one in content["variables"] if one["name"] == "fit_status")
        status["attrs"]["modelfit_record"] = record

    back = from_fits(change(hdus, how))
    np.testing.assert_array_equal(back["mean"], result["mean"])
    with pytest.raises(RecordError):
        back.modelfit.evaluate(cube())


def test_nothing_of_a_record_is_imported() -> None:
    """A class that the record names is not imported: ``this`` would print a poem."""
    import sys

    hdus, _ = stored()

    def how(content: dict[str, Any]) -> None:
        status = next(one for one in content["variables"] if one["name"] == "fit_status")
        told = json.loads(status["attrs"]["modelfit_record"])
        told["model"] = {**told["model"], "class": "this.Model"}
        status["attrs"]["modelfit_record"] = json.dumps(told)

    sys.modules.pop("this", None)
    back = from_fits(change(hdus, how))
    with pytest.raises(RecordError):
        back.modelfit.evaluate(cube())
    assert "this" not in sys.modules


def test_models_of_users_are_said_to_be_lost_as_everywhere(tmp_path: Path) -> None:
    @custom_model
    def hump(x: Any, height: float = 2.0, place: float = 5.0) -> Any:
        return height * np.exp(-0.5 * (x - place) ** 2)

    result = fit(cube(), hump(), "velocity", errors="ignore")
    back = there_and_back(result, tmp_path)
    assert_came_back(back, result)


@pytest.mark.slow
def test_texts_at_random() -> None:
    """Tables with characters, numbers and words exchanged: a result, or a sentence, and nothing else."""
    hdus, _ = stored()
    text = hdus["MODELFIT"].data["RECORD"][0]
    rng = np.random.default_rng(0)
    words = ['"y"', "[]", "{}", "null", "-1", "1e999", "99999999999999999999", '"object"', "true", '""']
    gave = 0
    for _ in range(300):
        start = int(rng.integers(0, len(text) - 1))
        stop = min(len(text), start + int(rng.integers(1, 12)))
        changed = text[:start] + str(rng.choice(words)) + text[stop:]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            back = from_fits(with_text(hdus, changed))
        assert isinstance(back, xr.Dataset)
        assert all("cannot be put together" in str(w.message) for w in caught)
        gave += not caught
        if not caught:
            with contextlib.suppress(RecordError, ValueError):
                back.modelfit.report()
    assert 0 < gave < 300


def test_options_that_a_result_has_not() -> None:
    hdus, _ = stored()
    with pytest.raises(ValueError, match="ignore_bits is given, but the file holds a fit result"):
        from_fits(hdus, ignore_bits=1)
    with pytest.raises(ValueError, match="chunks names the dim 'rows'"):
        from_fits(hdus, chunks={"rows": 2})


# --- results that were masked


@every_way
def test_a_masked_result_comes_back_identical(way: str, tmp_path: Path) -> None:
    """Masked positions have no status, before and after: none of them was a fit that was not attempted."""
    result = line_fit(cube())
    masked = result.where(result["mean"] > 5.0)
    back = there_and_back(masked, tmp_path, way)
    assert_came_back(back, masked)
    report = back.modelfit.report()
    assert FitStatus.NOT_ATTEMPTED not in report.counts[""]
    assert report.masked == {"": int((~(result["mean"] > 5.0)).sum())}
    xr.testing.assert_identical(back.modelfit.ok, masked.modelfit.ok)


@pytest.mark.parametrize("way", ["memory", "file"])
def test_a_masked_status_is_an_image_of_integers(way: str, tmp_path: Path) -> None:
    """As astropy reads it: whole numbers with a BLANK, which are NaN when they are scaled."""
    result = line_fit(cube())
    keep = result["mean"] > 5.0
    hdus = to_hdulist(result.where(keep))
    assert "BLANK" not in hdus["MEAN"].header
    hdus.writeto(tmp_path / "a.fits", output_verify="exception")
    with fits.open(tmp_path / "a.fits", do_not_scale_image_data=True) as raw:
        header, stored_numbers = raw["FIT_STATUS"].header, raw["FIT_STATUS"].data
        assert (header["BITPIX"], header["BLANK"]) == (16, -32768)
        np.testing.assert_array_equal(stored_numbers == header["BLANK"], ~keep)
        np.testing.assert_array_equal(stored_numbers[keep], result["fit_status"].values[keep])
    with fits.open(tmp_path / "a.fits") as scaled:
        np.testing.assert_array_equal(scaled["FIT_STATUS"].data, result["fit_status"].where(keep))
        assert "1: converged" in list(scaled["FIT_STATUS"].header["COMMENT"])
    alone = from_fits(hdus if way == "memory" else tmp_path / "a.fits", hdu="FIT_STATUS")
    np.testing.assert_array_equal(alone, result["fit_status"].where(keep))


def test_a_mask_that_masks_nothing_needs_no_blank(tmp_path: Path) -> None:
    result = line_fit(cube())
    hdus = to_hdulist(result.where(result["n_points"] >= 0))
    hdus.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as read:
        assert "BLANK" not in read["FIT_STATUS"].header
        assert read["FIT_STATUS"].data.dtype.kind == "i"
        np.testing.assert_array_equal(read["FIT_STATUS"].data, result["fit_status"])


def test_averaged_statuses_stay_as_they_are() -> None:
    """Half a status is none: it is not rounded to one."""
    status = line_fit(cube())["fit_status"]
    with xr.set_options(keep_attrs=True):
        mean = status.where(status != 0).mean("x")
    hdus = to_hdulist(mean)
    assert "BLANK" not in hdus[1].header
    np.testing.assert_array_equal(hdus[1].data, mean)


def test_masked_flags_of_data(tmp_path: Path) -> None:
    """Large flags get a type that holds them."""
    attrs = {"flag_masks": np.array([1, 2**20], dtype=np.int32), "flag_meanings": "warm saturated"}
    flags = xr.DataArray(np.array([1, 2**20, 0, 2**20 + 1]), dims="x", name="dq", attrs=attrs)
    with xr.set_options(keep_attrs=True):
        masked = flags.where(flags != 0)
    to_hdulist(masked).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as read:
        assert read["DQ"].header["BITPIX"] == 32
        np.testing.assert_array_equal(read["DQ"].data, [1, 2**20, np.nan, 2**20 + 1])
