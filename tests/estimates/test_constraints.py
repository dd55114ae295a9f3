"""Bounds, fixed and tied parameters, and parameters that are not asked for."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from dataclasses import replace

import numpy as np
import pytest
from astropy.modeling.models import Const1D, Const2D, Cosine1D, Gaussian1D, Gaussian2D, Linear1D, Moffat2D, Sine1D

from support.estimate_cases import CASES, Fits, blends, decays, estimated, lines, noisy, problem_of, stars, waves
from xr_modelfit.estimates.estimate import estimator_for

X = np.linspace(0.0, 100.0, 201)


def two_lines(b: int, model: object) -> Fits:
    """A strong line at 70 and a weak one at 30."""
    rng = np.random.default_rng(1)
    truth = np.tile([20.0, 70.0, 3.0, 8.0, 30.0, 3.0], (b, 1))
    return Fits(model, [X], noisy(rng, Gaussian1D() + Gaussian1D(), [X], truth, 1.0), truth)


@pytest.mark.parametrize(
    "name", ["Gaussian1D + slope", "Sine1D + constant", "logistic", "Gaussian2D + sky", "Moffat1D"]
)
def test_estimates_lie_inside_the_bounds(name: str) -> None:
    fits = CASES[name](40, 3)
    problem = problem_of(fits.model, fits.inputs)
    middle = np.median(estimated(fits).parameters, axis=0)
    size = np.abs(middle) + 1e-3
    low, high = middle - 0.1 * size, middle + 0.05 * size
    found = estimated(fits, bounds=(low[None], high[None])).parameters
    free = problem.free
    assert np.all((found >= low)[:, free])
    assert np.all((found <= high)[:, free])


def test_a_line_is_looked_for_inside_its_bounds() -> None:
    """The weak line, as the strong one is out of range; in a map of bounds, fit by fit."""
    fits = two_lines(4, Gaussian1D(1, 50, 2, bounds={"stddev": (0.5, 6)}))
    low, high = np.full((4, 3), -np.inf), np.full((4, 3), np.inf)
    low[:, 2], high[:, 2] = 0.5, 6
    low[:2, 1], high[:2, 1] = 20, 40
    found = estimated(fits, bounds=(low, high)).parameters[:, 1]
    np.testing.assert_allclose(found, [30, 30, 70, 70], atol=1.5)


def test_a_line_has_the_sign_that_its_bounds_allow() -> None:
    rng = np.random.default_rng(2)
    truth = np.tile([-20.0, 70.0, 3.0, 8.0, 30.0, 3.0], (5, 1))
    model = Gaussian1D(1, 50, 2, bounds={"amplitude": (0, None)})
    fits = Fits(model, [X], noisy(rng, Gaussian1D() + Gaussian1D(), [X], truth, 1.0), truth)
    found = estimated(fits).parameters
    np.testing.assert_allclose(found[:, 1], 30, atol=1.5)
    assert np.all(found[:, 0] > 4)


def test_what_is_held_stays_and_the_others_are_estimated_by_it() -> None:
    fits = two_lines(5, Gaussian1D(1, 30, 3))
    problem = problem_of(fits.model, fits.inputs)
    asked = np.array([True, False, True])
    found = estimator_for(problem, asked)(
        problem, fits.y, [X[None]], None, np.isfinite(fits.y), problem.start[None],
        (problem.lower[None], problem.upper[None]),
    ).parameters  # fmt: skip
    assert np.all(found[:, 1] == 30)
    np.testing.assert_allclose(found[:, 0], 8, atol=4)
    np.testing.assert_allclose(found[:, 2], 3, rtol=0.5)


def test_fixed_parameters_stay() -> None:
    model = Gaussian1D(1, 30, 3, fixed={"stddev": True}) + Const1D(0, fixed={"amplitude": True})
    found = estimated(two_lines(5, model)).parameters
    assert np.all(found[:, 2] == 3)
    assert np.all(found[:, 3] == 0)
    np.testing.assert_allclose(found[:, 1], 70, atol=1.5)


def test_lines_are_named_in_the_order_of_their_starts() -> None:
    up = estimated(two_lines(6, Gaussian1D(1, 10, 2) + Gaussian1D(1, 90, 2))).parameters
    down = estimated(two_lines(6, Gaussian1D(1, 90, 2) + Gaussian1D(1, 10, 2))).parameters
    np.testing.assert_allclose(up[:, [1, 4]], np.tile([30, 70], (6, 1)), atol=1.5)
    np.testing.assert_allclose(down[:, [1, 4]], np.tile([70, 30], (6, 1)), atol=1.5)


def test_each_line_in_its_own_range() -> None:
    model = Gaussian1D(1, 90, 2, bounds={"mean": (60, 100)}) + Gaussian1D(1, 10, 2, bounds={"mean": (0, 50)})
    found = estimated(two_lines(6, model)).parameters
    np.testing.assert_allclose(found[:, [1, 4]], np.tile([70, 30], (6, 1)), atol=1.5)


def test_ties_hold() -> None:
    """A doublet 40 apart with a ratio of 0.4, of which the weak line alone is free in place."""
    model = Gaussian1D(1, 50, 2) + Gaussian1D(1, 50, 2)
    model.mean_1.tied = lambda m: m.mean_0 - 40
    model.stddev_1.tied = lambda m: m.stddev_0
    model.amplitude_1.tied = lambda m: 0.4 * m.amplitude_0
    found = estimated(two_lines(6, model)).parameters
    np.testing.assert_array_equal(found[:, 4], found[:, 1] - 40)
    np.testing.assert_array_equal(found[:, 5], found[:, 2])
    np.testing.assert_allclose(found[:, 1], 70, atol=1.5)
    np.testing.assert_allclose(found[:, 0], 20, rtol=0.25)


def test_the_strong_line_may_be_the_tied_one() -> None:
    model = Gaussian1D(1, 50, 2) + Gaussian1D(1, 50, 2)
    model.mean_1.tied = lambda m: m.mean_0 + 40
    found = estimated(two_lines(6, model)).parameters
    np.testing.assert_allclose(found[:, 1], 30, atol=1.5)
    np.testing.assert_array_equal(found[:, 4], found[:, 1] + 40)


def test_a_known_frequency_needs_no_search() -> None:
    rng = np.random.default_rng(3)
    truth = np.tile([5.0, 0.13, 0.3, 40.0], (5, 1))
    model = Sine1D(1, 0.13, 0, fixed={"frequency": True}) + Const1D(0)
    found = estimated(Fits(model, [X], noisy(rng, model, [X], truth, 1.0), truth)).parameters
    assert np.all(found[:, 1] == 0.13)
    np.testing.assert_allclose(found[:, [0, 3]], truth[:, [0, 3]], atol=0.6)
    np.testing.assert_allclose(np.cos(2 * np.pi * (found[:, 2] - 0.3)), 1, atol=0.02)


def test_two_waves_on_a_slope() -> None:
    rng = np.random.default_rng(4)
    model = Sine1D(1, 0.01, 0) + Sine1D(1, 1.0, 0) + Linear1D(0, 0)
    truth = np.column_stack([
        np.full(20, 2.0), rng.uniform(0.05, 0.2, 20), rng.uniform(0, 1, 20),
        np.full(20, 3.0), rng.uniform(0.4, 0.9, 20), rng.uniform(0, 1, 20), rng.normal(0, 1, 20), rng.normal(0, 9, 20),
    ])  # fmt: skip
    found = estimated(Fits(model, [X], noisy(rng, model, [X], truth, 1.0), truth)).parameters
    np.testing.assert_allclose(found[:, [1, 4]], truth[:, [1, 4]], atol=2e-3)


def test_weights_are_obeyed() -> None:
    """A line where errors are large counts less than a weaker one where they are small."""
    fits = two_lines(8, Gaussian1D(1, 50, 2))
    weights = np.where(X > 50, 0.02, 1.0)[None]
    found = estimated(fits, weights=weights).parameters
    np.testing.assert_allclose(found[:, 1], 30, atol=1.5)


@pytest.mark.parametrize("shift", [0.0, 1e6, -3e8])
def test_an_origin_far_away(shift: float) -> None:
    fits = lines(60, 4, kind="slope")
    near = estimated(fits).parameters
    far = estimated(replace(fits, inputs=[fits.inputs[0] + shift])).parameters
    np.testing.assert_allclose(far[:, 1] - shift, near[:, 1], atol=1e-4)
    np.testing.assert_allclose(far[:, 2], near[:, 2], rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("make", [lines, blends, waves, decays, stars])
def test_units_of_the_data_do_not_matter(make, scale: float) -> None:  # type: ignore[no-untyped-def]
    fits = make(30, 5)
    here, there = estimated(fits).parameters, estimated(replace(fits, y=fits.y * scale)).parameters
    linear = problem_of(fits.model, fits.inputs).partly_linear
    np.testing.assert_allclose(there[:, ~linear], here[:, ~linear], rtol=1e-6)
    np.testing.assert_allclose(there[:, linear], here[:, linear] * scale, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e9])
@pytest.mark.parametrize("make", [lines, waves, decays])
def test_units_of_a_coordinate_do_not_matter(make, scale: float) -> None:  # type: ignore[no-untyped-def]
    fits = make(30, 6)
    here = estimated(fits).parameters
    there = estimated(replace(fits, inputs=[fits.inputs[0] * scale])).parameters
    for name, power in {"mean": 1, "stddev": 1, "tau": 1, "frequency": -1, "amplitude": 0}.items():
        if name in fits.model.param_names:
            j = fits.model.param_names.index(name)
            np.testing.assert_allclose(there[:, j], here[:, j] * scale**power, rtol=1e-5)


def test_a_line_may_be_taken_away() -> None:
    """A constant minus a line whose height is positive, beside a stronger one that is not allowed."""
    rng = np.random.default_rng(7)
    model = Const1D(0) - Gaussian1D(1, 50, 5, bounds={"amplitude": (0, None)})
    truth = np.tile([50.0, 10.0, 30.0, 3.0], (6, 1))
    y = noisy(rng, Const1D() - Gaussian1D(), [X], truth, 1.0) + 20 * np.exp(-0.5 * ((X - 70) / 3) ** 2)
    found = estimated(Fits(model, [X], y, truth)).parameters
    np.testing.assert_allclose(found[:, 2], 30, atol=1.5)
    np.testing.assert_allclose(found[:, 1], 10, rtol=0.5)


def test_a_cosine_with_a_negative_amplitude() -> None:
    rng = np.random.default_rng(8)
    model = Cosine1D(-1, 0.1, 0, bounds={"amplitude": (None, 0), "phase": (-0.5, 0.5)})
    truth = np.column_stack([np.full(20, -3.0), rng.uniform(0.05, 0.9, 20), rng.uniform(-0.5, 0.5, 20)])
    found = estimated(Fits(model, [X], noisy(rng, model, [X], truth, 1.0), truth)).parameters
    np.testing.assert_allclose(found[:, 0], -3, rtol=0.25)
    np.testing.assert_allclose(found[:, 1], truth[:, 1], atol=2e-3)
    assert np.all(np.abs(found[:, 2]) <= 0.5)


def test_two_stars_the_bright_one_first() -> None:
    rng = np.random.default_rng(9)
    y, x = (a.ravel() for a in np.mgrid[0:24.0, 0:30.0])
    model = Gaussian2D(1, 10, 10, 2, 1.5, 0) + Moffat2D(1, 10, 10, 2, 2) + Const2D(0)
    truth = np.tile([40.0, 21, 7, 2.4, 1.3, 0.5, 15, 8, 15, 2.5, 2.5, 9], (8, 1))
    found = estimated(Fits(model, [x, y], noisy(rng, model, [x, y], truth, 1.0), truth)).parameters
    np.testing.assert_allclose(found[:, [1, 2, 7, 8]], truth[:, [1, 2, 7, 8]], atol=1.2)
    np.testing.assert_allclose(found[:, 3], 2.4, rtol=0.3)
    np.testing.assert_allclose(found[:, 4], 1.3, rtol=0.3)
    np.testing.assert_allclose(found[:, 5], 0.5, atol=0.3)


def test_lines_on_an_uneven_coordinate() -> None:
    """Samples ten times as dense at one end as at the other; a line at each."""
    rng = np.random.default_rng(10)
    x = np.geomspace(1.0, 100.0, 200)
    truth = np.stack([np.full(40, 8.0), rng.uniform(3, 80, 40), np.zeros(40), rng.normal(0, 9, 40)], axis=1)
    truth[:, 2] = 0.1 * truth[:, 1]
    model = Gaussian1D(1, 50, 5) + Const1D(0)
    found = estimated(Fits(model, [x], noisy(rng, model, [x], truth, 1.0), truth)).parameters
    assert np.mean(np.abs(found[:, 1] - truth[:, 1]) < truth[:, 2]) > 0.97
    assert np.mean(np.abs(np.log(found[:, 2] / truth[:, 2])) < np.log(2)) > 0.95
