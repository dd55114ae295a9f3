"""Fits again: what they mend, what they leave alone, and that neither chunks nor schedulers nor company matter.

Simulated lines whose centres drift along the grid. Authorities: the truth that was put in, and separate fits that
start from it.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D

from support.bits import assert_same_bits
from xr_modelfit import CoarseStart, FitStatus
from xr_modelfit.records.metadata import RECORD

pytestmark = pytest.mark.quick_share(3)

V = np.linspace(0.0, 100.0, 60)
LINE = Gaussian1D(4, 50, 4)
PARAMETERS = ("amplitude", "mean", "stddev")
FORMS: dict[str, Any] = {
    "neighbours": "neighbours",
    "estimate": "estimate",
    "mean": "mean",
    "coarse": "coarse",
    "CoarseStart": CoarseStart({"y": 2, "x": 3}, levels=2),
    "values": {"mean": 40.0},
    "list": [{"mean": 30.0}, "estimate", {"mean": 70.0}],
    "function": lambda data, x: {"mean": np.full(len(data), 45.0)},
}


def centres(ny: int = 6, nx: int = 8) -> xr.DataArray:
    y, x = np.mgrid[0:ny, 0:nx]
    return xr.DataArray(50.0 + 22.0 * np.sin(y / 4 + x / 5), dims=("y", "x"))


def lines(ny: int = 6, nx: int = 8, seed: int = 0, noise: float = 0.3) -> tuple[xr.DataArray, xr.DataArray]:
    """Data over (y, x, v) and the centres of its lines."""
    true = centres(ny, nx)
    v = xr.DataArray(V, dims="v", coords={"v": V})
    rng = np.random.default_rng(seed)
    data = 5.0 * np.exp(-0.5 * ((v - true) / 4.0) ** 2)
    data = data.transpose("y", "x", "v") + noise * rng.normal(size=(ny, nx, V.size))
    return data.rename("T"), true


def fitted(data: xr.DataArray, **options: Any) -> xr.Dataset:
    return data.modelfit(LINE, "v", errors="ignore", **options)


def from_truth(data: xr.DataArray, true: xr.DataArray, **options: Any) -> xr.Dataset:
    return fitted(data, p0={"mean": true, "amplitude": 5.0, "stddev": 4.0}, **options)


def assert_reached(got: xr.Dataset, goal: xr.Dataset, where: Any = True) -> None:
    """The chi-square of the fits from the truth."""
    worse = (got["chi2"] > goal["chi2"] * (1 + 1e-6)) & where
    assert not bool(worse.any()), int(worse.sum())


def spoilt(fit: xr.Dataset, **at: Any) -> xr.Dataset:
    """The result as if the fits at some positions had failed."""
    out = fit.copy(deep=True)
    for name in (*PARAMETERS, *(f"{n}_stderr" for n in PARAMETERS)):
        out[name][at] = np.nan
    out["fit_status"][at] = FitStatus.NO_PROGRESS
    return out


def moved(fit: xr.Dataset, data: xr.DataArray, places: list[tuple[int, int]], to: float) -> xr.Dataset:
    """The result as if the fits at some positions had ended on a bump of the noise elsewhere."""
    out = fit.copy(deep=True)
    values = {"amplitude": 0.4, "mean": to, "stddev": 1.5}
    errors = {"amplitude": 0.2, "mean": 0.8, "stddev": 0.9}
    bump = 0.4 * np.exp(-0.5 * ((V - to) / 1.5) ** 2)
    for y, x in places:
        for name in PARAMETERS:
            out[name][y, x], out[f"{name}_stderr"][y, x] = values[name], errors[name]
        out["chi2"][y, x] = float(((data[y, x] - bump) ** 2).sum())
        out["fit_status"][y, x] = FitStatus.CONVERGED
    return out


def test_failed_fits_are_mended_by_their_neighbours() -> None:
    data, true = lines()
    good = from_truth(data, true)
    broken = spoilt(good, y=2, x=slice(3, 5))
    mended = broken.modelfit.refit(data)
    assert bool(mended.modelfit.ok.all())
    assert_reached(mended, good)
    np.testing.assert_array_equal(mended["refit_round"], np.where(broken["fit_status"] > 0, 0, 1))
    for name in good.data_vars:  # not one bit of the others changed
        left = broken["fit_status"].values > 0
        np.testing.assert_array_equal(mended[name].values[left], good[name].values[left], err_msg=str(name))


def test_rounds_spread_from_one_good_position_along_a_line() -> None:
    data, true = lines(1, 12)
    far_off = Gaussian1D(4, -900, 4)  # from where no fit gets anywhere
    good = data.modelfit(far_off, "v", p0={"mean": true}, errors="ignore")
    broken = spoilt(good, x=slice(1, None))
    mended = broken.modelfit.refit(data, radius=1, rounds=20)
    assert_reached(mended, good)
    assert mended["refit_round"][0].values.tolist() == list(range(12))
    short = broken.modelfit.refit(data, radius=1, rounds=4)  # only those that a round has reached
    np.testing.assert_array_equal(short["refit_round"][0, :5], np.arange(5))
    far = broken.modelfit.refit(data, radius=3, rounds=20)
    assert far["refit_round"].max() <= 4


def test_an_answer_is_replaced_by_a_lower_chi_square_of_a_success_only() -> None:
    data, true = lines(seed=1)
    fit = fitted(data)
    again = fit.modelfit.refit(data, where=true > 0, p0={"mean": 80.0})
    separate = fitted(data, p0={"mean": 80.0, "amplitude": 4.0, "stddev": 4.0})
    lower = (separate["fit_status"] > 0) & ((fit["fit_status"] <= 0) | (separate["chi2"] < fit["chi2"] * (1 - 1e-9)))
    assert 0 < int(lower.sum()) < lower.size
    for name in fit.data_vars:
        np.testing.assert_array_equal(again[name], xr.where(lower, separate[name], fit[name]), err_msg=str(name))
    np.testing.assert_array_equal(again["refit_round"], lower)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_dead_positions_change_no_other(form: str) -> None:
    data, true = lines()
    alive = true == true
    alive[1, 2] = alive[5, 7] = alive[0, 0] = False
    first = fitted(data)
    dead = fitted(data.where(alive))
    kinds = {"where": xr.ones_like(alive), "p0": FORMS[form]}
    got, expected = dead.modelfit.refit(data.where(alive), **kinds), first.modelfit.refit(data, **kinds)
    assert (got["fit_status"].where(~alive) == FitStatus.NO_DATA).sum() == 3
    goal = from_truth(data, true)
    if form not in ("values", "function"):
        assert_reached(got, goal, alive)
    same = alive & (expected["chi2"] <= goal["chi2"] * (1 + 1e-6))
    for name in PARAMETERS:
        step = abs(got[name] - expected[name]) / expected[f"{name}_stderr"]
        assert float(step.where(same).max()) < 1e-3, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "where"), [("neighbours", "failed"), ("neighbours", "suspicious"), *((form, "all") for form in FORMS)]
)
def test_chunks_and_schedulers_change_no_bit(form: str, where: str) -> None:
    data, true = lines(4, 7)
    wanted = {"failed": None, "suspicious": "suspicious", "all": true > 0}[where]
    fit = moved(spoilt(fitted(data), y=3), data, [(1, 1)], 5.0)
    expected = fit.modelfit.refit(data, wanted, FORMS[form])
    for chunks, scheduler in (({"y": 2, "x": 3}, "threads"), ({"y": (1, 3), "x": -1}, "synchronous")):
        lazy = fit.modelfit.refit(data.chunk(chunks), wanted, FORMS[form])
        assert lazy["mean"].chunks is not None
        assert_same_bits(lazy.compute(scheduler=scheduler), expected)
    assert_same_bits(fit.chunk(y=2, x=2).modelfit.refit(data.chunk(y=3), wanted, FORMS[form]).compute(), expected)
    assert_same_bits(fit.chunk(y=2).modelfit.refit(data, wanted, FORMS[form]).compute(), expected)
    turned = fit.modelfit.refit(data.transpose("v", "x", "y"), wanted, FORMS[form], scheduler="threads")
    assert_same_bits(turned, expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", [None, "suspicious"])
def test_no_sample_is_read_while_a_lazy_refit_is_built(form: str, where: Any) -> None:
    def unreadable(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("a sample was read")

    values = dask.array.zeros((4, 6, V.size), chunks=(2, 3, -1)).map_blocks(unreadable, meta=np.empty((0, 0, 0)))
    data = xr.DataArray(values, dims=("y", "x", "v"), coords={"v": V})
    again = data.modelfit(LINE, "v").modelfit.refit(data, where, FORMS[form])
    with pytest.raises(RuntimeError, match="a sample was read"):
        again["mean"].compute(scheduler="synchronous")


def test_suspicious_finds_planted_outliers_and_nothing_else() -> None:
    data, true = lines(8, 9, noise=0.3)
    good = from_truth(data, true)
    places = [(1, 1), (4, 6), (7, 8), (0, 4)]
    planted = moved(good, data, places, 3.0)
    mended = planted.modelfit.refit(data, where="suspicious")
    assert_reached(mended, good)
    assert sorted(zip(*np.nonzero(mended["refit_round"].values), strict=True)) == sorted(places)
    clean = good.modelfit.refit(data, where="suspicious")
    assert int(clean["refit_round"].sum()) == 0


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_suspicious_in_smooth_maps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lower chi-square is not what tells here: how many positions are fitted again is."""
    from xr_modelfit.refits import refit as refits

    seen: list[int] = []
    chosen = refits._chosen

    def counted(*given: Any) -> xr.DataArray:
        found = chosen(*given)
        seen.append(int(found.sum()))
        return found

    monkeypatch.setattr(refits, "_chosen", counted)
    data, true = lines(20, 20, seed=seed)
    from_truth(data, true).modelfit.refit(data, where="suspicious")
    assert seen[0] <= 2  # of 400: five standard errors and five scatters of neighbours


