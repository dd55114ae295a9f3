"""Significance: by hand, on noise, and on the real cube whose fits run away."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models
from scipy.stats import norm

import xr_modelfit
from xr_modelfit import RecordError, tutorial
from xr_modelfit.fitters.significance import Limits, is_measured, is_within, significant

SIGMA_TO_FWHM = 2 * np.sqrt(2 * np.log(2))


@pytest.fixture(scope="module")
def cube() -> xr.DataArray:
    return tutorial.line_cube(shape=(12, 16))


@pytest.fixture(scope="module")
def fit(cube: xr.DataArray) -> xr.Dataset:
    return cube.modelfit(models.Gaussian1D(1, 4000, 500), "velocity", sigma=0.1, errors="ignore", keep_failed=True)


def by_hand(fit: xr.Dataset, x: np.ndarray, snr: float, suffix: str = "") -> np.ndarray:
    """One position after the other, in Python's own numbers."""
    names = [f"amplitude{suffix}", f"amplitude{suffix}_stderr", f"mean{suffix}", f"stddev{suffix}", "fit_status"]
    found = []
    for a, error, mean, stddev, status in zip(*(fit[n].values.ravel().tolist() for n in names), strict=True):
        width = SIGMA_TO_FWHM * abs(stddev)
        good = status > 0 and error > 0 and abs(a) / error >= snr and min(x) <= mean <= max(x)
        found.append(bool(good and abs(x[1] - x[0]) <= width <= max(x) - min(x)))
    return np.array(found).reshape(fit["fit_status"].shape)


@pytest.mark.parametrize("snr", [1, 3, 5.5])
def test_the_rule_by_hand(fit: xr.Dataset, cube: xr.DataArray, snr: float) -> None:
    found = fit.modelfit.significant(snr=snr)
    assert found.dtype == bool
    assert found.dims == ("y", "x")
    expected = by_hand(fit, cube["velocity"].values, snr)
    assert 0 < expected.sum() < fit.modelfit.ok.sum()
    np.testing.assert_array_equal(found.values, expected)


def test_its_attrs_say_the_rule(fit: xr.Dataset, cube: xr.DataArray) -> None:
    found = fit.modelfit.significant(snr=5)
    v = cube["velocity"].values
    assert found.name == "significant"
    assert found.attrs["comment"] == (
        f"the fit succeeded; |amplitude| >= 5 amplitude_stderr; {v.min():.6g} <= mean <= {v.max():.6g} m s-1; "
        f"{v[1] - v[0]:.6g} <= fwhm <= {v.max() - v.min():.6g} m s-1"
    )


def test_the_result_is_not_masked(fit: xr.Dataset) -> None:
    before = fit.copy(deep=True)
    fit.modelfit.significant()
    xr.testing.assert_identical(fit, before)


def test_noise_is_significant_as_often_as_chance_has_it() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0, 50, 51)
    noise = xr.DataArray(rng.normal(size=(2000, 51)), dims=("y", "x"), coords={"x": x})
    start = models.Gaussian1D(1, 25, 3, fixed={"mean": True, "stddev": True})
    fit = noise.modelfit(start, "x", sigma=1.0)
    assert fit.modelfit.ok.all()
    for snr in (1, 2, 3):  # one linear parameter: its ratio to the error is a standard normal
        share = float(fit.modelfit.significant(snr=snr).mean())
        expected = 2 * norm.sf(snr)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


def test_named_parameters() -> None:
    data = xr.DataArray([[0.0, 1.1, 1.9, 3.0], [1.0, 0.9, 1.1, 1.0]], dims=("y", "t"))
    fit = data.modelfit(models.Linear1D(), "t", sigma=0.1)
    t = np.arange(4.0)
    error = 0.1 / np.sqrt(((t - t.mean()) ** 2).sum())  # of the slope, by the textbook
    slope = [np.polyfit(t, row, 1)[0] for row in data.values]
    expected = [abs(s) >= 3 * error for s in slope]
    assert expected == [True, False]
    assert fit.modelfit.significant("slope").values.tolist() == expected
    assert fit.modelfit.significant(["slope", "intercept"]).values.tolist() == [False, False]
    assert fit.modelfit.significant("slope").attrs["comment"] == "the fit succeeded; |slope| >= 3 slope_stderr"


