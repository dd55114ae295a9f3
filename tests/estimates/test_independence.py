"""A fit is estimated from its own samples alone, to the last bit, whatever else is in the block."""

import numpy as np
import pytest

from support.estimate_cases import CASES, Fits, estimated, lines, problem_of
from xr_modelfit.estimates.estimate import estimator_for

KINDS = [
    "Gaussian1D + slope", "Gaussian1D + power law", "Voigt1D", "Box1D", "two blended lines + slope",
    "Sine1D + constant", "Exponential1D + constant", "logistic", "custom, four bounds", "Gaussian2D + sky",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_company_changes_no_bit(name: str) -> None:
    fits = CASES[name](23, 5)
    whole_ones = fits.y.copy()
    whole_ones[:9] = np.where(np.isfinite(whole_ones[:9]), whole_ones[:9], 0.0)  # some without gaps
    fits = Fits(fits.model, fits.inputs, whole_ones, fits.truth)
    together = estimated(fits).parameters
    order = np.random.default_rng(0).permutation(23)
    for ids in (order[:11], order[11:], order[:1], np.arange(8, 10)):
        alone = estimated(Fits(fits.model, fits.inputs, fits.y[ids], fits.truth[ids])).parameters
        np.testing.assert_array_equal(alone, together[ids])


@pytest.mark.parametrize("name", KINDS)
def test_own_coordinates_are_as_good_as_shared_ones(name: str) -> None:
    fits = CASES[name](7, 6)
    shared = estimated(fits).parameters
    own = [np.tile(x, (7, 1)) for x in fits.inputs]
    np.testing.assert_array_equal(estimated(fits, inputs=own).parameters, shared)


def test_pieces_of_a_large_block_change_nothing() -> None:
    fits = lines(6000, 7)
    whole = estimated(fits).parameters
    part = estimated(Fits(fits.model, fits.inputs, fits.y[3000:], fits.truth[3000:])).parameters
    np.testing.assert_array_equal(part, whole[3000:])


@pytest.mark.parametrize("name", ["Gaussian1D + slope", "Sine1D + constant", "Exponential1D + constant", "logistic"])
def test_samples_may_come_in_any_order(name: str) -> None:
    fits = CASES[name](12, 8)
    order = np.random.default_rng(1).permutation(fits.y.shape[1])
    mixed = Fits(fits.model, [x[order] for x in fits.inputs], fits.y[:, order], fits.truth)
    np.testing.assert_array_equal(estimated(mixed).parameters, estimated(fits).parameters)


def test_what_a_left_out_sample_holds_does_not_matter() -> None:
    fits = lines(50, 9)
    valid = np.isfinite(fits.y)
    with_rubbish = np.where(valid, fits.y, 1e30)
    found = estimated(fits, y=with_rubbish, valid=valid).parameters
    np.testing.assert_array_equal(found, estimated(fits).parameters)


def test_inputs_stay_as_they_are() -> None:
    fits = lines(20, 10)
    y, x = fits.y.copy(), fits.inputs[0].copy()
    problem = problem_of(fits.model, fits.inputs)
    start = problem.start.copy()
    estimator_for(problem)(
        problem, fits.y, [fits.inputs[0][None]], None, np.isfinite(fits.y), problem.start[None],
        (problem.lower[None], problem.upper[None]),
    )  # fmt: skip
    np.testing.assert_array_equal(fits.y, y)
    np.testing.assert_array_equal(fits.inputs[0], x)
    np.testing.assert_array_equal(problem.start, start)
