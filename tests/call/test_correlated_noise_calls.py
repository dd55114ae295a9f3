"""``noise=`` in calls: what is refused, what a result says of it, and what follows from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Linear1D, Polynomial1D, Polynomial2D
from scipy.stats import t as student

from xr_modelfit import BatchLSQFitter
from xr_modelfit.records.metadata import RECORD

N = 60
T = np.arange(float(N))


def correlated(b: int = 4, r: float = 0.6, seed: int = 0) -> xr.DataArray:
    """Temperatures with correlated noise and a slope, over (p, t)."""
    e = np.random.default_rng(seed).normal(size=(b, N))
    for i in range(1, N):
        e[:, i] = r * e[:, i - 1] + np.sqrt(1 - r * r) * e[:, i]
    return xr.DataArray(0.05 * T + e, dims=("p", "t"), coords={"t": T}, name="T", attrs={"units": "K"})


def covariance(s: float = 1.0) -> xr.DataArray:
    return xr.DataArray(s * 0.6 ** np.abs(T[:, None] - T), dims=("t", "s"))


def test_a_trend_in_one_call() -> None:
    """Standard error, p-value and effective number of samples; the p-value is Student's."""
    fit = correlated().modelfit(Linear1D(), "t", noise="ar1")
    plain = correlated().modelfit(Linear1D(), "t")
    assert (fit["slope_stderr"] > 1.2 * plain["slope_stderr"]).all()
    assert (fit["n_effective"] < 40).all()
    p = fit.modelfit.p_value("slope")
    right = 2 * student.sf(abs(fit["slope"] / fit["slope_stderr"]), fit["n_effective"] - 2)
    np.testing.assert_allclose(p, right, rtol=1e-10)
    assert "n_effective less free parameters" in p.attrs["comment"]
    assert (p > plain.modelfit.p_value("slope")).all()
    lost = fit.drop_vars("n_effective")
    with pytest.raises(ValueError, match="no variable 'n_effective', from which the degrees of freedom"):
        lost.modelfit.p_value("slope")


def test_what_a_result_says() -> None:
    fit = correlated().modelfit(Linear1D(), "t", noise="ar1", prefix="trend_")
    names = list(fit.data_vars)
    assert names.index("trend_n_effective") < names.index("trend_ar1") < names.index("trend_fit_status")
    assert fit["trend_ar1"].attrs["long_name"] == "correlation of the noise of samples one step apart"
    assert fit["trend_chi2"].attrs["comment"] == "of whitened residuals"
    assert fit["trend_chi2"].attrs["units"] == "K2"
    assert json.loads(fit["trend_fit_status"].attrs[RECORD])["options"]["noise"] == "ar1"
    text = str(fit.modelfit.report())
    assert "Noise: AR(1), from the residuals of each fit; correlation 0." in text
    assert "effective samples (median)." in text
    known = correlated().modelfit(Linear1D(), "t", noise=covariance())
    assert "ar1" not in known
    assert known["chi2"].attrs["units"] == "1"
    assert "Noise: by a covariance;" in str(known.modelfit.report())
    assert "Noise" not in str(correlated().modelfit(Linear1D(), "t").modelfit.report())
    assert "Noise: " in fit.modelfit.report()._repr_html_()


def test_what_follows_from_it() -> None:
    """Bands, derived quantities, stores, refits and plans."""
    data = correlated()
    fit = data.modelfit(Linear1D(), "t", noise="ar1", covariance=True)
    band = fit.modelfit.predict(data)
    at_zero = band["model_stderr" if "model_stderr" in band else list(band)[1]].isel(t=0)
    np.testing.assert_allclose(at_zero, fit["intercept_stderr"], rtol=1e-10)
    assert "ar1" in fit.modelfit.refit(data)
    without = data.modelfit(Linear1D(), "t", noise="ar1").modelfit.with_covariance(data)
    np.testing.assert_allclose(without["covariance"], fit["covariance"], rtol=1e-6)
    known = data.modelfit(Linear1D(), "t", noise=covariance())
    with pytest.raises(ValueError, match=r"had noise of a covariance.*Pass noise=\.\.\., as in the fit"):
        known.modelfit.refit(data)
    assert "fits" in str(data.modelfit.plan(Linear1D(), "t", noise="ar1"))


