"""Plain functions and the habits of `scipy.optimize.curve_fit`: what is written, and the words of the answer.

The functions have no defaults, as those that curve_fit takes: the call tells which of their arguments are parameters.
"""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D

import xr_modelfit  # noqa: F401

ECHOES = np.linspace(5.0, 120.0, 12)
START = {"a": 800, "tau": 40, "c": 10}


def decay(t: Any, a: Any, tau: Any, c: Any) -> Any:
    return a * np.exp(-t / tau) + c


IMAGES = xr.DataArray(
    decay(ECHOES, 800, 40, 10)[:, None, None] + np.random.default_rng(1).normal(0, 5, (12, 2, 3)),
    dims=("te", "y", "x"),
    coords={"te": ECHOES, "y": [0.0, 1.0], "x": [0.0, 1.0, 2.0]},
)


# --- functions that return no numbers


def without_return(t: Any, a: Any, tau: Any, c: Any) -> Any:
    a * np.exp(-t / tau) + c


def text(t: Any, a: Any, tau: Any, c: Any) -> Any:
    return "a * exp(-t / tau) + c"


def a_dict(t: Any, a: Any, tau: Any, c: Any) -> Any:
    return {"signal": a * np.exp(-t / tau) + c}


def a_pair(t: Any, a: Any, tau: Any, c: Any) -> Any:
    return a * np.exp(-t / tau), c


def a_generator(t: Any, a: Any, tau: Any, c: Any) -> Any:
    yield a * np.exp(-t / tau) + c


def of_nothing(t: Any, a: Any, tau: Any, c: Any) -> Any:
    return np.full(np.shape(t), None)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (without_return, "it returns None (is its return missing?)"),
        (of_nothing, "it returns None (is its return missing?)"),
        (text, "it returns values of dtype <U"),
        (a_dict, "it returns a dict"),
        (a_pair, "it returns a tuple of several sizes"),
        (a_generator, "it returns a generator"),
    ],
)
def test_functions_that_return_no_numbers(function: Any, words: str, lazy: bool) -> None:
    data = IMAGES.chunk(y=1) if lazy else IMAGES
    with pytest.raises(ValueError, match="an array of numbers is needed, one for each coordinate") as caught:
        data.modelfit(function, "te", p0=START)
    assert words in str(caught.value)
    assert f"model {function.__name__} " in str(caught.value)


def test_a_return_that_is_missing_in_a_part_of_a_sum() -> None:
    part = custom_model(lambda t, a=800.0, tau=40.0: None)()
    with pytest.raises(ValueError, match="is a return missing"):
        IMAGES.modelfit(part + Const1D(10), "te")


def test_lists_and_objects_that_are_numbers_are_fitted() -> None:
    expected = IMAGES.modelfit(decay, "te", p0=START)

    def a_list(t: Any, a: Any, tau: Any, c: Any) -> Any:
        return [float(v) for v in decay(t, a, tau, c)]

    def objects(t: Any, a: Any, tau: Any, c: Any) -> Any:
        return np.asarray(decay(t, a, tau, c)).astype(object)

    for function in (a_list, objects):
        found = IMAGES.modelfit(function, "te", p0=START, pointwise=True)
        np.testing.assert_allclose(found["tau"], expected["tau"], rtol=1e-6)
