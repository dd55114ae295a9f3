"""The cases of ``compare.py``: arrays, models and starts that all competitors get.

Positions are one dimension, the last; samples come before it, as maps of cubes and of months are stored. Noise and
truth come from fixed seeds, so that a case of one size has the same numbers in every run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.functional_models import FLOAT_EPSILON
from astropy.modeling.models import Const1D, Cosine1D, Gaussian1D, Gaussian2D, Linear1D, Sine1D, Voigt1D
from scipy.special import wofz
from speed import read, simulated

Curve = Callable[[Any, Sequence[Any], Sequence[Any]], Any]


@dataclass(frozen=True)
class Case:
    """One model to be fitted at every position of one array.

    ``curve(numpy or jax.numpy, inputs, parameters)`` is the model as users of other packages write it, with the free
    parameters in the order of astropy.
    """

    name: str
    title: str
    data: xr.DataArray
    dim: tuple[str, ...]  # in the order of the model's inputs
    model: Model
    curve: Curve
    sigma: xr.DataArray | None = None
    traceable: bool = True  # jax.numpy has all that the curve needs

    @property
    def n_fits(self) -> int:
        return self.data.sizes["position"]

    @property
    def n_samples(self) -> int:
        return self.data.size // self.n_fits

    @property
    def free(self) -> list[str]:
        return [name for name in self.model.param_names if not self.model.fixed[name]]

    @property
    def start(self) -> dict[str, float]:
        return {name: float(getattr(self.model, name).value) for name in self.free}

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Bounds of those free parameters that have them; that astropy keeps every width positive does not count."""
        given = {name: self.model.bounds[name] for name in self.free}
        return {name: pair for name, pair in given.items() if pair not in ((None, None), (FLOAT_EPSILON, None))}

    @property
    def gaps(self) -> bool:
        return bool(np.isnan(self.data.values).any())

    def at(self, positions: np.ndarray | slice) -> "Case":
        """The same case at some of its positions, in arrays of their own."""
        sigma = None if self.sigma is None else self.sigma.isel(position=positions).copy()
        return replace(self, data=self.data.isel(position=positions).copy(), sigma=sigma)

    def inputs(self) -> tuple[np.ndarray, ...]:
        """What each input of the model reads at each sample, each of shape (n_samples,)."""
        grid = np.meshgrid(*(self.data[d].values for d in self.dim), indexing="ij")
        return tuple(values.ravel() for values in grid)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Data and weights, float64 of shape (n_fits, n_samples); gaps have data 0 and weight 0."""
        y = self._rows(self.data)
        w = np.ones_like(y) if self.sigma is None else 1 / self._rows(self.sigma)
        gaps = np.isnan(y)
        y[gaps] = w[gaps] = 0.0
        return y, w

    def _rows(self, array: xr.DataArray) -> np.ndarray:
        values = array.transpose("position", *self.dim).values
        return np.array(values, dtype=np.float64, order="C").reshape(array.sizes["position"], -1)


def gaussian(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    (x,) = inputs
    return p[0] * np.exp(-0.5 * ((x - p[1]) / p[2]) ** 2)


def gaussian_on_slope(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    return gaussian(np, inputs, p[:3]) + line(np, inputs, p[3:])


def blended(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    return gaussian(np, inputs, p[:3]) + gaussian(np, inputs, p[3:6]) + p[6]


def ellipse(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    x, y = inputs[0] - p[1], inputs[1] - p[2]
    cos, sin = np.cos(p[5]), np.sin(p[5])
    along, across = (x * cos + y * sin) / p[3], (y * cos - x * sin) / p[4]
    return p[0] * np.exp(-0.5 * (along**2 + across**2))


def line(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    return p[0] * inputs[0] + p[1]


def season(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    phase = 2 * np.pi * inputs[0]
    return p[0] * inputs[0] + p[1] + p[2] * np.sin(phase) + p[3] * np.cos(phase)


def voigt(np: Any, inputs: Sequence[Any], p: Sequence[Any]) -> Any:
    root = np.sqrt(np.log(2.0))
    z = root * (2 * (inputs[0] - p[0]) + 1j * p[2]) / p[3]
    return p[1] * p[2] * root * np.sqrt(np.pi) / p[3] * wofz(z).real


def observed(
    curve: Curve, axes: dict[str, np.ndarray], truth: Sequence[np.ndarray], noise: float | np.ndarray, seed: int
) -> xr.DataArray:
    """What is observed of a curve: float32 with noise, made sample by sample, so that 10^6 positions take no more."""
    rng = np.random.default_rng(seed)
    grid = [values.ravel() for values in np.meshgrid(*axes.values(), indexing="ij")]
    out = np.empty((grid[0].size, len(truth[0])), dtype=np.float32)
    levels = np.broadcast_to(noise, out.shape)
    for i in range(len(out)):
        error = rng.standard_normal(out.shape[1], dtype=np.float32) * levels[i]
        out[i] = curve(np, [values[i] for values in grid], truth) + error
    sizes = [len(values) for values in axes.values()]
    return xr.DataArray(out.reshape(*sizes, -1), dims=(*axes, "position"), coords=axes)


def with_gaps(data: xr.DataArray, share: float, seed: int) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = data.values.copy()
    for plane in values:
        plane[rng.random(plane.shape, dtype=np.float32) < share] = np.nan
    return data.copy(data=values)


def co13(cube: Path | None, n: int) -> list[Case]:
    """Every spectrum of a cube: the example of the documentation of ``parallel_fit_dask``, and its bounds."""
    array = simulated() if cube is None else read(cube)
    native = array.astype(array.dtype.newbyteorder("="))
    flat = native.stack(position=("y", "x")).drop_vars(("position", "y", "x")).transpose("velocity", "position")
    if n < flat.sizes["position"]:
        flat = flat.isel(position=spread(flat.sizes["position"], n)).copy()
    free = Gaussian1D(1, 4000, 500)
    bounded = Gaussian1D(1, 4000, 500, bounds={"mean": (3000.0, 6000.0)})
    title = f"{'simulated' if cube is None else '13CO'} cube, 1 line"
    return [
        Case("cube", title, flat, ("velocity",), free, gaussian),
        Case("cube-bounds", f"{title}, bounds", flat, ("velocity",), bounded, gaussian),
    ]


def continuum(n: int) -> list[Case]:
    rng = np.random.default_rng(1)
    truth = (
        rng.uniform(0.5, 3.0, n),
        rng.uniform(3800, 5200, n),
        rng.uniform(250, 700, n),
        rng.normal(0, 5e-5, n),
        rng.uniform(0.5, 1.5, n),
    )
    data = observed(gaussian_on_slope, {"velocity": np.linspace(0, 9800, 50)}, truth, 0.1, 2)
    model = Gaussian1D(1, 4500, 500) + Linear1D(0, 1)
    return [Case("continuum", "line and continuum", data, ("velocity",), model, gaussian_on_slope)]


def blend(n: int) -> list[Case]:
    """Two lines, about two and a half widths apart: plain, with gaps and errors of each sample, with bounds."""
    rng = np.random.default_rng(3)
    truth = (
        *(rng.uniform(1, 3, n), rng.normal(4000, 60, n), rng.uniform(300, 450, n)),
        *(rng.uniform(1, 3, n), rng.normal(5000, 60, n), rng.uniform(300, 450, n)),
        rng.uniform(0.5, 1.5, n),
    )
    axes = {"velocity": np.linspace(1000, 8000, 60)}
    levels = rng.uniform(0.05, 0.2, (60, n)).astype(np.float32)
    plain = observed(blended, axes, truth, 0.1, 4)
    uneven = with_gaps(observed(blended, axes, truth, levels, 5), 0.05, 6)
    sigma = uneven.copy(data=levels)
    model = Gaussian1D(2, 3900, 400) + Gaussian1D(2, 5100, 400) + Const1D(1)
    bounded = model.copy()
    for i in (0, 1):
        getattr(bounded, f"amplitude_{i}").bounds = (0.0, 10.0)
        getattr(bounded, f"stddev_{i}").bounds = (300.0, 450.0)  # noise takes some fits to these
    bounded.mean_0.bounds, bounded.mean_1.bounds = (3000.0, 4500.0), (4500.0, 6000.0)
    title = "2 blended lines and continuum"
    return [
        Case("blend", title, plain, ("velocity",), model, blended),
        Case("blend-gaps", f"{title}, gaps and sigma", uneven, ("velocity",), model, blended, sigma),
        Case("blend-bounds", f"{title}, bounds", plain, ("velocity",), bounded, blended),
    ]


def stamps(n: int) -> list[Case]:
    rng = np.random.default_rng(7)
    pixel = np.arange(15.0)
    truth = (
        rng.uniform(5, 20, n),
        *rng.normal(7, 0.4, (2, n)),
        rng.uniform(2.1, 2.8, n),
        rng.uniform(1.3, 1.8, n),
        rng.uniform(-0.6, 0.6, n),
    )
    data = observed(ellipse, {"x": pixel, "y": pixel}, truth, 0.5, 8)
    model = Gaussian2D(10, 7, 7, 2.4, 1.6, 0)  # round, the angle would have no effect at the start
    return [Case("stamps", "2-D Gaussian, 15 x 15", data, ("x", "y"), model, ellipse)]


def months(n: int) -> list[Case]:
    """Forty years of monthly maps: a trend, and a trend with a harmonic, both with and without gaps."""
    rng = np.random.default_rng(9)
    truth = (rng.normal(0.02, 0.02, n), rng.normal(10, 5, n), rng.normal(0, 4, n), rng.normal(0, 4, n))
    axes = {"time": np.arange(480) / 12}
    whole = observed(season, axes, truth, 1.0, 10)
    gappy = with_gaps(whole, 0.1, 11)
    held = {"fixed": {"frequency": True, "phase": True}}
    model = Linear1D(0, 0) + Sine1D(1, 1.0, 0, **held) + Cosine1D(1, 1.0, 0, **held)
    few = spread(n, max(1, n // 10))
    whole_few, gappy_few = (array.isel(position=few).copy() for array in (whole, gappy))
    return [
        Case("trend", "trend, 480 months", whole, ("time",), Linear1D(0, 0), line),
        Case("trend-gaps", "trend, 480 months, gaps", gappy, ("time",), Linear1D(0, 0), line),
        Case("harmonic", "trend and harmonic, 480 months", whole_few, ("time",), model, season),
        Case("harmonic-gaps", "trend and harmonic, 480 months, gaps", gappy_few, ("time",), model, season),
    ]


def voigts(n: int) -> list[Case]:
    rng = np.random.default_rng(12)
    truth = (rng.normal(0, 0.5, n), rng.uniform(5, 15, n), rng.uniform(0.8, 1.6, n), rng.uniform(0.8, 1.6, n))
    data = observed(voigt, {"velocity": np.linspace(-10, 10, 81)}, truth, 0.1, 13)
    model = Voigt1D(x_0=0, amplitude_L=10, fwhm_L=1, fwhm_G=1)
    return [Case("voigt", "Voigt profile", data, ("velocity",), model, voigt, traceable=False)]


def spread(n: int, most: int) -> np.ndarray:
    """``most`` numbers from 0 to n - 1 at equal distances, or all."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


# Each family of cases, its positions in a full run, and the cases that it makes.
FAMILIES: dict[str, tuple[Callable[..., list[Case]], int, tuple[str, ...]]] = {
    "cube": (co13, 11_025, ("cube", "cube-bounds")),
    "continuum": (continuum, 1_000_000, ("continuum",)),
    "blend": (blend, 100_000, ("blend", "blend-gaps", "blend-bounds")),
    "stamps": (stamps, 10_000, ("stamps",)),
    "months": (months, 1_000_000, ("trend", "trend-gaps", "harmonic", "harmonic-gaps")),
    "voigt": (voigts, 20_000, ("voigt",)),
}
NAMES = tuple(name for _, _, names in FAMILIES.values() for name in names)


def family(name: str, fits: int, cube: Path | None) -> list[Case]:
    """The cases of a family, at ``fits`` positions or at those that it has."""
    make, most, _ = FAMILIES[name]
    n = min(most, fits)
    return make(cube, n) if name == "cube" else make(n)
