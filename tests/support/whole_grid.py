"""A table of models that see all their samples, each with data that has gaps and with the right answers.

What is here knows nothing of a fitter: values come from calling a fresh model on the complete grid of a fit; parameters
and errors from `scipy.optimize.least_squares` on the samples that are kept.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.convolution import convolve_models, convolve_models_fft
from astropy.modeling import Model, custom_model
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Scale, Shift, Tabular1D
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.optimize import least_squares
from scipy.signal import fftconvolve

from xr_modelfit import FitStatus, fit

__all__ = ["CASES", "POSITIONS", "Case", "Right", "assert_right", "optimum", "recorded", "right_of"]

POSITIONS = {"p": np.array([10.0, 20.0]), "q": np.array([3, 1])}
_OF_GRID = np.arange(-12, 13)
_LAGS = 0.25 * np.arange(25)
_RESPONSE = np.exp(-0.5 * ((_LAGS - 1.5) / 0.4) ** 2) + 0.4 * np.exp(-_LAGS / 1.2)
_RESPONSE /= _RESPONSE.sum()
_BELL = np.exp(-0.5 * (_OF_GRID[8:17] / 1.5) ** 2)
_PSF = np.outer(_BELL, _BELL * np.linspace(0.4, 1.6, 9))
_PSF /= _PSF.sum()
_SPREAD = Tabular1D(
    0.5 * _OF_GRID,
    np.exp(-np.abs(_OF_GRID) / 3.0) * (1.2 + np.tanh(_OF_GRID / 4.0)),
    bounds_error=False,
    fill_value=0.0,
)
_STAR = Tabular1D(
    np.linspace(-30.0, 30.0, 121), 2.0 + np.sin(0.11 * np.linspace(-30.0, 30.0, 121) ** 2), bounds_error=False
)


# --- models of one input


@custom_model
def decay_behind_response(x, a=100.0, tau=2.0, background=1.0):
    """A lifetime behind the response of an instrument."""
    return background + np.convolve(_RESPONSE, a * np.exp(-x / tau))[: x.size]


@custom_model
def line_behind_table(x, a=1.0, centre=0.0, width=1.0):
    """A line behind a tabulated line-spread function."""
    kernel = _SPREAD(x - np.median(x))
    return np.convolve(a * np.exp(-0.5 * ((x - centre) / width) ** 2), kernel / kernel.sum(), mode="same")


@custom_model
def centred(x, a=1.0, b=0.0, c=0.1):
    """A parabola about the mean of its coordinate."""
    z = x - x.mean()
    return b + a * z + c * z**2


@custom_model
def slope_of_line(x, a=1.0, centre=0.0, width=1.0, b=0.0):
    """The derivative of a line, by differences of neighbours."""
    return b + np.gradient(a * np.exp(-0.5 * ((x - centre) / width) ** 2), x)


@custom_model
def growth(x, a=1.0, tau=1.0, b=0.0):
    """What has come together so far."""
    return b + np.cumsum(a * np.exp(-x / tau))


@custom_model
def quantiles(x, a=1.0, tau=1.0, b=0.0):
    """Values in the order of their size: at a sample stands that of another."""
    return b + np.sort(a * np.exp(-x / tau))


@custom_model
def moved_by_phases(x, a=1.0, shift=0.0, b=0.0):
    """A template that is moved by a fraction of a sample."""
    template = np.exp(-0.5 * ((x - x[x.size // 2]) / 2.5) ** 2)
    turned = np.exp(-2j * np.pi * np.fft.rfftfreq(x.size) * shift)
    return b + a * np.fft.irfft(np.fft.rfft(template) * turned, x.size)


@custom_model
def highest_is_one(x, a=1.0, centre=0.0, width=1.0):
    """A profile in units of its highest sample."""
    profile = 1.0 / (1.0 + ((x - centre) / width) ** 2)
    return a * profile / profile.max()


@custom_model
def smoothed_if_long(x, a=1.0, centre=0.0, width=1.0, b=0.0):
    """Looks at its neighbours where there are many of them."""
    line = a * np.exp(-0.5 * ((x - centre) / width) ** 2)
    if x.size > 50:
        line = 0.25 * np.roll(line, 1) + 0.5 * line + 0.25 * np.roll(line, -3)
    return b + line


@custom_model
def smoothed_if_a_row(x, a=1.0, centre=0.0, width=1.0, b=0.0):
    """Looks at its neighbours if they are many, and in a row."""
    line = a * np.exp(-0.5 * ((x - centre) / width) ** 2)
    if x.ndim == 1 and x.shape[0] > 250:
        line = 0.25 * np.roll(line, 4) + 0.5 * line + 0.25 * np.roll(line, -12)
    return b + line


@custom_model
def moves_its_input_if_long(x, a=1.0, b=0.0, tau=20.0):
    """Writes into its input where there are many samples."""
    if x.shape[0] > 50:
        x -= x.min()
    return a * np.exp(-x / tau) + b


@custom_model
def smoothed_if_uniform(x, a=1.0, centre=0.0, width=1.0, b=0.0):
    """Looks at its neighbours where the grid is uniform."""
    line = a * np.exp(-0.5 * ((x - centre) / width) ** 2)
    if not np.any(np.isnan(x)) and np.allclose(np.diff(x), x[1] - x[0]):
        line = np.convolve(line, [0.1, 0.2, 0.3, 0.4], mode="same")
    return b + line


# --- models of several inputs


@custom_model
def disk_seen(x, y, a=10.0, x0=5.0, y0=5.0, r=3.0):
    """A disk behind a round point-spread function, wider along one axis of the image."""
    return gaussian_filter(a * np.exp(-np.hypot(x - x0, y - y0) / r), (1.0, 1.8))


@custom_model
def disk_behind_psf(x, y, a=10.0, x0=5.0, y0=5.0, r=3.0):
    """A disk behind a point-spread function that is not symmetric."""
    return fftconvolve(a * np.exp(-np.hypot(x - x0, y - y0) / r), _PSF, mode="same")


@custom_model
def rows_less_their_means(x, y, flux=50.0, x0=5.4, y0=6.2, s=2.0, tilt=0.18):
    """A source of known flux, on a background from which the mean of each row was taken."""
    source = np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / s**2)
    image = flux * source / source.sum() + tilt * x * y
    return image - image.mean(axis=-1, keepdims=True)


@custom_model
def centred_if_image(x, y, a=1.0, b=0.0, c=0.0):
    """A plane less its neighbour in another row, if it is asked for an image."""
    plane = a * x + b * y
    if x.ndim == 2:
        plane = plane - 0.5 * np.roll(plane, 2, axis=0)
    return plane + c


@custom_model
def blurred_blob(x, y, z, a=10.0, x0=3.0, y0=3.0, z0=3.0, s=1.5):
    """A blob in a volume, blurred by other numbers of samples along each axis."""
    blob = a * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2) / s**2)
    return uniform_filter(blob, (3, 2, 4), mode="nearest")


# --- convolutions that astropy makes


def lines_convolved(a=4.0, centre=0.5, width=3.0, size=1.0, at=0.0, spread=1.5, slope=0.0, b=0.3) -> Model:
    """`convolve_models` as a part of a sum; the kernel is held."""
    held = {"amplitude": True, "mean": True, "stddev": True}
    kernel = Gaussian1D(size, at, spread, fixed=held)
    return convolve_models(Gaussian1D(a, centre, width), kernel) + Linear1D(slope, b)


def star_convolved(shift=0.1, scale=1.0, size=1.0, at=0.0, spread=1.5) -> Model:
    """A table behind a convolution: a spectrum that is shifted, and scaled."""
    held = {"amplitude": True, "mean": True, "stddev": True}
    return convolve_models(Shift(shift) | _STAR | Scale(scale), Gaussian1D(size, at, spread, fixed=held))


def on_own_grid(a=4.0, centre=0.5, width=3.0, size=1.0, at=0.0, spread=1.5, b=0.5) -> Model:
    """`convolve_models_fft`, whose grid goes beyond the samples."""
    held = {"amplitude": True, "mean": True, "stddev": True}
    kernel = Gaussian1D(size, at, spread, fixed=held)
    return convolve_models_fft(Gaussian1D(a, centre, width), kernel, (-40.0, 40.0), 0.4) + Const1D(b)


class Right(NamedTuple):
    """The right answer at one position.

    Parameters
    ----------
    parameters : ndarray, shape (k,)
        The free ones.
    covariance : ndarray, shape (k, k)
        Theirs, with absolute errors of the samples.
    chi2 : float
    n_points, dof : int
    """

    parameters: np.ndarray
    covariance: np.ndarray
    chi2: float
    n_points: int
    dof: int

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the free parameters."""
        return np.sqrt(np.diag(self.covariance))


