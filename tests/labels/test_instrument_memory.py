"""Coordinates, bounds and responses of each fit: nodes are made block by block, and no plan takes them for samples."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models as M
from numpy.testing import assert_allclose

from support.instrument import between, gauss, mean_gauss
from xr_modelfit import BatchLSQFitter

N_FITS, N = 60, 40
OFFSETS = np.arange(-10.0, 11.0) * 0.3  # between the samples
MB = 1e6


def lines() -> xr.Dataset:
    """Lines over coordinates, bounds, kernels and matrices of each fit."""
    rng = np.random.default_rng(4)
    x = np.arange(float(N)) + rng.uniform(-0.1, 0.1, (N_FITS, N))
    low, high = between(x)
    kernel = np.exp(-0.5 * (OFFSETS / 1.1) ** 2) * np.ones((N_FITS, 1))
    return xr.Dataset(
        {
            "flux": (("p", "x"), mean_gauss(low, high, 4.0, 20.3, 1.5)),
            "x_bnds": (("p", "x", "bnds"), np.stack([low, high], axis=-1)),
            "lsf": (("p", "o"), kernel),
            "seen": (("p", "x", "k"), np.broadcast_to(np.eye(N), (N_FITS, N, N)).copy()),
        },
        coords={"scale": (("p", "x"), x), "o": OFFSETS},
    )


CALLS: dict[str, dict[str, Any]] = {
    "bins": {"integrate": True},
    "bounds": {"integrate": {"x": "x_bnds"}},
    "kernel": {"response": "lsf"},
    "both": {"integrate": True, "response": "lsf"},
    "matrix": {"integrate": True, "response": "seen"},
}


def peak(work: Callable[[], Any]) -> tuple[float, Any]:
    """Bytes held at once, and what ``work`` gives."""
    tracemalloc.start()
    try:
        found = work()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_nodes_are_made_block_by_block() -> None:
    """Nodes of all fits: 12 points by 21 offsets by 40 samples, 5 MB for these 60 fits, and 10 MB for 120."""
    ds = lines()
    model = M.Gaussian1D(3.5, 20, 1.7)
    told = {"data": "flux", "coords": "scale", **CALLS["both"]}
    few = {"fitter": BatchLSQFitter(engine="numpy", maxiter=1), "errors": "ignore", "keep_failed": True}
    held = []
    for one in (ds, xr.concat([ds, ds], "p", data_vars="minimal", coords="minimal")):
        took, fit = peak(
            lambda one=one: one.modelfit(model, "x", fits_per_chunk=10, scheduler="synchronous", **few, **told)
        )
        held.append(took)
        took, _ = peak(lambda one=one, fit=fit: fit.modelfit.evaluate(one, response=one["lsf"]))
        assert took < 12 * MB
    assert held[1] - held[0] < 1 * MB


def test_what_is_constant_in_a_fit_takes_no_memory() -> None:
    def line(x: Any, level: Any, a: float = 3.5, m: float = 20.0, s: float = 1.7) -> Any:
        return level + gauss(x, a, m, s)

    rng = np.random.default_rng(1)
    level, x = rng.uniform(1, 2, (300, 1)), np.arange(40.0)
    kernel = xr.DataArray([1.0, 2.0, 1.0], dims="o", coords={"o": [-1.0, 0.0, 1.0]})
    uneven = kernel.assign_coords(o=[-1.0, 0.0, 1.3])
    low, high = between(x)

    def behind(at: float, *p: float) -> Any:
        return sum(w * gauss(x - o, *p) for w, o in ((0.25, -1.0), (0.5, 0.0), (0.25, at)))

    plain: list[tuple[dict[str, Any], Callable[..., Any]]] = [
        ({"integrate": True}, lambda *p: mean_gauss(low, high, *p)),
        ({"response": kernel}, lambda *p: behind(1.0, *p)),
        ({"response": uneven}, lambda *p: behind(1.3, *p)),
    ]
    for told, samples in plain:
        data = xr.DataArray(level + samples(4.0, 20.3, 1.5), dims=("p", "x"), coords={"x": x})
        data = data.assign_coords(level=("p", level[:, 0]))
        fit = data.modelfit(line, "x", coords={"x": "x", "level": "level"}, **told)
        assert_allclose(fit.modelfit.params.to_array().values, np.array([[4.0, 20.3, 1.5]]).T * np.ones(300), rtol=1e-6)
        assert_allclose(fit.modelfit.evaluate(data), data, rtol=1e-6)


@pytest.mark.parametrize("call", CALLS)
def test_a_plan_counts_what_is_read(call: str) -> None:
    """Chunks of data, coordinate, bounds and response, each once; edges between neighbours are two for each sample."""
    ds = lines().isel(p=slice(0, 40)).chunk(p=10)
    plan = ds.modelfit.plan(M.Gaussian1D(3.5, 20, 1.7), "x", data="flux", coords="scale", **CALLS[call])
    samples = 40 * N * 8
    edges = 2 * samples if "integrate" in CALLS[call] else samples
    response = {"lsf": 40 * OFFSETS.size * 8, "seen": 40 * N * N * 8}.get(CALLS[call].get("response", ""), 0)
    assert plan.bytes_read == samples + edges + response
    assert plan.merged == {}


@pytest.mark.parametrize("call", CALLS)
def test_a_plan_of_many_small_chunks_simulates_samples(call: str) -> None:
    ds = lines().isel(p=slice(0, 6))
    model = M.Gaussian1D(3.5, 20, 1.7)
    for one in (ds.chunk(x=1), ds.assign(flux=ds["flux"].chunk(x=1))):
        plan = one.modelfit.plan(model, "x", data="flux", coords="scale", **CALLS[call])
        assert "simulated samples" in str(plan)
        assert plan.n_fits == 6
    shared = ds.drop_vars("scale").assign(flux=ds["flux"].chunk(x=1))
    told = CALLS[call] | ({"integrate": True} if "integrate" in CALLS[call] else {})
    assert "simulated samples" in str(shared.modelfit.plan(model, "x", data="flux", **told))


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_lazy_coordinates_give_what_those_in_memory_give(call: str) -> None:
    ds = lines().isel(p=slice(0, 5))
    model = M.Gaussian1D(3.5, 20, 1.7)
    told = {"data": "flux", "coords": "scale", "covariance": True, **CALLS[call]}
    right = ds.modelfit(model, "x", **told)
    again = {"response": "lsf"} if call in ("kernel", "both") else {"response": "seen"} if call == "matrix" else {}
    for chunks in ({"p": 2}, {"p": 1, "x": 7, "o": 5}):
        lazy = ds.chunk(chunks)
        fit = lazy.modelfit(model, "x", **told).compute()
        for name in right.data_vars:
            np.testing.assert_array_equal(fit[name].values, right[name].values)
        values = fit.modelfit.predict(lazy, **again).compute()
        wanted = right.modelfit.predict(ds, **again)
        xr.testing.assert_allclose(values["flux_model_stderr"], wanted["flux_model_stderr"], rtol=1e-12)
        np.testing.assert_array_equal(fit.modelfit.evaluate(lazy, **again).values, right.modelfit.evaluate(ds, **again))
