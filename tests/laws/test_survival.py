"""A result goes on knowing its model through what users do with it, and a file that was kept opens."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.models import Chebyshev1D, Const1D, Gaussian1D, Linear1D

from xr_modelfit import RecordError, fit

V = np.linspace(0.0, 6.0, 25)


def spectra(first: int = 0, n: int = 3) -> xr.DataArray:
    """Lines that a Gaussian on a constant describes exactly; each position has another."""
    star = first + np.arange(n)
    centre = 2.5 + 0.2 * star
    values = (2 + 0.1 * star[:, None]) * np.exp(-0.5 * (V - centre[:, None]) ** 2) + 0.5
    coords = {"v": ("v", V, {"units": "km/s"}), "star": star, "kind": ("star", np.array(list("abab"))[star % 4])}
    return xr.DataArray(values, dims=("star", "v"), coords=coords, name="flux", attrs={"units": "K"})


def line() -> Model:
    return Gaussian1D(2, 3, 1, name="line") + Const1D(0.4)


def fitted(data: xr.DataArray, **options: Any) -> xr.Dataset:
    return fit(data, line(), "v", **options)


def by_map(data: xr.DataArray) -> xr.Dataset:
    return data.groupby("kind").map(lambda group: group.modelfit(line(), "v"))


def through_tree(result: xr.Dataset) -> xr.Dataset:
    return xr.DataTree.from_dict({"/one": result, "/two": result})["two"].to_dataset()


def kept(result: xr.Dataset) -> xr.Dataset:
    with xr.set_options(keep_attrs=True):
        return result * 2.0 / 2.0


def halves(data: xr.DataArray) -> list[xr.Dataset]:
    return [fitted(data.isel(star=[0])), fit(data.isel(star=[1, 2]), line().copy(), "v", p0={"line_mean": 3.1})]


# What is done with a result, and what is then the data that it describes.
DONE: dict[str, tuple[Callable[[xr.DataArray], xr.Dataset], Callable[[xr.DataArray], xr.DataArray]]] = {
    "isel": (lambda d: fitted(d).isel(star=[2, 0]), lambda d: d.isel(star=[2, 0])),
    "isel of one": (lambda d: fitted(d).isel(star=1), lambda d: d.isel(star=1)),
    "sel": (lambda d: fitted(d).sel(star=slice(1, 2)), lambda d: d.sel(star=slice(1, 2))),
    "drop_sel": (lambda d: fitted(d).drop_sel(star=1), lambda d: d.drop_sel(star=1)),
    "sortby": (lambda d: fitted(d).sortby("star", ascending=False), lambda d: d[::-1]),
    "squeeze": (lambda d: fitted(d[:1]).squeeze(), lambda d: d[0]),
    "arithmetic with keep_attrs": (lambda d: kept(fitted(d)), lambda d: d),
    "assign": (lambda d: fitted(d).assign(more=1.0).assign_attrs(title="A"), lambda d: d),
    "copy": (lambda d: fitted(d).copy(deep=True), lambda d: d),
    "pickle": (lambda d: pickle.loads(pickle.dumps(fitted(d))), lambda d: d),
    "chunk": (lambda d: fitted(d).chunk(star=1), lambda d: d),
    "compute": (lambda d: fitted(d.chunk(star=1)).compute(), lambda d: d),
    "where": (lambda d: (r := fitted(d)).where(r["star"] != 1), lambda d: d.where(d["star"] != 1)),
    "reindex": (lambda d: fitted(d).reindex(star=[0, 1, 2, 9]), lambda d: d.reindex(star=[0, 1, 2, 9])),
    "align": (lambda d: xr.align(fitted(d), d[1:], join="inner")[0], lambda d: d[1:]),
    "shift": (lambda d: fitted(d).shift(star=1), lambda d: d.shift(star=1)),
    "transpose": (
        lambda d: fitted(d.expand_dims(run=[1, 2])).transpose("star", "run"),
        lambda d: d.expand_dims(run=[1, 2]),
    ),
    "expand_dims": (lambda d: fitted(d).expand_dims(run=[1, 2]), lambda d: d.expand_dims(run=[1, 2])),
    "unstack": (
        lambda d: fitted(d.expand_dims(run=[1, 2])).stack(place=("run", "star")).unstack("place"),
        lambda d: d.expand_dims(run=[1, 2]),
    ),
    "stack": (
        lambda d: fitted(d.expand_dims(run=[1, 2])).stack(place=("run", "star")),
        lambda d: d.expand_dims(run=[1, 2]).stack(place=("run", "star")),
    ),
    "concat": (lambda d: xr.concat(halves(d), "star"), lambda d: d),
    "concat along a new dim": (
        lambda d: xr.concat([fitted(d), fitted(d)], xr.Variable("run", [1, 2])),
        lambda d: d.expand_dims(run=[1, 2]),
    ),
    "combine_by_coords": (lambda d: xr.combine_by_coords(halves(d)[::-1], combine_attrs="override"), lambda d: d),
    "merge": (lambda d: xr.merge(halves(d), join="outer", compat="no_conflicts"), lambda d: d),
    "combine_first": (lambda d: fitted(d[:2]).combine_first(fitted(d)), lambda d: d),
    "rename of a dim": (lambda d: fitted(d).rename(star="object"), lambda d: d.rename(star="object")),
    "rename of all variables": (lambda d: (r := fitted(d)).rename({n: f"a_{n}" for n in r.data_vars}), lambda d: d),
    "a parameter in another unit": (
        lambda d: (r := fitted(d)).assign(line_mean=(r["line_mean"] * 1000).assign_attrs(units="m/s")),
        lambda d: d,
    ),
    "groupby": (by_map, lambda d: d),
    "drop of statistics": (lambda d: (r := fitted(d))[[*r.modelfit.params, "fit_status"]], lambda d: d),
    "DataTree": (lambda d: through_tree(fitted(d)), lambda d: d),
}


@pytest.mark.parametrize("what", DONE)
def test_a_result_survives(what: str) -> None:
    """It evaluates to the data that it was fitted to, position by position."""
    do, data_of = DONE[what]
    data = spectra()
    result, expected = do(data), data_of(data)
    got = result.modelfit.evaluate(expected)
    assert got.dims == expected.dims
    np.testing.assert_allclose(got.values, expected.values, atol=1e-9)
    assert got.attrs["units"] == "K"
    assert result.modelfit.ok.sum() == expected.notnull().any("v").sum()
    one = result.isel({d: 0 for d in result.modelfit.ok.dims}).modelfit.to_model()
    assert [part.name for part in (one[0], one[1])] == ["line", None]


def test_stacked_positions() -> None:
    """Labels of two levels: a fit that starts from another one, and from the data's largest sample."""
    data = spectra().expand_dims(run=[1, 2]).stack(place=("run", "star"))
    first = fitted(data)
    for start in (first, {"line_mean": data.idxmax("v")}, {"line_mean": first["line_mean"]}):
        again = fitted(data, p0=start)
        xr.testing.assert_allclose(again["line_mean"], first["line_mean"])
        assert again.modelfit.ok.all()
        assert str(again.modelfit.report()).startswith("6 fits, 6 successful")
        np.testing.assert_allclose(again.modelfit.evaluate(data), data, atol=1e-9)
        assert again.modelfit.params.sizes == {"place": 6}
        assert again.modelfit.to_model()[0].mean.shape == (6,)


