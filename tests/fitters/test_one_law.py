"""Each formula of the steps and of the judgement stands twice: for NumPy, and compiled. Both must give the same.

Both forms get the same random numbers, and agree to rounding. Where a textbook or `numpy.linalg` says what the value
is, the NumPy form is compared with that as well. The formulas are derived in the docstrings of the NumPy modules.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xr_modelfit.fitters import acceptance, covariance, small_systems
from xr_modelfit.fitters import levenberg_marquardt as steps
from xr_modelfit.fitters.contract import Rules
from xr_modelfit.status import FitStatus

numba = pytest.importorskip("numba", reason="the compiled form of each formula")
from xr_modelfit.fitters.compiled import algebra, judging  # noqa: E402
from xr_modelfit.fitters.compiled import levenberg as lanes  # noqa: E402
from xr_modelfit.fitters.compiled.vectors import choose, load, save, wide  # noqa: E402
from xr_modelfit.tracing.source import LANES, ROWS, SCALARS  # noqa: E402

K, B = 3, LANES
RULES = Rules(100.0, 1e-14, 2e-7, 1e-6)
SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))]
compiled = numba.njit(error_model="numpy")


class Arrays(NamedTuple):
    """What compiled formulas read and write; see `fitters.compiled.levenberg`."""

    P: np.ndarray
    Q: np.ndarray
    V: np.ndarray
    N: np.ndarray
    S: np.ndarray


def some_fits(seed: int) -> tuple[SimpleNamespace, Arrays, np.ndarray]:
    """`LANES` fits in the middle of their steps, for both engines; and their Jacobians (n, k, b)."""
    rng = np.random.default_rng(seed)
    J = rng.normal(size=(20, K, B)) * 10.0 ** rng.uniform(-3, 3, (K, B))
    J[:, 1] *= rng.random(B) > 0.1  # a parameter without effect
    r = rng.normal(size=(20, B))
    P = rng.normal(size=(K, B))
    low, high = P - rng.uniform(0, 2, (K, B)), P + rng.uniform(0, 2, (K, B))
    low[rng.random((K, B)) < 0.2] = -np.inf
    low, high = np.where(rng.random((K, B)) < 0.2, P, low), np.where(rng.random((K, B)) < 0.2, P, high)
    H, g = np.einsum("nib,njb->ijb", J, J), np.einsum("nib,nb->ib", J, r)
    fits = SimpleNamespace(
        rules=RULES, ours=np.arange(K), P=P, low=low, high=high, free=low != high, g=g, H=H,
        D=np.sqrt(np.einsum("iib->ib", H)) * rng.uniform(0.1, 3, (K, B)), damping=10.0 ** rng.uniform(-12, 16, B),
        growth=2.0 ** rng.integers(1, 9, B), n_iter=rng.integers(0, 101, B) * 1.0, n_flat=rng.integers(0, 21, B) * 1.0,
        dof=rng.integers(1, 30, B) * 1.0, chi2=np.sum(r * r, axis=0), size2=10.0 ** rng.uniform(0, 12, B),
        stretch=rng.uniform(0.4, 2.0, B), before=rng.normal(size=(K, B)) * 1e-3,
    )  # fmt: skip
    arrays = Arrays(
        np.zeros((3, K, B)), np.zeros((3, K, K, B)), np.zeros((ROWS, K, B)), np.zeros((SCALARS, B)),
        np.zeros((1 + K, 1 + K, B)),
    )  # fmt: skip
    arrays.P[:], arrays.Q[algebra.NORMAL] = P, H
    for row, value in ((algebra.LOW, low), (algebra.HIGH, high), (algebra.SLOPE, g), (algebra.LARGEST, fits.D)):
        arrays.V[row] = value
    arrays.V[algebra.BEFORE] = fits.before
    for name in ("CHI2", "SIZE2", "DAMPING", "GROWTH", "STRETCH", "N_ITER", "N_FLAT", "DOF"):
        arrays.N[getattr(lanes, name)] = getattr(fits, name.lower())
    return fits, arrays, J


def same(a: Any, b: Any, scale: Any = 0.0) -> None:
    """Equal to rounding, of the values or of what they are made of."""
    assert_allclose(a, b, rtol=1e-9, atol=1e-11 * np.max(scale), equal_nan=True)


@compiled
def prepared(a, ours, slow, forget):
    damping = load(a.N, lanes.DAMPING)
    fade = choose(load(a.N, lanes.N_ITER) < slow, 1.0, forget)
    algebra.prepare(a.P, ours, a.Q, a.V, damping, fade, damping == damping)


def system(seed: int) -> tuple[SimpleNamespace, Arrays, np.ndarray, steps.System, np.ndarray]:
    fits, arrays, J = some_fits(seed)
    prepared(arrays, np.arange(K), RULES.slow, RULES.forget)
    return fits, arrays, J, *steps.system_of(fits)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_scaled_system(seed: int) -> None:
    """Which parameters are held on a bound and released, the damping, and the matrix of columns of length 1."""
    fits, arrays, J, found, D = system(seed)
    V = arrays.V
    assert_array_equal(found.used, V[algebra.USED] == 1.0)
    for a, row in ((1 / found.scale, "INVERSE"), (D, "LARGEST"), (found.h, "SCALED")):
        same(a, V[getattr(algebra, row)])
    same(found.shift[found.used], V[algebra.SHIFT][found.used])
    same(found.M, arrays.Q[algebra.MATRIX])
    # Outside: a descent along +g leaves the box at once exactly for those that are held; lengths are norms.
    for j, i in np.argwhere(found.used):
        assert_allclose(found.scale[j, i], np.linalg.norm(J[:, j, i]), rtol=1e-12)
    outward = np.where(fits.g > 0, fits.high <= fits.P, fits.low >= fits.P)
    assert not (outward & found.used).any()
    inside = (fits.low < fits.P) & (fits.high > fits.P) & (np.linalg.norm(J, axis=0) > 0)
    assert found.used[inside].all()


@compiled
def solved(a, by, singular):
    return lanes_to_array(algebra.solve(a.Q, a.V, algebra.SCALED, wide(by), singular), a.N)


@compiled
def lanes_to_array(numbers, N):
    save(N, lanes.PROMISED, numbers)
    return N[lanes.PROMISED].copy()


@pytest.mark.parametrize("damped", [0.0, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_small_systems(seed: int, damped: float) -> None:
    _, arrays, _, found, _ = system(seed)
    gain = solved(arrays, damped, RULES.singular)
    x = small_systems.solve(found.M, found.h, damped * found.shift[:, None], RULES.singular)[:, 0]
    same(x, arrays.V[algebra.X], np.abs(x))
    same(np.sum(x * found.h, axis=0), gain, np.abs(x * found.h))
    for i in range(B):
        u = found.used[:, i]
        A = found.M[u][:, u, i] + damped * np.diag(found.shift[u, i])
        assert_allclose(x[u, i], np.linalg.solve(A, found.h[u, i]), rtol=1e-6, atol=1e-9 * np.abs(x).max())
        assert not x[~u, i].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_directions_without_rank_are_left_out(seed: int) -> None:
    """Of two equal columns the second gets nothing, and the first solves the rest."""
    fits, arrays, J = some_fits(seed)
    J[:, 2] = J[:, 0]
    fits.H = np.einsum("nib,njb->ijb", J, J)
    fits.g = fits.H[:, 0] + fits.H[:, 1]
    fits.low[:], fits.high[:], fits.free[:] = -np.inf, np.inf, True
    arrays.Q[algebra.NORMAL], arrays.V[algebra.SLOPE] = fits.H, fits.g
    arrays.V[algebra.LOW], arrays.V[algebra.HIGH] = fits.low, fits.high
    prepared(arrays, np.arange(K), RULES.slow, RULES.forget)
    found, _ = steps.system_of(fits)
    x = small_systems.solve(found.M, found.h, np.zeros((K, 1, B)), RULES.singular)[:, 0] / found.scale
    solved(arrays, 0.0, RULES.singular)
    same(x, arrays.V[algebra.X] * arrays.V[algebra.INVERSE], 1.0)
    effect = np.linalg.norm(J[:, 1], axis=0) > 0
    assert_allclose(x, np.stack([np.ones(B), effect, np.zeros(B)]), rtol=1e-6, atol=1e-9)


@compiled
def promised_by(a, promised):
    return lanes_to_array(algebra.still_moves(a.V, load(promised, 0)), a.N)


@pytest.mark.parametrize("far", [0.0, 1e18])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_promised_reduction(seed: int, far: float) -> None:
    """Far from the origin no step changes a parameter, and nothing is promised."""
    fits, arrays, J, found, _ = system(seed)
    found = found._replace(p=found.p + far)
    arrays.V[algebra.PLACE] += far
    x = small_systems.solve(found.M, found.h, np.zeros((K, 1, B)), RULES.singular)[:, 0]
    arrays.V[algebra.X] = x
    promised = steps.still_promised(found, x)
    same(promised, promised_by(arrays, np.sum(found.h * x, axis=0)[None]), np.abs(promised))
    if not far:
        for i in range(B):
            A = J[:, found.used[:, i], i]
            projected = fits.g[found.used[:, i], i] @ np.linalg.pinv(A)
            assert_allclose(promised[i], projected @ projected, rtol=1e-6, atol=1e-12)
    else:
        assert_array_equal(promised[np.abs(x / found.scale).max(axis=0) < 1.0], 0.0)


@compiled
def last_by(a, promised, rules):
    chi2, size2, dof = load(a.N, lanes.CHI2), load(a.N, lanes.SIZE2), load(a.N, lanes.DOF)
    last = algebra.is_last(a.V, load(promised, 0), chi2, size2, dof, rules)
    return lanes_to_array(choose(last, 1.0, 0.0), a.N)


@pytest.mark.parametrize("seed", SEEDS)
def test_convergence(seed: int) -> None:
    """The cosine of the residual to each column, the distance in standard errors, and the reduction; or rounding."""
    fits, arrays, _, found, _ = system(seed)
    rng = np.random.default_rng(seed)
    promised = fits.chi2 * 10.0 ** rng.uniform(-32, -8, B)
    h = found.h * 10.0 ** rng.uniform(-9, 0, B)
    arrays.V[algebra.SCALED] = h
    last = steps.is_last(fits, promised, h)
    assert_array_equal(last, last_by(arrays, promised[None], RULES) == 1.0)
    cosine = np.max(np.abs(h), axis=0) / np.sqrt(fits.chi2)
    distance = np.sqrt(promised / (fits.chi2 / fits.dof))
    right = (cosine <= RULES.gtol) & (distance <= RULES.xtol) & (promised / fits.chi2 <= RULES.ftol)
    right |= np.sqrt(promised) <= 8 * np.finfo(float).eps * np.sqrt(fits.size2)
    assert_array_equal(last, right)


@compiled
def inside_by(a, singular):
    algebra.step_inside(a.Q, a.V, wide(1.0), singular)


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_end_at_bounds(seed: int) -> None:
    _, arrays, _, found, _ = system(seed)
    x = small_systems.solve(found.M, found.h, found.shift[:, None], RULES.singular)[:, 0]
    arrays.V[algebra.STEP] = x / found.scale
    inside_by(arrays, RULES.singular)
    s = steps.step_inside(found, x / found.scale, RULES.singular)
    same(s, arrays.V[algebra.STEP], np.abs(s))
    for i in range(B):  # what does not end on a bound solves its own equations
        p, u = found.p[:, i] + s[:, i], found.used[:, i]
        on = u & ((np.abs(p - found.low[:, i]) < 1e-12) | (np.abs(p - found.high[:, i]) < 1e-12))
        rest = u & ~on
        assert not (u & ((p < found.low[:, i] - 1e-12) | (p > found.high[:, i] + 1e-12))).any()
        A = found.M[:, :, i] + np.diag(found.shift[:, i])
        moved = s[:, i] * found.scale[:, i]
        left = found.h[rest, i] - found.M[np.ix_(rest, on)][..., i] @ moved[on]
        assert_allclose(moved[rest], np.linalg.solve(A[np.ix_(rest, rest)], left), rtol=1e-6, atol=1e-9)


@compiled
def away_by(a, reach):
    chi2 = load(a.N, lanes.CHI2)
    algebra.keep_away(a.V, chi2 == chi2, reach)


@pytest.mark.parametrize("seed", SEEDS)
def test_cautious_steps_stop_before_bounds(seed: int) -> None:
    _, arrays, _, found, _ = system(seed)
    s = np.random.default_rng(seed).normal(size=(K, B)) * 3
    arrays.V[algebra.STEP] = s
    away_by(arrays, RULES.reach)
    got = steps.away_from_bounds(found, s, RULES.reach)
    same(got, arrays.V[algebra.STEP], 1.0)
    assert (got <= 0.9 * (found.high - found.p)).all()
    assert (got >= 0.9 * (found.low - found.p) - 1e-15).all()


@compiled
def stretched_by(a, steady, rules):
    stretch, _ = algebra.stretched(a.V, load(a.N, lanes.STRETCH), load(steady, 0) == 1.0, rules)
    return lanes_to_array(stretch, a.N)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_steady_approach_is_stretched(seed: int) -> None:
    """Aitken: of steps that shrink by ``m`` each, all that follow together are ``1 / (1 - m)`` times the next."""
    fits, arrays, _, found, _ = system(seed)
    rng = np.random.default_rng(seed)
    m, first = rng.uniform(-0.9, 0.6, B), rng.normal(size=(K, B)) * 1e-4
    now = m * first + rng.choice([0.0, 1e-5], B) * rng.normal(size=(K, B))
    fits.damping[:] = arrays.N[lanes.DAMPING] = 1e-6
    arrays.V[algebra.LOW], arrays.V[algebra.HIGH] = -np.inf, np.inf
    arrays.V[algebra.STEP], arrays.V[algebra.BEFORE] = now, first
    promised = fits.chi2 * np.where(rng.random(B) < 0.8, 1e-4, 1.0)
    steady = (promised <= RULES.near * fits.chi2).astype(float)
    got = steps.stretch_of(fits, now * found.scale, first * found.scale, promised)
    same(got, stretched_by(arrays, steady[None], RULES), 1.0)
    alone = SimpleNamespace(**vars(fits) | {"stretch": np.ones(B)})
    got = steps.stretch_of(alone, m * first * found.scale, first * found.scale, 1e-4 * fits.chi2)
    partial = np.sum(m ** np.arange(400)[:, None], axis=0)
    assert_allclose(got, np.where(m < -1.5, 1.0, np.minimum(partial, 3.0)), rtol=1e-9)


@compiled
def predicted_by(a):
    return lanes_to_array(algebra.predicted(a.Q, a.V), a.N)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_predicted_reduction(seed: int) -> None:
    """It is that of a linear model."""
    fits, arrays, J = some_fits(seed)
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(K, B)) / np.maximum(np.linalg.norm(J, axis=0), 1e-3)
    arrays.V[algebra.STEP] = s
    got = steps.predicted_reduction(fits.g, fits.H, s)
    same(got, predicted_by(arrays), 10.0)
    for i in range(B):
        r, _, _, _ = np.linalg.lstsq(J[:, :, i].T, fits.g[:, i], rcond=None)  # any residual with this gradient
        left = r - J[:, :, i] @ s[:, i]
        assert_allclose(got[i], r @ r - left @ left, rtol=1e-6, atol=1e-6)


@compiled
def judged_by(a, last, rules):
    status = lanes._judge(a.P, a.S, a.Q, a.V, a.N, load(last, 0) == 1.0, rules)
    return lanes_to_array(status, a.N)


@pytest.mark.quick_share(5)
@pytest.mark.parametrize("seed", range(60))
def test_acceptance_damping_and_status(seed: int) -> None:
    """Nielsen's rule, and what ends a fit."""
    fits, arrays, _ = some_fits(seed)
    rng = np.random.default_rng(seed)
    there = rng.normal(size=(K, B))
    predicted = fits.chi2 * 10.0 ** rng.uniform(-16, 0, B) * rng.choice([1.0, 1.0, 1.0, -1.0], B)
    new = fits.chi2 - predicted * rng.choice([-1.0, 1e-5, 0.2, 0.6, 1.0, 1.4, np.nan], B)
    promised = np.abs(predicted) * rng.choice([1e-13, 1.0], B)
    last = rng.random(B) < 0.2
    arrays.P[lanes.THERE], arrays.S[0, 0] = there, new
    arrays.N[lanes.PREDICTED], arrays.N[lanes.PROMISED] = predicted, promised
    for a in range(K):
        arrays.S[1 + a, 0] = fits.g[a]
        for b in range(a + 1):
            arrays.S[1 + a, 1 + b] = fits.H[a, b]
    before = SimpleNamespace(**vars(fits))
    with np.errstate(all="ignore"):
        verdict = steps.judge_step(before, new, predicted)
    fits.chi2 = np.where(verdict.taken, new, before.chi2)
    fits.damping, fits.n_flat, fits.n_iter = verdict.damping, verdict.n_flat, before.n_iter + 1
    near = promised <= np.maximum(RULES.at_end * fits.chi2, verdict.noise)
    status = judged_by(arrays, last[None].astype(float), RULES)
    assert_array_equal(steps.status_of(fits, last, near), status)
    assert_array_equal(arrays.P[lanes.HERE], np.where(verdict.taken, there, before.P))
    for name in ("damping", "growth", "n_flat"):
        same(getattr(verdict, name), arrays.N[getattr(lanes, name.upper())])
    same(fits.chi2, arrays.N[lanes.CHI2])
    # Outside: Nielsen's rule in his words, for steps that chi-square can judge.
    for i in np.flatnonzero(predicted > 1e-9 * before.chi2 + verdict.noise):
        rho = (before.chi2[i] - new[i]) / predicted[i]
        assert verdict.taken[i] == (rho > (0.5 if before.n_iter[i] < 5 else 1e-4))
        factor = max(1 / 3, 1 - (2 * rho - 1) ** 3) if verdict.taken[i] else before.growth[i]
        assert_allclose(verdict.damping[i], before.damping[i] * factor, rtol=1e-12)
        assert verdict.growth[i] == (2.0 if verdict.taken[i] else 2.0 * before.growth[i])


