"""Dimensions of parameters, found out by trying a model: right or unknown, never wrong."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from astropy.modeling import Model, custom_model
from astropy.modeling.models import (
    Chebyshev1D,
    Const1D,
    Exponential1D,
    Gaussian1D,
    Gaussian2D,
    Hermite1D,
    Legendre1D,
    Linear1D,
    Multiply,
    Polynomial1D,
    Polynomial2D,
    PowerLaw1D,
    Scale,
    Shift,
    Sine1D,
)
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from xr_modelfit.dimension import Dimension
from xr_modelfit.scaling import dimensions

Exponents = tuple[Fraction, ...] | None  # of the output, then of each group of inputs
NEAR = np.linspace(0.3, 3.0, 60)
F = Fraction


def found(model: Model, probe: Any = NEAR, groups: Sequence[int] = (0,)) -> list[Exponents]:
    """What is found, one tuple of exponents for each parameter."""
    inputs = [probe] if isinstance(probe, np.ndarray) else list(probe)
    return [exponents(one, max(groups) + 1) for one in dimensions(model, inputs, list(groups))]


def exponents(one: Dimension | None, n_groups: int) -> Exponents:
    if one is None:
        return None
    return (one.output, *one.inputs, *[F(0)] * (n_groups - len(one.inputs)))


def written(expression: str, values: Sequence[float], inputs: str = "x") -> Model:
    """A model of an expression in p0, p1, ... as a user writes it."""
    arguments = ", ".join(f"p{j}={v!r}" for j, v in enumerate(values))
    return custom_model(eval(f"lambda {inputs}, {arguments}: {expression}", {"np": np}))()


# --- any homogeneous model

# Shapes of a pure number z.
SHAPES = {
    "exponential": "np.exp(-{z})",
    "Gaussian": "np.exp(-0.5 * ({z}) ** 2)",
    "Lorentzian": "1 / (1 + ({z}) ** 2)",
    "wave": "np.sin({z})",
    "hyperbola": "1 / (0.5 + np.abs({z}))",
    "logarithm": "np.log(1.5 + ({z}) ** 2)",
}
# How a parameter makes a pure number of x, and the power of x's dimension that it has.
PURE = {
    "x / {p}": F(1),
    "x * {p}": F(-1),
    "x / {p} ** 2": F(1, 2),
    "x * np.sqrt({p})": F(-2),
    "x ** 2 / {p}": F(2),
    "x ** 2 * {p} ** 3": F(-2, 3),
    "(x - {p}) / np.abs({p})": F(1),
}
# How a parameter is the height of a term, and the power of the term's dimension that it has.
HEIGHTS = {"{p}": F(1), "{p} ** 2": F(1, 2), "np.sqrt({p})": F(2), "1 / {p}": F(-1), "3 * {p}": F(1)}


@st.composite
def models(draw: Any, hidden: bool = False) -> tuple[str, list[Exponents]]:
    """An expression, and for each parameter its exponents; None where they cannot be known."""
    terms, known = [], []

    def parameter(*e: Fraction) -> str:
        known.append(tuple(e))
        return f"p{len(known) - 1}"

    for _ in range(draw(st.integers(1, 2))):
        power = draw(st.sampled_from([0, 0, 1, 2]))
        height, of_term = draw(st.sampled_from(list(HEIGHTS.items())))
        parts = [height.format(p=parameter(of_term, -of_term * power))]
        if power:
            parts.append(f"x ** {power}")
        if draw(st.booleans()):
            pure, of_x = draw(st.sampled_from(list(PURE.items())))
            z = "x / 1.75" if hidden else pure.format(p=parameter(F(0), of_x))
            parts.append(draw(st.sampled_from(list(SHAPES.values()))).format(z=z))
        terms.append(" * ".join(parts))
    if draw(st.booleans()):
        terms.append(parameter(F(1), F(0)))
    return " + ".join(terms), known


VALUES = st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.0, 1.3, 1.9, 2.0]), min_size=6, max_size=6)
UNEQUAL = st.lists(st.sampled_from([1e-17, 1e-9, 1e-3, 0.5, 1.3, 2.0, 77.0, 1e4, 1e9, 3e17]), min_size=6, max_size=6)
PROBES = st.sampled_from(
    [(0.3, 3.0), (-2.0, 2.5), (-3.0, -0.3), (0.0, 10.0), (5.0, 5.5), (100.0, 120.0), (-1e-3, 1e-3)]
)
QUIETLY = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def assert_never_wrong(got: Sequence[Exponents], right: Sequence[Exponents], what: str) -> None:
    for j, (one, expected) in enumerate(zip(got, right, strict=True)):
        assert one is None or one == expected, (what, j, one, expected)


@QUIETLY
@given(models(), VALUES | UNEQUAL, PROBES)
def test_a_homogeneous_model_is_never_misread(
    given_: tuple[str, list[Exponents]], values: list[float], ends: tuple[float, float]
) -> None:
    """Wherever it is tried. What the law leaves open is found in no case, or it would be a guess."""
    expression, right = given_
    got = found(written(expression, values[: len(right)]), np.linspace(*ends, 60))
    assert_never_wrong(got, right, expression)


@QUIETLY
@given(models(hidden=True), VALUES | UNEQUAL, PROBES)
def test_hidden_constants_mislead_nobody(
    given_: tuple[str, list[Exponents]], values: list[float], ends: tuple[float, float]
) -> None:
    """With a scale of its own in it, the dimensions are those of the text, or unknown."""
    expression, right = given_
    got = found(written(expression, values[: len(right)]), np.linspace(*ends, 60))
    assert_never_wrong(got, right, expression)


@QUIETLY
@given(
    st.sampled_from([F(1), F(2), F(-1), F(1, 2), F(3, 2)]),
    st.sampled_from([F(0), F(1), F(-1), F(2), F(1, 2)]),
    VALUES,
)
@example(F(1), F(0), [1.0] * 6)
def test_a_power_law_with_given_exponents(a: Fraction, q: Fraction, values: list[float]) -> None:
    """p0**(1/a) x**q (x/p1)**p2: what makes p0 alone is known only where p1 and p2 do not mix with it."""
    assume((6 * a * q).denominator == 1)
    model = written(f"p0 ** {float(1 / a)!r} * x ** {float(q)!r} * np.exp(-x / p1) ** p2", values[:3])
    p0, p1, p2 = found(model)
    assert p0 == (a, -a * q)
    assert p1 is None  # p2 / p1 is a rate: neither has a dimension of its own
    assert p2 is None


# --- what cannot be known

OPEN: dict[str, tuple[str, list[float], list[Exponents]]] = {
    "product of two": ("p0 * p1 * np.exp(-x / p2)", [2.0, 3.0, 1.0], [None, None, (F(0), F(1))]),
    "quotient of two": ("p0 / p1 + p2", [2.0, 3.0, 1.0], [None, None, (F(1), F(0))]),
    "a power that is free": ("p0 * (x / p1) ** p2", [2.0, 3.0, 1.0], [(F(1), F(0)), (F(0), F(1)), (F(0), F(0))]),
    "a power without a scale": ("p0 * x ** p1", [2.0, 1.0], [None, None]),
    "a power at once": ("p0 ** p1", [2.0, 1.0], [None, None]),
    "an exponential of a parameter": ("np.exp(p0) * x", [1.0], [None]),
    "a logarithm of the input": ("p0 * np.log(x) + p1", [1.0, 1.0], [None, (F(1), F(0))]),
    "a saturation": ("p0 * (1 - np.exp(-x / 10)) + p1", [1.0, 1.0], [None, (F(1), F(0))]),
    "a growth with a hidden scale": ("p0 * x * np.exp(-x / 10)", [1.0], [None]),
    "an effect below rounding": ("p0 + p1", [0.5, 1e-17], [(F(1), F(0)), None]),
    "no effect": ("p0 * x + 0 * p1", [1.0, 1.0], [(F(1), F(-1)), None]),
}


@pytest.mark.parametrize("name", list(OPEN))
@pytest.mark.parametrize("ends", [(0.3, 3.0), (-3.0, -0.3), (-2.0, 2.5), (50.0, 60.0)])
def test_what_is_open_stays_open(name: str, ends: tuple[float, float]) -> None:
    expression, values, right = OPEN[name]
    got = found(written(expression, values), np.linspace(*ends, 60))
    assert_never_wrong(got, right, expression)


@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("p0 + p1 * x + p2 * np.sin(2 * np.pi * x / 3.65) + p3 * np.cos(2 * np.pi * x / 3.65)", [0, -1, 0, 0]),
        ("p0 + p1 * x + p2 * x ** 2 + p3 * np.cos(2 * np.pi * x)", [0, -1, -2, 0]),
    ],
)
def test_a_trend_beside_hidden_waves(expression: str, right: list[int]) -> None:
    """The argument of a wave is a pure number, whatever constant makes it one: amplitudes are in the data's unit."""
    got = found(written(expression, [1.0] * 4), np.linspace(0.0, 20.0, 100))
    assert got == [(F(1), F(b)) for b in right]


