"""Starts from the data lead to the minimum that the truth leads to, in the shares that were promised."""

import pytest

from support.estimate_cases import CASES, lines, outcome

# By name: fits, and the least share of them. Where fits are slow there are fewer.
SHARES = {
    "Gaussian1D, SNR 5": (1000, 0.98),
    "Gaussian1D, SNR 3": (500, 0.96),
    "Gaussian1D + slope": (500, 0.98),
    "Gaussian1D + power law": (300, 0.96),
    "Lorentz1D": (300, 0.98),
    "Moffat1D": (100, 0.96),
    "RickerWavelet1D": (300, 0.98),
    "Box1D": (60, 0.98),
    "two blended lines + slope": (400, 0.92),
    "Sine1D": (500, 0.98),
    "Sine1D + constant": (500, 0.98),
    "Exponential1D": (500, 0.98),
    "Exponential1D, both signs": (500, 0.98),
    "Exponential1D + constant": (300, 0.98),
    "logistic": (150, 0.98),
    "logistic + constant": (60, 0.96),
    "PowerLaw1D": (300, 0.98),
    "custom, four bounds": (300, 0.9),
    "Gaussian2D + sky": (50, 0.97),
    "Moffat2D + sky": (40, 0.97),
}
SLOW = {"Voigt1D": (60, 0.95), "Trapezoid1D": (100, 0.7)}


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("name", SHARES)
def test_estimates_reach_what_the_truth_reaches(name: str) -> None:
    b, least = SHARES[name]
    found = outcome(CASES[name](b, 20261), "numpy")
    assert not found.estimates.failed.any()
    assert found.estimated.mean() >= least


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_also_where_fits_are_slow(name: str) -> None:
    b, least = SLOW[name]
    found = outcome(CASES[name](b, 20261), "numpy")
    assert found.estimated.mean() >= least


def test_one_start_for_all_is_not_enough() -> None:
    """Fewer than two thirds, as places vary by ten widths: estimates are worth something."""
    single = outcome(lines(1000, 20262), "numpy", single=True).single
    assert single is not None
    assert single.mean() < 2 / 3


@pytest.mark.slow
def test_ten_thousand_spectra() -> None:
    found = outcome(lines(10_000, 20263), "numpy")
    assert found.estimated.mean() >= 0.98
