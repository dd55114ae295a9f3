"""What is found out of a model once is not asked again, and never told of another one.

A fit's answer may not depend on what was fitted before. Everything that may change between two calls is changed here;
expected are the true parameters of data without noise.
"""

import gc
import weakref

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Parameter, custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Chebyshev1D, Const1D, Gaussian1D, Linear1D

from xr_modelfit import BatchLSQFitter, FitStatus, fit
from xr_modelfit.analysis import traits
from xr_modelfit.analysis.memo import IdentityKey
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.models.problem import Problem

X = np.linspace(-5, 5, 60)
LINE = 2.0 * np.exp(-0.5 * ((X - 0.4) / 1.2) ** 2)


def spectrum(y: np.ndarray = LINE) -> xr.DataArray:
    return xr.DataArray(y, dims="x", coords={"x": X})


def problem_of(model: Fittable1DModel) -> Problem:
    K = len(model.param_names)
    fixed = np.array([bool(model.fixed[n]) for n in model.param_names])
    ties = tuple(model.tied[n] or None for n in model.param_names)
    infinite = np.full(K, np.inf)
    return Problem(model, tuple(model.param_names), model.parameters.copy(), -infinite, infinite, fixed, ties)


def n_asked(monkeypatch: pytest.MonkeyPatch, *calls: Problem) -> int:
    """How often a model is looked at for some calls of `find_traits`."""
    asked = []
    ours = traits._traits
    with monkeypatch.context() as patch:
        patch.setattr(traits, "_traits", lambda *about: asked.append(about) or ours(*about))
        for one in calls:
            find_traits(one, [X], X.size)
    return len(asked)


def test_the_same_question_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (problem_of(Gaussian1D(1.25, 0.1, 1.0) + Const1D(0.3)) for _ in range(2))
    assert n_asked(monkeypatch, first, second, first) == 1
    a, b = (find_traits(one, [X], X.size).traits for one in (first, second))
    assert a is b
    assert a.traced is not None


