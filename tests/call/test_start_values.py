"""Every form of ``p0``, and what it gives in every kind of call.

Authorities: the truth that was put in, the chi-square that fits from it reach, and separate fits from each start.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from collections.abc import Callable
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D

from support.bits import assert_same_bits
from xr_modelfit import CoarseStart, FitStatus, register_estimator
from xr_modelfit.records.metadata import RECORD

pytestmark = pytest.mark.quick_share(3)

V = np.linspace(0.0, 100.0, 60)
LINE = Gaussian1D(4, 10, 4)  # too far from most lines


def centres(ny: int = 8, nx: int = 9) -> xr.DataArray:
    y, x = np.mgrid[0:ny, 0:nx]
    return xr.DataArray(50.0 + 22.0 * np.sin(y / 4 + x / 5), dims=("y", "x"))


def lines(ny: int = 8, nx: int = 9, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Data over (y, x, v) with lines ten times the noise, and their centres."""
    true, v = centres(ny, nx), xr.DataArray(V, dims="v", coords={"v": V})
    noise = np.random.default_rng(seed).normal(size=(ny, nx, V.size))
    data = (5.0 * np.exp(-0.5 * ((v - true) / 4.0) ** 2)).transpose("y", "x", "v") + 0.5 * noise
    return data.rename("T"), true


