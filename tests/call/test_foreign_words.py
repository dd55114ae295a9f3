"""Calls in the words of other fitting functions, and Datasets with variables that are about others."""

import inspect
import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import FittingWithOutlierRemoval, LevMarLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Polynomial1D
from astropy.stats import sigma_clip
from scipy.optimize import least_squares, leastsq

import xr_modelfit
from xr_modelfit import BatchLSQFitter, FitWarning
from xr_modelfit.foreign_options import OPTIONS
from xr_modelfit.foreign_words import WORDS

LINE = Gaussian1D(1, 0.1, 1.1)
X = np.linspace(-3, 3, 20)


def data(n: int = 3) -> xr.DataArray:
    y = np.exp(-0.5 * X**2) + np.random.default_rng(0).normal(0, 0.01, (n, X.size))
    return xr.DataArray(y, dims=("y", "x"), coords={"x": X})


# --- words

MEANT = {
    "mask": "'where'", "guess": "'p0'", "error": "'sigma'", "fixed": "model.amplitude.fixed", "method": "'fitter'",
    "maxiter": "BatchLSQFitter(maxiter=...)", "dims": "'dim'", "axis": "'dim'", "reduce_dims": "'dim'",
    "loss": "outliers", "expr": "model.amplitude.tied", "n_jobs": "'scheduler'", "cov": "'covariance'",
    "deg": "Polynomial1D",
    "full": "'covariance'", "skip_na": "'skipna'", "nan_policy": "'skipna'", "kwargs": "'fitter_kwargs'",
    "w": "'weights'", "x0": "'p0'", "func": "'model'", "Mask": "'where'", "max_nfev": "{'maxiter': ...}",
    "wher": "'where'", "progres": "'progress'",
}  # fmt: skip


@pytest.mark.parametrize("word", MEANT)
def test_words_of_others_are_understood(word: str) -> None:
    calls = [
        lambda: data().modelfit(LINE, "x", **{word: 1}),
        lambda: xr_modelfit.fit(data().to_dataset(name="a"), LINE, "x", **{word: 1}),
        lambda: data().modelfit.plan(LINE, "x", **{word: 1}),
    ]
    if word in WORDS:
        calls.append(lambda: data().modelfit(**{word: 1}))  # without a model
    for call in calls:
        with pytest.raises(TypeError) as caught:
            call()
        message = str(caught.value)
        assert f"fit() got an unexpected keyword argument {word!r}. Did you mean" in message
        assert MEANT[word] in message
        assert "{word}" not in message
        assert "{{" not in message


def test_no_word_of_ours_is_a_foreign_one() -> None:
    assert not set(WORDS) & set(inspect.signature(xr_modelfit.fit).parameters)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'zzz'\. Its arguments are in the documentation"):
        data().modelfit(LINE, "x", zzz=1)


# Options of scipy's, lmfit's and astropy's fitters: each answer shows a way that is there, or says that there is none.
OPTIONS_OF_OTHERS = (
    *inspect.signature(least_squares).parameters, *inspect.signature(leastsq).parameters, "max_nfev", "x_scale", "acc",
    "maxfev", "epsilon", "estimate_jacobian", "maxiter", "iter_cb", "tr_solver", "diag", "factor", "epsfcn", "maxfun",
)  # fmt: skip
CALLED = re.compile(r"(BatchLSQFitter\(|fitter_kwargs=\{')(\w+)(?:=|': )\.\.\.")


@pytest.mark.parametrize("word", sorted({w for w in OPTIONS_OF_OTHERS if w in OPTIONS}))
def test_options_that_are_proposed_exist(word: str) -> None:
    ours = inspect.signature(BatchLSQFitter).parameters
    theirs = inspect.signature(TRFLSQFitter.__call__).parameters
    calls = [
        lambda: data().modelfit(LINE, "x", **{word: 1}),
        lambda: data().modelfit(LINE, "x", fitter_kwargs={word: 1}),
        lambda: data().modelfit(LINE, "x", fitter=TRFLSQFitter(), fitter_kwargs={word: 1}),
    ] + [lambda: BatchLSQFitter(**{word: 1})] * (word not in ours)
    for call in calls[: 2 if word in theirs else 4]:
        with pytest.raises(TypeError) as caught:
            call()
        for fitter, option in CALLED.findall(str(caught.value)):
            assert option in (ours if "BatchLSQFitter" in fitter else theirs)
        for option in re.findall(r"Did you mean '(\w+)'", str(caught.value)):
            assert option in {*ours, *theirs}
        assert re.search(
            r"Did you mean|No fitter has it|leave it out|itself|on the instance|it knows", str(caught.value)
        )


def test_options_by_another_name() -> None:
    with pytest.raises(TypeError, match=r"option 'maxiter' of the fitter\? fitter=BatchLSQFitter\(maxiter=\.\.\.\)"):
        data().modelfit(LINE, "x", maxfev=5000)
    with pytest.raises(TypeError, match=r"on the instance: fitter=BatchLSQFitter\(maxiter=\.\.\.\)"):
        data().modelfit(LINE, "x", fitter_kwargs={"maxfev": 5000})
    with pytest.raises(TypeError, match=r"TRFLSQFitter does not know.*Did you mean 'maxiter'\?"):
        data().modelfit(LINE, "x", fitter=TRFLSQFitter(), fitter_kwargs={"maxfev": 5000})
    for call in (
        lambda: data().modelfit(LINE, "x", x_scale=[1, 2, 3]),
        lambda: data().modelfit(LINE, "x", fitter_kwargs={"x_scale": "jac"}),
        lambda: BatchLSQFitter(x_scale="jac"),
        lambda: BatchLSQFitter(factor=1),
    ):
        with pytest.raises(TypeError, match="scales the parameters itself") as caught:
            call()
        assert "Did you mean" not in str(caught.value)
    with pytest.raises(TypeError, match=r"option 'engine' of the fitter\? fitter=BatchLSQFitter\(engine=\.\.\.\)\."):
        data().modelfit(LINE, "x", engine="numba")
    with pytest.raises(TypeError, match=r"no such option.*finds the steps"):
        data().modelfit(LINE, "x", diff_step=1e-3)


