"""Laws of fits over bins and behind responses: nothing depends on chunks, company, schedulers, scale or origin."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models as M
from astropy.modeling.fitting import TRFLSQFitter
from numpy.testing import assert_allclose

from support.bits import assert_same_bits
from support.instrument import gauss, mean_gauss, recorded
from xr_modelfit import BatchLSQFitter

pytestmark = pytest.mark.quick_share(3)

X = np.arange(48.0)
NOISE = 0.02
OFFSETS = np.arange(-2.0, 5.0)
VALUES = np.array([0.5, 1.0, 4.0, 2.5, 2.0, 1.0, 0.3])
FITTERS = {"numpy": BatchLSQFitter(engine="numpy"), "numba": BatchLSQFitter(engine="numba"), "trf": TRFLSQFitter()}
ENGINES = [pytest.param(name, marks=[pytest.mark.slow] if name == "numba" else []) for name in FITTERS]


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def cube() -> xr.Dataset:
    """Lines with gaps over positions (q, p), bounds of each position, a kernel of each, a matrix of each q."""
    rng = np.random.default_rng(6)
    place = rng.uniform(20, 28, (3, 5, 1))
    y = mean_gauss(X - 0.5, X + 0.5, 5.0, place, 1.5) + 1.0 + rng.normal(0, NOISE, (3, 5, 48))
    y[rng.random(y.shape) < 0.1] = np.nan
    y[2, 4] = np.nan
    edges = X[:, None] + np.array([-0.5, 0.5]) * rng.uniform(0.6, 1.0, (3, 1, 1, 1))
    kernels = VALUES * rng.uniform(0.8, 1.2, (3, 5, 7))
    matrices = np.eye(48) + rng.uniform(0.1, 0.3, (3, 1, 1)) * np.eye(48, k=1)
    return xr.Dataset(
        {
            "flux": (("q", "p", "x"), y),
            "x_bnds": (("q", "x", "bnds"), edges[:, 0]),
            "scale": (("q", "x"), X + rng.uniform(-0.1, 0.1, (3, 48))),
            "lsf": (("p", "q", "o"), kernels.transpose(1, 0, 2)),
            "one_lsf": ("o", VALUES),
            "seen": (("q", "x", "x_seen"), matrices),
            "start": (("q", "p"), place[..., 0] + 0.5),
        },
        coords={"x": X, "o": OFFSETS},
    )


def stretched() -> xr.Dataset:
    """`cube` twice as long: more samples than are summed at a time."""
    ds = cube().drop_dims("x_seen")
    return xr.concat([ds, ds], "x", data_vars="minimal")


CALLS: dict[str, dict[str, Any]] = {
    "bins": {"integrate": True},
    "bins of each": {"integrate": "x_bnds", "coords": "scale"},
    "kernel": {"response": "one_lsf"},
    "kernel of each": {"response": "lsf"},
    "kernel, scale of each": {"response": "lsf", "coords": "scale"},
    "matrix": {"response": "seen"},
    "both": {"response": "one_lsf", "integrate": True},
    "matrix over bins": {"response": "seen", "integrate": True},
}


def fitted(ds: xr.Dataset, call: str, engine: str = "numpy", **options: Any) -> xr.Dataset:
    asked = dict(CALLS[call])
    if call == "bins of each":
        asked["integrate"] = {"x": "x_bnds"}
    model = M.Gaussian1D(4, 24, 2) + M.Const1D(0.5)
    fit = ds.modelfit(
        model, "x", data="flux", sigma=NOISE, p0={"mean_0": ds["start"]}, fitter=FITTERS[engine], covariance=True,
        errors="ignore", **asked, **options,
    )  # fmt: skip
    assert recorded(fit, "engine") == ("astropy" if engine == "trf" else engine)
    return fit


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("call", CALLS)
def test_chunks_do_not_matter(call: str, engine: str) -> None:
    ds = cube()
    right = fitted(ds, call, engine)
    assert (right["fit_status"].values == 1).sum() == 14
    assert int(right["fit_status"][2, 4]) == -5
    for chunks in ({"q": 1, "p": 2, "x": 10, "o": 3}, {"p": 3, "x_seen": 7}, {"flux": 1}):
        lazy = ds.assign(flux=ds["flux"].chunk(p=2)) if "flux" in chunks else ds.chunk(chunks)
        fit = fitted(lazy, call, engine)
        assert fit.chunks
        assert_same_bits(fit.compute(), right)
        if engine == "trf":
            break


@pytest.mark.parametrize("engine", [pytest.param(n, marks=[pytest.mark.slow] * (n != "numpy")) for n in FITTERS])
@pytest.mark.parametrize("call", CALLS)
def test_a_position_alone_gives_what_it_gives_in_company(call: str, engine: str) -> None:
    ds = cube()
    right = fitted(ds, call, engine)
    for at in ({"q": [1], "p": [3]}, {"q": [0, 2], "p": [4, 0]}):
        assert_same_bits(fitted(ds.isel(at), call, engine), right.isel(at))


@pytest.mark.parametrize("call", CALLS)
def test_the_order_of_dims_does_not_matter(call: str) -> None:
    ds = cube()
    turned = fitted(ds.transpose("o", "x_seen", "x", "bnds", "p", "q"), call)
    assert_same_bits(turned.transpose("q", "p", ...), fitted(ds, call))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", pytest.param("processes", marks=pytest.mark.slow)])
@pytest.mark.parametrize("call", ["bins of each", "kernel of each", "both"])
def test_schedulers_do_not_matter(call: str, scheduler: str) -> None:
    ds = cube()
    assert_same_bits(fitted(ds, call, scheduler=scheduler, fits_per_chunk=4), fitted(ds, call))


@pytest.mark.parametrize("call", ["bins", "kernel", "both", "matrix over bins"])
def test_nothing_depends_on_the_scale_of_the_data(call: str) -> None:
    ds = cube().drop_vars("scale")
    right = fitted(ds, call)
    model = M.Gaussian1D(4e-17, 24, 2) + M.Const1D(0.5e-17)
    ds["flux"] = 1e-17 * ds["flux"]
    faint = ds.modelfit(
        model, "x", data="flux", sigma=1e-17 * NOISE, p0={"mean_0": ds["start"]}, errors="ignore", **CALLS[call]
    )
    assert_within(faint, right, {"amplitude_0": 1e-17, "amplitude_1": 1e-17})


@pytest.mark.parametrize("call", ["bins", "kernel", "both", "matrix over bins"])
@pytest.mark.parametrize("origin", [1e6, -(2.0**30)])
def test_nothing_depends_on_the_origin_of_the_coordinate(call: str, origin: float) -> None:
    ds = cube()
    right = fitted(ds, call)
    moved = ds.assign_coords(x=X + origin).assign(start=ds["start"] + origin)
    found = fitted(moved, call)
    assert_within(found.assign(mean_0=found["mean_0"] - origin), right, {})


@pytest.mark.parametrize("call", ["bins", "kernel", "both", "matrix over bins"])
@pytest.mark.parametrize("factor", [1e-9, 1e12])
def test_nothing_depends_on_the_scale_of_the_coordinate(call: str, factor: float) -> None:
    ds = cube()
    right = fitted(ds, call)
    scaled = ds.assign_coords(x=factor * X, o=factor * OFFSETS)
    model = M.Gaussian1D(4, 24 * factor, 2 * factor) + M.Const1D(0.5)
    p0 = {"mean_0": factor * ds["start"]}
    found = scaled.modelfit(model, "x", data="flux", sigma=NOISE, p0=p0, errors="ignore", **CALLS[call])
    assert_within(found, right, {"mean_0": factor, "stddev_0": factor})


def assert_within(found: xr.Dataset, right: xr.Dataset, factors: dict[str, float], part: float = 1e-3) -> None:
    """The same statuses, and parameters within a part of an error."""
    assert (found["fit_status"] == right["fit_status"]).all()
    good = right.modelfit.ok
    for name in right.modelfit.params:
        factor = factors.get(str(name), 1.0)
        apart = abs(found[name] / factor - right[name]) / right[f"{name}_stderr"]
        assert (apart.where(good, 0) <= part).all(), (name, float(apart.max()))
        assert_allclose(found[f"{name}_stderr"] / factor, right[f"{name}_stderr"], rtol=1e-3)


def test_inputs_are_not_changed() -> None:
    ds = cube()
    before = ds.copy(deep=True)
    for call in CALLS:
        fitted(ds, call)
    xr.testing.assert_identical(ds, before)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba", pytest.param("trf", marks=pytest.mark.slow)])
def test_a_sample_that_is_left_out_is_as_if_it_were_not_there(engine: str) -> None:
    """With bounds, which do not depend on neighbours, and behind a kernel with a coordinate.

    Bit for bit where no two samples share a node; there, the order of a sum changes.
    """
    ds = cube().isel(q=[0], p=[0, 1])
    ds["flux"] = ds["flux"].fillna(1.0)
    keep = np.arange(48) % 7 != 2
    for call in ("bins of each", "kernel", "kernel of each", "kernel, scale of each"):
        masked = fitted(ds, call, engine, where=xr.DataArray(keep, dims="x", coords={"x": X}))
        absent = fitted(ds.isel(x=keep), call, engine)
        assert_within(masked, absent, {}, 1e-3 if engine == "trf" else 1e-6)
        if call in ("bins of each", "kernel, scale of each") and engine != "trf":
            assert_same_bits(masked, absent)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("n", [48, 33, 96])
def test_whatever_stands_in_a_sample_that_is_left_out(engine: str, n: int) -> None:
    """Gaps of each fit, in company: NaN in data, in a coordinate, in an edge, in a weight, or a mask."""
    ds = cube().isel(x=slice(0, n)) if n <= 48 else stretched().assign_coords(x=np.arange(96.0))
    ds["flux"] = ds["flux"].fillna(1.0)
    rng = np.random.default_rng(11)
    gaps = xr.DataArray(rng.random((3, ds.sizes["x"])) < 0.2, dims=("q", "x"))
    right = fitted(ds, "bins of each", engine, where=~gaps)
    others = [
        ds.assign(flux=ds["flux"].where(~gaps)),
        ds.assign(scale=ds["scale"].where(~gaps)),
        ds.assign(x_bnds=ds["x_bnds"].where(~gaps)),
        ds.assign(flux=ds["flux"].where(~gaps, 1e300)).assign(keep=~gaps),
    ]
    for one in others:
        assert_same_bits(fitted(one, "bins of each", engine, where="keep" if "keep" in one else None), right)
    for q in range(3):
        kept = ds.isel(q=[q], x=~gaps[q].values)
        assert_same_bits(fitted(kept, "bins of each", engine), right.isel(q=[q]))


def test_a_kernel_of_one_value_at_offset_zero_is_no_kernel() -> None:
    ds = cube()
    delta = xr.DataArray([4.0], dims="o", coords={"o": [0.0]})
    model = M.Gaussian1D(4, 24, 2) + M.Const1D(0.5)
    options = {"data": "flux", "sigma": NOISE, "p0": {"mean_0": ds["start"]}, "errors": "ignore"}
    seen = ds.drop_vars("o").modelfit(model, "x", response=delta, **options)
    assert_within(seen, ds.modelfit(model, "x", **options), {}, 1e-9)
    identity = xr.DataArray(np.eye(48), dims=("x", "k"))
    assert_within(ds.modelfit(model, "x", response=identity, **options), seen, {}, 1e-9)
    assert_allclose(gauss(0.0, 1.0, 0.0, 1.0), 1.0)