def test_each_part_is_judged_and_constants_are_not() -> None:
    x = np.linspace(0, 20, 101)
    lines = models.Gaussian1D(5, 6, 1)(x) + np.array([[0.0], [3.0]]) * models.Gaussian1D(1, 14, 1)(x)
    data = xr.DataArray(lines + np.random.default_rng(0).normal(0, 0.3, lines.shape), dims=("y", "x"), coords={"x": x})
    held = {"stddev": True, "mean": True}
    model = models.Gaussian1D(4, 6, 1, name="a") + models.Gaussian1D(2, 14, 1, name="b", fixed=held) + models.Const1D(0)
    fit = data.modelfit(model, "x", sigma=0.3)
    assert fit.modelfit.significant().values.tolist() == [False, True]
    assert fit.modelfit.significant("a_amplitude").values.tolist() == [True, True]
    comment = fit.modelfit.significant().attrs["comment"]
    assert "a_fwhm" in comment
    assert "b_fwhm" not in comment  # it is fixed
    assert "amplitude_2" not in comment


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_another_unit_of_the_result_changes_nothing(fit: xr.Dataset, scale: float) -> None:
    expected = fit.modelfit.significant()
    shown = fit.assign(
        {n: (fit[n] * scale).assign_attrs(units="km s-1" if scale != 1 else "m s-1") for n in ("mean", "stddev")}
    )
    np.testing.assert_array_equal(shown.modelfit.significant(), expected)


def test_units_of_the_model_s_own(cube: xr.DataArray) -> None:
    from astropy import units as u

    plain = cube.modelfit(models.Gaussian1D(1, 4500, 500), "velocity", sigma=0.1, errors="ignore")
    model = models.Gaussian1D(1 * u.K, 4.5 * u.km / u.s, 0.5 * u.km / u.s)
    other = cube.modelfit(model, "velocity", sigma=0.1, errors="ignore")
    np.testing.assert_array_equal(other.modelfit.significant(), plain.modelfit.significant())


def test_dates() -> None:
    time = np.arange("2001-01-01", "2001-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
    day = np.arange(time.size, dtype=float)
    rows = np.stack([models.Gaussian1D(5, c, 4)(day) for c in (20.0, 80.0)])
    data = xr.DataArray(
        rows + np.random.default_rng(0).normal(0, 0.1, rows.shape), dims=("y", "time"), coords={"time": time}
    )
    first = 11323.0  # days since 1970
    start = xr.DataArray([first + 20, first + 70], dims="y")
    fit = data.modelfit(models.Gaussian1D(5, first, 4), "time", sigma=0.1, p0={"mean": start}, errors="ignore")
    assert bool(fit.modelfit.significant()[0])
    assert not bool(fit.modelfit.significant()[1])  # its peak lies after the last day


def test_lazy_results_stay_lazy(fit: xr.Dataset) -> None:
    lazy = fit.chunk(y=5).modelfit.significant()
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), fit.modelfit.significant())


def test_several_fits(cube: xr.DataArray) -> None:
    both = xr.Dataset({"a": cube, "b": 0 * cube + 0.01}).modelfit(
        models.Gaussian1D(1, 4500, 500), "velocity", errors="ignore"
    )
    assert both.modelfit.significant(data="a").name == "a_significant"
    with pytest.raises(ValueError, match="holds 2 fits"):
        both.modelfit.significant()


def test_images_hold_both_positions_against_their_axes() -> None:
    y, x = np.mgrid[0:12, 0:15]
    rows = np.stack([models.Gaussian2D(50, cx, 6, 1.5, 1.2)(x, y) for cx in (7.0, 15.5)])
    data = xr.DataArray(rows + np.random.default_rng(0).normal(0, 0.5, rows.shape), dims=("star", "y", "x"))
    start = models.Gaussian2D(50, 7, 6, 1.5, 1.5)
    fit = data.modelfit(
        start, ("y", "x"), sigma=0.5, p0={"x_mean": xr.DataArray([7.0, 15.0], dims="star")}, errors="ignore"
    )
    assert fit.modelfit.ok.all()
    assert fit.modelfit.significant().values.tolist() == [True, False]
    assert "0 <= x_mean <= 14; 0 <= y_mean <= 11; 1 <= x_fwhm <=" in fit.modelfit.significant().attrs["comment"]


