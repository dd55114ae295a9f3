"""Calls that people coming from xarray, scipy, lmfit and astropy write: each is answered with the way out.

The table says what a person would write, which error it raises, and the words of the answer without which the person
would not know what to write next. Where the answer shows a call, that call is made as well.
"""

import datetime
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import custom_model
from astropy.modeling.fitting import LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D

import xr_modelfit
from xr_modelfit import BatchLSQFitter, FitWarning, RecordError

VELOCITY = np.linspace(-3000.0, 3000.0, 40)
LINE = Gaussian1D(2, 300, 500)
CUBE = xr.DataArray(
    2 * np.exp(-0.5 * ((VELOCITY[:, None, None] - 300) / 500) ** 2) + np.zeros((40, 2, 3)),
    dims=("velocity", "y", "x"),
    coords={"velocity": ("velocity", VELOCITY, {"units": "m s-1"}), "ra": (("y", "x"), np.ones((2, 3)))},
    attrs={"units": "K"},
    name="T",
)
MONTHS = np.arange("2000-01", "2005-01", dtype="datetime64[M]").astype("datetime64[ns]")
MONTHLY = xr.DataArray(
    15 + 0.01 * np.arange(60.0)[:, None] + np.zeros((60, 2)),
    dims=("time", "station"),
    coords={"time": MONTHS},
    attrs={"units": "K"},
)
ECHOES = np.arange(10.0, 90.0, 10.0)
IMAGES = xr.DataArray(
    100 * np.exp(-ECHOES / 40)[:, None] + np.zeros((8, 3)), dims=("echo", "p"), coords={"echo": ECHOES}
)
STACK = xr.DataArray(
    np.ones((2, 6, 7)), dims=("t", "y", "x"), coords={"t": [0.0, 1.0], "y": np.arange(6.0), "x": np.arange(7.0)}
)
FIT = CUBE.modelfit(LINE, "velocity", errors="ignore")
TREND = MONTHLY.modelfit(Linear1D(), "time", errors="ignore")


def decay(t: Any, S0: Any = 100.0, T2: Any = 40.0) -> Any:
    return S0 * np.exp(-t / T2)


def decay_by_math(t: Any, S0: Any = 100.0, T2: Any = 40.0) -> Any:
    return S0 * math.exp(-t / T2)


@dataclass
class Mistake:
    """What is written, what it raises, and the words that show the way out."""

    call: Callable[[], Any]
    error: type[Exception]
    words: tuple[str, ...]


def a(call: Callable[[], Any], error: type[Exception], *words: str) -> Mistake:
    return Mistake(call, error, words)


def line(*args: Any, **options: Any) -> Callable[[], Any]:
    """A fit of the line along velocity, with something else besides."""
    return lambda: CUBE.modelfit(LINE, "velocity", *args, **options)


