"""Every model of astropy that can be fitted, and every way to combine them: a result knows its model.

Fitted, written, read in a new process and evaluated there: equal to what it is here, and to what astropy's own call of
the model gives.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import astropy.modeling
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.convolution import convolve_models
from astropy.modeling import CompoundModel, FittableModel, Model, fix_inputs
from astropy.modeling import models as M
from astropy.modeling.fitting import TRFLSQFitter, parallel_fit_dask
from astropy.modeling.math_functions import ExpUfunc

from support.astropy_models import CANNOT, CASES, CLASSES, TABLE, Case, called, fitted, measured
from xr_modelfit import RecordError, fit
from xr_modelfit.models.expression import evaluate_tree, keeps_nothing, leaves, scalar_model

pytestmark = pytest.mark.quick_share(3)


def test_forty_models_and_more() -> None:
    """What the issue asks for; a class that is missing here is one that astropy has not."""
    assert len(CASES) >= 70
    assert all(isinstance(CASES[name].truth(), CLASSES[name]) for name in CLASSES.keys() & CASES.keys())
    assert set(CANNOT) <= set(CLASSES)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (M.Identity(1), "no parameters"),
        (M.Mapping((0,)), "no parameters"),
        (M.Spline1D(knots=[0.0] * 4 + [6.0] * 4, coeffs=np.arange(8.0)), "Spline1D"),
        (M.Const1D(1) + M.Spline1D(knots=[0.0] * 4 + [6.0] * 4, coeffs=np.arange(8.0)), "Spline1D"),
        (M.Rotation2D(20), "2 outputs"),
        (M.SIP([1, 1], 1, 1), "2 outputs"),
        (M.Tabular1D(**TABLE), "no parameters"),
        (ExpUfunc(), "no parameters"),
        (fix_inputs(M.Planar2D(1, 2, 3), {"y": 2 * u.km}), "holds its input 'y' at 2.0 km"),
        (M.Const1D(1) + fix_inputs(M.Planar2D(1, 2, 3), {1: np.arange(3)}), "holds its input 1 at"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_models_that_cannot_be_fitted_say_why(model: Model, message: str) -> None:
    """At the call."""
    dims = ("x", "y")[: model.n_inputs]
    with pytest.raises(ValueError, match=message):
        fit(xr.DataArray(np.ones((3, 3)[: model.n_inputs]), dims=dims), model, dims, errors="ignore")


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_of_constructors_are_read_or_known(name: str) -> None:
    """What a constructor takes besides parameters is in the record, or its effect is: a new astropy's model too."""
    ours = {"self", "name", "meta", "n_models", "model_set_axis", "fixed", "tied", "bounds", "eqcons", "ineqcons"}
    if name in CANNOT:
        pytest.skip(CANNOT[name])
    model = CASES[name].truth()
    plain = [p.name for p in inspect.signature(type(model).__init__).parameters.values() if p.kind not in (2, 4)]
    unread = {n for n in plain if n not in ours and n not in model.param_names and not hasattr(model, n)}
    # Ring2D makes a width of its r_out; the effect of NFW's arguments is in its state
    assert unread == {"NFW": {"massfactor", "cosmo"}, "Ring2D": {"r_out"}}.get(name, set())


# --- fitted here, evaluated elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equal_calls_have_equal_results(name: str) -> None:
    """Whatever astropy noted on the model meanwhile: it is fitted, and looked at, more than once."""
    case = CASES[name]
    data, model = measured(case), case.truth()
    results = []
    for _ in range(3):
        names = {one: one for one in model.inputs}
        results.append(fit(data, model, data.dims[1:], coords=names, keep_failed=True, errors="ignore"))
        looked_at = model.fixed, model.tied, model.bounds, model.sync_constraints, model.meta, repr(model)
        assert len(looked_at) == 6
    for other in results[1:]:
        xr.testing.assert_identical(other, results[0])


