"""Statuses: their codes are in files for good, their words are what users read."""

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Linear1D

import xr_modelfit
from xr_modelfit import FitStatus

# Written to files: a line may be added, none may ever change.
CODES = {
    1: "converged",
    2: "converged_at_bound",
    0: "not_attempted",
    -1: "max_iterations",
    -2: "no_progress",
    -3: "degenerate",
    -4: "too_few_points",
    -5: "no_data",
    -6: "nonfinite_data",
    -7: "invalid_start",
    -8: "nonfinite_model",
    -9: "fitter_error",
    -10: "fitter_warning",
}


def test_codes_are_never_renumbered() -> None:
    assert {int(status): status.meaning for status in FitStatus} == CODES


def test_positive_means_success() -> None:
    assert {status.meaning for status in FitStatus if status > 0} == {"converged", "converged_at_bound"}


def test_an_unwritten_store_reads_as_not_attempted() -> None:
    assert FitStatus(int(np.zeros(1, dtype=np.int8)[0])) is FitStatus.NOT_ATTEMPTED


def test_codes_fit_into_a_byte() -> None:
    assert all(-128 <= status <= 127 for status in FitStatus)


@pytest.mark.parametrize("status", FitStatus, ids=lambda s: s.meaning)
def test_each_status_has_a_sentence(status: FitStatus) -> None:
    """One sentence, that ends, and that no other status has."""
    sentence = status.sentence
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert [other.sentence for other in FitStatus].count(sentence) == 1


@pytest.mark.parametrize("status", FitStatus, ids=lambda s: s.meaning)
def test_a_meaning_is_one_word_of_cf(status: FitStatus) -> None:
    assert status.meaning.replace("_", "").isalpha()
    assert status.meaning == status.meaning.lower()


def test_an_unknown_code_is_no_status() -> None:
    with pytest.raises(ValueError, match="-11"):
        FitStatus(-11)


def test_a_result_tells_its_codes() -> None:
    """CF: as many values as meanings, in the same order, values of the variable's own type."""
    data = xr.DataArray([[1.0, 2.0, 3.5], [np.nan] * 3], dims=("pix", "x"))
    status = xr_modelfit.fit(data, Linear1D(), "x")["fit_status"]
    assert status.dtype == np.int8
    assert status.attrs["flag_values"].dtype == np.int8
    values, meanings = status.attrs["flag_values"].tolist(), status.attrs["flag_meanings"].split()
    assert dict(zip(values, meanings, strict=True)) == CODES
    assert [CODES[int(code)] for code in status] == ["converged", "no_data"]
