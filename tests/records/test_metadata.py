"""What a result says of itself: the rules of CF conventions, by their text and by a checker."""

import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model, fix_inputs
from astropy.modeling.models import (
    Chebyshev1D,
    Const1D,
    Exponential1D,
    Gaussian1D,
    Gaussian2D,
    Linear1D,
    Lorentz1D,
    Polynomial1D,
    PowerLaw1D,
    Shift,
    Sine1D,
)

from xr_modelfit import FitStatus

pytestmark = pytest.mark.quick_share(3)

LINE = f"xr_modelfit {version('xr_modelfit')}: "
CF_SCALES = {"temperature: on_scale", "temperature: difference", "temperature: unknown"}


@custom_model
def decay(t, amplitude=2.0, tau=4.0, offset=1.0):
    return amplitude * np.exp(-t / tau) + offset


@custom_model
def rooted(t, slope=1.0, offset=3.0):
    return np.sqrt(slope * t + offset)


def spectrum(name: str = "radiation_wavelength", units: str = "nm", **attrs: Any) -> xr.DataArray:
    """A line on a constant, at two positions."""
    x = np.linspace(1.0, 12.0, 60)
    values = 2.0 + 3.0 * np.exp(-0.5 * ((x - np.array([[5.0], [6.0]])) / 0.8) ** 2)
    values += np.random.default_rng(0).normal(0, 0.05, values.shape)
    return xr.DataArray(
        values,
        dims=("pixel", "x"),
        coords={"x": ("x", x, {"units": units, "standard_name": name} | attrs)},
        name="flux",
        attrs={"units": "W m-2", "standard_name": "surface_upwelling_shortwave_flux_in_air"},
    )


def climate(**attrs: Any) -> xr.Dataset:
    """Monthly temperatures on a grid with bounds, a projection and a scalar height."""
    time = xr.date_range("2000-01-16", periods=48, freq="MS")
    days = np.arange(48.0)
    values = 280.0 + 0.01 * days[:, None, None] + np.random.default_rng(1).normal(0, 1.0, (48, 3, 2))
    y, x = np.arange(3.0) * 1000, np.arange(2.0) * 1000
    tas = {"units": "K", "standard_name": "air_temperature", "cell_methods": "time: mean", "grid_mapping": "crs"}
    return xr.Dataset(
        {
            "tas": (("time", "y", "x"), values, tas | attrs),
            "y_bnds": (("y", "bnds"), np.stack([y - 500, y + 500], axis=1)),
            "time_bnds": (("time", "bnds"), np.stack([time - np.timedelta64(15, "D"), time], axis=1)),
            "crs": ((), 0, {"grid_mapping_name": "lambert_azimuthal_equal_area"}),
        },
        coords={
            "time": ("time", time, {"standard_name": "time", "axis": "T", "bounds": "time_bnds"}),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y", "bounds": "y_bnds"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X", "bounds": "x_bnds"}),
            "height": ((), 2.0, {"standard_name": "height", "units": "m", "positive": "up"}),
        },
        attrs={"Conventions": "CF-1.6", "title": "A model", "history": "made here", "featureType": "timeSeries"},
    )


def names_of(result: xr.Dataset) -> dict[str, str]:
    """Standard names of parameters and errors."""
    both = [*result.modelfit.params, *(f"{n}_stderr" for n in result.modelfit.params)]
    return {n: result[n].attrs["standard_name"] for n in both if "standard_name" in result[n].attrs}


# --- the whole


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, "CF-1.11"),
        ("CF-1.4", "CF-1.11"),
        ("CF-1.9", "CF-1.11"),
        ("CF-1.12", "CF-1.12"),
        ("CF-2.0", "CF-2.0"),
        ("COARDS", "CF-1.11"),
        ("", "CF-1.11"),
        ("CF-1.6, ACDD-1.3", "CF-1.11, ACDD-1.3"),
        ("CF-1.7 CMIP-6.2", "CF-1.11"),
        ("ACDD-1.3 CF-1.13", "CF-1.13, ACDD-1.3"),
        (["CF-1.6", "ACDD-1.1"], "CF-1.11, ACDD-1.1"),
    ],
)
def test_conventions(source: Any, expected: str) -> None:
    """units_metadata is of CF-1.11. A claim on variables that are no longer there does not stay; one on attrs does."""
    data = spectrum().assign_attrs({} if source is None else {"Conventions": source})
    assert data.modelfit(Gaussian1D(), "x", errors="ignore").attrs["Conventions"] == expected