def test_suspicious_positions_do_not_start_others() -> None:
    """A patch that ended elsewhere together is mended from its rim."""
    data, true = lines(7, 9)
    good = from_truth(data, true)
    patch = [(3, 4), (3, 5)]
    planted = moved(good, data, patch, 3.0)
    for _ in range(2):  # again, too
        mended = planted.modelfit.refit(data, where="suspicious", radius=3)
        assert_reached(mended, good)
        planted = moved(mended, data, patch, 97.0)


def test_only_some_dims_have_neighbours() -> None:
    data, true = lines()
    good = from_truth(data, true)
    broken = spoilt(good, y=2)  # a whole row, along which no neighbour is good
    assert not bool((broken.modelfit.refit(data, p0="neighbours", dims="y")["fit_status"] <= 0).any())
    along = broken.modelfit.refit(data, dims="x", model=Gaussian1D(1e-3, 2000, 4))
    kept = along["refit_round"].where(broken["fit_status"] > 0, 0)
    assert int(kept.sum()) == 0


def test_positions_without_a_good_neighbour_start_where_the_fit_did() -> None:
    data, _ = lines(1, 3)
    nothing = spoilt(fitted(data), y=0)
    again = nothing.modelfit.refit(data)
    alone = fitted(data)
    got, expected = again["chi2"].values, alone["chi2"].values
    np.testing.assert_array_equal(got[again["refit_round"] == 1], expected[(again["refit_round"] == 1).values])
    assert bool((again["refit_round"] == 1).any())