def optimum(residual: Callable[[np.ndarray], np.ndarray], start: Sequence[float] | np.ndarray) -> Right:
    """The minimum of the sum of squared residuals, of which those that are NaN are left out.

    The tolerances are those of rounding; the Jacobian at the minimum is a central difference.
    """
    keep = np.isfinite(residual(np.array(start, dtype=float)))
    limits = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 300}
    found = least_squares(lambda p: residual(p)[keep], start, jac="3-point", x_scale="jac", **limits)
    n = int(keep.sum())
    covariance = np.linalg.inv(found.jac.T @ found.jac)
    return Right(found.x, covariance, 2.0 * float(found.cost), n, n - len(start))


@dataclass(frozen=True, eq=False)
class Case:
    """A model and its data.

    Parameters
    ----------
    name : str
    model : callable
        Makes the model from its parameters; without any, at the start of the fits.
    truth : tuple of float
        What the data are made with.
    coords : dict
        Samples along each fitted dim, in the order of the data.
    inputs : tuple of str
        The dim that each input reads.
    noise : float
    """

    name: str
    model: Callable[..., Model]
    truth: tuple[float, ...]
    coords: dict[str, np.ndarray]
    inputs: tuple[str, ...]
    noise: float

    @property
    def dims(self) -> tuple[str, ...]:
        """The fitted dims, in the order of the data."""
        return tuple(self.coords)

    @property
    def reads(self) -> dict[str, str]:
        """What each input reads, for a call."""
        return dict(zip(self.model().inputs, self.inputs, strict=True))

    @cached_property
    def free(self) -> list[str]:
        """Names of the free parameters."""
        model = self.model()
        return [name for name in model.param_names if not model.fixed[name]]

    @cached_property
    def _is_free(self) -> np.ndarray:
        return np.array([name in self.free for name in self.model().param_names])

    def full(self, parameters: Any) -> np.ndarray:
        """All parameters, from the free ones; those that are held have one value."""
        values = np.array(self.truth)
        values[self._is_free] = parameters
        return values

    def grids(self, **coords: np.ndarray) -> list[np.ndarray]:
        """The complete grid as the model gets it, one array for each input."""
        axes = self.coords | coords
        grids = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
        return [grids[d] for d in self.inputs]

    def values(self, parameters: Any, **coords: np.ndarray) -> np.ndarray:
        """What a new model with these parameters, all of them, gives when it is called on the grid."""
        return np.asarray(self.model(*np.asarray(parameters, dtype=float).tolist())(*self.grids(**coords)))

    def data(self, gaps: bool = True) -> xr.DataArray:
        """Noisy values over positions and fitted dims; gaps are NaN, others at each position, none at the first."""
        clean = self.values(self.truth)
        shape = (*(len(v) for v in POSITIONS.values()), *clean.shape)
        seed = np.random.SeedSequence([ord(c) for c in self.name])
        rng = np.random.default_rng(seed)
        flux = clean + rng.normal(0.0, self.noise, shape)
        if gaps:
            flux[self.left_out] = np.nan
        coords = POSITIONS | self.coords
        return xr.DataArray(flux, dims=tuple(coords), coords=coords, name="flux")

    @property
    def left_out(self) -> np.ndarray:
        """Which samples lie in gaps: a fifth of them at random, and a stretch of the first axis."""
        shape = (*(len(v) for v in POSITIONS.values()), *(len(v) for v in self.coords.values()))
        rng = np.random.default_rng(len(self.name))
        gone = rng.random(shape) < 0.2
        for number, at in enumerate(np.ndindex(shape[:2])):
            first = (number + 1) * shape[2] // 6
            gone[at][first : first + max(shape[2] // 8, 1)] = True
        gone[0, 0] = False
        return gone

    def right(self, y: np.ndarray, sigma: np.ndarray | float | None = None, **coords: np.ndarray) -> Right:
        """The minimum near the truth for data ``y`` of one position, of which samples that are NaN are left out."""
        start = np.array(self.truth)[self._is_free]
        over = self.noise if sigma is None else sigma
        return optimum(lambda p: (self.values(self.full(p), **coords) - y) / over, start)

    def fit(self, source: xr.DataArray | xr.Dataset, **options: Any) -> xr.Dataset:
        """The fit of ``source``; failures are in its status alone."""
        return fit(source, self.model(), self.dims, **({"coords": self.reads, "errors": "ignore"} | options))


_T = np.arange(0.0, 20.0, 0.25)
_V = np.linspace(-30.0, 30.0, 121)
_W = np.linspace(-9.0, 9.0, 72)
_MIXED = np.random.default_rng(8).permutation(np.linspace(0.0, 6.0, 40) ** 1.1)
_IMAGE = {"y": np.arange(13.0), "x": np.linspace(0.0, 12.0, 17)}
_VOLUME = {"z": np.arange(7.0), "x": np.linspace(0.0, 6.0, 9), "y": np.linspace(0.0, 6.5, 8)}

CASES = {
    case.name: case
    for case in (
        Case("gaussian_filter", disk_seen, (20.0, 5.7, 6.6, 2.4), _IMAGE, ("x", "y"), 0.1),
        Case("fftconvolve", disk_behind_psf, (20.0, 5.7, 6.6, 2.4), _IMAGE, ("x", "y"), 0.1),
        Case("row means", rows_less_their_means, (60.0, 5.7, 6.6, 2.3, 0.2), _IMAGE, ("x", "y"), 0.1),
        Case("uniform_filter", blurred_blob, (15.0, 2.7, 3.6, 3.2, 1.7), _VOLUME, ("x", "y", "z"), 0.2),
        Case("cumsum", growth, (2.0, 1.7, 0.5), {"t": _T}, ("t",), 0.2),
        Case("sort", quantiles, (5.0, 1.8, 0.5), {"t": _MIXED}, ("t",), 0.1),
        Case("fft", moved_by_phases, (5.0, 1.37, 0.5), {"t": _W}, ("t",), 0.2),
        Case("v / v.max()", highest_is_one, (5.0, 0.72, 1.6), {"t": _W}, ("t",), 0.1),
        Case("table as kernel", line_behind_table, (5.0, 0.7, 1.3), {"t": np.linspace(-9, 9, 73)}, ("t",), 0.05),
        Case("table convolved", star_convolved, (0.22, 2.0, 1.0, 0.0, 1.5), {"t": _V}, ("t",), 0.1),
        Case("convolve_models", lines_convolved, (5, 1, 3.3, 1, 0, 1.5, 0.01, 0.5), {"t": _V}, ("t",), 0.2),
        Case("convolve_models_fft", on_own_grid, (5, 1, 3.3, 1, 0, 1.5, 0.7), {"t": _V}, ("t",), 0.2),
        Case("x.size > 50", smoothed_if_long, (5.0, 0.7, 1.3, 0.5), {"t": _W}, ("t",), 0.1),
        Case("x.ndim == 1", smoothed_if_a_row, (5.0, 0.7, 1.3, 0.5), {"t": np.linspace(-9, 9, 260)}, ("t",), 0.1),
        Case("np.convolve", decay_behind_response, (200.0, 2.5, 3.0), {"t": _T}, ("t",), 1.5),
        Case("x - x.mean()", centred, (2.0, 3.0, 0.2), {"t": _T}, ("t",), 0.2),
        Case("np.gradient", slope_of_line, (5.0, 0.7, 1.3, 0.5), {"t": _W**3 / 60.0}, ("t",), 0.1),
        Case("x.shape[0] > 50", moves_its_input_if_long, (5.0, 0.7, 9.0), {"t": 40.0 + _T}, ("t",), 0.1),
        Case("x.ndim == 2", centred_if_image, (2.0, -1.0, 0.5), _IMAGE, ("x", "y"), 0.1),
        Case("np.diff", smoothed_if_uniform, (5.0, 0.7, 1.3, 0.5), {"t": _W}, ("t",), 0.1),
    )
}  # fmt: skip


@cache
def right_of(name: str) -> dict[tuple[int, int], Right]:
    """The right answers of a case at each position, found once."""
    case = CASES[name]
    data = case.data()
    return {(i, j): case.right(data.values[i, j]) for i, j in np.ndindex(2, 2)}


def recorded(result: xr.Dataset) -> dict[str, Any]:
    """What a result says of its fit."""
    return json.loads(result["fit_status"].attrs["modelfit_record"])


def assert_right(got: xr.Dataset, names: Sequence[str], right: Right, within: float = 1e-3) -> None:
    """One fit is the minimum: parameters to a part of an error, errors and chi-square to a thousandth, counts exactly.

    Fitters stop at about a thousandth of an error, and errors are derivatives, which differences of the model give to a
    few digits; chi-square changes by the square of the distance from the minimum.
    """
    assert got["fit_status"].item() == FitStatus.CONVERGED
    assert (got["n_points"].item(), got["dof"].item()) == (right.n_points, right.dof)
    found = np.array([got[name].item() for name in names])
    errors = np.array([got[f"{name}_stderr"].item() for name in names])
    np.testing.assert_array_less(np.abs(found - right.parameters) / right.errors, within)
    np.testing.assert_allclose(errors, right.errors, rtol=1e-3)
    np.testing.assert_allclose(got["chi2"].item(), right.chi2, rtol=1e-5)