def test_two_results_in_one() -> None:
    """Each is found by its prefix, and keeps its own model."""
    data = spectra()
    other = fit(data, Chebyshev1D(2, domain=(0, 6)), "v", prefix="sky_")
    both = xr.merge([fitted(data, prefix="line_"), other])
    np.testing.assert_allclose(both.modelfit.evaluate(data, data="line").transpose(*data.dims), data, atol=1e-9)
    xr.testing.assert_allclose(both.modelfit.evaluate(data, data="sky"), other.modelfit.evaluate(data))
    assert tuple(both.modelfit.to_model(data="sky").domain) == (0, 6)


def test_every_node_of_a_tree() -> None:
    """``map_over_datasets`` fits and evaluates; the nodes have positions of their own."""
    tree = xr.DataTree.from_dict({"/one": spectra().to_dataset(), "/two": spectra(5, 4).to_dataset()})
    fits = tree.map_over_datasets(lambda ds: ds.modelfit(line(), "v"))
    models = xr.map_over_datasets(
        lambda result, ds: result.modelfit.evaluate(ds).to_dataset(name="model") if result else None, fits, tree
    )
    for name, data in (("one", spectra()), ("two", spectra(5, 4))):
        np.testing.assert_allclose(models[name]["model"].transpose(*data.dims), data, atol=1e-9)