@pytest.mark.parametrize("value", [0.1, np.full(20, 0.1), xr.DataArray([0.1])])
def test_errors_that_are_numbers_are_pointed_to_sigma(value: Any) -> None:
    with pytest.raises(ValueError, match="go to sigma="):
        data().modelfit(LINE, "x", errors=value)


@pytest.mark.parametrize("pair", [(0.1, 0.2), (np.ones(20), np.ones(20)), ("low", "high")])
def test_a_pair_of_errors(pair: Any) -> None:
    with pytest.raises(TypeError, match=r"weights is a pair.*pass these as sigma=\(lower, upper\)"):
        data().modelfit(LINE, "x", weights=pair)


# --- fitters that cannot work


@pytest.mark.parametrize("lazy", [False, True])
def test_outlier_removal_around_the_batch_fitter_is_refused_at_the_call(lazy: bool) -> None:
    fitter = FittingWithOutlierRemoval(BatchLSQFitter(), sigma_clip, niter=3, sigma=5)
    given = data().chunk(y=1) if lazy else data()
    with pytest.raises(TypeError, match=r"FittingWithOutlierRemoval around BatchLSQFitter.*TRFLSQFitter\(\)"):
        given.modelfit(LINE, "x", fitter=fitter, errors="ignore")
    right = FittingWithOutlierRemoval(TRFLSQFitter(), sigma_clip, niter=3, sigma=5)
    assert (data().modelfit(LINE, "x", fitter=right)["fit_status"] > 0).all()


class Broken(LevMarLSQFitter):
    """Its own code has a slip."""

    def __call__(self, model: Any, x: Any, y: Any, z: Any = None, weights: Any = None, **options: Any) -> Any:
        return self.no_such_thing


def test_a_fitter_with_a_slip_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match=r"Broken, which cannot do this fit: .*no_such_thing"):
        data().modelfit(LINE, "x", fitter=Broken(), errors="ignore")


class Picky(LevMarLSQFitter):
    """Refuses all samples that are not the model's own."""

    message = "no such samples"

    def __call__(self, model: Any, x: Any, y: Any, z: Any = None, weights: Any = None, **options: Any) -> Any:
        if np.max(np.abs(y - model(x))) > 0.02:
            raise ValueError(self.message)
        return super().__call__(model, x, y, weights=weights, **options)


def test_what_all_fits_raise_alike_is_told_once_with_its_cause() -> None:
    given = data(8) + 1
    given[2] = np.nan
    with pytest.warns(FitWarning, match="All that were attempted raised ValueError: no such samples") as told:
        given.modelfit(LINE, "x", fitter=Picky())
    assert len(told) == 1


def test_what_some_raise_is_not_told_of_all() -> None:
    given = data(8)
    given[2] += 1
    with pytest.warns(FitWarning) as told:
        given.modelfit(Gaussian1D(1, 0, 1), "x", fitter=Picky())
    assert "All that" not in str(told[0].message)


# --- variables about others


def a_dataset() -> xr.Dataset:
    t = np.arange(8.0)
    flux = xr.DataArray(
        3 * t + 1 + np.zeros((2, 1)),
        dims=("s", "time"),
        attrs={"ancillary_variables": "e q", "cell_measures": "area: a"},
    )
    like = xr.zeros_like(flux.drop_attrs())
    return xr.Dataset(
        {
            "flux": flux,
            "e": like + 0.1,
            "q": like.astype(int),
            "a": like + 1,
            "flux_flag": like.astype(int).assign_attrs(flag_values=[0, 1], flag_meanings="good bad"),
            "n_obs": like.assign_attrs(standard_name="air_temperature number_of_observations"),
            "noise": like.assign_attrs(standard_name="air_temperature standard_error"),
            "time_bnds": (("time", "bnds"), np.stack([t, t + 1], 1)),
            "date": ("time", np.full(8, 20200101)),
            "datesec": ("time", np.arange(8)),
            "moments": (("time", "component"), np.ones((8, 6)), {"long_name": "date vector: year, month, day"}),
            "mid": ("time", t, {"units": "days since 2000-01-01"}),
            "written": ("time", t, {"units": "day as %Y%m%d.%f"}),
        },
        coords={"time": t},
    )  # fmt: skip


def test_variables_about_others_are_not_fitted() -> None:
    fit = a_dataset().modelfit(Linear1D(), "time")
    assert fit.modelfit.params.data_vars.keys() == {"flux_slope", "flux_intercept"}
    assert float(a_dataset().modelfit(Const1D(), "time", data="e")["amplitude"][0]) == pytest.approx(0.1)


def test_names_that_only_look_like_those_of_bounds_are_fitted() -> None:
    t = np.arange(8.0)
    ds = xr.Dataset({"outer_bounds": ("time", t), "update": ("time", t), "time_bounds": ("time", t)}, {"time": t})
    names = {str(n).removesuffix("_c0") for n in ds.modelfit(Polynomial1D(0), "time").modelfit.params}
    assert names == {"outer_bounds", "update", "time_bounds"}