def test_one_position_can_be_fitted_again() -> None:
    data, true = lines()
    one, place = data[2, 3], true[2, 3]
    fit = fitted(one, p0={"mean": 5.0})
    again = fit.modelfit.refit(one, where=xr.DataArray(True), p0="estimate")
    assert_reached(again, from_truth(one, place))
    assert again["mean"].dims == ()
    assert int(again["refit_round"]) in (0, 1)


def test_nothing_to_do_gives_the_result_itself() -> None:
    data, true = lines()
    fit = from_truth(data, true)
    again = fit.modelfit.refit(data)
    xr.testing.assert_equal(again.drop_vars("refit_round"), fit)
    assert int(again["refit_round"].sum()) == 0


@pytest.mark.slow
def test_labels_and_their_attributes_stay() -> None:
    data, true = lines()
    labels = {
        "y": ("y", np.arange(6.0), {"units": "m", "long_name": "up"}),
        "x": ("x", list("abcdefgh")),
        "lat": (("y", "x"), true.values, {"units": "degree_north"}),
        "run": 7,
    }
    told, where = data.assign_coords(labels), true.assign_coords(labels) > 0
    fit = spoilt(told.modelfit(LINE, "v", p0={"mean": true}, errors="ignore"), y=2)
    for given in (None, "suspicious", where):
        for again in (fit.modelfit.refit(told, given), fit.chunk(y=2).modelfit.refit(told.chunk(x=3), given).compute()):
            xr.testing.assert_identical(again.coords.to_dataset(), fit.coords.to_dataset())
            assert {n: again[n].attrs for n in fit if n != "fit_status"} == {
                n: fit[n].attrs for n in fit if n != "fit_status"
            }
            assert again.attrs == fit.attrs


