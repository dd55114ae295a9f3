"""The seed's example as its user writes it: from a FITS file, with units, and back to FITS."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import Gaussian1D
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

import xr_modelfit

EXAMPLE = {"y": slice(25, 75), "x": slice(35, 85)}
PART = {"y": slice(25, 37), "x": slice(50, 62)}
BOUNDS: dict[str, Any] = {
    "free": None,
    "m/s": {"mean": (3000 * u.m / u.s, 6000 * u.m / u.s)},
    "km/s": {"mean": (3 * u.km / u.s, 6 * u.km / u.s)},
    "one Quantity": {"mean": (3, 6) * u.km / u.s},
}


def start(bounds: tuple[float, float] | None = None) -> Gaussian1D:
    """The seed's model. Its data has no unit, which is said by ``u.one``."""
    model = Gaussian1D(amplitude=1 * u.one, mean=4000 * u.m / u.s, stddev=500 * u.m / u.s)
    if bounds is not None:
        model.mean.bounds = bounds
    return model


@pytest.fixture(scope="module")
def path(shared_data: Path) -> Path:
    return shared_data / "l1448_13co.fits"


_MODELS: dict[tuple[bool, str], Model] = {}


def astropy_model(path: Path, where: dict[str, slice], bounded: bool) -> Model:
    """What ``parallel_fit_dask`` gives for the array, the WCS and the unit of the file."""
    key = (bounded, str(where))
    if key not in _MODELS:
        with fits.open(path, memmap=False) as hdus:
            window = (slice(None), where["y"], where["x"])
            _MODELS[key] = parallel_fit_dask(
                model=start((3000, 6000) if bounded else None),
                fitter=TRFLSQFitter(),
                data=hdus[0].data[window],
                data_unit=u.one,
                world=WCS(hdus[0].header)[window],
                fitting_axes=0,
                scheduler="synchronous",
            )
    return _MODELS[key]


def assert_same(result: xr.Dataset, expected: Model) -> None:
    """1e-10 relative and NaN in the same places: the same fitter on the same numbers, in the same units."""
    for name in expected.param_names:
        values = getattr(expected, name).quantity
        ours = u.Quantity(result[name].values, result[name].attrs["units"] if name != "amplitude" else u.one)
        assert ours.unit == values.unit
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(values))
        np.testing.assert_allclose(ours.value, values.value, rtol=1e-10, atol=0, err_msg=name)


def fitted(path: Path, where: dict[str, slice], bounds: str, way: str, **options: Any) -> xr.Dataset:
    cube = xr_modelfit.from_fits(path, chunks=None if way == "computed" else {"y": 20, "x": 17}).isel(where)
    options = {"fitter": TRFLSQFitter(), "keep_failed": True, "errors": "ignore"} | options
    return cube.modelfit(start(), dim="velocity", bounds=BOUNDS[bounds], **options).compute(scheduler="synchronous")


@pytest.mark.slow
@pytest.mark.parametrize("bounds", list(BOUNDS))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_a_part_equals_astropy_with_the_wcs(path: Path, bounds: str, way: str) -> None:
    assert_same(fitted(path, PART, bounds, way), astropy_model(path, PART, bounds != "free"))


@pytest.mark.slow
@pytest.mark.parametrize("bounds", list(BOUNDS))
@pytest.mark.parametrize("way", ["computed", "lazy"])
def test_the_example_equals_astropy_with_the_wcs(path: Path, bounds: str, way: str) -> None:
    """The 2500 positions of the seed's example."""
    assert_same(fitted(path, EXAMPLE, bounds, way), astropy_model(path, EXAMPLE, bounds != "free"))


@pytest.mark.parametrize("bounds", [pytest.param(b, marks=[pytest.mark.slow] * (b != "km/s")) for b in BOUNDS])
def test_the_model_that_comes_back_is_that_of_astropy(path: Path, bounds: str) -> None:
    """With units, ready to evaluate: the same Quantities as the model of ``parallel_fit_dask``."""
    expected = astropy_model(path, PART, bounds != "free")
    model = fitted(path, PART, bounds, "computed").modelfit.to_model()
    velocity = np.linspace(3, 6, 7)[:, None, None] * u.km / u.s
    values, right = model(velocity), expected(velocity)
    assert values.unit == right.unit
    np.testing.assert_allclose(values.value, right.value, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "where", [EXAMPLE, {"y": slice(80, 20, -3), "x": slice(3, None, 2)}], ids=["example", "strides"]
)
def test_maps_go_back_to_the_same_sky(path: Path, where: dict[str, slice], tmp_path: Path) -> None:
    """The sky positions by the WCS of the written maps are those of the cube's, to 1e-9 degrees."""
    cube = xr_modelfit.from_fits(path).isel(where)
    result = cube.modelfit(start(), dim="velocity", errors="ignore")
    xr_modelfit.to_hdulist(result).writeto(tmp_path / "maps.fits")
    with fits.open(path) as original, fits.open(tmp_path / "maps.fits") as written:
        full = WCS(original[0].header).celestial
        rows, columns = (np.arange(105)[where[d]] for d in ("y", "x"))
        ra, dec = full.array_index_to_world_values(*np.meshgrid(rows, columns, indexing="ij"))
        for name in ("amplitude", "mean", "mean_stderr"):
            hdu = written[name]
            # A stride may be written by counting backwards; the order of the pixels is then the other way round.
            ours = np.stack(WCS(hdu.header).array_index_to_world_values(*np.indices(hdu.data.shape)))
            np.testing.assert_allclose(ours[0], ra, rtol=0, atol=1e-9)
            np.testing.assert_allclose(ours[1], dec, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(hdu.data, result[name].values)
        assert u.Unit(written["mean"].header["BUNIT"]) == u.m / u.s


def test_frequencies_by_an_equivalency_give_the_same_velocities(path: Path) -> None:
    """The same channels told in GHz, radio convention: 1e-6 of an error, as the model is the same function."""
    cube = xr_modelfit.from_fits(path).isel(PART)
    rest = 110.201354 * u.GHz
    velocity = cube["velocity"].values * u.m / u.s
    frequency = velocity.to_value(u.GHz, u.doppler_radio(rest))
    told = cube.assign_coords(velocity=("velocity", frequency, {"units": "GHz"})).rename(velocity="frequency")
    options: dict[str, Any] = {"bounds": BOUNDS["km/s"], "errors": "ignore"}
    right = cube.modelfit(start(), dim="velocity", **options)
    ours = told.modelfit(start(), dim="frequency", equivalencies={"frequency": u.doppler_radio(rest)}, **options)
    xr.testing.assert_equal(ours["fit_status"], right["fit_status"])
    for name in ("amplitude", "mean", "stddev"):
        assert float((abs(ours[name] - right[name]) / right[f"{name}_stderr"]).max()) < 1e-6
    np.testing.assert_allclose(
        ours.modelfit.evaluate(told).values, right.modelfit.evaluate(cube).values, rtol=1e-7, atol=1e-9
    )


def test_opening_the_file_warns_of_nothing(path: Path, recwarn: pytest.WarningsRecorder) -> None:
    xr_modelfit.from_fits(path).load()
    assert not [w for w in recwarn if issubclass(w.category, AstropyWarning)]
