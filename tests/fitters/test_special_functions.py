"""Error functions, Voigt and Sersic profiles: compiled, by NumPy, and in whole fits.

Against the C library (`math.erf`), scipy, closed forms on the axes, and the definition of the coefficients.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.models import Const1D, Const2D, Sersic2D, Voigt1D
from astropy.utils.exceptions import AstropyDeprecationWarning
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from scipy.optimize import least_squares

from support.problems import problem_of
from xr_modelfit import BatchLSQFitter, fit
from xr_modelfit.analysis.traits import find_traits
from xr_modelfit.tracing.arrays import _gamma_median_slope, columns_of, values_of

numba = pytest.importorskip("numba", reason="functions that numba compiles")
from xr_modelfit.fitters.compiled import faddeeva  # noqa: E402
from xr_modelfit.fitters.compiled.gammas import median, median_slope  # noqa: E402
from xr_modelfit.fitters.compiled.vectors import load, save  # noqa: E402
from xr_modelfit.tracing.source import LANES  # noqa: E402

pytestmark = pytest.mark.quick_share(3)

EPS = float(np.finfo(float).eps)
FUNCTIONS = faddeeva.special_functions()


@pytest.fixture(autouse=True)
def _own_folder(compiled_code: Path) -> None:
    """Nothing is kept in the folder of the user."""


def in_lanes(values: np.ndarray) -> np.ndarray:
    rows = -(-values.size // LANES)
    return np.resize(np.asarray(values, dtype=float), (rows, LANES))


def compiled(name: str) -> Callable[[Sequence[float]], np.ndarray]:
    """A function of one number as loops have it, with the options of the model's loops."""
    function = FUNCTIONS[name]

    @numba.njit(error_model="numpy", fastmath={"contract", "arcp"})
    def loop(x, out):
        for i in range(len(x)):
            save(out, i, function(load(x, i)))

    def values(x: Sequence[float]) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        out = np.empty_like(in_lanes(x))
        loop(in_lanes(x), out)
        return out.ravel()[: x.size]

    return values


def compiled_wofz(z: np.ndarray) -> np.ndarray:
    function = FUNCTIONS["wofz"]

    @numba.njit(error_model="numpy", fastmath={"contract", "arcp"})
    def loop(x, y, u, v):
        for i in range(len(x)):
            pair = function(load(x, i), load(y, i))
            save(u, i, pair[0])
            save(v, i, pair[1])

    x, y = in_lanes(z.real), in_lanes(z.imag)
    u, v = np.empty_like(x), np.empty_like(x)
    loop(x, y, u, v)
    w = np.empty(u.shape, dtype=complex)
    w.real, w.imag = u, v
    return w.ravel()[: z.size]


def plane(n: int, seed: int) -> np.ndarray:
    """Complex numbers of all sizes in the upper half-plane, many of them near the real axis and on it."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-9, 9, n), 10 ** rng.uniform(-8, 300, n) * rng.choice([-1, 1], n)])
    y = np.concatenate([10 ** rng.uniform(-14, 1.5, n), 10 ** rng.uniform(-14, 300, n)])
    y[::7], x[::11] = 0.0, 0.0
    return x + 1j * y


def test_coefficients_are_those_of_the_series() -> None:
    """Of ``(L^2 + t^2) exp(-t^2)``, ``t = L tan(theta / 2)``, as a Fourier series in theta; its sums converge fast."""
    n, m = len(faddeeva.COEFFICIENTS), 1024
    assert_allclose(faddeeva.L, np.sqrt(n / np.sqrt(2)), rtol=EPS)
    theta = np.arange(1 - m, m) * np.pi / m
    t = faddeeva.L * np.tan(theta / 2)
    values = np.exp(-(t**2)) * (faddeeva.L**2 + t**2)
    expected = [math.fsum(values * np.cos(k * theta)) / (2 * m) for k in range(1, n + 1)]
    assert_allclose(faddeeva.COEFFICIENTS, expected, rtol=0, atol=50 * EPS)  # values are up to 28, and rounded


def test_faddeeva_in_the_upper_half_plane() -> None:
    """scipy's is right to 1e-13 of its size; its real part near the axis is the Gaussian that a fit sees."""
    z = plane(40_000, seed=1)
    found, expected = compiled_wofz(z), special.wofz(z)
    there = np.abs(expected) > 1e-290
    assert there.mean() > 0.8
    assert np.max(np.abs(found[there] / expected[there] - 1)) < 1e-13
    assert np.max(np.abs(found.real - expected.real)) < 1e-14


