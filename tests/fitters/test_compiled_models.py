"""Models that are called with symbols: what is compiled says what the model says, or nothing is compiled.

Values against the model's own code, derivatives against differences of sixth order of that code. Where a model's code
hides something from symbols, the answer must be that of the NumPy engine.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import ctypes
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import xarray as xr
from astropy.modeling import FittableModel, Model, Parameter, custom_model, fix_inputs, models
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares

import xr_modelfit
from support.astropy_models import CASES, CLASSES, Case, fitted, measured
from support.problems import problem_of
from xr_modelfit import BatchLSQFitter
from xr_modelfit.call import resolve
from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.tracing.graph import CannotTrace
from xr_modelfit.tracing.source import LANES, written
from xr_modelfit.tracing.tracing import traced

pytest.importorskip("numba", reason="models that numba compiles")
from xr_modelfit.fitters.compiled.kernels import kernels

pytestmark = pytest.mark.quick_share(3)

M = models
_POINTER = ctypes.POINTER(ctypes.c_double)


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def compiled(model: Model, inputs: Sequence[np.ndarray], p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) and derivatives (k, n) by the compiled functions, at all parameters ``p``."""
    problem = problem_of(model)
    k, n = int(problem.free.sum()), inputs[0].size
    D = np.zeros((len(inputs) + 2, n, LANES))
    D[:-2] = np.stack(inputs)[:, :, None]
    J = np.empty((n, 1 + k, LANES))
    side_by_side = np.repeat(np.array(p, dtype=float)[:, None], LANES, axis=1)
    arrays = [a.ctypes.data_as(_POINTER) for a in (D, side_by_side, J)]
    kernels(written(traced(problem))).columns.ctypes(0, n, n, 0, *arrays)
    assert_array_equal(J, J[..., :1] + np.zeros(LANES))  # all lanes alike
    columns = J[..., 0].T
    return columns[0], columns[1:]


