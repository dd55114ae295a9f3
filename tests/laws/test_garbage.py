"""Garbage beside good data: no error, no warning, a status for every fit, and not a bit of a good fit changes."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import (
    DogBoxLSQFitter,
    LevMarLSQFitter,
    LMLSQFitter,
    SLSQPLSQFitter,
    TRFLSQFitter,
)
from astropy.modeling.models import (
    Const1D,
    Exponential1D,
    Gaussian1D,
    Linear1D,
    Lorentz1D,
    Moffat1D,
    Polynomial1D,
    PowerLaw1D,
    Sine1D,
    Voigt1D,
)

from support.bits import assert_same_bits
from xr_modelfit import FitStatus, fit
from xr_modelfit.call.lazy_results import origin_of
from xr_modelfit.fitters.block_task import Role

pytestmark = pytest.mark.quick_share(3)

N, CLEAN = 12, 6  # samples of a fit, good fits of each kind
X = np.linspace(0.5, 6.0, N)
STATUSES = {int(s) for s in FitStatus}


@custom_model
def decay(x, height=3.0, rate=0.5):
    """Exponential decay."""
    return height * np.exp(-rate * x)


def tied() -> Model:
    model = Gaussian1D(3.0, 3.0, 1.0) + Gaussian1D(1.0, 5.0, 1.0)
    model.amplitude_1.tied = lambda m: m.amplitude_0 / 3
    model.stddev_1.tied = lambda m: m.stddev_0 + 0.5
    return model


MODELS: dict[str, Callable[[], Model]] = {
    "gaussian": lambda: Gaussian1D(3.0, 3.0, 1.0),
    "gaussian on a level": lambda: Gaussian1D(3.0, 3.0, 1.0) + Const1D(1.0),
    "bounded": lambda: Gaussian1D(3.0, 3.0, 1.0, bounds={"mean": (0.0, 6.0), "stddev": (0.1, 1.01)}),
    "lorentz": lambda: Lorentz1D(3.0, 3.0, 1.0),
    "exponential": lambda: Exponential1D(3.0, -2.0),
    "power law": lambda: PowerLaw1D(3.0, 1.0, 1.5, fixed={"x_0": True}),
    "polynomial": lambda: Polynomial1D(3, c0=1.0, c1=0.5, c2=-0.2, c3=0.1),
    "line": lambda: Linear1D(0.5, 1.0),
    "sine": lambda: Sine1D(2.0, 0.2, 0.1),
    "voigt": lambda: Voigt1D(3.0, 3.0, 0.5, 0.7),
    "moffat": lambda: Moffat1D(3.0, 3.0, 1.0, 1.5),
    "custom": lambda: decay(),
    "tied": tied,
    "product": lambda: decay(fixed={"height": True}) * Const1D(1.0),
}
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 3e-310, 1e-200, -1e-160, 1e154, -1e160, 1e300, 1.8e308, 1.0]
)


# --- garbage


def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Any pattern of 64 bits that a float may have."""
    return rng.integers(0, 2**64, shape, dtype=np.uint64).view(np.float64)