def test_faddeeva_below_the_axis() -> None:
    """Where a width is negative; beyond the range of floats it is infinite."""
    rng = np.random.default_rng(2)
    z = rng.uniform(-7, 7, 20_000) - 1j * rng.uniform(0, 7, 20_000)
    # exp(-z^2) is as exact as z^2 is, which is up to 100.
    assert np.max(np.abs(compiled_wofz(z) / special.wofz(z) - 1)) < 100 * 8 * EPS
    assert not np.isfinite(compiled_wofz(np.array([0.3 - 40j]))).any()


def test_faddeeva_on_the_axes() -> None:
    x = np.linspace(-12, 12, 1001)
    on_real = compiled_wofz(x + 0j)
    assert_allclose(on_real.real, np.exp(-x * x), rtol=0, atol=3e-15)  # closed form
    assert_allclose(on_real.imag, 2 / np.sqrt(np.pi) * special.dawsn(x), rtol=1e-13, atol=3e-15)
    y = np.linspace(0, 5, 501)
    on_imaginary = compiled_wofz(1j * y)
    assert_array_equal(on_imaginary.imag, 0)
    erfc = np.array([math.erfc(one) for one in y])
    assert_allclose(on_imaginary.real, np.exp(y * y) * erfc, rtol=60 * EPS)  # y^2 is rounded, up to 25


def test_a_lane_below_the_axis_or_far_away_changes_no_other() -> None:
    z = plane(2000, seed=3)
    z = z[np.abs(z) < 1e6]
    alone = compiled_wofz(z)
    for other in (1.0 - 2.0j, 1e200 + 3j, np.nan + 1j):
        mixed = np.column_stack([z, np.full(z.size, other)]).ravel()
        assert_array_equal(compiled_wofz(mixed)[::2], alone)


@pytest.mark.parametrize(
    ("name", "low", "high", "exact"),
    [
        ("erf", -7.0, 7.0, math.erf),
        ("erf", -0.6, 0.6, math.erf),
        ("erf", -1e-300, 1e-300, math.erf),
        ("erfc", -7.0, 26.0, math.erfc),
        ("expit", -700.0, 700.0, lambda x: 1 / (1 + math.exp(-x))),
    ],
)
def test_error_functions_are_those_of_the_c_library(
    name: str, low: float, high: float, exact: Callable[[float], float]
) -> None:
    x = np.random.default_rng(4).uniform(low, high, 20_000)
    # Some roundings: a few of the polynomial, one or two of the exponential and of the product.
    assert_allclose(compiled(name)(x), [exact(one) for one in x.tolist()], rtol=12 * EPS)


def test_scaled_error_function() -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(-26, 30, 20_000), 10 ** rng.uniform(-300, 300, 2000)])
    # scipy rounds x^2, which is up to 700, before it takes the exponential.
    assert_allclose(compiled("erfcx")(x), special.erfcx(x), rtol=700 * EPS)
    positive = x[x > 0]
    assert_allclose(compiled("erfcx")(positive), special.erfcx(positive), rtol=16 * EPS)


def test_faddeeva_at_infinity() -> None:
    z = np.empty(7, dtype=complex)
    z.real, z.imag = (
        [np.inf, -np.inf, 1.0, np.inf, np.nan, np.inf, 2.0],
        [0.5, 0.0, np.inf, np.inf, 1.0, np.nan, np.nan],
    )
    assert_array_equal(compiled_wofz(z), special.wofz(z))


@pytest.mark.parametrize("name", ["erf", "erfc", "erfcx", "expit"])
def test_the_edges(name: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 40.0, -40.0, 1e300, -1e300, 5e-324, -5e-324])
    assert_allclose(compiled(name)(x), getattr(special, name)(x), rtol=4 * EPS)


