"""What bins and responses make of a model, computed without the package, and the answers that follow.

Means are closed forms, or sums over many points in each bin; parameters and errors are those of
`scipy.optimize.least_squares` on the samples that are kept.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import TRFLSQFitter
from numpy.testing import assert_allclose
from scipy.optimize import least_squares
from scipy.special import erf

from xr_modelfit import BatchLSQFitter

__all__ = [
    "POINTS",
    "Right",
    "answers",
    "assert_right",
    "between",
    "fitters",
    "gauss",
    "mean_gauss",
    "means",
    "recorded",
]

POINTS = 400  # in a bin
_FITTERS = {
    "numpy": (BatchLSQFitter(engine="numpy"), "numpy"),
    "numba": (BatchLSQFitter(engine="numba"), "numba"),
    "trf": (TRFLSQFitter(), "astropy"),
}


class Right(NamedTuple):
    """The right answer at one position: parameters, their errors for absolute errors of the samples, and chi-square."""

    parameters: np.ndarray
    errors: np.ndarray
    chi2: float
    n_points: int


def fitters(*, compiled: bool = False) -> pytest.MarkDecorator:
    """Parametrise ``fitter`` and ``engine``; ``compiled``: the compiled engine is tried among the quick tests too."""
    return pytest.mark.parametrize(
        ("fitter", "engine"),
        [
            pytest.param(*one, id=name, marks=[pytest.mark.slow] if name == "numba" and not compiled else [])
            for name, one in _FITTERS.items()
        ],
    )


def gauss(x: Any, amplitude: float, mean: float, stddev: float) -> Any:
    """A line."""
    return amplitude * np.exp(-0.5 * ((x - mean) / stddev) ** 2)


def mean_gauss(low: Any, high: Any, amplitude: float, mean: float, stddev: float) -> Any:
    """Its means over bins."""
    root = np.sqrt(2.0) * stddev
    area = amplitude * stddev * np.sqrt(0.5 * np.pi) * (erf((high - mean) / root) - erf((low - mean) / root))
    return area / (high - low)


def means(f: Callable[[np.ndarray], np.ndarray], low: Any, high: Any, points: int = POINTS) -> np.ndarray:
    """Means of any function over bins (n,), by the middles of many parts of each."""
    at = (np.arange(points) + 0.5) / points
    low, high = (np.asarray(v, dtype=float)[..., None] for v in (low, high))
    return np.asarray(f(low + (high - low) * at).mean(axis=-1))


def between(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Edges in the middle between neighbours, along the last axis; the outer bins are symmetric."""
    x = np.asarray(x, dtype=float)
    middle = 0.5 * (x[..., 1:] + x[..., :-1])
    first, last = 2.0 * x[..., :1] - middle[..., :1], 2.0 * x[..., -1:] - middle[..., -1:]
    return np.concatenate([first, middle], axis=-1), np.concatenate([middle, last], axis=-1)


def answers(
    samples: Callable[..., np.ndarray], y: np.ndarray, sigma: Any, start: Sequence[float], **options: Any
) -> list[Right]:
    """Right answers at each position of ``y`` (b, n), of which samples that are NaN are left out.

    ``samples(position, *parameters)`` are those of the model; ``sigma`` broadcasts against ``y``.
    """
    found = []
    sigma = np.broadcast_to(sigma, y.shape)
    options = {"jac": "3-point", "x_scale": "jac", "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15} | options
    for i, one in enumerate(y):
        keep = np.isfinite(one)

        def residual(p: np.ndarray, i: int = i, one: np.ndarray = one, keep: np.ndarray = keep) -> np.ndarray:
            return ((samples(i, *p) - one) / sigma[i])[keep]

        best = least_squares(residual, start, max_nfev=300, **options)
        errors = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)))
        found.append(Right(best.x, errors, 2.0 * float(best.cost), int(keep.sum())))
    return found


def assert_right(fit: xr.Dataset, names: Sequence[str], right: Sequence[Right], within: float = 1e-3) -> None:
    """That all fits succeeded with the right parameters, to a part of an error, and with the right errors."""
    assert (fit["fit_status"] > 0).all(), fit["fit_status"].values
    found = np.stack([fit[name].values.ravel() for name in names], axis=1)
    errors = np.stack([fit[f"{name}_stderr"].values.ravel() for name in names], axis=1)
    wanted, scatter = (np.stack([getattr(one, key) for one in right]) for key in ("parameters", "errors"))
    assert np.all(np.abs(found - wanted) <= within * scatter), (found - wanted) / scatter
    assert_allclose(errors, scatter, rtol=1e-3)
    assert_allclose(fit["chi2"].values.ravel(), [one.chi2 for one in right], rtol=1e-5)
    assert fit["n_points"].values.ravel().tolist() == [one.n_points for one in right]


def recorded(fit: xr.Dataset, key: str) -> Any:
    """What the record of a fit says."""
    return json.loads(fit["fit_status"].attrs["modelfit_record"]).get(key)
