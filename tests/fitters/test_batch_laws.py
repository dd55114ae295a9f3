"""Laws of the batch fitter: scale, shift, company, gaps; and bounds against scipy's optimisers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.models import (
    Exponential1D,
    Gaussian1D,
    Gaussian2D,
    Linear1D,
    Lorentz1D,
    Moffat1D,
    Polynomial1D,
    PowerLaw1D,
    Voigt1D,
)
from numpy.testing import assert_array_equal
from scipy.optimize import least_squares, lsq_linear

import xr_modelfit
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block import fit_block
from xr_modelfit.fitters.block_task import BlockTask, Layout, Role
from xr_modelfit.models.problem import Problem
from xr_modelfit.status import FitStatus

pytestmark = pytest.mark.quick_share(3)


def hat(x: Any, height: float = 1.0, centre: float = 0.0, width: float = 1.0) -> Any:
    """A peak that takes no complex numbers, so that differences serve it."""
    return height / np.cosh(np.float64(1.0) * np.real(x - np.real(centre)) / np.real(width))


Hat = custom_model(hat)


@dataclass(frozen=True)
class Law:
    """A model with its exponents: parameter ``j`` goes with data**a[j] * coordinate**c[j]."""

    name: str
    model: Callable[[], Model]
    truth: tuple[float, ...]
    a: tuple[int, ...]
    c: tuple[int, ...]
    bounds: tuple[tuple[str, float | None, float | None], ...] = ()

    def scaled(self, values: Sequence[float], sy: float, sx: float) -> np.ndarray:
        return np.array([v * sy**a * sx**c for v, a, c in zip(values, self.a, self.c, strict=True)])


def peak_on_line() -> Model:
    return Gaussian1D(1.6, 0.5, 1.4) + Linear1D(0.01, 0.3)


LAWS = [
    Law("analytic", lambda: Gaussian1D(1.6, 0.5, 1.4), (2.0, 0.3, 1.1), (1, 0, 0), (0, 1, 1)),
    Law("complex", lambda: Lorentz1D(1.6, 0.5, 1.4), (2.0, 0.3, 1.1), (1, 0, 0), (0, 1, 1)),
    Law("compound", peak_on_line, (2.0, 0.3, 1.1, 0.05, 0.2), (1, 0, 0, 1, 1), (0, 1, 1, -1, 0)),
    Law("differences", lambda: Hat(1.6, 0.5, 1.4), (2.0, 0.3, 1.1), (1, 0, 0), (0, 1, 1)),
    Law("start at 0", lambda: Hat(1.6, 0.0, 1.4), (2.0, 0.3, 1.1), (1, 0, 0), (0, 1, 1)),
    Law("row by row", lambda: Voigt1D(0.5, 1.6, 0.8, 0.9), (0.3, 2.0, 1.0, 1.1), (0, 1, 0, 0), (1, 0, 1, 1)),
    Law("linear", lambda: Polynomial1D(2), (2.0, 0.3, -0.1), (1, 1, 1), (0, -1, -2)),
    Law(
        "on a bound",
        lambda: Gaussian1D(1.6, 0.5, 1.4),
        (2.0, 0.3, 1.1),
        (1, 0, 0),
        (0, 1, 1),
        (("mean", 0.4, 0.7),),
    ),
    Law(
        "linear on a bound",
        lambda: Polynomial1D(2, c1=0.1),
        (2.0, 0.3, -0.1),
        (1, 1, 1),
        (0, -1, -2),
        (("c1", None, 0.2),),
    ),
]


def simulated(law: Law, n_fits: int = 4, noise: float = 0.05) -> xr.DataArray:
    """Noisy data on coordinates of few bits, so that powers of two and shifts are exact."""
    rng = np.random.default_rng(11)
    x = np.arange(-32, 33) / 8.0
    f = np.asarray(law.model().evaluate(x, *law.truth))
    return xr.DataArray(f + noise * rng.normal(size=(n_fits, x.size)), dims=("fit", "x"), coords={"x": x})


@cache
def fitted(law: Law, sy: float = 1.0, sx: float = 1.0, sigma: bool = False) -> xr.Dataset:
    data = simulated(law)
    data = (data * sy).assign_coords(x=data["x"] * sx)
    model = law.model()
    names = model.param_names
    p0 = dict(zip(names, law.scaled(model.parameters, sy, sx), strict=True))
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for name, low, high in law.bounds:
        factor = law.scaled(np.ones(len(names)), sy, sx)[names.index(name)]
        bounds[name] = (None if low is None else low * factor, None if high is None else high * factor)
    if "stddev" in names or "stddev_0" in names:  # astropy's own bound is in no unit
        bounds["stddev" if "stddev" in names else "stddev_0"] = (0.0, None)
    return xr_modelfit.fit(
        data, model, "x", p0=p0, bounds=bounds, sigma=0.05 * sy if sigma else None, covariance=True, errors="ignore"
    )


def table(fit: xr.Dataset, names: Sequence[str], suffix: str = "") -> np.ndarray:
    """Parameters or errors, shape (K, ...)."""
    return np.stack([fit[f"{name}{suffix}"].values for name in names])


SCALES = [(2.0**-57, 1.0), (2.0**57, 1.0), (1.0, 2.0**-57), (1.0, 2.0**57), (2.0**-57, 2.0**57), (2.0**57, 2.0**-57)]
TENS = [(1e-17, 1.0), (1e17, 1.0), (1.0, 1e-17), (1.0, 1e17), (1e-17, 1e-17), (1e17, 1e17)]


@pytest.mark.quick_share(5)
@pytest.mark.parametrize(("sy", "sx"), SCALES)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_scaling_by_powers_of_two(law: Law, sy: float, sx: float) -> None:
    """No rounding differs, so nothing but the units may: status, steps, values, errors."""
    reference, other = fitted(law), fitted(law, sy, sx)
    names = law.model().param_names
    assert (reference["fit_status"] > 0).all()
    assert_array_equal(other["fit_status"], reference["fit_status"])
    # Only the ladder of difference steps, which starts from a number, may round in another way.
    rtol = 1e-8 if law.name in ("differences", "start at 0", "row by row") else 1e-12
    if rtol == 1e-12:
        assert_array_equal(other["n_iter"], reference["n_iter"])
    factor = law.scaled(np.ones(len(names)), sy, sx)[:, None]
    for suffix in ("", "_stderr"):
        a, b = table(reference, names, suffix) * factor, table(other, names, suffix)
        np.testing.assert_allclose(b, a, rtol=rtol, atol=0)
    np.testing.assert_allclose(other["chi2"], reference["chi2"] * sy**2, rtol=rtol)


@pytest.mark.quick_share(5)
@pytest.mark.parametrize(("sy", "sx"), TENS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_scaling_by_powers_of_ten(law: Law, sy: float, sx: float) -> None:
    reference, other = fitted(law), fitted(law, sy, sx)
    names = law.model().param_names
    assert_array_equal(other["fit_status"], reference["fit_status"])
    factor = law.scaled(np.ones(len(names)), sy, sx)[:, None]
    a, e = table(reference, names), table(reference, names, "_stderr")
    b, d = table(other, names) / factor, table(other, names, "_stderr") / factor
    assert_array_equal(np.isnan(d), np.isnan(e))
    off = np.abs(b - a) / np.where(np.isnan(e), np.abs(a), e)
    assert off.max() < 1e-6  # standard errors: the data themselves are rounded anew, at 1e-16 of their size
    np.testing.assert_allclose(d, e, rtol=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_scaling_with_sigma(law: Law) -> None:
    """With sigma scaled along, chi-square has no unit."""
    reference, other = fitted(law, sigma=True), fitted(law, 2.0**-57, 2.0**57, sigma=True)
    rtol = 1e-8 if law.name in ("differences", "start at 0", "row by row") else 1e-12
    np.testing.assert_allclose(other["chi2"], reference["chi2"], rtol=rtol)
    assert_array_equal(other["fit_status"], reference["fit_status"])


# ---------------------------------------------------------------- shift

SHIFT = 1e9
SHIFTED: list[tuple[str, Callable[[float], Model], tuple[float, ...], str]] = [
    ("analytic", lambda s: Gaussian1D(1.6, s + 0.5, 1.4), (2.0, 0.3, 1.1), "mean"),
    ("complex", lambda s: Lorentz1D(1.6, s + 0.5, 1.4), (2.0, 0.3, 1.1), "x_0"),
    ("narrow", lambda s: Moffat1D(1.6, s + 0.5, 1.4, 2.5), (2.0, 0.3, 1.1, 2.0), "x_0"),
    ("differences", lambda s: Hat(1.6, s + 0.5, 1.4), (2.0, 0.3, 1.1), "centre"),
    ("row by row", lambda s: Voigt1D(s + 0.5, 1.6, 0.8, 0.9), (0.3, 2.0, 1.0, 1.1), "x_0"),
]


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(("name", "model", "truth", "centre"), SHIFTED, ids=[s[0] for s in SHIFTED])
def test_shift(
    name: str, model: Callable[[float], Model], truth: tuple[float, ...], centre: str, bounded: bool
) -> None:
    """A coordinate plus 1e9, exactly: the same fit to 1e-3 standard errors."""
    rng = np.random.default_rng(3)
    x = np.arange(-32, 33) / 8.0
    y = np.asarray(model(0.0).evaluate(x, *truth)) + 0.05 * rng.normal(size=(5, x.size))
    results = []
    for shift in (0.0, SHIFT):
        assert_array_equal(x + shift - shift, x)
        data = xr.DataArray(y, dims=("fit", "x"), coords={"x": x + shift})
        bounds = {centre: (shift + 0.375, shift + 0.75)} if bounded else None
        fit = xr_modelfit.fit(data, model(shift), "x", bounds=bounds, errors="ignore")
        results.append(fit.assign({centre: fit[centre] - shift}))
    plain, moved = results
    assert_array_equal(plain["fit_status"], FitStatus.CONVERGED_AT_BOUND if bounded else FitStatus.CONVERGED)
    assert_array_equal(moved["fit_status"], plain["fit_status"])
    for parameter in model(0.0).param_names:
        error = plain[f"{parameter}_stderr"]
        off = np.abs(moved[parameter] - plain[parameter])
        if bounded and parameter == centre:
            assert_array_equal(off, 0.0)
            continue
        assert float((off / error).max()) < 1e-3
        # Spacing of numbers at 1e9 is 1.2e-7: the error of a width of 1 moves by about as much.
        np.testing.assert_allclose(moved[f"{parameter}_stderr"], error, rtol=1e-5)


def test_shift_in_two_dimensions() -> None:
    rng = np.random.default_rng(4)
    x, z = np.arange(-16, 17) / 4.0, np.arange(-12, 13) / 4.0
    X, Z = np.meshgrid(x, z, indexing="ij")
    y = np.asarray(Gaussian2D.evaluate(X, Z, 2.0, 0.3, -0.2, 1.1, 1.7, 0.4)) + 0.05 * rng.normal(size=(3, 33, 25))
    results = []
    for shift in (0.0, SHIFT):
        data = xr.DataArray(y, dims=("fit", "x", "y"), coords={"x": x + shift, "y": z - shift})
        model = Gaussian2D(1.6, shift + 0.5, -shift, 1.4, 1.4, theta=0.1)
        fit = xr_modelfit.fit(data, model, ("x", "y"))
        results.append(fit.assign(x_mean=fit["x_mean"] - shift, y_mean=fit["y_mean"] + shift))
    plain, moved = results
    assert_array_equal(moved["fit_status"], FitStatus.CONVERGED)
    for parameter in ("amplitude", "x_mean", "y_mean", "x_stddev", "y_stddev", "theta"):
        off = np.abs(moved[parameter] - plain[parameter]) / plain[f"{parameter}_stderr"]
        assert float(off.max()) < 1e-3


def test_shift_of_a_line() -> None:
    """The slope of a directly solved line, and its error, know nothing of the origin."""
    rng = np.random.default_rng(5)
    x = np.arange(-32, 33) / 8.0
    y = 0.3 * x + 2.0 + 0.05 * rng.normal(size=(5, x.size))
    plain, moved = (
        xr_modelfit.fit(xr.DataArray(y, dims=("fit", "x"), coords={"x": x + s}), Linear1D(0.0, 0.0), "x")
        for s in (0.0, SHIFT)
    )
    off = np.abs(moved["slope"] - plain["slope"]) / plain["slope_stderr"]
    assert float(off.max()) < 1e-3
    np.testing.assert_allclose(moved["slope_stderr"], plain["slope_stderr"], rtol=1e-3)


# ---------------------------------------------------------------- company

COMPANY: list[tuple[str, Callable[[], Model]]] = [
    ("analytic", lambda: Gaussian1D(1.6, 0.5, 1.4)),
    ("compound", peak_on_line),
    ("differences", lambda: Hat(1.6, 0.5, 1.4)),
    ("power", lambda: Moffat1D(1.6, 0.5, 1.4, 2.0)),
    ("bounded", lambda: Gaussian1D(1.6, 0.5, 1.4, bounds={"mean": (0.3, 0.8), "stddev": (0.2, 3.0)})),
    ("tied", lambda: Gaussian1D(1.6, 0.5, 1.4, tied={"stddev": lambda m: 1.0 + 0.1 * m.amplitude})),
    ("line", lambda: Linear1D(0.0, 0.0)),
    ("polynomial", lambda: Polynomial1D(4)),
    ("polynomial in a domain", lambda: Polynomial1D(4, domain=(-5.0, 7.0))),
    ("bounded line", lambda: Linear1D(0.0, 0.0, bounds={"slope": (-0.001, 0.001)})),
]
FIELDS = ("chi2", "reduced_chi2", "dof", "n_points", "n_iter", "fit_status")


def company(n_fits: int) -> xr.DataArray:
    """Peaks of many shapes, some of them pure noise, so that fits take different numbers of steps."""
    rng = np.random.default_rng(17)
    x = np.linspace(-4.0, 4.0, 53)
    height = rng.uniform(0.0, 3.0, (n_fits, 1))
    shape = -0.5 * ((x - rng.uniform(-1.0, 1.5, (n_fits, 1))) / rng.uniform(0.5, 2.0, (n_fits, 1))) ** 2
    y = height * np.exp(shape) + 0.1 * rng.normal(size=(n_fits, x.size))
    return xr.DataArray(y, dims=("fit", "x"), coords={"x": x, "fit": np.arange(n_fits)})


def same_bits(a: xr.Dataset, b: xr.Dataset, names: Sequence[str]) -> None:
    for name in (*names, *(f"{n}_stderr" for n in names), *FIELDS, "covariance"):
        assert_array_equal(a[name].transpose("fit", ...), b[name].transpose("fit", ...), err_msg=name)


OPTIONS: dict[str, Any] = {"covariance": True, "keep_failed": True, "errors": "ignore", "scheduler": "synchronous"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "model"), COMPANY, ids=[c[0] for c in COMPANY])
def test_bits_do_not_depend_on_the_number_of_fits(kind: str, model: Callable[[], Model]) -> None:
    """Alone, in a few, in 700 of 1400; in any order, in any chunks."""
    total = 1400 if kind in ("analytic", "polynomial") else 120  # 1400 are more than are in flight at once
    data = company(total)
    names = model().param_names
    reference = xr_modelfit.fit(data, model(), "x", **OPTIONS)
    assert int((reference["fit_status"] > 0).sum()) > 0
    for size in (1, 2, 3, 4, 5, 8, 9, 17, total // 2):
        first = 41 if size < 50 else 0
        part = slice(first, first + size)
        same_bits(xr_modelfit.fit(data.isel(fit=part), model(), "x", **OPTIONS), reference.isel(fit=part), names)
    order = np.random.default_rng(0).permutation(total)
    same_bits(xr_modelfit.fit(data.isel(fit=order), model(), "x", **OPTIONS), reference.isel(fit=order), names)
    same_bits(xr_modelfit.fit(data.transpose("x", "fit"), model(), "x", **OPTIONS), reference, names)
    chunked = data.chunk(fit=(1, 2, 3, total // 2, total // 2 - 6), x=20)
    options = {k: v for k, v in OPTIONS.items() if k != "scheduler"}
    lazy = xr_modelfit.fit(chunked, model(), "x", **options)
    same_bits(lazy.compute(scheduler="threads"), reference, names)


@pytest.mark.quick_share(2)
@pytest.mark.parametrize(("kind", "model"), COMPANY, ids=[c[0] for c in COMPANY])
def test_bits_do_not_depend_on_the_neighbours(kind: str, model: Callable[[], Model]) -> None:
    """Gaps, failures, weights, coordinates, starts and bounds of neighbours leave a fit alone."""
    data = company(40)
    names = model().param_names
    ours = [0, 7, 20, 39]
    reference = xr_modelfit.fit(data.isel(fit=ours), model(), "x", **OPTIONS)
    others = np.setdiff1d(np.arange(40), ours)
    rng = np.random.default_rng(1)
    on_fits = xr.ones_like(data)

    gappy = data.copy(deep=True)
    holes = rng.uniform(size=gappy.shape) < 0.3
    holes[ours] = False
    gappy.values[holes] = np.nan
    gappy.values[others[0]] = np.nan
    gappy.values[others[1], 2:] = np.nan

    wild = data.copy(deep=True)
    wild.values[others] *= 10.0 ** rng.integers(-200, 200, (others.size, 1))
    wild.values[others[0]] = 1e308
    wild.values[others[1]] = 0.0
    wild.values[others[2], ::2] = np.inf

    weights = on_fits.copy(deep=True)
    weights.values[others] = rng.uniform(0.0, 3.0, (others.size, 53))
    weights.values[others[3]] = 0.0

    moved = (0.0 * on_fits + data["x"]).drop_vars("x")
    moved.values[others] += rng.normal(size=(others.size, 53))
    moved.values[others[4]] = np.nan
    moved.values[others[5]] = 1.0

    start = xr.full_like(data["fit"], model().parameters[1], dtype=float)
    start.values[others] = rng.uniform(-0.001, 0.001, others.size) if "line" in kind else 0.4
    start.values[others[0]] = np.nan

    calls: dict[str, tuple[xr.DataArray, dict[str, Any]]] = {
        "gaps": (gappy, {}),
        "failures": (wild, {}),
        "weights": (data, {"weights": weights}),
        "coordinates": (data, {"coords": {"x": moved}}),
        "starts": (data, {"p0": {names[1]: start}}),
        "all": (gappy, {"weights": weights, "coords": {"x": moved}, "p0": {names[1]: start}}),
    }
    if not model().bounds[names[0]][0]:
        low = xr.full_like(data["fit"], -np.inf, dtype=float)
        high = xr.full_like(data["fit"], np.inf, dtype=float)
        low.values[others], high.values[others] = -9.0, 9.0
        low.values[others[0]] = high.values[others[0]] = model().parameters[0]
        calls["bounds"] = (data, {"bounds": {names[0]: (low, high)}})
    for what, (values, keywords) in calls.items():
        result = xr_modelfit.fit(values, model(), "x", **OPTIONS, **keywords).isel(fit=ours)
        try:
            same_bits(result, reference, names)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None


# ---------------------------------------------------------------- gaps

PATTERNS = {
    "first": np.r_[0:5],
    "last": np.r_[48:53],
    "both": np.r_[0:3, 50:53],
    "middle": np.r_[20:29],
    "scattered": np.r_[1, 4, 9, 10, 25, 40, 51],
    "every other": np.r_[0:53:2],
}


MASKS = ("data", "infinite", "where", "weights", "coordinate")


def masked(data: xr.DataArray, gaps: np.ndarray, by: str) -> tuple[xr.DataArray, dict[str, Any]]:
    """Data with gaps, told in one of the ways, and the arguments that tell it."""
    values, keywords = data.copy(deep=True), dict(OPTIONS)
    used = xr.DataArray(~np.isin(np.arange(data.sizes["x"]), gaps), dims="x")
    if by == "coordinate":
        keywords["coords"] = {"x": data["x"].drop_vars("x").where(used)}
        return values, keywords
    values.values[:, gaps] = {"infinite": -np.inf, "where": 1e300}.get(by, np.nan)
    if by == "where":
        keywords["where"] = used
    elif by == "weights":
        keywords["weights"] = xr.where(used, 1.0, 0.0)
    return values, keywords


@pytest.mark.quick_share(2)
@pytest.mark.parametrize(("kind", "model"), COMPANY, ids=[c[0] for c in COMPANY])
def test_masked_is_absent(kind: str, model: Callable[[], Model]) -> None:
    """Bit for bit, wherever the gaps are; they are told in two ways for each pattern."""
    data = company(3)
    names = model().param_names
    for number, gaps in enumerate(PATTERNS.values()):
        absent = xr_modelfit.fit(data.isel(x=np.setdiff1d(np.arange(53), gaps)), model(), "x", **OPTIONS)
        for by in (MASKS[number % 5], MASKS[(number + 2) % 5]):
            values, keywords = masked(data, gaps, by)
            same_bits(xr_modelfit.fit(values, model(), "x", **keywords), absent, names)


def test_masked_is_absent_where_the_model_is_singular() -> None:
    """A power law at a masked x = 0 is not even evaluated there."""
    rng = np.random.default_rng(2)
    x = np.arange(0.0, 20.0)
    y = np.full((2, 20), np.nan)
    y[:, 1:] = 3.0 * x[1:] ** -0.7 + 0.02 * rng.normal(size=(2, 19))
    model = PowerLaw1D(2.0, 1.0, 1.0, fixed={"x_0": True})
    data = xr.DataArray(y, dims=("fit", "x"), coords={"x": x})
    gappy = xr_modelfit.fit(data, model, "x", **OPTIONS)
    absent = xr_modelfit.fit(data.isel(x=slice(1, None)), model, "x", **OPTIONS)
    assert_array_equal(gappy["fit_status"], FitStatus.CONVERGED)
    same_bits(gappy, absent, model.param_names)
    moved = data.assign_coords(x=np.where(x == 0, np.nan, x))
    with_value = moved.copy(data=np.where(x == 0, 5.0, y))
    same_bits(xr_modelfit.fit(with_value, model, "x", **OPTIONS), absent, model.param_names)


# ---------------------------------------------------------------- bounds against scipy


def six(x0, x1, x2, x3, x4, x5, p0=0.0, p1=0.0, p2=0.0, p3=0.0, p4=0.0, p5=0.0):  # type: ignore[no-untyped-def]
    """A linear model whose columns are its inputs."""
    return p0 * x0 + p1 * x1 + p2 * x2 + p3 * x3 + p4 * x4 + p5 * x5


Six = custom_model(six)


def problem_of(model: Model, probe: Sequence[np.ndarray]) -> Problem:
    """The numeric view of a model without bounds of its own."""
    K = len(model.param_names)
    fixed = np.array([model.fixed[name] for name in model.param_names])
    infinite = np.full(K, np.inf)
    start = np.asarray(model.parameters, dtype=float)
    plain = Problem(model, tuple(model.param_names), start, -infinite, infinite, fixed, (None,) * K)
    return find_traits(plain, probe)


@dataclass(frozen=True)
class Bounded:
    """Bounded linear problems: designs (b, n, k), data (b, n), bounds and starts (b, k)."""

    A: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    start: np.ndarray


def bounded_problems(k: int, b: int, rng: np.random.Generator) -> Bounded:
    """Correlated columns, condition 1 to 1e4, bounds of which some are active."""
    n = 20
    A = np.empty((b, n, k))
    for i in range(b):
        U = np.linalg.qr(rng.normal(size=(n, k)))[0]
        V = np.linalg.qr(rng.normal(size=(k, k)))[0]
        A[i] = (U * np.logspace(0.0, -rng.uniform(0.0, 4.0), k)) @ V
    truth = rng.normal(size=(b, k))
    y = np.einsum("bnk,bk->bn", A, truth) + 0.01 * rng.normal(size=(b, n))
    centre = truth + rng.normal(size=(b, k))
    half = rng.uniform(0.05, 2.0, (b, k))
    low, high = centre - half, centre + half
    low[rng.uniform(size=(b, k)) < 0.2] = -np.inf
    high[rng.uniform(size=(b, k)) < 0.2] = np.inf
    start = np.clip(centre + half * rng.uniform(-1.0, 1.0, (b, k)), low, high)
    on_low = (rng.uniform(size=(b, k)) < 0.1) & np.isfinite(low)
    return Bounded(A, y, low, high, np.where(on_low, low, start))


def solve_bounded(p: Bounded, maxiter: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (b, k) and statuses by the nonlinear path."""
    b, n, k = p.A.shape
    model = Six(fixed={f"p{j}": True for j in range(k, 6)})
    probe = [np.linspace(0.5 + j, 1.5 + j**2, 7) for j in range(6)]
    problem = problem_of(model, probe)
    assert problem.traits.linear
    problem = replace(problem, traits=replace(problem.traits, linear=False))
    roles = [Role("data"), *(Role("input", f"x{j}") for j in range(6))]
    arrays = [p.y, *(p.A[:, :, j] if j < k else np.zeros((b, n)) for j in range(6))]
    for kind, values in (("start", p.start), ("lower", p.low), ("upper", p.high)):
        roles += [Role(kind, j) for j in range(k)]
        arrays += [values[:, j] for j in range(k)]
    layout = Layout(6)
    task = BlockTask(problem, BatchLSQFitter(maxiter=maxiter), layout, tuple(roles), n_fitted_dims=1, keep_failed=True)
    packed = fit_block(*arrays, task=task)
    fields = layout.fields
    return packed[:, fields["parameters"]][:, :k], packed[:, fields["fit_status"]][:, 0]


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_bounded_linear_problems_by_the_nonlinear_path(k: int) -> None:
    """The constrained minimum of `lsq_linear`, and its active set, in 1000 problems all told."""
    p = bounded_problems(k, 200, np.random.default_rng(100 + k))
    P, status = solve_bounded(p)
    n_active = 0
    for i in range(200):
        A, y, low, high = p.A[i], p.y[i], p.low[i], p.high[i]
        expected = lsq_linear(A, y, (low, high), method="bvls", tol=1e-14, max_iter=1000)
        assert expected.success
        ours, theirs = np.sum((y - A @ P[i]) ** 2), np.sum((y - A @ expected.x) ** 2)
        # Rounding: the residual of a model of norm |A p| carries eps times that norm.
        rounding = 1e-15 * np.linalg.norm(y) * np.sqrt(theirs)
        assert ours <= theirs * (1.0 + 1e-8) + rounding, (k, i, status[i])
        assert status[i] > 0, (k, i, status[i])
        assert np.all((P[i] >= low) & (P[i] <= high))
        # A multiplier or a distance that chi-square cannot see leaves the active set open.
        pull = np.abs(A.T @ (y - A @ expected.x)) / (np.linalg.norm(A, axis=0) * np.sqrt(theirs))
        away = np.minimum(expected.x - low, high - expected.x) * np.linalg.norm(A, axis=0) / np.sqrt(theirs)
        plain = np.where(expected.active_mask != 0, pull > 1e-6, away > 1e-4)
        on_bound = (P[i] == low) | (P[i] == high)
        assert_array_equal(on_bound[plain], (expected.active_mask != 0)[plain], err_msg=str((k, i)))
        assert (status[i] == FitStatus.CONVERGED_AT_BOUND) == on_bound.any() or not plain.all()
        n_active += int(on_bound.any())
    assert n_active > 100  # or nothing was shown