def test_resample() -> None:
    """Groups in time, each with the times of its own."""
    time = np.datetime64("2020-01-01", "ns") + np.arange(48) * np.timedelta64(1, "h")
    hours = xr.DataArray(np.arange(48.0), dims="time", coords={"time": time})
    result = hours.resample(time="1D").map(lambda day: day.modelfit(Linear1D(), "time"))
    assert result["slope"].dims == ("time",)
    np.testing.assert_allclose(result["slope"], 24.0, rtol=1e-9)  # a day
    day = hours.isel(time=slice(24, 48)).rename(time="t").modelfit(Linear1D(), "t", coords="t")
    np.testing.assert_allclose(day.modelfit.evaluate(t=["2020-01-03"]), 48.0, rtol=1e-6)


@pytest.mark.filterwarnings(
    "ignore:The codec .vlen-utf8", "ignore:The data type .FixedLengthUTF32", "ignore:The dtype .<U"
)
def test_a_store_that_grows(tmp_path: Path) -> None:
    """``append_dim`` of zarr: results of later data go behind the first."""
    pytest.importorskip("zarr")
    data = spectra(0, 4).drop_vars("kind")
    fitted(data[:2]).to_zarr(tmp_path / "store")
    fitted(data[2:]).to_zarr(tmp_path / "store", append_dim="star")
    with xr.open_zarr(tmp_path / "store") as result:
        np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-9)


def test_lost_attrs_are_told_and_given_back() -> None:
    """The message says how."""
    result = fitted(spectra())
    with xr.set_options(keep_attrs=False):
        bare = result * 1.0
    for method in (lambda: bare.modelfit.evaluate(spectra()), bare.modelfit.to_model, lambda: bare.modelfit.ok):
        with pytest.raises(RecordError, match=r"keep_attrs=True.*give them back") as caught:
            method()
    code = str(caught.value).partition("give them back: ")[2].partition(", of the result")[0]
    exec(code, {"result": bare, "fit": result})
    xr.testing.assert_equal(bare.modelfit.evaluate(spectra()), result.modelfit.evaluate(spectra()))


def test_records_that_differ_are_dropped_by_drop_conflicts() -> None:
    """Said, not guessed."""
    with pytest.raises(RecordError, match="attrs were lost"):
        xr.concat(halves(spectra()), "star", combine_attrs="drop_conflicts").modelfit.evaluate(spectra())


# --- a file that was kept

KEPT = Path(__file__).parents[1] / "data" / "result.nc"
TRUTH = {"flux": (3.0, 2.0, 0.8, 1.0), "echo": (1.5, 3.0, 1.1, 0.5)}


def observations() -> xr.Dataset:
    """Two spectra on each of four days, with a little noise."""
    rng = np.random.default_rng(11)
    days = np.array(["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-03"], dtype="datetime64[ns]")
    velocity = np.linspace(-1.0, 7.0, 33)
    number = (days - days[0]) / np.timedelta64(1, "D")
    found = {}
    for name, (height, centre, width, level) in TRUTH.items():
        shape = height * np.exp(-0.5 * ((velocity - centre - 0.1 * number[:, None]) / width) ** 2)
        values = shape + level + 0.05 * velocity + rng.normal(0, 0.01, shape.shape)
        found[name] = ("day", "velocity"), values, {"units": "mK"}
    coords = {"day": days, "velocity": ("velocity", velocity, {"units": "km / s"}), "beam": ("day", list("abba"))}
    return xr.Dataset(found, coords)


def make_kept_file(path: Path) -> None:
    """How ``tests/data/result.nc`` was made: lines with units on two variables, and their drift with time."""
    data = observations()
    units = Gaussian1D(2 * u.mK, 2500 * u.m / u.s, 1 * u.km / u.s, name="line", bounds={"stddev": (0.1, 3)})
    # A baseline without units of its own stands in another fit, since astropy's polynomials take none.
    lines = data.modelfit(units + Const1D(1 * u.mK, name="level"), "velocity", sigma=0.01, covariance=False)
    bases = data["flux"].modelfit(
        Gaussian1D(2, 2.5, 1, name="line") + Chebyshev1D(1, domain=(-1, 7), c0=1, fixed={"c1": True}, c1=0.2),
        "velocity",
        prefix="base_",
    )
    drift = lines["flux_line_mean"].modelfit(Linear1D(), "day", prefix="drift_", time_units="hours since 2024-02-28")
    xr.merge([lines, bases, drift], compat="override", join="exact", combine_attrs="override").to_netcdf(path)