def test_stacked_dims() -> None:
    data, true = lines()
    row = data.stack(z=("y", "x"))
    goal = row.modelfit(LINE, "v", p0={"mean": true.stack(z=("y", "x"))}, errors="ignore")
    broken = spoilt(goal, z=slice(20, 24))
    for where in (None, "suspicious", xr.ones_like(goal["mean"], dtype=bool)):
        again = broken.modelfit.refit(row, where)
        assert_reached(again, goal)
        assert again.indexes["z"].equals(goal.indexes["z"])


# --- what belongs to the fit -----------------------------------------------------------------------------------------
def test_errors_masks_and_bounds_go_along() -> None:
    data, true = lines()
    sigma = 0.3 + 0.1 * xr.DataArray(np.random.default_rng(5).uniform(size=data.shape), dims=data.dims)
    seen = xr.DataArray(np.random.default_rng(6).uniform(size=data.shape) < 0.9, dims=data.dims)
    bounds = {"mean": (true - 15, true + 15), "stddev": (0.5, 20.0)}
    options: dict[str, Any] = {"sigma": sigma, "where": seen, "bounds": bounds, "covariance": True}
    good = from_truth(data, true, **options)
    broken = spoilt(good, y=slice(1, 3), x=slice(2, 6))
    again = broken.modelfit.refit(data, sigma=sigma, samples=seen, bounds=bounds)
    assert_reached(again, good)
    lazily = broken.modelfit.refit(data.chunk(y=2), sigma=sigma.chunk(x=2), samples=seen, bounds=bounds)
    assert_same_bits(lazily.compute(), again)
    whole = xr.Dataset({"T": data, "e": sigma, "seen": seen})
    assert_same_bits(broken.modelfit.refit(whole, sigma="e", samples="seen", bounds=bounds), again)
    np.testing.assert_allclose(again["mean_stderr"], good["mean_stderr"], rtol=1e-3)
    np.testing.assert_allclose(again["covariance"], good["covariance"], rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sigma": xr.full_like(lines()[0], 0.3)}, "sigma=..."),
        ({"weights": xr.full_like(lines()[0], 2.0)}, "weights=..."),
        ({"where": xr.ones_like(lines()[0], dtype=bool)}, "samples=..."),
        ({"bounds": {"mean": (centres() - 15, centres() + 15)}}, "bounds=..."),
        ({"integrate": True}, "integrate=..."),
        ({"fitter": TRFLSQFitter()}, "fitter=..."),
    ],
    ids=lambda o: next(iter(o)) if isinstance(o, dict) else "",
)
def test_what_the_record_does_not_hold_is_asked_for(options: dict[str, Any], told: str) -> None:
    fit = fitted(lines()[0], **options)
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        fit.modelfit.refit(lines()[0])
    given = {"samples" if k == "where" else k: v for k, v in options.items()}
    assert bool(fit.modelfit.refit(lines()[0], **given).modelfit.ok.any())


