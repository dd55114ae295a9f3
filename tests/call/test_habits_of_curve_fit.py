"""Plain functions and the habits of `scipy.optimize.curve_fit`: what is written, and the words of the answer.

The functions have no defaults, as those that curve_fit takes: the call tells which of their arguments are parameters.
"""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import custom_model
from astropy.modeling.models import Const1D
from scipy.optimize import curve_fit

import xr_modelfit

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


# --- arguments that the call names as parameters


def spot(x: Any, y: Any, A: Any, x0: Any, y0: Any, s: Any) -> Any:
    return A * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / s**2)


PLACES = np.linspace(-3.0, 3.0, 14)
STARS = xr.DataArray(
    spot(PLACES, PLACES[:, None], 5, 0.2, 0.3, 1.0)[None] * np.array([1.0, 2.0])[:, None, None],
    dims=("n", "y", "x"),
    coords={"y": PLACES, "x": PLACES},
)
WORDS = dict.fromkeys(START, "estimate")


@pytest.mark.parametrize(
    "asked",
    [
        {"p0": WORDS},
        {"p0": {"a": 700, "tau": "estimate", "c": "estimate"}},
        {"p0": [START, WORDS]},
        {"p0": {"a": "estimate"}, "bounds": {"tau": (1, 400), "c": (None, None)}},
    ],
)
def test_a_word_as_start_names_a_parameter(asked: dict[str, Any]) -> None:
    found = IMAGES.modelfit(decay, "te", **asked)
    assert found.modelfit.params == ("a", "tau", "c")
    for y, x in np.ndindex(2, 3):
        expected, _ = curve_fit(decay, ECHOES, IMAGES.values[:, y, x], p0=(800, 40, 10))
        np.testing.assert_allclose([found[n].values[y, x] for n in START], expected, rtol=1e-4)


def test_a_word_as_start_leaves_names_of_dims_to_the_inputs() -> None:
    found = STARS.modelfit(spot, ("y", "x"), p0=dict.fromkeys(("A", "x0", "y0", "s"), "estimate"))
    np.testing.assert_allclose(found["A"], [5.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(found["y0"], 0.3, rtol=1e-6)


@pytest.mark.parametrize("p0", [None, "estimate", "mean", lambda data, t: {"a": data[:, 0]}])
def test_a_call_that_names_no_parameter(p0: Any) -> None:
    with pytest.raises(ValueError, match="model decay has no parameters") as caught:
        IMAGES.modelfit(decay, "te", p0=p0)
    for words in (
        "p0={'a': ..., 'tau': ..., 'c': ...} with numbers or 'estimate'",
        "bounds={'a': (low, high)}",
        "def decay(t, a=1.0, tau=1.0, c=1.0)",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "dim", "coords"),
    [
        (STARS, ("y", "x"), None),
        (STARS, ("x", "y"), None),
        (STARS.isel(n=0), ..., None),
        (STARS.rename(x="u", y="v"), ("u", "v"), {"x": "u", "y": "v"}),
        (STARS.rename(x="u", y="v").assign_coords(x=("u", PLACES), y=("v", PLACES)), ("u", "v"), None),
    ],
)
def test_what_inputs_can_read_is_proposed_as_no_parameter(data: xr.DataArray, dim: Any, coords: Any) -> None:
    with pytest.raises(ValueError, match="model spot has no parameters") as caught:
        data.modelfit(spot, dim, p0="estimate", coords=coords)
    message = str(caught.value)
    assert "p0={'A': ..., 'x0': ..., 'y0': ..., 's': ...}" in message
    assert "def spot(x, y, A=1.0, x0=1.0, y0=1.0, s=1.0)" in message


def test_dims_that_are_kept_are_proposed_as_parameters() -> None:
    def plane(te: Any, y: Any, x: Any) -> Any:
        return y + x * te

    with pytest.raises(ValueError, match="no parameters") as caught:
        IMAGES.modelfit(plane, "te")
    assert "p0={'y': ..., 'x': ...}" in str(caught.value)


# --- values in order, and coordinates by position

IN_ORDER = "p0={'a': 800, 'tau': 40, 'c': 10}"


@pytest.mark.parametrize("p0", [[800, 40, 10], (800.0, 40, 10), np.array([800.0, 40.0, 10.0])])
def test_starts_in_order_are_shown_by_name(p0: Any) -> None:
    calls = [
        lambda: IMAGES.modelfit(decay, "te", p0=p0),
        lambda: IMAGES.modelfit.plan(decay, "te", p0=p0),
        lambda: IMAGES.modelfit(decay, "te", p0),
        lambda: xr_modelfit.fit(IMAGES, decay, "te", p0),
        lambda: IMAGES.modelfit(decay, "te", IMAGES, p0),
        lambda: IMAGES.modelfit(custom_model(lambda t, a=1.0, tau=2.0, c=3.0: decay(t, a, tau, c))(), "te", p0=p0),
    ]
    for call in calls:
        with pytest.raises(TypeError) as caught:
            call()
        assert IN_ORDER in str(caught.value)


def test_too_few_starts_in_order() -> None:
    with pytest.raises(TypeError, match=r"p0=\{'a': \.\.\., 'tau': \.\.\., 'c': \.\.\.\}"):
        IMAGES.modelfit(decay, "te", p0=(800, 40))


def test_starts_of_an_image_in_order() -> None:
    with pytest.raises(TypeError, match=r"p0=\{'A': 5, 'x0': 0, 'y0': 0, 's': 1\}"):
        STARS.modelfit(spot, ("y", "x"), p0=[5, 0, 0, 1])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (([0, 1, -np.inf], [900, np.inf, 50]), "bounds={'a': (0, 900), 'tau': (1, None), 'c': (None, 50)}"),
        ((0, np.inf), "bounds={'a': (0, None), 'tau': (0, None), 'c': (0, None)}"),
        ((0, [900, 400, 50]), "bounds={'a': (0, 900), 'tau': (0, 400), 'c': (0, 50)}"),
        ([(0, 900)] * 3, "bounds={'a': (low, high), 'tau': (low, high), 'c': (low, high)}"),
    ],
)
def test_bounds_in_order_are_shown_by_name(bounds: Any, words: str) -> None:
    for p0 in (None, START):
        with pytest.raises(TypeError, match="as scipy takes them") as caught:
            IMAGES.modelfit(decay, "te", p0=p0, bounds=bounds)
        assert words in str(caught.value)