@pytest.mark.parametrize(
    ("source", "rest"),
    [(None, ""), ("", ""), ("b\na", "\nb\na"), (["b", "a"], "\nb\na"), (np.array(["b", "a"]), "\nb\na")],
)
def test_history_has_the_newest_line_first(source: Any, rest: str) -> None:
    """As NCO and CDO write it, and without the time, which would make equal calls differ."""
    data = spectrum().assign_attrs({} if source is None else {"history": source})
    result = data.modelfit(Const1D() + Gaussian1D(3, 5, 1), "x")
    assert result.attrs["history"] == LINE + "Const1D + Gaussian1D fitted to flux along x" + rest
    xr.testing.assert_identical(result, data.modelfit(Const1D() + Gaussian1D(3, 5, 1), "x"))
    lazy = data.chunk(pixel=1).modelfit(Const1D() + Gaussian1D(3, 5, 1), "x")
    assert lazy.attrs == result.attrs
    assert {n: {k: str(v) for k, v in a.attrs.items()} for n, a in lazy.variables.items()} == {
        n: {k: str(v) for k, v in a.attrs.items()} for n, a in result.variables.items()
    }


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Linear1D(name="trend"), "trend"),
        (Linear1D() + Sine1D() + Const1D(), "Linear1D + Sine1D + Const1D"),
        (Const1D() - (Gaussian1D() - Lorentz1D()), "Const1D - (Gaussian1D - Lorentz1D)"),
        ((Const1D() + Linear1D()) * Gaussian1D(), "(Const1D + Linear1D) * Gaussian1D"),
        (Shift(1) | Gaussian1D(), "Shift | Gaussian1D"),
    ],
)
def test_history_names_the_model(model: Model, text: str) -> None:
    result = spectrum().rename(None).modelfit(model, "x", errors="ignore")
    assert result.attrs["history"] == f"{LINE}{text} fitted along x"


def test_history_of_a_model_with_held_inputs() -> None:
    held = fix_inputs(Gaussian2D(3, 5, 1, 1, 1), {"y": 1.0})
    result = spectrum().modelfit(held, "x", errors="ignore")
    assert result.attrs["history"] == LINE + "Gaussian2D with y held fitted to flux along x"


def test_every_variable_has_a_line() -> None:
    ds = xr.Dataset({"a": spectrum(), "b": spectrum()}, attrs={"history": "made\nhere"})
    result = ds.modelfit(Const1D(), "x")
    lines = [f"{LINE}Const1D fitted to {name} along x" for name in "ab"]
    assert result.attrs["history"].split("\n") == [*lines, "made", "here"]


def test_attrs_of_the_input_are_kept_or_not() -> None:
    """What speaks of a variable, or of the structure of the source, is not of the result."""
    ds = climate()
    ds.attrs |= {"_NCProperties": "x", "external_variables": "areacella", "units": "m", "cdm": 1}
    kept = ds.modelfit(Linear1D(), "time", data="tas")
    line = LINE + "Linear1D fitted to tas along time"
    assert kept.attrs == {"Conventions": "CF-1.11", "title": "A model", "cdm": 1, "history": f"{line}\nmade here"}
    bare = ds.modelfit(Linear1D(), "time", data="tas", keep_attrs=False)
    assert bare.attrs == {"Conventions": "CF-1.11", "history": line}
    assert ds.attrs["Conventions"] == "CF-1.6"


# --- variables


def test_what_belongs_together() -> None:
    """CF 3.4: what qualifies a value is named by it. CF 3.5: flags of the type of their variable."""
    result = climate().modelfit(Linear1D(), "time", covariance=True)
    for name in ("slope", "intercept"):
        beside = result[f"tas_{name}"].attrs["ancillary_variables"].split()
        assert beside == [f"tas_{name}_stderr", "tas_fit_status", "tas_n_points"]
        assert set(beside) <= set(result.data_vars)
    status = result["tas_fit_status"]
    assert status.attrs["standard_name"] == "status_flag"
    assert status.attrs["flag_values"].dtype == status.dtype == np.int8
    assert status.attrs["flag_values"].tolist() == [s.value for s in FitStatus]
    assert status.attrs["flag_meanings"].split() == [s.meaning for s in FitStatus]
    assert result["tas_n_points"].attrs["standard_name"] == "number_of_observations"
    assert {result[f"tas_{n}"].attrs["units"] for n in ("dof", "n_points", "n_iter")} == {"1"}
    assert "units" not in result["tas_covariance"].attrs
    for name, variable in result.data_vars.items():
        assert variable.attrs["long_name"], name
    assert result["cov_i"].attrs["long_name"] != result["cov_j"].attrs["long_name"]
    assert json.loads(status.attrs["modelfit_record"])["prefix"] == "tas_"