def called(model: Model, inputs: Sequence[np.ndarray], p: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = evaluate_tree(model, [x.copy() for x in inputs], list(p), writes_inputs=True)
    values = values[0] if isinstance(values, tuple) else values
    return np.broadcast_to(np.asarray(values, dtype=float), inputs[0].shape)


def by_differences(function: Callable[[np.ndarray], np.ndarray], p: np.ndarray, j: int) -> np.ndarray:
    """Derivative by central differences of sixth order; NaN where two steps disagree, as on a kink."""

    def slope(h: float) -> np.ndarray:
        step = np.where(np.arange(p.size) == j, h, 0.0)
        ahead = [function(p + m * step) - function(p - m * step) for m in (1, 2, 3)]
        return (45 * ahead[0] - 9 * ahead[1] + ahead[2]) / (60 * h)

    with np.errstate(all="ignore"):
        wide, narrow = (slope(h * max(abs(p[j]), 0.03)) for h in (2e-3, 7e-4))
        size = np.nanmax(np.abs(narrow), initial=0.0)
        return np.where(np.abs(wide - narrow) <= 1e-7 * size, narrow, np.nan)


def agree(model: Model, inputs: Sequence[np.ndarray], p: np.ndarray, smooth: float = 0.5) -> None:
    """The compiled functions say what the model says, and how it changes, on the share ``smooth`` of the samples."""
    values, slopes = compiled(model, inputs, p)
    expected = called(model, inputs, p)
    size = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    assert_array_equal(np.isfinite(values), np.isfinite(expected))
    assert_allclose(values, expected, rtol=1e-12, atol=1e-13 * size)
    free = np.flatnonzero([not model.fixed[n] for n in model.param_names])
    for j, column in zip(free.tolist(), slopes, strict=True):
        difference = by_differences(lambda q: called(model, inputs, q), p, j)
        there = np.isfinite(difference) & np.isfinite(column)
        assert there.mean() >= smooth, (model.param_names[j], there.mean())
        size = np.max(np.abs(difference[there]), initial=0.0)
        assert_allclose(column[there], difference[there], rtol=1e-6, atol=2e-7 * size, err_msg=model.param_names[j])


# --- models of astropy


def inputs_of(case: Case, model: Model) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.uniform(case.low, case.high, 101) for _ in range(model.n_inputs)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_models_of_astropy_are_compiled_to_what_they_are(name: str) -> None:
    """At their values, and beside them; in plain numbers where they have units."""
    case = CASES[name]
    if case.units is not None:
        pytest.skip("the numbers inside depend on the units of the call")
    model = case.truth()
    if model.linear:
        pytest.skip("solved at once; parts of larger models below")
    try:
        written(traced(problem_of(model)))
    except CannotTrace:
        return  # the page tells which
    p = np.array(model.parameters, dtype=float)
    for point in (p, p * (1.03 + 0.02 * np.arange(p.size)) + 0.01):
        agree(model, inputs_of(case, model), point)


D1 = {"domain": (-1.0, 8.0), "window": (-2.0, 1.0)}
D2 = {"x_domain": (-1.0, 8.0), "y_domain": (-2.0, 9.0), "x_window": (-1.0, 2.0), "y_window": (-2.0, 1.0)}
ONE = [M.Polynomial1D, M.Chebyshev1D, M.Legendre1D, M.Hermite1D]
TWO = [M.Chebyshev2D, M.Legendre2D, M.Hermite2D]


@pytest.mark.slow
@pytest.mark.parametrize("cls", [*ONE, M.Polynomial2D, *TWO])
def test_polynomials_of_every_family_and_degree(cls: type[Model]) -> None:
    """Multiplied by a Gaussian, as alone they are linear; with domains and windows, and without."""
    rng = np.random.default_rng(9)
    one = cls in ONE
    for degrees, options in ((1, {}), (4, D1 if one else D2)) if one or cls is M.Polynomial2D else (((1, 2), D2),):
        polynomial = cls(*np.atleast_1d(degrees).tolist(), **options)
        shape = M.Gaussian1D(2, 3, 1.5) if one else M.Gaussian2D(2, 3, 2.5, 1.5, 2.0, 0.3)
        model = polynomial * shape
        p = np.array(model.parameters)
        p[: len(polynomial.param_names)] = rng.normal(size=len(polynomial.param_names))
        inputs = [rng.uniform(-1, 8, 101) for _ in range(model.n_inputs)]
        agree(model, inputs, p, smooth=0.9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ((M.Gaussian1D(3, 2, 0.5) + M.Linear1D(0.1, 1)) * M.Exponential1D()) / (M.Lorentz1D(2, 5, 3) + M.Const1D(3.5)),
        (M.Linear1D(0.3, 2) ** M.Const1D(1.5) - M.Const1D(2)) ** M.Const1D(2.0) | M.Gaussian1D(3, 1, 2),
        M.Shift(-3.1) & M.Scale(0.5) | M.Gaussian2D(3, 0, 1, 1.2, 0.8, 0.2) | M.Scale(2) + M.Const1D(1),
        M.Mapping((0, 0)) | M.Gaussian1D(1, 3, 1) & M.Sine1D(1, 0.3, 0.1) | M.Mapping((1,), 2) | M.Exponential1D(1, 2),
        fix_inputs(M.Gaussian2D(3, 3, 2.5, 1.2, 0.8, 0.3), {"y": 2.0}) + M.Const1D(1),
        fix_inputs(M.Gaussian2D(3, 3, 2.5, 1.2, 0.8, 0.3), {0: 2.0}) * fix_inputs(M.Planar2D(1, 2, 3), {"x": 0.5}),
    ],
    ids=["arithmetic", "powers and pipe", "side by side", "mapping", "held in a sum", "held in a product"],
)
def test_expressions_nest(model: Model) -> None:
    inputs = [np.random.default_rng(3).uniform(0.5, 6.5, 101) for _ in range(model.n_inputs)]
    agree(model, inputs, np.array(model.parameters), smooth=0.9)


# --- functions of users


def model_of(function: Callable[..., Any]) -> Model:
    return custom_model(function)()


def plain(x, a=2.0, b=1.3, c=0.7):
    return a * np.exp(-((x - b) ** 2) / c) + abs(x - a) * np.sign(b) + np.fabs(x) ** 0.5


def chosen(x, a=2.0, b=3.3, c=0.7):
    return np.where((x > b) & ~(x >= b + a), a * (x - b), c * np.minimum(x, a)) + np.maximum(a * x, c * x * x)


def clipped(x, a=2.0, b=3.3, c=0.7):
    return np.clip(a * (x - b), -c, c) + np.clip(x, None, b) + np.clip(x, a, None) + np.clip(a, 0, 1)


def selected(x, a=2.0, b=3.3, c=0.7):
    return np.select([x < a, x < b, x < 2 * b], [a * x, b * x * x, c], default=a * b * c)


def counted(x, a=2.0, b=3.3, c=0.7):
    """Truths in arithmetic: NumPy's sum of two is one, its product too; with numbers they are numbers."""
    both = (x > a) + (x < b)
    return (
        a * both + b * ((x > a) * (x < b)) + c * ((x > a) * 1.0 + (x < b) * 1.0) + np.minimum(x > a, 0.5) * a
        + np.maximum(x > b, -1) * c + np.where(x > a, x < b, 0.25) * b + a * ((x > a) + 0.0 + (x < b))
        + b * ((x > a).astype(float) + (x < b).astype(float)) + c * (np.maximum(x > b, x < a) / 2)
    )  # fmt: skip