def test_fixed_maps_stay_and_fixed_numbers_and_ties_hold() -> None:
    data, true = lines()
    held = Gaussian1D(4, 50, 4, fixed={"mean": True}) + Const1D(0.5, fixed={"amplitude": True})
    held.stddev_0.tied = lambda model: model.amplitude_0 * 0.8
    fit = data.modelfit(held, "v", p0={"mean_0": true}, errors="ignore")
    for form in FORMS.values():
        p0 = {"amplitude_0": 3.0} if isinstance(form, dict) else form
        if callable(form):
            p0 = lambda data, x: {"amplitude_0": np.full(len(data), 3.0)}  # noqa: E731
        if isinstance(form, list):
            p0 = [{"amplitude_0": 3.0}, "estimate"]
        again = fit.modelfit.refit(data, where=true > 0, p0=p0, model=held)
        np.testing.assert_array_equal(again["mean_0"], fit["mean_0"])
        np.testing.assert_array_equal(again["amplitude_1"], 0.5)
        np.testing.assert_allclose(again["stddev_0"], 0.8 * again["amplitude_0"], rtol=1e-12)
    assert bool((abs(fit["mean_0"] - true) < 1e-12).all())


def test_a_fixed_value_that_was_lost_is_never_invented() -> None:
    data, true = lines()
    held = Gaussian1D(4, 50, 4, fixed={"mean": True})
    fit = data.modelfit(held, "v", p0={"mean": true}, errors="ignore", fit_info=["start"])
    broken = spoilt(fit, y=2)
    again = broken.modelfit.refit(data)  # the starts tell the fixed values
    np.testing.assert_array_equal(again["mean"], true)
    silent = broken.drop_vars([f"{n}_start" for n in PARAMETERS])
    assert int((silent.modelfit.refit(data)["fit_status"] > 0).sum()) == 40
    given = silent.modelfit.refit(data, p0={"mean": true})
    np.testing.assert_array_equal(given["mean"], true)
    assert bool(given.modelfit.ok.all())


def test_starts_and_their_number_follow_the_better_answer() -> None:
    data, true = lines()
    fit = fitted(data, p0=[{"mean": 20.0}, {"mean": 90.0}], fit_info=["start", "n_reached"])
    again = fit.modelfit.refit(data, where=true > 0, p0={"mean": true, "stddev": 3.5})
    new = again["refit_round"] == 1
    assert 0 < int(new.sum()) < new.size
    np.testing.assert_array_equal(again["mean_start"], xr.where(new, true, fit["mean_start"]))
    np.testing.assert_array_equal(again["n_reached"], xr.where(new, 1, fit["n_reached"]))


def test_units_of_data_coordinates_and_model() -> None:
    data, true = lines()
    data = data.assign_attrs(units="K").assign_coords(v=data["v"].assign_attrs(units="km/s"))
    model = Gaussian1D(4000 * u.mK, 50e3 * u.m / u.s, 4 * u.km / u.s)
    fit = data.modelfit(model, "v", errors="ignore")
    goal = data.modelfit(model, "v", p0={"mean": true.assign_attrs(units="km/s")}, errors="ignore")
    assert int((fit["chi2"] > goal["chi2"] * 1.001).sum()) > 5
    broken = spoilt(goal, y=slice(2, 4))
    for p0 in ("neighbours", "estimate", {"mean": true.assign_attrs(units="km/s")}, goal):
        again = broken.modelfit.refit(data, p0=p0)
        assert_reached(again, goal)
        assert again["mean"].attrs == goal["mean"].attrs
        np.testing.assert_allclose(again["mean"], true, atol=1.5)
    in_metres = fit.modelfit.refit(data, where=true > 0, p0=goal)
    assert in_metres["mean"].attrs == fit["mean"].attrs
    np.testing.assert_allclose(in_metres["mean"], 1e3 * true, atol=1500)
    converted = broken.assign(mean=(1e3 * broken["mean"]).assign_attrs(broken["mean"].attrs | {"units": "m/s"}))
    np.testing.assert_allclose(converted.modelfit.refit(data)["mean"], 1e3 * true, atol=1500)
    plain = lines()[0]
    other = plain.assign_coords(v=plain["v"].assign_attrs(units="km/s")).assign_attrs(units="K")
    inner = other.modelfit(LINE, "v", p0={"mean": true}, errors="ignore")
    assert_reached(fit.modelfit.refit(data, where=true > 0, p0=inner), goal)  # its maps are in km/s


