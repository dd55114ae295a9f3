"""What residuals say, by both engines: against NumPy's median, astropy's clipping and the formulas of the losses."""

from pathlib import Path

import numpy as np
import pytest
from astropy.stats import sigma_clip
from numpy.testing import assert_allclose, assert_array_equal

from xr_modelfit.fitters.compiled.kernels import loop
from xr_modelfit.fitters.noise import ROBUST, influence
from xr_modelfit.fitters.residuals import _clipped, _median

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def some_residuals(b: int, n: int, seed: int = 0) -> np.ndarray:
    """Normal ones with outliers and gaps, (b, n); the last fit has none."""
    rng = np.random.default_rng(seed)
    r = rng.normal(size=(b, n)) * np.where(rng.random((b, n)) < 0.1, 10.0, 1.0)
    r[rng.random((b, n)) < 0.15 * rng.random((b, 1))] = np.nan
    r[-1] = np.nan
    return r


def median_size(engine: str, r: np.ndarray, w: np.ndarray) -> np.ndarray:
    if engine == "numpy":
        size = np.abs(r * w if len(w) else r)
        return _median(size, np.isfinite(size))
    found = np.empty(len(r))
    loop("residuals", "scales_of")(np.arange(len(r)), r, w, found)
    return found / 1.482602218505602


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 2, 3, 40, 81])
@pytest.mark.parametrize("weights", ["none", "shared", "own"])
def test_scales_are_medians(engine: str, n: int, weights: str) -> None:
    pytest.importorskip("numba") if engine == "numba" else None
    r, rng = some_residuals(60, n), np.random.default_rng(1)
    w = {"none": np.zeros((0, n)), "shared": rng.uniform(0.5, 2, (1, n)), "own": rng.uniform(0.5, 2, (60, n))}[weights]
    found = median_size(engine, r, w)
    for i in range(60):
        size = np.abs(r[i] * (w[i if weights == "own" else 0] if len(w) else 1.0))
        size = size[np.isfinite(size)]
        assert_allclose(found[i], np.median(size) if size.size else np.nan, rtol=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("limits", [(3.0, 3.0), (1.5, 2.0), (np.inf, 2.0), (1.0, np.inf)], ids=str)
@pytest.mark.parametrize("n", [1, 5, 80])
def test_outliers_are_those_of_astropy(engine: str, limits: tuple[float, float], n: int) -> None:
    pytest.importorskip("numba") if engine == "numba" else None
    r = some_residuals(60, n, 2)
    left = np.empty(r.shape, dtype=bool)
    if engine == "numpy":
        left = _clipped(r, *limits)
    else:
        loop("residuals", "left_by_clipping")(r, *limits, left)
    below, above = (min(limit, 1e9) for limit in limits)  # infinity times no deviation is NaN
    for i in range(59):
        masked = np.ma.masked_invalid(r[i])
        if masked.count():
            right = sigma_clip(masked, sigma_lower=below, sigma_upper=above)
            assert_array_equal(left[i], ~np.ma.getmaskarray(right))
    assert not left[-1].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ROBUST)
def test_sums_of_the_sandwich_are_those_of_the_formulas(kind: str) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(3)
    y, valid = some_residuals(20, 50, 4), rng.random((20, 50)) > 0.2
    y = np.where(np.isfinite(y), y, 0.3)
    w = rng.uniform(0.5, 2, y.shape)
    found = np.empty((20, 4))
    number = ["soft_l1", "huber", "cauchy", "arctan"].index(kind)
    loop("residuals", "sandwich_sums")(np.arange(20), np.where(valid, y, np.nan), w, valid, number, found)
    psi, slope, eta = influence(kind, y, np.zeros_like(y), np.where(valid, w, 0.0))
    right = [np.sum(a, axis=1) for a in (psi**2, slope, slope**2, eta)]
    assert_allclose(found, np.stack(right, axis=1), rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_left_out_samples_are_as_if_they_were_not_there(engine: str) -> None:
    pytest.importorskip("numba") if engine == "numba" else None
    r = some_residuals(30, 60, 5)[:29]
    whole = median_size(engine, r, np.zeros((0, 60)))
    for i, row in enumerate(r):
        some = np.array([row[np.isfinite(row)]])
        assert median_size(engine, some, np.zeros((0, some.shape[1])))[0] == whole[i]