def powers(x, a=2.0, b=1.3, c=0.7):
    whole = a**3 + x**2 * b + x**-3 * c + x**0 + a**0 * (x / 7) ** 17 / b**20 + x**7.0
    return whole + (x * a) ** b + 2.0**a + np.power(x, c)


def negative_bases(x, a=2.0, b=1.3):
    return a * (x - 3.5) ** 3 + b * (x - 4) ** 2 + (x - 3) ** 5.0 / a + np.square(x - b) + (x - 10.0) ** -2


def trigonometry(x, a=2.0, b=0.13, c=0.07):
    return a * np.sin(b * x) + np.cos(a * x) * np.tan(c * x) + np.arctan2(a * x, b) + np.hypot(x - a, b)


def arcs(x, a=0.1, b=0.13, c=0.07):
    return np.arcsin(a * x) + np.arccos(b * x) * np.arctan(c * x) + np.deg2rad(a * x) + np.degrees(b)


def hyperbolas(x, a=0.1, b=0.13, c=0.07):
    return (
        np.sinh(a * x) + np.cosh(b * x) * np.tanh(c * x) + np.arcsinh(a * x) + np.arccosh(1.1 + b * x)
        + np.arctanh(c * x)
    )  # fmt: skip


def logarithms(x, a=2.0, b=1.3, c=0.7):
    return a * np.log(b * x) + np.log10(c * x) + np.log2(a * x) + np.log1p(b * x) + np.expm1(c * x) + np.exp2(a + x)


def stairs(x, a=2.0, b=1.3, c=0.7):
    return a * np.floor(x) + b * np.ceil(x) + c * np.rint(x) + np.trunc(a * x) + np.abs(-x) + np.reciprocal(x + a)


def awkward(x, a=2.0, b=1.3, c=0.7):
    """Ones and copies, sums of lists, arrays of symbols, numbers of NumPy and Python, reversed operators."""
    parts = np.array([a * x, b * x, c * x])
    one = np.ones_like(x) + np.zeros_like(x) * 3 + np.full_like(x, 0.5)
    constants = np.float32(0.5) * np.int64(2) * np.array([1.5]) * np.array(3)
    return sum([a, b]) + 1 / x + (2 - x) * one + parts.sum(axis=0) + constants * +x.copy() + -np.copy(x) + True * c


def newton(x, a=2.0, b=1.3):
    """A fixed number of steps towards the root of y + b sin(y) = a x."""
    y = a * x
    for _ in range(4):
        y = y - (y + 0.3 * b * np.sin(y) - a * x) / (1 + 0.3 * b * np.cos(y))
    return y


def oscillation(x, a=2.0, b=1.3, c=0.7):
    """A response of second order: complex numbers by all operators, with numbers, arrays of one and NumPy's."""
    s = 1j * x * b
    response = a / (s**2 + 2 * c * s + b**2) - (np.complex128(0.3 - 0.2j) - np.conj(s) * np.array([1j])) / (s + 3.0)
    both = np.real(response) + response.imag * c + np.imag(+response) * (-response).real
    return both + np.abs(response) + abs(s - 2) + np.real(x) + np.imag(x) * a + (s * np.conjugate(s)).real / 40


def damped(x, a=2.0, b=1.3, c=0.7):
    wave = a * np.exp((1j * b - c / 10) * np.atleast_1d(x)) * 1j
    return wave.real + np.square(wave).imag / 10 + (wave / (1 + wave**3 / 50)).real + (wave.copy() * wave).real / 9


def error_functions(x, a=2.0, b=1.3, c=0.7):
    step = scipy.special.erf((x - a) / c) + scipy.special.erfc((x - 2 * b) * c) + scipy.special.ndtr((x - b) * a)
    return a * step + b * scipy.special.expit((x - a) / c) + c * scipy.special.erfcx(b - x / 2)


def voigts(x, a=2.0, b=1.3, c=0.7):
    w = scipy.special.wofz((x - a + 1j * c) / b)
    constant = scipy.special.wofz(np.ones_like(x) * (1 + 0.5j)).real
    return a * scipy.special.voigt_profile(x - a, b, c) + b * w.real + c * w.imag + np.abs(w) ** 2 + constant


def exponentially_modified(x, a=2.0, b=1.3, c=0.7):
    """As chromatography has its peaks."""
    z = (b / c + (a - x) / b) / 2**0.5
    return np.exp(-0.5 * ((x - a) / b) ** 2) * scipy.special.erfcx(z) * b / c