def test_dates_and_bins_and_whole_grid_models() -> None:
    t = np.datetime64("2015-01-01", "ns") + (V * 864e11).astype("timedelta64[ns]")
    data, true = lines(3, 4)
    dated = data.assign_coords(v=t)
    goal = dated.modelfit(LINE, "v", p0={"mean": true}, time_units="days since 2015-01-01", errors="ignore")
    again = spoilt(goal, y=1).modelfit.refit(dated)
    assert_reached(again, goal)
    np.testing.assert_allclose(again["mean"], true, atol=1.5)

    edges = np.append(V, V[-1] + (V[1] - V[0])) - 0.5 * (V[1] - V[0])
    binned = xr.Dataset({"T": data, "v_bnds": (("v", "edge"), np.stack([edges[:-1], edges[1:]], axis=1))})
    goal = binned.modelfit(LINE, "v", data="T", p0={"mean": true}, integrate="v_bnds", errors="ignore")
    again = spoilt(goal, y=1).modelfit.refit(binned, integrate="v_bnds")
    assert_reached(again, goal)

    goal = data.modelfit(LINE, "v", p0={"mean": true}, pointwise=False, errors="ignore")
    assert_reached(spoilt(goal, y=1).modelfit.refit(data), goal)


def test_a_coordinate_of_each_position_goes_along() -> None:
    data, true = lines(3, 4)
    shift = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"))
    own = (data["v"] + shift).transpose("v", "x", "y")
    held = data.drop_vars("v").assign_coords(wave=own)
    goal = held.modelfit(LINE, "v", coords="wave", p0={"mean": true + shift}, errors="ignore")
    for given in (held, held.chunk(y=2, x=2)):
        again = spoilt(goal, y=1).modelfit.refit(given).compute()
        assert_reached(again, goal)
        np.testing.assert_allclose(again["mean"], true + shift, atol=1.5)


def test_an_astropy_fitter_fits_again() -> None:
    data, true = lines(3, 4)
    goal = from_truth(data, true, fitter=TRFLSQFitter())
    again = spoilt(goal, y=1).modelfit.refit(data, fitter=TRFLSQFitter(), scheduler="synchronous")
    np.testing.assert_allclose(again["chi2"], goal["chi2"], rtol=1e-6)


# --- names, records and files ----------------------------------------------------------------------------------------
def test_results_with_a_prefix_and_of_several_variables() -> None:
    data, true = lines()
    other = lines(seed=3)[0].rename("U")
    good = from_truth(data, true)
    both = xr.Dataset({"T": data, "U": other}).modelfit(LINE, "v", p0={"mean": true}, prefix="a_", errors="ignore")
    broken = both.copy(deep=True)
    for name in PARAMETERS:
        broken[f"a_T_{name}"][2] = np.nan
    broken["a_T_fit_status"][2] = -2
    again = broken.modelfit.refit(xr.Dataset({"T": data, "U": other}), data="T")
    np.testing.assert_allclose(again["a_T_chi2"], good["chi2"], rtol=1e-6)
    assert set(again.data_vars) == {*both.data_vars, "a_T_refit_round"}
    for name in both.data_vars:
        if "_U_" in name:
            np.testing.assert_array_equal(again[name], both[name])
    with pytest.raises(ValueError, match="2 fits"):
        broken.modelfit.refit(data)