# --- models as users have them

Y, Y_PER_X, X, PER_X, PURE_NUMBER = (F(1), F(0)), (F(1), F(-1)), (F(0), F(1)), (F(0), F(-1)), (F(0), F(0))
USED: dict[str, tuple[Callable[[], Model], list[Exponents]]] = {
    "decay": (lambda: written("p0 * np.exp(-x / p1) + p2", [2.0, 1.5, 0.5]), [Y, X, Y]),
    "decay by its rate": (lambda: written("p0 * np.exp(-p1 * x)", [2.0, 1.5]), [Y, PER_X]),
    "double logistic": (
        lambda: written(
            "p0 + p1 * (1 / (1 + np.exp((p2 - x) / p3)) - 1 / (1 + np.exp((p4 - x) / p5)))",
            [0.1, 0.8, 1.0, 0.1, 2.2, 0.2],
        ),
        [Y, Y, X, X, X, X],
    ),
    "line and line": (lambda: Gaussian1D(2, 1, 0.3) + Gaussian1D(1, 2, 0.2), [Y, X, X, Y, X, X]),
    "background and line": (lambda: Linear1D(1, 1) + Gaussian1D(2, 1, 0.3), [Y_PER_X, Y, Y, X, X]),
    "line less background": (lambda: Gaussian1D(2, 1, 0.3) - Polynomial1D(1, c0=1, c1=2), [Y, X, X, Y, Y_PER_X]),
    "product": (lambda: Const1D(2) * Gaussian1D(2, 1, 0.3), [None, None, X, X]),
    "quotient": (lambda: Gaussian1D(2, 1, 0.3) / Exponential1D(1, 2), [None, X, X, None, X]),
    "shifted": (lambda: Shift(0.1) | Gaussian1D(2, 1, 0.3), [X, Y, X, X]),
    "scaled after": (lambda: Gaussian1D(2, 1, 0.3) | Scale(2), [None, X, X, None]),
    "scaled before": (lambda: Multiply(2) | Gaussian1D(2, 1, 0.3), [None, Y, None, None]),
    "scale": (lambda: Scale(2), [Y_PER_X]),
    "wave": (lambda: Sine1D(2, 0.7, 0.1), [Y, PER_X, PURE_NUMBER]),
    "power law": (lambda: PowerLaw1D(2, 1.5, 0.7), [Y, X, PURE_NUMBER]),
    "mapped polynomial": (lambda: Polynomial1D(2, c0=1, c1=2, c2=3, domain=(0, 4)), [Y, Y, Y]),
    "mapped Chebyshev": (lambda: Chebyshev1D(3, domain=(0, 4), c0=1, c1=1, c2=1, c3=1), [Y] * 4),
    "mapped Legendre": (lambda: Legendre1D(2, domain=(0, 4), c0=1, c1=1, c2=1), [Y] * 3),
    "mapped Hermite": (lambda: Hermite1D(2, domain=(0, 4), c0=1, c1=1, c2=1), [Y] * 3),
}


