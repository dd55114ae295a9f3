"""Equality to the last bit, for laws."""

import numpy as np
import xarray as xr


def assert_same_bits(got: xr.Dataset, expected: xr.Dataset) -> None:
    """Same variables, dims, types and values to the last bit; NaN equals NaN."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        assert got[name].dims == expected[name].dims, name
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=str(name), strict=True)
    xr.testing.assert_identical(got.coords.to_dataset(), expected.coords.to_dataset())