# ------------------------------------------------------------------------------------ by NumPy


def step(x, height=2.0, place=0.4, width=0.8):
    return height * special.erfc((x - place) / width)


def logistic(x, height=2.0, place=0.4, width=0.8):
    return height * special.expit((x - place) / width)


def modified(x, area=2.0, place=-0.5, sigma=0.6, tau=0.9):
    """A Gaussian that is followed by an exponential."""
    z = (sigma / tau - (x - place) / sigma) / 2**0.5
    return area / (2 * tau) * np.exp(-0.5 * ((x - place) / sigma) ** 2) * special.erfcx(z)


def skewed(x, height=2.0, place=-0.5, width=1.1, skew=1.5):
    z = (x - place) / width
    return height * np.exp(-0.5 * z**2) * (1 + special.erf(skew * z / 2**0.5))


def profile(x, area=3.0, place=0.3, sigma=0.5, gamma=0.4):
    return area * special.voigt_profile(x - place, sigma, gamma)


def dispersive(x, area=3.0, place=0.3, sigma=0.5, gamma=0.4):
    w = special.wofz(((x - place) + 1j * gamma) / (sigma * np.sqrt(2)))
    return area * (0.8 * w.real + 0.6 * w.imag)


MODELS: dict[str, Callable[[], Model]] = {
    **{f.__name__: lambda f=f: custom_model(f)() for f in (step, logistic, modified, skewed, profile, dispersive)},
    "Voigt1D": lambda: Voigt1D(0.3, 3.0, 0.7, 0.9),
    "Voigt1D and a constant": lambda: Voigt1D(0.3, 3.0, 0.7, 0.9) + Const1D(0.5),
}
X = np.linspace(-4, 5, 90)


@pytest.mark.parametrize("name", MODELS)
def test_numpy_has_their_derivatives(name: str) -> None:
    """From the expression, against differences of sixth order of the model's own code."""
    model = MODELS[name]()
    problem = find_traits(problem_of(model).private(), [X], X.size)
    sources = problem.traits.traced
    assert sources is not None
    p = np.array(model.parameters)
    P = np.stack([p, p * 1.07], axis=1)
    value, shared = values_of(sources, [X[:, None]], P)
    found = columns_of(sources, [X[:, None]], P, shared)
    for i, point in enumerate(P.T):
        own = MODELS[name]()

        def at(q: np.ndarray, own: Model = own) -> np.ndarray:
            own.parameters = q
            return np.asarray(own(X))

        assert_allclose(value[:, i], at(point), rtol=1e-13, atol=1e-15)
        for j, column in enumerate(found):
            h = 2e-3 * np.where(np.arange(p.size) == j, np.abs(point), 0.0)
            ahead = [at(point + m * h) - at(point - m * h) for m in (1, 2, 3)]
            expected = (45 * ahead[0] - 9 * ahead[1] + ahead[2]) / (60 * h[j])
            assert_allclose(column[:, i], expected, rtol=0, atol=1e-8 * np.abs(expected).max())


# ------------------------------------------------------------------------------------ fits