def test_units_of_a_covariance() -> None:
    data = correlated()
    plain = data.modelfit(Linear1D(), "t", noise=covariance())
    milli = data.modelfit(Linear1D(), "t", noise=covariance(1e6).assign_attrs(units="mK2"))
    np.testing.assert_allclose(milli["slope_stderr"], plain["slope_stderr"], rtol=1e-10)
    np.testing.assert_allclose(milli["chi2"], plain["chi2"], rtol=1e-10)
    with pytest.raises(ValueError, match=r"noise is in 'K'|noise is"):
        data.modelfit(Linear1D(), "t", noise=covariance().assign_attrs(units="K"))


def test_a_covariance_is_absolute_unless_told() -> None:
    data = correlated()
    fit = data.modelfit(Linear1D(), "t", noise=covariance(4.0))
    same = data.modelfit(Linear1D(), "t", noise=covariance(), absolute_sigma=False)
    rescaled = data.modelfit(Linear1D(), "t", noise=covariance(4.0), absolute_sigma=False)
    np.testing.assert_allclose(rescaled["slope_stderr"], same["slope_stderr"], rtol=1e-10)
    np.testing.assert_allclose(rescaled["slope_stderr"], fit["slope_stderr"] * np.sqrt(fit["reduced_chi2"]), rtol=1e-10)


def test_names_and_variables() -> None:
    """In a Dataset a covariance may be named, and is not fitted itself."""
    ds = xr.Dataset({"T": correlated(), "C": covariance()})
    fit = ds.modelfit(Linear1D(), "t", noise="C")
    assert "T_slope" in fit
    assert not [n for n in fit.data_vars if str(n).startswith("C_")]
    one = ds.modelfit(Linear1D(), "t", data="T", noise="C")
    np.testing.assert_array_equal(one["slope"], fit["T_slope"])


def test_wrong_noise() -> None:
    data = correlated()

    def refused(kind: type[Exception], match: str, model=None, dim="t", **options) -> None:
        with pytest.raises(kind, match=match):
            data.modelfit(model or Linear1D(), dim, **options)

    refused(ValueError, r"noise is 'ar2'; it must be \"ar1\" or name a covariance.*Did you mean 'ar1'", noise="ar2")
    refused(TypeError, r'noise is float; it must be "ar1".*Standard errors go to sigma=', noise=0.5)
    refused(ValueError, "takes samples for independent. Leave fitter out", noise="ar1", fitter=TRFLSQFitter())
    refused(ValueError, r"noise is given with loss='huber'", noise="ar1", fitter=BatchLSQFitter(loss="huber"))
    refused(ValueError, "noise is given with clip", noise="ar1", fitter=BatchLSQFitter(clip=(3, 3)))
    refused(ValueError, "holds the standard errors of the samples, and sigma", noise=covariance(), sigma=1.0)
    refused(ValueError, "noise is given with upper_limit", noise="ar1", sigma=1.0, upper_limit=data > 2)
    refused(ValueError, r"noise is given with sigma=\(lower, upper\)", noise="ar1", sigma=(1.0, 2.0))
    refused(ValueError, r'priors are given with noise="ar1"', noise="ar1", sigma=1.0, priors={"slope": (0.0, 1.0)})
    refused(ValueError, "noise is given with integrate or response", noise="ar1", integrate=True)
    refused(ValueError, "a covariance has the fitted dim 't', and a second one", noise=covariance().rename(t="u"))
    refused(ValueError, "noise has 59 positions along 's', the data 60", noise=covariance()[:, 1:])
    refused(ValueError, "has other labels along 's' than the data", noise=covariance().assign_coords(s=T[::-1]))
    refused(ValueError, "noise has another index along 't'", noise=covariance().assign_coords(t=T + 1))
    refused(TypeError, "noise holds bool; real numbers are needed", noise=covariance() > 0)
    lopsided = covariance()
    lopsided[3, 4] += 0.1
    refused(ValueError, "noise is not symmetric: it differs from its transpose by up to 0.1", noise=lopsided)
    refused(ValueError, "noise is not positive definite: its smallest eigenvalue is -", noise=covariance() - 0.5)
    twice = data.assign_coords(t=np.where(T == 5, 4.0, T))
    with pytest.raises(ValueError, match="the coordinate 't' has the value 4 more than once"):
        twice.modelfit(Linear1D(), "t", noise="ar1")
    with pytest.raises(ValueError, match=r"noise is given, and 2 dims are fitted"):
        data.assign_coords(p=np.arange(4.0)).modelfit(
            Polynomial2D(1), ("p", "t"), coords={"x": "p", "y": "t"}, noise="ar1"
        )
    with pytest.raises(ValueError, match="'ar1'"):
        data.assign_coords(ar1=1.0).modelfit(Linear1D(), "t", noise="ar1")


