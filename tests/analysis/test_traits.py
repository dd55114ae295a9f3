"""How a model can be computed is found on evidence: whatever the coordinate is, and wherever the start lies."""

import json

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D, Gaussian2D, Linear1D, Polynomial1D

from xr_modelfit import BatchLSQFitter, FitStatus, fit
from xr_modelfit.analysis.probing import about
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.execution.computing import ExecutionDefaults
from xr_modelfit.execution.execution import map_blocks
from xr_modelfit.models.problem import Problem

WAVE = np.linspace(6550.0, 6576.0, 60)


def ways_of(model: Model, *inputs: np.ndarray) -> Problem:
    """The problem of a model without bounds, and its ways on these coordinates."""
    K = len(model.param_names)
    none = np.full(K, np.inf)
    fixed = np.array([bool(model.fixed[n]) for n in model.param_names])
    ties = tuple(model.tied[n] or None for n in model.param_names)
    problem = Problem(model, tuple(model.param_names), np.array(model.parameters), -none, none, fixed, ties)
    with np.errstate(all="ignore"):
        return find_traits(problem, list(inputs))


def spectra() -> xr.DataArray:
    """Four lines at 6561 on coordinates of every kind."""
    rng = np.random.default_rng(0)
    flux = 3 * np.exp(-0.5 * ((WAVE - 6561) / 2) ** 2) + rng.normal(0, 0.05, (4, WAVE.size))
    coords = {"each": (("p", "c"), np.tile(WAVE, (4, 1))), "aside": ("c", WAVE), "c": WAVE}
    return xr.DataArray(flux, dims=("p", "c"), coords=coords)


@pytest.mark.parametrize("fitter", [None, TRFLSQFitter()], ids=["batch", "TRF"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["each", "aside"])
@pytest.mark.parametrize("fixed", [{}, {"stddev": True}, {"amplitude": True}], ids=str)
def test_any_kind_of_coordinate_gives_the_fit_of_an_index(fixed: dict, name: str, lazy: bool, fitter: object) -> None:
    """A line far from where made-up coordinates lie; a coordinate that is not read beforehand must not matter."""
    data = spectra()
    line = Gaussian1D(2.5, 6562, 2.0, fixed=fixed)
    expected = fit(data, line, "c", fitter=fitter)
    if lazy:
        data = data.assign_coords({name: data[name].chunk()})
    got = fit(data, line, "c", coords=name, fitter=fitter).compute()
    assert (expected["fit_status"] == FitStatus.CONVERGED).all()
    for parameter in line.param_names:  # other derivatives may be used: a millionth of an error
        error = expected[f"{parameter}_stderr"].values
        np.testing.assert_array_less(abs(got[parameter] - expected[parameter]).values, 1e-5 * error + 1e-12)
    np.testing.assert_array_equal(got["fit_status"], expected["fit_status"])


def test_a_start_away_from_the_data_is_differentiated_all_the_same() -> None:
    """Start maps leave the model's own start where it is; its derivatives are still the analytic ones."""
    assert ways_of(Gaussian1D(1.0, 0.0, 1.0), WAVE).traits.atoms == ("analytic",)
    data = spectra()
    fitted = fit(data, Gaussian1D(1.0, 0.0, 1.0), "c", p0={"mean": data["aside"][data.argmax("c")].drop_vars("c")})
    np.testing.assert_allclose(fitted["mean"], 6561, atol=0.1)


def test_what_has_no_effect_is_not_linear() -> None:
    for model in (Gaussian1D(1.0, 1e9, 1e-3), Gaussian1D(1.0, 1e9, 1e-3, fixed={"stddev": True})):
        assert not ways_of(model, WAVE).traits.linear
    assert ways_of(Gaussian1D(1.0, 6561.0, 2.0, fixed={"mean": True, "stddev": True}), WAVE).traits.linear
    assert ways_of(Linear1D(), WAVE).traits.linear
    assert ways_of(Polynomial1D(3, domain=(6550, 6576)), WAVE).traits.linear


@pytest.mark.parametrize("tau", [0.0, np.nan])
def test_a_start_where_the_model_is_not_finite_may_be_replaced_by_a_map(tau: float) -> None:
    """The model's own value is not used then, and does not decide how the model is computed."""

    def decay(x, height=1.0, tau=0.0):
        return height * np.exp(-x / tau)

    x = np.linspace(0.5, 6, 30)
    model = custom_model(decay)(1.0, tau)
    found = ways_of(model, x).traits
    assert found.broadcasts
    if np.isnan(tau):  # at 0 the model jumps, and complex steps do not agree with differences
        assert found.atoms == ("complex",)
    data = xr.DataArray(np.stack([3 * np.exp(-x / 2), np.exp(-x / 4)]), dims=("p", "x"), coords={"x": x})
    result = fit(data, model, "x", p0={"tau": xr.DataArray([1.0, 3.0], dims="p")})
    np.testing.assert_allclose(result["tau"], [2, 4], rtol=1e-8)


def test_equal_widths_do_not_hide_the_angle() -> None:
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-3, 3, 9), np.linspace(-3, 3, 9)))
    assert ways_of(Gaussian2D(1.0, 0.0, 0.0, 1.0, 1.0, 0.0), x, y).traits.atoms == ("analytic",)