def data_of(model: Model, n: int = 24, noise: float = 0.02) -> xr.DataArray:
    rng = np.random.default_rng(6)
    rows = []
    for _ in range(n):
        own = model.copy()
        own.parameters = np.array(model.parameters) * rng.uniform(0.85, 1.15, len(model.parameters))
        rows.append(own(X) + rng.normal(0, noise, X.size))
    return xr.DataArray(np.array(rows), dims=("k", "x"), coords={"x": X})


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_fits_are_those_of_scipy_with_either_engine(name: str) -> None:
    """Parameters, and errors from scipy's Jacobian at its minimum."""
    data = data_of(MODELS[name]())
    fits = {e: fit(data, MODELS[name](), "x", fitter=BatchLSQFitter(engine=e)) for e in ("numpy", "numba")}
    assert json.loads(fits["numba"]["fit_status"].attrs["modelfit_record"])["engine"] == "numba"
    own, names = MODELS[name](), fits["numpy"].modelfit.params
    for k in range(data.sizes["k"]):

        def residual(p: np.ndarray, y: np.ndarray = data.values[k]) -> np.ndarray:
            own.parameters = p
            return np.asarray(own(X)) - y

        exact = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
        best = least_squares(residual, MODELS[name]().parameters.copy(), jac="3-point", x_scale="jac", **exact)
        covariance = np.linalg.inv(best.jac.T @ best.jac) * 2 * best.cost / (X.size - len(names))
        for result in fits.values():
            one = result.isel(k=k)
            assert one["fit_status"] == 1
            for j, parameter in enumerate(names):
                error = np.sqrt(covariance[j, j])
                # scipy stops where differences of its residual no longer tell; errors are by its own differences.
                assert abs(one[parameter].item() - best.x[j]) < 1e-4 * error
                assert_allclose(one[f"{parameter}_stderr"].item(), error, rtol=1e-4)
    for parameter in names:
        apart = np.abs(fits["numba"][parameter] - fits["numpy"][parameter]) / fits["numpy"][f"{parameter}_stderr"]
        assert float(apart.max()) < 1e-6


@pytest.mark.parametrize("name", ["Voigt1D", "profile", "dispersive"])
def test_a_width_that_starts_far_off_ends_where_scipy_ends(name: str) -> None:
    """Parameters wander: whatever sign a width has on the way, both engines see what scipy's function says there."""
    model = MODELS[name]()
    data = data_of(model, n=16, noise=0.001)
    start = {"fwhm_L": 2.0, "fwhm_G": 0.3} if name == "Voigt1D" else {"sigma": 3.0, "gamma": 0.02}
    fits = [
        fit(data, model, "x", p0=start, fitter=BatchLSQFitter(engine=e), errors="ignore") for e in ("numpy", "numba")
    ]
    for parameter in fits[0].modelfit.params:
        good = (fits[0]["fit_status"] == 1) & (fits[1]["fit_status"] == 1)
        assert int(good.sum()) >= 8
        apart = np.abs(fits[1][parameter] - fits[0][parameter]) / fits[0][f"{parameter}_stderr"]
        assert float(apart.where(good).max()) < 1e-6


def test_scipys_methods_of_astropys_voigt_are_told_apart() -> None:
    """The rational approximation is another function; it decides by values, and so stays with NumPy."""
    data = data_of(Voigt1D(0.3, 3.0, 0.7, 0.9), n=8)
    with pytest.warns(AstropyDeprecationWarning, match="humlicek2"):
        model = Voigt1D(0.3, 3.0, 0.7, 0.9, method="humlicek2")
    result = fit(data, model, "x", fitter=BatchLSQFitter(engine="numba"))
    assert json.loads(result["fit_status"].attrs["modelfit_record"])["engine"] == "numpy"


def test_lazy_voigt_fits_are_the_computed_ones() -> None:
    model: Any = Voigt1D(0.3, 3.0, 0.7, 0.9)
    data = data_of(model, n=40)
    for engine in ("numpy", "numba"):
        computed = fit(data, model, "x", fitter=BatchLSQFitter(engine=engine))
        lazy = fit(data.chunk(k=9), model, "x", fitter=BatchLSQFitter(engine=engine)).compute()
        xr.testing.assert_identical(computed.drop_attrs(), lazy.drop_attrs())


def wings(x, area=3.0, place=0.3, sigma=0.5):
    """A profile that is flat beyond a range: it is that of a constant, where the condition holds nowhere."""
    z = 2.0 * np.ones_like(x)
    inside = np.abs(x - place) < 3.0
    if inside.any():
        z[inside] = (x[inside] - place) / sigma
    return area * special.wofz(z + 0.8j).real


def test_a_function_of_what_is_constant_somewhere() -> None:
    model = custom_model(wings)()
    data = data_of(model, n=8)
    fits = [fit(data, model, "x", fitter=BatchLSQFitter(engine=e)) for e in ("numpy", "numba")]
    assert json.loads(fits[1]["fit_status"].attrs["modelfit_record"])["engine"] == "numba"
    for parameter in fits[0].modelfit.params:
        apart = np.abs(fits[1][parameter] - fits[0][parameter]) / fits[0][f"{parameter}_stderr"]
        assert float(apart.max()) < 1e-6