LEVELS = [
    (Const1D(), "amplitude"),
    (Linear1D(), "intercept"),
    (Polynomial1D(2), "c0"),
    (Chebyshev1D(2, domain=(0, 12)), "c0"),
    (Const1D() + Gaussian1D(3, 5.5, 1), "amplitude_0"),
    (Gaussian1D(3, 5.5, 1) + Linear1D(), "intercept_1"),
    (Linear1D() - Gaussian1D(-3, 5.5, 1), "intercept_0"),
    (Shift(1.0, fixed={"offset": True}) | Linear1D(), "intercept_1"),
    (decay(), "offset"),
]


@pytest.mark.parametrize(("model", "level"), LEVELS, ids=lambda v: v if isinstance(v, str) else None)
def test_a_level_of_the_data_has_its_name(model: Model, level: str) -> None:
    """It is the parameter that moves by a constant when the data do; nothing else does."""
    data = spectrum()
    noise = np.random.default_rng(2).normal(0, 0.01, data.shape)
    data = data.copy(data=model(data["x"].values) + noise)
    data.attrs = {"units": "K", "standard_name": "air_temperature"}
    result = data.modelfit(model, "x", errors="ignore")
    names = {n: v for n, v in names_of(result).items() if not v.startswith("radiation")}
    assert names == {level: "air_temperature", f"{level}_stderr": "air_temperature standard_error"}
    moved = data.copy(data=data.values + 100).modelfit(model, "x", p0=result, errors="ignore")
    good = (result["fit_status"] > 0) & (moved["fit_status"] > 0)
    assert good.all()
    for name in result.modelfit.params:
        by = 100 if name == level else 0
        np.testing.assert_allclose(moved[name] - result[name], by, atol=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        Gaussian1D(3, 5.5, 1),
        Sine1D(1, 0.2),
        PowerLaw1D(3, 1, 1),
        Exponential1D(1, 10),
        rooted(),
        Const1D() + Const1D(),
        Gaussian1D(3, 5.5, 1) - Const1D(),
        Const1D() - Const1D(),
        Const1D(2) * Gaussian1D(1, 5.5, 1),
    ],
    ids=str,
)
def test_nothing_else_has_the_name_of_the_data(model: Model) -> None:
    """A height above a level that is not fitted, a factor, an opposite, one of two constants."""
    result = spectrum("sensor_zenith_angle", "degree").modelfit(model, "x", errors="ignore")
    assert not [v for v in names_of(result).values() if "flux" in v]


def test_a_place_has_the_name_of_its_coordinate() -> None:
    model = Gaussian1D(3, 5.5, 1)
    expected = {"mean": "radiation_wavelength", "mean_stderr": "radiation_wavelength standard_error"}
    assert names_of(spectrum().modelfit(model, "x")) == expected
    result = spectrum().modelfit(model, "x", p0={"mean": 0.0055 * u.um})
    assert names_of(result) == expected
    assert result["mean"].attrs["units"] == "um"
    unnamed = spectrum()
    del unnamed["x"].attrs["standard_name"]
    assert names_of(unnamed.modelfit(model, "x")) == {}


def test_a_place_in_another_kind_of_unit_has_no_name() -> None:
    """A wavelength of a frequency axis is no frequency."""
    data = spectrum("radiation_frequency", "THz")
    model = Gaussian1D(3 * u.W / u.m**2, 55 * u.um, 10 * u.um)
    result = data.modelfit(model, "x", equivalencies={"x": u.spectral()}, errors="ignore")
    assert result["mean"].attrs["units"] == "um"
    assert names_of(result) == {}


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("latitude", {}),
        ("height", {"positive": "up"}),
        ("depth", {}),
        ("projection_x_coordinate", {}),
        ("height_above_mean_sea_level", {}),
        ("air_pressure", {"positive": "down"}),
        ("radiation_wavelength", {"axis": "X"}),
        ("radiation_wavelength standard_error", {}),
        ("", {}),
    ],
)
def test_a_place_in_space_would_pass_for_a_coordinate(name: str, attrs: dict[str, str]) -> None:
    assert names_of(spectrum(name, "m", **attrs).modelfit(Gaussian1D(3, 5.5, 1), "x")) == {}