def test_a_derivative_without_evidence_is_not_believed() -> None:
    """Complex steps are lost in an assignment, where it happens; at the start it does not."""

    def knee(x, slope=1.0, at=20.0):
        bent = np.array(x, dtype=float)
        bent[bent > np.real(at)] = np.real(at)
        return slope * bent

    x = np.linspace(0, 10, 40)
    assert ways_of(custom_model(knee)(1.0, 20.0), x).traits.atoms == ("difference",)
    data = xr.DataArray(2 * np.where(x > 6, 6, x), dims="x", coords={"x": x})
    result = fit(data, custom_model(knee)(1.0, 20.0), "x", p0={"at": 7.0})
    np.testing.assert_allclose([result["slope"], result["at"]], [2, 6], rtol=1e-6)


def test_a_model_that_writes_only_sometimes_spoils_nothing() -> None:
    """Nothing is written at the start; later the coordinates of all fits would be lost, silently."""

    def clipped(x, slope=1.0, knee=20.0):
        x[x > knee] = knee
        return slope * x

    x = np.linspace(0, 10, 40)
    rng = np.random.default_rng(1)
    data = 2 * np.where(x > 6, 6, x) + rng.normal(0, 0.01, (5, x.size))
    knees = xr.DataArray([8.0, 5.0, 7.0, 6.5, 5.5], dims="p")
    cube = xr.DataArray(data, dims=("p", "x"), coords={"x": x})
    result = fit(cube, custom_model(clipped)(1.0, 20.0), "x", p0={"knee": knees})
    assert (result["fit_status"] == FitStatus.CONVERGED).all()
    # The true values lie within five of their standard errors.
    for name, truth in (("slope", 2.0), ("knee", 6.0)):
        assert (abs(result[name] - truth) < 5 * result[f"{name}_stderr"]).all()
    np.testing.assert_array_equal(cube["x"], x)


def test_the_model_sees_inputs_that_it_cannot_spoil() -> None:
    seen = []

    def watched(x, a=1.0, b=0.0):
        seen.append(x.flags.writeable)
        return a * x + b

    fit(xr.DataArray(np.arange(6.0), dims="x"), custom_model(watched)(), "x")
    assert not all(seen)  # copies are made only to find out whether they are needed
    assert not seen[-1]


def test_made_up_coordinates_lie_where_a_line_is() -> None:
    found = about(np.array([1.0, 6563.0, 2.0]), 200)
    assert found.size == 200
    assert np.count_nonzero(abs(found - 6563) < 3) >= 2


@pytest.mark.parametrize(("fitter", "engine"), [(BatchLSQFitter(), "numpy"), (TRFLSQFitter(), "astropy")])
def test_the_record_names_the_engine(fitter: object, engine: str) -> None:
    result = fit(xr.DataArray(np.arange(6.0) ** 2, dims="x"), Linear1D(), "x", fitter=fitter)
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    assert record["engine"] == engine
    assert record["fitter"]["class"].endswith(type(fitter).__name__)


def test_attrs_of_any_kind_do_not_disturb_a_dataset() -> None:
    """CF bounds are named by text; other things called so are not."""
    ds = xr.Dataset(
        {"a": ("t", np.arange(5.0), {"bounds": [0, 1]}), "t_bnds": (("t", "side"), np.zeros((5, 2)))},
        coords={"t": ("t", np.arange(5.0), {"bounds": "t_bnds"})},
    )
    assert "a_slope" in fit(ds, Linear1D(), "t")
    assert not any(str(name).startswith("t_bnds") for name in fit(ds, Linear1D(), "t"))


def test_one_thread_works_in_pieces_too() -> None:
    sizes = []

    def function(block: np.ndarray) -> np.ndarray:
        sizes.append(block.size)
        return block[..., None]

    defaults = ExecutionDefaults("threads", few_fits=10, most_fits=10, rounds=1, progress_fits=10)
    values = xr.Variable("p", np.arange(95.0))
    out = map_blocks(function, [values], [()], {"field": 1}, scheduler="synchronous", defaults=defaults)
    assert max(sizes) <= 10
    np.testing.assert_array_equal(out[:, 0], values)
