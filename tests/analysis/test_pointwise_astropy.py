"""No pointwise model is taken for one that sees all its samples: all of astropy's, their compounds, and users' own."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Model, Parameter, custom_model, fix_inputs, models
from astropy.modeling.fitting import TRFLSQFitter
from scipy import special
from scipy.interpolate import CubicSpline, RegularGridInterpolator

from support.astropy_models import CASES, Case, measured
from support.whole_grid import recorded
from xr_modelfit import BatchLSQFitter, fit

M = models
SHORT: dict[str, Any] = {"fitter": BatchLSQFitter(maxiter=1), "errors": "ignore"}  # what is found is found before


def recorded_of(case: Case, data: xr.DataArray, **options: Any) -> dict[str, Any]:
    """What a fit of data over stars and the dims of the case says of its model."""
    names = {name: name for name in case.truth().inputs}
    return recorded(fit(data, case.truth(), data.dims[1:], coords=names, **SHORT, **options))


def with_gaps(data: xr.DataArray) -> xr.DataArray:
    """A quarter of the samples of the second star is not there."""
    data = data.copy()
    gone = np.random.default_rng(1).random(data.shape[1:]) < 0.25
    data.values[1][gone] = np.nan
    return data


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_model_of_astropy_is_pointwise(name: str) -> None:
    """On complete data and with gaps; the record says so, and no order of axes."""
    case = CASES[name]
    data = with_gaps(measured(case))
    record = recorded_of(case, data)
    assert record["pointwise"] is True
    assert "grid_dims" not in record


ON_LARGE_GRIDS = [
    "Gaussian1D", "Voigt1D", "Sersic1D", "BlackBody", "Polynomial1D", "Gaussian2D", "Moffat2D", "AiryDisk2D", "table",
    "pipe", "rotation", "fixed input",
]  # fmt: skip


@pytest.mark.parametrize("name", ON_LARGE_GRIDS)
def test_on_grids_larger_than_what_is_tried(name: str) -> None:
    """Hundreds of samples, and numbers of them that differ along the axes."""
    case = CASES[name]
    model = case.truth()
    sizes = {1: (401,), 2: (23, 19)}[model.n_inputs]
    coords = {
        n: (d, np.linspace(case.low, case.high, size), {} if case.x_units is None else {"units": case.x_units})
        for n, d, size in zip(model.inputs, "uv", sizes, strict=False)
    }
    attrs = {} if case.units is None else {"units": case.units}
    noise = np.random.default_rng(0).normal(1.0, 0.1, (2, *sizes))
    dims = ("star", *"uv"[: len(sizes)])
    assert recorded_of(case, xr.DataArray(noise, dims=dims, coords=coords, attrs=attrs))["pointwise"] is True


SURFACE = RegularGridInterpolator(
    (np.linspace(-1, 8, 10), np.linspace(-2, 9, 12)), np.random.default_rng(2).random((10, 12))
)
TABLE_2D = {"points": (np.linspace(-1, 9, 11), np.linspace(-2, 9, 12)),
            "lookup_table": np.random.default_rng(3).random((11, 12))}  # fmt: skip
COMPOUNDS: dict[str, Callable[[], Model]] = {
    "three lines and a polynomial": lambda: (
        M.Gaussian1D(3, 2, 0.5) + M.Lorentz1D(2, 4, 0.7) + M.Voigt1D(3.0, 2.0, 1.2, 0.8) + M.Polynomial1D(2, c0=1)
    ),
    "many lines": lambda: sum((M.Gaussian1D(1, c, 0.3) for c in range(1, 6)), M.Const1D(1.0)),
    "product and quotient": lambda: M.PowerLaw1D(2, 3, 1.2) * M.Gaussian1D(3, 3, 1) / M.Linear1D(0.1, 1),
    "behind a shift": lambda: M.RedshiftScaleFactor(0.1) | (M.Gaussian1D(3, 3, 1) + M.Const1D(1)),
    "table of one": lambda: M.Shift(0.3) | M.Tabular1D(np.linspace(-1, 9, 21), np.cos(np.arange(21.0))) | M.Scale(2),
    "nearest of a table": lambda: (
        M.Shift(0.3) | M.Tabular1D(np.linspace(-1, 9, 21), np.cos(np.arange(21.0)), method="nearest") | M.Scale(2)
    ),
    "spline of a table": lambda: M.Const1D(2) * M.Tabular1D(np.linspace(-1, 9, 21), np.sin(np.arange(21.0))),
    "table of two": lambda: M.Const2D(2) * M.Tabular2D(**TABLE_2D) + M.Const2D(1),
    "table of two, moved": lambda: M.Shift(0.2) & M.Shift(-0.3) | M.Tabular2D(**TABLE_2D) | M.Scale(2),
    "held input": lambda: fix_inputs(M.Gaussian2D(3, 3, 2, 1, 1, 0.3), {"y": 2.0}) + M.Const1D(1),
    "two sources on a plane": lambda: M.Gaussian2D(3, 2, 2, 1, 1) + M.Moffat2D(2, 4, 4, 1, 1.5) + M.Planar2D(0, 0, 1),
    "rotated": lambda: M.Rotation2D(20) | M.Sersic2D(2.0, 2.5, 1.5, 3.2, 2.7, 0.3, 0.5),
}


def of_series(function: Callable[..., Any], **start: float) -> Callable[[], Model]:
    return lambda: custom_model(function)(**start)


def series_loop(x, a=2.0, tau=2.0):
    """A loop over samples, for code that takes numbers only."""
    out = np.empty(np.shape(x))
    for i, one in enumerate(np.ravel(x)):
        out.flat[i] = a * math.exp(-one / tau) if one > 1 else a
    return out


def numbers_only(x, a=2.0, tau=2.0):
    return np.vectorize(lambda one: a * math.erf(one / tau))(x)


def in_a_flat_list(x, y, a=2.0, w=3.0):
    values = [a * math.exp(-math.hypot(p, q) / w) for p, q in zip(np.ravel(x), np.ravel(y), strict=True)]
    return np.reshape(values, np.shape(x))


def in_parts(x, a=2.0, b=1.0, edge=3.0):
    """Assigns to parts of its values, by conditions on the coordinate."""
    out = np.full_like(x, b)
    low = x < edge
    out[low] = a + b * x[low]
    return out


def checks_its_range(x, a=2.0, b=1.0):
    """Asks whether anything is out of range, to save work."""
    if np.any(x > 4.0):
        return np.where(x > 4.0, a * np.exp(4.0 - x) + b, a + b)
    return np.full_like(x, a + b)


class Integrated(Fittable1DModel):
    """A class of its own, which solves an equation at each sample."""

    a, w = Parameter(default=2.0), Parameter(default=1.5)

    @staticmethod
    def evaluate(x, a, w):
        nodes, weights = np.polynomial.legendre.leggauss(7)
        at = np.asarray(x)[..., None] * (nodes + 1) / 2
        return np.sum(weights * a * np.exp(-at / np.ravel(w)[0]), axis=-1) * np.asarray(x) / 2


POINTS, VALUES = np.linspace(-1, 9, 30), np.random.default_rng(4).random(30)
SPLINE = CubicSpline(POINTS, VALUES)
OWN: dict[str, Callable[[], Model]] = {
    "decay": of_series(lambda x, a=2.0, tau=2.0, b=0.3: a * np.exp(-x / tau) + b),
    "where": of_series(lambda x, a=2.0, edge=3.0, b=0.3: np.where(x < edge, a, b + 0.1 * x)),
    "wave": of_series(lambda x, a=2.0, k=1.1, phase=0.2: a * np.sin(k * x + phase)),
    "absolute": of_series(lambda x, a=2.0, c=3.0: a * np.abs(x - c) ** 1.5),
    "plane": of_series(lambda x, y, a=2.0, b=1.0, c=0.5: a * x + b * y + c * x * y),
    "three inputs": of_series(lambda x, y, z, a=2.0, b=1.0: a * np.exp(-(x**2 + y**2 + z**2) / 30) + b),
    "Bessel function": of_series(lambda x, a=2.0, k=1.3: a * special.j1(k * x)),
    "elliptic integral": of_series(lambda x, a=2.0, m=0.1: a * special.ellipk(np.clip(m * x, 0, 0.9))),
    "airy pattern": of_series(lambda x, y, a=2.0, w=1.3: a * special.j0(np.hypot(x, y) / w) ** 2),
    "np.interp": of_series(lambda x, a=2.0, shift=0.1: a * np.interp(x + shift, POINTS, VALUES)),
    "spline": of_series(lambda x, a=2.0, shift=0.1: a * SPLINE(x + shift)),
    "surface": of_series(lambda x, y, a=2.0, b=0.1: a * SURFACE((x, y)) + b),
    "searchsorted": of_series(lambda x, a=2.0, b=0.1: a * VALUES[np.searchsorted(POINTS, x)] + b),
    "loop": of_series(series_loop),
    "vectorize": of_series(numbers_only),
    "list of an image": of_series(in_a_flat_list),
    "assigned": of_series(in_parts),
    "polyval": of_series(lambda x, a=2.0, b=0.1, c=0.01: np.polyval([c, b, a], x)),
    "round": of_series(lambda x, a=2.0, b=0.1: a + b * np.floor(x)),
    "asks for any": of_series(checks_its_range),
    "quadrature": Integrated,
    "a number": of_series(lambda x, a=2.0: a),
    "complex inside": of_series(lambda x, a=2.0, g=0.3: a * np.abs(1 / (x - 3 + 1j * g)) ** 2),
    "Faddeeva": of_series(lambda x, a=2.0, c=3.0, s=0.7, g=0.3: a * special.wofz((x - c + 1j * g) / s).real),
}


def samples(n_inputs: int, gaps: bool) -> xr.DataArray:
    """Noise, over two positions and as many dims as there are inputs."""
    sizes = {1: (60,), 2: (7, 9), 3: (4, 5, 6)}[n_inputs]
    dims = "zyx"[3 - n_inputs :]
    coords = {d: np.linspace(0.5, 6.5, size) for d, size in zip(dims, sizes, strict=True)}
    y = np.random.default_rng(5).normal(2.0, 0.1, (2, *sizes))
    if gaps:
        y[1][np.random.default_rng(6).random(sizes) < 0.3] = np.nan
    return xr.DataArray(y, dims=("p", *dims), coords=coords)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMPOUNDS, *OWN])
def test_compounds_and_own_models_are_pointwise(name: str) -> None:
    """Whether they can be traced or not, with gaps and without, and in whatever order the data have their dims."""
    model = (COMPOUNDS | OWN)[name]()
    complete, gappy = samples(model.n_inputs, False), samples(model.n_inputs, True)
    reads = dict(zip(model.inputs, gappy.dims[:0:-1], strict=True))
    for data in (complete, gappy, gappy.transpose(*gappy.dims[::-1])):
        result = fit(data, model, complete.dims[1:], coords=reads, **SHORT)
        assert recorded(result)["pointwise"] is True


@pytest.mark.parametrize("name", ["Bessel function", "np.interp", "loop", "quadrature", "list of an image", "surface"])
def test_models_that_cannot_be_traced_are_fitted_without_their_gaps(name: str) -> None:
    """Removed samples are as if they were not there: bit for bit, for astropy's fitters, which get them one by one."""
    model = OWN[name]()
    data = samples(model.n_inputs, True)
    row = data.isel(p=1).stack(sample=sorted(data.dims[1:]), create_index=False).dropna("sample")
    reads = dict(zip(model.inputs, data.dims[:0:-1], strict=True))
    for fitter in (None, TRFLSQFitter()):
        options = {"coords": reads, "sigma": 0.1, "keep_failed": True, "errors": "ignore", "fitter": fitter}
        whole, alone = fit(data.isel(p=1), model, data.dims[1:], **options), fit(row, model, "sample", **options)
        assert recorded(whole)["pointwise"] is True
        for parameter in model.param_names:
            np.testing.assert_array_equal(whole[parameter], alone[parameter], err_msg=parameter)
        np.testing.assert_array_equal(whole["chi2"], alone["chi2"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Gaussian1D", "Voigt1D", "loop", "np.interp", "table of one"])
def test_lazy_coordinates_and_own_ones_do_not_hide_it(name: str) -> None:
    """Where coordinates are not read before the fit, or vary from fit to fit, models are tried all the same."""
    model = {**OWN, **COMPOUNDS, "Gaussian1D": lambda: M.Gaussian1D(2, 3, 1), "Voigt1D": CASES["Voigt1D"].truth}[name]()
    data = samples(1, True)
    place = (data["x"] + xr.DataArray([0.0, 0.1], dims="p")).transpose("p", "x").rename("place")
    for given in (place, place.chunk(), place.isel(p=0, drop=True).drop_vars("x").chunk()):
        result = fit(data.drop_vars("x"), model, "x", coords=given.drop_vars("x", errors="ignore"), errors="ignore")
        assert recorded(result)["pointwise"] is True


def test_a_model_far_from_its_samples_is_tried_where_it_is() -> None:
    """It says nothing at the samples, or the same at all."""
    x = np.linspace(0.0, 10.0, 50)
    data = xr.DataArray(np.random.default_rng(0).normal(size=(2, 50)), dims=("p", "x"), coords={"x": x})
    far = [
        M.Gaussian1D(2, 4e5, 3),
        M.Box1D(2, -500, 3),
        custom_model(lambda x, a=1.0, c=-900.0: a * special.j1(np.clip(x - c, None, 5.0)))(),
        custom_model(lambda x, a=0.0, k=1.0: a * special.j1(k * x))(),
    ]
    for model in far:
        assert recorded(fit(data, model, "x", errors="ignore"))["pointwise"] is True


@pytest.mark.slow
def test_few_samples_are_enough() -> None:
    """Two; and of a traced model one or none: there is nothing to be tried."""
    traced, others = [M.Linear1D(), M.Gaussian1D(1, 1, 1)], [OWN["loop"](), OWN["Bessel function"]()]
    for n, tried in ((3, traced + others), (2, traced + others), (1, traced), (0, traced)):
        data = xr.DataArray(np.ones((2, n)), dims=("p", "x"), coords={"x": np.arange(1.0, n + 1)})
        for model in tried:
            assert recorded(fit(data, model, "x", errors="ignore"))["pointwise"] is True
