"""A model that a call gives, and that has the parameters of the fit, but is another one."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D, Gaussian1D, Lorentz1D, PowerLaw1D

import xr_modelfit  # noqa: F401 - registers the accessor

T = np.linspace(0.0, 9.0, 10)


def decay(t: Any, a: Any = 2.0, tau: Any = 3.0) -> Any:
    return a * np.exp(-t / tau)


def other_decay(t: Any, a: Any = 2.0, tau: Any = 3.0) -> Any:
    return a / (1.0 + t / tau)


def same_decay(t: Any, a: Any = 2.0, tau: Any = 3.0) -> Any:
    """The same code under another name."""
    return a * np.exp(-t / tau)


def scaled(t: Any, a: Any = 2.0, tau: Any = 3.0, *, times: float) -> Any:
    return times * a * np.exp(-t / tau)


def data() -> xr.DataArray:
    noise = np.random.default_rng(5).normal(0.0, 0.02, (2, T.size))
    return xr.DataArray(decay(T, 3.0, 4.0) + noise, dims=("star", "t"), coords={"t": T}, name="flux")


Call = Callable[[xr.Dataset, xr.DataArray, Any], Any]
CALLS: dict[str, Call] = {
    "evaluate": lambda fit, array, model: fit.modelfit.evaluate(array, model=model),
    "residuals": lambda fit, array, model: fit.modelfit.residuals(array, model=model),
    "components": lambda fit, array, model: fit.modelfit.components(array, model=model),
    "predict": lambda fit, array, model: fit.modelfit.predict(array, model=model),
    "derived": lambda fit, array, model: fit.modelfit.derived(twice=lambda a: 2 * a, model=model),
    "to_model": lambda fit, array, model: fit.modelfit.to_model(model=model),
    "refit": lambda fit, array, model: fit.modelfit.refit(array, where=fit["a"] > 0, p0="estimate", model=model),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_code_is_told_once(name: str) -> None:
    fit = data().modelfit(decay, "t", covariance=True)
    with pytest.warns(UserWarning, match=r"code of 'other_decay', .* is not that of 'decay' in the fit") as told:
        CALLS[name](fit, data(), other_decay)
    assert len(told) == 1
    assert told[0].filename == __file__


@pytest.mark.parametrize("model", [decay, same_decay], ids=["the same", "the same code"])
@pytest.mark.parametrize("name", CALLS)
def test_the_code_of_the_fit_is_not_told(name: str, model: Any) -> None:
    fit = data().modelfit(decay, "t", covariance=True)
    CALLS[name](fit, data(), model)  # warnings are errors


def test_a_picture_tells_once() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    fit = data().modelfit(decay, "t")
    with pytest.warns(UserWarning, match="not what was fitted") as told:
        data().modelfit.plot_fit(fit, star=0, model=other_decay)
    assert len(told) == 1


def test_an_error_of_the_covariance_comes_after_the_warning() -> None:
    """The covariance cannot follow from another function; it says so, as it did."""
    fit = data().modelfit(decay, "t")
    with pytest.warns(UserWarning, match="not what was fitted"), pytest.raises(ValueError, match="standard errors"):
        fit.modelfit.with_covariance(data(), model=other_decay)


def test_a_model_of_other_parameters_is_refused_without_a_warning() -> None:
    fit = data().modelfit(decay, "t")
    with pytest.raises(ValueError, match="the fit had 'a', 'tau'"):  # warnings are errors
        fit.modelfit.evaluate(data(), model=lambda t, a=1.0: a * t)


def test_bound_values_belong_to_the_function() -> None:
    fit = data().modelfit(functools.partial(scaled, times=1.0), "t")
    fit.modelfit.evaluate(data(), model=functools.partial(scaled, times=1.0))
    with pytest.warns(UserWarning, match="not what was fitted"):
        fit.modelfit.evaluate(data(), model=functools.partial(scaled, times=2.0))


def test_a_custom_class_is_compared_with_its_code() -> None:
    fit = data().modelfit(custom_model(decay)(), "t")
    fit.modelfit.evaluate(data(), model=custom_model(same_decay)())
    with pytest.warns(UserWarning, match="not what was fitted"):
        fit.modelfit.evaluate(data(), model=custom_model(other_decay)())


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        (PowerLaw1D(1, 2, 1), PowerLaw1D(), None),
        (Gaussian1D() + Const1D(), Gaussian1D(3, 4, 5) + Const1D(), None),
        (Gaussian1D() + Const1D(), Gaussian1D() * Const1D(), r"operator '\*' where the fit had '\+'"),
        (Lorentz1D() + Const1D(), Const1D() + Lorentz1D(), "refused"),
        (Gaussian1D() + Gaussian1D(), Gaussian1D() - Gaussian1D(), "operator '-'"),
    ],
)
def test_expressions_are_compared(fitted: Any, given: Any, words: str | None) -> None:
    fit = data().modelfit(fitted, "t", errors="ignore")
    if words == "refused":
        with pytest.raises(ValueError, match="the fit had"):
            fit.modelfit.evaluate(data(), model=given)
    elif words is None:
        fit.modelfit.evaluate(data(), model=given)
    else:
        with pytest.warns(UserWarning, match=words):
            fit.modelfit.evaluate(data(), model=given)


def test_another_class_of_the_same_parameters() -> None:
    """A function with the names of an astropy model, which has another shape."""

    def lorentz(t: Any, amplitude: Any = 1.0, mean: Any = 3.0, stddev: Any = 1.0) -> Any:
        return amplitude / (1 + ((t - mean) / stddev) ** 2)

    fit = data().modelfit(Gaussian1D(1, 3, 2), "t", errors="ignore")
    with pytest.warns(UserWarning, match="the fit had Gaussian1D, and this is lorentz"):
        fit.modelfit.evaluate(data(), model=lorentz)


def test_what_was_fitted_is_read_from_a_file(tmp_path: Any) -> None:
    """As in a new session: the function is passed, since the record holds no code."""
    path = tmp_path / "fit.nc"
    data().modelfit(decay, "t").to_netcdf(path)
    fit = xr.load_dataset(path)
    fit.modelfit.evaluate(data(), model=decay)
    with pytest.warns(UserWarning, match="not what was fitted"):
        fit.modelfit.evaluate(data(), model=other_decay)