def top(data: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """A user's function: the place of the highest sample."""
    at = np.nanargmax(np.where(np.isnan(data), -np.inf, data), axis=1)
    return {"mean": np.broadcast_to(x, data.shape)[np.arange(len(data)), at], "stddev": np.ptp(x, axis=1) / 25}


def forms(true: xr.DataArray) -> dict[str, Any]:
    """Each form of ``p0``, good enough for all lines."""
    return {
        "estimate": "estimate",
        "mean": "mean",
        "coarse": "coarse",
        "CoarseStart": CoarseStart({"y": 2}, levels=2),
        "function": top,
        "map": {"mean": true + 3},
        "mixed": {"mean": true + 3, "stddev": "estimate", "amplitude": "estimate"},
        "list": [{"mean": 10.0}, {"mean": 30.0}, {"mean": 50.0}, {"mean": 70.0}],
        "list of kinds": [{"mean": 10.0}, "estimate", top, {"stddev": 3.0, "mean": "estimate"}],
        "maps of starts": {"mean": xr.DataArray(np.linspace(25, 75, 6), dims="start")},
        "varying maps of starts": {"mean": true + xr.DataArray([-60.0, 2.0, 60.0], dims="start")},
    }


FORMS = list(forms(centres()))


def fitted(data: xr.DataArray, p0: Any = None, **options: Any) -> xr.Dataset:
    return data.modelfit(LINE, "v", p0=p0, **({"errors": "ignore"} | options))


def goal_of(data: xr.DataArray, true: Any, **options: Any) -> xr.Dataset:
    return fitted(data, {"amplitude": 5.0, "mean": true, "stddev": 4.0}, **options)


def assert_reached(got: xr.Dataset, goal: xr.Dataset, share: float = 1.0) -> None:
    """The chi-square of the fits from the truth, at a share of the positions."""
    as_good = (got["chi2"] <= goal["chi2"] * (1 + 1e-6)) | goal["chi2"].isnull()
    assert float(as_good.mean()) >= share, float(as_good.mean())


# --- each form, whole and lazy ---------------------------------------------------------------------------------------
SEVERAL = {"list of kinds", "maps of starts", "varying maps of starts"}  # as many fits as starts, as a list has


@pytest.mark.parametrize("form", [pytest.param(f, marks=[pytest.mark.slow] * (f in SEVERAL)) for f in FORMS])
def test_each_form_reaches_what_the_truth_reaches(form: str) -> None:
    data, true = lines()
    goal = goal_of(data, true)
    assert float((fitted(data)["chi2"] > 1.01 * goal["chi2"]).mean()) > 0.8  # the model's own start is no good
    fit = fitted(data, forms(true)[form], fit_info=["start", "n_reached"])
    # the mean of lines that drift by ten widths says where most are, no more
    assert_reached(fit, goal, 0.9 if form in ("mean", "coarse") else 1.0)
    for name in ("amplitude", "mean", "stddev"):
        assert fit[f"{name}_start"].dims == ("y", "x")
        assert bool(np.isfinite(fit[f"{name}_start"]).all())
    assert bool(((fit["n_reached"] >= 1) == (fit["fit_status"] > 0)).all())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_chunks_and_schedulers_change_no_bit(form: str) -> None:
    data, true = lines(3, 5)
    p0, options = forms(true)[form], {"fit_info": ["start", "n_reached"], "covariance": True}
    expected = fitted(data, p0, **options)
    for chunks, scheduler in (({"y": 2, "x": 3}, "threads"), ({"y": (1, 2), "x": 5}, "synchronous")):
        lazy = data.chunk(chunks).modelfit(LINE, "v", p0=p0, **options)
        assert lazy["mean"].chunks is not None
        assert_same_bits(lazy.compute(scheduler=scheduler), expected)
    for scheduler in ("threads", "synchronous"):
        assert_same_bits(fitted(data, p0, scheduler=scheduler, fits_per_chunk=4, **options), expected)
    turned = fitted(data.transpose("v", "x", "y"), p0, **options).transpose("y", "x", ...)
    assert_same_bits(turned, expected)


@pytest.mark.parametrize("form", FORMS)
def test_no_sample_is_read_while_a_lazy_fit_is_built(form: str) -> None:
    def unreadable(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("a sample was read")

    values = dask.array.zeros((8, 9, V.size), chunks=(4, 3, -1)).map_blocks(unreadable, meta=np.empty((0, 0, 0)))
    data = xr.DataArray(values, dims=("y", "x", "v"), coords={"v": V})
    made = [data.modelfit(LINE, "v", p0=forms(centres())[form])["mean"]]
    made.append(data.modelfit.estimate(LINE, "v", p0=forms(centres())[form])["mean"])
    for lazy in made:
        if not (form in ("map", "list", "maps of starts", "varying maps of starts") and lazy is made[1]):
            with pytest.raises(RuntimeError, match="a sample was read"):
                lazy.compute(scheduler="synchronous")


# --- several starts --------------------------------------------------------------------------------------------------
def test_of_several_starts_the_best_counts() -> None:
    data, true = lines(seed=2)
    data = data.where(true < 70)  # and some that are all NaN
    each = [{"mean": 20.0}, {"mean": 80.0, "stddev": 2.0}, {"mean": true, "amplitude": -1.0}, {"mean": np.float64(45)}]
    fit = fitted(data, each, fit_info=["start", "n_reached"])
    separate = [fitted(data, one, fit_info=["start"]) for one in each]
    chi2 = np.stack([one["chi2"].where(one["fit_status"] > 0, np.inf) for one in separate])
    best = chi2.min(axis=0)
    some = np.isfinite(best)
    np.testing.assert_allclose(fit["chi2"].values[some], best[some], rtol=1e-9)
    np.testing.assert_array_equal(fit["fit_status"].values > 0, some)
    reached = np.count_nonzero(chi2 <= best * (1 + 1e-6), axis=0)
    np.testing.assert_array_equal(fit["n_reached"].values, np.where(some, reached, 0))
    first = np.argmax(chi2 <= best * (1 + 1e-10), axis=0)  # of equals, the first
    chosen = np.take_along_axis(np.stack([one["mean_start"] for one in separate]), first[None], 0)[0]
    np.testing.assert_array_equal(fit["mean_start"].values[some], chosen[some])
    assert bool((fit["fit_status"].values[true >= 70] == FitStatus.NO_DATA).all())


@pytest.mark.slow
def test_a_list_of_one_and_lists_in_any_order_end_alike() -> None:
    data, true = lines()
    assert_same_bits(fitted(data, [{"mean": true}]), fitted(data, {"mean": true}))
    each = [{"mean": 25.0}, {"mean": 45.0}, {"mean": 65.0}]
    there, back = fitted(data, each), fitted(data, each[::-1])
    np.testing.assert_allclose(there["chi2"], back["chi2"], rtol=1e-8)
    doubled = fitted(data, [*each, *each], fit_info=["n_reached"])
    once = fitted(data, each, fit_info=["n_reached"])
    np.testing.assert_array_equal(doubled["n_reached"], 2 * once["n_reached"])
    np.testing.assert_array_equal(doubled["chi2"], once["chi2"])


def test_a_bad_start_among_good_ones_does_no_harm() -> None:
    data, true = lines()
    nothing = xr.full_like(true, np.nan)
    fit = fitted(data, [{"mean": nothing}, {"mean": true}], fit_info=["n_reached"])
    assert_reached(fit, goal_of(data, true))
    assert bool((fit["n_reached"] == 1).all())
    bounded = fitted(data, [{"mean": true * 0 - 50}, {"mean": true}], bounds={"mean": (0, 100)})
    assert_reached(bounded, goal_of(data, true))


def test_a_dim_of_the_data_may_be_called_start() -> None:
    data, true = lines()
    told = data.rename(y="start")
    fit = fitted(told, {"mean": true.rename(y="start")}, fit_info=["n_reached"])
    assert fit["mean"].dims == ("start", "x")
    assert_reached(fit, goal_of(data, true).rename(y="start"))


def test_several_starts_with_an_astropy_fitter() -> None:
    data, true = lines(2, 3)
    for p0 in ([{"mean": 30.0}, {"mean": 50.0}, {"mean": 70.0}], "estimate", "mean", top):
        fit = fitted(data, p0, fitter=TRFLSQFitter(), scheduler="synchronous")
        assert_reached(fit, goal_of(data, true), 0.8)


# --- what the user's functions may do --------------------------------------------------------------------------------
def test_a_function_that_raises_or_gives_nan_leaves_the_models_own_start() -> None:
    data, true = lines()
    odd = (xr.ones_like(true).cumsum("x") + xr.ones_like(true).cumsum("y")) % 4 == 0
    data = data + xr.where(odd, 1000.0, 0.0)

    def raises(samples: np.ndarray, x: np.ndarray) -> dict[str, Any]:
        if (samples > 500).any():
            raise ZeroDivisionError
        return top(samples, x)

    def gives_nan(samples: np.ndarray, x: np.ndarray) -> dict[str, Any]:
        found = top(samples, x)
        return found | {"mean": np.where((samples > 500).any(axis=1), np.nan, found["mean"])}

    alone = fitted(data, fit_info=["start"])
    with_top = fitted(data, top, fit_info=["start"])
    for function in (raises, gives_nan):
        fit = fitted(data, function, fit_info=["start"])
        for name in ("mean_start", "mean", "chi2"):
            expected = xr.where(odd, alone[name], with_top[name])
            np.testing.assert_array_equal(fit[name], expected, err_msg=f"{function.__name__} {name}")
        assert bool((fit["mean_start"].where(odd, 10.0) == 10.0).all())


def test_a_registered_function_serves_its_model_alone() -> None:
    @custom_model
    def bump(x, height=1.0, place=10.0, width=4.0):
        return height * np.exp(-0.5 * ((x - place) / width) ** 2)

    data, true = lines()
    seen = []

    @register_estimator(bump)
    def start_of_bump(samples, x):
        seen.append(samples.shape)
        found = top(samples, x)
        return {"place": found["mean"]}

    fit = data.modelfit(bump(), "v", p0="estimate", fit_info=["start"], errors="ignore")
    assert seen
    np.testing.assert_allclose(fit["chi2"], goal_of(data, true)["chi2"], rtol=1e-6)
    assert set(np.unique(fit["place_start"])) <= set(V)


@pytest.mark.slow
def test_all_nan_and_dead_positions_stop_nothing() -> None:
    data, true = lines(5, 6)
    nothing = data * np.nan
    one = data.copy()
    one[3, 4] = np.nan
    for form, p0 in forms(true).items():
        dead = fitted(nothing, p0)
        assert bool((dead["fit_status"] == FitStatus.NO_DATA).all()), form
        fit = fitted(one, p0)
        assert int((fit["fit_status"] == FitStatus.NO_DATA).sum()) == 1, form
        whole = fitted(data, p0)
        both = (fit["fit_status"] > 0) & (whole["fit_status"] > 0)
        same = (fit["chi2"] <= whole["chi2"] * (1 + 1e-6)) & (whole["chi2"] <= fit["chi2"] * (1 + 1e-6)) & both
        step = abs(fit["mean"] - whole["mean"]) / whole["mean_stderr"]
        assert float(step.where(same).max()) < 1e-3, form
        assert float(same.mean()) > 0.9, form


# --- units, ties, bounds ---------------------------------------------------------------------------------------------
def in_units(data: xr.DataArray) -> xr.DataArray:
    return data.assign_attrs(units="K").assign_coords(v=data["v"].assign_attrs(units="km/s"))


KILOMETRES: dict[str, Callable[[xr.DataArray], Any]] = {
    "Quantity": lambda true: [{"mean": c * 1e3 * u.m / u.s} for c in (30.0, 50.0, 70.0)],
    "map in m/s": lambda true: {"mean": (1e3 * true).assign_attrs(units="m/s")},
    "map and estimate": lambda true: {"mean": (1e3 * true).assign_attrs(units="m/s"), "stddev": "estimate"},
    "several in m/s": lambda true: {"mean": xr.DataArray([3e4, 5e4, 7e4], dims="start", attrs={"units": "m/s"})},
    "estimate": lambda true: "estimate",
    "coarse": lambda true: CoarseStart({"y": 2, "x": 2}),
}


@pytest.mark.parametrize("form", KILOMETRES)
def test_starts_and_data_with_units(form: str) -> None:
    data, true = lines()
    goal, data = goal_of(data, true), in_units(data)
    p0 = KILOMETRES[form](true)
    metres = form not in ("estimate", "coarse")
    fit = fitted(data, p0, fit_info=["start"])
    assert_reached(fit, goal, 0.95)
    assert fit["mean"].attrs["units"] == fit["mean_start"].attrs["units"]
    assert u.Unit(fit["mean"].attrs["units"]) == (u.m if metres else u.km) / u.s
    scale = 1e3 if metres else 1.0
    assert float(abs(fit["mean_start"] / scale - true).median()) < (21 if form in ("Quantity", "several in m/s") else 3)
    shown = data.modelfit.estimate(LINE, "v", p0=p0)
    if not isinstance(p0, list) and form != "several in m/s":
        np.testing.assert_array_equal(shown["mean"], fit["mean_start"])
        assert shown["mean"].attrs["units"] == fit["mean"].attrs["units"]
        assert_reached(fitted(data, shown), goal, 0.95)  # it can be passed on


def test_models_that_carry_units() -> None:
    data, true = lines()
    goal, data = goal_of(data, true), in_units(data)
    model = Gaussian1D(4000 * u.mK, 10e3 * u.m / u.s, 4 * u.km / u.s)

    def in_metres(samples: np.ndarray, x: np.ndarray) -> dict[str, Any]:
        assert x.max() in (100.0, 100e3)
        return {"mean": 1e3 * top(samples, x)["mean"] * (100.0 / x.max())}  # the model's own unit is m/s

    for p0 in ("estimate", "coarse", in_metres, {"mean": true.assign_attrs(units="km/s")}):
        fit = data.modelfit(model, "v", p0=p0, errors="ignore", fit_info=["start"])
        assert_reached(fit, goal, 0.95)
        unit = u.Unit(fit["mean"].attrs["units"])
        np.testing.assert_allclose((fit["mean"].values * unit).to_value("km/s"), goal["mean"], atol=0.1)
        assert float(abs((fit["mean_start"].values * unit).to_value("km/s") - true.values).max()) < 15


def test_ties_fixed_parameters_and_bounds_as_maps() -> None:
    data, true = lines()
    model = Gaussian1D(4, 10, 4, fixed={"stddev": True})
    model.amplitude.tied = lambda m: m.stddev * 1.25
    low = {"mean": (true - 12, true + 12)}
    for form, p0 in forms(true).items():
        if form == "mixed":
            p0 = {"mean": "estimate"}
        fit = data.modelfit(model, "v", p0=p0, bounds=low, errors="ignore", fit_info=["start"])
        moved = 3.0 if form == "list of kinds" else None
        if form not in ("function", "list of kinds"):  # these name a width, which is then held there
            assert bool((fit["stddev"].where(fit["fit_status"] > 0, 4) == 4).all()), form
            assert bool((fit["amplitude"].where(fit["fit_status"] > 0, 5) == 5).all()), form
        assert moved is None or bool(fit["stddev"].isin([3.0, 4.0]).all())
        ok = fit["fit_status"] > 0
        assert bool(((fit["mean"] - true).where(ok, 0) <= 12).all()), form
        if form in ("estimate", "mean", "coarse", "CoarseStart", "mixed"):
            assert bool(ok.all()), form  # estimates are moved inside, and so are the starts of first fits
            assert float(abs(fit["mean"] - true).max()) < 1.5, form


# --- kinds of calls --------------------------------------------------------------------------------------------------
WORDS = ["estimate", "mean", "coarse", "function"]


@pytest.mark.parametrize("form", WORDS)
def test_gaps_masks_and_errors(form: str) -> None:
    data, true = lines()
    rng = np.random.default_rng(4)
    sigma = xr.DataArray(rng.uniform(0.4, 0.7, data.shape), dims=data.dims)
    seen = xr.DataArray(rng.uniform(size=data.shape) < 0.9, dims=data.dims)
    holed = data.where(rng.uniform(size=data.shape) < 0.9).where(seen, 1e6)  # what is left out does not matter
    options: dict[str, Any] = {"sigma": sigma, "where": seen}
    p0 = forms(true)[form]
    if form == "function":
        p0 = top
    fit = fitted(holed, p0, **options)
    assert_reached(fit, goal_of(holed, true, **options), 0.95)
    lazy = fitted(holed.chunk(y=3), p0, sigma=sigma, where=seen.chunk(x=4))
    assert_same_bits(lazy.compute(), fit)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("form", WORDS)
def test_coordinates_of_each_position(form: str) -> None:
    data, true = lines()
    shift = xr.DataArray(np.linspace(0, 12, true.size).reshape(true.shape), dims=true.dims)
    held = data.drop_vars("v").assign_coords(wave=(data["v"] + shift).transpose("v", "y", "x"))
    p0 = forms(true)[form]
    fit = held.modelfit(LINE, "v", coords="wave", p0=p0, errors="ignore")
    goal = held.modelfit(LINE, "v", coords="wave", p0={"mean": true + shift}, errors="ignore")
    assert_reached(fit, goal, 0.9)
    given = data.drop_vars("v").modelfit(
        LINE, "v", coords={"x": held["wave"].drop_vars("wave")}, p0=p0, errors="ignore"
    )
    assert_same_bits(given, fit.drop_vars("wave", errors="ignore"))
    lazy = held.chunk(y=3, x=2).modelfit(LINE, "v", coords="wave", p0=p0)
    assert_same_bits(lazy.compute(), fit)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("form", WORDS)
def test_dates_bins_and_whole_grid_models(form: str) -> None:
    data, true = lines()
    goal, p0 = goal_of(data, true), forms(true)[form]
    dates = np.datetime64("2015-01-01", "ns") + (V * 864e11).astype("timedelta64[ns]")
    dated = fitted(data.assign_coords(v=dates), p0, time_units="days since 2015-01-01")
    assert_reached(dated, goal, 0.9)
    np.testing.assert_allclose(dated["mean"].where(abs(dated["mean"] - true) < 3, true), true, atol=3)
    binned = fitted(data, p0, integrate=True)
    assert_reached(binned, goal_of(data, true, integrate=True), 0.9)
    whole = fitted(data, p0, pointwise=False)
    assert_reached(whole, goal_of(data, true, pointwise=False), 0.9)


def test_images() -> None:
    rng = np.random.default_rng(3)
    y, x = (xr.DataArray(np.arange(20.0), dims=d, coords={d: np.arange(20.0)}) for d in ("y", "x"))
    t = xr.DataArray(np.arange(12.0), dims="t")
    star = 8.0 * np.exp(-0.5 * (((x - 5 - t * 0.7) / 1.5) ** 2 + ((y - 13 + t * 0.5) / 2) ** 2))
    data = star.transpose("t", "y", "x") + 0.3 * rng.normal(size=(12, 20, 20))
    model = Gaussian2D(1, 2, 2, 2, 2)
    goal = data.modelfit(model, ("y", "x"), p0={"x_mean": 5 + 0.7 * t, "y_mean": 13 - 0.5 * t}, errors="ignore")
    for p0 in ("estimate", CoarseStart({"t": 3}), [{"x_mean": 5.0, "y_mean": 13.0}, "estimate"]):
        fit = data.modelfit(model, ("y", "x"), p0=p0, errors="ignore")
        assert_reached(fit, goal, 1.0 if not isinstance(p0, CoarseStart) else 0.9)


def test_one_fit_and_dims_of_size_one() -> None:
    data, true = lines()
    for part, place in ((data[2, 3], true[2, 3]), (data[2:3, 3:4], true[2:3, 3:4]), (data[2:3], true[2:3])):
        goal = goal_of(part, place)
        for p0 in ("estimate", "mean", "coarse", top, [{"mean": 30.0}, {"mean": 50.0}, {"mean": 70.0}]):
            fit = fitted(part, p0)
            assert fit["mean"].sizes == goal["mean"].sizes
            assert_reached(fit, goal, 0.8)


def test_datasets_and_prefixes() -> None:
    data, _ = lines(3, 5)
    both = xr.Dataset({"T": data, "U": 2 * data})
    for p0 in ("estimate", "coarse", [{"mean": 30.0}, {"mean": 50.0}, {"mean": 70.0}]):
        fit = both.modelfit(LINE, "v", p0=p0, prefix="a_", errors="ignore", fit_info=["start", "n_reached"])
        alone = fitted(data, p0, fit_info=["start", "n_reached"])
        for name in ("mean", "chi2", "mean_start", "n_reached"):
            np.testing.assert_array_equal(fit[f"a_T_{name}"], alone[name], err_msg=name)
        shown = both.modelfit.estimate(LINE, "v", p0=p0, prefix="a_")
        assert {"a_T_mean", "a_U_mean"} <= set(shown.data_vars)


def test_linear_models_need_no_start() -> None:
    data, _ = lines()
    expected = data.modelfit(Linear1D(), "v")
    for p0 in ("estimate", "mean", "coarse", [{"slope": 3.0}, "estimate"]):
        np.testing.assert_allclose(data.modelfit(Linear1D(), "v", p0=p0)["slope"], expected["slope"], rtol=1e-10)


# --- what is shown and recorded --------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["estimate", "mean", "coarse", "CoarseStart", "function", "map", "mixed"])
def test_estimate_shows_the_starts_of_the_fit(form: str) -> None:
    data, true = lines()
    p0 = forms(true)[form]
    shown = data.modelfit.estimate(LINE, "v", p0=p0)
    fit = fitted(data, p0, fit_info=["start"])
    for name in ("amplitude", "mean", "stddev"):
        np.testing.assert_array_equal(shown[name], fit[f"{name}_start"])
    lazy = data.chunk(y=3, x=4).modelfit.estimate(LINE, "v", p0=p0)
    xr.testing.assert_identical(lazy.compute(), shown)
    again = fitted(data, shown)
    np.testing.assert_array_equal(again["chi2"], fit["chi2"])


@pytest.mark.parametrize(
    ("p0", "told"),
    [
        ("estimate", "estimate"),
        ("mean", "mean"),
        ("coarse", "coarse"),
        (CoarseStart({"y": 2}, levels=2), {"coarse": {"y": 2}, "levels": 2}),
        (top, "function top"),
        ({"mean": 40.0, "stddev": "estimate"}, ["stddev"]),
        ([{"mean": 40.0}, "estimate"], ["given", "estimate"]),
        ({"mean": 40.0}, None),
    ],
    ids=["estimate", "mean", "coarse", "levels", "function", "one", "several", "given"],
)
def test_the_record_tells_where_starts_came_from(p0: Any, told: Any) -> None:
    data, _ = lines()
    options = json.loads(fitted(data, p0)["fit_status"].attrs[RECORD])["options"]
    assert options.get("starts") == told


@pytest.mark.slow
def test_inputs_stay_as_they_are() -> None:
    data, true = lines()
    before, maps = data.copy(deep=True), true.copy(deep=True)
    for p0 in forms(true).values():
        fitted(data, p0)
    xr.testing.assert_identical(data, before)
    xr.testing.assert_identical(true, maps)
    assert LINE.mean == 10


# --- wrong calls -----------------------------------------------------------------------------------------------------
def two(number: int) -> xr.DataArray:
    return xr.DataArray(np.linspace(40, 60, number), dims="start")


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ([], "p0 is empty"),
    "numbers": ([1.0, 2.0, 3.0], "pass {parameter"),
    "a number": (3, "p0 is an int"),
    "a word": ("estimte", "Did you mean 'estimate'"),
    "a word of refits": ("neighbours", "known words are"),
    "a word in a list": (["mean"], "alone, not in a list"),
    "a list in a list": ([[{"mean": 3.0}]], "p0 is a list"),
    "a word of a parameter": ({"mean": "mean"}, "'estimate'"),
    "a parameter": ({"men": "estimate"}, "Did you mean 'mean'"),
    "a parameter in a list": ([{"mean": 3.0}, {"men": 3.0}], "Did you mean 'mean'"),
    "numbers of starts": ({"mean": two(2), "stddev": two(3)}, "different numbers of starts"),
    "no start": ({"mean": two(0)}, "or none"),
    "a start outside its bounds": ([{"mean": 50.0}, {"mean": 500.0}], "outside its bounds"),
    "a unit": ([{"mean": 50.0}, {"mean": 5 * u.K}], "K"),
    "maps of other positions": ([{"mean": centres(3, 9)}], "3 positions along 'y'"),
    "a dim": (CoarseStart({"z": 2}), "remaining dims are 'y', 'x'"),
    "a fitted dim": (CoarseStart({"v": 2}), "remaining dims are 'y', 'x'"),
    "arguments of a function": (lambda a, b, c: {}, "is called as"),
    "no mapping": (lambda a, x: 3, "{parameter: values} is needed"),
    "a parameter of a function": (lambda a, x: {"men": 3.0}, "Did you mean 'mean'"),
    "a shape": (lambda a, x: {"mean": np.ones(7)}, "for 2 fits"),
    "text": (lambda a, x: {"mean": np.array(["a", "b"])}, "cannot give start values"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_raise_before_a_sample_is_read(name: str) -> None:
    def unreadable(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    values = dask.array.zeros((8, 9, V.size), chunks=(4, 3, -1)).map_blocks(unreadable, meta=np.empty((0, 0, 0)))
    p0, said = WRONG[name]
    coords = {"v": ("v", V, {"units": "km/s"})}
    for data in (xr.DataArray(values, dims=("y", "x", "v"), coords=coords), lines()[0].assign_coords(coords)):
        for call in (data.modelfit, data.modelfit.estimate):
            with pytest.raises((ValueError, TypeError)) as raised:
                call(LINE, "v", p0=p0, bounds={"mean": (0, 100)})
            assert said in str(raised.value)


@pytest.mark.parametrize(
    "given", [{"factors": {"y": 1}}, {"factors": {"y": 2.5}}, {"factors": {"y": True}}, {"levels": 0}]
)
def test_wrong_coarse_starts_raise(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        CoarseStart(**given)


def test_fit_info_of_starts_is_checked() -> None:
    data, _ = lines()
    with pytest.raises(ValueError, match="start"):
        fitted(data, fit_info=["strat"])
    taken = data.assign_coords(mean_start=3.0)
    with pytest.raises(ValueError, match="prefix"):
        fitted(taken, "estimate", fit_info=["start"])
