"""Derivatives of models, ties included, against closed forms and against differences of high order."""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Model, Parameter, custom_model, fix_inputs, models
from astropy.modeling.fitting import DogBoxLSQFitter, TRFLSQFitter

import xr_modelfit
from support.problems import choose, derivatives, jacobian_of_one, problem_of
from xr_modelfit.analysis.derivatives import jacobian, tie_derivatives, values
from xr_modelfit.analysis.differences import derivative
from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.models.problem import Problem, Traits

Function = Callable[..., np.ndarray]

# Where the model is as smooth as its rounding allows: analytic and complex derivatives lose a few bits.
EXACT = 1e-11
# A difference of second order on doubles: (2e-16) ** (2 / 3) = 4e-11 at best, with room for bad steps.
DIFFERENCE = 1e-6


def way_of(problem: Problem) -> str:
    """The worst way among the atoms."""
    return max(problem.traits.atoms, key=["linear", "analytic", "complex", "difference"].index)


def complex_step(function: Function, parameters: Any, *inputs: np.ndarray) -> np.ndarray:
    """Exact derivatives of a plain function of complex numbers, shape (n, k)."""
    columns = []
    for j in range(len(parameters)):
        p = np.array(parameters, dtype=complex)
        p[j] += 1e-200j
        columns.append(np.imag(function(*inputs, *p)) / 1e-200 * np.ones(inputs[0].shape))
    return np.stack(columns, axis=1)


def extrapolated(function: Function, parameters: np.ndarray, j: int) -> tuple[np.ndarray, float]:
    """Column ``j`` by Richardson's extrapolation of central differences to tenth order, and its error."""
    best, error = np.zeros(0), np.inf
    for exponent in np.arange(1.0, 4.0, 0.5):
        step = 10**-exponent * max(abs(parameters[j]), 0.1)
        rows = []
        for halving in range(5):
            a, b = parameters.copy(), parameters.copy()
            a[j] -= step / 2**halving
            b[j] += step / 2**halving
            rows.append((function(b) - function(a)) / (b[j] - a[j]))
        for order in range(1, 5):
            better = [(4**order * n - o) / (4**order - 1) for o, n in pairwise(rows)]
            change = float(np.max(np.abs(better[0] - rows[1])))
            if change < error:
                best, error = better[-1], change
            rows = better
    return best, error