def test_records_of_older_versions_judge_amplitudes_alone(fit: xr.Dataset) -> None:
    record = json.loads(fit["fit_status"].attrs["modelfit_record"])
    del record["inputs"][0]["extent"]
    old = fit.copy()
    old["fit_status"] = fit["fit_status"].assign_attrs(modelfit_record=json.dumps(record))
    assert old.modelfit.significant().attrs["comment"] == "the fit succeeded; |amplitude| >= 3 amplitude_stderr"


@pytest.mark.parametrize("extent", ["wide", [1, 2], [2, 1, 1], [0, 1, 5], [0, 1, None], [0, 1, float("inf")], None])
def test_a_damaged_extent_is_refused(fit: xr.Dataset, extent: Any) -> None:
    record = json.loads(fit["fit_status"].attrs["modelfit_record"])
    record["inputs"][0]["extent"] = extent
    bad = fit.copy()
    bad["fit_status"] = fit["fit_status"].assign_attrs(modelfit_record=json.dumps(record))
    with pytest.raises(RecordError, match="damaged"):
        bad.modelfit.significant()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"snr": 0}, "snr is 0; a positive number is needed"),
        ({"snr": "3"}, "snr is '3'"),
        ({"snr": True}, "snr is True"),
        ({"params": "amplitud"}, "significant got 'amplitud'.*Did you mean 'amplitude'"),
        ({"params": []}, r"params is \[\]; name at least one of 'amplitude'"),
    ],
)
def test_wrong_calls(fit: xr.Dataset, call: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit.modelfit.significant(**call)


def test_a_model_without_amplitude_asks_for_names() -> None:
    data = xr.DataArray([0.0, 1.1, 1.9, 3.0], dims="t")
    fit = data.modelfit(models.Linear1D(), "t")
    with pytest.raises(ValueError, match=r"has no amplitude.*significant\('slope'\)"):
        fit.modelfit.significant()
    with pytest.raises(RecordError, match="no variable 'slope_stderr'"):
        fit.drop_vars("slope_stderr").modelfit.significant("slope")


def test_the_report_counts_them(fit: xr.Dataset, cube: xr.DataArray) -> None:
    report = fit.modelfit.report()
    n = int(by_hand(fit, cube["velocity"].values, 3).sum())
    assert report.significant[""][0] == n
    assert f"Significant: {n} of {int(fit.modelfit.ok.sum())} (|amplitude| >= 3 amplitude_stderr; " in str(report)
    assert f"Significant: {n} of" in report._repr_html_()
    assert "Significant" not in str(fit[["fit_status"]].modelfit.report())


def test_fits_that_ran_away_on_the_real_cube(cube: xr.DataArray, shared_data: Any) -> None:
    """13CO: fits that `ok` passes, with means outside the band and fluxes of any size."""
    real = xr_modelfit.from_fits(shared_data / "l1448_13co.fits").isel(y=slice(20, 60), x=slice(20, 60))
    fit = real.modelfit(models.Gaussian1D(1, 4200, 400), "velocity", errors="ignore")
    v = real["velocity"].values
    good = fit.modelfit.significant(snr=5).values
    outside = fit.modelfit.ok.values & ((fit["mean"].values < v.min()) | (fit["mean"].values > v.max()))
    assert outside.any()
    assert not (good & outside).any()
    flux = np.abs(fit["amplitude"] * fit["stddev"]).values
    assert good.sum() > 200
    assert flux[good].max() < 100 * np.median(flux[good])


# The numbers


def test_numbers() -> None:
    p, error = np.array([3.0, -3.0, 2.9, 5.0, 5.0, np.nan]), np.array([1.0, 1.0, 1.0, 0.0, np.nan, 1.0])
    assert is_measured(p, error, 3).tolist() == [True, True, False, False, False, False]
    assert is_within(np.array([0.0, 1.0, 1.1, np.nan]), Limits(0, 1)).tolist() == [True, True, False, False]
    found = significant(
        np.array([True, False, True]), [(np.full(3, 9.0), np.ones(3))], [(np.array([1, 1, 3]), Limits(0, 2))], 3
    )
    assert found.tolist() == [True, False, False]