@pytest.mark.parametrize("name", list(USED))
def test_models_as_users_have_them(name: str) -> None:
    make, right = USED[name]
    assert found(make()) == right


def test_two_inputs_of_one_unit_or_two() -> None:
    """A turned ellipse mixes its axes, so it has no dimensions where these are in different units."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 4, 12), np.linspace(1, 5, 12)))
    turned = Gaussian2D(2, 2, 3, 1, 0.5, theta=0.4)
    got = dimensions(turned, [x, y], [0, 0])
    assert [exponents(e, 1) for e in got[:5]] == [Y, X, X, X, X]
    assert found(turned, [x, y], (0, 1))[1:5] == [None] * 4
    surface = Polynomial2D(2, c0_0=1, c1_0=1, c0_1=1, c1_1=1, c2_0=1, c0_2=1)
    right = {"c0_0": (0, 0), "c1_0": (-1, 0), "c2_0": (-2, 0), "c0_1": (0, -1), "c0_2": (0, -2), "c1_1": (-1, -1)}
    got = dict(zip(surface.param_names, found(surface, [x, y], (0, 1)), strict=True))
    assert got == {n: (F(1), F(a), F(b)) for n, (a, b) in right.items()}


# --- where there is little to see


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3, 1e9])
def test_a_narrow_line_far_from_the_coordinates(width: float, mean: float) -> None:
    """It says nothing there; rules are not believed without having been seen to hold."""
    line, written_line = (
        Gaussian1D(2, mean, width),
        written("p0 * np.exp(-0.5 * ((x - p1) / p2) ** 2)", [2, mean, width]),
    )
    for model in (line, written_line, line + Const1D(1), written_line + Const1D(1)):
        for probe in (np.linspace(40.0, 50.0, 60), mean + width * np.linspace(-3, 3, 60)):
            assert_never_wrong(found(model, probe)[:3], [Y, X, X], str(model.param_names))


@pytest.mark.parametrize(
    "model",
    [
        Linear1D(0, 0),
        Polynomial1D(3),
        Gaussian1D(0, 0, 1),
        Sine1D(0, 1, 0),
        written("p0 * np.exp(-x / p1) + p2", [0.0, 1.5, 0.0]),
        written("p0 + p1 * x", [0.0, 0.0]),
        Linear1D(0, 0) + Gaussian1D(0, 0, 1),
    ],
    ids=["line", "cubic", "Gaussian", "wave", "decay", "written line", "sum"],
)
def test_starts_at_zero_say_as_much_as_others(model: Model) -> None:
    """The dimension is that of the parameter, not of its number."""
    ones = model.copy()
    ones.parameters = np.where(np.array(model.parameters) == 0, 1.0, model.parameters)
    assert None not in found(model)
    assert found(model) == found(ones)


@pytest.mark.parametrize("scale", [1e-17, 1e-6, 1.0, 1e9, 1e17])
def test_scale_free(scale: float) -> None:
    """Heights and places in any unit."""
    lines = Gaussian1D(2 * scale, 1 / scale, 0.3 / scale) + written(
        "p0 * np.exp(-x / p1) + p2", [2.0 * scale, 1.5 / scale, 0.5 * scale]
    )
    assert found(lines, NEAR / scale) == [Y, X, X, Y, X, Y]