def test_a_place_in_time_has_no_name() -> None:
    """CF's time has "since" in its units."""
    data = spectrum().drop_vars("x").assign_coords(x=xr.date_range("2000-01-01", periods=60))
    data["x"].attrs = {"standard_name": "time"}
    result = data.modelfit(Gaussian1D(3, 10980, 4), "x", errors="ignore")
    assert names_of(result) == {}
    assert result["mean"].attrs["units"] == "d"


@pytest.mark.parametrize(
    ("methods", "named"),
    [("time: mean", 1), ("time: maximum", 1), ("time: variance", 0), ("area: mean time: standard_deviation", 0)],
)
def test_a_statistic_of_another_quantity_gives_no_name(methods: str, named: int) -> None:
    result = climate(cell_methods=methods).modelfit(Linear1D(), "time", data="tas")
    assert len(names_of(result)) == 2 * named


# --- temperatures: CF 3.1.2


@pytest.mark.parametrize("units", ["K", "degC", "mK"])
def test_differences_of_temperature_are_told(units: str) -> None:
    """Errors, slopes and amplitudes beside a level have no zero point."""
    model = Linear1D(0, 280) + Sine1D(1, 1 / 365)
    result = climate(units=units).modelfit(model, "time", data="tas", errors="ignore")
    for name in ("slope_0", "amplitude_1", "slope_0_stderr", "intercept_0_stderr", "amplitude_1_stderr", "chi2"):
        assert result[name].attrs["units_metadata"] == "temperature: difference", name
    assert result["intercept_0"].attrs["units_metadata"] == "temperature: unknown"
    for name in ("frequency_1", "phase_1", "frequency_1_stderr", "dof", "n_points", "fit_status"):
        assert "units_metadata" not in result[name].attrs, name


@pytest.mark.parametrize("scale", ["on_scale", "difference", "unknown"])
def test_a_level_is_on_the_scale_of_the_data(scale: str) -> None:
    ds = climate(units_metadata=f"temperature: {scale}")
    result = ds.modelfit(Linear1D(), "time", data="tas")
    assert result["intercept"].attrs["units_metadata"] == f"temperature: {scale}"


def test_a_place_is_on_the_scale_of_its_coordinate() -> None:
    data = spectrum("air_temperature", "degC", units_metadata="temperature: on_scale")
    result = data.modelfit(Gaussian1D(3, 5.5, 1), "x")
    assert result["mean"].attrs["units_metadata"] == "temperature: on_scale"
    for name in ("stddev", "mean_stderr", "stddev_stderr"):
        assert result[name].attrs["units_metadata"] == "temperature: difference", name
    sloped = data.modelfit(Linear1D(), "x")
    assert sloped["slope"].attrs["units"] == "W m-2 degC-1"
    assert "units_metadata" not in sloped["slope"].attrs
    assert "units_metadata" not in sloped["intercept"].attrs


def test_without_a_level_nothing_is_claimed() -> None:
    data = spectrum()
    data.attrs = {"units": "K"}
    result = data.modelfit(Gaussian1D(3, 5.5, 1), "x")
    assert "units_metadata" not in result["amplitude"].attrs
    assert result["amplitude_stderr"].attrs["units_metadata"] == "temperature: difference"


# --- coordinates


def test_what_coordinates_refer_to_comes_along() -> None:
    """Bounds of coordinates that stay, and the grid mapping; a reference that would lead nowhere goes."""
    ds = climate()
    before = ds.copy(deep=True)
    result = ds.modelfit(Linear1D(), "time", data="tas")
    assert set(result.coords) == {"y", "x", "height", "y_bnds", "crs"}
    xr.testing.assert_identical(result["y"].drop_vars(["height", "crs"]), ds["y"].drop_vars("height"))
    np.testing.assert_array_equal(result["y_bnds"], ds["y_bnds"])
    assert "bounds" not in result["x"].attrs
    assert result["x"].attrs["standard_name"] == "projection_x_coordinate"
    maps = [v for v in result.data_vars.values() if {"y", "x"} <= set(v.dims)]
    assert maps
    assert {v.attrs["grid_mapping"] for v in maps} == {"crs"}
    assert result["crs"].attrs == ds["crs"].attrs | {"long_name": "grid mapping"}
    xr.testing.assert_identical(ds, before)