TABLE = {
    # dims
    "axis number": a(lambda: CUBE.modelfit(LINE, dim=0), ValueError, "named, not numbered", "dim='velocity'"),
    "dim misspelt": a(lambda: CUBE.modelfit(LINE, "velocty"), ValueError, "Did you mean 'velocity'?"),
    "dim in capitals": a(lambda: MONTHLY.modelfit(Linear1D(), "Time"), ValueError, "Did you mean 'time'?"),
    "dims to keep": a(lambda: CUBE.modelfit(LINE, ("y", "x")), ValueError, "has one input", "dim='velocity'"),
    "all dims, one input": a(lambda: CUBE.modelfit(LINE, ...), ValueError, "has one input", "coords={'x': ...}"),
    "no dim": a(lambda: CUBE.modelfit(LINE), ValueError, "dim is missing", "dim='velocity'"),
    "no dim, monthly": a(lambda: MONTHLY.modelfit(Linear1D()), ValueError, "dim='time'"),
    "two dims by position": a(line("y"), TypeError, "model and dim by position", "one tuple"),
    "starts by position": a(line({"mean": 0}), TypeError, "p0={...}"),
    "dim is an array": a(
        lambda: MONTHLY.modelfit(Linear1D(), MONTHLY["time"]), TypeError, "pass the name of a dim", "'time'"
    ),
    "one dim, two inputs": a(
        lambda: STACK.modelfit(Gaussian2D(), "x"), ValueError, "has 2 inputs", "one dim, 'x'", "dim=('x', 'y')"
    ),
    "three dims, two inputs": a(
        lambda: STACK.modelfit(Gaussian2D(), ("t", "y", "x")), ValueError, "no input of the model reads 't'",
        "dim=('x', 'y')", "coords={'x': 'x', 'y': 'y'}",
    ),
    "half of the inputs named": a(
        lambda: STACK.modelfit(Gaussian2D(), ..., coords={"x": "t"}), ValueError,
        "no input of the model reads 'x'", "dim=('t', 'y')",
    ),
    "lat and lon for x and y": a(
        lambda: STACK.rename(y="lat", x="lon").modelfit(Gaussian2D(), ("lat", "lon")), ValueError,
        "none is taken by guess", "coords={'x': ...}",
    ),
    # coordinates
    "coordinates in order": a(
        lambda: STACK.modelfit(Gaussian2D(), ("y", "x"), coords=["x", "y"]), ValueError, "coords={'x': 'x', 'y': 'y'}"
    ),
    "coords the wrong way round": a(line(coords={"velocity": "x"}), ValueError, "coords={'x': 'velocity'}"),
    "coordinate values": a(line(coords=VELOCITY), TypeError, "xr.DataArray(values, dims=['velocity'])"),
    "the other coordinate forgotten": a(
        lambda: IMAGES.drop_vars("echo").assign_coords(te=("echo", ECHOES)).modelfit(decay, "echo"), ValueError,
        "would count 0, 1, 2", "coords={'t': 'te'}", "coords={'t': 'echo'}",
    ),
    "dates as text": a(
        lambda: MONTHLY.assign_coords(time=[str(m)[:10] for m in MONTHS]).modelfit(Linear1D(), "time"), TypeError,
        "pandas.to_datetime(data['time'].values)",
    ),
    "dates of Python": a(
        lambda: MONTHLY.assign_coords(
            time=("time", np.array([datetime.date(2000 + i // 12, 1 + i % 12, 1) for i in range(60)], dtype=object))
        ).modelfit(Linear1D(), "time"),
        TypeError, "pandas.to_datetime",
    ),
    "channel names": a(
        lambda: IMAGES.assign_coords(echo=list("abcdefgh")).modelfit(decay, "echo"), TypeError,
        "Name a numeric coordinate",
    ),
    "time counted in months": a(
        lambda: MONTHLY.modelfit(Linear1D(), "time", time_units="months since 2000-01-01"), ValueError, "Use days"
    ),
    # units
    "frequency for velocity": a(
        lambda: CUBE.modelfit(Gaussian1D(2 * u.K, 1 * u.GHz, 1 * u.GHz), "velocity"), ValueError, "equivalencies="
    ),
    "jansky for kelvin": a(
        lambda: CUBE.modelfit(Gaussian1D(2 * u.Jy, 300 * u.m / u.s, 500 * u.m / u.s), "velocity"), ValueError,
        "u.Unit('K')",
    ),
    "units as text": a(line(p0={"mean": "300 m/s"}), TypeError, "Quantity"),
    "sigma in another unit": a(line(sigma=1 * u.Jy), ValueError, "'Jy'", "Correct its attrs['units']"),
    # model
    "a class": a(lambda: CUBE.modelfit(Gaussian1D, "velocity"), TypeError, "pass an instance, Gaussian1D(...)"),
    "a class of custom_model": a(
        lambda: IMAGES.modelfit(custom_model(lambda t, a=1.0: a * t), "echo"), TypeError, "with () after it"
    ),
    "a name": a(lambda: CUBE.modelfit("gaussian", "velocity"), TypeError, "Gaussian1D(1, 0, 1)"),
    "a list of models": a(lambda: CUBE.modelfit([LINE, LINE], "velocity"), TypeError, "is a list"),
    "dim first": a(lambda: CUBE.modelfit("velocity", LINE), TypeError, "model comes first"),
    "no model": a(lambda: CUBE.modelfit(dim="velocity"), TypeError, "model is missing"),
    "function without starts": a(
        lambda: IMAGES.modelfit(lambda t, S0, T2: S0 * np.exp(-t / T2), "echo"), ValueError, "p0={'S0': ..., 'T2': ...}"
    ),
    "function called": a(lambda: IMAGES.modelfit(decay(ECHOES), "echo"), TypeError, "pass a function"),
    "math.exp": a(lambda: IMAGES.modelfit(decay_by_math, "echo"), ValueError, "np.exp for math.exp"),
    # starts and bounds
    "center": a(line(p0={"center": 300}), ValueError, "Did you mean 'mean'?"),
    "amp": a(line(p0={"amp": 2}), ValueError, "Did you mean 'amplitude'?"),
    "sigma of a line": a(line(bounds={"sigma": (1, 1000)}), ValueError, "Did you mean 'stddev'?"),
    "starts in order": a(line(p0=[2, 300, 500]), TypeError, "p0={'amplitude': 2, 'mean': 300, 'stddev': 500}"),
    "starts as an array": a(line(p0=np.array([2, 300, 500])), TypeError, "'amplitude': 2, 'mean': 300, 'stddev': 500}"),
    "starts by word": a(line(p0="auto"), ValueError, "'estimate'"),
    "a start map of numpy": a(line(p0={"mean": np.ones((2, 3))}), TypeError, "DataArray over ('y', 'x')"),
    "bounds of scipy": a(
        line(bounds=([0, -np.inf, 0], np.inf)), TypeError, "{'amplitude': (0, None), 'mean':", "scipy"
    ),
    "bounds as a list of pairs": a(line(bounds=[(0, 1)] * 3), TypeError, "'amplitude': (low, high)"),
    "one bound": a(line(bounds={"amplitude": 0}), TypeError, "(0, None)"),
    "bounds swapped": a(line(bounds={"mean": (3, 1)}), ValueError, "Swap them"),
    "start outside bounds": a(line(bounds={"mean": (1000, 2000)}), ValueError, "p0={'mean': ...}"),
    "width of 0": a(
        lambda: CUBE.modelfit(Gaussian1D(2, 300, 0), "velocity"), ValueError, "must be > 0", "p0={'stddev': ...}"
    ),
    # companions
    "mask of numpy": a(line(where=CUBE.values > 0), TypeError, "xr.DataArray(values, dims=['velocity', 'y', 'x'])"),
    "mask of numbers": a(line(where=CUBE), TypeError, "must be boolean"),
    "mask by a function": a(line(where=lambda x: x > 0), TypeError, "pass a DataArray"),
    "errors of numpy": a(line(sigma=np.ones(40)), TypeError, "xr.DataArray(values, dims=['velocity'])"),
    "errors=0.1": a(line(errors=0.1), ValueError, "go to sigma="),
    "sigma below zero": a(line(sigma=-1.0), ValueError, "positive", "where="),
    "sigma and weights": a(line(sigma=0.1, weights=2.0), ValueError, "Leave one out"),
    # keywords of others
    **{
        f"{word}=": a(line(**{word: 1}), TypeError, f"unexpected keyword argument {word!r}", meant)
        for word, meant in {
            "mask": "where=~mask", "reduce_dims": "'dim'", "dims": "'dim'", "axis": "'dim'",
            "kwargs": "'fitter_kwargs'", "method": "fitter=TRFLSQFitter()", "maxiter": "BatchLSQFitter(maxiter=...)",
            "fixed": "fixed = True", "guess": "'p0'", "error": "'sigma'", "cov": "'covariance'",
            "n_jobs": "'scheduler'", "deg": "Polynomial1D(degree=2)", "xdata": "'coords'", "nan_policy": "'skipna'",
        }.items()
    },
    # fitters
    "fitter by name": a(line(fitter="trf"), TypeError, "TRFLSQFitter()"),
    "fitter class": a(line(fitter=TRFLSQFitter), TypeError, "pass an instance, TRFLSQFitter()"),
    "linear fitter": a(line(fitter=LinearLSQFitter()), ValueError, "Take another one"),
    "keywords of the default fitter": a(
        line(fitter_kwargs={"maxiter": 9}), TypeError, "fitter=BatchLSQFitter(maxiter=...)"
    ),
    "option of scipy": a(lambda: BatchLSQFitter(max_nfev=9), TypeError, "Did you mean 'maxiter'?"),
    "method of the fitter": a(lambda: BatchLSQFitter(method="trf"), TypeError, "TRFLSQFitter()"),
    "argument of the fit": a(lambda: BatchLSQFitter(sigma=0.1), TypeError, "data.modelfit(model, dim, sigma=...)"),
    "fitter called": a(
        lambda: BatchLSQFitter()(LINE, VELOCITY, VELOCITY), TypeError, "data.modelfit(model, dim, fitter="
    ),
    "pointwise as a number": a(line(pointwise=3), TypeError, "True or False"),
    # the data
    "a numpy array": a(
        lambda: xr_modelfit.fit(CUBE.values, LINE, "velocity"), TypeError, "dims=['time', 'y', 'x']", "coords="
    ),
    "a pandas Series": a(
        lambda: xr_modelfit.fit(CUBE.to_series(), LINE, "velocity"), TypeError, "obj.to_xarray()"
    ),
    "model before data": a(lambda: xr_modelfit.fit(LINE, CUBE, "velocity"), TypeError, "Data first, then the model"),
    "a file name": a(lambda: xr_modelfit.fit("cube.fits", LINE, "velocity"), TypeError, "from_fits('cube.fits')"),
    "data= with an array": a(line(data=CUBE), ValueError, "Leave it out"),
    "complex data": a(lambda: (CUBE * 1j).modelfit(LINE, "velocity"), TypeError, "abs(data)"),
    # methods of others
    **{
        f".{name} of a result": a(lambda name=name: getattr(FIT.modelfit, name), AttributeError, meant)
        for name, meant in {
            "to_fits": "xr_modelfit.to_hdulist(fit).writeto", "best_fit": "fit.modelfit.evaluate(data)",
            "fit_report": "fit.modelfit.report()", "aic": "fit['chi2'] + 2 * k", "bic": "k * log(n)",
            "conf_interval": "fit['amplitude_stderr']", "residual": "fit.modelfit.residuals(data)",
            "params_": "'params'", "redchi": "fit['reduced_chi2']", "success": "fit['fit_status']",
            "covar": "covariance=True", "eval": "fit.modelfit.evaluate(data)", "save": "fit.to_netcdf(path)",
            "mean": "fit['mean']", "chi2": "fit['chi2']", "reprot": "Did you mean 'report'?",
        }.items()
    },
    **{
        f".{name} of data": a(lambda name=name: getattr(CUBE.modelfit, name), AttributeError, *meant)
        for name, meant in {
            "plot": ("fit = data.modelfit(model, dim)", "data.plot()"), "report": ("fit.modelfit.report(...)",),
            "guess": ("data.modelfit.estimate(model, dim)", "p0='estimate'"), "ok": ("fit.modelfit.ok",),
            "fit": ("data.modelfit(model, dim)",), "polyfit": ("data.modelfit(model, dim)",),
            "evaluate": ("fit.modelfit.evaluate(...)",), "zzz": ("'estimate', 'plan', 'plot_fit'",),
        }.items()
    },
    **{
        f"xr_modelfit.{name}": a(lambda name=name: getattr(xr_modelfit, name), AttributeError, meant)
        for name, meant in {
            "curve_fit": "xr_modelfit.fit(data, model, dim)", "parallel_fit_dask": "xr_modelfit.fit(data, model, dim)",
            "Gaussian1D": "astropy.modeling.models", "read_fits": "xr_modelfit.from_fits(path)",
            "FitReports": "Did you mean 'FitReport'?", "Parameters": "p0={'mean': 0}",
        }.items()
    },
    # questions to a result
    "report of data": a(lambda: CUBE.to_dataset().modelfit.report(), RecordError, "fit = data.modelfit(model, dim)"),
    "a year for a date": a(lambda: TREND.modelfit.evaluate(time=[2050]), ValueError, "time=['2050-01-01']"),
    "the input by its name": a(
        lambda: FIT.modelfit.evaluate(x=[1.0, 2.0]), ValueError, "velocity=values", "fit.sel(x=...)"
    ),
    "coordinate by position": a(lambda: FIT.modelfit.evaluate(VELOCITY), TypeError, "velocity=values"),
    "evaluate of nothing": a(lambda: FIT.modelfit.evaluate(), RecordError, "velocity=values"),
    "unknown quantity": a(
        lambda: CUBE.modelfit(LINE, "velocity", errors="ignore", covariance=True).modelfit.derived("fluks"),
        ValueError, "Did you mean 'flux'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TABLE.values(), ids=TABLE.keys())
def test_each_mistake_is_answered_with_the_way_out(mistake: Mistake) -> None:
    with pytest.raises(mistake.error) as caught:
        mistake.call()
    message = str(caught.value)
    for words in mistake.words:
        assert words in message
    assert "{word}" not in message
    bare = ("positional argument", "object has no attribute", "object is not", "out of bounds", "__init__")
    assert not any(words in message for words in bare)


def test_there_are_as_many_as_people_make() -> None:
    assert len(TABLE) >= 52


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of older versions of what matplotlib imports
def test_plot_fit_without_a_result() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(TypeError, match="pass the Dataset that fitting this data returned"):
        CUBE.modelfit.plot_fit(y=0, x=0)


# --- the ways out that the answers show


def test_the_ways_out_can_be_gone() -> None:
    assert CUBE.modelfit(LINE, dim="velocity", errors="ignore").sizes == {"y": 2, "x": 3}
    dated = MONTHLY.assign_coords(time=[str(m)[:10] for m in MONTHS])
    dated = dated.assign_coords({"time": ("time", pd.to_datetime(dated["time"].values))})
    slope = dated.modelfit(Linear1D(), "time", errors="ignore")["slope"]
    np.testing.assert_allclose(slope, TREND["slope"])
    other = IMAGES.drop_vars("echo").assign_coords(te=("echo", ECHOES))
    np.testing.assert_allclose(other.modelfit(decay, "echo", coords={"t": "te"})["T2"], 40.0)
    np.testing.assert_allclose(other.modelfit(decay, "echo", coords={"t": "echo"})["T2"], 4.0)
    year = TREND.modelfit.evaluate(time=["2050-01-01"])
    counted = xr.DataArray([29220.0], dims="time", attrs={"units": "days since 1970-01-01"})  # 2050-01-01
    np.testing.assert_allclose(TREND.modelfit.evaluate(time=counted), year)
    assert TREND.modelfit.evaluate(time=29220.0).item(0) == year.item(0)


def test_pooled_dims_are_pooled_when_the_inputs_are_named() -> None:
    y, x = np.mgrid[:6.0, :7.0]
    star = Gaussian2D(3, 3, 2.5, 1.2, 1.5, theta=0.3)
    both = xr.DataArray(np.stack([star(x, y) + 0.1, star(x, y) - 0.1]), dims=("t", "y", "x"), coords=STACK.coords)
    fit = both.modelfit(star, ("t", "y", "x"), coords={"x": "x", "y": "y"})
    assert int(fit["n_points"]) == 84
    assert float(fit["x_mean"]) == pytest.approx(3.0)


def test_labels_that_are_no_numbers_do_not_ask() -> None:
    named = IMAGES.drop_vars("echo").assign_coords(label=("echo", list("abcdefgh")))
    np.testing.assert_allclose(named.modelfit(decay, "echo")["T2"], 4.0)


def test_refit_of_a_fit_that_counts() -> None:
    other = IMAGES.drop_vars("echo").assign_coords(te=("echo", ECHOES))
    fit = other.modelfit(decay, "echo", coords={"t": "echo"})
    again = fit.modelfit.refit(other, where=fit.modelfit.ok, p0={"S0": 90.0, "T2": 5.0}, model=decay)
    np.testing.assert_allclose(again["T2"], 4.0)


# --- nothing that could be fitted, and starts that show nothing


@pytest.mark.parametrize(
    ("data", "options", "cause"),
    [
        (IMAGES * np.nan, {}, "The data is NaN or infinite everywhere"),
        (IMAGES, {"where": xr.zeros_like(IMAGES, dtype=bool)}, "where is False everywhere"),
        (IMAGES, {"sigma": xr.zeros_like(IMAGES)}, "sigma has no positive, finite value"),
        (IMAGES.assign_coords(echo=ECHOES * np.nan), {}, "The coordinate 'echo' is NaN everywhere"),
        (IMAGES.where(IMAGES["echo"] < 50), {"where": IMAGES["echo"] > 50}, "leave no sample that all of them allow"),
    ],
)
def test_nothing_could_be_fitted(data: xr.DataArray, options: dict[str, Any], cause: str) -> None:
    with pytest.warns(FitWarning, match="Nothing could be fitted: none of 3 positions has a valid sample") as told:
        fit = data.modelfit(decay, "echo", **options)
    assert len(told) == 1
    assert cause in str(told[0].message)
    assert (fit["fit_status"] == -5).all()
    data.modelfit(decay, "echo", errors="ignore", **options)


def test_a_masked_region_is_not_warned_about() -> None:
    IMAGES.where(IMAGES["p"] > 0).modelfit(decay, "echo")
    IMAGES.isel(p=slice(0)).modelfit(decay, "echo")
    IMAGES.isel(echo=slice(0)).modelfit(decay, "echo")


def test_too_few_samples_everywhere_is_told() -> None:
    with pytest.warns(FitWarning, match="3 of 3 fits failed: 3 too_few_points"):
        IMAGES.isel(echo=slice(1)).modelfit(decay, "echo")


@pytest.mark.parametrize("model", [Gaussian1D(), Gaussian1D(2, 0.3, 0.5), Gaussian1D(2, 1e6, 500)])
def test_a_start_that_shows_nothing_is_named(model: Gaussian1D) -> None:
    with pytest.warns(FitWarning, match="At the start the model is 0 at") as told:
        CUBE.modelfit(model, "velocity")
    message = str(told[0].message)
    assert "'velocity' runs from -3000 to 3000 m s-1" in message
    assert f"mean = {model.mean.value:g} m s-1" in message
    assert "p0='estimate'" in message


def test_a_start_that_shows_something_is_not_blamed() -> None:
    noise = CUBE.copy(data=np.random.default_rng(1).normal(0, 1, CUBE.shape))
    with pytest.warns(FitWarning) as told:
        noise.modelfit(LINE, "velocity", fitter=BatchLSQFitter(maxiter=1))
    assert "At the start" not in str(told[0].message)


# --- what stays as it was


def test_fitters_are_values() -> None:
    fitter = BatchLSQFitter(maxiter=7, engine="numpy")
    assert pickle.loads(pickle.dumps(fitter)) == fitter == replace(BatchLSQFitter(7), engine="numpy")
    assert repr(fitter).startswith("BatchLSQFitter(maxiter=7, ")
    with pytest.raises(TypeError, match="positional"):
        BatchLSQFitter(*range(99))
