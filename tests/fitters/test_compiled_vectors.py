"""Operators on numbers of fits side by side against NumPy's, lane by lane."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

numba = pytest.importorskip("numba", reason="a type for code that numba compiles")
from xr_modelfit.fitters.compiled import vectors  # noqa: E402
from xr_modelfit.fitters.compiled.vectors import anywhere, as_bits, as_numbers, choose, fma, load, save, wide  # noqa: E402
from xr_modelfit.tracing.source import LANES  # noqa: E402

pytestmark = pytest.mark.quick_share(3)

SPECIAL = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 1e-310])
assert SPECIAL.size == LANES
A = np.stack([np.roll(SPECIAL, shift) for shift in range(LANES)])
B = np.broadcast_to(SPECIAL, A.shape)


def rows(body: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """What a compiled function makes of the lanes of each row."""
    function = numba.njit(error_model="numpy")(body)
    if len(arrays) == 1:

        @numba.njit
        def loop(out, a):
            for i in range(len(a)):
                save(out, i, function(load(a, i)))

    else:

        @numba.njit
        def loop(out, a, b):
            for i in range(len(a)):
                save(out, i, function(load(a, i), load(b, i)))

    out = np.empty(arrays[0].shape)
    loop(out, *(np.ascontiguousarray(a) for a in arrays))
    return out


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
def test_arithmetic(name: str) -> None:
    """Of lanes with lanes, and with single numbers on either side."""
    op = getattr(operator, name)
    with np.errstate(all="ignore"):
        assert_array_equal(rows(lambda a, b: op(a, b), A, B), op(A, B))
        assert_array_equal(rows(lambda a: op(a, 0.25), A), op(A, 0.25))
        assert_array_equal(rows(lambda a: op(3, a), A), op(3, A))


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons(name: str) -> None:
    op = getattr(operator, name)
    assert_array_equal(rows(lambda a, b: choose(op(a, b), 1.0, 0.0), A, B), op(A, B))
    assert_array_equal(rows(lambda a: choose(op(a, 1.5), 1.0, 0.0), A), op(A, 1.5))
    assert_array_equal(rows(lambda a: choose(op(0, a), 1.0, 0.0), A), op(0, A))


def test_truths() -> None:
    a, b = A > 0, B < 1
    assert_array_equal(rows(lambda a, b: choose((a > 0.0) & (b < 1.0), 1.0, 0.0), A, B), a & b)
    assert_array_equal(rows(lambda a, b: choose((a > 0.0) | (b < 1.0), 1.0, 0.0), A, B), a | b)
    assert_array_equal(rows(lambda a: choose(not (a > 0.0), 1.0, 0.0), A), ~a)
    assert_array_equal(rows(lambda a: choose((a > 0.0) & False, 1.0, 0.0), A), 0.0)
    assert_array_equal(rows(lambda a: choose((a > 0.0) | True, 1.0, 0.0), A), 1.0)
    assert_array_equal(rows(lambda a, b: choose(choose(a > 0.0, b < 1.0, a > 0.0), 1.0, 0.0), A, B), np.where(a, b, a))


@pytest.mark.parametrize("which", range(LANES))
def test_what_holds_anywhere(which: int) -> None:
    """It is seen in every lane, and not where it holds nowhere."""
    one = np.zeros((2, LANES))
    one[0, which] = 1.0
    found = rows(lambda a: wide(1.0) if anywhere(a == 1.0) else wide(0.0), one)
    assert_array_equal(found, [[1.0] * LANES, [0.0] * LANES])


def test_choices_signs_and_sizes() -> None:
    assert_array_equal(rows(lambda a, b: choose(a < b, a, b), A, B), np.where(A < B, A, B))
    assert_array_equal(np.signbit(rows(lambda a: -a, A)), np.signbit(-A))
    assert_array_equal(rows(lambda a: abs(a), A), np.abs(A))


@pytest.mark.parametrize("name", ["floor", "ceil", "rint", "trunc"])
def test_roundings(name: str) -> None:
    x = np.random.default_rng(1).normal(scale=3, size=(50, LANES))
    x[0], x[1] = SPECIAL, np.arange(LANES) + 0.5
    function = vectors.ROUNDED[name]
    assert_array_equal(rows(lambda a: function(a), x), getattr(np, name)(x))


def test_bits() -> None:
    """The exponent of a float, by whole numbers."""
    x = np.ldexp(1.0, np.arange(-500, 500).reshape(-1, LANES))
    assert_array_equal(rows(lambda a: as_numbers(((as_bits(a) >> 52) + 1) << 52), x), 2 * x)
    assert_array_equal(rows(lambda a: as_numbers(vectors.half_of(as_bits(a)) << 1), x), x)
    assert_array_equal(rows(lambda a: choose((as_bits(a) & 1) == 0, 1.0, 0.0), x), 1.0)


def test_a_product_and_a_sum_are_rounded_once() -> None:
    """``a * a - round(a * a)`` is what rounding has lost, by whole numbers of 2^-60."""
    x = 1.0 + np.random.default_rng(2).integers(1, 2**30, (20, LANES)) * 2.0**-30
    whole = (x * 2**30).astype(np.int64).astype(object)
    lost = whole * whole - np.vectorize(int, otypes=[object])(x * x * 2.0**60)
    assert np.any(lost != 0)
    assert_array_equal(rows(lambda a, b: fma(a, a, b), x, -(x * x)) * 2.0**60, lost.astype(float))


def test_single_lanes() -> None:
    """Read, and put back, one by one."""

    def backwards(a):
        b = a
        for lane in range(LANES):
            b = vectors.with_lane(b, LANES - 1 - lane, vectors.lane_of(a, lane))
        return b

    assert_array_equal(rows(backwards, A), A[:, ::-1])


def test_arrays_in_another_order_are_refused() -> None:
    with pytest.raises(numba.core.errors.TypingError, match="order of C"):
        numba.njit(lambda a: save(a, 0, load(a, 1)))(np.asfortranarray(A))


def test_places_in_arrays_of_any_number_of_axes() -> None:
    @numba.njit
    def copied(out, array):
        for i in range(2):
            for j in range(3):
                for m in range(4):
                    save(out, (m, i, j), load(array, (i, j, m)))

    array = np.random.default_rng(3).normal(size=(2, 3, 4, LANES))
    out = np.empty((4, 2, 3, LANES))
    copied(out, array)
    assert_array_equal(out, np.moveaxis(array, 2, 0))