@pytest.mark.parametrize(
    "other",
    [
        Gaussian1D(1.5, 0.1, 1.0),
        Gaussian1D(1.25, 0.1, 1.0, fixed={"mean": True}),
        Gaussian1D(1.25, 0.1, 1.0, tied={"mean": lambda m: 0.1 * m.stddev}),
        Gaussian1D(1.25, 0.1, 1.0) + Const1D(0.0),
        Gaussian1D(1.25, 0.1, 1.0, name="own"),
    ],
    ids=["start", "fixed", "tied", "sum", "name"],
)
def test_another_question_is_not_the_same(other: Fittable1DModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for a name, which changes no number."""
    first = problem_of(Gaussian1D(1.25, 0.1, 1.0))
    find_traits(first, [X], X.size)
    assert n_asked(monkeypatch, problem_of(other)) == (other.name is None)


def test_other_coordinates_or_more_samples_are_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    first = problem_of(Gaussian1D(1.3, 0.1, 1.0))
    assert n_asked(monkeypatch, first, first) == 1
    asked = traits._cached_traits.cache_info().misses
    find_traits(first, [X + 1], X.size)
    find_traits(first, [X], 10 * X.size)
    assert traits._cached_traits.cache_info().misses == asked + 2


def test_a_domain_is_part_of_the_question() -> None:
    """It is no parameter; `Chebyshev1D` puts its coordinates into it."""
    for domain in [(-5, 5), (-10, 10)]:
        truth = Chebyshev1D(2, c0=1.0, c1=2.0, c2=-0.5, domain=domain)
        result = fit(spectrum(truth(X)), Chebyshev1D(2, domain=domain), "x")
        np.testing.assert_allclose([result[c] for c in truth.param_names], truth.parameters, rtol=1e-12)


@pytest.mark.parametrize("fitter", [None, BatchLSQFitter(engine="numba"), TRFLSQFitter()], ids=["auto", "numba", "TRF"])
def test_code_that_is_replaced_is_looked_at_anew(fitter: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, and derivatives that are wrong from now on."""
    if getattr(fitter, "engine", "") == "numba":
        pytest.importorskip("numba", reason="the compiled engine")

    class Bell(Fittable1DModel):
        height = Parameter(default=1.5)
        place = Parameter(default=0.0)
        width = Parameter(default=1.0)

        @staticmethod
        def evaluate(x, height, place, width):
            return height * np.exp(-0.5 * ((x - place) / width) ** 2)

        @staticmethod
        def fit_deriv(x, height, place, width):
            return Gaussian1D.fit_deriv(x, height, place, width)

    def found() -> list[float]:
        result = fit(spectrum(), Bell(), "x", fitter=fitter)
        assert result["fit_status"] == FitStatus.CONVERGED
        return [float(result[name]) for name in Bell.param_names]

    np.testing.assert_allclose(found(), [2, 0.4, 1.2], rtol=1e-6)
    monkeypatch.setattr(Bell, "fit_deriv", staticmethod(lambda x, *p: [x**0, -x, x**2]))
    np.testing.assert_allclose(found(), [2, 0.4, 1.2], rtol=1e-6)
    wide = staticmethod(lambda x, height, place, width: height * np.exp(-(((x - place) / width) ** 2)))
    monkeypatch.setattr(Bell, "evaluate", wide)
    np.testing.assert_allclose(found(), [2, 0.4, 1.2 * np.sqrt(2)], rtol=1e-6)


def test_what_a_function_reads_from_outside_may_change() -> None:
    """A number in its module, and one that its tie reads."""
    outside = {"power": 2.0, "ratio": 2.0}

    def bell(x, height=1.5, width=1.0, level=0.1):
        return height * np.exp(-0.5 * np.abs(x / width) ** outside["power"]) + level

    model = custom_model(bell)(tied={"level": lambda m: m.height / outside["ratio"]})
    for power, ratio in [(2.0, 2.0), (3.0, 2.0), (3.0, 4.0), (2.0, 2.0)]:
        outside.update(power=power, ratio=ratio)
        data = spectrum(2.0 * np.exp(-0.5 * np.abs(X / 1.2) ** power) + 2.0 / ratio)
        result = fit(data, model, "x")
        np.testing.assert_allclose([result["height"], result["width"], result["level"]], [2, 1.2, 2 / ratio], rtol=1e-6)


@pytest.mark.parametrize("fitter", [BatchLSQFitter(engine="numpy"), TRFLSQFitter()], ids=["batch", "TRF"])
def test_what_is_not_seen_of_a_function_may_change(fitter: object) -> None:
    """It does on arrays what it does not write down, and what that is changes: linear first, and then no more."""
    outside = {"power": 1.0}

    def slope(x, a=1.5):
        return (a ** outside["power"] if isinstance(x, np.ndarray) else a) * x

    for power in (1.0, 2.0, 1.0):
        outside["power"] = power
        result = fit(spectrum(2.0**power * X), custom_model(slope)(), "x", fitter=fitter)
        np.testing.assert_allclose(result["a"], 2.0, rtol=1e-6)
    model = custom_model(slope)()
    for power in (1.0, 2.0, 1.0):  # the same class
        outside["power"] = power
        result = fit(spectrum(2.0**power * X), model, "x", fitter=fitter)
        np.testing.assert_allclose(result["a"], 2.0, rtol=1e-6)


def test_an_instance_may_have_code_of_its_own() -> None:
    results = []
    for factor in (1.0, 2.0):
        model = Linear1D(1.0, 0.0)
        model.evaluate = lambda x, slope, intercept, factor=factor: factor * slope * x + intercept
        results.append(find_traits(problem_of(model), [X], X.size).traits)
    assert results[0] is not results[1]
    assert results[0].traced != results[1].traced


def test_what_is_kept_cannot_be_spoilt() -> None:
    """Other calls get it too."""
    found = find_traits(problem_of(Gaussian1D(1.25, 0.1, 1.0)), [X]).traits
    assert found.tie_matrix is not None
    with pytest.raises(ValueError, match="read-only"):
        found.tie_matrix[0, 0] = 3.0


def test_it_is_not_kept_for_ever() -> None:
    for start in np.linspace(1, 2, 200):
        find_traits(problem_of(Gaussian1D(start, 0.1, 1.0)), [X])
    assert traits._cached_traits.cache_info().currsize <= traits.CACHE_SIZE


def test_nothing_of_the_user_is_kept_alive() -> None:
    """A function and a tie may hold much."""

    class Large:
        factor = 0.5

    def model_with(large: Large) -> Fittable1DModel:
        def bell(x, height=1.5, width=1.0, level=0.1):
            return height * np.exp(-0.5 * (x / width) ** 2) + large.factor * level

        return custom_model(bell)(tied={"level": lambda m: m.height * large.factor})

    large = Large()
    held, model = weakref.ref(large), model_with(large)
    for _ in range(2):
        fit(spectrum(), model, "x", errors="ignore")
    del large, model
    gc.collect()
    assert held() is None


def test_an_object_that_is_gone_is_not_another_at_its_place() -> None:
    one = IdentityKey(lambda: 1)
    assert one != IdentityKey(lambda: 2)
    assert IdentityKey(None) == IdentityKey(None)
