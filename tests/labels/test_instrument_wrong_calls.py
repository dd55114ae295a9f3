"""Wrong bins and responses raise at once, before a sample is read: what was got, what was expected, what to do."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import custom_model
from astropy.modeling.models import Gaussian1D, Gaussian2D, Polynomial2D

from support.wrong_calls import KELVINS, VELOCITY, G, N, Stage, Wrong
from xr_modelfit import RecordError

STEP = VELOCITY[1] - VELOCITY[0]


def kernel(values: Any = (1.0, 2.0, 1.0), offsets: Any = None, dim: str = "offset", **attrs: str) -> xr.DataArray:
    coords = {} if offsets is None else {dim: (dim, np.asarray(offsets), attrs)}
    return xr.DataArray(np.asarray(values), dims=dim, coords=coords)


def matrix(n: int = N, out: int = N, **attrs: str) -> xr.DataArray:
    return xr.DataArray(np.ones((n, out)), dims=("velocity", "channel"), attrs=attrs)


def bounds(n: int = N, sides: int = 2, dtype: Any = float, **attrs: str) -> xr.DataArray:
    edges = np.zeros((n, sides)) if dtype is str else np.linspace(0, 1, n * sides).reshape(n, sides)
    return xr.DataArray(edges.astype(dtype), dims=("velocity", "bnds"), attrs=attrs, name="v_bnds")


@custom_model
def centred(x: Any, a: float = 1.0, b: float = 0.0) -> Any:
    """It sees all its samples."""
    return a * (x - x.mean()) + b


def two_places(x: Any, z: Any, a: float = 1.0, b: float = 1.0) -> Any:
    return a * x + b * z


def with_bounds(s: Stage, name: str) -> xr.DataArray:
    return s.cube.assign_coords(velocity=("velocity", VELOCITY, {"bounds": name}))


RESPONSES = {
    "unknown name": Wrong(
        lambda s: s.dataset.modelfit(G, "velocity", data="flux", response="flux_er"),
        ValueError, "'flux_er'", "known names are", "Did you mean 'flux_err'",
    ),
    "an array without names": Wrong(
        lambda s: s.fit(response=np.ones(3)), TypeError, "an ndarray", "a DataArray or a name", "Wrap it"
    ),
    "True": Wrong(lambda s: s.fit(response=True), TypeError, "response is True", "a DataArray", "the name of one"),
    "a matrix whose samples are in another order": Wrong(
        lambda s: s.cube.modelfit(
            G, "velocity", response=matrix().assign_coords(velocity=VELOCITY, channel=VELOCITY[::-1])
        ),
        ValueError, "labels of 'velocity' along 'channel'", "another order", "response.sel(channel=",
    ),
    "a function": Wrong(lambda s: s.fit(response=np.sin), TypeError, "ufunc", "DataArray", "name"),
    "sum 0": Wrong(lambda s: s.fit(response=kernel([1.0, -2.0, 1.0])), ValueError, "sum 0", "divided by", "Check"),
    "all zero": Wrong(lambda s: s.fit(response=0 * kernel()), ValueError, "sum 0", "divided by its sum", "Check"),
    "zero matrix": Wrong(lambda s: s.fit(response=0 * matrix()), ValueError, "sum 0", "a matrix", "Check"),
    "empty": Wrong(lambda s: s.fit(response=kernel([])), ValueError, "empty", "{'offset': 0}", "Give the values"),
    "empty matrix": Wrong(lambda s: s.fit(response=matrix(out=0)), ValueError, "empty", "'channel': 0", "Give"),
    "NaN": Wrong(
        lambda s: s.fit(response=kernel([1.0, np.nan, 1.0])), ValueError, "1 of 3 values", "not finite", "Fill it"
    ),
    "infinite": Wrong(
        lambda s: s.fit(response=kernel([1.0, np.inf, 1.0])), ValueError, "1 of 3 values", "not finite", "with 0"
    ),
    "NaN, lazy": Wrong(
        lambda s: s.fit(response=kernel([1.0, np.nan, 1.0]).chunk()), ValueError, "1 of 3", "not finite", "Fill it"
    ),
    "NaN at all positions": Wrong(
        lambda s: s.fit(response=np.nan * kernel().expand_dims(y=3)), ValueError, "9 of 9", "not finite", "Fill it"
    ),
    "sum 0 at all positions": Wrong(
        lambda s: s.fit(response=kernel([1.0, -1.0, 0.0]).expand_dims(x=2)), ValueError, "sum 0", "divided", "Check"
    ),
    "complex": Wrong(lambda s: s.fit(response=1j * kernel()), TypeError, "complex128", "real numbers", "response"),
    "text": Wrong(lambda s: s.fit(response=kernel(["a", "b", "c"])), TypeError, "<U1", "real numbers", "response"),
    "an even number of samples": Wrong(
        lambda s: s.fit(response=kernel([1.0, 2.0])), ValueError, "2 offsets", "is even", "response.assign_coords"
    ),
    "samples that are not equally spaced": Wrong(
        lambda s: s.cube.assign_coords(velocity=VELOCITY**2).modelfit(G, "velocity", response=kernel()),
        ValueError, "3 offsets", "not equally spaced", "response.assign_coords",
    ),
    "offsets in s along m/s": Wrong(
        lambda s: s.labelled.modelfit(KELVINS, "velocity", response=kernel(offsets=[-1, 0, 1], units="s")),
        ValueError, "in 's'", "'m s-1'", "attrs['units']",
    ),
    "offsets in no unit that is known": Wrong(
        lambda s: s.labelled.modelfit(G, "velocity", response=kernel(offsets=[-1, 0, 1], units="channels")),
        ValueError, "'channels'", "'m s-1'", "attrs['units']",
    ),
    "durations along velocities": Wrong(
        lambda s: s.fit(response=kernel(offsets=np.array([-1, 0, 1], "m8[s]"))),
        ValueError, "durations", "'velocity' holds no times", "numbers",
    ),
    "dates as offsets": Wrong(
        lambda s: s.dated.modelfit(G, "velocity", response=kernel(offsets=pd.date_range("2000", periods=3))),
        TypeError, "datetime64", "numbers", "offsets of the response",
    ),
    "offsets that are not finite": Wrong(
        lambda s: s.fit(response=kernel(offsets=[-1, np.nan, 1])), ValueError, "'offset'", "finite", "offsets"
    ),
    "named like the fitted dim": Wrong(
        lambda s: s.fit(response=kernel(dim="velocity")),
        ValueError, "('velocity',)", "a dim of offsets|one dim of offsets", "response.rename({'velocity': 'offset'})",
    ),
    "no dim of its own": Wrong(
        lambda s: s.fit(response=xr.DataArray(np.ones(3), dims="y")), ValueError, "('y',)", "one dim of", "Rename"
    ),
    "two dims of its own": Wrong(
        lambda s: s.fit(response=xr.DataArray(np.ones((3, 3)), dims=("a", "b"))), ValueError, "('a', 'b')", "one", "ren"
    ),
    "a matrix for fewer samples": Wrong(
        lambda s: s.fit(response=matrix(out=N - 1)), ValueError, f"by {N - 1} along", f"{N} samples", f"{N} along"
    ),
    "a matrix of fewer places": Wrong(
        lambda s: s.fit(response=matrix(n=N - 1)), ValueError, f"{N - 1} positions", f"data {N}", "Select the same"
    ),
    "a matrix of another index": Wrong(
        lambda s: s.fit(response=matrix().assign_coords(velocity=VELOCITY + 1)),
        ValueError, "another index", "differ by up to 1.0", "reindex_like",
    ),
    "a matrix with a unit": Wrong(
        lambda s: s.fit(response=matrix(units="cm2")), ValueError, "'cm2'", "a matrix has none", "Divide it"
    ),
    "other positions": Wrong(
        lambda s: s.fit(response=kernel().expand_dims(y=[11.0, 20.0, 30.0])),
        ValueError, "another index along 'y'", "differ by up to 1.0", "reindex_like",
    ),
    "two fitted dims": Wrong(
        lambda s: s.image.modelfit(Gaussian2D(), ("lat", "lon"), coords={"x": "lon", "y": "lat"}, response=kernel()),
        ValueError, "2 dims are fitted", "along one", "fftconvolve",
    ),
    "a matrix and a pooled dim": Wrong(
        lambda s: s.cube.modelfit(G, ("velocity", "y"), coords="velocity", response=matrix()),
        ValueError,
        "a matrix along 'velocity'",
        "pools the samples of 2 dims",
        "kernel",
    ),
    "two coordinates along the fitted dim": Wrong(
        lambda s: s.cube.assign_coords(z=("velocity", VELOCITY)).modelfit(
            two_places, "velocity", coords={"x": "velocity", "z": "z"}, response=kernel()
        ),
        ValueError, "2 inputs", "it shifts one", "Give a matrix",
    ),
    "a model that sees all its samples": Wrong(
        lambda s: s.fit(centred(), response=kernel()), ValueError, "response", "sees all its samples", "pointwise=True"
    ),
}  # fmt: skip

BINS = {
    "unknown name": Wrong(
        lambda s: s.fit(integrate="velocity_bounds"), ValueError, "'velocity_bounds'", "known names are", "integrate"
    ),
    "a number": Wrong(lambda s: s.fit(integrate=3), TypeError, "an int", "True for the bins", "name of CF bounds"),
    "an array without names": Wrong(
        lambda s: s.fit(integrate=np.ones((N, 2))), TypeError, "an ndarray", "the name of CF bounds", "velocity_bnds"
    ),
    "a list of numbers": Wrong(
        lambda s: s.fit(integrate=[[0.0, 1.0]] * N), TypeError, "a list", "True for the bins", "dims=('velocity',"
    ),
    "a width": Wrong(
        lambda s: s.fit(integrate={"velocity": 2.0}), TypeError, "integrate is 2.0", "a DataArray", "the name of one"
    ),
    "the coordinate itself": Wrong(
        lambda s: s.fit(integrate="velocity"), ValueError, "'velocity' itself", "bounds of its bins", "': True}"
    ),
    "an unknown key": Wrong(
        lambda s: s.fit(integrate={"frequency": True}), ValueError, "'frequency'", "inputs are 'x'", "'velocity'"
    ),
    "three edges": Wrong(
        lambda s: s.fit(integrate=bounds(sides=3)), ValueError, "'bnds': 3", "of size 2", "two edges of each bin"
    ),
    "of fewer samples": Wrong(
        lambda s: s.fit(integrate=bounds(N - 1)), ValueError, f"{N - 1} positions", f"data {N}", "Select the same"
    ),
    "of another index": Wrong(
        lambda s: s.fit(integrate=bounds().assign_coords(velocity=VELOCITY + 1)),
        ValueError, "another index", "up to 1.0", "reindex_like",
    ),
    "without a second edge": Wrong(
        lambda s: s.fit(integrate=bounds().isel(bnds=0)), ValueError, "('velocity',)", "one more of size 2", "integrate"
    ),
    "of text": Wrong(lambda s: s.fit(integrate=bounds(dtype=str)), TypeError, "<U", "real numbers or times", "bounds"),
    "complex": Wrong(
        lambda s: s.fit(integrate=bounds(dtype=complex)), TypeError, "complex128", "real numbers or times", "bounds"
    ),
    "in another kind of unit": Wrong(
        lambda s: s.labelled.modelfit(KELVINS, "velocity", integrate=bounds(units="K")),
        ValueError, "in 'K'", "'m s-1', the unit of the coordinate 'velocity'", "bounds", "attrs['units']",
    ),
    "times for velocities": Wrong(
        lambda s: s.fit(integrate=bounds(dtype="M8[s]")), ValueError, "hold times", "'velocity' holds none", "bounds"
    ),
    "numbers for dates": Wrong(
        lambda s: s.dated.modelfit(G, "velocity", integrate=bounds()),
        ValueError, "numbers without units", "holds times", "xr.decode_cf",
    ),
    "another epoch": Wrong(
        lambda s: s.cube.assign_coords(velocity=("velocity", VELOCITY, {"units": "days since 2000-01-01"})).modelfit(
            G, "velocity", integrate=bounds(units="days since 1999-01-01")
        ),
        ValueError, "days since 1999-01-01", "days since 2000-01-01", "xr.decode_cf",
    ),
    "bounds that are not there": Wrong(
        lambda s: with_bounds(s, "v_bnds").modelfit(G, "velocity", integrate=True),
        ValueError, "'v_bnds'", "which are not there", "Pass the Dataset",
    ),
    "the same by name of the coordinate": Wrong(
        lambda s: with_bounds(s, "v_bnds").modelfit(G, "velocity", integrate={"velocity": True}),
        ValueError, "'v_bnds'", "not there", "attrs.pop('bounds')",
    ),
    "one sample": Wrong(
        lambda s: s.cube.isel(velocity=[3]).modelfit(G, "velocity", integrate=True),
        ValueError, "1 place", "between neighbours", "integrate=False",
    ),
    "a coordinate that is not in order": Wrong(
        lambda s: s.cube.assign_coords(velocity=np.roll(VELOCITY, 3)).modelfit(G, "velocity", integrate=True),
        ValueError,
        "rises and falls",
        "between neighbours",
        "data.sortby('velocity')",
    ),
    "a coordinate over two fitted dims": Wrong(
        lambda s: s.image.assign_coords(a=(("lat", "lon"), np.ones((5, 6))), b=("lon", np.ones(6))).modelfit(
            Polynomial2D(1), ("lat", "lon"), coords={"x": "a", "y": "b"}, integrate=True
        ),
        ValueError, "'lat', 'lon'", "along one dim", "a_bnds",
    ),
    "bounds that may be of two coordinates": Wrong(
        lambda s: s.cube.assign_coords(z=("velocity", VELOCITY)).modelfit(
            two_places, "velocity", coords={"x": "velocity", "z": "z"}, integrate=bounds()
        ),
        ValueError, "'v_bnds'", "one coordinate", "integrate={coordinate: bounds}",
    ),
    "a model that sees all its samples": Wrong(
        lambda s: s.fit(centred(), integrate=True), ValueError, "integrate", "sees all its samples", "pointwise=True"
    ),
    "a model that is said to": Wrong(
        lambda s: s.fit(integrate=True, pointwise=False), ValueError, "integrate", "sees all", "pointwise=True"
    ),
}  # fmt: skip

CALLS = {f"response, {name}": wrong for name, wrong in RESPONSES.items()}
CALLS |= {f"bins, {name}": wrong for name, wrong in BINS.items()}


@pytest.mark.parametrize("form", ["dask", "file"])
@pytest.mark.parametrize("name", CALLS)
def test_wrong_call(name: str, form: str) -> None:
    wrong, stage = CALLS[name], Stage(dask=form == "dask")
    with pytest.raises(wrong.error) as caught:
        wrong.call(stage)
    text = str(caught.value)
    for words in (wrong.got, wrong.expected, wrong.advice):
        assert any(word in text for word in words.split("|")), text
    assert not stage.read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"response": kernel([1.0, -1.0, 0.0])}, "sum 0"),
        ({"response": kernel([1.0, 1.0])}, "is even"),
        ({"response": "lsf"}, "'lsf', which is not there"),
        ({"integrate": "t_bnds"}, "'t_bnds', which is not there"),
        ({"integrate": 3}, "an int"),
        ({"integrate": {"s": True}}, "inputs are 'x'"),
    ],
)
def test_wrong_evaluation(options: dict[str, Any], message: str) -> None:
    t = np.arange(8.0)
    data = xr.DataArray(Gaussian1D(2, 4, 1.5)(t), dims="t", coords={"t": t})
    fit = data.modelfit(Gaussian1D(1, 3, 1), "t")
    with pytest.raises(ValueError if "int" not in message or "inputs" in message else TypeError, match=message):
        fit.modelfit.evaluate(data, **options)


def test_a_kernel_for_a_model_that_saw_all_its_samples() -> None:
    """What a fit refuses, an evaluation refuses too."""
    t = np.arange(8.0)
    data = xr.DataArray(2 * t, dims="t", coords={"t": t})
    fit = data.modelfit(centred(), "t")
    with pytest.raises((ValueError, RecordError), match="sees all its samples"):
        fit.modelfit.evaluate(data, response=kernel())
    with pytest.raises((ValueError, RecordError), match="sees all its samples"):
        fit.modelfit.evaluate(data, integrate=True)


def test_offsets_of_a_unit_that_are_given_as_quantities_must_match() -> None:
    t = np.arange(8.0)
    data = xr.DataArray(Gaussian1D(2, 4, 1.5)(t), dims="t", coords={"t": ("t", t, {"units": "s"})})
    response = kernel(offsets=[-1.0, 0.0, 1.0], units="m")
    with pytest.raises(ValueError, match=r"'m'.*'s'"):
        data.modelfit(Gaussian1D(1, 3 * u.s, 1 * u.s), "t", response=response)
    with pytest.raises(ValueError, match=r"'m'.*'s'"):
        data.modelfit(Gaussian1D(1, 3, 1), "t").modelfit.evaluate(data, response=response)
