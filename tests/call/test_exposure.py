"""The exposure of counts: against the likelihood itself, with units, gaps, chunks, starts and pictures."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.stats import poisson

from support.wrong_calls import Stage
from xr_modelfit import BatchLSQFitter, FitStatus

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
X = np.linspace(-10.0, 10.0, 80)
TRUTH = (30.0, 0.5, 2.0, 2.0)
NAMES = ["amplitude_0", "mean_0", "stddev_0", "amplitude_1"]
COUNTS = BatchLSQFitter(loss="poisson")
ALONG = xr.DataArray(np.linspace(0.2, 3.0, X.size), dims="x")
EACH = xr.DataArray([0.5, 1.0, 4.0, 2.0, 1.5, 0.7], dims="p")
SHAPES = {"number": 3.0, "along": ALONG, "each": EACH, "full": (EACH * ALONG).transpose("x", "p")}


def line() -> Model:
    model = Gaussian1D(20, 0.3, 2.2) + Const1D(1.0)
    model.amplitude_0.bounds, model.amplitude_1.bounds = (0.0, None), (1e-6, None)
    return model


def counted(exposure: Any, seed: int = 0, n: int = 6) -> xr.DataArray:
    model = line()
    model.parameters = TRUTH
    rate = xr.DataArray(np.tile(model(X), (n, 1)), dims=("p", "x"), coords={"x": X})
    mean = (rate * exposure).transpose("p", "x")
    return mean.copy(data=np.random.default_rng(seed).poisson(mean.values).astype(float))


def fitted(data: xr.DataArray, **options: Any) -> xr.Dataset:
    given: dict[str, Any] = {"fitter": COUNTS, "errors": "ignore"} | options
    return data.modelfit(given.pop("model", line()), dim="x", **given)


def parameters(fit: xr.Dataset, ending: str = "") -> np.ndarray:
    return np.stack([fit[name + ending].values for name in NAMES], axis=-1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_likelihood_is_at_its_maximum(shape: str, engine: str) -> None:
    """No direct search finds one that is larger by more than 1e-8; chi2 is the deviance."""
    exposure = SHAPES[shape]
    data = counted(exposure)
    data[1, 10:20] = np.nan
    fit = fitted(data, exposure=exposure, fitter=BatchLSQFitter(loss="poisson", engine=engine))
    assert (fit["fit_status"] == 1).all()
    assert fit["chi2"].attrs["units"] == "1"
    times, one = (data * 0 + exposure).transpose("p", "x").values, line()
    for i, (p, errors) in enumerate(zip(parameters(fit), parameters(fit, "_stderr"), strict=True)):
        used = np.isfinite(data.values[i])
        y, w = data.values[i, used], times[i, used]

        def loss(
            s: np.ndarray, p: np.ndarray = p, errors: np.ndarray = errors, used: Any = used, y: Any = y, w: Any = w
        ) -> float:
            one.parameters = p + s * errors
            value = -float(np.sum(poisson.logpmf(y, w * one(X[used]))))
            return value if np.isfinite(value) else np.inf

        begin = 1e-2 * np.vstack([np.zeros(4), np.eye(4)])
        options = {"initial_simplex": begin, "xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
        found = minimize(loss, np.zeros(4), method="Nelder-Mead", options=options)
        assert loss(np.zeros(4)) - found.fun < 1e-8
        assert np.max(np.abs(found.x)) < 1e-3
        deviance = 2 * (float(np.sum(poisson.logpmf(y, y))) + loss(np.zeros(4)))
        assert_allclose(float(fit["chi2"][i]), deviance, rtol=1e-9)


def test_it_is_what_weights_are() -> None:
    """Weights were the only way to say it, and mean the same with this loss."""
    for exposure in SHAPES.values():
        data = counted(exposure)
        assert_array_equal(parameters(fitted(data, exposure=exposure)), parameters(fitted(data, weights=exposure)))


def test_the_rate_does_not_depend_on_the_unit_of_time() -> None:
    seconds = 60.0 * ALONG
    data = counted(ALONG)
    by_seconds = fitted(
        data, exposure=seconds.assign_attrs(units="s"), p0={"amplitude_0": 20 / 60, "amplitude_1": 1 / 60}
    )
    by_minutes = fitted(data, exposure=ALONG.assign_attrs(units="min"))
    assert_allclose(by_seconds["amplitude_0"] * 60, by_minutes["amplitude_0"], rtol=1e-5)
    assert "units" not in by_minutes["amplitude_0"].attrs  # that of the data is not known
    assert_allclose(by_seconds["chi2"], by_minutes["chi2"], rtol=1e-9)


def test_units_of_rates() -> None:
    """The model is in the unit of the data over that of the exposure; counts themselves are never converted."""
    data = counted(ALONG).assign_attrs(units="ct")
    plain = fitted(counted(ALONG), exposure=ALONG)
    by_minutes = fitted(data, exposure=ALONG.assign_attrs(units="min"))
    assert by_minutes["amplitude_0"].attrs["units"] == "ct min-1"
    assert_array_equal(parameters(by_minutes), parameters(plain))
    rate = u.ct / u.s
    carried = Gaussian1D(20 / 60 * rate, 0.3, 2.2) + Const1D(1 / 60 * rate)
    carried.amplitude_0.bounds, carried.amplitude_1.bounds = (0.0, None), (1e-8, None)
    by_seconds = fitted(data, model=carried, exposure=ALONG.assign_attrs(units="min"))
    assert_allclose(parameters(by_seconds) * [60, 1, 1, 60], parameters(plain), rtol=1e-5)
    assert_allclose(parameters(by_seconds, "_stderr") * [60, 1, 1, 60], parameters(plain, "_stderr"), rtol=1e-4)
    assert_allclose(by_seconds["chi2"], plain["chi2"], rtol=1e-9)
    assert_allclose(
        by_seconds.modelfit.evaluate(data).transpose("p", "x"),
        plain.modelfit.evaluate(data).transpose("p", "x"),
        rtol=1e-5,
    )
    one = fitted(counted(3.0).assign_attrs(units="ct"), exposure=3.0 * u.s)
    assert one["amplitude_1"].attrs["units"] == "ct s-1"


def test_a_model_in_another_unit_than_the_counts() -> None:
    """Without an exposure too: a thousand counts are a thousand counts, whatever the unit of the model."""
    data = counted(1.0)
    plain = fitted(data)
    hundred = u.Unit(100 * u.ct)
    carried = Gaussian1D(0.2 * hundred, 0.3, 2.2) + Const1D(0.01 * hundred)
    carried.amplitude_0.bounds, carried.amplitude_1.bounds = (0.0, None), (1e-8, None)
    fit = fitted(data.assign_attrs(units="ct"), model=carried)
    assert_allclose(parameters(fit) * [100, 1, 1, 100], parameters(plain), rtol=1e-5)
    assert_allclose(fit["chi2"], plain["chi2"], rtol=1e-9)


def test_samples_without_exposure_are_left_out() -> None:
    data = counted(ALONG)
    holes = np.isin(np.arange(X.size), [3, 40, 41])
    right = fitted(data.where(~holes), exposure=ALONG)
    for bad in (0.0, -1.0, np.nan, np.inf):
        fit = fitted(data, exposure=ALONG.where(~holes, bad))
        assert_array_equal(fit["n_points"], X.size - 3)
        assert_array_equal(parameters(fit), parameters(right))
    all_missing = fitted(data, exposure=(EACH * ALONG).where(EACH > 0.6))
    assert_array_equal(all_missing["fit_status"], [FitStatus.NO_DATA, 1, 1, 1, 1, 1])


def test_chunks_change_no_bit() -> None:
    exposure = SHAPES["full"]
    data = counted(exposure)
    whole = fitted(data, exposure=exposure, covariance=True)
    for chunks in ({"p": 1}, {"p": 4, "x": 11}):
        lazy = fitted(data.chunk(chunks), exposure=exposure.chunk(p=2), covariance=True)
        xr.testing.assert_identical(lazy.compute(), whole)
    lazy = fitted(data, exposure=exposure.chunk(p=2), covariance=True)
    assert lazy["chi2"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)
    xr.testing.assert_identical(fitted(data, exposure=exposure, covariance=True, fits_per_chunk=2), whole)


@pytest.mark.parametrize("p0", ["estimate", "mean", "coarse"])
def test_starts_are_rates(p0: str) -> None:
    """They are found from counts over exposure: of a hundred times the exposure, the counts would be far off."""
    exposure = 100.0 * SHAPES["full"]
    data = counted(exposure)
    fit = fitted(data, exposure=exposure, p0=p0, fit_info=["start"] if p0 == "estimate" else None)
    assert (fit["fit_status"] == 1).all()
    assert_allclose(parameters(fit), np.tile(TRUTH, (6, 1)), rtol=0.1)
    if p0 == "estimate":
        assert_allclose(fit["amplitude_0_start"], 30.0, rtol=0.3)


def test_priors_of_rates() -> None:
    data = counted(ALONG)
    fit = fitted(data, exposure=ALONG, priors={"stddev_0": (2.5, 1e-3)})
    assert_allclose(fit["stddev_0"], 2.5, atol=5e-3)
    assert (fit["chi2_prior"] >= 0).all()


def test_it_may_be_a_variable_of_the_dataset() -> None:
    data = counted(ALONG)
    both = xr.Dataset({"counts": data, "time": ALONG.broadcast_like(data)})
    fit = both.modelfit(line(), dim="x", exposure="time", fitter=COUNTS)
    assert_array_equal(fit["counts_mean_0"], fitted(data, exposure=ALONG)["mean_0"])
    assert "time_mean_0" not in fit


def test_a_refit_asks_for_it() -> None:
    data = counted(ALONG)
    fit = fitted(data, exposure=ALONG)
    with pytest.raises(ValueError, match=r"The fit had an exposure, which its record does not hold\. Pass exposure="):
        fit.modelfit.refit(data)
    every = xr.ones_like(fit["mean_0"], dtype=bool)
    again = fit.modelfit.refit(data, where=every, p0="estimate", exposure=ALONG)
    assert_array_equal(again["mean_0"], fit["mean_0"])


@pytest.mark.parametrize(
    "exposure", [3.0, 3.0 * u.s, 3.0 * ALONG.assign_attrs(units="s")], ids=["number", "unit", "map"]
)
def test_refits_and_covariances_have_the_unit_of_the_fit(exposure: Any) -> None:
    """The record knows an exposure that is one number, with its unit."""
    data = counted(3.0).assign_attrs(units="ct")
    fit = fitted(data, exposure=exposure)
    given = {"exposure": exposure} if isinstance(exposure, xr.DataArray) else {}
    every = xr.ones_like(fit["mean_0"], dtype=bool)
    again = fit.modelfit.refit(data, where=every, p0="estimate", **given)
    assert_allclose(again["amplitude_0"], fit["amplitude_0"], rtol=1e-6)
    assert again["amplitude_0"].attrs["units"] == fit["amplitude_0"].attrs["units"]
    right = fitted(data, exposure=exposure, covariance=True)["covariance"]
    assert_allclose(fit.modelfit.with_covariance(data, **given)["covariance"], right, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning")  # matplotlib 3.8 with a newer pyparsing
@pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning")
def test_pictures_show_rates() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="pictures")
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    exposure = SHAPES["full"].assign_attrs(units="s")
    data = counted(exposure).assign_attrs(units="ct")
    fit = fitted(data, exposure=exposure)
    with pytest.raises(ValueError, match=r"The fit had an exposure.*samples are drawn divided by it"):
        data.modelfit.plot_fit(fit, p=2)
    picture = data.modelfit.plot_fit(fit, p=2, exposure=exposure)
    lines = [one for one in picture.axs[0].lines if one.get_ydata().size == X.size]
    rates = (data / exposure).isel(p=2).values
    assert any(np.allclose(one.get_ydata(), rates) for one in lines)
    plt.close(picture.fig)
    same = fitted(data, exposure=4.0 * u.s)  # the record knows one number
    picture = data.modelfit.plot_fit(same, p=2)
    assert any(
        np.allclose(one.get_ydata(), data.isel(p=2) / 4)
        for one in picture.axs[0].lines
        if one.get_ydata().size == X.size
    )
    plt.close(picture.fig)
    with pytest.raises(ValueError, match="exposure is given, but the fit had none"):
        data.modelfit.plot_fit(fitted(data), p=2, exposure=exposure)


GIVEN = xr.DataArray(np.ones(12), dims="velocity")
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no fitter": ({"exposure": GIVEN, "fitter": None}, ValueError, r'Pass fitter=BatchLSQFitter\(loss="poisson"\)'),
    "another loss": ({"exposure": 2.0, "fitter": BatchLSQFitter(loss="huber")}, ValueError, "not one of counts"),
    "astropy": ({"exposure": 2.0, "fitter": TRFLSQFitter()}, ValueError, r'BatchLSQFitter\(loss="poisson"\)'),
    "weights": ({"exposure": 2.0, "weights": GIVEN}, ValueError, "exposure and weights are both given"),
    "sigma": ({"exposure": 2.0, "sigma": 1.0}, ValueError, "exposure and sigma are both given"),
    "zero": ({"exposure": 0.0}, ValueError, r"exposure is 0\.0; a positive, finite number is needed"),
    "negative": ({"exposure": -3 * u.s}, ValueError, r"exposure is -3\.0; a positive, finite number is needed"),
    "True": ({"exposure": True}, TypeError, "exposure is True; pass a DataArray, a name or a number"),
    "no labels": ({"exposure": np.ones(12)}, TypeError, "exposure is .*ndarray; it must be a DataArray or a name"),
    "unknown": ({"exposure": "time"}, ValueError, "exposure names 'time', which is not there"),
    "other dim": ({"exposure": GIVEN.rename(velocity="v")}, ValueError, r"exposure has dims \('v',\).*no dim 'v'"),
    "other size": ({"exposure": GIVEN[:5]}, ValueError, "exposure has 5 positions along 'velocity', the data 12"),
    "durations": ({"exposure": GIVEN.astype("timedelta64[s]")}, TypeError, "exposure holds timedelta64"),
}


@pytest.mark.parametrize("in_dask", [True, False], ids=["dask", "file"])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_raise_before_a_sample_is_read(case: str, in_dask: bool) -> None:
    given, kind, said = WRONG[case]
    stage = Stage(in_dask)
    with pytest.raises(kind, match=f"(?s){said}"):
        stage.fit(**({"fitter": COUNTS} | given))
    assert not stage.read