def gaussian(x: Any, height: Any, centre: Any, width: Any) -> Any:
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2)


@pytest.fixture
def kept_result() -> xr.Dataset:
    pytest.importorskip("netCDF4")
    return xr.load_dataset(KEPT)


def test_the_kept_file_is_small() -> None:
    """It travels with the source."""
    assert KEPT.stat().st_size < 60_000


def test_the_kept_file_evaluates(kept_result: xr.Dataset) -> None:
    """Against the closed form, of what stands in the file; and that is what the data was made of."""
    data = observations()
    x = data["velocity"].values[None]
    for name, truth in TRUTH.items():
        height, mean, width, level = (
            kept_result[f"{name}_{p}"] for p in ("line_amplitude", "line_mean", "line_stddev", "level_amplitude")
        )
        assert (mean.attrs["units"], height.attrs["units"]) == ("m s-1", "mK")
        metres = mean.values[:, None] / 1000
        expected = gaussian(x, height.values[:, None], metres, width.values[:, None]) + level.values[:, None]
        got = kept_result.modelfit.evaluate(data, data=name)
        assert (got.dims, got.attrs["units"]) == (("day", "velocity"), "mK")
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        np.testing.assert_allclose(metres[:, 0], truth[1] + 0.1 * np.array([0, 1, 2, 4]), atol=0.2)
        one = kept_result.isel(day=1).modelfit.to_model(data=name)
        np.testing.assert_allclose(one(data["velocity"].values * u.km / u.s).to_value("mK"), expected[1], rtol=1e-12)
        assert one["line"].stddev.bounds == (0.1, 3)


def test_the_kept_baseline_evaluates(kept_result: xr.Dataset) -> None:
    """A polynomial with a domain, in a compound."""
    data = observations()
    parts = [
        kept_result[f"base_{n}"].values[:, None] for n in ("line_amplitude", "line_mean", "line_stddev", "c0_1", "c1_1")
    ]
    x = data["velocity"].values[None]
    expected = gaussian(x, *parts[:3]) + parts[3] + parts[4] * (x - 3) / 4
    np.testing.assert_allclose(kept_result.modelfit.evaluate(data, data="base"), expected, rtol=1e-12)
    np.testing.assert_allclose(expected, data["flux"], atol=0.05)
    model = kept_result.modelfit.to_model(data="base")
    assert (tuple(model[1].domain), model.fixed["c1_1"]) == ((-1, 7), True)


def test_the_kept_drift_evaluates(kept_result: xr.Dataset) -> None:
    """A fit along dates: hours since the first."""
    result = kept_result[["drift_slope", "drift_intercept", "drift_fit_status"]]
    slope, intercept = float(result["drift_slope"]), float(result["drift_intercept"])
    np.testing.assert_allclose(slope * 24, 100, rtol=0.05)  # m/s a day
    at = np.array(["2024-03-01T12:00", "2024-03-31"], dtype="datetime64[ns]")
    hours = np.array([60.0, 32 * 24])
    np.testing.assert_allclose(result.modelfit.evaluate(day=at), intercept + slope * hours, rtol=1e-12)


def test_the_kept_file_is_what_is_made_today(kept_result: xr.Dataset, tmp_path: Path) -> None:
    """The same parameters from the same data, and nothing less in the records."""
    make_kept_file(tmp_path / "new.nc")
    new = xr.load_dataset(tmp_path / "new.nc")
    xr.testing.assert_allclose(new[list(kept_result.modelfit.params)], kept_result.modelfit.params, rtol=1e-5)
    for name in ("flux_fit_status", "base_fit_status", "drift_fit_status"):
        old, now = (json.loads(ds[name].attrs["modelfit_record"]) for ds in (kept_result, new))
        assert old.keys() <= now.keys()
        assert old["model"] == now["model"]
