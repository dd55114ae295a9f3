"""Searches of start values against the slow, obvious way: each point by itself, by linear least squares."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.timeseries import LombScargle

from support.estimate_cases import CASES, Fits, problem_of
from xr_modelfit.estimates.columns import SampleColumns, in_columns
from xr_modelfit.estimates.estimate import estimator_for
from xr_modelfit.estimates.linear_part import Basis
from xr_modelfit.estimates.periodogram import FINE, best_frequency
from xr_modelfit.estimates.points import point, unit_points, usual_ranges
from xr_modelfit.estimates.polish import polished
from xr_modelfit.estimates.profile import best_points
from xr_modelfit.estimates.roles import roles_of


def columns_of(fits: Fits) -> SampleColumns:
    problem = problem_of(fits.model, fits.inputs)
    b = len(fits.y)
    table = tuple(np.broadcast_to(a, (b, a.size)) for a in (problem.start, problem.lower, problem.upper))
    inputs = [x[None] for x in fits.inputs]
    return in_columns(problem, fits.y, inputs, None, np.isfinite(fits.y), table, problem.free)  # type: ignore[arg-type]


def least_chi2(fits: SampleColumns, p: np.ndarray, i: int) -> float:
    """Chi-square of a fit at a point, its linear parameters solved for; infinite where the model is no number."""
    problem, used = fits.problem, fits.W[:, i] > 0
    x = [a[used] for a in fits.inputs]

    def value(q: np.ndarray) -> np.ndarray:
        return problem.evaluate(x, q[:, None])[:, 0]

    p = np.where(fits.linear, 0.0, p)
    zero = value(p)
    columns = np.stack([value(np.where(np.arange(p.size) == j, 1.0, p)) - zero for j in np.flatnonzero(fits.linear)], 1)
    if not np.isfinite(columns).all():
        return np.inf
    left, columns = fits.y[used, i] - zero, columns / np.linalg.norm(columns, axis=0)
    return float(np.sum((left - columns @ np.linalg.lstsq(columns, left, rcond=1e-9)[0]) ** 2))


@pytest.mark.parametrize("name", ["Exponential1D + constant", "logistic", "PowerLaw1D"])
@pytest.mark.parametrize("own_starts", [False, True])
def test_the_best_point_is_the_best_of_all(name: str, own_starts: bool) -> None:
    fits = columns_of(CASES[name](4, 3))
    searched = fits.problem.free & ~fits.problem.partly_linear
    roles, numbers = roles_of(fits.problem, fits.asked), np.flatnonzero(searched).tolist()
    if own_starts:  # points are then made for each fit
        fits.start[~searched] += np.arange(4.0)
    found = best_points(fits, fits.start, roles, searched, fits.linear, 3)
    scale = numbers, roles, usual_ranges(fits.problem)
    with np.errstate(all="ignore"):
        points = [point(fits, u[:, None], *scale, fits.start[:, :1])[:, 0] for u in unit_points(len(numbers))]
        for i in range(4):
            chi2 = np.array([least_chi2(fits, p, i) for p in points])
            for P, right in zip(found, np.sort(chi2), strict=False):
                assert least_chi2(fits, P[:, i], i) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("name", ["custom, four bounds", "logistic + constant"])
def test_steps_lead_downhill_and_tell_chi_square(name: str) -> None:
    fits = columns_of(CASES[name](12, 4))
    problem = fits.problem
    searched = problem.free & ~problem.partly_linear
    P = best_points(fits, fits.start, estimator_for(problem).roles, searched, fits.linear)[0]
    before = np.inf
    for steps in (0, 1, 4):
        Q, chi2 = polished(fits, P, searched, steps)
        right = np.sum(fits.W * (fits.y - problem.evaluate(fits.inputs, Q)) ** 2, axis=0)
        np.testing.assert_allclose(chi2, right, rtol=1e-9)
        assert np.all(chi2 <= before)
        before = chi2


@pytest.mark.parametrize("shared", [True, False])
def test_the_best_frequency_is_that_of_astropy(shared: bool) -> None:
    """Of the generalised periodogram with a constant, at many more frequencies."""
    rng = np.random.default_rng(5)
    n, b = 150, 20
    t = np.sort(rng.uniform(size=n))
    t = (t - t[0]) / (t[-1] - t[0])
    f = rng.uniform(2, 40, b)
    y = 3.0 + np.sin(2 * np.pi * (np.outer(t, f) + rng.uniform(size=b))) + 0.7 * rng.normal(size=(n, b))
    W = np.ones((n, 1)) if shared else (rng.random((n, b)) > 0.1).astype(float)
    basis = Basis.of([np.ones((n, 1))], W)
    z, _ = basis.removed(y * (W > 0), W)
    everywhere = np.full(b, -np.inf), np.full(b, np.inf)
    found = best_frequency(z * (W > 0), W, t[:, None], basis, *everywhere, FINE * n // 2)
    grid = np.linspace(0.5, n / 2, 20 * n)
    for i in range(b):
        used = np.broadcast_to(W, (n, b))[:, i] > 0
        power = LombScargle(t[used], y[used, i], fit_mean=True, center_data=False).power(grid, method="cython")
        assert abs(found[i] - grid[np.argmax(power)]) < 0.5 / FINE