def test_the_record_tells_of_refits_and_survives_a_file(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    data, true = lines()
    fit = spoilt(from_truth(data, true), y=2)
    again = fit.modelfit.refit(data).modelfit.refit(data, where=true > 60, p0=CoarseStart({"y": 3}))
    again.to_netcdf(tmp_path / "again.nc")
    with xr.open_dataset(tmp_path / "again.nc") as read:
        read = read.load()
    for one in (again, read):
        told = json.loads(one["fit_status"].attrs[RECORD])["refits"]
        assert told == [
            {"starts": "neighbours", "rounds": 5},
            {"starts": {"coarse": {"y": 3}, "levels": 1}, "rounds": 1},
        ]
    np.testing.assert_array_equal(read["refit_round"], again["refit_round"])
    np.testing.assert_allclose(read.modelfit.evaluate(data), again.modelfit.evaluate(data))
    more = read.modelfit.refit(data, where="suspicious")
    assert len(json.loads(more["fit_status"].attrs[RECORD])["refits"]) == 3


def test_an_earlier_refit_is_not_forgotten() -> None:
    data, true = lines()
    good = from_truth(data, true)
    once = spoilt(good, y=2).modelfit.refit(data)
    twice = spoilt(once, y=4).modelfit.refit(data)
    np.testing.assert_array_equal(twice["refit_round"][:, 0], [0, 0, 1, 0, 1, 0])
    assert_reached(twice, good)


def test_functions_as_models() -> None:
    def bump(v, height=4.0, place=50.0, width=4.0):
        return height * np.exp(-0.5 * ((v - place) / width) ** 2)

    data, true = lines()
    goal = data.modelfit(bump, "v", p0={"place": true}, errors="ignore")
    broken = goal.copy(deep=True)
    for name in ("height", "place", "width"):
        broken[name][2] = np.nan
    broken["fit_status"][2] = -1
    assert_reached(broken.modelfit.refit(data), goal)
    assert_reached(broken.modelfit.refit(data, model=bump), goal)


# --- wrong calls -----------------------------------------------------------------------------------------------------
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"p0": "neighbors"}, "Did you mean 'neighbours'"),
    ({"p0": ["neighbours"]}, "alone, not in a list"),
    ({"p0": {"men": 3.0}}, "Did you mean 'mean'"),
    ({"p0": 3}, "p0 is an int"),
    ({"p0": CoarseStart({"z": 2})}, "remaining dims are 'y', 'x'"),
    ({"p0": lambda data, x: 3}, "cannot give start values"),
    ({"where": "suspicous"}, "pass a boolean DataArray"),
    ({"where": centres()}, "pass a boolean DataArray"),
    ({"where": centres()[:3] > 0}, "3 positions along 'y'"),
    ({"where": (centres() > 0).rename(y="z")}, "no dim 'z'"),
    ({"dims": "z"}, "dims names 'z'"),
    ({"dims": []}, "no neighbours"),
    ({"dims": [], "where": "suspicious", "p0": "estimate"}, "no neighbours"),
    ({"radius": 0}, "radius is 0"),
    ({"neighbours": 1.5}, r"neighbours is 1\.5"),
    ({"rounds": True}, "rounds is True"),
    ({"sigmma": 1.0}, "Did you mean 'sigma'"),
    ({"sigma": -1.0}, "positive"),
    ({"data": "U"}, "data is 'U'"),
    ({"samples": "seen"}, "names 'seen'"),
    ({"bounds": {"mean": (60, 40)}}, "above the high one"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=[next(iter(w[0])) + str(i) for i, w in enumerate(WRONG)])
def test_wrong_calls_raise_before_a_sample_is_read(given: dict[str, Any], said: str) -> None:
    def unreadable(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    values = dask.array.zeros((6, 8, V.size), chunks=(3, 4, -1)).map_blocks(unreadable, meta=np.empty((0, 0, 0)))
    unread = xr.DataArray(values, dims=("y", "x", "v"), coords={"v": V}, name="T")
    data, true = lines()
    for fit in (from_truth(data, true), unread.modelfit(LINE, "v")):  # nothing to do, or nobody knows yet
        for obj in (unread, data):
            with pytest.raises((ValueError, TypeError), match=said):
                fit.modelfit.refit(obj, **given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d[:3], "3"),
        (lambda d: d.rename(y="z"), "'z'"),
        (lambda d: d[0], "remaining dims"),
        (lambda d: d.expand_dims(t=2), "remaining dims"),
        (lambda d: d.assign_coords(y=np.arange(6.0) + 1), "another index along 'y'"),
        (lambda d: d.rename(v="w"), "."),
        (lambda d: xr.Dataset({"a": d, "b": d}), "Pass the DataArray"),
    ],
)
def test_other_data_is_refused(change: Any, said: str) -> None:
    data, _ = lines()
    fit = fitted(data.assign_coords(y=np.arange(6.0)))
    with pytest.raises(ValueError, match=said):
        fit.modelfit.refit(change(data), where=xr.ones_like(fit["mean"], dtype=bool))


def test_inputs_stay_as_they_are() -> None:
    data, true = lines()
    fit = spoilt(from_truth(data, true), y=2)
    before, samples = fit.copy(deep=True), data.copy(deep=True)
    fit.modelfit.refit(data)
    xr.testing.assert_identical(fit, before)
    xr.testing.assert_identical(data, samples)
    assert "refits" not in json.loads(fit["fit_status"].attrs[RECORD])