def test_statuses_have_the_numbers_of_the_result() -> None:
    for name in ("CONVERGED", "MAX_ITERATIONS", "NO_PROGRESS", "NONFINITE_MODEL"):
        assert getattr(lanes, name) == FitStatus[name]
    assert lanes.GOES_ON == FitStatus.NOT_ATTEMPTED


@compiled
def inverted_by(H, L, X, scale, active):
    return judging._invert(H, L, X, scale, active)


@pytest.mark.parametrize("seed", SEEDS)
def test_inverses(seed: int) -> None:
    _, _, J = some_fits(seed)
    J[:, 1] += np.random.default_rng(seed + 1).normal(size=(20, B))
    H = np.einsum("nib,njb->ijb", J, J)
    inverse, trace = small_systems.inverse_of(H)
    for i in range(B):
        own, scale = H[:, :, i].copy(), np.sqrt(np.diag(H[:, :, i]))
        got = inverted_by(own, np.zeros((K, K)), np.zeros((K, K)), scale, np.ones(K))
        assert_allclose(own, inverse[:, :, i], rtol=1e-9)
        assert_allclose(got, trace[i], rtol=1e-9)
        right = np.linalg.inv(H[:, :, i] / np.outer(scale, scale))
        assert_allclose(inverse[:, :, i], right / np.outer(scale, scale), rtol=1e-8)
        assert_allclose(trace[i], np.trace(right), rtol=1e-8)


