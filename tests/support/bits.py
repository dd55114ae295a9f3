"""Equality to the last bit, for laws."""

import numpy as np
import xarray as xr


def assert_same_bits(got: xr.Dataset, expected: xr.Dataset) -> None:
    """Same variables, dims, types, values to the last bit and coordinates; NaN equals NaN."""
    assert list(got.data_vars) == list(expected.data_vars)
    for name in expected.data_vars:
        assert got[name].dims == expected[name].dims, name
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=str(name), strict=True)
    coords = (one.coords.to_dataset().drop_attrs(deep=False) for one in (got, expected))  # history names other dims
    xr.testing.assert_identical(*coords)