def test_the_array_alone_has_no_bounds() -> None:
    result = climate()["tas"].modelfit(Linear1D(), "time")
    assert set(result.coords) == {"y", "x", "height"}
    assert not [n for n, v in result.variables.items() if {"bounds", "grid_mapping"} & set(v.attrs)]


def test_references_that_xarray_put_aside_are_read(tmp_path: Path) -> None:
    """decode_coords="all" makes coordinates of bounds and mapping, and moves the references to encodings."""
    source = climate()
    del source["x"].attrs["bounds"]
    source.to_netcdf(tmp_path / "data.nc", encoding={"time": {"units": "days since 2000-01-01"}})
    with xr.open_dataset(tmp_path / "data.nc", decode_coords="all") as ds:
        of_dataset, of_array = ds.modelfit(Linear1D(), "time", data="tas"), ds["tas"].modelfit(Linear1D(), "time")
    assert of_dataset["y"].attrs["bounds"] == "y_bnds"
    assert "bounds" not in of_array["y"].attrs  # an array has no room for a coordinate over another dim
    assert set(of_dataset.coords) == set(of_array.coords) | {"y_bnds"}
    assert of_dataset["slope"].attrs["grid_mapping"] == of_array["slope"].attrs["grid_mapping"] == "crs"


@pytest.mark.parametrize(
    ("mapping", "kept"), [("crs", True), ("crs: x y", True), ("crs: x y other: lat lon", False), ("gone", False)]
)
def test_a_grid_mapping_stays_where_all_of_it_does(mapping: str, kept: bool) -> None:
    result = climate(grid_mapping=mapping).modelfit(Linear1D(), "time", data="tas")
    assert result["slope"].attrs.get("grid_mapping") == (mapping if kept else None)


def test_a_fit_over_the_map_leaves_no_grid_mapping() -> None:
    ds = climate()
    result = ds.modelfit(Const1D(), dim=("y", "x"), coords="y", data="tas")
    assert set(result.coords) == {"time", "time_bnds", "height"}
    assert "grid_mapping" not in result["amplitude"].attrs
    np.testing.assert_array_equal(result["time_bnds"], ds["time_bnds"])


def test_bounds_may_be_lazy() -> None:
    ds = climate()
    ds["y_bnds"] = ds["y_bnds"].chunk(y=1)
    result = ds.modelfit(Linear1D(), "time", data="tas")
    assert result["y_bnds"].chunks is not None
    assert result["slope"].chunks is None


def test_a_formula_goes_with_its_terms() -> None:
    """Of CF 4.3.3: with one term gone, the formula says nothing."""
    level = {"standard_name": "atmosphere_sigma_coordinate", "formula_terms": "sigma: lev ps: ps ptop: ptop"}
    ds = climate().isel(x=0).expand_dims(lev=[0.2, 0.8])
    ds["lev"].attrs = level
    ds = ds.assign(ptop=1.0, ps=("time", np.ones(48)))
    assert "formula_terms" not in ds.modelfit(Linear1D(), "time", data="tas")["lev"].attrs
    ds["ps"] = 1.0
    result = ds.modelfit(Linear1D(), "time", data="tas")
    assert result["lev"].attrs == level
    assert {"ps", "ptop"} <= set(result.coords)


# --- files


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "zarr"])
def test_a_climate_result_comes_back(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine.replace("netcdf4", "netCDF4"))
    path = tmp_path / "fit"
    result = climate().modelfit(Linear1D(), "time", data="tas")
    if engine == "zarr":
        result.to_zarr(path)
        back = xr.open_zarr(path).load()
    else:
        result.to_netcdf(path, engine=engine)
        back = xr.load_dataset(path, engine=engine)
    xr.testing.assert_identical(back, result)


def test_coordinates_have_no_fill_value(tmp_path: Path) -> None:
    """CF 2.5.1: a coordinate variable has no missing values; xarray gives it a fill value by default."""
    netcdf = pytest.importorskip("netCDF4")
    climate().modelfit(Linear1D(), "time", data="tas").to_netcdf(tmp_path / "fit.nc", engine="netcdf4")
    with netcdf.Dataset(tmp_path / "fit.nc") as file:
        assert not [n for n in ("y", "x", "y_bnds") if "_FillValue" in file[n].ncattrs()]
        assert "_FillValue" in file["slope"].ncattrs()