@compiled
def judged_clear(sums, P, low, high, ours, dof, limits, work, scale, active):
    judging.judge(sums, P, low, high, ours, dof, limits, work, scale, active)


@pytest.mark.parametrize("seed", SEEDS)
def test_clear_cases(seed: int) -> None:
    """Parameters on a bound, the covariance, and whether the fit is a clear case; near minima of any scatter."""
    fits, _, J = some_fits(seed)
    rng = np.random.default_rng(seed)
    g = fits.g * 10.0 ** rng.uniform(-8, 0, B)
    n_points = rng.integers(2, 30, B)
    nothing = np.zeros(K, dtype=bool)
    problem: Any = SimpleNamespace(free=~nothing, tied=nothing, n_parameters=K)
    at = acceptance.LastStep(fits.P, fits.low, fits.high, fits.H, g, fits.chi2, fits.size2, n_points)
    found, clear = acceptance.judge_clear(problem, at)
    for i in range(B):
        sums = np.zeros((2 + K, 1 + K))
        sums[0, 0], sums[1 + K, 0] = fits.chi2[i], fits.size2[i]
        sums[1:-1, 0], sums[1:-1, 1:] = g[:, i], fits.H[:, :, i]
        dof = float(n_points[i] - np.count_nonzero(fits.low[:, i] != fits.high[:, i]))
        low, high = np.ascontiguousarray(fits.low[:, i]), np.ascontiguousarray(fits.high[:, i])
        p = np.ascontiguousarray(fits.P[:, i])
        judged_clear(
            sums, p, low, high, np.arange(K), dof, acceptance.LIMITS, np.zeros((2, K, K)), np.zeros(K), np.zeros(K)
        )
        assert (sums[0, 1] == 1.0) == clear[i]
        held = sums[-1, 1:] == 1.0
        assert held.any() == found.at_bound[i]
        if clear[i]:
            own = np.where(held[:, None] | held[None], np.nan, sums[1:-1, 1:])
            assert_allclose(own, found.covariance[:, :, i], rtol=1e-9)
            used = ~held & (low != high)
            A = J[:, used, i]
            assert_allclose(own[np.ix_(used, used)], np.linalg.inv(A.T @ A), rtol=1e-6)


@compiled
def on_bound_by(p, low, high, length, slope, near, still):
    return judging._on_bound(p, low, high, length, slope, near, still)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_on_a_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length, chi2, dof = 10.0 ** rng.uniform(-3, 3, B), 10.0 ** rng.uniform(-3, 3, B), rng.integers(1, 9, B) * 1.0
    low, high = rng.normal(size=B) - 1.0, rng.normal(size=B) + 1.0
    near = covariance.ON_BOUND * np.sqrt(chi2 / dof)
    p = np.where(rng.random(B) < 0.5, low, high - rng.choice([0.0, 0.5, 2.0], B) * near / length)
    slope = rng.normal(size=B) * rng.choice([0.0, 1e-9, 1.0, 1e3], B) * length * np.sqrt(chi2)
    got = covariance.on_bound(length, slope, chi2, p, low, high, dof, np.zeros(1))
    still = 1e-7 * length * np.sqrt(chi2)
    by: Callable[..., bool] = on_bound_by
    assert_array_equal(got, [by(*one) for one in zip(p, low, high, length, slope, near, still, strict=True)])
    assert not got[(p > low) & (p < high) & (np.minimum(p - low, high - p) * length > 1.01 * near)].any()
    assert got[(p == low) & (slope < 0)].all()