def masked(x, a=2.0, b=3.3, c=0.7):
    """Assignments to the samples where a condition holds; copies that are written to, and others that are not."""
    y = np.zeros_like(x)
    y[x > b] = a * (x[x > b] - b)
    kept, other = y.copy(), +y
    y[(x < a) | (x > 2 * b)] = c
    y[x < c] *= 3.0
    rest = np.empty_like(x)
    rest[x >= a], rest[x < a] = b, x[x < a] * c
    which = x > a
    which[x > b] = False
    other[which] += 0.25 * x[which]
    clean = x.copy()
    clean[~(clean > 1.0)] = 1.0
    return a * y + b * kept + c * other + rest + np.log(clean) * x + np.where(which, a, b)


def guarded(x, a=2.0, b=3.3, c=0.7):
    """Code that looks whether there is anything to do."""
    y, high, low = a * x, x > b, x < a
    if high.any():
        y[high] = a * b + c * (x[high] - b)
    if np.any(low):
        y[low] *= c
    if not (low & (x < c)).max():
        return y
    y[low & (x < c)] += 1.0
    return y


def pieces(x, a=2.0, b=3.3, c=0.7):
    broken = np.piecewise(x, [x < a, x >= b], [lambda v: a * v, lambda v: b + c * (v - b), lambda v: a * a])
    plain = np.piecewise(x, (x > a, x > b), (c, lambda v, k: k * v * c), 0.3)
    one = np.piecewise(x, x > b, [a, c])
    return broken + plain * c + one * x


def steps(x, a=2.0, b=3.3, c=0.7):
    return a * np.heaviside(x - b, 0.5) + np.heaviside(a - x, c) * x + a * np.sinc(c * (x - b)) + np.sinc(x * 0)


def phases(x, a=2.0, b=3.3, c=0.7):
    phase = ((x - a) / b) % 1
    return a * np.sin(2 * np.pi * phase) + c * np.mod(-x * c, 1.0) + np.polyval([a, b, c, 1.0], phase)


FUNCTIONS = [
    masked, guarded, pieces, steps, phases, oscillation, damped, error_functions, voigts, exponentially_modified,
    plain, chosen, clipped, selected, counted, powers, negative_bases, trigonometry, arcs, hyperbolas, logarithms,
    stairs, awkward, newton,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_users(function: Callable[..., Any]) -> None:
    model = model_of(function)
    p = np.array(model.parameters)
    x = np.random.default_rng(1).uniform(0.3, 6.6, 211)
    for point in (p, p * 1.07, p[::-1] * 0.9):
        if function in (arcs, hyperbolas):
            point = np.minimum(point, 0.14)
        agree(model, [x], point, smooth=0.6)


@pytest.mark.parametrize("function", [masked, guarded, pieces])
@pytest.mark.parametrize(("low", "high"), [(0.3, 0.6), (2.2, 3.0), (3.5, 6.0), (6.7, 9.0)])
def test_conditions_that_hold_for_no_sample_or_for_all(function: Callable[..., Any], low: float, high: float) -> None:
    model = model_of(function)
    agree(model, [np.random.default_rng(1).uniform(low, high, 61)], np.array(model.parameters), smooth=0.9)


@pytest.mark.parametrize("delta", [0.002, 0.05, 3.0])
def test_a_smoothly_broken_power_law_on_either_side_of_its_simple_forms(delta: float) -> None:
    """astropy has three expressions, for samples far below the break, near it, and far above."""
    model = M.SmoothlyBrokenPowerLaw1D(2.0, 1.0, 1.2, -0.8, delta)
    x = np.geomspace(0.2, 5.0, 201)
    agree(model, [x], np.array(model.parameters), smooth=0.2 if delta < 0.01 else 0.9)


class Profile(FittableModel):
    """A class with its own state, a static and a class method."""

    n_inputs, n_outputs = 2, 1
    height = Parameter(default=2.0)
    width = Parameter(default=1.5, bounds=(0.1, None))
    exponent = Parameter(default=1.7)

    def __init__(self, *args: Any, centre: tuple[float, float] = (3.0, 2.5), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.centre = centre

    @staticmethod
    def radius(x: Any, y: Any) -> Any:
        return np.sqrt(x**2 + y**2)

    def evaluate(self, x, y, height, width, exponent):
        r = self.radius(x - self.centre[0], y - self.centre[1]) / width
        return np.where(r < 2, height * np.exp(-(r**exponent)), height * np.exp(-(2**exponent)))


def test_classes_of_users() -> None:
    rng = np.random.default_rng(2)
    inputs = [rng.uniform(0, 6, 301) for _ in range(2)]
    model = Profile(centre=(2.0, 3.0))
    agree(model, inputs, np.array(model.parameters), smooth=0.8)
    moved = Profile(centre=(2.0, 3.1))
    assert written(traced(problem_of(model))) != written(traced(problem_of(moved)))


class Remembering(FittableModel):
    """Gives what it computed last where it is asked again, as Voigt1D does."""

    n_inputs, n_outputs = 1, 1
    height = Parameter(default=2.0)
    width = Parameter(default=1.5)
    last: tuple[Any, Any] | None = None

    def evaluate(self, x, height, width):
        z = x / width
        if self.last is None or np.shape(self.last[0]) != np.shape(z) or not np.allclose(z, self.last[0]):
            self.last = z, np.exp(-(z**2))
        return height * self.last[1]


@pytest.mark.parametrize("model", [Remembering(), M.Voigt1D(3.0, 2.0, 1.2, 0.8)])
def test_models_keep_no_symbols(model: Model) -> None:
    first = written(traced(problem_of(model)))
    assert not [name for name in vars(model) if "last" in name]
    assert written(traced(problem_of(model))) == first
    assert np.isfinite(model(np.array([1.0, 2.0]))).all()  # as many samples as symbols seem to have


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda x, a=1.0: a * np.where(x == 0, 1.0, np.sin(x) / x), [0.0, -0.0, 1e-300, 1.0, np.inf, np.nan]),
        (lambda x, a=1.0: np.minimum(x, a) + np.maximum(a, x), [1.0, np.nan, np.inf, -np.inf, -0.0]),
        (lambda x, a=1.0: a * np.where(np.isnan(x), -1.0, np.where(np.isfinite(x), x, 7.0)), [np.nan, np.inf, 2.0]),
        (lambda x, a=1.0: a * np.sqrt(x) + np.log(x), [0.0, -1.0, 4.0, 5e-324, np.inf]),
        (lambda x, a=2.0: x**a + x**-1.0 + x**0.0, [0.0, -2.0, 3.0, np.inf, -np.inf]),
        (lambda x, a=1.0: a * np.exp(x) + np.sign(x), [-750.0, 709.0, 710.0, -np.inf, np.inf, np.nan, 0.0]),
    ],
    ids=["where", "extremes", "not numbers", "roots", "powers", "exponentials"],
)
def test_the_edges_of_domains(function: Callable[..., Any], values: list[float]) -> None:
    """Zero, infinite and NaN as the model's own code has them."""
    model = model_of(function)
    x, p = np.array(values), np.array(model.parameters)
    found, expected = compiled(model, [x], p)[0], called(model, [x], p)
    assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("p", [0.0, 2.0])