@pytest.mark.parametrize("dim", [ECHOES, IMAGES["te"], IMAGES["te"].variable, ECHOES.tolist(), (ECHOES, "y")])
def test_values_of_the_coordinate_are_no_dim(dim: Any) -> None:
    for p0 in (None, START):
        with pytest.raises(TypeError, match=r"pass the name of a dim, one of \('te', 'y', 'x'\)"):
            IMAGES.modelfit(decay, dim, p0=p0)


# --- words with the names and values of the call


@pytest.mark.parametrize(
    ("word", "value", "words"),
    [
        ("fixed", {"c": True}, "bounds={'c': (10, 10)}"),
        ("fixed", {"c": 20}, "bounds={'c': (20, 20)}"),
        ("fixed", ["tau"], "bounds={'tau': (40, 40)}"),
        ("vary", {"tau": False}, "bounds={'tau': (40, 40)}"),
        ("hold", "c", "bounds={'c': (10, 10)}"),
        ("tied", {"c": lambda m: 0.1 * m.a}, "model.c.tied = lambda m: 2 * m.a"),
        ("expr", {"c": "0.1 * a"}, "compute 'c' from 'a' inside it"),
        ("guess", [800, 40, 10], "p0={'a': 2.0}"),
        ("lower", [0, 0, 0], "bounds={'a': (0, None)}"),
    ],
)
def test_words_for_parameters_are_answered_with_those_of_the_function(word: str, value: Any, words: str) -> None:
    for call in (
        lambda: IMAGES.modelfit(decay, "te", p0=START, **{word: value}),
        lambda: IMAGES.modelfit.plan(decay, "te", p0=START, **{word: value}),
        lambda: xr_modelfit.fit(IMAGES, model=decay, dim="te", p0=START, **{word: value}),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        message = str(caught.value)
        assert words in message
        assert "amplitude" not in message
        assert ".fixed" not in message
        assert "{" not in message.replace("={'", "")


def test_equal_bounds_hold_a_parameter_of_a_function() -> None:
    found = IMAGES.modelfit(decay, "te", p0=START, bounds={"c": (10, 10)})
    for y, x in np.ndindex(2, 3):
        popt, _ = curve_fit(lambda t, a, tau: decay(t, a, tau, 10), ECHOES, IMAGES.values[:, y, x], p0=(800, 40))
        np.testing.assert_allclose([found["a"].values[y, x], found["tau"].values[y, x]], popt, rtol=1e-5)


@pytest.mark.parametrize("word", ["loss", "stat", "statistic", "likelihood", "fitter", "noise", "sigma", "weights"])
@pytest.mark.parametrize("value", ["poisson", "cash", "Poisson"])
def test_the_statistic_of_counts_is_an_option_of_the_fitter(word: str, value: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"fitter=BatchLSQFitter\(loss='poisson'\)"):
        IMAGES.modelfit(decay, "te", p0=START, **{word: value})


@pytest.mark.parametrize("word", ["loss", "fitter", "noise"])
def test_a_robust_loss_is_an_option_of_the_fitter(word: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"fitter=BatchLSQFitter\(loss='soft_l1'\)"):
        IMAGES.modelfit(decay, "te", p0=START, **{word: "soft_l1"})


# --- two coordinates in one argument


def packed(xy: Any, A: Any, x0: Any, y0: Any, s: Any) -> Any:
    x, y = xy
    return spot(x, y, A, x0, y0, s).ravel()


@pytest.mark.parametrize("coords", [None, {"xy": ("y", "x")}, {"xy": ["y", "x"]}, ("y", "x")])
def test_two_coordinates_are_two_arguments(coords: Any) -> None:
    with pytest.raises(ValueError, match=r"needs an argument for each: def f\((x, y|y, x), \.\.\.\)"):
        STARS.modelfit(packed, ("y", "x"), p0={"A": 5, "x0": 0, "y0": 0, "s": 1}, coords=coords)


# --- names of the result, and labels in another order


def test_a_parameter_with_the_name_of_a_statistic() -> None:
    def f(t: Any, a: Any, chi2: Any) -> Any:
        return a * np.exp(-t / chi2)

    with pytest.raises(ValueError, match="Rename the parameter, for example chi2_0") as caught:
        IMAGES.modelfit(f, "te", p0={"a": 800, "chi2": 40})
    assert "fit_info" not in str(caught.value)


@pytest.mark.parametrize("name", ["sigma", "weights", "where"])
def test_labels_in_another_order(name: str) -> None:
    given = xr.DataArray(1 + np.arange(12.0), dims="te", coords={"te": ECHOES})
    given = given != 3 if name == "where" else given
    turned = given[::-1]
    with pytest.raises(ValueError, match=r"in another order.*\.reindex_like\(data\)"):
        IMAGES.modelfit(decay, "te", p0=START, **{name: turned})
    found = IMAGES.modelfit(decay, "te", p0=START, **{name: turned.reindex_like(IMAGES["te"])})
    xr.testing.assert_equal(found["tau"], IMAGES.modelfit(decay, "te", p0=START, **{name: given})["tau"])
