"""The 27 nonlinear regression sets of NIST StRD: their files, and their models as plain functions.

Each set has two starts, and parameters, standard deviations and residual sum of squares certified
to eleven digits. What is here knows nothing of a fitter; the tests and the benchmark share it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model, custom_model

from xr_modelfit import fit

__all__ = ["MODELS", "NistSet", "digits", "fit_both", "read_all", "read_set", "values"]

_DATA_FROM = 60  # lines before the samples, the same in every file
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?"
_PARAMETER = re.compile(rf"^\s*b(\d+)\s*=\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*$")
_SUM = re.compile(rf"^Residual Sum of Squares:\s*({_NUMBER})")


@dataclass(frozen=True)
class NistSet:
    """One set.

    Parameters
    ----------
    name : str
    x : tuple of ndarray, shape (n,)
        One predictor, or two.
    y : ndarray, shape (n,)
        Response; of Nelson its logarithm, which is what is fitted.
    starts : ndarray, shape (2, k)
    parameters, errors : ndarray, shape (k,)
        Certified values and their standard deviations.
    chi2 : float
        Certified residual sum of squares.
    """

    name: str
    x: tuple[np.ndarray, ...]
    y: np.ndarray
    starts: np.ndarray
    parameters: np.ndarray
    errors: np.ndarray
    chi2: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: b1, b2, ..."""
        return tuple(f"b{j + 1}" for j in range(self.parameters.size))

    @property
    def function(self) -> Callable[..., Any]:
        """The model as a plain function."""
        return MODELS[self.name]

    def model(self, start: int = 0) -> Model:
        """A new astropy model at a start."""
        return custom_model(self.function)(**dict(zip(self.names, self.starts[start].tolist(), strict=True)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the predictors: x, or x1 and x2."""
        return ("x",) if len(self.x) == 1 else ("x1", "x2")

    def coords(self) -> dict[str, str]:
        """Which predictor each input of the model reads."""
        return dict(zip(self.model().inputs, self.labels, strict=True))

    def array(self) -> xr.DataArray:
        """Response over ``start`` and ``sample``, twice the same, with the predictors as coordinates."""
        coords = {label: ("sample", values) for label, values in zip(self.labels, self.x, strict=True)}
        y = xr.DataArray(self.y, dims="sample", coords=coords)
        return y.expand_dims(start=[1, 2])

    def start_maps(self) -> dict[str, xr.DataArray]:
        """Both starts as maps over ``start``, 1 and 2."""
        return {
            name: xr.DataArray(self.starts[:, j], dims="start", coords={"start": [1, 2]})
            for j, name in enumerate(self.names)
        }


def read_set(path: Path) -> NistSet:
    """Read one file."""
    lines = path.read_text().splitlines()
    rows: list[list[float]] = []
    chi2 = np.nan
    for line in lines[:_DATA_FROM]:
        if found := _PARAMETER.match(line):
            if int(found[1]) != len(rows) + 1:
                raise ValueError(f"{path.name}: b{found[1]} is not the next parameter")
            rows.append([float(v) for v in found.groups()[1:]])
        elif found := _SUM.match(line):
            chi2 = float(found[1])
    start1, start2, parameters, errors = np.array(rows).T
    samples = np.array([[float(v) for v in line.split()] for line in lines[_DATA_FROM:] if line.strip()])
    y = np.log(samples[:, 0]) if path.stem == "Nelson" else samples[:, 0]
    x = tuple(np.ascontiguousarray(column) for column in samples.T[1:])
    return NistSet(path.stem, x, np.ascontiguousarray(y), np.stack([start1, start2]), parameters, errors, chi2)


def read_all(folder: Path) -> list[NistSet]:
    """All sets in a folder, by name."""
    return [read_set(path) for path in sorted(folder.glob("*.dat"))]


def fit_both(one: NistSet, fitter: Any) -> xr.Dataset:
    """Both starts of a set in one call, last iterates included."""
    return fit(
        one.array(),
        one.model(),
        "sample",
        coords=one.coords(),
        p0=one.start_maps(),
        fitter=fitter,
        keep_failed=True,
        errors="ignore",
        scheduler="synchronous",
    )


def values(result: xr.Dataset, one: NistSet, suffix: str = "") -> np.ndarray:
    """Parameters of both starts, shape (2, k); with ``suffix="_stderr"`` their errors."""
    return np.stack([result[name + suffix].to_numpy() for name in one.names], axis=-1)


def digits(found: Any, certified: Any) -> np.ndarray:
    """Correct digits of the worst value along the last axis, at most 11; 0 where one is not finite."""
    found, certified = np.asarray(found, dtype=float), np.asarray(certified, dtype=float)
    with np.errstate(all="ignore"):
        lost = np.log10(np.maximum(np.abs(found - certified) / np.abs(certified), 1e-11))
    worst = np.max(np.where(np.isfinite(found), lost, 0.0), axis=-1)
    return np.maximum(-worst, 0.0)


# ---------------------------------------------------------------- models


def _bennett5(x, b1=1.0, b2=1.0, b3=1.0):
    return b1 * (b2 + x) ** (-1.0 / b3)


def _boxbod(x, b1=1.0, b2=1.0):
    return b1 * (1.0 - np.exp(-b2 * x))


def _chwirut(x, b1=1.0, b2=1.0, b3=1.0):
    return np.exp(-b1 * x) / (b2 + b3 * x)


def _danwood(x, b1=1.0, b2=1.0):
    return b1 * x**b2


def _eckerle4(x, b1=1.0, b2=1.0, b3=1.0):
    return (b1 / b2) * np.exp(-0.5 * ((x - b3) / b2) ** 2)


def _enso(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0, b6=1.0, b7=1.0, b8=1.0, b9=1.0):
    year, first, second = 2.0 * np.pi * x / 12.0, 2.0 * np.pi * x / b4, 2.0 * np.pi * x / b7
    cycles = b2 * np.cos(year) + b3 * np.sin(year) + b5 * np.cos(first) + b6 * np.sin(first)
    return b1 + cycles + b8 * np.cos(second) + b9 * np.sin(second)


def _gauss(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0, b6=1.0, b7=1.0, b8=1.0):
    peaks = b3 * np.exp(-((x - b4) ** 2) / b5**2) + b6 * np.exp(-((x - b7) ** 2) / b8**2)
    return b1 * np.exp(-b2 * x) + peaks


def _cubics(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0, b6=1.0, b7=1.0):
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1.0 + b5 * x + b6 * x**2 + b7 * x**3)


def _kirby2(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0):
    return (b1 + b2 * x + b3 * x**2) / (1.0 + b4 * x + b5 * x**2)


def _lanczos(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0, b6=1.0):
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def _mgh09(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0):
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(x, b1=1.0, b2=1.0, b3=1.0):
    return b1 * np.exp(b2 / (x + b3))


def _mgh17(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0, b5=1.0):
    return b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5)


def _misra1b(x, b1=1.0, b2=1.0):
    return b1 * (1.0 - (1.0 + b2 * x / 2.0) ** (-2))


def _misra1c(x, b1=1.0, b2=1.0):
    return b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** (-0.5))


def _misra1d(x, b1=1.0, b2=1.0):
    return b1 * b2 * x * (1.0 + b2 * x) ** (-1)


def _nelson(x1, x2, b1=1.0, b2=1.0, b3=1.0):
    return b1 - b2 * x1 * np.exp(-b3 * x2)


def _rat42(x, b1=1.0, b2=1.0, b3=1.0):
    return b1 / (1.0 + np.exp(b2 - b3 * x))


def _rat43(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0):
    return b1 / (1.0 + np.exp(b2 - b3 * x)) ** (1.0 / b4)


def _roszman1(x, b1=1.0, b2=1.0, b3=1.0, b4=1.0):
    return b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi


MODELS: Mapping[str, Callable[..., Any]] = {
    "Bennett5": _bennett5,
    "BoxBOD": _boxbod,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": _danwood,
    "ENSO": _enso,
    "Eckerle4": _eckerle4,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubics,
    "Kirby2": _kirby2,
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": _mgh09,
    "MGH10": _mgh10,
    "MGH17": _mgh17,
    "Misra1a": _boxbod,
    "Misra1b": _misra1b,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Nelson": _nelson,
    "Rat42": _rat42,
    "Rat43": _rat43,
    "Roszman1": _roszman1,
    "Thurber": _cubics,
}
