"""Linear models: against least squares in extended precision, by every way, with the same bits in any company."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Chebyshev1D, Const1D, Cosine1D, Linear1D, Polynomial1D, Sine1D

from support.bits import assert_same_bits
from xr_modelfit import FitStatus
from xr_modelfit.fitters import block_arrays, linear
from xr_modelfit.fitters.fit_columns import FitColumns

pytestmark = pytest.mark.quick_share(3)

N_FITS, N = 30, 61
HELD = {"fixed": {"frequency": True, "phase": True}}


@dataclass(frozen=True)
class Kind:
    """A linear model, and the columns of its free parameters at coordinates ``u`` of about -1 to 1."""

    name: str
    model: Callable[[], Model]
    columns: Callable[[np.ndarray], list[np.ndarray]]
    offset: Callable[[np.ndarray], Any] = lambda x: 0.0

    @property
    def free(self) -> list[str]:
        model = self.model()
        return [n for n in model.param_names if not model.fixed[n] and not model.tied[n]]


def season() -> Model:
    return Linear1D(0, 0) + Sine1D(1, 1.0, 0, **HELD) + Cosine1D(1, 1.0, 0, **HELD)


def tied() -> Model:
    model = Polynomial1D(2)
    model.c2.tied = lambda m: 0.5 * m.c1
    return model


KINDS = [
    Kind("line", Linear1D, lambda x: [x, x**0]),
    Kind("constant", Const1D, lambda x: [x**0]),
    Kind("cubic", lambda: Polynomial1D(3), lambda x: [x**0, x, x**2, x**3]),
    Kind("season", season, lambda x: [x, x**0, np.sin(2 * np.pi * x), np.cos(2 * np.pi * x)]),
    Kind(
        "chebyshev",
        lambda: Chebyshev1D(2, domain=(-2.0, 2.0)),
        lambda x: [x**0, x / 2, 2 * (x / 2) ** 2 - 1],
    ),
    Kind("fixed slope", lambda: Linear1D(2.5, 0, fixed={"slope": True}), lambda x: [x**0], lambda x: 2.5 * x),
    Kind("tied", tied, lambda x: [x**0, x + 0.5 * x**2]),
    Kind("bounds", lambda: Linear1D(0, 0, bounds={"slope": (-1e9, None)}), lambda x: [x, x**0]),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=[k.name for k in KINDS])

GAPS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "none": lambda rng: np.ones((N_FITS, N), dtype=bool),
    "random": lambda rng: rng.random((N_FITS, N)) > 0.1,
    "land": lambda rng: np.repeat(rng.random((N_FITS, 1)) > 0.3, N, axis=1),
    "halves": lambda rng: (np.arange(N) < N // 3) == (np.arange(N_FITS) % 2 == 0)[:, None],
    "mixed": lambda rng: (rng.random((N_FITS, N)) > 0.5) | (np.arange(N_FITS) % 3 == 0)[:, None],
}
every_gap = pytest.mark.parametrize("gaps", GAPS)


def made(kind: Kind, gaps: str = "none", seed: int = 0, level: float = 300.0) -> xr.Dataset:
    """``y`` of random parameters with noise, over ``fit`` and ``x``, and errors of its samples."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1.0, 1.0, N))
    p = level * rng.normal(size=(N_FITS, len(kind.free), 1))
    y = kind.offset(x) + np.sum(p * np.stack(kind.columns(x)), axis=1) + rng.normal(size=(N_FITS, N))
    y[~GAPS[gaps](rng)] = np.nan
    error = rng.uniform(0.5, 2.0, y.shape)
    return xr.Dataset({"y": (("fit", "x"), y), "error": (("fit", "x"), error)}, coords={"x": x})


def fitted(kind: Kind, ds: xr.Dataset, *, weighted: bool = False, **options: Any) -> xr.Dataset:
    sigma = ds["error"] if weighted else None
    options = {"covariance": True, "errors": "ignore", "sigma": sigma} | options
    return ds["y"].modelfit(kind.model(), dim=options.pop("dim", "x"), **options)