def udunits_reads(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cf_units = pytest.importorskip("cf_units")
    try:
        cf_units.Unit(text)
    except ValueError:
        return False
    return True


WORDS = """
    K degC m km hPa mm/day km/s W/m2 W.m-2 kg/m**2/s % ppm 1 nm um Angstrom GHz arcsec eV rad yr hours s µm °C
    erg/s/cm^2/Angstrom psi degrees_north mol/m^3 1e-3 watts kelvin millibar feet kt degF
""".split()  # noqa: SIM905


@pytest.mark.parametrize("x_units", ["m", "degrees_east", "K", "days"])
@pytest.mark.parametrize("units", WORDS)
def test_udunits_reads_units_that_it_knows_the_words_of(units: str, x_units: str) -> None:
    """Whatever the package makes of two units that UDUNITS reads."""
    if not udunits_reads(units):
        pytest.skip(f"UDUNITS does not read {units!r}")
    data = spectrum("", x_units)
    data.attrs = {"units": units}
    for model in (Polynomial1D(2), Gaussian1D(3, 5.5, 1)):
        result = data.modelfit(model, "x", errors="ignore")
        for name, variable in result.data_vars.items():
            assert udunits_reads(variable.attrs.get("units", "1")), (name, variable.attrs["units"])


def test_units_that_nobody_converts_are_carried_untouched() -> None:
    data = spectrum().assign_attrs(units="Jy/beam")
    result = data.modelfit(Gaussian1D(3, 5.5, 1), "x")
    assert result["amplitude"].attrs["units"] == result["amplitude_stderr"].attrs["units"] == "Jy/beam"


HADGEM, NRCAN = "xclim_tas_hadgem2es.nc", "xclim_nrcan.nc"


def of_a_model(ds: xr.Dataset) -> xr.Dataset:
    return ds.modelfit(Linear1D(), "time")


def with_seasons(ds: xr.Dataset) -> xr.Dataset:
    model = Linear1D(0, 280) + Sine1D(5, 1 / 360, 0, fixed={"frequency": True})
    return ds.modelfit(model, "time", data="tas", covariance=True)


def of_one_array(ds: xr.Dataset) -> xr.Dataset:
    return ds["tas"].assign_attrs(title="Near-surface temperature").modelfit(Linear1D(), "time")


def over_the_map(ds: xr.Dataset) -> xr.Dataset:
    return ds.modelfit(Const1D(), dim=("lat", "lon"), coords="lat", data="tas", sigma=1.0)


def of_some_years(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(time=slice(0, 2000)).modelfit(Linear1D(), "time")


def on_a_projection(_: xr.Dataset) -> xr.Dataset:
    ds = climate()
    ds["crs"].attrs |= {"longitude_of_projection_origin": 10.0, "latitude_of_projection_origin": 52.0}
    ds["crs"].attrs |= {"false_easting": 0.0, "false_northing": 0.0}
    return ds.modelfit(Linear1D(), "time")


@pytest.mark.parametrize(
    ("source", "call"),
    [
        (HADGEM, of_a_model),
        (HADGEM, with_seasons),
        (HADGEM, of_one_array),
        (HADGEM, over_the_map),
        (HADGEM, on_a_projection),
        (NRCAN, of_some_years),
    ],
)
def test_the_compliance_checker_finds_nothing(
    source: str, call: Callable[[xr.Dataset], xr.Dataset], shared_data: Path, tmp_path: Path
) -> None:
    """Neither an error nor anything that it recommends, but for the dims of a covariance, which stand last."""
    pytest.importorskip("netCDF4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = pytest.importorskip("compliance_checker.suite").CheckSuite
        path = tmp_path / "fit.nc"
    with xr.open_dataset(shared_data / source) as ds:
        result = call(ds)
    result.to_netcdf(path, engine="netcdf4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite.load_all_available_checkers()
        checker = suite()
        found = checker.run_all(checker.load_dataset(str(path)), ["cf:1.11"])
    groups, errors = found["cf:1.11"]
    assert len(groups) > 20
    told = [m for one in groups for m in one.msgs if one.value[0] != one.value[1]]
    assert [m for m in told if not m.startswith("covariance's spatio-temporal dimensions")] == []
    # Labels of text on a dim, as xarray has them, are more than this check of the checker can take.
    texts = [n for n in result.dims if n in result.variables and result[n].dtype.kind in "OUT"]
    assert set(errors) <= ({"check_coordinate_variables_strict_monotonicity"} if texts else set())
