"""Units of parameters from the expression: equal to those worked out by hand, whatever the start values."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model, fix_inputs
from astropy.modeling import models as M
from hypothesis import given, settings
from hypothesis import strategies as st

from support.astropy_models import CLASSES
from support.unit_tables import BY_HAND, CUSTOM, Powers, powers, written
from xr_modelfit import BatchLSQFitter
from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.parameter_units.dimensions import Dimension, Dimensions, Units, dimensions

pytestmark = pytest.mark.quick_share(3)

F = Fraction
KM = Units(u.K, (u.km,), (0,), (0,))
KM_KM = Units(u.K, (u.km, u.km), (0, 0), (0, 0))
KM_S = Units(u.K, (u.km, u.s), (0, 1), (0, 1))


def shown(one: Dimension | None) -> Powers | str | None:
    if one is None:
        return None
    assert not one.given
    if one.unit is not None and one.unit != u.rad:
        return str(one.unit)
    return (one.output, *one.inputs, F(0), F(0))[:3]


def found(model: Model, units: Units = KM) -> list[Any]:
    return [shown(one) for one in dimensions(model, units).each]


def with_starts(model: Model, seed: int) -> Model:
    """The same with other numbers, of all sizes and signs."""
    rng = np.random.default_rng(seed)
    other = model.copy()
    for name in model.param_names:
        value = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-15, 15) if rng.uniform() < 0.9 else 0.0
        getattr(other, name).value = value
    return other


# --- all models of astropy with one input or two
OTHERS = {"BlackBody", "NFW"}  # which have units of their own
WITHOUT = {"Identity", "Mapping", "Spline1D"}  # parameters, or values that follow from them


def test_the_table_has_all_models_of_astropy() -> None:
    def fits(cls: Any) -> bool:
        inputs = cls.n_inputs if isinstance(cls.n_inputs, int) else len(inspect.signature(cls.evaluate).parameters)
        return inputs in (1, 2) and cls.n_outputs == 1

    names = {name for name, cls in CLASSES.items() if name in WITHOUT or fits(cls)}
    assert names - OTHERS - WITHOUT == set(BY_HAND)


@pytest.mark.parametrize("name", list(BY_HAND))
def test_models_of_astropy(name: str) -> None:
    make, right = BY_HAND[name]
    model = make()
    units = KM if model.n_inputs == 1 else KM_KM
    expected = [powers(text) for text in right]
    assert found(model, units) == expected
    for seed in range(8):
        assert found(with_starts(model, seed), units) == expected


# --- custom expressions

OPEN_HERE = {"logarithm of the input": [0]}


def expected(name: str) -> list[Powers | None]:
    """What is to be found; None where it is open."""
    return [
        None if text.startswith(" or") or j in OPEN_HERE.get(name, ()) else powers(text)
        for j, text in enumerate(CUSTOM[name][1])
    ]


@pytest.mark.parametrize("name", list(CUSTOM))
def test_custom_expressions(name: str) -> None:
    assert found(written(name)) == expected(name)
    for seed in range(8):
        assert found(with_starts(written(name), seed)) == expected(name)


def test_there_are_forty() -> None:
    assert len(CUSTOM) >= 40


# --- the law that makes sense of them


def assert_same_physics(
    model: Model, other: Model, each: Sequence[Powers], values: np.ndarray, inputs: Sequence[np.ndarray]
) -> None:
    """Values of ``other`` in kilo-units, on coordinates in milli-units, are those of ``model``."""
    scaled = [v * 1e-3 ** float(y) * 1e3 ** float(x + z) for v, (y, x, z) in zip(values, each, strict=True)]
    with np.errstate(all="ignore"):
        before = np.asarray(evaluate_tree(model, inputs, list(values)))
        after = np.asarray(evaluate_tree(other, [x * 1e3 for x in inputs], scaled))
    assert np.isfinite(before).any()
    np.testing.assert_allclose(after * 1e3, before, rtol=1e-9, atol=1e-11 * np.nanmax(np.abs(before)))


@pytest.mark.parametrize("name", list(BY_HAND))
def test_other_units_give_the_same_values_by_models_of_astropy(name: str) -> None:
    if name in ("Shift", "RedshiftScaleFactor"):
        pytest.skip("only where input and output have the same unit does it make sense")
    if name == "Schechter1D":
        pytest.skip("its input is a magnitude, which has no factor")
    make, right = BY_HAND[name]
    model = make()
    each = [p for text in right if (p := powers(text)) is not None]
    if "Chebyshev" in name or "Legendre" in name or "Hermite" in name:
        pytest.skip("its domain has the unit of the input")
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = rng.uniform(0.3, 0.9, len(each))
        if name in ("KingProjectedAnalytic1D", "Ring2D"):
            values[-1] += 2.0
        inputs = [rng.uniform(0.1, 1.0, 40) for _ in range(model.n_inputs)]
        assert_same_physics(model, model, each, values, inputs)


@pytest.mark.parametrize("name", list(CUSTOM))
def test_other_units_give_the_same_values_by_custom_expressions(name: str) -> None:
    _, units, constants = CUSTOM[name]
    each = [p for text in units if (p := powers(text.rpartition(" or ")[2])) is not None]
    factors = {k: 1e3 ** float(powers(text)[1]) for k, (_, text) in constants.items()}  # type: ignore[index]
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = rng.uniform(0.3, 0.9, len(each))
        assert_same_physics(written(name), written(name, factors=factors), each, values, [rng.uniform(1.0, 3.0, 40)])


# --- any homogeneous expression

# Shapes of a pure number z.
SHAPES = (
    "np.exp(-{z})",
    "np.exp(-0.5 * ({z}) ** 2)",
    "1 / (1 + ({z}) ** 2)",
    "np.sin({z})",
    "np.log(1.5 + ({z}) ** 2)",
)
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
def terms(draw: Any, hidden: bool = False) -> tuple[str, list[Powers]]:
    """A sum of terms, and for each parameter its exponents."""
    parts, known = [], []

    def parameter(*e: Fraction) -> str:
        known.append((*e, F(0)))
        return f"p{len(known) - 1}"

    for _ in range(draw(st.integers(1, 3))):
        power = draw(st.sampled_from([0, 0, 1, 2]))
        height, of_term = draw(st.sampled_from(list(HEIGHTS.items())))
        term = [height.format(p=parameter(of_term, -of_term * power))]
        if power:
            term.append(f"x ** {power}")
        if draw(st.booleans()):
            pure, of_x = draw(st.sampled_from(list(PURE.items())))
            z = "x / 1.75" if hidden else pure.format(p=parameter(F(0), of_x))
            term.append(draw(st.sampled_from(SHAPES)).format(z=z))
        parts.append(" * ".join(term))
    return " + ".join(parts), known


@pytest.mark.parametrize("hidden", [False, True])
@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_any_homogeneous_expression(hidden: bool, data: Any) -> None:
    """Right; with a scale of its own in a shape, right or open, never wrong."""
    expression, right = data.draw(terms(hidden))
    arguments = ", ".join(f"p{j}=1.0" for j in range(len(right)))
    got = found(custom_model(eval(f"lambda x, {arguments}: {expression}", {"np": np}))())
    for j, (one, expected) in enumerate(zip(got, right, strict=True)):
        assert one == expected or (hidden and one is None), (expression, j, one)


# --- compounds, two inputs, ties


def test_compounds() -> None:
    """The trace sees through them."""
    line = M.Gaussian1D(2, 1, 0.3)
    Y, X, none = powers("Y"), powers("X"), None
    cases: dict[str, tuple[Model, list[Any]]] = {
        "sum": (line + M.Linear1D(), [Y, X, X, powers("Y X-1"), Y]),
        "difference": (line - M.Const1D(), [Y, X, X, Y]),
        "product": (M.Const1D(2) * line, [none, none, X, X]),
        "quotient": (line / M.Exponential1D(1, 2), [none, X, X, none, X]),
        "shifted": (M.Shift(0.1) | line, [X, Y, X, X]),
        "scaled after": (line | M.Scale(2), [none, X, X, none]),
        "scaled before": (M.Multiply(2) | line, [none, Y, none, none]),
        "behind a redshift": (M.RedshiftScaleFactor(0.1) | (line + M.Const1D()), [powers("1"), Y, X, X, Y]),
        "a held input": (fix_inputs(M.Planar2D(1, 2, 3), {"y": 1.5}), [powers("Y X-1"), Y, Y]),
        "seven lines": (sum((M.Gaussian1D() for _ in range(6)), M.Gaussian1D()), [Y, X, X] * 7),
    }
    for name, (model, right) in cases.items():
        assert found(model) == right, name


def test_two_inputs() -> None:
    """A turned ellipse mixes its axes; in two units its widths have none, and the expression says where."""
    turned = M.Gaussian2D(2, 2, 3, 1, 0.5, theta=0.4)
    answer = dimensions(turned, KM_S)
    assert [shown(one) for one in answer.each[:3]] == [powers("Y"), powers("X"), powers("Z")]
    assert answer.each[3:5] == (None, None)
    assert "'km'" in answer.contradictions[0]
    assert "'s'" in answer.contradictions[0]
    surface = M.Polynomial2D(2)
    right = ["Y", "Y X-1", "Y X-2", "Y Z-1", "Y Z-2", "Y X-1 Z-1"]
    assert found(surface, KM_S) == [powers(text) for text in right]


@pytest.mark.parametrize("spelled", [("m", "m", "s"), ("m", "metre", "s"), ("s", "m", "s"), ("m", "s", "s")])
def test_three_inputs_of_which_two_share_a_unit(spelled: tuple[str, str, str]) -> None:
    rng = np.random.default_rng(0)
    coords = {name: ("n", rng.normal(size=20), {"units": unit}) for name, unit in zip("xyz", spelled, strict=True)}
    data = xr.DataArray(rng.normal(size=20), dims="n", coords=coords, attrs={"units": "K"})
    plane = custom_model(lambda x, y, z, a=1.0, b=1.0, c=1.0: a * x + b * y + c * z)()
    result = data.modelfit(plane, dim="n", coords={name: name for name in "xyz"})
    for parameter, unit in zip("abc", spelled, strict=True):
        assert result[parameter].attrs["units"] in (f"K {unit}-1", f"K {unit.replace('metre', 'm')}-1")


def test_relations_between_units_are_no_contradictions() -> None:
    """Data in km2 over km: a square is data."""
    model = custom_model(lambda x, a=1.0: a + x**2)()
    assert dimensions(model, Units(u.km**2, (u.km,), (0,), (0,))).contradictions == ()
    wrong = dimensions(model, Units(u.m**2, (u.km,), (0,), (0,)))
    assert wrong.each == (None,)
    assert "'km' to the power 2" in wrong.contradictions[0]
    assert "'m2'" in wrong.contradictions[0]


def test_ties_are_equations() -> None:
    """What a factor hides, a tie may tell."""
    model = M.Const1D(2) * M.Gaussian1D(2, 1, 0.3)
    assert found(model)[0] is None
    model.amplitude_1.tied = lambda m: 2 * m.stddev_1
    assert found(model)[:2] == [powers("Y X-1"), powers("X")]
    model.amplitude_1.tied = lambda m: float(m.stddev_1.value)  # which symbols do not suit
    assert found(model)[0] is None


def test_models_that_cannot_be_traced() -> None:
    """What astropy says of the class, alone or in a sum; else nothing."""

    def decided(x: Any, a: float = 1.0) -> Any:
        return a * x if float(np.max(x)) > 0 else 0 * x

    both = dimensions(custom_model(decided)() + M.Const1D(), KM)
    assert both.by_rules
    assert both.each[0] is None
    assert shown(both.each[1]) == powers("Y")
    assert dimensions(M.AiryDisk2D() + M.Const2D(), KM_KM).each[3] == Dimension(F(0), (F(1),))


# --- places, widths, levels


def movements(model: Model, units: Units = KM) -> list[str]:
    kinds = []
    for one in dimensions(model, units).each:
        assert one is not None
        kinds.append("place" if one.place is not None else "width" if one.width else "level" if one.level else "")
    return kinds


def test_what_is_a_place_and_what_a_width() -> None:
    cases = {
        M.Gaussian1D: ["", "place", "width"],
        M.Voigt1D: ["place", "", "width", "width"],
        M.Box1D: ["", "place", "width"],
        M.Trapezoid1D: ["", "place", "width", ""],
        M.Linear1D: ["", "level"],
        M.PowerLaw1D: ["", "", ""],
        M.Exponential1D: ["", ""],
        M.Schechter1D: ["", "place", ""],
    }
    for cls, right in cases.items():
        assert movements(cls()) == right, cls
    both = M.Gaussian1D() + M.Gaussian1D() + M.Const1D()
    assert movements(both) == [*["", "place", "width"] * 2, "level"]
    assert movements(M.Const1D() + M.Linear1D()) == ["", "", ""]  # neither is the level
    assert movements(M.Gaussian1D() - M.Const1D())[-1] == ""  # its opposite
    assert movements(M.Gaussian2D(), KM_KM) == ["", "place", "place", "width", "width", ""]
    assert [one and one.place for one in dimensions(M.Gaussian2D(), KM_KM).each][1:3] == [0, 1]


# --- a unit that is given


X = np.linspace(0.0, 10.0, 50)


def labelled(values: Any, units: str = "K", x: str = "km") -> xr.DataArray:
    return xr.DataArray(values, dims="x", coords={"x": ("x", X, {"units": x})}, attrs={"units": units})


def units_of(result: xr.Dataset) -> dict[str, str | None]:
    return {str(n): result[n].attrs.get("units") for n in result.modelfit.params}


HELD = {"fixed": {"amplitude": True}}


def test_a_given_unit_sets_what_is_open_and_follows_through() -> None:
    data = labelled(np.exp(-0.5 * (X - 5) ** 2))
    model = M.Const1D(2, **HELD) * M.Gaussian1D(0.4, 5.1, 1.1)
    assert units_of(data.modelfit(model, dim="x"))["amplitude_1"] is None
    for p0, right, value in (
        ({"amplitude_0": 2 * u.s}, ("s", "K s-1"), 0.5),
        ({"amplitude_0": 2 * u.s, "amplitude_1": 300 * u.mK / u.s}, ("s", "mK s-1"), 500),
        ({"amplitude_1": 0.4 * u.one}, ("K", "1"), 0.5),
        ({"amplitude_0": xr.DataArray(2.0, attrs={"units": "s"})}, ("s", "K s-1"), 0.5),
    ):
        result = data.modelfit(model, dim="x", p0=p0)
        got = units_of(result)
        assert u.Unit(got["amplitude_0"]) == u.Unit(right[0])
        assert u.Unit(got["amplitude_1"]) == u.Unit(right[1])
        np.testing.assert_allclose(result["amplitude_1"], value, rtol=1e-6)
        np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-6)
    bounded = data.modelfit(model, dim="x", bounds={"amplitude_1": (0 * u.mK, 900 * u.mK)})
    assert units_of(bounded)["amplitude_1"] == "mK"


@pytest.mark.parametrize("formula", ["a * np.exp(-x / 10)", "a * np.log((x + 1) / 2)", "a * (1 - np.exp(-x / 3)) + b"])
def test_a_given_unit_that_can_be_converted_is_converted(formula: str) -> None:
    """Where a constant hides what a parameter is, a start in kilokelvins over data in kelvins sets no other scale."""
    model = custom_model(eval(f"lambda x, a=1.0{', b=0.5' * formula.count('b')}: {formula}", {"np": np}))
    data = labelled(model(a=3000.0)(X))
    result = data.modelfit(model(), dim="x", p0={"a": 2.5 * u.kK})
    assert result["a"].attrs["units"] == "kK"
    np.testing.assert_allclose(result["a"], 3.0, rtol=1e-6)
    other = data.modelfit(model(), dim="x", p0={"a": 2500 * u.s}, errors="ignore")  # as the expression allows
    assert other["a"].attrs["units"] == "s"
    for start in (20 * u.ABmag, 1 * u.dex(u.cm / u.s**2)):
        with pytest.raises(ValueError, match=r"p0\['a'\] is in"):
            data.modelfit(model(), dim="x", p0={"a": start})


@pytest.mark.parametrize("start", [20 * u.ABmag, 1 * u.dex(u.Jy)], ids=str)
def test_a_magnitude_of_the_data_is_refused(start: u.Quantity) -> None:
    """It is a logarithm of the data's unit, and no multiple: 20 mag(AB) is 36 uJy by definition, and not 29 kJy."""
    assert (20 * u.ABmag).to_value(u.uJy) == pytest.approx(36.3, rel=1e-3)
    data = labelled(np.exp(-0.5 * (X - 5) ** 2), units="Jy")
    for options in ({"p0": {"amplitude": start}}, {"bounds": {"amplitude": (start, None)}}):
        with pytest.raises(
            ValueError, match=r"'amplitude'\].* is in '(mag\(AB\)|dex\(Jy\))', which cannot be converted to 'Jy'"
        ):
            data.modelfit(M.Gaussian1D(1, 5, 1), dim="x", **options)
    warm = labelled(X, units="degC", x="d")
    with pytest.raises(ValueError, match="cannot be converted to 'degC d-1'"):
        warm.modelfit(M.Linear1D(), dim="x", p0={"slope": start})


