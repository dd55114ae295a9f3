"""The formulas of the noise: against scipy, against differences, and NumPy's against the compiled ones."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares
from scipy.special import log_ndtr
from scipy.stats import poisson

from xr_modelfit.fitters.noise import LEAST, LIMITS, ROBUST, SMALL_COUNT, TWO_SIDED, influence, working
from xr_modelfit.tracing.source import LANES

KINDS = [*ROBUST, "poisson"]


def some_samples(kind: str, seed: int = 1, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, values of a model and weights, (n, LANES) each; of residuals near 0 and far out, some left out."""
    rng = np.random.default_rng(seed)
    shape = n, LANES
    w = 10.0 ** rng.uniform(-1, 1, shape) * (rng.random(shape) > 0.1)
    if kind == "poisson":
        f = 10.0 ** rng.uniform(-3, 6, shape)
        y = rng.poisson(f * w * rng.choice([1.0, 3.0], shape)).astype(float)
        return y, f, w
    y = rng.normal(size=shape)
    return y, y - rng.normal(size=shape) * 10.0 ** rng.uniform(-4, 3, shape) / np.where(w > 0, w, 1.0), w


def cost_of(kind: str, y: float, f: float, w: float) -> float:
    if kind == "poisson":
        return float(2 * (poisson.logpmf(y, y) - poisson.logpmf(y, w * f)))
    return float(2 * least_squares(lambda p: w * (y - f) + 0 * p, [0.0], loss=kind, max_nfev=1).cost)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_are_those_of_scipy(kind: str) -> None:
    y, f, w = some_samples(kind)
    cost = working(kind, y, f, w).cost
    right = np.vectorize(cost_of)(kind, y, f, w)
    cancels = 1e-13 * (1.0 + y) if kind == "poisson" else 1e-13  # in the right hand side
    assert np.all(np.abs(cost - right)[w > 0] <= (1e-12 * right + 20 * cancels)[w > 0])
    assert_array_equal(cost[w == 0], 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_working_problem_has_the_gradient_of_the_cost(kind: str) -> None:
    y, f, w = some_samples(kind)
    found = working(kind, y, f, w)
    h = 1e-4 * np.where(w > 0, (f if kind == "poisson" else np.maximum(np.abs(y - f), 1e-3 / np.where(w > 0, w, 1))), 1)
    below, above = (working(kind, y, f + side * h, w).cost for side in (-1, 1))
    slope = (above - below) / (2 * h)
    assert_allclose(-2 * found.residual * found.weights, slope, rtol=1e-5, atol=1e-7 * np.max(np.abs(slope)))
    assert np.all(found.weights[w > 0] > 0)
    for array in found:
        assert_array_equal(array[w == 0], 0.0)


@pytest.mark.parametrize("kind", ROBUST)
def test_the_working_weight_is_the_curvature_of_inliers(kind: str) -> None:
    u = np.linspace(-3, 3, 61)[:, None]
    zero = np.zeros_like(u)
    h = 1e-3
    left, here, right = (working(kind, u + side, zero, None).cost for side in (-h, 0, h))
    curvature = 0.5 * (left - 2 * here + right) / h**2
    smooth = np.abs(np.abs(u) - 1) > 2 * h
    q = working(kind, u, zero, None).weights
    psi, slope, eta = influence(kind, u, zero, None)
    assert_allclose(slope[smooth], curvature[smooth], atol=1e-5)
    assert_allclose(eta, q * q, rtol=1e-12)
    inner = smooth & (np.abs(u) < 0.4)
    assert_allclose(q[inner] ** 2, curvature[inner], rtol=1e-4)
    with np.errstate(invalid="ignore"):
        assert np.all((q * q >= LEAST * np.abs(psi / u) * (1 - 1e-12)) | (u == 0))


def test_counts_have_the_information_of_fisher() -> None:
    """The expectation of the squared score is ``q^2``; exposure multiplies the model."""
    f, w = np.array([[0.05, 0.7, 12.0]]), np.array([[2.0, 0.5, 1.0]])
    y = np.arange(200.0)[:, None]
    found = working("poisson", y, np.broadcast_to(f, (200, 3)), np.broadcast_to(w, (200, 3)))
    chance = poisson.pmf(y, w * f)
    expected = np.sum(chance * (found.residual * found.weights) ** 2, axis=0)
    assert_allclose(expected, found.weights[0] ** 2, rtol=1e-10)
    assert_allclose(found.weights[0] ** 2, (w / f)[0], rtol=1e-12)


def test_what_counts_cannot_be() -> None:
    """A negative prediction costs NaN; none costs nothing where none was counted, and else is infinite."""
    y, f = np.array([[0.0, 2.0, 0.0, 3.0]]), np.array([[-0.1, -1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = working("poisson", y, f, None)
    assert_array_equal(np.isfinite(found.cost), [[False, False, True, False]])
    assert found.cost[0, 2] == 0.0
    assert_allclose(found.residual[0, 2] * found.weights[0, 2], -1.0, rtol=1e-12)
    assert SMALL_COUNT > 0


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_both_engines_have_the_same_formulas(kind: str, seed: int) -> None:
    numba = pytest.importorskip("numba", reason="the compiled form of each formula")
    from xr_modelfit.fitters.compiled.noise import noises
    from xr_modelfit.fitters.compiled.vectors import load, save

    function: Callable = noises()[f"{kind}_noise"]

    @numba.njit(error_model="numpy")
    def worked(y, f, w, out):
        for i in range(y.shape[0]):
            cost, residual, weight = function(load(y, i), load(f, i), load(w, i))
            save(out, (0, i), cost)
            save(out, (1, i), residual)
            save(out, (2, i), weight)

    y, f, w = some_samples(kind, seed)
    if kind == "poisson":
        f[:3] = [[-1.0] * LANES, [0.0] * LANES, [1e-200] * LANES]
        y[:4] = [[2.0] * LANES, [0.0] * LANES, [0.0] * LANES, [-1.0] * LANES]
    out = np.empty((3, *y.shape))
    worked(y, f, w, out)
    with np.errstate(divide="ignore", invalid="ignore"):
        for right, found in zip(working(kind, y, f, w), out, strict=True):
            assert_allclose(found, right, rtol=1e-12, atol=1e-300)


def samples_of_two_sides(kind: str, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Data, values, weights and second weights; limits that the model is far below and far above."""
    y, f, w = some_samples("huber", seed)
    rng = np.random.default_rng(seed + 100)
    above = 10.0 ** rng.uniform(-1, 1, y.shape)
    if kind == LIMITS:
        limit = rng.random(y.shape) < 0.5
        above = np.where(limit, -np.where(w > 0, w, 1.0), above)
        z = rng.choice([-1.0, 1.0], y.shape) * 10.0 ** rng.uniform(-3, 3, y.shape)
        f = np.where(limit, y - z / np.where(w > 0, w, 1.0), f)
    return y, f, w, above


def cost_of_two_sides(y: np.ndarray, f: np.ndarray, w: np.ndarray, above: np.ndarray) -> np.ndarray:
    chosen = np.where(f > y, above, w) * (y - f)
    cost = np.where(above < 0, -2 * log_ndtr(w * (y - f)), chosen**2)
    return np.where(w > 0, cost, 0.0)


@pytest.mark.parametrize("kind", [TWO_SIDED, LIMITS])
@pytest.mark.parametrize("seed", range(4))
def test_two_sides_and_limits(kind: str, seed: int) -> None:
    """Costs are those of their definition, and the working problem has their slope; limits, their curvature."""
    y, f, w, above = samples_of_two_sides(kind, seed)
    found = working(kind, y, f, w, above)
    assert_allclose(found.cost, cost_of_two_sides(y, f, w, above), rtol=1e-12, atol=1e-300)
    width = 1.0 / np.where(w > 0, w, 1.0)
    h = 1e-4 * np.where(above < 0, width, np.maximum(np.abs(y - f), 1e-3 * width))
    less, more = (cost_of_two_sides(y, f + side * h, w, above) for side in (-1, 1))
    slope = (more - less) / (2 * h)
    assert_allclose(-2 * found.residual * found.weights, slope, rtol=1e-5, atol=1e-7 * np.max(np.abs(slope * w)))
    bent = (less - 2 * found.cost + more) / (2 * h**2)
    smooth = (w > 0) & (np.abs(w * (y - f)) < 30) & (np.abs(w * (y - f)) > 0.1)
    assert_allclose((found.weights**2)[smooth], bent[smooth], rtol=1e-2, atol=1e-5 * np.max(w**2))
    for array in found:
        assert np.isfinite(array).all()
        assert_array_equal(array[w == 0], 0.0)


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("kind", [TWO_SIDED, LIMITS])
@pytest.mark.parametrize("seed", range(4))
def test_both_engines_have_the_same_two_sides(kind: str, seed: int) -> None:
    numba = pytest.importorskip("numba", reason="the compiled form of each formula")
    from xr_modelfit.fitters.compiled.noise import noises
    from xr_modelfit.fitters.compiled.vectors import load, save

    function: Callable = noises()[f"{kind}_noise"]

    @numba.njit(error_model="numpy")
    def worked(y, f, w, above, out):
        for i in range(y.shape[0]):
            cost, residual, weight = function(load(y, i), load(f, i), load(w, i), load(above, i))
            save(out, (0, i), cost)
            save(out, (1, i), residual)
            save(out, (2, i), weight)

    given = samples_of_two_sides(kind, seed)
    out = np.empty((3, *given[0].shape))
    worked(*given, out)
    for right, found in zip(working(kind, *given), out, strict=True):
        assert_allclose(found, right, rtol=3e-12, atol=1e-200)
