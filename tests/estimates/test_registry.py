"""Estimators that users register: used first, for exactly their model, and never the end of a fit."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import doctest
from collections.abc import Iterator

import numpy as np
import pytest
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D, Gaussian1D

from support.estimate_cases import Fits, estimated, noisy, problem_of
from xr_modelfit import register_estimator
from xr_modelfit.estimates import registry
from xr_modelfit.estimates.estimate import estimator_for
from xr_modelfit.models.function_models import as_model

T = np.linspace(0.1, 20.0, 80)


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


def shape(t, height=1.0, peak=5.0):
    return height * t / peak * np.exp(1 - t / peak)


pulse = custom_model(shape)


def pulses(b: int = 20) -> Fits:
    rng = np.random.default_rng(1)
    truth = np.column_stack([np.full(b, 9.0), rng.uniform(2, 10, b)])
    y = noisy(rng, pulse(), [T], truth, 0.1)
    y[3, :5] = np.nan
    return Fits(pulse(), [T], y, truth)


def top(data: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    return {"peak": np.broadcast_to(t, data.shape)[np.arange(len(data)), np.nanargmax(data, axis=1)]}


def test_the_registered_function_is_used_and_the_rest_is_solved_for() -> None:
    seen = []

    @register_estimator(pulse)
    def start(data, t):
        seen.append((data.shape, t.shape, int(np.isnan(data).sum())))
        return top(data, t)

    fits = pulses()
    found = estimated(fits)
    assert sum(s[2] for s in seen) >= 5
    assert all(s[0][1] == s[1][1] == 80 for s in seen)
    whole = np.isfinite(fits.y).all(axis=1)
    np.testing.assert_array_equal(found.parameters[whole, 1], top(fits.y[whole], T[None])["peak"])
    np.testing.assert_allclose(found.parameters[:, 0], 9, rtol=0.1)
    assert estimator_for(problem_of(fits.model, [T])).name == "start"


def test_a_plain_function_is_as_good_as_a_class() -> None:
    register_estimator(shape, lambda data, t: {"peak": 3.0})
    fits = pulses()
    model = as_model(shape)
    assert np.all(estimated(Fits(model, [T], fits.y, fits.truth)).parameters[:, 1] == 3.0)


def test_other_models_know_nothing_of_it() -> None:
    register_estimator(Gaussian1D, lambda data, x: {"mean": -1.0})
    y = np.ones((3, 80)) + 9 * np.exp(-0.5 * (T - 7) ** 2)
    alone = estimated(Fits(Gaussian1D(1, 5, 1), [T], y, np.zeros((3, 3)))).parameters
    in_sum = estimated(Fits(Gaussian1D(1, 5, 1) + Const1D(0), [T], y, np.zeros((3, 4)))).parameters
    assert np.all(alone[:, 1] == -1)
    np.testing.assert_allclose(in_sum[:, 1], 7, atol=0.5)


def test_bounds_and_fixed_parameters_are_obeyed() -> None:
    register_estimator(pulse, lambda data, t: {"peak": 8.0, "height": 5.0})
    fits = pulses()
    inf = np.inf
    found = estimated(fits, bounds=(np.array([[-inf, 1.0]]), np.array([[inf, 4.0]]))).parameters
    assert np.all(found == [5.0, 4.0])
    fixed = Fits(pulse(1, 6, fixed={"peak": True}), [T], fits.y, fits.truth)
    assert np.all(estimated(fixed).parameters == [5.0, 6.0])


def test_nan_for_some_fits_leaves_them_their_start() -> None:
    register_estimator(pulse, lambda data, t: {"peak": np.where(np.arange(len(data)) % 2, np.nan, 5.0)})
    fits = pulses()
    fits = Fits(fits.model, fits.inputs, np.nan_to_num(fits.y), fits.truth)
    found = estimated(fits)
    np.testing.assert_array_equal(found.failed, np.arange(20) % 2 == 1)
    assert np.all(found.parameters[found.failed] == [1.0, 5.0])
    assert np.all(found.parameters[~found.failed, 0] > 2)


@pytest.mark.parametrize(
    "bad", [lambda d, t: {}["no"], lambda d, t: 7, lambda d, t: {"width": 1.0}, lambda d, t: {"peak": np.ones(3)}]
)
def test_an_estimator_that_fails_leaves_all_their_start(bad) -> None:  # type: ignore[no-untyped-def]
    register_estimator(pulse, bad)
    found = estimated(pulses())
    assert found.failed.all()
    assert np.all(found.parameters == [1.0, 5.0])


def test_one_fit_that_raises_does_not_take_the_others_along() -> None:
    @register_estimator(pulse)
    def start(data, t):
        if np.nanmax(data) > 50:
            raise ValueError("too bright")
        return top(data, t)

    fits = pulses()
    fits.y[5] *= 100
    found = estimated(fits)
    np.testing.assert_array_equal(np.flatnonzero(found.failed), [5])


@pytest.mark.parametrize(
    ("model", "function", "message"),
    [
        (Gaussian1D(), top, "instance of Gaussian1D"),
        ("gauss", top, "pass a class"),
        (int, top, "pass a class"),
        (type(Gaussian1D() + Const1D()), top, "CompoundModel"),
        (Gaussian1D, 3, "function is 3"),
    ],
)
def test_wrong_calls(model, function, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=message):
        register_estimator(model, function)


def test_the_example_runs() -> None:
    assert doctest.run_docstring_examples(register_estimator, {}, name="register_estimator") is None
    assert doctest.testmod(registry).failed == 0