def test_where_a_derivative_is_no_number_none_is_made_up(p: float) -> None:
    """A power of 0, the root at its end, the branch that is not taken: right, or NaN, which the other engine mends."""
    model = model_of(lambda x, a=1.0: np.where(x > a, np.sqrt(x - a), 0.0) + a**0 * x + x**a)
    x = np.array([0.0, 1.0, 2.5, 4.0])
    slope = compiled(model, [x], np.array([p]))[1][0]
    exact = np.where(x > p, -0.5 / np.sqrt(np.where(x > p, x - p, 1.0)), 0.0)
    exact += np.where(x > 0, x**p * np.log(np.where(x > 0, x, 1.0)), 0.0)
    assert np.isfinite(slope).sum() >= 2
    there = np.isfinite(slope)
    assert_allclose(slope[there], exact[there], rtol=1e-13)


# --- code that is no expression


def decision(x, a=1.0, b=2.0):
    return a * x if a > 0 else b * x


def chained(x, a=1.0, b=2.0):
    return np.where(a < x < b, a, b)


def python_max(x, a=1.0, b=2.0):
    return max(a, b) * x


def loop_until(x, a=1.0, b=2.0):
    y = a * x
    while np.any(np.abs(y) > 1):
        y = y / b
    return y


def summed(x, a=1.0, b=2.0):
    return a * x / np.sum(x) + b


def normalised(x, a=1.0, b=2.0):
    y = a * np.exp(-b * x)
    return y / y.max()


def interpolated(x, a=1.0, b=2.0):
    return a * np.interp(x - b, [0.0, 5.0], [0.0, 1.0])


def special(x, a=1.0, b=2.0):
    return a * scipy.special.j1(x - b)


def of_math(x, a=1.0, b=2.0):
    return x * math.exp(a) + b


def decided(x, a=1.0, b=2.0):
    return a * x if np.any(x > b) else b * x


def decided_for_all(x, a=1.0, b=2.0):
    return a * x if np.all(x > b) else b * x


def compared(x, a=1.0, b=2.0):
    y = a * x
    if (x > b).any() == True:  # noqa: E712
        y[x > b] = b
    return y


def guarded_by_another(x, a=1.0, b=2.0):
    y = a * x
    if (x > 2 * b).any():
        y[x > b] = b
    return y


