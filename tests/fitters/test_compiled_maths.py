"""Functions of compiled loops against NumPy's in extended precision, and NumPy's own on special values."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal

numba = pytest.importorskip("numba", reason="functions that numba compiles")
from xr_modelfit.fitters.compiled import maths  # noqa: E402
from xr_modelfit.fitters.compiled.vectors import load, save  # noqa: E402
from xr_modelfit.tracing.source import LANES  # noqa: E402

pytestmark = pytest.mark.quick_share(3)

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= np.finfo(float).nmant, reason="long double has no more digits here"
)
TINY, SMALLEST, LARGEST = np.finfo(float).tiny, np.nextafter(0.0, 1.0), np.finfo(float).max
SPECIAL = np.array(
    [*(s * x for x in (0.0, 1.0, 0.5, 2.0, 3.0, TINY, SMALLEST, LARGEST, 1e300, np.inf, np.nan) for s in (1, -1)),
     np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)]
)  # fmt: skip


def compiled(name: str) -> Callable[..., np.ndarray]:
    """A function as loops have it."""
    function = maths.namespace()[name]
    if name in ("power", "hypot"):

        @numba.njit(error_model="numpy")
        def loop(x, y, out):
            for i in range(len(x)):
                save(out, i, function(load(x, i), load(y, i)))

    else:

        @numba.njit(error_model="numpy")
        def loop(x, out):
            for i in range(len(x)):
                save(out, i, function(load(x, i)))

    def values(*arguments: np.ndarray) -> np.ndarray:
        arguments = tuple(np.asarray(a, dtype=float) for a in np.broadcast_arrays(*arguments))
        size = arguments[0].size
        rows = -(-size // LANES)
        out = np.empty((rows, LANES))
        loop(*(np.resize(a, (rows, LANES)) for a in arguments), out)
        return out.ravel()[:size].reshape(arguments[0].shape)

    return values


def units_off(name: str, *arguments: np.ndarray) -> float:
    """The largest error in units in the last place of the result; where that is infinite in float64, so is ours."""
    found = compiled(name)(*arguments)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(*(a.astype(np.longdouble) for a in arguments))
        rounded = exact.astype(float)
        assert np.isfinite(found).any()
        there = np.isfinite(rounded) & np.isfinite(found)
        edge = np.abs(exact) >= LARGEST * (1 - 2.0**-51)  # a rounding may end on either side of the largest number
        assert_array_equal(found[~there & ~edge], rounded[~there & ~edge])
        off = np.abs(found[there] - exact[there]) / np.spacing(np.abs(rounded[there]))
    return float(np.max(off))


def signed_powers_of_ten(low: float, high: float, n: int = 200_000) -> np.ndarray:
    rng = np.random.default_rng(3)
    # NumPy's powers may differ in the last bit from run to run, by where arrays lie in memory.
    return np.concatenate([s * np.array([10.0**p for p in rng.uniform(low, high, n).tolist()]) for s in (-1, 1)])


def positive() -> np.ndarray:
    """All magnitudes, denormal ones too, and the neighbourhood of 1, where logarithms vanish."""
    rng = np.random.default_rng(4)
    near = 1.0 + np.concatenate([rng.uniform(-0.4, 0.8, 100_000), signed_powers_of_ten(-16, -1, 50_000)])
    denormal = rng.integers(1, 2**52, 50_000).view(float)
    return np.concatenate([np.exp(rng.uniform(-708, 709, 200_000)), near, denormal])


@extended
@pytest.mark.parametrize(
    ("name", "most", "x"),
    [
        ("exp", 1.0, np.concatenate([np.linspace(-746, 710, 500_001), signed_powers_of_ten(-20, 0)])),
        ("exp2", 1.0, np.concatenate([np.linspace(-1076, 1025, 500_001), signed_powers_of_ten(-20, 0)])),
        ("log", 1.0, positive()),
        ("log2", 2.0, positive()),
        ("log10", 2.0, positive()),
        ("sin", 1.0, signed_powers_of_ten(-300, 12)),
        ("sin", 1.0, signed_powers_of_ten(-2, 12)),
        ("sin", 1.0, np.pi / 4 * np.arange(-100_000, 100_000)),
        ("sin", 1.0, signed_powers_of_ten(12, 12.9)),
        ("cos", 1.0, signed_powers_of_ten(-2, 12)),
        ("cos", 1.0, np.pi / 4 * np.arange(-100_000, 100_000)),
        ("cos", 1.0, signed_powers_of_ten(12, 12.9)),
        ("tan", 3.0, signed_powers_of_ten(-300, 12)),
        ("tan", 3.0, signed_powers_of_ten(-2, 12)),
        ("tan", 3.0, np.pi / 4 * np.arange(-100_000, 100_000)),
        ("arctan", 1.0, np.concatenate([np.linspace(-4, 4, 500_001), signed_powers_of_ten(-300, 300)])),
    ],
    ids=lambda v: None if isinstance(v, np.ndarray) else str(v),
)
def test_functions_are_right_to_the_last_digits(name: str, most: float, x: np.ndarray) -> None:
    assert units_off(name, x) <= most


@extended
@pytest.mark.parametrize(("most", "largest"), [(3.0, 100.0), (45.0, 1e16)])
def test_powers_are_right_to_the_last_digits(most: float, largest: float) -> None:
    """Wherever the result is a number: to the last digits for exponents up to 100, fourteen (45 units) beyond."""
    rng = np.random.default_rng(5)
    exponent = signed_powers_of_ten(-3, np.log10(largest))
    base = np.exp(np.clip(rng.uniform(-745, 709, exponent.size) / exponent, -745, 709))
    assert units_off("power", base[base > 0], exponent[base > 0]) <= most
    denormal = rng.integers(1, 2**52, 100_000).view(float)
    assert units_off("power", denormal, rng.uniform(-1, 1, denormal.size) * 0.95) <= 2.0


@extended
def test_powers_of_negative_numbers_to_whole_exponents() -> None:
    rng = np.random.default_rng(6)
    base = -np.exp(rng.uniform(-20, 20, 200_000))
    assert units_off("power", base, rng.integers(-35, 36, base.size).astype(float)) <= 2.0


@extended
def test_hypotenuses_neither_overflow_nor_vanish() -> None:
    """For sides of any size, alike or not."""
    rng = np.random.default_rng(7)
    a = signed_powers_of_ten(-320, 307)
    for ratio in (1.0, 1e-3, 1e-12):
        assert units_off("hypot", a, a * ratio * rng.uniform(0.5, 2, a.size)) <= 2.0


@pytest.mark.parametrize("name", ["exp", "exp2", "log", "log2", "log10", "sin", "cos", "tan", "arctan"])
def test_special_values_are_those_of_numpy(name: str) -> None:
    """Infinite, NaN and zero where NumPy's are, with their signs; an infinite angle has no sine."""
    x = SPECIAL[np.abs(SPECIAL) <= 1e12] if name in ("sin", "cos", "tan") else SPECIAL
    x = np.concatenate([x, [np.inf, -np.inf, np.nan]])
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    found = compiled(name)(x)
    same_class(found, expected, x)


