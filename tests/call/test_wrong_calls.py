"""Wrong calls raise at once, before a sample is read; wrong positions become a status and disturb no other.

The data of a wrong call cannot be read (`support.wrong_calls`). Each message is
held to three things: what was got, what was expected, and what to do.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import custom_model
from astropy.modeling.fitting import (
    FittingWithOutlierRemoval,
    LinearLSQFitter,
    SimplexLSQFitter,
    SLSQPLSQFitter,
    TRFLSQFitter,
)
from astropy.modeling.models import (
    Const1D,
    Gaussian1D,
    Gaussian2D,
    Identity,
    Linear1D,
    Polynomial2D,
    Rotation2D,
    fix_inputs,
)

import xr_modelfit
from support.wrong_calls import KELVINS, LABELS, SIZES, VELOCITY, G, N, SampleWasRead, Stage, Wrong
from xr_modelfit import FitStatus, RecordError
from xr_modelfit.messages import suggestion

pytestmark = pytest.mark.quick_share(3)


def companion(*dims: str) -> xr.DataArray:
    """A map of ones in memory, with the labels of the data."""
    return xr.DataArray(np.ones([SIZES[d] for d in dims]), dims=dims, coords={d: LABELS[d] for d in dims})


def shifted(dim: str, by: float) -> xr.DataArray:
    """A companion along ``dim`` whose labels are off."""
    return companion(dim).assign_coords({dim: np.array(LABELS[dim]) + by})


def two_lines(**constraints: Any) -> Any:
    return Gaussian1D(1, 40, 10, **constraints) + Gaussian1D(1, 70, 10)


def twice(model: Any) -> Any:
    return 2 * model.slope


def tied(tie: Any, *, units: bool = False) -> Any:
    """Two lines, the place of the second tied to the first."""
    model = KELVINS + KELVINS.copy() if units else two_lines()
    model.mean_1.tied = tie
    return model


@custom_model
def misspelt(x: Any, scale: float = 1.0) -> Any:
    return scale * y  # noqa: F821


@custom_model
def of_one_size(x: Any, scale: float = 1.0) -> Any:
    return scale * np.arange(7.0)


@custom_model
def positive(x: Any, scale: float = -1.0) -> Any:
    if np.any(scale < 0):
        raise ValueError("scale is below 0")
    return scale * x


@custom_model
def volume(a: Any, b: Any, c: Any, scale: float = 1.0) -> Any:
    return scale * a * b * c


@pytest.fixture(scope="module")
def lines() -> xr.Dataset:
    """A good result, over y (with labels)."""
    data = xr.DataArray(
        [[0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 7.0]],
        dims=("y", "t"),
        coords={"y": [10.0, 20.0], "t": np.arange(4.0)},
        name="height",
    )
    return data.modelfit(Linear1D(), dim="t")


CALLS = {
    # Dims
    "unknown dim": Wrong(
        lambda s: s.cube.modelfit(G, dim="velocty"),
        ValueError,
        "'velocty'",
        "('y', 'x', 'velocity')",
        "Did you mean 'velocity'",
    ),
    "unknown dim among several": Wrong(
        lambda s: s.cube.modelfit(G, dim=("y", "wave")), ValueError, "no dim 'wave'", "('y', 'x', 'velocity')", "dim"
    ),
    "axis number": Wrong(
        lambda s: s.cube.modelfit(G, dim=2), ValueError, "dim is 2", "('y', 'x', 'velocity')", "no dim 2"
    ),
    "coordinate as dim": Wrong(
        lambda s: s.cube.assign_coords(freq=("velocity", VELOCITY)).modelfit(G, dim="freq"),
        ValueError,
        "'freq'",
        "('y', 'x', 'velocity')",
        "no dim 'freq'",
    ),
    "dim missing": Wrong(
        lambda s: s.cube.modelfit(G), ValueError, "dim is missing", "('y', 'x', 'velocity')", "dim='velocity'"
    ),
    "dim missing, coordinate with two dims": Wrong(
        lambda s: s.cube.assign_coords(w=(("y", "velocity"), np.ones((3, N)))).modelfit(G, coords="w"),
        ValueError,
        "('y', 'velocity')",
        "1-D",
        "dim='velocity'",
    ),
    "no dim at all": Wrong(
        lambda s: s.cube.modelfit(G, dim=()), ValueError, "dim is ()", "at least one", "('y', 'x', 'velocity')"
    ),
    "dim twice": Wrong(
        lambda s: s.cube.modelfit(G, dim=("velocity", "velocity")),
        ValueError,
        "('velocity', 'velocity')",
        "once",
        "each dim",
    ),
    # Coordinates
    "unknown coordinate": Wrong(
        lambda s: s.fit(coords="velocty"), ValueError, "'velocty'", "'y', 'x', 'velocity'", "Did you mean 'velocity'"
    ),
    "key of coords is no input": Wrong(
        lambda s: s.fit(coords={"velocity": "x"}),
        ValueError,
        "'velocity'",
        "inputs are 'x'",
        "coords={'x': 'velocity'}",
    ),
    "two inputs, no coords": Wrong(
        lambda s: s.image.modelfit(Gaussian2D(), dim=("lat", "lon")),
        ValueError,
        "'x' has no coordinate",
        "'lat', 'lon'",
        "coords={'x': ...}",
    ),
    "two inputs, one coordinate": Wrong(
        lambda s: s.image.modelfit(Gaussian2D(), dim=("lat", "lon"), coords={"x": "lon"}),
        ValueError,
        "'y' has no coordinate",
        "'lat', 'lon'",
        "coords={'y': ...}",
    ),
    "two inputs, one name": Wrong(
        lambda s: s.image.modelfit(Gaussian2D(), dim=("lat", "lon"), coords="lon"),
        ValueError,
        "'lon'",
        "2 inputs",
        "coords={'x': ..., 'y': ...}",
    ),
    "two inputs, one dim": Wrong(
        lambda s: s.fit(Polynomial2D(1)), ValueError, "'x' has no coordinate", "'velocity'", "coords={'x': ...}"
    ),
    "one input, two dims": Wrong(
        lambda s: s.image.modelfit(G, dim=("lat", "lon")),
        ValueError,
        "'x' has no coordinate",
        "'lat', 'lon'",
        "coords={'x': ...}",
    ),
    "coordinate of text": Wrong(
        lambda s: s.cube.assign_coords(velocity=[f"channel {i}" for i in range(N)]).modelfit(G, dim="velocity"),
        TypeError,
        "<U",
        "real numbers",
        "coords={'x': ...}",
    ),
    "MultiIndex": Wrong(
        lambda s: s.array(
            {"s": 4},
            **xr.Coordinates.from_pandas_multiindex(
                pd.MultiIndex.from_product([[0, 1], [2, 3]], names=("u", "v")), "s"
            ),
        ).modelfit(G, dim="s"),
        TypeError,
        "MultiIndex with levels 'u', 'v'",
        "numbers",
        "coords={'x': 'u'}",
    ),
    "unit of dates": Wrong(
        lambda s: s.dated.modelfit(G, dim="velocity", time_units="months since 2000-01-01"),
        ValueError,
        "'months'",
        "Use days, hours",
        "depends on the calendar",
    ),
    "unit of dates without epoch": Wrong(
        lambda s: s.dated.modelfit(G, dim="velocity", time_units="hours"),
        ValueError,
        "'hours'",
        "counted from an epoch",
        "hours since 1970-01-01",
    ),
    "epoch that is no date": Wrong(
        lambda s: s.dated.modelfit(G, dim="velocity", time_units="days since 2001-02-30"),
        ValueError,
        "'2001-02-30'",
        "no date of the calendar",
        "hours since 2015-03-01 12:00",
    ),
    "unit of dates without dates": Wrong(
        lambda s: s.fit(time_units="days since 2000-01-01"), ValueError, "'velocity'", "hold no times", "Leave it out"
    ),
    "unit of dates that is no text": Wrong(
        lambda s: s.dated.modelfit(G, dim="velocity", time_units=1), TypeError, "an int", "a str", "hours since"
    ),
    "equivalencies of an unknown input": Wrong(
        lambda s: s.fit(equivalencies={"velo": u.spectral()}), ValueError, "'velo'", "'x'", "Did you mean 'velocity'"
    ),
    "equivalencies of another kind": Wrong(
        lambda s: s.fit(equivalencies={"x": "spectral"}), TypeError, "a str", "equivalencies['x']", "u.spectral()"
    ),
    "complex coordinate": Wrong(
        lambda s: s.cube.assign_coords(velocity=VELOCITY * 1j).modelfit(G, dim="velocity"),
        TypeError,
        "complex128",
        "real numbers",
        "coords={'x': ...}",
    ),
    "coordinate of another size": Wrong(
        lambda s: s.fit(coords=xr.DataArray(np.arange(5.0), dims="velocity")),
        ValueError,
        "5 positions",
        "12",
        "Select the same",
    ),
    "coordinate on another index": Wrong(
        lambda s: s.fit(coords=shifted("velocity", 0.5)), ValueError, "by up to 0.5", "data", "reindex_like"
    ),
    "coordinate on another dim": Wrong(
        lambda s: s.fit(coords=xr.DataArray(np.arange(5.0), dims="wave")),
        ValueError,
        "('wave',)",
        "('y', 'x', 'velocity')",
        "Rename",
    ),
    "coordinate without names": Wrong(
        lambda s: s.fit(coords={"x": VELOCITY}), TypeError, "ndarray", "DataArray or a name", "xr.DataArray("
    ),
    # Data
    "complex data": Wrong(
        lambda s: s.of(complex).modelfit(G, dim="velocity"), TypeError, "complex128", "real numbers", "data.real"
    ),
    "boolean data": Wrong(
        lambda s: s.of(bool).modelfit(G, dim="velocity"), TypeError, "bool", "real numbers", "astype(float)"
    ),
    "dates as data": Wrong(
        lambda s: s.of("datetime64[ns]").modelfit(G, dim="velocity"),
        TypeError,
        "datetime64",
        "real numbers",
        "timedelta64",
    ),
    "time spans as data": Wrong(
        lambda s: s.of("timedelta64[ns]").modelfit(G, dim="velocity"),
        TypeError,
        "timedelta64",
        "real numbers",
        "/ np.timedelta64",
    ),
    "text as data": Wrong(
        lambda s: s.of("U3").modelfit(G, dim="velocity"), TypeError, "<U3", "real numbers", "astype(float)"
    ),
    "data= on a DataArray": Wrong(
        lambda s: s.fit(data="flux"), ValueError, "data is 'flux'", "DataArray", "Leave it out"
    ),
    "data= unknown": Wrong(
        lambda s: s.dataset.modelfit(G, dim="velocity", data="fluks"),
        ValueError,
        "'fluks'",
        "'flux_err'",
        "Did you mean 'flux'",
    ),
    "unknown dim of a Dataset": Wrong(
        lambda s: s.dataset.modelfit(G, dim="velocty"), ValueError, "'velocty'", "'velocity'", "Did you mean 'velocity'"
    ),
    "an array": Wrong(
        lambda s: xr_modelfit.fit(np.ones((3, N)), G, "velocity"),
        TypeError,
        "ndarray",
        "DataArray or a Dataset",
        "Wrap it",
    ),
    "a Variable": Wrong(
        lambda s: xr_modelfit.fit(s.cube.variable, G, "velocity"),
        TypeError,
        "Variable",
        "DataArray or a Dataset",
        "Wrap it",
    ),
    # Model
    "model class": Wrong(lambda s: s.fit(Gaussian1D), TypeError, "class Gaussian1D", "instance", "Gaussian1D("),
    "no model": Wrong(lambda s: s.fit(np.exp), TypeError, "ufunc", "instance of an astropy model", "custom_model"),
    "model set": Wrong(
        lambda s: s.fit(Gaussian1D([1, 2], [1, 2], [1, 2], n_models=2)), ValueError, "2 models", "one model", "p0="
    ),
    "model with two outputs": Wrong(
        lambda s: s.cube.modelfit(Rotation2D(3), dim=("y", "x")), ValueError, "2 outputs", "one output", "model"
    ),
    "model with units": Wrong(
        lambda s: s.fit(Gaussian1D(1, 50 * u.km, 10 * u.km)),
        ValueError,
        "the unit 'km' on 'mean'",
        "'velocity' has no units",
        "assign_attrs(units='km')",
    ),
    "model with units on data without": Wrong(
        lambda s: s.labelled.drop_attrs(deep=False).modelfit(KELVINS, dim="velocity"),
        ValueError,
        "the unit 'K' on 'amplitude'",
        "the data has no units",
        "data.assign_attrs(units='K')",
    ),
    "model with other units than the data": Wrong(
        lambda s: s.labelled.assign_attrs(units="Jy").modelfit(KELVINS, dim="velocity"),
        ValueError,
        "the unit 'K' on 'amplitude'",
        "the data is in 'Jy'",
        "Correct the units",
    ),
    "model with units on data with an unknown one": Wrong(
        lambda s: s.labelled.assign_attrs(units="furlongs per foo").modelfit(KELVINS, dim="velocity"),
        ValueError,
        "'furlongs per foo'",
        "no unit that is known",
        "Correct the string",
    ),
    "model with units on some parameters": Wrong(
        lambda s: s.labelled.modelfit(Gaussian1D(1 * u.K, 50 * u.km / u.s, 10), dim="velocity"),
        ValueError,
        "none on 'stddev'",
        "'m s-1'",
        "Give it one",
    ),
    "p0 in another kind of unit": Wrong(
        lambda s: s.labelled.modelfit(G, dim="velocity", p0={"mean": 5 * u.kg}),
        ValueError,
        "p0['mean'] is in 'kg'",
        "'m s-1'",
        "by the units of the data",
    ),
    "bound without unit beside a start with one": Wrong(
        lambda s: s.labelled.modelfit(G, dim="velocity", p0={"mean": 5 * u.km / u.s}, bounds={"mean": (1, 9)}),
        ValueError,
        "bounds['mean']",
        "'km s-1'",
        "low * unit",
    ),
    "sigma in another kind of unit": Wrong(
        lambda s: s.labelled.modelfit(G, dim="velocity", sigma=1 * u.Jy), ValueError, "'Jy'", "'K'", "Correct its"
    ),
    "model without parameters": Wrong(
        lambda s: s.fit(Identity(1)), ValueError, "Identity", "no parameters", "nothing to fit"
    ),
    "model with arrays of the wrong shape": Wrong(
        lambda s: s.fit(Gaussian1D(np.ones(7), np.ones(7), np.ones(7))),
        ValueError,
        "(7,)",
        "(3, 2)",
        "p0={'amplitude': DataArray}",
    ),
    "model with a NaN start": Wrong(
        lambda s: s.fit(Gaussian1D(1, np.nan, 10)), ValueError, "nan", "finite", "p0={'mean': ...}"
    ),
    "three inputs": Wrong(
        lambda s: s.image.modelfit(
            volume(),
            dim=...,
            coords=dict(zip(volume().inputs, ("lat", "lon", "t"), strict=True)),
            fitter=TRFLSQFitter(),
        ),
        ValueError,
        "3 inputs",
        "one or two",
        "fitters",
    ),
    "fix_inputs": Wrong(
        lambda s: s.fit(fix_inputs(Gaussian2D(), {"y": 1.0}), fitter=TRFLSQFitter()),
        ValueError,
        "fix_inputs",
        "fewer inputs",
        "custom_model",
    ),
    # Starts
    "unknown key of p0": Wrong(
        lambda s: s.fit(p0={"amplitud": 2}),
        ValueError,
        "'amplitud'",
        "'amplitude', 'mean', 'stddev'",
        "Did you mean 'amplitude'",
    ),
    "key of p0 without number": Wrong(
        lambda s: s.fit(two_lines(), p0={"mean": 2}),
        ValueError,
        "'mean'",
        "'mean_0', 'stddev_0'",
        "Did you mean 'mean_",
    ),
    "p0 by two spellings": Wrong(
        lambda s: s.fit(Gaussian1D(name="line") + Const1D(), p0={"line_mean": 2, "mean_0": 3}),
        ValueError,
        "'mean_0'",
        "'line_mean'",
        "twice",
    ),
    "p0 without names": Wrong(
        lambda s: s.fit(p0={"mean": np.ones((3, 2))}), TypeError, "shape (3, 2)", "number or a DataArray", "('y', 'x')"
    ),
    "p0 a sequence": Wrong(
        lambda s: s.fit(p0=[1, 2, 3]), TypeError, "p0 is a list", "number or DataArray", "pass {parameter"
    ),
    "p0 of another model": Wrong(
        lambda s: s.fit(p0=xr.Dataset({"slope": 1.0})),
        ValueError,
        "'slope'",
        "'amplitude', 'mean', 'stddev'",
        "Pass a dict",
    ),
    "p0 NaN": Wrong(lambda s: s.fit(p0={"mean": np.nan}), ValueError, "nan", "finite", "p0['mean']"),
    "p0 None": Wrong(lambda s: s.fit(p0={"mean": None}), TypeError, "None", "model's own value", "leave it out"),
    "p0 text": Wrong(lambda s: s.fit(p0={"mean": "y"}), TypeError, "'y'", "a number or a DataArray", "pass"),
    "p0 with unit": Wrong(
        lambda s: s.fit(p0={"mean": 5 * u.km}), ValueError, "unit 'km'", "is not known", "Give a plain number"
    ),
    "p0 complex": Wrong(
        lambda s: s.fit(p0={"mean": companion("y") * 1j}), TypeError, "complex128", "real numbers", "p0['mean']"
    ),
    "p0 over the fitted dim": Wrong(
        lambda s: s.fit(p0={"mean": companion("y", "velocity")}),
        ValueError,
        "'velocity'",
        "('y', 'x')",
        "Reduce it over 'velocity'",
    ),
    "p0 over an unknown dim": Wrong(
        lambda s: s.fit(p0={"mean": companion("x").rename(x="lon")}),
        ValueError,
        "no dim 'lon'",
        "('y', 'x', 'velocity')",
        "Rename",
    ),
    "p0 on another index": Wrong(
        lambda s: s.fit(p0={"mean": shifted("y", 0.25)}), ValueError, "by up to 0.25", "data", "reindex_like"
    ),
    # Bounds
    "bounds not a pair": Wrong(
        lambda s: s.fit(bounds={"mean": 3}), TypeError, "is 3", "(low, high)", "None where there is no bound"
    ),
    "bounds of three": Wrong(
        lambda s: s.fit(bounds={"mean": (1, 2, 3)}), TypeError, "(1, 2, 3)", "(low, high)", "pass a pair"
    ),
    "bounds reversed": Wrong(lambda s: s.fit(bounds={"mean": (90, 10)}), ValueError, "(90, 10)", "above", "Swap"),
    "start outside its bounds": Wrong(
        lambda s: s.fit(bounds={"mean": (60, 90)}), ValueError, "is 50", "(60, 90)", "p0={'mean': ...}"
    ),
    "model's start outside its bounds": Wrong(
        lambda s: s.fit(Gaussian1D(1, 50, 10, bounds={"mean": (60, None)})),
        ValueError,
        "is 50",
        "(60, inf)",
        "p0={'mean': ...}",
    ),
    "unknown key of bounds": Wrong(
        lambda s: s.fit(bounds={"men": (0, 90)}),
        ValueError,
        "'men'",
        "'amplitude', 'mean', 'stddev'",
        "Did you mean 'mean'",
    ),
    "bounds without names": Wrong(
        lambda s: s.fit(bounds={"mean": (np.zeros(3), None)}),
        TypeError,
        "shape (3,)",
        "number or a DataArray",
        "('y', 'x')",
    ),
    "bounds over the fitted dim": Wrong(
        lambda s: s.fit(bounds={"mean": (companion("velocity"), None)}),
        ValueError,
        "'velocity'",
        "('y', 'x')",
        "Reduce",
    ),
    # Companions
    "sigma and weights": Wrong(
        lambda s: s.fit(sigma=1, weights=1), ValueError, "both", "exclude each other", "standard error"
    ),
    "sigma zero": Wrong(lambda s: s.fit(sigma=0), ValueError, "sigma is 0", "positive", "needed"),
    "sigma negative": Wrong(lambda s: s.fit(sigma=-1.5), ValueError, "sigma is -1.5", "positive", "needed"),
    "weights NaN": Wrong(lambda s: s.fit(weights=np.nan), ValueError, "weights is nan", "finite", "needed"),
    "sigma with unit": Wrong(
        lambda s: s.fit(sigma=1 * u.K), ValueError, "'K'", "the data has no units", "data.assign_attrs(units='K')"
    ),
    "sigma without names": Wrong(
        lambda s: s.fit(sigma=np.ones(N)), TypeError, "ndarray", "DataArray or a name", "xr.DataArray("
    ),
    "sigma unknown": Wrong(
        lambda s: s.dataset.modelfit(G, dim="velocity", data="flux", sigma="flux_er"),
        ValueError,
        "'flux_er'",
        "'flux', 'flux_err', 'quality'",
        "Did you mean 'flux_err'",
    ),
    "sigma boolean": Wrong(
        lambda s: s.fit(sigma=companion("velocity") > 0), TypeError, "bool", "real numbers", "sigma"
    ),
    "sigma over an unknown dim": Wrong(
        lambda s: s.fit(sigma=companion("y", "velocity").rename(velocity="wave")),
        ValueError,
        "('y', 'wave')",
        "('y', 'x', 'velocity')",
        "Rename",
    ),
    "sigma on another index": Wrong(
        lambda s: s.fit(sigma=shifted("velocity", 0.25)),
        ValueError,
        "by up to 0.25",
        "data",
        "reindex_like(data, method='nearest'",
    ),
    "weights of another size": Wrong(
        lambda s: s.fit(weights=companion("velocity").isel(velocity=slice(5))),
        ValueError,
        "5 positions",
        "12",
        "Select the same",
    ),
    "where of numbers": Wrong(
        lambda s: s.dataset.modelfit(G, dim="velocity", data="flux", where="quality"),
        TypeError,
        "int64",
        "boolean",
        "where=quality == 0",
    ),
    "where without names": Wrong(
        lambda s: s.fit(where=np.ones((3, 2, N), bool)), TypeError, "ndarray", "DataArray or a name", "xr.DataArray("
    ),
    "where True": Wrong(lambda s: s.fit(where=True), TypeError, "where is True", "boolean DataArray", "pass"),
    "where a Dataset": Wrong(
        lambda s: s.fit(where=s.dataset), TypeError, "where is a Dataset", "variables", "pick one"
    ),
    "where unknown": Wrong(lambda s: s.fit(where="good"), ValueError, "'good'", "'y', 'x', 'velocity'", "where"),
    # Fitters
    "fitter class": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter), TypeError, "class TRFLSQFitter", "instance", "TRFLSQFitter()"
    ),
    "fitter not callable": Wrong(
        lambda s: s.fit(fitter="trf"), TypeError, "fitter is", "astropy fitter", "TRFLSQFitter()"
    ),
    "unknown option of the fitter": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fitter_kwargs={"maxitr": 3}),
        TypeError,
        "'maxitr'",
        "'maxiter', 'acc'",
        "Did you mean 'maxiter'",
    ),
    "weights as option of the fitter": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fitter_kwargs={"weights": 3}),
        TypeError,
        "weights",
        "fitter_kwargs",
        "argument",
    ),
    "unknown option of SLSQP": Wrong(
        lambda s: s.fit(fitter=SLSQPLSQFitter(), fitter_kwargs={"maxitr": 3}),
        TypeError,
        "maxitr",
        "SLSQPLSQFitter",
        "fitter_kwargs",
    ),
    "unknown option of Simplex": Wrong(
        lambda s: s.fit(fitter=SimplexLSQFitter(), fitter_kwargs={"bogus": 3}),
        TypeError,
        "bogus",
        "SimplexLSQFitter",
        "fitter_kwargs",
    ),
    "unknown option of the inner fitter": Wrong(
        lambda s: s.fit(
            fitter=FittingWithOutlierRemoval(TRFLSQFitter(), lambda residuals: residuals), fitter_kwargs={"bogus": 3}
        ),
        TypeError,
        "bogus",
        "FittingWithOutlierRemoval",
        "fitter_kwargs",
    ),
    "linear fitter, nonlinear model": Wrong(
        lambda s: s.fit(fitter=LinearLSQFitter()), ValueError, "LinearLSQFitter", "not linear", "TRFLSQFitter()"
    ),
    "linear fitter, bounds": Wrong(
        lambda s: s.fit(Linear1D(), bounds={"slope": (-2, 2)}, fitter=LinearLSQFitter()),
        ValueError,
        "LinearLSQFitter",
        "bound",
        "TRFLSQFitter()",
    ),
    "linear fitter, a map of bounds": Wrong(
        lambda s: s.fit(Linear1D(), bounds={"slope": (companion("y"), None)}, fitter=LinearLSQFitter()),
        ValueError,
        "LinearLSQFitter",
        "bound",
        "TRFLSQFitter()",
    ),
    "linear fitter, tie": Wrong(
        lambda s: s.fit(Linear1D(tied={"intercept": twice}), fitter=LinearLSQFitter()),
        ValueError,
        "LinearLSQFitter",
        "tied",
        "TRFLSQFitter()",
    ),
    "linear fitter, compound": Wrong(
        lambda s: s.fit(Linear1D() + Const1D(), fitter=LinearLSQFitter()),
        ValueError,
        "LinearLSQFitter",
        "simple",
        "TRFLSQFitter()",
    ),
    "unknown name of fit_info": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fit_info=("nfevs",)),
        ValueError,
        "'nfevs'",
        "'nfev'",
        "Did you mean 'nfev'",
    ),
    "fit_info no number": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fit_info=("jac",)), ValueError, "'jac'", "no single number", "'nfev'"
    ),
    # Ties and models that fail at the start values, and so everywhere
    "tie to an unknown parameter": Wrong(
        lambda s: s.fit(tied(lambda m: m.nosuch + 8)),
        ValueError,
        "mean_1.tied raises AttributeError",
        "nosuch",
        "2 * m.mean_0",
    ),
    "tie in units adds a number": Wrong(
        lambda s: s.labelled.modelfit(tied(lambda m: m.mean_0 + 8, units=True), dim="velocity"),
        ValueError,
        "mean_1.tied raises UnitConversionError",
        "have their units",
        "only a Quantity can be added",
    ),
    "tie in units of another kind": Wrong(
        lambda s: s.labelled.modelfit(tied(lambda m: m.mean_0**2, units=True), dim="velocity"),
        ValueError,
        "mean_1.tied raises UnitConversionError",
        "'m2 / s2'",
        "2 * m.mean_0",
    ),
    "tie without an argument": Wrong(
        lambda s: s.fit(tied(lambda: 8)), ValueError, "mean_1.tied raises TypeError", "takes the model", "2 * m.mean_0"
    ),
    "tie of None": Wrong(
        lambda s: s.fit(tied(lambda m: None)), ValueError, "mean_1.tied gives None", "finite number", "2 * m.mean_0"
    ),
    "tie of text": Wrong(
        lambda s: s.fit(tied(lambda m: "8")),
        ValueError,
        "mean_1.tied gives '8', a str",
        "finite number",
        "2 * m.mean_0",
    ),
    "tie of NaN": Wrong(
        lambda s: s.fit(tied(lambda m: np.sqrt(-m.mean_0))),
        ValueError,
        "mean_1.tied gives nan",
        "finite number",
        "2 * m.mean_0",
    ),
    "tie of two numbers": Wrong(
        lambda s: s.fit(tied(lambda m: [m.mean_0, 8])),
        ValueError,
        "mean_1.tied gives",
        "one finite number",
        "2 * m.mean_0",
    ),
    "tie of a Quantity without units": Wrong(
        lambda s: s.fit(tied(lambda m: m.mean_0.value * u.km)),
        ValueError,
        "gives a Quantity in 'km'",
        "has no unit",
        "2 * m.mean_0",
    ),
    "tie that fails with a map of starts": Wrong(
        lambda s: s.fit(tied(lambda m: m.nosuch), p0={"mean_0": companion("y")}),
        ValueError,
        "mean_1.tied raises AttributeError",
        "takes the model",
        "2 * m.mean_0",
    ),
    "tie that fails with an astropy fitter": Wrong(
        lambda s: s.fit(tied(lambda m: m.nosuch), fitter=TRFLSQFitter()),
        ValueError,
        "mean_1.tied raises AttributeError",
        "takes the model",
        "2 * m.mean_0",
    ),
    "model with a slip": Wrong(
        lambda s: s.fit(misspelt()), ValueError, "misspelt raises NameError", "'y' is not defined", "model(x)"
    ),
    "model with a slip, a map of starts": Wrong(
        lambda s: s.fit(misspelt(), p0={"scale": companion("y", "x")}),
        ValueError,
        "misspelt raises NameError",
        "'y' is not defined",
        "model(x)",
    ),
    "model with a slip, an astropy fitter": Wrong(
        lambda s: s.fit(misspelt() + Const1D(1), fitter=TRFLSQFitter()),
        ValueError,
        "CompoundModel raises NameError",
        "'y' is not defined",
        "model(x)",
    ),
    "model of another size": Wrong(
        lambda s: s.fit(of_one_size()), ValueError, "for 12 coordinates", "shape (7,)", "fix its evaluate"
    ),
    "model that refuses its start": Wrong(
        lambda s: s.fit(positive()), ValueError, "positive raises ValueError", "scale is below 0", "p0="
    ),
    # Names and options
    "output named as a dim": Wrong(
        lambda s: s.cube.rename(y="mean").modelfit(G, dim="velocity"),
        ValueError,
        "'mean'",
        "dim or coordinate",
        "prefix='fit_'",
    ),
    "output named as a coordinate": Wrong(
        lambda s: s.cube.assign_coords(chi2=3.0).modelfit(G, dim="velocity"),
        ValueError,
        "'chi2'",
        "dim or coordinate",
        "prefix='fit_'",
    ),
    "covariance, dim cov_i": Wrong(
        lambda s: s.cube.rename(y="cov_i").modelfit(G, dim="velocity", covariance=True),
        ValueError,
        "covariance=True",
        "('cov_i', 'cov_j')",
        "rename({'cov_i': ...})",
    ),
    "errors misspelt": Wrong(lambda s: s.fit(errors="rais"), ValueError, "'rais'", '"ignore" or "raise"', "must be"),
    "negative fits_per_chunk": Wrong(
        lambda s: s.fit(fits_per_chunk=-4), ValueError, "-4", "whole number of 1 or more", "None"
    ),
    "fractional fits_per_chunk": Wrong(
        lambda s: s.fit(fits_per_chunk=2.5), ValueError, "2.5", "whole number of 1 or more", "None"
    ),
    "min_points of text": Wrong(
        lambda s: s.fit(min_points="3"), ValueError, "'3'", "whole number of 1 or more", "None"
    ),
    "skipna of text": Wrong(lambda s: s.fit(skipna="yes"), TypeError, "'yes'", "True or False", "skipna"),
    "unknown option": Wrong(lambda s: s.fit(sigmas=3), TypeError, "sigmas", "unexpected keyword", "fit()"),
    "scheduler of lazy input": Wrong(
        lambda s: s.fit(scheduler="threads"), ValueError, "'threads'", "lazy", "compute(scheduler=...)", forms=("dask",)
    ),
    "scheduler misspelt": Wrong(
        lambda s: s.fit(scheduler="thread"),
        ValueError,
        "'thread'",
        "'threads', 'processes'",
        "dask client",
        forms=("file",),
    ),
    "scheduler a number": Wrong(lambda s: s.fit(scheduler=3), ValueError, "int", "name", "Client", forms=("file",)),
    # Not refused yet, or not in words
    "bounds a sequence": Wrong(
        lambda s: s.fit(bounds=[(0, 9), (0, 99), (0, 9)]), TypeError, "bounds is a list", "parameter", "(low, high)"
    ),
    "fitter_kwargs a sequence": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fitter_kwargs=["maxiter"]),
        TypeError,
        "fitter_kwargs is a list",
        "mapping",
        "{",
    ),
    "a bad value of an option of the fitter": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fitter_kwargs={"maxiter": "many"}),
        (TypeError, ValueError),
        "many",
        "TRFLSQFitter",
        "fitter_kwargs",
    ),
    "a function as fitter": Wrong(
        lambda s: s.fit(fitter=lambda model, x, y: 3), TypeError, "function", "astropy fitter", "TRFLSQFitter()"
    ),
    "prefix None": Wrong(lambda s: s.fit(prefix=None), TypeError, "prefix is None", "str", "prefix"),
    "fit_info a number": Wrong(
        lambda s: s.fit(fitter=TRFLSQFitter(), fit_info=3), TypeError, "fit_info is 3", "names", "True"
    ),
    "a coordinate without the fitted dim": Wrong(
        lambda s: s.fit(coords="y"), ValueError, "'y'", "('velocity',)", "coords"
    ),
    "sigma True": Wrong(lambda s: s.fit(sigma=True), TypeError, "True", "number", "sigma"),
    "absolute_sigma of text": Wrong(lambda s: s.fit(absolute_sigma="no"), TypeError, "'no'", "True", "None"),
    "where a function": Wrong(
        lambda s: s.fit(where=lambda data: data > 0), TypeError, "function", "DataArray", "where"
    ),
}


@pytest.mark.parametrize(
    ("wrong", "form"),
    [pytest.param(w, form, id=f"{name}, {form}") for name, w in CALLS.items() for form in w.forms],
)
def test_wrong_call(wrong: Wrong, form: str) -> None:
    stage = Stage(dask=form == "dask")
    with pytest.raises(wrong.error) as caught:
        wrong.call(stage)
    assert not stage.read, "a sample was read"
    for words in (wrong.got, wrong.expected, wrong.advice):
        assert words in str(caught.value)


def test_data_of_wrong_calls_cannot_be_read() -> None:
    """The oracle of this file: a right call is stopped by the data, and not earlier."""
    lazy, file = Stage(dask=True), Stage(dask=False)
    result = lazy.fit(errors="ignore")
    assert not lazy.read
    with pytest.raises(SampleWasRead):
        result.compute(scheduler="synchronous")
    with pytest.raises(SampleWasRead):
        file.fit(errors="ignore")
    assert lazy.read == ["dask"]
    assert file.read == ["file"]


EVALUATIONS: dict[str, tuple[Callable[[xr.Dataset], Any], type[Exception], tuple[str, ...]]] = {
    "no result": (
        lambda fit: Stage(dask=True).dataset.modelfit.evaluate(Stage(dask=True).cube),
        RecordError,
        ("no result of a fit", "fit_status", "'flux_err'"),
    ),
    "report of no result": (
        lambda fit: Stage(dask=True).dataset.modelfit.report(),
        RecordError,
        ("no result of a fit", "fit_status", "'flux_err'"),
    ),
    "a parameter is missing": (
        lambda fit: fit.drop_vars("slope").modelfit.evaluate(t=[1.0]),
        RecordError,
        ("'slope'", "'intercept'", "Keep the parameters"),
    ),
    "no coordinate": (lambda fit: fit.modelfit.evaluate(), ValueError, ("'x'", "'t'", "t=values")),
    "unknown coordinate": (lambda fit: fit.modelfit.evaluate(time=[1.0]), ValueError, ("'time'", "'t'", "by name")),
    "an array": (
        lambda fit: fit.modelfit.evaluate(np.ones(3)),
        TypeError,
        ("ndarray", "DataArray", "t=values"),
    ),
    "an array of two dims": (
        lambda fit: fit.modelfit.evaluate(t=np.ones((2, 2))),
        TypeError,
        ("shape (2, 2)", "DataArray", "dims=[...]"),
    ),
    "text": (lambda fit: fit.modelfit.evaluate(t=["a"]), TypeError, ("<U1", "numbers", "'t'")),
    "labels without fits": (
        lambda fit: fit.modelfit.evaluate(
            xr.DataArray(np.ones((1, 2)), dims=("y", "t"), coords={"y": [11.0], "t": [0.0, 1.0]})
        ),
        ValueError,
        ("labels along 'y'", "the result has not", "data.sel(y=fit['y'])"),
    ),
    "other positions": (
        lambda fit: fit.drop_vars("y").modelfit.evaluate(
            xr.DataArray(np.ones((3, 2)), dims=("y", "t"), coords={"t": [0.0, 1.0]})
        ),
        ValueError,
        ("3 positions", "the result 2", "Select the same"),
    ),
    "another model": (
        lambda fit: fit.modelfit.evaluate(t=[1.0], model=G),
        RecordError,
        ("'amplitude'", "'slope', 'intercept'", "Pass the model or the function that was fitted"),
    ),
    "another fit": (
        lambda fit: fit.modelfit.evaluate(t=[1.0], data="depth"),
        ValueError,
        ("'depth'", "'height'", "data is"),
    ),
    "which fit": (
        lambda fit: xr.merge([fit, fit.rename({name: f"b_{name}" for name in fit.data_vars})]).modelfit.evaluate(
            t=[1.0]
        ),
        ValueError,
        ("2 fits", "'b'", "data="),
    ),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_wrong_evaluation(name: str, lines: xr.Dataset) -> None:
    call, error, words = EVALUATIONS[name]
    with pytest.raises(error) as caught:
        call(lines)
    for word in words:
        assert word in str(caught.value)


# Positions


AT = {"y": 1, "x": 0}  # the wrong position
HERE = (1, 0)


@pytest.fixture(scope="module")
def good() -> xr.DataArray:
    """A cube that every fit can do, with a little noise."""
    rng = np.random.default_rng(5)
    coords = {name: (name, values) for name, values in LABELS.items()}
    frame = xr.Dataset(coords=coords)
    line = (2 + frame["x"]) * np.exp(-(((frame["velocity"] - 45 - frame["y"] / 5) / 15) ** 2) / 2)
    cube = line.transpose("y", "x", "velocity")
    return cube + 0.05 * rng.normal(size=cube.shape)


def one(map_: xr.DataArray, value: float) -> xr.DataArray:
    """A copy of a map with another value at the wrong position."""
    out = map_.copy(deep=True)
    out.loc[{d: out[d][AT[d]] for d in out.dims if d in AT}] = value
    return out


def mean_map() -> xr.DataArray:
    return 50 * companion("y", "x")


def fits(data: xr.DataArray, form: str, **options: Any) -> xr.Dataset:
    """The fit of a cube in memory or in chunks, computed."""
    if form == "chunks":
        data = data.chunk(y=2, x=1)
    options = {"sigma": 0.05, "errors": "ignore", **options}
    return data.modelfit(options.pop("model", G), dim="velocity", **options).compute(scheduler="synchronous")


def assert_others_are_equal(got: xr.Dataset, right: xr.Dataset) -> None:
    """Every position but the wrong one is the same, bit for bit."""
    others = np.ones((SIZES["y"], SIZES["x"]), dtype=bool)
    others[HERE] = False
    for name in right.data_vars:
        a, b = (r[name].transpose("y", "x", ...).values[others] for r in (got, right))
        assert a.tobytes() == b.tobytes(), name


Options = Callable[[xr.DataArray], dict[str, Any]]

# What the call is with a right position, what it is with a wrong one, and what becomes of that.
POSITIONS: dict[str, tuple[Options, Options, FitStatus]] = {
    "NaN start": (
        lambda d: {"p0": {"mean": mean_map()}},
        lambda d: {"p0": {"mean": one(mean_map(), np.nan)}},
        FitStatus.INVALID_START,
    ),
    "infinite start": (
        lambda d: {"p0": {"mean": mean_map()}},
        lambda d: {"p0": {"mean": one(mean_map(), np.inf)}},
        FitStatus.INVALID_START,
    ),
    "start outside its bounds": (
        lambda d: {"p0": {"mean": mean_map()}, "bounds": {"mean": (0, 100)}},
        lambda d: {"p0": {"mean": one(mean_map(), 200.0)}, "bounds": {"mean": (0, 100)}},
        FitStatus.INVALID_START,
    ),
    "bounds that leave the start out": (
        lambda d: {"bounds": {"mean": (0 * mean_map(), 2 * mean_map())}},
        lambda d: {"bounds": {"mean": (one(0 * mean_map(), 60.0), 2 * mean_map())}},
        FitStatus.INVALID_START,
    ),
    "reversed bounds": (
        lambda d: {"bounds": {"mean": (0 * mean_map(), 2 * mean_map())}},
        lambda d: {"bounds": {"mean": (one(0 * mean_map(), 70.0), one(2 * mean_map(), 30.0))}},
        FitStatus.INVALID_START,
    ),
    "a model with a NaN among its starts": (
        lambda d: {"model": Gaussian1D(np.ones((3, 2)), mean_map().values, 10 * np.ones((3, 2)))},
        lambda d: {"model": Gaussian1D(np.ones((3, 2)), one(mean_map(), np.nan).values, 10 * np.ones((3, 2)))},
        FitStatus.INVALID_START,
    ),
    "a start where the model is not finite": (
        lambda d: {"p0": {"stddev": 10 * companion("y", "x")}, "bounds": {"stddev": (None, None)}},
        lambda d: {"p0": {"stddev": one(10 * companion("y", "x"), 0.0)}, "bounds": {"stddev": (None, None)}},
        FitStatus.NONFINITE_MODEL,
    ),
    "no valid sigma": (
        lambda d: {"sigma": 0.05 * xr.ones_like(d)},
        lambda d: {"sigma": one(0.05 * xr.ones_like(d), np.nan)},
        FitStatus.NO_DATA,
    ),
    "sigma zero": (
        lambda d: {"sigma": 0.05 * companion("y", "x")},
        lambda d: {"sigma": one(0.05 * companion("y", "x"), 0.0)},
        FitStatus.NO_DATA,
    ),
    "weights negative": (
        lambda d: {"sigma": None, "weights": companion("y", "x")},
        lambda d: {"sigma": None, "weights": one(companion("y", "x"), -1.0)},
        FitStatus.NO_DATA,
    ),
    "all left out": (
        lambda d: {"where": companion("y", "x") > 0},
        lambda d: {"where": one(companion("y", "x"), 0.0) > 0},
        FitStatus.NO_DATA,
    ),
    "two samples": (
        lambda d: {"where": xr.ones_like(d, dtype=bool)},
        lambda d: {"where": (one(companion("y", "x"), 0.0) > 0) | (d["velocity"] < 15)},
        FitStatus.TOO_FEW_POINTS,
    ),
}


@pytest.mark.parametrize("form", ["memory", "chunks"])
@pytest.mark.parametrize("name", POSITIONS)
def test_wrong_position(name: str, form: str, good: xr.DataArray) -> None:
    right_options, wrong_options, status = POSITIONS[name]
    right = fits(good, form, **right_options(good))
    wrong = fits(good, form, **wrong_options(good))
    assert right.modelfit.ok.all()
    assert FitStatus(int(wrong["fit_status"][AT])) is status
    for parameter in ("amplitude", "mean", "stddev"):
        assert np.isnan(wrong[parameter][AT])
        assert np.isnan(wrong[f"{parameter}_stderr"][AT])
    assert_others_are_equal(wrong, right)


@pytest.mark.parametrize("form", ["memory", "chunks"])
@pytest.mark.parametrize(
    ("bad", "skipna", "status"),
    [(np.nan, True, FitStatus.NO_DATA), (np.inf, True, FitStatus.NO_DATA), (np.nan, False, FitStatus.NONFINITE_DATA)],
)
def test_wrong_samples(bad: float, skipna: bool, status: FitStatus, form: str, good: xr.DataArray) -> None:
    right = fits(good, form, skipna=skipna)
    wrong = fits(one(good, bad), form, skipna=skipna)
    assert FitStatus(int(wrong["fit_status"][AT])) is status
    assert_others_are_equal(wrong, right)


@pytest.mark.parametrize("form", ["memory", "chunks"])
def test_nan_bounds_are_no_bounds(form: str, good: xr.DataArray) -> None:
    low, high = 0 * mean_map(), 2 * mean_map()
    bounded = fits(good, form, bounds={"mean": (low, high)})
    partly = fits(good, form, bounds={"mean": (one(low, np.nan), one(high, np.nan))})
    free = fits(good, form, bounds={"mean": (one(low, -np.inf), one(high, np.inf))})
    assert_others_are_equal(partly, bounded)
    assert partly.modelfit.ok.all()
    for name in free.data_vars:
        assert partly[name].values.tobytes() == free[name].values.tobytes(), name
    tight = fits(good, form, bounds={"mean": (one(low, np.nan), one(high, 50.0))})  # the line is at 49
    assert float(tight["mean"][AT]) == pytest.approx(float(partly["mean"][AT]), abs=1e-3)


@pytest.mark.parametrize("form", ["memory", "chunks"])
def test_equal_bounds_fix_the_parameter_there(form: str, good: xr.DataArray) -> None:
    low, high = 0 * mean_map(), 2 * mean_map()
    right = fits(good, form, bounds={"mean": (low, high)})
    held = fits(good, form, bounds={"mean": (one(low, 47.0), one(high, 47.0))})
    assert_others_are_equal(held, right)
    assert FitStatus(int(held["fit_status"][AT])) is FitStatus.CONVERGED
    assert float(held["mean"][AT]) == 47.0
    assert float(held["mean_stderr"][AT]) == 0.0
    assert int(held["dof"][AT]) == int(right["dof"][AT]) + 1
    fixed = fits(good, form, model=Gaussian1D(1, 47, 10, fixed={"mean": True}))
    for name in ("amplitude", "stddev", "amplitude_stderr", "stddev_stderr", "chi2"):
        np.testing.assert_allclose(held[name][AT], fixed[name][AT], rtol=1e-6)


def test_equal_bounds_everywhere_fix_the_parameter(good: xr.DataArray) -> None:
    held = fits(good, "memory", bounds={"mean": (47, 47)})
    fixed = fits(good, "memory", model=Gaussian1D(1, 47, 10, fixed={"mean": True}))
    assert (held["mean"] == 47).all()
    assert (held["mean_stderr"] == 0).all()
    xr.testing.assert_equal(held, fixed)


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("fwhm_g", ["x_0", "amplitude_L", "fwhm_L", "fwhm_G"], "fwhm_G"),  # fwhm_L is as near, letter by letter
        ("FWHM_l", ["fwhm_G", "fwhm_L"], "fwhm_L"),
        ("velocty", ["y", "velocity"], "velocity"),
        ("no such name", ["y", "velocity"], None),
    ],
)
def test_the_name_that_was_meant(name: str, known: list[str], meant: str | None) -> None:
    assert suggestion(name, known) == ("" if meant is None else f" Did you mean {meant!r}?")
