"""Models with edges: chi-square is level between samples, and an edge on a sample passes it to one side alone."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Box1D

from xr_modelfit import BatchLSQFitter

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
SIGMA = 0.1


def step(t, before=1.0, after=1.5, edge=95.0):
    return np.where(t < edge, before, after)


def lowest_of_all(y: np.ndarray) -> np.ndarray:
    """The sum of squares (b,) of the best of all steps between two samples of ``y`` (b, n)."""

    def squares(part: np.ndarray) -> np.ndarray:
        return np.sum((part - part.mean(axis=1, keepdims=True)) ** 2, axis=1)

    return np.min([squares(y[:, :i]) + squares(y[:, i:]) for i in range(1, y.shape[1])], axis=0)


def fitted(model: Any, x: np.ndarray, y: np.ndarray, engine: str, **options: Any) -> xr.Dataset:
    data = xr.DataArray(y, dims=("fit", "x"), coords={"x": x})
    fitter = BatchLSQFitter(engine=engine)
    return data.modelfit(model, "x", sigma=SIGMA, fitter=fitter, errors="ignore", **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start", [100.0, 100.5, 37.0, 180.0])
@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
def test_a_step_is_found_wherever_it_starts(even: bool, start: float, engine: str) -> None:
    """Each sample that the edge passes lowers chi-square by about 100, with noise of 20: no local minimum is deeper."""
    rng = np.random.default_rng(5)
    t = np.arange(200.0) if even else np.sort(rng.uniform(0.0, 200.0, 200))
    y = np.where(t < rng.uniform(50.0, 150.0, (40, 1)), 1.0, 2.0) + SIGMA * rng.normal(size=(40, 200))
    fit = fitted(step, t, y, engine, p0={"edge": start})
    np.testing.assert_array_equal(fit["fit_status"], 1)
    np.testing.assert_allclose(fit["chi2"], lowest_of_all(y) / SIGMA**2, rtol=1e-6)
    assert np.isnan(fit["edge_stderr"]).all()  # chi-square has no slope there


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start", [(50.0, 20.0), (50.3, 21.7), (30.0, 10.0), (70.0, 9.0)])
def test_both_edges_of_a_box_are_found(start: tuple[float, float], engine: str) -> None:
    """Successes are no worse than the truth by more than chance has it: a box that starts outside may fail."""
    rng = np.random.default_rng(6)
    x, centre, width = np.arange(100.0), rng.uniform(40.0, 60.0, (60, 1)), rng.uniform(10.0, 30.0, (60, 1))
    truth = np.where(np.abs(x - centre) < width / 2.0, 2.0, 0.0)
    y = truth + SIGMA * rng.normal(size=truth.shape)
    fit = fitted(Box1D(1.0, *start), x, y, engine)
    good = fit["fit_status"].values > 0
    near = fit["chi2"].values < np.sum((y - truth) ** 2, axis=1) / SIGMA**2 + 5.0
    assert np.count_nonzero(good & ~near) <= 2
    if start[0] < 60.0 and start[1] > 10.0:  # inside all of them
        assert near.all()