def exact(J: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Solution, ``(J'J)^-1`` and chi-square by Gram-Schmidt, done twice, in extended precision."""
    J, y = J.astype(np.longdouble), y.astype(np.longdouble)
    k = J.shape[1]
    Q, R = J.copy(), np.eye(k, dtype=np.longdouble)
    for _ in range(2):
        S = np.zeros((k, k), dtype=np.longdouble)
        for j in range(k):
            for i in range(j):
                S[i, j] = Q[:, i] @ Q[:, j]
                Q[:, j] -= S[i, j] * Q[:, i]
            S[j, j] = np.sqrt(Q[:, j] @ Q[:, j])
            Q[:, j] /= S[j, j]
        R = S @ R
    X = np.zeros((k, k), dtype=np.longdouble)
    for j in range(k):
        for i in range(j, -1, -1):
            X[i, j] = ((1.0 if i == j else 0.0) - R[i, i + 1 : j + 1] @ X[i + 1 : j + 1, j]) / R[i, i]
    p = X @ (Q.T @ y)
    r = y - J @ p
    return p, X @ X.T, float(r @ r)


def assert_exact(kind: Kind, ds: xr.Dataset, got: xr.Dataset, x: np.ndarray, weighted: bool, tolerance: float) -> None:
    """Every fit is the exact one, to a tolerance in standard errors, and its errors and chi-square are."""
    seen = 0
    for i in range(ds.sizes["fit"]):
        y, w = ds["y"].values[i], 1.0 / ds["error"].values[i] if weighted else np.ones(ds.sizes["x"])
        use = np.isfinite(y)
        at, one = x[use] if x.ndim == 1 else x[i][use], got.isel(fit=i)
        if use.sum() <= len(kind.free):
            assert one["fit_status"] == (FitStatus.NO_DATA if not use.any() else FitStatus.TOO_FEW_POINTS)
            continue
        J = np.stack(kind.columns(at.astype(np.longdouble)), axis=1) * w[use, None]
        p, C, chi2 = exact(J, (y[use] - kind.offset(at)) * w[use])
        stderr = np.sqrt(np.diag(C) * (1.0 if weighted else chi2 / (use.sum() - len(p)))).astype(float)
        assert one["fit_status"] == FitStatus.CONVERGED
        assert one["chi2"] == pytest.approx(chi2, rel=tolerance)
        for j, name in enumerate(kind.free):
            assert abs(one[name].item() - float(p[j])) <= tolerance * stderr[j], name
            assert one[f"{name}_stderr"].item() == pytest.approx(stderr[j], rel=tolerance), name
        seen += 1
    assert seen >= N_FITS // 2


@pytest.mark.quick_share(3)
@every_kind
@every_gap
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "sigma"])
def test_fits_are_the_exact_ones(kind: Kind, gaps: str, weighted: bool) -> None:
    ds = made(kind, gaps)
    assert_exact(kind, ds, fitted(kind, ds, weighted=weighted), ds["x"].values, weighted, 1e-10)


@pytest.mark.quick_share(3)
@every_kind
@every_gap
def test_coordinates_of_every_fit_its_own(kind: Kind, gaps: str) -> None:
    ds = made(kind, gaps)
    x = ds["x"].values + 0.1 * np.random.default_rng(3).normal(size=(N_FITS, N))
    place = xr.DataArray(np.where(np.isfinite(ds["y"]), x, np.nan), dims=("fit", "x"))
    got = fitted(kind, ds.drop_vars("x"), coords={"x": place})
    assert_exact(kind, ds, got, x, False, 1e-10)


