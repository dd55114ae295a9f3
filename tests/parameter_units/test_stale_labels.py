"""Maps whose attrs are older than their numbers: the error says how to correct them, and the call then works."""

import re

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models

import xr_modelfit  # noqa: F401  # the accessor

V = xr.DataArray(np.linspace(-50.0, 50.0, 101), dims="velocity", attrs={"units": "m s-1"})


@pytest.mark.parametrize("argument", ["p0", "bounds"])
def test_a_moment_that_keeps_the_unit_of_the_data(argument: str) -> None:
    y = np.array([[models.Gaussian1D(2.0, mean, 6.0)(V.values)] for mean in (-5.0, 8.0)])
    cube = xr.DataArray(y, dims=("y", "x", "velocity"), coords={"velocity": V}, attrs={"units": "K"})
    moment = (cube * V).sum("velocity") / cube.sum("velocity")
    moment.attrs = {"units": "K"}  # as xarray leaves them with keep_attrs

    def fit(map_: xr.DataArray) -> xr.Dataset:
        given = {"mean": map_ if argument == "p0" else (map_ - 1.0, map_ + 1.0)}
        if argument == "bounds":
            given = {"mean": tuple(one.assign_attrs(map_.attrs) for one in given["mean"])}
        start = {"p0": {"mean": moment.drop_attrs()}} if argument == "bounds" else {}
        return cube.modelfit(models.Gaussian1D(2, 0, 6), dim="velocity", sigma=0.1, **{argument: given}, **start)

    with pytest.raises(ValueError, match="cannot be converted") as caught:
        fit(moment)
    (text,) = re.findall(r"such as: \.assign_attrs\(units='([^']+)'\)", str(caught.value))
    np.testing.assert_allclose(fit(moment.assign_attrs(units=text))["mean"].values[:, 0], [-5.0, 8.0], rtol=1e-6)