EVALUATE = """
import sys
from pathlib import Path
import numpy as np
import xarray as xr
import xr_modelfit

folder = Path(sys.argv[1])
out = {}
with np.errstate(all="ignore"):
    for path in sorted(folder.glob("*.nc")):
        stem = path.name.removesuffix(".nc")
        data = xr.load_dataarray(folder / "data" / path.name)
        here = xr.load_dataset(path)
        out[stem + ":netCDF"] = here.modelfit.evaluate(data).transpose(*data.dims).values
        there = xr.load_dataset(folder / "store.zarr", group=stem, engine="zarr", consolidated=False)
        out[stem + ":zarr"] = there.modelfit.evaluate(data).transpose(*data.dims).values
np.savez(folder / "out.npz", **out)
"""


class Elsewhere(NamedTuple):
    """Results and data by case, and what another process makes of their files."""

    results: dict[str, xr.Dataset]
    data: dict[str, xr.DataArray]
    values: Any


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    for module in ("netCDF4", "zarr"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("models")
    (folder / "data").mkdir()
    results, data = {}, {}
    for name, case in CASES.items():
        data[name] = measured(case)
        results[name] = fitted(case, data[name])
        file = name.replace(" ", "_")
        results[name].to_netcdf(folder / f"{file}.nc")
        results[name].to_zarr(folder / "store.zarr", group=file, consolidated=False)
        data[name].to_netcdf(folder / "data" / f"{file}.nc")
    command = [sys.executable, "-W", "error", "-c", EVALUATE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Elsewhere(results, data, np.load(folder / "out.npz"))


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(expected)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_model_comes_back_in_a_new_process(name: str, elsewhere: Elsewhere) -> None:
    """From netCDF and zarr: as evaluated here, and as astropy calls the model."""
    result, data, case = elsewhere.results[name], elsewhere.data[name], CASES[name]
    here = result.modelfit.evaluate(data).transpose(*data.dims)
    assert np.all(np.isfinite(here.values))
    for kind in ("netCDF", "zarr"):
        assert_close(elsewhere.values[f"{name.replace(' ', '_')}:{kind}"], here.values)
    for i in range(2):
        one = result.isel(star=i).modelfit.to_model()
        assert_close(called(one, case, data.coords), here.values[i])
        assert np.ptp(here.values[i]) < 2 * np.ptp(data.values) + 1e-9


def names_within(model: CompoundModel) -> list[str | None]:
    return [getattr(part, "name", None) for part in model.traverse_postorder()]


@pytest.mark.quick_share(2)
@pytest.mark.parametrize("name", CASES)
def test_the_model_that_comes_back_is_built_alike(name: str) -> None:
    """Class by class: names, inputs, constraints, units, domain and window."""
    case = CASES[name]
    given, back = case.truth(), fitted(case, measured(case)).isel(star=0).modelfit.to_model()
    assert (back.name, back.inputs, back.param_names) == (given.name, given.inputs, given.param_names)
    for mine, theirs in zip(leaves(given), leaves(back), strict=True):
        assert (type(theirs), theirs.name) == (type(mine), mine.name)
        for attribute in ("domain", "window", "x_domain", "x_window", "y_domain", "y_window", "method", "degree"):
            assert np.array_equal(getattr(theirs, attribute, 0), getattr(mine, attribute, 0)), attribute
    assert back.fixed == given.fixed
    if isinstance(given, CompoundModel):
        assert names_within(back) == names_within(given)
    for parameter in given.param_names:
        mine, theirs = getattr(given, parameter), getattr(back, parameter)
        assert theirs.unit == mine.unit or (theirs.unit is None and case.units is None), parameter
        assert tuple(theirs.bounds) == tuple(mine.bounds), parameter


# --- the same as astropy's own

BOTH = [
    "Gaussian1D", "Lorentz1D", "Moffat1D", "Sersic1D", "Linear1D", "Chebyshev1D", "Polynomial1D", "Exponential1D",
    "Gaussian2D", "Chebyshev2D", "sum", "named parts", "pipe", "line and polynomial", "bounds", "units",
    "power law with units", "drude with units",
]  # fmt: skip


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.filterwarnings("ignore:The fit may be unsuccessful", "ignore:overflow", "ignore:invalid value")
def test_the_model_is_that_of_parallel_fit_dask(name: str) -> None:
    """Values, classes, names, units and constraints of the model that astropy returns for the same data and fitter."""
    case = CASES[name]
    data = measured(case)
    quantity = any(getattr(case.truth(), n).unit is not None for n in case.truth().param_names)
    keywords = {"estimate_jacobian": True}  # astropy's analytic derivatives leave out domains and units
    axes = [data[n].values for n in case.truth().inputs]
    theirs = parallel_fit_dask(
        model=case.truth(),
        fitter=TRFLSQFitter(),
        data=data.values * u.Unit(case.units) if quantity else data.values,
        fitting_axes=tuple(range(1, data.ndim)),
        world=tuple(u.Quantity(w, case.x_units) if quantity else w for w in axes),
        fitter_kwargs=keywords,
        scheduler="synchronous",
    )
    names = {n: n for n in case.truth().inputs}
    result = fit(
        data, case.truth(), data.dims[1:], coords=names, fitter=TRFLSQFitter(), fitter_kwargs=keywords, errors="ignore"
    )
    ours = result.modelfit.to_model()
    assert type(ours) is type(theirs)
    assert [type(m) for m in leaves(ours)] == [type(m) for m in leaves(theirs)]
    assert (ours.name, ours.param_names, ours.inputs) == (theirs.name, theirs.param_names, theirs.inputs)
    assert ours.fixed == theirs.fixed
    for n in ours.param_names:
        a, b = getattr(ours, n), getattr(theirs, n)
        assert a.shape == b.shape == (2,)
        assert tuple(a.bounds) == tuple(b.bounds)
        values = a.quantity.to_value(b.unit) if quantity and a.unit is not None else a.value
        np.testing.assert_allclose(values, b.value, rtol=1e-9 if quantity else 1e-10, atol=1e-12, err_msg=n)
    grid = [x[..., None] for x in np.meshgrid(*axes, indexing="ij")]
    mine = ours(*[u.Quantity(g, case.x_units) if quantity else g for g in grid])
    other = theirs(*[u.Quantity(g, case.x_units) if quantity else g for g in grid])
    np.testing.assert_allclose(u.Quantity(mine).value, u.Quantity(other).to_value(u.Quantity(mine).unit), rtol=1e-9)


# --- what a record cannot hold


def test_a_convolution_is_kept_with_its_settings() -> None:
    """Its operator is a function with settings, which the record holds where they are plain."""
    x = np.linspace(-6, 6, 61)
    held = {"amplitude": True, "mean": True, "stddev": True}
    model = convolve_models(M.Gaussian1D(2, 0.0, 1.0), M.Gaussian1D(1, 0, 0.5, fixed=held))
    data = xr.DataArray(model(x), dims="x", coords={"x": x})
    result = fit(data, model, "x", fitter=TRFLSQFitter(), errors="ignore", keep_failed=True)
    for again in (result.modelfit.evaluate(data), result.modelfit.evaluate(data, model=model)):
        np.testing.assert_allclose(again, data, atol=1e-6)
    np.testing.assert_allclose(result.modelfit.to_model()(x), data, atol=1e-6)


def test_a_convolution_with_a_function_as_setting_is_asked_for() -> None:
    """No record can hold a function."""
    x = np.linspace(-6, 6, 61)
    held = {"amplitude": True, "mean": True, "stddev": True}
    kernel = M.Gaussian1D(1, 0, 0.5, fixed=held)
    model = convolve_models(M.Gaussian1D(2, 0.0, 1.0), kernel, normalize_kernel=np.sum)
    data = xr.DataArray(model(x), dims="x", coords={"x": x})
    result = fit(data, model, "x", errors="ignore", keep_failed=True)
    for method in (result.modelfit.evaluate, lambda data: result.modelfit.to_model()):
        with pytest.raises(RecordError, match=r"'convolve_fft'.*model="):
            method(data)
    np.testing.assert_allclose(result.modelfit.evaluate(data, model=model), data, atol=1e-6)


class Waves(FittableModel):
    """Three inputs, one output."""

    n_inputs, n_outputs = 3, 1
    amplitude = astropy.modeling.Parameter(default=1.0)
    phase = astropy.modeling.Parameter(default=0.0)

    @staticmethod
    def evaluate(x, y, z, amplitude, phase):
        return amplitude * np.sin(0.3 * x + 0.2 * y + 0.1 * z + phase)


def test_three_inputs() -> None:
    """A model of this file, of more inputs than astropy's have."""
    case = Case(lambda: Waves(2.0, 0.3))
    data = measured(case)
    result = fitted(case, data)
    here = result.modelfit.evaluate(data)
    assert here.dims == data.dims
    for i in range(2):
        assert_close(called(result.isel(star=i).modelfit.to_model(), case, data.coords), here.values[i])


class Angle(FittableModel):
    """A parameter that the model keeps in radians and shows in degrees."""

    n_inputs, n_outputs = 1, 1
    angle = astropy.modeling.Parameter(default=0.0, getter=np.rad2deg, setter=np.deg2rad)

    @staticmethod
    def evaluate(x, angle):
        return np.sin(x + angle)

    @staticmethod
    def fit_deriv(x, angle):
        return [np.cos(x + angle)]


@pytest.mark.parametrize(
    ("truth", "start"),
    [
        (lambda: Angle(30.0), lambda: Angle(25.0)),
        (
            lambda: M.Rotation2D(30) | M.Gaussian2D(2, 3, 4, 1.5, 0.7, fixed={"theta": True}),
            lambda: M.Rotation2D(25) | M.Gaussian2D(2, 3, 4, 1.5, 0.7, fixed={"theta": True}),
        ),
    ],
    ids=["own", "Rotation2D"],
)
def test_a_parameter_that_is_kept_otherwise_inside(truth: Callable[[], Model], start: Callable[[], Model]) -> None:
    """The result has what the model shows, as astropy's call understands it."""
    case = Case(truth)
    data = measured(case).isel(star=[0])
    result = fit(data, start(), data.dims[1:], coords={n: n for n in truth().inputs})
    name = next(n for n in result.modelfit.params if str(n).startswith("angle"))
    np.testing.assert_allclose(result[name], 30.0, atol=0.5)
    one = result.isel(star=0).modelfit.to_model()
    assert_close(called(one, case, data.coords), result.modelfit.evaluate(data).values[0])


def snapshot(model: Model) -> list[dict[str, str]]:
    """All that a model and its parts hold, in words; what a class caches for all is no part of it."""
    parts = (model.left, model.right) if isinstance(model, CompoundModel) else ()
    below = [held for part in parts if isinstance(part, Model) for held in snapshot(part)]
    return [{name: repr(value) for name, value in vars(model).items()}, *below]


@pytest.mark.parametrize("name", CASES)
def test_models_that_tasks_share_are_not_changed_by_evaluation(name: str) -> None:
    """Any model is evaluated by many threads at once: those that keep something get a copy for each."""
    model = scalar_model(CASES[name].truth())
    values, rng = model.parameters, np.random.default_rng(0)
    before = snapshot(model)
    for _ in range(2):
        inputs = [rng.uniform(CASES[name].low, CASES[name].high, 20) for _ in range(model.n_inputs)]
        with np.errstate(all="ignore"):
            evaluate_tree(model, inputs, [p * rng.uniform(0.9, 1.1) for p in values])
    assert snapshot(model) == before or not keeps_nothing(model)


@pytest.mark.parametrize(
    ("model", "shared"),
    [
        (M.Gaussian1D() + M.Linear1D(), True),
        (fix_inputs(M.Gaussian2D(), {"y": 1.0}), True),
        (M.NFW(), False),
        (M.Gaussian1D() + M.Voigt1D(), False),
        (M.Polynomial1D(2), False),
        (convolve_models(M.Gaussian1D(), M.Gaussian1D()), False),
        (M.Const1D(2) * convolve_models(M.Gaussian1D(), M.Gaussian1D()), False),
    ],
    ids=["sum", "fixed input", "NFW", "voigt", "polynomial", "convolution", "convolution in a product"],
)
def test_only_models_of_static_functions_are_shared(model: Model, shared: bool) -> None:
    assert keeps_nothing(model) == shared
