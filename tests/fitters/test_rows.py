"""Rows of tables, against what NumPy says."""

import numpy as np
import pytest

from xr_modelfit.fitters.rows import all_in_row, any_in_row, together


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (4, 0), (7, 5)])
def test_rows_of_truths_are_those_of_numpy(shape: tuple[int, int]) -> None:
    for seed in range(5):
        table = np.random.default_rng(seed).random(shape) < 0.6
        assert np.array_equal(all_in_row(table), table.all(axis=1))
        assert np.array_equal(any_in_row(table), table.any(axis=1))
        assert np.array_equal(any_in_row(np.asfortranarray(table)), table.any(axis=1))


@pytest.mark.parametrize("ids", [[], [3], [0, 1, 2], [5, 6], [2, 4], [0, 2, 1, 3], [1, 1, 3], [3, 2, 1], [4, 4]])
def test_fits_taken_together_are_those_that_were_named(ids: list[int]) -> None:
    values, which = np.arange(10.0), np.array(ids, dtype=int)
    at = together(which)
    assert values[at].tolist() == [float(i) for i in ids]
    assert isinstance(at, slice) == (len(ids) > 0 and ids == list(range(ids[0], ids[0] + len(ids))))
