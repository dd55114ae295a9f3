"""Whatever the data hold, nothing aborts, and each fit has a start."""

import math

import numpy as np
import pytest
from astropy.modeling import custom_model

from support.estimate_cases import CASES, Fits, estimated, problem_of
from xr_modelfit.estimates.linearity import linear_by_trial

BAD = {
    "zeros": lambda n: np.zeros(n),
    "constant": lambda n: np.full(n, 7.0),
    "missing": lambda n: np.full(n, np.nan),
    "one sample": lambda n: np.where(np.arange(n) == 3, 1.0, np.nan),
    "two samples": lambda n: np.where(np.arange(n) < 2, 1.0, np.nan),
    "huge": lambda n: np.where(np.arange(n) % 2, 1e200, -1e200),
    "tiny": lambda n: 1e-300 * np.arange(n),
    "infinite": lambda n: np.where(np.arange(n) == 5, np.inf, 1.0),
    "one spike": lambda n: np.where(np.arange(n) == 5, 1e6, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_data_get_a_start_and_disturb_no_other(name: str) -> None:
    fits = CASES[name](len(BAD) + 6, 3)
    n = fits.y.shape[1]
    y = fits.y.copy()
    for row, make in enumerate(BAD.values()):
        y[row] = make(n)
    found = estimated(Fits(fits.model, fits.inputs, y, fits.truth), valid=np.isfinite(y))
    good = estimated(fits).parameters
    np.testing.assert_array_equal(found.parameters[len(BAD) :], good[len(BAD) :])
    assert np.all(np.isfinite(found.parameters))
    start = problem_of(fits.model, fits.inputs).start
    np.testing.assert_array_equal(found.parameters[found.failed], np.tile(start, (found.failed.sum(), 1)))
    missing = list(BAD).index("missing")
    np.testing.assert_array_equal(found.parameters[missing], start)
    assert not found.failed[missing]
    assert not found.failed[len(BAD) :].any()


@pytest.mark.parametrize("name", ["Gaussian1D, SNR 5", "Sine1D", "logistic", "Exponential1D + constant", "Box1D"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_few_samples(name: str, n: int) -> None:
    fits = CASES[name](4, 3)
    few = Fits(fits.model, [x[:n] for x in fits.inputs], fits.y[:, :n], fits.truth)
    assert np.all(np.isfinite(estimated(few, valid=np.isfinite(few.y)).parameters))


def test_coordinates_that_are_no_numbers() -> None:
    fits = CASES["Gaussian1D + slope"](20, 3)
    x = fits.inputs[0].copy()
    x[[4, 50]] = np.nan
    y = np.where(np.isfinite(x), fits.y, np.nan)
    found = estimated(fits, inputs=[x[None]], y=y, valid=np.isfinite(y)).parameters
    gaps = estimated(Fits(fits.model, fits.inputs, y, fits.truth)).parameters
    assert np.median(np.abs(found[:, 1] - gaps[:, 1])) < 0.5


def test_a_model_that_is_no_number_at_a_sample_that_is_left_out() -> None:
    fits = CASES["PowerLaw1D"](20, 3)
    x, y = fits.inputs[0].copy(), fits.y.copy()
    x[0], y[:, 0] = 0.0, np.nan
    found = estimated(Fits(fits.model, [x], y, fits.truth)).parameters
    np.testing.assert_allclose(found[:, 2], fits.truth[:, 2], atol=0.5)


def test_a_model_whose_code_cannot_be_followed() -> None:
    """Its linear parameters are found by trial, and the others as those of any other model."""

    def opaque(x, top=1.0, middle=50.0, rate=0.5):
        values = [top / (1 + math.exp(min(-rate * (one - middle), 700.0))) for one in np.ravel(x)]
        return np.reshape(values, np.shape(x))

    fits = CASES["logistic"](12, 3)
    model = custom_model(opaque)()
    problem = problem_of(model, fits.inputs)
    assert problem.traits.traced is None
    np.testing.assert_array_equal(linear_by_trial(problem), [True, False, False])
    known = estimated(fits).parameters
    found = estimated(Fits(model, fits.inputs, fits.y, fits.truth)).parameters
    assert np.median(np.abs(found[:, 1] - fits.truth[:, 1])) < 4 * np.median(np.abs(known[:, 1] - fits.truth[:, 1])) + 5