def test_a_given_unit_that_the_expression_forbids() -> None:
    data = labelled(np.exp(-0.5 * (X - 5) ** 2))
    model = M.Const1D(2, **HELD) * M.Gaussian1D(0.4, 5.1, 1.1)
    with pytest.raises(ValueError, match=r"p0\['amplitude_1'\] is in 'mK', which cannot be converted to 'K s-1'"):
        data.modelfit(model, dim="x", p0={"amplitude_0": 2 * u.s, "amplitude_1": 300 * u.mK})


def test_a_rate_with_the_length_of_a_year_in_the_formula() -> None:
    """Nobody told whether 365.25 makes years of days, so the rate has no unit until it is given one; then, that one."""
    time = xr.date_range("2015-01-03", periods=60, freq="24D")
    days = ((time - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")).values
    values = 3 * (days - 17000) / 365.25 + 20 * (days >= 17655)
    data = xr.DataArray(values, dims="time", coords={"time": time}, attrs={"units": "mm"})

    def motion(t, offset=0.0, rate=0.0, step=0.0):
        return offset + rate * (t - 17000) / 365.25 + step * (t >= 17655.0)

    assert units_of(data.modelfit(motion, dim="time")) == {"offset": "mm", "rate": None, "step": "mm"}
    result = data.modelfit(motion, dim="time", p0={"rate": 0 * u.mm / u.yr})
    assert units_of(result) == {"offset": "mm", "rate": "mm yr-1", "step": "mm"}
    np.testing.assert_allclose(result["rate"], 3.0, rtol=1e-9)
    limits = {"rate": (-1 * u.cm / u.yr, 0.2 * u.cm / u.yr)}
    bounded = data.modelfit(motion, dim="time", p0={"rate": 0 * u.mm / u.yr}, bounds=limits)
    np.testing.assert_allclose(bounded["rate"], 2.0, rtol=1e-9)
    with pytest.raises(ValueError, match=r"'rate' is in 'kg'.*like 'mm d-1'"):
        data.modelfit(motion, dim="time", p0={"rate": 0 * u.kg})


def test_an_angle_may_be_given_in_degrees() -> None:
    """Where a wave takes it; astropy's phases are in cycles."""
    data = labelled(np.sin(2 * X + 0.3), x="s")
    wave = custom_model(lambda t, a=1.0, w=2.1, p=0.2: a * np.sin(w * t + p))()
    plain = data.modelfit(wave, dim="x")
    assert units_of(plain) == {"a": "K", "w": "s-1", "p": "1"}
    result = data.modelfit(wave, dim="x", p0={"w": 120 * u.deg / u.s, "p": 10 * u.deg})
    np.testing.assert_allclose([result["w"], result["p"]], np.rad2deg([2.0, 0.3]), rtol=1e-6)
    assert units_of(result) == {"a": "K", "w": "degree s-1", "p": "degree"}
    np.testing.assert_allclose(result.modelfit.evaluate(data), data, atol=1e-6)
    with pytest.raises(ValueError, match=r"'degree', which cannot be converted to '1'"):
        data.modelfit(M.Sine1D(1, 0.3, 0.0), dim="x", p0={"phase": 20 * u.deg})


def test_a_sine_over_degrees() -> None:
    degrees = np.linspace(0.0, 350.0, 50)
    coords = {"x": ("x", degrees, {"units": "degrees_east"})}
    data = xr.DataArray(2 * np.sin(np.deg2rad(degrees - 20)), dims="x", coords=coords, attrs={"units": "K"})

    def wave(x, a=1.5, place=15.0):
        return a * np.sin(np.deg2rad(x - place))

    result = data.modelfit(wave, dim="x")
    assert units_of(result) == {"a": "K", "place": "degrees_east"}
    np.testing.assert_allclose([result["a"], result["place"]], [2.0, 20.0], rtol=1e-6)


def test_magnitudes_are_logarithms_of_pure_numbers() -> None:
    mag = np.linspace(14.0, 20.0, 50)
    data = xr.DataArray(
        3 * 10 ** (-0.4 * (mag - 16)), dims="m", coords={"m": ("m", mag, {"units": "mag"})}, attrs={"units": "Jy"}
    )

    def flux(m, f0=2.0, zero=16.0):
        return f0 * 10 ** (-0.4 * (m - zero))

    result = data.modelfit(flux, dim="m", bounds={"zero": (16, 16)})
    assert units_of(result) == {"f0": "Jy", "zero": "mag"}
    np.testing.assert_allclose(result["f0"], 3.0, rtol=1e-6)


# --- arithmetic keeps units that are wrong


def test_units_that_arithmetic_kept_are_told() -> None:
    data = labelled(2 + 0.1 * X, units="s mm-2")
    with pytest.raises(ValueError, match=r"assign_attrs\(units='mm2 s-1'\)") as caught:
        data.modelfit(M.Linear1D(0.1, 2), dim="x", p0={"intercept": 1 * u.mm**2 / u.s})
    assert "arithmetic" in str(caught.value)
    right = data.assign_attrs(units="mm2 s-1")
    assert right.modelfit(M.Linear1D(0.1, 2), dim="x", p0={"intercept": 1 * u.mm**2 / u.s})["fit_status"] == 1
    with pytest.raises(ValueError, match=r"assign_attrs\(units='mm2 s-1'\)"):
        data.modelfit(M.Linear1D(0.1, 2), dim="x", p0={"slope": 1 * u.mm**2 / u.s / u.km})


# --- the whole way


def test_units_do_not_depend_on_starts() -> None:
    """Through the call: a width behind a redshift, from starts of any kind."""
    data = labelled(M.Gaussian1D(5, 5, 1)(X), "mJy", "Angstrom")
    for seed in range(5):
        model = with_starts(M.RedshiftScaleFactor(0.1) | (M.Gaussian1D(1, 5, 1) + M.Const1D(1)), seed)
        model.stddev_1 = abs(model.stddev_1.value) + 1e-9  # which has a bound
        result = data.modelfit(model, dim="x", fitter=BatchLSQFitter(maxiter=1), errors="ignore")
        assert list(units_of(result).values()) == ["1", "mJy", "Angstrom", "Angstrom", "mJy"]


def test_the_answer_is_that_of_the_last_call() -> None:
    """Kept answers are those of the same expression and the same units."""
    answers: list[Dimensions] = [dimensions(M.Linear1D(), units) for units in (KM, KM, Units(u.K, (u.s,), (0,), (0,)))]
    assert answers[0] is answers[1]
    assert answers[2].each == answers[0].each