@dataclass(frozen=True)
class Family:
    """Random bounded fits of one model: truths, starts and bounds are drawn from ranges."""

    model: Model
    low: tuple[float, ...]
    high: tuple[float, ...]
    x: tuple[float, float]


FAMILIES = {
    "gaussian": Family(Gaussian1D(), (0.5, -2.0, 0.4), (4.0, 2.0, 2.0), (-5.0, 5.0)),
    "exponential": Family(Exponential1D(), (0.5, -6.0), (4.0, -1.0), (0.0, 8.0)),
    "lorentzian": Family(Lorentz1D(), (0.5, -2.0, 0.5), (4.0, 2.0, 3.0), (-5.0, 5.0)),
    "power law": Family(PowerLaw1D(1.0, 1.0, 1.0, fixed={"x_0": True}), (0.5, 1.0, -1.0), (4.0, 1.0, 3.0), (0.5, 6.0)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_bounded_nonlinear_problems(name: str) -> None:
    """Never a higher minimum than trf finds in the same valley; 200 problems all told.

    Where trf, from the batch fitter's answer, goes no lower, there is no lower point in its valley.
    """
    family, b = FAMILIES[name], 50
    rng = np.random.default_rng(list(FAMILIES).index(name))
    model, x = family.model, np.linspace(*family.x, 40)
    names = model.param_names
    K = len(names)
    truth = rng.uniform(family.low, family.high, (b, K))
    y = np.stack([np.asarray(model.evaluate(x, *t)) for t in truth]) + 0.1 * rng.normal(size=(b, 40))
    half = np.subtract(family.high, family.low) * rng.uniform(0.1, 1.0, (b, K))
    centre = np.clip(truth + half * rng.uniform(-1.2, 1.2, (b, K)), family.low, family.high)
    low, high = np.maximum(centre - half, family.low), np.minimum(centre + half, family.high)
    start = low + (high - low) * rng.uniform(0.05, 0.95, (b, K))
    free = np.array([not model.fixed[n] for n in names])

    def maps(values: np.ndarray) -> dict[str, xr.DataArray]:
        return {n: xr.DataArray(values[:, j], dims="fit") for j, n in enumerate(names) if free[j]}

    lows, highs = maps(low), maps(high)
    data = xr.DataArray(y, dims=("fit", "x"), coords={"x": x})
    fit = xr_modelfit.fit(
        data,
        model,
        "x",
        p0=maps(start),
        bounds={n: (lows[n], highs[n]) for n in lows},
        keep_failed=True,
        errors="ignore",
    )
    P = table(fit, names).T
    at_bound = 0
    for i in range(b):

        def residual(p: np.ndarray, i: int = i) -> np.ndarray:
            full = P[i].copy()
            full[free] = p
            return np.asarray(model.evaluate(x, *full)) - y[i]

        assert int(fit["fit_status"][i]) > 0, (name, i)
        found = P[i][free]
        box = (low[i][free], high[i][free])
        chi2 = float(np.sum(residual(found) ** 2))
        np.testing.assert_allclose(fit["chi2"][i], chi2, rtol=1e-10)
        for first in (found, start[i][free]):
            other = least_squares(
                residual, first, bounds=box, method="trf", jac="3-point", x_scale="jac", ftol=1e-15, xtol=1e-15,
                gtol=1e-15, max_nfev=2000,
            )  # fmt: skip
            same_valley = first is found or np.all(np.abs(other.x - found) < 0.02 * (box[1] - box[0]))
            if same_valley:
                assert chi2 <= 2.0 * other.cost * (1.0 + 1e-8), (name, i)
        at_bound += int(np.any((found == box[0]) | (found == box[1])))
    assert at_bound >= 5  # or nothing was shown about bounds
    assert at_bound <= 45


# ---------------------------------------------------------------- release from a bound


def test_a_start_on_a_bound_is_released() -> None:
    """The gradient points inward at once."""
    rng = np.random.default_rng(8)
    x = np.linspace(-5.0, 5.0, 60)
    y = 2.0 * np.exp(-0.5 * ((x - 0.3) / 1.1) ** 2) + 0.05 * rng.normal(size=60)
    data = xr.DataArray(y, dims="x", coords={"x": x})
    model = Gaussian1D(0.5, -1.0, 2.5)
    bounds = {"amplitude": (0.5, 5.0), "mean": (-1.0, 2.0), "stddev": (0.1, 2.5)}
    fit = xr_modelfit.fit(data, model, "x", bounds=bounds)
    assert int(fit["fit_status"]) == FitStatus.CONVERGED
    jac = {"jac": "3-point", "x_scale": "jac", "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    expected = least_squares(lambda p: np.asarray(Gaussian1D.evaluate(x, *p)) - y, [2.0, 0.3, 1.1], **jac)
    # Far closer than a standard error of about 0.02, as close as differences let least_squares come.
    np.testing.assert_allclose([float(fit[n]) for n in model.param_names], expected.x, rtol=1e-6)


def test_a_bound_is_released_when_the_gradient_turns() -> None:
    """At the start the gradient presses the slope onto its bound; with the offset right it turns.

    With y = 10 + x and the model a + s x on x > 0, starting at a = 30 and s = 0 on its lower bound,
    the first residuals are negative and push s down; the minimum is inside.
    """
    x = np.linspace(0.0, 4.0, 21)
    y = 10.0 + x
    A = np.stack([np.ones_like(x), x], axis=1)
    assert (A.T @ (y - 30.0))[1] < 0
    low = np.array([[-np.inf, 0.0]])
    p = Bounded(A[None], y[None], low, np.full((1, 2), np.inf), np.array([[30.0, 0.0]]))
    P, status = solve_bounded(p, maxiter=100)
    assert status[0] == FitStatus.CONVERGED
    np.testing.assert_allclose(P[0], [10.0, 1.0], rtol=1e-12)  # noise-free, condition about 5


def test_a_bound_that_is_met_on_the_way_is_left_again() -> None:
    """A curved path: the peak's height is cut at 0 while the position is wrong, and comes back."""
    x = np.linspace(-5.0, 5.0, 81)
    y = np.asarray(Gaussian1D.evaluate(x, 2.0, 1.0, 0.8)) - 0.4 * np.asarray(Gaussian1D.evaluate(x, 2.0, -1.5, 0.8))
    data = xr.DataArray(y, dims="x", coords={"x": x})
    bounds = {"amplitude": (0.0, 5.0), "mean": (-4.0, 4.0), "stddev": (0.3, 3.0)}
    fit = xr_modelfit.fit(data, Gaussian1D(0.0, -0.2, 1.0), "x", bounds=bounds)
    expected = least_squares(
        lambda p: np.asarray(Gaussian1D.evaluate(x, *p)) - y, [2.0, 1.0, 0.8], ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    assert int(fit["fit_status"]) > 0
    np.testing.assert_allclose(float(fit["chi2"]), 2.0 * expected.cost, rtol=1e-8)