def guarded_often(x, a=1.0, b=2.0):
    y = a * x
    for n in range(6):
        if (x > n * b).any():
            y[x > n * b] = b
    return y


def shifted_where_needed(x, a=1.0, b=2.0):
    y = a * x
    return y - b if (y < 0).any() else y


def by_index(x, a=1.0, b=2.0):
    y = a * x
    y[0] = b
    return y


def from_the_first_on(x, a=1.0, b=2.0):
    return a * np.exp(-b * (x - x[0]))


def compressed(x, a=1.0, b=2.0):
    return a * x + np.where(x[x > b] > 0, 1.0, 0.0).sum()


def into_the_input(x, a=1.0, b=2.0):
    x[x > b] = b
    return a * x


def truths_get_numbers(x, a=1.0, b=2.0):
    which = x > b
    which[x > 2 * b] = a
    return a * x * which


def writes(x, a=1.0, b=2.0):
    np.add(x, a, out=x)
    return b * x


def as_integer(x, a=1.0, b=2.0):
    return a * x.astype(int) + b


def remainder(x, a=1.0, b=2.0):
    return a * (x % 2) + b


def by_number(x, a=1.0, b=2.0):
    return a * np.exp(-b * x) if x.size > 40 else a * x


def complex_numbers(x, a=1.0, b=2.0):
    return np.abs(a * np.sqrt(1j * b + x))


def complex_order(x, a=1.0, b=2.0):
    return np.where(x + 1j * b == a, x, b)


def complex_sums(x, a=1.0, b=2.0):
    return np.sum(a * np.exp(1j * b * x)).real * x


def quantile_of_samples(x, a=1.0, b=2.0):
    return a * scipy.special.gammaincinv(x, 0.5) + b


def other_quantile(x, a=1.0, b=2.0):
    return scipy.special.gammaincinv(a, 0.4) * x + b


def error_of_complex(x, a=1.0, b=2.0):
    return scipy.special.erf(x + 1j * b).real * a


def reshaped(x, a=1.0, b=2.0):
    return (a * x.reshape(-1)).reshape(x.shape) + b


def truths_subtracted(x, a=1.0, b=2.0):
    return a * np.exp(x > b) + x


def swallowed(x, a=1.0, b=2.0):
    try:
        y = scipy.special.j1(x - b)
    except Exception:
        y = x * 0
    return a * y


NO_EXPRESSIONS = [
    decision, chained, python_max, loop_until, summed, normalised, interpolated, special, of_math, decided,
    decided_for_all, compared, guarded_by_another, guarded_often, shifted_where_needed,
    by_index, from_the_first_on, compressed, into_the_input, truths_get_numbers, writes,
    as_integer, remainder, by_number, complex_numbers, complex_order, complex_sums, error_of_complex,
    quantile_of_samples, other_quantile, reshaped, truths_subtracted, swallowed,
]  # fmt: skip


@pytest.mark.parametrize("function", NO_EXPRESSIONS)
def test_code_that_is_no_expression_of_samples_is_told(function: Callable[..., Any]) -> None:
    with pytest.raises(CannotTrace):
        written(traced(problem_of(model_of(function))))


def test_functions_that_only_share_their_name_with_numpys_are_told() -> None:
    other = np.frompyfunc(lambda v: 2 * v, 1, 1)

    class Called:
        """A ufunc of someone else's that is called ``exp``."""

        __name__ = "exp"

        def __call__(self, x: Any) -> Any:
            return x.__array_ufunc__(self, "__call__", x) if hasattr(x, "graph") else other(x)

    exp = Called()
    with pytest.raises(CannotTrace, match="not NumPy's"):
        written(traced(problem_of(model_of(lambda x, a=1.0: a * exp(x)))))


def test_ties_that_decide_are_told() -> None:
    model = M.Gaussian1D(1, 2, 3, tied={"stddev": lambda m: m.mean if m.mean > 1 else 2.0})
    with pytest.raises(CannotTrace):
        written(traced(problem_of(model)))


# --- code that hides something from symbols


def engines(model: Model, data: xr.DataArray, dim: Any = "x", **options: Any) -> tuple[xr.Dataset, xr.Dataset, str]:
    """The fit by NumPy, the fit that may be compiled, and what did that."""
    fits = [
        xr_modelfit.fit(data, model, dim, fitter=BatchLSQFitter(engine=engine), errors="ignore", **options)
        for engine in ("numpy", "numba")
    ]
    record = json.loads(fits[1]["fit_status"].attrs["modelfit_record"])
    return fits[0], fits[1], record["engine"]