# ------------------------------------------------------------------------------------ Sersic's index


def test_medians_of_the_gamma_distribution() -> None:
    """Of the exponential one it is ln 2, of the half chi-squared; others by scipy, right to 5e-13 where it is small."""
    assert_allclose(median(1.0), np.log(2), rtol=2 * EPS)
    assert_allclose(median(0.5), special.erfinv(0.5) ** 2, rtol=4 * EPS)  # P(1/2, x) = erf(sqrt(x))
    a = np.geomspace(2e-3, 1e5, 3000)
    found = np.array([median(one) for one in a.tolist()])
    assert_allclose(found, special.gammaincinv(a, 0.5), rtol=1e-12)
    here = (a > 0.1) & (a < 1e3)
    assert_allclose(found[here], special.gammaincinv(a[here], 0.5), rtol=1e-13)
    at = [0.0, -1.0, 1e-5, np.inf, np.nan, 1e12]
    assert_array_equal([median(one) for one in at], special.gammaincinv(at, 0.5))


def test_their_slopes() -> None:
    """Compiled, and by NumPy: against differences of sixth order of scipy's medians, on either side of the series."""
    a = np.concatenate([np.geomspace(0.05, 1e3, 300), [199.99, 200.01]])
    h = 0.01 * a
    steps = (special.gammaincinv(a + m * h, 0.5) - special.gammaincinv(a - m * h, 0.5) for m in (1, 2, 3))
    first, second, third = steps
    expected = (45 * first - 9 * second + third) / (60 * h)
    # The differences: (h / a)^6 of the logarithm's derivatives, larger where the median is 2^(-1 / a).
    assert_allclose([median_slope(one) for one in a.tolist()], expected, rtol=1e-8)
    large = a > 0.5
    assert_allclose([median_slope(one) for one in a[large].tolist()], expected[large], rtol=1e-11)
    assert_allclose(_gamma_median_slope(a), [median_slope(one) for one in a.tolist()], rtol=1e-11)


@pytest.mark.slow
def test_galaxies_are_those_of_scipy_with_either_engine() -> None:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:19, :19].astype(float)
    truth = [5.0, 3.5, 1.2, 9.2, 8.9, 0.3, 0.5, 1.0]
    model = Sersic2D(4.5, 4.0, 1.0, 9.0, 9.1, 0.2, 0.6) + Const2D(0.8)
    images = []
    for _ in range(10):
        p = np.array(truth) * rng.uniform(0.95, 1.05, 8)
        images.append(Sersic2D.evaluate(x, y, *p[:7]) + p[7] + rng.normal(0, 0.01, x.shape))
    data = xr.DataArray(np.array(images), dims=("k", "y", "x"), coords={"y": y[:, 0], "x": x[0]})
    fits = [fit(data, model, ("y", "x"), fitter=BatchLSQFitter(engine=e)) for e in ("numpy", "numba")]
    assert json.loads(fits[1]["fit_status"].attrs["modelfit_record"])["engine"] == "numba"
    for k, image in enumerate(images):

        def residual(p: np.ndarray, image: np.ndarray = image) -> np.ndarray:
            return (Sersic2D.evaluate(x, y, *p[:7]) + p[7] - image).ravel()

        exact = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
        best = least_squares(residual, model.parameters, jac="3-point", x_scale="jac", **exact)
        covariance = np.linalg.inv(best.jac.T @ best.jac) * 2 * best.cost / (x.size - 8)
        for result in fits:
            one = result.isel(k=k)
            assert one["fit_status"] == 1
            for j, parameter in enumerate(result.modelfit.params):
                error = np.sqrt(covariance[j, j])
                assert abs(one[parameter].item() - best.x[j]) < 1e-4 * error
                assert_allclose(one[f"{parameter}_stderr"].item(), error, rtol=1e-4)
    for parameter in fits[0].modelfit.params:
        apart = np.abs(fits[1][parameter] - fits[0][parameter]) / fits[0][f"{parameter}_stderr"]
        assert float(apart.max()) < 1e-6