SHIFTS = {
    "seconds since 1970": (lambda x: 1.7e9 + 3e4 * (x + 1), 1e-9),
    "a shift of 1e9": (lambda x: 1e9 + x, 1e-5),
    "a large scale": (lambda x: 1e17 * x, 1e-10),
    "a small scale": (lambda x: 1e-17 * x, 1e-10),
    "days of four years": (lambda x: 18_800.0 + 700 * x, 1e-10),
    "hours of a month": (lambda x: 456_000.0 + 360 * x, 1e-9),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("gaps", ["none", "random", "halves"])
def test_badly_centred_and_scaled_coordinates(shift: str, gaps: str) -> None:
    """Normal equations alone would lose up to all digits; the fits that need it are factorised."""
    kind, (moved, tolerance) = KINDS[0], SHIFTS[shift]
    ds = made(kind, gaps, level=1.0)
    ds = ds.assign_coords(x=moved(ds["x"].values))
    assert_exact(kind, ds, fitted(kind, ds), ds["x"].values, False, tolerance)


@pytest.mark.parametrize("factor", [1e-60, 1e-17, 1e17, 1e60])
def test_scales_of_data_and_errors(factor: float) -> None:
    ds = made(KINDS[0], "random")
    expected = fitted(KINDS[0], ds, weighted=True)
    got = fitted(KINDS[0], ds * factor, weighted=True)
    assert (got["fit_status"] == FitStatus.CONVERGED).all()
    for name in ("slope", "intercept", "slope_stderr", "intercept_stderr"):
        np.testing.assert_allclose(got[name] / factor, expected[name], rtol=1e-11)
    np.testing.assert_allclose(got["chi2"], expected["chi2"], rtol=1e-11)


# --- the two ways


@pytest.fixture
def factorised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Send all fits the general way from now on."""
    return lambda: monkeypatch.setattr(linear, "_solve_clear", lambda fits, ids, out: ids)


@pytest.mark.quick_share(3)
@every_kind
@every_gap
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "sigma"])
def test_both_ways_agree(kind: Kind, gaps: str, weighted: bool, factorised: Callable[[], None]) -> None:
    ds = made(kind, gaps, seed=1)
    short = fitted(kind, ds, weighted=weighted, absolute_sigma=False)
    factorised()
    general = fitted(kind, ds, weighted=weighted, absolute_sigma=False)
    for name in ("fit_status", "n_points", "dof", "n_iter"):
        xr.testing.assert_equal(short[name], general[name])
    np.testing.assert_allclose(short["chi2"], general["chi2"], rtol=1e-12)
    np.testing.assert_allclose(short["covariance"], general["covariance"], rtol=1e-9, atol=1e-300)
    for name in kind.model().param_names:
        error = general[f"{name}_stderr"]
        xr.testing.assert_equal(short[name].isnull(), general[name].isnull())
        assert (abs(short[name] - general[name]) <= 1e-10 * error).where(error.notnull(), True).all()


@pytest.fixture
def general_fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fits are factorised, chunk by chunk."""
    seen: list[int] = []
    solve = linear.solve_linear

    def counted(fits: FitColumns) -> np.ndarray:
        seen.append(fits.y.shape[1])
        return solve(fits)

    monkeypatch.setattr(linear, "solve_linear", counted)
    return seen


@pytest.mark.parametrize("gaps", ["none", "random", "land", "mixed"])
@pytest.mark.parametrize("kind", [k for k in KINDS if k.name in ("line", "season", "bounds")], ids=lambda k: k.name)
def test_usual_fits_are_not_factorised(kind: Kind, gaps: str, general_fits: list[int]) -> None:
    """What makes maps of trends quick, with any gaps: months in days since 1970, or in years."""
    ds = made(kind, gaps)
    months = np.datetime64("1980-01", "M") + np.arange(N)
    ds = ds.assign_coords(x=10 + np.arange(N) / 12 if kind.name == "season" else months.astype("datetime64[ns]"))
    got = fitted(kind, ds)
    assert ((got["fit_status"] == FitStatus.CONVERGED) | (got["n_points"] == 0)).all()
    assert general_fits == []


@pytest.mark.parametrize("gaps", ["none", "random"])
def test_degenerate_fits(gaps: str, general_fits: list[int]) -> None:
    kind = KINDS[0]
    ds = made(kind, gaps)
    same = fitted(kind, ds.assign_coords(x=np.full(N, 3.0)))
    assert (same["fit_status"] == FitStatus.DEGENERATE).all()
    assert np.isnan(same["slope"]).all()
    assert sum(general_fits) >= N_FITS
    ds["y"][{"fit": 0, "x": slice(2, None)}] = np.nan
    ds["y"][{"fit": 1, "x": slice(1, None)}] = np.nan
    ds["y"][{"fit": 2}] = np.nan
    ds["y"][{"fit": 3}] = 5.0
    ds["y"][{"fit": 4}] = 0.0
    ds["y"][{"fit": 0, "x": slice(2)}], ds["y"][{"fit": 1, "x": 0}] = 1.0, 1.0
    got = fitted(kind, ds)
    assert got["fit_status"].values[:3].tolist() == [
        FitStatus.CONVERGED,
        FitStatus.TOO_FEW_POINTS,
        FitStatus.NO_DATA,
    ]
    assert np.isnan(got["slope_stderr"][0])  # no degree of freedom is left
    assert (got["fit_status"][3:] == FitStatus.CONVERGED).all()
    np.testing.assert_allclose(got["intercept"].values[[3, 4]], [5.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(got["slope"].values[[3, 4]], [0.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(got["chi2"].values[[3, 4]], [0.0, 0.0], atol=1e-26)


@pytest.mark.parametrize("gaps", ["none", "random"])
def test_bounds_decide_for_each_fit(gaps: str) -> None:
    """Inside, the fit is the free one to the last bit; beyond, it ends on the bound."""
    ds = made(KINDS[0], gaps, level=1.0)
    free = fitted(KINDS[0], ds)
    got = fitted(KINDS[0], ds, bounds={"slope": (-0.5, 0.5)}, p0={"slope": 0.0})
    inside = abs(free["slope"]) < 0.49
    assert 3 < int(inside.sum()) < N_FITS - 3
    for name in ("slope", "intercept", "slope_stderr", "intercept_stderr", "chi2"):
        np.testing.assert_array_equal(got[name].values[inside], free[name].values[inside])
    beyond = got.isel(fit=np.flatnonzero(abs(free["slope"]) > 0.51))
    assert (beyond["fit_status"] == FitStatus.CONVERGED_AT_BOUND).all()
    np.testing.assert_allclose(abs(beyond["slope"]), 0.5)
    assert np.isnan(beyond["slope_stderr"]).all()


# --- the same bits


@pytest.mark.quick_share(3)
@every_kind
@pytest.mark.parametrize("gaps", ["none", "mixed"])
def test_bits_depend_on_nothing_but_the_fit(kind: Kind, gaps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order of dims, in memory too, chunks, parts of a block, order of positions, company, what stands in gaps."""
    ds = made(kind, gaps)
    expected = fitted(kind, ds)
    turned = ds["y"].transpose("x", "fit").copy(deep=True)
    turned.values = np.ascontiguousarray(turned.values)
    assert_same_bits(fitted(kind, ds.assign(y=turned)), expected)
    swapped = np.random.default_rng(0).permutation(N_FITS)
    assert_same_bits(fitted(kind, ds.isel(fit=swapped)), expected.isel(fit=swapped))
    assert_same_bits(fitted(kind, ds.assign(y=turned).isel(fit=slice(3, 20, 2))), expected.isel(fit=slice(3, 20, 2)))
    for i in (0, 1, 7):
        assert_same_bits(fitted(kind, ds.isel(fit=[i])), expected.isel(fit=[i]))
        assert_same_bits(fitted(kind, ds.isel(fit=i)), expected.isel(fit=i))
    assert_same_bits(fitted(kind, ds, scheduler="threads", fits_per_chunk=4), expected)
    assert_same_bits(fitted(kind, ds.chunk(fit=7)).compute(scheduler="synchronous"), expected)
    junk = ds["y"].fillna(1e30)
    assert_same_bits(fitted(kind, ds.assign(y=junk), where=ds["y"].notnull()), expected)
    ones = xr.ones_like(ds["y"])
    assert_same_bits(fitted(kind, ds, weights=ones), expected)
    own = (ds["x"] * ones).drop_vars("x").rename("place")
    assert_same_bits(fitted(kind, ds.drop_vars("x"), coords={"x": own}), expected)
    monkeypatch.setattr(block_arrays, "_PART", 5 * N)
    assert_same_bits(fitted(kind, ds), expected)
    assert_same_bits(fitted(kind, ds.assign(y=turned)), expected)


@every_kind
@pytest.mark.parametrize("gaps", ["halves", "mixed"])
def test_a_gap_is_as_if_the_sample_were_not_there(kind: Kind, gaps: str) -> None:
    ds = made(kind, gaps)
    expected = fitted(kind, ds)
    for i in (0, 1, 2, 13):
        one = ds.isel(fit=[i])
        assert_same_bits(fitted(kind, one.isel(x=np.isfinite(one["y"].values[0]))), expected.isel(fit=[i]))


def test_fixed_values_that_differ_between_fits() -> None:
    """A map of fixed values that says here and there what the model says."""
    kind = next(k for k in KINDS if k.name == "fixed slope")
    ds = made(kind, "random")
    slopes = xr.DataArray(np.where(np.arange(N_FITS) % 3, 2.5, 4.0), dims="fit")
    got = fitted(kind, ds, p0={"slope": slopes})
    usual = np.flatnonzero(slopes == 2.5)
    assert_same_bits(got.isel(fit=usual), fitted(kind, ds).isel(fit=usual))
    np.testing.assert_allclose(got["intercept"], (ds["y"] - slopes * ds["x"]).mean("x"), rtol=1e-12)


def test_maps_of_two_dims_in_any_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time first, last and in between; blocks in parts along both other dims."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(N, 4, 6)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    data = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": np.arange(N) / 12})
    expected = data.modelfit(Linear1D(), dim="time")
    for part in (2**20, 8 * N, 5 * N, N):
        monkeypatch.setattr(block_arrays, "_PART", part)
        for dims in (("time", "y", "x"), ("y", "x", "time"), ("y", "time", "x")):
            for layout in (("time", "y", "x"), ("y", "x", "time"), ("x", "time", "y")):
                stored = data.transpose(*layout).copy().transpose(*dims)
                assert_same_bits(stored.modelfit(Linear1D(), dim="time"), expected)


def test_a_sample_at_which_the_model_is_no_number() -> None:
    """A coordinate without value, or one the model cannot take, matters only to fits that use it."""
    kind = KINDS[0]
    ds = made(kind)
    x = ds["x"].values.copy()
    x[5] = np.nan
    got = fitted(kind, ds.drop_vars("x"), coords={"x": xr.DataArray(x, dims="x", name="place")})
    assert (got["n_points"] == N - 1).all()
    rest = fitted(kind, ds.isel(x=np.arange(N) != 5))
    assert_same_bits(got.drop_vars("fit", errors="ignore"), rest)


# --- memory


@pytest.mark.parametrize(
    ("dims", "share"), [(("time", "position"), 0.1), (("position", "time"), 0.0)], ids=["time first, gaps", "time last"]
)
def test_memory_does_not_grow_with_the_input(dims: tuple[str, str], share: float) -> None:
    peaks = []
    for n_fits in (10_000, 30_000):
        rng = np.random.default_rng(0)
        values = rng.standard_normal((480, n_fits), dtype=np.float32)
        values[rng.random(values.shape, dtype=np.float32) < share] = np.nan
        data = xr.DataArray(values, dims=("time", "position")).transpose(*dims).copy()
        tracemalloc.start()
        result = data.modelfit(Linear1D(), dim="time", scheduler="synchronous")
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * result.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 60e6
    assert peaks[1] < peaks[0] + 10e6