def same_fits(model: Model, data: xr.DataArray, dim: Any = "x", **options: Any) -> str:
    """Which engine did the work; its answer is that of the other, to the last bit where it is the other."""
    numpy, numba, engine = engines(model, data, dim, **options)
    for name in numpy.data_vars:
        if engine == "numpy":
            assert_array_equal(numba[name], numpy[name])
        elif f"{name}_stderr" in numpy:
            assert_allclose(numba[name] - numpy[name], 0, atol=1e-6 * float(numpy[f"{name}_stderr"].max()))
    return engine


def samples_of(function: Callable[..., Any], p: Sequence[float], n: int = 60, noise: float = 0.01) -> xr.DataArray:
    x = np.linspace(0.2, 6.7, n)
    y = np.broadcast_to(np.asarray(function(x.copy(), *p), dtype=float), x.shape)
    y = y + noise * np.random.default_rng(7).normal(size=(3, n))
    return xr.DataArray(y, dims=("p", "x"), coords={"x": x})


@pytest.mark.slow
@pytest.mark.parametrize("function", [decision, python_max, interpolated, special, decided, writes, summed, remainder])
def test_what_is_no_expression_is_fitted_by_numpy(function: Callable[..., Any]) -> None:
    """Silently, and the record says so."""
    model = custom_model(function)(1.1, 1.8)
    assert same_fits(model, samples_of(function, (1.2, 1.9))) == "numpy"


def hinge(x, a=1.0, b=3.0, c=-0.5):
    return np.piecewise(x, [x < b], [lambda v: a * v, lambda v: a * b + c * (v - b)])


def plateau(x, a=1.0, b=2.6, c=4.0):
    y = np.zeros_like(x)
    rising, falling = x < b, x > c
    y[rising] = a * (x[rising] / b) ** 2
    y[~rising] = a
    y[falling] = a * np.exp(c - x[falling])
    return y


@pytest.mark.parametrize(("function", "truth"), [(hinge, (1.2, 3.15, -0.6)), (plateau, (1.3, 2.9, 4.3))])
def test_fits_of_pieces_are_those_of_scipy(function: Callable[..., Any], truth: Sequence[float]) -> None:
    data = samples_of(function, truth, n=90, noise=0.005)
    model = custom_model(function)()
    assert same_fits(model, data) == "numba"
    result = xr_modelfit.fit(data, model, "x", fitter=BatchLSQFitter(engine="numba"))
    x = data["x"].values
    for k, y in enumerate(data.values):
        best = least_squares(lambda p, y=y: function(x, *p) - y, truth, xtol=1e-15, ftol=1e-15, gtol=1e-15)
        assert result["fit_status"][k] == 1
        for name, value in zip(result.modelfit.params, best.x, strict=True):
            one = result.isel(p=k)
            # A kink may lie between two samples here or there: its chi-square is smooth in between, so both end alike.
            assert abs(one[name].item() - value) < 1e-3 * one[f"{name}_stderr"].item()


LIMIT = 1.5


def lie_by_type(x, a=1.0, b=1.4):
    y = a * np.exp(-b * x)
    return y + (np.where(b > 2, 0.1, 0.0) * x if isinstance(x, np.ndarray) else 0.0)


def lie_by_type_everywhere(x, a=1.0, b=1.4):
    return a * np.exp(-b * x) if isinstance(x, np.ndarray) else a * np.exp(-b * x * 1.0000001)


def lie_by_size(x, a=1.0, b=1.4):
    x = np.asarray(x)
    return a * np.exp(-b * x) if x.size <= 200 else a * np.exp(-2 * b * x)


def lie_by_length(x, a=1.0, b=1.4):
    return a * np.exp(-b * x) if x.shape[0] <= 200 else a * np.exp(-2 * b * x)


def lie_by_largest(x, a=1.0, b=1.4):
    x = np.asarray(x)
    return a * np.exp(-b * x / x.max())


def lie_by_length_as_number(x, a=1.0, b=1.4):
    return a * np.exp(-b * x) + x.shape[0]


def lie_by_iteration(x, a=1.0, b=1.4):
    return a * np.exp(-b * x) * (1 if np.iterable(x) else 2)


def lie_by_alias(x, a=1.0, b=1.4):
    y = x
    y += b
    return a * np.exp(-x) + y


def lie_about_negatives(x, a=1.0, b=1.4):
    y = a * np.exp(-np.abs(b) * x)
    return np.where(a < -0.5, 2 * y, y) if type(x) is np.ndarray else y


def lie_about_negative_coordinates(x, a=1.0, b=1.4):
    return a * np.exp(-b * np.abs(x)) if hasattr(x, "strides") else a * np.exp(-b * x)