def test_wrong_calls_read_nothing() -> None:
    def read(_: np.ndarray) -> np.ndarray:
        raise AssertionError("a sample was read")

    lazy = correlated().chunk(p=1).map_blocks(lambda block: block)
    noise = xr.apply_ufunc(read, covariance().chunk(), dask="parallelized", output_dtypes=[float])
    with pytest.raises(ValueError, match="sigma or weights are given too"):
        lazy.modelfit(Linear1D(), "t", noise=noise, sigma=1.0)
    assert lazy.modelfit(Linear1D(), "t", noise=noise)["slope"].chunks is not None


def test_a_lazy_covariance_that_is_none_gives_statuses() -> None:
    fit = correlated().modelfit(Linear1D(), "t", noise=(covariance() - 0.5).chunk(), errors="ignore").compute()
    assert fit["fit_status"].values.tolist() == [-6] * 4


def test_several_inputs_along_one_dim() -> None:
    """The input that reads the dim itself tells how far samples are apart."""
    data = correlated().assign_coords(index=("t", np.sin(T)))

    def trend(t, index, a=0.0, b=0.1, c=0.0):
        return a + b * t + c * index

    fit = data.modelfit(trend, "t", coords={"t": "t", "index": "index"}, noise="ar1")
    assert float(fit["ar1"].mean()) > 0.4
    swapped = data.assign_coords(u=("t", np.cos(T)))
    with pytest.raises(ValueError, match="all read coordinates along 't': none of them is the coordinate 't' itself"):
        swapped.modelfit(trend, "t", coords={"t": "u", "index": "index"}, noise="ar1")


def test_dates_of_months() -> None:
    """Months are uneven in days; the step is their median spacing."""
    data = correlated().assign_coords(t=np.arange("2000-01", "2005-01", dtype="datetime64[M]").astype("datetime64[ns]"))
    fit = data.modelfit(Polynomial1D(1), "t", noise="ar1")
    assert 0.3 < float(fit["ar1"].mean()) < 0.8
    assert fit["c1"].attrs["units"] == "K d-1"


def test_estimated_starts_and_first_fits() -> None:
    x = np.linspace(-10, 10, N)
    rng = np.random.default_rng(3)
    data = xr.DataArray(
        5 * np.exp(-0.5 * (x / 2) ** 2) + 0.1 * rng.normal(size=(8, N)), dims=("p", "t"), coords={"t": x}
    )
    for p0 in ("estimate", "mean", [{"mean": 1.0}, {"mean": -1.0}]):
        fit = data.modelfit(Gaussian1D(1, 1, 1), "t", p0=p0, noise="ar1")
        assert bool(fit.modelfit.ok.all())
        np.testing.assert_allclose(fit["mean"], 0.0, atol=0.2)
