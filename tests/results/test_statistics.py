"""p-values against scipy's regression and distributions."""

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Const1D, Linear1D, Polynomial1D
from scipy import stats

from xr_modelfit import BatchLSQFitter, RecordError

T = np.linspace(0.0, 5.0, 24)
Y = np.random.default_rng(3).normal(0, 1, (6, T.size)) + 0.15 * T
DATA = xr.DataArray(Y, dims=("station", "t"), coords={"t": T}, name="tas")


def test_slopes_have_the_p_values_of_linregress() -> None:
    p = DATA.modelfit(Linear1D(), "t").modelfit.p_value("slope")
    np.testing.assert_allclose(p, [stats.linregress(T, y).pvalue for y in Y], rtol=1e-8)
    assert p.name == "slope_p_value"
    assert p.dims == ("station",)
    assert "Student's t" in p.attrs["comment"]


def test_another_null_is_a_shifted_slope() -> None:
    p = DATA.modelfit(Linear1D(), "t").modelfit.p_value("slope", null=0.15)
    np.testing.assert_allclose(p, [stats.linregress(T, y - 0.15 * T).pvalue for y in Y], rtol=1e-8)


def test_known_errors_give_the_normal_distribution() -> None:
    """With errors of 1, the slope scatters by 1 / sqrt(sum of squared distances from the middle)."""
    z = np.array([stats.linregress(T, y).slope for y in Y]) * np.sqrt(((T - T.mean()) ** 2).sum())
    p = DATA.modelfit(Linear1D(), "t", sigma=1.0).modelfit.p_value("slope")
    np.testing.assert_allclose(p, 2 * stats.norm.sf(abs(z)), rtol=1e-8)
    relative = DATA.modelfit(Linear1D(), "t", sigma=1.0, absolute_sigma=False).modelfit.p_value("slope")
    np.testing.assert_allclose(relative, [stats.linregress(T, y).pvalue for y in Y], rtol=1e-8)


def test_counts_give_the_normal_distribution() -> None:
    """The mean of n counts has the error sqrt(mean / n), by Fisher's information, whatever they scatter by."""
    counts = np.random.default_rng(5).poisson(4.0, (5, 30)).astype(float)
    data = xr.DataArray(counts, dims=("station", "t"), coords={"t": np.arange(30.0)})
    p = data.modelfit(Const1D(3.0), "t", fitter=BatchLSQFitter(loss="poisson")).modelfit.p_value("amplitude", null=4.0)
    mean = counts.mean(axis=1)
    np.testing.assert_allclose(p, 2 * stats.norm.sf(abs(mean - 4.0) / np.sqrt(mean / 30)), rtol=1e-6)


def test_what_has_no_error_has_no_p_value() -> None:
    fit = DATA.modelfit(Linear1D(fixed={"intercept": True}), "t")
    assert fit.modelfit.p_value("intercept").isnull().all()
    exact = DATA.isel(t=slice(2)).modelfit(Linear1D(), "t")
    assert exact.modelfit.p_value("slope").isnull().all()
    masked = DATA.where(DATA["station"] > 0).modelfit(Linear1D(), "t")
    assert masked.modelfit.p_value("slope").isnull().values.tolist() == [True] + [False] * 5


def test_lazy_and_read_back(tmp_path: object) -> None:
    fit = DATA.modelfit(Linear1D(), "t")
    lazy = DATA.chunk(station=2).modelfit(Linear1D(), "t").modelfit.p_value("slope")
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.compute(), fit.modelfit.p_value("slope"))
    pytest.importorskip("netCDF4")
    fit.to_netcdf(f"{tmp_path}/fit.nc")
    with xr.open_dataset(f"{tmp_path}/fit.nc") as read:
        np.testing.assert_array_equal(read.modelfit.p_value("slope"), fit.modelfit.p_value("slope"))


def test_one_of_several_fits() -> None:
    fit = xr.Dataset({"low": DATA, "high": DATA + 5}).modelfit(Polynomial1D(1), "t")
    np.testing.assert_allclose(
        fit.modelfit.p_value("c1", data="high"), [stats.linregress(T, y).pvalue for y in Y], rtol=1e-8
    )
    with pytest.raises(ValueError, match="Say which is meant"):
        fit.modelfit.p_value("c1")


def test_wrong_questions() -> None:
    fit = DATA.modelfit(Linear1D(), "t")
    with pytest.raises(ValueError, match=r"p_value got 'slop'.*Did you mean 'slope'\?"):
        fit.modelfit.p_value("slop")
    with pytest.raises(ValueError, match="null is nan; a finite number is needed"):
        fit.modelfit.p_value("slope", null=np.nan)
    with pytest.raises(RecordError, match="no variable 'dof'"):
        fit.drop_vars("dof").modelfit.p_value("slope")


def test_a_parameter_with_the_prefix_of_its_fit() -> None:
    line = xr.DataArray([1.0, 1.4, 2.1, 2.4, 3.2], dims="t")
    fit = xr.Dataset({"a": line, "b": line**2}).modelfit(Linear1D(), dim="t")
    for data in "ab":
        xr.testing.assert_identical(fit.modelfit.p_value(f"{data}_slope"), fit.modelfit.p_value("slope", data=data))
        xr.testing.assert_identical(
            fit.modelfit.significant(f"{data}_slope"), fit.modelfit.significant("slope", data=data)
        )
    with pytest.raises(ValueError, match="Say which is meant"):
        fit.modelfit.p_value("slope")
    with pytest.raises(TypeError, match=r"derived\(name=function\)"):
        fit.modelfit.derived({"twice": lambda slope: 2 * slope}, data="a")
