"""The covariance after the fit: against scipy's, and against that of fits which kept it, whatever they had."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Gaussian2D, Linear1D
from scipy.optimize import curve_fit

import xr_modelfit
from xr_modelfit import BatchLSQFitter, RecordError

pytestmark = pytest.mark.quick_share(3)

X = np.linspace(-10.0, 10.0, 81)
LINE = Gaussian1D(2.0, 0.5, 1.2)
RNG = np.random.default_rng(8)


def lines(noise: float = 0.1, model: Model = LINE) -> xr.DataArray:
    """Four fits, of which one has no data."""
    values = model(X) + noise * np.random.default_rng(0).normal(size=(2, 2, X.size))
    values[1, 1] = np.nan
    coords = {"x": ("x", X, {"units": "km/s"}), "b": [5, 7]}
    return xr.DataArray(values, dims=("a", "b", "x"), coords=coords, name="T", attrs={"units": "K"})


SIGMA = xr.DataArray(RNG.uniform(0.05, 0.2, (2, 2, X.size)), dims=("a", "b", "x"))
SEEN = xr.DataArray(RNG.uniform(size=(2, X.size)) > 0.1, dims=("b", "x"))
TIED = Gaussian1D(2.0, 0.5, 1.2, fixed={"mean": True}) + Gaussian1D(1.0, 4.0, 1.2)
TIED.stddev_1.tied = lambda m: m.stddev_0
HIGH = xr.DataArray([1.1, 9.0], dims="a")
CASES: dict[str, tuple[Model, dict[str, Any], tuple[str, ...]]] = {  # options, and those that must be given again
    "plain": (LINE, {}, ()),
    "one sigma": (LINE, {"sigma": 0.1}, ()),
    "a sigma in another unit": (LINE, {"sigma": 100 * u.mK}, ()),
    "one sigma, relative": (LINE, {"sigma": 0.3, "absolute_sigma": False}, ()),
    "one weight": (LINE, {"weights": 3.0}, ()),
    "sigma": (LINE, {"sigma": SIGMA}, ("sigma",)),
    "weights and a mask": (LINE, {"weights": 1 / SIGMA, "where": SEEN}, ("weights", "where")),
    "ties": (TIED, {"sigma": 0.1}, ()),
    "a bound": (LINE, {"bounds": {"stddev": (0.2, 1.0)}, "p0": {"stddev": 0.9}}, ()),
    "a map of bounds": (LINE, {"bounds": {"stddev": (0.2, HIGH)}, "p0": {"stddev": 0.9}}, ("bounds",)),
    "a linear model": (Linear1D(), {}, ()),
    "units on the model": (Gaussian1D(2 * u.K, 500 * u.m / u.s, 1200 * u.m / u.s), {"sigma": 0.1}, ()),
    "bins": (LINE, {"integrate": True}, ("integrate",)),
    "a fitter of astropy": (LINE, {"fitter": TRFLSQFitter()}, ()),
    "a robust loss": (LINE, {"fitter": BatchLSQFitter(loss="soft_l1", f_scale="mad")}, ()),
    "clipped": (LINE, {"fitter": BatchLSQFitter(clip=(3, 3))}, ()),
    "a prefix": (LINE, {"prefix": "co_"}, ()),
    "a prior": (LINE, {"sigma": 0.1, "priors": {"stddev": (1.1, 0.02)}}, ()),
    "a map of a prior": (LINE, {"sigma": 0.1, "priors": {"stddev": (HIGH, 0.1)}}, ("priors",)),
    "errors of two sides": (LINE, {"sigma": (SIGMA, 1.5 * SIGMA)}, ("sigma",)),
    "upper limits": (LINE, {"sigma": 0.1, "upper_limit": SEEN}, ("upper_limit",)),
    "errors of the coordinate": (LINE, {"sigma": 0.1, "coord_sigma": 0.1}, ("coord_sigma",)),
}


@pytest.mark.filterwarnings("ignore:The fit may be unsuccessful")
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_as_the_fit_would_have_kept_it(name: str, lazy: bool) -> None:
    model, options, again = CASES[name]
    data = lines(model=TIED) if model is TIED else lines()
    given = data.chunk(a=1) if lazy else data
    kept = data.modelfit(model, dim="x", errors="ignore", covariance=True, **options)
    fit = given.modelfit(model, dim="x", errors="ignore", **options)
    completed = fit.modelfit.with_covariance(given, **{key: options[key] for key in again})
    covariance = kept.modelfit.with_covariance(data)  # is there already
    assert covariance is kept
    name = f"{options.get('prefix', '')}covariance"
    assert (completed[name].chunks is not None) == lazy
    got = completed.compute()
    # Rounding, and what two ends of a fit differ by where it goes on from the first.
    scale = np.sqrt(np.einsum("...ii->...i", np.nan_to_num(kept[name].values)))
    outer = scale[..., :, None] * scale[..., None, :]
    np.testing.assert_allclose(got[name] / outer, kept[name] / outer, rtol=1e-3, atol=1e-5)
    assert got[name].dims == kept[name].dims
    assert got[name].attrs == kept[name].attrs
    assert list(got["cov_i"].values) == list(kept["cov_i"].values)
    xr.testing.assert_identical(got.drop_vars([name, "cov_i", "cov_j"]), fit.compute())
    if again:
        with pytest.raises(ValueError, match=f"Pass .*{again[0]}="):
            fit.modelfit.with_covariance(given)


def test_against_scipy() -> None:
    data = lines()
    C = data.modelfit(LINE, dim="x", errors="ignore").modelfit.with_covariance(data)["covariance"]
    for a, b in ((0, 0), (0, 1), (1, 0)):
        _, expected = curve_fit(LINE.evaluate, X, data.values[a, b], LINE.parameters, ftol=1e-14, xtol=1e-14)
        size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        np.testing.assert_allclose(C.values[a, b] / size, expected / size, atol=1e-5)  # its Jacobian is by differences
    assert C.isel(a=1, b=1).isnull().all()


def test_derived_and_predict_take_the_data() -> None:
    data = lines()
    fit = data.modelfit(LINE, dim="x", sigma=0.1)
    kept = data.modelfit(LINE, dim="x", sigma=0.1, covariance=True)
    expected, band = kept.modelfit.derived(), kept.modelfit.predict(data)
    xr.testing.assert_allclose(fit.modelfit.derived(data=data), expected, rtol=1e-6)
    xr.testing.assert_allclose(fit.modelfit.predict(data), band, rtol=1e-6)
    at = kept.modelfit.predict(x=[1.0])
    xr.testing.assert_allclose(fit.modelfit.predict(x=[1.0], data=data), at, rtol=1e-6)
    lazy = data.chunk(a=1).modelfit(LINE, dim="x", sigma=0.1).modelfit.derived("flux", data=data.chunk(a=1))
    assert lazy["flux_stderr"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), expected[["flux", "flux_stderr"]], rtol=1e-6)
    xr.testing.assert_identical(fit.modelfit.derived("fwhm"), fit.modelfit.derived("fwhm", data=data))


def test_without_data_the_way_out_is_told() -> None:
    fit = lines().modelfit(LINE, dim="x", sigma=SIGMA)
    for call in (lambda: fit.modelfit.derived(), lambda: fit.modelfit.predict(x=[1.0])):
        with pytest.raises(RecordError, match=r"data=.*with_covariance\(data, sigma=.*covariance=True"):
            call()
    for call in (lambda: fit.modelfit.derived(data=lines()), lambda: fit.modelfit.predict(lines())):
        with pytest.raises(RecordError, match=r"was weighted by sigma.*with_covariance"):
            call()


def test_other_data_is_noticed() -> None:
    data = lines()
    fit = data.modelfit(LINE, dim="x", sigma=SIGMA)
    other = data.copy(data=np.roll(data.values, 7, axis=-1))
    for wrong, options in (
        (other, {"sigma": SIGMA}),
        (data, {"sigma": 2 * SIGMA}),
        (data, {"sigma": SIGMA, "absolute_sigma": False}),
    ):
        with pytest.raises(ValueError, match=r"are not those of the result[.] Pass the data"):
            fit.modelfit.with_covariance(wrong, **options)
    partly = data.copy()
    partly[0, 0] = other[0, 0]
    with pytest.warns(UserWarning, match="at 1 of 3 positions"):
        C = fit.modelfit.with_covariance(partly, sigma=SIGMA)["covariance"]
    assert C[0, 0].isnull().all()
    assert C[0, 1].notnull().all()
    lazy = fit.chunk().modelfit.with_covariance(other, sigma=SIGMA)["covariance"]
    assert lazy.isnull().all().compute()
    with pytest.raises(ValueError, match="positions of the result"):
        fit.modelfit.with_covariance(data.isel(a=0), sigma=SIGMA)


def test_several_variables() -> None:
    ds = xr.Dataset({"one": lines(), "two": 3 * lines(0.2)})
    fit = ds.modelfit(LINE, dim="x")
    kept = ds.modelfit(LINE, dim="x", covariance=True)
    both = fit.modelfit.with_covariance(ds)
    for name in ("one", "two"):
        xr.testing.assert_allclose(both[f"{name}_covariance"], kept[f"{name}_covariance"], rtol=1e-6)
        flux = fit.modelfit.derived("flux", data=ds[name])
        xr.testing.assert_allclose(flux, kept.modelfit.derived("flux", data=name), rtol=1e-6)
    assert "one_covariance" not in fit.modelfit.with_covariance(ds, data="two")
    with pytest.raises(ValueError, match=r"data=dataset\['one'\]"):
        fit.modelfit.derived(data=ds)


def test_from_a_file_and_after_a_change_of_units(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    data = lines()
    fit = data.modelfit(LINE, dim="x", sigma=0.1)
    fit.to_netcdf(tmp_path / "fit.nc")
    expected = data.modelfit(LINE, dim="x", sigma=0.1, covariance=True).modelfit.derived("flux")
    with xr.open_dataset(tmp_path / "fit.nc") as again:
        xr.testing.assert_allclose(again.modelfit.derived("flux", data=data).compute(), expected, rtol=1e-6)
    changed = fit.assign(stddev=(1000 * fit["stddev"]).assign_attrs(units="m/s"))
    xr.testing.assert_allclose(changed.modelfit.derived("flux", data=data), expected, rtol=1e-6)


def test_images_and_one_fit() -> None:
    y, x = np.mgrid[-6.0:6.0, -6.0:6.0]
    star = Gaussian2D(5.0, 0.3, -0.2, 1.5, 2.0)
    image = xr.DataArray(star(x, y) + RNG.normal(0, 0.1, x.shape), dims=("y", "x"), coords={"x": x[0], "y": y[:, 0]})
    fit = image.modelfit(star, dim=("y", "x"))
    kept = image.modelfit(star, dim=("y", "x"), covariance=True)
    xr.testing.assert_allclose(fit.modelfit.with_covariance(image), kept, rtol=1e-6)


def test_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines()
    fit = data.modelfit(LINE + Const1D(), dim="x")

    def fitted(*_: Any, **__: Any) -> None:
        raise AssertionError("a fit was done")

    monkeypatch.setattr(xr_modelfit.BatchLSQFitter, "_solved", fitted)
    assert fit.modelfit.with_covariance(data)["covariance"].isel(a=0).notnull().all()


def test_the_record_knows_one_sigma() -> None:
    """So that it need not be given again, here and in a refit; in the unit of the data."""
    data = lines()
    fit = data.modelfit(LINE, dim="x", sigma=100 * u.mK, p0={"mean": 9.0}, errors="ignore")
    again = fit.modelfit.refit(data, xr.ones_like(fit["mean"], dtype=bool).drop_attrs(), p0={"mean": 0.5})
    direct = data.modelfit(LINE, dim="x", sigma=0.1)
    xr.testing.assert_allclose(again["mean_stderr"].isel(a=0), direct["mean_stderr"].isel(a=0), rtol=1e-5)