HIDDEN = [
    lie_about_negative_coordinates,
    lie_by_type, lie_by_type_everywhere, lie_by_size, lie_by_length, lie_by_largest, lie_by_length_as_number,
    lie_by_iteration, lie_by_alias, lie_about_negatives,
]  # fmt: skip


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("function", HIDDEN)
def test_code_that_treats_symbols_in_another_way_is_found_out(function: Callable[..., Any]) -> None:
    """By type, by size, by what it returns for something that is no array: near the start, or far from it."""
    model = custom_model(function)(1.1, 1.3)
    assert same_fits(model, samples_of(function, (1.2, 2.5), n=260)) == "numpy"


@pytest.mark.parametrize("n", [60, 260])
@pytest.mark.parametrize("function", [f for f in HIDDEN if f is not lie_by_alias])  # whose code changes its input
def test_code_that_treats_symbols_in_another_way_has_its_own_derivatives(function: Callable[..., Any], n: int) -> None:
    """NumPy takes derivatives from what a model does with symbols too."""
    data = samples_of(function, (1.2, 2.5), n=n)
    x, y = data["x"].values, data.values
    fit = xr_modelfit.fit(data, custom_model(function)(1.1, 1.3), "x", fitter=BatchLSQFitter(engine="numpy"))
    assert np.all(fit["fit_status"] == 1)
    for i in range(3):
        right = least_squares(lambda p, y=y[i]: y - function(x, *p), (1.1, 1.3), xtol=1e-15, ftol=1e-15, gtol=1e-15)
        errors = np.sqrt(np.diag(np.linalg.inv(right.jac.T @ right.jac)) * 2 * right.cost / (n - 2))
        for name, value, error in zip("ab", right.x, errors, strict=True):
            assert_allclose(fit[name][i], value, rtol=0, atol=1e-4 * error)  # scipy's differences end there
            assert_allclose(fit[f"{name}_stderr"][i], error, rtol=1e-4)


def test_globals_are_those_of_the_call() -> None:
    """As for the NumPy engine: another value, another source."""

    def function(x, a=1.0, b=1.4):
        return a * np.exp(-b * x) if LIMIT > 1 else a * x + b

    model = model_of(function)
    before = written(traced(problem_of(model)))
    globals()["LIMIT"] = 0.5
    try:
        assert written(traced(problem_of(model))) != before
    finally:
        globals()["LIMIT"] = 1.5


def test_truths_are_counted_as_numpy_counts_them_wherever_a_fit_goes() -> None:
    """Windows that do not overlap at the start, and do at the minimum."""

    def windows(x, a=1.0, low=5.0, high=2.0):
        return a * np.minimum((x > low) + (x < high), 0.7) + 0.1 * low * x - 0.2 * high * x * x

    model = custom_model(windows)(1.0, 5.0, 2.0)
    assert same_fits(model, samples_of(windows, (2.0, 3.0, 4.0), noise=1e-3)) == "numba"


# --- the page

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
BEGIN, END = "<!-- made by tests/fitters/test_compiled_models.py -->\n", "<!-- end -->"
WHY = {
    "j1": "a special function, `j1`",
    "valid Python or Numpy numeric": "it computes with quantities",
}


def row(name: str) -> tuple[str, str, str]:
    """Which engine fits a model of astropy with ``engine="numba"``, and why, from a real fit."""
    case, told = CASES[name], {}

    def asked(problem: Any, inputs: Any, engine: str, *rest: Any) -> str | None:
        told["linear"] = problem.traits.linear
        try:
            told["slow"] = is_slow(written(traced(problem)))
        except CannotTrace as error:
            told["cause"] = str(error)
        source = compiled_source(problem, inputs, "numba", *rest)
        told["engine"] = "NumPy" if source is None else "compiled"
        return source

    from xr_modelfit.fitters.compiled.choice import compiled_source
    from xr_modelfit.tracing.source import is_slow

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(resolve, "compiled_source", asked)
        fitted(case, measured(case))
    if told["engine"] == "compiled":
        return name, "compiled", 'only with `engine="numba"`: slow functions' if told["slow"] else ""
    if told["linear"]:
        return name, "NumPy", "linear, solved at once"
    return name, "NumPy", next((why for part, why in WHY.items() if part in told.get("cause", "")), "UNKNOWN")


@pytest.mark.slow
def test_the_page_says_which_models_are_compiled() -> None:
    """Every model of astropy that can be fitted, by real fits."""
    rows = [row(name) for name in CLASSES if name in CASES]
    lines = ["| model | engine | why |", "|---|---|---|", *(f"| `{n}` | {e} | {w} |" for n, e, w in rows)]
    table = "\n" + "\n".join(line.replace("|  |", "| |") for line in lines) + "\n\n"
    text = PAGE.read_text(encoding="utf-8")
    told = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert told == table, f"the table should be\n{table}"