def assert_columns(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Columns agree to ``tolerance`` of their largest value; columns of zeros are zeros."""
    assert found.shape == expected.shape
    for j in range(expected.shape[1]):
        scale = np.max(np.abs(expected[:, j]))
        assert np.max(np.abs(found[:, j] - expected[:, j])) <= tolerance * scale, f"column {j}"


def gauss(x: Any, amplitude: Any = 1.0, mean: Any = 0.0, stddev: Any = 1.0) -> Any:
    return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def gauss_derivatives(x: np.ndarray, amplitude: float, mean: float, stddev: float) -> np.ndarray:
    z = (x - mean) / stddev
    e = np.exp(-0.5 * z * z)
    return np.stack([e, amplitude * e * z / stddev, amplitude * e * z * z / stddev], axis=1)


Gauss = custom_model(gauss)  # as `models.Gaussian1D`, without derivatives of its own
X = np.linspace(-4.0, 6.0, 41)

# ------------------------------------------------------------------------------------ the three ways


@pytest.mark.parametrize("way", ["analytic", "complex", "difference"])
@pytest.mark.parametrize("at", [(2.0, 0.7, 1.3), (-1e3, 5.5, 0.8), (1e-3, -4.0, 7.0), (3.0, 0.0, 1.0)])
def test_gaussian_by_each_way(way: str, at: tuple[float, float, float]) -> None:
    problem = problem_of(models.Gaussian1D(*at), way)
    tolerance = DIFFERENCE if way == "difference" else EXACT
    assert_columns(derivatives(problem, X), gauss_derivatives(X, *at), tolerance)


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda x, a=2.0, b=0.3: a * np.exp(-b * x), (2.0, 0.3)),
        (lambda x, a=2.0, b=0.3, c=1.0: a * np.sin(b * x + c), (2.0, 0.3, 1.0)),
        (lambda x, a=2.0, b=-1.5: a * (x + 10.0) ** b, (2.0, -1.5)),
        (lambda x, a=2.0, b=7.0: a * np.log(x + b), (2.0, 7.0)),
        (lambda x, a=1.0, b=0.5: a / (1 + np.exp(-b * x)), (1.0, 0.5)),
        (lambda x, a=1.0, b=6.0: np.sqrt(a**2 + (x - b) ** 2), (1.0, 6.0)),
    ],
    ids=["exp", "sin", "power", "log", "logistic", "hyperbola"],
)
@pytest.mark.parametrize("way", ["complex", "difference"])
def test_functions_by_each_way(function: Function, at: tuple[float, ...], way: str) -> None:
    problem = problem_of(custom_model(function)(*at), way)
    expected = complex_step(function, at, X)
    assert_columns(derivatives(problem, X), expected, DIFFERENCE if way == "difference" else EXACT)


def test_ways_are_chosen_in_the_order_of_their_worth() -> None:
    assert way_of(choose(problem_of(models.Gaussian1D(2, 0.7, 1.3)), [X])) == "analytic"
    assert way_of(choose(problem_of(Gauss(2, 0.7, 1.3)), [X])) == "complex"
    compound = models.Gaussian1D(2, 0.7, 1.3) + models.Linear1D(0.1, 1) * models.Exponential1D(1, 9)
    assert way_of(choose(problem_of(compound), [X])) in ("analytic", "complex")

    def real_only(x: np.ndarray, a: float = 1.0, b: float = 2.0) -> np.ndarray:
        return a * np.hypot(x, b)  # hypot takes no complex numbers

    assert way_of(choose(problem_of(custom_model(real_only)()), [X])) == "difference"


def test_choosing_changes_neither_model_nor_inputs() -> None:
    model, x = models.Gaussian1D(2, 0.7, 1.3), X.copy()
    choose(problem_of(model), [x])
    np.testing.assert_array_equal(x, X)
    assert model.parameters.tolist() == [2, 0.7, 1.3]


def test_a_compound_is_differentiated_exactly() -> None:
    def plain(x: Any, a0: Any, m0: Any, s0: Any, slope: Any, offset: Any, a2: Any, tau: Any) -> Any:
        return gauss(x, a0, m0, s0) + (slope * x + offset) * a2 * np.exp(x / tau)

    at = (2.0, 0.7, 1.3, 0.1, 1.0, 1.5, 9.0)
    model = models.Gaussian1D(*at[:3]) + models.Linear1D(*at[3:5]) * models.Exponential1D(*at[5:])
    problem = choose(problem_of(model), [X])
    assert_columns(derivatives(problem, X), complex_step(plain, at, X), EXACT)


def test_fixed_parameters_have_no_column() -> None:
    model = models.Gaussian1D(2, 0.7, 1.3, fixed={"mean": True})
    for way in ("analytic", "complex", "difference"):
        found = derivatives(problem_of(model, way), X)
        expected = gauss_derivatives(X, 2, 0.7, 1.3)[:, [0, 2]]
        assert_columns(found, expected, DIFFERENCE if way == "difference" else EXACT)


# ------------------------------------------------------------------------------------ difference steps


@pytest.mark.parametrize(
    ("at", "x"),
    [
        pytest.param((1.0, 0.0, 5.0), np.arange(-20.0, 21.0), id="a parameter of 0"),
        pytest.param((1.0, 1.4e9, 5.0), 1.4e9 + np.arange(-20.0, 21.0), id="1.4e9 with a width of 5"),
        pytest.param((1e-17, 0.7, 1.3), X, id="values of 1e-17"),
        pytest.param((1e17, 0.7, 1.3), X, id="values of 1e17"),
        pytest.param((1.0, 0.7e-17, 1.3e-17), X * 1e-17, id="a coordinate of 1e-17"),
        pytest.param((1.0, 0.7e17, 1.3e17), X * 1e17, id="a coordinate of 1e17"),
        pytest.param((1.0, 0.0, 1.3e-17), X * 1e-17, id="0 on a coordinate of 1e-17"),
        pytest.param((1.0, 0.0, 1.3e17), X * 1e17, id="0 on a coordinate of 1e17"),
    ],
)
def test_difference_steps_know_the_scale_of_the_model(at: tuple[float, float, float], x: np.ndarray) -> None:
    problem = problem_of(Gauss(*at), "difference")
    assert_columns(derivatives(problem, x), gauss_derivatives(x, *at), DIFFERENCE)


def test_a_column_of_zeros_is_zero() -> None:
    """A line of amplitude 0 has neither position nor width."""
    for way in ("analytic", "complex", "difference"):
        found = derivatives(problem_of(models.Gaussian1D(0.0, 0.7, 1.3), way), X)
        expected = gauss_derivatives(X, 0.0, 0.7, 1.3)
        assert found[:, 1:].tolist() == np.zeros((X.size, 2)).tolist()
        assert_columns(found, expected, DIFFERENCE if way == "difference" else EXACT)


def test_a_zero_parameter_of_a_line() -> None:
    problem = problem_of(models.Linear1D(0.0, 0.0), "difference")
    assert_columns(derivatives(problem, X), np.stack([X, np.ones_like(X)], axis=1), DIFFERENCE)


class Watched:
    """A function of one parameter that notes at which values it is called."""

    def __init__(self, function: Callable[[np.ndarray, float], np.ndarray]) -> None:
        self.function, self.seen = function, []  # type: ignore[var-annotated]

    def problem(self, at: float, low: float, high: float) -> Problem:
        def watched(x: np.ndarray, c: float = at) -> np.ndarray:
            self.seen.append(float(np.real(np.ravel(c)[0])))
            return self.function(x, c)

        model = custom_model(watched)()
        model.c.bounds = (None if np.isinf(low) else low, None if np.isinf(high) else high)
        found = problem_of(model, "difference")
        self.seen.clear()
        return found


Z = np.linspace(0.1, 10.0, 40)


@pytest.mark.parametrize(
    ("function", "derivative", "at", "low", "high"),
    [
        pytest.param(lambda x, c: np.log(x + c), lambda x, c: 1 / (x + c), 0.0, 0.0, np.inf, id="log, low"),
        pytest.param(lambda x, c: np.log(x - c), lambda x, c: -1 / (x - c), 0.0, -np.inf, 0.0, id="log, high"),
        pytest.param(lambda x, c: np.sqrt(x + c), lambda x, c: 0.5 / np.sqrt(x + c), 0.0, 0.0, 50.0, id="sqrt, low"),
        pytest.param(lambda x, c: np.sqrt(c + 0 * x), lambda x, c: 0.5 + 0 * x, 1.0, 1.0, 9.0, id="sqrt of c"),
        pytest.param(lambda x, c: x * c, lambda x, c: x, 1.0, 1.0, 1.0 + 1e-6, id="narrow, low"),
        pytest.param(lambda x, c: x * c, lambda x, c: x, 1.0 + 1e-6, 1.0, 1.0 + 1e-6, id="narrow, high"),
        pytest.param(lambda x, c: x * c, lambda x, c: x, 1.0 + 3e-7, 1.0, 1.0 + 1e-6, id="narrow, inside"),
        pytest.param(lambda x, c: x * c, lambda x, c: x, 0.5, 0.0, 1.0, id="wide, inside"),
    ],
)
def test_difference_steps_stay_within_the_bounds(
    function: Function, derivative: Function, at: float, low: float, high: float
) -> None:
    """A model need not exist outside: it is never asked there, and the derivative is right at the bound."""
    watched = Watched(function)
    problem = watched.problem(at, low, high)
    found = derivatives(problem, Z)
    assert min(watched.seen) >= low
    assert max(watched.seen) <= high
    # Steps of at most 1e-6: with rounding of 2e-16, ten digits are left; twice the usual tolerance is enough.
    assert_columns(found, derivative(Z, at)[:, None], 2 * DIFFERENCE)


def test_an_infinite_derivative_on_a_bound_is_no_error() -> None:
    """sqrt(c) at c = 0 rises without limit: whatever comes is large, and nothing raises."""
    watched = Watched(lambda x, c: x * np.sqrt(c))
    with np.errstate(all="ignore"):
        found = derivatives(watched.problem(0.0, 0.0, np.inf), Z)
    assert min(watched.seen) >= 0.0
    assert np.all(found > 10 * Z[:, None])


def test_a_step_function_has_no_slope() -> None:
    """The edges of a box lie between samples: nothing near them changes anything."""
    x = np.linspace(0.0, 10.0, 101)
    found = derivatives(choose(problem_of(models.Box1D(2.0, 5.03, 3.01)), [x]), x)
    assert np.all(found[:, 1:] == 0)


# ------------------------------------------------------------------------------------ ties


def doublet(**ties: Any) -> Model:
    model = models.Gaussian1D(2.0, -1.0, 1.1) + models.Gaussian1D(1.5, 2.0, 0.9)
    for name, tie in ties.items():
        getattr(model, name).tied = tie
    return model


def branched(m: Model) -> float:
    if m.amplitude_0 > 1:
        return 2 * m.amplitude_0 - 1
    return float(m.amplitude_0)


@pytest.mark.parametrize(
    ("ties", "reduced"),
    [
        pytest.param(
            {"mean_1": lambda m: m.mean_0 + 3},
            lambda x, a, m, s, b, t: gauss(x, a, m, s) + gauss(x, b, m + 3, t),
            id="shift",
        ),
        pytest.param(
            {"amplitude_1": lambda m: max(m.amplitude_0.value, 0) / 3, "stddev_1": lambda m: m.stddev_0.value},
            lambda x, a, m, s, n: gauss(x, a, m, s) + gauss(x, a / 3, n, s),
            id="max",
        ),
        pytest.param(
            {"stddev_1": lambda m: math.sqrt(m.amplitude_0.value)},
            lambda x, a, m, s, b, n: gauss(x, a, m, s) + gauss(x, b, n, np.sqrt(a)),
            id="math.sqrt",
        ),
        pytest.param(
            {"amplitude_1": branched},
            lambda x, a, m, s, n, t: gauss(x, a, m, s) + gauss(x, 2 * a - 1, n, t),
            id="if",
        ),
        pytest.param(
            {"stddev_1": lambda m: m.stddev_0[0] * 2 if np.ndim(m.stddev_0.value) else m.stddev_0 * 2},
            lambda x, a, m, s, b, n: gauss(x, a, m, s) + gauss(x, b, n, 2 * s),
            id="index",
        ),
        pytest.param(
            {"amplitude_1": lambda m: m.amplitude_0 * m.stddev_0 + m.mean_0**2},
            lambda x, a, m, s, n, t: gauss(x, a, m, s) + gauss(x, a * s + m**2, n, t),
            id="several",
        ),
    ],
)
@pytest.mark.parametrize("way", ["complex", "difference"])
def test_ties_enter_by_the_chain_rule(ties: dict[str, Any], reduced: Function, way: str) -> None:
    """The Jacobian of the tied model is that of the model written with fewer parameters."""
    problem = problem_of(doublet(**ties), way)
    expected = complex_step(reduced, problem.start[problem.free], X)
    assert_columns(derivatives(problem, X), expected, DIFFERENCE)


def test_a_tie_of_a_model_with_its_own_derivatives() -> None:
    model = models.Gaussian1D(2.0, -1.0, 1.1)
    model.stddev.tied = lambda m: m.amplitude / 2
    expected = complex_step(lambda x, a, m: gauss(x, a, m, a / 2), (2.0, -1.0), X)
    assert_columns(derivatives(problem_of(model, "analytic"), X), expected, 1e-9)  # a tie by differences


def test_a_chain_of_ties_against_the_order_of_parameters() -> None:
    """amplitude_0 follows mean_0, which follows stddev_1, which follows amplitude_1, the only free one."""
    ties = {
        "amplitude_0": lambda m: m.mean_0 + 1,
        "mean_0": lambda m: 2 * m.stddev_1,
        "stddev_1": lambda m: m.amplitude_1**2,
    }
    model = doublet(**ties)
    for name in ("stddev_0", "mean_1"):
        getattr(model, name).fixed = True
    problem = problem_of(model, "complex")
    p = problem.with_ties(problem.start)
    b = 1.5
    np.testing.assert_allclose(p, [2 * b**2 + 1, 2 * b**2, 1.1, b, 2.0, b**2], rtol=1e-15)
    J, T = jacobian_of_one(problem, [X], p)
    np.testing.assert_allclose(T[:, 0], [4 * b, 4 * b, 0, 1, 0, 2 * b], rtol=1e-9)  # central differences of b**2

    def reduced(x: Any, b: Any) -> Any:
        return gauss(x, 2 * b**2 + 1, 2 * b**2, 1.1) + gauss(x, b, 2.0, b**2)

    assert_columns(J, complex_step(reduced, (b,), X), 1e-9)


@pytest.mark.parametrize("together", [True, False])
def test_a_chain_of_ties_is_followed_to_what_it_reads(together: bool) -> None:
    """What a tie reads through others moves it as well, also where it is watched what ties read."""
    ties = {
        "amplitude_0": lambda m: m.mean_0 + 1,
        "mean_0": lambda m: 2 * m.stddev_1,
        "stddev_1": lambda m: m.mean_1**2,
    }
    problem = problem_of(doublet(**ties), "complex")
    problem = replace(problem, traits=replace(problem.traits, ties_broadcast=together))
    read = problem.read_by_ties(problem.with_ties(problem.start)[:, None])
    assert read[[0, 1, 5], 4].all()  # all of them follow mean_1
    assert read[0, [2, 3]].any() != together  # but no other free one
    _, T = jacobian_of_one(problem, [X], problem.with_ties(problem.start))
    np.testing.assert_allclose(T[[0, 1, 5]], [[0, 0, 8], [0, 0, 8], [0, 0, 4]], rtol=1e-9)


def test_no_step_is_searched_for_what_a_tie_does_not_read() -> None:
    """A tie is called as often in a model with more parameters."""
    calls = []

    def tie(m: Any) -> Any:
        calls.append(m)
        return m.amplitude_0**2

    def called(model: Model) -> int:
        model.stddev_1.tied = tie
        problem = replace(problem_of(model), traits=Traits(ties_broadcast=True))
        calls.clear()
        tie_derivatives(problem, problem.with_ties(problem.start[:, None]))
        return len(calls)

    assert called(doublet()) == called(doublet() + models.Polynomial1D(5))


def test_a_parameter_without_effect_takes_few_steps() -> None:
    evaluations = []

    def flat(x: Any, p: Any) -> Any:
        evaluations.append(p)
        return 0 * x * p + 1

    one, infinite = np.array([3.0]), np.array([np.inf])
    assert not derivative(lambda which, p: flat(X[:, None], p), one, -infinite, infinite).any()
    assert len(evaluations) < 30


@pytest.mark.parametrize("power", range(0, 25, 4))
def test_a_scale_far_from_the_parameter_is_found(power: int) -> None:
    """A parameter that starts at almost nothing says little of what its steps do."""
    scale, infinite = 10.0**power, np.array([np.inf])
    slopes = derivative(lambda which, p: np.exp(X[:, None] * p / scale), np.array([scale * 1e-20]), -infinite, infinite)
    assert_columns(slopes * scale, X[:, None], DIFFERENCE)


def test_a_tie_to_a_fixed_parameter_is_a_constant() -> None:
    model = doublet(mean_1=lambda m: m.mean_0 + 3)
    model.mean_0.fixed = True
    problem = problem_of(model, "complex")
    p = problem.with_ties(problem.start)
    assert p[4] == 2.0
    J, T = jacobian_of_one(problem, [X], p)
    assert T[4].tolist() == [0.0] * 4
    expected = np.concatenate(
        [gauss_derivatives(X, 2.0, -1.0, 1.1)[:, [0, 2]], gauss_derivatives(X, 1.5, 2.0, 0.9)[:, [0, 2]]], axis=1
    )
    assert_columns(J, expected, EXACT)


@pytest.mark.parametrize("at", [0.0, 1e-6, 0.37])
@pytest.mark.parametrize("offset", [3.0, 1e6, 1.4e9])
def test_a_tie_by_a_large_offset(at: float, offset: float) -> None:
    """Positions relative to a line, and absolute ones: the step must not drown in the offset."""
    model = models.Gaussian1D(2.0, at, 1.1) + models.Shift(1.0)
    model.offset_1.tied = lambda m: m.mean_0 + offset
    problem = problem_of(model, "complex")
    _, T = jacobian_of_one(problem, [X], problem.with_ties(problem.start))
    # Rounding of the offset, 1e-16 of it, against a step of 3e-5 of the line's width or more.
    np.testing.assert_allclose(T[3], [0.0, 1.0, 0.0], rtol=max(1e-6, 3e-12 * offset))


def test_a_tie_that_ends_at_a_value_is_differentiated_inward() -> None:
    """A tie of sqrt(mean) at mean = 0 exists on one side only."""
    model = doublet(amplitude_1=lambda m: 1.5 + (m.mean_0 + 1.0) if m.mean_0 >= -1.0 else np.nan)
    problem = problem_of(model, "complex")
    _, T = jacobian_of_one(problem, [X], problem.with_ties(problem.start))
    np.testing.assert_allclose(T[3], [0, 1, 0, 0, 0], atol=1e-9)


# ------------------------------------------------------------------------------------ wrong derivatives


class Line(Fittable1DModel):
    """A line whose ``fit_deriv`` is set by each test."""

    slope = Parameter(default=2.0)
    intercept = Parameter(default=1.0)

    @staticmethod
    def evaluate(x: Any, slope: Any, intercept: Any) -> Any:
        return slope * x + intercept


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(lambda x, slope, intercept: [x], id="a column is missing"),
        pytest.param(lambda x, slope, intercept: [x, np.ones_like(x), x], id="a column too many"),
        pytest.param(lambda x, slope, intercept: [x, np.ones(x.size - 1)], id="a sample is missing"),
        pytest.param(lambda x, slope, intercept: np.stack([x, np.ones_like(x)], axis=1), id="transposed"),
        pytest.param(lambda x, slope, intercept: [np.ones_like(x), x], id="swapped"),
        pytest.param(lambda x, slope, intercept: [-x, np.ones_like(x)], id="a wrong sign"),
        pytest.param(lambda x, slope, intercept: [1.001 * x, np.ones_like(x)], id="one in a thousand off"),
        pytest.param(lambda x, slope, intercept: [np.where(x > 5.5, 0, x), np.ones_like(x)], id="wrong at one end"),
        pytest.param(lambda x, slope, intercept: [x, np.full_like(x, np.nan)], id="NaN"),
        pytest.param(lambda x, slope, intercept: 1 / 0, id="it raises"),
        pytest.param(lambda x, slope, intercept: None, id="nothing"),
    ],
)
def test_wrong_derivatives_of_a_model_are_not_trusted(columns: Any) -> None:
    wrong = type("Wrong", (Line,), {"fit_deriv": staticmethod(columns)})
    problem = choose(problem_of(wrong()), [X])
    assert way_of(problem) == "complex"
    assert_columns(derivatives(problem, X), np.stack([X, np.ones_like(X)], axis=1), EXACT)


def test_right_derivatives_are_taken_in_either_layout() -> None:
    for by_column in (True, False):
        rows = staticmethod(lambda x, *p, c=by_column: np.stack([x, np.ones_like(x)], axis=0 if c else 1))
        right = type("Right", (Line,), {"fit_deriv": rows, "col_fit_deriv": by_column})
        problem = choose(problem_of(right()), [X])
        # Rows of one fit cannot be told from fits: such a derivative is not used, the columns are exact all the same.
        assert way_of(problem) == ("analytic" if by_column else "complex")
        assert_columns(derivatives(problem, X), np.stack([X, np.ones_like(X)], axis=1), EXACT)


@pytest.mark.parametrize(
    "model",
    [
        models.Polynomial1D(2, domain=(-4, 6)),
        models.Polynomial1D(2, domain=(0, 5), window=(-2, 3)),
        models.Polynomial1D(2),
        models.Chebyshev1D(2, domain=(-4, 6)),
        models.Legendre1D(2, domain=(-4, 6)),
        models.Hermite1D(2, domain=(-4, 6)),
        models.Hermite1D(2),
    ],
    ids=lambda m: f"{type(m).__name__} {m.domain}",
)
def test_polynomials_with_a_domain(model: Model) -> None:
    """A polynomial is linear: its derivatives are its values with one coefficient of 1, the others 0."""
    model = model.copy()
    model.parameters = [1.0, -0.7, 0.3]
    expected = np.stack([np.asarray(model.evaluate(X.copy(), *unit)) for unit in np.eye(3)], axis=1)
    low, high = model.domain or model.window
    u = model.window[0] + (X - low) / (high - low) * (model.window[1] - model.window[0])
    third = {
        "Polynomial1D": u**2,
        "Chebyshev1D": 2 * u**2 - 1,
        "Legendre1D": 1.5 * u**2 - 0.5,
        "Hermite1D": 4 * u**2 - 2,
    }
    np.testing.assert_allclose(expected[:, 2], third[type(model).__name__], rtol=1e-12, atol=1e-12)
    assert_columns(derivatives(choose(problem_of(model), [X]), X), expected, EXACT)


@pytest.mark.parametrize("kind", [models.Polynomial2D, models.Chebyshev2D, models.Legendre2D])
def test_polynomials_of_two_variables_with_domains(kind: Any) -> None:
    degree = (2,) if kind is models.Polynomial2D else (1, 2)
    model = kind(*degree, x_domain=(-4, 6), y_domain=(0, 3))
    rng = np.random.default_rng(7)
    model.parameters = rng.normal(size=len(model.parameters))
    x, y = rng.uniform(-4, 6, 30), rng.uniform(0, 3, 30)
    expected = np.stack([np.asarray(model.evaluate(x, y, *unit)) for unit in np.eye(len(model.parameters))], axis=1)
    assert_columns(derivatives(choose(problem_of(model), [x, y]), x, y), expected, EXACT)


# ------------------------------------------------------------------------------------ complex numbers


def keeps_real(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    return np.real(a * np.exp(-b * x))


def casts(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    return np.asarray(a, dtype=float) * np.exp(-np.asarray(b, dtype=float) * x)


def fills(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    out = np.empty(x.shape)
    out[...] = a * np.exp(-b * x)
    return out


def takes_magnitude(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    return np.abs(a) * np.exp(-np.abs(b) * x)


def is_scalar(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    return np.array([float(np.ravel(a)[0]) * math.exp(-float(np.ravel(b)[0]) * v) for v in x])


def conjugates(x: np.ndarray, a: float = 2.0, b: float = 0.3) -> np.ndarray:
    return np.conj(a) * np.exp(-b * x)


@pytest.mark.parametrize("function", [keeps_real, casts, fills, takes_magnitude, is_scalar, conjugates])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_models_that_lose_the_imaginary_part(function: Function, action: Any) -> None:
    """numpy only warns when an imaginary part is dropped; the derivative would silently be zero."""
    expected = complex_step(lambda x, a, b: a * np.exp(-b * x), (2.0, 0.3), X)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        problem = choose(problem_of(custom_model(function)()), [X])
        found = derivatives(problem, X)
    assert way_of(problem) == "difference"
    assert_columns(found, expected, DIFFERENCE)


# ------------------------------------------------------------------------------------ expression trees


def shared(*, x: np.ndarray = X) -> tuple[Model, Model, np.ndarray, np.ndarray]:
    return models.Gaussian1D(2, 0.7, 1.3), models.Linear1D(0.1, 3.0), gauss(x, 2, 0.7, 1.3), 0.1 * x + 3.0


def test_expressions_are_evaluated_as_they_are_written() -> None:
    line, slope, g, s = shared()
    two = models.Const1D(2.0)
    written: list[tuple[Model, np.ndarray]] = [
        (line + slope, g + s),
        (line - slope, g - s),
        (slope - line, s - g),
        (line * slope, g * s),
        (line / slope, g / s),
        (slope**two, s**2),
        ((line + slope) * two - line / slope, (g + s) * 2 - g / s),
        (line - (slope - two), g - (s - 2)),
        (slope | line, gauss(s, 2, 0.7, 1.3)),
        (models.Shift(0.5) | models.Scale(2.0) | line, gauss((X + 0.5) * 2, 2, 0.7, 1.3)),
        ((models.Shift(0.5) | line) + slope, gauss(X + 0.5, 2, 0.7, 1.3) + s),
        (models.RedshiftScaleFactor(0.1) | line, gauss(X * 1.1, 2, 0.7, 1.3)),
    ]
    for model, expected in written:
        found = evaluate_tree(model, [X], list(model.parameters))
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)  # the order of operations
        np.testing.assert_array_equal(found, model(X))


def test_expressions_of_two_inputs() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-2, 2, 20), rng.uniform(-2, 2, 20)
    g2 = models.Gaussian2D(2.0, 0.1, -0.2, 1.1, 1.1)
    round_g = 2 * np.exp(-0.5 * ((x - 0.1) ** 2 + (y + 0.2) ** 2) / 1.21)
    plane = models.Planar2D(0.3, -0.4, 1.0)
    flat = 0.3 * x - 0.4 * y + 1.0
    swapped = 0.3 * y - 0.4 * x + 1.0
    written: list[tuple[Model, list[np.ndarray], np.ndarray]] = [
        (g2 + plane, [x, y], round_g + flat),
        (models.Mapping((1, 0)) | plane, [x, y], swapped),
        (models.Shift(1.0) & models.Scale(2.0) | plane, [x, y], 0.3 * (x + 1) - 0.8 * y + 1.0),
        (models.Identity(2) | plane, [x, y], flat),
        (models.Mapping((0, 0), n_inputs=1) | plane, [x], -0.1 * x + 1.0),
        (models.Mapping((0,), n_inputs=2) | models.Linear1D(2.0, 1.0), [x, y], 2 * x + 1),
        (fix_inputs(plane, {"y": 0.5}), [x], 0.3 * x + 0.8),
        (fix_inputs(plane, {"x": 0.5}), [y], -0.4 * y + 1.15),
        (fix_inputs(plane, {1: 0.5}) + models.Linear1D(1.0, 2.0), [x], 1.3 * x + 2.8),
        (models.Shift(1.0) | fix_inputs(plane, {"y": 0.5}), [x], 0.3 * (x + 1) + 0.8),
        (fix_inputs(g2 + plane, {"y": 0.0}), [x], 2 * np.exp(-0.5 * ((x - 0.1) ** 2 + 0.04) / 1.21) + 0.3 * x + 1.0),
    ]
    for model, inputs, expected in written:
        found = np.asarray(evaluate_tree(model, inputs, list(model.parameters)))
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(model(*inputs), expected, rtol=1e-13, atol=1e-15)


def test_a_model_that_changes_its_input_does_not_change_its_neighbour() -> None:
    def writes_inputs(x: np.ndarray, a: float = 1.0, b: float = 0.0) -> np.ndarray:
        x -= 2.0
        return a * x + b

    x = X.copy()
    model = custom_model(writes_inputs)(1.0, 0.0) + models.Linear1D(1.0, 0.0) - custom_model(writes_inputs)(3.0, 0.0)
    problem = choose(problem_of(model), [x])
    np.testing.assert_allclose(
        problem.evaluate_one([x], problem.start), X - 2 + X - 3 * (X - 2), rtol=1e-13, atol=1e-13
    )
    expected = np.stack([X - 2, X * 0 + 1, X, X * 0 + 1, 2 - X, X * 0 - 1], axis=1)
    assert_columns(derivatives(problem, x), expected, EXACT)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("first", [True, False])
def test_a_model_that_changes_its_input_is_fitted_in_a_compound(first: bool) -> None:
    def writes_inputs(x: np.ndarray, a: float = 1.0, b: float = 0.0) -> np.ndarray:
        x -= 2.0
        return a * x + b

    line, bump = custom_model(writes_inputs)(1.2, 0.0), models.Gaussian1D(2.5, 0.6, 1.2)
    x = xr.DataArray(X, dims="x")
    data = (1.0 * (x - 2.0) + 0.5 + gauss(x, 3.0, 0.7, 1.3)).assign_coords(x=X.copy())
    result = xr_modelfit.fit(data, line + bump if first else bump + line, "x")
    names = ("a_0", "b_0", "amplitude_1", "mean_1", "stddev_1")
    if not first:
        names = ("a_1", "b_1", "amplitude_0", "mean_0", "stddev_0")
    # Data without noise; the fitter stops at a relative change of 1e-8.
    np.testing.assert_allclose([result[n] for n in names], [1.0, 0.5, 3.0, 0.7, 1.3], rtol=1e-6)
    np.testing.assert_array_equal(data["x"], X)


def test_a_constant_fills_the_samples() -> None:
    problem = problem_of(models.Const1D(3.0))
    assert problem.evaluate_one([X], problem.start).tolist() == [3.0] * X.size
    assert derivatives(choose(problem, [X]), X).tolist() == [[1.0]] * X.size


# ------------------------------------------------------------------------------------ all models

ONE = {
    "ArcCosine1D": (20, 0.08, 0.1),
    "ArcSine1D": (20, 0.08, 0.1),
    "ArcTangent1D": (2, 0.3, 0.1),
    "BrokenPowerLaw1D": (2, 5.03, 1.5, 0.7),
    "Const1D": (2,),
    "Cosine1D": (2, 0.13, 0.1),
    "Drude1D": (2, 4.9, 1.3),
    "Exponential1D": (2, 3.0),
    "ExponentialCutoffPowerLaw1D": (2, 3, 1.5, 6),
    "Gaussian1D": (2, 4.9, 1.3),
    "KingProjectedAnalytic1D": (2, 2.0, 15.0),
    "Linear1D": (2, -1),
    "LogParabola1D": (2, 3, 1.5, 0.2),
    "Logarithmic1D": (2, 3.0),
    "Lorentz1D": (2, 4.9, 1.3),
    "Moffat1D": (2, 4.9, 1.3, 1.7),
    "Multiply": (2,),
    "Plummer1D": (2, 3.0),
    "PowerLaw1D": (2, 3, 1.5),
    "RedshiftScaleFactor": (0.3,),
    "RickerWavelet1D": (2, 4.9, 1.3),
    "Scale": (2,),
    "Schechter1D": (2, 5, -1.2),
    "Sersic1D": (2, 3, 2.5),
    "Shift": (2,),
    "Sine1D": (2, 0.13, 0.1),
    "SmoothlyBrokenPowerLaw1D": (2, 5, 1.5, 0.7, 0.5),
    "Tangent1D": (2, 0.02, 0.1),
    "Trapezoid1D": (2, 5.03, 3.01, 0.7),
    "Voigt1D": (4.9, 2, 1.1, 0.8),
}
TWO = {
    "AiryDisk2D": (2, 0.13, -0.2, 3.1),
    "Const2D": (2,),
    "Gaussian2D": (2, 0.13, -0.21, 1.3, 2.1, 0.4),
    "GeneralSersic2D": (2, 3, 1.5, 0.13, -0.21, 0.3, 0.4, 0.2),
    "Lorentz2D": (2, 0.13, -0.21, 2.1),
    "Moffat2D": (2, 0.13, -0.21, 2.1, 1.7),
    "Planar2D": (2, 3, 1),
    "RickerWavelet2D": (2, 0.13, -0.21, 2.1),
    "Sersic2D": (2, 3, 1.5, 0.13, -0.21, 0.3, 0.4),
    "TrapezoidDisk2D": (2, 0.13, -0.21, 2.33, 0.7),
}
LEFT_OUT = {
    **dict.fromkeys(("Box1D", "Box2D", "Disk2D", "Ellipse2D", "Ring2D"), "step functions: see the test of its own"),
    **dict.fromkeys(("BlackBody", "NFW"), "have units"),
    **dict.fromkeys(("Identity", "Mapping"), "have no parameters"),
    **dict.fromkeys(("OrthoPolynomialBase", "PolynomialModel"), "base classes"),
    "Spline1D": "its own fitters",
}
# What is known of the models' own derivatives; others may be analytic, complex or by differences.
WAYS = {
    "Drude1D": ("complex", "analytic"),  # astropy 8.0 has its derivative by x_0 wrong
    "Gaussian1D": ("analytic",),
    "Linear1D": ("linear",),
    "RickerWavelet1D": ("complex",),
    "RickerWavelet2D": ("complex",),
    "AiryDisk2D": ("difference",),  # Bessel functions and masks of real numbers
    "Sersic1D": ("difference",),  # gammaincinv
}


def test_every_model_of_astropy_is_tried() -> None:
    found = {
        name
        for name, kind in vars(models).items()
        if isinstance(kind, type) and issubclass(kind, Model) and kind.fittable is True and name == kind.__name__
    }
    polynomials = {n for n in found if n[:4] in ("Cheb", "Herm", "Lege", "Poly")}
    assert found - polynomials - set(ONE) - set(TWO) - set(LEFT_OUT) == set()


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_derivatives_of_every_model(name: str, record_property: Callable[[str, object], None]) -> None:
    kind = getattr(models, name, None)
    if kind is None:
        pytest.skip("this astropy does not have it")
    if name in ONE:
        at, inputs = ONE[name], [np.linspace(0.5, 10.0, 41)]
    else:
        at, inputs = TWO[name], [a.ravel() for a in np.meshgrid(np.linspace(-5, 5, 15), np.linspace(-4, 4, 13))]
    model = kind(*at)
    problem = choose(problem_of(model), inputs)
    record_property("way", way_of(problem))
    assert way_of(problem) in WAYS.get(name, ("linear", "analytic", "complex", "difference"))

    def values(p: np.ndarray) -> np.ndarray:
        return np.asarray(model.evaluate(*[x.copy() for x in inputs], *p), dtype=float) * np.ones(inputs[0].size)

    parameters = np.array(at, dtype=float)
    found = derivatives(problem, *inputs)
    for j in range(len(at)):
        expected, error = extrapolated(values, parameters, j)
        scale = np.max(np.abs(expected))
        assert scale > 0
        assert error < 1e-8 * scale  # the authority itself
        assert np.max(np.abs(found[:, j] - expected)) < 1e-6 * scale, model.param_names[j]


class _Witness(Fittable1DModel):
    """A Gaussian that writes down the layout of what it is given."""

    height, place, width = Parameter(default=1.0), Parameter(default=0.0), Parameter(default=1.0)
    seen: ClassVar[list[tuple[str, bool]]] = []

    @classmethod
    def _note(cls, where: str, arrays: Iterable[Any]) -> None:
        cls.seen += [(where, a.flags.c_contiguous) for a in arrays if isinstance(a, np.ndarray)]

    @classmethod
    def evaluate(cls, x: Any, height: Any, place: Any, width: Any) -> Any:
        cls._note("evaluate", (x, height, place, width))
        return height * np.exp(-0.5 * ((x - place) / width) ** 2)

    @classmethod
    def fit_deriv(cls, x: Any, height: Any, place: Any, width: Any) -> list[Any]:
        cls._note("fit_deriv", (x, height, place, width))
        e = np.exp(-0.5 * ((x - place) / width) ** 2)
        return [e, height * e * (x - place) / width**2, height * e * (x - place) ** 2 / width**3]


@pytest.mark.parametrize("fitter", [None, TRFLSQFitter(), DogBoxLSQFitter()], ids=["batch", "trf", "dogbox"])
@pytest.mark.parametrize("derivative", ["analytic", "complex"])
def test_a_model_gets_contiguous_arrays(fitter: Any, derivative: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy 1.26 takes one of two kinds of ``power`` for strided arrays, by where the result happens to lie."""
    _Witness.seen.clear()
    if derivative == "complex":
        monkeypatch.setattr(_Witness, "fit_deriv", None)
    x = np.linspace(-1.0, 1.0, 31)
    y = 3.0 * np.exp(-0.5 * ((x - 0.2) / 0.5) ** 2) + np.random.default_rng(0).normal(0.0, 0.1, (2, 3, 31))
    data = xr.DataArray(y, dims=("p", "q", "x"), coords={"x": x})
    model = _Witness(3.0, 0.2, 0.5)
    model.width.tied = lambda m: 0.1 * m.height + 0.2
    for tied in (True, False):
        model.width.tied = model.width.tied if tied else False
        data.transpose("x", "q", "p").modelfit(model, dim="x", fitter=fitter, covariance=True, errors="ignore")
    assert {where for where, _ in _Witness.seen} == {"evaluate"} | (
        {"fit_deriv"} if derivative == "analytic" else set()
    )
    assert all(contiguous for _, contiguous in _Witness.seen)


@custom_model
def twins(x, a=1.0, b=2.0, c=0.5):
    """Two parameters with one derivative, a third that has the value's."""
    return (a + b) * np.exp(c * x)


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("own", [False, True], ids=["one coordinate for all", "coordinates of each fit"])
@pytest.mark.parametrize(
    "model",
    [
        models.Gaussian1D() + models.Linear1D(),  # the coordinate is a derivative itself
        models.Gaussian1D(1.0, 0.3, 2.0) * models.Linear1D(0.2, 1.0),
        models.Exponential1D(1.0, 3.0),
        models.Scale(2.0) + models.Const1D(1.0),
        models.PowerLaw1D(1.0, 2.0, 1.5),
        twins(),
    ],
)
def test_weights_leave_what_they_are_given(model: Model, own: bool, n: int) -> None:
    rng = np.random.default_rng(n)
    problem = choose(problem_of(model), [np.linspace(0.5, 4.0, 30)])
    b = 5
    x = rng.uniform(0.5, 4.0, (n, b if own else 1))
    P = problem.start[:, None] * rng.uniform(0.8, 1.2, (problem.n_parameters, b))
    w = rng.uniform(0.5, 2.0, (n, b))
    infinite = np.full(P.shape, np.inf)
    before = x.copy(), P.copy(), w.copy()
    plain = [c * w for c in jacobian(problem, [x], P, -infinite, infinite)]
    weighted = jacobian(problem, [x], P, -infinite, infinite, w=w)
    again = jacobian(problem, [x], P, -infinite, infinite, values(problem, [x], P)[1], w)
    for found in (weighted, again):
        assert all(np.array_equal(c, wanted) for c, wanted in zip(found, plain, strict=True))
    assert all(np.array_equal(now, then) for now, then in zip((x, P, w), before, strict=True))


@pytest.mark.parametrize("p", [0.1, 0.0, -3.7, 1e-9, 25.0])
@pytest.mark.parametrize("b", [0.8, 40.0, 3e9])
def test_rounding_by_a_long_step_is_no_slope(p: float, b: float) -> None:
    """``p + (b - p)`` does not depend on ``p``, whatever a step of 1e10 makes of its last digits."""
    infinite = np.array([np.inf])

    def at(_: np.ndarray, value: np.ndarray) -> np.ndarray:
        return np.tile(value + (b - value), (5, 1))

    assert not np.any(derivative(at, np.array([p]), -infinite, infinite))


@pytest.mark.parametrize("size", [1e4, 1e9, 1e17])
def test_a_long_step_sees_a_true_slope(size: float) -> None:
    """Parameters of about 1 where only changes of ``size`` show: slopes by calculus."""
    x, infinite = np.linspace(0.1, 1.0, 7)[:, None], np.array([np.inf])

    def at(_: np.ndarray, value: np.ndarray) -> np.ndarray:
        return 1.0 + np.sin(x + 1e-6 * value / size)

    found = derivative(at, np.array([1.0]), -infinite, infinite)
    np.testing.assert_allclose(found, 1e-6 / size * np.cos(x), rtol=1e-4)