def special(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """NaN, infinite, denormal, zero, huge."""
    return rng.choice(SPECIAL, shape)


WAYS: list[Callable[[np.random.Generator, np.ndarray], np.ndarray]] = [
    lambda rng, good: bits(rng, good.shape),
    lambda rng, good: special(rng, good.shape),
    lambda rng, good: np.where(rng.random(good.shape) < rng.random(), special(rng, good.shape), good),
    lambda rng, good: np.where(rng.random(good.shape) < rng.random(), bits(rng, good.shape), good),
    lambda rng, good: np.full(good.shape, rng.choice(SPECIAL)),
    lambda rng, good: rng.permutation(good.ravel()).reshape(good.shape),
    lambda rng, good: good * 10.0 ** rng.uniform(-330, 308),
    lambda rng, good: good + 10.0 ** rng.uniform(-20, 20),
    lambda rng, good: rng.standard_cauchy(good.shape),
]


def spoilt(rng: np.random.Generator, good: np.ndarray) -> np.ndarray:
    """Good numbers made bad in one of many ways."""
    with np.errstate(over="ignore"):
        return WAYS[rng.integers(len(WAYS))](rng, good)


# --- good fits, and what each is when it is alone

MAPS = {"start": 0.0, "lower": -5.0, "upper": 5.0}  # and where each lies, from the start of the model


@dataclass(frozen=True)
class Prepared:
    """The function that fits a block, good fits for it, and what it makes of each of them alone."""

    function: Callable[..., np.ndarray]
    roles: tuple[Role, ...]
    clean: tuple[np.ndarray, ...]
    fields: dict[str, slice]
    alone: np.ndarray


def some(array: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The array of a block of these fits; one that all fits share stays as it is."""
    return array[ids] if len(array) == CLEAN else array


@cache
def prepared(name: str, everything: bool, fitter: Any = None) -> Prepared:
    """``everything``: coordinates, errors, masks, starts and bounds differ from fit to fit as well."""
    rng, model = np.random.default_rng(1), MODELS[name]()
    lazy = xr.DataArray(dask.array.zeros((CLEAN, N)), dims=("fit", "x"), coords={"x": X})
    x = np.tile(X, (CLEAN, 1)) + rng.uniform(-0.01, 0.01, (CLEAN, N)) if everything else X
    samples = {"data": model(x) + rng.normal(0, 0.1, (CLEAN, N)), "input": x}
    options: dict[str, Any] = {}
    if everything:
        free = [p for p in model.param_names if not (getattr(model, p).fixed or getattr(model, p).tied)]
        at = lazy.isel(x=0, drop=True)
        options = {"coords": lazy.rename("place"), "sigma": lazy, "where": lazy > 0}
        options |= {"p0": dict.fromkeys(free, at), "bounds": dict.fromkeys(free, (at, at))}
        samples |= {"weights": rng.uniform(0.05, 0.2, x.shape), "where": rng.random(x.shape) > 0.1}
    (job,) = origin_of(fit(lazy, model, "x", covariance=True, fitter=fitter, **options)).jobs
    roles, function, fields = tuple(job.arrays), job.block_function(), job.layout.fields

    def good(role: Role) -> np.ndarray:
        if role.kind in MAPS:
            return model.parameters[int(role.name)] + MAPS[role.kind] + rng.uniform(0, 0.01, CLEAN)
        return samples[role.kind]

    clean = tuple(good(role) for role in roles)
    alone = np.concatenate([function(*(some(a, np.array([i])) for a in clean)) for i in range(CLEAN)])
    assert (alone[:, fields["fit_status"]] > 0).mean() > 0.6
    return Prepared(function, roles, clean, fields, alone)


# --- what holds of every block


def check_block(prep: Prepared, rng: np.random.Generator) -> None:
    """Fit a block of good fits and garbage."""
    b = int(rng.integers(2, 9))
    ids, bad = rng.integers(0, CLEAN, b), rng.random(b) < rng.choice([0.3, 0.7])
    arrays = []
    for role, clean in zip(prep.roles, prep.clean, strict=True):
        array = some(clean, ids).copy()
        share = 0.8 if role.kind == "data" else 0.4
        for i in np.flatnonzero(bad & (rng.random(b) < share)).tolist() if len(clean) == CLEAN else ():
            array[i] = rng.random(N) < rng.random() if role.kind == "where" else spoilt(rng, array[i])
        arrays.append(array)
    packed = prep.function(*arrays)
    check(packed, prep.fields)
    np.testing.assert_array_equal(packed[~bad], prep.alone[ids[~bad]])


def check(packed: np.ndarray, fields: dict[str, slice]) -> None:
    """What must hold of any result."""
    part = {name: packed[:, where] for name, where in fields.items()}
    status, n_points = part["fit_status"][:, 0], part["n_points"]
    assert set(status.tolist()) <= STATUSES - {FitStatus.NOT_ATTEMPTED}
    good = status > 0
    assert np.isfinite(part["parameters"][good]).all()
    assert np.isfinite(part["chi2"][good]).all()
    for name in ("parameters", "stderr", "covariance"):
        assert np.isnan(part[name][~good]).all(), name
        assert not np.isinf(part[name]).any(), name
    for name in ("chi2", "reduced_chi2", "stderr", "n_iter"):
        assert not (part[name] < 0).any(), name
    assert ((n_points >= 0) & (n_points <= N) & (n_points == np.round(n_points))).all()


KINDS = [(name, everything) for name in MODELS for everything in (False, True)]
every_kind = pytest.mark.parametrize(
    ("name", "everything"), KINDS, ids=[f"{name}, {'all' if everything else 'data'}" for name, everything in KINDS]
)


def blocks(n: int, seed: int, name: str, everything: bool, fitter: Any = None) -> None:
    """Check ``n`` blocks; a failure tells which."""
    prep = prepared(name, everything, fitter)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(n):
            try:
                check_block(prep, np.random.default_rng([seed, KINDS.index((name, everything)), i]))
            except Exception as error:
                error.add_note(f"block {i} of {name!r}, everything={everything}")
                raise


@every_kind
def test_garbage(name: str, everything: bool) -> None:
    blocks(6, 0, name, everything)


@pytest.mark.slow
@every_kind
def test_ten_thousand_blocks_of_garbage(name: str, everything: bool) -> None:
    blocks(-(-10_000 // len(KINDS)), 1, name, everything)


TRF = TRFLSQFitter()


@pytest.mark.slow
@every_kind
def test_garbage_for_a_fitter_of_astropy(name: str, everything: bool) -> None:
    blocks(10, 2, name, everything, TRF)


@pytest.mark.slow
@every_kind
def test_ten_thousand_blocks_of_garbage_for_a_fitter_of_astropy(name: str, everything: bool) -> None:
    blocks(-(-10_000 // len(KINDS)), 3, name, everything, TRF)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fitter", [DogBoxLSQFitter(), LMLSQFitter(), LevMarLSQFitter(), SLSQPLSQFitter()], ids=lambda f: type(f).__name__
)
@pytest.mark.parametrize("name", ["gaussian on a level", "voigt", "custom"])
def test_garbage_for_other_fitters_of_astropy(name: str, fitter: Any) -> None:
    blocks(40, 4, name, True, fitter)


# --- through the whole of a call


@pytest.mark.quick_share(3)
@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", ">f4", "f2", "i8", "u1", "g"])
@pytest.mark.parametrize("fitter", [None, TRF], ids=["batch", "TRF"])
def test_garbage_of_any_type(dtype: str, fitter: Any) -> None:
    """Any bits in the memory of data, errors and coordinates; good neighbours are as they are among themselves."""
    rng = np.random.default_rng(5)
    good = MODELS["gaussian"]()(X) * 20 + 40 + rng.normal(0, 2, (4, 5, N))
    model = Gaussian1D(60, 3, 1) + Const1D(40)
    size = np.dtype(dtype).itemsize

    def trash(shape: tuple[int, ...]) -> np.ndarray:
        return np.frombuffer(rng.bytes(size * int(np.prod(shape))), dtype).reshape(shape)

    dims = ("y", "x", "v")
    clean = xr.DataArray(good.astype(dtype), dims=dims, coords={"v": X})
    spoiled = clean.copy(data=np.where(np.arange(5)[:, None] % 2, trash(good.shape), clean.values).astype(dtype))
    errors, places = np.full((5, N), 2).astype(dtype), np.tile(X, (5, 1))
    if np.dtype(dtype).kind == "f":
        places = places.astype(dtype)
        places[3] = trash((N,))
    errors[1] = trash((N,))
    sigma, place = xr.DataArray(errors, dims=dims[1:]), xr.DataArray(places, dims=dims[1:], name="place")
    options: dict[str, Any] = {"fitter": fitter, "errors": "ignore", "sigma": sigma, "coords": place}
    result = fit(spoiled, model, "v", **options)
    assert set(np.unique(result["fit_status"]).tolist()) <= STATUSES - {0}
    kept = {"x": [0, 2, 4]}
    options |= {"sigma": sigma.isel(kept), "coords": place.isel(kept)}
    expected = fit(clean.isel(kept), model, "v", **options)
    assert (expected["fit_status"] > 0).all()
    assert_same_bits(result.isel(kept), expected)