def test_special_powers_are_those_of_numpy() -> None:
    """Every special base to every special exponent, huge and odd ones too; huge odd ones count as even."""
    exponents = np.concatenate([SPECIAL, [7.0, -7.0, 8.0, 2.0**53, 2.0**52 + 1, -(2.0**51) + 1, 1e17, 2.5, 1 / 3]])
    base, exponent = np.meshgrid(SPECIAL, exponents)
    with np.errstate(all="ignore"):
        expected = np.power(base, exponent)
        odd = (base < 0) & (np.abs(exponent) >= 2.0**51) & (np.abs(exponent) % 2 == 1)  # said to count as even
    found = compiled("power")(base, exponent)
    same_class(np.where(odd, np.abs(found), found), np.where(odd, np.abs(expected), expected), base, exponent)


def test_special_hypotenuses_are_those_of_numpy() -> None:
    a, b = np.meshgrid(SPECIAL, SPECIAL)
    with np.errstate(all="ignore"):
        expected = np.hypot(a, b)
    same_class(compiled("hypot")(a, b), expected, a, b)


def same_class(found: np.ndarray, expected: np.ndarray, *arguments: np.ndarray) -> None:
    """Equal where not finite or zero, to two units elsewhere."""
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= 2 * np.spacing(np.abs(expected))
    finite = np.isfinite(expected)
    same = np.where(finite, near, (found == expected) | (np.isnan(found) & np.isnan(expected)))
    assert same.all(), [a[~same] for a in (*arguments, found, expected)]
    negative = np.signbit(found) != np.signbit(expected)
    wrong = negative & (expected != 0) & ~np.isnan(expected)
    assert not wrong.any(), [a[wrong] for a in (*arguments, found, expected)]
